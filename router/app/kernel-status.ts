/** `status` of the kernel backend, in the words of the other one (status.ts). Pure. */

import type { UplinkConfig } from '../config/model.ts';
import type { Problem, Status, UplinkStatus } from '../control/messages.ts';
import type { KernelCounters } from '../kernel/programs.ts';
import type { UplinkState } from '../kernel/uplink.ts';
import type { InterfaceCounters } from './host-uplinks.ts';
import type { OwnAddress } from './kernel-plan.ts';
import type { TunnelState } from './kernel-tunnels.ts';
import type { RoutingSummary } from './routing-protocol.ts';
import type { RoutingRestart } from './routing-supervisor.ts';
import { configProblems, routingProblems, traffic, wayStatus } from './status.ts';
import type { WatchReport } from './uplink-watch.ts';

export interface KernelSample {
  readonly atMs: number;
  readonly devices: ReadonlyMap<string, InterfaceCounters>;
}

export interface KernelStatusInput {
  readonly version: string;
  readonly pid: number;
  readonly uptimeS: number;
  readonly isDraining: boolean;
  readonly configFile: string;
  readonly revertsInS: number | undefined;
  readonly uplinks: readonly UplinkConfig[];
  /** Numbers of uplinks as links of routing. */
  readonly indexOf: (name: string) => number;
  readonly states: readonly UplinkState[];
  readonly ways: readonly WatchReport[];
  readonly own: readonly OwnAddress[];
  readonly now: KernelSample;
  readonly before: KernelSample;
  readonly counters: KernelCounters;
  /** Names of the rules, by index. */
  readonly rules: readonly string[];
  /** Sockets that use an uplink now, by its name. */
  readonly flows: ReadonlyMap<string, number>;
  readonly mtuOf: (device: string) => number;
  /** WireGuard devices of the kernel, by uplink. */
  readonly tunnels: ReadonlyMap<string, TunnelState>;
  /** Why endpoints of an uplink's peers have no address. */
  readonly endpointErrors: (uplink: string) => readonly string[];
  readonly wallClockMs: number;
  readonly routing: RoutingSummary;
  readonly routingRestart: RoutingRestart | undefined;
}

export function kernelStatusOf(s: KernelStatusInput): Status {
  const uplinks = s.uplinks.map((u, i) => uplinkStatus(s, u, i));
  return {
    version: s.version,
    pid: s.pid,
    uptime_s: s.uptimeS,
    state: s.isDraining ? 'draining' : 'running',
    config: s.configFile,
    backend: 'kernel',
    backend_reason: '',
    apps: 0,
    flows: [...s.flows.values()].reduce((sum, n) => sum + n, 0),
    routes_ipv4: s.routing.routesIpv4,
    routes_ipv6: s.routing.routesIpv6,
    problems: problemsOf(s, uplinks),
    uplinks,
    bgp_peers: s.routing.bgp.peers,
    drops: {},
    counters: { ...policyCounters(s), ...s.routing.counters },
    shim_socket: '',
    ...(s.routing.fpm !== undefined && { fpm: s.routing.fpm }),
  };
}

function uplinkStatus(s: KernelStatusInput, u: UplinkConfig, i: number): UplinkStatus {
  const state = s.states.find((o) => o.name === u.name);
  const way = s.ways.find((w) => w.name === u.name);
  const device = state?.interface ?? '';
  const latest = Math.max(0, ...(s.tunnels.get(u.name)?.peers ?? []).map((p) => p.latestHandshakeMs));
  return {
    name: u.name,
    kind: u.wireguard === undefined ? 'kernel' : 'wg',
    state: state?.isUp === true && way?.state !== 'down' ? 'up' : 'down',
    index: s.indexOf(u.name),
    mtu: device === '' ? 0 : s.mtuOf(device),
    addresses: s.own.filter((a) => a.device === device).map((a) => `${a.addr}/${a.prefix.length}`),
    ...traffic(s, (sample) => sample.devices.get(device)),
    ...(latest > 0 && { handshake_age_s: Math.max(0, (s.wallClockMs - latest) / 1000) }),
    ...wayStatus(way && { ...way, flows: s.flows.get(u.name) ?? 0, decisions: s.counters.uplinks[i]?.bound ?? 0 }),
  };
}

/** The names of the user-space backend, and what only this one counts. */
function policyCounters({ counters: c, rules }: KernelStatusInput): Record<string, number> {
  const all: Record<string, number> = {
    policy_unmatched: c.unmatched,
    policy_rejected: c.rejected,
    policy_no_uplink: c.noUplink,
    policy_strict_refused: c.strictRefused,
    policy_foreign_netns: c.foreignNetns,
    policy_forwarded_queries: c.forwarded,
  };
  for (const [i, n] of c.rules.entries()) all[`policy_rule_${rules[i]}`] = n;
  for (const u of c.uplinks) {
    all[`policy_bound_${u.name}`] = u.bound;
    all[`policy_bind_failed_${u.name}`] = u.failed;
  }
  return all;
}

function problemsOf(s: KernelStatusInput, uplinks: readonly UplinkStatus[]): Problem[] {
  const problems: Problem[] = [];
  const add = (code: Problem['code'], text: string): void => {
    problems.push({ code, text });
  };
  for (const u of uplinks) {
    const state = s.states.find((o) => o.name === u.name);
    const way = s.ways.find((w) => w.name === u.name);
    for (const e of s.endpointErrors(u.name)) add('U103', `uplink ${u.name}: endpoint has no address (${e})`);
    if (u.drained) add('U106', `uplink ${u.name}: drained by hand, no new flow takes it`);
    if (way?.impediment !== undefined) add('U108', `uplink ${u.name}: no probes, ${way.impediment}`);
    if (u.state !== 'down') continue;
    if (state?.isUp !== true) add('U107', `uplink ${u.name}: ${state?.why ?? 'its interface is down'}`);
    else if (way?.isProbed === true) add('U105', `uplink ${u.name}: probes fail (${way.reason})`);
    else if (u.handshake_age_s === undefined) add('U101', `uplink ${u.name}: no handshake yet`);
    else add('U102', `uplink ${u.name}: last handshake ${Math.round(u.handshake_age_s)} s ago`);
  }
  return [...configProblems(s), ...problems, ...routingProblems(s)];
}
