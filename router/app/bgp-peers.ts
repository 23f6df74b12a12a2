/** A peer as the configuration has it, as the speaker wants it. */

import { hostname } from 'node:os';
import { dn42Export, dn42Import, type LinkQuality } from '../../bgp/policy/dn42.ts';
import type {
  LinkId,
  Match,
  PeerConfig,
  Policy,
  RangeConfig,
  RouteFunction,
  Rule,
  SpeakerOptions,
  SpeakerSettings,
} from '../../bgp/speaker.ts';
import { VPN_LINK } from '../../bgp/vpn/vrf-peers.ts';
import type { PeerFacts } from '../birdctl/protocols.ts';
import type { BgpConfig, BgpNeighborConfig, BgpPeerConfig, BgpRangeConfig, RuleList } from '../config/bgp-model.ts';
import type { Addr, Family } from '../lib/addr.ts';
import { filterNamed } from './filter-module.ts';
import type { MrtReplay } from './mrt-transport.ts';

/** The link of a peer that is reached by routing. */
export const BY_ROUTING = '';

/** The link of a peer that is reached over the host's sockets: no name an uplink can have. */
export const HOST_LINK = '(host)';
const ON_HOST = ` ${HOST_LINK}`;

/** The link of a peer that is a file. */
export const MRT_LINK = '(mrt)';

/** The families a table is kept for; BIRD's words have no others. */
const UNICAST = ['ipv4', 'ipv6'] as const;

/** The link of peers over the host's sockets, by the interface of those that have link-local addresses: `wg0 (host)`. */
export function hostLink(zone: string | undefined): string {
  return zone === undefined ? HOST_LINK : `${zone}${ON_HOST}`;
}

export function isHostLink(link: LinkId): boolean {
  return link === HOST_LINK || String(link).endsWith(ON_HOST);
}

/** The host's interface that a link stands for. */
export function hostZone(link: LinkId): string | undefined {
  const text = String(link);
  return text.endsWith(ON_HOST) ? text.slice(0, -ON_HOST.length) : undefined;
}

/** Whether what a peer announces is reached by routing: its session runs over no uplink in particular. */
export function isRouted(link: LinkId): boolean {
  return link === BY_ROUTING || isHostLink(link) || link === MRT_LINK || link === VPN_LINK;
}

/** What all speakers have in common and can change while they run. */
export function changeableSettings(s: BgpConfig): Pick<SpeakerSettings, 'multipath' | 'gracefulRestart'> {
  return { ...(s.multipath !== undefined && { multipath: s.multipath }), gracefulRestart: s.gracefulRestart };
}

/** What all speakers have in common: the VRFs' belong to the same AS. */
export function speakerSettings(
  s: BgpConfig,
): Pick<SpeakerOptions, 'clusterId' | 'confederation' | 'multipath' | 'hostName' | 'gracefulRestart'> {
  return {
    ...(s.clusterId !== undefined && { clusterId: s.clusterId }),
    ...(s.confederation !== undefined && { confederation: s.confederation }),
    hostName: hostname(),
    ...changeableSettings(s),
  };
}

/**
 * @param addressOn our address of a family on a link; any uplink's where the link is none
 * @param filters the functions of the filter module
 * @param latency the latency community that was measured (policy dn42); undefined = not yet
 * @throws MlshimError CONFIG_INVALID when the module has no function of a name
 */
export function peerConfigOf(
  p: BgpPeerConfig,
  settings: BgpConfig,
  addressOn: (link: string, family: Family) => Addr | undefined,
  filters: ReadonlyMap<string, RouteFunction>,
  latency?: number,
): PeerConfig {
  return {
    ...neighborOf(p, p.address, settings, addressOn, filters, latency),
    address: p.address,
    port: p.port,
    passive: p.passive,
  };
}

/**
 * A range of peers, likewise.
 * @throws MlshimError CONFIG_INVALID when the module has no function of a name
 */
export function rangeConfigOf(
  p: BgpRangeConfig,
  settings: BgpConfig,
  addressOn: (link: string, family: Family) => Addr | undefined,
  filters: ReadonlyMap<string, RouteFunction>,
): RangeConfig {
  const common = neighborOf(p, p.range.addr, settings, addressOn, filters);
  return { ...common, range: p.range, ...(p.maxPeers !== undefined && { maxPeers: p.maxPeers }) };
}

/** The link a peer is on. */
export function linkOf(p: Pick<BgpNeighborConfig, 'mrt' | 'host' | 'zone' | 'via'>): string {
  if (p.mrt !== undefined) return MRT_LINK;
  return p.host ? hostLink(p.zone) : (p.via ?? BY_ROUTING);
}

