/**
 * The programs of policy as the daemon uses them: put in, given a policy, told what changes, taken out. All but `load`, `attach`,
 * `remove` and `probe` is a few calls of bpf(2) and done when it returns.
 *
 * What is pinned outlives this process: running apps keep their policy while no daemon runs, and the next one adopts it. A
 * policy becomes active as a whole (one *generation*, bpf/policy.h); between two of them no socket is without one.
 */
import type { Addr } from '../lib/addr.ts';
import { isEqual } from '../lib/equal.ts';
import { Random } from '../lib/rand.ts';
import { Balancer, Families, type UplinkGroup, type UplinkLoad } from '../uplink/balancer.ts';
import type { ProcessFacts, Rule } from '../uplink/rule.ts';
import { GenerationMaps, IS_LITTLE, type NumberedMap, octetsOf, PinnedMaps } from './kernel-maps.ts';
import { Load, Settings, Total, WAYS, Way, WayCount } from './layout.ts';
import { type Feature, type HookStatus, OBJECTS, runLoader } from './loader.ts';
import { ImageFull, type OwnAddress, PolicyImage } from './policy-image.ts';
import { encodeWay, WayNumbers, type WaySpec } from './ways.ts';

/** An uplink; its index in a policy is the one that groups name. */
export interface KernelUplink extends WaySpec {
  /** Its addresses, sources included: sockets that are bound to one belong to it. */
  readonly addresses: readonly Addr[];
}

export interface KernelPolicy {
  readonly rules: readonly Rule[];
  readonly groups: readonly UplinkGroup[];
  readonly uplinks: readonly KernelUplink[];
  /** By number of VRF, for rules with `vrf`; undefined = the main table. */
  readonly vrfs: readonly (WaySpec | undefined)[];
  /** Refuse (EPERM) what cannot be bound, instead of letting it go by the main table. */
  readonly isStrict: boolean;
  /** Addresses of this host that are no uplink's: connections to them are left alone, like loopback. */
  readonly ownAddresses: readonly Addr[];
}

export interface UplinkCounters {
  readonly name: string;
  /** Flows that were given it. */
  readonly bound: number;
  /** Of these, sockets that could not be bound to it. */
  readonly failed: number;
  /** Queries sent to its resolvers. */
  readonly dns: number;
}

/** Since the programs were loaded; those of rules since these rules were set. */
export interface KernelCounters {
  readonly uplinks: readonly UplinkCounters[];
  /** By index. */
  readonly rules: readonly number[];
  readonly unmatched: number;
  readonly rejected: number;
  readonly noUplink: number;
  readonly strictRefused: number;
  /** Sockets of other network namespaces, left alone. */
  readonly foreignNetns: number;
  /** Queries sent to the forwarder. */
  readonly forwarded: number;
}

/** What an uplink carries, for `least_loaded` and measured weights. */
export type MeasuredLoad = Omit<UplinkLoad, 'isUsable' | 'families'>;

export interface LoadOptions {
  /** A folder of its own, on a bpffs or where one may be mounted. */
  readonly pinDir: string;
  /** Folder of a cgroup of version 2; the root, for a policy of the whole host. */
  readonly cgroup: string;
  /** Cookie of the network namespace the policy is for; undefined = this process's. */
  readonly netns?: bigint;
  /** Folder of the compiled programs; undefined = that of the build. */
  readonly objects?: string;
}

/** As in router/uplink/balancer.ts: what one weight stands for, and what a flow needs before it is measured. */
const UNKNOWN_CAPACITY = 1_250_000;
const FRESH_SHARE = 125_000;
const SHARE_UNIT = 2 ** 32;
/** An address without meaning (RFC 5737): connecting a datagram socket to it sends nothing. */
const NOWHERE = '192.0.2.1';

