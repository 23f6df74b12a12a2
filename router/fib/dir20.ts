/**
 * Longest-prefix match for large IPv6 tables: an index over the top 20 bits, and below it blocks of 16 cells for 4 bits
 * each. A cell is an answer, or (negative) the number of a block that tells more. Any prefix length matches.
 *
 * An answer is `length << 23 | group`: the length of the prefix that owns the cell, so that a prefix of length L takes
 * over the cells owned by lengths <= L. Updates patch cells in place, each by one store from a right answer to a right
 * answer; a new block is complete before it is published. Blocks stay until the table is made anew, so that a reader
 * never meets one with another meaning.
 */
import { GROUP_MASK, LENGTH_SHIFT } from './range-table.ts';

const INDEX_BITS = 20;
const STRIDE = 4;
const BLOCK_CELLS = 1 << STRIDE;
const BLOCK = 0x80000000 | 0;
const NUMBER_MASK = 0x7fffffff;
/** Blocks a single prefix may add. */
const MOST_BLOCKS = (128 - INDEX_BITS) / STRIDE;
/** The cell of the default route, in block 0, which is nobody's: what no other prefix owns holds 0 and leads there. */
const DEFAULT = 0;
/** Least blocks there is room for: what is not written to takes no memory, and more room later is a copy of everything. */
const MIN_BLOCKS = 1 << 20;

/** Group for an address. */
export function lookupDir20(
  index: Int32Array,
  cells: Int32Array,
  a0: number,
  a1: number,
  a2: number,
  a3: number,
): number {
  let cell = index[a0 >>> (32 - INDEX_BITS)]!;
  for (let depth = INDEX_BITS; cell < 0; depth += STRIDE) {
    cell = cells[((cell & NUMBER_MASK) << STRIDE) | nibble(depth, a0, a1, a2, a3)]!;
  }
  return cell & GROUP_MASK || cells[DEFAULT]!;
}

/** The four address bits from `depth` (a multiple of four) on. */
function nibble(depth: number, a0: number, a1: number, a2: number, a3: number): number {
  const word = depth < 64 ? (depth < 32 ? a0 : a1) : depth < 96 ? a2 : a3;
  return (word >>> (28 - (depth & 31))) & 15;
}

export class Dir20 {
  #index = new Int32Array(new SharedArrayBuffer(4 << INDEX_BITS));
  #cells: Int32Array<SharedArrayBuffer>;
  #blocks = 1;

  /** @param routes how many are expected; there is room for as many again */
  constructor(routes: number) {
    const blocks = Math.max(MIN_BLOCKS, 4 * routes);
    this.#cells = new Int32Array(new SharedArrayBuffer(blocks * BLOCK_CELLS * 4));
  }

  get indexMemory(): SharedArrayBuffer {
    return this.#index.buffer;
  }

  /** Changes, together with `indexMemory`, when more room was needed: readers then need a new bundle. */
  get cellMemory(): SharedArrayBuffer {
    return this.#cells.buffer;
  }

  /** Octets of shared memory in use. */
  get sharedBytes(): number {
    return this.#index.byteLength + this.#blocks * BLOCK_CELLS * 4;
  }

  /** Blocks in use. */
  get blocks(): number {
    return this.#blocks - 1;
  }

  /**
   * Give the part of a prefix that no longer prefix owns to `group`, owned from now on by `ownerLength` bits: `length`
   * itself for an announcement, the covering prefix's length (and group) for a withdrawal.
   */
  set(a0: number, a1: number, a2: number, a3: number, length: number, ownerLength: number, group: number): void {
    if (length === 0) {
      this.#cells[DEFAULT] = group;
      return;
    }
    const answer = ownerLength === 0 ? 0 : (ownerLength << LENGTH_SHIFT) | group;
    const first = a0 >>> (32 - INDEX_BITS);
    if (length > INDEX_BITS) this.#makeRoom();
    if (length <= INDEX_BITS) {
      this.#setCells(this.#index, first, 1 << (INDEX_BITS - length), length, answer);
      return;
    }
    let block = this.#below(this.#index, first);
    let depth = INDEX_BITS;
    for (; length > depth + STRIDE; depth += STRIDE) {
      block = this.#below(this.#cells, (block << STRIDE) | nibble(depth, a0, a1, a2, a3));
    }
    const at = (block << STRIDE) | (nibble(depth, a0, a1, a2, a3) & ~((1 << (depth + STRIDE - length)) - 1));
    this.#setCells(this.#cells, at, 1 << (depth + STRIDE - length), length, answer);
  }

  #setCells(cells: Int32Array, from: number, count: number, length: number, answer: number): void {
    for (let i = from; i < from + count; i++) {
      const cell = cells[i]!;
      if (cell < 0) this.#setCells(this.#cells, (cell & NUMBER_MASK) << STRIDE, BLOCK_CELLS, length, answer);
      else if (cell >>> LENGTH_SHIFT <= length) cells[i] = answer;
    }
  }

  /** The block below a cell; a new one begins with the cell's answer everywhere. */
  #below(cells: Int32Array, at: number): number {
    const cell = cells[at]!;
    if (cell < 0) return cell & NUMBER_MASK;
    const block = this.#blocks++;
    this.#cells.fill(cell, block << STRIDE, (block + 1) << STRIDE);
    Atomics.store(cells, at, BLOCK | block);
    return block;
  }

  /** Room for what one prefix may need: larger arrays in which every block stays where it is; readers keep the old ones. */
  #makeRoom(): void {
    if ((this.#blocks + MOST_BLOCKS) << STRIDE <= this.#cells.length) return;
    const cells = new Int32Array(new SharedArrayBuffer(this.#cells.byteLength * 2));
    cells.set(this.#cells);
    const index = new Int32Array(new SharedArrayBuffer(this.#index.byteLength));
    index.set(this.#index);
    this.#cells = cells;
    this.#index = index;
  }
}
