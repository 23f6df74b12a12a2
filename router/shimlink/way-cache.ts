/**
 * The ways chosen for the destinations of a datagram socket that is not connected: each new destination is a flow of its own
 * and keeps its uplink while that carries anything and the rules allow it. Sets of a few places, found by hash; the table grows
 * with the destinations an app talks to, up to a bound, where the one that was used longest ago is forgotten.
 */
import { mix32 } from '../fib/hash.ts';
import type { PolicyPort } from './policy-port.ts';
import type { SockAddr } from './sockaddr.ts';

/** Places of a set. */
const SET = 8;
const FIRST_SETS = 2;
/** Half a mebioctet per socket: 16,384 destinations. */
const MOST_SETS = 2048;
/** Words of a place: destination, port, link, generation, when it was used last. */
const Word = { Port: 4, Link: 5, Generation: 6, Used: 7, Size: 8 } as const;
/** Nothing is kept for the destination, or what was kept has to be asked about again. Not an errno, and no link. */
export const UNKNOWN_WAY = -0x80000000;
/** No port: the place is empty. */
const EMPTY = -1;

export class WayCache {
  #sets = FIRST_SETS;
  #words = emptyWords(FIRST_SETS);
  #clock = 0;

  /** @returns the link chosen for `to` (0 = by the routing table), or UNKNOWN_WAY. Allocates nothing: asked per datagram. */
  find(policy: PolicyPort, to: SockAddr): number {
    const at = this.#placeOf(to);
    if (at < 0) return UNKNOWN_WAY;
    const w = this.#words;
    w[at + Word.Used] = this.#clock = (this.#clock + 1) | 0;
    const link = w[at + Word.Link]!;
    return w[at + Word.Generation] === policy.generation && (link === 0 || policy.carries(link)) ? link : UNKNOWN_WAY;
  }

  /** The link that `to` had, whether or not that still holds; 0 = none. */
  before(to: SockAddr): number {
    const at = this.#placeOf(to);
    return at < 0 ? 0 : this.#words[at + Word.Link]!;
  }

  keep(policy: PolicyPort, to: SockAddr, link: number): void {
    const at = this.#placeFor(to);
    const w = this.#words;
    w[at] = to.a0;
    w[at + 1] = to.a1;
    w[at + 2] = to.a2;
    w[at + 3] = to.a3;
    w[at + Word.Port] = to.port;
    w[at + Word.Link] = link;
    w[at + Word.Generation] = policy.generation;
    w[at + Word.Used] = this.#clock = (this.#clock + 1) | 0;
  }

  #placeOf(to: SockAddr): number {
    const w = this.#words;
    const first = this.#setOf(to.a0, to.a1, to.a2, to.a3, to.port);
    for (let at = first; at < first + SET * Word.Size; at += Word.Size)
      if (
        w[at] === to.a0 &&
        w[at + 1] === to.a1 &&
        w[at + 2] === to.a2 &&
        w[at + 3] === to.a3 &&
        w[at + Word.Port] === to.port
      )
        return at;
    return -1;
  }

  /** Its own place, a free one, or that of the destination that was used longest ago. */
  #placeFor(to: SockAddr): number {
    const own = this.#placeOf(to);
    if (own >= 0) return own;
    for (;;) {
      const w = this.#words;
      const first = this.#setOf(to.a0, to.a1, to.a2, to.a3, to.port);
      let oldest = first;
      for (let at = first; at < first + SET * Word.Size; at += Word.Size) {
        if (w[at + Word.Port] === EMPTY) return at;
        if (this.#ageOf(at) > this.#ageOf(oldest)) oldest = at;
      }
      if (this.#sets === MOST_SETS) return oldest;
      this.#grow();
    }
  }

  #ageOf(at: number): number {
    return (this.#clock - this.#words[at + Word.Used]!) | 0;
  }

  /** Twice the sets: each parts into two, so that no place is lost. */
  #grow(): void {
    const before = this.#words;
    this.#sets *= 2;
    this.#words = emptyWords(this.#sets);
    for (let from = 0; from < before.length; from += Word.Size) {
      const port = before[from + Word.Port]!;
      if (port === EMPTY) continue;
      let at = this.#setOf(before[from]!, before[from + 1]!, before[from + 2]!, before[from + 3]!, port);
      while (this.#words[at + Word.Port] !== EMPTY) at += Word.Size;
      this.#words.set(before.subarray(from, from + Word.Size), at);
    }
  }

  #setOf(a0: number, a1: number, a2: number, a3: number, port: number): number {
    const hash = mix32(a0 ^ a1 ^ a2 ^ Math.imul(a3, 0x9e3779b1) ^ Math.imul(port, 0x85ebca77));
    return (hash & (this.#sets - 1)) * SET * Word.Size;
  }
}

function emptyWords(sets: number): Int32Array {
  const words = new Int32Array(sets * SET * Word.Size);
  for (let at = Word.Port; at < words.length; at += Word.Size) words[at] = EMPTY;
  return words;
}
