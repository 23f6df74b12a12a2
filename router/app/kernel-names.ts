/** Names in the kernel backend: which uplink a question takes, and what answers teach the programs. */

import type { Programs } from '../kernel/programs.ts';
import type { UplinkState } from '../kernel/uplink.ts';
import type { Addr } from '../lib/addr.ts';
import { systemClock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import { Random, systemEntropy } from '../lib/rand.ts';
import { Balancer, Families, NO_UPLINK, type UplinkLoad } from '../uplink/balancer.ts';
import { LearnedNames } from '../uplink/learned-names.ts';
import { canMatchName } from '../uplink/rule.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import type { Upstream } from './dns-upstream.ts';
import { type KernelPlan, NO_WAY, upstreamsOf } from './kernel-plan.ts';

/** What the present policy and uplinks are. */
export interface NamesInput {
  readonly plan: KernelPlan;
  readonly loads: readonly UplinkLoad[];
  readonly states: readonly UplinkState[];
  /** The host's own name servers. */
  readonly servers: readonly Addr[];
}

type NamePrograms = Pick<Programs, 'learn' | 'dnsClasses' | 'setForwarder' | 'heartbeat'>;

export class KernelNames {
  readonly #programs: NamePrograms;
  readonly #learned = new LearnedNames();
  readonly #forwarder: DnsForwarder;
  readonly #random: Random;
  #input: NamesInput;
  #balancers: readonly Balancer[] = [];
  #serving: Promise<void> = Promise.resolve();

  constructor(programs: NamePrograms, input: NamesInput, log: Logger) {
    this.#programs = programs;
    this.#random = new Random(new DataView(systemEntropy(4).buffer).getInt32(0));
    this.#input = input;
    this.#learned.onChange = (addr, names) => programs.learn(addr, names);
    const learned = (name: string, addr: Addr, ttlS: number): void =>
      this.#learned.learn(name, addr, ttlS, systemClock.now());
    this.#forwarder = new DnsForwarder({ upstreams: (id, name) => this.#upstreams(id, name), learned }, log);
    this.configure(input);
  }

  /** Go over to another policy, or to what uplinks are now. */
  configure(input: NamesInput): void {
    const isSame = input.plan === this.#input.plan && input.loads === this.#input.loads && this.#balancers.length > 0;
    this.#input = input;
    if (!isSame) this.#balancers = input.plan.groups.map((g) => new Balancer(g, input.loads, this.#random));
    this.classesChanged();
  }

  /** Have a port for each class that rules by domain concern. Orders follow one another. */
  classesChanged(): void {
    this.#serving = this.#serving.then(async () => {
      const ids = this.#programs.dnsClasses().map((c) => c.id);
      await this.#forwarder.serve(ids, (id, port) => this.#programs.setForwarder(id, port));
    });
  }

  /** Resolves when the classes there are have their ports. */
  get served(): Promise<void> {
    return this.#serving;
  }

  /** Once per second. */
  tick(): void {
    this.#programs.heartbeat();
    this.#learned.expire(systemClock.now());
  }

  close(): void {
    this.#forwarder.close();
  }

  /** As `decideName` of router/uplink/policy.ts, for a class of the programs. */
  #upstreams(classId: number, name: string): readonly Upstream[] {
    const { plan, states, servers } = this.#input;
    const facts = { name, protocol: undefined, port: undefined };
    for (const i of this.#programs.dnsClasses().find((c) => c.id === classId)?.rules ?? []) {
      const { match, action, onFailure } = plan.rules[i]!;
      if (action.kind === 'reject' || !canMatchName(match, facts)) continue;
      const uplink = action.kind === 'vrf' ? this.#memberOf(action.vrf) : this.#pick(action.group);
      const config = plan.config.uplinks[uplink];
      if (config !== undefined)
        return upstreamsOf(
          config,
          states.find((s) => s.name === config.name),
          servers,
        );
      if (onFailure === 'reject') return [];
    }
    return servers.map((server) => ({ server, way: NO_WAY }));
  }

  #pick(group: number): number {
    const hash = this.#random.int32();
    return this.#balancers[group]?.pick({ flowHash: hash, targetHash: hash, families: Families.Any }) ?? NO_UPLINK;
  }

  #memberOf(vrf: number): number {
    const { plan } = this.#input;
    return plan.config.uplinks.findIndex((u) => u.vrf !== undefined && plan.vrfs.get(u.vrf) === vrf);
  }
}
