import test from 'ava';
import { Addr } from '../../../router/lib/addr.ts';
import type { PolicyPort } from '../../../router/shimlink/policy-port.ts';
import { SockAddr } from '../../../router/shimlink/sockaddr.ts';
import { UNKNOWN_WAY, WayCache } from '../../../router/shimlink/way-cache.ts';

const port = (generation: number, dead: readonly number[] = []): PolicyPort =>
  ({ generation, carries: (link: number) => !dead.includes(link) }) as unknown as PolicyPort;

function to(address: string, number: number): SockAddr {
  const { a0, a1, a2, a3 } = Addr.parse(address)!;
  return Object.assign(new SockAddr(), { a0, a1, a2, a3, port: number });
}

test('a thousand destinations of one socket keep their ways', (t) => {
  const cache = new WayCache();
  const all = Array.from({ length: 1000 }, (_, i) => to(`203.0.${i % 7}.${i % 250}`, 1024 + i));
  for (const [i, one] of all.entries()) cache.keep(port(1), one, 1 + (i % 3));
  t.true(all.every((one, i) => cache.find(port(1), one) === 1 + (i % 3)));
  t.is(cache.find(port(1), to('203.0.113.9', 9)), UNKNOWN_WAY);
});

test('beyond the bound, those that were used lately keep theirs', (t) => {
  const cache = new WayCache();
  const lasting = to('203.0.113.1', 443);
  cache.keep(port(1), lasting, 7);
  for (let i = 0; i < 40_000; i++) {
    cache.keep(port(1), to(`10.${i >> 8}.${i & 255}.1`, 6881), 2);
    if (i % 8 === 0) t.is(cache.find(port(1), lasting), 7);
  }
});

test('what was chosen under other rules, or for a link that is dead, is asked about again, and known', (t) => {
  const cache = new WayCache();
  const one = to('2001:db8::1', 443);
  t.is(cache.before(one), 0);
  cache.keep(port(1), one, 5);
  t.is(cache.find(port(2), one), UNKNOWN_WAY);
  t.is(cache.find(port(1, [5]), one), UNKNOWN_WAY);
  t.is(cache.before(one), 5);
  cache.keep(port(2), one, 6);
  t.is(cache.find(port(2), one), 6);
});
