/**
 * Work on whole tables, done in slices so that the event loop is never held for long: a million routes of a peer that is
 * gone, a change of policy. What is waiting is done in the order it came; sessions and changes go on in between.
 */

/** Something that takes many small steps. */
export interface Chore {
  /**
   * Go on by about so many routes.
   * @returns whether it is done
   */
  step(budget: number): boolean;
}

/** Routes of one step: well below a millisecond. */
const STEP = 512;
/** Steps of one turn at most, where time does not pass (tests). */
const MOST_STEPS = 128;

export class Chores {
  readonly #waiting = new Map<string, Chore>();

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Have something done; what waits under the same key is dropped, because the new one begins anew. */
  add(key: string, chore: Chore): void {
    this.#waiting.delete(key);
    this.#waiting.set(key, chore);
  }

  /** Work until everything is done or the time is up. */
  run(isTimeUp: () => boolean): void {
    let steps = 0;
    for (const [key, chore] of this.#waiting) {
      let isDone = false;
      while (!isDone) {
        if (steps++ === MOST_STEPS || isTimeUp()) return;
        isDone = chore.step(STEP);
      }
      // The same key may have come again meanwhile.
      if (this.#waiting.get(key) === chore) this.#waiting.delete(key);
    }
  }
}
