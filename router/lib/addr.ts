/**
 * IP addresses and prefixes as values, for the control plane.
 * In the data plane an address is four int32 words, IPv4 as its IPv4-mapped form (::ffff:a.b.c.d, RFC 4291 §2.5.5.2),
 * so that both families share one demultiplexing key. Text is parsed strictly and printed as RFC 5952 says.
 */

export type Family = 4 | 6;

/** Word 2 of an IPv4-mapped address. */
export const V4_MAPPED_WORD = 0xffff;

/** An IP address. Invariant: IPv4 has a0 = a1 = 0, a2 = 0xffff and its 32 bits in a3; all words are int32. */
export class Addr {
  readonly family: Family;
  readonly a0: number;
  readonly a1: number;
  readonly a2: number;
  readonly a3: number;

  private constructor(family: Family, a0: number, a1: number, a2: number, a3: number) {
    this.family = family;
    this.a0 = a0 | 0;
    this.a1 = a1 | 0;
    this.a2 = a2 | 0;
    this.a3 = a3 | 0;
  }

  static v4(bits: number): Addr {
    return new Addr(4, 0, 0, V4_MAPPED_WORD, bits);
  }

  static v6(a0: number, a1: number, a2: number, a3: number): Addr {
    return new Addr(6, a0, a1, a2, a3);
  }

  /** From four data-plane words: IPv4-mapped words give an IPv4 address. */
  static fromWords(a0: number, a1: number, a2: number, a3: number): Addr {
    return a0 === 0 && a1 === 0 && a2 === V4_MAPPED_WORD ? Addr.v4(a3) : Addr.v6(a0, a1, a2, a3);
  }

  /** From 4 or 16 octets in network order; any other length gives undefined. */
  static fromBytes(b: Uint8Array): Addr | undefined {
    const word = (at: number): number => (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
    if (b.length === 4) return Addr.v4(word(0));
    if (b.length === 16) return Addr.v6(word(0), word(4), word(8), word(12));
    return undefined;
  }

  /** Strict text form without zone: dotted quad without leading zeros, or RFC 4291 §2.2 text. */
  static parse(text: string): Addr | undefined {
    return text.includes(':') ? parseV6(text) : parseV4(text);
  }

  toBytes(): Uint8Array {
    const b = new Uint8Array(this.family === 4 ? 4 : 16);
    const put = (at: number, w: number): void => {
      b[at] = w >>> 24;
      b[at + 1] = w >>> 16;
      b[at + 2] = w >>> 8;
      b[at + 3] = w;
    };
    if (this.family === 4) put(0, this.a3);
    else {
      put(0, this.a0);
      put(4, this.a1);
      put(8, this.a2);
      put(12, this.a3);
    }
    return b;
  }

  equals(o: Addr): boolean {
    return this.family === o.family && this.a0 === o.a0 && this.a1 === o.a1 && this.a2 === o.a2 && this.a3 === o.a3;
  }

  /** Order by family and number: negative when this address is the lower one. */
  compare(o: Addr): number {
    return (
      this.family - o.family ||
      (this.a0 >>> 0) - (o.a0 >>> 0) ||
      (this.a1 >>> 0) - (o.a1 >>> 0) ||
      (this.a2 >>> 0) - (o.a2 >>> 0) ||
      (this.a3 >>> 0) - (o.a3 >>> 0)
    );
  }

  get isLinkLocal(): boolean {
    return this.family === 6 ? (this.a0 & 0xffc00000) === (0xfe800000 | 0) : this.a3 >>> 16 === 0xa9fe;
  }

  get isLoopback(): boolean {
    return this.family === 4
      ? this.a3 >>> 24 === 127
      : this.a0 === 0 && this.a1 === 0 && this.a2 === 0 && this.a3 === 1;
  }

  get isUnspecified(): boolean {
    return this.a0 === 0 && this.a1 === 0 && this.a3 === 0 && (this.family === 4 || this.a2 === 0);
  }

  get isMulticast(): boolean {
    return this.family === 4 ? this.a3 >>> 28 === 0xe : this.a0 >>> 24 === 0xff;
  }

  toString(): string {
    return this.family === 4 ? printV4(this.a3) : printV6([this.a0, this.a1, this.a2, this.a3]);
  }
}

/** An address prefix. Invariant: host bits are zero. */
export class Prefix {
  readonly addr: Addr;
  readonly length: number;

