/**
 * Route leaks stopped by roles: the rules of the ONLY_TO_CUSTOMER attribute, for both directions of an external session.
 * Read first: RFC 9234 §5. Nothing here depends on policy, and policy cannot undo it.
 */

import type { Role } from '../fsm/negotiate.ts';
import type { Attributes } from '../wire/attribute/model.ts';
import { copyOf } from './change.ts';

/**
 * Whether a received route has leaked: it came up from a customer although it was only to go down.
 * @param role ours towards the peer; undefined = no rules
 */
export function isLeak(role: Role | undefined, peerAs: number, otc: number | undefined): boolean {
  if (otc === undefined || role === undefined) return false;
  // §5 ingress 1: from a customer or a client of our route server. 2: from a peer, with another AS than the peer's.
  if (role === 'provider' || role === 'route-server') return true;
  return role === 'peer' && otc !== peerAs;
}

/** §5 ingress 3: what comes from a provider, a peer or a route server goes to customers only from here on. */
export function marked(a: Attributes, role: Role | undefined, peerAs: number): Attributes {
  const comesDown = role === 'customer' || role === 'peer' || role === 'route-server-client';
  return comesDown && a.otc === undefined ? { ...copyOf(a), otc: peerAs } : a;
}

/** §5 egress 2: a marked route is not told to providers, peers or route servers. */
export function mayTell(role: Role | undefined, otc: number | undefined): boolean {
  return otc === undefined || role === undefined || role === 'provider' || role === 'route-server';
}

/** §5 egress 1: what goes to a customer, a peer or a client of our route server is marked with our AS. */
export function markedForPeer(a: Attributes, role: Role | undefined, localAs: number): Attributes {
  const goesDown = role === 'provider' || role === 'peer' || role === 'route-server';
  return goesDown && a.otc === undefined ? { ...copyOf(a), otc: localAs } : a;
}
