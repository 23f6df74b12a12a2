/**
 * Whether a WireGuard tunnel carries anything, by the age of its handshakes, for uplinks without probes: its counters in, a
 * verdict out. Where nothing is sent no handshake is due, so an old one alone says nothing; one that is too old while packets
 * are being sent and nothing comes back does. Pure. Constants are those of WireGuard (its paper, section 6).
 */
import type { Instant } from '../lib/clock.ts';

export interface TunnelPeer {
  /** Milliseconds since the latest handshake; undefined = there was none. */
  readonly handshakeAgeMs: number | undefined;
  readonly rxBytes: number;
  /** With handshakes that are tried, so that a packet which waits for one counts as sent. */
  readonly txBytes: number;
}

/** A session of this age is not used any more: REJECT_AFTER_TIME. */
export const REJECT_AFTER_MS = 180_000;
/** A handshake that is not answered is tried again after REKEY_TIMEOUT; two of them and a little are patience enough. */
const REKEY_TIMEOUT_MS = 5000;
const PATIENCE_MS = 2 * REKEY_TIMEOUT_MS + 1000;

interface Watched {
  rxBytes: number;
  txBytes: number;
  /** Since when what is sent stays without an answer; undefined = it does not. */
  silentSince: number | undefined;
}

export class TunnelWatch {
  readonly #peers: Watched[] = [];

  /** @param peers always in the same order. @returns whether it carries packets, as far as can be told */
  sample(peers: readonly TunnelPeer[], now: Instant): boolean {
    let dead = 0;
    let alive = 0;
    this.#peers.length = Math.min(this.#peers.length, peers.length);
    for (const [i, peer] of peers.entries()) {
      const known = (this.#peers[i] ??= { rxBytes: peer.rxBytes, txBytes: peer.txBytes, silentSince: undefined });
      const isHeard = peer.rxBytes !== known.rxBytes;
      if (isHeard) known.silentSince = undefined;
      else if (peer.txBytes !== known.txBytes) known.silentSince ??= now;
      known.rxBytes = peer.rxBytes;
      known.txBytes = peer.txBytes;
      const isFresh = peer.handshakeAgeMs !== undefined && peer.handshakeAgeMs < REJECT_AFTER_MS;
      if (isFresh) alive++;
      else if (known.silentSince !== undefined && now - known.silentSince >= PATIENCE_MS) dead++;
    }
    // One peer that answers is a way out; which peer a packet takes is the tunnel's own business.
    return alive > 0 || dead === 0;
  }
}
