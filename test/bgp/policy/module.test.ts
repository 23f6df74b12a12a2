import test from 'ava';
import type { FilterRoute, RouteFunction } from '../../../bgp/policy/module.ts';
import { parseCommunity } from '../../../bgp/wire/attribute/communities.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { judge, PLAIN } from '../kit/filter.ts';

const ATTRIBUTES = {
  communities: [parseCommunity('64511:5')!, parseCommunity('no-export')!],
  largeCommunities: [1, 2, 3],
  extendedCommunities: [0x0002fc00, 7],
  med: 9,
};

test('a function sees a route as values and text', (t) => {
  let seen: FilterRoute | undefined;
  const outcome = judge(
    (route, peer) => {
      seen = route;
      t.like(peer, { name: 'peer1', asn: 64601, direction: 'import' });
      return route;
    },
    {
      prefix: 'fd42::/48',
      attributes: ATTRIBUTES,
      nextHop: { global: undefined, linkLocal: Addr.parse('fe80::1')! },
      roa: 2,
    },
  );
  t.deepEqual(seen, {
    prefix: 'fd42::/48',
    family: 6,
    length: 48,
    asPath: [64601, 64602],
    origin: 'igp',
    localPref: undefined,
    med: 9,
    communities: ['64511:5', 'no-export'],
    extendedCommunities: ['rt:64512:7'],
    largeCommunities: ['1:2:3'],
    nextHop: 'fe80::1',
    weight: 0,
    roa: 'invalid',
    source: 'external',
    from: 'peer1',
  });
  t.true(Object.isFrozen(seen));
  t.deepEqual(outcome?.attributes, { ...PLAIN, ...ATTRIBUTES });
  t.is(outcome?.nextHop, undefined);
});

test('a function refuses a route with undefined and changes it with a copy', (t) => {
  t.is(
    judge(() => undefined),
    undefined,
  );
  const outcome = judge((r) => ({
    ...r,
    asPath: [5, ...r.asPath],
    origin: 'incomplete',
    localPref: 300,
    med: undefined,
    communities: [...r.communities, 'graceful-shutdown'],
    extendedCommunities: ['ro:1.2.3.4:5'],
    largeCommunities: [],
    nextHop: '10.0.0.1',
    weight: 5,
  }));
  t.deepEqual(outcome?.attributes, {
    ...PLAIN,
    origin: 2,
    asPath: [{ type: 2, asns: [5, 64601, 64602] }],
    localPref: 300,
    communities: [0xffff0000],
    extendedCommunities: [0x01030102, 0x03040005],
  });
  t.is(String(outcome?.nextHop), '10.0.0.1');
  t.is(outcome?.weight, 5);
});

test('a path that a function changes keeps its confederation segments (RFC 5065 §3)', (t) => {
  const asPath = [
    { type: 3, asns: [65001, 65002] },
    { type: 2, asns: [64601, 64602, 64602] },
  ];
  const changed = (change: (path: readonly number[]) => readonly number[]) =>
    judge((r) => ({ ...r, asPath: change(r.asPath) }), { attributes: { asPath } })?.attributes.asPath.map((s) => [
      s.type,
      ...s.asns,
    ]);
  t.deepEqual(
    changed((path) => [...path]),
    [
      [3, 65001, 65002],
      [2, 64601, 64602, 64602],
    ],
  );
  t.deepEqual(
    changed((path) => [5, 5, ...path]),
    [
      [2, 5, 5],
      [3, 65001, 65002],
      [2, 64601, 64602, 64602],
    ],
  );
  t.deepEqual(
    changed((path) => path.filter((asn) => asn !== 64601 && asn !== 65002)),
    [
      [3, 65001],
      [2, 64602, 64602],
    ],
  );
  t.deepEqual(
    changed(() => [7, 64602]),
    [[2, 7, 64602]],
  );
  t.deepEqual(
    changed(() => Array.from({ length: 300 }, () => 9)),
    [
      [2, ...Array.from({ length: 255 }, () => 9)],
      [2, ...Array.from({ length: 45 }, () => 9)],
    ],
  );
});

test('extended communities that a function copies stay what they are, also where their text does not say all', (t) => {
  // Link bandwidth, transitive and not; a value that no number in our texts has; a non-transitive type that is no target.
  const given = [0x00040007, 0x4cee6b28, 0x40040008, 0x4cee6b28, 0x40040009, 0x1e3ce508, 0x40020001, 9];
  const outcome = judge((r) => ({ ...r, extendedCommunities: [...r.extendedCommunities, 'rt:1:2'] }), {
    attributes: { extendedCommunities: given },
  });
  t.deepEqual(outcome?.attributes.extendedCommunities, [...given, 0x00020001, 2]);
});

test('a function cannot change what other routes share with the one it is asked about', (t) => {
  const errors: string[] = [];
  const pushes: RouteFunction = (route) => {
    (route.communities as string[]).push('64511:9');
    return route;
  };
  t.is(judge(pushes, { attributes: ATTRIBUTES }, { errors }), undefined);
  t.regex(errors[0]!, /module\.test\.[jt]s:\d+:\d+: TypeError: Cannot add property/);
});

const WRONG: readonly (readonly [string, (r: FilterRoute) => unknown, RegExp])[] = [
  ['no route', () => 7, /gave back number, not a route/],
  ['a promise', () => Promise.reject(new Error('later')), /gave back a promise/],
  ['another prefix', (r) => ({ ...r, prefix: '10.0.0.0/8' }), /changed "prefix"/],
  ['a LOCAL_PREF that is none', (r) => ({ ...r, localPref: -1 }), /localPref: -1/],
  ['an AS that is none', (r) => ({ ...r, asPath: [0] }), /asPath: \[0\]/],
  ['a community that is none', (r) => ({ ...r, communities: ['1:2', 'x'] }), /communities: "x"/],
  ['communities that are no list', (r) => ({ ...r, communities: '1:2' }), /communities: "1:2"/],
  ['an origin that is none', (r) => ({ ...r, origin: 'IGP' }), /origin: "IGP"/],
  ['a next hop that is none', (r) => ({ ...r, nextHop: 'here' }), /nextHop: "here"/],
];

for (const [name, answer, words] of WRONG) {
  test(`a function that gives back ${name} refuses the route and says so`, (t) => {
    const errors: string[] = [];
    t.is(judge(answer as RouteFunction, {}, { errors }), undefined);
    t.is(errors.length, 1);
    t.regex(errors[0]!, words);
  });
}

test('a function that throws refuses the route; the report names the place in its file', (t) => {
  const errors: string[] = [];
  const fails: RouteFunction = (route) => {
    if (route.length > 8) throw new RangeError('too long');
    return route;
  };
  t.is(judge(fails, {}, { errors }), undefined);
  t.not(judge(fails, { prefix: '10.0.0.0/8' }, { errors }), undefined);
  t.is(errors.length, 1);
  t.regex(errors[0]!, /module\.test\.[jt]s:\d+:\d+: RangeError: too long$/);
});
