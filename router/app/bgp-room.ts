/** The BGP speaker in the routing worker: its peers from the configuration, its ports, its answers to questions. */
import { hostname } from 'node:os';
import {
  drive,
  type PeerConfig,
  type RouteFunction,
  Speaker,
  type SpeakerEvent,
  type SpeakerSettings,
} from '../../bgp/speaker.ts';
import type { BirdCommand } from '../birdctl/command.ts';
import { type BgpConfig, type BgpPeerConfig, followsDn42 } from '../config/bgp-model.ts';
import type { Answers } from '../control/messages.ts';
import type { FibWriter } from '../fib/writer.ts';
import type { Addr, Family } from '../lib/addr.ts';
import { type Instant, systemClock, wallClockMs } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { Random, systemEntropy } from '../lib/rand.ts';
import type { BfdReport } from './bfd-status.ts';
import { BgpAnswers } from './bgp-answers.ts';
import { type BfdWatcher, BgpBfd } from './bgp-bfd.ts';
import { BgpLinks } from './bgp-links.ts';
import { BgpLog } from './bgp-log.ts';
import { BgpMonitoring } from './bgp-monitoring.ts';
import {
  birdFactsOf,
  changeableSettings,
  hostLink,
  hostZone,
  isHostLink,
  linkOf,
  MRT_LINK,
  peerConfigOf,
  rangeConfigOf,
  replaysOf,
  speakerSettings,
} from './bgp-peers.ts';
import type { StreamPort } from './bgp-transport.ts';
import { BgpWatch, type WatchPort } from './bgp-watch.ts';
import { BirdAnswers, type BirdFacts, type BirdPart, type BirdPosition } from './bird-answers.ts';
import { Dn42Latency, type PingPort } from './dn42-latency.ts';
import { HostBfd } from './host-bfd.ts';
import type { HostEndpoint } from './host-listener.ts';
import { refusedSegments, requireSignatures, zoned } from './host-socket.ts';
import { KernelTransport, SplitTransport } from './kernel-transport.ts';
import { MrtTransport } from './mrt-transport.ts';
import { RibToFib } from './rib-to-fib.ts';
import type { RoutingLink, RoutingTakeover, RoutingVrf } from './routing-protocol.ts';
import { RpkiRoom } from './rpki-room.ts';
import { schedule, speakerTurnEnds } from './turns.ts';
import { setUplinks, type UplinkTransport, uplinkTransport } from './uplink-transport.ts';
import { VrfSpeakers } from './vrf-speakers.ts';

const DEFAULT_VRF = 0;
/** How long a Cease may take to leave. */
const GOODBYE_MS = 1000;
/** Within this time recursive next hops are looked up again, ROAs are applied, and routes of VRFs are imported. */
const FOLLOW_MS = 500;

export interface BgpRoomOptions {
  readonly settings: BgpConfig;
  /** VRFs besides the default one. */
  readonly vrfs: readonly RoutingVrf[];
  readonly links: readonly RoutingLink[];
  readonly fib: FibWriter;
  readonly log: Logger;
  /** Called after each batch of routes has reached the FIB. */
  readonly changed: () => void;
  /** Told to those who watch. */
  readonly events: WatchPort['tell'];
  /** Streams of our stack in the VRF of this number. */
  readonly streams: (vrf: number) => StreamPort;
  readonly watcher: BfdWatcher;
  readonly ping: PingPort;
  /** The source address our packets to a destination carry in a VRF. */
  readonly sourceTo: (vrf: number, dst: Addr) => Addr | undefined;
  /** The functions of the filter module. */
  readonly filters: ReadonlyMap<string, RouteFunction>;
  /** A worker ended before this one, and its FIB forwards on (RFC 4724 §4.1). */
  readonly restart: RoutingTakeover | undefined;
  /** A session is established, or no longer is. */
  readonly session: (peer: string, isUp: boolean) => void;
}

/** What a room goes over to. */
export type BgpReload = Pick<BgpRoomOptions, 'settings' | 'vrfs' | 'links' | 'filters'>;

