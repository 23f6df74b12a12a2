/**
 * MRT records: routing tables and messages in files that bgpdump, BIRD and route collectors read and write.
 * Read first: RFC 6396 (header §2, TABLE_DUMP_V2 §4.3, BGP4MP §4.4), RFC 8050 (ADD-PATH). Octets in, records out, and back.
 * TABLE_DUMP (version 1) and other protocols are passed over as unknown. Does not decode path attributes.
 */

import { Addr, type Prefix } from '../../router/lib/addr.ts';
import { get16, get32 } from '../../router/lib/bytes.ts';
import { AS_TRANS } from './attribute/as-path.ts';
import { AttributeCode, Flag, OPTIONAL, putAttributeHeader } from './attribute/model.ts';
import { CODECS } from './attribute/table.ts';
import { beginMessage, endMessage, MessageType } from './message.ts';
import { afiOf, isNlri, prefixesOf, putPrefixValue, SAFI_UNICAST } from './nlri.ts';
import { OctetWriter } from './octets.ts';

/** Types and subtypes (RFC 6396 §4, RFC 8050 §4). */
const TABLE_DUMP_V2 = 13;
const BGP4MP = 16;
const BGP4MP_ET = 17;
const PEER_INDEX_TABLE = 1;
const RIB_IPV4_UNICAST = 2;
const RIB_IPV6_UNICAST = 4;
const RIB_IPV4_UNICAST_ADDPATH = 8;
const RIB_IPV6_UNICAST_ADDPATH = 10;
const STATE_CHANGE = 0;
const MESSAGE = 1;
const MESSAGE_AS4 = 4;
const STATE_CHANGE_AS4 = 5;
const MESSAGE_ADDPATH = 8;
const MESSAGE_AS4_ADDPATH = 9;

const HEADER_OCTETS = 12;
/** Longer records are not MRT: a table's record holds one prefix, a message at most 65,535 octets. */
const MAX_RECORD = 1 << 22;

export interface MrtPeer {
  readonly identifier: number;
  readonly address: Addr;
  readonly asn: number;
}

export interface MrtRibEntry {
  /** Number in the peer index table. */
  readonly peer: number;
  /** Seconds since 1970. */
  readonly originatedS: number;
  /** RFC 8050 §4.1; undefined in records without path identifiers. */
  readonly pathId: number | undefined;
  /** Path attributes; 4-octet AS numbers, and MP_REACH_NLRI cut down to its next hop (RFC 6396 §4.3.4). */
  readonly attributes: Uint8Array;
}

export type MrtRecord = { /** Seconds since 1970. */ readonly atS: number } & (
  | { readonly kind: 'peers'; readonly collector: number; readonly view: string; readonly peers: readonly MrtPeer[] }
  | {
      readonly kind: 'rib';
      readonly sequence: number;
      readonly prefix: Prefix;
      readonly entries: readonly MrtRibEntry[];
    }
  | ({ readonly kind: 'message'; readonly hasPathIds: boolean; readonly octets: Uint8Array } & MrtEnds)
  | ({ readonly kind: 'state'; readonly from: number; readonly to: number } & MrtEnds)
  | { readonly kind: 'unknown'; readonly type: number; readonly subtype: number }
);

/** The two ends of a session, as the one that wrote the file saw them. */
export interface MrtEnds {
  readonly peerAs: number;
  readonly localAs: number;
  readonly interface: number;
  readonly peer: Addr;
  readonly local: Addr;
  /** AS numbers inside the message have four octets. */
  readonly fourOctetAs: boolean;
}

/** Why a file is not MRT, and where. */
export interface MrtFault {
  readonly fault: string;
  /** Octets from the start of what was given. */
  readonly offset: number;
}

/**
 * The record at `at`, how long it is, and undefined when more octets are needed.
 * A record of a known type that contradicts itself is a fault.
 */
