import test from 'ava';
import fc from 'fast-check';
import { HashIndex } from '../../../router/lib/hash-index.ts';

/** Rows with a hash, in the order they would be met. */
function found(index: HashIndex, hash: number): number[] {
  const rows: number[] = [];
  for (let r = index.first(hash); r >= 0; r = index.after(r)) if (index.hashOf(r) === hash) rows.push(r);
  return rows.sort((a, b) => a - b);
}

test('every row is found by its hash and no other, whatever comes and goes', (t) => {
  const step = fc.tuple(fc.nat(3000), fc.boolean());
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 4000, size: 'max' }), (steps) => {
        const index = new HashIndex();
        const model = new Map<number, number>();
        const hashOf = (row: number): number => Math.imul(row >> 1, 0x9e3779b1) ^ (row >> 1); // pairs share a hash
        for (const [row, isAdd] of steps) {
          if (isAdd && !model.has(row)) {
            index.add(row, hashOf(row));
            model.set(row, hashOf(row));
          } else if (!isAdd && model.delete(row)) index.remove(row);
        }
        if (index.size !== model.size) return false;
        for (let row = 0; row <= 3000; row += 2) {
          const expected = [row, row + 1].filter((r) => model.has(r));
          if (found(index, hashOf(row)).join() !== expected.join()) return false;
        }
        return true;
      }),
      { seed: 1, numRuns: 30 },
    ),
  );
});
