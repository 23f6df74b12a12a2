/**
 * The listening half of a TCP socket. Connections wait in the listener's accept queue; a few are handed over ahead as
 * records with a descriptor on the listening pair, whose small send buffer is the limit (descriptors in flight count
 * against the user's RLIMIT_NOFILE). A wildcard listener also listens in the host kernel's loopback: those descriptors
 * go through the same pair.
 */
import { Epoll, SOCK_STREAM } from '../native/index.ts';
import type { PortBinding } from '../stack/ports.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { FlowKey, TcpAcceptor, TcpOwner } from '../tcp/port.ts';
import type { PeerTerms, TcpSettings } from '../tcp/settings.ts';
import { makeNamedPair } from './call.ts';
import type { Hub } from './hub.ts';
import { Option } from './option-table.ts';
import { Pollable } from './poller.ts';
import { ACCEPT_IS_KERNEL, Accept, AF_INET, AF_INET6, E, MLS_MAGIC, putHost16 } from './proto.ts';
import { writeSockAddr } from './sockaddr.ts';
import type { AppSocket } from './socket.ts';

/** Send buffer of a listening pair: about sixteen records, counted by the kernel at 768 octets each. */
const QUEUE_BYTES = 6144;
/** somaxconn. */
const BACKLOG_MAX = 4096;
const BATCH = 64;

/** A socket made for a connection before anybody else knows it. */
export interface AcceptedSocket extends AppSocket, TcpOwner<TcpConnection> {
  adopt(c: TcpConnection, vrf: number): void;
  open(fd: number): number;
}

/** The listening socket as its acceptor sees it. */
export interface ListeningSocket extends AppSocket {
  settings(): TcpSettings;
  termsFor(flow: FlowKey): PeerTerms | undefined;
  makeAccepted(): AcceptedSocket;
}

export class Acceptor implements TcpAcceptor<TcpListener> {
  readonly #socket: ListeningSocket;
  readonly #binding: PortBinding<TcpListener>;
  readonly #listener: TcpListener;
  readonly #kernel: KernelListener[] = [];
  /** Made but not handed over yet, because the pair was full. */
  #waitingSocket: AcceptedSocket | undefined;
  #waitingFd = -1;
  #waitingFlags = 0;

  constructor(socket: ListeningSocket, binding: PortBinding<TcpListener>, backlog: number) {
    const { hub } = socket;
    this.#socket = socket;
    this.#binding = binding;
    this.#listener = hub.listenTcp(binding, clampBacklog(backlog), this, socket.settings());
    this.#listener.termsFor = (flow) => socket.termsFor(flow);
    hub.native.setSendBuffer(socket.fd, QUEUE_BYTES);
    if (!hub.hasLoopback && binding.isWildcard) this.#openKernelDoors(backlog);
  }

  setBacklog(backlog: number): void {
    this.#listener.setBacklog(clampBacklog(backlog));
  }

  acceptable(): void {
    this.#socket.hub.poller.ready(this.#socket);
  }

