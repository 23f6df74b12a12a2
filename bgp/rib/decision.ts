/**
 * The decision process: which of several routes to a prefix is best, one function per step, and which step decided.
 * Read first: RFC 4271 §9.1.2.2, RFC 4456 §9, RFC 5004 (not followed: the oldest route is not preferred, so that the
 * result depends on the routes alone). Does not know where routes are stored.
 */

import type { Attributes } from '../wire/attribute/model.ts';
import { Has } from './attrs.ts';

/** What the steps ask about a set of attributes, by its number (`AttrTable`). */
export interface AttrFacts {
  /** @param bits of `Has` */
  has(set: number, bits: number): boolean;
  /** LOCAL_PREF or the default. */
  preference(set: number): number;
  pathLength(set: number): number;
  origin(set: number): number;
  /** 0 when missing. */
  med(set: number): number;
  /** First AS of the path outside our confederation, 0 when there is none. */
  neighborAs(set: number): number;
  set(set: number): Pick<Attributes, 'originatorId' | 'clusterList'>;
}

/** What the steps ask about a route, by its number. */
export interface Candidates {
  readonly table: AttrFacts;
  /** Number of the route's attribute set in `table`. */
  attrs(route: number): number;
  /** Preference of this speaker alone, set by import policy; higher is better. */
  weight(route: number): number;
  /** Originated here. */
  isLocal(route: number): boolean;
  /** Learned from a peer in another AS. */
  isExternal(route: number): boolean;
  /** Interior cost to the next hop. */
  cost(route: number): number;
  /** BGP Identifier of the peer. */
  peerIdentifier(route: number): number;
  /** RFC 7911 §3; 0 without. */
  pathIdentifier(route: number): number;
  /** Order of peer addresses: negative when the peer of `a` has the lower one. */
  comparePeers(a: number, b: number): number;
  /** Order of the route distinguishers that VPN routes had; missing where routes have none. */
  compareDistinguishers?(a: number, b: number): number;
}

export type StepName =
  | 'local route'
  | 'long-lived stale'
  | 'weight'
  | 'local preference'
  | 'AS path length'
  | 'origin'
  | 'MED'
  | 'external over internal'
  | 'interior cost'
  | 'BGP identifier'
  | 'cluster list length'
  | 'peer address'
  | 'route distinguisher'
  | 'path identifier';

/** Keeps the better ones of the first `n` routes in `set`, in place, and returns how many are left. */
type Step = (set: number[], n: number, c: Candidates) => number;

function keepLowest(set: number[], n: number, value: (route: number) => number): number {
  let best = Infinity;
  let kept = 0;
  for (let i = 0; i < n; i++) {
    const r = set[i]!;
    const v = value(r);
    if (v > best) continue;
    if (v < best) {
      best = v;
      kept = 0;
    }
    set[kept++] = r;
  }
  return kept;
}

function keepFirst(set: number[], n: number, compare: (a: number, b: number) => number): number {
  let first = set[0]!;
  for (let i = 1; i < n; i++) if (compare(set[i]!, first) < 0) first = set[i]!;
  let kept = 0;
  for (let i = 0; i < n; i++) if (compare(set[i]!, first) === 0) set[kept++] = set[i]!;
  return kept;
}

/** Routes of our own come first: they are what the others are measured against. */
const localRoute: Step = (set, n, c) => keepLowest(set, n, (r) => (c.isLocal(r) ? 0 : 1));

/** RFC 9494 §4.3: a long-lived stale route is used where there is no other. */
const longLivedStale: Step = (set, n, c) => keepLowest(set, n, (r) => (c.table.has(c.attrs(r), Has.LlgrStale) ? 1 : 0));

/** What import policy says to this speaker only. */
const weight: Step = (set, n, c) => keepLowest(set, n, (r) => -c.weight(r));

/** RFC 4271 §9.1.1: the degree of preference. */
const localPreference: Step = (set, n, c) => keepLowest(set, n, (r) => -c.table.preference(c.attrs(r)));

/** RFC 4271 §9.1.2.2 (a) */
const asPathLength: Step = (set, n, c) => keepLowest(set, n, (r) => c.table.pathLength(c.attrs(r)));

/** RFC 4271 §9.1.2.2 (b) */
const origin: Step = (set, n, c) => keepLowest(set, n, (r) => c.table.origin(c.attrs(r)));

