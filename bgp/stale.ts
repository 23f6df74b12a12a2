/**
 * Routes that outlive their session, in the tables: marked, made the last choice, swept. bgp/retention.ts says when.
 * Read first: RFC 4724 §4.2, RFC 9494 §4.2 and §4.3.
 */

import { dropRoute } from './import.ts';
import type { Peer } from './peer.ts';
import { withLlgrStale } from './policy/long-lived.ts';
import { Staleness } from './rib/adj-rib-in.ts';
import { type AttrTable, Has } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { Community } from './wire/attribute/communities.ts';

/** Mark all routes of a peer that are not marked yet. */
export function markStale(peer: Peer, rib: Rib): void {
  const { staleOf } = rib.routes;
  rib.routes.forPeer(peer.index, (route) => {
    if (staleOf[route] === Staleness.Fresh) staleOf[route] = Staleness.Stale;
  });
  peer.stale[rib.family] = peer.received[rib.family];
}

/** RFC 9494 §4.2: stale routes get LLGR_STALE, those with NO_LLGR are removed. */
export function makeLongLived(peer: Peer, rib: Rib, table: AttrTable): void {
  const { routes } = rib;
  routes.forPeer(peer.index, (route) => {
    if (routes.staleOf[route] !== Staleness.Stale) return;
    const received = routes.receivedOf[route]!;
    if (table.has(received, Has.WellKnown) && table.set(received).communities.includes(Community.NoLlgr)) {
      dropRoute(peer, rib, route);
      return;
    }
    routes.staleOf[route] = Staleness.LongLived;
    const accepted = routes.acceptedOf[route]!;
    if (accepted < 0) return;
    routes.replace(route, received, withLlgrStale(accepted, table), routes.verdictOf[route]!);
    rib.loc.touch(routes.prefixOf[route]!);
  });
}

/** Remove the routes of a peer that are still marked. */
export function sweepStale(peer: Peer, rib: Rib): void {
  if (peer.stale[rib.family] === 0) return;
  rib.routes.forPeer(peer.index, (route) => {
    if (rib.routes.staleOf[route] !== Staleness.Fresh) dropRoute(peer, rib, route);
  });
}

/** Remove all routes of a peer. */
export function dropRoutes(peer: Peer, rib: Rib): void {
  rib.routes.forPeer(peer.index, (route) => {
    dropRoute(peer, rib, route);
  });
}
