import test from 'ava';
import type { Changes, Match, Policy } from '../../../bgp/policy/rule.ts';
import { RoaState } from '../../../bgp/policy/rule.ts';
import { parseCommunity } from '../../../bgp/wire/attribute/communities.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { accepts, type Case, filterOf, judge, PLAIN } from '../kit/filter.ts';

const community = (text: string): number => parseCommunity(text)!;
const only = (match: Match): Policy => [{ match, action: 'accept' }];

test('accept-all accepts, reject-all and an empty list refuse', (t) => {
  t.true(accepts('accept-all'));
  t.false(accepts('reject-all'));
  t.false(accepts([], { prefix: 'fd00::/8' }));
  t.true(filterOf('accept-all').isOpen);
  t.false(filterOf([{ action: 'accept' }]).isOpen);
});

test('prefixes match by length range, in both families', (t) => {
  const dn42 = only({
    prefixes: [
      { prefix: Prefix.parse('172.20.0.0/14')!, minLength: 21, maxLength: 29 },
      { prefix: Prefix.parse('172.20.0.0/24')!, minLength: 28, maxLength: 32 },
      { prefix: Prefix.parse('fd00::/8')!, minLength: 44, maxLength: 64 },
      { prefix: Prefix.parse('10.127.0.0/16')!, minLength: 16 },
      { prefix: Prefix.parse('172.31.0.0/16')!, maxLength: 20 },
    ],
  });
  for (const [prefix, expected] of [
    ['172.20.229.0/27', true],
    ['172.20.0.0/20', false],
    ['172.20.229.7/32', false],
    ['172.20.0.53/32', true],
    ['172.24.1.0/24', false],
    ['fd42:1::/48', true],
    ['fd42:1:0:1::1/128', false],
    ['fc00::/48', false],
    ['10.127.9.9/32', true],
    ['10.127.0.0/16', true],
    ['172.31.0.0/16', true],
    ['172.31.16.0/20', true],
    ['172.31.16.0/21', false],
  ] as const) {
    t.is(accepts(dn42, { prefix }), expected, prefix);
  }
  const exact = only({ prefixes: [{ prefix: Prefix.parse('0.0.0.0/0')! }] });
  t.true(accepts(exact, { prefix: '0.0.0.0/0' }));
  t.false(accepts(exact, { prefix: '10.0.0.0/8' }));
});

// Each row: a condition, a route that meets it, a route that does not.
const path = (...asns: number[]): Partial<Attributes> => ({ asPath: [{ type: 2, asns }] });
const hop = (text: string): Case => ({ nextHop: { global: Addr.parse(text)!, linkLocal: undefined } });
const labels = (...texts: string[]): Case => ({ attributes: { communities: texts.map(community) } });
const CONDITIONS: readonly (readonly [string, Match, Case, Case])[] = [
  ['family', { family: 6 }, { prefix: 'fd00::/8' }, { prefix: '10.0.0.0/8' }],
  ['a community', { communities: [community('64511:5')] }, labels('64511:1', '64511:5'), labels('64511:6')],
  ['a wildcard', { communities: [[64511, { min: 0, max: 65535 }]] }, labels('1:1', '64511:9'), labels('64512:9')],
  ['a range', { communities: [[64511, { min: 1, max: 9 }]] }, labels('64511:9'), labels('64511:10')],
  ['no community at all', { communities: [[64511, 1]] }, labels('64511:1'), {}],
  [
    'a large community',
    { largeCommunities: [[64601, { min: 0, max: 9 }, 2]] },
    { attributes: { largeCommunities: [1, 1, 1, 64601, 7, 2] } },
    { attributes: { largeCommunities: [64601, 7, 3, 2, 64601, 7] } },
  ],
  [
    'an extended community under a mask',
    { extendedCommunities: [{ high: 0x0002fc00, low: 0, highMask: -1, lowMask: 0 }] },
    { attributes: { extendedCommunities: [1, 2, 0x0002fc00, 77] } },
    { attributes: { extendedCommunities: [0x0003fc00, 0] } },
  ],
  ['an AS in the path', { asPathContains: [{ min: 64700, max: 64799 }, 1] }, { attributes: path(5, 64750, 6) }, {}],
  ['the first AS', { firstAs: [64601] }, {}, { attributes: path(1, 64601) }],
  ['the origin AS', { originAs: [64602] }, {}, { attributes: path(64602, 1) }],
  ['no origin AS', { originAs: [0] }, { attributes: { asPath: [] } }, {}],
  ['a short path', { maxPathLength: 2 }, {}, { attributes: path(1, 2, 3) }],
  ['a long path', { minPathLength: 3 }, { attributes: path(1, 2, 3) }, {}],
  ['a path pattern', { asPath: ['1 *', '* 64602'] }, {}, { attributes: path(2, 1) }],
  ['ORIGIN', { origin: [1, 2] }, { attributes: { origin: 2 } }, {}],
  ['a next hop', { nextHops: [Prefix.parse('10.9.0.0/16')!] }, hop('10.9.9.9'), hop('10.8.9.9')],
  ['no next hop', { nextHops: [Prefix.parse('0.0.0.0/0')!] }, hop('10.9.9.9'), {}],
  ['the source', { source: ['local', 'internal'] }, { source: 'local' }, { source: 'external' }],
  ['a valid origin', { roa: [RoaState.Valid] }, { roa: RoaState.Valid }, { roa: RoaState.NotFound }],
  ['MED', { med: { min: 10, max: 20 } }, { attributes: { med: 20 } }, {}],
  ['a missing MED', { med: { min: 0, max: 0 } }, {}, { attributes: { med: 1 } }],
  ['LOCAL_PREF', { localPref: { min: 100, max: 100 } }, {}, { attributes: { localPref: 99 } }],
  ['negation', { not: { family: 4 } }, { prefix: 'fd00::/8' }, {}],
  [
    'negation of two conditions, one of them about the prefix',
    { not: { family: 4, originAs: [64602] } },
    { attributes: path(1) },
    {},
  ],
  [
    'all of several',
    { all: [{ communities: [community('1:1')] }, { communities: [community('1:2')] }] },
    labels('1:2', '1:1'),
    labels('1:1'),
  ],
  [
    'any of several, of the prefix and of attributes',
    { any: [{ family: 6 }, { communities: [community('1:1')] }] },
    labels('1:1'),
    labels('1:2'),
  ],
  ['any of several', { any: [{ family: 6 }, { roa: [RoaState.Valid] }] }, { roa: RoaState.Valid }, {}],
];

