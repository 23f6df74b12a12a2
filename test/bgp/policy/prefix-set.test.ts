import test from 'ava';
import fc from 'fast-check';
import { PrefixGuard, PrefixSet } from '../../../bgp/policy/prefix-set.ts';
import type { PrefixMatch } from '../../../bgp/policy/rule.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

type Words = readonly [number, number, number, number];

function wordsOf(p: Prefix): Words {
  return p.family === 4 ? [p.addr.a3, 0, 0, 0] : [p.addr.a0, p.addr.a1, p.addr.a2, p.addr.a3];
}

// Few distinct bits, so that prefixes lie inside each other often.
const prefix = fc
  .record({
    isV6: fc.boolean(),
    bits: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 4, maxLength: 4 }),
    length: fc.nat(128),
  })
  .map(({ isV6, bits, length }) => {
    const [a, b, c, d] = bits.map((x) => x << 30) as [number, number, number, number];
    return Prefix.containing(isV6 ? Addr.v6(a, b, c, d) : Addr.v4(a), isV6 ? length : length % 33)!;
  });

const entry = fc.record({ prefix, min: fc.option(fc.nat(40)), more: fc.option(fc.nat(60)) }).map(
  ({ prefix: p, min, more }): PrefixMatch => ({
    prefix: p,
    ...(min !== null && { minLength: Math.min(p.length + min, p.family === 4 ? 32 : 128) }),
    ...(more !== null && { maxLength: Math.min(p.length + more, p.family === 4 ? 32 : 128) }),
  }),
);

test('a large set answers as its entries do one by one', (t) => {
  fc.assert(
    fc.property(fc.array(entry, { minLength: 13, maxLength: 60 }), fc.array(prefix), (entries, asked) => {
      const set = new PrefixSet(entries);
      const single = entries.map((e) => new PrefixSet([e]));
      for (const p of asked) {
        const expected = single.some((s) => s.has(p.family, ...wordsOf(p), p.length));
        t.is(set.has(p.family, ...wordsOf(p), p.length), expected, `${p}`);
      }
    }),
    { seed: 8212, numRuns: 300 },
  );
});

test('own prefixes cover themselves and what is inside, not what is around', (t) => {
  const guard = new PrefixGuard([Prefix.parse('172.20.229.0/27')!, Prefix.parse('fd42:beef::/48')!]);
  const covers = (text: string) => {
    const p = Prefix.parse(text)!;
    return guard.covers(p.family, ...wordsOf(p), p.length);
  };
  t.true(covers('172.20.229.0/27'));
  t.true(covers('172.20.229.8/32'));
  t.true(covers('fd42:beef:0:1::/64'));
  t.false(covers('172.20.229.0/24'));
  t.false(covers('172.20.229.32/27'));
  t.false(covers('fd42:beee::/48'));
});
