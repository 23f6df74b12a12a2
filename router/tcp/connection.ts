/**
 * One TCP connection: its variables (RFC 9293 §3.3.1), its borders to owner and engine, its end. Segments come in through
 * input.ts and leave through send.ts; what the owner calls here only records wishes, which the end of the vector serves.
 * RFCs to read first: 9293, 7323. Not here: listening (listener.ts), loss (recovery.ts), windows (receive.ts).
 */

import type { PacketLink } from '../lib/link.ts';
import { PagedBuffer } from '../lib/paged-buffer.ts';
import { seqGt, seqLe } from '../lib/seq.ts';
import { SIGNATURE_LEN } from '../wire/tcp.ts';
import { Cubic } from './congestion.ts';
import { TcpInfo } from './info.ts';
import type { TcpListener } from './listener.ts';
import { type FlowKey, TcpEnd, type TcpOwner } from './port.ts';
import { offerBuffered, ReceiveState } from './receive.ts';
import { Recovery } from './recovery.ts';
import { RttEstimator } from './rtt.ts';
import { sendReset } from './send.ts';
import { TcpDefaults, type TcpSettings, TcpState } from './settings.ts';
import type { TcpShared } from './shared.ts';
import type { SegmentKey } from './signature.ts';
import { armAt, disarm, disarmAll, Timer } from './timers.ts';

/** Send room below which the owner is not woken: a third of the limit, as Linux. */
const WAKE_SHARE = 3;
const SEND_BUFFER_MIN = 256 * 1024;

export class TcpConnection implements FlowKey {
  readonly shared: TcpShared;
  // The flow
  readonly vrf: number;
  readonly scope: number;
  readonly isV4: boolean;
  readonly l0: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  readonly localPort: number;
  readonly r0: number;
  readonly r1: number;
  readonly r2: number;
  readonly r3: number;
  readonly remotePort: number;
  device: number;

  state: number = TcpState.Closed;
  owner: TcpOwner<TcpConnection> | undefined;
  /** Set until the connection is accepted. */
  listener: TcpListener | undefined;
  /** The owner let go with `close`: nobody takes octets any more. */
  isOrphan = false;
  isReadShut = false;
  /** The protocol is done, the owner has yet to take the last octets. */
  isConcluding = false;

  // Settings; change them through the methods below when segments depend on it
  noDelay: boolean;
  cork = false;
  quickAck: boolean;
  keepAlive: boolean;
  keepIdleMs: number;
  keepIntervalMs: number;
  keepCount: number;
  userTimeoutMs: number;
  /** Upper bound for the MSS in both directions, 0 = none (TCP_MAXSEG). */
  maxSegment: number;
  sendBufferMax: number;
  tos: number;
  ttl: number;
  synRetries: number;
  /** RFC 2385: signs and checks every segment. */
  readonly key: SegmentKey | undefined;
  /** RFC 5082: IP drops what comes with a smaller TTL. */
  minTtl: number;

  // Route
  link: PacketLink | undefined;
  routeGeneration = -1;
  pathMtu = 0;
  /** Octets of TCP payload and options per packet that the path allows. */
  pathSegment = 0;
  /** The peer's MSS option (RFC 9293 §3.7.1: 536 without one, 1220 for IPv6). */
  peerMss: number;
  /** Payload octets of a full segment: both limits, less our options (RFC 6691 §2). */
  sndMss = 536;

  // Send sequence variables
  iss = 0;
  sndWnd = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  /** Largest window the peer ever offered (RFC 9293 §3.8.6.2.1). */
  sndWndMax = 0;
  sndScale = 0;
  /** One past the last octet supplied by the owner. */
  sndEnd = 0;
  /** End of the last segment shorter than the MSS (Minshall's variant of Nagle). */
  sndSmall = 0;
  isFinQueued = false;
  isFinSent = false;
  /** The owner was refused room. */
  wantsSpace = false;
  isCwndLimited = false;
  /** Send what is there regardless of Nagle, cork and the peer's window edge. */
  isPushing = false;
  lastSendMs = 0;
  readonly sendBuffer: PagedBuffer;
  readonly rtt = new RttEstimator();
  readonly cc = new Cubic();
  readonly recovery: Recovery;
  readonly rx: ReceiveState;

