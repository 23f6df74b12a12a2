/**
 * `npm run demo`: the main job on one machine, without a peer, root or a network. Three routers on loopback UDP, joined by
 * WireGuard, tell each other their prefixes by BGP; curl under the shim of the near one fetches a file from a stock HTTP
 * server under the shim of the far one, so that every octet crosses the one in the middle. Ends with 0 only if the
 * checksum matches; leaves no process and no file.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { chmodSync, chownSync, createReadStream, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { formatKey, generatePrivateKey, publicKey } from '../../wg/keys.ts';
import { ask } from '../control/client.ts';
import type { Answers } from '../control/messages.ts';
import { pathsIn } from '../control/paths.ts';
import { MlshimError } from '../lib/errors.ts';
import { type RunningDaemon, startDaemon } from './daemon-process.ts';
import { bitRate, duration } from './render.ts';
import { reportError } from './report.ts';
import { SHIM_LIBRARY } from './run.ts';
import { bgpPeerLine, routeGetText } from './show.ts';

const NOBODY = 65534;
const FILE_MIB = 64;
const FILE = 'file.bin';
const PORT = 8080;
const READY_MS = 30_000;
const POLL_MS = 50;

/** One router of the demonstration. Private-use AS numbers and documentation-like ULA and RFC 1918 prefixes. */
interface Node {
  readonly name: 'near' | 'middle' | 'far';
  readonly asn: number;
  readonly v4: string;
  readonly v6: string;
  readonly networks: readonly string[];
}

const NEAR: Node = node('near', 1);
const MIDDLE: Node = node('middle', 2);
const FAR: Node = node('far', 3);
const NODES = [NEAR, MIDDLE, FAR] as const;

function node(name: Node['name'], n: number): Node {
  return {
    name,
    asn: 4200000000 + n,
    v4: `172.30.${n}.1`,
    v6: `fd00:${n}::1`,
    networks: [`172.30.${n}.0/24`, `fd00:${n}::/48`],
  };
}

/** One end of a tunnel. */
interface TunnelEnd {
  readonly owner: Node;
  readonly peer: Node;
  readonly privateKey: Uint8Array;
  readonly port: number;
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** What the demonstration has started, taken down in reverse order whatever happens. */
class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'mlshim-demo-'));
  readonly #undo: (() => Promise<void> | void)[] = [];

  onEnd(undo: () => Promise<void> | void): void {
    this.#undo.push(undo);
  }

  async clear(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) await undo();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function main(): Promise<number> {
  if (process.getuid!() === 0) return asNobody();
  checkTools();
  const stage = new Stage();
  let interrupted = false;
  const interrupt = (): void => {
    interrupted = true;
    void stage.clear().then(() => process.exit(130));
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    return await play(stage);
  } catch (e) {
    if (interrupted) return 130;
    return reportError({ err: (text) => process.stderr.write(text) }, e);
  } finally {
    if (!interrupted) await stage.clear();
  }
}

/** Started as root, the demonstration would prove nothing: become an ordinary user without any capability. */
function asNobody(): number {
  say('started as root: going on as uid 65534 without capabilities');
  const home = mkdtempSync(join(tmpdir(), 'mlshim-demo-home-'));
  chmodSync(home, 0o700);
  chownSync(home, NOBODY, NOBODY);
  const { status, signal, error } = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: 'inherit',
    uid: NOBODY,
    gid: NOBODY,
    env: { ...process.env, HOME: home, TMPDIR: home, XDG_RUNTIME_DIR: home, USER: 'nobody' },
  });
  rmSync(home, { recursive: true, force: true });
  if (error !== undefined) throw error;
  return status ?? (signal === null ? 1 : 130);
}

