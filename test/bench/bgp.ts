/**
 * BGP against Debian's BIRD 2 and GoBGP: full Internet tables in, out and away again, with the real daemon of each, in
 * rounds that interleave them. Everything happens on loopback addresses of a network namespace of its own, so no port of
 * this machine is used. bgp-main.ts is the program in there.
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { BenchOptions, BenchReport } from './table.ts';

/** Lines of stderr that end up in the error when the program fails. */
const KEPT = 40;

export async function run({ rounds, log }: BenchOptions): Promise<BenchReport> {
  const inside = ['ip link set lo up && exec "$@"', 'sh', process.execPath];
  const flags = process.getuid?.() === 0 ? ['-n'] : ['-r', '-n'];
  const args = [...flags, 'sh', '-c', ...inside, join(import.meta.dirname, 'bgp-main.js'), String(rounds)];
  const child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'pipe'] });
  // The end of its standard input tells it to clean up.
  const interrupt = (): void => {
    child.stdin.end();
  };
  process.once('SIGINT', interrupt).once('SIGTERM', interrupt);
  let out = '';
  const said: string[] = [];
  child.stdout.on('data', (b) => (out += String(b)));
  let rest = '';
  child.stderr.on('data', (b) => {
    const lines = (rest + String(b)).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      log(line);
      said.push(line);
      if (said.length > KEPT) said.shift();
    }
  });
  const status = await new Promise((resolve) => child.once('close', resolve));
  process.off('SIGINT', interrupt).off('SIGTERM', interrupt);
  if (status !== 0) throw new Error(`the BGP benchmark ended with ${status}:\n${[...said, rest].join('\n')}`);
  return JSON.parse(out) as BenchReport;
}
