/**
 * Builders of whole packets for tests, independent of router/wire so that each checks the other. Layers nest from the
 * inside out: `ip4({ ... }, udp({ ... }, 'text'))`. Lengths and checksums are filled in unless a field overrides them.
 */
import { Addr } from '../../router/lib/addr.ts';

/** A layer that still needs its pseudo header. */
export interface Layer {
  readonly protocol: number;
  /** @param src, @param dst addresses as octets */
  encode(src: Uint8Array, dst: Uint8Array): Uint8Array;
}

export type Payload = Layer | Uint8Array | string;

export interface Ip4Fields {
  readonly src: string;
  readonly dst: string;
  readonly ttl?: number;
  readonly tos?: number;
  readonly id?: number;
  readonly df?: boolean;
  readonly mf?: boolean;
  /** Octets. */
  readonly offset?: number;
  readonly protocol?: number;
  readonly options?: Uint8Array;
  readonly totalLen?: number;
  readonly checksum?: number;
}

export interface Ip6Fields {
  readonly src: string;
  readonly dst: string;
  readonly hopLimit?: number;
  readonly trafficClass?: number;
  readonly flowLabel?: number;
  readonly nextHeader?: number;
  readonly payloadLen?: number;
}

export function octets(n: number, seed = 1): Uint8Array {
  const out = new Uint8Array(n);
  let x = seed;
  for (let i = 0; i < n; i++) {
    x = (Math.imul(x, 1103515245) + 12345) | 0;
    out[i] = x >>> 16;
  }
  return out;
}

export function text(s: string): Uint8Array {
  return new TextEncoder().encode(s);
}

