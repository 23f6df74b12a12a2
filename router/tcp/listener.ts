/**
 * A listening socket: half-open connections (the SYN queue) and those that wait to be accepted. Both are bounded; a SYN
 * beyond the bound pushes out the oldest half-open one, so that a flood cannot lock honest peers out for long.
 * Does not match addresses: the stack's demultiplexer finds the listener of a segment.
 */
import { TcpFlag, tcpFlags, tcpHeaderLength, tcpSeq, tcpWindow } from '../wire/tcp.ts';
import { TcpConnection } from './connection.ts';
import { synArrives, Verdict } from './input.ts';
import { type FlowKey, type TcpAcceptor, TcpEnd, type TcpOwner } from './port.ts';
import { route, sendSyn } from './send.ts';
import { type PeerTerms, TcpDefaults, type TcpSettings, TcpState } from './settings.ts';
import type { TcpShared } from './shared.ts';
import { armRetransmit, Retransmit } from './timers.ts';

/** Where a listener is bound. All address words zero = any address (of the family, or of both for `isDual`). */
export interface TcpLocal {
  readonly vrf: number;
  readonly scope: number;
  readonly isV4: boolean;
  readonly l0: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  readonly localPort: number;
}

export class TcpListener implements TcpLocal {
  readonly vrf: number;
  readonly scope: number;
  readonly isV4: boolean;
  readonly l0: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  readonly localPort: number;
  /** Given to every connection. */
  settings: TcpSettings;
  /** What is asked of the remote of a flow; undefined = the same of everybody. */
  termsFor: ((flow: FlowKey) => PeerTerms | undefined) | undefined = undefined;
  backlog: number;
  isClosed = false;
  readonly #shared: TcpShared;
  readonly #acceptor: TcpAcceptor<TcpListener>;
  readonly #halfOpen = new ConnectionQueue();
  readonly #ready = new ConnectionQueue();

  constructor(
    shared: TcpShared,
    local: TcpLocal,
    backlog: number,
    acceptor: TcpAcceptor<TcpListener>,
    settings: TcpSettings,
  ) {
    this.#shared = shared;
    this.vrf = local.vrf;
    this.scope = local.scope;
    this.isV4 = local.isV4;
    this.l0 = local.l0;
    this.l1 = local.l1;
    this.l2 = local.l2;
    this.l3 = local.l3;
    this.localPort = local.localPort;
    this.backlog = backlog;
    this.#acceptor = acceptor;
    this.settings = settings;
  }

  /** Connections that wait for `accept` (TCP_INFO's unacked on a listener). */
  get waiting(): number {
    return this.#ready.length;
  }

  get halfOpen(): number {
    return this.#halfOpen.length;
  }

  /** May one more connection be queued? One more than the backlog, as Linux counts. */
  get hasRoom(): boolean {
    return !this.isClosed && this.#ready.length <= this.backlog;
  }

  setBacklog(backlog: number): void {
    this.backlog = backlog;
  }

  /** The oldest established connection, now owned by `owner`; undefined when none waits. */
  accept(owner: TcpOwner<TcpConnection>): TcpConnection | undefined {
    const c = this.#ready.shift();
    if (c === undefined) return undefined;
    c.listener = undefined;
    c.attach(owner);
    return c;
  }

