/**
 * Segment arrival (RFC 9293 §3.10.7) with the protections of RFC 7323 (PAWS) and RFC 5961 (challenge ACKs).
 * Urgent data: URG and the pointer are ignored, so urgent octets stay in the stream where they were sent, as with
 * SO_OOBINLINE, which RFC 6093 §6 recommends.
 */
import { seqGe, seqGt, seqLe, seqLt } from '../lib/seq.ts';
import { TcpFlag, tcpAck, tcpFlags, tcpHeaderLength, tcpSeq, tcpWindow } from '../wire/tcp.ts';
import type { TcpConnection } from './connection.ts';
import { TcpEnd } from './port.ts';
import { ackNow, reachFin, receiveData, receiveFin, tellFin } from './receive.ts';
import { isFinAcked, sendAck, sendSyn, watch } from './send.ts';
import { Stat, TcpDefaults, TcpState } from './settings.ts';
import { armAt, disarm, Retransmit, Timer } from './timers.ts';

/** RFC 5961 §10: challenge ACKs per connection at most every half second (Linux: tcp_invalid_ratelimit). */
const CHALLENGE_INTERVAL_MS = 500;
/** RFC 7323 §5.5: a timestamp older than 24 days says nothing. */
const PAWS_IDLE_MS = 24 * 86_400_000;

/** What became of a segment. */
export const Verdict = {
  Consumed: 0,
  /** The connection gave way to a new one of the same flow: offer the segment to the listener. */
  Retry: 1,
  /** Answer with a reset made from the segment (RFC 9293 §3.10.7.1). */
  Reset: 2,
} as const;

/** A segment of a known connection; its time is `c.shared.now`. @returns a Verdict */
export function segmentArrives(c: TcpConnection, at: number, length: number, gsoSize: number): number {
  const sh = c.shared;
  const b = sh.u8;
  const headerLength = tcpHeaderLength(b, at, length);
  if (headerLength === 0) {
    sh.counters.inErrs++;
    return Verdict.Consumed;
  }
  if (c.key !== undefined && !sh.isSigned(c.key, c, at, headerLength, length, gsoSize)) return Verdict.Consumed;
  const dataLength = length - headerLength;
  const pieces = gsoSize > 0 ? Math.ceil(dataLength / gsoSize) : 1;
  c.segsIn += pieces;
  const options = sh.options;
  options.parse(b, at, headerLength);
  const seq = tcpSeq(b, at);
  const ack = tcpAck(b, at);
  const flags = tcpFlags(b, at);
  if (c.state === TcpState.SynSent) return inSynSent(c, seq, ack, flags, tcpWindow(b, at));
  if (c.state === TcpState.TimeWait) return inTimeWait(c, seq, flags);
  if (c.state === TcpState.Closed) return Verdict.Consumed;

  const rx = c.rx;
  // RFC 7323 §2.3: the window of a SYN is not scaled.
  const window = tcpWindow(b, at) << ((flags & TcpFlag.Syn) !== 0 ? 0 : c.sndScale);
  const hasStamp = c.usesTimestamps && options.hasTimestamps;
  if (hasStamp && (flags & TcpFlag.Rst) === 0 && isTooOld(c, options.tsValue)) {
    sh.counters.pawsDrops++; // RFC 7323 §5.3, R1
    if (dataLength > 0) ackNow(c);
    else challenge(c);
    return Verdict.Consumed;
  }
  // First: the sequence number (RFC 9293 §3.10.7.4).
  const segmentLength = dataLength + (flags & TcpFlag.Syn ? 1 : 0) + (flags & TcpFlag.Fin ? 1 : 0);
  if (!isAcceptable(rx.nxt, rx.adv, seq, segmentLength)) return unacceptable(c, seq, ack, flags, window, dataLength);
  heard(c);
  // Second: RST. RFC 5961 §3.2: only the exact number resets, others in the window are asked to prove themselves.
  if ((flags & TcpFlag.Rst) !== 0) {
    if (seq === rx.nxt) onReset(c);
    else challenge(c);
    return Verdict.Consumed;
  }
  // Fourth: RFC 5961 §4.2: a SYN on a synchronized connection is never believed.
  if ((flags & TcpFlag.Syn) !== 0) {
    challenge(c);
    return Verdict.Consumed;
  }
  if ((flags & TcpFlag.Ack) === 0) return Verdict.Consumed;
  // RFC 7323 §4.3, condition (2); taken over only from a segment whose ACK is believed (RFC 5961 §5.2).
  const isStampOfEdge = hasStamp && seqLe(seq, rx.lastAckSent);
  const tsValue = options.tsValue;
  // Fifth: ACK.
  if (c.state === TcpState.SynReceived) {
    if (!seqGt(ack, c.sndUna) || !seqLe(ack, c.sndNxt)) return Verdict.Reset;
    if (!complete(c, seq, ack, window)) return Verdict.Consumed;
  } else if (!ackArrives(c, seq, ack, window, segmentLength)) return Verdict.Consumed;
  if (isClosed(c)) return Verdict.Consumed;
  if (isStampOfEdge) {
    c.tsRecent = tsValue;
    c.tsRecentAtMs = sh.now.ms;
  }
  // Seventh and eighth: octets and FIN.
  if (dataLength > 0) {
    if (!mayReceive(c)) return unexpectedData(c, (seq + dataLength) | 0);
    c.dataSegsIn += pieces;
    measureReceiverRtt(c, dataLength);
    receiveData(c, seq, at + headerLength, dataLength, gsoSize);
    if (isClosed(c)) return Verdict.Consumed;
  }
  if ((flags & TcpFlag.Fin) !== 0) receiveFin(c, (seq + dataLength) | 0);
  if (rx.hasFin && reachFin(c)) onFin(c);
  return Verdict.Consumed;
}

