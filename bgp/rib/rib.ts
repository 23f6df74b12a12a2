/** The tables of one family, which belong together because they share prefix ids. */

import type { Family } from '../../router/lib/addr.ts';
import type { PrefixTable } from '../../router/lib/prefix-table.ts';
import { AdjRibsIn } from './adj-rib-in.ts';
import type { AttrTable } from './attrs.ts';
import { LocRib, type LocRibInputs } from './loc-rib.ts';
import type { Multipath } from './multipath.ts';
import type { WayTable } from './ways.ts';

export class Rib {
  readonly family: Family;
  readonly prefixes: PrefixTable;
  readonly routes: AdjRibsIn;
  readonly loc: LocRib;

  /**
   * @param prefixes which may be shared with others
   * @param inputs builds what the decision process asks, given the routes it will ask about
   */
  constructor(
    prefixes: PrefixTable,
    table: AttrTable,
    ways: WayTable,
    multipath: Multipath,
    inputs: (routes: AdjRibsIn) => LocRibInputs,
  ) {
    this.family = prefixes.family;
    this.prefixes = prefixes;
    this.routes = new AdjRibsIn(this.prefixes, table);
    this.loc = new LocRib(this.prefixes, this.routes, table, ways, inputs(this.routes), multipath);
  }
}
