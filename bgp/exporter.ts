/**
 * Works out what one peer is told about a prefix: the rules of the protocol (export.ts) around the peer's export policy.
 * Does not remember what the peer was told (rib/adj-rib-out.ts does). Results are kept per attribute set, so that prefixes
 * which share one cost a lookup.
 */

import type { Family } from '../router/lib/addr.ts';
import { afterPolicy, beforePolicy, type ExportSettings, exportBar, nextHopOf, type Reflection } from './export.ts';
import type { Outbound, Peer } from './peer.ts';
import { type Decision, type ExportReason, type Filter, MutableSubject } from './policy/filter.ts';
import { markedForPeer, mayTell } from './policy/otc.ts';
import type { Outcome, Plan, Subject } from './policy/plan.ts';
import { type HopChange, RoaState, type RouteSource } from './policy/rule.ts';
import type { VpnSender } from './ports.ts';
import { type AttrSet, type AttrTable, TOO_LARGE } from './rib/attrs.ts';
import type { Rib } from './rib/rib.ts';
import { type RoaTable, roaOrigin } from './rpki/roa-table.ts';
import type { RouteIndex } from './rpki/route-index.ts';
import type { AsPath } from './wire/attribute/as-path.ts';
import { Community } from './wire/attribute/communities.ts';
import { DEFAULT_LOCAL_PREF } from './wire/attribute/local-pref.ts';
import type { Attributes, NextHop } from './wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from './wire/attribute/plain.ts';

/**
 * Results kept per peer before they are forgotten and worked out again. Prefixes with the same attributes mostly follow each
 * other; many results of many peers only grow old, at the cost of the garbage collector's pauses.
 */
const MAX_MEMO = 1024;

/** Numbers of senders in the memo; those of reflected peers follow. */
const FROM_US = 0;
const FROM_OUTSIDE = 1;
const FROM_INSIDE = 2;
const FROM_REFLECTED = 3;

/** Next hop of a result: ours, the received one, the received one without its link-local part. */
const HOP_SELF = 0;
const HOP_WHOLE = 1;
const HOP_GLOBAL = 2;

const NO_LLGR = 'it is long-lived stale, and the peer does not speak of that (RFC 9494)';

const subject = new MutableSubject();

/** What becomes of a route that no table here holds. */
export interface Telling {
  readonly attributes: Attributes;
  /** What policy says about the next hop. */
  readonly nextHop: HopChange | undefined;
}

/** Validates the origin of a route (RFC 6811 §2); gives a RoaState. `prefix` is the number of what `about` describes. */
export type OriginState = (prefix: number, about: Subject, path: AsPath) => number;

/**
 * What ROAs say of routes when they are told.
 * @param ownAs originates those with an empty path
 * @param indexes where prefixes are noted of which something else may be told when ROAs change
 */
export function originStateOf(
  roas: RoaTable,
  ownAs: number,
  indexes: Readonly<Record<Family, RouteIndex>>,
): OriginState {
  return (prefix, { family, w0, w1, w2, w3, length }, path) => {
    indexes[family].add(prefix);
    return roas.state(family, w0, w1, w2, w3, length, roaOrigin(path, ownAs));
  };
}

export class Exporter {
  readonly #peer: Peer;
  readonly #settings: ExportSettings;
  readonly #attrs: AttrTable;
  readonly #clusterId: number;
  readonly #isHidden: (rib: Rib, prefix: number) => boolean;
  readonly #originState: OriginState | undefined;
  /** What policy makes of attribute sets, by sender. */
  #memo: (Map<AttrSet, Plan> | undefined)[] = [];
  #memoSize = 0;
  filter: Filter;

  /**
   * @param isHidden an aggregate stands for the prefix
   * @param originState undefined without ROAs: every origin is then NotFound
   */
  constructor(
    peer: Peer,
    settings: ExportSettings,
    filter: Filter,
    attrs: AttrTable,
    clusterId: number,
    isHidden: (rib: Rib, prefix: number) => boolean,
    originState: OriginState | undefined,
  ) {
    this.#peer = peer;
    this.#settings = settings;
    this.filter = filter;
    this.#attrs = attrs;
    this.#clusterId = clusterId;
    this.#isHidden = isHidden;
    this.#originState = originState;
  }

