/**
 * Which flows take which uplinks, in the configuration file: `rules`, `groups`, and what uplinks say about themselves (weight,
 * bandwidth, probe). What a rule means stands in router/uplink/rule.ts.
 */
import { z } from 'zod';
import type { Addr } from '../lib/addr.ts';
import { nearest } from '../lib/nearest.ts';
import { BALANCE_KINDS, type BalanceKind } from '../uplink/balancer.ts';
import { type PortRange, Protocol, type Rule, type RuleMatch, shadowedRules } from '../uplink/rule.ts';
import { choice, int, list, name, object, prefix, Refusal, some, text, typeMessage } from './fields.ts';
import { type GroupConfig, MAIN_VRF, type PolicyConfig } from './model.ts';
import { noSuch } from './names.ts';
import { checkProbe, type ParsedProbe, probe } from './probe.ts';
import { asList, asMap, type Path, type SourceTree } from './tree.ts';
import { localUsers, userId } from './users.ts';

const MAX_PORT = 65535;
const MAX_UID = 0xfffffffe;
/** Octets per second. */
const MBIT = 125_000;
const BANDWIDTH_UNITS: Readonly<Record<string, number>> = { kbit: 1e3, Mbit: 1e6, Gbit: 1e9 };

/** Octets per second. */
const bandwidth = text('a bandwidth such as 20Mbit', (s): number | Refusal => {
  const m = /^(\d+(?:\.\d+)?)\s*(kbit|Mbit|Gbit)$/.exec(s);
  const n = m === null ? 0 : (Number(m[1]) * BANDWIDTH_UNITS[m[2]!]!) / 8;
  return n > 0 ? n : new Refusal(`expected a bandwidth such as 20Mbit, got "${s}"`);
});

const notWeight = (issue: { readonly input?: unknown }): string =>
  typeMessage('a weight (1-1000) or auto', issue.input);
const weight = z.union(
  [
    z.int({ error: notWeight }).min(1, { error: notWeight }).max(1000, { error: notWeight }),
    z.literal('auto', { error: notWeight }),
  ],
  { error: notWeight },
);

/** What every kind of uplink may say about itself. */
export const uplinkShare = {
  weight: weight.optional(),
  bandwidth: bandwidth.optional(),
  probe: probe.optional(),
  /** Whether flows that rules sent here are reset when it goes down, so that apps connect again elsewhere. */
  when_down: choice(['reset', 'keep']).default('reset'),
};

const member = z.union([name, object({ uplink: name, weight: weight.optional() })]).transform((m) => {
  return typeof m === 'string' ? { uplink: m, weight: undefined } : m;
});
const members = list(member, 'uplinks').min(1, { error: 'names no uplink' });

export const group = object({ uplinks: members, balance: choice(BALANCE_KINDS).default('round_robin') });

const portNumber = int(1, MAX_PORT, 'a port');
const ports = z.union([
  portNumber.transform((n): PortRange => ({ first: n, last: n })),
  text('a port or a range of ports', (s): PortRange | Refusal => {
    const m = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(s);
    const first = Number(m?.[1] ?? 0);
    const last = Number(m?.[2] ?? first);
    if (m === null || first < 1 || last > MAX_PORT)
      return new Refusal(`"${s}" is not a port or a range such as 6000-6063`);
    return first <= last
      ? { first, last }
      : new Refusal(`the range ${s} ends before it begins (did you mean ${last}-${first}?)`);
  }),
]);

const PROTOCOLS: Readonly<Record<'tcp' | 'udp' | 'icmp', readonly number[]>> = {
  tcp: [Protocol.Tcp],
  udp: [Protocol.Udp],
  icmp: [Protocol.Icmp, Protocol.Icmp6],
};

