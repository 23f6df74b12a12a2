/**
 * The sending half: from the send buffer into the link, in segments of up to 64 KiB that the link's other side cuts
 * (RFC 9293 §3.7, §3.8). Obeys the congestion window, the peer's window, Nagle and cork, and the link's backlog.
 * Builds every kind of segment; decides nothing about loss.
 */

import type { PacketLink } from '../lib/link.ts';
import { seqGe, seqGt, seqLe } from '../lib/seq.ts';
import {
  putSack,
  putSignatureRoom,
  putSynOptions,
  putTcpHeader,
  putTimestamps,
  SIGNATURE_LEN,
  sackLength,
  TCP_HEADER_LEN,
  TCP_HEADER_MAX,
  TcpFlag,
  TIMESTAMPS_LEN,
} from '../wire/tcp.ts';
import type { TcpConnection } from './connection.ts';
import { onAckSent } from './receive.ts';
import { CaState } from './recovery.ts';
import { Stat, TcpDefaults, TcpState } from './settings.ts';
import { armRetransmit, Retransmit, Timer } from './timers.ts';

/** The total length of an IP packet is a 16-bit field; the largest IP header we write has 40 octets. */
const MAX_SEGMENT = 65535 - 40;
/** Wait before trying again when nothing was in flight and the link took nothing. */
const LINK_RETRY_MS = 100;
/** RFC 8985 §7.2: allowance for the peer's delayed ACK when one segment is in flight. */
const PROBE_DELAY_MS = 200;

/** Serve everything a connection may send now: the end of the vector. */
export function transmit(c: TcpConnection): void {
  switch (c.state) {
    case TcpState.Established:
    case TcpState.CloseWait:
    case TcpState.FinWait1:
    case TcpState.LastAck:
    case TcpState.Closing:
      route(c); // first, since a new path may ask for smaller segments
      if (c.recovery.board.lost > 0) retransmitLost(c);
      sendNew(c);
      break;
    case TcpState.Closed:
    case TcpState.SynSent:
    case TcpState.SynReceived:
      return;
    default:
      break;
  }
  if (c.rx.mustAck) sendAck(c);
}

/** The link of the connection's packets by now, with MSS and path MTU brought up to date. */
export function route(c: TcpConnection): PacketLink | undefined {
  const ip = c.shared.ip;
  if (c.routeGeneration !== ip.routeGeneration) {
    c.routeGeneration = ip.routeGeneration;
    c.link = ip.resolve(c);
    if (c.link !== undefined) refreshPathMtu(c, c.link);
  }
  return c.link;
}

/** Ask IP for the path MTU again. */
export function refreshPathMtu(c: TcpConnection, link: PacketLink): void {
  c.pathMtu = c.shared.ip.pathMtu(c, link);
  c.pathSegment = c.pathMtu - (c.isV4 ? 40 : 60);
  c.updateMss();
}

/** SYN, or SYN with ACK: first time and again. */
export function sendSyn(c: TcpConnection): boolean {
  const link = route(c);
  if (link === undefined) return false;
  const sh = c.shared;
  const isReply = c.state === TcpState.SynReceived;
  const mss = c.localMss;
  const headerLength = synHeaderLength(c);
  const at = sh.ip.begin(c, link, headerLength);
  if (at < 0) return false;
  const window = c.rx.windowField(true, sh.fairShare);
  const flags = isReply ? TcpFlag.Syn | TcpFlag.Ack : TcpFlag.Syn;
  putTcpHeader(sh.u8, at, c.localPort, c.remotePort, c.iss, isReply ? c.rx.nxt : 0, headerLength, flags, window);
  const n = putSynOptions(
    sh.u8,
    at + TCP_HEADER_LEN,
    mss,
    c.usesScale ? c.rx.scale : -1,
    c.usesSack,
    c.usesTimestamps,
    c.tsNow,
    isReply ? c.tsRecent : 0,
  );
  if (c.key !== undefined) {
    putSignatureRoom(sh.u8, at + TCP_HEADER_LEN + n);
    c.key.sign(c, sh.u8, at, headerLength, headerLength);
  }
  sh.ip.send(c, link, at, headerLength, 0, 0, c.tos, c.ttl);
  countSent(c, 0);
  if (isReply) onAckSent(c);
  return true;
}

/** A bare ACK. */
export function sendAck(c: TcpConnection): void {
  sendControl(c, TcpFlag.Ack, c.sndNxt);
}

/** RST for a synchronized connection (RFC 9293 §3.10.5). */
export function sendReset(c: TcpConnection): void {
  c.shared.counters.outRsts++;
  sendControl(c, TcpFlag.Rst | TcpFlag.Ack, c.sndNxt);
}

