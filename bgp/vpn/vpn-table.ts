/**
 * All VPN routes that may be told, from VRFs of ours and from sessions, by distinguisher and prefix, the best one first.
 * The decision is that of unicast routes (bgp/rib/decision.ts); a route whose next hop cannot be reached is behind all others and
 * is not told. Read first: RFC 4364 §4.3, RFC 4271 §9.1.2, RFC 4456 §9.
 */

import type { Prefix } from '../../router/lib/addr.ts';
import { compareTexts } from '../candidates.ts';
import type { VpnBundle } from '../ports.ts';
import { Has } from '../rib/attrs.ts';
import { type AttrFacts, type Candidates, decide, explain, type StepName } from '../rib/decision.ts';
import { firstAs, pathLength } from '../wire/attribute/as-path.ts';
import { Community } from '../wire/attribute/communities.ts';
import { DEFAULT_LOCAL_PREF } from '../wire/attribute/local-pref.ts';
import type { Attributes } from '../wire/attribute/model.ts';
import type { VpnName, VpnPrefix } from './nlri.ts';
import { PrefixIndex } from './prefix-index.ts';
import { UNREACHABLE } from './vpn-hops.ts';

export interface VpnRoute {
  /** With the path identifier it came with, where it did. */
  readonly name: VpnName & Partial<Pick<VpnPrefix, 'pathId'>>;
  /** The VRF of ours that it comes from; undefined = a peer. */
  readonly vrf: string | undefined;
  readonly label: number;
  readonly bundle: VpnBundle;
  /** Tells the paths to one prefix apart; also as RFC 7911's path identifier. */
  readonly number: number;
  /** Interior cost of its next hop, `UNREACHABLE` = it takes no part in the decision. */
  readonly cost: number;
}

const NO_ROUTES: readonly VpnRoute[] = [];

export class VpnTable {
  readonly #routes = new Map<string, VpnRoute[]>();
  /** Keys by prefix. */
  readonly #keys = new PrefixIndex<string>();

  /** Prefixes. */
  get size(): number {
    return this.#routes.size;
  }

  /** All routes to a prefix, the best one first. */
  routes(key: string): readonly VpnRoute[] {
    return this.#routes.get(key) ?? NO_ROUTES;
  }

  /** The step at which each route to a prefix that can be reached fell out of the decision; the best one has none. */
  lostAt(key: string): ReadonlyMap<VpnRoute, StepName | undefined> {
    inQuestion = this.routes(key).filter(isReachable);
    const steps = explain([...inQuestion.keys()], candidates);
    const lost = new Map(inQuestion.map((route, i) => [route, steps.get(i)]));
    inQuestion = NO_ROUTES;
    return lost;
  }

  has(prefix: Prefix): boolean {
    return this.#keys.has(prefix);
  }

  /** All routes to a prefix of any distinguisher, those of one together and the best one first. */
  at(prefix: Prefix): (readonly VpnRoute[])[] {
    return Array.from(this.#keys.at(prefix), (key) => this.routes(key));
  }

  /** Keys of a prefix. */
  keysOf(prefix: Prefix): Iterable<string> {
    return this.#keys.at(prefix);
  }

  /** All routes, those to one prefix together and the best one first. @param from so many prefixes are passed over */
  *all(from: number): Generator<readonly VpnRoute[]> {
    let n = 0;
    for (const routes of this.#routes.values()) if (n++ >= from) yield routes;
  }

  /** Keys of all prefixes; they may come and go meanwhile. */
  keys(): IterableIterator<string> {
    return this.#routes.keys();
  }

  /** Add a route, or put it in the place of the one with its number. @param key `vpnKey` of its name */
  put(key: string, route: VpnRoute): void {
    const before = this.#routes.get(key);
    if (before === undefined) this.#keys.add(route.name.prefix, key);
    const others = before?.filter((r) => r.number !== route.number) ?? [];
    this.#routes.set(key, bestFirst([...others, route]));
  }

  remove(key: string, number: number): void {
    const before = this.#routes.get(key);
    if (before === undefined) return;
    const left = before.filter((r) => r.number !== number);
    if (left.length > 0) this.#routes.set(key, bestFirst(left));
    else {
      this.#routes.delete(key);
      this.#keys.delete(before[0]!.name.prefix, key);
    }
  }
}

/** The routes the decision is about; their numbers there are their places here. */
let inQuestion: readonly VpnRoute[] = NO_ROUTES;

const bundleOf = (i: number): VpnBundle => inQuestion[i]!.bundle;
const attributesOf = (i: number): Attributes => bundleOf(i).attributes;

const facts: AttrFacts = {
  has: (i, bits) => {
    const a = attributesOf(i);
    if (bits === Has.LlgrStale) return a.communities.includes(Community.LlgrStale);
    return bits === Has.OriginatorId ? a.originatorId !== undefined : a.clusterList.length > 0;
  },
  preference: (i) => attributesOf(i).localPref ?? DEFAULT_LOCAL_PREF,
  pathLength: (i) => pathLength(attributesOf(i).asPath),
  origin: (i) => attributesOf(i).origin,
  med: (i) => attributesOf(i).med ?? 0,
  neighborAs: (i) => firstAs(attributesOf(i).asPath) ?? 0,
  set: attributesOf,
};

const candidates: Candidates = {
  table: facts,
  attrs: (i) => i,
  weight: (i) => bundleOf(i).weight,
  isLocal: (i) => bundleOf(i).from === undefined,
  isExternal: (i) => bundleOf(i).from?.relation === 'external',
  cost: (i) => inQuestion[i]!.cost,
  peerIdentifier: (i) => bundleOf(i).from?.identifier ?? 0,
  // Its own, not ours: numbers of ours tell who came first.
  pathIdentifier: (i) => inQuestion[i]!.name.pathId ?? 0,
  comparePeers: (a, b) => {
    const [x, y] = [bundleOf(a).from, bundleOf(b).from];
    return x === undefined || y === undefined ? 0 : x.address.compare(y.address) || compareTexts(x.name, y.name);
  },
};

export function isReachable({ cost }: VpnRoute): boolean {
  return cost !== UNREACHABLE;
}

/** Routes that can be reached in the order of preference. A decision for each: for those who are told the best so many. */
export function ranked(routes: readonly VpnRoute[]): VpnRoute[] {
  const left = [...routes];
  const order: VpnRoute[] = [];
  while (left.length > 0) order.push(...left.splice(left.indexOf(bestOf(left)), 1));
  return order;
}

function bestOf(routes: readonly VpnRoute[]): VpnRoute {
  inQuestion = routes;
  const best = routes[decide([...routes.keys()], routes.length, candidates, [])]!;
  inQuestion = NO_ROUTES;
  return best;
}

/** The same routes with the best one in front, and those that cannot be reached at the end. */
function bestFirst(routes: VpnRoute[]): VpnRoute[] {
  if (routes.length < 2) return routes;
  const usable = routes.filter(isReachable);
  const others = routes.filter((r) => !isReachable(r));
  if (usable.length === 0) return others;
  const best = bestOf(usable);
  return [best, ...usable.filter((r) => r !== best), ...others];
}
