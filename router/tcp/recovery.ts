/**
 * Loss detection and recovery: RACK-TLP (RFC 8985) over the scoreboard, duplicate ACKs where the peer has no SACK
 * (RFC 6582), proportional rate reduction (RFC 6937), and undo of needless reductions by timestamps (RFC 3522, RFC 4015)
 * or DSACK (RFC 3708). Decides what is lost and how large the window is meanwhile; send.ts emits.
 */
import { seqGe, seqGt, seqLe, seqLt } from '../lib/seq.ts';
import type { TcpOptions } from '../wire/tcp.ts';
import type { Cubic } from './congestion.ts';
import type { RttEstimator } from './rtt.ts';
import { type DeliverySink, Scoreboard } from './scoreboard.ts';
import type { TcpCounters } from './shared.ts';

/** Congestion states under the names and numbers of Linux's TCP_INFO. */
export const CaState = { Open: 0, Disorder: 1, Cwr: 2, Recovery: 3, Loss: 4 } as const;

/** RFC 5681 §3.2: duplicate ACKs (or segments selectively acknowledged) that mean loss. */
const DUP_THRESH = 3;
/** RFC 8985 §6.2 step 4: loss recoveries for which an enlarged reordering window lasts. */
const REO_PERSIST = 16;
const REO_STEPS_MAX = 16;
/** Retransmissions remembered per episode to match duplicates against; after more, only timestamps can undo. */
const REPEATED_MAX = 16;

export class Recovery implements DeliverySink {
  readonly board = new Scoreboard();
  caState: number = CaState.Open;
  /** RFC 6582 §3.2: the recovery ends when this is acknowledged. */
  recover = 0;
  readonly #rtt: RttEstimator;
  readonly #cc: Cubic;
  readonly #counters: TcpCounters;

  // RACK (RFC 8985 §5.3)
  #rackXmitUs = 0;
  #rackEnd = 0;
  #rackRttUs = 0;
  #hasRack = false;
  #fack = 0;
  isReordering = false;
  #reoSteps = 1;
  #reoPersist = 0;

  // PRR (RFC 6937 §3)
  #prrDelivered = 0;
  #prrOut = 0;
  #recoverFs = 1;

  // Undo
  #mayUndo = false;
  #priorCwnd = 0;
  #priorSsthresh = 0;
  /** What this episode retransmitted and no duplicate was reported of, as (left, right) pairs; -1 = too many to remember. */
  readonly #repeated = new Int32Array(2 * REPEATED_MAX);
  #repeatedCount = 0;
  /** Time of the episode's first retransmission; valid when `#hasRetransmitted`. */
  #firstRetransmitMs = 0;
  #hasRetransmitted = false;

  // Tail loss probe (RFC 8985 §7)
  #tlpEnd = 0;
  #tlpWasRetransmission = false;
  isProbing = false;

  /** Duplicate ACKs in a row, and the octets they stand for, where the peer has no SACK. */
  #dupAcks = 0;
  #renoSacked = 0;

  // Results of the ACK being processed
  #nowUs = 0;
  #echoMs = 0;
  #hasEcho = false;
  #rttUs = -1;
  #sawRetransmitted = false;
  /** The echo is of before the last transmission of something that was just delivered. */
  #isEchoOld = false;
  /** Microseconds until RACK would declare more lost; 0 = nothing pending. */
  reorderWaitUs = 0;

  constructor(rtt: RttEstimator, cc: Cubic, counters: TcpCounters) {
    this.#rtt = rtt;
    this.#cc = cc;
    this.#counters = counters;
  }

  start(seq: number): void {
    this.board.reset(seq);
    this.#fack = seq;
    this.#rackEnd = seq;
    this.recover = seq;
  }

  get inFlight(): number {
    return this.board.inFlight - this.#renoSacked;
  }

  get sackedOctets(): number {
    return this.board.sacked + this.#renoSacked;
  }

  get isRecovering(): boolean {
    return this.caState >= CaState.Recovery;
  }

