/**
 * The peers of a speaker, by name and by the number tables know them by, and the ranges new ones may come from.
 * Makes and forgets peers; does not talk to them.
 */

import type { Addr } from '../router/lib/addr.ts';
import type { Instant } from '../router/lib/clock.ts';
import { Peer, type PeerContext, type RetentionFor } from './peer.ts';
import type { PeerConfig } from './peer-config.ts';
import type { LinkId, PeerSecurity } from './ports.ts';
import { type RangeConfig, Ranges } from './ranges.ts';

/** What all peers of a speaker have in common. */
export type CommonContext = Omit<PeerContext, 'range'>;

export class Roster {
  readonly #byIndex: (Peer | undefined)[];
  readonly ranges = new Ranges();
  readonly #context: CommonContext;
  readonly #retained: RetentionFor;
  readonly #byName = new Map<string, Peer>();
  /** Numbers of removed peers: those a table may still speak of, and those that may be used again. */
  #retired: number[] = [];
  readonly #free: number[] = [];

  /** @param byIndex peers by number, kept by the roster; number 0 stands for ourselves */
  constructor(byIndex: (Peer | undefined)[], context: CommonContext, retained: RetentionFor) {
    this.#byIndex = byIndex;
    this.#context = context;
    this.#retained = retained;
  }

  /** All peers, in the order they were added. */
  [Symbol.iterator](): IterableIterator<Peer> {
    return this.#byName.values();
  }

  get(name: string): Peer | undefined {
    return this.#byName.get(name);
  }

  /** @throws RangeError when the name is taken */
  add(config: PeerConfig, range: string | undefined, now: Instant): Peer {
    if (this.#byName.has(config.name)) throw new RangeError(`peer ${config.name} exists`);
    const index = this.#free.pop() ?? this.#byIndex.length;
    const peer = new Peer(config, index, { ...this.#context, range }, this.#retained, now);
    this.#byIndex[index] = peer;
    this.#byName.set(config.name, peer);
    return peer;
  }

  delete(peer: Peer): void {
    this.#byName.delete(peer.config.name);
    this.#byIndex[peer.index] = undefined;
    this.#retired.push(peer.index);
  }

  /** Every prefix has been decided: no table speaks of removed peers any more. */
  decided(): void {
    if (this.#retired.length === 0) return;
    this.#free.push(...this.#retired);
    this.#retired = [];
  }

  /** The peer that may connect from there, and may be new: a member of a range that has room. */
  expected(remote: Addr, link: LinkId, now: Instant): Peer | undefined {
    for (const p of this) {
      if (p.config.link === link && p.config.address.equals(remote)) return p.isHeld ? undefined : p;
    }
    const range = this.ranges.find(remote, link);
    if (range === undefined || this.#members(range) >= Ranges.maxPeers(range)) return undefined;
    return this.add(Ranges.member(range, remote), range.name, now);
  }

  /** A peer of a range that is gone with everything of it, and that may come back at any time. */
  isForgettable(peer: Peer): boolean {
    if (peer.range === undefined || peer.conduits.size > 0 || peer.retention.isKeeping) return false;
    if (peer.session.isHeldBack) return false;
    return this.get(peer.config.name) === peer && !peer.isShutDown;
  }

  /** Who may connect, apart from the peers there are. */
  security(): PeerSecurity[] {
    return this.ranges.security();
  }

  #members(range: RangeConfig): number {
    let n = 0;
    for (const p of this) if (p.range === range.name) n++;
    return n;
  }
}
