/**
 * What two OPEN messages agree on, and the faults of an OPEN that only a configuration can show.
 * Read first: RFC 4271 §6.2, RFC 5492 §3-§5, RFC 6286 §2, RFC 6793 §4.1, RFC 7607 §2, RFC 4760 §8, RFC 8950 §4, RFC 8654 §4,
 * RFC 7911 §4, RFC 4724 §3, RFC 8538 §2, RFC 9494 §3, RFC 9234 §4.
 */

import { AS_TRANS } from '../wire/attribute/as-path.ts';
import type { WireContext } from '../wire/attribute/model.ts';
import { type Capability, FORWARDING_KEPT, putCapability, RestartFlag, ROLE_NAMES } from '../wire/capability.ts';
import {
  FAMILIES,
  type FamilyCode,
  type FamilyFacts,
  type FamilyName,
  familyNamed,
  PLAIN_FACTS,
} from '../wire/family.ts';
import { type BgpFault, ErrorCode, OpenError, resetFault } from '../wire/fault.ts';
import { MAX_EXTENDED_MESSAGE, MAX_MESSAGE, type Open } from '../wire/message.ts';
import { AFI_IPV6 } from '../wire/nlri.ts';
import { OctetWriter } from '../wire/octets.ts';

/** Which AS a peer may be in: one, any but ours, ours, or one of several. */
export type AsMatch = number | 'external' | 'internal' | readonly number[];

/** Our role towards a peer (RFC 9234 §4.1). */
export type Role = (typeof ROLE_NAMES)[number];

/** What we say about restarts (RFC 4724 §3, RFC 9494 §3.1). */
export interface RestartOffer {
  /** How long we may be away; at most 4,095 s. */
  readonly restartTimeS: number;
  /** We have just restarted: the peer need not wait for our End-of-RIB. */
  readonly isRestarting: boolean;
  /** Packets were forwarded by our old routes meanwhile. */
  readonly keptForwarding: boolean;
  /** Families in which our routes may be kept while we are away; empty = we only help others. */
  readonly families: readonly FamilyName[];
  /** How long they may be kept beyond that (RFC 9494); 0 = not. */
  readonly longLivedS: number;
}

/** What this side offers a peer and expects of it. */
export interface OpenSettings {
  readonly localAs: number;
  readonly peerAs: AsMatch;
  /** The peer is in our confederation (RFC 5065): in our member AS, or in another one (`border`). */
  readonly confederation?: 'inside' | 'border' | undefined;
  /** BGP Identifier as an unsigned 32-bit number. */
  readonly identifier: number;
  readonly holdTimeS: number;
  readonly families: readonly FamilyName[];
  readonly extendedNextHop: boolean;
  readonly extendedMessages: boolean;
  /** The first AS of the peer's paths must be its own (RFC 4271 §6.3); route servers need false. */
  readonly enforceFirstAs: boolean;
  readonly hostName: string | undefined;
  /** RFC 7911: several paths to a prefix, in each direction. */
  readonly addPath: { readonly receive: boolean; readonly send: boolean };
  /** draft-ietf-idr-linklocal-capability: say that a link-local next hop of 16 octets is understood. */
  readonly linkLocalCapability: boolean;
  /** Our role; undefined = none is told and none checked. */
  readonly role: Role | undefined;
  /** RFC 9234 §4.2: a peer that tells no role is refused. */
  readonly strictRole: boolean;
  /** Undefined = restarts are not spoken of. */
  readonly restart: RestartOffer | undefined;
}

/** The facts of an established session. */
export interface Negotiated {
  readonly local: Open;
  readonly peer: Open;
  /** The body of the peer's OPEN as it came. */
  readonly peerOctets: Uint8Array;
  readonly peerAs: number;
  readonly external: boolean;
  /** RFC 4271 §4.2: the smaller of both; 0 = no keepalives. */
  readonly holdTimeS: number;
  readonly families: readonly FamilyName[];
  readonly routeRefresh: boolean;
  /** RFC 7313: a refresh has a beginning and an end. */
  readonly enhancedRefresh: boolean;
  /** Largest message we send: a long one only when both sides take them. */
  readonly maxMessage: number;
  /** RFC 8654 §4: whoever says that he takes long messages takes them, also from a peer that does not. */
  readonly receivesExtended: boolean;
  /** draft-ietf-idr-linklocal-capability: both sides read a link-local next hop of 16 octets. */
  readonly linkLocalNextHop: boolean;
  /** What the peer says about its restarts; undefined = it knows none. */
  readonly restart: { readonly isRestarting: boolean; readonly timeS: number } | undefined;
  /** RFC 8538 §2: a NOTIFICATION other than a hard reset does not cost the routes either. */
  readonly notificationRestart: boolean;
  /** RFC 9494 §4.3: the peer may be told routes with LLGR_STALE. */
  readonly longLived: boolean;
  readonly context: WireContext;
}

