/**
 * The topology of the end-to-end benchmark. One far end of parts nobody here wrote (wireguard-go on a kernel TUN, iperf3),
 * and three near ends in namespaces of their own that take turns: kernel TCP over the same wireguard-go, gVisor inside
 * wireguard-go's netstack, and mlshim with its apps as an ordinary user.
 *
 *     near kernel  --veth--+
 *     near gVisor  --veth--+-- far: wireguard-go, 10.99.0.1
 *     near mlshim  --veth--+
 */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Finished, type Lab, type LabProcess, NOBODY } from '../kit/lab.ts';
import { buildWireguardGo, type KeyPair, WIREGUARD_GO, wgKeyPair } from '../kit/peer.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const CLI = join(ROOT, 'build', 'router', 'cli', 'main.js');
const NETSTACK = join(ROOT, 'build', 'bench-netstack');
/** Small flows in C (flows.c), so that the client's own run time weighs little in latencies. */
export const FLOWS = join(ROOT, 'build', 'bench-flows');
export const MTU = 1420;
const WG_PORT = 51820;
/** USER_HZ, the unit of /proc/PID/stat; 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Build gVisor's side (Go module proxy, pinned by test/bench/netstack/go.sum). */
export function buildNetstack(): void {
  if (existsSync(NETSTACK)) return;
  const cwd = join(ROOT, 'test', 'bench', 'netstack');
  execFileSync('go', ['build', '-trimpath', '-buildvcs=false', '-o', NETSTACK, '.'], { cwd, stdio: 'pipe' });
}

/** Build flows.c. */
export function buildFlows(): void {
  const source = join(ROOT, 'test', 'bench', 'flows.c');
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', FLOWS, source], { stdio: 'pipe' });
}

/** What `mlshim status --json` says that the benchmark looks at. */
interface Status {
  readonly uplinks: readonly { readonly rx_packets: number; readonly tx_packets: number }[];
  readonly counters: Readonly<Record<string, number>>;
}

/** Counters of the data-plane worker. */
export interface Counters {
  /** Packets received and sent, pieces of super-segments counted one by one. */
  readonly packets: number;
  readonly addonCalls: number;
  /** Octets of the worker's heap in use after a forced collection. */
  readonly heapUsed: number;
}

export interface WgPeer {
  readonly publicKey: string;
  readonly allowed: string;
  readonly endpoint?: string;
}

let devices = 0;

/** wireguard-go on a kernel TUN in a namespace. */
export class KernelEnd {
  readonly lab: Lab;
  readonly ns: string;
  readonly keys: KeyPair = wgKeyPair();
  readonly device = `b${process.pid}n${devices++}`;
  daemon: LabProcess | undefined;

  constructor(lab: Lab, ns: string) {
    this.lab = lab;
    this.ns = ns;
    // wireguard-go names its control socket after the device, outside of the namespace.
    lab.onClose(() => rmSync(`/var/run/wireguard/${this.device}.sock`, { force: true }));
  }

  async up(addresses: readonly string[], peers: readonly WgPeer[], listenPort = WG_PORT): Promise<void> {
    const { lab, ns, device } = this;
    buildWireguardGo();
    this.daemon = lab.start(ns, WIREGUARD_GO, ['-f', device], { env: { LOG_LEVEL: 'error' } });
    const ip = (...args: string[]): Promise<string> => lab.host('ip', ['-n', ns, ...args]);
    await lab.eventually(`${device} exists`, async () => (await ip('link')).includes(`${device}:`));
    const conf = join(lab.dir, `${device}.conf`);
    const sections = peers.map(
      (p) =>
        `[Peer]\nPublicKey = ${p.publicKey}\nAllowedIPs = ${p.allowed}\n${p.endpoint === undefined ? '' : `Endpoint = ${p.endpoint}\n`}`,
    );
    const head = `[Interface]\nPrivateKey = ${this.keys.privateKey}\nListenPort = ${listenPort}\n`;
    writeFileSync(conf, head + sections.join(''), { mode: 0o600 });
    await lab.eventually(
      'wireguard-go answers',
      async () => (await lab.run(ns, 'wg', ['setconf', device, conf])).status === 0,
    );
    await ip('link', 'set', device, 'mtu', String(MTU), 'up');
    for (const address of addresses) await ip('addr', 'add', address, 'dev', device);
    for (const { allowed } of peers)
      for (const prefix of allowed.split(',')) await ip('route', 'replace', prefix.trim(), 'dev', device);
  }
}

/** An mlshim daemon in a namespace, as uid nobody, with one wg-quick file. */
export class MlshimEnd {
  readonly lab: Lab;
  readonly ns: string;
  readonly keys: KeyPair = wgKeyPair();
  readonly #dir: string;
  daemon: LabProcess | undefined;

