/**
 * The BGP daemons that are measured, behind one face: mlshim as a user starts it, BIRD 2 and GoBGP of the distribution.
 * Each takes sessions on a loopback address of its own and forwards everything to one next hop; all are asked for
 * counters only, since a list of a million routes would be what is measured.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ask } from '../../router/control/client.ts';
import type { Status } from '../../router/control/messages.ts';
import { pathsIn } from '../../router/control/paths.ts';
import { formatKey, generatePrivateKey, publicKey } from '../../wg/keys.ts';
import { Bird } from '../bgp/kit/bird.ts';

export const PORT = 1790;
export const RECEIVER_ASN = 65002;
/** The next hops that senders name: on the link of every receiver. */
export const NEXT_HOP4 = [10, 9, 9, 9] as const;
export const NEXT_HOP6 = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9] as const;

export const CLI = join(import.meta.dirname, '../../router/cli/main.js');
const START_MS = 20_000;
const HOLD_S = 240;
const run = promisify(execFile);

/** A session the receiver waits for. */
export interface Neighbour {
  readonly address: string;
  readonly asn: number;
  /** It sends routes, or it is told all; `feed` as well, once BIRD has been told to connect to it. */
  readonly role: 'sender' | 'sink' | 'feed';
}

export interface Counts {
  /** Routes accepted from all neighbours, of both families. */
  readonly accepted: number;
  /** Prefixes that are in use (mlshim: in the FIB). */
  readonly installed: number;
}

export interface Receiver {
  readonly name: string;
  readonly address: string;
  /** How often it may be asked without that being what is measured. */
  readonly pollMs: number;
  start(neighbours: readonly Neighbour[]): Promise<void>;
  counts(): Promise<Counts>;
  /** Processes whose CPU time and memory count. */
  readonly pid: number;
  stop(): Promise<void>;
}

