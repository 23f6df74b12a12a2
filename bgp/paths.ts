/**
 * Which paths to a prefix a peer is told beside the best one, and in which order they are preferred.
 * Read first: RFC 7911 §2, bgp/rib/adj-rib-paths-out.ts.
 */

import type { Exporter } from './exporter.ts';
import type { Outbound, Peer } from './peer.ts';
import type { ToldPath } from './rib/adj-rib-paths-out.ts';
import { decide } from './rib/decision.ts';

/** The identifier of the default route that is told whatever the table holds; no route has this number. */
const DEFAULT_ROUTE_PATH = 0xffffffff;

type Path = ToldPath & { readonly pathId: number };

const set: number[] = [];
const equal: number[] = [];

/**
 * The paths a peer is told for a prefix now.
 * @param limit the best so many; Infinity = all that may be told
 */
export function pathsFor(
  prefix: number,
  out: Outbound,
  exporter: Exporter,
  peers: readonly (Peer | undefined)[],
  limit: number,
): Path[] {
  const { loc, routes } = out.rib;
  const told: Path[] = [];
  const own = exporter.ownDefault(prefix, out);
  if (own !== undefined) return [{ pathId: DEFAULT_ROUTE_PATH, attrs: own }];
  const routesLeft = set.slice(0, loc.eligible(prefix, set));
  while (routesLeft.length > 0 && told.length < limit) {
    // Ranking costs a decision per path, so it is done only where not all are told.
    const route = limit === Infinity ? routesLeft[0]! : decide([...routesLeft], routesLeft.length, loc.inputs, equal);
    routesLeft.splice(routesLeft.indexOf(route), 1);
    const attrs = exporter.route(prefix, out, peers, loc.acceptedSet(route), routes.peerOf[route]!);
    // RFC 7911 §2: the identifier is local to us; the route's number lives as long as the route.
    if (attrs !== undefined) told.push({ pathId: route + 1, attrs });
  }
  return told;
}