  /** Stop listening: what nobody accepted is reset (RFC 9293 §3.10.4), half-open ones are forgotten. */
  close(): void {
    this.isClosed = true;
    for (let c = this.#ready.first; c !== undefined; c = this.#ready.first) c.abort();
    for (let c = this.#halfOpen.first; c !== undefined; c = this.#halfOpen.first) c.finish(TcpEnd.Aborted);
  }

  /** A segment for a port that listens, of a flow without connection (RFC 9293 §3.10.7.2). @returns a Verdict */
  onSegment(flow: FlowKey, at: number, length: number, tos: number): number {
    const sh = this.#shared;
    const b = sh.u8;
    const headerLength = tcpHeaderLength(b, at, length);
    if (headerLength === 0) {
      sh.counters.inErrs++;
      return Verdict.Consumed;
    }
    const terms = this.termsFor?.(flow);
    if (terms?.key !== undefined && !sh.isSigned(terms.key, flow, at, headerLength, length, 0)) return Verdict.Consumed;
    const flags = tcpFlags(b, at);
    if ((flags & TcpFlag.Rst) !== 0) return Verdict.Consumed;
    if ((flags & TcpFlag.Ack) !== 0) return Verdict.Reset;
    if ((flags & TcpFlag.Syn) === 0 || (flags & TcpFlag.Fin) !== 0) return Verdict.Consumed;
    if (!this.hasRoom) {
      sh.counters.listenOverflows++;
      return Verdict.Consumed; // silence: the peer tries again
    }
    const limit = Math.min(TcpDefaults.halfOpenMax, Math.max(TcpDefaults.halfOpenMin, this.backlog));
    if (this.#halfOpen.length >= limit) {
      sh.counters.synDrops++; // the place where SYN cookies (RFC 4987 §3.6) would begin
      this.#halfOpen.first!.finish(TcpEnd.Aborted);
    }
    sh.options.parse(b, at, headerLength);
    this.#open(flow, tcpSeq(b, at), tcpWindow(b, at), tos, terms);
    return Verdict.Consumed;
  }

  /** The handshake of one of ours is complete. */
  onEstablished(c: TcpConnection): void {
    this.#halfOpen.remove(c);
    this.#ready.push(c);
    this.#shared.counters.passiveOpens++;
    this.#acceptor.acceptable(this);
  }

  /** One of ours ended before it was accepted. */
  onGone(c: TcpConnection): void {
    c.listener = undefined;
    if (c.state === TcpState.SynReceived) this.#halfOpen.remove(c);
    else this.#ready.remove(c);
  }

  #open(flow: FlowKey, seq: number, window: number, tos: number, terms: PeerTerms | undefined): void {
    const sh = this.#shared;
    const c = new TcpConnection(sh, flow, terms === undefined ? this.settings : { ...this.settings, ...terms });
    if (!sh.table.insert(c)) {
      c.finish(TcpEnd.Aborted);
      return;
    }
    c.isHashed = true;
    c.listener = this;
    c.tos = this.settings.tos ?? tos & 0xfc; // answers go with the peer's DSCP unless told otherwise
    openSend(c);
    c.setState(TcpState.SynReceived);
    this.#halfOpen.push(c);
    route(c);
    synArrives(c, seq, window);
    c.recovery.onSent(1, sh.now.us, sh.now.ms);
    sendSyn(c);
    armRetransmit(c, Retransmit.Timeout, c.rtt.timeoutMs);
  }
}

/** Initial numbers of a new connection: ISN (`iss` when the caller knows a better one), timestamp offset, window scale. */
export function openSend(c: TcpConnection, iss?: number): void {
  const sh = c.shared;
  c.iss = iss ?? sh.initialSequence(c);
  c.tsOffset = sh.timestampOffset(c);
  c.sndEnd = (c.iss + 1) | 0;
  c.sndSmall = c.iss;
  c.sendBuffer.reset(c.sndEnd);
  c.recovery.start(c.iss);
  c.rx.scale = scaleFor(c.rx.max);
  c.stalledSinceMs = sh.now.ms;
  c.timeoutBaseMs = sh.now.ms;
  c.lastSendMs = sh.now.ms;
}

/** RFC 7323 §2.2: the smallest shift that can offer `octets`. */
function scaleFor(octets: number): number {
  let shift = 0;
  while (shift < 14 && octets >> shift > 65536) shift++;
  return shift;
}

/** A first-in-first-out list threaded through the connections themselves. */
class ConnectionQueue {
  first: TcpConnection | undefined;
  #last: TcpConnection | undefined;
  length = 0;

  push(c: TcpConnection): void {
    c.queuePrev = this.#last;
    c.queueNext = undefined;
    if (this.#last === undefined) this.first = c;
    else this.#last.queueNext = c;
    this.#last = c;
    this.length++;
  }

  shift(): TcpConnection | undefined {
    const c = this.first;
    if (c !== undefined) this.remove(c);
    return c;
  }

  remove(c: TcpConnection): void {
    if (c.queuePrev === undefined) this.first = c.queueNext;
    else c.queuePrev.queueNext = c.queueNext;
    if (c.queueNext === undefined) this.#last = c.queuePrev;
    else c.queueNext.queuePrev = c.queuePrev;
    c.queueNext = undefined;
    c.queuePrev = undefined;
    this.length--;
  }
}
