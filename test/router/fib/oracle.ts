/** The slowest correct longest-prefix match: a list. What the FIB is compared with. */

import { ROUTE_DISTANCE, type RouteSource } from '../../../router/fib/shared.ts';
import { Addr, type Family, Prefix } from '../../../router/lib/addr.ts';

interface OracleRoute {
  readonly prefix: Prefix;
  readonly bySource: Map<RouteSource, number>;
}

export class Oracle {
  readonly #routes = new Map<string, OracleRoute>();

  set(vrf: number, prefix: Prefix, source: RouteSource, link: number | undefined): void {
    const key = `${vrf} ${prefix}`;
    const route = this.#routes.get(key) ?? { prefix, bySource: new Map<RouteSource, number>() };
    if (link === undefined) route.bySource.delete(source);
    else route.bySource.set(source, link);
    if (route.bySource.size === 0) this.#routes.delete(key);
    else this.#routes.set(key, route);
  }

  /** The link a packet takes, 0 without a route. */
  lookup(vrf: number, addr: Addr): number {
    let best: OracleRoute | undefined;
    for (const [key, route] of this.#routes) {
      if (!key.startsWith(`${vrf} `) || !route.prefix.contains(addr)) continue;
      if (best === undefined || route.prefix.length > best.prefix.length) best = route;
    }
    if (best === undefined) return 0;
    const sources = [...best.bySource.keys()].sort((a, b) => ROUTE_DISTANCE[a]! - ROUTE_DISTANCE[b]!);
    return best.bySource.get(sources[0]!)!;
  }

  get prefixes(): Prefix[] {
    return [...this.#routes.values()].map((r) => r.prefix);
  }

  get size(): number {
    return this.#routes.size;
  }
}

/** Seeded generator of words (xoshiro128**), for tests that need many. */
export function words(seed: number): () => number {
  let a = seed | 0;
  let b = 0x9e3779b9 | 0;
  let c = 0x243f6a88 | 0;
  let d = 0xb7e15162 | 0;
  return () => {
    const t = b << 9;
    let r = Math.imul(b, 5);
    r = Math.imul((r << 7) | (r >>> 25), 9);
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = (d << 11) | (d >>> 21);
    return r >>> 0;
  };
}

/** First and last address of a prefix and their neighbours: where an off-by-one shows. */
export function edges(prefix: Prefix): Addr[] {
  const big = toBig(prefix.addr);
  const bits = prefix.family === 4 ? 32n : 128n;
  const last = big + (1n << (bits - BigInt(prefix.length))) - 1n;
  const max = (1n << bits) - 1n;
  return [big - 1n, big, last, last + 1n].filter((x) => x >= 0n && x <= max).map((x) => fromBig(prefix.family, x));
}

function toBig(a: Addr): bigint {
  const w = [a.a0, a.a1, a.a2, a.a3].map((x) => BigInt(x >>> 0));
  return a.family === 4 ? w[3]! : (w[0]! << 96n) | (w[1]! << 64n) | (w[2]! << 32n) | w[3]!;
}

function fromBig(family: Family, x: bigint): Addr {
  const w = (shift: bigint): number => Number((x >> shift) & 0xffffffffn) | 0;
  return family === 4 ? Addr.v4(w(0n)) : Addr.v6(w(96n), w(64n), w(32n), w(0n));
}

/** Longest match for many prefixes: a map of exact prefixes, probed from long to short. */
export class MapOracle {
  readonly #byText = new Map<string, number>();

  set(prefix: Prefix, link: number | undefined): void {
    if (link === undefined) this.#byText.delete(String(prefix));
    else this.#byText.set(String(prefix), link);
  }

  lookup(addr: Addr): number {
    for (let length = addr.family === 4 ? 32 : 128; length >= 0; length--) {
      const link = this.#byText.get(String(Prefix.containing(addr, length)));
      if (link !== undefined) return link;
    }
    return 0;
  }
}
