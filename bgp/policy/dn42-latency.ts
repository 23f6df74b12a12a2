/**
 * The latency of a link as its neighbours are told: an average over hours that changes its class rarely. The wiki asks to
 * measure about 12 hours before a latency community changes, because every change is an UPDATE for the whole network.
 */

import type { Instant } from '../../router/lib/clock.ts';
import { LATENCY_LIMITS_MS, latencyClass } from './dn42.ts';

/** Round trips after which a first value is told. */
const FIRST_SAMPLES = 5;
/** The average must lie beyond a limit by this factor before the class changes. */
const MARGIN = 1.1;

export class LatencyMeter {
  readonly #windowMs: number;
  #averageMs = 0;
  #samples = 0;
  #lastAt = 0;
  #class: number | undefined;
  #changedAt = 0;

  /** @param windowS how far back the average reaches */
  constructor(windowS: number) {
    this.#windowMs = windowS * 1000;
  }

  /** The community of the link, 1 to 9; undefined before there are enough measurements. */
  get class(): number | undefined {
    return this.#class;
  }

  get averageMs(): number | undefined {
    return this.#samples === 0 ? undefined : this.#averageMs;
  }

  /**
   * One round trip took `ms`.
   * @returns whether `class` is another now
   */
  add(ms: number, now: Instant): boolean {
    this.#samples++;
    // The plain mean until the window is full, then one that forgets by time.
    const byTime = this.#samples === 1 ? 1 : 1 - Math.exp(-(now - this.#lastAt) / this.#windowMs);
    this.#averageMs += (ms - this.#averageMs) * Math.max(byTime, this.#weightOfFirst());
    this.#lastAt = now;
    if (this.#samples < FIRST_SAMPLES) return false;
    const next = latencyClass(this.#averageMs);
    if (this.#class === undefined) return this.#change(next, now);
    if (next === this.#class || now - this.#changedAt < this.#windowMs || !this.#isBeyond(next)) return false;
    return this.#change(next, now);
  }

  #weightOfFirst(): number {
    return this.#samples < FIRST_SAMPLES * 20 ? 1 / this.#samples : 0;
  }

  /** The average has left the current class by more than the margin. */
  #isBeyond(next: number): boolean {
    if (next > this.#class!) return this.#averageMs > LATENCY_LIMITS_MS[this.#class! - 1]! * MARGIN;
    return this.#averageMs < LATENCY_LIMITS_MS[this.#class! - 2]! / MARGIN;
  }

  #change(next: number, now: Instant): boolean {
    this.#class = next;
    this.#changedAt = now;
    return true;
  }
}
