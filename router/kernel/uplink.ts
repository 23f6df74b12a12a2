/** An uplink as the host's network is to have it, and the names and numbers that are ours there. */
import { createHash } from 'node:crypto';
import type { Addr, Prefix } from '../lib/addr.ts';
import type { WgPeerSettings } from './netlink/wireguard.ts';

/** The first of the tables of uplinks, one each. */
export const FIRST_TABLE = 51000;
/** Of what the kernel sets up itself (RTPROT_KERNEL). */
export const KERNEL_PROTOCOL = 2;
/** `rtm_protocol` and the protocol of rules, of what sets up uplinks, and of routes that routing protocols gave us. */
export const SETUP_PROTOCOL = 116;
export const ROUTE_PROTOCOL = 117;
/** In front of the main table (32766), behind whatever the host's administrator has decided. */
export const RulePriority = { Underlay: 30990, Source: 31000, Device: 31010 } as const;
/** Packets of our tunnels: this mark, and the number of the table they are routed by, 0 = the host's routes. */
export const TUNNEL_MARK = 0x6d6c0000;
/** The last resort of a VRF's table: not the main table (linux: networking/vrf.rst). */
export const LAST_METRIC = 4278198272;

const MAX_NAME = 15;
const HASHED = 4;

export type Isolation = 'vrf' | 'device';

export interface WgHostConfig {
  readonly privateKey: Uint8Array;
  /** 0 = chosen by the kernel. */
  readonly listenPort: number;
  /** Endpoints are addresses by now. */
  readonly peers: readonly WgPeerSettings[];
}

interface Common {
  readonly name: string;
  /** Its own routing table. */
  readonly table: number;
}

export interface InterfaceUplink extends Common {
  readonly kind: 'interface';
  readonly isolation: Isolation;
  readonly interface: string;
  /** undefined = as it is. */
  readonly mtu?: number;
}

/** What carries an address of this host. */
export interface SourceUplink extends Common {
  readonly kind: 'source';
  readonly source: Addr;
}

export interface WireguardUplink extends Common {
  readonly kind: 'wireguard';
  readonly isolation: Isolation;
  readonly mtu: number;
  readonly addresses: readonly { readonly addr: Addr; readonly prefix: Prefix }[];
  readonly wireguard: WgHostConfig;
  /** The uplink its packets leave by; undefined = the host's routes, or the uplink that took the host's default route. */
  readonly underlay?: string;
}

export type HostUplink = InterfaceUplink | SourceUplink | WireguardUplink;

export interface UplinkState {
  readonly name: string;
  readonly isUp: boolean;
  /** Why it is not. */
  readonly why: string | undefined;
  /** What sockets are bound to: the VRF, or the interface itself; undefined for a source uplink. */
  readonly bindDevice: string | undefined;
  /** The interface packets leave by, and its number; 0 = it is not there. */
  readonly interface: string | undefined;
  readonly ifindex: number;
  readonly table: number;
  /** Addresses of its own, not link-local ones. */
  readonly addresses: readonly Addr[];
}

export function tableOf(index: number): number {
  return FIRST_TABLE + index;
}

/** The VRF of an uplink. */
export function vrfDevice(uplink: string): string {
  return shortened(`mlv-${uplink}`);
}

/** The tunnel of a WireGuard uplink. */
export function tunnelDevice(uplink: string): string {
  return shortened(`mlw-${uplink}`);
}

/** Names of interfaces have at most 15 characters: a longer one keeps its beginning. */
function shortened(name: string): string {
  if (name.length <= MAX_NAME) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASHED);
  return `${name.slice(0, MAX_NAME - HASHED - 1)}-${hash}`;
}

export function isInVrf(uplink: HostUplink): boolean {
  return uplink.kind !== 'source' && uplink.isolation === 'vrf';
}

/** The interface that packets of an uplink leave by; undefined for a source uplink, which is where its address is. */
export function interfaceOf(uplink: HostUplink): string | undefined {
  return uplink.kind === 'interface'
    ? uplink.interface
    : uplink.kind === 'wireguard'
      ? tunnelDevice(uplink.name)
      : undefined;
}

/** What sockets are bound to. */
export function bindDeviceOf(uplink: HostUplink): string | undefined {
  return isInVrf(uplink) ? vrfDevice(uplink.name) : interfaceOf(uplink);
}
