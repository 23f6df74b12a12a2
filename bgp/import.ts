/**
 * What becomes of received prefixes: judged once per UPDATE for what concerns its attributes, once per prefix for the
 * rest, and stored with the verdict. Read first: RFC 4271 §9.1.2 (loops), RFC 4456 §8, RFC 8326 §4.
 */

import type { Family } from '../router/lib/addr.ts';
import type { Chore } from './chores.ts';
import { DISCARD_HOP, nextHopOf } from './export.ts';
import { afterImport, changesEveryRoute, type ImportSettings } from './import-rules.ts';
import type { Origination } from './origination.ts';
import type { Peer } from './peer.ts';
import { MutableSubject } from './policy/filter.ts';
import { withLlgrStale } from './policy/long-lived.ts';
import { isLeak, marked } from './policy/otc.ts';
import type { Outcome, Plan } from './policy/plan.ts';
import { type HopChange, RoaState } from './policy/rule.ts';
import { Staleness, Verdict } from './rib/adj-rib-in.ts';
import { type AttrTable, Has, MAX_SET_OCTETS, TOO_LARGE } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { type RoaTable, roaOrigin } from './rpki/roa-table.ts';
import type { RouteIndex } from './rpki/route-index.ts';
import { Community } from './wire/attribute/communities.ts';
import { type Attributes, type Flaw, flaw, type NextHop } from './wire/attribute/model.ts';
import { UpdateError } from './wire/fault.ts';
import { type Nlri, NlriCursor } from './wire/nlri.ts';
import { isUnicast } from './wire/unicast.ts';
import type { Reach, Update } from './wire/update.ts';

export interface ImportContext {
  /** Originates what has an empty path. */
  readonly localAs: number;
  readonly identifier: number;
  readonly clusterId: number;
  readonly attrs: AttrTable;
  /** Prefixes we originate. */
  readonly own: Pick<Origination, 'covers'>;
  /** RFC 6811: what is known about origins; every route is unknown without. */
  readonly roas: RoaTable | undefined;
  /** Where prefixes are noted whose verdict may depend on `roas`. */
  readonly indexes: Readonly<Record<Family, RouteIndex>> | undefined;
}

const cursor = new NlriCursor();
const subject = new MutableSubject();

/** Take withdrawn prefixes out of the Adj-RIB-In. */
export function withdraw(peer: Peer, rib: Rib, nlri: Nlri): void {
  touch(rib, nlri);
  cursor.over(nlri);
  while (cursor.next()) {
    const prefix = rib.prefixes.find(cursor.w0, cursor.w1, cursor.w2, cursor.w3, cursor.length);
    const route = prefix < 0 ? -1 : rib.routes.find(prefix, peer.index, cursor.pathId);
    if (route >= 0) dropRoute(peer, rib, route);
  }
}

/** Octets of prefixes from which on there are several of them. */
const SEVERAL = 12;

/** All of an UPDATE's prefixes will be searched for. */
function touch(rib: Rib, nlri: Nlri): void {
  if (nlri.bytes.length < SEVERAL) return;
  cursor.over(nlri);
  while (cursor.next()) rib.prefixes.touch(cursor.w0, cursor.w1, cursor.w2, cursor.w3, cursor.length);
}

/** Remove one route of a peer and have its prefix decided again. */
export function dropRoute(peer: Peer, rib: Rib, route: number): void {
  const prefix = rib.routes.prefixOf[route]!;
  if (rib.routes.staleOf[route] === Staleness.Gone) {
    removeGone(rib, route);
    return;
  }
  const isStale = rib.routes.staleOf[route] !== Staleness.Fresh;
  peer.received[rib.family]--;
  if (isStale) peer.stale[rib.family]--;
  if (rib.routes.acceptedOf[route]! >= 0) {
    peer.accepted[rib.family]--;
    if (isStale) peer.staleAccepted[rib.family]--;
    rib.loc.touch(prefix);
  }
  rib.routes.remove(route);
}

/** Take a route out of the table that is not counted any more. */
export function removeGone(rib: Rib, route: number): void {
  if (rib.routes.acceptedOf[route]! >= 0) rib.loc.touch(rib.routes.prefixOf[route]!);
  rib.routes.remove(route);
}

/**
 * Put announced prefixes into the Adj-RIB-In.
 * @returns why they were treated as withdrawn instead: their attributes, whole as they are on the wire, do not fit into
 *   `MAX_SET_OCTETS` with AS numbers of four octets (RFC 6793 §4.2.3)
 */
