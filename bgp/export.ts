/**
 * What a route becomes on its way to a peer: whether it may be told at all, and with which attributes.
 * Read first: RFC 4271 §5.1 and §9.1.3, RFC 1997, RFC 8950 §3, RFC 2545 §3. Deviation: "next hop self" also where the
 * next hop shares our subnet with the peer, because WireGuard peers of one uplink do not reach each other by themselves;
 * `thirdPartyNextHop` gives the RFC's behaviour. Pinned by test/bgp/speaker.test.ts.
 */

import type { Addr, Family } from '../router/lib/addr.ts';
import { copyOf } from './policy/change.ts';
import type { RouteSource } from './policy/rule.ts';
import type { AttrSet } from './rib/attrs.ts';
import { prepend } from './wire/attribute/as-path.ts';
import { Community } from './wire/attribute/communities.ts';
import { transitiveOnly } from './wire/attribute/extended-communities.ts';
import { type Attributes, type NextHop, NO_NUMBERS } from './wire/attribute/model.ts';

/** RFC 4271 §9.2, RFC 1997: whether a route may be told to a peer of the given kind at all. */
export function mayExport(a: AttrSet, source: RouteSource, toExternal: boolean): boolean {
  // "routes learned from internal peers are not re-advertised to internal peers" (no route reflection)
  if (source === 'internal' && !toExternal) return false;
  for (const c of a.communities) {
    if (c === Community.NoAdvertise) return false;
    if (toExternal && (c === Community.NoExport || c === Community.NoExportSubconfed)) return false;
  }
  return true;
}

/** The attributes export policy starts from. */
export function beforePolicy(a: AttrSet, source: RouteSource, toExternal: boolean): Attributes {
  // RFC 4271 §5.1.4: a MED from one neighbouring AS is not passed to another.
  const keepsMed = source === 'local' || !toExternal;
  return keepsMed || a.med === undefined ? a : { ...copyOf(a), med: undefined };
}

/** The attributes that go on the wire, after policy. */
export function afterPolicy(a: Attributes, localAs: number, preference: number, toExternal: boolean): Attributes {
  if (!toExternal) return { ...copyOf(a), localPref: a.localPref ?? preference };
  return {
    ...copyOf(a),
    asPath: prepend(a.asPath, localAs),
    localPref: undefined,
    originatorId: undefined,
    clusterList: NO_NUMBERS,
    extendedCommunities: transitiveOnly(a.extendedCommunities),
  };
}

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
