/** Two routers with two VRFs each, joined by one session for both VPN families: routes reach the VRFs whose targets match. */
import test from 'ava';
import type { PeerConfig, Policy } from '../../../bgp/speaker.ts';
import { readVpnNlri, vpnKey } from '../../../bgp/vpn/nlri.ts';
import { distinguisherText, parseDistinguisher } from '../../../bgp/vpn/route-distinguisher.ts';
import { Community } from '../../../bgp/wire/attribute/communities.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { decodeRouteRefresh, encodeRouteRefresh, MessageType } from '../../../bgp/wire/message.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { hex } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, messagesIn, rd, roomOf, rt, vrf } from '../kit/vpn.ts';

/** @param configB how router b has configured router a */
function network(asnB = 64601, configB: Partial<PeerConfig> = {}) {
  const net = new SimNet(5);
  let a!: SimRouter;
  let b!: SimRouter;
  const roomA = roomOf(64601, () => a, {
    red: { rd: '64601:1', import: ['64601:100'], export: ['64601:100'] },
    blue: { rd: '64601:2', import: ['64601:200'], export: ['64601:200'] },
  });
  const roomB = roomOf(asnB, () => b, {
    red: { rd: '10.0.0.2:1', import: ['64601:100'], export: ['64601:100'] },
    both: { rd: '4200000000:7', import: ['64601:100', '64601:200'], export: [] },
  });
  a = net.router('a', { asn: 64601, vpn: roomA });
  b = net.router('b', { asn: asnB, vpn: roomB });
  const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;
  const cable = net.join(a, b, { families }, { families, ...configB });
  const vrfs = {
    redA: vrf(net, roomA, 'red', 64601, '10.1.0.1'),
    blueA: vrf(net, roomA, 'blue', 64601, '10.2.0.1'),
    redB: vrf(net, roomB, 'red', asnB, '10.1.0.2'),
    bothB: vrf(net, roomB, 'both', asnB, '10.3.0.2'),
  };
  return { net, a, b, cable, roomA, roomB, ...vrfs };
}

for (const [what, asnB] of [
  ['internal', 64601],
  ['external', 64602],
] as const) {
  test(`routes reach the VRFs whose targets match, and no other, over an ${what} session`, (t) => {
    const n = network(asnB);
    announce(n.redA, '192.168.1.0/24', 'fd01::/48');
    announce(n.blueA, '192.168.2.0/24');
    announce(n.redB, '192.168.3.0/24');
    n.net.start();
    n.net.runUntil(() => n.bothB.fib.size === 4 && n.redA.fib.size === 1);
    n.net.run(1000);
    t.deepEqual(Object.fromEntries(n.redB.fib), { '192.168.1.0/24': '10.1.0.1', 'fd01::/48': 'fd00::1' });
    t.deepEqual(Object.fromEntries(n.bothB.fib), {
      '192.168.1.0/24': '10.1.0.1',
      '192.168.2.0/24': '10.2.0.1',
      '192.168.3.0/24': '10.1.0.2@(vrf red)',
      'fd01::/48': 'fd00::1',
    });
    t.deepEqual(Object.fromEntries(n.redA.fib), { '192.168.3.0/24': '10.1.0.2' });
    t.is(n.blueA.fib.size, 0);
    t.is(n.a.fib.size + n.b.fib.size, 0, 'nothing leaks into the default table');
    const [route] = [...n.redB.speaker.routes('best', { prefix: Prefix.parse('192.168.1.0/24')! })];
    t.deepEqual(route!.extendedCommunities, ['rt:64601:100']);
    t.is(route!.asPath, asnB === 64601 ? '' : '64601');
  });
}

test('a prefix of two VRFs is two paths in the VRF that imports both, and falls back when one goes', (t) => {
  const n = network();
  announce(n.redA, '192.168.1.0/24');
  announce(n.blueA, '192.168.1.0/24');
  n.net.start();
  n.net.runUntil(() => [...n.bothB.speaker.routes('in')].length === 2);
  n.net.run(1000);
  const first = n.bothB.fib.get('192.168.1.0/24');
  (first === '10.1.0.1' ? n.redA : n.blueA).speaker.withdraw(Prefix.parse('192.168.1.0/24')!);
  n.net.runUntil(() => n.bothB.fib.get('192.168.1.0/24') !== first);
  t.is(n.bothB.fib.get('192.168.1.0/24'), first === '10.1.0.1' ? '10.2.0.1' : '10.1.0.1');
});

