/**
 * The composition root of the kernel backend: the host's network as uplinks want it, the programs that choose for sockets, and
 * what follows them (health, processes, cgroups, names). Carries no packet: when it is killed, what it has made stays in
 * force, and the next start goes on with it.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConfigChange } from '../config/diff.ts';
import type { Config } from '../config/model.ts';
import type { Answers, Verbs } from '../control/messages.ts';
import { pathsIn, type SocketPaths } from '../control/paths.ts';
import { type Client, claimFolder } from '../control/server.ts';
import { cgroupMount, GroupCgroups, NamedCgroups } from '../kernel/cgroups.ts';
import { HostNetwork } from '../kernel/host-network.ts';
import { claimInstance, type Instance } from '../kernel/instance.ts';
import { peerPid } from '../kernel/peer-pid.ts';
import { type KernelPolicy, Programs } from '../kernel/programs.ts';
import { countSockets, destroySockets } from '../kernel/sockets.ts';
import { undoKernelBackend } from '../kernel/takedown.ts';
import type { UplinkState } from '../kernel/uplink.ts';
import { Addr } from '../lib/addr.ts';
import { systemClock, wallClockMs } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { systemReason } from '../lib/reason.ts';
import { VERSION } from '../lib/version.ts';
import type { HealthState } from '../uplink/health.ts';
import { ControlRoom, type OwnVerbs } from './control-room.ts';
import type { Upstream } from './dns-upstream.ts';
import { resolveBeside } from './endpoint-names.ts';
import { ownAddresses } from './host-interfaces.ts';
import { HostTunnels } from './host-tunnels.ts';
import { interfaceCounters } from './host-uplinks.ts';
import { KernelEndpoints } from './kernel-endpoints.ts';
import { KernelNames } from './kernel-names.ts';
import { hostUplinksOf, type KernelPlan, kernelPlanOf, kernelPolicyOf, upstreamsBeside, wayOf } from './kernel-plan.ts';
import { KernelRouting } from './kernel-routing.ts';
import { type KernelSample, kernelStatusOf } from './kernel-status.ts';
import { KernelTunnels } from './kernel-tunnels.ts';
import { ProcessTracker } from './process-tracker.ts';
import { RateSamples } from './rate-samples.ts';
import { hostNameServers, upstreamNameServers } from './resolv-conf.ts';
import { noUplink } from './unknown-uplink.ts';
import { UplinkWatch } from './uplink-watch.ts';

const TICK_MS = 1000;
/** How long a start waits for the host's resolver. */
const RESOLVE_MS = 2000;

export class KernelDaemon {
  /** Exit status, when everything is down. */
  readonly ended: Promise<number>;
  /** It has been ordered to stop: what ends it from now on does what was asked for. */
  onOrdered: () => void = () => undefined;
  readonly #control: ControlRoom;
  readonly #paths: SocketPaths;
  readonly #log: Logger;
  readonly #startedAt = systemClock.now();
  readonly #routing: KernelRouting;
  readonly #watch: UplinkWatch;
  readonly #tunnels: KernelTunnels;
  readonly #hostTunnels: HostTunnels;
  readonly #endpoints: KernelEndpoints;
  #plan: KernelPlan;
  #end: (status: number) => void = () => undefined;
  #isStopping = false;
  #isChanging = false;
  /** Something of the host has been changed. */
  #hasBegun = false;
  #instance!: Instance;
  #host: HostNetwork | undefined;
  #programs: Programs | undefined;
  #groups!: GroupCgroups;
  #named: NamedCgroups | undefined;
  #processes: ProcessTracker | undefined;
  #names: KernelNames | undefined;
  #ticking: NodeJS.Timeout | undefined;
  readonly #samples = new RateSamples(() => this.#sample());
  /** The policy in force. */
  #told: KernelPolicy | undefined;

