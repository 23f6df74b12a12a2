/**
 * The short way for UPDATEs that are plainly in order, which nearly all are: their octets are checked without an object
 * per attribute and stored as they are (bgp/rib/attrs.ts). Whatever is unusual in the least (a mistake, another order, an
 * attribute of which more is to be said) is left to update.ts, which knows all the rules.
 * Read first: RFC 4271 §4.3, RFC 7606. Invariant: where this answers, `decodeCarefully` gives the same.
 */

import { Addr } from '../../router/lib/addr.ts';
import { get16, get32 } from '../../router/lib/bytes.ts';
import { MAX_PATH_ASNS, SegmentType } from './attribute/as-path.ts';
import { isPlainlyDistinct } from './attribute/large-communities.ts';
import {
  AttributeCode,
  AttributeDraft,
  type Attributes,
  Flag,
  type NextHop,
  OPTIONAL,
  OPTIONAL_TRANSITIVE,
  Origin,
  WELL_KNOWN,
  type WireContext,
} from './attribute/model.ts';
import { hasPathIds, isNegotiated, MP_REACH } from './attribute/mp-reach.ts';
import { isHostAddress } from './attribute/next-hop.ts';
import { takeAttributes } from './attribute/table.ts';
import type { FamilyName } from './family.ts';
import type { BgpFault } from './fault.ts';
import { isNlri, type Nlri } from './nlri.ts';
import type { Reach, Update } from './update.ts';

/** An attribute list in a message: well-formed, in ascending order, and nothing in it has to be changed to be stored. */
export interface WireAttributes {
  readonly octets: Uint8Array;
  readonly from: number;
  readonly end: number;
}

const NONE: readonly never[] = Object.freeze([]);

class QuickUpdate implements Update, WireAttributes {
  readonly withdrawn: readonly Nlri[] = NONE;
  readonly reach: readonly Reach[];
  readonly endOfRib: FamilyName | undefined = undefined;
  readonly vpn = undefined;
  readonly faults: readonly BgpFault[] = NONE;
  readonly octets: Uint8Array;
  readonly from: number;
  readonly end: number;
  #attributes: Attributes | undefined;

  constructor(octets: Uint8Array, from: number, end: number, reach: Reach) {
    this.octets = octets;
    this.from = from;
    this.end = end;
    this.reach = [reach];
  }

  get wire(): WireAttributes {
    return this;
  }

  get attributes(): Attributes {
    if (this.#attributes === undefined) {
      const copy = new Uint8Array(this.end - this.from);
      this.#attributes = takeAttributes(copy, 0, copyCanonical(this.octets, this.from, this.end, copy));
    }
    return this.#attributes;
  }
}

/** What one pass over an attribute list finds. Used again for each message. */
class Scan {
  seen = 0;
  /** NEXT_HOP as a word; valid when its bit is set in `seen`. */
  nextHop = 0;
  reachFrom = 0;
  reachEnd = 0;
}

const scan = new Scan();
/** Bits of `Scan.seen`. */
const SEEN = { origin: 1, asPath: 2, nextHop: 4, localPref: 8, reach: 16 } as const;

/** The message when it only announces routes and everything about it is in order; undefined = look carefully. */
export function quickUpdate(body: Uint8Array, context: WireContext): Update | undefined {
  if (!context.fourOctetAs || context.confederation === 'border' || get16(body, 0) !== 0) return undefined;
  const from = 4;
  const end = from + get16(body, 2);
  if (end > body.length || !scanAttributes(body, from, end, context)) return undefined;
  const { seen } = scan;
  const needed = SEEN.origin | SEEN.asPath | (context.external ? 0 : SEEN.localPref);
  if ((seen & needed) !== needed) return undefined;
  if (end === body.length) {
    const reach = (seen & SEEN.reach) === 0 ? undefined : readReach(body, context);
    return reach && new QuickUpdate(body, from, end, reach);
  }
  if ((seen & (SEEN.reach | SEEN.nextHop)) !== SEEN.nextHop || !isNegotiated(4, context)) return undefined;
  const nextHop = classicHop(scan.nextHop);
  const nlri: Nlri = { family: 4, hasPathIds: hasPathIds(4, context), bytes: body.subarray(end) };
  if (nextHop === undefined || !isNlri(nlri.bytes, 4, nlri.hasPathIds)) return undefined;
  return new QuickUpdate(body, from, end, { nlri, nextHop });
}

function readReach(body: Uint8Array, context: WireContext): Reach | undefined {
  const draft = new AttributeDraft();
  if (MP_REACH.decode(body.subarray(scan.reachFrom, scan.reachEnd), draft, context) !== undefined) return undefined;
  const { reach } = draft;
  if (reach === undefined || reach.nlri.bytes.length === 0) return undefined;
  const { global, linkLocal } = reach.nextHop;
  return (global === undefined ? linkLocal !== undefined : isHostAddress(global)) ? reach : undefined;
}

let lastWord = 0;
let lastHop: NextHop | undefined;

