/**
 * ORIGINATOR_ID and CLUSTER_LIST: loop protection of route reflection.
 * Read first: RFC 4456 §8, RFC 7606 §7.9 and §7.10. Does not reflect; it carries and checks what reflectors add.
 */

import { get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { putWords, readWords } from './communities.ts';
import { AttributeCode, type AttributeCodec, flaw, OPTIONAL, putAttributeHeader } from './model.ts';

export const ORIGINATOR_ID: AttributeCodec = {
  code: AttributeCode.OriginatorId,
  name: 'ORIGINATOR_ID',
  flags: OPTIONAL,
  decode(v, draft, context) {
    if (context.external) return flaw(UpdateError.OptionalAttribute, 'discard', 'ORIGINATOR_ID from an external peer');
    if (v.length !== 4) return flaw(UpdateError.Length, 'treat-as-withdraw', `ORIGINATOR_ID of ${v.length} octets`);
    draft.originatorId = get32(v, 0) >>> 0;
    return undefined;
  },
};

export const CLUSTER_LIST: AttributeCodec = {
  code: AttributeCode.ClusterList,
  name: 'CLUSTER_LIST',
  flags: OPTIONAL,
  decode(v, draft, context) {
    if (context.external) return flaw(UpdateError.OptionalAttribute, 'discard', 'CLUSTER_LIST from an external peer');
    const words = readWords(v, 4);
    if (words === undefined) return flaw(UpdateError.Length, 'treat-as-withdraw', `CLUSTER_LIST of ${v.length} octets`);
    draft.clusterList = words;
    return undefined;
  },
};

export function putOriginatorId(w: OctetWriter, id: number): void {
  putAttributeHeader(w, OPTIONAL, AttributeCode.OriginatorId, 4);
  w.u32(id);
}

export function putClusterList(w: OctetWriter, ids: readonly number[]): void {
  putWords(w, OPTIONAL, AttributeCode.ClusterList, ids);
}
