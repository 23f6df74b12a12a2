/**
 * Sets of prefixes with ranges of lengths, as filters ask for them: is this prefix inside one of them? Small sets are
 * compared one by one; large ones are hashed by their bits, one table for each length that occurs.
 */

import { maskWord, type Prefix } from '../../router/lib/addr.ts';
import type { PrefixMatch } from './rule.ts';

interface PrefixRange {
  readonly family: number;
  readonly length: number;
  readonly words: readonly [number, number, number, number];
  readonly masks: readonly [number, number, number, number];
  readonly min: number;
  readonly max: number;
}

/** Below this many prefixes comparing is faster than hashing. */
const SMALL = 12;

/** Entries of one family and length. */
interface Level {
  readonly family: number;
  readonly length: number;
  readonly masks: readonly [number, number, number, number];
  readonly byBits: ReadonlyMap<number, readonly PrefixRange[]>;
}

/** Prefixes are given as left-aligned words (bgp/wire/nlri.ts). */
export class PrefixSet {
  readonly #ranges: readonly PrefixRange[];
  /** Empty for a small set; shortest length first. */
  readonly #levels: readonly Level[];

  constructor(entries: readonly PrefixMatch[]) {
    this.#ranges = entries.map(toRange);
    this.#levels = entries.length > SMALL ? levelsOf(this.#ranges) : [];
  }

  has(family: number, w0: number, w1: number, w2: number, w3: number, length: number): boolean {
    if (this.#levels.length === 0) {
      for (const r of this.#ranges) if (isInside(r, family, w0, w1, w2, w3, length)) return true;
      return false;
    }
    for (const { family: of, length: shortest, masks, byBits } of this.#levels) {
      if (of !== family || shortest > length) continue;
      const found = byBits.get(mix(w0 & masks[0], w1 & masks[1], w2 & masks[2], w3 & masks[3]));
      if (found === undefined) continue;
      for (const r of found) if (isInside(r, family, w0, w1, w2, w3, length)) return true;
    }
    return false;
  }
}

/** Whether a prefix is one of `own` or inside one (own prefix protection). */
export class PrefixGuard {
  readonly #set: PrefixSet;

  constructor(own: readonly Prefix[]) {
    this.#set = new PrefixSet(own.map((prefix) => ({ prefix, minLength: prefix.length })));
  }

  covers(family: number, w0: number, w1: number, w2: number, w3: number, length: number): boolean {
    return this.#set.has(family, w0, w1, w2, w3, length);
  }
}

function levelsOf(ranges: readonly PrefixRange[]): Level[] {
  const levels = new Map<string, { family: number; length: number; byBits: Map<number, PrefixRange[]> }>();
  for (const r of ranges) {
    const key = `${r.family}/${r.length}`;
    let level = levels.get(key);
    if (level === undefined) levels.set(key, (level = { family: r.family, length: r.length, byBits: new Map() }));
    const bits = mix(...r.words);
    const same = level.byBits.get(bits);
    if (same === undefined) level.byBits.set(bits, [r]);
    else same.push(r);
  }
  return [...levels.values()]
    .map((l) => ({ ...l, masks: masksOf(l.length) }))
    .sort((a, b) => a.family - b.family || a.length - b.length);
}

function mix(w0: number, w1: number, w2: number, w3: number): number {
  return (Math.imul(w0, 0x9e3779b1) ^ Math.imul(w1, 0x85ebca6b) ^ Math.imul(w2, 0xc2b2ae35) ^ w3) | 0;
}

function masksOf(length: number): readonly [number, number, number, number] {
  const bits = (i: number): number => maskWord(Math.min(32, Math.max(0, length - 32 * i)));
  return [bits(0), bits(1), bits(2), bits(3)];
}

function toRange(m: PrefixMatch): PrefixRange {
  const { addr, length } = m.prefix;
  const min = m.minLength ?? Math.min(length, m.maxLength ?? length);
  const words = addr.family === 4 ? ([addr.a3, 0, 0, 0] as const) : ([addr.a0, addr.a1, addr.a2, addr.a3] as const);
  return {
    family: addr.family,
    length,
    words,
    masks: masksOf(length),
    min: Math.max(min, length),
    max: m.maxLength ?? (m.minLength === undefined ? length : addr.family === 4 ? 32 : 128),
  };
}

function isInside(
  r: PrefixRange,
  family: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  length: number,
): boolean {
  const { words, masks } = r;
  return (
    r.family === family &&
    length >= r.min &&
    length <= r.max &&
    (w0 & masks[0]) === words[0] &&
    (w1 & masks[1]) === words[1] &&
    (w2 & masks[2]) === words[2] &&
    (w3 & masks[3]) === words[3]
  );
}
