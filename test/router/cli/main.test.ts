import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { type Command, findCommand, type Io } from '../../../router/cli/command.ts';
import { COMMANDS } from '../../../router/cli/commands.ts';
import { main } from '../../../router/cli/main.ts';
import { parts } from '../../../router/control/client.ts';
import { encodeResponse } from '../../../router/control/codec.ts';
import { ERRORS, type MlshimError } from '../../../router/lib/errors.ts';
import { PROBLEMS } from '../../../router/lib/problems.ts';
import { formatKey } from '../../../wg/keys.ts';

const CLI = join(import.meta.dirname, '../../../router/cli/main.js');
const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

function recorder(env: NodeJS.ProcessEnv = {}) {
  const said = { out: '', err: '' };
  const io: Io = {
    out: (text) => {
      said.out += text;
    },
    err: (text) => {
      said.err += text;
    },
    env: { MLSHIM_SOCKET: '/nonexistent/mlshim/shim', ...env },
    isTty: false,
  };
  return { io, said };
}

async function cli(...argv: string[]) {
  const { io, said } = recorder();
  return { status: await main(argv, io), ...said };
}

function file(t: { teardown(fn: () => void): void }, name: string, text: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  writeFileSync(join(dir, name), text, { mode: 0o600 });
  return join(dir, name);
}

const words = (...argv: string[]): string => findCommand(COMMANDS, argv).command.words.join(' ');

test('unique prefixes name a command, and a bare noun means show', (t) => {
  t.is(words('r', 'g', '1.1.1.1'), 'route get');
  t.is(words('run', '--', 'get'), 'run');
  t.is(words('st'), 'status');
  t.is(words('bgp'), 'bgp show');
  t.is(words('bgp', '--json'), 'bgp show');
  t.is(words('wg', 'genkey'), 'wg genkey');
});

test('an ambiguous prefix lists what it could mean', (t) => {
  t.throws(() => words('wg', 'gen'), { message: '"gen" is ambiguous: genkey, genpsk' });
});

test('a misspelt command suggests the nearest one', async (t) => {
  const { status, err } = await cli('staus');
  t.is(status, 2);
  t.regex(err, /unknown command "staus" \(did you mean "status"\?\)/);
});

test('the second word of a command alone suggests the whole command', async (t) => {
  t.regex((await cli('rpki')).err, /unknown command "rpki" \(did you mean "bgp rpki"\?\)/);
  t.regex((await cli('show')).err, /did you mean "route show" or .*"bgp show" or .*"wg show" or "config show"\?/);
});

test('a time without --confirm is refused, and loads nothing', async (t) => {
  for (const argv of [['60s'], ['extra'], ['--confirm=10s', '60s']]) {
    const { status, err } = await cli('reload', ...argv);
    t.is(status, 2, argv.join(' '));
    t.regex(err, /is too much: a time follows --confirm only/);
  }
  t.is((await cli('reload', '--confirm', '60s')).status, 3, 'no daemon');
});

test('output that cannot be written is an error without a stack', (t) => {
  const full = openSync('/dev/full', 'w');
  t.teardown(() => closeSync(full));
  const { status, stderr } = spawnSync(process.execPath, [CLI, 'help'], {
    stdio: ['ignore', full, 'pipe'],
    encoding: 'utf8',
  });
  t.is(status, 1);
  t.regex(stderr, /^mlshim: cannot write the output: ENOSPC: .*\n {2}hint: make room/);
  t.notRegex(stderr, /at .*main\.js/);
});

test('a misspelt option suggests the nearest one', async (t) => {
  const { status, err } = await cli('status', '--jsno');
  t.is(status, 2);
  t.regex(err, /did you mean --json\?/);
});

