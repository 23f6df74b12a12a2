/**
 * What a speaker needs from outside: byte streams, somewhere to put routes, and the state of uplinks.
 * Implemented by router/app over the stack's sockets and the kernel's, and by tests over memory.
 */

import type { Addr, Prefix } from '../router/lib/addr.ts';
import type { PrefixTable } from '../router/lib/prefix-table.ts';
import type { Chore } from './chores.ts';
import type { RouteSender } from './export.ts';
import type { MonitoredSession } from './monitor/monitor.ts';
import type { TableKind, ToldTable } from './monitor/told-table.ts';
import type { Decision, ExportReason } from './policy/filter.ts';
import type { RetentionHost } from './retention.ts';
import type { Attributes, NextHop } from './wire/attribute/model.ts';
import type { FamilyName } from './wire/family.ts';
import type { BgpFault } from './wire/fault.ts';
import type { VpnUpdate } from './wire/update.ts';

/** Names an uplink; whatever the daemon uses (a name or an interface index). */
export type LinkId = string | number;

/** One connection, already open when a handler hears of it. */
export interface Stream {
  /** Our end: the source of "next hop self". */
  readonly localAddress: Addr | undefined;
  /**
   * Queue octets; the stream owns them.
   * @returns false when the queue is long: `drained` follows when it is empty again
   */
  write(octets: Uint8Array): boolean;
  /** Close once everything queued is sent (FIN), or at once (RST). `closed` need not follow. */
  close(abort: boolean): void;
}

/** What a stream tells its user. None of these may be called from inside `write`, `close` or `connect`. */
export interface StreamHandler {
  /** Octets arrived; they belong to the handler and must not be changed afterwards. */
  data(octets: Uint8Array): void;
  drained(): void;
  /** The connection ended without `close`; the reason is shown to operators. */
  closed(reason: string): void;
}

/** Where to connect, and through what. */
export interface ConnectTarget {
  readonly name: string;
  readonly link: LinkId;
  readonly address: Addr;
  readonly port: number;
  readonly localAddress: Addr | undefined;
  /** How many hops away the peer may be: 1 = a direct neighbour (TTL 1), 255 = anywhere. */
  readonly hops: number;
  /** RFC 5082: send with TTL 255, and take only packets that have come over at most `hops` hops. */
  readonly ttlSecurity: boolean;
  /** RFC 2385: the key of the TCP MD5 signature; undefined = segments are not signed. */
  readonly password: string | undefined;
}

/** How packets of one peer, or of all that may become peers, have to be secured: needed before they connect. */
export type PeerSecurity = Pick<ConnectTarget, 'name' | 'link' | 'hops' | 'ttlSecurity' | 'password'> & {
  /** The peer's address, or the range its address lies in. */
  readonly from: Prefix;
};

/** An attempt to connect that can be given up. */
export interface Attempt {
  abort(): void;
}

