/**
 * The Adj-RIB-Out of a peer that is told several paths to a prefix (RFC 7911): which of them it has, by path identifier.
 * Read first: RFC 7911 §2 and §3, rib/adj-rib-out.ts (the plain one, which this stays out of the way of). A path is known by
 * the number of its route in the Adj-RIBs-In, which it keeps for as long as its peer tells it: that is what keeps path
 * identifiers stable. Only differences are sent; paths with the same attributes share messages.
 */

import type { PrefixTable } from '../../router/lib/prefix-table.ts';
import type { NextHop } from '../wire/attribute/model.ts';
import type { UpdatePacker } from '../wire/update.ts';
import type { AttrSet, AttrTable } from './attrs.ts';
import type { LocRib } from './loc-rib.ts';
import { IdQueue } from './queue.ts';

/** One path as a peer is told it. */
export interface ToldPath {
  /** Undefined where the peer is told one path. */
  readonly pathId: number | undefined;
  readonly attrs: AttrSet;
}

/** The paths to announce for a prefix now. */
export type SelectPaths = (prefix: number) => readonly (ToldPath & { readonly pathId: number })[];

interface Change {
  readonly prefix: number;
  readonly pathId: number;
}

const NO_PATHS: ReadonlyMap<number, number> = new Map();

export class AdjRibPathsOut {
  readonly #prefixes: PrefixTable;
  readonly #table: AttrTable;
  readonly #queue: IdQueue;
  /** By prefix and path identifier: the number of the attribute set the peer was told last. */
  readonly #sent = new Map<number, Map<number, number>>();
  readonly #again = new Set<number>();
  /** What a resend under way has not come to yet. */
  #toResend: Iterator<number> | undefined;
  /** What is being reviewed, and how far. */
  #loc: Pick<LocRib, 'slice'> | undefined;
  #reviewAt = 0;
  #size = 0;
  /** Called for each prefix of which the peer is told something else. */
  onTold: ((prefix: number) => void) | undefined;

  constructor(prefixes: PrefixTable, table: AttrTable) {
    this.#prefixes = prefixes;
    this.#table = table;
    this.#queue = new IdQueue(prefixes);
  }

  /** Paths the peer has from us. */
  get size(): number {
    return this.#size;
  }

  /** Prefixes to look at; those that a review or a resend under way would add are not all counted yet. */
  get pending(): number {
    return this.#queue.size + (this.#loc === undefined ? 0 : 1) + (this.#toResend === undefined ? 0 : 1);
  }

