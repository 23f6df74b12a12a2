/** Questions about the tables: which routes there are, and why one is best. Reads only; the answers are values. */

import { type Addr, type Family, Prefix } from '../router/lib/addr.ts';
import type { Instant } from '../router/lib/clock.ts';
import type { PrefixTable } from '../router/lib/prefix-table.ts';
import { subjectFor } from './exporter.ts';
import type { Peer } from './peer.ts';
import type { Decision } from './policy/filter.ts';
import { RoaState } from './policy/rule.ts';
import { LOCAL_PEER, Staleness, VERDICT_TEXT, Verdict } from './rib/adj-rib-in.ts';
import type { ToldPath } from './rib/adj-rib-paths-out.ts';
import type { AttrSet, AttrTable } from './rib/attrs.ts';
import { decide, explain } from './rib/decision.ts';
import type { LocRibInputs, ResolvedHop } from './rib/loc-rib.ts';
import { sharesOf } from './rib/multipath.ts';
import type { Rib } from './rib/rib.ts';
import { ROA_STATE_TEXT, type RoaTable, roaOrigin } from './rpki/roa-table.ts';
import { type CandidateView, type RouteView, routeView } from './show.ts';

/** The tables of one family with what is needed to read them. */
export interface RibView {
  readonly rib: Rib;
  readonly peers: readonly (Peer | undefined)[];
  readonly inputs: LocRibInputs;
  readonly now: Instant;
  /** What origins are judged by, where routes are validated. */
  readonly origins: { readonly roas: RoaTable; readonly localAs: number } | undefined;
}

/**
 * Which routes: as received ('in'), as told to a peer ('out'), best ones, all that passed import policy with our own
 * ('candidates', best first), or those that did not ('refused').
 */
export type RouteKind = 'in' | 'out' | 'best' | 'candidates' | 'refused';

export interface RouteQuery {
  readonly kind: RouteKind;
  /** Routes of this peer, or told to it. */
  readonly peer?: string;
  readonly family?: Family;
  /** This prefix only. */
  readonly prefix?: Prefix;
  /** This prefix and all inside it. */
  readonly within?: Prefix;
  /** The longest prefix around this address that has such routes. */
  readonly around?: Addr;
}

/** Where a listing goes on. Prefixes that come or go meanwhile may be missed, none that stays is. */
export interface RouteCursor {
  readonly family: Family;
  readonly id: number;
}

/** A part of a listing; `next` is where the rest begins, undefined at the end. */
export interface RoutePage<T> {
  readonly routes: readonly T[];
  readonly next: RouteCursor | undefined;
}

/** A route as the tables hold it. Valid until the tables change. */
export interface RouteEntry {
  readonly prefix: Prefix;
  readonly attrs: AttrSet;
  /** Undefined for routes of our own. */
  readonly peer: Peer | undefined;
  readonly isBest: boolean;
  readonly refused: string | undefined;
  /** Where packets go: undefined for our own routes, refused ones, and next hops that cannot be reached. */
  readonly hop: ResolvedHop | undefined;
  /** Seconds since it was told as it is; undefined for what we tell. */
  readonly ageS: number | undefined;
  readonly view: () => RouteView;
}

/** Bounds of one page: how long a turn it may take. */
const PAGE_ROUTES = 200;
const PAGE_PREFIXES = 32_768;

/** The next part of a listing over several tables; `make` is called for each route while it is valid. */
export function pageOf<T>(
  views: readonly RibView[],
  query: RouteQuery,
  peer: Peer | undefined,
  from: RouteCursor | undefined,
  make: (route: RouteEntry) => T,
): RoutePage<T> {
  const routes: T[] = [];
  const family = query.prefix?.family ?? query.within?.family ?? query.around?.family ?? query.family;
  const wanted = views.filter((v) => family === undefined || v.rib.family === family);
  let seen = 0;
  for (const view of wanted) {
    if (from !== undefined && view.rib.family < from.family) continue;
    const { prefixes } = view.rib;
    if (query.prefix !== undefined) {
      const id = prefixes.findPrefix(query.prefix);
      if (id >= 0) for (const route of atPrefix(view, id, query.kind, peer)) routes.push(make(route));
      continue;
    }
    if (query.around !== undefined) {
      for (const route of aroundAddress(view, query.around, query.kind, peer)) routes.push(make(route));
      continue;
    }
    const inside = query.within === undefined ? undefined : insideOf(prefixes, query.within);
    for (let id = from?.family === view.rib.family ? from.id : 0; id < prefixes.limit; id++) {
      if (routes.length >= PAGE_ROUTES || seen++ >= PAGE_PREFIXES) {
        return { routes, next: { family: view.rib.family, id } };
      }
      if (inside?.(id) === false || !prefixes.isUsed(id)) continue;
      for (const route of atPrefix(view, id, query.kind, peer)) routes.push(make(route));
    }
  }
  return { routes, next: undefined };
}

