/**
 * What happens to a packet that arrived: checks (RFC 1812 §5.2.2, RFC 8200 §3), ours or transit, and for ours the way
 * through extension headers and reassembly to its transport. Everything discarded is counted once, with its reason.
 */
import { get16, get32 } from '../lib/bytes.ts';
import { Icmp4, Icmp6, TimeExceeded, Unreach4, Unreach6 } from '../wire/icmp.ts';
import {
  checkIpv4Fast,
  IPV4_HEADER_LEN,
  IpProto,
  Ipv4Frag,
  Ipv4OptionSet,
  Ipv4Problem,
  ipv4Dst,
  ipv4FragWord,
  ipv4HeaderLen,
  ipv4Protocol,
  ipv4Src,
  ipv4TotalLen,
  scanIpv4Options,
} from '../wire/ipv4.ts';
import {
  checkIpv6,
  IPV6_HEADER_LEN,
  Ipv6Problem,
  Ipv6Walk,
  ipv6NextHeader,
  ipv6PayloadLen,
  WalkEnd,
} from '../wire/ipv6.ts';
import type { Core } from './core.ts';
import { DropReason, StackEvent } from './drops.ts';
import type { Forwarder, LocalInput } from './forward.ts';
import type { IcmpInput } from './icmp.ts';
import type { IcmpErrors } from './icmp-error.ts';
import type { StackLink } from './links.ts';
import { Reassembler, Reassembly } from './reassembly.ts';
import type { TcpLayer } from './tcp.ts';
import type { UdpLayer } from './udp.ts';

/** Offsets of header fields that parameter problems point at (RFC 4443 §3.4). */
const PAYLOAD_LENGTH_AT = 4;

export class IpInput implements LocalInput {
  readonly #core: Core;
  readonly #forwarder: Forwarder;
  readonly #errors: IcmpErrors;
  readonly #icmp: IcmpInput;
  readonly #udp: UdpLayer;
  readonly #tcp: TcpLayer;
  readonly reassembler: Reassembler;
  readonly #walk = new Ipv6Walk();
  readonly #onTimeout = (link: number, at: number, length: number): void => this.#reassemblyTimedOut(link, at, length);

  constructor(core: Core, forwarder: Forwarder, errors: IcmpErrors, icmp: IcmpInput, udp: UdpLayer, tcp: TcpLayer) {
    this.#core = core;
    this.#forwarder = forwarder;
    this.#errors = errors;
    this.#icmp = icmp;
    this.#udp = udp;
    this.#tcp = tcp;
    this.reassembler = new Reassembler(core);
    forwarder.deliverTo(this);
  }

