/** Connects a core's deadlines to one timer of the edge. The only place of bgp that knows that time passes by itself. */

import type { Clock, Instant } from '../router/lib/clock.ts';

/** Something that wants `tick` at `deadline`, and says when its deadline may have changed. */
export interface Driven {
  tick(now: Instant): void;
  deadline(): Instant | undefined;
  onActivity: () => void;
}

/** Call `fire` once after `delayMs`; the result cancels it. */
export type Schedule = (delayMs: number, fire: () => void) => () => void;

/**
 * Keep one timer set to the core's deadline.
 * @returns stops driving
 */
export function drive(core: Driven, clock: Clock, schedule: Schedule): () => void {
  let armedFor: number | undefined;
  let cancel: () => void = () => {};
  const arm = (): void => {
    const at = core.deadline();
    // Activity comes with every packet: a timer that still fires in time is left alone.
    if (at !== undefined && armedFor !== undefined && armedFor <= at) return;
    cancel();
    armedFor = at;
    if (at === undefined) {
      cancel = () => {};
      return;
    }
    cancel = schedule(Math.max(0, Math.ceil(at - clock.now())), () => {
      armedFor = undefined;
      core.tick(clock.now());
      arm();
    });
  };
  core.onActivity = arm;
  arm();
  return () => {
    core.onActivity = () => {};
    cancel();
  };
}
