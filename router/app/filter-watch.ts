/**
 * Notices filter functions that do not end. The thread that such a function holds cannot say so: it marks each question in memory
 * that it shares with the main thread, which looks from time to time whether the same question is still open.
 */
import type { RouteFunction } from '../../bgp/speaker.ts';
import { systemClock } from '../lib/clock.ts';

/** How long a function may think about one route. */
export const FILTER_LIMIT_MS = 5000;

/** Words of the shared memory: questions asked so far, and the number of the function that is being asked, 0 = none. */
const ASKED = 0;
const RUNNING = 1;

/** What a worker is told of the watch over its functions. */
export interface FilterWatchBoot {
  readonly marks: Int32Array<SharedArrayBuffer>;
  /** Keys of functions that did not end in an earlier worker. */
  readonly endless: readonly string[];
}

/** Of a function: the same name in another version of its module is another function. */
export function filterKey(digest: string, name: string): string {
  return `${name} ${digest}`;
}

/** The worker's side. */
export class FilterMarks {
  readonly #boot: FilterWatchBoot;
  readonly #tell: (number: number, key: string) => void;
  #functions = 0;

  /** @param tell the main thread has to know which function a number stands for */
  constructor(boot: FilterWatchBoot, tell: (number: number, key: string) => void) {
    this.#boot = boot;
    this.#tell = tell;
  }

  /** The function under watch; one that did not end before fails at once. */
  watched(key: string, ask: RouteFunction): RouteFunction {
    const { marks, endless } = this.#boot;
    if (endless.includes(key)) {
      const words = `it did not end within ${FILTER_LIMIT_MS / 1000} s and is not asked again before its module changes`;
      return () => {
        throw Object.assign(new Error(words), { stack: '' }); // its place would be ours
      };
    }
    const number = ++this.#functions;
    this.#tell(number, key);
    return (route, peer) => {
      Atomics.add(marks, ASKED, 1);
      Atomics.store(marks, RUNNING, number);
      try {
        return ask(route, peer);
      } finally {
        Atomics.store(marks, RUNNING, 0);
      }
    };
  }
}

/** The main thread's side, for one worker. */
export class FilterWatch {
  readonly marks = new Int32Array(new SharedArrayBuffer(8));
  readonly #keys = new Map<number, string>();
  readonly #timer: NodeJS.Timeout;
  #asked = 0;
  #since = systemClock.now();

  /** @param found called once, with the key of the function */
  constructor(limitMs: number, found: (key: string) => void) {
    this.#timer = setInterval(() => {
      const number = this.#stuck(limitMs);
      if (number === undefined) return;
      this.stop();
      found(this.#keys.get(number) ?? String(number));
    }, limitMs / 5);
    this.#timer.unref();
  }

  /** Which function a number stands for. */
  know(number: number, key: string): void {
    this.#keys.set(number, key);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** The function that has been thinking about one route for too long. */
  #stuck(limitMs: number): number | undefined {
    const asked = Atomics.load(this.marks, ASKED);
    const running = Atomics.load(this.marks, RUNNING);
    const now = systemClock.now();
    if (running === 0 || asked !== this.#asked) {
      this.#asked = asked;
      this.#since = now;
      return undefined;
    }
    return now - this.#since < limitMs ? undefined : running;
  }
}
