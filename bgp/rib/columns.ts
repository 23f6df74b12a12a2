/** Growing typed columns: a table is a set of arrays with one index. */

type Column = Int32Array | Uint32Array | Uint16Array | Int16Array | Uint8Array;

/** `column` itself when it holds index `at`, else a copy of at least double size, new cells set to `fill`. */
export function grown<T extends Column>(column: T, at: number, fill = 0): T {
  if (at < column.length) return column;
  const size = Math.max(1024, column.length * 2, at + 1);
  const next = new (column.constructor as new (n: number) => T)(size);
  next.set(column);
  if (fill !== 0) next.fill(fill, column.length);
  return next;
}
