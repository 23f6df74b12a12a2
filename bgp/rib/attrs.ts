/**
 * Attribute sets, each stored once: routes point at them, so that a million prefixes cost as many attribute sets as the
 * senders used, and "same attributes" is a pointer comparison.
 * Read first: RFC 4271 §9. A set is never changed; policy makes another one.
 */

import { type AsPath, firstAs, pathLength } from '../wire/attribute/as-path.ts';
import { Community } from '../wire/attribute/communities.ts';
import { DEFAULT_LOCAL_PREF } from '../wire/attribute/local-pref.ts';
import type { Aggregator, Attributes, NextHop, UnknownAttribute } from '../wire/attribute/model.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import { OctetWriter } from '../wire/octets.ts';

/** Path attributes and next hop of a route, with what the decision process asks of them worked out once. */
export class AttrSet implements Attributes {
  readonly origin: number;
  readonly asPath: AsPath;
  readonly med: number | undefined;
  readonly localPref: number | undefined;
  readonly atomicAggregate: boolean;
  readonly aggregator: Aggregator | undefined;
  readonly communities: readonly number[];
  readonly extendedCommunities: readonly number[];
  readonly largeCommunities: readonly number[];
  readonly originatorId: number | undefined;
  readonly clusterList: readonly number[];
  readonly otc: number | undefined;
  readonly unknown: readonly UnknownAttribute[];
  /** Undefined for routes of our own. */
  readonly nextHop: NextHop | undefined;
  /** RFC 4271 §9.1.2.2 (a). */
  readonly pathLength: number;
  /** First AS of the path, 0 when it is empty: routes with the same one have comparable MEDs. */
  readonly neighborAs: number;
  /** LOCAL_PREF or the default. */
  readonly preference: number;
  /** RFC 9494 §4.3: the route of a peer that has been away for long, the last choice. */
  readonly isLongLivedStale: boolean;
  /** Octets of the set, one character each. */
  readonly key: string;
  /** How many routes point here; the table forgets a set nobody points at. */
  refs = 0;

  constructor(a: Attributes, nextHop: NextHop | undefined, key: string) {
    this.origin = a.origin;
    this.asPath = a.asPath;
    this.med = a.med;
    this.localPref = a.localPref;
    this.atomicAggregate = a.atomicAggregate;
    this.aggregator = a.aggregator;
    this.communities = a.communities;
    this.extendedCommunities = a.extendedCommunities;
    this.largeCommunities = a.largeCommunities;
    this.originatorId = a.originatorId;
    this.clusterList = a.clusterList;
    this.otc = a.otc;
    this.unknown = a.unknown;
    this.nextHop = nextHop;
    this.pathLength = pathLength(a.asPath);
    this.neighborAs = firstAs(a.asPath) ?? 0;
    this.preference = a.localPref ?? DEFAULT_LOCAL_PREF;
    this.isLongLivedStale = a.communities.includes(Community.LlgrStale);
    this.key = key;
  }
}

/** All attribute sets in use. */
export class AttrTable {
  readonly #sets = new Map<string, AttrSet>();
  readonly #scratch = new OctetWriter();

  get size(): number {
    return this.#sets.size;
  }

  /** The one set with these attributes. It stays known while somebody holds it (`retain`). */
  intern(a: Attributes, nextHop: NextHop | undefined): AttrSet {
    const w = this.#scratch;
    w.clear();
    putAttributes(w, a, undefined, true);
    if (nextHop !== undefined) {
      // Two flag octets keep { global } and { linkLocal } of the same address apart.
      w.u8(nextHop.global === undefined ? 0 : nextHop.global.family);
      if (nextHop.global !== undefined) w.put(nextHop.global.toBytes());
      w.u8(nextHop.linkLocal === undefined ? 0 : 6);
      if (nextHop.linkLocal !== undefined) w.put(nextHop.linkLocal.toBytes());
    }
    const key = w.key();
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new AttrSet(a, nextHop, key);
      this.#sets.set(key, set);
    }
    return set;
  }

  retain(set: AttrSet): void {
    // A set may come back after its last holder left, e.g. from a cache of export results.
    if (set.refs++ === 0 && !this.#sets.has(set.key)) this.#sets.set(set.key, set);
  }

  release(set: AttrSet): void {
    if (--set.refs === 0 && this.#sets.get(set.key) === set) this.#sets.delete(set.key);
  }

  /** Forget sets that were interned but never held, e.g. of routes that a filter refused. */
  sweep(): void {
    for (const [key, set] of this.#sets) if (set.refs === 0) this.#sets.delete(key);
  }
}
