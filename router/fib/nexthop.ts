/**
 * Next-hop groups, writer's side: interning of equal groups with reference counts, and the shared tables by which a
 * reader turns (group, flow hash) into one next hop.
 *
 * A group with two or more members has BUCKETS flow buckets. Each bucket belongs to the member with the highest weighted
 * rendezvous score (a hash of bucket and member, raised to 1/weight): scores of different members are independent, so
 * a member that leaves, by a link going down or by another group taking this one's place, moves only its own buckets,
 * and one that joins takes buckets without shuffling the rest (RFC 2992 §3 measures the disruption of other methods).
 */
import { hashText } from '../lib/hash-text.ts';
import { mix32 } from './hash.ts';
import {
  BUCKETS,
  GROUP_WORDS,
  MAX_BALANCED_GROUPS,
  MAX_GROUPS,
  MAX_MEMBERS,
  MAX_NEXT_HOPS,
  type NextHop,
  NextHopFlag,
  NextHopWord,
  NO_NEXT_HOP,
  type RouteKind,
} from './shared.ts';

/**
 * Numbers that are handed out and come back. A number is reused as late as possible (fresh ones first, then the one
 * that came back longest ago), so that a reader in the middle of a vector does not meet it with a new meaning.
 */
class NumberPool {
  #next: number;
  readonly #soft: number;
  readonly #hard: number;
  #returned: number[] = [];
  #head = 0;

  /** @param soft fresh numbers are preferred below it @param hard no number reaches it */
  constructor(first: number, soft: number, hard: number) {
    this.#next = first;
    this.#soft = soft;
    this.#hard = hard;
  }

  /** A number, or -1 when all are taken. */
  take(): number {
    if (this.#next >= this.#soft && this.#head < this.#returned.length) {
      const id = this.#returned[this.#head++]!;
      if (this.#head > 1024 && this.#head * 2 > this.#returned.length) {
        this.#returned = this.#returned.slice(this.#head);
        this.#head = 0;
      }
      return id;
    }
    return this.#next < this.#hard ? this.#next++ : -1;
  }

  give(id: number): void {
    this.#returned.push(id);
  }
}

interface Member {
  readonly id: number;
  readonly link: number;
  readonly weight: number;
  /** Identity for rendezvous scores: the same next hop scores the same in every group and after a restart. */
  readonly seed: number;
}

/** One interned group. */
export interface Group {
  readonly id: number;
  readonly kind: RouteKind;
  readonly nextHops: readonly NextHop[];
  readonly members: readonly Member[];
  /** Number of its bucket table, or -1. */
  readonly buckets: number;
  readonly key: string;
  references: number;
}

interface InternedNextHop {
  readonly id: number;
  readonly key: string;
  references: number;
}

/** Ids that fit the 15-bit cells of dir24.ts are preferred. */
const NARROW_GROUPS = 1 << 15;

export class GroupTable {
  readonly groupMemory = new SharedArrayBuffer(MAX_GROUPS * GROUP_WORDS * 4);
  readonly nextHopMemory = new SharedArrayBuffer(MAX_NEXT_HOPS * NextHopWord.Words * 4);
  readonly bucketMemory = new SharedArrayBuffer(MAX_BALANCED_GROUPS * BUCKETS * 2);
  /** Groups refused because a table was full, and members left out of groups with more than MAX_MEMBERS. */
  readonly counters = { groupsRefused: 0, membersLeftOut: 0 };
  readonly #words = new Int32Array(this.groupMemory);
  readonly #hops = new Int32Array(this.nextHopMemory);
  readonly #cells = new Uint16Array(this.bucketMemory);
  readonly #groupIds = new NumberPool(1, NARROW_GROUPS, MAX_GROUPS);
  readonly #hopIds = new NumberPool(0, MAX_NEXT_HOPS, MAX_NEXT_HOPS);
  readonly #bucketIds = new NumberPool(0, 4096, MAX_BALANCED_GROUPS);
  /** By id; a freed one is undefined. */
  readonly #groups: (Group | undefined)[] = [];
  #size = 0;
  readonly #byKey = new Map<string, Group>();
  readonly #hopsByKey = new Map<string, InternedNextHop>();
  readonly #linksDown = new Set<number>();
  /** Unicast groups by the array the caller passed, so that a batch of routes with one array builds no keys. */
  #byArray = new WeakMap<readonly NextHop[], Group>();

  get size(): number {
    return this.#size;
  }

  get(id: number): Group | undefined {
    return this.#groups[id];
  }

  /** The group of these next hops with one more reference, or undefined when a table is full (counted). */
  acquire(kind: RouteKind, nextHops: readonly NextHop[]): Group | undefined {
    const known = this.#byArray.get(nextHops);
    if (known !== undefined && known.references > 0 && known.kind === kind) {
      known.references++;
      return known;
    }
    const group = this.#intern(kind, nextHops);
    if (group === undefined) {
      this.counters.groupsRefused++;
      return undefined;
    }
    group.references++;
    this.#byArray.set(nextHops, group);
    return group;
  }

