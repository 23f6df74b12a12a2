/**
 * Longest-prefix match as a table of disjoint ranges over a 64-bit key, for IPv6 and for IPv4 tables that are not large.
 *
 * `index` has one cell per value of the key's top bits: a *leaf* (negative: the answer for the whole bucket) or the
 * offset of a *chunk* in `cells`: the sorted starts of the bucket's ranges, each with its answer, found by binary search.
 * An IPv4 key is its word and a zero. IPv6 keys are the upper 64 bits of the address; an answer inside a chunk may be
 * *deep* (negative): the offset of a second chunk over the lower 64 bits, so prefixes of any length match.
 *
 * Chunks are written once and never changed, so a reader can not see one half written: the writer publishes a new chunk
 * by one store into `index`. Space of replaced chunks is regained by copying what lives into a new array (`rebuild`).
 *
 * An answer is `length << 23 | group`: the length of the prefix that owns the range, kept here because it makes updates
 * local: a prefix of length L takes over exactly those ranges inside it that are owned by lengths <= L.
 */

const MIN = 0x80000000 | 0; // added to key words, so that int32 comparison orders them as unsigned numbers

/** Group part of an answer. */
export const GROUP_MASK = 0x7fffff;
export const LENGTH_SHIFT = 23;
/** Clears the sign that marks a leaf in `index` or a deep answer in a chunk. */
const OFFSET_MASK = 0x7fffffff;

/** Group for a key, see the head of this file for the layout. */
export function lookupRanges(
  index: Int32Array,
  cells: Int32Array,
  shift: number,
  a0: number,
  a1: number,
  a2: number,
  a3: number,
): number {
  const cell = index[a0 >>> shift]!;
  if (cell < 0) return cell & GROUP_MASK;
  const answer = searchChunk(cells, cell, a0 ^ MIN, a1 ^ MIN);
  if (answer >= 0) return answer & GROUP_MASK;
  return searchChunk(cells, answer & OFFSET_MASK, a2 ^ MIN, a3 ^ MIN) & GROUP_MASK;
}

/** The answer of the last range that starts at or before the key. A chunk is its count, then (high, low, answer) each. */
function searchChunk(cells: Int32Array, at: number, high: number, low: number): number {
  let n = cells[at]!;
  let first = at + 1;
  while (n > 1) {
    const half = n >>> 1;
    const middle = first + half * 3;
    const h = cells[middle]!;
    if (h < high || (h === high && cells[middle + 1]! <= low)) first = middle;
    n -= half;
  }
  return cells[first + 2]!;
}

/** Ranges being put together, key words with MIN added; equal answers of neighbours are merged. */
class RangeList {
  high = new Int32Array(64);
  low = new Int32Array(64);
  answers = new Int32Array(64);
  count = 0;

  /** Append a range; one that starts where the last one does replaces it. Starts must not decrease. */
  emit(high: number, low: number, answer: number): void {
    let n = this.count;
    if (n > 0 && this.high[n - 1] === high && this.low[n - 1] === low) n--;
    if (n > 0 && this.answers[n - 1] === answer) {
      this.count = n;
      return;
    }
    if (n === this.high.length) this.#grow();
    this.high[n] = high;
    this.low[n] = low;
    this.answers[n] = answer;
    this.count = n + 1;
  }

  #grow(): void {
    const grown = (a: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const b = new Int32Array(a.length * 2);
      b.set(a);
      return b;
    };
    this.high = grown(this.high);
    this.low = grown(this.low);
    this.answers = grown(this.answers);
  }
}

/** Sorted input of `RangeTable.build`: prefixes ascending by address, shorter ones first. */
export interface SortedPrefixes {
  readonly count: number;
  readonly a0: Int32Array;
  readonly a1: Int32Array;
  readonly a2: Int32Array;
  readonly a3: Int32Array;
  readonly length: Uint8Array;
  readonly group: Int32Array;
}

const CHUNK_HEADER = 1;
const RANGE_WORDS = 3;
/** Least free words after `build` and compaction. */
const SLACK = 1024;

export class RangeTable {
  readonly shift: number;
  #index: Int32Array<SharedArrayBuffer>;
  #cells: Int32Array<SharedArrayBuffer>;
  /** Next free word of `cells`; word 0 stays unused. */
  #next = 1;
  /** Words of chunks that are reachable. */
  #live = 0;
  readonly #outer = new RangeList();
  readonly #inner = new RangeList();

  /** An empty table. @param indexBits 1..24 */
  constructor(indexBits: number) {
    this.shift = 32 - indexBits;
    this.#index = new Int32Array(new SharedArrayBuffer(4 << indexBits)).fill(MIN);
    this.#cells = new Int32Array(new SharedArrayBuffer(SLACK * 4));
  }

