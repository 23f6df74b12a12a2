/** `status` from what the rooms report: problems first, uplinks with their state. Pure. */

import type { WgDeviceStats } from '../../wg/model.ts';
import type { BgpPeerStatus, FpmStatus, Problem, RpkiStatus, Status, UplinkStatus } from '../control/messages.ts';
import type { DataplaneStats, UplinkReport } from './dataplane-protocol.ts';
import type { HostUplink, InterfaceCounters } from './host-uplinks.ts';
import type { PlannedLink } from './plan.ts';
import type { RoutingSummary } from './routing-protocol.ts';
import type { RoutingRestart } from './routing-supervisor.ts';

/** WireGuard renews after 120 s and gives a session up after 180 s (REJECT_AFTER_TIME); 10 s for the renewal itself. */
const STALE_HANDSHAKE_S = 190;
/** DN42 operators write the file anew every 15 minutes; who has not for a day has forgotten it. */
const STALE_ROAS_S = 86_400;

export interface Sample {
  readonly atMs: number;
  readonly stats: DataplaneStats;
  /** What the interfaces of host uplinks have carried, by link. */
  readonly interfaces: ReadonlyMap<number, InterfaceCounters>;
}

/** A way through the host's network, and the addresses it has now. */
export interface HostUplinkState extends HostUplink {
  readonly addresses: readonly string[];
}

export interface StatusInput {
  readonly version: string;
  readonly pid: number;
  readonly uptimeS: number;
  readonly isDraining: boolean;
  readonly configFile: string;
  /** Seconds until the configuration before comes back, while one is on trial. */
  readonly revertsInS: number | undefined;
  readonly shimSocket: string;
  readonly backendReason: string;
  readonly links: readonly PlannedLink[];
  readonly hosts: readonly HostUplinkState[];
  /** Names of uplinks as they are shown. */
  readonly order: readonly string[];
  /** The latest figures, and some from a moment before, for rates. */
  readonly now: Sample;
  readonly before: Sample;
  readonly wireguard: readonly WgDeviceStats[];
  readonly childIsRestarting: boolean;
  readonly wallClockMs: number;
  readonly routing: RoutingSummary;
  readonly ways: readonly UplinkReport[];
  /** The latest restart of the routing worker, if it is not long ago. */
  readonly routingRestart: RoutingRestart | undefined;
}

export function statusOf(s: StatusInput): Status {
  const uplinks = [...s.links.map((l) => uplinkStatus(s, l)), ...s.hosts.map((h) => hostUplinkStatus(s, h))];
  uplinks.sort((a, b) => s.order.indexOf(a.name) - s.order.indexOf(b.name));
  return {
    version: s.version,
    pid: s.pid,
    uptime_s: s.uptimeS,
    state: s.isDraining ? 'draining' : 'running',
    config: s.configFile,
    apps: s.now.stats.apps,
    flows: s.now.stats.sockets,
    routes_ipv4: s.routing.routesIpv4,
    routes_ipv6: s.routing.routesIpv6,
    problems: problemsOf(s, uplinks),
    uplinks,
    bgp_peers: s.routing.bgp.peers,
    drops: s.now.stats.drops,
    counters: { ...s.now.stats.counters, ...s.routing.counters },
    shim_socket: s.shimSocket,
    backend: 'userspace',
    backend_reason: s.backendReason,
    ...(s.routing.fpm !== undefined && { fpm: s.routing.fpm }),
  };
}

function uplinkStatus(s: StatusInput, { spec }: PlannedLink): UplinkStatus {
  const find = (sample: Sample) => sample.stats.links.find((l) => l.index === spec.index);
  const age = handshakeAge(s, spec.index);
  const way = s.ways.find((w) => w.name === spec.name);
  return {
    name: spec.name,
    kind: 'wg',
    state: uplinkState(s, spec.index, age, way),
    index: spec.index,
    mtu: spec.mtu,
    addresses: spec.addresses,
    ...traffic(s, find),
    ...(age !== undefined && { handshake_age_s: age }),
    ...wayStatus(way),
  };
}