for (const [name, match, meets, fails] of CONDITIONS) {
  test(`a rule can ask for ${name}`, (t) => {
    t.true(accepts(only(match), meets));
    t.false(accepts(only(match), fails));
    t.false(accepts(only({ not: match }), meets), 'and for its opposite');
    t.true(accepts(only({ not: match }), fails));
  });
}

test('a rule can ask which peer a route was learned from', (t) => {
  const policy = only({ peers: ['peer1', 'peer2'] });
  t.true(accepts(policy));
  t.false(accepts(only({ peers: ['peer2'] })));
  t.true(accepts(policy, { from: 'peer2' }, { direction: 'export' }));
  t.false(accepts(policy, { from: 'peer3' }, { direction: 'export' }));
});

test('the name of a range stands for each of its peers', (t) => {
  const policy = only({ peers: ['leafs', 'x'] });
  const told = (from: string): boolean => accepts(policy, { from }, { direction: 'export' });
  t.true(told('leafs-192.0.2.7'));
  t.true(told('leafs-fe80::7'));
  t.true(told('leafs'));
  for (const other of [
    'leafs-',
    'leafs-b',
    'leafs2-192.0.2.7',
    'leafs-fe80::0007',
    'leaf-192.0.2.7',
    'leafs_192.0.2.7',
  ])
    t.false(told(other), other);
  t.true(accepts(policy, {}, { name: 'leafs-192.0.2.7' }));
  t.false(accepts(policy, {}, { name: 'leafs-no' }));
});

test('the first rule that matches decides', (t) => {
  const policy: Policy = [
    { match: { communities: [community('64511:6')] }, action: 'reject' },
    { match: { asPathContains: [64602], maxPathLength: 1 }, action: 'reject' },
    { match: { originAs: [64602], firstAs: [64601] }, action: 'accept', set: { med: 2 } },
    { action: 'accept', set: { med: 3 } },
  ];
  t.is(judge(policy)?.attributes.med, 2);
  t.is(judge(policy, { attributes: path(1) })?.attributes.med, 3);
  t.false(accepts(policy, labels('64511:6')));
});

test('continue changes a route, and the rules after it see the change', (t) => {
  const policy: Policy = [
    {
      match: { prefixes: [{ prefix: Prefix.parse('172.20.0.0/14')!, minLength: 14 }] },
      action: 'continue',
      set: { addCommunities: [community('64511:1')] },
    },
    { match: { communities: [community('64511:1')] }, action: 'continue', set: { addLocalPref: 50, weight: 7 } },
    { match: { localPref: { min: 150, max: 150 } }, action: 'accept', set: { nextHop: 'self' } },
  ];
  const outcome = judge(policy);
  t.like(outcome, { weight: 7, nextHop: 'self' });
  t.deepEqual(outcome?.attributes, { ...PLAIN, communities: [community('64511:1')], localPref: 150 });
  t.false(accepts(policy, { prefix: '10.0.0.0/8' }), 'what no rule accepts is refused');
});

