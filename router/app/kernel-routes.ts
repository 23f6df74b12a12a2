/** The FIB's routes in the host's kernel: when the mirror gets its turns of the routing worker's event loop. */
import type { FibWriter } from '../fib/writer.ts';
import { type KernelRoutes, RouteMirror } from '../kernel/route-mirror.ts';
import { systemClock } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import type { Logger } from '../lib/log.ts';
import { turns } from './turns.ts';

/** Prefixes told at a time, and how long a turn goes on with it. */
const SLICE = 256;
const TURN_MS = 3;
/** When what the kernel has refused is tried again. */
const RETRY_MS = 1000;

export class KernelRoutesRoom {
  readonly #mirror: RouteMirror;
  readonly #log: Logger;
  #settings: KernelRoutes;
  #isWorking = false;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;
  #saidRefusals = 0;

  /** @param isTakeover as RouteMirror's @throws KernelRefusal where the kernel's routes cannot be changed */
  constructor(fib: FibWriter, settings: KernelRoutes, isTakeover: boolean, log: Logger) {
    this.#mirror = new RouteMirror(fib, settings, isTakeover);
    this.#log = log;
    this.#settings = settings;
    this.pump();
  }

  get counters(): Record<string, number> {
    const { installed, withdrawn, resyncs } = this.#mirror.counters;
    const refused = Object.entries(this.#mirror.refusals).map(
      ([name, n]) => [`kernelRoutes_refused_${name}`, n] as const,
    );
    return {
      ...{ kernelRoutes_installed: installed, kernelRoutes_withdrawn: withdrawn, kernelRoutes_resyncs: resyncs },
      ...Object.fromEntries(refused),
    };
  }

  /** Routes have changed: tell the kernel, a slice per turn. */
  pump(): void {
    if (this.#isWorking || this.#isClosed || !this.#mirror.isBusy) return;
    this.#isWorking = true;
    setImmediate(() => {
      this.#isWorking = false;
      if (this.#isClosed) return;
      turns.begin();
      const until = turns.until(TURN_MS, 0);
      do this.#mirror.work(SLICE);
      while (this.#mirror.isBusy && systemClock.now() < until);
      this.#retryLater();
      this.pump();
    });
  }

  /** The FIB is as complete as that of the worker before. */
  settled(): void {
    this.#mirror.settled();
    this.pump();
  }

  /** Other uplinks or VRFs. */
  reload(settings: KernelRoutes | undefined): void {
    if (settings === undefined || isEqual(settings, this.#settings)) return;
    this.#settings = settings;
    this.#mirror.reconfigure(settings);
    this.pump();
  }

  linkChanged(): void {
    this.#mirror.linkChanged();
    this.pump();
  }

  /** Another worker goes on with them: they stay. */
  leave(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#mirror.close();
  }

  /** Take all of them back. */
  stop(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retry);
    this.#mirror.stop();
  }

  #retryLater(): void {
    const count = this.#mirror.refusedCount;
    if (count === 0 || this.#retry !== undefined) return;
    if (count !== this.#saidRefusals)
      this.#log.warn('the kernel refuses routes, trying again', { routes: count, ...this.#mirror.refusals });
    this.#saidRefusals = count;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      if (this.#isClosed) return;
      this.#mirror.retry();
      this.pump();
    }, RETRY_MS);
    this.#retry.unref();
  }
}