test('missing arguments and surplus ones are named, with the usage', async (t) => {
  const missing = await cli('route', 'get');
  t.is(missing.status, 2);
  t.is(
    missing.err,
    'mlshim: DST is missing\n  usage: mlshim route get [-j] [--vrf NAME] DST\n  hint: mlshim route get --help tells more\n',
  );
  const surplus = await cli('bgp', 'rpki', 'refresh', 'b');
  t.is(surplus.status, 2);
  t.regex(surplus.err, /^mlshim: "b" is too much\n {2}usage: mlshim bgp rpki /);
  for (const line of surplus.err.split('\n')) t.true(line.length <= 80, line);
});

test('a mistake is answered with the help of what was meant', async (t) => {
  const hint = async (...argv: string[]) => /hint: (.*)/.exec((await cli(...argv)).err)?.[1];
  t.is(await hint('bgp', 'peer', '--jsno'), 'mlshim bgp peer --help tells more');
  t.is(await hint('bgp', '--jsno'), 'mlshim bgp show --help tells more');
  t.is(await hint('bgp', 'peer', 'x', 'stop'), 'mlshim bgp peer --help tells more');
  t.is(await hint('bgp', 'pear'), 'mlshim bgp --help tells more');
  t.is(await hint('config'), 'mlshim config --help tells more');
  t.regex((await hint('nonsense')) ?? '', /^mlshim --help lists the commands/);
});

test('help of a noun lists its commands, however it is asked for', async (t) => {
  const nouns = [...new Set(COMMANDS.filter((c) => c.words.length === 2).map((c) => c.words[0]!))];
  t.true(nouns.length >= 5);
  for (const noun of nouns) {
    const { status, out } = await cli(noun, '--help');
    t.is(status, 0);
    for (const c of COMMANDS.filter((one) => one.words[0] === noun))
      t.regex(out, new RegExp(`^  ${c.words[1]} +\\S`, 'm'));
    for (const argv of [
      [noun, '-h'],
      [noun, 'help'],
      ['help', noun],
    ])
      t.is((await cli(...argv)).out, out);
  }
  t.is((await cli('help', 'bgp', 'peer')).out, (await cli('bgp', 'peer', '--help')).out);
  t.is((await cli('help', 'status')).out, (await cli('status', '--help')).out);
  t.is((await cli('help')).out, (await cli('--help')).out);
  t.is((await cli('help', 'nonsense')).status, 2);
});

test('without a daemon read commands exit with 3 and say how to start one', async (t) => {
  for (const argv of [['status'], ['route', 'get', '::1'], ['bgp'], ['wg'], ['capture', '-w', '/dev/null']]) {
    const { status, err } = await cli(...argv);
    t.is(status, 3, argv.join(' '));
    t.regex(err, /cannot reach the daemon .*no daemon runs there/);
    t.regex(err, /mlshim up -c FILE/);
  }
});

test('help of every command shows its own options', async (t) => {
  for (const command of COMMANDS as readonly Command[]) {
    const { status, out } = await cli(...command.words, '--help');
    t.is(status, 0);
    for (const option of Object.keys(command.options)) t.true(out.includes(`--${option}`), command.words.join(' '));
  }
});

test('keys are what wg(8) makes of them', async (t) => {
  const { out } = await cli('wg', 'genkey');
  t.regex(out, /^[A-Za-z0-9+/]{43}=\n$/);
  const pub = execFileSync(process.execPath, [CLI, 'wg', 'pubkey'], {
    input: `${formatKey(new Uint8Array(32).fill(64))}\n`,
  });
  // RFC 7748 §5 by another implementation: wg pubkey of 32 octets of 0x40.
  t.is(String(pub).length, 45);
});

test('config check accepts a good file and exits 78 for a bad one, also as JSON', async (t) => {
  const good = file(t, 'a.yaml', `uplinks: { a: { wireguard: { private_key: ${KEY} } } }\n`);
  t.like(await cli('config', 'check', good), { status: 0, out: `${good}: no errors\n` });
  const bad = file(t, 'b.yaml', 'uplinks: {}\n');
  t.is((await cli('config', 'check', '-c', bad)).status, 78);
  const json = await cli('config', 'check', '--json', bad);
  t.is(json.status, 78);
  t.is((JSON.parse(json.out) as { diagnostics: { line: number }[] }).diagnostics[0]!.line, 1);
});

