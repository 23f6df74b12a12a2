/**
 * Which processes are to admit us (PR_SET_PTRACER), so that flows of theirs can be ended where Yama keeps us out. Each program of
 * a process is told once: whom it names later is its own matter.
 */
import { ptraceScope, type Reach, reach } from '../kernel/ptrace.ts';
import { ProcessTable } from './process-facts.ts';

export class Admissions {
  readonly #now: (() => Reach) | undefined;
  readonly #processes = new ProcessTable(() => ({ isNew: true }));

  /** @param now whom we reach; undefined = all, always */
  constructor(now: (() => Reach) | undefined = ptraceScope() === undefined ? undefined : () => reach(ptraceScope())) {
    this.#now = now;
  }

  /** Whether this process is to be told, with the answer to its request. */
  isDue(pid: number): boolean {
    if (this.#now === undefined) return false;
    const process = this.#processes.of(pid);
    const { isNew } = process;
    process.isNew = false;
    return isNew && this.#now() === 'admitted';
  }
}
