/**
 * Attribute sets, each stored once, as the octets that encode it: routes name them by number, so that a million prefixes
 * cost as many attribute sets as their senders used, "same attributes" is an integer comparison, and the garbage
 * collector meets none of them. What the decision process asks stands in columns; the rest is decoded when asked for.
 * Read first: RFC 4271 §9. A set is never changed; policy makes another one.
 */

import { get32 } from '../../router/lib/bytes.ts';
import { grown } from '../../router/lib/columns.ts';
import { HashIndex } from '../../router/lib/hash-index.ts';
import { type AsPath, EMPTY_PATH, SegmentType } from '../wire/attribute/as-path.ts';
import { Community } from '../wire/attribute/communities.ts';
import { DEFAULT_LOCAL_PREF } from '../wire/attribute/local-pref.ts';
import {
  type Aggregator,
  AttributeCode,
  type Attributes,
  Flag,
  type NextHop,
  NO_NUMBERS,
  type UnknownAttribute,
} from '../wire/attribute/model.ts';
import { putAttributes, takeAttributes } from '../wire/attribute/table.ts';
import { OctetWriter } from '../wire/octets.ts';
import { copyCanonical } from '../wire/quick.ts';
import { OctetArena } from './arena.ts';
import { HopTable } from './hops.ts';
import { SparseList } from './sparse.ts';

/** What a set holds, as bits: nothing is decoded to learn that an attribute is missing. */
export const Has = {
  Med: 1,
  LocalPref: 2,
  Communities: 4,
  ExtendedCommunities: 8,
  LargeCommunities: 16,
  OriginatorId: 32,
  ClusterList: 64,
  Otc: 128,
  /** A community from 65535:0 on, the range of the well-known ones. */
  WellKnown: 256,
  /** The path is not empty. */
  Path: 512,
  /** RFC 9494 §4.2: marked as the route of a peer that has been away for long. */
  LlgrStale: 1024,
} as const;

const DECODED = 256;
/** Octets of the longest list of attributes, and so of one attribute in it (RFC 4271 §4.3). */
export const MAX_SET_OCTETS = 0xffff;
/** In place of the number of a set that would be longer. */
export const TOO_LARGE = -1;
const NO_UNKNOWN: readonly UnknownAttribute[] = Object.freeze([]);

/**
 * Path attributes and next hop of a route. There is one object for a set while it is stored. An object that outlives its
 * set (in a cache) keeps the octets, and brings the set back when it is used again.
 */
export class AttrSet implements Attributes {
  readonly #table: AttrTable;
  /** Number of the set, -1 when it is not stored any more: ask `AttrTable.idOf`. */
  number: number;
  /** The set's octets and next hop while it is not stored. */
  kept: { readonly octets: Uint8Array; readonly nextHop: NextHop | undefined } | undefined;

  constructor(table: AttrTable, number: number) {
    this.#table = table;
    this.number = number;
  }

  get #id(): number {
    return this.#table.idOf(this);
  }

  get origin(): number {
    return this.#table.origin(this.#id);
  }

  get asPath(): AsPath {
    return this.#has(Has.Path) ? this.#decoded.asPath : EMPTY_PATH;
  }

  get med(): number | undefined {
    const id = this.#id;
    return this.#table.has(id, Has.Med) ? this.#table.med(id) : undefined;
  }

  get localPref(): number | undefined {
    const id = this.#id;
    return this.#table.has(id, Has.LocalPref) ? this.#table.preference(id) : undefined;
  }

  get atomicAggregate(): boolean {
    return this.#decoded.atomicAggregate;
  }

  get aggregator(): Aggregator | undefined {
    return this.#decoded.aggregator;
  }

  get communities(): readonly number[] {
    return this.#has(Has.Communities) ? this.#decoded.communities : NO_NUMBERS;
  }

  get extendedCommunities(): readonly number[] {
    return this.#has(Has.ExtendedCommunities) ? this.#decoded.extendedCommunities : NO_NUMBERS;
  }

  get largeCommunities(): readonly number[] {
    return this.#has(Has.LargeCommunities) ? this.#decoded.largeCommunities : NO_NUMBERS;
  }

  get originatorId(): number | undefined {
    return this.#has(Has.OriginatorId) ? this.#decoded.originatorId : undefined;
  }

  get clusterList(): readonly number[] {
    return this.#has(Has.ClusterList) ? this.#decoded.clusterList : NO_NUMBERS;
  }

  get otc(): number | undefined {
    return this.#has(Has.Otc) ? this.#decoded.otc : undefined;
  }

  get unknown(): readonly UnknownAttribute[] {
    const { unknown } = this.#decoded;
    return unknown.length === 0 ? NO_UNKNOWN : unknown;
  }

  /** Undefined for routes of our own. */
  get nextHop(): NextHop | undefined {
    return this.#table.nextHop(this.#id);
  }

  /** RFC 4271 §9.1.2.2 (a). */
  get pathLength(): number {
    return this.#table.pathLength(this.#id);
  }

  /** First AS of the path outside our confederation, 0 when there is none: routes with the same one have comparable MEDs. */
  get neighborAs(): number {
    return this.#table.neighborAs(this.#id);
  }

  /** LOCAL_PREF or the default. */
  get preference(): number {
    return this.#table.preference(this.#id);
  }

  /** RFC 9494 §4.3: the route of a peer that has been away for long, the last choice. */
  get isLongLivedStale(): boolean {
    return this.#has(Has.LlgrStale);
  }

  /** A community of the well-known range is there, such as no-export or graceful-shutdown. */
  get hasWellKnown(): boolean {
    return this.#has(Has.WellKnown);
  }

  #has(bit: number): boolean {
    return this.#table.has(this.#id, bit);
  }

  get #decoded(): Attributes {
    return this.#table.decoded(this.#id);
  }
}

