/**
 * The FIB with full tables: build, memory, lookups and churn, beside the obvious way to do it in JavaScript (a Map per
 * prefix length, probed from long to short) in the same run. Times are CPU time, so other jobs disturb them little.
 */
import { FibReader } from '../../router/fib/reader.ts';
import { type NextHop, type RouteChange, RouteSource } from '../../router/fib/shared.ts';
import { FibWriter } from '../../router/fib/writer.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { Random } from '../../router/lib/rand.ts';
import { destinations, type PrefixColumns, syntheticTable } from './prefixes.ts';
import { type BenchOptions, type BenchReport, cpuSeconds, Samples } from './table.ts';

const V4_PREFIXES = 1_000_000;
const V6_PREFIXES = 220_000;
const NEXT_HOPS = 200;
const LOOKUPS = 1 << 21;
const PEER_LOOKUPS = 1 << 17;
const CHURN = 100_000;
const MIB = 2 ** 20;

function cpu(work: () => void): number {
  const before = cpuSeconds();
  work();
  return cpuSeconds() - before;
}

function prefixOf(family: 4 | 6, t: PrefixColumns, i: number): Prefix {
  const addr = family === 4 ? Addr.v4(t.high[i]!) : Addr.v6(t.high[i]!, t.low[i]!, 0, 0);
  return Prefix.containing(addr, t.length[i]!)!;
}

/** The peer: one Map per length. IPv6 keys need text, since a double can not hold 64 bits. */
class MapPerLength {
  readonly #maps: (Map<number | string, number> | undefined)[] = [];

