import test from 'ava';
import { parseCommunity } from '../../bgp/wire/attribute/communities.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { SimNet, type SimRouter } from './kit/net.ts';

function pair(seed = 1) {
  const net = new SimNet(seed);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', 'fd42:1::/48'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24', 'fd42:2::/48'] });
  const cable = net.join(a, b);
  return { net, a, b, cable };
}

const up = (r: { session(p: string): { state: string } }, peer: string) => r.session(peer).state === 'Established';

test('two speakers over link-local addresses exchange both families, IPv4 with an IPv6 next hop', (t) => {
  const { net, a, b } = pair();
  net.start();
  net.runUntil(() => a.fib.size === 2 && b.fib.size === 2);
  t.deepEqual([...a.fib.keys()].sort(), ['172.20.2.0/24', 'fd42:2::/48']);
  const hop = a.fib.get('172.20.2.0/24')![0]!;
  t.is(hop.address.toString(), 'fe80::1:2');
  t.is(hop.link, 'a-b');
  t.true(a.session('b').extendedNextHop);
  t.deepEqual(a.session('b').routes.ipv4, {
    received: 1,
    accepted: 1,
    advertised: 1,
    stale: 0,
    nextHop: { global: undefined, linkLocal: 'fe80::1:1' },
  });
});

test('when both sides connect at once exactly one connection survives', (t) => {
  for (let seed = 1; seed <= 30; seed++) {
    const { net, a, b } = pair(seed);
    net.start();
    net.runUntil(() => up(a, 'b') && up(b, 'a'));
    net.run(1000);
    const open = (r: typeof a) => r.streams.filter((s) => !s.isClosed);
    t.is(open(a).length, 1, `seed ${seed}`);
    t.is(open(b).length, 1);
    t.is(open(a)[0]!.other, open(b)[0]!);
    t.is(a.session('b').establishments, 1);
  }
});

test('a collision whose Cease is read together with the KEEPALIVE before it is survived', (t) => {
  // A busy router finds at once what its peer wrote in steps: OPEN, KEEPALIVE and, on the connection that lost, the Cease.
  let together = 0;
  for (let seed = 1; seed <= 300; seed++) {
    const { net, a, b, cable } = pair(seed);
    cable.busy = { name: seed % 2 === 0 ? 'a' : 'b', everyMs: 7 + (seed % 60) };
    a.speaker.start();
    net.run(seed % 41);
    b.speaker.start();
    net.runUntil(() => a.fib.size === 2 && b.fib.size === 2, 60_000);
    net.run(2000);
    t.is(a.session('b').state, 'Established', `seed ${seed}`);
    t.is(b.session('a').state, 'Established', `seed ${seed}`);
    t.is(a.streams.filter((s) => !s.isClosed).length, 1, `seed ${seed}`);
    if (a.session('b').establishments + b.session('a').establishments > 2) together++;
  }
  t.true(together > 0, 'no seed made the case this is about');
});

test('routes pass through a transit AS with its AS in front and itself as next hop', (t) => {
  const net = new SimNet(2);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const m = net.router('m', { asn: 64602 });
  const b = net.router('b', { asn: 64603 });
  net.join(a, m);
  net.join(m, b);
  net.start();
  net.runUntil(() => b.fib.size === 1);
  const [route] = [...b.speaker.routes('best')];
  t.is(route!.asPath, '64602 64601');
  t.is(route!.linkLocalNextHop, 'fe80::2:1');
  t.deepEqual([...a.speaker.routes('in')], [], 'a route is not told to the peer it came from');
});

test('when an uplink goes down its routes are withdrawn at once, here and at the others', (t) => {
  const net = new SimNet(3);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const m = net.router('m', { asn: 64602 });
  const b = net.router('b', { asn: 64603 });
  const cable = net.join(a, m);
  net.join(m, b);
  net.start();
  net.runUntil(() => b.fib.size === 1);
  net.setCable(cable, false);
  t.is(m.fib.size, 0, 'in the same turn');
  net.run(50);
  t.is(b.fib.size, 0);
  t.is(m.session('a').lastError?.text, 'uplink is down');
  net.setCable(cable, true);
  net.runUntil(() => b.fib.size === 1, 5000);
  t.deepEqual([...b.fib.keys()], ['172.20.1.0/24']);
});

