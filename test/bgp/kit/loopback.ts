/**
 * A transport over the kernel's sockets, for interoperability tests: loopback addresses, or link-local ones of an
 * interface. The uplink's name is the interface's.
 */
import { createServer, type Server, Socket } from 'node:net';
import type { Attempt, ConnectTarget, LinkId, Stream, StreamHandler, Transport } from '../../../bgp/ports.ts';
import { Addr } from '../../../router/lib/addr.ts';

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '::', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

export class LoopbackTransport implements Transport {
  readonly ready: Promise<void>;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #link: string;
  #accept: ((stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined) | undefined;

  constructor(local: Addr, port: number, link = 'lo') {
    this.#link = link;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
      const stream = toStream(socket);
      const handler = this.#accept?.(stream, parse(socket.remoteAddress)!, link);
      if (handler === undefined) socket.destroy();
      else bind(socket, handler);
    });
    this.ready = new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, this.#zoned(local), () => resolve());
    });
  }

  connect(target: ConnectTarget, opened: (s: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const socket = new Socket();
    this.#sockets.add(socket);
    let isOpen = false;
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', (e) => {
      if (!isOpen) failed(e.message);
    });
    const localAddress = target.localAddress === undefined ? {} : { localAddress: this.#zoned(target.localAddress) };
    socket.connect({ host: this.#zoned(target.address), port: target.port, ...localAddress }, () => {
      isOpen = true;
      bind(socket, opened(toStream(socket)));
    });
    return { abort: () => socket.destroy() };
  }

  listen(accept: (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined): void {
    this.#accept = accept;
  }

  #zoned(a: Addr): string {
    return a.family === 6 && a.isLinkLocal ? `${a}%${this.#link}` : a.toString();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const s of this.#sockets) s.destroy();
    await closed;
  }
}

function parse(text: string | undefined): Addr | undefined {
  return text === undefined ? undefined : Addr.parse(text.replace(/^::ffff:|%.*$/g, ''));
}

function toStream(socket: Socket): Stream {
  return {
    localAddress: parse(socket.localAddress),
    write: (octets) => socket.write(octets),
    close: (abort) => {
      if (abort) socket.resetAndDestroy();
      else socket.destroySoon();
    },
  };
}

function bind(socket: Socket, handler: StreamHandler): void {
  let reason = 'connection closed by the peer';
  socket.on('data', (b) => handler.data(b));
  socket.on('drain', () => handler.drained());
  socket.on('error', (e) => {
    reason = e.message;
  });
  socket.on('close', () => handler.closed(reason));
}
