/**
 * VPN routes on their way between VPN sessions: reflection inside an AS, next hops and labels that are left alone, several
 * ASes, which of several routes is told, and what is refused. Routers with VRFs stand around one without.
 */
import test from 'ava';
import { type FarEnd, PipeTransport } from '../../../bgp/pipe.ts';
import { type PeerConfig, type Policy, Speaker, type SpeakerOptions } from '../../../bgp/speaker.ts';
import { readVpnNextHop, readVpnNlri, vpnKey } from '../../../bgp/vpn/nlri.ts';
import { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { Community } from '../../../bgp/wire/attribute/communities.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { PLAIN_FACTS } from '../../../bgp/wire/family.ts';
import { MessageType } from '../../../bgp/wire/message.ts';
import { decodeUpdate, type Update } from '../../../bgp/wire/update.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { hex, PLAIN_CONTEXT } from '../kit/describe.ts';
import { SimNet, type SimRouter, type SimStream } from '../kit/net.ts';
import { announce, messagesIn, roomOf, rt, type Targets, type VrfSim, vrf } from '../kit/vpn.ts';

const RED = { import: ['64601:100'], export: ['64601:100'] };
const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;

interface Site {
  readonly router: SimRouter;
  readonly room: VpnRoom;
  readonly red: VrfSim | undefined;
}

/** A router with a VPN room, and a VRF where it has a next hop for one. */
function site(net: SimNet, name: string, asn: number, nextHop?: string, speaker: Partial<SpeakerOptions> = {}): Site {
  let router!: SimRouter;
  const vrfs: Targets = nextHop === undefined ? {} : { red: { ...RED, rd: `${nextHop}:1` } };
  const room = roomOf(asn, () => router, vrfs);
  router = net.router(name, { asn, vpn: room, speaker });
  return { router, room, red: nextHop === undefined ? undefined : vrf(net, room, 'red', asn, nextHop, speaker) };
}

/** a and c with VRFs, b between them without. @param asns of the three @param configs how b has configured a and c */
function chain(
  asns: readonly [number, number, number],
  configs: readonly [Partial<PeerConfig>, Partial<PeerConfig>] = [{}, {}],
  speaker: Partial<SpeakerOptions> = {},
) {
  const net = new SimNet(7);
  const a = site(net, 'a', asns[0], '10.1.0.1');
  const b = site(net, 'b', asns[1], undefined, speaker);
  const c = site(net, 'c', asns[2], '10.1.0.3');
  net.join(b.router, a.router, { families, ...configs[0] }, { families });
  net.join(b.router, c.router, { families, ...configs[1] }, { families });
  return { net, a: a.router, b: b.router, c: c.router, redA: a.red!, redC: c.red!, roomB: b.room, roomC: c.room };
}

const CLIENT = { routeReflectorClient: true };
const UNCHANGED: Policy = [{ action: 'accept', set: { nextHop: 'unchanged' } }];

/** The stream of a router towards another one. */
function streamTo(from: SimRouter, to: SimRouter): SimStream {
  return from.streams.find((s) => !s.isClosed && s.cable.ends.includes(to))!;
}

/** What a router has told another one of VPN routes. */
function toldTo(from: SimRouter, to: SimRouter, confederation?: 'border'): Update[] {
  const context = {
    ...PLAIN_CONTEXT,
    external: confederation === undefined && from.speaker.asn !== to.speaker.asn,
    firstAs: confederation && from.speaker.asn,
    confederation,
    families: { vpnv4: PLAIN_FACTS, vpnv6: PLAIN_FACTS },
  };
  return messagesIn(streamTo(from, to).sent)
    .filter((m) => m[18] === MessageType.Update)
    .map((m) => decodeUpdate(m.subarray(19), context) as Update)
    .filter((u) => u.vpn?.reach !== undefined);
}

/** The values of MP_REACH_NLRI in words: next hop, and prefixes with their labels. */
function reachText({ vpn }: Update): string {
  const value = vpn!.reach!;
  const at = 5 + value[3]!;
  const prefixes = readVpnNlri(value.subarray(at), value[1] === 1 ? 4 : 6, false)!;
  return `${readVpnNextHop(value.subarray(4, at - 1))!.global} ${prefixes.map((p) => `${vpnKey(p)} label ${p.label}`).join()}`;
}

/** Have a router believe that a peer told it a VPN route to 10.9.0.0/16. @param label three octets */
function inject(
  room: VpnRoom,
  router: SimRouter,
  peer: string,
  attributes: Partial<Attributes>,
  label = '000031',
): void {
  const session = [...router.speaker.sessions()].find((s) => s.peer === peer)!;
  const target = rt('64601:100');
  const reach = hex(`0001 80 0c 0000000000000000 0a010009 00 68 ${label} 0000fc5900000009 0a09`);
  const whole = { ...PLAIN_ATTRIBUTES, localPref: 100, extendedCommunities: [target.high, target.low], ...attributes };
  room.update(session, { reach, unreach: undefined, isWithdrawn: false }, whole);
}

const isUp = (r: SimRouter, ...peers: string[]) => peers.every((p) => r.session(p)?.state === 'Established');

test('a reflector passes VPN routes of its clients on with their next hops, and takes them back', (t) => {
  const { net, b, c, redA, redC, roomB } = chain([64601, 64601, 64601], [CLIENT, CLIENT]);
  announce(redA, '192.168.1.0/24', 'fd01::/48');
  announce(redC, '192.168.3.0/24');
  net.start();
  net.runUntil(() => redC.fib.size === 2 && redA.fib.size === 1);
  t.deepEqual(Object.fromEntries(redC.fib), { '192.168.1.0/24': '10.1.0.1', 'fd01::/48': 'fd00::1' });
  t.deepEqual(Object.fromEntries(redA.fib), { '192.168.3.0/24': '10.1.0.3' });
  t.deepEqual(roomB.counts, { learned: 3, exported: 0 });
  const [first] = toldTo(b, c);
  t.is(first!.attributes!.originatorId, 0x0a000001, "a's identifier");
  t.deepEqual(first!.attributes!.clusterList, [0x0a000002], "b's identifier");
  t.is(reachText(first!), '10.1.0.1 10a01.10001 192.168.1.0/24 label 3');
  redA.speaker.withdraw(Prefix.parse('192.168.1.0/24')!);
  net.runUntil(() => redC.fib.size === 1);
  t.is(roomB.counts.learned, 2);
});

test('what internal peers tell stays between them without reflection', (t) => {
  const { net, b, redA, redC } = chain([64601, 64601, 64601]);
  announce(redA, '192.168.1.0/24');
  net.start();
  net.runUntil(() => isUp(b, 'a', 'c'));
  net.run(20_000);
  t.is(redC.fib.size, 0);
});

test('reflected routes of other routers keep their labels, octet by octet', (t) => {
  const { net, b, c, roomB, redC, roomC } = chain([64601, 64601, 64601], [CLIENT, CLIENT], {
    clusterId: Addr.parse('9.9.9.9')!,
  });
  net.start();
  net.runUntil(() => isUp(b, 'a', 'c'));
  net.run(1000);
  const stream = streamTo(b, c);
  const before = stream.sent.length;
  inject(roomB, b, 'a', { med: 5 }, '1867b1');
  net.runUntil(() => stream.sent.length > before);
  const octets = `ffffffffffffffffffffffffffffffff 0067 02 0000 0050
    80 0e 1f 0001 80 0c 0000000000000000 0a010009 00 68 1867b1 0000fc5900000009 0a09
    40 01 01 00  40 02 00  80 04 04 00000005  40 05 04 00000064
    80 09 04 0a000001  80 0a 04 09090909  c0 10 08 0002fc5900000064`;
  t.is(Buffer.from(stream.sent.at(-1)!).toString('hex'), octets.replaceAll(/\s/g, ''));
  net.runUntil(() => roomC.labelled === 1);
  t.is(redC.fib.size, 0, 'c has no MPLS either');
  const session = [...b.speaker.sessions()].find((s) => s.peer === 'a')!;
  const unreach = hex('0001 80 68 800000 0000fc5900000009 0a09');
  roomB.update(session, { reach: undefined, unreach, isWithdrawn: false }, undefined);
  net.runUntil(() => roomC.labelled === 0);
  t.is(
    Buffer.from(stream.sent.at(-1)!).toString('hex'),
    `${'ff'.repeat(16)}002b0200000014800f110001806880000000${'00fc5900000009'}0a09`,
  );
});

test('a route that has been here, or was told first by us, is not used (RFC 4456 §8)', (t) => {
  for (const loop of [{ clusterList: [0x0a000002] }, { originatorId: 0x0a000002 }]) {
    const { net, b, roomB, redC } = chain([64601, 64601, 64601], [CLIENT, CLIENT]);
    net.start();
    net.runUntil(() => isUp(b, 'a', 'c'));
    inject(roomB, b, 'a', loop);
    net.run(5000);
    t.is(redC.fib.size, 0);
    t.is(roomB.counts.learned, 1, 'kept, and refused');
    inject(roomB, b, 'a', { clusterList: [0x0a000007], originatorId: 0x0a000008 });
    net.runUntil(() => redC.fib.size === 1);
  }
});

test('an external peer is told routes of others only with their next hop unchanged, because labels are not swapped', (t) => {
  for (const [policy, hop] of [
    ['accept-all', undefined],
    [[{ action: 'accept', set: { nextHop: 'self' } }], undefined],
    [[{ action: 'accept', set: { nextHop: Addr.parse('10.9.9.9')! } }], undefined],
    [UNCHANGED, '10.1.0.1'],
  ] as const) {
    const { net, b, redA, redC } = chain([64601, 64602, 64603], [{}, { export: policy }]);
    announce(redA, '192.168.1.0/24');
    net.start();
    net.runUntil(() => isUp(b, 'a', 'c'));
    net.run(20_000);
    t.is(redC.fib.get('192.168.1.0/24'), hop);
    if (hop === undefined) continue;
    const [route] = [...redC.speaker.routes('best', { prefix: Prefix.parse('192.168.1.0/24')! })];
    t.is(route!.asPath, '64602 64601');
  }
});

test('routes of our own VRFs take the next hop that export policy says', (t) => {
  const net = new SimNet(3);
  const a = site(net, 'a', 64601, '10.1.0.1');
  const c = site(net, 'c', 64602, '10.1.0.3');
  const to = (hop: Addr | 'self' | 'unchanged'): Policy => [{ action: 'accept', set: { nextHop: hop } }];
  const from = net.join(a.router, c.router, { families, export: to(Addr.parse('10.7.7.7')!) }, { families });
  announce(a.red!, '192.168.1.0/24');
  net.start();
  net.runUntil(() => c.red!.fib.get('192.168.1.0/24') === '10.7.7.7');
  for (const same of ['self', 'unchanged'] as const) {
    a.router.speaker.setPolicies('c', { import: 'accept-all', export: to(same) });
    net.runUntil(() => c.red!.fib.get('192.168.1.0/24') === '10.1.0.1');
    a.router.speaker.setPolicies('c', { import: 'accept-all', export: to(Addr.parse('10.7.7.7')!) });
    net.runUntil(() => c.red!.fib.get('192.168.1.0/24') === '10.7.7.7');
  }
  t.true(from.isUp);
});

test('an IPv4 VPN route with an IPv6 next hop reaches a VRF that has IPv4 (RFC 8950)', (t) => {
  const { net, b, c, roomB, redC } = chain([64601, 64601, 64601], [CLIENT, CLIENT]);
  net.start();
  net.runUntil(() => isUp(b, 'a', 'c'));
  const session = [...b.speaker.sessions()].find((s) => s.peer === 'a')!;
  const target = rt('64601:100');
  const attributes = { ...PLAIN_ATTRIBUTES, localPref: 100, extendedCommunities: [target.high, target.low] };
  const hop = '0000000000000000 fd000000000000000000000000000009';
  const reach = hex(`0001 80 18 ${hop} 00 68 000031 0000fc5900000009 0a09`);
  roomB.update(session, { reach, unreach: undefined, isWithdrawn: false }, attributes);
  net.runUntil(() => redC.fib.size === 1);
  t.is(redC.fib.get('10.9.0.0/16'), 'fd00::9');
  t.is(c.session('b').faults, 0);
});

for (const isRead of [true, false]) {
  test(`an IPv6 next hop of IPv4 VPN routes is ${isRead ? '' : 'not '}told to a peer that ${isRead ? 'reads' : 'does not read'} it`, (t) => {
    const net = new SimNet(17);
    const room = new VpnRoom({ localAs: 64601, vrfs: [], wake: () => speaker.onActivity() });
    const told: Update[] = [];
    const vpnv4 = { afi: 1, safi: 128 };
    const far = (identifier: number, update: (body: Uint8Array) => void): FarEnd => ({
      open: {
        asn: 64601,
        identifier,
        capabilities: [
          { kind: 'multiprotocol', ...vpnv4 },
          ...(isRead ? [{ kind: 'extended-next-hop', entries: [{ ...vpnv4, nextHopAfi: 2 }] } as const] : []),
        ],
      },
      begin: () => undefined,
      update,
      ended: () => undefined,
    });
    const context = { ...PLAIN_CONTEXT, external: false, firstAs: undefined, families: { vpnv4: PLAIN_FACTS } };
    const ends: Record<string, FarEnd> = {
      a: far(1, () => undefined),
      c: far(2, (body) => void told.push(decodeUpdate(body.slice(), context) as Update)),
    };
    const transport = new PipeTransport(
      ({ name }) => ends[name],
      (act) => void net.clock.after(0, act),
    );
    const resolver = { isUp: () => true, subscribe: () => undefined };
    const ours = { asn: 64601, routerId: Addr.parse('10.0.0.9')!, clock: net.clock, random: net.random };
    const speaker = new Speaker({ ...ours, transport, resolver, vpn: room, sink: { apply: () => undefined } });
    net.drive(speaker);
    for (const name of Object.keys(ends)) {
      speaker.addPeer({ ...CLIENT, name, link: name, address: Addr.parse('::1')!, asn: 64601, families: ['vpnv4'] });
    }
    speaker.start();
    net.runUntil(() => speaker.snapshot().every((p) => p.state === 'Established'));
    const session = [...speaker.sessions()].find((s) => s.peer === 'a')!;
    const target = rt('64601:100');
    const attributes = { ...PLAIN_ATTRIBUTES, localPref: 100, extendedCommunities: [target.high, target.low] };
    for (const [hop, nlri] of [
      ['18 0000000000000000 fd000000000000000000000000000009', '0a09'],
      ['0c 0000000000000000 0a010009', '0a08'],
    ] as const) {
      const reach = hex(`0001 80 ${hop} 00 68 000031 0000fc5900000009 ${nlri}`);
      room.update(session, { reach, unreach: undefined, isWithdrawn: false }, attributes);
    }
    net.run(1000);
    const hops = told.filter((u) => u.vpn?.reach !== undefined).map((u) => reachText(u).split(' ')[0]);
    t.deepEqual(hops.sort(), isRead ? ['10.1.0.9', 'fd00::9'] : ['10.1.0.9']);
  });
}

test('of several routes with one distinguisher the best one is told, by the steps of RFC 4271 §9.1.2.2', (t) => {
  for (const [better, worse] of [
    [{ localPref: 200 }, { asPath: [] }],
    [{ origin: 0 }, { origin: 2 }],
    [{ asPath: [{ type: 2, asns: [1] }] }, { asPath: [{ type: 2, asns: [1, 2] }] }],
    [{ med: 1 }, { med: 2 }],
    [{ clusterList: [1] }, { clusterList: [1, 2], originatorId: 0x0a0000ff }],
    [{}, { communities: [Community.LlgrStale] }],
  ] as [Partial<Attributes>, Partial<Attributes>][]) {
    const net = new SimNet(9);
    const b = site(net, 'b', 64601);
    const c = site(net, 'c', 64601, '10.1.0.3');
    for (const name of ['x', 'y']) {
      net.join(b.router, site(net, name, 64601).router, { ...CLIENT, families }, { families });
    }
    net.join(b.router, c.router, { ...CLIENT, families }, { families });
    net.start();
    net.runUntil(() => isUp(b.router, 'x', 'y', 'c'));
    inject(b.room, b.router, 'y', { med: 7, ...better, originatorId: 0x0a0000ff });
    inject(b.room, b.router, 'x', { med: 7, ...worse, largeCommunities: [1, 1, 1] });
    net.run(2000);
    const told = (): Attributes => toldTo(b.router, c.router).at(-1)!.attributes!;
    t.deepEqual(told().largeCommunities, [], JSON.stringify(better));
    b.router.speaker.peerDown('y');
    net.runUntil(() => told().largeCommunities.length === 3);
  }
});

test('with ADD-PATH a peer is told all routes with one distinguisher, and each is taken back by itself', (t) => {
  const addPath = { families, addPath: 'both' } as const;
  const net = new SimNet(11);
  const b = site(net, 'b', 64601);
  const c = site(net, 'c', 64601, '10.1.0.3');
  for (const name of ['x', 'y']) {
    net.join(b.router, site(net, name, 64601).router, { ...CLIENT, families }, { families });
  }
  net.join(b.router, c.router, { ...CLIENT, ...addPath }, addPath);
  net.start();
  net.runUntil(() => isUp(b.router, 'x', 'y', 'c'));
  inject(b.room, b.router, 'x', { localPref: 100 });
  inject(b.room, b.router, 'y', { localPref: 200 });
  net.runUntil(() => [...c.red!.speaker.routes('in')].length === 2);
  t.is([...c.red!.speaker.routes('best')][0]!.localPref, 200);
  b.router.speaker.peerDown('y');
  net.runUntil(() => [...c.red!.speaker.routes('in')].length === 1);
  t.is([...c.red!.speaker.routes('best')][0]!.localPref, 100);
});

test('roles say nothing about VPN routes: ONLY_TO_CUSTOMER is neither added nor heeded, and passed on (RFC 9234 §5)', (t) => {
  const { net, b, c, roomB, roomC } = chain(
    [64601, 64602, 64603],
    [{ role: 'provider' }, { role: 'customer', export: UNCHANGED }],
  );
  net.start();
  net.runUntil(() => isUp(b, 'a', 'c'));
  // From a customer with the attribute, to a provider: as an IPv4 route it would be refused twice.
  inject(roomB, b, 'a', { otc: 64601, asPath: [{ type: 2, asns: [64601] }] });
  net.runUntil(() => roomC.counts.learned === 1);
  t.is(toldTo(b, c).at(-1)!.attributes!.otc, 64601);
  inject(roomB, b, 'a', { asPath: [{ type: 2, asns: [64601] }], med: 3 });
  net.runUntil(() => toldTo(b, c).length === 2);
  t.is(toldTo(b, c).at(-1)!.attributes!.otc, undefined);
});

test('between the members of a confederation VPN routes keep next hop and preference (RFC 5065)', (t) => {
  const net = new SimNet(13);
  const confederation = (members: number[]): Partial<SpeakerOptions> => ({ confederation: { id: 64600, members } });
  const a = site(net, 'a', 65001, '10.1.0.1', confederation([65002]));
  const b = site(net, 'b', 65002, undefined, confederation([65001, 65003]));
  const c = site(net, 'c', 65003, '10.1.0.3', confederation([65002]));
  net.join(b.router, a.router, { families }, { families });
  net.join(b.router, c.router, { families }, { families });
  announce(a.red!, '192.168.1.0/24');
  net.start();
  net.runUntil(() => c.red!.fib.size === 1);
  t.is(c.red!.fib.get('192.168.1.0/24'), '10.1.0.1');
  const [told] = toldTo(b.router, c.router, 'border');
  t.deepEqual(told!.attributes!.asPath, [{ type: 3, asns: [65002, 65001] }]);
  t.is(told!.attributes!.localPref, 100);
});
