/**
 * Import and export policy: ordered rules of a match and an action; the first rule that matches decides, and a route that
 * no rule matches is rejected.
 * Read first: RFC 8212 (what happens without policy; speaker.ts), RFC 1997, RFC 8092. No language, no state.
 */

import { maskWord, type Prefix } from '../../router/lib/addr.ts';
import { firstAs, occurrences, originAs, pathLength, prepend } from '../wire/attribute/as-path.ts';
import { type Attributes, NO_NUMBERS } from '../wire/attribute/model.ts';

/** Prefixes inside `prefix` whose length lies in [minLength, maxLength]; both default to the prefix's own length. */
export interface PrefixMatch {
  readonly prefix: Prefix;
  readonly minLength?: number;
  readonly maxLength?: number;
}

/** All conditions that are given must hold; a list holds when one of its entries does. */
export interface Match {
  readonly prefixes?: readonly PrefixMatch[];
  readonly communities?: readonly number[];
  readonly largeCommunities?: readonly (readonly [number, number, number])[];
  /** The path contains one of these. */
  readonly asPathContains?: readonly number[];
  readonly firstAs?: readonly number[];
  readonly originAs?: readonly number[];
  readonly maxPathLength?: number;
}

/** Changes to an accepted route. */
export interface Changes {
  readonly localPref?: number;
  readonly med?: number;
  /** Put our AS (export) or the peer's (import) in front this many more times. */
  readonly prepend?: { readonly asn: number; readonly times: number };
  readonly addCommunities?: readonly number[];
  readonly removeCommunities?: readonly number[];
  readonly addLargeCommunities?: readonly (readonly [number, number, number])[];
}

export interface Rule {
  readonly match?: Match;
  readonly action: 'accept' | 'reject';
  readonly set?: Changes;
}

/** A whole policy. The two words are for peers that need no rules. */
export type Policy = 'accept-all' | 'reject-all' | readonly Rule[];

interface PrefixRange {
  readonly family: number;
  readonly words: readonly [number, number, number, number];
  readonly masks: readonly [number, number, number, number];
  readonly min: number;
  readonly max: number;
}

interface Compiled {
  readonly match: Match;
  readonly ranges: readonly PrefixRange[] | undefined;
  readonly accepts: boolean;
  readonly changes: Changes | undefined;
}

/** Outcome of `Filter.find` for a route that is refused. */
export const REFUSED = -1;

/** A policy made ready for many routes. */
export class Filter {
  readonly #rules: readonly Compiled[];

  constructor(policy: Policy) {
    const rules: readonly Rule[] =
      policy === 'accept-all' ? [{ action: 'accept' }] : policy === 'reject-all' ? [] : policy;
    this.#rules = rules.map((r) => ({
      match: r.match ?? {},
      ranges: r.match?.prefixes?.map(toRange),
      accepts: r.action === 'accept',
      changes: r.set,
    }));
  }

  /** How many rules there are; `find` answers below this. */
  get size(): number {
    return this.#rules.length;
  }

  /** Number of the rule that accepts a route to the prefix given by left-aligned words, or REFUSED. */
  find(family: number, w0: number, w1: number, w2: number, w3: number, length: number, a: Attributes): number {
    for (let i = 0; i < this.#rules.length; i++) {
      const rule = this.#rules[i]!;
      if (rule.ranges !== undefined && !rule.ranges.some((r) => isInside(r, family, w0, w1, w2, w3, length))) continue;
      if (matchesAttributes(rule.match, a)) return rule.accepts ? i : REFUSED;
    }
    return REFUSED;
  }

  /** The attributes after the changes of a rule; the same object when it changes nothing. */
  apply(rule: number, a: Attributes): Attributes {
    const set = this.#rules[rule]!.changes;
    if (set === undefined) return a;
    const removed = a.communities.filter((c) => !set.removeCommunities?.includes(c));
    const added = (set.addCommunities ?? []).filter((c) => !removed.includes(c));
    const communities = [...removed, ...added];
    return {
      ...copyOf(a),
      localPref: set.localPref ?? a.localPref,
      med: set.med ?? a.med,
      asPath: set.prepend === undefined ? a.asPath : prepend(a.asPath, set.prepend.asn, set.prepend.times),
      communities: communities.length === 0 ? NO_NUMBERS : communities,
      largeCommunities:
        set.addLargeCommunities === undefined
          ? a.largeCommunities
          : [...a.largeCommunities, ...set.addLargeCommunities.filter((t) => !hasLarge(a, t)).flat()],
    };
  }
}

