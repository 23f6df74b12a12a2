/**
 * What every part of the stack shares: memory, clock, links, FIB, counters, and the route look-up for packets of our own
 * and for transit. One object, made by `Stack`; holds no protocol.
 */
import { crossedVrf, RouteKind } from '../fib/shared.ts';
import type { Tick } from '../lib/clock.ts';
import type { Copy } from '../lib/copy.ts';
import type { Random } from '../lib/rand.ts';
import type { PagePool, World } from '../lib/world.ts';
import { Counters, DropReason } from './drops.ts';
import { isLinkLocal6, Links, type StackLink } from './links.ts';
import { PathMtuCache } from './path-mtu.ts';
import { Errno, type FibPort } from './port.ts';
import { SourceSelector } from './source.ts';

/** Default TTL and hop limit (RFC 1700; Linux's ip_default_ttl). */
export const DEFAULT_TTL = 64;
/** Room for the largest packet: 65535 octets of IPv6 payload and a header, rounded up. */
const SCRATCH_LEN = 65536 + 512;

export interface CoreOptions {
  readonly world: World;
  /** Where reassembly takes its pages from. */
  readonly pages: PagePool;
  readonly fib: FibPort;
  /** The loop's clock, moved once per vector by its owner. */
  readonly tick: Tick;
  /** Seeded from entropy in the daemon, fixed in tests. */
  readonly random: Random;
}

export class Core {
  readonly world: World;
  readonly b: Uint8Array;
  readonly words: Int32Array;
  readonly copy: Copy;
  readonly pages: PagePool;
  readonly tick: Tick;
  readonly fib: FibPort;
  readonly random: Random;
  readonly counters = new Counters();
  readonly links = new Links();
  readonly pathMtu = new PathMtuCache();
  readonly source = new SourceSelector(this.links);
  /** Two buffers of one packet each: for packets being built, and for what reassembly hands over. */
  readonly scratch: number;
  readonly reassembled: number;
  /** Why the last `route` gave nothing: a DropReason, and the errno for a local sender. */
  failure = 0;
  errno = 0;
  /** Where `via` gave nothing because the flow goes on in another VRF: its number; else -1. */
  crossing = -1;
  /** The FIB's next hop of the last successful `route`, or -1 when the FIB was not asked. */
  nextHop = -1;
  /** VRF of the last `route`. */
  #vrf = 0;
  /** Key of the flow hash (router/fib/hash.ts). */
  readonly flowSeed: number;
  #ipId: number;

  constructor(o: CoreOptions) {
    this.world = o.world;
    this.b = o.world.u8;
    this.words = o.world.i32;
    this.copy = o.world.copy;
    this.pages = o.pages;
    this.tick = o.tick;
    this.fib = o.fib;
    this.random = o.random;
    this.scratch = o.world.alloc(SCRATCH_LEN);
    this.reassembled = o.world.alloc(SCRATCH_LEN);
    this.#ipId = o.random.int32();
    this.flowSeed = o.random.int32();
  }

  /** Changes whenever a cached route or path MTU may be stale. */
  get generation(): number {
    return (this.fib.generation + this.links.generation + this.pathMtu.generation) | 0;
  }

  /** Identification for a datagram that may be fragmented: a walk with secret steps, not repeated for 16 K datagrams (RFC 6864 §4.3). */
  nextIpId(): number {
    this.#ipId = (this.#ipId + 1 + (this.random.int32() & 3)) | 0;
    return this.#ipId & 0xffff;
  }

  /**
   * The link a packet of our own to `d` leaves by.
   * @param scope link index for link-local destinations, or 0
   * @returns undefined when it cannot be sent: `failure` and `errno` say why
   */
  route(
    vrf: number,
    scope: number,
    d0: number,
    d1: number,
    d2: number,
    d3: number,
    hash: number,
  ): StackLink | undefined {
    this.nextHop = -1;
    this.#vrf = vrf;
    const isV4 = d0 === 0 && d1 === 0 && d2 === 0xffff;
    const loopback = this.links.loopback(vrf);
    if (loopback !== undefined) {
      if (this.links.local(vrf, scope, d0, d1, d2, d3) !== 0) return this.#usable(loopback);
      // All of 127.0.0.0/8 is on the loopback that has one address of it (RFC 1122 §3.2.1.3).
      if (isV4 && d3 >>> 24 === 127)
        return this.links.local4(vrf, 0x7f000001) === loopback.index
          ? this.#usable(loopback)
          : this.#fail(DropReason['martian-destination'], Errno.ENETUNREACH);
    }
    if (isNowhere(isV4, d0, d1, d3)) return this.#fail(DropReason['martian-destination'], Errno.ENETUNREACH);
    if (isLinkLocal6(d0) || d0 >>> 24 === 0xff) {
      const link = this.links.byIndex(scope);
      if (link === undefined || link.vrf !== vrf) return this.#fail(DropReason['no-route'], Errno.EINVAL);
      return this.#usable(link);
    }
    const out = this.via(this.#lookup(vrf, isV4, d0, d1, d2, d3), hash);
    return out !== undefined || this.crossing < 0 ? out : this.#crossed(isV4, d0, d1, d2, d3, hash);
  }

  #lookup(vrf: number, isV4: boolean, d0: number, d1: number, d2: number, d3: number): number {
    return isV4 ? this.fib.lookup4(vrf, d3) : this.fib.lookup6(vrf, d0, d1, d2, d3);
  }

