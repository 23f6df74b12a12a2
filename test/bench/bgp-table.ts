/**
 * A full Internet table for benchmarks of BGP: real prefixes with their origin AS, from the address ranges of
 * `@ip-location-db/asn`, filled up with more-specific ones of the same origin where the ranges are too few, and grouped
 * into attribute sets as a feed has them: each set belongs to one origin and covers five prefixes on average.
 * The same input and seed give the same table. A load, not the truth about anybody's routes.
 */
import type { Family } from '../../router/lib/addr.ts';
import { Random } from '../../router/lib/rand.ts';

/** Prefixes with their origin AS. `high` is the address (IPv4) or its upper 32 bits, `low` the next 32 bits (IPv6 only). */
export interface Origins {
  readonly family: Family;
  readonly count: number;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly length: Uint8Array;
  readonly asn: Uint32Array;
}

/** Prefixes in the order of their attribute sets: set `s` has those from `setStart[s]` to before `setStart[s + 1]`. */
export interface Table {
  readonly family: Family;
  readonly count: number;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly length: Uint8Array;
  readonly sets: number;
  readonly setStart: Uint32Array;
  /** The AS path of a set without its first AS, which is the sender's: from `pathStart[s]` to before `pathStart[s + 1]`. */
  readonly path: Uint32Array;
  readonly pathStart: Uint32Array;
}

/** Longest prefixes that are announced worldwide. */
const LONGEST = { 4: 24, 6: 48 } as const;
/** ASes that carry others' routes. */
const TRANSITS = 400;
const MAX_PER_SET = 9;

const maskOf = (length: number): number => (length <= 0 ? 0 : length >= 32 ? 0xffffffff : (~0 << (32 - length)) >>> 0);

class Builder {
  readonly family: Family;
  count = 0;
  high = new Uint32Array(1 << 16);
  low = new Uint32Array(1 << 16);
  length = new Uint8Array(1 << 16);
  asn = new Uint32Array(1 << 16);
  readonly #seen = new Set<number | string>();

  constructor(family: Family) {
    this.family = family;
  }

  /** False when the prefix is there already. */
  add(high: number, low: number, length: number, asn: number): boolean {
    const key = this.family === 4 ? high * 64 + length : `${high} ${low} ${length}`;
    if (this.#seen.has(key)) return false;
    this.#seen.add(key);
    const i = this.count++;
    if (i === this.high.length) this.#grow();
    this.high[i] = high;
    this.low[i] = low;
    this.length[i] = length;
    this.asn[i] = asn;
    return true;
  }

  #grow(): void {
    const size = this.high.length * 2;
    const wider = (a: Uint32Array): Uint32Array<ArrayBuffer> => {
      const b = new Uint32Array(size);
      b.set(a);
      return b;
    };
    this.high = wider(this.high);
    this.low = wider(this.low);
    this.asn = wider(this.asn);
    const length = new Uint8Array(size);
    length.set(this.length);
    this.length = length;
  }
}

/**
 * Lines `START,END,ASN,...` with addresses as decimal numbers, into prefixes that cover the ranges exactly. What is longer
 * than /24 (IPv4) or /48 (IPv6) is left out, as in the default-free zone.
 */
export function parseOrigins(family: Family, text: string): Origins {
  const out = new Builder(family);
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\n', at);
    const line = text.slice(at, end < 0 ? text.length : end);
    at = end < 0 ? text.length : end + 1;
    const [first, last, asn] = line.split(',', 3);
    if (asn === undefined || isReserved(Number(asn))) continue;
    if (family === 4) cover4(out, Number(first), Number(last), Number(asn));
    else cover6(out, BigInt(first!), BigInt(last!), Number(asn));
  }
  return out;
}

/** AS 0, AS_TRANS, and numbers for documentation and private use (RFC 7607, 6793, 5398, 6996): no origin of a route. */
function isReserved(asn: number): boolean {
  return asn === 0 || asn === 23456 || (asn >= 64496 && asn <= 65551) || asn >= 4200000000;
}

function cover4(out: Builder, first: number, last: number, asn: number): void {
  for (let at = first; at <= last; ) {
    let size = at === 0 ? 2 ** 32 : at & -at || 2 ** 31;
    if (size < 0) size = 2 ** 31;
    while (at + size - 1 > last) size /= 2;
    const length = 32 - Math.log2(size);
    if (length <= LONGEST[4] && length >= 8) out.add(at, 0, length, asn);
    at += size;
  }
}

/** In units of /48: what is smaller is not announced. */
function cover6(out: Builder, first: bigint, last: bigint, asn: number): void {
  const unit = 80n;
  const end = Number((last + 1n) >> unit);
  for (let at = Number((first + (1n << unit) - 1n) >> unit); at < end; ) {
    let size = 1;
    while (at % (size * 2) === 0 && at + size * 2 <= end && size < 2 ** 32) size *= 2;
    out.add(Math.floor(at / 65536), (at % 65536) * 65536, 48 - Math.log2(size), asn);
    at += size;
  }
}

