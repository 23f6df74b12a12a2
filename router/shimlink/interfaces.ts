/**
 * What apps see as network interfaces: the stack's links and `lo`, for getifaddrs (struct mls_ifaddr[]) and for the
 * SIOCGIF* requests of netdevice(7). Hardware addresses do not exist on tunnels: they are zero, as on Linux's tun.
 */

import { maskWord } from '../lib/addr.ts';
import type { World } from '../lib/world.ts';
import type { StackLink } from '../stack/links.ts';
import type { Stack } from '../stack/stack.ts';
import { AF_INET, AF_INET6, AF_PACKET, E, getHost32, IfAddr, putHost16, putHost32 } from './proto.ts';
import { writeSockAddr } from './sockaddr.ts';

/** IFF_* of netdevice(7). */
const IFF_UP = 0x1;
const IFF_LOOPBACK = 0x8;
const IFF_POINTOPOINT = 0x10;
const IFF_RUNNING = 0x40;
const IFF_NOARP = 0x80;
const IFF_LOWER_UP = 0x10000;

/** Types of hardware (ARPHRD_*). */
const ARPHRD_LOOPBACK = 772;
const ARPHRD_NONE = 0xfffe;

const LOOPBACK_INDEX = 1;
const LOOPBACK_MTU = 65536;

const SIOCGIFNAME = 0x8910;
const SIOCGIFCONF = 0x8912;
const SIOCGIFFLAGS = 0x8913;
const SIOCGIFADDR = 0x8915;
const SIOCGIFDSTADDR = 0x8917;
const SIOCGIFBRDADDR = 0x8919;
const SIOCGIFNETMASK = 0x891b;
const SIOCGIFMETRIC = 0x891d;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const SIOCGIFTXQLEN = 0x8942;

const IFNAMSIZ = 16;
const IFREQ_SIZE = 40;

interface Interface {
  readonly index: number;
  readonly name: string;
  readonly mtu: number;
  readonly flags: number;
  readonly addresses: readonly { readonly words: readonly number[]; readonly isV4: boolean; readonly length: number }[];
}

function interfaces(stack: Stack): Interface[] {
  const lo: Interface = {
    index: LOOPBACK_INDEX,
    name: 'lo',
    mtu: LOOPBACK_MTU,
    flags: IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP,
    addresses: [
      { words: [0, 0, 0xffff, 0x7f000001], isV4: true, length: 8 },
      { words: [0, 0, 0, 1], isV4: false, length: 128 },
    ],
  };
  return [
    lo,
    ...stack.links
      .all()
      .filter((l) => !l.isLoopback)
      .map(fromLink),
  ];
}

function fromLink(l: StackLink): Interface {
  const state = l.link.isUp ? IFF_UP | IFF_RUNNING | IFF_LOWER_UP : 0;
  return {
    index: l.index,
    name: l.link.name,
    mtu: l.link.mtu,
    flags: state | IFF_POINTOPOINT | IFF_NOARP,
    addresses: l.addresses.map(({ addr, prefixLength }) => ({
      words: [addr.a0, addr.a1, addr.a2, addr.a3],
      isV4: addr.family === 4,
      length: prefixLength,
    })),
  };
}

function putName(u8: Uint8Array, at: number, name: string): void {
  u8.fill(0, at, at + IFNAMSIZ);
  for (let i = 0; i < name.length && i < IFNAMSIZ - 1; i++) u8[at + i] = name.charCodeAt(i);
}

function getName(u8: Uint8Array, at: number): string {
  let name = '';
  for (let i = 0; i < IFNAMSIZ && u8[at + i] !== 0; i++) name += String.fromCharCode(u8[at + i]!);
  return name;
}

function putMask(u8: Uint8Array, at: number, isV4: boolean, length: number): void {
  const m = (i: number): number => maskWord(Math.min(32, Math.max(0, length - i * 32)));
  if (isV4) writeSockAddr(u8, at, AF_INET, 0, 0, 0, maskWord(length), 0, 0);
  else writeSockAddr(u8, at, AF_INET6, m(0), m(1), m(2), m(3), 0, 0);
}

