/**
 * Why a VRF has a VPN route or has it not, and what is said of why a peer is told one: worked out when somebody asks. Reads only.
 * Read first: RFC 4364 §4.3.1.
 * What the VRF then makes of the routes it has is said by its own speaker (`Speaker.explain`), by their path identifiers.
 */

import type { Addr, Prefix } from '../../router/lib/addr.ts';
import type { ExportReason } from '../policy/filter.ts';
import type { VpnRefusal, VpnTold } from '../ports.ts';
import { FAMILY_OF, type Held, type HeldRoute } from './held.ts';
import { IMPLICIT_NULL } from './nlri.ts';
import { prefixesMeant } from './prefix-index.ts';
import { type EightOctets, hasTarget } from './route-distinguisher.ts';
import { UNREACHABLE } from './vpn-hops.ts';
import { isReachable, type VpnRoute, type VpnTable } from './vpn-table.ts';

/** A VPN route from the side of one VRF. */
export interface VpnImport {
  /** As it came, where import policy refuses it. */
  readonly route: VpnRoute;
  /** The best one with its distinguisher. */
  readonly isBest: boolean;
  /** Those of the VRF's import targets that it carries. */
  readonly targets: readonly EightOctets[];
  /** Why the VRF does not have it: it told it itself, policy, no target of the VRF's, a label. Undefined = it has. */
  readonly bar: 'own' | 'policy' | 'target' | 'label' | undefined;
  /** What policy says against it. */
  readonly refusal: VpnRefusal | undefined;
}

/** A VPN route from the side of a peer: why it is told or not. */
export interface VpnTelling extends ExportReason {
  readonly route: VpnRoute;
  /** The best one with its distinguisher. */
  readonly isBest: boolean;
  /** As the peer has been told it. */
  readonly told: VpnTold | undefined;
}

export interface Importer {
  readonly name: string;
  readonly importTargets: readonly EightOctets[];
}

/** All routes to a prefix, or to the longest that holds an address, by distinguisher. Costs what it finds, not what there is. */
export function importsOf(vrf: Importer, what: Prefix | Addr, held: Iterable<Held>, table: VpnTable): VpnImport[] {
  const all = [...held];
  for (const prefix of prefixesMeant(what)) {
    if (!table.has(prefix) && !all.some((h) => h.hasRefused(prefix))) continue;
    const told = table.at(prefix).flatMap((routes) => {
      return routes.map((route, i) => importOf(vrf, route, i === 0 && isReachable(route)));
    });
    const refused = all.flatMap((h) => Array.from(h.refused(prefix), (route) => refusalOf(vrf, h, route)));
    return [...told, ...refused];
  }
  return [];
}

function importOf(vrf: Importer, route: VpnRoute, isBest: boolean): VpnImport {
  const targets = targetsOf(vrf, route);
  const isLabelled = route.vrf === undefined && route.label !== IMPLICIT_NULL;
  const bar = route.vrf === vrf.name ? 'own' : targets.length === 0 ? 'target' : isLabelled ? 'label' : undefined;
  return { route, isBest, targets, bar, refusal: undefined };
}

function refusalOf(vrf: Importer, { peer }: Held, { prefix, reached, number, sender }: HeldRoute): VpnImport {
  const { attributes, hop } = reached;
  const bundle = { family: FAMILY_OF[prefix.prefix.family], attributes, hop, from: sender, weight: 0 };
  const route = {
    name: prefix,
    vrf: undefined,
    label: prefix.label,
    bundle,
    number,
    cost: peer.cost(hop) ?? UNREACHABLE,
  };
  const refusal = peer.refusal(attributes, hop, prefix.prefix);
  return { route, isBest: false, targets: targetsOf(vrf, route), bar: 'policy', refusal };
}

function targetsOf({ importTargets }: Importer, { bundle }: VpnRoute): EightOctets[] {
  return importTargets.filter((t) => hasTarget(bundle.attributes.extendedCommunities, [t]));
}
