/**
 * The composition root: makes the World, the rings, the workers and the sockets, connects them, and takes them down in
 * order (apps, BGP, data plane, WireGuard child). Runs on the main thread and touches no packet.
 */
import { randomInt } from 'node:crypto';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { formatKey } from '../../wg/keys.ts';
import type { WgDeviceStats } from '../../wg/model.ts';
import type { WgEvent } from '../../wg/supervisor.ts';
import { type ConfigChange, diffConfig, type Effect } from '../config/diff.ts';
import type { Config } from '../config/model.ts';
import type { Answers, Verbs } from '../control/messages.ts';
import { pathsIn, type SocketPaths } from '../control/paths.ts';
import { claimFolder } from '../control/server.ts';
import { undoKernelBackend } from '../kernel/takedown.ts';
import { Addr } from '../lib/addr.ts';
import { systemClock, wallClockMs } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { VERSION } from '../lib/version.ts';
import { World } from '../lib/world.ts';
import { loadNative, type Native, SOCK_SEQPACKET } from '../native/index.ts';
import { type BfdReport, bfdStatus } from './bfd-status.ts';
import { Captures } from './captures.ts';
import { ControlRoom, type OwnVerbs } from './control-room.ts';
import { DataplaneClient } from './dataplane-client.ts';
import type { DataplaneBoot, DataplaneStats, FromDataplane, UplinkReport } from './dataplane-protocol.ts';
import { HostProbes, type ProbedPath } from './host-probes.ts';
import { HostUplinks } from './host-uplinks.ts';
import { type Plan, type PlannedLink, planOf } from './plan.ts';
import { RateSamples } from './rate-samples.ts';
import { hostNameServers } from './resolv-conf.ts';
import type { RoutingClient, RoutingEvent } from './routing-client.ts';
import { RoutingStreams } from './routing-streams.ts';
import { RoutingSupervisor } from './routing-supervisor.ts';
import { type Sample, statusOf } from './status.ts';
import { TunnelHealth } from './tunnel-health.ts';
import { noTunnel, noUplink } from './unknown-uplink.ts';
import { wgPeerStatus } from './wg-status.ts';
import { checked, REGION_BYTES, WireguardChild } from './wireguard.ts';

const PAGE = 65536;
/** Room of the data plane besides its buffers (dataplane-protocol.ts asks for at least 16 MiB). */
const DATAPLANE_EXTRA = 48 << 20;
const SHIM_BACKLOG = 512;
/** Platforms send SIGKILL 30 s after SIGTERM. */
const DRAIN_MS = 25_000;
/** How often it is looked whether what applications left behind has been acknowledged. */
const FLUSH_POLL_MS = 20;
/** States of struct tcp_info in which octets or our FIN are on their way: FIN_WAIT1, LAST_ACK, CLOSING. */
const UNACKNOWLEDGED: readonly number[] = [4, 9, 11];
const BGP_STOP_MS = 2000;
const WORKER_STOP_MS = 1000;
/** How long a link that is taken away still carries what sessions say last. */
const GOODBYE_MS = 200;
/** A child that is not back within this time takes its uplinks down, so that flows move. */
const CHILD_GRACE_MS = 300;
/** How long a start waits for the host's resolver; an uplink whose name is not known by then comes up later. */
const RESOLVE_MS = 2000;

/** What is looked at in the data plane's list of flows. */
interface Flow {
  readonly state: number;
  readonly localPort: number;
  readonly remotePort: number;
}

export class Daemon {
  /** Exit status, when everything is down. */
  readonly ended: Promise<number>;
  /** It has been ordered to stop: what ends it from now on does what was asked for. */
  onOrdered: () => void = () => undefined;
  readonly #control: ControlRoom;
  readonly #paths: SocketPaths;
  readonly #backendReason: string;
  readonly #log: Logger;
  #plan: Plan;
  readonly #startedAt = systemClock.now();
  /** Links that are up, by number. */
  readonly #linksUp = new Set<number>();
  /** Public keys of peers whose endpoint has been found. */
  readonly #resolved = new Set<string>();
  #onEndpoint: (key: string) => void = () => undefined;
  #end: (status: number) => void = () => undefined;
  #hurry: () => void = () => undefined;
  #isStopping = false;
  #childDownTimer: NodeJS.Timeout | undefined;
  #childIsDown = false;
  #native!: Native;
  #hosts: HostUplinks | undefined;
  #wireguard: WireguardChild | undefined;
  #dataplaneWorker: Worker | undefined;
  #dataplane!: DataplaneClient;
  #streams!: RoutingStreams;
  #captures!: Captures;
  readonly #routingSupervisor: RoutingSupervisor;
  readonly #tunnels: TunnelHealth;
  readonly #hostProbes = new HostProbes((name) => this.#probedPath(name));
  readonly #samples = new RateSamples(() => this.#sample());

