/** Routes: RTM_*ROUTE messages (`struct rtmsg`, linux/rtnetlink.h). */
import { type Addr, type Family, Prefix } from '../../lib/addr.ts';
import {
  type Attributes,
  addrOf,
  attributeList,
  attributesOf,
  familyMessage,
  familyNumber,
  type NetlinkWriter,
  NLMSG_HEADER,
  RouteType,
  RTMSG,
  RTNEXTHOP,
  Rta,
  Rtm,
  unspecified,
  viaOf,
  wordOf,
  wordsOf,
} from '../../wire/netlink.ts';

/** `rtnh_flags`: the gateway is a neighbour, whatever the routes say. The others are the kernel's remarks. */
const ON_LINK = 4;
/** RT_SCOPE_*: how far a destination is. */
const Scope = { Universe: 0, Link: 253, Nowhere: 255 } as const;
const SHORT_TABLES = 256;

export interface HostHop {
  /** 0 = none. */
  readonly ifindex: number;
  readonly gateway: Addr | undefined;
  readonly weight: number;
}

export interface HostRoute {
  readonly table: number;
  readonly prefix: Prefix;
  /** Who made it (RTPROT_*): 2 the kernel itself, 3 and 4 people, the rest daemons. */
  readonly protocol: number;
  /** RTN_*. */
  readonly type: number;
  readonly metric: number;
  readonly source: Addr | undefined;
  readonly hops: readonly HostHop[];
  /** The message as the kernel sent it. */
  readonly message: Uint8Array;
}

/** An RTM_NEWROUTE or RTM_DELROUTE message of IPv4 or IPv6; undefined when it is none. */
export function decodeRoute(m: Uint8Array): HostRoute | undefined {
  const told = familyMessage(m, RTMSG, Rtm.NewRoute, Rtm.DelRoute);
  if (told === undefined) return undefined;
  const { family, attributes } = told;
  const dst = attributes.get(Rta.Dst);
  const addr = dst === undefined ? unspecified(family) : addrOf(dst, family);
  const prefix = addr && Prefix.containing(addr, m[NLMSG_HEADER + 1]!);
  const source = attributes.get(Rta.PrefSrc);
  if (prefix === undefined) return undefined;
  return {
    table: wordOf(attributes, Rta.Table) ?? m[NLMSG_HEADER + 4]!,
    prefix,
    protocol: m[NLMSG_HEADER + 5]!,
    type: m[NLMSG_HEADER + 7]!,
    metric: wordOf(attributes, Rta.Priority) ?? 0,
    source: source && addrOf(source, family),
    hops: hopsOf(attributes, family),
    message: m,
  };
}

function hopsOf(attributes: Attributes, family: Family): HostHop[] {
  const multipath = attributes.get(Rta.Multipath);
  if (multipath !== undefined) return [...multipathOf(multipath, family)].map((h) => h.hop);
  const ifindex = wordOf(attributes, Rta.Oif) ?? 0;
  const gateway = gatewayOf(attributes, family);
  return ifindex === 0 && gateway === undefined ? [] : [{ ifindex, gateway, weight: 1 }];
}

function gatewayOf(attributes: Attributes, family: Family): Addr | undefined {
  const plain = attributes.get(Rta.Gateway);
  const via = attributes.get(Rta.Via);
  return plain !== undefined ? addrOf(plain, family) : via && viaOf(via);
}

interface RawHop {
  readonly hop: HostHop;
  readonly flags: number;
  readonly octets: Uint8Array;
}

/** RTA_MULTIPATH: a row of `struct rtnexthop`, each with attributes of its own; ends where it makes no sense. */
function* multipathOf(octets: Uint8Array, family: Family): Generator<RawHop> {
  for (let at = 0; octets.length - at >= RTNEXTHOP; ) {
    const length = wordsOf(octets).getUint16(at, true);
    if (length < RTNEXTHOP || length > octets.length - at) return;
    const one = octets.subarray(at, at + length);
    const attributes = attributesOf(one, RTNEXTHOP);
    if (attributes === undefined) return;
    const ifindex = wordsOf(one).getUint32(4, true);
    // rtnh_hops is the weight less one.
    const hop = { ifindex, gateway: gatewayOf(attributes, family), weight: one[3]! + 1 };
    yield { hop, flags: one[2]!, octets: one };
    at += (length + 3) & ~3;
  }
}

/** A route of our own making. */
export interface NewRoute {
  readonly table: number;
  readonly prefix: Prefix;
  readonly protocol: number;
  readonly metric: number;
  readonly type: 'unicast' | 'blackhole' | 'unreachable' | 'prohibit';
  /** None where nothing is sent on. */
  readonly hops: readonly HostHop[];
}

/** RTN_* of what we make. */
export const ROUTE_TYPES = {
  unicast: RouteType.Unicast,
  blackhole: RouteType.Blackhole,
  unreachable: RouteType.Unreachable,
  prohibit: RouteType.Prohibit,
} as const;

/** The body of RTM_NEWROUTE. Gateways are taken for neighbours: whoever chose them has resolved them. */
export function writeRoute(w: NetlinkWriter, r: NewRoute): void {
  const [only] = r.hops;
  const isOne = only !== undefined && r.hops.length === 1;
  const isDirect = r.prefix.family === 4 && r.type === 'unicast' && r.hops.every((h) => h.gateway === undefined);
  const scope = isDirect ? Scope.Link : Scope.Universe;
  const flags = isOne && only.gateway !== undefined ? ON_LINK : 0;
  header(w, r.prefix, r.table, r.protocol, scope, ROUTE_TYPES[r.type], flags);
  if (r.metric !== 0) w.attributeU32(Rta.Priority, r.metric);
  if (isOne) {
    writeGateway(w, r.prefix.family, only.gateway);
    w.attributeU32(Rta.Oif, only.ifindex);
  } else if (r.hops.length > 1)
    w.nest(Rta.Multipath, () => {
      for (const h of r.hops)
        w.hop(h.gateway === undefined ? 0 : ON_LINK, Math.min(256, Math.max(1, h.weight)), h.ifindex, () =>
          writeGateway(w, r.prefix.family, h.gateway),
        );
    });
}

