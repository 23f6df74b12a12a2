/** Going over to other settings while sessions run, in virtual time. */
import test from 'ava';
import fc from 'fast-check';
import { partsBetween } from '../../bgp/reconfigure.ts';
import type { Multipath, PeerConfig, RangeConfig, RouteView, Rule, SpeakerSettings } from '../../bgp/speaker.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { type Cable, SimNet, type SimRouter } from './kit/net.ts';

const prefix = (text: string): Prefix => Prefix.parse(text)!;
const networks = (...texts: string[]) => texts.map((t) => ({ prefix: prefix(t) }));

/** b and c around a hub; b tells two prefixes. */
function three(hubNetworks: readonly string[] = ['172.20.0.0/24']) {
  const net = new SimNet(71);
  const hub = net.router('hub', { asn: 64600, networks: hubNetworks });
  const b = net.router('b', { asn: 64601, networks: ['172.20.1.0/24', '172.20.2.0/24'] });
  const c = net.router('c', { asn: 64602, networks: ['172.20.3.0/24'] });
  net.join(hub, b);
  net.join(hub, c);
  net.start();
  net.run(5000);
  const peers = hub.peerConfigs;
  const set = (more: Partial<SpeakerSettings>): void => {
    hub.speaker.reconfigure({ networks: networks(...hubNetworks), peers, ...more });
    net.run(5000);
  };
  const seen = (r: SimRouter): string[] => [...r.speaker.routes('in')].map((x) => x.prefix).sort();
  const sessions = (): string[] => hub.speaker.snapshot().map((p) => `${p.name} ${p.state} ${p.establishments}`);
  return { net, hub, b, c, peers, set, seen, sessions };
}

const UNTOUCHED = ['b Established 1', 'c Established 1'];

test('settings that do not differ are not touched', (t) => {
  const { hub, b, set, sessions } = three();
  const before = [hub.fibChanges, b.session('hub').messages.received.update];
  set({});
  t.deepEqual(sessions(), UNTOUCHED);
  t.deepEqual([hub.fibChanges, b.session('hub').messages.received.update], before);
});

test('networks come and go, and what others tell of them is judged again', (t) => {
  const { hub, b, c, set, seen, sessions } = three();
  set({ networks: networks('172.20.2.0/24') });
  t.deepEqual(seen(b), ['172.20.2.0/24', '172.20.3.0/24']);
  t.is([...hub.speaker.routes('best', { prefix: prefix('172.20.2.0/24') })][0]!.peer, undefined, 'ours');
  set({ networks: [] });
  t.deepEqual(seen(c), ['172.20.1.0/24', '172.20.2.0/24']);
  t.deepEqual(sessions(), UNTOUCHED);
});

test('an aggregate finds what is inside, begins and ceases to be a summary, and goes', (t) => {
  const { hub, c, set, seen, sessions } = three();
  const one = { prefix: prefix('172.20.0.0/22') };
  set({ aggregates: [one] });
  t.deepEqual(seen(c), ['172.20.0.0/22', '172.20.0.0/24', '172.20.1.0/24', '172.20.2.0/24']);
  t.is(hub.ways.get('172.20.0.0/22')?.kind, 'blackhole');
  const before = c.session('hub').messages.received.update;
  set({ aggregates: [{ ...one, summaryOnly: true }] });
  t.deepEqual(seen(c), ['172.20.0.0/22']);
  t.is(c.session('hub').messages.received.update - before, 1, 'the aggregate itself was not told again');
  set({ aggregates: [one, { prefix: prefix('10.0.0.0/8') }] });
  t.is(seen(c).length, 4);
  set({ aggregates: [{ ...one, summaryOnly: true }] });
  set({});
  t.deepEqual(seen(c), ['172.20.0.0/24', '172.20.1.0/24', '172.20.2.0/24']);
  t.false(hub.fib.has('172.20.0.0/22'));
  t.deepEqual(sessions(), UNTOUCHED);
});

