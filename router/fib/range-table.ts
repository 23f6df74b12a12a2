/**
 * Longest-prefix match as a table of disjoint ranges over a 64-bit key, for IPv6 and for IPv4 tables that are not large.
 *
 * `index` has one cell per value of the key's top bits: a *leaf* (negative: the answer for the whole bucket) or the
 * offset of a *chunk* in `cells`: the sorted starts of the bucket's ranges, each with its answer, found by binary search.
 * An IPv4 key is its word and a zero. IPv6 keys are the upper 64 bits of the address; an answer inside a chunk may be
 * *deep* (negative): the offset of a second chunk over the lower 64 bits, so prefixes of any length match.
 *
 * A bucket of many ranges is a tree of *nodes* (negative count) over chunks, all of at most LEAF_MAX entries, so that a
 * change copies little. Chunks and nodes are written once and never changed, so a reader can not see one half written: the writer
 * publishes new ones by one store into `index`. Space of replaced ones is regained by copying what lives into new arrays.
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
  const answer = searchTree(cells, cell, a0 ^ MIN, a1 ^ MIN);
  if (answer >= 0) return answer & GROUP_MASK;
  return searchTree(cells, answer & OFFSET_MASK, a2 ^ MIN, a3 ^ MIN) & GROUP_MASK;
}

/** The answer of the last range that starts at or before the key. A chunk is its count, then (high, low, answer) each. */
function searchTree(cells: Int32Array, root: number, high: number, low: number): number {
  let at = root;
  for (;;) {
    const count = cells[at]!;
    let n = count < 0 ? -count : count;
    let first = at + 1;
    while (n > 1) {
      const half = n >>> 1;
      const middle = first + half * 3;
      const h = cells[middle]!;
      if (h < high || (h === high && cells[middle + 1]! <= low)) first = middle;
      n -= half;
    }
    if (count >= 0) return cells[first + 2]!;
    at = cells[first + 2]!;
  }
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

  /** Append the ranges of a tree. */
  loadTree(cells: Int32Array, root: number): void {
    if (cells[root]! >= 0) this.load(cells, root);
    else for (let i = 0; i < -cells[root]!; i++) this.loadTree(cells, childAt(cells, root, i));
  }

  /** Append the ranges of a chunk. */
  load(cells: Int32Array, chunk: number): void {
    const end = chunk + CHUNK_HEADER + cells[chunk]! * RANGE_WORDS;
    for (let i = chunk + CHUNK_HEADER; i < end; i += RANGE_WORDS) this.emit(cells[i]!, cells[i + 1]!, cells[i + 2]!);
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
/** Most ranges of a chunk, and how many a chunk starts with when a longer list is cut. */
const LEAF_MAX = 16;
const LEAF_CUT = 12;
/** A chunk with fewer is merged with its neighbour when it changes. */
const LEAF_MIN = 4;
/** What copying a bucket without chunks costs, as part of a route in one; and words of chunks for each route. */
const LEAF_COST = 1 / 32;
const ROUTE_WORDS = 8;
/** Words of chunks beyond which a table is not compacted in one go. */
const LARGE = 1 << 16;
/** Least free words after `build` and compaction, which leave as many as the index has: it is copied each time. */
const SLACK = 1024;

/** One level of a change: the key range it covers (inclusive) within a tree whose keys end before `limit`. */
class Edit {
  readonly source = new RangeList();
  readonly result = new RangeList();
  firstHigh = 0;
  firstLow = 0;
  limitHigh = 0;
  limitLow = 0;
  startHigh = 0;
  startLow = 0;
  endHigh = 0;
  endLow = 0;

  /** The tree's first key and the key after its last, both with MIN added; the end of the key space wraps to MIN. */
  within(firstHigh: number, firstLow: number, limitHigh: number, limitLow: number): void {
    this.firstHigh = firstHigh;
    this.firstLow = firstLow;
    this.limitHigh = limitHigh;
    this.limitLow = limitLow;
  }

  /** Cover the keys that share all but their lowest `free` bits with (high, low). */
  cover(high: number, low: number, free: number): void {
    this.startHigh = high ^ MIN;
    this.startLow = low ^ MIN;
    this.endHigh = (high | lowMask(free - 32)) ^ MIN;
    this.endLow = (low | lowMask(free)) ^ MIN;
  }
}

export class RangeTable {
  readonly shift: number;
  #index: Int32Array<SharedArrayBuffer>;
  #cells: Int32Array<SharedArrayBuffer>;
  /** Next free word of `cells`; word 0 stays unused. */
  #next = 1;
  /** Words of chunks that are reachable. */
  #live = 0;
  readonly #upper = new Edit();
  readonly #lower = new Edit();

  /** An empty table. @param indexBits 1..24 @param words room for chunks to begin with */
  constructor(indexBits: number, words = SLACK) {
    this.shift = 32 - indexBits;
    this.#index = new Int32Array(new SharedArrayBuffer(4 << indexBits)).fill(MIN);
    this.#cells = new Int32Array(new SharedArrayBuffer(Math.max(words, SLACK, this.#index.length) * 4));
  }

  /** A large table of which most is unreachable by now: its owner had better make it anew, in slices. */
  get isWasteful(): boolean {
    return this.#next > LARGE && this.#next > 3 * this.#live;
  }

  /** Words of chunks that are reachable. */
  get liveWords(): number {
    return this.#live;
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
    // Copying what lives of a large table would hold the event loop too long; more room is one copy of memory.
    if (this.#cells.length - this.#next < this.#cells.length >>> 3) {
      if (this.#live < LARGE) this.#compact();
      else this.#resize(Math.max(this.#next + (this.#next >>> 1), 4 * this.#live));
    }
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
    const edit = this.#upper;
    edit.within((bucket << this.shift) ^ MIN, MIN, ((bucket + 1) << this.shift) ^ MIN, MIN);
    edit.cover(a0, a1, 64 - Math.max(Math.min(length, 64), 32 - this.shift));
    const cell = this.#index[bucket]!;
    const root = this.#edit(edit, cell < 0 ? -1 : cell, cell & OFFSET_MASK, a2, a3, length, answer);
    Atomics.store(this.#index, bucket, root < 0 ? MIN | edit.result.answers[0]! : root);
  }

  /** The answer of a range of upper keys inside the prefix, after the change. */
  #changed(was: number, a2: number, a3: number, length: number, answer: number): number {
    if (was >= 0 && length <= 64) return was >>> LENGTH_SHIFT <= length ? answer : was;
    const edit = this.#lower;
    edit.within(MIN, MIN, MIN, MIN);
    edit.cover(a2, a3, 128 - Math.max(length, 64));
    const root = this.#edit(edit, was < 0 ? was & OFFSET_MASK : -1, was, a2, a3, length, answer);
    if (root >= 0) return MIN | root;
    const left = edit.result.answers[0]!;
    // Only longer prefixes justify a tree of their own: withdrawing the last one leaves one range of a shorter owner.
    return left >>> LENGTH_SHIFT <= 64 ? left : MIN | this.#writeChunk(edit.result, 0, 1);
  }

  /**
   * Write a tree like the one at `root` (-1: a single range that answers `was`) with the change made.
   * @returns the new root, or -1 when one range is left: `edit.result.answers[0]`
   */
  #edit(edit: Edit, root: number, was: number, a2: number, a3: number, length: number, answer: number): number {
    const { source, result } = edit;
    if (root >= 0) {
      return this.#rooted(edit, this.#replace(edit, root, edit.limitHigh, edit.limitLow, a2, a3, length, answer));
    }
    source.count = 0;
    result.count = 0;
    source.emit(edit.firstHigh, edit.firstLow, was);
    this.#splice(edit, edit.limitHigh, edit.limitLow, a2, a3, length, answer);
    return result.count === 1 ? -1 : this.#writeTree(result);
  }

  /** One root over trees of equal height, or -1 when one range is left. */
  #rooted(edit: Edit, trees: readonly number[]): number {
    let row = trees;
    while (row.length > 1) row = this.#writeNodes(row);
    let root = row[0]!;
    // A node with one child is of no use.
    while (this.#cells[root] === -1) {
      this.#live -= CHUNK_HEADER + RANGE_WORDS;
      root = childAt(this.#cells, root, 0);
    }
    if (this.#cells[root] !== 1) return root;
    edit.result.answers[0] = childAt(this.#cells, root, 0);
    this.#live -= CHUNK_HEADER + RANGE_WORDS;
    return -1;
  }

  /** The trees, as high as the one at `root`, that take its place when the change is made; its keys end before the limit. */
  #replace(
    edit: Edit,
    root: number,
    limitHigh: number,
    limitLow: number,
    a2: number,
    a3: number,
    length: number,
    answer: number,
  ): number[] {
    const { source, result } = edit;
    const count = -this.#cells[root]!;
    if (count <= 0) {
      source.count = 0;
      result.count = 0;
      source.load(this.#cells, root);
      this.#splice(edit, limitHigh, limitLow, a2, a3, length, answer);
      this.#live -= CHUNK_HEADER - count * RANGE_WORDS;
      return this.#writeChunks(result);
    }
    const cells = this.#cells;
    const from = childOf(cells, root, edit.startHigh, edit.startLow);
    let to = childOf(cells, root, edit.endHigh, edit.endLow);
    const children: number[] = [];
    for (let i = 0; i < from; i++) children.push(childAt(cells, root, i));
    const endOf = (i: number, word: number): number => cells[root + CHUNK_HEADER + (i + 1) * RANGE_WORDS + word]!;
    const first = childAt(cells, root, from);
    const isThin = cells[first]! >= 0 && cells[first]! < LEAF_MIN && to + 1 < count;
    if (from === to && !isThin) {
      const isLast = to + 1 === count;
      const high = isLast ? limitHigh : endOf(to, 0);
      const low = isLast ? limitLow : endOf(to, 1);
      children.push(...this.#replace(edit, first, high, low, a2, a3, length, answer));
    } else {
      if (isThin) to = Math.max(to, from + 1);
      const isLast = to + 1 === count;
      source.count = 0;
      result.count = 0;
      for (let i = from; i <= to; i++) source.loadTree(cells, childAt(cells, root, i));
      const high = isLast ? limitHigh : endOf(to, 0);
      const low = isLast ? limitLow : endOf(to, 1);
      this.#splice(edit, high, low, a2, a3, length, answer);
      const height = heightOf(cells, first);
      for (let i = from; i <= to; i++) this.#dropNodes(childAt(cells, root, i));
      let row = this.#writeChunks(result);
      for (let h = 0; h < height; h++) row = this.#writeNodes(row);
      children.push(...row);
    }
    for (let i = to + 1; i < count; i++) children.push(childAt(cells, root, i));
    this.#live -= CHUNK_HEADER + count * RANGE_WORDS;
    return this.#writeNodes(children);
  }

  /** Copy `source` to `result` with the change made; the last range of `source` ends before the limit. */
  #splice(
    edit: Edit,
    limitHigh: number,
    limitLow: number,
    a2: number,
    a3: number,
    length: number,
    answer: number,
  ): void {
    const { source, result, startHigh, startLow, endHigh, endLow } = edit;
    const isLower = edit === this.#lower;
    const nextHigh = endLow === OFFSET_MASK ? (endHigh + 1) | 0 : endHigh;
    const nextLow = (endLow + 1) | 0;
    for (let i = 0; i < source.count; i++) {
      const high = source.high[i]!;
      const low = source.low[i]!;
      const was = source.answers[i]!;
      const isLast = i + 1 === source.count;
      const isBefore = !isLast && !isLess(startHigh, startLow, source.high[i + 1]!, source.low[i + 1]!);
      if (isBefore || isLess(endHigh, endLow, high, low)) {
        result.emit(high, low, was);
        continue;
      }
      const startsInside = isLess(high, low, startHigh, startLow);
      if (startsInside) result.emit(high, low, was);
      const isTaken = was >>> LENGTH_SHIFT <= length;
      const now = !isLower ? this.#changed(was, a2, a3, length, answer) : isTaken ? answer : was;
      if (startsInside) result.emit(startHigh, startLow, now);
      else result.emit(high, low, now);
      // What lies behind the prefix keeps its answer; the next range, if it starts there, replaces this one.
      const goesOn = isLast
        ? nextHigh !== limitHigh || nextLow !== limitLow
        : isLess(endHigh, endLow, source.high[i + 1]!, source.low[i + 1]!);
      if (goesOn) result.emit(nextHigh, nextLow, was);
    }
  }

  /** Write a list as one tree. */
  #writeTree(list: RangeList): number {
    let row = this.#writeChunks(list);
    while (row.length > 1) row = this.#writeNodes(row);
    return row[0]!;
  }

  #writeChunks(list: RangeList): number[] {
    if (list.count <= LEAF_MAX) return [this.#writeChunk(list, 0, list.count)];
    const chunks: number[] = [];
    for (let i = 0; i < list.count; i += LEAF_CUT) {
      chunks.push(this.#writeChunk(list, i, Math.min(i + LEAF_CUT, list.count)));
    }
    return chunks;
  }

  /** Nodes over trees of equal height, which follow each other. */
  #writeNodes(children: readonly number[]): number[] {
    const nodes: number[] = [];
    const step = children.length <= LEAF_MAX ? children.length : LEAF_CUT;
    for (let first = 0; first < children.length; first += step) {
      const n = Math.min(step, children.length - first);
      this.#makeRoom(CHUNK_HEADER + n * RANGE_WORDS);
      const cells = this.#cells;
      const node = this.#next;
      cells[node] = -n;
      let at = node + CHUNK_HEADER;
      for (let i = first; i < first + n; i++, at += RANGE_WORDS) {
        const child = children[i]!;
        cells[at] = cells[child + CHUNK_HEADER]!;
        cells[at + 1] = cells[child + CHUNK_HEADER + 1]!;
        cells[at + 2] = child;
      }
      this.#next = at;
      this.#live += at - node;
      nodes.push(node);
    }
    return nodes;
  }

  /** The chunks and nodes of a tree were written anew; what its answers lead to is still in use. */
  #dropNodes(root: number): void {
    const count = this.#cells[root]!;
    this.#live -= CHUNK_HEADER + Math.abs(count) * RANGE_WORDS;
    for (let i = 0; i < -count; i++) this.#dropNodes(childAt(this.#cells, root, i));
  }

  #writeChunk(list: RangeList, from: number, to: number): number {
    this.#makeRoom(CHUNK_HEADER + (to - from) * RANGE_WORDS);
    const at = this.#next;
    const cells = this.#cells;
    cells[at] = to - from;
    let next = at + CHUNK_HEADER;
    for (let i = from; i < to; i++) {
      cells[next] = list.high[i]!;
      cells[next + 1] = list.low[i]!;
      cells[next + 2] = list.answers[i]!;
      next += RANGE_WORDS;
    }
    this.#next = next;
    this.#live += next - at;
    return at;
  }

  /** Room in the middle of a change: larger arrays in which every offset stays what it is. */
  #makeRoom(words: number): void {
    const used = this.#next;
    if (used + words <= this.#cells.length) return;
    this.#resize(2 * (used + words));
  }

  /** New arrays with what is used; the old ones stay as they are for readers that still have them. */
  #resize(words: number): void {
    const cells = new Int32Array(new SharedArrayBuffer(words * 4));
    cells.set(this.#cells.subarray(0, this.#next));
    const index = new Int32Array(new SharedArrayBuffer(this.#index.byteLength));
    index.set(this.#index);
    this.#cells = cells;
    this.#index = index;
  }

  /** Between changes: new arrays with what is reachable, and as much room again. */
  #compact(): void {
    const from = this.#cells;
    const index = new Int32Array(new SharedArrayBuffer(this.#index.byteLength));
    index.set(this.#index);
    this.#index = index;
    const room = Math.max(SLACK, index.length);
    this.#cells = new Int32Array(new SharedArrayBuffer((2 * this.#live + room) * 4));
    this.#next = 1;
    this.#live = 0;
    for (let bucket = 0; bucket < index.length; bucket++) {
      const cell = index[bucket]!;
      if (cell >= 0) index[bucket] = this.#copyTree(from, cell);
    }
  }

  /**
   * Take over what another table of any index size answers, in slices: begin with unit 0 and go on with what is returned
   * until it is -1. Between the calls changes have to be made in both tables.
   * @param budget about how many routes' ranges are copied
   */
  copyFrom(from: RangeTable, unit: number, budget: number): number {
    const bits = 32 - this.shift;
    const fromBits = 32 - from.shift;
    const units = 1 << Math.min(bits, fromBits);
    let at = unit;
    for (let left = budget; at < units && left > 0; at++) {
      const before = this.#next;
      left -= LEAF_COST;
      if (bits === fromBits) {
        const cell = from.#index[at]!;
        this.#dropTree(this.#index[at]!);
        const copy = cell < 0 ? cell : this.#copyTree(from.#cells, cell);
        this.#index[at] = copy;
      } else left -= this.#copyUnit(from, at, units);
      left -= (this.#next - before) / ROUTE_WORDS;
    }
    return at < units ? at : -1;
  }

  /** Copy the buckets of both tables that hold the same keys; returns the cost of reading them. */
  #copyUnit(from: RangeTable, unit: number, units: number): number {
    const list = this.#upper.source;
    const perOld = from.#index.length / units;
    const perNew = this.#index.length / units;
    list.count = 0;
    for (let bucket = unit * perOld; bucket < (unit + 1) * perOld; bucket++) {
      const cell = from.#index[bucket]!;
      if (cell < 0) list.emit((bucket << from.shift) ^ MIN, MIN, cell & OFFSET_MASK);
      else list.loadTree(from.#cells, cell);
    }
    for (let i = 0; i < list.count; i++) {
      const answer = list.answers[i]!;
      if (answer < 0) list.answers[i] = MIN | this.#copyTree(from.#cells, answer & OFFSET_MASK);
    }
    for (let bucket = unit * perNew; bucket < (unit + 1) * perNew; bucket++) this.#dropTree(this.#index[bucket]!);
    this.#fillIndex(list, unit * perNew, (unit + 1) * perNew);
    return list.count / 2 + LEAF_COST * Math.max(perOld, perNew);
  }

  /** A bucket is written anew: what its chunks take is not reachable any more. */
  #dropTree(cell: number): void {
    if (cell < 0) return;
    const count = this.#cells[cell]!;
    this.#live -= CHUNK_HEADER + Math.abs(count) * RANGE_WORDS;
    for (let i = 0; i < Math.abs(count); i++) {
      const answer = childAt(this.#cells, cell, i);
      if (count < 0) this.#dropTree(answer);
      else if (answer < 0) this.#dropTree(answer & OFFSET_MASK);
    }
  }

  #copyTree(from: Int32Array, root: number): number {
    const isNode = from[root]! < 0;
    const words = CHUNK_HEADER + Math.abs(from[root]!) * RANGE_WORDS;
    this.#makeRoom(words);
    const at = this.#next;
    this.#cells.set(from.subarray(root, root + words), at);
    this.#next += words;
    this.#live += words;
    for (let i = at + CHUNK_HEADER + 2; i < at + words; i += RANGE_WORDS) {
      const answer = this.#cells[i]!;
      if (!isNode && answer >= 0) continue;
      const copy = this.#copyTree(from, answer & OFFSET_MASK); // may replace the array
      this.#cells[i] = isNode ? copy : MIN | copy;
    }
    return at;
  }

  /** A table of these prefixes, made in one sweep. */
  static build(indexBits: number, prefixes: SortedPrefixes): RangeTable {
    const table = new RangeTable(indexBits);
    const ranges = new RangeList();
    ranges.emit(MIN, MIN, 0);
    table.#sweep(prefixes, ranges);
    table.#fillIndex(ranges, 0, table.#index.length);
    table.#resize(table.#next + (table.#next >>> 1) + Math.max(SLACK, table.#index.length));
    return table;
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
    const out = this.#lower.result;
    out.count = 0;
    out.emit(MIN, MIN, base);
    const open = new OpenPrefixes(base);
    for (let i = from; i < to; i++) {
      open.closeBefore(p.a2[i]! ^ MIN, p.a3[i]! ^ MIN, out);
      const length = p.length[i]!;
      open.start(p.a2[i]!, p.a3[i]!, length - 64, 64, (length << LENGTH_SHIFT) | p.group[i]!, out);
    }
    open.closeAll(out);
    return this.#writeTree(out);
  }

  /** Fill buckets from a list whose first range begins with the first of them at the latest. */
  #fillIndex(ranges: RangeList, first: number, limit: number): void {
    const one = this.#upper.result;
    let r = 0; // the range that holds the bucket's first key
    for (let bucket = first; bucket < limit; bucket++) {
      const high = (bucket << this.shift) ^ MIN;
      const end = high | ((1 << this.shift) - 1) | 0;
      while (r + 1 < ranges.count && !isLess(high, MIN, ranges.high[r + 1]!, ranges.low[r + 1]!)) r++;
      one.count = 0;
      one.emit(high, MIN, ranges.answers[r]!);
      while (r + 1 < ranges.count && ranges.high[r + 1]! <= end) {
        r++;
        one.emit(ranges.high[r]!, ranges.low[r]!, ranges.answers[r]!);
      }
      const isLeaf = one.count === 1 && one.answers[0]! >= 0;
      const cell = isLeaf ? MIN | one.answers[0]! : this.#writeTree(one);
      this.#index[bucket] = cell; // writing a tree may have replaced the array
    }
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

/** Number of the node's child that holds a key. */
function childOf(cells: Int32Array, node: number, high: number, low: number): number {
  let first = 0;
  for (let n = -cells[node]!; n > 1; ) {
    const half = n >>> 1;
    const at = node + CHUNK_HEADER + (first + half) * RANGE_WORDS;
    if (!isLess(high, low, cells[at]!, cells[at + 1]!)) first += half;
    n -= half;
  }
  return first;
}

/** Levels of nodes above the chunks of a tree. */
function heightOf(cells: Int32Array, root: number): number {
  let height = 0;
  for (let at = root; cells[at]! < 0; at = childAt(cells, at, 0)) height++;
  return height;
}

function childAt(cells: Int32Array, node: number, i: number): number {
  return cells[node + CHUNK_HEADER + i * RANGE_WORDS + 2]!;
}

/** (h1, l1) < (h2, l2), all with MIN added. */
function isLess(h1: number, l1: number, h2: number, l2: number): boolean {
  return h1 < h2 || (h1 === h2 && l1 < l2);
}

/** A word whose lowest `bits` bits are set; 0 or fewer give 0, 32 or more all. */
function lowMask(bits: number): number {
  return bits <= 0 ? 0 : bits >= 32 ? -1 : (1 << bits) - 1;
}
