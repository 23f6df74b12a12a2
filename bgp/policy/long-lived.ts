/** The mark of RFC 9494 §4.2 on the routes of a peer that has been away for long. */

import { type AttrTable, Has } from '../rib/attrs.ts';
import { Community } from '../wire/attribute/communities.ts';
import { copyOf } from './change.ts';

/**
 * The same attributes, marked as those of a peer that has been away for long; both are numbers of sets.
 * @returns `TOO_LARGE` when there is no room for the mark
 */
export function withLlgrStale(id: number, table: AttrTable): number {
  if (table.has(id, Has.LlgrStale)) return id;
  const a = table.set(id);
  return table.internNumber({ ...copyOf(a), communities: [...a.communities, Community.LlgrStale] }, a.nextHop);
}
