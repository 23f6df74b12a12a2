/** What `config diff` says a change of a peer takes is what the speaker does. */
import test from 'ava';
import { partsBetween } from '../../../bgp/reconfigure.ts';
import type { PeerConfig } from '../../../bgp/speaker.ts';
import { peerConfigOf } from '../../../router/app/bgp-peers.ts';
import { diffConfig } from '../../../router/config/diff.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';

const KEY = Buffer.alloc(32, 65).toString('base64');

function config(more: string): Config {
  const text = `uplinks: { a: { wireguard: { private_key: ${KEY}, addresses: ['fe80::1/64'] } } }
bgp:
  asn: 65001
  router_id: 10.0.0.1
  policy: transit
  peers: [{ name: b, asn: 65002, via: a, address: 'fe80::2'${more} }]
`;
  const loaded = parseConfig({ shown: 'm.yaml', path: '/etc/mlshim/m.yaml', text }, {});
  if (loaded.config === undefined) throw new Error(loaded.diagnostics.map((d) => d.message).join('; '));
  return loaded.config;
}

const told = ({ bgp }: Config): PeerConfig => peerConfigOf(bgp!.peers[0]!, bgp!, () => undefined, new Map());

const SETTINGS: readonly string[] = [
  'description: x',
  'import: none',
  'export: own',
  'dn42: { bandwidth: 1G }',
  'graceful_shutdown: true',
  'accept_blackhole: true',
  'allow_own_as: 1',
  'delegated: [10.1.2.0/24]',
  'as_override: true',
  'remove_private_as: true',
  'next_hop_self: true',
  'third_party_next_hop: true',
  'default_originate: true',
  'max_prefixes: 5',
  'max_prefixes: { limit: 5, action: warn }',
  'send_hold_time: 100s',
  'connect_retry: 7s',
  'delay_open: 2s',
  'hold_time: 30s',
  'passive: true',
  'port: 1179',
  'families: [ipv6]',
  'extended_next_hop: false',
  "local_address: 'fe80::1'",
  'password: x',
  'ttl_security: true',
  'multihop: 3',
  'add_path: both',
  'add_path: both, add_path_limit: 2',
  'role: peer',
  'role: peer, strict_role: true',
  'graceful_restart: true',
  'shutdown: true',
  'link_local_form: double',
  'link_local_capability: true',
  'enforce_first_as: false',
  'local_as: 65009',
  'bfd: true',
  'bfd: { interval: 100ms }',
  'bfd: { strict: true }',
];

for (const setting of SETTINGS)
  test(setting, (t) => {
    for (const [before, after] of [
      ['', `, ${setting}`],
      [`, ${setting}`, ''],
    ] as const) {
      const [a, b] = [config(before), config(after)];
      const changes = diffConfig(a, b);
      t.true(changes.length > 0);
      const isSaid = changes.some((c) => c.effect === 'session');
      t.is(isSaid, partsBetween(told(a), told(b)).has('session'), JSON.stringify(changes));
    }
  });
