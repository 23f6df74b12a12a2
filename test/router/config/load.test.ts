import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { formatDiagnostics } from '../../../router/config/diagnostic.ts';
import { checkConfig, findConfig, loadConfig, parseConfig } from '../../../router/config/load.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { MlshimError } from '../../../router/lib/errors.ts';

const FOLDER = join(import.meta.dirname, '../../../../test/router/config');
const BROKEN = join(FOLDER, 'broken');
const WARNED = join(FOLDER, 'warned');
const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PEER = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';

function folder(t: { teardown(fn: () => void): void }, files: Readonly<Record<string, string>>): string {
  const path = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), text, { mode: 0o600 });
  }
  return path;
}

const parse = (text: string, name = 'mlshim.yaml') => parseConfig({ shown: name, path: `/nowhere/${name}`, text }, {});

/** What is said about a file, as in the .txt beside it. */
async function golden(t: ExecutionContext, folder: string, file: string) {
  const path = join(folder, file);
  const source = { shown: file, path, text: readFileSync(path, 'utf8') };
  const { config, diagnostics } = await checkConfig(source, { MLSHIM_TEST_KEY: KEY });
  const expected = path.replace(/\.(yaml|conf)$/, '.txt');
  const said = `${formatDiagnostics(diagnostics).replaceAll(`${folder}/`, '')}\n`;
  if (process.env['MLSHIM_UPDATE'] !== undefined) writeFileSync(expected, said);
  t.is(said, readFileSync(expected, 'utf8'));
  return config;
}

const filesIn = (folder: string): string[] => readdirSync(folder).filter((f) => /\.(yaml|conf)$/.test(f));

for (const file of filesIn(BROKEN)) {
  test(`${file} is refused in the words of its .txt`, async (t) => {
    t.is(await golden(t, BROKEN, file), undefined);
  });
}

for (const file of filesIn(WARNED)) {
  test(`${file} is taken with the warnings of its .txt`, async (t) => {
    t.not(await golden(t, WARNED, file), undefined);
  });
}

test('no broken configuration makes its secrets visible', (t) => {
  for (const file of readdirSync(BROKEN).filter((f) => f.endsWith('.txt'))) {
    const text = readFileSync(join(BROKEN, file), 'utf8');
    t.false(text.includes(KEY), file);
    t.false(text.includes('still-secret'), file);
  }
});

const FULL = `
uplinks:
  dn42:
    wireguard:
      private_key: ${KEY}
      listen_port: 21080
      addresses: [172.20.1.1/32, fe80::1/64]
      table: off
      peers:
        - name: kioubit
          public_key: ${PEER}
          endpoint: "[2001:db8::1]:51820"
          allowed_ips: [0.0.0.0/0, "::/0"]
          persistent_keepalive: 25s
routes:
  - { to: 192.0.2.0/24, via: dn42 }
  - { to: 198.51.100.0/24, type: blackhole }
  - { to: 203.0.113.0/24, via: [{ via: dn42, weight: 3 }, { via: dn42, gateway: 172.20.1.9 }] }
dns: { servers: [172.20.0.53, "fe80::53%dn42"], search: [dn42] }
source: { ipv4: 172.20.1.1 }
bgp:
  asn: 4242421080
  router_id: 172.20.1.1
  networks: [172.20.1.0/27]
  policy: stub
  peers:
    - { asn: 4242420263, via: dn42, address: fe80::2, hold_time: 2m }
buffers: 64MiB
`;

