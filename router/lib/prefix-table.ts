/**
 * The prefixes of one family, each with a small number (its *id*): tables of routes are columns over it. RIB and FIB of a
 * VRF share one, so that a prefix is looked for once on its way from the wire to the forwarding plane.
 * An id lives while something refers to it: a route, the Loc-RIB, a queue, an advertisement, the FIB.
 */

import { Addr, type Family, Prefix } from './addr.ts';
import { grown } from './columns.ts';
import { HashIndex } from './hash-index.ts';

const NONE_FREE = -1;

/**
 * Hash table from prefix to id; all columns are typed arrays. Addresses are left-aligned words with host bits clear: an IPv4
 * one is `w0`, and the others are 0.
 */
export class PrefixTable {
  readonly family: Family;
  w0 = new Int32Array(0);
  w1 = new Int32Array(0);
  w2 = new Int32Array(0);
  w3 = new Int32Array(0);
  length = new Uint8Array(0);
  /** How many things refer to an id; negative when none does and the id can be used again: see `#take`. */
  #refs = new Int32Array(0);
  readonly #index = new HashIndex();
  /** An id that can be used again, and through `#refs` the others. */
  #free = NONE_FREE;
  #used = 0;

  constructor(family: Family) {
    this.family = family;
  }

  /** Prefixes known. */
  get size(): number {
    return this.#index.size;
  }

  /** Octets of memory held. */
  get bytes(): number {
    const words = this.w0.length + this.w1.length + this.w2.length + this.w3.length + this.#refs.length;
    return words * 4 + this.length.length + this.#index.bytes;
  }

  /** Ids are below this. */
  get limit(): number {
    return this.#used;
  }

  isUsed(id: number): boolean {
    return this.#refs[id]! > 0;
  }

  find(w0: number, w1: number, w2: number, w3: number, length: number): number {
    return this.#find(w0, w1, w2, w3, length, hash(w0, w1, w2, w3, length));
  }

  /** Call for many prefixes before the first of them is looked for: HashIndex.touch. */
  touch(w0: number, w1: number, w2: number, w3: number, length: number): void {
    this.#index.touch(hash(w0, w1, w2, w3, length));
  }

  /** The same before ids are released that nothing else may refer to. */
  touchId(id: number): void {
    this.#index.touch(this.#index.hashOf(id));
  }

  /** The id of a prefix, new when needed. The caller must retain it, or it leaks. */
  intern(w0: number, w1: number, w2: number, w3: number, length: number): number {
    const h = hash(w0, w1, w2, w3, length);
    const found = this.#find(w0, w1, w2, w3, length, h);
    if (found >= 0) return found;
    const id = this.#take();
    this.w0[id] = w0;
    if (this.family === 6) {
      this.w1[id] = w1;
      this.w2[id] = w2;
      this.w3[id] = w3;
    }
    this.length[id] = length;
    this.#index.add(id, h);
    return id;
  }

  #find(w0: number, w1: number, w2: number, w3: number, length: number, h: number): number {
    const index = this.#index;
    for (let id = index.first(h); id >= 0; id = index.after(id)) {
      if (index.hashOf(id) !== h || this.w0[id] !== w0 || this.length[id] !== length) continue;
      if (this.family === 4 || (this.w1[id] === w1 && this.w2[id] === w2 && this.w3[id] === w3)) return id;
    }
    return -1;
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

  /** Right until its id belongs to another prefix, which is not before the next `intern`. */
  prefix(id: number): Prefix {
    const addr =
      this.family === 4 ? Addr.v4(this.w0[id]!) : Addr.v6(this.w0[id]!, this.w1[id]!, this.w2[id]!, this.w3[id]!);
    return Prefix.containing(addr, this.length[id]!)!;
  }

  #remove(id: number): void {
    this.#index.remove(id);
    this.#refs[id] = this.#free;
    this.#free = -2 - id;
  }

  #take(): number {
    if (this.#free === NONE_FREE) {
      this.#grow(this.#used);
      return this.#used++;
    }
    const id = -2 - this.#free;
    this.#free = this.#refs[id]!;
    this.#refs[id] = 0;
    return id;
  }

  #grow(id: number): void {
    this.w0 = grown(this.w0, id, 0, 4);
    if (this.family === 6) {
      this.w1 = grown(this.w1, id, 0, 5);
      this.w2 = grown(this.w2, id, 0, 6);
      this.w3 = grown(this.w3, id, 0, 7);
    }
    this.length = grown(this.length, id, 0, 12);
    this.#refs = grown(this.#refs, id, 0, 13);
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
