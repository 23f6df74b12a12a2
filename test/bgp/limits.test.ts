/** Limits on prefixes, peers by range, and what BFD says about a path; in virtual time. */
import test from 'ava';
import { PrefixLimit } from '../../bgp/limits.ts';
import type { MaxPrefixes, PeerConfig } from '../../bgp/speaker.ts';
import { notificationText } from '../../bgp/wire/fault.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { hex } from './kit/describe.ts';
import { SimNet } from './kit/net.ts';

function limited(seed: number, maxPrefixes: PeerConfig['maxPrefixes'], networks: number) {
  const net = new SimNet(seed);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', {
    asn: 64602,
    networks: Array.from({ length: networks }, (_, i) => `172.20.${i}.0/24`),
  });
  net.join(a, b, { maxPrefixes: maxPrefixes! }, {});
  net.start();
  net.run(5000);
  return { net, a, b };
}

test('near the limit there is one warning, beyond it another one', (t) => {
  const { net, a, b } = limited(1, { limit: 4, warnAt: 50, action: 'warn' }, 2);
  const warnings = () => a.events.filter((e) => e.includes(' of ipv4'));
  t.deepEqual(warnings(), ['b near 4 of ipv4']);
  for (const i of [2, 3]) b.speaker.announce({ prefix: Prefix.parse(`172.20.${i}.0/24`)! });
  net.run(1000);
  t.is(warnings().length, 1);
  b.speaker.announce({ prefix: Prefix.parse('172.20.9.0/24')! });
  net.run(1000);
  t.deepEqual(warnings(), ['b near 4 of ipv4', 'b exceeded 4 of ipv4']);
  t.is(a.session('b').state, 'Established');
  t.is(a.fib.size, 5);
});

test('a session beyond its limit ends with the family and the limit (RFC 4486 §4)', (t) => {
  const { b } = limited(2, 2, 3);
  t.is(b.session('a').lastError?.text, 'maximum number of prefixes reached: 2 of ipv4 unicast');
});

test('it begins again after the time that was set, and the peer cannot hurry that', (t) => {
  const { net, a, b } = limited(3, { limit: 2, action: 'restart', restartAfterMs: 900_000 }, 3);
  t.is(a.fib.size, 0);
  net.run(880_000);
  t.is(a.session('b').establishments, 1);
  b.speaker.withdraw(Prefix.parse('172.20.2.0/24')!);
  net.run(60_000);
  t.is(a.session('b').state, 'Established');
  t.is(a.fib.size, 2);
});

test('with "down" it stays down until an operator says otherwise', (t) => {
  const { net, a, b } = limited(4, { limit: 2, action: 'down' }, 3);
  net.run(3_600_000);
  t.is(a.session('b').state, 'Idle');
  t.true(a.session('b').isShutDown);
  b.speaker.withdraw(Prefix.parse('172.20.2.0/24')!);
  a.speaker.peerUp('b');
  net.run(120_000);
  t.is(a.fib.size, 2);
});

