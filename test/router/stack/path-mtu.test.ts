import test from 'ava';
import { PathMtuCache } from '../../../router/stack/path-mtu.ts';
import { words } from '../../kit/stack.ts';

const V4 = words('192.0.2.1');
const V6 = words('2001:db8::1');

test('a learned path MTU applies to its destination and VRF until it expires', (t) => {
  const cache = new PathMtuCache();
  t.is(cache.learn(0, ...V4, 1300, 1420, 1420, 1000), 1300);
  t.is(cache.get(0, ...V4, 1420), 1300);
  t.is(cache.get(0, ...V4, 1280), 1280);
  t.is(cache.get(1, ...V4, 1420), 1420);
  t.is(cache.get(0, ...words('192.0.2.2'), 1420), 1420);
  const { generation } = cache;
  cache.expire(600_999);
  t.is(cache.get(0, ...V4, 1420), 1300);
  t.is(cache.generation, generation);
  cache.expire(601_000);
  t.is(cache.get(0, ...V4, 1420), 1420);
  t.not(cache.generation, generation);
  t.is(cache.size, 0);
});

test('expiry works across the wrap of the millisecond clock', (t) => {
  const cache = new PathMtuCache();
  cache.learn(0, ...V4, 1300, 1420, 1420, 0x7fffffff);
  cache.expire((0x7fffffff + 599_999) | 0);
  t.is(cache.size, 1);
  cache.expire((0x7fffffff + 600_000) | 0);
  t.is(cache.size, 0);
});

test('a path MTU is never raised by an error, nor put below the floor of its family', (t) => {
  const cache = new PathMtuCache();
  t.is(cache.learn(0, ...V4, 1500, 1420, 1420, 0), 0);
  t.is(cache.learn(0, ...V4, 1420, 1420, 1420, 0), 0);
  t.is(cache.learn(0, ...V4, 68, 1420, 1420, 0), 552);
  t.is(cache.learn(0, ...V4, 68, 552, 552, 0), 0);
  t.is(cache.learn(0, ...V6, 600, 1420, 1420, 0), 1280);
  t.is(cache.learn(0, ...V6, 600, 1280, 1280, 0), 0);
});

test('a router that names no MTU gives the next plateau below the quoted packet', (t) => {
  const cache = new PathMtuCache();
  t.is(cache.learn(0, ...V4, 0, 1420, 1420, 0), 1006);
  t.is(cache.learn(0, ...V4, 0, 1006, 1006, 0), 552);
  t.is(cache.learn(0, ...words('192.0.2.2'), 0, 65535, 9000, 0), 8166);
});

test('many destinations do not grow the cache: the one that expires first gives way', (t) => {
  const cache = new PathMtuCache();
  for (let i = 0; i < 20_000; i++) cache.learn(0, 0, 0, 0xffff, i, 1300, 1420, 1420, i);
  t.true(cache.size <= 1024);
  t.is(cache.get(0, 0, 0, 0xffff, 19_999, 1420), 1300);
  cache.expire(10_000_000);
  t.is(cache.size, 0);
});
