/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 * Sums are kept as 16-bit big-endian ones-complement values, so that partial sums of even length simply add.
 * Little-endian hosts only, like the rest of the data plane. Does not know any header: callers pass ranges.
 */

/** Fold a sum of 16-bit words (up to 31 bits) to 16 bits (RFC 1071 §2). */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Ones-complement sum of octets `at`..`end`, folded. An odd last octet is padded with zero (RFC 1071 §4.1). */
export function sumBytes(b: Uint8Array, at: number, end: number): number {
  let sum = 0;
  const even = end - ((end - at) & 1);
  for (let i = at; i < even; i += 2) sum += (b[i]! << 8) | b[i + 1]!; // 32768 words at most: below 2^31
  if (even !== end) sum += b[even]! << 8;
  return fold(sum);
}

/**
 * Ones-complement sum of `length` octets (<= 65535) at world offset `at`, folded.
 * `b` and `words` are views of the same memory. Whole words are added as low and high halves in host order, which RFC
 * 1071 §2(B) allows: only the folded result is swapped.
 */
export function sumWorld(b: Uint8Array, words: Int32Array, at: number, length: number): number {
  if ((at & 1) !== 0) return sumBytes(b, at, at + length);
  const end = at + length;
  let i = at;
  let sum = 0;
  if ((i & 2) !== 0 && length >= 2) {
    sum = (b[i]! << 8) | b[i + 1]!;
    i += 2;
  }
  const lastWord = (end & ~3) >> 2;
  let low = 0;
  let high = 0;
  for (let w = i >> 2; w < lastWord; w++) {
    const word = words[w]!;
    low += word & 0xffff;
    high += word >>> 16;
  }
  if (lastWord << 2 > i) i = lastWord << 2;
  const swapped = fold(fold(low) + fold(high));
  sum += ((swapped & 0xff) << 8) | (swapped >>> 8);
  if (end - i >= 2) {
    sum += (b[i]! << 8) | b[i + 1]!;
    i += 2;
  }
  if (i < end) sum += b[i]! << 8;
  return fold(sum);
}

/** Sum of the two halves of a 32-bit word. */
function sum32(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/** Pseudo-header sum for TCP and UDP over IPv4 (RFC 9293 §3.1), folded. */
export function pseudo4(src: number, dst: number, protocol: number, length: number): number {
  return fold(sum32(src) + sum32(dst) + protocol + length);
}

/** Pseudo-header sum for IPv6 upper layers (RFC 8200 §8.1), folded, read from the header at `at`. */
export function pseudo6(b: Uint8Array, at: number, protocol: number, length: number): number {
  return fold(sumBytes(b, at + 8, at + 40) + (length >>> 16) + (length & 0xffff) + protocol);
}

/** The checksum field after a 16-bit word it covers changed from `was` to `now` (RFC 1624 §3, equation 3). */
export function update16(check: number, was: number, now: number): number {
  return ~fold((~check & 0xffff) + (~was & 0xffff) + now) & 0xffff;
}