test('routes with the same attributes get the same result object', (t) => {
  const filter = filterOf([{ match: { family: 4 }, action: 'accept', set: { med: 4 } }, { action: 'accept' }]);
  const plan = filter.plan(PLAIN, undefined);
  const subject = {
    family: 4 as const,
    w0: 0,
    w1: 0,
    w2: 0,
    w3: 0,
    length: 0,
    source: 'local' as const,
    from: '',
    roa: 0,
  };
  t.is(plan.decide(subject), plan.decide({ ...subject, w0: 1, length: 32 }));
  t.is(plan.decide({ ...subject, family: 6 })?.attributes, PLAIN, 'unchanged attributes are not copied');
});

test('only policies that ask for ROAs say so', (t) => {
  t.false(filterOf('accept-all').asksRoa);
  t.false(filterOf([{ match: { not: { family: 4 } }, action: 'accept' }]).asksRoa);
  t.true(filterOf([{ match: { any: [{ not: { roa: [RoaState.Invalid] } }] }, action: 'accept' }]).asksRoa);
});

// Each row: attributes before, changes, what is different after.
const CHANGES: readonly (readonly [string, Partial<Attributes>, Changes, Partial<Attributes>])[] = [
  ['LOCAL_PREF', {}, { localPref: 200 }, { localPref: 200 }],
  ['LOCAL_PREF by a sum', {}, { addLocalPref: -30 }, { localPref: 70 }],
  ['LOCAL_PREF, and then by a sum', {}, { localPref: 10, addLocalPref: -30 }, { localPref: 0 }],
  ['LOCAL_PREF no further than it goes', { localPref: 0xfffffff0 }, { addLocalPref: 100 }, { localPref: 0xffffffff }],
  ['MED', { med: 1 }, { med: 50 }, { med: 50 }],
  ['MED by a sum', {}, { addMed: 5 }, { med: 5 }],
  ['MED taken off', { med: 7 }, { med: 'none' }, { med: undefined }],
  ['MED anew', { med: 7 }, { med: 'none', addMed: 3 }, { med: 3 }],
  ['ORIGIN', {}, { origin: 2 }, { origin: 2 }],
  ['the path by our AS', {}, { prepend: { times: 2 } }, path(64600, 64600, 64601, 64602)],
  ['the path by another AS', {}, { prepend: { asn: 5, times: 1 } }, path(5, 64601, 64602)],
  [
    'communities by removal and addition',
    { communities: [community('64511:5'), community('64511:99'), community('1:1')] },
    {
      removeCommunities: [[64511, { min: 0, max: 65535 }]],
      addCommunities: [community('1:1'), community('no-export')],
    },
    { communities: [community('1:1'), community('no-export')] },
  ],
  [
    'all communities',
    { communities: [1, 2] },
    { setCommunities: [community('1:1'), community('1:1')] },
    { communities: [community('1:1')] },
  ],
  ['communities to none', { communities: [1, 2] }, { setCommunities: [] }, { communities: [] }],
  [
    'large communities',
    { largeCommunities: [64601, 1, 2, 64601, 1, 3] },
    {
      removeLargeCommunities: [[64601, 1, 3]],
      addLargeCommunities: [
        [64600, 0, 1],
        [64601, 1, 2],
      ],
    },
    { largeCommunities: [64601, 1, 2, 64600, 0, 1] },
  ],
  [
    'extended communities',
    { extendedCommunities: [0x0002fc00, 1, 0x0003fc00, 1] },
    {
      removeExtendedCommunities: [{ high: 0x00020000, low: 0, highMask: 0xffff0000, lowMask: 0 }],
      addExtendedCommunities: [[0x0002fc01, 7]],
    },
    { extendedCommunities: [0x0003fc00, 1, 0x0002fc01, 7] },
  ],
];

for (const [name, before, set, after] of CHANGES) {
  test(`a rule can change ${name}`, (t) => {
    const attributes = { ...PLAIN, ...before };
    const copy = structuredClone(attributes);
    t.deepEqual(judge([{ action: 'accept', set }], { attributes })?.attributes, { ...attributes, ...after });
    t.deepEqual(attributes, copy, 'the original stays');
  });
}

test('a path pattern that is none is refused when the filter is made', (t) => {
  t.throws(() => filterOf(only({ asPath: ['64512 x*'] })), { instanceOf: RangeError, message: /"x\*"/ });
});
