/**
 * What a peer's configuration makes of VPN routes: the same rules and policies as for the families with tables here.
 * Read first: bgp/import.ts, bgp/export.ts, RFC 8212 §2, RFC 1997, RFC 4456 §8, RFC 4364 §10. What is not asked of VPN routes:
 * - RFC 6811 and ROAs: they speak about addresses of the Internet, not about those of a VPN, so every state is NotFound.
 *   Routes are validated where they enter a VRF, by the policies of the VRF's own peers.
 * - RFC 9234 and ONLY_TO_CUSTOMER: the rules of §5 are for IPv4 and IPv6 unicast alone; the attribute is passed on as it is.
 * - An own next hop for a route whose label another router gave out: it would need MPLS (RFC 4364 §10 (b)).
 */

import type { Addr, Prefix } from '../../router/lib/addr.ts';
import { type ImportContext, importedHop } from '../import.ts';
import { afterImport } from '../import-rules.ts';
import type { Peer } from '../peer.ts';
import { MutableSubject } from '../policy/filter.ts';
import type { Outcome } from '../policy/plan.ts';
import type { HopChange } from '../policy/rule.ts';
import type { VpnAccepted, VpnBundle, VpnFamily, VpnPeer, VpnSender, VpnTold } from '../ports.ts';
import { VERDICT_TEXT, Verdict } from '../rib/adj-rib-in.ts';
import { occurrences } from '../wire/attribute/as-path.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';
import { FAMILIES } from '../wire/family.ts';
import { isUnicastPrefix } from '../wire/unicast.ts';

const subject = new MutableSubject();

/** @param own our identifiers, as they mark loops */
export function vpnPeer(peer: Peer, own: Pick<ImportContext, 'identifier' | 'clusterId'>): VpnPeer {
  const sender: VpnSender = {
    name: peer.config.name,
    address: peer.config.address,
    relation: peer.relation,
    isClient: peer.isClient,
    identifier: peer.identifier,
  };
  return {
    sender,
    get pathLimit() {
      return peer.config.addPathLimit ?? Infinity;
    },
    accepting(a: Attributes, hop: NextHop) {
      if (loopOf(peer, a, own) !== undefined || peer.importFilter.isClosed) return () => undefined;
      const plan = peer.importFilter.plan(a, hop);
      const accepted = ({ attributes, nextHop, weight }: Outcome): VpnAccepted => ({
        attributes: afterImport(attributes, a.communities, peer.importSettings, peer.isExternal),
        hop: importedHop(nextHop, peer) ?? hop,
        weight,
      });
      return (prefix) => {
        if (!isUnicastPrefix(prefix)) return undefined;
        const outcome = plan.decide(about(prefix, sender));
        return outcome && ((outcome.made[0] ??= accepted(outcome)) as VpnAccepted);
      };
    },
    refusal(a, hop, prefix) {
      const bar = loopOf(peer, a, own) ?? (isUnicastPrefix(prefix) ? undefined : Verdict.NotUnicast);
      if (bar !== undefined) return { bar: VERDICT_TEXT[bar], policy: undefined };
      const policy = peer.importFilter.decision(a, hop, about(prefix, sender));
      return policy.isAccepted ? undefined : { bar: undefined, policy };
    },
    cost: (hop) => peer.interiorCost(hop),
    telling(bundle: VpnBundle) {
      const tell = peer.exporter.telling(bundle.attributes, bundle.hop, bundle.from);
      // One answer of the rules gives one answer here, so that prefixes stay together.
      const made = new Map<object, VpnTold | undefined>();
      return (prefix) => {
        const telling = tell?.(about(prefix, bundle.from));
        if (telling === undefined) return undefined;
        if (!made.has(telling)) {
          const hop = hopToTell(bundle, telling.nextHop, peer);
          made.set(telling, hop && { attributes: telling.attributes, hop });
        }
        return made.get(telling);
      };
    },
    reason(bundle, prefix) {
      const { attributes, hop, from } = bundle;
      const bar = peer.exporter.barOf(attributes, from);
      if (bar !== undefined) return { bar, policy: undefined };
      const asked = about(prefix, from);
      const policy = peer.exporter.decisionOf(attributes, hop, from, asked);
      if (!policy.isAccepted) return { bar: undefined, policy };
      const telling = peer.exporter.telling(attributes, hop, from)?.(asked);
      const isUseless = telling !== undefined && hopToTell(bundle, telling.nextHop, peer) === undefined;
      return isUseless
        ? { bar: whyNoHop(bundle, telling.nextHop, peer), policy: undefined }
        : { bar: undefined, policy };
    },
    offering: ({ attributes, from }) => peer.exporter.offering(attributes, from),
    mark(family: VpnFamily, subtype: number) {
      peer.session.refresh({ ...FAMILIES[family], subtype });
    },
  };
}

/** The next hop a peer is told, undefined when there is none that would work. */
function hopToTell({ family, hop, from }: VpnBundle, change: HopChange | undefined, peer: Peer): Addr | undefined {
  let told: Addr | undefined;
  // A link-local address means nothing beyond its link.
  if (from === undefined) told = typeof change === 'object' ? change : hop.global;
  else if (change === 'unchanged' || (change === undefined && !peer.isExternal)) told = hop.global;
  if (told === undefined) return undefined;
  // RFC 8950 §4: an IPv6 next hop of IPv4 prefixes is for those who can read it.
  const isReadable = family === 'vpnv6' || told.family === 4;
  return isReadable || peer.session.negotiated?.context.families.vpnv4?.extendedNextHop === true ? told : undefined;
}

/** Why there is none. */
function whyNoHop({ hop, from }: VpnBundle, change: HopChange | undefined, peer: Peer): string {
  if (from === undefined && typeof change !== 'object' && hop.global === undefined)
    return 'the VRF has no address on its uplinks to be its next hop';
  if (from !== undefined && change !== 'unchanged' && (change !== undefined || peer.isExternal))
    return 'its label is good for its own next hop only, and no export rule says next_hop: unchanged';
  return hop.global === undefined
    ? 'its next hop is a link-local address'
    : 'its next hop is an IPv6 address, which the peer does not read (RFC 8950)';
}

/** The verdict, if there is one. RFC 4271 §9.1.2: our own AS stands in the path. RFC 4456 §8: we, or our cluster, have reflected the route already. */
function loopOf(peer: Peer, a: Attributes, own: Pick<ImportContext, 'identifier' | 'clusterId'>): number | undefined {
  const allowed = peer.config.allowOwnAs ?? 0;
  if (peer.loopAses.some((asn) => occurrences(a.asPath, asn) > allowed)) return Verdict.AsLoop;
  const isReflected = a.originatorId === own.identifier || a.clusterList.includes(own.clusterId);
  return isReflected ? Verdict.ReflectionLoop : undefined;
}

/** @param from undefined = a VRF of ours, whose routes come over a session inside the AS */
function about({ addr, family, length }: Prefix, from: VpnSender | undefined): MutableSubject {
  const isLong = family === 6;
  subject.family = family;
  subject.w0 = isLong ? addr.a0 : addr.a3;
  subject.w1 = isLong ? addr.a1 : 0;
  subject.w2 = isLong ? addr.a2 : 0;
  subject.w3 = isLong ? addr.a3 : 0;
  subject.length = length;
  subject.source = from?.relation === 'external' ? 'external' : 'internal';
  subject.from = from?.name;
  return subject;
}
