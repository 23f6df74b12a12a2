/**
 * Longest-prefix match for large IPv4 tables: DIR-24-8. One cell per /24 gives the group, or the number of a block with
 * one cell per address when longer prefixes exist there: one or two memory reads per lookup.
 *
 * The default route has a cell of its own, so that its change is one store and not sixteen million.
 *
 * Updates patch cells in place, each by one store from a right answer to a right answer. Private arrays beside the shared
 * ones hold the length of the prefix that owns each cell: a prefix of length L takes over the cells owned by lengths <= L.
 * Cells have 16 bits (32 MiB) until there are more than 32767 groups or blocks, then 32 (64 MiB).
 * A block stays with its /24 until the table is rebuilt, so that a reader never meets it with another meaning.
 */

const SLASH24 = 1 << 24;
/** The cell of the default route, in block 0, which is nobody's: what no other prefix owns holds 0 and leads there. */
const DEFAULT = 0;
const BLOCK16 = 0x8000;
const BLOCK32 = 0x80000000;
/** Owner length of a /24 that has a block: its cells' owners are in the block. */
const IN_BLOCK = 255;
/** /24s whose cells are likely to be in the cache line of one of them. */
const NEAR = 16;

/** Group for an IPv4 address in a table with 16-bit cells. */
export function lookupDir16(index: Uint16Array, cells: Uint16Array, a3: number): number {
  const cell = index[a3 >>> 8]!;
  return (cell < BLOCK16 ? cell : cells[((cell & 0x7fff) << 8) | (a3 & 255)]!) || cells[DEFAULT]!;
}

/** Group for an IPv4 address in a table with 32-bit cells. */
export function lookupDir32(index: Int32Array, cells: Int32Array, a3: number): number {
  const cell = index[a3 >>> 8]!;
  return (cell >= 0 ? cell : cells[((cell & 0x7fffffff) << 8) | (a3 & 255)]!) || cells[DEFAULT]!;
}

type Cells = Uint16Array | Int32Array;

export class Dir24 {
  /** Groups and blocks that 16-bit cells can name. */
  static readonly NARROW_GROUPS = 1 << 15;
  static readonly NARROW_BLOCKS = 1 << 15;
  readonly isWide: boolean;
  readonly indexMemory: SharedArrayBuffer;
  readonly cellMemory: SharedArrayBuffer;
  readonly #index: Cells;
  readonly #cells: Cells;
  readonly #blockFlag: number;
  readonly #maxBlocks: number;
  /** Shared with nobody: see `emptyColumn`. */
  readonly #owners = new Uint8Array(new SharedArrayBuffer(SLASH24));
  #blockOwners = new Uint8Array(64 * 256);
  #blocks = 1;
  /** What `touch` has read, so that it has to read it. */
  #loaded = 0;

  /** @param blocks how many /24s hold longer prefixes; there is room for as many again. Untouched pages take no memory. */
  constructor(isWide: boolean, blocks: number) {
    this.isWide = isWide;
    const size = isWide ? 4 : 2;
    this.#maxBlocks = isWide ? 2 * blocks + 4096 : Dir24.NARROW_BLOCKS;
    this.indexMemory = new SharedArrayBuffer(SLASH24 * size);
    this.cellMemory = new SharedArrayBuffer(this.#maxBlocks * 256 * size);
    this.#index = isWide ? new Int32Array(this.indexMemory) : new Uint16Array(this.indexMemory);
    this.#cells = isWide ? new Int32Array(this.cellMemory) : new Uint16Array(this.cellMemory);
    this.#blockFlag = isWide ? BLOCK32 : BLOCK16;
  }

  get blocks(): number {
    return this.#blocks;
  }

  /** Three quarters of the blocks are taken: time for a table with more. */
  get isNearlyFull(): boolean {
    return this.#blocks > (this.#maxBlocks >>> 2) * 3;
  }

  /** Octets of shared memory in use. */
  get sharedBytes(): number {
    return this.indexMemory.byteLength + this.#blocks * 256 * (this.isWide ? 4 : 2);
  }

  /** Octets of the writer's private memory. */
  get privateBytes(): number {
    return this.#owners.byteLength + this.#blockOwners.byteLength;
  }

  /** Bring into the processor's caches what `set` will read of a prefix: see `VrfTable.touch`. */
  touch(a3: number): void {
    this.#loaded ^= this.#index[a3 >>> 8]! ^ this.#owners[a3 >>> 8]!;
  }

  /**
   * The group of the prefix of `length` bits (at most 23) that covers an address and is known to be there, if it owns a /24 near by:
   * one that the processor has read together with that of the address. Else -1.
   */
  groupNear(a3: number, length: number): number {
    const at = a3 >>> 8;
    const inside = Math.min(NEAR, 1 << (24 - length));
    for (let i = 1; i < inside; i++) if (this.#owners[at ^ i] === length) return this.#index[at ^ i]!;
    return -1;
  }

  /** Whether `set` of this prefix and group is certain to fit. */
  fits(a3: number, length: number, group: number): boolean {
    if (!this.isWide && group >= BLOCK16) return false;
    return length <= 24 || this.#blocks < this.#maxBlocks || this.#owners[a3 >>> 8] === IN_BLOCK;
  }

  /**
   * Give the part of prefix `a3/length` that no longer prefix owns to `group`, owned from now on by `ownerLength` bits:
   * `length` itself for an announcement, the covering prefix's length (and group) for a withdrawal.
   */
  set(a3: number, length: number, ownerLength: number, group: number): void {
    if (length === 0) {
      this.#cells[DEFAULT] = group;
      return;
    }
    this.#set(a3, length, ownerLength, ownerLength === 0 ? 0 : group);
  }

  #set(a3: number, length: number, ownerLength: number, group: number): void {
    const first = a3 >>> 8;
    if (length > 24) {
      const block = this.#blockOf(first);
      const at = (block << 8) | (a3 & 255);
      this.#setBlockCells(at, at + (1 << (32 - length)), length, ownerLength, group);
      return;
    }
    const owners = this.#owners;
    const index = this.#index;
    const end = first + (1 << (24 - length));
    for (let i = first; i < end; i++) {
      const owner = owners[i]!;
      if (owner <= length) {
        index[i] = group;
        owners[i] = ownerLength;
      } else if (owner === IN_BLOCK) {
        const at = this.#blockOf(i) << 8;
        this.#setBlockCells(at, at + 256, length, ownerLength, group);
      }
    }
  }

  #setBlockCells(from: number, to: number, length: number, ownerLength: number, group: number): void {
    for (let i = from; i < to; i++) {
      if (this.#blockOwners[i]! > length) continue;
      this.#cells[i] = group;
      this.#blockOwners[i] = ownerLength;
    }
  }

  /** The block of a /24; a new one starts with the /24's answer in all cells and is published when it is complete. */
  #blockOf(slash24: number): number {
    const cell = this.#index[slash24]!;
    if (this.#owners[slash24] === IN_BLOCK) return (cell & (this.#blockFlag - 1)) >>> 0;
    const block = this.#blocks++;
    const at = block << 8;
    if (at + 256 > this.#blockOwners.length) {
      const grown = new Uint8Array(this.#blockOwners.length * 2);
      grown.set(this.#blockOwners);
      this.#blockOwners = grown;
    }
    this.#cells.fill(cell, at, at + 256);
    this.#blockOwners.fill(this.#owners[slash24]!, at, at + 256);
    this.#owners[slash24] = IN_BLOCK;
    Atomics.store(this.#index, slash24, this.#blockFlag | block);
    return block;
  }
}
