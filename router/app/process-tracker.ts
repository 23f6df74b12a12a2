/**
 * Which program each process of the host runs, for rules by app: what runs at the start, then every program that starts, by
 * the kernel's process events where there are any, else by looking.
 */
import { readdirSync, readlinkSync } from 'node:fs';
import { watchProcesses } from '../kernel/processes.ts';
import type { Logger } from '../lib/log.ts';
import { systemReason } from '../lib/reason.ts';
import type { ProcessFacts } from '../uplink/rule.ts';
import { factsOf, identityOf } from './process-facts.ts';

/** How often /proc is looked at where there are no events. */
const LOOK_MS = 1000;
/** The initial process namespace (PROC_PID_INIT_INO of the kernel): the programs know processes by their numbers there. */
const INITIAL_NAMESPACE = 'pid:[4026531836]';

export interface ProcessPort {
  setProcess(pid: number, facts: ProcessFacts): void;
  removeProcess(pid: number): void;
}

/**
 * What looking at all processes again and again tells of them. One that is new, or runs another program than before, counts from
 * the second look on that finds it so: at the first it may be on its way from fork() to exec(), with the facts of its parent.
 */
export class ProcessLooks {
  readonly #found = new Map<number, { readonly identity: string; readonly isTold: boolean }>();

  /** @param found identities by process id @param isFirst all count at once */
  look(found: ReadonlyMap<number, string>, isFirst = false): { readonly learn: number[]; readonly forget: number[] } {
    const learn: number[] = [];
    const forget: number[] = [];
    for (const pid of [...this.#found.keys()].filter((p) => !found.has(p))) {
      if (this.#found.get(pid)!.isTold) forget.push(pid);
      this.#found.delete(pid);
    }
    for (const [pid, identity] of found) {
      const before = this.#found.get(pid);
      const isSame = before?.identity === identity;
      if (isSame && before.isTold) continue;
      const isTold = isSame || isFirst;
      if (isTold) learn.push(pid);
      else if (before?.isTold === true) forget.push(pid);
      this.#found.set(pid, { identity, isTold });
    }
    return { learn, forget };
  }
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
        if (news.kind === 'lost') this.#look();
        else if (news.kind === 'exit') this.#forget(news.pid);
        else if (news.kind !== 'uid') this.#learn(news.pid);
      });
    } catch (e) {
      this.#log.info('no process events: looking for programs every second', { why: systemReason(e) });
      const looks = new ProcessLooks();
      this.#lookAgain(looks, true);
      this.#looking = setInterval(() => this.#lookAgain(looks, false), LOOK_MS).unref();
      return;
    }
    this.#look();
  }

  close(): void {
    this.#events?.close();
    clearInterval(this.#looking);
    this.#events = undefined;
    this.#looking = undefined;
  }

  /** Processes that are known may run another program now. */
  #look(): void {
    const pids = new Set(runningPids());
    for (const pid of [...this.#known]) if (!pids.has(pid)) this.#forget(pid);
    for (const pid of pids) this.#learn(pid);
  }

  #lookAgain(looks: ProcessLooks, isFirst: boolean): void {
    const { learn, forget } = looks.look(new Map(runningPids().map((pid) => [pid, identityOf(pid)])), isFirst);
    for (const pid of forget) this.#forget(pid);
    for (const pid of learn) this.#learn(pid);
  }

  #learn(pid: number): void {
    this.#known.add(pid);
    this.#port.setProcess(pid, factsOf(pid));
  }

  #forget(pid: number): void {
    if (this.#known.delete(pid)) this.#port.removeProcess(pid);
  }
}

function runningPids(): number[] {
  return readdirSync('/proc')
    .filter((f) => /^\d+$/.test(f))
    .map(Number);
}

function pidNamespace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}
