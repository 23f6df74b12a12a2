/**
 * A hash index over the rows of a table: it knows rows by their hashes, and the table compares keys.
 *
 * A bucket is a *line* of memory that holds its rows with their hashes, so that a search reads one line, whether it finds
 * something or not; a bucket with more rows has further lines. The index grows by linear hashing: a few buckets are split at
 * a time, in order, so that no insertion ever rehashes the table and splitting runs through memory. Lines stand in chunks,
 * which are never copied. A large table is slow by cache misses alone: `touch` has several of them at a time.
 */

/**
 * A line is as long as what a processor's cache moves at a time. Words: rows in it, number of the next line, then a hash
 * for each row, then the rows.
 */
const LINE_SHIFT = 4;
const LINE = 1 << LINE_SHIFT;
const NEXT = 1;
const HASHES = 2;
const SLOTS = (LINE - HASHES) / 2;
const ROWS = HASHES + SLOTS;
/** Rows for each bucket from which on buckets are split: those not split yet have twice as many as the others. */
const FILL = 4;
/** Lines of a chunk. */
const CHUNK_SHIFT = 12;
const CHUNK_MASK = (1 << CHUNK_SHIFT) - 1;
const FIRST_BUCKETS = 16;
/** Buckets split at a time. Divides FIRST_BUCKETS, so that they are split in one round. */
const OPENED = 16;

/** Lines by number. Those there are stay where they are. */
class Lines {
  readonly chunks: Int32Array[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#count * LINE * 4;
  }

  /** Have so many lines, all new ones empty. Memory nobody has written to is not there yet. */
  grow(count: number): void {
    if (count > this.chunks.length << CHUNK_SHIFT) this.chunks.push(new Int32Array(LINE << CHUNK_SHIFT));
    this.#count = count;
  }
}

export class HashIndex {
  /** The first line of each bucket, and further ones, known by their number + 1. */
  #first = new Lines();
  #further = new Lines();
  /** A line of `#further` that can be used again, and through NEXT the others; 0 = none. */
  #free = 0;
  #buckets = FIRST_BUCKETS;
  /** Buckets below this many have been split in the present round; `#mask` is for the next round. */
  #mask = FIRST_BUCKETS * 2 - 1;
  #size = 0;
  /** What `touch` has read, so that it has to read it. */
  #touched = 0;
  /** Where a search has come: the line, the slot, the slots in it that are to be looked at, and what is searched for. */
  #line!: Int32Array;
  #base = 0;
  #slot = 0;
  #found = 0;
  #wanted = 0;
  /** The line before it, undefined when it is the first of its bucket, and where that says so. */
  #before: Int32Array | undefined;
  #linkAt = 0;

  constructor() {
    this.#first.grow(FIRST_BUCKETS);
  }

  /** Rows held. */
  get size(): number {
    return this.#size;
  }

  /** Octets of memory in use. */
  get bytes(): number {
    return this.#first.bytes + this.#further.bytes;
  }

  /** The first row with this hash, -1 = none; then `next` until it says so. The index must not change meanwhile. */
  first(hash: number): number {
    const bucket = this.#bucket(hash);
    const line = this.#first.chunks[bucket >>> CHUNK_SHIFT]!;
    const base = (bucket & CHUNK_MASK) << LINE_SHIFT;
    const found = slotsWith(line, base, hash);
    // Most searches end here.
    if (found === 0 && line[base + NEXT] === 0) return -1;
    this.#line = line;
    this.#base = base;
    this.#before = undefined;
    this.#wanted = hash;
    this.#found = found;
    return this.next();
  }

  /** Another row with the hash asked for last. */
  next(): number {
    while (this.#found === 0) if (!this.#goOn()) return -1;
    this.#slot = 31 - Math.clz32(this.#found);
    this.#found ^= 1 << this.#slot;
    return this.#line[this.#base + ROWS + this.#slot]!;
  }

  /** To the next line of the bucket. */
  #goOn(): boolean {
    const next = this.#line[this.#base + NEXT]!;
    if (next === 0) return false;
    this.#before = this.#line;
    this.#linkAt = this.#base + NEXT;
    this.#line = this.#further.chunks[(next - 1) >>> CHUNK_SHIFT]!;
    this.#base = ((next - 1) & CHUNK_MASK) << LINE_SHIFT;
    this.#found = slotsWith(this.#line, this.#base, this.#wanted);
    return true;
  }

  /**
   * Bring into the processor's caches what `first` will read of a hash. Pays where it is called for many hashes before the
   * first of them is looked for: their cache misses then overlap, because no branch depends on what is read.
   */
  touch(hash: number): void {
    const bucket = this.#bucket(hash);
    this.#touched ^= this.#first.chunks[bucket >>> CHUNK_SHIFT]![(bucket & CHUNK_MASK) << LINE_SHIFT]!;
  }

