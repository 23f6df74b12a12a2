/** States, settings and defaults of the TCP core. Values only. */
import type { SegmentKey } from './signature.ts';

/** Connection states under Linux's numbers, which TCP_INFO shows to applications. */
export const TcpState = {
  Established: 1,
  SynSent: 2,
  SynReceived: 3,
  FinWait1: 4,
  FinWait2: 5,
  TimeWait: 6,
  Closed: 7,
  CloseWait: 8,
  LastAck: 9,
  Listen: 10,
  Closing: 11,
} as const;

/** Per-connection settings; what is left out has the default below. */
export interface TcpSettings {
  readonly noDelay?: boolean;
  readonly quickAck?: boolean;
  readonly keepAlive?: boolean;
  readonly keepIdleMs?: number;
  readonly keepIntervalMs?: number;
  readonly keepCount?: number;
  readonly userTimeoutMs?: number;
  readonly maxSegment?: number;
  readonly sendBufferMax?: number;
  readonly receiveBufferMax?: number;
  readonly tos?: number;
  readonly ttl?: number;
  readonly synRetries?: number;
  /** Offer window scaling, timestamps, SACK; on unless false. */
  readonly windowScaling?: boolean;
  readonly timestamps?: boolean;
  readonly sack?: boolean;
  /** Sign every segment, and take none that is not signed with it (RFC 2385). */
  readonly key?: SegmentKey | undefined;
  /** Segments that came with a smaller TTL are not the peer's (RFC 5082 §3); looked at by IP. 0 = any. */
  readonly minTtl?: number | undefined;
}

/** What a listener asks of one remote, and gives it. */
export type PeerTerms = Pick<TcpSettings, 'key' | 'minTtl' | 'ttl'>;

export const TcpDefaults = {
  /** RFC 9293 §3.8.4 (MUST-28): no less than two hours. */
  keepIdleMs: 7_200_000,
  keepIntervalMs: 75_000,
  keepCount: 9,
  sendBufferMax: 16 * 1024 * 1024,
  receiveBufferMax: 16 * 1024 * 1024,
  ttl: 64,
  /**
   * SYNs after the first: the last wait ends after 127 s, as on Linux. Deviation: RFC 9293 §3.8.3 asks for 3 minutes.
   * Pinned by test/router/tcp/connection.test.ts.
   */
  synRetries: 6,
  synAckRetries: 5,
  /** Expiries without an ACK before the connection is given up (Linux: tcp_retries2; RFC 9293 §3.8.3, R2). */
  retries: 15,
  /** The same for a connection without owner (Linux: tcp_orphan_retries). */
  orphanRetries: 8,
  /** RFC 9293 §3.4.2: 2 MSL. Deviation: 60 s as Linux, MSL being 30 s; pinned by test/router/tcp/connection.test.ts. */
  timeWaitMs: 60_000,
  /** How long an orphan waits for the peer's FIN (Linux: tcp_fin_timeout). */
  finWait2Ms: 60_000,
  /** RFC 9293 §3.8.6.3: less than 500 ms. */
  delayedAckMs: 40,
  /** A corked partial segment leaves after this (tcp(7)). */
  corkMs: 200,
  /** Half-open connections per listener at least, whatever its backlog. */
  halfOpenMin: 1024,
  halfOpenMax: 4096,
} as const;

/** Octets counted in float64, because they pass 2^31. */
export const Stat = { BytesAcked: 0, BytesReceived: 1, BytesSent: 2, BytesRetransmitted: 3 } as const;
