/**
 * `mlshim run -- APP`: an application under the shim, with a private router when none is named by the environment.
 * Exit status is the application's; 125, 126 and 127 are ours, as env(1) has them.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync, statSync } from 'node:fs';
import { constants as osConstants, tmpdir } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { isatty } from 'node:tty';
import { fileURLToPath } from 'node:url';
import { ask } from '../control/client.ts';
import { pathsIn, socketPaths } from '../control/paths.ts';
import { MlshimError } from '../lib/errors.ts';
import type { Input } from './command.ts';
import { type RunningDaemon, startDaemon } from './daemon-process.ts';
import { BYPASS, unreachable } from './elf.ts';
import { levelOption, reportError } from './report.ts';

/** Exit statuses of env(1), nohup(1) and docker run. */
const OWN_FAILURE = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** Signals passed on to the application; a terminal sends INT and QUIT to it by itself. */
const FORWARDED: readonly NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'];
const TERMINAL_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGQUIT'];

export const SHIM_LIBRARY = fileURLToPath(new URL('../../shim/libmlshim.so', import.meta.url));

export async function run(input: Input): Promise<number> {
  const app = input.rest ?? input.args;
  if (app.length === 0) throw new MlshimError('USAGE', 'no application given: mlshim run [-c FILE] -- APP ARGS...');
  let daemon: RunningDaemon | undefined;
  let folder: string | undefined;
  const early = new EarlySignals();
  try {
    const path = checkApp(app[0]!, input.io.env);
    let router = await runningRouter(input);
    if (router === undefined) {
      folder = mkdtempSync(join(tmpdir(), 'mlshim-'));
      daemon = await startDaemon(
        {
          config: input.options['config'] as string | undefined,
          folder,
          isTied: true,
          isFolderTemporary: true,
          logLevel: levelOption(input, 'warn'),
          logFormat: input.options['log-format'] === 'json' ? 'json' : 'text',
          loopback: loopbackOption(input),
        },
        undefined,
      );
      router = daemon;
    }
    const signal = early.release();
    if (signal !== undefined) return 128 + osConstants.signals[signal];
    const group = input.options['group'] as string | undefined;
    const chosen = router.backend === 'kernel' ? await kernelEnv(router, group) : shimEnv(input, router, app[0]!, path);
    const env: NodeJS.ProcessEnv = { ...input.io.env, ...chosen };
    // Asked for each time: what a routing daemon starts may be anything.
    if (input.options['routing-daemon'] === true) env['MLSHIM_ROUTING'] = '1';
    else delete env['MLSHIM_ROUTING'];
    if (group !== undefined) env['MLSHIM_GROUP'] = group;
    return await runApp(app, env);
  } catch (e) {
    if (e instanceof NotRunnable) {
      input.io.err(`mlshim: ${e.message}\n`);
      return e.status;
    }
    const status = reportError(input.io, e);
    return status === 78 || status === 2 ? status : OWN_FAILURE;
  } finally {
    early.release();
    if (daemon !== undefined) {
      daemon.lifeline.end();
      await daemon.ended;
    }
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  }
}

/** The router that serves an application. */
type Router = Pick<RunningDaemon, 'backend' | 'shim' | 'control'>;

/** The kernel reaches every program: all there is to do is to be of the group. What we start inherits our cgroup. */
async function kernelEnv({ control }: Router, group: string | undefined): Promise<NodeJS.ProcessEnv> {
  if (group !== undefined) await ask(control, 'join_group', { group });
  return { MLSHIM_SOCKET: pathsIn(dirname(control)).shim };
}

function shimEnv(input: Input, { shim }: Router, name: string, path: string): NodeJS.ProcessEnv {
  const library = input.io.env['MLSHIM_LIBRARY'] ?? SHIM_LIBRARY;
  if (!isFile(library))
    throw new MlshimError('INTERNAL', `the shim ${library} does not exist; npm run build builds it`);
  const warning = reachWarning(name, path);
  if (warning !== undefined) input.io.err(warning);
  return { MLSHIM_SOCKET: shim, LD_PRELOAD: preload(library, input.io.env) };
}

