/** Counters looked at twice, so that `status` can tell rates: the second time now, the first a useful time ago. */
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../lib/clock.ts';

/** Rates are measured over at least this time. */
const RATE_MS = 200;
/** What was looked at longer ago says nothing of the present. */
const FRESH_MS = 3000;

export class RateSamples<T extends { readonly atMs: number }> {
  readonly #take: () => T | Promise<T>;
  #last: T | undefined;

  constructor(take: () => T | Promise<T>) {
    this.#take = take;
  }

  async pair(): Promise<{ readonly before: T; readonly now: T }> {
    let before = this.#last;
    const isFresh = before !== undefined && systemClock.now() - before.atMs < FRESH_MS;
    if (before === undefined || !isFresh) {
      before = await this.#take();
      await sleep(RATE_MS);
    }
    const now = await this.#take();
    // Two questions shortly after one another are both answered over a useful time.
    if (!isFresh || now.atMs - before.atMs >= RATE_MS) this.#last = now;
    return { before, now };
  }
}
