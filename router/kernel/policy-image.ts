/**
 * A policy compiled into the contents of one generation of the programs' maps (bpf/policy.h): rules, groups and what is known of
 * processes in, octets out. Pure: `take` hands over what has to be written since it was called last, the whole at first.
 *
 * What rules ask about a process is split into four *parts* (cgroup, user, program, source address), each a small number that the
 * programs look up on their own; all four together give the class. Processes that the same rules may apply to are of one
 * class, as in router/uplink/policy.ts, and a class has the tables of router/uplink/tables.ts.
 */
import { type Addr, type Family, Prefix } from '../lib/addr.ts';
import { isEqual } from '../lib/equal.ts';
import { MlshimError } from '../lib/errors.ts';
import { BALANCE_KINDS, type UplinkGroup } from '../uplink/balancer.ts';
import { PortTables } from '../uplink/port-table.ts';
import { type ProcessFacts, Protocol, type Rule } from '../uplink/rule.ts';
import { RuleTables } from '../uplink/tables.ts';
import {
  Action,
  ClassWord,
  Flag,
  GroupWord,
  Head,
  KeyKind,
  Member,
  OWN_MAIN,
  QUAD,
  RuleFlag,
  RuleWord,
  TABLE_OWN,
  TABLE_SOURCES,
} from './layout.ts';
import { MapWrites } from './map-writes.ts';
import { applicableRules, type Combination, Parts } from './process-parts.ts';
import { ringOf, ringRoom } from './rings.ts';

/** Classes that may be added while a generation is in use, and room for their lists, in words. */
const MAX_CLASSES = 1024;
const LIST_SLACK = 16_384;
const FAMILIES: readonly Family[] = [4, 6];
/** Quads of a group: the one for IPv4 flows, then the one for IPv6. */
const QUADS_OF_GROUP = 2;
/** Combinations of parts at most: beyond, the policy asks about too many things at once. */
const MAX_COMBINATIONS = 65_536;

/** An address of this host, with the way whose it is (undefined = none of them). */
export type OwnAddress = readonly [addr: Addr, way: number | undefined];

export interface ImageInput {
  readonly rules: readonly Rule[];
  readonly groups: readonly UplinkGroup[];
  /** Way by index of uplink. */
  readonly wayOf: (uplink: number) => number;
  /** Way by number of VRF; undefined = the main table. */
  readonly vrfWayOf: (vrf: number) => number | undefined;
  readonly isUsable: (uplink: number) => boolean;
  /** What was sent there gets through: true also for those that only take no new flows. */
  readonly carries: (uplink: number) => boolean;
  /** Whether an uplink has an address of a family. */
  readonly hasFamily: (uplink: number, family: Family) => boolean;
  /** Of a group's members, in their order, by index of group. */
  readonly weightsOf: (group: number) => readonly number[];
  readonly isStrict: boolean;
  readonly ownAddresses: readonly OwnAddress[];
  /** Addresses and their names, as learned so far. */
  readonly names: Iterable<readonly [Addr, readonly string[]]>;
}

/** Processes to which the same rules may apply. */
interface Class {
  /** Index of its quad; also the number of its table, so that no two classes share one. */
  readonly quad: number;
  readonly rules: readonly number[];
  /** Those of flows of each family; mostly the same ones. */
  readonly tables: { readonly 4: RuleTables; readonly 6: RuleTables };
}

export class PolicyImage {
  readonly #o: ImageInput;
  readonly #parts: Parts;
  readonly #lists: PortTables;
  readonly #classes = new Map<string, Class>();
  readonly #combinations = new Set<string>();
  readonly #forwarders = new Map<string, number>();
  readonly #names = new Map<string, readonly [Addr, readonly string[]]>();
  readonly #passedOver: { readonly 4: readonly boolean[]; readonly 6: readonly boolean[] };
  #own: readonly OwnAddress[] = [];
  /** Quads: rules, groups and classes; words: rings and lists. */
  readonly #rulesAt = 1;
  readonly #groupsAt: number;
  readonly #classesAt: number;
  readonly #ringsAt: readonly number[];
  readonly #listsAt: number;
  #listsWritten = 0;
  #partsCombined = 0;
  #writes = new MapWrites();
  /** Quads that the map needs. */
  readonly quads: number;
  /** Counters: flows by rule, then turns by group and family. */
  readonly counters: number;

