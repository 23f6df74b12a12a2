/**
 * IPv4 headers as octets (RFC 791; RFC 6864 for the identification field).
 * Static readers over (buffer, offset): `checkIpv4` verifies lengths once, after which no reader leaves the packet.
 * Does not route, reassemble or look into the payload.
 */

import { get16, get32, put16, put32 } from '../lib/bytes.ts';
import { fold, sumBytes } from '../lib/checksum.ts';

export const IPV4_HEADER_LEN = 20;
/** RFC 791 §3.1: "every internet module must be able to forward a datagram of 68 octets without further fragmentation". */
export const IPV4_MIN_MTU = 68;

/** Bits of the flags + fragment offset word. */
export const Ipv4Frag = { Dont: 0x4000, More: 0x2000, OffsetMask: 0x1fff } as const;

/** IP protocol numbers the stack knows (also IPv6 next header values). */
export const IpProto = {
  HopByHop: 0,
  Icmp: 1,
  Igmp: 2,
  Tcp: 6,
  Udp: 17,
  Ipv6: 41,
  Routing: 43,
  Fragment: 44,
  Gre: 47,
  Esp: 50,
  Ah: 51,
  Icmpv6: 58,
  NoNext: 59,
  DestOptions: 60,
  Ospf: 89,
} as const;

/** What `checkIpv4` can find wrong; all negative. */
export const Ipv4Problem = { Truncated: -1, Version: -2, HeaderLength: -3, TotalLength: -4, Checksum: -5 } as const;

/**
 * Check the header of the packet in octets `at`..`at + length` (trailing octets beyond the total length are allowed).
 * @param isSuper a super-segment: its total length field is not judged, because the record's length rules
 * @returns header length in octets, or an Ipv4Problem
 */
export function checkIpv4(b: Uint8Array, at: number, length: number, isSuper: boolean): number {
  if (length < IPV4_HEADER_LEN) return Ipv4Problem.Truncated;
  const first = b[at]!;
  if (first >>> 4 !== 4) return Ipv4Problem.Version;
  const headerLen = (first & 15) << 2;
  if (headerLen < IPV4_HEADER_LEN || headerLen > length) return Ipv4Problem.HeaderLength;
  if (!isSuper) {
    const total = get16(b, at + 2);
    if (total < headerLen || total > length) return Ipv4Problem.TotalLength;
  }
  // A correct header sums to minus zero, its own checksum field included (RFC 1071 §1).
  return sumBytes(b, at, at + headerLen) === 0xffff ? headerLen : Ipv4Problem.Checksum;
}

/**
 * `checkIpv4` for world memory: the common header without options, aligned to words, is summed five words at a time.
 * @param words the same memory as `b`
 */
export function checkIpv4Fast(b: Uint8Array, words: Int32Array, at: number, length: number, isSuper: boolean): number {
  if ((at & 3) !== 0 || length < IPV4_HEADER_LEN || b[at] !== 0x45) return checkIpv4(b, at, length, isSuper);
  const w = at >> 2;
  const w0 = words[w]!;
  const w1 = words[w + 1]!;
  const w2 = words[w + 2]!;
  const w3 = words[w + 3]!;
  const w4 = words[w + 4]!;
  if (!isSuper) {
    const total = ((w0 >>> 8) & 0xff00) | (w0 >>> 24);
    if (total < IPV4_HEADER_LEN || total > length) return Ipv4Problem.TotalLength;
  }
  // RFC 1071 §2(B): the sum may be taken in host order; all ones look the same either way.
  const low = (w0 & 0xffff) + (w1 & 0xffff) + (w2 & 0xffff) + (w3 & 0xffff) + (w4 & 0xffff);
  const high = (w0 >>> 16) + (w1 >>> 16) + (w2 >>> 16) + (w3 >>> 16) + (w4 >>> 16);
  return fold(low + high) === 0xffff ? IPV4_HEADER_LEN : Ipv4Problem.Checksum;
}

export function ipv4HeaderLen(b: Uint8Array, at: number): number {
  return (b[at]! & 15) << 2;
}

export function ipv4Tos(b: Uint8Array, at: number): number {
  return b[at + 1]!;
}

