/**
 * How fast an uplink is right now, and the fastest it was lately, from its counter of octets. What it carried is the least it
 * can carry, so the peak is a lower bound of its capacity; it decays, since lines become slower too. Pure.
 */
import type { Instant } from '../lib/clock.ts';

/** Half of the smoothed rate is younger than this. */
const RATE_HALF_LIFE_MS = 1000;
/** After so long without being reached again, half of a peak is left. */
const PEAK_HALF_LIFE_MS = 600_000;
/** Rates below this, octets per second, are none: nothing that is going to be shared out. */
const IDLE_RATE = 1;

export class CapacityMeter {
  /** Octets per second, smoothed, both directions. */
  rate = 0;
  /** The greatest smoothed rate, decaying; 0 = nothing was carried yet. */
  peak = 0;
  #octets = 0;
  #at: Instant | undefined;

  /** Whether time alone changes the rate: another sample is wanted. */
  get isActive(): boolean {
    return this.rate > 0;
  }

  /** @param octets carried so far, both directions; a smaller number than before is a counter that began anew */
  sample(octets: number, now: Instant): void {
    const before = this.#at;
    const carried = Math.max(0, octets - this.#octets);
    this.#at = now;
    this.#octets = octets;
    if (before === undefined) return;
    const ms = now - before;
    if (ms <= 0) return;
    const current = (carried * 1000) / ms;
    this.rate = current + (this.rate - current) * 0.5 ** (ms / RATE_HALF_LIFE_MS);
    if (this.rate < IDLE_RATE) this.rate = 0;
    this.peak = Math.max(this.rate, this.peak * 0.5 ** (ms / PEAK_HALF_LIFE_MS));
  }
}
