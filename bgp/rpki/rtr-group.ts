/**
 * Chooses which caches are used: all of the best preference together, those of the next one while the former fail.
 * Read first: RFC 8210 §10. Starts and stops clients; what they load and send is their driver's job.
 */

/** What is asked of a cache's client. */
export interface GroupMember {
  /** Lower is better. */
  readonly preference: number;
  readonly isRunning: boolean;
  /** The last attempt failed, and none has succeeded since. */
  readonly isFailing: boolean;
  /** It is connected and its data complete. */
  readonly isSynchronized: boolean;
}

/**
 * Whether each cache should run now: those of the best preference; of worse ones while all better ones fail; a stand-in
 * goes on until a better one is complete again.
 */
export function wanted(members: readonly GroupMember[]): boolean[] {
  const levels = [...new Set(members.map((m) => m.preference))].sort((a, b) => a - b);
  let last = levels[0] ?? 0;
  for (const level of levels) {
    const here = members.filter((m) => m.preference === level);
    last = level;
    if (here.some((m) => m.isSynchronized)) break;
    const next = levels[levels.indexOf(level) + 1];
    const isStandingIn = members.some((m) => m.preference > level && m.isRunning);
    if (next === undefined || (!here.every((m) => m.isFailing) && !isStandingIn)) break;
  }
  return members.map((m) => m.preference <= last);
}
