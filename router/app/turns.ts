/**
 * How long a thread's event loop is held: from the first callback that does work to the point where the loop looks at its
 * timers and messages again. Costs nothing while nothing happens (a sampling timer would wake an idle thread).
 * Whoever works in slices asks here how long he may go on: readers, speakers and the FIB share each turn.
 */
import type { Schedule } from '../../bgp/speaker.ts';
import { type Instant, systemClock } from '../lib/clock.ts';

/** What hold timers and the control socket bear without anybody noticing. */
const LONG_MS = 20;
/** Work in slices of one turn together. Garbage collection and what cannot be cut come on top. */
const WORK_MS = 4;
/** Most of it for one speaker, of which there may be several. */
const SPEAKER_MS = 3;
/** The longest turn is that of the last one or two windows. */
const WINDOW_MS = 30_000;

export class Turns {
  #isOpen = false;
  #began = 0;
  #long = 0;
  #windowEnds = 0;
  #inWindow = 0;
  #inLast = 0;

  /** Call at the beginning of each callback. */
  begin(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    const began = systemClock.now();
    this.#began = began;
    // Immediates run once the callbacks that are due have run.
    setImmediate(() => {
      this.#isOpen = false;
      this.#add(systemClock.now() - began);
    });
  }

  /**
   * Until when work in slices may go on that begins now: for `mostMs`, less when the turn has had its share, but at least
   * for `leastMs`, so that everybody gets on in every turn.
   */
  until(mostMs: number, leastMs: number): Instant {
    const now = systemClock.now();
    const left = this.#isOpen ? this.#began + WORK_MS - now : WORK_MS;
    return (now + Math.max(leastMs, Math.min(mostMs, left))) as Instant;
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

/** Until when a speaker may work that begins to now (`SpeakerOptions.turnEnds`). */
export const speakerTurnEnds = (): Instant => turns.until(SPEAKER_MS, 0);

/** Timers for `drive`. Work that goes on follows at once, after whatever else is due. */
export const schedule: Schedule = (delayMs, fire) => {
  const due = (): void => {
    turns.begin();
    fire();
  };
  if (delayMs === 0) {
    const immediate = setImmediate(due);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(due, delayMs);
  return () => clearTimeout(timer);
};