  get indexMemory(): SharedArrayBuffer {
    return this.#index.buffer;
  }

  /** Changes, together with `indexMemory`, when a change needed more room: readers then need a new bundle. */
  get cellMemory(): SharedArrayBuffer {
    return this.#cells.buffer;
  }

  /** Octets of shared memory in use. */
  get sharedBytes(): number {
    return this.#index.byteLength + this.#next * 4;
  }

  /**
   * Give the part of a prefix that no longer prefix owns to `group`, owned from now on by `ownerLength` bits: `length`
   * itself for an announcement, the covering prefix's length (and group) for a withdrawal.
   */
  set(a0: number, a1: number, a2: number, a3: number, length: number, ownerLength: number, group: number): void {
    const answer = (ownerLength << LENGTH_SHIFT) | group;
    const bits = 32 - this.shift;
    const first = a0 >>> this.shift;
    if (length > bits) {
      this.#setInBucket(first, a0, a1, a2, a3, length, answer);
      return;
    }
    const end = first + (1 << (bits - length));
    for (let bucket = first; bucket < end; bucket++) {
      const cell = this.#index[bucket]!;
      if (cell >= 0) this.#setInBucket(bucket, bucket << this.shift, 0, 0, 0, length, answer);
      else if ((cell & OFFSET_MASK) >>> LENGTH_SHIFT <= length) this.#index[bucket] = MIN | answer;
    }
  }

  /** The same for the part of the prefix inside one bucket; (a0, a1) is that part's first key. */
  #setInBucket(bucket: number, a0: number, a1: number, a2: number, a3: number, length: number, answer: number): void {
    this.#reserve(this.#wordsToEdit(this.#index[bucket]!));
    const old = this.#index[bucket]!;
    const bucketEnd = ((bucket << this.shift) | ((1 << this.shift) - 1)) ^ MIN;
    const free = 64 - Math.max(Math.min(length, 64), 32 - this.shift); // bits below the part
    const endHigh = (a0 | lowMask(free - 32)) ^ MIN;
    const endLow = (a1 | lowMask(free)) ^ MIN;
    const startHigh = a0 ^ MIN;
    const startLow = a1 ^ MIN;
    const endsBucket = endHigh === bucketEnd && endLow === OFFSET_MASK;
    const out = this.#outer;
    out.count = 0;
    const n = old < 0 ? 1 : this.#cells[old]!;
    for (let i = 0; i < n; i++) {
      const cells = this.#cells;
      const at = old + CHUNK_HEADER + i * RANGE_WORDS;
      const high = old < 0 ? (bucket << this.shift) ^ MIN : cells[at]!;
      const low = old < 0 ? MIN : cells[at + 1]!;
      const was = old < 0 ? old & OFFSET_MASK : cells[at + 2]!;
      const isLast = i === n - 1;
      const isBefore = !isLast && !isLess(startHigh, startLow, cells[at + 3]!, cells[at + 4]!);
      if (isBefore || isLess(endHigh, endLow, high, low)) {
        out.emit(high, low, was);
        continue;
      }
      const startsInside = isLess(high, low, startHigh, startLow);
      if (startsInside) out.emit(high, low, was);
      const now = this.#changed(was, a2, a3, length, answer);
      if (startsInside) out.emit(startHigh, startLow, now);
      else out.emit(high, low, now);
      // What lies behind the prefix keeps its answer; the next range, if it starts there, replaces this one.
      if (!endsBucket && (isLast || isLess(endHigh, endLow, cells[at + 3]!, cells[at + 4]!))) {
        const carry = endLow === OFFSET_MASK;
        out.emit(carry ? (endHigh + 1) | 0 : endHigh, (endLow + 1) | 0, was);
      }
    }
    const single = out.count === 1;
    Atomics.store(this.#index, bucket, single ? MIN | out.answers[0]! : this.#writeChunk(out));
    if (old >= 0) this.#live -= CHUNK_HEADER + n * RANGE_WORDS;
  }

