/**
 * The VRPs of all sources in one table, and what they say about a route.
 * Read first: RFC 6811 §2 (validation), RFC 6483 §4 (AS 0), RFC 8210 §10 (several caches at once).
 *
 * A VRP is known while at least one source has it; only then a change is one. Sources are filled in steps (`VrpUpdate`),
 * so that half a million VRPs never hold the event loop; the prefixes they changed are known when the last step is done.
 * Does not know routes: revalidation.ts finds those that lie inside changed prefixes.
 */

import type { Family, Prefix } from '../../router/lib/addr.ts';
import { grown } from '../../router/lib/columns.ts';
import { PrefixTable } from '../../router/lib/prefix-table.ts';
import { RoaState } from '../policy/rule.ts';
import { type AsPath, SegmentType } from '../wire/attribute/as-path.ts';
import { type Vrp, VrpList } from './vrp.ts';

export const ROA_STATE_TEXT = ['unknown', 'valid', 'invalid'] as const;

/**
 * The origin AS of a path for validation, 0 = none. RFC 6811 §2: "the rightmost segment ... if it is AS_SEQUENCE"; an
 * AS_SET has none, and a path that is empty or ends in a confederation segment originates in our own AS.
 */
export function roaOrigin(path: AsPath, localAs: number): number {
  const last = path[path.length - 1];
  if (last === undefined || last.type === SegmentType.ConfedSequence || last.type === SegmentType.ConfedSet)
    return localAs;
  return last.type === SegmentType.Sequence ? (last.asns[last.asns.length - 1] ?? 0) : 0;
}

/** Sources are bits of one word. */
export const MAX_SOURCES = 31;
const LANES = 1 << 16;

/** The VRPs of one family: a chain of (AS, maximum length, sources) behind each prefix. */
class FamilyTable {
  readonly prefixes: PrefixTable;
  /** Leading bits of an address that choose its lane. */
  readonly #laneBits: number;
  /** First VRP of each prefix, -1 = none. */
  #head = new Int32Array(0);
  #next = new Int32Array(0);
  #prefixOf = new Int32Array(0);
  #asn = new Uint32Array(0);
  #maxLength = new Uint8Array(0);
  /** Bit per source that has the VRP; 0 = free. */
  #sources = new Int32Array(0);
  /** Number of the last `replace` that mentioned the VRP. */
  #round = new Int32Array(0);
  #free = -1;
  #used = 0;
  #size = 0;
  /**
   * Lengths in use per lane, 32 bits each: where no VRP of a length can be, none is looked for.
   * Invariant: a bit is set when a VRP of that length lies in the lane; it may stay set after the VRP is gone.
   */
  #lengths = new Int32Array(0);
  readonly #lengthWords: number;
  /** VRPs of lengths that span lanes, by length. */
  readonly #short = new Int32Array(33);

  constructor(family: Family) {
    this.prefixes = new PrefixTable(family);
    this.#laneBits = family === 4 ? 16 : 24;
    this.#lengthWords = family === 4 ? 2 : 5;
  }

  get size(): number {
    return this.#size;
  }

  #lane(w0: number): number {
    const top = w0 >>> (32 - this.#laneBits);
    return this.#laneBits === 16 ? top : (Math.imul(top, 0x9e3779b1) >>> 16) & (LANES - 1);
  }