  /**
   * An acceptable ACK. `ack` is at or after sndUna; `mayBeDuplicate` says that the segment carried neither data nor a
   * window change. `wasLimited`: the window was in full use before.
   * @param tsEchoMs the echoed timestamp on our millisecond clock, valid when `options.hasTimestamps`
   * @returns true when sndUna advanced
   */
  onAck(
    ack: number,
    options: TcpOptions,
    tsEchoMs: number,
    usesSack: boolean,
    mayBeDuplicate: boolean,
    wasLimited: boolean,
    mss: number,
    nowUs: number,
    nowMs: number,
  ): boolean {
    const board = this.board;
    const una = board.una;
    const sackedBefore = board.sacked;
    const lostBefore = board.lost;
    const advanced = ack !== una;
    this.#nowUs = nowUs;
    this.#echoMs = tsEchoMs;
    this.#hasEcho = options.hasTimestamps;
    this.#rttUs = -1;
    this.#sawRetransmitted = false;
    this.#isEchoOld = false;
    let sawDsack = false;
    if (usesSack && options.sackCount > 0) sawDsack = this.#readSack(ack, options);
    if (advanced) board.acked(ack, this);
    const delivered = ((ack - una) | 0) + board.sacked - sackedBefore;
    this.#takeRtt(advanced, nowMs);
    if (!usesSack) this.#countDuplicates(advanced, mayBeDuplicate, (ack - una) | 0, mss);
    if (this.isProbing) this.#endProbe(ack, sawDsack, mss);
    this.detectLoss(mss, nowUs);
    if (!this.isRecovering) this.#cc.onRoundTrip(ack, board.nxt, this.#rttUs);
    this.#transition(ack, advanced, delivered, wasLimited, board.lost > lostBefore, mss, nowMs);
    return advanced;
  }