/** The body of RTM_DELROUTE for what stands at a prefix with a protocol and metric, whatever way it goes. */
export function writeRouteKey(w: NetlinkWriter, r: Omit<NewRoute, 'hops' | 'type'>): void {
  header(w, r.prefix, r.table, r.protocol, Scope.Nowhere, 0, 0);
  if (r.metric !== 0) w.attributeU32(Rta.Priority, r.metric);
}

function header(
  w: NetlinkWriter,
  prefix: Prefix,
  table: number,
  protocol: number,
  scope: number,
  type: number,
  flags: number,
): void {
  w.u8(familyNumber(prefix.family)).u8(prefix.length).u8(0).u8(0);
  w.u8(table < SHORT_TABLES ? table : 0)
    .u8(protocol)
    .u8(scope)
    .u8(type)
    .u32(flags);
  if (prefix.length > 0) w.attribute(Rta.Dst, prefix.addr.toBytes());
  w.attributeU32(Rta.Table, table);
}

/** In its own attribute, or RTA_VIA where it is of the other family (RFC 8950). */
function writeGateway(w: NetlinkWriter, family: Family, gateway: Addr | undefined): void {
  if (gateway === undefined) return;
  if (gateway.family === family) w.attribute(Rta.Gateway, gateway.toBytes());
  else {
    const octets = gateway.toBytes();
    const via = new Uint8Array(2 + octets.length);
    via[0] = familyNumber(gateway.family);
    via.set(octets, 2);
    w.attribute(Rta.Via, via);
  }
}

export interface Rerouting {
  readonly table?: number;
  /** Only next hops over this interface. */
  readonly onlyOver?: number;
  readonly protocol?: number;
}

/**
 * The body of RTM_NEWROUTE (or RTM_DELROUTE) for a route as the kernel once told of it: metrics, source, preference,
 * encapsulation and whatever else it has, less the kernel's own remarks.
 */
export function writeRouteAgain(w: NetlinkWriter, r: HostRoute, change: Rerouting = {}): void {
  const m = r.message;
  const table = change.table ?? r.table;
  const words = wordsOf(m);
  const family = r.prefix.family;
  const multipath = attributesOf(m, NLMSG_HEADER + RTMSG)?.get(Rta.Multipath);
  const all = multipath === undefined ? [] : [...multipathOf(multipath, family)];
  const hops = change.onlyOver === undefined ? all : all.filter((h) => h.hop.ifindex === change.onlyOver);
  const [only] = hops;
  const isOne = multipath !== undefined && only !== undefined && hops.length === 1;
  w.bytes(m.subarray(NLMSG_HEADER, NLMSG_HEADER + 4))
    .u8(table < SHORT_TABLES ? table : 0)
    .u8(change.protocol ?? r.protocol)
    .bytes(m.subarray(NLMSG_HEADER + 6, NLMSG_HEADER + 8))
    .u32((isOne ? only.flags : words.getUint32(NLMSG_HEADER + 8, true)) & ON_LINK);
  for (const [type, value] of attributeList(m, NLMSG_HEADER + RTMSG)) {
    if (value === undefined) break;
    if (type === Rta.Table || type === Rta.Multipath || type === Rta.CacheInfo || type === Rta.NhId) continue;
    w.attribute(type, value);
  }
  w.attributeU32(Rta.Table, table);
  const expires = expiryOf(r);
  if (expires > 0) w.attributeU32(Rta.Expires, expires);
  if (isOne) {
    for (const [type, value] of attributeList(only.octets, RTNEXTHOP))
      if (value !== undefined) w.attribute(type, value);
    w.attributeU32(Rta.Oif, only.hop.ifindex);
  } else if (hops.length > 0)
    w.nest(Rta.Multipath, () => {
      for (const h of hops)
        w.hop(h.flags & ON_LINK, h.hop.weight, h.hop.ifindex, () => w.bytes(h.octets.subarray(RTNEXTHOP)));
    });
}

/** Hundredths of a second, as the kernel tells them of IPv6 routes (`struct rta_cacheinfo`), to whole ones. */
function expiryOf(r: HostRoute): number {
  const info = attributesOf(r.message, NLMSG_HEADER + RTMSG)?.get(Rta.CacheInfo);
  return r.prefix.family === 6 && info !== undefined && info.length >= 12
    ? Math.ceil(wordsOf(info).getInt32(8, true) / 100)
    : 0;
}

/** What tells two routes apart: everything but the kernel's remarks. Equal texts are equal routes. */
export function routeIdentity(r: HostRoute, w: NetlinkWriter, change: Rerouting = {}): string {
  w.clear();
  writeRouteAgain(w, r, change);
  const body = w.octets;
  const parts = [Buffer.from(body.subarray(0, RTMSG)).toString('hex')];
  for (const [type, value] of attributeList(body, RTMSG))
    if (value !== undefined && type !== Rta.Expires) parts.push(`${type}=${Buffer.from(value).toString('hex')}`);
  return [parts[0], ...parts.slice(1).sort()].join(' ');
}