export interface Transport {
  /** Exactly one of the callbacks is called, later, unless the attempt is aborted. */
  connect(target: ConnectTarget, opened: (stream: Stream) => StreamHandler, failed: (reason: string) => void): Attempt;
  /**
   * Called once. Report each inbound connection with its remote address and uplink.
   * `accept` returns undefined when nobody expects it; the transport then closes it.
   */
  listen(accept: (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined): void;
  /** All peers that are expected now; called again with the whole list whenever it changes. */
  secure?(peers: readonly PeerSecurity[]): void;
}

/** A way to a next hop, bound to an uplink: the same link-local address on two uplinks is two next hops. */
export interface FibNextHop {
  readonly address: Addr;
  readonly link: LinkId;
  /** Relative share of the flows among several next hops, 1..65535; 1 when missing. */
  readonly weight?: number;
}

/** What happens to packets of a prefix. */
export type WayKind = 'unicast' | 'blackhole' | 'unreachable';

/** Where packets go. The same object means the same for as long as a route uses it, so it may be a key. */
export interface Way {
  readonly kind: WayKind;
  /** Equal-cost next hops, best first; empty for kinds that end here. */
  readonly nextHops: readonly FibNextHop[];
  /** The best route comes from an internal peer: daemons rank such routes behind those of other protocols. */
  readonly isInternal: boolean;
}

/**
 * Changes of best routes, in columns: what stands at index `i` (0 <= i < `count`) belongs to one prefix, and no prefix
 * stands twice in a batch. The batch is used again after `apply`: copy what must stay. `eachRoute` (bgp/routes.ts) makes
 * plain values of it for those who do not count nanoseconds.
 */
export interface RouteBatch {
  /** Number of the VRF; 0 is the default one. */
  readonly vrf: number;
  readonly count: number;
  /** Where the numbers in `prefix` are from; it is the sink's own where the speaker was given one (`SpeakerOptions.prefixes`). */
  readonly prefixes: PrefixTable;
  readonly prefix: Int32Array;
  /** Index into `ways`; 0 = no route any more. */
  readonly way: Int32Array;
  /** Ways by number; a number means something else when no route used its way in between, so remember objects. */
  readonly ways: readonly (Way | undefined)[];
}

export interface RouteSink {
  apply(batch: RouteBatch): void;
  /** A restarted speaker has applied all its routes (RFC 4724 §4.1): what stands there from before goes. */
  settled?(): void;
}

export interface NextHopResolver {
  isUp(link: LinkId): boolean;
  /** The link does not exist: one that comes under its name later is another one. Without this method all links exist. */
  isGone?(link: LinkId): boolean;
  /** Called for every change of an uplink's state, and when `resolve` may answer differently for multihop peers. */
  subscribe(listener: (link: LinkId, isUp: boolean) => void): void;
  /**
   * How to reach a next hop that is not necessarily a neighbour on `link` (internal and multihop peers). Cost 0 = it is one;
   * a next hop that is found by other routes has a cost.
   * @param isElsewhere an internal peer on `link` names another router than itself
   * Without this method every next hop is taken as directly reachable over the session's uplink, at cost 0.
   */
  resolve?(address: Addr, link: LinkId, isElsewhere: boolean): Via | undefined;
}

/** How a next hop is reached. */
export interface Via {
  readonly address: Addr;
  readonly link: LinkId;
  readonly cost: number;
  /** All next hops that share its traffic, the one above first; missing where it is alone. */
  readonly group?: readonly FibNextHop[];
}

export type VpnFamily = Exclude<FamilyName, 'ipv4' | 'ipv6'>;

/** Whom a VPN route was learned from, as export rules of other peers see it. */
export interface VpnSender extends RouteSender {
  readonly name: string;
  readonly address: Addr;
  /** BGP Identifier. */
  readonly identifier: number;
}

/** What VPN routes that came together have in common. */
export interface VpnBundle {
  readonly family: VpnFamily;
  /** As import policy, or the VRF, left them. */
  readonly attributes: Attributes;
  readonly hop: NextHop;
  /** Undefined = a VRF of ours. */
  readonly from: VpnSender | undefined;
  /** `Changes.weight` of import policy. */
  readonly weight: number;
}

/** What import policy lets pass; the same object for the same result. */
export interface VpnAccepted {
  readonly attributes: Attributes;
  readonly hop: NextHop;
  readonly weight: number;
}

/** What is said against a route that a peer has told. */
export interface VpnRefusal {
  /** Whatever policy says, in words; undefined when policy decides. */
  readonly bar: string | undefined;
  readonly policy: Decision | undefined;
}

/** What a peer is told of a route; the same object for the same result. */
export interface VpnTold {
  readonly attributes: Attributes;
  readonly hop: Addr;
}

/** What the configuration of a session makes of routes of the VPN families, here without their distinguishers. */
export interface VpnPeer {
  readonly sender: VpnSender;
  /** How many paths to a prefix are sent at most, where several are (RFC 7911). */
  readonly pathLimit: number;
  /** For received routes with these attributes: what is used of a prefix, undefined = it is refused. */
  accepting(a: Attributes, hop: NextHop): (prefix: Prefix) => VpnAccepted | undefined;
  /** Why `accepting` refuses a route; undefined where it does not. */
  refusal(a: Attributes, hop: NextHop, prefix: Prefix): VpnRefusal | undefined;
  /** Interior cost of a next hop that the peer names, by the tables of its session; undefined while it cannot be reached. */
  cost(hop: NextHop): number | undefined;
  /** For routes to tell: what goes on the wire, undefined = the prefix is not told. */
  telling(bundle: VpnBundle): (prefix: Prefix) => VpnTold | undefined;
  /** What export policy is asked about; undefined = the peer is told nothing of it, whatever policy says. */
  offering(bundle: VpnBundle): Attributes | undefined;
  /** Why `telling` tells a prefix or not. */
  reason(bundle: VpnBundle, prefix: Prefix): ExportReason;
  /** A BoRR (1) or EoRR (2) of RFC 7313. */
  mark(family: VpnFamily, subtype: number): void;
}

/** The VPN families of one session. */
export interface VpnFeed {
  /** Prefixes held from the peer, and how many of them policy let pass. */
  readonly received: Readonly<Record<VpnFamily, number>>;
  readonly accepted: Readonly<Record<VpnFamily, number>>;
  /** Those among the received that are stale. */
  readonly stale: Readonly<Record<VpnFamily, number>>;
  /** Those among the accepted that are stale. */
  readonly staleAccepted: Readonly<Record<VpnFamily, number>>;
  /** Prefixes the peer has been told. */
  readonly advertised: Readonly<Record<VpnFamily, number>>;
  /** Something waits to be told. */
  readonly hasWork: boolean;
  /** Tell about up to `budget` prefixes, in whole UPDATE messages; asked for while the connection takes octets. */
  pull(budget: number, transmit: (octets: Uint8Array, messages: number) => void): void;
  /** Tell everything of a family again, where it is one of the session's VPN families. */
  refresh(family: FamilyName): void;
  /** The peer's policies are others now. */
  policyChanged(): void;
  /** What the peer has sent, as it would send it again, in portions. */
  receivedUpdates(): Generator<readonly Uint8Array[]>;
  /**
   * Have one of its tables told from now on, all of it first.
   * @param wake called when there is something to tell after there was nothing
   */
  view(kind: Exclude<TableKind, 'loc'>, wake: () => void): ToldTable;
}

/** Takes over what a speaker has no tables for: the VPN families of its sessions (bgp/vpn/vpn-room.ts). */
export interface VpnPort {
  /** Called once, by the speaker. @param later does what takes long in slices of its turns, in the order it comes */
  attach(later: (chore: Chore) => void): void;
  /** @returns undefined for a session without a VPN family */
  up(session: MonitoredSession, peer: VpnPeer): VpnFeed | undefined;
  /** The session is gone; what becomes of its routes is said by `retention`. */
  down(session: MonitoredSession): void;
  /** @returns a fault: what is malformed costs the session, another one its routes */
  update(session: MonitoredSession, vpn: VpnUpdate, attributes: Attributes | undefined): BgpFault | undefined;
  /** What is done to the routes of a peer, by its name, that outlive messages and sessions. */
  retention(peer: string): RetentionHost;
  /** Links or the forwarding table changed: next hops may be reached otherwise, or no longer. */
  nextHopsChanged(): void;
  /** The peers have told their routes, or are not waited for any more: routes are selected from now on (RFC 4724 §4.1). */
  selecting(): void;
}
