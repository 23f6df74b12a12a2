/** Answers `route get` and `route show` from the FIB writer's tables, with the reasons in words. Runs in the routing worker. */
import { vrfLink } from '../../bgp/vpn/vrf-peers.ts';
import type { RuleConfig } from '../config/model.ts';
import type { Answers, NextHopStatus, RouteStatus, Verbs } from '../control/messages.ts';
import {
  crossedVrf,
  type NextHop,
  ROUTE_KIND_NAMES,
  ROUTE_SOURCE_NAMES,
  type RouteInfo,
  RouteKind,
  RouteSource,
} from '../fib/shared.ts';
import type { FibWriter } from '../fib/writer.ts';
import { Addr, type Prefix } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import type { RoutingLink } from './routing-protocol.ts';

export interface RouteFacts {
  /** The VRF asked about. */
  readonly vrf: { readonly name: string; readonly number: number };
  readonly fib: FibWriter;
  readonly links: readonly RoutingLink[];
  /** Addresses of ours with the link that has them. */
  readonly own: readonly { readonly addr: Addr; readonly prefix: Prefix; readonly link: RoutingLink }[];
  readonly source: { readonly v4: Addr | undefined; readonly v6: Addr | undefined };
  /** The same about another VRF, where routes lead into it. */
  of(vrf: number): RouteFacts | undefined;
  /** Words about a BGP route, such as its AS path. */
  describeBgp(prefix: Prefix): string | undefined;
  /** The protocol of another daemon that made an external route, such as `ospf`. */
  protocolOf(prefix: Prefix): string | undefined;
}

/** @throws MlshimError USAGE when `dst` is not an address */
export function routeGet(facts: RouteFacts, dst: string): Answers['route_get'] {
  const percent = dst.indexOf('%');
  const addr = Addr.parse(percent < 0 ? dst : dst.slice(0, percent));
  if (addr === undefined) throw new MlshimError('USAGE', `"${dst}" is not an IPv4 or IPv6 address`);
  const scope = percent < 0 ? undefined : dst.slice(percent + 1);
  const none = { dst, kind: 'none', next_hops: [], source: '', mtu: 0, prefix: '', origin: '', reasons: [] };

  const mine = facts.own.find((o) => o.addr.equals(addr) && (scope === undefined || o.link.name === scope));
  if (mine !== undefined) {
    const reasons = [`${addr} is an address of uplink ${mine.link.name}`];
    return { ...none, kind: 'local', source: String(addr), mtu: mine.link.mtu, origin: 'local', reasons };
  }
  if (addr.isLinkLocal && addr.family === 6) return linkLocal(facts, none, addr, scope);

  const candidates = facts.fib.lookupRoute(facts.vrf.number, addr);
  const best = candidates[0];
  if (best === undefined) {
    const family = addr.family === 4 ? 'IPv4' : 'IPv6';
    return { ...none, reasons: [`no prefix of the ${family} table contains ${addr}`] };
  }
  const others = candidates.slice(1).map((c) => {
    return `${ROUTE_SOURCE_NAMES[c.source]} lost: distance ${c.distance}, ${ROUTE_SOURCE_NAMES[best.source]} has ${best.distance}`;
  });
  const hop = best.nextHops[0];
  const link = hop && facts.links.find((l) => l.index === hop.link);
  const source = sourceTo(facts, addr);
  const answer = {
    dst,
    kind: ROUTE_KIND_NAMES[best.kind],
    next_hops: best.nextHops.map((h) => hopStatus(facts, h)),
    source: source === undefined ? '' : String(source),
    mtu: link?.mtu ?? 0,
    prefix: String(best.prefix),
    origin: ROUTE_SOURCE_NAMES[best.source],
    reasons: [`table ${facts.vrf.name}: ${best.prefix}, ${originWords(facts, best)}`, ...others],
  };
  // One of several next hops is not followed further: which of them a packet takes is the flow's.
  const beyond = best.nextHops.length === 1 ? facts.of(crossedVrf(hop!.link)) : undefined;
  return beyond === undefined ? answer : acrossVrfs(answer, beyond, dst, addr);
}

/** What a table says holds for flows that no rule matches: the answer names the rules that may lead flows to `dst` elsewhere. */
export function withRules(answer: Answers['route_get'], rules: readonly RuleConfig[]): Answers['route_get'] {
  const percent = answer.dst.indexOf('%');
  const addr = Addr.parse(percent < 0 ? answer.dst : answer.dst.slice(0, percent));
  if (addr === undefined || addr.isLinkLocal || answer.kind === 'local') return answer;
  const isAbout = ({ match: { to, domains } }: RuleConfig): boolean =>
    to.length + domains.length === 0 || domains.length > 0 || to.some((p) => p.contains(addr));
  const about = rules.filter(isAbout).map(({ name, action }) => `${name} (${actionWords(action)})`);
  if (about.length === 0) return answer;
  return { ...answer, reasons: [...answer.reasons, `rules are asked before the table: ${about.join(', ')}`] };
}

function actionWords(action: RuleConfig['action']): string {
  if (action.kind === 'group') return action.group;
  return action.kind === 'vrf' ? `VRF ${action.vrf}` : 'refused';
}

/** Where packets go that a route leads into another VRF. */
function acrossVrfs(answer: Answers['route_get'], beyond: RouteFacts, dst: string, addr: Addr): Answers['route_get'] {
  const [there] = beyond.fib.lookupRoute(beyond.vrf.number, addr);
  if (there?.nextHops.some((h) => crossedVrf(h.link) >= 0)) {
    const reason = `table ${beyond.vrf.name}: ${there.prefix} leads into a third VRF, and packets cross only once`;
    return { ...answer, kind: 'unreachable', next_hops: [], reasons: [...answer.reasons, reason] };
  }
  const { kind, next_hops, mtu, reasons } = routeGet(beyond, dst);
  return { ...answer, kind, next_hops, mtu, reasons: [...answer.reasons, ...reasons] };
}

