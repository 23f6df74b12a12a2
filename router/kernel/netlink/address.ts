/** Addresses of interfaces: RTM_*ADDR messages (`struct ifaddrmsg`, linux/if_addr.h). */
import { type Addr, type Family, Prefix } from '../../lib/addr.ts';
import {
  addrOf,
  attributeList,
  attributesOf,
  familyMessage,
  familyNumber,
  type NetlinkWriter,
  NLMSG_HEADER,
  Rtm,
  wordOf,
  wordsOf,
} from '../../wire/netlink.ts';

const IFADDRMSG = 8;
const Ifa = { Address: 1, Local: 2, Flags: 8, CacheInfo: 6 } as const;

export const AddressFlag = { Temporary: 0x01, NoDad: 0x02, DadFailed: 0x08, Tentative: 0x40 } as const;
/** What can be given with an address: no DAD, optimistic DAD, home address, temporary ones beside it, no prefix route, multicast. */
const SETTABLE = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;

export interface HostAddress {
  readonly index: number;
  readonly family: Family;
  readonly addr: Addr;
  readonly length: number;
  /** What is on the link with it. */
  readonly network: Prefix;
  readonly flags: number;
  /** RT_SCOPE_*: 0 global, 253 of the link. */
  readonly scope: number;
  /** The message as the kernel sent it. */
  readonly message: Uint8Array;
}

/** An RTM_NEWADDR or RTM_DELADDR message; undefined when it is none. */
export function decodeAddress(m: Uint8Array): HostAddress | undefined {
  const told = familyMessage(m, IFADDRMSG, Rtm.NewAddr, Rtm.DelAddr);
  if (told === undefined) return undefined;
  const { family, attributes } = told;
  const octets = attributes.get(Ifa.Local) ?? attributes.get(Ifa.Address);
  const addr = octets && addrOf(octets, family);
  const network = addr && Prefix.containing(addr, m[NLMSG_HEADER + 1]!);
  if (addr === undefined || network === undefined) return undefined;
  return {
    index: wordsOf(m).getUint32(NLMSG_HEADER + 4, true),
    family,
    addr,
    length: network.length,
    network,
    flags: wordOf(attributes, Ifa.Flags) ?? m[NLMSG_HEADER + 2]!,
    scope: m[NLMSG_HEADER + 3]!,
    message: m,
  };
}

/** The body that gives (or takes) an interface an address of our own choosing. */
export function writeAddress(w: NetlinkWriter, index: number, addr: Addr, length: number): void {
  w.u8(familyNumber(addr.family))
    .u8(length)
    .u8(addr.family === 6 ? AddressFlag.NoDad : 0)
    .u8(0)
    .u32(index);
  w.attribute(Ifa.Local, addr.toBytes()).attribute(Ifa.Address, addr.toBytes());
}

/**
 * The body that gives an interface an address as the kernel once told of it: flags, label, broadcast, metric, protocol and
 * what is left of its lifetimes.
 * @param extraFlags besides those it had
 */
export function writeAddressAgain(w: NetlinkWriter, index: number, message: Uint8Array, extraFlags = 0): void {
  const attributes = attributesOf(message, NLMSG_HEADER + IFADDRMSG);
  const flags = ((attributes && wordOf(attributes, Ifa.Flags)) ?? message[NLMSG_HEADER + 2]!) & SETTABLE;
  w.u8(message[NLMSG_HEADER]!)
    .u8(message[NLMSG_HEADER + 1]!)
    .u8((flags | extraFlags) & 0xff)
    .u8(message[NLMSG_HEADER + 3]!)
    .u32(index);
  for (const [type, value] of attributeList(message, NLMSG_HEADER + IFADDRMSG))
    if (value !== undefined && type !== Ifa.Flags) w.attribute(type, value);
  w.attributeU32(Ifa.Flags, flags | extraFlags);
}
