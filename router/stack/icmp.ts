/**
 * ICMP that arrives for us: echo requests are answered (RFC 1122 §3.2.2.6, RFC 4443 §4.1), echo replies go to ping
 * endpoints, errors are matched with the flow they quote and handed to `FlowErrors`. Redirects, source quench, router
 * and neighbour discovery mean nothing on a point-to-point link and are counted as ignored.
 */

import { get16, get32, put16 } from '../lib/bytes.ts';
import { fold, pseudo6, sumWorld, update16 } from '../lib/checksum.ts';
import { RecordFlag } from '../lib/link.ts';
import {
  ICMP_HEADER_LEN,
  Icmp4,
  Icmp6,
  icmp4Mtu,
  icmp6Mtu,
  isIcmp6Error,
  QuotedPacket,
  Unreach4,
  Unreach6,
} from '../wire/icmp.ts';
import { IPV4_HEADER_LEN, IpProto, ipv4Dst, ipv4Src, ipv4Tos, putIpv4 } from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN, ipv6FlowLabel, ipv6TrafficClass, putIpv6, putIpv6Addresses } from '../wire/ipv6.ts';
import { type Core, DEFAULT_TTL } from './core.ts';
import { DropReason, StackEvent } from './drops.ts';
import type { StackLink } from './links.ts';
import { emit } from './output.ts';
import type { PingLayer } from './ping.ts';
import { Errno } from './port.ts';

/** Who is told about errors that quote one of our packets. `quoted` is reused: valid during the call. */
export interface FlowErrors {
  /** @param isHard the flow cannot succeed (RFC 1122 §4.2.3.9); soft errors are advice */
  flowFailed(link: StackLink, quoted: QuotedPacket, errno: number, isHard: boolean): void;
  /** @param mtu what the router says, 0 = it does not say */
  flowTooBig(link: StackLink, quoted: QuotedPacket, mtu: number): void;
}

export class IcmpInput {
  readonly #core: Core;
  readonly #errors: FlowErrors;
  readonly #ping: PingLayer;
  readonly #quoted = new QuotedPacket();

  constructor(core: Core, errors: FlowErrors, ping: PingLayer) {
    this.#core = core;
    this.#errors = errors;
    this.#ping = ping;
  }

  /** An ICMPv4 message at `icmpAt`..`end` of the packet at `at`, sent to an address of ours. */
  input4(link: StackLink, at: number, icmpAt: number, end: number, flags: number): void {
    const core = this.#core;
    const b = core.b;
    const length = end - icmpAt;
    if (length < ICMP_HEADER_LEN) {
      core.counters.drop(DropReason['bad-transport-header']);
      return;
    }
    if ((flags & RecordFlag.CsumValid) === 0 && sumWorld(b, core.words, icmpAt, length) !== 0xffff) {
      core.counters.drop(DropReason['bad-transport-checksum']);
      return;
    }
    const type = b[icmpAt]!;
    const code = b[icmpAt + 1]!;
    switch (type) {
      case Icmp4.Echo:
        this.#reply4(link, at, icmpAt, length);
        return;
      case Icmp4.EchoReply:
        this.#ping.deliver(link, true, at, icmpAt, length);
        return;
      case Icmp4.Unreachable:
      case Icmp4.TimeExceeded:
      case Icmp4.ParameterProblem:
        break;
      default:
        core.counters.drop(DropReason['icmp-ignored']);
        return;
    }
    core.counters.count(StackEvent['icmp-errors-received']);
    if (!this.#isOurs(link, icmpAt + ICMP_HEADER_LEN, end, true)) {
      core.counters.drop(DropReason['icmp-unmatched']);
      return;
    }
    if (type === Icmp4.Unreachable && code === Unreach4.FragNeeded) {
      this.#errors.flowTooBig(link, this.#quoted, icmp4Mtu(b, icmpAt));
      return;
    }
    if (type === Icmp4.Unreachable) {
      this.#unreachable4(link, code);
      return;
    }
    if (type === Icmp4.TimeExceeded) {
      this.#errors.flowFailed(link, this.#quoted, Errno.EHOSTUNREACH, false);
      return;
    }
    this.#errors.flowFailed(link, this.#quoted, Errno.EPROTO, true);
  }

