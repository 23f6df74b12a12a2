/** The mark of RFC 9494 §4.2 on the routes of a peer that has been away for long. */

import type { AttrSet, AttrTable } from '../rib/attrs.ts';
import { Community } from '../wire/attribute/communities.ts';
import { copyOf } from './change.ts';

/** The same attributes, marked as those of a peer that has been away for long. */
export function withLlgrStale(a: AttrSet, table: AttrTable): AttrSet {
  if (a.isLongLivedStale) return a;
  return table.intern({ ...copyOf(a), communities: [...a.communities, Community.LlgrStale] }, a.nextHop);
}