/** The kernel carries its flows: octets are those of the interface, and the MTU is its own matter. */
function hostUplinkStatus(s: StatusInput, { name, link, addresses }: HostUplinkState): UplinkStatus {
  const way = s.ways.find((w) => w.name === name);
  return {
    name,
    kind: 'kernel',
    state: addresses.length === 0 || way?.state === 'down' ? 'down' : 'up',
    index: link,
    mtu: 0,
    addresses,
    ...traffic(s, (sample) => sample.interfaces.get(link)),
    ...wayStatus(way),
  };
}

type Traffic = Pick<
  UplinkStatus,
  'rx_packets' | 'rx_bytes' | 'tx_packets' | 'tx_bytes' | 'tx_dropped' | 'rx_bits_per_s' | 'tx_bits_per_s'
>;

/** What was carried so far, and how fast at present. @param S figures of a moment */
export function traffic<S extends { readonly atMs: number }>(
  s: { readonly now: S; readonly before: S },
  find: (sample: S) => InterfaceCounters | undefined,
): Traffic {
  const now = find(s.now);
  const before = find(s.before);
  const seconds = (s.now.atMs - s.before.atMs) / 1000;
  const rate = (a: number | undefined, b: number | undefined): number =>
    seconds <= 0 ? 0 : Math.max(0, (((a ?? 0) - (b ?? 0)) * 8) / seconds);
  return {
    rx_packets: now?.rxPackets ?? 0,
    rx_bytes: now?.rxBytes ?? 0,
    tx_packets: now?.txPackets ?? 0,
    tx_bytes: now?.txBytes ?? 0,
    tx_dropped: now?.txDropped ?? 0,
    rx_bits_per_s: rate(now?.rxBytes, before?.rxBytes),
    tx_bits_per_s: rate(now?.txBytes, before?.txBytes),
  };
}

type WayStatus = Pick<
  UplinkStatus,
  | 'usable'
  | 'drained'
  | 'rtt_ms'
  | 'rtt_variation_ms'
  | 'loss'
  | 'flows'
  | 'decisions'
  | 'failures'
  | 'peak_bits_per_s'
  | 'reason'
>;

export function wayStatus(way: UplinkReport | undefined): WayStatus {
  return {
    usable: way?.isUsable ?? false,
    drained: way?.isDrained ?? false,
    ...(way?.rttMs !== undefined && { rtt_ms: way.rttMs }),
    ...(way?.loss !== undefined && { loss: way.loss }),
    flows: way?.flows ?? 0,
    decisions: way?.decisions ?? 0,
    failures: way?.failures ?? 0,
    ...(way?.variationMs !== undefined && { rtt_variation_ms: way.variationMs }),
    peak_bits_per_s: (way?.peak ?? 0) * 8,
    reason: way?.reason ?? '',
  };
}

function deviceOf(s: StatusInput, index: number): WgDeviceStats | undefined {
  const device = s.links.find((l) => l.spec.index === index)?.spec.device;
  return s.wireguard.find((d) => d.index === device);
}

function handshakeAge(s: StatusInput, index: number): number | undefined {
  const latest = Math.max(0, ...(deviceOf(s, index)?.peers ?? []).map((p) => p.latestHandshakeMs));
  return latest === 0 ? undefined : Math.max(0, (s.wallClockMs - latest) / 1000);
}

/** `down` when its probes are not answered, whatever the tunnel says; `up`, `down`, or `idle`: no session now, but nobody asked for one either (no keepalive). */
function uplinkState(s: StatusInput, index: number, age: number | undefined, way: UplinkReport | undefined): string {
  if (way?.state === 'down') return 'down';
  if (age === undefined) return 'down';
  if (age <= STALE_HANDSHAKE_S) return 'up';
  return deviceOf(s, index)?.peers.some((p) => p.keepaliveS > 0) === true ? 'down' : 'idle';
}

