/**
 * From a configuration to what the kernel backend is told: uplinks as the host's network and the programs know them, rules with
 * numbers, and what the routing worker begins with. Pure; KernelDaemon carries it out.
 */
import type { WgPeerConfig } from '../../wg/model.ts';
import { type Config, MAIN_VRF, type UplinkConfig } from '../config/model.ts';
import { TABLES_PER_SLOT } from '../kernel/instance.ts';
import type { WgPeerSettings } from '../kernel/netlink/wireguard.ts';
import type { KernelPolicy, KernelUplink } from '../kernel/programs.ts';
import { type HostUplink, tableOf, type UplinkState } from '../kernel/uplink.ts';
import type { Addr, Family, Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { Upstream } from './dns-upstream.ts';
import { numbered, rulesOf } from './plan.ts';

const FIRST_NUMBER = 0;

export interface KernelPlan {
  readonly config: Config;
  /** Numbers of uplinks by name, kept over reloads: each has its routing table by it. */
  readonly numbers: ReadonlyMap<string, number>;
  /** Numbers of the VRFs by name; the default one is 0. */
  readonly vrfs: ReadonlyMap<string, number>;
  readonly rules: KernelPolicy['rules'];
  readonly groups: KernelPolicy['groups'];
}

/**
 * @param running what runs already: its uplinks and VRFs keep their numbers
 * @throws MlshimError BACKEND_UNAVAILABLE for what this backend does not do
 */
export function kernelPlanOf(config: Config, running?: KernelPlan): KernelPlan {
  refuseUnknown(config);
  const numbers = numbered(config.uplinks, running?.numbers ?? new Map<string, number>(), FIRST_NUMBER);
  for (const [name, n] of numbers)
    if (n >= TABLES_PER_SLOT)
      throw new MlshimError(
        'BACKEND_UNAVAILABLE',
        `uplink "${name}": the kernel backend has ${TABLES_PER_SLOT} at most`,
      );
  const vrfs = numbered(config.vrfs, running?.vrfs ?? new Map<string, number>(), 1);
  const uplinkOf = (name: string): number => config.uplinks.findIndex((u) => u.name === name);
  return { config, numbers, vrfs, ...rulesOf(config.policy, uplinkOf, vrfs) };
}

/** What would be left out without a word. */
function refuseUnknown({ loopback, policy, uplinks, vrfs, bgp }: Config): void {
  const refuse = (what: string): never => {
    throw new MlshimError('BACKEND_UNAVAILABLE', `${what}: the kernel backend does not do that`);
  };
  if (loopback === 'stack') refuse('loopback: stack');
  for (const p of bgp?.peers ?? [])
    if (p.bfd !== undefined && !p.host && p.mrt === undefined)
      refuse(`bfd of BGP peer ${p.name}, which is no "host" peer`);
  for (const { name, action } of policy.rules) {
    if (action.kind !== 'vrf' || (action.vrf === MAIN_VRF && !vrfs.some((v) => v.name === MAIN_VRF))) continue;
    const members = uplinks.filter((u) => u.vrf === action.vrf).length;
    if (members !== 1)
      refuse(`rule "${name}" goes by VRF ${action.vrf}, which has ${members} uplinks (use: takes several)`);
  }
}

/**
 * What the host's network is to be.
 * @param firstTable of this router, counted from the first of all of ours
 * @param endpointOf where a peer of an uplink is, while that is known
 */
export function hostUplinksOf(
  { config, numbers }: KernelPlan,
  firstTable: number,
  endpointOf: (uplink: string, peer: WgPeerConfig) => WgPeerSettings['endpoint'],
): HostUplink[] {
  return config.uplinks.map((u): HostUplink => {
    const common = { name: u.name, table: tableOf(firstTable + numbers.get(u.name)!) };
    const { isolation } = config;
    if (u.host?.interface !== undefined)
      return { ...common, kind: 'interface', isolation, interface: u.host.interface };
    if (u.host?.source !== undefined) return { ...common, kind: 'source', source: u.host.source };
    const { privateKey, listenPort, peers, addresses, mtu } = u.wireguard!;
    const wireguard = {
      privateKey,
      listenPort,
      peers: peers.map(
        (p): WgPeerSettings => ({
          publicKey: p.publicKey,
          presharedKey: p.presharedKey,
          endpoint: endpointOf(u.name, p),
          allowedIps: p.allowedIps,
          keepaliveS: p.keepaliveS,
        }),
      ),
    };
    return { ...common, kind: 'wireguard', isolation, addresses, mtu, wireguard };
  });
}

/** How sockets of our own leave by an uplink. */
export function wayOf(state: UplinkState | undefined, config: UplinkConfig): HostWay {
  return { device: state?.bindDevice, source: config.host?.source };
}

/** What the programs decide by. @param own addresses of this host */
export function kernelPolicyOf(
  plan: KernelPlan,
  states: readonly UplinkState[],
  own: readonly OwnAddress[],
): KernelPolicy {
  const { config } = plan;
  const uplinks = config.uplinks.map((u): KernelUplink => {
    const state = states.find((s) => s.name === u.name);
    const source = u.host?.source;
    const addresses = source === undefined ? (state?.addresses ?? []) : [source];
    return {
      name: u.name,
      device: state?.bindDevice,
      ifindex: state?.isUp === true ? state.ifindex : 0,
      source4: addresses.find((a) => a.family === 4),
      source6: addresses.find((a) => a.family === 6),
      isVrf: config.isolation === 'vrf' && source === undefined,
      addresses,
      dns: u.dns,
    };
  });
  const vrfs: KernelUplink[] = [];
  for (const [name, number] of plan.vrfs) {
    const member = config.uplinks.find((u) => u.vrf === name)?.name;
    const uplink = uplinks.find((u) => u.name === member);
    if (uplink !== undefined) vrfs[number] = uplink;
  }
  const isOfUplink = (addr: Addr): boolean => uplinks.some((u) => u.addresses.some((a) => a.equals(addr)));
  return {
    rules: plan.rules,
    groups: plan.groups,
    uplinks,
    vrfs: Array.from(vrfs),
    isStrict: config.strict,
    ownAddresses: own.map((a) => a.addr).filter((a) => !isOfUplink(a) && !a.isLinkLocal),
  };
}

export interface OwnAddress {
  readonly device: string;
  readonly addr: Addr;
  readonly prefix: Prefix;
}

/** Name servers that are asked through an uplink: its own, else the host's, which are asked as the host does. */
export function upstreamsOf(uplink: UplinkConfig, state: UplinkState | undefined, host: readonly Addr[]): Upstream[] {
  if (uplink.dns.length === 0) return host.map((server) => ({ server, way: NO_WAY }));
  const way = wayOf(state, uplink);
  const isOurs = (family: Family): boolean => way.source === undefined || way.source.family === family;
  return uplink.dns.filter((server) => isOurs(server.family)).map((server) => ({ server, way }));
}

/** Name servers of the host as they are asked for a tunnel's endpoints: on the way the tunnel's own packets take. */
export function upstreamsBeside(
  underlay: { readonly uplink: UplinkConfig; readonly state: UplinkState | undefined } | undefined,
  host: readonly Addr[],
): Upstream[] {
  if (underlay === undefined) return host.map((server) => ({ server, way: NO_WAY }));
  const way = wayOf(underlay.state, underlay.uplink);
  return [...underlay.uplink.dns, ...host].map((server) => ({ server, way }));
}

export const NO_WAY: HostWay = { device: undefined, source: undefined };
