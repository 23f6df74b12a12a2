/**
 * VPN routes held from one peer, as they came and with what became of them, and their counts. They may outlive the session
 * (bgp/retention.ts). Does not judge routes and tells nobody; the room does.
 * Epochs say how a route has outlived what would have withdrawn it (RFC 4724 §4.2): those of an earlier epoch than their family's
 * are stale, and those from before a sweep are gone, though they stand here until somebody deletes them. So a large table is
 * marked and swept at once, and left in slices.
 */

import type { Prefix } from '../../router/lib/addr.ts';
import type { VpnAccepted, VpnFamily, VpnPeer, VpnSender } from '../ports.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';
import type { VpnPrefix } from './nlri.ts';
import { PrefixIndex } from './prefix-index.ts';
import type { HeldRoutes, VpnCounts } from './vpn-feed.ts';

/** What the routes of one UPDATE have in common, as it came. */
export interface Reached {
  readonly attributes: Attributes;
  readonly hop: NextHop;
  /** The attributes as octets: equal ones mean that nothing has changed. */
  readonly octets: Uint8Array;
}

export interface HeldRoute {
  /** `vpnKey` of the prefix. */
  readonly key: string;
  readonly prefix: VpnPrefix;
  readonly reached: Reached;
  /** Path identifier under which VRFs and other peers have it. */
  readonly number: number;
  /** Undefined = policy refuses it. */
  readonly accepted: VpnAccepted | undefined;
  /** VRFs that import one of its targets. */
  readonly vrfs: readonly string[];
  /** It has a label other than implicit null: it is passed on and not imported. */
  readonly isLabelled: boolean;
  /** When it was told; `Held` alone changes it. */
  epoch: number;
  /** It is kept for longer than a restart takes (RFC 9494 §4.2). */
  readonly isLongLived: boolean;
  /** The session that told it; a later session of the peer is another one. */
  readonly sender: VpnSender;
}

export const FAMILY_OF = { 4: 'vpnv4', 6: 'vpnv6' } as const;

export class Held implements HeldRoutes {
  readonly received: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  readonly accepted: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  readonly stale: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  /** Those among the accepted that are fresh. */
  readonly #acceptedFresh: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  /** What is told now is of this epoch; what is of one before `#swept` is gone. */
  readonly #epoch: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  readonly #swept: VpnCounts = { vpnv4: 0, vpnv6: 0 };
  /** The peer as it was in its last session. */
  peer: VpnPeer;
  readonly #routes = new Map<string, HeldRoute>();
  /** Those that policy refuses: the others stand in the room's table. */
  readonly #refused = new PrefixIndex<HeldRoute>();
  readonly #watchers = new Set<(key: string) => void>();

  constructor(peer: VpnPeer) {
    this.peer = peer;
  }

  get size(): number {
    return this.received.vpnv4 + this.received.vpnv6;
  }

  epoch(family: VpnFamily): number {
    return this.#epoch[family];
  }

  isFresh(route: HeldRoute): boolean {
    return route.epoch === this.#epoch[familyOf(route)];
  }

  isGone(route: HeldRoute): boolean {
    return route.epoch < this.#swept[familyOf(route)];
  }

  /** @param key `vpnKey` of the prefix */
  get(key: string, prefix: VpnPrefix): HeldRoute | undefined {
    const route = this.known(key, prefix);
    return route === undefined || this.isGone(route) ? undefined : route;
  }

  /** The same, also where it is gone and has not been deleted. */
  known(key: string, { pathId }: VpnPrefix): HeldRoute | undefined {
    return this.#routes.get(idOf(key, pathId));
  }

  put(route: HeldRoute): void {
    const id = idOf(route.key, route.prefix.pathId);
    const before = this.#routes.get(id);
    if (before !== undefined) this.#leave(before);
    this.#routes.set(id, route);
    this.#count(route, 1);
    if (route.accepted === undefined) this.#refused.add(route.prefix.prefix, route);
    for (const changed of this.#watchers) changed(id);
  }

  delete(route: HeldRoute): void {
    const id = idOf(route.key, route.prefix.pathId);
    const known = this.#routes.get(id);
    if (known === undefined) return;
    this.#routes.delete(id);
    this.#leave(known);
    for (const changed of this.#watchers) changed(id);
  }

  #leave(route: HeldRoute): void {
    this.#count(route, -1);
    if (route.accepted === undefined) this.#refused.delete(route.prefix.prefix, route);
  }

  /** Told of each route that is put or deleted, by its key among all. @returns takes the listener away again */
  watch(listener: (key: string) => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** Keys of all routes; they may come and go meanwhile. */
  keys(): IterableIterator<string> {
    return this.#routes.keys();
  }

  /** @param key one of `keys` */
  at(key: string): HeldRoute | undefined {
    const route = this.#routes.get(key);
    return route === undefined || this.isGone(route) ? undefined : route;
  }

  hasRefused(prefix: Prefix): boolean {
    return this.refused(prefix).length > 0;
  }

  /** Routes to a prefix, of any distinguisher, that policy refuses. */
  refused(prefix: Prefix): readonly HeldRoute[] {
    return [...this.#refused.at(prefix)].filter((route) => !this.isGone(route));
  }

  /** Whether a route is held as it is: not withdrawn, not told anew. */
  has(route: HeldRoute): boolean {
    return this.get(route.key, route.prefix) === route;
  }

  get staleAccepted(): VpnCounts {
    const { accepted } = this;
    const fresh = this.#acceptedFresh;
    return { vpnv4: accepted.vpnv4 - fresh.vpnv4, vpnv6: accepted.vpnv6 - fresh.vpnv6 };
  }

  /** A route is told again as it is. */
  toldAgain(route: HeldRoute): void {
    this.#count(route, -1);
    route.epoch = this.#epoch[familyOf(route)];
    this.#count(route, 1);
  }

  /** Whatever is held of a family is stale. */
  markStale(family: VpnFamily): void {
    this.#epoch[family]++;
    this.stale[family] = this.received[family];
    this.#acceptedFresh[family] = 0;
  }

  /** What is stale is gone. */
  sweep(family: VpnFamily): void {
    this.#swept[family] = this.#epoch[family];
    this.received[family] -= this.stale[family];
    this.accepted[family] = this.#acceptedFresh[family];
    this.stale[family] = 0;
  }

  /** All, those that are gone too; they may come and go meanwhile. */
  routes(): IterableIterator<HeldRoute> {
    return this.#routes.values();
  }

  #count(route: HeldRoute, by: 1 | -1): void {
    if (this.isGone(route)) return;
    const family = familyOf(route);
    const isFresh = this.isFresh(route);
    this.received[family] += by;
    if (!isFresh) this.stale[family] += by;
    if (route.accepted === undefined) return;
    this.accepted[family] += by;
    if (isFresh) this.#acceptedFresh[family] += by;
  }
}

export function familyOf({ prefix }: Pick<HeldRoute, 'prefix'>): VpnFamily {
  return FAMILY_OF[prefix.prefix.family];
}

/** The paths of one peer to one prefix have identifiers. */
function idOf(key: string, pathId: number): string {
  return pathId === 0 ? key : `${pathId} ${key}`;
}
