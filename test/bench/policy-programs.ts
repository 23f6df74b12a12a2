/**
 * Policy in the kernel: what a decision of the eBPF programs takes with 1 to 10,000 rules, by the kernel's own run-time
 * statistics, and what the hook adds to socket(), connect() and close(). Natively, on a cgroup and in namespaces of its own.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type KernelPolicy, Programs } from '../../router/kernel/programs.ts';
import type { Addr } from '../../router/lib/addr.ts';
import type { Rule } from '../../router/uplink/rule.ts';
import { missingForPrograms, TwoWays } from '../kit/two-ways.ts';
import type { Samples } from './table.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const PROGRAM = join(ROOT, 'build', 'bench-hook');
const STATISTICS = '/proc/sys/kernel/bpf_stats_enabled';
/** Connects per sample. */
const CONNECTS = 1 << 16;

/** A destination as `hook` reads it. */
export interface Target {
  readonly addr: Addr;
  readonly port: number;
}

export interface RuleSet {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly targets: readonly Target[];
}

class Bench {
  readonly #ways: TwoWays;
  readonly #samples: Samples;
  #programs: Programs | undefined;

  constructor(ways: TwoWays, samples: Samples) {
    this.#ways = ways;
    this.#samples = samples;
  }

  async start(): Promise<void> {
    await this.#ways.build();
    this.#programs = await this.#ways.load();
  }

  close(): void {
    this.#programs?.close();
  }

  set(rules: readonly Rule[]): void {
    const policy: KernelPolicy = {
      rules,
      groups: [
        {
          name: 'g',
          balance: 'round_robin',
          members: [
            { uplink: 0, weight: 2 },
            { uplink: 1, weight: 3 },
          ],
        },
      ],
      uplinks: [this.#ways.uplink(0), this.#ways.uplink(1)],
      vrfs: [],
      isStrict: false,
      ownAddresses: [],
    };
    this.#programs!.setPolicy(policy);
  }

  attach(): Promise<void> {
    return this.#programs!.attach();
  }

  /** Nanoseconds of CPU time per socket, connect and close. */
  async connects(targets: readonly Target[], isHooked: boolean): Promise<number> {
    const input = targets.map(({ addr, port }) => `${addr} ${port}\n`).join('');
    const enter = isHooked ? `echo $$ > ${this.#ways.cgroup}/cgroup.procs && ` : '';
    const words = ['-c', `${enter}exec ${PROGRAM} ${Math.ceil(CONNECTS / targets.length)}`];
    return Number(await this.#ways.lab.ok(this.#ways.host, 'sh', words, { input }));
  }

  /** One sample of a rule set: nanoseconds per run of the connect programs. */
  async decision({ name, rules, targets }: RuleSet, isKept: boolean): Promise<void> {
    this.set(rules);
    const before = await this.#runs();
    await this.connects(targets, true);
    const after = await this.#runs();
    if (isKept) this.#samples.add(`programs, ${name}`, 'ns', (after.ns - before.ns) / (after.runs - before.runs));
  }

  async #runs(): Promise<{ ns: number; runs: number }> {
    const hooks = await Programs.status(this.#ways.pinDir);
    const connects = hooks.filter((h) => h.program.startsWith('mls_connect'));
    return {
      ns: connects.reduce((sum, h) => sum + h.run_ns, 0),
      runs: connects.reduce((sum, h) => sum + h.runs, 0),
    };
  }
}

/** @returns why it was not measured */
export async function measurePrograms(
  sets: readonly RuleSet[],
  samples: Samples,
  rounds: number,
  log: (line: string) => void,
): Promise<string | undefined> {
  const missing = await missingForPrograms('cc');
  if (missing !== undefined) return missing;
  const source = join(ROOT, 'test', 'bench', 'hook.c');
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', PROGRAM, source], { stdio: 'pipe' });
  const ways = new TwoWays();
  const bench = new Bench(ways, samples);
  const statistics = readFileSync(STATISTICS, 'utf8');
  try {
    await bench.start();
    bench.set(sets[0]!.rules);
    await bench.attach();
    writeFileSync(STATISTICS, '1');
    for (let round = 0; round <= rounds; round++) {
      log(`programs, round ${round} of ${rounds}`);
      for (const set of sets) await bench.decision(set, round > 0);
    }
    writeFileSync(STATISTICS, '0');
    const ten = sets.find((s) => s.rules.length === 10)!;
    bench.set(ten.rules);
    for (let round = 0; round <= 2 * rounds; round++) {
      const [bare, hooked] = [await bench.connects(ten.targets, false), await bench.connects(ten.targets, true)];
      if (round === 0) continue;
      samples.add('socket, connect, close', 'ns', bare);
      samples.add('socket, connect, close with programs', 'ns', hooked);
      samples.add('the hook', 'ns', hooked - bare);
    }
  } finally {
    writeFileSync(STATISTICS, statistics);
    bench.close();
    await ways.close();
  }
  return undefined;
}
