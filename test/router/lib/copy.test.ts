import test from 'ava';
import { makeCopy } from '../../../router/lib/copy.ts';
import { World } from '../../../router/lib/world.ts';

test('copies move octets anywhere in the world, overlapping ranges included', (t) => {
  const { u8, copy } = new World(1 << 17);
  for (let i = 0; i < 1000; i++) u8[1000 + i] = i * 7;
  const before = u8.slice(1000, 2000);
  copy(5001, 1000, 1000);
  t.deepEqual(u8.slice(5001, 6001), before);
  copy(1003, 1000, 1000);
  t.deepEqual(u8.slice(1003, 2003), before);
  copy(1000, 1003, 1000);
  t.deepEqual(u8.slice(1000, 2000), before);
  copy(0, 0, 0);
  copy(u8.length - 1000, 1000, 1000);
  t.deepEqual(u8.slice(u8.length - 1000), before);
});

test('without WebAssembly code the answer is the same', (t) => {
  const u8 = new Uint8Array(100);
  const copy = makeCopy({ buffer: u8.buffer } as unknown as WebAssembly.Memory, u8);
  u8.set([1, 2, 3, 4], 10);
  copy(12, 10, 4);
  t.deepEqual([...u8.slice(10, 16)], [1, 2, 1, 2, 3, 4]);
});
