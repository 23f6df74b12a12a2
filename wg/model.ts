/** What a WireGuard device is told and what it tells, as values. Numbers are plain, addresses are `Addr` and `Prefix`. */
import type { Prefix } from '../router/lib/addr.ts';

/** Where a peer is reached: a name or an address, and a UDP port. */
export interface WgEndpoint {
  readonly host: string;
  readonly port: number;
}

export interface WgPeerConfig {
  readonly name?: string | undefined;
  /** 32 octets. */
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  readonly endpoint: WgEndpoint | undefined;
  readonly allowedIps: readonly Prefix[];
  /** Seconds, 0 = off. */
  readonly keepaliveS: number;
}

export interface WgDeviceConfig {
  /** 32 octets. */
  readonly privateKey: Uint8Array;
  /** 0 = chosen by the kernel; the choice is kept while the supervisor lives. */
  readonly listenPort: number;
  /** SO_MARK of outgoing packets; needs CAP_NET_ADMIN, and is reported and ignored without it. 0 = none. */
  readonly fwmark?: number;
  readonly peers: readonly WgPeerConfig[];
}

export interface WgPeerStats {
  readonly name: string | undefined;
  readonly publicKey: Uint8Array;
  readonly hasPresharedKey: boolean;
  /** Where packets go now (the peer may have moved), ADDR:PORT; undefined until known. */
  readonly endpoint: string | undefined;
  /** Why the configured endpoint name has no address, while it has none. */
  readonly endpointError: string | undefined;
  readonly allowedIps: readonly string[];
  /** Wall-clock milliseconds since 1970, 0 = never. */
  readonly latestHandshakeMs: number;
  /** Octets of UDP payload, over all lives of the child. */
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly keepaliveS: number;
}

export interface WgDeviceStats {
  readonly index: number;
  readonly name: string;
  readonly publicKey: Uint8Array;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly mtu: number;
  /** Datagrams handed to the kernel and refused by it, of the present child. */
  readonly sent: number;
  readonly failed: number;
  /** Packets whose destination is in no peer's allowed IPs. */
  readonly noPeer: number;
  /** Records given up because the device did not take them. */
  readonly stuck: number;
  /** Effective SO_RCVBUF in octets. */
  readonly receiveBuffer: number;
  /** Why the last configuration was refused, as an errno name. */
  readonly error: string | undefined;
  readonly peers: readonly WgPeerStats[];
}
