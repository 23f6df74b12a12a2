import test from 'ava';
import fc from 'fast-check';
import { FibReader } from '../../../router/fib/reader.ts';
import { type NextHop, RouteKind, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { fibRoutes } from '../../kit/fib-routes.ts';
import { edges, Oracle } from './oracle.ts';

const p = (text: string): Prefix => Prefix.parse(text)!;
const a = (text: string): Addr => Addr.parse(text)!;
const via = (link: number): readonly NextHop[] => [{ link }];

/** The link the reader chooses, 0 without a route. */
function linkOf(reader: FibReader, vrf: number, addr: Addr, hash = 0): number {
  const group =
    addr.family === 4 ? reader.lookup4(vrf, addr.a3) : reader.lookup6(vrf, addr.a0, addr.a1, addr.a2, addr.a3);
  return group === 0 ? 0 : reader.memberLink(group, hash);
}

function pair(): { writer: FibWriter; reader: FibReader; sync: () => void } {
  const writer = new FibWriter();
  const reader = new FibReader(writer.shared);
  return {
    writer,
    reader,
    sync: () => {
      const shared = writer.takeChangedShared();
      if (shared !== undefined) reader.refresh(shared);
    },
  };
}

test('an empty FIB has no route, in any VRF and family', (t) => {
  const { reader } = pair();
  t.is(reader.lookup4(0, a('192.0.2.1').a3), 0);
  t.is(reader.lookup6(7, 0x20010db8, 0, 0, 1), 0);
});

test('the longest prefix wins in both families, and its withdrawal uncovers the next one', (t) => {
  const { writer, reader, sync } = pair();
  const set = (text: string, link: number | undefined): void => {
    const nextHops = link === undefined ? undefined : via(link);
    writer.apply([{ vrf: 0, prefix: p(text), source: RouteSource.Static, nextHops }]);
    sync();
  };
  set('0.0.0.0/0', 1);
  set('10.0.0.0/8', 2);
  set('10.1.2.0/24', 3);
  set('10.1.2.128/25', 4);
  set('10.1.2.129/32', 5);
  set('::/0', 6);
  set('fd00::/8', 7);
  set('fd00:1::/64', 8);
  set('fd00:1::8000:0:0:0/65', 9);
  set('fd00:1::8000:0:0:1/128', 10);
  t.deepEqual(
    ['9.9.9.9', '10.9.9.9', '10.1.2.1', '10.1.2.130', '10.1.2.129'].map((x) => linkOf(reader, 0, a(x))),
    [1, 2, 3, 4, 5],
  );
  t.deepEqual(
    ['2001:db8::1', 'fd01::1', 'fd00:1::1', 'fd00:1::9000:0:0:1', 'fd00:1::8000:0:0:1'].map((x) =>
      linkOf(reader, 0, a(x)),
    ),
    [6, 7, 8, 9, 10],
  );
  set('10.1.2.129/32', undefined);
  set('fd00:1::8000:0:0:1/128', undefined);
  t.is(linkOf(reader, 0, a('10.1.2.129')), 4);
  t.is(linkOf(reader, 0, a('fd00:1::8000:0:0:1')), 9);
  set('fd00:1::/64', undefined);
  t.is(linkOf(reader, 0, a('fd00:1::1')), 7);
  t.is(linkOf(reader, 0, a('fd00:1::8000:0:0:1')), 9);
});

test('VRFs hold the same prefix with different answers', (t) => {
  const { writer, reader, sync } = pair();
  writer.apply(
    [1, 2, 3].map((vrf) => ({ vrf, prefix: p('10.0.0.0/8'), source: RouteSource.Static, nextHops: via(vrf) })),
  );
  sync();
  t.deepEqual(
    [0, 1, 2, 3].map((vrf) => linkOf(reader, vrf, a('10.1.1.1'))),
    [0, 1, 2, 3],
  );
  writer.removeVrf(2);
  sync();
  t.deepEqual(
    [1, 2, 3].map((vrf) => linkOf(reader, vrf, a('10.1.1.1'))),
    [1, 0, 3],
  );
});

test('the number of a VRF that is gone may be that of another one, and its groups are given back in slices', (t) => {
  const { writer, reader, sync } = pair();
  const routes = Array.from({ length: 3000 }, (_, i) => ({
    vrf: 2,
    prefix: p(`10.${i >>> 8}.${i & 255}.0/24`),
    source: RouteSource.Static,
    nextHops: via(i % 5),
  }));
  writer.apply(routes);
  sync();
  writer.removeVrf(2);
  writer.apply([{ vrf: 2, prefix: p('10.0.0.0/8'), source: RouteSource.Static, nextHops: via(9) }]);
  sync();
  t.is(linkOf(reader, 2, a('10.1.1.1')), 9);
  t.true(writer.isBuilding);
  t.is(writer.groupCount, 6);
  while (writer.isBuilding) writer.work(1000);
  t.is(writer.groupCount, 1);
  t.is(fibRoutes(writer, 2).length, 1);
  writer.apply([{ vrf: 3, prefix: p('10.0.0.0/8'), source: RouteSource.Static, nextHops: undefined }]);
  t.deepEqual(
    writer.stats().map((s) => s.vrf),
    [2],
    'what is withdrawn from nowhere makes no table',
  );
});

test('of several sources the smallest distance is used, the others wait', (t) => {
  const { writer, reader, sync } = pair();
  const set = (source: RouteSource, link: number | undefined): void => {
    writer.apply([{ vrf: 0, prefix: p('10.0.0.0/8'), source, nextHops: link === undefined ? undefined : via(link) }]);
    sync();
  };
  set(RouteSource.Ibgp, 4);
  t.is(linkOf(reader, 0, a('10.1.1.1')), 4);
  set(RouteSource.Ebgp, 3);
  set(RouteSource.Connected, 1);
  set(RouteSource.Static, 2);
  t.is(linkOf(reader, 0, a('10.1.1.1')), 1);
  t.deepEqual(
    writer.lookupRoute(0, a('10.1.1.1')).map((r) => [r.source, r.distance, r.nextHops[0]!.link, r.isBest]),
    [
      [RouteSource.Connected, 0, 1, true],
      [RouteSource.Static, 1, 2, false],
      [RouteSource.Ebgp, 20, 3, false],
      [RouteSource.Ibgp, 200, 4, false],
    ],
  );
  set(RouteSource.Connected, undefined);
  t.is(linkOf(reader, 0, a('10.1.1.1')), 2);
  set(RouteSource.Ebgp, undefined);
  set(RouteSource.Static, undefined);
  t.is(linkOf(reader, 0, a('10.1.1.1')), 4);
  set(RouteSource.Ibgp, undefined);
  t.is(linkOf(reader, 0, a('10.1.1.1')), 0);
  t.is(writer.groupCount, 0);
});

test('kinds without a way on are reported with their prefix', (t) => {
  const { writer, reader, sync } = pair();
  const kinds = [RouteKind.Local, RouteKind.Blackhole, RouteKind.Unreachable, RouteKind.Prohibit];
  writer.apply(
    kinds.map((kind, i) => ({ vrf: 0, prefix: p(`10.${i}.0.0/16`), source: RouteSource.Static, nextHops: [], kind })),
  );
  sync();
  t.deepEqual(
    kinds.map((_, i) => reader.kind(reader.lookup4(0, a(`10.${i}.0.1`).a3))),
    kinds,
  );
  t.deepEqual(
    kinds.map((_, i) => reader.nextHop(reader.lookup4(0, a(`10.${i}.0.1`).a3), 0)),
    [-1, -1, -1, -1],
  );
});

test('gateway and preferred source reach the reader as words', (t) => {
  const { writer, reader, sync } = pair();
  const nextHops = [{ link: 3, gateway: a('fe80::1234'), source: a('172.20.0.1') }];
  writer.apply([{ vrf: 0, prefix: p('172.20.0.0/14'), source: RouteSource.Ebgp, nextHops }]);
  sync();
  const hop = reader.nextHop(reader.lookup4(0, a('172.21.0.1').a3), 77);
  t.is(reader.link(hop), 3);
  t.true(reader.hasGateway(hop));
  t.true(reader.hasSource(hop));
  const word = (f: (i: number) => number): Addr => Addr.fromWords(f(0), f(1), f(2), f(3));
  t.is(String(word((i) => reader.gatewayWord(hop, i))), 'fe80::1234');
  t.is(String(word((i) => reader.sourceWord(hop, i))), '172.20.0.1');
});

test('the generation changes with routes, link states and bundles', (t) => {
  const { writer, reader, sync } = pair();
  const seen = [reader.generation];
  const note = (): unknown => seen.push(reader.generation);
  writer.apply([{ vrf: 0, prefix: p('10.0.0.0/8'), source: RouteSource.Static, nextHops: via(1) }]);
  note();
  sync();
  note();
  writer.linkDown(1);
  note();
  writer.linkUp(1);
  note();
  t.is(new Set(seen).size, seen.length);
  writer.linkUp(99);
  writer.apply([]);
  t.is(reader.generation, seen.at(-1)!);
});

test('a bundle that arrives late is ignored', (t) => {
  const writer = new FibWriter();
  const old = writer.shared;
  writer.apply([{ vrf: 0, prefix: p('10.0.0.0/8'), source: RouteSource.Static, nextHops: via(1) }]);
  const reader = new FibReader(writer.shared);
  reader.refresh(old);
  t.is(linkOf(reader, 0, a('10.0.0.1')), 1);
});

test("another writer's bundle takes the place of the present one, whatever its version, and no cached answer stays", (t) => {
  const before = pair();
  const prefixes = ['10.0.0.0/8', '10.1.0.0/16', '10.2.0.0/16'];
  for (const [i, x] of prefixes.entries()) {
    before.writer.apply([{ vrf: 0, prefix: p(x), source: RouteSource.Static, nextHops: via(i + 1) }]);
    before.sync();
  }
  const { reader } = before;
  const seen = new Set([reader.generation]);
  const writer = new FibWriter();
  writer.apply([{ vrf: 0, prefix: p('10.2.0.0/16'), source: RouteSource.Static, nextHops: via(9) }]);
  reader.replace(writer.takeChangedShared() ?? writer.shared);
  t.is(linkOf(reader, 0, a('10.2.0.1')), 9);
  t.is(linkOf(reader, 0, a('10.1.0.1')), 0);
  for (let length = 17; length < 24; length++) {
    t.false(seen.has(reader.generation));
    seen.add(reader.generation);
    writer.apply([{ vrf: 0, prefix: p(`10.2.0.0/${length}`), source: RouteSource.Static, nextHops: via(length) }]);
    const shared = writer.takeChangedShared();
    if (shared !== undefined) reader.refresh(shared);
    t.is(linkOf(reader, 0, a('10.2.0.1')), length);
  }
  before.writer.apply([{ vrf: 0, prefix: p('10.2.0.0/16'), source: RouteSource.Static, nextHops: undefined }]);
  t.is(linkOf(reader, 0, a('10.2.0.1')), 23, 'the writer of before has no say');
});

test('iteration gives every route once', (t) => {
  const { writer } = pair();
  const texts = ['0.0.0.0/0', '10.0.0.0/8', '10.0.0.1/32', '::/0', 'fd00::/8', 'fd00::1/128'];
  writer.apply(texts.map((x, i) => ({ vrf: 0, prefix: p(x), source: RouteSource.Static, nextHops: via(i + 1) })));
  t.deepEqual(
    fibRoutes(writer, 0)
      .map((r) => String(r.prefix))
      .sort(),
    [...texts].sort(),
  );
  t.is(writer.exactRoute(0, p('10.0.0.0/8'))[0]!.nextHops[0]!.link, 2);
  t.deepEqual(writer.exactRoute(0, p('10.0.0.0/9')), []);
});

/** Prefixes crowd around few places, so that covering, nesting and neighbours are frequent. */
const anyPrefix4 = fc
  .tuple(
    fc.constantFrom(0x0a000000, 0x0a0102ff, 0xc0000200, 0xffffffff, 0),
    fc.integer({ min: 0, max: 511 }),
    fc.integer({ min: 0, max: 32 }),
  )
  .map(([base, low, length]) => Prefix.containing(Addr.v4(base ^ low), length)!);
const anyPrefix6 = fc
  .tuple(
    fc.constantFrom(0xfd000000, 0x20010db8, 0xffffffff, 0),
    fc.constantFrom(0, 1, 0xffffffff, 0x80000000),
    fc.constantFrom(0, 1, 0xffffffff, 0x80000000),
    fc.constantFrom(0, 1, 2, 0xffffffff),
    fc.oneof(fc.integer({ min: 0, max: 128 }), fc.constantFrom(0, 8, 20, 32, 48, 63, 64, 65, 127, 128)),
  )
  .map(([w0, w1, w2, w3, length]) => Prefix.containing(Addr.v6(w0, w1, w2, w3), length)!);
const anyChange = fc.record({
  vrf: fc.constantFrom(0, 0, 0, 5),
  prefix: fc.oneof(anyPrefix4, anyPrefix6),
  source: fc.constantFrom(RouteSource.Static, RouteSource.Static, RouteSource.Ebgp),
  link: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined, freq: 3 }),
});

test('random changes one by one give the same answers as a list, at all edges of all prefixes', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(anyChange, { maxLength: 60 }), (changes) => {
        const { writer, reader, sync } = pair();
        const oracle = new Oracle();
        for (const { vrf, prefix, source, link } of changes) {
          writer.apply([{ vrf, prefix, source, nextHops: link === undefined ? undefined : via(link) }]);
          oracle.set(vrf, prefix, source, link);
          sync();
          for (const addr of edges(prefix))
            if (linkOf(reader, vrf, addr) !== oracle.lookup(vrf, addr))
              throw new Error(`${addr} in ${vrf} after ${prefix}`);
        }
        for (const prefix of oracle.prefixes)
          for (const addr of edges(prefix))
            for (const vrf of [0, 5])
              if (linkOf(reader, vrf, addr) !== oracle.lookup(vrf, addr)) throw new Error(`${addr} in ${vrf}`);
        return true;
      }),
      { seed: 3021, numRuns: 400 },
    ),
  );
});