export function decodeMrt(
  b: Uint8Array,
  at: number,
): { readonly record: MrtRecord; readonly octets: number } | MrtFault | undefined {
  if (b.length - at < HEADER_OCTETS) return undefined;
  const length = get32(b, at + 8) >>> 0;
  if (length > MAX_RECORD) return { fault: `a record of ${length} octets`, offset: at };
  const end = at + HEADER_OCTETS + length;
  if (end > b.length) return undefined;
  const atS = get32(b, at) >>> 0;
  const type = get16(b, at + 4);
  const subtype = get16(b, at + 6);
  const body = new Cursor(b, at + HEADER_OCTETS, end);
  if (type === BGP4MP_ET) body.skip(4); // RFC 6396 §3: microseconds
  const inner =
    type === TABLE_DUMP_V2
      ? tableRecord(subtype, body)
      : type === BGP4MP || type === BGP4MP_ET
        ? messageRecord(subtype, body)
        : ({ kind: 'unknown', type, subtype } as const);
  if (inner === undefined || body.isBroken) return { fault: `malformed record of type ${type}/${subtype}`, offset: at };
  return { record: { atS, ...inner } as MrtRecord, octets: end - at };
}

function tableRecord(subtype: number, c: Cursor) {
  switch (subtype) {
    case PEER_INDEX_TABLE:
      return peerIndex(c);
    case RIB_IPV4_UNICAST:
    case RIB_IPV4_UNICAST_ADDPATH:
      return rib(c, 4, subtype === RIB_IPV4_UNICAST_ADDPATH);
    case RIB_IPV6_UNICAST:
    case RIB_IPV6_UNICAST_ADDPATH:
      return rib(c, 6, subtype === RIB_IPV6_UNICAST_ADDPATH);
    default:
      return { kind: 'unknown', type: TABLE_DUMP_V2, subtype } as const;
  }
}

/** RFC 6396 §4.3.1 */
function peerIndex(c: Cursor) {
  const collector = c.u32();
  const view = Buffer.from(c.take(c.u16())).toString('utf8');
  const count = c.u16();
  const peers: MrtPeer[] = [];
  for (let i = 0; i < count && !c.isBroken; i++) {
    const type = c.u8();
    const identifier = c.u32();
    const address = c.addr((type & 1) !== 0);
    const asn = (type & 2) !== 0 ? c.u32() : c.u16();
    if (address !== undefined) peers.push({ identifier, address, asn });
  }
  return { kind: 'peers', collector, view, peers } as const;
}

/** RFC 6396 §4.3.2 and §4.3.4 */
function rib(c: Cursor, family: 4 | 6, hasPathIds: boolean) {
  const sequence = c.u32();
  const octets = c.prefix();
  if (!isNlri(octets, family, false)) return undefined;
  const [prefix] = prefixesOf({ family, hasPathIds: false, bytes: octets });
  if (prefix === undefined) return undefined;
  const count = c.u16();
  const entries: MrtRibEntry[] = [];
  for (let i = 0; i < count && !c.isBroken; i++) {
    const peer = c.u16();
    const originatedS = c.u32();
    const pathId = hasPathIds ? c.u32() : undefined;
    entries.push({ peer, originatedS, pathId, attributes: c.take(c.u16()) });
  }
  return { kind: 'rib', sequence, prefix, entries } as const;
}

/** RFC 6396 §4.4 */
function messageRecord(subtype: number, c: Cursor) {
  const isState = subtype === STATE_CHANGE || subtype === STATE_CHANGE_AS4;
  const isMessage = [MESSAGE, MESSAGE_AS4, MESSAGE_ADDPATH, MESSAGE_AS4_ADDPATH].includes(subtype);
  if (!isState && !isMessage) return { kind: 'unknown', type: BGP4MP, subtype } as const;
  const fourOctetAs = [MESSAGE_AS4, STATE_CHANGE_AS4, MESSAGE_AS4_ADDPATH].includes(subtype);
  const peerAs = fourOctetAs ? c.u32() : c.u16();
  const localAs = fourOctetAs ? c.u32() : c.u16();
  const index = c.u16();
  const isV6 = c.u16() === 2;
  const peer = c.addr(isV6);
  const local = c.addr(isV6);
  if (peer === undefined || local === undefined) return undefined;
  const ends = { peerAs, localAs, interface: index, peer, local, fourOctetAs };
  if (isState) return { kind: 'state', ...ends, from: c.u16(), to: c.u16() } as const;
  const hasPathIds = subtype === MESSAGE_ADDPATH || subtype === MESSAGE_AS4_ADDPATH;
  return { kind: 'message', ...ends, hasPathIds, octets: c.rest() } as const;
}

