/**
 * Which lengths of prefixes may contain an address, for large tables: a withdrawal needs the longest prefix that covers
 * what it leaves open, and would have to search for one of each length otherwise. Knows bits, no routes.
 */
import { maskWord } from '../lib/addr.ts';
import { mix32 } from './hash.ts';

/** Where prefixes of the lengths from `shortest` to `longest` may be. */
export interface CoveringMap {
  readonly shortest: number;
  readonly longest: number;
  /** A prefix is there now, or not any more. Its length is one of the map's. */
  mark(w0: number, w1: number, length: number, isThere: boolean): void;
  /** The longest length of at most `length` with a prefix that may contain the address, or `shortest` - 1. */
  find(w0: number, w1: number, length: number): number;
}

/** Addresses of one cell: a /20. */
const CELL_BITS = 20;
const SHORTEST4 = 8;
/** Bits of a cell for prefixes that contain all of it. */
const WHOLE = CELL_BITS - SHORTEST4 + 1;

/**
 * IPv4: one word for each /20. It has a bit for each length from 8 to 20, of which one prefix at most contains it, and one
 * for each of the 2, 4 and 8 prefixes of 21, 22 and 23 bits inside: one read tells everything. Longer prefixes are rarely covered
 * by one longer than that, and shorter ones are few.
 */
export class CoveringMap4 implements CoveringMap {
  readonly shortest = SHORTEST4;
  readonly longest = 23;
  readonly #cells = new Uint32Array(1 << CELL_BITS);
  /** What `touch` has read, so that it has to read it. */
  #loaded = 0;

  /** Bring the cell of an address into the processor's caches. */
  touch(w0: number): void {
    this.#loaded ^= this.#cells[w0 >>> (32 - CELL_BITS)]!;
  }

  mark(w0: number, _w1: number, length: number, isThere: boolean): void {
    const cells = this.#cells;
    const first = w0 >>> (32 - CELL_BITS);
    const end = first + (length < CELL_BITS ? 1 << (CELL_BITS - length) : 1);
    const bit = 1 << bitOf(w0, length);
    for (let i = first; i < end; i++) {
      if (isThere) cells[i]! |= bit;
      else cells[i]! &= ~bit;
    }
  }

  find(w0: number, _w1: number, length: number): number {
    const cell = this.#cells[w0 >>> (32 - CELL_BITS)]!;
    let at = length;
    for (; at > CELL_BITS; at--) if ((cell & (1 << bitOf(w0, at))) !== 0) return at;
    const whole = cell & ((1 << (at - SHORTEST4 + 1)) - 1);
    return SHORTEST4 + 31 - Math.clz32(whole);
  }
}

function bitOf(w0: number, length: number): number {
  if (length <= CELL_BITS) return length - SHORTEST4;
  const inside = (1 << (length - CELL_BITS)) - 1;
  return WHOLE + inside - 1 + ((w0 >>> (32 - length)) & inside);
}

/** The bitmap of an IPv6 length has 2^this bits at most. */
const MAP_BITS = 19;
const LONGEST6 = 47;

/**
 * IPv6: by length, one bit for each possible prefix of up to 47 bits: most are /48s, and few have one of those above them.
 * Where there are too many possible ones several share a bit, which then stays set.
 */
export class CoveringMap6 implements CoveringMap {
  readonly shortest = 0;
  readonly longest = LONGEST6;
  readonly #perLength: Int32Array;
  readonly #maps = Array.from(
    { length: LONGEST6 + 1 },
    (_, length) => new Uint32Array(Math.max(1, 2 ** Math.min(length, MAP_BITS) / 32)),
  );

  /** @param perLength how many prefixes there are of each length */
  constructor(perLength: Int32Array) {
    this.#perLength = perLength;
  }

  mark(w0: number, w1: number, length: number, isThere: boolean): void {
    const bit = bitIn(w0, w1, length);
    const map = this.#maps[length]!;
    if (isThere) map[bit >>> 5]! |= 1 << (bit & 31);
    else if (length <= MAP_BITS) map[bit >>> 5]! &= ~(1 << (bit & 31));
  }

  find(w0: number, w1: number, length: number): number {
    for (let at = length; at >= 0; at--) {
      if (this.#perLength[at] === 0) continue;
      const bit = bitIn(w0, w1, at);
      if ((this.#maps[at]![bit >>> 5]! & (1 << (bit & 31))) !== 0) return at;
    }
    return -1;
  }
}

function bitIn(w0: number, w1: number, length: number): number {
  if (length <= MAP_BITS) return length === 0 ? 0 : w0 >>> (32 - length);
  const top = (w0 & wordMask(length, 0)) ^ Math.imul(w1 & wordMask(length, 1), 0x9e3779b1);
  return mix32(top) >>> (32 - MAP_BITS);
}

/** Mask of address word `i` (0..3) for a prefix of `length` (0..128) bits. */
export function wordMask(length: number, i: number): number {
  return maskWord(Math.min(32, Math.max(0, length - i * 32)));
}
