/**
 * WireGuard devices of the kernel: generic netlink's family "wireguard" (linux/wireguard.h). Messages hold private keys:
 * they go to the kernel and nowhere else.
 */
import { Addr, Prefix } from '../../lib/addr.ts';
import {
  AF_INET,
  AF_INET6,
  type Attributes,
  attributeList,
  attributesOf,
  familyNumber,
  familyOf,
  type NetlinkWriter,
  NLMSG_HEADER,
  wordOf,
  wordsOf,
} from '../../wire/netlink.ts';

const GENL_HEADER = 4;
export const CONTROL_FAMILY = 16;
const GET_FAMILY = 3;
const CtrlAttribute = { FamilyId: 1, FamilyName: 2 } as const;

const Command = { Get: 0, Set: 1 } as const;
const VERSION = 1;
const Device = { IfName: 2, PrivateKey: 3, PublicKey: 4, ListenPort: 6, FwMark: 7, Peers: 8 } as const;
const Peer = {
  PublicKey: 1,
  PresharedKey: 2,
  Flags: 3,
  Endpoint: 4,
  Keepalive: 5,
  LastHandshake: 6,
  RxBytes: 7,
  TxBytes: 8,
  AllowedIps: 9,
} as const;
const AllowedIp = { Family: 1, Address: 2, Length: 3 } as const;
const PeerFlag = { Remove: 1, ReplaceAllowedIps: 2 } as const;

export interface WgEndpointAddress {
  readonly addr: Addr;
  readonly port: number;
}

export interface WgPeerSettings {
  readonly publicKey: Uint8Array;
  readonly presharedKey: Uint8Array | undefined;
  /** undefined leaves what the kernel knows. */
  readonly endpoint: WgEndpointAddress | undefined;
  readonly allowedIps: readonly Prefix[];
  /** Seconds, 0 = off. */
  readonly keepaliveS: number;
}

export interface WgPeerState extends WgPeerSettings {
  /** Wall-clock milliseconds since 1970, 0 = never. */
  readonly latestHandshakeMs: number;
  readonly rxBytes: number;
  readonly txBytes: number;
}

export interface WgDeviceState {
  readonly privateKey: Uint8Array | undefined;
  readonly publicKey: Uint8Array | undefined;
  readonly listenPort: number;
  readonly fwmark: number;
  readonly peers: readonly WgPeerState[];
}

/** The body that asks for a family's number by its name, of a message of CONTROL_FAMILY. */
export function writeGetFamily(w: NetlinkWriter, name: string): void {
  w.u8(GET_FAMILY).u8(VERSION).u16(0).attributeText(CtrlAttribute.FamilyName, name);
}

/** The number in the answer. */
export function decodeFamily(m: Uint8Array): number | undefined {
  const octets = attributesOf(m, NLMSG_HEADER + GENL_HEADER)?.get(CtrlAttribute.FamilyId);
  return octets?.length === 2 ? wordsOf(octets).getUint16(0, true) : undefined;
}

export function writeGetDevice(w: NetlinkWriter, name: string): void {
  w.u8(Command.Get).u8(VERSION).u16(0).attributeText(Device.IfName, name);
}

export interface WgDeviceChange {
  readonly privateKey?: Uint8Array;
  readonly listenPort?: number;
  readonly fwmark?: number;
  readonly removed?: readonly Uint8Array[];
  /** New ones and those that changed; their allowed IPs become exactly these. */
  readonly peers?: readonly WgPeerSettings[];
}

/** Keys in WireGuard's messages have 32 octets; no preshared key is one of zeros. */
const NO_KEY = new Uint8Array(32);

export function writeSetDevice(w: NetlinkWriter, name: string, change: WgDeviceChange): void {
  w.u8(Command.Set).u8(VERSION).u16(0).attributeText(Device.IfName, name);
  if (change.privateKey !== undefined) w.attribute(Device.PrivateKey, change.privateKey);
  if (change.listenPort !== undefined) w.attributeU16(Device.ListenPort, change.listenPort);
  if (change.fwmark !== undefined) w.attributeU32(Device.FwMark, change.fwmark);
  const { removed = [], peers = [] } = change;
  if (removed.length + peers.length === 0) return;
  const list = (): void => {
    let at = 0;
    for (const key of removed)
      w.nest(at++, () => w.attribute(Peer.PublicKey, key).attributeU32(Peer.Flags, PeerFlag.Remove), true);
    for (const p of peers) w.nest(at++, () => writePeer(w, p), true);
  };
  w.nest(Device.Peers, list, true);
}

