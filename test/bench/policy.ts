/**
 * Policy: what a decision costs with 1 to 10,000 rules, how much of the sum of two shaped uplinks one app gets, and how long
 * new flows still go to an uplink that was cut. The first is code alone (CPU time); the others are a lab of namespaces, with
 * the router and its apps as uid nobody (root makes the lab).
 */
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { Random } from '../../router/lib/rand.ts';
import { Families } from '../../router/uplink/balancer.ts';
import { type FlowQuery, Policy } from '../../router/uplink/policy.ts';
import { ANYTHING, Protocol, type Rule, type RuleMatch } from '../../router/uplink/rule.ts';
import { iperf } from '../kit/iperf.ts';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';
import { measureKernelBackend } from './policy-kernel.ts';
import { measurePrograms, type RuleSet } from './policy-programs.ts';
import { type BenchOptions, type BenchReport, cpuSeconds, Samples } from './table.ts';

const COUNTS: readonly number[] = [1, 10, 100, 1000, 10_000];
const DECISIONS = 1 << 19;
const QUERIES = 1 << 16;
const STREAMS = 10;
const IPERF = ['-R', '-t', '5', '-c', SERVER.v4, '-P'];
/** A connect every 10 ms, each on its own: when it began, and the address it got or why it failed. */
const CONNECTS = `
import socket, sys, threading, time
def one():
    began = time.clock_gettime(time.CLOCK_MONOTONIC)
    s = socket.socket()
    s.settimeout(1)
    try:
        s.connect((sys.argv[1], 5201))
        how = s.getsockname()[0]
    except OSError:
        how = "failed"
    s.close()
    print(f"{began} {how}", flush=True)
while True:
    threading.Thread(target=one, daemon=True).start()
    time.sleep(0.01)
`;

/** Rules as people write them: networks, ports, both. */
function ruleAt(i: number): Partial<RuleMatch> {
  const net = Prefix.parse(`10.${(i >> 8) & 255}.${i & 255}.0/24`)!;
  switch (i % 3) {
    case 0:
      return { to: [net] };
    case 1:
      return { ports: [{ first: 1000 + i, last: 1000 + i }] };
    default:
      return { to: [Prefix.parse(`fd00:${i.toString(16)}::/32`)!], protocols: [Protocol.Tcp] };
  }
}

const KINDS: Readonly<Record<string, (i: number) => Partial<RuleMatch>>> = {
  'rules of all kinds': ruleAt,
  'prefixes only': (i) => ({ to: [Prefix.parse(`10.${(i >> 8) & 255}.${i & 255}.0/24`)!] }),
  'ports only': (i) => ({ ports: [{ first: 1000 + i, last: 1000 + i }] }),
};

function rulesOf(count: number, match: (i: number) => Partial<RuleMatch>): Rule[] {
  return Array.from({ length: count }, (_, i): Rule => {
    const action = { kind: 'group', group: 0 } as const;
    return { name: String(i), match: { ...ANYTHING, ...match(i) }, action, onFailure: 'reject' };
  });
}

/** Flows that reach all rules alike. */
function queries(rules: readonly Rule[], processClass: number): FlowQuery[] {
  const random = new Random(11);
  return Array.from({ length: QUERIES }, (): FlowQuery => {
    const addr = rules[random.below(rules.length)]!.match.to[0]?.addr;
    const isV6 = addr?.family === 6;
    return {
      processClass,
      protocol: Protocol.Tcp,
      d0: isV6 ? addr.a0 : 0,
      d1: isV6 ? addr.a1 : 0,
      d2: isV6 ? addr.a2 : 0xffff,
      d3: (addr?.a3 ?? 0x0a000000) | 1,
      port: 1000 + random.below(rules.length),
      from: undefined,
      flowHash: random.int32(),
      targetHash: random.int32(),
      families: isV6 ? Families.V6 : Families.V4,
    };
  });
}

function decisions(samples: Samples, rounds: number, log: (line: string) => void): void {
  const members = ISPS.map(({ rate }, uplink) => ({ uplink, weight: rate }));
  const loads = ISPS.map(() => ({ isUsable: true, families: Families.Any, rate: 0, capacity: 0, peak: 0 }));
  const process = { executable: '/usr/bin/curl', argv0: 'curl', group: undefined, uid: 1000, cgroup: '/' };
  const cases = Object.entries(KINDS).flatMap(([kind, match]) =>
    COUNTS.map((count) => {
      const rules = rulesOf(count, match);
      const policy = new Policy(rules, [{ name: 'g', balance: 'round_robin', members }], loads);
      const before = cpuSeconds();
      const flows = queries(rules, policy.classOf(process));
      policy.decide(flows[0]!);
      log(`${count} ${kind}: compiled in ${((cpuSeconds() - before) * 1000).toFixed(0)} ms`);
      return { name: `decision, ${count} ${kind}`, policy, flows };
    }),
  );
  for (let round = 0; round <= rounds; round++)
    for (const { name, policy, flows } of cases) {
      const before = cpuSeconds();
      for (let i = 0; i < DECISIONS; i++) policy.decide(flows[i & (QUERIES - 1)]!);
      if (round > 0) samples.add(name, 'ns', ((cpuSeconds() - before) / DECISIONS) * 1e9);
    }
}

