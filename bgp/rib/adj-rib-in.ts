/**
 * The Adj-RIBs-In of all peers in one table: the routes of a prefix form a chain, so that the decision process meets all
 * candidates without searching, and a peer's routes are found by a scan of one column.
 * Read first: RFC 4271 §3.2 and §9. Keeps every route as received next to what import policy made of it, so that a
 * change of policy needs no refresh from the peer.
 */

import type { Instant } from '../../router/lib/clock.ts';
import { grown } from '../../router/lib/columns.ts';
import type { PrefixTable } from '../../router/lib/prefix-table.ts';
import type { AttrSet, AttrTable } from './attrs.ts';

/** Why a route takes part in the decision or not. */
export const Verdict = {
  Accepted: 0,
  Policy: 1,
  OwnPrefix: 2,
  AsLoop: 3,
  ReflectionLoop: 4,
  OwnNextHop: 5,
  RouteLeak: 6,
  TooLarge: 7,
  NotUnicast: 8,
} as const;

export const VERDICT_TEXT: Record<number, string> = {
  [Verdict.Accepted]: 'accepted',
  [Verdict.Policy]: 'refused by import policy',
  [Verdict.OwnPrefix]: 'inside a prefix of our own',
  [Verdict.AsLoop]: 'our AS is in the path',
  [Verdict.ReflectionLoop]: 'reflected back to us',
  [Verdict.OwnNextHop]: 'next hop is our own address',
  [Verdict.RouteLeak]: 'leaked: only to customers (RFC 9234)',
  [Verdict.TooLarge]: 'attributes of more than 65535 octets',
  [Verdict.NotUnicast]: 'no prefix of unicast addresses',
};

/** Whether a route is still told by its peer (RFC 4724 §4.2, RFC 9494 §4.2, RFC 7313 §4). */
export const Staleness = {
  Fresh: 0,
  Stale: 1,
  LongLived: 2,
  /** Withdrawn, not counted and not used any more, and still to be taken out of the table (bgp/stale.ts). */
  Gone: 3,
} as const;

/** Peer number of routes we originate. */
export const LOCAL_PEER = 0;
const NO_PEER = 0xffff;

export class AdjRibsIn {
  readonly #prefixes: PrefixTable;
  readonly #table: AttrTable;
  /** First route of each prefix + 1, 0 = none. */
  #head = new Int32Array(0);
  /** Next route of the same prefix, or of the free list. */
  #next = new Int32Array(0);
  prefixOf = new Int32Array(0);
  peerOf = new Uint16Array(0);
  /** RFC 7911 path identifier, 0 without ADD-PATH. */
  pathIdOf = new Uint32Array(0);
  verdictOf = new Uint8Array(0);
  staleOf = new Uint8Array(0);
  /** When the peer told each route as it is, and now, in seconds of the speaker's clock. */
  #since = new Uint32Array(0);
  #nowS = 0;
  /** Numbers of attribute sets (AttrTable): as received, and after import policy. */
  receivedOf = new Int32Array(0);
  /** Invariant: -1 exactly when the verdict is not Accepted. */
  acceptedOf = new Int32Array(0);
  /** Weights of import policy; empty while no route has one. */
  #weight = new Uint16Array(0);
  #free = -1;
  #used = 0;
  #size = 0;

  constructor(prefixes: PrefixTable, table: AttrTable) {
    this.#prefixes = prefixes;
    this.#table = table;
  }

  /** Routes held. */
  get size(): number {
    return this.#size;
  }

  /** What changes from here on, changes now. */
  stamp(now: Instant): void {
    this.#nowS = Math.floor(now / 1000);
  }

