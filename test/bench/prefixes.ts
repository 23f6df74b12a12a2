/**
 * Synthetic full tables, seeded: the mix of prefix lengths of the default-free zone, clustered in allocation blocks as
 * real tables are, with one next hop per block for two thirds of the prefixes. Not a real table; say so with figures.
 */
import { Random } from '../../router/lib/rand.ts';

/** Prefixes as columns; IPv4 uses a3 and IPv6 the upper 64 bits. */
export interface PrefixColumns {
  readonly count: number;
  readonly high: Int32Array;
  readonly low: Int32Array;
  readonly length: Uint8Array;
  readonly nextHop: Uint16Array;
}

// Shares per mille by length, of the public tables of 2025, rounded.
const V4_MIX: readonly (readonly [number, number])[] = [
  [24, 600],
  [23, 100],
  [22, 110],
  [21, 52],
  [20, 45],
  [19, 26],
  [18, 14],
  [17, 8],
  [16, 13],
  [15, 2],
  [14, 1],
  [12, 1],
  [8, 1],
];
const V6_MIX: readonly (readonly [number, number])[] = [
  [48, 460],
  [32, 115],
  [44, 75],
  [40, 75],
  [36, 45],
  [46, 30],
  [47, 25],
  [29, 25],
  [42, 20],
  [45, 15],
  [64, 15],
  [33, 12],
  [43, 10],
  [41, 10],
  [38, 10],
  [56, 10],
  [34, 8],
  [39, 5],
  [30, 5],
  [28, 5],
  [20, 1],
];

function pickLength(mix: readonly (readonly [number, number])[], random: Random): number {
  const total = mix.reduce((sum, [, share]) => sum + share, 0);
  let x = random.below(total);
  for (const [length, share] of mix) {
    x -= share;
    if (x < 0) return length;
  }
  return mix[0]![0];
}

const mask = (length: number): number => (length <= 0 ? 0 : length >= 32 ? -1 : -1 << (32 - length));

/** `count` distinct prefixes over `nextHops` next hops. */
export function syntheticTable(family: 4 | 6, count: number, nextHops: number, seed: number): PrefixColumns {
  const random = new Random(seed);
  const mix = family === 4 ? V4_MIX : V6_MIX;
  const blocks = new Int32Array(family === 4 ? 12_000 : 28_000);
  const tops = [0x20010000, 0x24000000, 0x26000000, 0x28000000, 0x2a000000, 0x2c000000];
  for (let i = 0; i < blocks.length; i++)
    blocks[i] =
      family === 4
        ? ((random.below(223) + 1) << 24) | (random.int32() & 0xfc0000)
        : tops[random.below(6)]! | (random.int32() & 0x0ffff8);
  const seen = new Set<number | string>();
  const t = {
    count,
    high: new Int32Array(count),
    low: new Int32Array(count),
    length: new Uint8Array(count),
    nextHop: new Uint16Array(count),
  };
  for (let i = 0; i < count; ) {
    const length = pickLength(mix, random);
    const block = Math.floor((random.below(1 << 20) / (1 << 20)) ** 1.4 * blocks.length);
    const inBlock = family === 4 ? blocks[block]! | (random.int32() & 0x3ffff) : blocks[block]!;
    const high = inBlock & mask(length);
    const low = random.int32() & mask(length - 32);
    const key = family === 4 ? (high >>> 0) * 64 + length : `${high} ${low} ${length}`;
    if (seen.has(key)) continue;
    seen.add(key);
    t.high[i] = high;
    t.low[i] = low;
    t.length[i] = length;
    t.nextHop[i] = random.below(100) < 65 ? block % nextHops : random.below(nextHops);
    i++;
  }
  return t;
}

/** Destination addresses: `uniform` over everything, within random `prefixes`, or `flows`: 20,000 with a skewed share. */
export function destinations(
  kind: 'uniform' | 'prefixes' | 'flows',
  table: PrefixColumns,
  count: number,
  seed: number,
): { high: Int32Array; low: Int32Array } {
  const random = new Random(seed);
  const high = new Int32Array(count);
  const low = new Int32Array(count);
  const inPrefix = (i: number): void => {
    const p = random.below(table.count);
    high[i] = table.high[p]! | (random.int32() & ~mask(table.length[p]!));
    low[i] = table.low[p]! | (random.int32() & ~mask(table.length[p]! - 32));
  };
  for (let i = 0; i < count; i++) {
    if (kind === 'uniform') {
      high[i] = random.int32();
      low[i] = random.int32();
    } else if (kind === 'prefixes' || i < 20_000) inPrefix(i);
    else {
      const flow = Math.floor((random.below(1 << 20) / (1 << 20)) ** 3 * 20_000);
      high[i] = high[flow]!;
      low[i] = low[flow]!;
    }
  }
  return { high, low };
}
