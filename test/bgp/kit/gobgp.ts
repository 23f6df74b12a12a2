/** A GoBGP of the distribution as a child process, for interoperability tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ended, run, until } from './bird.ts';

const GOBGPD = '/usr/bin/gobgpd';
const GOBGP = '/usr/bin/gobgp';

export function hasGobgp(): boolean {
  return existsSync(GOBGPD) && existsSync(GOBGP);
}

/** Whom GoBGP talks to, from the one address it has. */
export interface GobgpNeighbor {
  readonly address: string;
  readonly asn: number;
  /** Where it is connected to; undefined = it connects. */
  readonly port?: number;
  /** As GoBGP calls them, each with further tables of its own; none = IPv4. */
  readonly families?: readonly string[];
  readonly perFamily?: string;
  /** Further tables of the neighbour. */
  readonly more?: string;
}

/** What `gobgpd -t toml` reads. @param more further tables of the daemon */
export function gobgpConfig(
  own: { readonly asn: number; readonly id: string; readonly address: string; readonly port: number },
  neighbors: readonly GobgpNeighbor[],
  more = '',
): string {
  const table = (n: GobgpNeighbor): string => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${n.address}"
    peer-as = ${n.asn}
  [neighbors.timers.config]
    connect-retry = 2
    idle-hold-time-after-reset = 1
  [neighbors.transport.config]
    ${n.port === undefined ? 'passive-mode = true' : `remote-port = ${n.port}`}
    local-address = "${own.address}"
  [neighbors.ebgp-multihop.config]
    enabled = ${n.asn !== own.asn}
${n.more ?? ''}${(n.families ?? []).map((f) => family(f, n.perFamily ?? '')).join('')}`;
  return `[global.config]
  as = ${own.asn}
  router-id = "${own.id}"
  port = ${own.port}
  local-address-list = ["${own.address}"]
${more}${neighbors.map(table).join('')}`;
}

function family(name: string, more: string): string {
  return `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "${name}"
${more}`;
}

export class Gobgp {
  readonly dir = mkdtempSync(join(tmpdir(), 'mlshim-gobgp-'));
  readonly #api: { readonly host: string; readonly port: number };
  #child: ChildProcess | undefined;
  #output = '';

  /** @param api where the daemon answers questions */
  constructor(api: { readonly host: string; readonly port: number }) {
    this.#api = api;
  }

  /** @returns when GoBGP answers */
  async start(config: string, ...args: string[]): Promise<void> {
    const file = join(this.dir, 'gobgp.toml');
    writeFileSync(file, config);
    const { host, port } = this.#api;
    const words = ['-t', 'toml', '-f', file, '--api-hosts', `${host}:${port}`, '--pprof-disable', ...args];
    const child = spawn(GOBGPD, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (b) => (this.#output += String(b)));
    child.stderr.on('data', (b) => (this.#output += String(b)));
    this.#child = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`gobgpd ended with ${child.exitCode}: ${this.#output}`);
      return (await this.ask('global')).includes('AS:');
    }, 'an answer of gobgpd');
  }

  /** What `gobgp` prints for a command. */
  ask(command: string): Promise<string> {
    const { host, port } = this.#api;
    return run(GOBGP, ['-u', host, '-p', String(port), ...command.split(' ')]);
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await ended(this.#child, signal);
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
