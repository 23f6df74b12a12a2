/**
 * Ping endpoints: what Linux offers as SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6. The app sends echo requests whose
 * identifier the endpoint overwrites with its own, and receives the replies that carry it.
 */

import { flowHash } from '../fib/hash.ts';
import { get16, put16 } from '../lib/bytes.ts';
import { fold, pseudo6, sumWorld } from '../lib/checksum.ts';
import type { Random } from '../lib/rand.ts';
import { ICMP_HEADER_LEN, Icmp4, Icmp6, type QuotedPacket } from '../wire/icmp.ts';
import { IPV4_HEADER_LEN, IpProto, putIpv4 } from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN, putIpv6, putIpv6Addresses } from '../wire/ipv6.ts';
import { type Core, DEFAULT_TTL } from './core.ts';
import { readAddresses } from './datagram-info.ts';
import { DropReason, StackEvent } from './drops.ts';
import { isLinkLocal6, type StackLink } from './links.ts';
import { emit } from './output.ts';
import { DatagramInfo, type DatagramOwner, type DatagramSpec, Errno } from './port.ts';

const BUCKETS = 256;

export class PingEndpoint {
  readonly vrf: number;
  readonly isV4: boolean;
  readonly owner: DatagramOwner<PingEndpoint>;
  /** ICMP identifier; 0 until bound (by `bind`, `connect` or the first `send`). */
  id = 0;
  /** Link index the endpoint is bound to, 0 = any. */
  device = 0;
  ttl = DEFAULT_TTL;
  tos = 0;
  hasLocal = false;
  l0 = 0;
  l1 = 0;
  l2 = 0;
  l3 = 0;
  isConnected = false;
  scope = 0;
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  isClosed = false;
  /** Next in the bucket's chain. Managed by PingLayer. */
  next: PingEndpoint | undefined = undefined;
  readonly #layer: PingLayer;

  constructor(layer: PingLayer, vrf: number, isV4: boolean, owner: DatagramOwner<PingEndpoint>) {
    this.#layer = layer;
    this.vrf = vrf;
    this.isV4 = isV4;
    this.owner = owner;
  }

  /** Bind to an address of ours (hasLocal false = any) and an identifier (0 = choose). @returns 0 or errno */
  bind(hasLocal: boolean, l0: number, l1: number, l2: number, l3: number, scope: number, id: number): number {
    return this.#layer.bind(this, hasLocal, l0, l1, l2, l3, scope, id);
  }

  connect(r0: number, r1: number, r2: number, r3: number, scope: number): number {
    return this.#layer.connect(this, r0, r1, r2, r3, scope);
  }

  disconnect(): void {
    this.isConnected = false;
  }

  /** Send the ICMP echo request of `length` octets at world offset `at`. @returns 0 or errno */
  send(spec: DatagramSpec, at: number, length: number): number {
    return this.#layer.send(this, spec, at, length);
  }

  close(): void {
    this.#layer.close(this);
  }
}

export class PingLayer {
  readonly #core: Core;
  readonly #random: Random;
  readonly #heads: (PingEndpoint | undefined)[] = new Array<PingEndpoint | undefined>(BUCKETS).fill(undefined);
  readonly #info = new DatagramInfo();

  constructor(core: Core) {
    this.#core = core;
    this.#random = core.random;
  }

  open(vrf: number, isV4: boolean, owner: DatagramOwner<PingEndpoint>): PingEndpoint {
    return new PingEndpoint(this, vrf, isV4, owner);
  }

