/**
 * Policy inside the data plane: what is known of an app and its flow goes to router/uplink's rules, and what they answer to
 * the sockets; probes go out through each uplink, and flows of one that fails are ended. Runs in the data-plane worker.
 */
import { flowHash, mix32 } from '../fib/hash.ts';
import type { Addr } from '../lib/addr.ts';
import type { Instant, Tick } from '../lib/clock.ts';
import { isEqual } from '../lib/equal.ts';
import type { HostWay } from '../lib/host-way.ts';
import type { Random } from '../lib/rand.ts';
import type { Hub } from '../shimlink/hub.ts';
import type { PolicyPort } from '../shimlink/policy-port.ts';
import { E, IPPROTO_ICMP, IPPROTO_ICMPV6 } from '../shimlink/proto.ts';
import type { SockAddr } from '../shimlink/sockaddr.ts';
import { TcpState } from '../tcp/settings.ts';
import { Families, familiesOf } from '../uplink/balancer.ts';
import { probeEvent } from '../uplink/health.ts';
import { type FlowQuery, Policy } from '../uplink/policy.ts';
import { NO_PORT } from '../uplink/port-table.ts';
import type { ProbeResult } from '../uplink/probe.ts';
import { Way } from '../uplink/way.ts';
import { Admissions } from './admissions.ts';
import type { DataplaneProbes } from './dataplane-probe.ts';
import type { FromDataplane, PolicySettings, PolicyUplink, UplinkReport } from './dataplane-protocol.ts';
import { factsOf, ProcessTable } from './process-facts.ts';

/** How often traffic is measured for balancers. */
const MEASURE_MS = 1000;

/** A host uplink. */
interface HostState {
  readonly way: HostWay;
  /** None while it is down. */
  addresses: readonly Addr[];
}

/** A flow that asks, filled anew each time. */
class Question implements FlowQuery {
  processClass = 0;
  protocol = 0;
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  port = 0;
  from: Addr | undefined;
  flowHash = 0;
  targetHash = 0;
  kept: number | undefined;
  families: number = Families.Any;
}

export interface PolicyParts {
  readonly hub: Hub;
  readonly probes: DataplaneProbes;
  readonly tick: Tick;
  readonly random: Random;
  readonly post: (m: FromDataplane) => void;
  /** Octets an uplink has carried so far, both directions. */
  readonly octetsOf: (link: number) => number;
}

export class DataplanePolicy implements PolicyPort {
  readonly #o: PolicyParts;
  readonly #question = new Question();
  readonly #admissions = new Admissions();
  #policy: Policy | undefined;
  #classes: ProcessTable<number> | undefined;
  /** By the index that groups name. */
  #ways: Way<PolicyUplink>[] = [];
  /** Host uplinks by link, with what the main thread told of them. */
  #hosts = new Map<number, HostState>();
  /** Addresses of the host where it has uplinks, by their last word. */
  #own: ReadonlyMap<number, readonly Addr[]> = new Map();
  #nowMs = 0;
  #lastMs: number;
  #measuredMs = 0;
  link = 0;
  vrf = 0;
  generation = 0;
  hasDomains = false;

  constructor(o: PolicyParts) {
    this.#o = o;
    this.#lastMs = o.tick.ms;
  }