  /** The paths of a prefix the peer has. */
  told(prefix: number): ToldPath[] {
    return [...(this.#sent.get(prefix) ?? NO_PATHS)].map(([pathId, set]) => ({ pathId, attrs: this.#table.set(set) }));
  }

  /** The routes of a prefix changed. */
  touch(prefix: number): void {
    this.#queue.push(prefix);
  }

  /** Look at every prefix with a best route again, in slices of `pull`. */
  review(loc: Pick<LocRib, 'slice'>): void {
    this.#loc = loc;
    this.#reviewAt = 0;
  }

  /** Tell the peer everything again (RFC 2918 §4), in slices of `pull`. */
  resend(): void {
    this.#toResend = this.#sent.keys();
  }

  /** Queue what a review or a resend under way comes to next. */
  #advance(budget: number): void {
    for (let left = budget; left > 0 && this.#toResend !== undefined; left--) {
      const { done, value: prefix } = this.#toResend.next();
      if (done === true) {
        this.#toResend = undefined;
        break;
      }
      this.#again.add(prefix);
      this.#queue.push(prefix);
    }
    if (this.#loc === undefined) return;
    this.#reviewAt = this.#loc.slice(this.#reviewAt, budget, (prefix) => this.#queue.push(prefix));
    if (this.#reviewAt < 0) this.#loc = undefined;
  }

  /** The session is gone, and with it all that the peer was told. */
  clear(): void {
    while (!this.step(Infinity)) {}
  }

  /** The same in slices, of about so many paths: nothing else may be asked of it any more. */
  step(budget: number): boolean {
    this.#loc = undefined;
    this.#toResend = undefined;
    this.#again.clear();
    for (let left = budget; left > 0; left--) {
      const prefix = this.#queue.shift();
      if (prefix < 0) break;
      this.#prefixes.release(prefix);
    }
    let left = budget;
    for (const [prefix, paths] of this.#sent) {
      if (left <= 0) break;
      left -= paths.size;
      for (const pathId of [...paths.keys()]) this.#forget(prefix, pathId);
    }
    return this.#queue.size === 0 && this.#sent.size === 0;
  }

  /** Look at up to `budget` waiting prefixes and pack what has to be said about them. */
  pull(budget: number, select: SelectPaths, packer: UpdatePacker): void {
    if (this.#queue.size < budget) this.#advance(4 * budget);
    const withdrawn: Change[] = [];
    const groups = new Map<number, Change[]>();
    const seen: number[] = [];
    for (let i = 0; i < budget; i++) {
      const prefix = this.#queue.shift();
      if (prefix < 0) break;
      seen.push(prefix);
      const before = this.#sent.get(prefix) ?? NO_PATHS;
      const isForced = this.#again.delete(prefix);
      const kept = new Set<number>();
      for (const { pathId, attrs } of select(prefix)) {
        const now = this.#table.idOf(attrs);
        kept.add(pathId);
        if (before.get(pathId) === now && !isForced) continue;
        const group = groups.get(now);
        if (group === undefined) groups.set(now, [{ prefix, pathId }]);
        else group.push({ prefix, pathId });
      }
      for (const pathId of before.keys()) if (!kept.has(pathId)) withdrawn.push({ prefix, pathId });
    }
    for (const [set, changes] of groups) this.#announce(set, changes, packer, withdrawn);
    if (withdrawn.length > 0) packer.withdraw(this.#prefixes.family);
    for (const { prefix, pathId } of withdrawn) {
      this.#pack(prefix, pathId, packer);
      this.#forget(prefix, pathId);
    }
    for (const prefix of seen) this.#prefixes.release(prefix);
  }

  #announce(set: number, changes: readonly Change[], packer: UpdatePacker, withdrawn: Change[]): void {
    const attrs = this.#table.set(set);
    const fits = packer.reach(this.#prefixes.family, attrs, attrs.nextHop as NextHop);
    for (const change of changes) {
      const { prefix, pathId } = change;
      if (fits) {
        this.#pack(prefix, pathId, packer);
        this.#remember(prefix, pathId, set);
      } else if (this.#sent.get(prefix)?.has(pathId) === true) withdrawn.push(change);
    }
  }

  #pack(prefix: number, pathId: number, packer: UpdatePacker): void {
    const p = this.#prefixes;
    if (p.family === 4) packer.add(p.w0[prefix]!, 0, 0, 0, p.length[prefix]!, pathId);
    else packer.add(p.w0[prefix]!, p.w1[prefix]!, p.w2[prefix]!, p.w3[prefix]!, p.length[prefix]!, pathId);
  }

  #remember(prefix: number, pathId: number, set: number): void {
    let paths = this.#sent.get(prefix);
    if (paths === undefined) {
      paths = new Map();
      this.#sent.set(prefix, paths);
      this.#prefixes.retain(prefix);
    }
    const before = paths.get(pathId);
    this.#table.retain(set);
    if (before === undefined) this.#size++;
    else this.#table.release(before);
    paths.set(pathId, set);
    this.onTold?.(prefix);
  }

  #forget(prefix: number, pathId: number): void {
    const paths = this.#sent.get(prefix);
    const set = paths?.get(pathId);
    if (paths === undefined || set === undefined) return;
    paths.delete(pathId);
    this.#table.release(set);
    this.#size--;
    this.onTold?.(prefix);
    if (paths.size > 0) return;
    this.#sent.delete(prefix);
    this.#prefixes.release(prefix);
  }
}
