/**
 * The ways chosen for the destinations of a datagram socket that is not connected: each new destination is a flow of its own
 * and keeps its uplink while that can be used. A few places, found by hash; one that is overwritten is chosen again.
 */
import { mix32 } from '../fib/hash.ts';
import type { PolicyPort } from './policy-port.ts';
import type { SockAddr } from './sockaddr.ts';

const PLACES = 16;
/** Words of a place: destination, port, link, generation. */
const Word = { Port: 4, Link: 5, Generation: 6, Size: 8 } as const;
/** Nothing is kept for the destination, or what was kept can no longer be used. Not an errno, and no link. */
export const UNKNOWN_WAY = -0x80000000;
/** No port: the place is empty. */
const EMPTY = -1;

export class WayCache {
  readonly #words = new Int32Array(PLACES * Word.Size);

  constructor() {
    for (let i = 0; i < PLACES; i++) this.#words[i * Word.Size + Word.Port] = EMPTY;
  }

  /** @returns the link chosen for `to` (0 = by the routing table), or UNKNOWN_WAY. Allocates nothing: asked per datagram. */
  find(policy: PolicyPort, to: SockAddr): number {
    const w = this.#words;
    const at = placeOf(to);
    const isKnown =
      w[at] === to.a0 &&
      w[at + 1] === to.a1 &&
      w[at + 2] === to.a2 &&
      w[at + 3] === to.a3 &&
      w[at + Word.Port] === to.port &&
      w[at + Word.Generation] === policy.generation;
    const known = w[at + Word.Link]!;
    return isKnown && (known === 0 || policy.isUsable(known)) ? known : UNKNOWN_WAY;
  }

  keep(policy: PolicyPort, to: SockAddr, link: number): void {
    const w = this.#words;
    const at = placeOf(to);
    w[at] = to.a0;
    w[at + 1] = to.a1;
    w[at + 2] = to.a2;
    w[at + 3] = to.a3;
    w[at + Word.Port] = to.port;
    w[at + Word.Link] = link;
    w[at + Word.Generation] = policy.generation;
  }
}

function placeOf(to: SockAddr): number {
  const hash = mix32(to.a0 ^ to.a1 ^ to.a2 ^ Math.imul(to.a3, 0x9e3779b1) ^ Math.imul(to.port, 0x85ebca77));
  return (hash & (PLACES - 1)) * Word.Size;
}
