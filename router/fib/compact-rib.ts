/**
 * The writer's compact RIB of one family: a 32-bit value for each prefix that has a route, a column over a PrefixTable that it
 * shares with the BGP speaker of the VRF. Single thread; knows nothing about what the values mean.
 */
import { maskWord } from '../lib/addr.ts';
import { grown } from '../lib/columns.ts';
import type { PrefixTable } from '../lib/prefix-table.ts';
import { type CoveringMap, CoveringMap4, CoveringMap6, wordMask } from './covering.ts';

/** Prefixes from which on it pays to remember where those of which lengths are: few are covered by another one. */
const MANY = 16_384;
/** Numbers that are looked at with each change until all those are remembered: at once would take longer than a turn may. */
const REMEMBERED = 8;
const NONE = 0;

export class CompactRib {
  readonly prefixes: PrefixTable;
  /** By number of the prefix; 0 = it has no route. */
  #values = new Int32Array(0);
  #size = 0;
  /** Prefixes per length: lengths without any are not probed. */
  readonly #perLength: Int32Array;
  /** Of a large table: complete. */
  #map: CoveringMap | undefined;
  /** One that is being made, in which prefixes with a number below `#marked`, and those that came since, have their marks. */
  #nextMap: CoveringMap | undefined;
  #marked = 0;
  /** What `touch` has read, so that it has to read it. */
  #loaded = 0;

  constructor(prefixes: PrefixTable) {
    this.prefixes = prefixes;
    this.#perLength = new Int32Array(prefixes.family === 4 ? 33 : 129);
  }

  get size(): number {
    return this.#size;
  }

  /** Octets of memory held, prefixes included. */
  get bytes(): number {
    return this.#values.byteLength + this.prefixes.bytes;
  }

  /** Numbers of prefixes with a value are below this. */
  get limit(): number {
    return Math.min(this.#values.length, this.prefixes.limit);
  }

  has(prefix: number): boolean {
    return this.value(prefix) !== NONE;
  }

  /** 0 = none. */
  value(prefix: number): number {
    return prefix >= 0 && prefix < this.#values.length ? this.#values[prefix]! : NONE;
  }

  /** Prefixes with a value. Nothing may change meanwhile. */
  *[Symbol.iterator](): Generator<number> {
    for (let prefix = 0; prefix < this.limit; prefix++) if (this.has(prefix)) yield prefix;
  }

  /** Change a value; neither it nor the new one is 0. */
  setValue(prefix: number, value: number): void {
    this.#values[prefix] = value;
  }

  /** Prefixes of exactly `length` bits. */
  countOfLength(length: number): number {
    return this.#perLength[length]!;
  }

  /** Prefixes of more than `length` bits. */
  countLongerThan(length: number): number {
    let n = 0;
    for (let l = length + 1; l < this.#perLength.length; l++) n += this.#perLength[l]!;
    return n;
  }

  /** Bring into the processor's caches what `insert` and `remove` will read of a prefix: see `VrfTable.touch`. */
  touch(prefix: number): void {
    if (prefix < this.#values.length) this.#loaded ^= this.#values[prefix]!;
    if (this.#map instanceof CoveringMap4) this.#map.touch(this.prefixes.w0[prefix]!);
  }

  /** Give a prefix without one a value other than 0. It is held until `remove`. */
  insert(prefix: number, value: number): void {
    const { prefixes } = this;
    this.#values = grown(this.#values, prefix, NONE, 15);
    this.#values[prefix] = value;
    this.#size++;
    prefixes.retain(prefix);
    this.#perLength[prefixes.length[prefix]!]!++;
    if (this.#size >= MANY || this.#isRemembering) this.#remember(prefix, true);
  }

  /** Take the value of a prefix that has one. Its number may belong to another prefix soon, unless somebody holds it. */
  remove(prefix: number): void {
    const { prefixes } = this;
    this.#perLength[prefixes.length[prefix]!]!--;
    if (this.#isRemembering) this.#remember(prefix, false);
    this.#values[prefix] = NONE;
    prefixes.release(prefix);
    if (--this.#size > 0) return;
    this.#values = new Int32Array(0);
    this.#map = undefined;
    this.#nextMap = undefined;
  }

  /** The longest prefix of at most `maxLength` bits that has a value and contains the address, or -1. */
  findCovering(w0: number, w1: number, w2: number, w3: number, maxLength: number): number {
    const { prefixes } = this;
    const map = this.#map;
    for (let length = maxLength; length >= 0; length--) {
      if (map !== undefined && length <= map.longest && length >= map.shortest) length = map.find(w0, w1, length);
      if (length < 0 || this.#perLength[length] === 0) continue;
      const prefix =
        prefixes.family === 4
          ? prefixes.find(w0 & maskWord(length), 0, 0, 0, length)
          : prefixes.find(
              w0 & wordMask(length, 0),
              w1 & wordMask(length, 1),
              w2 & wordMask(length, 2),
              w3 & wordMask(length, 3),
              length,
            );
      if (prefix >= 0 && this.has(prefix)) return prefix;
    }
    return -1;
  }

  /**
   * The length of the prefix that `findCovering` would find, where that is known without a search: in a large IPv4 table, from 8
   * bits on. Else -1.
   */
  coveringLength(w0: number, maxLength: number): number {
    const map = this.#map;
    if (!(map instanceof CoveringMap4) || maxLength > map.longest || maxLength < map.shortest) return -1;
    const length = map.find(w0, 0, maxLength);
    return length < map.shortest ? -1 : length;
  }

  get #isRemembering(): boolean {
    return this.#map !== undefined || this.#nextMap !== undefined;
  }

  #remember(prefix: number, isThere: boolean): void {
    if (this.#map !== undefined) {
      this.#mark(this.#map, prefix, isThere);
      return;
    }
    if (this.#nextMap === undefined) {
      this.#nextMap = this.prefixes.family === 4 ? new CoveringMap4() : new CoveringMap6(this.#perLength);
      this.#marked = 0;
    }
    const map = this.#nextMap;
    this.#mark(map, prefix, isThere);
    const end = Math.min(this.#marked + REMEMBERED, this.limit);
    for (; this.#marked < end; this.#marked++)
      // The one that is about to go has its value still.
      if (this.#marked !== prefix && this.has(this.#marked)) this.#mark(map, this.#marked, true);
    if (this.#marked < this.limit) return;
    this.#map = map;
    this.#nextMap = undefined;
  }

  #mark(map: CoveringMap, prefix: number, isThere: boolean): void {
    const { family, w0, w1, length: lengths } = this.prefixes;
    const length = lengths[prefix]!;
    if (length < map.shortest || length > map.longest) return;
    map.mark(w0[prefix]!, family === 4 ? 0 : w1[prefix]!, length, isThere);
  }
}
