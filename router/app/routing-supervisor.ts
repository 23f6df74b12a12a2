/**
 * Keeps a routing worker running, on the main thread. One that ends is followed by another, which begins as a restarting
 * speaker (RFC 4724 §4.1): packets go by the FIB of the one before until the successor has said that its own is complete.
 * One that ends again and again is given up. A reload has one follow another on purpose, in the same way.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { systemClock } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { ToDataplane } from './dataplane-protocol.ts';
import { FILTER_LIMIT_MS, FilterWatch } from './filter-watch.ts';
import { LastExits } from './last-exit.ts';
import { RoutingClient, type RoutingEvent } from './routing-client.ts';
import type { RoutingBoot } from './routing-protocol.ts';

/** So many ends within this time are no accident. */
const MAX_ENDS = 3;
const ENDS_MS = 60_000;
/** How long a worker that is replaced may take to say goodbye. */
const HAND_OVER_MS = 2000;
/** How long `status` tells of a restart. */
const REMEMBERED_MS = 600_000;

/** What `status` says of the latest restart. */
export interface RoutingRestart {
  readonly agoS: number;
  /** Packets still go by the routes of the worker before. */
  readonly isWaiting: boolean;
}

export interface SupervisorPort {
  /** What a worker is to know when it starts now. */
  boot(): RoutingBoot;
  /** From the worker that runs now. */
  onEvent(event: RoutingEvent, client: RoutingClient): void;
  toDataplane(message: ToDataplane): void;
  closeFd(fd: number): void;
  /** A worker has taken the place of another: it is to be told what it must know. */
  restarted(client: RoutingClient): void;
  /** No worker will be started any more. */
  gaveUp(): void;
}

export class RoutingSupervisor {
  readonly #port: SupervisorPort;
  readonly #log: Logger;
  #worker!: Worker;
  #client!: RoutingClient;
  #isServing = false;
  #isStopped = false;
  readonly #exits = new LastExits();
  /** When workers have ended lately. */
  #ends: number[] = [];
  #endedAt: number | undefined;
  #waitingSince = 0;
  /** A worker that may take over, and its FIB. */
  #candidate: { readonly worker: Worker; readonly client: RoutingClient; fib: unknown } | undefined;
  /** The data plane keeps to the FIB of the worker before. */
  #isWaiting = false;
  #isHurried = false;
  /** The successor's FIB, which the data plane does not know yet. */
  #held: unknown;
  /** BGP peers with a session now, and those with one before a restart that goes on. */
  readonly #sessions = new Set<string>();
  #before: readonly string[] = [];
  /** BFD sessions by name, and those which the present worker has not asked for yet. */
  readonly #watched = new Set<string>();
  #inherited = new Set<string>();
  /** Filter functions that did not end. */
  readonly #endless: string[] = [];
  readonly #filterLimitMs: number;

  /** @param filterLimitMs how long a filter function may think about one route */
  constructor(port: SupervisorPort, log: Logger, filterLimitMs = FILTER_LIMIT_MS) {
    this.#port = port;
    this.#log = log;
    this.#filterLimitMs = filterLimitMs;
  }

  get client(): RoutingClient {
    return this.#client;
  }

