/** A BIRD of the distribution as a child process, for interoperability tests. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../router/lib/clock.ts';

const BIRD = '/usr/sbin/bird';
const BIRDC = '/usr/sbin/birdc';

export function hasBird(): boolean {
  return existsSync(BIRD) && existsSync(BIRDC);
}

/** One BIRD with a configuration of its own in a temporary folder. */
export class Bird {
  /** What starts it elsewhere, such as `nsenter` with its arguments. It then runs as who we are. */
  readonly #prefix: readonly string[];
  readonly dir = mkdtempSync(join(tmpdir(), 'mlshim-bird-'));
  #child: ChildProcess | undefined;
  #output = '';

  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix;
  }

  /**
   * @param more arguments, such as `-R` for recovery by graceful restart
   * @returns when BIRD answers on its control socket
   */
  async start(config: string, more: readonly string[] = []): Promise<void> {
    writeFileSync(join(this.dir, 'bird.conf'), config);
    const drop = process.getuid?.() === 0 && this.#prefix.length === 0 ? { uid: 65534, gid: 65534 } : {};
    if (process.getuid?.() === 0) await run('chown', ['-R', '65534:65534', this.dir]);
    const args = [
      '-f',
      '-c',
      join(this.dir, 'bird.conf'),
      '-s',
      join(this.dir, 'ctl'),
      '-P',
      join(this.dir, 'pid'),
      ...more,
    ];
    const [program, ...words] = [...this.#prefix, BIRD, ...args] as [string, ...string[]];
    const child = spawn(program, words, { ...drop, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (b) => (this.#output += String(b)));
    child.stderr.on('data', (b) => (this.#output += String(b)));
    this.#child = child;
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`bird ended with ${child.exitCode}: ${this.#output}`);
      return (await this.ask('show status')).includes('Daemon is up');
    });
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  async ask(command: string): Promise<string> {
    return run(BIRDC, ['-s', join(this.dir, 'ctl'), ...command.split(' ')]);
  }

  async kill(): Promise<void> {
    await ended(this.#child, 'SIGKILL');
  }

  async remove(): Promise<void> {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Have a child end, if it has not yet. */
export async function ended(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
}

export function run(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let out = '';
    child.stdout.on('data', (b) => (out += String(b)));
    child.stderr.on('data', (b) => (out += String(b)));
    child.once('close', () => resolve(out));
  });
}

/** Wait for a fact about another process, which tells nobody when it becomes true. */
export async function until(
  isTrue: () => boolean | Promise<boolean>,
  what = 'condition',
  limitMs = 30_000,
): Promise<void> {
  const end = systemClock.now() + limitMs;
  while (!(await isTrue())) {
    if (systemClock.now() > end) throw new Error(`${what} did not come true in ${limitMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
