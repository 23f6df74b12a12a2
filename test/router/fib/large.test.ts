import test, { type ExecutionContext } from 'ava';
import { FibReader } from '../../../router/fib/reader.ts';
import {
  type NextHop,
  type RouteChange,
  type RouteColumns,
  RouteKind,
  RouteSource,
} from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, type Family, Prefix } from '../../../router/lib/addr.ts';
import type { PrefixTable } from '../../../router/lib/prefix-table.ts';
import { edges, MapOracle, words } from './oracle.ts';

const HOPS: readonly (readonly NextHop[])[] = Array.from({ length: 200 }, (_, i) => [{ link: i + 1 }]);

/** Prefixes like those of a full table: clustered, mostly /24 and /48, some hosts. */
function randomPrefix(family: Family, next: () => number): Prefix {
  if (family === 4) {
    const length = next() % 10 < 7 ? 24 : next() % 50 === 0 ? 25 + (next() % 8) : 8 + (next() % 17);
    return Prefix.containing(Addr.v4(((next() % 40) << 24) | (next() & 0xffffff)), length)!;
  }
  const length = next() % 10 < 6 ? 48 : next() % 20 === 0 ? 65 + (next() % 64) : 20 + (next() % 45);
  return Prefix.containing(
    Addr.v6(0x2a000000 | (next() & 0x0fff), next() & 0xffff0000, next() & 3, next() & 3),
    length,
  )!;
}

function check(t: ExecutionContext, reader: FibReader, oracle: MapOracle, prefixes: readonly Prefix[]): void {
  let wrong = 0;
  for (const prefix of prefixes)
    for (const addr of edges(prefix)) {
      const { a0, a1, a2, a3 } = addr;
      const group = addr.family === 4 ? reader.lookup4(0, a3) : reader.lookup6(0, a0, a1, a2, a3);
      if ((group === 0 ? 0 : reader.memberLink(group, 0)) !== oracle.lookup(addr)) wrong++;
    }
  t.is(wrong, 0);
}

function shapeOf(writer: FibWriter, family: Family): string {
  return writer.stats().find((s) => s.family === family)!.shape;
}

for (const family of [4, 6] as const)
  test(`an IPv${family} table stays right while it grows by batches, changes and shrinks again`, (t) => {
    const next = words(40 + family);
    const writer = new FibWriter();
    const reader = new FibReader(writer.shared);
    const oracle = new MapOracle();
    const known: Prefix[] = [];
    const apply = (changes: readonly RouteChange[]): void => {
      writer.apply(changes);
      for (const c of changes) oracle.set(c.prefix, c.nextHops?.[0]?.link);
      const shared = writer.takeChangedShared();
      if (shared !== undefined) reader.refresh(shared);
    };
    const announce = (count: number): RouteChange[] =>
      Array.from({ length: count }, () => {
        const prefix = randomPrefix(family, next);
        known.push(prefix);
        return { vrf: 0, prefix, source: RouteSource.Ebgp, nextHops: HOPS[next() % 200] };
      });
    const sample = (): Prefix[] => Array.from({ length: 100 }, () => known[next() % known.length]!);
    for (const batch of [100, 3000, 60_000, 30_000]) {
      apply(announce(batch));
      check(t, reader, oracle, sample());
    }
    t.is(shapeOf(writer, family), family === 4 ? 'dir16' : 'dir20');
    for (let round = 0; round < 5; round++) {
      const changes = announce(100);
      for (const prefix of sample())
        changes.push({
          vrf: 0,
          prefix,
          source: RouteSource.Ebgp,
          nextHops: next() % 2 ? undefined : HOPS[next() % 200],
        });
      for (const c of changes) apply([c]);
      check(
        t,
        reader,
        oracle,
        changes.map((c) => c.prefix),
      );
      check(t, reader, oracle, sample());
    }
    const withdraw = known
      .slice(0, -500)
      .map((prefix) => ({ vrf: 0, prefix, source: RouteSource.Ebgp, nextHops: undefined }));
    for (let i = 0; i < withdraw.length; i += 900) apply(withdraw.slice(i, i + 900));
    check(t, reader, oracle, sample());
    check(t, reader, oracle, known.slice(-500));
    t.is(shapeOf(writer, family), 'ranges');
  });

test('more groups than 16-bit cells can name widen the table', (t) => {
  const writer = new FibWriter();
  const reader = new FibReader(writer.shared);
  const hop = (link: number): readonly NextHop[] => [{ link }];
  const at = (i: number): number => (10 << 24) + (i << 8);
  const changes: RouteChange[] = Array.from({ length: 60_000 }, (_, i) => ({
    vrf: 0,
    prefix: Prefix.containing(Addr.v4(at(i)), 24)!,
    source: RouteSource.Static,
    nextHops: hop(i < 20_000 ? 1 : i),
  }));
  writer.apply(changes.slice(0, 51_000).map((c, i) => ({ ...c, nextHops: hop((i % 100) + 1) })));
  t.is(shapeOf(writer, 4), 'dir16');
  writer.apply(changes);
  t.is(shapeOf(writer, 4), 'dir32');
  reader.refresh(writer.takeChangedShared()!);
  for (let i = 0; i < 60_000; i += 7)
    if (reader.memberLink(reader.lookup4(0, at(i) + 5), 0) !== (i < 20_000 ? 1 : i)) t.fail(`10.x route ${i}`);
  t.is(writer.counters.groupsRefused, 0);
});