  state(w0: number, w1: number, w2: number, w3: number, length: number, origin: number): number {
    let state: number = RoaState.NotFound;
    if (this.#size === 0) return state;
    for (let l = 0; l < this.#laneBits && l <= length; l++) {
      if (this.#short[l] === 0) continue;
      state = this.#against(l, l === 0 ? 0 : w0 & (-1 << (32 - l)), 0, 0, 0, length, origin, state);
      if (state === RoaState.Valid) return state;
    }
    if (length < this.#laneBits || this.#lengths.length === 0) return state;
    const lane = this.#lane(w0) * this.#lengthWords;
    for (let word = 0; word <= length >>> 5; word++) {
      for (let bits = this.#lengths[lane + word]!; bits !== 0; bits &= bits - 1) {
        const l = word * 32 + 31 - Math.clz32(bits & -bits);
        if (l > length) return state;
        state = this.#against(l, cut(w0, l), cut(w1, l - 32), cut(w2, l - 64), cut(w3, l - 96), length, origin, state);
        if (state === RoaState.Valid) return state;
      }
    }
    return state;
  }

  /** What the VRPs of one covering prefix make of a state. */
  #against(
    l: number,
    w0: number,
    w1: number,
    w2: number,
    w3: number,
    length: number,
    origin: number,
    state: number,
  ): number {
    const id = this.prefixes.find(w0, w1, w2, w3, l);
    if (id < 0) return state;
    for (let v = this.#head[id]!; v >= 0; v = this.#next[v]!) {
      // RFC 6811 §2: AS 0 matches no route; a route without an origin AS matches no VRP.
      if (length <= this.#maxLength[v]! && this.#asn[v] === origin && origin !== 0) return RoaState.Valid;
    }
    return RoaState.Invalid;
  }

  /** VRPs of the prefixes that cover a prefix. */
  *covering(w0: number, w1: number, w2: number, w3: number, length: number): Generator<Vrp> {
    for (let l = 0; l <= length; l++) {
      const id = this.prefixes.find(cut(w0, l), cut(w1, l - 32), cut(w2, l - 64), cut(w3, l - 96), l);
      if (id < 0) continue;
      for (let v = this.#head[id]!; v >= 0; v = this.#next[v]!) {
        yield { prefix: this.prefixes.prefix(id), maxLength: this.#maxLength[v]!, asn: this.#asn[v]! };
      }
    }
  }

  /** Row `row` of a list is known to a source. @returns whether the VRP is new to the table */
  put(list: VrpList, row: number, bit: number, round: number): boolean {
    const length = list.length(row);
    const w0 = list.word(row, 0);
    const id = this.prefixes.intern(w0, list.word(row, 1), list.word(row, 2), list.word(row, 3), length);
    const found = this.#find(id, list.asn(row), list.maxLength(row));
    if (found >= 0) {
      this.#sources[found]! |= bit;
      this.#round[found] = round;
      return false;
    }
    this.prefixes.retain(id);
    let v = this.#free;
    if (v >= 0) this.#free = this.#next[v]!;
    else v = this.#allocate();
    this.#head = grown(this.#head, id, -1);
    this.#next[v] = this.#head[id]!;
    this.#head[id] = v;
    this.#prefixOf[v] = id;
    this.#asn[v] = list.asn(row);
    this.#maxLength[v] = list.maxLength(row);
    this.#sources[v] = bit;
    this.#round[v] = round;
    this.#size++;
    if (length >= this.#laneBits && this.#lengths.length === 0)
      this.#lengths = new Int32Array(LANES * this.#lengthWords);
    if (length < this.#laneBits) this.#short[length]!++;
    else this.#lengths[this.#lane(w0) * this.#lengthWords + (length >>> 5)]! |= 1 << (length & 31);
    return true;
  }

  /** A source does not have row `row` of a list any more. @returns whether the table lost the VRP, undefined = the source never had it */
  drop(list: VrpList, row: number, bit: number): boolean | undefined {
    const id = this.prefixes.find(
      list.word(row, 0),
      list.word(row, 1),
      list.word(row, 2),
      list.word(row, 3),
      list.length(row),
    );
    const v = id < 0 ? -1 : this.#find(id, list.asn(row), list.maxLength(row));
    if (v < 0 || (this.#sources[v]! & bit) === 0) return undefined;
    return this.#release(v, bit);
  }

  has(list: VrpList, row: number, bit: number): boolean {
    const id = this.prefixes.find(
      list.word(row, 0),
      list.word(row, 1),
      list.word(row, 2),
      list.word(row, 3),
      list.length(row),
    );
    const v = id < 0 ? -1 : this.#find(id, list.asn(row), list.maxLength(row));
    return v >= 0 && (this.#sources[v]! & bit) !== 0;
  }

  /** Numbers of VRPs are below this. */
  get limit(): number {
    return this.#used;
  }

  /** Take VRP number `v` from a source when it was not mentioned in `round`. @returns what `drop` does */
  expire(v: number, bit: number, round: number, changed: VrpList): boolean | undefined {
    if ((this.#sources[v]! & bit) === 0 || this.#round[v] === round) return undefined;
    const id = this.#prefixOf[v]!;
    const p = this.prefixes;
    const long = p.family === 6;
    const w0 = p.w0[id]!;
    const w1 = long ? p.w1[id]! : 0;
    const w2 = long ? p.w2[id]! : 0;
    const w3 = long ? p.w3[id]! : 0;
    const length = p.length[id]!;
    const isLost = this.#release(v, bit);
    if (isLost) changed.add(p.family, w0, w1, w2, w3, length, 0, 0);
    return isLost;
  }

  #find(id: number, asn: number, maxLength: number): number {
    let v = id < this.#head.length ? this.#head[id]! : -1;
    while (v >= 0 && (this.#asn[v] !== asn || this.#maxLength[v] !== maxLength)) v = this.#next[v]!;
    return v;
  }

  #release(v: number, bit: number): boolean {
    this.#sources[v]! &= ~bit;
    if (this.#sources[v] !== 0) return false;
    const id = this.#prefixOf[v]!;
    if (this.#head[id] === v) this.#head[id] = this.#next[v]!;
    else {
      let at = this.#head[id]!;
      while (this.#next[at] !== v) at = this.#next[at]!;
      this.#next[at] = this.#next[v]!;
    }
    const length = this.prefixes.length[id]!;
    if (length < this.#laneBits) this.#short[length]!--;
    this.#next[v] = this.#free;
    this.#free = v;
    this.#size--;
    this.prefixes.release(id);
    return true;
  }

  #allocate(): number {
    const v = this.#used++;
    if (v >= this.#asn.length) {
      this.#next = grown(this.#next, v);
      this.#prefixOf = grown(this.#prefixOf, v);
      this.#asn = grown(this.#asn, v);
      this.#maxLength = grown(this.#maxLength, v);
      this.#sources = grown(this.#sources, v);
      this.#round = grown(this.#round, v);
    }
    return v;
  }
}

/** The `bits` leading bits of a word. */
function cut(word: number, bits: number): number {
  return bits >= 32 ? word : bits <= 0 ? 0 : word & (-1 << (32 - bits));
}

/** The address left-aligned, as in bgp/wire/nlri.ts. */
function wordsOf({ family, addr: a }: Prefix): readonly [number, number, number, number] {
  return family === 4 ? [a.a3, 0, 0, 0] : [a.a0, a.a1, a.a2, a.a3];
}

export class RoaTable {
  readonly #tables: Readonly<Record<Family, FamilyTable>> = { 4: new FamilyTable(4), 6: new FamilyTable(6) };
  readonly #sources: (RoaSource | undefined)[] = [];
  #rounds = 0;

  /** VRPs known. */
  size(family: Family): number {
    return this.#tables[family].size;
  }

  /**
   * The validation state of a route (RFC 6811 §2): one of RoaState.
   * @param w0..w3 the prefix, left-aligned as in bgp/wire/nlri.ts
   * @param originAs 0 = none (`roaOrigin`)
   */
  state(family: Family, w0: number, w1: number, w2: number, w3: number, length: number, originAs: number): number {
    return this.#tables[family].state(w0, w1, w2, w3, length, originAs);
  }

  /** The same in words. */
  validate(prefix: Prefix, originAs: number): (typeof ROA_STATE_TEXT)[number] {
    return ROA_STATE_TEXT[this.state(prefix.family, ...wordsOf(prefix), prefix.length, originAs)]!;
  }

  /** The VRPs that speak about a prefix: what `explain` shows. */
  covering(prefix: Prefix): Vrp[] {
    return [...this.#tables[prefix.family].covering(...wordsOf(prefix), prefix.length)];
  }

  /**
   * A new source without VRPs.
   * @throws RangeError when there are MAX_SOURCES already
   */
  addSource(name: string): RoaSource {
    let i = 0;
    while (this.#sources[i] !== undefined) i++;
    if (i >= MAX_SOURCES) throw new RangeError(`more than ${MAX_SOURCES} sources of ROAs`);
    const source = new RoaSource(name, 1 << i, this.#tables, {
      nextRound: () => ++this.#rounds,
      forget: () => {
        this.#sources[i] = undefined;
      },
    });
    this.#sources[i] = source;
    return source;
  }
}

/** One origin of VRPs: a file or a cache. Its VRPs leave the table with it. */
export class RoaSource {
  readonly name: string;
  readonly #bit: number;
  readonly #tables: Readonly<Record<Family, FamilyTable>>;
  readonly #table: { nextRound(): number; forget(): void };
  /** VRPs the source has. */
  size = 0;

  constructor(
    name: string,
    bit: number,
    tables: Readonly<Record<Family, FamilyTable>>,
    table: { nextRound(): number; forget(): void },
  ) {
    this.name = name;
    this.#bit = bit;
    this.#tables = tables;
    this.#table = table;
  }

  /** Rows of `list` are announced and withdrawn, what it does not mention stays. */
  update(list: VrpList): VrpUpdate {
    return new VrpUpdate(this, this.#tables, this.#bit, list, undefined);
  }

  /** The source has the announced rows of `list` and nothing else. */
  replace(list: VrpList): VrpUpdate {
    return new VrpUpdate(this, this.#tables, this.#bit, list, this.#table.nextRound());
  }

  /** Whether the source has row `row` of a list. */
  has(list: VrpList, row: number): boolean {
    return this.#tables[list.family(row)].has(list, row, this.#bit);
  }

  /** Give the source's place free. Call after a `replace` with an empty list. */
  close(): void {
    this.#table.forget();
  }
}

/** A change of one source in steps. Whoever makes several does one after the other: they share marks on the VRPs. */
export class VrpUpdate {
  /** Prefixes of which VRPs came or went, as rows of a list; complete when `step` has returned true. */
  readonly changed = new VrpList();
  /** RFC 8210 §12: rows of `update` that withdraw what the source never had, or announce what it has. */
  unknownWithdrawals = 0;
  duplicates = 0;
  readonly #source: RoaSource;
  readonly #tables: Readonly<Record<Family, FamilyTable>>;
  readonly #bit: number;
  readonly #list: VrpList;
  readonly #round: number | undefined;
  #row = 0;
  #family: Family = 4;
  #vrp = 0;

  constructor(
    source: RoaSource,
    tables: Readonly<Record<Family, FamilyTable>>,
    bit: number,
    list: VrpList,
    round: number | undefined,
  ) {
    this.#source = source;
    this.#tables = tables;
    this.#bit = bit;
    this.#list = list;
    this.#round = round;
  }

  /** Work on up to `budget` VRPs. @returns whether everything is done */
  step(budget = Number.MAX_SAFE_INTEGER): boolean {
    let left = budget;
    for (; this.#row < this.#list.size; this.#row++) {
      if (left-- <= 0) return false;
      this.#take(this.#row);
    }
    if (this.#round === undefined) return true;
    for (;;) {
      const table = this.#tables[this.#family];
      for (; this.#vrp < table.limit; this.#vrp++) {
        if (left-- <= 0) return false;
        if (table.expire(this.#vrp, this.#bit, this.#round, this.changed) !== undefined) this.#source.size--;
      }
      if (this.#family === 6) return true;
      this.#family = 6;
      this.#vrp = 0;
    }
  }

  #take(row: number): void {
    const list = this.#list;
    const table = this.#tables[list.family(row)];
    if (list.isWithdrawn(row)) {
      const isLost = table.drop(list, row, this.#bit);
      if (isLost === undefined) this.unknownWithdrawals++;
      else this.#source.size--;
      if (isLost === true) this.#note(row);
      return;
    }
    const had = table.has(list, row, this.#bit);
    if (table.put(list, row, this.#bit, this.#round ?? 0)) this.#note(row);
    if (!had) this.#source.size++;
    else if (this.#round === undefined) this.duplicates++;
  }

  #note(row: number): void {
    const l = this.#list;
    this.changed.add(
      l.family(row),
      l.word(row, 0),
      l.word(row, 1),
      l.word(row, 2),
      l.word(row, 3),
      l.length(row),
      0,
      0,
    );
  }
}
