/**
 * The single writer of the FIB (in the routing worker): takes route changes of all sources, keeps the compact RIB, and
 * patches or swaps the tables readers search. Also answers slow-path questions: `mlshim route get` and `route show`.
 * Does not resolve recursive next hops: every next hop names its link.
 */
import type { Addr, Family, Prefix } from '../lib/addr.ts';
import type { PrefixTable } from '../lib/prefix-table.ts';
import type { CompactRib } from './compact-rib.ts';
import { type Group, GroupTable } from './nexthop.ts';
import {
  Control,
  type FibShared,
  ROUTE_DISTANCE,
  type RouteChange,
  type RouteColumns,
  type RouteInfo,
  RouteKind,
} from './shared.ts';
import { BUILT_AT_ONCE, VrfTable } from './table.ts';

/** Size of one table, for metrics and benchmarks. */
export interface TableStats {
  readonly vrf: number;
  readonly family: Family;
  readonly routes: number;
  readonly shape: string;
  readonly sharedBytes: number;
  readonly privateBytes: number;
}

export class FibWriter {
  readonly #control = new Int32Array(new SharedArrayBuffer(Control.Words * 4));
  readonly #groups = new GroupTable();
  readonly #tables = new Map<number, VrfTable>();
  /** Tables of VRFs that are gone, and the next prefix of each whose groups are to be given back. */
  readonly #leaving: { readonly table: VrfTable; at: number }[] = [];
  /** `identity` of each table when the last bundle was made. */
  readonly #published = new Map<VrfTable, SharedArrayBuffer>();
  /** Told before routes of a prefix change, while its number is what it was: another table that is to follow this one. */
  follower: ((vrf: number, prefixes: PrefixTable, prefix: number) => void) | undefined;
  #version = 0;
  #shared: FibShared;
  #isTaken = false;

  constructor() {
    this.#shared = this.#bundle();
  }

  /** The present bundle, for a reader that starts now. */
  get shared(): FibShared {
    return this.#shared;
  }

