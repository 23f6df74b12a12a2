/** ATOMIC_AGGREGATE: the path of an aggregate may hide ASes (RFC 4271 §5.1.6, errors RFC 7606 §7.6). */

import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, putAttributeHeader, WELL_KNOWN } from './model.ts';

export const ATOMIC_AGGREGATE: AttributeCodec = {
  code: AttributeCode.AtomicAggregate,
  name: 'ATOMIC_AGGREGATE',
  flags: WELL_KNOWN,
  decode(v, draft) {
    if (v.length !== 0) return flaw(UpdateError.Length, 'discard', `ATOMIC_AGGREGATE of ${v.length} octets`);
    draft.atomicAggregate = true;
    return undefined;
  },
};

export function putAtomicAggregate(w: OctetWriter): void {
  putAttributeHeader(w, WELL_KNOWN, AttributeCode.AtomicAggregate, 0);
}
