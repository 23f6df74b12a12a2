/** A first-in-first-out queue of prefix ids in which each id stands at most once; waiting ids are kept alive. */

import { emptyColumn, grown } from '../../router/lib/columns.ts';
import type { PrefixTable } from '../../router/lib/prefix-table.ts';

export class IdQueue {
  readonly #prefixes: PrefixTable;
  /** 1 = waiting. */
  #waiting = new Uint8Array(0);
  #ids = new Int32Array(1024);
  #head = 0;
  #tail = 0;

  constructor(prefixes: PrefixTable) {
    this.#prefixes = prefixes;
  }

  get size(): number {
    return this.#tail - this.#head;
  }

  push(id: number): void {
    this.#waiting = grown(this.#waiting, id);
    if (this.#waiting[id] !== 0) return;
    this.#waiting[id] = 1;
    this.#prefixes.retain(id);
    if (this.#tail === this.#ids.length) this.#makeRoom();
    this.#ids[this.#tail++] = id;
  }

  /** The oldest id, -1 when empty. The caller takes over the reference and releases the id when done with it. */
  shift(): number {
    if (this.#head === this.#tail) return -1;
    const id = this.#ids[this.#head++]!;
    this.#waiting[id] = 0;
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
    }
    return id;
  }

  clear(): void {
    for (let id = this.shift(); id >= 0; id = this.shift()) this.#prefixes.release(id);
  }

  /** Move the ids to the front, into a larger array when they fill more than half of it. */
  #makeRoom(): void {
    const size = this.#tail - this.#head;
    const ids = size * 2 > this.#ids.length ? emptyColumn(this.#ids, this.#ids.length * 2) : this.#ids;
    ids.set(this.#ids.subarray(this.#head, this.#tail));
    this.#ids = ids;
    this.#head = 0;
    this.#tail = size;
  }
}
