/**
 * Network-order accessors over the one kind of array the data plane uses (a Uint8Array over a SharedArrayBuffer).
 * Every packet reader and writer goes through these, so that V8 sees one array shape at each call site.
 * Does not check bounds: views (`router/wire`) check lengths once and then read freely.
 */

/** Big-endian 16-bit word at octet `at`. */
export function get16(b: Uint8Array, at: number): number {
  return (b[at]! << 8) | b[at + 1]!;
}

/** Big-endian 32-bit word at octet `at`, as int32 (`|0`), which stays a small integer in V8. */
export function get32(b: Uint8Array, at: number): number {
  return (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
}

/** Store the low 16 bits of `value` big-endian at octet `at`. */
export function put16(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 8;
  b[at + 1] = value;
}

/** Store `value` big-endian in four octets at `at`. */
export function put32(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}
