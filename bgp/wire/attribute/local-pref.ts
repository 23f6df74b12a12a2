/** LOCAL_PREF: the degree of preference inside the AS (RFC 4271 §5.1.5, errors RFC 7606 §7.5). */

import { get32 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, putAttributeHeader, WELL_KNOWN } from './model.ts';

/** Degree of preference of a route that carries none. */
export const DEFAULT_LOCAL_PREF = 100;

export const LOCAL_PREF: AttributeCodec = {
  code: AttributeCode.LocalPref,
  name: 'LOCAL_PREF',
  flags: WELL_KNOWN,
  decode(v, draft, context) {
    if (context.external) return flaw(UpdateError.Flags, 'discard', 'LOCAL_PREF from an external peer');
    if (v.length !== 4) return flaw(UpdateError.Length, 'treat-as-withdraw', `LOCAL_PREF of ${v.length} octets`);
    draft.localPref = get32(v, 0) >>> 0;
    return undefined;
  },
};

export function putLocalPref(w: OctetWriter, localPref: number): void {
  putAttributeHeader(w, WELL_KNOWN, AttributeCode.LocalPref, 4);
  w.u32(localPref);
}
