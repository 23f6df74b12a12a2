import test from 'ava';
import { Filter, type Policy, PrefixGuard, REFUSED } from '../../../bgp/policy/filter.ts';
import { parseCommunity } from '../../../bgp/wire/attribute/communities.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { Prefix } from '../../../router/lib/addr.ts';

const ROUTE: Attributes = {
  origin: 0,
  asPath: [{ type: 2, asns: [64601, 64602] }],
  med: undefined,
  localPref: undefined,
  atomicAggregate: false,
  aggregator: undefined,
  communities: [parseCommunity('64511:5')!],
  extendedCommunities: [],
  largeCommunities: [64601, 1, 2],
  originatorId: undefined,
  clusterList: [],
  otc: undefined,
  unknown: [],
};

function find(policy: Policy, prefix: string, a: Attributes = ROUTE): number {
  const p = Prefix.parse(prefix)!;
  const [w0, w1, w2, w3] = p.family === 4 ? [p.addr.a3, 0, 0, 0] : [p.addr.a0, p.addr.a1, p.addr.a2, p.addr.a3];
  return new Filter(policy).find(p.family, w0!, w1!, w2!, w3!, p.length, a);
}

test('accept-all accepts, reject-all and an empty list refuse', (t) => {
  t.is(find('accept-all', '10.0.0.0/8'), 0);
  t.is(find('reject-all', '10.0.0.0/8'), REFUSED);
  t.is(find([], 'fd00::/8'), REFUSED);
});

test('prefixes match by length range, in both families', (t) => {
  const dn42: Policy = [
    {
      match: {
        prefixes: [
          { prefix: Prefix.parse('172.20.0.0/14')!, minLength: 21, maxLength: 29 },
          { prefix: Prefix.parse('172.20.0.0/24')!, minLength: 28, maxLength: 32 },
          { prefix: Prefix.parse('fd00::/8')!, minLength: 44, maxLength: 64 },
          { prefix: Prefix.parse('10.127.0.0/16')!, minLength: 16 },
          { prefix: Prefix.parse('172.31.0.0/16')!, maxLength: 20 },
        ],
      },
      action: 'accept',
    },
  ];
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
    t.is(find(dn42, prefix) !== REFUSED, expected, prefix);
  }
  const exact: Policy = [{ match: { prefixes: [{ prefix: Prefix.parse('0.0.0.0/0')! }] }, action: 'accept' }];
  t.is(find(exact, '0.0.0.0/0'), 0);
  t.is(find(exact, '10.0.0.0/8'), REFUSED);
});

test('the first rule that matches decides', (t) => {
  const policy: Policy = [
    { match: { communities: [parseCommunity('64511:6')!] }, action: 'reject' },
    { match: { asPathContains: [64602], maxPathLength: 1 }, action: 'reject' },
    { match: { originAs: [64602], firstAs: [64601], largeCommunities: [[64601, 1, 2]] }, action: 'accept' },
    { action: 'reject' },
  ];
  t.is(find(policy, '10.0.0.0/8'), 2);
  t.is(find(policy, '10.0.0.0/8', { ...ROUTE, communities: [parseCommunity('64511:6')!] }), REFUSED);
  t.is(find(policy, '10.0.0.0/8', { ...ROUTE, largeCommunities: [1, 2, 64601] }), REFUSED);
});

test('an accepted route is changed as the rule says, and the original stays', (t) => {
  const filter = new Filter([
    {
      action: 'accept',
      set: {
        localPref: 200,
        med: 50,
        prepend: { asn: 64600, times: 2 },
        removeCommunities: [parseCommunity('64511:5')!],
        addCommunities: [parseCommunity('no-export')!],
        addLargeCommunities: [
          [64600, 0, 1],
          [64601, 1, 2],
        ],
      },
    },
  ]);
  const changed = filter.apply(0, ROUTE);
  t.deepEqual(changed, {
    ...ROUTE,
    localPref: 200,
    med: 50,
    asPath: [{ type: 2, asns: [64600, 64600, 64601, 64602] }],
    communities: [0xffffff01],
    largeCommunities: [64601, 1, 2, 64600, 0, 1],
  });
  t.is(ROUTE.communities.length, 1);
  t.is(new Filter('accept-all').apply(0, ROUTE), ROUTE);
});

test('own prefixes cover themselves and what is inside, not what is around', (t) => {
  const guard = new PrefixGuard([Prefix.parse('172.20.229.0/27')!, Prefix.parse('fd42:beef::/48')!]);
  const covers = (prefix: string) => {
    const p = Prefix.parse(prefix)!;
    const [w0, w1, w2, w3] = p.family === 4 ? [p.addr.a3, 0, 0, 0] : [p.addr.a0, p.addr.a1, p.addr.a2, p.addr.a3];
    return guard.covers(p.family, w0!, w1!, w2!, w3!, p.length);
  };
  t.true(covers('172.20.229.0/27'));
  t.true(covers('172.20.229.8/32'));
  t.true(covers('fd42:beef:0:1::/64'));
  t.false(covers('172.20.229.0/24'));
  t.false(covers('172.20.229.32/27'));
  t.false(covers('fd42:beee::/48'));
});

test('communities are read as they are written', (t) => {
  t.is(parseCommunity('64511:5'), 0xfbff0005);
  t.is(parseCommunity('graceful-shutdown'), 0xffff0000);
  t.is(parseCommunity('65536:1'), undefined);
  t.is(parseCommunity('1'), undefined);
});
