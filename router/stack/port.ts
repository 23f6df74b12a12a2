/**
 * The borders of the IP stack: the FIB below it, the owners of datagram endpoints above it. Plain interfaces and reused
 * value objects only; the stack itself is `stack.ts`. TCP's borders are `router/tcp/port.ts`.
 */
import type { Addr } from '../lib/addr.ts';

/**
 * What the stack asks of the FIB; `FibReader` of router/fib is one. Look-ups give a next-hop group, a group gives by
 * `flowHash` (router/fib/hash.ts) the next hop a flow takes, and that a link. All words are int32.
 */
export interface FibPort {
  /** Changes with every change a cached answer could depend on. */
  readonly generation: number;
  /** Group for an IPv4 destination, or 0. */
  lookup4(vrf: number, a3: number): number;
  /** Group for an IPv6 destination, or 0. */
  lookup6(vrf: number, a0: number, a1: number, a2: number, a3: number): number;
  /** What the group does with a packet: a RouteKind. */
  kind(group: number): number;
  /** Does the hash matter for `nextHop`? */
  isMultipath(group: number): boolean;
  /** The next hop the flow takes, or -1 when no member has a link that is up. */
  nextHop(group: number, hash: number): number;
  /** Interface index of a next hop. */
  link(nextHop: number): number;
  /** Whether a next hop prefers a source address, and its words. */
  hasSource(nextHop: number): boolean;
  sourceWord(nextHop: number, i: number): number;
}

/** An address of ours on a link, with its prefix length. */
export interface LinkAddress {
  readonly addr: Addr;
  readonly prefixLength: number;
}

/** errno values the stack answers with (Linux numbers). Functions that can fail return 0 or one of these, positive. */
export const Errno = {
  EACCES: 13,
  EINVAL: 22,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EPROTO: 71,
  ENOPROTOOPT: 92,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETUNREACH: 101,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  ENETDOWN: 100,
  EAGAIN: 11,
  ENODEV: 19,
} as const;

/**
 * A datagram's addresses as delivered to its owner. The stack reuses one object for every call: copy what must live
 * longer. Addresses are data-plane words (IPv4 as ::ffff:a.b.c.d).
 */
export class DatagramInfo {
  isV4 = true;
  /** Link it came in by. */
  link = 0;
  /** Link index when the peer is link-local, else 0 (sin6_scope_id). */
  scope = 0;
  /** Our address it was sent to. */
  l0 = 0;
  l1 = 0;
  l2 = 0;
  l3 = 0;
  /** UDP port; ping: identifier. */
  localPort = 0;
  /** The sender. */
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  /** UDP port; ping: 0. */
  remotePort = 0;
  ttl = 0;
  tos = 0;
}

/** How one datagram is to be sent. Callers keep and reuse one object; `reset` gives "as the endpoint is set up". */
export class DatagramSpec {
  /** Destination; without it the connected peer. */
  hasRemote = false;
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  remotePort = 0;
  /** Link index for a link-local destination (sin6_scope_id), else 0. */
  scope = 0;
  /** Source address to use (IP_PKTINFO, IPV6_PKTINFO); must be ours. */
  hasLocal = false;
  l0 = 0;
  l1 = 0;
  l2 = 0;
  l3 = 0;
  /** Leave by this link; 0 = by route. */
  link = 0;
  /** ToS and TTL overrides; -1 = the endpoint's. */
  tos = -1;
  ttl = -1;
  /** Octets of each datagram when the payload holds several (UDP_SEGMENT), else 0. */
  gsoSize = 0;

  reset(): this {
    this.hasRemote = false;
    this.hasLocal = false;
    this.scope = 0;
    this.link = 0;
    this.tos = -1;
    this.ttl = -1;
    this.gsoSize = 0;
    return this;
  }
}

/** Who owns a datagram endpoint (UDP or ping). Calls come from inside the vector. */
export interface DatagramOwner<E> {
  /**
   * Payload at world offset `at`, valid during the call. With `gsoSize` > 0 it holds several datagrams of `gsoSize`
   * octets (the last may be shorter), which the owner cuts or hands over as they are (UDP_GRO).
   * UDP: without the UDP header. Ping: the whole ICMP message, as Linux ping sockets deliver it.
   */
  deliver(endpoint: E, info: DatagramInfo, at: number, length: number, gsoSize: number): void;
  /** An ICMP error arrived for this endpoint; `info` names the destination that failed in its remote fields. */
  error(endpoint: E, errno: number, info: DatagramInfo): void;
}