test('a peer that falls silent is dropped exactly at the negotiated hold time', (t) => {
  const net = new SimNet(4);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'] });
  const cable = net.join(a, b, { holdTimeS: 90 }, { holdTimeS: 180 });
  net.start();
  net.runUntil(() => a.fib.size === 1 && b.fib.size === 1);
  net.run(200_000);
  t.is(a.session('b').holdTimeS, 90);
  cable.muted.add('b');
  const before = a.session('b').timersMs['hold']!;
  const silence = net.clock.now() as number;
  net.clock.runTo(silence + before - 1);
  t.is(a.session('b').state, 'Established');
  net.clock.runTo(silence + before + 1); // what is shown is rounded to milliseconds
  t.not(a.session('b').state, 'Established');
  t.is(a.session('b').lastError?.text, 'hold timer expired');
  t.is(a.fib.size, 0);
});

test('keepalives hold a quiet session for hours and come with jitter', (t) => {
  const { net, a } = pair(5);
  net.start();
  net.runUntil(() => up(a, 'b'));
  net.run(4 * 3600_000);
  t.is(a.session('b').establishments, 1);
  const perHour = a.session('b').messages.sent.keepalive / 4;
  // RFC 4271 §10: 30 s times 0.75 to 1.
  t.true(perHour > 3600 / 30 && perHour < 3600 / 22.5, `${perHour} keepalives per hour`);
});

test('an administrator ends a session with a text and brings it back', (t) => {
  const { net, a, b } = pair(6);
  net.start();
  net.runUntil(() => up(a, 'b') && up(b, 'a'));
  t.true(a.speaker.peerDown('b', 'moving house'));
  t.is(a.fib.size, 0);
  net.run(100);
  t.is(b.session('a').lastError?.text, 'administrative shutdown: "moving house"');
  net.run(300_000);
  t.is(a.session('b').state, 'Idle');
  t.true(a.speaker.peerUp('b'));
  net.runUntil(() => a.fib.size === 2, 120_000);
  t.true(a.speaker.peerReset('b'));
  net.runUntil(() => a.session('b').establishments === 3, 20_000);
  t.false(a.speaker.peerDown('nobody'));
});

test('what a NOTIFICATION said is not hidden by refused attempts, until a session is established again', (t) => {
  const { net, a, b } = pair(6);
  net.start();
  net.runUntil(() => up(a, 'b') && up(b, 'a'));
  t.true(a.speaker.peerDown('b', 'back at 9'));
  net.run(120_000);
  const text = 'administrative shutdown: "back at 9"';
  t.like(b.session('a').lastNotification, { text, origin: 'received' });
  t.true(b.session('a').lastNotification!.agoMs > 110_000);
  t.is(b.session('a').lastError?.origin, 'transport');
  t.like(a.session('b').lastNotification, { text, origin: 'sent' }, 'in the same words on both sides');
  a.speaker.peerUp('b');
  net.runUntil(() => up(a, 'b') && up(b, 'a'), 120_000);
  t.is(b.session('a').lastNotification, undefined);
  t.is(a.session('b').lastNotification, undefined);
});

test('an address means the longest prefix around it that has such routes', (t) => {
  const { net, a, b } = pair(6);
  b.speaker.announce({ prefix: Prefix.parse('172.20.0.0/16')! });
  net.start();
  net.runUntil(() => a.fib.size === 3);
  const around = (kind: 'in' | 'out' | 'best', addr: string): string[] =>
    a.speaker.page({ kind, peer: 'b', around: Addr.parse(addr)! }, undefined, (r) => String(r.prefix))
      .routes as string[];
  t.deepEqual(around('best', '172.20.2.9'), ['172.20.2.0/24']);
  t.deepEqual(around('in', '172.20.1.9'), ['172.20.0.0/16'], 'the longer one is our own');
  t.deepEqual(around('out', '172.20.1.9'), ['172.20.1.0/24']);
  t.deepEqual(around('best', '8.8.8.8'), []);
});