  /** Discard fragments that waited too long. */
  expire(): void {
    this.reassembler.expire(this.#core.tick.ms, this.#onTimeout);
  }

  packet4(
    link: StackLink,
    at: number,
    recordLen: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    const core = this.#core;
    const b = core.b;
    const drops = core.counters;
    const isSuper = gsoSize > 0;
    const headerLen = checkIpv4Fast(b, core.words, at, recordLen, isSuper);
    if (headerLen < 0) {
      drops.drop(reason4(headerLen));
      return;
    }
    // Read again from memory that the child can write: a compromised one must not reach beyond its record.
    const length = isSuper ? recordLen : Math.min(ipv4TotalLen(b, at), recordLen);
    const src = ipv4Src(b, at);
    const dst = ipv4Dst(b, at);
    // RFC 1812 §5.3.7: martian sources; 240.0.0.0/4 includes the limited broadcast.
    const srcNet = src >>> 24;
    if (srcNet === 0 || srcNet >= 224) {
      drops.drop(DropReason['martian-source']);
      return;
    }
    if (!link.isLoopback) {
      if (srcNet === 127 || core.links.local4(link.vrf, src) !== 0) {
        drops.drop(DropReason['martian-source']);
        return;
      }
      // RFC 1122 §3.2.1.3: "Addresses of this form MUST NOT appear outside a host", also those that our loopback has.
      if (dst >>> 24 === 127) {
        drops.drop(DropReason['martian-destination']);
        return;
      }
    }
    if (headerLen > IPV4_HEADER_LEN) {
      const options = scanIpv4Options(b, at, headerLen);
      if ((options & Ipv4OptionSet.Malformed) !== 0) {
        drops.drop(DropReason['bad-option']);
        return;
      }
      if ((options & Ipv4OptionSet.SourceRoute) !== 0) {
        drops.drop(DropReason['source-route']);
        return;
      } // RFC 7126 §4.3
    }
    if (core.links.local4(link.vrf, dst) === 0) {
      const dstNet = dst >>> 24;
      if (dstNet >= 224) {
        drops.drop(DropReason.multicast);
        return;
      }
      if (dstNet === 0) {
        drops.drop(DropReason['martian-destination']);
        return;
      }
      if (!link.isLoopback) {
        this.#forwarder.forward4(link, at, headerLen, length, flags, gsoType, hdrLen, gsoSize);
        return;
      }
      if (dstNet !== 127) {
        drops.drop(DropReason['martian-destination']);
        return;
      }
    }
    this.deliver4(link, at, headerLen, length, flags, gsoSize);
  }

  deliver4(link: StackLink, at: number, headerLen: number, length: number, flags: number, gsoSize: number): void {
    const core = this.#core;
    const b = core.b;
    if ((ipv4FragWord(b, at) & (Ipv4Frag.More | Ipv4Frag.OffsetMask)) !== 0) {
      const whole = this.reassembler.add4(link.vrf, link.index, at, length);
      // The reassembled packet has no offset: this goes one level deep.
      if (whole > 0) this.deliver4(link, core.reassembled, ipv4HeaderLen(b, core.reassembled), whole, 0, 0);
      return;
    }
    core.counters.count(StackEvent.delivered);
    const transportAt = at + headerLen;
    const end = at + length;
    switch (ipv4Protocol(b, at)) {
      case IpProto.Tcp:
        this.#tcp.input(link, true, at, transportAt, end, flags, gsoSize);
        return;
      case IpProto.Udp:
        if (this.#udp.input(link, true, at, transportAt, end, flags, gsoSize)) return;
        core.counters.drop(DropReason['no-listener']);
        this.#errors.send4(link, at, length, Icmp4.Unreachable, Unreach4.Port, 0, 0);
        return;
      case IpProto.Icmp:
        this.#icmp.input4(link, at, transportAt, end, flags);
        return;
      default:
        core.counters.drop(DropReason['protocol-unreachable']);
        this.#errors.send4(link, at, length, Icmp4.Unreachable, Unreach4.Protocol, 0, 0);
    }
  }

  packet6(
    link: StackLink,
    at: number,
    recordLen: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    const core = this.#core;
    const b = core.b;
    const drops = core.counters;
    const isSuper = gsoSize > 0;
    const problem = checkIpv6(b, at, recordLen, isSuper);
    if (problem !== 0) {
      drops.drop(problem === Ipv6Problem.Truncated ? DropReason.truncated : DropReason['bad-length']);
      return;
    }
    const length = isSuper ? recordLen : Math.min(IPV6_HEADER_LEN + ipv6PayloadLen(b, at), recordLen);
    const s0 = get32(b, at + 8);
    const s1 = get32(b, at + 12);
    const s2 = get32(b, at + 16);
    const s3 = get32(b, at + 20);
    const d0 = get32(b, at + 24);
    const d1 = get32(b, at + 28);
    const d2 = get32(b, at + 32);
    const d3 = get32(b, at + 36);
    // RFC 4291 §2.7: multicast is no source. IPv4-mapped words inside an IPv6 packet would pass for IPv4 addresses in our
    // tables: with the rest of ::/64 they are never on the wire (RFC 6890 §2.2.3), ::1 only on a loopback.
    if (s0 >>> 24 === 0xff || ((s0 | s1) === 0 && !(link.isLoopback && s2 === 0 && s3 === 1))) {
      drops.drop(DropReason['martian-source']);
      return;
    }
    if ((d0 | d1) === 0 && !(link.isLoopback && d2 === 0 && d3 === 1)) {
      drops.drop(DropReason['martian-destination']);
      return;
    }
    if (!link.isLoopback && core.links.local(link.vrf, link.index, s0, s1, s2, s3) !== 0) {
      drops.drop(DropReason['martian-source']);
      return;
    }
    if (d0 >>> 24 === 0xff) {
      // All nodes, on this interface or link; nothing else was joined.
      const isAllNodes = (d0 === (0xff020000 | 0) || d0 === (0xff010000 | 0)) && (d1 | d2) === 0 && d3 === 1;
      if (!isAllNodes) {
        drops.drop(DropReason.multicast);
        return;
      }
      this.deliver6(link, at, length, flags, 0, true);
      return;
    }
    if (core.links.local(link.vrf, link.index, d0, d1, d2, d3) === 0) {
      if (link.isLoopback) {
        drops.drop(DropReason['martian-destination']);
        return;
      }
      this.#forwarder.forward6(link, at, length, flags, gsoType, hdrLen, gsoSize);
      return;
    }
    this.deliver6(link, at, length, flags, gsoSize);
  }

  deliver6(link: StackLink, at: number, length: number, flags: number, gsoSize: number, isMulticast = false): void {
    const core = this.#core;
    const b = core.b;
    const end = at + length;
    const walk = this.#walk;
    let how = walk.walk(b, at, at + IPV6_HEADER_LEN, end, ipv6NextHeader(b, at), at + 6);
    if (how === WalkEnd.Fragment) {
      const fragmentAt = walk.fragmentAt;
      if ((get16(b, fragmentAt + 2) & 0xfff9) !== 0) {
        const whole = this.reassembler.add6(link.vrf, link.index, at, fragmentAt, walk.nextHeaderAt, end);
        if (whole > 0) {
          this.deliver6(link, core.reassembled, whole, 0, 0, isMulticast);
          return;
        }
        if (whole === Reassembly.BadLength) this.#problem(link, at, length, 0, PAYLOAD_LENGTH_AT);
        else if (whole === Reassembly.TooLong) this.#problem(link, at, length, 0, fragmentAt + 2 - at);
        return;
      }
      // RFC 6946 §4: an atomic fragment is a whole packet and is processed in isolation.
      how = walk.walk(b, at, walk.transportAt, end, walk.protocol, fragmentAt);
      if (how === WalkEnd.Fragment) how = WalkEnd.Discard;
    }
    switch (how) {
      case WalkEnd.Transport:
        break;
      case WalkEnd.NoNext:
        core.counters.count(StackEvent.delivered);
        return;
      case WalkEnd.BadField:
      case WalkEnd.BadNextHeader:
      case WalkEnd.BadOption:
      case WalkEnd.BadOptionUnicast:
        core.counters.drop(DropReason['extension-headers']);
        if (how === WalkEnd.BadOptionUnicast && isMulticast) return;
        this.#problem(link, at, length, problemCode(how), walk.pointer);
        return;
      default:
        core.counters.drop(DropReason['extension-headers']);
        return;
    }
    core.counters.count(StackEvent.delivered);
    const transportAt = walk.transportAt;
    if (isMulticast && walk.protocol !== IpProto.Icmpv6) {
      core.counters.drop(DropReason.multicast);
      return;
    }
    switch (walk.protocol) {
      case IpProto.Tcp:
        this.#tcp.input(link, false, at, transportAt, end, flags, gsoSize);
        return;
      case IpProto.Udp:
        if (this.#udp.input(link, false, at, transportAt, end, flags, gsoSize)) return;
        core.counters.drop(DropReason['no-listener']);
        this.#errors.send6(link, at, length, Icmp6.Unreachable, Unreach6.Port, 0, 0);
        return;
      case IpProto.Icmpv6:
        this.#icmp.input6(link, at, transportAt, end, flags, isMulticast);
        return;
      default:
        core.counters.drop(DropReason['protocol-unreachable']);
        this.#problem(link, at, length, 1, walk.nextHeaderAt - at);
    }
  }

  #problem(link: StackLink, at: number, length: number, code: number, pointer: number): void {
    this.#errors.send6(link, at, length, Icmp6.ParameterProblem, code, pointer, 0);
  }

  #reassemblyTimedOut(linkIndex: number, at: number, length: number): void {
    const link = this.#core.links.byIndex(linkIndex);
    if (link === undefined) return;
    if (this.#core.b[at]! >>> 4 === 4)
      this.#errors.send4(link, at, length, Icmp4.TimeExceeded, TimeExceeded.Reassembly, 0, 0);
    else this.#errors.send6(link, at, length, Icmp6.TimeExceeded, TimeExceeded.Reassembly, 0, 0);
  }
}

function reason4(problem: number): number {
  switch (problem) {
    case Ipv4Problem.Truncated:
      return DropReason.truncated;
    case Ipv4Problem.HeaderLength:
      return DropReason['bad-header-length'];
    case Ipv4Problem.TotalLength:
      return DropReason['bad-length'];
    case Ipv4Problem.Checksum:
      return DropReason['bad-header-checksum'];
    default:
      return DropReason['not-ip'];
  }
}

/** ICMPv6 parameter problem codes (RFC 4443 §3.4). */
function problemCode(how: number): number {
  if (how === WalkEnd.BadField) return 0;
  return how === WalkEnd.BadNextHeader ? 1 : 2;
}
