/**
 * The BGP part of the configuration as the router uses it. The routing worker gets it whole (router/lib/post.ts), so a new
 * key is a line in bgp-schema.ts, here, in bgp-load.ts, and where it has its effect.
 */
import type { BfdAuth } from '../../bgp/bfd/auth.ts';
import type { RemovePrivateAs } from '../../bgp/export.ts';
import type { AsMatch } from '../../bgp/fsm/negotiate.ts';
import type { StationTable } from '../../bgp/monitor/bmp-instance.ts';
import type { AggregateConfig, Network } from '../../bgp/origination.ts';
import type { Rule } from '../../bgp/policy/rule.ts';
import type { Confederation, LocalAs } from '../../bgp/relation.ts';
import type { Multipath } from '../../bgp/rib/multipath.ts';
import type { Addr, Prefix } from '../lib/addr.ts';
import type { BgpSessionConfig } from './bgp-session.ts';
import type { Dn42Config, Dn42Link } from './dn42.ts';
import type { RpkiConfig } from './rpki.ts';

/** An address of the host with a TCP port. */
export interface AddrPort {
  readonly address: Addr;
  readonly port: number;
  /** The interface of a link-local address. */
  readonly zone?: string | undefined;
}

/** Where a rule stands in the configuration. */
export interface RulePlace {
  /** The policy it is written in; empty = the peer's own list. */
  readonly policy: string;
  /** Its number there, from 1 on. */
  readonly number: number;
  /** `mlshim.yaml:12`; empty where that is not known. */
  readonly line: string;
}

/** A rule of the policy `dn42`, by its number there: what it says depends on what is known of the link. */
export interface Dn42Rule {
  readonly dn42: number;
}

/** Rules in order, names of policies replaced by their rules. */
export interface RuleList {
  /** As the file has it: names of policies, or `rules (3)`. */
  readonly written: string;
  readonly rules: readonly (Rule | Dn42Rule)[];
}

/** Whether the policy is `dn42`, or a list with it. */
export function followsDn42(policy: string | ListedPolicy): boolean {
  if (typeof policy === 'string') return policy === 'dn42';
  return 'rules' in policy && policy.rules.some((r) => 'dn42' in r);
}

/** Whose rules: a key of `BgpConfig.rulePlaces`. */
export function rulesKey(neighbor: string, direction: 'import' | 'export'): string {
  return `${direction} ${neighbor}`;
}

/** Rules, or a function of the filter module. */
export type ListedPolicy = RuleList | { readonly module: string };

/** A module of filter functions. */
export interface FilterModule {
  /** Absolute. */
  readonly path: string;
  /** Another one when the module, or a file it names, says something else (filter-digest.ts). */
  readonly digest: string;
}

/** An MRT file that is written at intervals; the absolute path may hold %Y %m %d %H %M %S (UTC). */
export interface MrtFile {
  readonly path: string;
  readonly everyS: number;
}

/** How a peer's path is watched. */
export interface BfdConfig {
  readonly intervalMs: number;
  /** Packets in a row that may be missed. */
  readonly multiplier: number;
  /** By the packets of RFC 5883, which may pass routers. */
  readonly multihop: boolean;
  /** The BGP session waits for BFD. */
  readonly strict: boolean;
  /** RFC 5880 §6.7; undefined = none. */
  readonly auth: BfdAuth | undefined;
}

/** How a peer's routes are passed on; each as in PeerConfig (bgp/peer.ts). */
export interface RoutingSettings {
  readonly nextHopSelf: boolean | 'all';
  readonly thirdPartyNextHop: boolean;
  readonly routeReflectorClient: boolean;
  readonly localAs?: LocalAs;
  readonly asOverride: boolean;
  readonly removePrivateAs?: RemovePrivateAs;
  readonly allowOwnAs: number;
  readonly delegated: readonly Prefix[];
  readonly enforceFirstAs: boolean;
  readonly defaultOriginate: boolean;
  readonly gracefulShutdown: boolean;
  readonly acceptBlackhole: boolean;
}

