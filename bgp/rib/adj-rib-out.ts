/**
 * The Adj-RIB-Out of one peer and family: what the peer has been told, and which prefixes have to be looked at again.
 * Read first: RFC 4271 §3.2 and §9.1.3. Only differences are sent; prefixes with the same attributes share messages.
 */

import type { NextHop } from '../wire/attribute/model.ts';
import type { UpdatePacker } from '../wire/update.ts';
import type { AttrSet, AttrTable } from './attrs.ts';
import { grown } from './columns.ts';
import type { PrefixTable } from './prefixes.ts';
import { IdQueue } from './queue.ts';

/** The attributes to announce for a prefix now, undefined = do not announce it. */
export type Select = (prefix: number) => AttrSet | undefined;

export class AdjRibOut {
  readonly #prefixes: PrefixTable;
  readonly #table: AttrTable;
  readonly #queue: IdQueue;
  /** What the peer was told last. */
  readonly #sent: (AttrSet | undefined)[] = [];
  /** 1 = to be told again although nothing changed (route refresh). */
  #again = new Uint8Array(0);
  #size = 0;

  constructor(prefixes: PrefixTable, table: AttrTable) {
    this.#prefixes = prefixes;
    this.#table = table;
    this.#queue = new IdQueue(prefixes);
  }

  /** Prefixes the peer has from us. */
  get size(): number {
    return this.#size;
  }

  get pending(): number {
    return this.#queue.size;
  }

  sent(prefix: number): AttrSet | undefined {
    return this.#sent[prefix];
  }

  /** The best route of a prefix changed. */
  touch(prefix: number): void {
    this.#queue.push(prefix);
  }

  /** Tell the peer everything again (RFC 2918 §4). */
  resend(): void {
    for (let id = 0; id < this.#sent.length; id++) {
      if (this.#sent[id] === undefined) continue;
      this.#again = grown(this.#again, id);
      this.#again[id] = 1;
      this.#queue.push(id);
    }
  }

  /** The session is gone, and with it all that the peer was told. */
  clear(): void {
    this.#queue.clear();
    for (let id = 0; id < this.#sent.length; id++) this.#store(id, undefined);
    this.#again.fill(0);
  }

  /** Look at up to `budget` waiting prefixes and pack what has to be said about them. */
  pull(budget: number, select: Select, packer: UpdatePacker): void {
    const withdrawn: number[] = [];
    const groups = new Map<AttrSet, number[]>();
    const seen: number[] = [];
    for (let i = 0; i < budget; i++) {
      const id = this.#queue.shift();
      if (id < 0) break;
      seen.push(id);
      const now = select(id);
      const before = this.#sent[id];
      const isForced = id < this.#again.length && this.#again[id] === 1;
      if (isForced) this.#again[id] = 0;
      if (now === before && !isForced) continue;
      if (now !== undefined) {
        const group = groups.get(now);
        if (group === undefined) groups.set(now, [id]);
        else group.push(id);
      } else if (before !== undefined) withdrawn.push(id);
    }
    for (const [attrs, ids] of groups) {
      if (packer.reach(this.#prefixes.family, attrs, attrs.nextHop as NextHop)) {
        for (const id of ids) {
          this.#pack(id, packer);
          this.#store(id, attrs);
        }
      } else {
        // No message can hold these attributes: to the peer the route does not exist.
        for (const id of ids) if (this.#sent[id] !== undefined) withdrawn.push(id);
      }
    }
    if (withdrawn.length > 0) packer.withdraw(this.#prefixes.family);
    for (const id of withdrawn) {
      this.#pack(id, packer);
      this.#store(id, undefined);
    }
    for (const id of seen) this.#prefixes.release(id);
  }

  #pack(id: number, packer: UpdatePacker): void {
    const p = this.#prefixes;
    if (p.family === 4) packer.add(p.w0[id]!, 0, 0, 0, p.length[id]!);
    else packer.add(p.w0[id]!, p.w1[id]!, p.w2[id]!, p.w3[id]!, p.length[id]!);
  }

  #store(id: number, attrs: AttrSet | undefined): void {
    const before = this.#sent[id];
    if (before === attrs) return;
    while (this.#sent.length <= id) this.#sent.push(undefined);
    this.#sent[id] = attrs;
    if (attrs !== undefined) this.#table.retain(attrs);
    if (before !== undefined) this.#table.release(before);
    if (before === undefined) {
      this.#size++;
      this.#prefixes.retain(id);
    } else if (attrs === undefined) {
      this.#size--;
      this.#prefixes.release(id);
    }
  }
}
