/**
 * A hierarchical timing wheel in typed arrays: setting, moving and cancelling a timer cost a few stores and allocate
 * nothing. Timers are small integers handed out by `alloc`; what a number means is its owner's business.
 * A timer's level is the highest base-64 digit in which its deadline differs from the wheel's time, so every timer of a
 * lower level fires before any of a higher one, and time can jump over empty stretches.
 */

/** Told about due timers. May set, cancel, alloc and free timers of the same wheel. */
export interface TimerSink {
  timerFired(id: number): void;
}

const BITS = 6;
const SLOTS = 1 << BITS;
const LEVELS = 6; // 36 bits cover int32 milliseconds
const NONE = -1;

export class TimerWheel {
  #now: number;
  #next: Int32Array;
  #prev: Int32Array;
  #deadline: Int32Array;
  /** Slot a timer hangs in, NONE when it is not set. */
  #slot: Int32Array;
  readonly #head = new Int32Array(LEVELS * SLOTS).fill(NONE);
  /** Two words per level: which slots hold timers. */
  readonly #used = new Int32Array(LEVELS * 2);
  /** Free list through `#next`. */
  #free = NONE;

  /** @param nowMs int32 milliseconds, as in `Tick.ms`; @param capacity timers to start with, grows by doubling */
  constructor(nowMs: number, capacity = 64) {
    this.#now = nowMs | 0;
    this.#next = new Int32Array(0);
    this.#prev = new Int32Array(0);
    this.#deadline = new Int32Array(0);
    this.#slot = new Int32Array(0);
    this.#grow(capacity);
  }

  /** A new timer, not set. */
  alloc(): number {
    if (this.#free === NONE) this.#grow(this.#next.length * 2);
    const id = this.#free;
    this.#free = this.#next[id]!;
    this.#slot[id] = NONE;
    return id;
  }

  /** Give a timer back; it is cancelled first. */
  free(id: number): void {
    this.cancel(id);
    this.#next[id] = this.#free;
    this.#free = id;
  }

  /** Fire at `deadlineMs` (int32); a deadline that has passed fires in the next `advance`. Replaces an earlier setting. */
  set(id: number, deadlineMs: number): void {
    this.cancel(id);
    this.#deadline[id] = deadlineMs;
    this.#place(id);
  }

  cancel(id: number): void {
    const slot = this.#slot[id]!;
    if (slot === NONE) return;
    const next = this.#next[id]!;
    const prev = this.#prev[id]!;
    if (next !== NONE) this.#prev[next] = prev;
    if (prev !== NONE) this.#next[prev] = next;
    else {
      this.#head[slot] = next;
      if (next === NONE) this.#used[slot >> 5]! &= ~(1 << (slot & 31));
    }
    this.#slot[id] = NONE;
  }

  isSet(id: number): boolean {
    return this.#slot[id] !== NONE;
  }

  /** Move time to `nowMs` and fire what is due, in order of deadlines. */
  advance(nowMs: number, sink: TimerSink): void {
    for (;;) {
      const slot = this.#firstSlot();
      if (slot === NONE) break;
      const start = this.#slotStart(slot);
      if (((start - nowMs) | 0) > 0) break;
      if (((start - this.#now) | 0) > 0) this.#now = start;
      this.#empty(slot, sink);
    }
    if (((nowMs - this.#now) | 0) > 0) this.#now = nowMs | 0;
  }

  /**
   * Milliseconds from `nowMs` until `advance` has work; -1 when no timer is set. May be early, never late: timers far
   * away are only known by their slot.
   */
  untilNext(nowMs: number): number {
    const slot = this.#firstSlot();
    if (slot === NONE) return -1;
    const wait = (this.#slotStart(slot) - nowMs) | 0;
    return Math.max(wait, 0);
  }

  /** Fire or move down every timer that hangs in `slot` now. */
  #empty(slot: number, sink: TimerSink): void {
    // A timer set again by the sink for a time that has passed goes to the slot of the next millisecond: no endless loop.
    for (let id = this.#head[slot]!; id !== NONE; id = this.#head[slot]!) {
      this.cancel(id);
      if (((this.#deadline[id]! - this.#now) | 0) <= 0) sink.timerFired(id);
      else this.#place(id);
    }
  }

  #place(id: number): void {
    const now = this.#now;
    let deadline = this.#deadline[id]!;
    if (((deadline - now) | 0) <= 0) deadline = (now + 1) | 0;
    const differs = deadline ^ now;
    const level = ((31 - Math.clz32(differs)) / BITS) | 0;
    const slot = level * SLOTS + ((deadline >>> (level * BITS)) & (SLOTS - 1));
    const head = this.#head[slot]!;
    this.#next[id] = head;
    this.#prev[id] = NONE;
    if (head !== NONE) this.#prev[head] = id;
    this.#head[slot] = id;
    this.#slot[id] = slot;
    this.#used[slot >> 5]! |= 1 << (slot & 31);
  }

  /** The used slot whose time comes first, or NONE. */
  #firstSlot(): number {
    const used = this.#used;
    for (let level = 0; level < LEVELS; level++) {
      const low = used[level * 2]!;
      const high = used[level * 2 + 1]!;
      if ((low | high) === 0) continue;
      // All slots of a level lie after the current digit, except on the top level, where time wraps around.
      const digit = (this.#now >>> (level * BITS)) & (SLOTS - 1);
      const after = firstAfter(low, high, digit);
      return level * SLOTS + (after !== NONE ? after : firstAfter(low, high, NONE));
    }
    return NONE;
  }

  #slotStart(slot: number): number {
    const level = slot >> BITS;
    const shift = level * BITS;
    const above = shift + BITS >= 32 ? 0 : (this.#now >>> (shift + BITS)) << (shift + BITS);
    return above | ((slot & (SLOTS - 1)) << shift);
  }

  #grow(capacity: number): void {
    const old = this.#next.length;
    this.#next = enlarged(this.#next, capacity);
    this.#prev = enlarged(this.#prev, capacity);
    this.#deadline = enlarged(this.#deadline, capacity);
    this.#slot = enlarged(this.#slot, capacity);
    for (let id = capacity - 1; id >= old; id--) {
      this.#slot[id] = NONE;
      this.#next[id] = this.#free;
      this.#free = id;
    }
  }
}

/** Number of the first set bit above `digit` in the 64-bit set (low, high), or NONE. */
function firstAfter(low: number, high: number, digit: number): number {
  const l = digit >= 31 ? 0 : low & (-1 << (digit + 1));
  if (l !== 0) return 31 - Math.clz32(l & -l);
  const h = digit < 32 ? high : digit >= 63 ? 0 : high & (-1 << (digit - 31));
  if (h !== 0) return 63 - Math.clz32(h & -h);
  return NONE;
}

function enlarged(a: Int32Array, length: number): Int32Array {
  const b = new Int32Array(length);
  b.set(a);
  return b;
}
