import test from 'ava';
import { mix32 } from '../../../router/fib/hash.ts';
import { Random } from '../../../router/lib/rand.ts';
import {
  BALANCE_KINDS,
  type BalanceKind,
  Balancer,
  Families,
  type FlowKey,
  memberWeights,
  NO_UPLINK,
} from '../../../router/uplink/balancer.ts';

interface Load {
  isUsable: boolean;
  families: number;
  rate: number;
  capacity: number;
  peak: number;
}

function balancer(balance: BalanceKind, weights: readonly (number | 'auto')[]): { balancer: Balancer; loads: Load[] } {
  const loads = weights.map((): Load => ({ isUsable: true, families: Families.Any, rate: 0, capacity: 0, peak: 0 }));
  const members = weights.map((weight, uplink) => ({ uplink, weight }));
  return { balancer: new Balancer({ name: 'g', balance, members }, loads, new Random(7)), loads };
}

const flow = (n: number, families: number = Families.V4): FlowKey => ({
  flowHash: mix32(n),
  targetHash: mix32(n >> 3),
  families,
});

function counts(b: Balancer, n: number, members: number): number[] {
  const out = new Array<number>(members).fill(0);
  for (let i = 0; i < n; i++) out[b.pick(flow(i))]!++;
  return out;
}

test('round robin keeps weights exactly and spreads the turns', (t) => {
  const { balancer: b } = balancer('round_robin', [3, 1]);
  t.deepEqual(counts(b, 64, 2), [48, 16]);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => b.pick(flow(i))),
    [0, 0, 1, 0],
  );
});

test('an uplink that cannot be used takes no turn, and one that returns gets no more than its share', (t) => {
  const { balancer: b, loads } = balancer('round_robin', [1, 1, 2]);
  loads[2]!.isUsable = false;
  t.deepEqual(counts(b, 100, 3), [50, 50, 0]);
  loads[2]!.isUsable = true;
  t.deepEqual(counts(b, 40, 3), [10, 10, 20]);
  for (const l of loads) l.isUsable = false;
  t.is(b.pick(flow(1)), NO_UPLINK);
});

test('every kind of balancer gives flows of a family to uplinks that have an address of it, by their weights', (t) => {
  for (const kind of BALANCE_KINDS) {
    const { balancer: b, loads } = balancer(kind, [1, 1, 1]);
    loads[0]!.families = Families.V4;
    loads[1]!.families = Families.V6;
    const taken = (families: number): Set<number> =>
      new Set(Array.from({ length: 200 }, (_, i) => b.pick(flow(i, families))));
    t.false(taken(Families.V4).has(1), kind);
    t.false(taken(Families.V6).has(0), kind);
    loads[2]!.families = Families.V4;
    loads[1]!.isUsable = false;
    t.is(b.pick(flow(1, Families.V6)), NO_UPLINK, kind);
    t.is(b.peek(flow(1, Families.V6)), NO_UPLINK, kind);
    t.not(b.peek(flow(1, Families.Any)), NO_UPLINK, `${kind}: the family is not known yet`);
  }
});

test('both families share one round while their candidates are the same, and have their own else', (t) => {
  const { balancer: b, loads } = balancer('round_robin', [1, 1]);
  const next = (families: number): number => b.pick(flow(1, families));
  t.deepEqual([Families.V4, Families.V6, Families.V4, Families.V6].map(next), [0, 1, 0, 1]);
  loads[1]!.families = Families.V4;
  t.deepEqual([Families.V4, Families.V6, Families.V4, Families.V6].map(next), [0, 0, 1, 0]);
});

test('random and hash keep weights within a few percent', (t) => {
  for (const kind of ['random', 'hash'] as const) {
    const { balancer: b } = balancer(kind, [3, 1]);
    const [first] = counts(b, 20_000, 2) as [number, number];
    t.true(Math.abs(first / 20_000 - 0.75) < 0.015, `${kind}: ${first} of 20000`);
  }
});

test('by hash, only the flows of a lost uplink move, and they come back', (t) => {
  const { balancer: b, loads } = balancer('hash', [1, 2, 1]);
  const before = Array.from({ length: 4000 }, (_, i) => b.pick(flow(i)));
  loads[1]!.isUsable = false;
  const without = Array.from({ length: 4000 }, (_, i) => b.pick(flow(i)));
  t.true(before.every((u, i) => (u === 1 ? without[i] !== 1 : without[i] === u)));
  loads[1]!.isUsable = true;
  t.deepEqual(
    Array.from({ length: 4000 }, (_, i) => b.pick(flow(i))),
    before,
  );
});

