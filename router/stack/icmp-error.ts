/**
 * Sending ICMP errors: RFC 792, RFC 1122 §3.2.2, RFC 1812 §4.3, RFC 1191 §4, RFC 4443 §2.4. When none may be sent is
 * decided here and nowhere else. Does not count the packet that caused the error: its discarder does.
 */

import { get32, put16 } from '../lib/bytes.ts';
import { pseudo6, sumWorld } from '../lib/checksum.ts';
import { ICMP_HEADER_LEN, Icmp4, Icmp6, isIcmp4Error, isIcmp6Error, putIcmp, Unreach4 } from '../wire/icmp.ts';
import {
  IPV4_HEADER_LEN,
  IpProto,
  Ipv4Frag,
  ipv4Dst,
  ipv4FragWord,
  ipv4HeaderLen,
  ipv4Protocol,
  ipv4Src,
  putIpv4,
  sealIpv4,
} from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN, Ipv6Walk, putIpv6, putIpv6Addresses, WalkEnd } from '../wire/ipv6.ts';
import { type Core, DEFAULT_TTL } from './core.ts';
import { DropReason, StackEvent } from './drops.ts';
import { isLinkLocal6, type StackLink } from './links.ts';
import { ErrorRateLimit } from './rate-limit.ts';

/** RFC 1812 §4.3.2.3: "the ICMP datagram SHOULD contain as much of the original datagram as possible without ... exceeding 576 bytes". */
const MAX_ERROR4 = 576;
/** RFC 4443 §2.4 (c): as much as possible "without the error message exceeding the minimum IPv6 MTU". */
const MAX_ERROR6 = 1280;
/** RFC 1812 §4.3.2.5: precedence 6 (internetwork control). */
const ERROR_TOS = 0xc0;
/** RFC 7600 §4.8: source of errors of routers that have no IPv4 address. */
const DUMMY_SOURCE4 = 0xc0000008 | 0;

export class IcmpErrors {
  readonly #core: Core;
  readonly #limit: ErrorRateLimit;
  readonly #walk = new Ipv6Walk();

  constructor(core: Core) {
    this.#core = core;
    this.#limit = new ErrorRateLimit(core.tick.ms);
  }

  /**
   * Answer the IPv4 packet at `at` with an error.
   * @param inLink where it came in
   * @param length octets of the whole packet
   * @param rest second word of the ICMP header (MTU, or pointer << 24)
   * @param pieceLen octets of one piece when the packet is a super-segment (header + gsoSize), else 0
   */
  send4(
    inLink: StackLink,
    at: number,
    length: number,
    type: number,
    code: number,
    rest: number,
    pieceLen: number,
  ): void {
    const core = this.#core;
    const b = core.b;
    const src = ipv4Src(b, at);
    const dst = ipv4Dst(b, at);
    if (!this.#mayAnswer4(inLink, at, length, src, dst)) {
      core.counters.drop(DropReason['icmp-suppressed']);
      return;
    }
    const isTooBig = type === Icmp4.Unreachable && code === Unreach4.FragNeeded;
    if (!this.#limit.allow(src, core.tick.ms, isTooBig)) {
      core.counters.drop(DropReason['icmp-rate-limit']);
      return;
    }
    const out = core.route(inLink.vrf, inLink.index, 0, 0, 0xffff, src, src);
    if (out === undefined) {
      core.counters.drop(core.failure);
      return;
    }
    let from = dst;
    // The address the packet was sent to, if it is ours (RFC 1122 §3.2.2 asks for no more than one of ours).
    if (core.links.local4(inLink.vrf, dst) === 0)
      from = core.source.selectForError(inLink, true, false) ? core.source.s3 : DUMMY_SOURCE4;
    const quoted = Math.min(pieceLen > 0 ? pieceLen : length, MAX_ERROR4 - IPV4_HEADER_LEN - ICMP_HEADER_LEN);
    const total = IPV4_HEADER_LEN + ICMP_HEADER_LEN + quoted;
    const to = out.link.reserve(total);
    if (to < 0) {
      core.counters.drop(DropReason['link-full']);
      return;
    }
    const icmpAt = to + IPV4_HEADER_LEN;
    const quoteAt = icmpAt + ICMP_HEADER_LEN;
    putIpv4(b, to, total, ERROR_TOS, core.nextIpId(), 0, DEFAULT_TTL, IpProto.Icmp, from, src);
    putIcmp(b, icmpAt, type, code, rest);
    core.copy(quoteAt, at, quoted);
    if (pieceLen > 0) {
      put16(b, quoteAt + 2, pieceLen); // quote the piece as it would have been on the wire
      sealIpv4(b, quoteAt);
    }
    put16(b, icmpAt + 2, ~sumWorld(b, core.words, icmpAt, ICMP_HEADER_LEN + quoted) & 0xffff);
    out.link.commit(total, 0, 0, 0, 0, 0, 0);
    core.counters.count(StackEvent['icmp-errors-sent']);
  }

