/** Growing typed columns: a table is a set of arrays with one index. */

type Column = Int32Array | Uint32Array | Uint16Array | Int16Array | Uint8Array;

const FIRST = 64;
/** From so many cells on a column grows faster: memory that is not written to takes none, and less is copied. */
const MANY = 1 << 16;

/**
 * `column` itself when it holds index `at`, else a copy of at least double size, new cells set to `fill`.
 * @param turn 0..15: which of the columns of one table this is; a later one grows a little earlier, so that the columns of
 * a large table are never all copied in one turn of the event loop
 */
export function grown<T extends Column>(column: T, at: number, fill = 0, turn = 0): T {
  if (at + turn * (column.length >>> 6) < column.length) return column;
  const next = new (column.constructor as new (n: number) => T)(
    Math.max(FIRST, column.length * (column.length < MANY ? 2 : 4), at + 1),
  );
  next.set(column);
  if (fill !== 0) next.fill(fill, column.length);
  return next;
}