export class BgpRoom {
  readonly #transport: UplinkTransport;
  readonly #vrfs: VrfSpeakers;
  readonly #hostTransport: KernelTransport;
  readonly #mrtTransport: MrtTransport;
  readonly #monitoring: BgpMonitoring;
  readonly #hostBfd: HostBfd;
  readonly bfd: BgpBfd;
  readonly answers: BgpAnswers;
  /** Tells those who watch. */
  readonly watch: BgpWatch;
  #settings: BgpConfig;
  #filters: ReadonlyMap<string, RouteFunction>;
  /** Those of all VRFs. */
  #allLinks: readonly RoutingLink[];
  readonly #links: BgpLinks;
  readonly #speaker: Speaker;
  readonly #rpki: RpkiRoom;
  readonly #bird: BirdAnswers;
  #reconfiguredMs = wallClockMs();
  readonly #latency: Dn42Latency;
  readonly #peerLog: BgpLog;
  #stopDriving: () => void = () => undefined;
  #hasSelected = false;
  /** When nothing more was to come that is told by others. */
  #settledAt: Instant | undefined;

  /** @throws MlshimError CONFIG_INVALID when a peer names a function that is not there, NO_TCP_MD5 */
  constructor(o: BgpRoomOptions) {
    const { settings, vrfs, links, fib, log, changed, streams, watcher, sourceTo, filters } = o;
    requireSignatures(signedOnHost(settings));
    this.#settings = settings;
    this.#filters = filters;
    this.#allLinks = [...links];
    this.#links = new BgpLinks(DEFAULT_VRF, links, fib, (dst) => sourceTo(DEFAULT_VRF, dst));
    const jitter = new Random(randomSeed());
    const onError = ({ address, port, zone, device }: HostEndpoint, why: string): void => {
      const where = device === undefined ? { address: zoned(address, zone) } : { device };
      log.error('cannot listen as configured', { ...where, port, why, code: 'B103' });
    };
    this.#transport = uplinkTransport({
      vrf: DEFAULT_VRF,
      links,
      listenPort: settings.listenPort,
      port: streams(DEFAULT_VRF),
      localOn: (link, remote) => this.#links.localOn(link, remote),
      onError,
    });
    this.#hostTransport = new KernelTransport({
      listen: settings.hostListen,
      links: { linkOf: hostLink, zoneOf: hostZone },
      onError,
    });
    this.#mrtTransport = new MrtTransport(replaysOf(settings));
    const random = (): number => (jitter.int32() >>> 0) / 2 ** 32;
    this.#rpki = new RpkiRoom(settings.rpki, this.#transport, random, log.for('rpki'), (roas) => {
      this.#speaker.revalidate(roas);
      this.#vrfs.revalidate(roas);
    });
    this.#latency = new Dn42Latency(o.ping, (peer, latency) => {
      log.info('latency of a link', { peer: peer.name, community: `64511:${latency}` });
      const { import: imports, export: exports } = this.#peerConfig(peer);
      this.#speaker.setPolicies(peer.name, {
        ...(imports !== undefined && { import: imports }),
        ...(exports !== undefined && { export: exports }),
      });
    });
    this.#latency.setPeers(this.#inMain(settings.peers), settings.dn42.latencyWindowS);
    this.watch = new BgpWatch({
      tell: o.events,
      best: (prefix) => this.#speaker.page({ kind: 'best', prefix }, undefined, (r) => r).routes[0],
      wallClockMs,
    });
    this.#peerLog = new BgpLog(log, systemClock);
    const onEvent = (e: SpeakerEvent): void => {
      this.watch.onSession(e);
      if (e.kind === 'state' && (e.to === 'Established') !== (e.from === 'Established'))
        o.session(e.peer, e.to === 'Established');
      this.#peerLog.tell(e);
    };
    const restarting = o.restart && { keptForwarding: true, peers: new Set(o.restart.peers) };
    this.#vrfs = new VrfSpeakers({
      settings,
      vrfs,
      links,
      fib,
      random,
      filters,
      roas: this.#rpki.table,
      port: streams,
      onError,
      sourceTo,
      changed,
      onEvent,
      restarting,
      wake: () => this.#speaker.onActivity(),
    });
    const toFib = new RibToFib(
      fib,
      (name) => this.#links.indexOf(name),
      () => {
        changed();
        this.#mainChanged();
      },
    );
    this.#speaker = new Speaker({
      asn: settings.asn,
      routerId: settings.routerId,
      clock: systemClock,
      turnEnds: speakerTurnEnds,
      transport: new SplitTransport(this.#transport, [this.#hostTransport, this.#mrtTransport], (link) =>
        isHostLink(link) ? this.#hostTransport : link === MRT_LINK ? this.#mrtTransport : undefined,
      ),
      random,
      roas: this.#rpki.table,
      prefixes: (family) => fib.prefixes(DEFAULT_VRF, family),
      sink: {
        apply: (batch) => {
          toFib.apply(batch);
          this.watch.onRoutes(batch);
        },
        settled: () => {
          this.#hasSelected = true;
        },
      },
      resolver: this.#links,
      networks: settings.networks,
      aggregates: settings.aggregates,
      ...speakerSettings(settings),
      ...(restarting !== undefined && { restarting }),
      onEvent,
      vpn: this.#vrfs.room,
    });
    this.#monitoring = new BgpMonitoring(settings, this.#speaker, this.#vrfs.monitored(), hostname(), log);
    this.#hostBfd = new HostBfd({
      random: () => (jitter.int32() >>> 0) / 2 ** 32,
      links: { linkOf: hostLink, zoneOf: hostZone },
      onChange: (change) => this.bfd.changed(change),
      onError: (where, why) => log.error("bfd cannot use the host's socket", { where, why, code: 'B103' }),
    });
    this.bfd = new BgpBfd(
      watcher,
      this.#hostBfd,
      (peer) => this.#vrfs.speakerOf(peer) ?? this.#speaker,
      log.for('bfd'),
    );
    this.#speaker.reconfigure(this.#wanted());
    this.#links.onRenumbered = () => toFib.forget();
    this.#links.isRecursive = (prefix) => this.#speaker.isRecursive(prefix);
    this.answers = new BgpAnswers({
      settings: () => this.#settings,
      speaker: this.#speaker,
      vrfs: this.#vrfs,
      rpki: this.#rpki,
      latency: this.#latency,
      bfdOf: (peer) => this.bfd.stateOf(peer),
    });
    this.#bird = new BirdAnswers(this.#birdFacts());
  }

  /** Routes of others than BGP have changed: next hops may be found by them. */
  tableChanged(): void {
    this.#mainChanged();
    if (!this.#peerLog.isStopping) this.#vrfs.tableChanged();
  }

  #mainChanged(): void {
    const { peers, ranges } = this.#settings;
    if (!this.#peerLog.isStopping && [...peers, ...ranges].some((p) => looksUp(p, this.#settings)))
      this.#links.tableChanged();
  }

  /** The streams of a VRF. */
  transport(vrf: number): UplinkTransport {
    return this.#vrfs.transport(vrf) ?? this.#transport;
  }

  start(): void {
    this.#monitoring.start();
    this.#rpki.start();
    for (const peer of this.#settings.peers) this.#watch(peer);
    this.#speaker.start();
    this.#vrfs.start();
    this.#stopDriving = drive(this.#speaker, systemClock, schedule);
  }

  /** Cease with a reason people can read (RFC 9003), then wait until it has left. */
  async stop(reason: string): Promise<void> {
    this.bfd.stop();
    await this.#leave((speaker) => speaker.shutdown(reason));
  }

  /** Make way for another worker, as for a restart (RFC 4724 §4.1), and wait until what there was to say has left. */
  async handOver(): Promise<void> {
    this.bfd.handOver();
    await this.#leave((speaker) => speaker.abandon());
  }

  async #leave(end: (speaker: Speaker) => void): Promise<void> {
    this.#peerLog.isStopping = true;
    this.#links.stop();
    this.#rpki.stop();
    this.#latency.stop();
    end(this.#speaker);
    this.#stopDriving();
    const streams = [this.#transport, this.#hostTransport].map((t) => t.finished(GOODBYE_MS));
    await Promise.all([...streams, this.#vrfs.stop(end, GOODBYE_MS)]);
    this.#mrtTransport.close();
    await this.#monitoring.stop();
    await this.#hostTransport.close();
    if (this.#transport instanceof KernelTransport) await this.#transport.close();
  }

  /** After a restart: routes are selected, ROAs are read, and what is found through other routes has been found. */
  checkSettled(): boolean {
    if (!this.#hasSelected || !this.#vrfs.isSettled || this.#rpki?.isSettled === false) return false;
    this.#settledAt ??= systemClock.now();
    return systemClock.now() - this.#settledAt >= FOLLOW_MS;
  }

  /** VPN routes held from peers, and those that VRFs would import if their label were implicit null. */
  get counters(): Readonly<Record<string, number>> {
    const { counts, labelled } = this.#vrfs.room;
    return { vpn_routes: counts.learned, vpn_routes_labelled: labelled };
  }

  /** BFD sessions that run over the host's sockets; all others run in the data plane. */
  get hostBfd(): BfdReport {
    return this.#hostBfd.show();
  }

  /** What the host's sockets cannot do for its peers, in words. */
  get hostFaults(): string[] {
    const own = this.#transport instanceof KernelTransport ? this.#transport.faults : [];
    return [...own, ...this.#hostTransport.faults, ...this.#hostBfd.faults];
  }

  /** What the host's kernel has refused, where a peer of its sockets is secured. */
  get hostCounters(): Readonly<Record<string, number>> {
    const { peers, ranges } = this.#settings;
    const isSecured = [...peers, ...ranges].some((p) => p.host && (p.password !== undefined || p.ttlSecurity));
    return isSecured ? refusedSegments() : {};
  }

  /** Watch a peer's path if that is wanted. */
  #watch(p: BgpPeerConfig): void {
    if (p.bfd === undefined) return;
    const { intervalMs, multiplier, multihop, auth } = p.bfd;
    const link = linkOf(p);
    const local = p.localAddress ?? (p.host ? undefined : this.#links.localOn(link, p.address));
    const intervalUs = Math.round(intervalMs * 1000);
    this.bfd.watch(
      p.name,
      { remote: p.address, local, link, multihop, byAddress: p.host && p.zone === undefined },
      { minTxUs: intervalUs, minRxUs: intervalUs, multiplier, auth },
      p.host,
    );
  }

  #peerConfig(peer: BgpPeerConfig, settings = this.#settings, filters = this.#filters): PeerConfig {
    return peerConfigOf(peer, settings, this.#addressOn, filters, this.#latency.of(peer.name)?.class);
  }

  readonly #addressOn = (link: string, family: Family): Addr | undefined => this.#links.addressOn(link, family);

  /** Peers or ranges of the main table: their uplink belongs to it, or they have none. */
  #inMain<P extends { readonly via: string | undefined }>(all: readonly P[], links: BgpLinks = this.#links): P[] {
    return all.filter((p) => p.via === undefined || links.has(p.via));
  }

  /** What the main table's speaker is to be told. @throws MlshimError CONFIG_INVALID for functions that are not there */
  #wanted(settings = this.#settings, filters = this.#filters): SpeakerSettings {
    return {
      networks: settings.networks,
      aggregates: settings.aggregates,
      ...changeableSettings(settings),
      peers: this.#inMain(settings.peers).map((p) => this.#peerConfig(p, settings, filters)),
      ranges: this.#inMain(settings.ranges).map((p) => rangeConfigOf(p, settings, this.#addressOn, filters)),
    };
  }

  /**
   * Go over to other settings: what does not differ notices nothing, and a session begins anew only where its OPEN or its
   * connection does.
   * @param links all links from now on
   * @throws MlshimError CONFIG_INVALID, NO_TCP_MD5, before anything has changed
   */
  reload({ settings, vrfs, links, filters }: BgpReload): void {
    // Links that come are not known yet, and what only their addresses decide can be no mistake.
    this.#speaker.check(this.#wanted(settings, filters));
    this.#vrfs.check({ settings, filters });
    requireSignatures(signedOnHost(settings));
    const before = this.#settings;
    this.#settings = settings;
    this.#filters = filters;
    this.#reconfiguredMs = wallClockMs();
    // Goodbyes leave before their uplinks do.
    const renewed = this.#mrtTransport.setReplays(replaysOf(settings));
    for (const { name, isRange, vrf } of this.#gone(before, settings, links)) {
      const speaker = vrf === DEFAULT_VRF ? this.#speaker : this.#vrfs.numbered(vrf)!;
      if (isRange) speaker.removeRange(name);
      else speaker.removePeer(name);
    }
    for (const name of renewed) this.#speaker.removePeer(name, 'changed');
    this.#allLinks = [...links];
    this.#links.setLinks(links);
    setUplinks(this.#transport, DEFAULT_VRF, links, settings.listenPort);
    this.#latency.setPeers(this.#inMain(settings.peers), settings.dn42.latencyWindowS);
    this.#rpki.reload(settings.rpki);
    const begun = [
      ...this.#speaker.reconfigure(this.#wanted()),
      ...this.#vrfs.reload({ settings, vrfs, links, filters }),
    ];
    // Passwords of new peers are known by now: a listener has them from before it listens.
    this.#hostTransport.setEndpoints(settings.hostListen);
    this.#watchAgain(before, begun);
    this.#monitoring.reload(settings, this.#vrfs.monitored());
  }

  /** Peers and ranges that are gone from the VRF they were in. */
  #gone(before: BgpConfig, after: BgpConfig, links: readonly RoutingLink[]) {
    const vrfOn = (via: string | undefined, of: readonly RoutingLink[]): number =>
      of.find((l) => l.name === via)?.vrf ?? DEFAULT_VRF;
    const placesOf = ({ peers, ranges }: BgpConfig, of: readonly RoutingLink[]) =>
      [...peers, ...ranges].map((p) => ({ name: p.name, isRange: 'range' in p, vrf: vrfOn(p.via, of) }));
    const now = placesOf(after, links);
    return placesOf(before, this.#allLinks).filter((p) => !now.some((n) => isEqual(n, p)));
  }

  /** BFD with those who want it, as they want it now. @param begun peers whose sessions ask for its state again */
  #watchAgain(before: BgpConfig, begun: readonly string[]): void {
    const pathOf = (p: BgpPeerConfig) => [p.address, p.via, p.host, p.zone, p.localAddress, p.bfd?.multihop];
    const { peers } = this.#settings;
    for (const was of before.peers) {
      const now = peers.find((p) => p.name === was.name);
      if (now?.bfd === undefined || !isEqual(pathOf(now), pathOf(was))) this.bfd.unwatch(was.name);
    }
    for (const peer of peers) {
      const was = before.peers.find((p) => p.name === peer.name);
      if (begun.includes(peer.name) || !isEqual(peer.bfd, was?.bfd)) this.#watch(peer);
    }
  }

  linkState(name: string, up: boolean): void {
    this.#latency.linkState(name, up);
    this.#links.linkState(name, up);
    this.#vrfs.linkState(name, up);
  }

  /**
   * Where ROAs come from, and how many there are; after `refresh`, what came of it.
   * @throws MlshimError USAGE for another action, UNKNOWN when there is nothing to refresh, TIMEOUT when a source is silent
   */
  async rpki(action: string): Promise<Answers['bgp_rpki']> {
    if (action !== '' && action !== 'refresh') throw new MlshimError('USAGE', `"${action}" is not "refresh"`);
    if (action === '') return this.#rpki.show(this.#speaker.revalidated);
    if (!this.#rpki.isConfigured) throw new MlshimError('UNKNOWN', 'bgp.rpki is not configured');
    const failed = await this.#rpki.refresh();
    return this.#rpki.show(this.#speaker.revalidated, failed);
  }

  /** What `status` judges; undefined where ROAs play no part. */
  rpkiSummary(): Answers['bgp_rpki'] | undefined {
    const isNeeded = this.#settings.peers.some((p) => followsDn42(p.importPolicy));
    return isNeeded || this.#rpki.isConfigured ? this.#rpki.show(this.#speaker.revalidated) : undefined;
  }

  /** A neighbour has answered an echo request. */
  pong(id: number, rttUs: number | undefined): void {
    this.#latency.answered(id, rttUs);
  }

  /** The reply to a command of BIRD's control socket, or its next part. */
  bird(command: BirdCommand, from: BirdPosition | undefined): BirdPart {
    return this.#bird.answer(command, from);
  }

  #birdFacts(): BirdFacts {
    return {
      speaker: this.#speaker,
      factsOf: (name) => birdFactsOf(name, this.#settings),
      networks: () => this.#settings.networks.map((n) => n.prefix),
      wallClockMs,
      startedMs: wallClockMs(),
      reconfiguredMs: () => this.#reconfiguredMs,
    };
  }
}

/** Names of the peers over the host's sockets that have a password. */
function signedOnHost({ peers, ranges }: BgpConfig): string[] {
  return [...peers, ...ranges].filter((p) => p.host && p.password !== undefined).map((p) => p.name);
}

function randomSeed(): number {
  return new DataView(systemEntropy(4).buffer).getInt32(0);
}

/** Whether next hops of the peer may have to be found in the forwarding table. */
function looksUp(p: { readonly via: string | undefined; readonly asn: unknown }, { asn }: BgpConfig): boolean {
  return p.via === undefined || p.asn === asn || p.asn === 'internal';
}
