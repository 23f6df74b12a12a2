/**
 * The netlink encoding of FPM: rtnetlink messages as a daemon would send them to its kernel (rtnetlink(7), the kernel's
 * rtnetlink.h and nexthop.h), in the byte order of the client's machine, which is ours: little-endian.
 * Decodes routes and next hops, and marks a route as taken for the answer; sends nothing else.
 */
import { type Addr, type Family, Prefix } from '../lib/addr.ts';
import {
  type Attributes,
  addrOf,
  attributesOf,
  familyOf,
  messagesOf,
  NLMSG_HEADER,
  RTMSG,
  RTNEXTHOP,
  Rta,
  Rtm,
  unspecified,
  viaOf,
  wordOf,
  wordsOf,
} from '../wire/netlink.ts';
import {
  type Decoded,
  type FpmHop,
  type FpmMember,
  type FpmMessage,
  type FpmRoute,
  type FpmRouteType,
  MAIN_TABLE,
} from './message.ts';

const NHMSG = 8;
const GROUP_MEMBER = 8;

const Nha = { Id: 1, Group: 2, Blackhole: 4, Oif: 5, Gateway: 6 } as const;

const ROUTE_TYPES: Readonly<Record<number, FpmRouteType>> = {
  1: 'unicast',
  6: 'blackhole',
  7: 'unreachable',
  8: 'prohibit',
};

/** rtm_protocol: numbers up to 4 are the client's own kernel and its administrator, the rest routing daemons. */
const PROTOCOLS: Readonly<Record<number, string>> = {
  0: 'kernel',
  1: 'kernel',
  2: 'kernel',
  3: 'kernel',
  4: 'kernel',
  9: 'ra',
  11: 'zebra',
  12: 'bird',
  16: 'dhcp',
  42: 'babel',
  186: 'bgp',
  187: 'isis',
  188: 'ospf',
  189: 'rip',
  190: 'ripng',
  191: 'nhrp',
  192: 'eigrp',
  193: 'ldp',
  194: 'sharp',
  195: 'pbr',
  196: 'static',
  197: 'openfabric',
  198: 'srte',
};

/** `rtm_flags`: the route is in the hardware, which for FRR is what an FPM server says of a route it has taken. */
const RTM_F_OFFLOAD = 0x4000;
const FLAGS_AT = NLMSG_HEADER + 8;

/** All messages of one frame. Never throws, whatever the octets are. */
export function decodeNetlink(payload: Uint8Array): Decoded {
  const messages: FpmMessage[] = [];
  let unknown = 0;
  let malformed = 0;
  for (const m of messagesOf(payload)) {
    if (m === undefined) malformed++;
    else {
      const decoded = decodeMessage(m);
      if (decoded === 'unknown') unknown++;
      else if (decoded === undefined) malformed++;
      else messages.push(decoded);
    }
  }
  return { messages, unknown, malformed };
}

/**
 * The messages of a frame that install routes `isTaken` says yes to, marked as such (RTM_F_OFFLOAD): payloads of the
 * answer, one each. FRR takes them since 8.5 (`zebra asic-offload notify_on_offload`); older ones read over them.
 */
export function confirmNetlink(payload: Uint8Array, isTaken: (route: FpmRoute) => boolean): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (const m of messagesOf(payload)) {
    const decoded = m && decodeMessage(m);
    if (m === undefined || typeof decoded !== 'object' || decoded.kind !== 'route' || !isTaken(decoded)) continue;
    const copy = m.slice();
    const words = wordsOf(copy);
    words.setUint32(FLAGS_AT, (words.getUint32(FLAGS_AT, true) | RTM_F_OFFLOAD) >>> 0, true);
    out.push(copy);
  }
  return out;
}

function decodeMessage(m: Uint8Array): FpmMessage | 'unknown' | undefined {
  const type = wordsOf(m).getUint16(4, true);
  switch (type) {
    case Rtm.NewRoute:
    case Rtm.DelRoute:
      return decodeRoute(m.subarray(NLMSG_HEADER), type === Rtm.NewRoute);
    case Rtm.NewNextHop:
    case Rtm.DelNextHop:
      return decodeNextHop(m.subarray(NLMSG_HEADER), type === Rtm.NewNextHop);
    default:
      return 'unknown';
  }
}

