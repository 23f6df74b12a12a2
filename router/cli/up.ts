/** `mlshim up` and `down`: a daemon in the background (or, for service managers, in the foreground). */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ask } from '../control/client.ts';
import type { Answers } from '../control/messages.ts';
import { type SocketPaths, socketPaths } from '../control/paths.ts';
import { undoKernelBackend } from '../kernel/takedown.ts';
import { systemClock } from '../lib/clock.ts';
import { MlshimError } from '../lib/errors.ts';
import { type Logger, makeLogger } from '../lib/log.ts';
import type { Input } from './command.ts';
import { startDaemon } from './daemon-process.ts';
import { durationMs } from './duration.ts';
import { levelOption } from './report.ts';
import { loopbackOption } from './run.ts';

/** A stopping daemon drains for at most 25 s (README of router/app), and ends what hangs in some seconds more. */
const DOWN_WAIT_MS = 35_000;
const KILL_WAIT_MS = 5000;
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

export async function down(input: Input): Promise<number> {
  const paths = socketPaths(input.io.env);
  const keep = input.options['keep'] === true;
  const told = await tellDown(paths.control, keep);
  if (told === undefined) return undoLeftovers(input, paths, keep);
  const { pid, routing_hangs } = told;
  if (routing_hangs) input.io.err('the routing worker does not answer: it is stopped without a word to BGP peers\n');
  if (input.options['now'] === true) process.kill(pid, 'SIGTERM'); // the second order: do not drain
  if (await isGone(pid, DOWN_WAIT_MS)) return 0;
  input.io.err(`the daemon (pid ${pid}) is still there after ${DOWN_WAIT_MS / 1000} s: it is killed\n`);
  process.kill(pid, 'SIGKILL');
  if (!(await isGone(pid, KILL_WAIT_MS)))
    throw new MlshimError('TIMEOUT', `the daemon (pid ${pid}) cannot be killed: the kernel holds it`);
  if (!keep && existsSync(paths.folder)) await undoKernelBackend(paths.folder, downLog(input));
  return 0;
}

/** Order the daemon to stop; undefined when there is none. One that leaves meanwhile undoes what it has done itself. */
async function tellDown(control: string, keep: boolean): Promise<Answers['down'] | undefined> {
  try {
    return await ask(control, 'down', { keep });
  } catch (e) {
    if (e instanceof MlshimError && e.code === 'DAEMON_UNREACHABLE' && e.details['wasThere'] !== true) return undefined;
    throw e;
  }
}

async function isGone(pid: number, withinMs: number): Promise<boolean> {
  for (let left = withinMs; left > 0; left -= POLL_MS) {
    if (!isAlive(pid)) return true;
    await sleep(POLL_MS);
  }
  return false;
}

function downLog({ io }: Input): Logger {
  return makeLogger((line) => io.err(`${line.level} ${line.message}\n`), 'down', 'warn');
}

/** A router that was killed may have left the kernel backend in force. @throws MlshimError DAEMON_UNREACHABLE when there is nothing */
async function undoLeftovers(input: Input, { folder, control }: SocketPaths, keep: boolean): Promise<number> {
  const isUndone = !keep && existsSync(folder) && (await undoKernelBackend(folder, downLog(input)));
  if (!isUndone) throw new MlshimError('DAEMON_UNREACHABLE', `no daemon runs at ${control}`, { path: control });
  input.io.out('no daemon runs; what the last one had left in force was undone\n');
  return 0;
}

/** One that has ended and was not waited for by its parent is gone: in containers nobody may do so. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch (e) {
    return (e as NodeJS.ErrnoException).code === 'EPERM';
  }
}
