/**
 * Route distinguishers and route targets in text. Both are eight octets of administrator and number, and differ in what
 * precedes them: a type, or type and sub-type of an extended community.
 * Read first: RFC 4364 §4.2 and §4.3.1, RFC 4360 §4, RFC 5668 §2. Kept as two unsigned 32-bit words.
 */

import { extendedCommunityText, parseExtendedCommunity } from '../wire/attribute/extended-communities.ts';

/** Eight octets as two unsigned words. */
export interface EightOctets {
  readonly high: number;
  readonly low: number;
}

/** The extended community of "64512:1", "172.20.0.1:1" or "4242420229:1"; undefined for anything else. */
export function parseRouteTarget(text: string): EightOctets | undefined {
  const words = parseExtendedCommunity(`rt:${text}`);
  return words && { high: words[0], low: words[1] };
}

/** RFC 4364 §4.2: the type stands where an extended community has type and sub-type. */
export function parseDistinguisher(text: string): EightOctets | undefined {
  const target = parseRouteTarget(text);
  return target && { high: (((target.high >>> 24) << 16) | (target.high & 0xffff)) >>> 0, low: target.low };
}

/** As `parseDistinguisher` reads it; octets in hexadecimal where the type is unknown. */
export function distinguisherText({ high, low }: EightOctets): string {
  const type = high >>> 16;
  if (type > 2) return `0x${high.toString(16).padStart(8, '0')}${low.toString(16).padStart(8, '0')}`;
  return extendedCommunityText(((type << 24) | (2 << 16) | (high & 0xffff)) >>> 0, low).slice('rt:'.length);
}

/** Whether an attribute of extended communities, as words, has one of these targets. */
export function hasTarget(words: readonly number[], targets: readonly EightOctets[]): boolean {
  for (let i = 0; i < words.length; i += 2) {
    if (targets.some((t) => t.high === words[i] && t.low === words[i + 1])) return true;
  }
  return false;
}

/** As `parseRouteTarget` reads it. */
export function routeTargetText({ high, low }: EightOctets): string {
  return extendedCommunityText(high, low).replace(/^rt:/, '');
}
