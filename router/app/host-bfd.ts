/**
 * BFD over the host's own sockets, for peers with `host: true`. Node tells no TTL of a received datagram, and without it a
 * single hop is open to everybody (RFC 5881 §5): a filter in the kernel cuts what a router has forwarded to one octet, so
 * that it is refused and counted here. Sockets that cannot be opened, since another daemon has the port or an interface is
 * not there, are tried again with the next packet to send.
 */
import { createSocket, type Socket } from 'node:dgram';
import type { BfdChange, BfdView } from '../../bgp/bfd/bfd.ts';
import {
  BFD_MULTIHOP_PORT,
  BFD_PORT,
  BFD_SOURCE_FIRST,
  BFD_TTL,
  Bfd,
  type BfdPort,
  type BfdTarget,
} from '../../bgp/bfd/bfd.ts';
import type { BfdSettings } from '../../bgp/bfd/session.ts';
import type { LinkId } from '../../bgp/ports.ts';
import { Addr, type Family } from '../lib/addr.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { loadNative, SOCK_DGRAM, SockOpt } from '../native/index.ts';
import { bfdDigest } from './bfd-digest.ts';
import { errnoText, familyNumber, limitTtl, markRouting, zoned } from './host-socket.ts';
import type { HostLinks } from './kernel-transport.ts';

export interface HostBfdOptions {
  /** Uniform numbers in [0, 1). */
  readonly random: () => number;
  readonly links: HostLinks;
  readonly onChange: (change: BfdChange) => void;
  /** A socket cannot be opened; told once until it can. */
  readonly onError: (where: string, reason: string) => void;
  readonly clock?: Clock;
  /** UDP ports in the place of 3784 and 4784, for tests. */
  readonly ports?: { readonly single: number; readonly multi: number };
}

interface Sender {
  readonly target: BfdTarget;
  /** Our address: of the configuration, or as the host's routes had it when the socket was opened. */
  local: Addr | undefined;
  socket: Socket | undefined;
  /** Packets given to the socket that have not left. */
  sending: number;
  isClosing: boolean;
}

/** Source ports tried before a session waits for its next packet. */
const PORT_TRIES = 16;
/** What the filter leaves of a packet from far away. */
const SHORTENED = 1;
const EADDRINUSE = 98;

