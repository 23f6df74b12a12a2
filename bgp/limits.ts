/**
 * How many prefixes a peer may announce, in each family, and when that is worth a word.
 * Read first: RFC 4271 §6.7 (maximum prefix), RFC 4486 §4. Counts and compares; the speaker acts.
 */

import type { FamilyName } from './wire/family.ts';

/** A limit on the prefixes of one family. */
export interface MaxPrefixes {
  readonly limit: number;
  /** Percent of the limit from which a warning is given; default 75. */
  readonly warnAt?: number;
  /**
   * What happens above the limit: a warning, the end of the session until it is begun again after `restartAfterMs` (default:
   * the usual pauses, which grow), or its end until an operator says `up`. Default `restart`.
   */
  readonly action?: 'warn' | 'restart' | 'down';
  readonly restartAfterMs?: number;
  /** Whether prefixes that import policy refuses count as well; default `accepted`. */
  readonly count?: 'accepted' | 'received';
}

const DEFAULT_WARN_PERCENT = 75;

/** What a count has just become. */
export type Crossing = 'near' | 'exceeded';

export class PrefixLimit {
  readonly limit: number;
  readonly settings: MaxPrefixes;
  readonly #warnAbove: number;
  readonly #level = new Map<FamilyName, Crossing | undefined>();

  constructor(config: number | MaxPrefixes) {
    this.settings = typeof config === 'number' ? { limit: config } : config;
    this.limit = this.settings.limit;
    this.#warnAbove = (this.limit * (this.settings.warnAt ?? DEFAULT_WARN_PERCENT)) / 100;
  }

  /** The limit that was crossed by a count since the last call; undefined when none was. */
  crossed(family: FamilyName, count: number): Crossing | undefined {
    const level = count > this.limit ? 'exceeded' : count >= this.#warnAbove ? 'near' : undefined;
    const before = this.#level.get(family);
    this.#level.set(family, level);
    return level === before || (level === 'near' && before === 'exceeded') ? undefined : level;
  }

  /** A new session begins with nothing. */
  reset(): void {
    this.#level.clear();
  }
}
