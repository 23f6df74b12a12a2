/**
 * The receiving half: in-order octets go from where the link put them straight to the owner; what the owner refuses and
 * what arrives out of order waits in the receive buffer. Also the window we offer (RFC 9293 §3.8.6), its autotuning,
 * delayed ACKs (RFC 5681 §4.2) and the blocks of our SACK option (RFC 2018 §4, RFC 2883).
 */
import { PagedBuffer } from '../lib/paged-buffer.ts';
import { seqGe, seqGt, seqLe, seqLt } from '../lib/seq.ts';
import type { PagePool, World } from '../lib/world.ts';
import type { TcpConnection } from './connection.ts';
import { TcpEnd } from './port.ts';
import { Stat, TcpDefaults, TcpState } from './settings.ts';
import { armAt, disarm, Timer } from './timers.ts';

/** First receive buffer; autotuning doubles it as the owner keeps up. */
const INITIAL_BUFFER = 256 * 1024;
/** Out-of-order stretches kept at most; more are dropped and come again. */
const MAX_RANGES = 8192;
/** Segments acknowledged at once at the start of a connection, while the peer's window is small (as Linux). */
const QUICK_ACKS = 16;
/** Latest out-of-order arrivals remembered for the order of SACK blocks. */
const RECENT = 4;

export class ReceiveState {
  readonly buffer: PagedBuffer;
  irs = 0;
  /** RCV.NXT */
  nxt = 0;
  /** First octet the owner has not taken. */
  readNxt = 0;
  /** Right edge of the window offered last: RCV.NXT + RCV.WND then. */
  adv = 0;
  scale = 0;
  /** Octets we are willing to hold, and how far autotuning may raise that. */
  size: number;
  max: number;
  /** Largest segment seen, for delayed ACKs and window updates. */
  mss = 536;
  /** Octets received and not acknowledged. */
  pendingAck = 0;
  /** An ACK leaves at the end of the vector, whatever else does. */
  mustAck = false;
  quickLeft = QUICK_ACKS;
  /** The owner answers what it gets, so a delayed ACK finds data to ride on. */
  isTalking = false;
  /** RFC 7323 §4.3: Last.ACK.sent */
  lastAckSent = 0;
  hasFin = false;
  finSeq = 0;
  /** The FIN was reached and counts in `nxt`. */
  isFinished = false;
  isFinTold = false;
  isOffering = false;
  /** A duplicate to report (RFC 2883), valid when `hasDsack`. */
  hasDsack = false;
  dsackLeft = 0;
  dsackRight = 0;
  /** Out-of-order stretches as (left, right) pairs in order. */
  #ranges = new Int32Array(8);
  rangeCount = 0;
  readonly #recent = new Int32Array(RECENT);
  #recentCount = 0;
  /** Receiver's RTT estimate, ms, 0 = none. */
  rttMs = 0;
  #tuneOctets = 0;
  #tuneLast = 0;
  #tuneAtMs = 0;

  constructor(world: World, pool: PagePool, max: number) {
    this.buffer = new PagedBuffer(world, pool);
    this.max = max;
    this.size = Math.min(max, INITIAL_BUFFER);
  }

  /** The peer's SYN arrived. */
  start(irs: number, nowMs: number): void {
    this.irs = irs;
    this.nxt = (irs + 1) | 0;
    this.readNxt = this.nxt;
    this.adv = this.nxt;
    this.lastAckSent = this.nxt;
    this.buffer.reset(this.nxt);
    this.#tuneAtMs = nowMs;
  }

  giveBack(): void {
    this.buffer.reset(this.readNxt);
    this.rangeCount = 0;
    this.#recentCount = 0;
  }

  /** End of the in-order octets (the FIN's own number left out). */
  get dataEnd(): number {
    return this.isFinished ? (this.nxt - 1) | 0 : this.nxt;
  }

  /**
   * The window to put into a segment, right edge never moved back (RFC 9293 §3.8.6.2.2 against silly windows).
   * @param share octets the connection may hold by what the pool has
   * @returns the field's value; remembers what was offered
   */
  windowField(isSyn: boolean, share: number): number {
    const current = (this.adv - this.nxt) | 0;
    const wnd = Math.min(this.size, share) - ((this.nxt - this.readNxt) | 0);
    const step = Math.min(this.size >> 1, this.mss);
    let field: number;
    const scale = isSyn ? 0 : this.scale;
    if (wnd - current < step) {
      const least = Math.max(current, 0);
      field = (least + (1 << scale) - 1) >> scale; // rounded up: rounding down would move the edge back
    } else field = wnd >> scale;
    if (field > 65535) field = 65535;
    const adv = (this.nxt + (field << scale)) | 0;
    if (seqGt(adv, this.adv)) this.adv = adv;
    return field;
  }

