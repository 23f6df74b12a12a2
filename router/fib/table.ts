/**
 * One table of one VRF and family, writer's side: the compact RIB (which sources have which group for a prefix) and the
 * shared structure readers search, kept equal. Small tables are range tables whose index grows with them; tables
 * above PROMOTE routes become arrays of cells that are patched in place (dir24.ts, dir20.ts). Does not own groups: it tells its caller which references to give back.
 */
import type { Family } from '../lib/addr.ts';
import { PrefixTable } from '../lib/prefix-table.ts';
import { CompactRib } from './compact-rib.ts';
import { Dir20 } from './dir20.ts';
import { Dir24 } from './dir24.ts';
import { RangeTable, type SortedPrefixes } from './range-table.ts';
import { ROUTE_DISTANCE, type RouteSource, type TableShared } from './shared.ts';

/** Routes above which a table becomes an array of cells, and below which it goes back: the one of IPv4 takes 48 MiB at once. */
const PROMOTE = { 4: 50_000, 6: 20_000 } as const;
const DEMOTE = { 4: 20_000, 6: 8_000 } as const;
/** Routes of which a range table is made anew at once; larger ones are made in slices. */
export const BUILT_AT_ONCE = 1024;
/** What it takes to find that a prefix of a table that was larger once has no route, as a part of copying a route. */
const LOOK_COST = 1 / 16;
/** Room for chunks that a range table made from the RIB begins with. */
const WORDS_PER_ROUTE = 8;
/** Group numbers up to this leave time to make a table with wider cells. */
const NARROW_ENOUGH = (Dir24.NARROW_GROUPS * 3) / 4;
/** A RIB value: group (20 bits) | source (4 bits) << 20, or MANY | key into the overflow map. */
const GROUP_BITS = 20;
const GROUP_MASK = (1 << GROUP_BITS) - 1;
const MANY = 1 << 30;

/** One source's route for a prefix. */
export interface SourceRoute {
  readonly source: RouteSource;
  readonly group: number;
}

type Structure = RangeTable | Dir24 | Dir20;

/** A structure that is being made: range tables from range tables, everything else from the RIB. */
interface Successor {
  readonly to: Structure;
  /** The next part of the range table, or the next prefix of the RIB, to be copied. */
  at: number;
}

export class VrfTable {
  readonly vrf: number;
  readonly family: Family;
  readonly rib: CompactRib;
  /** Changes are collected in the RIB only; `rebuild` follows. */
  isBulk = false;
  readonly #many = new Map<number, readonly SourceRoute[]>();
  #nextMany = 0;
  /** What readers search. */
  #now: Structure;
  #successor: Successor | undefined;
  #highestGroup = 0;

  constructor(vrf: number, family: Family) {
    this.vrf = vrf;
    this.family = family;
    this.rib = new CompactRib(new PrefixTable(family));
    this.#now = new RangeTable(indexBits(family, 0));
  }

  /** What readers need. The identity of the two arrays changes when they must be told. */
  get shared(): TableShared {
    const { vrf, family } = this;
    const { indexMemory: index, cellMemory: cells } = this.#now;
    const s = this.#now;
    if (s instanceof RangeTable) return { vrf, family, shape: 'ranges', index, cells, shift: s.shift };
    const shape = s instanceof Dir20 ? 'dir20' : s.isWide ? 'dir32' : 'dir16';
    return { vrf, family, shape, index, cells, shift: 8 };
  }

  /** The array whose replacement means that readers need a new bundle. */
  get identity(): SharedArrayBuffer {
    return this.#now.cellMemory;
  }

