/**
 * IPv6 headers as octets, and the walk over extension headers (RFC 8200; RFC 5095 deprecates routing type 0).
 * The walk is bounded: at most `MAX_EXTENSION_HEADERS` headers and `MAX_EXTENSION_OCTETS` octets (RFC 8504 §5.3 asks
 * for such limits). Does not reassemble and answers nothing itself: problems are values.
 */
import { get16, get32, put16, put32 } from '../lib/bytes.ts';
import { IpProto } from './ipv4.ts';

export const IPV6_HEADER_LEN = 40;
export const IPV6_FRAGMENT_LEN = 8;
const MAX_EXTENSION_HEADERS = 8;
const MAX_EXTENSION_OCTETS = 512;
/** RFC 8504 §5.3: limits on options are allowed; padding counts as an option. */
const MAX_OPTIONS = 32;

/** Check the fixed header; 0 when the packet of `length` octets is whole, else an Ipv6Problem. */
export const Ipv6Problem = { Truncated: -1, Version: -2, PayloadLength: -3 } as const;

export function checkIpv6(b: Uint8Array, at: number, length: number, isSuper: boolean): number {
  if (length < IPV6_HEADER_LEN) return Ipv6Problem.Truncated;
  if (b[at]! >>> 4 !== 6) return Ipv6Problem.Version;
  if (!isSuper && get16(b, at + 4) + IPV6_HEADER_LEN > length) return Ipv6Problem.PayloadLength;
  return 0;
}

export function ipv6TrafficClass(b: Uint8Array, at: number): number {
  return ((b[at]! & 15) << 4) | (b[at + 1]! >>> 4);
}

export function ipv6FlowLabel(b: Uint8Array, at: number): number {
  return get32(b, at) & 0xfffff;
}

export function ipv6PayloadLen(b: Uint8Array, at: number): number {
  return get16(b, at + 4);
}

export function ipv6NextHeader(b: Uint8Array, at: number): number {
  return b[at + 6]!;
}

export function ipv6HopLimit(b: Uint8Array, at: number): number {
  return b[at + 7]!;
}

/** Write the first eight octets; addresses are written by the caller with `putIpv6Addresses`. */
export function putIpv6(
  b: Uint8Array,
  at: number,
  payloadLen: number,
  trafficClass: number,
  flowLabel: number,
  nextHeader: number,
  hopLimit: number,
): void {
  put32(b, at, (6 << 28) | ((trafficClass & 0xff) << 20) | (flowLabel & 0xfffff));
  put16(b, at + 4, payloadLen);
  b[at + 6] = nextHeader;
  b[at + 7] = hopLimit;
}

/** Write source and destination as words. */
export function putIpv6Addresses(
  b: Uint8Array,
  at: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
  d0: number,
  d1: number,
  d2: number,
  d3: number,
): void {
  put32(b, at + 8, s0);
  put32(b, at + 12, s1);
  put32(b, at + 16, s2);
  put32(b, at + 20, s3);
  put32(b, at + 24, d0);
  put32(b, at + 28, d1);
  put32(b, at + 32, d2);
  put32(b, at + 36, d3);
}

/** Write a fragment header (RFC 8200 §4.5). `offset` is in octets, a multiple of eight. */
export function putFragmentHeader(
  b: Uint8Array,
  at: number,
  nextHeader: number,
  offset: number,
  more: boolean,
  id: number,
): void {
  b[at] = nextHeader;
  b[at + 1] = 0;
  put16(b, at + 2, offset | (more ? 1 : 0));
  put32(b, at + 4, id);
}

/** How a walk ended. Values above `End` are faults; those with an ICMP answer leave their pointer in `pointer`. */
export const WalkEnd = {
  /** `protocol` at `transportAt` is not an extension header. */
  Transport: 0,
  /** A fragment header at `fragmentAt`; `protocol` is what it names as next. */
  Fragment: 1,
  /** No next header (59). */
  NoNext: 2,
  /** Discard silently: the chain is cut off or too long, or an option asked for it. */
  Discard: 3,
  /** ICMPv6 parameter problem code 0: erroneous header field. */
  BadField: 4,
  /** ICMPv6 parameter problem code 1: unrecognized next header. */
  BadNextHeader: 5,
  /** ICMPv6 parameter problem code 2: unrecognized option. */
  BadOption: 6,
  /** As BadOption, but only when the destination is not multicast. */
  BadOptionUnicast: 7,
} as const;

/**
 * A walk over extension headers. One object is reused for every packet.
 * Pointers are octets from the start of the IPv6 header, as ICMPv6 counts them (RFC 4443 §3.4).
 */
export class Ipv6Walk {
  /** Protocol at the end of the walk. */
  protocol = 0;
  /** Offset (in the buffer) of what follows the headers walked. */
  transportAt = 0;
  /** Offset of the fragment header, or -1. */
  fragmentAt = -1;
  /** Offset of the octet that names the next header: needed to splice a fragment header in or out. */
  nextHeaderAt = 0;
  pointer = 0;

