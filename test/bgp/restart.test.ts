/** Restarts: of a peer whose routes are kept, of ourselves, and the long absence of RFC 9494; in virtual time. */
import test from 'ava';
import type { PeerConfig } from '../../bgp/speaker.ts';
import { parseCommunity } from '../../bgp/wire/attribute/communities.ts';
import { FAMILIES, type FamilyName } from '../../bgp/wire/family.ts';
import { encodeRouteRefresh } from '../../bgp/wire/message.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { SimNet, type SimRouter } from './kit/net.ts';

const KEPT = { keptForwarding: true };

/** `b` may restart; `a` helps. */
function pair(seed: number, ofB: Partial<PeerConfig> = {}, longLivedS = 0, ofA: Partial<PeerConfig> = {}) {
  const net = new SimNet(seed);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', {
    asn: 64602,
    networks: ['172.20.2.0/24', 'fd42:2::/48'],
    gracefulRestart: { restartTimeS: 60, staleTimeS: 100, longLivedS },
  });
  const cable = net.join(a, b, ofA, { gracefulRestart: true, ...ofB });
  net.start();
  net.runUntil(() => a.fib.size === 2 && b.fib.size === 1);
  net.run(1000);
  return { net, a, b, cable };
}

const stale = (r: SimRouter, peer: string): number => {
  const { ipv4, ipv6 } = r.session(peer).routes;
  return ipv4.stale + ipv6.stale;
};

test('routes of a peer that restarts stay in use, and go only when it does not tell them again', (t) => {
  const { net, a, b } = pair(1);
  const changes = a.fibChanges;
  b.crash();
  net.run(100);
  t.not(a.session('b').state, 'Established');
  t.is(a.fib.size, 2);
  t.is(stale(a, 'b'), 2);
  t.true([...a.speaker.routes('in')].every((r) => r.isStale));
  t.deepEqual(
    a.session('b').restart.map(({ family, phase }) => [family, phase]),
    [
      ['ipv4', 'away'],
      ['ipv6', 'away'],
    ],
  );
  net.run(10_000);
  b.restart(KEPT);
  b.speaker.withdraw(Prefix.parse('fd42:2::/48')!);
  net.runUntil(() => stale(a, 'b') === 0);
  t.deepEqual([...a.fib.keys()], ['172.20.2.0/24']);
  t.is(a.fibChanges, changes + 1, 'the route that stayed was never touched');
  t.false([...a.speaker.routes('in')].some((r) => r.isStale));
  t.deepEqual(a.session('b').restart, []);
});

test('a peer that does not come back within its restart time loses its routes', (t) => {
  const { net, a, b } = pair(2);
  b.crash();
  net.run(59_900);
  t.is(a.fib.size, 2);
  net.run(200);
  t.is(a.fib.size, 0);
  t.is(a.speaker.totals.attributeSets, 1, 'nothing is left of them');
});

test('a peer that did not keep forwarding loses its routes when it is back (RFC 4724 §4.2)', (t) => {
  const { net, a, b } = pair(3);
  b.crash();
  net.run(5000);
  b.restart({ keptForwarding: false, deferralMs: 3_600_000 });
  b.speaker.withdraw(Prefix.parse('172.20.2.0/24')!);
  net.runUntil(() => a.session('b').state === 'Established');
  t.is(a.fib.size, 0);
});

test('a peer that comes back and never ends its table keeps stale routes for the stale time only', (t) => {
  const net = new SimNet(4);
  const a = net.router('a', { asn: 64601, gracefulRestart: { staleTimeS: 40 } });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'], gracefulRestart: { restartTimeS: 60 } });
  net.join(a, b, {}, { gracefulRestart: true });
  net.start();
  net.runUntil(() => a.fib.size === 1);
  net.run(1000);
  b.crash();
  net.run(5000);
  // b is up but waits with its routes, and so with its End-of-RIB, for a peer that will never come.
  b.addPeer({ ...b.peerConfigs[0]!, name: 'ghost', passive: true, address: b.cables[0]!.addresses[1] });
  b.restart({ keptForwarding: true, deferralMs: 3_600_000 });
  net.runUntil(() => a.session('b').state === 'Established');
  const back = net.clock.now() as number;
  net.clock.runTo(back + 39_900);
  t.is(a.fib.size, 1);
  net.clock.runTo(back + 40_100);
  t.is(a.fib.size, 0);
});

