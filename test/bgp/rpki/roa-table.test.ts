import test from 'ava';
import fc from 'fast-check';
import { RoaState } from '../../../bgp/policy/rule.ts';
import { MAX_SOURCES, RoaTable, roaOrigin } from '../../../bgp/rpki/roa-table.ts';
import { type Vrp, VrpList } from '../../../bgp/rpki/vrp.ts';
import { SegmentType } from '../../../bgp/wire/attribute/as-path.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { registryRoas, roaTable, stateOf, vrp, vrpList, wordsOf } from '../kit/roas.ts';

const { NotFound, Valid, Invalid } = RoaState;

test('a route is valid, invalid or unknown as RFC 6811 §2 has it', (t) => {
  const table = roaTable('172.20.0.0/20-24 AS64501', '172.20.0.0/20-20 AS64502', 'fd42::/32-48 AS64501');
  t.is(stateOf(table, '172.20.0.0/20', 64501), Valid);
  t.is(stateOf(table, '172.20.1.0/24', 64501), Valid);
  t.is(stateOf(table, '172.20.0.0/20', 64502), Valid, 'several origins');
  t.is(stateOf(table, '172.20.1.0/24', 64502), Invalid, 'longer than this AS may announce');
  t.is(stateOf(table, '172.20.1.0/25', 64501), Invalid);
  t.is(stateOf(table, '172.20.1.0/24', 64503), Invalid, 'another origin');
  t.is(stateOf(table, '172.20.0.0/19', 64501), NotFound, 'shorter than what the ROA speaks of');
  t.is(stateOf(table, '172.21.0.0/24', 64501), NotFound);
  t.is(stateOf(table, 'fd42:0:1::/48', 64501), Valid);
  t.is(stateOf(table, 'fd42:0:1::/64', 64501), Invalid);
  t.is(stateOf(table, 'fd43::/48', 64501), NotFound);
  t.is(stateOf(table, '0.0.0.0/0', 64501), NotFound);
});

test('AS 0 makes a prefix invalid for everybody, and no origin matches nothing', (t) => {
  const table = roaTable('172.20.0.0/24-24 AS0', '0.0.0.0/0-32 AS64501');
  t.is(stateOf(table, '172.20.0.0/24', 0), Invalid);
  t.is(stateOf(table, '172.20.0.0/24', 64502), Invalid);
  t.is(stateOf(table, '172.20.0.0/24', 64501), Valid, 'a covering ROA that matches is enough');
  t.is(stateOf(table, '10.0.0.0/8', 0), Invalid);
});

test('the origin is the last AS of a sequence, nobody after a set, ourselves without a path', (t) => {
  const sequence = { type: SegmentType.Sequence, asns: [64501, 64502] };
  t.is(roaOrigin([sequence], 64999), 64502);
  t.is(roaOrigin([sequence, { type: SegmentType.Set, asns: [64503] }], 64999), 0);
  t.is(roaOrigin([], 64999), 64999);
  t.is(roaOrigin([sequence, { type: SegmentType.ConfedSequence, asns: [65000] }], 64999), 64999);
});

test('every ROA of the DN42 registry makes its own route valid, unless it is for AS 0, and a stranger invalid', (t) => {
  const table = new RoaTable();
  const list = new VrpList();
  const roas = registryRoas();
  for (const r of roas) list.addVrp({ ...r, prefix: Prefix.parse(r.prefix)! });
  table.addSource('registry').replace(list).step();
  t.is(table.size(4) + table.size(6), new Set(roas.map((r) => `${r.prefix} ${r.maxLength} ${r.asn}`)).size);
  for (const r of roas) {
    t.is(stateOf(table, r.prefix, r.asn), r.asn === 0 ? Invalid : Valid, r.prefix);
    t.is(stateOf(table, r.prefix, 64511), Invalid, r.prefix);
  }
});

const anyAddress = fc.oneof(
  fc.tuple(fc.constantFrom(0xac14, 0xac15, 0x0a00), fc.nat(0x3ff)).map(([hi, lo]) => Addr.v4((hi << 16) | (lo << 6))),
  fc.tuple(fc.constantFrom(0, 1, 256), fc.nat(7), fc.nat(3)).map(([a, b, c]) => Addr.v6(0xfd420000 | a, b << 16, c, 0)),
);
const anyPrefix = fc.tuple(anyAddress, fc.nat(128)).map(([a, l]) => Prefix.containing(a, a.family === 4 ? l % 33 : l)!);
const anyVrp = fc.tuple(anyPrefix, fc.nat(16), fc.constantFrom(0, 64501, 64502)).map(
  ([prefix, more, asn]): Vrp => ({
    prefix,
    maxLength: Math.min(prefix.family === 4 ? 32 : 128, prefix.length + more),
    asn,
  }),
);

