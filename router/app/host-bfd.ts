/**
 * BFD over the host's own sockets, for peers with `host: true`: several hops away only, since Node tells no TTL of a
 * received datagram and a single hop without that check is open to everybody (RFC 5881 §5).
 */
import { createSocket, type Socket } from 'node:dgram';
import type { BfdChange, BfdView } from '../../bgp/bfd/bfd.ts';
import { BFD_MULTIHOP_PORT, BFD_SOURCE_FIRST, BFD_TTL, Bfd, type BfdPort, type BfdTarget } from '../../bgp/bfd/bfd.ts';
import type { BfdSettings } from '../../bgp/bfd/session.ts';
import { Addr, type Family } from '../lib/addr.ts';
import { type Clock, systemClock } from '../lib/clock.ts';

export interface HostBfdOptions {
  /** Uniform numbers in [0, 1). */
  readonly random: () => number;
  readonly onChange: (change: BfdChange) => void;
  /** A socket cannot be opened. */
  readonly onError: (where: string, reason: string) => void;
  readonly clock?: Clock;
  /** UDP port in the place of 4784, for tests. */
  readonly port?: number;
}

interface Sender {
  readonly socket: Socket;
  readonly remote: string;
  /** Packets given to the socket that have not left. */
  sending: number;
  isClosing: boolean;
}

export class HostBfd implements BfdPort {
  readonly #options: HostBfdOptions;
  readonly #clock: Clock;
  readonly #port: number;
  readonly #bfd: Bfd;
  readonly #senders = new Map<number, Sender>();
  /** Sockets at the multihop port, by local address. */
  readonly #listeners = new Map<string, Socket>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: HostBfdOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#port = options.port ?? BFD_MULTIHOP_PORT;
    this.#bfd = new Bfd({ random: options.random, port: this, onChange: options.onChange });
  }

  watch(name: string, target: BfdTarget, settings: BfdSettings): void {
    this.#listen(target.local === undefined ? anyOf(target.remote.family) : String(target.local), target.remote.family);
    this.#bfd.watch(name, target, settings, this.#clock.now());
    this.#arm();
  }

  unwatch(name: string): void {
    this.#bfd.unwatch(name, this.#clock.now());
    this.#arm();
  }

  show(): { readonly sessions: readonly BfdView[]; readonly drops: Readonly<Record<string, number>> } {
    return { sessions: this.#bfd.snapshot(this.#clock.now()), drops: Object.fromEntries(this.#bfd.drops) };
  }

  /** Tell peers that we go on purpose, and give the sockets back. */
  stop(): void {
    this.#bfd.close(this.#clock.now());
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const s of this.#listeners.values()) s.close();
    this.#listeners.clear();
  }

  open(id: number, target: BfdTarget): void {
    const socket = createSocket(target.remote.family === 4 ? 'udp4' : 'udp6');
    socket.on('error', (e: NodeJS.ErrnoException) => {
      if (e.code === 'EADDRINUSE' && this.#senders.has(id)) this.open(id, target);
      else this.#options.onError(String(target.remote), e.message);
    });
    const port = BFD_SOURCE_FIRST + Math.floor(this.#options.random() * (0x10000 - BFD_SOURCE_FIRST));
    const address = target.local === undefined ? undefined : String(target.local);
    socket.bind({ port, ...(address !== undefined && { address }) }, () => socket.setTTL(BFD_TTL));
    socket.unref();
    this.#senders.set(id, { socket, remote: String(target.remote), sending: 0, isClosing: false });
  }

  send(id: number, octets: Uint8Array): void {
    const sender = this.#senders.get(id);
    if (sender === undefined) return;
    sender.sending++;
    // A host without a way there is a silent path: the detection time says so.
    sender.socket.send(octets, this.#port, sender.remote, () => {
      sender.sending--;
      if (sender.isClosing && sender.sending === 0) sender.socket.close();
    });
  }

  close(id: number): void {
    const sender = this.#senders.get(id);
    this.#senders.delete(id);
    if (sender === undefined) return;
    sender.isClosing = true; // the last packet still leaves
    if (sender.sending === 0) sender.socket.close();
  }

  #listen(address: string, family: Family): void {
    if (this.#listeners.has(address)) return;
    const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', ipv6Only: family === 6 });
    this.#listeners.set(address, socket);
    socket.on('error', (e) => this.#options.onError(`${address} port ${this.#port}`, e.message));
    socket.on('message', (octets, from) => {
      const remote = Addr.parse(from.address.split('%')[0]!);
      if (remote === undefined || this.#isClosed) return;
      this.#bfd.receive({ octets, remote, link: '', ttl: undefined, multihop: true }, this.#clock.now());
      this.#arm();
    });
    socket.bind({ port: this.#port, address });
    socket.unref();
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

function anyOf(family: Family): string {
  return family === 4 ? '0.0.0.0' : '::';
}
