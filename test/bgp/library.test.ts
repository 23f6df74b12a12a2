/** `mlshim/bgp` as another project has it: the programs of docs/bgp-sessions.md are type-checked and run. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Addr } from '../../router/lib/addr.ts';
import { ended, until } from './kit/bird.ts';
import { freePort } from './kit/loopback.ts';
import { Node } from './kit/node.ts';
import { cacheResponse, endOfData, prefixPdu, serialNotify } from './kit/rtr.ts';

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

/** A program of the document, compiled in a project of its own. */
class Program {
  readonly project = mkdtempSync(join(tmpdir(), 'mlshim-library-'));
  readonly #runs: ChildProcess[] = [];

  /** @param n which of the document's programs, from 0 on */
  constructor(t: ExecutionContext, n: number) {
    t.teardown(async () => {
      for (const child of this.#runs) await ended(child, 'SIGKILL');
      rmSync(this.project, { recursive: true, force: true });
    });
    const text = [...readFileSync(DOCUMENT, 'utf8').matchAll(/^```ts\n([\s\S]*?)^```/gm)][n]![1]!;
    mkdirSync(join(this.project, 'node_modules/@types'), { recursive: true });
    symlinkSync(ROOT, join(this.project, 'node_modules/mlshim'));
    symlinkSync(join(ROOT, 'node_modules/@types/node'), join(this.project, 'node_modules/@types/node'));
    writeFileSync(join(this.project, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(this.project, 'tsconfig.json'), JSON.stringify(CONFIG));
    writeFileSync(join(this.project, 'program.ts'), text);
    const tsc = spawnSync(process.execPath, [TSC, '-p', this.project], { cwd: this.project, encoding: 'utf8' });
    t.is(tsc.status, 0, tsc.stdout);
  }

  run(...args: readonly string[]): { said: string; child: ChildProcess } {
    const child = spawn(process.execPath, [join(this.project, 'program.js'), ...args], { cwd: this.project });
    const running = { said: '', child };
    child.stdout.on('data', (b) => (running.said += String(b)));
    child.stderr.on('data', (b) => (running.said += String(b)));
    this.#runs.push(child);
    return running;
  }
}

/** Wait for what a program says; it may also end before it says it. */
async function says(running: { readonly said: string; readonly child: ChildProcess }, words: string): Promise<void> {
  await until(() => running.said.includes(words) || running.child.exitCode !== null, `"${words}"`);
}

test('the program of the documentation compiles, and exchanges routes', async (t) => {
  const port = await freePort();
  // The other side dials nobody: it waits at a loopback address for whoever is in the AS of the program.
  const peer = { name: 'program', address: Addr.parse('127.0.0.1')!, asn: 4242421080, passive: true } as const;
  const node = new Node({ port, local: '127.0.0.6', networks: ['172.20.230.0/27'], peers: [peer] });
  t.teardown(() => node.stop());
  const program = new Program(t, 0);
  await node.start();
  const running = program.run('127.0.0.6', String(port));
  await until(() => node.fib.size === 1 || running.child.exitCode !== null, 'the route of the program');
  t.deepEqual(Object.fromEntries(node.fib), { '172.20.229.0/27': '192.0.2.1' }, running.said);
  await says(running, '\n');
  t.is(running.said, '+ 172.20.230.0/27 via 10.9.9.1\n');
});

test('the program of the documentation validates a route by a file and an RTR cache', async (t) => {
  const connected: Socket[] = [];
  const server = createServer((socket) => connected.push(socket));
  t.teardown(() => {
    for (const socket of connected) socket.destroy();
    server.close();
  });
  const port = await freePort();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const program = new Program(t, 1);
  writeFileSync(join(program.project, 'roas'), 'route 172.20.0.0/24 max 24 as 4242420002;\n');
  const running = program.run('127.0.0.1', String(port), 'roas', '172.20.0.0/24', '4242420001');
  await says(running, '1 prefixes changed: 172.20.0.0/24 of AS4242420001 is invalid\n');
  await until(() => connected.length === 1, 'the program at the cache');
  const [cache] = connected as [Socket];
  const asked = (octets: number): Promise<unknown> => until(() => cache.bytesRead >= octets, `${octets} octets`);
  cache.resume();
  await asked(8);
  cache.write(Buffer.concat([cacheResponse(1, 7), prefixPdu(1, '172.20.0.0/24-24 AS4242420001'), endOfData(1, 7, 1)]));
  await says(running, '1 prefixes changed: 172.20.0.0/24 of AS4242420001 is valid\n');
  cache.write(serialNotify(1, 7, 2));
  await asked(8 + 12);
  const withdrawn = prefixPdu(1, '-172.20.0.0/24-24 AS4242420001');
  cache.write(Buffer.concat([cacheResponse(1, 7), withdrawn, endOfData(1, 7, 2)]));
  const states = (): string[] => [...running.said.matchAll(/is (\w+)\n/g)].map((m) => m[1]!);
  await until(() => states().length === 3 || running.child.exitCode !== null, 'the withdrawal');
  t.deepEqual(states(), ['invalid', 'valid', 'invalid'], running.said);
});

test('two of the BFD program of the documentation find each other, and one notices that the other is gone', async (t) => {
  const program = new Program(t, 2);
  const port = String(await freePort());
  const [a, b] = [program.run('127.0.0.1', '127.0.0.7', port), program.run('127.0.0.7', '127.0.0.1', port)];
  for (const running of [a, b]) await says(running, '-> Up\n');
  t.regex(a.said, /^neighbour: Down -> (Init\nneighbour: Init -> )?Up\n/);
  await ended(b.child, 'SIGKILL');
  await until(() => a.said.endsWith('neighbour: Up -> Down\n'), 'the end of the session');
  t.is(a.child.exitCode, null);
});