  /** Octets in use: shared with readers, and private to the writer. */
  get memory(): { shared: number; private: number } {
    const own = this.#now instanceof Dir24 ? this.#now.privateBytes : 0;
    return { shared: this.#now.sharedBytes, private: this.rib.bytes + own };
  }

  /**
   * Bring into the processor's caches what a change of a prefix will read. Pays where it is called for many prefixes before
   * the first of them is changed: their cache misses then overlap. @param isLeaving its route will be withdrawn
   */
  touch(prefix: number, isLeaving: boolean): void {
    this.rib.touch(prefix);
    if (isLeaving) this.rib.prefixes.touchId(prefix);
    if (this.#now instanceof Dir24) this.#now.touch(this.rib.prefixes.w0[prefix]!);
  }

  /** Whether `count` changes are cheaper as one rebuild than one by one. Cells are always patched. */
  wantsBulk(count: number): boolean {
    return this.#now instanceof RangeTable && count > 1024 && count > this.rib.size >>> 2;
  }

  /** Sources of a prefix that has a route, best first. */
  routesAt(prefix: number): readonly SourceRoute[] {
    const value = this.rib.value(prefix);
    return (value & MANY) !== 0 ? this.#many.get(value)! : [unpack(value)];
  }

  /**
   * Set (or with group 0 withdraw) one source's route.
   * @param prefix its number in `rib.prefixes`
   * @returns the group this source had for the prefix, whose reference the caller gives back; 0 if none
   */
  change(prefix: number, source: RouteSource, group: number): number {
    const { rib } = this;
    const value = rib.value(prefix);
    if (value === 0) {
      if (group !== 0) this.#insert(prefix, source, group);
      return 0;
    }
    // The usual case, one source, without allocation.
    if ((value & MANY) === 0 && value >>> GROUP_BITS === source) {
      const old = value & GROUP_MASK;
      if (group === 0) this.#remove(prefix);
      else if (group !== old) {
        rib.setValue(prefix, pack(source, group));
        this.#publish(prefix, rib.prefixes.length[prefix]!, group);
      }
      return old;
    }
    return this.#changeOneOfMany(prefix, source, group);
  }

  /**
   * The same for a caller that speaks for several sources: afterwards the prefix has the route of `source` (with group 0
   * none), and none of the others in `sources`. The new route comes before the old one goes.
   * @param release called with each group whose reference is to be given back
   */
  replace(
    prefix: number,
    source: RouteSource,
    group: number,
    sources: readonly RouteSource[],
    release: (group: number) => void,
  ): void {
    const { rib } = this;
    const value = rib.value(prefix);
    if (value === 0) {
      if (group !== 0) this.#insert(prefix, source, group);
      return;
    }
    if ((value & MANY) === 0 && sources.includes((value >>> GROUP_BITS) as RouteSource)) {
      const old = value & GROUP_MASK;
      if (group === 0) this.#remove(prefix);
      else {
        rib.setValue(prefix, pack(source, group));
        if (group !== old) this.#publish(prefix, rib.prefixes.length[prefix]!, group);
      }
      release(old);
      return;
    }
    if (group !== 0) {
      const old = this.change(prefix, source, group);
      if (old !== 0) release(old);
    }
    for (const other of sources) {
      if (other === source && group !== 0) continue;
      const old = this.change(prefix, other, 0);
      if (old !== 0) release(old);
    }
  }

  #changeOneOfMany(prefix: number, source: RouteSource, group: number): number {
    const { rib } = this;
    const value = rib.value(prefix);
    const before = this.routesAt(prefix);
    const old = before.find((r) => r.source === source)?.group ?? 0;
    const after = before.filter((r) => r.source !== source);
    if (group !== 0) after.push({ source, group });
    after.sort((a, b) => ROUTE_DISTANCE[a.source]! - ROUTE_DISTANCE[b.source]!);
    if ((value & MANY) !== 0) this.#many.delete(value);
    if (after.length === 1) rib.setValue(prefix, pack(after[0]!.source, after[0]!.group));
    else {
      const key = MANY | this.#nextMany;
      this.#nextMany = (this.#nextMany + 1) & (MANY - 1);
      this.#many.set(key, after);
      rib.setValue(prefix, key);
    }
    const best = after[0]!.group;
    if (best !== before[0]!.group) this.#publish(prefix, rib.prefixes.length[prefix]!, best);
    return old;
  }

  #insert(prefix: number, source: RouteSource, group: number): void {
    this.rib.insert(prefix, pack(source, group));
    this.#publish(prefix, this.rib.prefixes.length[prefix]!, group);
  }

