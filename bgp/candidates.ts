/** What the decision process asks about a route, answered by the peer it came from. Read first: bgp/rib/decision.ts. */

import { Addr } from '../router/lib/addr.ts';
import type { Peer } from './peer.ts';
import type { WayKind } from './ports.ts';
import { type AdjRibsIn, LOCAL_PEER } from './rib/adj-rib-in.ts';
import type { AttrTable } from './rib/attrs.ts';
import type { LocRibInputs, ResolvedHop } from './rib/loc-rib.ts';
import { NumberedWay } from './rib/ways.ts';
import type { EightOctets } from './vpn/route-distinguisher.ts';

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

/** Who told a path that came to us through a peer inside of this process: ties are broken by it, as if we had heard it there. */
export interface PathOrigin {
  /** Name of the session. */
  readonly peer: string;
  readonly address: Addr;
  /** BGP Identifier. */
  readonly identifier: number;
  /** The route distinguisher it has there. */
  readonly distinguisher: EightOctets;
  /** The path identifier it has there (RFC 7911). */
  readonly pathId: number;
}

/** The origin of a peer's path with this identifier; undefined = it has none but the peer. */
export type PathOrigins = (peer: string, pathId: number) => PathOrigin | undefined;

/** @param peers by number; they may come and go @param origins of paths of peers inside of this process */
export function inputsOf(
  routes: AdjRibsIn,
  attrs: AttrTable,
  peers: readonly (Peer | undefined)[],
  own: OwnHops,
  origins?: PathOrigins,
): LocRibInputs {
  const peerOf = (route: number): Peer | undefined => peers[routes.peerOf[route]!];
  const inputs = plainInputs(routes, attrs, own, peerOf);
  return origins === undefined ? inputs : { ...inputs, ...byOrigin(routes, inputs, origins, peerOf) };
}

function plainInputs(
  routes: AdjRibsIn,
  attrs: AttrTable,
  own: OwnHops,
  peerOf: (route: number) => Peer | undefined,
): LocRibInputs {
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

/** The tie-breakers of a table that has paths with other origins than its peers. */
function byOrigin(
  routes: AdjRibsIn,
  inputs: LocRibInputs,
  origins: PathOrigins,
  peerOf: (route: number) => Peer | undefined,
): Pick<LocRibInputs, 'peerIdentifier' | 'comparePeers' | 'compareDistinguishers' | 'pathIdentifier'> {
  const originOf = (route: number): PathOrigin | undefined => {
    const peer = peerOf(route);
    return peer && origins(peer.config.name, routes.pathIdOf[route]!);
  };
  const senderOf = (route: number) => originOf(route) ?? peerOf(route)?.config;
  const nameOf = (route: number): string => originOf(route)?.peer ?? peerOf(route)?.config.name ?? '';
  return {
    peerIdentifier: (route) => originOf(route)?.identifier ?? inputs.peerIdentifier(route),
    comparePeers: (a, b) => {
      const [x, y] = [senderOf(a)?.address, senderOf(b)?.address];
      return (x !== undefined && y !== undefined && x.compare(y)) || compareTexts(nameOf(a), nameOf(b));
    },
    compareDistinguishers: (a, b) => compareOctets(originOf(a)?.distinguisher, originOf(b)?.distinguisher),
    pathIdentifier: (route) => originOf(route)?.pathId ?? inputs.pathIdentifier(route),
  };
}

export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function compareOctets(a: EightOctets | undefined, b: EightOctets | undefined): number {
  return (a?.high ?? 0) - (b?.high ?? 0) || (a?.low ?? 0) - (b?.low ?? 0);
}

/** RFC 4271 §9.1.2.2 (g): order of the peers' addresses; the uplink tells equal link-local ones apart. */
function comparePeers(a: Peer | undefined, b: Peer | undefined): number {
  const x = a?.config.address;
  const y = b?.config.address;
  if (x === undefined || y === undefined) return (x === undefined ? 0 : 1) - (y === undefined ? 0 : 1);
  return x.compare(y) || a!.index - b!.index;
}
