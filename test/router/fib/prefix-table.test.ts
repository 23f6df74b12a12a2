import test from 'ava';
import fc from 'fast-check';
import { PrefixTable, wordMask } from '../../../router/fib/prefix-table.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

function slotOf(table: PrefixTable, p: Prefix): number {
  return table.find(p.addr.a0, p.addr.a1, p.addr.a2, p.addr.a3, p.length);
}

function insert(table: PrefixTable, p: Prefix, value: number): void {
  table.insert(p.addr.a0, p.addr.a1, p.addr.a2, p.addr.a3, p.length, value);
}

for (const family of [4, 6] as const)
  test(`IPv${family}: random inserts and removals leave what a Map holds`, (t) => {
    const max = family === 4 ? 32 : 128;
    const anyPrefix = fc.tuple(fc.nat(40), fc.nat(3), fc.nat(max)).map(([x, y, length]) => {
      const addr = family === 4 ? Addr.v4((x << 26) | y) : Addr.v6(x << 26, 0, y, y << 30);
      return Prefix.containing(addr, length)!;
    });
    t.notThrows(() =>
      fc.assert(
        fc.property(fc.array(fc.tuple(anyPrefix, fc.boolean()), { maxLength: 400 }), (steps) => {
          const table = new PrefixTable(family);
          const map = new Map<string, number>();
          for (const [i, [prefix, isRemoval]] of steps.entries()) {
            const slot = slotOf(table, prefix);
            if (slot >= 0 !== map.has(String(prefix))) return false;
            if (isRemoval && slot >= 0) {
              table.remove(slot);
              map.delete(String(prefix));
            } else if (!isRemoval && slot < 0) {
              insert(table, prefix, i);
              map.set(String(prefix), i);
            }
          }
          const used = Array.from({ length: table.slots }, (_, slot) => slot).filter((slot) => table.isUsed(slot));
          return (
            table.size === map.size &&
            used.length === map.size &&
            steps.every(([p]) => {
              const slot = slotOf(table, p);
              return slot < 0 ? !map.has(String(p)) : table.valueAt(slot) === map.get(String(p));
            })
          );
        }),
        { seed: 20 + family, numRuns: 200 },
      ),
    );
  });

test('memory follows the number of prefixes up and down', (t) => {
  const table = new PrefixTable(4);
  const empty = table.bytes;
  const prefixes = Array.from({ length: 5000 }, (_, i) => Prefix.containing(Addr.v4(i << 12), 20)!);
  for (const p of prefixes) insert(table, p, 1);
  t.true(table.bytes < 5000 * 9 * 4, `${table.bytes}`);
  for (const p of prefixes) table.remove(slotOf(table, p));
  t.is(table.bytes, empty);
});

test('the covering prefix is the longest one of at most the given length', (t) => {
  const table = new PrefixTable(6);
  for (const [i, text] of ['::/0', 'fd00::/8', 'fd00:1::/32', 'fd00:1::1/128'].entries())
    insert(table, Prefix.parse(text)!, i);
  const { a0, a1, a2, a3 } = Addr.parse('fd00:1::1')!;
  const covering = (length: number): number => table.lengthAt(table.findCovering(a0, a1, a2, a3, length));
  t.deepEqual([128, 127, 31, 7].map(covering), [128, 32, 8, 0]);
});

test('masks of address words', (t) => {
  t.deepEqual(
    [0, 1, 2, 3].map((i) => wordMask(40, i) >>> 0),
    [0xffffffff, 0xff000000, 0, 0],
  );
});