/** Undefined when it is not a host's address. Messages of one peer mostly name the same one, which is then the same object. */
function classicHop(word: number): NextHop | undefined {
  if (word !== lastWord || lastHop === undefined) {
    const global = Addr.v4(word);
    lastHop = isHostAddress(global) ? { global, linkLocal: undefined } : undefined;
    lastWord = word;
  }
  return lastHop;
}

/** Fill `scan`; false when an attribute is not plainly in order. */
function scanAttributes(b: Uint8Array, from: number, end: number, context: WireContext): boolean {
  scan.seen = 0;
  let last = 0;
  for (let at = from; at < end; ) {
    if (at + 3 > end) return false;
    const isLong = (b[at]! & Flag.ExtendedLength) !== 0;
    const flags = b[at]! & ~Flag.ExtendedLength;
    const code = b[at + 1]!;
    const valueAt = at + (isLong ? 4 : 3);
    if (valueAt > end) return false;
    const length = isLong ? get16(b, at + 2) : b[at + 2]!;
    at = valueAt + length;
    if (at > end) return false;
    if (code === AttributeCode.MpReach) {
      if (flags !== OPTIONAL || (scan.seen & SEEN.reach) !== 0) return false;
      scan.seen |= SEEN.reach;
      scan.reachFrom = valueAt;
      scan.reachEnd = at;
      continue;
    }
    if (code <= last || !isInOrder(b, flags, code, valueAt, length, context)) return false;
    last = code;
  }
  return true;
}

function isInOrder(
  b: Uint8Array,
  flags: number,
  code: number,
  at: number,
  length: number,
  context: WireContext,
): boolean {
  switch (code) {
    case AttributeCode.Origin:
      scan.seen |= SEEN.origin;
      return flags === WELL_KNOWN && length === 1 && b[at]! <= Origin.Incomplete;
    case AttributeCode.AsPath:
      scan.seen |= SEEN.asPath;
      return flags === WELL_KNOWN && isPlainPath(b, at, at + length, context.firstAs);
    case AttributeCode.NextHop:
      scan.seen |= SEEN.nextHop;
      if (length !== 4) return false;
      scan.nextHop = get32(b, at);
      return flags === WELL_KNOWN;
    case AttributeCode.Med:
      return flags === OPTIONAL && length === 4;
    case AttributeCode.LocalPref:
      scan.seen |= SEEN.localPref;
      return flags === WELL_KNOWN && length === 4 && !context.external;
    case AttributeCode.AtomicAggregate:
      return flags === WELL_KNOWN && length === 0;
    case AttributeCode.Aggregator:
      return flags === OPTIONAL_TRANSITIVE && length === 8 && get32(b, at) !== 0;
    case AttributeCode.Communities:
      return flags === OPTIONAL_TRANSITIVE && length > 0 && (length & 3) === 0;
    case AttributeCode.ExtendedCommunities:
      return flags === OPTIONAL_TRANSITIVE && length > 0 && (length & 7) === 0;
    case AttributeCode.LargeCommunities:
      return flags === OPTIONAL_TRANSITIVE && length > 0 && length % 12 === 0 && isPlainlyDistinct(b, at, length);
    default:
      return false;
  }
}

/** Sequences of not too many four-octet numbers other than 0, beginning with `firstAs` where one is asked for. */
function isPlainPath(b: Uint8Array, from: number, end: number, firstAs: number | undefined): boolean {
  if (end - from > 4 * MAX_PATH_ASNS) return false;
  if (firstAs !== undefined && (end - from < 6 || get32(b, from + 2) >>> 0 !== firstAs)) return false;
  for (let at = from; at < end; ) {
    if (end - at < 2 || b[at] !== SegmentType.Sequence || b[at + 1] === 0) return false;
    const stop = at + 2 + 4 * b[at + 1]!;
    if (stop > end) return false;
    for (at += 2; at < stop; at += 4) if (get32(b, at) === 0) return false;
  }
  return true;
}

/**
 * Copy an attribute list as `putAttributes` would have written it: without the next hop and the MP attributes, and with
 * extended lengths only where needed.
 * @returns the octets written to `out`, which has room for as many as are read
 */
export function copyCanonical(b: Uint8Array, from: number, end: number, out: Uint8Array): number {
  let n = 0;
  for (let at = from; at < end; ) {
    const isLong = (b[at]! & Flag.ExtendedLength) !== 0;
    const code = b[at + 1]!;
    const length = isLong ? get16(b, at + 2) : b[at + 2]!;
    const valueAt = at + (isLong ? 4 : 3);
    at = valueAt + length;
    if (code === AttributeCode.NextHop || code === AttributeCode.MpReach) continue;
    const needsLong = length > 255;
    out[n] = needsLong ? b[valueAt - 4]! : b[isLong ? valueAt - 4 : valueAt - 3]! & ~Flag.ExtendedLength;
    out[n + 1] = code;
    if (needsLong) {
      out[n + 2] = length >>> 8;
      out[n + 3] = length;
      n += 4;
    } else {
      out[n + 2] = length;
      n += 3;
    }
    for (let i = 0; i < length; i++) out[n + i] = b[valueAt + i]!;
    n += length;
  }
  return n;
}
