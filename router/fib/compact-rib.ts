/**
 * The writer's compact RIB of one family: a 32-bit value for each prefix that has a route, a column over a PrefixTable that it
 * shares with the BGP speaker of the VRF. Single thread; knows nothing about what the values mean.
 */
import { maskWord } from '../lib/addr.ts';
import { grown } from '../lib/columns.ts';
import type { PrefixTable } from '../lib/prefix-table.ts';
import { mix32 } from './hash.ts';

/** Prefixes from which on it pays to remember in bitmaps which ones there may be: few are covered by another one. */
const MANY = 16_384;
/** The longest prefixes that have bitmaps: most are /24s or /48s, and few have one of those above them. */
const MAPPED_LENGTH = { 4: 23, 6: 47 } as const;
/** The bitmap of a length has 2^this bits at most. */
const MAP_BITS = { 4: 23, 6: 19 } as const;
const NONE = 0;

export class CompactRib {
  readonly prefixes: PrefixTable;
  /** By number of the prefix; 0 = it has no route. */
  #values = new Int32Array(0);
  #size = 0;
  /** Prefixes per length: lengths without any are not probed. */
  readonly #perLength: Int32Array;
  /**
   * A large table: by length, one bit for each possible prefix, so that a search for covering ones probes little. Where there are too
   * many possible ones several share a bit, which then stays set.
   */
  #maps: Uint32Array[] | undefined;
  readonly #mapBits: number;

  constructor(prefixes: PrefixTable) {
    this.prefixes = prefixes;
    this.#perLength = new Int32Array(prefixes.family === 4 ? 33 : 129);
    this.#mapBits = MAP_BITS[prefixes.family];
  }

  get size(): number {
    return this.#size;
  }

  /** Octets of memory held, prefixes included. */
  get bytes(): number {
    return this.#values.byteLength + this.prefixes.bytes;
  }

  /** Numbers of prefixes with a value are below this. */
  get limit(): number {
    return Math.min(this.#values.length, this.prefixes.limit);
  }

  has(prefix: number): boolean {
    return this.value(prefix) !== NONE;
  }

  /** 0 = none. */
  value(prefix: number): number {
    return prefix >= 0 && prefix < this.#values.length ? this.#values[prefix]! : NONE;
  }

  /** Prefixes with a value. Nothing may change meanwhile. */
  *[Symbol.iterator](): Generator<number> {
    for (let prefix = 0; prefix < this.limit; prefix++) if (this.has(prefix)) yield prefix;
  }

  /** Change a value; neither it nor the new one is 0. */
  setValue(prefix: number, value: number): void {
    this.#values[prefix] = value;
  }

  /** Prefixes of exactly `length` bits. */
  countOfLength(length: number): number {
    return this.#perLength[length]!;
  }

  /** Prefixes of more than `length` bits. */
  countLongerThan(length: number): number {
    let n = 0;
    for (let l = length + 1; l < this.#perLength.length; l++) n += this.#perLength[l]!;
    return n;
  }

  /** Give a prefix without one a value other than 0. It is held until `remove`. */
  insert(prefix: number, value: number): void {
    const { prefixes } = this;
    this.#values = grown(this.#values, prefix, NONE, 15);
    this.#values[prefix] = value;
    this.#size++;
    prefixes.retain(prefix);
    this.#perLength[prefixes.length[prefix]!]!++;
    if (this.#maps !== undefined) this.#mark(prefix, true);
    else if (this.#size === MANY) this.#makeMaps();
  }

  /** Take the value of a prefix that has one. Its number may belong to another prefix soon, unless somebody holds it. */
  remove(prefix: number): void {
    const { prefixes } = this;
    this.#perLength[prefixes.length[prefix]!]!--;
    if (this.#maps !== undefined) this.#mark(prefix, false);
    this.#values[prefix] = NONE;
    prefixes.release(prefix);
    if (--this.#size > 0) return;
    this.#values = new Int32Array(0);
    this.#maps = undefined;
  }

  /** The longest prefix of at most `maxLength` bits that has a value and contains the address, or -1. */
  findCovering(w0: number, w1: number, w2: number, w3: number, maxLength: number): number {
    const { prefixes } = this;
    const mapped = this.#maps === undefined ? -1 : MAPPED_LENGTH[prefixes.family];
    for (let length = maxLength; length >= 0; length--) {
      if (this.#perLength[length] === 0) continue;
      if (length <= mapped && !this.#isMarked(w0, w1, length)) continue;
      const prefix =
        prefixes.family === 4
          ? prefixes.find(w0 & maskWord(length), 0, 0, 0, length)
          : prefixes.find(
              w0 & wordMask(length, 0),
              w1 & wordMask(length, 1),
              w2 & wordMask(length, 2),
              w3 & wordMask(length, 3),
              length,
            );
      if (prefix >= 0 && this.has(prefix)) return prefix;
    }
    return -1;
  }

  #makeMaps(): void {
    const { family } = this.prefixes;
    this.#maps = Array.from(
      { length: MAPPED_LENGTH[family] + 1 },
      (_, length) => new Uint32Array(Math.max(1, 2 ** Math.min(length, this.#mapBits) / 32)),
    );
    for (const prefix of this) this.#mark(prefix, true);
  }

  #mark(prefix: number, isThere: boolean): void {
    const { family, w0, w1, length: lengths } = this.prefixes;
    const length = lengths[prefix]!;
    if (length > MAPPED_LENGTH[family]) return;
    const bit = this.#bitOf(w0[prefix]!, family === 4 ? 0 : w1[prefix]!, length);
    const map = this.#maps![length]!;
    if (isThere) map[bit >>> 5]! |= 1 << (bit & 31);
    else if (length <= this.#mapBits) map[bit >>> 5]! &= ~(1 << (bit & 31));
  }

  /** Whether there may be a prefix of a length that contains the address. */
  #isMarked(w0: number, w1: number, length: number): boolean {
    const bit = this.#bitOf(w0, w1, length);
    return (this.#maps![length]![bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  #bitOf(w0: number, w1: number, length: number): number {
    if (length <= this.#mapBits) return length === 0 ? 0 : w0 >>> (32 - length);
    const top = (w0 & wordMask(length, 0)) ^ Math.imul(w1 & wordMask(length, 1), 0x9e3779b1);
    return mix32(top) >>> (32 - this.#mapBits);
  }
}

/** Mask of address word `i` (0..3) for a prefix of `length` (0..128) bits. */
export function wordMask(length: number, i: number): number {
  return maskWord(Math.min(32, Math.max(0, length - i * 32)));
}