test('what networks and aggregates carry changes without them going', (t) => {
  const { hub, c, set, sessions } = three();
  const seen = (text: string) =>
    [...c.speaker.routes('in', { prefix: prefix(text) })].map((r) => [r.med, r.communities]);
  const told = () => c.session('hub').messages.received;
  const [one, other] = [{ prefix: prefix('172.20.0.0/24') }, { prefix: prefix('172.20.0.0/22') }];
  set({ networks: [{ ...one, med: 3 }], aggregates: [{ ...other, communities: [0xfc000001] }] });
  t.deepEqual(seen('172.20.0.0/24'), [[3, []]]);
  t.deepEqual(seen('172.20.0.0/22'), [[undefined, ['64512:1']]]);
  const before = told().update;
  set({ networks: [{ ...one, med: 3 }], aggregates: [{ ...other, communities: [0xfc000001] }] });
  t.is(told().update, before);
  set({ networks: [one], aggregates: [{ ...other, med: 4 }] });
  t.deepEqual([seen('172.20.0.0/24'), seen('172.20.0.0/22')], [[[undefined, []]], [[4, []]]]);
  t.true(hub.fib.has('172.20.0.0/22'));
  t.deepEqual(sessions(), UNTOUCHED);
});

test('an aggregate that comes while another one still looks around is found as well', (t) => {
  const { hub, net, c, peers, seen } = three();
  hub.speaker.reconfigure({ peers, aggregates: [{ prefix: prefix('172.20.0.0/22') }] });
  hub.speaker.reconfigure({
    peers,
    aggregates: [{ prefix: prefix('172.20.0.0/22') }, { prefix: prefix('172.16.0.0/12') }],
  });
  net.run(1000);
  t.true(seen(c).includes('172.20.0.0/22'));
  t.true(seen(c).includes('172.16.0.0/12'));
});

test('multipath begins and ends with the routes there are', (t) => {
  const net = new SimNet(72);
  const hub = net.router('hub', { asn: 64600 });
  for (const [i, name] of ['b', 'c'].entries())
    net.join(hub, net.router(name, { asn: 64601 + i, networks: ['172.20.1.0/24'] }));
  net.start();
  net.run(5000);
  const hops = () => hub.fib.get('172.20.1.0/24')!.length;
  const set = (multipath: Multipath): void => {
    hub.speaker.reconfigure({ peers: hub.peerConfigs, multipath });
    net.run(1000);
  };
  t.is(hops(), 1);
  set({ maxPaths: 4 });
  t.is(hops(), 2);
  t.is(hub.speaker.explain(prefix('172.20.1.0/24')).filter((c) => c.isMultipath).length, 1);
  set({ maxPaths: 1 });
  t.is(hops(), 1);
});

test('what a session does not depend on changes without it, the rest with it', (t) => {
  const live: Partial<PeerConfig>[] = [
    { import: 'reject-all' },
    { export: 'reject-all' },
    { gracefulShutdown: true },
    { asOverride: true },
    { removePrivateAs: 'all' },
    { defaultOriginate: true },
    { nextHopSelf: true },
    { allowOwnAs: 1 },
    { delegated: [Prefix.parse('172.20.0.128/25')!] },
    { acceptBlackhole: true },
    { thirdPartyNextHop: true },
    { maxPrefixes: 10 },
    { sendHoldMs: 60_000, connectRetryMs: 1000, delayOpenMs: 500 },
  ];
  for (const more of live) {
    const { set, peers, sessions } = three();
    set({ peers: peers.map((p) => ({ ...p, ...more })) });
    t.deepEqual(sessions(), UNTOUCHED, JSON.stringify(more));
  }
  for (const more of [{ holdTimeS: 30 }, { families: ['ipv4'] }, { gracefulRestart: true }] as const) {
    const { net, hub, b, set, peers } = three();
    set({ peers: peers.map((p) => (p.name === 'b' ? { ...p, ...more } : p)) });
    net.run(60_000);
    t.deepEqual([hub.session('b').state, b.session('hub').establishments], ['Established', 2], JSON.stringify(more));
    t.is(b.session('hub').lastError?.text, 'other configuration change');
    t.is(hub.session('c').establishments, 1);
  }
});

