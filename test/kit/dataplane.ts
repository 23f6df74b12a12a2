/**
 * A data-plane worker alone, with 127.0.0.0/8 and ::1 in its stack: what tests of the shim and of shimlink run against.
 * Run as a program it prints the socket's path and serves until its standard input ends:
 *   node build/test/kit/dataplane.js   then   MLSHIM_SOCKET=path LD_PRELOAD=build/shim/libmlshim.so app
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { DataplaneClient } from '../../router/app/dataplane-client.ts';
import type { DataplaneBoot, DataplaneSettings, FromDataplane } from '../../router/app/dataplane-protocol.ts';
import { FibWriter } from '../../router/fib/writer.ts';
import { posted } from '../../router/lib/post.ts';
import { World } from '../../router/lib/world.ts';
import { loadNative, type Native, SOCK_SEQPACKET } from '../../router/native/index.ts';

const MIB = 1 << 20;
const ARENA_AT = 1 * MIB;
/** Sessions of this process: their sockets' names are shared by all that runs on the machine. */
let lastSession = process.pid << 8;

export interface DataplaneUnderTest {
  /** Path of the request socket, for MLSHIM_SOCKET. */
  readonly socket: string;
  readonly session: number;
  readonly client: DataplaneClient;
  readonly worker: Worker;
  readonly fib: FibWriter;
  readonly world: World;
  readonly native: Native;
  /** What the worker logged, and how it ended. */
  readonly logs: string[];
  readonly exitCode: Promise<number>;
  /** Environment for a program under the shim. */
  readonly env: NodeJS.ProcessEnv;
  stop(): Promise<void>;
}

export interface DataplaneOptions {
  readonly settings?: Partial<DataplaneSettings>;
  readonly onEvent?: (event: FromDataplane) => void;
}

export async function startDataplane(options: DataplaneOptions = {}): Promise<DataplaneUnderTest> {
  const native = loadNative();
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-'));
  const socket = join(folder, 'shim');
  const settings: DataplaneSettings = {
    bufferBytes: 64 * MIB,
    loopback: 'stack',
    dns: { servers: [], search: [] },
    hostNameServers: [],
    source: { v4: undefined, v6: undefined },
    policy: posted({ rules: [], groups: [], uplinks: [] }),
    ...options.settings,
  };
  const world = new World(ARENA_AT + settings.bufferBytes + 64 * MIB);
  native.attachWorld(world.u8);
  const session = ++lastSession;
  const wakeFd = native.eventfd();
  // Also when a test fails before it could stop the worker.
  const release = (): void => {
    process.off('exit', release);
    rmSync(folder, { recursive: true, force: true });
  };
  process.on('exit', release);
  const shimFd = native.unixListen(socket, SOCK_SEQPACKET, 512);
  if (shimFd < 0) throw new Error(`listen on ${socket}: errno ${-shimFd}`);
  const fib = new FibWriter();
  const boot: DataplaneBoot = {
    memory: world.memory,
    arenaAt: ARENA_AT,
    wakeFd,
    shimFd,
    session,
    fib: fib.shared,
    settings,
  };
  const worker = new Worker(new URL('../../router/app/dataplane.js', import.meta.url), { workerData: boot });
  const logs: string[] = [];
  const exitCode = new Promise<number>((resolve) => worker.once('exit', resolve));
  worker.on('error', (e) => logs.push(`worker: ${e.stack ?? e.message}`));
  const client = new DataplaneClient(worker, native, wakeFd, (event) => {
    if (event.kind === 'log') logs.push(`${event.level} ${event.component}: ${event.message}`);
    options.onEvent?.(event);
  });
  await Promise.race([
    client.ready,
    exitCode.then((code) => {
      throw new Error(`the worker ended with ${code}: ${logs.join('\n')}`);
    }),
  ]);
  const shim = process.env['MLSHIM_SHIM'] ?? fileURLToPath(new URL('../../shim/libmlshim.so', import.meta.url));
  return {
    socket,
    session,
    client,
    worker,
    fib,
    world,
    native,
    logs,
    exitCode,
    env: { ...process.env, MLSHIM_SOCKET: socket, LD_PRELOAD: shim },
    stop: async () => {
      client.send({ kind: 'stop' });
      await exitCode;
      native.close(shimFd);
      native.close(wakeFd);
      release();
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { socket, stop, logs, exitCode } = await startDataplane();
  process.stdout.write(`${socket}\n`);
  process.stdin.resume();
  process.stdin.once('end', () => void stop());
  process.exitCode = await exitCode;
  if (logs.length > 0) process.stderr.write(`${logs.join('\n')}\n`);
  process.exit();
}
