/**
 * What all connections of one engine share: the world, the page pool, the timing wheel, scratch objects, counters, and
 * the lists of connections that have something to do at the end of the vector. Holds no protocol logic.
 */
import { MutableTick, type Tick } from '../lib/clock.ts';
import type { PacketLink } from '../lib/link.ts';
import { type Random, SipHash } from '../lib/rand.ts';
import { TimerWheel } from '../lib/wheel.ts';
import type { PagePool, World } from '../lib/world.ts';
import { TcpOptions } from '../wire/tcp.ts';
import type { TcpConnection } from './connection.ts';
import type { FlowKey, IpPort, TcpTable } from './port.ts';
import { TcpState } from './settings.ts';
import { type SegmentKey, Signature } from './signature.ts';

/** RFC 6298, RFC 7323 and friends count; names follow Linux's SNMP names where one exists. */
export class TcpCounters {
  inSegs = 0;
  outSegs = 0;
  retransSegs = 0;
  inErrs = 0;
  outRsts = 0;
  activeOpens = 0;
  passiveOpens = 0;
  attemptFails = 0;
  estabResets = 0;
  currEstab = 0;
  timeouts = 0;
  lossProbes = 0;
  fastRecoveries = 0;
  undos = 0;
  pawsDrops = 0;
  challengeAcks = 0;
  outOfOrder = 0;
  dsacksSent = 0;
  dsacksReceived = 0;
  listenOverflows = 0;
  synDrops = 0;
  keepaliveDrops = 0;
  noMemoryDrops = 0;
  timeWaitRecycled = 0;
  /** Segments that had to be signed (RFC 2385) and were not, or with something else. */
  signatureMissing = 0;
  signatureWrong = 0;
}

export interface TcpParts {
  readonly world: World;
  /** Buffer pages, 16 KiB each in the daemon. */
  readonly pool: PagePool;
  readonly ip: IpPort;
  readonly table: TcpTable<TcpConnection>;
  readonly random: Random;
  /** 16 octets nobody else knows, for initial sequence numbers and timestamp offsets. */
  readonly secret: Uint8Array;
  /** The clock's reading at creation. */
  readonly tick: Tick;
}

/** TIME-WAIT connections kept at most; the oldest goes first (Linux: tcp_max_tw_buckets). */
const TIME_WAIT_MAX = 32768;

export class TcpShared {
  readonly u8: Uint8Array;
  readonly world: World;
  readonly pool: PagePool;
  readonly ip: IpPort;
  readonly table: TcpTable<TcpConnection>;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly counters = new TcpCounters();
  /** Options of the segment being processed. */
  readonly options = new TcpOptions();
  /** SACK blocks of the segment being built. */
  readonly sackOut = new Int32Array(8);
  /** The vector's time. */
  readonly now = new MutableTick();
  readonly #hash: SipHash;
  readonly #hashIn = new Int32Array(10);
  /** Connections by timer number. */
  readonly byTimer: (TcpConnection | undefined)[] = [];
  /** Connections with output or ACKs pending; those from `#dirtyTaken` to `#dirtyCount`. */
  readonly #dirty: (TcpConnection | undefined)[] = [];
  #dirtyCount = 0;
  #dirtyTaken = 0;
  /** Connections whose link was too full. */
  readonly #held: (TcpConnection | undefined)[] = [];
  #heldCount = 0;
  /** Connections that were refused send pages because the pool was empty. */
  readonly #starved: (TcpConnection | undefined)[] = [];
  #starvedCount = 0;
  /** TIME-WAIT connections, oldest first, linked through `timeWaitNext` and `timeWaitPrev`. */
  #timeWaitFirst: TcpConnection | undefined;
  #timeWaitLast: TcpConnection | undefined;
  timeWaitCount = 0;

  constructor(parts: TcpParts) {
    this.world = parts.world;
    this.u8 = parts.world.u8;
    this.pool = parts.pool;
    this.ip = parts.ip;
    this.table = parts.table;
    this.random = parts.random;
    this.#hash = new SipHash(parts.secret);
    this.setTime(parts.tick);
    this.wheel = new TimerWheel(parts.tick.ms);
  }

  /** RFC 2385: may this segment be believed? What may not is counted. @param gsoSize not 0 for a super-segment, which has no signature of its own */
  isSigned(key: SegmentKey, flow: FlowKey, at: number, headerLength: number, length: number, gsoSize: number): boolean {
    const verdict =
      gsoSize > 0 && length - headerLength > gsoSize
        ? Signature.Wrong
        : key.check(flow, this.u8, at, headerLength, length);
    if (verdict === Signature.Missing) this.counters.signatureMissing++;
    else if (verdict === Signature.Wrong) this.counters.signatureWrong++;
    return verdict === Signature.Good;
  }

  setTime(tick: Tick): void {
    this.now.us = tick.us;
    this.now.ms = tick.ms;
  }

