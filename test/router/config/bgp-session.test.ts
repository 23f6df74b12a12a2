/** Keys of a BGP peer that say how its session behaves. */
import test from 'ava';
import { peerConfigOf, rangeConfigOf } from '../../../router/app/bgp-peers.ts';
import type { BgpConfig } from '../../../router/config/bgp-model.ts';
import { parseConfig } from '../../../router/config/load.ts';

function load(bgp: string): { readonly bgp: BgpConfig | undefined; readonly said: string[] } {
  const key = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
  const text = `uplinks: { a: { wireguard: { private_key: ${key}, peers: [{ public_key: ${key} }] } } }\nbgp:\n  asn: 65001\n  router_id: 10.0.0.1\n  policy: transit\n${bgp}`;
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: '/nowhere/m.yaml', text }, {});
  return { bgp: config?.bgp, said: diagnostics.map((d) => d.message) };
}

const speakerPeer = (c: BgpConfig, i: number) => peerConfigOf(c.peers[i]!, c, () => undefined, new Map());

test('every key reaches the speaker', (t) => {
  const { bgp, said } = load(`
  graceful_restart: { restart_time: 90s, stale_time: 5m, long_lived: 24h }
  peers:
    - asn: external
      name: x
      address: 192.0.2.1
      send_hold_time: 9m
      delay_open: 5s
      connect_retry: 10s
      link_local_form: double
      link_local_capability: true
      max_prefixes: { limit: 2000, warn_at: 80, action: restart, restart_after: 15m, count: received }
      add_path: both
      add_path_limit: 4
      role: customer
      strict_role: true
      graceful_restart: true
      shutdown: true
    - { asn: 65002, address: 192.0.2.2, max_prefixes: 100 }
`);
  t.deepEqual(said, []);
  t.deepEqual(bgp!.gracefulRestart, { restartTimeS: 90, staleTimeS: 300, longLivedS: 86_400 });
  t.like(speakerPeer(bgp!, 0), {
    name: 'x',
    asn: 'external',
    sendHoldMs: 540_000,
    delayOpenMs: 5000,
    connectRetryMs: 10_000,
    linkLocalForm: 'double',
    linkLocalCapability: true,
    maxPrefixes: { limit: 2000, warnAt: 80, action: 'restart', restartAfterMs: 900_000, count: 'received' },
    addPath: 'both',
    addPathLimit: 4,
    role: 'customer',
    strictRole: true,
    gracefulRestart: true,
    shutdown: true,
  });
  const plain = speakerPeer(bgp!, 1);
  t.like(plain, { name: 'AS65002', asn: 65002, maxPrefixes: 100, gracefulRestart: 'helper', shutdown: false });
  t.false('role' in plain);
});

test('a range is not a peer, and its peers are found by their prefix', (t) => {
  const { bgp, said } = load(`
  peers:
    - { name: guests, asn: [65010, 65011], range: 192.0.2.0/24, max_peers: 5 }
    - { asn: 65002, address: 192.0.2.2 }
`);
  t.deepEqual(said, []);
  t.deepEqual(
    bgp!.peers.map((p) => p.name),
    ['AS65002'],
  );
  const range = rangeConfigOf(bgp!.ranges[0]!, bgp!, () => undefined, new Map());
  t.like(range, { name: 'guests', asn: [65010, 65011], maxPeers: 5 });
  t.is(range.range.toString(), '192.0.2.0/24');
  t.false('address' in range);
});

test('what does not fit together is told', (t) => {
  const one = (peer: string): string[] => load(`  peers:\n    - ${peer}\n`).said;
  t.deepEqual(one('{ asn: 65002 }'), ['"address" is missing (or "range": a prefix peers connect from)']);
  t.deepEqual(one('{ asn: external, address: 192.0.2.1 }'), ['needs a name: its AS is not known beforehand']);
  t.deepEqual(one('{ name: x, asn: 65002, address: 192.0.2.1, range: 192.0.2.0/24 }'), [
    'a peer has an address or a range, not both',
  ]);
  t.deepEqual(one('{ asn: 65002, range: 192.0.2.0/24 }'), ['a range needs a name: its peers are called NAME-ADDRESS']);
  t.deepEqual(one('{ asn: 65002, address: 192.0.2.1, max_peers: 3 }'), ['has a meaning with "range" only']);
  t.deepEqual(one('{ name: x, asn: 65002, range: "fe80::/64" }'), [
    'link-local fe80::/64 needs "via": the uplink it is on',
  ]);
  t.deepEqual(one('{ asn: 65002, address: 192.0.2.1, max_prefixes: { limit: 5, action: warn, restart_after: 5m } }'), [
    'has no meaning with action: warn',
  ]);
  t.deepEqual(one('{ asn: 65002, address: 192.0.2.1, strict_role: true }'), [
    'which role? say "role: customer" or another one',
  ]);
  t.deepEqual(one('{ asn: 65002, address: 192.0.2.1, send_hold_time: 0 }'), [
    'must not be zero; leave it out for the default',
  ]);
  t.regex(one('{ asn: 65002, address: 192.0.2.1, role: boss }')[0]!, /expected one of provider, customer/);
  t.deepEqual(one('{ name: x, asn: [65002, 65001], address: 192.0.2.1 }'), [
    'AS 65001 is ours or of our confederation: its peers need an entry of their own',
  ]);
  t.deepEqual(one('{ name: x, asn: [65002, 65003], range: 192.0.2.0/24, local_as: 65003 }'), [
    'AS 65003 is ours or of our confederation: its peers need an entry of their own',
  ]);
  t.deepEqual(one('{ asn: 65002, address: 192.0.2.1, local_as: 65002 }'), [
    'AS 65002 is what we say to be in towards this peer',
  ]);
  t.regex(one('{ asn: nobody, address: 192.0.2.1 }')[0]!, /AS number/);
});