/** RFC 6811 §2, word for word. */
function naive(vrps: readonly Vrp[], route: Prefix, origin: number): number {
  const covering = vrps.filter(
    (v) => v.prefix.family === route.family && v.prefix.length <= route.length && v.prefix.contains(route.addr),
  );
  if (covering.length === 0) return NotFound;
  return covering.some((v) => v.maxLength >= route.length && v.asn === origin && origin !== 0) ? Valid : Invalid;
}

const key = (v: Vrp): string => `${v.prefix} ${v.maxLength} ${v.asn}`;

test('the table agrees with a naive one after any changes of two sources', (t) => {
  const step = fc.record({
    source: fc.nat(1),
    replaces: fc.boolean(),
    vrps: fc.array(fc.tuple(anyVrp, fc.boolean()), { maxLength: 12 }),
  });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 6 }),
      fc.array(anyPrefix, { minLength: 20, maxLength: 30 }),
      (steps, routes) => {
        const table = new RoaTable();
        const sources = [table.addSource('a'), table.addSource('b')];
        const model = [new Map<string, Vrp>(), new Map<string, Vrp>()];
        for (const s of steps) {
          const known = (): Set<string> => new Set([...model[0]!.keys(), ...model[1]!.keys()]);
          const before = known();
          const list = new VrpList();
          if (s.replaces) model[s.source]!.clear();
          for (const [v, isWithdrawn] of s.vrps) {
            list.addVrp(v, isWithdrawn && !s.replaces);
            if (isWithdrawn && !s.replaces) model[s.source]!.delete(key(v));
            else model[s.source]!.set(key(v), v);
          }
          const update = s.replaces ? sources[s.source]!.replace(list) : sources[s.source]!.update(list);
          while (!update.step(3)) {}
          const after = known();
          const changed = new Set(
            Array.from({ length: update.changed.size }, (_, i) => String(update.changed.prefix(i))),
          );
          for (const k of before) if (!after.has(k)) t.true(changed.has(k.split(' ')[0]!), `${k} is gone`);
          for (const k of after) if (!before.has(k)) t.true(changed.has(k.split(' ')[0]!), `${k} is new`);
          t.is(sources[s.source]!.size, model[s.source]!.size);
        }
        const all = [...model[0]!.values(), ...model[1]!.values()];
        t.is(table.size(4) + table.size(6), new Set(all.map(key)).size);
        for (const route of [...routes, ...all.map((v) => v.prefix)]) {
          for (const origin of [0, 64501, 64503]) {
            t.is(table.state(...wordsOf(route), origin), naive(all, route, origin), `${route} AS${origin}`);
          }
        }
      },
    ),
    { seed: 6811, numRuns: 150 },
  );
});

test('what two sources have stays until the second loses it, and only then is a change', (t) => {
  const table = new RoaTable();
  const a = table.addSource('a');
  const b = table.addSource('b');
  const list = vrpList('172.20.0.0/24-24 AS64501');
  const first = a.replace(list);
  first.step();
  t.is(first.changed.size, 1);
  const second = b.replace(list);
  second.step();
  t.is(second.changed.size, 0);
  const gone = a.replace(new VrpList());
  gone.step();
  t.is(gone.changed.size, 0);
  t.is(stateOf(table, '172.20.0.0/24', 64501), Valid);
  const last = b.replace(new VrpList());
  last.step();
  t.is(String(last.changed.prefix(0)), '172.20.0.0/24');
  t.is(stateOf(table, '172.20.0.0/24', 64501), NotFound);
});

test('an unchanged list changes nothing', (t) => {
  const table = new RoaTable();
  const source = table.addSource('a');
  const texts = ['172.20.0.0/24-24 AS64501', 'fd42::/48-48 AS64501'];
  source.replace(vrpList(...texts)).step();
  const again = source.replace(vrpList(...texts));
  again.step();
  t.is(again.changed.size, 0);
});

test('the ROAs that speak about a prefix are listed', (t) => {
  const table = roaTable('172.20.0.0/14-24 AS1', '172.20.0.0/24-28 AS2', '172.20.1.0/24-24 AS3');
  const found = table.covering(Prefix.parse('172.20.0.0/26')!);
  t.deepEqual(found.map(key), [key(vrp('172.20.0.0/14-24 AS1')), key(vrp('172.20.0.0/24-28 AS2'))]);
  t.is(table.validate(Prefix.parse('10.0.0.0/8')!, 1), 'unknown');
});

test('the number of sources is limited, and a place can be given back', (t) => {
  const table = new RoaTable();
  const sources = Array.from({ length: MAX_SOURCES }, (_, i) => table.addSource(`s${i}`));
  t.throws(() => table.addSource('one more'), { instanceOf: RangeError });
  sources[3]!.close();
  t.is(table.addSource('another').name, 'another');
});
