/** Prefixes that are no destinations, whatever policy says. Read first: RFC 4271 §6.3, RFC 6890 §2.2. */

import { type Family, type Prefix, V4_MAPPED_WORD } from '../../router/lib/addr.ts';

/**
 * Whether a prefix may have a route, whatever policy says: RFC 4271 §6.3 has prefixes that are "semantically incorrect (e.g.,
 * an unexpected multicast IP address)" ignored. These are multicast, loopback, "this network", link-local and IPv4-mapped ones.
 * Words as in `NlriCursor` (nlri.ts).
 */
export function isUnicast(family: Family, w0: number, w1: number, w2: number, w3: number, length: number): boolean {
  const top = w0 >>> 24;
  if (family === 4) {
    if (top !== 0 && top !== 127 && top < 224) return true;
    if (top === 0 || top === 127) return length < 8;
    return top >= 240 ? w0 !== -1 || length < 32 : length < 4;
  }
  if (top === 0) {
    if (w0 !== 0 || w1 !== 0) return true;
    return w2 === V4_MAPPED_WORD ? length < 96 : w2 !== 0 || w3 >>> 1 !== 0 || length < 128;
  }
  if (top === 0xff) return length < 8;
  return w0 >>> 22 !== 0xfe80 >>> 6 || length < 10;
}

/** The same of a value. */
export function isUnicastPrefix({ family, addr, length }: Prefix): boolean {
  return isUnicast(family, family === 4 ? addr.a3 : addr.a0, addr.a1, addr.a2, addr.a3, length);
}
