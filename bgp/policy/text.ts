/**
 * Parts of policies as people write them: prefixes with length ranges, communities with wildcards, numbers with ranges.
 * Everything here gives back undefined for what it cannot read.
 */

import { Prefix } from '../../router/lib/addr.ts';
import type { OwnAttributes } from '../origination.ts';
import { COMMUNITY_NAMES, communityText, parseCommunity } from '../wire/attribute/communities.ts';
import { extendedCommunityText, parseExtendedCommunity } from '../wire/attribute/extended-communities.ts';
import { largeCommunityText, parseLargeCommunity } from '../wire/attribute/large-communities.ts';
import { rangeOf } from './path-pattern.ts';
import type { CommunityMatch, ExtendedCommunityMatch, LargeCommunityMatch, NumberMatch, PrefixMatch } from './rule.ts';

export { COMMUNITY_NAMES };

/** A community of one of the three kinds, told apart by its form. */
export type AnyCommunity =
  | { readonly kind: 'standard'; readonly value: number }
  | { readonly kind: 'extended'; readonly value: readonly [number, number] }
  | { readonly kind: 'large'; readonly value: readonly [number, number, number] };

export type AnyCommunityMatch =
  | { readonly kind: 'standard'; readonly match: CommunityMatch }
  | { readonly kind: 'extended'; readonly match: ExtendedCommunityMatch }
  | { readonly kind: 'large'; readonly match: LargeCommunityMatch };

/**
 * "172.20.0.0/14" is the prefix itself, "172.20.0.0/14+" everything inside it too, "172.20.0.0/14{21,29}" what is inside
 * with such a length (BIRD's notation).
 */
export function parsePrefixMatch(text: string): PrefixMatch | undefined {
  const m = /^([^{+]*)(\+|\{(\d{1,3}),(\d{1,3})\})?$/.exec(text);
  const prefix = Prefix.parse(m?.[1] ?? '');
  if (m === null || prefix === undefined) return undefined;
  const longest = prefix.family === 4 ? 32 : 128;
  if (m[2] === undefined) return { prefix };
  if (m[2] === '+') return { prefix, minLength: prefix.length, maxLength: longest };
  const minLength = Number(m[3]);
  const maxLength = Number(m[4]);
  return minLength < prefix.length || minLength > maxLength || maxLength > longest
    ? undefined
    : { prefix, minLength, maxLength };
}

/** "5", "1..9", or "*" for any up to `max`. */
function parseNumberMatch(text: string, max: number): NumberMatch | undefined {
  if (text === '*') return { min: 0, max };
  const range = rangeOf(text);
  if (range === undefined || range.max > max) return undefined;
  return range.min === range.max ? range.min : range;
}

/** "64511:5", "4242421080:1:2", "rt:64512:7", "no-export". */
export function parseAnyCommunity(text: string): AnyCommunity | undefined {
  const standard = parseCommunity(text);
  if (standard !== undefined) return { kind: 'standard', value: standard };
  const large = parseLargeCommunity(text);
  if (large !== undefined) return { kind: 'large', value: large };
  const extended = parseExtendedCommunity(text);
  return extended && { kind: 'extended', value: extended };
}

/** Communities of all kinds that a route of our own carries. */
export function communityTexts(own: OwnAttributes): string[] {
  const { communities = [], extendedCommunities = [], largeCommunities = [] } = own;
  return [
    ...communities.map(communityText),
    ...extendedCommunities.map((c) => extendedCommunityText(...c)),
    ...largeCommunities.map((c) => largeCommunityText(...c)),
  ];
}

/** As `parseAnyCommunity`, with "*" or FROM..TO for each number of the first two kinds, and "*" in the third. */
export function parseCommunityMatch(text: string): AnyCommunityMatch | undefined {
  const exact = parseAnyCommunity(text);
  if (exact?.kind === 'standard') return { kind: 'standard', match: exact.value };
  if (exact?.kind === 'large') return { kind: 'large', match: exact.value };
  if (exact?.kind === 'extended') {
    const [high, low] = exact.value;
    return { kind: 'extended', match: { high, low, highMask: -1, lowMask: -1 } };
  }
  const parts = text.split(':');
  if (parts.length === 3 && /^[a-z]/.test(text)) return extendedPattern(parts as [string, string, string]);
  const numbers = parts.map((p) => parseNumberMatch(p, parts.length === 2 ? 0xffff : 0xffffffff));
  if (numbers.includes(undefined)) return undefined;
  if (numbers.length === 2) return { kind: 'standard', match: numbers as [NumberMatch, NumberMatch] };
  if (numbers.length === 3) return { kind: 'large', match: numbers as [NumberMatch, NumberMatch, NumberMatch] };
  return undefined;
}

/** "rt:*:*", "rt:64512:*", "bandwidth:*:*". */
function extendedPattern([name, first, second]: [string, string, string]): AnyCommunityMatch | undefined {
  if (second !== '*') return undefined;
  const example = parseExtendedCommunity(`${name}:${first === '*' ? '0' : first}:0`);
  if (example === undefined) return undefined;
  const [high, low] = example;
  // Any administrator: of any of the three types (two octets, address, four octets), so only the subtype counts.
  if (first === '*') return { kind: 'extended', match: { high, low, highMask: 0x00ff0000, lowMask: 0 } };
  const isShort = high >>> 24 === 0 || high >>> 24 === 0x40;
  return { kind: 'extended', match: { high, low, highMask: -1, lowMask: isShort ? 0 : 0xffff0000 | 0 } };
}