test('with consecutive restarts what was stale before is gone (RFC 4724 §4.2)', (t) => {
  const { net, a, b } = pair(5);
  b.crash();
  net.run(5000);
  b.restart({ keptForwarding: true, deferralMs: 3_600_000 });
  net.runUntil(() => a.session('b').state === 'Established');
  t.is(a.fib.size, 2);
  b.crash();
  net.run(100);
  t.is(a.fib.size, 0);
});

test('a NOTIFICATION does not cost the routes either, a hard reset does (RFC 8538)', (t) => {
  const { net, a, b, cable } = pair(6);
  t.true(a.session('b').capabilities.peer.some((c) => c.includes('notification')));
  // Nothing of b arrives: a ends the session with "hold timer expired".
  cable.muted.add('b');
  net.runUntil(() => a.session('b').state !== 'Established');
  t.is(a.session('b').lastError?.text, 'hold timer expired');
  t.is(a.fib.size, 2);
  cable.muted.clear();
  net.runUntil(() => a.session('b').state === 'Established' && b.session('a').state === 'Established');
  net.run(2000);
  t.is(stale(a, 'b'), 0);
  t.is(a.fib.size, 2, 'forwarding went on, so the routes were kept and told again');
  b.speaker.peerDown('a', 'moving house');
  net.run(100);
  t.is(a.fib.size, 0);
  t.is(a.session('b').lastError?.text, 'administrative shutdown: "moving house"');
});

test('a speaker that only helps has nothing kept by its peer', (t) => {
  const { net, a, b } = pair(7);
  a.crash();
  net.run(100);
  t.is(b.fib.size, 0);
  t.is(b.session('a').restart.length, 0);
});

test('without the capability nothing is kept', (t) => {
  const { net, a, b } = pair(8, { gracefulRestart: false });
  b.crash();
  net.run(100);
  t.is(a.fib.size, 0);
});

test('a peer that restarts before we notice is believed (RFC 4724 §5)', (t) => {
  const { net, a, b } = pair(9);
  const changes = a.fibChanges;
  // The old connections die without a sign.
  for (const s of b.streams) s.isClosed = true;
  b.crash();
  b.restart(KEPT);
  net.runUntil(() => a.session('b').establishments === 2, 20_000);
  net.run(1000);
  t.is(a.fibChanges, changes);
  t.is(stale(a, 'b'), 0);
  t.is(a.session('b').state, 'Established');
});

test('after a restart routes are selected when all peers have told theirs, and the FIB stays whole until then', (t) => {
  const net = new SimNet(10);
  const near = net.router('near', { asn: 64601, networks: ['172.20.9.0/24', '172.20.1.0/24'] });
  const far = net.router('far', { asn: 64602, networks: ['172.20.9.0/24', '172.20.2.0/24'] });
  const m = net.router('m', { asn: 64600, maxPaths: 2, gracefulRestart: { restartTimeS: 100 } });
  net.join(m, near, { gracefulRestart: true }, {});
  const cable = net.join(m, far, { gracefulRestart: true }, {});
  net.start();
  net.runUntil(() => m.fib.size === 3 && m.fib.get('172.20.9.0/24')?.length === 2);
  net.runUntil(() => near.fib.size === 1 && far.fib.size === 1);
  net.run(1000);
  const changes = [near.fibChanges, far.fibChanges];
  m.crash();
  net.run(2000);
  near.speaker.withdraw(Prefix.parse('172.20.1.0/24')!);
  cable.busy = { name: 'm', everyMs: 7000 };
  m.restart(KEPT);
  net.runUntil(() => m.session('near').routes.ipv4.received === 1, 60_000);
  t.is(m.session('far').routes.ipv4.received, 0, 'one peer is not heard yet');
  t.is(m.fib.size, 3);
  t.is(m.settlements, 0);
  net.runUntil(() => m.settlements === 1, 90_000);
  t.deepEqual([...m.fib.keys()].sort(), ['172.20.2.0/24', '172.20.9.0/24'], 'what was not told again is gone');
  net.run(20_000);
  t.deepEqual([near.fibChanges, far.fibChanges], [changes[0], changes[1]! + 1], 'peers saw the withdrawal alone');
});