export class HostBfd implements BfdPort {
  readonly #options: HostBfdOptions;
  readonly #clock: Clock;
  readonly #ports: { readonly single: number; readonly multi: number };
  readonly #bfd: Bfd;
  readonly #senders = new Map<number, Sender>();
  /** Sockets that hear, by local address and port. */
  readonly #listeners = new Map<string, Socket>();
  /** Sockets that could not be opened, by what they are for. */
  readonly #faults = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: HostBfdOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#ports = options.ports ?? { single: BFD_PORT, multi: BFD_MULTIHOP_PORT };
    const { random, onChange } = options;
    this.#bfd = new Bfd({ random, port: this, onChange, digest: bfdDigest });
  }

  watch(name: string, target: BfdTarget, settings: BfdSettings): void {
    this.#bfd.watch(name, target, settings, this.#clock.now());
    this.#arm();
  }

  unwatch(name: string): void {
    this.#bfd.unwatch(name, this.#clock.now());
    this.#arm();
    if (this.#bfd.size === 0) this.#closeListeners();
  }

  show(): { readonly sessions: readonly BfdView[]; readonly drops: Readonly<Record<string, number>> } {
    return { sessions: this.#bfd.snapshot(this.#clock.now()), drops: Object.fromEntries(this.#bfd.drops) };
  }

  /** Sockets that cannot be opened, in words. */
  get faults(): string[] {
    return [...this.#faults].map(([where, why]) => `BFD at ${where}: ${why}`);
  }

  /** Tell peers that we go on purpose, and give the sockets back. */
  stop(): void {
    this.#bfd.close(this.#clock.now());
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#closeListeners();
  }

  // ---- BfdPort

  open(id: number, target: BfdTarget): void {
    this.#senders.set(id, { target, local: target.local, socket: undefined, sending: 0, isClosing: false });
  }

  send(id: number, octets: Uint8Array): void {
    const sender = this.#senders.get(id);
    if (sender === undefined) return;
    const { target } = sender;
    sender.local ??= this.#sourceTo(target);
    if (sender.local === undefined) return;
    this.#listen(target, sender.local);
    sender.socket ??= this.#openSender(target, sender.local);
    const { socket } = sender;
    if (socket === undefined) return;
    sender.sending++;
    socket.send(octets, this.#portOf(target), zoned(target.remote, this.#zoneOf(target)), (error) => {
      sender.sending--;
      // A way that is not there is a silent path. The socket may be of an interface that went: the next packet gets another.
      if (error !== null && sender.socket === socket) {
        sender.socket = undefined;
        sender.local = target.local;
      }
      if (sender.socket !== socket || (sender.isClosing && sender.sending === 0)) close(socket);
    });
  }

  close(id: number): void {
    const sender = this.#senders.get(id);
    this.#senders.delete(id);
    if (sender?.socket === undefined) return;
    sender.isClosing = true; // the last packet still leaves
    if (sender.sending === 0) close(sender.socket);
  }

  // ---- Sockets

  /**
   * The address to send from and to listen at. A wildcard would do for both, but not beside the addresses of other sessions,
   * nor beside other daemons.
   */
  #sourceTo(target: BfdTarget): Addr | undefined {
    const remote = zoned(target.remote, this.#zoneOf(target));
    const source = loadNative().inetSource(remote);
    if (typeof source === 'number') this.#failed(remote, -source);
    else this.#faults.delete(remote);
    return typeof source === 'number' ? undefined : Addr.parse(source);
  }

  /** A socket with a source port of the range (RFC 5881 §4) and TTL 255. */
  #openSender(target: BfdTarget, local: Addr): Socket | undefined {
    const address = zoned(local, this.#zoneOf(target));
    for (let tries = 0; tries < PORT_TRIES; tries++) {
      const port = BFD_SOURCE_FIRST + Math.floor(this.#options.random() * (0x10000 - BFD_SOURCE_FIRST));
      const socket = this.#bound(local.family, address, port, (fd) => limitTtl(fd, local.family, { ttl: BFD_TTL }));
      if (typeof socket !== 'number') {
        this.#faults.delete(address);
        return socket;
      }
      if (socket === -EADDRINUSE) continue;
      this.#failed(address, -socket);
      break;
    }
    return undefined;
  }

  #listen(target: BfdTarget, local: Addr): void {
    const { multihop } = target;
    const port = this.#portOf(target);
    const address = zoned(local, this.#zoneOf(target));
    const where = `${address} port ${port}`;
    if (this.#listeners.has(where)) return;
    const number = familyNumber(local.family);
    const socket = this.#bound(local.family, address, port, (fd) =>
      multihop ? 0 : loadNative().shortenFar(fd, number, BFD_TTL),
    );
    if (typeof socket === 'number') {
      this.#failed(where, -socket);
      return;
    }
    this.#faults.delete(where);
    this.#listeners.set(where, socket);
    socket.on('message', (octets, from) => this.#heard(octets, from.address, multihop));
  }

  #heard(octets: Uint8Array, from: string, multihop: boolean): void {
    const [text = '', zone] = from.split('%');
    const remote = Addr.parse(text);
    if (remote === undefined || this.#isClosed) return;
    const link = this.#options.links.linkOf(zone);
    const ttl = multihop ? undefined : octets.length === SHORTENED ? 0 : BFD_TTL;
    this.#bfd.receive({ octets, remote, link, ttl, multihop }, this.#clock.now());
    this.#arm();
  }

  /** A Node socket over one of the kernel's, or -errno. */
  #bound(family: Family, address: string, port: number, prepare: (fd: number) => number): Socket | number {
    const native = loadNative();
    const fd = native.kernelSocket(familyNumber(family), SOCK_DGRAM);
    if (fd < 0) return fd;
    if (family === 6) native.setOption(fd, SockOpt.Ipv6, SockOpt.Ipv6Only, 1);
    markRouting(fd, family, false);
    const prepared = prepare(fd);
    const answer = prepared < 0 ? prepared : native.inetBind(fd, address, port);
    if (answer < 0) {
      native.close(fd);
      return answer;
    }
    const socket = createSocket(family === 4 ? 'udp4' : 'udp6');
    socket.on('error', () => undefined); // told to the callback of what was sent
    socket.bind({ fd });
    socket.unref();
    return socket;
  }

  #failed(where: string, errno: number): void {
    const reason = errnoText(errno);
    if (this.#faults.get(where) !== reason) this.#options.onError(where, reason);
    this.#faults.set(where, reason);
  }

  #closeListeners(): void {
    for (const s of this.#listeners.values()) s.close();
    this.#listeners.clear();
    this.#faults.clear();
  }

  #portOf({ multihop }: BfdTarget): number {
    return multihop ? this.#ports.multi : this.#ports.single;
  }

  #zoneOf({ link }: { readonly link: LinkId }): string | undefined {
    return this.#options.links.zoneOf(link);
  }

  /** One timer for all sessions. What has arrived meanwhile is read before a detection time counts. */
  #arm(): void {
    clearTimeout(this.#timer);
    const at = this.#isClosed ? undefined : this.#bfd.deadline();
    if (at === undefined) return;
    this.#timer = setTimeout(() => setImmediate(() => this.#fire()), Math.max(0, Math.ceil(at - this.#clock.now())));
    this.#timer.unref();
  }

  #fire(): void {
    if (this.#isClosed) return;
    this.#bfd.tick(this.#clock.now());
    this.#arm();
  }
}

/** Node throws where a socket is closed already. */
function close(socket: Socket): void {
  socket.removeAllListeners('message');
  try {
    socket.close();
  } catch {
    // by the callback of an earlier packet
  }
}
