/** What a speaker shows: peers, routes and the reason of a choice, as plain values that survive JSON. */

import type { Family, Prefix } from '../router/lib/addr.ts';
import type { Instant } from '../router/lib/clock.ts';
import type { SessionError } from './fsm/connection.ts';
import type { State } from './fsm/table.ts';
import type { Peer } from './peer.ts';
import type { Decision } from './policy/filter.ts';
import type { LinkId, VpnFamily } from './ports.ts';
import type { Phase } from './retention.ts';
import type { AttrSet } from './rib/attrs.ts';
import { asPathText } from './wire/attribute/as-path.ts';
import { communityText } from './wire/attribute/communities.ts';
import { extendedCommunityText } from './wire/attribute/extended-communities.ts';
import { largeCommunityText } from './wire/attribute/large-communities.ts';
import { originText } from './wire/attribute/origin.ts';
import { type Capability, capabilityText } from './wire/capability.ts';
import { MAX_MESSAGE, MessageType } from './wire/message.ts';

export interface PeerView {
  readonly name: string;
  readonly address: string;
  readonly link: LinkId;
  readonly asn: number;
  readonly isExternal: boolean;
  readonly isShutDown: boolean;
  /** The session begins when BFD comes up. */
  readonly awaitsBfd: boolean;
  /** Name of the range it came from; undefined = configured by itself. */
  readonly range: string | undefined;
  readonly state: State;
  /** Milliseconds in this state. */
  readonly stateMs: number;
  /** How often the session came up. */
  readonly establishments: number;
  readonly localAddress: string | undefined;
  readonly identifier: string | undefined;
  readonly families: readonly string[];
  readonly extendedNextHop: boolean;
  readonly extendedMessages: boolean;
  readonly fourOctetAs: boolean;
  /** Negotiated; undefined while not established. */
  readonly holdTimeS: number | undefined;
  /** Milliseconds until each timer fires, of those that run. */
  readonly timersMs: Readonly<Record<string, number>>;
  readonly capabilities: { readonly local: readonly string[]; readonly peer: readonly string[] };
  /** The same, as they were exchanged. */
  readonly offers: { readonly local: readonly Capability[]; readonly peer: readonly Capability[] };
  readonly messages: { readonly received: MessageCounts; readonly sent: MessageCounts };
  /** Of the VPN families those that are agreed or have routes. */
  readonly routes: { readonly ipv4: RouteCounts; readonly ipv6: RouteCounts } & Readonly<
    Partial<Record<VpnFamily, RouteCounts>>
  >;
  /** Families whose stale routes wait for the peer, for what, and for how long still. */
  readonly restart: readonly { readonly family: string; readonly phase: Phase; readonly leftMs: number }[];
  /** UPDATEs with mistakes that did not cost the session, and the last one in words. */
  readonly faults: number;
  readonly lastFault: string | undefined;
  /** Routes refused because a filter function failed, and the last failure with its place. */
  readonly filterErrors: number;
  readonly lastFilterError: string | undefined;
  readonly lastError: ErrorView | undefined;
  /** The last NOTIFICATION since a session was established; `lastError` may be a later failure to connect. */
  readonly lastNotification: ErrorView | undefined;
}

/** Why a session ended or could not begin, and how long ago. */
export interface ErrorView {
  readonly text: string;
  readonly origin: 'sent' | 'received' | 'transport';
  readonly agoMs: number;
}

export interface MessageCounts {
  readonly open: number;
  readonly update: number;
  readonly notification: number;
  readonly keepalive: number;
  readonly refresh: number;
}

export interface RouteCounts {
  readonly received: number;
  readonly accepted: number;
  readonly advertised: number;
  /** Received ones that are kept although the peer restarts or tells them again. */
  readonly stale: number;
  /** Our next hop as it is announced; undefined while there is no session, or none for the family. */
  readonly nextHop: { readonly global: string | undefined; readonly linkLocal: string | undefined } | undefined;
}

export interface RouteView {
  readonly prefix: string;
  /** Name of the peer, undefined for our own routes. */
  readonly peer: string | undefined;
  /** RFC 7911: which of several paths of the peer, or to it; undefined = it has one. */
  readonly pathId: number | undefined;
  readonly nextHop: string | undefined;
  readonly linkLocalNextHop: string | undefined;
  readonly link: LinkId | undefined;
  readonly asPath: string;
  readonly origin: string;
  readonly localPref: number;
  readonly med: number | undefined;
  readonly communities: readonly string[];
  readonly extendedCommunities: readonly string[];
  readonly largeCommunities: readonly string[];
  /** ONLY_TO_CUSTOMER (RFC 9234 §5): the AS that marked the route. */
  readonly otc: number | undefined;
  /** Of a reflected route: BGP Identifier of the router that brought it into its AS, and the reflectors on its way (RFC 4456 §8). */
  readonly originatorId: string | undefined;
  readonly clusterList: readonly string[];
  /** Who made an aggregate (RFC 4271 §5.1.7). */
  readonly aggregator: { readonly asn: number; readonly address: string } | undefined;
  readonly isBest: boolean;
  /** Why a route is not used; undefined for a candidate. */
  readonly refused: string | undefined;
  /** Origin validation state (RFC 6811): valid, invalid or unknown; undefined where routes are not validated. */
  readonly roa: string | undefined;
  /** Seconds since the peer told it as it is, or we originate it; undefined for what we tell. */
  readonly ageS: number | undefined;
  /** Kept while the peer restarts or tells its table again, and not told again yet (RFC 4724, RFC 9494, RFC 7313). */
  readonly isStale: boolean;
}