/** Write one struct mls_ifaddr per link and per address to `at`. @returns octets written */
export function writeIfAddrs(stack: Stack, world: World, at: number, room: number): number {
  const u8 = world.u8;
  let n = 0;
  const entry = (i: Interface, family: number): number => {
    const o = at + n;
    u8.fill(0, o, o + IfAddr.Size);
    putName(u8, o + IfAddr.Name, i.name);
    putHost32(u8, o + IfAddr.Flags, i.flags);
    putHost32(u8, o + IfAddr.IfIndex, i.index);
    putHost32(u8, o + IfAddr.Mtu, i.mtu);
    putHost32(u8, o + IfAddr.Family, family);
    n += IfAddr.Size;
    return o;
  };
  const all = interfaces(stack);
  for (const i of all) if (n + IfAddr.Size <= room) entry(i, AF_PACKET);
  for (const i of all) {
    for (const a of i.addresses) {
      if (n + IfAddr.Size > room) return n;
      const family = a.isV4 ? AF_INET : AF_INET6;
      const o = entry(i, family);
      const [w0, w1, w2, w3] = a.words as [number, number, number, number];
      const isLinkLocal = (w0 & 0xffc00000) === (0xfe800000 | 0);
      writeSockAddr(u8, o + IfAddr.Addr, family, w0, w1, w2, w3, 0, isLinkLocal ? i.index : 0);
      putMask(u8, o + IfAddr.Netmask, a.isV4, a.length);
    }
  }
  return n;
}

/**
 * Answer a SIOCGIF* request whose struct ifreq (or, for SIOCGIFCONF, nothing) is the payload at `from`.
 * @returns octets of the answer at `at`, or -errno
 */
export function interfaceIoctl(
  stack: Stack,
  world: World,
  request: number,
  from: number,
  length: number,
  at: number,
  room: number,
): number {
  const u8 = world.u8;
  const all = interfaces(stack);
  if (request === SIOCGIFCONF) {
    let n = 0;
    for (const i of all) {
      const a = i.addresses.find((x) => x.isV4);
      if (a === undefined) continue;
      if (n + IFREQ_SIZE > room) break;
      u8.fill(0, at + n, at + n + IFREQ_SIZE);
      putName(u8, at + n, i.name);
      writeSockAddr(u8, at + n + IFNAMSIZ, AF_INET, 0, 0, 0, a.words[3]!, 0, 0);
      n += IFREQ_SIZE;
    }
    return n;
  }
  if (length < IFNAMSIZ + 16) return -E.EINVAL;
  const found =
    request === SIOCGIFNAME
      ? all.find((i) => i.index === getHost32(u8, from + IFNAMSIZ))
      : all.find((i) => i.name === getName(u8, from));
  if (found === undefined) return -E.ENODEV;
  u8.fill(0, at, at + IFREQ_SIZE);
  putName(u8, at, found.name);
  const value = at + IFNAMSIZ;
  const v4 = found.addresses.find((a) => a.isV4);
  switch (request) {
    case SIOCGIFNAME:
      break;
    case SIOCGIFFLAGS:
      putHost16(u8, value, found.flags & 0xffff);
      break;
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
      if (v4 === undefined) return -E.EADDRNOTAVAIL;
      writeSockAddr(u8, value, AF_INET, 0, 0, 0, v4.words[3]!, 0, 0);
      break;
    case SIOCGIFBRDADDR:
      if (v4 === undefined) return -E.EADDRNOTAVAIL;
      writeSockAddr(u8, value, AF_INET, 0, 0, 0, 0, 0, 0);
      break;
    case SIOCGIFNETMASK:
      if (v4 === undefined) return -E.EADDRNOTAVAIL;
      putMask(u8, value, true, v4.length);
      break;
    case SIOCGIFMETRIC:
      break;
    case SIOCGIFMTU:
      putHost32(u8, value, found.mtu);
      break;
    case SIOCGIFHWADDR:
      putHost16(u8, value, found.name === 'lo' ? ARPHRD_LOOPBACK : ARPHRD_NONE);
      break;
    case SIOCGIFINDEX:
      putHost32(u8, value, found.index);
      break;
    case SIOCGIFTXQLEN:
      putHost32(u8, value, 1000);
      break;
    default:
      return -E.EINVAL;
  }
  return IFREQ_SIZE;
}