/** Reads forward; what runs past the end gives zeros and is remembered. */
class Cursor {
  isBroken = false;
  readonly #b: Uint8Array;
  #at: number;
  readonly #end: number;

  constructor(b: Uint8Array, at: number, end: number) {
    this.#b = b;
    this.#at = at;
    this.#end = end;
  }

  take(octets: number): Uint8Array {
    const at = this.#at;
    this.skip(octets);
    return this.isBroken ? new Uint8Array(octets > 16 ? 0 : octets) : this.#b.subarray(at, at + octets);
  }

  skip(octets: number): void {
    if (this.#at + octets > this.#end) this.isBroken = true;
    else this.#at += octets;
  }

  rest(): Uint8Array {
    return this.take(this.#end - this.#at);
  }

  u8(): number {
    return this.take(1)[0]!;
  }

  u16(): number {
    return get16(this.take(2), 0);
  }

  u32(): number {
    return get32(this.take(4), 0) >>> 0;
  }

  addr(isV6: boolean): Addr | undefined {
    const octets = this.take(isV6 ? 16 : 4);
    // Not fromWords: an IPv4-mapped address in a file stays what it is.
    if (!isV6) return Addr.v4(get32(octets, 0));
    return Addr.v6(get32(octets, 0), get32(octets, 4), get32(octets, 8), get32(octets, 12));
  }

  /** One prefix with its length octet. */
  prefix(): Uint8Array {
    const at = this.#at;
    const length = this.u8();
    this.skip((length + 7) >>> 3);
    return this.isBroken ? new Uint8Array(0) : this.#b.subarray(at, this.#at);
  }
}

/** Writes one kind of record after the other into `out`. */
export class MrtWriter {
  readonly out = new OctetWriter(1 << 16);
  #sequence = 0;

  /** RFC 6396 §4.3.1: numbers of peers in `rib` are positions in this list. */
  peers(atS: number, collector: number, view: string, peers: readonly MrtPeer[]): void {
    const w = this.out;
    const start = this.#begin(atS, TABLE_DUMP_V2, PEER_INDEX_TABLE);
    const name = new TextEncoder().encode(view);
    w.u32(collector);
    w.u16(name.length);
    w.put(name);
    w.u16(peers.length);
    for (const p of peers) {
      w.u8((p.address.family === 6 ? 1 : 0) | 2);
      w.u32(p.identifier);
      w.put(p.address.toBytes());
      w.u32(p.asn);
    }
    this.#end(start);
    this.#sequence = 0;
  }

  /** RFC 6396 §4.3.2, RFC 8050 §4.1: with path identifiers when the entries have them. */
  rib(atS: number, prefix: Prefix, entries: readonly MrtRibEntry[]): void {
    const w = this.out;
    const hasPathIds = entries.some((e) => e.pathId !== undefined);
    const plain = prefix.family === 4 ? RIB_IPV4_UNICAST : RIB_IPV6_UNICAST;
    const withIds = prefix.family === 4 ? RIB_IPV4_UNICAST_ADDPATH : RIB_IPV6_UNICAST_ADDPATH;
    const start = this.#begin(atS, TABLE_DUMP_V2, hasPathIds ? withIds : plain);
    w.u32(this.#sequence++);
    putPrefixValue(w, prefix);
    w.u16(entries.length);
    for (const e of entries) {
      w.u16(e.peer);
      w.u32(e.originatedS);
      if (hasPathIds) w.u32(e.pathId ?? 0);
      w.u16(e.attributes.length);
      w.put(e.attributes);
    }
    this.#end(start);
  }

  /** RFC 6396 §4.4.2, RFC 8050 §3: a whole BGP message with its header. */
  message(atS: number, ends: MrtEnds, hasPathIds: boolean, octets: Uint8Array): void {
    const plain = ends.fourOctetAs ? MESSAGE_AS4 : MESSAGE;
    const withIds = ends.fourOctetAs ? MESSAGE_AS4_ADDPATH : MESSAGE_ADDPATH;
    const start = this.#begin(atS, BGP4MP, hasPathIds ? withIds : plain);
    this.#ends(ends);
    this.out.put(octets);
    this.#end(start);
  }

  /** RFC 6396 §4.4.1: states are numbered as in RFC 4271, Idle = 1. */
  state(atS: number, ends: MrtEnds, from: number, to: number): void {
    const start = this.#begin(atS, BGP4MP, ends.fourOctetAs ? STATE_CHANGE_AS4 : STATE_CHANGE);
    this.#ends(ends);
    this.out.u16(from);
    this.out.u16(to);
    this.#end(start);
  }

  #ends(e: MrtEnds): void {
    const w = this.out;
    for (const asn of [e.peerAs, e.localAs]) {
      if (e.fourOctetAs) w.u32(asn);
      else w.u16(asn > 0xffff ? AS_TRANS : asn); // RFC 6793 §4.1
    }
    w.u16(e.interface);
    w.u16(afiOf(e.peer.family));
    w.put(e.peer.toBytes());
    w.put(e.local.toBytes());
  }

  #begin(atS: number, type: number, subtype: number): number {
    const w = this.out;
    w.u32(atS);
    w.u16(type);
    w.u16(subtype);
    w.u32(0);
    return w.length;
  }

  #end(start: number): void {
    const length = this.out.length - start;
    this.out.patch16(start - 4, length >>> 16);
    this.out.patch16(start - 2, length & 0xffff);
  }
}

