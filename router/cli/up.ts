/** `mlshim up`: a daemon in the background (or, for service managers, in the foreground). */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../control/client.ts';
import { socketPaths } from '../control/paths.ts';
import { systemClock } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { startDaemon } from './daemon-process.ts';
import { durationMs } from './duration.ts';
import { levelOption } from './report.ts';
import { loopbackOption } from './run.ts';

const POLL_MS = 50;

export async function up(input: Input): Promise<number> {
  const paths = socketPaths(input.io.env);
  const wait = input.options['wait'] as string | undefined; // `--wait` alone waits 30 s
  const waitMs = wait === undefined ? undefined : durationMs('--wait', wait);
  mkdirSync(paths.folder, { recursive: true, mode: 0o700 });
  const foreground = input.options['foreground'] === true;
  const log = (input.options['log'] as string | undefined) ?? join(paths.folder, 'log');
  const daemon = await startDaemon(
    {
      config: input.options['config'] as string | undefined,
      folder: paths.folder,
      isTied: foreground,
      isFolderTemporary: false,
      logLevel: levelOption(input, 'info'),
      logFormat: input.options['log-format'] === 'json' ? 'json' : 'text',
      loopback: loopbackOption(input),
    },
    foreground ? undefined : log,
  );
  const release = (): void => {
    daemon.lifeline.destroy();
    daemon.process.unref();
  };
  try {
    if (waitMs !== undefined) await waitForUplinks(input, paths.control, waitMs);
  } catch (e) {
    // In the background it goes on trying; in the foreground it ends with the command.
    release();
    if (foreground) await daemon.ended;
    throw e;
  }
  if (foreground) {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => daemon.process.kill(signal));
    return daemon.status();
  }
  input.io.out(`mlshim is up, pid ${daemon.process.pid}, log ${log}\n`);
  if (daemon.backendReason !== '') input.io.out(`user-space backend: ${daemon.backendReason}\n`);
  release();
  return 0;
}

/** One line per uplink when it has come up. */
async function waitForUplinks(input: Input, control: string, waitMs: number): Promise<void> {
  const announced = new Set<string>();
  const limit = systemClock.now() + waitMs;
  for (;;) {
    const status = await ask(control, 'status', {});
    for (const u of status.uplinks) {
      if (u.state !== 'up' || announced.has(u.name)) continue;
      announced.add(u.name);
      input.io.err(`uplink ${u.name} is up\n`);
    }
    const missing = status.uplinks.filter((u) => !announced.has(u.name)).map((u) => u.name);
    if (missing.length === 0) return;
    if (systemClock.now() > limit)
      throw new MlshimError('TIMEOUT', `not up after ${waitMs / 1000} s: ${missing.join(', ')}`);
    await sleep(POLL_MS);
  }
}
