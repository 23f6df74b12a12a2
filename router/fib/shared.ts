/**
 * What the writer of the FIB and its readers share: a bundle of SharedArrayBuffers that can be posted between threads,
 * the layout of the control block, and the words used for routes.
 * Theory of operation: README.md of this folder. This file holds types and constants only.
 */
import type { Addr, Family, Prefix } from '../lib/addr.ts';
import type { PrefixTable } from '../lib/prefix-table.ts';

/** What happens to a packet that matches a route. Numeric values live in the shared group table. */
export const RouteKind = { None: 0, Unicast: 1, Local: 2, Blackhole: 3, Unreachable: 4, Prohibit: 5 } as const;
export type RouteKind = (typeof RouteKind)[keyof typeof RouteKind];
/** The words `ip route` uses for them. */
export const ROUTE_KIND_NAMES = ['none', 'unicast', 'local', 'blackhole', 'unreachable', 'prohibit'] as const;

/** Who installed a route. One prefix holds at most one route per source; the smallest distance is used. */
export const RouteSource = { Connected: 0, Static: 1, Ebgp: 2, Ibgp: 3, External: 4 } as const;
export type RouteSource = (typeof RouteSource)[keyof typeof RouteSource];
export const ROUTE_SOURCE_NAMES = ['connected', 'static', 'ebgp', 'ibgp', 'external'] as const;
/** Administrative distance by source; External is a route of another daemon, ranked as OSPF is by convention. */
export const ROUTE_DISTANCE: readonly number[] = [0, 1, 20, 200, 110];

/** One way on: a link, and the gateway there (none on a point-to-point tunnel whose peer needs no address). */
export interface NextHop {
  /** Interface index of the outgoing link (`PacketLink.index`), or `crossTo` another VRF, whose table says where it goes on. */
  readonly link: number;
  readonly gateway?: Addr | undefined;
  /** Relative share of flows, 1..65535; 1 when missing. */
  readonly weight?: number | undefined;
  /** Preferred source address of locally originated packets. */
  readonly source?: Addr | undefined;
}

/** In the place of a link: packets go on by the table of the VRF of this number. Links have positive indices. */
export function crossTo(vrf: number): number {
  return -1 - vrf;
}

/** The VRF that packets go on in; -1 for a link. */
export function crossedVrf(link: number): number {
  return link < 0 ? -1 - link : -1;
}

/** One change for `FibWriter.apply`. The array of next hops must not be modified afterwards; passing the same array for
 * many routes makes grouping them cheap. */
export interface RouteChange {
  readonly vrf: number;
  readonly prefix: Prefix;
  readonly source: RouteSource;
  /** undefined withdraws the route of this source; empty for kinds without a way on. */
  readonly nextHops: readonly NextHop[] | undefined;
  /** Unicast when missing. */
  readonly kind?: RouteKind | undefined;
}

/** What a prefix of a RouteColumns batch gets. */
export interface RouteTarget {
  readonly source: RouteSource;
  /** Empty for kinds without a way on. */
  readonly nextHops: readonly NextHop[];
  readonly kind: RouteKind;
}

/**
 * Many changes of one VRF and family for `FibWriter.applyColumns`: what stands at index `i` (0 <= i < `count`) belongs to one
 * prefix. Nothing is kept: the caller may use the arrays again.
 */
export interface RouteColumns {
  readonly vrf: number;
  readonly count: number;
  /** Where the numbers in `prefix` are from: nothing has to be searched for when it is `FibWriter.prefixes`. */
  readonly prefixes: PrefixTable;
  readonly prefix: Int32Array;
  /** Index into `targets`; 0 = withdraw. */
  readonly target: Int32Array;
  readonly targets: readonly (RouteTarget | undefined)[];
  /** The sources the batch speaks for: of these, a prefix has the route of the batch and no other. */
  readonly sources: readonly RouteSource[];
}

/** A route as the writer reports it (`mlshim route get`, `route show`). */
export interface RouteInfo {
  readonly prefix: Prefix;
  readonly source: RouteSource;
  readonly distance: number;
  readonly kind: RouteKind;
  readonly nextHops: readonly NextHop[];
  /** Whether the data plane uses it: the route of its prefix with the smallest distance. */
  readonly isBest: boolean;
}

/** How a table is laid out; see range-table.ts, dir24.ts (16- or 32-bit cells) and dir20.ts. */
export type TableShape = 'ranges' | 'dir16' | 'dir32' | 'dir20';

/** One table of one VRF and family. */
export interface TableShared {
  readonly vrf: number;
  readonly family: Family;
  readonly shape: TableShape;
  /** First array of a lookup: bucket index, or the cells of all /24s. */
  readonly index: SharedArrayBuffer;
  /** Second array: chunks of ranges, or the blocks of 256 cells below a /24. */
  readonly cells: SharedArrayBuffer;
  /** Bits an address's first word is shifted right by to index `index`. */
  readonly shift: number;
}

/** Everything a reader needs; structured-cloneable. Replaced (and posted again) only when arrays were swapped. */
export interface FibShared {
  /** Counts bundles, so that a late message never replaces a newer bundle. */
  readonly version: number;
  readonly control: SharedArrayBuffer;
  readonly groups: SharedArrayBuffer;
  readonly nextHops: SharedArrayBuffer;
  readonly buckets: SharedArrayBuffer;
  readonly tables: readonly TableShared[];
}

/** Words of the control block (Int32). */
export const Control = { Generation: 0, Words: 16 } as const;

/** Group 0 is never allocated: no route. */
export const NO_ROUTE = 0;
/** Most groups at a time; ids fit the value words of range-table.ts. */
export const MAX_GROUPS = 1 << 20;
/** Most distinct next hops at a time; ids fit the 16-bit cells of bucket tables, whose highest value means "none". */
export const MAX_NEXT_HOPS = 0xffff;
/** Most groups with two or more members at a time. */
export const MAX_BALANCED_GROUPS = 1 << 16;
/** Members of one group beyond this are left out (counted). */
export const MAX_MEMBERS = 64;
/** Flow buckets of a group with two or more members. */
export const BUCKETS = 256;
export const NO_NEXT_HOP = 0xffff;

/** Words per group (Int32): its kind; then a next hop (>= 0), none alive (-1), or its bucket table as -2 - number. */
export const GROUP_WORDS = 2;

/** Words per next hop (Int32). */
export const NextHopWord = { Link: 0, Flags: 1, Gateway: 2, Source: 6, Words: 12 } as const;
export const NextHopFlag = { Gateway: 1, Source: 2 } as const;
