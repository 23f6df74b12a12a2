/** MP_UNREACH_NLRI: prefixes of any family that are no longer reachable (RFC 4760 §4; errors RFC 7606 §5.3, §7.12). */

import type { Family } from '../../../router/lib/addr.ts';
import { get16 } from '../../../router/lib/bytes.ts';
import { UpdateError } from '../fault.ts';
import { afiOf, familyOf, isNlri, SAFI_UNICAST } from '../nlri.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, OPTIONAL } from './model.ts';
import { hasPathIds, isNegotiated, isVpn } from './mp-reach.ts';

export const MP_UNREACH: AttributeCodec = {
  code: AttributeCode.MpUnreach,
  name: 'MP_UNREACH_NLRI',
  flags: OPTIONAL,
  hasPrefixes: true,
  decode(v, draft, context) {
    if (v.length < 3) return flaw(UpdateError.OptionalAttribute, 'reset', 'MP_UNREACH_NLRI is cut short');
    const family = familyOf(get16(v, 0), v[2]!);
    if (family === undefined && isVpn(v, context)) draft.vpnUnreach = v;
    if (family === undefined || !isNegotiated(family, context)) return undefined;
    const nlri = { family, hasPathIds: hasPathIds(family, context), bytes: v.subarray(3) };
    if (!isNlri(nlri.bytes, family, nlri.hasPathIds)) {
      return flaw(UpdateError.OptionalAttribute, 'reset', 'MP_UNREACH_NLRI holds a malformed prefix');
    }
    draft.unreach = nlri;
    return undefined;
  },
};

/** Append AFI and SAFI, which precede the prefixes. */
export function putUnreachHead(w: OctetWriter, family: Family): void {
  w.u16(afiOf(family));
  w.u8(SAFI_UNICAST);
}
