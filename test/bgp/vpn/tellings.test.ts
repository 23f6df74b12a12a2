/** Why a peer is told a VPN route or not: the policy of its session, and what holds whatever policy says. */
import test from 'ava';
import type { PeerConfig, Policy } from '../../../bgp/speaker.ts';
import { distinguisherText } from '../../../bgp/vpn/route-distinguisher.ts';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { Community } from '../../../bgp/wire/attribute/communities.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { hex } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, rt, vrf } from '../kit/vpn.ts';

const AS = 64601;
const RED = { import: ['64601:100'], export: ['64601:100'] };
const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;
const POLICY: Policy = [
  { name: 'no eights', match: { prefixes: [{ prefix: Prefix.parse('10.8.0.0/16')! }] }, action: 'reject' },
  { name: 'the rest', set: { addCommunities: [7] }, action: 'accept' },
];

/** `a` with a VRF between `b` and `c`, and what `c` is told. @param config of `a` about `c` @param asnC of `c` */
function network(config: Partial<PeerConfig> = {}, asnC = AS, nextHop = '10.0.0.1') {
  const net = new SimNet(9);
  let a!: SimRouter;
  const room = roomOf(AS, () => a, { red: { ...RED, rd: '64601:1' }, blue: { ...RED, rd: '64601:2' } });
  a = net.router('a', { asn: AS, vpn: room });
  const b: SimRouter = net.router('b', { asn: AS, vpn: roomOf(AS, () => b, {}) });
  const c: SimRouter = net.router('c', { asn: asnC, vpn: roomOf(asnC, () => c, {}) });
  const more = config.addPath === undefined ? {} : { addPath: config.addPath };
  net.join(a, b, { families, routeReflectorClient: true, ...more }, { families, ...more });
  const cable = net.join(a, c, { families, export: POLICY, ...config }, { families, ...config, export: 'accept-all' });
  const red = vrf(net, room, 'red', AS, nextHop);
  net.start();
  net.run(20_000);
  /** A route of a peer to a /16 with these octets. @param number of its distinguisher 64601:N */
  const tell = (
    peer: string,
    prefix: string,
    number: number,
    attributes: Partial<Attributes> = {},
    path = '',
  ): void => {
    const session = [...a.speaker.sessions()].find((s) => s.peer === peer)!;
    const rd = `0000fc59000000${number.toString(16).padStart(2, '0')}`;
    const reach = hex(`0001 80 0c 0000000000000000 0a010009 00 ${path} 68 0003e1 ${rd} ${prefix}`);
    const target = rt('64601:100');
    const whole = {
      ...PLAIN_ATTRIBUTES,
      localPref: 100,
      extendedCommunities: [target.high, target.low],
      ...attributes,
    };
    room.update(session, { reach, unreach: undefined, isWithdrawn: false }, whole);
    net.run(1000);
  };
  return { net, a, cable, room, red, tell };
}

/** `RD prefix [best] [told COMMUNITIES]: why` of each route. */
const seen = (room: VpnRoom, what: string, peer = 'c', of?: string): string[] | undefined =>
  room.tellings(peer, what.includes('/') ? Prefix.parse(what)! : Addr.parse(what)!, of)?.map((x) => {
    const { route, isBest, told, bar, policy } = x;
    const how = told === undefined ? '' : ` told ${told.attributes.communities.join()}`;
    const by = policy && `${policy.isAccepted ? 'passed' : 'refused'} by ${policy.by} ${policy.name ?? ''}`;
    return `${distinguisherText(route.name.rd)} ${route.name.prefix}${isBest ? ' best' : ''}${how}: ${bar ?? by}`;
  });

test('the rule of the export policy is named, and what the peer was told', (t) => {
  const { room, red, net } = network();
  announce(red, '10.1.0.0/16', '10.8.0.0/16');
  net.run(1000);
  t.deepEqual(seen(room, '10.1.0.0/16'), ['64601:1 10.1.0.0/16 best told 7: passed by rule the rest']);
  t.deepEqual(seen(room, '10.8.0.0/16'), ['64601:1 10.8.0.0/16 best: refused by rule no eights']);
  t.deepEqual(seen(room, '10.8.3.4'), ['64601:1 10.8.0.0/16 best: refused by rule no eights']);
  t.deepEqual(seen(room, '10.8.3.4', 'c', 'red'), ['64601:1 10.8.0.0/16 best: refused by rule no eights']);
  t.deepEqual(seen(room, '10.8.3.4', 'c', 'blue'), []);
  t.deepEqual(seen(room, '10.7.0.0/16'), []);
  t.is(seen(room, '10.1.0.0/16', 'd'), undefined);
});

