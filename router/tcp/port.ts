/**
 * The two borders of the TCP core: below, the IP layer (`IpPort`); above, whoever owns the octets (`TcpOwner`: an app's
 * fd in shimlink, a test in a simulation). The core never sees fds, rings or routes beyond these.
 */
import type { PacketLink } from '../lib/link.ts';

/** A transport flow as the data plane keys it: addresses as four int32 words (IPv4-mapped for IPv4), plain ports. */
export interface FlowKey {
  readonly vrf: number;
  /** Interface index for link-local remotes, else 0. */
  readonly scope: number;
  readonly isV4: boolean;
  readonly l0: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  readonly localPort: number;
  readonly r0: number;
  readonly r1: number;
  readonly r2: number;
  readonly r3: number;
  readonly remotePort: number;
  /** The only link its packets may use, both ways (SO_BINDTODEVICE), 0 = any. No part of the flow's identity. */
  readonly device: number;
}

/** What TCP needs from IP. Implemented by router/stack, and by a simulated network in tests. */
export interface IpPort {
  /** Changes whenever a cached answer of `resolve` may be stale (FIB generation, link up/down). */
  readonly routeGeneration: number;
  /** The link packets of this flow leave by now; undefined when there is no route. */
  resolve(flow: FlowKey): PacketLink | undefined;
  /** Path MTU to the flow's remote in octets (RFC 1191, RFC 8201): the link's MTU or a smaller learned value. */
  pathMtu(flow: FlowKey, link: PacketLink): number;
  /**
   * Reserve room on `link` for the IP header and `segmentLength` octets of TCP header + payload.
   * @returns world offset of the TCP header, or -1 (queue full; counted)
   */
  begin(flow: FlowKey, link: PacketLink, segmentLength: number): number;
  /**
   * Write the IP header, arrange the checksum and commit what `begin` reserved.
   * @param gsoSize payload octets per segment when this is a super-segment, else 0
   * @param tos ToS / traffic class octet, ECN bits included
   */
  send(
    flow: FlowKey,
    link: PacketLink,
    at: number,
    headerLength: number,
    payloadLength: number,
    gsoSize: number,
    tos: number,
    ttl: number,
  ): void;
}

/** Why a connection ended, as the errno Linux would give; 0 is a clean end. */
export const TcpEnd = {
  Clean: 0,
  Reset: 104, // ECONNRESET
  Refused: 111, // ECONNREFUSED
  TimedOut: 110, // ETIMEDOUT
  HostUnreachable: 113, // EHOSTUNREACH
  NetUnreachable: 101, // ENETUNREACH
  Aborted: 103, // ECONNABORTED
} as const;

/** Who receives and supplies a connection's octets. Calls come from inside the vector; none may re-enter the connection. */
export interface TcpOwner<C> {
  /** The three-way handshake is complete. */
  established(c: C): void;
  /**
   * In-order octets at world offset `at`. Returns how many were taken (0..length); the rest is kept in the receive
   * buffer and offered again through `TcpConnection.pull()` when the owner has room.
   */
  deliver(c: C, at: number, length: number): number;
  /** The peer's FIN was reached in order: no more octets will come. */
  peerFinished(c: C): void;
  /** Send-buffer room grew after it was exhausted: the owner may supply octets again. */
  sendSpace(c: C): void;
  /** The connection is gone. `errno` is a TcpEnd value. Last call for this connection. */
  closed(c: C, errno: number): void;
}

/** Where connections are found by flow: the stack's demultiplexer, or its `FlowTable` alone in simulations. */
export interface TcpTable<C extends FlowKey> {
  /** Add a connection under its flow (vrf, scope, addresses, ports); false when that flow is taken. */
  insert(c: C): boolean;
  remove(c: C): void;
  /** The connection of exactly this flow. */
  find(flow: FlowKey): C | undefined;
}

/** Who takes the connections of a listener. The call comes from inside the vector; take them after it, with `TcpListener.accept`. */
export interface TcpAcceptor<L> {
  /** A connection finished its handshake and waits in the accept queue. */
  acceptable(l: L): void;
}
