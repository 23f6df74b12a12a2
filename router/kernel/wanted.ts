/**
 * Which rules and routes lead flows into the tables of uplinks, as values.
 * A socket that is bound to a VRF or an interface is led there by the VRF, or by a rule; one that has an uplink's address by a
 * rule, which also carries the first datagram of a socket that is bound while it is sent.
 */
import { type Addr, type Family, Prefix } from '../lib/addr.ts';
import { RouteType } from '../wire/netlink.ts';
import type { HostHop, HostRoute, NewRoute } from './netlink/route.ts';
import type { HostRule } from './netlink/rule.ts';
import {
  type HostUplink,
  interfaceOf,
  isInVrf,
  KERNEL_PROTOCOL,
  LAST_METRIC,
  RulePriority,
  SETUP_PROTOCOL,
  TUNNEL_MARK,
} from './uplink.ts';

const FAMILIES: readonly Family[] = [4, 6];
/** What the kernel takes when IPv6 routes have none. */
const IPV6_METRIC = 1024;
const VRF_PRIORITY = 1000;
const EVERYTHING4 = Prefix.parse('0.0.0.0/0')!;
const EVERYTHING6 = Prefix.parse('::/0')!;

export interface UplinkFacts {
  readonly uplink: HostUplink;
  /** 0 = its interface is not there. */
  readonly ifindex: number;
  /** Its own, not link-local ones. */
  readonly addresses: readonly Addr[];
}

/** As the kernel makes it with its first VRF (drivers/net/vrf.c): whatever belongs to a VRF goes by the VRF's table. */
export function vrfRule(family: Family): HostRule {
  return {
    ...{ family, priority: VRF_PRIORITY, from: undefined, oif: undefined, fwmark: 0, table: 0, isL3mdev: true },
    protocol: KERNEL_PROTOCOL,
  };
}

/** The mark of a tunnel's own packets, which the programs leave alone: it says which uplink they leave by, if any. */
export function tunnelMark(underlay: HostUplink | undefined): number {
  // Tables of uplinks are numbered in a row, so their lower halves differ.
  return TUNNEL_MARK | ((underlay?.table ?? 0) & 0xffff);
}

/** @param underlays of tunnels that leave by another uplink @param foreign rules of the host that are not ours */
export function wantedRules(
  all: readonly UplinkFacts[],
  underlays: readonly HostUplink[],
  foreign: readonly HostRule[],
): HostRule[] {
  const rule = (family: Family, priority: number, table: number, what: Partial<HostRule>): HostRule => ({
    ...{ family, priority, from: undefined, oif: undefined, fwmark: 0, table, isL3mdev: false },
    ...{ protocol: SETUP_PROTOCOL, ...what },
  });
  const sources = all.flatMap(({ uplink, addresses }) =>
    addresses.flatMap((addr) => {
      const from = Prefix.containing(addr, addr.family === 4 ? 32 : 128)!;
      // The administrator's own rule for a source address knows better.
      const isLed = uplink.kind === 'source' && foreign.some((r) => r.from?.equals(from) === true);
      return isLed ? [] : [rule(addr.family, RulePriority.Source, uplink.table, { from })];
    }),
  );
  const devices = all.flatMap(({ uplink }) => {
    const oif = isInVrf(uplink) ? undefined : interfaceOf(uplink);
    return oif === undefined ? [] : FAMILIES.map((f) => rule(f, RulePriority.Device, uplink.table, { oif }));
  });
  const marks = [...new Set(underlays)].flatMap((u) =>
    FAMILIES.map((f) => rule(f, RulePriority.Underlay, u.table, { fwmark: tunnelMark(u) })),
  );
  return [...marks, ...sources, ...devices];
}

/** Routes of our own making in the table of an uplink. */
export function ownRoutes({ uplink, ifindex }: UplinkFacts): NewRoute[] {
  const route = (prefix: Prefix, what: Partial<NewRoute>): NewRoute => ({
    ...{ table: uplink.table, prefix, protocol: SETUP_PROTOCOL, type: 'unicast', hops: [] },
    metric: prefix.family === 6 ? IPV6_METRIC : 0,
    ...what,
  });
  const routes: NewRoute[] = isInVrf(uplink) ? FAMILIES.map((f) => nowhere(uplink.table, f)) : [];
  if (uplink.kind === 'wireguard' && ifindex !== 0) {
    const allowed = new Map(uplink.wireguard.peers.flatMap((p) => p.allowedIps.map((ip) => [String(ip), ip])));
    for (const prefix of allowed.values())
      routes.push(route(prefix, { hops: [{ ifindex, gateway: undefined, weight: 1 }] }));
  }
  return routes;
}

/** What an uplink's own routes do not lead anywhere goes nowhere, rather than by the tables behind its own. */
export function nowhere(table: number, family: Family): NewRoute {
  return {
    ...{ table, prefix: family === 4 ? EVERYTHING4 : EVERYTHING6, protocol: SETUP_PROTOCOL, type: 'unreachable' },
    ...{ hops: [], metric: LAST_METRIC },
  };
}

/**
 * Networks that the host is on by other interfaces than those of uplinks: who asks from there for an address of an uplink is
 * answered there.
 * @param connected the kernel's own routes of the main table @param taken indexes of the interfaces of uplinks
 */
export function nearRoutes(connected: readonly HostRoute[], taken: ReadonlySet<number>): HostRoute[] {
  return connected.filter(
    ({ prefix, hops: [hop, ...more] }) =>
      hop !== undefined &&
      more.length === 0 &&
      hop.gateway === undefined &&
      !taken.has(hop.ifindex) &&
      prefix.length > 0 &&
      !prefix.addr.isLinkLocal &&
      !prefix.addr.isMulticast,
  );
}

/**
 * Routes of the main table over an interface that an uplink's table is to have too.
 * @param source only what serves this address: routes that prefer another one, and default routes by gateways outside its
 *   network where there is one inside, lead elsewhere
 */
export function copiedRoutes(
  main: readonly HostRoute[],
  ifindex: number,
  network: { readonly source: Addr; readonly prefix: Prefix } | undefined,
): HostRoute[] {
  const over = main.filter((r) => r.hops.some((h) => h.ifindex === ifindex));
  if (network === undefined) return over;
  const { source, prefix } = network;
  const gateways = (r: HostRoute): Addr[] => r.hops.flatMap((h) => (h.ifindex === ifindex ? (h.gateway ?? []) : []));
  const isInside = (r: HostRoute): boolean => gateways(r).some((g) => prefix.contains(g));
  const hasInside = over.some((r) => r.prefix.length === 0 && isInside(r));
  return over.filter(
    (r) =>
      r.prefix.family === source.family &&
      (r.source === undefined || r.source.equals(source)) &&
      (r.prefix.length > 0 || !hasInside || isInside(r)),
  );
}

/** Whether two routes of a table are the same to us. @param onlyOver next hops over other interfaces do not count */
export function routeKey(
  r: Pick<HostRoute, 'prefix' | 'metric' | 'hops'> & { readonly type: number; readonly source?: Addr | undefined },
  onlyOver?: number,
): string {
  const isSent = r.type === RouteType.Unicast;
  const hops = r.hops.filter((h) => isSent && (onlyOver === undefined || h.ifindex === onlyOver));
  const texts = hops.map((h: HostHop) => `${h.gateway ?? 'direct'}%${h.ifindex}*${hops.length > 1 ? h.weight : 1}`);
  return `${r.prefix} ${r.type} ${r.metric} ${r.source ?? ''} ${texts.sort().join(' ')}`;
}