export function localOpen(s: OpenSettings): Open {
  const capabilities: Capability[] = [];
  for (const family of s.families) capabilities.push({ kind: 'multiprotocol', ...FAMILIES[family] });
  capabilities.push({ kind: 'route-refresh' }, { kind: 'enhanced-refresh' });
  const extended = s.families.filter((family) => readsExtendedNextHop(s, family));
  if (extended.length > 0) {
    const entries = extended.map((f) => ({ ...FAMILIES[f], nextHopAfi: AFI_IPV6 }));
    capabilities.push({ kind: 'extended-next-hop', entries });
  }
  if (s.extendedMessages) capabilities.push({ kind: 'extended-message' });
  if (s.role !== undefined) capabilities.push({ kind: 'role', role: ROLE_NAMES.indexOf(s.role) });
  if (s.restart !== undefined) capabilities.push(...restartCapabilities(s.restart));
  capabilities.push({ kind: 'four-octet-as', asn: s.localAs });
  const mode = (s.addPath.receive ? 1 : 0) | (s.addPath.send ? 2 : 0);
  if (mode !== 0) {
    capabilities.push({ kind: 'add-path', entries: s.families.map((f) => ({ ...FAMILIES[f], mode })) });
  }
  if (s.hostName !== undefined) capabilities.push({ kind: 'fqdn', host: s.hostName, domain: '' });
  if (s.linkLocalCapability) capabilities.push({ kind: 'link-local-next-hop' });
  return {
    version: 4,
    asn: s.localAs > 0xffff ? AS_TRANS : s.localAs,
    holdTimeS: s.holdTimeS,
    identifier: s.identifier,
    capabilities,
  };
}

/** RFC 8950 §4. Next hops of VPN routes do not depend on what the session runs over: they are read in any case. */
function readsExtendedNextHop(s: OpenSettings, family: FamilyName): boolean {
  return family === 'vpnv4' || (family === 'ipv4' && s.extendedNextHop);
}

function restartCapabilities(r: RestartOffer): Capability[] {
  const flags = r.keptForwarding ? FORWARDING_KEPT : 0;
  const families = r.families.map((f) => ({ ...FAMILIES[f], flags }));
  const restarting = r.isRestarting ? RestartFlag.Restarting : 0;
  return [
    { kind: 'graceful-restart', flags: restarting | RestartFlag.Notification, timeS: r.restartTimeS, families },
    // Without families it says that we help others (RFC 9494 §3.1).
    {
      kind: 'long-lived-restart',
      families: r.longLivedS === 0 ? [] : families.map((f) => ({ ...f, staleS: r.longLivedS })),
    },
  ];
}

function familiesOf(open: Open): FamilyName[] {
  const offered = open.capabilities.flatMap((c) => (c.kind === 'multiprotocol' ? [familyNamed(c.afi, c.safi)] : []));
  // RFC 4760 §8: a speaker without the capability speaks IPv4 unicast.
  if (!open.capabilities.some((c) => c.kind === 'multiprotocol')) offered.push('ipv4');
  return [...new Set(offered.filter((f) => f !== undefined))];
}

/** The entry of a family in the last capability of a kind, which replaces earlier ones (RFC 5492 §4 leaves it open). */
function entryOf<T extends FamilyCode>(lists: readonly (readonly T[])[], family: FamilyName): T | undefined {
  const { afi, safi } = FAMILIES[family];
  return lists[lists.length - 1]?.find((e) => e.afi === afi && e.safi === safi);
}

function has(open: Open, kind: Capability['kind']): boolean {
  return open.capabilities.some((c) => c.kind === kind);
}

function factsOf(s: OpenSettings, peer: Open, family: FamilyName): FamilyFacts {
  const { afi, safi } = FAMILIES[family];
  const pick = <K extends Capability['kind']>(kind: K) =>
    peer.capabilities.filter((c): c is Extract<Capability, { kind: K }> => c.kind === kind);
  const mode =
    entryOf(
      pick('add-path').map((c) => c.entries),
      family,
    )?.mode ?? 0;
  const restart = entryOf(
    pick('graceful-restart').map((c) => c.families),
    family,
  );
  // RFC 9494 §4: the capability without the one of RFC 4724 is ignored.
  const longLived = has(peer, 'graceful-restart')
    ? entryOf(
        pick('long-lived-restart').map((c) => c.families),
        family,
      )
    : undefined;
  const kept = (e: { readonly flags: number }) => ({ keptForwarding: (e.flags & FORWARDING_KEPT) !== 0 });
  return {
    ...PLAIN_FACTS,
    receivesPathIds: s.addPath.receive && (mode & 2) !== 0 && mode <= 3, // RFC 7911 §4: another value is ignored
    sendsPathIds: s.addPath.send && (mode & 1) !== 0 && mode <= 3,
    extendedNextHop:
      readsExtendedNextHop(s, family) &&
      pick('extended-next-hop').some((c) =>
        c.entries.some((e) => e.afi === afi && e.safi === safi && e.nextHopAfi === AFI_IPV6),
      ),
    restart: s.restart === undefined || restart === undefined ? undefined : kept(restart),
    longLived:
      s.restart === undefined || longLived === undefined ? undefined : { ...kept(longLived), staleS: longLived.staleS },
  };
}