  /** The app took records: there is room for more. */
  roomAgain(): void {
    this.handOver();
    for (const k of this.#kernel) k.resume();
  }

  /** Hand over what fits. */
  handOver(): void {
    if (!this.#flushWaiting()) return;
    const { hub } = this.#socket;
    for (let i = 0; i < BATCH; i++) {
      const made = this.#acceptOne();
      if (made === 0) return;
      if (made < 0 || !this.#flushWaiting()) return;
    }
    hub.poller.ready(this.#socket);
  }

  /** Take one connection and prepare its record. @returns 1, 0 when there is none, or -errno */
  #acceptOne(): number {
    const { hub } = this.#socket;
    if (this.#listener.waiting === 0) return 0;
    const socket = this.#socket.makeAccepted();
    const failed = makeNamedPair(
      hub.native,
      hub.world,
      hub.area,
      SOCK_STREAM,
      false,
      'S',
      socket.isV6,
      hub.session,
      socket.id,
    );
    if (failed < 0) {
      hub.retryLater(this.#socket);
      return failed;
    }
    const w = hub.area.pairAt >> 2;
    const fd = hub.world.i32[w]!;
    const appFd = hub.world.i32[w + 1]!;
    // The first lag octet.
    hub.native.send(appFd, hub.sinkAt, 1);
    const c = this.#listener.accept(socket);
    if (c === undefined) {
      hub.native.close(fd);
      hub.native.close(appFd);
      return 0;
    }
    socket.adopt(c, this.#socket.vrf);
    hub.add(socket);
    socket.open(fd);
    c.pull();
    this.#waitingSocket = socket;
    this.#waitingFd = appFd;
    this.#waitingFlags = 0;
    return 1;
  }

  /** Send the prepared record. @returns false when it still waits */
  #flushWaiting(): boolean {
    if (this.#waitingFd < 0) return true;
    const { hub } = this.#socket;
    const u8 = hub.world.u8;
    const at = hub.recordAt;
    u8.fill(0, at, at + Accept.Size);
    hub.world.i32[at >> 2] = MLS_MAGIC;
    putHost16(u8, at + Accept.Flags, this.#waitingFlags);
    const s = this.#waitingSocket;
    if (s !== undefined) {
      const { local: l, remote: r } = s;
      const n = writeSockAddr(u8, at + Accept.Peer, s.family, r.a0, r.a1, r.a2, r.a3, r.port, r.scope);
      writeSockAddr(u8, at + Accept.Local, s.family, l.a0, l.a1, l.a2, l.a3, l.port, l.scope);
      putHost16(u8, at + Accept.PeerLen, n);
    }
    hub.world.i32[hub.area.fdsAt >> 2] = this.#waitingFd;
    const n = hub.native.sendMessage(this.#socket.fd, at, Accept.Size, hub.area.fdsAt, 1);
    if (n === -E.EAGAIN) return false; // an Out event follows
    if (n === -E.ETOOMANYREFS) {
      hub.retryLater(this.#socket);
      return false;
    }
    hub.native.close(this.#waitingFd);
    this.#waitingFd = -1;
    this.#waitingSocket = undefined;
    hub.counters.accepted++;
    return true;
  }

  /** A connection to the kernel's loopback goes to the app as it is. @returns false when it has to wait */
  handOverKernel(fd: number): boolean {
    this.#waitingFd = fd;
    this.#waitingFlags = ACCEPT_IS_KERNEL;
    this.#waitingSocket = undefined;
    return this.#flushWaiting();
  }

  get isFull(): boolean {
    return this.#waitingFd >= 0;
  }

  /** 127.0.0.1 and ::1 are the host's: a listener on the wildcard address is reached there too. */
  #openKernelDoors(backlog: number): void {
    const s = this.#socket;
    const doors: boolean[] = [];
    if (!s.isV6 || s.options.number(Option.V6Only) === 0) doors.push(true);
    if (s.isV6) doors.push(false);
    for (const isV4 of doors) {
      const door = KernelListener.open(this, s, isV4, clampBacklog(backlog));
      if (door !== undefined) this.#kernel.push(door);
    }
  }

  close(): void {
    const { hub } = this.#socket;
    for (const k of this.#kernel) k.close();
    if (this.#waitingFd >= 0) hub.native.close(this.#waitingFd);
    this.#waitingFd = -1;
    hub.unlistenTcp(this.#binding, this.#listener);
  }
}

/** A listening socket of the host kernel on a loopback address. */
class KernelListener extends Pollable {
  readonly #acceptor: Acceptor;
  readonly #socket: ListeningSocket;
  readonly #fd: number;

  private constructor(acceptor: Acceptor, socket: ListeningSocket, fd: number) {
    super();
    this.#acceptor = acceptor;
    this.#socket = socket;
    this.#fd = fd;
    socket.hub.poller.add(this, fd, Epoll.In | Epoll.EdgeTriggered);
  }

  /**
   * Undefined when the port cannot be had there: taken by a program outside, or below 1024 without the privilege.
   * @param isV4 on 127.0.0.1 (for an IPv6 listener as ::ffff:127.0.0.1, so that what it accepts is of its family), else ::1
   */
  static open(acceptor: Acceptor, socket: ListeningSocket, isV4: boolean, backlog: number): KernelListener | undefined {
    const { hub } = socket;
    const fd = bindKernelPort(hub, socket.isV6, isV4, socket.local.port);
    if (fd < 0 || hub.native.kernelListen(fd, backlog) < 0) {
      if (fd >= 0) hub.native.close(fd);
      hub.counters.kernelDoorsRefused++;
      return undefined;
    }
    return new KernelListener(acceptor, socket, fd);
  }

  override onEvents(): void {
    this.resume();
  }

  override onReady(): void {
    this.resume();
  }

  /** Accept while the app's queue has room. */
  resume(): void {
    const { hub } = this.#socket;
    for (let i = 0; i < BATCH; i++) {
      if (this.#acceptor.isFull) return;
      const fd = hub.native.accept(this.#fd, 1);
      if (fd < 0) return;
      if (!this.#acceptor.handOverKernel(fd)) return;
    }
    hub.poller.ready(this);
  }

  close(): void {
    const { hub } = this.#socket;
    hub.poller.remove(this, this.#fd);
    hub.native.close(this.#fd);
  }
}

/** A kernel socket for a listener's loopback door, bound. @returns a descriptor or -errno */
function bindKernelPort(hub: Hub, isV6: boolean, isV4: boolean, port: number): number {
  const family = isV6 ? AF_INET6 : AF_INET;
  const fd = hub.native.kernelSocket(family, SOCK_STREAM);
  if (fd < 0) return fd;
  const [word2, word3] = isV4 ? [0xffff, 0x7f000001] : [0, 1];
  const length = writeSockAddr(hub.world.u8, hub.recordAt, family, 0, 0, word2, word3, port, 0);
  const failed = hub.native.kernelBind(fd, hub.recordAt, length);
  if (failed < 0) hub.native.close(fd);
  return failed < 0 ? failed : fd;
}

/**
 * Could a listener have this port on the host's loopback? A family the host lacks takes nothing.
 * @param isV6 the listener's family
 * @param isV4 the door: 127.0.0.1, else ::1
 */
export function isKernelPortFree(hub: Hub, isV6: boolean, isV4: boolean, port: number): boolean {
  const fd = bindKernelPort(hub, isV6, isV4, port);
  if (fd >= 0) hub.native.close(fd);
  return fd !== -E.EADDRINUSE;
}

/** listen(2): negative and huge backlogs mean the system's limit; 0 still holds one. */
function clampBacklog(backlog: number): number {
  return backlog < 0 || backlog > BACKLOG_MAX ? BACKLOG_MAX : Math.max(1, backlog);
}
