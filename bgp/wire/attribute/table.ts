/** The table of all attribute codecs, and their common encoding order (ascending type code, RFC 4271 appendix F.3). */

import type { Addr } from '../../../router/lib/addr.ts';
import type { OctetWriter } from '../octets.ts';
import { AGGREGATOR, AS4_AGGREGATOR, putAggregator, putAs4Aggregator } from './aggregator.ts';
import { AS_PATH, AS4_PATH, putAs4Path, putAsPath } from './as-path.ts';
import { ATOMIC_AGGREGATE, putAtomicAggregate } from './atomic-aggregate.ts';
import { COMMUNITIES, putCommunities } from './communities.ts';
import { EXTENDED_COMMUNITIES, putExtendedCommunities } from './extended-communities.ts';
import { LARGE_COMMUNITIES, putLargeCommunities } from './large-communities.ts';
import { LOCAL_PREF, putLocalPref } from './local-pref.ts';
import { MED, putMed } from './med.ts';
import type { AttributeCodec, Attributes } from './model.ts';
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
