/**
 * Transit: packets that are not for us (RFC 1812 §5, RFC 8200). TTL, next hop by flow hash, path MTU errors with the real
 * MTU, IPv4 fragmentation, MSS clamping, and one copy from the incoming ring to the outgoing queue.
 * A super-segment is one packet here, judged by the size of its pieces. Packets arrive checked and with sane addresses.
 */
import { flowHash } from '../fib/hash.ts';
import { get16, get32, put16 } from '../lib/bytes.ts';
import { pseudo4, sumWorld } from '../lib/checksum.ts';
import { GsoType, RecordFlag } from '../lib/link.ts';
import { Icmp4, Icmp6, TimeExceeded, Unreach4, Unreach6 } from '../wire/icmp.ts';
import {
  IPV4_HEADER_LEN,
  IPV4_MIN_MTU,
  IpProto,
  Ipv4Frag,
  ipv4Dst,
  ipv4FragWord,
  ipv4Protocol,
  ipv4Src,
  ipv4Ttl,
  sealIpv4,
} from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN, Ipv6Walk, ipv6HopLimit, ipv6NextHeader, WalkEnd } from '../wire/ipv6.ts';
import { UDP_HEADER_LEN } from '../wire/udp.ts';
import type { Core } from './core.ts';
import { DropReason, StackEvent } from './drops.ts';
import { fragment4 } from './fragment.ts';
import type { IcmpErrors } from './icmp-error.ts';
import { isLinkLocal6, ReversePath, type StackLink } from './links.ts';
import { clampMss } from './mss-clamp.ts';

const TCP_HEADER_LEN = 20;
/** 169.254.0.0/16, its upper half. */
const LINK_LOCAL4 = 0xa9fe;

/** Takes packets that turn out to be for us: their route leads to an address of ours in another VRF. */
export interface LocalInput {
  /** @param link the VRF's loopback */
  deliver4(link: StackLink, at: number, headerLen: number, length: number, flags: number, gsoSize: number): void;
  deliver6(link: StackLink, at: number, length: number, flags: number, gsoSize: number): void;
}

export class Forwarder {
  readonly #core: Core;
  readonly #errors: IcmpErrors;
  #local: LocalInput | undefined;
  readonly #walk = new Ipv6Walk();

  constructor(core: Core, errors: IcmpErrors) {
    this.#core = core;
    this.#errors = errors;
  }

  /** Said once, before the first packet: the two need each other. */
  deliverTo(local: LocalInput): void {
    this.#local = local;
  }

