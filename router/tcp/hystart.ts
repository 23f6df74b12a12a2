/**
 * HyStart++ (RFC 9406): ends the first slow start when round trips grow, before a queue overflows. Counts round trips and
 * says how fast slow start may grow; congestion.ts owns the window. Deviation: RFC 9406 §4.2's bound of eight segments per
 * ACK (L) is left out, because a receiver behind receive offload acknowledges up to 64 KiB at once, as Linux does.
 */
import { seqGe } from '../lib/seq.ts';

/** RFC 9406 §4.3 */
const MIN_RTT_THRESH_US = 4000;
const MAX_RTT_THRESH_US = 16_000;
const MIN_RTT_DIVISOR_BITS = 3;
const SAMPLES = 8;
const CSS_GROWTH_BITS = 2;
const CSS_ROUNDS = 5;
const NEVER = 0x7fffffff;

export class HyStart {
  /** In conservative slow start: a quarter of the growth. */
  isConservative = false;
  /** The round ends when this is acknowledged. */
  #roundEnd = 0;
  #lastMinUs = NEVER;
  #minUs = NEVER;
  #samples = 0;
  #baselineUs = NEVER;
  #rounds = 0;

  start(nxt: number): void {
    this.isConservative = false;
    this.#roundEnd = nxt;
    this.#lastMinUs = NEVER;
    this.#minUs = NEVER;
    this.#samples = 0;
  }

  /**
   * An ACK in slow start.
   * @param nxt SND.NXT
   * @param rttUs sample of this ACK, -1 = none
   * @returns true when slow start is over
   */
  onAck(ack: number, nxt: number, rttUs: number): boolean {
    if (rttUs >= 0) {
      this.#samples++;
      if (rttUs < this.#minUs) this.#minUs = rttUs;
    }
    if (this.#samples >= SAMPLES && this.#minUs !== NEVER) {
      if (this.isConservative) {
        // The delay was a passing one: go on as before.
        if (this.#minUs < this.#baselineUs) this.isConservative = false;
      } else if (this.#lastMinUs !== NEVER) {
        const eighth = this.#lastMinUs >> MIN_RTT_DIVISOR_BITS;
        const threshold = Math.min(Math.max(eighth, MIN_RTT_THRESH_US), MAX_RTT_THRESH_US);
        if (this.#minUs >= this.#lastMinUs + threshold) {
          this.isConservative = true;
          this.#baselineUs = this.#minUs;
          this.#rounds = 0;
        }
      }
    }
    if (!seqGe(ack, this.#roundEnd)) return false;
    this.#roundEnd = nxt;
    this.#lastMinUs = this.#minUs;
    this.#minUs = NEVER;
    this.#samples = 0;
    if (!this.isConservative) return false;
    this.#rounds++;
    return this.#rounds >= CSS_ROUNDS;
  }

  /** What of `octets` the window may grow by. */
  growth(octets: number): number {
    return this.isConservative ? octets >> CSS_GROWTH_BITS : octets;
  }
}
