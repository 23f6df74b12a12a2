/**
 * What was sent and not yet acknowledged: a list of records that tile [sndUna, sndNxt) in sequence order. One record is
 * one emission (up to a whole super-segment) until acknowledgments or retransmissions split it, so its cost follows the
 * number of holes, not of octets. Holds the SACK scoreboard (RFC 6675 §3, RFC 2018) and the send times of RACK
 * (RFC 8985 §5.2). Knows nothing of windows.
 */

/** Record fields. */
const START = 0;
const SENT_US = 1;
const SENT_MS = 2;
const FLAGS = 3;
const STRIDE = 4;

/** Record flags. */
const SACKED = 1;
const LOST = 2;
const RETRANSMITTED = 4;

/** Beyond this many records further SACK information is ignored: a peer cannot make us keep more. */
const MAX_RECORDS = 4096;
/** As much as one emission can take of a lost stretch. */
const LONG_ENOUGH = 65536;

/** Told about each newly delivered stretch of octets. */
export interface DeliverySink {
  onDelivered(sentUs: number, sentMs: number, end: number, wasRetransmitted: boolean): void;
}

export class Scoreboard {
  #r = new Int32Array(8 * STRIDE);
  #head = 0;
  #tail = 0;
  /** First octet not acknowledged, and one past the last octet sent: the ends of the tiling. */
  una = 0;
  nxt = 0;
  /** Octets selectively acknowledged. */
  sacked = 0;
  /** Octets deemed lost and not retransmitted since. */
  lost = 0;
  /** Length of the stretch that `firstLost` found. */
  lostLength = 0;
  /** Nothing before this is lost: where `firstLost` begins to look. */
  #lostFrom = 0;

  reset(seq: number): void {
    this.#head = 0;
    this.#tail = 0;
    this.una = seq;
    this.nxt = seq;
    this.sacked = 0;
    this.lost = 0;
  }

  /** Octets in the network by our best knowledge: RFC 6675 §4 "pipe". */
  get inFlight(): number {
    return ((this.nxt - this.una) | 0) - this.sacked - this.lost;
  }

  get isEmpty(): boolean {
    return this.una === this.nxt;
  }

