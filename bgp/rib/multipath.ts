/**
 * Which of several equally good routes share the traffic of a prefix, and in which proportion.
 * Read first: RFC 4271 §9.1.2.2 (a tie that lasts until the interior cost), draft-ietf-idr-link-bandwidth §3.
 */

import type { FibNextHop } from '../ports.ts';
import { asPathText } from '../wire/attribute/as-path.ts';
import { bandwidthOf } from '../wire/attribute/extended-communities.ts';
import { type AttrTable, Has } from './attrs.ts';
import type { Candidates } from './decision.ts';
import type { ResolvedHop } from './loc-rib.ts';

/** How routes are used together. */
export interface Multipath {
  /** Most next hops of one prefix; 1 = only the best route is used. */
  readonly maxPaths: number;
  /** Flows are shared out by the link bandwidth communities, where all routes have one. */
  readonly weighted?: boolean;
  /** Routes with other ASes in their paths may share too, as long as the paths have one length. Default true. */
  readonly relaxed?: boolean;
}

export const SINGLE_PATH: Multipath = { maxPaths: 1 };

/** Largest weight given to a next hop; the others are in proportion. */
const MAX_WEIGHT = 256;

export interface Shares {
  /** The best route first, each next hop once. */
  readonly routes: readonly number[];
  readonly hops: readonly ResolvedHop[];
  /** 1 for all when they share equally. */
  readonly weights: readonly number[];
}

/**
 * The routes that are used together with the best one.
 * @param equal routes as good as the best up to the interior cost, the best one among them
 * @param hop resolves a route's next hop; every route of `equal` has one
 */
export function sharesOf(
  best: number,
  equal: readonly number[],
  c: Candidates & { readonly table: AttrTable },
  hop: (route: number) => ResolvedHop,
  settings: Multipath,
): Shares {
  const routes = [best];
  const hops = [hop(best)];
  const { table } = c;
  const isAlone = settings.maxPaths === 1 || equal.length === 1 || hops[0]!.alone.kind !== 'unicast';
  const path = isAlone || settings.relaxed !== false ? undefined : pathText(table, c.attrs(best));
  // In an order that depends on the routes alone, not on their arrival.
  const rest = isAlone ? [] : [...equal].sort((a, b) => order(a, b, c));
  for (const r of rest) {
    if (routes.length === settings.maxPaths) break;
    const via = hop(r);
    if (via.alone.kind !== 'unicast' || hops.includes(via)) continue;
    if (path !== undefined && pathText(table, c.attrs(r)) !== path) continue;
    routes.push(r);
    hops.push(via);
  }
  const isWeighted = settings.weighted === true && routes.length > 1;
  return {
    routes,
    hops,
    weights: isWeighted ? weightsOf(routes.map((r) => bandwidth(table, c.attrs(r)))) : ones(routes),
  };
}

/**
 * Next hops with their weights, where some of `hops` stand for several (`Via.group`): each of those has its part of what the
 * one it stands for has, and what several stand for has the sum.
 */
export function spreadOut(
  hops: readonly ResolvedHop[],
  weights: readonly number[],
): { readonly hops: readonly FibNextHop[]; readonly weights: readonly number[] } {
  const groups = hops.map((h) => h.alone.nextHops);
  if (groups.every((g) => g.length === 1)) return { hops, weights };
  const totals = groups.map((g) => g.reduce((sum, h) => sum + (h.weight ?? 1), 0));
  const all: FibNextHop[] = [];
  const parts: number[] = [];
  for (const [i, group] of groups.entries()) {
    for (const hop of group) {
      const part = (weights[i]! * (hop.weight ?? 1)) / totals[i]!;
      const known = all.findIndex((x) => x.link === hop.link && x.address.equals(hop.address));
      if (known >= 0) parts[known]! += part;
      else parts[all.push(hop) - 1] = part;
    }
  }
  return { hops: all, weights: weightsOf(parts) };
}

function order(a: number, b: number, c: Candidates): number {
  return (
    c.peerIdentifier(a) - c.peerIdentifier(b) ||
    c.comparePeers(a, b) ||
    (c.compareDistinguishers?.(a, b) ?? 0) ||
    c.pathIdentifier(a) - c.pathIdentifier(b)
  );
}

const ones = (routes: readonly number[]): number[] => routes.map(() => 1);

function pathText(table: AttrTable, id: number): string {
  return asPathText(table.set(id).asPath);
}

/** Octets per second of the link bandwidth community, 0 when the route has none. */
function bandwidth(table: AttrTable, id: number): number {
  if (!table.has(id, Has.ExtendedCommunities)) return 0;
  const words = table.set(id).extendedCommunities;
  for (let i = 0; i < words.length; i += 2) {
    const octets = bandwidthOf(words[i]!, words[i + 1]!);
    if (octets !== undefined) return octets;
  }
  return 0;
}

/** Whole numbers in the proportion of the bandwidths; equal ones when a route does not say its own. */
export function weightsOf(bandwidths: readonly number[]): number[] {
  const most = Math.max(...bandwidths);
  if (bandwidths.some((b) => b <= 0)) return bandwidths.map(() => 1);
  if (bandwidths.every((b) => b === most)) return bandwidths.map(() => 1);
  return bandwidths.map((b) => Math.max(1, Math.round((b / most) * MAX_WEIGHT)));
}
