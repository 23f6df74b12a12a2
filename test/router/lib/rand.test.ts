import test from 'ava';
import { Random, SipHash, systemEntropy } from '../../../router/lib/rand.ts';

test('SipHash-2-4 gives the reference vectors', (t) => {
  const h = new SipHash(Uint8Array.from({ length: 16 }, (_, i) => i));
  t.is(h.of(new Int32Array(0), 0), 0xdd0e0e31 | 0);
  t.is(h.high, 0x726fdb47);
  t.is(h.of(new Int32Array([0x03020100, 0x07060504]), 2), 0x9a932462 | 0);
  t.is(h.high, 0x93f5f579 | 0);
});

test('the same seed gives the same sequence, another seed another one', (t) => {
  const take = (seed: number): number[] => {
    const r = new Random(seed);
    return Array.from({ length: 20 }, () => r.int32());
  };
  t.deepEqual(take(1), take(1));
  t.notDeepEqual(take(1), take(2));
});

test('below stays below and reaches everything; chance keeps its odds', (t) => {
  const r = new Random(3);
  const seen = new Set(Array.from({ length: 1000 }, () => r.below(10)));
  t.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  let hits = 0;
  for (let i = 0; i < 100_000; i++) if (r.chance(0.1)) hits++;
  t.true(hits > 9500 && hits < 10_500);
  t.false(r.chance(0));
});

test('the system’s entropy has the length asked for and is not constant', (t) => {
  t.is(systemEntropy(16).length, 16);
  t.notDeepEqual(systemEntropy(16), systemEntropy(16));
});