  #remove(prefix: number): void {
    const { rib } = this;
    const { prefixes } = rib;
    prefixes.retain(prefix);
    rib.remove(prefix);
    if (!this.isBulk && !this.#giveBack(prefix)) {
      const w = (i: number): number => word(prefixes, prefix, i);
      const cover = rib.findCovering(w(0), w(1), w(2), w(3), prefixes.length[prefix]! - 1);
      if (cover < 0) this.#publish(prefix, 0, 0);
      else this.#publish(prefix, prefixes.length[cover]!, this.#bestGroup(cover));
    }
    prefixes.release(prefix);
  }

  /** Give the cells of a prefix that was removed to the covering one as a cell nearby has it; false when none nearby does. */
  #giveBack(prefix: number): boolean {
    if (!(this.#now instanceof Dir24)) return false;
    const { w0, length } = this.rib.prefixes;
    const cover = this.rib.coveringLength(w0[prefix]!, length[prefix]! - 1);
    const group = cover < 0 ? -1 : this.#now.groupNear(w0[prefix]!, cover);
    if (group < 0) return false;
    this.#publish(prefix, cover, group);
    return true;
  }

  #bestGroup(prefix: number): number {
    const value = this.rib.value(prefix);
    return (value & MANY) !== 0 ? this.#many.get(value)![0]!.group : value & GROUP_MASK;
  }

  /** A prefix has another best route: cells it owns, or takes over, get a group and a length that owns them from now on. */
  #publish(prefix: number, owner: number, group: number): void {
    if (this.isBulk) return;
    if (group > this.#highestGroup) this.#highestGroup = group;
    if (!this.#put(this.#now, prefix, owner, group)) {
      // The successor was begun in good time; what is left of it has to be done now.
      if (this.#successor === undefined || !isWide(this.#successor.to)) this.#succeed(this.#emptyDir(true));
      while (this.#successor !== undefined) this.work(Infinity);
      return;
    }
    const next = this.#successor;
    if (next === undefined) this.#consider();
    else if (!this.#put(next.to, prefix, owner, group)) this.#succeed(this.#emptyDir(true));
  }

  /** Give the part of a prefix that no longer prefix owns to a group; false when the structure has no room for it. */
  #put(to: Structure, prefix: number, owner: number, group: number): boolean {
    const { w0, w1, w2, w3, length } = this.rib.prefixes;
    if (to instanceof Dir24) {
      if (!to.fits(w0[prefix]!, length[prefix]!, group)) return false;
      to.set(w0[prefix]!, length[prefix]!, owner, group);
    } else if (this.family === 4) to.set(w0[prefix]!, 0, 0, 0, length[prefix]!, owner, group);
    else to.set(w0[prefix]!, w1[prefix]!, w2[prefix]!, w3[prefix]!, length[prefix]!, owner, group);
    return true;
  }

  /** Another structure is being made, in slices: `work` goes on with it. */
  get isBuilding(): boolean {
    return this.#successor !== undefined;
  }

  /**
   * Copy routes into the structure that will take the present one's place, and swap when it is complete. Order does not
   * matter: longer prefixes keep their cells from shorter ones. What changes meanwhile is changed in both.
   * @param budget about how many routes
   */
  work(budget: number): void {
    const next = this.#successor;
    if (next === undefined) return;
    if (next.to instanceof RangeTable && this.#now instanceof RangeTable) {
      next.at = next.to.copyFrom(this.#now, next.at, budget);
      if (next.at < 0) this.#takeOver(next);
      return;
    }
    const { rib } = this;
    let left = budget;
    while (left > 0 && next.at < rib.limit) {
      const prefix = next.at++;
      if (!rib.has(prefix)) {
        left -= LOOK_COST;
        continue;
      }
      const length = rib.prefixes.length[prefix]!;
      if (!this.#put(next.to, prefix, length, this.#bestGroup(prefix))) {
        this.#succeed(this.#emptyDir(true));
        return;
      }
      // A /8 has 65,536 cells, which takes as long as some sixty /24s.
      left -= length > 0 && length < 14 ? 1 << (14 - Math.max(length, 8)) : 1;
    }
    if (next.at >= rib.limit) this.#takeOver(next);
  }

  #takeOver({ to }: Successor): void {
    this.#now = to;
    this.#successor = undefined;
  }

  #succeed(to: Structure): void {
    this.#successor = { to, at: 0 };
  }

  /** Begin another structure when the present one does not suit the number of routes any more, or will soon be full. */
  #consider(): void {
    const { size } = this.rib;
    const now = this.#now;
    if (!(now instanceof RangeTable)) {
      if (size < DEMOTE[this.family])
        this.#succeed(new RangeTable(indexBits(this.family, size), size * WORDS_PER_ROUTE));
      else if (now instanceof Dir24 && (now.isNearlyFull || (!now.isWide && this.#highestGroup > NARROW_ENOUGH))) {
        this.#succeed(this.#emptyDir(true));
      }
      return;
    }
    if (size > PROMOTE[this.family]) {
      this.#succeed(this.family === 6 ? new Dir20(size) : this.#emptyDir(this.#highestGroup > NARROW_ENOUGH));
      return;
    }
    const bits = 32 - now.shift;
    const isSmall = indexBits(this.family, size) > bits;
    const isLarge = indexBits(this.family, size * 4) < bits;
    if (!isSmall && !isLarge && !now.isWasteful) return;
    this.#succeed(new RangeTable(indexBits(this.family, size), 2 * now.liveWords));
    if (size < BUILT_AT_ONCE) this.work(Infinity);
  }

  #emptyDir(isWide: boolean): Dir24 {
    // At most one block for each longer prefix; a block that is never used takes no memory.
    const blocks = this.rib.countLongerThan(24);
    return new Dir24(isWide || blocks + (blocks >>> 2) > Dir24.NARROW_BLOCKS, blocks);
  }

  /** Make the structure anew from the RIB, in the layout its size asks for, and swap it in. Ends bulk mode. */
  rebuild(): void {
    this.isBulk = false;
    this.#successor = undefined;
    const { size } = this.rib;
    const isRanges = size <= (this.#now instanceof RangeTable ? PROMOTE : DEMOTE)[this.family];
    if (isRanges) this.#now = RangeTable.build(indexBits(this.family, size), this.#sorted());
    else this.#now = this.family === 4 ? this.#buildDir() : this.#buildDir20();
  }

  #buildDir20(): Dir20 {
    const { rib } = this;
    const dir = new Dir20(rib.size);
    for (let prefix = 0; prefix < rib.limit; prefix++)
      if (rib.has(prefix)) this.#put(dir, prefix, rib.prefixes.length[prefix]!, this.#bestGroup(prefix));
    return dir;
  }

  #buildDir(): Dir24 {
    const { rib } = this;
    const { w0, length } = rib.prefixes;
    // By length, shorter first: each prefix then takes over all its cells at once.
    const starts = new Uint32Array(34);
    for (let l = 0; l <= 32; l++) starts[l + 1] = starts[l]! + rib.countOfLength(l);
    const order = new Uint32Array(rib.size);
    let isNarrow = true;
    for (let prefix = 0; prefix < rib.limit; prefix++) {
      if (!rib.has(prefix)) continue;
      const l = length[prefix]!;
      order[starts[l]!] = prefix;
      starts[l] = starts[l]! + 1;
      const group = this.#bestGroup(prefix);
      if (group >= Dir24.NARROW_GROUPS) isNarrow = false;
      if (group > this.#highestGroup) this.#highestGroup = group;
    }
    const blocks = this.#slash24sWithBlocks();
    // A quarter of room is left, so that the next few longer prefixes do not rebuild the table again.
    if (blocks + (blocks >>> 2) > Dir24.NARROW_BLOCKS) isNarrow = false;
    const dir = new Dir24(!isNarrow, blocks);
    for (const prefix of order) {
      const l = length[prefix]!;
      dir.set(w0[prefix]!, l, l, this.#bestGroup(prefix));
    }
    return dir;
  }

  #slash24sWithBlocks(): number {
    const { rib } = this;
    const { w0, length } = rib.prefixes;
    const seen = new Set<number>();
    for (let prefix = 0; prefix < rib.limit; prefix++)
      if (length[prefix]! > 24 && rib.has(prefix)) seen.add(w0[prefix]! >>> 8);
    return seen.size;
  }

  #sorted(): SortedPrefixes {
    const { rib } = this;
    const n = rib.size;
    const order = sortedPrefixes(rib);
    const words = [0, 1, 2, 3].map(() => new Int32Array(n));
    const length = new Uint8Array(n);
    const group = new Int32Array(n);
    for (let i = 0; i < n; i++) {
      const prefix = order[i]!;
      for (let w = 0; w < 4; w++) words[w]![i] = word(rib.prefixes, prefix, w);
      length[i] = rib.prefixes.length[prefix]!;
      group[i] = this.#bestGroup(prefix);
    }
    return { count: n, a0: words[0]!, a1: words[1]!, a2: words[2]!, a3: words[3]!, length, group };
  }
}

