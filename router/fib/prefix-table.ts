/**
 * Exact-match map from prefixes of one family to a 32-bit value, on typed arrays: the writer's compact RIB.
 * A prefix keeps its row for as long as it is held, so that the table can be walked in slices while it changes.
 * Single thread; knows nothing about what the values mean.
 */
import type { Family } from '../lib/addr.ts';
import { maskWord } from '../lib/addr.ts';
import { grown } from '../lib/columns.ts';
import { HashIndex } from '../lib/hash-index.ts';
import { mix32 } from './hash.ts';

/**
 * IPv4 prefixes from which on it pays to remember in bitmaps which ones exist, and the longest of those: most prefixes are
 * /24s, and few have a /24 above them.
 */
const MANY = 16_384;
const MAPPED_LENGTH = 23;

/** Words of a row before the address: the value, and the prefix length + 1, 0 in a free row, whose value is the next one. */
const ADDRESS = 2;

export class PrefixTable {
  readonly family: Family;
  /** Words of a row: what was just said, and one or four words of address. */
  readonly #stride: number;
  #rows = new Int32Array(0);
  readonly #index = new HashIndex();
  /** A free row + 1, 0 = none. */
  #free = 0;
  #limit = 0;
  /** Prefixes per length: lengths without any are not probed. */
  readonly #perLength: Int32Array;
  /** A large IPv4 table: one bit for each possible prefix of a length, so that a search for covering ones probes little. */
  #maps: Uint32Array[] | undefined;

  constructor(family: Family) {
    this.family = family;
    this.#stride = ADDRESS + (family === 4 ? 1 : 4);
    this.#perLength = new Int32Array(family === 4 ? 33 : 129);
  }

  get size(): number {
    return this.#index.size;
  }

  /** Octets of memory held. */
  get bytes(): number {
    return this.#rows.byteLength + this.#index.bytes;
  }

  /** Rows are below this, for iteration with `isUsed`. */
  get slots(): number {
    return this.#limit;
  }

  isUsed(slot: number): boolean {
    return slot < this.#limit && this.#rows[slot * this.#stride + 1] !== 0;
  }

  lengthAt(slot: number): number {
    return this.#rows[slot * this.#stride + 1]! - 1;
  }

  valueAt(slot: number): number {
    return this.#rows[slot * this.#stride]!;
  }

  setValueAt(slot: number, value: number): void {
    this.#rows[slot * this.#stride] = value;
  }

