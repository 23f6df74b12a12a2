/**
 * What one session is told of the VPN families: keys of prefixes that changed wait here until the connection takes octets, so
 * a peer that does not read costs a set of keys and no more.
 * Read first: RFC 4364 §4.3, RFC 2918 §4, RFC 7313 §4, RFC 4724 §2, RFC 7911, RFC 7606 §5.1.
 */

import type { Negotiated } from '../fsm/negotiate.ts';
import type { TableKind, ToldTable } from '../monitor/told-table.ts';
import type { ExportReason } from '../policy/filter.ts';
import type { VpnBundle, VpnFamily, VpnFeed, VpnPeer, VpnTold } from '../ports.ts';
import { putAttributes } from '../wire/attribute/table.ts';
import type { FamilyName } from '../wire/family.ts';
import { OctetWriter } from '../wire/octets.ts';
import type { HeldRoute } from './held.ts';
import { vpnNextHop } from './nlri.ts';
import type { VpnTelling } from './vpn-explain.ts';
import { isReachable, ranked, type VpnRoute, type VpnTable } from './vpn-table.ts';
import { heldUpdates, reach, reachRoom, runsOf, unreach, unreachRoom, vpnOctets } from './vpn-update.ts';
import { type HeldTable, SessionViews, type TablePath } from './vpn-views.ts';

export const VPN_FAMILIES: readonly VpnFamily[] = ['vpnv4', 'vpnv6'];

export type VpnCounts = Record<VpnFamily, number>;

/** What is held from the peer; it is kept elsewhere, because it may outlive the session. */
export interface HeldRoutes extends HeldTable {
  readonly received: Readonly<VpnCounts>;
  readonly accepted: Readonly<VpnCounts>;
  readonly stale: Readonly<VpnCounts>;
  readonly staleAccepted: Readonly<VpnCounts>;
  routes(): Iterable<HeldRoute>;
  has(route: HeldRoute): boolean;
}

export interface FeedHost {
  readonly table: VpnTable;
  readonly held: HeldRoutes;
  /** The table is as complete as it gets after a start: End-of-RIB may follow it. */
  isComplete(): boolean;
  /** Import policy changed. */
  judgeAgain(): void;
}

export type Transmit = (octets: Uint8Array, messages: number) => void;

/** A path as the peer has it. */
interface ToldPath extends TablePath {
  readonly key: string;
  /** The route's. */
  readonly number: number;
}

/** Changes of one turn, by what they have in common. */
interface Changes {
  readonly gone: Record<VpnFamily, ToldPath[]>;
  readonly groups: Map<VpnTold, { readonly family: VpnFamily; readonly paths: ToldPath[] }>;
}

const BORR = 1;
const EORR = 2;

export class Feed implements VpnFeed {
  readonly advertised: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  readonly #negotiated: Negotiated;
  readonly #peer: VpnPeer;
  readonly #host: FeedHost;
  /** Keys of prefixes that have to be told, or taken back. */
  readonly #waiting = new Set<string>();
  /** Paths the peer has been told, by key. */
  readonly #told = new Map<string, readonly ToldPath[]>();
  /** Families whose prefixes are all to be looked at, and how far that is. */
  readonly #again = new Set<VpnFamily>();
  #walk: { readonly keys: Iterator<string>; left: number } | undefined;
  readonly #endOfRibs = new Set<VpnFamily>();
  /** RFC 7313 §4: the peer asked for everything again, or is being told. */
  readonly #refreshes = new Map<VpnFamily, 'due' | 'running'>();
  readonly #views: SessionViews;

  constructor(negotiated: Negotiated, peer: VpnPeer, host: FeedHost) {
    this.#negotiated = negotiated;
    this.#peer = peer;
    this.#host = host;
    for (const family of VPN_FAMILIES) {
      if (!this.#speaks(family)) continue;
      this.#lookAgain(family);
      this.#endOfRibs.add(family);
    }
    const { context } = negotiated;
    this.#views = new SessionViews({
      peer,
      families: VPN_FAMILIES.filter((f) => this.#speaks(f)),
      fourOctetAs: context.fourOctetAs,
      table: host.table,
      held: host.held,
      receivesPathIds: (family) => context.families[family]?.receivesPathIds === true,
      sendsPathIds: (family) => this.#sendsPathIds(family),
      eligible: (key) => this.#eligible(key),
      toldKeys: () => this.#told.keys(),
      told: (key) => this.#told.get(key) ?? [],
    });
  }

  get received(): Readonly<VpnCounts> {
    return this.#host.held.received;
  }

  get accepted(): Readonly<VpnCounts> {
    return this.#host.held.accepted;
  }

  get stale(): Readonly<VpnCounts> {
    return this.#host.held.stale;
  }

  get staleAccepted(): Readonly<VpnCounts> {
    return this.#host.held.staleAccepted;
  }

