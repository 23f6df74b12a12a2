import test from 'ava';
import fc from 'fast-check';
import type { RouteBatch, Way } from '../../../bgp/ports.ts';
import { RibToFib } from '../../../router/app/rib-to-fib.ts';
import { ROUTE_SOURCE_NAMES, RouteKind, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { PrefixTable } from '../../../router/lib/prefix-table.ts';
import { fibRoutes } from '../../kit/fib-routes.ts';

const PREFIX = Prefix.parse('172.20.5.0/24')!;
const hop = (link: string, weight?: number) => {
  return { address: Addr.parse('fe80::2')!, link, ...(weight !== undefined && { weight }) };
};
const prefixes = new PrefixTable(4);
const change = (way: Way | undefined): RouteBatch => ({
  ...{ vrf: 0, count: 1, prefixes, prefix: Int32Array.of(prefixes.internPrefix(PREFIX)) },
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

test('numbers of the FIB or of a table of its own: the FIB has the same routes, and keeps no prefix without one', (t) => {
  const ways: readonly (Way | undefined)[] = [
    undefined,
    ...['a', 'b'].flatMap((link) =>
      [false, true].map((isInternal): Way => ({ kind: 'unicast', nextHops: [hop(link)], isInternal })),
    ),
  ];
  const anyChange = fc.tuple(fc.nat(30), fc.integer({ min: 20, max: 24 }), fc.nat(4));
  const anyStep = fc.oneof(
    fc.record({ kind: fc.constant('bgp' as const), changes: fc.array(anyChange, { maxLength: 20 }) }),
    fc.record({ kind: fc.constant('static' as const), changes: fc.array(anyChange, { maxLength: 3 }) }),
  );
  const prefixOf = (n: number, length: number): Prefix => Prefix.containing(Addr.v4(0x0a000000 | (n << 8)), length)!;
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(anyStep, { maxLength: 20 }), (steps) => {
        const both = [new FibWriter(), new FibWriter()] as const;
        const tables = [both[0].prefixes(0, 4), new PrefixTable(4)] as const;
        const sinks = both.map(
          (fib) =>
            new RibToFib(
              fib,
              (name) => (name === 'a' ? 2 : 3),
              () => undefined,
            ),
        );
        for (const { kind, changes } of steps) {
          const once = [...new Map(changes.map(([n, length, w]) => [String(prefixOf(n, length)), w]))];
          for (const [i, fib] of both.entries()) {
            const table = tables[i]!;
            if (kind === 'static') {
              const nextHops = [{ link: 9 }];
              for (const [text, w] of once) {
                const what = { vrf: 0, prefix: Prefix.parse(text)!, source: RouteSource.Static };
                fib.apply([{ ...what, nextHops: w === 0 ? undefined : nextHops }]);
              }
              continue;
            }
            // A speaker holds prefixes until the batch is applied.
            const numbers = once.map(([text]) => table.internPrefix(Prefix.parse(text)!));
            for (const number of numbers) table.retain(number);
            sinks[i]!.apply({
              ...{ vrf: 0, count: once.length, prefixes: table, prefix: Int32Array.from(numbers) },
              ...{ way: Int32Array.from(once, ([, w]) => w), ways },
            });
            for (const number of numbers) table.release(number);
          }
        }
        const [shared, other] = both.map((fib) =>
          fibRoutes(fib, 0)
            .map((r) => `${r.prefix} ${r.source} ${r.nextHops[0]!.link}`)
            .sort(),
        );
        const routed = new Set(shared!.map((r) => r.split(' ')[0]));
        return String(shared) === String(other) && tables[0].size === routed.size && tables[1].size === 0;
      }),
      { seed: 9, numRuns: 300 },
    ),
  );
});
