/** ORIGIN: how the prefix entered BGP (RFC 4271 §5.1.1; errors RFC 7606 §7.1). */

import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, Origin, putAttributeHeader, WELL_KNOWN } from './model.ts';

export const ORIGIN: AttributeCodec = {
  code: AttributeCode.Origin,
  name: 'ORIGIN',
  flags: WELL_KNOWN,
  decode(v, draft) {
    if (v.length !== 1) return flaw(UpdateError.Length, 'treat-as-withdraw', `ORIGIN of ${v.length} octets`);
    if (v[0]! > Origin.Incomplete) return flaw(UpdateError.Origin, 'treat-as-withdraw', `ORIGIN value ${v[0]}`);
    draft.origin = v[0]!;
    return undefined;
  },
};

export function putOrigin(w: OctetWriter, origin: number): void {
  putAttributeHeader(w, WELL_KNOWN, AttributeCode.Origin, 1);
  w.u8(origin);
}

export function originText(origin: number): string {
  return origin === Origin.Igp ? 'IGP' : origin === Origin.Egp ? 'EGP' : 'incomplete';
}
