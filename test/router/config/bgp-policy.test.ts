import test from 'ava';
import { RoaState, type Rule } from '../../../bgp/policy/rule.ts';
import { peerConfigOf } from '../../../router/app/bgp-peers.ts';
import type { BgpPeerConfig } from '../../../router/config/bgp-model.ts';
import { parseConfig } from '../../../router/config/load.ts';
import { isEqual } from '../../../router/lib/equal.ts';
import { judge } from '../../bgp/kit/filter.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

function bgpOf(t: { fail(m: string): void }, rest: string) {
  const text = `uplinks: { one: { wireguard: { private_key: ${KEY} } } }
bgp:
  asn: 65001
  router_id: 10.0.0.1
${rest.replace(/^/gm, '  ')}`;
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: '/etc/mlshim/m.yaml', text }, {});
  if (config === undefined) t.fail(diagnostics.map((d) => d.message).join('\n'));
  return config!.bgp!;
}

/** Prefixes and addresses as text. */
const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, v) => (v?.addr?.family !== undefined || v?.a3 !== undefined ? String(v) : v)));

function rulesOf(policy: BgpPeerConfig['importPolicy' | 'exportPolicy']): readonly Rule[] | undefined {
  if (typeof policy !== 'object' || !('rules' in policy)) return undefined;
  return policy.rules.flatMap((r) => ('dn42' in r ? [] : [r]));
}

test('a rule says everything a filter can do', (t) => {
  const { peers } = bgpOf(
    t,
    `peers:
  - asn: 65002
    address: 192.0.2.2
    via: one
    import:
      - match:
          prefix:
            - 172.20.0.0/14{21,29}
            - { prefix: "fd00::/8", min: 44, max: 64 }
            - 10.0.0.0/8+
            - 192.0.2.0/24
          family: ipv4
          community: [64511:*, 1:2..3, "4242421080:*:7", rt:64512:*, no-export]
          as_path: "* 64512 ?"
          as_path_contains: [64512, 4242420000..4242429999]
          first_as: 65002
          origin_as: AS1.1
          path_length: { max: 10 }
          origin: [igp, incomplete]
          next_hop: 192.0.2.0/24
          peer: [AS65002, leafs]
          source: external
          roa: [valid, unknown]
          med: 5
          local_pref: { min: 50 }
          not: { community: 64511:9 }
          all: [{ family: ipv6 }]
          any: [{ family: ipv4 }, {}]
        set:
          local_pref: 200
          local_pref_add: -5
          med: 10
          med_add: 1
          prepend: { asn: 65009, times: 2 }
          origin: egp
          next_hop: self
          weight: 3
          communities: [64511:1, 1:2:3, rt:1:2]
          add_communities: 65001:1
          remove_communities: ["*:*", "1:*:*"]
        action: continue
      - accept
  - { name: leafs, asn: external, range: 192.0.2.128/25 }
`,
  );
  t.deepEqual(plain(rulesOf(peers[0]!.importPolicy)), [
    {
      match: {
        prefixes: [
          { prefix: '172.20.0.0/14', minLength: 21, maxLength: 29 },
          { prefix: 'fd00::/8', minLength: 44, maxLength: 64 },
          { prefix: '10.0.0.0/8', minLength: 8, maxLength: 32 },
          { prefix: '192.0.2.0/24' },
        ],
        family: 4,
        asPath: ['* 64512 ?'],
        asPathContains: [64512, { min: 4242420000, max: 4242429999 }],
        firstAs: [65002],
        originAs: [65537],
        minPathLength: 0,
        maxPathLength: 10,
        origin: [0, 2],
        nextHops: ['192.0.2.0/24'],
        peers: ['AS65002', 'leafs'],
        source: ['external'],
        roa: [1, 0],
        med: { min: 5, max: 5 },
        localPref: { min: 50, max: 4294967295 },
        not: { all: [{ communities: [0xfbff0009] }] },
        any: [{ family: 4 }, {}],
        all: [
          { family: 6 },
          {
            any: [
              { communities: [[64511, { min: 0, max: 65535 }], [1, { min: 2, max: 3 }], 0xffffff01] },
              { extendedCommunities: [{ high: 0x0002fc00, low: 0, highMask: -1, lowMask: 0 }] },
              { largeCommunities: [[4242421080, { min: 0, max: 4294967295 }, 7]] },
            ],
          },
        ],
      },
      set: {
        localPref: 200,
        addLocalPref: -5,
        med: 10,
        addMed: 1,
        prepend: { asn: 65009, times: 2 },
        origin: 1,
        nextHop: 'self',
        weight: 3,
        setCommunities: [0xfbff0001],
        setExtendedCommunities: [[0x00020001, 2]],
        setLargeCommunities: [[1, 2, 3]],
        addCommunities: [0xfde90001],
        addExtendedCommunities: [],
        addLargeCommunities: [],
        removeCommunities: [
          [
            { min: 0, max: 65535 },
            { min: 0, max: 65535 },
          ],
        ],
        removeExtendedCommunities: [],
        removeLargeCommunities: [[1, { min: 0, max: 4294967295 }, { min: 0, max: 4294967295 }]],
      },
      action: 'continue',
    },
    { action: 'accept' },
  ]);
});

