/**
 * A BGP speaker: peers and routing tables behind three ports (bgp/ports.ts). It moves octets between transport and
 * sessions, routes from UPDATEs through the tables to the sink and to the other peers, and answers questions.
 * Read first: bgp/README.md, RFC 4271 §3 and §9. It reads time from a clock and never sets a timer: the edge calls `tick`
 * when `deadline` is reached (bgp/drive.ts).
 */

import { Addr, type Family, type Prefix } from '../router/lib/addr.ts';
import type { Clock, Instant } from '../router/lib/clock.ts';
import { announce, type ImportContext, reconsider, reconsiderRoute, withdraw } from './import.ts';
import { mrtTable, receivedUpdates } from './monitor/dump.ts';
import { type Monitor, type MonitoredSession, Monitors } from './monitor/monitor.ts';
import { Peer, type PeerConfig, type RestartSettings } from './peer.ts';
import { PrefixGuard } from './policy/prefix-set.ts';
import type { Policy } from './policy/rule.ts';
import type { LinkId, NextHopResolver, RouteSink, Transport } from './ports.ts';
import { candidatesOf, longestMatch, type RibView, routesOf } from './query.ts';
import { Deferral, type Restarting } from './restart.ts';
import type { RetentionHost } from './retention.ts';
import { type AdjRibsIn, LOCAL_PEER, Verdict } from './rib/adj-rib-in.ts';
import { AttrTable } from './rib/attrs.ts';
import { RouteColumns } from './rib/batch.ts';
import type { LocRibInputs, ResolvedHop } from './rib/loc-rib.ts';
import { Rib } from './rib/rib.ts';
import { NumberedWay, WayTable } from './rib/ways.ts';
import { Revalidation } from './rpki/revalidation.ts';
import type { RoaTable } from './rpki/roa-table.ts';
import type { VrpList } from './rpki/vrp.ts';
import { type CandidateView, type PeerView, peerView, type RouteView } from './show.ts';
import { dropRoutes, makeLongLived, markStale, sweepStale } from './stale.ts';
import { type PeerAction, Switchboard } from './switchboard.ts';
import { EMPTY_PATH } from './wire/attribute/as-path.ts';
import { NO_NUMBERS, Origin } from './wire/attribute/model.ts';
import type { BmpStatistics } from './wire/bmp.ts';
import { FAMILIES, type FamilyName, familyNamed, unicast } from './wire/family.ts';
import { Cease, ErrorCode, resetFault } from './wire/fault.ts';
import type { RouteRefresh } from './wire/message.ts';
import type { Update } from './wire/update.ts';

export { drive } from './drive.ts';
export type { Monitor, MonitoredSession } from './monitor/monitor.ts';
export type { PeerConfig, RestartSettings } from './peer.ts';
export type { FilterPeer, FilterRoute, RouteFunction } from './policy/module.ts';
export type * from './policy/rule.ts';
export { RoaState } from './policy/rule.ts';
export type * from './ports.ts';
export type { Restarting } from './restart.ts';
export { changesOf, eachRoute, type RouteChange } from './routes.ts';
export { ROA_STATE_TEXT, RoaTable } from './rpki/roa-table.ts';
export { type Vrp, VrpList } from './rpki/vrp.ts';
export type { CandidateView, PeerView, RouteView } from './show.ts';

/** A prefix we originate. */
export interface Network {
  readonly prefix: Prefix;
  readonly med?: number;
  readonly communities?: readonly number[];
}