/** @param at an address of the neighbour */
function neighborOf(
  p: BgpNeighborConfig,
  at: Addr,
  settings: BgpConfig,
  addressOn: (link: string, family: Family) => Addr | undefined,
  filters: ReadonlyMap<string, RouteFunction>,
  latency?: number,
): Omit<PeerConfig, 'address' | 'port' | 'passive'> {
  const link = linkOf(p);
  const isV6 = at.family === 6;
  // Nobody can forward to a loopback address.
  const isLocal = p.host && at.isLoopback;
  // Without RFC 8950 an IPv4 route needs an IPv4 next hop, whatever the session runs over.
  const nextHop4 = isLocal || (isV6 && !p.extendedNextHop) ? addressOn(link, 4) : undefined;
  const nextHop6 = isLocal || !isV6 ? addressOn(link, 6) : undefined;
  return {
    ...p.session,
    name: p.name,
    link,
    asn: p.asn,
    families: p.families,
    extendedNextHop: p.extendedNextHop && isV6,
    holdTimeS: p.holdTimeS,
    multihop: p.multihop ?? p.via === undefined,
    ttlSecurity: p.ttlSecurity,
    bfdStrict: p.bfd?.strict ?? false,
    ...(p.password !== undefined && { password: p.password }),
    ...(p.localAddress !== undefined && { localAddress: p.localAddress }),
    ...p.routing,
    ...policiesOf(p, settings, filters, linkQuality(p, latency)),
    ...(nextHop4 !== undefined && { nextHop4 }),
    ...(nextHop6 !== undefined && { nextHop6 }),
  };
}

/** @param measured the latency community that was measured; undefined = not yet */
export function linkQuality({ dn42 }: BgpNeighborConfig, measured: number | undefined): LinkQuality {
  return {
    latency: dn42.latency === 'measured' ? measured : dn42.latency,
    bandwidth: dn42.bandwidth,
    crypto: dn42.crypto,
  };
}

/** @throws MlshimError CONFIG_INVALID when the filter module has no function of a name */
export function policiesOf(
  p: BgpNeighborConfig,
  settings: BgpConfig,
  filters: ReadonlyMap<string, RouteFunction>,
  link: LinkQuality,
): { readonly import: Policy; readonly export: Policy } {
  const { importPolicy: i, exportPolicy: e } = p;
  const { maxPathLength } = p.dn42;
  const { region, country } = settings.dn42;
  const quality = `${link.latency} ${link.bandwidth} ${link.crypto}`;
  return {
    import: policyOf(i, settings, filters, () =>
      same(`in ${quality} ${maxPathLength}`, () => dn42Import(link, maxPathLength)),
    ),
    export: policyOf(e, settings, filters, () =>
      same(`out ${quality} ${region} ${country}`, () => dn42Export(link, { region, country })),
    ),
  };
}

/** Policies by what they were made of: the same once more is the same object, which is how a reload sees no change. */
const made = new Map<string, Rule[]>();
const MAX_MADE = 1000;

function same(key: string, make: () => Rule[]): Rule[] {
  if (made.size >= MAX_MADE) made.clear();
  const known = made.get(key) ?? make();
  made.set(key, known);
  return known;
}

function policyOf(
  policy: BgpPeerConfig['importPolicy'] | BgpPeerConfig['exportPolicy'],
  settings: BgpConfig,
  filters: ReadonlyMap<string, RouteFunction>,
  dn42: () => readonly Rule[],
): Policy {
  if (policy === 'dn42') return dn42();
  if (policy === 'all') return 'accept-all';
  if (policy === 'none') return 'reject-all';
  if (policy === 'own') {
    const prefixes = [...settings.networks, ...settings.aggregates].map((own) => own.prefix);
    const own: Match = { prefixes: prefixes.map((prefix) => ({ prefix })) };
    return [{ match: own, action: 'accept' }];
  }
  return 'module' in policy ? filterNamed(policy.module, filters, settings.filters?.path ?? '') : rulesOf(policy, dn42);
}

/** The rules of `dn42` stand where the list names it. */
function rulesOf({ rules }: RuleList, dn42: () => readonly Rule[]): readonly Rule[] {
  return rules.map((r) => ('dn42' in r ? dn42()[r.dn42]! : r));
}

/** The peers that are files. */
export function replaysOf(settings: BgpConfig): MrtReplay[] {
  return settings.peers.flatMap(({ name, mrt, asn, address }): MrtReplay[] =>
    mrt === undefined || typeof asn !== 'number'
      ? []
      : [{ name, path: mrt, asn, address, isExternal: asn !== settings.asn }],
  );
}

/** What BIRD's `show protocols all` tells of a peer besides its session. */
export function birdFactsOf(name: string, settings: BgpConfig): Omit<PeerFacts, 'preferred' | 'message'> {
  const p = settings.peers.find((c) => c.name === name);
  const limit = p?.session.maxPrefixes;
  const filter = (policy: BgpPeerConfig['importPolicy'] | BgpPeerConfig['exportPolicy'] | undefined): string =>
    policy === 'all' ? 'ACCEPT' : policy === 'none' || policy === undefined ? 'REJECT' : '(unnamed)';
  return {
    description: p?.description,
    localAs: settings.asn,
    port: p?.port ?? 179,
    isMultihop: p !== undefined && p.multihop !== 1 && (p.multihop !== undefined || p.via === undefined),
    isPassive: p?.passive ?? true,
    isReflectorClient: p?.routing.routeReflectorClient ?? false,
    importFilter: filter(p?.importPolicy),
    exportFilter: filter(p?.exportPolicy),
    importLimit: typeof limit === 'object' ? limit.limit : limit,
    families: UNICAST.filter((f) => p?.families.includes(f) ?? true),
  };
}
