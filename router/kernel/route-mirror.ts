/**
 * The FIB's best routes in tables of the host's kernel: what BGP, FPM and the configuration say, in the words of rtnetlink.
 * Follows the FIB prefix by prefix: a prefix that changes is noted and looked up again when its turn comes, so many changes of
 * one are one message. Connected routes are the kernel's own. Next hops that lead into another VRF are not carried over.
 */
import { type NextHop, type RouteInfo, RouteKind, RouteSource } from '../fib/shared.ts';
import type { FibWriter } from '../fib/writer.ts';
import type { Family, Prefix } from '../lib/addr.ts';
import type { PrefixTable } from '../lib/prefix-table.ts';
import { NlFlag, Rtm } from '../wire/netlink.ts';
import { BatchSender } from './batch.ts';
import { Host } from './host.ts';
import { type HostHop, type NewRoute, writeRoute, writeRouteKey } from './netlink/route.ts';
import type { KernelRefusal } from './netlink/socket.ts';

/** Which routes the host's kernel gets. */
export interface KernelRoutes {
  /** `rtm_protocol` that they are known by. */
  readonly protocol: number;
  readonly metric: number;
  readonly targets: readonly {
    /** The table they come from. */
    readonly vrf: number;
    /** The kernel's table they go to. */
    readonly table: number;
    /** Only next hops over these; undefined = over any. */
    readonly links: readonly number[] | undefined;
  }[];
  /** Interfaces of links. */
  readonly devices: readonly (readonly [link: number, device: string])[];
}

type Target = KernelRoutes['targets'][number];

const FAMILIES: readonly Family[] = [4, 6];
const MAX_WEIGHT = 256;
/** What the kernel refused and may take later; beyond that a look at the whole table is cheaper. */
const MAX_RETRIES = 10_000;
/** By RouteKind. */
const KINDS: Partial<Record<RouteKind, NewRoute['type']>> = {
  [RouteKind.Unicast]: 'unicast',
  [RouteKind.Blackhole]: 'blackhole',
  [RouteKind.Unreachable]: 'unreachable',
  [RouteKind.Prohibit]: 'prohibit',
};

/** Prefixes of one table that are to be looked up again; each is retained. */
interface Queue {
  readonly vrf: number;
  readonly prefixes: PrefixTable;
  readonly waiting: Set<number>;
  readonly refused: Set<number>;
}

export class RouteMirror {
  readonly #fib: FibWriter;
  #o: KernelRoutes;
  readonly #batch = BatchSender.open();
  readonly #host = Host.open();
  readonly #queues = new Map<PrefixTable, Queue>();
  /** Numbers of interfaces by link; 0 = not there. */
  readonly #indexes = new Map<number, number>();
  /** What the kernel has not answered for yet; retained still. */
  #told: [PrefixTable, number][] = [];
  #isLost = false;
  #isTakeover: boolean;
  /** Refusals by errno name, and how often everything was compared. */
  readonly refusals: Record<string, number> = {};
  readonly counters = { installed: 0, withdrawn: 0, resyncs: 0 };

  /**
   * Follows the FIB from now on, and starts with all that is in it.
   * @param isTakeover the kernel's tables are of one before us: what is in them stays until `settled`
   * @throws KernelRefusal
   */
  constructor(fib: FibWriter, options: KernelRoutes, isTakeover: boolean) {
    this.#fib = fib;
    this.#o = options;
    this.#isTakeover = isTakeover;
    fib.follower = (vrf, prefixes, prefix) => this.#note(vrf, prefixes, prefix);
    this.#findInterfaces();
    this.resync();
  }