  /** The answer of a range inside the prefix after the change. */
  #changed(was: number, a2: number, a3: number, length: number, answer: number): number {
    if (was >= 0 && length <= 64) return was >>> LENGTH_SHIFT <= length ? answer : was;
    const out = this.#inner;
    out.count = 0;
    const free = 128 - Math.max(length, 64);
    const startHigh = a2 ^ MIN;
    const startLow = a3 ^ MIN;
    const endHigh = (a2 | lowMask(free - 32)) ^ MIN;
    const endLow = (a3 | lowMask(free)) ^ MIN;
    const endsAll = endHigh === OFFSET_MASK && endLow === OFFSET_MASK;
    const cells = this.#cells;
    const chunk = was & OFFSET_MASK;
    const n = was >= 0 ? 1 : cells[chunk]!;
    for (let i = 0; i < n; i++) {
      const at = chunk + CHUNK_HEADER + i * RANGE_WORDS;
      const high = was >= 0 ? MIN : cells[at]!;
      const low = was >= 0 ? MIN : cells[at + 1]!;
      const old = was >= 0 ? was : cells[at + 2]!;
      const isLast = i === n - 1;
      const isBefore = !isLast && !isLess(startHigh, startLow, cells[at + 3]!, cells[at + 4]!);
      if (isBefore || isLess(endHigh, endLow, high, low)) {
        out.emit(high, low, old);
        continue;
      }
      const now = old >>> LENGTH_SHIFT <= length ? answer : old;
      const startsInside = isLess(high, low, startHigh, startLow);
      if (startsInside) out.emit(high, low, old);
      if (startsInside) out.emit(startHigh, startLow, now);
      else out.emit(high, low, now);
      if (!endsAll && (isLast || isLess(endHigh, endLow, cells[at + 3]!, cells[at + 4]!))) {
        const carry = endLow === OFFSET_MASK;
        out.emit(carry ? (endHigh + 1) | 0 : endHigh, (endLow + 1) | 0, old);
      }
    }
    if (was < 0) this.#live -= CHUNK_HEADER + n * RANGE_WORDS;
    // Only longer prefixes justify a chunk of their own: the last one withdrawn leaves one range.
    return out.count === 1 && out.answers[0]! >>> LENGTH_SHIFT <= 64 ? out.answers[0]! : MIN | this.#writeChunk(out);
  }

  /** Upper bound of the words an edit of this bucket writes. */
  #wordsToEdit(cell: number): number {
    const oneChunk = (n: number): number => CHUNK_HEADER + (n + 2) * RANGE_WORDS;
    if (cell < 0) return 2 * oneChunk(1);
    const n = this.#cells[cell]!;
    let words = oneChunk(n) + oneChunk(1);
    for (let i = 0; i < n; i++) {
      const answer = this.#cells[cell + CHUNK_HEADER + i * RANGE_WORDS + 2]!;
      if (answer < 0) words += oneChunk(this.#cells[answer & OFFSET_MASK]!);
    }
    return words;
  }

  #writeChunk(list: RangeList): number {
    const at = this.#next;
    const cells = this.#cells;
    cells[at] = list.count;
    let to = at + CHUNK_HEADER;
    for (let i = 0; i < list.count; i++) {
      cells[to] = list.high[i]!;
      cells[to + 1] = list.low[i]!;
      cells[to + 2] = list.answers[i]!;
      to += RANGE_WORDS;
    }
    this.#next = to;
    this.#live += to - at;
    return at;
  }

  /** Make sure that `words` more can be written: copy what lives into new arrays, twice as large, when they can not. */
  #reserve(words: number): void {
    if (this.#next + words <= this.#cells.length) return;
    const from = this.#cells;
    const index = new Int32Array(new SharedArrayBuffer(this.#index.byteLength));
    index.set(this.#index);
    this.#index = index;
    this.#cells = new Int32Array(new SharedArrayBuffer((2 * this.#live + words + SLACK) * 4));
    this.#next = 1;
    this.#live = 0;
    for (let bucket = 0; bucket < index.length; bucket++) {
      const cell = index[bucket]!;
      if (cell >= 0) index[bucket] = this.#copyChunk(from, cell);
    }
  }

  #copyChunk(from: Int32Array, chunk: number): number {
    const words = CHUNK_HEADER + from[chunk]! * RANGE_WORDS;
    const at = this.#next;
    this.#cells.set(from.subarray(chunk, chunk + words), at);
    this.#next += words;
    this.#live += words;
    for (let i = at + CHUNK_HEADER + 2; i < at + words; i += RANGE_WORDS) {
      const answer = this.#cells[i]!;
      if (answer < 0) this.#cells[i] = MIN | this.#copyChunk(from, answer & OFFSET_MASK);
    }
    return at;
  }

  /** A table of these prefixes, made in one sweep. */
  static build(indexBits: number, prefixes: SortedPrefixes): RangeTable {
    const table = new RangeTable(indexBits);
    // At most 16 words per prefix (alone below a /64: a chunk of three ranges and two ranges around it), 4 per bucket.
    table.#cells = new Int32Array(
      new SharedArrayBuffer((prefixes.count * 18 + (5 << indexBits) + SLACK) * 4),
    );
    const ranges = new RangeList();
    ranges.emit(MIN, MIN, 0);
    table.#sweep(prefixes, ranges);
    table.#fillIndex(ranges);
    return table.#trimmed();
  }

  /** Disjoint ranges of all prefixes over the upper 64 bits; longer prefixes go to chunks of their own. */
  #sweep(p: SortedPrefixes, out: RangeList): void {
    const open = new OpenPrefixes();
    for (let i = 0; i < p.count; i++) {
      const a0 = p.a0[i]!;
      const a1 = p.a1[i]!;
      const length = p.length[i]!;
      open.closeBefore(a0 ^ MIN, a1 ^ MIN, out);
      if (length <= 64) {
        open.start(a0, a1, length, 64, (length << LENGTH_SHIFT) | p.group[i]!, out);
        continue;
      }
      const base = open.answer;
      const first = i;
      while (i + 1 < p.count && p.a0[i + 1] === a0 && p.a1[i + 1] === a1) i++;
      // A /64 is as long as a prefix that `start` knows: the deep answer ends where it ends.
      open.start(a0, a1, 64, 64, MIN | this.#deepChunk(p, first, i + 1, base), out);
    }
    open.closeAll(out);
  }

  #deepChunk(p: SortedPrefixes, from: number, to: number, base: number): number {
    const out = this.#inner;
    out.count = 0;
    out.emit(MIN, MIN, base);
    const open = new OpenPrefixes(base);
    for (let i = from; i < to; i++) {
      open.closeBefore(p.a2[i]! ^ MIN, p.a3[i]! ^ MIN, out);
      const length = p.length[i]!;
      open.start(p.a2[i]!, p.a3[i]!, length - 64, 64, (length << LENGTH_SHIFT) | p.group[i]!, out);
    }
    open.closeAll(out);
    return this.#writeChunk(out);
  }

  #fillIndex(ranges: RangeList): void {
    const one = this.#outer;
    let r = 0; // the range that holds the bucket's first key
    for (let bucket = 0; bucket < this.#index.length; bucket++) {
      const high = (bucket << this.shift) ^ MIN;
      const end = high | ((1 << this.shift) - 1) | 0;
      while (r + 1 < ranges.count && !isLess(high, MIN, ranges.high[r + 1]!, ranges.low[r + 1]!)) r++;
      one.count = 0;
      one.emit(high, MIN, ranges.answers[r]!);
      while (r + 1 < ranges.count && ranges.high[r + 1]! <= end) {
        r++;
        one.emit(ranges.high[r]!, ranges.low[r]!, ranges.answers[r]!);
      }
      this.#index[bucket] = one.count === 1 && one.answers[0]! >= 0 ? MIN | one.answers[0]! : this.#writeChunk(one);
    }
  }

  /** Cut the room of `build`'s upper bound down to use plus slack. */
  #trimmed(): this {
    const cells = new Int32Array(new SharedArrayBuffer((this.#next + (this.#next >>> 1) + SLACK) * 4));
    cells.set(this.#cells.subarray(0, this.#next));
    this.#cells = cells;
    return this;
  }
}

/** The prefixes a sweep is inside of, outermost first. */
class OpenPrefixes {
  readonly #endHigh: number[] = [];
  readonly #endLow: number[] = [];
  readonly #answers: number[];

  /** @param base the answer outside of all prefixes */
  constructor(base = 0) {
    this.#answers = [base];
  }

  get answer(): number {
    return this.#answers[this.#answers.length - 1]!;
  }

  start(high: number, low: number, length: number, width: number, answer: number, out: RangeList): void {
    this.#endHigh.push((high | lowMask(width - length - 32)) ^ MIN);
    this.#endLow.push((low | lowMask(width - length)) ^ MIN);
    this.#answers.push(answer);
    out.emit(high ^ MIN, low ^ MIN, answer);
  }

  /** Close the prefixes that end before this key. */
  closeBefore(high: number, low: number, out: RangeList): void {
    for (let n = this.#endHigh.length; n > 0; n--) {
      if (!isLess(this.#endHigh[n - 1]!, this.#endLow[n - 1]!, high, low)) return;
      this.#close(out);
    }
  }

  closeAll(out: RangeList): void {
    while (this.#endHigh.length > 0) this.#close(out);
  }

  #close(out: RangeList): void {
    const high = this.#endHigh.pop()!;
    const low = this.#endLow.pop()!;
    this.#answers.pop();
    const carry = low === OFFSET_MASK;
    if (carry && high === OFFSET_MASK) return; // the end of the key space
    out.emit(carry ? (high + 1) | 0 : high, (low + 1) | 0, this.answer);
  }
}

/** (h1, l1) < (h2, l2), all with MIN added. */
function isLess(h1: number, l1: number, h2: number, l2: number): boolean {
  return h1 < h2 || (h1 === h2 && l1 < l2);
}

/** A word whose lowest `bits` bits are set; 0 or fewer give 0, 32 or more all. */
function lowMask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : (1 << bits) - 1;
}
