/**
 * Lowers the MSS option of a SYN in transit to what fits the path (RFC 9293 §3.7.1 defines the option; RFC 4459 §3.2
 * describes the practice). Keeps connections alive where ICMP is filtered. Touches nothing but the option and the checksum.
 */
import { get16, put16 } from '../lib/bytes.ts';
import { update16 } from '../lib/checksum.ts';

const TCP_HEADER_LEN = 20;
const SYN = 0x02;
const OPT_END = 0;
const OPT_NOP = 1;
const OPT_MSS = 2;

/**
 * @param at offset of the TCP header
 * @param end end of the packet
 * @returns true when the segment was changed
 */
export function clampMss(b: Uint8Array, at: number, end: number, mss: number): boolean {
  if (end - at < TCP_HEADER_LEN || (b[at + 13]! & SYN) === 0) return false;
  const optionsEnd = at + ((b[at + 12]! >>> 4) << 2);
  if (optionsEnd > end) return false;
  for (let i = at + TCP_HEADER_LEN; i < optionsEnd; ) {
    const kind = b[i]!;
    if (kind === OPT_END) return false;
    if (kind === OPT_NOP) {
      i++;
      continue;
    }
    const length = i + 1 < optionsEnd ? b[i + 1]! : 0;
    if (length < 2 || i + length > optionsEnd) return false;
    if (kind === OPT_MSS && length === 4) {
      const was = get16(b, i + 2);
      if (was <= mss) return false;
      put16(b, i + 2, mss);
      // The checksum sees the value's octets exchanged when the option starts at an odd offset.
      const odd = ((i - at) & 1) !== 0;
      const check = get16(b, at + 16);
      put16(b, at + 16, odd ? update16(check, swap(was), swap(mss)) : update16(check, was, mss));
      return true;
    }
    i += length;
  }
  return false;
}

function swap(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}
