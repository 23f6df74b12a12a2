/**
 * Routing policy in the configuration file: lists of rules, each a match, changes and an action, and named lists that
 * peers share. What a rule means stands in bgp/policy/rule.ts.
 */
import { z } from 'zod';
import type { Network, OwnAttributes } from '../../bgp/origination.ts';
import { PathPattern } from '../../bgp/policy/path-pattern.ts';
import type { Changes, HopChange, Match, NumberRange, PrefixMatch, Rule } from '../../bgp/policy/rule.ts';
import {
  type AnyCommunity,
  type AnyCommunityMatch,
  COMMUNITY_NAMES,
  parseAnyCommunity,
  parseCommunityMatch,
  parsePrefixMatch,
} from '../../bgp/policy/text.ts';
import { Addr, type Prefix } from '../lib/addr.ts';
import { nearest } from '../lib/nearest.ts';
import {
  asn,
  choice,
  int,
  list,
  name,
  object,
  parsePrefix,
  prefix,
  Refusal,
  some,
  text,
  typeMessage,
} from './fields.ts';

const MAX_WORD = 0xffffffff;

/** Why there is no prefix of such a length inside another one; undefined when there may be one. */
function lengthsFault(p: Prefix, min: number, max: number): string | undefined {
  const longest = p.family === 4 ? 32 : 128;
  const inside = `what is inside ${p} is at least /${p.length}`;
  if (max < p.length) return `${inside}, so lengths cannot end at ${max}`;
  if (min < p.length) return `${inside}, so lengths cannot begin at ${min}`;
  if (max > longest) return `an IPv${p.family} prefix has at most ${longest} bits, so lengths cannot end at ${max}`;
  if (min > max) return `lengths run from the shorter to the longer, here from ${min} to ${max}`;
  return undefined;
}

