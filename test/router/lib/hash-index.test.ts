import test from 'ava';
import fc from 'fast-check';
import { HashIndex } from '../../../router/lib/hash-index.ts';

function found(index: HashIndex, hash: number): number[] {
  const rows: number[] = [];
  for (let r = index.first(hash); r >= 0; r = index.after(r)) if (index.hashOf(r) === hash) rows.push(r);
  return rows.sort((a, b) => a - b);
}

/** Rows that come and go in an index and in a map. */
function holds(steps: readonly (readonly [number, boolean])[], rows: number, hashOf: (row: number) => number): boolean {
  const index = new HashIndex();
  const model = new Set<number>();
  for (const [row, isAdd] of steps) {
    if (isAdd === model.has(row)) continue;
    if (isAdd) model.add(row);
    else model.delete(row);
    if (isAdd) index.add(row, hashOf(row));
    else index.remove(row);
  }
  if (index.size !== model.size) return false;
  const byHash = new Map<number, number[]>();
  for (let row = 0; row <= rows; row++) {
    const known = byHash.get(hashOf(row)) ?? [];
    byHash.set(hashOf(row), model.has(row) ? [...known, row] : known);
  }
  return [...byHash].every(([hash, expected]) => found(index, hash).join() === expected.join());
}

const stepsOf = (rows: number) => fc.array(fc.tuple(fc.nat(rows), fc.boolean()), { maxLength: 4000, size: 'max' });

test('every row is found by its hash and no other, whatever comes and goes', (t) => {
  const pairs = (row: number): number => Math.imul(row >> 1, 0x9e3779b1) ^ (row >> 1);
  const property = fc.property(stepsOf(3000), (steps) => holds(steps, 3000, pairs));
  t.notThrows(() => fc.assert(property, { seed: 1, numRuns: 30 }));
});

test('the same where buckets are crowded', (t) => {
  // Hashes that differ in few of the bits that choose a bucket, as somebody may make them who knows how they are made.
  const crowded = (row: number): number => (row % 7) << 20;
  const property = fc.property(stepsOf(400), (steps) => holds(steps, 400, crowded));
  t.notThrows(() => fc.assert(property, { seed: 2, numRuns: 30 }));
});

test('a large index finds what it holds, and is small again when it is empty', (t) => {
  const index = new HashIndex();
  const empty = index.bytes;
  const hashOf = (row: number): number => Math.imul(row, 0x9e3779b1);
  const rows = 200_000;
  for (let row = 0; row < rows; row++) index.add(row, hashOf(row));
  for (let row = 0; row < rows; row += 997) t.deepEqual(found(index, hashOf(row)), [row]);
  for (let row = 0; row < rows; row += 2) index.remove(row);
  for (let row = 0; row < rows; row += 997) t.deepEqual(found(index, hashOf(row)), row % 2 === 0 ? [] : [row]);
  for (let row = 1; row < rows; row += 2) index.remove(row);
  t.is(index.size, 0);
  t.is(index.bytes, empty);
});
