/**
 * Finds the prefixes that lie inside a given one, so that a changed ROA costs as much as there are routes below it.
 * Prefixes are chained by their leading bits; nothing is ever taken out: an id that has been given to another prefix moves
 * when that one is added, and one that is not in use is passed over.
 */

import { grown } from '../../router/lib/columns.ts';
import type { PrefixTable } from '../../router/lib/prefix-table.ts';

const BUCKETS = 1 << 15;
const NOT_IN = -1;
const LAST = -2;

export class RouteIndex {
  readonly #prefixes: PrefixTable;
  /** Leading bits by which prefixes are chained. */
  readonly #keyBits: number;
  readonly #heads = new Int32Array(BUCKETS).fill(LAST);
  /** Next id of the chain, LAST, or NOT_IN. */
  #next = new Int32Array(0);
  #keys = new Int32Array(0);

  constructor(prefixes: PrefixTable) {
    this.#prefixes = prefixes;
    this.#keyBits = prefixes.family === 4 ? 16 : 32;
  }

  /** A route to the prefix exists. Cheap when that is known. */
  add(id: number): void {
    if (id >= this.#next.length) {
      this.#next = grown(this.#next, id, NOT_IN);
      this.#keys = grown(this.#keys, id);
    }
    const key = this.#prefixes.w0[id]! >>> (32 - this.#keyBits);
    if (this.#next[id] !== NOT_IN) {
      if (this.#keys[id] === (key | 0)) return;
      this.#unlink(id);
    }
    const bucket = bucketOf(key);
    this.#keys[id] = key;
    this.#next[id] = this.#heads[bucket]!;
    this.#heads[bucket] = id;
  }

  /**
   * Visit every known prefix inside the given one, itself included.
   * @returns how many prefixes were looked at
   */
  inside(w0: number, w1: number, w2: number, w3: number, length: number, visit: (id: number) => void): number {
    const bits = this.#keyBits;
    const keys = 2 ** Math.max(0, bits - length);
    const first = w0 >>> (32 - bits);
    let looked = 0;
    const look = (bucket: number): void => {
      for (let id = this.#heads[bucket]!; id !== LAST; id = this.#next[id]!) {
        looked++;
        if (this.#isInside(id, w0, w1, w2, w3, length)) visit(id);
      }
    };
    // A prefix so short that it reaches every chain needs each of them once.
    if (keys >= BUCKETS) for (let bucket = 0; bucket < BUCKETS; bucket++) look(bucket);
    else {
      // Two keys may share a chain: a prefix belongs to the key it was chained under.
      for (let key = first; key < first + keys; key++) {
        for (let id = this.#heads[bucketOf(key)]!; id !== LAST; id = this.#next[id]!) {
          looked++;
          if (this.#keys[id] === (key | 0) && this.#isInside(id, w0, w1, w2, w3, length)) visit(id);
        }
      }
    }
    return looked;
  }

  #isInside(id: number, w0: number, w1: number, w2: number, w3: number, length: number): boolean {
    const p = this.#prefixes;
    if (!p.isUsed(id) || p.length[id]! < length || differs(p.w0[id]!, w0, length)) return false;
    if (length <= 32) return true;
    return !(
      differs(p.w1[id]!, w1, length - 32) ||
      differs(p.w2[id]!, w2, length - 64) ||
      differs(p.w3[id]!, w3, length - 96)
    );
  }

  #unlink(id: number): void {
    const bucket = bucketOf(this.#keys[id]!);
    let at = this.#heads[bucket]!;
    if (at === id) this.#heads[bucket] = this.#next[id]!;
    else {
      while (this.#next[at] !== id) at = this.#next[at]!;
      this.#next[at] = this.#next[id]!;
    }
    this.#next[id] = NOT_IN;
  }
}

function bucketOf(key: number): number {
  return Math.imul(key, 0x9e3779b1) >>> 17;
}

/** Whether the leading `bits` of two words differ. */
function differs(a: number, b: number, bits: number): boolean {
  if (bits <= 0) return false;
  return bits >= 32 ? a !== b : (a ^ b) >>> (32 - bits) !== 0;
}
