/**
 * How many things to do before the clock is looked at: code that was not compiled yet, or memory that was not touched
 * yet, makes the same thing cost ten times as much as a second later, and a turn of the event loop is to end in time then too.
 */

/** A step should take about so long: a fraction of a turn. */
const STEP_MS = 1.5;
/** What a step begins with. */
const LEAST = 32;

export class Pace {
  readonly #most: number;
  readonly #shrinks: boolean;
  #count = LEAST;

  /**
   * @param most things of one step, however cheap they are
   * @param shrinks false for what is better done in large steps, and slow because of its code in the beginning alone
   */
  constructor(most: number, shrinks = true) {
    this.#most = most;
    this.#shrinks = shrinks;
  }

  /** Things of the next step. */
  get count(): number {
    return this.#count;
  }

  /** A step of `count` things took so long. */
  took(ms: number): void {
    if (this.#shrinks && ms > 2 * STEP_MS) this.#count = Math.max(LEAST, this.#count >>> 1);
    else if (ms < STEP_MS) this.#count = Math.min(this.#most, this.#count * 2);
  }
}