  // Options in force; before the handshake: options we offer (RFC 7323, RFC 2018)
  usesScale: boolean;
  usesTimestamps: boolean;
  usesSack: boolean;
  tsOffset = 0;
  tsRecent = 0;
  tsRecentAtMs = 0;

  // Timers: deadlines, and which of them are armed
  readonly timerId: number;
  armed = 0;
  retransmitAt = 0;
  delayedAckAt = 0;
  keepAliveAt = 0;
  waitAt = 0;
  /** Meaning of the retransmission timer: a Retransmit value of timers.ts. */
  retransmitKind = 0;
  isWheelSet = false;
  wheelAt = 0;
  /** Expiries without progress: SYNs, retransmissions, window or keepalive probes. */
  attempts = 0;
  keepProbes = 0;
  /** When progress was last made while something was outstanding, for the user timeout. */
  stalledSinceMs = 0;
  /** RFC 6298 §5.3: the retransmission timeout counts from here. */
  timeoutBaseMs = 0;
  lastReceiveMs = 0;
  lastChallengeMs = 0;
  hasChallenged = false;
  /** A soft ICMP error to report if the connection never comes to life (RFC 5461 §4). */
  softError = 0;

  // Membership in the engine's lists
  isDirty = false;
  isHeld = false;
  isStarved = false;
  isHashed = false;
  timeWaitNext: TcpConnection | undefined;
  timeWaitPrev: TcpConnection | undefined;
  queueNext: TcpConnection | undefined;
  queuePrev: TcpConnection | undefined;

  /** World offset of the room that `sendSpan` found. */
  spanAt = 0;
  /** Octets of room that `sendSpans` found. */
  spanRoom = 0;
  readonly stats = new Float64Array(4);
  segsIn = 0;
  segsOut = 0;
  dataSegsIn = 0;
  dataSegsOut = 0;
  totalRetransmits = 0;
  #info: TcpInfo | undefined;

  constructor(shared: TcpShared, flow: FlowKey, settings: TcpSettings) {
    this.shared = shared;
    this.vrf = flow.vrf;
    this.scope = flow.scope;
    this.isV4 = flow.isV4;
    this.l0 = flow.l0;
    this.l1 = flow.l1;
    this.l2 = flow.l2;
    this.l3 = flow.l3;
    this.localPort = flow.localPort;
    this.r0 = flow.r0;
    this.r1 = flow.r1;
    this.r2 = flow.r2;
    this.r3 = flow.r3;
    this.remotePort = flow.remotePort;
    this.device = flow.device;
    this.noDelay = settings.noDelay ?? false;
    this.quickAck = settings.quickAck ?? false;
    this.keepAlive = settings.keepAlive ?? false;
    this.keepIdleMs = settings.keepIdleMs ?? TcpDefaults.keepIdleMs;
    this.keepIntervalMs = settings.keepIntervalMs ?? TcpDefaults.keepIntervalMs;
    this.keepCount = settings.keepCount ?? TcpDefaults.keepCount;
    this.userTimeoutMs = settings.userTimeoutMs ?? 0;
    this.maxSegment = settings.maxSegment ?? 0;
    this.sendBufferMax = settings.sendBufferMax ?? TcpDefaults.sendBufferMax;
    this.tos = settings.tos ?? 0;
    this.ttl = settings.ttl ?? TcpDefaults.ttl;
    this.usesScale = settings.windowScaling ?? true;
    this.key = settings.key;
    this.minTtl = settings.minTtl ?? 0;
    // As Linux: beside a signature and timestamps no SACK block has room, and SACK is worth more.
    this.usesTimestamps = (settings.timestamps ?? true) && settings.key === undefined;
    this.usesSack = settings.sack ?? true;
    this.synRetries = settings.synRetries ?? TcpDefaults.synRetries;
    this.peerMss = flow.isV4 ? 536 : 1220;
    this.sendBuffer = new PagedBuffer(shared.world, shared.pool);
    this.rx = new ReceiveState(shared.world, shared.pool, settings.receiveBufferMax ?? TcpDefaults.receiveBufferMax);
    this.recovery = new Recovery(this.rtt, this.cc, shared.counters);
    this.timerId = shared.wheel.alloc();
    shared.byTimer[this.timerId] = this;
    this.lastReceiveMs = shared.now.ms;
    this.lastSendMs = shared.now.ms;
  }

