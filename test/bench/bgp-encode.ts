/**
 * UPDATE messages of a table, encoded once into one buffer per sender (RFC 4271 §4.3, RFC 4760). Written for the benchmark
 * alone and independent of the product's encoder. Every set has ORIGIN, AS_PATH, NEXT_HOP, a community, every third a
 * large community; one message per set.
 */
import type { Table } from './bgp-table.ts';

const MARKER = 16;
const MAX_MESSAGE = 4096;
const UPDATE = 2;
const IPV4_UNICAST = [0, 1, 1] as const;
const IPV6_UNICAST = [0, 2, 1] as const;

export interface Feed {
  /** The sender's AS, first in every path. */
  readonly asn: number;
  /** Next hops: four octets, and sixteen. */
  readonly nextHop4: readonly number[];
  readonly nextHop6: readonly number[];
  /** ASes behind the sender's in every path: another value makes other paths. */
  readonly detour?: readonly number[];
}

/** Messages into one growing buffer. */
class Writer {
  #octets = Buffer.allocUnsafe(1 << 20);
  #at = 0;

  u8(value: number): void {
    this.#octets[this.#at++] = value;
  }
  u16(value: number): void {
    this.u8(value >>> 8);
    this.u8(value & 255);
  }
  u32(value: number): void {
    this.u16(value >>> 16);
    this.u16(value & 0xffff);
  }
  put(values: readonly number[]): void {
    for (const v of values) this.u8(v);
  }

  /** Begin a message; returns where it starts. */
  begin(): number {
    if (this.#at + 2 * MAX_MESSAGE > this.#octets.length)
      this.#octets = Buffer.concat([this.#octets], this.#octets.length * 2);
    const start = this.#at;
    this.#octets.fill(0xff, start, start + MARKER);
    this.#at += MARKER + 2;
    this.u8(UPDATE);
    return start;
  }

  end(start: number): void {
    this.#octets.writeUInt16BE(this.#at - start, start + MARKER);
  }

  get at(): number {
    return this.#at;
  }
  patch16(at: number): void {
    this.#octets.writeUInt16BE(this.#at - at - 2, at);
  }
  patch8(at: number): void {
    this.#octets[at] = this.#at - at - 1;
  }

  nlri(t: Table, i: number): void {
    const length = t.length[i]!;
    this.u8(length);
    for (let n = 0, bits = length; bits > 0; bits -= 8, n++)
      this.u8(((n < 4 ? t.high[i]! : t.low[i]!) >>> (24 - 8 * (n & 3))) & 255);
  }

  take(): Buffer {
    return this.#octets.subarray(0, this.#at);
  }
}

function attributes(w: Writer, t: Table, s: number, feed: Feed): void {
  w.put([0x40, 1, 1, 0]); // ORIGIN IGP
  const path = t.path.subarray(t.pathStart[s]!, t.pathStart[s + 1]!);
  const detour = feed.detour ?? [];
  const hops = 1 + detour.length + path.length;
  w.put([0x40, 2, 2 + 4 * hops, 2, hops]);
  w.u32(feed.asn);
  for (const asn of detour) w.u32(asn);
  for (const asn of path) w.u32(asn);
  if (t.family === 4) w.put([0x40, 3, 4, ...feed.nextHop4]);
  w.put([0xc0, 8, 4]);
  w.u32(64511 * 65536 + (s % 60000));
  if (s % 3 !== 0) return;
  w.put([0xc0, 32, 12]);
  w.u32(feed.asn);
  w.u32(1);
  w.u32(s);
}

/** Announcements of the sets from `from` to before `to`. */
export function announcements(t: Table, feed: Feed, from = 0, to = t.sets): Buffer {
  const w = new Writer();
  for (let s = from; s < to; s++) {
    const start = w.begin();
    w.u16(0);
    const attributesAt = w.at;
    w.u16(0);
    attributes(w, t, s, feed);
    if (t.family === 6) {
      w.put([0x80, 14, 0]); // MP_REACH_NLRI
      const reachAt = w.at - 1;
      w.put([...IPV6_UNICAST, 16, ...feed.nextHop6, 0]);
      for (let i = t.setStart[s]!; i < t.setStart[s + 1]!; i++) w.nlri(t, i);
      w.patch8(reachAt);
      w.patch16(attributesAt);
    } else {
      w.patch16(attributesAt);
      for (let i = t.setStart[s]!; i < t.setStart[s + 1]!; i++) w.nlri(t, i);
    }
    w.end(start);
  }
  return w.take();
}

/** Withdrawals of the same prefixes, each message as full as it gets. */
export function withdrawals(t: Table, from = 0, to = t.sets): Buffer {
  const w = new Writer();
  const room = MAX_MESSAGE - 17; // the longest prefix and its length
  for (let i = t.setStart[from]!, end = t.setStart[to]!; i < end; ) {
    const start = w.begin();
    if (t.family === 4) {
      const at = w.at;
      w.u16(0);
      while (i < end && w.at - start < room) w.nlri(t, i++);
      w.patch16(at);
      w.u16(0);
    } else {
      w.u16(0);
      const at = w.at;
      w.u16(0);
      w.put([0x90, 15, 0, 0]); // MP_UNREACH_NLRI with a length of two octets
      const unreachAt = w.at - 2;
      w.put(IPV6_UNICAST);
      while (i < end && w.at - start < room) w.nlri(t, i++);
      w.patch16(unreachAt);
      w.patch16(at);
    }
    w.end(start);
  }
  return w.take();
}

/** RFC 4724 §2. */
export function endOfRib(family: 4 | 6): Buffer {
  const w = new Writer();
  const start = w.begin();
  w.u16(0);
  if (family === 4) w.u16(0);
  else {
    w.u16(6);
    w.put([0x80, 15, 3, ...IPV6_UNICAST]);
  }
  w.end(start);
  return w.take();
}

const message = (type: number, body: readonly number[]): Buffer =>
  Buffer.from([...new Array(MARKER).fill(255), (19 + body.length) >> 8, (19 + body.length) & 255, type, ...body]);

/** OPEN with both families, four-octet AS numbers and graceful restart (so that the other side sends End-of-RIB). */
export function open(asn: number, identifier: readonly number[], holdTimeS: number): Buffer {
  const four = [asn >>> 24, (asn >>> 16) & 255, (asn >>> 8) & 255, asn & 255];
  const family = ([a, b, safi]: readonly number[]): number[] => [1, 4, a!, b!, 0, safi!];
  const capabilities = [...family(IPV4_UNICAST), ...family(IPV6_UNICAST), 65, 4, ...four, 64, 2, 0, 0];
  const short = asn > 65535 ? 23456 : asn;
  return message(1, [
    4,
    short >> 8,
    short & 255,
    holdTimeS >> 8,
    holdTimeS & 255,
    ...identifier,
    2 + capabilities.length,
    2,
    capabilities.length,
    ...capabilities,
  ]);
}

export const KEEPALIVE = message(4, []);