export class Programs {
  readonly #pinDir: string;
  readonly #cgroup: string;
  readonly #objects: string;
  readonly #maps: PinnedMaps;
  readonly #ways: NumberedMap;
  readonly #loads: NumberedMap;
  readonly #wayCounts: NumberedMap;
  readonly #totals: NumberedMap;
  readonly #beat: NumberedMap;
  readonly #exempt: NumberedMap;
  readonly #settings: NumberedMap;
  readonly #numbers = new WayNumbers();
  /** Counts of ways that are no longer, by name of uplink. */
  readonly #earlier = new Map<string, { bound: number; failed: number; dns: number }>();
  readonly #processes = new Map<number, ProcessFacts>();
  readonly #cgroups = new Map<bigint, { readonly path: string; readonly group: string | undefined }>();
  readonly #names = new Map<string, readonly [Addr, readonly string[]]>();
  readonly #unusable = new Set<string>();
  /** Of those that are not usable, the ones whose flows go on. */
  readonly #drained = new Set<string>();
  readonly #measured = new Map<string, MeasuredLoad>();
  /** Numbers and ports of classes with rules by domain, by the list of their rules. */
  readonly #dnsIds = new Map<string, number>();
  readonly #ports = new Map<string, number>();
  #lastDnsId = 0;
  #dnsKeys = '';
  #policy: KernelPolicy | undefined;
  #wayOf: readonly (number | undefined)[] = [];
  /** By group: they know the weights of their members. */
  #balancers: readonly Balancer[] = [];
  #vrfWays: readonly (number | undefined)[] = [];
  #image: PolicyImage | undefined;
  #inner: GenerationMaps | undefined;
  #rulesEarlier: number[] = [];
  readonly variant: 'full' | 'old';
  /** `dnsClasses` has others now. */
  onDnsClasses: () => void = () => {};

  private constructor(o: LoadOptions & { readonly dir: string; readonly variant: 'full' | 'old' }) {
    this.#pinDir = o.pinDir;
    this.#cgroup = o.cgroup;
    this.#objects = o.objects ?? OBJECTS;
    this.variant = o.variant;
    this.#maps = new PinnedMaps(o.dir);
    this.#ways = this.#maps.map('mls_ways', Way.Size);
    this.#loads = this.#maps.map('mls_loads', Load.Size);
    this.#wayCounts = this.#maps.map('mls_way_counts', WayCount.Size);
    this.#totals = this.#maps.map('mls_totals', 8);
    this.#beat = this.#maps.map('mls_beat', 8);
    this.#exempt = this.#maps.map('mls_exempt', 4);
    this.#settings = this.#maps.map('mls_settings', Settings.Size);
    this.#adopt(o.netns ?? this.#maps.native.netnsCookie());
    this.exempt(process.pid);
  }

  /**
   * Load the programs. Nothing new is attached yet; what an earlier daemon left attached goes on undisturbed.
   * @throws MlshimError BPF_REFUSED, with the verifier's log
   */
  static async load(o: LoadOptions): Promise<Programs> {
    const { dir, variant } = await runLoader('load', o.objects ?? OBJECTS, o.pinDir);
    return new Programs({ ...o, dir, variant });
  }

