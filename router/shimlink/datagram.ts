/**
 * Message sockets of an app over a SEQPACKET pair, each message behind a struct mls_dgram: what UDP (udp-socket.ts) and
 * ping (ping-socket.ts) have in common. Moves batches; a message the app has no room for is dropped and counted, as a
 * full receive buffer does in the kernel.
 */
import { get16, get32, put16, put32 } from '../lib/bytes.ts';
import { Epoll, Shut, SOCK_DGRAM } from '../native/index.ts';
import { type DatagramInfo, DatagramSpec, Errno } from '../stack/port.ts';
import { Option } from './option-table.ts';
import { putInt } from './options.ts';
import { Dgram, DgramFlag, E, getHost16, IPPROTO_IP } from './proto.ts';
import { SockAddr } from './sockaddr.ts';
import { AppSocket } from './socket.ts';
import { UNKNOWN_WAY, WayCache } from './way-cache.ts';

/** Room for a header and the largest datagram. */
export const DATAGRAM_SLOT = 65664;
/** Messages taken with one call. */
export const DATAGRAM_BATCH = 16;
/** Calls per turn and socket. */
const ROUNDS = 8;
const EVENTS = Epoll.In | Epoll.RdHup | Epoll.EdgeTriggered;

export abstract class DatagramSocket extends AppSocket {
  override readonly type = SOCK_DGRAM;
  readonly #spec = new DatagramSpec();
  #ways: WayCache | undefined;
  readonly #own = new SockAddr();
  /** The link's queue was full: the app waits until it has drained. */
  #isPaused = false;
  /** The app has closed; what it had sent is still to go out. */
  #appGone = false;

  /** Take over the router's end of a new pair. @returns 0 or -errno */
  open(fd: number): number {
    this.fd = fd;
    return this.hub.poller.add(this, fd, EVENTS);
  }

  /** Send one datagram of the app. @returns 0 or an errno (positive) */
  protected abstract sendDatagram(spec: DatagramSpec, at: number, length: number): number;
  /** Close the endpoint in the stack. */
  protected abstract closeEndpoint(): void;

  override listen(): number {
    return -E.EOPNOTSUPP;
  }

  override shutdown(how: number): number {
    if (how < Shut.Rd || how > Shut.RdWr) return -E.EINVAL;
    return this.isConnected ? 0 : -E.ENOTCONN;
  }

  protected override liveOption(key: number, at: number, room: number): number | undefined {
    if (key === Option.AcceptConn) return putInt(this.hub.world.u8, at, room, 0, false);
    if (key === Option.IpMtu || key === Option.V6Mtu) {
      const mtu = this.pathMtu();
      return mtu === 0 ? -E.ENOTCONN : putInt(this.hub.world.u8, at, room, mtu, key >> 16 === IPPROTO_IP);
    }
    return undefined;
  }

