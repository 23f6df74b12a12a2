/**
 * Twin of shim/include/mlshim_proto.h: operation numbers and struct offsets of what the shim and the router say to each
 * other, with readers and writers over the World. Both sides run on one machine: host byte order is little-endian here,
 * ports and addresses inside sockaddrs are in network order. Structs are kept at offsets that are multiples of 4.
 */
import type { World } from '../lib/world.ts';

export const MLS_MAGIC = 0x314c534d;
export const MLS_VERSION = 1;
export const MLS_PAYLOAD_MAX = 61440;

export const MlsOp = {
  Socket: 1,
  Connect: 2,
  Bind: 3,
  Listen: 4,
  GetSockName: 5,
  GetPeerName: 6,
  GetSockOpt: 7,
  SetSockOpt: 8,
  Shutdown: 9,
  Ioctl: 10,
  Resolve: 11,
  NameInfo: 12,
  IfAddrs: 13,
  RouteLane: 14,
  Hello: 15,
} as const;

export const MLS_LANE_STACK = 0;
export const MLS_LANE_DIRECT = 1;
/** Index of the argument of that answer that lets the router into the process. */
export const MLS_LANE_ADMIT = 1;

/** struct mls_req */
export const Req = {
  Magic: 0,
  Op: 4,
  AddrLen: 6,
  Id: 8,
  Session: 12,
  Arg: 16,
  PayloadLen: 40,
  Addr: 48,
  Size: 80,
} as const;

/** struct mls_rep */
export const Rep = { Magic: 0, Result: 4, AddrLen: 8, PayloadLen: 12, Arg: 16, Addr: 32, Size: 64 } as const;

/** struct mls_dgram */
export const Dgram = {
  Family: 0,
  Flags: 1,
  Ttl: 2,
  Tos: 3,
  Port: 4,
  GsoSize: 6,
  IfIndex: 8,
  Scope: 12,
  Addr: 16,
  Local: 32,
  TimeNs: 48,
  Err: 56,
  Size: 64,
} as const;

/** Bits of mls_dgram.flags. */
export const DgramFlag = { Addr: 1, Error: 2, Ttl: 4, Tos: 8, IfIndex: 16, Local: 32 } as const;

/** struct mls_accept */
export const Accept = { Magic: 0, PeerLen: 4, Flags: 6, Peer: 8, Local: 36, Size: 64 } as const;
/** mls_accept.flags: the descriptor is a kernel socket. */
export const ACCEPT_IS_KERNEL = 1;

/** struct mls_ai */
export const Ai = { SockType: 0, Protocol: 4, AddrLen: 8, Addr: 12, Size: 40 } as const;

/** struct mls_ifaddr */
export const IfAddr = {
  Name: 0,
  Flags: 16,
  IfIndex: 20,
  Mtu: 24,
  Family: 28,
  Addr: 32,
  Netmask: 60,
  Size: 96,
} as const;

/** struct mls_opt */
export const Opt = { Level: 0, Name: 4, Len: 8, Value: 12, Size: 32, ValueMax: 20 } as const;

/** Linux address families and protocols that occur in requests. */
export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;
export const AF_PACKET = 17;
export const IPPROTO_IP = 0;
export const IPPROTO_ICMP = 1;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
export const IPPROTO_IPV6 = 41;
export const IPPROTO_ICMPV6 = 58;

/** errno values this folder answers with beside those of router/stack/port.ts. */
export const E = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  ENODEV: 19,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  EPIPE: 32,
  EDOM: 33,
  EPROTO: 71,
  EDESTADDRREQ: 89,
  EMSGSIZE: 90,
  EPROTOTYPE: 91,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  ESOCKTNOSUPPORT: 94,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENETUNREACH: 101,
  ECONNABORTED: 103,
  ECONNRESET: 104,
  ENOBUFS: 105,
  EISCONN: 106,
  ENOTCONN: 107,
  ETOOMANYREFS: 109,
  ETIMEDOUT: 110,
  ECONNREFUSED: 111,
  EHOSTUNREACH: 113,
  EALREADY: 114,
  EINPROGRESS: 115,
} as const;

/** Host-order accessors for fields that are not 32-bit words. */
export function getHost16(u8: Uint8Array, at: number): number {
  return u8[at]! | (u8[at + 1]! << 8);
}

export function putHost16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
}

export function getHost32(u8: Uint8Array, at: number): number {
  return u8[at]! | (u8[at + 1]! << 8) | (u8[at + 2]! << 16) | (u8[at + 3]! << 24);
}

export function putHost32(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value;
  u8[at + 1] = value >>> 8;
  u8[at + 2] = value >>> 16;
  u8[at + 3] = value >>> 24;
}

/** Kind of a socket in its abstract name. */
export type NameKind = 'S' | 'D' | 'P' | 'R';

/**
 * Write the abstract name (without the leading NUL) that identifies a socket on its app's end.
 * @returns its length
 */
export function writeName(
  u8: Uint8Array,
  at: number,
  kind: NameKind,
  isV6: boolean,
  session: number,
  id: number,
): number {
  const hex = (n: number): string => (n >>> 0).toString(16).padStart(8, '0');
  const text = `mls:${kind}${isV6 ? 6 : 4}:${hex(session)}:${hex(id)}`;
  for (let i = 0; i < text.length; i++) u8[at + i] = text.charCodeAt(i);
  return text.length;
}

/** Fill the fixed part of a reply; address and payload lengths start at 0. */
export function beginReply(world: World, at: number): void {
  world.u8.fill(0, at, at + Rep.Size);
  world.i32[at >> 2] = MLS_MAGIC;
}
