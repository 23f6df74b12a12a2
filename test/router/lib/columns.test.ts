import { getHeapStatistics } from 'node:v8';
import test from 'ava';
import { emptyColumn, grown } from '../../../router/lib/columns.ts';

test('a column that has the index is returned as it is, another one is copied with room to spare', (t) => {
  const small = Int32Array.of(1, 2, 3);
  t.is(grown(small, 2), small);
  const more = grown(small, 3, -1);
  t.true(more.length > 4);
  t.deepEqual([...more.subarray(0, 5)], [1, 2, 3, -1, -1]);
});

test('columns of one table grow at different indices', (t) => {
  const column = new Uint16Array(1 << 12);
  t.is(grown(column, 4000, 0, 0), column);
  t.not(grown(column, 4000, 0, 3), column);
});

test('large columns are not counted as memory that collecting garbage would free', (t) => {
  const before = getHeapStatistics().external_memory;
  let column = new Int32Array(1000);
  while (column.length < 1 << 22) column = grown(column, column.length, 7);
  t.true(getHeapStatistics().external_memory - before < 1 << 20);
  t.is(column[column.length - 1], 7);
  t.true(emptyColumn(column, 1 << 16).buffer instanceof SharedArrayBuffer);
  t.true(emptyColumn(column, 16).buffer instanceof ArrayBuffer);
});
