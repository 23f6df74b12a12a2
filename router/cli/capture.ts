/** `mlshim capture`: pcapng from the daemon into a file or a pipe. */

import { stream } from '../control/client.ts';
import { socketPaths } from '../control/paths.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { OctetsOut } from './octets-out.ts';

/** tcpdump's default: more than any packet. */
const SNAP_LENGTH = 262144;

export async function captureCommand(input: Input): Promise<number> {
  const target = (input.options['write'] as string | undefined) ?? '-';
  if (target === '-' && input.io.isTty)
    throw new MlshimError('USAGE', 'pcapng is not for terminals: use -w FILE, or pipe it into tcpdump -r -');
  const snapLength = Number(input.options['snaplen'] ?? SNAP_LENGTH);
  if (!Number.isInteger(snapLength) || snapLength < 64)
    throw new MlshimError('USAGE', 'the snap length is a number of octets, at least 64');
  const out = new OctetsOut(target);
  const stop = new AbortController();
  const abort = (): void => stop.abort();
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  out.onError(abort);
  const args = { uplink: (input.options['uplink'] as string | undefined) ?? '', snap_length: snapLength };
  const { control } = socketPaths(input.io.env);
  for await (const { pcapng } of stream(control, 'capture', args, stop.signal)) await out.write(pcapng);
  await out.end();
  if (target !== '-') input.io.err(`${out.count} octets written to ${target}\n`);
  return 0;
}