  /** The bundle, if arrays were swapped since the last call: post it to every reader. */
  takeChangedShared(): FibShared | undefined {
    if (this.#isTaken) return undefined;
    this.#isTaken = true;
    return this.#shared;
  }

  /** Groups refused because a table was full (their routes are not installed), members left out of large groups. */
  get counters(): { readonly groupsRefused: number; readonly membersLeftOut: number } {
    return this.#groups.counters;
  }

  get groupCount(): number {
    return this.#groups.size;
  }

  /** Apply changes in order. Readers may see the batch half done, never one change half done. */
  apply(changes: readonly RouteChange[]): void {
    if (changes.length === 0) return;
    const bulk = this.#bulkTables(changes);
    for (const table of bulk) table.isBulk = true;
    const unused: number[] = [];
    for (const c of changes) {
      const group =
        c.nextHops === undefined ? 0 : (this.#groups.acquire(c.kind ?? RouteKind.Unicast, c.nextHops)?.id ?? 0);
      const key = tableKey(c.vrf, c.prefix.family);
      const table = group === 0 ? this.#tables.get(key) : this.#table(c.vrf, c.prefix.family);
      if (table === undefined) continue;
      const { prefixes } = table.rib;
      // What is to be withdrawn need not be there.
      const prefix = group === 0 ? prefixes.findPrefix(c.prefix) : prefixes.internPrefix(c.prefix);
      if (prefix >= 0) this.follower?.(c.vrf, prefixes, prefix);
      const old = prefix < 0 ? 0 : table.change(prefix, c.source, group);
      if (old === 0) continue;
      if (table.isBulk) unused.push(old);
      else this.#groups.release(old);
    }
    for (const table of bulk) table.rebuild();
    for (const group of unused) this.#groups.release(group);
    this.#advance(2 * changes.length);
    this.#publish();
  }

  /** Apply a batch of many prefixes without an object per route. Readers may see it half done, never one change half done. */
  applyColumns(batch: RouteColumns): void {
    if (batch.count === 0) return;
    const { prefixes, prefix, target, targets, sources } = batch;
    const table = this.#table(batch.vrf, prefixes.family);
    const numberOf = table.rib.prefixes === prefixes ? undefined : translation(prefixes, table.rib.prefixes);
    // Making a larger table anew would take longer than a turn of the event loop may.
    if (table.rib.size + batch.count <= BUILT_AT_ONCE && table.wantsBulk(batch.count)) table.isBulk = true;
    const unused: number[] = [];
    const release = (group: number): void => {
      if (table.isBulk) unused.push(group);
      else this.#groups.release(group);
    };
    if (numberOf === undefined)
      for (let i = 0; i < batch.count; i++) table.touch(prefix[i]!, targets[target[i]!] === undefined);
    let last = -1;
    let group: Group | undefined;
    let source = sources[0]!;
    for (let i = 0; i < batch.count; i++) {
      const t = target[i]!;
      const to = targets[t];
      if (to === undefined) group = undefined;
      else if (t === last && group !== undefined) group.references++;
      else {
        group = this.#groups.acquire(to.kind, to.nextHops);
        source = to.source;
      }
      last = t;
      const id = group === undefined ? 0 : group.id;
      const number = numberOf === undefined ? prefix[i]! : numberOf(prefix[i]!, id !== 0);
      if (number < 0) continue;
      this.follower?.(batch.vrf, table.rib.prefixes, number);
      table.replace(number, source, id, sources, release);
    }
    if (table.isBulk) table.rebuild();
    for (const old of unused) this.#groups.release(old);
    // Twice as fast as changes come: it is finished some day, even if nobody calls `work`.
    table.work(2 * batch.count);
    this.#publish();
  }

  /** A table is being made anew beside the one in use, or taken apart: call `work` soon. */
  get isBuilding(): boolean {
    if (this.#leaving.length > 0) return true;
    for (const table of this.#tables.values()) if (table.isBuilding) return true;
    return false;
  }

  /** Go on with tables that are being made anew or taken apart, by about `budget` routes. */
  work(budget: number): void {
    this.#advance(budget);
    if (this.#rebundle()) this.#bump();
  }

  #advance(budget: number): void {
    for (const table of this.#tables.values()) table.work(budget);
    const leaving = this.#leaving[0];
    if (leaving === undefined) return;
    const { rib } = leaving.table;
    const end = Math.min(leaving.at + budget, rib.limit);
    for (; leaving.at < end; leaving.at++)
      if (rib.has(leaving.at)) for (const r of leaving.table.routesAt(leaving.at)) this.#groups.release(r.group);
    if (leaving.at >= rib.limit) this.#leaving.shift();
  }

  /** A link went down: groups stop using it, O(groups). Routes stay; their protocols decide about them. */
  linkDown(link: number): void {
    if (this.#groups.linkDown(link)) this.#bump();
  }

  isLinkDown(link: number): boolean {
    return this.#groups.isLinkDown(link);
  }

  linkUp(link: number): void {
    if (this.#groups.linkUp(link)) this.#bump();
  }

  /** Drop all tables of a VRF. Its number may be another VRF's from now on; `work` takes apart what is left of them. */
  removeVrf(vrf: number): void {
    for (const table of [...this.#tables.values()]) {
      if (table.vrf !== vrf) continue;
      this.#tables.delete(tableKey(vrf, table.family));
      this.#published.delete(table);
      this.#leaving.push({ table, at: 0 });
    }
    this.#shared = this.#bundle();
    this.#bump();
  }

  /** Routes of the longest prefix that contains `addr`, best first; empty when there is no route. */
  lookupRoute(vrf: number, addr: Addr): RouteInfo[] {
    const table = this.#tables.get(tableKey(vrf, addr.family));
    if (table === undefined) return [];
    const prefix = covering(table.rib, addr, addr.family === 4 ? 32 : 128);
    return prefix < 0 ? [] : this.#routesAt(table, prefix);
  }

  /** The best route of each prefix that contains `addr`, the longest first. The FIB must not change meanwhile. */
  *coveringRoutes(vrf: number, addr: Addr): Generator<RouteInfo> {
    const table = this.#tables.get(tableKey(vrf, addr.family));
    for (let length = addr.family === 4 ? 32 : 128; table !== undefined && length >= 0; ) {
      const prefix = covering(table.rib, addr, length);
      if (prefix < 0) return;
      length = table.rib.prefixes.length[prefix]! - 1;
      const [best] = this.#routesAt(table, prefix);
      if (best !== undefined) yield best;
    }
  }

  /** Routes of exactly this prefix, best first. */
  exactRoute(vrf: number, prefix: Prefix): RouteInfo[] {
    const table = this.#tables.get(tableKey(vrf, prefix.family));
    const number = table?.rib.prefixes.findPrefix(prefix) ?? -1;
    return table?.rib.has(number) === true ? this.#routesAt(table, number) : [];
  }

  /** The route that is used for a prefix by its number in `prefixes`. */
  bestAt(vrf: number, family: Family, prefix: number): RouteInfo | undefined {
    const table = this.#tables.get(tableKey(vrf, family));
    return table?.rib.has(prefix) === true ? this.#routesAt(table, prefix)[0] : undefined;
  }

  /** Numbers of all prefixes of a VRF that have a route. The FIB must not change while the iteration runs. */
  routedPrefixes(vrf: number, family: Family): Iterable<number> {
    return this.#tables.get(tableKey(vrf, family))?.rib ?? [];
  }

  /**
   * A part of the routes that are used: looks at up to `budget` numbers of prefixes from `from` on, while `visit` wants more.
   * @returns where to go on, -1 at the end of the table
   */
  slice(vrf: number, family: Family, from: number, budget: number, visit: (best: RouteInfo) => boolean): number {
    const table = this.#tables.get(tableKey(vrf, family));
    if (table === undefined) return -1;
    const { rib } = table;
    const end = Math.min(rib.limit, from + budget);
    for (let prefix = from; prefix < end; prefix++)
      if (rib.has(prefix) && !visit(this.#routesAt(table, prefix)[0]!)) return prefix + 1;
    return end >= rib.limit ? -1 : end;
  }

  stats(): TableStats[] {
    return [...this.#tables.values()].map((t) => ({
      vrf: t.vrf,
      family: t.family,
      routes: t.rib.size,
      shape: t.shared.shape,
      sharedBytes: t.memory.shared,
      privateBytes: t.memory.private,
    }));
  }

  #routesAt(table: VrfTable, number: number): RouteInfo[] {
    const prefix = table.rib.prefixes.prefix(number);
    return table.routesAt(number).map(({ source, group: id }, i) => {
      const { kind, nextHops } = this.#groups.get(id)!;
      return { prefix, source, distance: ROUTE_DISTANCE[source]!, kind, nextHops, isBest: i === 0 };
    });
  }

  /** The prefixes of a VRF, to be shared by those who hand many routes over (`RouteColumns.prefixes`). */
  prefixes(vrf: number, family: Family): PrefixTable {
    return this.#table(vrf, family).rib.prefixes;
  }

  #table(vrf: number, family: Family): VrfTable {
    const key = tableKey(vrf, family);
    let table = this.#tables.get(key);
    if (table === undefined) {
      table = new VrfTable(vrf, family);
      this.#tables.set(key, table);
    }
    return table;
  }

  /** Tables that get so many of these changes that building them anew is cheaper. */
  #bulkTables(changes: readonly RouteChange[]): VrfTable[] {
    if (changes.length <= 1024) return [];
    const counts = new Map<VrfTable, number>();
    for (const c of changes) {
      const table = this.#table(c.vrf, c.prefix.family);
      counts.set(table, (counts.get(table) ?? 0) + 1);
    }
    return [...counts].filter(([table, count]) => table.wantsBulk(count)).map(([table]) => table);
  }

  #publish(): void {
    this.#rebundle();
    this.#bump();
  }

  /** A new bundle when arrays were swapped; whether they were. */
  #rebundle(): boolean {
    for (const table of this.#tables.values()) {
      if (this.#published.get(table) === table.identity) continue;
      this.#shared = this.#bundle();
      return true;
    }
    return false;
  }

  #bump(): void {
    Atomics.add(this.#control, Control.Generation, 1);
  }

  #bundle(): FibShared {
    this.#isTaken = false;
    for (const table of this.#tables.values()) this.#published.set(table, table.identity);
    return {
      version: this.#version++,
      control: this.#control.buffer as SharedArrayBuffer,
      groups: this.#groups.groupMemory,
      nextHops: this.#groups.nextHopMemory,
      buckets: this.#groups.bucketMemory,
      tables: [...this.#tables.values()].map((t) => t.shared),
    };
  }
}

/** The longest prefix of at most `length` bits that has a route and contains an address, or -1. */
function covering(rib: CompactRib, { family, a0, a1, a2, a3 }: Addr, length: number): number {
  return family === 4 ? rib.findCovering(a3, 0, 0, 0, length) : rib.findCovering(a0, a1, a2, a3, length);
}

/** What finds a prefix of one table in another one: -1 where it is not there, unless it `isNeeded`. */
function translation(from: PrefixTable, to: PrefixTable): (prefix: number, isNeeded: boolean) => number {
  const isLong = from.family === 6;
  return (prefix, isNeeded) => {
    const w0 = from.w0[prefix]!;
    const w1 = isLong ? from.w1[prefix]! : 0;
    const w2 = isLong ? from.w2[prefix]! : 0;
    const w3 = isLong ? from.w3[prefix]! : 0;
    const length = from.length[prefix]!;
    return isNeeded ? to.intern(w0, w1, w2, w3, length) : to.find(w0, w1, w2, w3, length);
  };
}

function tableKey(vrf: number, family: Family): number {
  return vrf * 2 + (family === 6 ? 1 : 0);
}