export function announce(peer: Peer, rib: Rib, reach: Reach, update: Update, context: ImportContext): Flaw | undefined {
  const { attrs } = context;
  const { wire } = update;
  const received =
    wire === undefined
      ? attrs.internNumber(update.attributes!, reach.nextHop)
      : attrs.internWire(wire.octets, wire.from, wire.end, reach.nextHop);
  if (received === TOO_LARGE) {
    withdraw(peer, rib, reach.nlri);
    return flaw(UpdateError.MalformedList, 'treat-as-withdraw', `attributes of more than ${MAX_SET_OCTETS} octets`);
  }
  const judge = new Judge(peer, received, rib.family, context);
  touch(rib, reach.nlri);
  cursor.over(reach.nlri);
  while (cursor.next()) {
    const prefix = rib.prefixes.intern(cursor.w0, cursor.w1, cursor.w2, cursor.w3, cursor.length);
    judge.look(cursor.w0, cursor.w1, cursor.w2, cursor.w3, cursor.length);
    store(peer, rib, prefix, cursor.pathId, received, judge);
    if (judge.asksRoa) context.indexes?.[rib.family].add(prefix);
  }
  return undefined;
}

/** Judge again what a peer has sent, after a change of policy or of own prefixes. */
export function reconsidering(peer: Peer, rib: Rib, context: () => ImportContext): Chore {
  return eachRoute(peer.index, rib, (route) => reconsiderRoute(peer, rib, route, context()));
}

/** Do something for every route of a peer, in slices; the route may be removed. */
export function eachRoute(peer: number, rib: Rib, act: (route: number) => void): Chore {
  let at = 0;
  return {
    step: (budget) => {
      // Rows of other peers cost little.
      for (let left = budget; at >= 0 && left > 0; left -= 1) {
        at = rib.routes.slice(peer, at, ROWS, (route) => {
          left--;
          act(route);
        });
      }
      return at < 0;
    },
  };
}

/** ROAs about a route changed: judge it again, and have those told anew whose policy asks. @param from undefined = ours */
export function revalidateRoute(
  rib: Rib,
  route: number,
  from: Peer | undefined,
  peers: Iterable<Peer>,
  context: ImportContext,
): void {
  if (from?.importFilter.asksRoa === true) reconsiderRoute(from, rib, route, context);
  for (const to of peers) {
    if (!to.exportAsksRoa) continue;
    for (const out of to.outbound) if (out.rib === rib) out.adjRibOut.touch(rib.routes.prefixOf[route]!);
  }
}

/** Look a peer's next hops up again. @returns has the prefixes decided again that go by one which leads elsewhere now */
export function recheckingHops(peer: Peer, ribs: readonly Rib[], attrs: AttrTable): readonly Chore[] {
  const changed = peer.recheckHops();
  return changed.size === 0 ? [] : ribs.map((rib) => redeciding(peer, rib, changed, attrs));
}

/** Have the prefixes of a peer's routes decided again whose next hop is one of these (`AttrTable.hops`). */
function redeciding(peer: Peer, rib: Rib, hops: ReadonlySet<number>, attrs: AttrTable): Chore {
  return eachRoute(peer.index, rib, (route) => {
    const accepted = rib.routes.acceptedOf[route]!;
    if (accepted >= 0 && hops.has(attrs.hopNumber(accepted))) rib.loc.touch(rib.routes.prefixOf[route]!);
  });
}

/** Rows looked at before what was found is counted. */
const ROWS = 64;

/** Judge one route again. */
export function reconsiderRoute(peer: Peer, rib: Rib, route: number, context: ImportContext): void {
  if (rib.routes.staleOf[route] === Staleness.Gone) return;
  const p = rib.prefixes;
  const long = rib.family === 6;
  const id = rib.routes.prefixOf[route]!;
  const received = rib.routes.receivedOf[route]!;
  const judge = new Judge(peer, received, rib.family, context);
  judge.look(p.w0[id]!, long ? p.w1[id]! : 0, long ? p.w2[id]! : 0, long ? p.w3[id]! : 0, p.length[id]!);
  const isOld = rib.routes.staleOf[route] === Staleness.LongLived && judge.accepted >= 0;
  const accepted = isOld ? withLlgrStale(judge.accepted, context.attrs) : judge.accepted;
  const verdict = isOld && accepted === TOO_LARGE ? Verdict.TooLarge : judge.verdict;
  put(peer, rib, route, received, accepted, verdict, judge.weight);
  if (judge.asksRoa) context.indexes?.[rib.family].add(id);
}

