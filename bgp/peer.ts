/**
 * One configured peer: its session, its connections, its policies and what it has been told.
 * Does not read or write routes of others; speaker.ts moves routes between peers.
 */

import { Addr, type Family, Prefix } from '../router/lib/addr.ts';
import type { Instant } from '../router/lib/clock.ts';
import { isEqual } from '../router/lib/equal.ts';
import type { Chore } from './chores.ts';
import { DISCARD, selfNextHop } from './export.ts';
import { Exporter, type OriginState } from './exporter.ts';
import type { Negotiated, RestartOffer, Role } from './fsm/negotiate.ts';
import { Session } from './fsm/session.ts';
import type { ImportSettings } from './import-rules.ts';
import { PrefixLimit } from './limits.ts';
import { type MonitoredSession, monitoredSession } from './monitor/monitor.ts';
import { pathsFor } from './paths.ts';
import type { PeerConfig } from './peer-config.ts';
import { type ExportReason, Filter } from './policy/filter.ts';
import type { FilterPeer } from './policy/module.ts';
import { PrefixGuard } from './policy/prefix-set.ts';
import type { Policy } from './policy/rule.ts';
import type { Attempt, LinkId, NextHopResolver, Stream, VpnFeed } from './ports.ts';
import { type Confederation, checkAses, type OwnAses, ownAsesOf, type Relation, relationOf } from './relation.ts';
import { Retention, type RetentionHost } from './retention.ts';
import { AdjRibOut } from './rib/adj-rib-out.ts';
import { AdjRibPathsOut } from './rib/adj-rib-paths-out.ts';
import type { AttrSet, AttrTable } from './rib/attrs.ts';
import type { ResolvedHop } from './rib/loc-rib.ts';
import type { Rib } from './rib/rib.ts';
import { areSameHops, NumberedWay } from './rib/ways.ts';
import type { Attributes, NextHop } from './wire/attribute/model.ts';
import { FAMILIES, type FamilyName, unicast } from './wire/family.ts';
import { UpdatePacker } from './wire/update.ts';

/** Facts of the speaker every peer needs. */
export interface PeerContext {
  readonly localAs: number;
  readonly identifier: number;
  readonly hostName: string | undefined;
  readonly random: () => number;
  readonly confederation: Confederation | undefined;
  /** RFC 4456 §7 */
  readonly clusterId: number;
  readonly attrs: AttrTable;
  readonly resolver: NextHopResolver;
  /** What a peer was told does not matter any more. */
  discard(told: Chore): void;
  /** A filter function failed in a way it had not failed the time before. */
  readonly onFilterError: ((peer: string, words: string) => void) | undefined;
  nextTransport(): number;
  /** What is said about restarts, and how long stale routes may wait. */
  readonly restart: RestartSettings;
  /** We have restarted and routes are not selected yet. */
  isRestarting(): boolean;
  /** An aggregate stands for the prefix: peers are not told of it. */
  isHidden(rib: Rib, prefix: number): boolean;
  readonly originState: OriginState | undefined;
  /** Name of the range the peer came from. */
  readonly range: string | undefined;
}

/** Restarts as the speaker is configured for them. */
export interface RestartSettings {
  /** RFC 4724 §3 Restart Time; at most 4,095 s. */
  readonly restartTimeS: number;
  /** How long stale routes may wait for the End-of-RIB of a peer that is back. */
  readonly staleTimeS: number;
  /** RFC 9494 §3.1: how long our routes may be kept beyond the restart time; 0 = not. */
  readonly longLivedS: number;
  /** Packets are forwarded by old routes while we restart. */
  readonly keptForwarding: boolean;
}

/** Makes what a peer's retention acts on. */
export type RetentionFor = (peer: Peer) => RetentionHost;

/** A transport connection, being opened or open. */
export interface Conduit {
  attempt: Attempt | undefined;
  stream: Stream | undefined;
}

