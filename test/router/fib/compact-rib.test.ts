import test from 'ava';
import fc from 'fast-check';
import { CompactRib } from '../../../router/fib/compact-rib.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { PrefixTable } from '../../../router/lib/prefix-table.ts';
import { Random } from '../../../router/lib/rand.ts';

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
          const rib = new CompactRib(new PrefixTable(family));
          const { prefixes } = rib;
          // Others hold some prefixes as well, which are then known without a route.
          for (const [prefix] of steps.slice(0, 100)) prefixes.retain(prefixes.internPrefix(prefix));
          const map = new Map<string, number>();
          for (const [i, [prefix, isRemoval]] of steps.entries()) {
            const number = prefixes.findPrefix(prefix);
            if (rib.has(number) !== map.has(String(prefix))) return false;
            if (isRemoval && rib.has(number)) {
              rib.remove(number);
              map.delete(String(prefix));
            } else if (!isRemoval && !rib.has(number)) {
              rib.insert(prefixes.internPrefix(prefix), i + 1);
              map.set(String(prefix), i + 1);
            }
          }
          const lengths = Array.from({ length: max + 1 }, (_, length) => rib.countOfLength(length));
          return (
            rib.size === map.size &&
            [...rib].length === map.size &&
            lengths.reduce((sum, n) => sum + n) === map.size &&
            steps.every(([p]) => rib.value(prefixes.findPrefix(p)) === (map.get(String(p)) ?? 0))
          );
        }),
        { seed: 20 + family, numRuns: 200 },
      ),
    );
  });

test('memory follows the number of routes up and down, and prefixes live as long as their routes', (t) => {
  const prefixes = new PrefixTable(4);
  const rib = new CompactRib(prefixes);
  const empty = rib.bytes - prefixes.bytes;
  const numbers = Array.from({ length: 5000 }, (_, i) => prefixes.intern(i << 12, 0, 0, 0, 20));
  for (const number of numbers) rib.insert(number, 1);
  t.is(prefixes.size, 5000);
  t.true(rib.bytes < 5000 * 12 * 4, `${rib.bytes}`);
  for (const number of numbers) rib.remove(number);
  t.deepEqual([rib.bytes - prefixes.bytes, prefixes.size], [empty, 0]);
});

test('the covering prefix is the longest one of at most the given length that has a route', (t) => {
  const prefixes = new PrefixTable(6);
  const rib = new CompactRib(prefixes);
  for (const [i, text] of ['::/0', 'fd00::/8', 'fd00:1::/32', 'fd00:1::1/128'].entries())
    rib.insert(prefixes.internPrefix(Prefix.parse(text)!), i + 1);
  prefixes.retain(prefixes.internPrefix(Prefix.parse('fd00:1::/40')!));
  const { a0, a1, a2, a3 } = Addr.parse('fd00:1::1')!;
  const covering = (length: number): number => prefixes.length[rib.findCovering(a0, a1, a2, a3, length)]!;
  t.deepEqual([128, 127, 31, 7].map(covering), [128, 32, 8, 0]);
});

for (const family of [4, 6] as const)
  test(`a large IPv${family} table finds the same covering prefixes as a search through all lengths`, (t) => {
    const random = new Random(7);
    const prefixes = new PrefixTable(family);
    const rib = new CompactRib(prefixes);
    const max = family === 4 ? 32 : 128;
    const addresses = (): Addr => {
      const low = random.int32() & 0xffff;
      return family === 4 ? Addr.v4(0x0a000000 | (low << 6)) : Addr.v6(0x2a000000 | (low & 7), low << 12, low, 0);
    };
    const known: number[] = [];
    const insert = (): void => {
      const number = prefixes.internPrefix(Prefix.containing(addresses(), random.below(max + 1))!);
      if (!rib.has(number)) known.push(number);
      if (!rib.has(number)) rib.insert(number, 1);
    };
    const check = (): void => {
      const addr = addresses();
      const most = random.below(max + 1);
      let expected = -1;
      for (let length = most; length >= 0 && expected < 0; length--) {
        const number = prefixes.findPrefix(Prefix.containing(addr, length)!);
        if (rib.has(number)) expected = number;
      }
      const { a0, a1, a2, a3 } = addr;
      const found = family === 4 ? rib.findCovering(a3, 0, 0, 0, most) : rib.findCovering(a0, a1, a2, a3, most);
      if (found !== expected) t.is(found, expected, `${addr} ${most}`);
    };
    // From here on it remembers what there is, some of it with each change.
    while (rib.size < 16_384) insert();
    for (let i = 0; i < 2000; i++) check();
    for (let i = 0; i < 20_000; i++) {
      if (random.below(3) > 0) rib.remove(known.splice(random.below(known.length), 1)[0]!);
      else insert();
      check();
    }
    t.true(rib.size < 15_000, `${rib.size}`);
  });
