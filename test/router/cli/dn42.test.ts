import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { main } from '../../../router/cli/main.ts';
import { dn42Json } from '../../bgp/kit/roas.ts';

const CLI = join(import.meta.dirname, '../../../router/cli/main.js');
const KEY = 'AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
const PUBLIC = 'L+V9o0fNYkMVKNqsX7spBzD/9oSvxM/C7ZCZX1jLO3Q=';
const THEIRS = 'AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';

const FILE = `source: { ipv4: 172.20.229.117, ipv6: 'fd42:229::117' }
bgp:
  asn: 4242420229
  router_id: 172.20.229.117
  networks: [172.20.229.112/28, 'fd42:229::/48']
  policy: dn42
  rpki: { files: [roas.json] }
  dn42: { private_key: ${KEY}, endpoint: node.example.net, region: europe, country: 276, bandwidth: 100M }
  peers: !include peers.d/*.yaml
`;

const ROAS = [
  { prefix: '172.20.229.112/28', maxLength: 28, asn: 4242420229 },
  { prefix: 'fd42:229::/48', maxLength: 48, asn: 4242420229 },
];

/** A folder with a configuration, and the command line in it. */
function place(t: ExecutionContext, file = FILE) {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-dn42-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, 'mlshim.yaml');
  writeFileSync(path, file);
  writeFileSync(join(dir, 'roas.json'), dn42Json(ROAS));
  const run = async (...argv: string[]) => {
    let out = '';
    let err = '';
    const io = {
      out: (text: string) => void (out += text),
      err: (text: string) => void (err += text),
      env: { MLSHIM_CONFIG: path },
      isTty: false,
    };
    return { status: await main(argv, io), out, err };
  };
  return { dir, path, run };
}

test('the card says what a peer needs, with the port that is for it', async (t) => {
  const { run } = place(t, FILE.replace(/ {2}peers:.*\n/, '  peers: [{ asn: 4242420001, address: 172.20.0.1 }]\n'));
  const { status, out } = await run('dn42', 'card', '4242420263');
  t.is(status, 0);
  t.is(
    out,
    `ASN         4242420229
Endpoint    node.example.net:20263
Public key  ${PUBLIC}
Link-local  fe80::229
IPv4        172.20.229.117
IPv6        fd42:229::117
MTU         1420
Networks    172.20.229.112/28, fd42:229::/48
BGP         MP-BGP: IPv4 and IPv6 in one session, extended next hop (RFC 8950),
            extended messages (RFC 8654)
`,
  );
  t.regex((await run('dn42')).out, /Endpoint +node\.example\.net:20000 \+ last 4 digits of your ASN\n/);
  const json = JSON.parse((await run('dn42', 'card', 'AS4242420263', '--json')).out) as Record<string, unknown>;
  t.like(json, { asn: 4242420229, endpoint: 'node.example.net:20263', mtu: 1420, mp_bgp: true, public_key: PUBLIC });
});

test('add-peer writes a file that the configuration takes in', async (t) => {
  const { dir, run } = place(t);
  const added = await run(
    ...[
      'dn42',
      'add-peer',
      '4242420263',
      '--public-key',
      THEIRS,
      '--endpoint',
      '[2001:db8::1]:20229',
      '--bandwidth',
      '1G',
    ],
  );
  t.is(added.err, '');
  t.is(added.status, 0);
  t.is(
    readFileSync(join(dir, 'peers.d', 'AS4242420263.yaml'), 'utf8'),
    `# AS4242420263
- asn: 4242420263
  wireguard:
    public_key: ${THEIRS}
    endpoint: '[2001:db8::1]:20229'
  dn42:
    bandwidth: 1G
`,
  );
  t.regex(added.out, /Endpoint +node\.example\.net:20263/);
  t.is((await run('config', 'check')).status, 0);

  const second = await run(
    'dn42',
    'add-peer',
    '4242421080',
    '--public-key',
    THEIRS,
    '--link-local',
    'fe80::ade0',
    '--json',
  );
  t.is(second.status, 0);
  t.like(JSON.parse(second.out) as Record<string, unknown>, { used: true });
  t.is((await run('config', 'check')).status, 0);
});