  /** RFC 8985 §6.2 step 5, from an ACK or from the reordering timer. */
  detectLoss(mss: number, nowUs: number): void {
    this.reorderWaitUs = 0;
    const board = this.board;
    if (!this.#hasRack || board.isEmpty) return;
    if (board.sacked === 0 && !this.isRecovering) return; // nothing was delivered out of order
    this.reorderWaitUs = board.detectLost(
      this.#rackXmitUs,
      this.#rackEnd,
      this.#rackRttUs + this.#reorderWindow(mss),
      nowUs,
    );
  }

  /** The reordering timer fired: the caller has run `detectLoss`; enter recovery if it found anything. */
  enterIfLost(mss: number): void {
    if (this.board.lost > 0 && !this.isRecovering) this.#enterRecovery(mss);
  }

  /** RFC 6298 §5.4 and RFC 5681 §3.1: the retransmission timer expired. */
  onTimeout(mss: number): void {
    const board = this.board;
    if (this.caState !== CaState.Loss || seqGe(board.una, this.recover)) {
      if (this.caState !== CaState.Recovery) this.#rememberForUndo();
      this.#cc.onCongestion(mss);
    } else this.#mayUndo = false; // a second expiry in a row: the path is really gone
    this.#cc.onTimeout(mss);
    if (!board.isEmpty && board.oldestIsSacked) board.clearSacked();
    this.#renoSacked = 0;
    this.#dupAcks = 0;
    board.markAllLost();
    this.caState = CaState.Loss;
    this.recover = board.nxt;
    this.isProbing = false;
    this.reorderWaitUs = 0;
  }

  /** The path MTU fell: what was sent is too large and gone, but nothing is congested (RFC 8201 §5.4). */
  onPathTooSmall(): void {
    this.board.markAllLost();
    if (this.isRecovering) return;
    this.#mayUndo = false;
    this.caState = CaState.Loss;
    this.recover = this.board.nxt;
    this.#cc.ssthresh = this.#cc.cwnd;
  }

  /** [seq, seq + length) was retransmitted. */
  onRetransmit(seq: number, length: number, nowUs: number, nowMs: number): void {
    this.board.retransmitted(seq, length, nowUs, nowMs);
    this.#remember(seq, (seq + length) | 0);
    if (!this.#hasRetransmitted) {
      this.#hasRetransmitted = true;
      this.#firstRetransmitMs = nowMs;
    }
    if (this.caState === CaState.Recovery) this.#prrOut += length;
  }

  /** `length` new octets were sent. */
  onSent(length: number, nowUs: number, nowMs: number): void {
    // Nothing in flight was sent before what was delivered last; and its time would mislead after half a wrap of the clock.
    if (this.board.isEmpty) this.#hasRack = false;
    this.board.sent(length, nowUs, nowMs);
    if (this.caState === CaState.Recovery) this.#prrOut += length;
  }

  /** A tail loss probe was sent, ending at sndNxt (RFC 8985 §7.3). */
  onProbe(wasRetransmission: boolean): void {
    this.isProbing = true;
    this.#tlpEnd = this.board.nxt;
    this.#tlpWasRetransmission = wasRetransmission;
  }

  onDelivered(sentUs: number, sentMs: number, end: number, wasRetransmitted: boolean): void {
    const rtt = (this.#nowUs - sentUs) | 0;
    if (wasRetransmitted) {
      this.#sawRetransmitted = true;
      // RFC 8985 §6.2 step 2: an ACK of the original must not be taken for one of the retransmission.
      if (this.#hasEcho && ((this.#echoMs - sentMs) | 0) < 0) {
        this.#isEchoOld = true;
        return;
      }
      if (rtt < this.#rtt.minRttUs) return;
    } else {
      if (seqLt(end, this.#fack)) this.isReordering = true;
      if (rtt > this.#rttUs) this.#rttUs = rtt;
    }
    if (seqGt(end, this.#fack)) this.#fack = end;
    const newer = (sentUs - this.#rackXmitUs) | 0;
    if (!this.#hasRack || newer > 0 || (newer === 0 && seqGt(end, this.#rackEnd))) {
      this.#hasRack = true;
      this.#rackXmitUs = sentUs;
      this.#rackEnd = end;
      this.#rackRttUs = rtt;
    }
  }

  /** @returns true when the first block reports a duplicate (RFC 2883 §4) */
  #readSack(ack: number, options: TcpOptions): boolean {
    const board = this.board;
    const sack = options.sack;
    let sawDsack = false;
    for (let i = 0; i < options.sackCount; i++) {
      let left = sack[2 * i]!;
      const right = sack[2 * i + 1]!;
      if (seqGe(left, right) || seqGt(right, board.nxt)) continue;
      const isInsideSecond =
        i === 0 && options.sackCount > 1 && seqGe(left, sack[2]!) && seqLe(right, sack[3]!) && seqGt(right, ack);
      if (i === 0 && (seqLe(right, ack) || isInsideSecond)) {
        sawDsack = true;
        this.#onDsack(left, right);
        continue;
      }
      if (seqLe(right, ack)) continue;
      if (seqLt(left, ack)) left = ack;
      if (seqLt(left, board.una)) left = board.una;
      board.sack(left, right, this);
    }
    return sawDsack;
  }

  /** Only a duplicate of what we sent twice says something about us; networks duplicate packets, too. */
  #onDsack(left: number, right: number): void {
    this.#counters.dsacksReceived++;
    const r = this.#repeated;
    for (let i = 0; i < this.#repeatedCount; i++) {
      if (seqLt(r[2 * i]!, left) || seqGt(r[2 * i + 1]!, right)) continue;
      this.#repeatedCount--;
      r[2 * i] = r[2 * this.#repeatedCount]!;
      r[2 * i + 1] = r[2 * this.#repeatedCount + 1]!;
      // RFC 8985 §6.2 step 4: a needless retransmission widens the reordering window.
      if (this.#reoSteps < REO_STEPS_MAX) this.#reoSteps++;
      this.#reoPersist = REO_PERSIST;
      this.isReordering = true;
      return;
    }
  }

  #remember(left: number, right: number): void {
    const n = this.#repeatedCount;
    if (n < 0) return;
    if (n === REPEATED_MAX) {
      this.#repeatedCount = -1;
      return;
    }
    this.#repeated[2 * n] = left;
    this.#repeated[2 * n + 1] = right;
    this.#repeatedCount = n + 1;
  }

  #takeRtt(advanced: boolean, nowMs: number): void {
    // RFC 6298 §3: no sample from a retransmitted segment, except through timestamps (RFC 7323 §4.1).
    if (!this.#sawRetransmitted) {
      if (this.#rttUs >= 0) this.#rtt.sample(this.#rttUs, nowMs);
    } else if (advanced && this.#hasEcho) {
      // An echo older than the last copy means either that the timeout was too short, which the next one must know, or
      // that the ACK of an earlier copy was lost, and then the sample is no round trip: believe it with measure.
      const ms = (nowMs - this.#echoMs) | 0;
      if (ms >= 0 && (!this.#isEchoOld || this.#rtt.backoff < 2))
        this.#rtt.sample(Math.min(ms, this.#rtt.rtoMs) * 1000, nowMs);
    }
  }

  /** RFC 5681 §3.2 and RFC 6582 §3.2 for peers without SACK. */
  #countDuplicates(advanced: boolean, mayBeDuplicate: boolean, acked: number, mss: number): void {
    const board = this.board;
    if (advanced) {
      this.#dupAcks = 0;
      // The retransmission filled a hole of one segment; what was acknowledged beyond it had been counted by duplicates.
      const beyond = acked - mss;
      this.#renoSacked = beyond > 0 ? this.#renoSacked - beyond : this.#renoSacked;
      if (this.#renoSacked < 0 || board.isEmpty || seqGe(board.una, this.recover)) this.#renoSacked = 0;
      if (this.caState === CaState.Recovery && seqLt(board.una, this.recover)) board.markHeadLost(mss);
    } else if (mayBeDuplicate && !board.isEmpty) {
      this.#dupAcks++;
      if (board.inFlight - this.#renoSacked >= 2 * mss) this.#renoSacked += mss;
      if (this.#dupAcks === DUP_THRESH && !this.isRecovering && seqGe(board.una, this.recover)) board.markHeadLost(mss);
    }
    const limit = board.inFlight;
    if (this.#renoSacked > limit) this.#renoSacked = limit;
  }

  /** RFC 8985 §6.2 step 4. */
  #reorderWindow(mss: number): number {
    if (!this.isReordering && (this.isRecovering || this.board.sacked >= DUP_THRESH * mss)) return 0;
    const window = (this.#rtt.minRttUs >> 2) * this.#reoSteps;
    return Math.min(window, this.#rtt.srttUs);
  }

  #transition(
    ack: number,
    advanced: boolean,
    delivered: number,
    wasLimited: boolean,
    isNewLoss: boolean,
    mss: number,
    nowMs: number,
  ): void {
    if (this.isRecovering) {
      if (this.#tryUndo(advanced)) return;
      if (advanced && seqGe(ack, this.recover)) {
        this.#leaveRecovery();
        return;
      }
      if (this.caState === CaState.Recovery) {
        this.#reduceProportionally(delivered, advanced && !isNewLoss, mss);
        return;
      }
      // Loss: slow start towards ssthresh (RFC 5681 §3.1).
      if (delivered > 0) this.#cc.onAck(delivered, mss, this.#rtt.srttUs, nowMs);
      return;
    }
    if (this.board.lost > 0) {
      this.#enterRecovery(mss);
      this.#reduceProportionally(delivered, false, mss);
      return;
    }
    this.caState = this.board.sacked > 0 || this.#dupAcks > 0 ? CaState.Disorder : CaState.Open;
    if (delivered > 0 && wasLimited) this.#cc.onAck(delivered, mss, this.#rtt.srttUs, nowMs);
  }

  #rememberForUndo(): void {
    this.#mayUndo = true;
    this.#priorCwnd = this.#cc.cwnd;
    this.#priorSsthresh = this.#cc.ssthresh;
    this.#repeatedCount = 0;
    this.#hasRetransmitted = false;
  }

  #enterRecovery(mss: number): void {
    const board = this.board;
    this.#rememberForUndo();
    this.caState = CaState.Recovery;
    this.recover = board.nxt;
    this.#prrDelivered = 0;
    this.#prrOut = 0;
    this.#recoverFs = Math.max(mss, (board.nxt - board.una) | 0);
    this.#cc.onCongestion(mss);
    this.isProbing = false;
    this.#counters.fastRecoveries++;
  }

  #leaveRecovery(): void {
    if (this.caState === CaState.Recovery && this.#cc.cwnd > this.#cc.ssthresh) this.#cc.cwnd = this.#cc.ssthresh;
    // A window that proportional reduction left small grows back in slow start.
    this.caState = CaState.Open;
    this.#mayUndo = false;
    this.#renoSacked = 0;
    this.#dupAcks = 0;
    if (this.#reoPersist > 0 && --this.#reoPersist === 0) this.#reoSteps = 1;
  }

  /** RFC 6937 §3 with the safe-ACK rule of its revision: slow-start reduction bound only while nothing more is lost. */
  #reduceProportionally(delivered: number, isSafe: boolean, mss: number): void {
    this.#prrDelivered += delivered;
    const cc = this.#cc;
    const pipe = this.inFlight;
    let count: number;
    if (pipe > cc.ssthresh) {
      count = Math.ceil((this.#prrDelivered * cc.ssthresh) / this.#recoverFs) - this.#prrOut;
    } else {
      const owed = this.#prrDelivered - this.#prrOut;
      const limit = Math.max(owed, delivered) + (isSafe ? mss : 0);
      count = Math.min(cc.ssthresh - pipe, limit);
    }
    if (this.#prrOut === 0 && count < mss) count = mss; // the fast retransmit itself
    if (count < 0) count = 0;
    cc.cwnd = pipe + count;
    if (cc.cwnd < mss) cc.cwnd = mss;
  }

  /** RFC 3522 and RFC 3708: the ACK proves that nothing had been lost. */
  #tryUndo(advanced: boolean): boolean {
    if (!this.#mayUndo || !this.#hasRetransmitted) return false;
    const byEcho = advanced && this.#hasEcho && ((this.#echoMs - this.#firstRetransmitMs) | 0) < 0;
    if (!byEcho && this.#repeatedCount !== 0) return false;
    this.#counters.undos++;
    this.board.clearLost();
    this.#cc.undo(this.#priorCwnd, this.#priorSsthresh);
    this.#rtt.backoff = 0;
    if (byEcho) this.isReordering = true;
    this.#leaveRecovery();
    return true;
  }

  /** RFC 8985 §7.4. */
  #endProbe(ack: number, sawDsack: boolean, mss: number): void {
    if (!this.#tlpWasRetransmission || sawDsack) {
      if (sawDsack || seqGe(ack, this.#tlpEnd)) this.isProbing = false;
      return;
    }
    if (seqLt(ack, this.#tlpEnd)) return;
    this.isProbing = false;
    if (this.isRecovering) return;
    // The probe repaired a loss: one reduction, as fast retransmit would have made.
    this.#cc.onCongestion(mss);
    this.#cc.cwnd = this.#cc.ssthresh;
  }
}