  get hasWork(): boolean {
    if (this.#waiting.size > 0 || this.#again.size > 0) return true;
    if (this.#endOfRibs.size > 0) return this.#host.isComplete();
    return this.#refreshes.size > 0;
  }

  /** A route changed. @returns whether nothing waited before */
  touch(key: string, family: VpnFamily): boolean {
    if (!this.#speaks(family)) return false;
    const isFirst = !this.hasWork;
    this.#waiting.add(key);
    this.#views.routesChanged(key);
    return isFirst;
  }

  /** As often as that is asked before it can be done, it is done once. */
  refresh(family: FamilyName): void {
    const vpn = VPN_FAMILIES.find((f) => f === family);
    if (vpn !== undefined && this.#speaks(vpn)) this.#refreshes.set(vpn, 'due');
  }

  policyChanged(): void {
    for (const family of VPN_FAMILIES) if (this.#speaks(family)) this.#lookAgain(family);
    this.#views.policyChanged();
    this.#host.judgeAgain();
  }

  view(kind: Exclude<TableKind, 'loc'>, wake: () => void): ToldTable {
    return this.#views.open(kind, wake);
  }

  *receivedUpdates(): Generator<readonly Uint8Array[]> {
    const { held } = this.#host;
    yield* heldUpdates(held.routes(), this.#negotiated, (route) => held.has(route));
    // RFC 7854 §5: the initial dump of each family is followed by its End-of-RIB.
    yield VPN_FAMILIES.filter((f) => this.#speaks(f)).map((f) => unreach(f, new Uint8Array(0)));
  }

  pull(budget: number, transmit: Transmit): void {
    this.#beginRefreshes();
    this.#walkOn(budget);
    this.#tell(budget, transmit);
    if (this.#waiting.size > 0 || this.#again.size > 0) return;
    for (const [family, state] of this.#refreshes) {
      if (state === 'due') continue;
      this.#peer.mark(family, EORR);
      this.#refreshes.delete(family);
    }
    if (this.#endOfRibs.size === 0 || !this.#host.isComplete()) return;
    for (const family of this.#endOfRibs) transmit(unreach(family, new Uint8Array(0)), 1);
    this.#endOfRibs.clear();
  }

  /** RFC 7313 §4: a BoRR does not stand before the End-of-RIB. */
  #beginRefreshes(): void {
    if (this.#endOfRibs.size > 0) return;
    for (const [family, state] of this.#refreshes) {
      if (state === 'running') continue;
      this.#lookAgain(family);
      if (this.#negotiated.enhancedRefresh) {
        this.#peer.mark(family, BORR);
        this.#refreshes.set(family, 'running');
      } else this.#refreshes.delete(family);
    }
  }

  #lookAgain(family: VpnFamily): void {
    this.#again.add(family);
    this.#walk = undefined;
  }

  /** Takes up some keys at a time: a large table neither takes a whole turn nor waits here as a whole. */
  #walkOn(budget: number): void {
    if (this.#again.size === 0) return;
    const { table } = this.#host;
    // What comes later stands behind, and waits already.
    const walk = (this.#walk ??= { keys: table.keys(), left: table.size });
    for (let n = Math.min(budget, walk.left); n > 0; n--) {
      const { done, value } = walk.keys.next();
      walk.left = done === true ? 0 : walk.left - 1;
      if (done !== true && this.#again.has(table.routes(value)[0]!.bundle.family)) this.#waiting.add(value);
    }
    if (walk.left > 0) return;
    this.#again.clear();
    this.#walk = undefined;
  }

  #speaks(family: VpnFamily): boolean {
    return this.#negotiated.context.families[family] !== undefined;
  }

  #tell(budget: number, transmit: Transmit): void {
    const policies = new Map<VpnBundle, ReturnType<VpnPeer['telling']>>();
    const changes: Changes = { gone: { vpnv4: [], vpnv6: [] }, groups: new Map() };
    let left = budget;
    for (const key of this.#waiting) {
      if (left-- <= 0) break;
      this.#waiting.delete(key);
      this.#look(key, policies, changes);
    }
    for (const [told, { family, paths }] of changes.groups) this.#announce(family, told, paths, changes.gone, transmit);
    for (const family of VPN_FAMILIES) this.#withdraw(family, changes.gone[family], transmit);
  }

  /** What has to be said about a prefix. */
  #look(key: string, policies: Map<VpnBundle, ReturnType<VpnPeer['telling']>>, { gone, groups }: Changes): void {
    const before = this.#told.get(key) ?? [];
    const now: ToldPath[] = [];
    for (const route of this.#eligible(key)) {
      const { bundle, name, label, number } = route;
      if (now.length === this.#limit(bundle.family)) break;
      let policy = policies.get(bundle);
      if (policy === undefined) policies.set(bundle, (policy = this.#peer.telling(bundle)));
      const told = policy(name.prefix);
      if (told === undefined) continue;
      const path = { key, number, name, label, told, id: this.#sendsPathIds(bundle.family) ? number : undefined };
      now.push(path);
      const group = groups.get(told) ?? { family: bundle.family, paths: [] };
      groups.set(told, group);
      group.paths.push(path);
    }
    for (const path of before) if (!now.some((p) => p.id === path.id)) gone[familyOf(path)].push(path);
    this.#remember(key, now);
  }

  /** Why the peer is told each route to a prefix or not. */
  explain(key: string): VpnTelling[] {
    const { table } = this.#host;
    const told = this.#told.get(key) ?? [];
    const eligible = this.#eligible(key);
    const lostAt = table.lostAt(key);
    const reasons = new Map<VpnRoute, ExportReason>();
    let passed = 0;
    for (const route of eligible) {
      const reason = this.#reason(key, route, passed);
      if (reason.policy?.isAccepted === true) passed++;
      reasons.set(route, reason);
    }
    return table.routes(key).map((route, i) => {
      const reason = reasons.get(route) ?? barred(this.#bar(route, lostAt));
      const path = told.find((p) => p.number === route.number);
      return { route, isBest: i === 0 && isReachable(route), told: path?.told, ...reason };
    });
  }

  /** Why a route is not among those that policy is asked about. */
  #bar(route: VpnRoute, lostAt: ReturnType<VpnTable['lostAt']>): string {
    if (!this.#speaks(route.bundle.family)) return `the session carries no IPv${route.name.prefix.family} VPN routes`;
    if (!isReachable(route)) return 'its next hop cannot be reached';
    const step = lostAt.get(route);
    return step === undefined || this.#sendsPathIds(route.bundle.family)
      ? 'it was learned from this peer'
      : `another one with its distinguisher is better: ${step}`;
  }

  /** @param passed how many that are better go to the peer */
  #reason(key: string, { bundle, name, number }: VpnRoute, passed: number): ExportReason {
    const limit = this.#limit(bundle.family);
    if (passed === limit) return barred(`of several paths the peer is told ${limit} at most`);
    const reason = this.#peer.reason(bundle, name.prefix);
    const isTold = this.#told.get(key)?.some((p) => p.number === number) === true;
    const isDue = this.#waiting.has(key) || this.#again.size > 0;
    if (reason.policy?.isAccepted !== true || isTold || isDue) return reason;
    return barred(`its attributes leave no room in a message of ${this.#negotiated.maxMessage} octets`);
  }

  /** The routes to a prefix that the peer may be told, in order: the best one, or with ADD-PATH all but its own. */
  #eligible(key: string): readonly VpnRoute[] {
    const routes = this.#host.table.routes(key).filter(isReachable);
    const [best] = routes;
    if (best === undefined || !this.#speaks(best.bundle.family)) return [];
    const isOwn = ({ bundle }: VpnRoute): boolean => bundle.from?.name === this.#peer.sender.name;
    if (!this.#sendsPathIds(best.bundle.family)) return isOwn(best) ? [] : [best];
    const others = routes.filter((r) => !isOwn(r));
    // Ranking costs a decision per path, so it is done only where not all may be told.
    return others.length > this.#peer.pathLimit ? ranked(others) : others;
  }

  #sendsPathIds(family: VpnFamily): boolean {
    return this.#negotiated.context.families[family]!.sendsPathIds;
  }

  #limit(family: VpnFamily): number {
    return this.#sendsPathIds(family) ? this.#peer.pathLimit : 1;
  }

  #remember(key: string, paths: readonly ToldPath[]): void {
    const [known] = [...(this.#told.get(key) ?? []), ...paths];
    if (known === undefined) return;
    this.advertised[familyOf(known)] += paths.length - (this.#told.get(key)?.length ?? 0);
    if (paths.length === 0) this.#told.delete(key);
    else this.#told.set(key, paths);
    this.#views.toldChanged(key);
  }

  #announce(
    family: VpnFamily,
    { attributes, hop }: VpnTold,
    paths: readonly ToldPath[],
    gone: Record<VpnFamily, ToldPath[]>,
    transmit: Transmit,
  ): void {
    const w = new OctetWriter(256);
    putAttributes(w, attributes, undefined, this.#negotiated.context.fourOctetAs);
    const others = w.take();
    const next = vpnNextHop(hop, family === 'vpnv4' ? 4 : 6);
    const room = reachRoom(this.#negotiated.maxMessage, next, others);
    const fitting: Uint8Array[] = [];
    for (const path of paths) {
      const octets = vpnOctets(path.name, path.label, path.id);
      if (octets.length <= room) fitting.push(octets);
      else {
        // Too many attributes for a message: as if policy had refused it.
        gone[family].push(path);
        this.#remember(
          path.key,
          this.#told.get(path.key)!.filter((p) => p !== path),
        );
      }
    }
    for (const nlri of runsOf(fitting, room)) transmit(reach(family, next, nlri, others), 1);
  }

  #withdraw(family: VpnFamily, paths: readonly ToldPath[], transmit: Transmit): void {
    const room = unreachRoom(this.#negotiated.maxMessage);
    const octets = paths.map((path) => vpnOctets(path.name, undefined, path.id));
    for (const nlri of runsOf(octets, room)) transmit(unreach(family, nlri), 1);
  }
}

function barred(bar: string): ExportReason {
  return { bar, policy: undefined };
}

function familyOf({ name }: ToldPath): VpnFamily {
  return name.prefix.family === 4 ? 'vpnv4' : 'vpnv6';
}
