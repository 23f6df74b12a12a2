/**
 * What happens to a new flow: rules by what is known of its process and of itself, then the balancer of the group that the
 * rule names. Pure: no socket, clock or file; both backends decide by it or by what it compiles to.
 */
import { Addr } from '../lib/addr.ts';
import { Random } from '../lib/rand.ts';
import { Balancer, type FlowKey, NO_UPLINK, type UplinkGroup, type UplinkLoad } from './balancer.ts';
import { LearnedNames } from './learned-names.ts';
import { NO_RULE } from './port-table.ts';
import {
  canMatchName,
  type FlowFacts,
  matches,
  matchesProcess,
  matchesSource,
  type NameFacts,
  type ProcessFacts,
  type Rule,
} from './rule.ts';
import { RuleTables } from './tables.ts';

/** A flow that asks for a way. Filled and reused by its owner: a decision allocates nothing. */
export interface FlowQuery extends FlowKey {
  /** Of `classOf`. */
  readonly processClass: number;
  readonly protocol: number;
  /** Destination words, IPv4 as ::ffff:a.b.c.d. */
  readonly d0: number;
  readonly d1: number;
  readonly d2: number;
  readonly d3: number;
  /** Destination port, NO_PORT for protocols without. */
  readonly port: number;
  /** The address the socket is bound to; undefined = none. */
  readonly from: Addr | undefined;
  /** The uplink that the flow had under earlier rules: it stays there where its group has it. Undefined = none. */
  readonly kept?: number | undefined;
}

/** What was decided last. Exactly one of the kinds; `rule` is NO_RULE when none matched. */
export type DecisionKind = 'uplink' | 'vrf' | 'reject' | 'no-uplink' | 'default';

export interface PolicyCounters {
  /** Flows that each rule decided, by its index. */
  readonly rules: number[];
  /** Flows that no rule matched. */
  unmatched: number;
  rejected: number;
  /** Flows refused because no uplink of their group could be used. */
  noUplink: number;
  /** Times a rule was passed over for that reason (`on_failure: next`). */
  passedOver: number;
}

export class Policy {
  readonly rules: readonly Rule[];
  readonly groups: readonly UplinkGroup[];
  readonly names: LearnedNames;
  readonly counters: PolicyCounters;
  readonly #balancers: readonly Balancer[];
  readonly #classes = new Map<string, number>();
  /** Per class: a process of it, and indices of the rules that may apply to it. */
  readonly #members: { readonly process: ProcessFacts; readonly rules: readonly number[] }[] = [];
  /** Compiled tables per class, then per source; made when first needed. */
  readonly #tables: (Map<string, RuleTables> | undefined)[] = [];
  readonly #hasSources: boolean;
  /** The last decision. */
  kind: DecisionKind = 'default';
  rule = NO_RULE;
  uplink = NO_UPLINK;
  vrf = 0;

