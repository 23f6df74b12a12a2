/**
 * From a configuration to what the workers are told: links with their numbers, routes, BGP sessions, data-plane
 * settings. Pure; the daemon carries it out.
 */
import type { Config, InterfaceAddr, ScopedAddr, StaticRoute, UplinkConfig, WireguardConfig } from '../config/model.ts';
import { RouteSource } from '../fib/shared.ts';
import type { Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { posted } from '../lib/post.ts';
import { Families, familiesOf } from '../uplink/balancer.ts';
import type { DataplaneSettings, LinkSpec, PolicySettings } from './dataplane-protocol.ts';
import type { HostUplink } from './host-uplinks.ts';
import type { ConfiguredRoute, RoutingBoot, RoutingHop } from './routing-protocol.ts';

/** 1 is the stack's loopback interface; far above what a host's kernel numbers its own with, so that the two are told apart. */
const FIRST_LINK_INDEX = 1000;
const DEFAULT_VRF = 0;
/** All devices live in one child process: 0.5 MB each (wg/README.md). */
export const ONE_CHILD = 0;

export interface Plan {
  readonly links: readonly PlannedLink[];
  /** Ways through the host's own network; they are numbered with the links. */
  readonly hosts: readonly HostUplink[];
  /** Numbers of the VRFs by name; the default one is 0. */
  readonly vrfs: ReadonlyMap<string, number>;
  /** Of the next VRF that comes: sockets may still have the number of one that is gone. */
  readonly nextVrf: number;
  readonly routing: RoutingBoot;
  readonly settings: DataplaneSettings;
}

export interface PlannedLink {
  readonly spec: LinkSpec;
  readonly uplink: UplinkConfig;
  readonly tunnel: WireguardConfig;
}

/**
 * @param running what runs already: its uplinks and VRFs keep their numbers, and new ones get others
 * @throws MlshimError BACKEND_UNAVAILABLE when an uplink is none of this backend's
 */
export function planOf(config: Config, hostNameServers: readonly string[], running?: Plan): Plan {
  if (config.backend === 'kernel')
    throw new MlshimError('BACKEND_UNAVAILABLE', 'backend: kernel is to come: this version has the user-space backend');
  const linkNumbers = new Map<string, number>(running?.links.map((l) => [l.spec.name, l.spec.index]));
  for (const { name, link } of running?.hosts ?? []) linkNumbers.set(name, link);
  const uplinks = numbered(config.uplinks, linkNumbers, FIRST_LINK_INDEX);
  const nextVrf = running?.nextVrf ?? DEFAULT_VRF + 1;
  const vrfs = numbered(config.vrfs, running?.vrfs ?? new Map<string, number>(), nextVrf);
  const numberOf = (name: string): number => uplinks.get(name)!;
  const links = config.uplinks.flatMap((uplink): PlannedLink[] => {
    const { name, wireguard: tunnel } = uplink;
    if (tunnel === undefined) return [];
    const index = numberOf(name);
    const spec = {
      index,
      name,
      vrf: vrfNumber(vrfs, uplink.vrf),
      mtu: tunnel.mtu,
      child: ONE_CHILD,
      device: index - FIRST_LINK_INDEX,
      addresses: tunnel.addresses.map(addressText),
    };
    return [{ uplink, tunnel, spec }];
  });
  const hosts = config.uplinks.flatMap(({ name, host }): HostUplink[] =>
    host === undefined ? [] : [{ name, link: numberOf(name), way: { device: host.interface, source: host.source } }],
  );
  checkRoutes(config, hosts);
  const source = { v4: config.source.v4 && String(config.source.v4), v6: config.source.v6 && String(config.source.v6) };
  return {
    links,
    hosts,
    vrfs,
    nextVrf: Math.max(nextVrf, ...[...vrfs.values()].map((n) => n + 1)),
    routing: {
      links: links.map(({ spec: { index, name, vrf, mtu, addresses } }) => ({ index, name, vrf, mtu, addresses })),
      vrfs: posted(config.vrfs.map((vrf) => ({ name: vrf.name, number: vrfNumber(vrfs, vrf.name), config: vrf }))),
      routes: routesOf(config, links.map(routedLink), vrfs),
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
      policy: posted(policyOf(config, numberOf, hosts, vrfs)),
    },
  };
}

function addressText(a: InterfaceAddr): string {
  return `${a.addr}/${a.prefix.length}`;
}

function serverText(s: ScopedAddr): string {
  return s.uplink === undefined ? String(s.addr) : `${s.addr}%${s.uplink}`;
}

/** Numbers by name: those there are, and for others the lowest that are free, in the order of the configuration. */
export function numbered(
  things: readonly { readonly name: string }[],
  taken: ReadonlyMap<string, number>,
  first: number,
): ReadonlyMap<string, number> {
  const used = new Set(taken.values());
  let next = first;
  return new Map(
    things.map(({ name }) => {
      const known = taken.get(name);
      if (known !== undefined) return [name, known];
      while (used.has(next)) next++;
      return [name, next++];
    }),
  );
}

export function vrfNumber(vrfs: Plan['vrfs'], name: string | undefined): number {
  return name === undefined ? DEFAULT_VRF : vrfs.get(name)!;
}

/** Our own stack has no link for a path of the host. @throws MlshimError BACKEND_UNAVAILABLE */
function checkRoutes({ routes, bgp, dns }: Config, hosts: readonly HostUplink[]): void {
  const refuse = (what: string, uplink: string | undefined): void => {
    if (hosts.some((h) => h.name === uplink))
      throw new MlshimError(
        'BACKEND_UNAVAILABLE',
        `${what} by uplink "${uplink}", a path of the host's network: the user-space backend routes by tunnels only`,
      );
  };
  for (const { to, targets } of routes)
    for (const t of targets) if (t.kind === 'uplink') refuse(`the route to ${to} leads`, t.uplink);
  for (const peer of bgp?.peers ?? []) refuse(`BGP peer ${peer.name} is reached`, peer.via);
  for (const { addr, uplink } of dns.servers) refuse(`name server ${addr} is reached`, uplink);
}

/** Rules and groups with numbers in the place of names. @param uplinkOf index of an uplink, as groups are to name it */
export function rulesOf(
  policy: Config['policy'],
  uplinkOf: (name: string) => number,
  vrfs: Plan['vrfs'],
): Pick<PolicySettings, 'rules' | 'groups'> {
  return {
    rules: policy.rules.map(({ action, ...rule }) => ({
      ...rule,
      action:
        action.kind === 'group'
          ? { kind: 'group', group: policy.groups.findIndex((g) => g.name === action.group) }
          : action.kind === 'vrf'
            ? { kind: 'vrf', vrf: vrfs.get(action.vrf) ?? DEFAULT_VRF }
            : action,
    })),
    groups: policy.groups.map((g) => ({
      ...g,
      members: g.members.map((m) => ({ uplink: uplinkOf(m.uplink), weight: m.weight })),
    })),
  };
}

function policyOf(
  { policy, uplinks, source }: Config,
  numberOf: (name: string) => number,
  hosts: readonly HostUplink[],
  vrfs: Plan['vrfs'],
): PolicySettings {
  return {
    ...rulesOf(policy, (name) => uplinks.findIndex((u) => u.name === name), vrfs),
    uplinks: uplinks.map((uplink) => ({
      name: uplink.name,
      link: numberOf(uplink.name),
      host: hosts.find((h) => h.name === uplink.name)?.way,
      dns: uplink.dns,
      capacity: uplink.bandwidth ?? 0,
      probe: uplink.probe,
      families: uplink.wireguard && tunnelFamilies(uplink.wireguard, source),
      endsFlows: uplink.whenDown === 'reset',
    })),
  };
}

/**
 * Families that a tunnel is for: its peers may have them, and it has an address of them. One with link-local addresses or none
 * is a link between routers, as in DN42: what goes there may have any address of ours.
 */
function tunnelFamilies({ addresses, peers }: WireguardConfig, { v4, v6 }: Config['source']): number {
  const isBetweenRouters = addresses.length === 0 || addresses.some((a) => a.addr.isLinkLocal);
  const own = [...addresses.map((a) => a.addr), v4, v6].filter((a) => a !== undefined);
  const carried = peers.flatMap((p) => p.allowedIps).filter((ip) => !ip.addr.isLinkLocal);
  return familiesOf(carried) & (isBetweenRouters ? Families.Any : familiesOf(own));
}

/** A link that routes lead to. */
export interface RoutedLink {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  readonly addresses: readonly InterfaceAddr[];
  /** Prefixes that are routed to it as they are allowed there. */
  readonly allowed: readonly Prefix[];
}

function routedLink({ spec: { index, name, vrf }, tunnel }: PlannedLink): RoutedLink {
  const { addresses, installRoutes, peers } = tunnel;
  return { index, name, vrf, addresses, allowed: installRoutes ? peers.flatMap((p) => p.allowedIps) : [] };
}

/** Connected prefixes, allowed IPs where they are routes, then `routes`, which win over allowed IPs. */
export function routesOf(config: Config, links: readonly RoutedLink[], vrfs: Plan['vrfs']): ConfiguredRoute[] {
  const connected = new Routes(RouteSource.Connected);
  const allowed = new Routes(RouteSource.Static);
  for (const { index, vrf, addresses, allowed: prefixes } of links) {
    const hop: RoutingHop = { link: index, gateway: undefined, weight: 1 };
    for (const { addr, prefix } of addresses) {
      const isHost = prefix.length === (addr.family === 4 ? 32 : 128);
      // Link-local prefixes exist once per link and are not in the table (RFC 4007 §9).
      if (!isHost && !(addr.family === 6 && addr.isLinkLocal)) connected.add(vrf, String(prefix), hop);
    }
    for (const prefix of prefixes) allowed.add(vrf, String(prefix), hop);
  }
  const linkOf = (name: string): number => links.find((l) => l.name === name)!.index;
  const statics = config.routes.map((r) => staticRoute(r, vrfNumber(vrfs, r.vrf), linkOf));
  for (const route of statics) allowed.delete(route.vrf, route.prefix);
  const known = [...connected.all, ...allowed.all, ...statics];
  // What we announce and do not know in detail must not go back to where it came from.
  const announced = [
    { vrf: DEFAULT_VRF, networks: config.bgp?.networks ?? [] },
    ...config.vrfs.map((v) => ({ vrf: vrfNumber(vrfs, v.name), networks: v.networks })),
  ];
  const unreachable = announced.flatMap(({ vrf, networks }) =>
    networks
      .map((n) => String(n.prefix))
      .filter((prefix) => !known.some((r) => r.vrf === vrf && r.prefix === prefix))
      .map((prefix): ConfiguredRoute => ({ vrf, prefix, source: RouteSource.Static, kind: 'unreachable', hops: [] })),
  );
  return [...unreachable, ...known];
}

/** Unicast routes of one source; two uplinks with the same prefix share its flows. */
class Routes {
  readonly #source: ConfiguredRoute['source'];
  readonly #hops = new Map<string, { readonly vrf: number; readonly prefix: string; readonly hops: RoutingHop[] }>();

  constructor(source: ConfiguredRoute['source']) {
    this.#source = source;
  }

  get all(): ConfiguredRoute[] {
    return [...this.#hops.values()].map((r) => ({ ...r, source: this.#source, kind: 'unicast' }));
  }

  add(vrf: number, prefix: string, hop: RoutingHop): void {
    const key = `${vrf} ${prefix}`;
    const known = this.#hops.get(key);
    if (known === undefined) this.#hops.set(key, { vrf, prefix, hops: [hop] });
    else if (!known.hops.some((h) => h.link === hop.link)) known.hops.push(hop);
  }

  delete(vrf: number, prefix: string): void {
    this.#hops.delete(`${vrf} ${prefix}`);
  }
}

function staticRoute(r: StaticRoute, vrf: number, linkOf: (name: string) => number): ConfiguredRoute {
  const hops = r.targets.flatMap((t): RoutingHop[] => {
    return t.kind === 'uplink'
      ? [{ link: linkOf(t.uplink), gateway: t.gateway && String(t.gateway), weight: t.weight }]
      : [];
  });
  const first = r.targets[0]!.kind;
  return { vrf, prefix: String(r.to), source: RouteSource.Static, kind: first === 'uplink' ? 'unicast' : first, hops };
}
