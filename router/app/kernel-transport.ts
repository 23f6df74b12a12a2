/**
 * BGP's byte streams over the host kernel's TCP sockets, for peers that live on this machine or are reached by it: other
 * routing daemons on loopback, route servers on the host's network, tunnels of the kernel. The sockets are made by the
 * addon, since what secures them (RFC 2385, RFC 5082) must be in force before the first segment; Node runs them. A listener
 * exists only where one is asked for. `SplitTransport` sends each peer to its kind of transport.
 */
import { Socket } from 'node:net';
import type {
  Attempt,
  ConnectTarget,
  LinkId,
  PeerSecurity,
  Stream,
  StreamHandler,
  Transport,
} from '../../bgp/ports.ts';
import { descriptorOf } from '../kernel/peer-pid.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import { isEqual } from '../lib/equal.ts';
import { loadNative } from '../native/index.ts';
import { allClosed, securityOf, streamOf } from './bgp-transport.ts';
import { attach } from './fair-reads.ts';
import { type HostEndpoint, HostListener, type ListenTerms } from './host-listener.ts';
import { errnoText, handedOver, limitTtl, markRouting, reasonOf, setKey, tcpSocket, zoned } from './host-socket.ts';

type Accept = (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined;

/** How links of peers of the host are called, by the interface of those that have link-local addresses. */
export interface HostLinks {
  linkOf(zone: string | undefined): LinkId;
  zoneOf(link: LinkId): string | undefined;
  /** What sockets to a peer on a link are bound to (SO_BINDTODEVICE). */
  deviceOf?(link: LinkId): string | undefined;
}

export interface KernelTransportOptions {
  /** Where inbound connections are taken at first; with none, sessions are only opened by us. */
  readonly listen: readonly HostEndpoint[];
  readonly links: HostLinks;
  /** An endpoint cannot be listened on, or not with the passwords of its peers; it is tried again. */
  readonly onError?: (endpoint: HostEndpoint, reason: string) => void;
  /** Pause before an endpoint is tried again, milliseconds. */
  readonly retryMs?: number;
}

export class KernelTransport implements Transport {
  readonly #options: KernelTransportOptions;
  #listeners: HostListener[] = [];
  readonly #sockets = new Set<Socket>();
  #peers: readonly PeerSecurity[] = [];
  #links: HostLinks;
  #accept: Accept | undefined;

  constructor(options: KernelTransportOptions) {
    this.#options = options;
    this.#links = options.links;
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const fd = this.#securedSocket(target);
    if (fd < 0) {
      const later = setImmediate(() => failed(errnoText(-fd)));
      return { abort: () => clearImmediate(later) };
    }
    const socket = this.#keep(new Socket(handedOver(fd)));
    const onError = (e: NodeJS.ErrnoException): void => failed(reasonOf(e));
    socket.once('error', onError);
    const zone = this.#links.zoneOf(target.link);
    const { localAddress } = target;
    socket.connect(
      {
        host: zoned(target.address, zone),
        port: target.port,
        ...(localAddress !== undefined && { localAddress: zoned(localAddress, zone) }),
      },
      () => {
        socket.off('error', onError);
        attach(socket, opened(hostStream(socket)));
      },
    );
    return {
      abort: () => {
        socket.off('error', onError);
        socket.destroy();
      },
    };
  }

  listen(accept: Accept): void {
    this.#accept = accept;
    this.#open(this.#options.listen, accept);
  }

  /** Other links, and other endpoints for them, from now on; those that stay are not touched. */
  setLinks(links: HostLinks, endpoints: readonly HostEndpoint[]): void {
    this.#links = links;
    this.setEndpoints(endpoints);
  }

  /** Other endpoints from now on; those that stay and all connections are not touched. */
  setEndpoints(endpoints: readonly HostEndpoint[]): void {
    const isWanted = (l: HostListener): boolean => endpoints.some((e) => isEqual(e, l.endpoint));
    const gone = this.#listeners.filter((l) => !isWanted(l));
    this.#listeners = this.#listeners.filter(isWanted);
    for (const l of gone) void l.close();
    const isNew = (e: HostEndpoint): boolean => !this.#listeners.some((l) => isEqual(e, l.endpoint));
    if (this.#accept !== undefined) this.#open(endpoints.filter(isNew), this.#accept);
  }

  #open(endpoints: readonly HostEndpoint[], accept: Accept): void {
    const { onError, retryMs } = this.#options;
    for (const endpoint of endpoints) {
      const taken = (socket: Socket, listener: HostListener): void => this.#taken(socket, listener, accept);
      const failed = (why: string): void => onError?.(endpoint, why);
      this.#listeners.push(new HostListener(endpoint, this.#termsOf(endpoint), taken, failed, retryMs));
    }
  }

  secure(peers: readonly PeerSecurity[]): void {
    this.#peers = peers;
    for (const l of this.#listeners) l.setTerms(this.#termsOf(l.endpoint));
  }

  /** What stands in the way of peers that connect to us, in words. */
  get faults(): string[] {
    return this.#listeners.flatMap((l) => l.faults);
  }

  /** Resolves when every listener listens or has failed. */
  async listening(): Promise<void> {
    await Promise.all(this.#listeners.map((l) => l.settled()));
  }

  /** Resolves when every stream has sent what was queued and is closed, or after `graceMs`. */
  finished(graceMs: number): Promise<void> {
    return allClosed(this.#sockets, graceMs);
  }

  /** Stop listening and end every connection. */
  async close(): Promise<void> {
    const closed = this.#listeners.map((l) => l.close());
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  /** A socket with all that must be in force before its first segment, or -errno. */
  #securedSocket(target: ConnectTarget): number {
    const { family } = target.address;
    const fd = tcpSocket(family);
    if (fd < 0) return fd;
    markRouting(fd, family, false);
    const security = securityOf(target);
    const remote = hostPrefix(target.address);
    const device = this.#links.deviceOf?.(target.link);
    const answer = Math.min(
      device === undefined ? 0 : loadNative().bindToDevice(fd, device),
      limitTtl(fd, family, security),
      security.password === undefined ? 0 : setKey(fd, family, remote, security.password),
    );
    if (answer < 0) loadNative().close(fd);
    return answer < 0 ? answer : fd;
  }

  /** Who may connect to an endpoint: a link-local peer only where its interface is heard. */
  #termsOf({ address, zone, link: only }: HostEndpoint): ListenTerms {
    const isDual = address.family === 6 && address.isUnspecified;
    const heard = this.#peers.filter(({ link, from }) => {
      const isOnWire = only === undefined ? zone === undefined || this.#links.zoneOf(link) === zone : link === only;
      return isOnWire && (from.family === address.family || isDual);
    });
    const minTtl = heard.length === 0 ? 0 : Math.min(...heard.map((p) => securityOf(p).minTtl ?? 0));
    return { keyed: heard.filter((p) => p.password !== undefined), minTtl };
  }

  /** A connection: of a peer that is expected, and by the terms of that peer. */
  #taken(socket: Socket, listener: HostListener, accept: Accept): void {
    this.#keep(socket);
    const [text = '', zone] = (socket.remoteAddress ?? '').split('%');
    const remote = parse(text);
    const link = listener.endpoint.link ?? this.#links.linkOf(zone);
    const isGood = remote !== undefined && this.#secures(socket, listener, remote, link);
    const handler = isGood ? accept(hostStream(socket), remote, link) : undefined;
    if (handler === undefined) socket.destroy();
    else attach(socket, handler);
  }

  /**
   * A listener is for all its peers, and asks for the smallest TTL of any: the peer's own is asked for once its connection is
   * here. A key that the kernel has not taken lets nobody in.
   */
  #secures(socket: Socket, listener: HostListener, remote: Addr, link: LinkId): boolean {
    const mine = this.#peers.filter((p) => p.link === link && p.from.contains(remote));
    const peer = mine.sort((a, b) => b.from.length - a.from.length)[0];
    if (peer === undefined) return true; // nobody has said how; whether it is expected at all is not ours to decide
    const fd = descriptorOf(socket);
    const isSet = fd !== undefined && limitTtl(fd, remote.family, securityOf(peer)) >= 0;
    return isSet && listener.hasKey(peer);
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // Until a handler is attached an error must not be thrown.
    socket.on('error', () => undefined);
    socket.setNoDelay();
    return socket;
  }
}

