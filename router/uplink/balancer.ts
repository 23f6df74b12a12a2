/**
 * Which uplink of a group a new flow takes. One kind of balancer per way of choosing; all respect weights and pass over
 * uplinks that cannot be used now, or have no address of the flow's family. Flows that have their uplink keep it: a balancer is asked once per flow.
 */
import { mix32 } from '../fib/hash.ts';
import type { Family } from '../lib/addr.ts';
import type { Random } from '../lib/rand.ts';

/**
 * `round_robin`: in turn, exactly by weight. `random`: by weight. `hash`: by the flow's 5-tuple, so that losing an uplink moves
 * only its own flows. `sticky`: by destination address alone. `least_loaded`: the one whose traffic is the smallest part of
 * its capacity. `failover`: the first in order that can be used.
 */
export const BALANCE_KINDS = ['round_robin', 'random', 'hash', 'sticky', 'least_loaded', 'failover'] as const;
export type BalanceKind = (typeof BALANCE_KINDS)[number];

export interface GroupMember {
  /** Index of the uplink. */
  readonly uplink: number;
  /** Positive; shares are proportional to it. `auto`: its capacity in Mbit/s, configured or measured. */
  readonly weight: number | 'auto';
}

export interface UplinkGroup {
  readonly name: string;
  readonly balance: BalanceKind;
  readonly members: readonly GroupMember[];
}

/** Families of addresses, as bits. */
export const Families = { V4: 1, V6: 2, Any: 3 } as const;

/** Families that these are of. */
export function familiesOf(addresses: readonly { readonly family: Family }[]): number {
  return addresses.reduce((found, a) => found | (a.family === 4 ? Families.V4 : Families.V6), 0);
}

/** What a balancer has to know of an uplink, kept by its owner; all fields may change at any time. */
export interface UplinkLoad {
  /** Healthy and not drained. */
  readonly isUsable: boolean;
  /** Families that it has addresses of: it is no candidate for flows of another one. */
  readonly families: number;
  /** Octets per second at present, both directions. */
  readonly rate: number;
  /** Octets per second it can carry, as configured; 0 = unknown. */
  readonly capacity: number;
  /** The most it was seen to carry lately, octets per second; 0 = nothing yet. */
  readonly peak: number;
}

/** What is known of a flow when it is shared out. */
export interface FlowKey {
  /** Hash of the 5-tuple; of what is known of it, and the socket instead of a port that is not chosen yet. */
  readonly flowHash: number;
  /** Hash of the destination address alone. */
  readonly targetHash: number;
  /** The family of the destination; Any = it is not known yet. */
  readonly families: number;
}

/**
 * Weights of a group's members by what is known of their uplinks now. One that has been idle, or is new, still gets a part
 * of the fastest one's share: what it can carry shows only when it is used.
 */
export function memberWeights(group: UplinkGroup, loads: readonly UplinkLoad[]): Float64Array {
  const measured = group.members.map(({ uplink, weight }) => {
    const { capacity, peak } = loads[uplink]!;
    return weight === 'auto' ? (capacity > 0 ? capacity : peak) / MBIT : weight;
  });
  const known = measured.filter((w) => w > 0);
  const typical = known.length === 0 ? 1 : known.reduce((sum, w) => sum + w, 0) / known.length;
  const least = Math.max(typical, ...known) * LEAST_AUTO_SHARE;
  return Float64Array.from(group.members, ({ weight }, i) =>
    weight === 'auto' ? Math.max(least, measured[i]! > 0 ? measured[i]! : typical) : weight,
  );
}

/** Octets per second. */
const MBIT = 125_000;
/** What measured weights are at least, as a part of the greatest. */
const LEAST_AUTO_SHARE = 1 / 8;
/** Weights follow what is measured once they are off by more than this: sticky destinations and hashes move with them. */
const REWEIGH_FROM = 1.25;

/** Nothing of the group can be used. */
export const NO_UPLINK = -1;

export class Balancer {
  readonly group: UplinkGroup;
  readonly #loads: readonly UplinkLoad[];
  readonly #random: Random;
  /** Smooth weighted round robin: what each member has been passed over for, so that turns are spread evenly. */
  readonly #credit: Float64Array;
  /** The same for IPv6 flows, while not all members have addresses of both families. */
  readonly #credit6: Float64Array;
  /** Flows given to each member since its rate was measured last: they will be part of the rate later. */
  readonly #fresh: Int32Array;
  readonly #weights: Float64Array;
  readonly #isMeasured: boolean;

  /** @param loads by index of uplink; the array is kept, its entries are read at each choice */
  constructor(group: UplinkGroup, loads: readonly UplinkLoad[], random: Random) {
    this.group = group;
    this.#loads = loads;
    this.#random = random;
    this.#credit = new Float64Array(group.members.length);
    this.#credit6 = new Float64Array(group.members.length);
    this.#fresh = new Int32Array(group.members.length);
    this.#weights = memberWeights(group, loads);
    this.#isMeasured = group.members.some((m) => m.weight === 'auto');
  }

