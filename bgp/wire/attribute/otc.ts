/** ONLY_TO_CUSTOMER: the mark that stops route leaks (RFC 9234 §5). It is carried; roles are not enforced here. */

import { get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, OPTIONAL_TRANSITIVE, putAttributeHeader } from './model.ts';

export const OTC: AttributeCodec = {
  code: AttributeCode.Otc,
  name: 'ONLY_TO_CUSTOMER',
  flags: OPTIONAL_TRANSITIVE,
  decode(v, draft) {
    // RFC 9234 §5: "An OTC Attribute SHALL be considered malformed if the length value is not 4", treat-as-withdraw.
    if (v.length !== 4) return flaw(UpdateError.Length, 'treat-as-withdraw', `ONLY_TO_CUSTOMER of ${v.length} octets`);
    draft.otc = get32(v, 0) >>> 0;
    return undefined;
  },
};

export function putOtc(w: OctetWriter, asn: number): void {
  putAttributeHeader(w, OPTIONAL_TRANSITIVE, AttributeCode.Otc, 4);
  w.u32(asn);
}
