/**
 * What control calls and short connections cost: connect.c over the kernel's loopback, and under the shim against a
 * data-plane worker whose loopback is in our stack, so that the network itself takes no time.
 */
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startDataplane } from '../kit/dataplane.ts';
import { type BenchOptions, type BenchReport, Samples } from './table.ts';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const PROGRAM = join(ROOT, 'build', 'bench-connect');
const ROUNDS = '2000';
const SECONDS = '1';
const WIDTH = '32';

const execute = promisify(execFile);

function build(): void {
  const source = join(ROOT, 'test', 'bench', 'connect.c');
  execFileSync('cc', ['-O2', '-Wall', '-Wextra', '-Werror', '-o', PROGRAM, source], { stdio: 'pipe' });
}

/** One figure of the program's JSON line to the unit it is told in. */
const UNITS: Readonly<Record<string, [name: string, unit: string]>> = {
  callUs: ['call_us', 'us'],
  socketUs: ['socket_us', 'us'],
  connectUs: ['connect_us', 'us'],
  sessionUs: ['session_us', 'us'],
  acceptsPerSecond: ['accepts', '1/s'],
};

export async function run(options: BenchOptions): Promise<BenchReport> {
  build();
  const router = await startDataplane();
  const samples = new Samples();
  try {
    for (let round = 0; round < options.rounds; round++) {
      for (const end of ['kernel', 'mlshim'] as const) {
        const env = end === 'mlshim' ? router.env : process.env;
        for (const args of [
          ['call', ROUNDS],
          ['session', ROUNDS],
          ['accept', SECONDS, WIDTH],
        ]) {
          const { stdout } = await execute(PROGRAM, args, { env, timeout: 60_000 });
          for (const [key, value] of Object.entries(JSON.parse(stdout) as Record<string, number>)) {
            const [name, unit] = UNITS[key]!;
            samples.add(`${end}.${name}`, unit, value);
          }
        }
        options.log(`round ${round + 1} of ${options.rounds}, ${end}: done`);
      }
    }
  } finally {
    await router.stop();
  }
  const ratios: Record<string, number> = {};
  for (const [name] of Object.values(UNITS))
    ratios[`${name} mlshim/kernel`] = samples.ratio(`mlshim.${name}`, `kernel.${name}`);
  return { results: samples.figures(), ratios };
}
