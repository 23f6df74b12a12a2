/** Two routers on loopback UDP joined by WireGuard, run by the built command line as a user would. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatKey, generatePrivateKey, publicKey } from '../../../wg/keys.ts';

export const CLI = join(import.meta.dirname, '../../../router/cli/main.js');
const LIMIT_MS = 20_000;

export interface Done {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function freePorts(count: number): Promise<number[]> {
  const sockets = Array.from({ length: count }, () => createSocket('udp4'));
  const ports = await Promise.all(
    sockets.map((s) => new Promise<number>((resolve) => s.bind(0, '127.0.0.1', () => resolve(s.address().port)))),
  );
  for (const s of sockets) s.close();
  return ports;
}

/** One router: its folder, its configuration file, commands in its environment. */
export class Side {
  readonly dir: string;
  readonly address: string;

  constructor(dir: string, address: string) {
    this.dir = dir;
    this.address = address;
  }

  get env(): NodeJS.ProcessEnv {
    return { PATH: process.env['PATH'], HOME: this.dir, XDG_RUNTIME_DIR: this.dir, TMPDIR: this.dir };
  }

  /** Run a command of the command line to its end. */
  cli(...args: string[]): Done {
    return spawnSync(process.execPath, [CLI, ...args], {
      encoding: 'utf8',
      env: this.env,
      cwd: this.dir,
      timeout: LIMIT_MS,
    });
  }

  start(...args: string[]): ChildProcess {
    return spawn(process.execPath, [CLI, ...args], { env: this.env, cwd: this.dir, stdio: ['ignore', 'pipe', 'pipe'] });
  }

  json<T>(...args: string[]): T {
    return JSON.parse(this.cli(...args, '--json').stdout) as T;
  }
}

export class Pair {
  readonly near: Side;
  readonly far: Side;
  readonly #dir = mkdtempSync(join(tmpdir(), 'mlshim-test-'));

  private constructor(near: readonly [string, number], far: readonly [string, number]) {
    mkdirSync(join(this.#dir, 'near'));
    mkdirSync(join(this.#dir, 'far'));
    this.near = new Side(join(this.#dir, 'near'), '10.77.0.1');
    this.far = new Side(join(this.#dir, 'far'), '10.77.0.2');
    const pub = (key: string): string => formatKey(publicKey(new Uint8Array(Buffer.from(key, 'base64'))));
    this.#configure(this.near, near, pub(far[0]), far[1]);
    this.#configure(this.far, far, pub(near[0]), near[1]);
  }

  static async make(): Promise<Pair> {
    const [a, b] = (await freePorts(2)) as [number, number];
    return new Pair([formatKey(generatePrivateKey()), a], [formatKey(generatePrivateKey()), b]);
  }

  #configure(side: Side, [key, port]: readonly [string, number], peerKey: string, peerPort: number): void {
    const yaml = `uplinks:
  tunnel:
    wireguard:
      private_key: ${key}
      listen_port: ${port}
      addresses: [${side.address}/24]
      peers: [{ public_key: ${peerKey}, endpoint: "127.0.0.1:${peerPort}", allowed_ips: [10.77.0.0/24] }]
`;
    const quick = `[Interface]
PrivateKey = ${key}
ListenPort = ${port}
Address = ${side.address}/24
[Peer]
PublicKey = ${peerKey}
AllowedIPs = 10.77.0.0/24
Endpoint = localhost:${peerPort}
`;
    writeFileSync(join(side.dir, 'mlshim.yaml'), yaml, { mode: 0o600 });
    writeFileSync(join(side.dir, 'tunnel.conf'), quick, { mode: 0o600 });
  }

  /** Stop what still runs and remove everything. */
  clear(): void {
    for (const side of [this.near, this.far]) side.cli('down', '--now');
    rmSync(this.#dir, { recursive: true, force: true });
  }

  /** Pids of this user's processes whose command line or environment names the pair's folder. */
  processes(): string[] {
    const all = execFileSync('ps', ['-e', '-o', 'pid=,args='], { encoding: 'utf8' }).split('\n');
    return all.filter((line) => line.includes(this.#dir) && line.includes('mlshimd'));
  }
}

/** Resolves when the process has printed what the pattern asks for. */
export function printed(child: ChildProcess, pattern: RegExp): Promise<string> {
  let text = '';
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (part: Buffer) => {
        text += part.toString();
        if (pattern.test(text)) resolve(text);
      });
    // `exit` may come before the last octets, `close` does not.
    child.once('close', () => reject(new Error(`it ended and printed only: ${text}`)));
  });
}

export function exited(child: ChildProcess): Promise<number | string> {
  if (child.exitCode !== null) return Promise.resolve(child.exitCode);
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal!)));
}