  /** The latest restart, if it is not long ago. */
  get restart(): RoutingRestart | undefined {
    const ago = this.#endedAt === undefined ? Infinity : systemClock.now() - this.#endedAt;
    return ago < REMEMBERED_MS ? { agoS: ago / 1000, isWaiting: this.#isWaiting } : undefined;
  }

  /** Start the first worker; resolves with its FIB. @throws MlshimError when it cannot serve */
  start(): Promise<unknown> {
    const { worker, client } = this.#spawn(this.#port.boot());
    this.#worker = worker;
    this.#client = client;
    return readiness(worker, client);
  }

  /** The router serves: a worker that ends from now on is followed by another. */
  serve(): void {
    this.#isServing = true;
  }

  /** The router is about to stop: no other worker is needed. */
  retire(): void {
    this.#isServing = false;
  }

  /** The routes of before may lead to where nothing arrives any more: do not wait for complete ones. */
  hurry(): void {
    if (!this.#isWaiting) return;
    this.#isHurried = true;
    this.#release();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    const workers = [this.#candidate?.worker, this.#worker as Worker | undefined];
    await Promise.all(workers.map((w) => w && this.#exits.wait(w.terminate())));
  }

  /** A worker that was to end has not. */
  get hangs(): boolean {
    return this.#exits.hangs;
  }

  /**
   * Have a worker take over that begins with what `boot` says. The one before ends its sessions as for a restart; packets go by
   * its FIB until the successor's is complete.
   * @param taken the successor will take over: what is told of it from now on is meant
   * @throws MlshimError when it cannot serve; the one before has noticed nothing then
   */
  async replace(boot: RoutingBoot, taken: () => void): Promise<void> {
    const peers = this.#awaited();
    const { worker, client } = this.#spawn({ ...boot, restart: { peers } });
    const candidate = { worker, client, fib: undefined as unknown };
    this.#candidate = candidate;
    try {
      candidate.fib = await readiness(worker, client);
    } catch (e) {
      this.#candidate = undefined;
      await this.#exits.wait(worker.terminate());
      throw e;
    }
    const [before, leaving] = [this.#worker, this.#client];
    this.#worker = worker;
    this.#client = client;
    this.#candidate = undefined;
    this.#beginWaiting(peers);
    this.#hold(candidate.fib);
    leaving.send({ kind: 'hand-over' });
    await Promise.race([leaving.stopped, sleep(HAND_OVER_MS, undefined, { ref: false })]);
    await this.#exits.wait(before.terminate()); // it may hang, and nothing is heard of it any more
    taken();
    this.#log.info('another worker takes over; packets go by the routes of before');
    // When it has ended meanwhile, its successor knows what it must.
    if (client === this.#client) this.#port.restarted(client);
  }

  #spawn(boot: RoutingBoot): { readonly worker: Worker; readonly client: RoutingClient } {
    let isEndless = false;
    const watch = new FilterWatch(this.#filterLimitMs, (key) => {
      isEndless = true;
      this.#endless.push(key);
      this.#log.error('a filter function does not end', { function: key.split(' ')[0] });
      void worker.terminate();
    });
    const filterWatch = { marks: watch.marks, endless: this.#endless };
    const workerData = { ...boot, filterWatch } satisfies RoutingBoot;
    const worker = new Worker(new URL('./routing-worker.js', import.meta.url), { workerData });
    const client = new RoutingClient(worker, (e) => {
      if (e.kind === 'filter-function') watch.know(e.number, e.key);
      else this.#onEvent(e, client);
    });
    worker.on('error', (e) => this.#log.error('worker failed', { error: e.stack ?? e.message }));
    worker.on('exit', (code) => {
      watch.stop();
      this.#onExit(client, code, isEndless);
    });
    return { worker, client };
  }

  /** Peers with a session, and those a restart that goes on waits for. */
  #awaited(): readonly string[] {
    return [...new Set([...(this.#isWaiting ? this.#before : []), ...this.#sessions])];
  }

  /** The data plane keeps to the FIB it has. */
  #beginWaiting(peers: readonly string[]): void {
    this.#before = peers;
    this.#sessions.clear();
    this.#isWaiting = true;
    this.#waitingSince = systemClock.now();
    this.#isHurried = false;
    this.#held = undefined;
    this.#inherited = new Set(this.#watched);
  }

  /** @param isEndless a filter function did not end, which no successor asks again: that does not count */
  #onExit(client: RoutingClient, code: number, isEndless: boolean): void {
    for (const fd of client.abandon()) this.#port.closeFd(fd);
    // One that did not come to serve, or has handed over.
    if (this.#isStopped || client !== this.#client) return;
    const now = systemClock.now();
    this.#ends = this.#ends.filter((at) => now - at < ENDS_MS);
    if (!isEndless) this.#ends.push(now);
    this.#log.error('worker ended', { code, ...(this.#isServing && { ends: this.#ends.length }) });
    if (!this.#isServing || this.#ends.length >= MAX_ENDS) {
      this.#isStopped = true;
      this.#port.gaveUp();
      return;
    }
    this.#endedAt = now;
    this.#beginWaiting(this.#awaited());
    this.#log.warn('starting another worker; packets go by the routes of before', { code: 'C103' });
    const next = this.#spawn({ ...this.#port.boot(), restart: { peers: this.#before } });
    this.#worker = next.worker;
    this.#client = next.client;
    // When it cannot become ready it ends, and that is heard of above.
    this.#client.ready
      .then((fib) => this.#hold(fib))
      .catch((e: MlshimError) => this.#log.error('worker cannot serve', { error: e.message }));
    this.#port.restarted(this.#client);
  }

  #onEvent(e: RoutingEvent, client: RoutingClient): void {
    if (client !== this.#client) {
      // Of a worker that comes or goes nothing is taken but what it has to say, and the FIB of the one that comes.
      if (e.kind === 'fib' && client === this.#candidate?.client) this.#candidate.fib = e.fib;
      if (e.kind === 'log') this.#port.onEvent(e, client);
      return;
    }
    switch (e.kind) {
      case 'fib':
        if (this.#isWaiting) this.#hold(e.fib);
        else this.#port.toDataplane(e);
        break;
      case 'session':
        if (e.isUp) this.#sessions.add(e.peer);
        else this.#sessions.delete(e.peer);
        break;
      case 'settled':
        this.#release();
        for (const name of this.#inherited) this.#unwatch(name);
        break;
      case 'bfd-watch':
        this.#watched.add(e.name);
        this.#inherited.delete(e.name);
        this.#port.toDataplane(e);
        break;
      case 'bfd-unwatch':
        this.#unwatch(e.name);
        break;
      default:
        this.#port.onEvent(e, client);
    }
  }

  #unwatch(name: string): void {
    this.#watched.delete(name);
    this.#inherited.delete(name);
    this.#port.toDataplane({ kind: 'bfd-unwatch', name });
  }

  #hold(fib: unknown): void {
    this.#held = fib;
    if (this.#isHurried) this.#release();
  }

  #release(): void {
    if (!this.#isWaiting || this.#held === undefined) return;
    this.#isWaiting = false;
    this.#port.toDataplane({ kind: 'fib-replace', fib: this.#held });
    this.#held = undefined;
    const afterS = (systemClock.now() - this.#waitingSince) / 1000;
    this.#log.info('packets go by the new routes', { after_s: afterS, complete: !this.#isHurried });
  }
}

/** Resolves with the FIB of a worker. @throws MlshimError when it ends instead */
function readiness(worker: Worker, client: RoutingClient): Promise<unknown> {
  const failed = new Promise<never>((_, reject) => {
    worker.once('error', (e) => reject(new MlshimError('INTERNAL', `routing worker: ${e.message}`)));
    worker.once('exit', () => reject(new MlshimError('INTERNAL', 'routing worker: ended')));
  });
  return Promise.race([client.ready, failed]);
}
