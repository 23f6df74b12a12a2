/**
 * From a configuration to what the workers are told: links with their numbers, routes, BGP sessions, data-plane
 * settings. Pure; the daemon carries it out.
 */
import type { Config, InterfaceAddr, ScopedAddr, StaticRoute, UplinkConfig } from '../config/model.ts';
import { RouteSource } from '../fib/shared.ts';
import { posted } from '../lib/post.ts';
import type { DataplaneSettings, LinkSpec } from './dataplane-protocol.ts';
import type { ConfiguredRoute, RoutingBoot, RoutingHop } from './routing-protocol.ts';

/** 1 is the stack's loopback interface. */
const FIRST_LINK_INDEX = 2;
const DEFAULT_VRF = 0;
/** All devices live in one child process: 0.5 MB each (wg/README.md). */
export const ONE_CHILD = 0;

export interface Plan {
  readonly links: readonly PlannedLink[];
  readonly routing: RoutingBoot;
  readonly settings: DataplaneSettings;
}

export interface PlannedLink {
  readonly spec: LinkSpec;
  readonly uplink: UplinkConfig;
}

export function planOf(config: Config, hostNameServers: readonly string[]): Plan {
  const links = config.uplinks.map((uplink, i): PlannedLink => {
    return {
      uplink,
      spec: {
        index: FIRST_LINK_INDEX + i,
        name: uplink.name,
        vrf: DEFAULT_VRF,
        mtu: uplink.mtu,
        child: ONE_CHILD,
        device: i,
        addresses: uplink.addresses.map(addressText),
      },
    };
  });
  const source = { v4: config.source.v4 && String(config.source.v4), v6: config.source.v6 && String(config.source.v6) };
  return {
    links,
    routing: {
      links: links.map(({ spec: { index, name, vrf, mtu, addresses } }) => ({ index, name, vrf, mtu, addresses })),
      routes: routesOf(config, links),
      bgp: config.bgp && posted(config.bgp),
      fpm: config.fpm && posted(config.fpm),
      source,
    },
    settings: {
      bufferBytes: config.bufferBytes,
      loopback: config.loopback,
      dns: { servers: config.dns.servers.map(serverText), search: config.dns.search },
      hostNameServers,
      source,
    },
  };
}

function addressText(a: InterfaceAddr): string {
  return `${a.addr}/${a.prefix.length}`;
}

function serverText(s: ScopedAddr): string {
  return s.uplink === undefined ? String(s.addr) : `${s.addr}%${s.uplink}`;
}

/** Connected prefixes, allowed IPs where they are routes, then `routes`, which win over allowed IPs. */
function routesOf(config: Config, links: readonly PlannedLink[]): ConfiguredRoute[] {
  const connected = new Map<string, RoutingHop[]>();
  const allowed = new Map<string, RoutingHop[]>();
  for (const { spec, uplink } of links) {
    const hop: RoutingHop = { link: spec.index, gateway: undefined, weight: 1 };
    for (const { addr, prefix } of uplink.addresses) {
      const isHost = prefix.length === (addr.family === 4 ? 32 : 128);
      // Link-local prefixes exist once per link and are not in the table (RFC 4007 §9).
      if (!isHost && !(addr.family === 6 && addr.isLinkLocal)) add(connected, String(prefix), hop);
    }
    if (uplink.installRoutes)
      for (const peer of uplink.peers) for (const prefix of peer.allowedIps) add(allowed, String(prefix), hop);
  }
  const linkOf = (name: string): number => links.find((l) => l.spec.name === name)!.spec.index;
  const statics = config.routes.map((r) => staticRoute(r, linkOf));
  for (const route of statics) allowed.delete(route.prefix);
  const unicast =
    (source: ConfiguredRoute['source']) =>
    ([prefix, hops]: readonly [string, readonly RoutingHop[]]): ConfiguredRoute => ({
      prefix,
      source,
      kind: 'unicast',
      hops,
    });
  // What we announce and do not know in detail must not go back to where it came from.
  const known = new Set([...connected.keys(), ...allowed.keys(), ...statics.map((r) => r.prefix)]);
  const announced = (config.bgp?.networks ?? []).map(String).filter((prefix) => !known.has(prefix));
  const unreachable = announced.map((prefix): ConfiguredRoute => {
    return { prefix, source: RouteSource.Static, kind: 'unreachable', hops: [] };
  });
  return [
    ...unreachable,
    ...[...connected].map(unicast(RouteSource.Connected)),
    ...[...allowed].map(unicast(RouteSource.Static)),
    ...statics,
  ];
}

/** Two uplinks with the same prefix share its flows. */
function add(map: Map<string, RoutingHop[]>, prefix: string, hop: RoutingHop): void {
  const hops = map.get(prefix);
  if (hops === undefined) map.set(prefix, [hop]);
  else if (!hops.some((h) => h.link === hop.link)) hops.push(hop);
}

function staticRoute(r: StaticRoute, linkOf: (name: string) => number): ConfiguredRoute {
  const hops = r.targets.flatMap((t): RoutingHop[] => {
    return t.kind === 'uplink'
      ? [{ link: linkOf(t.uplink), gateway: t.gateway && String(t.gateway), weight: t.weight }]
      : [];
  });
  const first = r.targets[0]!.kind;
  return { prefix: String(r.to), source: RouteSource.Static, kind: first === 'uplink' ? 'unicast' : first, hops };
}