  /**
   * @param rules in order; the first that matches decides
   * @param loads of every uplink by its index, read at each choice
   * @param names learned under other rules
   */
  constructor(
    rules: readonly Rule[],
    groups: readonly UplinkGroup[],
    loads: readonly UplinkLoad[],
    random: Random = new Random(1),
    names = new LearnedNames(),
  ) {
    this.rules = rules;
    this.groups = groups;
    this.names = names;
    this.#balancers = groups.map((g) => new Balancer(g, loads, random));
    this.#hasSources = rules.some((r) => r.match.from.length > 0);
    this.counters = { rules: rules.map(() => 0), unmatched: 0, rejected: 0, noUplink: 0, passedOver: 0 };
    this.names.onChange = (addr, names) => {
      for (const bySource of this.#tables) for (const t of bySource?.values() ?? []) t.learn(addr, names);
    };
  }

  balancer(group: number): Balancer {
    return this.#balancers[group]!;
  }

  /** The class of a process: those to which the same rules may apply are of one. To be asked once per process. */
  classOf(process: ProcessFacts): number {
    const rules: number[] = [];
    for (const [i, rule] of this.rules.entries()) if (matchesProcess(rule.match, process)) rules.push(i);
    const key = rules.join();
    const known = this.#classes.get(key);
    if (known !== undefined) return known;
    this.#members.push({ process, rules });
    this.#classes.set(key, this.#members.length - 1);
    return this.#members.length - 1;
  }

  /** Decide; the answer is in `kind`, `rule`, `uplink`, `vrf`. */
  decide(q: FlowQuery): void {
    const first = this.tablesOf(q.processClass, q.from).find(q.protocol, q.d0, q.d1, q.d2, q.d3, q.port);
    this.#follow(first, q);
  }

  /**
   * Decide where a flow to a name would go that is being resolved: by the first rule that can be the one, and the uplink whose
   * turn it is. Nothing is counted and nobody's turn is taken. Rules that refuse say nothing about where to ask.
   */
  decideName(processClass: number, facts: NameFacts, key: FlowKey): void {
    for (const i of this.#members[processClass]!.rules) {
      const { match, action, onFailure } = this.rules[i]!;
      if (action.kind === 'reject' || !canMatchName(match, facts)) continue;
      const uplink = action.kind === 'group' ? this.#balancers[action.group]!.peek(key) : NO_UPLINK;
      if (action.kind === 'group' && uplink === NO_UPLINK && onFailure === 'next') continue;
      this.rule = i;
      this.uplink = uplink;
      this.vrf = action.kind === 'vrf' ? action.vrf : 0;
      this.kind = action.kind === 'vrf' ? 'vrf' : uplink === NO_UPLINK ? 'no-uplink' : 'uplink';
      return;
    }
    this.kind = 'default';
    this.rule = NO_RULE;
    this.uplink = NO_UPLINK;
    this.vrf = 0;
  }

  /** Some rule names domains: what DNS answers say is of use. */
  get hasDomains(): boolean {
    return this.rules.some((r) => r.match.domains.length > 0);
  }

  /** The tables that flows of a class from a source are looked up in. */
  tablesOf(processClass: number, from: Addr | undefined): RuleTables {
    const bySource = (this.#tables[processClass] ??= new Map<string, RuleTables>());
    const key = this.#hasSources && from !== undefined ? this.#sourceKey(processClass, from) : '';
    const known = bySource.get(key);
    if (known !== undefined) return known;
    const { rules } = this.#members[processClass]!;
    const made = new RuleTables(
      this.rules,
      rules.filter((i) => matchesSource(this.rules[i]!.match, key === '' ? undefined : from)),
    );
    for (const [addr, names] of this.names.all()) made.learn(addr, names);
    bySource.set(key, made);
    return made;
  }

  /** Sources that the same prefixes of rules contain are one. */
  #sourceKey(processClass: number, from: Addr): string {
    const holds: number[] = [];
    for (const i of this.#members[processClass]!.rules) {
      const { match } = this.rules[i]!;
      if (match.from.length > 0 && matchesSource(match, from)) holds.push(i);
    }
    return holds.join();
  }

  #follow(first: number, q: FlowQuery): void {
    let rule = first;
    while (rule !== NO_RULE) {
      const { action, onFailure } = this.rules[rule]!;
      if (action.kind !== 'group') {
        if (action.kind === 'reject') this.counters.rejected++;
        this.#answer(action.kind, rule, NO_UPLINK, action.kind === 'vrf' ? action.vrf : 0);
        return;
      }
      const uplink = this.#stays(action.group, q.kept) ? q.kept! : this.#balancers[action.group]!.pick(q);
      if (uplink !== NO_UPLINK) {
        this.#answer('uplink', rule, uplink, 0);
        return;
      }
      if (onFailure === 'reject') {
        this.counters.noUplink++;
        this.#answer('no-uplink', rule, NO_UPLINK, 0);
        return;
      }
      this.counters.passedOver++;
      rule = this.#nextMatch(rule, q);
    }
    this.counters.unmatched++;
    this.#answer('default', NO_RULE, NO_UPLINK, 0);
  }

  #stays(group: number, kept: number | undefined): boolean {
    if (kept === undefined) return false;
    for (const m of this.groups[group]!.members) if (m.uplink === kept) return true;
    return false;
  }

  /** The first match behind `rule`, found one by one: only flows whose uplinks are gone come here. */
  #nextMatch(rule: number, q: FlowQuery): number {
    const { process, rules } = this.#members[q.processClass]!;
    const flow = this.#factsOf(q);
    for (const i of rules) if (i > rule && matches(this.rules[i]!.match, process, flow)) return i;
    return NO_RULE;
  }

  #factsOf(q: FlowQuery): FlowFacts {
    const to = Addr.fromWords(q.d0, q.d1, q.d2, q.d3);
    return { protocol: q.protocol, to, port: q.port, names: this.names.namesOf(to), from: q.from };
  }

  #answer(kind: DecisionKind, rule: number, uplink: number, vrf: number): void {
    this.kind = kind;
    this.rule = rule;
    this.uplink = uplink;
    this.vrf = vrf;
    if (rule !== NO_RULE) this.counters.rules[rule]!++;
  }
}
