/**
 * The prefixes of one family, each with a small number (its *id*) that indexes every other table of the RIB.
 * An id lives while something refers to it: a route, the Loc-RIB, a queue, an advertisement.
 */

import type { Family, Prefix } from '../../router/lib/addr.ts';
import { prefixFromWords } from '../wire/nlri.ts';
import { grown } from './columns.ts';

const MIN_BUCKETS = 1024;

/** Hash table from prefix to id with chaining; all columns are typed arrays. Words are left-aligned (bgp/wire/nlri.ts). */
export class PrefixTable {
  readonly family: Family;
  w0 = new Int32Array(0);
  w1 = new Int32Array(0);
  w2 = new Int32Array(0);
  w3 = new Int32Array(0);
  length = new Uint8Array(0);
  /** How many things refer to an id. */
  #refs = new Int32Array(0);
  #next = new Int32Array(0);
  #buckets = new Int32Array(MIN_BUCKETS).fill(-1);
  #free = -1;
  #used = 0;
  #size = 0;

  constructor(family: Family) {
    this.family = family;
  }

  /** Prefixes known. */
  get size(): number {
    return this.#size;
  }

  /** Ids are below this. */
  get limit(): number {
    return this.#used;
  }

  isUsed(id: number): boolean {
    return this.#refs[id]! > 0;
  }

  find(w0: number, w1: number, w2: number, w3: number, length: number): number {
    let id = this.#buckets[hash(w0, w1, w2, w3, length) & (this.#buckets.length - 1)]!;
    while (id >= 0) {
      if (
        this.w0[id] === w0 &&
        this.length[id] === length &&
        (this.family === 4 || (this.w1[id] === w1 && this.w2[id] === w2 && this.w3[id] === w3))
      ) {
        return id;
      }
      id = this.#next[id]!;
    }
    return -1;
  }

  /** The id of a prefix, new when needed. The caller must retain it, or it leaks. */
  intern(w0: number, w1: number, w2: number, w3: number, length: number): number {
    const found = this.find(w0, w1, w2, w3, length);
    if (found >= 0) return found;
    let id = this.#free;
    if (id >= 0) this.#free = this.#next[id]!;
    else {
      id = this.#used++;
      this.#grow(id);
    }
    this.w0[id] = w0;
    if (this.family === 6) {
      this.w1[id] = w1;
      this.w2[id] = w2;
      this.w3[id] = w3;
    }
    this.length[id] = length;
    this.#size++;
    if (this.#size > this.#buckets.length) this.#rehash();
    const bucket = hash(w0, w1, w2, w3, length) & (this.#buckets.length - 1);
    this.#next[id] = this.#buckets[bucket]!;
    this.#buckets[bucket] = id;
    return id;
  }

  retain(id: number): void {
    this.#refs[id]!++;
  }

  release(id: number): void {
    if (--this.#refs[id]! === 0) this.#remove(id);
  }

  findPrefix(p: Prefix): number {
    if (p.family !== this.family) return -1;
    const a = p.addr;
    return p.family === 4 ? this.find(a.a3, 0, 0, 0, p.length) : this.find(a.a0, a.a1, a.a2, a.a3, p.length);
  }

  internPrefix(p: Prefix): number {
    const a = p.addr;
    return p.family === 4 ? this.intern(a.a3, 0, 0, 0, p.length) : this.intern(a.a0, a.a1, a.a2, a.a3, p.length);
  }

  prefix(id: number): Prefix {
    return this.family === 4
      ? prefixFromWords(4, this.w0[id]!, 0, 0, 0, this.length[id]!)
      : prefixFromWords(6, this.w0[id]!, this.w1[id]!, this.w2[id]!, this.w3[id]!, this.length[id]!);
  }

  #remove(id: number): void {
    const long = this.family === 6;
    const h = hash(
      this.w0[id]!,
      long ? this.w1[id]! : 0,
      long ? this.w2[id]! : 0,
      long ? this.w3[id]! : 0,
      this.length[id]!,
    );
    const bucket = h & (this.#buckets.length - 1);
    let at = this.#buckets[bucket]!;
    if (at === id) this.#buckets[bucket] = this.#next[id]!;
    else {
      while (this.#next[at] !== id) at = this.#next[at]!;
      this.#next[at] = this.#next[id]!;
    }
    this.#next[id] = this.#free;
    this.#free = id;
    this.#size--;
  }

  #grow(id: number): void {
    if (id < this.length.length) return;
    this.w0 = grown(this.w0, id);
    if (this.family === 6) {
      this.w1 = grown(this.w1, id);
      this.w2 = grown(this.w2, id);
      this.w3 = grown(this.w3, id);
    }
    this.length = grown(this.length, id);
    this.#refs = grown(this.#refs, id);
    this.#next = grown(this.#next, id);
  }

  #rehash(): void {
    const before = this.#buckets;
    const buckets = new Int32Array(before.length * 2).fill(-1);
    const mask = buckets.length - 1;
    const long = this.family === 6;
    for (const head of before) {
      for (let id = head; id >= 0; ) {
        const next = this.#next[id]!;
        const at =
          hash(
            this.w0[id]!,
            long ? this.w1[id]! : 0,
            long ? this.w2[id]! : 0,
            long ? this.w3[id]! : 0,
            this.length[id]!,
          ) & mask;
        this.#next[id] = buckets[at]!;
        buckets[at] = id;
        id = next;
      }
    }
    this.#buckets = buckets;
  }
}

/** Mixes all words; neighbouring prefixes must not share buckets. */
function hash(w0: number, w1: number, w2: number, w3: number, length: number): number {
  let h = Math.imul(w0 ^ (w0 >>> 15), 0x2c1b3c6d);
  h = Math.imul(h ^ w1 ^ (h >>> 13), 0x297a2d39);
  h = Math.imul(h ^ w2 ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ w3 ^ length ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
