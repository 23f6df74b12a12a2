/**
 * The data plane's view of the FIB: longest-prefix match, group kind, and the member a flow takes.
 * Lock-free: one writer changes the same memory meanwhile; every answer is one that was right before or after a change
 * in progress. Allocates nothing per lookup. Does not cache flows: the stack does, keyed by `generation`.
 */
import { lookupDir20 } from './dir20.ts';
import { lookupDir16, lookupDir32 } from './dir24.ts';
import { lookupRanges } from './range-table.ts';
import {
  BUCKETS,
  Control,
  type FibShared,
  NextHopFlag,
  NextHopWord,
  NO_NEXT_HOP,
  NO_ROUTE,
  type RouteKind,
  type TableShared,
} from './shared.ts';

const SHAPES = { ranges: 0, dir16: 1, dir32: 2, dir20: 3 } as const;
const W = NextHopWord.Words;

/** One table with a typed array per kind, so that every lookup function sees one kind of array. */
class TableView {
  readonly shape: number;
  readonly shift: number;
  readonly index32: Int32Array;
  readonly cells32: Int32Array;
  readonly index16: Uint16Array;
  readonly cells16: Uint16Array;

  constructor(shared: TableShared) {
    const is16 = shared.shape === 'dir16';
    const none = new ArrayBuffer(0);
    this.shape = SHAPES[shared.shape];
    this.shift = shared.shift;
    this.index32 = new Int32Array(is16 ? none : shared.index);
    this.cells32 = new Int32Array(is16 ? none : shared.cells);
    this.index16 = new Uint16Array(is16 ? shared.index : none);
    this.cells16 = new Uint16Array(is16 ? shared.cells : none);
  }
}

export class FibReader {
  #version = -1;
  #refreshes = 0;
  #control: Int32Array = new Int32Array(Control.Words);
  #groups: Int32Array = new Int32Array(0);
  #nextHops: Int32Array = new Int32Array(0);
  #buckets: Uint16Array = new Uint16Array(0);
  #v4: (TableView | undefined)[] = [];
  #v6: (TableView | undefined)[] = [];

  constructor(shared: FibShared) {
    this.refresh(shared);
  }

  /** Take a new bundle from the writer; a bundle older than the present one is ignored. */
  refresh(shared: FibShared): void {
    if (shared.version <= this.#version) return;
    this.#refreshes++;
    this.#take(shared);
  }

  /** Go over to another writer's bundle; no answer cached before is taken for one of it. */
  replace(shared: FibShared): void {
    const next = this.generation + 1;
    this.#take(shared);
    this.#refreshes = (next - Atomics.load(this.#control, Control.Generation)) | 0;
  }

  #take(shared: FibShared): void {
    this.#version = shared.version;
    this.#control = new Int32Array(shared.control);
    this.#groups = new Int32Array(shared.groups);
    this.#nextHops = new Int32Array(shared.nextHops);
    this.#buckets = new Uint16Array(shared.buckets);
    this.#v4 = [];
    this.#v6 = [];
    for (const table of shared.tables) (table.family === 4 ? this.#v4 : this.#v6)[table.vrf] = new TableView(table);
  }

  /**
   * Changes after every change a cached answer could depend on: routes, groups, link states, swapped arrays.
   * A cache must read it *before* the lookup whose answer it keeps.
   */
  get generation(): number {
    return (Atomics.load(this.#control, Control.Generation) + this.#refreshes) | 0;
  }

  /** Group for an IPv4 destination (int32 word), or NO_ROUTE (0). */
  lookup4(vrf: number, a3: number): number {
    const t = this.#v4[vrf];
    if (t === undefined) return NO_ROUTE;
    if (t.shape === SHAPES.dir16) return lookupDir16(t.index16, t.cells16, a3);
    if (t.shape === SHAPES.dir32) return lookupDir32(t.index32, t.cells32, a3);
    return lookupRanges(t.index32, t.cells32, t.shift, a3, 0, 0, 0);
  }

  /** Group for an IPv6 destination (four int32 words), or NO_ROUTE (0). */
  lookup6(vrf: number, a0: number, a1: number, a2: number, a3: number): number {
    const t = this.#v6[vrf];
    if (t === undefined) return NO_ROUTE;
    if (t.shape === SHAPES.dir20) return lookupDir20(t.index32, t.cells32, a0, a1, a2, a3);
    return lookupRanges(t.index32, t.cells32, t.shift, a0, a1, a2, a3);
  }

  /** What the group does with a packet. A Unicast group whose links are all down has no member: `nextHop` gives -1. */
  kind(group: number): RouteKind {
    return this.#groups[group << 1] as RouteKind;
  }

  /** Does the flow hash decide which next hop of the group is taken? Without it any hash will do. */
  isMultipath(group: number): boolean {
    return this.#groups[(group << 1) + 1]! < -1;
  }

  /**
   * The next hop a flow takes, or -1 when no member has a link that is up.
   * @param hash `flowHash` of the packet; its upper octet chooses the bucket
   */
  nextHop(group: number, hash: number): number {
    const word = this.#groups[(group << 1) + 1]!;
    if (word >= -1) return word;
    const id = this.#buckets[(-2 - word) * BUCKETS + (hash >>> 24)]!;
    return id === NO_NEXT_HOP ? -1 : id;
  }

  /** Interface index a flow leaves by, or 0 when the group has no usable member. */
  memberLink(group: number, hash: number): number {
    const id = this.nextHop(group, hash);
    return id < 0 ? 0 : this.#nextHops[id * W]!;
  }

  /** Interface index of a next hop. */
  link(nextHop: number): number {
    return this.#nextHops[nextHop * W]!;
  }

  /** Whether a next hop names a gateway; without one the destination itself is on the link. */
  hasGateway(nextHop: number): boolean {
    return (this.#nextHops[nextHop * W + NextHopWord.Flags]! & NextHopFlag.Gateway) !== 0;
  }

  /** Word `i` (0..3) of a next hop's gateway, IPv4 as IPv4-mapped. */
  gatewayWord(nextHop: number, i: number): number {
    return this.#nextHops[nextHop * W + NextHopWord.Gateway + i]!;
  }

  /** Whether a next hop prefers a source address. */
  hasSource(nextHop: number): boolean {
    return (this.#nextHops[nextHop * W + NextHopWord.Flags]! & NextHopFlag.Source) !== 0;
  }

  /** Word `i` (0..3) of a next hop's preferred source address, IPv4 as IPv4-mapped. */
  sourceWord(nextHop: number, i: number): number {
    return this.#nextHops[nextHop * W + NextHopWord.Source + i]!;
  }
}