  /** RFC 6528 §3: ISN = M + F(flow, secret), M a 4 microsecond timer. */
  initialSequence(f: FlowKey): number {
    return (this.#flowHash(f, 0) + (this.now.us >> 2)) | 0;
  }

  /** RFC 7323 §5.4: a random offset per connection, the same for all connections of a flow, so that PAWS and RFC 6191 work. */
  timestampOffset(f: FlowKey): number {
    return this.#flowHash(f, 1);
  }

  #flowHash(f: FlowKey, salt: number): number {
    const w = this.#hashIn;
    w[0] = f.l0;
    w[1] = f.l1;
    w[2] = f.l2;
    w[3] = f.l3;
    w[4] = f.r0;
    w[5] = f.r1;
    w[6] = f.r2;
    w[7] = f.r3;
    // The timestamp offset leaves the ports out: a reused port pair must not see time run backwards.
    w[8] = salt === 0 ? (f.localPort << 16) | f.remotePort : 0;
    w[9] = (f.vrf << 1) | salt;
    return this.#hash.of(w, 10);
  }

  /** Remember that `c` has something to send at the end of the vector. */
  markDirty(c: TcpConnection): void {
    if (c.isDirty) return;
    c.isDirty = true;
    this.#dirty[this.#dirtyCount++] = c;
  }

  /** The next dirty connection in the order they became so, or undefined; more may become dirty meanwhile. */
  takeDirty(): TcpConnection | undefined {
    if (this.#dirtyTaken === this.#dirtyCount) {
      this.#dirtyTaken = 0;
      this.#dirtyCount = 0;
      return undefined;
    }
    const c = this.#dirty[this.#dirtyTaken]!;
    this.#dirty[this.#dirtyTaken++] = undefined;
    c.isDirty = false;
    return c;
  }

  /** `c` may not emit on its link now; `releaseHeld` makes it dirty again. */
  hold(c: TcpConnection, link: PacketLink): void {
    link.wantDrain();
    if (c.isHeld) return;
    c.isHeld = true;
    this.#held[this.#heldCount++] = c;
  }

  releaseHeld(link: PacketLink): void {
    let kept = 0;
    for (let i = 0; i < this.#heldCount; i++) {
      const c = this.#held[i]!;
      if (c.link === link || c.link === undefined || c.state === TcpState.Closed) {
        c.isHeld = false;
        this.markDirty(c);
      } else this.#held[kept++] = c;
    }
    for (let i = kept; i < this.#heldCount; i++) this.#held[i] = undefined;
    this.#heldCount = kept;
  }

  starve(c: TcpConnection): void {
    if (c.isStarved) return;
    c.isStarved = true;
    this.#starved[this.#starvedCount++] = c;
  }

  /** A connection that may try again to get send pages, or undefined while the pool is nearly empty. */
  takeStarved(): TcpConnection | undefined {
    if (this.#starvedCount === 0 || this.pool.available < this.pool.capacity >> 4) return undefined;
    const c = this.#starved[--this.#starvedCount]!;
    this.#starved[this.#starvedCount] = undefined;
    c.isStarved = false;
    return c;
  }

  /**
   * Octets one buffer may hold now: a quarter of what is free beyond the reserve, which is handed out page by page. So a
   * connection that does not move cannot take much from the others, and many of them leave room for thousands more.
   */
  get fairShare(): number {
    return Math.max(1, this.#unreserved >> 2) * this.pool.pageSize;
  }

  /**
   * May a receive buffer of `pagesHeld` pages take more? Twice the share, so that octets inside a window offered earlier
   * are dropped only in need; and the last pages are for senders.
   */
  mayKeep(pagesHeld: number): boolean {
    return this.pool.available >= this.pool.capacity >> 4 && pagesHeld <= Math.max(1, this.#unreserved >> 1);
  }

  /** Free pages beyond the reserve of a quarter, negative when that has been touched. */
  get #unreserved(): number {
    return this.pool.available - (this.pool.capacity >> 2);
  }

  /** Queue a TIME-WAIT connection. @returns the one that must go because there are too many */
  enterTimeWait(c: TcpConnection): TcpConnection | undefined {
    c.timeWaitPrev = this.#timeWaitLast;
    c.timeWaitNext = undefined;
    if (this.#timeWaitLast === undefined) this.#timeWaitFirst = c;
    else this.#timeWaitLast.timeWaitNext = c;
    this.#timeWaitLast = c;
    this.timeWaitCount++;
    return this.timeWaitCount > TIME_WAIT_MAX ? this.#timeWaitFirst : undefined;
  }

  leaveTimeWait(c: TcpConnection): void {
    if (c.timeWaitPrev === undefined) this.#timeWaitFirst = c.timeWaitNext;
    else c.timeWaitPrev.timeWaitNext = c.timeWaitNext;
    if (c.timeWaitNext === undefined) this.#timeWaitLast = c.timeWaitPrev;
    else c.timeWaitNext.timeWaitPrev = c.timeWaitPrev;
    c.timeWaitPrev = undefined;
    c.timeWaitNext = undefined;
    this.timeWaitCount--;
  }
}