/** A candidate of `explain`: the best route, one that shares its traffic, or the step at which it lost. */
export interface CandidateView extends RouteView {
  readonly lostAt: string | undefined;
  readonly isMultipath: boolean;
  /** What import policy said, where it refused the route. */
  readonly refusedBy: Decision | undefined;
}

export function peerView(peer: Peer, now: Instant): PeerView {
  const { session, config } = peer;
  const n = session.negotiated;
  const timersMs: Record<string, number> = {};
  for (const [name, at] of Object.entries(session.timers)) {
    if (at !== Infinity) timersMs[name] = Math.max(0, Math.round(at - now));
  }
  return {
    name: config.name,
    address: config.address.toString(),
    link: config.link,
    asn: peer.asn,
    isExternal: peer.isExternal,
    isShutDown: peer.isShutDown,
    awaitsBfd: peer.awaitsBfd,
    range: peer.range,
    state: session.state,
    stateMs: Math.round(now - session.since),
    establishments: session.establishments,
    localAddress: peer.localAddress?.toString(),
    identifier: n === undefined ? undefined : identifierText(n.peer.identifier),
    families: n?.families ?? [],
    extendedNextHop: n?.context.families.ipv4?.extendedNextHop ?? false,
    extendedMessages: n !== undefined && n.maxMessage > MAX_MESSAGE,
    fourOctetAs: n?.context.fourOctetAs ?? false,
    holdTimeS: n?.holdTimeS,
    timersMs,
    capabilities: {
      local: (n?.local.capabilities ?? []).map(capabilityText),
      peer: (n?.peer.capabilities ?? []).map(capabilityText),
    },
    offers: { local: n?.local.capabilities ?? [], peer: n?.peer.capabilities ?? [] },
    messages: { received: messageCounts(session.receivedMessages), sent: messageCounts(session.sentMessages) },
    routes: { ipv4: routeCounts(peer, 4), ipv6: routeCounts(peer, 6), ...vpnCounts(peer) },
    restart: peer.retention.phases.map(({ family, phase, until }) => ({
      family,
      phase,
      leftMs: Math.max(0, Math.round(until - now)),
    })),
    faults: peer.faults,
    lastFault: peer.lastFault,
    filterErrors: peer.filterErrors,
    lastFilterError: peer.lastFilterError,
    lastError: errorView(session.lastError, now),
    lastNotification: errorView(session.lastNotification, now),
  };
}

function errorView(e: SessionError | undefined, now: Instant): ErrorView | undefined {
  return e && { text: e.text, origin: e.origin, agoMs: Math.max(0, Math.round(now - e.at)) };
}

function messageCounts(by: Float64Array): MessageCounts {
  return {
    open: by[MessageType.Open]!,
    update: by[MessageType.Update]!,
    notification: by[MessageType.Notification]!,
    keepalive: by[MessageType.Keepalive]!,
    refresh: by[MessageType.RouteRefresh]!,
  };
}

function routeCounts(peer: Peer, family: Family): RouteCounts {
  const out = peer.outbound.find((o) => o.rib.family === family);
  const self = out?.self;
  return {
    received: peer.received[family],
    accepted: peer.accepted[family],
    stale: peer.stale[family],
    advertised: out?.adjRibOut.size ?? 0,
    nextHop: self && { global: self.global?.toString(), linkLocal: self.linkLocal?.toString() },
  };
}

/** Also of a peer that is away, as long as routes are kept. */
function vpnCounts({ vpn, vpnHeld, session }: Peer): Partial<Record<VpnFamily, RouteCounts>> {
  if (vpnHeld === undefined) return {};
  const { received, accepted, stale } = vpnHeld;
  const negotiated = session.negotiated?.families ?? [];
  const shown = (['vpnv4', 'vpnv6'] as const).filter((f) => negotiated.includes(f) || received[f] > 0);
  return Object.fromEntries(
    shown.map((f) => {
      const advertised = vpn?.advertised[f] ?? 0;
      return [f, { received: received[f], accepted: accepted[f], advertised, stale: stale[f], nextHop: undefined }];
    }),
  );
}

export function identifierText(id: number): string {
  return `${id >>> 24}.${(id >>> 16) & 255}.${(id >>> 8) & 255}.${id & 255}`;
}

export function routeView(
  prefix: Prefix,
  a: AttrSet,
  from: { readonly peer: string | undefined; readonly link: LinkId | undefined; readonly pathId: number | undefined },
  isBest: boolean,
  refused: string | undefined,
  roa: string | undefined,
  ageS: number | undefined,
): RouteView {
  return {
    prefix: prefix.toString(),
    peer: from.peer,
    pathId: from.pathId,
    nextHop: a.nextHop?.global?.toString(),
    linkLocalNextHop: a.nextHop?.linkLocal?.toString(),
    link: from.link,
    asPath: asPathText(a.asPath),
    origin: originText(a.origin),
    localPref: a.preference,
    med: a.med,
    communities: a.communities.map(communityText),
    extendedCommunities: groups(a.extendedCommunities, 2).map(([h, l]) => extendedCommunityText(h!, l!)),
    largeCommunities: groups(a.largeCommunities, 3).map(([x, y, z]) => largeCommunityText(x!, y!, z!)),
    otc: a.otc,
    originatorId: a.originatorId === undefined ? undefined : identifierText(a.originatorId),
    clusterList: a.clusterList.map(identifierText),
    aggregator: a.aggregator && { asn: a.aggregator.asn, address: identifierText(a.aggregator.identifier) },
    isBest,
    refused,
    roa,
    ageS,
    isStale: false,
  };
}

function groups(words: readonly number[], size: number): number[][] {
  const out: number[][] = [];
  for (let i = 0; i < words.length; i += size) out.push(words.slice(i, i + size));
  return out;
}
