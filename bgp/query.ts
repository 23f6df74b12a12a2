/** Questions about the tables: which routes there are, and why one is best. Reads only; the answers are values. */

import { type Addr, Prefix } from '../router/lib/addr.ts';
import type { Peer } from './peer.ts';
import { LOCAL_PEER, VERDICT_TEXT } from './rib/adj-rib-in.ts';
import type { AttrSet } from './rib/attrs.ts';
import { decide, explain } from './rib/decision.ts';
import type { LocRibInputs } from './rib/loc-rib.ts';
import type { Rib } from './rib/rib.ts';
import { ROA_STATE_TEXT, type RoaTable, roaOrigin } from './rpki/roa-table.ts';
import { type CandidateView, type RouteView, routeView } from './show.ts';

/** The tables of one family with what is needed to read them. */
export interface RibView {
  readonly rib: Rib;
  readonly peers: readonly (Peer | undefined)[];
  readonly inputs: LocRibInputs;
  /** What origins are judged by, where routes are validated. */
  readonly origins: { readonly roas: RoaTable; readonly localAs: number } | undefined;
}

/** Routes of one kind, of one peer and one prefix where given. */
export function* routesOf(
  view: RibView,
  kind: 'in' | 'out' | 'best',
  peer: Peer | undefined,
  prefix: Prefix | undefined,
): Generator<RouteView> {
  const { prefixes } = view.rib;
  if (prefix !== undefined) {
    const id = prefixes.findPrefix(prefix);
    if (id >= 0) yield* atPrefix(view, id, kind, peer);
    return;
  }
  for (let id = 0; id < prefixes.limit; id++) if (prefixes.isUsed(id)) yield* atPrefix(view, id, kind, peer);
}

function atPrefix(view: RibView, id: number, kind: 'in' | 'out' | 'best', peer: Peer | undefined): RouteView[] {
  const { rib } = view;
  if (kind === 'out') {
    const sent = peer?.outbound.find((o) => o.rib === rib)?.adjRibOut.sent(id);
    if (sent === undefined) return [];
    const to = { peer: peer!.config.name, link: peer!.config.link };
    return [routeView(rib.prefixes.prefix(id), sent, to, false, undefined, undefined)];
  }
  const views: RouteView[] = [];
  for (let r = rib.routes.first(id); r >= 0; r = rib.routes.next(r)) {
    const owner = rib.routes.peerOf[r]!;
    if ((peer !== undefined && owner !== peer.index) || (kind === 'in' && owner === LOCAL_PEER)) continue;
    const route = received(view, r);
    if (kind === 'in' || route.isBest) views.push(route);
  }
  return views;
}

function received(view: RibView, route: number): RouteView {
  const { routes, loc, prefixes } = view.rib;
  const id = routes.prefixOf[route]!;
  const owner = routes.peerOf[route]!;
  const peer = view.peers[owner];
  const accepted = routes.accepted(route);
  const isBest = accepted !== undefined && loc.peer(id) === owner && loc.attrs(id) === accepted;
  const refused =
    accepted === undefined
      ? VERDICT_TEXT[routes.verdictOf[route]!]
      : view.inputs.hop(route) === undefined
        ? 'next hop is unreachable'
        : undefined;
  const from = { peer: peer?.config.name, link: peer?.config.link };
  const roa = roaText(view, id, routes.received(route));
  return routeView(prefixes.prefix(id), accepted ?? routes.received(route), from, isBest, refused, roa);
}

function roaText({ rib, origins }: RibView, id: number, a: AttrSet): string | undefined {
  if (origins === undefined) return undefined;
  const p = rib.prefixes;
  const words = rib.family === 4 ? ([0, 0, 0] as const) : ([p.w1[id]!, p.w2[id]!, p.w3[id]!] as const);
  const origin = roaOrigin(a.asPath, origins.localAs);
  return ROA_STATE_TEXT[origins.roas.state(rib.family, p.w0[id]!, ...words, p.length[id]!, origin)];
}

/** The longest prefix with a best route that holds an address. */
export function longestMatch(rib: Rib, addr: Addr): Prefix | undefined {
  for (let length = addr.family === 4 ? 32 : 128; length >= 0; length--) {
    const prefix = Prefix.containing(addr, length)!;
    const id = rib.prefixes.findPrefix(prefix);
    if (id >= 0 && rib.loc.attrs(id) !== undefined) return prefix;
  }
  return undefined;
}

/** All routes to a prefix, the best one first, each with the step at which it lost. */
export function candidatesOf(view: RibView, prefix: Prefix, maxPaths: number): CandidateView[] {
  const { rib, inputs } = view;
  const id = rib.prefixes.findPrefix(prefix);
  if (id < 0) return [];
  const set: number[] = [];
  const n = rib.loc.eligible(id, set);
  const lostAt = explain(set.slice(0, n), inputs);
  const equal: number[] = [];
  const best = n === 0 ? -1 : decide(set, n, inputs, equal);
  const shared = maxPaths > 1 ? equal.slice(0, maxPaths) : [];
  const views: CandidateView[] = [];
  for (let r = rib.routes.first(id); r >= 0; r = rib.routes.next(r)) {
    views.push({ ...received(view, r), lostAt: lostAt.get(r), isMultipath: r !== best && shared.includes(r) });
  }
  return views.sort((a, b) => Number(b.isBest) - Number(a.isBest));
}
