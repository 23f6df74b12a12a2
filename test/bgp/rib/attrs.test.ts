import test from 'ava';
import fc from 'fast-check';
import { OctetArena } from '../../../bgp/rib/arena.ts';
import { type AttrSet, AttrTable } from '../../../bgp/rib/attrs.ts';
import { firstAs, occurrences, pathLength } from '../../../bgp/wire/attribute/as-path.ts';
import type { WireContext } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { quickUpdate } from '../../../bgp/wire/quick.ts';
import { decodeCarefully, type Update, UpdatePacker } from '../../../bgp/wire/update.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { anyAttributes, anyHop } from '../kit/attributes.ts';
import { messageOf, PLAIN_CONTEXT } from '../kit/describe.ts';

const FIELDS = [
  ...['origin', 'asPath', 'med', 'localPref', 'atomicAggregate', 'aggregator', 'communities', 'extendedCommunities'],
  ...['largeCommunities', 'originatorId', 'clusterList', 'otc', 'unknown'],
] as const;
const values = (a: object): unknown[] => FIELDS.map((f) => (a as Record<string, unknown>)[f]);

test('a set gives back every attribute it was made of, and says at once what the decision asks', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(anyAttributes(false), anyHop, (a, hop) => {
        const table = new AttrTable();
        const set = table.intern(a, hop);
        const id = table.idOf(set);
        return (
          fc.stringify(values(set)) === fc.stringify(values(a)) &&
          fc.stringify(values(table.decoded(id))) === fc.stringify(values(a)) &&
          set.pathLength === pathLength(a.asPath) &&
          set.neighborAs === (firstAs(a.asPath) ?? 0) &&
          set.preference === (a.localPref ?? 100) &&
          table.med(id) === (a.med ?? 0) &&
          set.nextHop?.global?.toString() === hop.global?.toString() &&
          set.nextHop?.linkLocal?.toString() === hop.linkLocal?.toString() &&
          set.hasWellKnown === a.communities.some((c) => c >>> 16 === 0xffff) &&
          (a.asPath[0]?.asns ?? []).every((asn) => table.occurrences(id, asn) === occurrences(a.asPath, asn)) &&
          table.intern(structuredClone(a), hop) === set &&
          table.intern({ ...a, med: (a.med ?? 0) ^ 1 }, hop) !== set &&
          table.intern(a, { global: Addr.v4(1), linkLocal: undefined }) !== set
        );
      }),
      { seed: 7, numRuns: 500 },
    ),
  );
});

const INTERNAL: WireContext = { ...PLAIN_CONTEXT, external: false };

function bodyOf(a: Parameters<UpdatePacker['reach']>[1], hop: Parameters<UpdatePacker['reach']>[2]): Uint8Array {
  const out: Uint8Array[] = [];
  const settings = { fourOctetAs: true, maxMessage: 65_535, linkLocalForm: 'single' } as const;
  const packer = new UpdatePacker(settings, (octets) => out.push(octets));
  packer.reach(hop.global?.family === 4 ? 4 : 6, a, hop);
  packer.add(0x20010db8, 0, 0, 0, 32);
  packer.add(0x0a000000, 0, 0, 0, 8);
  packer.flush();
  return messageOf(out[0]!).body;
}

const shown = (u: Update): string =>
  fc.stringify([
    u.withdrawn,
    u.reach.map((r) => [r.nlri.family, r.nlri.bytes, String(r.nextHop.global), String(r.nextHop.linkLocal)]),
    u.attributes === undefined ? undefined : values(u.attributes),
    u.endOfRib,
    u.faults,
  ]);

test('octets of a message become the same set as its parsed attributes', (t) => {
  let quick = 0;
  t.notThrows(() =>
    fc.assert(
      fc.property(anyAttributes(true), anyHop, fc.boolean(), (plain, hop, isExternal) => {
        const a = isExternal ? { ...plain, otc: undefined, unknown: [] } : { ...plain, localPref: 50 };
        const context = isExternal ? PLAIN_CONTEXT : INTERNAL;
        const body = bodyOf(a, hop);
        const carefully = decodeCarefully(body, context);
        if ('handling' in carefully) return false;
        const quickly = quickUpdate(body, context);
        if (quickly === undefined) return true;
        quick++;
        const table = new AttrTable();
        const { octets, from, end } = quickly.wire!;
        const id = table.internWire(octets, from, end, quickly.reach[0]!.nextHop);
        const { nextHop } = carefully.reach[0]!;
        return shown(quickly) === shown(carefully) && table.idOf(table.intern(carefully.attributes!, nextHop)) === id;
      }),
      { seed: 8, numRuns: 500 },
    ),
  );
  t.true(quick > 250, 'most messages go the short way');
});

