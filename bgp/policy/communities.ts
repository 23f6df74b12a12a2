/** Whether a route has a community that a pattern describes; all three kinds (RFC 1997, RFC 4360, RFC 8092). */

import type { CommunityMatch, ExtendedCommunityMatch, LargeCommunityMatch, NumberMatch } from './rule.ts';

/** @param list 32-bit values */
export function hasCommunity(list: readonly number[], m: CommunityMatch): boolean {
  if (typeof m === 'number') return list.includes(m);
  for (const c of list) if (isIn(c >>> 16, m[0]) && isIn(c & 0xffff, m[1])) return true;
  return false;
}

/** @param words two for each community */
export function hasExtended(words: readonly number[], m: ExtendedCommunityMatch): boolean {
  for (let i = 0; i < words.length; i += 2) {
    if (((words[i]! ^ m.high) & m.highMask) === 0 && ((words[i + 1]! ^ m.low) & m.lowMask) === 0) return true;
  }
  return false;
}

/** @param words three for each community */
export function hasLarge(words: readonly number[], m: LargeCommunityMatch): boolean {
  for (let i = 0; i < words.length; i += 3) {
    if (isIn(words[i]!, m[0]) && isIn(words[i + 1]!, m[1]) && isIn(words[i + 2]!, m[2])) return true;
  }
  return false;
}

export function isIn(value: number, m: NumberMatch): boolean {
  return typeof m === 'number' ? value === m : value >= m.min && value <= m.max;
}

/** A test for one of many numbers: what is listed singly is looked up, ranges are compared. */
export function anyOf(list: readonly NumberMatch[]): (value: number) => boolean {
  const single = new Set(list.filter((m) => typeof m === 'number'));
  const ranges = list.filter((m) => typeof m !== 'number');
  return (value) => single.has(value) || ranges.some((r) => isIn(value, r));
}