test('what a session told is gone with it, and there again after it; a refresh brings it once more', (t) => {
  const n = network();
  announce(n.redA, '192.168.1.0/24');
  n.net.start();
  n.net.runUntil(() => n.redB.fib.size === 1);
  t.deepEqual(n.roomB.counts, { learned: 1, exported: 0 });
  n.net.setCable(n.cable, false);
  n.net.runUntil(() => n.redB.fib.size === 0);
  t.deepEqual(n.roomB.counts, { learned: 0, exported: 0 });
  n.net.setCable(n.cable, true);
  n.net.runUntil(() => n.redB.fib.size === 1);
  const updates = (): number => n.b.session('a').messages.received.update;
  const before = updates();
  const stream = n.a.streams.find((s) => !s.isClosed)!;
  const from = stream.sent.length;
  n.b.speaker.peerRefresh('a', 'in');
  n.net.run(2000);
  t.is(n.redB.fib.size, 1);
  t.true(updates() > before);
  const marks = messagesIn(stream.sent.slice(from))
    .filter((m) => m[18] === MessageType.RouteRefresh)
    .map((m) => decodeRouteRefresh(m.subarray(19)).safi);
  t.deepEqual(marks.sort(), [1, 1, 128, 128, 128, 128], 'RFC 7313 marks stand around every family');
});

test('a route with an MPLS label is counted and not imported', (t) => {
  const n = network();
  n.net.start();
  n.net.runUntil(() => n.a.session('b').state === 'Established');
  const session = [...n.b.speaker.sessions()][0]!;
  const target = rt('64601:100');
  const attributes = { ...PLAIN_ATTRIBUTES, extendedCommunities: [target.high, target.low] };
  // AFI 1, SAFI 128, next hop 0:10.1.0.9, then a label, RD 64601:9, 10.9.0.0/16.
  const value = (label: string) => hex(`0001 80 0c 0000000000000000 0a010009 00 68 ${label} 0000fc5900000009 0a09`);
  const reach = (label: string) => ({ reach: value(label), unreach: undefined, isWithdrawn: false });
  t.is(n.roomB.update(session, reach('000101'), attributes), undefined);
  t.is(n.roomB.labelled, 1);
  t.is(n.roomB.counts.learned, 1);
  n.net.run(1000);
  t.is(n.redB.fib.size, 0);
  t.is(n.roomB.update(session, reach('000031'), attributes), undefined);
  t.is(n.roomB.labelled, 0);
  t.is(n.roomB.counts.learned, 1);
  n.net.runUntil(() => n.redB.fib.size === 1);
  t.is(n.redB.fib.get('10.9.0.0/16'), '10.1.0.9');
  const cut = { reach: value('000031').subarray(0, 30), unreach: undefined, isWithdrawn: false };
  t.like(n.roomB.update(session, cut, attributes), { handling: 'reset' });
});

test('distinguishers of all three kinds are read and printed', (t) => {
  for (const text of ['64601:1', '172.20.0.1:77', '4242420229:9']) t.is(distinguisherText(rd(text)), text);
  for (const bad of ['', '1', '1:2:3', '70000:70000', '1.2.3:4', '1.2.3.4:70000', 'a:b'])
    t.is(parseDistinguisher(bad), undefined, bad);
  t.is(distinguisherText({ high: 0x00090001, low: 2 }), '0x0009000100000002');
});

test('VPN prefixes are read with labels, identifiers and withdrawals, and refused when cut short', (t) => {
  const [p] = readVpnNlri(hex('70 000031 0000fc5900000009 0a0908'), 4, false)!;
  t.is(vpnKey(p!), 'fc59.9 10.9.8.0/24');
  t.is(p!.label, 3);
  const identified = readVpnNlri(hex('00000007 70 000101 0000fc5900000009 0a0908'), 4, true)!;
  t.like(identified[0], { pathId: 7, label: 16 });
  const gone = readVpnNlri(hex('70 800000 0000fc5900000009 0a0908'), 4, false)!;
  t.is(vpnKey(gone[0]!), 'fc59.9 10.9.8.0/24');
  const broken = [
    '70 000031 0000fc5900000009 0a09',
    '50 000031 0000fc59000000',
    '57 000031 0000fc5900000009',
    '79 000031 0000fc5900000009 0a0908 00',
    'ff 000030',
  ];
  for (const bad of broken) t.is(readVpnNlri(hex(bad), 4, false), undefined, bad);
});

test('the bottom-of-stack bit of a label is ignored: there is one label (RFC 8277 §2.2)', (t) => {
  const [p] = readVpnNlri(hex('70 000100 0000fc5900000009 0a0908'), 4, false)!;
  t.is(vpnKey(p!), 'fc59.9 10.9.8.0/24');
  t.is(p!.label, 16);
});