test('a session that is refused again and again backs off and connects once the peer listens', (t) => {
  const { net, a, b } = pair(7);
  b.isDeaf = true;
  a.speaker.start();
  net.run(120_000);
  t.regex(a.session('b').lastError!.text, /connection refused/);
  const attempts = a.events.filter((e) => e.endsWith('->Connect')).length;
  t.true(attempts >= 4 && attempts < 12, `${attempts} attempts in two minutes`);
  b.isDeaf = false;
  b.speaker.start();
  net.runUntil(() => up(a, 'b'), 40_000);
  t.is(a.session('b').establishments, 1);
});

test('without a policy an external session carries no routes (RFC 8212), an internal one does', (t) => {
  for (const [asn, expected] of [
    [64602, 0],
    [64601, 2],
  ] as const) {
    const net = new SimNet(8);
    const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', 'fd42:1::/48'] });
    const b = net.router('b', { asn });
    const cable = net.join(a, b);
    for (const [r, other] of [
      [a, b],
      [b, a],
    ] as const) {
      r.speaker.removePeer(other.name);
      const address = cable.addresses[cable.sideOf(other)]!;
      r.speaker.addPeer({ name: other.name, address, link: cable.id, asn: other.speaker.asn });
    }
    net.start();
    net.runUntil(() => up(a, 'b') && up(b, 'a'));
    net.run(1000);
    t.is(b.fib.size, expected);
  }
});

test('prefixes of our own are not accepted from outside, and neither are paths with our AS', (t) => {
  const net = new SimNet(9);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.1.128/25', '172.20.1.0/24', '172.20.0.0/16'] });
  net.join(a, b);
  net.start();
  net.runUntil(() => a.fib.size === 1);
  t.deepEqual([...a.fib.keys()], ['172.20.0.0/16']);
  const refused = [...a.speaker.routes('in')].filter((r) => r.refused !== undefined);
  t.deepEqual(
    refused.map((r) => r.refused),
    ['inside a prefix of our own', 'inside a prefix of our own'],
  );
  // Once the network is not ours any more, what was refused is taken without asking the peer again.
  a.speaker.withdraw(Prefix.parse('172.20.1.0/24')!);
  t.is(a.fib.size, 3);
});

test('a peer may have parts of our networks that are delegated to it, and keeps them when the rest changes', (t) => {
  const net = new SimNet(19);
  const own = ['172.20.1.0/24', 'fd42:1::/48'];
  const a = net.router('a', { asn: 64601, networks: own });
  const customer = net.router('b', {
    asn: 64602,
    networks: ['172.20.1.128/25', '172.20.1.192/28', '172.20.1.0/25', ...own],
  });
  const other = net.router('c', { asn: 64603, networks: ['172.20.1.128/26', 'fd42:1:0:1::/64'] });
  net.join(a, customer, { delegated: [Prefix.parse('172.20.1.128/25')!] });
  net.join(a, other);
  net.start();
  net.run(5_000);
  t.deepEqual([...a.fib.keys()].sort(), ['172.20.1.128/25', '172.20.1.192/28']);
  const told = (r: typeof a): string[] => [...r.speaker.routes('best')].map((b) => `${b.prefix} ${b.asPath}`).sort();
  t.true(told(other).includes('172.20.1.128/25 64601 64602'), 'others are told who has it');
  t.true(told(other).includes('172.20.1.0/24 64601'), 'and our network as before');
  a.speaker.withdraw(Prefix.parse('172.20.1.0/24')!);
  a.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')! });
  net.run(1_000);
  t.deepEqual([...a.fib.keys()].sort(), ['172.20.1.128/25', '172.20.1.192/28']);
});