/** Routes to the longest prefix around an address that has any of the kind. */
function aroundAddress(view: RibView, addr: Addr, kind: RouteKind, peer: Peer | undefined): RouteEntry[] {
  for (let length = addr.family === 4 ? 32 : 128; length >= 0; length--) {
    const id = view.rib.prefixes.findPrefix(Prefix.containing(addr, length)!);
    const found = id < 0 ? [] : atPrefix(view, id, kind, peer);
    if (found.length > 0) return found;
  }
  return [];
}

/** Whether a prefix lies in another one, by its id: two comparisons of numbers, so that a search passes a full table in milliseconds. */
function insideOf(table: PrefixTable, within: Prefix): (id: number) => boolean {
  const { a0, a1, a2, a3 } = within.addr;
  const { length } = within;
  const mask = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? -1 : ~(0xffffffff >>> bits));
  if (table.family === 4) {
    const m = mask(length);
    return (id) => table.length[id]! >= length && (table.w0[id]! & m) === a3;
  }
  const [m0, m1, m2, m3] = [mask(length), mask(length - 32), mask(length - 64), mask(length - 96)];
  return (id) =>
    table.length[id]! >= length &&
    (table.w0[id]! & m0) === a0 &&
    (table.w1[id]! & m1) === a1 &&
    (table.w2[id]! & m2) === a2 &&
    (table.w3[id]! & m3) === a3;
}

/**
 * How many prefixes each peer has the best route to, by its name; '' stands for ourselves.
 * @param numbers all peers' numbers are below
 */
export function bestCounts(
  ribs: Readonly<Record<Family, Rib>>,
  peers: Iterable<Peer>,
  numbers: number,
): Map<string, { readonly ipv4: number; readonly ipv6: number }> {
  const countOf = ({ loc }: Rib): Float64Array => {
    const counts = new Float64Array(numbers);
    loc.forEach((id) => {
      counts[loc.peer(id)]!++;
    });
    return counts;
  };
  const [ipv4, ipv6] = [countOf(ribs[4]), countOf(ribs[6])];
  const of = (i: number): { ipv4: number; ipv6: number } => ({ ipv4: ipv4[i]!, ipv6: ipv6[i]! });
  return new Map([['', of(LOCAL_PEER)], ...[...peers].map((p) => [p.config.name, of(p.index)] as const)]);
}

/**
 * Whether traffic of a prefix goes by a next hop that was itself found in the forwarding table, or whether that is not known.
 */
export function isRecursive({ rib, peers }: RibView, prefix: Prefix, attrs: AttrTable): boolean {
  const { loc, prefixes } = rib;
  const id = prefixes.findPrefix(prefix);
  const owner = id < 0 ? -1 : loc.peer(id);
  if (owner === LOCAL_PEER) return false;
  const peer = owner < 0 ? undefined : peers[owner];
  return peer?.isDirectHop(attrs.hopNumber(loc.attrsNumber(id))) !== true;
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
    if (id >= 0) for (const route of atPrefix(view, id, kind, peer)) yield route.view();
    return;
  }
  for (let id = 0; id < prefixes.limit; id++) {
    if (prefixes.isUsed(id)) for (const route of atPrefix(view, id, kind, peer)) yield route.view();
  }
}

function atPrefix(view: RibView, id: number, kind: RouteKind, peer: Peer | undefined): RouteEntry[] {
  const { rib } = view;
  if (kind === 'out') {
    const paths = peer?.outbound.find((o) => o.rib === rib)?.adjRibOut.told(id) ?? [];
    return paths.map((path) => told(rib.prefixes.prefix(id), path, peer!));
  }
  const entries: RouteEntry[] = [];
  for (let r = rib.routes.first(id); r >= 0; r = rib.routes.next(r)) {
    const owner = rib.routes.peerOf[r]!;
    if (rib.routes.isGone(r)) continue;
    if ((peer !== undefined && owner !== peer.index) || (kind === 'in' && owner === LOCAL_PEER)) continue;
    if (kind === 'candidates' || kind === 'refused') {
      if ((rib.routes.accepted(r) === undefined) !== (kind === 'refused')) continue;
    }
    const route = received(view, r);
    if (kind !== 'best' || route.isBest) entries.push(route);
  }
  return kind === 'candidates' ? entries.sort((a, b) => Number(b.isBest) - Number(a.isBest)) : entries;
}

function told(prefix: Prefix, { attrs, pathId }: ToldPath, peer: Peer): RouteEntry {
  const to = { peer: peer.config.name, link: peer.config.link, pathId };
  return {
    prefix,
    attrs,
    peer,
    isBest: false,
    refused: undefined,
    hop: undefined,
    ageS: undefined,
    view: () => routeView(prefix, attrs, to, false, undefined, undefined, undefined),
  };
}

