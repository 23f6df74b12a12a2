/** iperf3 as an application: what its JSON report says of the rate, and of where its streams left. */
import type { LabProcess } from './lab.ts';
import type { Router } from './router.ts';

/** On a machine that is busy besides, an emulated processor misses a second now and then. */
const TRIES = 6;

interface Rate {
  readonly bits_per_second: number;
}

interface Report {
  readonly error?: string;
  readonly start: { readonly connected: readonly { readonly local_host: string }[] };
  readonly end: { readonly sum_received?: Rate; readonly sum?: Rate };
}

export interface Measured {
  readonly mbit: number;
  /** Streams by local address. */
  readonly streams: Readonly<Record<string, number>>;
}

function read(json: string): Report {
  const report = JSON.parse(json) as Report;
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  return report;
}

/** Mbit/s that arrived, all streams together. */
export function mbps(json: string): number {
  const { end } = read(json);
  const sum = end.sum_received ?? end.sum;
  if (sum === undefined) throw new Error(`iperf3 told no sum: ${json.slice(0, 400)}`);
  return sum.bits_per_second / 1e6;
}

/**
 * Run an iperf3 client as an application of a group, for four seconds unless its arguments say otherwise.
 * `isps` start the server for it.
 */
export async function iperf(
  { isps, router }: { readonly isps: { iperf(): Promise<LabProcess> }; readonly router: Router },
  group: string | undefined,
  ...args: readonly string[]
): Promise<Measured> {
  const server = await isps.iperf();
  const words = [...(group === undefined ? [] : ['--group', group]), '--', 'iperf3', '--json', '-t', '4', ...args];
  const { status, stdout, stderr } = await router.cli(['run', ...words]);
  await server.stop();
  if (status !== 0) throw new Error(`iperf3 ended with ${status}: ${stdout}${stderr}`);
  const streams: Record<string, number> = {};
  for (const { local_host } of read(stdout).start.connected) streams[local_host] = (streams[local_host] ?? 0) + 1;
  return { mbit: mbps(stdout), streams };
}

/** A figure that something else on the machine can only make worse: measured until it is enough, or was tried often. */
export async function best(enough: number, measure: () => Promise<number>): Promise<number> {
  let found = 0;
  for (let tries = 0; tries < TRIES && found < enough; tries++) found = Math.max(found, await measure());
  return found;
}
