/** EXTENDED COMMUNITIES: typed 64-bit labels, kept as two 32-bit words each (RFC 4360, errors RFC 7606 §7.14). */

import { Addr } from '../../../router/lib/addr.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { putWords, readWords } from './communities.ts';
import { AttributeCode, type AttributeCodec, flaw, NO_NUMBERS, OPTIONAL_TRANSITIVE } from './model.ts';

const NON_TRANSITIVE = 0x40000000; // RFC 4360 §2: T bit of the type's high octet

export const EXTENDED_COMMUNITIES: AttributeCodec = {
  code: AttributeCode.ExtendedCommunities,
  name: 'EXTENDED COMMUNITIES',
  flags: OPTIONAL_TRANSITIVE,
  decode(v, draft) {
    const words = readWords(v, 8);
    if (words === undefined) {
      return flaw(UpdateError.OptionalAttribute, 'treat-as-withdraw', `EXTENDED COMMUNITIES of ${v.length} octets`);
    }
    draft.extendedCommunities = words;
    return undefined;
  },
};

/** RFC 4360 §6: non-transitive ones do not leave the AS. */
export function transitiveOnly(words: readonly number[]): readonly number[] {
  let drops = false;
  for (let i = 0; i < words.length; i += 2) drops ||= (words[i]! & NON_TRANSITIVE) !== 0;
  if (!drops) return words;
  const kept = words.filter((_, i) => (words[i & ~1]! & NON_TRANSITIVE) === 0);
  return kept.length === 0 ? NO_NUMBERS : kept;
}

export function putExtendedCommunities(w: OctetWriter, words: readonly number[]): void {
  putWords(w, OPTIONAL_TRANSITIVE, AttributeCode.ExtendedCommunities, words);
}

const SUBTYPES: Record<number, string> = { 2: 'rt', 3: 'ro' };

/** "rt:64512:7", "ro:192.0.2.1:7", or "generic:0xHIGH:0xLOW". */
export function extendedCommunityText(high: number, low: number): string {
  const type = (high >>> 24) & 0xbf;
  const name = SUBTYPES[(high >>> 16) & 0xff];
  if (name !== undefined && type === 0) return `${name}:${high & 0xffff}:${low}`;
  const upper = (((high & 0xffff) << 16) | (low >>> 16)) >>> 0;
  if (name !== undefined && type === 1) return `${name}:${Addr.v4(upper)}:${low & 0xffff}`;
  if (name !== undefined && type === 2) return `${name}:${upper}:${low & 0xffff}`;
  return `generic:0x${high.toString(16)}:0x${low.toString(16)}`;
}
