/**
 * Next hops of VPN routes and what it costs to reach them, remembered until the tables say otherwise: whoever changed is told from
 * whoever did not. Read first: RFC 4271 §9.1.2.1 and §9.1.2.2 (e). Does not know how a next hop is found.
 */

import type { NextHop } from '../wire/attribute/model.ts';

/** The cost of what cannot be reached. */
export const UNREACHABLE = Infinity;

/** More next hops than this are looked at again for being in use at all, when tables change. */
const SPARE_HOPS = 1024;

interface Tracked {
  /** Of whom it was learned. */
  readonly peer: string;
  readonly look: () => number;
  cost: number;
}

export class VpnHops {
  readonly #known = new Map<string, Tracked>();
  /** Routes may have costs that nothing here stands for. */
  #isLossy = false;

  /**
   * The interior cost of a next hop.
   * @param where what besides peer and next hop the answer depends on
   * @param look finds it out
   */
  cost(peer: string, hop: NextHop, where: string, look: () => number): number {
    const key = `${peer} ${hop.global ?? ''} ${hop.linkLocal ?? ''} ${where}`;
    let tracked = this.#known.get(key);
    if (tracked === undefined) {
      tracked = { peer, look, cost: look() };
      this.#known.set(key, tracked);
    }
    return tracked.cost;
  }

  /** The peer's next hops are found otherwise from now on. */
  forget(peer: string): void {
    for (const [key, tracked] of this.#known)
      if (tracked.peer === peer) {
        this.#known.delete(key);
        this.#isLossy = true;
      }
  }

  /** Tables or links have changed. @returns whether costs may be others now: they have to be asked for again, of all routes */
  recheck(): boolean {
    let hasChanged = this.#isLossy || this.#known.size > SPARE_HOPS;
    for (const tracked of this.#known.values()) {
      const now = tracked.look();
      if (now !== tracked.cost) hasChanged = true;
      tracked.cost = now;
    }
    if (hasChanged) this.#known.clear();
    this.#isLossy = false;
    return hasChanged;
  }
}
