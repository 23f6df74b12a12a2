/** MULTI_EXIT_DISC: which of several links into the neighbouring AS it prefers (RFC 4271 §5.1.4, errors RFC 7606 §7.4). */

import { get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, OPTIONAL, putAttributeHeader } from './model.ts';

export const MED: AttributeCodec = {
  code: AttributeCode.Med,
  name: 'MULTI_EXIT_DISC',
  flags: OPTIONAL,
  decode(v, draft) {
    if (v.length !== 4) return flaw(UpdateError.Length, 'treat-as-withdraw', `MULTI_EXIT_DISC of ${v.length} octets`);
    draft.med = get32(v, 0) >>> 0;
    return undefined;
  },
};

export function putMed(w: OctetWriter, med: number): void {
  putAttributeHeader(w, OPTIONAL, AttributeCode.Med, 4);
  w.u32(med);
}