function decodeRoute(body: Uint8Array, isNew: boolean): FpmMessage | 'unknown' | undefined {
  if (body.length < RTMSG) return undefined;
  const family = familyOf(body[0]!);
  if (family === undefined) return 'unknown';
  const attributes = attributesOf(body, RTMSG);
  if (attributes === undefined) return undefined;
  const dst = attributes.get(Rta.Dst);
  const addr = dst === undefined ? unspecified(family) : addrOf(dst, family);
  const prefix = addr && Prefix.containing(addr, body[1]!);
  const longTable = attributes.get(Rta.Table);
  if (prefix === undefined || (longTable !== undefined && longTable.length !== 4)) return undefined;
  const table = longTable === undefined ? body[4]! || MAIN_TABLE : wordsOf(longTable).getUint32(0, true) || MAIN_TABLE;
  // A withdrawal need not say what kind of route it was; FRR's older module leaves everything zero.
  if (!isNew) return { kind: 'withdrawal', table, prefix };
  const routeType = ROUTE_TYPES[body[7]!];
  if (routeType === undefined) return 'unknown';
  const hops = routeType === 'unicast' ? routeHops(attributes, family) : [];
  if (hops === undefined) return undefined;
  return {
    kind: 'route',
    table,
    prefix,
    protocol: PROTOCOLS[body[5]!] ?? `proto-${body[5]}`,
    type: routeType,
    metric: wordOf(attributes, Rta.Priority) ?? 0,
    hops,
  };
}

function routeHops(attributes: Attributes, family: Family): readonly FpmHop[] | number | undefined {
  const id = attributes.get(Rta.NhId);
  if (id !== undefined) return id.length === 4 ? wordsOf(id).getUint32(0, true) : undefined;
  const preferred = attributes.get(Rta.PrefSrc);
  const source = preferred && addrOf(preferred, family);
  if (preferred !== undefined && source === undefined) return undefined;
  const multipath = attributes.get(Rta.Multipath);
  if (multipath !== undefined) return multipathHops(multipath, family, source);
  const hop = hopOf(attributes, family, wordOf(attributes, Rta.Oif), 1, source);
  return hop && [hop];
}

/** RTA_MULTIPATH: a row of `struct rtnexthop`, each with attributes of its own. */
function multipathHops(octets: Uint8Array, family: Family, source: Addr | undefined): FpmHop[] | undefined {
  const hops: FpmHop[] = [];
  for (let at = 0; at < octets.length; ) {
    const length = octets.length - at < RTNEXTHOP ? 0 : wordsOf(octets).getUint16(at, true);
    if (length < RTNEXTHOP || length > octets.length - at) return undefined;
    const one = octets.subarray(at, at + length);
    const attributes = attributesOf(one, RTNEXTHOP);
    // rtnh_hops is the weight less one.
    const hop = attributes && hopOf(attributes, family, wordsOf(one).getUint32(4, true), one[3]! + 1, source);
    if (hop === undefined) return undefined;
    hops.push(hop);
    at += (length + 3) & ~3;
  }
  return hops;
}

function hopOf(
  attributes: Attributes,
  family: Family,
  ifindex: number | undefined,
  weight: number,
  source: Addr | undefined,
): FpmHop | undefined {
  const plain = attributes.get(Rta.Gateway);
  const via = attributes.get(Rta.Via);
  const gateway = plain !== undefined ? addrOf(plain, family) : via && viaOf(via);
  if (gateway === undefined && (plain ?? via) !== undefined) return undefined;
  return { gateway, ifindex: ifindex === 0 ? undefined : ifindex, weight, ...(source !== undefined && { source }) };
}

function decodeNextHop(body: Uint8Array, isNew: boolean): FpmMessage | 'unknown' | undefined {
  if (body.length < NHMSG) return undefined;
  const attributes = attributesOf(body, NHMSG);
  const id = attributes && wordOf(attributes, Nha.Id);
  if (attributes === undefined || id === undefined || id === 0) return undefined;
  if (!isNew) return { kind: 'nexthop-gone', id };
  const group = attributes.get(Nha.Group);
  if (group !== undefined) {
    const members = membersOf(group);
    return members && { kind: 'nexthop', id, what: members };
  }
  if (attributes.has(Nha.Blackhole)) return { kind: 'nexthop', id, what: 'blackhole' };
  const plain = attributes.get(Nha.Gateway);
  const family = familyOf(body[0]!);
  if (family === undefined) return 'unknown';
  const gateway = plain && addrOf(plain, family);
  if (plain !== undefined && gateway === undefined) return undefined;
  return { kind: 'nexthop', id, what: { gateway, ifindex: wordOf(attributes, Nha.Oif), weight: 1 } };
}

/** NHA_GROUP: a row of `struct nexthop_grp` (id, weight less one). */
function membersOf(octets: Uint8Array): FpmMember[] | undefined {
  if (octets.length === 0 || octets.length % GROUP_MEMBER !== 0) return undefined;
  const members: FpmMember[] = [];
  for (let at = 0; at < octets.length; at += GROUP_MEMBER)
    members.push({ id: wordsOf(octets).getUint32(at, true), weight: octets[at + 4]! + 1 });
  return members;
}
