/**
 * Filters written as functions: `(route, peer) => route | undefined`. The function sees a route as plain values and
 * text, gives back the same object for "as it is", a changed copy, or undefined for "refused". It must not keep or
 * change what it was given. A function that throws, or that gives back something that is no route, refuses the route.
 */

import { Addr, type Family } from '../../router/lib/addr.ts';
import { type AsPath, type AsSegment, SegmentType } from '../wire/attribute/as-path.ts';
import { communityText, parseCommunity } from '../wire/attribute/communities.ts';
import { extendedCommunityText, parseExtendedCommunity } from '../wire/attribute/extended-communities.ts';
import { largeCommunityText, parseLargeCommunity } from '../wire/attribute/large-communities.ts';
import { type Attributes, type NextHop, NO_NUMBERS } from '../wire/attribute/model.ts';
import { prefixFromWords } from '../wire/nlri.ts';
import { copyOf } from './change.ts';
import { Outcome, type Plan, type Subject } from './plan.ts';
import type { RouteSource } from './rule.ts';

/** A route as a filter function sees it. To change it, give back a copy: `{ ...route, localPref: 200 }`. */
export interface FilterRoute {
  /** "172.20.0.0/24" or "fd42::/48". Cannot be changed. */
  readonly prefix: string;
  /** 4 or 6. Cannot be changed. */
  readonly family: Family;
  /** Length of the prefix. Cannot be changed. */
  readonly length: number;
  /** AS numbers, the neighbour's first; the members of an AS_SET one by one. */
  readonly asPath: readonly number[];
  readonly origin: 'igp' | 'egp' | 'incomplete';
  /** LOCAL_PREF, undefined when the route has none (then it counts as 100). */
  readonly localPref: number | undefined;
  readonly med: number | undefined;
  /** "64511:5", or the name of a well-known one such as "no-export". */
  readonly communities: readonly string[];
  /** "rt:64512:7", "ro:192.0.2.1:7", "bandwidth:64512:125000" or "generic:0xHIGH:0xLOW". */
  readonly extendedCommunities: readonly string[];
  /** "4242421080:1:2". */
  readonly largeCommunities: readonly string[];
  /** Next hop as received; give back an address or "self" to announce another one. */
  readonly nextHop: string | undefined;
  /** A preference of this speaker that no peer is told: higher is better. */
  readonly weight: number;
  /** Origin validation (RFC 6811): "unknown" when no ROA covers the prefix. Cannot be changed. */
  readonly roa: 'unknown' | 'valid' | 'invalid';
  /** Where the route comes from, and the name of the peer it was learned from. Cannot be changed. */
  readonly source: RouteSource;
  readonly from: string | undefined;
}

/** The peer whose routes a filter function judges, on import and on export. */
export interface FilterPeer {
  readonly name: string;
  readonly asn: number;
  readonly address: string;
  readonly isExternal: boolean;
  /** The function is asked about routes from this peer ("import") or to it ("export"). */
  readonly direction: 'import' | 'export';
}

/** See the head of this file. Must be pure: the same route gives the same answer. */
export type RouteFunction = (route: FilterRoute, peer: FilterPeer) => FilterRoute | undefined;

const ROA_STATES = ['unknown', 'valid', 'invalid'] as const;
const ORIGINS = ['igp', 'egp', 'incomplete'] as const;

/** What a filter function may fail with, in words that name the place in the user's file where there is one. */
export type OnFilterError = (words: string) => void;

/** Asks a function about every route with one set of attributes. */
export class FunctionPlan implements Plan {
  readonly #attributes: Attributes;
  readonly #ask: RouteFunction;
  readonly #peer: FilterPeer;
  readonly #failed: OnFilterError;
  #same: Outcome | undefined;
  /** Everything but what depends on the prefix, worked out once; the lists are frozen, because other routes share them. */
  readonly #common: Omit<FilterRoute, 'prefix' | 'family' | 'length' | 'roa' | 'source' | 'from'>;

