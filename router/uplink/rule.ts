/**
 * The words of policy: what a rule asks about a new flow, and what it does with it (DESIGN §5). Plain values, and the one
 * definition of "matches" that every compiled form (tables.ts, the kernel's maps) is tested against.
 */
import type { Addr, Prefix } from '../lib/addr.ts';

/** Inclusive. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Numbers of the IP header's protocol field (IANA). */
export const Protocol = { Icmp: 1, Tcp: 6, Udp: 17, Icmp6: 58 } as const;

/** What a rule asks. Values of one list are alternatives; all lists that are not empty must hold. */
export interface RuleMatch {
  /** Globs over the executable's path, its last part, or argv[0]. */
  readonly apps: readonly string[];
  /** Names given with `mlshim run --group` or MLSHIM_GROUP. */
  readonly groups: readonly string[];
  /** User ids. */
  readonly users: readonly number[];
  /** Globs over cgroup paths (`/system.slice/x.service`); what is below a matching one matches too. */
  readonly cgroups: readonly string[];
  readonly protocols: readonly number[];
  /** Destinations. Together with `domains` they are alternatives of one list. */
  readonly to: readonly Prefix[];
  /** Destination ports; flows without ports have none and match no range. */
  readonly ports: readonly PortRange[];
  /** Names whose addresses our DNS answers told: `example.org` is it and what is below, `*.example.org` only that. */
  readonly domains: readonly string[];
  /** Addresses the application bound itself to; a socket that is not bound matches none. */
  readonly from: readonly Prefix[];
}

export type RuleAction =
  /** Through one of the uplinks of a group, by its balancer. */
  | { readonly kind: 'group'; readonly group: number }
  /** By the routes of a VRF; 0 is the default one. */
  | { readonly kind: 'vrf'; readonly vrf: number }
  /** Refused with EACCES, as a `prohibit` route does. */
  | { readonly kind: 'reject' };

export interface Rule {
  readonly name: string;
  readonly match: RuleMatch;
  readonly action: RuleAction;
  /** When no uplink of the group can be used: go on with the next rule, or refuse, which leaks nothing (the default). */
  readonly onFailure: 'next' | 'reject';
}

/** What is known about the process that owns a socket. */
export interface ProcessFacts {
  /** Absolute path; empty when unknown. */
  readonly executable: string;
  readonly argv0: string;
  readonly group: string | undefined;
  readonly uid: number;
  /** Path within the hierarchy, `/` for the root; empty when unknown. */
  readonly cgroup: string;
}

/** What is known about a flow, apart from its process. */
export interface FlowFacts {
  readonly protocol: number;
  readonly to: Addr;
  /** Destination port; -1 for protocols without. */
  readonly port: number;
  /** Names our DNS answers gave for `to`, lower case, without a dot at the end. */
  readonly names: readonly string[];
  /** Undefined = not bound. */
  readonly from: Addr | undefined;
}

export const ANYTHING: RuleMatch = {
  apps: [],
  groups: [],
  users: [],
  cgroups: [],
  protocols: [],
  to: [],
  ports: [],
  domains: [],
  from: [],
};

/** Whether the rule applies: the definition, read straight off `RuleMatch`. */
export function matches(m: RuleMatch, process: ProcessFacts, flow: FlowFacts): boolean {
  return matchesProcess(m, process) && matchesSource(m, flow.from) && matchesService(m, flow) && matchesTarget(m, flow);
}

/** The part about the process. */
export function matchesProcess(m: RuleMatch, p: ProcessFacts): boolean {
  return (
    (m.apps.length === 0 || m.apps.some((glob) => isApp(glob, p))) &&
    (m.groups.length === 0 || (p.group !== undefined && m.groups.includes(p.group))) &&
    (m.users.length === 0 || m.users.includes(p.uid)) &&
    (m.cgroups.length === 0 || m.cgroups.some((glob) => isWithin(glob, p.cgroup)))
  );
}

/** The part about the address the socket is bound to. */
export function matchesSource(m: RuleMatch, from: Addr | undefined): boolean {
  return m.from.length === 0 || (from !== undefined && m.from.some((p) => p.contains(from)));
}

/** What is known of a flow before its name is resolved. */
export interface NameFacts {
  /** Lower case, without a dot at the end; empty = not known either. */
  readonly name: string;
  /** Undefined = not known yet. */
  readonly protocol: number | undefined;
  readonly port: number | undefined;
}

/**
 * Whether the rule can be the one that decides over a flow to this name. Conditions that are not known yet may hold, but not one
 * about the address that is being asked for, nor one about a source: nothing is bound.
 */
export function canMatchName(m: RuleMatch, { name, protocol, port }: NameFacts): boolean {
  if (m.from.length > 0) return false;
  if (m.protocols.length > 0) {
    const fits = protocol === undefined ? m.protocols.some(hasPorts) : m.protocols.includes(protocol);
    if (!fits) return false;
  }
  if (m.ports.length > 0 && port !== undefined && !m.ports.some((r) => r.first <= port && port <= r.last)) return false;
  if (m.domains.some((pattern) => isDomain(pattern, name))) return true;
  return m.domains.length === 0 && m.to.length === 0;
}

