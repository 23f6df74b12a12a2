/**
 * What a route becomes on its way to a peer: whether it may be told at all, and with which attributes.
 * Read first: RFC 4271 §5.1 and §9.1.3, RFC 1997, RFC 4456 §6 and §8, RFC 5065 §4 and §5, RFC 8950 §3, RFC 2545 §3.
 * Deviation: "next hop self" also where the next hop shares our subnet with the peer, because WireGuard peers of one uplink
 * do not reach each other by themselves; `thirdPartyNextHop` gives the RFC's behaviour. Pinned by test/bgp/speaker.test.ts.
 */

import { Addr, type Family } from '../router/lib/addr.ts';
import { copyOf } from './policy/change.ts';
import type { OwnAses, Relation } from './relation.ts';
import {
  type AsPath,
  isPrivateAs,
  mapAsns,
  prepend,
  prependConfederation,
  withoutConfederation,
} from './wire/attribute/as-path.ts';
import { Community } from './wire/attribute/communities.ts';
import { transitiveOnly } from './wire/attribute/extended-communities.ts';
import { type Attributes, type NextHop, NO_NUMBERS } from './wire/attribute/model.ts';

/** Whom a route comes from; undefined stands for ourselves. */
export interface RouteSender {
  readonly relation: Relation;
  /** RFC 4456 §6: we reflect its routes to everybody in the AS. */
  readonly isClient: boolean;
}

/** Which private AS numbers leave the path: all of a path that has no others, all anywhere, or all, each for ours. */
export type RemovePrivateAs = 'whole' | 'all' | 'replace';

/** How a peer is told routes. */
export interface ExportSettings {
  readonly relation: Relation;
  readonly isClient: boolean;
  /** The two have no contract about transit (RFC 3765). */
  readonly isBilateral: boolean;
  readonly own: OwnAses;
  /** Our AS, which stands in front of paths told to another member AS (RFC 5065 §5). */
  readonly memberAs: number;
  readonly asOverride: boolean;
  readonly removePrivateAs: RemovePrivateAs | undefined;
  /** RFC 8326 §4.2: the session is about to be shut down. */
  readonly gracefulShutdown: boolean;
}

/** RFC 4271 §9.2, RFC 1997, RFC 4456 §6: whether a route may be told to a peer at all. */
export function mayExport(
  a: Attributes & { readonly hasWellKnown?: boolean },
  sender: RouteSender | undefined,
  to: ExportSettings,
): boolean {
  return exportBar(a, sender, to) === undefined;
}

/** Why a route may not be told to a peer at all, in words; undefined when it may. */
export function exportBar(
  a: Attributes & { readonly hasWellKnown?: boolean },
  sender: RouteSender | undefined,
  to: ExportSettings,
): string | undefined {
  // "routes learned from internal peers are not re-advertised to internal peers", unless one of them is a client.
  if (sender?.relation === 'internal' && to.relation === 'internal' && !sender.isClient && !to.isClient)
    return 'learned from an internal peer, and neither of the two is a reflector client (RFC 4456)';
  if (a.hasWellKnown === false) return undefined;
  for (const c of a.communities) {
    if (c === Community.NoAdvertise) return 'it has the community no-advertise';
    if (to.relation === 'internal') continue;
    if (c === Community.NoExportSubconfed) return 'it has the community no-export-subconfed';
    if (to.relation === 'confederation') continue;
    if (c === Community.NoExport) return 'it has the community no-export';
    if (c === Community.NoPeer && to.isBilateral) return 'it has the community no-peer';
  }
  return undefined;
}

/** The attributes export policy starts from. */
export function beforePolicy(a: Attributes, sender: RouteSender | undefined, to: ExportSettings): Attributes {
  // RFC 4271 §5.1.4: a MED from one neighbouring AS is not passed to another. RFC 5065 §5: inside a confederation it is.
  const keepsMed = sender === undefined || to.relation !== 'external';
  return keepsMed || a.med === undefined ? a : { ...copyOf(a), med: undefined };
}

/** What a reflector adds (RFC 4456 §8). */
export interface Reflection {
  /** BGP Identifier of the peer the route was learned from. */
  readonly originator: number;
  readonly clusterId: number;
}