  /** Seconds since the route was told as it is; a repetition is no news. */
  ageS(route: number, now: Instant): number {
    return Math.max(0, Math.floor(now / 1000) - this.#since[route]!);
  }

  /** The route is told anew. */
  renew(route: number): void {
    this.#since[route] = this.#nowS;
  }

  received(route: number): AttrSet {
    return this.#table.set(this.receivedOf[route]!);
  }

  accepted(route: number): AttrSet | undefined {
    const id = this.acceptedOf[route]!;
    return id < 0 ? undefined : this.#table.set(id);
  }

  /** Withdrawn already, and not counted; its row is freed soon. */
  isGone(route: number): boolean {
    return this.staleOf[route] === Staleness.Gone;
  }

  /** First route of a prefix, -1 = none; then `next`. Some may be gone (`isGone`). */
  first(prefix: number): number {
    return prefix < this.#head.length ? this.#head[prefix]! - 1 : -1;
  }

  next(route: number): number {
    return this.#next[route]!;
  }

  find(prefix: number, peer: number, pathId: number): number {
    let r = this.first(prefix);
    while (r >= 0 && (this.peerOf[r] !== peer || this.pathIdOf[r] !== pathId)) r = this.#next[r]!;
    return r;
  }

  /**
   * Add a route that `find` did not find; returns its number.
   * @param received number of the attribute set, like `accepted`, which is -1 when the route is refused
   */
  add(prefix: number, peer: number, pathId: number, received: number, accepted: number, verdict: number): number {
    let r = this.#free;
    if (r >= 0) this.#free = this.#next[r]!;
    else {
      r = this.#used++;
      this.#grow(r);
    }
    this.#head = grown(this.#head, prefix);
    this.#next[r] = this.#head[prefix]! - 1;
    this.#head[prefix] = r + 1;
    this.prefixOf[r] = prefix;
    this.peerOf[r] = peer;
    this.pathIdOf[r] = pathId;
    this.verdictOf[r] = verdict;
    this.staleOf[r] = Staleness.Fresh;
    this.#since[r] = this.#nowS;
    this.#table.retain(received);
    if (accepted >= 0) this.#table.retain(accepted);
    this.receivedOf[r] = received;
    this.acceptedOf[r] = accepted;
    this.#prefixes.retain(prefix);
    this.#size++;
    return r;
  }

  /** Preference of this speaker alone, 0..65535 (`Changes.weight`). */
  weight(route: number): number {
    return route < this.#weight.length ? this.#weight[route]! : 0;
  }

  /** @returns whether it is another one than before */
  setWeight(route: number, weight: number): boolean {
    if (this.weight(route) === weight) return false;
    this.#weight = grown(this.#weight, route);
    this.#weight[route] = weight;
    return true;
  }

  /** Put other attributes on a route (an implicit withdraw, or another policy). */
  replace(route: number, received: number, accepted: number, verdict: number): void {
    this.#table.retain(received);
    if (accepted >= 0) this.#table.retain(accepted);
    this.#releaseSets(route);
    if (received !== this.receivedOf[route]) this.renew(route);
    this.receivedOf[route] = received;
    this.acceptedOf[route] = accepted;
    this.verdictOf[route] = verdict;
  }

  remove(route: number): void {
    const prefix = this.prefixOf[route]!;
    let at = this.#head[prefix]! - 1;
    if (at === route) this.#head[prefix] = this.#next[route]! + 1;
    else {
      while (this.#next[at] !== route) at = this.#next[at]!;
      this.#next[at] = this.#next[route]!;
    }
    this.#releaseSets(route);
    this.acceptedOf[route] = -1;
    this.setWeight(route, 0);
    this.peerOf[route] = NO_PEER;
    this.#next[route] = this.#free;
    this.#free = route;
    this.#size--;
    this.#prefixes.release(prefix);
  }

  /**
   * Mark routes of a peer as gone: all of them, or those that are stale. A loop over columns and nothing else: it is done in
   * one turn of the event loop, whatever the size of the table.
   * @returns how many there were, how many of them were accepted, and how many stale
   */
  markGone(
    peer: number,
    onlyStale: boolean,
  ): { readonly routes: number; readonly accepted: number; readonly stale: number } {
    const { peerOf, staleOf, acceptedOf } = this;
    const end = this.#used;
    let routes = 0;
    let accepted = 0;
    let stale = 0;
    for (let r = 0; r < end; r++) {
      if (peerOf[r] !== peer) continue;
      const staleness = staleOf[r]!;
      if (staleness === Staleness.Gone || (onlyStale && staleness === Staleness.Fresh)) continue;
      staleOf[r] = Staleness.Gone;
      routes++;
      if (staleness !== Staleness.Fresh) stale++;
      if (acceptedOf[r]! >= 0) accepted++;
    }
    return { routes, accepted, stale };
  }

  /** Mark the routes of a peer as stale that are not marked yet; likewise. */
  markStale(peer: number): void {
    const { peerOf, staleOf } = this;
    const end = this.#used;
    for (let r = 0; r < end; r++)
      if (peerOf[r] === peer && staleOf[r] === Staleness.Fresh) staleOf[r] = Staleness.Stale;
  }

  /** All routes of a peer; `visit` may remove the route it is given. */
  forPeer(peer: number, visit: (route: number) => void): void {
    for (let r = 0; r < this.#used; r++) if (this.peerOf[r] === peer) visit(r);
  }

  /**
   * A part of the same: looks at up to `budget` routes from `from` on.
   * @returns where to go on, -1 at the end
   */
  slice(peer: number, from: number, budget: number, visit: (route: number) => void): number {
    const end = Math.min(this.#used, from + budget);
    for (let r = from; r < end; r++) if (this.peerOf[r] === peer) visit(r);
    return end >= this.#used ? -1 : end;
  }

  #releaseSets(route: number): void {
    this.#table.release(this.receivedOf[route]!);
    const accepted = this.acceptedOf[route]!;
    if (accepted >= 0) this.#table.release(accepted);
  }

  #grow(route: number): void {
    this.#next = grown(this.#next, route, 0, 0);
    this.prefixOf = grown(this.prefixOf, route, 0, 1);
    this.peerOf = grown(this.peerOf, route, 0, 2);
    this.pathIdOf = grown(this.pathIdOf, route, 0, 3);
    this.verdictOf = grown(this.verdictOf, route, 0, 4);
    this.receivedOf = grown(this.receivedOf, route, 0, 5);
    this.acceptedOf = grown(this.acceptedOf, route, 0, 6);
    this.staleOf = grown(this.staleOf, route, 0, 7);
    this.#since = grown(this.#since, route, 0, 14);
  }
}
