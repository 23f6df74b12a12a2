/** `mlshim down`: orders the daemon to stop, waits for its end, and kills it as the last resort. */
import { existsSync } from 'node:fs';
import { ask, isServed } from '../control/client.ts';
import { type SocketPaths, socketPaths } from '../control/paths.ts';
import { undoKernelBackend } from '../kernel/takedown.ts';
import { MlshimError } from '../lib/errors.ts';
import { makeLogger } from '../lib/log.ts';
import type { Input } from './command.ts';
import { DaemonAt } from './daemon-at.ts';

/** A stopping daemon drains for at most 25 s (README of router/app), and ends what hangs in some seconds more. */
const DOWN_WAIT_MS = 35_000;
const KILL_WAIT_MS = 5000;

/** The daemon that was told to stop. */
interface Told {
  readonly daemon: DaemonAt;
  readonly routingHangs: boolean;
  /** Why it has not answered: as a rule it stops already, by another order. */
  readonly left?: MlshimError;
}

export async function down(input: Input): Promise<number> {
  const paths = socketPaths(input.io.env);
  const keep = input.options['keep'] === true;
  const { err } = input.io;
  const told = await tellDown(paths.control, keep);
  if (told === undefined) return undoLeftovers(input, paths, keep);
  const { daemon, routingHangs, left } = told;
  if (left !== undefined) {
    if (!(await daemon.isGone(KILL_WAIT_MS))) throw left;
    await undoBehind(input, paths, keep);
    return 0;
  }
  if (routingHangs) err('the routing worker does not answer: it is stopped without a word to BGP peers\n');
  // The second order: do not drain.
  if (input.options['now'] === true && !daemon.signal('SIGTERM') && daemon.pid === undefined)
    err('the daemon cannot be seen from here: --now is not passed on\n');
  if (await daemon.isGone(DOWN_WAIT_MS)) return 0;
  const after = `is still there after ${DOWN_WAIT_MS / 1000} s`;
  if (daemon.pid === undefined)
    throw new MlshimError('TIMEOUT', `the daemon ${after}, and cannot be seen from here (another PID namespace?)`);
  err(`the daemon (pid ${daemon.pid}) ${after}: it is killed\n`);
  daemon.signal('SIGKILL');
  if (!(await daemon.isGone(KILL_WAIT_MS)))
    throw new MlshimError('TIMEOUT', `the daemon (pid ${daemon.pid}) cannot be killed: the kernel holds it`);
  await undoBehind(input, paths, keep);
  return 0;
}

/** Undefined when there is no daemon. */
async function tellDown(control: string, keep: boolean): Promise<Told | undefined> {
  const met: DaemonAt[] = [];
  try {
    const answer = await ask(control, 'down', { keep }, (socket) => met.push(DaemonAt.servedOver(control, socket)));
    return { daemon: met[0]!, routingHangs: answer.routing_hangs };
  } catch (e) {
    if (!(e instanceof MlshimError) || e.code !== 'DAEMON_UNREACHABLE') throw e;
    return met[0] && { daemon: met[0], routingHangs: false, left: e };
  }
}

/** A router that was killed may have left the kernel backend in force. @returns whether something was undone */
async function undo({ io }: Input, { folder }: SocketPaths, keep: boolean): Promise<boolean> {
  const log = makeLogger((line) => io.err(`${line.level} ${line.message}\n`), 'down', 'warn');
  return !keep && existsSync(folder) && (await undoKernelBackend(folder, log));
}

/** What one that has gone could not undo itself, unless another one has taken it over. */
async function undoBehind(input: Input, paths: SocketPaths, keep: boolean): Promise<void> {
  if (!(await isServed(paths.control))) await undo(input, paths, keep);
}

/** @throws MlshimError DAEMON_UNREACHABLE when there is nothing */
async function undoLeftovers(input: Input, paths: SocketPaths, keep: boolean): Promise<number> {
  if (!(await undo(input, paths, keep)))
    throw new MlshimError('DAEMON_UNREACHABLE', `no daemon runs at ${paths.control}`, { path: paths.control });
  input.io.out('no daemon runs; what the last one had left in force was undone\n');
  return 0;
}