test('config show tells every value with its file and line, and no secret', async (t) => {
  const path = file(
    t,
    'a.yaml',
    `uplinks: { a: { wireguard: { private_key: ${KEY}, addresses: [10.0.0.1/24, 'fe80::1/64'] } } }
bgp:
  asn: 65001
  router_id: !env ROUTER_ID
  policy: transit
  networks: [10.1.0.0/16, { prefix: 10.2.0.0/16, communities: [no-export, '65001:1:2'] }]
  peers: !include peers.yaml
`,
  );
  writeFileSync(join(dirname(path), 'peers.yaml'), '- { asn: 65002, via: a, address: 10.0.0.2 }\n- asn: 65003\n');
  const { io, said } = recorder({ ROUTER_ID: '10.0.0.1' });
  t.is(await main(['config', 'show', path], io), 78);
  const dir = `${dirname(path)}/`;
  t.is(
    said.out.replaceAll(dir, '').replace(/ +/g, ' '),
    `uplinks.a.wireguard.private_key (secret) a.yaml:1
uplinks.a.wireguard.addresses [10.0.0.1/24, fe80::1/64] a.yaml:1
bgp.asn 65001 a.yaml:3
bgp.router_id 10.0.0.1 a.yaml:4
bgp.policy transit a.yaml:5
bgp.networks[0] 10.1.0.0/16 a.yaml:6
bgp.networks[1].prefix 10.2.0.0/16 a.yaml:6
bgp.networks[1].communities [no-export, 65001:1:2] a.yaml:6
bgp.peers[0].asn 65002 peers.yaml:1
bgp.peers[0].via a peers.yaml:1
bgp.peers[0].address 10.0.0.2 peers.yaml:1
bgp.peers[1].asn 65003 peers.yaml:2
`,
  );
  t.regex(said.err, /peers\.yaml:2:3: error: "address" is missing/);
  writeFileSync(join(dirname(path), 'peers.yaml'), '[]\n');
  const json = await cli('config', 'show', '--json', path);
  t.false(json.out.includes(KEY));
  const { values } = JSON.parse(json.out) as { values: { path: string; value: unknown; place: string }[] };
  t.deepEqual(values.at(-1), { path: 'bgp.peers', value: [], place: `${dir}peers.yaml:1` });
  const quick = await cli('config', 'show', file(t, 'a.conf', `[Interface]\nPrivateKey = ${KEY}\n`));
  t.is(quick.status, 2);
  t.regex(quick.err, /mlshim import shows it as YAML/);
});

test('config schema is a JSON Schema editors understand', async (t) => {
  const { out } = await cli('config', 'schema');
  const schema = JSON.parse(out) as { $schema: string; properties: Record<string, unknown> };
  t.is(schema.$schema, 'http://json-schema.org/draft-07/schema#');
  t.true('uplinks' in schema.properties);
  const { bgp } = schema.properties as { bgp: { properties: { peers: { items: { properties: { bfd: unknown } } } } } };
  t.like(bgp.properties.peers.items.properties.bfd, { anyOf: [{ type: 'boolean' }, { type: 'object' }] });
});

test('import turns a wg-quick file into YAML without repeating its keys', async (t) => {
  const quick = `[Interface]\nPrivateKey = ${KEY}\nAddress = 10.0.0.2/24\nPostUp = true\n[Peer]\nPublicKey = ${KEY}\nAllowedIPs = 0.0.0.0/0\nEndpoint = [2001:db8::1]:51820\n`;
  const path = file(t, 'wg0.conf', quick);
  const { status, out, err } = await cli('import', path);
  t.is(status, 0);
  t.regex(out, /private_key: !file wg0\.key/);
  t.regex(err, /PostUp is ignored/);
  const shown = await cli('import', path, '--show-keys');
  t.true(shown.out.includes(`private_key: ${KEY}`));
  t.is((await cli('config', 'check', file(t, 'again.yaml', shown.out))).status, 0);
});