  /** Go over to other rules, groups and uplinks. What is known of an uplink that stays is kept. */
  configure(s: PolicySettings): void {
    const now = this.#now();
    const before = new Map(this.#ways.map((w) => [w.spec.name, w]));
    this.#hosts = hostsOf(s.uplinks, this.#hosts);
    this.#ways = s.uplinks.map((spec) => {
      const known = before.get(spec.name);
      if (known === undefined || !isEqual(identityOf(known.spec), identityOf(spec))) {
        const way = new Way(spec, this.#isLinkUp(spec.link), now);
        way.isDrained = known?.isDrained ?? false;
        return way;
      }
      known.spec = spec;
      return known;
    });
    for (const w of before.values()) if (!this.#ways.includes(w)) w.cancelProbe();
    for (const w of this.#ways) w.families = w.spec.families ?? familiesOf(this.#hosts.get(w.spec.link)!.addresses);
    const names = this.#policy?.names;
    this.#policy = s.rules.length === 0 ? undefined : new Policy(s.rules, s.groups, this.#ways, this.#o.random, names);
    const policy = this.#policy;
    this.#classes = policy && new ProcessTable((pid) => policy.classOf(factsOf(pid)));
    this.generation = (this.generation + 1) | 0;
    this.hasDomains = policy?.hasDomains ?? false;
    this.#o.hub.policy = policy === undefined && this.#hosts.size === 0 ? undefined : this;
    this.#act();
  }

  // ---- Decisions

  choose(
    pid: number,
    socket: number,
    protocol: number,
    to: SockAddr,
    from: SockAddr | undefined,
    kept: number,
  ): number {
    this.link = 0;
    this.vrf = 0;
    const policy = this.#policy;
    const { stack } = this.#o.hub;
    if (policy === undefined || stack.links.local(0, 0, to.a0, to.a1, to.a2, to.a3) !== 0) return 0;
    this.#measureIfDue();
    const q = this.#question;
    q.processClass = this.#classes!.of(pid);
    q.protocol = protocol;
    q.d0 = to.a0;
    q.d1 = to.a1;
    q.d2 = to.a2;
    q.d3 = to.a3;
    q.port = protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6 ? NO_PORT : to.port;
    q.from = from?.toAddr();
    const before = kept === 0 ? -1 : this.#ways.findIndex((w) => w.spec.link === kept && w.carries);
    q.kept = before < 0 ? undefined : before;
    q.families = to.isV4 ? Families.V4 : Families.V6;
    this.#hash(q, socket, from);
    policy.decide(q);
    switch (policy.kind) {
      case 'uplink': {
        const way = this.#ways[policy.uplink]!;
        way.decisions++;
        this.link = way.spec.link;
        this.vrf = stack.links.byIndex(this.link)?.vrf ?? 0;
        return 0;
      }
      case 'vrf':
        this.vrf = policy.vrf;
        return 0;
      case 'reject':
        return E.EACCES;
      case 'no-uplink':
        return E.ENETUNREACH;
      case 'default':
        return 0;
    }
  }

  chooseForName(pid: number, name: string, protocol: number | undefined, port: number | undefined): number {
    this.link = 0;
    this.vrf = 0;
    const policy = this.#policy;
    if (policy === undefined) return 0;
    const hash = hashOfText(name);
    policy.decideName(
      this.#classes!.of(pid),
      { name, protocol, port },
      { flowHash: hash, targetHash: hash, families: Families.Any },
    );
    if (policy.kind === 'uplink') this.link = this.#ways[policy.uplink]!.spec.link;
    return policy.kind === 'no-uplink' ? E.ENETUNREACH : 0;
  }

  /** The port of ours is chosen later; the socket stands for it, so that each is a flow of its own. */
  #hash(q: Question, socket: number, from: SockAddr | undefined): void {
    const seed = this.#o.hub.stack.core.flowSeed;
    const { d0, d1, d2, d3 } = q;
    const own = from !== undefined && from.port !== 0 ? from.port : mix32(socket);
    q.flowHash = flowHash(
      from?.a0 ?? 0,
      from?.a1 ?? 0,
      from?.a2 ?? 0,
      from?.a3 ?? 0,
      d0,
      d1,
      d2,
      d3,
      q.protocol,
      Math.imul(own, 65537) ^ q.port,
      seed,
    );
    q.targetHash = flowHash(0, 0, 0, 0, d0, d1, d2, d3, 0, 0, seed);
  }

  hostWayOf(link: number): HostWay | undefined {
    return this.#hosts.get(link)?.way;
  }

  isHostOwn(to: SockAddr): boolean {
    for (const a of this.#own.get(to.a3) ?? []) if (a.a0 === to.a0 && a.a1 === to.a1 && a.a2 === to.a2) return true;
    return false;
  }

  hostLinkOfDevice(name: string): number {
    for (const [link, { way }] of this.#hosts) if (way.device === name) return link;
    return 0;
  }

  hostLinkOfAddress(address: SockAddr): number {
    if (this.#hosts.size === 0) return 0;
    const a = address.toAddr();
    // An address of an interface that an uplink names is bound to that, whoever else has it for a source.
    let found = 0;
    for (const [link, { way, addresses }] of this.#hosts)
      if ((found === 0 || way.device !== undefined) && addresses.some((own) => own.equals(a))) found = link;
    return found;
  }

  hostFlowBegan(link: number, pid: number, inode: number): void {
    this.#o.post({ kind: 'host-flow', link, pid, inode });
  }

  isToAdmitUs(pid: number): boolean {
    return this.#admissions.isDue(pid);
  }

  carries(link: number): boolean {
    for (const w of this.#ways) if (w.spec.link === link) return w.carries;
    return false;
  }

  /** A name server said that `name` has this address. */
  learned(name: string, addr: Addr): void {
    this.#policy?.names.learn(name, addr, 0, this.#now());
  }

  // ---- Uplinks

  linkState(link: number, isUp: boolean): void {
    const now = this.#now();
    for (const w of this.#ways) if (w.spec.link === link) w.health.handle({ kind: 'link', isUp }, now);
    this.#act();
  }

  tunnelState(link: number, isAlive: boolean): void {
    const now = this.#now();
    for (const w of this.#ways) if (w.spec.link === link) w.health.handle({ kind: 'tunnel', isAlive }, now);
    this.#act();
  }

  hostState(link: number, addresses: readonly Addr[]): void {
    const host = this.#hosts.get(link);
    if (host === undefined) return;
    host.addresses = addresses;
    for (const w of this.#ways) if (w.spec.link === link) w.families = familiesOf(addresses);
    this.linkState(link, addresses.length > 0);
  }

  /** The addresses of all interfaces of the host; none while no uplink is one of the host. */
  hostOwn(addresses: readonly Addr[]): void {
    const own = new Map<number, Addr[]>();
    for (const a of addresses) own.set(a.a3, [...(own.get(a.a3) ?? []), a]);
    this.#own = own;
  }

  /** Told about once per second. */
  hostOctets(octets: ReadonlyMap<number, number>): void {
    const now = this.#now();
    for (const [link, n] of octets) {
      for (const w of this.#ways) if (w.spec.link === link && w.spec.host !== undefined) w.meter.sample(n, now);
    }
  }

  get hostFamilies(): ReadonlySet<4 | 6> {
    const families = new Set<4 | 6>();
    for (const { addresses } of this.#hosts.values()) for (const a of addresses) families.add(a.family);
    return families;
  }

  /** Take an uplink out by hand, or put it back; flows that use it go on. @returns whether there is one of this name */
  drain(name: string, isDrained: boolean): boolean {
    const way = this.#ways.find((w) => w.spec.name === name);
    if (way === undefined) return false;
    way.isDrained = isDrained;
    return true;
  }

  /** Once per turn. */
  tick(): void {
    const now = this.#measureIfDue();
    const due = this.#probesDueAt();
    if (due === undefined || due > now) return;
    for (const w of this.#ways) w.health.tick(now);
    this.#act();
  }

  /** Milliseconds until `tick` has work, -1 = never. */
  dueInMs(): number {
    const due = this.#probesDueAt() ?? Number.POSITIVE_INFINITY;
    // Rates fall while nothing happens: without another look the last burst would count until the next one.
    const isMoving = this.#policy !== undefined && this.#ways.some((w) => w.meter.isActive);
    const next = isMoving ? Math.min(due, this.#measuredMs + MEASURE_MS) : due;
    return next === Number.POSITIVE_INFINITY ? -1 : Math.max(0, next - this.#now());
  }

  #probesDueAt(): number | undefined {
    let due: number | undefined;
    for (const w of this.#ways) {
      const d = w.health.deadline();
      if (d !== undefined && (due === undefined || d < due)) due = d;
    }
    return due;
  }

  #measureIfDue(): Instant {
    const now = this.#now();
    if (now - this.#measuredMs < MEASURE_MS) return now;
    this.#measuredMs = now;
    for (const w of this.#ways) if (w.spec.host === undefined) w.meter.sample(this.#o.octetsOf(w.spec.link), now);
    this.#policy?.names.expire(now);
    if (this.#policy !== undefined) for (const i of this.#policy.groups.keys()) this.#policy.balancer(i).measured();
    return now;
  }

  #act(): void {
    for (const way of this.#ways)
      for (let a = way.health.poll(); a !== undefined; a = way.health.poll()) {
        if (a.kind === 'probe') this.#probe(way, a.probe, a.target);
        else if (a.kind === 'give-up') way.cancelProbe();
        else {
          if (a.state === 'down') {
            way.failures++;
            this.#endFlows(way.spec);
          }
          this.#o.post({ kind: 'uplink-state', name: way.spec.name, state: a.state, reason: a.reason });
        }
      }
  }

  #probe(way: Way<PolicyUplink>, probe: number, target: number): void {
    const { name, link, host, probe: settings } = way.spec;
    if (host !== undefined) {
      this.#o.post({ kind: 'host-probe', uplink: name, probe, target });
      way.cancelProbe = () => this.#o.post({ kind: 'host-probe-end', uplink: name });
      return;
    }
    let isSending = true;
    way.cancelProbe = this.#o.probes.send(link, settings!.question, settings!.targets[target]!, (result) => {
      way.health.handle(probeEvent(probe, result), this.#now());
      // What fails at once is told while it is being sent: `#act` is at work then.
      if (!isSending) this.#act();
    });
    isSending = false;
  }

  /** What became of a probe that the main thread sent. */
  hostProbed(uplink: string, probe: number, result: ProbeResult): void {
    const way = this.#ways.find((w) => w.spec.name === uplink);
    way?.health.handle(probeEvent(probe, result), this.#now());
    this.#act();
  }

  /** What rules sent through an uplink that is down ends now, so that the app connects again elsewhere. */
  #endFlows(spec: PolicyUplink): void {
    if (!spec.endsFlows) return;
    for (const s of this.#o.hub.sockets.values()) if (s.chosenLink === spec.link && s.fd >= 0) s.abandon();
  }

  #isLinkUp(link: number): boolean {
    const host = this.#hosts.get(link);
    if (host !== undefined) return host.addresses.length > 0;
    return this.#o.hub.stack.links.byIndex(link)?.link.isUp ?? false;
  }

  #now(): Instant {
    const { ms } = this.#o.tick;
    this.#nowMs += (ms - this.#lastMs) | 0;
    this.#lastMs = ms;
    return this.#nowMs as Instant;
  }

  // ---- Figures

  report(): UplinkReport[] {
    const flows = new Map<number, number>();
    for (const c of this.#o.hub.stack.tcpDemux) {
      if (c.state === TcpState.TimeWait) continue;
      const link = c.link?.index ?? 0;
      flows.set(link, (flows.get(link) ?? 0) + 1);
    }
    return this.#ways.map((w) => ({
      name: w.spec.name,
      state: w.health.state,
      isDrained: w.isDrained,
      isUsable: w.isUsable,
      isProbed: w.spec.probe !== undefined && this.#isLinkUp(w.spec.link),
      ...w.quality,
      decisions: w.decisions,
      failures: w.failures,
      peak: w.peak,
      flows: flows.get(w.spec.link) ?? 0,
    }));
  }

  /** Flows by what decided them. */
  counters(): Record<string, number> {
    const { counters, rules } = this.#policy ?? {};
    if (counters === undefined) return {};
    const all: Record<string, number> = {
      policy_unmatched: counters.unmatched,
      policy_rejected: counters.rejected,
      policy_no_uplink: counters.noUplink,
      policy_passed_over: counters.passedOver,
    };
    for (const [i, n] of counters.rules.entries()) all[`policy_rule_${rules![i]!.name}`] = n;
    return all;
  }
}

/** What an uplink is: another one starts anew, with its health unknown. */
function identityOf({ link, probe, host }: PolicyUplink): unknown {
  return { link, probe, host };
}

/** What is known of a host uplink that stays the same is kept. */
function hostsOf(uplinks: readonly PolicyUplink[], before: ReadonlyMap<number, HostState>): Map<number, HostState> {
  const hosts = new Map<number, HostState>();
  for (const { link, host } of uplinks) {
    if (host === undefined) continue;
    const known = before.get(link);
    const isSame = known !== undefined && isEqual(known.way, host);
    hosts.set(link, isSame ? known : { way: host, addresses: [] });
  }
  return hosts;
}

function hashOfText(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = mix32(hash ^ text.charCodeAt(i));
  return hash;
}