test('a peer that is there already, or does not fit, leaves nothing behind', async (t) => {
  const { dir, run } = place(t);
  await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS);
  const again = await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS);
  t.is(again.status, 2);
  t.regex(again.err, /there is a peer AS4242420263 already/);
  // The same last four digits mean the same port.
  const clash = await run('dn42', 'add-peer', '4242410263', '--public-key', THEIRS);
  t.is(clash.status, 2);
  t.regex(clash.err, /the tunnel AS4242420263 listens on port 20263 already: give --port for this one/);
  t.false(existsSync(join(dir, 'peers.d', 'AS4242410263.yaml')));
  const second = ['dn42', 'add-peer', '4242420263', '--public-key', THEIRS, '--name', 'second'];
  t.regex((await run(...second)).err, /give --port for this one/);
  t.regex((await run(...second, '--port', '20263')).err, /give another --port/);
  // The card is that of the tunnel that was added, not of the first one to that AS.
  const added = await run(...second, '--port', '20264', '--json');
  t.like(JSON.parse(added.out) as Record<string, unknown>, {
    used: true,
    card: { endpoint: 'node.example.net:20264' },
  });
  const endpoint = async (peer: string): Promise<string | undefined> =>
    /Endpoint +(.*)/.exec((await run('dn42', 'card', peer)).out)?.[1];
  t.is(await endpoint('second'), 'node.example.net:20264');
  t.is(await endpoint('AS4242420263'), 'node.example.net:20263');
  const which = await run('dn42', 'card', '4242420263');
  t.is(which.status, 2);
  t.regex(which.err, /AS4242420263 has several sessions: name one of AS4242420263, second/);
  const ours = await run('dn42', 'add-peer', '4242421229', '--public-key', THEIRS, '--link-local', 'fe80::229');
  t.is(ours.status, 78);
  t.regex(ours.err, /both ends would be fe80::229/);
  t.false(existsSync(join(dir, 'peers.d', 'AS4242421229.yaml')));
  const free = await run(
    'dn42',
    'add-peer',
    '4242410263',
    '--public-key',
    THEIRS,
    '--port',
    '30263',
    '--link-local',
    'fe80::1:263',
  );
  t.is(free.status, 0, free.err);
});

test('a key that is our own is refused, one that another AS has is taken with a warning', async (t) => {
  const { dir, run } = place(t);
  const own = await run('dn42', 'add-peer', '4242420264', '--public-key', PUBLIC);
  t.is(own.status, 78);
  t.regex(own.err, /AS4242420264\.yaml:4:17: error: our own public key/);
  t.false(existsSync(join(dir, 'peers.d', 'AS4242420264.yaml')));
  t.is((await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS)).err, '');
  const copied = await run('dn42', 'add-peer', '4242420264', '--public-key', THEIRS);
  t.is(copied.status, 0);
  t.regex(
    copied.err,
    /AS4242420264\.yaml:4:17: warning: AS4242420263 at \S*AS4242420263\.yaml:4 has the same public key/,
  );
});

test('where the file of a peer cannot be written, nothing is left and the reason is told', async (t) => {
  const { dir, path, run } = place(t);
  writeFileSync(join(dir, 'peers.d'), '');
  const blocked = await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS);
  t.is(blocked.status, 1);
  t.regex(blocked.err, /^mlshim: cannot write \S+peers\.d\/AS4242420263\.yaml: .*\n {2}hint: .*\n$/);
  rmSync(join(dir, 'peers.d'));
  // No octet more: as on a full disk.
  const add = `ulimit -f 0; exec '${process.execPath}' '${CLI}' dn42 add-peer 4242420263 --public-key ${THEIRS}`;
  const full = spawnSync('sh', ['-c', add], { env: { ...process.env, MLSHIM_CONFIG: path }, encoding: 'utf8' });
  t.is(full.status, 1, full.stderr);
  t.regex(full.stderr, /^mlshim: cannot write \S+AS4242420263\.yaml: /);
  t.deepEqual(readdirSync(join(dir, 'peers.d')), []);
});

test('a configuration that does not read peers.d is told how to', async (t) => {
  const { run } = place(t, FILE.replace(/ {2}peers:.*\n/, '  peers: [{ asn: 4242420001, address: 172.20.0.1 }]\n'));
  const { status, err } = await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS);
  t.is(status, 1);
  t.regex(err, /peers: !include peers\.d\/\*\.yaml/);
});

test('what is no key, endpoint or address is refused before anything is written', async (t) => {
  const { dir, run } = place(t);
  const cases: readonly [readonly string[], RegExp][] = [
    [['x', '--public-key', THEIRS], /not an AS number/],
    [['4242420263'], /--public-key is missing/],
    [['4242420263', '--public-key', 'abc'], /not a WireGuard key/],
    [['4242420263', '--public-key', THEIRS, '--endpoint', 'host'], /not HOST:PORT/],
    [['4242420263', '--public-key', THEIRS, '--link-local', '10.0.0.1'], /not an IPv6 address/],
    [['4242420263', '--public-key', THEIRS, '--name', "a'b: c"], /is not a name/],
    [['4242420263', '--public-key', THEIRS, '--preshared-key-file', 'a b'], /no plain name of a file/],
    [['4242420263', '--public-key', THEIRS, '--mtu', 'big'], /--mtu is a number/],
  ];
  for (const [argv, words] of cases) {
    const { status, err } = await run('dn42', 'add-peer', ...argv);
    t.is(status, 2, argv.join(' '));
    t.regex(err, words);
  }
  t.false(existsSync(join(dir, 'peers.d')));
  const dry = await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS, '--dry-run');
  t.regex(dry.out, /^# AS4242420263\n- asn: 4242420263\n/);
  t.false(existsSync(join(dir, 'peers.d')));
});

