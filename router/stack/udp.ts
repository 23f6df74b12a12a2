/**
 * UDP (RFC 768; RFC 8085 for what its users may expect; RFC 8200 §8.1 for checksums over IPv6). Endpoints of both
 * families, IPv6 ones also serving IPv4 (RFC 3493 §3.7); super-records both ways (UDP_SEGMENT, UDP_GRO).
 * Does not buffer: a datagram is handed to its owner at once, and sending either reaches the link's queue or fails.
 */

import { flowHash } from '../fib/hash.ts';
import { put16 } from '../lib/bytes.ts';
import { pseudo4, pseudo6, sumWorld } from '../lib/checksum.ts';
import { GsoType, RecordFlag } from '../lib/link.ts';
import type { QuotedPacket } from '../wire/icmp.ts';
import { IPV4_HEADER_LEN, IpProto, Ipv4Frag, ipv4Dst, ipv4Src, putIpv4 } from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN, putIpv6, putIpv6Addresses } from '../wire/ipv6.ts';
import { checkUdp, putUdp, UDP_HEADER_LEN, udpChecksum, udpDstPort, udpSrcPort } from '../wire/udp.ts';
import type { Core } from './core.ts';
import { readAddresses } from './datagram-info.ts';
import { FlowTable, MutableFlow } from './demux.ts';
import { DropReason, StackEvent } from './drops.ts';
import { isLinkLocal6, type StackLink } from './links.ts';
import { emit } from './output.ts';
import { DatagramInfo, type DatagramOwner, type DatagramSpec, Errno } from './port.ts';
import { PortTable } from './ports.ts';
import { PathMtuMode, UdpEndpoint } from './udp-endpoint.ts';

/** Linux's UDP_MAX_SEGMENTS. */
const MAX_SEGMENTS = 128;
const CSUM_OFFSET = 6;

/** A connected endpoint's entry in the table of exact flows. */
class ConnectedFlow extends MutableFlow {
  readonly endpoint: UdpEndpoint;

  constructor(endpoint: UdpEndpoint) {
    super();
    this.endpoint = endpoint;
  }
}

export class UdpLayer {
  readonly #core: Core;
  readonly ports: PortTable<UdpEndpoint>;
  readonly #flows: FlowTable<ConnectedFlow>;
  readonly #flowOf = new Map<UdpEndpoint, ConnectedFlow>();
  readonly #key = new MutableFlow();
  readonly #info = new DatagramInfo();

  constructor(core: Core) {
    this.#core = core;
    this.ports = new PortTable<UdpEndpoint>('udp', core.random);
    this.#flows = new FlowTable<ConnectedFlow>(core.random);
  }

  /** A new endpoint, bound to nothing. */
  open(vrf: number, family: 4 | 6, owner: DatagramOwner<UdpEndpoint>): UdpEndpoint {
    return new UdpEndpoint(this, vrf, family, owner);
  }

