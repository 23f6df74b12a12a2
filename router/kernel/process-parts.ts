/**
 * What rules ask about a process and its socket, as small numbers: one for its cgroup (and the group that cgroup stands for), one
 * for its user, one for its program, one for the address it bound. 0 = nothing of what rules name. Numbers are given as
 * values are met, and two values that no rule tells apart have the same one.
 */
import type { Prefix } from '../lib/addr.ts';
import { isApp, isWithin, type ProcessFacts, type Rule, type RuleMatch } from '../uplink/rule.ts';
import { Flag } from './layout.ts';

/** Octets of a task's name that the kernel keeps. */
const NAME_OCTETS = 15;

export interface Combination {
  readonly cgroup: number;
  readonly user: number;
  readonly program: number;
  readonly source: number;
}

interface CgroupPart {
  readonly globs: ReadonlySet<string>;
  readonly group: string | undefined;
}

interface ProgramPart {
  readonly globs: ReadonlySet<string>;
  /** Of MLSHIM_GROUP. */
  readonly group: string | undefined;
}

/** Values numbered in the order they are met. */
class Numbered<T> {
  readonly values: T[] = [];
  readonly #known = new Map<string, number>();

  of(key: string, make: () => T): number {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    this.values.push(make());
    this.#known.set(key, this.values.length - 1);
    return this.values.length - 1;
  }
}

export class Parts {
  readonly #appGlobs: readonly string[];
  readonly #cgroupGlobs: readonly string[];
  readonly #groups: ReadonlySet<string>;
  readonly #users: readonly number[];
  readonly #froms: readonly Prefix[];
  readonly #cgroups = new Numbered<CgroupPart>();
  readonly #programs = new Numbered<ProgramPart>();
  /** Per part, the prefixes of rules that contain the address. */
  readonly #sources = new Numbered<ReadonlySet<string>>();
  readonly #sourceParts = new Map<string, readonly [Prefix, number]>();
  readonly #nameParts = new Map<string, number>();

  constructor(rules: readonly Rule[]) {
    const all = <T>(of: (m: RuleMatch) => readonly T[]): T[] => [...new Set(rules.flatMap((r) => of(r.match)))];
    this.#appGlobs = all((m) => m.apps);
    this.#cgroupGlobs = all((m) => m.cgroups);
    this.#groups = new Set(all((m) => m.groups));
    this.#users = all((m) => m.users);
    this.#froms = [...new Map(all((m) => m.from).map((p) => [String(p), p])).values()];
    this.cgroup('', undefined);
    this.#program(new Set(), undefined);
    this.#source(new Set());
    this.#addSources();
    this.#addNames();
  }

  get asksAboutPrograms(): boolean {
    return this.#appGlobs.length > 0 || this.#groups.size > 0;
  }

  get asksAboutCgroups(): boolean {
    return this.#cgroupGlobs.length > 0 || this.#groups.size > 0;
  }

  get flags(): number {
    return (
      (this.asksAboutCgroups ? Flag.Cgroups : 0) |
      (this.#users.length > 0 ? Flag.Users : 0) |
      (this.asksAboutPrograms ? Flag.Processes : 0) |
      (this.#nameParts.size > 0 ? Flag.Names : 0) |
      (this.#froms.length > 0 ? Flag.Sources : 0)
    );
  }

  /** @param group what the cgroup stands for (`mlshim run --group`) */
  cgroup(path: string, group: string | undefined): number {
    const globs = this.#cgroupGlobs.filter((g) => isWithin(g, path));
    const named = this.#named(group);
    return this.#cgroups.of(keyOf(globs, named), () => ({ globs: new Set(globs), group: named }));
  }

  program(facts: ProcessFacts): number {
    return this.#program(new Set(this.#appGlobs.filter((g) => isApp(g, facts))), this.#named(facts.group));
  }

  /** User ids that rules name, each its part. */
  users(): (readonly [uid: number, part: number])[] {
    return this.#users.map((uid, i) => [uid, i + 1]);
  }

  /** Prefixes to be matched against a bound address, each with its part. */
  sources(): Iterable<readonly [Prefix, number]> {
    return this.#sourceParts.values();
  }

  /** Names of tasks that programs of rules have at first, for processes nobody has told about yet. */
  names(): Iterable<readonly [name: string, part: number]> {
    return this.#nameParts;
  }

  /** How many parts there are; combinations are the same ones as long as it is. */
  get count(): number {
    return this.#cgroups.values.length + this.#programs.values.length + this.#sources.values.length;
  }

  *combinations(): Generator<Combination> {
    for (const cgroup of this.#cgroups.values.keys())
      for (let user = 0; user <= this.#users.length; user++)
        for (const program of this.#programs.values.keys())
          for (const source of this.#sources.values.keys()) yield { cgroup, user, program, source };
  }

  /** Whether what a rule asks about processes and sources holds for a combination. */
  holds(m: RuleMatch, c: Combination): boolean {
    const cgroup = this.#cgroups.values[c.cgroup]!;
    const program = this.#programs.values[c.program]!;
    const group = cgroup.group ?? program.group;
    return (
      (m.apps.length === 0 || m.apps.some((g) => program.globs.has(g))) &&
      (m.groups.length === 0 || (group !== undefined && m.groups.includes(group))) &&
      (m.users.length === 0 || (c.user > 0 && m.users.includes(this.#users[c.user - 1]!))) &&
      (m.cgroups.length === 0 || m.cgroups.some((g) => cgroup.globs.has(g))) &&
      (m.from.length === 0 || m.from.some((p) => this.#sources.values[c.source]!.has(String(p))))
    );
  }

  /** A group that no rule names is none. */
  #named(group: string | undefined): string | undefined {
    return group !== undefined && this.#groups.has(group) ? group : undefined;
  }

  #program(globs: ReadonlySet<string>, group: string | undefined): number {
    return this.#programs.of(keyOf([...globs], group), () => ({ globs, group }));
  }

  #source(prefixes: ReadonlySet<string>): number {
    return this.#sources.of([...prefixes].join(), () => prefixes);
  }

  #addSources(): void {
    for (const p of this.#froms) {
      const around = this.#froms.filter((f) => f.length <= p.length && f.contains(p.addr));
      this.#sourceParts.set(String(p), [p, this.#source(new Set(around.map(String)))]);
    }
  }

  /** A glob whose last part is a plain name says what its processes are called. */
  #addNames(): void {
    const byName = new Map<string, Set<string>>();
    for (const glob of this.#appGlobs) {
      const base = glob.slice(glob.lastIndexOf('/') + 1);
      if (base === '' || /[*?]/.test(base)) continue;
      const name = Buffer.from(base).subarray(0, NAME_OCTETS).toString('latin1');
      byName.set(name, (byName.get(name) ?? new Set()).add(glob));
    }
    for (const [name, globs] of byName) this.#nameParts.set(name, this.#program(globs, undefined));
  }
}

/** Indices of the rules whose conditions about process and source hold, ascending. */
export function applicableRules(rules: readonly Rule[], parts: Parts, c: Combination): number[] {
  const found: number[] = [];
  for (const [i, rule] of rules.entries()) if (parts.holds(rule.match, c)) found.push(i);
  return found;
}

function keyOf(globs: readonly string[], group: string | undefined): string {
  return `${globs.join('\0')}\0\0${group ?? ''}`;
}
