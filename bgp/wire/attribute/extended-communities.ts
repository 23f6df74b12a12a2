/** EXTENDED COMMUNITIES: typed 64-bit labels, kept as two 32-bit words each (RFC 4360, errors RFC 7606 §7.14). */

import { Addr } from '../../../router/lib/addr.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AS_TRANS } from './as-path.ts';
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

/** Subtypes by name (RFC 4360 §4 and §5). */
const SUBTYPES: Record<number, string> = { 2: 'rt', 3: 'ro' };
/** Link bandwidth (draft-ietf-idr-link-bandwidth §3), the non-transitive and the transitive form. */
const BANDWIDTH = 0x40040000;
const TRANSITIVE_BANDWIDTH = 0x00040000;

const float = new DataView(new ArrayBuffer(4));

/** "rt:64512:7", "ro:192.0.2.1:7", "bandwidth:64512:125000" (octets per second), or "generic:0xHIGH:0xLOW". */
export function extendedCommunityText(high: number, low: number): string {
  const bandwidth = bandwidthOf(high, low);
  if (bandwidth !== undefined) return `bandwidth:${high & 0xffff}:${bandwidth}`;
  const type = high >>> 24;
  const name = SUBTYPES[(high >>> 16) & 0xff];
  if (name !== undefined && type === 0) return `${name}:${high & 0xffff}:${low}`;
  const upper = (((high & 0xffff) << 16) | (low >>> 16)) >>> 0;
  if (name !== undefined && type === 1) return `${name}:${Addr.v4(upper)}:${low & 0xffff}`;
  if (name !== undefined && type === 2) return `${name}:${upper}:${low & 0xffff}`;
  return `generic:0x${high.toString(16)}:0x${low.toString(16)}`;
}

/** Octets per second of a link bandwidth community, undefined for any other one. */
export function bandwidthOf(high: number, low: number): number | undefined {
  if (((high & 0xffff0000) | 0) !== BANDWIDTH && ((high & 0xffff0000) | 0) !== TRANSITIVE_BANDWIDTH) return undefined;
  float.setUint32(0, low);
  const octets = float.getFloat32(0);
  return Number.isFinite(octets) && octets >= 0 ? octets : undefined;
}

/** The two words of a non-transitive link bandwidth community; a 4-octet AS number does not fit and becomes AS_TRANS. */
export function bandwidthCommunity(asn: number, octetsPerSecond: number): [number, number] {
  float.setFloat32(0, octetsPerSecond);
  return [(BANDWIDTH | (asn > 0xffff ? AS_TRANS : asn)) >>> 0, float.getUint32(0)];
}

/** The two words of a text as `extendedCommunityText` writes it. */
export function parseExtendedCommunity(text: string): [number, number] | undefined {
  const parts = text.split(':');
  if (parts.length !== 3) return undefined;
  const [name, first, second] = parts as [string, string, string];
  if (name === 'generic') {
    if (!/^0x[0-9a-f]{1,8}$/i.test(first) || !/^0x[0-9a-f]{1,8}$/i.test(second)) return undefined;
    return [Number(first), Number(second)];
  }
  if (name === 'bandwidth') {
    const asn = whole(first, 0xffff);
    const octets = /^\d+(\.\d+)?(e\+?\d+)?$/.test(second) ? Number(second) : Number.NaN;
    return asn === undefined || Number.isNaN(octets) ? undefined : bandwidthCommunity(asn, octets);
  }
  const subtype = name === 'rt' ? 2 : name === 'ro' ? 3 : undefined;
  if (subtype === undefined) return undefined;
  const addr = first.includes('.') ? Addr.parse(first) : undefined;
  const asn = whole(first, 0xffffffff);
  if (addr === undefined && asn !== undefined && asn <= 0xffff) {
    const value = whole(second, 0xffffffff);
    return value === undefined ? undefined : [(subtype << 16) | asn, value];
  }
  const upper = addr?.family === 4 ? addr.a3 >>> 0 : asn;
  const value = whole(second, 0xffff);
  if (upper === undefined || value === undefined) return undefined;
  const type = addr === undefined ? 2 : 1;
  return [((type << 24) | (subtype << 16) | (upper >>> 16)) >>> 0, (((upper & 0xffff) << 16) | value) >>> 0];
}

function whole(text: string, max: number): number | undefined {
  return /^(0|[1-9]\d{0,9})$/.test(text) && Number(text) <= max ? Number(text) : undefined;
}