export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** MiB: `VmHWM` is the peak, `VmRSS` what is resident now. */
export function memoryOf(pid: number, what: 'VmHWM' | 'VmRSS'): number {
  const match = new RegExp(`${what}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match![1]) / 1024;
}

export async function until(isTrue: () => Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + START_MS;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`${what} did not come up in ${START_MS} ms`);
    await pause(20);
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Started and not ended: an interrupted benchmark leaves nothing behind. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

export function watched(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

export async function endOf(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}

/** The other end of mlshim's uplink. */
export interface Far {
  readonly key: Uint8Array;
  readonly ownKey: Uint8Array;
  readonly endpoint: string;
}

export class Mlshim implements Receiver {
  readonly name = 'mlshim';
  readonly address = '127.0.0.3';
  readonly pollMs = 20;
  readonly #dir: string;
  readonly #far: Far | undefined;
  #child: ChildProcess | undefined;
  #output = '';
  pid = 0;

  /** @param far whom the uplink leads to; without it the uplink leads nowhere */
  constructor(dir: string, far?: Far) {
    this.#dir = join(dir, far === undefined ? 'mlshim' : 'mlshim-with-traffic');
    this.#far = far;
  }

  async start(neighbours: readonly Neighbour[]): Promise<void> {
    rmSync(this.#dir, { recursive: true, force: true });
    mkdirSync(this.#dir, { mode: 0o700 });
    this.#output = '';
    const peers = neighbours.map(
      (n) =>
        `    - { asn: ${n.asn}, address: ${n.address}, host: true, passive: true, ` +
        `${n.role === 'sender' ? 'import: all, export: none' : 'import: none, export: all'} }\n`,
    );
    const yaml = `uplinks:
  lan:
    wireguard:
      private_key: ${formatKey(this.#far?.ownKey ?? generatePrivateKey())}
      addresses: [10.9.9.1/24, "fd09::1/64"]
      peers:
        - public_key: ${formatKey(publicKey(this.#far?.key ?? generatePrivateKey()))}
          allowed_ips: [10.9.9.0/24, "fd09::/64"]
${this.#far === undefined ? '' : `          endpoint: ${this.#far.endpoint}\n`}bgp:
  asn: ${RECEIVER_ASN}
  policy: transit
  router_id: 10.9.9.1
  hold_time: ${HOLD_S}
  host_listen: ${this.address}:${PORT}
  peers: ${peers.length === 0 ? '[]\n' : `\n${peers.join('')}`}`;
    writeFileSync(join(this.#dir, 'mlshim.yaml'), yaml, { mode: 0o600 });
    const child = this.cli(['up', '-f', '-c', 'mlshim.yaml']);
    this.#child = child;
    child.stderr!.on('data', (b) => (this.#output += String(b)));
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`mlshim ended with ${child.exitCode}: ${this.#output}`);
      return /\bready\b/.test(this.#output);
    }, 'mlshim');
    this.pid = (await this.status()).pid;
  }

  /** A command of the command line that speaks to this daemon. */
  cli(args: readonly string[]): ChildProcess {
    const env = { PATH: process.env['PATH'], HOME: this.#dir, XDG_RUNTIME_DIR: this.#dir, NO_COLOR: '1' };
    return watched(spawn(process.execPath, [CLI, ...args], { cwd: this.#dir, env }));
  }

  get control(): string {
    return pathsIn(join(this.#dir, 'mlshim')).control;
  }

  /** A daemon that is gone is reported with its last words. */
  async status(): Promise<Status> {
    try {
      return await ask(this.control, 'status', {});
    } catch (e) {
      throw new Error(`${e instanceof Error ? e.message : e}\n${this.#output.slice(-2000)}`);
    }
  }

  async counts(): Promise<Counts> {
    const s = await this.status();
    const accepted = s.bgp_peers.reduce((n, p) => n + p.accepted, 0);
    // Connected prefixes are in the FIB as well: 10.9.9.0/24 and fd09::/64.
    return { accepted, installed: s.routes_ipv4 + s.routes_ipv6 - 2 };
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined) await endOf(this.#child, 'SIGTERM');
  }
}

/** One question after the other on BIRD's control socket: no process per question. */
class BirdControl {
  readonly #socket: Socket;
  #text = '';
  #onReply: (() => void) | undefined;

  constructor(path: string) {
    this.#socket = createConnection(path);
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (b) => {
      this.#text += String(b);
      // The last line of a reply has a code and no hyphen.
      if (/(^|\n)\d{4} [^\n]*\n$/.test(this.#text)) this.#onReply?.();
    });
  }

  async ask(question: string): Promise<string> {
    this.#text = '';
    const reply = new Promise<void>((resolve) => (this.#onReply = resolve));
    if (question !== '') this.#socket.write(`${question}\n`);
    await reply;
    return this.#text;
  }

  close(): void {
    this.#socket.destroy();
  }
}

export class BirdReceiver implements Receiver {
  readonly name = 'BIRD';
  readonly address: string;
  readonly pollMs = 20;
  readonly #asn: number;
  #bird: Bird | undefined;
  #control: BirdControl | undefined;

  constructor(address = '127.0.0.4', asn = RECEIVER_ASN) {
    this.address = address;
    this.#asn = asn;
  }

  get pid(): number {
    return this.#bird!.pid;
  }

  async start(neighbours: readonly Neighbour[]): Promise<void> {
    const channel = (family: 4 | 6, role: Neighbour['role']): string =>
      role === 'sender'
        ? `ipv${family} { import all; export none; };`
        : `ipv${family} { import none; export where source = RTS_BGP; next hop address ${family === 4 ? '10.9.9.9' : 'fd09::9'}; };`;
    const manner = (role: Neighbour['role']): string =>
      role === 'feed' ? 'disabled; connect delay time 1; connect retry time 1' : 'passive on';
    const sessions = neighbours.map(
      (n, i) => `protocol bgp n${i} {
  local ${this.address} port ${PORT} as ${this.#asn};
  neighbor ${n.address} ${n.role === 'feed' ? `port ${PORT}` : ''} as ${n.asn};
  multihop; strict bind; ${manner(n.role)}; hold time ${HOLD_S};
  ${channel(4, n.role)}
  ${channel(6, n.role)}
}
`,
    );
    const bird = new Bird();
    this.#bird = bird;
    await bird.start(`router id 10.9.9.1;
protocol device {}
protocol static hops4 { ipv4; route 10.9.9.0/24 via "lo"; }
protocol static hops6 { ipv6; route fd09::/64 via "lo"; }
${sessions.join('')}`);
    this.#control = new BirdControl(join(bird.dir, 'ctl'));
    await this.#control.ask('');
  }

  /** Connect to the neighbour with this place in the list. */
  async enable(index: number): Promise<void> {
    await this.#control!.ask(`enable n${index}`);
  }

  async counts(): Promise<Counts> {
    const text = await this.#control!.ask('show protocols all');
    let accepted = 0;
    let installed = 0;
    for (const part of text.split(/\n(?=1002-)/).filter((p) => / BGP /.test(p.split('\n')[0]!))) {
      for (const m of part.matchAll(/Routes:\s+(\d+) imported, \d+ exported, (\d+) preferred/g)) {
        accepted += Number(m[1]);
        installed += Number(m[2]);
      }
    }
    return { accepted, installed };
  }

  async stop(): Promise<void> {
    this.#control?.close();
    await this.#bird?.remove();
  }
}

export class GobgpReceiver implements Receiver {
  readonly name = 'GoBGP';
  readonly address = '127.0.0.5';
  /** Its counters are counted when asked for: more often, and it does little else. */
  readonly pollMs = 4000;
  readonly #dir: string;
  #child: ChildProcess | undefined;
  #neighbours: readonly Neighbour[] = [];

  constructor(dir: string) {
    this.#dir = join(dir, 'gobgp');
  }

  static get isInstalled(): boolean {
    return existsSync('/usr/bin/gobgpd') && existsSync('/usr/bin/gobgp');
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  async start(neighbours: readonly Neighbour[]): Promise<void> {
    this.#neighbours = neighbours;
    mkdirSync(this.#dir, { recursive: true });
    const sessions = neighbours.map(
      (n) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${n.address}"
    peer-as = ${n.asn}
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.ebgp-multihop.config]
    enabled = true
    multihop-ttl = 64
  [neighbors.timers.config]
    hold-time = ${HOLD_S}
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv6-unicast"
`,
    );
    writeFileSync(
      join(this.#dir, 'gobgp.toml'),
      `[global.config]
  as = ${RECEIVER_ASN}
  router-id = "10.9.9.1"
  port = ${PORT}
  local-address-list = ["${this.address}"]
${sessions.join('')}`,
    );
    const args = ['-t', 'toml', '-f', 'gobgp.toml', '--api-hosts', `${this.address}:50051`, '--pprof-disable'];
    const child = watched(spawn('gobgpd', [...args, '-l', 'error'], { cwd: this.#dir, stdio: 'ignore' }));
    this.#child = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`gobgpd ended with ${child.exitCode}`);
      return this.#ask('global').then(
        () => true,
        () => false,
      );
    }, 'gobgpd');
  }

  async counts(): Promise<Counts> {
    let accepted = 0;
    for (const n of this.#neighbours) {
      const { afi_safis: all } = JSON.parse(await this.#ask('neighbor', n.address)) as {
        afi_safis: readonly { readonly state?: { readonly accepted?: string | number } }[];
      };
      for (const a of all) accepted += Number(a.state?.accepted ?? 0);
    }
    return { accepted, installed: accepted };
  }

  async #ask(...args: string[]): Promise<string> {
    const { stdout } = await run('gobgp', ['-u', this.address, '-p', '50051', '-j', ...args]);
    return stdout;
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined) await endOf(this.#child, 'SIGKILL');
  }
}
