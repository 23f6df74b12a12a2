/**
 * Which rule of a list is the first for a protocol and port: the list cut into intervals of ports, each with its answer, so
 * that the cost does not grow with the number of rules. All lists share one array of words; equal ones are one.
 *
 * A list is eight words: for TCP and for UDP the place and number of its intervals, then the answers for ICMP, ICMPv6 and any
 * other protocol. Intervals are their first ports, then their rules; more than SHORT of them are
 * two levels of pages instead: 256 words by the port's high octet (a rule, or a page), and pages of 256 rules.
 */
import { Protocol, type Rule } from './rule.ts';

/** No rule. Larger than every index, so that the smaller of two answers is the earlier rule. */
export const NO_RULE = 0x7fffffff;

/** Protocols without ports are asked about with this one. */
export const NO_PORT = -1;
const PORTS = 65536;
/** Most intervals that are searched one by one. */
const SHORT = 12;
/** Marks a list of pages in the place of the number of intervals, and a page among the words of the first level. */
const PAGED = -1;

/** Words of a list. */
const Word = { TcpAt: 0, TcpCount: 1, UdpAt: 2, UdpCount: 3, Icmp: 4, Icmp6: 5, Other: 6, Size: 8 } as const;

/** An interval of ports and its rule. */
type Interval = readonly [first: number, rule: number];

export class PortTables {
  readonly #rules: readonly Rule[];
  #words = new Int32Array(1024);
  #used = 0;
  /** Lists and intervals by their text. */
  readonly #known = new Map<string, number>();

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  /** Number of words so far; what is below never changes. */
  get size(): number {
    return this.#used;
  }

  /** The words from `start` on, as the kernel backend writes them into its maps. */
  words(start: number): Int32Array {
    return this.#words.subarray(start, this.#used);
  }

  /** @param list indices of rules, ascending; only their protocols and ports count here @returns the list's number */
  add(list: readonly number[]): number {
    const key = list.join();
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const [tcpAt, tcpCount] = this.#intervals(intervalsOf(this.#rules, list, Protocol.Tcp));
    const [udpAt, udpCount] = this.#intervals(intervalsOf(this.#rules, list, Protocol.Udp));
    const at = this.#reserve(Word.Size);
    const w = this.#words;
    w[at + Word.TcpAt] = tcpAt;
    w[at + Word.TcpCount] = tcpCount;
    w[at + Word.UdpAt] = udpAt;
    w[at + Word.UdpCount] = udpCount;
    w[at + Word.Icmp] = this.#firstOf(list, Protocol.Icmp);
    w[at + Word.Icmp6] = this.#firstOf(list, Protocol.Icmp6);
    w[at + Word.Other] = this.#firstOf(list, undefined);
    this.#known.set(key, at);
    return at;
  }

  /** @returns index of the first rule of the list, or NO_RULE */
  find(list: number, protocol: number, port: number): number {
    const w = this.#words;
    if (protocol === Protocol.Tcp) return this.#search(w[list + Word.TcpAt]!, w[list + Word.TcpCount]!, port);
    if (protocol === Protocol.Udp) return this.#search(w[list + Word.UdpAt]!, w[list + Word.UdpCount]!, port);
    if (protocol === Protocol.Icmp) return w[list + Word.Icmp]!;
    return w[list + (protocol === Protocol.Icmp6 ? Word.Icmp6 : Word.Other)]!;
  }

  #search(at: number, count: number, port: number): number {
    const w = this.#words;
    if (count === PAGED) {
      const page = w[at + (port >>> 8)]!;
      return page >= 0 ? page : w[(page & NO_RULE) + (port & 255)]!;
    }
    let i = count - 1;
    while (w[at + i]! > port) i--;
    return w[at + count + i]!;
  }

  /** The first rule for a protocol without ports; undefined = one that no rule can name. */
  #firstOf(list: readonly number[], protocol: number | undefined): number {
    const found = list.find((i) => {
      const { protocols, ports } = this.#rules[i]!.match;
      return ports.length === 0 && (protocols.length === 0 || (protocol !== undefined && protocols.includes(protocol)));
    });
    return found ?? NO_RULE;
  }

  #intervals(list: readonly Interval[]): readonly [at: number, count: number] {
    const key = `:${list.map(([first, rule]) => `${first} ${rule}`).join()}`;
    const count = list.length > SHORT ? PAGED : list.length;
    let at = this.#known.get(key);
    if (at === undefined) {
      at = count === PAGED ? this.#pages(list) : this.#short(list);
      this.#known.set(key, at);
    }
    return [at, count];
  }

  #short(list: readonly Interval[]): number {
    const at = this.#reserve(2 * list.length);
    for (const [i, [first, rule]] of list.entries()) {
      this.#words[at + i] = first;
      this.#words[at + list.length + i] = rule;
    }
    return at;
  }

  #pages(list: readonly Interval[]): number {
    const at = this.#reserve(256);
    let i = 0;
    for (let high = 0; high < 256; high++) {
      const start = high << 8;
      while (i + 1 < list.length && list[i + 1]![0] <= start) i++;
      const isUniform = i + 1 === list.length || list[i + 1]![0] > start + 255;
      if (isUniform) {
        this.#words[at + high] = list[i]![1];
        continue;
      }
      const page = this.#reserve(256);
      for (let low = 0; low < 256; low++) {
        while (i + 1 < list.length && list[i + 1]![0] <= start + low) i++;
        this.#words[page + low] = list[i]![1];
      }
      this.#words[at + high] = page | ~NO_RULE;
    }
    return at;
  }

  #reserve(words: number): number {
    const at = this.#used;
    this.#used += words;
    if (this.#used > this.#words.length) {
      const grown = new Int32Array(Math.max(2 * this.#words.length, this.#used));
      grown.set(this.#words);
      this.#words = grown;
    }
    return at;
  }
}

/** Rules in their order take the ports nobody before them took. */
function intervalsOf(rules: readonly Rule[], list: readonly number[], protocol: number): Interval[] {
  const taken: Interval[] = [];
  /** Ports nobody took yet: ascending, disjoint [first, last]. */
  let free: [number, number][] = [[0, PORTS - 1]];
  for (const i of list) {
    if (free.length === 0) break;
    const { protocols, ports } = rules[i]!.match;
    if (protocols.length > 0 && !protocols.includes(protocol)) continue;
    if (ports.length === 0) {
      for (const [first] of free) taken.push([first, i]);
      free = [];
    }
    for (const { first, last } of ports) takeRange(free, first, last, i, taken);
  }
  for (const [first] of free) taken.push([first, NO_RULE]);
  taken.sort((a, b) => a[0] - b[0]);
  return taken.filter(([, rule], i) => i === 0 || taken[i - 1]![1] !== rule);
}

/** Move what is free of [first, last] to `taken`. */
function takeRange(free: [number, number][], first: number, last: number, rule: number, taken: Interval[]): void {
  let at = firstEndingFrom(free, first);
  while (at < free.length && free[at]![0] <= last) {
    const [from, to] = free[at]!;
    taken.push([Math.max(from, first), rule]);
    const rest: [number, number][] = [];
    if (from < first) rest.push([from, first - 1]);
    if (to > last) rest.push([last + 1, to]);
    free.splice(at, 1, ...rest);
    if (to > last) break;
    at += from < first ? 1 : 0;
  }
}

/** Index of the first interval that ends at `port` or later. */
function firstEndingFrom(free: readonly (readonly [number, number])[], port: number): number {
  let low = 0;
  let high = free.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (free[middle]![1] < port) low = middle + 1;
    else high = middle;
  }
  return low;
}
