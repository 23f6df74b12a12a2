/** Growing typed columns: a table is a set of arrays with one index. */

type Column = Int32Array | Uint32Array | Uint16Array | Int16Array | Uint8Array;

const FIRST = 64;
/** From so many cells on a column grows faster: memory that is not written to takes none, and less is copied. */
const MANY = 1 << 16;
/** Cells it then has at least: the columns of a full table are not copied again. */
const RESERVED = 1 << 22;

/**
 * `column` itself when it holds index `at`, else a copy of at least double size, new cells set to `fill`.
 * @param turn 0..15: which of the columns of one table this is; a later one grows a little earlier, so that the columns of
 * a large table are never all copied in one turn of the event loop
 */
export function grown<T extends Column>(column: T, at: number, fill = 0, turn = 0): T {
  if (at + turn * (column.length >>> 6) < column.length) return column;
  const next = emptyColumn(column, Math.max(FIRST, moreThan(column.length), at + 1));
  next.set(column);
  if (fill !== 0) next.fill(fill, column.length);
  return next;
}

function moreThan(cells: number): number {
  return cells < MANY ? cells * 2 : Math.max(cells * 4, RESERVED);
}

/**
 * A column of zeros of the same type. A large one is shared memory, although nobody shares it: V8 counts other memory of arrays as if
 * it were heap, also what was never written to, and would mark all of a small heap again for every few columns that grow.
 */
export function emptyColumn<T extends Column>(like: T, length: number): T {
  const make = like.constructor as new (from: number | SharedArrayBuffer) => T;
  return length < MANY ? new make(length) : new make(new SharedArrayBuffer(length * like.BYTES_PER_ELEMENT));
}
