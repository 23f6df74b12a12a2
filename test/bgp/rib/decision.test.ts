import test from 'ava';
import fc from 'fast-check';
import { AttrTable } from '../../../bgp/rib/attrs.ts';
import { type Candidates, decide, explain, STEP_NAMES, type StepName } from '../../../bgp/rib/decision.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';

interface Route {
  readonly path?: readonly number[];
  readonly localPref?: number;
  readonly origin?: number;
  readonly med?: number;
  readonly isLocal?: boolean;
  readonly isInternal?: boolean;
  readonly cost?: number;
  readonly id?: number;
  readonly originatorId?: number;
  readonly clusters?: number;
  readonly communities?: readonly number[];
  readonly address?: number;
  readonly weight?: number;
  readonly pathId?: number;
  readonly distinguisher?: number;
}

function candidates(routes: readonly Route[]): Candidates {
  const table = new AttrTable();
  const sets = routes.map((r) => {
    const a: Attributes = {
      origin: r.origin ?? 0,
      asPath: [{ type: 2, asns: r.path ?? [1, 2] }],
      med: r.med,
      localPref: r.localPref,
      atomicAggregate: false,
      aggregator: undefined,
      communities: r.communities ?? [],
      extendedCommunities: [],
      largeCommunities: [],
      originatorId: r.originatorId,
      clusterList: new Array(r.clusters ?? 0).fill(1),
      otc: undefined,
      unknown: [],
    };
    return table.intern(a, undefined);
  });
  return {
    table,
    attrs: (i) => table.idOf(sets[i]!),
    isLocal: (i) => routes[i]!.isLocal ?? false,
    isExternal: (i) => !(routes[i]!.isInternal ?? false),
    cost: (i) => routes[i]!.cost ?? 0,
    peerIdentifier: (i) => routes[i]!.id ?? 1,
    weight: (i) => routes[i]!.weight ?? 0,
    pathIdentifier: (i) => routes[i]!.pathId ?? 0,
    comparePeers: (a, b) => (routes[a]!.address ?? 1) - (routes[b]!.address ?? 1),
    compareDistinguishers: (a, b) => (routes[a]!.distinguisher ?? 1) - (routes[b]!.distinguisher ?? 1),
  };
}

/** Index of the best route. */
function best(routes: readonly Route[]): number {
  const set = routes.map((_, i) => i);
  return decide(set, set.length, candidates(routes), []);
}

// Each pair: the second route wins, at this step, although every later step speaks for the first one.
const PAIRS: readonly (readonly [StepName, Route, Route])[] = [
  ['local route', { localPref: 999 }, { isLocal: true, path: [1, 2, 3] }],
  ['long-lived stale', { localPref: 999, communities: [0xffff0006] }, { localPref: 1, path: [1, 2, 3] }],
  ['long-lived stale', { weight: 9, communities: [0xffff0006] }, {}],
  ['weight', { weight: 1, localPref: 999 }, { weight: 2, path: [1, 2, 3] }],
  ['local preference', { localPref: 99, path: [1] }, { localPref: 100, path: [1, 2, 3] }],
  ['local preference', { localPref: 99 }, {}],
  ['AS path length', { path: [1, 2, 3], origin: 0 }, { path: [9, 8], origin: 2 }],
  ['origin', { origin: 1, med: 0 }, { origin: 0, med: 9 }],
  ['MED', { med: 9 }, { med: 1, isInternal: true }],
  ['MED', { med: 1 }, { isInternal: true }],
  ['external over internal', { isInternal: true, cost: 0, path: [7, 7] }, { cost: 5 }],
  ['interior cost', { cost: 9, id: 1 }, { cost: 1, id: 2 }],
  ['BGP identifier', { id: 9, address: 1 }, { id: 2, address: 2 }],
  ['BGP identifier', { id: 3 }, { id: 9, originatorId: 2 }],
  ['cluster list length', { clusters: 2, address: 1 }, { clusters: 1, address: 2 }],
  ['peer address', { address: 2, pathId: 1 }, { address: 1, pathId: 2 }],
  ['route distinguisher', { distinguisher: 2, pathId: 1 }, { distinguisher: 1, pathId: 2 }],
  ['path identifier', { pathId: 2 }, { pathId: 1 }],
];

for (const [step, loser, winner] of PAIRS) {
  test(`${step} decides between ${JSON.stringify(winner)} and ${JSON.stringify(loser)}`, (t) => {
    t.is(best([loser, winner]), 1);
    t.is(best([winner, loser]), 0, 'in either order');
    const lostAt = explain([0, 1], candidates([loser, winner]));
    t.is(lostAt.get(0), step);
    t.is(lostAt.get(1), undefined);
  });
}