test('refused prefixes count only where that is asked for', (t) => {
  const build = (count: MaxPrefixes['count']) => {
    const net = new SimNet(5);
    const a = net.router('a', { asn: 64601 });
    const b = net.router('b', { asn: 64602, networks: ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24'] });
    net.join(a, b, { import: 'reject-all', maxPrefixes: { limit: 2, ...(count !== undefined && { count }) } }, {});
    net.start();
    net.run(5000);
    return a.session('b').establishments;
  };
  t.is(build(undefined), 1);
  t.true(build('received') > 1);
});

test('a limit tells each crossing once', (t) => {
  const limit = new PrefixLimit({ limit: 100, warnAt: 90 });
  const seen = [10, 89, 90, 99, 100, 101, 150, 95, 101, 10, 95].map((n) => limit.crossed('ipv4', n));
  t.deepEqual(seen, [
    undefined,
    undefined,
    'near',
    undefined,
    undefined,
    'exceeded',
    undefined,
    undefined,
    'exceeded',
    undefined,
    'near',
  ]);
  t.is(limit.crossed('ipv6', 95), 'near', 'families are counted apart');
});

test('what a NOTIFICATION about a limit says', (t) => {
  t.is(notificationText(6, 1, hex('0002 01 000003e8')), 'maximum number of prefixes reached: 1000 of ipv6 unicast');
  t.is(notificationText(6, 1, hex('0002 01')), 'maximum number of prefixes reached');
  t.is(notificationText(6, 9, hex('06 02 03 627965')), 'administrative shutdown: "bye"');
  t.is(notificationText(6, 9, hex('0609 0602')), 'hard reset');
});

test('whoever connects from a range becomes a peer, and is forgotten when it is gone', (t) => {
  const net = new SimNet(6);
  const hub = net.router('hub', { asn: 64600, networks: ['172.20.0.0/24'] });
  const spokes = [1, 2, 3].map((i) => net.router(`s${i}`, { asn: 64600 + i, networks: [`172.20.${i}.0/24`] }));
  const cables = spokes.map((s) => net.join(hub, s));
  for (const [i, s] of spokes.entries()) {
    hub.speaker.removePeer(s.name);
    const { id } = cables[i]!;
    const common = { link: id, asn: 'external', import: 'accept-all', export: 'accept-all' } as const;
    hub.speaker.addRange({ ...common, name: `guests${i}`, range: Prefix.parse('fe80::/64')!, maxPeers: 1 });
  }
  net.start();
  net.run(5000);
  t.is(hub.fib.size, 3);
  t.deepEqual(
    hub.speaker.snapshot().map((p) => [p.name, p.asn, p.state, p.range]),
    spokes.map((_, i) => [`guests${i}-fe80::${i + 1}:2`, 64601 + i, 'Established', `guests${i}`]),
  );
  t.is(spokes[0]!.fib.size, 3, 'they are told our routes and those of the others');
  spokes[0]!.speaker.peerDown('hub');
  net.run(1000);
  t.is(hub.fib.size, 2);
  t.is(hub.speaker.snapshot().length, 2);
  spokes[0]!.speaker.peerUp('hub');
  net.run(60_000);
  t.is(hub.fib.size, 3);
  t.true(hub.speaker.removeRange('guests0'));
  t.is(hub.fib.size, 2);
  t.false(hub.speaker.removeRange('guests0'));
});

test('a range takes no more peers than it says, and only ASes it says', (t) => {
  const net = new SimNet(7);
  const hub = net.router('hub', { asn: 64600 });
  const s = net.router('s', { asn: 64609 });
  const cable = net.join(hub, s);
  hub.speaker.removePeer('s');
  const common = {
    link: cable.id,
    import: 'accept-all',
    export: 'accept-all',
    range: Prefix.parse('fe80::/10')!,
  } as const;
  hub.speaker.addRange({ ...common, name: 'few', asn: [64601, 64602] });
  net.start();
  net.run(20_000);
  t.is(hub.speaker.snapshot().filter((p) => p.state === 'Established').length, 0);
  t.regex(s.session('hub').lastError!.text, /bad peer AS/);
  hub.speaker.removeRange('few');
  hub.speaker.addRange({ ...common, name: 'none', asn: 'external', maxPeers: 0 });
  net.run(60_000);
  t.is(hub.speaker.snapshot().length, 0);
  t.throws(() => hub.speaker.addRange({ ...common, name: 'none', asn: 'external' }), { instanceOf: RangeError });
});

test('numbers of peers that are gone are used again, so that a range may see any number of them', (t) => {
  const net = new SimNet(8);
  const hub = net.router('hub', { asn: 64600 });
  const s = net.router('s', { asn: 64601, networks: ['172.20.1.0/24'] });
  const cable = net.join(hub, s);
  hub.speaker.removePeer('s');
  const range = Prefix.parse('fe80::/10')!;
  hub.speaker.addRange({
    name: 'r',
    link: cable.id,
    range,
    asn: 'external',
    import: 'accept-all',
    export: 'accept-all',
  });
  net.start();
  for (let i = 0; i < 20; i++) {
    net.runUntil(() => hub.fib.size === 1);
    s.speaker.peerDown('hub');
    net.runUntil(() => hub.fib.size === 0);
    net.run(1000);
    s.speaker.peerUp('hub');
  }
  t.is(hub.speaker.snapshot().length, 0);
  t.is(hub.speaker.totals.attributeSets, 0);
});

test('a member of a range that was beyond its limit waits as long as others do', (t) => {
  const net = new SimNet(19);
  const hub = net.router('hub', { asn: 64600 });
  const s = net.router('s', { asn: 64601, networks: ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24'] });
  const cable = net.join(hub, s);
  hub.speaker.removePeer('s');
  hub.speaker.addRange({
    name: 'r',
    link: cable.id,
    range: Prefix.parse('fe80::/10')!,
    asn: 'external',
    import: 'accept-all',
    export: 'accept-all',
    maxPrefixes: { limit: 2, restartAfterMs: 900_000 },
  });
  net.start();
  net.run(880_000);
  t.is(s.session('hub').establishments, 1);
  t.is(hub.speaker.snapshot().length, 1);
  s.speaker.withdraw(Prefix.parse('172.20.3.0/24')!);
  net.run(60_000);
  t.is(hub.fib.size, 2);
  // Its time is over: then it is forgotten as any other.
  s.speaker.announce({ prefix: Prefix.parse('172.20.3.0/24')! });
  net.run(1000);
  s.speaker.peerDown('hub');
  net.run(890_000);
  t.is(hub.speaker.snapshot().length, 1);
  net.run(20_000);
  t.deepEqual(hub.speaker.snapshot(), []);
});

test('what a peer that restarted has not told again does not count against its limit', (t) => {
  for (const count of ['accepted', 'received'] as const) {
    const net = new SimNet(20);
    const a = net.router('a', { asn: 64601 });
    const b = net.router('b', { asn: 64602 });
    const prefixes = [1, 2, 3, 4, 5, 6].map((i) => Prefix.parse(`172.20.${i}.0/24`)!);
    for (const prefix of prefixes.slice(0, 2)) b.speaker.announce({ prefix });
    net.join(a, b, { maxPrefixes: { limit: 3, count } }, { gracefulRestart: true });
    net.start();
    net.runUntil(() => a.fib.size === 2 && b.session('a').state === 'Established');
    net.run(1000);
    const restart = (networks: readonly Prefix[]): void => {
      b.crash();
      net.run(1000);
      t.is(a.fib.size, 2, 'kept');
      b.restart({ keptForwarding: true });
      for (const prefix of networks) b.speaker.announce({ prefix });
      net.run(20_000);
    };
    restart(prefixes.slice(2, 4));
    t.is(a.session('b').establishments, 2);
    t.deepEqual([...a.fib.keys()].sort(), ['172.20.3.0/24', '172.20.4.0/24']);
    restart(prefixes.slice(2, 6));
    t.true(
      a.events.some((e) => e === 'b exceeded 3 of ipv4'),
      'what it does tell counts',
    );
  }
});

test('of a peer that restarted, routes that policy refused do not hide what it tells now from its limit', (t) => {
  const net = new SimNet(21);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602 });
  const prefix = (i: number): Prefix => Prefix.parse(`172.20.${i}.0/24`)!;
  const refused = [10, 11, 12, 13, 14, 15].map(prefix);
  for (const one of refused) b.speaker.announce({ prefix: one });
  b.speaker.announce({ prefix: Prefix.parse('fd42::/48')! });
  const match = { prefixes: refused.map((p) => ({ prefix: p })) };
  const settings = { maxPrefixes: { limit: 3 }, import: [{ match, action: 'reject' }, { action: 'accept' }] } as const;
  net.join(a, b, settings, { gracefulRestart: true });
  net.start();
  net.runUntil(() => a.fib.size === 1 && b.session('a').state === 'Established');
  net.run(1000);
  t.is(a.session('b').routes.ipv4.received, 6);
  b.crash();
  net.run(1000);
  b.restart({ keptForwarding: true });
  for (const i of [1, 2, 3, 4]) b.speaker.announce({ prefix: prefix(i) });
  // What it had told before is there still: it has not come to its End-of-RIB.
  const stale: number[] = [];
  const { push } = a.events;
  a.events.push = (...events) => {
    if (events.includes('b exceeded 3 of ipv4')) stale.push(a.session('b').routes.ipv4.stale);
    return push.apply(a.events, events);
  };
  net.run(20_000);
  t.is(stale[0], 6);
});

/** `b` can restart, and has ended without a word 900 ms ago; `a` watches the path to it. */
function crashed(seed: number, bfdStrict: boolean) {
  const net = new SimNet(seed);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.1.0/24'] });
  net.join(a, b, { bfdStrict }, { gracefulRestart: true });
  net.start();
  a.speaker.bfdUp('b');
  net.runUntil(() => a.fib.size === 1 && b.session('a').state === 'Established', 60_000);
  net.run(1000);
  b.crash();
  net.run(900);
  return { net, a, b };
}

test('BFD that stays down after the restart of its peer ends the session, also where the peer waits for nobody', (t) => {
  for (const bfdStrict of [false, true]) {
    const { net, a, b } = crashed(22, bfdStrict);
    b.restart({ keptForwarding: true });
    b.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')! });
    net.runUntil(() => a.session('b').state === 'Established', 60_000);
    a.speaker.bfdDown('b');
    net.run(9000);
    t.is(a.session('b').state, 'Established');
    net.run(1100);
    t.not(a.session('b').state, 'Established');
    t.is(a.fib.size, 0);
    t.is(a.session('b').awaitsBfd, bfdStrict);
  }
});

test('a member of a range that never comes back makes room, after its restart time and after its uplink failed', (t) => {
  for (const isRestarting of [true, false]) {
    const net = new SimNet(18);
    const hub = net.router('hub', { asn: 64600 });
    const s = net.router('s', { asn: 64601, networks: ['172.20.1.0/24'], gracefulRestart: { restartTimeS: 60 } });
    const cable = net.join(hub, s, {}, { gracefulRestart: isRestarting });
    hub.speaker.removePeer('s');
    const common = { link: cable.id, asn: 'external', import: 'accept-all', export: 'accept-all' } as const;
    hub.speaker.addRange({ ...common, name: 'r', range: Prefix.parse('fe80::/10')!, maxPeers: 1 });
    net.start();
    net.runUntil(() => hub.fib.size === 1);
    net.run(1000);
    s.crash();
    if (!isRestarting) {
      net.setCable(cable, false);
      net.setCable(cable, true);
    }
    net.run(70_000);
    t.deepEqual(hub.speaker.snapshot(), []);
    t.is(hub.fib.size, 0);
    s.restart();
    net.runUntil(() => hub.fib.size === 1);
  }
});

test('a peer is told whether it was removed or comes back with other settings (RFC 4486)', (t) => {
  for (const [reason, words] of [
    ['removed', 'peer de-configured'],
    ['changed', 'other configuration change'],
  ] as const) {
    const net = new SimNet(19);
    const [a, b] = [net.router('a', { asn: 64601 }), net.router('b', { asn: 64602 })];
    net.join(a, b);
    net.start();
    net.runUntil(() => b.session('a').state === 'Established' && a.session('b').state === 'Established');
    t.true(a.speaker.removePeer('b', reason));
    net.run(100);
    t.is(b.session('a').lastError?.text, words);
  }
});

test('BFD ends a session at once, with nothing kept, and its return is used at once (RFC 5882, RFC 9384)', (t) => {
  const net = new SimNet(9);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.1.0/24'] });
  net.join(a, b, {}, { gracefulRestart: true });
  net.start();
  net.runUntil(() => a.fib.size === 1 && b.session('a').state === 'Established');
  net.run(1000);
  t.true(a.speaker.bfdDown('b'));
  t.is(a.fib.size, 0);
  net.run(50);
  t.is(b.session('a').lastError?.text, 'BFD down');
  const left = () => a.session('b').timersMs['idleHold'];
  t.true(left()! > 500);
  t.true(a.speaker.bfdUp('b'));
  t.is(left() ?? 0, 0);
  net.runUntil(() => a.fib.size === 1, 20_000);
  t.false(a.speaker.bfdDown('nobody'));
});

test('BFD that falls silent with a peer that restarts does not end the restart, unless it ran apart from BGP (RFC 5882 §4.3)', (t) => {
  for (const bfdStrict of [false, true]) {
    const { net, a, b } = crashed(9, bfdStrict);
    a.speaker.bfdDown('b');
    t.is(a.fib.size, 1, 'kept');
    t.is(a.session('b').awaitsBfd, bfdStrict);
    b.restart({ keptForwarding: true });
    b.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')! });
    if (bfdStrict) {
      net.run(20_000);
      t.not(a.session('b').state, 'Established', 'it waits for BFD');
      a.speaker.bfdUp('b');
    }
    net.runUntil(() => a.session('b').state === 'Established', 60_000);
    // The first packet of its BFD, which has restarted too, may come as late as this.
    a.speaker.bfdDown('b');
    t.is(a.session('b').state, 'Established');
    net.run(1000);
    t.is(a.fib.size, 1);
    t.deepEqual(a.session('b').restart, []);
    // It has told its table: from now on its BFD speaks of the path again.
    a.speaker.bfdDown('b');
    t.is(a.fib.size, 0);
    a.speaker.bfdUp('b');
    net.runUntil(() => a.fib.size === 1, 60_000);
    net.run(1000);
    b.crash();
    net.run(900);
    t.is(a.fib.size, 1);
    a.speaker.bfdDown('b', true);
    t.is(a.fib.size, 0);
  }
});

test('the transport is told whom to expect, and how their packets have to be secured', (t) => {
  const net = new SimNet(10);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602 });
  const cable = net.join(a, b, { password: 'secret', ttlSecurity: true, multihop: 3 }, {});
  a.speaker.addRange({ name: 'r', link: cable.id, range: Prefix.parse('fd42::/64')!, asn: 'external' });
  const { name, link } = { name: 'b', link: cable.id };
  net.start();
  t.deepEqual(
    a.secured.map((s) => ({ ...s, from: s.from.toString() })),
    [
      { name, link, from: 'fe80::1:2/128', hops: 3, ttlSecurity: true, password: 'secret' },
      { name: 'r', link, from: 'fd42::/64', hops: 1, ttlSecurity: false, password: undefined },
    ],
  );
  a.speaker.removePeer('b');
  t.is(a.secured.length, 1);
});