  constructor(o: ImageInput) {
    this.#o = o;
    this.#parts = new Parts(o.rules);
    this.#lists = new PortTables(o.rules);
    this.#passedOver = this.#passedOverNow();
    this.#groupsAt = this.#rulesAt + o.rules.length;
    this.#classesAt = this.#groupsAt + QUADS_OF_GROUP * o.groups.length;
    let at = (this.#classesAt + MAX_CLASSES) * QUAD;
    this.#ringsAt = o.groups.map((g) => {
      const start = at;
      at += QUADS_OF_GROUP * roomOf(g);
      return start;
    });
    this.#listsAt = at;
    this.counters = o.rules.length + QUADS_OF_GROUP * o.groups.length;
    for (const [addr, names] of o.names) this.#names.set(String(addr), [addr, names]);
    this.#writeRules();
    for (const i of o.groups.keys()) this.#writeGroup(i);
    this.ownAddressesChanged(o.ownAddresses);
    this.#combine();
    this.quads = Math.ceil((this.#listsAt + 2 * this.#lists.size + LIST_SLACK) / QUAD);
    this.#writeLists();
    this.#writeHead();
  }

  /** What has to be written, in the order of its parts; nothing is left. */
  take(): MapWrites {
    const writes = this.#writes;
    this.#writes = new MapWrites();
    return writes;
  }

  /** Whether a rule is left out for a family because its group has no usable uplink of it (`on_failure: next`). */
  #isPassedOver({ onFailure, action }: Rule, family: Family): boolean {
    if (onFailure !== 'next' || action.kind !== 'group') return false;
    return !this.#o.groups[action.group]!.members.some((m) => this.#isCandidate(m.uplink, family));
  }

