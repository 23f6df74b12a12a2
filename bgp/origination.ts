/**
 * Routes of our own: networks, which are always there, and aggregates, which are there while something more specific is.
 * Read first: RFC 4271 §9.2.2.2 and §5.1.6, RFC 9774 §3 (aggregates carry no AS_SET; their path begins with us).
 */

import type { Family, Prefix } from '../router/lib/addr.ts';
import { isEqual } from '../router/lib/equal.ts';
import type { Chore } from './chores.ts';
import { DISCARD_HOP } from './export.ts';
import { PrefixGuard, PrefixSet } from './policy/prefix-set.ts';
import { LOCAL_PEER, Verdict } from './rib/adj-rib-in.ts';
import type { AttrTable } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { type Attributes, type NextHop, NO_NUMBERS } from './wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from './wire/attribute/plain.ts';

/** What a route of our own says, before export policy has its say. */
export interface OwnAttributes {
  readonly med?: number;
  readonly localPref?: number;
  readonly communities?: readonly number[];
  readonly extendedCommunities?: readonly (readonly [number, number])[];
  readonly largeCommunities?: readonly (readonly [number, number, number])[];
}

/** A prefix we originate. */
export interface Network extends OwnAttributes {
  readonly prefix: Prefix;
}

/** A prefix we originate while there is a best route to one inside it. Traffic that no such route takes is discarded. */
export interface AggregateConfig extends OwnAttributes {
  readonly prefix: Prefix;
  /** Peers are told the aggregate only, not what is inside. */
  readonly summaryOnly?: boolean;
}

/** Path identifiers of our routes to one prefix: a network comes before an aggregate. */
const NETWORK = 0;
const AGGREGATE = 1;

interface Aggregate {
  readonly prefix: Prefix;
  isSummary: boolean;
  attributes: Attributes;
  readonly inside: PrefixSet;
  /** Prefixes with a best route inside; the aggregate is there while there is one. */
  readonly contributors: Set<number>;
  /** What is inside has been looked for among the best routes there were when the aggregate came. */
  isFilled: boolean;
}

export class Origination {
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #attrs: AttrTable;
  readonly #aggregator: { readonly asn: number; readonly identifier: number };
  readonly #networks = new Map<string, Network>();
  /** Of `#networks`; made when it is asked, so that many networks may come one by one. */
  #guard: PrefixGuard | undefined;
  readonly #aggregates: Readonly<Record<Family, Aggregate[]>> = { 4: [], 6: [] };
  /** Summaries that are there now, by family; rebuilt when one comes or goes. */
  readonly #hidden: Record<Family, readonly Aggregate[]> = { 4: [], 6: [] };

  /**
   * @param aggregator AS and BGP Identifier that stand in AGGREGATOR
   */
  constructor(
    ribs: Readonly<Record<Family, Rib>>,
    attrs: AttrTable,
    aggregator: { readonly asn: number; readonly identifier: number },
    aggregates: readonly AggregateConfig[],
  ) {
    this.#ribs = ribs;
    this.#attrs = attrs;
    this.#aggregator = aggregator;
    for (const a of aggregates) this.#aggregates[a.prefix.family].push(this.#newAggregate(a, true));
  }

  /** Whether a prefix is one of our networks or inside one: nobody else's routes there are taken. */
  covers(family: number, w0: number, w1: number, w2: number, w3: number, length: number): boolean {
    this.#guard ??= new PrefixGuard([...this.#networks.values()].map((n) => n.prefix));
    return this.#guard.covers(family, w0, w1, w2, w3, length);
  }

  announce(network: Network): void {
    this.#networks.set(network.prefix.toString(), network);
    this.#guard = undefined;
    this.#put(network.prefix, NETWORK, attributesOf(network), undefined);
  }