test('a peer that never comes does not hold up our restart for longer than the deferral', (t) => {
  const net = new SimNet(11);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const dead = net.router('dead', { asn: 64602 });
  const m = net.router('m', { asn: 64600 });
  net.join(m, a, { gracefulRestart: true }, {});
  net.join(m, dead, { gracefulRestart: true }, {});
  a.speaker.start();
  m.speaker.start();
  net.runUntil(() => m.fib.size === 1);
  m.crash();
  m.restart({ keptForwarding: true, deferralMs: 30_000 });
  net.run(29_900);
  t.is(m.settlements, 0);
  t.is(m.fib.size, 1);
  net.run(200);
  t.is(m.settlements, 1);
  t.is(m.fib.size, 1);
});

test('only peers that had a session before are waited for, where it is known which', (t) => {
  const net = new SimNet(15);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const dead = net.router('dead', { asn: 64602 });
  const m = net.router('m', { asn: 64600 });
  net.join(m, a, { gracefulRestart: true }, {});
  net.join(m, dead, { gracefulRestart: true }, {});
  a.speaker.start();
  m.speaker.start();
  net.runUntil(() => m.fib.size === 1);
  m.crash();
  m.restart({ keptForwarding: true, peers: new Set(['a']) });
  t.is(m.settlements, 0);
  net.runUntil(() => m.settlements === 1, 30_000);
  t.is(m.session('a').routes.ipv4.received, 1);
  t.is(m.fib.size, 1);
});

test('a peer away for long keeps its routes as the last choice (RFC 9494)', (t) => {
  const { net, a, b, cable } = pair(12, {}, 3600);
  const c = net.router('c', { asn: 64603, networks: ['172.20.2.0/24'] });
  const other = net.join(a, c);
  c.speaker.start();
  b.speaker.announce({ prefix: Prefix.parse('172.20.77.0/24')!, communities: [parseCommunity('no-llgr')!] });
  net.runUntil(() => a.fib.size === 3 && a.session('c').state === 'Established');
  const way = () => a.fib.get('172.20.2.0/24')?.[0]?.link;
  t.is(way(), cable.id);
  b.crash();
  net.run(59_000);
  t.is(way(), cable.id, 'within the restart time nothing changes');
  net.run(2000);
  t.is(way(), other.id, 'another route is better than a long-lived stale one');
  t.deepEqual(
    a.fib.get('fd42:2::/48')?.map((h) => h.link),
    [cable.id],
    'and it is better than none',
  );
  t.false(a.fib.has('172.20.77.0/24'), 'NO_LLGR');
  const old = [...a.speaker.routes('in', { peer: 'b' })].find((r) => r.prefix === 'fd42:2::/48');
  t.deepEqual(old?.communities, ['llgr-stale']);
  t.is(a.speaker.explain(Prefix.parse('172.20.2.0/24')!).find((v) => v.peer === 'b')?.lostAt, 'long-lived stale');
  // A policy change judges it again and does not make it young.
  a.speaker.setPolicies('b', { import: [{ action: 'accept', set: { localPref: 500 } }] });
  t.is(way(), other.id);
  net.run(3_000_000);
  t.true(a.fib.has('fd42:2::/48'));
  net.run(700_000);
  t.false(a.fib.has('fd42:2::/48'));
});

