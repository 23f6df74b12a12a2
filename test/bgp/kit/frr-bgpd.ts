/** FRR's bgpd of the distribution alone, without zebra, as a child process, for interoperability tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ended, run, until } from './bird.ts';

const BGPD = '/usr/lib/frr/bgpd';

export function hasBgpd(): boolean {
  return existsSync(BGPD);
}

export class Bgpd {
  readonly dir = mkdtempSync(join(tmpdir(), 'mlshim-bgpd-'));
  #child: ChildProcess | undefined;
  #output = '';

  /** @returns when bgpd answers */
  async start(config: string, listen: { readonly address: string; readonly port: number }): Promise<void> {
    const file = join(this.dir, 'bgpd.conf');
    writeFileSync(file, config);
    chmodSync(this.dir, 0o777);
    // -S: no change of user and capabilities; -Z: no zebra, so every next hop is taken as reachable.
    const args = ['-Z', '-S', '-p', String(listen.port), '-l', listen.address, '-f', file, '--vty_socket', this.dir];
    const places = ['-i', join(this.dir, 'bgpd.pid'), '-P', '0', '--log', 'stdout', '--log-level', 'warnings'];
    const child = spawn(BGPD, [...args, ...places], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (b) => (this.#output += String(b)));
    child.stderr.on('data', (b) => (this.#output += String(b)));
    this.#child = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`bgpd ended with ${child.exitCode}: ${this.#output}`);
      return (await this.ask('show version')).includes('FRRouting');
    }, 'an answer of bgpd');
  }

  /** What FRR's shell prints for commands given one after the other. */
  ask(...commands: string[]): Promise<string> {
    return run('vtysh', ['--vty_socket', this.dir, '-d', 'bgpd', ...commands.flatMap((c) => ['-c', c])]);
  }

  async stop(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    await ended(this.#child, signal);
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
