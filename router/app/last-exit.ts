/**
 * The end of a process whose thread cannot be ended: one that waits in a call of the kernel, such as for a pipe. Node waits for
 * its threads whatever it is told, so that nothing but a signal helps. Everything has been taken down by then.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../lib/log.ts';

const WORKER_STOP_MS = 1000;

/** Whether a worker that was told to end does not. @param ending resolves when it has ended */
export function outlives(ending: Promise<unknown>): Promise<boolean> {
  const ended = ending.then(() => false);
  return Promise.race([ended, sleep(WORKER_STOP_MS, true, { ref: false })]);
}

/** End at once where a worker hangs. */
export function endHanging(daemon: { readonly hangs: boolean } | undefined, log: Logger): void {
  if (daemon?.hangs !== true) return;
  log.warn('a worker does not end: the process is killed');
  process.kill(process.pid, 'SIGKILL');
}
