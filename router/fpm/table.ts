/**
 * The routes an FPM client told, and what of them is in the FIB. Sans-IO: messages and time in, route changes out through
 * a sink, in slices, so that a large change never holds the thread for long.
 *
 * A session begins with everything the client has; there is no end mark. So when one begins, what is known stays in use
 * and is stale until told again; what is not told within `staleMs` goes. When a session ends, routes stay for `holdMs`.
 */
import { type NextHop, type RouteChange, RouteKind, RouteSource } from '../fib/shared.ts';
import type { Prefix } from '../lib/addr.ts';
import type { Instant } from '../lib/clock.ts';
import type { FpmHop, FpmMessage, FpmRoute, FpmRouteType } from './message.ts';
import { NextHopTable } from './nexthops.ts';

/** Route changes given to the sink at a time: a few milliseconds of work. */
const SLICE = 2048;
/** Entries looked at in one slice, of which few may need a change. */
const LOOKS = 32_768;
/** A deadline in the past: there is more to do. */
const AT_ONCE = 0 as Instant;

const KINDS: Readonly<Record<FpmRouteType, RouteKind>> = {
  unicast: RouteKind.Unicast,
  blackhole: RouteKind.Blackhole,
  unreachable: RouteKind.Unreachable,
  prohibit: RouteKind.Prohibit,
};

export interface FpmTableOptions {
  readonly apply: (changes: readonly RouteChange[]) => void;
  /** Our links of a VRF behind a way on of the client's; empty when there is none. */
  readonly resolve: (hop: FpmHop, vrf: number) => readonly NextHop[];
  /** The VRF of a routing table's number; undefined for tables we do not take. */
  readonly vrfOf: (table: number) => number | undefined;
  /** How long routes outlive the session they came by. */
  readonly holdMs: number;
  /** How long routes of earlier sessions wait for being told again. */
  readonly staleMs: number;
}

export interface FpmTableStats {
  /** Routes in the FIB. */
  readonly installed: number;
  /** Routes whose gateways are behind none of our links. */
  readonly unresolved: number;
  /** Routes of an earlier session that have not been told again. */
  readonly stale: number;
  readonly nextHops: number;
  /** Messages about routes that are the client's own kernel's, of other tables, or to martian destinations. */
  readonly ignored: number;
}

/** What belongs to one connection of the client: numbers of next hops mean nothing beyond it. */
interface Session {
  readonly number: number;
  readonly nextHops: NextHopTable<Entry>;
  /** What a numbered next hop was resolved to, by VRF: the same array for all of its routes, which makes grouping cheap. */
  readonly resolved: Map<number, Map<number, readonly NextHop[]>>;
}

interface Entry {
  readonly key: string;
  readonly vrf: number;
  readonly prefix: Prefix;
  protocol: string;
  type: FpmRouteType;
  metric: number;
  hops: readonly FpmHop[] | number;
  /** The session that told it last. */
  session: Session;
  isGone: boolean;
  /** foreign: on the link of an interface that stands for none of ours. */
  state: 'new' | 'installed' | 'unresolved' | 'foreign';
}

/** Entries to look at again, some at a time; those of sessions before `before` go. */
interface Walk {
  readonly entries: Iterator<Entry>;
  readonly before: number | undefined;
}

export class FpmTable {
  readonly #o: FpmTableOptions;
  readonly #entries = new Map<string, Entry>();
  /** Entries whose route in the FIB is to be made anew. */
  readonly #dirty = new Set<Entry>();
  readonly #walks: Walk[] = [];
  #session = newSession(0);
  #sweeps: { readonly at: Instant; readonly before: number }[] = [];
  #expireAt: Instant | undefined;
  #fresh = 0;
  #installed = 0;
  #unresolved = 0;
  #ignored = 0;

  constructor(options: FpmTableOptions) {
    this.#o = options;
  }

  get stats(): FpmTableStats {
    return {
      installed: this.#installed,
      unresolved: this.#unresolved,
      stale: this.#entries.size - this.#fresh,
      nextHops: this.#session.nextHops.size,
      ignored: this.#ignored,
    };
  }