/**
 * Options of a SYN decide what the connection uses (RFC 7323 §1.3, RFC 2018 §2): what both sides offer.
 * @param window the SYN's window field, which is never scaled
 */
export function synArrives(c: TcpConnection, seq: number, window: number): void {
  const sh = c.shared;
  const options = sh.options;
  if (options.mss > 0) c.peerMss = options.mss;
  c.usesScale &&= options.windowScale >= 0;
  c.usesTimestamps &&= options.hasTimestamps;
  c.usesSack &&= options.sackPermitted;
  c.sndScale = c.usesScale ? options.windowScale : 0;
  if (!c.usesScale) {
    c.rx.scale = 0;
    if (c.rx.max > 65535) c.rx.max = 65535;
    if (c.rx.size > 65535) c.rx.size = 65535;
  }
  if (c.usesTimestamps) {
    c.tsRecent = options.tsValue;
    c.tsRecentAtMs = sh.now.ms;
  }
  c.rx.start(seq, sh.now.ms);
  c.updateMss();
  c.sndWnd = window;
  c.sndWndMax = window;
  c.sndWl1 = seq;
  c.sndWl2 = c.iss;
}

/** Has something that was called meanwhile ended the connection? */
function isClosed(c: TcpConnection): boolean {
  return c.state === TcpState.Closed || c.state === TcpState.TimeWait;
}

function isTooOld(c: TcpConnection, tsValue: number): boolean {
  return ((tsValue - c.tsRecent) | 0) < 0 && (c.shared.now.ms - c.tsRecentAtMs) >>> 0 < PAWS_IDLE_MS;
}

/**
 * RFC 9293 §3.4, table 6, for the window offered last, [nxt, adv). Also lets in, as Linux does, an empty segment at the
 * window's edge: a sender that has used the window up acknowledges from there.
 */
