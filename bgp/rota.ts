/** Work for several at a time in one thread: each gets a slice in turn, as many as the time allows. */
export class Rota<T> {
  /** Who had the last slice. */
  #last: T | undefined;

  /** Give one slice to each of those who wait, beginning behind the last one, until time is up; at least one gets on. */
  turn(waiting: readonly T[], slice: (one: T) => void, isTimeUp: () => boolean): void {
    const first = this.#last === undefined ? 0 : waiting.indexOf(this.#last) + 1;
    for (let i = 0; i < waiting.length; i++) {
      const one = waiting[(first + i) % waiting.length]!;
      this.#last = one;
      slice(one);
      if (isTimeUp()) return;
    }
  }
}
