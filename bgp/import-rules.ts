/**
 * What becomes of the attributes of a route that import policy let pass, before they are stored.
 * Read first: RFC 7705 §3, RFC 7999 §3.2, RFC 8326 §4.
 */

import { copyOf } from './policy/change.ts';
import type { LocalAs } from './relation.ts';
import { prepend } from './wire/attribute/as-path.ts';
import { Community } from './wire/attribute/communities.ts';
import type { Attributes } from './wire/attribute/model.ts';

/** What the configuration of a peer says about its routes. */
export interface ImportSettings {
  readonly localAs?: LocalAs;
  readonly gracefulShutdown?: boolean;
  readonly acceptBlackhole?: boolean;
}

/** Whether routes may be changed although they have no community that says so. */
export function changesEveryRoute(s: ImportSettings): boolean {
  return s.gracefulShutdown === true || (s.localAs !== undefined && s.localAs.noPrepend !== true);
}

/**
 * The attributes to store; the same object when nothing is to be changed.
 * @param a after policy
 * @param received communities as the peer sent them
 */
export function afterImport(
  a: Attributes,
  received: readonly number[],
  s: ImportSettings,
  isExternal: boolean,
): Attributes {
  let result = a;
  // RFC 8326 §4: "set LOCAL_PREF ... to a low value, RECOMMENDED value is 0", whatever policy says; §4.2: the one who
  // shuts down does the same with what it hears over the session.
  if (s.gracefulShutdown === true || (isExternal && received.includes(Community.GracefulShutdown))) {
    result = { ...copyOf(result), localPref: 0 };
  }
  // RFC 7705 §3.2: the peer's view of us is part of the path, unless "No Prepend Inbound" is set.
  if (isExternal && s.localAs !== undefined && s.localAs.noPrepend !== true) {
    result = { ...copyOf(result), asPath: prepend(result.asPath, s.localAs.asn) };
  }
  // RFC 7999 §3.2: the route "SHOULD NOT be propagated": NO_ADVERTISE or NO_EXPORT.
  if (s.acceptBlackhole === true && received.includes(Community.Blackhole) && !isKept(result.communities)) {
    result = { ...copyOf(result), communities: [...result.communities, Community.NoExport] };
  }
  return result;
}

function isKept(communities: readonly number[]): boolean {
  return communities.includes(Community.NoExport) || communities.includes(Community.NoAdvertise);
}
