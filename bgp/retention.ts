/**
 * Which routes of a peer outlive the messages that would have withdrawn them: while it restarts, for long after it is gone,
 * and between the two marks of a refresh. One machine per peer and family; marks and timers, no routes of its own.
 * Read first: RFC 4724 §4.2, RFC 8538 §4, RFC 9494 §4.2, RFC 7313 §4. What is marked and swept is done by its host.
 *
 *   idle --down--> away --back--> resync --End-of-RIB--> idle          away: the session is down, its routes are stale
 *                   |  restart time over                               lingering: RFC 9494, with or without a session
 *                   v                                                  resync: the peer is back and tells its table again
 *                lingering --End-of-RIB, or long-lived time over--> idle
 *   idle --BoRR--> refreshing --EoRR--> idle
 */

import type { Instant } from '../router/lib/clock.ts';
import type { Negotiated } from './fsm/negotiate.ts';
import type { FamilyFacts, FamilyName } from './wire/family.ts';

export interface RetentionSettings {
  /** How long stale routes may wait for the peer's End-of-RIB once it is back. */
  readonly staleMs: number;
  /** How long they may wait for the end of a refresh. */
  readonly refreshMs: number;
}

/** What becomes of a peer's routes of one family. */
export interface RetentionHost {
  /** Mark all routes as stale; they stay in use. */
  markStale(family: FamilyName): void;
  /** Stale routes become the last choice, or go where the peer asked for that (RFC 9494 §4.2). */
  makeLongLived(family: FamilyName): void;
  /** Remove what is still stale. */
  sweep(family: FamilyName): void;
  /** Remove everything. */
  drop(family: FamilyName): void;
}

/** What stale routes of a family wait for. */
export type Phase = 'away' | 'resync' | 'lingering' | 'refreshing';

interface State {
  phase: Phase;
  until: number;
  /** What the peer had agreed to when it went away. */
  facts: FamilyFacts | undefined;
}

export class Retention {
  readonly #settings: RetentionSettings;
  readonly #host: RetentionHost;
  readonly #states = new Map<FamilyName, State>();
  #isUp = false;
  /** The peer said in its last OPEN that it had restarted. */
  #hasRestarted = false;

  constructor(settings: RetentionSettings, host: RetentionHost) {
    this.#settings = settings;
    this.#host = host;
  }

  /** Earliest timer, Infinity when none runs. */
  get deadline(): number {
    let earliest = Infinity;
    for (const s of this.#states.values()) earliest = Math.min(earliest, s.until);
    return earliest;
  }

  /** Routes of the peer are kept although there is no session. */
  get isKeeping(): boolean {
    return !this.#isUp && this.#states.size > 0;
  }

  /** The peer restarts: it is away, or is back from that and has not told its table yet. What lingers after that time does not count. */
  get isRestarting(): boolean {
    const phases = [...this.#states.values()].map(({ phase }) => phase);
    return this.#isUp ? this.#hasRestarted && phases.includes('resync') : phases.includes('away');
  }

  /** The peer is back and has not told a family again: what is stale may be gone there. */
  isResyncing(family: FamilyName): boolean {
    const phase = this.#states.get(family)?.phase;
    return this.#isUp && phase !== undefined && phase !== 'refreshing';
  }

  /** What is waited for in each family, and until when; for display. */
  get phases(): readonly { readonly family: FamilyName; readonly phase: Phase; readonly until: number }[] {
    return [...this.#states].map(([family, { phase, until }]) => ({ family, phase, until }));
  }

  /** The session ended; `mayRestart` as the session judged it (RFC 4724, RFC 8538). */
  down(n: Negotiated, mayRestart: boolean, now: Instant): void {
    this.#isUp = false;
    for (const family of n.families) {
      const facts = n.context.families[family]!;
      const before = this.#states.get(family);
      if (!mayRestart || facts.restart === undefined) {
        this.#host.drop(family);
        this.#states.delete(family);
      } else if (before?.phase === 'lingering') {
        // RFC 9494 §4.2: the long-lived timer runs on until a session has been synchronized.
        this.#host.markStale(family);
        this.#host.makeLongLived(family);
      } else {
        // RFC 4724 §4.2: with consecutive restarts, what was stale already is deleted. What a refresh had not come to is not.
        if (before !== undefined && before.phase !== 'refreshing') this.#host.sweep(family);
        this.#host.markStale(family);
        const away: State = { phase: 'away', until: now + n.restart!.timeS * 1000, facts };
        this.#states.set(family, away);
        if (away.until <= now) this.#expired(family, away, now);
      }
    }
  }

  /** A new session is up. */
  back(n: Negotiated, now: Instant): void {
    this.#isUp = true;
    this.#hasRestarted = n.restart?.isRestarting === true;
    for (const [family, state] of this.#states) {
      const facts = n.context.families[family];
      const kept = (state.phase === 'lingering' ? facts?.longLived : facts?.restart)?.keptForwarding ?? false;
      // RFC 4724 §4.2: "if the Forwarding State bit ... is not set in the newly received Graceful Restart Capability, or if
      // a specific address family is not included ... MUST immediately remove all the stale routes".
      if (!kept) this.#finish(family);
      else if (state.phase === 'away') {
        state.phase = 'resync';
        state.until = now + this.#settings.staleMs;
      }
    }
  }

  /** RFC 4724 §2: the peer's table is complete. */
  endOfRib(family: FamilyName): void {
    const phase = this.#states.get(family)?.phase;
    if (phase === 'resync' || phase === 'lingering') this.#finish(family);
  }

  /** The peer begins to tell its table again (BoRR). False when that has no meaning now. */
  refreshBegins(family: FamilyName, now: Instant): boolean {
    const phase = this.#states.get(family)?.phase;
    // RFC 7313 §4: a BoRR before the End-of-RIB of a restart is ignored.
    if (phase !== undefined && phase !== 'refreshing') return false;
    this.#host.markStale(family);
    this.#states.set(family, { phase: 'refreshing', until: now + this.#settings.refreshMs, facts: undefined });
    return true;
  }

  /** The peer has told its table again (EoRR). False when no BoRR came before. */
  refreshEnds(family: FamilyName): boolean {
    if (this.#states.get(family)?.phase !== 'refreshing') return false;
    this.#finish(family);
    return true;
  }

  tick(now: Instant): void {
    for (const [family, state] of this.#states) if (state.until <= now) this.#expired(family, state, now);
  }

  /** The peer is not wanted any more, or its path is dead: nothing is kept. */
  abandon(): void {
    for (const family of this.#states.keys()) this.#host.drop(family);
    this.#states.clear();
  }

  #expired(family: FamilyName, state: State, now: Instant): void {
    const longLivedS = state.phase === 'away' ? (state.facts?.longLived?.staleS ?? 0) : 0;
    if (longLivedS === 0) {
      this.#finish(family);
      return;
    }
    this.#host.makeLongLived(family);
    state.phase = 'lingering';
    state.until = now + longLivedS * 1000;
  }

  #finish(family: FamilyName): void {
    this.#states.delete(family);
    this.#host.sweep(family);
  }
}
