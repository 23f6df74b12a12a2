import test from 'ava';
import fc from 'fast-check';
import { PagedBuffer } from '../../../router/lib/paged-buffer.ts';
import { PagePool, World } from '../../../router/lib/world.ts';

const PAGE = 4096;

function make(pages: number): { world: World; pool: PagePool; scratch: number } {
  const world = new World(pages * PAGE + 2 * 65536 + 262144);
  return { world, pool: new PagePool(world, PAGE, pages), scratch: world.alloc(131072) };
}

test('octets written at positions come back, over page borders and the wrap of positions', (t) => {
  const { world, pool, scratch } = make(16);
  for (const start of [0, 4090, 0x7ffffff0, -5]) {
    const b = new PagedBuffer(world, pool);
    b.reset(start);
    for (let i = 0; i < 20_000; i++) world.u8[scratch + i] = i * 7;
    t.is(b.write(start, scratch, 20_000), 20_000);
    world.u8.fill(0, scratch, scratch + 20_000);
    b.read((start + 5) | 0, scratch, 19_995);
    t.true(Array.from({ length: 19_995 }, (_, i) => world.u8[scratch + i] === (((i + 5) * 7) & 255)).every(Boolean));
    b.reset(0);
    t.is(pool.available, 16);
  }
});

test('spans are contiguous and end at page borders', (t) => {
  const { world, pool } = make(4);
  const b = new PagedBuffer(world, pool);
  b.reset(100);
  t.is(b.writable(100, 1_000_000), PAGE - 100);
  const at = b.spanAt;
  t.is(b.readable(200, 50), 50);
  t.is(b.spanAt, at + 100);
  t.is(b.writable(PAGE, 10), 10);
  t.is(b.pagesHeld, 2);
});

test('an empty pool shortens a write and gives nothing back wrongly', (t) => {
  const { world, pool, scratch } = make(2);
  const b = new PagedBuffer(world, pool);
  b.reset(0);
  t.is(b.write(0, scratch, 3 * PAGE), 2 * PAGE);
  t.is(b.writable(2 * PAGE, 10), 0);
  b.release(PAGE);
  t.is(pool.available, 1);
  t.is(b.write(2 * PAGE, scratch, PAGE), PAGE);
  b.release(3 * PAGE);
  t.is(pool.available, 2);
});

test('a stream with random sparse writes and releases equals a plain array, and returns every page', (t) => {
  const op = fc.record({ ahead: fc.nat(30_000), length: fc.integer({ min: 1, max: 9000 }), release: fc.nat(12_000) });
  fc.assert(
    fc.property(fc.integer(), fc.array(op, { maxLength: 40 }), (start, ops) => {
      const { world, pool, scratch } = make(64);
      const b = new PagedBuffer(world, pool);
      b.reset(start);
      const model = new Map<number, number>();
      let first = 0;
      for (const [k, o] of ops.entries()) {
        for (let i = 0; i < o.length; i++) {
          world.u8[scratch + i] = i * 3 + k;
          model.set(first + o.ahead + i, (i * 3 + k) & 255);
        }
        t.is(b.write((start + first + o.ahead) | 0, scratch, o.length), o.length);
        for (const p of [first + o.ahead, first + o.ahead + o.length - 1]) {
          b.readable((start + p) | 0, 1);
          t.is(world.u8[b.spanAt], model.get(p)!);
        }
        first += o.release;
        b.release((start + first) | 0);
        for (const [p, v] of model) {
          if (p < first) model.delete(p);
          else if (p % 997 === 0) {
            b.readable((start + p) | 0, 1);
            t.is(world.u8[b.spanAt], v);
          }
        }
      }
      b.reset(0);
      t.is(pool.available, 64);
    }),
    { seed: 5, numRuns: 60 },
  );
});