  /**
   * @param folder where the sockets live
   * @param load reads the configuration again
   * @param backendReason why it is not the kernel that carries flows, for `status`
   */
  constructor(config: Config, folder: string, log: Logger, load: () => Promise<Config>, backendReason = '') {
    this.#backendReason = backendReason;
    const carryOut = (next: Config, changes: readonly ConfigChange[]): Promise<void> => this.#carryOut(next, changes);
    this.#control = new ControlRoom(config, { routing: () => this.#routing, load, carryOut }, log);
    this.#paths = pathsIn(folder);
    this.#log = log;
    this.#plan = planOf(config, hostNameServers());
    this.#routingSupervisor = new RoutingSupervisor(
      {
        boot: () => this.#plan.routing,
        onEvent: (e, client) => this.#onRoutingEvent(e, client),
        toDataplane: (m) => this.#dataplane.send(m),
        closeFd: (fd) => this.#native.close(fd),
        restarted: (client) => this.#routingRestarted(client),
        gaveUp: () => this.#workerLost(),
      },
      log.for('routing'),
    );
    const linkOf = (device: number): number | undefined =>
      this.#plan.links.find((l) => l.spec.device === device)?.spec.index;
    this.#tunnels = new TunnelHealth({
      changed: (device, isAlive) => {
        const index = linkOf(device);
        if (index !== undefined) this.#dataplane.send({ kind: 'tunnel-state', index, isAlive });
      },
      wake: (device) => void this.#wireguard?.supervisor.wake(device),
    });
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get #config(): Config {
    return this.#control.config;
  }

  get #routing(): RoutingClient {
    return this.#routingSupervisor.client;
  }

  /** A worker of it was to end and has not. */
  get hangs(): boolean {
    return this.#routingSupervisor.hangs;
  }

  /** It has been told to stop. */
  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Resolves when everything serves. @throws MlshimError; then `abort` undoes what was done */
  async start(): Promise<{ readonly shim: string; readonly control: string }> {
    this.#native = loadNative();
    const release = await claimFolder(this.#paths);
    try {
      await undoKernelBackend(this.#paths.folder, this.#log);
      const arenaAt = PAGE + REGION_BYTES;
      const world = new World(arenaAt + this.#config.bufferBytes + DATAPLANE_EXTRA);
      this.#native.attachWorld(world.u8);
      const fib = await this.#routingSupervisor.start();
      const wireguard = new WireguardChild(
        this.#native,
        world,
        PAGE,
        this.#log.for('wg'),
        (e) => this.#onWgEvent(e),
        (devices) => this.#onWgStats(devices),
      );
      this.#wireguard = wireguard;
      await this.#startDataplane(world, arenaAt, fib);
      this.#dataplane.send(wireguard.attachment);
      for (const { spec } of this.#plan.links) this.#dataplane.send({ kind: 'link-add', link: spec });
      await wireguard.supervisor.start();
      await Promise.all(this.#plan.links.map((l) => wireguard.addDevice(l)));
      await Promise.race([this.#endpointsKnown(), sleep(RESOLVE_MS, undefined, { ref: false })]);
      this.#setLinks(true);
      const hosts = new HostUplinks(this.#native, (m) => this.#dataplane.send(m), this.#log.for('host'));
      this.#hosts = hosts;
      hosts.configure(this.#plan.hosts);
      this.#routing.send({ kind: 'start' });
      this.#routingSupervisor.serve();
      await this.#control.listen(this.#paths.control, this.#ownVerbs());
      return { shim: this.#paths.shim, control: this.#paths.control };
    } finally {
      release();
    }
  }

  /** Make the difference between the running configuration and `next`. @throws MlshimError when it cannot be; all is as it was then */
  async #carryOut(next: Config, changes: readonly ConfigChange[]): Promise<void> {
    const before = this.#plan;
    const plan = planOf(next, hostNameServers(), before);
    await this.#changeRouting(plan, changes); // or nothing has changed
    try {
      await this.#changeLinks(before.links, changes);
    } catch (e) {
      this.#log.error('cannot load the configuration: going back', { error: wordsOf(e) });
      const back = diffConfig(next, this.#config);
      await this.#changeRouting(before, back)
        .then(() => this.#changeLinks(plan.links, back))
        .catch((worse) => this.#log.error('cannot go back', { error: wordsOf(worse) }));
      throw e;
    }
    this.#dataplane.send({ kind: 'settings', settings: plan.settings });
    this.#hosts?.configure(plan.hosts);
  }

  /** @throws MlshimError when it cannot be; nothing has changed then */
  async #changeRouting(plan: Plan, changes: readonly ConfigChange[]): Promise<void> {
    const taken = (): void => {
      this.#plan = plan;
    };
    if (changes.some((c) => c.effect === 'routing')) await this.#routingSupervisor.replace(plan.routing, taken);
    else await this.#routing.reload(plan.routing).then(taken);
  }

  /** Add, change and remove links, as the plan has them. */
  async #changeLinks(before: readonly PlannedLink[], changes: readonly ConfigChange[]): Promise<void> {
    const { links } = this.#plan;
    const changed = (l: PlannedLink, effect?: Effect): boolean =>
      changes.some(
        (c) => c.path.startsWith(`uplinks.${l.spec.name}.`) && (effect === undefined || c.effect === effect),
      );
    const added = links.filter((l) => !has(before, l));
    const removed = before.filter((l) => !has(links, l));
    const restarted = links.filter((l) => has(before, l) && changed(l, 'uplink'));
    const wireguard = this.#wireguard!;
    for (const l of restarted) this.#setLink(l, false);
    for (const { spec } of [...restarted, ...added]) {
      // One that is added may be there, half removed by a change that failed.
      this.#dataplane.send({ kind: 'link-remove', index: spec.index });
      this.#dataplane.send({ kind: 'link-add', link: spec });
    }
    for (const l of links) {
      if (!wireguard.has(l)) await wireguard.addDevice(l);
      else if (changed(l) || added.includes(l)) await wireguard.setDevice(l);
    }
    for (const l of [...restarted, ...added]) this.#setLink(l, !this.#childIsDown);
    if (removed.length === 0) return;
    this.#routingSupervisor.hurry(); // a FIB of before leads there still
    await sleep(GOODBYE_MS); // what its sessions say last leaves by it
    for (const l of removed) {
      this.#linksUp.delete(l.spec.index);
      this.#dataplane.send({ kind: 'link-remove', index: l.spec.index });
      if (wireguard.has(l)) await wireguard.supervisor.removeDevice(l.spec.device);
    }
  }

  /** Resolves when every endpoint that is a name has an address: packets sent before would be lost. */
  #endpointsKnown(): Promise<void> {
    const names = this.#plan.links
      .flatMap((l) => l.tunnel.peers)
      .filter((p) => p.endpoint !== undefined && !isAddress(p.endpoint.host));
    const missing = new Set(names.map((p) => formatKey(p.publicKey)));
    for (const key of this.#resolved) missing.delete(key);
    if (missing.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onEndpoint = (key) => {
        missing.delete(key);
        if (missing.size === 0) resolve();
      };
    });
  }

  /** Stop accepting, let the applications finish, take everything down. */
  async stop(reason: string, drainMs = DRAIN_MS): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.onOrdered();
    this.#routingSupervisor.retire();
    this.#log.info('stopping', { reason });
    const hurry = new Promise<void>((resolve) => {
      this.#hurry = resolve;
    });
    const limit = sleep(drainMs, undefined, { ref: false });
    await Promise.race([this.#drained(drainMs), hurry, limit]);
    this.#routing.send({ kind: 'stop', reason });
    await Promise.race([this.#routing.stopped, hurry, sleep(BGP_STOP_MS, undefined, { ref: false })]);
    await this.#takeDown();
    this.#log.info('stopped');
    this.#end(0);
  }

  /** The applications have closed their sockets, and what they sent before has arrived. */
  async #drained(withinMs: number): Promise<void> {
    await this.#dataplane.request({ kind: 'drain' }).reply;
    for (const end = systemClock.now() + withinMs; systemClock.now() < end; await sleep(FLUSH_POLL_MS)) {
      const { result } = await this.#dataplane.request({ kind: 'flows' }).reply;
      const flows = (result ?? []) as readonly Flow[];
      if (!flows.some((f) => UNACKNOWLEDGED.includes(f.state) && !this.#isBgp(f))) return;
    }
  }

  /** Our own sessions end after the applications, and a peer that is gone must not hold the stop up. */
  #isBgp(f: Flow): boolean {
    const { bgp } = this.#config;
    const ports = bgp === undefined ? [] : [bgp.listenPort, ...bgp.peers.map((p) => p.port)];
    return ports.includes(f.localPort) || ports.includes(f.remotePort);
  }

  /** The second order to stop: do not wait for applications. */
  stopNow(): void {
    this.#hurry();
  }

  /** Undo a start that failed. */
  async abort(): Promise<void> {
    this.#isStopping = true;
    await this.#takeDown();
  }

  /**
   * End by a fault of our own. The data plane sleeps in the kernel, where no exit wakes it: it has to be told, or it is waited
   * for for ever.
   */
  fail(): Promise<void> {
    return this.abort();
  }

  async #takeDown(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#childDownTimer);
    this.#hosts?.close();
    this.#hostProbes.close();
    this.#control.reloader.stop();
    const worker = this.#dataplaneWorker;
    if (worker !== undefined) {
      const gone = new Promise((resolve) => worker.once('exit', resolve));
      this.#dataplane.send({ kind: 'stop' });
      await Promise.race([gone, sleep(WORKER_STOP_MS, undefined, { ref: false })]);
      await worker.terminate();
      rmSync(this.#paths.shim, { force: true });
    }
    await this.#routingSupervisor.stop();
    await this.#wireguard?.supervisor.close();
    this.#control.close();
  }

  async #startDataplane(world: World, arenaAt: number, fib: unknown): Promise<void> {
    const native = this.#native;
    const wakeFd = checked(native.eventfd(), 'eventfd');
    const boot: DataplaneBoot = {
      memory: world.memory,
      arenaAt,
      wakeFd,
      shimFd: checked(
        native.unixListen(this.#paths.shim, SOCK_SEQPACKET, SHIM_BACKLOG),
        `listen on ${this.#paths.shim}`,
      ),
      session: randomInt(1, 0x7fffffff),
      fib,
      settings: this.#plan.settings,
    };
    const worker = new Worker(new URL('./dataplane.js', import.meta.url), { workerData: boot });
    this.#dataplaneWorker = worker;
    this.#dataplane = new DataplaneClient(worker, native, wakeFd, (e) => this.#onDataplaneEvent(e));
    this.#captures = new Captures(
      this.#dataplane,
      () => this.#plan.links,
      () => this.#config.uplinks,
    );
    this.#streams = new RoutingStreams({
      dataplane: this.#dataplane,
      routing: () => this.#routing,
      closeFd: (fd) => native.close(fd),
      log: this.#log.for('bgp'),
    });
    const log = this.#log.for('dataplane');
    worker.on('error', (e) => log.error('worker failed', { error: e.stack ?? e.message }));
    worker.on('exit', (code) => {
      this.#dataplane.abandon();
      if (!this.#isStopping) log.error('worker ended', { code });
      this.#workerLost();
    });
    await Promise.race([this.#dataplane.ready, failure(worker, 'data plane')]);
  }

  /** A worker that is not followed by another takes the daemon with it: applications read a reset, none hangs. */
  #workerLost(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    void this.#takeDown().then(() => this.#end(1));
  }

  #routingRestarted(client: RoutingClient): void {
    this.#streams.restarted();
    for (const { spec } of this.#plan.links)
      client.send({ kind: 'link-state', index: spec.index, up: this.#linksUp.has(spec.index) });
    this.#control.restarted(client);
    client.send({ kind: 'start' });
  }

  #setLinks(up: boolean): void {
    for (const link of this.#plan.links) this.#setLink(link, up);
  }

  #setLink({ spec: { index } }: PlannedLink, up: boolean): void {
    if (up) this.#linksUp.add(index);
    else this.#linksUp.delete(index);
    this.#dataplane.send({ kind: 'link-state', index, up });
    this.#routing.send({ kind: 'link-state', index, up });
    if (!up) this.#routingSupervisor.hurry();
  }

  #onWgEvent(e: WgEvent): void {
    if (this.#isStopping) return;
    if (e.kind === 'endpoint') {
      this.#resolved.add(formatKey(e.publicKey));
      this.#onEndpoint(formatKey(e.publicKey));
    } else if (e.kind === 'down') {
      clearTimeout(this.#childDownTimer);
      this.#childDownTimer = setTimeout(() => {
        this.#childIsDown = true;
        this.#setLinks(false);
      }, CHILD_GRACE_MS);
    } else if (e.kind === 'restarted') {
      clearTimeout(this.#childDownTimer);
      if (this.#childIsDown) this.#setLinks(true);
      this.#childIsDown = false;
    }
  }

  /** Rules alone ask whether an uplink can be used. */
  #onWgStats(devices: readonly WgDeviceStats[]): void {
    const isWanted = this.#config.policy.rules.length > 0 || this.#tunnels.hasDead;
    if (!this.#isStopping && isWanted) this.#tunnels.observe(devices);
  }

  /** How an uplink is probed that is a path of the host. */
  #probedPath(name: string): ProbedPath | undefined {
    const uplink = this.#config.uplinks.find((u) => u.name === name);
    if (uplink?.host === undefined || uplink.probe === undefined) return undefined;
    return { way: { device: uplink.host.interface, source: uplink.host.source }, probe: uplink.probe };
  }

  #onDataplaneEvent(e: Exclude<FromDataplane, { readonly kind: 'reply' }>): void {
    switch (e.kind) {
      case 'log':
        this.#log.for(e.component)[e.level](e.message);
        break;
      case 'accepted':
        this.#streams.accepted(e);
        break;
      case 'uplink-state':
        this.#log.info(`uplink ${e.name} is ${e.state}: ${e.reason}`);
        if (e.state === 'down') this.#endHostFlows(e.name);
        break;
      case 'host-flow':
        this.#hosts?.flowBegan(e.link, e.pid, e.inode);
        break;
      case 'host-probe':
        this.#hostProbes.send(e.uplink, e.target, (result) =>
          this.#dataplane.send({ kind: 'host-probed', uplink: e.uplink, probe: e.probe, result }),
        );
        break;
      case 'host-probe-end':
        this.#hostProbes.cancel(e.uplink);
        break;
      case 'bfd-change':
        this.#routing.send(e);
        // RFC 5882 §4.3: a path that breaks during a restart ends it.
        if (e.change.from === 'Up' && !e.change.isRemoteAdminDown) this.#routingSupervisor.hurry();
        break;
      case 'captured':
        this.#captures.captured(e);
        break;
      case 'ready':
        break;
    }
  }

  /** What the data plane does itself for flows of its own stack. */
  #endHostFlows(name: string): void {
    const uplink = this.#plan.hosts.find((h) => h.name === name);
    const { whenDown } = this.#config.uplinks.find((u) => u.name === name) ?? {};
    if (uplink !== undefined && whenDown === 'reset') this.#hosts?.endFlows(uplink);
  }

  /** @param client the worker that tells it: answers go nowhere else */
  #onRoutingEvent(e: RoutingEvent, client: RoutingClient): void {
    switch (e.kind) {
      case 'bgp-events':
        this.#control.tellWatchers(e.events, e.lost);
        break;
      case 'log':
        this.#log.for(e.component)[e.level](e.message, e.fields);
        break;
      case 'ping': {
        const { reply } = this.#dataplane.request({ kind: 'ping', remote: e.remote, link: e.link });
        void reply.then(({ result }) => {
          const rttUs = (result as { rttUs?: number } | undefined)?.rttUs;
          client.send({ kind: 'pong', id: e.id, rttUs });
        });
        break;
      }
      case 'stream-connect':
      case 'stream-listen':
      case 'stream-secure':
      case 'stream-unlisten':
        this.#streams.ask(e, client);
        break;
    }
  }

  #ownVerbs(): OwnVerbs {
    return {
      status: () => this.#status(),
      bfd_show: () => this.#bfdShow(),
      wg_show: (args) => this.#wgShow(args),
      uplink_drain: (args) => this.#drainUplink(args),
      capture: (args, stream) => this.#captures.begin(args, stream),
      join_group: () => {
        throw new MlshimError('USAGE', 'groups are known by MLSHIM_GROUP with the user-space backend');
      },
      down: () => this.#control.stopping(() => void this.stop('mlshim down')),
    };
  }

  async #drainUplink({ uplink, drained }: Verbs['uplink_drain']): Promise<Answers['uplink_drain']> {
    const { result } = await this.#dataplane.request({ kind: 'drain-uplink', name: uplink, isDrained: drained }).reply;
    if ((result as { readonly found: boolean } | undefined)?.found !== true)
      throw noUplink(uplink, this.#config.uplinks);
    this.#log.info(drained ? 'uplink drained' : 'uplink takes flows again', { uplink });
    return {};
  }

  async #ways(): Promise<readonly UplinkReport[]> {
    const { result } = await this.#dataplane.request({ kind: 'uplinks' }).reply;
    const flows = this.#hosts?.flows();
    return ((result as readonly UplinkReport[] | undefined) ?? []).map((w) => {
      const host = this.#plan.hosts.find((h) => h.name === w.name);
      return host === undefined ? w : { ...w, flows: flows?.get(host.link) ?? 0 };
    });
  }

  async #bfdShow(): Promise<Answers['bfd_show']> {
    const [{ result }, onHost] = await Promise.all([
      this.#dataplane.request({ kind: 'bfd-show' }).reply,
      this.#routing.hostBfd(),
    ]);
    return bfdStatus([...(result === undefined ? [] : [result as BfdReport]), onHost]);
  }

  async #sample(): Promise<Sample> {
    const { result } = await this.#dataplane.request({ kind: 'stats' }).reply;
    if (result === undefined) throw new MlshimError('INTERNAL', 'the data plane does not answer');
    return {
      atMs: systemClock.now(),
      stats: result as DataplaneStats,
      interfaces: this.#hosts?.counters() ?? new Map(),
    };
  }

  async #status(): Promise<Answers['status']> {
    const { before, now } = await this.#samples.pair();
    const [ways, wireguard, routing] = await Promise.all([
      this.#ways(),
      this.#wireguard!.supervisor.get(),
      this.#routing.summary(),
    ]);
    return statusOf({
      version: VERSION,
      pid: process.pid,
      uptimeS: (systemClock.now() - this.#startedAt) / 1000,
      isDraining: this.#isStopping,
      configFile: this.#config.file,
      revertsInS: this.#control.reloader.revertsInS,
      shimSocket: this.#paths.shim,
      backendReason: this.#backendReason,
      links: this.#plan.links,
      hosts: this.#plan.hosts.map((h) => ({ ...h, addresses: this.#hosts?.addressesOf(h.link) ?? [] })),
      order: this.#config.uplinks.map((u) => u.name),
      now,
      before,
      ways,
      wireguard,
      childIsRestarting: this.#childIsDown,
      wallClockMs: wallClockMs(),
      routing,
      routingRestart: this.#routingSupervisor.restart,
    });
  }

  async #wgShow({ device }: Verbs['wg_show']): Promise<Answers['wg_show']> {
    const all = await this.#wireguard!.supervisor.get();
    const chosen = device === '' ? all : all.filter((d) => d.name === device);
    if (chosen.length === 0 && device !== '') throw noTunnel(device, this.#config.uplinks);
    const now = wallClockMs();
    return {
      devices: chosen.map((d) => ({
        name: d.name,
        public_key: formatKey(d.publicKey),
        listen_port: d.listenPort,
        peers: d.peers.map((p) => wgPeerStatus(p, now)),
      })),
    };
  }
}

function has(links: readonly PlannedLink[], l: PlannedLink): boolean {
  return links.some((o) => o.spec.index === l.spec.index);
}

function wordsOf(e: unknown): string {
  return e instanceof Error ? e.message : String(e);
}

/** An IPv6 address may carry a zone. */
function isAddress(host: string): boolean {
  return Addr.parse(host.split('%')[0]!) !== undefined;
}

/** Rejects when the worker ends. */
function failure(worker: Worker, name: string): Promise<never> {
  return new Promise((_, reject) => {
    worker.once('error', (e) => reject(new MlshimError('INTERNAL', `${name}: ${e.message}`)));
    worker.once('exit', () => reject(new MlshimError('INTERNAL', `${name}: ended`)));
  });
}
