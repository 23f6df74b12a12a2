/**
 * Congestion control: CUBIC (RFC 9438) over slow start (RFC 5681 §3.1), initial window of ten (RFC 6928), in octets.
 * Decides how large the window is; recovery.ts decides when there was congestion and what to send in its course.
 * Does not pace; looks at delay only to end the first slow start (hystart.ts).
 */
import { HyStart } from './hystart.ts';

/** RFC 9438 §4.6: multiplicative decrease. */
const BETA = 0.7;
/** RFC 9438 §5.1: C in segments per second cubed. */
const C = 0.4;
/** RFC 9438 §4.3: alpha of the Reno-friendly estimate. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);
const CWND_MAX = 1 << 30;

/** Slots of the state kept in float64, so that updating it allocates nothing. */
const W_MAX = 0;
const W_EST = 1;
/** Time from the start of the epoch to the plateau, seconds. */
const K = 2;
/** Growth below one octet, carried over. */
const CARRY = 3;

export class Cubic {
  /** Congestion window, octets. */
  cwnd = 0;
  ssthresh = CWND_MAX;
  readonly #f = new Float64Array(4);
  readonly #hystart = new HyStart();
  #epochMs = 0;
  #inEpoch = false;

  /** RFC 6928 §2: min(10 * MSS, max(2 * MSS, 14600)). */
  start(mss: number, nxt: number): void {
    this.cwnd = initialWindow(mss);
    this.ssthresh = CWND_MAX;
    this.#hystart.start(nxt);
  }

  get isInSlowStart(): boolean {
    return this.cwnd < this.ssthresh;
  }

  /** An ACK outside of recovery: RFC 9406 §4.2 watches the first slow start only. `rttUs` is -1 without a sample. */
  onRoundTrip(ack: number, nxt: number, rttUs: number): void {
    if (this.ssthresh === CWND_MAX && this.#hystart.onAck(ack, nxt, rttUs)) this.ssthresh = this.cwnd;
  }

  /** New octets were acknowledged outside of recovery while the window was in full use. */
  onAck(acked: number, mss: number, srttUs: number, nowMs: number): void {
    let left = acked;
    if (this.cwnd < this.ssthresh) {
      const room = this.ssthresh - this.cwnd;
      const isFirst = this.ssthresh === CWND_MAX;
      const grow = Math.min(isFirst ? this.#hystart.growth(left) : left, room);
      this.cwnd = this.#bounded(this.cwnd + grow);
      left -= grow;
      if (left === 0 || isFirst) return;
    }
    this.#avoidCongestion(left, mss, srttUs, nowMs);
  }

  /** Congestion was detected: sets ssthresh (RFC 9438 §4.6); the caller moves cwnd there. */
  onCongestion(mss: number): void {
    const f = this.#f;
    const cwnd = this.cwnd;
    // RFC 9438 §4.7: fast convergence leaves room for new flows.
    f[W_MAX] = cwnd < f[W_MAX]! ? cwnd * ((1 + BETA) / 2) : cwnd;
    const reduced = (cwnd * BETA) | 0;
    this.ssthresh = Math.max(reduced, 2 * mss);
    this.#inEpoch = false;
  }

  /** RFC 5681 §3.1: after a retransmission timeout, back to one segment. */
  onTimeout(mss: number): void {
    this.cwnd = mss;
    this.#inEpoch = false;
  }

  /** Congestion was imagined (RFC 4015): restore what `onCongestion` took. */
  undo(cwnd: number, ssthresh: number): void {
    if (cwnd > this.cwnd) this.cwnd = cwnd;
    if (ssthresh > this.ssthresh) this.ssthresh = ssthresh;
    this.#inEpoch = false;
  }

  /** RFC 5681 §4.1: an idle connection has lost its ACK clock; half of the window per idle timeout, down to the initial one. */
  afterIdle(idleMs: number, rtoMs: number, mss: number): void {
    const least = initialWindow(mss);
    const before = this.cwnd;
    for (let left = idleMs; left >= rtoMs && this.cwnd > least; left -= rtoMs) this.cwnd >>= 1;
    if (this.cwnd < least) this.cwnd = Math.min(before, least);
    if (this.ssthresh < (before * 3) >> 2) this.ssthresh = (before * 3) >> 2; // keep the memory of what worked
    this.#inEpoch = false;
  }

  #avoidCongestion(acked: number, mss: number, srttUs: number, nowMs: number): void {
    const f = this.#f;
    const cwnd = this.cwnd;
    if (!this.#inEpoch) {
      this.#inEpoch = true;
      this.#epochMs = nowMs;
      if (f[W_MAX]! <= cwnd) {
        f[K] = 0;
        f[W_MAX] = cwnd;
      } else f[K] = Math.cbrt((f[W_MAX]! - cwnd) / mss / C); // RFC 9438 §4.2, equation 2
      f[W_EST] = cwnd;
      f[CARRY] = 0;
    }
    // RFC 9438 §4.4: the target is the cubic one RTT from now, within [cwnd, 1.5 cwnd].
    const t = ((nowMs - this.#epochMs) | 0) / 1000 + srttUs / 1e6 - f[K]!;
    let target = f[W_MAX]! + C * t * t * t * mss;
    if (target < cwnd) target = cwnd;
    else if (target > cwnd * 1.5) target = cwnd * 1.5;
    // RFC 9438 §4.3: never slower than Reno would be; alpha is 1 once the estimate has passed the old maximum.
    const alpha = f[W_EST]! >= f[W_MAX]! ? 1 : ALPHA;
    f[W_EST] = f[W_EST]! + (alpha * acked * mss) / cwnd;
    let growth = ((target - cwnd) * acked) / cwnd;
    if (cwnd + growth < f[W_EST]!) growth = f[W_EST]! - cwnd;
    // More than half an octet per octet acknowledged would be faster than the 1.5 of RFC 9438 §4.4.
    if (growth > acked * 0.5) growth = acked * 0.5;
    growth += f[CARRY]!;
    const whole = growth | 0;
    f[CARRY] = growth - whole;
    this.cwnd = this.#bounded(cwnd + whole);
  }

  #bounded(cwnd: number): number {
    return Math.min(cwnd, CWND_MAX);
  }
}

function initialWindow(mss: number): number {
  const floor = Math.max(14600, 2 * mss);
  return Math.min(10 * mss, floor);
}