/** Flows to names are TCP's and UDP's, as long as nothing else is said. */
function hasPorts(protocol: number): boolean {
  return protocol === Protocol.Tcp || protocol === Protocol.Udp;
}

function matchesService(m: RuleMatch, flow: FlowFacts): boolean {
  if (m.protocols.length > 0 && !m.protocols.includes(flow.protocol)) return false;
  return m.ports.length === 0 || m.ports.some((r) => r.first <= flow.port && flow.port <= r.last);
}

function matchesTarget(m: RuleMatch, flow: FlowFacts): boolean {
  if (m.to.length === 0 && m.domains.length === 0) return true;
  if (m.to.some((p) => p.contains(flow.to))) return true;
  return m.domains.some((pattern) => flow.names.some((name) => isDomain(pattern, name)));
}

/** Whether `name` is what a rule's `domain` means. Both in lower case, without a dot at the end. */
export function isDomain(pattern: string, name: string): boolean {
  if (pattern.startsWith('*.')) return name.endsWith(pattern.slice(1));
  return name === pattern || name.endsWith(`.${pattern}`);
}

/** Every pattern for which `isDomain` holds with this name. */
export function* patternsOf(name: string): Generator<string> {
  yield name;
  for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
    yield name.slice(dot + 1);
    yield `*${name.slice(dot)}`;
  }
}

/** Whether a process is what a rule's `app` means. */
export function isApp(glob: string, p: ProcessFacts): boolean {
  const pattern = globPattern(glob);
  const base = p.executable.slice(p.executable.lastIndexOf('/') + 1);
  return pattern.test(p.executable) || pattern.test(base) || pattern.test(p.argv0);
}

/** Whether a cgroup is what a rule's `cgroup` means, or below one. */
export function isWithin(glob: string, cgroup: string): boolean {
  if (cgroup === '') return false;
  const pattern = globPattern(glob);
  for (let path = cgroup; ; path = path.slice(0, path.lastIndexOf('/'))) {
    if (pattern.test(path === '' ? '/' : path)) return true;
    if (path === '' || path === '/') return false;
  }
}

/** `*` is anything but a slash, `**` anything, `?` one character; everything else is itself. */
function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*|\*|\?|[.+^${}()|[\]\\]/g, (c) => {
    if (c === '**') return '.*';
    if (c === '*') return '[^/]*';
    return c === '?' ? '[^/]' : `\\${c}`;
  });
  return new RegExp(`^${source}$`, 's');
}

/**
 * Rules that can never be the first to match, because one before them asks for no more than they do.
 * @returns index of the rule and of the one that hides it
 */
export function shadowedRules(rules: readonly Rule[]): { readonly rule: number; readonly by: number }[] {
  const found: { rule: number; by: number }[] = [];
  for (const [i, rule] of rules.entries()) {
    const by = rules.findIndex((r, j) => j < i && r.onFailure !== 'next' && covers(r.match, rule.match));
    if (by >= 0) found.push({ rule: i, by });
  }
  return found;
}

/** Whether everything that matches `b` surely matches `a`. */
function covers(a: RuleMatch, b: RuleMatch): boolean {
  return (
    listCovers(a.apps, b.apps, (x, y) => x === y) &&
    listCovers(a.groups, b.groups, (x, y) => x === y) &&
    listCovers(a.users, b.users, (x, y) => x === y) &&
    listCovers(a.cgroups, b.cgroups, (x, y) => x === y) &&
    listCovers(a.protocols, b.protocols, (x, y) => x === y) &&
    listCovers(a.ports, b.ports, (x, y) => x.first <= y.first && y.last <= x.last) &&
    listCovers(a.from, b.from, isInside) &&
    targetCovers(a, b)
  );
}

function targetCovers(a: RuleMatch, b: RuleMatch): boolean {
  if (a.to.length === 0 && a.domains.length === 0) return true;
  if (b.to.length === 0 && b.domains.length === 0) return false;
  return (
    b.to.every((y) => a.to.some((x) => isInside(x, y))) &&
    b.domains.every((y) =>
      a.domains.some((x) => x === y || (!x.startsWith('*.') && isDomain(x, y.replace('*.', '_.')))),
    )
  );
}

/** An empty list asks nothing. */
function listCovers<T>(a: readonly T[], b: readonly T[], holds: (x: T, y: T) => boolean): boolean {
  return a.length === 0 || (b.length > 0 && b.every((y) => a.some((x) => holds(x, y))));
}

/** Whether prefix `y` lies within `x`. */
function isInside(x: Prefix, y: Prefix): boolean {
  return x.length <= y.length && x.contains(y.addr);
}
