/** Whether one peer is told a prefix, and why not: worked out when somebody asks. Reads only; the answers are values. */

import type { Addr, Prefix } from '../router/lib/addr.ts';
import type { Peer } from './peer.ts';
import type { ExportReason } from './policy/filter.ts';
import { prefixMeant, type RibView, routesOf } from './query.ts';
import type { RouteView } from './show.ts';

export interface TellingView extends ExportReason {
  /** The prefix that was asked for, or the longest with a route around the address; undefined = there is none. */
  readonly prefix: string | undefined;
  readonly best: RouteView | undefined;
  /** What the peer has been told: one route, or several with ADD-PATH. */
  readonly told: readonly RouteView[];
}

export function tellingOf(view: RibView, peer: Peer, what: Prefix | Addr): TellingView {
  const { rib } = view;
  const prefix = prefixMeant(rib, what);
  const id = prefix === undefined ? -1 : rib.prefixes.findPrefix(prefix);
  return {
    prefix: prefix?.toString(),
    best: id < 0 ? undefined : [...routesOf(view, 'best', undefined, prefix)][0],
    told: id < 0 ? [] : [...routesOf(view, 'out', peer, prefix)],
    ...reasonOf(view, peer, id),
  };
}

function reasonOf({ rib, peers }: RibView, peer: Peer, prefix: number): ExportReason {
  const { state } = peer.session;
  const out = peer.outbound.find((o) => o.rib === rib);
  const barred = (bar: string): ExportReason => ({ bar, policy: undefined });
  if (prefix < 0) return barred('there is no route to it');
  if (state !== 'Established') return barred(`the session is not established (${state})`);
  if (out === undefined) return barred(`the session carries no IPv${rib.family} routes`);
  return peer.explainTelling(prefix, out, peers);
}
