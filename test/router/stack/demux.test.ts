import test from 'ava';
import fc from 'fast-check';
import { Random } from '../../../router/lib/rand.ts';
import { FlowTable, MutableFlow } from '../../../router/stack/demux.ts';

function flow(n: number): MutableFlow {
  const f = new MutableFlow();
  f.r3 = n % 7;
  f.remotePort = n;
  f.localPort = 80;
  return f;
}

test('the flow table answers like a map through any series of inserts and removals', (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(300)), { maxLength: 2000 }), fc.integer(), (steps, seed) => {
      const table = new FlowTable<MutableFlow>(new Random(seed));
      const model = new Map<number, MutableFlow>();
      for (const [isInsert, n] of steps) {
        if (isInsert) {
          const f = flow(n);
          t.is(table.insert(f), !model.has(n));
          if (!model.has(n)) model.set(n, f);
        } else {
          const f = model.get(n);
          t.is(table.remove(f ?? flow(n)), f !== undefined);
          model.delete(n);
        }
      }
      t.is(table.size, model.size);
      for (let n = 0; n <= 300; n++) t.is(table.find(flow(n)), model.get(n));
      t.is([...table].length, model.size);
    }),
    { seed: 4, numRuns: 60 },
  );
});

test('every part of a flow counts', (t) => {
  const table = new FlowTable<MutableFlow>(new Random(1));
  const base = new MutableFlow();
  t.true(table.insert(base));
  for (const part of [
    'vrf',
    'scope',
    'l0',
    'l1',
    'l2',
    'l3',
    'localPort',
    'r0',
    'r1',
    'r2',
    'r3',
    'remotePort',
  ] as const) {
    const other = new MutableFlow();
    other[part] = 5;
    t.is(table.find(other), undefined, part);
    t.true(table.insert(other), part);
  }
  t.is(table.size, 13);
});