/** RFC 4271 §9.1.2.2 (c): compared among routes of the same neighbouring AS only; a missing MED is the lowest one. */
const med: Step = (set, n, c) => {
  const before = set.slice(0, n);
  let kept = 0;
  for (const r of before) {
    const a = c.attrs(r);
    const isBeaten = before.some((other) => {
      const b = c.attrs(other);
      return c.table.neighborAs(b) === c.table.neighborAs(a) && c.table.med(b) < c.table.med(a);
    });
    if (!isBeaten) set[kept++] = r;
  }
  return kept;
};

/** RFC 4271 §9.1.2.2 (d) */
const externalOverInternal: Step = (set, n, c) => keepLowest(set, n, (r) => (c.isExternal(r) ? 0 : 1));

/** RFC 4271 §9.1.2.2 (e) */
const interiorCost: Step = (set, n, c) => keepLowest(set, n, (r) => c.cost(r));

/** RFC 4271 §9.1.2.2 (f); RFC 4456 §9: a reflected route counts as its originator's. */
const bgpIdentifier: Step = (set, n, c) =>
  keepLowest(set, n, (r) => {
    const a = c.attrs(r);
    return c.table.has(a, Has.OriginatorId) ? c.table.set(a).originatorId! : c.peerIdentifier(r);
  });

/** RFC 4456 §9 */
const clusterListLength: Step = (set, n, c) =>
  keepLowest(set, n, (r) => {
    const a = c.attrs(r);
    return c.table.has(a, Has.ClusterList) ? c.table.set(a).clusterList.length : 0;
  });

/** RFC 4271 §9.1.2.2 (g) */
const peerAddress: Step = (set, n, c) => keepFirst(set, n, (a, b) => c.comparePeers(a, b));

/** RFC 4364 §4.1: one peer may tell a prefix under several distinguishers; none is better, so the lower one is used. */
const routeDistinguisher: Step = (set, n, c) =>
  c.compareDistinguishers === undefined ? n : keepFirst(set, n, (a, b) => c.compareDistinguishers!(a, b));

/** Several paths of one peer (RFC 7911): any order will do that depends on the routes alone. */
const pathIdentifier: Step = (set, n, c) => keepLowest(set, n, (r) => c.pathIdentifier(r));

/** Routes that are equal after these share the traffic. */
const MULTIPATH_STEPS: readonly (readonly [StepName, Step])[] = [
  ['local route', localRoute],
  ['long-lived stale', longLivedStale],
  ['weight', weight],
  ['local preference', localPreference],
  ['AS path length', asPathLength],
  ['origin', origin],
  ['MED', med],
  ['external over internal', externalOverInternal],
  ['interior cost', interiorCost],
];

const TIE_BREAKERS: readonly (readonly [StepName, Step])[] = [
  ['BGP identifier', bgpIdentifier],
  ['cluster list length', clusterListLength],
  ['peer address', peerAddress],
  ['route distinguisher', routeDistinguisher],
  ['path identifier', pathIdentifier],
];

/** Names of all steps in order, for documentation and `mlshim bgp explain`. */
export const STEP_NAMES: readonly StepName[] = [...MULTIPATH_STEPS, ...TIE_BREAKERS].map(([name]) => name);

/**
 * Choose the best of the first `n` routes in `set`.
 * @param set reordered; afterwards its first entry is the best route
 * @param equal filled with all routes that are as good up to the interior cost, the best one included
 */
export function decide(set: number[], n: number, c: Candidates, equal: number[]): number {
  let left = n;
  for (let i = 0; left > 1 && i < MULTIPATH_STEPS.length; i++) left = MULTIPATH_STEPS[i]![1](set, left, c);
  equal.length = 0;
  for (let i = 0; i < left; i++) equal.push(set[i]!);
  for (let i = 0; left > 1 && i < TIE_BREAKERS.length; i++) left = TIE_BREAKERS[i]![1](set, left, c);
  return set[0]!;
}

/** The step at which each route fell out; the best route has none. */
export function explain(routes: readonly number[], c: Candidates): Map<number, StepName | undefined> {
  const lostAt = new Map<number, StepName | undefined>(routes.map((r) => [r, undefined]));
  const set = [...routes];
  let left = set.length;
  for (const [name, step] of [...MULTIPATH_STEPS, ...TIE_BREAKERS]) {
    if (left <= 1) break;
    const before = set.slice(0, left);
    left = step(set, left, c);
    const kept = new Set(set.slice(0, left));
    for (const r of before) if (!kept.has(r)) lostAt.set(r, name);
  }
  return lostAt;
}
