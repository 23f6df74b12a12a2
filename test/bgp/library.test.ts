/** `mlshim/bgp` as another project has it: the program of docs/bgp-sessions.md is type-checked and run against a speaker. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Addr } from '../../router/lib/addr.ts';
import { ended, until } from './kit/bird.ts';
import { freePort } from './kit/loopback.ts';
import { Node } from './kit/node.ts';

const ROOT = join(import.meta.dirname, '../../..');
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');
const DOCUMENT = join(ROOT, 'docs/bgp-sessions.md');

const CONFIG = {
  compilerOptions: {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noPropertyAccessFromIndexSignature: true,
    types: ['node'],
    skipLibCheck: false,
  },
  files: ['program.ts'],
};

test('the program of the documentation compiles, and exchanges routes', async (t) => {
  const project = mkdtempSync(join(tmpdir(), 'mlshim-library-'));
  const port = await freePort();
  // The other side dials nobody: it waits at a loopback address for whoever is in the AS of the program.
  const peer = { name: 'program', address: Addr.parse('127.0.0.1')!, asn: 4242421080, passive: true } as const;
  const node = new Node({ port, local: '127.0.0.6', networks: ['172.20.230.0/27'], peers: [peer] });
  let child: ChildProcess | undefined;
  t.teardown(async () => {
    await ended(child, 'SIGKILL');
    await node.stop();
    rmSync(project, { recursive: true, force: true });
  });
  const program = /^```ts\n([\s\S]*?)^```/m.exec(readFileSync(DOCUMENT, 'utf8'))![1]!;
  mkdirSync(join(project, 'node_modules/@types'), { recursive: true });
  symlinkSync(ROOT, join(project, 'node_modules/mlshim'));
  symlinkSync(join(ROOT, 'node_modules/@types/node'), join(project, 'node_modules/@types/node'));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(CONFIG));
  writeFileSync(join(project, 'program.ts'), program);
  const { status, stdout } = spawnSync(process.execPath, [TSC, '-p', project], { cwd: project, encoding: 'utf8' });
  t.is(status, 0, stdout);

  await node.start();
  let said = '';
  child = spawn(process.execPath, [join(project, 'program.js'), '127.0.0.6', String(port)], { cwd: project });
  child.stdout!.on('data', (b) => (said += String(b)));
  child.stderr!.on('data', (b) => (said += String(b)));
  const isOver = (): boolean => child!.exitCode !== null;
  await until(() => node.fib.size === 1 || isOver(), 'the route of the program');
  t.deepEqual(Object.fromEntries(node.fib), { '172.20.229.0/27': '192.0.2.1' }, said);
  await until(() => said.includes('\n') || isOver(), 'our route in the program');
  t.is(said, '+ 172.20.230.0/27 via 10.9.9.1\n');
});
