/** A made-up Internet table as UPDATE messages: prefix lengths, sharing of attribute sets and paths as they are found. */

import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { UpdatePacker } from '../../../bgp/wire/update.ts';
import type { Addr } from '../../../router/lib/addr.ts';
import { randomFrom } from './net.ts';

export interface TableOptions {
  readonly ipv4: number;
  readonly ipv6: number;
  /** First AS of every path. */
  readonly firstAs: number;
  readonly nextHop4: Addr;
  readonly nextHop6: Addr;
}

/** Share of each prefix length among 1,000 prefixes, roughly as in the default-free zone. */
const LENGTHS4: readonly (readonly [number, number])[] = [
  [24, 600],
  [23, 100],
  [22, 112],
  [21, 50],
  [20, 46],
  [19, 30],
  [18, 17],
  [17, 10],
  [16, 13],
];
const LENGTHS6: readonly (readonly [number, number])[] = [
  [48, 480],
  [44, 100],
  [40, 110],
  [36, 60],
  [32, 190],
  [29, 60],
];

/** Prefixes of one family that share an attribute set: left-aligned first words, second words, and lengths. */
interface Run {
  readonly high: number[];
  readonly low: number[];
  readonly length: number[];
}

/** The messages, End-of-RIB of each family included. Tables of different `firstAs` hold the same prefixes. */
export function internetTable(o: TableOptions): Uint8Array {
  const chunks: Uint8Array[] = [];
  const settings = { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single' } as const;
  const packer = new UpdatePacker(settings, (octets) => chunks.push(octets));
  for (const family of [4, 6] as const) {
    const count = family === 4 ? o.ipv4 : o.ipv6;
    const random = randomFrom(family);
    const runs = family === 4 ? runs4(count, random) : runs6(count, random);
    shuffle(runs, random);
    const hop = { global: family === 4 ? o.nextHop4 : o.nextHop6, linkLocal: undefined };
    for (const run of runs) {
      packer.reach(family, attributes(o.firstAs, random), hop);
      run.high.forEach((w0, i) => {
        packer.add(w0, run.low[i]!, 0, 0, run.length[i]!);
      });
      packer.flush();
    }
    if (count > 0) packer.endOfRib(family);
  }
  packer.flush();
  return new Uint8Array(Buffer.concat(chunks));
}

/** The same table being withdrawn, prefixes packed. */
export function withdrawnTable(o: TableOptions): Uint8Array {
  const chunks: Uint8Array[] = [];
  const settings = { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single' } as const;
  const packer = new UpdatePacker(settings, (octets) => chunks.push(octets));
  for (const family of [4, 6] as const) {
    const random = randomFrom(family);
    packer.withdraw(family);
    const runs = family === 4 ? runs4(o.ipv4, random) : runs6(o.ipv6, random);
    shuffle(runs, random);
    for (const run of runs) {
      run.high.forEach((w0, i) => {
        packer.add(w0, run.low[i]!, 0, 0, run.length[i]!);
      });
    }
  }
  packer.flush();
  return new Uint8Array(Buffer.concat(chunks));
}

function attributes(firstAs: number, random: () => number): Attributes {
  const pick = (n: number): number => Math.floor(random() * n);
  const path = [firstAs, ...Array.from({ length: 2 + pick(4) }, () => 1 + pick(400_000))];
  const origin = path[path.length - 1]!;
  return {
    origin: pick(10) === 0 ? 2 : 0,
    asPath: [{ type: 2, asns: path }],
    med: pick(5) === 0 ? pick(1000) : undefined,
    localPref: undefined,
    atomicAggregate: pick(50) === 0,
    aggregator: pick(20) === 0 ? { asn: origin, identifier: 1 + pick(0x7fffffff) } : undefined,
    communities: Array.from({ length: pick(9) }, () => ((64_511 << 16) | pick(60_000)) >>> 0),
    extendedCommunities: [],
    largeCommunities: pick(3) === 0 ? [firstAs, 1, pick(1_000_000)] : [],
    originatorId: undefined,
    clusterList: [],
    otc: undefined,
    unknown: [],
  };
}

/** Runs of one to nine prefixes. */
function runs(
  count: number,
  random: () => number,
  lengths: readonly (readonly [number, number])[],
  next: (length: number) => readonly [number, number],
): Run[] {
  const all: Run[] = [];
  for (let left = count; left > 0; ) {
    const n = Math.min(left, 1 + Math.floor(random() * 9));
    const run: Run = { high: [], low: [], length: [] };
    for (let i = 0; i < n; i++) {
      const length = lengthOf(lengths, random);
      const [high, low] = next(length);
      run.high.push(high);
      run.low.push(low);
      run.length.push(length);
    }
    all.push(run);
    left -= n;
  }
  return all;
}

function runs4(count: number, random: () => number): Run[] {
  let at = 1 << 16; // in units of /24, from 1.0.0.0
  return runs(count, random, LENGTHS4, (length) => {
    const size = 1 << (24 - length);
    at = Math.ceil(at / size) * size;
    const word = (at << 8) | 0;
    at += size;
    return [word, 0];
  });
}

function runs6(count: number, random: () => number): Run[] {
  let at = 0x2001_0000_0000; // in units of /48
  return runs(count, random, LENGTHS6, (length) => {
    const size = 2 ** (48 - length);
    at = Math.ceil(at / size) * size;
    const word = [Math.floor(at / 0x10000) | 0, ((at % 0x10000) << 16) | 0] as const;
    at += size;
    return word;
  });
}

function lengthOf(lengths: readonly (readonly [number, number])[], random: () => number): number {
  let at = random() * 1000;
  for (const [length, share] of lengths) {
    at -= share;
    if (at < 0) return length;
  }
  return lengths[0]![0];
}

function shuffle<T>(list: T[], random: () => number): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [list[i], list[j]] = [list[j]!, list[i]!];
  }
}