/** The same rules for the programs in the kernel, with a part of the same flows. */
export function ruleSets(): RuleSet[] {
  return Object.entries(KINDS).flatMap(([kind, match]) =>
    COUNTS.map((count) => {
      const rules = rulesOf(count, match);
      const targets = queries(rules, 0).map((q) => ({ addr: Addr.fromWords(q.d0, q.d1, q.d2, q.d3), port: q.port }));
      return { name: `${count} ${kind}`, rules, targets: targets.slice(0, 4096) };
    }),
  );
}

async function mbit(isps: TwoIsps, group: string, streams: number): Promise<number> {
  return (await iperf({ isps, router: isps.router }, group, ...IPERF, String(streams))).mbit;
}

/** Seconds after the cut at which the last connect began that still went to the dead uplink. */
async function failover(isps: TwoIsps): Promise<number> {
  const server = await isps.iperf();
  const app = isps.router.cliStart(['run', '--group', 'both', '--', 'python3', '-c', CONNECTS, SERVER.v4]);
  const [fiber, lte] = ISPS;
  await app.until(new RegExp(fiber!.v4.replaceAll('.', '\\.')));
  // The same clock as the program's.
  const cutAt = Number(process.hrtime.bigint()) / 1e9;
  await isps.cut(fiber!.name, true);
  await isps.lab.eventually('two hundred connects in a row got through', async () =>
    app.stdout
      .trimEnd()
      .split('\n')
      .slice(-200)
      .every((l) => l.endsWith(lte!.v4)),
  );
  await app.stop('SIGKILL');
  await server.stop();
  await isps.cut(fiber!.name, false);
  const failed = app.stdout.split('\n').filter((l) => l.endsWith('failed'));
  return Math.max(0, Number(failed.at(-1)?.split(' ')[0] ?? cutAt) - cutAt);
}

async function lab(samples: Samples, rounds: number, log: (line: string) => void): Promise<void> {
  const lab = new Lab();
  try {
    const host = await lab.namespace('a');
    const isps = new TwoIsps(lab, host, new Router(lab, host));
    await isps.build();
    const extra = Object.fromEntries(
      ISPS.map(({ name, rate, plan }) => [
        name,
        `    bandwidth: ${rate}Mbit\n    probe: { to: ${plan.v4}, every: 200ms, timeout: 100ms, fall: 2, rise: 2 }\n`,
      ]),
    );
    const alone = ISPS.map(({ name }) => `  - { match: { group: ${name} }, use: ${name} }\n`).join('');
    isps.router.write(`${isps.uplinks(extra)}rules:\n${alone}  - { use: [fiber, lte] }\n`);
    await isps.router.up();
    const areUsable = async (): Promise<boolean> =>
      (await isps.router.json<{ usable: boolean; rtt_ms?: number }[]>('uplink')).every(
        (u) => u.usable && u.rtt_ms !== undefined,
      );
    await lab.eventually('both uplinks answer', areUsable);
    for (let round = 0; round < rounds; round++) {
      log(`round ${round + 1} of ${rounds}`);
      for (const { name } of ISPS) samples.add(`${name} alone`, 'Mbit/s', await mbit(isps, name, STREAMS / 2));
      samples.add('both', 'Mbit/s', await mbit(isps, 'both', STREAMS));
      samples.add('failover', 's', await failover(isps));
      await lab.eventually('both uplinks answer again', areUsable);
    }
  } finally {
    await lab.close();
  }
}

export async function run({ rounds, log }: BenchOptions): Promise<BenchReport> {
  const samples = new Samples();
  decisions(samples, rounds, log);
  const noPrograms = await measurePrograms(ruleSets(), samples, rounds, log);
  const missing = Lab.missing('iperf3', 'wg', 'tc', 'python3');
  if (missing === undefined) await lab(samples, rounds, log);
  const isKernelMeasured = missing === undefined && noPrograms === undefined;
  if (isKernelMeasured) await measureKernelBackend(samples, rounds, log);
  const sum = ISPS.reduce((n, { rate }) => n + rate, 0);
  return {
    results: samples.figures(),
    ratios: {
      decision_10000_vs_10_rules: samples.ratio(
        'decision, 10000 rules of all kinds',
        'decision, 10 rules of all kinds',
      ),
      ...(noPrograms === undefined && {
        program_10000_vs_10_rules: samples.ratio(
          'programs, 10000 rules of all kinds',
          'programs, 10 rules of all kinds',
        ),
        connect_rate_with_bpf: samples.ratio('socket, connect, close', 'socket, connect, close with programs'),
      }),
      ...(isKernelMeasured && { sum_of_uplinks_kernel: samples.median('both, kernel') / sum }),
      ...(missing === undefined && {
        sum_of_uplinks_userspace: samples.median('both') / sum,
        sum_of_uplinks_vs_each_alone:
          samples.median('both') / ISPS.reduce((n, { name }) => n + samples.median(`${name} alone`), 0),
        failover_seconds: samples.median('failover'),
      }),
    },
    notes: [
      `uplinks of ${ISPS.map(({ rate }) => rate).join(' and ')} Mbit/s as tbf counts them, Ethernet and IP headers included; iperf3 counts payload`,
      'probes every 200 ms, 100 ms patience, two lost in a row',
      ...(noPrograms === undefined
        ? ['programs: UDP sockets, so that no packet is sent; CPU time; one default route per uplink']
        : [`no programs: ${noPrograms}`]),
      ...(missing === undefined ? [] : [`no lab: ${missing}`]),
    ],
  };
}