test('long-lived stale routes are told only to peers that know what that means', (t) => {
  const { net, a, b } = pair(13, {}, 3600);
  const knows = net.router('knows', { asn: 64603 });
  const not = net.router('not', { asn: 64604 });
  net.join(a, knows);
  net.join(a, not, { gracefulRestart: false });
  knows.speaker.start();
  not.speaker.start();
  net.runUntil(() => knows.fib.size === 3 && not.fib.size === 3);
  b.crash();
  net.run(62_000);
  t.is(knows.fib.size, 3);
  t.is(not.fib.size, 1);
  net.run(10_000);
  b.restart(KEPT);
  net.runUntil(() => not.fib.size === 3, 120_000);
  t.is(stale(a, 'b'), 0);
});

test('a refresh with marks removes what the peer has forgotten (RFC 7313)', (t) => {
  const { net, a, b, cable } = pair(14);
  // A withdrawal is lost on the way, as by a bug of the peer: a ghost route.
  cable.muted.add('b');
  b.speaker.withdraw(Prefix.parse('fd42:2::/48')!);
  net.run(100);
  cable.muted.clear();
  t.is(a.fib.size, 2);
  const changes = a.fibChanges;
  t.true(a.speaker.peerRefresh('b', 'in'));
  net.run(100);
  t.is(stale(a, 'b'), 0);
  t.deepEqual(a.session('b').restart, []);
  t.deepEqual([...a.fib.keys()], ['172.20.2.0/24']);
  t.is(a.fibChanges, changes + 1);
  // BoRR, EoRR of two families.
  t.is(a.session('b').messages.received.refresh, 4);
  t.is(b.session('a').messages.received.refresh, 2);
  t.is(a.session('b').faults, 0);
});

test('a session that is lost within a refresh keeps what the refresh had not come to (RFC 4724)', (t) => {
  const { net, a, b } = pair(16);
  const changes = a.fibChanges;
  const begin = { ...FAMILIES.ipv4, subtype: 1 };
  a.streams.find((s) => !s.isClosed)!.handler!.data(encodeRouteRefresh(begin));
  net.run(100);
  t.is(a.session('b').restart[0]?.phase, 'refreshing');
  b.crash();
  net.run(100);
  t.is(a.fib.size, 2);
  t.is(stale(a, 'b'), 2);
  b.restart(KEPT);
  net.runUntil(() => stale(a, 'b') === 0);
  t.is(a.fib.size, 2);
  t.is(a.fibChanges, changes, 'packets went on by all routes');
});

test('two refreshes in one read remove what the first one found missing (RFC 7313)', (t) => {
  const { net, a } = pair(15);
  const mark = (subtype: number) => ['ipv4', 'ipv6'].map((f) => ({ ...FAMILIES[f as FamilyName], subtype }));
  const marks = [1, 2, 1, 2].flatMap(mark).map(encodeRouteRefresh);
  a.streams.find((s) => !s.isClosed)!.handler!.data(Buffer.concat(marks));
  net.run(100);
  t.is(a.fib.size, 0);
  t.is(stale(a, 'b'), 0);
  t.deepEqual([...a.speaker.routes('in')], []);
});

