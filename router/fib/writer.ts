/**
 * The single writer of the FIB (in the routing worker): takes route changes of all sources, keeps the compact RIB, and
 * patches or swaps the tables readers search. Also answers slow-path questions: `mlshim route get` and `route show`.
 * Does not resolve recursive next hops: every next hop names its link.
 */
import { Addr, type Family, Prefix } from '../lib/addr.ts';
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
  /** `identity` of each table when the last bundle was made. */
  readonly #published = new Map<VrfTable, SharedArrayBuffer>();
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
      const { addr, length } = c.prefix;
      const group =
        c.nextHops === undefined ? 0 : (this.#groups.acquire(c.kind ?? RouteKind.Unicast, c.nextHops)?.id ?? 0);
      const table = this.#table(c.vrf, c.prefix.family);
      // An IPv4 prefix's words are its IPv4-mapped address; the table looks at the last one only.
      const old = table.change(addr.a0, addr.a1, addr.a2, addr.a3, length, c.source, group);
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
    const { family, w0, w1, w2, w3, length, target, targets, sources } = batch;
    const table = this.#table(batch.vrf, family);
    // Making a larger table anew would take longer than a turn of the event loop may.
    if (table.rib.size + batch.count <= BUILT_AT_ONCE && table.wantsBulk(batch.count)) table.isBulk = true;
    const unused: number[] = [];
    const release = (group: number): void => {
      if (table.isBulk) unused.push(group);
      else this.#groups.release(group);
    };
    let last = -1;
    let group: Group | undefined;
    let source = sources[0]!;
    for (let i = 0; i < batch.count; i++) {
      if (i % TOUCHED === 0) touch(table.rib, batch, i, Math.min(i + TOUCHED, batch.count));
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
      if (family === 4) table.replace(0, 0, 0, w0[i]!, length[i]!, source, id, sources, release);
      else table.replace(w0[i]!, w1[i]!, w2[i]!, w3[i]!, length[i]!, source, id, sources, release);
    }
    if (table.isBulk) table.rebuild();
    for (const old of unused) this.#groups.release(old);
    // Twice as fast as changes come: it is finished some day, even if nobody calls `work`.
    table.work(2 * batch.count);
    this.#publish();
  }

  /** A table is being made anew beside the one in use: call `work` soon. */
  get isBuilding(): boolean {
    for (const table of this.#tables.values()) if (table.isBuilding) return true;
    return false;
  }

  /** Go on with tables that are being made anew, by about `budget` routes. */
  work(budget: number): void {
    this.#advance(budget);
    if (this.#rebundle()) this.#bump();
  }

  #advance(budget: number): void {
    for (const table of this.#tables.values()) table.work(budget);
  }

  /** A link went down: groups stop using it, O(groups). Routes stay; their protocols decide about them. */
  linkDown(link: number): void {
    if (this.#groups.linkDown(link)) this.#bump();
  }

  linkUp(link: number): void {
    if (this.#groups.linkUp(link)) this.#bump();
  }

  /** Drop all tables of a VRF. */
  removeVrf(vrf: number): void {
    for (const table of [...this.#tables.values()]) {
      if (table.vrf !== vrf) continue;
      this.#tables.delete(tableKey(vrf, table.family));
      this.#published.delete(table);
      for (let slot = 0; slot < table.rib.slots; slot++)
        if (table.rib.isUsed(slot)) for (const r of table.routesAt(slot)) this.#groups.release(r.group);
    }
    this.#shared = this.#bundle();
    this.#bump();
  }

  /** Routes of the longest prefix that contains `addr`, best first; empty when there is no route. */
  lookupRoute(vrf: number, addr: Addr): RouteInfo[] {
    const table = this.#tables.get(tableKey(vrf, addr.family));
    if (table === undefined) return [];
    const slot = table.rib.findCovering(addr.a0, addr.a1, addr.a2, addr.a3, addr.family === 4 ? 32 : 128);
    return slot < 0 ? [] : this.#routesAt(table, slot);
  }

  /** The best route of each prefix that contains `addr`, the longest first. The FIB must not change meanwhile. */
  *coveringRoutes(vrf: number, addr: Addr): Generator<RouteInfo> {
    const table = this.#tables.get(tableKey(vrf, addr.family));
    for (let length = addr.family === 4 ? 32 : 128; table !== undefined && length >= 0; ) {
      const slot = table.rib.findCovering(addr.a0, addr.a1, addr.a2, addr.a3, length);
      if (slot < 0) return;
      length = table.rib.lengthAt(slot) - 1;
      const [best] = this.#routesAt(table, slot);
      if (best !== undefined) yield best;
    }
  }

  /** Routes of exactly this prefix, best first. */
  exactRoute(vrf: number, prefix: Prefix): RouteInfo[] {
    const { addr } = prefix;
    const table = this.#tables.get(tableKey(vrf, prefix.family));
    if (table === undefined) return [];
    const slot = table.rib.find(addr.a0, addr.a1, addr.a2, addr.a3, prefix.length);
    return slot < 0 ? [] : this.#routesAt(table, slot);
  }

  /** All routes of a VRF, in no particular order. The FIB must not change while the iteration runs. */
  *routes(vrf: number): Generator<RouteInfo> {
    for (const family of [4, 6] as const) {
      const table = this.#tables.get(tableKey(vrf, family));
      if (table === undefined) continue;
      for (let slot = 0; slot < table.rib.slots; slot++) if (table.rib.isUsed(slot)) yield* this.#routesAt(table, slot);
    }
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

  #routesAt(table: VrfTable, slot: number): RouteInfo[] {
    const { rib } = table;
    const addr =
      table.family === 4
        ? Addr.v4(rib.wordAt(slot, 3))
        : Addr.v6(rib.wordAt(slot, 0), rib.wordAt(slot, 1), rib.wordAt(slot, 2), rib.wordAt(slot, 3));
    const prefix = Prefix.containing(addr, rib.lengthAt(slot))!;
    return table.routesAt(slot).map(({ source, group: id }, i) => {
      const { kind, nextHops } = this.#groups.get(id)!;
      return { prefix, source, distance: ROUTE_DISTANCE[source]!, kind, nextHops, isBest: i === 0 };
    });
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

/** Prefixes of a batch that are searched for at a time. */
const TOUCHED = 64;

function touch(
  rib: VrfTable['rib'],
  { family, w0, w1, w2, w3, length }: RouteColumns,
  from: number,
  end: number,
): void {
  for (let i = from; i < end; i++) {
    if (family === 4) rib.touch(0, 0, 0, w0[i]!, length[i]!);
    else rib.touch(w0[i]!, w1[i]!, w2[i]!, w3[i]!, length[i]!);
  }
}

function tableKey(vrf: number, family: Family): number {
  return vrf * 2 + (family === 6 ? 1 : 0);
}