function store(peer: Peer, rib: Rib, prefix: number, pathId: number, received: number, judge: Judge): void {
  const { routes, loc, family } = rib;
  const { accepted, verdict, weight } = judge;
  const route = routes.find(prefix, peer.index, pathId);
  if (route < 0) {
    const added = routes.add(prefix, peer.index, pathId, received, accepted, verdict);
    if (weight !== 0) routes.setWeight(added, weight);
    peer.received[family]++;
    if (accepted < 0) return;
    peer.accepted[family]++;
    loc.touch(prefix);
    return;
  }
  const staleness = routes.staleOf[route];
  if (staleness === Staleness.Gone) {
    // It is back before it was taken out.
    routes.renew(route);
    peer.received[family]++;
    if (routes.acceptedOf[route]! >= 0) {
      peer.accepted[family]++;
      loc.touch(prefix);
    }
  } else if (staleness !== Staleness.Fresh) {
    peer.stale[family]--;
    if (routes.acceptedOf[route]! >= 0) peer.staleAccepted[family]--;
  }
  routes.staleOf[route] = Staleness.Fresh;
  put(peer, rib, route, received, accepted, verdict, weight);
}

/** What became of a route that is stored already. */
function put(
  peer: Peer,
  rib: Rib,
  route: number,
  received: number,
  accepted: number,
  verdict: number,
  weight: number,
): void {
  const { routes, loc, family } = rib;
  if (routes.setWeight(route, weight) && accepted >= 0) loc.touch(routes.prefixOf[route]!);
  const before = routes.acceptedOf[route]!;
  if (before === accepted && routes.receivedOf[route] === received && routes.verdictOf[route] === verdict) return;
  routes.replace(route, received, accepted, verdict);
  if (before === accepted) return;
  const more = (accepted < 0 ? 0 : 1) - (before < 0 ? 0 : 1);
  peer.accepted[family] += more;
  if (routes.staleOf[route] !== Staleness.Fresh) peer.staleAccepted[family] += more;
  loc.touch(routes.prefixOf[route]!);
}

/** Decides about the prefixes of one UPDATE. The answer of the last `look` stands in `accepted` and `verdict`. */
class Judge {
  /** Number of the attribute set to use, -1 = the route is refused. */
  accepted = -1;
  verdict: number = Verdict.Accepted;
  /** `Changes.weight` of the route. */
  weight = 0;
  /** Policy asks for the validation state of origins, and there is something to ask. */
  readonly asksRoa: boolean;
  /** Origin AS of the path, where policy asks for it. */
  readonly #origin: number;
  readonly #peer: Peer;
  readonly #settings: ImportSettings;
  readonly #family: Family;
  readonly #received: number;
  readonly #context: ImportContext;
  #values: Attributes | undefined;
  /** What is wrong with the attributes, whatever the prefix. */
  readonly #common: number;
  /** What policy makes of the attributes; undefined = nothing is changed or refused. */
  readonly #plan: Plan | undefined;
  /** The accepted set where policy plays no part, worked out when first needed. */
  #open = -1;

  /** @param received number of the attribute set */
  constructor(peer: Peer, received: number, family: Family, context: ImportContext) {
    this.#peer = peer;
    this.#settings = peer.importSettings;
    this.#family = family;
    this.#received = received;
    this.#context = context;
    this.#common = commonVerdict(peer, received, context);
    const { attrs } = context;
    const { importFilter } = peer;
    this.#plan = importFilter.isOpen ? undefined : importFilter.plan(this.#given, attrs.nextHop(received));
    this.asksRoa = importFilter.asksRoa && context.roas !== undefined;
    this.#origin = this.asksRoa ? roaOrigin(this.#given.asPath, context.localAs) : 0;
    subject.family = family;
    subject.source = peer.isExternal ? 'external' : 'internal';
    subject.from = peer.config.name;
  }