  /** @param hash int32, well mixed */
  add(row: number, hash: number): void {
    if (++this.#size > this.#buckets * FILL) this.#split();
    this.#append(this.#bucket(hash), row, hash);
  }

  /** Take out a row that was added with this hash. */
  remove(row: number, hash: number): void {
    let found = this.first(hash);
    while (found !== row && found >= 0) found = this.next();
    if (found < 0) throw new RangeError(`no row ${row} with this hash`);
    const line = this.#line;
    const at = this.#base + this.#slot;
    // The last row of the bucket takes its place.
    while (this.#goOn()) {}
    const last = this.#line;
    const base = this.#base;
    const left = --last[base]!;
    line[at + HASHES] = last[base + HASHES + left]!;
    line[at + ROWS] = last[base + ROWS + left]!;
    if (left === 0 && this.#before !== undefined) {
      this.#giveLine(this.#before[this.#linkAt]!);
      this.#before[this.#linkAt] = 0;
    }
    if (--this.#size === 0) this.#reset();
  }

  /** Empty again: give the memory back. */
  #reset(): void {
    this.#first = new Lines();
    this.#further = new Lines();
    this.#first.grow(FIRST_BUCKETS);
    this.#free = 0;
    this.#buckets = FIRST_BUCKETS;
    this.#mask = FIRST_BUCKETS * 2 - 1;
  }

  #bucket(hash: number): number {
    const b = hash & this.#mask;
    return b < this.#buckets ? b : b & (this.#mask >>> 1);
  }

  /** Put a row into the last line of a bucket. */
  #append(bucket: number, row: number, hash: number): void {
    this.#line = this.#first.chunks[bucket >>> CHUNK_SHIFT]!;
    this.#base = (bucket & CHUNK_MASK) << LINE_SHIFT;
    while (this.#line[this.#base] === SLOTS) {
      if (this.#line[this.#base + NEXT] === 0) this.#line[this.#base + NEXT] = this.#takeLine();
      this.#goOn();
    }
    const at = this.#base + this.#line[this.#base]++;
    this.#line[at + HASHES] = hash;
    this.#line[at + ROWS] = row;
  }

  /** An empty line that belongs to no bucket; its number + 1. */
  #takeLine(): number {
    const number = this.#free;
    if (number === 0) {
      const { count } = this.#further;
      this.#further.grow(count + 1);
      return count + 1;
    }
    const chunk = this.#further.chunks[(number - 1) >>> CHUNK_SHIFT]!;
    const base = ((number - 1) & CHUNK_MASK) << LINE_SHIFT;
    this.#free = chunk[base + NEXT]!;
    chunk[base + NEXT] = 0;
    return number;
  }

  #giveLine(number: number): void {
    const chunk = this.#further.chunks[(number - 1) >>> CHUNK_SHIFT]!;
    const base = ((number - 1) & CHUNK_MASK) << LINE_SHIFT;
    chunk[base] = 0;
    chunk[base + NEXT] = this.#free;
    this.#free = number;
  }

  /** Open a few more buckets and move to them what belongs there. */
  #split(): void {
    const end = this.#buckets + OPENED;
    this.#first.grow(end);
    for (let opened = this.#buckets; opened < end; opened++) this.#splitInto(opened);
    this.#buckets = end;
    if (end > this.#mask) this.#mask = this.#mask * 2 + 1;
  }

  #splitInto(opened: number): void {
    const mask = this.#mask;
    const from = opened & (mask >>> 1);
    const line = this.#first.chunks[from >>> CHUNK_SHIFT]!;
    const base = (from & CHUNK_MASK) << LINE_SHIFT;
    let kept = 0;
    const count = line[base]!;
    for (let i = 0; i < count; i++) {
      const hash = line[base + HASHES + i]!;
      const row = line[base + ROWS + i]!;
      if ((hash & mask) === opened) this.#append(opened, row, hash);
      else {
        line[base + HASHES + kept] = hash;
        line[base + ROWS + kept++] = row;
      }
    }
    line[base] = kept;
    let next = line[base + NEXT]!;
    line[base + NEXT] = 0;
    while (next !== 0) next = this.#spread(next, from, opened);
  }

  /** Move the rows of a further line to the two buckets they belong to, and free it; returns the one that came after it. */
  #spread(number: number, from: number, opened: number): number {
    const line = this.#further.chunks[(number - 1) >>> CHUNK_SHIFT]!;
    const base = ((number - 1) & CHUNK_MASK) << LINE_SHIFT;
    const next = line[base + NEXT]!;
    const count = line[base]!;
    for (let i = 0; i < count; i++) {
      const hash = line[base + HASHES + i]!;
      this.#append((hash & this.#mask) === opened ? opened : from, line[base + ROWS + i]!, hash);
    }
    this.#giveLine(number);
    return next;
  }
}

/** The slots of a line with this hash, as bits. Without a branch: which slot it is cannot be predicted. */
function slotsWith(line: Int32Array, base: number, hash: number): number {
  const others =
    differs(line[base + HASHES]!, hash) |
    (differs(line[base + HASHES + 1]!, hash) << 1) |
    (differs(line[base + HASHES + 2]!, hash) << 2) |
    (differs(line[base + HASHES + 3]!, hash) << 3) |
    (differs(line[base + HASHES + 4]!, hash) << 4) |
    (differs(line[base + HASHES + 5]!, hash) << 5) |
    (differs(line[base + HASHES + 6]!, hash) << 6);
  return ~others & ((1 << line[base]!) - 1);
}

/** 1 for different numbers, 0 for equal ones. */
function differs(a: number, b: number): number {
  const x = a ^ b;
  return (x | -x) >>> 31;
}