  /** An IPv4 packet of `length` octets (total length; of a super-segment the record's length). */
  forward4(
    inLink: StackLink,
    at: number,
    headerLen: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    const core = this.#core;
    const b = core.b;
    const src = ipv4Src(b, at);
    const dst = ipv4Dst(b, at);
    const protocol = ipv4Protocol(b, at);
    const fragWord = ipv4FragWord(b, at);
    const transportAt = at + headerLen;
    // RFC 3927 §7: "A router MUST NOT forward a packet with an IPv4 Link-Local source or destination address".
    if (src >>> 16 === LINK_LOCAL4 || dst >>> 16 === LINK_LOCAL4) {
      core.counters.drop(DropReason['link-local-transit']);
      return;
    }
    if (
      inLink.reversePath !== ReversePath.Off &&
      !core.reversePathHolds(inLink, 0, 0, 0xffff, src, inLink.reversePath === ReversePath.Strict)
    ) {
      core.counters.drop(DropReason['reverse-path']);
      return;
    }

    const group = core.fib.lookup4(inLink.vrf, dst);
    let out = core.via(group, core.fib.isMultipath(group) ? this.#hash4(at, headerLen, length) : 0);
    if (out === undefined && core.crossing >= 0) {
      const vrf = core.crossing;
      const loopback = core.links.loopback(vrf);
      if (loopback !== undefined && core.links.local4(vrf, dst) !== 0) {
        if (core.links.local4(vrf, src) !== 0) core.counters.drop(DropReason['martian-source']);
        else this.#local!.deliver4(loopback, at, headerLen, length, flags, gsoSize);
        return;
      }
      out = core.viaCrossed(core.fib.lookup4(vrf, dst), this.#hash4(at, headerLen, length));
    }
    if (out === undefined) {
      this.#unroutable4(inLink, at, length);
      return;
    }
    if (ipv4Ttl(b, at) <= 1) {
      core.counters.drop(DropReason['hop-limit']);
      this.#errors.send4(inLink, at, length, Icmp4.TimeExceeded, TimeExceeded.Hops, 0, pieceLen(hdrLen, gsoSize));
      return;
    }
    const mtu = out.link.mtu;
    const isSuper = (flags & RecordFlag.Gso) !== 0;
    // A super-segment fits when its pieces do.
    const wireLen = isSuper ? hdrLen + gsoSize : length;
    if (wireLen > mtu) {
      if ((fragWord & Ipv4Frag.Dont) !== 0 || mtu < IPV4_MIN_MTU) {
        core.counters.drop(DropReason['too-big']);
        const piece = pieceLen(hdrLen, gsoSize);
        this.#errors.send4(inLink, at, length, Icmp4.Unreachable, Unreach4.FragNeeded, mtu, piece);
        return;
      }
      decrementTtl(b, at);
      core.counters.count(StackEvent.forwarded);
      if (!isSuper) fragment4(core, out, at, length, mtu);
      else this.#cut4(out, at, headerLen, length, gsoType, hdrLen, gsoSize, mtu);
      return;
    }

    decrementTtl(b, at);
    if (
      protocol === IpProto.Tcp &&
      (fragWord & Ipv4Frag.OffsetMask) === 0 &&
      length > headerLen + 13 &&
      (b[transportAt + 13]! & 2) !== 0
    )
      this.#clamp(inLink, out, transportAt, at + length, IPV4_HEADER_LEN);
    this.#copy(out, at, length, isSuper, gsoType, hdrLen, gsoSize, headerLen, protocol);
  }

  /** An IPv6 packet; as forward4. */
  forward6(
    inLink: StackLink,
    at: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    const core = this.#core;
    const b = core.b;
    const s0 = get32(b, at + 8);
    const s1 = get32(b, at + 12);
    const s2 = get32(b, at + 16);
    const s3 = get32(b, at + 20);
    const d0 = get32(b, at + 24);
    const d1 = get32(b, at + 28);
    const d2 = get32(b, at + 32);
    const d3 = get32(b, at + 36);
    const piece = pieceLen(hdrLen, gsoSize);
    // RFC 4291 §2.5.6: "Routers must not forward any packets with Link-Local source or destination addresses".
    if (isLinkLocal6(d0)) {
      core.counters.drop(DropReason['link-local-transit']);
      return;
    }
    if (isLinkLocal6(s0)) {
      core.counters.drop(DropReason['link-local-transit']);
      this.#errors.send6(inLink, at, length, Icmp6.Unreachable, Unreach6.BeyondScope, 0, piece);
      return;
    }

    let protocol = ipv6NextHeader(b, at);
    let transportAt = at + IPV6_HEADER_LEN;
    let isWhole = true;
    if (protocol !== IpProto.Tcp && protocol !== IpProto.Udp && protocol !== IpProto.Icmpv6) {
      const how = this.#walk.skim(b, at, at + length);
      protocol = this.#walk.protocol;
      transportAt = this.#walk.transportAt;
      isWhole = how === WalkEnd.Transport && this.#walk.fragmentAt < 0;
    }
    const isTcp = protocol === IpProto.Tcp;
    if (
      inLink.reversePath !== ReversePath.Off &&
      !core.reversePathHolds(inLink, s0, s1, s2, s3, inLink.reversePath === ReversePath.Strict)
    ) {
      core.counters.drop(DropReason['reverse-path']);
      return;
    }

    const hasPorts = isWhole && (isTcp || protocol === IpProto.Udp) && at + length >= transportAt + 4;
    const portsAt = hasPorts ? transportAt : -1;
    const group = core.fib.lookup6(inLink.vrf, d0, d1, d2, d3);
    let out = core.via(group, core.fib.isMultipath(group) ? this.#hash6(at, protocol, portsAt) : 0);
    if (out === undefined && core.crossing >= 0) {
      const vrf = core.crossing;
      const loopback = core.links.loopback(vrf);
      if (loopback !== undefined && core.links.local(vrf, 0, d0, d1, d2, d3) !== 0) {
        if (core.links.local(vrf, 0, s0, s1, s2, s3) !== 0) core.counters.drop(DropReason['martian-source']);
        else this.#local!.deliver6(loopback, at, length, flags, gsoSize);
        return;
      }
      out = core.viaCrossed(core.fib.lookup6(vrf, d0, d1, d2, d3), this.#hash6(at, protocol, portsAt));
    }
    if (out === undefined) {
      this.#unroutable6(inLink, at, length);
      return;
    }
    if (ipv6HopLimit(b, at) <= 1) {
      core.counters.drop(DropReason['hop-limit']);
      this.#errors.send6(inLink, at, length, Icmp6.TimeExceeded, TimeExceeded.Hops, 0, piece);
      return;
    }
    const mtu = out.link.mtu;
    const isSuper = (flags & RecordFlag.Gso) !== 0;
    if ((isSuper ? hdrLen + gsoSize : length) > mtu) {
      core.counters.drop(DropReason['too-big']);
      this.#errors.send6(inLink, at, length, Icmp6.PacketTooBig, 0, mtu, piece);
      return;
    }
    b[at + 7]!--;
    if (isTcp && isWhole && at + length > transportAt + 13 && (b[transportAt + 13]! & 2) !== 0)
      this.#clamp(inLink, out, transportAt, at + length, IPV6_HEADER_LEN);
    this.#copy(out, at, length, isSuper, gsoType, hdrLen, gsoSize, transportAt - at, protocol);
  }

  /** Flow hash of an IPv4 packet. */
  #hash4(at: number, headerLen: number, length: number): number {
    const { b, flowSeed } = this.#core;
    const protocol = ipv4Protocol(b, at);
    // Every fragment of a datagram takes the path its addresses give: only whole datagrams show their ports.
    const hasPorts =
      (ipv4FragWord(b, at) & (Ipv4Frag.OffsetMask | Ipv4Frag.More)) === 0 &&
      (protocol === IpProto.Tcp || protocol === IpProto.Udp) &&
      length >= headerLen + 4;
    const ports = hasPorts ? get32(b, at + headerLen) : 0;
    return flowHash(0, 0, 0xffff, ipv4Src(b, at), 0, 0, 0xffff, ipv4Dst(b, at), protocol, ports, flowSeed);
  }

  /** Flow hash of an IPv6 packet. @param portsAt where its ports are, -1 when it shows none */
  #hash6(at: number, protocol: number, portsAt: number): number {
    const { b, flowSeed } = this.#core;
    const ports = portsAt < 0 ? 0 : get32(b, portsAt);
    return flowHash(
      get32(b, at + 8),
      get32(b, at + 12),
      get32(b, at + 16),
      get32(b, at + 20),
      get32(b, at + 24),
      get32(b, at + 28),
      get32(b, at + 32),
      get32(b, at + 36),
      protocol,
      ports,
      flowSeed,
    );
  }

  #copy(
    out: StackLink,
    at: number,
    length: number,
    isSuper: boolean,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    csumStart: number,
    protocol: number,
  ): void {
    const core = this.#core;
    const to = out.link.reserve(length);
    if (to < 0) {
      core.counters.drop(DropReason['link-full']);
      return;
    }
    core.copy(to, at, length);
    // Pieces get their checksums when they are cut; a single packet keeps the sender's (end to end).
    if (isSuper) {
      const csumOffset = protocol === IpProto.Tcp ? 16 : 6;
      out.link.commit(length, RecordFlag.Gso | RecordFlag.NeedsCsum, gsoType, hdrLen, gsoSize, csumStart, csumOffset);
    } else out.link.commit(length, 0, 0, 0, 0, 0, 0);
    core.counters.count(StackEvent.forwarded);
  }

  #clamp(inLink: StackLink, out: StackLink, tcpAt: number, end: number, ipLen: number): void {
    if (!inLink.clampMss && !out.clampMss) return;
    const mss = Math.min(inLink.link.mtu, out.link.mtu) - ipLen - TCP_HEADER_LEN;
    if (clampMss(this.#core.b, tcpAt, end, mss)) this.#core.counters.count(StackEvent['mss-clamped']);
  }

  #unroutable4(inLink: StackLink, at: number, length: number): void {
    const core = this.#core;
    const reason = core.failure;
    core.counters.drop(reason);
    if (reason === DropReason.blackhole) return;
    let code: number = Unreach4.Host;
    if (reason === DropReason['no-route']) code = Unreach4.Net;
    else if (reason === DropReason.prohibited) code = Unreach4.Prohibited;
    this.#errors.send4(inLink, at, length, Icmp4.Unreachable, code, 0, 0);
  }

  #unroutable6(inLink: StackLink, at: number, length: number): void {
    const core = this.#core;
    const reason = core.failure;
    core.counters.drop(reason);
    if (reason === DropReason.blackhole) return;
    let code: number = Unreach6.Address;
    if (reason === DropReason['no-route']) code = Unreach6.NoRoute;
    else if (reason === DropReason.prohibited) code = Unreach6.Prohibited;
    this.#errors.send6(inLink, at, length, Icmp6.Unreachable, code, 0, 0);
  }

