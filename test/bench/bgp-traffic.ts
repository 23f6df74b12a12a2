/**
 * What the data plane does while a table is loaded: a second mlshim at the other end of the uplink's WireGuard tunnel, and
 * a program under the shim that sends small datagrams through both, one every five milliseconds, and counts what returns.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatKey, generatePrivateKey, publicKey } from '../../wg/keys.ts';
import { CLI, endOf, type Far, type Mlshim, until, watched } from './bgp-receivers.ts';

const PORT = 51820;
const ADDRESS = '10.9.9.9';
const ECHO_PORT = 7007;
const EVERY_MS = 5;
/** How long the last datagrams may take. */
const GRACE_MS = 1000;

const ECHO = `
  const s = require('dgram').createSocket('udp4');
  s.on('message', (m, from) => s.send(m, from.port, from.address));
  s.bind(${ECHO_PORT}, '${ADDRESS}', () => console.log('listening'));`;

/** Begins when it has had an answer; ends with the end of its input. */
const CLIENT = `
  const s = require('dgram').createSocket('udp4');
  const at = [];
  let back = 0, worst = 0, timer;
  s.on('message', (m) => {
    const n = m.readUInt32BE(0);
    if (n === 0) {
      if (timer === undefined) console.log('flowing');
      timer ??= setInterval(() => send(at.length), ${EVERY_MS});
      return;
    }
    back++;
    worst = Math.max(worst, performance.now() - at[n]);
  });
  const send = (n) => {
    const m = Buffer.alloc(64);
    m.writeUInt32BE(n, 0);
    at[n] = performance.now();
    s.send(m, ${ECHO_PORT}, '${ADDRESS}');
  };
  const first = setInterval(() => (timer === undefined ? send(0) : clearInterval(first)), 100);
  process.stdin.on('end', () => {
    clearInterval(timer);
    setTimeout(() => {
      console.log(JSON.stringify({ sent: at.length - 1, back, worstMs: worst }));
      process.exit();
    }, ${GRACE_MS});
  }).resume();`;

export interface Flow {
  readonly sent: number;
  readonly back: number;
  /** The longest way there and back. */
  readonly worstMs: number;
}

export class FarEnd implements Far {
  readonly key = generatePrivateKey();
  readonly ownKey = generatePrivateKey();
  readonly endpoint = `127.0.0.1:${PORT}`;
  readonly #dir: string;
  readonly #children: ChildProcess[] = [];

  constructor(dir: string) {
    this.#dir = join(dir, 'far');
  }

  /** The far daemon with its echo server. */
  async start(): Promise<void> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    const yaml = `uplinks:
  lan:
    wireguard:
      private_key: ${formatKey(this.key)}
      listen_port: ${PORT}
      addresses: [${ADDRESS}/24]
      peers: [{ public_key: ${formatKey(publicKey(this.ownKey))}, allowed_ips: [10.9.9.0/24] }]
`;
    writeFileSync(join(this.#dir, 'mlshim.yaml'), yaml, { mode: 0o600 });
    const env = { PATH: process.env['PATH'], HOME: this.#dir, XDG_RUNTIME_DIR: this.#dir, NO_COLOR: '1' };
    const run = async (what: RegExp, ...args: string[]): Promise<void> => {
      const child = watched(spawn(process.execPath, [CLI, ...args], { cwd: this.#dir, env }));
      this.#children.unshift(child);
      await printed(child, what);
    };
    await run(/\bready\b/, 'up', '-f', '-c', 'mlshim.yaml');
    await run(/listening/, 'run', '--', process.execPath, '-e', ECHO);
  }

  async stop(): Promise<void> {
    for (const child of this.#children) await endOf(child, 'SIGTERM');
  }
}

/** Send datagrams through `near` while `body` runs. */
export async function withTraffic(near: Mlshim, body: () => Promise<void>): Promise<Flow> {
  const client = near.cli(['run', '--', process.execPath, '-e', CLIENT]);
  let said = '';
  client.stdout!.on('data', (b) => (said += String(b)));
  try {
    await printed(client, /flowing/);
    await body();
    client.stdin!.end();
    await until(async () => /\{.*\}/.test(said), 'the count of datagrams');
    return JSON.parse(/\{.*\}/.exec(said)![0]) as Flow;
  } finally {
    await endOf(client, 'SIGTERM');
  }
}

/** Resolves when the process has printed what is asked for; rejects with what it printed when it ends before. */
function printed(child: ChildProcess, what: RegExp): Promise<void> {
  let said = '';
  return new Promise((resolve, reject) => {
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (b) => {
        said += String(b);
        if (what.test(said)) resolve();
      });
    child.once('close', () => reject(new Error(`it ended and printed only: ${said}`)));
  });
}