/** What the peer is told and has been told about one family. */
export interface Outbound {
  readonly rib: Rib;
  /** With RFC 7911 the peer is told several paths. */
  readonly adjRibOut: AdjRibOut | AdjRibPathsOut;
  /** Our next hop for this family; undefined = nothing can be announced. */
  readonly self: NextHop | undefined;
  endOfRibDue: boolean;
  /** RFC 7313 §4: the peer asked for everything again, or is being told. */
  refresh: 'none' | 'due' | 'running';
}

const DEFAULT_FAMILIES: readonly FamilyName[] = ['ipv4', 'ipv6'];
const REFRESH_MS = 600_000; // RFC 7313 §4 leaves it open
const DEFAULT_HOLD_S = 90; // RFC 4271 §10
const CONNECT_RETRY_MS = 5_000;
const MAX_CONNECT_RETRY_MS = 30_000;
const IDLE_HOLD_MS = 1_000;
const MAX_IDLE_HOLD_MS = 60_000;
/** Next hops that may be remembered beyond those in use. */
const SPARE_HOPS = 1024;
const NO_HOPS: ReadonlySet<number> = new Set();
const DEFAULT_ROUTE: Readonly<Record<Family, Prefix>> = { 4: Prefix.parse('0.0.0.0/0')!, 6: Prefix.parse('::/0')! };

export class Peer {
  /** As it is now; `reconfigure` alone changes it. */
  config: PeerConfig;
  /** Number in the routing tables; 0 is ourselves. */
  readonly index: number;
  readonly session: Session;
  readonly relation: Relation;
  readonly isExternal: boolean;
  readonly #own: OwnAses;
  /** ASes of ours that must not stand in paths from the peer (RFC 4271 §9.1.2). */
  readonly loopAses: readonly number[];
  readonly #exporter: Exporter;
  readonly conduits = new Map<number, Conduit>();
  importFilter: Filter;
  outbound: Outbound[] = [];
  packer: UpdatePacker | undefined;
  /** The session's VPN families, when it has any. */
  vpn: VpnFeed | undefined;
  /** Counts of its VPN routes, also while they are kept without a session. */
  vpnHeld: Pick<VpnFeed, 'received' | 'accepted' | 'stale' | 'staleAccepted'> | undefined;
  /** The established connection takes no more octets for now. */
  isCongested = false;
  /** Our end of the established connection. */
  localAddress: Addr | undefined;
  /** The established session as monitors see it. */
  monitored: MonitoredSession | undefined;
  /** Routes held from the peer, and how many of them passed, by family. */
  readonly received: Record<Family, number> = { 4: 0, 6: 0 };
  readonly accepted: Record<Family, number> = { 4: 0, 6: 0 };
  /** Those among the received that are stale. */
  readonly stale: Record<Family, number> = { 4: 0, 6: 0 };
  /** Those among the accepted that are stale. */
  readonly staleAccepted: Record<Family, number> = { 4: 0, 6: 0 };
  /** Families whose End-of-RIB has come in this session. */
  readonly endOfRibs = new Set<FamilyName>();
  readonly retention: Retention;
  limit: PrefixLimit | undefined;
  /** Name of the range the peer came from; it is forgotten when it is gone. */
  readonly range: string | undefined;
  /** What was agreed last; outlives the session with the routes that are kept. */
  #agreed: Negotiated | undefined;
  /** UPDATEs with mistakes that did not cost the session (RFC 7606). */
  faults = 0;
  lastFault: string | undefined;
  /** Routes refused because a filter function failed, and how it failed last. */
  filterErrors = 0;
  lastFilterError: string | undefined;
  /** The administrator wants it down. */
  isShutDown: boolean;
  /** The session is about to be shut down (RFC 8326 §4). */
  isLeaving: boolean;
  /** What is done with routes of the peer beside its policy. */
  importSettings: ImportSettings;
  /** Parts of our networks that it may announce. */
  delegated: PrefixGuard;
  /** The session begins when BFD comes up. */
  awaitsBfd: boolean;
  /** When a failure of BFD that may come from the peer's restart counts after all, unless the path works by then. */
  pathJudgedAt = Infinity;
  readonly #context: PeerContext;
  #hops = new Map<string, ResolvedHop | undefined>();
  /** Next hops as they were: where nothing changed the same object is used again, which is how tables compare them. */
  #hopsBefore = new Map<string, ResolvedHop | undefined>();
  /** The same by the object that attribute sets share. */
  #byNextHop = new WeakMap<NextHop, { readonly to: ResolvedHop | undefined }>();
  #lastNextHop: NextHop | undefined;
  #lastHop: ResolvedHop | undefined;