function problemsOf(s: StatusInput, uplinks: readonly UplinkStatus[]): Problem[] {
  const problems: Problem[] = [];
  const add = (code: Problem['code'], text: string): void => {
    problems.push({ code, text });
  };
  if (s.childIsRestarting) add('C101', 'the WireGuard child is being restarted');
  for (const u of uplinks) {
    const device = deviceOf(s, u.index);
    if (device?.error !== undefined) add('U104', `uplink ${u.name}: WireGuard refused the device (${device.error})`);
    for (const p of device?.peers ?? [])
      if (p.endpointError !== undefined) add('U103', `uplink ${u.name}: endpoint has no address (${p.endpointError})`);
    if (u.drained) add('U106', `uplink ${u.name}: drained by hand, no new flow takes it`);
    const way = s.ways.find((w) => w.name === u.name);
    if (way?.impediment !== undefined) add('U108', `uplink ${u.name}: no probes, ${way.impediment}`);
    if (u.state !== 'down') continue;
    if (way?.state === 'down' && way.isProbed) {
      add('U105', `uplink ${u.name}: probes fail (${way.reason})`);
      continue;
    }
    if (u.kind === 'kernel') add('U107', `uplink ${u.name}: its interface is down, or has no address`);
    else if (u.handshake_age_s === undefined) add('U101', `uplink ${u.name}: no handshake yet`);
    else add('U102', `uplink ${u.name}: last handshake ${Math.round(u.handshake_age_s)} s ago`);
  }
  return [...configProblems(s), ...problems, ...routingProblems(s)];
}

/** A configuration on trial. */
export function configProblems({ revertsInS }: Pick<StatusInput, 'revertsInS'>): Problem[] {
  if (revertsInS === undefined) return [];
  const text = `the configuration before comes back in ${Math.ceil(revertsInS)} s unless confirmed`;
  return [{ code: 'C102', text }];
}

/** What the routing worker has to complain about, whatever carries the packets. */
export function routingProblems(s: Pick<StatusInput, 'routing' | 'routingRestart'>): Problem[] {
  const problems: Problem[] = [];
  const add = (code: Problem['code'], text: string): void => {
    problems.push({ code, text });
  };
  if (s.routingRestart !== undefined) add('C103', restartProblem(s.routingRestart));
  for (const p of s.routing.bgp.peers) if (p.state !== 'Established') add('B101', bgpProblem(p));
  for (const p of s.routing.bgp.peers)
    if (p.state === 'Established' && p.bfd !== '' && p.bfd !== 'Up') add('B102', `bgp peer ${p.name}: BFD is ${p.bfd}`);
  for (const fault of s.routing.hostFaults) add('B103', fault);
  if (s.routing.rpki !== undefined) rpkiProblems(s.routing.rpki, add);
  if (s.routing.fpm !== undefined) fpmProblems(s.routing.fpm, add);
  return problems;
}

function restartProblem({ agoS, isWaiting }: RoutingRestart): string {
  const how = isWaiting ? 'packets go by the routes it left until its successor has all' : 'another one took its place';
  return `the routing worker ended ${Math.round(agoS)} s ago: ${how}`;
}

function rpkiProblems(r: RpkiStatus, add: (code: Problem['code'], text: string) => void): void {
  if (r.vrps_ipv4 + r.vrps_ipv6 === 0 && !r.loading) add('R101', 'there are no ROAs: the origin of no route is known');
  for (const f of r.files) {
    if (f.last_error !== '') add('R102', `ROA file ${f.name}: ${f.last_error}`);
    else if ((f.age_s ?? 0) > STALE_ROAS_S)
      add('R104', `ROA file ${f.name}: written ${Math.floor(f.age_s! / 3600)} h ago`);
  }
  for (const c of r.servers) if (c.last_error !== '') add('R103', `RPKI cache ${c.name}: ${c.last_error}`);
}

function fpmProblems(f: FpmStatus, add: (code: Problem['code'], text: string) => void): void {
  if (f.state === 'not listening') add('F101', `fpm ${f.listen}: ${f.last_error}`);
  if (f.state === 'waiting') add('F102', `fpm ${f.listen}: no routing daemon is connected`);
  if (f.unresolved > 0) add('F103', `fpm: next hops of ${f.unresolved} routes are behind no uplink`);
}

function bgpProblem(p: BgpPeerStatus): string {
  return `bgp peer ${p.name}: ${p.state}${p.last_error === '' ? '' : ` (${p.last_error})`}`;
}