function linkLocal(
  facts: RouteFacts,
  none: Answers['route_get'],
  addr: Addr,
  scope: string | undefined,
): Answers['route_get'] {
  const link = facts.links.find((l) => l.name === scope);
  if (link === undefined) {
    const names = facts.links.map((l) => l.name).join(', ');
    return { ...none, reasons: [`link-local addresses need their uplink: ${addr}%UPLINK (uplinks: ${names})`] };
  }
  const own = facts.own.find((o) => o.link === link && o.addr.isLinkLocal && o.addr.family === 6);
  return {
    ...none,
    kind: 'unicast',
    next_hops: [{ gateway: '', uplink: link.name, weight: 1 }],
    source: own === undefined ? '' : String(own.addr),
    mtu: link.mtu,
    prefix: 'fe80::/64',
    origin: 'connected',
    reasons: [`${addr} is on the link ${link.name}`],
  };
}

/** The source address our own packets to `dst` would carry, undefined when there is no way to it. */
export function sourceTo(facts: RouteFacts, dst: Addr): Addr | undefined {
  const best = facts.fib.lookupRoute(facts.vrf.number, dst)[0];
  const hop = best?.nextHops[0];
  const link = hop && facts.links.find((l) => l.index === hop.link);
  return best?.kind === RouteKind.Unicast ? sourceFor(facts, dst, hop, link) : undefined;
}

/** The source address our own packets would carry; the order is the data plane's (router/stack/source.ts). */
function sourceFor(
  facts: RouteFacts,
  dst: Addr,
  hop: NextHop | undefined,
  link: RoutingLink | undefined,
): Addr | undefined {
  if (hop?.source !== undefined) return hop.source;
  const usable = facts.own.filter((o) => o.addr.family === dst.family && !(dst.family === 6 && o.addr.isLinkLocal));
  const onLink = usable.find(
    (o) => o.link === link && o.prefix.contains(dst) && o.prefix.length < (dst.family === 4 ? 32 : 128),
  );
  const preferred = dst.family === 4 ? facts.source.v4 : facts.source.v6;
  return onLink?.addr ?? preferred ?? usable.find((o) => o.link === link)?.addr ?? usable[0]?.addr;
}

function originWords(facts: RouteFacts, r: RouteInfo): string {
  const bgp = facts.describeBgp(r.prefix);
  const name = ROUTE_SOURCE_NAMES[r.source];
  const protocol = protocolName(facts, r);
  const words = protocol === '' ? name : `${name} (${protocol})`;
  return bgp !== undefined && name.endsWith('bgp') ? bgp : `${words}, distance ${r.distance}`;
}

/** Which protocol of another daemon made an external route; empty for all others. */
function protocolName(facts: RouteFacts, r: RouteInfo): string {
  return r.source === RouteSource.External ? (facts.protocolOf(r.prefix) ?? '') : '';
}

function hopStatus(facts: RouteFacts, h: NextHop): NextHopStatus {
  const other = facts.of(crossedVrf(h.link));
  if (other !== undefined) return { gateway: '', uplink: vrfLink(other.vrf.name), weight: h.weight ?? 1 };
  return {
    gateway: h.gateway === undefined ? '' : String(h.gateway),
    uplink: facts.links.find((l) => l.index === h.link)?.name ?? String(h.link),
    weight: h.weight ?? 1,
  };
}

/** Bounds of one part of a listing: a turn of a few milliseconds, whatever the size of the table. */
const PART_ROUTES = 200;
const PART_PREFIXES = 4096;

/**
 * A part of the routes of a VRF that are used.
 * @param origin of which kind, `bgp` for both of it; empty = all
 * @param from the `next` of the part before; empty = from the beginning
 * @throws MlshimError USAGE for what is not a place in a listing
 */
export function routeShow(facts: RouteFacts, { origin, from = '' }: Verbs['route_show']): Answers['route_show'] {
  if (from !== '' && !/^[46]:\d{1,9}$/.test(from))
    throw new MlshimError('USAGE', `"${from}" is not a place in a listing`);
  const start = { family: from.startsWith('6') ? 6 : 4, at: Number(from.slice(2)) };
  const routes: RouteStatus[] = [];
  const take = (info: RouteInfo): boolean => {
    const name = ROUTE_SOURCE_NAMES[info.source];
    if (origin === '' || origin === name || (origin === 'bgp' && name.endsWith('bgp')))
      routes.push(routeStatus(facts, info));
    return routes.length < PART_ROUTES;
  };
  let budget = PART_PREFIXES;
  for (const family of [4, 6] as const) {
    if (family < start.family) continue;
    const at = family === start.family ? start.at : 0;
    const next = budget > 0 ? facts.fib.slice(facts.vrf.number, family, at, budget, take) : at;
    if (next >= 0) return { routes, next: `${family}:${next}` };
    budget = routes.length < PART_ROUTES ? PART_PREFIXES : 0;
  }
  return { routes, next: '' };
}

function routeStatus(facts: RouteFacts, info: RouteInfo): RouteStatus {
  return {
    prefix: String(info.prefix),
    kind: ROUTE_KIND_NAMES[info.kind],
    origin: ROUTE_SOURCE_NAMES[info.source],
    next_hops: info.nextHops.map((h) => hopStatus(facts, h)),
    detail: protocolName(facts, info),
  };
}
