/**
 * ICMP for both families as octets: RFC 792, RFC 1191 (MTU field), RFC 1812 §4.3 and RFC 4443; and the parser for the
 * packet that an error quotes. Does not decide when to answer: that is `router/stack/icmp.ts`.
 */
import { get16, get32, put16, put32 } from '../lib/bytes.ts';
import { IPV4_HEADER_LEN, IpProto, Ipv4Frag, ipv4HeaderLen } from './ipv4.ts';
import { IPV6_HEADER_LEN, Ipv6Walk, WalkEnd } from './ipv6.ts';

/** Octets of every ICMP header the stack reads or writes. */
export const ICMP_HEADER_LEN = 8;

export const Icmp4 = {
  EchoReply: 0,
  Unreachable: 3,
  SourceQuench: 4,
  Redirect: 5,
  Echo: 8,
  TimeExceeded: 11,
  ParameterProblem: 12,
  Timestamp: 13,
} as const;

/** Codes of Icmp4.Unreachable (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1). */
export const Unreach4 = {
  Net: 0,
  Host: 1,
  Protocol: 2,
  Port: 3,
  FragNeeded: 4,
  SourceRoute: 5,
  NetUnknown: 6,
  HostUnknown: 7,
  HostIsolated: 8,
  NetProhibited: 9,
  HostProhibited: 10,
  NetTos: 11,
  HostTos: 12,
  Prohibited: 13,
  PrecedenceViolation: 14,
  PrecedenceCutoff: 15,
} as const;

export const Icmp6 = {
  Unreachable: 1,
  PacketTooBig: 2,
  TimeExceeded: 3,
  ParameterProblem: 4,
  Echo: 128,
  EchoReply: 129,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighborSolicitation: 135,
  NeighborAdvertisement: 136,
  Redirect: 137,
} as const;

/** Codes of Icmp6.Unreachable (RFC 4443 §3.1). */
export const Unreach6 = {
  NoRoute: 0,
  Prohibited: 1,
  BeyondScope: 2,
  Address: 3,
  Port: 4,
  Policy: 5,
  Reject: 6,
} as const;

/** Codes of TimeExceeded in both families. */
export const TimeExceeded = { Hops: 0, Reassembly: 1 } as const;

/** Is this ICMPv4 type an error message (one that must never cause another, RFC 1122 §3.2.2)? */
export function isIcmp4Error(type: number): boolean {
  return (
    type === Icmp4.Unreachable ||
    type === Icmp4.SourceQuench ||
    type === Icmp4.Redirect ||
    type === Icmp4.TimeExceeded ||
    type === Icmp4.ParameterProblem
  );
}

/** RFC 4443 §2.1: error messages have a zero in the high-order bit of their type. */
export function isIcmp6Error(type: number): boolean {
  return type < 128;
}

/** Write the eight octets; the checksum stays zero for the caller to compute. `rest` is the second word (MTU, pointer, identifier). */
export function putIcmp(b: Uint8Array, at: number, type: number, code: number, rest: number): void {
  b[at] = type;
  b[at + 1] = code;
  put16(b, at + 2, 0);
  put32(b, at + 4, rest);
}

/** The next-hop MTU of a "fragmentation needed" (RFC 1191 §4): 0 from routers older than that. */
export function icmp4Mtu(b: Uint8Array, at: number): number {
  return get16(b, at + 6);
}

/** The MTU of a "packet too big" (RFC 4443 §3.2), clamped to what a length field can say. */
export function icmp6Mtu(b: Uint8Array, at: number): number {
  const mtu = get32(b, at + 4) >>> 0;
  return Math.min(mtu, 65575);
}

/** What an ICMP error quotes: the start of a packet that we are said to have sent. One object is reused. */
export class QuotedPacket {
  isV4 = true;
  protocol = 0;
  /** Source of the quoted packet (us) and its destination, as data-plane words. */
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  /** Octets the quoted packet claims to have had. */
  length = 0;
  /** Transport ports; for ICMP echo the identifier is in `srcPort`. */
  srcPort = 0;
  dstPort = 0;
  /** First word after the ports: TCP's sequence number. */
  word = 0;
  readonly #walk = new Ipv6Walk();

  /**
   * Parse octets `at`..`end`, which is what the error carried after its eight octets.
   * @returns false when less than the addresses, the ports and four more octets are there, or for a non-first fragment
   */
  parse(b: Uint8Array, at: number, end: number, isV4: boolean): boolean {
    this.isV4 = isV4;
    const transportAt = isV4 ? this.#parse4(b, at, end) : this.#parse6(b, at, end);
    if (transportAt < 0 || end - transportAt < 8) return false;
    if (this.protocol === IpProto.Icmp || this.protocol === IpProto.Icmpv6) {
      // Only echo requests are ours to be told about (ping endpoints).
      if (b[transportAt] !== (isV4 ? Icmp4.Echo : Icmp6.Echo)) return false;
      this.srcPort = get16(b, transportAt + 4);
      this.dstPort = 0;
      this.word = get16(b, transportAt + 6);
    } else {
      this.srcPort = get16(b, transportAt);
      this.dstPort = get16(b, transportAt + 2);
      this.word = get32(b, transportAt + 4);
    }
    return true;
  }

  #parse4(b: Uint8Array, at: number, end: number): number {
    if (end - at < IPV4_HEADER_LEN || b[at]! >>> 4 !== 4) return -1;
    const headerLen = ipv4HeaderLen(b, at);
    if (headerLen < IPV4_HEADER_LEN || headerLen > end - at) return -1;
    if ((get16(b, at + 6) & Ipv4Frag.OffsetMask) !== 0) return -1;
    this.protocol = b[at + 9]!;
    this.length = get16(b, at + 2);
    this.s0 = 0;
    this.s1 = 0;
    this.s2 = 0xffff;
    this.s3 = get32(b, at + 12);
    this.d0 = 0;
    this.d1 = 0;
    this.d2 = 0xffff;
    this.d3 = get32(b, at + 16);
    return at + headerLen;
  }

  #parse6(b: Uint8Array, at: number, end: number): number {
    if (end - at < IPV6_HEADER_LEN || b[at]! >>> 4 !== 6) return -1;
    if (this.#walk.skim(b, at, end) !== WalkEnd.Transport) return -1;
    this.protocol = this.#walk.protocol;
    this.length = get16(b, at + 4) + IPV6_HEADER_LEN;
    this.s0 = get32(b, at + 8);
    this.s1 = get32(b, at + 12);
    this.s2 = get32(b, at + 16);
    this.s3 = get32(b, at + 20);
    this.d0 = get32(b, at + 24);
    this.d1 = get32(b, at + 28);
    this.d2 = get32(b, at + 32);
    this.d3 = get32(b, at + 36);
    return this.#walk.transportAt;
  }
}
