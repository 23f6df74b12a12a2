/**
 * What happens when a connection's timer is due: retransmission (RFC 6298 §5.4), loss probe and reordering (RFC 8985),
 * window probes (RFC 9293 §3.8.6.1), keepalive (RFC 9293 §3.8.4), user timeout (RFC 5482), TIME-WAIT.
 */
import type { TcpConnection } from './connection.ts';
import { TcpEnd } from './port.ts';
import { ackNow } from './receive.ts';
import { RTO_MAX_MS } from './rtt.ts';
import { retransmitFirst, route, sendLossProbe, sendProbe, sendReset, sendSyn, watch } from './send.ts';
import { TcpDefaults, TcpState } from './settings.ts';
import { armAt, armRetransmit, Retransmit, rearmWheel, Timer, takeDue } from './timers.ts';

/** The wheel fired for `c`: run what is due, arm what is left. */
export function expire(c: TcpConnection): void {
  c.isWheelSet = false;
  for (let due = takeDue(c); due !== 0; due = takeDue(c)) {
    if (due === Timer.Retransmit) retransmitDue(c);
    else if (due === Timer.DelayedAck) delayedAckDue(c);
    else if (due === Timer.KeepAlive) keepAliveDue(c);
    else c.finish(TcpEnd.Clean);
    if (c.state === TcpState.Closed) return;
  }
  rearmWheel(c);
}

/** Nothing came along for the ACK to ride on: the talk is over. */
function delayedAckDue(c: TcpConnection): void {
  c.rx.isTalking = false;
  ackNow(c);
}

function retransmitDue(c: TcpConnection): void {
  const sh = c.shared;
  route(c); // first, since a new path may ask for smaller segments
  const recovery = c.recovery;
  switch (c.retransmitKind) {
    case Retransmit.LossProbe:
      if (recovery.board.isEmpty) return;
      sh.counters.lossProbes++;
      sendLossProbe(c);
      c.timeoutBaseMs = sh.now.ms;
      armRetransmit(c, Retransmit.Timeout, c.rtt.timeoutMs);
      return;
    case Retransmit.Reordering:
      recovery.detectLoss(c.sndMss, sh.now.us);
      recovery.enterIfLost(c.sndMss);
      watch(c);
      sh.markDirty(c);
      return;
    case Retransmit.Push:
      c.isPushing = true;
      sh.markDirty(c);
      return;
    case Retransmit.WindowProbe:
      windowProbeDue(c);
      return;
    default:
      if (c.state === TcpState.SynSent || c.state === TcpState.SynReceived) synDue(c);
      else timeoutDue(c);
  }
}

function synDue(c: TcpConnection): void {
  const sh = c.shared;
  const limit = c.state === TcpState.SynSent ? c.synRetries : TcpDefaults.synAckRetries;
  if (c.attempts >= limit || isUserTimeoutOver(c)) {
    sh.counters.attemptFails++;
    c.finish(c.softError !== 0 ? c.softError : TcpEnd.TimedOut);
    return;
  }
  c.attempts++;
  c.rtt.backoff++;
  sh.counters.timeouts++;
  sh.counters.retransSegs++;
  c.totalRetransmits++;
  c.recovery.onRetransmit(c.iss, 1, sh.now.us, sh.now.ms);
  sendSyn(c);
  armRetransmit(c, Retransmit.Timeout, userBounded(c, c.rtt.timeoutMs));
}

function timeoutDue(c: TcpConnection): void {
  const sh = c.shared;
  if (c.recovery.board.isEmpty) {
    sh.markDirty(c);
    return;
  }
  if (isGivenUp(c)) return;
  sh.counters.timeouts++;
  // A peer that took its window back drops what was in flight; as Linux, do not give it up while it answers.
  const isAnswering = c.sndWnd === 0 && (sh.now.ms - c.lastReceiveMs) >>> 0 <= RTO_MAX_MS;
  if (!isAnswering || c.isOrphan) c.attempts++;
  c.recovery.onTimeout(c.sndMss);
  c.rtt.backoff++;
  retransmitFirst(c);
  c.timeoutBaseMs = sh.now.ms;
  armRetransmit(c, Retransmit.Timeout, userBounded(c, c.rtt.timeoutMs));
}

function windowProbeDue(c: TcpConnection): void {
  const sh = c.shared;
  if (!c.recovery.board.isEmpty) {
    watch(c);
    return;
  }
  if (c.sndEnd === c.sndNxt && !c.isFinQueued) return;
  const window = (c.sndUna + c.sndWnd - c.sndNxt) | 0;
  if (window > 0) {
    c.isPushing = true; // RFC 9293 §3.8.6.2.1 (4): the override timeout sends what fits
    c.attempts = 0;
    sh.markDirty(c);
    return;
  }
  if (c.attempts === 0) c.stalledSinceMs = sh.now.ms;
  // Answers keep a connection for ever (RFC 9293 §3.8.6.1), but not one that has no owner and only holds memory (as Linux).
  if (c.isOrphan && c.rtt.timeoutMs >= RTO_MAX_MS) {
    c.abort();
    return;
  }
  if (isGivenUp(c)) return;
  c.attempts++;
  c.rtt.backoff++;
  sendProbe(c);
  armRetransmit(c, Retransmit.WindowProbe, userBounded(c, c.rtt.timeoutMs));
}

function keepAliveDue(c: TcpConnection): void {
  const sh = c.shared;
  if (!c.keepAlive) return;
  const idle = (sh.now.ms - c.lastReceiveMs) >>> 0;
  // Unacknowledged data has its own timer (RFC 9293 §3.8.4).
  if (idle < c.keepIdleMs || !c.recovery.board.isEmpty) {
    armAt(c, Timer.KeepAlive, idle < c.keepIdleMs ? c.keepIdleMs - idle : c.keepIdleMs);
    return;
  }
  const isOver = c.userTimeoutMs > 0 ? idle >= c.userTimeoutMs && c.keepProbes > 0 : c.keepProbes >= c.keepCount;
  if (isOver) {
    sh.counters.keepaliveDrops++;
    sendReset(c);
    c.finish(c.softError !== 0 ? c.softError : TcpEnd.TimedOut);
    return;
  }
  c.keepProbes++;
  sendProbe(c);
  armAt(c, Timer.KeepAlive, c.keepIntervalMs);
}

/** Too many expiries, or the user's patience is over: end the connection. */
function isGivenUp(c: TcpConnection): boolean {
  const limit = c.isOrphan ? TcpDefaults.orphanRetries : TcpDefaults.retries;
  if (c.userTimeoutMs > 0 ? !isUserTimeoutOver(c) : c.attempts < limit) return false;
  c.finish(c.softError !== 0 ? c.softError : TcpEnd.TimedOut);
  return true;
}

function isUserTimeoutOver(c: TcpConnection): boolean {
  return c.userTimeoutMs > 0 && ((c.shared.now.ms - c.stalledSinceMs) | 0) >= c.userTimeoutMs;
}

/** A wait that does not sleep past the user timeout. */
function userBounded(c: TcpConnection, waitMs: number): number {
  if (c.userTimeoutMs === 0) return waitMs;
  const left = (c.stalledSinceMs + c.userTimeoutMs - c.shared.now.ms) | 0;
  return left < waitMs ? Math.max(left, 1) : waitMs;
}