/**
 * The attributes that go on the wire, after policy.
 * @param preference LOCAL_PREF of a route that carries none
 * @param peerAs the peer's AS
 * @param reflection undefined for a route that is not reflected
 */
export function afterPolicy(
  a: Attributes,
  preference: number,
  peerAs: number,
  to: ExportSettings,
  reflection: Reflection | undefined,
): Attributes {
  const communities =
    to.gracefulShutdown && !a.communities.includes(Community.GracefulShutdown)
      ? [...a.communities, Community.GracefulShutdown]
      : a.communities;
  if (to.relation === 'external') {
    return {
      ...copyOf(a),
      communities,
      asPath: externalPath(a.asPath, peerAs, to),
      localPref: undefined,
      originatorId: undefined,
      clusterList: NO_NUMBERS,
      extendedCommunities: transitiveOnly(a.extendedCommunities),
    };
  }
  const inside = { ...copyOf(a), communities, localPref: a.localPref ?? preference };
  if (to.relation === 'confederation') {
    // RFC 5065 §5 (b); loops between member ASes are seen in the path, so reflection's own marks end here.
    const asPath = prependConfederation(a.asPath, to.memberAs);
    return { ...inside, asPath, originatorId: undefined, clusterList: NO_NUMBERS };
  }
  if (reflection === undefined) return inside;
  return {
    ...inside,
    originatorId: a.originatorId ?? reflection.originator,
    clusterList: [reflection.clusterId, ...a.clusterList],
  };
}

function externalPath(received: AsPath, peerAs: number, to: ExportSettings): AsPath {
  // RFC 5065 §5 (c): the confederation's inner structure does not leave it.
  let path = withoutConfederation(received);
  const [shown] = to.own.prepended;
  if (to.removePrivateAs !== undefined) path = withoutPrivate(path, to.removePrivateAs, shown!, peerAs);
  if (to.asOverride) path = mapAsns(path, (asn) => (asn === peerAs ? shown! : asn));
  for (let i = to.own.prepended.length - 1; i >= 0; i--) path = prepend(path, to.own.prepended[i]!);
  return path;
}

/** The peer's own AS stays, or it would not see its loops. */
function withoutPrivate(path: AsPath, how: RemovePrivateAs, ownAs: number, peerAs: number): AsPath {
  const isHidden = (asn: number): boolean => isPrivateAs(asn) && asn !== peerAs;
  if (how === 'replace') return mapAsns(path, (asn) => (isHidden(asn) ? ownAs : asn));
  if (how === 'whole' && !path.every((s) => s.asns.every(isPrivateAs))) return path;
  return mapAsns(path, (asn) => (isHidden(asn) ? undefined : asn));
}

/** Where packets to discard go: the first address of RFC 6666's discard-only prefix. */
export const DISCARD = Addr.parse('100::1')!;

/** One object, so that it can be told by identity. */
export const DISCARD_HOP: NextHop = Object.freeze({ global: DISCARD, linkLocal: undefined });

/** A next hop of one address. */
export function nextHopOf(addr: Addr): NextHop {
  const isLinkLocal = addr.family === 6 && addr.isLinkLocal;
  return { global: isLinkLocal ? undefined : addr, linkLocal: isLinkLocal ? addr : undefined };
}

/** Addresses a session offers for "next hop self". */
export interface OwnAddresses {
  /** Our end of the connection. */
  readonly session: Addr | undefined;
  /** Configured addresses to announce. */
  readonly v4: Addr | undefined;
  readonly v6: Addr | undefined;
  /** IPv4 routes may have an IPv6 next hop (RFC 8950 §4, negotiated). */
  readonly extendedNextHop: boolean;
}

/** Our own next hop for routes of a family, undefined when there is no address a peer could use. */
export function selfNextHop(family: Family, own: OwnAddresses): NextHop | undefined {
  const { session } = own;
  if (family === 4) {
    if (own.v4 !== undefined) return { global: own.v4, linkLocal: undefined };
    if (session?.family === 4) return { global: session, linkLocal: undefined };
    if (!own.extendedNextHop) return undefined;
  }
  const linkLocal = session?.family === 6 && session.isLinkLocal ? session : undefined;
  const global = own.v6 ?? (session?.family === 6 && linkLocal === undefined ? session : undefined);
  return global === undefined && linkLocal === undefined ? undefined : { global, linkLocal };
}