  constructor(
    a: Attributes,
    nextHop: NextHop | undefined,
    ask: RouteFunction,
    peer: FilterPeer,
    failed: OnFilterError,
  ) {
    this.#attributes = a;
    this.#ask = ask;
    this.#peer = peer;
    this.#failed = failed;
    this.#common = {
      asPath: Object.freeze(a.asPath.flatMap((s) => s.asns)),
      origin: ORIGINS[a.origin]!,
      localPref: a.localPref,
      med: a.med,
      communities: Object.freeze(a.communities.map(communityText)),
      extendedCommunities: Object.freeze(
        tuples(a.extendedCommunities, 2).map(([h, l]) => extendedCommunityText(h!, l!)),
      ),
      largeCommunities: Object.freeze(tuples(a.largeCommunities, 3).map(([x, y, z]) => largeCommunityText(x!, y!, z!))),
      nextHop: (nextHop?.global ?? nextHop?.linkLocal)?.toString(),
      weight: 0,
    };
  }

  decide(s: Subject): Outcome | undefined {
    const { family, w0, w1, w2, w3, length } = s;
    const route: FilterRoute = Object.freeze({
      prefix: prefixFromWords(family, w0, w1, w2, w3, length).toString(),
      family,
      length,
      ...this.#common,
      roa: ROA_STATES[s.roa]!,
      source: s.source,
      from: s.from,
    });
    try {
      const answer: unknown = this.#ask(route, this.#peer);
      if (answer === undefined || answer === null) return undefined;
      if (answer === route) return (this.#same ??= new Outcome(this.#attributes, undefined, 0));
      if (answer instanceof Promise) {
        answer.catch(() => undefined); // the route is refused already: how it would have failed does not matter
        throw new TypeError('the filter gave back a promise: it has to answer at once');
      }
      if (typeof answer !== 'object') throw new TypeError(`the filter gave back ${typeof answer}, not a route`);
      return this.#changed(answer as FilterRoute, route);
    } catch (e) {
      this.#failed(e instanceof Error ? placeOf(e) : String(e));
      return undefined;
    }
  }

  /** @throws TypeError when a field of the answer has no such value */
  #changed(answer: FilterRoute, route: FilterRoute): Outcome {
    const a = this.#attributes;
    const c = this.#common;
    for (const key of ['prefix', 'family', 'length'] as const) {
      if (answer[key] !== route[key]) throw new TypeError(`the filter changed "${key}", which cannot be changed`);
    }
    const origin = ORIGINS.indexOf(answer.origin);
    if (origin < 0) throw invalid('origin', answer.origin);
    const attributes: Attributes = {
      ...copyOf(a),
      origin,
      asPath: answer.asPath === c.asPath ? a.asPath : pathOf(answer.asPath, a.asPath),
      localPref: word('localPref', answer.localPref),
      med: word('med', answer.med),
      communities:
        answer.communities === c.communities ? a.communities : flat('communities', answer.communities, parseCommunity),
      extendedCommunities:
        answer.extendedCommunities === c.extendedCommunities
          ? a.extendedCommunities
          : flat('extendedCommunities', answer.extendedCommunities, (text) => this.#extended(text)),
      largeCommunities:
        answer.largeCommunities === c.largeCommunities
          ? a.largeCommunities
          : flat('largeCommunities', answer.largeCommunities, parseLargeCommunity),
    };
    return new Outcome(attributes, this.#hop(answer.nextHop), word('weight', answer.weight) ?? 0);
  }

  /** One that the route had keeps its octets, of which a text does not say all (whether a link bandwidth is transitive). */
  #extended(text: string): readonly number[] | undefined {
    const at = this.#common.extendedCommunities.indexOf(text);
    return at < 0 ? parseExtendedCommunity(text) : this.#attributes.extendedCommunities.slice(2 * at, 2 * at + 2);
  }

  #hop(text: string | undefined): 'self' | Addr | undefined {
    if (text === this.#common.nextHop || text === undefined) return undefined;
    if (text === 'self') return 'self';
    const addr = typeof text === 'string' ? Addr.parse(text) : undefined;
    if (addr === undefined) throw invalid('nextHop', text);
    return addr;
  }
}

function invalid(field: string, value: unknown): TypeError {
  return new TypeError(`the filter gave back ${field}: ${JSON.stringify(value)}`);
}

function word(field: string, value: unknown): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 0xffffffff) {
    throw invalid(field, value);
  }
  return value;
}

/**
 * A path of these numbers. Those that the path had before stay in segments of the type they stood in: RFC 5065 §3 tells the ASes of
 * a confederation from others by that.
 */
function pathOf(asns: readonly number[], before: AsPath): AsPath {
  if (!Array.isArray(asns)) throw invalid('asPath', asns);
  const known = before.flatMap(({ type, asns: list }) => list.map((asn) => ({ asn, type })));
  const out: { type: number; asns: number[] }[] = [];
  for (let i = asns.length - 1; i >= 0; i--) {
    const asn: unknown = asns[i];
    if (word('asPath', asn) === undefined || asn === 0) throw invalid('asPath', asns);
    // What is put in front is new, so both are compared from their ends.
    const at = known.findLastIndex((k) => k.asn === asn);
    const type = known[at]?.type ?? SegmentType.Sequence;
    if (at >= 0) known.length = at;
    const last = out[out.length - 1];
    if (last?.type === type) last.asns.push(asn as number);
    else out.push({ type, asns: [asn as number] });
  }
  return out.reverse().flatMap(({ type, asns: reversed }) => fullSegments(type, reversed.reverse()));
}

/** RFC 4271 §4.3: a segment has 255 ASes at most. */
function fullSegments(type: number, asns: readonly number[]): AsPath {
  const out: AsSegment[] = [];
  for (let at = 0; at < asns.length; at += 255) out.push({ type, asns: asns.slice(at, at + 255) });
  return out;
}

function flat<T extends number | readonly number[]>(
  field: string,
  texts: readonly string[],
  parse: (text: string) => T | undefined,
): readonly number[] {
  if (!Array.isArray(texts)) throw invalid(field, texts);
  const values = texts.map((text) => {
    const value = typeof text === 'string' ? parse(text) : undefined;
    if (value === undefined) throw invalid(field, text);
    return value;
  });
  return values.length === 0 ? NO_NUMBERS : (values.flat() as number[]);
}

function tuples(words: readonly number[], size: number): number[][] {
  const out: number[][] = [];
  for (let i = 0; i < words.length; i += size) out.push(words.slice(i, i + size));
  return out;
}

/** "filters.js:12:9: TypeError: ..." when the stack shows where the user's code was. */
export function placeOf(e: Error): string {
  const words = `${e.name}: ${e.message}`;
  const own = import.meta.url;
  for (const line of (e.stack ?? '').split('\n')) {
    const m = /(?:\(|at )((?:file:\/\/|\/)[^()]*):(\d+):(\d+)\)?$/.exec(line);
    if (m === null) continue;
    if (m[1] === own) break; // what follows are our callers
    const file = decodeURIComponent(m[1]!.replace(/^file:\/\//, '').replace(/\?.*$/, ''));
    return `${file}:${m[2]}:${m[3]}: ${words}`;
  }
  return words;
}