/** RFC 9234 §4.2: which role of the peer answers ours. */
const COUNTERPART: Record<Role, Role> = {
  provider: 'customer',
  customer: 'provider',
  'route-server': 'route-server-client',
  'route-server-client': 'route-server',
  peer: 'peer',
};

/** What is wrong with the roles of an external session, undefined when nothing is. */
function roleMismatch(s: OpenSettings, peer: Open): string | undefined {
  if (s.role === undefined) return undefined;
  const told = [...new Set(peer.capabilities.flatMap((c) => (c.kind === 'role' ? [c.role] : [])))];
  if (told.length === 0) return s.strictRole ? 'the peer tells no role' : undefined;
  if (told.length > 1) return 'the peer tells several roles';
  const name = ROLE_NAMES[told[0]!] ?? String(told[0]);
  return name === COUNTERPART[s.role] ? undefined : `the peer is ${name}, which does not fit our role ${s.role}`;
}

function isExpected(peerAs: number, expected: AsMatch, localAs: number): boolean {
  if (typeof expected === 'number') return peerAs === expected;
  if (expected === 'external') return peerAs !== localAs;
  if (expected === 'internal') return peerAs === localAs;
  return expected.includes(peerAs);
}

/** An expectation in words. */
export function asMatchText(expected: AsMatch): string {
  if (typeof expected === 'number') return `AS ${expected}`;
  if (typeof expected === 'string') return `an ${expected} one`;
  return `one of ${expected.join(', ')}`;
}

/** The AS a speaker says it is in. */
export function asOf(open: Open): number {
  return open.capabilities.find((c) => c.kind === 'four-octet-as')?.asn ?? open.asn;
}

/**
 * Judge a peer's OPEN and combine it with ours.
 * @param octets its body
 */
export function negotiate(s: OpenSettings, peer: Open, octets: Uint8Array): Negotiated | BgpFault {
  const local = localOpen(s);
  const bad = (subcode: number, words: string, data?: Uint8Array): BgpFault =>
    resetFault(ErrorCode.Open, subcode, words, data);
  const four = peer.capabilities.find((c) => c.kind === 'four-octet-as');
  const peerAs = asOf(peer);
  // RFC 7607 §2: "the BGP speaker MUST abort the connection" with Bad Peer AS.
  if (peerAs === 0 || peer.asn === 0) return bad(OpenError.BadPeerAs, 'the peer says it is AS 0');
  if (!isExpected(peerAs, s.peerAs, s.localAs)) {
    return bad(OpenError.BadPeerAs, `the peer says it is AS ${peerAs}, expected ${asMatchText(s.peerAs)}`);
  }
  const external = peerAs !== s.localAs && s.confederation === undefined;
  // RFC 6286 §2.1: any non-zero number, and different from ours inside one AS.
  if (peer.identifier === 0) return bad(OpenError.BadIdentifier, 'the peer has BGP identifier 0.0.0.0');
  if (!external && peer.identifier === s.identifier)
    return bad(OpenError.BadIdentifier, 'the peer has our BGP identifier');
  // RFC 4271 §6.2: "An implementation MUST reject Hold Time values of one or two seconds."
  if (peer.holdTimeS === 1 || peer.holdTimeS === 2) return bad(OpenError.HoldTime, `hold time ${peer.holdTimeS} s`);
  const offered = familiesOf(peer);
  const families = s.families.filter((f) => offered.includes(f));
  if (families.length === 0) {
    const wanted = new OctetWriter(16);
    for (const c of local.capabilities) if (c.kind === 'multiprotocol') putCapability(wanted, c);
    // RFC 5492 §3: data lists the capabilities that are missing.
    return bad(OpenError.UnsupportedCapability, 'no address family in common', wanted.take());
  }
  const mismatch = external ? roleMismatch(s, peer) : undefined;
  if (mismatch !== undefined) return bad(OpenError.RoleMismatch, mismatch);
  const restart = s.restart && peer.capabilities.findLast((c) => c.kind === 'graceful-restart');
  const extended = s.extendedMessages && has(peer, 'extended-message');
  return {
    local,
    peer,
    peerOctets: octets.slice(),
    peerAs,
    external,
    holdTimeS: Math.min(s.holdTimeS, peer.holdTimeS),
    families,
    routeRefresh: has(peer, 'route-refresh'),
    enhancedRefresh: has(peer, 'route-refresh') && has(peer, 'enhanced-refresh'),
    maxMessage: extended ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE,
    receivesExtended: s.extendedMessages,
    linkLocalNextHop: s.linkLocalCapability && has(peer, 'link-local-next-hop'),
    restart: restart && { isRestarting: (restart.flags & RestartFlag.Restarting) !== 0, timeS: restart.timeS },
    notificationRestart: restart !== undefined && (restart.flags & RestartFlag.Notification) !== 0,
    longLived: restart !== undefined && has(peer, 'long-lived-restart'),
    context: {
      fourOctetAs: four !== undefined,
      external,
      families: Object.fromEntries(families.map((f) => [f, factsOf(s, peer, f)])),
      firstAs: (external && s.enforceFirstAs) || s.confederation === 'border' ? peerAs : undefined,
      confederation: s.confederation,
    },
  };
}
