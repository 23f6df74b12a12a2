/**
 * The TCP of one stack: the only door through which the stack and owners reach the core. Keeps time for the others,
 * answers segments that belong to nobody, and runs timers and the end of the vector.
 */
import type { Tick } from '../lib/clock.ts';
import type { PacketLink } from '../lib/link.ts';
import type { TimerSink } from '../lib/wheel.ts';
import {
  putSignatureRoom,
  putTcpHeader,
  SIGNATURE_LEN,
  TCP_HEADER_LEN,
  TcpFlag,
  tcpAck,
  tcpFlags,
  tcpHeaderLength,
  tcpSeq,
} from '../wire/tcp.ts';
import { TcpConnection } from './connection.ts';
import { expire } from './expire.ts';
import { segmentArrives, Verdict } from './input.ts';
import { openSend, TcpListener, type TcpLocal } from './listener.ts';
import type { FlowKey, TcpAcceptor, TcpOwner } from './port.ts';
import { refreshPathMtu, route, sendSyn, transmit } from './send.ts';
import { type PeerTerms, TcpDefaults, type TcpSettings, TcpState } from './settings.ts';
import { type TcpCounters, type TcpParts, TcpShared } from './shared.ts';
import { armRetransmit, Retransmit } from './timers.ts';

/** A TIME-WAIT connection gives way to a new one of the same flow after this (RFC 6191; Linux: tcp_tw_reuse). */
const TIME_WAIT_REUSE_MS = 1000;

export class TcpEngine implements TimerSink {
  readonly #shared: TcpShared;

  constructor(parts: TcpParts) {
    this.#shared = new TcpShared(parts);
  }

  get counters(): TcpCounters {
    return this.#shared.counters;
  }

  /** Connections in TIME-WAIT. */
  get timeWaitCount(): number {
    return this.#shared.timeWaitCount;
  }

  // ---- The owner's side

  /**
   * Open a connection (RFC 9293 §3.10.1): the SYN leaves at once; `owner.established` or `owner.closed` follows.
   * @returns undefined when the flow is in use (EADDRNOTAVAIL)
   */
  connect(flow: FlowKey, owner: TcpOwner<TcpConnection>, settings: TcpSettings, tick: Tick): TcpConnection | undefined {
    const sh = this.#shared;
    sh.setTime(tick);
    const old = sh.table.find(flow);
    let after: number | undefined;
    if (old !== undefined) {
      const isReusable =
        old.state === TcpState.TimeWait &&
        old.usesTimestamps &&
        ((tick.ms - old.tsRecentAtMs) | 0) > TIME_WAIT_REUSE_MS;
      if (!isReusable) return undefined;
      after = (old.sndNxt + 65537) | 0; // beyond any window of the old connection
      sh.counters.timeWaitRecycled++;
      old.finish(0);
    }
    const c = new TcpConnection(sh, flow, settings);
    c.attach(owner);
    openSend(c, after);
    c.setState(TcpState.SynSent);
    sh.table.insert(c);
    c.isHashed = true;
    sh.counters.activeOpens++;
    c.recovery.onSent(1, tick.us, tick.ms);
    sendSyn(c);
    armRetransmit(c, Retransmit.Timeout, c.rtt.timeoutMs);
    return c;
  }

