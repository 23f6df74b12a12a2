/**
 * MP_REACH_NLRI: prefixes of any family together with their next hop.
 * Read first: RFC 4760 §3, RFC 2545 §3, RFC 8950 §3, RFC 7606 §5.3 and §7.11, draft-ietf-idr-linklocal-capability.
 * Next hops are accepted in every form seen in the field and reduced to one (see NextHop in model.ts).
 */

import { Addr, type Family } from '../../../router/lib/addr.ts';
import { get16 } from '../../../router/lib/bytes.ts';
import { familyNamed, unicast } from '../family.ts';
import { UpdateError } from '../fault.ts';
import { afiOf, familyOf, isNlri, SAFI_UNICAST } from '../nlri.ts';
import type { OctetWriter } from '../octets.ts';
import { AttributeCode, type AttributeCodec, flaw, type NextHop, OPTIONAL, type WireContext } from './model.ts';

/**
 * How a link-local next hop without a global address is sent. `native` is "::" + LL (BIRD's own form), `double` LL + LL
 * (FRR's), `single` LL alone, which BIRD, FRR and GoBGP all accept.
 */
export type LinkLocalForm = 'native' | 'double' | 'single';

export const MP_REACH: AttributeCodec = {
  code: AttributeCode.MpReach,
  name: 'MP_REACH_NLRI',
  flags: OPTIONAL,
  hasPrefixes: true,
  decode(v, draft, context) {
    if (v.length < 5) return flaw(UpdateError.OptionalAttribute, 'reset', 'MP_REACH_NLRI is cut short');
    const nlriAt = 4 + v[3]! + 1; // a reserved octet follows the next hop
    if (nlriAt > v.length)
      return flaw(UpdateError.OptionalAttribute, 'reset', 'MP_REACH_NLRI next hop runs past the end');
    const family = familyOf(get16(v, 0), v[2]!);
    if (family === undefined && isVpn(v, context)) draft.vpnReach = v;
    if (family === undefined || !isNegotiated(family, context)) return undefined; // RFC 4760 §6: not ours to read
    const nlri = { family, hasPathIds: hasPathIds(family, context), bytes: v.subarray(nlriAt) };
    if (!isNlri(nlri.bytes, family, nlri.hasPathIds)) {
      return flaw(UpdateError.OptionalAttribute, 'reset', 'MP_REACH_NLRI holds a malformed prefix');
    }
    const nextHop = readNextHop(v.subarray(4, nlriAt - 1), family, context.families[unicast(family)]!.extendedNextHop);
    if (nextHop === undefined) {
      // RFC 7606 §7.11: a length that does not fit the family costs the session.
      return flaw(UpdateError.OptionalAttribute, 'reset', `MP_REACH_NLRI next hop of ${v[3]} octets`);
    }
    draft.reach = { nlri, nextHop };
    return undefined;
  },
};

/** Whether the value of an MP attribute is of a VPN family that was negotiated. */
export function isVpn(v: Uint8Array, context: WireContext): boolean {
  const name = familyNamed(get16(v, 0), v[2]!);
  return name !== undefined && context.families[name] !== undefined;
}

export function isNegotiated(family: Family, context: WireContext): boolean {
  return context.families[unicast(family)] !== undefined;
}

export function hasPathIds(family: Family, context: WireContext): boolean {
  return context.families[unicast(family)]?.receivesPathIds ?? false;
}

/** Undefined when the length does not fit. */
function readNextHop(b: Uint8Array, family: Family, extended: boolean): NextHop | undefined {
  if (b.length === 4 && family === 4) return { global: Addr.fromBytes(b)!, linkLocal: undefined };
  if (family === 4 && !extended) return undefined;
  if (b.length !== 16 && b.length !== 32) return undefined;
  const first = Addr.fromBytes(b.subarray(0, 16))!;
  const second = b.length === 32 ? Addr.fromBytes(b.subarray(16))! : undefined;
  // A second address that is not link-local says nothing (RFC 2545 §3); the first then stands alone.
  const linkLocal = second?.isLinkLocal ? second : first.isLinkLocal ? first : undefined;
  const isGlobal = !first.isLinkLocal && !(first.isUnspecified && linkLocal !== undefined);
  return { global: isGlobal ? unmapped(first) : undefined, linkLocal };
}

/** RFC 4291 §2.5.5.2: an IPv4-mapped next hop of an IPv6 prefix means the IPv4 router. */
function unmapped(a: Addr): Addr {
  return Addr.fromWords(a.a0, a.a1, a.a2, a.a3);
}

/** Append AFI, SAFI, next hop and the reserved octet: everything of the value that precedes the prefixes. */
export function putReachHead(w: OctetWriter, family: Family, hop: NextHop, form: LinkLocalForm): void {
  w.u16(afiOf(family));
  w.u8(SAFI_UNICAST);
  const lengthAt = w.length;
  w.u8(0);
  const { global, linkLocal } = hop;
  if (global !== undefined) {
    if (global.family === 4 && family === 6) {
      for (const word of [0, 0, 0xffff, global.a3]) w.u32(word);
    } else w.put(global.toBytes());
    if (linkLocal !== undefined && global.family === 6) w.put(linkLocal.toBytes());
  } else if (linkLocal !== undefined) {
    if (form === 'native') w.put(new Uint8Array(16));
    if (form === 'double') w.put(linkLocal.toBytes());
    w.put(linkLocal.toBytes());
  }
  w.bytes[lengthAt] = w.length - lengthAt - 1;
  w.u8(0);
}
