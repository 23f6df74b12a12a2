/**
 * A BGP speaker: peers and routing tables behind three ports (bgp/ports.ts). It moves octets between transport and
 * sessions, routes from UPDATEs through the tables to the sink and to the other peers, and answers questions.
 * Read first: bgp/README.md, RFC 4271 §3 and §9. It reads time from a clock and never sets a timer: the edge calls `tick`
 * when `deadline` is reached (bgp/drive.ts).
 */

import type { Addr, Family, Prefix } from '../router/lib/addr.ts';
import type { Clock, Instant } from '../router/lib/clock.ts';
import { PrefixTable } from '../router/lib/prefix-table.ts';
import { inputsOf, ownHops } from './candidates.ts';
import { type Chore, Chores } from './chores.ts';
import { originStateOf } from './exporter.ts';
import type { CeaseReason } from './fsm/connection.ts';
import { type ImportContext, recheckingHops, reconsidering, revalidateRoute } from './import.ts';
import { Inbox } from './inbox.ts';
import { type Monitor, type MonitoredSession, Monitors } from './monitor/monitor.ts';
import { Monitoring } from './monitor/monitoring.ts';
import { TableViews } from './monitor/views.ts';
import { type Network, Origination } from './origination.ts';
import type { Peer, RestartSettings } from './peer.ts';
import type { PeerConfig } from './peer-config.ts';
import type { Policy } from './policy/rule.ts';
import type { LinkId } from './ports.ts';
import {
  bestCounts,
  candidatesOf,
  isRecursive,
  longestMatch,
  pageOf,
  type RibView,
  type RouteCursor,
  type RouteEntry,
  type RoutePage,
  type RouteQuery,
  routesOf,
} from './query.ts';
import type { RangeConfig } from './ranges.ts';
import { change, checkSettings, type ReconfigurationHost, reconfigure, type SpeakerSettings } from './reconfigure.ts';
import { checkAses } from './relation.ts';
import { keepsRoutes, OwnRestart, restartSettings } from './restart.ts';
import type { AdjRibsIn } from './rib/adj-rib-in.ts';
import { AttrTable } from './rib/attrs.ts';
import type { LocRibInputs } from './rib/loc-rib.ts';
import { SINGLE_PATH } from './rib/multipath.ts';
import { Rib } from './rib/rib.ts';
import { WayTable } from './rib/ways.ts';
import { Roster } from './roster.ts';
import { Revalidation } from './rpki/revalidation.ts';
import type { VrpList } from './rpki/vrp.ts';
import { type CandidateView, type PeerView, peerView, type RouteView } from './show.ts';
import type { SpeakerOptions } from './speaker-options.ts';
import { Spread } from './spread.ts';
import { Switchboard } from './switchboard.ts';
import { type TellingView, tellingOf } from './telling.ts';
import { Cease } from './wire/fault.ts';
import { WorkLoop } from './work-loop.ts';

export * from './public.ts';

const DEFAULT_VRF = 0;
/** BFD that restarted with its peer is up again by then: it sends a packet a second (RFC 5880 §6.8.3). */
const BFD_RETURNS_MS = 10_000;

export class Speaker {
  readonly asn: number;
  readonly routerId: Addr;
  /** Called when there may be something new to wait for; `drive` sets it. */
  onActivity: () => void = () => {};
  /** Tables for BMP stations and MRT files. */
  readonly monitoring: Monitoring;
  readonly #options: SpeakerOptions;
  readonly #clock: Clock;
  readonly #attrs = new AttrTable();
  /** Shared by both families: an IPv4 prefix may go the way of an IPv6 one. */
  readonly #ways = new WayTable();
  readonly #ownHops = ownHops();
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #spread: Spread;
  /** By number, as tables know them; shared with the roster. */
  readonly #peers: (Peer | undefined)[] = [undefined];
  readonly #roster: Roster;
  readonly #own: Origination;
  readonly #revalidation: Revalidation | undefined;
  #rechecks = 0;
  readonly #monitors = new Monitors();
  readonly #chores = new Chores();
  #discarded = 0;
  #import: ImportContext;
  readonly #inbox: Inbox;
  readonly #switchboard: Switchboard;
  #isStarted = false;
  /** Another speaker takes over: the sink hears nothing more from this one. */
  #isAbandoned = false;
  readonly #restart: { -readonly [K in keyof RestartSettings]: RestartSettings[K] };
  readonly #ownRestart: OwnRestart;
  readonly #loop: WorkLoop;

