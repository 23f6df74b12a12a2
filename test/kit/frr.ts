/**
 * FRR's daemons of the distribution in a namespace of a lab, as foreground processes with sockets and pid files in a folder
 * of their own, so that several instances live beside each other.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab, LabProcess, RunOptions } from './lab.ts';

const DAEMONS = '/usr/lib/frr';

export type FrrDaemon = 'zebra' | 'staticd' | 'ospfd' | 'babeld' | 'bgpd' | 'bfdd';

/** Why FRR cannot run here, or undefined when it can. */
export function frrMissing(): string | undefined {
  return existsSync(join(DAEMONS, 'zebra')) ? undefined : 'not installed: frr';
}

/** The account Debian's FRR is built for; it must own what the daemons write to. */
export function frrAccount(): { readonly uid: number; readonly gid: number } {
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'frr'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

export class Frr {
  readonly lab: Lab;
  readonly ns: string;
  readonly dir: string;
  readonly #start: (command: string, args: readonly string[]) => LabProcess;
  readonly #running = new Map<FrrDaemon, LabProcess>();

  /** @param start how a daemon is started; as root in the namespace when missing */
  constructor(lab: Lab, ns: string, start?: (command: string, args: readonly string[]) => LabProcess) {
    this.lab = lab;
    this.ns = ns;
    this.dir = join(lab.dir, `${ns}-frr`);
    this.#start = start ?? ((command, args) => lab.start(ns, command, args));
    mkdirSync(this.dir, { recursive: true });
    const { uid, gid } = frrAccount();
    chownSync(this.dir, uid, gid);
  }

  /** Start a daemon with this configuration and wait until it answers. */
  async start(daemon: FrrDaemon, conf: string, ...args: string[]): Promise<LabProcess> {
    const file = join(this.dir, `${daemon}.conf`);
    const { uid, gid } = frrAccount();
    writeFileSync(file, `log stdout\n${conf}\n`);
    chownSync(file, uid, gid);
    const places = ['-f', file, '-i', join(this.dir, `${daemon}.pid`), '-z', join(this.dir, 'zserv.api')];
    const process_ = this.#start(join(DAEMONS, daemon), [...places, '--vty_socket', this.dir, '-P', '0', ...args]);
    this.#running.set(daemon, process_);
    await this.lab.eventually(`${daemon} answers:\n${process_.stdout}${process_.stderr}`, async () => {
      return (await this.#vtysh(['-d', daemon, '-c', 'show version'])).status === 0;
    });
    return process_;
  }

  async stop(daemon: FrrDaemon, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.#running.get(daemon)?.stop(signal);
    this.#running.delete(daemon);
  }

  /** Run commands of FRR's shell one after the other; returns what they print. */
  async vtysh(...commands: string[]): Promise<string> {
    const { status, stdout, stderr } = await this.#vtysh(commands.flatMap((c) => ['-c', c]));
    if (status !== 0) throw new Error(`vtysh: ${commands.join('; ')}: ${stdout}${stderr}`);
    return stdout;
  }

  /** Commands in configuration mode. */
  async configure(...commands: string[]): Promise<void> {
    await this.vtysh('configure terminal', ...commands);
  }

  #vtysh(args: readonly string[], options: RunOptions = {}) {
    return this.lab.run(this.ns, 'vtysh', ['--vty_socket', this.dir, ...args], options);
  }
}
