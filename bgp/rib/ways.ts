/**
 * The ways in use, each with a small number that the Loc-RIB stores per prefix: a million routes over one next hop are a
 * column of equal numbers. Does not know routes; it counts them.
 */

import type { Addr } from '../../router/lib/addr.ts';
import type { FibNextHop, Way, WayKind } from '../ports.ts';

/** Number of "no way". */
export const NO_WAY = 0;

/** A way that can be numbered. */
export class NumberedWay implements Way {
  readonly kind: WayKind;
  readonly nextHops: readonly FibNextHop[];
  readonly isInternal: boolean;
  /** Its number while prefixes use it, else 0. */
  number = NO_WAY;
  /** Prefixes that use it. */
  users = 0;

  constructor(kind: WayKind, nextHops: readonly FibNextHop[], isInternal: boolean) {
    this.kind = kind;
    this.nextHops = nextHops;
    this.isInternal = isInternal;
  }

  /** Unicast by these next hops with these weights. Invariant: equal addresses of equal next hops are one object. */
  leadsTo(hops: readonly FibNextHop[], weights: readonly number[], isInternal: boolean): boolean {
    if (this.isInternal !== isInternal || this.nextHops.length !== hops.length) return false;
    for (let i = 0; i < hops.length; i++) {
      const mine = this.nextHops[i]!;
      const { address, link } = hops[i]!;
      if (mine.address !== address || mine.link !== link || (mine.weight ?? 1) !== weights[i]) return false;
    }
    return true;
  }
}

/** Whether the same next hops share the traffic in the same parts. */
export function areSameHops(a: readonly FibNextHop[], b: readonly FibNextHop[]): boolean {
  return (
    a.length === b.length &&
    a.every((x, i) => {
      const y = b[i]!;
      return x.link === y.link && (x.weight ?? 1) === (y.weight ?? 1) && x.address.equals(y.address);
    })
  );
}

export class WayTable {
  readonly #ways: (NumberedWay | undefined)[] = [undefined];
  readonly #free: number[] = [];
  /** Ways with several next hops, by the address of the first one. */
  readonly #shared = new Map<Addr, NumberedWay[]>();

  /** Ways by number. */
  get all(): readonly (Way | undefined)[] {
    return this.#ways;
  }

  /** Ways in use. */
  get size(): number {
    return this.#ways.length - 1 - this.#free.length;
  }

  get(number: number): NumberedWay | undefined {
    return this.#ways[number];
  }

  /** The way of several next hops (two at least), best first. It stays known while a prefix uses it. */
  several(hops: readonly FibNextHop[], weights: readonly number[], isInternal: boolean): NumberedWay {
    const first = hops[0]!.address;
    let known = this.#shared.get(first);
    if (known === undefined) this.#shared.set(first, (known = []));
    for (const way of known) if (way.leadsTo(hops, weights, isInternal)) return way;
    const nextHops = hops.map(({ address, link }, i) => {
      const weight = weights[i]!;
      return weight === 1 ? { address, link } : { address, link, weight };
    });
    const way = new NumberedWay('unicast', nextHops, isInternal);
    known.push(way);
    return way;
  }

  /** One more prefix uses the way; returns its number. */
  retain(way: NumberedWay): number {
    if (way.users++ > 0) return way.number;
    way.number = this.#free.pop() ?? this.#ways.length;
    this.#ways[way.number] = way;
    return way.number;
  }

  release(number: number): void {
    if (number === NO_WAY) return;
    const way = this.#ways[number]!;
    if (--way.users > 0) return;
    way.number = NO_WAY;
    this.#ways[number] = undefined;
    this.#free.push(number);
    if (way.nextHops.length > 1) this.#forget(way);
  }

  #forget(way: NumberedWay): void {
    const first = way.nextHops[0]!.address;
    const left = (this.#shared.get(first) ?? []).filter((w) => w !== way);
    if (left.length === 0) this.#shared.delete(first);
    else this.#shared.set(first, left);
  }
}
