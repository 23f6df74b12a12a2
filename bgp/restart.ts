/**
 * Our own restart: which peers are waited for before the first routes are selected, so that the FIB we left behind is not
 * replaced by half a table. Read first: RFC 4724 §4.1.
 */

import type { Instant } from '../router/lib/clock.ts';
import type { Peer, RestartSettings } from './peer.ts';

/** A speaker that begins where another one left off. */
export interface Restarting {
  /** The sink still forwards by the routes of before; it hears `settled` when ours are complete. */
  readonly keptForwarding: boolean;
  /** RFC 4724 §4.1 Selection_Deferral_Timer; default the restart time. */
  readonly deferralMs?: number;
  /** Names of peers whose routes were in use before: others are not waited for. All are when this is missing. */
  readonly peers?: ReadonlySet<string>;
}

/** Times as they are configured. */
export type RestartTimes = Partial<Omit<RestartSettings, 'keptForwarding'>>;

const DEFAULTS = { restartTimeS: 120, staleTimeS: 360, longLivedS: 0 } as const;

export function restartSettings(
  configured: RestartTimes | undefined,
  restarting: Restarting | undefined,
): RestartSettings {
  return { ...DEFAULTS, ...configured, keptForwarding: restarting?.keptForwarding ?? false };
}

/** Our restart while it goes on; over from the beginning when there is none. */
export class OwnRestart {
  readonly #names: ReadonlySet<string> | undefined;
  #phase: 'deferring' | 'settling' | 'over';
  #until: number;

  constructor(r: Restarting | undefined, settings: RestartSettings, now: Instant) {
    this.#names = r?.peers;
    this.#phase = r === undefined ? 'over' : 'deferring';
    this.#until = now + (r?.deferralMs ?? settings.restartTimeS * 1000);
  }

  /** Routes are not selected yet. */
  get isDeferring(): boolean {
    return this.#phase === 'deferring';
  }

  /** When selection begins at the latest; Infinity when it has begun. */
  get deadline(): number {
    return this.isDeferring ? this.#until : Infinity;
  }

  /** RFC 4724 §4.1: routes are selected when all peers have told theirs, or when the timer fires. */
  maySelect(peers: Iterable<Peer>, now: Instant): boolean {
    if (!this.isDeferring) return true;
    if (now < this.#until)
      for (const peer of peers) if (this.#names?.has(peer.config.name) !== false && isAwaited(peer)) return false;
    this.#phase = 'settling';
    return true;
  }

  /** Every prefix has been decided. @returns whether that ends the restart */
  decided(): boolean {
    if (this.#phase !== 'settling') return false;
    this.#phase = 'over';
    return true;
  }
}

function isAwaited(peer: Peer): boolean {
  if (!peer.session.isEnabled) return false; // shut down, or its uplink is
  const n = peer.session.negotiated;
  if (n === undefined) return true;
  // "excluding the ones that have the Restart State bit set" and "the ones that do not advertise the capability".
  if (n.restart === undefined || n.restart.isRestarting) return false;
  return n.families.some((family) => !peer.endOfRibs.has(family));
}

/** Whether a peer keeps what we told it when we restart without a word: both have said so (RFC 4724 §4.2). */
export function keepsRoutes({ config, session }: Peer): boolean {
  return config.gracefulRestart === true && session.negotiated?.restart !== undefined;
}
