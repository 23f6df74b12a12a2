import test from 'ava';
import { CoveringMap4, wordMask } from '../../../router/fib/covering.ts';
import { Addr } from '../../../router/lib/addr.ts';

test('masks of address words', (t) => {
  t.deepEqual(
    [0, 1, 2, 3].map((i) => wordMask(40, i) >>> 0),
    [0xffffffff, 0xff000000, 0, 0],
  );
});

test('an IPv4 map knows exactly which lengths from 8 to 23 contain an address', (t) => {
  const map = new CoveringMap4();
  const word = (text: string): number => Addr.parse(text)!.a3;
  const prefixes = [
    ['10.0.0.0', 8],
    ['10.1.0.0', 16],
    ['10.1.16.0', 20],
    ['10.1.24.0', 21],
    ['10.1.28.0', 22],
    ['10.1.30.0', 23],
  ] as const;
  for (const [address, length] of prefixes) map.mark(word(address), 0, length, true);
  const lengths = (address: string): number[] => {
    const found: number[] = [];
    for (let at = 23; (at = map.find(word(address), 0, at)) >= map.shortest; at--) found.push(at);
    return found;
  };
  t.deepEqual(lengths('10.1.31.9'), [23, 22, 21, 20, 16, 8]);
  t.deepEqual(lengths('10.1.24.1'), [21, 20, 16, 8]);
  t.deepEqual(lengths('10.1.17.1'), [20, 16, 8]);
  t.deepEqual(lengths('10.255.255.255'), [8]);
  t.deepEqual(lengths('11.0.0.0'), []);
  map.mark(word('10.1.28.0'), 0, 22, false);
  map.mark(word('10.0.0.0'), 0, 8, false);
  t.deepEqual(lengths('10.1.31.9'), [23, 21, 20, 16]);
  t.deepEqual(lengths('10.255.255.255'), []);
});