  /** A session began: all that is known is stale. */
  sessionBegan(now: Instant): void {
    this.#session = newSession(this.#session.number + 1);
    this.#fresh = 0;
    this.#expireAt = undefined;
    if (this.#entries.size > 0)
      this.#sweeps.push({ at: (now + this.#o.staleMs) as Instant, before: this.#session.number });
  }

  sessionEnded(now: Instant): void {
    this.#expireAt = (now + this.#o.holdMs) as Instant;
  }

  /** Messages of the session, in order. Only the last word on a prefix reaches the FIB. */
  receive(messages: readonly FpmMessage[]): void {
    for (const m of messages) {
      if (m.kind === 'route') this.#route(m);
      else if (m.kind === 'withdrawal') this.#withdrawal(m.table, m.prefix);
      else this.#nextHop(m.id, m.kind === 'nexthop' ? m.what : undefined);
    }
    this.#flush();
  }

  /** Our links or their addresses changed: look for the way on of every route again. */
  linksChanged(): void {
    for (const entry of this.#entries.values()) entry.session.resolved.clear();
    this.#walk(this.#entries.values());
    this.#flush();
  }

  /** VRFs are gone, and their tables with them. @param isThere whether there is a VRF of this number */
  forgetVrfs(isThere: (vrf: number) => boolean): void {
    for (const entry of this.#entries.values()) if (!isThere(entry.vrf)) this.#remove(entry);
  }

  /** All routes go, in slices of `tick`. */
  clear(): void {
    this.#expireAt = undefined;
    this.#walk(this.#entries.values(), Infinity);
    this.#flush();
  }

  deadline(): Instant | undefined {
    if (this.#dirty.size > 0 || this.#walks.length > 0) return AT_ONCE;
    const times = this.#sweeps.map((s) => s.at);
    if (this.#expireAt !== undefined) times.push(this.#expireAt);
    return times.length === 0 ? undefined : (Math.min(...times) as Instant);
  }

  tick(now: Instant): void {
    if (this.#expireAt !== undefined && now >= this.#expireAt) {
      this.#expireAt = undefined;
      this.#walk(this.#entries.values(), this.#session.number + 1);
    }
    for (const sweep of this.#sweeps) if (now >= sweep.at) this.#walk(this.#entries.values(), sweep.before);
    this.#sweeps = this.#sweeps.filter((s) => now < s.at);
    this.#flush();
  }

  /** Whether the FIB has this route of ours. */
  isInstalled(route: FpmRoute): boolean {
    const vrf = this.#o.vrfOf(route.table);
    return vrf !== undefined && this.#entries.get(keyOf(vrf, route.prefix))?.state === 'installed';
  }

  /** The protocol that made the route of this prefix, undefined where there is none. */
  protocolOf(vrf: number, prefix: Prefix): string | undefined {
    return this.#entries.get(keyOf(vrf, prefix))?.protocol;
  }

  #route(m: FpmRoute): void {
    const vrf = this.#o.vrfOf(m.table);
    if (vrf === undefined || isMartian(m.prefix)) {
      this.#ignored++;
      return;
    }
    // What the client's kernel knows is about the client's interfaces; it also ends what a protocol said before.
    if (m.protocol === 'kernel') {
      this.#ignored++;
      this.#withdrawal(m.table, m.prefix);
      return;
    }
    const key = keyOf(vrf, m.prefix);
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { key, vrf, ...m, session: this.#session, isGone: false, state: 'new' };
      this.#entries.set(key, entry);
      this.#fresh++;
    } else {
      if (entry.session !== this.#session) this.#fresh++;
      release(entry);
      Object.assign(entry, { protocol: m.protocol, type: m.type, metric: m.metric, hops: m.hops, isGone: false });
    }
    entry.session = this.#session;
    if (typeof m.hops === 'number') this.#session.nextHops.use(m.hops, entry);
    this.#dirty.add(entry);
  }

  #withdrawal(table: number, prefix: Prefix): void {
    const vrf = this.#o.vrfOf(table);
    const entry = vrf === undefined ? undefined : this.#entries.get(keyOf(vrf, prefix));
    if (entry === undefined) return;
    entry.isGone = true;
    this.#dirty.add(entry);
  }

  #nextHop(id: number, what: Parameters<NextHopTable<Entry>['set']>[1]): void {
    const { nextHops, resolved } = this.#session;
    for (const changed of nextHops.set(id, what)) {
      resolved.delete(changed);
      const users = nextHops.users(changed);
      if (users.size > 0) this.#walk(users.values());
    }
  }

  #walk(entries: Iterator<Entry>, before?: number): void {
    this.#walks.push({ entries, before });
  }

  #flush(): void {
    const changes: RouteChange[] = [];
    for (const entry of this.#dirty) {
      if (changes.length >= SLICE) break;
      this.#dirty.delete(entry);
      const change = this.#changeOf(entry);
      if (change !== undefined) changes.push(change);
    }
    for (let looked = 0; looked < LOOKS && changes.length < SLICE && this.#walks.length > 0; looked++) {
      const { entries, before } = this.#walks[0]!;
      const { value: entry, done } = entries.next();
      if (done === true) this.#walks.shift();
      else if (before === undefined || entry.session.number < before) {
        if (before !== undefined) entry.isGone = true;
        const change = this.#changeOf(entry);
        if (change !== undefined) changes.push(change);
      }
    }
    if (changes.length > 0) this.#o.apply(changes);
  }

  #changeOf(entry: Entry): RouteChange | undefined {
    const { vrf, prefix, state } = entry;
    const way = entry.isGone ? undefined : this.#wayOf(entry);
    if (entry.isGone) this.#remove(entry);
    else this.#setState(entry, way !== undefined ? 'installed' : this.#isForeign(entry) ? 'foreign' : 'unresolved');
    if (way !== undefined) return { vrf, prefix, source: RouteSource.External, ...way };
    return state === 'installed' ? { vrf, prefix, source: RouteSource.External, nextHops: undefined } : undefined;
  }

  #wayOf(entry: Entry): { readonly nextHops: readonly NextHop[]; readonly kind: RouteKind } | undefined {
    if (entry.type !== 'unicast') return { nextHops: [], kind: KINDS[entry.type] };
    const numbered = typeof entry.hops === 'number';
    const { nextHops: numbers, resolved } = entry.session;
    const hops = numbered ? numbers.hops(entry.hops as number) : (entry.hops as readonly FpmHop[]);
    if (hops === 'blackhole') return { nextHops: [], kind: RouteKind.Blackhole };
    const { vrf } = entry;
    const known = numbered ? resolved.get(entry.hops as number)?.get(vrf) : undefined;
    const nextHops = known ?? (hops ?? []).flatMap((h) => this.#o.resolve(h, vrf));
    if (numbered && known === undefined) {
      const byVrf = resolved.get(entry.hops as number) ?? new Map<number, readonly NextHop[]>();
      resolved.set(entry.hops as number, byVrf.set(vrf, nextHops));
    }
    return nextHops.length === 0 ? undefined : { nextHops, kind: RouteKind.Unicast };
  }

  /** Without any gateway: what is on the client's own links is no fault of the configuration. */
  #isForeign({ hops: told, session }: Entry): boolean {
    const hops = typeof told === 'number' ? session.nextHops.hops(told) : told;
    return typeof hops === 'object' && hops.every((h) => h.gateway === undefined);
  }

  #setState(entry: Entry, state: Entry['state']): void {
    this.#installed += Number(state === 'installed') - Number(entry.state === 'installed');
    this.#unresolved += Number(state === 'unresolved') - Number(entry.state === 'unresolved');
    entry.state = state;
  }

  #remove(entry: Entry): void {
    release(entry);
    if (entry.session === this.#session) this.#fresh--;
    this.#dirty.delete(entry);
    this.#setState(entry, 'new');
    this.#entries.delete(entry.key);
  }
}

function newSession(number: number): Session {
  return { number, nextHops: new NextHopTable(), resolved: new Map() };
}

function release(entry: Entry): void {
  if (typeof entry.hops === 'number') entry.session.nextHops.unuse(entry.hops, entry);
}

/** Destinations no route is taken for: they have their own rules in the stack. */
function isMartian({ addr }: Prefix): boolean {
  return addr.isMulticast || addr.isLoopback || (addr.family === 6 && addr.isLinkLocal);
}

function keyOf(vrf: number, prefix: Prefix): string {
  return `${vrf} ${prefix}`;
}
