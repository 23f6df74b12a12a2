/**
 * BGP's byte streams over the host kernel's TCP sockets, for peers that live on this machine or are reached by it: other
 * routing daemons on loopback, route servers on the host's network. Node opens the sockets; a listener exists only where
 * one is asked for. `SplitTransport` sends each peer to its kind of transport.
 */
import { createServer, type Server, Socket } from 'node:net';
import type {
  Attempt,
  ConnectTarget,
  LinkId,
  PeerSecurity,
  Stream,
  StreamHandler,
  Transport,
} from '../../bgp/ports.ts';
import { Addr } from '../lib/addr.ts';
import { allClosed, errnoText, streamOf } from './bgp-transport.ts';
import { attach } from './fair-reads.ts';

type Accept = (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined;

/** An address of the host to listen on. */
export interface HostEndpoint {
  readonly address: Addr;
  readonly port: number;
}

export interface KernelTransportOptions {
  /** Where inbound connections are taken; with none, sessions are only opened by us. */
  readonly listen: readonly HostEndpoint[];
  /** The link that inbound connections are reported with. */
  readonly link: LinkId;
  /** The interface that link-local addresses belong to. */
  readonly zone?: string;
  /** An endpoint cannot be listened on. */
  readonly onError?: (endpoint: HostEndpoint, reason: string) => void;
}

export class KernelTransport implements Transport {
  readonly #options: KernelTransportOptions;
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  constructor(options: KernelTransportOptions) {
    this.#options = options;
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const socket = this.#keep(new Socket());
    const onError = (e: NodeJS.ErrnoException): void => failed(reasonOf(e));
    socket.once('error', onError);
    const { localAddress } = target;
    socket.connect(
      {
        host: this.#zoned(target.address),
        port: target.port,
        ...(localAddress !== undefined && { localAddress: this.#zoned(localAddress) }),
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
    for (const endpoint of this.#options.listen) {
      const server = createServer((socket) => {
        this.#keep(socket);
        const remote = parse(socket.remoteAddress);
        const handler = remote && accept(hostStream(socket), remote, this.#options.link);
        if (handler === undefined) socket.destroy();
        else attach(socket, handler);
      });
      server.on('error', (e: NodeJS.ErrnoException) => this.#options.onError?.(endpoint, reasonOf(e)));
      server.listen(endpoint.port, this.#zoned(endpoint.address));
      this.#servers.push(server);
    }
  }

  /** Resolves when every listener listens or has failed. */
  async listening(): Promise<void> {
    const settled = (s: Server): Promise<unknown> =>
      new Promise((resolve) =>
        s.listening ? resolve(undefined) : s.once('listening', resolve).once('error', resolve),
      );
    await Promise.all(this.#servers.map(settled));
  }

  /** Resolves when every stream has sent what was queued and is closed, or after `graceMs`. */
  finished(graceMs: number): Promise<void> {
    return allClosed(this.#sockets, graceMs);
  }

  /** Stop listening and end every connection. */
  async close(): Promise<void> {
    const closed = this.#servers.map((s) => new Promise((resolve) => s.close(resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all(closed);
  }

  #keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // Until a handler is attached an error must not be thrown.
    socket.on('error', () => undefined);
    socket.setNoDelay();
    return socket;
  }

  #zoned(a: Addr): string {
    const { zone } = this.#options;
    return zone !== undefined && a.family === 6 && a.isLinkLocal ? `${a}%${zone}` : String(a);
  }
}

/** Peers on certain links over a transport of their own, all others over the first one. */
export class SplitTransport implements Transport {
  readonly #main: Transport;
  readonly #byLink: ReadonlyMap<LinkId, Transport>;

  constructor(main: Transport, byLink: ReadonlyMap<LinkId, Transport>) {
    this.#main = main;
    this.#byLink = byLink;
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    return (this.#byLink.get(target.link) ?? this.#main).connect(target, opened, failed);
  }

  listen(accept: Accept): void {
    for (const side of [this.#main, ...this.#byLink.values()]) side.listen(accept);
  }

  secure(peers: readonly PeerSecurity[]): void {
    this.#main.secure?.(peers.filter((p) => !this.#byLink.has(p.link)));
    for (const [link, side] of this.#byLink) side.secure?.(peers.filter((p) => p.link === link));
  }
}

function hostStream(socket: Socket): Stream {
  return streamOf(socket, parse(socket.localAddress), () => socket.resetAndDestroy());
}

/** A socket that listens for both families reports IPv4 as ::ffff:A.B.C.D, and link-local addresses have a zone. */
function parse(text: string | undefined): Addr | undefined {
  return text === undefined ? undefined : Addr.parse(text.replace(/^::ffff:(?=\d+\.)|%.*$/g, ''));
}

function reasonOf(e: NodeJS.ErrnoException): string {
  return e.errno === undefined ? e.message : errnoText(-e.errno);
}
