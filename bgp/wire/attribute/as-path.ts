/**
 * AS_PATH and AS4_PATH: the autonomous systems a route has passed.
 * Read first: RFC 4271 §5.1.2 and §9.1.2.2 (a), RFC 6793 §4.2.3, RFC 7606 §7.2, RFC 7607 §2, RFC 9774 §3, RFC 5065 §3.
 */

import { get16, get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import {
  AttributeCode,
  type AttributeCodec,
  type Flaw,
  flaw,
  OPTIONAL_TRANSITIVE,
  putAttributeHeader,
  WELL_KNOWN,
} from './model.ts';

/** Path segment types (RFC 4271 §4.3, RFC 5065 §3). */
export const SegmentType = { Set: 1, Sequence: 2, ConfedSequence: 3, ConfedSet: 4 } as const;

export interface AsSegment {
  readonly type: number;
  readonly asns: readonly number[];
}

export type AsPath = readonly AsSegment[];

export const EMPTY_PATH: AsPath = Object.freeze([]);
export const AS_TRANS = 23456; // RFC 6793 §9
const MAX_SEGMENT = 255;
/**
 * More AS numbers than this in one path are a mistake or an attack: with four octets each they would not fit into the
 * 65,535 octets of an attribute (RFC 4271 §4.3) after a few hops more. Such a route is treated as withdrawn (RFC 7606 §2).
 */
export const MAX_PATH_ASNS = 4096;

export const AS_PATH: AttributeCodec = {
  code: AttributeCode.AsPath,
  name: 'AS_PATH',
  flags: WELL_KNOWN,
  decode(v, draft, context) {
    const path = readPath(v, context.fourOctetAs ? 4 : 2);
    if (!isPath(path)) return path;
    const excess = tooLong(path);
    if (excess !== undefined) return excess;
    if (path.some(isSet)) return flaw(UpdateError.AsPath, 'treat-as-withdraw', 'AS_PATH contains an AS_SET');
    for (const s of path) {
      // RFC 5065 §4: confederation segments do not cross the border of a confederation.
      if (s.type === SegmentType.ConfedSequence && context.confederation === undefined) {
        return flaw(UpdateError.AsPath, 'treat-as-withdraw', 'AS_PATH contains a confederation segment');
      }
    }
    // RFC 5065 §4: from another member AS the path begins with a segment that begins with that AS.
    if (context.confederation === 'border') {
      const head = path[0];
      if (head?.type !== SegmentType.ConfedSequence || head.asns[0] !== context.firstAs) {
        const words = `AS_PATH does not begin with the confederation segment of AS ${context.firstAs}`;
        return flaw(UpdateError.AsPath, 'treat-as-withdraw', words);
      }
      draft.asPath = path;
      return undefined;
    }
    // RFC 4271 §6.3: the leftmost AS of an external peer's path is the peer's.
    if (context.firstAs !== undefined && firstAs(path) !== context.firstAs) {
      return flaw(UpdateError.AsPath, 'treat-as-withdraw', `AS_PATH does not begin with AS ${context.firstAs}`);
    }
    draft.asPath = path;
    return undefined;
  },
};

export const AS4_PATH: AttributeCodec = {
  code: AttributeCode.As4Path,
  name: 'AS4_PATH',
  flags: OPTIONAL_TRANSITIVE,
  flagsHandling: 'discard', // RFC 6793 §6, as for every other mistake in it
  decode(v, draft, context) {
    // RFC 6793 §4.1: "a NEW BGP speaker ... MUST discard" it when the peer is a NEW speaker too.
    if (context.fourOctetAs) return flaw(UpdateError.OptionalAttribute, 'discard', 'AS4_PATH on a 4-octet AS session');
    const path = readPath(v, 4);
    // RFC 6793 §6: a malformed AS4_PATH is discarded and the message processed.
    if (!isPath(path)) return flaw(UpdateError.OptionalAttribute, 'discard', path.words);
    if (path.some(isSet)) return flaw(UpdateError.AsPath, 'treat-as-withdraw', 'AS4_PATH contains an AS_SET');
    // RFC 6793 §3: confederation segments do not belong here; they are dropped from the path.
    draft.as4Path = withoutConfederation(path);
    return undefined;
  },
};

/** The flaw of a path with more numbers than `MAX_PATH_ASNS`. */
export function tooLong(path: AsPath): Flaw | undefined {
  let asns = 0;
  for (const s of path) asns += s.asns.length;
  if (asns <= MAX_PATH_ASNS) return undefined;
  return flaw(UpdateError.AsPath, 'treat-as-withdraw', `AS_PATH with ${asns} AS numbers`);
}

/** RFC 9774 §3: routes with AS_SET or AS_CONFED_SET are treated as withdrawn. */
function isSet(s: AsSegment): boolean {
  return s.type === SegmentType.Set || s.type === SegmentType.ConfedSet;
}

function isPath(x: AsPath | Flaw): x is AsPath {
  return Array.isArray(x);
}

/** RFC 7606 §7.2: malformed = unknown segment type, overrun, a single octet left over, or a segment of length zero. */
function readPath(v: Uint8Array, width: 2 | 4): AsPath | Flaw {
  const bad = (words: string): Flaw => flaw(UpdateError.AsPath, 'treat-as-withdraw', words);
  if (v.length === 0) return EMPTY_PATH;
  const path: AsSegment[] = [];
  for (let at = 0; at < v.length; ) {
    if (at + 2 > v.length) return bad('AS_PATH segment is cut short');
    const type = v[at]!;
    const count = v[at + 1]!;
    if (type < SegmentType.Set || type > SegmentType.ConfedSet) return bad(`AS_PATH segment of type ${type}`);
    if (count === 0) return bad('AS_PATH segment of length zero');
    at += 2;
    if (at + count * width > v.length) return bad('AS_PATH segment runs past the end');
    const asns: number[] = [];
    for (let i = 0; i < count; i++, at += width) {
      const asn = width === 4 ? get32(v, at) >>> 0 : get16(v, at);
      if (asn === 0) return bad('AS_PATH contains AS 0'); // RFC 7607 §2
      asns.push(asn);
    }
    path.push({ type, asns });
  }
  return path;
}

/** The path in octets that `putAsPath` wrote with four-octet numbers. */
export function takePath(b: Uint8Array, from: number, end: number): AsPath {
  if (from === end) return EMPTY_PATH;
  const path: AsSegment[] = [];
  for (let at = from; at < end; ) {
    const type = b[at]!;
    const asns: number[] = [];
    const stop = at + 2 + 4 * b[at + 1]!;
    for (at += 2; at < stop; at += 4) asns.push(get32(b, at) >>> 0);
    path.push({ type, asns });
  }
  return path;
}

/**
 * The AS a path came from: the first one of a leading sequence. RFC 5065 §5.3: routes of one neighbouring AS are those that
 * entered the confederation from it, so confederation segments are passed over.
 */
export function firstAs(path: AsPath): number | undefined {
  const s = path.find((segment) => !isConfederation(segment));
  return s !== undefined && s.type === SegmentType.Sequence ? s.asns[0] : undefined;
}

/** The AS that originated the route: the last of a trailing sequence. */
export function originAs(path: AsPath): number | undefined {
  const s = path[path.length - 1];
  return s !== undefined && s.type === SegmentType.Sequence ? s.asns[s.asns.length - 1] : undefined;
}

/** RFC 4271 §9.1.2.2 (a): an AS_SET counts as one; RFC 5065 §5.3: confederation segments count as none. */
export function pathLength(path: AsPath): number {
  let n = 0;
  for (const s of path) n += s.type === SegmentType.Sequence ? s.asns.length : s.type === SegmentType.Set ? 1 : 0;
  return n;
}

/** How often `asn` stands in the path (loop check, RFC 4271 §9.1.2). */
export function occurrences(path: AsPath, asn: number): number {
  let n = 0;
  for (const s of path) for (const a of s.asns) if (a === asn) n++;
  return n;
}

/** RFC 4271 §5.1.2 (b): put `asn` in front `times` times; a full segment starts a new one. */
export function prepend(path: AsPath, asn: number, times = 1): AsPath {
  let out = path;
  for (let i = 0; i < times; i++) {
    const head = out[0];
    out =
      head !== undefined && head.type === SegmentType.Sequence && head.asns.length < MAX_SEGMENT
        ? [{ type: SegmentType.Sequence, asns: [asn, ...head.asns] }, ...out.slice(1)]
        : [{ type: SegmentType.Sequence, asns: [asn] }, ...out];
  }
  return out;
}

/** RFC 5065 §5 (b): put a member AS in front, in an AS_CONFED_SEQUENCE. */
export function prependConfederation(path: AsPath, asn: number): AsPath {
  const head = path[0];
  return head !== undefined && head.type === SegmentType.ConfedSequence && head.asns.length < MAX_SEGMENT
    ? [{ type: SegmentType.ConfedSequence, asns: [asn, ...head.asns] }, ...path.slice(1)]
    : [{ type: SegmentType.ConfedSequence, asns: [asn] }, ...path];
}

/** RFC 5065 §5 (c): the path as those outside the confederation see it; the same object when it has no such segments. */
export function withoutConfederation(path: AsPath): AsPath {
  return path.some(isConfederation) ? path.filter((s) => !isConfederation(s)) : path;
}

function isConfederation(s: AsSegment): boolean {
  return s.type === SegmentType.ConfedSequence || s.type === SegmentType.ConfedSet;
}

/** Every AS of the path changed, or left out where `change` gives undefined; segments that become empty go. */
export function mapAsns(path: AsPath, change: (asn: number) => number | undefined): AsPath {
  const out: AsSegment[] = [];
  for (const { type, asns } of path) {
    const kept = asns.map(change).filter((asn) => asn !== undefined);
    if (kept.length > 0) out.push({ type, asns: kept });
  }
  return out;
}

/** RFC 6996 §5: numbers for private use. */
export function isPrivateAs(asn: number): boolean {
  return (asn >= 64512 && asn <= 65534) || (asn >= 4200000000 && asn <= 4294967294);
}

/**
 * RFC 6793 §4.2.3: the exact path from AS_PATH (with AS_TRANS in it) and AS4_PATH. When AS_PATH is the shorter one,
 * AS4_PATH is ignored; otherwise the surplus of AS_PATH is put in front of AS4_PATH, with confederation segments that lead or
 * follow it: AS4_PATH has none.
 */
export function mergeAs4Path(path: AsPath, as4: AsPath): AsPath {
  let surplus = pathLength(path) - pathLength(as4);
  if (surplus < 0) return path;
  const lead: AsSegment[] = [];
  for (const s of path) {
    const length = pathLength([s]);
    if (length > surplus) {
      if (surplus > 0) lead.push({ type: s.type, asns: s.asns.slice(0, surplus) });
      break;
    }
    lead.push(s);
    surplus -= length;
  }
  const last = lead[lead.length - 1];
  const next = as4[0];
  if (
    last?.type === SegmentType.Sequence &&
    next?.type === SegmentType.Sequence &&
    last.asns.length + next.asns.length <= MAX_SEGMENT
  ) {
    const joined = { type: SegmentType.Sequence, asns: [...last.asns, ...next.asns] };
    return [...lead.slice(0, -1), joined, ...as4.slice(1)];
  }
  return [...lead, ...as4];
}

/** Append AS_PATH; for a two-octet peer larger numbers become AS_TRANS (RFC 6793 §4.2.2). */
export function putAsPath(w: OctetWriter, path: AsPath, fourOctetAs: boolean): void {
  putPath(w, WELL_KNOWN, AttributeCode.AsPath, path, fourOctetAs ? 4 : 2);
}

/**
 * Append AS4_PATH for a two-octet peer when the path has a number it cannot hold (RFC 6793 §4.2.2); confederation segments
 * stay out of it (§3).
 */
export function putAs4Path(w: OctetWriter, path: AsPath): void {
  const told = withoutConfederation(path);
  if (!told.some((s) => s.asns.some((a) => a > 0xffff))) return;
  putPath(w, OPTIONAL_TRANSITIVE, AttributeCode.As4Path, told, 4);
}

function putPath(w: OctetWriter, flags: number, code: number, path: AsPath, width: 2 | 4): void {
  let octets = 0;
  for (const s of path) octets += 2 + s.asns.length * width;
  putAttributeHeader(w, flags, code, octets);
  for (const s of path) {
    w.u8(s.type);
    w.u8(s.asns.length);
    for (const asn of s.asns) {
      if (width === 4) w.u32(asn);
      else w.u16(asn > 0xffff ? AS_TRANS : asn);
    }
  }
}

/** "64512 64513 {64514 64515}" as birdc and vtysh print it. */
export function asPathText(path: AsPath): string {
  return path
    .map((s) => {
      const list = s.asns.join(' ');
      if (s.type === SegmentType.Sequence) return list;
      if (s.type === SegmentType.Set) return `{${list}}`;
      return s.type === SegmentType.ConfedSequence ? `(${list})` : `[${list}]`;
    })
    .join(' ');
}
