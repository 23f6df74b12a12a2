/**
 * The table of all attribute codecs, and their common encoding order (ascending type code, RFC 4271 appendix F.3).
 * Deviation: an attribute we know is passed on without its Partial flag (RFC 4271 §5 wants it kept), so that routes which differ
 * in nothing else share one set; nothing reads the flag. Those we do not know get it. Pinned by test/bgp/wire/update.test.ts.
 */

import type { Addr } from '../../../router/lib/addr.ts';
import { get16, get32 } from '../../../router/lib/bytes.ts';
import type { OctetWriter } from '../octets.ts';
import { AGGREGATOR, AS4_AGGREGATOR, putAggregator, putAs4Aggregator } from './aggregator.ts';
import { AS_PATH, AS4_PATH, putAs4Path, putAsPath, takePath } from './as-path.ts';
import { ATOMIC_AGGREGATE, putAtomicAggregate } from './atomic-aggregate.ts';
import { COMMUNITIES, putCommunities } from './communities.ts';
import { EXTENDED_COMMUNITIES, putExtendedCommunities } from './extended-communities.ts';
import { LARGE_COMMUNITIES, putLargeCommunities } from './large-communities.ts';
import { LOCAL_PREF, putLocalPref } from './local-pref.ts';
import { MED, putMed } from './med.ts';
import { AttributeCode, type AttributeCodec, AttributeDraft, type Attributes, Flag } from './model.ts';
import { MP_REACH } from './mp-reach.ts';
import { MP_UNREACH } from './mp-unreach.ts';
import { NEXT_HOP, putNextHop } from './next-hop.ts';
import { ORIGIN, putOrigin } from './origin.ts';
import { OTC, putOtc } from './otc.ts';
import { CLUSTER_LIST, ORIGINATOR_ID, putClusterList, putOriginatorId } from './reflection.ts';
import { putUnknown } from './unknown.ts';

const ALL: readonly AttributeCodec[] = [
  ORIGIN,
  AS_PATH,
  NEXT_HOP,
  MED,
  LOCAL_PREF,
  ATOMIC_AGGREGATE,
  AGGREGATOR,
  COMMUNITIES,
  ORIGINATOR_ID,
  CLUSTER_LIST,
  MP_REACH,
  MP_UNREACH,
  EXTENDED_COMMUNITIES,
  AS4_PATH,
  AS4_AGGREGATOR,
  LARGE_COMMUNITIES,
  OTC,
];

/** Codecs by type code. */
export const CODECS: readonly (AttributeCodec | undefined)[] = Array.from({ length: 256 }, (_, code) =>
  ALL.find((c) => c.code === code),
);

/**
 * Append all attributes except MP_REACH_NLRI and MP_UNREACH_NLRI.
 * @param nextHop classic NEXT_HOP, undefined when the next hop travels in MP_REACH_NLRI
 */
export function putAttributes(w: OctetWriter, a: Attributes, nextHop: Addr | undefined, fourOctetAs: boolean): void {
  putOrigin(w, a.origin);
  putAsPath(w, a.asPath, fourOctetAs);
  if (nextHop !== undefined) putNextHop(w, nextHop);
  if (a.med !== undefined) putMed(w, a.med);
  if (a.localPref !== undefined) putLocalPref(w, a.localPref);
  if (a.atomicAggregate) putAtomicAggregate(w);
  if (a.aggregator !== undefined) putAggregator(w, a.aggregator, fourOctetAs);
  putCommunities(w, a.communities);
  if (a.originatorId !== undefined) putOriginatorId(w, a.originatorId);
  putClusterList(w, a.clusterList);
  putExtendedCommunities(w, a.extendedCommunities);
  if (!fourOctetAs) {
    putAs4Path(w, a.asPath);
    if (a.aggregator !== undefined) putAs4Aggregator(w, a.aggregator);
  }
  putLargeCommunities(w, a.largeCommunities);
  if (a.otc !== undefined) putOtc(w, a.otc);
  for (const u of a.unknown) putUnknown(w, u);
}

/**
 * The attributes in octets that `putAttributes` wrote, without a next hop and with four-octet AS numbers.
 * Invariant: gives back every attribute that `putAttributes` writes.
 */
export function takeAttributes(b: Uint8Array, from: number, end: number): Attributes {
  const draft = new AttributeDraft();
  for (let at = from; at < end; ) {
    const flags = b[at]!;
    const isLong = (flags & Flag.ExtendedLength) !== 0;
    const code = b[at + 1]!;
    const valueAt = at + (isLong ? 4 : 3);
    const valueEnd = valueAt + (isLong ? get16(b, at + 2) : b[at + 2]!);
    take(draft, flags & ~Flag.ExtendedLength, code, b, valueAt, valueEnd);
    at = valueEnd;
  }
  return draft.finish();
}

function take(d: AttributeDraft, flags: number, code: number, b: Uint8Array, at: number, end: number): void {
  switch (code) {
    case AttributeCode.Origin:
      d.origin = b[at]!;
      break;
    case AttributeCode.AsPath:
      d.asPath = takePath(b, at, end);
      break;
    case AttributeCode.Med:
      d.med = get32(b, at) >>> 0;
      break;
    case AttributeCode.LocalPref:
      d.localPref = get32(b, at) >>> 0;
      break;
    case AttributeCode.AtomicAggregate:
      d.atomicAggregate = true;
      break;
    case AttributeCode.Aggregator:
      d.aggregator = { asn: get32(b, at) >>> 0, identifier: get32(b, at + 4) >>> 0 };
      break;
    case AttributeCode.Communities:
      d.communities = words(b, at, end);
      break;
    case AttributeCode.OriginatorId:
      d.originatorId = get32(b, at) >>> 0;
      break;
    case AttributeCode.ClusterList:
      d.clusterList = words(b, at, end);
      break;
    case AttributeCode.ExtendedCommunities:
      d.extendedCommunities = words(b, at, end);
      break;
    case AttributeCode.LargeCommunities:
      d.largeCommunities = words(b, at, end);
      break;
    case AttributeCode.Otc:
      d.otc = get32(b, at) >>> 0;
      break;
    default:
      d.unknown ??= [];
      d.unknown.push({ flags, code, value: b.slice(at, end) });
  }
}

function words(b: Uint8Array, from: number, end: number): readonly number[] {
  const list: number[] = [];
  for (let at = from; at < end; at += 4) list.push(get32(b, at) >>> 0);
  return list;
}
