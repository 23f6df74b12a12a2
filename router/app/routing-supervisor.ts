/**
 * Keeps a routing worker running, on the main thread. One that ends is followed by another, which begins as a restarting
 * speaker (RFC 4724 §4.1): packets go by the FIB of the one before until the successor has said that its own is complete.
 * One that ends again and again is given up.
 */
import { Worker } from 'node:worker_threads';
import { systemClock } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { ToDataplane } from './dataplane-protocol.ts';
import { RoutingClient, type RoutingEvent } from './routing-client.ts';
import type { RoutingBoot } from './routing-protocol.ts';

/** So many ends within this time are no accident. */
const MAX_ENDS = 3;
const ENDS_MS = 60_000;
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
  /** A worker has ended and another one is being started: it is to be told what it must know. */
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
  /** When workers have ended lately. */
  #ends: number[] = [];
  #endedAt: number | undefined;
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

  constructor(port: SupervisorPort, log: Logger) {
    this.#port = port;
    this.#log = log;
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
    this.#spawn(this.#port.boot());
    const worker = this.#worker;
    const failed = new Promise<never>((_, reject) => {
      worker.once('error', (e) => reject(new MlshimError('INTERNAL', `routing worker: ${e.message}`)));
      worker.once('exit', () => reject(new MlshimError('INTERNAL', 'routing worker: ended')));
    });
    return Promise.race([this.#client.ready, failed]);
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
    await (this.#worker as Worker | undefined)?.terminate();
  }

  #spawn(boot: RoutingBoot): void {
    const worker = new Worker(new URL('./routing-worker.js', import.meta.url), { workerData: boot });
    const client = new RoutingClient(worker, (e) => this.#onEvent(e, client));
    this.#worker = worker;
    this.#client = client;
    worker.on('error', (e) => this.#log.error('worker failed', { error: e.stack ?? e.message }));
    worker.on('exit', (code) => this.#onExit(client, code));
  }

  #onExit(client: RoutingClient, code: number): void {
    for (const fd of client.abandon()) this.#port.closeFd(fd);
    if (this.#isStopped) return;
    const now = systemClock.now();
    this.#ends = [...this.#ends.filter((at) => now - at < ENDS_MS), now];
    this.#log.error('worker ended', { code, ...(this.#isServing && { ends: this.#ends.length }) });
    if (!this.#isServing || this.#ends.length >= MAX_ENDS) {
      this.#isStopped = true;
      this.#port.gaveUp();
      return;
    }
    this.#endedAt = now;
    this.#before = [...new Set([...(this.#isWaiting ? this.#before : []), ...this.#sessions])];
    this.#sessions.clear();
    this.#isWaiting = true;
    this.#isHurried = false;
    this.#held = undefined;
    this.#inherited = new Set(this.#watched);
    this.#log.warn('starting another worker; packets go by the routes of before', { code: 'C103' });
    this.#spawn({ ...this.#port.boot(), restart: { peers: this.#before } });
    // When it cannot become ready it ends, and that is heard of above.
    this.#client.ready
      .then((fib) => this.#hold(fib))
      .catch((e: MlshimError) => this.#log.error('worker cannot serve', { error: e.message }));
    this.#port.restarted(this.#client);
  }

  #onEvent(e: RoutingEvent, client: RoutingClient): void {
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
    const afterS = (systemClock.now() - this.#endedAt!) / 1000;
    this.#log.info('packets go by the new routes', { after_s: afterS, complete: !this.#isHurried });
  }
}
