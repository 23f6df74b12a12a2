/**
 * The border between those who know what to ask (resolver.ts, dns-forwarder.ts) and the sockets it is asked by
 * (dns-query.ts): queries are numbered by whoever asks them, and each has a socket of its own.
 */
import type { Addr } from '../lib/addr.ts';

/** A name server: its address, and the link for link-local ones. */
export interface NameServer {
  readonly addr: Addr;
  readonly link: string | undefined;
  /** How it is asked; undefined = by the routing table. */
  readonly path?: ServerPath;
}

export type ServerPath =
  /** Through an uplink, whatever the routing table says. */
  | { readonly kind: 'uplink'; readonly uplink: number }
  /** By the routing table; where that has no way, through an uplink. */
  | { readonly kind: 'routed'; readonly otherwise: number }
  /** By the host kernel's loopback. */
  | { readonly kind: 'loopback' };

/** What becomes of a query. */
export type QueryEvent =
  /** A datagram came in on the socket of this query. */
  | {
      readonly kind: 'datagram';
      readonly query: number;
      readonly from: Addr;
      readonly fromPort: number;
      readonly bytes: Uint8Array;
    }
  /** Octets came in on the stream of this query, cut anywhere. */
  | { readonly kind: 'stream-octets'; readonly query: number; readonly bytes: Uint8Array }
  /** The socket or stream of this query failed or ended. */
  | { readonly kind: 'failed'; readonly query: number };

/** What the edge is to do for a query. */
export type QueryAction =
  | {
      readonly kind: 'send';
      readonly query: number;
      readonly server: NameServer;
      readonly port: number;
      readonly bytes: Uint8Array;
    }
  | {
      readonly kind: 'send-stream';
      readonly query: number;
      readonly server: NameServer;
      readonly port: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'close'; readonly query: number };
