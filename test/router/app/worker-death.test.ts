/**
 * The data plane worker takes the daemon with it: status non-zero, and no application hangs. A routing worker is followed
 * by another one, and applications notice nothing, unless it ends again and again.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Status } from '../../../router/control/messages.ts';
import { until } from '../../bgp/kit/bird.ts';
import { CLI, exited, Pair, printed } from './pair.ts';

const PRELOAD = new URL('../../kit/kill-worker.js', import.meta.url).href;

/** Blocks in one call on a socket of the given kind and prints how it ended. */
const BLOCKED = (kind: 'recv' | 'accept' | 'udp' | 'poll', address: string, port: number): string => `
import errno, select, socket
stream = ${kind === 'udp' ? 'False' : 'True'}
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM)
try:
  if '${kind}' == 'accept':
    s.bind(('', ${port})); s.listen(); print('waiting', flush=True); s.accept()
  else:
    s.connect(('${address}', ${port})); print('waiting', flush=True)
    if '${kind}' == 'poll':
      p = select.poll(); p.register(s, select.POLLIN); p.poll()
    print('got', s.recv(100))
except OSError as e:
  print(errno.errorcode[e.errno])
`;

/** Takes a connection and says nothing. */
const SILENT = (address: string, port: number): string =>
  `require('net').createServer((c) => c.on('error', () => 0)).listen(${port}, '${address}', () => console.log('listening'))`;

interface Running {
  readonly pair: Pair;
  readonly daemon: ChildProcess;
  readonly pid: number;
  /** Resolves when the log has matched so often. */
  readonly logged: (pattern: RegExp, times: number) => Promise<unknown>;
  /** Each application's last words. */
  readonly ends: Promise<string[][]>;
  readonly apps: readonly ChildProcess[];
}

/** A router whose worker SIGUSR2 ends, and applications that wait in a call. */
async function running(t: ExecutionContext, worker: string): Promise<Running> {
  const pair = await Pair.make();
  t.teardown(() => pair.clear());
  t.is(pair.far.cli('up', '-c', 'mlshim.yaml').status, 0);
  const server = pair.far.start('run', '--', process.execPath, '-e', SILENT(pair.far.address, 7001));
  await printed(server, /listening/);
  t.teardown(async () => {
    server.kill('SIGTERM');
    await exited(server);
  });
  const daemon = spawn(process.execPath, [CLI, 'up', '-f', '-c', 'mlshim.yaml'], {
    env: { ...pair.near.env, NODE_OPTIONS: `--import ${PRELOAD}`, MLSHIM_TEST_WORKER: worker },
    cwd: pair.near.dir,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  const looking = new Set<() => void>();
  for (const stream of [daemon.stdout, daemon.stderr])
    stream.on('data', (part: Buffer) => {
      log += part.toString();
      for (const look of looking) look();
    });
  const logged = (pattern: RegExp, times: number): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        if ((log.match(new RegExp(pattern, 'g')) ?? []).length < times) return;
        looking.delete(look);
        resolve();
      };
      looking.add(look);
      daemon.once('close', () => reject(new Error(`it ended and printed only: ${log}`)));
      look();
    });
  await logged(/ready/, 1);
  const { pid } = pair.near.json<Status>('status');
  const kinds = ['recv', 'poll', 'accept', 'udp'] as const;
  const apps = kinds.map((kind) =>
    pair.near.start('run', '--', 'python3', '-c', BLOCKED(kind, pair.far.address, 7001)),
  );
  await Promise.all(apps.map((a) => printed(a, /waiting/)));
  const ends = Promise.all(apps.map(async (a, i) => [kinds[i]!, (await printed(a, /\n/)).trim()]));
  return { pair, daemon, pid, logged, ends, apps };
}

async function endsOfAll({ pair, daemon, ends }: Running, t: ExecutionContext): Promise<void> {
  t.is(await exited(daemon), 1);
  t.deepEqual(await ends, [
    ['recv', 'ECONNRESET'],
    ['poll', 'ECONNRESET'],
    ['accept', 'ECONNRESET'],
    ['udp', 'ENETDOWN'],
  ]);
  for (const name of ['control', 'shim']) t.false(existsSync(join(pair.near.dir, 'mlshim', name)), name);
  t.is(pair.near.cli('status').status, 3);
}

test.serial('the data plane worker dies: the daemon ends with status 1 and no application hangs', async (t) => {
  const r = await running(t, 'dataplane.js');
  const log = r.logged(/worker ended/, 1);
  process.kill(r.pid, 'SIGUSR2');
  await log;
  await endsOfAll(r, t);
});

test.serial(
  'the routing worker dies: another one takes over, and three times within a minute end the daemon',
  async (t) => {
    const r = await running(t, 'routing-worker.js');
    const { near } = r.pair;
    const openFds = (): number => readdirSync(`/proc/${r.pid}/fd`).length;
    const routes = near.cli('route', 'show').stdout;
    const before = openFds();
    for (const times of [1, 2]) {
      const back = r.logged(/packets go by the new routes/, times);
      process.kill(r.pid, 'SIGUSR2');
      await back;
      t.is(near.cli('route', 'show').stdout, routes);
      const { problems } = near.json<Status>('status');
      t.regex(problems.find((p) => p.code === 'C103')?.text ?? '', /ended \d+ s ago: another one took its place/);
      t.deepEqual(
        r.apps.map((a) => a.exitCode),
        [null, null, null, null],
      );
      // What the last commands used may be closing still.
      await until(() => openFds() <= before, `no more than ${before} descriptors`);
    }
    // New connections go by the new worker's table.
    const late = near.start('run', '--', 'python3', '-c', BLOCKED('recv', r.pair.far.address, 7001));
    await printed(late, /waiting/);
    const last = printed(late, /E\w+\n/);
    process.kill(r.pid, 'SIGUSR2');
    await endsOfAll(r, t);
    t.regex(await last, /ECONNRESET/);
  },
);
