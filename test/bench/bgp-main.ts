/**
 * The part of the BGP benchmark that runs inside its own network namespace: `bgp-main.js ROUNDS`. Prints the report as
 * JSON; progress goes to stderr. It ends when its standard input does, which is when the benchmark is interrupted.
 */
import { hasBird } from '../bgp/kit/bird.ts';
import { BgpLab } from './bgp-lab.ts';
import { dn42, flap, fourSenders, fullTable, live, tenSinks, traffic } from './bgp-phases.ts';
import { BirdReceiver, GobgpReceiver, Mlshim, type Receiver } from './bgp-receivers.ts';
import { type BenchReport, Samples } from './table.ts';

const ROUNDS = Number(process.argv[2]);
/** Share of the table that is used, and the scenarios (all when empty): for a quick look while working on something. */
const SCALE = Number(process.env['MLSHIM_BENCH_SCALE'] ?? 1);
const ONLY = (process.env['MLSHIM_BENCH_ONLY'] ?? '').split(',').filter((name) => name !== '');

const log = (line: string): void => console.error(line);
const lab = new BgpLab({ v4: Math.round(1_000_000 * SCALE), v6: Math.round(220_000 * SCALE) });
const samples = new Samples();
const notes: string[] = [];
let current: Receiver | undefined;

process.stdin.on('end', () => {
  void (current?.stop() ?? Promise.resolve()).finally(() => {
    lab.close();
    process.exit(130);
  });
});
process.stdin.resume();

async function scenario(
  name: string,
  round: number,
  receivers: readonly Receiver[],
  body: (receiver: Receiver) => Promise<unknown>,
): Promise<void> {
  if (ONLY.length > 0 && !ONLY.includes(name)) return;
  for (const receiver of receivers) {
    log(`round ${round} of ${ROUNDS}: ${name}, ${receiver.name}`);
    current = receiver;
    await body(receiver);
  }
}

async function measure(): Promise<void> {
  const mlshim = new Mlshim(lab.dir);
  const birds = hasBird() ? [new BirdReceiver()] : [];
  const gobgps = GobgpReceiver.isInstalled ? [new GobgpReceiver(lab.dir)] : [];
  if (birds.length === 0) notes.push('not measured: BIRD (package bird2 is not installed)');
  if (gobgps.length === 0) notes.push('not measured: GoBGP (package gobgpd is not installed)');
  else notes.push('GoBGP loads one table in the first round only, and is asked for its counters every 4 s');
  notes.push(
    "sessions run over the host's sockets: what mlshim's own TCP and WireGuard would add is not measured here",
    "mlshim's memory and CPU time are those of its daemon without the WireGuard child",
  );
  const both = [mlshim, ...birds];
  for (const [i, t] of lab.tables.entries())
    notes.push(`table: ${t.count} IPv${i === 0 ? 4 : 6} prefixes in ${t.sets} attribute sets`);
  for (let round = 1; round <= ROUNDS; round++) {
    samples.add('replay to a reader that only counts octets', 's', await lab.replayer.alone(lab.load(0)));
    await scenario('load', round, both, (r) => fullTable(lab, r, samples));
    if (round === 1) await scenario('gobgp', round, gobgps, (r) => fullTable(lab, r, samples));
    if (birds.length > 0) await scenario('live', round, both, (r) => live(lab, r, samples));
    await scenario('four', round, both, (r) => fourSenders(lab, r, samples));
    await scenario('ten', round, both, (r) => tenSinks(lab, r, samples));
    const told = new Map<Receiver, Awaited<ReturnType<typeof flap>>>();
    await scenario('flap', round, both, async (r) => told.set(r, await flap(lab, r, samples)));
    const [ours, theirs] = [told.get(mlshim), birds[0] && told.get(birds[0])];
    if (ours !== undefined && theirs !== undefined) {
      const { prefixes, count, differences } = await lab.replayer.compare(ours, theirs);
      samples.add('best paths after the flap that differ from BIRD', '', count);
      samples.add('best paths after the flap that were compared', '', prefixes);
      if (count > 0) notes.push(`best paths differ, for example: ${differences.join(', ')}`);
    }
    await scenario('dn42', round, both, (r) => dn42(lab, r, samples));
    await scenario('traffic', round, [mlshim], () => traffic(lab, samples));
  }
}

function report(): BenchReport {
  const ratio = (a: string, b: string): number => samples.ratio(a, b);
  const all: Record<string, number> = {
    full_table_time_vs_bird: ratio('full table, mlshim', 'full table, BIRD'),
    full_table_time_vs_gobgp: ratio('full table, mlshim', 'full table, GoBGP'),
    full_table_cpu_vs_bird: ratio('full table, mlshim CPU', 'full table, BIRD CPU'),
    rss_vs_bird: ratio('full table, mlshim peak memory', 'full table, BIRD peak memory'),
    fed_by_bird_time_vs_bird: ratio('fed by BIRD, mlshim', 'fed by BIRD, BIRD'),
    four_senders_time_vs_bird: ratio('four senders, mlshim', 'four senders, BIRD'),
    four_senders_rss_vs_bird: ratio('four senders, mlshim peak memory', 'four senders, BIRD peak memory'),
    ten_peers_send_time_vs_bird: ratio('ten peers told, mlshim', 'ten peers told, BIRD'),
    flap_convergence_vs_bird: ratio('flap of 100,000, mlshim', 'flap of 100,000, BIRD'),
    withdraw_time_vs_load: ratio('withdraw all, mlshim', 'full table, mlshim'),
  };
  const measured = Object.entries(all).filter(([, value]) => Number.isFinite(value));
  return { results: samples.figures(), ratios: Object.fromEntries(measured), notes };
}

try {
  await measure();
  console.log(JSON.stringify(report()));
} finally {
  lab.close();
}
process.exit(0);
