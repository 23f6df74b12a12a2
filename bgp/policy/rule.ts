/**
 * What a policy is made of: ordered rules of a match, changes and an action, as plain values.
 * Read first: RFC 8212 (what happens without policy; peer.ts), RFC 1997, RFC 4360, RFC 8092, RFC 6811 §2.
 * Text forms are text.ts's job, doing what a rule says is filter.ts's.
 */

import type { Addr, Family, Prefix } from '../../router/lib/addr.ts';
import type { Attributes } from '../wire/attribute/model.ts';
import type { RouteFunction } from './module.ts';

/** Numbers from `min` to `max`, both included. */
export interface NumberRange {
  readonly min: number;
  readonly max: number;
}

/** One number, or any of a range. */
export type NumberMatch = number | NumberRange;

/** Prefixes inside `prefix` whose length lies in [minLength, maxLength]; both default to the prefix's own length. */
export interface PrefixMatch {
  readonly prefix: Prefix;
  readonly minLength?: number;
  readonly maxLength?: number;
}

/** A community (RFC 1997) as its 32-bit value, or as its two 16-bit halves. */
export type CommunityMatch = number | readonly [NumberMatch, NumberMatch];

/** A large community (RFC 8092). */
export type LargeCommunityMatch = readonly [NumberMatch, NumberMatch, NumberMatch];

/** An extended community (RFC 4360): its two words under two masks (unset bits of a mask may be anything). */
export interface ExtendedCommunityMatch {
  readonly high: number;
  readonly low: number;
  readonly highMask: number;
  readonly lowMask: number;
}

/** Where a route comes from: originated here, from another AS, or from a peer of our own AS. */
export type RouteSource = 'local' | 'external' | 'internal';

/** RFC 6811 §2. Without ROAs every route is NotFound. */
export const RoaState = { NotFound: 0, Valid: 1, Invalid: 2 } as const;

/** All conditions that are given must hold; a list holds when one of its entries does. */
export interface Match {
  readonly prefixes?: readonly PrefixMatch[];
  readonly family?: Family;
  readonly communities?: readonly CommunityMatch[];
  readonly extendedCommunities?: readonly ExtendedCommunityMatch[];
  readonly largeCommunities?: readonly LargeCommunityMatch[];
  /** The path contains one of these. */
  readonly asPathContains?: readonly NumberMatch[];
  readonly firstAs?: readonly NumberMatch[];
  readonly originAs?: readonly NumberMatch[];
  /** RFC 4271 §9.1.2.2 (a): length as the decision process counts it. */
  readonly minPathLength?: number;
  readonly maxPathLength?: number;
  /** Patterns for the whole path (path-pattern.ts). */
  readonly asPath?: readonly string[];
  /** ORIGIN values (RFC 4271 §5.1.1). */
  readonly origin?: readonly number[];
  /** The next hop, either of its addresses, lies in one of these. */
  readonly nextHops?: readonly Prefix[];
  /** Names of the peers, or of the ranges of peers, the route was learned from. */
  readonly peers?: readonly string[];
  readonly source?: readonly RouteSource[];
  /** Origin validation states (RoaState). */
  readonly roa?: readonly number[];
  /** A route without MED counts as 0 (RFC 4271 §9.1.2.2 (c)), one without LOCAL_PREF as 100. */
  readonly med?: NumberRange;
  readonly localPref?: NumberRange;
  readonly not?: Match;
  readonly all?: readonly Match[];
  readonly any?: readonly Match[];
}

/** Changes to a route, in the order they are made. */
export interface Changes {
  readonly localPref?: number;
  /** Added to LOCAL_PREF after `localPref`; the sum stays in 0 to 2^32 - 1. */
  readonly addLocalPref?: number;
  /** `none` takes it off (RFC 4271 §5.1.4). */
  readonly med?: number | 'none';
  readonly addMed?: number;
  /** Put an AS in front this many more times; without `asn` it is our own. */
  readonly prepend?: { readonly asn?: number; readonly times: number };
  /** These instead of all that the route has, of each kind that is given. */
  readonly setCommunities?: readonly number[];
  readonly setExtendedCommunities?: readonly (readonly [number, number])[];
  readonly setLargeCommunities?: readonly (readonly [number, number, number])[];
  readonly removeCommunities?: readonly CommunityMatch[];
  readonly removeExtendedCommunities?: readonly ExtendedCommunityMatch[];
  readonly removeLargeCommunities?: readonly LargeCommunityMatch[];
  readonly addCommunities?: readonly number[];
  readonly addExtendedCommunities?: readonly (readonly [number, number])[];
  readonly addLargeCommunities?: readonly (readonly [number, number, number])[];
  /** ORIGIN value. */
  readonly origin?: number;
  readonly nextHop?: HopChange;
  /** A pure function that has the last word on the attributes; the same object when it changes nothing. */
  readonly edit?: (a: Attributes) => Attributes;
  /** Import only: a preference of this speaker that no peer is told; higher is better, 0 without. */
  readonly weight?: number;
}

/** Announce ourselves, pass on what was received, discard the traffic (import only), or use this address. */
export type HopChange = 'self' | 'unchanged' | 'discard' | Addr;

export interface Rule {
  /** What people call it, where it is told which rule decided. */
  readonly name?: string;
  /** Without one, the rule is for every route. */
  readonly match?: Match;
  /** `continue` makes the changes and goes on to the next rule, which sees them. */
  readonly action: 'accept' | 'reject' | 'continue';
  readonly set?: Changes;
}

/**
 * A whole policy: the first rule that accepts or rejects decides, and a route that none decides about is rejected.
 * The two words are for peers that need no rules; a function is asked about every route (module.ts).
 */
export type Policy = 'accept-all' | 'reject-all' | readonly Rule[] | RouteFunction;

/** Whether a match may depend on the validation state of the origin. */
export function asksRoa(m: Match | undefined): boolean {
  if (m === undefined) return false;
  return m.roa !== undefined || asksRoa(m.not) || (m.all ?? []).some(asksRoa) || (m.any ?? []).some(asksRoa);
}