  private constructor(addr: Addr, length: number) {
    this.addr = addr;
    this.length = length;
  }

  get family(): Family {
    return this.addr.family;
  }

  /** The prefix of `length` bits that contains `addr` (host bits are cleared); undefined when the length is out of range. */
  static containing(addr: Addr, length: number): Prefix | undefined {
    const max = addr.family === 4 ? 32 : 128;
    if (!Number.isInteger(length) || length < 0 || length > max) return undefined;
    if (addr.family === 4) return new Prefix(Addr.v4(addr.a3 & maskWord(length)), length);
    const m = (i: number): number => maskWord(Math.min(32, Math.max(0, length - i * 32)));
    return new Prefix(Addr.v6(addr.a0 & m(0), addr.a1 & m(1), addr.a2 & m(2), addr.a3 & m(3)), length);
  }

  /** Strict text form ADDR/LENGTH; host bits must be zero. */
  static parse(text: string): Prefix | undefined {
    const loose = Prefix.parseLoose(text);
    return loose?.prefix.addr.equals(loose.addr) ? loose.prefix : undefined;
  }

  /** ADDR/LENGTH where host bits may be set, as in an interface address. A missing length means a host prefix. */
  static parseLoose(text: string): { addr: Addr; prefix: Prefix } | undefined {
    const slash = text.indexOf('/');
    const addr = Addr.parse(slash < 0 ? text : text.slice(0, slash));
    if (addr === undefined) return undefined;
    const lengthText = slash < 0 ? String(addr.family === 4 ? 32 : 128) : text.slice(slash + 1);
    if (!/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
    const prefix = Prefix.containing(addr, Number(lengthText));
    return prefix === undefined ? undefined : { addr, prefix };
  }

  contains(a: Addr): boolean {
    if (a.family !== this.family) return false;
    return Prefix.containing(a, this.length)!.addr.equals(this.addr);
  }

  equals(o: Prefix): boolean {
    return this.length === o.length && this.addr.equals(o.addr);
  }

  toString(): string {
    return `${this.addr}/${this.length}`;
  }
}

/** Network mask of `length` (0..32) leading one bits, as int32. */
export function maskWord(length: number): number {
  return length === 0 ? 0 : (-1 << (32 - length)) | 0;
}

function parseV4(text: string): Addr | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let bits = 0;
  for (const part of parts) {
    if (!/^(0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return undefined;
    bits = (bits << 8) | Number(part);
  }
  return Addr.v4(bits);
}

function parseV6(text: string): Addr | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1]!, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const gap = 8 - head.length - tail.length;
  if (halves.length === 2 ? gap < 1 : gap !== 0) return undefined;
  const g = [...head, ...new Array<number>(gap).fill(0), ...tail];
  const w = (i: number): number => (g[i]! << 16) | g[i + 1]!;
  return Addr.v6(w(0), w(2), w(4), w(6));
}

function groups(text: string, mayEndInV4: boolean): number[] | undefined {
  if (text === '') return [];
  const out: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i]!;
    if (mayEndInV4 && i === parts.length - 1 && part.includes('.')) {
      const v4 = parseV4(part);
      if (v4 === undefined) return undefined;
      out.push(v4.a3 >>> 16, v4.a3 & 0xffff);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) out.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return out;
}

function printV4(bits: number): string {
  return `${bits >>> 24}.${(bits >>> 16) & 255}.${(bits >>> 8) & 255}.${bits & 255}`;
}

/** RFC 5952 §4: lower case, no leading zeros, the longest run of two or more zero groups (the first of equals) as "::". */
function printV6(words: readonly number[]): string {
  const g = words.flatMap((w) => [w >>> 16, w & 0xffff]);
  // RFC 5952 §5: IPv4-mapped addresses end in dotted-decimal text.
  if (words[0] === 0 && words[1] === 0 && words[2] === V4_MAPPED_WORD) return `::ffff:${printV4(words[3]!)}`;
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; ) {
    let n = 0;
    while (i + n < 8 && g[i + n] === 0) n++;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
    i += Math.max(n, 1);
  }
  const hex = (part: readonly number[]): string => part.map((x) => x.toString(16)).join(':');
  return best < 0 ? hex(g) : `${hex(g.slice(0, best))}::${hex(g.slice(best + bestLength))}`;
}
