/**
 * Exact-match map from prefixes of one family to a 32-bit value, on typed arrays: the writer's compact RIB.
 * Open addressing with linear probing; deletion closes the gap, so there are no tombstones. 9 octets per slot for IPv4
 * and 21 for IPv6. Single thread; knows nothing about what the values mean.
 */
import type { Family } from '../lib/addr.ts';
import { maskWord } from '../lib/addr.ts';
import { mix32 } from './hash.ts';

const INITIAL_SLOTS = 64;

export class PrefixTable {
  readonly family: Family;
  readonly #words: number;
  #keys: Int32Array;
  /** Prefix length + 1; 0 is a free slot. */
  #lengths: Uint8Array;
  #values: Int32Array;
  #mask: number;
  #size = 0;
  /** Prefixes per length: lengths without any are not probed. */
  readonly #perLength: Int32Array;

  constructor(family: Family) {
    this.family = family;
    this.#words = family === 4 ? 1 : 4;
    this.#perLength = new Int32Array(family === 4 ? 33 : 129);
    this.#mask = INITIAL_SLOTS - 1;
    this.#keys = new Int32Array(INITIAL_SLOTS * this.#words);
    this.#lengths = new Uint8Array(INITIAL_SLOTS);
    this.#values = new Int32Array(INITIAL_SLOTS);
  }

  get size(): number {
    return this.#size;
  }

  /** Octets of memory held. */
  get bytes(): number {
    return this.#keys.byteLength + this.#lengths.byteLength + this.#values.byteLength;
  }

  /** One more than the highest slot number, for iteration with `isUsed`. */
  get slots(): number {
    return this.#mask + 1;
  }

  isUsed(slot: number): boolean {
    return this.#lengths[slot] !== 0;
  }

  lengthAt(slot: number): number {
    return this.#lengths[slot]! - 1;
  }

  valueAt(slot: number): number {
    return this.#values[slot]!;
  }

  setValueAt(slot: number, value: number): void {
    this.#values[slot] = value;
  }

  /** Address word `i` (0..3) of the prefix in `slot`; IPv4 uses word 3 only. */
  wordAt(slot: number, i: number): number {
    return this.#words === 1 ? (i === 3 ? this.#keys[slot]! : 0) : this.#keys[slot * 4 + i]!;
  }

  /** Prefixes of exactly `length` bits. */
  countOfLength(length: number): number {
    return this.#perLength[length]!;
  }

  hasLongerThan(length: number): boolean {
    return this.#perLength.subarray(length + 1).some((count) => count > 0);
  }

  #hash(a0: number, a1: number, a2: number, a3: number, length: number): number {
    if (this.#words === 1) return mix32(a3 + Math.imul(length, 0x9e3779b1));
    const x = Math.imul(a0, 0x9e3779b1) ^ Math.imul(a1, 0x85ebca77) ^ Math.imul(a2, 0xc2b2ae3d) ^ a3;
    return mix32(x + Math.imul(length, 0x27d4eb2f));
  }

  #isAt(slot: number, a0: number, a1: number, a2: number, a3: number): boolean {
    const keys = this.#keys;
    if (this.#words === 1) return keys[slot] === a3;
    const at = slot << 2;
    return keys[at] === a0 && keys[at + 1] === a1 && keys[at + 2] === a2 && keys[at + 3] === a3;
  }

  /** Slot of a prefix (host bits zero, words int32), or -1. Slots are valid until the next `insert` or `remove`. */
  find(a0: number, a1: number, a2: number, a3: number, length: number): number {
    const wanted = length + 1;
    let slot = this.#hash(a0, a1, a2, a3, length) & this.#mask;
    for (;;) {
      const l = this.#lengths[slot];
      if (l === 0) return -1;
      if (l === wanted && this.#isAt(slot, a0, a1, a2, a3)) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** Add a prefix that `find` did not find. */
  insert(a0: number, a1: number, a2: number, a3: number, length: number, value: number): void {
    // Load factor at most 0.7: linear probing stays near two probes.
    if ((this.#size + 1) * 10 > (this.#mask + 1) * 7) this.#resize((this.#mask + 1) * 2);
    this.#place(a0, a1, a2, a3, length, value);
    this.#size++;
    this.#perLength[length] = this.#perLength[length]! + 1;
  }

  #place(a0: number, a1: number, a2: number, a3: number, length: number, value: number): void {
    let slot = this.#hash(a0, a1, a2, a3, length) & this.#mask;
    while (this.#lengths[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#lengths[slot] = length + 1;
    this.#values[slot] = value;
    if (this.#words === 1) this.#keys[slot] = a3;
    else {
      const at = slot << 2;
      this.#keys[at] = a0;
      this.#keys[at + 1] = a1;
      this.#keys[at + 2] = a2;
      this.#keys[at + 3] = a3;
    }
  }

  /** Remove the prefix in `slot`, as `find` gave it. */
  remove(slot: number): void {
    const length = this.lengthAt(slot);
    this.#perLength[length] = this.#perLength[length]! - 1;
    this.#size--;
    let hole = slot;
    for (let next = (hole + 1) & this.#mask; this.#lengths[next] !== 0; next = (next + 1) & this.#mask) {
      const home = this.#homeOf(next);
      // An entry may move back into the hole unless its home lies behind the hole (cyclically in (hole, next]).
      if (((next - home) & this.#mask) < ((next - hole) & this.#mask)) continue;
      this.#copy(next, hole);
      hole = next;
    }
    this.#lengths[hole] = 0;
    if (this.#mask + 1 > INITIAL_SLOTS && this.#size * 10 < this.#mask + 1) this.#resize((this.#mask + 1) / 2);
  }

  #homeOf(slot: number): number {
    const w = (i: number): number => this.wordAt(slot, i);
    return this.#hash(w(0), w(1), w(2), w(3), this.lengthAt(slot)) & this.#mask;
  }

  #copy(from: number, to: number): void {
    this.#lengths[to] = this.#lengths[from]!;
    this.#values[to] = this.#values[from]!;
    if (this.#words === 1) this.#keys[to] = this.#keys[from]!;
    else this.#keys.copyWithin(to << 2, from << 2, (from << 2) + 4);
  }

  #resize(slots: number): void {
    const keys = this.#keys;
    const lengths = this.#lengths;
    const values = this.#values;
    this.#mask = slots - 1;
    this.#keys = new Int32Array(slots * this.#words);
    this.#lengths = new Uint8Array(slots);
    this.#values = new Int32Array(slots);
    for (let i = 0; i < lengths.length; i++) {
      const length = lengths[i]! - 1;
      if (length < 0) continue;
      if (this.#words === 1) this.#place(0, 0, 0, keys[i]!, length, values[i]!);
      else this.#place(keys[i * 4]!, keys[i * 4 + 1]!, keys[i * 4 + 2]!, keys[i * 4 + 3]!, length, values[i]!);
    }
  }

  /** Slot of the longest prefix of at most `maxLength` bits that contains the address, or -1. */
  findCovering(a0: number, a1: number, a2: number, a3: number, maxLength: number): number {
    for (let length = maxLength; length >= 0; length--) {
      if (this.#perLength[length] === 0) continue;
      const slot =
        this.#words === 1
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
}

/** Mask of address word `i` (0..3) for a prefix of `length` (0..128) bits. */
export function wordMask(length: number, i: number): number {
  return maskWord(Math.min(32, Math.max(0, length - i * 32)));
}