test('a whole file becomes values', (t) => {
  const { config, diagnostics } = parse(FULL);
  t.deepEqual(diagnostics, []);
  const c = config!;
  const uplink = c.uplinks[0]!;
  t.is(uplink.name, 'dn42');
  const tunnel = uplink.wireguard!;
  t.is(tunnel.mtu, 1420);
  t.false(tunnel.installRoutes);
  t.is(tunnel.privateKey.length, 32);
  t.is(String(tunnel.addresses[1]!.prefix), 'fe80::/64');
  t.deepEqual(tunnel.peers[0]!.endpoint, { host: '2001:db8::1', port: 51820 });
  t.is(tunnel.peers[0]!.keepaliveS, 25);
  t.true(tunnel.peers[0]!.allowedIps[1]!.equals(Prefix.parse('::/0')!));
  t.is(c.routes[1]!.targets[0]!.kind, 'blackhole');
  t.is(c.routes[2]!.targets.length, 2);
  t.is(c.dns.servers[1]!.uplink, 'dn42');
  t.true(c.source.v4!.equals(Addr.parse('172.20.1.1')!));
  const peer = c.bgp!.peers[0]!;
  t.is(peer.name, 'AS4242420263');
  t.is(peer.holdTimeS, 120);
  t.is(peer.exportPolicy, 'own');
  t.true(peer.extendedNextHop);
  t.is(c.bufferBytes, 64 << 20);
});

test('external peers without a policy are named', (t) => {
  const said = (from: string, to: string): string[] =>
    parse(FULL.replace('  policy: stub\n', '').replace(from, to)).diagnostics.map((d) => d.message);
  const warning = (name: string): string =>
    `without a policy nothing is taken from or told to ${name} (RFC 8212): set bgp.policy, or import and export`;
  t.deepEqual(said('', ''), [warning('AS4242420263')]);
  t.deepEqual(said('hold_time: 2m', 'import: all'), [warning('AS4242420263')]);
  t.deepEqual(said('hold_time: 2m', 'import: all, export: own'), []);
  t.deepEqual(said('asn: 4242420263', 'asn: internal, name: b'), []);
  const { importPolicy, exportPolicy } = parse(FULL.replace('  policy: stub\n', '')).config!.bgp!.peers[0]!;
  t.deepEqual([importPolicy, exportPolicy], ['none', 'none']);
});

test('targets of a VRF need a distinguisher and BGP', (t) => {
  const words = (vrf: string, more = ''): string[] =>
    parse(`uplinks: { a: { wireguard: { private_key: '${'A'.repeat(43)}=', addresses: [10.0.0.1/32], peers: [] } } }
vrfs: { red: { ${vrf} } }
${more}`).diagnostics.map((d) => `${d.severity} ${d.path}: ${d.message}`);
  const bgp = 'bgp: { asn: 64601, router_id: 10.0.0.1 }';
  const ours = (all: string[]) => all.filter((w) => w.includes('vrfs'));
  t.deepEqual(ours(words("import: ['64601:1'], export: ['64601:1']", bgp)), [
    'error vrfs.red.import: import needs a route distinguisher: rd',
    'error vrfs.red.export: export needs a route distinguisher: rd',
  ]);
  t.deepEqual(ours(words("rd: '64601:1', import: ['64601:1']")), [
    "warning vrfs.red.import: import has no effect without bgp: routes of VRFs are BGP's",
  ]);
  t.deepEqual(ours(words("rd: '64601:1', import: ['64601:1']", bgp)), []);
});

test('peers without a name are called by their AS and by what tells them apart', (t) => {
  const { config, diagnostics } = parse(`
uplinks:
  a: { wireguard: { private_key: ${KEY} } }
  b: { wireguard: { private_key: ${PEER} } }
bgp:
  asn: 65001
  policy: transit
  router_id: 10.0.0.1
  peers:
    - { asn: 65002, via: a, address: 192.0.2.2 }
    - { asn: 65003, via: a, address: fe80::3 }
    - { asn: 65003, via: b, address: fe80::3 }
    - { asn: 65004, via: a, address: 192.0.2.4 }
    - { asn: 65004, via: a, address: fe80::4 }
    - { asn: 65004, via: b, address: 192.0.2.4 }
    - { asn: 65005, address: 192.0.2.5 }
    - { asn: 65005, address: 192.0.2.6 }
`);
  t.deepEqual(diagnostics, []);
  t.deepEqual(
    config!.bgp!.peers.map((p) => p.name),
    ['AS65002', 'AS65003', 'AS65003-b', 'AS65004', 'AS65004-a-fe80::4', 'AS65004-b', 'AS65005', 'AS65005-192.0.2.6'],
  );
});

