/**
 * Import and export policy made ready for many routes. What a rule asks about the attributes is decided once for each set
 * of attributes (`plan`); only what depends on the prefix is asked for each route (`Plan.decide`), and a policy without
 * such questions costs a route nothing.
 */

import type { Family } from '../../router/lib/addr.ts';
import { memberAddress } from '../ranges.ts';
import { firstAs, originAs, pathLength } from '../wire/attribute/as-path.ts';
import { DEFAULT_LOCAL_PREF } from '../wire/attribute/local-pref.ts';
import type { Attributes, NextHop } from '../wire/attribute/model.ts';
import { changed } from './change.ts';
import { anyOf, hasCommunity, hasExtended, hasLarge } from './communities.ts';
import { type FilterPeer, FunctionPlan, type OnFilterError } from './module.ts';
import { PathPattern } from './path-pattern.ts';
import { Branch, Outcome, type Plan, REFUSED, type Subject } from './plan.ts';
import { PrefixSet } from './prefix-set.ts';
import {
  asksRoa,
  type Changes,
  type HopChange,
  type Match,
  type NumberRange,
  type Policy,
  RoaState,
  type Rule,
} from './rule.ts';

/** What filters of one peer need to know. */
export interface FilterContext {
  readonly peer: FilterPeer;
  /** The AS that `prepend` puts in front when a rule names none. */
  readonly ownAs: number;
  /** A filter function threw, or gave back what is no route; the route was refused. */
  readonly onError: OnFilterError;
}

/** What decided about one route, for people. */
export interface Decision {
  readonly isAccepted: boolean;
  /** A rule; the end of the rules, which refuses; `accept-all` and `reject-all`; or a function. */
  readonly by: 'rule' | 'end' | 'word' | 'function';
  /** Of the rule, from 0 on. */
  readonly rule: number | undefined;
  readonly name: string | undefined;
  /** How the function failed. */
  readonly error: string | undefined;
}

/** Why a route is told or not. Both are undefined for a default route of our own, which is told in any case. */
export interface ExportReason {
  /** Why it is not told whatever policy says, in words; undefined when policy decides. */
  readonly bar: string | undefined;
  readonly policy: Decision | undefined;
}

/** A test of the prefix and its source that is left after the attributes are known. */
type PrefixTest = (subject: Subject) => boolean;

/** True or false for all routes with these attributes, or what has to be asked about each prefix. */
type Answer = boolean | PrefixTest;

/** One condition of a match. */
type Condition = (a: Attributes, nextHop: NextHop | undefined) => Answer;

interface Compiled {
  readonly conditions: readonly Condition[];
  readonly action: Rule['action'];
  readonly set: Changes | undefined;
}

const ACCEPT_ALL: readonly Rule[] = [{ action: 'accept' }];

export class Filter {
  readonly #rules: readonly Compiled[];
  readonly #policy: Policy;
  readonly #context: FilterContext;
  /** Whether an answer may depend on the origin validation state: such routes are judged again when ROAs change. */
  readonly asksRoa: boolean;