export interface SpeakerOptions {
  readonly asn: number;
  /** BGP Identifier (RFC 6286): any IPv4 address other than 0.0.0.0, unique in the AS. */
  readonly routerId: Addr;
  readonly clock: Clock;
  /** Uniform numbers in [0, 1), for timer jitter. */
  readonly random: () => number;
  readonly transport: Transport;
  readonly sink: RouteSink;
  readonly resolver: NextHopResolver;
  readonly networks?: readonly Network[];
  /** Equal routes used at the same time; 1 = no multipath. */
  readonly maxPaths?: number;
  /** What policies know about the origins of routes (RFC 6811); say what changed in it by `revalidate`. */
  readonly roas?: RoaTable;
  /** Told to peers in the FQDN capability. */
  readonly hostName?: string;
  /** Times of RFC 4724 and RFC 9494; who takes part is said for each peer. */
  readonly gracefulRestart?: Partial<Omit<RestartSettings, 'keptForwarding'>>;
  /** This speaker takes over from one that has just ended (RFC 4724 §4.1). */
  readonly restarting?: Restarting;
  /** Session events worth a log line. */
  readonly onEvent?: (event: SpeakerEvent) => void;
}

export type SpeakerEvent =
  | {
      readonly kind: 'state';
      readonly peer: string;
      readonly from: string;
      readonly to: string;
      readonly why: string | undefined;
    }
  | { readonly kind: 'fault'; readonly peer: string; readonly text: string }
  /** A filter function failed; the text names the place in its file. */
  | { readonly kind: 'filter-error'; readonly peer: string; readonly text: string };

/** Prefixes decided, and prefixes told to each peer, in one turn: bounds how long the event loop is held. */
const DECISION_BUDGET = 8192;
const RESTART_DEFAULTS = { restartTimeS: 120, staleTimeS: 360, longLivedS: 0 } as const;
const EXPORT_BUDGET = 2048;
const DEFAULT_VRF = 0;
const LOCAL_HOP: ResolvedHop = {
  address: Addr.v4(0),
  link: 0,
  cost: 0,
  alone: new NumberedWay('unicast', [], false),
};
const REVALIDATION_BUDGET = 4096;

export class Speaker {
  readonly asn: number;
  readonly routerId: Addr;
  /** Called when there may be something new to wait for; `drive` sets it. */
  onActivity: () => void = () => {};
  readonly #options: SpeakerOptions;
  readonly #clock: Clock;
  readonly #attrs = new AttrTable();
  /** Shared by both families: an IPv4 prefix may go the way of an IPv6 one. */
  readonly #ways = new WayTable();
  readonly #ribs: Readonly<Record<Family, Rib>>;
  readonly #batches: Readonly<Record<Family, RouteColumns>>;
  /** Peers by number; number 0 stands for ourselves. */
  readonly #peers: (Peer | undefined)[] = [undefined];
  readonly #byName = new Map<string, Peer>();
  readonly #networks = new Map<string, Network>();
  readonly #revalidation: Revalidation | undefined;
  readonly #monitors = new Monitors();
  #import: ImportContext;
  readonly #switchboard: Switchboard;
  #isStarted = false;
  readonly #restart: RestartSettings;
  /** Our restart is not over. */
  #deferral: Deferral | undefined;
  /** It is, but not all routes have been decided since. */
  #isSettling = false;
  #isWorking = false;

  constructor(options: SpeakerOptions) {
    if (options.asn < 1 || options.asn > 0xffffffff) throw new RangeError(`AS number ${options.asn}`);
    if (options.routerId.family !== 4 || options.routerId.isUnspecified) throw new RangeError('router id');
    this.#options = options;
    this.#clock = options.clock;
    this.asn = options.asn;
    this.routerId = options.routerId;
    const maxPaths = options.maxPaths ?? 1;
    const inputs = (routes: AdjRibsIn): LocRibInputs => this.#inputs(routes);
    const rib = (family: Family): Rib => new Rib(family, this.#attrs, this.#ways, maxPaths, inputs);
    this.#ribs = { 4: rib(4), 6: rib(6) };
    const batch = ({ prefixes }: Rib): RouteColumns =>
      new RouteColumns(DEFAULT_VRF, prefixes, this.#ways, DECISION_BUDGET);
    this.#batches = { 4: batch(this.#ribs[4]), 6: batch(this.#ribs[6]) };
    this.#revalidation = options.roas && new Revalidation(this.#ribs);
    this.#restart = {
      ...RESTART_DEFAULTS,
      ...options.gracefulRestart,
      keptForwarding: options.restarting?.keptForwarding ?? false,
    };
    if (options.restarting !== undefined) {
      const deferralMs = options.restarting.deferralMs ?? this.#restart.restartTimeS * 1000;
      this.#deferral = new Deferral(this.#clock.now() + deferralMs);
    }
    this.#switchboard = new Switchboard(options.transport, options.clock, {
      expected: (remote, link) => this.#expected(remote, link),
      perform: (peer, action) => this.#perform(peer, action),
      settled: () => this.#work(),
      onActivity: () => this.onActivity(),
    });
    this.#import = this.#importContext();
    for (const network of options.networks ?? []) this.announce(network);
    options.resolver.subscribe((link, isUp) => this.#onLink(link, isUp));
  }