test('a default route of our own is told and taken back', (t) => {
  const { b, set, seen, peers } = three();
  set({ peers: peers.map((p) => ({ ...p, defaultOriginate: true })) });
  t.true(seen(b).includes('0.0.0.0/0'));
  set({});
  t.false(seen(b).includes('0.0.0.0/0'));
});

test('a limit is held against what the peer has told already', (t) => {
  const { net, hub, set, peers, sessions } = three();
  const limits = (maxPrefixes: PeerConfig['maxPrefixes'], name = 'b') => ({
    peers: peers.map((p) => (p.name === name ? { ...p, ...(maxPrefixes !== undefined && { maxPrefixes }) } : p)),
  });
  set(limits({ limit: 2, warnAt: 90 }));
  t.deepEqual(sessions(), UNTOUCHED);
  t.deepEqual(
    hub.events.filter((e) => e.includes(' of ')),
    ['b near 2 of ipv4'],
  );
  set(limits({ limit: 1, action: 'warn' }));
  t.deepEqual(sessions(), UNTOUCHED);
  t.true(hub.events.includes('b exceeded 1 of ipv4'));
  set(limits({ limit: 1, action: 'down' }));
  t.deepEqual(sessions(), ['b Idle 1', 'c Established 1']);
  t.deepEqual([...hub.fib.keys()], ['172.20.3.0/24']);
  set(limits(10));
  t.is(hub.session('b').state, 'Idle', 'an operator brings it back');
  hub.speaker.peerUp('b');
  net.run(60_000);
  t.is(hub.session('b').state, 'Established');
});

test('times of restarts are told to those whom they concern', (t) => {
  const { net, b, c, set, peers } = three();
  const both = peers.map((p) => (p.name === 'b' ? { ...p, gracefulRestart: true } : p));
  set({ peers: both });
  net.run(60_000);
  const before = b.session('hub').establishments;
  set({ peers: both, gracefulRestart: { staleTimeS: 77 } });
  t.is(b.session('hub').establishments, before, 'that is our own affair');
  set({ peers: both, gracefulRestart: { restartTimeS: 33, staleTimeS: 77 } });
  net.run(60_000);
  t.is(b.session('hub').establishments, before + 1);
  t.is(c.session('hub').establishments, 1);
});

test('what cannot be is refused before anything has changed', (t) => {
  const { set, hub, peers, sessions, seen, b } = three();
  const twice = { networks: [], peers: [...peers, peers[0]!] };
  t.throws(() => set(twice), { instanceOf: RangeError, message: 'peer b stands twice' });
  t.throws(() => set({ networks: [], peers: peers.map((p) => ({ ...p, asn: [64600, 64601] })) }), {
    instanceOf: RangeError,
  });
  t.deepEqual(sessions(), UNTOUCHED);
  t.deepEqual(seen(b), ['172.20.0.0/24', '172.20.3.0/24']);
  t.is(hub.fib.size, 3);
});

/** A hub that knows its two neighbours by ranges. */
function ranges() {
  const net = new SimNet(73);
  const hub = net.router('hub', { asn: 64600 });
  const spokes = [1, 2].map((i) => net.router(`s${i}`, { asn: 64600 + i, networks: [`172.20.${i}.0/24`] }));
  const cables = spokes.map((s) => net.join(hub, s));
  const rangeOf = (i: number, more: Partial<RangeConfig> = {}): RangeConfig => ({
    link: cables[i]!.id,
    name: `r${i + 1}`,
    range: prefix('fe80::/64'),
    asn: 'external',
    import: 'accept-all',
    export: 'accept-all',
    ...more,
  });
  const set = (list: readonly RangeConfig[], peers: readonly PeerConfig[] = []): string[] => {
    hub.speaker.reconfigure({ peers, ranges: list });
    net.run(100_000);
    return hub.speaker.snapshot().map((p) => `${p.name} ${p.state} ${p.establishments}`);
  };
  const est = (): number[] => spokes.map((s) => s.session('hub').establishments);
  set([rangeOf(0), rangeOf(1)]);
  net.start();
  net.run(5000);
  return { net, hub, spokes, cables, rangeOf, set, est };
}

