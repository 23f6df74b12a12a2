/**
 * Netlink messages (netlink(7), rtnetlink(7)): a header, a fixed part by type, attributes. Numbers are in the byte order of
 * the machine, which is little-endian wherever we run; addresses and ports are in network order.
 * Reading never throws, whatever the octets are: what makes no sense is undefined.
 */
import { Addr, type Family } from '../lib/addr.ts';

export const NLMSG_HEADER = 16;

/** `nlmsg_flags`; the meaning of the upper ones depends on whether a message asks (dump) or makes something. */
export const NlFlag = {
  Request: 0x1,
  Multi: 0x2,
  Ack: 0x4,
  /** Root and match: tell everything. */
  Dump: 0x300,
  Replace: 0x100,
  Exclusive: 0x200,
  Create: 0x400,
  Append: 0x800,
} as const;

/** Types below 16 are netlink's own. */
export const NlType = { Error: 2, Done: 3, Overrun: 4 } as const;

/** Message types of rtnetlink. */
export const Rtm = {
  NewLink: 16,
  DelLink: 17,
  GetLink: 18,
  SetLink: 19,
  NewAddr: 20,
  DelAddr: 21,
  GetAddr: 22,
  NewRoute: 24,
  DelRoute: 25,
  GetRoute: 26,
  NewNeigh: 28,
  DelNeigh: 29,
  GetNeigh: 30,
  NewRule: 32,
  DelRule: 33,
  GetRule: 34,
  NewNextHop: 104,
  DelNextHop: 105,
} as const;

/** Attributes of routes. */
export const Rta = {
  Dst: 1,
  Src: 2,
  Oif: 4,
  Gateway: 5,
  Priority: 6,
  PrefSrc: 7,
  Multipath: 9,
  CacheInfo: 12,
  Table: 15,
  Mark: 16,
  Via: 18,
  Expires: 23,
  NhId: 30,
} as const;

/** Octets of `struct rtmsg`, `struct rtnexthop` and `struct rtvia` before the address. */
export const RTMSG = 12;
export const RTNEXTHOP = 8;
export const RTVIA = 2;

/** `rtm_type`. */
export const RouteType = { Unicast: 1, Local: 2, Blackhole: 6, Unreachable: 7, Prohibit: 8 } as const;

export const MAIN_TABLE = 254;
export const LOCAL_TABLE = 255;

export const AF_INET = 2;
export const AF_INET6 = 10;

const ATTRIBUTE_HEADER = 4;
/** Attribute types carry two flags (nested, byte order) in their upper bits. */
const ATTRIBUTE_TYPE = 0x3fff;
const NESTED = 0x8000;

export type Attributes = ReadonlyMap<number, Uint8Array>;

/** Each netlink message with its header; undefined once where the rest of the octets makes no sense. */
export function* messagesOf(payload: Uint8Array): Generator<Uint8Array | undefined> {
  for (let at = 0; at < payload.length; ) {
    const left = payload.length - at;
    const length = left < NLMSG_HEADER ? 0 : wordsOf(payload).getUint32(at, true);
    if (length < NLMSG_HEADER || length > left) {
      yield undefined;
      return;
    }
    yield payload.subarray(at, at + length);
    at += aligned(length);
  }
}

/** Attributes by type, the last of equals; undefined when their lengths make no sense. */
export function attributesOf(octets: Uint8Array, start: number): Attributes | undefined {
  const out = new Map<number, Uint8Array>();
  for (const [type, value] of attributeList(octets, start)) {
    if (value === undefined) return undefined;
    out.set(type, value);
  }
  return out;
}

/** Attributes in order, equals too; a last one without value where their lengths make no sense. */
export function* attributeList(octets: Uint8Array, start: number): Generator<[number, Uint8Array | undefined]> {
  const words = wordsOf(octets);
  for (let at = start; octets.length - at >= ATTRIBUTE_HEADER; ) {
    const length = words.getUint16(at, true);
    if (length < ATTRIBUTE_HEADER || length > octets.length - at) {
      yield [0, undefined];
      return;
    }
    yield [words.getUint16(at + 2, true) & ATTRIBUTE_TYPE, octets.subarray(at + ATTRIBUTE_HEADER, at + length)];
    at += aligned(length);
  }
}

/**
 * Of a message about IPv4 or IPv6 its family and its attributes; undefined for one of other types, and where it makes no sense.
 * @param fixed octets of what stands before the attributes; the first one is the family
 */
export function familyMessage(
  m: Uint8Array,
  fixed: number,
  ...types: readonly number[]
): { readonly family: Family; readonly attributes: Attributes } | undefined {
  if (!types.includes(wordsOf(m).getUint16(4, true)) || m.length < NLMSG_HEADER + fixed) return undefined;
  const family = familyOf(m[NLMSG_HEADER]!);
  const attributes = attributesOf(m, NLMSG_HEADER + fixed);
  return family && attributes && { family, attributes };
}

