/**
 * A hash index over the rows of a table: it knows for each row number its hash and who comes after it in the same bucket.
 * The table compares keys. It grows by linear hashing (a few buckets are split at a time), so that no insertion ever
 * rehashes the table. A large table is slow by cache misses alone: `touch` and `#split` have several of them at a time.
 */

import { grown } from './columns.ts';

const FIRST_BUCKETS = 64;
/** Buckets opened at a time. Divides FIRST_BUCKETS, so that they are split in one round. */
const OPENED = 32;

export class HashIndex {
  /** Row + 1 of each bucket's first row, 0 = empty. */
  #heads = new Int32Array(FIRST_BUCKETS);
  /** Two words for each row, side by side because they are read together: row + 1 of the next row of the bucket, and the hash. */
  #cells = new Int32Array(2);
  #buckets = FIRST_BUCKETS;
  /** Buckets below this many have been split in the present round; `#mask` is for the next round. */
  #mask = FIRST_BUCKETS * 2 - 1;
  #size = 0;
  /** What `#load` has read, so that it has to read it. */
  #loaded = 0;

  /** Rows held. */
  get size(): number {
    return this.#size;
  }

  /** Octets of memory held. */
  get bytes(): number {
    return this.#heads.byteLength + this.#cells.byteLength;
  }

  /** The first row that may have this hash, -1 = none; then `after`. Compare `hashOf` before the keys. */
  first(hash: number): number {
    return this.#heads[this.#bucket(hash)]! - 1;
  }

  after(row: number): number {
    return this.#cells[row << 1]! - 1;
  }

  hashOf(row: number): number {
    return this.#cells[(row << 1) + 1]!;
  }

  /**
   * Bring into the processor's caches what `first` and `hashOf` will read of a hash. Pays where it is called for many hashes
   * before the first of them is looked for: their cache misses then overlap.
   */
  touch(hash: number): void {
    this.#load(this.#bucket(hash));
  }

  /** No branch depends on what is read: the processor goes on to the next one meanwhile. */
  #load(bucket: number): void {
    const row = this.#heads[bucket]! - 1;
    this.#loaded ^= this.#cells[(row & ~(row >> 31)) << 1]!;
  }

  /** @param hash int32, well mixed */
  add(row: number, hash: number): void {
    this.#cells = grown(this.#cells, (row << 1) + 1, 0, 1);
    this.#cells[(row << 1) + 1] = hash;
    if (++this.#size > this.#buckets) this.#split();
    const bucket = this.#bucket(hash);
    this.#cells[row << 1] = this.#heads[bucket]!;
    this.#heads[bucket] = row + 1;
  }

  remove(row: number): void {
    const cells = this.#cells;
    const bucket = this.#bucket(cells[(row << 1) + 1]!);
    const link = row + 1;
    let at = this.#heads[bucket]!;
    if (at === link) this.#heads[bucket] = cells[row << 1]!;
    else {
      while (cells[(at - 1) << 1] !== link) at = cells[(at - 1) << 1]!;
      cells[(at - 1) << 1] = cells[row << 1]!;
    }
    if (--this.#size === 0) this.#reset();
  }

  /** Empty again: give the memory back. */
  #reset(): void {
    this.#heads = new Int32Array(FIRST_BUCKETS);
    this.#cells = new Int32Array(2);
    this.#buckets = FIRST_BUCKETS;
    this.#mask = FIRST_BUCKETS * 2 - 1;
  }

  #bucket(hash: number): number {
    const b = hash & this.#mask;
    return b < this.#buckets ? b : b & (this.#mask >>> 1);
  }

  /** Open a few more buckets and move to them what belongs there. */
  #split(): void {
    const end = this.#buckets + OPENED;
    this.#heads = grown(this.#heads, end - 1, 0, 3);
    const half = this.#mask >>> 1;
    for (let opened = this.#buckets; opened < end; opened++) this.#load(opened & half);
    for (let opened = this.#buckets; opened < end; opened++) this.#splitInto(opened);
    this.#buckets = end;
    if (end > this.#mask) this.#mask = this.#mask * 2 + 1;
  }

  #splitInto(opened: number): void {
    const heads = this.#heads;
    const cells = this.#cells;
    const mask = this.#mask;
    const from = opened & (mask >>> 1);
    let stays = 0;
    let moves = 0;
    for (let at = heads[from]!; at !== 0; ) {
      const cell = (at - 1) << 1;
      const next = cells[cell]!;
      if ((cells[cell + 1]! & mask) === opened) {
        cells[cell] = moves;
        moves = at;
      } else {
        cells[cell] = stays;
        stays = at;
      }
      at = next;
    }
    heads[from] = stays;
    heads[opened] = moves;
  }
}