  /** The attributes to tell the peer for a prefix, undefined = nothing. */
  select(prefix: number, out: Outbound, peers: readonly (Peer | undefined)[]): AttrSet | undefined {
    const { loc } = out.rib;
    const own = this.ownDefault(prefix, out);
    if (own !== undefined) return own;
    // Before the attributes are looked at: what nothing becomes of is most of a full table.
    if (this.filter.isClosed || loc.peer(prefix) === this.#peer.index) return undefined;
    const a = loc.attrs(prefix);
    return a === undefined ? undefined : this.route(prefix, out, peers, a, loc.peer(prefix));
  }

  /** The default route that is told in place of any other, where that is configured. */
  ownDefault(prefix: number, out: Outbound): AttrSet | undefined {
    const isWanted = this.#peer.config.defaultOriginate === true && out.rib.prefixes.length[prefix] === 0;
    return isWanted && out.self !== undefined ? this.#default(out.self) : undefined;
  }

  /** What export policy is asked about (RFC 8671: the Adj-RIB-Out before policy), undefined = nothing, whatever it says. */
  offered(
    prefix: number,
    out: Outbound,
    peers: readonly (Peer | undefined)[],
    a: AttrSet,
    from: number,
  ): Attributes | undefined {
    const sender = peers[from];
    const isBarred = out.self === undefined || this.#bar(prefix, out, a, sender, from) !== undefined;
    return isBarred ? undefined : beforePolicy(a, sender, this.#settings);
  }

  /**
   * The attributes to tell the peer for one route to a prefix, undefined = it is not told.
   * @param a the route's accepted attributes
   * @param from number of the peer it came from
   */
  route(
    prefix: number,
    out: Outbound,
    peers: readonly (Peer | undefined)[],
    a: AttrSet,
    from: number,
  ): AttrSet | undefined {
    const sender = peers[from];
    const { self } = out;
    if (self === undefined || this.#bar(prefix, out, a, sender, from) !== undefined) return undefined;
    const about = this.#subject(prefix, out, a, sender);
    const outcome = this.#plan(a, sender).decide(about);
    if (outcome === undefined) return undefined;
    // The same outcome becomes the same on the wire unless family or next hop differ.
    const { family } = out.rib;
    const change = this.#readable(outcome.nextHop, family);
    const which = this.#whichHop(a, sender, family, change);
    const slot = which * 2 + (family === 4 ? 0 : 1);
    const hop = typeof change === 'object' ? nextHopOf(change) : hopFor(which, a, self);
    return (outcome.made[slot] ??= this.#announced(a, outcome, sender, hop)) as AttrSet | undefined;
  }

  /** Why the best route to a prefix is told or not, for people: `select` says faster what is told. */
  explain(prefix: number, out: Outbound, peers: readonly (Peer | undefined)[]): ExportReason {
    const { loc } = out.rib;
    if (this.ownDefault(prefix, out) !== undefined) return { bar: undefined, policy: undefined };
    const a = loc.attrs(prefix);
    const from = loc.peer(prefix);
    const sender = peers[from];
    const barred = (bar: string): ExportReason => ({ bar, policy: undefined });
    if (a === undefined) return barred('there is no usable route to it');
    const bar = this.#bar(prefix, out, a, sender, from);
    if (bar !== undefined) return barred(bar);
    const about = this.#subject(prefix, out, a, sender);
    const policy = this.filter.decision(beforePolicy(a, sender, this.#settings), a.nextHop, about);
    if (!policy.isAccepted || this.route(prefix, out, peers, a, from) !== undefined) return { bar: undefined, policy };
    const hasHop = out.self !== undefined;
    return barred(
      hasHop ? 'its attributes would have more than 65535 octets' : 'we have no address to be its next hop',
    );
  }

  /** Why a route is not told to the peer whatever policy says, undefined when policy decides. */
  #bar(prefix: number, out: Outbound, a: AttrSet, sender: Peer | undefined, from: number): string | undefined {
    if (from === this.#peer.index) return 'it was learned from this peer';
    if (sender === undefined && from !== 0) return 'the peer it came from was removed'; // a decision is due
    if (this.#isHidden(out.rib, prefix)) return 'an aggregate stands for it (summary_only)';
    if (!mayTell(this.#peer.role, a.otc)) return 'it is for customers only (RFC 9234)';
    // RFC 9494 §4.3: "SHOULD NOT be advertised to any neighbor from which the ... Capability has not been received".
    if (a.isLongLivedStale && this.#peer.session.negotiated?.longLived !== true) return NO_LLGR;
    return exportBar(a, sender, this.#settings);
  }

  /** The prefix and its source as policy sees them. */
  #subject(prefix: number, { rib }: Outbound, a: AttrSet, sender: Peer | undefined): Subject {
    const about = subjectFor(prefix, rib, sender);
    const state = this.filter.asksRoa ? this.#originState?.(prefix, about, a.asPath) : undefined;
    about.roa = state ?? RoaState.NotFound;
    return about;
  }

  /**
   * The same for routes that no table here holds, those of the VPN families.
   * @param from whom the route was learned from; undefined = ourselves
   * @returns undefined when none of them is told; else, for a prefix, the attributes on the wire and what policy does to the
   *   next hop, the same object for the same result
   */
  telling(
    a: Attributes,
    hop: NextHop,
    from: VpnSender | undefined,
  ): ((about: Subject) => Telling | undefined) | undefined {
    if (this.filter.isClosed || this.barOf(a, from) !== undefined) return undefined;
    const plan = this.filter.plan(beforePolicy(a, from, this.#settings), hop);
    const reflection = from?.relation === 'internal' ? this.#reflection(from) : undefined;
    return (about) => {
      const outcome = plan.decide(about);
      if (outcome === undefined) return undefined;
      const told = (): Telling => ({
        attributes: afterPolicy(outcome.attributes, DEFAULT_LOCAL_PREF, this.#peer.asn, this.#settings, reflection),
        nextHop: outcome.nextHop,
      });
      return (outcome.made[0] ??= told()) as Telling;
    };
  }

  /** What export policy is asked about, of such routes; undefined = nothing, whatever it says. */
  offering(a: Attributes, from: VpnSender | undefined): Attributes | undefined {
    return this.barOf(a, from) === undefined ? beforePolicy(a, from, this.#settings) : undefined;
  }

  /** Why such a route is not told whatever policy says, undefined when policy decides. */
  barOf(a: Attributes, from: VpnSender | undefined): string | undefined {
    // RFC 9494 §4.3: "SHOULD NOT be advertised to any neighbor from which the ... Capability has not been received".
    if (a.communities.includes(Community.LlgrStale) && this.#peer.session.negotiated?.longLived !== true)
      return NO_LLGR;
    return exportBar(a, from, this.#settings);
  }

  /** What export policy decides about such a route, for people. */
  decisionOf(a: Attributes, hop: NextHop, from: VpnSender | undefined, about: Subject): Decision {
    return this.filter.decision(beforePolicy(a, from, this.#settings), hop, about);
  }

  forget(): void {
    this.#memo = [];
    this.#memoSize = 0;
  }

  /** What export policy makes of an attribute set. */
  #plan(a: AttrSet, sender: Peer | undefined): Plan {
    const slot = this.#memoSlot(a, sender);
    const memo = (this.#memo[slot] ??= new Map());
    let plan = memo.get(a);
    if (plan !== undefined) return plan;
    if (++this.#memoSize > MAX_MEMO) {
      this.forget();
      return this.#plan(a, sender);
    }
    plan = this.filter.plan(beforePolicy(a, sender, this.#settings), a.nextHop);
    memo.set(a, plan);
    return plan;
  }

  #memoSlot(a: AttrSet, sender: Peer | undefined): number {
    if (sender === undefined) return FROM_US;
    if (sender.relation !== 'internal') return sender.relation === 'external' ? FROM_OUTSIDE : FROM_INSIDE;
    // The first reflector names the peer a route came from, so the same attributes of two peers become two results.
    const isNamed = this.#settings.relation === 'internal' && a.originatorId === undefined;
    return isNamed ? FROM_REFLECTED + sender.index : FROM_INSIDE;
  }

  /** The attributes of an outcome as they go on the wire; undefined = there are too many of them. */
  #announced(a: AttrSet, outcome: Outcome, sender: Peer | undefined, hop: NextHop): AttrSet | undefined {
    const told = afterPolicy(
      outcome.attributes,
      a.preference,
      this.#peer.asn,
      this.#settings,
      sender?.relation === 'internal' ? this.#reflection(sender) : undefined,
    );
    const onWire = markedForPeer(told, this.#peer.role, this.#settings.own.session);
    const number = this.#attrs.internNumber(onWire, hop);
    return number === TOO_LARGE ? undefined : this.#attrs.set(number);
  }

  #reflection(sender: { readonly identifier: number }): Reflection {
    return { originator: sender.identifier, clusterId: this.#clusterId };
  }

  /** What policy says about the next hop. An address that the peer cannot read as one of this family says nothing (RFC 8950 §4). */
  #readable(change: HopChange | undefined, family: Family): HopChange | undefined {
    if (typeof change !== 'object' || change.family === family) return change;
    return family === 4 && this.#peer.readsExtendedNextHop ? change : undefined;
  }

  /** RFC 4271 §5.1.3: which next hop goes on. */
  #whichHop(a: AttrSet, sender: Peer | undefined, family: Family, change: HopChange | undefined): number {
    const hop = a.nextHop;
    if (sender === undefined || hop === undefined || change === 'self') return HOP_SELF;
    // An IPv6 next hop of an IPv4 route is for those who can read it.
    if (family === 4 && hop.global?.family !== 4 && !this.#peer.readsExtendedNextHop) return HOP_SELF;
    const { config } = this.#peer;
    // A link-local address means nothing beyond its link.
    const isSameLink = sender.config.link === config.link;
    const kept = isSameLink ? HOP_WHOLE : hop.global === undefined ? HOP_SELF : HOP_GLOBAL;
    if (change === 'unchanged') return kept;
    if (this.#settings.relation === 'external') {
      return (config.thirdPartyNextHop ?? false) && isSameLink ? HOP_WHOLE : HOP_SELF;
    }
    // RFC 4456 §10: a reflector does not change the next hop, unless it is told to.
    const isReflected = sender.relation === 'internal';
    const { nextHopSelf = false } = config;
    return nextHopSelf === 'all' || (nextHopSelf && !isReflected) ? HOP_SELF : kept;
  }

  /** The default route of our own, told whatever the table holds. */
  #default(self: NextHop): AttrSet {
    const own = this.#attrs.intern(PLAIN_ATTRIBUTES, undefined);
    const told = afterPolicy(PLAIN_ATTRIBUTES, own.preference, this.#peer.asn, this.#settings, undefined);
    return this.#attrs.intern(markedForPeer(told, this.#peer.role, this.#settings.own.session), self);
  }
}

function hopFor(which: number, a: AttrSet, self: NextHop): NextHop {
  const hop = a.nextHop;
  if (which === HOP_SELF || hop === undefined) return self;
  return which === HOP_WHOLE ? hop : { global: hop.global, linkLocal: undefined };
}

/** A prefix of a table as policies see it, with a route of `sender`. Valid until the next call; `roa` is the caller's. */
export function subjectFor(prefix: number, { prefixes: p, family }: Rib, sender: Peer | undefined): MutableSubject {
  const isLong = family === 6;
  subject.family = family;
  subject.w0 = p.w0[prefix]!;
  subject.w1 = isLong ? p.w1[prefix]! : 0;
  subject.w2 = isLong ? p.w2[prefix]! : 0;
  subject.w3 = isLong ? p.w3[prefix]! : 0;
  subject.length = p.length[prefix]!;
  subject.source = sourceOf(sender);
  subject.from = sender?.config.name;
  return subject;
}

/** Where a route comes from as policies see it: a confederation is one AS. */
function sourceOf(sender: Peer | undefined): RouteSource {
  return sender === undefined ? 'local' : sender.relation === 'external' ? 'external' : 'internal';
}