/** Peers on certain links over a transport of their own, all others over the first one. */
export class SplitTransport implements Transport {
  readonly #main: Transport;
  readonly #others: readonly Transport[];
  readonly #other: (link: LinkId) => Transport | undefined;

  /** @param other which of `others` a link belongs to; undefined = to the first one */
  constructor(main: Transport, others: readonly Transport[], other: (link: LinkId) => Transport | undefined) {
    this.#main = main;
    this.#others = others;
    this.#other = other;
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    return (this.#other(target.link) ?? this.#main).connect(target, opened, failed);
  }

  listen(accept: Accept): void {
    for (const side of [this.#main, ...this.#others]) side.listen(accept);
  }

  secure(peers: readonly PeerSecurity[]): void {
    this.#main.secure?.(peers.filter((p) => this.#other(p.link) === undefined));
    for (const side of this.#others) side.secure?.(peers.filter((p) => this.#other(p.link) === side));
  }
}

function hostStream(socket: Socket): Stream {
  return streamOf(socket, parse(socket.localAddress), () => socket.resetAndDestroy());
}

/** A socket that listens for both families reports IPv4 as ::ffff:A.B.C.D, and link-local addresses have a zone. */
function parse(text: string | undefined): Addr | undefined {
  return text === undefined ? undefined : Addr.parse(text.replace(/^::ffff:(?=\d+\.)|%.*$/g, ''));
}

function hostPrefix(address: Addr): Prefix {
  return Prefix.containing(address, address.family === 4 ? 32 : 128)!;
}
