/** The main thread's side of the routing worker: questions and their answers, and what the worker tells by itself. */
import type { BirdCommand } from '../birdctl/command.ts';
import type { Answers } from '../control/messages.ts';
import { ERRORS, type ErrorCode, MlshimError } from '../lib/errors.ts';
import { posted } from '../lib/post.ts';
import type { BfdReport } from './bfd-status.ts';
import type { BirdPart, BirdPosition } from './bird-answers.ts';
import type {
  FromRouting,
  RoutingBoot,
  RoutingQuery,
  RoutingSummary,
  RoutingVerb,
  ToRouting,
  WorkerQuery,
} from './routing-protocol.ts';

/** What the worker tells by itself. */
export type RoutingEvent = Exclude<
  FromRouting,
  { readonly kind: 'answer' | 'ready' | 'failed' | 'stopped' | 'stream-taken' }
>;

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (e: Error) => void;
  readonly timer: NodeJS.Timeout | undefined;
}

/** Who asks gives up after 10 s (control/client.ts) and should hear before who is silent. */
const ANSWER_MS = 9000;

/** Of a worker what is needed here. */
interface Channel {
  on(event: 'message', heard: (m: FromRouting) => void): unknown;
  postMessage(m: ToRouting): void;
}

export class RoutingClient {
  /** The FIB's shared state, when the worker is ready. Rejects with the MlshimError for which it cannot be. */
  readonly ready: Promise<unknown>;
  /** The BGP sessions have ended after `stop`. */
  readonly stopped: Promise<void>;
  readonly #worker: Channel;
  readonly #limitMs: number;
  readonly #waiting = new Map<number, Waiting>();
  /** Descriptors on their way to the worker. */
  readonly #handed = new Set<number>();
  #nextId = 1;
  #isGone = false;

  /** @param limitMs how long an answer may take */
  constructor(worker: Channel, onEvent: (event: RoutingEvent) => void, limitMs: number = ANSWER_MS) {
    this.#worker = worker;
    this.#limitMs = limitMs;
    let ready: (fib: unknown) => void = () => undefined;
    let failed: (e: MlshimError) => void = () => undefined;
    let stopped: () => void = () => undefined;
    this.ready = new Promise((resolve, reject) => {
      ready = resolve;
      failed = reject;
    });
    this.stopped = new Promise((resolve) => {
      stopped = resolve;
    });
    worker.on('message', (m: FromRouting) => {
      if (m.kind === 'ready') ready(m.fib);
      else if (m.kind === 'failed') failed(new MlshimError(m.code, m.message));
      else if (m.kind === 'stopped') stopped();
      else if (m.kind === 'stream-taken') this.#handed.delete(m.fd);
      else if (m.kind === 'answer') this.#answered(m);
      else onEvent(m);
    });
  }

  send(message: ToRouting): void {
    if ((message.kind === 'stream-opened' || message.kind === 'stream-accepted') && message.fd >= 0)
      this.#handed.add(message.fd);
    this.#worker.postMessage(message);
  }

  ask<V extends RoutingVerb>(query: Extract<RoutingQuery, { readonly verb: V }>): Promise<Answers[V]> {
    return this.#query(query) as Promise<Answers[V]>;
  }

  summary(): Promise<RoutingSummary> {
    return this.#query({ verb: 'summary' }) as Promise<RoutingSummary>;
  }

  hostBfd(): Promise<BfdReport> {
    return this.#query({ verb: 'host_bfd' }) as Promise<BfdReport>;
  }

  /** A command of BIRD's control socket, or the rest of its reply. */
  bird(command: BirdCommand, from: BirdPosition | undefined): Promise<BirdPart> {
    return this.#query({ verb: 'bird', command: posted(command), from }) as Promise<BirdPart>;
  }

  /** @throws MlshimError CONFIG_INVALID when it cannot be done; nothing has changed then */
  async reload(boot: RoutingBoot): Promise<void> {
    await this.#query({ verb: 'reload', boot }, Infinity);
  }

  /** Whether the worker does not answer within this time. One that has ended does not hang. */
  hangs(withinMs: number): Promise<boolean> {
    return this.#answerTo((id) => ({ kind: 'roll-call', id }), withinMs).then(
      () => false,
      (e: MlshimError) => e.code === 'TIMEOUT',
    );
  }

  /** The worker is gone: nobody will answer. @returns descriptors it has not taken, now the caller's */
  abandon(): readonly number[] {
    this.#isGone = true;
    for (const w of this.#waiting.values()) {
      clearTimeout(w.timer);
      w.reject(gone());
    }
    this.#waiting.clear();
    const untaken = [...this.#handed];
    this.#handed.clear();
    return untaken;
  }

  #query(query: WorkerQuery, limitMs = this.#limitMs): Promise<unknown> {
    return this.#answerTo((id) => ({ kind: 'query', id, query }), limitMs);
  }

  #answerTo(question: (id: number) => ToRouting, limitMs: number): Promise<unknown> {
    if (this.#isGone) return Promise.reject(gone());
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = limitMs === Infinity ? undefined : setTimeout(() => this.#isLate(id), limitMs).unref();
      this.#waiting.set(id, { resolve, reject, timer });
      this.send(question(id));
    });
  }

  #isLate(id: number): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    const words = 'the routing worker does not answer; mlshim down stops the router all the same';
    waiting?.reject(new MlshimError('TIMEOUT', words));
  }

  #answered(m: Extract<FromRouting, { readonly kind: 'answer' }>): void {
    const waiting = this.#waiting.get(m.id);
    this.#waiting.delete(m.id);
    clearTimeout(waiting?.timer);
    if (m.failure === undefined) waiting?.resolve(m.answer);
    else {
      const code = m.failure.code in ERRORS ? (m.failure.code as ErrorCode) : 'INTERNAL';
      waiting?.reject(new MlshimError(code, m.failure.message));
    }
  }
}

function gone(): MlshimError {
  return new MlshimError('ROUTING_RESTARTED', 'the routing worker ended');
}
