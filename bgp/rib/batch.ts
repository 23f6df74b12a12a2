/** The batch of one family on its way to the sink: filled in one turn, handed over, and used again. */

import type { Family } from '../../router/lib/addr.ts';
import type { RouteBatch, Way } from '../ports.ts';
import type { PrefixTable } from './prefixes.ts';
import type { WayTable } from './ways.ts';

const EMPTY = new Int32Array(0);

export class RouteColumns implements RouteBatch {
  readonly vrf: number;
  readonly family: Family;
  readonly ways: readonly (Way | undefined)[];
  readonly w0: Int32Array;
  readonly w1: Int32Array;
  readonly w2: Int32Array;
  readonly w3: Int32Array;
  readonly length: Uint8Array;
  readonly way: Int32Array;
  count = 0;
  readonly #prefixes: PrefixTable;

  /** @param capacity most changes of a batch */
  constructor(vrf: number, prefixes: PrefixTable, ways: WayTable, capacity: number) {
    this.vrf = vrf;
    this.family = prefixes.family;
    this.#prefixes = prefixes;
    this.ways = ways.all;
    const column = (isUsed: boolean): Int32Array => (isUsed ? new Int32Array(capacity) : EMPTY);
    this.w0 = column(true);
    this.w1 = column(this.family === 6);
    this.w2 = column(this.family === 6);
    this.w3 = column(this.family === 6);
    this.length = new Uint8Array(capacity);
    this.way = column(true);
  }

  add(prefix: number, way: number): void {
    const p = this.#prefixes;
    const i = this.count++;
    this.w0[i] = p.w0[prefix]!;
    if (this.family === 6) {
      this.w1[i] = p.w1[prefix]!;
      this.w2[i] = p.w2[prefix]!;
      this.w3[i] = p.w3[prefix]!;
    }
    this.length[i] = p.length[prefix]!;
    this.way[i] = way;
  }

  clear(): void {
    this.count = 0;
  }
}
