/** Network interfaces: RTM_*LINK messages (`struct ifinfomsg`, linux/if_link.h), as values. */
import {
  type Attributes,
  attributesOf,
  type NetlinkWriter,
  NLMSG_HEADER,
  Rtm,
  textOf,
  wordOf,
  wordsOf,
} from '../../wire/netlink.ts';

const IFINFOMSG = 16;
const Ifla = {
  Address: 1,
  IfName: 3,
  Mtu: 4,
  Master: 10,
  OperState: 16,
  LinkInfo: 18,
  Alias: 20,
  ProtoDown: 39,
} as const;
const LinkInfo = { Kind: 1, Data: 2, SlaveKind: 4 } as const;
const VRF_TABLE = 1;

/** `ifi_flags`. */
export const IFF_UP = 1;
const IFF_LOWER_UP = 0x10000;

/** IF_OPER_*: a device without an opinion counts as up while its flags say so. */
const OPER_UNKNOWN = 0;
const OPER_UP = 6;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** vrf, wireguard, veth...; undefined for hardware. */
  readonly kind: string | undefined;
  /** Of the device it is a port of; 0 = of none. */
  readonly master: number;
  readonly mtu: number;
  /** Somebody wants it up. */
  readonly isUp: boolean;
  /** It is, and something is at the other end. */
  readonly isRunning: boolean;
  readonly vrfTable: number | undefined;
  readonly alias: string | undefined;
}

/** An RTM_NEWLINK or RTM_DELLINK message; undefined when it is none. */
export function decodeLink(m: Uint8Array): Link | undefined {
  const type = wordsOf(m).getUint16(4, true);
  if ((type !== Rtm.NewLink && type !== Rtm.DelLink) || m.length < NLMSG_HEADER + IFINFOMSG) return undefined;
  const words = wordsOf(m);
  // Of AF_UNSPEC only: bridges tell of their ports by the same messages.
  if (m[NLMSG_HEADER] !== 0) return undefined;
  const attributes = attributesOf(m, NLMSG_HEADER + IFINFOMSG);
  const name = attributes && textOf(attributes, Ifla.IfName);
  if (attributes === undefined || name === undefined) return undefined;
  const flags = words.getUint32(NLMSG_HEADER + 8, true);
  const nested = attributes.get(Ifla.LinkInfo);
  const info = nested && attributesOf(nested, 0);
  const oper = attributes.get(Ifla.OperState)?.[0] ?? OPER_UNKNOWN;
  const isUp = (flags & IFF_UP) !== 0;
  return {
    index: words.getInt32(NLMSG_HEADER + 4, true),
    name,
    kind: info && textOf(info, LinkInfo.Kind),
    master: wordOf(attributes, Ifla.Master) ?? 0,
    mtu: wordOf(attributes, Ifla.Mtu) ?? 0,
    isUp,
    isRunning: isUp && (oper === OPER_UP || (oper === OPER_UNKNOWN && (flags & IFF_LOWER_UP) !== 0)),
    vrfTable: info && vrfTableOf(info),
    alias: textOf(attributes, Ifla.Alias),
  };
}

function vrfTableOf(info: Attributes): number | undefined {
  const data = textOf(info, LinkInfo.Kind) === 'vrf' ? info.get(LinkInfo.Data) : undefined;
  const attributes = data && attributesOf(data, 0);
  return attributes && wordOf(attributes, VRF_TABLE);
}

export interface LinkChange {
  readonly isUp?: boolean;
  readonly mtu?: number;
  /** 0 = of none. */
  readonly master?: number;
}

/** The body of a request about one link: by number, or by name where the number is 0. */
export function writeLink(w: NetlinkWriter, index: number, name: string, change: LinkChange = {}): void {
  header(w, index, change.isUp);
  if (index === 0) w.attributeText(Ifla.IfName, name);
  if (change.mtu !== undefined) w.attributeU32(Ifla.Mtu, change.mtu);
  if (change.master !== undefined) w.attributeU32(Ifla.Master, change.master);
}

/** The body of RTM_NEWLINK that makes a VRF device or a WireGuard device, up at once unless told otherwise. */
export function writeNewLink(
  w: NetlinkWriter,
  name: string,
  kind: 'wireguard' | { readonly vrfTable: number },
  isUp = true,
): void {
  header(w, 0, isUp);
  w.attributeText(Ifla.IfName, name);
  w.nest(Ifla.LinkInfo, () => {
    w.attribute(LinkInfo.Kind, Buffer.from(kind === 'wireguard' ? kind : 'vrf'));
    if (kind !== 'wireguard') w.nest(LinkInfo.Data, () => w.attributeU32(VRF_TABLE, kind.vrfTable));
  });
}

function header(w: NetlinkWriter, index: number, isUp: boolean | undefined): void {
  const change = isUp === undefined ? 0 : IFF_UP;
  w.u8(0)
    .u8(0)
    .u16(0)
    .u32(index)
    .u32(isUp === true ? IFF_UP : 0)
    .u32(change);
}