/** An attribute that is a u32. */
export function wordOf(attributes: Attributes, type: number): number | undefined {
  const octets = attributes.get(type);
  return octets?.length === 4 ? wordsOf(octets).getUint32(0, true) : undefined;
}

/** An attribute that is a text, with or without its zero. */
export function textOf(attributes: Attributes, type: number): string | undefined {
  const octets = attributes.get(type);
  if (octets === undefined) return undefined;
  const end = octets.indexOf(0);
  return Buffer.from(octets.subarray(0, end < 0 ? octets.length : end)).toString('latin1');
}

export function familyOf(af: number): Family | undefined {
  return af === AF_INET ? 4 : af === AF_INET6 ? 6 : undefined;
}

export function familyNumber(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** An address of a family; undefined when there are not as many octets as it has. */
export function addrOf(octets: Uint8Array, family: Family): Addr | undefined {
  return octets.length === (family === 4 ? 4 : 16) ? Addr.fromBytes(octets) : undefined;
}

/** RTA_VIA: a gateway of the other family, `struct rtvia`. */
export function viaOf(octets: Uint8Array): Addr | undefined {
  const family = octets.length < RTVIA ? undefined : familyOf(wordsOf(octets).getUint16(0, true));
  return family && addrOf(octets.subarray(RTVIA), family);
}

/** 0.0.0.0 or ::. */
export function unspecified(family: Family): Addr {
  return family === 4 ? Addr.v4(0) : Addr.v6(0, 0, 0, 0);
}

export function wordsOf(octets: Uint8Array): DataView {
  return new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}

/** Writes messages one behind the other into one growing buffer, which is what one sendmsg(2) takes. */
export class NetlinkWriter {
  #octets = new Uint8Array(4096);
  #words = wordsOf(this.#octets);
  #at = 0;
  #start = 0;

  /** What was written so far; valid until the next call. */
  get octets(): Uint8Array {
    return this.#octets.subarray(0, this.#at);
  }

  get length(): number {
    return this.#at;
  }

  clear(): void {
    this.#at = 0;
  }

  /** The header of a message; `end` closes it. */
  begin(type: number, flags: number, sequence: number): this {
    this.#start = this.#at;
    return this.u32(0).u16(type).u16(flags).u32(sequence).u32(0);
  }

  end(): void {
    this.#words.setUint32(this.#start, this.#at - this.#start, true);
    this.#pad();
  }

  u8(value: number): this {
    this.#room(1);
    this.#octets[this.#at++] = value;
    return this;
  }

  u16(value: number): this {
    this.#room(2);
    this.#words.setUint16(this.#at, value, true);
    this.#at += 2;
    return this;
  }

  /** In network order. */
  port(value: number): this {
    this.#room(2);
    this.#words.setUint16(this.#at, value);
    this.#at += 2;
    return this;
  }

  u32(value: number): this {
    this.#room(4);
    this.#words.setUint32(this.#at, value >>> 0, true);
    this.#at += 4;
    return this;
  }

  bytes(value: Uint8Array): this {
    this.#room(value.length);
    this.#octets.set(value, this.#at);
    this.#at += value.length;
    return this;
  }

  attribute(type: number, value: Uint8Array): this {
    this.u16(ATTRIBUTE_HEADER + value.length)
      .u16(type)
      .bytes(value);
    this.#pad();
    return this;
  }

  attributeU8(type: number, value: number): this {
    return this.attribute(type, Uint8Array.of(value));
  }

  attributeU16(type: number, value: number): this {
    this.u16(ATTRIBUTE_HEADER + 2)
      .u16(type)
      .u16(value);
    this.#pad();
    return this;
  }

  attributeU32(type: number, value: number): this {
    return this.u16(ATTRIBUTE_HEADER + 4)
      .u16(type)
      .u32(value);
  }

  /** With its closing zero. */
  attributeText(type: number, value: string): this {
    return this.attribute(type, Buffer.from(`${value}\0`, 'latin1'));
  }

  /** An attribute of attributes. @param isMarked as such (NLA_F_NESTED): newer families insist, rtnetlink does without */
  nest(type: number, fill: () => void, isMarked = false): this {
    const at = this.#at;
    this.u16(0).u16(isMarked ? type | NESTED : type);
    fill();
    this.#words.setUint16(at, this.#at - at, true);
    this.#pad();
    return this;
  }

  /** `struct rtnexthop` with its attributes. @param weight 1 to 256 */
  hop(flags: number, weight: number, ifindex: number, fill: () => void): this {
    const at = this.#at;
    this.u16(0)
      .u8(flags)
      .u8(weight - 1)
      .u32(ifindex);
    fill();
    this.#words.setUint16(at, this.#at - at, true);
    return this;
  }

  #pad(): void {
    while (this.#at % 4 !== 0) this.u8(0);
  }

  #room(more: number): void {
    if (this.#at + more <= this.#octets.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#octets.length, this.#at + more));
    larger.set(this.#octets.subarray(0, this.#at));
    this.#octets = larger;
    this.#words = wordsOf(larger);
  }
}
