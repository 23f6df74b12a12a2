/**
 * What a speaker does by itself in a turn of the event loop: judge again what ROAs changed, go on with chores, decide,
 * forward and tell, forget attribute sets. All of it in small steps until the turn's time is up, each at least one step, so
 * that nothing waits for something else for long. Whatever concerns a table must be a small step: see bgp/README.md.
 */

import type { Clock, Instant } from '../router/lib/clock.ts';
import type { Chores } from './chores.ts';
import type { AttrTable } from './rib/attrs.ts';
import type { Spread } from './spread.ts';

/** How long one turn works where nobody else says. */
const TURN_MS = 6;
/** Attribute sets forgotten, and prefixes judged again, before the clock is looked at. */
const SWEEP_STEP = 1024;
const JUDGE_STEP = 128;

export interface WorkLoopHost {
  readonly clock: Clock;
  /** `SpeakerOptions.turnEnds` */
  readonly turnEnds: (() => Instant) | undefined;
  readonly chores: Chores;
  readonly spread: Spread;
  readonly attrs: AttrTable;
  /** Routes to be judged again wait. */
  isJudging(): boolean;
  /** Judge those of about so many prefixes. */
  judge(budget: number): void;
  /** RFC 4724 §4.1: nothing is selected yet. */
  isDeferring(): boolean;
  /** Every prefix has been decided. */
  decided(): void;
}

export class WorkLoop {
  readonly #host: WorkLoopHost;
  #isWorking = false;

  constructor(host: WorkLoopHost) {
    this.#host = host;
  }

  /** Something is left for another turn. @param isDeferred selection waits for the end of a restart */
  isPending(isDeferred: boolean): boolean {
    const { chores, spread, attrs } = this.#host;
    return this.#host.isJudging() || !chores.isEmpty || attrs.idle > 0 || (!isDeferred && spread.isPending);
  }

  /** As much as this turn allows; false when it is under way already. */
  run(): boolean {
    if (this.#isWorking) return false;
    this.#isWorking = true;
    const { clock, chores, spread, attrs } = this.#host;
    const began = clock.now();
    const until = this.#host.turnEnds?.() ?? began + TURN_MS;
    const isTimeUp = (): boolean => clock.now() >= until;
    const isHalfTime = (): boolean => clock.now() >= (began + until) / 2;
    while (this.#host.isJudging()) {
      this.#host.judge(JUDGE_STEP);
      if (isHalfTime()) break;
    }
    chores.run(isTimeUp);
    if (!this.#host.isDeferring()) {
      spread.step(isTimeUp);
      if (chores.isEmpty && !spread.isPending) this.#host.decided();
    }
    do attrs.sweep(SWEEP_STEP);
    while (attrs.idle > 0 && !isTimeUp());
    this.#isWorking = false;
    return true;
  }
}
