/**
 * The Adj-RIB-Out of one peer and family: what the peer has been told, and which prefixes have to be looked at again.
 * Read first: RFC 4271 §3.2 and §9.1.3. Only differences are sent; prefixes with the same attributes share messages.
 */

import { grown } from '../../router/lib/columns.ts';
import type { PrefixTable } from '../../router/lib/prefix-table.ts';
import type { NextHop } from '../wire/attribute/model.ts';
import type { UpdatePacker } from '../wire/update.ts';
import type { ToldPath } from './adj-rib-paths-out.ts';
import type { AttrSet, AttrTable } from './attrs.ts';
import type { LocRib } from './loc-rib.ts';
import { IdQueue } from './queue.ts';

/** The attributes to announce for a prefix now, undefined = do not announce it. */
export type Select = (prefix: number) => AttrSet | undefined;

const NONE = -1;

export class AdjRibOut {
  readonly #prefixes: PrefixTable;
  readonly #table: AttrTable;
  readonly #queue: IdQueue;
  /** Number + 1 of the attribute set the peer was told last, 0 = nothing. */
  #sent = new Int32Array(0);
  /** 1 = to be told again although nothing changed (route refresh). */
  #again = new Uint8Array(0);
  /** How far `step`, `resend` and `review` have come; NONE = not under way. */
  #cleared = 0;
  #resendAt = NONE;
  #reviewAt = 0;
  /** What is being reviewed. */
  #loc: Pick<LocRib, 'slice'> | undefined;
  #size = 0;
  /** Called for each prefix of which the peer is told something else. */
  onTold: ((prefix: number) => void) | undefined;

  constructor(prefixes: PrefixTable, table: AttrTable) {
    this.#prefixes = prefixes;
    this.#table = table;
    this.#queue = new IdQueue(prefixes);
  }

  /** Prefixes the peer has from us. */
  get size(): number {
    return this.#size;
  }

  /** Prefixes to look at; those that a review or a resend under way would add are not all counted yet. */
  get pending(): number {
    return this.#queue.size + (this.#loc === undefined ? 0 : 1) + (this.#resendAt < 0 ? 0 : 1);
  }

  sent(prefix: number): AttrSet | undefined {
    const id = this.#sentNumber(prefix);
    return id < 0 ? undefined : this.#table.set(id);
  }

  /** The path of a prefix the peer has, in a list as of a peer that may have several. */
  told(prefix: number): ToldPath[] {
    const attrs = this.sent(prefix);
    return attrs === undefined ? [] : [{ pathId: undefined, attrs }];
  }

  #sentNumber(prefix: number): number {
    return prefix < this.#sent.length ? this.#sent[prefix]! - 1 : NONE;
  }

  /** The best route of a prefix changed. */
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
    this.#resendAt = 0;
  }

  /** Queue what a review or a resend under way comes to next. */
  #advance(budget: number): void {
    if (this.#resendAt >= 0) {
      const end = Math.min(this.#sent.length, this.#resendAt + budget);
      for (let id = this.#resendAt; id < end; id++) {
        if (this.#sent[id] === 0) continue;
        this.#again = grown(this.#again, id);
        this.#again[id] = 1;
        this.#queue.push(id);
      }
      this.#resendAt = end === this.#sent.length ? NONE : end;
    }
    if (this.#loc === undefined) return;
    this.#reviewAt = this.#loc.slice(this.#reviewAt, budget, (id) => this.#queue.push(id));
    if (this.#reviewAt < 0) this.#loc = undefined;
  }

  /** The session is gone, and with it all that the peer was told. */
  clear(): void {
    while (!this.step(Infinity)) {}
  }

  /** The same in slices: nothing else may be asked of it any more. */
  step(budget: number): boolean {
    this.#loc = undefined;
    this.#resendAt = NONE;
    for (let left = budget; left > 0; left--) {
      const id = this.#queue.shift();
      if (id < 0) break;
      this.#prefixes.release(id);
    }
    const end = Math.min(this.#sent.length, this.#cleared + budget);
    for (let id = this.#cleared; id < end; id++) this.#store(id, NONE);
    this.#cleared = end;
    return this.#queue.size === 0 && end === this.#sent.length;
  }

  /** Look at up to `budget` waiting prefixes and pack what has to be said about them. */
  pull(budget: number, select: Select, packer: UpdatePacker): void {
    if (this.#queue.size < budget) this.#advance(4 * budget);
    const withdrawn: number[] = [];
    const groups = new Map<number, number[]>();
    const seen: number[] = [];
    for (let i = 0; i < budget; i++) {
      const id = this.#queue.shift();
      if (id < 0) break;
      seen.push(id);
      const attrs = select(id);
      const now = attrs === undefined ? NONE : this.#table.idOf(attrs);
      const before = this.#sentNumber(id);
      const isForced = id < this.#again.length && this.#again[id] === 1;
      if (isForced) this.#again[id] = 0;
      if (now === before && !isForced) continue;
      if (now >= 0) {
        const group = groups.get(now);
        if (group === undefined) groups.set(now, [id]);
        else group.push(id);
      } else if (before >= 0) withdrawn.push(id);
    }
    for (const [number, ids] of groups) {
      const attrs = this.#table.set(number);
      if (packer.reach(this.#prefixes.family, attrs, attrs.nextHop as NextHop)) {
        for (const id of ids) {
          this.#pack(id, packer);
          this.#store(id, number);
        }
      } else {
        // No message can hold these attributes: to the peer the route does not exist.
        for (const id of ids) if (this.#sentNumber(id) >= 0) withdrawn.push(id);
      }
    }
    if (withdrawn.length > 0) packer.withdraw(this.#prefixes.family);
    for (const id of withdrawn) {
      this.#pack(id, packer);
      this.#store(id, NONE);
    }
    for (const id of seen) this.#prefixes.release(id);
  }

  #pack(id: number, packer: UpdatePacker): void {
    const p = this.#prefixes;
    if (p.family === 4) packer.add(p.w0[id]!, 0, 0, 0, p.length[id]!);
    else packer.add(p.w0[id]!, p.w1[id]!, p.w2[id]!, p.w3[id]!, p.length[id]!);
  }

  #store(id: number, attrs: number): void {
    const before = this.#sentNumber(id);
    if (before === attrs) return;
    this.#sent = grown(this.#sent, id, 0, 11);
    this.#sent[id] = attrs + 1;
    if (attrs >= 0) this.#table.retain(attrs);
    if (before >= 0) this.#table.release(before);
    if (before < 0) {
      this.#size++;
      this.#prefixes.retain(id);
    } else if (attrs < 0) {
      this.#size--;
      this.#prefixes.release(id);
    }
    this.onTold?.(id);
  }
}
