import test from 'ava';
import fc from 'fast-check';
import { SparseList } from '../../../bgp/rib/sparse.ts';

test('a sparse list holds what was set last, near and far', (t) => {
  const step = fc.tuple(fc.oneof(fc.nat(8), fc.nat(100_000)), fc.option(fc.nat(), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const list = new SparseList<number>();
      const model = new Map<number, number | undefined>();
      for (const [at, value] of steps) {
        list.set(at, value);
        model.set(at, value);
      }
      for (const [at, value] of model) t.is(list.get(at), value);
      for (const at of [9, 1023, 1024, 200_000]) if (!model.has(at)) t.is(list.get(at), undefined);
    }),
    { seed: 1 },
  );
});
