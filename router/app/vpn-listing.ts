/** The table of VPN routes in the words of the control protocol. */
import type { CandidateView, Decision } from '../../bgp/speaker.ts';
import {
  distinguisherText,
  type EightOctets,
  parseDistinguisher,
  routeTargetText,
} from '../../bgp/vpn/route-distinguisher.ts';
import type { VpnImport } from '../../bgp/vpn/vpn-explain.ts';
import type { VpnRoom } from '../../bgp/vpn/vpn-room.ts';
import { isReachable, type VpnRoute } from '../../bgp/vpn/vpn-table.ts';
import { isInside, vrfLink } from '../../bgp/vpn/vrf-peers.ts';
import { asPathText } from '../../bgp/wire/attribute/as-path.ts';
import { communityText } from '../../bgp/wire/attribute/communities.ts';
import { extendedCommunityText } from '../../bgp/wire/attribute/extended-communities.ts';
import { largeCommunityText } from '../../bgp/wire/attribute/large-communities.ts';
import { DEFAULT_LOCAL_PREF } from '../../bgp/wire/attribute/local-pref.ts';
import { originText } from '../../bgp/wire/attribute/origin.ts';
import type { Answers, BgpVpnImport, BgpVpnRouteStatus, Verbs } from '../control/messages.ts';
import { type Addr, Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { parseTarget, verdict } from './bgp-status.ts';

/** Prefixes looked at for one part. */
const PART = 128;
const TARGET = 'rt:';

/** @throws MlshimError USAGE for what is not a distinguisher, a prefix, an address or a place in the table */
export function vpnListing(room: VpnRoom, { rd, prefix, from = '' }: Verbs['bgp_vpn']): Answers['bgp_vpn'] {
  if (!/^\d{0,9}$/.test(from)) throw new MlshimError('USAGE', `"${from}" is not a place in the table`);
  if (rd !== '' && parseDistinguisher(rd) === undefined)
    throw new MlshimError('USAGE', `"${rd}" is not a route distinguisher (AS:NUMBER or IPV4:NUMBER)`);
  const target = prefix === '' ? undefined : parseTarget(prefix);
  const routes: BgpVpnRouteStatus[] = [];
  let at = Number(from);
  const end = at + PART;
  for (const paths of target === undefined ? room.routes(at) : skipping(at, room.routesTo(target))) {
    if (at === end) return { routes, next: String(at) };
    at++;
    if (rd !== '' && distinguisherText(paths[0]!.name.rd) !== rd) continue;
    routes.push(...paths.map((r, i) => vpnRouteStatus(room, r, i === 0 && isReachable(r))));
  }
  return { routes, next: '' };
}

function* skipping<T>(count: number, all: Iterable<T>): Generator<T> {
  let n = 0;
  for (const one of all) if (n++ >= count) yield one;
}

/**
 * What becomes of VPN routes in a VRF.
 * @param candidates all routes the VRF has to what was asked for
 * @param words what import policy of a peer decided
 */
export function vpnImports(
  room: VpnRoom,
  vrf: string,
  what: Prefix | Addr,
  candidates: readonly CandidateView[],
  words: (peer: string, decision: Decision) => Pick<BgpVpnImport, 'why' | 'rule'>,
): BgpVpnImport[] {
  const prefix = candidates[0] && Prefix.parse(candidates[0].prefix);
  return room.imports(vrf, prefix ?? what).map((i) => {
    const { route, isBest, refusal } = i;
    const status = vpnRouteStatus(room, route, isBest);
    const imported = i.bar === undefined;
    const inVrf = candidates.find((c) => c.peer !== undefined && isInside(c.peer) && c.pathId === route.number);
    if (refusal?.policy !== undefined)
      return { route: { ...status, vrfs: [] }, imported, ...words(status.peer, refusal.policy) };
    return {
      route: refusal === undefined ? status : { ...status, vrfs: [] },
      imported,
      why: whyImported(room, vrf, i, inVrf),
    };
  });
}

function whyImported(room: VpnRoom, vrf: string, i: VpnImport, inVrf: CandidateView | undefined): string {
  const listed = (targets: readonly EightOctets[]): string => targets.map(routeTargetText).join(' ') || 'no target';
  const { label } = i.route;
  switch (i.bar) {
    case 'own':
      return `this VRF exports it`;
    case 'policy':
      return i.refusal?.bar ?? 'refused';
    case 'target':
      return `not imported: none of its targets is one of ${vrf} (${listed(room.targetsOf(vrf))})`;
    case 'label':
      return `not imported: packets would need label ${label}, and there is no MPLS here`;
    default:
      return `imported by ${listed(i.targets)}: ${inVrf === undefined ? 'on its way into the VRF' : fate(inVrf)}`;
  }
}

/** How a route fares in its VRF's decision. */
function fate(c: CandidateView): string {
  const lost = verdict(c);
  if (lost === '') return 'best';
  return c.refused !== undefined || c.isMultipath ? lost : `lost: ${lost}`;
}

export function vpnRouteStatus(room: VpnRoom, route: VpnRoute, isBest: boolean): BgpVpnRouteStatus {
  const { name, vrf, label, bundle } = route;
  const { attributes: a, hop, from } = bundle;
  const extended = inGroups(a.extendedCommunities, 2).map(([high, low]) => extendedCommunityText(high!, low!));
  return {
    rd: distinguisherText(name.rd),
    prefix: String(name.prefix),
    label,
    next_hop: String(hop.global ?? hop.linkLocal),
    peer: from?.name ?? (vrf === undefined ? '' : vrfLink(vrf)),
    best: isBest,
    as_path: asPathText(a.asPath),
    origin: originText(a.origin),
    local_pref: a.localPref ?? DEFAULT_LOCAL_PREF,
    ...(a.med !== undefined && { med: a.med }),
    targets: extended.filter((text) => text.startsWith(TARGET)).map((text) => text.slice(TARGET.length)),
    communities: [
      ...a.communities.map(communityText),
      ...inGroups(a.largeCommunities, 3).map(([x, y, z]) => largeCommunityText(x!, y!, z!)),
      ...extended.filter((text) => !text.startsWith(TARGET)),
    ],
    vrfs: room.importersOf(route),
    unreachable: !isReachable(route),
  };
}

function inGroups(words: readonly number[], size: number): number[][] {
  return Array.from({ length: words.length / size }, (_, i) => words.slice(i * size, (i + 1) * size));
}
