/**
 * The end of a process whose thread cannot be ended: one that waits in a call of the kernel, such as for a pipe. Node waits for
 * its threads whatever it is told, so that nothing but a signal helps. Everything has been taken down by then.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../lib/log.ts';

const WORKER_STOP_MS = 1000;

/** Workers that were told to end. */
export class LastExits {
  readonly #pending = new Set<Promise<unknown>>();

  /** Wait for one, but not for ever. @param ending resolves when it has ended */
  async wait(ending: Promise<unknown>): Promise<void> {
    this.#pending.add(ending);
    const ended = ending.finally(() => this.#pending.delete(ending));
    await Promise.race([ended, sleep(WORKER_STOP_MS, undefined, { ref: false })]);
  }

  /** One of them has not ended yet: its heap is large, or it never will. */
  get hangs(): boolean {
    return this.#pending.size > 0;
  }
}

/** End at once where a worker hangs. */
export function endHanging(daemon: { readonly hangs: boolean } | undefined, log: Logger): void {
  if (daemon?.hangs !== true) return;
  log.warn('a worker does not end: the process is killed');
  process.kill(process.pid, 'SIGKILL');
}
