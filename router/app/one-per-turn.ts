/**
 * Work of which each turn of the event loop does one piece. A message port hands on up to a thousand messages in one turn, also
 * those that the answers to the first bring about: a client that asks for part after part would hold up timers and sessions.
 */
export class OnePerTurn<T> {
  readonly #work: (item: T) => void;
  readonly #immediate: (turn: () => void) => void;
  readonly #waiting: T[] = [];

  /** @param immediate calls what it is given once, in the next turn */
  constructor(work: (item: T) => void, immediate: (turn: () => void) => void) {
    this.#work = work;
    this.#immediate = immediate;
  }

  add(item: T): void {
    if (this.#waiting.push(item) === 1) this.#immediate(this.#turn);
  }

  readonly #turn = (): void => {
    try {
      this.#work(this.#waiting[0]!);
    } finally {
      this.#waiting.shift();
      if (this.#waiting.length > 0) this.#immediate(this.#turn);
    }
  };
}
