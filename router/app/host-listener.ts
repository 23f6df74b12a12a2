/**
 * A listening TCP socket of the host for BGP: the passwords of the peers that may connect (RFC 2385) are in force from
 * before it listens, and follow when they change. What cannot be listened on is tried again: an interface may come later,
 * another daemon may go.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { LinkId, PeerSecurity } from '../../bgp/ports.ts';
import type { Addr, Prefix } from '../lib/addr.ts';
import { loadNative, SockOpt } from '../native/index.ts';
import { errnoText, limitTtl, MAX_TTL, markRouting, setKey, tcpSocket, zoned } from './host-socket.ts';

/** Pause before what could not be opened is tried again. */
const RETRY_MS = 5000;

/** An address of the host to listen on. */
export interface HostEndpoint {
  readonly address: Addr;
  readonly port: number;
  /** The interface of a link-local address. */
  readonly zone?: string | undefined;
  /** Only what comes by this device (SO_BINDTODEVICE), and the uplink that this is. */
  readonly device?: string | undefined;
  readonly link?: LinkId | undefined;
}

/** What a listener asks of all that connect. */
export interface ListenTerms {
  /** Peers with a password. */
  readonly keyed: readonly PeerSecurity[];
  /** The smallest TTL that any peer may come with; 0 = any. */
  readonly minTtl: number;
}

interface Key {
  readonly remotes: Prefix;
  readonly password: string | undefined;
}

export class HostListener {
  readonly endpoint: HostEndpoint;
  readonly #taken: (socket: Socket, listener: HostListener) => void;
  readonly #onError: (reason: string) => void;
  readonly #retryMs: number;
  #terms: ListenTerms;
  #server: Server | undefined;
  #fd = -1;
  /** By their prefix. */
  readonly #keys = new Map<string, Key>();
  #openFault: string | undefined;
  /** Passwords the kernel did not take, by the name of their peer. */
  readonly #keyFaults = new Map<string, string>();
  #retry: NodeJS.Timeout | undefined;

  constructor(
    endpoint: HostEndpoint,
    terms: ListenTerms,
    taken: (socket: Socket, listener: HostListener) => void,
    onError: (reason: string) => void,
    retryMs = RETRY_MS,
  ) {
    this.#retryMs = retryMs;
    this.endpoint = endpoint;
    this.#terms = terms;
    this.#taken = taken;
    this.#onError = onError;
    this.#open();
  }

  /** What does not work, in words. */
  get faults(): string[] {
    const { address, port, zone, device } = this.endpoint;
    const where = device === undefined ? zoned(address, zone) : device;
    const all = this.#openFault === undefined ? [...this.#keyFaults.values()] : [this.#openFault];
    return all.map((why) => `${where} port ${port}: ${why}`);
  }

  /** Peers have other passwords from now on; connections that stand keep theirs. */
  setTerms(terms: ListenTerms): void {
    this.#terms = terms;
    if (this.#fd >= 0) this.#apply();
  }

  /** Whether the kernel has let in nobody from there who does not know the peer's password. */
  hasKey(peer: PeerSecurity): boolean {
    return peer.password === undefined || this.#keys.get(String(peer.from))?.password === peer.password;
  }

  /** Resolves when it listens or has failed for the first time. */
  settled(): Promise<void> {
    const server = this.#server;
    if (server === undefined || server.listening) return Promise.resolve();
    return new Promise((resolve) => {
      server.once('listening', resolve).once('close', resolve);
    });
  }

  close(): Promise<void> {
    clearTimeout(this.#retry);
    const server = this.#server;
    this.#server = undefined;
    this.#fd = -1;
    return new Promise((resolve) => {
      if (server === undefined) resolve();
      else server.close(() => resolve());
    });
  }

  #open(): void {
    const { address, port, zone, device } = this.endpoint;
    const fd = tcpSocket(address.family);
    if (fd < 0) {
      this.#failed(-fd);
      return;
    }
    const onDevice = device === undefined ? 0 : loadNative().bindToDevice(fd, device);
    if (onDevice < 0) {
      loadNative().close(fd);
      this.#failed(-onDevice);
      return;
    }
    this.#fd = fd;
    this.#keys.clear();
    const isDual = address.family === 6 && address.isUnspecified;
    markRouting(fd, address.family, isDual);
    // The answer to a SYN is the listener's: a peer with TTL security takes none with less.
    for (const family of isDual ? ([4, 6] as const) : [address.family]) limitTtl(fd, family, { ttl: MAX_TTL });
    this.#apply();
    const bound = loadNative().inetBind(fd, zoned(address, zone), port);
    if (bound < 0) {
      loadNative().close(fd);
      this.#failed(-bound);
      return;
    }
    const server = createServer((socket) => this.#taken(socket, this));
    this.#server = server;
    server.on('error', (e: NodeJS.ErrnoException) => {
      server.close();
      this.#failed(e.errno === undefined ? 0 : -e.errno);
    });
    server.on('listening', () => {
      this.#openFault = undefined;
    });
    server.listen({ fd });
  }

  #failed(errno: number): void {
    this.#fd = -1;
    this.#server = undefined;
    const reason = errnoText(errno);
    if (reason !== this.#openFault) this.#onError(reason);
    this.#openFault = reason;
    this.#retry = setTimeout(() => this.#open(), this.#retryMs).unref();
  }

  #apply(): void {
    const { family } = this.endpoint.address;
    const { keyed, minTtl } = this.#terms;
    const { setOption } = loadNative();
    if (family === 6) setOption(this.#fd, SockOpt.Ipv6, SockOpt.Ipv6MinHopCount, minTtl);
    setOption(this.#fd, SockOpt.Ip, SockOpt.IpMinTtl, minTtl);
    const wanted = new Map(keyed.map((p) => [String(p.from), p]));
    for (const [prefix, { remotes }] of this.#keys)
      if (!wanted.has(prefix)) {
        setKey(this.#fd, family, remotes, undefined);
        this.#keys.delete(prefix);
      }
    this.#keyFaults.clear();
    for (const [prefix, { name, from, password }] of wanted) {
      if (this.#keys.get(prefix)?.password === password) continue;
      const answer = setKey(this.#fd, family, from, password);
      if (answer >= 0) this.#keys.set(prefix, { remotes: from, password });
      else {
        this.#keys.delete(prefix);
        this.#keyFaults.set(name, `password of ${name}: ${errnoText(-answer)}`);
        this.#onError(`password of ${name}: ${errnoText(-answer)}`);
      }
    }
  }
}