  get oldestIsSacked(): boolean {
    return (this.#r[this.#head * STRIDE + FLAGS]! & SACKED) !== 0;
  }

  /** `length` new octets were sent at the end. */
  sent(length: number, us: number, ms: number): void {
    const last = (this.#tail - 1) * STRIDE;
    const extends_ = this.#tail > this.#head && this.#r[last + FLAGS] === 0 && this.#r[last + SENT_US] === us;
    if (!extends_) {
      this.#makeRoom(1);
      const r = this.#r;
      const at = this.#tail * STRIDE;
      r[at + START] = this.nxt;
      r[at + SENT_US] = us;
      r[at + SENT_MS] = ms;
      r[at + FLAGS] = 0;
      this.#tail++;
    }
    this.nxt = (this.nxt + length) | 0;
  }

  /** Everything before `ack` was delivered; `una` < `ack` <= `nxt`. */
  acked(ack: number, sink: DeliverySink): void {
    const r = this.#r;
    while (this.#head < this.#tail) {
      const at = this.#head * STRIDE;
      const start = r[at + START]!;
      const recordEnd = this.#endOf(this.#head);
      const isWhole = ((recordEnd - ack) | 0) <= 0;
      const end = isWhole ? recordEnd : ack;
      const length = (end - start) | 0;
      if (length <= 0) break;
      const flags = r[at + FLAGS]!;
      if ((flags & SACKED) !== 0) this.sacked -= length;
      else {
        if ((flags & LOST) !== 0) this.lost -= length;
        sink.onDelivered(r[at + SENT_US]!, r[at + SENT_MS]!, end, (flags & RETRANSMITTED) !== 0);
      }
      if (!isWhole) {
        r[at + START] = ack;
        break;
      }
      this.#head++;
    }
    this.una = ack;
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
    }
  }

  /** A SACK block inside [una, nxt). @returns octets newly known to be delivered */
  sack(left: number, right: number, sink: DeliverySink): number {
    const before = this.sacked;
    if (this.#tail - this.#head >= MAX_RECORDS) return 0;
    this.#makeRoom(2);
    let i = this.#find(left);
    while (i < this.#tail) {
      const start = this.#r[i * STRIDE + START]!;
      if (((start - right) | 0) >= 0) break;
      if ((this.#r[i * STRIDE + FLAGS]! & SACKED) === 0) {
        if (((left - start) | 0) > 0) this.#split(i++, left);
        if (((this.#endOf(i) - right) | 0) > 0) this.#split(i, right);
        this.#markSacked(i, sink);
        if (this.#mergeSacked(i)) continue;
      }
      i++;
    }
    return this.sacked - before;
  }

  /**
   * RFC 8985 §6.2 step 5: mark lost what was sent sufficiently before the most recently delivered octets.
   * @returns microseconds until the oldest candidate would be lost, 0 when there is none
   */
  detectLost(xmitUs: number, endSeq: number, windowUs: number, nowUs: number): number {
    const r = this.#r;
    let wait = 0;
    for (let i = this.#head; i < this.#tail; i++) {
      const at = i * STRIDE;
      if ((r[at + FLAGS]! & (SACKED | LOST)) !== 0) continue;
      const older = (xmitUs - r[at + SENT_US]!) | 0;
      if (older < 0 || (older === 0 && ((endSeq - this.#endOf(i)) | 0) <= 0)) continue;
      const remaining = (r[at + SENT_US]! + windowUs - nowUs) | 0;
      if (remaining <= 0) this.#markLost(i);
      else if (remaining > wait) wait = remaining;
    }
    return wait;
  }

  /** Mark lost the first `length` octets that nothing was heard of, as far as they are not (RFC 6582, without SACK). */
  markHeadLost(length: number): void {
    if (this.#head === this.#tail) return;
    this.#makeRoom(1);
    const flags = this.#r[this.#head * STRIDE + FLAGS]!;
    if ((flags & (SACKED | LOST)) !== 0) return;
    const end = (this.una + length) | 0;
    if (((this.#endOf(this.#head) - end) | 0) > 0) this.#split(this.#head, end);
    this.#markLost(this.#head);
  }

  /** Everything not selectively acknowledged is lost: after a timeout (RFC 6675 §5.1) or a smaller path MTU. */
  markAllLost(): void {
    for (let i = this.#head; i < this.#tail; i++)
      if ((this.#r[i * STRIDE + FLAGS]! & (SACKED | LOST)) === 0) this.#markLost(i);
  }

  /** Nothing is lost after all. */
  clearLost(): void {
    for (let i = this.#head; i < this.#tail; i++) this.#r[i * STRIDE + FLAGS]! &= ~LOST;
    this.lost = 0;
  }

  /** RFC 2018 §8: after a timeout the receiver may have dropped what it reported. */
  clearSacked(): void {
    for (let i = this.#head; i < this.#tail; i++) this.#r[i * STRIDE + FLAGS]! &= ~SACKED;
    this.sacked = 0;
  }

  /**
   * Sequence number of the first lost octet, with `lostLength` contiguous ones (there may be more when that is
   * LONG_ENOUGH); only when `lost` > 0.
   */
  firstLost(): number {
    const r = this.#r;
    let i = this.#find(this.#lostFrom);
    while ((r[i * STRIDE + FLAGS]! & LOST) === 0) i++;
    const start = r[i * STRIDE + START]!;
    this.#lostFrom = start;
    let length = 0;
    for (; i < this.#tail && length < LONG_ENOUGH && (r[i * STRIDE + FLAGS]! & LOST) !== 0; i++)
      length = (this.#endOf(i) - start) | 0;
    this.lostLength = length;
    return start;
  }

  /** [start, start + length) was sent again. */
  retransmitted(start: number, length: number, us: number, ms: number): void {
    const end = (start + length) | 0;
    this.#makeRoom(2);
    let i = this.#find(start);
    if (this.#r[i * STRIDE + START] !== start) this.#split(i++, start);
    while (i < this.#tail && ((this.#r[i * STRIDE + START]! - end) | 0) < 0) {
      if (((this.#endOf(i) - end) | 0) > 0) this.#split(i, end);
      const at = i * STRIDE;
      const r = this.#r;
      if ((r[at + FLAGS]! & LOST) !== 0) this.lost -= (this.#endOf(i) - r[at + START]!) | 0;
      r[at + SENT_US] = us;
      r[at + SENT_MS] = ms;
      r[at + FLAGS] = (r[at + FLAGS]! & SACKED) | RETRANSMITTED;
      i++;
    }
  }

  /** Octets retransmitted and not delivered since, for TCP_INFO. */
  retransmittedOctets(): number {
    let n = 0;
    for (let i = this.#head; i < this.#tail; i++)
      if ((this.#r[i * STRIDE + FLAGS]! & (RETRANSMITTED | LOST | SACKED)) === RETRANSMITTED)
        n += (this.#endOf(i) - this.#r[i * STRIDE + START]!) | 0;
    return n;
  }

  #endOf(i: number): number {
    return i + 1 < this.#tail ? this.#r[(i + 1) * STRIDE + START]! : this.nxt;
  }

  /** The record that holds `seq`, or the first one when `seq` lies before all. */
  #find(seq: number): number {
    const r = this.#r;
    let low = this.#head;
    let high = this.#tail;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (((r[middle * STRIDE + START]! - seq) | 0) <= 0) low = middle;
      else high = middle;
    }
    return low;
  }

  #markLost(i: number): void {
    const at = i * STRIDE;
    const start = this.#r[at + START]!;
    if (this.lost === 0 || ((start - this.#lostFrom) | 0) < 0) this.#lostFrom = start;
    this.#r[at + FLAGS]! |= LOST;
    this.lost += (this.#endOf(i) - this.#r[at + START]!) | 0;
  }

  #markSacked(i: number, sink: DeliverySink): void {
    const r = this.#r;
    const at = i * STRIDE;
    const flags = r[at + FLAGS]!;
    const end = this.#endOf(i);
    const length = (end - r[at + START]!) | 0;
    if ((flags & LOST) !== 0) this.lost -= length;
    this.sacked += length;
    r[at + FLAGS] = (flags & ~LOST) | SACKED;
    sink.onDelivered(r[at + SENT_US]!, r[at + SENT_MS]!, end, (flags & RETRANSMITTED) !== 0);
  }

  /** Join record `i` with its SACKed left neighbour. @returns true when `i` now is the record after the joined one */
  #mergeSacked(i: number): boolean {
    const r = this.#r;
    if (i + 1 < this.#tail && (r[(i + 1) * STRIDE + FLAGS]! & SACKED) !== 0) this.#remove(i + 1);
    if (i === this.#head || (r[(i - 1) * STRIDE + FLAGS]! & SACKED) === 0) return false;
    this.#remove(i);
    return true;
  }

  #remove(i: number): void {
    this.#r.copyWithin(i * STRIDE, (i + 1) * STRIDE, this.#tail * STRIDE);
    this.#tail--;
  }

  /** Cut record `i` at `seq`, which lies strictly inside; room was made before. */
  #split(i: number, seq: number): void {
    const at = i * STRIDE;
    this.#r.copyWithin(at + STRIDE, at, this.#tail * STRIDE);
    this.#r[at + STRIDE + START] = seq;
    this.#tail++;
  }

  /** Room for `more` records at the end. Records may move to the front of the array, so indices are found afterwards. */
  #makeRoom(more: number): void {
    const capacity = this.#r.length / STRIDE;
    if (this.#tail + more <= capacity) return;
    const count = this.#tail - this.#head;
    if (count + more <= capacity >> 1) {
      this.#r.copyWithin(0, this.#head * STRIDE, this.#tail * STRIDE);
    } else {
      const r = new Int32Array(this.#r.length * 2);
      r.set(this.#r.subarray(this.#head * STRIDE, this.#tail * STRIDE));
      this.#r = r;
    }
    this.#head = 0;
    this.#tail = count;
  }
}