/** A table of exactly `count` prefixes. */
export function makeTable(origins: Origins, count: number, seed: number): Table {
  const random = new Random(seed);
  const all = chosen(origins, count, random);
  const order = new Uint32Array(count).map((_, i) => i).sort((a, b) => all.asn[a]! - all.asn[b]! || a - b);
  // Where each set begins in `order`; then the sets are shuffled: a feed has no order people would know.
  const starts: number[] = [];
  for (let i = 0; i < count; ) {
    starts.push(i);
    const limit = i + 1 + random.below(MAX_PER_SET);
    const asn = all.asn[order[i]!]!;
    do i++;
    while (i < limit && i < count && all.asn[order[i]!] === asn);
  }
  const sets = starts.length;
  const shuffled = new Uint32Array(sets).map((_, i) => i);
  for (let i = sets - 1; i > 0; i--) {
    const j = random.below(i + 1);
    [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
  }
  const transits = Array.from({ length: TRANSITS }, () => all.asn[random.below(count)]!);
  const table = {
    family: origins.family,
    count,
    high: new Uint32Array(count),
    low: new Uint32Array(count),
    length: new Uint8Array(count),
    sets,
    setStart: new Uint32Array(sets + 1),
    pathStart: new Uint32Array(sets + 1),
  };
  const path: number[] = [];
  let n = 0;
  for (let s = 0; s < sets; s++) {
    const from = starts[shuffled[s]!]!;
    const to = starts[shuffled[s]! + 1] ?? count;
    table.setStart[s] = n;
    table.pathStart[s] = path.length;
    path.push(...pathTo(all.asn[order[from]!]!, transits, random));
    for (let i = from; i < to; i++, n++) {
      const p = order[i]!;
      table.high[n] = all.high[p]!;
      table.low[n] = all.low[p]!;
      table.length[n] = all.length[p]!;
    }
  }
  table.setStart[sets] = n;
  table.pathStart[sets] = path.length;
  return { ...table, path: Uint32Array.from(path) };
}

/** With the sender's AS in front a path has three to six ASes. */
function pathTo(origin: number, transits: readonly number[], random: Random): number[] {
  const path: number[] = [];
  for (let hops = 1 + random.below(4); hops > 0; hops--) {
    // Few carry most: a skewed choice.
    const transit = transits[Math.floor((random.below(1 << 20) / (1 << 20)) ** 2 * transits.length)]!;
    if (transit !== origin && path.at(-1) !== transit) path.push(transit);
  }
  if (path.length === 0) path.push(origin === transits[0] ? transits[1]! : transits[0]!);
  path.push(origin);
  return path;
}

/** `count` of the prefixes, or all of them and more-specific ones of the same origins. */
function chosen(origins: Origins, count: number, random: Random): Origins {
  const out = new Builder(origins.family);
  const { high, low, length, asn } = origins;
  if (origins.count >= count) {
    const step = origins.count / count;
    for (let i = 0; i < count; i++) {
      const at = Math.floor(i * step);
      out.add(high[at]!, low[at]!, length[at]!, asn[at]!);
    }
    return out;
  }
  for (let i = 0; i < origins.count; i++) out.add(high[i]!, low[i]!, length[i]!, asn[i]!);
  const longest = LONGEST[origins.family];
  const splittable = new Uint32Array(origins.count).map((_, i) => i).filter((i) => length[i]! < longest);
  if (splittable.length === 0) throw new RangeError('no prefix can be split');
  for (let tries = 0; out.count < count; tries++) {
    if (tries > count * 50) throw new RangeError(`cannot find ${count} prefixes`);
    const i = splittable[random.below(splittable.length)]!;
    const short = length[i]! + 1;
    const to = random.below(3) > 0 ? longest : short + random.below(longest - short + 1);
    const hostHigh = random.int32() & ~maskOf(length[i]!) & maskOf(to);
    const hostLow = random.int32() & ~maskOf(length[i]! - 32) & maskOf(to - 32);
    out.add((high[i]! | hostHigh) >>> 0, (low[i]! | hostLow) >>> 0, to, asn[i]!);
  }
  return out;
}

/** Prefixes of the sizes DN42 has (not its real ones): 1,350 of IPv4 and 1,300 of IPv6, one origin for each two. */
export function dn42Tables(): readonly [Table, Table] {
  const random = new Random(42);
  const tables = ([4, 6] as const).map((family) => {
    const out = new Builder(family);
    const count = family === 4 ? 1350 : 1300;
    while (out.count < count) {
      const asn = 4242420000 + (out.count >> 1);
      if (family === 6) out.add((0xfd000000 | random.below(1 << 24)) >>> 0, random.below(1 << 16) * 65536, 48, asn);
      else {
        const length = 24 + random.below(5);
        out.add(((0xac140000 | random.below(1 << 18)) & maskOf(length)) >>> 0, 0, length, asn);
      }
    }
    return makeTable(out, count, 42);
  });
  return [tables[0]!, tables[1]!];
}
