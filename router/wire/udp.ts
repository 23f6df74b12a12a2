/**
 * UDP headers as octets (RFC 768; RFC 8200 §8.1 for IPv6). `checkUdp` verifies the length once.
 * Does not verify checksums: that needs the pseudo header and is done by the stack.
 */
import { get16, put16 } from '../lib/bytes.ts';

export const UDP_HEADER_LEN = 8;

/**
 * @param length octets from the UDP header to the end of the IP payload
 * @param isSuper a super-segment: its length field is not judged
 * @returns octets of header + payload, or -1 when the length field is impossible
 */
export function checkUdp(b: Uint8Array, at: number, length: number, isSuper: boolean): number {
  if (length < UDP_HEADER_LEN) return -1;
  if (isSuper) return length;
  const said = get16(b, at + 4);
  return said >= UDP_HEADER_LEN && said <= length ? said : -1;
}

export function udpSrcPort(b: Uint8Array, at: number): number {
  return get16(b, at);
}

export function udpDstPort(b: Uint8Array, at: number): number {
  return get16(b, at + 2);
}

export function udpChecksum(b: Uint8Array, at: number): number {
  return get16(b, at + 6);
}

/** Write a header; the checksum field is left zero for whoever computes it. */
export function putUdp(b: Uint8Array, at: number, srcPort: number, dstPort: number, length: number): void {
  put16(b, at, srcPort);
  put16(b, at + 2, dstPort);
  put16(b, at + 4, length);
  put16(b, at + 6, 0);
}
