/**
 * Network layer reachability information: runs of prefixes of one family, kept as octets and read with a cursor, so that
 * an UPDATE of a thousand prefixes costs one object.
 * Read first: RFC 4271 §4.3, RFC 4760 §5, RFC 7911 §3, RFC 7606 §5.3. Does not interpret prefixes.
 */

import { Addr, type Family, Prefix } from '../../router/lib/addr.ts';
import { get32 } from '../../router/lib/bytes.ts';
import type { OctetWriter } from './octets.ts';

/** Address family identifiers (IANA) of the families spoken; the subsequent identifier is always unicast. */
export const AFI_IPV4 = 1;
export const AFI_IPV6 = 2;
export const SAFI_UNICAST = 1;

export function afiOf(family: Family): number {
  return family === 4 ? AFI_IPV4 : AFI_IPV6;
}

/** The family of an AFI/SAFI pair, undefined when it is not one we speak. */
export function familyOf(afi: number, safi: number): Family | undefined {
  if (safi !== SAFI_UNICAST) return undefined;
  return afi === AFI_IPV4 ? 4 : afi === AFI_IPV6 ? 6 : undefined;
}

/** A run of prefixes as it stood in a message. Invariant: `isNlri` holds for it. */
export interface Nlri {
  readonly family: Family;
  /** RFC 7911 §3: each prefix is preceded by a path identifier. */
  readonly hasPathIds: boolean;
  readonly bytes: Uint8Array;
}

/** RFC 7606 §5.3: the run is syntactically correct (no length beyond the family's, no prefix beyond the end). */
export function isNlri(bytes: Uint8Array, family: Family, hasPathIds: boolean): boolean {
  const max = family === 4 ? 32 : 128;
  let at = 0;
  while (at < bytes.length) {
    if (hasPathIds) at += 4;
    if (at >= bytes.length) return false;
    const length = bytes[at]!;
    if (length > max) return false;
    at += 1 + ((length + 7) >>> 3);
  }
  return at === bytes.length;
}

/**
 * Walks a run of prefixes without allocating. The words are the address left-aligned: an IPv4 prefix has its 32 bits in
 * `w0` and zero in the others. Host bits are cleared (RFC 4271 §4.3: "the value of trailing bits is irrelevant").
 */
export class NlriCursor {
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  length = 0;
  pathId = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #hasPathIds = false;

  over(nlri: Nlri): this {
    this.#bytes = nlri.bytes;
    this.#hasPathIds = nlri.hasPathIds;
    this.pathId = 0;
    this.#at = 0;
    return this;
  }

  /** Move to the next prefix; false at the end. */
  next(): boolean {
    const b = this.#bytes;
    let at = this.#at;
    if (at >= b.length) return false;
    if (this.#hasPathIds) {
      this.pathId = get32(b, at) >>> 0;
      at += 4;
    }
    const length = b[at++]!;
    this.length = length;
    const end = at + ((length + 7) >>> 3);
    this.w0 = word(b, at, end, length);
    if (length > 32) {
      this.w1 = word(b, at + 4, end, length - 32);
      this.w2 = length > 64 ? word(b, at + 8, end, length - 64) : 0;
      this.w3 = length > 96 ? word(b, at + 12, end, length - 96) : 0;
    } else {
      this.w1 = 0;
      this.w2 = 0;
      this.w3 = 0;
    }
    this.#at = end;
    return true;
  }
}

/** Up to four octets at `at` before `end`, left-aligned, with everything below `bits` bits cleared. */
function word(b: Uint8Array, at: number, end: number, bits: number): number {
  const n = end - at;
  const w =
    (n > 0 ? b[at]! << 24 : 0) |
    (n > 1 ? b[at + 1]! << 16 : 0) |
    (n > 2 ? b[at + 2]! << 8 : 0) |
    (n > 3 ? b[at + 3]! : 0);
  return bits >= 32 ? w : bits <= 0 ? 0 : w & (-1 << (32 - bits));
}

/** Octets one prefix takes in a message. */
export function prefixOctets(length: number): number {
  return 1 + ((length + 7) >>> 3);
}

/** Append a prefix given by left-aligned words. */
export function putPrefix(w: OctetWriter, w0: number, w1: number, w2: number, w3: number, length: number): void {
  w.u8(length);
  const octets = (length + 7) >>> 3;
  for (let i = 0; i < octets; i++) {
    const from = i < 4 ? w0 : i < 8 ? w1 : i < 12 ? w2 : w3;
    w.u8(from >>> (24 - (i & 3) * 8));
  }
}

/** A prefix value from left-aligned words. */
export function prefixFromWords(
  family: Family,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  length: number,
): Prefix {
  return Prefix.containing(family === 4 ? Addr.v4(w0) : Addr.v6(w0, w1, w2, w3), length)!;
}

/** Append a prefix value. */
export function putPrefixValue(w: OctetWriter, prefix: Prefix): void {
  const a = prefix.addr;
  if (a.family === 4) putPrefix(w, a.a3, 0, 0, 0, prefix.length);
  else putPrefix(w, a.a0, a.a1, a.a2, a.a3, prefix.length);
}

/** The prefixes of a run as values, for display and tests. */
export function prefixesOf(nlri: Nlri): Prefix[] {
  const out: Prefix[] = [];
  const c = new NlriCursor().over(nlri);
  while (c.next()) out.push(prefixFromWords(nlri.family, c.w0, c.w1, c.w2, c.w3, c.length));
  return out;
}