  /** Answer the IPv6 packet at `at` with an error; as send4. */
  send6(
    inLink: StackLink,
    at: number,
    length: number,
    type: number,
    code: number,
    rest: number,
    pieceLen: number,
  ): void {
    const core = this.#core;
    const b = core.b;
    const s0 = get32(b, at + 8);
    const s1 = get32(b, at + 12);
    const s2 = get32(b, at + 16);
    const s3 = get32(b, at + 20);
    const isTooBig = type === Icmp6.PacketTooBig;
    // RFC 4443 §2.4 (e.3): packets to multicast are answered only with these two.
    const isForMulticast = isTooBig || (type === Icmp6.ParameterProblem && code === 2);
    if (!this.#mayAnswer6(at, length, s0, s1, s2, s3, isForMulticast)) {
      core.counters.drop(DropReason['icmp-suppressed']);
      return;
    }
    if (!this.#limit.allow(s0 ^ s1 ^ s2 ^ s3, core.tick.ms, isTooBig)) {
      core.counters.drop(DropReason['icmp-rate-limit']);
      return;
    }
    const out = core.route(inLink.vrf, inLink.index, s0, s1, s2, s3, s3);
    if (out === undefined) {
      core.counters.drop(core.failure);
      return;
    }
    const d0 = get32(b, at + 24);
    const d1 = get32(b, at + 28);
    const d2 = get32(b, at + 32);
    const d3 = get32(b, at + 36);
    // RFC 4443 §2.2 (a): the address the packet was sent to, if it is one of ours.
    if (core.links.local(inLink.vrf, inLink.index, d0, d1, d2, d3) !== 0) core.source.take(d0, d1, d2, d3);
    else if (!core.source.selectForError(inLink, false, isLinkLocal6(s0))) {
      core.counters.drop(DropReason['no-source-address']);
      return;
    }
    const quoted = Math.min(pieceLen > 0 ? pieceLen : length, MAX_ERROR6 - IPV6_HEADER_LEN - ICMP_HEADER_LEN);
    const icmpLen = ICMP_HEADER_LEN + quoted;
    const to = out.link.reserve(IPV6_HEADER_LEN + icmpLen);
    if (to < 0) {
      core.counters.drop(DropReason['link-full']);
      return;
    }
    const icmpAt = to + IPV6_HEADER_LEN;
    const quoteAt = icmpAt + ICMP_HEADER_LEN;
    const from = core.source;
    putIpv6(b, to, icmpLen, ERROR_TOS, 0, IpProto.Icmpv6, DEFAULT_TTL);
    putIpv6Addresses(b, to, from.s0, from.s1, from.s2, from.s3, s0, s1, s2, s3);
    putIcmp(b, icmpAt, type, code, rest);
    core.copy(quoteAt, at, quoted);
    if (pieceLen > 0) put16(b, quoteAt + 4, pieceLen - IPV6_HEADER_LEN);
    const sum = pseudo6(b, to, IpProto.Icmpv6, icmpLen) + sumWorld(b, core.words, icmpAt, icmpLen);
    put16(b, icmpAt + 2, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
    out.link.commit(IPV6_HEADER_LEN + icmpLen, 0, 0, 0, 0, 0, 0);
    core.counters.count(StackEvent['icmp-errors-sent']);
  }

  /** RFC 1122 §3.2.2: never about an ICMP error, a multicast or broadcast, a non-first fragment, or from no single host. */
  #mayAnswer4(inLink: StackLink, at: number, length: number, src: number, dst: number): boolean {
    const b = this.#core.b;
    if ((ipv4FragWord(b, at) & Ipv4Frag.OffsetMask) !== 0) return false;
    if (dst >>> 28 >= 0xe || src >>> 28 >= 0xe || src >>> 24 === 0) return false;
    if (src >>> 24 === 127 && !inLink.isLoopback) return false;
    if (ipv4Protocol(b, at) !== IpProto.Icmp) return true;
    const headerLen = ipv4HeaderLen(b, at);
    return length > headerLen && !isIcmp4Error(b[at + headerLen]!);
  }

  /** RFC 4443 §2.4 (e): never about an ICMPv6 error or redirect, nor from multicast or unspecified addresses. */
  #mayAnswer6(
    at: number,
    length: number,
    s0: number,
    s1: number,
    s2: number,
    s3: number,
    isForMulticast: boolean,
  ): boolean {
    const b = this.#core.b;
    if (s0 >>> 24 === 0xff || (s0 | s1 | s2 | s3) === 0) return false;
    if (b[at + 24] === 0xff && !isForMulticast) return false;
    const end = at + length;
    const how = this.#walk.skim(b, at, end);
    if (this.#walk.protocol !== IpProto.Icmpv6) return true;
    if (how !== WalkEnd.Transport) return false; // a later fragment of ICMPv6 may be one of an error
    const icmpAt = this.#walk.transportAt;
    if (icmpAt >= end) return false;
    return !isIcmp6Error(b[icmpAt]!) && b[icmpAt] !== Icmp6.Redirect;
  }
}
