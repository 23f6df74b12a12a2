/**
 * The daemon's process: reads its orders, runs the `Daemon`, reports readiness over the lifeline, turns signals into
 * stops and the end into an exit status. Started by the command line only.
 */
import { fstatSync, rmSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { formatDiagnostics } from '../config/diagnostic.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/model.ts';
import { ERRORS, MlshimError } from '../lib/errors.ts';
import { formatLine, type Logger, makeLogger } from '../lib/log.ts';
import { type Choice, chooseBackend } from './backend.ts';
import { Daemon } from './daemon.ts';
import { KernelDaemon } from './kernel-daemon.ts';
import { endHanging } from './last-exit.ts';
import { type DaemonOrders, LIFELINE_FD, type LifelineMessage } from './lifeline.ts';

/** The command has ended: what still holds sockets are its stray children. */
const ORPHAN_DRAIN_MS = 5000;

const orders = JSON.parse(process.argv[2] ?? '') as DaemonOrders;

function stderrLogger(): Logger {
  const format = {
    json: orders.logFormat === 'json',
    time: process.env['JOURNAL_STREAM'] === undefined,
  };
  return makeLogger((line) => process.stderr.write(`${formatLine(line, format)}\n`), 'daemon', orders.logLevel);
}

/** Tell the starter; it may have gone, which is not our concern here. */
function tell(message: LifelineMessage): void {
  try {
    writeSync(LIFELINE_FD, `${JSON.stringify(message)}\n`);
  } catch {
    // The lifeline's close is noticed where it matters: `watchLifeline`.
  }
}

function hasLifeline(): boolean {
  try {
    return fstatSync(LIFELINE_FD).isSocket();
  } catch {
    return false;
  }
}

/** The starter listens: the descriptor is ours, and not another one of the same number. */
let isHeard = false;

function watchLifeline(onClose: () => void): void {
  isHeard = true;
  const socket = new Socket({ fd: LIFELINE_FD, readable: true, writable: false });
  socket.on('error', onClose);
  socket.on('close', () => {
    isHeard = false;
    onClose();
  });
  socket.resume();
  if (!orders.isTied) socket.unref();
}

/** With which status the process ends, should it not come to it by itself. */
function foretell(exit: number): void {
  if (isHeard) tell({ kind: 'ending', exit });
}

function endWith(exit: number): never {
  foretell(exit);
  endHanging(daemon, log);
  process.exit(exit);
}

function failed(e: unknown): LifelineMessage {
  if (e instanceof MlshimError) return { kind: 'failed', code: e.code, message: e.message, hint: e.hint, exit: e.exit };
  const message = e instanceof Error ? (e.stack ?? e.message) : String(e);
  return { kind: 'failed', code: 'INTERNAL', message, hint: ERRORS.INTERNAL.hint, exit: ERRORS.INTERNAL.exit };
}

function routerOf({ backend, reason }: Choice, config: Config, load: () => Promise<Config>): Daemon | KernelDaemon {
  if (backend === 'kernel') return new KernelDaemon(config, orders.folder, log, load);
  if (reason !== '') log.info('user-space backend', { why: reason });
  return new Daemon(config, orders.folder, log, load, reason);
}

const log = stderrLogger();
let daemon: Daemon | KernelDaemon | undefined;
let status: number;
const stop = (reason: string, drainMs?: number): void => {
  if (daemon === undefined) process.exit(0);
  if (daemon.isStopping) daemon.stopNow();
  else void daemon.stop(reason, drainMs);
};
process.on('SIGTERM', () => stop('terminated'));
process.on('SIGINT', () => stop('interrupted'));
// A terminal that closes is the end of a foreground daemon only; one in the background has no terminal.
process.on('SIGHUP', () => undefined);
// Who reads the log may go before the router does.
process.stderr.on('error', () => undefined);
process.on('uncaughtException', (e) => {
  log.error('internal error', { error: e.stack ?? e.message });
  const told = daemon?.fail() ?? Promise.resolve();
  void told.catch(() => undefined).finally(() => endWith(ERRORS.INTERNAL.exit));
});

try {
  const load = async (): Promise<Config> => {
    const { config, diagnostics } = await loadConfig(orders.config);
    if (diagnostics.length > 0) process.stderr.write(`${formatDiagnostics(diagnostics)}\n`);
    return orders.loopback === undefined ? config : { ...config, loopback: orders.loopback };
  };
  const config = await load();
  const choice = await chooseBackend(config, orders.isFolderTemporary);
  daemon = routerOf(choice, config, load);
  daemon.onOrdered = () => foretell(0);
  const { shim, control } = await daemon.start();
  log.info('ready', { pid: process.pid, shim, config: config.file, backend: choice.backend });
  if (hasLifeline()) {
    tell({ kind: 'ready', pid: process.pid, shim, control, ...choice });
    watchLifeline(() => {
      if (orders.isTied) stop('the command that started this router ended', ORPHAN_DRAIN_MS);
    });
  }
  status = await daemon.ended;
} catch (e) {
  if (hasLifeline()) tell(failed(e));
  else log.error(e instanceof Error ? e.message : String(e));
  await daemon?.abort();
  status = e instanceof MlshimError ? e.exit : ERRORS.INTERNAL.exit;
}
if (orders.isFolderTemporary) rmSync(orders.folder, { recursive: true, force: true });
endWith(status);