  /**
   * @param folder where the sockets live
   * @param load reads the configuration again
   * @throws MlshimError BACKEND_UNAVAILABLE for what this backend does not do
   */
  constructor(config: Config, folder: string, log: Logger, load: () => Promise<Config>) {
    const carryOut = (next: Config, changes: readonly ConfigChange[]): Promise<void> => this.#carryOut(next, changes);
    const routing = (): KernelRouting['client'] => this.#routing.client;
    this.#control = new ControlRoom(config, { routing, load, carryOut, pidOf: peerPid }, log);
    this.#paths = pathsIn(folder);
    this.#log = log;
    this.#plan = kernelPlanOf(config);
    this.#watch = new UplinkWatch({
      onState: (name, state, reason) => this.#uplinkState(name, state, reason),
    });
    this.#hostTunnels = new HostTunnels(log.for('wg'));
    this.#tunnels = new KernelTunnels(
      this.#hostTunnels,
      (name, isAlive) => this.#watch.tunnelState(name, isAlive),
      log.for('wg'),
    );
    this.#endpoints = new KernelEndpoints(
      {
        resolve: (uplink, host) => resolveBeside(host, () => this.#serversFor(uplink)),
        moved: () => void this.#endpointMoved(),
      },
      log.for('wg'),
    );
    this.#routing = new KernelRouting(
      {
        input: (plan = this.#plan) => ({
          plan,
          states: this.#states,
          own: ownAddresses(),
          firstTable: this.#instance.firstTable,
        }),
        control: () => this.#control,
        gaveUp: () => void this.fail(),
      },
      log,
    );
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  get #config(): Config {
    return this.#plan.config;
  }

  get #states(): readonly UplinkState[] {
    return this.#host?.states() ?? [];
  }

  /** A worker of it was to end and has not. */
  get hangs(): boolean {
    return this.#routing.hangs;
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Resolves when everything serves. @throws MlshimError; then `abort` undoes what was done */
  async start(): Promise<{ readonly shim: string; readonly control: string }> {
    const release = await claimFolder(this.#paths);
    try {
      const mount = cgroupMount();
      if (mount === undefined) throw new MlshimError('BACKEND_UNAVAILABLE', 'no cgroup v2 hierarchy is mounted');
      this.#hasBegun = true;
      this.#instance = claimInstance(this.#paths.folder);
      this.#groups = new GroupCgroups(mount, this.#instance.name);
      const { folder } = this.#paths;
      this.#host = new HostNetwork({ folder, log: this.#log.for('host'), tunnels: this.#hostTunnels });
      await this.#findEndpoints(this.#config);
      await this.#applyNetwork(this.#plan);
      await this.#routing.start();
      const programs = await Programs.load({ pinDir: this.#instance.pinDir, cgroup: mount });
      this.#programs = programs;
      this.#watchUplinks();
      this.#follow(programs, mount);
      this.#tellPolicy();
      await this.#names!.served;
      this.#names!.tick(); // or queries of the first second would pass it by
      await programs.attach();
      this.#host.watch(() => this.#hostChanged());
      this.#hostChanged();
      this.#ticking = setInterval(() => this.#tick(), TICK_MS);
      this.#routing.serve();
      await this.#control.listen(this.#paths.control, this.#ownVerbs());
      return { shim: '', control: this.#paths.control };
    } finally {
      release();
    }
  }

  /** What decides besides rules: cgroups, programs of processes, names. */
  #follow(programs: Programs, mount: string): void {
    this.#named = new NamedCgroups(
      mount,
      ({ id, path }) => programs.setCgroup(id, path, undefined),
      (id) => programs.removeCgroup(id),
    );
    this.#processes = new ProcessTracker(programs, this.#log.for('processes'));
    this.#names = new KernelNames(programs, this.#namesInput(), this.#log.for('dns'));
    programs.onDnsClasses = () => this.#names!.classesChanged();
    this.#followPlan();
  }

  /** What the rules ask about processes is followed, and nothing else. */
  #followPlan(): void {
    const programs = this.#programs!;
    const matches = this.#plan.rules.map((r) => r.match);
    for (const group of groupsOf(this.#plan)) {
      const { id, path } = this.#groups.ensure(group);
      programs.setCgroup(id, path, group);
    }
    this.#named!.configure([...new Set(matches.flatMap((m) => m.cgroups))]);
    if (matches.some((m) => m.apps.length > 0 || m.groups.length > 0)) this.#processes!.start();
    else this.#processes!.close();
    this.#names!.configure(this.#namesInput());
  }

  #namesInput(): ConstructorParameters<typeof KernelNames>[1] {
    const servers = hostNameServers().flatMap((s) => Addr.parse(s) ?? []);
    return { plan: this.#plan, loads: this.#watch.ways, states: this.#states, servers };
  }

  /** What the host's network is to be, and which tunnels are then to be looked at. */
  async #applyNetwork(plan: KernelPlan): Promise<void> {
    const uplinks = this.#hostUplinks(plan);
    await this.#host!.apply(uplinks);
    this.#tunnels.configure(uplinks.filter((u) => u.kind === 'wireguard'));
  }

  #hostUplinks(plan: KernelPlan): ReturnType<typeof hostUplinksOf> {
    return hostUplinksOf(plan, this.#instance.firstTable, (uplink, peer) => this.#endpoints.of(uplink, peer));
  }

  // ---- Endpoints of tunnels

  /** What is not known in time comes later. */
  async #findEndpoints(config: Config): Promise<void> {
    await Promise.race([this.#endpoints.adopt(config), sleep(RESOLVE_MS, undefined, { ref: false })]);
  }

  async #endpointMoved(): Promise<void> {
    // Before the network is set up it needs no change, and a change in progress ends with this.
    if (this.#isStopping || this.#isChanging || this.#states.length === 0) return;
    await this.#host!.renew(this.#hostUplinks(this.#plan));
  }

  /** Name servers to ask for endpoints of a tunnel. */
  #serversFor(tunnel: string): readonly Upstream[] {
    const name = this.#host?.underlayOf(tunnel);
    const uplink = this.#config.uplinks.find((u) => u.name === name);
    const state = this.#states.find((s) => s.name === name);
    const servers = upstreamNameServers().flatMap((s) => Addr.parse(s) ?? []);
    return upstreamsBeside(uplink && { uplink, state }, servers);
  }

  // ---- Uplinks

  #watchUplinks(): void {
    const states = this.#states;
    this.#watch.configure(
      this.#config.uplinks.map((u) => {
        const state = states.find((s) => s.name === u.name);
        return {
          name: u.name,
          way: wayOf(state, u),
          probe: u.probe,
          isUp: state?.isUp ?? false,
          capacity: u.bandwidth ?? 0,
        };
      }),
    );
  }

  /** Rules, groups and uplinks as they are now, in one step. */
  #tellPolicy(): void {
    const programs = this.#programs;
    if (programs === undefined) return;
    const policy = kernelPolicyOf(this.#plan, this.#states, ownAddresses());
    const told = this.#told;
    if (isEqual(policy, told)) return;
    const isOfSame = told !== undefined && isEqual(policy, { ...told, ownAddresses: policy.ownAddresses });
    if (isOfSame) programs.setOwnAddresses(policy.ownAddresses);
    else programs.setPolicy(policy);
    this.#told = policy;
    for (const [i, way] of this.#watch.ways.entries()) programs.setUsable(i, way.isUsable, way.carries);
  }

  /** Interfaces, addresses or routes of the host have changed. */
  #hostChanged(): void {
    if (this.#isChanging) return;
    for (const { name, isUp } of this.#states) {
      this.#watch.linkState(name, isUp);
      this.#routing.linkState(name, isUp);
    }
    this.#tellPolicy();
    this.#names?.configure(this.#namesInput());
  }

  #uplinkState(name: string, state: HealthState, reason: string): void {
    this.#log.info(`uplink ${name} is ${state}: ${reason}`);
    this.#tellUsable(name);
    if (state === 'down') this.#endFlows(name);
  }

  #tellUsable(name: string): void {
    const i = this.#config.uplinks.findIndex((u) => u.name === name);
    const way = this.#watch.ways[i];
    if (way !== undefined) this.#programs?.setUsable(i, way.isUsable, way.carries);
  }

  /** Sockets of an uplink that is down end now, so that apps connect again elsewhere. */
  #endFlows(name: string): void {
    const uplink = this.#config.uplinks.find((u) => u.name === name);
    if (uplink?.whenDown !== 'reset') return;
    const choice = this.#socketsOf(name);
    if (choice === undefined) return;
    try {
      const ended = destroySockets(choice);
      if (ended > 0) this.#log.info('flows of an uplink that is down were ended', { uplink: name, flows: ended });
    } catch (e) {
      this.#log.warn('cannot end the flows of an uplink that is down', { uplink: name, why: systemReason(e) });
    }
  }

  #socketsOf(name: string): Parameters<typeof destroySockets>[0] | undefined {
    const source = this.#config.uplinks.find((u) => u.name === name)?.host?.source;
    if (source !== undefined) return { source };
    const device = this.#states.find((s) => s.name === name)?.bindDevice;
    return device === undefined ? undefined : { device };
  }

  #tick(): void {
    const { devices } = this.#sample();
    for (const { name, interface: device } of this.#states) {
      const c = device === undefined ? undefined : devices.get(device);
      if (c !== undefined) this.#watch.counted(name, c.rxBytes + c.txBytes);
    }
    void this.#tunnels.look().then(() => this.#endpoints.look(this.#tunnels.states));
    this.#programs?.measured(this.#watch.ways);
    this.#names?.tick();
  }

  #sample(): KernelSample {
    return { atMs: systemClock.now(), devices: interfaceCounters(readFileSync('/proc/self/net/dev', 'latin1')) };
  }

  // ---- Reload

  /** @throws MlshimError when it cannot be; all is as it was then */
  async #carryOut(next: Config, changes: readonly ConfigChange[]): Promise<void> {
    const before = this.#plan;
    const plan = kernelPlanOf(next, before);
    await this.#findEndpoints(next);
    this.#isChanging = true; // what the network says meanwhile is of the next plan, which is not in force yet
    try {
      await this.#applyNetwork(plan); // or the network is as it was
      await this.#routing.change(changes, plan).catch(async (e: unknown) => {
        await this.#applyNetwork(before);
        throw e;
      });
      this.#plan = plan;
    } finally {
      this.#isChanging = false;
      this.#endpoints.retain(this.#config);
      await this.#endpointMoved();
    }
    this.#watchUplinks();
    this.#tellPolicy();
    this.#followPlan();
    for (const group of this.#groups.groups) {
      if (groupsOf(plan).has(group)) continue;
      this.#programs!.removeCgroup(this.#groups.ensure(group).id);
      this.#groups.remove(group);
    }
    this.#hostChanged();
  }

  // ---- End

  /** Undo everything and end. */
  async stop(reason: string): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.onOrdered();
    this.#log.info('stopping', { reason });
    await this.#routing.stop(reason);
    await this.#takeDown();
    this.#log.info('stopped');
    this.#end(0);
  }

  /** There is nothing to wait for here: a stop is on its way. */
  stopNow(): void {}

  /** Undo a start that failed. */
  async abort(): Promise<void> {
    this.#isStopping = true;
    await this.#routing.terminate();
    await this.#takeDown();
  }

  /** End, and leave what is in force. */
  async fail(): Promise<void> {
    await this.#leave('a part of the router ended', 1);
  }

  async #leave(reason: string, status: number): Promise<void> {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (status === 0) this.onOrdered();
    this.#log.info('stopping; what was set up stays in force', { reason });
    await this.#routing.terminate();
    this.#close();
    this.#end(status);
  }

  async #takeDown(): Promise<void> {
    this.#close();
    if (this.#hasBegun) await undoKernelBackend(this.#paths.folder, this.#log);
  }

  #close(): void {
    clearInterval(this.#ticking);
    this.#control.close();
    this.#watch.close();
    this.#names?.close();
    this.#named?.close();
    this.#processes?.close();
    this.#host?.close();
    void this.#hostTunnels.end();
    this.#programs?.close();
  }

  // ---- Control

  #ownVerbs(): OwnVerbs {
    return {
      status: () => this.#status(),
      bfd_show: () => this.#routing.bfdShow(),
      wg_show: ({ device }) => this.#tunnels.show(device, this.#config.uplinks),
      uplink_drain: (args) => this.#drain(args),
      join_group: ({ group }, client) => this.#join(group, client),
      capture: (_, stream) => {
        stream.end();
        throw new MlshimError(
          'BACKEND_UNAVAILABLE',
          "the kernel carries the packets: capture them with the host's tcpdump",
        );
      },
      down: ({ keep }) => {
        return this.#control.stopping(() => {
          if (keep) void this.#leave('mlshim down --keep', 0);
          else void this.stop('mlshim down');
        });
      },
    };
  }

  /** Move who asks, and so what it starts, into the cgroup of a group. */
  #join(group: string, { pid }: Client): Answers['join_group'] {
    if (!groupsOf(this.#plan).has(group)) return {}; // no rule asks who is of it
    if (pid === undefined) throw new MlshimError('INTERNAL', 'the kernel does not say who asks');
    this.#groups.join(group, pid);
    return {};
  }

  #drain({ uplink, drained }: Verbs['uplink_drain']): Answers['uplink_drain'] {
    if (!this.#watch.drain(uplink, drained)) throw noUplink(uplink, this.#config.uplinks);
    this.#tellUsable(uplink);
    this.#log.info(drained ? 'uplink drained' : 'uplink takes flows again', { uplink });
    return {};
  }

  async #status(): Promise<Answers['status']> {
    const { before, now } = await this.#samples.pair();
    const { uplinks } = this.#config;
    return kernelStatusOf({
      version: VERSION,
      pid: process.pid,
      uptimeS: (systemClock.now() - this.#startedAt) / 1000,
      isDraining: this.#isStopping,
      configFile: this.#config.file,
      revertsInS: this.#control.reloader.revertsInS,
      uplinks,
      indexOf: (name) => this.#routing.linkOf(name),
      states: this.#states,
      ways: this.#watch.report(),
      own: ownAddresses(),
      now,
      before,
      counters: this.#programs!.counters(),
      rules: this.#plan.rules.map((r) => r.name),
      flows: new Map(uplinks.map((u) => [u.name, this.#countFlows(u.name)])),
      mtuOf,
      tunnels: this.#tunnels.states,
      endpointErrors: (uplink) => this.#endpoints.errorsOf(uplink),
      wallClockMs: wallClockMs(),
      routing: await this.#routing.client.summary(),
      routingRestart: this.#routing.restart,
    });
  }

  #countFlows(name: string): number {
    const choice = this.#socketsOf(name);
    try {
      return choice === undefined ? 0 : countSockets(choice);
    } catch (e) {
      this.#log.debug('cannot count sockets', { uplink: name, why: systemReason(e) });
      return 0;
    }
  }
}

/** Groups that rules name. */
function groupsOf({ rules }: KernelPlan): ReadonlySet<string> {
  return new Set(rules.flatMap((r) => r.match.groups));
}

function mtuOf(device: string): number {
  try {
    return Number(readFileSync(`/sys/class/net/${device}/mtu`, 'latin1'));
  } catch {
    return 0;
  }
}