/** A signal while the router starts must not leave it behind: it is kept until there is something to take down. */
class EarlySignals {
  #got: NodeJS.Signals | undefined;
  readonly #keep = (signal: NodeJS.Signals): void => {
    this.#got ??= signal;
  };

  constructor() {
    for (const s of [...FORWARDED, ...TERMINAL_SIGNALS]) process.on(s, this.#keep);
  }

  release(): NodeJS.Signals | undefined {
    for (const s of [...FORWARDED, ...TERMINAL_SIGNALS]) process.off(s, this.#keep);
    return this.#got;
  }
}

export class NotRunnable extends Error {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Without -c, a daemon that already serves this environment is used. */
async function runningRouter(input: Input): Promise<Router | undefined> {
  if (input.options['config'] !== undefined) return undefined;
  const { control } = socketPaths(input.io.env);
  try {
    const { backend, shim_socket: shim } = await ask(control, 'status', {});
    return { control, shim, backend: backend === 'kernel' ? 'kernel' : 'userspace' };
  } catch {
    return undefined;
  }
}

export function loopbackOption(input: Input): 'kernel' | 'stack' | undefined {
  const value = input.options['loopback'];
  if (value === undefined || value === 'kernel' || value === 'stack') return value;
  throw new MlshimError('USAGE', `--loopback is kernel or stack, not "${String(value)}"`);
}

function preload(library: string, env: NodeJS.ProcessEnv): string {
  const before = env['LD_PRELOAD'];
  return before === undefined || before === '' ? library : `${library}:${before}`;
}

/** A folder of the path that may not be entered holds nothing for us, as for execvp(3). */
function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** The one case in which traffic would leave by the host's network without anybody being told. */
function reachWarning(name: string, path: string): string | undefined {
  const why = unreachable(path);
  return (
    why && `mlshim: warning: ${name} ${BYPASS[why]}: a preload library cannot reach it, it uses the host's network\n`
  );
}

/** Tell 126 from 127 before a router is started for nothing. @returns the file that will be executed */
export function checkApp(name: string, env: NodeJS.ProcessEnv): string {
  const places = name.includes('/') ? [resolve(name)] : (env['PATH'] ?? '').split(delimiter).map((d) => join(d, name));
  const found = places.filter(isFile);
  if (found.length === 0) throw new NotRunnable(`${name}: command not found`, NOT_FOUND);
  for (const path of found) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // The next one of the path may be executable, as in execvp(3).
    }
  }
  throw new NotRunnable(`${name}: permission denied`, NOT_EXECUTABLE);
}

function runApp(app: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(app[0]!, app.slice(1), { stdio: 'inherit', env });
    // Not process.stdin.isTTY: Node would set O_NONBLOCK on what the application reads.
    const onTerminal = [0, 1, 2].some((fd) => isatty(fd));
    const forward = (signal: NodeJS.Signals): void => {
      child.kill(signal);
    };
    const ignore = (): void => undefined;
    for (const s of FORWARDED) process.on(s, forward);
    for (const s of TERMINAL_SIGNALS) process.on(s, onTerminal ? ignore : forward);
    const release = (): void => {
      for (const s of FORWARDED) process.off(s, forward);
      for (const s of TERMINAL_SIGNALS) process.off(s, onTerminal ? ignore : forward);
    };
    child.once('error', (e: NodeJS.ErrnoException) => {
      release();
      reject(new NotRunnable(`${app[0]}: ${e.code === 'EACCES' ? 'permission denied' : e.message}`, NOT_EXECUTABLE));
    });
    child.once('exit', (code, signal) => {
      release();
      resolve(code ?? 128 + (osConstants.signals[signal!] ?? 0));
    });
  });
}
