import test from 'ava';
import type { RouteBatch, Way } from '../../../bgp/ports.ts';
import { RibToFib } from '../../../router/app/rib-to-fib.ts';
import { ROUTE_SOURCE_NAMES, RouteKind, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

const PREFIX = Prefix.parse('172.20.5.0/24')!;
const hop = (link: string, weight?: number) => {
  return { address: Addr.parse('fe80::2')!, link, ...(weight !== undefined && { weight }) };
};
const none = new Int32Array(0);
const change = (way: Way | undefined): RouteBatch => ({
  ...{ vrf: 0, family: 4, count: 1, w0: Int32Array.of(PREFIX.addr.a3), w1: none, w2: none, w3: none },
  length: Uint8Array.of(PREFIX.length),
  way: Int32Array.of(way === undefined ? 0 : 1),
  ways: [undefined, way],
});
const via = (link: string, isInternal: boolean): RouteBatch => {
  return change({ kind: 'unicast', nextHops: [hop(link)], isInternal });
};

function table() {
  const fib = new FibWriter();
  let batches = 0;
  const index = (name: string): number | undefined => ({ a: 2, b: 3 })[name];
  const sink = new RibToFib(fib, index, () => batches++);
  const routes = () =>
    fib.exactRoute(0, PREFIX).map((r) => [ROUTE_SOURCE_NAMES[r.source], r.distance, r.nextHops[0]?.link]);
  return { fib, sink, routes, batches: () => batches };
}

test('a route from an external peer is ebgp, one from an internal peer is ibgp and ranks behind', (t) => {
  const { sink, routes, batches } = table();
  sink.apply(via('a', false));
  t.deepEqual(routes(), [['ebgp', 20, 2]]);
  sink.apply(via('b', true));
  t.deepEqual(routes(), [['ibgp', 200, 3]], 'the external one is gone');
  sink.apply(via('a', false));
  t.deepEqual(routes(), [['ebgp', 20, 2]]);
  t.is(batches(), 3);
});

test('a withdrawal takes the route away, whoever it came from', (t) => {
  for (const isInternal of [false, true]) {
    const { sink, routes } = table();
    sink.apply(via('a', isInternal));
    sink.apply(change(undefined));
    t.deepEqual(routes(), []);
  }
});

test('blackholes and weights reach the FIB', (t) => {
  const { fib, sink } = table();
  sink.apply(change({ kind: 'blackhole', nextHops: [], isInternal: false }));
  t.like(fib.exactRoute(0, PREFIX)[0], { kind: RouteKind.Blackhole, nextHops: [] });
  sink.apply(change({ kind: 'unicast', nextHops: [hop('a', 3), hop('b')], isInternal: false }));
  const route = fib.exactRoute(0, PREFIX)[0]!;
  t.deepEqual(
    route.nextHops.map((h) => [h.link, h.weight ?? 1]),
    [
      [2, 3],
      [3, 1],
    ],
  );
});

test('a route of another daemon ranks before an internal one and behind an external one', (t) => {
  const { fib, sink, routes } = table();
  fib.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.External, nextHops: [{ link: 9 }] }]);
  sink.apply(via('a', true));
  t.deepEqual(routes()[0], ['external', 110, 9]);
  sink.apply(change(undefined));
  t.deepEqual(routes(), [['external', 110, 9]], 'what BGP takes back is its own');
  sink.apply(via('a', true));
  sink.apply(via('a', false));
  t.deepEqual(routes()[0], ['ebgp', 20, 2]);
});

test('a way over a link that is not known yet is translated again when it is, and after a change of numbers', (t) => {
  const fib = new FibWriter();
  const numbers: Record<string, number> = {};
  const sink = new RibToFib(
    fib,
    (name) => numbers[name],
    () => undefined,
  );
  const batch = via('x', false);
  const link = (): number | undefined => {
    sink.apply(batch);
    return fib.exactRoute(0, PREFIX)[0]?.nextHops[0]?.link;
  };
  t.is(link(), undefined);
  numbers['x'] = 7;
  t.is(link(), 7);
  numbers['x'] = 8;
  sink.forget();
  t.is(link(), 8);
});