  get sndUna(): number {
    return this.recovery.board.una;
  }

  get sndNxt(): number {
    return this.recovery.board.nxt;
  }

  get rcvNxt(): number {
    return this.rx.nxt;
  }

  /** Octets accepted from the owner and not acknowledged (SIOCOUTQ). */
  get unacknowledged(): number {
    const n = (this.sndEnd - this.sndUna) | 0;
    return Math.max(n, 0);
  }

  /** In-order octets that the owner has not taken (SIOCINQ). */
  get unread(): number {
    return (this.rx.nxt - this.rx.readNxt - (this.rx.isFinished ? 1 : 0)) | 0;
  }

  /** Figures for TCP_INFO. */
  get info(): TcpInfo {
    return (this.#info ??= new TcpInfo(this));
  }

  /** The timestamp clock of this connection (RFC 7323 §5.4). */
  get tsNow(): number {
    return (this.shared.now.ms + this.tsOffset) | 0;
  }

  /** True when octets can still be supplied. */
  get isWritable(): boolean {
    return !this.isFinQueued && this.state !== TcpState.Closed && this.state !== TcpState.TimeWait;
  }

  // ---- Supply

  /** Octets the owner may supply now: the autotuned send buffer less what it holds. */
  get sendRoom(): number {
    if (!this.isWritable) return 0;
    const room = this.#sendLimit() - this.unacknowledged;
    return Math.max(room, 0);
  }

  /**
   * Contiguous room for octets, at most `max`, at world offset `spanAt`; `commitSend` supplies what was written there.
   * @returns octets; 0 means that `sendSpace` will be called
   */
  sendSpan(max: number): number {
    const room = this.sendRoom;
    if (room === 0) {
      this.wantsSpace = true;
      return 0;
    }
    const n = this.sendBuffer.writable(this.sndEnd, Math.min(room, max));
    if (n === 0) {
      this.wantsSpace = true;
      this.shared.starve(this);
    }
    this.spanAt = this.sendBuffer.spanAt;
    return n;
  }

  /**
   * Like `sendSpan` over up to `most` pages: writes int32 pairs (world offset, octets) to `listAt` and sets `spanRoom`.
   * @returns pairs; 0 means that `sendSpace` will be called
   */
  sendSpans(listAt: number, most: number): number {
    const { i32 } = this.shared.world;
    const w = listAt >> 2;
    let room = this.sendRoom;
    let position = this.sndEnd;
    let count = 0;
    while (count < most && room > 0) {
      const n = this.sendBuffer.writable(position, room);
      if (n === 0) break;
      i32[w + 2 * count] = this.sendBuffer.spanAt;
      i32[w + 2 * count + 1] = n;
      position = (position + n) | 0;
      room -= n;
      count++;
    }
    this.spanRoom = (position - this.sndEnd) | 0;
    if (count === 0) {
      this.wantsSpace = true;
      if (room > 0) this.shared.starve(this);
    }
    return count;
  }

  /** The first `length` octets of the last span or spans are to be sent. */
  commitSend(length: number): void {
    this.sndEnd = (this.sndEnd + length) | 0;
    this.shared.markDirty(this);
  }

  /** Supply octets at world offset `at` by copying. @returns how many fitted */
  write(at: number, length: number): number {
    let done = 0;
    while (done < length) {
      const n = this.sendSpan(length - done);
      if (n === 0) break;
      this.shared.world.copy(this.spanAt, at + done, n);
      this.commitSend(n);
      done += n;
    }
    return done;
  }

  /** No more octets will be supplied: FIN after the last one (RFC 9293 §3.10.4). */
  shutdownWrite(): void {
    if (!this.isWritable) return;
    this.isFinQueued = true;
    this.startClosing();
  }

  /** The FIN is queued: the state changes now, as on Linux, not when the FIN leaves. Before the handshake it waits. */
  startClosing(): void {
    this.leaveEstablished();
    if (this.state === TcpState.Established) this.setState(TcpState.FinWait1);
    else if (this.state === TcpState.CloseWait) this.setState(TcpState.LastAck);
    else return;
    this.shared.markDirty(this);
  }

  /** Octets that arrive from now on are acknowledged and dropped, as Linux does after shutdown(SHUT_RD). */
  shutdownRead(): void {
    this.isReadShut = true;
    offerBuffered(this);
  }

  /** The owner has room again: offer what was kept, and open the window. */
  pull(): void {
    offerBuffered(this);
  }

  /** A new owner takes over (accept). Octets that were received meanwhile come with `pull`. */
  attach(owner: TcpOwner<TcpConnection>): void {
    this.owner = owner;
  }

  // ---- End

  /**
   * The owner lets go and is not called again. What it supplied is still delivered, followed by FIN; octets it never
   * read, or that still arrive, turn the end into a reset (RFC 2525 §2.17, RFC 9293 §3.6.1).
   */
  close(): void {
    this.owner = undefined;
    if (this.isConcluding) this.conclude(TcpEnd.Clean);
    if (this.isOrphan || this.state === TcpState.Closed || this.state === TcpState.TimeWait) return;
    this.isOrphan = true;
    if (this.state === TcpState.SynSent) {
      this.finish(TcpEnd.Clean);
      return;
    }
    if (this.unread > 0) {
      this.abort();
      return;
    }
    this.shutdownWrite();
    if (this.state === TcpState.FinWait2) armAt(this, Timer.Wait, TcpDefaults.finWait2Ms);
  }

  /** Reset the connection (SO_LINGER 0, RFC 9293 §3.10.5). The owner is not called again. */
  abort(): void {
    this.owner = undefined;
    if (this.isConcluding) this.conclude(TcpEnd.Clean);
    if (this.state === TcpState.Closed) return;
    if (this.state !== TcpState.SynSent && this.state !== TcpState.TimeWait) sendReset(this);
    this.finish(TcpEnd.Clean);
  }

  /** The connection is gone: give everything back and tell the owner. */
  finish(errno: number): void {
    if (this.state === TcpState.Closed) return;
    const sh = this.shared;
    if (this.state === TcpState.TimeWait) sh.leaveTimeWait(this);
    this.leaveEstablished();
    this.listener?.onGone(this);
    const wasTimeWait = this.state === TcpState.TimeWait;
    this.setState(TcpState.Closed);
    disarmAll(this);
    sh.wheel.free(this.timerId);
    sh.byTimer[this.timerId] = undefined;
    if (this.isHashed) {
      this.isHashed = false;
      sh.table.remove(this);
    }
    if (!wasTimeWait) this.conclude(errno);
  }

  /** RFC 9293 §3.6: wait until old duplicates have died. The owner is done with the connection. */
  enterTimeWait(): void {
    const sh = this.shared;
    this.leaveEstablished();
    this.setState(TcpState.TimeWait);
    disarmAll(this);
    sh.enterTimeWait(this)?.finish(TcpEnd.Clean);
    armAt(this, Timer.Wait, TcpDefaults.timeWaitMs);
    this.conclude(TcpEnd.Clean);
  }

  /**
   * Give the buffers back and tell the owner that it is over. After a clean end the owner first gets what it has not
   * taken yet, however long that takes; `offerBuffered` concludes then.
   */
  conclude(errno: number): void {
    this.sendBuffer.reset(this.sndEnd);
    const hasUnread = this.owner !== undefined && this.rx.isFinished && !this.rx.isFinTold;
    this.isConcluding = errno === TcpEnd.Clean && hasUnread;
    if (this.isConcluding) return;
    this.rx.giveBack();
    const owner = this.owner;
    this.owner = undefined;
    owner?.closed(this, errno);
  }

  setState(state: number): void {
    this.state = state;
  }

  /** Keep the gauge of synchronized connections right. */
  leaveEstablished(): void {
    if (this.state === TcpState.Established || this.state === TcpState.CloseWait) this.shared.counters.currEstab--;
  }

  // ---- Options that act at once

  setNoDelay(on: boolean): void {
    this.noDelay = on;
    if (on) this.shared.markDirty(this);
  }

  setCork(on: boolean): void {
    this.cork = on;
    if (!on) {
      this.isPushing = true; // uncorking sends the partial segment (tcp(7))
      this.shared.markDirty(this);
    }
  }

  setKeepAlive(on: boolean): void {
    this.keepAlive = on;
    this.restartKeepAlive();
  }

  setKeepAliveTimes(idleMs: number, intervalMs: number, count: number): void {
    this.keepIdleMs = idleMs;
    this.keepIntervalMs = intervalMs;
    this.keepCount = count;
    this.restartKeepAlive();
  }

  /** Use only this link from now on, 0 = any (SO_BINDTODEVICE). */
  setDevice(link: number): void {
    this.device = link;
    this.routeGeneration = (this.shared.ip.routeGeneration - 1) | 0;
  }

  setMaxSegment(octets: number): void {
    this.maxSegment = octets;
    this.updateMss();
  }

  /** RFC 9293 §3.8.4: probes only when asked for, and only on a connection that stands. */
  restartKeepAlive(): void {
    this.keepProbes = 0;
    if (this.keepAlive && this.state !== TcpState.SynSent && this.state < TcpState.TimeWait) {
      armAt(this, Timer.KeepAlive, this.keepIdleMs - ((this.shared.now.ms - this.lastReceiveMs) >>> 0));
    } else disarm(this, Timer.KeepAlive);
  }

  // ---- For the other files of this folder

  /** Does a quoted sequence number belong to octets in flight? (RFC 5927 §4.1) */
  isOutstanding(seq: number): boolean {
    return seqLe(this.sndUna, seq) && seqGt(this.sndNxt, seq);
  }

  /** Recompute the size of a full segment. */
  updateMss(): void {
    let mss = Math.min(this.peerMss, this.pathSegment);
    if (this.maxSegment > 0 && this.maxSegment < mss) mss = this.maxSegment;
    mss -= (this.usesTimestamps ? 12 : 0) + (this.key !== undefined ? SIGNATURE_LEN : 0);
    this.sndMss = Math.max(mss, 48); // Linux: TCP_MIN_SND_MSS, against a peer that asks for one octet per packet
    if (this.cc.cwnd > 0 && this.cc.cwnd < this.sndMss) this.cc.cwnd = this.sndMss;
  }

  /** Our MSS option: what fits into the link's packets (RFC 6691 §2). */
  get localMss(): number {
    const mss = (this.link?.mtu ?? 1280) - (this.isV4 ? 40 : 60);
    return this.maxSegment > 0 && this.maxSegment < mss ? this.maxSegment : mss;
  }

  /** Acknowledged octets left the buffer: wake the owner when enough room came back. */
  onSendProgress(): void {
    if (!this.wantsSpace || !this.isWritable) return;
    const limit = this.#sendLimit();
    if (limit - this.unacknowledged < limit / WAKE_SHARE) return;
    this.wantsSpace = false;
    this.owner?.sendSpace(this);
  }

  #sendLimit(): number {
    const wanted = 2 * this.cc.cwnd + SEND_BUFFER_MIN;
    return Math.min(wanted, this.sendBufferMax, this.shared.fairShare);
  }
}
