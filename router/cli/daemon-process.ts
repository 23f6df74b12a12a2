/** Starts a daemon process and waits until it serves, or says why it does not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Socket } from 'node:net';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type DaemonOrders, LIFELINE_FD, type LifelineMessage } from '../app/lifeline.ts';
import { ERRORS, type ErrorCode, MlshimError } from '../lib/errors.ts';

const DAEMON = fileURLToPath(new URL('../app/mlshimd.js', import.meta.url));

/** How long what a daemon said last may be on its way after its end. */
const LAST_WORDS_MS = 1000;

/** What Node starts for V8's background work, whatever the number of processors. */
const MOST_HELPERS = 4;
const HELPERS = Math.max(1, Math.min(MOST_HELPERS, availableParallelism() - 1));
/**
 * V8's threads compile and collect garbage in the background, but take whole time slices of the scheduler's from the threads that
 * carry packets and routes where there are more of them than processors to spare: a turn of an event loop then waits 8 to 16 ms
 * (docs/decisions/0012).
 */
const NODE_FLAGS = [`--v8-pool-size=${HELPERS}`];

export interface RunningDaemon {
  readonly process: ChildProcess;
  readonly shim: string;
  readonly control: string;
  readonly backend: 'userspace' | 'kernel';
  /** Why it is not the kernel, where that was left to the router. */
  readonly backendReason: string;
  /** Closing it stops a tied daemon. */
  readonly lifeline: Socket;
  /** Resolves when the process has ended. */
  readonly ended: Promise<void>;
  /** Its exit status, when it has ended; what it said it would be where it was killed. */
  status(): Promise<number>;
}

type FirstMessage = Exclude<LifelineMessage, { readonly kind: 'ending' }>;

/** A failure that was already explained in full by the daemon. */
export class DaemonFailure extends MlshimError {
  readonly #hint: string;
  readonly #exit: number;

  constructor(m: Extract<LifelineMessage, { kind: 'failed' }>) {
    super(m.code in ERRORS ? (m.code as ErrorCode) : 'INTERNAL', m.message);
    this.#hint = m.hint;
    this.#exit = m.exit;
  }

  override get hint(): string {
    return this.#hint;
  }

  override get exit(): number {
    return this.#exit;
  }
}

/**
 * Start a daemon in a session of its own, so that a terminal's Ctrl-C reaches the application alone.
 * @param logFile where its stderr goes; undefined = ours
 * @throws MlshimError with the daemon's reason
 */
export async function startDaemon(orders: DaemonOrders, logFile: string | undefined): Promise<RunningDaemon> {
  const log = logFile === undefined ? 2 : openSync(logFile, 'a', 0o600);
  // --expose-gc and friends are not passed on: the daemon has flags of its own.
  const child = spawn(process.execPath, [...NODE_FLAGS, DAEMON, JSON.stringify(orders)], {
    stdio: ['ignore', 'ignore', log, 'pipe'],
    detached: true,
    env: { ...process.env, LD_PRELOAD: '' },
  });
  if (log !== 2) closeSync(log);
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lifeline = child.stdio[LIFELINE_FD] as Socket;
  lifeline.on('error', () => undefined); // a reset is an end; `ended` tells more
  const closed = new Promise<void>((resolve) => lifeline.once('close', () => resolve()));
  let told: number | undefined;
  const first = await firstMessage(lifeline, (exit) => {
    told = exit;
  });
  if (first?.kind === 'ready') {
    const { shim, control, backend, reason } = first;
    const status = async (): Promise<number> => {
      await ended;
      if (child.exitCode !== null) return child.exitCode;
      await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
      return told ?? 1;
    };
    return { process: child, shim, control, backend, backendReason: reason, lifeline, ended, status };
  }
  lifeline.destroy();
  await ended;
  if (first !== undefined) throw new DaemonFailure(first);
  const how = child.signalCode ?? `status ${child.exitCode}`;
  throw new MlshimError('INTERNAL', `the daemon ended (${how}) before it was ready`);
}

/** The first message but for `ending`, which is told to `onEnding` whenever it comes; undefined when there is none. */
function firstMessage(lifeline: Socket, onEnding: (exit: number) => void): Promise<FirstMessage | undefined> {
  let text = '';
  lifeline.setEncoding('utf8');
  return new Promise((resolve) => {
    lifeline.on('data', (part: string) => {
      const lines = (text + part).split('\n');
      text = lines.pop()!;
      for (const line of lines) {
        const m = JSON.parse(line) as LifelineMessage;
        if (m.kind === 'ending') onEnding(m.exit);
        else resolve(m);
      }
    });
    lifeline.once('close', () => resolve(undefined));
  });
}