test('a VPN peer that does not read costs no queue, however often it asks for everything again', (t) => {
  const n = network();
  const prefixes = Array.from({ length: 300 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
  announce(n.redA, ...prefixes);
  n.net.start();
  n.net.runUntil(() => n.redB.fib.size === prefixes.length);
  n.net.run(1000);
  const stream = n.a.streams.find((s) => !s.isClosed)!;
  const { handler } = stream;
  const before = stream.sent.length;
  stream.block(true);
  for (let i = 0; i < 50; i++) handler!.data(encodeRouteRefresh({ afi: 1, safi: 128, subtype: 0 }));
  announce(n.redA, '10.9.0.0/16');
  n.redA.speaker.withdraw(Prefix.parse(prefixes[0]!)!);
  n.net.run(1000);
  t.true(stream.sent.length - before <= 6, 'what one turn had already begun, in steps');
  stream.block(false);
  n.net.runUntil(() => n.redB.fib.has('10.9.0.0/16'));
  n.net.run(1000);
  t.is(n.redB.fib.size, prefixes.length);
  t.true(stream.sent.length - before <= 20, 'told once more, packed, and not once for each request');
});

test('prefixes with the same attributes share an UPDATE, and go in as many as it takes', (t) => {
  const n = network();
  const prefixes = Array.from({ length: 600 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
  announce(n.redA, ...prefixes);
  n.net.run(1000);
  n.net.start();
  n.net.runUntil(() => n.redB.fib.size === prefixes.length);
  n.net.run(1000);
  t.true(n.b.session('a').messages.received.update <= 10);
  for (const p of prefixes) n.redA.speaker.withdraw(Prefix.parse(p)!);
  n.net.runUntil(() => n.redB.fib.size === 0);
  t.deepEqual(n.roomB.counts, { learned: 0, exported: 0 });
});

test('an external peer without a policy feeds no VRF and is told nothing; a policy given later is applied at once', (t) => {
  const n = network(64602, { import: 'reject-all', export: 'reject-all' });
  announce(n.redA, '192.168.1.0/24');
  announce(n.redB, '192.168.3.0/24');
  n.net.start();
  n.net.run(20_000);
  t.is(n.a.session('b').state, 'Established');
  t.is(n.redA.fib.size + n.redB.fib.size, 0);
  t.is(n.roomB.counts.learned, 1, 'told and refused');
  t.is(n.roomA.counts.learned, 0, 'told nothing');
  n.b.speaker.setPolicies('a', { import: 'accept-all', export: 'reject-all' });
  n.net.runUntil(() => n.redB.fib.size === 1);
  n.b.speaker.setPolicies('a', { import: 'reject-all', export: 'reject-all' });
  n.net.runUntil(() => n.redB.fib.size === 0);
  n.b.speaker.setPolicies('a', { import: 'accept-all', export: 'reject-all' });
  n.net.runUntil(() => n.redB.fib.size === 1);
  n.a.speaker.setPolicies('b', { import: 'reject-all', export: 'reject-all' });
  n.net.runUntil(() => n.redB.fib.size === 0);
  t.is(n.roomB.counts.learned, 0, 'taken back');
});

test('rules judge VPN routes as they judge others', (t) => {
  const only = (prefix: string): Policy => [
    { match: { prefixes: [{ prefix: Prefix.parse(prefix)! }] }, set: { localPref: 300 }, action: 'accept' },
  ];
  const n = network(64602, { import: only('192.168.1.0/24'), export: 'accept-all' });
  announce(n.redA, '192.168.1.0/24', '192.168.2.0/24');
  n.net.start();
  n.net.runUntil(() => n.redB.fib.size > 0);
  n.net.run(1000);
  t.deepEqual([...n.redB.fib.keys()], ['192.168.1.0/24']);
  t.is([...n.redB.speaker.routes('best')][0]!.localPref, 300);
  t.is(n.roomB.counts.learned, 2);
});

for (const [communities, internal, external] of [
  [[], 1, 1],
  [[Community.NoExport], 1, 0],
  [[Community.NoExportSubconfed], 1, 0],
  [[Community.NoAdvertise], 0, 0],
] as const) {
  test(`RFC 1997 holds for VPN sessions: ${communities.map((c) => c.toString(16)).join() || 'none'}`, (t) => {
    for (const [asnB, learned] of [
      [64601, internal],
      [64602, external],
    ] as const) {
      const n = network(asnB);
      n.redA.speaker.announce({ prefix: Prefix.parse('192.168.1.0/24')!, communities });
      n.net.start();
      n.net.run(20_000);
      t.is(n.a.session('b').state, 'Established');
      t.is(n.roomB.counts.learned, learned);
    }
  });
}

test('a peer that announces more VPN prefixes than its limit loses its session', (t) => {
  const n = network(64602, { maxPrefixes: { limit: 3, action: 'down' } });
  announce(n.redA, '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16');
  n.net.start();
  n.net.runUntil(() => n.redB.fib.size === 3);
  n.net.run(1000);
  t.is(n.b.session('a').state, 'Established');
  announce(n.redA, '10.4.0.0/16');
  n.net.runUntil(() => n.b.session('a').state !== 'Established');
  n.net.run(1000);
  t.is(n.redB.fib.size, 0);
  t.is(n.b.session('a').state, 'Idle');
});

test('two VRFs cannot have the same route distinguisher', (t) => {
  const both = { rd: '64601:1', import: [], export: [] };
  t.throws(() => roomOf(64601, () => undefined!, { red: both, blue: both }), {
    instanceOf: RangeError,
    message: 'route distinguisher 64601:1 of two VRFs',
  });
});