  /** Its members' present weights, in their order. */
  get weights(): readonly number[] {
    return [...this.#weights];
  }

  /** Rates of uplinks were measured: flows given out before are in them. @returns whether weights are other ones now */
  measured(): boolean {
    this.#fresh.fill(0);
    if (!this.#isMeasured) return false;
    const weights = memberWeights(this.group, this.#loads);
    const hasMoved = weights.some((w, i) => {
      const before = this.#weights[i]!;
      return Math.max(w, before) > Math.min(w, before) * REWEIGH_FROM;
    });
    if (hasMoved) this.#weights.set(weights);
    return hasMoved;
  }

  /** @returns index of an uplink, or NO_UPLINK. Allocates nothing. */
  pick(flow: FlowKey): number {
    const member = this.#choose(flow);
    if (member < 0) return NO_UPLINK;
    this.#fresh[member]!++;
    return this.group.members[member]!.uplink;
  }

  /** The uplink a flow would be given that came now; what is asked for here takes no turn. @returns as `pick` */
  peek(flow: FlowKey): number {
    const member = this.group.balance === 'round_robin' ? this.#firstInTurn(flow.families) : this.#choose(flow);
    return member < 0 ? NO_UPLINK : this.group.members[member]!.uplink;
  }

  #choose(flow: FlowKey): number {
    switch (this.group.balance) {
      case 'round_robin':
        return this.#nextInTurn(flow.families);
      case 'random':
        return this.#anyByWeight(flow.families);
      case 'hash':
        return this.#rendezvous(flow.flowHash, flow.families);
      case 'sticky':
        return this.#rendezvous(flow.targetHash, flow.families);
      case 'least_loaded':
        return this.#leastLoaded(flow.families);
      case 'failover':
        return this.#firstUsable(flow.families);
    }
  }

  #isUsable(member: number, families: number): boolean {
    const load = this.#loads[this.group.members[member]!.uplink]!;
    return load.isUsable && (load.families & families) !== 0;
  }

  #firstUsable(families: number): number {
    for (let i = 0; i < this.#weights.length; i++) if (this.#isUsable(i, families)) return i;
    return -1;
  }

  /** Both families share one round while they have the same candidates. */
  #creditFor(families: number): Float64Array {
    if (families !== Families.V6) return this.#credit;
    for (let i = 0; i < this.#weights.length; i++)
      if (this.#isUsable(i, Families.V4) !== this.#isUsable(i, Families.V6)) return this.#credit6;
    return this.#credit;
  }

  /** Everybody gains its weight, the richest pays the sum: weights 3 and 1 give A A B A, never A A A B. */
  #nextInTurn(families: number): number {
    const credit = this.#creditFor(families);
    let sum = 0;
    let best = -1;
    for (let i = 0; i < credit.length; i++) {
      if (!this.#isUsable(i, families)) {
        credit[i] = 0;
        continue;
      }
      const weight = this.#weights[i]!;
      sum += weight;
      credit[i]! += weight;
      if (best < 0 || credit[i]! > credit[best]!) best = i;
    }
    if (best >= 0) credit[best]! -= sum;
    return best;
  }

  /** Who `#nextInTurn` would name. */
  #firstInTurn(families: number): number {
    const credits = this.#creditFor(families);
    let best = -1;
    let most = 0;
    for (let i = 0; i < credits.length; i++) {
      if (!this.#isUsable(i, families)) continue;
      const credit = credits[i]! + this.#weights[i]!;
      if (best >= 0 && credit <= most) continue;
      best = i;
      most = credit;
    }
    return best;
  }

  #anyByWeight(families: number): number {
    let sum = 0;
    for (let i = 0; i < this.#weights.length; i++) if (this.#isUsable(i, families)) sum += this.#weights[i]!;
    let left = ((this.#random.int32() >>> 0) / 4294967296) * sum;
    let last = -1;
    for (let i = 0; i < this.#weights.length; i++) {
      if (!this.#isUsable(i, families)) continue;
      last = i;
      left -= this.#weights[i]!;
      if (left < 0) break;
    }
    return last;
  }

  /** Highest random weight: scores are independent, so a member that leaves moves only its own flows. */
  #rendezvous(hash: number, families: number): number {
    let best = -1;
    let bestScore = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#weights.length; i++) {
      if (!this.#isUsable(i, families)) continue;
      const mixed = mix32(hash ^ Math.imul(this.group.members[i]!.uplink + 1, 0x9e3779b1)) >>> 0;
      const score = -Math.log((mixed + 1) / 4294967297) / this.#weights[i]!;
      if (score >= bestScore) continue;
      best = i;
      bestScore = score;
    }
    return best;
  }

  /** Octets per second that a member whose capacity nobody told is taken to carry. */
  #guess(member: number): number {
    return this.#isMeasured ? UNKNOWN_CAPACITY : this.#weights[member]! * UNKNOWN_CAPACITY;
  }

  /** Part of the capacity in use, fresh flows counted as one average share each; weights stand in for unknown capacities. */
  #leastLoaded(families: number): number {
    let best = -1;
    let bestScore = Number.POSITIVE_INFINITY;
    for (let i = 0; i < this.#weights.length; i++) {
      if (!this.#isUsable(i, families)) continue;
      const load = this.#loads[this.group.members[i]!.uplink]!;
      const capacity = load.capacity > 0 ? load.capacity : Math.max(load.peak, this.#guess(i));
      const score = load.rate / capacity + ((this.#fresh[i]! + 1) * FRESH_SHARE) / capacity;
      if (score >= bestScore) continue;
      best = i;
      bestScore = score;
    }
    return best;
  }
}

/** Octets per second that one weight stands for where no capacity is known: 10 Mbit/s. */
const UNKNOWN_CAPACITY = 1_250_000;
/** What a flow is taken to need before it is measured: 1 Mbit/s. */
const FRESH_SHARE = 125_000;