function isAcceptable(nxt: number, adv: number, seq: number, length: number): boolean {
  if (length === 0) return seqGe(seq, nxt) && seqLe(seq, adv);
  return seqGt((seq + length) | 0, nxt) && (seqLt(seq, adv) || seq === nxt);
}

function unacceptable(
  c: TcpConnection,
  seq: number,
  ack: number,
  flags: number,
  window: number,
  dataLength: number,
): number {
  if ((flags & TcpFlag.Rst) !== 0) return Verdict.Consumed;
  const rx = c.rx;
  if ((flags & TcpFlag.Syn) !== 0) {
    if (c.state === TcpState.SynReceived && seq === rx.irs) {
      // RFC 9293 §3.5, figure 8: the SYN-ACK of a simultaneous open; otherwise the peer never got ours.
      if ((flags & TcpFlag.Ack) !== 0 && ack === c.sndNxt) complete(c, seq, ack, window);
      else {
        if (c.usesTimestamps && c.shared.options.hasTimestamps) c.tsRecent = c.shared.options.tsValue;
        sendSyn(c);
      }
    } else challenge(c);
    return Verdict.Consumed;
  }
  const right = (seq + dataLength) | 0;
  if (seqLt(seq, rx.nxt)) {
    heard(c); // a keepalive or window probe, or a retransmission whose ACK was lost
    if (dataLength > 0 && c.usesSack) {
      rx.hasDsack = true; // RFC 2883 §4
      rx.dsackLeft = seq;
      rx.dsackRight = seqGt(right, rx.nxt) ? rx.nxt : right;
      c.shared.counters.dsacksSent++;
    }
  }
  if (dataLength > 0 || (flags & TcpFlag.Fin) !== 0) ackNow(c);
  else challenge(c);
  return Verdict.Consumed;
}

function heard(c: TcpConnection): void {
  c.lastReceiveMs = c.shared.now.ms;
  c.keepProbes = 0;
}

/** RFC 5961 §7: answer a doubtful segment, but not too often. */
function challenge(c: TcpConnection): void {
  const now = c.shared.now.ms;
  if (c.hasChallenged && (now - c.lastChallengeMs) >>> 0 < CHALLENGE_INTERVAL_MS) return;
  c.hasChallenged = true;
  c.lastChallengeMs = now;
  c.shared.counters.challengeAcks++;
  sendAck(c);
}

/** RFC 9293 §3.10.7.3. */
function inSynSent(c: TcpConnection, seq: number, ack: number, flags: number, window: number): number {
  const hasAck = (flags & TcpFlag.Ack) !== 0;
  if (hasAck && (seqLe(ack, c.iss) || seqGt(ack, c.sndNxt)))
    return (flags & TcpFlag.Rst) !== 0 ? Verdict.Consumed : Verdict.Reset;
  if ((flags & TcpFlag.Rst) !== 0) {
    if (hasAck) {
      c.shared.counters.attemptFails++;
      c.finish(TcpEnd.Refused);
    }
    return Verdict.Consumed;
  }
  if ((flags & TcpFlag.Syn) === 0) return Verdict.Consumed;
  if (hasAck && c.usesTimestamps && c.shared.options.hasTimestamps && !isEchoPlausible(c)) return Verdict.Reset;
  synArrives(c, seq, window);
  heard(c);
  c.setState(TcpState.SynReceived);
  if (hasAck) {
    complete(c, seq, ack, window);
    ackNow(c);
  } else sendSyn(c); // simultaneous open
  return Verdict.Consumed;
}

/** The echoed timestamp of a SYN-ACK must lie between our first SYN and now. */
function isEchoPlausible(c: TcpConnection): boolean {
  const echo = c.shared.options.tsEcho;
  return ((echo - c.tsNow) | 0) <= 0;
}

