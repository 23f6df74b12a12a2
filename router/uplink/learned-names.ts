/**
 * Which names our DNS answers gave for which addresses, for rules by domain. Bounded: the answer that is the oldest makes room
 * for a new one. Time and answers in, the addresses whose names changed out; holds no rules.
 */
import type { Addr } from '../lib/addr.ts';
import type { Instant } from '../lib/clock.ts';

/** Addresses remembered at most, and names of one of them. */
const MAX_ADDRESSES = 65_536;
const MAX_NAMES = 16;
/** Programs go on using an address after its record's time to live: browsers and resolvers in libraries do so for minutes. */
const LEAST_MS = 10 * 60_000;

interface Entry {
  readonly addr: Addr;
  /** Name -> when it is forgotten. */
  readonly names: Map<string, Instant>;
}

export class LearnedNames {
  readonly #entries = new Map<string, Entry>();
  /** The names of `addr` are other ones now; none when it is forgotten. */
  onChange: (addr: Addr, names: readonly string[]) => void = () => {};

  get size(): number {
    return this.#entries.size;
  }

  /** Every address with its names. */
  *all(): Generator<readonly [Addr, readonly string[]]> {
    for (const e of this.#entries.values()) yield [e.addr, [...e.names.keys()]];
  }

  namesOf(addr: Addr): readonly string[] {
    return [...(this.#entries.get(String(addr))?.names.keys() ?? [])];
  }

  /** An answer said that `name` (any case, perhaps with a dot at the end) has the address. @param ttlS its time to live */
  learn(name: string, addr: Addr, ttlS: number, now: Instant): void {
    const plain = name.toLowerCase().replace(/\.$/, '');
    const key = String(addr);
    const until = (now + Math.max(ttlS * 1000, LEAST_MS)) as Instant;
    const known = this.#entries.get(key);
    const entry = known ?? { addr, names: new Map<string, Instant>() };
    const isNew = !entry.names.has(plain);
    // Both maps are kept in the order of the last answer: what comes first is the oldest.
    entry.names.delete(plain);
    entry.names.set(plain, until);
    if (entry.names.size > MAX_NAMES) entry.names.delete(first(entry.names)!);
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (isNew) this.onChange(addr, [...entry.names.keys()]);
    if (this.#entries.size > MAX_ADDRESSES) this.#forget(first(this.#entries)!);
  }

  /** Forget what is over; a few entries per call, oldest answers first. @returns whether more may be over */
  expire(now: Instant, budget = 256): boolean {
    for (const [key, entry] of this.#entries) {
      if (budget-- <= 0) return true;
      const before = entry.names.size;
      for (const [name, until] of entry.names) if (until <= now) entry.names.delete(name);
      if (entry.names.size === 0) this.#forget(key);
      else if (entry.names.size < before) this.onChange(entry.addr, [...entry.names.keys()]);
      else if (before > 0) break;
    }
    return false;
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key)!;
    this.#entries.delete(key);
    this.onChange(entry.addr, []);
  }
}

function first<K>(map: ReadonlyMap<K, unknown>): K | undefined {
  return map.keys().next().value;
}