  /** An ICMPv6 message. @param isMulticast it was sent to all nodes, not to an address of ours */
  input6(link: StackLink, at: number, icmpAt: number, end: number, flags: number, isMulticast: boolean): void {
    const core = this.#core;
    const b = core.b;
    const length = end - icmpAt;
    if (length < ICMP_HEADER_LEN) {
      core.counters.drop(DropReason['bad-transport-header']);
      return;
    }
    if ((flags & RecordFlag.CsumValid) === 0) {
      const sum = fold(pseudo6(b, at, IpProto.Icmpv6, length) + sumWorld(b, core.words, icmpAt, length));
      if (sum !== 0xffff) {
        core.counters.drop(DropReason['bad-transport-checksum']);
        return;
      }
    }
    const type = b[icmpAt]!;
    const code = b[icmpAt + 1]!;
    if (type === Icmp6.Echo) {
      this.#reply6(link, at, icmpAt, length, isMulticast);
      return;
    }
    if (isMulticast) {
      core.counters.drop(DropReason['icmp-ignored']);
      return;
    }
    if (type === Icmp6.EchoReply) {
      this.#ping.deliver(link, false, at, icmpAt, length);
      return;
    }
    if (!isIcmp6Error(type) || type > Icmp6.ParameterProblem || type === 0) {
      core.counters.drop(DropReason['icmp-ignored']);
      return;
    }
    core.counters.count(StackEvent['icmp-errors-received']);
    if (!this.#isOurs(link, icmpAt + ICMP_HEADER_LEN, end, false)) {
      core.counters.drop(DropReason['icmp-unmatched']);
      return;
    }
    if (type === Icmp6.PacketTooBig) {
      this.#errors.flowTooBig(link, this.#quoted, icmp6Mtu(b, icmpAt));
      return;
    }
    if (type === Icmp6.Unreachable) {
      this.#unreachable6(link, code);
      return;
    }
    if (type === Icmp6.TimeExceeded) {
      this.#errors.flowFailed(link, this.#quoted, Errno.EHOSTUNREACH, false);
      return;
    }
    this.#errors.flowFailed(link, this.#quoted, Errno.EPROTO, true);
  }

  /** Only a packet with one of our addresses as its source can have been sent by us. */
  #isOurs(link: StackLink, at: number, end: number, isV4: boolean): boolean {
    const q = this.#quoted;
    return (
      q.parse(this.#core.b, at, end, isV4) && this.#core.links.local(link.vrf, link.index, q.s0, q.s1, q.s2, q.s3) !== 0
    );
  }

