/**
 * Validated ROA payloads (VRPs): "this AS may originate this prefix, and what is inside it up to this length".
 * Read first: RFC 6811 §2. A list of them is a set of columns, because a source may have half a million.
 */

import type { Family, Prefix } from '../../router/lib/addr.ts';
import { prefixFromWords } from '../wire/nlri.ts';

/** One payload as a value, for display and tests. */
export interface Vrp {
  readonly prefix: Prefix;
  /** Longest prefix length the AS may announce; never shorter than the prefix itself. */
  readonly maxLength: number;
  /** 0: nobody may originate the prefix (RFC 6483 §4). */
  readonly asn: number;
}

/** Words of one row: address left-aligned as in bgp/wire/nlri.ts, then the AS. */
const ROW_WORDS = 5;
/** Octets of one row: family, length, maximum length, 1 = withdrawn. */
const ROW_OCTETS = 4;
const FIRST_ROWS = 64;

/** A growing list of payloads, each announced or withdrawn. */
export class VrpList {
  #words = new Int32Array(FIRST_ROWS * ROW_WORDS);
  #octets = new Uint8Array(FIRST_ROWS * ROW_OCTETS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Append a row. The caller has checked lengths and host bits. */
  add(
    family: Family,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    length: number,
    maxLength: number,
    asn: number,
    isWithdrawn = false,
  ): void {
    const row = this.#size++;
    if (row * ROW_WORDS >= this.#words.length) this.#grow();
    const w = row * ROW_WORDS;
    this.#words[w] = w0;
    this.#words[w + 1] = w1;
    this.#words[w + 2] = w2;
    this.#words[w + 3] = w3;
    this.#words[w + 4] = asn;
    const o = row * ROW_OCTETS;
    this.#octets[o] = family;
    this.#octets[o + 1] = length;
    this.#octets[o + 2] = maxLength;
    this.#octets[o + 3] = isWithdrawn ? 1 : 0;
  }

  addVrp({ prefix, maxLength, asn }: Vrp, isWithdrawn = false): void {
    const { addr, length } = prefix;
    if (addr.family === 4) this.add(4, addr.a3, 0, 0, 0, length, maxLength, asn, isWithdrawn);
    else this.add(6, addr.a0, addr.a1, addr.a2, addr.a3, length, maxLength, asn, isWithdrawn);
  }

  /** Word `i` (0-3) of the address in a row. */
  word(row: number, i: number): number {
    return this.#words[row * ROW_WORDS + i]!;
  }

  asn(row: number): number {
    return this.#words[row * ROW_WORDS + 4]! >>> 0;
  }

  family(row: number): Family {
    return this.#octets[row * ROW_OCTETS] as Family;
  }

  length(row: number): number {
    return this.#octets[row * ROW_OCTETS + 1]!;
  }

  maxLength(row: number): number {
    return this.#octets[row * ROW_OCTETS + 2]!;
  }

  isWithdrawn(row: number): boolean {
    return this.#octets[row * ROW_OCTETS + 3] === 1;
  }

  prefix(row: number): Prefix {
    const w = row * ROW_WORDS;
    const words = this.#words;
    return prefixFromWords(this.family(row), words[w]!, words[w + 1]!, words[w + 2]!, words[w + 3]!, this.length(row));
  }

  vrp(row: number): Vrp {
    return { prefix: this.prefix(row), maxLength: this.maxLength(row), asn: this.asn(row) };
  }

  #grow(): void {
    const words = new Int32Array(this.#words.length * 2);
    words.set(this.#words);
    this.#words = words;
    const octets = new Uint8Array(this.#octets.length * 2);
    octets.set(this.#octets);
    this.#octets = octets;
  }
}
