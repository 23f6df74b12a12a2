/**
 * Hashes of the FIB: of a flow's 5-tuple for ECMP and flow caches, and of prefixes for the writer's tables.
 * The flow hash is keyed by a seed of each boot, so that nobody can tell from outside which member a flow takes, and so
 * that routers in a row do not all choose alike (hash polarization).
 */

/** Final mixing of a 32-bit value: every input bit reaches every output bit (the "lowbias32" constants are public domain). */
export function mix32(x: number): number {
  let h = x | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

/**
 * Hash of a flow, int32. Both directions hash differently, as RFC 2992 §1 allows.
 * @param s0 source address words, IPv4-mapped for IPv4
 * @param ports source port << 16 | destination port; 0 for fragments and protocols without ports
 * @param seed the same for all packets of a boot
 */
export function flowHash(
  s0: number,
  s1: number,
  s2: number,
  s3: number,
  d0: number,
  d1: number,
  d2: number,
  d3: number,
  protocol: number,
  ports: number,
  seed: number,
): number {
  const s =
    Math.imul(s0, 0x9e3779b1) ^ Math.imul(s1, 0x85ebca77) ^ Math.imul(s2, 0xc2b2ae3d) ^ Math.imul(s3, 0x27d4eb2f);
  const d =
    Math.imul(d0, 0x165667b1) ^ Math.imul(d1, 0x2c1b3c6d) ^ Math.imul(d2, 0x297a2d39) ^ Math.imul(d3, 0x7ed55d17);
  const ends = mix32((s ^ seed) + protocol) + Math.imul(mix32((d ^ seed) + 0x3c6ef372), 5);
  return mix32(ends + Math.imul(ports, 0x9e3779b1));
}
