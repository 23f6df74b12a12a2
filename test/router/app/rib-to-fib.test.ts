import test from 'ava';
import type { RouteChange } from '../../../bgp/ports.ts';
import { RibToFib } from '../../../router/app/rib-to-fib.ts';
import { ROUTE_SOURCE_NAMES, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

const PREFIX = Prefix.parse('172.20.5.0/24')!;
const hops = (link: string) => [{ address: Addr.parse('fe80::2')!, link }];
const change = (link: string | undefined, isInternal: boolean): RouteChange => ({
  prefix: PREFIX,
  nextHops: link === undefined ? undefined : hops(link),
  isInternal,
});

function table(hasInternal = true, hasExternal = true) {
  const fib = new FibWriter();
  let batches = 0;
  const index = (name: string): number | undefined => ({ a: 2, b: 3 })[name];
  const sink = new RibToFib(fib, index, { hasInternal, hasExternal }, () => batches++);
  const routes = () =>
    fib.exactRoute(0, PREFIX).map((r) => [ROUTE_SOURCE_NAMES[r.source], r.distance, r.nextHops[0]?.link]);
  return { fib, sink, routes, batches: () => batches };
}

test('a route from an external peer is ebgp, one from an internal peer is ibgp and ranks behind', (t) => {
  const { sink, routes, batches } = table();
  sink.apply([change('a', false)]);
  t.deepEqual(routes(), [['ebgp', 20, 2]]);
  sink.apply([change('b', true)]);
  t.deepEqual(routes(), [['ibgp', 200, 3]], 'the external one is gone');
  sink.apply([change('a', false)]);
  t.deepEqual(routes(), [['ebgp', 20, 2]]);
  t.is(batches(), 3);
});

test('a withdrawal takes the route away, whoever it came from', (t) => {
  for (const isInternal of [false, true]) {
    const { sink, routes } = table();
    sink.apply([change('a', isInternal)]);
    sink.apply([change(undefined, false)]);
    t.deepEqual(routes(), []);
  }
  const { sink, routes } = table(true, false);
  sink.apply([change('a', true)]);
  sink.apply([change(undefined, false)]);
  t.deepEqual(routes(), []);
});

test('a route of another daemon ranks before an internal one and behind an external one', (t) => {
  const { fib, sink, routes } = table();
  fib.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.External, nextHops: [{ link: 9 }] }]);
  sink.apply([change('a', true)]);
  t.deepEqual(routes()[0], ['external', 110, 9]);
  sink.apply([change('a', false)]);
  t.deepEqual(routes()[0], ['ebgp', 20, 2]);
});