test('whatever restarts, is reset, forgets or refreshes: in the end tables agree and nothing is marked', (t) => {
  const steps = ['crash', 'cold', 'reset', 'refresh', 'withdraw', 'announce', 'mute', 'bfd', 'wait', 'long'] as const;
  for (let seed = 1; seed <= 60; seed++) {
    const { net, a, b, cable } = pair(seed, {}, seed % 2 === 0 ? 300 : 0, { gracefulRestart: seed % 3 === 0 });
    const prefixes = [2, 3, 4, 5].map((i) => Prefix.parse(`172.20.${i}.0/24`)!);
    const wanted = new Set(['172.20.2.0/24', 'fd42:2::/48']);
    for (let i = 0; i < 25; i++) {
      const prefix = prefixes[Math.floor(net.random() * prefixes.length)]!;
      switch (steps[Math.floor(net.random() * steps.length)]!) {
        case 'crash':
        case 'cold':
          b.crash();
          net.run(net.random() * 90_000);
          b.restart(net.random() < 0.7 ? KEPT : { keptForwarding: false });
          // What a restarted speaker originates is its configuration.
          for (const p of prefixes) b.speaker.withdraw(p);
          for (const p of prefixes) if (wanted.has(p.toString())) b.speaker.announce({ prefix: p });
          break;
        case 'reset':
          (net.random() < 0.5 ? a : b).speaker.peerReset(net.random() < 0.5 ? 'b' : 'a');
          break;
        case 'refresh':
          a.speaker.peerRefresh('b', 'in');
          break;
        case 'withdraw':
          b.speaker.withdraw(prefix);
          wanted.delete(prefix.toString());
          break;
        case 'announce':
          b.speaker.announce({ prefix });
          wanted.add(prefix.toString());
          break;
        case 'mute':
          cable.muted.add(net.random() < 0.5 ? 'a' : 'b');
          net.run(net.random() * 120_000);
          cable.muted.clear();
          // What was lost on a path that did not break the session is found by a refresh.
          net.run(200_000);
          a.speaker.peerRefresh('b', 'in');
          break;
        case 'bfd':
          a.speaker.bfdDown('b');
          a.speaker.bfdUp('b');
          break;
        case 'wait':
          net.run(net.random() * 3000);
          break;
        case 'long':
          net.run(net.random() * 400_000);
          break;
      }
    }
    net.run(1_000_000);
    t.is(a.session('b').state, 'Established', `seed ${seed}`);
    t.deepEqual([...a.fib.keys()].sort(), [...wanted].sort(), `seed ${seed}`);
    t.is(stale(a, 'b'), 0, `seed ${seed}`);
    t.deepEqual(a.session('b').restart, [], `seed ${seed}`);
    const held = [...a.speaker.routes('in', { peer: 'b' })];
    t.is(held.length, wanted.size, `seed ${seed}`);
    t.true(
      held.every((r) => !r.communities.includes('llgr-stale')),
      `seed ${seed}`,
    );
  }
});

test('a speaker that makes way for another tells those why who will not keep its routes', (t) => {
  const { net, a, b } = pair(90);
  b.speaker.abandon();
  net.run(1000);
  t.is(a.fib.size, 2, 'it keeps them');
  t.is(stale(a, 'b'), 2);
  const plain = pair(91, { gracefulRestart: 'helper' });
  plain.b.speaker.abandon();
  plain.net.run(1000);
  t.is(plain.a.fib.size, 0);
  t.is(plain.a.session('b').lastNotification?.text, 'other configuration change');
  t.is(plain.b.fib.size, 1, 'nothing more is said to the sink');
});

test('a peer that comes back without a word of its restart is let in at once, if it can restart (RFC 4724 §5)', (t) => {
  const comeBack = (gracefulRestart: boolean | 'helper') => {
    const { net, a, b, cable } = pair(95, { gracefulRestart });
    net.run(60_000);
    // Its host lost power: nothing tells us that the connection is gone.
    cable.muted.add('b');
    b.crash();
    net.run(5000);
    cable.muted.clear();
    t.is(a.session('b').state, 'Established');
    b.restart();
    net.run(7000);
    return { net, a };
  };
  const { a } = comeBack(true);
  t.is(a.session('b').establishments, 2);
  t.is(a.session('b').state, 'Established');
  t.is(a.fib.size, 2);
  t.deepEqual(a.session('b').restart, []);
  // RFC 4271 §6.8: else the session that stands stays.
  t.is(comeBack('helper').a.session('b').establishments, 1);
  t.is(comeBack(false).a.session('b').establishments, 1);
});