test('sticky sends all flows to one address the same way', (t) => {
  const { balancer: b } = balancer('sticky', [1, 1]);
  for (let target = 0; target < 64; target++) {
    const uplinks = new Set(Array.from({ length: 8 }, (_, i) => b.pick(flow(target * 8 + i))));
    t.is(uplinks.size, 1);
  }
  t.true(counts(b, 8000, 2).every((n) => n > 3000));
});

test('least loaded fills what is free, and counts what it gave out since the last measurement', (t) => {
  const { balancer: b, loads } = balancer('least_loaded', [1, 1]);
  loads[0]!.capacity = 3_000_000;
  loads[1]!.capacity = 1_000_000;
  t.deepEqual(counts(b, 40, 2), [30, 10]);
  loads[0]!.rate = 2_900_000;
  b.measured();
  t.deepEqual(counts(b, 4, 2), [0, 4]);
});

test('failover takes the first that can be used', (t) => {
  const { balancer: b, loads } = balancer('failover', [1, 5]);
  t.deepEqual(counts(b, 5, 2), [5, 0]);
  loads[0]!.isUsable = false;
  t.deepEqual(counts(b, 5, 2), [0, 5]);
});

test('measured weights follow what uplinks have carried, configured bandwidth before that', (t) => {
  const { balancer: b, loads } = balancer('round_robin', ['auto', 'auto']);
  t.deepEqual(counts(b, 40, 2), [20, 20], 'nothing is known yet');
  loads[0]!.peak = 6_000_000;
  loads[1]!.peak = 2_000_000;
  t.true(b.measured());
  t.deepEqual(b.weights, [48, 16]);
  t.deepEqual(counts(b, 64, 2), [48, 16]);
  loads[1]!.capacity = 6_000_000;
  t.true(b.measured());
  t.deepEqual(counts(b, 64, 2), [32, 32]);
});

test('an uplink that nobody has used yet counts as one like the others, and none gets less than an eighth', (t) => {
  const load = (peak: number): Load => ({ isUsable: true, families: Families.Any, rate: 0, capacity: 0, peak });
  const members = [0, 1, 2].map((uplink) => ({ uplink, weight: 'auto' as const }));
  const of = (...peaks: number[]) => [...memberWeights({ name: 'g', balance: 'random', members }, peaks.map(load))];
  t.deepEqual(of(1_000_000, 3_000_000, 0), [8, 24, 16]);
  t.deepEqual(of(10_000, 8_000_000, 8_000_000), [8, 64, 64]);
  t.deepEqual(of(0, 0, 0), [1, 1, 1]);
});

test('weights stay where they are until they are off by a quarter', (t) => {
  const { balancer: b, loads } = balancer('sticky', ['auto', 'auto']);
  for (const l of loads) l.peak = 1_250_000;
  t.true(b.measured());
  loads[0]!.peak = 1_500_000;
  t.false(b.measured());
  t.deepEqual(b.weights, [10, 10]);
  loads[0]!.peak = 1_600_000;
  t.true(b.measured());
  t.false(b.measured());
});

test('least loaded takes a line for as fast as it was seen to be, never for slower than one nobody knows', (t) => {
  const { balancer: b, loads } = balancer('least_loaded', ['auto', 'auto']);
  loads[0]!.peak = 10_000_000;
  loads[0]!.rate = 1_500_000;
  loads[1]!.peak = 1000;
  loads[1]!.rate = 1000;
  t.is(b.pick(flow(1)), 1);
  loads[1]!.rate = 1_000_000;
  t.is(b.pick(flow(1)), 0);
});

test('what is peeked at is what comes next, and takes no turn', (t) => {
  for (const kind of ['round_robin', 'hash', 'sticky', 'least_loaded', 'failover'] as const) {
    const { balancer: b, loads } = balancer(kind, [3, 1, 2]);
    for (let i = 0; i < 40; i++) {
      loads[i % 3]!.isUsable = i % 7 !== 0;
      const seen = [b.peek(flow(i)), b.peek(flow(i))];
      const taken = b.pick(flow(i));
      t.deepEqual(seen, [taken, taken], `${kind} ${i}`);
    }
  }
});