  constructor(family: 4 | 6, t: PrefixColumns) {
    for (let i = 0; i < t.count; i++) {
      const map = (this.#maps[t.length[i]!] ??= new Map());
      map.set(family === 4 ? t.high[i]! : `${t.high[i]},${t.low[i]}`, t.nextHop[i]! + 1);
    }
  }

  lookup4(a: number): number {
    for (let length = 32; length > 0; length--) {
      const hit = this.#maps[length]?.get(a & (-1 << (32 - length)));
      if (hit !== undefined) return hit;
    }
    return 0;
  }

  lookup6(high: number, low: number): number {
    for (let length = 64; length > 0; length--) {
      const map = this.#maps[length];
      if (map === undefined) continue;
      const h = length >= 32 ? high : high & (-1 << (32 - length));
      const l = length <= 32 ? 0 : length === 64 ? low : low & (-1 << (64 - length));
      const hit = map.get(`${h},${l}`);
      if (hit !== undefined) return hit;
    }
    return 0;
  }
}

const KINDS = { 4: ['uniform', 'prefixes', 'flows'], 6: ['prefixes', 'flows'] } as const;

export async function run({ rounds, log }: BenchOptions): Promise<BenchReport> {
  const samples = new Samples();
  const hops: readonly (readonly NextHop[])[] = Array.from({ length: NEXT_HOPS }, (_, i) => [{ link: i + 1 }]);
  const writer = new FibWriter();
  const reader = new FibReader(writer.shared);
  let sink = 0;

  for (const family of [4, 6] as const) {
    log(`IPv${family}: making the table`);
    const table = syntheticTable(family, family === 4 ? V4_PREFIXES : V6_PREFIXES, NEXT_HOPS, 2026 + family);
    const changes: RouteChange[] = Array.from({ length: table.count }, (_, i) => ({
      vrf: 0,
      prefix: prefixOf(family, table, i),
      source: RouteSource.Ebgp,
      nextHops: hops[table.nextHop[i]!]!,
    }));
    log(`IPv${family}: building`);
    samples.add(
      `v${family} cold build (apply of all routes)`,
      's',
      cpu(() => writer.apply(changes)),
    );
    reader.refresh(writer.takeChangedShared()!);
    const stats = writer.stats().find((s) => s.family === family)!;
    samples.add(`v${family} shared memory`, 'MiB', stats.sharedBytes / MIB);
    samples.add(`v${family} writer's own memory`, 'MiB', stats.privateBytes / MIB);
    let peer: MapPerLength | undefined;
    samples.add(
      `v${family} cold build, Map per length`,
      's',
      cpu(() => (peer = new MapPerLength(family, table))),
    );
    const keys = KINDS[family].map((kind, i) => ({ kind, keys: destinations(kind, table, LOOKUPS, 7 + i) }));

    for (const { kind, keys: k } of keys)
      for (let i = 0; i < 20_000; i++) {
        const got = family === 4 ? reader.lookup4(0, k.high[i]!) : reader.lookup6(0, k.high[i]!, k.low[i]!, 0, 0);
        const expected = family === 4 ? peer!.lookup4(k.high[i]!) : peer!.lookup6(k.high[i]!, k.low[i]!);
        if ((got === 0 ? 0 : reader.memberLink(got, 0)) !== expected)
          throw new Error(`v${family} ${kind} ${i}: wrong answer`);
      }

    const random = new Random(11);
    for (let round = 0; round < rounds + 1; round++) {
      log(`IPv${family}: round ${round} of ${rounds}`);
      for (const { kind, keys: k } of keys) {
        const ours = cpu(() => {
          let sum = 0;
          if (family === 4) for (let i = 0; i < LOOKUPS; i++) sum = (sum + reader.lookup4(0, k.high[i]!)) | 0;
          else for (let i = 0; i < LOOKUPS; i++) sum = (sum + reader.lookup6(0, k.high[i]!, k.low[i]!, 0, 0)) | 0;
          sink ^= sum;
        });
        const theirs = cpu(() => {
          let sum = 0;
          if (family === 4) for (let i = 0; i < PEER_LOOKUPS; i++) sum = (sum + peer!.lookup4(k.high[i]!)) | 0;
          else for (let i = 0; i < PEER_LOOKUPS; i++) sum = (sum + peer!.lookup6(k.high[i]!, k.low[i]!)) | 0;
          sink ^= sum;
        });
        if (round === 0) continue; // compiles the loops
        samples.add(`v${family} lookups, ${kind}`, 'M/s', LOOKUPS / ours / 1e6);
        samples.add(`v${family} lookups, ${kind}, Map per length`, 'M/s', PEER_LOOKUPS / theirs / 1e6);
      }
      const batches = churn(changes, hops, random);
      const seconds = cpu(() => {
        for (const batch of batches) writer.apply(batch);
      });
      const shared = writer.takeChangedShared();
      if (shared !== undefined) reader.refresh(shared);
      if (round > 0) samples.add(`v${family} churn (withdraw + announce)`, 'M updates/s', (2 * CHURN) / seconds / 1e6);
    }
  }
  return {
    results: samples.figures(),
    ratios: {
      v4_lookup_vs_map: samples.ratio('v4 lookups, prefixes', 'v4 lookups, prefixes, Map per length'),
      v6_lookup_vs_map: samples.ratio('v6 lookups, prefixes', 'v6 lookups, prefixes, Map per length'),
    },
    notes: [
      `synthetic tables (seeded), ${V4_PREFIXES} + ${V6_PREFIXES} prefixes, ${NEXT_HOPS} next hops; CPU time`,
      `check value ${sink >>> 0}`,
    ],
  };
}

/** Random routes withdrawn and announced again, in batches as a BGP speaker hands them over. */
function churn(
  changes: readonly RouteChange[],
  hops: readonly (readonly NextHop[])[],
  random: Random,
): RouteChange[][] {
  const batches: RouteChange[][] = [];
  for (let done = 0; done < CHURN; done += 100) {
    const batch: RouteChange[] = [];
    for (let i = 0; i < 100; i++) {
      const change = changes[random.below(changes.length)]!;
      batch.push({ ...change, nextHops: undefined }, { ...change, nextHops: hops[random.below(NEXT_HOPS)] });
    }
    batches.push(batch);
  }
  return batches;
}
