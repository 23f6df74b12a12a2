/** The tables against simple models, under random work; nothing may leak. */

import test from 'ava';
import fc from 'fast-check';
import { AdjRibsIn, Verdict } from '../../../bgp/rib/adj-rib-in.ts';
import { AdjRibOut } from '../../../bgp/rib/adj-rib-out.ts';
import { AdjRibPathsOut } from '../../../bgp/rib/adj-rib-paths-out.ts';
import { type AttrSet, AttrTable } from '../../../bgp/rib/attrs.ts';
import { IdQueue } from '../../../bgp/rib/queue.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { MessageReader } from '../../../bgp/wire/message.ts';
import { NlriCursor, prefixFromWords } from '../../../bgp/wire/nlri.ts';
import { decodeUpdate, UpdatePacker } from '../../../bgp/wire/update.ts';
import { Addr, type Family, Prefix } from '../../../router/lib/addr.ts';
import { PrefixTable } from '../../../router/lib/prefix-table.ts';
import { PLAIN_CONTEXT } from '../kit/describe.ts';

function attributes(table: AttrTable, n: number): AttrSet {
  return table.intern(
    {
      ...PLAIN_ATTRIBUTES,
      asPath: [{ type: 2, asns: [64600 + n] }],
      localPref: 100,
    },
    { global: Addr.v4(0x0a090909), linkLocal: undefined },
  );
}

const anyPrefix = (family: Family): fc.Arbitrary<Prefix> =>
  fc.tuple(fc.nat(31), fc.integer({ min: 20, max: 32 })).map(([n, length]) => {
    const addr = family === 4 ? Addr.v4(0xac140000 | (n << 3)) : Addr.v6(0xfd420000 | 0, n << 27, 0, 1);
    return Prefix.containing(addr, family === 4 ? length : length * 2)!;
  });

for (const family of [4, 6] as const) {
  test(`the prefix table agrees with a map under random work (IPv${family})`, (t) => {
    const work = fc.array(fc.tuple(anyPrefix(family), fc.boolean()), { maxLength: 400, size: 'max' });
    t.notThrows(() =>
      fc.assert(
        fc.property(work, (steps) => {
          const table = new PrefixTable(family);
          const model = new Map<string, number>();
          for (const [prefix, isAdd] of steps) {
            const name = prefix.toString();
            if (isAdd && !model.has(name)) {
              const id = table.internPrefix(prefix);
              table.retain(id);
              model.set(name, id);
            } else if (!isAdd && model.has(name)) {
              table.release(model.get(name)!);
              model.delete(name);
            }
            if (table.size !== model.size) return false;
            if (table.findPrefix(prefix) !== (model.get(name) ?? -1)) return false;
          }
          return [...model].every(([name, id]) => table.prefix(id).toString() === name && table.isUsed(id));
        }),
        { seed: 4, numRuns: 200 },
      ),
    );
  });
}

test('the prefix table grows over many prefixes and finds each of them', (t) => {
  const table = new PrefixTable(4);
  for (let i = 0; i < 50_000; i++) table.retain(table.intern(i << 8, 0, 0, 0, 24));
  t.is(table.size, 50_000);
  for (let i = 0; i < 50_000; i += 7) t.is(table.find(i << 8, 0, 0, 0, 24), i);
  t.is(table.find(5 << 8, 0, 0, 0, 25), -1);
  for (let i = 0; i < 50_000; i++) table.release(i);
  t.is(table.size, 0);
});

test('a queue gives each id once, in order, and keeps it alive meanwhile', (t) => {
  const table = new PrefixTable(4);
  const queue = new IdQueue(table);
  for (let i = 0; i < 5000; i++) queue.push(table.intern(i << 8, 0, 0, 0, 24));
  for (let i = 0; i < 5000; i++) queue.push(i);
  t.is(queue.size, 5000);
  for (let i = 0; i < 3000; i++) {
    t.is(queue.shift(), i);
    table.release(i);
  }
  for (let i = 5000; i < 9000; i++) queue.push(table.intern(i << 8, 0, 0, 0, 24));
  t.is(queue.size, 6000);
  queue.clear();
  t.is(queue.shift(), -1);
  t.is(table.size, 0);
});

test('routes of several peers come and go without leaving attribute sets or prefixes behind', (t) => {
  const step = fc.tuple(anyPrefix(4), fc.integer({ min: 1, max: 3 }), fc.nat(2), fc.nat(4));
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
        const attrs = new AttrTable();
        const prefixes = new PrefixTable(4);
        const routes = new AdjRibsIn(prefixes, attrs);
        const model = new Map<string, AttrSet>();
        for (const [prefix, peer, pathId, n] of steps) {
          const key = `${prefix} ${peer} ${pathId}`;
          const found = prefixes.findPrefix(prefix);
          const route = found < 0 ? -1 : routes.find(found, peer, pathId);
          if (route >= 0 !== model.has(key)) return false;
          if (n === 0) {
            if (route >= 0) routes.remove(route);
            model.delete(key);
            continue;
          }
          const set = attributes(attrs, n);
          if (route >= 0) routes.replace(route, attrs.idOf(set), attrs.idOf(set), Verdict.Accepted);
          else routes.add(prefixes.internPrefix(prefix), peer, pathId, attrs.idOf(set), -1, Verdict.Policy);
          model.set(key, set);
        }
        attrs.sweep();
        if (routes.size !== model.size || attrs.size !== new Set(model.values()).size) return false;
        for (const peer of [1, 2, 3]) routes.forPeer(peer, (r) => routes.remove(r));
        attrs.sweep();
        return routes.size === 0 && attrs.size === 0 && prefixes.size === 0;
      }),
      { seed: 5, numRuns: 200 },
    ),
  );
});