function checkTools(): void {
  const missing = ['curl', 'python3'].filter(
    (tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined,
  );
  if (missing.length > 0)
    throw new MlshimError(
      'USAGE',
      `the demonstration needs ${missing.join(' and ')}: apt-get install ${missing.join(' ')}`,
    );
}

async function play(stage: Stage): Promise<number> {
  say(`Three routers on this machine as uid ${process.getuid!()}, no root, no TUN device, no kernel route:\n`);
  say('  near AS4200000001 ==WireGuard== middle AS4200000002 ==WireGuard== far AS4200000003');
  say('  curl                                                              python3 -m http.server\n');
  const { daemons, controls } = await startRouters(stage);

  say('1. WireGuard handshakes');
  await waitFor('handshakes on all tunnels', async () => {
    const states = await Promise.all(controls.map((c) => ask(c, 'status', {})));
    return states.every((s) => s.uplinks.every((u) => u.handshake_age_s !== undefined));
  });
  for (const [i, control] of controls.entries()) {
    for (const d of (await ask(control, 'wg_show', { device: '' })).devices) {
      const p = d.peers[0]!;
      say(`   ${NODES[i]!.name} -> ${d.name}: ${p.endpoint}, handshake ${duration(p.handshake_age_s ?? 0)} ago`);
    }
  }

  say('\n2. BGP over the link-local addresses inside the tunnels');
  const [near] = controls as [string, string, string];
  await waitFor('routes through the middle router', async () => {
    const there = await Promise.all([FAR.v4, FAR.v6].map((dst) => ask(near, 'route_get', { dst })));
    const back = await Promise.all([NEAR.v4, NEAR.v6].map((dst) => ask(controls[2]!, 'route_get', { dst })));
    return [...there, ...back].every((r) => r.kind === 'unicast');
  });
  for (const [i, control] of controls.entries()) {
    for (const p of (await ask(control, 'bgp_show', { peer: '' })).peers)
      say(`   ${NODES[i]!.name}: ${bgpPeerLine(p)}`);
  }
  for (const dst of [FAR.v4, FAR.v6]) {
    say(`\n   near$ mlshim route get ${dst}`);
    say(indent(routeGetText(await ask(near, 'route_get', { dst })).trimEnd()));
  }

  say('\n3. A stock HTTP server and a stock client under the shim');
  const content = join(stage.folder, 'www');
  mkdirSync(content);
  for (let i = 0; i < FILE_MIB; i++) writeFileSync(join(content, FILE), randomBytes(1 << 20), { flag: 'a' });
  const expected = await sha256(join(content, FILE));
  const server = app(daemons[2]!, 'python3', [
    '-u',
    '-m',
    'http.server',
    String(PORT),
    '--bind',
    '::',
    '--directory',
    content,
  ]);
  stage.onEnd(() => ended(server, 'SIGTERM'));
  await waitFor(
    'the server',
    async () => (await fetchAs(daemons[0]!, `http://${FAR.v4}:${PORT}/`, '/dev/null')).status === 0,
  );
  let matches = true;
  for (const host of [FAR.v4, `[${FAR.v6}]`]) {
    const before = await crossed(controls[1]!);
    const got = join(stage.folder, 'got');
    const url = `http://${host}:${PORT}/${FILE}`;
    const { status, seconds } = await fetchAs(daemons[0]!, url, got);
    const isSame = status === 0 && (await sha256(got)) === expected;
    matches &&= isSame;
    const transit = (await crossed(controls[1]!)) - before;
    say(`   near$ curl ${url}`);
    say(
      `   ${FILE_MIB} MiB in ${seconds.toFixed(2)} s = ${bitRate((FILE_MIB * 8 * (1 << 20)) / seconds)}, ${Math.round(transit / (1 << 20))} MiB crossed the middle router`,
    );
    say(`   sha256 ${expected.slice(0, 16)}... ${isSame ? 'matches' : 'DOES NOT MATCH'}`);
  }

  say(`\nThe same with your own WireGuard file, as an ordinary user:

  npx mlshim run -c wg0.conf -- curl https://example.org
  npx mlshim import wg0.conf > mlshim.yaml     # then add BGP, more uplinks, routes
`);
  return matches ? 0 : 1;
}

async function startRouters(
  stage: Stage,
): Promise<{ readonly daemons: readonly RunningDaemon[]; readonly controls: readonly string[] }> {
  const ports = await freePorts(4);
  const key = generatePrivateKey;
  const tunnels: readonly (readonly [TunnelEnd, TunnelEnd])[] = [
    [
      { owner: NEAR, peer: MIDDLE, privateKey: key(), port: ports[0]! },
      { owner: MIDDLE, peer: NEAR, privateKey: key(), port: ports[1]! },
    ],
    [
      { owner: MIDDLE, peer: FAR, privateKey: key(), port: ports[2]! },
      { owner: FAR, peer: MIDDLE, privateKey: key(), port: ports[3]! },
    ],
  ];
  const daemons: RunningDaemon[] = [];
  for (const n of NODES) {
    const folder = join(stage.folder, n.name);
    mkdirSync(folder, { mode: 0o700 });
    const file = join(folder, 'mlshim.yaml');
    writeFileSync(file, configOf(n, tunnels), { mode: 0o600 });
    const daemon = await startDaemon(
      {
        config: file,
        folder,
        isTied: true,
        isFolderTemporary: false,
        logLevel: 'error',
        logFormat: 'text',
        loopback: undefined,
      },
      undefined,
    );
    stage.onEnd(async () => {
      daemon.process.kill('SIGTERM');
      await daemon.ended;
    });
    daemons.push(daemon);
  }
  return { daemons, controls: NODES.map((n) => pathsIn(join(stage.folder, n.name)).control) };
}

/** The last three of a node's addresses differ by node; the link-local ones by the end of the tunnel. */
function configOf(n: Node, tunnels: readonly (readonly [TunnelEnd, TunnelEnd])[]): string {
  const ends = tunnels.flatMap(([a, b]) => [
    { self: a, other: b, local: 'fe80::1', remote: 'fe80::2' },
    { self: b, other: a, local: 'fe80::2', remote: 'fe80::1' },
  ]);
  const mine = ends.filter((e) => e.self.owner === n);
  const uplinks = mine.map(
    ({ self, other, local }) => `  ${self.peer.name}:
    wireguard:
      private_key: ${formatKey(self.privateKey)}
      listen_port: ${self.port}
      addresses: [${local}/64, ${n.v4}/32, '${n.v6}/128']
      table: off
      peers:
        - public_key: ${formatKey(publicKey(other.privateKey))}
          endpoint: 127.0.0.1:${other.port}
          allowed_ips: [0.0.0.0/0, '::/0']
`,
  );
  const peers = mine.map(
    ({ self, remote }) =>
      `    - { name: ${self.peer.name}, asn: ${self.peer.asn}, via: ${self.peer.name}, address: '${remote}' }\n`,
  );
  return `uplinks:
${uplinks.join('')}bgp:
  asn: ${n.asn}
  policy: transit
  router_id: ${n.v4}
  networks: [${n.networks.map((p) => `'${p}'`).join(', ')}]
  peers:
${peers.join('')}`;
}

/** UDP ports of the loopback that are free now. */
async function freePorts(count: number): Promise<number[]> {
  const sockets = Array.from({ length: count }, () => createSocket('udp4'));
  const ports = await Promise.all(
    sockets.map((s) => new Promise<number>((resolve) => s.bind(0, '127.0.0.1', () => resolve(s.address().port)))),
  );
  for (const s of sockets) s.close();
  return ports;
}

async function waitFor(what: string, isTrue: () => Promise<boolean>): Promise<void> {
  for (let left = READY_MS; left > 0; left -= POLL_MS) {
    if (await isTrue()) return;
    await sleep(POLL_MS);
  }
  throw new MlshimError('TIMEOUT', `no ${what} after ${READY_MS / 1000} s`);
}

/** An application on one of the routers. */
function app(daemon: RunningDaemon, command: string, args: readonly string[]): ChildProcess {
  return spawn(command, args, {
    stdio: 'ignore',
    env: { ...process.env, LD_PRELOAD: SHIM_LIBRARY, MLSHIM_SOCKET: daemon.shim },
  });
}

async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  if (signal !== undefined) child.kill(signal);
  await exit;
}

async function fetchAs(
  daemon: RunningDaemon,
  url: string,
  to: string,
): Promise<{ readonly status: number; readonly seconds: number }> {
  const start = process.hrtime.bigint();
  const curl = app(daemon, 'curl', ['-sSf', '--noproxy', '*', '--max-time', '60', '-o', to, url]);
  await ended(curl);
  return { status: curl.exitCode ?? 1, seconds: Number(process.hrtime.bigint() - start) / 1e9 };
}

/** Octets a router has received on its uplinks. */
async function crossed(control: string): Promise<number> {
  const status: Answers['status'] = await ask(control, 'status', {});
  return status.uplinks.reduce((sum, u) => sum + u.rx_bytes, 0);
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(file)) hash.update(part as Uint8Array);
  return hash.digest('hex');
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, '   ');
}

process.exitCode = await main();
