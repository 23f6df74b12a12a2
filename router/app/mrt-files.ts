/**
 * MRT files: the table at intervals, and what happens on the sessions as it happens (RFC 6396). A name may hold %Y %m %d
 * %H %M %S (UTC), so that each interval has a file of its own; a file appears under its name when it is whole.
 */
import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { MrtLog } from '../../bgp/monitor/mrt-log.ts';
import type { Speaker } from '../../bgp/speaker.ts';
import type { MrtFile } from '../config/bgp-model.ts';
import { wallClockMs } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';

const FLUSH_MS = 1000;

/** The file's name at a time (milliseconds since 1970). */
export function nameAt(pattern: string, ms: number): string {
  const [, Y, m, d, H, M, S] = /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/.exec(new Date(ms).toISOString())!;
  const parts: Readonly<Record<string, string>> = { Y: Y!, m: m!, d: d!, H: H!, M: M!, S: S!, '%': '%' };
  return pattern.replace(/%([YmdHMS%])/g, (_, letter: string) => parts[letter]!);
}

export class MrtFiles {
  readonly #speaker: Speaker;
  readonly #log: Logger;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #endings: (() => void)[] = [];

  constructor(speaker: Speaker, log: Logger) {
    this.#speaker = speaker;
    this.#log = log;
  }

  /** Write the table every `everyS` seconds. */
  tables(file: MrtFile): void {
    const dump = (): void => void this.#table(nameAt(file.path, wallClockMs()));
    this.#timers.push(setInterval(dump, file.everyS * 1000).unref());
  }

  /** Log sessions and UPDATEs; a new file every `everyS` seconds. */
  updates(file: MrtFile): void {
    const log = new MrtLog(wallClockMs);
    let current: { readonly path: string; readonly fd: number } | undefined;
    const close = (): void => {
      if (current !== undefined) closeSync(current.fd);
      current = undefined;
    };
    const flush = (): void => {
      if (log.pending === 0) return;
      const octets = log.take();
      this.#attempt(file.path, () => {
        const path = nameAt(file.path, periodStart(file.everyS));
        if (current?.path !== path) {
          close();
          mkdirSync(dirname(path), { recursive: true });
          current = { path, fd: openSync(path, 'a', 0o644) };
        }
        writeSync(current.fd, octets);
      });
    };
    const forget = this.#speaker.addMonitor(log);
    this.#timers.push(setInterval(flush, FLUSH_MS).unref());
    this.#endings.push(() => {
      forget();
      flush();
      close();
    });
  }

  /** Write what is left and stop. */
  stop(): void {
    for (const timer of this.#timers) clearInterval(timer);
    for (const end of this.#endings) end();
  }

  async #table(path: string): Promise<void> {
    const temporary = `${path}.part`;
    let fd: number | undefined;
    try {
      mkdirSync(dirname(path), { recursive: true });
      fd = openSync(temporary, 'w', 0o644);
      for (const octets of this.#speaker.monitoring.mrtTable(() => Math.floor(wallClockMs() / 1000))) {
        writeSync(fd, octets);
        await new Promise(setImmediate);
      }
      renameSync(temporary, path);
    } catch (e) {
      this.#failed(path, e as Error);
      rmSync(temporary, { force: true });
    } finally {
      if (fd !== undefined) closeSync(fd);
    }
  }

  #attempt(path: string, act: () => void): void {
    try {
      act();
    } catch (e) {
      this.#failed(path, e as Error);
    }
  }

  #failed(path: string, e: Error): void {
    this.#log.error('cannot write an MRT file', { path, error: e.message });
  }
}

/** When the running interval of so many seconds began; intervals are counted from 1970, so that names are round. */
function periodStart(everyS: number): number {
  const period = everyS * 1000;
  return Math.floor(wallClockMs() / period) * period;
}
