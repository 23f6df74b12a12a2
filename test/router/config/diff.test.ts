import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { diffConfig, isReloadable } from '../../../router/config/diff.ts';
import { findConfig, parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';

const KEYS = [1, 2, 3].map((n) => Buffer.alloc(32, 64 + n).toString('base64'));

interface Parts {
  readonly peers?: string;
  readonly networks?: string;
  readonly asn?: number;
  readonly uplink?: string;
  readonly more?: string;
  readonly routes?: string;
  readonly wgPeer?: string;
  readonly bgp?: string;
  readonly policy?: string;
}

function config(t: ExecutionContext, o: Parts = {}): Config {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'mlshim.yaml');
  writeFileSync(
    file,
    `uplinks:
  a: { wireguard: { private_key: ${KEYS[0]}, ${o.uplink ?? 'mtu: 1420'}, peers: [{ public_key: ${KEYS[1]}, ${o.wgPeer ?? 'allowed_ips: [10.0.0.0/8]'} }] } }
${o.more ?? ''}
routes: [${o.routes ?? ''}]
bgp:
  asn: ${o.asn ?? 65001}
  router_id: 10.0.0.1
  policy: ${o.policy ?? 'transit'}
  networks: [${o.networks ?? '10.1.0.0/16'}]
${o.bgp ?? ''}
  peers: [${o.peers ?? "{ name: b, asn: 65002, via: a, address: 'fe80::2' }"}]
`,
    { mode: 0o600 },
  );
  return parseConfig(findConfig(file, {}), {}).config!;
}

const PEER = "{ name: b, asn: 65002, via: a, address: 'fe80::2'";

test('equal files have no differences, wherever they are', (t) => {
  t.deepEqual(diffConfig(config(t), config(t)), []);
});

test('rules that stand on other lines are the same; a policy goes by its name', (t) => {
  const bgp = '  policies: { in: [accept], out: [{ set: { med: 1 } }] }';
  const peers = `${PEER}, import: in }`;
  const before = config(t, { bgp, peers });
  t.deepEqual(diffConfig(before, config(t, { bgp: `\n# moved\n\n${bgp}`, peers })), []);
  const [change, ...others] = diffConfig(before, config(t, { bgp, peers: `${PEER}, import: out }` }));
  t.deepEqual(others, []);
  t.like(change, {
    path: 'bgp.peers.b.import',
    before: 'in [{ action: accept }]',
    after: 'out [{ set: { med: 1 }, action: accep...',
    effect: 'live',
  });
});

test('sessions start, end, restart, or keep running, each by its name', (t) => {
  const change = (peers: string) =>
    diffConfig(config(t), config(t, { peers })).map((c) => `${c.kind} ${c.path} ${c.before} ${c.after} ${c.effect}`);
  t.deepEqual(change(`${PEER} }, { name: c, asn: 65003, address: 10.0.0.9 }`), ['added bgp.peers.c   live']);
  t.deepEqual(change(''), ['removed bgp.peers.b   live']);
  t.deepEqual(change(`${PEER}, export: none }`), ['changed bgp.peers.b.export all none live']);
  t.deepEqual(change(`${PEER}, hold_time: 30s }`), ['changed bgp.peers.b.hold_time 90 30 session']);
  t.deepEqual(change(`${PEER}, max_prefixes: 50 }`), ['added bgp.peers.b.max_prefixes  50 session']);
  t.deepEqual(change(`${PEER}, description: x }`), ['added bgp.peers.b.description  x live']);
  t.deepEqual(change(`${PEER}, next_hop_self: true }`), ['changed bgp.peers.b.next_hop_self false true session']);
});

test('networks, routes and WireGuard peers change while everything runs', (t) => {
  const paths = (o: Parts) => diffConfig(config(t), config(t, o)).map((c) => `${c.kind} ${c.path} ${c.effect}`);
  t.deepEqual(paths({ networks: '10.2.0.0/16' }), [
    'removed bgp.networks.10.1.0.0/16 live',
    'added bgp.networks.10.2.0.0/16 live',
  ]);
  const labelled = '{ prefix: 10.1.0.0/16, med: 10, communities: [65001:7, 65001:1:2, rt:65001:3] }';
  t.deepEqual(
    diffConfig(config(t), config(t, { networks: labelled })).map((c) => [c.path, c.before, c.after, c.effect]),
    [['bgp.networks.10.1.0.0/16', 'yes', '{ med: 10, communities: [65001:7, rt:...', 'live']],
  );
  t.deepEqual(paths({ routes: '{ to: 10.9.0.0/16, type: blackhole }' }), ['added routes.10.9.0.0/16 live']);
  t.deepEqual(paths({ wgPeer: 'allowed_ips: [10.0.0.0/8, 172.20.0.0/14]' }), [
    `added uplinks.a.peers.${KEYS[1]!.slice(0, 8)}.allowed_ips.172.20.0.0/14 live`,
  ]);
  t.deepEqual(paths({ uplink: 'mtu: 1400' }), ['changed uplinks.a.mtu uplink']);
  t.deepEqual(paths({ more: `  c: { wireguard: { private_key: ${KEYS[2]} } }` }), ['added uplinks.c live']);
});

test('sources of ROAs and what DN42 is told change while sessions go on', (t) => {
  const effects = (bgp: string, peers?: string, policy?: string): string[] => [
    ...new Set(
      diffConfig(
        config(t),
        config(t, { bgp, ...(peers !== undefined && { peers }), ...(policy !== undefined && { policy }) }),
      ).map((c) => c.effect),
    ),
  ];
  t.deepEqual(effects('  rpki: { files: [/roas.json], servers: [{ host: 192.0.2.1 }], refresh: 5m }'), ['live']);
  t.deepEqual(effects('  dn42: { region: pacific, latency_window: 1h }'), ['live']);
  t.deepEqual(effects('', `${PEER}, dn42: { bandwidth: 1G } }`), ['live']);
  t.deepEqual(
    effects('  rpki: { files: [/roas.json] }', undefined, 'dn42').sort(),
    ['live', 'session'],
    'the limit of prefixes',
  );
});

test('what only a new start can do makes the whole change impossible', (t) => {
  const changes = diffConfig(config(t), config(t, { asn: 65009 }));
  t.deepEqual(
    changes.map((c) => [c.path, c.effect]),
    [['bgp.asn', 'restart']],
  );
  t.false(isReloadable(changes));
});

test('secrets are compared and not shown', (t) => {
  const psk = (n: number) => ({ wgPeer: `allowed_ips: [10.0.0.0/8], preshared_key: ${KEYS[n]}` });
  const changes = diffConfig(config(t, psk(0)), config(t, psk(2)));
  t.deepEqual(
    changes.map((c) => [c.kind, c.before, c.after]),
    [['changed', '(secret)', '(secret)']],
  );
  const key = diffConfig(config(t), config(t, { uplink: `listen_port: 0, mtu: 1420` }));
  t.deepEqual(key, []);
  const text = JSON.stringify(
    diffConfig(config(t, { peers: `${PEER}, password: hidden }` }), config(t, { peers: `${PEER}, password: other }` })),
  );
  t.regex(text, /bgp\.peers\.b\.password/);
  t.notRegex(text, /hidden|other/);
});
