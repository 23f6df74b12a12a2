/**
 * What an FPM client says, whichever encoding it uses: routes, withdrawals and numbered next hops. Plain values; a
 * decoder makes them, `FpmTable` acts on them.
 */
import type { Addr, Prefix } from '../lib/addr.ts';

/** The kernel's main table (RT_TABLE_MAIN); the protobuf encoding's default VRF is mapped to it. */
export const MAIN_TABLE = 254;

export type FpmRouteType = 'unicast' | 'blackhole' | 'unreachable' | 'prohibit';

/** One way on as the client names it: interfaces by the number its own kernel gave them. */
export interface FpmHop {
  readonly gateway: Addr | undefined;
  /** Interface index in the client's network namespace; undefined when it names none. */
  readonly ifindex: number | undefined;
  /** Relative share of flows, 1..256. */
  readonly weight: number;
  /** Preferred source address of locally originated packets. */
  readonly source?: Addr | undefined;
}

export interface FpmRoute {
  readonly kind: 'route';
  /** Number of the kernel's routing table. */
  readonly table: number;
  readonly prefix: Prefix;
  /** Who made it, such as `ospf`; `kernel` for what the client found in its own kernel. */
  readonly protocol: string;
  readonly type: FpmRouteType;
  readonly metric: number;
  /** The way on: spelled out, or the number of a next hop that was told before. */
  readonly hops: readonly FpmHop[] | number;
}

export interface FpmWithdrawal {
  readonly kind: 'withdrawal';
  readonly table: number;
  readonly prefix: Prefix;
}

/** A numbered next hop: one way on, a weighted group of other numbers, or a black hole. */
export interface FpmNextHop {
  readonly kind: 'nexthop';
  readonly id: number;
  readonly what: FpmHop | readonly FpmMember[] | 'blackhole';
}

export interface FpmMember {
  readonly id: number;
  readonly weight: number;
}

export interface FpmNextHopGone {
  readonly kind: 'nexthop-gone';
  readonly id: number;
}

export type FpmMessage = FpmRoute | FpmWithdrawal | FpmNextHop | FpmNextHopGone;

/** What a decoder made of one frame. Bad or strange messages are counted, the good ones beside them still count. */
export interface Decoded {
  readonly messages: readonly FpmMessage[];
  /** Well-formed, but nothing we act on: neighbours, MPLS labels, multicast. */
  readonly unknown: number;
  readonly malformed: number;
}
