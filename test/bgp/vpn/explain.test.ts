/** Why a VRF has a VPN route or has it not: targets, labels, policies, loops. */
import test from 'ava';
import type { Policy } from '../../../bgp/speaker.ts';
import { distinguisherText, routeTargetText } from '../../../bgp/vpn/route-distinguisher.ts';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { hex } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, rt, vrf } from '../kit/vpn.ts';

const families = ['vpnv4', 'vpnv6'] as const;
const ALL = ['64601:100', '64601:101'];
const NO_TENS: Policy = [
  { name: 'no tens', match: { prefixes: [{ prefix: Prefix.parse('10.8.0.0/16')! }] }, action: 'reject' },
  { action: 'accept' },
];

/** A router with two VRFs, and a peer whose routes are injected. */
function network() {
  const net = new SimNet(5);
  let router!: SimRouter;
  const room = roomOf(64601, () => router, {
    red: { rd: '64601:1', import: ALL, export: ALL },
    blue: { rd: '64601:2', import: ['64601:7'], export: ['64601:7'] },
  });
  router = net.router('r', { asn: 64601, vpn: room });
  const peer = net.router('p', { asn: 64601, vpn: roomOf(64601, () => peer, {}) });
  net.join(router, peer, { families, import: NO_TENS }, { families });
  const red = vrf(net, room, 'red', 64601, '10.1.0.1');
  const blue = vrf(net, room, 'blue', 64601, '10.2.0.1');
  net.start();
  net.run(20_000);
  /** @param prefix octets of a /16 @param targets of the route @param number of the distinguisher 64601:N */
  const tell = (
    prefix: string,
    targets: string[],
    number: number,
    more: Partial<Attributes> = {},
    label = '000031',
  ) => {
    const [session] = [...router.speaker.sessions()];
    const rd = `0000fc59000000${number.toString(16).padStart(2, '0')}`;
    const reach = hex(`0001 80 0c 0000000000000000 0a010009 00 68 ${label} ${rd} ${prefix}`);
    const extendedCommunities = targets.map(rt).flatMap((t) => [t.high, t.low]);
    const whole = { ...PLAIN_ATTRIBUTES, localPref: 100, extendedCommunities, ...more };
    room.update(session!, { reach, unreach: undefined, isWithdrawn: false }, whole);
    net.run(1000);
  };
  return { net, room, red, blue, tell };
}

const seen = (room: VpnRoom, vrfName: string, what: string): string[] =>
  room
    .imports(vrfName, what.includes('/') ? Prefix.parse(what)! : Addr.parse(what)!)
    .map(({ route, bar, targets, refusal }) => {
      const { bar: why, policy } = refusal ?? {};
      const by = why ?? (policy === undefined ? '' : `${policy.by} ${policy.name}`);
      const parts = [distinguisherText(route.name.rd), route.vrf, bar, ...targets.map(routeTargetText), by];
      return parts.filter(Boolean).join(' ');
    })
    .sort();

test('each route to a prefix says by which targets a VRF has it, or what stands in its way', (t) => {
  const { room, red, blue, tell, net } = network();
  announce(red, '10.9.0.0/16');
  announce(blue, '10.9.0.0/16');
  tell('0a09', ['64601:101', '64601:100'], 3);
  tell('0a09', ['64601:8'], 4);
  tell('0a09', ['64601:100'], 5, {}, '0003e1');
  tell('0a09', ['64601:100'], 6, { originatorId: Addr.parse('10.0.0.1')!.a3 >>> 0 });
  net.run(1000);
  t.deepEqual(seen(room, 'red', '10.9.0.0/16'), [
    '64601:1 red own 64601:100 64601:101',
    '64601:2 blue target',
    '64601:3 64601:100 64601:101',
    '64601:4 target',
    '64601:5 label 64601:100',
    '64601:6 policy 64601:100 reflected back to us',
  ]);
  t.deepEqual(seen(room, 'blue', '10.9.0.0/16')[1], '64601:2 blue own 64601:7');
  t.deepEqual(seen(room, 'green', '10.9.0.0/16'), []);
});

test('what import policy refuses is named with its rule, and an address is that of the longest prefix', (t) => {
  const { room, tell } = network();
  tell('0a08', ['64601:100'], 3);
  t.deepEqual(seen(room, 'red', '10.8.0.0/16'), ['64601:3 policy 64601:100 rule no tens']);
  t.deepEqual(seen(room, 'red', '10.8.1.1'), ['64601:3 policy 64601:100 rule no tens']);
  t.deepEqual(seen(room, 'red', '10.7.1.1'), []);
});

test('path identifiers join routes to the candidates of the VRF', (t) => {
  const { room, red, tell } = network();
  tell('0a09', ['64601:100'], 3, { localPref: 50 });
  tell('0a09', ['64601:100'], 4);
  const prefix = Prefix.parse('10.9.0.0/16')!;
  const lost = new Map(red.speaker.explain(prefix).map((c) => [c.pathId, c.lostAt]));
  t.deepEqual(
    room.imports('red', prefix).map(({ route }) => [route.name.rd.low, lost.get(route.number)]),
    [
      [3, 'local preference'],
      [4, undefined],
    ],
  );
});