  constructor(lab: Lab, ns: string) {
    this.lab = lab;
    this.ns = ns;
    this.#dir = join(lab.dir, `${ns}-mlshim`);
    mkdirSync(this.#dir, { mode: 0o700 });
    chownSync(this.#dir, NOBODY, NOBODY);
  }

  static missing(): string | undefined {
    const parts = ['build/router/cli/main.js', 'build/shim/libmlshim.so', 'build/mlshim-wg'];
    const absent = parts.filter((part) => !existsSync(join(ROOT, part)));
    return absent.length === 0 ? undefined : `not built: ${absent.join(', ')}`;
  }

  async up(address: string, peer: WgPeer): Promise<void> {
    const file = join(this.#dir, 'bench.conf');
    writeFileSync(
      file,
      `[Interface]
PrivateKey = ${this.keys.privateKey}
Address = ${address}
MTU = ${MTU}

[Peer]
PublicKey = ${peer.publicKey}
Endpoint = ${peer.endpoint}
AllowedIPs = ${peer.allowed}
`,
      { mode: 0o600 },
    );
    await this.#start(file);
  }

  /** A router between several peers: one uplink each, their allowed addresses as routes. */
  async upBetween(peers: readonly (WgPeer & { readonly privateKey: string })[]): Promise<void> {
    const uplinks = peers.map((p, i) => {
      const key = join(this.#dir, `${i}.key`);
      writeFileSync(key, `${p.privateKey}\n`, { mode: 0o600 });
      chownSync(key, NOBODY, NOBODY);
      return `  side${i}:
    wireguard:
      private_key: !file ${i}.key
      addresses: [10.98.1.${i + 1}/32]
      mtu: ${MTU}
      peers:
        - { public_key: ${p.publicKey}, endpoint: '${p.endpoint}', allowed_ips: [${p.allowed}], persistent_keepalive: 25s }
`;
    });
    const file = join(this.#dir, 'bench.yaml');
    writeFileSync(file, `uplinks:\n${uplinks.join('')}`);
    await this.#start(file);
  }

  async #start(file: string): Promise<void> {
    chownSync(file, NOBODY, NOBODY);
    const { env, ...rest } = this.#options;
    const options = { ...rest, env: { ...env, NODE_OPTIONS: '--expose-gc' } };
    this.daemon = this.lab.start(this.ns, process.execPath, [CLI, 'up', '--foreground', '-c', file], options);
    await this.daemon.until(/ready/);
  }

  /** Run an app under the shim. */
  app(command: string, args: readonly string[], timeoutMs: number): Promise<Finished> {
    return this.lab.run(this.ns, process.execPath, [CLI, 'run', '--', command, ...args], {
      ...this.#options,
      timeoutMs,
    });
  }

  /** Start a server under the shim. */
  serve(command: string, args: readonly string[]): LabProcess {
    return this.lab.start(this.ns, process.execPath, [CLI, 'run', '--', command, ...args], this.#options);
  }

  async counters(): Promise<Counters> {
    const { stdout } = await this.lab.run(this.ns, process.execPath, [CLI, 'status', '--json'], this.#options);
    const { uplinks, counters } = JSON.parse(stdout) as Status;
    const packets = uplinks.reduce((sum, u) => sum + u.rx_packets + u.tx_packets, 0);
    return { packets, addonCalls: counters['addon_calls']!, heapUsed: counters['heap_used']! };
  }

  /** CPU seconds of the router's own threads, without the WireGuard child. */
  routerCpu(): number {
    return cpuOf(this.daemon!.pid, isRouter);
  }

  /** Largest resident set the WireGuard child had, in MiB. */
  childPeakMib(): number {
    for (const pid of processTree(this.daemon!.pid)) {
      if (isRouter(pid)) continue;
      const status = readProc(pid, 'status');
      return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
    }
    return Number.NaN;
  }

  get #options(): { unprivileged: true; cwd: string; env: Record<string, string> } {
    const env = {
      HOME: this.#dir,
      XDG_RUNTIME_DIR: this.#dir,
      NO_COLOR: '1',
      PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
    };
    return { unprivileged: true, cwd: this.#dir, env };
  }
}

/** A router in the middle of two kernel ends, A -- router -- B, and the CPU time of what runs it. */
export interface Chain {
  readonly a: KernelEnd;
  /** B's address. */
  readonly to: string;
  cpuSeconds(): number;
}

/** Build a chain whose router is the kernel (with two wireguard-go) or mlshim; B runs iperf3 on `port`. */
export async function makeChain(lab: Lab, kind: 'kernel' | 'mlshim', port: number): Promise<Chain> {
  const tag = kind.slice(0, 1);
  const middle = await lab.namespace(`${tag}m`);
  const ends = [new KernelEnd(lab, await lab.namespace(`${tag}a`)), new KernelEnd(lab, await lab.namespace(`${tag}b`))];
  const sides = ends.map((end, i) => ({
    end,
    keys: wgKeyPair(),
    inner: `10.98.0.${i + 1}`,
    outer: `192.168.${10 + i}`,
  }));
  for (const [i, { end, outer }] of sides.entries())
    await lab.veth(`v${i}`, middle, `${outer}.1/24`, end.ns, `${outer}.2/24`);
  const routers = sides.map(() => new KernelEnd(lab, middle));
  const publicKey = (i: number): string => (kind === 'kernel' ? routers[i]!.keys : sides[i]!.keys).publicKey;
  for (const [i, { end, inner, outer }] of sides.entries()) {
    // The kernel's router has one port per device; mlshim's is learned from its first packet.
    const endpoint = kind === 'kernel' ? { endpoint: `${outer}.1:${WG_PORT + i}` } : {};
    await end.up([`${inner}/32`], [{ publicKey: publicKey(i), allowed: `${sides[1 - i]!.inner}/32`, ...endpoint }]);
  }
  const peerOf = (i: number): WgPeer & { endpoint: string } => ({
    publicKey: sides[i]!.end.keys.publicKey,
    allowed: `${sides[i]!.inner}/32`,
    endpoint: `${sides[i]!.outer}.2:${WG_PORT}`,
  });
  await lab.start(ends[1]!.ns, 'iperf3', ['-s', '-p', String(port), '--forceflush']).until(/listening/);
  const chain = (cpuSeconds: () => number): Chain => ({ a: ends[0]!, to: sides[1]!.inner, cpuSeconds });
  if (kind === 'mlshim') {
    const router = new MlshimEnd(lab, middle);
    await router.upBetween(sides.map(({ keys }, i) => ({ ...peerOf(i), privateKey: keys.privateKey })));
    return chain(() => cpuOf(router.daemon!.pid));
  }
  for (const [i, router] of routers.entries()) await router.up([`10.98.1.${i + 1}/32`], [peerOf(i)], WG_PORT + i);
  await lab.ok(middle, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0']);
  return chain(() => routers.reduce((sum, r) => sum + cpuOf(r.daemon!.pid), 0));
}

/** gVisor's TCP in a namespace: a new process per measurement. */
export class NetstackEnd {
  readonly lab: Lab;
  readonly ns: string;
  readonly keys: KeyPair = wgKeyPair();
  #config = '';

  constructor(lab: Lab, ns: string) {
    this.lab = lab;
    this.ns = ns;
  }

  configure(address: string, peer: WgPeer): void {
    const hex = (key: string): string => Buffer.from(key, 'base64').toString('hex');
    this.#config = join(this.lab.dir, `${this.ns}.uapi`);
    const uapi = [
      `address=${address} mtu=${MTU}`,
      `private_key=${hex(this.keys.privateKey)}`,
      `public_key=${hex(peer.publicKey)}`,
      `endpoint=${peer.endpoint}`,
      `allowed_ip=${peer.allowed}`,
      '',
    ];
    writeFileSync(this.#config, uapi.join('\n'), { mode: 0o600 });
  }

  /** The source and sink at the far end, in the kernel's TCP. */
  static async serve(lab: Lab, ns: string, address: string): Promise<void> {
    await lab.start(ns, NETSTACK, ['serve', address]).until(/listening/);
  }

  async transfer(
    to: string,
    direction: 'up' | 'down',
    streams: number,
    seconds: number,
  ): Promise<{ bitsPerSecond: number; cpuSeconds: number }> {
    const args = ['client', this.#config, to, direction, String(streams), String(seconds)];
    // bash's `times` gives the CPU time of a child that has ended.
    const text = await this.lab.ok(this.ns, 'bash', ['-c', '"$@"; times', 'bash', NETSTACK, ...args], {
      timeoutMs: 60_000,
    });
    const { bits_per_second } = JSON.parse(text.split('\n')[0]!) as { bits_per_second: number };
    const times = text.trim().split('\n').at(-1)!;
    const cpuSeconds = [...times.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
      (sum, [, m, s]) => sum + Number(m) * 60 + Number(s),
      0,
    );
    return { bitsPerSecond: bits_per_second, cpuSeconds };
  }
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return ''; // it ended meanwhile
  }
}

/** A process and its living descendants. */
function processTree(root: number): number[] {
  const pids = [root];
  for (let i = 0; i < pids.length; i++) {
    let tasks: string[] = [];
    try {
      tasks = readdirSync(`/proc/${pids[i]}/task`);
    } catch {
      continue;
    }
    for (const task of tasks)
      pids.push(...readProc(pids[i]!, `task/${task}/children`).trim().split(' ').filter(Boolean).map(Number));
  }
  return pids;
}

/** One of mlshim's processes other than the WireGuard child. */
function isRouter(pid: number): boolean {
  return !readProc(pid, 'comm').startsWith('mlshim-wg');
}

/** CPU seconds used so far by a process and its living descendants. */
export function cpuOf(root: number, counts: (pid: number) => boolean = () => true): number {
  let ticks = 0;
  for (const pid of processTree(root).filter(counts)) {
    // Fields 14 and 15 (utime, stime), counted after the name, which may hold spaces.
    const fields = readProc(pid, 'stat').split(') ').at(-1)!.split(' ');
    ticks += Number(fields[11] ?? 0) + Number(fields[12] ?? 0);
  }
  return ticks / TICKS_PER_SECOND;
}
