/**
 * The BGP part of the configuration as the router uses it. The routing worker gets it whole (router/lib/post.ts), so a new
 * key is a line in bgp-schema.ts, here, in bgp-load.ts, and where it has its effect.
 */
import type { Addr, Prefix } from '../lib/addr.ts';

export interface BgpPeerConfig {
  readonly name: string;
  readonly asn: number;
  readonly address: Addr;
  /** The uplink the peer is reached by; undefined = by routing. */
  readonly via: string | undefined;
  readonly port: number;
  readonly families: readonly ('ipv4' | 'ipv6')[];
  readonly extendedNextHop: boolean;
  readonly passive: boolean;
  readonly holdTimeS: number;
  readonly importPolicy: 'all' | 'none';
  readonly exportPolicy: 'all' | 'own' | 'none';
  readonly maxPrefixes: number | undefined;
}

export interface BgpConfig {
  readonly asn: number;
  /** Router identifier as an IPv4 address (RFC 4271 §4.2). */
  readonly routerId: Addr;
  /** TCP port we listen on inside the uplinks. */
  readonly listenPort: number;
  /** Prefixes we originate. */
  readonly networks: readonly Prefix[];
  readonly peers: readonly BgpPeerConfig[];
}
