import test from 'ava';
import { RoaState } from '../../../bgp/policy/rule.ts';
import { RoaTable } from '../../../bgp/rpki/roa-table.ts';
import { RouteIndex } from '../../../bgp/rpki/route-index.ts';
import type { VrpList } from '../../../bgp/rpki/vrp.ts';
import type { Policy } from '../../../bgp/speaker.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { PrefixTable } from '../../../router/lib/prefix-table.ts';
import { SimNet } from '../kit/net.ts';
import { vrpList, wordsOf } from '../kit/roas.ts';

const ONLY_VALID: Policy = [{ match: { roa: [RoaState.Valid] }, action: 'accept' }];

/** `a` validates what it hears from `b` and `c`; `d` hears from `a`. */
function network() {
  const roas = new RoaTable();
  const source = roas.addSource('test');
  const net = new SimNet(6811);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'], roas });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24', '172.20.2.128/25', 'fd42:2::/48'] });
  const c = net.router('c', { asn: 64603, networks: ['172.20.2.0/24', '172.20.3.0/24'] });
  const d = net.router('d', { asn: 64604 });
  net.join(a, b, { import: ONLY_VALID }, {});
  net.join(a, c, { import: ONLY_VALID }, {});
  net.join(a, d);
  const set = (list: VrpList): void => {
    const update = source.replace(list);
    update.step();
    a.speaker.revalidate(update.changed);
  };
  net.start();
  return { net, a, b, c, d, set };
}

const seen = (r: { fib: Map<string, unknown> }): string[] => [...r.fib.keys()].sort();

test('stored routes follow the ROAs, and sessions notice nothing', (t) => {
  const { net, a, b, d, set } = network();
  net.run(30_000);
  t.deepEqual(seen(a), [], 'unknown is not valid');
  t.is([...a.speaker.routes('in')].length, 5, 'refused routes are kept');
  set(vrpList('172.20.2.0/24-24 AS64602', 'fd42:2::/48-48 AS64602'));
  net.run(1000);
  t.deepEqual(seen(a), ['172.20.2.0/24', 'fd42:2::/48']);
  t.deepEqual(seen(d), ['172.20.1.0/24', '172.20.2.0/24', 'fd42:2::/48']);
  t.is(a.session('b').routes.ipv4.accepted, 1);
  const sent = b.octetsSent;

  set(vrpList('172.20.2.0/24-25 AS64602', '172.20.3.0/24-24 AS64603'));
  net.run(1000);
  t.deepEqual(seen(a), ['172.20.2.0/24', '172.20.2.128/25', '172.20.3.0/24']);
  t.deepEqual(seen(d), ['172.20.1.0/24', '172.20.2.0/24', '172.20.2.128/25', '172.20.3.0/24']);
  t.is(b.octetsSent, sent, 'the peer was not asked for anything');

  set(vrpList('172.20.2.0/24-25 AS0', '172.20.3.0/24-24 AS64603'));
  net.run(1000);
  t.deepEqual(seen(a), ['172.20.3.0/24']);
  t.deepEqual(seen(d), ['172.20.1.0/24', '172.20.3.0/24']);
  for (const peer of ['b', 'c', 'd']) t.is(a.session(peer).establishments, 1);
});

test('a change costs as much as there is inside the changed prefixes', (t) => {
  const { net, a, set } = network();
  net.run(30_000);
  set(vrpList('172.20.2.0/24-25 AS64602', 'fd42:2::/48-48 AS64602'));
  net.run(1000);
  const before = a.speaker.revalidated;
  const rest = [...a.speaker.routes('in')].length;
  set(vrpList('172.20.2.0/24-25 AS64602', 'fd42:2::/48-48 AS64602', '10.0.0.0/8-24 AS1'));
  net.run(1000);
  t.true(a.speaker.revalidated - before <= rest);
  t.is([...a.speaker.routes('best')].filter((r) => r.peer !== undefined).length, 3);
});

test('routes show their state', (t) => {
  const { net, a, set } = network();
  net.run(30_000);
  set(vrpList('172.20.2.0/24-24 AS64602'));
  net.run(1000);
  const states = [...a.speaker.routes('in')].map((r) => `${r.peer} ${r.prefix} ${r.roa}`).sort();
  t.deepEqual(states, [
    'b 172.20.2.0/24 valid',
    'b 172.20.2.128/25 invalid',
    'b fd42:2::/48 unknown',
    'c 172.20.2.0/24 invalid',
    'c 172.20.3.0/24 unknown',
  ]);
});

