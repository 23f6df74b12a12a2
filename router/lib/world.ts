/**
 * The data plane's world: one shared memory that holds rings, buffer pages and scratch space, seen through one set of
 * typed arrays. In the daemon it is a shared WebAssembly.Memory over whose pages the addon maps the rings' memfds; in
 * tests and simulations it is the same kind of memory without any mapping. Addresses are octet offsets ("world offsets").
 */
import { type Copy, makeCopy } from './copy.ts';

const WASM_PAGE = 65536;

export class World {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  /** Copies inside the world; faster than `u8.copyWithin`. */
  readonly copy: Copy;
  #next: number;

  /**
   * @param source size in octets of a new world (rounded up to 64 KiB; untouched pages cost no memory), or the memory of an existing one
   * @param start where this view's `alloc` begins; octets before it belong to others. Offset 0 stays unused, so that 0 can mean "none"
   */
  constructor(source: number | WebAssembly.Memory, start = WASM_PAGE) {
    this.#next = start;
    if (typeof source === 'number') {
      const pages = Math.ceil(source / WASM_PAGE);
      this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } else {
      this.memory = source;
    }
    this.u8 = new Uint8Array(this.memory.buffer);
    this.i32 = new Int32Array(this.memory.buffer);
    this.copy = makeCopy(this.memory, this.u8);
  }

  get size(): number {
    return this.u8.length;
  }

  /**
   * Take `bytes` octets aligned to `align` (a power of two). There is no free: long-lived regions only.
   * @throws RangeError when the world is full (a start-up sizing fault, never a packet's)
   */
  alloc(bytes: number, align = 64): number {
    const at = Math.ceil(this.#next / align) * align;
    if (at + bytes > this.u8.length)
      throw new RangeError(`world of ${this.u8.length} octets has no room for ${bytes} more`);
    this.#next = at + bytes;
    return at;
  }
}

/** A bounded pool of equal pages inside a world: the only source of TCP and reassembly buffer memory. */
export class PagePool {
  readonly pageSize: number;
  readonly capacity: number;
  readonly #free: Int32Array;
  #count: number;

  /** @param pageSize octets, a power of two */
  constructor(world: World, pageSize: number, capacity: number) {
    const base = world.alloc(pageSize * capacity, WASM_PAGE);
    this.pageSize = pageSize;
    this.capacity = capacity;
    this.#free = new Int32Array(capacity);
    for (let i = 0; i < capacity; i++) this.#free[i] = base + (capacity - 1 - i) * pageSize;
    this.#count = capacity;
  }

  /** Pages not handed out. */
  get available(): number {
    return this.#count;
  }

  /** World offset of a page, or -1 when the pool is empty (the caller applies back-pressure or drops). */
  take(): number {
    return this.#count === 0 ? -1 : this.#free[--this.#count]!;
  }

  /** Return a page taken before. */
  give(at: number): void {
    this.#free[this.#count++] = at;
  }
}