  /**
   * A super-segment whose pieces are too big and may be fragmented. TCP pieces are cut smaller, which TCP cannot tell
   * from a sender that cut them so; UDP datagrams are separated and fragmented one by one.
   */
  #cut4(
    out: StackLink,
    at: number,
    headerLen: number,
    length: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    mtu: number,
  ): void {
    const isUdp = gsoType === GsoType.UdpL4;
    if (isUdp ? hdrLen !== headerLen + UDP_HEADER_LEN : hdrLen >= mtu) {
      this.#core.counters.drop(DropReason['bad-transport-header']);
      return;
    }
    if (!isUdp) {
      this.#copy(out, at, length, true, gsoType, hdrLen, mtu - hdrLen, headerLen, IpProto.Tcp);
      return;
    }
    const core = this.#core;
    const b = core.b;
    const to = core.scratch;
    core.copy(to, at, hdrLen);
    const payload = length - hdrLen;
    for (let done = 0; done < payload; done += gsoSize) {
      const take = Math.min(gsoSize, payload - done);
      const udpLen = UDP_HEADER_LEN + take;
      const udpAt = to + headerLen;
      core.copy(to + hdrLen, at + hdrLen + done, take);
      put16(b, to + 2, headerLen + udpLen);
      put16(b, to + 4, core.nextIpId());
      sealIpv4(b, to);
      put16(b, udpAt + 4, udpLen);
      put16(b, udpAt + 6, 0);
      const pseudo = pseudo4(ipv4Src(b, to), ipv4Dst(b, to), IpProto.Udp, udpLen);
      const sum = pseudo + sumWorld(b, core.words, udpAt, udpLen);
      const check = ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
      put16(b, udpAt + 6, check === 0 ? 0xffff : check);
      if (!fragment4(core, out, to, headerLen + udpLen, mtu)) return;
    }
  }
}

/** Octets of one piece of a super-segment, 0 for a plain packet. */
function pieceLen(hdrLen: number, gsoSize: number): number {
  return gsoSize > 0 ? hdrLen + gsoSize : 0;
}

/** TTL - 1; the checksum grows by 0x0100 with end-around carry (RFC 1141, corrected as RFC 1624 §3 asks). */
function decrementTtl(b: Uint8Array, at: number): void {
  b[at + 8]!--;
  const check = get16(b, at + 10) + 0x100;
  put16(b, at + 10, check + (check >= 0xffff ? 1 : 0));
}