test('a rule takes the MED off (RFC 4271 §5.1.4)', (t) => {
  const { peers } = bgpOf(
    t,
    'peers: [{ asn: 65002, via: one, address: fe80::2, import: [{ set: { med: none } }], export: none }]',
  );
  const rules = rulesOf(peers[0]!.importPolicy)!;
  t.deepEqual(rules[0]!.set, { med: 'none' });
  t.is(judge(rules, { attributes: { med: 7 } })?.attributes.med, undefined);
});

test('named policies stand for their rules, also inside each other', (t) => {
  const { peers } = bgpOf(
    t,
    `policies:
  bogons: [{ match: { prefix: 0.0.0.0/0 }, action: reject }]
  in: [bogons, { set: { prepend: 2 } }]
peers:
  - { asn: 65002, address: 192.0.2.2, via: one, import: in, export: [bogons, reject] }
`,
  );
  t.deepEqual(plain(rulesOf(peers[0]!.importPolicy)), [
    { match: { prefixes: [{ prefix: '0.0.0.0/0' }] }, action: 'reject' },
    { set: { prepend: { times: 2 } }, action: 'accept' },
  ]);
  t.deepEqual(plain(rulesOf(peers[0]!.exportPolicy)), [
    { match: { prefixes: [{ prefix: '0.0.0.0/0' }] }, action: 'reject' },
    { action: 'reject' },
  ]);
});

test('a policy is shown as it is written, and its rules know where they stand', (t) => {
  const { peers, ranges, rulePlaces } = bgpOf(
    t,
    `policies:
  bogons:
    - { name: default route, match: { prefix: 0.0.0.0/0 }, action: reject }
  transit-in:
    - bogons
    - accept
peers:
  - { name: b, asn: 65002, address: 192.0.2.2, via: one, import: transit-in, export: [bogons, reject] }
  - { name: r, asn: external, range: 192.0.2.0/24, import: [{ set: { med: 1 } }, bogons], export: all }
`,
  );
  const written = [...peers, ...ranges].flatMap((p) => [p.importPolicy, p.exportPolicy]);
  t.deepEqual(
    written.map((p) => (typeof p === 'object' && 'written' in p ? p.written : p)),
    ['transit-in', 'bogons, reject', 'rules (2)', 'all'],
  );
  t.is(rulesOf(peers[0]!.importPolicy)![0]!.name, 'default route');
  t.deepEqual(rulePlaces, {
    'import b': [
      { policy: 'bogons', number: 1, line: 'm.yaml:7' },
      { policy: 'transit-in', number: 2, line: 'm.yaml:10' },
    ],
    'export b': [
      { policy: 'bogons', number: 1, line: 'm.yaml:7' },
      { policy: '', number: 2, line: 'm.yaml:12' },
    ],
    'import r': [
      { policy: '', number: 1, line: 'm.yaml:13' },
      { policy: 'bogons', number: 1, line: 'm.yaml:7' },
    ],
  });
});

test('dn42 in a list stands for the rules of that policy', (t) => {
  const text = `peers:
  - asn: 4242420263
    via: one
    address: 192.0.2.2
    import: [{ match: { med: 1 }, action: reject }, dn42]
    export: [{ match: { prefix: 172.20.9.0/24 }, action: reject }, dn42]
`;
  const load = () => {
    const bgp = bgpOf(t, text);
    return peerConfigOf(bgp.peers[0]!, bgp, () => undefined, new Map());
  };
  const { import: imports, export: exports } = load();
  const valid = { prefix: '172.20.1.0/24', roa: RoaState.Valid };
  t.is(judge(imports!, { ...valid, attributes: { med: 1 } }), undefined);
  t.not(judge(imports!, valid), undefined);
  t.is(judge(imports!, { ...valid, roa: RoaState.NotFound }), undefined);
  t.is(judge(imports!, { ...valid, prefix: '192.168.7.0/24' }), undefined);
  t.not(judge(exports!, valid, { direction: 'export' }), undefined);
  t.is(judge(exports!, { ...valid, prefix: '172.20.9.0/24' }, { direction: 'export' }), undefined);
  t.is(judge(exports!, { ...valid, prefix: '192.168.7.0/24' }, { direction: 'export' }), undefined);
  // A reload of the same file finds no difference.
  t.true(isEqual(load(), load()));
});

test('a function of the filter module is named by peers, its file by a path beside the configuration', (t) => {
  const { peers, filters } = bgpOf(
    t,
    `filters: ./filters.mjs
peers:
  - { asn: 65002, address: 192.0.2.2, via: one, import: { module: fromPeer }, export: none }
`,
  );
  t.is(filters?.path, '/etc/mlshim/filters.mjs');
  t.deepEqual(peers[0]!.importPolicy, { module: 'fromPeer' });
  t.is(peers[0]!.exportPolicy, 'none');
});
