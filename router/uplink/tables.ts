/**
 * The rules as one kind of process with one source sees them, compiled so that a decision costs the same for ten rules and
 * ten thousand: destination -> list of rules about it (longest-prefix match) -> interval of ports -> rule. Rules that name no
 * destination have a table of their own; the earlier of both answers is the first match.
 *
 * Addresses learned for names are host prefixes among the others, so that rules by domain cost nothing extra either. The
 * kernel backend writes the same tables into its maps.
 */
import { type Addr, Prefix } from '../lib/addr.ts';
import { PortTables } from './port-table.ts';
import { patternsOf, type Rule } from './rule.ts';
import { TargetTable } from './target-table.ts';

/** Marks an answer that is a rule itself, of all ports and protocols, instead of a list. */
export const DIRECT = 1 << 22;

/** A prefix some rule names, and the rules that hold for all of it: its own and those of wider prefixes. */
interface Target {
  readonly prefix: Prefix;
  readonly rules: readonly number[];
  /** What the table says: a list, or DIRECT and a rule. */
  readonly answer: number;
}

export class RuleTables {
  readonly #rules: readonly Rule[];
  readonly #lists: PortTables;
  /** The list of the rules that name no destination. */
  readonly anywhere: number;
  /** Values are what `#answerOf` gives, 0 = nothing. */
  readonly #v4 = new TargetTable(4);
  readonly #v6 = new TargetTable(6);
  /** By prefix text, for each length that occurs. */
  readonly #targets = new Map<string, Target>();
  readonly #lengths: { readonly 4: number[]; readonly 6: number[] } = { 4: [], 6: [] };
  /** Rules by domain: for each pattern, those that name it. */
  readonly #domains = new Map<string, number[]>();

  /**
   * @param applicable indices of the rules whose process and source conditions hold, ascending
   * @param lists where lists are kept; several tables may share it
   */
  constructor(rules: readonly Rule[], applicable: readonly number[], lists = new PortTables(rules)) {
    this.#rules = rules;
    this.#lists = lists;
    this.#lists.add([]); // takes place 0, so that no answer is 0
    this.anywhere = this.#lists.add(applicable.filter((i) => isAnywhere(rules[i]!)));
    for (const i of applicable)
      for (const d of rules[i]!.match.domains) {
        const list = this.#domains.get(d);
        if (list === undefined) this.#domains.set(d, [i]);
        else list.push(i);
      }
    this.#addTargets(applicable);
  }

  /** @returns index of the first rule that matches, or NO_RULE. Words as everywhere: IPv4 is ::ffff:a.b.c.d. */
  find(protocol: number, a0: number, a1: number, a2: number, a3: number, port: number): number {
    const isV4 = a0 === 0 && a1 === 0 && a2 === 0xffff;
    const answer = isV4 ? this.#v4.find4(a3) : this.#v6.find6(a0, a1, a2, a3);
    const anywhere = this.#lists.find(this.anywhere, protocol, port);
    if (answer === 0) return anywhere;
    const there = answer & DIRECT ? answer & ~DIRECT : this.#lists.find(answer, protocol, port);
    return there < anywhere ? there : anywhere;
  }

  /** Rules by domain are among them. */
  get hasDomains(): boolean {
    return this.#domains.size > 0;
  }

  /** Every prefix that rules name, with the answer for it. */
  *targets(): Generator<readonly [Prefix, number]> {
    for (const { prefix, answer } of this.#targets.values()) yield [prefix, answer];
  }

  /**
   * Names that DNS gave for an address are these from now on (none = they are no longer known).
   * @returns the answer for it now, 0 = that of the prefixes around it
   */
  learn(addr: Addr, names: readonly string[]): number {
    if (this.#domains.size === 0) return 0;
    const rules = new Set<number>();
    for (const name of names)
      for (const pattern of patternsOf(name)) for (const i of this.#domains.get(pattern) ?? []) rules.add(i);
    const bits = addr.family === 4 ? 32 : 128;
    const own = Prefix.containing(addr, bits)!;
    const target = this.#targets.get(String(own)) ?? this.#around(own);
    for (const i of target?.rules ?? []) rules.add(i);
    const answer = rules.size > 0 ? this.#answerOf([...rules].sort((a, b) => a - b)) : 0;
    (addr.family === 4 ? this.#v4 : this.#v6).set(addr, bits, answer);
    return answer;
  }

  #addTargets(applicable: readonly number[]): void {
    const own = new Map<string, { readonly prefix: Prefix; readonly rules: number[] }>();
    for (const i of applicable)
      for (const prefix of this.#rules[i]!.match.to) {
        const key = String(prefix);
        const there = own.get(key);
        if (there === undefined) own.set(key, { prefix, rules: [i] });
        else if (there.rules[there.rules.length - 1] !== i) there.rules.push(i);
      }
    const sorted = [...own.values()].sort((a, b) => a.prefix.length - b.prefix.length);
    for (const { prefix, rules } of sorted) {
      const outer = this.#around(prefix);
      const all = outer === undefined ? rules : [...new Set([...outer.rules, ...rules])].sort((a, b) => a - b);
      const answer = this.#answerOf(all);
      this.#targets.set(String(prefix), { prefix, rules: all, answer });
      const lengths = this.#lengths[prefix.family];
      if (lengths[lengths.length - 1] !== prefix.length) lengths.push(prefix.length);
      const table = prefix.family === 4 ? this.#v4 : this.#v6;
      table.set(prefix.addr, prefix.length, answer);
    }
  }

  /** The longest target that is wider than `prefix` and contains it. */
  #around(prefix: Prefix): Target | undefined {
    const lengths = this.#lengths[prefix.family];
    for (let i = lengths.length - 1; i >= 0; i--) {
      const length = lengths[i]!;
      if (length >= prefix.length) continue;
      const found = this.#targets.get(String(Prefix.containing(prefix.addr, length)));
      if (found !== undefined) return found;
    }
    return undefined;
  }

  #answerOf(rules: readonly number[]): number {
    const { protocols, ports } = this.#rules[rules[0]!]!.match;
    return protocols.length === 0 && ports.length === 0 ? DIRECT | rules[0]! : this.#lists.add(rules);
  }
}

function isAnywhere(rule: Rule): boolean {
  return rule.match.to.length === 0 && rule.match.domains.length === 0;
}
