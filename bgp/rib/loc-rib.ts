/**
 * The Loc-RIB of one family: the best route to each prefix and the next hops that forward to it.
 * Read first: RFC 4271 §3.2 and §9.1.2. Prefixes whose candidates changed wait in a queue, so that a burst of changes to
 * one prefix costs one decision, and so that a full table can be worked off in slices.
 */

import { grown } from '../../router/lib/columns.ts';
import type { PrefixTable } from '../../router/lib/prefix-table.ts';
import type { FibNextHop, Way } from '../ports.ts';
import { type AdjRibsIn, Staleness } from './adj-rib-in.ts';
import type { AttrSet, AttrTable } from './attrs.ts';
import { type Candidates, decide } from './decision.ts';
import { type Multipath, sharesOf, spreadOut } from './multipath.ts';
import { IdQueue } from './queue.ts';
import { NO_WAY, type NumberedWay, type WayTable } from './ways.ts';

/** A next hop with its cost, and the way of a route that uses it alone: what most routes forward to. */
export interface ResolvedHop extends FibNextHop {
  readonly cost: number;
  readonly alone: NumberedWay;
}

export interface LocRibInputs extends Candidates {
  readonly table: AttrTable;
  /** Undefined when the route's next hop cannot be reached now: the route is not eligible (RFC 4271 §9.1.2). */
  hop(route: number): ResolvedHop | undefined;
}

/** Told about each prefix whose best route or way changed. */
export type OnChange = (prefix: number, routeChanged: boolean, wayChanged: boolean) => void;

const NONE = -1;

export class LocRib {
  readonly #prefixes: PrefixTable;
  readonly #routes: AdjRibsIn;
  readonly #table: AttrTable;
  readonly #inputs: LocRibInputs;
  /** Prefixes are decided by it from their next decision on. */
  multipath: Multipath;
  readonly #dirty: IdQueue;
  /** Peer whose route is best + 1, 0 = no route. */
  #peer = new Uint16Array(0);
  /** Number of its attribute set + 1. */
  #attrs = new Int32Array(0);
  /** Number of the way, 0 = not forwarded. */
  #way = new Int32Array(0);
  readonly #set: number[] = [];
  readonly #equal: number[] = [];
  readonly #ways: WayTable;
  #size = 0;

  constructor(
    prefixes: PrefixTable,
    routes: AdjRibsIn,
    table: AttrTable,
    ways: WayTable,
    inputs: LocRibInputs,
    multipath: Multipath,
  ) {
    this.#prefixes = prefixes;
    this.#routes = routes;
    this.#table = table;
    this.#ways = ways;
    this.#inputs = inputs;
    this.multipath = multipath;
    this.#dirty = new IdQueue(prefixes);
  }

  /** Prefixes with a best route. */
  get size(): number {
    return this.#size;
  }

  /** Prefixes that wait for a decision. */
  get pending(): number {
    return this.#dirty.size;
  }

  /** Peer whose route is best, -1 when there is none. */
  peer(prefix: number): number {
    return prefix < this.#peer.length ? this.#peer[prefix]! - 1 : NONE;
  }

  attrs(prefix: number): AttrSet | undefined {
    const id = this.attrsNumber(prefix);
    return id < 0 ? undefined : this.#table.set(id);
  }

  /** Number of the best route's attribute set, -1 when there is no route. */
  attrsNumber(prefix: number): number {
    return prefix < this.#attrs.length ? this.#attrs[prefix]! - 1 : NONE;
  }

  /** Number of the way packets go; 0 for no route, and for prefixes of our own, which end here. */
  wayNumber(prefix: number): number {
    return prefix < this.#way.length ? this.#way[prefix]! : NO_WAY;
  }

  way(prefix: number): Way | undefined {
    return this.#ways.get(this.wayNumber(prefix));
  }

  /** The candidates of a prefix changed. */
  touch(prefix: number): void {
    this.#dirty.push(prefix);
  }

