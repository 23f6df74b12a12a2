/** Work for several at a time in one thread: each gets a slice in turn, and a turn lasts a few milliseconds. */
import type { Clock } from '../router/lib/clock.ts';

export class Rota<T> {
  readonly #clock: Clock;
  readonly #turnMs: number;
  /** Who had the last slice. */
  #last: T | undefined;

  constructor(clock: Clock, turnMs: number) {
    this.#clock = clock;
    this.#turnMs = turnMs;
  }

  /** Give one slice to each of those who wait, beginning behind the last one, until time is up. */
  turn(waiting: readonly T[], slice: (one: T) => void): void {
    const end = this.#clock.now() + this.#turnMs;
    const first = this.#last === undefined ? 0 : waiting.indexOf(this.#last) + 1;
    for (let i = 0; i < waiting.length; i++) {
      const one = waiting[(first + i) % waiting.length]!;
      this.#last = one;
      slice(one);
      if (this.#clock.now() >= end) return;
    }
  }
}