test('a range that goes takes its own members with it, and one that changes touches only these', (t) => {
  const { hub, rangeOf, set, est } = ranges();
  t.deepEqual(est(), [1, 1]);
  set([rangeOf(0, { import: 'reject-all' }), rangeOf(1)]);
  t.deepEqual(est(), [1, 1], 'another policy needs no session');
  t.deepEqual([...hub.fib.keys()], ['172.20.2.0/24']);
  set([rangeOf(0, { holdTimeS: 30 }), rangeOf(1)]);
  t.deepEqual(est(), [2, 1]);
  t.is(hub.fib.size, 2);
  set([rangeOf(0, { holdTimeS: 30, range: prefix('fe80:0:0:1::/64') }), rangeOf(1)]);
  t.deepEqual(
    hub.speaker.snapshot().map((p) => p.range),
    ['r2'],
    'it does not lie in the range any more',
  );
  set([rangeOf(1)]);
  t.deepEqual(est(), [2, 1]);
  set([rangeOf(0), rangeOf(1)]);
  t.deepEqual(est(), [3, 1]);
  set([rangeOf(1)]);
  t.deepEqual([...hub.fib.keys()], ['172.20.2.0/24']);
});

test('a member of a range becomes a peer of its own, and the other way round', (t) => {
  const { hub, rangeOf, set, est } = ranges();
  const named = hub.peerConfigs[0]!;
  t.deepEqual(set([rangeOf(0), rangeOf(1)], [named]), ['r2-fe80::2:2 Established 1', 's1 Established 1']);
  t.deepEqual(set([rangeOf(0), rangeOf(1)]), ['r2-fe80::2:2 Established 1', 'r1-fe80::1:2 Established 1']);
  t.deepEqual(est(), [3, 1]);
});

// A reload ends where a new start with the same file would.

const NEIGHBOURS = 4;
const INTERNAL = 3;

const RULES: readonly Rule[] = [
  { match: { prefixes: [{ prefix: prefix('172.20.1.0/24') }] }, action: 'reject' },
  { match: {}, set: { med: 7 }, action: 'accept' } as Rule,
];

const anyPolicy = fc.constantFrom('accept-all' as const, 'reject-all' as const, RULES);

const anyPeer = fc.record({
  as: fc.constantFrom('peer' as const, 'peer' as const, 'peer' as const, 'range' as const, 'absent' as const),
  import: fc.oneof({ weight: 3, arbitrary: fc.constant('accept-all' as const) }, { weight: 2, arbitrary: anyPolicy }),
  export: fc.oneof({ weight: 3, arbitrary: fc.constant('accept-all' as const) }, { weight: 2, arbitrary: anyPolicy }),
  asOverride: fc.boolean(),
  removePrivateAs: fc.constantFrom(undefined, 'whole' as const, 'all' as const, 'replace' as const),
  defaultOriginate: fc.boolean(),
  nextHopSelf: fc.constantFrom(false, true, 'all' as const),
  allowOwnAs: fc.constantFrom(0, 1),
  gracefulShutdown: fc.boolean(),
  acceptBlackhole: fc.boolean(),
  routeReflectorClient: fc.boolean(),
  holdTimeS: fc.constantFrom(90, 90, 30),
  addPath: fc.constantFrom(undefined, undefined, 'both' as const),
  addPathLimit: fc.constantFrom(undefined, 1, 2),
  maxPrefixes: fc.constantFrom(undefined, 100, { limit: 1, action: 'warn' as const }),
});

const POOL = ['172.20.0.0/24', '172.20.1.0/24', '172.20.7.0/24', 'fd42::/48'];

