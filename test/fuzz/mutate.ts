/** Damages octets the way networks and attackers do: bits, lengths, cuts, repetitions, and parts of other inputs. */
import type { Random } from '../../router/lib/rand.ts';

const TELLING = [0, 1, 0x7f, 0x80, 0xff];
const MAX_OCTETS = 8192;

/** A few changes, most often one, to a copy of one of `seeds`. */
export function mutated(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  let b = seeds[random.below(seeds.length)]!.slice();
  do b = CHANGES[random.below(CHANGES.length)]!(b, random, seeds);
  while (random.chance(0.4));
  return b.subarray(0, MAX_OCTETS);
}

type Change = (b: Uint8Array<ArrayBuffer>, random: Random, seeds: readonly Uint8Array[]) => Uint8Array<ArrayBuffer>;

const at = (b: Uint8Array, random: Random): number => random.below(b.length + 1);

const CHANGES: readonly Change[] = [
  (b, random) => {
    if (b.length > 0) b[random.below(b.length)]! ^= 1 << random.below(8);
    return b;
  },
  (b, random) => {
    if (b.length > 0) b[random.below(b.length)] = TELLING[random.below(TELLING.length)]!;
    return b;
  },
  (b, random) => {
    if (b.length > 0) b[random.below(b.length)] = random.below(256);
    return b;
  },
  // A length field that is off by a little.
  (b, random) => {
    if (b.length > 0) b[random.below(b.length)]! += random.below(9) - 4;
    return b;
  },
  (b, random) => b.slice(0, at(b, random)),
  (b, random) => joined(b.subarray(0, at(b, random)), b.subarray(at(b, random))),
  (b, random) => {
    const from = at(b, random);
    const part = b.subarray(from, from + random.below(64));
    const to = at(b, random);
    return joined(b.subarray(0, to), part, b.subarray(to));
  },
  (b, random, seeds) => {
    const other = seeds[random.below(seeds.length)]!;
    const from = at(other, random);
    const to = at(b, random);
    return joined(b.subarray(0, to), other.subarray(from, from + random.below(128)), b.subarray(to));
  },
  (b, random) => {
    const noise = Uint8Array.from({ length: random.below(16) }, () => random.below(256));
    const to = at(b, random);
    return joined(b.subarray(0, to), noise, b.subarray(to));
  },
];

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let n = 0;
  for (const p of parts) {
    out.set(p, n);
    n += p.length;
  }
  return out;
}
