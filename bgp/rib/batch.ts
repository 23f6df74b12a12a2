/** The batch of one family on its way to the sink: filled in one turn, handed over, and used again. */

import type { PrefixTable } from '../../router/lib/prefix-table.ts';
import type { RouteBatch, Way } from '../ports.ts';
import type { WayTable } from './ways.ts';

export class RouteColumns implements RouteBatch {
  readonly vrf: number;
  readonly prefixes: PrefixTable;
  readonly ways: readonly (Way | undefined)[];
  readonly prefix: Int32Array;
  readonly way: Int32Array;
  count = 0;

  /** @param capacity most changes of a batch */
  constructor(vrf: number, prefixes: PrefixTable, ways: WayTable, capacity: number) {
    this.vrf = vrf;
    this.prefixes = prefixes;
    this.ways = ways.all;
    this.prefix = new Int32Array(capacity);
    this.way = new Int32Array(capacity);
  }

  add(prefix: number, way: number): void {
    const i = this.count++;
    this.prefix[i] = prefix;
    this.way[i] = way;
  }

  clear(): void {
    this.count = 0;
  }
}
