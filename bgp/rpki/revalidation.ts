/**
 * Judges stored routes again when ROAs change: those inside the changed prefixes, and only of peers whose policy asks.
 * Works in slices; sessions and other routes are left alone. Read first: RFC 6811 §4.
 */

import type { Family } from '../../router/lib/addr.ts';
import { IdQueue } from '../rib/queue.ts';
import type { Rib } from '../rib/rib.ts';
import { RouteIndex } from './route-index.ts';
import type { VrpList } from './vrp.ts';

/** With fewer known prefixes than this per change, going through all of them is cheaper than searching for each. */
const SEARCH_COST = 16;
const FAMILIES = [4, 6] as const;

/** What waits in one family. */
class Pending {
  readonly rib: Rib;
  readonly index: RouteIndex;
  readonly queue: IdQueue;
  /** Every prefix from this id on waits too; Infinity = none does. */
  sweep = Infinity;

  constructor(rib: Rib) {
    this.rib = rib;
    this.index = new RouteIndex(rib.prefixes);
    this.queue = new IdQueue(rib.prefixes);
  }

  get isEmpty(): boolean {
    return this.queue.size === 0 && this.sweep === Infinity;
  }

  /** The next prefix to look at, retained; -1 = none. */
  next(): number {
    const { prefixes } = this.rib;
    while (this.sweep < prefixes.limit) {
      const id = this.sweep++;
      if (!prefixes.isUsed(id)) continue;
      prefixes.retain(id);
      return id;
    }
    this.sweep = Infinity;
    return this.queue.shift();
  }
}

export class Revalidation {
  readonly indexes: Readonly<Record<Family, RouteIndex>>;
  readonly #pending: Readonly<Record<Family, Pending>>;
  readonly #changed: VrpList[] = [];
  #row = 0;
  /** Routes judged again so far. */
  revalidated = 0;

  constructor(ribs: Readonly<Record<Family, Rib>>) {
    this.#pending = { 4: new Pending(ribs[4]), 6: new Pending(ribs[6]) };
    this.indexes = { 4: this.#pending[4].index, 6: this.#pending[6].index };
  }

  /** VRPs of these prefixes changed. */
  add(changed: VrpList): void {
    const rows = { 4: 0, 6: 0 };
    for (let row = 0; row < changed.size; row++) rows[changed.family(row)]++;
    const isSearched = (f: Family): boolean => rows[f] * SEARCH_COST <= this.#pending[f].rib.prefixes.size;
    for (const f of FAMILIES) if (!isSearched(f)) this.#pending[f].sweep = 0;
    if (FAMILIES.some((f) => rows[f] > 0 && isSearched(f))) this.#changed.push(changed);
  }

  get isPending(): boolean {
    return this.#changed.length > 0 || FAMILIES.some((f) => !this.#pending[f].isEmpty);
  }

  /** Look at up to about `budget` prefixes; `judge` judges a route again. */
  step(budget: number, judge: (rib: Rib, route: number) => void): void {
    let left = budget;
    for (const f of FAMILIES) {
      const pending = this.#pending[f];
      const { routes, prefixes } = pending.rib;
      for (; left > 0; left--) {
        const id = pending.next();
        if (id < 0) break;
        for (let r = routes.first(id); r >= 0; r = routes.next(r)) {
          judge(pending.rib, r);
          this.revalidated++;
        }
        prefixes.release(id);
      }
    }
    while (left > 0 && this.#changed.length > 0) left -= this.#search(this.#changed[0]!);
  }

  /** Queue what lies inside the next changed prefix; returns the work done. */
  #search(list: VrpList): number {
    const row = this.#row++;
    if (this.#row >= list.size) {
      this.#changed.shift();
      this.#row = 0;
    }
    const { index, queue, sweep } = this.#pending[list.family(row)];
    if (sweep !== Infinity) return 1;
    const words = [list.word(row, 0), list.word(row, 1), list.word(row, 2), list.word(row, 3)] as const;
    return 1 + index.inside(...words, list.length(row), (id) => queue.push(id));
  }
}
