import test from 'ava';
import fc from 'fast-check';
import { seqGe, seqGt, seqLe, seqLt } from '../../../router/lib/seq.ts';

test('order in sequence space depends on the distance alone, wherever numbers wrap', (t) => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 0x7fffffff }), (a, n) => {
      const b = (a + n) | 0;
      t.true(seqLt(a, b) && seqLe(a, b) && seqGt(b, a) && seqGe(b, a));
      t.false(seqLt(b, a) || seqLe(b, a) || seqGt(a, b) || seqGe(a, b));
      t.true(seqLe(a, a) && seqGe(a, a) && !seqLt(a, a) && !seqGt(a, a));
    }),
    { seed: 9293 },
  );
});
