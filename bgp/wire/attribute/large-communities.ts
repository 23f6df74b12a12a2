/** LARGE_COMMUNITY: labels of three 32-bit words, made for 4-octet AS numbers (RFC 8092; errors §6 there). */

import { get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { putWords, readWords } from './communities.ts';
import { AttributeCode, type AttributeCodec, flaw, OPTIONAL_TRANSITIVE } from './model.ts';

export const LARGE_COMMUNITIES: AttributeCodec = {
  code: AttributeCode.LargeCommunities,
  name: 'LARGE_COMMUNITY',
  flags: OPTIONAL_TRANSITIVE,
  decode(v, draft) {
    const words = readWords(v, 12);
    if (words === undefined) {
      return flaw(UpdateError.OptionalAttribute, 'treat-as-withdraw', `LARGE_COMMUNITY of ${v.length} octets`);
    }
    draft.largeCommunities = distinct(words);
    return undefined;
  },
};

export function putLargeCommunities(w: OctetWriter, words: readonly number[]): void {
  putWords(w, OPTIONAL_TRANSITIVE, AttributeCode.LargeCommunities, distinct(words));
}

/** More values than this are compared by text. */
const FEW = 16;

/**
 * RFC 8092 §3: "Duplicate BGP Large Community values MUST NOT be transmitted. A receiving speaker MUST silently remove redundant"
 * ones. The same object when there are none.
 */
function distinct(words: readonly number[]): readonly number[] {
  if (words.length <= 3 * FEW && !repeats(words.length, (at) => words[at]!)) return words;
  const seen = new Set<string>();
  const kept: number[] = [];
  for (let at = 0; at < words.length; at += 3) {
    const value = words.slice(at, at + 3);
    if (seen.size < seen.add(value.join()).size) kept.push(...value);
  }
  return kept.length === words.length ? words : kept;
}

/** Whether the value of an attribute, in order otherwise, is plainly free of repetitions. */
export function isPlainlyDistinct(b: Uint8Array, from: number, octets: number): boolean {
  return octets <= 12 * FEW && !repeats(octets / 4, (at) => get32(b, from + 4 * at));
}

/** Whether one of the groups of three words stands there twice. */
function repeats(words: number, word: (at: number) => number): boolean {
  for (let at = 3; at < words; at += 3) {
    for (let of = 0; of < at; of += 3)
      if (word(at + 2) === word(of + 2) && word(at + 1) === word(of + 1) && word(at) === word(of)) return true;
  }
  return false;
}

/** "64512:1:2" from three words. */
export function largeCommunityText(a: number, b: number, c: number): string {
  return `${a}:${b}:${c}`;
}

/** The three words of "64512:1:2". */
export function parseLargeCommunity(text: string): [number, number, number] | undefined {
  const parts = text.split(':');
  if (parts.length !== 3 || !parts.every((p) => /^(0|[1-9]\d{0,9})$/.test(p) && Number(p) <= 0xffffffff))
    return undefined;
  return [Number(parts[0]), Number(parts[1]), Number(parts[2])];
}
