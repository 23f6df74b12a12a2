/**
 * Longest-prefix match by one hash probe per length that occurs, longest first. Rules name prefixes of few different lengths,
 * so a probe or three is all, for ten prefixes as for ten thousand; router/fib's tables are made for full tables of all lengths
 * and pay a search where many prefixes lie close together.
 */
import { mix32 } from '../fib/hash.ts';
import { type Addr, maskWord } from '../lib/addr.ts';

/** Words of a place: the prefix's words, its length + 1 (0 = free), its answer. */
const Word = { Length: 4, Answer: 5, Size: 8 } as const;
const FIRST_PLACES = 16;

export class TargetTable {
  readonly #isV4: boolean;
  #words = new Int32Array(FIRST_PLACES * Word.Size);
  #mask = FIRST_PLACES - 1;
  #used = 0;
  /** Lengths that occur, longest first. */
  #lengths: readonly number[] = [];

  constructor(family: 4 | 6) {
    this.#isV4 = family === 4;
  }

  /** @param answer positive; 0 = the prefix is no longer here, wider ones answer for it */
  set(addr: Addr, length: number, answer: number): void {
    if (2 * this.#used >= this.#mask) this.#grow();
    if (!this.#lengths.includes(length)) this.#lengths = [...this.#lengths, length].sort((a, b) => b - a);
    const at = this.#isV4
      ? this.#place(0, 0, 0, addr.a3, length)
      : this.#place(addr.a0, addr.a1, addr.a2, addr.a3, length);
    const w = this.#words;
    if (w[at + Word.Length] === 0) this.#used++;
    w[at] = this.#isV4 ? 0 : addr.a0;
    w[at + 1] = this.#isV4 ? 0 : addr.a1;
    w[at + 2] = this.#isV4 ? 0 : addr.a2;
    w[at + 3] = addr.a3;
    w[at + Word.Length] = length + 1;
    w[at + Word.Answer] = answer;
  }

  /** @returns the answer of the longest prefix around an IPv4 address, 0 = none */
  find4(a3: number): number {
    for (const length of this.#lengths) {
      const answer = this.#words[this.#place(0, 0, 0, a3 & maskWord(length), length) + Word.Answer]!;
      if (answer !== 0) return answer;
    }
    return 0;
  }

  find6(a0: number, a1: number, a2: number, a3: number): number {
    for (const length of this.#lengths) {
      const m0 = a0 & maskWord(length < 32 ? length : 32);
      const m1 = length <= 32 ? 0 : a1 & maskWord(length < 64 ? length - 32 : 32);
      const m2 = length <= 64 ? 0 : a2 & maskWord(length < 96 ? length - 64 : 32);
      const m3 = length <= 96 ? 0 : a3 & maskWord(length - 96);
      const answer = this.#words[this.#place(m0, m1, m2, m3, length) + Word.Answer]!;
      if (answer !== 0) return answer;
    }
    return 0;
  }

  /** Where the prefix is, or the free place where it would be. */
  #place(a0: number, a1: number, a2: number, a3: number, length: number): number {
    const w = this.#words;
    let i = mix32(a3 ^ Math.imul(a2, 0x9e3779b1) ^ Math.imul(a1, 0x85ebca77) ^ Math.imul(a0, 0xc2b2ae3d) ^ length);
    for (;;) {
      const at = (i & this.#mask) * Word.Size;
      const there = w[at + Word.Length]!;
      if (there === 0) return at;
      if (there === length + 1 && w[at + 3] === a3 && w[at] === a0 && w[at + 1] === a1 && w[at + 2] === a2) return at;
      i++;
    }
  }

  /** Twice the room, without the prefixes that left. */
  #grow(): void {
    const old = this.#words;
    const live: number[] = [];
    for (let at = 0; at < old.length; at += Word.Size) if (old[at + Word.Answer] !== 0) live.push(at);
    const places = Math.max(FIRST_PLACES, 2 ** Math.ceil(Math.log2(4 * (live.length + 1))));
    this.#words = new Int32Array(places * Word.Size);
    this.#mask = places - 1;
    this.#used = live.length;
    for (const from of live) {
      const length = old[from + Word.Length]! - 1;
      const at = this.#place(old[from]!, old[from + 1]!, old[from + 2]!, old[from + 3]!, length);
      this.#words.set(old.subarray(from, from + Word.Size), at);
    }
  }
}
