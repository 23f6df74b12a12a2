/** COMMUNITIES: 32-bit labels of a route (RFC 1997, errors RFC 7606 §7.8). */

import { get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, OPTIONAL_TRANSITIVE, putAttributeHeader } from './model.ts';

/** Well-known communities (IANA). */
export const Community = {
  GracefulShutdown: 0xffff0000, // RFC 8326 §5
  LlgrStale: 0xffff0006, // RFC 9494 §4.1
  NoLlgr: 0xffff0007, // RFC 9494 §4.1
  NoExport: 0xffffff01, // RFC 1997
  NoAdvertise: 0xffffff02, // RFC 1997
  NoExportSubconfed: 0xffffff03, // RFC 1997
  NoPeer: 0xffffff04, // RFC 3765 §3
  Blackhole: 0xffff029a, // RFC 7999 §5
} as const;

const NAMES = new Map<number, string>([
  [Community.GracefulShutdown, 'graceful-shutdown'],
  [Community.Blackhole, 'blackhole'],
  [Community.LlgrStale, 'llgr-stale'],
  [Community.NoLlgr, 'no-llgr'],
  [Community.NoExport, 'no-export'],
  [Community.NoAdvertise, 'no-advertise'],
  [Community.NoExportSubconfed, 'no-export-subconfed'],
  [Community.NoPeer, 'no-peer'],
]);

/** Names that stand for well-known communities. */
export const COMMUNITY_NAMES: readonly string[] = [...NAMES.values()];

export const COMMUNITIES: AttributeCodec = {
  code: AttributeCode.Communities,
  name: 'COMMUNITIES',
  flags: OPTIONAL_TRANSITIVE,
  decode(v, draft) {
    const values = readWords(v, 4);
    if (values === undefined)
      return flaw(UpdateError.OptionalAttribute, 'treat-as-withdraw', `COMMUNITIES of ${v.length} octets`);
    draft.communities = values;
    return undefined;
  },
};

/** A non-empty list of 32-bit words whose octets are a multiple of `unit`; undefined otherwise. */
export function readWords(v: Uint8Array, unit: number): number[] | undefined {
  if (v.length === 0 || v.length % unit !== 0) return undefined;
  const out: number[] = [];
  for (let at = 0; at < v.length; at += 4) out.push(get32(v, at) >>> 0);
  return out;
}

/** Append an attribute whose value is a list of 32-bit words; an empty list is not sent. */
export function putWords(w: OctetWriter, flags: number, code: number, words: readonly number[]): void {
  if (words.length === 0) return;
  putAttributeHeader(w, flags, code, words.length * 4);
  for (const word of words) w.u32(word);
}

export function putCommunities(w: OctetWriter, values: readonly number[]): void {
  putWords(w, OPTIONAL_TRANSITIVE, AttributeCode.Communities, values);
}

/** "64511:5", or the name of a well-known one. */
export function communityText(c: number): string {
  return NAMES.get(c) ?? `${c >>> 16}:${c & 0xffff}`;
}

/** The value of "64511:5" or of a well-known name. */
export function parseCommunity(text: string): number | undefined {
  for (const [value, name] of NAMES) if (name === text) return value;
  const m = /^(\d{1,5}):(\d{1,5})$/.exec(text);
  if (m === null || Number(m[1]) > 0xffff || Number(m[2]) > 0xffff) return undefined;
  return ((Number(m[1]) << 16) | Number(m[2])) >>> 0;
}
