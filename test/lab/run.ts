/** One boot of the guest: what it needs is made, its points are told as they come, and nothing of it stays. */
import type { ChildProcess } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { buildWireguardGo } from '../kit/peer.ts';
import type { BootKind } from './guest/case.ts';
import { type Guest, guestImage, ourDisk } from './image.ts';
import { type Accelerator, accelerator, boot } from './qemu.ts';
import { type Point, PointReader } from './tap.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const LAB = join(ROOT, 'build', 'lab');
/** Shared between checkouts when the environment says so. */
const CACHE = process.env['MLSHIM_LAB_CACHE'] ?? join(LAB, 'cache');
/** A guest that runs this long is ended. */
const BOOT_LIMIT_MS = 20 * 60_000;
const CONSOLE_TAIL = 20;

/** A run that was killed could not remove its folder. */
function removeRunsOfTheDead(): void {
  for (const name of readdirSync(LAB)) {
    const pid = /^run-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(LAB, name), { recursive: true, force: true });
  }
}

/**
 * Boot after boot: what is measured alone, then two guests at a time, each of which keeps one processor busy.
 * @throws Error what the first one that failed said, once all have ended
 */
export async function bootAll(kinds: readonly BootKind[], boot: (kind: BootKind) => Promise<void>): Promise<void> {
  const failures: unknown[] = [];
  const lane = async (left: BootKind[]): Promise<void> => {
    for (let kind = left.shift(); kind !== undefined; kind = left.shift())
      await boot(kind).catch((error: unknown) => failures.push(error));
  };
  await lane(kinds.filter((kind) => kind === 'measured'));
  const others = kinds.filter((kind) => kind !== 'measured');
  await Promise.all([lane(others), lane(others)]);
  if (failures.length > 0) throw failures[0];
}

export interface GuestOptions {
  /** `stock`, `suite:NAME` or the file of a Debian kernel package. */
  readonly kernel: string;
  /** Cases and suites to run; none means all. */
  readonly only: readonly string[];
  readonly say: (line: string) => void;
}

export class GuestRun {
  readonly #options: GuestOptions;
  readonly #dir: string;
  readonly #guest: Guest;
  readonly #ours: string;
  readonly #accelerator: Accelerator;
  readonly #children = new Set<ChildProcess>();

  private constructor(options: GuestOptions, dir: string, guest: Guest, ours: string, accel: Accelerator) {
    this.#options = options;
    this.#dir = dir;
    this.#guest = guest;
    this.#ours = ours;
    this.#accelerator = accel;
  }

  static async prepare(options: GuestOptions): Promise<GuestRun> {
    mkdirSync(LAB, { recursive: true });
    const { say } = options;
    const guest = await guestImage(CACHE, options.kernel, (what, seconds) => say(`${what} (${seconds.toFixed(1)} s)`));
    removeRunsOfTheDead();
    const dir = mkdtempSync(join(LAB, `run-${process.pid}-`));
    try {
      const at = performance.now();
      buildWireguardGo();
      const ours = await ourDisk(dir);
      const accel = await accelerator(guest, join(dir, 'trial.console'));
      say(`disk of this build; Linux ${guest.release} by ${accel} (${((performance.now() - at) / 1000).toFixed(1)} s)`);
      return new GuestRun(options, dir, guest, ours, accel);
    } catch (error) {
      rmSync(dir, { recursive: true, force: true });
      throw error;
    }
  }

  /** Boot once and pass on the points. Resolves with the seconds it took; rejects when the guest had to be ended. */
  async boot(kind: BootKind, onPoint: (point: Point) => void): Promise<number> {
    const console = join(this.#dir, `${kind}.console`);
    const started = performance.now();
    const { only } = this.#options;
    const child = this.#start(kind, console, only.length === 0 ? [] : [`lab.only=${only.join(',')}`]);
    const reader = new PointReader(onPoint);
    child.stdout!.setEncoding('utf8').on('data', (text) => reader.push(text));
    let errors = '';
    child.stderr!.on('data', (text) => (errors += text));
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, BOOT_LIMIT_MS);
    const status = await new Promise((resolve) => child.once('close', resolve).once('error', resolve));
    clearTimeout(timer);
    if (existsSync(console)) copyFileSync(console, join(LAB, `${kind}.console`));
    const seconds = (performance.now() - started) / 1000;
    this.#options.say(`guest of boot ${kind} ran (${seconds.toFixed(1)} s)`);
    if (isLate) throw new Error(`the guest did not end in ${BOOT_LIMIT_MS / 1000} s:\n${this.lastWords(kind)}`);
    if (status !== 0) throw new Error(`QEMU ended with ${status}: ${errors}`);
    return seconds;
  }

  /** A guest with a shell on its console, for a person. */
  async shell(): Promise<void> {
    const child = this.#start('shell', 'stdio', []);
    await new Promise((resolve) => child.once('close', resolve));
  }

  #start(kind: BootKind | 'shell', console: string, more: readonly string[]): ChildProcess {
    const units = kind === 'systemd' ? ['systemd.unit=cases.target', 'systemd.show_status=0'] : [];
    const child = boot({
      guest: this.#guest,
      accelerator: this.#accelerator,
      ours: this.#ours,
      console,
      words: [`lab.boot=${kind}`, ...units, ...more],
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** The end of the console of the last boot of a kind. */
  lastWords(kind: BootKind): string {
    const file = join(LAB, `${kind}.console`);
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n').slice(-CONSOLE_TAIL).join('\n') : '';
  }

  /** End guests that still run, and remove what the run made. */
  close(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
