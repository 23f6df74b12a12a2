/** Whether a peer is told a VPN route, and why, in the words of the control protocol. */
import type { Decision, Speaker } from '../../bgp/speaker.ts';
import type { VpnTelling } from '../../bgp/vpn/vpn-explain.ts';
import type { VpnRoom } from '../../bgp/vpn/vpn-room.ts';
import { isInside, VPN_LINK } from '../../bgp/vpn/vrf-peers.ts';
import type { BgpTelling, BgpVpnTelling } from '../control/messages.ts';
import type { Addr, Prefix } from '../lib/addr.ts';
import { type DecisionWords, withDue } from './bgp-decisions.ts';
import { vpnRouteStatus } from './vpn-listing.ts';

/** What export policy of the peer decided. */
type Words = (decision: Decision) => DecisionWords;

/** VPN routes of all, or of one VRF. @returns undefined when the peer has no VPN session */
export function vpnTellings(
  room: VpnRoom,
  peer: string,
  what: Prefix | Addr,
  vrf: string | undefined,
  words: Words,
): BgpVpnTelling[] | undefined {
  return room.tellings(peer, what, vrf)?.map((telling) => tellingOf(room, telling, words));
}

function tellingOf(room: VpnRoom, { route, isBest, told, bar, policy }: VpnTelling, words: Words): BgpVpnTelling {
  const bundle = told && {
    ...route.bundle,
    attributes: told.attributes,
    hop: { global: told.hop, linkLocal: undefined },
  };
  return {
    route: vpnRouteStatus(room, route, isBest),
    told: told !== undefined,
    ...(bundle && { told_as: vpnRouteStatus(room, { ...route, bundle }, isBest) }),
    ...(policy === undefined ? { why: bar ?? '' } : withDue(words(policy), policy.isAccepted, told !== undefined)),
  };
}

/** A peer of the main table, asked about what a VRF tells other routers. @param state of its session */
export function vrfTelling(
  room: VpnRoom,
  asked: { readonly peer: string; readonly state: string; readonly what: Prefix | Addr; readonly vrf: string },
  speaker: Speaker,
  words: Words,
): BgpTelling {
  const { peer, state, what, vrf } = asked;
  const vpn = vpnTellings(room, peer, what, vrf, words);
  const why = (): string => {
    if (state !== 'Established') return `the session is not established (${state})`;
    return vpn === undefined ? 'the session carries no VPN routes' : whyNotExported(speaker, what, vrf);
  };
  const told = vpn?.some((v) => v.told) === true;
  return { peer, told, routes: [], why: vpn === undefined || vpn.length === 0 ? why() : '', vpn: vpn ?? [] };
}

function whyNotExported(speaker: Speaker, what: Prefix | Addr, vrf: string): string {
  const view = speaker.explainTelling(VPN_LINK, what);
  if (view === undefined) return `VRF ${vrf} has no rd, and exports nothing`;
  const { best, bar, policy } = view;
  if (best?.peer !== undefined && isInside(best.peer))
    return `VRF ${vrf} has imported it, and does not export it again`;
  if (policy?.isAccepted === false) return `VRF ${vrf} exports nothing: it has no export targets`;
  return bar === undefined ? `VRF ${vrf} is about to export it` : `VRF ${vrf} does not export it: ${bar}`;
}