  /** Let rules choose the link of a datagram to `to`, unless the app named one. @returns 0 or an errno (positive) */
  protected chooseWay(spec: DatagramSpec, to: SockAddr): number {
    const { policy } = this.hub;
    if (policy === undefined || spec.link !== 0) return 0;
    if (spec.hasLocal) {
      // IP_PKTINFO with an address of the host's: as one that is bound.
      spec.link = policy.hostLinkOfAddress(this.#own.set(this.family, spec.l0, spec.l1, spec.l2, spec.l3, 0, 0));
      if (spec.link !== 0) return 0;
    }
    this.#ways ??= new WayCache();
    let link = this.#ways.find(policy, to);
    if (link === UNKNOWN_WAY) {
      link = this.chooseLink(to, this.#ways.before(to));
      if (link < 0) return -link;
      this.#ways.keep(policy, to, link);
    }
    spec.link = link;
    return 0;
  }

  override abandon(): void {
    const r = this.remote;
    this.tellError(E.ECONNABORTED, r.a0, r.a1, r.a2, r.a3, r.port);
  }

  /** Path MTU to the connected peer, 0 without one. */
  protected pathMtu(): number {
    if (!this.isConnected) return 0;
    const { core } = this.hub.stack;
    const r = this.remote;
    const out = core.route(this.vrf, r.scope, r.a0, r.a1, r.a2, r.a3, 0);
    return out === undefined ? 0 : core.pathMtu.get(this.vrf, r.a0, r.a1, r.a2, r.a3, out.link.mtu);
  }

  // ---- App -> stack

  override onEvents(events: number): void {
    if ((events & Epoll.Hup) !== 0) this.#appGone = true;
    if ((events & (Epoll.In | Epoll.Hup)) !== 0) this.#take();
  }

  override onReady(): void {
    this.#isPaused = false;
    if (this.fd >= 0) this.#take();
  }

  #take(): void {
    if (this.#drain() && this.#appGone) this.release();
  }

  /** Send what the app has written, as much as may be sent now. @returns true when nothing is left in the pair */
  #drain(): boolean {
    if (this.#isPaused) return false;
    const { native, world, slotsAt, lengthsAt } = this.hub;
    for (let round = 0; round < ROUNDS; round++) {
      const n = native.recvDatagrams(this.fd, slotsAt, DATAGRAM_SLOT, DATAGRAM_BATCH, lengthsAt);
      if (n === -E.ECONNRESET) continue; // told once: the app closed without reading everything
      if (n <= 0) return true;
      for (let i = 0; i < n; i++) {
        const length = world.i32[(lengthsAt >> 2) + i]!;
        if (length === 0) return true; // the end
        if (length >= Dgram.Size) this.#one(slotsAt + i * DATAGRAM_SLOT, length - Dgram.Size);
      }
      if (n < DATAGRAM_BATCH) return true;
      if (this.#isPaused) return false;
    }
    this.hub.poller.ready(this);
    return false;
  }

  #one(at: number, length: number): void {
    const { u8, i32 } = this.hub.world;
    const spec = this.#spec.reset();
    const flags = u8[at + Dgram.Flags]!;
    if ((flags & DgramFlag.Addr) !== 0) {
      spec.hasRemote = true;
      spec.r0 = get32(u8, at + Dgram.Addr);
      spec.r1 = get32(u8, at + Dgram.Addr + 4);
      spec.r2 = get32(u8, at + Dgram.Addr + 8);
      spec.r3 = get32(u8, at + Dgram.Addr + 12);
      spec.remotePort = get16(u8, at + Dgram.Port);
      spec.scope = i32[(at + Dgram.Scope) >> 2]!;
    }
    if ((flags & DgramFlag.Local) !== 0) {
      spec.l0 = get32(u8, at + Dgram.Local);
      spec.l1 = get32(u8, at + Dgram.Local + 4);
      spec.l2 = get32(u8, at + Dgram.Local + 8);
      spec.l3 = get32(u8, at + Dgram.Local + 12);
      // IP_PKTINFO with a zero address names an interface only.
      spec.hasLocal = spec.l3 !== 0 || spec.l1 !== 0 || spec.l0 !== 0;
    }
    if ((flags & DgramFlag.IfIndex) !== 0) spec.link = i32[(at + Dgram.IfIndex) >> 2]!;
    if ((flags & DgramFlag.Ttl) !== 0) spec.ttl = u8[at + Dgram.Ttl]!;
    if ((flags & DgramFlag.Tos) !== 0) spec.tos = u8[at + Dgram.Tos]!;
    spec.gsoSize = getHost16(u8, at + Dgram.GsoSize);
    this.hub.counters.datagramsFromApps++;
    const failed = this.sendDatagram(spec, at + Dgram.Size, length);
    if (failed === 0) return;
    if (failed === Errno.EAGAIN) {
      this.hub.counters.datagramsDroppedFromApps++;
      this.#isPaused = true;
      this.hub.resumeOnDrain(this);
      return;
    }
    this.tellError(failed, spec.r0, spec.r1, spec.r2, spec.r3, spec.remotePort);
  }

  // ---- Stack -> app

  /** Put what is the same for a datagram and an error into the header area. */
  #header(flags: number, r0: number, r1: number, r2: number, r3: number, port: number): number {
    const { u8 } = this.hub.world;
    const at = this.hub.headAt;
    u8.fill(0, at, at + Dgram.Size);
    u8[at + Dgram.Family] = this.family;
    u8[at + Dgram.Flags] = flags;
    put16(u8, at + Dgram.Port, port);
    put32(u8, at + Dgram.Addr, r0);
    put32(u8, at + Dgram.Addr + 4, r1);
    put32(u8, at + Dgram.Addr + 8, r2);
    put32(u8, at + Dgram.Addr + 12, r3);
    return at;
  }

  /** Hand a datagram (or several of `gsoSize` octets) to the app, as coming from `r`. */
  protected pass(
    info: DatagramInfo,
    r0: number,
    r1: number,
    r2: number,
    r3: number,
    port: number,
    from: number,
    length: number,
    gsoSize: number,
  ): void {
    if (this.fd < 0) return;
    const { native, world, counters } = this.hub;
    const at = this.#header(DgramFlag.Addr, r0, r1, r2, r3, port);
    const u8 = world.u8;
    u8[at + Dgram.Ttl] = info.ttl;
    u8[at + Dgram.Tos] = info.tos;
    world.i32[(at + Dgram.IfIndex) >> 2] = info.link;
    world.i32[(at + Dgram.Scope) >> 2] = info.scope;
    put32(u8, at + Dgram.Local, info.l0);
    put32(u8, at + Dgram.Local + 4, info.l1);
    put32(u8, at + Dgram.Local + 8, info.l2);
    put32(u8, at + Dgram.Local + 12, info.l3);
    let cut = gsoSize;
    if (gsoSize > 0 && this.options.number(Option.UdpGro) !== 0) {
      u8[at + Dgram.GsoSize] = gsoSize;
      u8[at + Dgram.GsoSize + 1] = gsoSize >>> 8;
      cut = 0;
    }
    const total = cut > 0 ? Math.ceil(length / cut) : 1;
    const n = native.sendDatagrams(this.fd, at, Dgram.Size, from, length, cut);
    if (n > 0) counters.datagramsToApps += n;
    if (n < total) counters.datagramsDroppedToApps += total - Math.max(n, 0);
  }

  /** A pending socket error: the next receive (or send) of the app returns it. */
  protected tellError(errno: number, r0: number, r1: number, r2: number, r3: number, port: number): void {
    if (this.fd < 0) return;
    const at = this.#header(DgramFlag.Addr | DgramFlag.Error, r0, r1, r2, r3, port);
    this.hub.world.i32[(at + Dgram.Err) >> 2] = errno;
    this.hub.counters.datagramErrors++;
    this.hub.native.sendDatagrams(this.fd, at, Dgram.Size, at, 0, 0);
  }

  // ---- End

  override release(): void {
    this.closeEndpoint();
    if (this.fd >= 0) {
      this.hub.poller.remove(this, this.fd);
      this.hub.native.close(this.fd);
    }
    this.fd = -1;
    this.hub.bury(this);
  }

  override reset(): void {
    this.release();
  }
}
