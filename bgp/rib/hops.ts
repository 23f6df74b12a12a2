/** The next hops of attribute sets, each with a small number: there are few of them, whatever the size of the table. */

import type { Addr } from '../../router/lib/addr.ts';
import type { NextHop } from '../wire/attribute/model.ts';

/** Number of "no next hop": routes of our own. */
export const NO_HOP = 0;

export class HopTable {
  readonly #hops: (NextHop | undefined)[] = [undefined];
  readonly #keys: string[] = [''];
  readonly #users: number[] = [0];
  readonly #numbers = new Map<string, number>();
  readonly #free: number[] = [];
  /** The one asked for last: a peer's routes mostly share one. */
  #last: NextHop | undefined;
  #lastNumber = NO_HOP;

  /** Next hops in use. */
  get size(): number {
    return this.#numbers.size;
  }

  get(number: number): NextHop | undefined {
    return this.#hops[number];
  }

  forEach(visit: (hop: NextHop, number: number) => void): void {
    for (const [number, hop] of this.#hops.entries()) if (hop !== undefined) visit(hop, number);
  }

  *[Symbol.iterator](): IterableIterator<NextHop> {
    for (const hop of this.#hops) if (hop !== undefined) yield hop;
  }

  /** The number of a next hop; it stays so while `retain` was called more often than `release`. */
  intern(hop: NextHop | undefined): number {
    if (hop === undefined) return NO_HOP;
    if (this.#last !== undefined && isSame(hop, this.#last)) return this.#lastNumber;
    const key = `${hop.global ?? ''} ${hop.linkLocal ?? ''}`;
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#hops.length;
      this.#hops[number] = hop;
      this.#keys[number] = key;
      this.#users[number] = 0;
      this.#numbers.set(key, number);
    }
    this.#last = hop;
    this.#lastNumber = number;
    return number;
  }

  retain(number: number): void {
    this.#users[number]!++;
  }

  release(number: number): void {
    if (--this.#users[number]! > 0 || number === NO_HOP) return;
    this.#numbers.delete(this.#keys[number]!);
    this.#hops[number] = undefined;
    this.#free.push(number);
    this.#last = undefined;
  }
}

function isSame(a: NextHop, b: NextHop): boolean {
  return a === b || (isSameAddr(a.global, b.global) && isSameAddr(a.linkLocal, b.linkLocal));
}

function isSameAddr(a: Addr | undefined, b: Addr | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && a.equals(b));
}
