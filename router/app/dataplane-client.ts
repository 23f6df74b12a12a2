/** The main thread's side of the data-plane worker: posts messages and wakes it, matches replies to requests. */
import type { Worker } from 'node:worker_threads';
import type { Native } from '../native/index.ts';
import type { FromDataplane, ToDataplane } from './dataplane-protocol.ts';

type WithId = Extract<ToDataplane, { readonly id: number }>;
/** A request as its sender writes it: the id is given here. */
export type DataplaneRequest = WithId extends infer M ? (M extends unknown ? Omit<M, 'id'> : never) : never;

export interface DataplaneReply {
  readonly result: unknown;
  /** Positive Linux errno, 0 = none. */
  readonly errno: number;
}

type Event = Exclude<FromDataplane, { readonly kind: 'reply' }>;

export class DataplaneClient {
  /** Resolves when the worker's loop runs. */
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #native: Native;
  readonly #wakeFd: number;
  readonly #waiting = new Map<number, (reply: DataplaneReply) => void>();
  #nextId = 1;
  #isReady: () => void = () => undefined;

  /** @param onEvent gets everything that is not a reply */
  constructor(worker: Worker, native: Native, wakeFd: number, onEvent: (event: Event) => void) {
    this.#worker = worker;
    this.#native = native;
    this.#wakeFd = wakeFd;
    this.ready = new Promise((resolve) => {
      this.#isReady = resolve;
    });
    worker.on('message', (m: FromDataplane) => {
      if (m.kind === 'ready') this.#isReady();
      if (m.kind !== 'reply') {
        onEvent(m);
        return;
      }
      this.#waiting.get(m.id)?.({ result: m.result, errno: m.errno ?? 0 });
      this.#waiting.delete(m.id);
    });
  }

  send(message: ToDataplane): void {
    this.#worker.postMessage(message);
    this.#native.signal(this.#wakeFd);
  }

  /** Post a request; returns its id, which later events of it carry, and its reply. */
  request(message: DataplaneRequest): { readonly id: number; readonly reply: Promise<DataplaneReply> } {
    const id = this.#nextId++;
    const reply = new Promise<DataplaneReply>((resolve) => this.#waiting.set(id, resolve));
    this.send({ ...message, id } as ToDataplane);
    return { id, reply };
  }

  /** The worker is gone: nobody will answer. */
  abandon(): void {
    for (const answer of this.#waiting.values()) answer({ result: undefined, errno: ECANCELED });
    this.#waiting.clear();
  }
}

const ECANCELED = 125;