test('a peer ends up with exactly what it should know, whatever changes and refreshes happen in between', (t) => {
  const change = fc.oneof(
    fc.tuple(anyPrefix(4), fc.nat(3)),
    fc.constant('pull' as const),
    fc.constant('resend' as const),
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200, size: 'max' }), (changes) => {
        const attrs = new AttrTable();
        const prefixes = new PrefixTable(4);
        const out = new AdjRibOut(prefixes, attrs);
        const wanted = new Map<number, AttrSet>();
        const known = new Map<string, number>();
        const reader = new MessageReader();
        const packer = new UpdatePacker({ fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single' }, (octets) => {
          reader.push(octets);
          for (let m = reader.next(); m !== undefined && !('handling' in m); m = reader.next()) {
            const u = decodeUpdate(m.body, PLAIN_CONTEXT);
            if ('handling' in u) throw new Error(u.words);
            const c = new NlriCursor();
            for (const n of u.withdrawn) for (c.over(n); c.next(); ) known.delete(name(c));
            for (const r of u.reach)
              for (c.over(r.nlri); c.next(); ) known.set(name(c), u.attributes!.asPath[0]!.asns[0]!);
          }
        });
        const name = (c: NlriCursor): string => prefixFromWords(4, c.w0, 0, 0, 0, c.length).toString();
        const pull = (): void => {
          while (out.pending > 0) out.pull(7, (id) => wanted.get(id), packer);
          packer.flush();
        };
        for (const step of changes) {
          if (step === 'pull') pull();
          else if (step === 'resend') out.resend();
          else {
            const [prefix, n] = step;
            const id = prefixes.internPrefix(prefix);
            prefixes.retain(id);
            if (wanted.has(id)) prefixes.release(id);
            out.touch(id);
            if (n > 0) wanted.set(id, attributes(attrs, n));
            else {
              wanted.delete(id);
              prefixes.release(id);
            }
          }
        }
        pull();
        const expected = new Map([...wanted].map(([id, a]) => [prefixes.prefix(id).toString(), a.asPath[0]!.asns[0]!]));
        const isSame = known.size === expected.size && [...expected].every(([p, asn]) => known.get(p) === asn);
        const isCounted = out.size === expected.size;
        out.clear();
        for (const id of wanted.keys()) prefixes.release(id);
        attrs.sweep();
        return isSame && isCounted && attrs.size === 0 && prefixes.size === 0;
      }),
      { seed: 6, numRuns: 300 },
    ),
  );
});

test('a peer that is told several paths is refreshed, reviewed and forgotten in slices', (t) => {
  const COUNT = 3000;
  const BUDGET = 100;
  const attrs = new AttrTable();
  const prefixes = new PrefixTable(4);
  const out = new AdjRibPathsOut(prefixes, attrs);
  const packer = new UpdatePacker(
    { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single', pathIds: true },
    () => {},
  );
  const told = new Map<number, number>();
  const paths = [1, 2].map((pathId) => ({ pathId, attrs: attributes(attrs, pathId) }));
  const pull = (): void => {
    out.pull(
      BUDGET,
      (id) => {
        told.set(id, (told.get(id) ?? 0) + 1);
        return paths;
      },
      packer,
    );
  };
  const pullAll = (): void => {
    while (out.pending > 0) pull();
  };
  for (let i = 0; i < COUNT; i++) out.touch(prefixes.intern(i << 12, 0, 0, 0, 24));
  pullAll();
  t.is(out.size, 2 * COUNT);

  out.resend();
  pull();
  t.true(out.pending < 5 * BUDGET, `${out.pending} queued at once by a refresh`);
  pullAll();
  const loc = {
    slice: (from: number, budget: number, visit: (id: number) => void): number => {
      const end = Math.min(COUNT, from + budget);
      for (let id = from; id < end; id++) visit(id);
      return end === COUNT ? -1 : end;
    },
  };
  out.review(loc);
  pull();
  t.true(out.pending < 5 * BUDGET, `${out.pending} queued at once by a review`);
  pullAll();
  t.deepEqual([...new Set(told.values())], [3], 'every prefix in each of three rounds');

  out.resend();
  out.touch(0);
  let steps = 0;
  for (let before = out.size; !out.step(BUDGET); before = out.size) {
    steps++;
    t.true(before - out.size <= BUDGET + 1, `${before - out.size} paths forgotten in one step`);
  }
  t.true(steps >= (2 * COUNT) / BUDGET - 1);
  attrs.sweep();
  t.deepEqual([out.size, out.pending, prefixes.size, attrs.size], [0, 0, 0, 0]);
});