  bind(
    e: PingEndpoint,
    hasLocal: boolean,
    l0: number,
    l1: number,
    l2: number,
    l3: number,
    scope: number,
    id: number,
  ): number {
    if (e.id !== 0) return Errno.EINVAL;
    if (hasLocal) {
      if ((l0 === 0 && l1 === 0 && l2 === 0xffff) !== e.isV4) return Errno.EAFNOSUPPORT;
      if (this.#core.links.local(e.vrf, scope, l0, l1, l2, l3) === 0) return Errno.EADDRNOTAVAIL;
      if (isLinkLocal6(l0)) e.device = scope;
    }
    if (!this.#claim(e, id)) return Errno.EADDRINUSE;
    e.hasLocal = hasLocal;
    e.l0 = l0;
    e.l1 = l1;
    e.l2 = l2;
    e.l3 = l3;
    return 0;
  }

  connect(e: PingEndpoint, r0: number, r1: number, r2: number, r3: number, scope: number): number {
    if ((r0 === 0 && r1 === 0 && r2 === 0xffff) !== e.isV4) return Errno.EAFNOSUPPORT;
    if (isLinkLocal6(r0) && scope === 0 && e.device === 0) return Errno.EINVAL;
    if (e.id === 0 && !this.#claim(e, 0)) return Errno.EADDRINUSE;
    e.isConnected = true;
    e.scope = scope;
    e.r0 = r0;
    e.r1 = r1;
    e.r2 = r2;
    e.r3 = r3;
    return 0;
  }

  send(e: PingEndpoint, spec: DatagramSpec, from: number, length: number): number {
    const core = this.#core;
    const b = core.b;
    if (length < ICMP_HEADER_LEN) return Errno.EINVAL;
    if (b[from] !== (e.isV4 ? Icmp4.Echo : Icmp6.Echo) || b[from + 1] !== 0) return Errno.EINVAL;
    if (!spec.hasRemote && !e.isConnected) return Errno.EDESTADDRREQ;
    const d0 = spec.hasRemote ? spec.r0 : e.r0;
    const d1 = spec.hasRemote ? spec.r1 : e.r1;
    const d2 = spec.hasRemote ? spec.r2 : e.r2;
    const d3 = spec.hasRemote ? spec.r3 : e.r3;
    if ((d0 === 0 && d1 === 0 && d2 === 0xffff) !== e.isV4) return Errno.EAFNOSUPPORT;
    const ipLen = e.isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
    if (length > 65535 - (e.isV4 ? ipLen : 0)) return Errno.EMSGSIZE;
    if (e.id === 0 && !this.#claim(e, 0)) return Errno.EAGAIN;
    const device = spec.link !== 0 ? spec.link : e.device;
    const scope = (spec.hasRemote ? spec.scope : e.scope) || device;
    const hash = flowHash(0, 0, 0, e.id, d0, d1, d2, d3, IpProto.Icmp, 0, core.flowSeed);
    const out =
      device !== 0 ? core.routeBy(device, e.vrf, d0, d1, d2, d3) : core.route(e.vrf, scope, d0, d1, d2, d3, hash);
    if (out === undefined) {
      core.counters.drop(core.failure);
      return core.errno;
    }
    if (spec.hasLocal) {
      if (core.links.local(e.vrf, scope, spec.l0, spec.l1, spec.l2, spec.l3) === 0) return Errno.EINVAL;
      core.source.take(spec.l0, spec.l1, spec.l2, spec.l3);
    } else if (e.hasLocal) core.source.take(e.l0, e.l1, e.l2, e.l3);
    else if (!core.chooseSource(out, d0, d1, d2, d3)) return Errno.EADDRNOTAVAIL;

    const at = core.scratch;
    const icmpAt = at + ipLen;
    const ttl = spec.ttl >= 0 ? spec.ttl : e.ttl;
    const tos = spec.tos >= 0 ? spec.tos : e.tos;
    const s = core.source;
    core.copy(icmpAt, from, length);
    put16(b, icmpAt + 4, e.id);
    put16(b, icmpAt + 2, 0);
    if (e.isV4) {
      putIpv4(b, at, ipLen + length, tos, core.nextIpId(), 0, ttl, IpProto.Icmp, s.s3, d3);
      put16(b, icmpAt + 2, ~sumWorld(b, core.words, icmpAt, length) & 0xffff);
    } else {
      putIpv6(b, at, length, tos, hash & 0xfffff, IpProto.Icmpv6, ttl);
      putIpv6Addresses(b, at, s.s0, s.s1, s.s2, s.s3, d0, d1, d2, d3);
      const sum = fold(pseudo6(b, at, IpProto.Icmpv6, length) + sumWorld(b, core.words, icmpAt, length));
      put16(b, icmpAt + 2, ~sum & 0xffff);
    }
    return emit(core, out, at, ipLen + length) ? 0 : Errno.ENOBUFS;
  }

  /** An echo reply for one of our addresses. */
  deliver(link: StackLink, isV4: boolean, at: number, icmpAt: number, length: number): void {
    const core = this.#core;
    const b = core.b;
    const e = this.#find(link.vrf, isV4, get16(b, icmpAt + 4));
    if (e === undefined || (e.device !== 0 && e.device !== link.index)) {
      core.counters.drop(DropReason['no-listener']);
      return;
    }
    const info = this.#info;
    info.isV4 = isV4;
    info.link = link.index;
    info.localPort = e.id;
    readAddresses(info, b, at, isV4);
    info.scope = isLinkLocal6(info.r0) ? link.index : 0;
    const isOther = e.r3 !== info.r3 || e.r2 !== info.r2 || e.r1 !== info.r1 || e.r0 !== info.r0;
    // The same link-local address on another link is somebody else.
    if (e.isConnected && (isOther || (info.scope !== 0 && info.scope !== (e.scope || e.device)))) {
      core.counters.drop(DropReason['no-listener']);
      return;
    }
    core.counters.count(StackEvent['ping-in']);
    e.owner.deliver(e, info, icmpAt, length, 0);
  }

  /** Did one of our endpoints send the quoted echo request? */
  sent(link: StackLink, q: QuotedPacket): boolean {
    return this.#find(link.vrf, q.isV4, q.srcPort) !== undefined;
  }

  /** An ICMP error that quotes an echo request of ours. @returns false when nobody sent it */
  failed(link: StackLink, q: QuotedPacket, errno: number): boolean {
    const e = this.#find(link.vrf, q.isV4, q.srcPort);
    if (e === undefined) return false;
    const info = this.#info;
    info.isV4 = q.isV4;
    info.link = link.index;
    info.scope = isLinkLocal6(q.d0) ? link.index : 0;
    info.l0 = q.s0;
    info.l1 = q.s1;
    info.l2 = q.s2;
    info.l3 = q.s3;
    info.localPort = e.id;
    info.r0 = q.d0;
    info.r1 = q.d1;
    info.r2 = q.d2;
    info.r3 = q.d3;
    info.remotePort = 0;
    if (e.isConnected) e.owner.error(e, errno, info);
    return true;
  }

  close(e: PingEndpoint): void {
    e.isClosed = true;
    if (e.id === 0) return;
    const bucket = e.id & (BUCKETS - 1);
    let previous: PingEndpoint | undefined;
    for (let o = this.#heads[bucket]; o !== undefined; previous = o, o = o.next) {
      if (o !== e) continue;
      if (previous === undefined) this.#heads[bucket] = o.next;
      else previous.next = o.next;
      break;
    }
    e.next = undefined;
    e.id = 0;
  }

  #find(vrf: number, isV4: boolean, id: number): PingEndpoint | undefined {
    for (let o = this.#heads[id & (BUCKETS - 1)]; o !== undefined; o = o.next)
      if (o.id === id && o.isV4 === isV4 && o.vrf === vrf) return o;
    return undefined;
  }

  #claim(e: PingEndpoint, wanted: number): boolean {
    let id = wanted;
    for (let tries = 0; id === 0 || this.#find(e.vrf, e.isV4, id) !== undefined; tries++) {
      if (wanted !== 0 || tries === 65535) return false;
      id = this.#random.int32() & 0xffff;
    }
    e.id = id;
    const bucket = id & (BUCKETS - 1);
    e.next = this.#heads[bucket];
    this.#heads[bucket] = e;
    return true;
  }
}