function received(view: RibView, route: number): RouteEntry {
  const { routes, loc, prefixes } = view.rib;
  const id = routes.prefixOf[route]!;
  const owner = routes.peerOf[route]!;
  const peer = view.peers[owner];
  const accepted = routes.accepted(route);
  const isBest = accepted !== undefined && loc.peer(id) === owner && loc.attrs(id) === accepted;
  const hop = accepted === undefined || owner === LOCAL_PEER ? undefined : view.inputs.hop(route);
  const refused =
    accepted === undefined
      ? VERDICT_TEXT[routes.verdictOf[route]!]
      : owner !== LOCAL_PEER && hop === undefined
        ? 'next hop is unreachable'
        : undefined;
  const prefix = prefixes.prefix(id);
  const attrs = accepted ?? routes.received(route);
  const pathId = routes.pathIdOf[route]!;
  const from = { peer: peer?.config.name, link: peer?.config.link, pathId: pathId === 0 ? undefined : pathId };
  const ageS = routes.ageS(route, view.now);
  const asView = (): RouteView => ({
    ...routeView(prefix, attrs, from, isBest, refused, roaText(view, id, routes.received(route)), ageS),
    isStale: routes.staleOf[route] !== Staleness.Fresh,
  });
  return { prefix, attrs, peer, isBest, refused, hop, ageS, view: asView };
}

function roaText({ rib, origins }: RibView, id: number, a: AttrSet): string | undefined {
  if (origins === undefined) return undefined;
  const p = rib.prefixes;
  const words = rib.family === 4 ? ([0, 0, 0] as const) : ([p.w1[id]!, p.w2[id]!, p.w3[id]!] as const);
  const origin = roaOrigin(a.asPath, origins.localAs);
  return ROA_STATE_TEXT[origins.roas.state(rib.family, p.w0[id]!, ...words, p.length[id]!, origin)];
}

/** The longest prefix with a best route that holds an address, or a prefix. */
export function longestMatch(rib: Rib, what: Addr | Prefix): Prefix | undefined {
  return longestWith(rib, what, (id) => rib.loc.attrs(id) !== undefined);
}

/** The prefix that is asked about by an address: the longest with a best route, else the longest with any. */
export function prefixMeant(rib: Rib, what: Addr | Prefix): Prefix | undefined {
  if (what instanceof Prefix) return what;
  return longestMatch(rib, what) ?? longestWith(rib, what, (id) => rib.routes.first(id) >= 0);
}

function longestWith(rib: Rib, what: Addr | Prefix, isMeant: (id: number) => boolean): Prefix | undefined {
  const addr = what instanceof Prefix ? what.addr : what;
  const longest = what instanceof Prefix ? what.length : addr.family === 4 ? 32 : 128;
  for (let length = longest; length >= 0; length--) {
    const prefix = Prefix.containing(addr, length)!;
    const id = rib.prefixes.findPrefix(prefix);
    if (id >= 0 && isMeant(id)) return prefix;
  }
  return undefined;
}

/** What import policy said about a route that it refused. */
function refusedBy({ rib, peers, origins }: RibView, route: number): Decision | undefined {
  const { routes } = rib;
  const peer = peers[routes.peerOf[route]!];
  if (routes.verdictOf[route] !== Verdict.Policy || peer === undefined) return undefined;
  const a = routes.received(route);
  const about = subjectFor(routes.prefixOf[route]!, rib, peer);
  const { family, w0, w1, w2, w3, length } = about;
  about.roa =
    origins?.roas.state(family, w0, w1, w2, w3, length, roaOrigin(a.asPath, origins.localAs)) ?? RoaState.NotFound;
  return peer.importFilter.decision(a, a.nextHop, about);
}

/** All routes to a prefix, or to the longest around an address, the best one first, each with the step at which it lost. */
export function candidatesOf(view: RibView, what: Prefix | Addr): CandidateView[] {
  const { rib, inputs } = view;
  const prefix = prefixMeant(rib, what);
  const id = prefix === undefined ? -1 : rib.prefixes.findPrefix(prefix);
  if (id < 0) return [];
  const set: number[] = [];
  const n = rib.loc.eligible(id, set);
  const lostAt = explain(set.slice(0, n), inputs);
  const equal: number[] = [];
  const best = n === 0 ? -1 : decide(set, n, inputs, equal);
  const shared =
    n < 2 || inputs.isLocal(best)
      ? []
      : sharesOf(best, equal, inputs, (r) => inputs.hop(r)!, view.rib.loc.multipath).routes;
  const views: CandidateView[] = [];
  for (let r = rib.routes.first(id); r >= 0; r = rib.routes.next(r)) {
    if (rib.routes.isGone(r)) continue;
    const isMultipath = r !== best && shared.includes(r);
    views.push({ ...received(view, r).view(), lostAt: lostAt.get(r), isMultipath, refusedBy: refusedBy(view, r) });
  }
  return views.sort((a, b) => Number(b.isBest) - Number(a.isBest));
}
