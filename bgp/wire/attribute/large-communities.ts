/** LARGE_COMMUNITY: labels of three 32-bit words, made for 4-octet AS numbers (RFC 8092; errors §6 there). */

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
    draft.largeCommunities = words;
    return undefined;
  },
};

export function putLargeCommunities(w: OctetWriter, words: readonly number[]): void {
  putWords(w, OPTIONAL_TRANSITIVE, AttributeCode.LargeCommunities, words);
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