  /** All prefixes with a best route. */
  forEach(visit: (prefix: number) => void): void {
    this.slice(0, this.#peer.length, visit);
  }

  /**
   * A part of the same: looks at up to `budget` prefixes from `from` on.
   * @returns where to go on, -1 at the end
   */
  slice(from: number, budget: number, visit: (prefix: number) => void): number {
    const limit = Math.min(this.#prefixes.limit, this.#peer.length);
    const end = Math.min(limit, from + budget);
    for (let id = from; id < end; id++) if (this.#peer[id] !== 0) visit(id);
    return end >= limit ? NONE : end;
  }

  /** What the decision process asks. */
  get inputs(): LocRibInputs {
    return this.#inputs;
  }

  /** The attributes of a route that is a candidate. */
  acceptedSet(route: number): AttrSet {
    return this.#table.set(this.#routes.acceptedOf[route]!);
  }

  /**
   * Decide up to `budget` waiting prefixes.
   * @param onDecided told about each of them, also where the best route stayed: another candidate may have changed
   */
  process(budget: number, onChange: OnChange, onDecided?: (prefix: number) => void): void {
    for (let i = 0; i < budget; i++) {
      const prefix = this.#dirty.shift();
      if (prefix < 0) return;
      this.#decide(prefix, onChange);
      onDecided?.(prefix);
      this.#prefixes.release(prefix);
    }
  }

  /** Routes of a prefix that may become best, into `set`; returns how many. */
  eligible(prefix: number, set: number[]): number {
    let n = 0;
    for (let r = this.#routes.first(prefix); r >= 0; r = this.#routes.next(r)) {
      if (this.#routes.acceptedOf[r]! < 0 || this.#routes.staleOf[r] === Staleness.Gone) continue;
      if (this.#inputs.hop(r) !== undefined) set[n++] = r;
    }
    return n;
  }

  #decide(prefix: number, onChange: OnChange): void {
    const n = this.eligible(prefix, this.#set);
    const best = n === 0 ? NONE : n === 1 ? this.#set[0]! : decide(this.#set, n, this.#inputs, this.#equal);
    const peer = best < 0 ? NONE : this.#routes.peerOf[best]!;
    const attrs = best < 0 ? NONE : this.#routes.acceptedOf[best]!;
    const way = best < 0 ? undefined : this.#inputs.isLocal(best) ? this.#localWay(best) : this.#forwardedBy(best, n);

    this.#peer = grown(this.#peer, prefix, 0, 8);
    this.#way = grown(this.#way, prefix, 0, 9);
    this.#attrs = grown(this.#attrs, prefix, 0, 10);
    const was = this.#attrs[prefix]! - 1;
    const wayWas = this.#way[prefix]!;
    const routeChanged = this.#peer[prefix]! - 1 !== peer || was !== attrs;
    const wayChanged = way !== this.#ways.get(wayWas);
    if (!routeChanged && !wayChanged) return;
    if (attrs >= 0) this.#table.retain(attrs);
    if (was >= 0) this.#table.release(was);
    if (attrs >= 0 && was < 0) {
      this.#prefixes.retain(prefix);
      this.#size++;
    }
    this.#peer[prefix] = peer + 1;
    this.#attrs[prefix] = attrs + 1;
    if (wayChanged) {
      this.#way[prefix] = way === undefined ? NO_WAY : this.#ways.retain(way);
      this.#ways.release(wayWas);
    }
    onChange(prefix, routeChanged, wayChanged);
    if (attrs < 0 && was >= 0) {
      this.#size--;
      this.#prefixes.release(prefix);
    }
  }

  /** Networks of ours end here, in routes of others than BGP; aggregates discard what comes. */
  #localWay(best: number): NumberedWay | undefined {
    const { alone } = this.#inputs.hop(best)!;
    return alone.kind === 'unicast' ? undefined : alone;
  }

  #forwardedBy(best: number, candidates: number): NumberedWay {
    return candidates === 1 ? this.#inputs.hop(best)!.alone : this.#wayOf(best);
  }

  /** The way by the next hops of the best route and of those equal to it, without repetitions. */
  #wayOf(best: number): NumberedWay {
    const first = this.#inputs.hop(best)!;
    if (this.multipath.maxPaths === 1 || this.#equal.length === 1) return first.alone;
    const { hops, weights } = sharesOf(best, this.#equal, this.#inputs, (r) => this.#inputs.hop(r)!, this.multipath);
    const shared = spreadOut(hops, weights);
    if (hops.length === 1 || shared.hops.length === 1) return first.alone;
    return this.#ways.several(shared.hops, shared.weights, first.alone.isInternal);
  }
}