const domain = text('a domain', (s): string | Refusal => {
  const plain = s.toLowerCase().replace(/\.$/, '');
  return /^(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(plain) && plain.length <= 253
    ? plain
    : new Refusal(`"${s}" is not a domain (example.org is it and what is below, "*.example.org" only that)`);
});

const glob = (what: string) => text(what, (s): string | Refusal => (s === '' ? new Refusal(`names no ${what}`) : s));

/** useradd(8) lets names begin with a letter or an underscore; what has digits alone is meant as an id. */
const USER_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*\$?$/;

/** An id, or a name of this host. */
const user = z.union([
  int(0, MAX_UID, 'a user id'),
  text('a user or its id', (s): number | Refusal => {
    if (!USER_NAME.test(s)) return new Refusal(`"${s}" is not the name of a user; ids are numbers without quotes`);
    const id = userId(s);
    if (id !== undefined) return id;
    const near = nearest(s, localUsers());
    return new Refusal(
      `this host has no user "${s}" (${near === undefined ? 'getent passwd lists them' : `did you mean "${near}"?`})`,
    );
  }),
]);

const match = object({
  app: some(glob('program'), 'programs').default([]),
  group: some(name, 'groups').default([]),
  user: some(user, 'users').default([]),
  cgroup: some(
    text('a cgroup', (s): string | Refusal => {
      return s.startsWith('/') ? s : new Refusal(`"${s}" is not the path of a cgroup, such as /system.slice/*.service`);
    }),
    'cgroups',
  ).default([]),
  protocol: some(choice(['tcp', 'udp', 'icmp']), 'protocols').default([]),
  to: some(prefix, 'prefixes').default([]),
  port: some(ports, 'ports').default([]),
  domain: some(domain, 'domains').default([]),
  from: some(prefix, 'prefixes').default([]),
});

/** Exactly one of `use`, `vrf` and `reject`; check below. */
export const rule = object({
  name: name.optional(),
  match: match.default(() => match.parse({})),
  use: z
    .union([name, members], { error: (issue) => typeMessage('an uplink, a group or a list of uplinks', issue.input) })
    .optional(),
  /** For a list in `use`. */
  balance: choice(BALANCE_KINDS).optional(),
  vrf: name.optional(),
  reject: z.literal(true, { error: 'expected true' }).optional(),
  on_failure: choice(['reject', 'next']).optional(),
});

export type ParsedRule = z.output<typeof rule>;
export type ParsedGroup = z.output<typeof group>;

interface Parsed {
  readonly rules: readonly ParsedRule[];
  readonly groups: Readonly<Record<string, ParsedGroup>>;
  readonly uplinks: Readonly<
    Record<
      string,
      {
        readonly weight?: number | 'auto' | undefined;
        readonly bandwidth?: number | undefined;
        readonly probe?: ParsedProbe | undefined;
        readonly kernel?: { readonly source?: Addr | undefined } | undefined;
      }
    >
  >;
}

/** Names that rules and groups use must exist. Needs the plain tree alone. */
export function checkPolicyReferences(tree: SourceTree, uplinks: readonly string[], vrfs: readonly string[]): void {
  const root = asMap(tree.root);
  const groups = asMap(root['groups']);
  const exists = (value: unknown, path: Path, known: readonly string[], what: string): void => {
    if (typeof value === 'string' && !known.includes(value)) tree.report('error', path, noSuch(what, value, known));
  };
  const membersExist = (value: unknown, path: Path): void => {
    for (const [i, m] of asList(value).entries()) {
      if (typeof m === 'string') exists(m, [...path, i], uplinks, 'uplink');
      else exists(asMap(m)['uplink'], [...path, i, 'uplink'], uplinks, 'uplink');
    }
  };
  for (const [key, g] of Object.entries(groups)) {
    if (uplinks.includes(key)) tree.reportKey('error', ['groups', key], `there is an uplink "${key}" already`);
    membersExist(asMap(g)['uplinks'], ['groups', key, 'uplinks']);
  }
  for (const [i, r] of asList(root['rules']).entries()) {
    const { use, vrf } = asMap(r);
    exists(use, ['rules', i, 'use'], [...uplinks, ...Object.keys(groups)], 'uplink or group');
    membersExist(use, ['rules', i, 'use']);
    exists(vrf, ['rules', i, 'vrf'], [...vrfs, MAIN_VRF], 'VRF');
  }
}

/** What rules say must fit together, once all values are well-formed. */
export function checkPolicy(tree: SourceTree, config: Parsed): void {
  const names = new Map<string, number>();
  for (const [key, { probe, kernel }] of Object.entries(config.uplinks))
    if (probe !== undefined) checkProbe(tree, probe, ['uplinks', key, 'probe'], kernel?.source);
  for (const [i, r] of config.rules.entries()) {
    const at: Path = ['rules', i];
    const actions = [r.use, r.vrf, r.reject].filter((a) => a !== undefined).length;
    if (actions !== 1) tree.report('error', at, 'needs one of "use" (uplinks), "vrf" and "reject"');
    if (r.balance !== undefined && !Array.isArray(r.use))
      tree.report('error', [...at, 'balance'], '"balance" belongs to a list of uplinks in "use"; a group has its own');
    if (r.on_failure !== undefined && r.use === undefined)
      tree.report('error', [...at, 'on_failure'], '"on_failure" belongs to "use"');
    const isPortless = r.match.protocol.length > 0 && r.match.protocol.every((p) => p === 'icmp');
    if (isPortless && r.match.port.length > 0) tree.report('error', [...at, 'match', 'port'], 'icmp has no ports');
    if (r.name === undefined) continue;
    const first = names.get(r.name);
    if (first === undefined) names.set(r.name, i);
    else tree.report('error', [...at, 'name'], `rule "${r.name}" is already at ${tree.whereIs(['rules', first], at)}`);
  }
  const rules = config.rules.map((r, i) => toRule(r, i, { kind: 'reject' }));
  for (const { rule: hidden, by } of shadowedRules(rules)) {
    const earlier = `rule ${ruleName(config.rules[by]!, by)} at ${tree.whereIs(['rules', by], ['rules', hidden])} comes first`;
    tree.report(
      'warning',
      ['rules', hidden],
      `rule ${ruleName(config.rules[hidden]!, hidden)} can never match: ${earlier}`,
    );
  }
  for (const [key, { uplinks, balance }] of Object.entries(config.groups)) {
    const seen = new Set<string>();
    for (const [i, m] of uplinks.entries()) {
      if (seen.has(m.uplink)) tree.report('error', ['groups', key, 'uplinks', i], `"${m.uplink}" stands twice`);
      seen.add(m.uplink);
    }
    if (balance === 'failover' && uplinks.length === 1)
      tree.report('warning', ['groups', key], 'a failover group of one uplink has nothing to fall back to');
  }
}

/** Rules as the router uses them. Lists in `use` become groups of their own, named after their rule. */
export function toPolicy(config: Parsed): PolicyConfig {
  const groups: GroupConfig[] = [];
  const groupOf = (key: string, uplinks: readonly Member[], balance: BalanceKind): string => {
    const known = groups.find((g) => g.name === key);
    if (known === undefined) groups.push({ name: key, balance, members: sharesOf(uplinks, config) });
    return key;
  };
  for (const [key, g] of Object.entries(config.groups)) groupOf(key, g.uplinks, g.balance);
  const rules = config.rules.map((r, i): PolicyConfig['rules'][number] => {
    const named = { name: ruleName(r, i), match: toMatch(r.match), onFailure: r.on_failure ?? 'reject' };
    if (r.vrf !== undefined) return { ...named, action: { kind: 'vrf', vrf: r.vrf } };
    if (r.use === undefined) return { ...named, action: { kind: 'reject' } };
    if (typeof r.use !== 'string')
      return {
        ...named,
        action: { kind: 'group', group: groupOf(`rule ${named.name}`, r.use, r.balance ?? 'round_robin') },
      };
    const group =
      config.groups[r.use] === undefined ? groupOf(r.use, [{ uplink: r.use, weight: undefined }], 'failover') : r.use;
    return { ...named, action: { kind: 'group', group } };
  });
  return { rules, groups };
}

type Member = ParsedGroup['uplinks'][number];

/** Weights: of the group's entry, else of the uplink, else in proportion to bandwidths where all have one. */
function sharesOf(members: readonly Member[], { uplinks }: Parsed): GroupConfig['members'] {
  const bandwidthOf = (m: Member): number | undefined => uplinks[m.uplink]?.bandwidth;
  const haveAll = members.every((m) => bandwidthOf(m) !== undefined);
  return members.map((m) => ({
    uplink: m.uplink,
    weight: m.weight ?? uplinks[m.uplink]?.weight ?? (haveAll ? bandwidthOf(m)! / MBIT : 1),
  }));
}

function ruleName(r: ParsedRule, index: number): string {
  return r.name ?? String(index + 1);
}

function toRule(r: ParsedRule, index: number, action: Rule['action']): Rule {
  return { name: ruleName(r, index), match: toMatch(r.match), action, onFailure: r.on_failure ?? 'reject' };
}

function toMatch(m: ParsedRule['match']): RuleMatch {
  return {
    apps: m.app,
    groups: m.group,
    users: m.user,
    cgroups: m.cgroup,
    protocols: m.protocol.flatMap((p) => PROTOCOLS[p]),
    to: m.to,
    ports: m.port,
    domains: m.domain,
    from: m.from,
  };
}
