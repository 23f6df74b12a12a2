import test from 'ava';
import { parseConfig } from '../../../router/config/load.ts';
import { Prefix } from '../../../router/lib/addr.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

function bgpOf(t: { fail(m: string): void }, peers: string, rest = '') {
  const text = `uplinks: { one: { wireguard: { private_key: ${KEY} } } }
bgp:
  asn: 65001
  router_id: 10.0.0.1
  ${rest}
  peers:
    - { asn: 65002, address: 192.0.2.2, via: one, ${peers} }
`;
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: '/etc/mlshim/m.yaml', text }, {});
  if (config === undefined) t.fail(diagnostics.map((d) => d.message).join('\n'));
  return config!.bgp!;
}

const PLAIN = {
  nextHopSelf: false,
  thirdPartyNextHop: false,
  routeReflectorClient: false,
  asOverride: false,
  allowOwnAs: 0,
  delegated: [],
  enforceFirstAs: true,
  defaultOriginate: false,
  gracefulShutdown: false,
  acceptBlackhole: false,
};

// Each row: keys of a peer, what differs from the defaults.
const KEYS: readonly (readonly [string, object])[] = [
  ['', {}],
  ['next_hop_self: all', { nextHopSelf: 'all' }],
  ['next_hop_self: true', { nextHopSelf: true }],
  ['third_party_next_hop: true, enforce_first_as: false', { thirdPartyNextHop: true, enforceFirstAs: false }],
  ['local_as: 64999', { localAs: { asn: 64999 } }],
  ['local_as: { asn: 64999, replace_as: true }', { localAs: { asn: 64999, noPrepend: false, replaceAs: true } }],
  ['as_override: true, allow_own_as: 2', { asOverride: true, allowOwnAs: 2 }],
  ['remove_private_as: true', { removePrivateAs: 'whole' }],
  ['remove_private_as: replace', { removePrivateAs: 'replace' }],
  ['default_originate: true, graceful_shutdown: true', { defaultOriginate: true, gracefulShutdown: true }],
  ['delegated: [10.1.2.0/24]', { delegated: [Prefix.parse('10.1.2.0/24')!] }],
  ['accept_blackhole: true', { acceptBlackhole: true }],
];

for (const [keys, expected] of KEYS) {
  test(`routing keys of a peer: ${keys === '' ? 'none' : keys}`, (t) => {
    t.deepEqual(bgpOf(t, keys).peers[0]!.routing, { ...PLAIN, ...expected });
  });
}

test('networks and aggregates may say what their routes carry', (t) => {
  const { networks, aggregates } = bgpOf(
    t,
    '',
    `networks:
    - 10.1.0.0/16
    - { prefix: 'fd42::/48', med: 0, local_pref: 200, communities: [no-export, 65001:7, 65001:1:2, rt:65001:3] }
    - prefix: 10.2.0.0/16
  aggregates: [{ prefix: 10.0.0.0/8, summary_only: true, med: 5, communities: [65001:1:2] }]`,
  );
  t.deepEqual(
    networks.map((n) => ({ ...n, prefix: String(n.prefix) })),
    [
      { prefix: '10.1.0.0/16' },
      {
        prefix: 'fd42::/48',
        med: 0,
        localPref: 200,
        communities: [0xffffff01, 0xfde90007],
        extendedCommunities: [[0x0002fde9, 3]],
        largeCommunities: [[65001, 1, 2]],
      },
      { prefix: '10.2.0.0/16' },
    ],
  );
  t.deepEqual(
    aggregates.map((a) => ({ ...a, prefix: String(a.prefix) })),
    [{ prefix: '10.0.0.0/8', summaryOnly: true, med: 5, largeCommunities: [[65001, 1, 2]] }],
  );
});

test('a cluster identifier and a confederation are those of the speaker', (t) => {
  const bgp = bgpOf(t, '', 'cluster_id: 10.9.9.9\n  confederation: { id: 64600, members: [65002, 65003] }');
  t.is(String(bgp.clusterId), '10.9.9.9');
  t.deepEqual(bgpOf(t, '', 'multipath: { max_paths: 4, weighted: true }').multipath, {
    maxPaths: 4,
    weighted: true,
    relaxed: true,
  });
  const { aggregates } = bgpOf(t, '', 'aggregates: [{ prefix: 172.20.0.0/16, summary_only: true, as_set: false }]');
  t.deepEqual(
    aggregates.map((a) => [String(a.prefix), a.summaryOnly]),
    [['172.20.0.0/16', true]],
  );
  t.deepEqual(bgp.confederation, { id: 64600, members: [65002, 65003] });
});