test('MEDs of different neighbouring ASes are not compared', (t) => {
  t.is(
    best([
      { path: [1, 5], med: 100, id: 1 },
      { path: [2, 5], med: 1, id: 2 },
    ]),
    0,
  );
});

test('the result does not depend on the order of arrival where MEDs make preference circular', (t) => {
  // The example behind RFC 4271 §9.1.2.2 (c): pairwise comparison would go in circles.
  const a = { path: [1, 5], med: 10, id: 3 };
  const b = { path: [2, 5], med: 0, id: 2 };
  const c = { path: [1, 5], med: 5, id: 4 };
  for (const order of [
    [a, b, c],
    [b, c, a],
    [c, a, b],
    [c, b, a],
  ]) {
    t.is(order[best(order)], b);
  }
});

test('routes equal up to the interior cost are offered for multipath', (t) => {
  const routes: Route[] = [
    { id: 3 },
    { id: 2, path: [8, 9] },
    { id: 1, path: [1], origin: 2, localPref: 50 },
    { id: 4 },
  ];
  const set = [0, 1, 2, 3];
  const equal: number[] = [];
  t.is(decide(set, 4, candidates(routes), equal), 1);
  t.deepEqual(equal.sort(), [0, 1, 3]);
});

test('all steps have names, in the order of the RFC', (t) => {
  t.deepEqual(STEP_NAMES, [
    'local route',
    'long-lived stale',
    'weight',
    'local preference',
    'AS path length',
    'origin',
    'MED',
    'external over internal',
    'interior cost',
    'BGP identifier',
    'cluster list length',
    'peer address',
    'route distinguisher',
    'path identifier',
  ]);
});

// Few values each, so that routes are often equal for many steps.
const few = (max: number) => fc.nat(max);
const anyRoute: fc.Arbitrary<Route> = fc.record({
  path: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 1, maxLength: 2 }),
  localPref: fc.constantFrom(100, 200),
  origin: few(1),
  med: few(2),
  isLocal: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  isInternal: fc.boolean(),
  cost: few(1),
  id: fc.integer({ min: 1, max: 2 }),
  clusters: few(1),
  communities: fc.integer({ min: 0, max: 9 }).map((n) => (n === 0 ? [0xffff0006] : [])),
  address: few(1),
  distinguisher: few(1),
  weight: few(1),
  pathId: few(5),
});

test('explain and decide agree about every route, whatever the candidates and their order', (t) => {
  const seen = new Set<StepName>();
  fc.assert(
    fc.property(fc.array(anyRoute, { minLength: 1, maxLength: 7 }), fc.nat(), (routes, turn) => {
      const c = candidates(routes);
      const order = routes.map((_, i) => (i + turn) % routes.length);
      const equal: number[] = [];
      const winner = decide([...order], order.length, c, equal);
      const lostAt = explain(order, c);
      // Routes that no step tells apart: the first one is used, and the others have lost at none.
      const unbeaten = order.filter((r) => lostAt.get(r) === undefined);
      t.true(unbeaten.includes(winner));
      t.is(new Set(unbeaten.map((r) => routes[r]!.pathId)).size, 1, 'they differ in nothing that is compared');
      // What shares the traffic fell out after the steps of multipath, or not at all.
      const late = STEP_NAMES.slice(STEP_NAMES.indexOf('BGP identifier'));
      for (const r of order) {
        const step = lostAt.get(r);
        t.is(equal.includes(r), step === undefined || late.includes(step), `${step}`);
        if (step !== undefined) seen.add(step);
      }
      // One by one, a loser is beaten by the winner at its step or an earlier one, MED apart, which needs the whole set.
      const loser = order.find((r) => lostAt.get(r) !== undefined && lostAt.get(r) !== 'MED');
      if (loser !== undefined) t.is(explain([winner, loser], c).get(winner), undefined);
    }),
    { seed: 4271, numRuns: 3000 },
  );
  t.deepEqual([...seen].sort(), [...STEP_NAMES].sort(), 'every step decided at least once');
});

test('the winner does not depend on the order of the candidates', (t) => {
  fc.assert(
    fc.property(
      fc.uniqueArray(anyRoute, { minLength: 2, maxLength: 6, selector: (r) => r.pathId }),
      fc.nat(),
      (routes, turn) => {
        const c = candidates(routes);
        const order = routes.map((_, i) => i);
        const turned = order.map((i) => (i + turn) % routes.length);
        t.is(decide([...order], order.length, c, []), decide(turned, turned.length, c, []));
      },
    ),
    { seed: 9122, numRuns: 1000 },
  );
});