test('more long prefixes than 16-bit blocks can hold widen the table', (t) => {
  const writer = new FibWriter();
  const reader = new FibReader(writer.shared);
  const at = (i: number): number => (10 << 24) + (i << 8) + (i & 255);
  writer.apply(
    Array.from({ length: 55_000 }, (_, i) => ({
      vrf: 0,
      prefix: Prefix.containing(Addr.v4(at(i)), 32)!,
      source: RouteSource.Static,
      nextHops: HOPS[i % 200],
    })),
  );
  t.is(shapeOf(writer, 4), 'dir32');
  reader.refresh(writer.takeChangedShared()!);
  for (let i = 0; i < 55_000; i += 7) {
    if (reader.memberLink(reader.lookup4(0, at(i)), 0) !== (i % 200) + 1) t.fail(`host ${i}`);
    if (reader.lookup4(0, at(i) ^ 1) !== 0) t.fail(`neighbour of host ${i}`);
  }
});

test('a route whose group has no room is not installed, and counted', (t) => {
  const writer = new FibWriter();
  const reader = new FibReader(writer.shared);
  const changes: RouteChange[] = Array.from({ length: 65_600 }, (_, i) => ({
    vrf: 0,
    prefix: Prefix.containing(Addr.v4(i << 8), 24)!,
    source: RouteSource.Static,
    nextHops: [{ link: i + 1 }],
  }));
  writer.apply(changes);
  reader.refresh(writer.takeChangedShared()!);
  t.is(writer.counters.groupsRefused, 65_600 - 65_535);
  t.is(reader.lookup4(0, 65_599 << 8), 0);
  t.is(reader.memberLink(reader.lookup4(0, 65_000 << 8), 0), 65_001);
});

/** The columns of some changes; undefined = withdraw. */
function columns(prefixes: PrefixTable, routes: readonly (readonly [Prefix, number | undefined])[]): RouteColumns {
  return {
    ...{ vrf: 0, count: routes.length, prefixes },
    prefix: Int32Array.from(routes, ([p]) => prefixes.internPrefix(p)),
    target: Int32Array.from(routes, ([, link]) => link ?? 0),
    targets: [undefined, ...HOPS.map((nextHops) => ({ source: RouteSource.Ebgp, kind: RouteKind.Unicast, nextHops }))],
    sources: [RouteSource.Ebgp, RouteSource.Ibgp],
  };
}

for (const family of [4, 6] as const)
  test(`an IPv${family} table gives right answers while another one is made in its place, slice by slice`, (t) => {
    const next = words(60 + family);
    const writer = new FibWriter();
    const prefixes = writer.prefixes(0, family);
    const reader = new FibReader(writer.shared);
    const oracle = new MapOracle();
    const known: Prefix[] = [];
    let slices = 0;
    let swaps = 0;
    const change = (routes: [Prefix, number | undefined][]): void => {
      // One prefix stands once in a batch.
      const once = [...new Map(routes.map(([p, link]) => [String(p), [p, link] as const])).values()];
      writer.applyColumns(columns(prefixes, once));
      for (const [prefix, link] of once) oracle.set(prefix, link);
      if (writer.isBuilding) {
        slices++;
        writer.work(4000);
      }
      const shared = writer.takeChangedShared();
      if (shared === undefined) return;
      swaps++;
      reader.refresh(shared);
    };
    const sample = (n: number): Prefix[] => Array.from({ length: n }, () => known[next() % known.length]!);
    const round = (size: number, gone: number): void => {
      const routes: [Prefix, number | undefined][] = [];
      for (let i = 0; i < size; i++) {
        const prefix = randomPrefix(family, next);
        known.push(prefix);
        routes.push([prefix, 1 + (next() % 200)]);
      }
      for (const prefix of known.length === 0 ? [] : sample(gone)) routes.push([prefix, next() % 3 ? undefined : 7]);
      change(routes);
      if (next() % (writer.isBuilding ? 4 : 16) === 0)
        check(t, reader, oracle, [...sample(4), ...routes.map(([p]) => p).slice(0, 4)]);
    };
    while (known.length < (family === 4 ? 70_000 : 60_000)) round(1000, 20);
    while (writer.isBuilding) round(100, 20);
    t.is(shapeOf(writer, family), family === 4 ? 'dir16' : 'dir20');
    for (let i = 0; i < known.length; i += 900)
      change(known.slice(i, i + 900).map((p) => [p, i % 9000 === 0 ? 9 : undefined]));
    for (let i = 0; i < 40; i++) round(50, 50);
    t.is(shapeOf(writer, family), 'ranges');
    check(t, reader, oracle, sample(200));
    t.true(slices > 5 && swaps > 3, `${slices} slices, ${swaps} swaps`);
  });
