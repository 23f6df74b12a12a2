import test from 'ava';
import fc from 'fast-check';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { TargetTable } from '../../../router/uplink/target-table.ts';

const anyAddr = (family: 4 | 6): fc.Arbitrary<Addr> =>
  family === 4
    ? fc.integer({ min: 0, max: 255 }).map((n) => Addr.v4(0x0a000000 | ((n >> 4) << 20) | (n & 15) | 0))
    : fc.integer({ min: 0, max: 255 }).map((n) => Addr.v6(0x20010db8, (n >> 6) << 28, ((n >> 4) & 3) << 30, n & 15));

for (const family of [4, 6] as const)
  test(`IPv${family}: the longest prefix answers, as a search of all of them says, also after some have left`, (t) => {
    const lengths = family === 4 ? [0, 7, 12, 16, 31, 32] : [0, 31, 32, 33, 36, 64, 66, 96, 126, 128];
    const change = fc.record({ addr: anyAddr(family), length: fc.constantFrom(...lengths), answer: fc.nat(3) });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), fc.array(anyAddr(family)), (changes, asked) => {
        const table = new TargetTable(family);
        const model = new Map<string, { readonly prefix: Prefix; readonly answer: number }>();
        for (const { addr, length, answer } of changes) {
          const prefix = Prefix.containing(addr, length)!;
          table.set(prefix.addr, length, answer);
          model.set(String(prefix), { prefix, answer });
        }
        const around = (a: Addr): number =>
          [...model.values()]
            .filter((m) => m.answer !== 0 && m.prefix.contains(a))
            .sort((x, y) => y.prefix.length - x.prefix.length)[0]?.answer ?? 0;
        return asked.every(
          (a) => (family === 4 ? table.find4(a.a3) : table.find6(a.a0, a.a1, a.a2, a.a3)) === around(a),
        );
      }),
      { seed: 7, numRuns: 300 },
    );
    t.pass();
  });