/** All attribute sets in use, by number. */
export class AttrTable {
  readonly hops = new HopTable();
  readonly #arena = new OctetArena();
  readonly #index = new HashIndex();
  readonly #scratch = new OctetWriter();
  #place = new Uint32Array(0);
  #octets = new Uint32Array(0);
  #refs = new Int32Array(0);
  #hop = new Int32Array(0);
  #preference = new Uint32Array(0);
  #med = new Uint32Array(0);
  #neighborAs = new Uint32Array(0);
  #pathLength = new Uint16Array(0);
  #origin = new Uint8Array(0);
  #has = new Uint16Array(0);
  /** 1 = waits in #idle to be forgotten, unless somebody holds it again. */
  #isIdle = new Uint8Array(0);
  /** Sets nobody holds. */
  #idle: number[] = [];
  /** A number that can be used again + 1, and through `#refs` the others; 0 = none. */
  #free = 0;
  #used = 0;
  readonly #objects = new SparseList<AttrSet>();
  /** Attributes decoded lately, by the low bits of the number. */
  readonly #recent: ({ readonly id: number; readonly values: Attributes } | undefined)[] = new Array(DECODED);

  /** Sets stored. */
  get size(): number {
    return this.#index.size;
  }

  /** Octets of memory that encode them. */
  get octets(): number {
    return this.#arena.used;
  }

  /** Sets that nobody holds and `sweep` would forget. */
  get idle(): number {
    return this.#idle.length;
  }

  /**
   * The one set with these attributes. It stays known while somebody holds it (`retain`), and until the next `sweep`.
   * @throws RangeError when they encode to more than `MAX_SET_OCTETS`
   */
  intern(a: Attributes, nextHop: NextHop | undefined): AttrSet {
    const number = this.internNumber(a, nextHop);
    if (number === TOO_LARGE) throw new RangeError(`attributes of more than ${MAX_SET_OCTETS} octets`);
    return this.set(number);
  }

  /** The same as a number, without an object that stays with the set; `TOO_LARGE` when they do not fit. */
  internNumber(a: Attributes, nextHop: NextHop | undefined): number {
    const w = this.#scratch;
    w.clear();
    putAttributes(w, a, undefined, true);
    if (w.length > MAX_SET_OCTETS) return TOO_LARGE;
    return this.#intern(w.bytes, w.length, this.hops.intern(nextHop));
  }

  /**
   * The number of the set with the attributes that stand in `octets[from, end)`.
   * Invariant: `isQuick` (bgp/wire/quick.ts) holds for them.
   */
  internWire(octets: Uint8Array, from: number, end: number, nextHop: NextHop): number {
    const w = this.#scratch;
    w.clear();
    w.reserve(end - from);
    const length = copyCanonical(octets, from, end, w.bytes);
    return this.#intern(w.bytes, length, this.hops.intern(nextHop));
  }

  /** The object of a set. */
  set(id: number): AttrSet {
    const known = this.#objects.get(id);
    if (known !== undefined) return known;
    const made = new AttrSet(this, id);
    this.#objects.set(id, made);
    return made;
  }

