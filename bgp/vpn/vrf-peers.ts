/**
 * How the speaker of a VRF is joined to the room: sessions inside this process, one for the VPN routes of other routers and
 * for its own, and one for each other VRF of this router, so that a route says by its session where packets go. Read first:
 * bgp/pipe.ts, bgp/vpn/vpn-room.ts.
 */

import { Addr } from '../../router/lib/addr.ts';
import type { PathOrigins } from '../candidates.ts';
import type { PeerConfig } from '../peer-config.ts';
import { type Later, PipeTransport } from '../pipe.ts';
import type { LinkId } from '../ports.ts';
import type { VpnRoom } from './vpn-room.ts';

/** Link and name of the session for other routers' routes: no name that an uplink or a peer can be given. */
export const VPN_LINK = '(vpn)';
/** Not an address of anybody: the sessions' other ends are in this process. */
const NOWHERE = Addr.parse('::1')!;
/** Next hop of a VRF that has no address on its uplinks: no other router is told it, the VRFs of this one need none. */
const NO_ADDRESS = Addr.parse('fe80::1')!;
const VRF_LINK = /^\(vrf (.+)\)$/;

/** Link and name of the session for what another VRF of this router exports; packets over it are routed there. */
export function vrfLink(vrf: string): string {
  return `(vrf ${vrf})`;
}

/** The VRF that packets over a link are routed in; undefined for any other link. */
export function vrfOfLink(link: LinkId): string | undefined {
  return typeof link === 'string' ? VRF_LINK.exec(link)?.[1] : undefined;
}

/** Whether a session, by its name or its link, is one of these: nobody's business outside. */
export function isInside(link: LinkId): boolean {
  return link === VPN_LINK || vrfOfLink(link) !== undefined;
}

export interface Joining {
  readonly asn: number;
  /** Whether the VRF imports and exports anything. */
  readonly imports: boolean;
  readonly exports: boolean;
  /** Addresses of the VRF's uplinks, where other routers send its packets. */
  readonly nextHop4: Addr | undefined;
  readonly nextHop6: Addr | undefined;
}

/** The peers of a VRF's speaker. @param others the other VRFs of this router */
export function roomPeers(others: readonly string[], j: Joining): PeerConfig[] {
  const common = {
    asn: j.asn,
    address: NOWHERE,
    families: ['ipv4', 'ipv6'],
    extendedNextHop: true,
    addPath: 'receive',
    multihop: true,
    import: j.imports ? 'accept-all' : 'reject-all',
  } as const;
  const outside: PeerConfig = {
    ...common,
    name: VPN_LINK,
    link: VPN_LINK,
    nextHopSelf: true,
    export: j.exports ? 'accept-all' : 'reject-all',
    ...(j.nextHop4 !== undefined && { nextHop4: j.nextHop4 }),
    nextHop6: j.nextHop6 ?? NO_ADDRESS,
  };
  return [
    outside,
    ...others.map((vrf): PeerConfig => {
      // VRFs wait for each other's routes in no order, so none waits for an End-of-RIB.
      return { ...common, name: vrfLink(vrf), link: vrfLink(vrf), export: 'reject-all', gracefulRestart: false };
    }),
  ];
}

/** The transport of those sessions. */
export function roomTransport(room: VpnRoom, vrf: string, later: Later): PipeTransport {
  return new PipeTransport(({ link }) => {
    const from = vrfOfLink(link);
    return from === undefined ? room.endOf(vrf) : room.leakEndOf(vrf, from);
  }, later);
}

/** Who told the paths that the VRF's speaker has of that transport. */
export function roomOrigins(room: VpnRoom, vrf: string): PathOrigins {
  return (peer, pathId) => (peer === VPN_LINK ? room.originOf(vrf, pathId) : undefined);
}
