/**
 * What one BMP station is told: all sessions and their routes when it connects, then whatever happens.
 * Read first: RFC 7854 §3.3 (life of a BMP session), §5 (initial dump), §8. Does not know sockets; the edge connects,
 * writes, and lets `pump` go on while the station keeps up.
 */

import { Addr } from '../../router/lib/addr.ts';
import type { SessionEnd } from '../fsm/session.ts';
import {
  type BmpPeer,
  type BmpStatistics,
  initiation,
  peerDown,
  peerUp,
  routeMonitoring,
  statistics,
  TerminationReason,
  termination,
} from '../wire/bmp.ts';
import type { Monitor, MonitoredSession } from './monitor.ts';

export interface BmpSources {
  readonly systemName: string;
  readonly description: string;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  /** Established sessions. */
  readonly sessions: () => Iterable<MonitoredSession>;
  /** UPDATE messages with everything a peer has sent, in small portions, End-of-RIB last (Adj-RIB-In before policy). */
  readonly routes: (peer: string) => Iterator<readonly Uint8Array[]>;
  readonly statistics: (peer: string) => BmpStatistics | undefined;
}

interface Dump {
  readonly session: MonitoredSession;
  readonly portions: Iterator<readonly Uint8Array[]>;
}

export class BmpFeed implements Monitor {
  readonly #sources: BmpSources;
  #write: ((octets: Uint8Array) => void) | undefined;
  #dumps: Dump[] = [];

  constructor(sources: BmpSources) {
    this.#sources = sources;
  }

  /** Something is left for `pump`. */
  get hasWork(): boolean {
    return this.#dumps.length > 0;
  }

  /** A station listens. */
  connected(write: (octets: Uint8Array) => void): void {
    this.#write = write;
    const { systemName, description, sessions, routes } = this.#sources;
    write(initiation(systemName, description));
    this.#dumps = [];
    for (const session of sessions()) {
      this.up(session);
      this.#dumps.push({ session, portions: routes(session.peer) });
    }
  }

  /** The station is gone. */
  disconnected(): void {
    this.#write = undefined;
    this.#dumps = [];
  }

  /** Tell one more portion of the tables. What changes meanwhile is told as it happens, so the order does not matter. */
  pump(): void {
    const [dump] = this.#dumps;
    if (dump === undefined) return;
    const { done, value } = dump.portions.next();
    if (done === true) this.#dumps.shift();
    else for (const update of value) this.received(dump.session, update);
  }

  /** RFC 7854 §8.2: statistics of every session; when to send them is the edge's choice. */
  report(): void {
    for (const session of this.#sources.sessions()) {
      const counts = this.#sources.statistics(session.peer);
      if (counts !== undefined) this.#write?.(statistics(headerOf(session), this.#sources.wallMs(), counts));
    }
  }

  /** Say goodbye; the edge closes. */
  finish(): void {
    this.#write?.(termination(TerminationReason.AdministrativelyClosed));
    this.disconnected();
  }

  up(s: MonitoredSession): void {
    const local = { address: s.local ?? unspecified(s.address), port: 0, remotePort: s.port };
    this.#write?.(peerUp(headerOf(s), this.#sources.wallMs(), local, s.sentOpen, s.receivedOpen));
  }

  down(s: MonitoredSession, end: SessionEnd): void {
    this.#dumps = this.#dumps.filter((d) => d.session !== s);
    this.#write?.(peerDown(headerOf(s), this.#sources.wallMs(), end));
  }

  received(s: MonitoredSession, update: Uint8Array): void {
    this.#write?.(routeMonitoring(headerOf(s), this.#sources.wallMs(), update));
  }
}

function headerOf(s: MonitoredSession): BmpPeer {
  return {
    address: s.address,
    asn: s.negotiated.peerAs,
    identifier: s.negotiated.peer.identifier,
    isPostPolicy: false,
    hasTwoOctetAs: !s.negotiated.context.fourOctetAs,
  };
}

function unspecified(like: Addr): Addr {
  return like.family === 4 ? Addr.v4(0) : Addr.v6(0, 0, 0, 0);
}