  /** The errno and severity Linux gives each code (icmp_err_convert). */
  #unreachable4(link: StackLink, code: number): void {
    let errno: number = Errno.EHOSTUNREACH;
    let isHard = false;
    switch (code) {
      case Unreach4.Net:
      case Unreach4.NetTos:
        errno = Errno.ENETUNREACH;
        break;
      case Unreach4.NetUnknown:
      case Unreach4.NetProhibited:
        errno = Errno.ENETUNREACH;
        isHard = true;
        break;
      case Unreach4.Protocol:
        errno = Errno.ENOPROTOOPT;
        isHard = true;
        break;
      case Unreach4.Port:
        errno = Errno.ECONNREFUSED;
        isHard = true;
        break;
      case Unreach4.SourceRoute:
        errno = Errno.EOPNOTSUPP;
        break;
      case Unreach4.HostUnknown:
      case Unreach4.HostIsolated:
      case Unreach4.HostProhibited:
      case Unreach4.Prohibited:
      case Unreach4.PrecedenceViolation:
      case Unreach4.PrecedenceCutoff:
        isHard = true;
        break;
    }
    this.#errors.flowFailed(link, this.#quoted, errno, isHard);
  }

  /** As icmpv6_err_convert. */
  #unreachable6(link: StackLink, code: number): void {
    let errno: number = Errno.EHOSTUNREACH;
    let isHard = false;
    switch (code) {
      case Unreach6.NoRoute:
        errno = Errno.ENETUNREACH;
        break;
      case Unreach6.Prohibited:
      case Unreach6.Policy:
      case Unreach6.Reject:
        errno = Errno.EACCES;
        isHard = true;
        break;
      case Unreach6.Port:
        errno = Errno.ECONNREFUSED;
        isHard = true;
        break;
    }
    this.#errors.flowFailed(link, this.#quoted, errno, isHard);
  }

  /** Turn the request into its reply where it lies: its memory is ours until the source's poll returns. */
  #reply4(link: StackLink, at: number, icmpAt: number, length: number): void {
    const core = this.#core;
    const b = core.b;
    const src = ipv4Src(b, at);
    const dst = ipv4Dst(b, at);
    const tos = ipv4Tos(b, at);
    const out = core.route(link.vrf, 0, 0, 0, 0xffff, src, src);
    if (out === undefined) {
      core.counters.drop(core.failure);
      return;
    }
    b[icmpAt] = Icmp4.EchoReply;
    put16(b, icmpAt + 2, update16(get16(b, icmpAt + 2), Icmp4.Echo << 8, Icmp4.EchoReply << 8));
    // Options of the request are not returned: the new header lies directly before the message.
    const to = icmpAt - IPV4_HEADER_LEN;
    putIpv4(b, to, IPV4_HEADER_LEN + length, tos, core.nextIpId(), 0, DEFAULT_TTL, IpProto.Icmp, dst, src);
    if (emit(core, out, to, IPV4_HEADER_LEN + length)) core.counters.count(StackEvent['echo-replies-sent']);
  }

  #reply6(link: StackLink, at: number, icmpAt: number, length: number, isMulticast: boolean): void {
    const core = this.#core;
    const b = core.b;
    const s0 = get32(b, at + 8);
    const s1 = get32(b, at + 12);
    const s2 = get32(b, at + 16);
    const s3 = get32(b, at + 20);
    const out = core.route(link.vrf, link.index, s0, s1, s2, s3, s3);
    if (out === undefined) {
      core.counters.drop(core.failure);
      return;
    }
    if (!isMulticast) core.source.take(get32(b, at + 24), get32(b, at + 28), get32(b, at + 32), get32(b, at + 36));
    else if (!core.chooseSource(out, s0, s1, s2, s3)) {
      core.counters.drop(DropReason['no-source-address']);
      return;
    }
    const tc = ipv6TrafficClass(b, at);
    const label = ipv6FlowLabel(b, at); // RFC 6438 asks nothing; Linux's flowlabel_reflect keeps paths symmetric
    const to = icmpAt - IPV6_HEADER_LEN;
    const from = core.source;
    putIpv6(b, to, length, tc, label, IpProto.Icmpv6, DEFAULT_TTL);
    putIpv6Addresses(b, to, from.s0, from.s1, from.s2, from.s3, s0, s1, s2, s3);
    b[icmpAt] = Icmp6.EchoReply;
    if (isMulticast) {
      put16(b, icmpAt + 2, 0);
      const sum = fold(pseudo6(b, to, IpProto.Icmpv6, length) + sumWorld(b, core.words, icmpAt, length));
      put16(b, icmpAt + 2, ~sum & 0xffff);
    } else {
      // Exchanging source and destination leaves the pseudo header's sum as it was.
      put16(b, icmpAt + 2, update16(get16(b, icmpAt + 2), Icmp6.Echo << 8, Icmp6.EchoReply << 8));
    }
    if (emit(core, out, to, IPV6_HEADER_LEN + length)) core.counters.count(StackEvent['echo-replies-sent']);
  }
}