  /** Attach what `load` loaded, or put it in the place of what is attached. To be called once there is a policy. */
  async attach(): Promise<void> {
    await runLoader('attach', this.#pinDir, this.#cgroup);
    // Where user space cannot ask for the namespace's cookie, the programs learn it from this socket.
    this.#maps.native.inetSource(NOWHERE);
  }

  /** Load the programs again and put them in the place of the running ones, without a gap. */
  async replace(): Promise<void> {
    await runLoader('load', this.#objects, this.#pinDir);
    await this.attach();
  }

  /** Detach and unpin everything, whoever put it there. @returns how many programs and maps the kernel still has: 0 */
  static async remove(pinDir: string): Promise<number> {
    return (await runLoader('remove', pinDir)).left;
  }

  /** What this kernel has; `needed` features that are missing rule the backend out. */
  static async probe(cgroup: string): Promise<readonly Feature[]> {
    return (await runLoader('probe', OBJECTS, cgroup)).features;
  }

  /** Attached programs, with the kernel's run-time statistics where they are on. */
  static async status(pinDir: string): Promise<readonly HookStatus[]> {
    return (await runLoader('status', pinDir)).hooks;
  }

  /** Close descriptors; programs stay attached. */
  close(): void {
    this.#inner?.close();
    this.#inner = undefined;
    this.#image = undefined;
    this.#maps.close();
  }

  // ---- Policy

  /**
   * Go over to a policy, as one generation. What is known of processes, cgroups, names and of uplinks by name stays.
   * @throws MlshimError POLICY_TOO_LARGE; the policy before stays in force
   */
  setPolicy(policy: KernelPolicy): void {
    const members = new Set(policy.groups.flatMap((g) => g.members.map((m) => m.uplink)));
    const before = [this.#policy, this.#wayOf, this.#vrfWays, this.#balancers] as const;
    const isOfSameRules = isEqual(policy.rules, this.#policy?.rules);
    this.#dnsIds.clear();
    this.#ports.clear();
    this.#dnsKeys = '';
    try {
      this.#policy = policy;
      this.#balancers = this.#balancersOf(policy);
      this.#wayOf = policy.uplinks.map((u, i) => (members.has(i) ? this.#wayFor(u) : undefined));
      this.#vrfWays = policy.vrfs.map((v) => v && this.#wayFor(v));
      for (const i of this.#wayOf.keys()) this.#writeLoad(i);
      this.#install();
      if (!isOfSameRules) this.#rulesEarlier = policy.rules.map(() => 0);
    } catch (error) {
      [this.#policy, this.#wayOf, this.#vrfWays, this.#balancers] = before;
      throw error;
    } finally {
      this.#freeWays();
    }
  }

  /** The host has other addresses now: all else of the policy stays, and so does what was decided. */
  setOwnAddresses(ownAddresses: readonly Addr[]): void {
    this.#policy = { ...this.#policy!, ownAddresses };
    this.#change((image) => image.ownAddressesChanged(this.#ownAddresses()));
  }

  /** Whether new flows may take an uplink. @param carries what was sent there before gets through */
  setUsable(uplink: number, isUsable: boolean, carries = isUsable): void {
    const { name } = this.#policy!.uplinks[uplink]!;
    const isDrained = carries && !isUsable;
    if (isUsable === !this.#unusable.has(name) && isDrained === this.#drained.has(name)) return;
    if (isUsable) this.#unusable.delete(name);
    else this.#unusable.add(name);
    if (isDrained) this.#drained.add(name);
    else this.#drained.delete(name);
    this.#writeLoad(uplink);
    if (this.#image!.isCurrent) this.#change((image) => image.usabilityChanged(uplink));
    else this.#install();
  }

  /** What uplinks carry, by index: once per second, say. Flows given out before are in the rates. */
  measured(loads: readonly MeasuredLoad[]): void {
    for (const [i, load] of loads.entries()) {
      this.#measured.set(this.#policy!.uplinks[i]!.name, load);
      this.#writeLoad(i);
    }
    for (const [group, balancer] of this.#balancers.entries())
      if (balancer.measured()) this.#change((image) => image.weightsChanged(group));
  }

  // ---- What is known of processes and names

  /** The names of an address are these from now on (none = it is forgotten). */
  learn(addr: Addr, names: readonly string[]): void {
    if (names.length === 0) this.#names.delete(String(addr));
    else this.#names.set(String(addr), [addr, names]);
    this.#change((image) => image.learn(addr, names));
  }

  /** A process began, or executes another program. @param pid in the initial namespace of process ids */
  setProcess(pid: number, facts: ProcessFacts): void {
    this.#processes.set(pid, facts);
    this.#change((image) => image.setProcess(pid, facts));
  }

  removeProcess(pid: number): void {
    this.#processes.delete(pid);
    this.#change((image) => image.removeProcess(pid));
  }

  /** Leave all sockets of a process alone: our own children. */
  exempt(pid: number): void {
    this.#exempt.set(pid, octetsOf(Int32Array.of(1)));
  }

  unexempt(pid: number): void {
    this.#exempt.delete(pid);
  }

  /**
   * A cgroup of version 2; what is below it, and not told, is as it is.
   * @param id the inode number of its folder
   * @param path within the hierarchy
   * @param group what it stands for (`mlshim run --group`)
   */
  setCgroup(id: bigint, path: string, group: string | undefined): void {
    this.#cgroups.set(id, { path, group });
    this.#change((image) => image.setCgroup(id, path, group));
  }

  removeCgroup(id: bigint): void {
    this.#cgroups.delete(id);
    this.#change((image) => image.removeCgroup(id));
  }

  // ---- DNS

  /** Classes of processes that rules by domain concern, with the rules that may apply to them. Ids stay with their rules. */
  dnsClasses(): readonly { readonly id: number; readonly rules: readonly number[] }[] {
    return (this.#image?.dnsClasses() ?? []).map(({ key, rules }) => ({ id: this.#dnsId(key), rules }));
  }

  /** Queries of a class go to this port of 127.0.0.1 and ::1 while there is a heartbeat; 0 = no longer. */
  setForwarder(id: number, port: number): void {
    for (const [key, known] of this.#dnsIds)
      if (known === id) {
        this.#ports.set(key, port);
        this.#change((image) => image.setForwarder(key, port));
      }
  }

  /**
   * The forwarder is alive: every second, say. Without it, queries go to the uplinks' resolvers after three.
   * @param at nanoseconds of CLOCK_MONOTONIC, that of bpf_ktime_get_ns()
   */
  heartbeat(at: bigint = process.hrtime.bigint()): void {
    this.#beat.set(0, new Uint8Array(new BigUint64Array([at]).buffer));
  }

  // ---- Figures

  counters(): KernelCounters {
    const total = (index: number): number => numberAt(this.#totals.get(index), 0);
    return {
      uplinks: (this.#policy?.uplinks ?? []).map(({ name }, i) => ({ name, ...this.#countsOf(name, this.#wayOf[i]) })),
      rules: this.#rulesEarlier.map((n, i) => n + (this.#inner?.count(i) ?? 0)),
      unmatched: total(Total.Unmatched),
      rejected: total(Total.Rejected),
      noUplink: total(Total.NoUplink),
      strictRefused: total(Total.StrictRefused),
      foreignNetns: total(Total.ForeignNetns),
      forwarded: total(Total.Forwarded),
    };
  }

  #countsOf(name: string, way: number | undefined): { bound: number; failed: number; dns: number } {
    const { bound, failed, dns } = this.#earlier.get(name) ?? { bound: 0, failed: 0, dns: 0 };
    const now = way === undefined ? undefined : this.#wayCounts.get(way);
    return {
      bound: bound + numberAt(now, WayCount.Bound),
      failed: failed + numberAt(now, WayCount.Failed),
      dns: dns + numberAt(now, WayCount.Dns),
    };
  }

  // ---- Generations

  /** Make the policy's image anew and active. */
  #install(): void {
    const policy = this.#policy!;
    const image = new PolicyImage({
      rules: policy.rules,
      groups: policy.groups,
      wayOf: (uplink) => this.#wayOf[uplink]!,
      vrfWayOf: (vrf) => this.#vrfWays[vrf],
      isUsable: (uplink) => !this.#unusable.has(policy.uplinks[uplink]!.name),
      carries: (uplink) => this.#carries(policy.uplinks[uplink]!.name),
      hasFamily: (uplink, family) => policy.uplinks[uplink]![family === 4 ? 'source4' : 'source6'] !== undefined,
      weightsOf: (group) => this.#balancers[group]!.weights,
      isStrict: policy.isStrict,
      ownAddresses: this.#ownAddresses(),
      names: this.#names.values(),
    });
    for (const [id, { path, group }] of this.#cgroups) image.setCgroup(id, path, group);
    for (const [pid, facts] of this.#processes) image.setProcess(pid, facts);
    for (const [key, port] of this.#ports) image.setForwarder(key, port);
    const inner = new GenerationMaps(this.#maps.native, image.quads, image.counters);
    inner.apply(image.take());
    this.#maps.activate(this.#maps.generation + 1, inner);
    const before = this.#inner;
    if (before !== undefined) {
      this.#rulesEarlier = this.#rulesEarlier.map((n, i) => n + before.count(i));
      before.close();
    }
    this.#image = image;
    this.#inner = inner;
    this.#tellDnsClasses();
  }

  #ownAddresses(): OwnAddress[] {
    const { ownAddresses, uplinks } = this.#policy!;
    return [
      ...ownAddresses.map((a) => [a, undefined] as const),
      ...uplinks.flatMap((u, i) => u.addresses.map((a) => [a, this.#wayOf[i]] as const)),
    ];
  }

  /** Change the generation that is active. */
  #change(what: (image: PolicyImage) => void): void {
    const image = this.#image;
    if (image === undefined) return;
    const { classes } = image;
    try {
      what(image);
    } catch (error) {
      if (!(error instanceof ImageFull)) throw error;
      this.#install();
      return;
    }
    this.#inner!.apply(image.take());
    if (image.classes !== classes) this.#tellDnsClasses();
  }

  #tellDnsClasses(): void {
    const keys = (this.#image?.dnsClasses() ?? []).map((c) => c.key).join(' ');
    if (keys === this.#dnsKeys) return;
    this.#dnsKeys = keys;
    this.onDnsClasses();
  }

  #dnsId(key: string): number {
    const known = this.#dnsIds.get(key);
    if (known !== undefined) return known;
    this.#dnsIds.set(key, ++this.#lastDnsId);
    return this.#lastDnsId;
  }

  // ---- Ways

  #wayFor(spec: WaySpec): number {
    const record = encodeWay(spec);
    const { way, isNew } = this.#numbers.of(spec.name, record);
    if (isNew) {
      this.#wayCounts.set(way, new Uint8Array(WayCount.Size));
      this.#ways.set(way, record);
    }
    return way;
  }

  #freeWays(): void {
    const used = new Set([...this.#wayOf, ...this.#vrfWays].filter((w) => w !== undefined));
    for (const { way, name } of this.#numbers.keepOnly(used)) {
      if (name !== undefined) this.#earlier.set(name, this.#countsOf(name, way));
      this.#ways.set(way, new Uint8Array(Way.Size));
    }
  }

  #writeLoad(uplink: number): void {
    const way = this.#wayOf[uplink];
    if (way === undefined) return;
    const { name } = this.#policy!.uplinks[uplink]!;
    const { rate, capacity, peak } = this.#loadOf(name);
    const octets = new Uint8Array(Load.Size);
    const view = new DataView(octets.buffer);
    const known = capacity > 0 ? capacity : Math.max(peak, this.#weightOf(uplink) * UNKNOWN_CAPACITY);
    view.setBigUint64(Load.Used, BigInt(Math.round((rate / known) * SHARE_UNIT)), IS_LITTLE);
    view.setBigUint64(Load.Share, BigInt(Math.round((FRESH_SHARE / known) * SHARE_UNIT)), IS_LITTLE);
    view.setUint32(Load.Carries, this.#carries(name) ? 1 : 0, IS_LITTLE);
    this.#loads.set(way, octets);
  }

  #carries(name: string): boolean {
    return !this.#unusable.has(name) || this.#drained.has(name);
  }

  #weightOf(uplink: number): number {
    for (const g of this.#policy!.groups)
      for (const m of g.members) if (m.uplink === uplink) return m.weight === 'auto' ? 1 : m.weight;
    return 1;
  }

  #loadOf(name: string): MeasuredLoad {
    return this.#measured.get(name) ?? { rate: 0, capacity: 0, peak: 0 };
  }

  #balancersOf({ groups, uplinks }: KernelPolicy): Balancer[] {
    const loads = uplinks.map(({ name }): UplinkLoad => {
      const of = (): MeasuredLoad => this.#loadOf(name);
      return {
        isUsable: true,
        families: Families.Any,
        get rate() {
          return of().rate;
        },
        get capacity() {
          return of().capacity;
        },
        get peak() {
          return of().peak;
        },
      };
    });
    return groups.map((g) => new Balancer(g, loads, new Random(1)));
  }

  /** What an earlier daemon left: its ways are in use until a policy of ours is active, its processes may be gone. */
  #adopt(cookie: bigint | number): void {
    for (let way = 0; way < WAYS; way++)
      if (new Uint8Array(this.#ways.get(way)!.buffer).some((octet) => octet !== 0)) this.#numbers.adopt(way);
    for (const pid of [...this.#exempt.indices()]) if (!isAlive(pid)) this.#exempt.delete(pid);
    const octets = new Uint8Array(Settings.Size);
    const view = new DataView(octets.buffer);
    view.setBigUint64(Settings.Netns, typeof cookie === 'bigint' ? cookie : 0n, IS_LITTLE);
    view.setUint32(Settings.Owner, process.pid, IS_LITTLE);
    this.#settings.set(0, octets);
  }
}

function numberAt(view: DataView | undefined, at: number): number {
  return Number(view?.getBigUint64(at, IS_LITTLE) ?? 0n);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