test('a peer of the host is reached over its sockets, which listen where host_listen says', (t) => {
  const yaml = (listen: string): string => `
uplinks: { a: { wireguard: { private_key: ${KEY}, peers: [{ public_key: ${PEER} }] } } }
bgp:
  asn: 65001
  policy: transit
  router_id: 10.0.0.1
  host_listen: ${listen}
  peers:
    - { asn: 65002, address: 127.0.0.2, local_address: 127.0.0.1, host: true, passive: true }
    - { name: stack, asn: 65002, address: 127.0.0.2 }
`;
  const listensAt = (listen: string): string[] => {
    const { config, diagnostics } = parse(yaml(listen));
    t.deepEqual(diagnostics, []);
    t.is(String(config!.bgp!.peers[0]!.localAddress), '127.0.0.1');
    t.deepEqual(
      config!.bgp!.peers.map((p) => p.host),
      [true, false],
    );
    return config!.bgp!.hostListen.map((e) => `${e.address} ${e.port}`);
  };
  t.deepEqual(listensAt('127.0.0.1:1790'), ['127.0.0.1 1790']);
  t.deepEqual(listensAt('["[::1]:179", 192.0.2.1:1790]'), ['::1 179', '192.0.2.1 1790']);
});

test('MRT files are named relative to the configuration file, and stations as they are', (t) => {
  const { config, diagnostics } = parse(`
uplinks: { a: { wireguard: { private_key: ${KEY}, peers: [{ public_key: ${PEER} }] } } }
bgp:
  asn: 65001
  policy: transit
  router_id: 10.0.0.1
  bmp: ['[2001:db8::1]:11019', { station: '[2001:db8::1]:11020', tables: [in_post, loc] }]
  mrt: { tables: { file: dumps/rib.%Y%m%d.mrt }, updates: { file: /var/mrt/updates.%H.mrt, every: 1h } }
  peers: [{ asn: 65002, address: 192.0.2.2, mrt: peer.mrt }]
`);
  t.deepEqual(diagnostics, []);
  const { bmp, mrt, peers } = config!.bgp!;
  const address = Addr.parse('2001:db8::1')!;
  t.deepEqual(bmp, [
    { address, port: 11019, tables: ['in_pre'] },
    { address, port: 11020, tables: ['in_post', 'loc'] },
  ]);
  t.deepEqual(mrt, {
    tables: { path: '/nowhere/dumps/rib.%Y%m%d.mrt', everyS: 7200 },
    updates: { path: '/var/mrt/updates.%H.mrt', everyS: 3600 },
  });
  t.is(peers[0]!.mrt, '/nowhere/peer.mrt');
});

test('the configuration is frozen to its leaves', (t) => {
  const { config } = parse(FULL);
  t.throws(() => {
    (config!.uplinks[0]!.wireguard!.peers as unknown[]).push({});
  });
});

test('tags read files, variables and other configuration files below the folder', async (t) => {
  const dir = folder(t, {
    'mlshim.yaml': `uplinks:
  a:
    wireguard:
      private_key: !file keys/a.key
      peers: !include peers.d/*.yaml
  b: { wireguard: { private_key: !env B_KEY, peers: !include more.yaml } }
`,
    'keys/a.key': `${KEY}\n`,
    'peers.d/1.yaml': `- { name: one, public_key: ${PEER} }\n`,
    'peers.d/2.yaml': `name: two\npublic_key: ${KEY}\n`,
    'peers.d/.hidden.yaml': 'not: yaml: at all',
    'more.yaml': `- { name: three, public_key: ${PEER} }\n`,
  });
  const { config, diagnostics } = await loadConfig(join(dir, 'mlshim.yaml'), { B_KEY: PEER });
  t.deepEqual(diagnostics, []);
  t.deepEqual(
    config.uplinks.map((u) => u.wireguard!.peers.map((p) => p.name)),
    [['one', 'two'], ['three']],
  );
});