  /** @throws RangeError when a rule has an AS path pattern that is none */
  constructor(policy: Policy, context: FilterContext) {
    this.#policy = policy;
    this.#context = context;
    const rules = typeof policy === 'object' ? policy : policy === 'accept-all' ? ACCEPT_ALL : [];
    this.#rules = rules.map((r) => ({
      conditions: conditionsOf(r.match ?? {}, context),
      action: r.action,
      set: r.set,
    }));
    this.asksRoa = typeof policy === 'function' || rules.some((r) => asksRoa(r.match));
  }

  /** Routes pass unchanged, all of them. */
  get isOpen(): boolean {
    return this.#policy === 'accept-all';
  }

  /** No route passes. */
  get isClosed(): boolean {
    return this.#policy === 'reject-all';
  }

  /** What becomes of routes with these attributes. */
  plan(a: Attributes, nextHop: NextHop | undefined): Plan {
    if (typeof this.#policy === 'function') {
      const { peer, onError } = this.#context;
      return new FunctionPlan(a, nextHop, this.#policy, peer, onError);
    }
    return this.#from(0, a, nextHop, undefined, 0);
  }

  /** What decides about one route. Plans say faster what becomes of it. */
  decision(a: Attributes, nextHop: NextHop | undefined, subject: Subject): Decision {
    const nothing = { rule: undefined, name: undefined, error: undefined };
    if (typeof this.#policy === 'string') return { ...nothing, isAccepted: this.isOpen, by: 'word' };
    if (typeof this.#policy === 'function') {
      let error: string | undefined;
      // Asked for people: a failure has been counted when the route came.
      const failed: OnFilterError = (words) => {
        error = words;
      };
      const plan = new FunctionPlan(a, nextHop, this.#policy, this.#context.peer, failed);
      return { ...nothing, isAccepted: plan.decide(subject) !== undefined, by: 'function', error };
    }
    let now = a;
    for (const [i, { conditions, action, set }] of this.#rules.entries()) {
      const answer = all(conditions, now, nextHop);
      if (answer === false || (answer !== true && !answer(subject))) continue;
      if (action !== 'continue')
        return { ...nothing, isAccepted: action === 'accept', by: 'rule', rule: i, name: this.#policy[i]!.name };
      now = changed(now, set, this.#context.ownAs);
    }
    return { ...nothing, isAccepted: false, by: 'end' };
  }

  /** The rules from number `at` on, for a route that `continue` rules have changed so far. */
  #from(at: number, a: Attributes, nextHop: NextHop | undefined, hop: HopChange | undefined, weight: number): Plan {
    for (let i = at; i < this.#rules.length; i++) {
      const rule = this.#rules[i]!;
      const answer = all(rule.conditions, a, nextHop);
      if (answer === false) continue;
      const then = (): Plan => {
        if (rule.action === 'reject') return REFUSED;
        const { set } = rule;
        const next = changed(a, set, this.#context.ownAs);
        const nextWeight = set?.weight ?? weight;
        const nextChange = set?.nextHop ?? hop;
        if (rule.action === 'accept') return new Outcome(next, nextChange, nextWeight);
        return this.#from(i + 1, next, nextHop, nextChange, nextWeight);
      };
      if (answer === true) return then();
      return new Branch(answer, then, () => this.#from(i + 1, a, nextHop, hop, weight));
    }
    return REFUSED;
  }
}

function all(conditions: readonly Condition[], a: Attributes, nextHop: NextHop | undefined): Answer {
  let left: PrefixTest | undefined;
  for (const condition of conditions) {
    const answer = condition(a, nextHop);
    if (answer === false) return false;
    if (answer === true) continue;
    const before = left;
    left = before === undefined ? answer : (s) => before(s) && answer(s);
  }
  return left ?? true;
}

function any(matches: readonly (readonly Condition[])[], a: Attributes, nextHop: NextHop | undefined): Answer {
  let left: PrefixTest | undefined;
  for (const conditions of matches) {
    const answer = all(conditions, a, nextHop);
    if (answer === true) return true;
    if (answer === false) continue;
    const before = left;
    left = before === undefined ? answer : (s) => before(s) || answer(s);
  }
  return left ?? false;
}

function not(answer: Answer): Answer {
  return typeof answer === 'boolean' ? !answer : (s) => !answer(s);
}

function within(value: number, r: NumberRange): boolean {
  return value >= r.min && value <= r.max;
}

/** Conditions in the order in which they are cheap to ask. */
function conditionsOf(m: Match, context: FilterContext): Condition[] {
  const out: Condition[] = [];
  const { family, minPathLength: min, maxPathLength: max, med, localPref, origin, nextHops } = m;
  if (family !== undefined) out.push(() => (s) => s.family === family);
  if (origin !== undefined) out.push((a) => origin.includes(a.origin));
  if (med !== undefined) out.push((a) => within(a.med ?? 0, med));
  if (localPref !== undefined) out.push((a) => within(a.localPref ?? DEFAULT_LOCAL_PREF, localPref));
  if (min !== undefined) out.push((a) => pathLength(a.asPath) >= min);
  if (max !== undefined) out.push((a) => pathLength(a.asPath) <= max);
  pathConditions(m, out);
  if (m.communities !== undefined) {
    const list = m.communities;
    out.push((a) => a.communities.length > 0 && list.some((c) => hasCommunity(a.communities, c)));
  }
  if (m.extendedCommunities !== undefined) {
    const list = m.extendedCommunities;
    out.push((a) => a.extendedCommunities.length > 0 && list.some((c) => hasExtended(a.extendedCommunities, c)));
  }
  if (m.largeCommunities !== undefined) {
    const list = m.largeCommunities;
    out.push((a) => a.largeCommunities.length > 0 && list.some((c) => hasLarge(a.largeCommunities, c)));
  }
  if (nextHops !== undefined) {
    out.push((_, hop) =>
      [hop?.global, hop?.linkLocal].some((x) => x !== undefined && nextHops.some((p) => p.contains(x))),
    );
  }
  prefixConditions(m, context, out);
  if (m.all !== undefined) {
    for (const one of m.all) out.push(...conditionsOf(one, context));
  }
  if (m.any !== undefined) {
    const choices = m.any.map((one) => conditionsOf(one, context));
    out.push((a, hop) => any(choices, a, hop));
  }
  if (m.not !== undefined) {
    const inner = conditionsOf(m.not, context);
    out.push((a, hop) => not(all(inner, a, hop)));
  }
  return out;
}

function pathConditions(m: Match, out: Condition[]): void {
  if (m.firstAs !== undefined) {
    const isOne = anyOf(m.firstAs);
    out.push((a) => isOne(firstAs(a.asPath) ?? 0));
  }
  if (m.originAs !== undefined) {
    const isOne = anyOf(m.originAs);
    out.push((a) => isOne(originAs(a.asPath) ?? 0));
  }
  if (m.asPathContains !== undefined) {
    const isOne = anyOf(m.asPathContains);
    out.push((a) => a.asPath.some((s) => s.asns.some(isOne)));
  }
  if (m.asPath !== undefined) {
    const patterns = m.asPath.map((text) => {
      const pattern = PathPattern.parse(text);
      if (typeof pattern === 'string') throw new RangeError(pattern);
      return pattern;
    });
    out.push((a) => patterns.some((p) => p.matches(a.asPath)));
  }
}

/** What depends on the prefix, or on where a route to it comes from. */
function prefixConditions(m: Match, context: FilterContext, out: Condition[]): void {
  const { source, peers, roa: states } = m;
  if (source !== undefined) out.push(() => (s) => source.includes(s.source));
  if (peers !== undefined) {
    const isOne = namesPeer(peers);
    // On import the answer is the same for all routes.
    if (context.peer.direction === 'import') out.push(() => isOne(context.peer.name));
    else out.push(() => (s) => s.from !== undefined && isOne(s.from));
  }
  if (m.prefixes !== undefined) {
    const set = new PrefixSet(m.prefixes);
    const test: PrefixTest = (s) => set.has(s.family, s.w0, s.w1, s.w2, s.w3, s.length);
    out.push(() => test);
  }
  if (states !== undefined) out.push(() => (s) => states.includes(s.roa));
}

/** Peers whose answers are kept; those of ranges come and go. */
const MAX_KEPT = 1000;

/** Whether a peer has one of these names, or belongs to a range that has. */
function namesPeer(names: readonly string[]): (name: string) => boolean {
  const known = new Map<string, boolean>();
  return (name) => {
    let isOne = known.get(name);
    if (isOne !== undefined) return isOne;
    isOne = names.some((n) => n === name || memberAddress(name, n) !== undefined);
    if (known.size >= MAX_KEPT) known.clear();
    known.set(name, isOne);
    return isOne;
  };
}

/** A subject that callers fill in again for each prefix. */
export class MutableSubject implements Subject {
  family: Family = 4;
  w0 = 0;
  w1 = 0;
  w2 = 0;
  w3 = 0;
  length = 0;
  source: Subject['source'] = 'external';
  from: string | undefined = undefined;
  roa: number = RoaState.NotFound;
}