  constructor(options: SpeakerOptions) {
    if (options.asn < 1 || options.asn > 0xffffffff) throw new RangeError(`AS number ${options.asn}`);
    if (options.routerId.family !== 4 || options.routerId.isUnspecified) throw new RangeError('router id');
    this.#options = options;
    this.#clock = options.clock;
    this.asn = options.asn;
    this.routerId = options.routerId;
    const rib = (family: Family): Rib => {
      const prefixes = options.prefixes?.(family) ?? new PrefixTable(family);
      return new Rib(prefixes, this.#attrs, this.#ways, options.multipath ?? SINGLE_PATH, (r) => this.#inputsOf(r));
    };
    this.#ribs = { 4: rib(4), 6: rib(6) };
    const aggregator = { asn: options.confederation?.id ?? options.asn, identifier: this.routerId.a3 >>> 0 };
    this.#own = new Origination(this.#ribs, this.#attrs, aggregator, options.aggregates ?? []);
    this.#revalidation = options.roas && new Revalidation(this.#ribs);
    this.#restart = restartSettings(options.gracefulRestart, options.restarting);
    this.#ownRestart = new OwnRestart(options.restarting, this.#restart, this.#clock.now());
    this.#inbox = new Inbox({
      ribs: this.#allRibs(),
      rib: (family) => this.#ribs[family],
      attrs: this.#attrs,
      clock: options.clock,
      chores: this.#chores,
      monitors: this.#monitors,
      vpn: options.vpn,
      importContext: () => this.#import,
      onEvent: (e) => options.onEvent?.(e),
      end: (peer, reason) => this.#end(peer, reason),
    });
    this.#switchboard = new Switchboard(options.transport, options.clock, {
      expected: (remote, link) => this.#expected(remote, link),
      perform: (peer, action) => this.#inbox.perform(peer, action),
      settled: (peer) => {
        this.#reap(peer);
        this.#work();
      },
      onActivity: () => this.onActivity(),
    });
    const discard = (told: Chore): void => this.#chores.add(`forget ${this.#discarded++}`, told);
    const views = new TableViews({ ribs: this.#allRibs(), attrs: this.#attrs, byNumber: this.#peers, discard });
    this.monitoring = new Monitoring({
      ribs: this.#allRibs(),
      views,
      byNumber: this.#peers,
      peer: (name) => this.#roster.get(name),
      identifier: this.routerId.a3 >>> 0,
      clock: this.#clock,
    });
    this.#roster = new Roster(
      this.#peers,
      {
        localAs: this.asn,
        identifier: this.routerId.a3 >>> 0,
        confederation: options.confederation,
        clusterId: this.#clusterId,
        hostName: options.hostName,
        random: options.random,
        attrs: this.#attrs,
        resolver: options.resolver,
        discard,
        onFilterError: (peer, text) => options.onEvent?.({ kind: 'filter-error', peer, text }),
        nextTransport: () => this.#switchboard.nextTransport(),
        restart: this.#restart,
        isRestarting: () => this.#ownRestart.isDeferring,
        isHidden: (rib, prefix) => this.#own.hides(rib, prefix),
        originState: options.roas && originStateOf(options.roas, this.#originAs, this.#revalidation!.indexes),
      },
      (peer) => this.#inbox.retentionOf(peer),
    );
    this.#spread = new Spread({
      clock: this.#clock,
      ribs: this.#allRibs(),
      ways: this.#ways,
      vrf: options.vrf ?? DEFAULT_VRF,
      sink: options.sink,
      own: this.#own,
      byNumber: this.#peers,
      peers: this.#roster,
      views,
      pump: (peer) => this.#switchboard.pump(peer),
    });
    for (const rib of this.#allRibs()) rib.routes.stamp(this.#clock.now());
    this.#loop = new WorkLoop({
      clock: options.clock,
      turnEnds: options.turnEnds,
      chores: this.#chores,
      spread: this.#spread,
      attrs: this.#attrs,
      isJudging: () => this.#revalidation?.isPending === true,
      judge: (budget) => this.#judge(budget),
      isDeferring: () => this.#isDeferring(),
      decided: () => this.#decided(),
    });
    for (const network of options.networks ?? []) this.#own.announce(network);
    this.#import = this.#importContext();
    this.#work();
    options.resolver.subscribe((link, isUp) => this.#onLink(link, isUp));
  }

  /** Begin to listen and to connect. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#secure();
    this.#switchboard.listen();
    if (!this.#ownRestart.isDeferring) this.#options.vpn?.selecting();
    for (const peer of this.#roster) this.#startSession(peer);
    this.#work();
  }

  /** Make way for another speaker: peers that agreed to keep our routes until then hear nothing, others why they do not. */
  abandon(): void {
    this.#isAbandoned = true;
    for (const peer of this.#roster) {
      const told = { kind: 'stop', subcode: Cease.ConfigChange, text: '' } as const;
      peer.session.handle(keepsRoutes(peer) ? { kind: 'restarting' } : told, this.#clock.now());
      this.#switchboard.pump(peer);
    }
  }

  /** Say goodbye to all peers; sessions stay down. */
  shutdown(text = ''): void {
    for (const peer of this.#roster) {
      peer.isShutDown = true;
      peer.session.handle({ kind: 'stop', subcode: Cease.AdminShutdown, text }, this.#clock.now());
      this.#switchboard.pump(peer);
    }
    this.#work();
  }

  /** @throws RangeError when the name is taken, or the list of its ASes has one of ours */
  addPeer(config: PeerConfig): void {
    const peer = this.#add(config);
    if (this.#isStarted) this.#secure();
    this.#startSession(peer);
    this.#work();
  }

  #add(config: PeerConfig): Peer {
    return this.#roster.add(config, undefined, this.#clock.now());
  }

  /**
   * Take whoever connects from a prefix as a peer, and forget it when it is gone.
   * @throws RangeError when the name is taken, or the list of its ASes has one of ours
   */
  addRange(config: RangeConfig): void {
    checkAses(config.asn, this.asn, this.#options.confederation, config.localAs);
    this.#roster.ranges.add(config);
    if (this.#isStarted) this.#secure();
  }

  /** Its peers go with it. False when there is no such range. */
  removeRange(name: string): boolean {
    for (const peer of [...this.#roster]) if (peer.range === name) this.removePeer(peer.config.name);
    const isKnown = this.#roster.ranges.delete(name);
    if (isKnown && this.#isStarted) this.#secure();
    return isKnown;
  }

  /** Tell the transport whom to expect. */
  #secure(): void {
    this.#switchboard.secure(this.#roster, this.#roster.security());
  }

  /**
   * @param reason told to the peer (RFC 4486 §4): it is not configured any more, or will be again with other settings
   * @returns false when there is no such peer; the same for the methods below
   */
  removePeer(name: string, reason: 'removed' | 'changed' = 'removed'): boolean {
    return this.#withPeer(name, (peer) => {
      this.#remove(peer, reason);
      if (this.#isStarted && peer.range === undefined) this.#secure();
    });
  }

  #remove(peer: Peer, reason: 'removed' | 'changed'): void {
    this.#end(peer, { subcode: reason === 'removed' ? Cease.PeerDeconfigured : Cease.ConfigChange, text: '' });
    this.#roster.delete(peer);
  }

  /** @throws RangeError for settings that `reconfigure` would refuse */
  check(settings: SpeakerSettings): void {
    checkSettings(settings, this.asn, this.#options.confederation);
  }

  /**
   * Go over to other settings. Sessions go on where neither their OPEN nor their connection depends on what differs; peers
   * that are new are added, others that are missing removed (`removePeer`).
   * @returns the names of peers that begin, anew or for the first time
   * @throws RangeError before anything has changed: a name stands twice, or the list of a peer's ASes has one of ours
   */
  reconfigure(settings: SpeakerSettings): readonly string[] {
    this.check(settings);
    const added: Peer[] = [];
    const host = this.#reconfigurable((config) => added.push(this.#add(config)));
    reconfigure(settings, host);
    if (this.#isStarted) this.#secure();
    for (const peer of added) this.#startSession(peer);
    this.#work();
    return added.map((peer) => peer.config.name);
  }

  #reconfigurable(add: (config: PeerConfig) => void): ReconfigurationHost {
    return {
      roster: this.#roster,
      ribs: this.#allRibs(),
      own: this.#own,
      chores: this.#chores,
      restart: this.#restart,
      add,
      remove: (peer, reason) => this.#remove(peer, reason),
      reconsider: (peer) => this.#reconsider(peer),
      checkLimit: (peer) => {
        this.#inbox.checkLimit(peer);
        this.#switchboard.pump(peer);
      },
      ownPrefixesChanged: () => this.#ownPrefixesChanged(),
    };
  }

  /** End a session for good: nothing of the peer is kept. */
  #end(peer: Peer, reason: CeaseReason): void {
    peer.session.handle({ kind: 'stop', ...reason }, this.#clock.now());
    this.#switchboard.pump(peer);
    peer.retention.abandon();
  }

  peerUp(name: string): boolean {
    return this.#withPeer(name, (peer) => {
      peer.isShutDown = false;
      this.#startSession(peer);
    });
  }

  /** @param text told to the peer's operator (RFC 9003) */
  peerDown(name: string, text = ''): boolean {
    return this.#withPeer(name, (peer) => {
      peer.isShutDown = true;
      this.#end(peer, { subcode: Cease.AdminShutdown, text });
    });
  }

  /**
   * The path to a peer is dead. Its session ends at once (RFC 9384) and nothing is kept, whatever was agreed about restarts; the
   * session is tried again as usual. RFC 5882 §4.3.2: that BFD fails while the peer restarts says nothing and aborts no restart,
   * unless the peer's BFD goes on without its control plane. It has to be up again soon where the session is.
   */
  bfdDown(name: string, isIndependent = false): boolean {
    return this.#withPeer(name, (peer) => {
      const reason = { subcode: Cease.BfdDown, text: '' };
      const isExpected = peer.retention.isRestarting && !isIndependent;
      const isBack = isExpected && peer.session.state === 'Established';
      peer.pathJudgedAt = isBack ? this.#clock.now() + BFD_RETURNS_MS : Infinity;
      if (isBack) return;
      peer.awaitsBfd = peer.config.bfdStrict ?? false;
      if (isExpected) {
        if (peer.awaitsBfd) peer.session.handle({ kind: 'stop', ...reason }, this.#clock.now());
      } else if (peer.awaitsBfd) this.#end(peer, reason);
      else if (peer.session.state !== 'Established') peer.retention.abandon();
      else peer.session.handle({ kind: 'reset', ...reason }, this.#clock.now());
      this.#switchboard.pump(peer);
    });
  }

  /** The path to a peer works: a session that waited for that may begin, and one that waits for its time begins at once. */
  bfdUp(name: string): boolean {
    return this.#withPeer(name, (peer) => {
      peer.awaitsBfd = false;
      peer.pathJudgedAt = Infinity;
      this.#startSession(peer);
      peer.session.handle({ kind: 'hurry' }, this.#clock.now());
      this.#switchboard.pump(peer);
    });
  }

  /** End the session and begin again. */
  peerReset(name: string, text = ''): boolean {
    return this.#withPeer(name, (peer) => {
      peer.session.handle({ kind: 'reset', subcode: Cease.AdminReset, text }, this.#clock.now());
      this.#switchboard.pump(peer);
    });
  }

  /**
   * Ask the peer for its routes again ('in'), tell it ours again ('out'), or both.
   * @returns false when there is no such session or the peer cannot be asked
   */
  peerRefresh(name: string, direction: 'in' | 'out' | 'both' = 'both'): boolean {
    const peer = this.#roster.get(name);
    if (peer === undefined || peer.session.state !== 'Established') return false;
    const isDone = peer.refresh(direction);
    this.#switchboard.pump(peer);
    this.#work();
    return isDone;
  }

  /**
   * Change a peer's policies; what it has sent is judged again without asking it.
   * @param policies `gracefulShutdown` as in PeerConfig; as it was when missing
   */
  setPolicies(
    name: string,
    policies: { readonly import?: Policy; readonly export?: Policy; readonly gracefulShutdown?: boolean },
  ): boolean {
    return this.#withPeer(name, (peer) => {
      const { import: _, export: __, ...others } = peer.config;
      change(
        peer,
        { ...others, ...policies },
        this.#reconfigurable((config) => void this.#add(config)),
      );
    });
  }

  /**
   * The VRPs of these prefixes changed: routes inside them are judged again where a policy asks for their validation state,
   * in slices of the following turns. Peers are not asked for anything, sessions go on.
   */
  revalidate(changed: VrpList): void {
    this.#revalidation?.add(changed);
    this.#work();
  }

  /** Routes judged again because ROAs changed, since the start. */
  get revalidated(): number {
    return this.#revalidation?.revalidated ?? 0;
  }

  /** Originate a prefix. */
  announce(network: Network): void {
    this.#ribs[network.prefix.family].routes.stamp(this.#clock.now());
    this.#own.announce(network);
    this.#ownPrefixesChanged();
    this.#work();
  }

  /** Stop originating a prefix; false when it was not originated. */
  withdraw(prefix: Prefix): boolean {
    if (!this.#own.withdraw(prefix)) return false;
    this.#ownPrefixesChanged();
    this.#work();
    return true;
  }

  /** Let timers fire and continue work that was cut into slices. */
  tick(now: Instant): void {
    for (const peer of [...this.#roster]) {
      peer.retention.tick(now);
      if (peer.pathJudgedAt <= now) this.bfdDown(peer.config.name);
      const at = peer.session.deadline();
      if (at !== undefined && at <= now) {
        peer.session.tick(now);
        this.#switchboard.pump(peer);
      }
      this.#reap(peer);
    }
    this.#work();
  }

  /** When to call `tick` next; undefined = never. */
  deadline(): Instant | undefined {
    if (this.#isAbandoned) return undefined;
    const now = this.#clock.now();
    const isDeferred = this.#ownRestart.isDeferring;
    let earliest = this.#ownRestart.deadline;
    for (const peer of this.#roster) {
      if (peer.hasWork && !isDeferred) return now;
      earliest = Math.min(earliest, peer.session.deadline() ?? Infinity, peer.retention.deadline, peer.pathJudgedAt);
    }
    if (this.#loop.isPending(isDeferred)) return now;
    return earliest === Infinity ? undefined : (earliest as Instant);
  }

  /** Names of all peers, those of ranges included. */
  get peerNames(): string[] {
    return [...this.#roster].map((peer) => peer.config.name);
  }

  /** All peers, in the order they were added. */
  snapshot(): PeerView[] {
    const now = this.#clock.now();
    return [...this.#roster].map((peer) => peerView(peer, now));
  }

  /**
   * Whether traffic of a prefix goes by a next hop that was itself found in the forwarding table, or whether that is not
   * known: such a route must not be what a next hop is found by, or both could hold each other up.
   */
  isRecursive(prefix: Prefix): boolean {
    return isRecursive(this.#view(this.#ribs[prefix.family]), prefix, this.#attrs);
  }

  /** Prefixes with a best route, and attribute sets in use. */
  get totals(): { readonly ipv4: number; readonly ipv6: number; readonly attributeSets: number } {
    return { ipv4: this.#ribs[4].loc.size, ipv6: this.#ribs[6].loc.size, attributeSets: this.#attrs.size };
  }

  /**
   * Routes as received ('in'), as told to a peer ('out', needs a peer), or the best ones.
   * @param filter one peer, and one exact prefix
   */
  *routes(
    kind: 'in' | 'out' | 'best',
    filter: { readonly peer?: string; readonly prefix?: Prefix } = {},
  ): Generator<RouteView> {
    const peer = filter.peer === undefined ? undefined : this.#roster.get(filter.peer);
    if (filter.peer !== undefined && peer === undefined) return;
    for (const rib of this.#allRibs()) yield* routesOf(this.#view(rib), kind, peer, filter.prefix);
  }

  /**
   * A bounded part of a listing of routes: a turn of some milliseconds, whatever the size of the tables.
   * @param from the `next` of the part before; undefined = from the beginning
   * @param make called for each route while it is valid
   */
  page<T>(query: RouteQuery, from: RouteCursor | undefined, make: (route: RouteEntry) => T): RoutePage<T> {
    const peer = query.peer === undefined ? undefined : this.#roster.get(query.peer);
    if (query.peer !== undefined && peer === undefined) return { routes: [], next: undefined };
    const views = this.#allRibs().map((rib) => this.#view(rib));
    return pageOf(views, query, peer, from, make);
  }

  /** The longest prefix with a best route that holds an address, or a prefix. */
  longestMatch(what: Addr | Prefix): Prefix | undefined {
    return longestMatch(this.#ribs[what.family], what);
  }

  /** How many prefixes each peer has the best route to; '' stands for ourselves. A scan of the tables. */
  bestCounts(): Map<string, { readonly ipv4: number; readonly ipv6: number }> {
    return bestCounts(this.#ribs, this.#roster, this.#peers.length);
  }

  /**
   * Have a monitor hear of sessions and UPDATEs from now on.
   * @returns takes it away again
   */
  addMonitor(monitor: Monitor): () => void {
    return this.#monitors.add(monitor);
  }

  /** The established sessions. */
  *sessions(): Generator<MonitoredSession> {
    for (const peer of this.#roster) if (peer.monitored !== undefined) yield peer.monitored;
  }

  /** All routes to a prefix, or to the longest prefix that holds an address, and why the best one is best. */
  explain(what: Prefix | Addr): CandidateView[] {
    return candidatesOf(this.#view(this.#ribs[what.family]), what);
  }

  /** Whether a peer is told a prefix, or the longest one around an address, and why; undefined without such a peer. */
  explainTelling(name: string, what: Prefix | Addr): TellingView | undefined {
    const peer = this.#roster.get(name);
    return peer && tellingOf(this.#view(this.#ribs[what.family]), peer, what);
  }

  #view(rib: Rib): RibView {
    const { roas } = this.#options;
    return {
      rib,
      peers: this.#peers,
      inputs: this.#inputsOf(rib.routes),
      now: this.#clock.now(),
      origins: roas && { roas, localAs: this.#originAs },
    };
  }

  #inputsOf(routes: AdjRibsIn): LocRibInputs {
    return inputsOf(routes, this.#attrs, this.#peers, this.#ownHops, this.#options.pathOrigins);
  }

  #allRibs(): readonly Rib[] {
    return [this.#ribs[4], this.#ribs[6]];
  }

  /** Run `act` on a peer, then do what it caused. */
  #withPeer(name: string, act: (peer: Peer) => void): boolean {
    const peer = this.#roster.get(name);
    if (peer === undefined) return false;
    act(peer);
    this.#work();
    return true;
  }

  /** The AS that ROAs name for routes which begin inside (RFC 8893 §3): outside, a confederation is one AS. */
  get #originAs(): number {
    return this.#options.confederation?.id ?? this.asn;
  }

  get #clusterId(): number {
    return (this.#options.clusterId ?? this.routerId).a3 >>> 0;
  }

  #importContext(): ImportContext {
    return {
      localAs: this.#originAs,
      identifier: this.routerId.a3 >>> 0,
      clusterId: this.#clusterId,
      attrs: this.#attrs,
      own: this.#own,
      roas: this.#options.roas,
      indexes: this.#revalidation?.indexes,
    };
  }

  #ownPrefixesChanged(): void {
    this.#import = this.#importContext();
    for (const peer of this.#roster) this.#reconsider(peer);
  }

  /** Judge what a peer has sent again, in slices. */
  #reconsider(peer: Peer): void {
    for (const rib of this.#allRibs()) {
      this.#chores.add(
        `judge ${peer.index} ${rib.family}`,
        reconsidering(peer, rib, () => this.#import),
      );
    }
  }

  #expected(remote: Addr, link: LinkId): Peer | undefined {
    if (this.#isAbandoned || !this.#options.resolver.isUp(link)) return undefined;
    const peer = this.#roster.expected(remote, link, this.#clock.now());
    // A peer of a range is made by its first connection.
    if (peer?.session.isEnabled === false) this.#startSession(peer);
    return peer;
  }

  /** A peer of a range that is gone, with nothing of it kept, is forgotten. */
  #reap(peer: Peer): void {
    if (this.#roster.isForgettable(peer)) this.removePeer(peer.config.name);
  }

  #startSession(peer: Peer): void {
    if (!this.#isStarted || peer.isHeld || !this.#options.resolver.isUp(peer.config.link)) return;
    peer.session.handle({ kind: 'start' }, this.#clock.now());
    this.#switchboard.pump(peer);
  }

  /** RFC 4271 §9.1.2: what is not reachable any more is not used; sessions over the uplink end at once. */
  #onLink(link: LinkId, isUp: boolean): void {
    for (const peer of [...this.#roster]) {
      if (peer.config.link !== link) continue;
      if (isUp) this.#startSession(peer);
      else {
        peer.session.handle({ kind: 'uplink-down' }, this.#clock.now());
        this.#switchboard.pump(peer);
        this.#reap(peer);
      }
    }
    // What is reached by routing may be reached another way after any change.
    for (const peer of this.#roster) {
      const chores = recheckingHops(peer, this.#allRibs(), this.#attrs);
      // Each of its own: what an earlier change moved must not be forgotten for a later one.
      for (const chore of chores) this.#chores.add(`touch ${++this.#rechecks}`, chore);
    }
    this.#options.vpn?.nextHopsChanged();
    this.#work();
  }

  /** RFC 4724 §4.1: whether selection has to wait after our restart. */
  #isDeferring(): boolean {
    if (!this.#ownRestart.isDeferring) return false;
    if (!this.#isStarted || !this.#ownRestart.maySelect(this.#roster, this.#clock.now())) return true;
    this.#options.vpn?.selecting();
    return false;
  }

  /** Decide, forward, tell: as much as one turn allows. */
  #work(): void {
    if (this.#isAbandoned) return;
    for (const rib of this.#allRibs()) rib.routes.stamp(this.#clock.now());
    if (this.#loop.run()) this.onActivity();
  }

  #judge(budget: number): void {
    this.#revalidation?.step(budget, (rib, route) => {
      const from = this.#peers[rib.routes.peerOf[route]!];
      revalidateRoute(rib, route, from, this.#roster, this.#import);
    });
  }

  /** When every prefix has been decided: no table speaks of removed peers any more, and a restart is over. */
  #decided(): void {
    this.#roster.decided();
    if (this.#ownRestart.decided()) this.#options.sink.settled?.();
  }
}
