/** Packets for the tests of the WireGuard rings, with lengths filled in; checksums are computed where asked. */

import { Addr } from '../../router/lib/addr.ts';
import { put16, put32 } from '../../router/lib/bytes.ts';

export interface PacketSpec {
  readonly v6?: boolean;
  readonly udp?: boolean;
  readonly id?: number;
  readonly seq?: number;
  readonly flags?: number;
  readonly options?: Uint8Array;
  readonly payload: Uint8Array;
  readonly srcPort?: number;
}

const V4 = [Addr.parse('10.0.0.1')!, Addr.parse('10.0.0.2')!] as const;
const V6 = [Addr.parse('fd00::1')!, Addr.parse('fd00::2')!] as const;

/** An IP packet with right lengths and checksums. */
export function packet(s: PacketSpec): Uint8Array {
  const v6 = s.v6 ?? false;
  const ihl = v6 ? 40 : 20;
  const options = s.options ?? new Uint8Array(0);
  const l4 = s.udp === true ? 8 : 20 + options.length;
  const p = new Uint8Array(ihl + l4 + s.payload.length);
  const proto = s.udp === true ? 17 : 6;
  if (v6) {
    p[0] = 0x60;
    put16(p, 4, p.length - 40);
    p[6] = proto;
    p[7] = 64;
    p.set(V6[0].toBytes(), 8);
    p.set(V6[1].toBytes(), 24);
  } else {
    p[0] = 0x45;
    put16(p, 2, p.length);
    put16(p, 4, s.id ?? 0);
    p[8] = 64;
    p[9] = proto;
    p.set(V4[0].toBytes(), 12);
    p.set(V4[1].toBytes(), 16);
    put16(p, 10, ~sum(p, 0, 20));
  }
  put16(p, ihl, s.srcPort ?? 1000);
  put16(p, ihl + 2, 2000);
  if (s.udp === true) put16(p, ihl + 4, p.length - ihl);
  else {
    put32(p, ihl + 4, s.seq ?? 0);
    put32(p, ihl + 8, 77);
    p[ihl + 12] = (l4 / 4) << 4;
    p[ihl + 13] = s.flags ?? 0x10;
    put16(p, ihl + 14, 500);
    p.set(options, ihl + 20);
  }
  p.set(s.payload, ihl + l4);
  const at = ihl + (s.udp === true ? 6 : 16);
  const c = ~transportSum(p) & 0xffff;
  put16(p, at, c === 0 && s.udp === true ? 0xffff : c);
  return p;
}

/** Sum over pseudo header and transport header with payload: 0xffff when the checksum is right. */
export function transportSum(p: Uint8Array): number {
  const v6 = p[0]! >> 4 === 6;
  const ihl = v6 ? 40 : 20;
  const addresses = v6 ? sum(p, 8, 40) : sum(p, 12, 20);
  return fold(addresses + p[v6 ? 6 : 9]! + (p.length - ihl) + sum(p, ihl, p.length));
}

function sum(b: Uint8Array, from: number, to: number): number {
  let s = 0;
  for (let i = from; i < to; i++) s += (i - from) % 2 === 0 ? b[i]! << 8 : b[i]!;
  return fold(s);
}

function fold(s: number): number {
  let x = s;
  while (x > 0xffff) x = (x & 0xffff) + Math.floor(x / 65536);
  return x;
}

/** Octets that differ from place to place. */
export function pattern(length: number, seed = 1): Uint8Array {
  const b = new Uint8Array(length);
  let x = seed;
  for (let i = 0; i < length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) | 0;
    b[i] = x >>> 16;
  }
  return b;
}

/** Cut a super-segment as the sender would have: the reference for what arrives. */
export function cut(p: Uint8Array, hdrLen: number, gsoSize: number, spec: Omit<PacketSpec, 'payload'>): Uint8Array[] {
  const out: Uint8Array[] = [];
  const payload = p.subarray(hdrLen);
  for (let at = 0, i = 0; at < payload.length; at += gsoSize, i++) {
    const last = at + gsoSize >= payload.length;
    out.push(
      packet({
        ...spec,
        payload: payload.slice(at, at + gsoSize),
        id: ((spec.id ?? 0) + i) & 0xffff,
        seq: ((spec.seq ?? 0) + at) | 0,
        flags: last ? (spec.flags ?? 0x10) : (spec.flags ?? 0x10) & ~0x09,
      }),
    );
  }
  return out;
}
