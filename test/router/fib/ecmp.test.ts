import test from 'ava';
import { flowHash } from '../../../router/fib/hash.ts';
import { FibReader } from '../../../router/fib/reader.ts';
import { type NextHop, RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

const PREFIX = Prefix.parse('10.0.0.0/8')!;
const DST = Addr.parse('10.1.2.3')!.a3;
const FLOWS = 20_000;

function hashOf(flow: number, seed = 0): number {
  return flowHash(0, 0, 0xffff, 0xc0000201, 0, 0, 0xffff, DST, 6, ((1024 + flow) << 16) | 443, seed);
}

function fibWith(nextHops: readonly NextHop[]): { writer: FibWriter; links: () => number[] } {
  const writer = new FibWriter();
  writer.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.Static, nextHops }]);
  const reader = new FibReader(writer.shared);
  return {
    writer,
    links: () => {
      const group = reader.lookup4(0, DST);
      return Array.from({ length: FLOWS }, (_, flow) => reader.memberLink(group, hashOf(flow)));
    },
  };
}

function shares(links: readonly number[]): Map<number, number> {
  const count = new Map<number, number>();
  for (const link of links) count.set(link, (count.get(link) ?? 0) + 1 / links.length);
  return count;
}

const members = (...links: number[]): NextHop[] => links.map((link) => ({ link }));

test('flows spread over the members in proportion to their weights', (t) => {
  const equal = shares(fibWith(members(1, 2, 3, 4)).links());
  for (const link of [1, 2, 3, 4]) t.true(Math.abs(equal.get(link)! - 0.25) < 0.08, `link ${link}: ${equal.get(link)}`);
  const weighted = shares(
    fibWith([
      { link: 1, weight: 9 },
      { link: 2, weight: 1 },
    ]).links(),
  );
  t.true(Math.abs(weighted.get(1)! - 0.9) < 0.05, `${weighted.get(1)}`);
});

test('when a link goes down only its flows move, and they return when it is up again', (t) => {
  const { writer, links } = fibWith(members(1, 2, 3));
  const before = links();
  writer.linkDown(2);
  const during = links();
  t.true(before.every((link, i) => (link === 2 ? during[i] !== 2 && during[i] !== 0 : during[i] === link)));
  writer.linkUp(2);
  t.deepEqual(links(), before);
});

test('when a route loses a member only the flows of that member move', (t) => {
  const { writer, links } = fibWith(members(1, 2, 3, 4));
  const before = links();
  writer.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.Static, nextHops: members(4, 1, 3) }]);
  const after = links();
  t.true(before.every((link, i) => (link === 2 ? after[i] !== 2 : after[i] === link)));
});

test('when a route gains a member it takes flows and the rest stay', (t) => {
  const { writer, links } = fibWith(members(1, 2));
  const before = links();
  writer.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.Static, nextHops: members(1, 2, 3) }]);
  const after = links();
  t.true(before.every((link, i) => after[i] === 3 || after[i] === link));
  t.true(shares(after).get(3)! > 0.2);
});

test('with every link down there is no member, with one up it carries all', (t) => {
  const { writer, links } = fibWith(members(1, 2));
  writer.linkDown(1);
  t.deepEqual([...shares(links()).keys()], [2]);
  writer.linkDown(2);
  t.deepEqual([...shares(links()).keys()], [0]);
  writer.linkUp(1);
  t.deepEqual([...shares(links()).keys()], [1]);
});

test('a group made while a link is down does not use it', (t) => {
  const { writer, links } = fibWith(members(9));
  writer.linkDown(2);
  writer.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.Static, nextHops: members(1, 2) }]);
  t.deepEqual([...shares(links()).keys()], [1]);
  writer.linkUp(2);
  t.deepEqual([...shares(links()).keys()].sort(), [1, 2]);
});

test('equal sets of next hops are one group, in any order', (t) => {
  const { writer } = fibWith(members(1, 2, 3));
  const other = Prefix.parse('11.0.0.0/8')!;
  writer.apply([{ vrf: 0, prefix: other, source: RouteSource.Static, nextHops: members(3, 1, 2) }]);
  t.is(writer.groupCount, 1);
  for (const prefix of [PREFIX, other])
    writer.apply([{ vrf: 0, prefix, source: RouteSource.Static, nextHops: undefined }]);
  t.is(writer.groupCount, 0);
});

test('members beyond the largest group are left out and counted', (t) => {
  const { writer, links } = fibWith(members(...Array.from({ length: 70 }, (_, i) => i + 1)));
  t.is(writer.counters.membersLeftOut, 6);
  t.true(links().every((link) => link >= 1 && link <= 64));
});

test('routers with other seeds spread the flows of one member evenly again', (t) => {
  const writer = new FibWriter();
  writer.apply([{ vrf: 0, prefix: PREFIX, source: RouteSource.Static, nextHops: members(1, 2) }]);
  const reader = new FibReader(writer.shared);
  const group = reader.lookup4(0, DST);
  const flows = Array.from({ length: FLOWS }, (_, flow) => flow);
  const onFirst = flows.filter((flow) => reader.memberLink(group, hashOf(flow, 0x1234567)) === 1);
  const again = onFirst.filter((flow) => reader.memberLink(group, hashOf(flow, -98765)) === 1);
  t.true(Math.abs(again.length / onFirst.length - 0.5) < 0.08, `${again.length} of ${onFirst.length}`);
});

test('the hash matters only for groups of several members', (t) => {
  const writer = new FibWriter();
  const change = (prefix: string, nextHops: NextHop[]): object => ({
    vrf: 0,
    prefix: Prefix.parse(prefix)!,
    source: RouteSource.Static,
    nextHops,
  });
  writer.apply([change('10.1.0.0/16', members(1, 2)), change('10.2.0.0/16', members(1))] as never);
  const reader = new FibReader(writer.shared);
  const isMultipath = (a: string): boolean => reader.isMultipath(reader.lookup4(0, Addr.parse(a)!.a3));
  t.deepEqual([isMultipath('10.1.0.1'), isMultipath('10.2.0.1'), isMultipath('10.3.0.1')], [true, false, false]);
  writer.linkDown(1);
  writer.linkDown(2);
  t.false(isMultipath('10.1.0.1'), 'no member is left to choose');
});