  /** The received attributes as a value: a set's own object would stay in memory with it. */
  get #given(): Attributes {
    this.#values ??= this.#context.attrs.decoded(this.#received);
    return this.#values;
  }

  look(w0: number, w1: number, w2: number, w3: number, length: number): void {
    this.accepted = -1;
    this.weight = 0;
    this.verdict = this.#common;
    if (this.verdict !== Verdict.Accepted) return;
    if (!isUnicast(this.#family, w0, w1, w2, w3, length)) {
      this.verdict = Verdict.NotUnicast;
      return;
    }
    if (this.#isOurs(w0, w1, w2, w3, length)) {
      this.verdict = Verdict.OwnPrefix;
      return;
    }
    if (this.#plan === undefined) {
      if (this.#open < 0) this.#open = this.#acceptOpen();
      this.#store(this.#open);
      return;
    }
    subject.w0 = w0;
    subject.w1 = w1;
    subject.w2 = w2;
    subject.w3 = w3;
    subject.length = length;
    subject.roa = this.asksRoa
      ? this.#context.roas!.state(this.#family, w0, w1, w2, w3, length, this.#origin)
      : RoaState.NotFound;
    const outcome = this.#plan.decide(subject);
    this.weight = outcome?.weight ?? 0;
    if (outcome === undefined) this.verdict = Verdict.Policy;
    else this.#store((outcome.made[0] ??= this.#accept(outcome.attributes, outcome)) as number);
  }

  /** Whether the peer has no business in this prefix. Other routers of ours have parts of our networks, and so may customers. */
  #isOurs(w0: number, w1: number, w2: number, w3: number, length: number): boolean {
    const { isExternal, delegated } = this.#peer;
    const family = this.#family;
    if (!isExternal || !this.#context.own.covers(family, w0, w1, w2, w3, length)) return false;
    return !delegated.covers(family, w0, w1, w2, w3, length);
  }

  /** @param set number of what policy made of the attributes, which need not fit into a set any more */
  #store(set: number): void {
    this.accepted = set;
    if (set === TOO_LARGE) this.verdict = Verdict.TooLarge;
  }

  /** The set to store where policy plays no part: nearly always the received one. */
  #acceptOpen(): number {
    const { attrs } = this.#context;
    const received = this.#received;
    const mayChange =
      attrs.has(received, Has.WellKnown) || this.#peer.role !== undefined || changesEveryRoute(this.#settings);
    return mayChange ? this.#accept(this.#given) : received;
  }

  /** The set to store for attributes that policy let pass. */
  #accept(attributes: Attributes, outcome?: Outcome): number {
    const { attrs } = this.#context;
    const received = this.#given;
    const hopBefore = attrs.nextHop(this.#received);
    const { isExternal } = this.#peer;
    const settings = this.#settings;
    const judged = afterImport(attributes, received.communities, settings, isExternal);
    const a = marked(judged, this.#peer.role, this.#peer.asn);
    const isDiscarded = settings.acceptBlackhole === true && received.communities.includes(Community.Blackhole);
    const nextHop = isDiscarded ? DISCARD_HOP : (importedHop(outcome?.nextHop, this.#peer) ?? hopBefore);
    return a === received && nextHop === hopBefore ? this.#received : attrs.internNumber(a, nextHop);
  }
}

/** "self" means the peer's own address here: an import rule does not make us our own next hop. */
export function importedHop(change: HopChange | undefined, peer: Peer): NextHop | undefined {
  if (change === undefined || change === 'unchanged') return undefined;
  if (change === 'discard') return DISCARD_HOP;
  return nextHopOf(change === 'self' ? peer.config.address : change);
}

function commonVerdict(peer: Peer, received: number, context: ImportContext): number {
  const { attrs, identifier, clusterId } = context;
  const allowed = peer.config.allowOwnAs ?? 0;
  for (const asn of peer.loopAses) if (attrs.occurrences(received, asn) > allowed) return Verdict.AsLoop;
  if (attrs.has(received, Has.OriginatorId | Has.ClusterList)) {
    const a = attrs.decoded(received);
    if (a.originatorId === identifier || a.clusterList.includes(clusterId)) return Verdict.ReflectionLoop;
  }
  if (attrs.has(received, Has.Otc) && isLeak(peer.role, peer.asn, attrs.decoded(received).otc)) {
    return Verdict.RouteLeak;
  }
  const own = peer.localAddress;
  const hop = attrs.nextHop(received);
  // RFC 4271 §6.3: the next hop "MUST NOT be the IP address of the receiving speaker".
  if (own !== undefined && (hop?.global?.equals(own) || hop?.linkLocal?.equals(own))) return Verdict.OwnNextHop;
  return Verdict.Accepted;
}
