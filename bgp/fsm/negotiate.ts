/**
 * What two OPEN messages agree on, and the faults of an OPEN that only a configuration can show.
 * Read first: RFC 4271 §6.2, RFC 5492 §3-§5, RFC 6286 §2, RFC 6793 §4.1, RFC 7607 §2, RFC 4760 §8, RFC 8950 §4, RFC 8654 §4.
 */

import type { Family } from '../../router/lib/addr.ts';
import { AS_TRANS } from '../wire/attribute/as-path.ts';
import type { WireContext } from '../wire/attribute/model.ts';
import type { Capability } from '../wire/capability.ts';
import { putCapability } from '../wire/capability.ts';
import { type BgpFault, ErrorCode, OpenError, resetFault } from '../wire/fault.ts';
import { MAX_EXTENDED_MESSAGE, MAX_MESSAGE, type Open } from '../wire/message.ts';
import { AFI_IPV4, AFI_IPV6, afiOf, familyOf, SAFI_UNICAST } from '../wire/nlri.ts';
import { OctetWriter } from '../wire/octets.ts';

/** What this side offers a peer and expects of it. */
export interface OpenSettings {
  readonly localAs: number;
  readonly peerAs: number;
  /** BGP Identifier as an unsigned 32-bit number. */
  readonly identifier: number;
  readonly holdTimeS: number;
  readonly families: readonly Family[];
  readonly extendedNextHop: boolean;
  readonly extendedMessages: boolean;
  /** The first AS of the peer's paths must be its own (RFC 4271 §6.3); route servers need false. */
  readonly enforceFirstAs: boolean;
  readonly hostName: string | undefined;
}

/** The facts of an established session. */
export interface Negotiated {
  readonly local: Open;
  readonly peer: Open;
  readonly peerAs: number;
  readonly external: boolean;
  /** RFC 4271 §4.2: the smaller of both; 0 = no keepalives. */
  readonly holdTimeS: number;
  readonly families: readonly Family[];
  readonly routeRefresh: boolean;
  /** Largest message the peer takes, and whether we take long ones. */
  readonly maxMessage: number;
  readonly receivesExtended: boolean;
  readonly context: WireContext;
}

export function localOpen(s: OpenSettings): Open {
  const capabilities: Capability[] = [];
  for (const family of s.families) {
    capabilities.push({ kind: 'multiprotocol', afi: afiOf(family), safi: SAFI_UNICAST });
  }
  capabilities.push({ kind: 'route-refresh' });
  if (s.extendedNextHop && s.families.includes(4)) {
    capabilities.push({
      kind: 'extended-next-hop',
      entries: [{ afi: AFI_IPV4, safi: SAFI_UNICAST, nextHopAfi: AFI_IPV6 }],
    });
  }
  if (s.extendedMessages) capabilities.push({ kind: 'extended-message' });
  capabilities.push({ kind: 'four-octet-as', asn: s.localAs });
  if (s.hostName !== undefined) capabilities.push({ kind: 'fqdn', host: s.hostName, domain: '' });
  return {
    version: 4,
    asn: s.localAs > 0xffff ? AS_TRANS : s.localAs,
    holdTimeS: s.holdTimeS,
    identifier: s.identifier,
    capabilities,
  };
}

function familiesOf(open: Open): Family[] {
  const offered = open.capabilities.flatMap((c) => (c.kind === 'multiprotocol' ? [familyOf(c.afi, c.safi)] : []));
  // RFC 4760 §8: a speaker without the capability speaks IPv4 unicast.
  if (!open.capabilities.some((c) => c.kind === 'multiprotocol')) offered.push(4);
  return [...new Set(offered.filter((f) => f !== undefined))];
}

function offersV4OverV6(open: Open): boolean {
  return open.capabilities.some(
    (c) =>
      c.kind === 'extended-next-hop' &&
      c.entries.some((e) => e.afi === AFI_IPV4 && e.safi === SAFI_UNICAST && e.nextHopAfi === AFI_IPV6),
  );
}

function has(open: Open, kind: Capability['kind']): boolean {
  return open.capabilities.some((c) => c.kind === kind);
}

/** Judge a peer's OPEN and combine it with ours. */
export function negotiate(s: OpenSettings, peer: Open): Negotiated | BgpFault {
  const local = localOpen(s);
  const bad = (subcode: number, words: string, data?: Uint8Array): BgpFault =>
    resetFault(ErrorCode.Open, subcode, words, data);
  const four = peer.capabilities.find((c) => c.kind === 'four-octet-as');
  const peerAs = four?.asn ?? peer.asn;
  // RFC 7607 §2: "the BGP speaker MUST abort the connection" with Bad Peer AS.
  if (peerAs === 0 || peer.asn === 0) return bad(OpenError.BadPeerAs, 'the peer says it is AS 0');
  if (peerAs !== s.peerAs) return bad(OpenError.BadPeerAs, `the peer says it is AS ${peerAs}, expected ${s.peerAs}`);
  const external = peerAs !== s.localAs;
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
  const extended = s.extendedMessages && has(peer, 'extended-message');
  return {
    local,
    peer,
    peerAs,
    external,
    holdTimeS: Math.min(s.holdTimeS, peer.holdTimeS),
    families,
    routeRefresh: has(peer, 'route-refresh'),
    maxMessage: extended ? MAX_EXTENDED_MESSAGE : MAX_MESSAGE,
    receivesExtended: extended,
    context: {
      fourOctetAs: four !== undefined,
      external,
      extendedNextHop: s.extendedNextHop && offersV4OverV6(peer),
      ipv4: families.includes(4),
      ipv6: families.includes(6),
      pathIds4: false,
      pathIds6: false,
      firstAs: external && s.enforceFirstAs ? peerAs : undefined,
    },
  };
}