  /** The number of a set; one that was forgotten meanwhile is stored again. */
  idOf(set: AttrSet): number {
    if (set.number >= 0) return set.number;
    const { octets, nextHop } = set.kept!;
    const id = this.#intern(octets, octets.length, this.hops.intern(nextHop));
    // Another object may stand for the set by now; then this one remains a stranger that knows its octets.
    if (this.#objects.get(id) !== undefined) return id;
    this.#objects.set(id, set);
    set.number = id;
    set.kept = undefined;
    return id;
  }

  retain(id: number): void {
    this.#refs[id]!++;
  }

  release(id: number): void {
    if (--this.#refs[id]! === 0) this.#letGo(id);
  }

  /** Forget up to `budget` sets that nobody holds, such as those of routes that a filter refused. */
  sweep(budget = Infinity): void {
    for (let n = Math.min(budget, this.#idle.length); n > 0; n--) {
      const id = this.#idle.pop()!;
      this.#isIdle[id] = 0;
      if (this.#refs[id] === 0) this.#forget(id);
    }
  }

  nextHop(id: number): NextHop | undefined {
    return this.hops.get(this.#hop[id]!);
  }

  /** Number of the next hop in `hops`. */
  hopNumber(id: number): number {
    return this.#hop[id]!;
  }

  preference(id: number): number {
    return this.#preference[id]!;
  }

  pathLength(id: number): number {
    return this.#pathLength[id]!;
  }

  origin(id: number): number {
    return this.#origin[id]!;
  }

  /** 0 when missing. */
  med(id: number): number {
    return this.#med[id]!;
  }

  neighborAs(id: number): number {
    return this.#neighborAs[id]!;
  }

  /** @param bits of `Has` */
  has(id: number, bits: number): boolean {
    return (this.#has[id]! & bits) !== 0;
  }

  /** How often `asn` stands in the path. */
  occurrences(id: number, asn: number): number {
    const b = this.#arena.block(this.#place[id]!);
    let at = this.#arena.offset(this.#place[id]!) + ORIGIN_OCTETS;
    const isLong = (b[at]! & Flag.ExtendedLength) !== 0;
    const length = isLong ? (b[at + 2]! << 8) | b[at + 3]! : b[at + 2]!;
    at += isLong ? 4 : 3;
    let n = 0;
    for (const end = at + length; at < end; ) {
      const count = b[at + 1]!;
      at += 2;
      for (let i = 0; i < count; i++, at += 4) if (get32(b, at) === (asn | 0)) n++;
    }
    return n;
  }

  /** All attributes of a set, decoded; valid like any value. */
  decoded(id: number): Attributes {
    const slot = id & (DECODED - 1);
    const recent = this.#recent[slot];
    if (recent !== undefined && recent.id === id) return recent.values;
    const place = this.#place[id]!;
    const at = this.#arena.offset(place);
    const values = takeAttributes(this.#arena.block(place), at, at + this.#octets[id]!);
    this.#recent[slot] = { id, values };
    return values;
  }

  #intern(octets: Uint8Array, length: number, hop: number): number {
    const hash = hashOctets(octets, length, hop);
    for (let id = this.#index.first(hash); id >= 0; id = this.#index.after(id)) {
      if (this.#index.hashOf(id) === hash && this.#hop[id] === hop && this.#isAt(id, octets, length)) return id;
    }
    return this.#add(octets, length, hop, hash);
  }

  #isAt(id: number, octets: Uint8Array, length: number): boolean {
    if (this.#octets[id] !== length) return false;
    const place = this.#place[id]!;
    const block = this.#arena.block(place);
    const from = this.#arena.offset(place);
    for (let i = 0; i < length; i++) if (block[from + i] !== octets[i]) return false;
    return true;
  }

  #add(octets: Uint8Array, length: number, hop: number, hash: number): number {
    let id = this.#free - 1;
    if (id >= 0) this.#free = this.#refs[id]!;
    else {
      id = this.#used++;
      this.#grow(id);
    }
    const place = this.#arena.take(length);
    const block = this.#arena.block(place);
    const from = this.#arena.offset(place);
    for (let i = 0; i < length; i++) block[from + i] = octets[i]!;
    this.#place[id] = place;
    this.#octets[id] = length;
    this.#refs[id] = 0;
    this.#hop[id] = hop;
    this.hops.retain(hop);
    this.#describe(id, octets, length);
    this.#index.add(id, hash);
    this.#letGo(id);
    return id;
  }

  /** Fill the columns that are worked out from the octets. */
  #describe(id: number, b: Uint8Array, length: number): void {
    this.#origin[id] = b[3]!;
    this.#preference[id] = DEFAULT_LOCAL_PREF;
    this.#med[id] = 0;
    let has = 0;
    for (let at = ORIGIN_OCTETS; at < length; ) {
      const isLong = (b[at]! & Flag.ExtendedLength) !== 0;
      const valueAt = at + (isLong ? 4 : 3);
      const end = valueAt + (isLong ? (b[at + 2]! << 8) | b[at + 3]! : b[at + 2]!);
      switch (b[at + 1]) {
        case AttributeCode.AsPath:
          this.#describePath(id, b, valueAt, end);
          if (end > valueAt) has |= Has.Path;
          break;
        case AttributeCode.Med:
          this.#med[id] = get32(b, valueAt);
          has |= Has.Med;
          break;
        case AttributeCode.LocalPref:
          this.#preference[id] = get32(b, valueAt);
          has |= Has.LocalPref;
          break;
        case AttributeCode.Communities:
          has |= Has.Communities;
          for (let c = valueAt; c < end; c += 4) {
            if (b[c] !== 0xff || b[c + 1] !== 0xff) continue;
            has |= Has.WellKnown;
            if (get32(b, c) === (Community.LlgrStale | 0)) has |= Has.LlgrStale;
          }
          break;
        case AttributeCode.ExtendedCommunities:
          has |= Has.ExtendedCommunities;
          break;
        case AttributeCode.LargeCommunities:
          has |= Has.LargeCommunities;
          break;
        case AttributeCode.OriginatorId:
          has |= Has.OriginatorId;
          break;
        case AttributeCode.ClusterList:
          has |= Has.ClusterList;
          break;
        case AttributeCode.Otc:
          has |= Has.Otc;
          break;
      }
      at = end;
    }
    this.#has[id] = has;
  }

  /** RFC 4271 §9.1.2.2 (a): an AS_SET counts as one; RFC 5065 §5.3: confederation segments count as none. */
  #describePath(id: number, b: Uint8Array, from: number, end: number): void {
    let length = 0;
    let neighbor = 0;
    for (let at = from; at < end; at += 2 + 4 * b[at + 1]!) {
      if (b[at] === SegmentType.Sequence) {
        if (length === 0) neighbor = get32(b, at + 2);
        length += b[at + 1]!;
      } else if (b[at] === SegmentType.Set) length++;
    }
    this.#pathLength[id] = length;
    this.#neighborAs[id] = neighbor;
  }

  #letGo(id: number): void {
    if (this.#isIdle[id] !== 0) return;
    this.#isIdle[id] = 1;
    this.#idle.push(id);
  }

  #forget(id: number): void {
    const place = this.#place[id]!;
    const object = this.#objects.get(id);
    if (object !== undefined) {
      const at = this.#arena.offset(place);
      const octets = this.#arena.block(place).slice(at, at + this.#octets[id]!);
      object.kept = { octets, nextHop: this.nextHop(id) };
      object.number = -1;
      this.#objects.set(id, undefined);
    }
    const slot = id & (DECODED - 1);
    if (this.#recent[slot]?.id === id) this.#recent[slot] = undefined;
    this.#index.remove(id);
    this.#arena.give(place, this.#octets[id]!);
    this.hops.release(this.#hop[id]!);
    this.#refs[id] = this.#free;
    this.#free = id + 1;
  }

  #grow(id: number): void {
    this.#place = grown(this.#place, id, 0, 4);
    this.#octets = grown(this.#octets, id, 0, 5);
    this.#refs = grown(this.#refs, id, 0, 6);
    this.#hop = grown(this.#hop, id, 0, 7);
    this.#preference = grown(this.#preference, id, 0, 8);
    this.#med = grown(this.#med, id, 0, 9);
    this.#neighborAs = grown(this.#neighborAs, id, 0, 10);
    this.#pathLength = grown(this.#pathLength, id, 0, 11);
    this.#origin = grown(this.#origin, id, 0, 12);
    this.#has = grown(this.#has, id, 0, 13);
    this.#isIdle = grown(this.#isIdle, id, 0, 14);
  }
}

/** ORIGIN stands first: flags, type, length, value. */
const ORIGIN_OCTETS = 4;

function hashOctets(b: Uint8Array, length: number, seed: number): number {
  let h = Math.imul(seed + 1, 0x9e3779b1) ^ length;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    const word = (b[i]! << 24) | (b[i + 1]! << 16) | (b[i + 2]! << 8) | b[i + 3]!;
    h = Math.imul(h ^ word, 0x85ebca6b);
    h ^= h >>> 15;
  }
  for (; i < length; i++) h = Math.imul(h ^ b[i]!, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}
