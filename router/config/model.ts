/**
 * The configuration as the router uses it: parsed once, frozen, addresses and prefixes as values. No text form of an
 * address survives beyond this file, and no other room imports the schema.
 */

import type { Network } from '../../bgp/origination.ts';
import type { EightOctets } from '../../bgp/vpn/route-distinguisher.ts';
import type { WgPeerConfig } from '../../wg/model.ts';
import type { Addr, Prefix } from '../lib/addr.ts';
import type { BalanceKind } from '../uplink/balancer.ts';
import type { ProbeQuestion } from '../uplink/probe.ts';
import type { Rule } from '../uplink/rule.ts';
import type { BgpConfig } from './bgp-model.ts';
import type { FpmConfig } from './fpm.ts';

/** An address with the uplink it is meant on, for link-local addresses. */
export interface ScopedAddr {
  readonly addr: Addr;
  readonly uplink: string | undefined;
}

/** An address of the host's network, a link-local one with its interface. */
export interface HostAddr {
  readonly addr: Addr;
  readonly zone: string | undefined;
}

/** An interface address: the host address and the prefix that is on-link with it. */
export interface InterfaceAddr {
  readonly addr: Addr;
  readonly prefix: Prefix;
}

/** How it is found out whether an uplink carries packets. */
export interface ProbeConfig {
  readonly targets: readonly Addr[];
  readonly question: ProbeQuestion;
  readonly everyMs: number;
  readonly timeoutMs: number;
  readonly fall: number;
  readonly rise: number;
}

/** Uplinks by name that new flows are shared out to. */
export interface GroupConfig {
  readonly name: string;
  readonly balance: BalanceKind;
  readonly members: readonly { readonly uplink: string; readonly weight: number | 'auto' }[];
}

/** A rule of policy, with names where the router has numbers (router/uplink/rule.ts). */
export interface RuleConfig extends Omit<Rule, 'action'> {
  readonly action:
    | { readonly kind: 'group'; readonly group: string }
    | { readonly kind: 'vrf'; readonly vrf: string }
    | { readonly kind: 'reject' };
}

/** What rules call the routes that belong to no VRF, where no VRF has this name. */
export const MAIN_VRF = 'main';

/** Which flows take which uplinks. */
export interface PolicyConfig {
  readonly rules: readonly RuleConfig[];
  readonly groups: readonly GroupConfig[];
}

/** A WireGuard device. */
export interface WireguardConfig {
  readonly addresses: readonly InterfaceAddr[];
  readonly mtu: number;
  /** 32 octets. */
  readonly privateKey: Uint8Array;
  /** 0 = chosen by the kernel. */
  readonly listenPort: number;
  readonly peers: readonly WgPeerConfig[];
  /** Whether allowed_ips become routes, as wg-quick does. */
  readonly installRoutes: boolean;
}

/** A path of the host's own network: all that leaves by an interface, or all that carries a source address; exactly one is set. */
export interface HostPathConfig {
  readonly interface: string | undefined;
  readonly source: Addr | undefined;
}

/** A way out: a tunnel, or a path of the host; exactly one of `wireguard` and `host` is set. */
export interface UplinkConfig {
  readonly name: string;
  /** Name of its VRF; undefined = the default one. */
  readonly vrf: string | undefined;
  /** Octets per second; undefined = not known. */
  readonly bandwidth: number | undefined;
  readonly probe: ProbeConfig | undefined;
  /** What becomes of flows that rules sent through it when it goes down. */
  readonly whenDown: 'reset' | 'keep';
  /** Resolvers that are asked through it. */
  readonly dns: readonly Addr[];
  readonly wireguard: WireguardConfig | undefined;
  readonly host: HostPathConfig | undefined;
}

/** A tunnel of which no more is said than WireGuard asks for. */
export function plainTunnel(name: string, wireguard: WireguardConfig): UplinkConfig {
  const nothing = { vrf: undefined, bandwidth: undefined, probe: undefined, host: undefined };
  return { name, ...nothing, whenDown: 'reset', dns: [], wireguard };
}

export type RouteTarget =
  | { readonly kind: 'uplink'; readonly uplink: string; readonly gateway: Addr | undefined; readonly weight: number }
  | { readonly kind: 'blackhole' }
  | { readonly kind: 'unreachable' };

/** `auto`: the kernel where privileges and features are there, else user space. */
export type BackendChoice = 'auto' | 'userspace' | 'kernel';

/** A routing table of its own (RFC 4364 §3), and how its routes travel over VPN sessions. */
export interface VrfConfig {
  readonly name: string;
  /** Undefined = its routes stay here. */
  readonly rd: EightOctets | undefined;
  readonly importTargets: readonly EightOctets[];
  readonly exportTargets: readonly EightOctets[];
  readonly networks: readonly Network[];
}

export interface StaticRoute {
  readonly to: Prefix;
  /** Name of the VRF whose table it stands in; undefined = the default one. */
  readonly vrf: string | undefined;
  /** More than one target makes an ECMP group; blackhole and unreachable stand alone. */
  readonly targets: readonly RouteTarget[];
}

export interface Config {
  /** The file it came from, as the user wrote it. */
  readonly file: string;
  /** Who carries flows of uplinks: the shim and our own stack, or the host's kernel. */
  readonly backend: BackendChoice;
  /** What keeps uplinks apart in the kernel backend: a VRF device each, or the interfaces alone. */
  readonly isolation: 'vrf' | 'device';
  /** Refuse a flow whose uplink cannot be bound rather than let it leave by the host's default. */
  readonly strict: boolean;
  readonly uplinks: readonly UplinkConfig[];
  readonly vrfs: readonly VrfConfig[];
  readonly routes: readonly StaticRoute[];
  readonly policy: PolicyConfig;
  readonly dns: { readonly servers: readonly ScopedAddr[]; readonly search: readonly string[] };
  /** Preferred source addresses of locally originated flows. */
  readonly source: { readonly v4: Addr | undefined; readonly v6: Addr | undefined };
  readonly bgp: BgpConfig | undefined;
  readonly fpm: FpmConfig | undefined;
  /** Absolute path of the socket that speaks BIRD's control protocol; undefined = there is none. */
  readonly birdSocket: string | undefined;
  readonly loopback: 'kernel' | 'stack';
  /** Octets of TCP and reassembly buffers. */
  readonly bufferBytes: number;
}

export type Severity = 'error' | 'warning';

/** A place in a file and what is to be said about it. Lines and columns count from 1. */
export interface Note {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** Octets under the caret line. */
  readonly width: number;
  readonly message: string;
  /** The source line, for the caret picture. */
  readonly source: string | undefined;
}

/** One finding about a configuration file. */
export interface Diagnostic extends Note {
  readonly severity: Severity;
  /** Where in the document, as `uplinks.home.peers[0]`; empty when it has no place there. */
  readonly path: string;
  /** What is wrong in another file, where that is the reason: a line of the filter module. */
  readonly cause?: Note;
}
