/**
 * What there is to a prefix, whatever its distinguisher: questions name no distinguisher, and must not cost a walk through all of
 * a table. Does not know what it holds; most prefixes have one item, and that costs no set.
 */

import { type Addr, Prefix } from '../../router/lib/addr.ts';

export class PrefixIndex<T extends string | object> {
  readonly #items = new Map<string, T | Set<T>>();

  add(prefix: Prefix, item: T): void {
    const at = String(prefix);
    const known = this.#items.get(at);
    if (known === undefined) this.#items.set(at, item);
    else if (known instanceof Set) known.add(item);
    else if (known !== item) this.#items.set(at, new Set([known, item]));
  }

  delete(prefix: Prefix, item: T): void {
    const at = String(prefix);
    const known = this.#items.get(at);
    if (known === item) this.#items.delete(at);
    else if (known instanceof Set && known.delete(item) && known.size === 0) this.#items.delete(at);
  }

  has(prefix: Prefix): boolean {
    return this.#items.has(String(prefix));
  }

  /** In the order they came. */
  at(prefix: Prefix): Iterable<T> {
    const known = this.#items.get(String(prefix));
    if (known === undefined) return [];
    return known instanceof Set ? known : [known];
  }
}

/** A prefix itself, or all that hold an address, the longest first. */
export function* prefixesMeant(what: Prefix | Addr): Generator<Prefix> {
  if (what instanceof Prefix) yield what;
  else for (let length = what.family === 4 ? 32 : 128; length >= 0; length--) yield Prefix.containing(what, length)!;
}