/** What a peer and a range of peers have in common. */
export interface BgpNeighborConfig {
  readonly name: string;
  /** For people, on one line. */
  readonly description: string | undefined;
  /** The AS it must be in: one, any but ours, ours, or one of several. */
  readonly asn: AsMatch;
  /** How the session behaves; the speaker takes it as it is. */
  readonly session: BgpSessionConfig;
  /** The uplink the peer is reached by; undefined = by routing. */
  readonly via: string | undefined;
  /** The peer is reached over the host's own sockets, such as a daemon on loopback. Never together with `via`. */
  readonly host: boolean;
  /** The interface of the host that a link-local peer is on. */
  readonly zone: string | undefined;
  /** The peer is an MRT file (absolute path), whose routes of this address and AS are replayed. */
  readonly mrt: string | undefined;
  /** The address we connect from; undefined = what the uplink or the host has. */
  readonly localAddress: Addr | undefined;
  readonly port: number;
  readonly families: readonly ('ipv4' | 'ipv6' | 'vpnv4' | 'vpnv6')[];
  readonly extendedNextHop: boolean;
  readonly passive: boolean;
  readonly holdTimeS: number;
  readonly importPolicy: 'all' | 'none' | 'dn42' | ListedPolicy;
  readonly exportPolicy: 'all' | 'own' | 'none' | 'dn42' | ListedPolicy;
  /** What the policy dn42 tells about the link. */
  readonly dn42: Dn42Link;
  /** How many hops away the peer may be, true = any number; undefined = a neighbour on `via`, or anywhere without it. */
  readonly multihop: boolean | number | undefined;
  /** Key of the TCP MD5 signature (RFC 2385). */
  readonly password: string | undefined;
  /** Send with TTL 255 and take only what has come over at most `multihop` hops, 1 by default (RFC 5082). */
  readonly ttlSecurity: boolean;
  /** Watch the path by BFD (RFC 5882); undefined = do not. */
  readonly bfd: BfdConfig | undefined;
  readonly routing: RoutingSettings;
}

export interface BgpPeerConfig extends BgpNeighborConfig {
  readonly address: Addr;
}

/** Peers that are not named one by one: whoever connects from a prefix. */
export interface BgpRangeConfig extends BgpNeighborConfig {
  readonly range: Prefix;
  /** More at a time are refused. */
  readonly maxPeers: number | undefined;
}

/** A BMP station and the tables it is told. */
export interface BmpStation extends AddrPort {
  readonly tables: readonly StationTable[];
}

export interface BgpConfig {
  /** BMP stations we tell (RFC 7854), over the host's sockets. */
  readonly bmp: readonly BmpStation[];
  /** MRT files we write (RFC 6396). */
  readonly mrt: { readonly tables: MrtFile | undefined; readonly updates: MrtFile | undefined };
  readonly asn: number;
  /** Router identifier as an IPv4 address (RFC 4271 §4.2). */
  readonly routerId: Addr;
  /** TCP port we listen on inside the uplinks. */
  readonly listenPort: number;
  /** Where the host's own sockets listen for peers with `host`. */
  readonly hostListen: readonly AddrPort[];
  /** Prefixes we originate. */
  readonly networks: readonly Network[];
  readonly dn42: Dn42Config;
  /** Where ROAs come from; undefined = nowhere. */
  readonly rpki: RpkiConfig | undefined;
  readonly peers: readonly BgpPeerConfig[];
  readonly ranges: readonly BgpRangeConfig[];
  /** Where the rules of policies stand, by `rulesKey`. Not among the peers' settings: a line that moved changes nothing. */
  readonly rulePlaces: Readonly<Record<string, readonly RulePlace[]>>;
  /** RFC 4724 and RFC 9494, for all peers that take part. */
  readonly gracefulRestart: { readonly restartTimeS: number; readonly staleTimeS: number; readonly longLivedS: number };
  /** The module whose functions peers name as policies. */
  readonly filters: FilterModule | undefined;
  readonly clusterId: Addr | undefined;
  readonly confederation: Confederation | undefined;
  readonly multipath: Multipath | undefined;
  /** Announced while something more specific is there. */
  readonly aggregates: readonly AggregateConfig[];
}
