/**
 * Routes that outlive their session, in the tables: marked, made the last choice, swept. bgp/retention.ts says when.
 * Read first: RFC 4724 §4.2, RFC 9494 §4.2 and §4.3.
 */

import type { Chore } from './chores.ts';
import { dropRoute, eachRoute, removeGone } from './import.ts';
import type { Peer } from './peer.ts';
import { withLlgrStale } from './policy/long-lived.ts';
import { Staleness } from './rib/adj-rib-in.ts';
import { type AttrTable, Has } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { Community } from './wire/attribute/communities.ts';

/** Mark all routes of a peer that are not marked yet. */
export function markStale(peer: Peer, rib: Rib): void {
  rib.routes.markStale(peer.index);
  peer.stale[rib.family] = peer.received[rib.family];
  peer.staleAccepted[rib.family] = peer.accepted[rib.family];
}

/** RFC 9494 §4.2: stale routes get LLGR_STALE, those with NO_LLGR are removed. */
export function makingLongLived(peer: Peer, rib: Rib, table: AttrTable): Chore {
  const { routes } = rib;
  return eachRoute(peer.index, rib, (route) => {
    if (routes.staleOf[route] !== Staleness.Stale) return;
    const received = routes.receivedOf[route]!;
    if (table.has(received, Has.WellKnown) && table.set(received).communities.includes(Community.NoLlgr)) {
      dropRoute(peer, rib, route);
      return;
    }
    const accepted = routes.acceptedOf[route]!;
    const marked = accepted < 0 ? accepted : withLlgrStale(accepted, table);
    if (accepted >= 0 && marked < 0) {
      dropRoute(peer, rib, route);
      return;
    }
    routes.staleOf[route] = Staleness.LongLived;
    if (accepted < 0) return;
    routes.replace(route, received, marked, routes.verdictOf[route]!);
    rib.loc.touch(routes.prefixOf[route]!);
  });
}

/** Remove the routes of a peer that are still marked; undefined when none is. */
export function sweepingStale(peer: Peer, rib: Rib): Chore | undefined {
  return peer.stale[rib.family] === 0 ? undefined : removing(peer, rib, true);
}

/** Remove all routes of a peer. */
export function droppingRoutes(peer: Peer, rib: Rib): Chore {
  return removing(peer, rib, false);
}

/** Routes are marked as gone and not counted any more at once, which is a scan of columns; they leave the table in slices. */
function removing(peer: Peer, rib: Rib, onlyStale: boolean): Chore {
  const { routes, family } = rib;
  const marked = routes.markGone(peer.index, onlyStale);
  peer.received[family] -= marked.routes;
  peer.accepted[family] -= marked.accepted;
  peer.stale[family] -= marked.stale;
  peer.staleAccepted[family] = 0;
  return eachRoute(peer.index, rib, (route) => {
    if (routes.isGone(route)) removeGone(rib, route);
  });
}