/** Why `ADDRESS/LENGTH{FROM,TO}` is refused. */
function rangeRefusal(s: string): Refusal {
  const m = /^([^{+]+)\{(\d{1,3}),(\d{1,3})\}$/.exec(s);
  if (m === null)
    return new Refusal(`"${s}" is not a prefix with lengths (ADDRESS/LENGTH+ or ADDRESS/LENGTH{FROM,TO})`);
  const whole = parsePrefix(m[1]!);
  if (whole instanceof Refusal) return whole;
  const [from, to] = [Number(m[2]), Number(m[3])];
  const isSwapped = from > to && lengthsFault(whole, to, from) === undefined;
  const meant = isSwapped ? ` (did you mean ${m[1]}{${to},${from}}?)` : '';
  return new Refusal(`"${s}" holds no prefix: ${lengthsFault(whole, from, to)}${meant}`);
}

/** Why `FROM..TO` in a text is refused; undefined when that is not what is wrong. */
function backwards(s: string): Refusal | undefined {
  const m = [...s.matchAll(/(\d+)\.\.(\d+)/g)].find(([, from, to]) => Number(from) > Number(to));
  return m && new Refusal(`the range ${m[0]} ends before it begins (did you mean ${m[2]}..${m[1]}?)`);
}

const prefixMatch = z.union([
  text('a prefix', (s): PrefixMatch | Refusal => {
    const parsed = parsePrefixMatch(s);
    if (parsed !== undefined) return parsed;
    if (/[{+]/.test(s)) return rangeRefusal(s);
    const plain = parsePrefix(s);
    return plain instanceof Refusal ? plain : { prefix: plain };
  }),
  object({
    prefix,
    min: int(0, 128, 'a prefix length').optional(),
    max: int(0, 128, 'a prefix length').optional(),
  }).transform(({ prefix: p, min, max }, ctx): PrefixMatch => {
    const longest = p.family === 4 ? 32 : 128;
    const fault = lengthsFault(p, min ?? p.length, max ?? (min === undefined ? p.length : longest));
    if (fault !== undefined) ctx.issues.push({ code: 'custom', message: fault, input: undefined });
    return { prefix: p, ...(min !== undefined && { minLength: min }), ...(max !== undefined && { maxLength: max }) };
  }),
]);

function notCommunity(s: string, also: string): Refusal {
  const near = /^[a-z-]+$/i.test(s) ? nearest(s, COMMUNITY_NAMES) : undefined;
  const forms = `such as 64511:5, 4242421080:1:2, rt:64512:7 or no-export${also}`;
  return new Refusal(`"${s}" is not a community ${near === undefined ? forms : `(did you mean "${near}"?)`}`);
}

export const community = text('a community', (s): AnyCommunity | Refusal => {
  return parseAnyCommunity(s) ?? notCommunity(s, '');
});

const communityMatch = text('a community', (s): AnyCommunityMatch | Refusal => {
  return parseCommunityMatch(s) ?? backwards(s) ?? notCommunity(s, ', with "*" or 1..9 in it');
});

/** "4242420000..4242429999", or an AS number. */
const asMatch = z.union([
  text('an AS number or a range', (s): NumberRange | Refusal => {
    const m = /^(\d+)\.\.(\d+)$/.exec(s);
    const range = { min: Number(m?.[1]), max: Number(m?.[2]) };
    if (m !== null && range.min <= range.max && range.max <= MAX_WORD) return range;
    return backwards(s) ?? new Refusal(`"${s}" is not an AS number or a range such as 64512..64519`);
  }),
  asn,
]);

const pathPattern = text('an AS path pattern', (s): string | Refusal => {
  const parsed = PathPattern.parse(s);
  return typeof parsed === 'string' ? (backwards(s) ?? new Refusal(parsed)) : s;
});

function range(largest: number, what: string) {
  return z.union([
    int(0, largest, what).transform((n): NumberRange => ({ min: n, max: n })),
    object({
      min: int(0, largest, what).default(0),
      max: int(0, largest, what).default(largest),
    }).transform(({ min, max }, ctx): NumberRange => {
      const message = `${what} cannot be at least ${min} and at most ${max} at once: "min" is above "max"`;
      if (min > max) ctx.issues.push({ code: 'custom', message, input: undefined });
      return { min, max };
    }),
  ]);
}

/** Also one that we have made: `AS64512-192.0.2.1`. bgp-policy-check.ts knows them. */
const peerName = text('the name of a peer', (s): string => s);

const ORIGINS = ['igp', 'egp', 'incomplete'] as const;
const ROA_STATES = ['unknown', 'valid', 'invalid'] as const;
const origin = choice(ORIGINS).transform((o) => ORIGINS.indexOf(o));

const match: z.ZodType<Match> = z.lazy(() =>
  object({
    prefix: some(prefixMatch, 'prefixes').optional(),
    family: choice(['ipv4', 'ipv6']).optional(),
    community: some(communityMatch, 'communities').optional(),
    as_path: some(pathPattern, 'AS path patterns').optional(),
    as_path_contains: some(asMatch, 'AS numbers').optional(),
    first_as: some(asMatch, 'AS numbers').optional(),
    origin_as: some(asMatch, 'AS numbers').optional(),
    path_length: range(4096, 'a path length').optional(),
    origin: some(origin, 'origins').optional(),
    next_hop: some(prefix, 'prefixes').optional(),
    peer: some(peerName, 'peer names').optional(),
    source: some(choice(['local', 'external', 'internal']), 'sources').optional(),
    roa: some(
      choice(ROA_STATES).transform((s) => ROA_STATES.indexOf(s)),
      'ROA states',
    ).optional(),
    med: range(MAX_WORD, 'a MED').optional(),
    local_pref: range(MAX_WORD, 'a local preference').optional(),
    not: match.optional(),
    all: list(match, 'matches').optional(),
    any: list(match, 'matches').optional(),
  }).transform(toMatch),
);

z.globalRegistry.add(match, { id: 'route_match' });

interface ParsedMatch {
  readonly prefix?: PrefixMatch[] | undefined;
  readonly family?: 'ipv4' | 'ipv6' | undefined;
  readonly community?: AnyCommunityMatch[] | undefined;
  readonly as_path?: string[] | undefined;
  readonly as_path_contains?: (number | NumberRange)[] | undefined;
  readonly first_as?: (number | NumberRange)[] | undefined;
  readonly origin_as?: (number | NumberRange)[] | undefined;
  readonly path_length?: NumberRange | undefined;
  readonly origin?: number[] | undefined;
  readonly next_hop?: Match['nextHops'] | undefined;
  readonly peer?: string[] | undefined;
  readonly source?: Match['source'] | undefined;
  readonly roa?: number[] | undefined;
  readonly med?: NumberRange | undefined;
  readonly local_pref?: NumberRange | undefined;
  readonly not?: Match | undefined;
  readonly all?: Match[] | undefined;
  readonly any?: Match[] | undefined;
}

function toMatch(m: ParsedMatch): Match {
  const communities = m.community === undefined ? undefined : communityMatches(m.community);
  return without({
    prefixes: m.prefix,
    family: m.family === undefined ? undefined : m.family === 'ipv4' ? 4 : 6,
    asPath: m.as_path,
    asPathContains: m.as_path_contains,
    firstAs: m.first_as,
    originAs: m.origin_as,
    minPathLength: m.path_length?.min,
    maxPathLength: m.path_length?.max,
    origin: m.origin,
    nextHops: m.next_hop,
    peers: m.peer,
    source: m.source,
    roa: m.roa,
    med: m.med,
    localPref: m.local_pref,
    not: m.not,
    any: m.any,
    all: communities === undefined && m.all === undefined ? undefined : [...(m.all ?? []), ...(communities ?? [])],
  });
}

/** A list of communities holds when the route has one of them, whatever its kind. */
function communityMatches(list: readonly AnyCommunityMatch[]): Match[] {
  const kinds: Match[] = [];
  const standard = list.flatMap((c) => (c.kind === 'standard' ? [c.match] : []));
  const extended = list.flatMap((c) => (c.kind === 'extended' ? [c.match] : []));
  const large = list.flatMap((c) => (c.kind === 'large' ? [c.match] : []));
  if (standard.length > 0) kinds.push({ communities: standard });
  if (extended.length > 0) kinds.push({ extendedCommunities: extended });
  if (large.length > 0) kinds.push({ largeCommunities: large });
  return kinds.length === 1 ? kinds : [{ any: kinds }];
}

/** The values of a list, by kind. */
function byKind(all: readonly AnyCommunity[]) {
  return {
    standard: all.flatMap((c) => (c.kind === 'standard' ? [c.value] : [])),
    extended: all.flatMap((c) => (c.kind === 'extended' ? [c.value] : [])),
    large: all.flatMap((c) => (c.kind === 'large' ? [c.value] : [])),
  };
}

/** Keys of what we originate ourselves, besides its prefix. */
export const ownRoute = {
  med: int(0, MAX_WORD, 'a MED').optional(),
  local_pref: int(0, MAX_WORD, 'a local preference').optional(),
  communities: list(community, 'communities').optional(),
};

interface ParsedOwnRoute {
  readonly med?: number | undefined;
  readonly local_pref?: number | undefined;
  readonly communities?: readonly AnyCommunity[] | undefined;
}

export function toOwnAttributes({ med, local_pref: localPref, communities }: ParsedOwnRoute): OwnAttributes {
  const { standard, extended, large } = byKind(communities ?? []);
  return {
    ...(med !== undefined && { med }),
    ...(localPref !== undefined && { localPref }),
    ...(standard.length > 0 && { communities: standard }),
    ...(extended.length > 0 && { extendedCommunities: extended }),
    ...(large.length > 0 && { largeCommunities: large }),
  };
}

/** A prefix we originate: alone, or with what the route carries. */
export const networks = list(
  z.union([prefix.transform((p): Network => ({ prefix: p })), object({ prefix, ...ownRoute }).transform(toNetwork)]),
  'prefixes',
);

function toNetwork({ prefix: p, ...own }: ParsedOwnRoute & { readonly prefix: Prefix }): Network {
  return { prefix: p, ...toOwnAttributes(own) };
}

const times = int(1, 255, 'how many times');

const changes = object({
  local_pref: int(0, MAX_WORD, 'a local preference').optional(),
  /** Added to what the route has; less than zero subtracts. */
  local_pref_add: int(-MAX_WORD, MAX_WORD, 'a number').optional(),
  med: z.union([int(0, MAX_WORD, 'a MED'), choice(['none'])]).optional(),
  med_add: int(-MAX_WORD, MAX_WORD, 'a number').optional(),
  prepend: z.union([times.transform((n) => ({ times: n })), object({ asn, times: times.default(1) })]).optional(),
  origin: origin.optional(),
  next_hop: text('"self", "unchanged", "discard" or an address', (s): HopChange | Refusal => {
    if (s === 'self' || s === 'unchanged' || s === 'discard') return s;
    return Addr.parse(s) ?? new Refusal(`"${s}" is none of self, unchanged, discard, and no address`);
  }).optional(),
  weight: int(0, 65535, 'a weight').optional(),
  /** All communities of the route, whatever their kind, are replaced by these. */
  communities: list(community, 'communities').optional(),
  add_communities: some(community, 'communities').optional(),
  remove_communities: some(communityMatch, 'communities').optional(),
}).transform((c): Changes => {
  const { remove_communities: remove } = c;
  const whole = c.communities && byKind(c.communities);
  const add = c.add_communities && byKind(c.add_communities);
  return without({
    localPref: c.local_pref,
    addLocalPref: c.local_pref_add,
    med: c.med,
    addMed: c.med_add,
    prepend: c.prepend,
    origin: c.origin,
    nextHop: c.next_hop,
    weight: c.weight,
    setCommunities: whole?.standard,
    setExtendedCommunities: whole?.extended,
    setLargeCommunities: whole?.large,
    addCommunities: add?.standard,
    addExtendedCommunities: add?.extended,
    addLargeCommunities: add?.large,
    removeCommunities: remove?.flatMap((x) => (x.kind === 'standard' ? [x.match] : [])),
    removeExtendedCommunities: remove?.flatMap((x) => (x.kind === 'extended' ? [x.match] : [])),
    removeLargeCommunities: remove?.flatMap((x) => (x.kind === 'large' ? [x.match] : [])),
  });
});

const rule = object({
  /** What it is called where routes are explained. */
  name: text('a name', (s): string | Refusal =>
    /^[^\n]{1,60}$/.test(s) ? s : new Refusal('expected a short text'),
  ).optional(),
  match: match.optional(),
  set: changes.optional(),
  action: choice(['accept', 'reject', 'continue']).default('accept'),
}).transform((r): Rule => without({ name: r.name, match: r.match, set: r.set, action: r.action }));

z.globalRegistry.add(rule, { id: 'route_rule' });

/** `accept`, `reject`, or the name of a list whose rules stand here. */
const shorthand = text('"accept", "reject" or the name of a policy', (s): string => s);

export const policyItem = z.union([rule, shorthand], {
  error: (issue) => typeMessage('a rule or the name of a policy', issue.input),
});

export type ParsedPolicyItem = z.output<typeof policyItem>;

export const rules = list(policyItem, 'rules');

/** Named lists of rules. */
export const policies = z.record(name, rules, { error: (issue) => typeMessage('a mapping of policies', issue.input) });

/** One of `words`, the name of a policy, a list of rules, or a function of the filter module. */
export function policyRef<const W extends readonly [string, ...string[]]>(words: W) {
  const what = `${words.join(', ')}, the name of a policy, or a list of rules`;
  const error = (issue: { readonly input?: unknown }): string => typeMessage(what, issue.input);
  const name = z.string({ error }).meta({ title: `${words.join(', ')}, or the name of a policy` });
  return z.union([name, rules, object({ module: text('the name of a function', (s): string => s) })], {
    error,
  });
}

export type ParsedPolicyRef = z.output<ReturnType<typeof policyRef>>;

/** `o` without the keys that have no value. */
function without<T extends object>(o: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as T;
}
