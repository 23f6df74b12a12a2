/** The table of VPN routes as it is listed: of VRFs and of peers, by distinguisher and prefix, in parts. */
import test from 'ava';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { vpnListing } from '../../../router/app/vpn-listing.ts';
import { hex } from '../../bgp/kit/describe.ts';
import { SimNet, type SimRouter } from '../../bgp/kit/net.ts';
import { announce, roomOf, rt, vrf } from '../../bgp/kit/vpn.ts';

const families = ['vpnv4', 'vpnv6'] as const;
const RED = { import: ['64601:100'], export: ['64601:100'] };

/** A router with two VRFs, and a peer that is a reflector's client. */
function network() {
  const net = new SimNet(3);
  let router!: SimRouter;
  const room = roomOf(64601, () => router, {
    red: { ...RED, rd: '64601:1' },
    blue: { ...RED, export: [], rd: '64601:2' },
  });
  router = net.router('r', { asn: 64601, vpn: room });
  const peer = net.router('p', { asn: 64601, vpn: roomOf(64601, () => peer, {}) });
  net.join(router, peer, { families }, { families });
  const red = vrf(net, room, 'red', 64601, '10.1.0.1');
  net.start();
  net.runUntil(() => router.session('p').state === 'Established');
  return { net, router, room, red };
}

const ALL = { rd: '', prefix: '' };

test('routes of VRFs and of peers are listed with labels, targets, and the VRFs that import them', (t) => {
  const { net, router, room, red } = network();
  announce(red, '192.168.1.0/24');
  net.runUntil(() => room.counts.exported === 1);
  const [session] = [...router.speaker.sessions()];
  const target = rt('64601:100');
  const attributes = {
    ...PLAIN_ATTRIBUTES,
    localPref: 150,
    med: 7,
    communities: [0xfc590005],
    extendedCommunities: [target.high, target.low, 0x00030001, 7],
  };
  const reach = (label: string, prefix: string) =>
    hex(`0001 80 0c 0000000000000000 0a010009 00 68 ${label} 0000fc5900000009 ${prefix}`);
  for (const [label, prefix] of [
    ['0003e1', '0a09'],
    ['000031', '0a08'],
  ] as const)
    room.update(session!, { reach: reach(label, prefix), unreach: undefined, isWithdrawn: false }, attributes);
  const ours = {
    rd: '64601:1',
    prefix: '192.168.1.0/24',
    label: 3,
    next_hop: '10.1.0.1',
    peer: '(vrf red)',
    best: true,
    as_path: '',
    origin: 'IGP',
    local_pref: 100,
    targets: ['64601:100'],
    communities: [],
    vrfs: ['blue'],
    unreachable: false,
  };
  const labelled = {
    rd: '64601:9',
    prefix: '10.9.0.0/16',
    label: 62,
    next_hop: '10.1.0.9',
    peer: 'p',
    best: true,
    as_path: '',
    origin: 'IGP',
    local_pref: 150,
    med: 7,
    targets: ['64601:100'],
    communities: ['64601:5', 'ro:1:7'],
    vrfs: [],
    unreachable: false,
  };
  const plain = { ...labelled, prefix: '10.8.0.0/16', label: 3, vrfs: ['red', 'blue'] };
  t.deepEqual(vpnListing(room, ALL), { routes: [ours, labelled, plain], next: '' });
  t.deepEqual(vpnListing(room, { ...ALL, rd: '64601:9' }).routes, [labelled, plain]);
  t.deepEqual(vpnListing(room, { ...ALL, prefix: '10.8.0.0/16' }).routes, [plain]);
  t.deepEqual(vpnListing(room, { ...ALL, prefix: '10.9.7.1' }).routes, [labelled]);
  t.deepEqual(vpnListing(room, { rd: '64601:1', prefix: '10.9.7.1' }).routes, []);
});

test('a long table comes in parts, and what is no distinguisher, prefix or place is refused', (t) => {
  const { net, room, red } = network();
  announce(red, ...Array.from({ length: 1100 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`));
  net.runUntil(() => room.counts.exported === 1100);
  const seen: string[] = [];
  const sizes: number[] = [];
  let next = '';
  do {
    const part = vpnListing(room, { ...ALL, from: next });
    seen.push(...part.routes.map((r) => r.prefix));
    sizes.push(part.routes.length);
    next = part.next;
  } while (next !== '');
  t.is(new Set(seen).size, 1100);
  t.deepEqual(sizes, [128, 128, 128, 128, 128, 128, 128, 128, 76]);
  const last = vpnListing(room, { ...ALL, prefix: '10.4.75.0/24' });
  t.deepEqual(
    [last.routes.map((r) => r.prefix), last.next],
    [['10.4.75.0/24'], ''],
    'found without looking at the rest',
  );
  for (const bad of [{ rd: '64601' }, { prefix: '10.0.0.1/8' }, { prefix: 'x' }, { from: '-1' }])
    t.throws(() => vpnListing(room, { ...ALL, ...bad }), { code: 'USAGE' }, JSON.stringify(bad));
});
