/** What fuzz targets say of what they see. */
import type { Random } from '../../router/lib/rand.ts';

/** @throws with these words when it does not hold */
export function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** The octets in pieces of up to 40, as TCP may cut them. */
export function cutUp(octets: Uint8Array, random: Random): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < octets.length; ) {
    const n = 1 + random.below(40);
    pieces.push(octets.slice(at, at + n));
    at += n;
  }
  return pieces;
}