/** The handshake is complete (`window` in octets): RFC 9293 §3.10.7.4, fifth step in SYN-RECEIVED. @returns false when nobody can take it yet */
function complete(c: TcpConnection, seq: number, ack: number, window: number): boolean {
  const sh = c.shared;
  const listener = c.listener;
  if (listener !== undefined && !listener.hasRoom) {
    sh.counters.listenOverflows++; // stay half-open: the SYN-ACK is retransmitted, as Linux does
    return false;
  }
  disarm(c, Timer.Retransmit);
  c.setState(TcpState.Established);
  sh.counters.currEstab++;
  c.cc.start(c.sndMss, c.sndNxt);
  if (c.attempts > 0) c.cc.cwnd = c.sndMss; // RFC 5681 §3.1: the SYN was lost
  c.attempts = 0;
  c.rtt.backoff = 0;
  ackArrives(c, seq, ack, window, 0);
  c.rx.rttMs = Math.ceil(c.rtt.srttUs / 1000);
  c.restartKeepAlive();
  if (c.isFinQueued) c.startClosing();
  if (listener !== undefined) listener.onEstablished(c);
  else c.owner?.established(c);
  sh.markDirty(c);
  return true;
}

/** RFC 9293 §3.10.7.4, fifth step, and RFC 5961 §5.2; `sndWnd` in octets. @returns false when the segment must be dropped */
function ackArrives(c: TcpConnection, seq: number, ack: number, sndWnd: number, segmentLength: number): boolean {
  const sh = c.shared;
  const una = c.sndUna;
  if (seqGt(ack, c.sndNxt)) {
    challenge(c);
    return false;
  }
  if (seqLt(ack, una)) {
    if (seqLt(ack, (una - c.sndWndMax) | 0)) {
      challenge(c);
      return false;
    }
    return true;
  }
  const isUpdate = seqLt(c.sndWl1, seq) || (c.sndWl1 === seq && seqLe(c.sndWl2, ack));
  const isPlain = segmentLength === 0 && (!isUpdate || sndWnd === c.sndWnd);
  const recovery = c.recovery;
  const waited = recovery.reorderWaitUs;
  const advanced = recovery.onAck(
    ack,
    sh.options,
    (sh.options.tsEcho - c.tsOffset) | 0,
    c.usesSack,
    isPlain,
    c.isCwndLimited,
    c.sndMss,
    sh.now.us,
    sh.now.ms,
  );
  if (isUpdate) {
    if (sndWnd > 0 && c.sndWnd < c.sndMss && sndWnd > c.sndWnd && c.retransmitKind === Retransmit.WindowProbe) {
      disarm(c, Timer.Retransmit);
      c.rtt.backoff = 0;
    }
    c.sndWnd = sndWnd;
    c.sndWl1 = seq;
    c.sndWl2 = ack;
    if (sndWnd > c.sndWndMax) c.sndWndMax = sndWnd;
  }
  if (advanced) progress(c, una, ack);
  else {
    if (c.recovery.board.isEmpty) c.attempts = 0; // answers to window probes keep the connection (RFC 9293 §3.8.6.1)
    if (recovery.reorderWaitUs !== waited) watch(c);
  }
  if (recovery.board.lost > 0 || c.sndEnd !== c.sndNxt || c.isFinQueued) sh.markDirty(c);
  return true;
}

/** sndUna moved from `una` to `ack`. */
function progress(c: TcpConnection, una: number, ack: number): void {
  const sh = c.shared;
  c.attempts = 0;
  c.softError = 0;
  c.rtt.backoff = 0;
  c.isCwndLimited = false;
  c.timeoutBaseMs = sh.now.ms;
  c.stalledSinceMs = sh.now.ms;
  c.stats[Stat.BytesAcked]! += (ack - una) | 0;
  if (seqGe(ack, c.sndEnd)) c.sendBuffer.reset(c.sndEnd);
  else c.sendBuffer.release(ack);
  if (c.recovery.board.isEmpty) disarm(c, Timer.Retransmit);
  else watch(c);
  c.onSendProgress();
  if (isFinAcked(c)) onFinAcked(c);
}