  /** Would an ACK now open the window by enough to be worth a segment? */
  isWindowUpdateDue(share: number): boolean {
    const size = Math.min(this.size, share);
    const current = (this.adv - this.nxt) | 0;
    const gain = size - ((this.nxt - this.readNxt) | 0) - current;
    const worth = Math.min(2 * this.mss, size >> 1);
    return gain >= worth && current < size >> 1;
  }

  /** Remember an out-of-order stretch that was stored. @returns false when all of it was known */
  addRange(left: number, right: number): boolean {
    let r = this.#ranges;
    let n = this.rangeCount;
    const i = this.#firstEndingAt(left);
    this.#remember(left);
    if (i < n && seqLe(r[2 * i]!, left) && seqGe(r[2 * i + 1]!, right)) return false;
    let j = i;
    while (j < n && seqLe(r[2 * j]!, right)) {
      if (seqLt(r[2 * j]!, left)) left = r[2 * j]!;
      if (seqGt(r[2 * j + 1]!, right)) right = r[2 * j + 1]!;
      j++;
    }
    if (j === i) {
      if (2 * n === r.length) {
        r = new Int32Array(4 * n);
        r.set(this.#ranges);
        this.#ranges = r;
      }
      r.copyWithin(2 * i + 2, 2 * i, 2 * n);
      n++;
    } else if (j > i + 1) {
      r.copyWithin(2 * i + 2, 2 * j, 2 * n);
      n -= j - i - 1;
    }
    r[2 * i] = left;
    r[2 * i + 1] = right;
    this.rangeCount = n;
    return true;
  }

  get isFull(): boolean {
    return this.rangeCount >= MAX_RANGES;
  }

  /** `nxt` moved: take in the stretches that are in order now. */
  mergeRanges(): void {
    const r = this.#ranges;
    let gone = 0;
    while (gone < this.rangeCount && seqLe(r[2 * gone]!, this.nxt)) {
      if (seqGt(r[2 * gone + 1]!, this.nxt)) this.nxt = r[2 * gone + 1]!;
      gone++;
    }
    if (gone === 0) return;
    r.copyWithin(0, 2 * gone, 2 * this.rangeCount);
    this.rangeCount -= gone;
    if (this.rangeCount === 0) this.#recentCount = 0;
  }

  /** Blocks a SACK option would have now. */
  sackCount(most: number): number {
    const n = this.rangeCount + (this.hasDsack ? 1 : 0);
    return Math.min(n, most);
  }

  /** Fill in at most `most` SACK blocks, a duplicate first, then the latest (RFC 2883 §4, RFC 2018 §4). @returns blocks */
  sackBlocks(out: Int32Array, most: number): number {
    let n = 0;
    if (this.hasDsack && n < most) {
      out[0] = this.dsackLeft;
      out[1] = this.dsackRight;
      n = 1;
      this.hasDsack = false;
    }
    const first = n;
    for (let k = 0; k < this.#recentCount && n < most; k++) n = this.#addBlock(out, first, n, this.#recent[k]!);
    for (let i = 0; i < this.rangeCount && n < most; i++) n = this.#addBlock(out, first, n, this.#ranges[2 * i]!);
    return n;
  }

  /** The owner took `octets`: dynamic right-sizing, twice of what it takes per round trip. */
  tune(octets: number, nowMs: number, share: number): void {
    this.#tuneOctets += octets;
    const rtt = this.rttMs > 0 ? this.rttMs : 1;
    if ((nowMs - this.#tuneAtMs) >>> 0 < rtt) return;
    let wanted = 2 * this.#tuneOctets + 16 * this.mss;
    // A sender in slow start will have doubled once more before the new window is of use to it.
    const last = this.#tuneLast > 0 ? this.#tuneLast : wanted;
    if (this.#tuneOctets > last) wanted += 2 * wanted * Math.min(1, (this.#tuneOctets - last) / last);
    this.#tuneLast = this.#tuneOctets;
    const size = Math.min(wanted, this.max, share) | 0;
    if (size > this.size) this.size = size;
    this.#tuneOctets = 0;
    this.#tuneAtMs = nowMs;
  }

  #addBlock(out: Int32Array, first: number, n: number, seq: number): number {
    const r = this.#ranges;
    const i = this.#firstEndingAt((seq + 1) | 0);
    if (i === this.rangeCount || seqGt(r[2 * i]!, seq)) return n;
    for (let k = first; k < n; k++) if (out[2 * k] === r[2 * i]) return n;
    out[2 * n] = r[2 * i]!;
    out[2 * n + 1] = r[2 * i + 1]!;
    return n + 1;
  }

  /** Index of the first stretch whose right edge is at or after `seq`. */
  #firstEndingAt(seq: number): number {
    const r = this.#ranges;
    let low = 0;
    let high = this.rangeCount;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqLt(r[2 * middle + 1]!, seq)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #remember(seq: number): void {
    this.#recent.copyWithin(1, 0, RECENT - 1);
    this.#recent[0] = seq;
    if (this.#recentCount < RECENT) this.#recentCount++;
  }
}

/**
 * Payload of an acceptable segment (RFC 9293 §3.10.7.4, seventh step), `length` octets at world offset `at`.
 * @param gsoSize payload octets per piece of a super-segment, else 0
 */
export function receiveData(c: TcpConnection, seq: number, at: number, length: number, gsoSize: number): void {
  const rx = c.rx;
  const piece = gsoSize > 0 ? gsoSize : length;
  if (piece > rx.mss || rx.mss === 536) rx.mss = piece;
  let right = (seq + length) | 0;
  if (rx.hasFin && seqGt(right, rx.finSeq)) right = rx.finSeq; // nothing follows a FIN
  if (seqGt(right, rx.adv)) right = rx.adv;
  if (seqLe(right, rx.nxt)) {
    reportDuplicate(c, seq, right);
    return;
  }
  if (seqLt(seq, rx.nxt)) {
    at += (rx.nxt - seq) | 0;
    seq = rx.nxt;
  }
  const n = (right - seq) | 0;
  if (seq === rx.nxt) receiveInOrder(c, at, n, gsoSize);
  else receiveOutOfOrder(c, seq, at, n);
}

/** The peer's FIN occupies `seq`: it counts once everything before it has arrived. */
export function receiveFin(c: TcpConnection, seq: number): void {
  const rx = c.rx;
  if (rx.hasFin || seqLt(seq, rx.nxt) || seqGt(seq, rx.adv)) return;
  rx.hasFin = true;
  rx.finSeq = seq;
}

/** Has the FIN just become the next thing in order? Counts it. */
export function reachFin(c: TcpConnection): boolean {
  const rx = c.rx;
  if (!rx.hasFin || rx.isFinished || rx.nxt !== rx.finSeq) return false;
  rx.isFinished = true;
  rx.nxt = (rx.nxt + 1) | 0;
  ackNow(c);
  return true;
}

/** Offer the owner what is kept, tell it of the FIN behind it, and open the window. */
export function offerBuffered(c: TcpConnection): void {
  const rx = c.rx;
  if (rx.isOffering || c.state === TcpState.SynSent || c.state === TcpState.SynReceived) return;
  if (c.state === TcpState.Closed && !c.isConcluding) return;
  rx.isOffering = true;
  const end = rx.dataEnd;
  let total = 0;
  while (rx.readNxt !== end) {
    const n = rx.buffer.readable(rx.readNxt, (end - rx.readNxt) | 0);
    const taken = hand(c, rx.buffer.spanAt, n);
    rx.readNxt = (rx.readNxt + taken) | 0;
    total += taken;
    if (taken < n) break;
  }
  rx.isOffering = false;
  if (c.state === TcpState.Closed && !c.isConcluding) return;
  if (total > 0) {
    trimBuffer(rx);
    rx.tune(total, c.shared.now.ms, c.shared.fairShare);
  }
  tellFin(c);
  if (c.isConcluding) {
    if (rx.isFinTold) c.conclude(TcpEnd.Clean);
    return;
  }
  if (total > 0 && !rx.isFinished && rx.isWindowUpdateDue(c.shared.fairShare)) ackNow(c);
}

/** An ACK must leave at the end of the vector. */
export function ackNow(c: TcpConnection): void {
  c.rx.mustAck = true;
  c.shared.markDirty(c);
}

/** Tell the owner of the FIN once it has taken everything before it. */
export function tellFin(c: TcpConnection): void {
  const rx = c.rx;
  if (!rx.isFinished || rx.isFinTold || rx.readNxt !== rx.dataEnd || c.owner === undefined) return;
  rx.isFinTold = true;
  c.owner.peerFinished(c);
}

/** An ACK went out with the segment just sent. */
export function onAckSent(c: TcpConnection): void {
  const rx = c.rx;
  rx.mustAck = false;
  rx.pendingAck = 0;
  rx.lastAckSent = rx.nxt;
  disarm(c, Timer.DelayedAck);
}

function receiveInOrder(c: TcpConnection, at: number, length: number, gsoSize: number): void {
  const rx = c.rx;
  let stored = 0;
  if (rx.readNxt === rx.nxt && c.state !== TcpState.SynReceived) {
    rx.isOffering = true;
    stored = hand(c, at, length);
    rx.isOffering = false;
    if (c.state === TcpState.Closed) return;
    rx.readNxt = (rx.readNxt + stored) | 0;
    if (rx.buffer.pagesHeld > 0) trimBuffer(rx);
    rx.tune(stored, c.shared.now.ms, c.shared.fairShare);
  }
  if (stored < length) {
    if (rx.buffer.pagesHeld === 0) rx.buffer.reset(rx.readNxt);
    if (c.shared.mayKeep(rx.buffer.pagesHeld))
      stored += rx.buffer.write((rx.nxt + stored) | 0, at + stored, length - stored);
    if (stored < length) c.shared.counters.noMemoryDrops++;
  }
  c.stats[Stat.BytesReceived]! += stored;
  rx.nxt = (rx.nxt + stored) | 0;
  if (rx.rangeCount > 0) {
    const before = rx.nxt;
    rx.mergeRanges();
    c.stats[Stat.BytesReceived]! += (rx.nxt - before) | 0;
    if (rx.nxt !== before && rx.readNxt === before) offerBuffered(c);
    ackNow(c); // RFC 5681 §4.2: at once when a gap is filled in part or whole
    return;
  }
  rx.pendingAck += stored;
  // RFC 9293 §3.8.6.3 (SHLD-19): every second full segment; a super-segment holds several.
  if (stored < length || rx.pendingAck >= 2 * rx.mss || (gsoSize > 0 && length > gsoSize)) ackNow(c);
  else if (c.quickAck || rx.quickLeft > 0) {
    rx.quickLeft--;
    ackNow(c);
  } else if (!rx.isTalking && length < rx.mss && rx.readNxt === rx.nxt) {
    // As Linux: the owner has emptied the buffer, nothing rides back, and the peer's Nagle may hold the next octets until
    // this ACK. Otherwise a sender of small messages would wait for our timer with each.
    ackNow(c);
  } else if ((c.armed & Timer.DelayedAck) === 0) armAt(c, Timer.DelayedAck, TcpDefaults.delayedAckMs);
}

function receiveOutOfOrder(c: TcpConnection, seq: number, at: number, length: number): void {
  const rx = c.rx;
  const sh = c.shared;
  sh.counters.outOfOrder++;
  ackNow(c); // RFC 5681 §4.2: a duplicate ACK at once
  if (rx.isFull || !sh.mayKeep(rx.buffer.pagesHeld)) {
    sh.counters.noMemoryDrops++;
    return;
  }
  if (rx.buffer.pagesHeld === 0) rx.buffer.reset(rx.readNxt);
  const stored = rx.buffer.write(seq, at, length);
  if (stored < length) sh.counters.noMemoryDrops++;
  if (stored > 0 && !rx.addRange(seq, (seq + stored) | 0)) reportDuplicate(c, seq, (seq + stored) | 0);
}

/** RFC 2883 §4: tell the sender what came twice. */
function reportDuplicate(c: TcpConnection, left: number, right: number): void {
  if (c.usesSack && seqLt(left, right)) {
    c.rx.hasDsack = true;
    c.rx.dsackLeft = left;
    c.rx.dsackRight = right;
    c.shared.counters.dsacksSent++;
  }
  ackNow(c);
}

/** @returns octets the owner took */
function hand(c: TcpConnection, at: number, length: number): number {
  if (c.isReadShut) return length;
  return c.owner === undefined ? 0 : c.owner.deliver(c, at, length);
}

function trimBuffer(rx: ReceiveState): void {
  if (rx.readNxt === rx.dataEnd && rx.rangeCount === 0) rx.buffer.reset(rx.readNxt);
  else rx.buffer.release(rx.readNxt);
}