test('another router of our AS may have a part of our networks', (t) => {
  const net = new SimNet(18);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', 'fd42:1::/48'] });
  const b = net.router('b', { asn: 64601, networks: ['172.20.1.0/24', '172.20.1.2/32', 'fd42:1:0:2::/64'] });
  net.join(a, b);
  net.start();
  net.runUntil(() => a.fib.size === 2);
  t.deepEqual([...a.fib.keys()].sort(), ['172.20.1.2/32', 'fd42:1:0:2::/64'], 'what both have ends at each of them');
  t.deepEqual(
    [...a.speaker.routes('in')].filter((r) => r.refused !== undefined),
    [],
  );
});

test('well-known communities keep a route where it is', (t) => {
  const net = new SimNet(10);
  const a = net.router('a', { asn: 64601 });
  const m = net.router('m', { asn: 64602 });
  const b = net.router('b', { asn: 64603 });
  net.join(a, m);
  net.join(m, b);
  a.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')!, communities: [parseCommunity('no-export')!] });
  a.speaker.announce({ prefix: Prefix.parse('172.20.2.0/24')!, communities: [parseCommunity('no-advertise')!] });
  a.speaker.announce({ prefix: Prefix.parse('172.20.3.0/24')!, communities: [parseCommunity('64511:5')!] });
  net.start();
  net.run(5000);
  t.deepEqual([...m.fib.keys()].sort(), ['172.20.3.0/24'], 'no-export and no-advertise do not leave the originator');
  t.deepEqual([...b.fib.keys()], ['172.20.3.0/24']);
});

test('what a network of ours carries reaches other ASes, the local preference our own alone', (t) => {
  const net = new SimNet(12);
  const a = net.router('a', { asn: 64601 });
  const inside = net.router('i', { asn: 64601 });
  const outside = net.router('o', { asn: 64603 });
  net.join(a, inside);
  net.join(a, outside);
  const prefix = Prefix.parse('172.20.1.0/24')!;
  const large = [
    [64601, 1, 2],
    [64601, 3, 4],
  ] as const;
  const target = [0x0002fc59, 7] as const; // rt:64601:7
  const carried = { communities: [parseCommunity('64601:5')!], largeCommunities: large, extendedCommunities: [target] };
  a.speaker.announce({ prefix, med: 10, localPref: 300, ...carried });
  net.start();
  net.run(5000);
  const seen = (r: SimRouter) => [...r.speaker.routes('best', { prefix })][0]!;
  const labels = {
    communities: ['64601:5'],
    extendedCommunities: ['rt:64601:7'],
    largeCommunities: ['64601:1:2', '64601:3:4'],
  };
  t.like(seen(outside), { med: 10, localPref: 100, ...labels });
  t.like(seen(inside), { med: 10, localPref: 300, ...labels });
  a.speaker.announce({ prefix });
  net.run(1000);
  t.like(seen(inside), { med: undefined, localPref: 100, communities: [] });
});

test('graceful shutdown makes a route the last choice (RFC 8326)', (t) => {
  const net = new SimNet(11);
  const x = net.router('x', { asn: 64600 });
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602 });
  net.join(x, a);
  net.join(x, b);
  const prefix = Prefix.parse('172.20.9.0/24')!;
  a.speaker.announce({ prefix, communities: [parseCommunity('graceful-shutdown')!] });
  b.speaker.announce({ prefix });
  net.start();
  net.run(5000);
  t.is(x.fib.get('172.20.9.0/24')![0]!.link, 'x-b');
  const views = x.speaker.explain(prefix);
  t.deepEqual(
    views.map((v) => [v.peer, v.isBest, v.localPref, v.lostAt]),
    [
      ['b', true, 100, undefined],
      ['a', false, 0, 'local preference'],
    ],
  );
});