  /** @throws RangeError when `config.asn` lists an AS of ours */
  constructor(config: PeerConfig, index: number, context: PeerContext, retained: RetentionFor, now: Instant) {
    this.config = config;
    this.index = index;
    this.#context = context;
    checkAses(config.asn, context.localAs, context.confederation, config.localAs);
    this.relation = relationOf(config.asn, context.localAs, context.confederation);
    this.isExternal = this.relation === 'external';
    this.loopAses = [context.localAs, context.confederation?.id, config.localAs?.asn].filter((a) => a !== undefined);
    this.#own = ownAsesOf(this.relation, context.localAs, context.confederation, config.localAs);
    this.isShutDown = config.shutdown ?? false;
    this.isLeaving = config.gracefulShutdown ?? false;
    this.importSettings = config;
    this.delegated = new PrefixGuard(config.delegated ?? []);
    this.limit = limitOf(config);
    this.range = context.range;
    this.retention = new Retention(
      {
        get staleMs() {
          return context.restart.staleTimeS * 1000;
        },
        refreshMs: REFRESH_MS,
      },
      retained(this),
    );
    const offer = (): RestartOffer | undefined => this.#restartOffer();
    this.awaitsBfd = config.bfdStrict ?? false;
    this.importFilter = this.#filter('import', config.import);
    const self = this;
    this.#exporter = new Exporter(
      this,
      {
        relation: this.relation,
        isClient: this.isClient,
        isBilateral: config.role === 'peer',
        own: this.#own,
        memberAs: context.localAs,
        get asOverride() {
          return self.config.asOverride ?? false;
        },
        get removePrivateAs() {
          return self.config.removePrivateAs;
        },
        get gracefulShutdown() {
          return self.isLeaving;
        },
      },
      this.#filter('export', config.export),
      context.attrs,
      context.clusterId,
      (rib, prefix) => context.isHidden(rib, prefix),
      context.originState,
    );
    this.session = new Session(
      {
        localAs: this.#own.session,
        confederation:
          context.confederation === undefined || this.isExternal
            ? undefined
            : this.relation === 'internal'
              ? 'inside'
              : 'border',
        peerAs: config.asn,
        identifier: context.identifier,
        hostName: context.hostName,
        random: context.random,
        holdTimeS: config.holdTimeS ?? DEFAULT_HOLD_S,
        families: config.families ?? DEFAULT_FAMILIES,
        extendedNextHop: config.extendedNextHop ?? config.address.family === 6,
        extendedMessages: config.extendedMessages ?? true,
        enforceFirstAs: config.enforceFirstAs ?? true,
        passive: config.passive ?? false,
        get connectRetryMs() {
          return self.config.connectRetryMs ?? CONNECT_RETRY_MS;
        },
        get maxConnectRetryMs() {
          return Math.max(MAX_CONNECT_RETRY_MS, self.config.connectRetryMs ?? 0);
        },
        get delayOpenMs() {
          return self.config.delayOpenMs;
        },
        get sendHoldMs() {
          return self.config.sendHoldMs;
        },
        addPath: { receive: isOneOf(config.addPath, 'receive'), send: isOneOf(config.addPath, 'send') },
        linkLocalCapability: config.linkLocalCapability ?? false,
        role: this.role,
        strictRole: config.strictRole ?? false,
        get restart() {
          return offer();
        },
        idleHoldMs: IDLE_HOLD_MS,
        maxIdleHoldMs: MAX_IDLE_HOLD_MS,
      },
      context.nextTransport,
      now,
    );
  }

  /** The AS the peer is in; 0 while that is not known. */
  get asn(): number {
    const { asn } = this.config;
    if (typeof asn === 'number') return asn;
    return this.#agreed?.peerAs ?? (asn === 'internal' ? this.#context.localAs : 0);
  }

  /** No session is wanted now. */
  get isHeld(): boolean {
    return this.isShutDown || this.awaitsBfd;
  }

  /** Our role, where roles have a meaning (RFC 9234 §4: external sessions). */
  get role(): Role | undefined {
    return this.isExternal ? this.config.role : undefined;
  }

  /** RFC 4456 §6: an internal peer whose routes we reflect. */
  get isClient(): boolean {
    return this.relation === 'internal' && (this.config.routeReflectorClient ?? false);
  }

  /** What the peer is told may depend on the validation state of origins. */
  get exportAsksRoa(): boolean {
    return this.#exporter.filter.asksRoa;
  }

  /** What export policy is asked about, undefined = nothing whatever it says (bgp/exporter.ts). */
  offered(
    prefix: number,
    out: Outbound,
    peers: readonly (Peer | undefined)[],
    a: AttrSet,
    from: number,
  ): Attributes | undefined {
    return this.#exporter.offered(prefix, out, peers, a, from);
  }

  /** For routes that no table of ours holds. */
  get exporter(): Pick<Exporter, 'telling' | 'offering' | 'barOf' | 'decisionOf'> {
    return this.#exporter;
  }

  /** Why the peer is told the best route to a prefix or not. */
  explainTelling(prefix: number, out: Outbound, peers: readonly (Peer | undefined)[]): ExportReason {
    return this.#exporter.explain(prefix, out, peers);
  }

  get readsExtendedNextHop(): boolean {
    return this.session.negotiated?.context.families.ipv4?.extendedNextHop ?? false;
  }

  /** Hops to the peer at most. */
  get hops(): number {
    const { multihop } = this.config;
    return typeof multihop === 'number' ? multihop : multihop === true ? 255 : 1;
  }

  get identifier(): number {
    return this.#agreed?.peer.identifier ?? 0;
  }

  #filter(direction: 'import' | 'export', policy: Policy | undefined): Filter {
    const { name, address } = this.config;
    const self = this;
    const peer: FilterPeer = Object.freeze({
      name,
      // A peer of any AS has one only when its session is up.
      get asn() {
        return self.asn;
      },
      address: address.toString(),
      isExternal: this.isExternal,
      direction,
    });
    // RFC 8212 §2: without a policy an external peer gets and gives nothing.
    return new Filter(policy ?? (this.isExternal ? 'reject-all' : 'accept-all'), {
      peer,
      ownAs: this.#own.prepended[0] ?? this.#context.localAs,
      onError: (words) => {
        this.filterErrors++;
        if (this.lastFilterError !== words) this.#context.onFilterError?.(name, words);
        this.lastFilterError = words;
      },
    });
  }

  /** Other settings from now on, none of which belongs to the session; bgp/reconfigure.ts says what follows from which. */
  reconfigure(config: PeerConfig): void {
    const before = this.config;
    this.config = config;
    this.isLeaving = config.gracefulShutdown ?? false;
    this.importSettings = config;
    this.delegated = new PrefixGuard(config.delegated ?? []);
    this.importFilter = this.#filter('import', config.import);
    this.#exporter.filter = this.#filter('export', config.export);
    this.#exporter.forget();
    if (!isEqual(config.maxPrefixes, before.maxPrefixes)) this.limit = limitOf(config);
    if (config.defaultOriginate !== before.defaultOriginate) for (const out of this.outbound) touchDefault(out);
    this.vpn?.policyChanged();
  }

  /** The session came up: nothing has been told yet. */
  begin(n: Negotiated, localAddress: Addr | undefined, ribs: Iterable<Rib>): void {
    const { nextHop4, nextHop6, linkLocalForm } = this.config;
    this.#agreed = n;
    this.endOfRibs.clear();
    this.limit?.reset();
    this.localAddress = localAddress;
    const { name, address, port } = this.config;
    this.monitored = monitoredSession({ name, address, port: port ?? 179 }, localAddress, n);
    this.isCongested = false;
    this.#exporter.forget();
    this.packer = new UpdatePacker(
      {
        fourOctetAs: n.context.fourOctetAs,
        maxMessage: n.maxMessage,
        // draft-ietf-idr-linklocal-capability: to a peer that has it, a link-local next hop stands alone.
        linkLocalForm: n.linkLocalNextHop ? 'single' : (linkLocalForm ?? 'single'),
        pathIds: n.families.some((f) => n.context.families[f]!.sendsPathIds),
      },
      (octets, messages) => this.session.transmit(octets, messages),
    );
    const { families } = n.context;
    const own = {
      session: localAddress,
      v4: nextHop4,
      v6: nextHop6,
      extendedNextHop: families.ipv4?.extendedNextHop ?? false,
    };
    this.outbound = [...ribs]
      .filter((rib) => families[unicast(rib.family)] !== undefined)
      .map((rib) => ({
        rib,
        adjRibOut:
          families[unicast(rib.family)]?.sendsPathIds === true
            ? new AdjRibPathsOut(rib.prefixes, this.#context.attrs)
            : new AdjRibOut(rib.prefixes, this.#context.attrs),
        self: selfNextHop(rib.family, own),
        endOfRibDue: true,
        refresh: 'none' as const,
      }));
    this.reconsiderExports();
  }

  /** Look at every best route again: after a change of export policy, or when the peer knows nothing yet. */
  reconsiderExports(): void {
    for (const out of this.outbound) {
      out.adjRibOut.review(out.rib.loc);
      if (this.config.defaultOriginate === true) touchDefault(out);
    }
  }

  /** The session is gone; where next hops go is remembered while routes are kept. */
  end(): void {
    this.monitored = undefined;
    for (const out of this.outbound) this.#context.discard(out.adjRibOut);
    this.outbound = [];
    this.packer = undefined;
    this.vpn = undefined;
    this.isCongested = false;
    this.#exporter.forget();
    if (!this.retention.isKeeping) this.forgetRoutes();
  }

  /** No route of the peer is left. */
  forgetRoutes(): void {
    this.#agreed = undefined;
    this.vpnHeld = undefined;
    this.#hops.clear();
    this.#hopsBefore.clear();
    this.#forgetLastHop();
  }

  /** Nothing is told, and nothing has been that would have to be withdrawn. */
  isSilent({ adjRibOut }: Outbound): boolean {
    const isClosed = this.#exporter.filter.isClosed && this.config.defaultOriginate !== true;
    return isClosed && adjRibOut.size === 0 && adjRibOut.pending === 0;
  }

  /** Something waits to be told and could be told now. */
  get hasWork(): boolean {
    if (this.isCongested) return false;
    if (this.vpn?.hasWork === true) return true;
    return this.outbound.some((o) => o.adjRibOut.pending > 0 || o.endOfRibDue || o.refresh !== 'none');
  }

  /** Tell the peer about up to `budget` prefixes of each family. */
  pull(budget: number, peers: readonly (Peer | undefined)[]): void {
    if (this.isCongested || this.packer === undefined) return;
    for (const out of this.outbound) {
      if (out.refresh === 'due' && !out.endOfRibDue) this.#beginRefresh(out);
      if (out.adjRibOut.pending > 0) {
        this.#pull(out, budget, peers, this.packer);
      }
      // RFC 4724 §2: the initial table is complete when nothing waits, neither here nor for a decision.
      if (out.endOfRibDue && out.adjRibOut.pending === 0 && out.rib.loc.pending === 0) {
        this.packer.endOfRib(out.rib.family);
        out.endOfRibDue = false;
      }
      if (out.refresh === 'running' && out.adjRibOut.pending === 0) {
        this.packer.flush();
        this.#mark(out, 2);
        out.refresh = 'none';
      }
    }
    this.packer.flush();
    this.vpn?.pull(budget, (octets, messages) => this.session.transmit(octets, messages));
  }

  /** Ask for everything again, tell everything again, or both. @returns false when the peer cannot be asked */
  refresh(direction: 'in' | 'out' | 'both'): boolean {
    const families = this.session.negotiated?.families ?? [];
    if (direction !== 'in') {
      for (const out of this.outbound) out.refresh = 'due';
      for (const family of families) this.vpn?.refresh(family);
    }
    if (direction === 'out') return true;
    return families.map((family) => this.session.refresh({ ...FAMILIES[family], subtype: 0 })).every(Boolean);
  }

  #pull(out: Outbound, budget: number, peers: readonly (Peer | undefined)[], packer: UpdatePacker): void {
    const { adjRibOut } = out;
    if (adjRibOut instanceof AdjRibOut) {
      adjRibOut.pull(budget, (prefix) => this.#exporter.select(prefix, out, peers), packer);
    } else {
      const { addPathLimit = Infinity } = this.config;
      adjRibOut.pull(budget, (prefix) => pathsFor(prefix, out, this.#exporter, peers, addPathLimit), packer);
    }
  }

  /** RFC 2918 §4, RFC 7313 §4: everything is told again; between two marks where the peer knows them. */
  #beginRefresh(out: Outbound): void {
    this.packer?.flush();
    out.adjRibOut.resend();
    const isMarked = this.session.negotiated?.enhancedRefresh ?? false;
    if (isMarked) this.#mark(out, 1);
    out.refresh = isMarked ? 'running' : 'none';
  }

  /** A BoRR (1) or EoRR (2). */
  #mark(out: Outbound, subtype: number): void {
    this.session.refresh({ ...FAMILIES[unicast(out.rib.family)], subtype });
  }

  #restartOffer(): RestartOffer | undefined {
    const { gracefulRestart = 'helper', families = DEFAULT_FAMILIES } = this.config;
    if (gracefulRestart === false) return undefined;
    const { restart } = this.#context;
    const isRestarting = this.#context.isRestarting();
    return {
      restartTimeS: gracefulRestart === true ? restart.restartTimeS : 0,
      isRestarting,
      // Where only the session was lost, forwarding went on.
      keptForwarding: isRestarting ? restart.keptForwarding : this.session.establishments > 0,
      families: gracefulRestart === true ? families : [],
      longLivedS: restart.longLivedS,
    };
  }

  /**
   * Where routes with a next hop go, undefined while it cannot be reached.
   * @param number its number in `AttrTable.hops`
   */
  hop(number: number): ResolvedHop | undefined {
    const hop = this.#context.attrs.hops.get(number);
    if (hop === undefined) return undefined;
    if (hop === this.#lastNextHop) return this.#lastHop;
    const known = this.#byNextHop.get(hop);
    const resolved = known === undefined ? this.#lookUp(hop) : known.to;
    if (known === undefined) this.#byNextHop.set(hop, { to: resolved });
    this.#lastNextHop = hop;
    this.#lastHop = resolved;
    return resolved;
  }

  /** What it costs to reach a next hop that stands in no attribute set of ours; undefined while it cannot be reached. */
  interiorCost(hop: NextHop): number | undefined {
    return this.#resolve(this.#addressOf(hop), undefined)?.cost;
  }

  /** The address packets go to: RFC 2545 §3, on a shared link the link-local one. */
  #addressOf(hop: NextHop): Addr {
    return this.config.multihop ? (hop.global ?? hop.linkLocal!) : (hop.linkLocal ?? hop.global!);
  }

  /** Numbers of the next hops with these addresses. */
  #numbersOf(addresses: ReadonlySet<string>): ReadonlySet<number> {
    const numbers = new Set<number>();
    this.#context.attrs.hops.forEach((hop, number) => {
      if (addresses.has(this.#addressOf(hop).toString())) numbers.add(number);
    });
    return numbers;
  }

  /** A next hop that is known and was not found in the forwarding table. */
  isDirectHop(number: number): boolean {
    const hop = this.#context.attrs.hops.get(number);
    return hop !== undefined && this.#hops.get(this.#addressOf(hop).toString())?.cost === 0;
  }

  #lookUp(hop: NextHop): ResolvedHop | undefined {
    const address = this.#addressOf(hop);
    const key = address.toString();
    let found = this.#hops.get(key);
    if (found === undefined && !this.#hops.has(key)) {
      found = this.#resolve(address, this.#hopsBefore.get(key));
      this.#hops.set(key, found);
      if (this.#hops.size > 2 * this.#context.attrs.hops.size + SPARE_HOPS) this.#forgetUnused();
    }
    return found;
  }

  /** Keep what is known of the next hops in use: a peer may name another one each time it tells a route. */
  #forgetUnused(): void {
    const used = new Set<string>();
    for (const hop of this.#context.attrs.hops) used.add(this.#addressOf(hop).toString());
    for (const known of [this.#hops, this.#hopsBefore]) {
      for (const key of known.keys()) if (!used.has(key)) known.delete(key);
    }
  }

  /**
   * Uplinks or the forwarding table changed: look every next hop up again.
   * @returns numbers of the next hops (`AttrTable.hops`) that lead elsewhere now: their routes have to be decided again
   */
  recheckHops(): ReadonlySet<number> {
    const changed = new Set<string>();
    for (const [key, hop] of this.#hops) {
      const known = hop ?? this.#hopsBefore.get(key);
      // A way over another link of the same name is another way.
      const before = known !== undefined && this.#context.resolver.isGone?.(known.link) === true ? undefined : known;
      if (before === undefined) this.#hopsBefore.delete(key);
      const now = this.#resolve(Addr.parse(key)!, before);
      if (now === hop) continue;
      changed.add(key);
      this.#hopsBefore.set(key, before);
      this.#hops.set(key, now);
    }
    const numbers = changed.size === 0 ? NO_HOPS : this.#numbersOf(changed);
    this.#forgetLastHop();
    return numbers;
  }

  #forgetLastHop(): void {
    this.#byNextHop = new WeakMap();
    this.#lastNextHop = undefined;
    this.#lastHop = undefined;
  }

  #resolve(address: Addr, before: ResolvedHop | undefined): ResolvedHop | undefined {
    const { resolver } = this.#context;
    const { link } = this.config;
    if (address.equals(DISCARD)) return before ?? discards(address, link, !this.isExternal);
    // An internal peer passes on next hops that need not be on its uplink.
    const isElsewhere = !this.isExternal && !address.equals(this.config.address);
    const via =
      resolver.resolve === undefined ? { address, link, cost: 0 } : resolver.resolve(address, link, isElsewhere);
    if (via === undefined || !resolver.isUp(via.link)) return undefined;
    const only = { address: via.address, link: via.link };
    const hops = via.group ?? [only];
    if (before?.cost === via.cost && areSameHops(before.alone.nextHops, hops)) return before;
    return { ...only, cost: via.cost, alone: new NumberedWay('unicast', hops, !this.isExternal) };
  }
}

function limitOf({ maxPrefixes }: PeerConfig): PrefixLimit | undefined {
  return maxPrefixes === undefined ? undefined : new PrefixLimit(maxPrefixes);
}

/** What is told of the default route may be another one now. */
function touchDefault({ rib, adjRibOut }: Outbound): void {
  adjRibOut.touch(rib.prefixes.internPrefix(DEFAULT_ROUTE[rib.family]));
}

/** RFC 6666 §2: a next hop where everything ends. */
function discards(address: Addr, link: LinkId, isInternal: boolean): ResolvedHop {
  return { address, link, cost: 0, alone: new NumberedWay('blackhole', [], isInternal) };
}

function isOneOf(mode: PeerConfig['addPath'], direction: 'receive' | 'send'): boolean {
  return mode === direction || mode === 'both';
}
