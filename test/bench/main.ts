/**
 * `npm run bench -- NAME [--json] [--rounds N]`: runs one benchmark and prints a table of medians with their spread, the
 * machine and the commit; with --json one object. Benchmarks are modules loaded by name, so one that needs parts which
 * are not built does not disturb the others.
 */
import { parseArgs } from 'node:util';
import { type BenchModule, type BenchReport, commitLine, machineLine, renderReport } from './table.ts';

interface Entry {
  readonly summary: string;
  readonly rounds: number;
  readonly load: () => Promise<BenchModule>;
}

/** The module's path is a value, so that a benchmark is needed only when it is asked for. */
function byPath(name: string): () => Promise<BenchModule> {
  const path = `./${name}.js`;
  return () => import(path) as Promise<BenchModule>;
}

const BENCHES: Readonly<Record<string, Entry>> = {
  fib: { summary: 'longest-prefix match with 1,000,000 + 220,000 prefixes', rounds: 5, load: byPath('fib') },
  'tcp-memory': { summary: 'two TCP endpoints joined in memory', rounds: 5, load: byPath('tcp-memory') },
  forward: { summary: 'packets forwarded between links in memory', rounds: 5, load: byPath('forward') },
  connect: { summary: 'control calls and short connections under the shim', rounds: 5, load: byPath('connect') },
  bgp: { summary: 'full Internet tables, against BIRD 2 and GoBGP', rounds: 3, load: byPath('bgp') },
  policy: { summary: 'rules, balancers and failover over two uplinks (root)', rounds: 3, load: byPath('policy') },
  e2e: { summary: 'iperf3 through WireGuard, against kernel TCP and gVisor (root)', rounds: 5, load: byPath('e2e') },
};

function usage(): string {
  const lines = Object.entries(BENCHES).map(([name, b]) => `  ${name.padEnd(12)}${b.summary}`);
  return `usage: npm run bench -- NAME [--json] [--rounds N]\n${lines.join('\n')}`;
}

async function main(): Promise<number> {
  let parsed: { values: { json?: boolean; rounds?: string }; positionals: string[] };
  try {
    const options = { json: { type: 'boolean' }, rounds: { type: 'string' } } as const;
    parsed = parseArgs({ allowPositionals: true, options });
  } catch (error) {
    console.error(`${(error as Error).message}\n${usage()}`);
    return 2;
  }
  const [name = ''] = parsed.positionals;
  const entry = BENCHES[name];
  const rounds = Number(parsed.values.rounds ?? entry?.rounds);
  if (entry === undefined || parsed.positionals.length !== 1 || !(Number.isInteger(rounds) && rounds > 0)) {
    console.error(usage());
    return 2;
  }
  const json = parsed.values.json === true;
  const { run } = await entry.load();
  const report: BenchReport = await run({ rounds, log: json ? () => {} : (line) => console.error(line) });
  if (json) console.log(JSON.stringify({ bench: name, machine: machineLine(), commit: commitLine(), ...report }));
  else console.log(renderReport(name, report));
  return 0;
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error: unknown) => {
    console.error(error instanceof Error ? (error.stack ?? error.message) : error);
    process.exitCode = 1;
  },
);