export function ipv4TotalLen(b: Uint8Array, at: number): number {
  return get16(b, at + 2);
}

export function ipv4Id(b: Uint8Array, at: number): number {
  return get16(b, at + 4);
}

/** Flags and fragment offset, see Ipv4Frag. */
export function ipv4FragWord(b: Uint8Array, at: number): number {
  return get16(b, at + 6);
}

export function ipv4Ttl(b: Uint8Array, at: number): number {
  return b[at + 8]!;
}

export function ipv4Protocol(b: Uint8Array, at: number): number {
  return b[at + 9]!;
}

export function ipv4Src(b: Uint8Array, at: number): number {
  return get32(b, at + 12);
}

export function ipv4Dst(b: Uint8Array, at: number): number {
  return get32(b, at + 16);
}

/** Recompute the header checksum. */
export function sealIpv4(b: Uint8Array, at: number): void {
  put16(b, at + 10, 0);
  put16(b, at + 10, ~sumBytes(b, at, at + ipv4HeaderLen(b, at)) & 0xffff);
}

/** Write a header without options, checksum included. */
export function putIpv4(
  b: Uint8Array,
  at: number,
  totalLen: number,
  tos: number,
  id: number,
  fragWord: number,
  ttl: number,
  protocol: number,
  src: number,
  dst: number,
): void {
  b[at] = 0x45;
  b[at + 1] = tos;
  put16(b, at + 2, totalLen);
  put16(b, at + 4, id);
  put16(b, at + 6, fragWord);
  b[at + 8] = ttl;
  b[at + 9] = protocol;
  put32(b, at + 12, src);
  put32(b, at + 16, dst);
  const sum =
    0x4500 +
    (tos & 0xff) +
    (totalLen & 0xffff) +
    (id & 0xffff) +
    fragWord +
    ((ttl & 0xff) << 8) +
    protocol +
    (src >>> 16) +
    (src & 0xffff) +
    (dst >>> 16) +
    (dst & 0xffff);
  put16(b, at + 10, ~fold(sum) & 0xffff);
}

/** Options of interest found by `scanIpv4Options`. */
export const Ipv4OptionSet = { None: 0, SourceRoute: 1, RouterAlert: 2, Other: 4, Malformed: 8 } as const;

const OPT_LSRR = 131;
const OPT_SSRR = 137;
const OPT_ROUTER_ALERT = 148;

/** Which kinds of options the header of `headerLen` octets carries, as Ipv4OptionSet bits (RFC 791 §3.1, RFC 2113). */
export function scanIpv4Options(b: Uint8Array, at: number, headerLen: number): number {
  let found: number = Ipv4OptionSet.None;
  const end = at + headerLen;
  for (let i = at + IPV4_HEADER_LEN; i < end; ) {
    const type = b[i]!;
    if (type === 0) break; // end of option list
    if (type === 1) {
      i++; // no operation
      continue;
    }
    const len = i + 1 < end ? b[i + 1]! : 0;
    if (len < 2 || i + len > end) return found | Ipv4OptionSet.Malformed;
    if (type === OPT_LSRR || type === OPT_SSRR) found |= Ipv4OptionSet.SourceRoute;
    else if (type === OPT_ROUTER_ALERT) found |= Ipv4OptionSet.RouterAlert;
    else found |= Ipv4OptionSet.Other;
    i += len;
  }
  return found;
}

/**
 * Turn the options of the header at `at` into those of a non-first fragment, in place (RFC 791 §3.2): options without
 * the copied bit become "no operation", so that the header keeps its length.
 */
export function keepCopiedOptions(b: Uint8Array, at: number, headerLen: number): void {
  const end = at + headerLen;
  for (let i = at + IPV4_HEADER_LEN; i < end; ) {
    const type = b[i]!;
    if (type === 0) return;
    if (type === 1) {
      i++;
      continue;
    }
    const len = i + 1 < end ? b[i + 1]! : 0;
    if (len < 2 || i + len > end) return;
    if ((type & 0x80) === 0) b.fill(1, i, i + len);
    i += len;
  }
}