/** The attributes alone, without what an AttrSet adds. */
export function copyOf(a: Attributes): Attributes {
  return {
    origin: a.origin,
    asPath: a.asPath,
    med: a.med,
    localPref: a.localPref,
    atomicAggregate: a.atomicAggregate,
    aggregator: a.aggregator,
    communities: a.communities,
    extendedCommunities: a.extendedCommunities,
    largeCommunities: a.largeCommunities,
    originatorId: a.originatorId,
    clusterList: a.clusterList,
    otc: a.otc,
    unknown: a.unknown,
  };
}

function matchesAttributes(m: Match, a: Attributes): boolean {
  return (
    (m.communities === undefined || m.communities.some((c) => a.communities.includes(c))) &&
    (m.largeCommunities === undefined || m.largeCommunities.some((t) => hasLarge(a, t))) &&
    (m.asPathContains === undefined || m.asPathContains.some((asn) => occurrences(a.asPath, asn) > 0)) &&
    (m.firstAs === undefined || m.firstAs.includes(firstAs(a.asPath) ?? 0)) &&
    (m.originAs === undefined || m.originAs.includes(originAs(a.asPath) ?? 0)) &&
    (m.maxPathLength === undefined || pathLength(a.asPath) <= m.maxPathLength)
  );
}

function hasLarge(a: Attributes, [x, y, z]: readonly [number, number, number]): boolean {
  const l = a.largeCommunities;
  for (let i = 0; i < l.length; i += 3) if (l[i] === x && l[i + 1] === y && l[i + 2] === z) return true;
  return false;
}

function toRange(m: PrefixMatch): PrefixRange {
  const { addr, length } = m.prefix;
  const bits = (i: number): number => maskWord(Math.min(32, Math.max(0, length - 32 * i)));
  const min = m.minLength ?? Math.min(length, m.maxLength ?? length);
  const words = addr.family === 4 ? ([addr.a3, 0, 0, 0] as const) : ([addr.a0, addr.a1, addr.a2, addr.a3] as const);
  return {
    family: addr.family,
    words,
    masks: [bits(0), bits(1), bits(2), bits(3)],
    min: Math.max(min, length),
    max: m.maxLength ?? (m.minLength === undefined ? length : addr.family === 4 ? 32 : 128),
  };
}

function isInside(
  r: PrefixRange,
  family: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  length: number,
): boolean {
  const { words, masks } = r;
  return (
    r.family === family &&
    length >= r.min &&
    length <= r.max &&
    (w0 & masks[0]) === words[0] &&
    (w1 & masks[1]) === words[1] &&
    (w2 & masks[2]) === words[2] &&
    (w3 & masks[3]) === words[3]
  );
}

/** Whether a prefix is one of `own` or inside one (own prefix protection). */
export class PrefixGuard {
  readonly #ranges: readonly PrefixRange[];

  constructor(own: readonly Prefix[]) {
    this.#ranges = own.map((prefix) => toRange({ prefix, minLength: prefix.length }));
  }

  covers(family: number, w0: number, w1: number, w2: number, w3: number, length: number): boolean {
    for (const r of this.#ranges) if (isInside(r, family, w0, w1, w2, w3, length)) return true;
    return false;
  }
}
