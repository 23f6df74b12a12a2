/** NEXT_HOP: the IPv4 router to send to, for prefixes of the classic NLRI field (RFC 4271 §5.1.3, errors RFC 7606 §7.3). */

import { Addr } from '../../../router/lib/addr.ts';
import { UpdateError } from '../fault.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, putAttributeHeader, WELL_KNOWN } from './model.ts';

export const NEXT_HOP: AttributeCodec = {
  code: AttributeCode.NextHop,
  name: 'NEXT_HOP',
  flags: WELL_KNOWN,
  decode(v, draft) {
    if (v.length !== 4) return flaw(UpdateError.Length, 'treat-as-withdraw', `NEXT_HOP of ${v.length} octets`);
    draft.nextHop = Addr.fromBytes(v)!;
    return undefined;
  },
};

/** RFC 4271 §6.3: "syntactically correct" here means that it can be a host's address. */
export function isHostAddress(a: Addr): boolean {
  if (a.isUnspecified || a.isMulticast || a.isLoopback) return false;
  return a.family === 6 || (a.a3 >>> 24 !== 0 && a.a3 >>> 28 !== 0xf && a.a3 >>> 24 !== 127);
}

export function putNextHop(w: OctetWriter, addr: Addr): void {
  putAttributeHeader(w, WELL_KNOWN, AttributeCode.NextHop, 4);
  w.u32(addr.a3);
}