test('options of add-peer are looked at before anything is written, also for --dry-run', async (t) => {
  const { dir, run } = place(t);
  const add = (...more: string[]) => run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS, ...more);
  for (const [option, value, why] of [
    ['--name', '../../x', /"\.\.\/\.\.\/x" is not a name/],
    ['--name', '.hidden', /is not a name/],
    ['--port', '65536', /--port is a number from 0 to 65535, not "65536"/],
    ['--mtu', '576', /--mtu is a number from 1280 to 65535/],
    ['--bandwidth', '9x', /"9x" is not a bandwidth/],
  ] as const) {
    for (const dry of [[], ['--dry-run']]) {
      const { status, err } = await add(option, value, ...dry);
      t.is(status, 2, `${option} ${value}`);
      t.regex(err, why);
    }
  }
  t.false(existsSync(join(dir, 'peers.d')));
  const { yaml } = JSON.parse((await add('--dry-run', '--json')).out) as { yaml: string };
  t.is(yaml, (await add('--dry-run')).out);
});

test('lint has nothing to say about a node that follows the customs', async (t) => {
  const { run } = place(t);
  await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS, '--endpoint', 'peer.example.net:20229');
  const { status, out } = await run('dn42', 'lint');
  t.is(out, 'no findings: the configuration follows the customs of DN42\n');
  t.is(status, 0);
});

test('lint tells of rules that stand in the place of those of dn42', async (t) => {
  const { dir, run } = place(t);
  await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS, '--endpoint', 'peer.example.net:20229');
  const file = join(dir, 'peers.d', 'AS4242420263.yaml');
  const peer = readFileSync(file, 'utf8');
  const lint = async (policy: string): Promise<string> => {
    writeFileSync(file, `${peer}  import: ${policy}\n`);
    return (await run('dn42', 'lint')).out;
  };
  t.regex(
    await lint('[{ match: { med: 1 }, action: reject }, accept]'),
    /warning +import +AS4242420263\s+no rule asks for ROAs/,
  );
  t.regex(await lint('[{ match: { med: 1 }, action: reject }, dn42]'), /^no findings/);
  t.regex(await lint('[{ match: { all: [{ roa: valid }, { prefix: 172.20.0.0/14+ }] } }]'), /^no findings/);
});

test('lint tells of a delegated part that the customer has no route object for', async (t) => {
  const { dir, run } = place(t);
  await run('dn42', 'add-peer', '4242420263', '--public-key', THEIRS, '--endpoint', 'peer.example.net:20229');
  appendFileSync(join(dir, 'peers.d', 'AS4242420263.yaml'), '  delegated: [172.20.229.120/29]\n');
  t.regex(
    (await run('dn42', 'lint')).out,
    /^warning +roa +AS4242420263\s+172\.20\.229\.120\/29 is delegated to AS4242420263, and others refuse it: its\s+route object/,
  );
  const theirs = { prefix: '172.20.229.120/29', maxLength: 29, asn: 4242420263 };
  writeFileSync(join(dir, 'roas.json'), dn42Json([...ROAS, theirs]));
  t.regex((await run('dn42', 'lint')).out, /^no findings/);
});

test('lint names what would not work and what others would wonder about', async (t) => {
  const { dir, run } = place(
    t,
    `uplinks:
  odd:
    wireguard:
      private_key: ${KEY}
      mtu: 1400
      addresses: ['fe80::1/64']
      peers: [{ public_key: ${THEIRS}, allowed_ips: [172.20.0.0/16] }]
source: { ipv4: 10.0.0.1 }
bgp:
  asn: 64000
  policy: transit
  router_id: 10.0.0.1
  networks: [172.20.229.112/28, 192.0.2.0/24, 'fd42:229::/48']
  rpki: { files: [roas.json, gone.json] }
  peers:
    - { asn: 4242420263, via: odd, address: 'fe80::2' }
`,
  );
  writeFileSync(join(dir, 'roas.json'), dn42Json(ROAS));
  const { status, out } = await run('dn42', 'lint', '--json');
  t.is(status, 1);
  const { findings } = JSON.parse(out) as {
    findings: { severity: string; check: string; where: string; text: string }[];
  };
  const brief = findings.map((f) => `${f.severity} ${f.check} ${f.where}`);
  for (const expected of [
    'error networks 192.0.2.0/24',
    'error source source.ipv4',
    'error rpki gone.json',
    'error roa 172.20.229.112/28',
    'error roa 192.0.2.0/24',
    'error roa fd42:229::/48',
    'error allowed-ips AS4242420263',
    'error endpoint AS4242420263',
    'warning asn ',
    'warning source source.ipv6',
    'warning import AS4242420263',
    'warning export AS4242420263',
    'info mtu AS4242420263',
    'info link-local AS4242420263',
    'info region ',
  ])
    t.true(brief.includes(expected), `${expected} in\n${brief.join('\n')}`);
  t.regex((await run('dn42', 'lint')).out, /\n\d+ errors, \d+ warnings\n$/);
});