/**
 * The UPDATE message that would announce one entry of a table: what replays a dump into a speaker (4-octet AS numbers).
 * @param toExternal leave out LOCAL_PREF, which is the dumping router's own and not for other ASes (RFC 4271 §5.1.5)
 */
export function updateOfEntry(prefix: Prefix, attributes: Uint8Array, toExternal = false): Uint8Array {
  const w = new OctetWriter(64 + attributes.length);
  const start = beginMessage(w, MessageType.Update);
  w.u16(0);
  const lengthAt = w.length;
  w.u16(0);
  let hasReach = false;
  for (let at = 0; at + 3 <= attributes.length; ) {
    const isLong = (attributes[at]! & Flag.ExtendedLength) !== 0;
    const valueAt = at + (isLong ? 4 : 3);
    const end = valueAt + (isLong ? get16(attributes, at + 2) : attributes[at + 2]!);
    if (attributes[at + 1] === AttributeCode.MpReach) {
      hasReach = true;
      putReach(w, prefix, reachHop(attributes.subarray(valueAt, end)));
    } else if (!toExternal || attributes[at + 1] !== AttributeCode.LocalPref) {
      const start = w.length;
      w.put(attributes.subarray(at, end));
      w.bytes[start] = flagsOf(attributes[at]!, attributes[at + 1]!);
    }
    at = end;
  }
  w.patch16(lengthAt, w.length - lengthAt - 2);
  if (!hasReach) putPrefixValue(w, prefix);
  endMessage(w, start);
  return w.take();
}

/** BIRD 2.0 dumps attributes that it set itself with flags of zero; the class of a known attribute is no secret. */
function flagsOf(flags: number, code: number): number {
  const codec = CODECS[code];
  return codec === undefined ? flags : (flags & (Flag.Partial | Flag.ExtendedLength)) | codec.flags;
}

/** RFC 6396 §4.3.4 asks for length and next hop alone; some writers keep the whole attribute. */
function reachHop(v: Uint8Array): Uint8Array {
  const isShort = v.length > 0 && v[0] === v.length - 1;
  return isShort ? v.subarray(1) : v.subarray(4, 4 + (v[3] ?? 0));
}

function putReach(w: OctetWriter, prefix: Prefix, hop: Uint8Array): void {
  const nlri = new OctetWriter(20);
  putPrefixValue(nlri, prefix);
  putAttributeHeader(w, OPTIONAL, AttributeCode.MpReach, 5 + hop.length + nlri.length);
  w.u16(afiOf(prefix.family));
  w.u8(SAFI_UNICAST);
  w.u8(hop.length);
  w.put(hop);
  w.u8(0);
  w.put(nlri.take());
}
