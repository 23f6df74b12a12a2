import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { diffConfig, isReloadable, whyFixed } from '../../../router/config/diff.ts';
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
  t.deepEqual(change(`${PEER}, max_prefixes: 50 }`), ['added bgp.peers.b.max_prefixes  50 live']);
  t.deepEqual(change(`${PEER}, description: x }`), ['added bgp.peers.b.description  x live']);
  t.deepEqual(change(`${PEER}, next_hop_self: true }`), ['changed bgp.peers.b.next_hop_self false true live']);
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
    `added uplinks.a.wireguard.peers.${KEYS[1]!.slice(0, 8)}.allowed_ips.172.20.0.0/14 live`,
  ]);
  t.deepEqual(paths({ uplink: 'mtu: 1400' }), ['changed uplinks.a.wireguard.mtu uplink']);
  t.deepEqual(paths({ more: `  c: { wireguard: { private_key: ${KEYS[2]} } }` }), ['added uplinks.c live']);
});

test('another path of the host makes another link; who carries the flows is fixed', (t) => {
  const paths = (before: string, after: string) =>
    diffConfig(config(t, { more: before }), config(t, { more: after })).map((c) => `${c.kind} ${c.path} ${c.effect}`);
  t.deepEqual(paths('  f: { kernel: { interface: eth1 } }', '  f: { kernel: { interface: eth2 } }'), [
    'changed uplinks.f.kernel.interface uplink',
  ]);
  t.deepEqual(paths('  f: { kernel: { interface: eth1 } }', `  f: { wireguard: { private_key: ${KEYS[2]} } }`), [
    'removed uplinks.f.kernel uplink',
    'added uplinks.f.wireguard uplink',
  ]);
  t.deepEqual(
    paths('  f: { kernel: { source: 192.0.2.1 } }', '  f: { kernel: { source: 192.0.2.1 }, dns: [192.0.2.53] }'),
    ['changed uplinks.f.dns live'],
  );
  t.deepEqual(paths('', 'backend: userspace'), ['changed backend restart']);
  t.deepEqual(paths('', 'isolation: device'), ['changed isolation restart']);
  t.deepEqual(paths('', 'strict: true'), ['changed strict live']);
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
  t.deepEqual(effects('  rpki: { files: [/roas.json] }', undefined, 'dn42'), ['live']);
});

test('each part has its effect, in the words of the file', (t) => {
  const changes = (before: Parts, after: Parts): string[] =>
    diffConfig(config(t, before), config(t, after)).map((c) => `${c.path} ${c.effect}`);
  const added = (o: Parts): string[] => changes({}, o);
  t.deepEqual(added({ asn: 65009 }), ['bgp.asn routing']);
  t.deepEqual(
    changes(
      { bgp: '  cluster_id: 1.1.1.1\n  confederation: { id: 65100 }\n  listen_port: 1179' },
      { bgp: '  cluster_id: 1.1.1.2\n  confederation: { id: 65101 }\n  listen_port: 1180' },
    ),
    ['bgp.listen_port live', 'bgp.cluster_id routing', 'bgp.confederation.id routing'],
  );
  t.deepEqual(added({ bgp: '  graceful_restart: { restart_time: 60s, stale_time: 50s, long_lived: 1h }' }), [
    'bgp.graceful_restart.restart_time session',
    'bgp.graceful_restart.stale_time live',
    'bgp.graceful_restart.long_lived session',
  ]);
  t.deepEqual(added({ bgp: '  multipath: { max_paths: 4 }\n  aggregates: [{ prefix: 10.0.0.0/8 }]' }), [
    'bgp.aggregates.10.0.0.0/8 live',
    'bgp.multipath live',
  ]);
  t.deepEqual(
    changes(
      { bgp: '  bmp: [127.0.0.1:1790]\n  mrt: { tables: { file: a } }' },
      { bgp: '  bmp: [127.0.0.1:1791]\n  mrt: { updates: { file: a } }' },
    ),
    ['bgp.bmp live', 'bgp.mrt.tables live', 'bgp.mrt.updates live'],
  );
  t.deepEqual(added({ more: 'dns: { servers: [10.0.0.1] }\nsource: { ipv4: 10.0.0.2 }\nfpm: {}\nbird_socket: b' }), [
    'dns.servers live',
    'source live',
    'fpm live',
    'bird_socket live',
  ]);
  t.deepEqual(added({ more: 'loopback: stack\nbuffers: 64MiB' }), ['loopback restart', 'buffers restart']);
});

