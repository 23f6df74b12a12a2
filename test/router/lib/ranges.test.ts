import test from 'ava';
import fc from 'fast-check';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { parseAsn, subtractPrefixes } from '../../../router/lib/ranges.ts';

const prefixes = (...texts: string[]): Prefix[] => texts.map((text) => Prefix.parse(text)!);

test('everything except a private range is what AllowedIPs calculators print', (t) => {
  const rest = subtractPrefixes(prefixes('0.0.0.0/0'), prefixes('192.168.0.0/16')).map(String);
  t.is(rest.length, 16);
  t.deepEqual(rest.slice(0, 2), ['0.0.0.0/1', '128.0.0.0/2']);
  t.true(rest.includes('192.169.0.0/16'));
  t.false(rest.includes('192.168.0.0/16'));
});

test('families do not mix, and what is wholly excluded disappears', (t) => {
  t.deepEqual(subtractPrefixes(prefixes('10.0.0.0/8', 'fd00::/8'), prefixes('10.0.0.0/8')).map(String), ['fd00::/8']);
  t.deepEqual(subtractPrefixes(prefixes('::/0'), prefixes('8000::/1')).map(String), ['::/1']);
  t.deepEqual(subtractPrefixes(prefixes('10.0.0.0/8'), []).map(String), ['10.0.0.0/8']);
});

const anyV4 = fc.tuple(fc.integer({ min: 0, max: 255 }), fc.integer({ min: 4, max: 32 })).map(([octet, length]) => {
  return Prefix.containing(Addr.v4((10 << 24) | (octet << 4)), length)!;
});

test('an address is in the difference exactly when it is in the whole and in no hole', (t) => {
  fc.assert(
    fc.property(anyV4, fc.array(anyV4, { maxLength: 5 }), fc.integer({ min: 0, max: 0xffff }), (whole, holes, low) => {
      const addr = Addr.v4((10 << 24) | low);
      const rest = subtractPrefixes([whole], holes);
      const isIn = rest.filter((p) => p.contains(addr)).length;
      t.is(isIn, whole.contains(addr) && !holes.some((h) => h.contains(addr)) ? 1 : 0);
    }),
    { seed: 4632, numRuns: 300 },
  );
});

for (const [text, value] of [
  ['4242420229', 4242420229],
  ['AS4242420229', 4242420229],
  ['as65001', 65001],
  ['1.10', 65546],
  ['AS64086.59904', 4200000000],
  ['0', undefined],
  ['4294967296', undefined],
  ['1.65536', undefined],
  ['AS', undefined],
  ['1.2.3', undefined],
  ['-1', undefined],
] as const) {
  test(`AS number ${text} is ${value}`, (t) => {
    t.is(parseAsn(text), value);
  });
}
