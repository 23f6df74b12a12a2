/**
 * A byte stream's window in pages of a shared pool, addressed by stream position (int32, wraps like a TCP sequence
 * number). Pages appear when a position is written and go back to the pool when the window's start passes them, so an
 * idle stream owns no page. Positions may be filled out of order; which of them hold octets is the owner's knowledge.
 */
import type { Copy } from './copy.ts';
import type { PagePool, World } from './world.ts';

const NO_PAGE = 0;

export class PagedBuffer {
  readonly #copy: Copy;
  readonly #pool: PagePool;
  readonly #pageSize: number;
  readonly #shift: number;
  /** World offset per page number modulo length (a power of two), NO_PAGE where none is held. */
  #pages = new Int32Array(2);
  #held = 0;
  #start = 0;
  /** World offset of the octet asked for by `writable` or `readable`. */
  spanAt = 0;

  constructor(world: World, pool: PagePool) {
    this.#copy = world.copy;
    this.#pool = pool;
    this.#pageSize = pool.pageSize;
    this.#shift = 31 - Math.clz32(pool.pageSize);
  }

  /** First position of the window. */
  get start(): number {
    return this.#start;
  }

  /** Pages taken from the pool. */
  get pagesHeld(): number {
    return this.#held;
  }

  /** Give all pages back and begin a new window at `position`. */
  reset(position: number): void {
    if (this.#held > 0) {
      const pages = this.#pages;
      for (let i = 0; i < pages.length; i++) {
        if (pages[i] !== NO_PAGE) {
          this.#pool.give(pages[i]!);
          pages[i] = NO_PAGE;
        }
      }
      this.#held = 0;
    }
    this.#start = position | 0;
  }

  /** Move the window's start forward to `position`; pages that end at or before it go back to the pool. */
  release(position: number): void {
    const pages = this.#pages;
    const mask = pages.length - 1;
    const last = position >>> this.#shift;
    let n = this.#start >>> this.#shift;
    const pageCount = -1 >>> this.#shift;
    while (n !== last && this.#held > 0) {
      const i = n & mask;
      if (pages[i] !== NO_PAGE) {
        this.#pool.give(pages[i]!);
        pages[i] = NO_PAGE;
        this.#held--;
      }
      n = (n + 1) & pageCount;
    }
    this.#start = position | 0;
  }

  /**
   * Contiguous room from `position`, which must not lie before the start: sets `spanAt`.
   * @returns octets, at most `max`; 0 when the pool is empty
   */
  writable(position: number, max: number): number {
    const number = position >>> this.#shift;
    const inPage = position & (this.#pageSize - 1);
    if ((((position - this.#start) | 0) >>> this.#shift) + 1 >= this.#pages.length) this.#grow(position);
    const i = number & (this.#pages.length - 1);
    let page = this.#pages[i]!;
    if (page === NO_PAGE) {
      page = this.#pool.take();
      if (page < 0) return 0;
      this.#pages[i] = page;
      this.#held++;
    }
    this.spanAt = page + inPage;
    const room = this.#pageSize - inPage;
    return Math.min(room, max);
  }

  /** Contiguous octets from `position`, which were written before: sets `spanAt`. @returns octets, at most `max` */
  readable(position: number, max: number): number {
    const inPage = position & (this.#pageSize - 1);
    this.spanAt = this.#pages[(position >>> this.#shift) & (this.#pages.length - 1)]! + inPage;
    const room = this.#pageSize - inPage;
    return Math.min(room, max);
  }

  /** Copy `length` octets at world offset `from` to `position`. @returns octets copied, fewer when the pool is empty */
  write(position: number, from: number, length: number): number {
    let done = 0;
    while (done < length) {
      const n = this.writable((position + done) | 0, length - done);
      if (n === 0) break;
      this.#copy(this.spanAt, from + done, n);
      done += n;
    }
    return done;
  }

  /** Copy `length` octets written before at `position` to world offset `to`. */
  read(position: number, to: number, length: number): void {
    let done = 0;
    while (done < length) {
      const n = this.readable((position + done) | 0, length - done);
      this.#copy(to + done, this.spanAt, n);
      done += n;
    }
  }

  /** Enlarge the page table until the window from start to `position` fits. */
  #grow(position: number): void {
    const old = this.#pages;
    const needed = (((position - this.#start) | 0) >>> this.#shift) + 2;
    let length = old.length;
    while (length < needed) length *= 2;
    const pages = new Int32Array(length);
    const first = this.#start >>> this.#shift;
    for (let k = 0; k < old.length; k++) pages[(first + k) & (length - 1)] = old[(first + k) & (old.length - 1)]!;
    this.#pages = pages;
  }
}