/** An old number and no data: a correct peer answers with an ACK that shows its window (RFC 9293 §3.8.4, §3.8.6.1). */
export function sendProbe(c: TcpConnection): void {
  sendControl(c, TcpFlag.Ack, (c.sndUna - 1) | 0);
}

/** Retransmit the oldest octets, one segment, whatever the window says (RFC 6298 §5.4). */
export function retransmitFirst(c: TcpConnection): boolean {
  const board = c.recovery.board;
  const n = (board.nxt - board.una) | 0;
  return n > 0 && sendAgain(c, board.una, Math.min(n, segmentRoom(c)));
}

/** RFC 8985 §7.3: one new segment if there is one and it fits, else the last one again. */
export function sendLossProbe(c: TcpConnection): boolean {
  const board = c.recovery.board;
  const mss = segmentRoom(c);
  const unsent = (c.sndEnd - c.sndNxt) | 0;
  const window = (c.sndUna + c.sndWnd - c.sndNxt) | 0;
  if (unsent > 0 && !c.isFinSent && window >= Math.min(unsent, mss)) {
    if (!sendData(c, Math.min(unsent, mss), mss)) return false;
    c.recovery.onProbe(false);
    return true;
  }
  const n = Math.min(mss, (board.nxt - board.una) | 0);
  if (n === 0 || !sendAgain(c, (board.nxt - n) | 0, n)) return false;
  c.recovery.onProbe(true);
  return true;
}

/** Arm what watches over the octets in flight: reordering, then a loss probe, then the timeout. */
export function watch(c: TcpConnection): void {
  const recovery = c.recovery;
  const board = recovery.board;
  if (board.isEmpty) return;
  const rto = (c.timeoutBaseMs + c.rtt.timeoutMs - c.shared.now.ms) | 0;
  if (recovery.reorderWaitUs > 0) {
    armRetransmit(c, Retransmit.Reordering, Math.ceil(recovery.reorderWaitUs / 1000));
    return;
  }
  // RFC 8985 §7.2: only outside of recovery, once per tail, and only when it comes before the timeout.
  if (
    c.usesSack &&
    c.rtt.srttUs > 0 &&
    c.rtt.backoff === 0 &&
    recovery.caState === CaState.Open &&
    !recovery.isProbing &&
    c.state !== TcpState.SynReceived
  ) {
    const isSingle = ((board.nxt - board.una) | 0) <= c.sndMss;
    const pto = Math.ceil((2 * c.rtt.srttUs) / 1000) + (isSingle ? PROBE_DELAY_MS : 2);
    if (pto < rto) {
      armRetransmit(c, Retransmit.LossProbe, pto);
      return;
    }
  }
  armRetransmit(c, Retransmit.Timeout, rto);
}

function retransmitLost(c: TcpConnection): void {
  const recovery = c.recovery;
  const board = recovery.board;
  const mss = segmentRoom(c);
  let sent = false;
  while (board.lost > 0) {
    const room = c.cc.cwnd - recovery.inFlight;
    // One segment always goes when nothing else is in flight.
    if (room < mss && recovery.inFlight > 0) break;
    const seq = board.firstLost();
    let n = board.lostLength;
    const quota = Math.max(room, mss);
    if (n > quota) n = quota;
    if (n > mss) n -= n % mss;
    const most = superSegment(c, mss);
    if (n > most) n = most;
    if (!sendAgain(c, seq, n)) break;
    sent = true;
  }
  if (sent) watch(c);
}

function sendNew(c: TcpConnection): void {
  if (c.isFinSent) return;
  const recovery = c.recovery;
  const board = recovery.board;
  let sent = false;
  let isLinkLimited = false;
  for (;;) {
    const unsent = (c.sndEnd - board.nxt) | 0;
    if (unsent === 0 && !c.isFinQueued) {
      c.isPushing = false;
      break;
    }
    const mss = segmentRoom(c);
    const inFlight = recovery.inFlight;
    if (unsent > 0 && board.isEmpty && !sent) restartAfterIdle(c);
    const window = (c.sndUna + c.sndWnd - board.nxt) | 0;
    if (unsent === 0 && window <= 0) {
      probeWindow(c); // the FIN needs a number inside the window, too
      break;
    }
    const room = c.cc.cwnd - inFlight;
    let n = Math.min(unsent, window);
    if (room < n) n = room;
    // RFC 9293 §3.8.6.2.1 allows a fraction of the peer's window; the congestion window is spent in full segments.
    if (n < unsent && n < mss) {
      if (room < mss && room < unsent) {
        c.isCwndLimited = true;
        if (inFlight > 0 || window <= 0) break;
        n = Math.min(unsent, mss);
        if (n > window) n = window;
      }
      const isWorthIt = n > 0 && (c.isPushing || 2 * n >= c.sndWndMax);
      if (!isWorthIt) {
        if (window < mss) probeWindow(c);
        break;
      }
    } else if (n < 0) break;
    const most = superSegment(c, mss);
    if (n > most) n = most;
    const isLast = n === unsent;
    if (n > mss && (!isLast || !mayBeShort(c, n % mss, mss))) n -= n % mss;
    else if (n < mss && isLast && n > 0 && !mayBeShort(c, n, mss)) {
      if (c.cork && (c.armed & Timer.Retransmit) === 0) armRetransmit(c, Retransmit.Push, TcpDefaults.corkMs);
      break;
    }
    if (isLinkFull(c)) {
      if (board.isEmpty) linkRefused(c); // a link that goes away does not drain
      isLinkLimited = true;
      break;
    }
    if (!sendData(c, n, mss)) break;
    sent = true;
    if (c.isFinSent) break;
  }
  if (!sent) return;
  // What the link holds back, a larger window would not send sooner.
  if (!isLinkLimited && 2 * recovery.inFlight > c.cc.cwnd && c.cc.isInSlowStart) c.isCwndLimited = true;
  watch(c);
}