  #passedOverNow(): { readonly 4: readonly boolean[]; readonly 6: readonly boolean[] } {
    const of = (family: Family): boolean[] => this.#o.rules.map((r) => this.#isPassedOver(r, family));
    return { 4: of(4), 6: of(6) };
  }

  #isCandidate(uplink: number, family: Family): boolean {
    return this.#o.isUsable(uplink) && this.#o.hasFamily(uplink, family);
  }

  /** Whether this image is still right: rules that are passed over are the same ones. */
  get isCurrent(): boolean {
    return isEqual(this.#passedOverNow(), this.#passedOver);
  }

  /** Uplinks became usable or not: rings are written anew. Rules with `on_failure: next` want another image (`isCurrent`). */
  usabilityChanged(uplink: number): void {
    for (const [i, g] of this.#o.groups.entries()) if (g.members.some((m) => m.uplink === uplink)) this.#writeGroup(i);
  }

  /** A group's measured weights are other ones now. */
  weightsChanged(group: number): void {
    this.#writeGroup(group);
  }

  /** The host has these addresses from now on. */
  ownAddressesChanged(own: readonly OwnAddress[]): void {
    for (const [addr] of this.#own) this.#writes.deletePrefix(hostPrefix(addr), TABLE_OWN);
    for (const [addr, way] of own)
      this.#writes.setPrefix(hostPrefix(addr), TABLE_OWN, way === undefined ? OWN_MAIN : way + 1);
    this.#own = own;
  }

  /** The names of an address are these from now on (none = it is forgotten). */
  learn(addr: Addr, names: readonly string[]): void {
    if (names.length === 0) this.#names.delete(String(addr));
    else this.#names.set(String(addr), [addr, names]);
    for (const c of this.#classes.values()) this.#writeLearned(c, addr, names);
    this.#writeLists();
  }

  /** @returns whether the process has to be told to the programs at all */
  setProcess(pid: number, facts: ProcessFacts): boolean {
    if (!this.#parts.asksAboutPrograms) return false;
    const part = this.#parts.program(facts);
    this.#combine();
    this.#writeLists();
    this.#writes.setKey([KeyKind.Process, pid, 0, 0, 0], part);
    return true;
  }

  removeProcess(pid: number): void {
    if (this.#parts.asksAboutPrograms) this.#writes.deleteKey([KeyKind.Process, pid, 0, 0, 0]);
  }

  setCgroup(id: bigint, path: string, group: string | undefined): void {
    if (!this.#parts.asksAboutCgroups) return;
    const part = this.#parts.cgroup(path, group);
    this.#combine();
    this.#writeLists();
    if (part === 0) this.removeCgroup(id);
    else this.#writes.setKey(cgroupKey(id), part);
  }

  removeCgroup(id: bigint): void {
    if (this.#parts.asksAboutCgroups) this.#writes.deleteKey(cgroupKey(id));
  }

  /** Classes of processes so far. */
  get classes(): number {
    return this.#classes.size;
  }

  /** Classes with rules by domain, by the list of their rules. */
  dnsClasses(): { readonly key: string; readonly rules: readonly number[] }[] {
    return [...this.#classes].filter(([, c]) => hasDomains(c)).map(([key, { rules }]) => ({ key, rules }));
  }

  /** @param port 0 = there is none */
  setForwarder(key: string, port: number): void {
    this.#forwarders.set(key, port);
    const found = this.#classes.get(key);
    if (found !== undefined) this.#writeClass(key, found);
  }

  // ---- Classes

  /** Every combination of parts gets its class. */
  #combine(): void {
    if (this.#parts.count === this.#partsCombined) return;
    for (const c of this.#parts.combinations()) {
      const key = [c.cgroup, c.user, c.program, c.source].join();
      if (this.#combinations.has(key)) continue;
      this.#combinations.add(key);
      if (this.#combinations.size > MAX_COMBINATIONS) throw tooLarge(`${MAX_COMBINATIONS} kinds of processes`);
      const { quad } = this.#classOf(c);
      this.#writes.setKey([KeyKind.Class, c.cgroup | (c.user << 16), c.program | (c.source << 16), 0, 0], quad);
    }
    this.#partsCombined = this.#parts.count;
  }

  #classOf(c: Combination): Class {
    const passedOver = this.#passedOver;
    const rules = applicableRules(this.#o.rules, this.#parts, c).filter((i) => !(passedOver[4][i] && passedOver[6][i]));
    const key = rules.join();
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    if (this.#classes.size === MAX_CLASSES) throw tooLarge(`${MAX_CLASSES} classes of processes`);
    const made = { quad: this.#classesAt + this.#classes.size, rules, tables: this.#tablesOf(rules) };
    this.#classes.set(key, made);
    this.#writeClass(key, made);
    for (const family of FAMILIES)
      for (const [prefix, answer] of made.tables[family].targets())
        if (prefix.family === family) this.#writes.setPrefix(prefix, made.quad, answer);
    for (const [addr, names] of this.#names.values()) this.#writeLearned(made, addr, names);
    return made;
  }

  #tablesOf(rules: readonly number[]): Class['tables'] {
    const [v4, v6] = FAMILIES.map((f) => rules.filter((i) => !this.#passedOver[f][i])) as [number[], number[]];
    const tables4 = new RuleTables(this.#o.rules, v4, this.#lists);
    return { 4: tables4, 6: isEqual(v4, v6) ? tables4 : new RuleTables(this.#o.rules, v6, this.#lists) };
  }

  #writeClass(key: string, { quad, tables }: Class): void {
    const words = new Int32Array(QUAD);
    words[ClassWord.Table] = quad;
    words[ClassWord.Anywhere] = tables[4].anywhere;
    words[ClassWord.Anywhere6] = tables[6].anywhere;
    words[ClassWord.Forwarder] = this.#forwarders.get(key) ?? 0;
    this.#writes.setWords(quad * QUAD, words);
  }

  #writeLearned({ quad, tables }: Class, addr: Addr, names: readonly string[]): void {
    if (!tables[addr.family].hasDomains) return;
    const answer = tables[addr.family].learn(addr, names);
    const host = hostPrefix(addr);
    if (answer === 0) this.#writes.deletePrefix(host, quad);
    else this.#writes.setPrefix(host, quad, answer);
  }

  // ---- Words

  #writeHead(): void {
    const head = new Int32Array(QUAD);
    const { flags } = this.#parts;
    head[Head.Flags] = flags | (this.#o.isStrict ? Flag.Strict : 0);
    head[Head.Class] = this.#classOf({ cgroup: 0, user: 0, program: 0, source: 0 }).quad;
    head[Head.Lists] = this.#listsAt;
    head[Head.Rules] = this.#rulesAt;
    this.#writes.setWords(0, head);
    for (const [uid, part] of this.#parts.users()) this.#writes.setKey([KeyKind.User, uid, 0, 0, 0], part);
    for (const [name, part] of this.#parts.names()) this.#writes.setKey([KeyKind.Name, ...nameWords(name)], part);
    for (const [prefix, part] of this.#parts.sources()) this.#writes.setPrefix(prefix, TABLE_SOURCES, part);
  }

  #writeRules(): void {
    const words = new Int32Array(this.#o.rules.length * QUAD);
    for (const [i, rule] of this.#o.rules.entries()) {
      const [action, target] = this.#actionOf(rule);
      words[i * QUAD + RuleWord.Action] = action;
      words[i * QUAD + RuleWord.Target] = target;
      words[i * QUAD + RuleWord.Flags] = isForPing(rule) ? RuleFlag.ForPing : 0;
    }
    this.#writes.setWords(this.#rulesAt * QUAD, words);
  }

  #actionOf({ action }: Rule): readonly [action: number, target: number] {
    switch (action.kind) {
      case 'group':
        return [Action.Group, this.#groupsAt + QUADS_OF_GROUP * action.group];
      case 'reject':
        return [Action.Reject, 0];
      case 'vrf': {
        const way = this.#o.vrfWayOf(action.vrf);
        return way === undefined ? [Action.Main, 0] : [Action.Way, way];
      }
    }
  }

  /** Both families share one ring and its turns while they have the same candidates. */
  #writeGroup(index: number): void {
    const group = this.#o.groups[index]!;
    const [v4, v6] = FAMILIES.map((f) => this.#ringOf(index, f)) as [number[], number[]];
    this.#writeRing(index, 0, v4);
    if (isEqual(v4, v6)) this.#writeGroupQuad(index, 1, 0, v4.length);
    else this.#writeRing(index, 1, v6);
    for (const { uplink } of group.members) {
      const key = [KeyKind.Member, this.#groupsAt + QUADS_OF_GROUP * index, this.#o.wayOf(uplink), 0, 0];
      if (this.#o.isUsable(uplink)) this.#writes.setKey(key, Member.Usable);
      else if (this.#o.carries(uplink)) this.#writes.setKey(key, Member.Drained);
      else this.#writes.deleteKey(key);
    }
  }

  #ringOf(index: number, family: Family): number[] {
    const isCandidate = (uplink: number): boolean => this.#isCandidate(uplink, family);
    return ringOf(this.#o.groups[index]!, this.#o.weightsOf(index), isCandidate).map(this.#o.wayOf);
  }

  /** The ring first, all over its room, then its length: whatever a program reads in between is a way of the group. */
  #writeRing(index: number, which: number, ring: readonly number[]): void {
    const room = roomOf(this.#o.groups[index]!);
    if (ring.length > 0)
      this.#writes.setWords(
        this.#ringsAt[index]! + which * room,
        Int32Array.from({ length: room }, (_, i) => ring[i % ring.length]!),
      );
    this.#writeGroupQuad(index, which, which, ring.length);
  }

  /** @param which 0 for IPv4 flows, 1 for IPv6 @param whose ring and turns they take */
  #writeGroupQuad(index: number, which: number, whose: number, length: number): void {
    const group = this.#o.groups[index]!;
    const words = new Int32Array(QUAD);
    words[GroupWord.Balance] = BALANCE_KINDS.indexOf(group.balance);
    words[GroupWord.Ring] = this.#ringsAt[index]! + whose * roomOf(group);
    words[GroupWord.Length] = length;
    words[GroupWord.Turn] = this.#o.rules.length + QUADS_OF_GROUP * index + whose;
    this.#writes.setWords((this.#groupsAt + QUADS_OF_GROUP * index + which) * QUAD, words);
  }

  /** What the lists have grown by. Quads are written whole, so the last one may be written again. */
  #writeLists(): void {
    const start = Math.floor(this.#listsWritten / QUAD) * QUAD;
    const words = this.#lists.words(start);
    if (start + words.length === this.#listsWritten) return;
    if (this.#listsAt + this.#lists.size > this.quads * QUAD) throw new ImageFull();
    const whole = new Int32Array(Math.ceil(words.length / QUAD) * QUAD);
    whole.set(words);
    this.#writes.setWords(this.#listsAt + start, whole);
    this.#listsWritten = this.#lists.size;
  }
}

/** The map has no room for what was added; a new image has. */
export class ImageFull extends Error {}

function tooLarge(what: string): MlshimError {
  return new MlshimError('POLICY_TOO_LARGE', `the rules tell more than ${what} apart`);
}

/** Words of a group's ring. */
function roomOf(group: UplinkGroup): number {
  return Math.ceil(ringRoom(group) / QUAD) * QUAD;
}

function hasDomains({ tables }: Class): boolean {
  return tables[4].hasDomains || tables[6].hasDomains;
}

function hostPrefix(addr: Addr): Prefix {
  return Prefix.containing(addr, addr.family === 4 ? 32 : 128)!;
}

function cgroupKey(id: bigint): number[] {
  return [KeyKind.Cgroup, Number(BigInt.asIntN(32, id)), Number(BigInt.asIntN(32, id >> 32n)), 0, 0];
}

/** The name of a task as the kernel has it: at most 15 octets. */
function nameWords(name: string): number[] {
  const octets = new Uint8Array(16);
  octets.set(Buffer.from(name).subarray(0, 15));
  return [...new Int32Array(octets.buffer)];
}

/**
 * Ping and raw sockets are bound when they are made, before it is known where they send to. A rule for everybody and
 * everything would take the loopback from them, so it leaves them alone.
 */
function isForPing({ match: m }: Rule): boolean {
  const isAboutSome = m.apps.length + m.groups.length + m.users.length + m.cgroups.length > 0;
  return isAboutSome || m.protocols.includes(Protocol.Icmp) || m.protocols.includes(Protocol.Icmp6);
}
