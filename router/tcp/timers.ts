/**
 * A connection's timers. All its deadlines share one entry of the engine's wheel, moved lazily: re-arming a deadline to
 * a later time, which happens with every ACK, costs a store; the wheel's entry then fires early once and is set anew.
 */
import type { TcpConnection } from './connection.ts';

/** Bits of `TcpConnection.armed`. */
export const Timer = { Retransmit: 1, DelayedAck: 2, KeepAlive: 4, Wait: 8 } as const;

/** What the retransmission timer means. */
export const Retransmit = {
  /** RFC 6298: the oldest octet was not acknowledged in time. */
  Timeout: 0,
  /** RFC 8985 §7: provoke an ACK for the tail. */
  LossProbe: 1,
  /** RFC 8985 §6.3: the reordering window has passed. */
  Reordering: 2,
  /** RFC 9293 §3.8.6.1: the peer's window is closed. */
  WindowProbe: 3,
  /** A partial segment waits for a cork or for room in the link. */
  Push: 4,
} as const;

/** Arm one timer `delayMs` from now. */
export function armAt(c: TcpConnection, timer: number, delayMs: number): void {
  const at = (c.shared.now.ms + Math.max(delayMs, 0)) | 0;
  if (timer === Timer.Retransmit) c.retransmitAt = at;
  else if (timer === Timer.DelayedAck) c.delayedAckAt = at;
  else if (timer === Timer.KeepAlive) c.keepAliveAt = at;
  else c.waitAt = at;
  c.armed |= timer;
  if (!c.isWheelSet || ((at - c.wheelAt) | 0) < 0) setWheel(c, at);
}

/** Arm the retransmission timer with a meaning. */
export function armRetransmit(c: TcpConnection, kind: number, delayMs: number): void {
  c.retransmitKind = kind;
  armAt(c, Timer.Retransmit, delayMs);
}

export function disarm(c: TcpConnection, timer: number): void {
  c.armed &= ~timer;
}

export function disarmAll(c: TcpConnection): void {
  c.armed = 0;
  if (c.isWheelSet) {
    c.isWheelSet = false;
    c.shared.wheel.cancel(c.timerId);
  }
}

/** Take a due timer out of the armed set. @returns its bit, or 0 when none is due */
export function takeDue(c: TcpConnection): number {
  const now = c.shared.now.ms;
  const armed = c.armed;
  let due = 0;
  if ((armed & Timer.Retransmit) !== 0 && ((c.retransmitAt - now) | 0) <= 0) due = Timer.Retransmit;
  else if ((armed & Timer.DelayedAck) !== 0 && ((c.delayedAckAt - now) | 0) <= 0) due = Timer.DelayedAck;
  else if ((armed & Timer.KeepAlive) !== 0 && ((c.keepAliveAt - now) | 0) <= 0) due = Timer.KeepAlive;
  else if ((armed & Timer.Wait) !== 0 && ((c.waitAt - now) | 0) <= 0) due = Timer.Wait;
  c.armed &= ~due;
  return due;
}

/** After the wheel fired: set it for the earliest deadline that is left. */
export function rearmWheel(c: TcpConnection): void {
  const armed = c.armed;
  if (armed === 0) return;
  const now = c.shared.now.ms;
  let wait = 0x7fffffff;
  if ((armed & Timer.Retransmit) !== 0) wait = earlier(wait, c.retransmitAt, now);
  if ((armed & Timer.DelayedAck) !== 0) wait = earlier(wait, c.delayedAckAt, now);
  if ((armed & Timer.KeepAlive) !== 0) wait = earlier(wait, c.keepAliveAt, now);
  if ((armed & Timer.Wait) !== 0) wait = earlier(wait, c.waitAt, now);
  setWheel(c, (now + wait) | 0);
}

function earlier(wait: number, at: number, now: number): number {
  const left = (at - now) | 0;
  return Math.min(left, wait);
}

function setWheel(c: TcpConnection, at: number): void {
  c.isWheelSet = true;
  c.wheelAt = at;
  c.shared.wheel.set(c.timerId, at);
}
