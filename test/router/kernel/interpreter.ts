/**
 * The programs' way through the maps (router/kernel/bpf/rules.h, balance.h, flow.h) in TypeScript, over maps that are plain
 * tables: what the kernel would decide, read off the very octets it is given.
 */

import {
  Action,
  ClassWord,
  Flag,
  GroupWord,
  Head,
  KEY_WORDS,
  KeyKind,
  networkWord,
  PREFIX_WORDS,
  QUAD,
  RuleWord,
  TABLE_SOURCES,
  TABLE_V6,
} from '../../../router/kernel/layout.ts';
import type { MapWrites } from '../../../router/kernel/map-writes.ts';
import type { Addr } from '../../../router/lib/addr.ts';
import { NO_RULE } from '../../../router/uplink/port-table.ts';

const DIRECT = 1 << 22;
const SHORT_LIST = 12;
const PAGED = -1;
const HASHES: readonly number[] = [2, 3];

/** What the kernel knows of the process and socket that a hook runs for. */
export interface Caller {
  readonly pid: number;
  /** Of the task, at most 15 octets. */
  readonly name: string;
  readonly uid: number;
  /** Ids of its cgroup and those above, the root first. */
  readonly cgroups: readonly number[];
}

export interface Asked {
  readonly protocol: number;
  readonly to: Addr;
  readonly port: number;
  readonly from: Addr | undefined;
  readonly hash: number;
}

export type Verdict =
  | { readonly kind: 'default' | 'main' | 'reject' | 'no-uplink'; readonly rule: number }
  | { readonly kind: 'way'; readonly way: number; readonly rule: number };

export class Interpreter {
  readonly words: Int32Array;
  readonly #keys = new Map<string, number>();
  /** By table, bits and masked address. */
  readonly #prefixes = new Map<string, number>();
  readonly #turns = new Map<number, number>();

  constructor(quads: number) {
    this.words = new Int32Array(quads * QUAD);
  }

  apply(writes: MapWrites): void {
    for (const { at, words } of writes.words) {
      if (at % QUAD !== 0 || words.length % QUAD !== 0 || at + words.length > this.words.length)
        throw new Error(`words at ${at}, ${words.length} of them, are no quads of this map`);
      this.words.set(words, at);
    }
    for (const [map, entries, size] of [
      [this.#prefixes, writes.prefixes, PREFIX_WORDS],
      [this.#keys, writes.keys, KEY_WORDS],
    ] as const) {
      const { keys, values, count } = entries.updates();
      for (let i = 0; i < count; i++) map.set(keys.slice(i * size, (i + 1) * size).join(), values[i]!);
      for (const key of entries.deletions()) map.delete(key.join());
    }
  }

  decide(caller: Caller, q: Asked): Verdict {
    const { words } = this;
    const c = this.#classOf(caller, q.from) * QUAD;
    const isV6 = q.to.family === 6;
    const list = words[c + (isV6 ? ClassWord.Anywhere6 : ClassWord.Anywhere)]!;
    const anywhere = this.#find(list, q.protocol, q.port);
    const answer = this.#match(words[c + ClassWord.Table]!, q.to);
    const there = answer & DIRECT ? answer & ~DIRECT : answer === 0 ? NO_RULE : this.#find(answer, q.protocol, q.port);
    const rule = Math.min(there, anywhere);
    if (rule === NO_RULE) return { kind: 'default', rule };
    const at = (words[Head.Rules]! + rule) * QUAD;
    const target = words[at + RuleWord.Target]!;
    switch (words[at + RuleWord.Action]) {
      case Action.Reject:
        return { kind: 'reject', rule };
      case Action.Main:
        return { kind: 'main', rule };
      case Action.Way:
        return { kind: 'way', way: target, rule };
      default: {
        const way = this.#pick((target + (isV6 ? 1 : 0)) * QUAD, q.hash);
        return way === undefined ? { kind: 'no-uplink', rule } : { kind: 'way', way, rule };
      }
    }
  }

  #pick(group: number, hash: number): number | undefined {
    const length = this.words[group + GroupWord.Length]!;
    if (length === 0) return undefined;
    const turn = this.words[group + GroupWord.Turn]!;
    let place = 0;
    if (this.words[group + GroupWord.Balance] === 0) {
      place = (this.#turns.get(turn) ?? 0) % length;
      this.#turns.set(turn, (this.#turns.get(turn) ?? 0) + 1);
    } else if (HASHES.includes(this.words[group + GroupWord.Balance]!)) place = (hash >>> 0) % length;
    return this.words[this.words[group + GroupWord.Ring]! + place];
  }

  #classOf(caller: Caller, from: Addr | undefined): number {
    const flags = this.words[Head.Flags]!;
    if ((flags & (Flag.Cgroups | Flag.Users | Flag.Processes | Flag.Sources)) === 0) return this.words[Head.Class]!;
    const part = (...key: number[]): number | undefined => this.#keys.get([...key, 0, 0, 0, 0].slice(0, 5).join());
    let cgroup = 0;
    if (flags & Flag.Cgroups) for (const id of caller.cgroups) cgroup = part(KeyKind.Cgroup, id) ?? cgroup;
    const user = flags & Flag.Users ? (part(KeyKind.User, caller.uid) ?? 0) : 0;
    let program = flags & Flag.Processes ? part(KeyKind.Process, caller.pid) : 0;
    if (program === undefined && flags & Flag.Names) program = part(KeyKind.Name, ...nameWords(caller.name));
    const source = flags & Flag.Sources && from !== undefined ? this.#match(TABLE_SOURCES, from) : 0;
    return part(KeyKind.Class, cgroup | (user << 16), (program ?? 0) | (source << 16)) ?? 0;
  }

  #match(table: number, a: Addr): number {
    const words = [a.a0, a.a1, a.a2, a.a3];
    const whole = a.family === 4 ? table | 0 : table | TABLE_V6;
    for (let bits = 128; bits >= 0; bits--) {
      const masked = words.map((w, i) => networkWord(w & mask(bits - 32 * i)));
      const found = this.#prefixes.get([32 + bits, whole, ...masked].join());
      if (found !== undefined) return found;
    }
    return 0;
  }

  #find(list: number, protocol: number, port: number): number {
    const base = this.words[Head.Lists]!;
    const at = base + list;
    const w = this.words;
    if (protocol === 1) return w[at + 4]!;
    if (protocol === 58) return w[at + 5]!;
    if (protocol !== 6 && protocol !== 17) return w[at + 6]!;
    const shift = protocol === 17 ? 2 : 0;
    const intervals = base + w[at + shift]!;
    const count = w[at + shift + 1]!;
    if (count === PAGED) {
      const page = w[intervals + (port >> 8)]!;
      return page < 0 ? w[base + (page & 0x7fffffff) + (port & 255)]! : page;
    }
    let found = 0;
    for (let i = 1; i < SHORT_LIST && i < count && w[intervals + i]! <= port; i++) found = i;
    return w[intervals + count + found]!;
  }
}

function mask(bits: number): number {
  return bits >= 32 ? -1 : bits <= 0 ? 0 : -1 << (32 - bits);
}

function nameWords(name: string): number[] {
  const octets = new Uint8Array(16);
  octets.set(Buffer.from(name).subarray(0, 15));
  return [...new Int32Array(octets.buffer)];
}