/** RFC 9293 §3.8.6.1: with nothing in flight no ACK will tell that the window opened, so a timer must ask. */
function probeWindow(c: TcpConnection): void {
  if (c.recovery.board.isEmpty && (c.armed & Timer.Retransmit) === 0)
    armRetransmit(c, Retransmit.WindowProbe, c.rtt.timeoutMs);
}

/** May a segment shorter than the MSS leave now? Nagle as Minshall refined it: while no other short one is in flight. */
function mayBeShort(c: TcpConnection, length: number, mss: number): boolean {
  if (length === 0 || length === mss || c.isPushing || c.isFinQueued) return true;
  if (c.cork) return false;
  return c.noDelay || seqLe(c.sndSmall, c.sndUna) || seqGt(c.sndSmall, c.sndNxt);
}

/** Send `length` octets from sndNxt, and FIN behind the last one when it is queued. */
function sendData(c: TcpConnection, length: number, mss: number): boolean {
  const seq = c.sndNxt;
  const end = (seq + length) | 0;
  const isEnd = end === c.sndEnd;
  const fin = isEnd && c.isFinQueued;
  if (!emit(c, seq, length, mss, isEnd, fin)) return false;
  if (length % mss !== 0) c.sndSmall = end;
  const now = c.shared.now;
  if (c.recovery.board.isEmpty) {
    c.stalledSinceMs = now.ms;
    c.timeoutBaseMs = now.ms;
  }
  c.recovery.onSent(fin ? length + 1 : length, now.us, now.ms);
  if (fin) c.isFinSent = true;
  c.lastSendMs = now.ms;
  return true;
}

/** Retransmit [seq, seq + length), which may include the FIN. */
function sendAgain(c: TcpConnection, seq: number, length: number): boolean {
  const end = (seq + length) | 0;
  const fin = c.isFinSent && end === c.sndNxt;
  const octets = fin ? length - 1 : length;
  const mss = segmentRoom(c);
  if (!emit(c, seq, octets, mss, true, fin)) return false;
  const sh = c.shared;
  if (seq === c.sndUna) c.timeoutBaseMs = sh.now.ms;
  c.recovery.onRetransmit(seq, length, sh.now.us, sh.now.ms);
  const pieces = octets > mss ? Math.ceil(octets / mss) : 1;
  sh.counters.retransSegs += pieces;
  c.totalRetransmits += pieces;
  c.stats[Stat.BytesRetransmitted]! += octets;
  c.lastSendMs = sh.now.ms;
  return true;
}

/** One data segment or super-segment into the link. */
function emit(c: TcpConnection, seq: number, length: number, mss: number, isEnd: boolean, fin: boolean): boolean {
  const link = route(c);
  const sh = c.shared;
  if (link === undefined) return linkRefused(c);
  const headerLength = TCP_HEADER_LEN + optionsLength(c);
  const at = sh.ip.begin(c, link, headerLength + length);
  if (at < 0) {
    sh.hold(c, link);
    return linkRefused(c);
  }
  let flags: number = TcpFlag.Ack;
  if (isEnd && length > 0) flags |= TcpFlag.Psh;
  if (fin) flags |= TcpFlag.Fin;
  putHeader(c, at, seq, headerLength, flags);
  if (length > 0) c.sendBuffer.read(seq, at + headerLength, length);
  if (c.key !== undefined) c.key.sign(c, sh.u8, at, headerLength, headerLength + length);
  sh.ip.send(c, link, at, headerLength, length, length > mss ? mss : 0, c.tos, c.ttl);
  countSent(c, length > mss ? Math.ceil(length / mss) : length > 0 ? 1 : 0);
  c.stats[Stat.BytesSent]! += length;
  if (length > 0) {
    if (c.rx.pendingAck > 0) c.rx.isTalking = true; // a talk back and forth: ACKs ride on data
    c.rx.quickLeft = 0;
  }
  onAckSent(c);
  return true;
}