  /** The same in the VRF that the flow crosses to, which may be where it ends. */
  #crossed(isV4: boolean, d0: number, d1: number, d2: number, d3: number, hash: number): StackLink | undefined {
    const vrf = this.crossing;
    const loopback = this.links.loopback(vrf);
    if (loopback !== undefined && this.links.local(vrf, 0, d0, d1, d2, d3) !== 0) return this.#usable(loopback);
    return this.viaCrossed(this.#lookup(vrf, isV4, d0, d1, d2, d3), hash);
  }

  /** The link with this index, for senders that name it (SO_BINDTODEVICE, IP_PKTINFO); our own addresses stay local. */
  routeBy(index: number, vrf: number, d0: number, d1: number, d2: number, d3: number): StackLink | undefined {
    this.nextHop = -1;
    this.#vrf = vrf;
    const loopback = this.links.loopback(vrf);
    if (loopback !== undefined && this.links.local(vrf, index, d0, d1, d2, d3) !== 0) return this.#usable(loopback);
    if (isNowhere(d0 === 0 && d1 === 0 && d2 === 0xffff, d0, d1, d3))
      return this.#fail(DropReason['martian-destination'], Errno.ENETUNREACH);
    const link = this.links.byIndex(index);
    if (link === undefined || link.vrf !== vrf) return this.#fail(DropReason['no-route'], Errno.ENODEV);
    return this.#usable(link);
  }

  /**
   * The link a flow leaves by that the FIB sends to `group`; `hash` matters if the group is multipath.
   * @returns undefined also where it goes on in another VRF, see `crossing`
   */
  via(group: number, hash: number): StackLink | undefined {
    if (group === 0) return this.#fail(DropReason['no-route'], Errno.ENETUNREACH);
    const kind = this.fib.kind(group);
    if (kind !== RouteKind.Unicast) {
      if (kind === RouteKind.Blackhole) return this.#fail(DropReason.blackhole, Errno.EINVAL); // as Linux answers
      if (kind === RouteKind.Prohibit) return this.#fail(DropReason.prohibited, Errno.EACCES);
      if (kind === RouteKind.Unreachable) return this.#fail(DropReason.unreachable, Errno.EHOSTUNREACH);
      return this.#fail(DropReason['no-route'], Errno.ENETUNREACH);
    }
    this.nextHop = this.fib.nextHop(group, hash);
    if (this.nextHop < 0) return this.#fail(DropReason['link-down'], Errno.ENETUNREACH);
    const index = this.fib.link(this.nextHop);
    if (index < 0) {
      this.crossing = crossedVrf(index);
      return undefined;
    }
    const link = this.links.byIndex(index);
    if (link === undefined) return this.#fail(DropReason['link-down'], Errno.ENETUNREACH);
    return this.#usable(link);
  }

  /**
   * The same for a flow that has crossed to another VRF: it does not cross again. So VRFs that import from one that imports
   * from them do not become neighbours, and no loop is possible.
   */
  viaCrossed(group: number, hash: number): StackLink | undefined {
    const out = this.via(group, hash);
    if (out !== undefined || this.crossing < 0) return out;
    return this.#fail(DropReason['no-route'], Errno.ENETUNREACH);
  }

  #usable(link: StackLink): StackLink | undefined {
    return link.link.isUp ? link : this.#fail(DropReason['link-down'], Errno.ENETUNREACH);
  }

  #fail(reason: number, errno: number): undefined {
    this.crossing = -1;
    this.failure = reason;
    this.errno = errno;
    return undefined;
  }

  /** Does the source of a packet that came in by `link` pass the link's reverse-path rule (RFC 3704)? Kept for links that ask for it. */
  reversePathHolds(link: StackLink, s0: number, s1: number, s2: number, s3: number, isStrict: boolean): boolean {
    const isV4 = s0 === 0 && s1 === 0 && s2 === 0xffff;
    const group = isV4 ? this.fib.lookup4(link.vrf, s3) : this.fib.lookup6(link.vrf, s0, s1, s2, s3);
    if (group === 0 || this.fib.kind(group) !== RouteKind.Unicast) return false;
    if (!isStrict) return true;
    // RFC 3704 §2.2: with several equal paths any of them is feasible; the members are sampled by their hash octet.
    for (let bucket = 0; bucket < 256; bucket++) {
      const nextHop = this.fib.nextHop(group, bucket << 24);
      if (nextHop >= 0 && this.fib.link(nextHop) === link.index) return true;
    }
    return false;
  }

  /** Choose our source address towards `d` by the last `route`; the words are in `source`. */
  chooseSource(out: StackLink, d0: number, d1: number, d2: number, d3: number): boolean {
    // A source is one of the sender's VRF, where answers are to arrive.
    if (out.vrf !== this.#vrf) return this.source.selectElsewhere(this.#vrf, d0 === 0 && d1 === 0 && d2 === 0xffff);
    const n = this.nextHop;
    if (n >= 0 && this.fib.hasSource(n)) {
      const a0 = this.fib.sourceWord(n, 0);
      const a1 = this.fib.sourceWord(n, 1);
      const a2 = this.fib.sourceWord(n, 2);
      const a3 = this.fib.sourceWord(n, 3);
      const sameFamily = (a0 === 0 && a1 === 0 && a2 === 0xffff) === (d0 === 0 && d1 === 0 && d2 === 0xffff);
      if (sameFamily && this.links.local(out.vrf, out.index, a0, a1, a2, a3) !== 0)
        return this.source.take(a0, a1, a2, a3);
    }
    return this.source.select(out, d0, d1, d2, d3);
  }
}

/** Addresses that name a host to itself, wherever routes would send them: 0/8 and 127/8, and of ::/64 all but IPv4. */
function isNowhere(isV4: boolean, d0: number, d1: number, d3: number): boolean {
  return isV4 ? d3 >>> 24 === 0 || d3 >>> 24 === 127 : (d0 | d1) === 0;
}
