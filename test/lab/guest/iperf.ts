/** What iperf3's JSON report says. */

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

/** How many streams left from each local address. */
export function localAddresses(json: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const { local_host } of read(json).start.connected) found.set(local_host, (found.get(local_host) ?? 0) + 1);
  return found;
}

/** A figure that something else on the machine can only make worse: measured until it is enough, or was tried often. */
export async function best(enough: number, measure: () => Promise<number>): Promise<number> {
  let found = 0;
  for (let tries = 0; tries < TRIES && found < enough; tries++) found = Math.max(found, await measure());
  return found;
}