  /**
   * Walk as a destination: options are judged, stops at a fragment header.
   * @param from offset to start at, with `protocol` naming what lies there
   */
  walk(b: Uint8Array, packetAt: number, from: number, end: number, protocol: number, nextHeaderAt: number): number {
    let at = from;
    let next = protocol;
    this.fragmentAt = -1;
    this.nextHeaderAt = nextHeaderAt;
    for (let count = 0; ; count++) {
      this.protocol = next;
      this.transportAt = at;
      switch (next) {
        case IpProto.HopByHop:
          // RFC 8200 §4.1: hop-by-hop options are restricted to appear immediately after the IPv6 header.
          if (at !== packetAt + IPV6_HEADER_LEN) {
            this.pointer = this.nextHeaderAt - packetAt;
            return WalkEnd.BadNextHeader;
          }
          break;
        case IpProto.DestOptions:
        case IpProto.Routing:
          break;
        case IpProto.Fragment:
          if (end - at < IPV6_FRAGMENT_LEN) return WalkEnd.Discard;
          this.fragmentAt = at;
          this.protocol = b[at]!;
          this.transportAt = at + IPV6_FRAGMENT_LEN;
          return WalkEnd.Fragment;
        case IpProto.NoNext:
          return WalkEnd.NoNext;
        default:
          return WalkEnd.Transport;
      }
      if (end - at < 8) return WalkEnd.Discard;
      const len = (b[at + 1]! + 1) << 3;
      if (len > end - at || count === MAX_EXTENSION_HEADERS || at + len - from > MAX_EXTENSION_OCTETS)
        return WalkEnd.Discard;
      if (next === IpProto.Routing) {
        // RFC 8200 §4.4: an unrecognized type with segments left is an error that points at the type; with
        // none left the header is ignored. RFC 5095 §3 treats type 0 the same way.
        if (b[at + 3] !== 0) {
          this.pointer = at + 2 - packetAt;
          return WalkEnd.BadField;
        }
      } else {
        const verdict = this.#options(b, packetAt, at + 2, at + len);
        if (verdict !== WalkEnd.Transport) return verdict;
      }
      this.nextHeaderAt = at;
      next = b[at]!;
      at += len;
    }
  }

  /** RFC 8200 §4.2: the two highest bits of an unrecognized option say what to do with the packet. */
  #options(b: Uint8Array, packetAt: number, from: number, end: number): number {
    let count = 0;
    for (let i = from; i < end; ) {
      const type = b[i]!;
      if (type === 0) {
        i++; // Pad1
        continue;
      }
      if (i + 1 >= end) return WalkEnd.Discard;
      const len = 2 + b[i + 1]!;
      if (i + len > end || ++count > MAX_OPTIONS) return WalkEnd.Discard;
      // PadN; the router alert (RFC 2711) has action bits 00 and asks nothing of a host that does not know it.
      if (type !== 1 && type >>> 6 !== 0) {
        this.pointer = i - packetAt;
        if (type >>> 6 === 1) return WalkEnd.Discard;
        return type >>> 6 === 2 ? WalkEnd.BadOption : WalkEnd.BadOptionUnicast;
      }
      i += len;
    }
    return WalkEnd.Transport;
  }

  /**
   * Walk as a router or a reader of quoted packets: nothing is judged, the walk goes through a first fragment.
   * @returns Transport when a transport header's first octet may be read at `transportAt`, Fragment for a later
   *   fragment, NoNext, or Discard when the chain leaves the buffer or is too long
   */
  skim(b: Uint8Array, packetAt: number, end: number): number {
    let at = packetAt + IPV6_HEADER_LEN;
    let next = b[packetAt + 6]!;
    this.fragmentAt = -1;
    this.nextHeaderAt = packetAt + 6;
    for (let count = 0; count <= MAX_EXTENSION_HEADERS; count++) {
      this.protocol = next;
      this.transportAt = at;
      if (
        next !== IpProto.HopByHop &&
        next !== IpProto.Routing &&
        next !== IpProto.DestOptions &&
        next !== IpProto.Fragment
      )
        return next === IpProto.NoNext ? WalkEnd.NoNext : WalkEnd.Transport;
      if (end - at < 8) return WalkEnd.Discard;
      let len = 8;
      if (next === IpProto.Fragment) {
        this.fragmentAt = at;
        if ((get16(b, at + 2) & 0xfff8) !== 0) {
          this.protocol = b[at]!;
          return WalkEnd.Fragment;
        }
      } else len = (b[at + 1]! + 1) << 3;
      if (len > end - at || at + len - packetAt - IPV6_HEADER_LEN > MAX_EXTENSION_OCTETS) return WalkEnd.Discard;
      this.nextHeaderAt = at;
      next = b[at]!;
      at += len;
    }
    return WalkEnd.Discard;
  }
}
