/** What the decision process asks about a route, answered by the peer it came from. Read first: bgp/rib/decision.ts. */

import { Addr } from '../router/lib/addr.ts';
import type { Peer } from './peer.ts';
import type { WayKind } from './ports.ts';
import { type AdjRibsIn, LOCAL_PEER } from './rib/adj-rib-in.ts';
import type { AttrTable } from './rib/attrs.ts';
import type { LocRibInputs, ResolvedHop } from './rib/loc-rib.ts';
import { NumberedWay } from './rib/ways.ts';

/** Where routes of our own go. They belong to one speaker, because its table numbers their ways. */
export interface OwnHops {
  readonly network: ResolvedHop;
  /** What nothing inside of an aggregate takes ends here. */
  readonly aggregate: ResolvedHop;
}

export function ownHops(): OwnHops {
  const hop = (kind: WayKind): ResolvedHop => {
    return { address: Addr.v4(0), link: 0, cost: 0, alone: new NumberedWay(kind, [], false) };
  };
  return { network: hop('unicast'), aggregate: hop('blackhole') };
}

/** @param peers by number; they may come and go */
export function inputsOf(
  routes: AdjRibsIn,
  attrs: AttrTable,
  peers: readonly (Peer | undefined)[],
  own: OwnHops,
): LocRibInputs {
  const peerOf = (route: number): Peer | undefined => peers[routes.peerOf[route]!];
  return {
    table: attrs,
    attrs: (route) => routes.acceptedOf[route]!,
    isLocal: (route) => routes.peerOf[route] === LOCAL_PEER,
    isExternal: (route) => peerOf(route)?.isExternal ?? true,
    cost: (route) => peerOf(route)?.hop(attrs.hopNumber(routes.acceptedOf[route]!))?.cost ?? 0,
    peerIdentifier: (route) => peerOf(route)?.identifier ?? 0,
    comparePeers: (a, b) => comparePeers(peerOf(a), peerOf(b)),
    hop: (route) => {
      const peer = peerOf(route);
      if (peer !== undefined) return peer.hop(attrs.hopNumber(routes.acceptedOf[route]!));
      return attrs.nextHop(routes.acceptedOf[route]!) === undefined ? own.network : own.aggregate;
    },
    weight: (route) => routes.weight(route),
    pathIdentifier: (route) => routes.pathIdOf[route]!,
  };
}

/** RFC 4271 §9.1.2.2 (g): order of the peers' addresses; the uplink tells equal link-local ones apart. */
function comparePeers(a: Peer | undefined, b: Peer | undefined): number {
  const x = a?.config.address;
  const y = b?.config.address;
  if (x === undefined || y === undefined) return (x === undefined ? 0 : 1) - (y === undefined ? 0 : 1);
  return x.compare(y) || a!.index - b!.index;
}
