/**
 * Which program each process of the host runs, for rules by app: what runs at the start, then every program that starts, by
 * the kernel's process events where there are any, else by looking.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { watchProcesses } from '../kernel/processes.ts';
import type { Logger } from '../lib/log.ts';
import { systemReason } from '../lib/reason.ts';
import type { ProcessFacts } from '../uplink/rule.ts';
import { factsOf } from './process-facts.ts';

/** How often /proc is looked at where there are no events. */
const LOOK_MS = 1000;
/** The initial process namespace (PROC_PID_INIT_INO of the kernel): the programs know processes by their numbers there. */
const INITIAL_NAMESPACE = 'pid:[4026531836]';

export interface ProcessPort {
  setProcess(pid: number, facts: ProcessFacts): void;
  removeProcess(pid: number): void;
}

export class ProcessTracker {
  readonly #port: ProcessPort;
  readonly #log: Logger;
  readonly #known = new Set<number>();
  #events: { close(): void } | undefined;
  #looking: NodeJS.Timeout | undefined;

  constructor(port: ProcessPort, log: Logger) {
    this.#port = port;
    this.#log = log;
  }

  start(): void {
    if (this.#events !== undefined || this.#looking !== undefined) return;
    if (pidNamespace() !== INITIAL_NAMESPACE) {
      this.#log.warn('rules by app go by the names of programs alone: this is not the first process namespace');
      return;
    }
    try {
      this.#events = watchProcesses((news) => {
        if (news.kind === 'lost') this.#look(true);
        else if (news.kind === 'exit') this.#forget(news.pid);
        else if (news.kind !== 'uid') this.#learn(news.pid);
      });
    } catch (e) {
      this.#log.info('no process events: looking for programs every second', { why: systemReason(e) });
      this.#looking = setInterval(() => this.#look(false), LOOK_MS).unref();
    }
    this.#look(true);
  }

  close(): void {
    this.#events?.close();
    clearInterval(this.#looking);
    this.#events = undefined;
    this.#looking = undefined;
  }

  /** @param isAll processes that are known may run another program now */
  #look(isAll: boolean): void {
    const pids = new Set(
      readdirSync('/proc')
        .filter((f) => /^\d+$/.test(f))
        .map(Number),
    );
    for (const pid of [...this.#known]) if (!pids.has(pid)) this.#forget(pid);
    for (const pid of pids) if (isAll || !this.#known.has(pid)) this.#learn(pid);
  }

  #learn(pid: number): void {
    this.#known.add(pid);
    this.#port.setProcess(pid, factsOf(pid));
  }

  #forget(pid: number): void {
    if (this.#known.delete(pid)) this.#port.removeProcess(pid);
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}
