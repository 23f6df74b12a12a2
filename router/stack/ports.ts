/**
 * Local ports of one transport protocol: who holds which (VRF, address, port), under Linux's rules for conflicts
 * (SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY, bound devices), and which holder a packet to a port belongs to.
 * Ephemeral ports follow RFC 6056 §3.3.3 ("simple hash-based port selection": a keyed offset per destination).
 * Read first: inet_csk_bind_conflict and udp_lib_lport_inuse are the behaviour to match (test/router/stack/ports.test.ts
 * writes it down). Does not know connections: those are in demux.ts.
 */
import type { Random } from '../lib/rand.ts';
import { Errno } from './port.ts';

/** Linux's ip_local_port_range. */
export const EPHEMERAL_FIRST = 32768;
export const EPHEMERAL_LAST = 60999;
const EPHEMERAL_COUNT = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1;
const BUCKETS = 1024;

/** A claim on a local port. `R` is what receives: a UDP endpoint, a TCP listener. */
export class PortBinding<R> {
  readonly vrf: number;
  /** Family of the socket: 4, or 6 (which may also serve IPv4). */
  readonly family: 4 | 6;
  /** Local address words. Wildcard: all zero for family 6, ::ffff:0.0.0.0 for family 4. */
  l0 = 0;
  l1 = 0;
  l2 = 0;
  l3 = 0;
  port = 0;
  /** Link index the socket is bound to (SO_BINDTODEVICE, or the scope of a link-local address); 0 = any. */
  device = 0;
  v6only = false;
  reuseAddr = false;
  reusePort = false;
  /** SO_REUSEPORT groups are per user. */
  uid = 0;
  /** TCP only: LISTEN state takes part in the rules. */
  isListening = false;
  /** Set by connect() without bind(): the port may be shared with other such connections. */
  isConnectOnly = false;
  /** UDP only: packets from anybody else do not match. */
  isConnected = false;
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  remotePort = 0;
  /** Who packets go to; undefined while nobody listens. */
  receiver: R | undefined = undefined;
  /** Sockets and connections that keep the port taken. Managed by PortTable and TcpDemux. */
  holders = 0;
  /** Next in the bucket's chain. Managed by PortTable. */
  next: PortBinding<R> | undefined = undefined;

  constructor(vrf: number, family: 4 | 6) {
    this.vrf = vrf;
    this.family = family;
    if (family === 4) this.l2 = 0xffff;
  }

  setLocal(l0: number, l1: number, l2: number, l3: number): void {
    this.l0 = l0;
    this.l1 = l1;
    this.l2 = l2;
    this.l3 = l3;
  }

  /** `::` of an IPv6 socket. */
  get isAny6(): boolean {
    return this.family === 6 && (this.l0 | this.l1 | this.l2 | this.l3) === 0;
  }

  /** An IPv4 address, or the IPv4 wildcard. */
  get isV4(): boolean {
    return this.l0 === 0 && this.l1 === 0 && this.l2 === 0xffff;
  }

  get isWildcard(): boolean {
    return this.l3 === 0 && this.l1 === 0 && this.l0 === 0 && (this.l2 === 0 || this.l2 === 0xffff);
  }

  /** The names TCP gives to port and scope of a listener's address. */
  get localPort(): number {
    return this.port;
  }

  get scope(): number {
    return this.device;
  }
}

/** Can one packet match both claims? (Linux: inet_rcv_saddr_equal with wildcards matching.) */
function addressesOverlap<R>(a: PortBinding<R>, b: PortBinding<R>): boolean {
  if (a.isAny6) return b.isAny6 || !(b.isV4 && a.v6only);
  if (b.isAny6) return !(a.isV4 && b.v6only);
  if (a.isV4 !== b.isV4) return false;
  if (a.isV4) return a.l3 === b.l3 || a.l3 === 0 || b.l3 === 0;
  return a.l3 === b.l3 && a.l2 === b.l2 && a.l1 === b.l1 && a.l0 === b.l0;
}

function devicesOverlap<R>(a: PortBinding<R>, b: PortBinding<R>): boolean {
  return a.device === 0 || b.device === 0 || a.device === b.device;
}

export class PortTable<R> {
  readonly #isTcp: boolean;
  readonly #random: Random;
  readonly #secret: number;
  readonly #heads: (PortBinding<R> | undefined)[] = new Array<PortBinding<R> | undefined>(BUCKETS).fill(undefined);
  /** RFC 6056 §3.3.3: next_ephemeral, shared by all destinations. */
  #nextEphemeral: number;
  #size = 0;