test('a mistake in an included file is told at its own line', async (t) => {
  const dir = folder(t, {
    'mlshim.yaml': `uplinks: { a: { wireguard: { private_key: !file k, peers: !include p/*.yaml } } }\n`,
    k: KEY,
    'p/1.yaml': `- public_key: ${PEER}\n  allowed_ips: []\n  endpont: "x:1"\n`,
  });
  const e = await t.throwsAsync(loadConfig(join(dir, 'mlshim.yaml'), {}), { instanceOf: MlshimError });
  t.is(e.exit, 78);
  t.regex(e.message, /p\/1\.yaml:3:3: error: unknown key "endpont" \(did you mean "endpoint"\? known: /);
});

test('a key file that others can read is a warning', async (t) => {
  const dir = folder(t, { 'mlshim.yaml': 'uplinks: { a: { wireguard: { private_key: !file k } } }\n' });
  writeFileSync(join(dir, 'k'), KEY, { mode: 0o644 });
  const { diagnostics } = await loadConfig(join(dir, 'mlshim.yaml'), {});
  t.is(diagnostics.length, 1);
  t.regex(diagnostics[0]!.message, /other users can read k/);
});

test('a file that includes itself is refused', async (t) => {
  const dir = folder(t, { 'mlshim.yaml': 'uplinks: !include mlshim.yaml\n' });
  const e = await t.throwsAsync(loadConfig(join(dir, 'mlshim.yaml'), {}));
  t.regex(e.message, /includes itself/);
});

test('uplinks are tunnels or paths of the host', (t) => {
  const { config, diagnostics } = parse(`
backend: kernel
isolation: device
strict: true
uplinks:
  fiber: { kernel: { interface: eth1 }, bandwidth: 20Mbit, dns: [192.0.2.53, '2001:db8::53'] }
  lte: { kernel: { source: 198.51.100.7 } }
  vpn: { wireguard: { private_key: ${KEY} } }
`);
  t.deepEqual(diagnostics, []);
  t.like(config, { backend: 'kernel', isolation: 'device', strict: true });
  const [fiber, lte, vpn] = config!.uplinks;
  t.deepEqual(fiber!.host, { interface: 'eth1', source: undefined });
  t.deepEqual(fiber!.dns.map(String), ['192.0.2.53', '2001:db8::53']);
  t.is(fiber!.wireguard, undefined);
  t.is(String(lte!.host!.source), '198.51.100.7');
  t.is(vpn!.host, undefined);
  t.like(parse(`uplinks: { a: { kernel: { interface: eth1 } } }`).config, {
    backend: 'auto',
    isolation: 'vrf',
    strict: false,
  });
});

test('a wg-quick file is one uplink named after it', (t) => {
  const text = `[Interface]
PrivateKey = ${KEY}
Address = 10.0.0.2/24, fd00::2/64
DNS = 10.0.0.53, corp.example
PostUp = iptables -A FORWARD -j ACCEPT

[Peer]
PublicKey = ${PEER}
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = vpn.example.org:51820
PersistentKeepalive = 25
`;
  const { config, diagnostics } = parse(text, 'wg0.conf');
  const uplink = config!.uplinks[0]!;
  t.is(uplink.name, 'wg0');
  t.is(uplink.wireguard!.mtu, 1420);
  t.true(uplink.wireguard!.installRoutes);
  t.is(uplink.wireguard!.peers[0]!.keepaliveS, 25);
  t.deepEqual(
    config!.dns.servers.map((s) => String(s.addr)),
    ['10.0.0.53'],
  );
  t.deepEqual(config!.dns.search, ['corp.example']);
  t.is(diagnostics.length, 1);
  t.is(diagnostics[0]!.severity, 'warning');
  t.is(diagnostics[0]!.line, 5);
});

test('the explicit file wins, then MLSHIM_CONFIG, then the text in the environment', (t) => {
  const dir = folder(t, { 'a.yaml': 'a', 'b.yaml': 'b' });
  const env = { MLSHIM_CONFIG: join(dir, 'b.yaml'), MLSHIM_CONFIG_YAML: 'c' };
  t.is(findConfig(join(dir, 'a.yaml'), env).text, 'a');
  t.is(findConfig(undefined, env).text, 'b');
  t.is(findConfig(undefined, { MLSHIM_CONFIG_YAML: 'c' }).text, 'c');
});

test('a file that cannot be read says why', (t) => {
  const e = t.throws(() => findConfig('/nowhere/x.yaml', {}), { instanceOf: MlshimError })!;
  t.is(e.code, 'CONFIG_UNREADABLE');
  t.is(e.message, 'cannot read /nowhere/x.yaml: no such file');
});

test('an FPM server listens on loopback for loopback clients unless told otherwise', (t) => {
  const uplinks = `uplinks: { home: { wireguard: { private_key: ${KEY} } } }\n`;
  const fpm = parse(`${uplinks}fpm: {}\n`).config?.fpm;
  t.deepEqual([String(fpm?.listen.addr), fpm?.listen.port], ['127.0.0.1', 2620]);
  t.deepEqual(fpm?.allow.map(String), ['127.0.0.0/8', '::1/128']);
  t.like(fpm, { holdTimeS: 120, staleTimeS: 60, confirm: false, interfaces: [] });
  const other = parse(
    `${uplinks}fpm: { listen: '[fd00::1]:99', allow: ['fd00::/64'], interfaces: { eth0: home, 3: home }, hold_time: 5m }\n`,
  ).config?.fpm;
  t.deepEqual([String(other?.listen.addr), other?.listen.port], ['fd00::1', 99]);
  t.like(other, {
    holdTimeS: 300,
    interfaces: [
      { interface: '3', uplink: 'home' },
      { interface: 'eth0', uplink: 'home' },
    ],
  });
  t.is(parse(uplinks).config?.fpm, undefined);
});

test('each kind of probe has its defaults, and measured weights are told from others', (t) => {
  const uplink = (name: string, more: string): string => `  ${name}: { kernel: { interface: ${name} }, ${more} }\n`;
  const { config } = parse(`uplinks:
${uplink('a', 'weight: auto, probe: { to: 192.0.2.1 }')}
${uplink('b', 'bandwidth: 8Mbit, probe: { to: [192.0.2.1, 2001:db8::1], kind: tcp, port: 443 }')}
${uplink('c', 'probe: { to: 192.0.2.1, kind: dns }')}
${uplink('d', 'probe: { to: 192.0.2.1, kind: http, path: "/up?x", host: example.org, expect: [204] }')}
rules: [{ use: [a, b, { uplink: c, weight: auto }] }]
`);
  t.deepEqual(
    config?.uplinks.map((u) => u.probe?.question),
    [
      { kind: 'icmp' },
      { kind: 'tcp', port: 443 },
      { kind: 'dns', port: 53, name: '', type: 2 },
      { kind: 'http', port: 80, path: '/up?x', host: 'example.org', expect: [204] },
    ],
  );
  t.deepEqual(
    config?.policy.groups[0]?.members.map((m) => m.weight),
    ['auto', 1, 'auto'],
  );
});

test('users are named as this host knows them; who is not there is told with the nearest name', (t) => {
  const rule = (user: string) =>
    parse(`uplinks: { a: { kernel: { interface: eth1 } } }\nrules: [{ match: { user: ${user} }, use: a }]\n`);
  t.deepEqual(rule('root').config?.policy.rules[0]?.match.users, [0]);
  t.deepEqual(rule('[root, 1000]').config?.policy.rules[0]?.match.users, [0, 1000]);
  t.regex(rule('rooot').diagnostics[0]!.message, /^this host has no user "rooot" \(did you mean "root"\?\)$/);
  t.regex(rule('qqxqqxqqxqqx').diagnostics[0]!.message, /^this host has no user .* \(getent passwd lists them\)$/);
  t.regex(rule('"1000"').diagnostics[0]!.message, /ids are numbers without quotes/);
});