function writePeer(w: NetlinkWriter, p: WgPeerSettings): void {
  w.attribute(Peer.PublicKey, p.publicKey);
  w.attributeU32(Peer.Flags, PeerFlag.ReplaceAllowedIps);
  w.attribute(Peer.PresharedKey, p.presharedKey ?? NO_KEY);
  if (p.endpoint !== undefined) w.attribute(Peer.Endpoint, sockaddrOf(p.endpoint));
  w.attributeU16(Peer.Keepalive, p.keepaliveS);
  const list = (): void => {
    for (const [at, { addr, length, family }] of p.allowedIps.entries())
      w.nest(
        at,
        () =>
          w
            .attributeU16(AllowedIp.Family, familyNumber(family))
            .attribute(AllowedIp.Address, addr.toBytes())
            .attributeU8(AllowedIp.Length, length),
        true,
      );
  };
  w.nest(Peer.AllowedIps, list, true);
}

/** `struct sockaddr_in` or `struct sockaddr_in6`. */
function sockaddrOf({ addr, port }: WgEndpointAddress): Uint8Array {
  const octets = new Uint8Array(addr.family === 4 ? 16 : 28);
  const words = wordsOf(octets);
  words.setUint16(0, familyNumber(addr.family), true);
  words.setUint16(2, port);
  octets.set(addr.toBytes(), addr.family === 4 ? 4 : 8);
  return octets;
}

function endpointOf(octets: Uint8Array): WgEndpointAddress | undefined {
  if (octets.length < 16) return undefined;
  const words = wordsOf(octets);
  const af = words.getUint16(0, true);
  const at = af === AF_INET ? [4, 8] : af === AF_INET6 && octets.length >= 28 ? [8, 24] : undefined;
  const addr = at && Addr.fromBytes(octets.subarray(at[0], at[1]));
  return addr && { addr, port: words.getUint16(2) };
}

/** A device from all messages of a dump: a peer with many allowed IPs goes on in the next one. */
export function decodeDevice(messages: readonly Uint8Array[]): WgDeviceState | undefined {
  let device: Omit<WgDeviceState, 'peers'> | undefined;
  const peers = new Map<string, WgPeerState>();
  for (const m of messages) {
    const attributes = attributesOf(m, NLMSG_HEADER + GENL_HEADER);
    if (attributes === undefined) return undefined;
    const port = attributes.get(Device.ListenPort);
    device ??= {
      privateKey: attributes.get(Device.PrivateKey),
      publicKey: attributes.get(Device.PublicKey),
      listenPort: port?.length === 2 ? wordsOf(port).getUint16(0, true) : 0,
      fwmark: wordOf(attributes, Device.FwMark) ?? 0,
    };
    for (const peer of listOf(attributes.get(Device.Peers)).map(decodePeer)) {
      if (peer === undefined) return undefined;
      const key = Buffer.from(peer.publicKey).toString('hex');
      const known = peers.get(key);
      peers.set(key, known === undefined ? peer : { ...known, allowedIps: [...known.allowedIps, ...peer.allowedIps] });
    }
  }
  return device && { ...device, peers: [...peers.values()] };
}

function listOf(octets: Uint8Array | undefined): (Attributes | undefined)[] {
  if (octets === undefined) return [];
  return [...attributeList(octets, 0)].map(([, one]) => one && attributesOf(one, 0));
}

function decodePeer(a: Attributes | undefined): WgPeerState | undefined {
  const publicKey = a?.get(Peer.PublicKey);
  if (a === undefined || publicKey === undefined) return undefined;
  const psk = a.get(Peer.PresharedKey);
  const keepalive = a.get(Peer.Keepalive);
  const shake = a.get(Peer.LastHandshake);
  const endpoint = a.get(Peer.Endpoint);
  const big = (type: number): number => {
    const octets = a.get(type);
    return octets?.length === 8 ? Number(wordsOf(octets).getBigUint64(0, true)) : 0;
  };
  return {
    publicKey,
    presharedKey: psk?.some((x) => x !== 0) ? psk : undefined,
    endpoint: endpoint && endpointOf(endpoint),
    allowedIps: listOf(a.get(Peer.AllowedIps)).flatMap((one) => allowedOf(one) ?? []),
    keepaliveS: keepalive?.length === 2 ? wordsOf(keepalive).getUint16(0, true) : 0,
    latestHandshakeMs: shake?.length === 16 ? handshakeMs(wordsOf(shake)) : 0,
    rxBytes: big(Peer.RxBytes),
    txBytes: big(Peer.TxBytes),
  };
}

/** `struct __kernel_timespec`. */
function handshakeMs(words: DataView): number {
  return Number(words.getBigInt64(0, true)) * 1000 + Math.floor(Number(words.getBigInt64(8, true)) / 1e6);
}

function allowedOf(a: Attributes | undefined): Prefix | undefined {
  const family = a?.get(AllowedIp.Family);
  const octets = a?.get(AllowedIp.Address);
  const length = a?.get(AllowedIp.Length);
  if (family?.length !== 2 || octets === undefined || length?.length !== 1) return undefined;
  const addr = familyOf(wordsOf(family).getUint16(0, true)) && Addr.fromBytes(octets);
  return addr && Prefix.containing(addr, length[0]!);
}
