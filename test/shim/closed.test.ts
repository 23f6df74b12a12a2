/** Without a router nothing leaks to the host's network, and programs that use no INET socket notice nothing. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import test from 'ava';
import type { DataplaneStats } from '../../router/app/dataplane-protocol.ts';
import { startDataplane } from '../kit/dataplane.ts';
import { LIBRARY, Programs, toolchains } from './programs.ts';

const NOBODY = 65534;

const programs = new Programs();
test.after.always(() => programs[Symbol.dispose]());

const run = (command: string, args: string[], env: Record<string, string> = {}) =>
  spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 20_000,
    env: { PATH: process.env['PATH']!, LD_PRELOAD: LIBRARY, ...env },
  });

test('without a router a socket is ENETDOWN, whatever says where it should be', (t) => {
  const path = programs.compile('closed', toolchains()[0]!);
  const places = [{}, { MLSHIM_SOCKET: '' }, { MLSHIM_SOCKET: join(programs.dir, 'nobody') }];
  for (const env of places) {
    const r = run(path, ['refused'], env);
    t.is(r.stdout.match(/^ok/gm)?.length ?? 0, 5, r.stdout);
    t.is(r.status, 0);
    t.is(r.stderr, '');
  }
});

const asRoot = process.getuid?.() === 0 ? test : test.skip;

asRoot(
  'the router answers nobody but its own user, even where the mode of its socket would let others in',
  async (t) => {
    const router = await startDataplane();
    const path = programs.compile('closed', toolchains()[0]!);
    const library = join(programs.dir, 'libmlshim.so');
    copyFileSync(LIBRARY, library);
    for (const [place, mode] of [
      [programs.dir, 0o755],
      [dirname(router.socket), 0o755],
      [router.socket, 0o666],
    ] as const)
      chmodSync(place, mode);
    const env = { LD_PRELOAD: library, MLSHIM_SOCKET: router.socket };
    const r = await new Promise<{ status: number | null; text: string }>((resolve) => {
      const child = spawn(path, ['refused'], { env, uid: NOBODY, gid: NOBODY, stdio: ['ignore', 'pipe', 'inherit'] });
      let text = '';
      child.stdout.on('data', (b: Buffer) => (text += b.toString()));
      child.on('close', (status) => resolve({ status, text }));
    });
    t.is(r.status, 0, r.text);
    const { result } = await router.client.request({ kind: 'stats' }).reply;
    const { counters } = result as DataplaneStats;
    t.is(counters['shim_refused'], 4, 'each request was refused by the router itself');
    t.is(counters['shim_requests'], 0);
    await router.stop();
  },
);

test('MLSHIM_FAIL=open gives the kernel its sockets back', (t) => {
  const path = programs.compile('closed', toolchains()[0]!);
  const r = run(path, ['open'], { MLSHIM_FAIL: 'open' });
  t.is(r.status, 0, r.stdout);
});

test('programs without INET sockets run as ever', (t) => {
  t.is(run('sh', ['-c', 'echo a | cat; ls / >/dev/null; echo $?']).stdout, 'a\n0\n');
  const path = programs.compile('closed', toolchains()[0]!);
  const r = run(path, ['local']);
  t.is(r.status, 0, r.stdout);
});
