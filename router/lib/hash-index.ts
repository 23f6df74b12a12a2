/**
 * A hash index over the rows of a table: it knows for each row number its hash and who comes after it in the same bucket.
 * The table compares keys. It grows by linear hashing (one bucket is split per insertion), so that no insertion ever
 * rehashes the table.
 */

import { grown } from './columns.ts';

const FIRST_BUCKETS = 256;

export class HashIndex {
  /** Row + 1 of each bucket's first row, 0 = empty. */
  #heads = new Int32Array(FIRST_BUCKETS);
  /** Row + 1 of the next row of the bucket. */
  #next = new Int32Array(0);
  #hashes = new Int32Array(0);
  #buckets = FIRST_BUCKETS;
  /** Buckets below this many have been split in the present round; `#mask` is for the next round. */
  #mask = FIRST_BUCKETS * 2 - 1;
  #size = 0;

  /** Rows held. */
  get size(): number {
    return this.#size;
  }

  /** Octets of memory held. */
  get bytes(): number {
    return this.#heads.byteLength + this.#next.byteLength + this.#hashes.byteLength;
  }

  /** The first row that may have this hash, -1 = none; then `after`. Compare `hashOf` before the keys. */
  first(hash: number): number {
    return this.#heads[this.#bucket(hash)]! - 1;
  }

  after(row: number): number {
    return this.#next[row]! - 1;
  }

  hashOf(row: number): number {
    return this.#hashes[row]!;
  }

  /** @param hash int32, well mixed */
  add(row: number, hash: number): void {
    this.#next = grown(this.#next, row, 0, 1);
    this.#hashes = grown(this.#hashes, row, 0, 2);
    this.#hashes[row] = hash;
    if (++this.#size > this.#buckets) this.#split();
    const bucket = this.#bucket(hash);
    this.#next[row] = this.#heads[bucket]!;
    this.#heads[bucket] = row + 1;
  }

  remove(row: number): void {
    const bucket = this.#bucket(this.#hashes[row]!);
    const link = row + 1;
    let at = this.#heads[bucket]!;
    if (at === link) this.#heads[bucket] = this.#next[row]!;
    else {
      while (this.#next[at - 1] !== link) at = this.#next[at - 1]!;
      this.#next[at - 1] = this.#next[row]!;
    }
    this.#size--;
  }

  #bucket(hash: number): number {
    const b = hash & this.#mask;
    return b < this.#buckets ? b : b & (this.#mask >>> 1);
  }

  /** Open one more bucket and move to it what belongs there. */
  #split(): void {
    const opened = this.#buckets;
    this.#heads = grown(this.#heads, opened, 0, 3);
    const from = opened & (this.#mask >>> 1);
    let stays = 0;
    let moves = 0;
    for (let at = this.#heads[from]!; at !== 0; ) {
      const next = this.#next[at - 1]!;
      if ((this.#hashes[at - 1]! & this.#mask) === opened) {
        this.#next[at - 1] = moves;
        moves = at;
      } else {
        this.#next[at - 1] = stays;
        stays = at;
      }
      at = next;
    }
    this.#heads[from] = stays;
    this.#heads[opened] = moves;
    this.#buckets = opened + 1;
    if (this.#buckets > this.#mask) this.#mask = this.#mask * 2 + 1;
  }
}