test('the index finds what lies inside a prefix, also after ids were given away', (t) => {
  const prefixes = new PrefixTable(4);
  const index = new RouteIndex(prefixes);
  const add = (text: string): number => {
    const id = prefixes.internPrefix(Prefix.parse(text)!);
    prefixes.retain(id);
    index.add(id);
    return id;
  };
  const inside = (text: string): string[] => {
    const found: string[] = [];
    const [, ...words] = wordsOf(Prefix.parse(text)!);
    index.inside(...words, (id) => found.push(String(prefixes.prefix(id))));
    return found.sort();
  };
  const ids = ['172.20.0.0/14', '172.20.0.0/16', '172.20.5.0/24', '172.21.0.0/24', '10.0.0.0/8', '0.0.0.0/0'].map(add);
  t.deepEqual(inside('172.20.0.0/16'), ['172.20.0.0/16', '172.20.5.0/24']);
  t.deepEqual(inside('172.20.0.0/14'), ['172.20.0.0/14', '172.20.0.0/16', '172.20.5.0/24', '172.21.0.0/24']);
  t.deepEqual(inside('172.20.5.0/24'), ['172.20.5.0/24']);
  t.is(inside('0.0.0.0/0').length, 6);
  prefixes.release(ids[2]!);
  t.deepEqual(inside('172.20.0.0/16'), ['172.20.0.0/16']);
  t.is(add('192.168.7.0/24'), ids[2], 'the id is used again');
  t.deepEqual(inside('172.20.0.0/16'), ['172.20.0.0/16']);
  t.deepEqual(inside('192.168.0.0/16'), ['192.168.7.0/24']);
  index.add(ids[2]!);
  t.deepEqual(inside('192.168.0.0/16'), ['192.168.7.0/24'], 'adding twice is adding once');
});

test('export policy can ask for the state of origins too', (t) => {
  const { net, a, d, set } = network();
  net.run(30_000);
  const notInvalid = [{ match: { not: { roa: [RoaState.Invalid] } }, action: 'accept' }] as const;
  a.speaker.setPolicies('b', { import: 'accept-all', export: 'accept-all' });
  a.speaker.setPolicies('d', { import: 'accept-all', export: notInvalid });
  set(vrpList('172.20.2.0/24-25 AS64999'));
  net.run(1000);
  a.speaker.setPolicies('d', { import: 'accept-all', export: notInvalid });
  net.run(1000);
  t.deepEqual(seen(d), ['172.20.1.0/24', 'fd42:2::/48']);
});

test('what is told follows the ROAs where only export policy asks, for own prefixes and several paths too', (t) => {
  const roas = new RoaTable();
  const source = roas.addSource('test');
  const net = new SimNet(6812);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'], roas });
  // So many that changed prefixes are searched for.
  const many = Array.from({ length: 100 }, (_, i) => [`10.0.${i}.0/24`, `fd10:${i}::/48`]).flat();
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24', '172.20.2.128/25', 'fd42:2::/48', ...many] });
  const d = net.router('d', { asn: 64604 });
  const e = net.router('e', { asn: 64605 });
  net.join(a, b);
  net.join(a, d, { export: ONLY_VALID });
  net.join(a, e, { export: ONLY_VALID, addPath: 'both' }, { addPath: 'both' });
  const set = (...vrps: string[]): void => {
    const update = source.replace(vrpList(...vrps));
    update.step();
    a.speaker.revalidate(update.changed);
    net.run(1000);
  };
  net.start();
  net.run(30_000);
  t.is(a.fib.size, 203);
  t.deepEqual([seen(d), seen(e)], [[], []], 'unknown is not valid');
  set('172.20.0.0/16-24 AS64602', 'fd42:2::/48-48 AS64602');
  const some = ['172.20.2.0/24', 'fd42:2::/48'];
  t.deepEqual([seen(d), seen(e)], [some, some]);
  set('172.20.1.0/24-24 AS64601', '172.20.2.128/25-25 AS64602');
  const others = ['172.20.1.0/24', '172.20.2.128/25'];
  t.deepEqual([seen(d), seen(e)], [others, others]);
  t.is(a.session('d').establishments, 1);
});