export function concat(...parts: Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export function address(s: string): Uint8Array {
  const a = Addr.parse(s);
  if (a === undefined) throw new Error(`not an address: ${s}`);
  return a.toBytes();
}

/** RFC 1071, the slow and obvious way. */
export function checksum(...parts: Uint8Array[]): number {
  const all = concat(...parts);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) sum += all[i]! * 256 + (all[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return 0xffff - sum;
}

export function pseudo(src: Uint8Array, dst: Uint8Array, protocol: number, length: number): Uint8Array {
  const tail = new Uint8Array(src.length === 4 ? 4 : 8);
  const v = new DataView(tail.buffer);
  if (src.length === 4) {
    tail[1] = protocol;
    v.setUint16(2, length);
  } else {
    v.setUint32(0, length);
    tail[7] = protocol;
  }
  return concat(src, dst, tail);
}

function encodePayload(p: Payload, src: Uint8Array, dst: Uint8Array): Uint8Array {
  if (typeof p === 'string') return text(p);
  return p instanceof Uint8Array ? p : p.encode(src, dst);
}

export function ip4(f: Ip4Fields, payload: Payload): Uint8Array {
  const src = address(f.src);
  const dst = address(f.dst);
  const options = f.options ?? new Uint8Array(0);
  const body = encodePayload(payload, src, dst);
  const head = new Uint8Array(20 + options.length);
  const v = new DataView(head.buffer);
  head[0] = 0x40 | (head.length / 4);
  head[1] = f.tos ?? 0;
  v.setUint16(2, f.totalLen ?? head.length + body.length);
  v.setUint16(4, f.id ?? 0x1234);
  v.setUint16(6, (f.df ? 0x4000 : 0) | (f.mf ? 0x2000 : 0) | ((f.offset ?? 0) / 8));
  head[8] = f.ttl ?? 64;
  head[9] = f.protocol ?? (payload instanceof Uint8Array || typeof payload === 'string' ? 253 : payload.protocol);
  head.set(src, 12);
  head.set(dst, 16);
  head.set(options, 20);
  v.setUint16(10, f.checksum ?? checksum(head));
  return concat(head, body);
}

export function ip6(f: Ip6Fields, payload: Payload): Uint8Array {
  const src = address(f.src);
  const dst = address(f.dst);
  const body = encodePayload(payload, src, dst);
  const head = new Uint8Array(40);
  const v = new DataView(head.buffer);
  v.setUint32(0, (6 << 28) | ((f.trafficClass ?? 0) << 20) | (f.flowLabel ?? 0));
  v.setUint16(4, f.payloadLen ?? body.length);
  head[6] = f.nextHeader ?? (payload instanceof Uint8Array || typeof payload === 'string' ? 253 : payload.protocol);
  head[7] = f.hopLimit ?? 64;
  head.set(src, 8);
  head.set(dst, 24);
  return concat(head, body);
}

export function udp(
  f: { readonly src: number; readonly dst: number; readonly length?: number; readonly checksum?: number },
  payload: Uint8Array | string = '',
): Layer {
  return {
    protocol: 17,
    encode(src, dst) {
      const data = typeof payload === 'string' ? text(payload) : payload;
      const head = new Uint8Array(8);
      const v = new DataView(head.buffer);
      v.setUint16(0, f.src);
      v.setUint16(2, f.dst);
      v.setUint16(4, f.length ?? 8 + data.length);
      const sum = checksum(pseudo(src, dst, 17, 8 + data.length), head, data);
      v.setUint16(6, f.checksum ?? (sum === 0 ? 0xffff : sum));
      return concat(head, data);
    },
  };
}

export interface TcpFields {
  readonly src: number;
  readonly dst: number;
  readonly seq?: number;
  readonly ack?: number;
  /** Letters of FSRPAUEC (FIN SYN RST PSH ACK URG ECE CWR). */
  readonly flags?: string;
  readonly window?: number;
  readonly options?: Uint8Array;
}

export function tcp(f: TcpFields, payload: Uint8Array | string = ''): Layer {
  return {
    protocol: 6,
    encode(src, dst) {
      const data = typeof payload === 'string' ? text(payload) : payload;
      const options = f.options ?? new Uint8Array(0);
      const head = new Uint8Array(20 + options.length);
      const v = new DataView(head.buffer);
      v.setUint16(0, f.src);
      v.setUint16(2, f.dst);
      v.setUint32(4, f.seq ?? 0);
      v.setUint32(8, f.ack ?? 0);
      head[12] = (head.length / 4) << 4;
      for (const letter of f.flags ?? 'A') head[13]! |= 1 << 'FSRPAUEC'.indexOf(letter);
      v.setUint16(14, f.window ?? 65535);
      head.set(options, 20);
      v.setUint16(16, checksum(pseudo(src, dst, 6, head.length + data.length), head, data));
      return concat(head, data);
    },
  };
}

/** An MSS option. */
export function mssOption(mss: number): Uint8Array {
  return Uint8Array.of(2, 4, mss >> 8, mss & 255);
}

function icmp(protocol: number, type: number, code: number, rest: number, payload: Uint8Array | string): Layer {
  return {
    protocol,
    encode(src, dst) {
      const data = typeof payload === 'string' ? text(payload) : payload;
      const head = new Uint8Array(8);
      const v = new DataView(head.buffer);
      head[0] = type;
      head[1] = code;
      v.setUint32(4, rest >>> 0);
      const length = 8 + data.length;
      v.setUint16(2, protocol === 1 ? checksum(head, data) : checksum(pseudo(src, dst, 58, length), head, data));
      return concat(head, data);
    },
  };
}

/** ICMP message; `rest` is the second word. */
export function icmp4(type: number, code: number, rest: number, payload: Uint8Array | string = ''): Layer {
  return icmp(1, type, code, rest, payload);
}

export function icmp6(type: number, code: number, rest: number, payload: Uint8Array | string = ''): Layer {
  return icmp(58, type, code, rest, payload);
}

export function echo(version: 4 | 6, id: number, seq: number, payload: Uint8Array | string = ''): Layer {
  return version === 4 ? icmp4(8, 0, id * 65536 + seq, payload) : icmp6(128, 0, id * 65536 + seq, payload);
}

/** An IPv6 extension header of `body` octets (padded to eight with its own length field), followed by `next`. */
export function extension(protocol: number, body: Uint8Array, next: Layer): Layer {
  return {
    protocol,
    encode(src, dst) {
      const size = Math.ceil((2 + body.length) / 8) * 8;
      const head = new Uint8Array(size);
      head[0] = next.protocol;
      head[1] = size / 8 - 1;
      head.set(body, 2);
      return concat(head, next.encode(src, dst));
    },
  };
}

/** Raw octets as a layer of the given protocol. */
export function raw(protocol: number, bytes: Uint8Array): Layer {
  return { protocol, encode: () => bytes };
}

/** Cut an IPv4 packet into fragments of at most `mtu` octets. */
export function fragments4(packet: Uint8Array, mtu: number): Uint8Array[] {
  const head = packet.subarray(0, 20);
  const body = packet.subarray(20);
  const room = Math.floor((mtu - 20) / 8) * 8;
  const out: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += room) {
    const piece = concat(head, body.subarray(at, at + room));
    const v = new DataView(piece.buffer);
    v.setUint16(2, piece.length);
    v.setUint16(6, (at + room < body.length ? 0x2000 : 0) | (at / 8));
    v.setUint16(10, 0);
    v.setUint16(10, checksum(piece.subarray(0, 20)));
    out.push(piece);
  }
  return out;
}

/** Cut an IPv6 packet without extension headers into fragments of at most `mtu` octets. */
export function fragments6(packet: Uint8Array, mtu: number, id = 0xabcd): Uint8Array[] {
  const body = packet.subarray(40);
  const room = Math.floor((mtu - 48) / 8) * 8;
  const out: Uint8Array[] = [];
  for (let at = 0; at < body.length; at += room)
    out.push(fragment6(packet, at, body.subarray(at, at + room), at + room < body.length, id));
  return out;
}

/** One IPv6 fragment with the header of `packet`. */
export function fragment6(packet: Uint8Array, offset: number, data: Uint8Array, more: boolean, id: number): Uint8Array {
  const head = packet.slice(0, 40);
  const frag = new Uint8Array(8);
  const v = new DataView(frag.buffer);
  frag[0] = head[6]!;
  v.setUint16(2, offset | (more ? 1 : 0));
  v.setUint32(4, id);
  head[6] = 44;
  new DataView(head.buffer).setUint16(4, 8 + data.length);
  return concat(head, frag, data);
}
