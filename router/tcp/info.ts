/**
 * The figures behind getsockopt(TCP_INFO) and `mlshim status`, read from a connection when somebody asks. Names follow
 * Linux's struct tcp_info; counts of segments are derived from octets, since the core keeps octets.
 */
import type { TcpConnection } from './connection.ts';
import { Stat } from './settings.ts';

export class TcpInfo {
  readonly #c: TcpConnection;

  constructor(c: TcpConnection) {
    this.#c = c;
  }

  get state(): number {
    return this.#c.state;
  }

  get caState(): number {
    return this.#c.recovery.caState;
  }

  /** Expiries of the retransmission timer since progress was made. */
  get retransmits(): number {
    return this.#c.attempts;
  }

  get probes(): number {
    return this.#c.keepProbes;
  }

  get backoff(): number {
    return this.#c.rtt.backoff;
  }

  /** TCPI_OPT_TIMESTAMPS 1, TCPI_OPT_SACK 2, TCPI_OPT_WSCALE 4. */
  get options(): number {
    return (this.#c.usesTimestamps ? 1 : 0) | (this.#c.usesSack ? 2 : 0) | (this.#c.usesScale ? 4 : 0);
  }

  get sndWscale(): number {
    return this.#c.sndScale;
  }

  get rcvWscale(): number {
    return this.#c.rx.scale;
  }

  get rtoUs(): number {
    return this.#c.rtt.timeoutMs * 1000;
  }

  get rttUs(): number {
    return this.#c.rtt.srttUs;
  }

  get rttvarUs(): number {
    return this.#c.rtt.rttvarUs;
  }

  get minRttUs(): number {
    return this.#c.rtt.minRttUs;
  }

  get sndMss(): number {
    return this.#c.sndMss;
  }

  get rcvMss(): number {
    return this.#c.rx.mss;
  }

  get advMss(): number {
    return this.#c.localMss - (this.#c.usesTimestamps ? 12 : 0);
  }

  get pmtu(): number {
    return this.#c.pathMtu;
  }

  /** Segments. */
  get sndCwnd(): number {
    return Math.max(1, Math.floor(this.#c.cc.cwnd / this.#c.sndMss));
  }

  /** Segments; Linux's "infinity" before the first congestion. */
  get sndSsthresh(): number {
    const octets = this.#c.cc.ssthresh;
    return octets >= 1 << 30 ? 0x7fffffff : Math.floor(octets / this.#c.sndMss);
  }

  get unacked(): number {
    return this.#segments((this.#c.sndNxt - this.#c.sndUna) | 0);
  }

  get sacked(): number {
    return this.#segments(this.#c.recovery.sackedOctets);
  }

  get lost(): number {
    return this.#segments(this.#c.recovery.board.lost);
  }

  get retrans(): number {
    return this.#segments(this.#c.recovery.board.retransmittedOctets());
  }

  get totalRetrans(): number {
    return this.#c.totalRetransmits;
  }

  get rcvSpace(): number {
    return this.#c.rx.size;
  }

  get rcvRttUs(): number {
    return this.#c.rx.rttMs * 1000;
  }

  get sndWnd(): number {
    return this.#c.sndWnd;
  }

  get notSentBytes(): number {
    const n = (this.#c.sndEnd - this.#c.sndNxt) | 0;
    return Math.max(n, 0);
  }

  get bytesAcked(): number {
    return this.#c.stats[Stat.BytesAcked]!;
  }

  get bytesReceived(): number {
    return this.#c.stats[Stat.BytesReceived]!;
  }

  /** Retransmissions included. */
  get bytesSent(): number {
    return this.#c.stats[Stat.BytesSent]!;
  }

  get bytesRetrans(): number {
    return this.#c.stats[Stat.BytesRetransmitted]!;
  }

  get segsOut(): number {
    return this.#c.segsOut;
  }

  get segsIn(): number {
    return this.#c.segsIn;
  }

  get dataSegsOut(): number {
    return this.#c.dataSegsOut;
  }

  get dataSegsIn(): number {
    return this.#c.dataSegsIn;
  }

  get lastDataSentMs(): number {
    return (this.#c.shared.now.ms - this.#c.lastSendMs) | 0;
  }

  get lastAckRecvMs(): number {
    return (this.#c.shared.now.ms - this.#c.lastReceiveMs) | 0;
  }

  #segments(octets: number): number {
    return Math.ceil(octets / this.#c.sndMss);
  }
}
