/** Sockets of the host: sock_diag(7) (`struct inet_diag_req_v2`, linux/inet_diag.h). */
import { Addr, type Family } from '../../lib/addr.ts';
import { familyNumber, familyOf, type NetlinkWriter, NLMSG_HEADER, wordsOf } from '../../wire/netlink.ts';

export const DiagType = { ByFamily: 20, Destroy: 21 } as const;
export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;

/** TCP's states by number; UDP sockets are "established" when connected and "closed" else. */
const TcpState = { TimeWait: 6, Listen: 10, NewSynRecv: 12 } as const;
/** All but listeners and what has no socket any more. */
export const LIVE_STATES = 0xfff & ~(1 << TcpState.TimeWait) & ~(1 << TcpState.Listen);

const SOCKET_ID = 48;
const MESSAGE = 4 + SOCKET_ID + 20;
const BYTECODE = 1;
const DEVICE_CONDITION = 9;

export interface HostSocket {
  readonly family: Family;
  readonly state: number;
  readonly source: Addr;
  readonly sourcePort: number;
  readonly destination: Addr;
  readonly destinationPort: number;
  /** It is bound to (SO_BINDTODEVICE); 0 = to none. */
  readonly ifindex: number;
  readonly uid: number;
  /** `struct inet_diag_sockid`, which names the socket. */
  readonly id: Uint8Array;
}

/** The body of a dump. @param ifindex only sockets bound to it; 0 = all */
export function writeDump(w: NetlinkWriter, family: Family, protocol: number, states: number, ifindex: number): void {
  w.u8(familyNumber(family)).u8(protocol).u16(0).u32(states).bytes(new Uint8Array(SOCKET_ID));
  if (ifindex === 0) return;
  // One condition of eight octets: true goes on behind it, which is the end and a yes; false goes beyond, a no.
  const program = new Uint8Array(8);
  const words = wordsOf(program);
  program[0] = DEVICE_CONDITION;
  program[1] = program.length;
  words.setUint16(2, program.length + 4, true);
  words.setUint32(4, ifindex, true);
  w.attribute(BYTECODE, program);
}

/** The body that ends one socket with ECONNABORTED. */
export function writeDestroy(w: NetlinkWriter, protocol: number, s: HostSocket): void {
  w.u8(familyNumber(s.family)).u8(protocol).u16(0).u32(0xffffffff).bytes(s.id);
}

export function decodeSocket(m: Uint8Array): HostSocket | undefined {
  if (wordsOf(m).getUint16(4, true) !== DiagType.ByFamily || m.length < NLMSG_HEADER + MESSAGE) return undefined;
  const body = m.subarray(NLMSG_HEADER);
  const words = wordsOf(body);
  const family = familyOf(body[0]!);
  if (family === undefined) return undefined;
  const size = family === 4 ? 4 : 16;
  return {
    family,
    state: body[1]!,
    sourcePort: words.getUint16(4),
    destinationPort: words.getUint16(6),
    source: unmapped(body.subarray(8, 8 + size)),
    destination: unmapped(body.subarray(24, 24 + size)),
    ifindex: words.getUint32(40, true),
    uid: words.getUint32(4 + SOCKET_ID + 12, true),
    id: body.slice(4, 4 + SOCKET_ID),
  };
}

/** IPv4 of an IPv6 socket is IPv4. */
function unmapped(octets: Uint8Array): Addr {
  const a = Addr.fromBytes(octets)!;
  return a.family === 6 ? Addr.fromWords(a.a0, a.a1, a.a2, a.a3) : a;
}
