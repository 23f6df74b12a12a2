/**
 * Time, read at the edge only. Cores receive it as an argument.
 * Two scales: `Instant` for control-plane cores (BGP, health, supervisors), `Tick` for the data plane, whose
 * fields are int32 so that storing and passing them allocates nothing.
 */

declare const instant: unique symbol;
/** Milliseconds of a monotonic clock with an arbitrary origin. */
export type Instant = number & { readonly [instant]: true };

/**
 * The data plane's clock reading, taken once per vector.
 * Invariant: both fields are int32 and wrap; compare by subtraction (`(a - b) | 0`), never by `<`.
 */
export interface Tick {
  /** Microseconds, wraps every 71 minutes: for RTT measurements and rates only. */
  readonly us: number;
  /** Milliseconds, wraps every 49 days: for timers. */
  readonly ms: number;
}

/** A `Tick` whose owner moves it: the data-plane loop, or a simulation. */
export class MutableTick implements Tick {
  us = 0;
  ms = 0;

  /** Set both scales from microseconds of a monotonic clock (a float is accepted). */
  set(us: number): void {
    // The remainder keeps the conversion exact for clocks beyond int32.
    this.us = (us % 4294967296) | 0;
    this.ms = ((us / 1000) % 4294967296) | 0;
  }
}

/** A source of time for control-plane edges. */
export interface Clock {
  now(): Instant;
}

/** The process's monotonic clock. */
export const systemClock: Clock = {
  now: () => performance.now() as Instant,
};

/** Wall-clock milliseconds since 1970, for display and file formats only. */
export function wallClockMs(): number {
  return Date.now();
}