function isWide(s: Structure): boolean {
  return s instanceof Dir24 && s.isWide;
}

/** Address word `i` (0..3) of a prefix, from the left. */
function word({ family, w0, w1, w2, w3 }: PrefixTable, prefix: number, i: number): number {
  if (i === 0) return w0[prefix]!;
  if (family === 4) return 0;
  return i === 1 ? w1[prefix]! : i === 2 ? w2[prefix]! : w3[prefix]!;
}

/** Prefixes with a route in ascending order of address, then length: a radix sort by 16 bits, least significant first. */
function sortedPrefixes(rib: CompactRib): Uint32Array {
  const { prefixes } = rib;
  const n = rib.size;
  let from = new Uint32Array(n);
  let to = new Uint32Array(n);
  for (let prefix = 0, i = 0; prefix < rib.limit; prefix++) if (rib.has(prefix)) from[i++] = prefix;
  if (n < RADIX_MIN) return from.sort((x, y) => compare(prefixes, x, y));
  const keys = new Uint16Array(n);
  const starts = new Uint32Array(0x10001);
  const pass = (keyOf: (prefix: number) => number): void => {
    starts.fill(0);
    for (let i = 0; i < n; i++) {
      keys[i] = keyOf(from[i]!);
      starts[keys[i]! + 1]!++;
    }
    for (let k = 0; k < 0x10000; k++) starts[k + 1]! += starts[k]!;
    for (let i = 0; i < n; i++) to[starts[keys[i]!]!++] = from[i]!;
    [from, to] = [to, from];
  };
  pass((prefix) => prefixes.length[prefix]!);
  for (let w = 3; w >= 0; w--) {
    // Words beyond the longest prefix are zero and need no pass.
    if (w > 0 && rib.countLongerThan(32 * w) === 0) continue;
    pass((prefix) => word(prefixes, prefix, w) & 0xffff);
    pass((prefix) => word(prefixes, prefix, w) >>> 16);
  }
  return from;
}

/** Below this many, passes over 65536 counters cost more than comparing. */
const RADIX_MIN = 8192;

function compare(prefixes: PrefixTable, x: number, y: number): number {
  for (let w = 0; w < 4; w++) {
    const difference = (word(prefixes, x, w) >>> 0) - (word(prefixes, y, w) >>> 0);
    if (difference !== 0) return difference;
  }
  return prefixes.length[x]! - prefixes.length[y]!;
}

/** Index bits of a range table of `size` routes: about as many buckets as routes, 1 KiB at least, 4 MiB at most. */
function indexBits(family: Family, size: number): number {
  if (size < 256) return 8;
  if (size < 4096) return 12;
  return size < 65536 || family === 4 ? 16 : 20;
}

function pack(source: RouteSource, group: number): number {
  return (source << GROUP_BITS) | group;
}

function unpack(value: number): SourceRoute {
  return { source: (value >>> GROUP_BITS) as RouteSource, group: value & GROUP_MASK };
}
