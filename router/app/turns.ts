/**
 * How long a thread's event loop is held: from the first callback that does work to the point where the loop looks at its
 * timers and messages again. Costs nothing while nothing happens (a sampling timer would wake an idle thread).
 */
import { systemClock } from '../lib/clock.ts';

/** What hold timers and the control socket bear without anybody noticing. */
const LONG_MS = 20;
/** The longest turn is that of the last one or two windows. */
const WINDOW_MS = 30_000;

export class Turns {
  #isOpen = false;
  #long = 0;
  #windowEnds = 0;
  #inWindow = 0;
  #inLast = 0;

  /** Call at the beginning of each callback. */
  begin(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    const began = systemClock.now();
    // Immediates run once the callbacks that are due have run.
    setImmediate(() => {
      this.#isOpen = false;
      this.#add(systemClock.now() - began);
    });
  }

  /** For `status`: O(1), and reading changes nothing. */
  counters(): { readonly routing_turn_max_ms: number; readonly routing_turns_over_20ms: number } {
    this.#turnWindow(systemClock.now());
    return { routing_turn_max_ms: Math.max(this.#inWindow, this.#inLast), routing_turns_over_20ms: this.#long };
  }

  #add(ms: number): void {
    this.#turnWindow(systemClock.now());
    this.#inWindow = Math.max(this.#inWindow, ms);
    if (ms > LONG_MS) this.#long++;
  }

  #turnWindow(now: number): void {
    if (now < this.#windowEnds) return;
    this.#inLast = now < this.#windowEnds + WINDOW_MS ? this.#inWindow : 0;
    this.#inWindow = 0;
    this.#windowEnds = now + WINDOW_MS;
  }
}

/** Each thread loads this module for itself and has one event loop. */
export const turns = new Turns();
