/**
 * Reads a packet a stack emitted, all checks included: lengths and checksums that are wrong end the test with a message.
 * Independent of router/wire. Tests compare with `t.like(decode(bytes), { ... })`.
 */
import { Addr } from '../../router/lib/addr.ts';
import { checksum, pseudo } from './packets.ts';

export interface Decoded {
  readonly version: 4 | 6;
  readonly src: string;
  readonly dst: string;
  readonly ttl: number;
  readonly tos: number;
  readonly length: number;
  /** Transport protocol, after extension headers. */
  readonly protocol: number;
  readonly id?: number;
  readonly df?: boolean;
  readonly flowLabel?: number;
  /** Set for fragments. */
  readonly fragment?: { readonly id: number; readonly offset: number; readonly more: boolean };
  /** What follows the IP headers. */
  readonly payload: Uint8Array;
  readonly udp?: { readonly src: number; readonly dst: number; readonly data: Uint8Array; readonly text: string };
  readonly tcp?: {
    readonly src: number;
    readonly dst: number;
    readonly seq: number;
    readonly ack: number;
    readonly flags: string;
    readonly options: Uint8Array;
    readonly data: Uint8Array;
  };
  readonly icmp?: {
    readonly type: number;
    readonly code: number;
    readonly rest: number;
    readonly id: number;
    readonly seq: number;
    readonly data: Uint8Array;
    readonly text: string;
  };
}

function fail(why: string, b: Uint8Array): never {
  throw new Error(`${why}: ${Buffer.from(b.subarray(0, 96)).toString('hex')}`);
}

export interface DecodeOptions {
  /** The link was to compute the transport checksum. */
  readonly noTransportChecksum?: boolean;
}

export function decode(b: Uint8Array, options: DecodeOptions = {}): Decoded {
  if (b.length < 1) fail('empty packet', b);
  return b[0]! >> 4 === 4 ? decode4(b, options) : decode6(b, options);
}

function decode4(b: Uint8Array, options: DecodeOptions): Decoded {
  const v = view(b);
  const headerLen = (b[0]! & 15) * 4;
  if (v.getUint16(2) !== b.length) fail(`total length ${v.getUint16(2)} of ${b.length} octets`, b);
  if (checksum(b.subarray(0, headerLen)) !== 0) fail('wrong IPv4 header checksum', b);
  const word = v.getUint16(6);
  const isFragment = (word & 0x3fff) !== 0;
  const src = b.subarray(12, 16);
  const dst = b.subarray(16, 20);
  return {
    version: 4,
    src: name(src),
    dst: name(dst),
    ttl: b[8]!,
    tos: b[1]!,
    length: b.length,
    protocol: b[9]!,
    id: v.getUint16(4),
    df: (word & 0x4000) !== 0,
    ...(isFragment
      ? { fragment: { id: v.getUint16(4), offset: (word & 0x1fff) * 8, more: (word & 0x2000) !== 0 } }
      : {}),
    payload: b.subarray(headerLen),
    ...(isFragment ? {} : transport(b[9]!, src, dst, b.subarray(headerLen), options)),
  };
}

function decode6(b: Uint8Array, options: DecodeOptions): Decoded {
  const v = view(b);
  if (b[0]! >> 4 !== 6) fail('not an IP packet', b);
  if (v.getUint16(4) + 40 !== b.length) fail(`payload length ${v.getUint16(4)} of ${b.length} octets`, b);
  const src = b.subarray(8, 24);
  const dst = b.subarray(24, 40);
  let protocol = b[6]!;
  let at = 40;
  let fragment: Decoded['fragment'];
  while (protocol === 0 || protocol === 43 || protocol === 60 || protocol === 44) {
    const next = b[at]!;
    if (protocol === 44) {
      const word = v.getUint16(at + 2);
      fragment = { id: v.getUint32(at + 4), offset: word & 0xfff8, more: (word & 1) !== 0 };
      at += 8;
      protocol = next;
      break;
    }
    at += (b[at + 1]! + 1) * 8;
    protocol = next;
  }
  return {
    version: 6,
    src: name(src),
    dst: name(dst),
    ttl: b[7]!,
    tos: ((b[0]! & 15) << 4) | (b[1]! >> 4),
    length: b.length,
    protocol,
    flowLabel: v.getUint32(0) & 0xfffff,
    ...(fragment === undefined ? {} : { fragment }),
    payload: b.subarray(at),
    ...(fragment === undefined ? transport(protocol, src, dst, b.subarray(at), options) : {}),
  };
}

function transport(
  protocol: number,
  src: Uint8Array,
  dst: Uint8Array,
  p: Uint8Array,
  options: DecodeOptions,
): Pick<Decoded, 'udp' | 'tcp' | 'icmp'> {
  const v = view(p);
  const isV4 = src.length === 4;
  const isOffloaded = options.noTransportChecksum === true;
  if (protocol === 17) {
    if (v.getUint16(4) !== p.length) fail(`UDP length ${v.getUint16(4)} of ${p.length}`, p);
    const check = v.getUint16(6);
    if (!isOffloaded && check !== 0 && checksum(pseudo(src, dst, 17, p.length), p) !== 0) fail('wrong UDP checksum', p);
    if (!isOffloaded && check === 0 && !isV4) fail('UDP over IPv6 without checksum', p);
    const data = p.subarray(8);
    return { udp: { src: v.getUint16(0), dst: v.getUint16(2), data, text: latin(data) } };
  }
  if (protocol === 6) {
    if (!isOffloaded && checksum(pseudo(src, dst, 6, p.length), p) !== 0) fail('wrong TCP checksum', p);
    const headerLen = (p[12]! >> 4) * 4;
    return {
      tcp: {
        src: v.getUint16(0),
        dst: v.getUint16(2),
        seq: v.getUint32(4),
        ack: v.getUint32(8),
        flags: [...'FSRPAUEC'].filter((_, i) => (p[13]! & (1 << i)) !== 0).join(''),
        options: p.subarray(20, headerLen),
        data: p.subarray(headerLen),
      },
    };
  }
  if (protocol === 1 || protocol === 58) {
    const wrong = protocol === 1 ? checksum(p) : checksum(pseudo(src, dst, 58, p.length), p);
    if (wrong !== 0) fail('wrong ICMP checksum', p);
    const data = p.subarray(8);
    return {
      icmp: {
        type: p[0]!,
        code: p[1]!,
        rest: v.getUint32(4),
        id: v.getUint16(4),
        seq: v.getUint16(6),
        data,
        text: latin(data),
      },
    };
  }
  return {};
}

function view(b: Uint8Array): DataView {
  return new DataView(b.buffer, b.byteOffset, b.byteLength);
}

function name(b: Uint8Array): string {
  return Addr.fromBytes(b)!.toString();
}

function latin(b: Uint8Array): string {
  return Buffer.from(b).toString('latin1');
}