test('of routes with one distinguisher the step is named at which those lost that are not told', (t) => {
  const { room, tell } = network();
  tell('b', '0a09', 3, { localPref: 200 });
  tell('c', '0a09', 3);
  tell('c', '0a07', 3);
  tell('c', '0a06', 3, { localPref: 200 });
  tell('b', '0a06', 3);
  t.deepEqual(seen(room, '10.9.0.0/16'), [
    '64601:3 10.9.0.0/16 best told 7: passed by rule the rest',
    '64601:3 10.9.0.0/16: another one with its distinguisher is better: local preference',
  ]);
  t.deepEqual(seen(room, '10.7.0.0/16'), ['64601:3 10.7.0.0/16 best: it was learned from this peer']);
  t.deepEqual(seen(room, '10.6.0.0/16'), [
    '64601:3 10.6.0.0/16 best: it was learned from this peer',
    '64601:3 10.6.0.0/16: another one with its distinguisher is better: local preference',
  ]);
});

test('with several paths each is told that policy lets pass, so many at most', (t) => {
  const { room, tell } = network({ addPath: 'both', addPathLimit: 2 });
  for (const n of [1, 2, 3]) tell('b', '0a09', 3, { localPref: 200 + n }, `0000000${n}`);
  tell('c', '0a09', 3, {}, '00000001');
  t.deepEqual(seen(room, '10.9.0.0/16'), [
    '64601:3 10.9.0.0/16 best told 7: passed by rule the rest',
    '64601:3 10.9.0.0/16 told 7: passed by rule the rest',
    '64601:3 10.9.0.0/16: of several paths the peer is told 2 at most',
    '64601:3 10.9.0.0/16: it was learned from this peer',
  ]);
});

test('what holds whatever policy says is named: communities, next hops, families, sizes', (t) => {
  const one = network({ families: ['ipv4', 'vpnv4'], gracefulRestart: false, extendedMessages: false });
  announce(one.red, 'fd01::/48');
  one.tell('b', '0a09', 3, { communities: [Community.NoAdvertise] });
  one.tell('b', '0a07', 3, { communities: [Community.LlgrStale] });
  one.tell('b', '0a06', 3, { communities: Array.from({ length: 1100 }, (_, i) => i) });
  t.deepEqual(seen(one.room, '10.9.0.0/16'), ['64601:3 10.9.0.0/16 best: it has the community no-advertise']);
  t.deepEqual(seen(one.room, 'fd01::/48'), ['64601:1 fd01::/48 best: the session carries no IPv6 VPN routes']);
  t.deepEqual(seen(one.room, '10.7.0.0/16'), [
    '64601:3 10.7.0.0/16 best: it is long-lived stale, and the peer does not speak of that (RFC 9494)',
  ]);
  t.deepEqual(seen(one.room, '10.6.0.0/16'), [
    '64601:3 10.6.0.0/16 best: its attributes leave no room in a message of 4096 octets',
  ]);

  const outside = network({}, 64602, '');
  announce(outside.red, '10.1.0.0/16');
  outside.tell('b', '0a09', 3);
  t.deepEqual(seen(outside.room, '10.9.0.0/16'), [
    '64601:3 10.9.0.0/16 best: its label is good for its own next hop only, and no export rule says next_hop: unchanged',
  ]);
  t.deepEqual(seen(outside.room, '10.1.0.0/16'), [
    '64601:1 10.1.0.0/16 best: the VRF has no address on its uplinks to be its next hop',
  ]);
});

test('a peer without policy, one that is not there, and one that is about to be told', (t) => {
  const { net, a, cable, room, red } = network({ export: 'reject-all' });
  announce(red, '10.1.0.0/16');
  net.run(1000);
  t.deepEqual(seen(room, '10.1.0.0/16'), ['64601:1 10.1.0.0/16 best: refused by word ']);
  const stream = a.streams.find((s) => !s.isClosed && s.cable === cable)!;
  stream.block(true);
  a.speaker.setPolicies('c', { import: 'accept-all', export: POLICY });
  a.speaker.peerRefresh('c', 'out');
  announce(red, '10.2.0.0/16');
  net.run(1000);
  t.deepEqual(seen(room, '10.2.0.0/16'), ['64601:1 10.2.0.0/16 best: passed by rule the rest']);
  net.setCable(cable, false);
  t.is(seen(room, '10.1.0.0/16'), undefined);
});
