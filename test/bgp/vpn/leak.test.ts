/** VRFs of one router that import each other's routes by target, without any peer; and what VRFs make of several paths. */
import test from 'ava';
import type { Speaker } from '../../../bgp/speaker.ts';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { UpdatePacker } from '../../../bgp/wire/update.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, rt, type Targets, vrf } from '../kit/vpn.ts';

const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;
const SHARED: Targets = {
  hub: { rd: '64601:1', import: ['64601:9'], export: ['64601:1'] },
  a: { rd: '64601:2', import: ['64601:1'], export: ['64601:9'] },
  b: { rd: '64601:3', import: ['64601:1'], export: ['64601:9'] },
};

/** One router whose hub has services for two VRFs that do not see each other. */
function hub(net = new SimNet(3)) {
  let router!: SimRouter;
  const room: VpnRoom = roomOf(64601, () => router, SHARED);
  router = net.router('r', { asn: 64601, vpn: room });
  const of = (name: string, hop: string) => vrf(net, room, name, 64601, hop);
  return { net, router, room, hub: of('hub', '10.0.0.1'), a: of('a', '10.0.0.2'), b: of('b', '') };
}

const routesOf = (fib: ReadonlyMap<string, string>) => Object.fromEntries(fib);

test('a VRF imports from the others of its router by target, one step far, and takes back what goes', (t) => {
  const { net, hub: h, a, b, room } = hub();
  announce(h, '192.168.0.0/24', 'fd00:5::/48');
  announce(a, '192.168.1.0/24');
  announce(b, '192.168.2.0/24');
  net.start();
  net.runUntil(() => h.fib.size === 2 && a.fib.size === 2 && b.fib.size === 2);
  net.run(1000);
  t.deepEqual(routesOf(h.fib), { '192.168.1.0/24': '10.0.0.2@(vrf a)', '192.168.2.0/24': 'fe80::1@(vrf b)' });
  t.deepEqual(routesOf(a.fib), { '192.168.0.0/24': '10.0.0.1@(vrf hub)', 'fd00:5::/48': 'fd00::1@(vrf hub)' });
  t.deepEqual(routesOf(b.fib), routesOf(a.fib));
  t.deepEqual(room.counts, { learned: 0, exported: 4 });
  const why = (s: Speaker) => s.explain(Prefix.parse('192.168.0.0/24')!).map((c) => c.peer);
  t.deepEqual(why(a.speaker), ['(vrf hub)']);
  h.speaker.withdraw(Prefix.parse('192.168.0.0/24')!);
  net.runUntil(() => a.fib.size === 1 && b.fib.size === 1);
  t.deepEqual([...a.fib.keys()], ['fd00:5::/48']);
  for (const [name] of Object.entries(SHARED)) t.truthy(room.endOf(name));
});

test('what was leaked is not told to other routers, and a VRF without an address exports to this router only', (t) => {
  const net = new SimNet(4);
  const one = hub(net);
  let other!: SimRouter;
  const room = roomOf(64601, () => other, { all: { rd: '64601:7', import: ['64601:1', '64601:9'], export: [] } });
  other = net.router('o', { asn: 64601, vpn: room });
  const all = vrf(net, room, 'all', 64601, '10.0.0.7');
  net.join(one.router, other, { families });
  announce(one.hub, '192.168.0.0/24');
  announce(one.a, '192.168.1.0/24');
  announce(one.b, '192.168.2.0/24');
  net.start();
  net.runUntil(() => all.fib.size === 2 && one.hub.fib.size === 2);
  net.run(5000);
  t.deepEqual(routesOf(all.fib), { '192.168.0.0/24': '10.0.0.1', '192.168.1.0/24': '10.0.0.2' });
  t.is(room.counts.learned, 2);
});

test('a route leaves its VRF with the targets of the VRF, and with none that a customer wrote (RFC 4364 §4.3.1)', (t) => {
  const { net, room, a, b, hub: h } = hub();
  net.start();
  net.run(1000);
  const [forged, mine] = [rt('64601:1'), { high: 0x00030001, low: 7 }];
  const attributes = {
    ...PLAIN_ATTRIBUTES,
    localPref: 100,
    extendedCommunities: [forged.high, forged.low, mine.high, mine.low],
  };
  const settings = { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'native' } as const;
  const packer = new UpdatePacker(settings, (octets) => room.endOf('a')!.update(octets.slice(19)));
  packer.reach(4, attributes, { global: Addr.parse('10.0.0.2')!, linkLocal: undefined });
  packer.add(Prefix.parse('192.168.66.0/24')!.addr.a3, 0, 0, 0, 24);
  packer.flush();
  net.runUntil(() => h.fib.size === 1);
  net.run(1000);
  t.is(b.fib.size + a.fib.size, 0, 'target 64601:1 is the hub VRF alone');
  t.deepEqual([...h.speaker.routes('best')][0]!.extendedCommunities, ['ro:1:7', 'rt:64601:9']);
});

test('a VRF uses equal routes together where multipath says so, of other routers and of this one', (t) => {
  const net = new SimNet(5);
  const red = { import: ['64601:1'], export: ['64601:1'] };
  const make = (name: string, vrfs: Targets) => {
    let router!: SimRouter;
    const room: VpnRoom = roomOf(64601, () => router, vrfs);
    router = net.router(name, { asn: 64601, vpn: room });
    return { router, room };
  };
  const m = make('m', { red: { ...red, rd: '64601:1' }, here: { ...red, import: [], rd: '64601:9' } });
  const x = make('x', { red: { ...red, rd: '64601:2' } });
  const y = make('y', { red: { ...red, rd: '64601:3' } });
  net.join(m.router, x.router, { families });
  net.join(m.router, y.router, { families });
  const redM = vrf(net, m.room, 'red', 64601, '10.0.0.1', { multipath: { maxPaths: 4 } });
  const here = vrf(net, m.room, 'here', 64601, '10.0.0.9');
  for (const [r, hop] of [
    [x, '10.0.0.2'],
    [y, '10.0.0.3'],
  ] as const)
    announce(vrf(net, r.room, 'red', 64601, hop), '192.168.0.0/24');
  net.start();

  const hops = () =>
    redM.fib
      .get('192.168.0.0/24')
      ?.split(/ (?=\d)/)
      .sort() ?? [];
  net.runUntil(() => hops().length === 2);
  announce(here, '192.168.0.0/24');
  net.runUntil(() => hops().length === 3);
  t.deepEqual(hops(), ['10.0.0.2', '10.0.0.3', '10.0.0.9@(vrf here)']);
});