test('rules of uplinks are compared in their order, groups by their names', (t) => {
  const rules = (text: string, group = 'a'): Parts => ({
    more: `groups: { g: { uplinks: [${group}] } }\nrules: [${text}]`,
  });
  const [one, two] = ['{ name: one, match: { port: 25 }, reject: true }', '{ name: two, use: g }'];
  const changes = (before: Parts, after: Parts): string[] =>
    diffConfig(config(t, before), config(t, after)).map((c) => `${c.kind} ${c.path} ${c.effect}`);
  t.deepEqual(changes(rules(`${one}, ${two}`), rules(`${one}, ${two}`)), []);
  t.deepEqual(changes(rules(`${one}, ${two}`), rules(two)), ['changed rules live']);
  t.deepEqual(changes({}, rules(two)), ['changed rules live', 'added groups.g live']);
});

test('another session with the AS of a peer leaves that peer alone, with a name or without', (t) => {
  const one = "{ asn: 65002, via: a, address: 'fe80::2' }";
  const changes = (peers: string): string[] =>
    diffConfig(config(t, { peers: one }), config(t, { peers })).map((c) => `${c.kind} ${c.path}`);
  t.deepEqual(changes(`${one}, { name: other, asn: 65002, via: a, address: 'fe80::3' }`), ['added bgp.peers.other']);
  t.deepEqual(changes(`${one}, { asn: 65002, via: a, address: 'fe80::3' }`), ['added bgp.peers.AS65002-a-fe80::3']);
});

test('a range stands among the peers, a VRF among the VRFs', (t) => {
  const range = (more: string): Parts => ({
    peers: `${PEER} }, { name: r, asn: external, via: a, range: 'fe80::/64'${more} }`,
  });
  const changes = (before: Parts, after: Parts): string[] =>
    diffConfig(config(t, before), config(t, after)).map(
      (c) => `${c.kind} ${c.path} ${c.before} ${c.after} ${c.effect}`,
    );
  t.deepEqual(changes({}, range('')), ['added bgp.peers.r   live']);
  t.deepEqual(changes(range(''), range(', max_peers: 3')), ['added bgp.peers.r.max_peers  3 live']);
  const vrf = (text: string): Parts => ({ more: `vrfs: { red: { ${text} } }` });
  t.deepEqual(changes(vrf('rd: 65001:1'), vrf("rd: 65001:2, import: ['65001:7', '10.0.0.1:8']")), [
    'changed vrfs.red.rd 65001:1 65001:2 live',
    'changed vrfs.red.import  65001:7, 10.0.0.1:8 live',
  ]);
  t.deepEqual(changes(vrf(''), vrf('networks: [10.5.0.0/16]')), ['added vrfs.red.networks.10.5.0.0/16  yes live']);
  t.deepEqual(changes({}, vrf('')), ['added vrfs.red   live']);
});

test('a filter module is another one when it says something else', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const module = join(dir, 'f.mjs');
  writeFileSync(module, 'export const f = (r) => r;');
  const before = config(t, { bgp: `  filters: ${module}` });
  t.deepEqual(diffConfig(before, config(t, { bgp: `  filters: ${module}` })), []);
  const asked = config(t, { bgp: `  filters: ${module}`, peers: `${PEER}, import: { module: f } }` });
  t.deepEqual(
    diffConfig(before, asked).map((c) => `${c.path} ${c.before} ${c.after}`),
    ['bgp.peers.b.import all { module: f }'],
  );
  writeFileSync(module, 'export const f = () => undefined;');
  const [change, ...others] = diffConfig(before, config(t, { bgp: `  filters: ${module}` }));
  t.deepEqual(others, []);
  t.like(change, { path: 'bgp.filters', kind: 'changed', effect: 'live' });
  t.not(change!.before, change!.after, 'the digest is what is shown of a long path');
});

test('what only a new start can do makes the whole change impossible', (t) => {
  const changes = diffConfig(config(t), config(t, { asn: 65009, more: 'buffers: 64MiB' }));
  t.deepEqual(
    changes.map((c) => [c.path, c.effect]),
    [
      ['bgp.asn', 'routing'],
      ['buffers', 'restart'],
    ],
  );
  t.false(isReloadable(changes));
  t.true(isReloadable(changes.slice(0, 1)));
  t.is(whyFixed(changes[1]!), 'buffers (memory is divided at the start)');
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
