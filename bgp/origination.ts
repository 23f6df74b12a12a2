/**
 * Routes of our own: networks, which are always there, and aggregates, which are there while something more specific is.
 * Read first: RFC 4271 §9.2.2.2 and §5.1.6, RFC 9774 §3 (aggregates carry no AS_SET; their path begins with us).
 */

import type { Family, Prefix } from '../router/lib/addr.ts';
import { DISCARD_HOP } from './export.ts';
import { PrefixGuard, PrefixSet } from './policy/prefix-set.ts';
import { LOCAL_PEER, Verdict } from './rib/adj-rib-in.ts';
import type { AttrTable } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { type Attributes, type NextHop, NO_NUMBERS } from './wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from './wire/attribute/plain.ts';

/** A prefix we originate. */
export interface Network {
  readonly prefix: Prefix;
  readonly med?: number;
  readonly communities?: readonly number[];
}

/** A prefix we originate while there is a best route to one inside it. Traffic that no such route takes is discarded. */
export interface AggregateConfig {
  readonly prefix: Prefix;
  /** Peers are told the aggregate only, not what is inside. */
  readonly summaryOnly?: boolean;
}

/** Path identifiers of our routes to one prefix: a network comes before an aggregate. */
const NETWORK = 0;
const AGGREGATE = 1;

interface Aggregate {
  readonly prefix: Prefix;
  readonly isSummary: boolean;
  readonly inside: PrefixSet;
  /** Prefixes with a best route inside; the aggregate is there while there is one. */
  readonly contributors: Set<number>;
}

export class Origination {
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #attrs: AttrTable;
  readonly #aggregator: { readonly asn: number; readonly identifier: number };
  readonly #networks = new Map<string, Network>();
  readonly #aggregates: Readonly<Record<Family, readonly Aggregate[]>>;
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
    const of = (family: Family): Aggregate[] =>
      aggregates
        .filter((a) => a.prefix.family === family)
        .map(({ prefix, summaryOnly }) => {
          const longest = family === 4 ? 32 : 128;
          return {
            prefix,
            isSummary: summaryOnly ?? false,
            inside: new PrefixSet([{ prefix, minLength: Math.min(longest, prefix.length + 1), maxLength: longest }]),
            contributors: new Set<number>(),
          };
        });
    this.#aggregates = { 4: of(4), 6: of(6) };
  }

  /** Our networks; nobody else's routes inside them are taken. */
  guard(): PrefixGuard {
    return new PrefixGuard([...this.#networks.values()].map((n) => n.prefix));
  }

  announce(network: Network): void {
    this.#networks.set(network.prefix.toString(), network);
    const { med, communities = NO_NUMBERS } = network;
    this.#put(network.prefix, NETWORK, { ...PLAIN_ATTRIBUTES, med, communities }, undefined);
  }

  /** False when the prefix was not originated. */
  withdraw(prefix: Prefix): boolean {
    if (!this.#networks.delete(prefix.toString())) return false;
    this.#drop(prefix, NETWORK);
    return true;
  }

  /**
   * The best route of a prefix came, changed or went.
   * @returns prefixes that peers have to be told about anew, because a summary begins to stand for them
   */
  bestChanged(rib: Rib, id: number): readonly number[] {
    const list = this.#aggregates[rib.family];
    if (list.length === 0) return NO_NUMBERS;
    const isThere = rib.loc.peer(id) >= 0;
    const affected: number[] = [];
    for (const aggregate of list) {
      const { contributors, inside, prefix, isSummary } = aggregate;
      if (isThere ? contributors.has(id) || !isInside(inside, rib, id) : !contributors.delete(id)) continue;
      if (isThere) contributors.add(id);
      const becomes = isThere && contributors.size === 1;
      if (!becomes && contributors.size > 0) continue;
      if (becomes) {
        // RFC 4271 §5.1.6: the ASes of what is inside are not in the path, and this says so.
        const attributes = { ...PLAIN_ATTRIBUTES, atomicAggregate: true, aggregator: this.#aggregator };
        this.#put(prefix, AGGREGATE, attributes, DISCARD_HOP);
      } else this.#drop(prefix, AGGREGATE);
      if (!isSummary) continue;
      this.#hidden[rib.family] = list.filter((a) => a.isSummary && a.contributors.size > 0);
      affected.push(...contributors);
    }
    return affected;
  }

  /** Whether a summary stands for a prefix towards peers. */
  hides(rib: Rib, id: number): boolean {
    for (const { inside } of this.#hidden[rib.family]) if (isInside(inside, rib, id)) return true;
    return false;
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

function isInside(set: PrefixSet, { prefixes: p, family }: Rib, id: number): boolean {
  return family === 4
    ? set.has(4, p.w0[id]!, 0, 0, 0, p.length[id]!)
    : set.has(6, p.w0[id]!, p.w1[id]!, p.w2[id]!, p.w3[id]!, p.length[id]!);
}