  /** Address word `i` (0..3) of the prefix in `slot`; IPv4 uses word 3 only. */
  wordAt(slot: number, i: number): number {
    const at = slot * this.#stride + ADDRESS;
    return this.family === 6 ? this.#rows[at + i]! : i === 3 ? this.#rows[at]! : 0;
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

  /** Call for many prefixes before `find` is called for the first of them: HashIndex.touch. */
  touch(a0: number, a1: number, a2: number, a3: number, length: number): void {
    this.#index.touch(this.#hash(a0, a1, a2, a3, length));
  }

  /** Row of a prefix (host bits zero, words int32), or -1. It is the prefix's own until `remove`. */
  find(a0: number, a1: number, a2: number, a3: number, length: number): number {
    const hash = this.#hash(a0, a1, a2, a3, length);
    const index = this.#index;
    for (let slot = index.first(hash); slot >= 0; slot = index.after(slot)) {
      if (index.hashOf(slot) === hash && this.#isAt(slot, a0, a1, a2, a3, length)) return slot;
    }
    return -1;
  }

  /** Add a prefix that `find` did not find; returns its row. */
  insert(a0: number, a1: number, a2: number, a3: number, length: number, value: number): number {
    const slot = this.#take();
    const rows = this.#rows;
    const at = slot * this.#stride;
    rows[at] = value;
    rows[at + 1] = length + 1;
    if (this.family === 4) rows[at + ADDRESS] = a3;
    else {
      rows[at + ADDRESS] = a0;
      rows[at + ADDRESS + 1] = a1;
      rows[at + ADDRESS + 2] = a2;
      rows[at + ADDRESS + 3] = a3;
    }
    this.#index.add(slot, this.#hash(a0, a1, a2, a3, length));
    this.#perLength[length]!++;
    if (this.#maps !== undefined) this.#mark(a3, length, true);
    else if (this.family === 4 && this.size === MANY) this.#makeMaps();
    return slot;
  }

  /** Remove the prefix in `slot`, as `find` gave it. */
  remove(slot: number): void {
    const at = slot * this.#stride;
    const length = this.lengthAt(slot);
    this.#perLength[length]!--;
    if (this.#maps !== undefined) this.#mark(this.#rows[at + ADDRESS]!, length, false);
    this.#index.remove(slot);
    this.#rows[at] = this.#free;
    this.#rows[at + 1] = 0;
    this.#free = slot + 1;
    if (this.size > 0) return;
    this.#rows = new Int32Array(0);
    this.#free = 0;
    this.#limit = 0;
    this.#maps = undefined;
  }

  /** Row of the longest prefix of at most `maxLength` bits that contains the address, or -1. */
  findCovering(a0: number, a1: number, a2: number, a3: number, maxLength: number): number {
    for (let length = maxLength; length >= 0; length--) {
      if (this.#perLength[length] === 0) continue;
      if (this.#maps !== undefined && length <= MAPPED_LENGTH && !this.#isMarked(a3, length)) continue;
      const slot =
        this.family === 4
          ? this.find(0, 0, 0, a3 & maskWord(length), length)
          : this.find(
              a0 & wordMask(length, 0),
              a1 & wordMask(length, 1),
              a2 & wordMask(length, 2),
              a3 & wordMask(length, 3),
              length,
            );
      if (slot >= 0) return slot;
    }
    return -1;
  }

  #makeMaps(): void {
    this.#maps = Array.from(
      { length: MAPPED_LENGTH + 1 },
      (_, length) => new Uint32Array(Math.max(1, 2 ** length / 32)),
    );
    for (let slot = 0; slot < this.#limit; slot++) {
      if (this.isUsed(slot)) this.#mark(this.wordAt(slot, 3), this.lengthAt(slot), true);
    }
  }

  #mark(a3: number, length: number, isThere: boolean): void {
    if (length > MAPPED_LENGTH) return;
    const bit = length === 0 ? 0 : a3 >>> (32 - length);
    const map = this.#maps![length]!;
    if (isThere) map[bit >>> 5]! |= 1 << (bit & 31);
    else map[bit >>> 5]! &= ~(1 << (bit & 31));
  }

  #isMarked(a3: number, length: number): boolean {
    const bit = length === 0 ? 0 : a3 >>> (32 - length);
    return (this.#maps![length]![bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  #take(): number {
    const known = this.#free - 1;
    if (known >= 0) {
      this.#free = this.#rows[known * this.#stride]!;
      return known;
    }
    const slot = this.#limit++;
    this.#rows = grown(this.#rows, (slot + 1) * this.#stride - 1);
    return slot;
  }

  #hash(a0: number, a1: number, a2: number, a3: number, length: number): number {
    if (this.family === 4) return mix32(a3 + Math.imul(length, 0x9e3779b1));
    const x = Math.imul(a0, 0x9e3779b1) ^ Math.imul(a1, 0x85ebca77) ^ Math.imul(a2, 0xc2b2ae3d) ^ a3;
    return mix32(x + Math.imul(length, 0x27d4eb2f));
  }

  #isAt(slot: number, a0: number, a1: number, a2: number, a3: number, length: number): boolean {
    const rows = this.#rows;
    const at = slot * this.#stride + 1;
    if (rows[at] !== length + 1) return false;
    if (this.family === 4) return rows[at + 1] === a3;
    return rows[at + 1] === a0 && rows[at + 2] === a1 && rows[at + 3] === a2 && rows[at + 4] === a3;
  }
}

/** Mask of address word `i` (0..3) for a prefix of `length` (0..128) bits. */
export function wordMask(length: number, i: number): number {
  return maskWord(Math.min(32, Math.max(0, length - i * 32)));
}
