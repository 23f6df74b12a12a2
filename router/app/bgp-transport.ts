/**
 * BGP's byte streams over sockets of our own stack: the data plane makes a stream, its descriptor is wrapped by a Node
 * socket in the routing worker. The way to the data plane leads through the main thread (`StreamPort`).
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
import { Addr } from '../lib/addr.ts';
import type { StreamSecurity, StreamTerms } from './dataplane-protocol.ts';
import { attach } from './fair-reads.ts';
import { errnoText, MAX_TTL } from './host-socket.ts';
import type { StreamTarget } from './routing-protocol.ts';

/** Asks the data plane for streams; answers come to `opened` and `accepted` of the transport. */
export interface StreamPort {
  connect(id: number, target: StreamTarget): void;
  listen(id: number, port: number, terms: readonly StreamTerms[]): void;
  /** Others are expected by the listener `id` from now on. */
  secure(id: number, terms: readonly StreamTerms[]): void;
  /** The listener `id` is to close; streams it has accepted go on. */
  unlisten(id: number): void;
}

/** Direct neighbours get TTL 1 (RFC 4271 §5.1.3, as every daemon does), unless RFC 5082 is asked for. */
const DIRECT_TTL = 1;
/** "Anywhere": as many hops as the stack's own TTL allows. */
const ANY_HOPS = 255;

/** Numbers of streams are unique in this thread, whichever VRF they are in. */
let nextStream = 1;

interface Waiting {
  readonly opened: (stream: Stream) => StreamHandler;
  readonly failed: (reason: string) => void;
  readonly localAddress: Addr | undefined;
}

export class StackTransport implements Transport {
  readonly #port: StreamPort;
  /** Undefined = connections are not taken any more. */
  #listenPort: number | undefined;
  /** Our address on a link, for next hop self. */
  readonly #localOn: (link: LinkId, remote: Addr) => Addr | undefined;
  readonly #waiting = new Map<number, Waiting>();
  readonly #sockets = new Set<Socket>();
  #accept: ((stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined) | undefined;
  #terms: readonly StreamTerms[] = [];
  #listenId: number | undefined;

  constructor(port: StreamPort, listenPort: number, localOn: (link: LinkId, remote: Addr) => Addr | undefined) {
    this.#port = port;
    this.#listenPort = listenPort;
    this.#localOn = localOn;
  }

  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const id = nextStream++;
    const localAddress = target.localAddress ?? this.#localOn(target.link, target.address);
    this.#waiting.set(id, { opened, failed, localAddress });
    this.#port.connect(id, {
      remote: String(target.address),
      port: target.port,
      local: localAddress && String(localAddress),
      link: target.link === '' ? undefined : String(target.link),
      security: securityOf(target),
    });
    return {
      abort: () => {
        this.#waiting.delete(id);
      },
    };
  }

  listen(accept: (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined): void {
    this.#accept = accept;
    this.#open();
  }

  /** Listen elsewhere, or with undefined nowhere, from now on; connections that stand go on. */
  setListenPort(port: number | undefined): void {
    if (port === this.#listenPort) return;
    this.#listenPort = port;
    if (this.#listenId !== undefined) this.#port.unlisten(this.#listenId);
    this.#listenId = undefined;
    if (this.#accept !== undefined) this.#open();
  }

  #open(): void {
    if (this.#listenPort === undefined) return;
    this.#listenId = nextStream++;
    this.#port.listen(this.#listenId, this.#listenPort, this.#terms);
  }

  secure(peers: readonly PeerSecurity[]): void {
    this.#terms = peers.map((p) => ({
      from: String(p.from),
      link: p.link === '' ? undefined : String(p.link),
      ...securityOf(p),
    }));
    if (this.#listenId !== undefined) this.#port.secure(this.#listenId, this.#terms);
  }

  /** The data plane's answer to `connect`. */
  opened(id: number, fd: number, errno: number): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (waiting === undefined) {
      if (errno === 0) this.#wrap(fd).destroy(); // given up meanwhile
      return;
    }
    if (errno !== 0) {
      waiting.failed(errnoText(errno));
      return;
    }
    const socket = this.#wrap(fd);
    attach(socket, waiting.opened(streamOf(socket, waiting.localAddress)));
  }

  /** The data plane accepted a connection. */
  accepted(fd: number, remote: string, local: string, link: string | undefined): void {
    const socket = this.#wrap(fd);
    const from = Addr.parse(remote.split('%')[0]!);
    const stream = streamOf(socket, Addr.parse(local.split('%')[0]!));
    // A peer that is reached by routing is expected on no link in particular.
    const handler = from && (this.#accept?.(stream, from, link ?? '') ?? this.#accept?.(stream, from, ''));
    if (handler === undefined) socket.destroy();
    else attach(socket, handler);
  }

  /** Resolves when every stream has sent what was queued and is closed, or after `graceMs`. */
  finished(graceMs: number): Promise<void> {
    return allClosed(this.#sockets, graceMs);
  }

  #wrap(fd: number): Socket {
    const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: false });
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    // Until a handler is attached an error must not be thrown.
    socket.on('error', () => undefined);
    return socket;
  }
}

/** How long a peer that was told the end may take to end as well. */
const LAST_WORDS_MS = 1000;

/** Resolves when all sockets are closed, or after `graceMs`. */
export async function allClosed(sockets: Iterable<Socket>, graceMs: number): Promise<void> {
  const open = [...sockets].filter((s) => !s.destroyed);
  const all = Promise.all(open.map((s) => new Promise((resolve) => s.once('close', resolve))));
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([all, new Promise((resolve) => (timer = setTimeout(resolve, graceMs)))]);
  clearTimeout(timer);
}

/** A BGP stream over a Node socket; `abort` ends it without sending what is queued. */
export function streamOf(socket: Socket, localAddress: Addr | undefined, abort = () => socket.destroy()): Stream {
  return {
    localAddress,
    write: (octets) => !socket.writable || socket.write(octets),
    close: (isAbort) => {
      if (isAbort) abort();
      else finish(socket);
    },
  };
}

/**
 * Send what is queued and the end, and read on until the peer ends too: a socket that is closed with octets unread resets the
 * connection (RFC 1122 §4.2.2.13), and a reset may overtake our last words, so that nobody there knows why.
 */
function finish(socket: Socket): void {
  socket.removeAllListeners('data');
  socket.end();
  socket.resume();
  const timer = setTimeout(() => socket.destroy(), LAST_WORDS_MS);
  socket.once('close', () => clearTimeout(timer));
}

/** RFC 5082 §3: what has come over `hops` hops at most has lost one less than that of its 255. */
export function securityOf(p: Pick<ConnectTarget, 'hops' | 'ttlSecurity' | 'password'>): StreamSecurity {
  const ttl = p.hops === 1 ? DIRECT_TTL : p.hops < ANY_HOPS ? p.hops : undefined;
  return {
    ...(p.ttlSecurity ? { ttl: MAX_TTL, minTtl: MAX_TTL + 1 - p.hops } : ttl !== undefined && { ttl }),
    ...(p.password !== undefined && { password: p.password }),
  };
}