test('every code that messages can carry is explained', async (t) => {
  for (const code of [...Object.keys(PROBLEMS), ...Object.keys(ERRORS)]) {
    const { status, out } = await cli('explain', code.toLowerCase());
    t.is(status, 0);
    t.true(out.startsWith(`${code}: `));
  }
  t.is((await cli('explain', 'X999')).status, 2);
});

test('run tells 127 from 126 from 125, and 78 for a bad configuration', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const run = (...argv: string[]) => {
    return spawnSync(process.execPath, [CLI, 'run', ...argv], {
      encoding: 'utf8',
      env: { ...process.env, XDG_RUNTIME_DIR: dir },
    });
  };
  t.is(run('-c', 'x.yaml', '--', 'no-such-command-anywhere').status, 127);
  writeFileSync(join(dir, 'plain'), 'text');
  t.is(run('-c', 'x.yaml', '--', join(dir, 'plain')).status, 126);
  writeFileSync(join(dir, 'bad.yaml'), 'uplinks: {}\n');
  const bad = run('-c', join(dir, 'bad.yaml'), '--', 'true');
  t.is(bad.status, 78, bad.stderr);
  t.regex(bad.stderr, /bad\.yaml:1:10: error: no uplink/);
  t.is(run('-c', join(dir, 'missing.yaml'), '--', 'true').status, 78);
});

test('status loads neither zod nor yaml nor the native addon', (t) => {
  const { stderr } = spawnSync(process.execPath, [CLI, 'status'], {
    encoding: 'utf8',
    env: { ...process.env, NODE_DEBUG: 'esm', MLSHIM_SOCKET: '/nonexistent/shim' },
  });
  t.regex(stderr, /control\/client\.js/);
  t.notRegex(stderr, /node_modules\/(zod|yaml)\//);
  t.notRegex(stderr, /native\/index\.js/);
});

test('up and config check say the same of a filter module, and exit with 78', async (t) => {
  const config = file(
    t,
    'a.yaml',
    `uplinks: { a: { wireguard: { private_key: ${KEY} } } }
bgp:
  asn: 65001
  router_id: 10.0.0.1
  filters: f.mjs
  peers: [{ asn: 65002, via: a, address: 10.0.0.2, import: { module: fromPeer }, export: own }]
`,
  );
  const module = join(dirname(config), 'f.mjs');
  const up = () =>
    spawnSync(process.execPath, [CLI, 'up', '--foreground', '-c', config], {
      encoding: 'utf8',
      env: { ...process.env, MLSHIM_SOCKET: join(dirname(config), 'run', 'shim') },
    });
  for (const [text, why] of [
    ['export const other = 1;\n', /a\.yaml:6:\d+: error: .*f\.mjs exports no function "fromPeer"/],
    ['export function fromPeer() {\n  return 1..;\n}\n', /f\.mjs:2:13: note: SyntaxError/],
    ['setTimeout(() => undefined, 1e6);\nthrow new Error("no ROAs");\n', /f\.mjs:2:7: note: Error: no ROAs/],
  ] as const) {
    writeFileSync(module, text);
    const checked = await cli('config', 'check', config);
    t.is(checked.status, 78);
    t.regex(checked.err, why);
    const { status, stderr } = up();
    t.is(status, 78, stderr);
    t.is(stderr, checked.err);
  }
});

test('a daemon that ends between the parts of an answer is said to have done so', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'control');
  const sockets: Socket[] = [];
  // It reads nothing: its end resets the connection.
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    sockets.push(socket);
    socket.write(encodeResponse('route_show', { id: 1, more: false, body: { routes: [], next: '1' } }));
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  const asked = parts(path, 'route_show', { origin: '' });
  await asked.next();
  const next = asked.next();
  sockets[0]!.destroy();
  const e = await t.throwsAsync(next, { code: 'DAEMON_UNREACHABLE', message: /in the middle of an answer$/ });
  t.deepEqual((e as MlshimError).details, { path, wasThere: true });
});
