/** A worker that dies takes the daemon with it: status non-zero, and no application hangs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import type { Status } from '../../../router/control/messages.ts';
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

for (const worker of ['dataplane.js', 'routing-worker.js']) {
  test.serial(`${worker} dies: the daemon ends with status 1 and no application hangs`, async (t) => {
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
    const log = printed(daemon, /worker ended/);
    await printed(daemon, /ready/);
    const { pid } = pair.near.json<Status>('status');
    const app = (kind: Parameters<typeof BLOCKED>[0]): ChildProcess =>
      pair.near.start('run', '--', 'python3', '-c', BLOCKED(kind, pair.far.address, 7001));
    const kinds = ['recv', 'poll', 'accept', 'udp'] as const;
    const apps = kinds.map((kind) => [kind, app(kind)] as const);
    await Promise.all(apps.map(([, a]) => printed(a, /waiting/)));
    const ends = apps.map(async ([kind, a]) => [kind, (await printed(a, /\n/)).trim()]);
    process.kill(pid, 'SIGUSR2');
    t.is(await exited(daemon), 1);
    t.regex(await log, /worker ended/);
    t.deepEqual(await Promise.all(ends), [
      ['recv', 'ECONNRESET'],
      ['poll', 'ECONNRESET'],
      ['accept', 'ECONNRESET'],
      ['udp', 'ENETDOWN'],
    ]);
    for (const name of ['control', 'shim']) t.false(existsSync(join(pair.near.dir, 'mlshim', name)), name);
    t.is(pair.near.cli('status').status, 3);
  });
}