const anySettings = fc.record({
  networks: fc.subarray(POOL),
  aggregates: fc.uniqueArray(
    fc.record({ prefix: fc.constantFrom('172.20.0.0/16', '172.16.0.0/12', 'fd42::/32'), summaryOnly: fc.boolean() }),
    { selector: (a) => a.prefix },
  ),
  maxPaths: fc.constantFrom(1, 1, 2, 8),
  peers: fc.array(anyPeer, { minLength: NEIGHBOURS, maxLength: NEIGHBOURS }),
});
type Settings = typeof anySettings extends fc.Arbitrary<infer T> ? T : never;

function settingsOf(s: Settings, hub: SimRouter, cables: readonly Cable[]): SpeakerSettings {
  const configs = s.peers.map(({ as: _, ...p }, i): PeerConfig => {
    const { routeReflectorClient, ...others } = p;
    const given = Object.fromEntries(Object.entries(others).filter(([, v]) => v !== undefined));
    return { ...hub.peerConfigs[i]!, ...given, ...(i === INTERNAL && { routeReflectorClient }) };
  });
  return {
    networks: networks(...s.networks),
    aggregates: s.aggregates.map((a) => ({ ...a, prefix: prefix(a.prefix) })),
    multipath: { maxPaths: s.maxPaths },
    peers: configs.filter((_, i) => s.peers[i]!.as === 'peer'),
    ranges: configs.flatMap(({ address: _, name, ...common }, i) =>
      s.peers[i]!.as === 'range'
        ? [{ ...common, name: `range${i}`, link: cables[i]!.id, range: prefix('fe80::/64') }]
        : [],
    ),
  };
}

/** A hub that begins with the first settings and goes over to each of the others. */
function history(all: readonly Settings[]) {
  const net = new SimNet(74);
  const hub = net.router('hub', { asn: 64512 });
  const neighbours = Array.from({ length: NEIGHBOURS }, (_, i) =>
    net.router(`n${i}`, {
      asn: i === INTERNAL ? 64512 : 64513 + (i >> 1), // two of them are sites of one AS
      networks: ['172.20.1.0/24', `172.20.${8 + i}.0/24`, `fd42:${i + 1}::/48`],
    }),
  );
  const cables = neighbours.map((n) => net.join(hub, n, {}, { addPath: 'both' }));
  for (const n of neighbours) hub.speaker.removePeer(n.name);
  net.start();
  const steps = all.map((s) => settingsOf(s, hub, cables));
  const established = () => new Map(hub.speaker.snapshot().map((p) => [p.name, p.establishments]));
  let before = established();
  for (const step of steps) {
    before = established();
    hub.speaker.reconfigure(step);
    net.run(200_000);
  }
  // Ages and path identifiers tell of the way here.
  const text = ({ pathId: _, ageS: __, ...r }: RouteView): string => JSON.stringify(r);
  const told = (n: SimRouter) => [...n.speaker.routes('in')].map(text);
  const result = {
    ways: [...hub.ways].map(([p, { kind, nextHops, isInternal }]) => {
      return `${p} ${kind} ${isInternal} ${nextHops.map((h) => `${h.address}%${h.link} ${h.weight ?? 1}`)}`;
    }),
    best: [...hub.speaker.routes('best')].map(text).sort(),
    told: neighbours.map((n) => told(n).sort()),
    attributeSets: hub.speaker.totals.attributeSets,
  };
  result.ways.sort();
  return { result, steps, before, after: established() };
}

test('whatever the settings are, going over to others ends where beginning with them does', (t) => {
  fc.assert(
    fc.property(anySettings, anySettings, (a, b) => {
      const changed = history([a, b]);
      t.deepEqual(changed.result, history([b]).result);
      const [first, second] = changed.steps as [SpeakerSettings, SpeakerSettings];
      for (const p of second.peers) {
        const was = first.peers.find((o) => o.name === p.name);
        if (was === undefined || partsBetween(was, p).has('session')) continue;
        t.is(changed.after.get(p.name), changed.before.get(p.name), `${p.name} keeps its session`);
      }
    }),
    { seed: 4271, numRuns: 60 },
  );
});