  /** A listener (RFC 9293 §3.10.1); the stack makes it findable. */
  listen(
    local: TcpLocal,
    backlog: number,
    acceptor: TcpAcceptor<TcpListener>,
    settings: TcpSettings = {},
  ): TcpListener {
    return new TcpListener(this.#shared, local, backlog, acceptor, settings);
  }

  // ---- The stack's side

  /**
   * A segment of connection `c`, its checksum verified.
   * @param at world offset of the TCP header
   * @param length octets of header and payload
   * @param gsoSize payload octets per piece of a super-segment, else 0
   * @returns false when `c` gave way to a new connection (RFC 6191): look for a listener and offer the segment to it
   */
  onSegment(c: TcpConnection, at: number, length: number, gsoSize: number, _tos: number, tick: Tick): boolean {
    const sh = this.#shared;
    sh.setTime(tick);
    sh.counters.inSegs++;
    const verdict = segmentArrives(c, at, length, gsoSize);
    if (verdict === Verdict.Reset) this.#reset(c, at, length, c);
    return verdict !== Verdict.Retry;
  }

  /** A segment for a listening port, of a flow that has no connection. `flow` is copied. */
  onListenerSegment(
    listener: TcpListener,
    flow: FlowKey,
    at: number,
    length: number,
    _gsoSize: number,
    tos: number,
    tick: Tick,
  ): void {
    const sh = this.#shared;
    sh.setTime(tick);
    sh.counters.inSegs++;
    if (listener.onSegment(flow, at, length, tos) === Verdict.Reset)
      this.#reset(flow, at, length, listener.termsFor?.(flow));
  }

  /** A segment nobody waits for (RFC 9293 §3.10.7.1). */
  onUnknownSegment(flow: FlowKey, at: number, length: number, tick: Tick): void {
    const sh = this.#shared;
    sh.setTime(tick);
    sh.counters.inSegs++;
    this.#reset(flow, at, length, undefined);
  }

  /**
   * An ICMP error quoted a segment of `c`. Hard errors end a connection that is not yet established; later, and for soft
   * ones, the errno is only remembered (RFC 5461 §4, RFC 9293 §3.9.2.2).
   * @param seq sequence number in the quotation; one that is not in flight is ignored (RFC 5927 §4.1)
   */
  onIcmpError(c: TcpConnection, seq: number, errno: number, isHard: boolean, tick: Tick): void {
    this.#shared.setTime(tick);
    if (!c.isOutstanding(seq)) return;
    const isOpening = c.state === TcpState.SynSent || c.state === TcpState.SynReceived;
    if (isHard && isOpening) {
      this.#shared.counters.attemptFails++;
      c.finish(errno);
    } else c.softError = errno;
  }

  /** The path to the remote takes packets of at most `mtu` octets: send smaller, and again what was too large. */
  onPathMtu(c: TcpConnection, seq: number, mtu: number, tick: Tick): void {
    const sh = this.#shared;
    sh.setTime(tick);
    if (!c.isOutstanding(seq)) return;
    const link = route(c);
    if (link === undefined) return;
    const before = c.sndMss;
    refreshPathMtu(c, link);
    if (mtu < c.pathMtu) {
      c.pathMtu = mtu;
      c.pathSegment = mtu - (c.isV4 ? 40 : 60);
      c.updateMss();
    }
    if (c.sndMss >= before || c.state === TcpState.SynSent || c.state === TcpState.SynReceived) return;
    c.recovery.onPathTooSmall();
    sh.markDirty(c);
  }

  /** `link` has room again. */
  onLinkDrained(link: PacketLink): void {
    this.#shared.releaseHeld(link);
  }

  /** Run the timers that are due. */
  tick(tick: Tick): void {
    this.#shared.setTime(tick);
    this.#shared.wheel.advance(tick.ms, this);
  }

  /** The end of the vector: ACKs and output of every connection that has any. */
  onVectorEnd(tick: Tick): void {
    const sh = this.#shared;
    sh.setTime(tick);
    for (let c = sh.takeStarved(); c !== undefined; c = sh.takeStarved()) c.onSendProgress();
    for (let c = sh.takeDirty(); c !== undefined; c = sh.takeDirty()) transmit(c);
  }

  /** Milliseconds until `tick` has work, 0 = now, -1 = nothing is armed. May be early. */
  nextDeadlineMs(tick: Tick): number {
    return this.#shared.wheel.untilNext(tick.ms);
  }

  timerFired(id: number): void {
    const c = this.#shared.byTimer[id];
    if (c !== undefined) expire(c);
  }

  /**
   * RFC 9293 §3.10.7.1: a reset in answer to the segment at `at`. A peer that signs gets a signed one, or it would not
   * believe that we have forgotten the connection (RFC 2385 §4.1).
   */
  #reset(flow: FlowKey, at: number, length: number, terms: PeerTerms | undefined): void {
    const sh = this.#shared;
    const b = sh.u8;
    const headerLength = tcpHeaderLength(b, at, length);
    const flags = tcpFlags(b, at);
    if (headerLength === 0 || (flags & TcpFlag.Rst) !== 0) return;
    const hasAck = (flags & TcpFlag.Ack) !== 0;
    const seq = hasAck ? tcpAck(b, at) : 0;
    const occupied = length - headerLength + (flags & TcpFlag.Syn ? 1 : 0) + (flags & TcpFlag.Fin ? 1 : 0);
    const ack = hasAck ? 0 : (tcpSeq(b, at) + occupied) | 0;
    const link = sh.ip.resolve(flow);
    if (link === undefined) return;
    const key = terms?.key;
    const outLength = TCP_HEADER_LEN + (key === undefined ? 0 : SIGNATURE_LEN);
    const out = sh.ip.begin(flow, link, outLength);
    if (out < 0) return;
    sh.counters.outRsts++;
    const outFlags = hasAck ? TcpFlag.Rst : TcpFlag.Rst | TcpFlag.Ack;
    putTcpHeader(b, out, flow.localPort, flow.remotePort, seq, ack, outLength, outFlags, 0);
    if (key !== undefined) {
      putSignatureRoom(b, out + TCP_HEADER_LEN);
      key.sign(flow, b, out, outLength, outLength);
    }
    sh.ip.send(flow, link, out, outLength, 0, 0, 0, terms?.ttl ?? TcpDefaults.ttl);
  }
}