  /** There is something for `work` to do. */
  get isBusy(): boolean {
    if (this.#isLost) return true;
    for (const q of this.#queues.values()) if (q.waiting.size > 0) return true;
    return false;
  }

  /** Prefixes that the kernel has refused; `retry` tries them again. */
  get refusedCount(): number {
    let count = 0;
    for (const q of this.#queues.values()) count += q.refused.size;
    return count;
  }

  /** Tell the kernel about up to `budget` prefixes. @throws KernelRefusal when it takes no messages at all */
  work(budget: number): void {
    if (this.#isLost) this.resync();
    let left = budget;
    for (const q of this.#queues.values())
      for (const prefix of q.waiting) {
        if (left-- <= 0) break;
        q.waiting.delete(prefix);
        this.#tell(q, prefix);
      }
    this.#flush();
  }

  retry(): void {
    for (const q of this.#queues.values()) {
      for (const prefix of q.refused) this.#enqueue(q, prefix);
      for (const prefix of q.refused) q.prefixes.release(prefix);
      q.refused.clear();
    }
  }

  /** An interface came, went, or is another one now: the kernel has dropped routes over it by itself, or can take them again. */
  linkChanged(): void {
    this.#findInterfaces();
    for (const { vrf } of this.#o.targets) this.#enqueueAll(vrf);
  }

  /** The FIB is complete: what else the kernel has from before can go. */
  settled(): void {
    this.#isTakeover = false;
    this.resync();
  }

  /** Compare everything: what the kernel has too much is removed, and all that the FIB has is told again. */
  resync(): void {
    this.#isLost = false;
    this.counters.resyncs++;
    for (const target of this.#o.targets) {
      this.#enqueueAll(target.vrf);
      if (this.#isTakeover) continue;
      for (const r of this.#host.routes({ table: target.table, protocol: this.#o.protocol })) {
        const prefixes = this.#fib.prefixes(target.vrf, r.prefix.family);
        const best = this.#bestAt(target.vrf, prefixes, prefixes.findPrefix(r.prefix));
        if (this.#routeFor(target, best, r.prefix) === undefined) this.#withdraw(target, r.prefix);
      }
    }
  }

  /** Other tables and links from now on: what was in tables that are no longer ours goes. @throws KernelRefusal */
  reconfigure(options: KernelRoutes): void {
    this.#empty(this.#o.targets.filter(({ table }) => !options.targets.some((t) => t.table === table)));
    this.#o = options;
    // A VRF of the same number may come later, with other numbers for prefixes.
    for (const q of this.#queues.values()) if (!options.targets.some((t) => t.vrf === q.vrf)) this.#forget(q);
    this.#indexes.clear();
    this.#findInterfaces();
    this.resync();
  }

  /** Take all of them out of the kernel, and follow no longer. @throws KernelRefusal */
  stop(): void {
    this.#fib.follower = undefined;
    this.#empty(this.#o.targets);
    this.close();
  }

  #empty(targets: readonly Target[]): void {
    for (const target of targets)
      for (const r of this.#host.routes({ table: target.table, protocol: this.#o.protocol }))
        this.#withdraw(target, r.prefix);
    this.#flush();
  }

  /** Follow no longer, and leave the kernel's tables as they are. */
  close(): void {
    this.#fib.follower = undefined;
    for (const q of this.#queues.values()) this.#forget(q);
    this.#batch.close();
    this.#host.close();
  }

  #forget({ prefixes, waiting, refused }: Queue): void {
    for (const prefix of [...waiting, ...refused]) prefixes.release(prefix);
    this.#queues.delete(prefixes);
  }

  #note(vrf: number, prefixes: PrefixTable, prefix: number): void {
    if (this.#o.targets.some((t) => t.vrf === vrf)) this.#enqueue(this.#queue(vrf, prefixes), prefix);
  }

  #enqueueAll(vrf: number): void {
    for (const family of FAMILIES) {
      const queue = this.#queue(vrf, this.#fib.prefixes(vrf, family));
      for (const prefix of this.#fib.routedPrefixes(vrf, family)) this.#enqueue(queue, prefix);
    }
  }

  #queue(vrf: number, prefixes: PrefixTable): Queue {
    let queue = this.#queues.get(prefixes);
    if (queue === undefined) {
      queue = { vrf, prefixes, waiting: new Set(), refused: new Set() };
      this.#queues.set(prefixes, queue);
    }
    return queue;
  }

  #enqueue(q: Queue, prefix: number): void {
    if (q.waiting.has(prefix)) return;
    q.waiting.add(prefix);
    q.prefixes.retain(prefix);
  }

  #bestAt(vrf: number, prefixes: PrefixTable, prefix: number): RouteInfo | undefined {
    return prefix < 0 ? undefined : this.#fib.bestAt(vrf, prefixes.family, prefix);
  }

  #tell(q: Queue, number: number): void {
    const best = this.#bestAt(q.vrf, q.prefixes, number);
    const prefix = q.prefixes.prefix(number);
    for (const target of this.#o.targets) {
      if (target.vrf !== q.vrf) continue;
      const route = this.#routeFor(target, best, prefix);
      if (route === undefined) this.#withdraw(target, prefix);
      else this.#install(route, (refusal) => this.#refused(q, number, refusal));
    }
    this.#told.push([q.prefixes, number]);
  }

  #install(route: NewRoute, refused: (refusal: KernelRefusal) => void): void {
    this.counters.installed++;
    const flags = NlFlag.Create | NlFlag.Replace;
    if (!this.#batch.add(Rtm.NewRoute, flags, (w) => writeRoute(w, route), refused)) this.#isLost = true;
  }

  #withdraw({ table }: Target, prefix: Prefix): void {
    this.counters.withdrawn++;
    const { protocol, metric } = this.#o;
    const fill = (w: Parameters<typeof writeRouteKey>[0]): void =>
      writeRouteKey(w, { table, prefix, protocol, metric });
    if (!this.#batch.add(Rtm.DelRoute, 0, fill, (refusal) => this.#notRemoved(refusal))) this.#isLost = true;
  }

  #flush(): void {
    if (!this.#batch.flush()) this.#isLost = true;
    for (const [prefixes, number] of this.#told) prefixes.release(number);
    this.#told = [];
  }

  #refused(q: Queue, prefix: number, refusal: KernelRefusal): void {
    this.#count(refusal);
    if (q.refused.has(prefix) || q.refused.size >= MAX_RETRIES) return;
    q.refused.add(prefix);
    q.prefixes.retain(prefix);
  }

  #notRemoved(refusal: KernelRefusal): void {
    // It was never there, or went with its interface.
    if (refusal.errnoName !== 'ESRCH') this.#count(refusal);
  }

  #count({ errnoName }: KernelRefusal): void {
    this.refusals[errnoName] = (this.refusals[errnoName] ?? 0) + 1;
  }

  /** What a table of the kernel has for a prefix; undefined = nothing of ours. */
  #routeFor(target: Target, best: RouteInfo | undefined, prefix: Prefix): NewRoute | undefined {
    const type = best && KINDS[best.kind];
    if (best === undefined || type === undefined || best.source === RouteSource.Connected) return undefined;
    const hops = type === 'unicast' ? this.#hops(target, best.nextHops) : [];
    if (type === 'unicast' && hops.length === 0) return undefined;
    const { protocol, metric } = this.#o;
    return { table: target.table, prefix, protocol, metric, type, hops };
  }

  #hops({ links }: Target, nextHops: readonly NextHop[]): HostHop[] {
    const largest = Math.max(MAX_WEIGHT, ...nextHops.map((h) => h.weight ?? 1));
    return nextHops.flatMap((h): HostHop[] => {
      const ifindex = this.#indexes.get(h.link) ?? 0;
      if (ifindex === 0 || links?.includes(h.link) === false || this.#fib.isLinkDown(h.link)) return [];
      const weight = Math.max(1, Math.round(((h.weight ?? 1) * MAX_WEIGHT) / largest));
      return [{ ifindex, gateway: h.gateway, weight }];
    });
  }

  #findInterfaces(): void {
    for (const [link, device] of this.#o.devices) this.#indexes.set(link, this.#host.link(device)?.index ?? 0);
  }
}