  /** The one place that says which local addresses may be bound. @returns 0 or errno */
  checkLocal(vrf: number, scope: number, l0: number, l1: number, l2: number, l3: number): number {
    if (l3 === 0 && l1 === 0 && l0 === 0 && (l2 === 0 || l2 === 0xffff)) return 0;
    if (isLinkLocal6(l0) && scope === 0) return Errno.EINVAL;
    const isLoop4 = l0 === 0 && l1 === 0 && l2 === 0xffff && l3 >>> 24 === 127;
    if (isLoop4 && this.#core.links.local4(vrf, 0x7f000001) !== 0) return 0;
    return this.#core.links.local(vrf, scope, l0, l1, l2, l3) === 0 ? Errno.EADDRNOTAVAIL : 0;
  }

  /** Route and source for a connecting endpoint; the source is left in `core.source`. @returns 0 or errno */
  prepareConnect(e: UdpEndpoint, r0: number, r1: number, r2: number, r3: number, scope: number): number {
    const core = this.#core;
    const device = e.binding.device;
    const out =
      device !== 0
        ? core.routeBy(device, e.vrf, r0, r1, r2, r3)
        : core.route(
            e.vrf,
            scope,
            r0,
            r1,
            r2,
            r3,
            flowHash(0, 0, 0, 0, r0, r1, r2, r3, IpProto.Udp, e.binding.port, core.flowSeed),
          );
    if (out === undefined) return core.errno;
    return core.chooseSource(out, r0, r1, r2, r3) ? 0 : Errno.EADDRNOTAVAIL;
  }

  get source(): { readonly s0: number; readonly s1: number; readonly s2: number; readonly s3: number } {
    return this.#core.source;
  }

  /** The endpoint has a peer now: its exact flow goes first. */
  connected(e: UdpEndpoint): void {
    const f = new ConnectedFlow(e);
    const b = e.binding;
    f.vrf = e.vrf;
    f.scope = isLinkLocal6(b.r0) ? e.scope : 0;
    f.isV4 = b.isV4;
    f.l0 = b.l0;
    f.l1 = b.l1;
    f.l2 = b.l2;
    f.l3 = b.l3;
    f.localPort = b.port;
    f.r0 = b.r0;
    f.r1 = b.r1;
    f.r2 = b.r2;
    f.r3 = b.r3;
    f.remotePort = b.remotePort;
    // Of two endpoints with one flow (SO_REUSEPORT) the first has the entry; the other is still found by port.
    if (this.#flows.insert(f)) this.#flowOf.set(e, f);
  }

  disconnected(e: UdpEndpoint): void {
    const f = this.#flowOf.get(e);
    if (f === undefined) return;
    this.#flows.remove(f);
    this.#flowOf.delete(e);
  }

  /** A UDP datagram or super-record at `udpAt`..`end` of the packet at `at`. @returns false when nobody has the port (and it is sound) */
  input(
    link: StackLink,
    isV4: boolean,
    at: number,
    udpAt: number,
    end: number,
    flags: number,
    gsoSize: number,
  ): boolean {
    const core = this.#core;
    const b = core.b;
    const length = checkUdp(b, udpAt, end - udpAt, gsoSize > 0);
    if (length < 0 || udpDstPort(b, udpAt) === 0) {
      core.counters.drop(DropReason['bad-transport-header']);
      return true;
    }
    if ((flags & RecordFlag.CsumValid) === 0 && !this.#checksumHolds(isV4, at, udpAt, length)) {
      core.counters.drop(DropReason['bad-transport-checksum']);
      return true;
    }
    const info = this.#info;
    info.isV4 = isV4;
    info.link = link.index;
    info.remotePort = udpSrcPort(b, udpAt);
    info.localPort = udpDstPort(b, udpAt);
    readAddresses(info, b, at, isV4);
    info.scope = isLinkLocal6(info.r0) ? link.index : 0;
    const e = this.#find(link);
    if (e === undefined) return false;
    core.counters.count(StackEvent['udp-in']);
    e.owner.deliver(e, info, udpAt + UDP_HEADER_LEN, length - UDP_HEADER_LEN, gsoSize);
    return true;
  }

  /** An ICMP error that quotes a datagram of ours. @returns false when no endpoint can have sent it */
  failed(link: StackLink, q: QuotedPacket, errno: number, isHard: boolean): boolean {
    const e = this.#quotedEndpoint(link, q);
    if (e === undefined) return false;
    if (e.reportsAllErrors || (isHard && e.isConnected)) e.owner.error(e, errno, this.#info);
    return true;
  }

  /** The quoted datagram was too big. @returns 0 = unmatched, 1 = learn the path MTU */
  tooBig(link: StackLink, q: QuotedPacket): boolean {
    const e = this.#quotedEndpoint(link, q);
    if (e === undefined) return false;
    // As Linux: the next send may be fragmented, but a connected app is told to send less.
    if (e.pathMtuMode !== PathMtuMode.Dont && (e.reportsAllErrors || e.isConnected))
      e.owner.error(e, Errno.EMSGSIZE, this.#info);
    return true;
  }

  #quotedEndpoint(link: StackLink, q: QuotedPacket): UdpEndpoint | undefined {
    const info = this.#info;
    info.isV4 = q.isV4;
    info.link = link.index;
    info.scope = isLinkLocal6(q.d0) ? link.index : 0;
    info.l0 = q.s0;
    info.l1 = q.s1;
    info.l2 = q.s2;
    info.l3 = q.s3;
    info.localPort = q.srcPort;
    info.r0 = q.d0;
    info.r1 = q.d1;
    info.r2 = q.d2;
    info.r3 = q.d3;
    info.remotePort = q.dstPort;
    return this.#find(link);
  }

  /** The endpoint for the flow in `#info`. */
  #find(link: StackLink): UdpEndpoint | undefined {
    const i = this.#info;
    if (this.#flows.size > 0) {
      const k = this.#key;
      k.vrf = link.vrf;
      k.scope = i.scope;
      k.l0 = i.l0;
      k.l1 = i.l1;
      k.l2 = i.l2;
      k.l3 = i.l3;
      k.localPort = i.localPort;
      k.r0 = i.r0;
      k.r1 = i.r1;
      k.r2 = i.r2;
      k.r3 = i.r3;
      k.remotePort = i.remotePort;
      const f = this.#flows.find(k);
      if (f !== undefined && (f.endpoint.binding.device === 0 || f.endpoint.binding.device === link.index))
        return f.endpoint;
    }
    return this.ports.find(
      link.vrf,
      link.index,
      i.l0,
      i.l1,
      i.l2,
      i.l3,
      i.localPort,
      i.r0,
      i.r1,
      i.r2,
      i.r3,
      i.remotePort,
    )?.receiver;
  }

  #checksumHolds(isV4: boolean, at: number, udpAt: number, length: number): boolean {
    const { b, words } = this.#core;
    if (udpChecksum(b, udpAt) === 0) return isV4; // RFC 768: none was made; RFC 8200 §8.1 forbids that for IPv6
    const pseudo = isV4
      ? pseudo4(ipv4Src(b, at), ipv4Dst(b, at), IpProto.Udp, length)
      : pseudo6(b, at, IpProto.Udp, length);
    const sum = pseudo + sumWorld(b, words, udpAt, length);
    return (sum & 0xffff) + (sum >>> 16) === 0xffff;
  }

  /** Send `length` octets at world offset `from`. @returns 0 or errno; EAGAIN = the link's queue is full */
  send(e: UdpEndpoint, spec: DatagramSpec, from: number, length: number): number {
    const core = this.#core;
    const bind = e.binding;
    if (!spec.hasRemote && !e.isConnected) return Errno.EDESTADDRREQ;
    const r0 = spec.hasRemote ? spec.r0 : bind.r0;
    const r1 = spec.hasRemote ? spec.r1 : bind.r1;
    const r2 = spec.hasRemote ? spec.r2 : bind.r2;
    let r3 = spec.hasRemote ? spec.r3 : bind.r3;
    const remotePort = spec.hasRemote ? spec.remotePort : bind.remotePort;
    if (remotePort === 0) return Errno.EINVAL;
    if (r3 === 0 && r1 === 0 && r0 === 0 && (r2 === 0 || r2 === 0xffff)) {
      // The unspecified address means this host, as in Linux.
      r3 = r2 === 0 ? 1 : 0x7f000001;
    }
    const isV4 = r0 === 0 && r1 === 0 && r2 === 0xffff;
    const familyFault = e.familyFault(isV4);
    if (familyFault !== 0) return familyFault;
    if (bind.port === 0) {
      const fault = this.ports.bind(bind, 0);
      if (fault !== 0) return Errno.EAGAIN;
    }

    const device = spec.link !== 0 ? spec.link : bind.device;
    const scope = (spec.hasRemote ? spec.scope : e.scope) || device;
    const hash = flowHash(
      bind.l0,
      bind.l1,
      bind.l2,
      bind.l3,
      r0,
      r1,
      r2,
      r3,
      IpProto.Udp,
      (bind.port << 16) | remotePort,
      core.flowSeed,
    );
    const out =
      device !== 0 ? core.routeBy(device, e.vrf, r0, r1, r2, r3) : core.route(e.vrf, scope, r0, r1, r2, r3, hash);
    if (out === undefined) {
      core.counters.drop(core.failure);
      return core.errno;
    }
    const s = core.source;
    if (spec.hasLocal) {
      const fault = this.checkLocal(e.vrf, scope, spec.l0, spec.l1, spec.l2, spec.l3);
      if (fault !== 0 || (spec.l0 === 0 && spec.l1 === 0 && spec.l2 === 0xffff) !== isV4) return Errno.EINVAL;
      s.take(spec.l0, spec.l1, spec.l2, spec.l3);
    } else if (!bind.isWildcard) {
      if (bind.isV4 !== isV4) return Errno.ENETUNREACH;
      s.take(bind.l0, bind.l1, bind.l2, bind.l3);
    } else if (!core.chooseSource(out, r0, r1, r2, r3)) return Errno.EADDRNOTAVAIL;

    const ipLen = isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
    const udpLen = UDP_HEADER_LEN + length;
    if (udpLen > 65535 - (isV4 ? IPV4_HEADER_LEN : 0)) return Errno.EMSGSIZE;
    const mtu =
      e.pathMtuMode === PathMtuMode.Probe ? out.link.mtu : core.pathMtu.get(e.vrf, r0, r1, r2, r3, out.link.mtu);
    const isSuper = spec.gsoSize > 0 && length > spec.gsoSize;
    if (isSuper) {
      if (ipLen + UDP_HEADER_LEN + spec.gsoSize > mtu || length > spec.gsoSize * MAX_SEGMENTS) return Errno.EINVAL;
      if (ipLen + udpLen > 65535) return Errno.EMSGSIZE;
    }
    const mustCut = !isSuper && ipLen + udpLen > mtu;
    if (mustCut && e.pathMtuMode >= PathMtuMode.Do) return Errno.EMSGSIZE;
    const df = e.pathMtuMode === PathMtuMode.Dont || mustCut ? 0 : Ipv4Frag.Dont;

    const at = mustCut ? core.scratch : out.link.reserve(ipLen + udpLen);
    if (at < 0) {
      out.link.wantDrain();
      return Errno.EAGAIN;
    }
    const b = core.b;
    const tos = spec.tos >= 0 ? spec.tos : e.tos;
    const ttl = spec.ttl >= 0 ? spec.ttl : e.ttl;
    if (isV4) {
      // RFC 6864 §4.1: an atomic datagram's identification means nothing.
      const id = df !== 0 && !isSuper ? 0 : core.nextIpId();
      putIpv4(b, at, ipLen + udpLen, tos, id, df, ttl, IpProto.Udp, s.s3, r3);
    } else {
      putIpv6(b, at, udpLen, tos, hash & 0xfffff, IpProto.Udp, ttl);
      putIpv6Addresses(b, at, s.s0, s.s1, s.s2, s.s3, r0, r1, r2, r3);
    }
    putUdp(b, at + ipLen, bind.port, remotePort, udpLen);
    core.copy(at + ipLen + UDP_HEADER_LEN, from, length);
    core.counters.count(StackEvent['udp-out']);
    if (mustCut) return this.#sendCut(out, isV4, at, ipLen, udpLen);
    if (isSuper)
      out.link.commit(
        ipLen + udpLen,
        RecordFlag.NeedsCsum | RecordFlag.Gso,
        GsoType.UdpL4,
        ipLen + UDP_HEADER_LEN,
        spec.gsoSize,
        ipLen,
        CSUM_OFFSET,
      );
    else out.link.commit(ipLen + udpLen, RecordFlag.NeedsCsum, 0, 0, 0, ipLen, CSUM_OFFSET);
    return 0;
  }

  /** Fragments carry a checksum over the whole datagram, which nobody behind the link can compute. */
  #sendCut(out: StackLink, isV4: boolean, at: number, ipLen: number, udpLen: number): number {
    const core = this.#core;
    const b = core.b;
    const pseudo = isV4
      ? pseudo4(ipv4Src(b, at), ipv4Dst(b, at), IpProto.Udp, udpLen)
      : pseudo6(b, at, IpProto.Udp, udpLen);
    const sum = pseudo + sumWorld(b, core.words, at + ipLen, udpLen);
    const check = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
    put16(b, at + ipLen + CSUM_OFFSET, check === 0 ? 0xffff : check);
    return emit(core, out, at, ipLen + udpLen) ? 0 : Errno.ENOBUFS;
  }
}