test('whatever is wrong with a message, the short way gives the same answer as the long one or none', (t) => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 });
  let quick = 0;
  t.notThrows(() =>
    fc.assert(
      fc.property(anyAttributes(true), anyHop, damage, fc.boolean(), (a, hop, flips, isExternal) => {
        const context = isExternal ? { ...PLAIN_CONTEXT, firstAs: firstAs(a.asPath) ?? 1 } : INTERNAL;
        const body = bodyOf({ ...a, otc: undefined, unknown: [] }, hop).slice();
        for (const [at, value] of flips) body[at % body.length] = value;
        const quickly = quickUpdate(body, context);
        if (quickly === undefined) return true;
        quick++;
        const carefully = decodeCarefully(body, context);
        return !('handling' in carefully) && shown(quickly) === shown(carefully);
      }),
      { seed: 9, numRuns: 3000 },
    ),
  );
  t.true(quick > 300, 'some damage is within the rules');
});

test('an extended length that is not needed makes no other set', (t) => {
  const a = { ...BASE, communities: [1, 2] };
  const body = bodyOf(a, { global: Addr.v4(0x0a000001), linkLocal: undefined });
  const at = body.findIndex((_, i) => body[i] === 0x40 && body[i + 1] === 2); // AS_PATH
  const longer = new Uint8Array([...body.subarray(0, at), 0x50, 2, 0, ...body.subarray(at + 2)]);
  longer[3] = longer[3]! + 1;
  const table = new AttrTable();
  const ids = [body, longer].map((b) => {
    const u = quickUpdate(b, PLAIN_CONTEXT)!;
    return table.internWire(u.wire!.octets, u.wire!.from, u.wire!.end, u.reach[0]!.nextHop);
  });
  t.is(ids[0], ids[1]);
});

const BASE = {
  ...PLAIN_ATTRIBUTES,
  asPath: [{ type: 2, asns: [64512] }],
};

test('sets live exactly as long as somebody holds them, and numbers are used again', (t) => {
  const step = fc.tuple(fc.nat(20), fc.boolean(), fc.boolean());
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const table = new AttrTable();
        const held = new Map<number, number[]>();
        for (const [n, isMore, isSwept] of steps) {
          if (isMore) {
            const hop = { global: Addr.v4(n % 3), linkLocal: undefined };
            const id = table.idOf(table.intern({ ...BASE, med: n }, hop));
            table.retain(id);
            held.set(n, [...(held.get(n) ?? []), id]);
          } else {
            const id = held.get(n)?.pop();
            if (id !== undefined) table.release(id);
          }
          if (isSwept) table.sweep();
          for (const [med, ids] of held)
            for (const id of ids) if (table.med(id) !== med || table.set(id).med !== med) return false;
        }
        const isRight = (): boolean => {
          table.sweep();
          return table.size === [...held.values()].filter((ids) => ids.length > 0).length;
        };
        if (!isRight()) return false;
        for (const ids of held.values()) for (const id of ids) table.release(id);
        held.clear();
        return isRight() && table.size === 0 && table.hops.size === 0 && table.idle === 0 && table.octets === 0;
      }),
      { seed: 10, numRuns: 200 },
    ),
  );
});

test('an object that outlives its set brings it back', (t) => {
  const table = new AttrTable();
  const hop = { global: Addr.v4(7), linkLocal: undefined };
  const set: AttrSet = table.intern({ ...BASE, communities: [1, 2, 3] }, hop);
  table.sweep();
  t.is(table.size, 0);
  const other = table.intern({ ...BASE, communities: [9] }, hop);
  t.deepEqual(set.communities, [1, 2, 3]);
  t.is(set.nextHop?.global?.a3, 7);
  t.is(table.size, 2);
  t.not(table.idOf(set), table.idOf(other));
  t.is(table.intern({ ...BASE, communities: [1, 2, 3] }, hop), set);
});

test('sweeping goes on where its budget ended it', (t) => {
  const table = new AttrTable();
  for (let i = 0; i < 1000; i++) table.intern({ ...BASE, med: i }, undefined);
  for (let left = 1000; left > 0; left -= 300) {
    t.is(table.idle, left);
    table.sweep(300);
    t.is(table.size, Math.max(0, left - 300));
  }
});

test('strings in an arena never overlap, and an empty one begins anew', (t) => {
  const step = fc.tuple(fc.integer({ min: 1, max: 5000 }), fc.nat(3));
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const arena = new OctetArena();
        const kept: { place: number; size: number; fill: number }[] = [];
        const fillOf = (k: { place: number; size: number }): Uint8Array => {
          const at = arena.offset(k.place);
          return arena.block(k.place).subarray(at, at + k.size);
        };
        let n = 0;
        for (const [size, what] of steps) {
          if (what === 0 && kept.length > 0) {
            const [gone] = kept.splice(size % kept.length, 1);
            arena.give(gone!.place, gone!.size);
          } else {
            const k = { place: arena.take(size), size, fill: ++n & 255 };
            kept.push(k);
            fillOf(k).fill(k.fill);
          }
        }
        if (!kept.every((k) => fillOf(k).every((octet) => octet === k.fill))) return false;
        for (const k of kept) arena.give(k.place, k.size);
        return arena.used === 0;
      }),
      { seed: 11, numRuns: 100 },
    ),
  );
});
