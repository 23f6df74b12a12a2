/**
 * Room for many short octet strings in a few large arrays. A place that is given back serves the next string of the same
 * size class. Does not remember sizes: the owner does.
 */

/** Octets of one array; no string crosses into another. */
const BLOCK_SHIFT = 20;
const BLOCK = 1 << BLOCK_SHIFT;
/** Strings take whole units, and places are counted in them. */
const UNIT_SHIFT = 3;
const UNIT = 1 << UNIT_SHIFT;

export class OctetArena {
  readonly #blocks: Uint8Array[] = [];
  /** Next unused octet. */
  #next = 0;
  /** Places given back, by size in units. */
  #free: number[][] = [];
  #used = 0;

  /** Octets in use. */
  get used(): number {
    return this.#used;
  }

  /** A place for `size` octets (at most 1 MiB). */
  take(size: number): number {
    const units = (size + UNIT - 1) >>> UNIT_SHIFT;
    this.#used += units << UNIT_SHIFT;
    const known = this.#free[units]?.pop();
    if (known !== undefined) return known;
    const room = units << UNIT_SHIFT;
    if ((this.#next & (BLOCK - 1)) + room > BLOCK || this.#next === this.#blocks.length * BLOCK) {
      this.#next = this.#blocks.length * BLOCK;
      this.#blocks.push(new Uint8Array(BLOCK));
    }
    const at = this.#next / UNIT;
    this.#next += room;
    return at;
  }

  give(place: number, size: number): void {
    const units = (size + UNIT - 1) >>> UNIT_SHIFT;
    this.#used -= units << UNIT_SHIFT;
    while (this.#free.length <= units) this.#free.push([]);
    this.#free[units]!.push(place);
    if (this.#used > 0) return;
    // Everything is free: begin anew without fragments.
    this.#blocks.length = Math.min(1, this.#blocks.length);
    this.#next = 0;
    this.#free = [];
  }

  /** The array a place lies in, and where. */
  block(place: number): Uint8Array {
    return this.#blocks[place >>> (BLOCK_SHIFT - UNIT_SHIFT)]!;
  }

  offset(place: number): number {
    return (place << UNIT_SHIFT) & (BLOCK - 1);
  }
}