test('equal paths are used together when multipath is on, and the longest match is explained', (t) => {
  const net = new SimNet(12);
  const x = net.router('x', { asn: 64600, maxPaths: 4 });
  const a = net.router('a', { asn: 64601, networks: ['172.20.9.0/24'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.9.0/24'] });
  net.join(x, a);
  const cable = net.join(x, b);
  net.start();
  net.runUntil(() => x.fib.get('172.20.9.0/24')?.length === 2);
  const views = x.speaker.explain(Addr.parse('172.20.9.77')!);
  t.deepEqual(
    views.map((v) => [v.peer, v.lostAt, v.isMultipath]),
    [
      ['a', undefined, false],
      ['b', 'BGP identifier', true],
    ],
  );
  net.setCable(cable, false);
  t.is(x.fib.get('172.20.9.0/24')?.length, 1);
});

test('routes from an internal peer are not told to another internal one, and local preference travels', (t) => {
  const net = new SimNet(13);
  const e = net.router('e', { asn: 64999, networks: ['172.20.9.0/24'] });
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64601 });
  const c = net.router('c', { asn: 64601 });
  net.join(e, a, { import: [{ action: 'accept', set: { localPref: 250 } }], export: 'accept-all' });
  net.join(a, b);
  net.join(b, c);
  net.start();
  net.run(10_000);
  const [route] = [...b.speaker.routes('best')];
  t.is(route!.asPath, '64999');
  t.is(route!.localPref, 250);
  t.is(route!.linkLocalNextHop, 'fe80::2:1', 'a link-local next hop of another uplink is replaced by our own');
  t.is(c.fib.size, 0);
});

test('a change of policy is applied to what the peer has already sent', (t) => {
  const { net, a, b } = pair(14);
  net.start();
  net.runUntil(() => a.fib.size === 2 && b.fib.size === 2);
  const only4 = [
    { match: { prefixes: [{ prefix: Prefix.parse('0.0.0.0/0')!, maxLength: 32 }] }, action: 'accept' },
  ] as const;
  a.speaker.setPolicies('b', { import: only4, export: 'reject-all' });
  t.deepEqual([...a.fib.keys()], ['172.20.2.0/24']);
  net.run(100);
  t.is(b.fib.size, 0);
  t.is(a.session('b').routes.ipv6.received, 1);
  a.speaker.setPolicies('b', { import: 'accept-all', export: 'accept-all' });
  net.run(100);
  t.is(a.fib.size, 2);
  t.is(b.fib.size, 2);
});

test('a peer that announces more prefixes than agreed is told so and tried again later and later', (t) => {
  const net = new SimNet(15);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24'] });
  net.join(a, b, { maxPrefixes: 2 }, {});
  net.start();
  net.run(5000);
  t.is(a.fib.size, 0);
  t.regex(b.events.join('\n'), /Established->Idle/);
  net.run(600_000);
  const tries = a.session('b').establishments;
  t.true(tries > 4 && tries < 20, `${tries} sessions in ten minutes`);
});

test('route refresh makes a peer tell everything again, without a change in the FIB', (t) => {
  const { net, a, b } = pair(17);
  net.start();
  net.runUntil(() => a.fib.size === 2 && b.fib.size === 2);
  const before = { updates: a.session('b').messages.received.update, fib: a.fibChanges };
  t.true(a.speaker.peerRefresh('b', 'in'));
  net.run(100);
  t.is(b.session('a').messages.received.refresh, 2);
  t.is(a.session('b').messages.received.update, before.updates + 2);
  t.is(a.fibChanges, before.fib);
});

test('shutdown ends all sessions and leaves nothing armed', (t) => {
  const { net, a, b } = pair(18);
  net.start();
  net.runUntil(() => up(a, 'b') && up(b, 'a'));
  a.speaker.shutdown('bye');
  t.is(a.speaker.deadline(), undefined);
  net.run(100);
  t.is(b.session('a').lastError?.text, 'administrative shutdown: "bye"');
  b.speaker.shutdown();
  t.is(b.speaker.deadline(), undefined);
  t.is(a.speaker.totals.attributeSets, 1, 'only the set of our own networks is left');
});