  /** Begin to listen and to connect. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#switchboard.listen();
    for (const peer of this.#byName.values()) this.#startSession(peer);
    this.#work();
  }

  /** Drop all sessions without a word, so that peers that agreed to it keep our routes until another speaker comes. */
  abandon(): void {
    for (const peer of this.#byName.values()) {
      peer.session.handle({ kind: 'restarting' }, this.#clock.now());
      this.#switchboard.pump(peer);
    }
  }

  /** Say goodbye to all peers; sessions stay down. */
  shutdown(text = ''): void {
    for (const peer of this.#byName.values()) {
      peer.isShutDown = true;
      peer.session.handle({ kind: 'stop', subcode: Cease.AdminShutdown, text }, this.#clock.now());
      this.#switchboard.pump(peer);
    }
    this.#work();
  }

  addPeer(config: PeerConfig): void {
    if (this.#byName.has(config.name)) throw new RangeError(`peer ${config.name} exists`);
    const peer = new Peer(
      config,
      this.#peers.length, // numbers are never used again: a table may still speak of the peer that had one
      {
        localAs: this.asn,
        identifier: this.routerId.a3 >>> 0,
        hostName: this.#options.hostName,
        random: this.#options.random,
        attrs: this.#attrs,
        resolver: this.#options.resolver,
        onFilterError: (peer, text) => this.#options.onEvent?.({ kind: 'filter-error', peer, text }),
        nextTransport: () => this.#switchboard.nextTransport(),
        restart: this.#restart,
        isRestarting: () => this.#deferral !== undefined,
      },
      (p) => this.#retentionOf(p),
      this.#clock.now(),
    );
    this.#peers.push(peer);
    this.#byName.set(config.name, peer);
    this.#switchboard.secure(this.#byName.values());
    if (this.#isStarted) this.#startSession(peer);
    this.#work();
  }

  /** False when there is no such peer; the same for the methods below. */
  removePeer(name: string): boolean {
    return this.#withPeer(name, (peer) => {
      peer.session.handle({ kind: 'stop', subcode: Cease.PeerDeconfigured }, this.#clock.now());
      this.#switchboard.pump(peer);
      peer.retention.abandon();
      this.#byName.delete(name);
      this.#peers[peer.index] = undefined;
      this.#switchboard.secure(this.#byName.values());
    });
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
      peer.session.handle({ kind: 'stop', subcode: Cease.AdminShutdown, text }, this.#clock.now());
      this.#switchboard.pump(peer);
      peer.retention.abandon();
    });
  }

  /** End the session and begin again. */
  peerReset(name: string, text = ''): boolean {
    return this.#withPeer(name, (peer) => {
      peer.session.handle({ kind: 'reset', subcode: Cease.AdminReset, text }, this.#clock.now());
      this.#switchboard.pump(peer);
    });
  }

  /** BFD says that the way to the peer is broken (RFC 5882 §4.2): the session ends at once (RFC 9384), if there is one. */
  bfdDown(name: string): boolean {
    return this.#withPeer(name, (peer) => {
      const { session, config } = peer;
      peer.awaitsBfd = config.bfdStrict ?? false;
      if (peer.awaitsBfd) session.handle({ kind: 'stop', subcode: Cease.BfdDown }, this.#clock.now());
      else if (session.state === 'Established')
        session.handle({ kind: 'reset', subcode: Cease.BfdDown }, this.#clock.now());
      this.#switchboard.pump(peer);
    });
  }

  /** BFD says that the way to the peer is good: a session that waited for that may begin. */
  bfdUp(name: string): boolean {
    return this.#withPeer(name, (peer) => {
      peer.awaitsBfd = false;
      this.#startSession(peer);
    });
  }

  /**
   * Ask the peer for its routes again ('in'), tell it ours again ('out'), or both.
   * @returns false when there is no such session or the peer cannot be asked
   */
  peerRefresh(name: string, direction: 'in' | 'out' | 'both' = 'both'): boolean {
    const peer = this.#byName.get(name);
    if (peer === undefined || peer.session.state !== 'Established') return false;
    let isDone = true;
    for (const out of peer.outbound) {
      if (direction !== 'in') out.refresh = 'due';
      if (direction === 'out') continue;
      isDone &&= peer.session.refresh({ ...FAMILIES[unicast(out.rib.family)], subtype: 0 });
    }
    this.#switchboard.pump(peer);
    this.#work();
    return isDone;
  }

  /** Change a peer's policies; what it has sent is judged again without asking it. */
  setPolicies(name: string, policies: { readonly import?: Policy; readonly export?: Policy }): boolean {
    return this.#withPeer(name, (peer) => {
      peer.setPolicies(policies.import, policies.export);
      for (const rib of this.#allRibs()) reconsider(peer, rib, this.#import);
      peer.reconsiderExports();
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
    const { prefix } = network;
    this.#networks.set(prefix.toString(), network);
    this.#ownPrefixesChanged();
    const rib = this.#ribs[prefix.family];
    const attrs = this.#attrs.intern(
      {
        origin: Origin.Igp,
        asPath: EMPTY_PATH,
        med: network.med,
        localPref: undefined,
        atomicAggregate: false,
        aggregator: undefined,
        communities: network.communities ?? NO_NUMBERS,
        extendedCommunities: NO_NUMBERS,
        largeCommunities: NO_NUMBERS,
        originatorId: undefined,
        clusterList: NO_NUMBERS,
        otc: undefined,
        unknown: [],
      },
      undefined,
    );
    const id = rib.prefixes.internPrefix(prefix);
    const route = rib.routes.find(id, LOCAL_PEER, 0);
    const number = this.#attrs.idOf(attrs);
    if (route < 0) rib.routes.add(id, LOCAL_PEER, 0, number, number, Verdict.Accepted);
    else rib.routes.replace(route, number, number, Verdict.Accepted);
    rib.loc.touch(id);
    this.#work();
  }

  /** Stop originating a prefix; false when it was not originated. */
  withdraw(prefix: Prefix): boolean {
    if (!this.#networks.delete(prefix.toString())) return false;
    const rib = this.#ribs[prefix.family];
    const id = rib.prefixes.findPrefix(prefix);
    rib.loc.touch(id);
    rib.routes.remove(rib.routes.find(id, LOCAL_PEER, 0));
    this.#ownPrefixesChanged();
    this.#work();
    return true;
  }

  /** Let timers fire and continue work that was cut into slices. */
  tick(now: Instant): void {
    for (const peer of this.#byName.values()) {
      peer.retention.tick(now);
      const at = peer.session.deadline();
      if (at === undefined || at > now) continue;
      peer.session.tick(now);
      this.#switchboard.pump(peer);
    }
    this.#work();
  }

  /** When to call `tick` next; undefined = never. */
  deadline(): Instant | undefined {
    const now = this.#clock.now();
    const isDeferred = this.#deferral !== undefined;
    let earliest = this.#deferral?.until ?? Infinity;
    for (const peer of this.#byName.values()) {
      if (peer.hasWork && !isDeferred) return now;
      earliest = Math.min(earliest, peer.session.deadline() ?? Infinity, peer.retention.deadline);
    }
    if (this.#revalidation?.isPending === true) return now;
    if (!isDeferred && this.#allRibs().some((rib) => rib.loc.pending > 0)) return now;
    return earliest === Infinity ? undefined : (earliest as Instant);
  }

  /** All peers, in the order they were added. */
  snapshot(): PeerView[] {
    const now = this.#clock.now();
    return [...this.#byName.values()].map((peer) => peerView(peer, now));
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
    const peer = filter.peer === undefined ? undefined : this.#byName.get(filter.peer);
    if (filter.peer !== undefined && peer === undefined) return;
    for (const rib of this.#allRibs()) yield* routesOf(this.#view(rib), kind, peer, filter.prefix);
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
    for (const peer of this.#byName.values()) if (peer.monitored !== undefined) yield peer.monitored;
  }

  /** Counts of a peer for monitors (RFC 7854 §4.8); undefined when there is no such peer. */
  statistics(name: string): BmpStatistics | undefined {
    const peer = this.#byName.get(name);
    if (peer === undefined) return undefined;
    const received = peer.received[4] + peer.received[6];
    const accepted = peer.accepted[4] + peer.accepted[6];
    return { rejectedPrefixes: received - accepted, adjRibInRoutes: received, treatedAsWithdrawn: peer.faults };
  }

  /** What a peer has sent as UPDATE messages, in portions; ends at once when there is no such session. */
  *receivedUpdates(name: string): Generator<readonly Uint8Array[]> {
    const peer = this.#byName.get(name);
    if (peer !== undefined) yield* receivedUpdates(this.#allRibs(), peer);
  }

  /** All received routes as an MRT table, in portions (RFC 6396 §4.3). @param nowS seconds since 1970 */
  mrtTable(nowS: () => number): Generator<Uint8Array> {
    return mrtTable(this.#allRibs(), this.#peers, this.routerId.a3 >>> 0, nowS);
  }

  /** All routes to a prefix, or to the longest prefix that holds an address, and why the best one is best. */
  explain(what: Prefix | Addr): CandidateView[] {
    const view = this.#view(this.#ribs[what.family]);
    const prefix = what instanceof Addr ? longestMatch(view.rib, what) : what;
    return prefix === undefined ? [] : candidatesOf(view, prefix, this.#options.maxPaths ?? 1);
  }

  #view(rib: Rib): RibView {
    const { roas } = this.#options;
    return { rib, peers: this.#peers, inputs: this.#inputs(rib.routes), origins: roas && { roas, localAs: this.asn } };
  }

  #allRibs(): readonly Rib[] {
    return [this.#ribs[4], this.#ribs[6]];
  }

  /** Run `act` on a peer, then do what it caused. */
  #withPeer(name: string, act: (peer: Peer) => void): boolean {
    const peer = this.#byName.get(name);
    if (peer === undefined) return false;
    act(peer);
    this.#work();
    return true;
  }

  #importContext(): ImportContext {
    return {
      localAs: this.asn,
      identifier: this.routerId.a3 >>> 0,
      attrs: this.#attrs,
      own: new PrefixGuard([...this.#networks.values()].map((n) => n.prefix)),
      roas: this.#options.roas,
      indexes: this.#revalidation?.indexes,
    };
  }

  #ownPrefixesChanged(): void {
    this.#import = this.#importContext();
    for (const peer of this.#byName.values()) for (const rib of this.#allRibs()) reconsider(peer, rib, this.#import);
  }

  #inputs(routes: AdjRibsIn): LocRibInputs {
    const peerOf = (route: number): Peer | undefined => this.#peers[routes.peerOf[route]!];
    return {
      table: this.#attrs,
      attrs: (route) => routes.acceptedOf[route]!,
      isLocal: (route) => routes.peerOf[route] === LOCAL_PEER,
      isExternal: (route) => peerOf(route)?.isExternal ?? true,
      cost: (route) => peerOf(route)?.hop(this.#attrs.hopNumber(routes.acceptedOf[route]!))?.cost ?? 0,
      peerIdentifier: (route) => peerOf(route)?.identifier ?? 0,
      comparePeers: (a, b) => comparePeers(peerOf(a), peerOf(b)),
      hop: (route) => {
        const peer = peerOf(route);
        return peer === undefined ? LOCAL_HOP : peer.hop(this.#attrs.hopNumber(routes.acceptedOf[route]!));
      },
      weight: () => 1,
    };
  }

  /** The peer that may connect from there. */
  #expected(remote: Addr, link: LinkId): Peer | undefined {
    const peer = [...this.#byName.values()].find((p) => p.config.link === link && p.config.address.equals(remote));
    return peer?.isHeld !== false || !this.#options.resolver.isUp(link) ? undefined : peer;
  }

  #startSession(peer: Peer): void {
    if (!this.#isStarted || peer.isHeld || !this.#options.resolver.isUp(peer.config.link)) return;
    peer.session.handle({ kind: 'start' }, this.#clock.now());
    this.#switchboard.pump(peer);
  }

  /** RFC 4271 §9.1.2: what is not reachable any more is not used; sessions over the uplink end at once. */
  #onLink(link: LinkId, isUp: boolean): void {
    for (const peer of this.#byName.values()) {
      if (peer.config.link !== link) continue;
      if (isUp) this.#startSession(peer);
      else {
        peer.session.handle({ kind: 'uplink-down' }, this.#clock.now());
        this.#switchboard.pump(peer);
      }
    }
    for (const peer of this.#byName.values()) {
      // What is reached by routing may be reached another way after any change.
      if (!peer.recheckHops()) continue;
      for (const rib of this.#allRibs()) {
        rib.routes.forPeer(peer.index, (route) => {
          rib.loc.touch(rib.routes.prefixOf[route]!);
        });
      }
    }
    this.#work();
  }

  #perform(peer: Peer, action: PeerAction): void {
    switch (action.kind) {
      case 'established':
        // The session may be over already, when the same octets held the Cease of a collision: what was agreed comes with
        // the action, and `down` follows.
        peer.retention.back(action.negotiated, this.#clock.now());
        peer.begin(action.negotiated, peer.conduits.get(action.transport)?.stream?.localAddress, this.#allRibs());
        this.#monitors.up(peer.monitored!);
        break;
      case 'down':
        if (peer.monitored !== undefined) this.#monitors.down(peer.monitored, action.end);
        peer.retention.down(action.negotiated, action.mayRestart, this.#clock.now());
        peer.end();
        break;
      case 'update':
        if (peer.monitored !== undefined) this.#monitors.received(peer.monitored, action.body);
        this.#onUpdate(peer, action.update);
        break;
      case 'refresh':
        this.#onRefresh(peer, action.refresh);
        break;
      case 'state':
        this.#options.onEvent?.({
          kind: 'state',
          peer: peer.config.name,
          from: action.from,
          to: action.to,
          why: peer.session.lastError?.text,
        });
        break;
    }
  }

  #onUpdate(peer: Peer, update: Update): void {
    for (const fault of update.faults) {
      peer.faults++;
      peer.lastFault = fault.words;
      this.#options.onEvent?.({ kind: 'fault', peer: peer.config.name, text: fault.words });
    }
    for (const nlri of update.withdrawn) withdraw(peer, this.#ribs[nlri.family], nlri);
    if (update.endOfRib !== undefined) {
      const family = unicast(update.endOfRib);
      peer.endOfRibs.add(family);
      peer.retention.endOfRib(family);
    }
    for (const reach of update.reach) {
      announce(peer, this.#ribs[reach.nlri.family], reach, update, this.#import);
    }
    const max = peer.config.maxPrefixes ?? Infinity;
    const count = Math.max(peer.accepted[4], peer.accepted[6]);
    if (count > max && peer.session.state === 'Established') {
      const fault = resetFault(ErrorCode.Cease, Cease.MaxPrefixes, `more than ${max} prefixes`);
      peer.session.handle({ kind: 'refuse', fault }, this.#clock.now());
    }
  }

  #onRefresh(peer: Peer, refresh: RouteRefresh): void {
    const family = familyNamed(refresh.afi, refresh.safi);
    const out = peer.outbound.find((o) => unicast(o.rib.family) === family);
    // RFC 7313 §5: what was not agreed, or has an unknown subtype, is ignored.
    if (family === undefined || out === undefined) return;
    if (refresh.subtype === 0) out.refresh = 'due';
    else if (peer.session.negotiated?.enhancedRefresh !== true) return;
    else if (refresh.subtype === 1) peer.retention.refreshBegins(family, this.#clock.now());
    else if (refresh.subtype === 2) peer.retention.refreshEnds(family);
  }

  /** What a peer's retention does to its routes. */
  #retentionOf(peer: Peer): RetentionHost {
    const of = (act: (peer: Peer, rib: Rib) => void) => (family: FamilyName) => {
      const rib = this.#allRibs().find((r) => unicast(r.family) === family);
      if (rib !== undefined) act(peer, rib);
    };
    return {
      markStale: of(markStale),
      makeLongLived: of((p, rib) => makeLongLived(p, rib, this.#attrs)),
      sweep: of(sweepStale),
      drop: of(dropRoutes),
    };
  }

  /** RFC 4724 §4.1: whether selection may begin after our restart. */
  #isDeferring(): boolean {
    const deferral = this.#deferral;
    if (deferral === undefined) return false;
    if (!this.#isStarted || !deferral.isOver(this.#byName.values(), this.#clock.now())) return true;
    this.#deferral = undefined;
    this.#isSettling = true;
    return false;
  }

  /** Decide, forward, tell: as much as one turn allows. */
  #work(): void {
    if (this.#isWorking) return;
    this.#isWorking = true;
    this.#revalidation?.step(REVALIDATION_BUDGET, (rib, route) => {
      const peer = this.#peers[rib.routes.peerOf[route]!];
      if (peer?.importFilter.asksRoa === true) reconsiderRoute(peer, rib, route, this.#import);
    });
    if (!this.#isDeferring()) this.#spread();
    this.#attrs.sweep();
    this.#isWorking = false;
    this.onActivity();
  }

  #spread(): void {
    for (const rib of this.#allRibs()) {
      if (rib.loc.pending === 0) continue;
      const batch = this.#batches[rib.family];
      rib.loc.process(DECISION_BUDGET, (id, routeChanged, wayChanged) => {
        if (wayChanged) batch.add(id, rib.loc.wayNumber(id));
        if (!routeChanged) return;
        for (const peer of this.#byName.values()) {
          for (const out of peer.outbound) if (out.rib === rib) out.adjRibOut.touch(id);
        }
      });
      if (batch.count === 0) continue;
      this.#options.sink.apply(batch);
      batch.clear();
    }
    for (const peer of this.#byName.values()) {
      if (!peer.hasWork) continue;
      peer.pull(EXPORT_BUDGET, this.#peers);
      this.#switchboard.pump(peer);
    }
    if (!this.#isSettling || this.#allRibs().some((rib) => rib.loc.pending > 0)) return;
    this.#isSettling = false;
    this.#options.sink.settled?.();
  }
}

/** RFC 4271 §9.1.2.2 (g): order of the peers' addresses; the uplink tells equal link-local ones apart. */
function comparePeers(a: Peer | undefined, b: Peer | undefined): number {
  const x = a?.config.address;
  const y = b?.config.address;
  if (x === undefined || y === undefined) return (x === undefined ? 0 : 1) - (y === undefined ? 0 : 1);
  return (
    x.family - y.family ||
    (x.a0 >>> 0) - (y.a0 >>> 0) ||
    (x.a1 >>> 0) - (y.a1 >>> 0) ||
    (x.a2 >>> 0) - (y.a2 >>> 0) ||
    (x.a3 >>> 0) - (y.a3 >>> 0) ||
    a!.index - b!.index
  );
}
