/** Sessions and routes of the speaker in the words of the control protocol, and its arguments as values. Pure. */
import type { BfdState } from '../../bgp/bfd/packet.ts';
import type { CandidateView, MrtCursor, PeerView, RouteCursor, RouteView } from '../../bgp/speaker.ts';
import type { BgpConfig, BgpNeighborConfig } from '../config/bgp-model.ts';
import type { BgpFamilyStatus, BgpPeerStatus, BgpRouteStatus } from '../control/messages.ts';
import { type Addr, Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { policyText } from './bgp-decisions.ts';

/** A plain address stands for the longest prefix around it. @throws MlshimError USAGE */
export function parseTarget(text: string): Prefix | Addr {
  const loose = Prefix.parseLoose(text);
  if (loose === undefined) throw new MlshimError('USAGE', `"${text}" is not a prefix or address`);
  if (!text.includes('/')) return loose.addr;
  if (!loose.prefix.addr.equals(loose.addr))
    throw new MlshimError('USAGE', `host bits set in ${text} (did you mean ${loose.prefix}?)`);
  return loose.prefix;
}

/** Where a listing goes on; empty = at its beginning. @throws MlshimError USAGE */
export function parseCursor(text: string): RouteCursor | undefined {
  if (text === '') return undefined;
  const m = /^([46]):(\d{1,10})$/.exec(text);
  if (m === null) throw new MlshimError('USAGE', `"${text}" is no place in a listing`);
  return { family: m[1] === '4' ? 4 : 6, id: Number(m[2]) };
}

/** Where an MRT table goes on; empty = at its beginning. @throws MlshimError USAGE */
export function parseMrtCursor(text: string): MrtCursor | undefined {
  if (text === '') return undefined;
  const m = /^(\d{1,10}):(\d{1,10}):(\d{1,10})$/.exec(text);
  if (m === null) throw new MlshimError('USAGE', `"${text}" is no place in a table`);
  return { rib: Number(m[1]), id: Number(m[2]), peers: Number(m[3]) };
}

export function peerStatus(v: PeerView, bfd: BfdState | undefined, settings: BgpConfig): BgpPeerStatus {
  const sum = (key: 'received' | 'accepted' | 'advertised' | 'stale'): number =>
    Object.values(v.routes).reduce((n, counts) => n + counts[key], 0);
  const messages = (m: PeerView['messages']['sent']): number => Object.values(m).reduce((a, b) => a + b, 0);
  const keepaliveS = v.holdTimeS === undefined ? 0 : Math.floor(v.holdTimeS / 3);
  const config = neighborNamed(v.name, v.range, settings);
  // What the peer or we said is the reason; that attempts fail since then follows from it.
  const error = v.lastNotification ?? v.lastError;
  const hasPassword = config?.password !== undefined;
  return {
    name: v.name,
    asn: v.asn,
    address: v.address,
    uplink: String(v.link),
    state: v.isShutDown ? 'Idle (shut down)' : v.awaitsBfd ? 'Idle (waits for BFD)' : v.state,
    bfd: bfd ?? '',
    since_s: v.stateMs / 1000,
    received: sum('received'),
    accepted: sum('accepted'),
    advertised: sum('advertised'),
    last_error: v.state === 'Established' || error === undefined ? '' : errorText(error, hasPassword),
    local_address: v.localAddress ?? '',
    hold_time_s: v.holdTimeS ?? 0,
    keepalive_s: keepaliveS,
    capabilities: v.capabilities.peer,
    local_capabilities: v.capabilities.local,
    stale: sum('stale'),
    restart: v.restart.map((r) => `${r.family} ${r.phase}, ${Math.ceil(r.leftMs / 1000)} s left`),
    remote_id: v.identifier ?? '',
    messages_in: messages(v.messages.received),
    messages_out: messages(v.messages.sent),
    families: v.families.flatMap((f) => familyStatus(v, f as keyof PeerView['routes'])),
    timers_s: Object.fromEntries(Object.entries(v.timersMs).map(([name, ms]) => [TIMERS[name] ?? name, ms / 1000])),
    faults: v.faults,
    last_fault: v.lastFault ?? '',
    filter_errors: v.filterErrors,
    last_filter_error: v.lastFilterError ?? '',
    establishments: v.establishments,
    last_error_origin: error?.origin ?? '',
    ...(error !== undefined && { last_error_age_s: error.agoMs / 1000 }),
    retry_error:
      error !== v.lastError && v.lastError?.origin === 'transport' ? errorText(v.lastError, hasPassword) : '',
    import_policy: policyText(config?.importPolicy),
    export_policy: policyText(config?.exportPolicy),
    description: config?.description ?? '',
  };
}

/** RFC 2385 §4.1: a segment with another signature or none is dropped "silently", so nobody else names the likely reason. */
function errorText({ origin, text }: NonNullable<PeerView['lastError']>, hasPassword: boolean): string {
  return hasPassword && origin === 'transport' && text === 'connection timed out'
    ? `${text}; check the password`
    : text;
}

/** RFC 4271 §10, in snake_case as all names people see. */
const TIMERS: Readonly<Record<string, string>> = {
  connectRetry: 'connect_retry',
  delayOpen: 'delay_open',
  idleHold: 'idle_hold',
  sendHold: 'send_hold',
};

function familyStatus({ routes }: PeerView, family: keyof PeerView['routes']): BgpFamilyStatus[] {
  const counts = routes[family];
  if (counts === undefined) return [];
  const { received, accepted, advertised, stale, nextHop } = counts;
  const addresses = [nextHop?.global, nextHop?.linkLocal].filter((a) => a !== undefined);
  return [{ family, received, accepted, advertised, stale, next_hop: addresses.join(' ') }];
}

/** What was configured for a peer, or for the range it came from. */
export function neighborNamed(
  name: string,
  range: string | undefined,
  { peers, ranges }: BgpConfig,
): BgpNeighborConfig | undefined {
  return range === undefined ? peers.find((p) => p.name === name) : ranges.find((r) => r.name === range);
}

export function routeStatus(r: RouteView): BgpRouteStatus {
  return {
    prefix: r.prefix,
    peer: r.peer ?? 'local',
    best: r.isBest,
    next_hop: r.linkLocalNextHop ?? r.nextHop ?? '',
    uplink: r.link === undefined ? '' : String(r.link),
    as_path: r.asPath,
    origin: r.origin,
    local_pref: r.localPref,
    ...(r.med !== undefined && { med: r.med }),
    communities: [...r.communities, ...r.largeCommunities, ...r.extendedCommunities],
    refused: r.refused ?? '',
    roa: r.roa ?? '',
    ...(r.ageS !== undefined && { age_s: r.ageS }),
    ...(r.isStale && { stale: true }),
    ...(r.otc !== undefined && { otc: r.otc }),
    ...(r.originatorId !== undefined && { originator_id: r.originatorId }),
    cluster_list: r.clusterList,
    ...(r.aggregator !== undefined && { aggregator: r.aggregator }),
  };
}

/** How a candidate fared in the decision; empty for the winner. */
export function verdict(c: CandidateView): string {
  if (c.isBest) return '';
  return c.refused ?? (c.isMultipath ? 'shares the traffic' : (c.lostAt ?? ''));
}
