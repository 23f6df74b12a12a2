/**
 * Balancers as the programs run them: a ring of ways, of which a new flow takes the next, any, or the one at the place of its hash.
 * Each family has its ring, which leaves out uplinks that cannot be used or have no address of the family; an empty one refuses
 * the flow.
 *
 * Round robin is the same sequence as router/uplink/balancer.ts gives. Hash and sticky choose per place of the ring what the
 * balancer chooses per hash, so that losing an uplink moves only what stood at its places.
 */
import { Random } from '../lib/rand.ts';
import { Balancer, Families, type UplinkGroup, type UplinkLoad } from '../uplink/balancer.ts';
import { MEMBERS, RING } from './layout.ts';

/** Places a group's ring may need, whichever members can be used and whatever measured weights become. */
export function ringRoom(group: UplinkGroup): number {
  switch (group.balance) {
    case 'failover':
      return 1;
    case 'least_loaded':
      return Math.min(MEMBERS, group.members.length);
    case 'hash':
    case 'sticky':
      return RING;
    default: {
      const weights = group.members.map((m) => m.weight).filter((w) => w !== 'auto');
      return weights.length < group.members.length ? RING : Math.min(RING, sumOf(exactTurns(weights)));
    }
  }
}

/**
 * @param weights of the group's members, in their order
 * @param isUsable by index of uplink, for flows of the ring's family
 * @returns indices of uplinks; empty when none can be used
 */
export function ringOf(
  group: UplinkGroup,
  weights: readonly number[],
  isUsable: (uplink: number) => boolean,
): number[] {
  const weighed = group.members.map(({ uplink }, i) => ({ uplink, weight: weights[i]! }));
  const members = weighed.filter((m) => isUsable(m.uplink));
  if (members.length === 0) return [];
  switch (group.balance) {
    case 'failover':
      return [members[0]!.uplink];
    case 'least_loaded':
      return members.slice(0, MEMBERS).map((m) => m.uplink);
    case 'hash':
    case 'sticky':
      return places({ ...group, members: weighed }, isUsable);
    default:
      return inTurn(
        members.map((m) => m.uplink),
        turnsOf(members.map((m) => m.weight)),
      );
  }
}

function places(group: UplinkGroup, isUsable: (uplink: number) => boolean): number[] {
  const loads = loadsOf(group, isUsable);
  const balancer = new Balancer({ ...group, balance: 'hash' }, loads, new Random(1));
  return Array.from({ length: RING }, (_, place) =>
    balancer.pick({ flowHash: place, targetHash: place, families: Families.Any }),
  );
}

function loadsOf(group: UplinkGroup, isUsable: (uplink: number) => boolean): UplinkLoad[] {
  const last = Math.max(...group.members.map((m) => m.uplink));
  const load = { families: Families.Any, rate: 0, capacity: 0, peak: 0 };
  return Array.from({ length: last + 1 }, (_, i) => ({ ...load, isUsable: isUsable(i) }));
}

/** Everybody gains its turns, the richest pays the sum: evenly spread, as the balancer does. */
function inTurn(ways: readonly number[], turns: readonly number[]): number[] {
  const sum = Math.min(RING, sumOf(turns));
  const credit = turns.map(() => 0);
  return Array.from({ length: sum }, () => {
    let best = 0;
    for (let i = 0; i < turns.length; i++) {
      credit[i]! += turns[i]!;
      if (credit[i]! > credit[best]!) best = i;
    }
    credit[best]! -= sum;
    return ways[best]!;
  });
}

/** Weights as turns of one round: exact where the round is short enough, else the nearest that fit, nobody without a turn. */
export function turnsOf(weights: readonly number[]): number[] {
  const exact = exactTurns(weights);
  const sum = sumOf(exact);
  if (sum <= RING) return exact;
  return exact.map((t) => Math.max(1, Math.floor((t / sum) * (RING - exact.length))));
}

/** Weights may have decimals; so many are told apart. */
const SCALE = 1000;

function exactTurns(weights: readonly number[]): number[] {
  const whole = weights.map((w) => Math.max(1, Math.round(w * SCALE)));
  const divisor = whole.reduce(gcd);
  return whole.map((w) => w / divisor);
}

const sumOf = (numbers: readonly number[]): number => numbers.reduce((n, x) => n + x, 0);

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