function onFinAcked(c: TcpConnection): void {
  if (c.state === TcpState.FinWait1) {
    c.setState(TcpState.FinWait2);
    if (c.isOrphan) armAt(c, Timer.Wait, TcpDefaults.finWait2Ms);
  } else if (c.state === TcpState.Closing) c.enterTimeWait();
  else if (c.state === TcpState.LastAck) c.finish(TcpEnd.Clean);
}

/** The peer's FIN is the next thing in order: RFC 9293 §3.10.7.4, eighth step. */
function onFin(c: TcpConnection): void {
  if (c.state === TcpState.Established) c.setState(TcpState.CloseWait);
  else if (c.state === TcpState.FinWait1) c.setState(TcpState.Closing);
  tellFin(c);
  if (c.state === TcpState.FinWait2) {
    sendAck(c);
    c.enterTimeWait();
  }
}

function onReset(c: TcpConnection): void {
  const sh = c.shared;
  if (c.state === TcpState.SynReceived) {
    sh.counters.attemptFails++;
    c.finish(TcpEnd.Refused);
    return;
  }
  sh.counters.estabResets++;
  c.finish(TcpEnd.Reset);
}

function mayReceive(c: TcpConnection): boolean {
  return (
    !c.isOrphan && (c.state === TcpState.Established || c.state === TcpState.FinWait1 || c.state === TcpState.FinWait2)
  );
}

/** Octets nobody will read: RFC 9293 §3.6.1: "the TCP implementation SHOULD send a RST to show that data was lost". */
function unexpectedData(c: TcpConnection, right: number): number {
  if (c.isOrphan && seqGt(right, c.rx.nxt) && !c.rx.hasFin) {
    c.abort();
    return Verdict.Consumed;
  }
  ackNow(c);
  return Verdict.Consumed;
}

/** RFC 9293 §3.10.7.4 for TIME-WAIT, with RFC 6191 for new SYNs. */
function inTimeWait(c: TcpConnection, seq: number, flags: number): number {
  const options = c.shared.options;
  // Deviation: RFC 1337 §3: resets do not end TIME-WAIT, or an old duplicate could ("assassination").
  // Pinned by test/router/tcp/connection.test.ts.
  if ((flags & TcpFlag.Rst) !== 0) return Verdict.Consumed;
  if ((flags & (TcpFlag.Syn | TcpFlag.Ack)) === TcpFlag.Syn) {
    const isNewer =
      c.usesTimestamps && options.hasTimestamps
        ? ((options.tsValue - c.tsRecent) | 0) > 0 || (options.tsValue === c.tsRecent && seqGt(seq, c.rx.nxt))
        : seqGt(seq, c.rx.nxt);
    if (isNewer) {
      c.shared.counters.timeWaitRecycled++;
      c.finish(TcpEnd.Clean);
      return Verdict.Retry;
    }
  }
  if ((flags & TcpFlag.Fin) !== 0) {
    sendAck(c); // the peer did not get our last ACK
    armAt(c, Timer.Wait, TcpDefaults.timeWaitMs);
  } else if ((flags & TcpFlag.Syn) !== 0 || seq !== c.rx.nxt) challenge(c);
  return Verdict.Consumed;
}

/** For autotuning: how long our ACK takes to bring new octets (RFC 7323's echo, when we mostly receive). */
function measureReceiverRtt(c: TcpConnection, dataLength: number): void {
  const rx = c.rx;
  const options = c.shared.options;
  if (!c.usesTimestamps || !options.hasTimestamps || dataLength < rx.mss) return;
  const ms = (c.tsNow - options.tsEcho) | 0;
  if (ms < 0 || ms > 10_000) return;
  const sample = ms > 0 ? ms : 1;
  if (rx.rttMs === 0 || sample < rx.rttMs) rx.rttMs = sample;
  else rx.rttMs += (sample - rx.rttMs) >> 3;
}
