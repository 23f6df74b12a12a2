/** Without a router nothing leaks to the host's network, and programs that use no INET socket notice nothing. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { LIBRARY, Programs, toolchains } from './programs.ts';

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