function sendControl(c: TcpConnection, flags: number, seq: number): void {
  const link = route(c);
  if (link === undefined) return;
  const sh = c.shared;
  const headerLength = TCP_HEADER_LEN + optionsLength(c);
  const at = sh.ip.begin(c, link, headerLength);
  if (at < 0) {
    if (c.rx.mustAck) sh.hold(c, link);
    return;
  }
  putHeader(c, at, seq, headerLength, flags);
  if (c.key !== undefined) c.key.sign(c, sh.u8, at, headerLength, headerLength);
  sh.ip.send(c, link, at, headerLength, 0, 0, c.tos, c.ttl);
  countSent(c, 0);
  if ((flags & TcpFlag.Rst) === 0) onAckSent(c);
}

function putHeader(c: TcpConnection, at: number, seq: number, headerLength: number, flags: number): void {
  const sh = c.shared;
  const window = c.rx.windowField(false, sh.fairShare);
  putTcpHeader(sh.u8, at, c.localPort, c.remotePort, seq, c.rx.nxt, headerLength, flags, window);
  let p = at + TCP_HEADER_LEN;
  if (c.usesTimestamps) p += putTimestamps(sh.u8, p, c.tsNow, c.tsRecent);
  const most = maxBlocks(c);
  if (c.usesSack && c.rx.sackCount(most) > 0) {
    const count = c.rx.sackBlocks(sh.sackOut, most);
    p += putSack(sh.u8, p, sh.sackOut, count);
  }
  if (c.key !== undefined) putSignatureRoom(sh.u8, p);
}

/** Options of a segment built now, without SYN. */
function optionsLength(c: TcpConnection): number {
  const fixed = (c.usesTimestamps ? TIMESTAMPS_LEN : 0) + (c.key !== undefined ? SIGNATURE_LEN : 0);
  return fixed + (c.usesSack ? sackLength(c.rx.sackCount(maxBlocks(c))) : 0);
}

/** RFC 2018 §3: 40 octets of options hold four blocks, three beside timestamps, two beside a signature. */
function maxBlocks(c: TcpConnection): number {
  if (c.key !== undefined) return 2;
  return c.usesTimestamps ? 3 : 4;
}

/** Payload octets of a full segment with the options it would carry now. */
function segmentRoom(c: TcpConnection): number {
  return c.usesSack ? c.sndMss - sackLength(c.rx.sackCount(maxBlocks(c))) : c.sndMss;
}

/** Octets of the largest super-segment of whole segments. Each signed segment has a digest of its own. */
function superSegment(c: TcpConnection, mss: number): number {
  if (c.key !== undefined) return mss;
  const most = MAX_SEGMENT - TCP_HEADER_MAX;
  return mss > most ? mss : most - (most % mss);
}

function synHeaderLength(c: TcpConnection): number {
  const scale = c.usesScale ? 4 : 0;
  const stamps = c.usesTimestamps ? TIMESTAMPS_LEN : c.usesSack ? 4 : 0;
  return TCP_HEADER_LEN + 4 + stamps + scale + (c.key !== undefined ? SIGNATURE_LEN : 0);
}

/** As Linux's small queues: what waits in the link is latency, so stop above its high-water mark. */
function isLinkFull(c: TcpConnection): boolean {
  const link = route(c);
  if (link === undefined || link.backlog <= link.highWater) return false;
  c.shared.hold(c, link);
  return true;
}

/** Nothing could be sent and no ACK will come to try again: a timer must. */
function linkRefused(c: TcpConnection): false {
  if ((c.armed & Timer.Retransmit) === 0) armRetransmit(c, Retransmit.Push, LINK_RETRY_MS);
  return false;
}

function restartAfterIdle(c: TcpConnection): void {
  const idle = (c.shared.now.ms - c.lastSendMs) >>> 0;
  const rto = c.rtt.rtoMs;
  if (idle > rto && c.rtt.srttUs > 0) c.cc.afterIdle(idle, rto, c.sndMss);
}

function countSent(c: TcpConnection, dataPieces: number): void {
  const n = dataPieces > 0 ? dataPieces : 1;
  c.segsOut += n;
  c.dataSegsOut += dataPieces;
  c.shared.counters.outSegs += n;
}

/** Has everything up to and including our FIN been acknowledged? */
export function isFinAcked(c: TcpConnection): boolean {
  return c.isFinSent && seqGe(c.sndUna, c.sndNxt);
}