  /** False when the prefix was not originated. */
  withdraw(prefix: Prefix): boolean {
    if (!this.#networks.delete(prefix.toString())) return false;
    this.#guard = undefined;
    this.#drop(prefix, NETWORK);
    return true;
  }

  /**
   * Go over to other networks.
   * @returns whether the set of prefixes is another one: what others tell of them has to be judged again
   */
  setNetworks(networks: readonly Network[]): boolean {
    const next = new Map(networks.map((n) => [n.prefix.toString(), n]));
    const gone = [...this.#networks.values()].filter((n) => !next.has(n.prefix.toString()));
    const added = networks.filter((n) => !this.#networks.has(n.prefix.toString()));
    const changed = networks.filter((n) => !isEqual(this.#networks.get(n.prefix.toString()), n));
    for (const { prefix } of gone) this.withdraw(prefix);
    for (const network of changed) this.announce(network);
    return gone.length + added.length > 0;
  }

  /**
   * Go over to other aggregates; what stays is not touched.
   * @param told prefixes of a family that peers have to be told about anew, as of `bestChanged`
   * @returns finds what is inside of those that are new, or were when this was not done yet
   */
  setAggregates(
    aggregates: readonly AggregateConfig[],
    told: (rib: Rib, ids: Iterable<number>) => void,
  ): ReadonlyMap<Rib, Chore> {
    const chores = new Map<Rib, Chore>();
    for (const rib of [this.#ribs[4], this.#ribs[6]]) {
      const list = this.#aggregates[rib.family];
      const wanted = aggregates.filter((a) => a.prefix.family === rib.family);
      const gone = list.filter((a) => !wanted.some((w) => w.prefix.equals(a.prefix)));
      const changed: Aggregate[] = [];
      const added: Aggregate[] = [];
      for (const a of wanted) {
        const known = list.find(({ prefix }) => prefix.equals(a.prefix));
        const next = this.#newAggregate(a, false);
        if (known === undefined) added.push(next);
        else {
          if (known.isSummary !== next.isSummary) changed.push(known);
          const isSame = isEqual(known.attributes, next.attributes);
          Object.assign(known, { isSummary: next.isSummary, attributes: next.attributes });
          if (!isSame && known.contributors.size > 0) this.#putAggregate(known);
        }
      }
      list.splice(0, list.length, ...list.filter((a) => !gone.includes(a)), ...added);
      this.#showHidden(rib.family);
      for (const a of changed) told(rib, a.contributors);
      for (const a of gone) {
        if (a.contributors.size > 0) this.#drop(a.prefix, AGGREGATE);
        if (a.isSummary) told(rib, a.contributors);
      }
      if (list.some((a) => !a.isFilled)) chores.set(rib, this.#filling(rib, told));
    }
    return chores;
  }

  /** Looks for what is inside of aggregates among the best routes there are, in slices. */
  #filling(rib: Rib, told: (rib: Rib, ids: Iterable<number>) => void): Chore {
    const open = this.#aggregates[rib.family].filter((a) => !a.isFilled);
    let at = 0;
    return {
      step: (budget) => {
        at = rib.loc.slice(at, budget, (id) => {
          for (const a of open) told(rib, this.#contributed(a, rib, id));
        });
        if (at < 0) for (const a of open) a.isFilled = true;
        return at < 0;
      },
    };
  }

  /**
   * The best route of a prefix came, changed or went.
   * @returns prefixes that peers have to be told about anew, because a summary begins or ceases to stand for them
   */
  bestChanged(rib: Rib, id: number): readonly number[] {
    const list = this.#aggregates[rib.family];
    if (list.length === 0) return NO_NUMBERS;
    const affected: number[] = [];
    for (const aggregate of list) affected.push(...this.#contributed(aggregate, rib, id));
    return affected;
  }

  /** Whether an aggregate is there may depend on this prefix. @returns as `bestChanged` */
  #contributed(aggregate: Aggregate, rib: Rib, id: number): Iterable<number> {
    const { contributors, inside, prefix, isSummary } = aggregate;
    const isThere = rib.loc.peer(id) >= 0;
    if (isThere ? contributors.has(id) || !isInside(inside, rib, id) : !contributors.delete(id)) return NO_NUMBERS;
    if (isThere) contributors.add(id);
    const becomes = isThere && contributors.size === 1;
    if (!becomes && contributors.size > 0) return NO_NUMBERS;
    if (becomes) this.#putAggregate(aggregate);
    else this.#drop(prefix, AGGREGATE);
    if (!isSummary) return NO_NUMBERS;
    this.#showHidden(rib.family);
    return contributors;
  }

  #showHidden(family: Family): void {
    this.#hidden[family] = this.#aggregates[family].filter((a) => a.isSummary && a.contributors.size > 0);
  }

  /** Whether a summary stands for a prefix towards peers. */
  hides(rib: Rib, id: number): boolean {
    for (const { inside } of this.#hidden[rib.family]) if (isInside(inside, rib, id)) return true;
    return false;
  }

  #newAggregate(config: AggregateConfig, isFilled: boolean): Aggregate {
    const { prefix, summaryOnly: isSummary = false } = config;
    const longest = prefix.family === 4 ? 32 : 128;
    const inside = new PrefixSet([{ prefix, minLength: Math.min(longest, prefix.length + 1), maxLength: longest }]);
    // RFC 4271 §5.1.6: the ASes of what is inside are not in the path, and this says so.
    const attributes = { ...attributesOf(config), atomicAggregate: true, aggregator: this.#aggregator };
    return { prefix, isSummary, attributes, inside, contributors: new Set(), isFilled };
  }

  #putAggregate({ prefix, attributes }: Aggregate): void {
    this.#put(prefix, AGGREGATE, attributes, DISCARD_HOP);
  }

  #put(prefix: Prefix, pathId: number, attributes: Attributes, nextHop: NextHop | undefined): void {
    const rib = this.#ribs[prefix.family];
    const id = rib.prefixes.internPrefix(prefix);
    const route = rib.routes.find(id, LOCAL_PEER, pathId);
    const number = this.#attrs.idOf(this.#attrs.intern(attributes, nextHop));
    if (route < 0) rib.routes.add(id, LOCAL_PEER, pathId, number, number, Verdict.Accepted);
    else rib.routes.replace(route, number, number, Verdict.Accepted);
    rib.loc.touch(id);
  }

  #drop(prefix: Prefix, pathId: number): void {
    const rib = this.#ribs[prefix.family];
    const id = rib.prefixes.findPrefix(prefix);
    const route = id < 0 ? -1 : rib.routes.find(id, LOCAL_PEER, pathId);
    if (route < 0) return;
    rib.loc.touch(id);
    rib.routes.remove(route);
  }
}

function attributesOf(own: OwnAttributes): Attributes {
  const { med, localPref, communities = NO_NUMBERS, extendedCommunities, largeCommunities } = own;
  return {
    ...PLAIN_ATTRIBUTES,
    med,
    localPref,
    communities,
    extendedCommunities: extendedCommunities?.flat() ?? NO_NUMBERS,
    largeCommunities: largeCommunities?.flat() ?? NO_NUMBERS,
  };
}

function isInside(set: PrefixSet, { prefixes: p, family }: Rib, id: number): boolean {
  return family === 4
    ? set.has(4, p.w0[id]!, 0, 0, 0, p.length[id]!)
    : set.has(6, p.w0[id]!, p.w1[id]!, p.w2[id]!, p.w3[id]!, p.length[id]!);
}