  constructor(protocol: 'tcp' | 'udp', random: Random) {
    this.#isTcp = protocol === 'tcp';
    this.#random = random;
    this.#secret = random.int32();
    this.#nextEphemeral = random.below(EPHEMERAL_COUNT);
  }

  /** Claims held now. */
  get size(): number {
    return this.#size;
  }

  /**
   * Claim `port` (0 = choose one) for a binding whose other fields are set.
   * @returns 0, or EADDRINUSE
   */
  bind(binding: PortBinding<R>, port: number): number {
    if (port !== 0) {
      if (this.#conflicts(binding, port, true)) return Errno.EADDRINUSE;
      this.#link(binding, port);
      return 0;
    }
    const start = this.#random.below(EPHEMERAL_COUNT);
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const candidate = EPHEMERAL_FIRST + ((start + i) % EPHEMERAL_COUNT);
      if (this.#conflicts(binding, candidate, false)) continue;
      this.#link(binding, candidate);
      return 0;
    }
    return Errno.EADDRINUSE;
  }

  /**
   * Claim a port for a connection that did not bind. A port whose only holders are such connections may be shared.
   * @param isTaken does the flow with this local port exist already?
   * @returns 0, or EADDRNOTAVAIL when no port is left
   */
  bindForConnect(binding: PortBinding<R>, isTaken: (port: number) => boolean): number {
    const offset = this.#offset(binding);
    for (let i = 0; i < EPHEMERAL_COUNT; i++) {
      const step = (this.#nextEphemeral + i) % EPHEMERAL_COUNT;
      const port = EPHEMERAL_FIRST + ((offset + step) % EPHEMERAL_COUNT);
      if (!this.#sharable(binding, port) || isTaken(port)) continue;
      this.#nextEphemeral = (step + 1) % EPHEMERAL_COUNT;
      binding.isConnectOnly = true;
      this.#link(binding, port);
      return 0;
    }
    return Errno.EADDRNOTAVAIL;
  }

  /** TCP: may this claim go to LISTEN? Bound sockets with SO_REUSEADDR share a port until one of them listens. */
  listen(binding: PortBinding<R>): number {
    for (let o = this.#heads[bucketOf(binding.vrf, binding.port)]; o !== undefined; o = o.next) {
      if (o === binding || o.port !== binding.port || o.vrf !== binding.vrf) continue;
      if (devicesOverlap(binding, o) && addressesOverlap(binding, o) && !this.#mayShare(binding, o, true))
        return Errno.EADDRINUSE;
    }
    binding.isListening = true;
    return 0;
  }

  /** One more socket or connection keeps the port. */
  hold(binding: PortBinding<R>): void {
    binding.holders++;
  }

  /** The socket that claimed the port lets go: nothing is received any more. Its connections may keep the port taken. */
  release(binding: PortBinding<R>): void {
    binding.receiver = undefined;
    binding.isListening = false;
    this.unhold(binding);
  }

  /** A holder is gone; the last one frees the port. */
  unhold(binding: PortBinding<R>): void {
    if (--binding.holders > 0) return;
    const bucket = bucketOf(binding.vrf, binding.port);
    let previous: PortBinding<R> | undefined;
    for (let o = this.#heads[bucket]; o !== undefined; previous = o, o = o.next) {
      if (o !== binding) continue;
      if (previous === undefined) this.#heads[bucket] = o.next;
      else previous.next = o.next;
      o.next = undefined;
      this.#size--;
      return;
    }
  }

  /**
   * The claim whose receiver a packet gets that was sent to local `l`:`port` from `r`:`remotePort` and came in by `link`.
   * The best match wins (connected, then address, device, family); of equals a SO_REUSEPORT group decides by hash, else
   * the claim made last.
   */
  find(
    vrf: number,
    link: number,
    l0: number,
    l1: number,
    l2: number,
    l3: number,
    port: number,
    r0: number,
    r1: number,
    r2: number,
    r3: number,
    remotePort: number,
  ): PortBinding<R> | undefined {
    let best: PortBinding<R> | undefined;
    let bestScore = -1;
    let equals = 0;
    const isV4 = l0 === 0 && l1 === 0 && l2 === 0xffff;
    const head = this.#heads[bucketOf(vrf, port)];
    for (let o = head; o !== undefined; o = o.next) {
      if (o.port !== port || o.vrf !== vrf || o.receiver === undefined) continue;
      const score = matchScore(o, link, isV4, l0, l1, l2, l3, r0, r1, r2, r3, remotePort);
      if (score > bestScore) {
        best = o;
        bestScore = score;
        equals = 1;
      } else if (score === bestScore && score >= 0 && o.reusePort) equals++;
    }
    if (best === undefined || equals === 1 || !best.reusePort) return best;
    let h = Math.imul(r3 ^ this.#secret, 0x9e3779b1) ^ Math.imul(r0 ^ r1 ^ r2, 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 15) ^ ((remotePort << 16) | port), 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 13) ^ l3, 0x27d4eb2f);
    let pick = Math.floor(((h ^ (h >>> 16)) >>> 0) * (equals / 4294967296));
    for (let o = head; o !== undefined; o = o.next) {
      if (o.port !== port || o.vrf !== vrf || o.receiver === undefined || !o.reusePort) continue;
      if (matchScore(o, link, isV4, l0, l1, l2, l3, r0, r1, r2, r3, remotePort) !== bestScore) continue;
      if (pick-- === 0) return o;
    }
    return best;
  }

  #conflicts(binding: PortBinding<R>, port: number, isExplicit: boolean): boolean {
    for (let o = this.#heads[bucketOf(binding.vrf, port)]; o !== undefined; o = o.next) {
      if (o === binding || o.port !== port || o.vrf !== binding.vrf) continue;
      if (devicesOverlap(binding, o) && addressesOverlap(binding, o) && !this.#mayShare(binding, o, isExplicit))
        return true;
    }
    return false;
  }

  #mayShare(a: PortBinding<R>, b: PortBinding<R>, isExplicit: boolean): boolean {
    if (a.reusePort && b.reusePort && a.uid === b.uid) return true;
    if (!a.reuseAddr || !b.reuseAddr) return false;
    // A port chosen for the app is never one that SO_REUSEADDR would let it share (TCP; UDP's rule has no such exception).
    return this.#isTcp ? isExplicit && !b.isListening : true;
  }

  #sharable(binding: PortBinding<R>, port: number): boolean {
    for (let o = this.#heads[bucketOf(binding.vrf, port)]; o !== undefined; o = o.next)
      if (o.port === port && o.vrf === binding.vrf && !o.isConnectOnly) return false;
    return true;
  }

  #link(binding: PortBinding<R>, port: number): void {
    const bucket = bucketOf(binding.vrf, port);
    binding.port = port;
    binding.holders = 1;
    binding.next = this.#heads[bucket];
    this.#heads[bucket] = binding;
    this.#size++;
  }

  #offset(b: PortBinding<R>): number {
    let h =
      Math.imul(b.r3 ^ this.#secret, 0x9e3779b1) ^ Math.imul(b.r0 ^ b.r1, 0x85ebca6b) ^ Math.imul(b.r2, 0x27d4eb2f);
    h = Math.imul(h ^ (h >>> 15) ^ b.remotePort, 0xc2b2ae35);
    h = Math.imul(h ^ (h >>> 13) ^ b.l3 ^ this.#secret, 0x165667b1);
    return ((h ^ (h >>> 16)) >>> 0) % EPHEMERAL_COUNT;
  }
}

/** How well a claim matches a packet; -1 = not at all. */
function matchScore<R>(
  o: PortBinding<R>,
  link: number,
  isV4: boolean,
  l0: number,
  l1: number,
  l2: number,
  l3: number,
  r0: number,
  r1: number,
  r2: number,
  r3: number,
  remotePort: number,
): number {
  let score = 0;
  if (o.isAny6) {
    if (isV4 && o.v6only) return -1;
  } else if (o.isV4) {
    if (!isV4) return -1;
    if (o.l3 !== 0) {
      if (o.l3 !== l3) return -1;
      score += 4;
    }
    if (o.family === 4) score += 1;
  } else {
    if (o.l3 !== l3 || o.l2 !== l2 || o.l1 !== l1 || o.l0 !== l0) return -1;
    score += 4;
  }
  if (o.device !== 0) {
    if (o.device !== link) return -1;
    score += 4;
  }
  if (o.isConnected) {
    if (o.remotePort !== remotePort || o.r3 !== r3 || o.r2 !== r2 || o.r1 !== r1 || o.r0 !== r0) return -1;
    score += 8;
  }
  return score;
}

function bucketOf(vrf: number, port: number): number {
  return (port ^ (port >>> 10) ^ Math.imul(vrf, 0x9e3779b1)) & (BUCKETS - 1);
}