  /** Give one reference back; the last one frees the group. Call it after no table refers to the group any more. */
  release(id: number): void {
    const group = this.#groups[id]!;
    if (--group.references > 0) return;
    this.#groups[id] = undefined;
    this.#size--;
    this.#byKey.delete(group.key);
    for (const hop of group.nextHops.slice(0, MAX_MEMBERS)) this.#releaseHop(nextHopKey(hop));
    if (group.buckets >= 0) this.#bucketIds.give(group.buckets);
    this.#groupIds.give(id);
  }

  /** Mask the members of a link: O(groups), no route is touched. Returns whether anything changed. */
  linkDown(link: number): boolean {
    if (this.#linksDown.has(link)) return false;
    this.#linksDown.add(link);
    return this.#refill(link);
  }

  linkUp(link: number): boolean {
    return this.#linksDown.delete(link) && this.#refill(link);
  }

  isLinkDown(link: number): boolean {
    return this.#linksDown.has(link);
  }

  #refill(link: number): boolean {
    let changed = false;
    for (const group of this.#groups) {
      if (group === undefined || !group.members.some((m) => m.link === link)) continue;
      this.#write(group);
      changed = true;
    }
    return changed;
  }

  #intern(kind: RouteKind, given: readonly NextHop[]): Group | undefined {
    const nextHops = given.length > MAX_MEMBERS ? given.slice(0, MAX_MEMBERS) : given;
    const keys = nextHops.map((h) => `${nextHopKey(h)}*${h.weight ?? 1}`).sort();
    const key = `${kind} ${keys.join(' ')}`;
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    this.counters.membersLeftOut += given.length - nextHops.length;
    const id = this.#groupIds.take();
    const buckets = nextHops.length > 1 ? this.#bucketIds.take() : -1;
    const members = id < 0 || (nextHops.length > 1 && buckets < 0) ? undefined : this.#acquireHops(nextHops);
    if (members === undefined) {
      if (id >= 0) this.#groupIds.give(id);
      if (buckets >= 0) this.#bucketIds.give(buckets);
      return undefined;
    }
    const group: Group = { id, kind, nextHops, members, buckets, key, references: 0 };
    while (this.#groups.length <= id) this.#groups.push(undefined);
    this.#groups[id] = group;
    this.#size++;
    this.#byKey.set(key, group);
    this.#write(group);
    return group;
  }

  /** References to all of them, or to none when the table is full. */
  #acquireHops(nextHops: readonly NextHop[]): Member[] | undefined {
    const members: Member[] = [];
    for (const hop of nextHops) {
      const key = nextHopKey(hop);
      let interned = this.#hopsByKey.get(key);
      if (interned === undefined) {
        const id = this.#hopIds.take();
        if (id < 0) {
          for (const taken of nextHops.slice(0, members.length)) this.#releaseHop(nextHopKey(taken));
          return undefined;
        }
        interned = { id, key, references: 0 };
        this.#hopsByKey.set(key, interned);
        this.#writeHop(id, hop);
      }
      interned.references++;
      members.push({ id: interned.id, link: hop.link, weight: hop.weight ?? 1, seed: mix32(hashText(key)) });
    }
    return members;
  }

  #releaseHop(key: string): void {
    const hop = this.#hopsByKey.get(key)!;
    if (--hop.references > 0) return;
    this.#hopsByKey.delete(key);
    this.#hopIds.give(hop.id);
  }

  #writeHop(id: number, hop: NextHop): void {
    const at = id * NextHopWord.Words;
    const { gateway, source } = hop;
    this.#hops[at + NextHopWord.Link] = hop.link;
    this.#hops[at + NextHopWord.Flags] = (gateway ? NextHopFlag.Gateway : 0) | (source ? NextHopFlag.Source : 0);
    this.#hops.set(gateway ? [gateway.a0, gateway.a1, gateway.a2, gateway.a3] : [0, 0, 0, 0], at + NextHopWord.Gateway);
    this.#hops.set(source ? [source.a0, source.a1, source.a2, source.a3] : [0, 0, 0, 0], at + NextHopWord.Source);
  }

  /** Write kind and member choice from the links that are up. Each cell changes by one store, from right to right. */
  #write(group: Group): void {
    const alive = group.members.filter((m) => !this.#linksDown.has(m.link));
    const at = group.id * GROUP_WORDS;
    this.#words[at] = group.kind;
    if (group.buckets < 0) {
      Atomics.store(this.#words, at + 1, alive[0]?.id ?? -1);
      return;
    }
    for (let b = 0; b < BUCKETS; b++) this.#cells[group.buckets * BUCKETS + b] = choose(alive, b);
    Atomics.store(this.#words, at + 1, alive.length === 0 ? -1 : -2 - group.buckets);
  }
}

/** The member with the highest score for bucket `b`; weighted rendezvous: u^(1/weight) with u uniform in (0, 1). */
function choose(members: readonly Member[], b: number): number {
  let best = NO_NEXT_HOP;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const m of members) {
    const u = ((mix32(m.seed + Math.imul(b + 1, 0x9e3779b1)) >>> 0) + 0.5) / 4294967296;
    const score = Math.log(u) / m.weight;
    if (score > bestScore) {
      bestScore = score;
      best = m.id;
    }
  }
  return best;
}

function nextHopKey(h: NextHop): string {
  return `${h.link},${h.gateway ?? ''},${h.source ?? ''}`;
}
