/**
 * Prefixes of the VPN families on the wire: label, route distinguisher, prefix; and their next hops.
 * Read first: RFC 4364 §4.3.4, RFC 4659 §3.2, RFC 8277 §2.2, RFC 8950 §3, RFC 7606 §5.3. There is one label: we do not tell
 * the Multiple Labels Capability. VPN tables are small, so here a prefix is an object.
 */

import { Addr, type Family, type Prefix } from '../../router/lib/addr.ts';
import { get16, get32 } from '../../router/lib/bytes.ts';
import type { NextHop } from '../wire/attribute/model.ts';
import { NlriCursor, prefixFromWords, putPrefix } from '../wire/nlri.ts';
import { OctetWriter } from '../wire/octets.ts';
import type { EightOctets } from './route-distinguisher.ts';

/** RFC 3032 §2.1: packets go without a label. The only one a router without MPLS can announce or follow. */
export const IMPLICIT_NULL = 3;
/** RFC 8277 §2.4: what stands in the label's place of a withdrawal. */
const WITHDRAW_LABEL = 0x800000;
/** RFC 8277 §2.2: set in what we send, and of no meaning in what we read. */
const BOTTOM_OF_STACK = 1;
const LABEL_BITS = 24;
const DISTINGUISHER_BITS = 64;

/** What tells VPN routes apart: equal prefixes of two VPNs have different distinguishers (RFC 4364 §4.1). */
export interface VpnName {
  readonly rd: EightOctets;
  readonly prefix: Prefix;
}

export interface VpnPrefix extends VpnName {
  /** RFC 7911 path identifier, 0 without ADD-PATH. */
  readonly pathId: number;
  /** 20 bits; means nothing in a withdrawal. */
  readonly label: number;
}

/** The prefixes of a run, undefined when it is malformed. */
export function readVpnNlri(b: Uint8Array, family: Family, hasPathIds: boolean): VpnPrefix[] | undefined {
  const out: VpnPrefix[] = [];
  const max = family === 4 ? 32 : 128;
  const least = (hasPathIds ? 5 : 1) + (LABEL_BITS + DISTINGUISHER_BITS) / 8;
  for (let at = 0; at < b.length; ) {
    if (at + least > b.length) return undefined;
    const pathId = hasPathIds ? get32(b, at) >>> 0 : 0;
    if (hasPathIds) at += 4;
    const bits = b[at++]! - LABEL_BITS - DISTINGUISHER_BITS;
    const label = ((b[at]! << 16) | get16(b, at + 1)) >>> 4;
    const rd = { high: get32(b, at + 3) >>> 0, low: get32(b, at + 7) >>> 0 };
    at += (LABEL_BITS + DISTINGUISHER_BITS) / 8;
    const end = at + ((bits + 7) >>> 3);
    if (bits < 0 || bits > max || end > b.length) return undefined;
    const plain = new Uint8Array(1 + end - at);
    plain[0] = bits;
    plain.set(b.subarray(at, end), 1);
    const c = new NlriCursor().over({ family, hasPathIds: false, bytes: plain });
    c.next();
    out.push({ rd, prefix: prefixFromWords(family, c.w0, c.w1, c.w2, c.w3, c.length), pathId, label });
    at = end;
  }
  return out;
}

/** Append one prefix; without a label it is a withdrawal. @param pathId undefined without ADD-PATH */
export function putVpnPrefix(w: OctetWriter, p: VpnName, label: number | undefined, pathId: number | undefined): void {
  if (pathId !== undefined) w.u32(pathId);
  const field = label === undefined ? WITHDRAW_LABEL : (label << 4) | BOTTOM_OF_STACK;
  w.u8(LABEL_BITS + DISTINGUISHER_BITS + p.prefix.length);
  w.u8(field >>> 16);
  w.u16(field & 0xffff);
  w.u32(p.rd.high);
  w.u32(p.rd.low);
  const { addr } = p.prefix;
  const plain = new OctetWriter(17);
  if (addr.family === 4) putPrefix(plain, addr.a3, 0, 0, 0, p.prefix.length);
  else putPrefix(plain, addr.a0, addr.a1, addr.a2, addr.a3, p.prefix.length);
  w.put(plain.bytes.subarray(1, plain.length));
}

/** RFC 4364 §4.3.2, RFC 4659 §3.2.1, RFC 8950 §3: each address follows eight octets of zero. Undefined for another length. */
export function readVpnNextHop(b: Uint8Array): NextHop | undefined {
  if (b.length === 12) return { global: Addr.fromBytes(b.subarray(8))!, linkLocal: undefined };
  if (b.length !== 24 && b.length !== 48) return undefined;
  const first = Addr.fromBytes(b.subarray(8, 24))!;
  const second = b.length === 48 ? Addr.fromBytes(b.subarray(32))! : undefined;
  const linkLocal = second?.isLinkLocal ? second : first.isLinkLocal ? first : undefined;
  const global = first.isLinkLocal ? undefined : Addr.fromWords(first.a0, first.a1, first.a2, first.a3);
  return { global, linkLocal };
}

/** The next hop as octets; an IPv4 one of an IPv6 family is IPv4-mapped (RFC 4659 §3.2.1.2). */
export function vpnNextHop(hop: Addr, family: Family): Uint8Array {
  const w = new OctetWriter(24);
  w.u32(0);
  w.u32(0);
  if (family === 6 && hop.family === 4) for (const word of [0, 0, 0xffff, hop.a3]) w.u32(word);
  else w.put(hop.toBytes());
  return w.take();
}

/** A VPN prefix as a key: equal text, equal prefix. */
export function vpnKey(p: VpnName): string {
  return `${p.rd.high.toString(16)}.${p.rd.low.toString(16)} ${p.prefix}`;
}
