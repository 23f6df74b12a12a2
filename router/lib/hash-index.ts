/**
 * A hash index over the rows of a table: it knows for each row number its hash and who comes after it in the same bucket.
 * The table compares keys. It grows by linear hashing (one bucket is split per insertion), so that no insertion ever
 * rehashes the table.
 */

import { grown } from './columns.ts';

const FIRST_BUCKETS = 64;

export class HashIndex {
  /** Row + 1 of each bucket's first row, 0 = empty. */
  #heads = new Int32Array(FIRST_BUCKETS);
  /** Two words for each row, side by side because they are read together: row + 1 of the next row of the bucket, and the hash. */
  #cells = new Int32Array(0);
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
    this.#cells = new Int32Array(0);
    this.#buckets = FIRST_BUCKETS;
    this.#mask = FIRST_BUCKETS * 2 - 1;
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
    const cells = this.#cells;
    for (let at = this.#heads[from]!; at !== 0; ) {
      const cell = (at - 1) << 1;
      const next = cells[cell]!;
      if ((cells[cell + 1]! & this.#mask) === opened) {
        cells[cell] = moves;
        moves = at;
      } else {
        cells[cell] = stays;
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
