/**
 * Round-trip time and retransmission timeout (RFC 6298), and the minimum RTT that RACK needs (RFC 8985 §6.2).
 * Takes samples in microseconds from whoever knows that they are unambiguous (RFC 6298 §3, Karn's algorithm).
 */

/** RFC 6298 §2.1: the timeout before the first sample. */
export const RTO_INITIAL_MS = 1000;
/**
 * Floor of the variance term, as in Linux; RFC 6298 §2.4 says one second for the whole timeout.
 * Deviation: 200 ms keeps a lost tail from stalling a tunnel for a second and still covers a peer's delayed ACK.
 * Pinned by test/router/tcp/flow.test.ts.
 */
export const RTO_MIN_MS = 200;
/** RFC 6298 §2.5: an upper bound of at least 60 seconds. */
export const RTO_MAX_MS = 120_000;
/** A minimum older than this is replaced by the next sample, so that a changed path is noticed. */
const MIN_RTT_LIFETIME_MS = 30_000;

export class RttEstimator {
  /** Smoothed RTT, 0 before the first sample. */
  srttUs = 0;
  rttvarUs = 0;
  minRttUs = 0;
  /** Timeout without back-off. */
  rtoMs = RTO_INITIAL_MS;
  /** Times the timer expired in a row (RFC 6298 §5.5). */
  backoff = 0;
  #minAtMs = 0;

  /** One measured round trip. */
  sample(rttUs: number, nowMs: number): void {
    const rtt = Math.max(rttUs, 1);
    if (this.srttUs === 0) {
      this.srttUs = rtt; // RFC 6298 §2.2
      this.rttvarUs = rtt >> 1;
      this.minRttUs = rtt;
      this.#minAtMs = nowMs;
    } else {
      const error = rtt - this.srttUs;
      this.rttvarUs += ((error < 0 ? -error : error) - this.rttvarUs) >> 2; // RFC 6298 §2.3, beta = 1/4
      this.srttUs += error >> 3; // alpha = 1/8
      if (this.srttUs < 1) this.srttUs = 1;
      if (rtt <= this.minRttUs || (nowMs - this.#minAtMs) >>> 0 > MIN_RTT_LIFETIME_MS) {
        this.minRttUs = rtt;
        this.#minAtMs = nowMs;
      }
    }
    const variance = (this.rttvarUs * 4) / 1000;
    const rto = (this.srttUs / 1000 + Math.max(variance, RTO_MIN_MS)) | 0;
    this.rtoMs = Math.min(rto, RTO_MAX_MS);
    this.backoff = 0;
  }

  /** The timeout to arm now, back-off included (RFC 6298 §5.5). */
  get timeoutMs(): number {
    if (this.backoff === 0) return this.rtoMs;
    const rto = this.rtoMs * 2 ** Math.min(this.backoff, 20);
    return Math.min(rto, RTO_MAX_MS);
  }
}
