/** `mlshim down`, whatever the routing worker does: a filter function waits for a pipe that nobody writes to. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { DaemonAt } from '../../../router/cli/daemon-at.ts';
import type { BgpPeers } from '../../../router/control/messages.ts';
import { until } from '../../bgp/kit/bird.ts';
import { birdFile, TABLE_ASN } from '../../bgp/kit/mrt.ts';
import { type Done, exited, printed, Side } from './pair.ts';

interface Stage {
  readonly side: Side;
  readonly pid: number;
}

/** The files of a router whose only peer is a file, read through `fromPeer` of a module with this text. */
function files(t: ExecutionContext, module: (folder: string) => string): Side {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-down-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'f.mjs'), module(folder));
  birdFile(folder);
  writeFileSync(
    join(folder, 'mlshim.yaml'),
    `backend: userspace
uplinks: { lan: { kernel: { interface: none0 } } }
bgp:
  asn: 65001
  router_id: 10.0.0.2
  filters: ./f.mjs
  peers:
    - { name: x, asn: ${TABLE_ASN}, address: 127.0.0.2, mrt: bird.mrt, import: { module: fromPeer }, export: none }
`,
  );
  return new Side(folder, '127.0.0.1');
}

/** Run a command to its end, while the other tests go on. */
async function run(side: Side, ...args: string[]): Promise<Done> {
  const child = side.start(...args);
  const said = { stdout: '', stderr: '' };
  child.stdout!.on('data', (part: Buffer) => {
    said.stdout += part.toString();
  });
  child.stderr!.on('data', (part: Buffer) => {
    said.stderr += part.toString();
  });
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, ...said })));
}

async function begin(t: ExecutionContext, module: (folder: string) => string): Promise<Stage> {
  const side = files(t, module);
  const up = await run(side, 'up', '-c', 'mlshim.yaml');
  const pid = Number(/pid (\d+)/.exec(up.stdout)?.[1]);
  t.teardown(() => killed(pid));
  t.is(up.status, 0, up.stderr);
  return { side, pid };
}

/** As a service manager starts it. */
async function beginInForeground(
  t: ExecutionContext,
  module: (folder: string) => string,
): Promise<Stage & { readonly up: ChildProcess }> {
  const side = files(t, module);
  const up = side.start('up', '--foreground', '-c', 'mlshim.yaml');
  const pid = Number(/ready pid=(\d+)/.exec(await printed(up, /ready pid=\d+/))?.[1]);
  t.teardown(() => killed(pid));
  return { side, pid, up };
}

function killed(pid: number): void {
  if (pid > 0 && isThere(pid)) process.kill(pid, 'SIGKILL');
}

/** A filter function that waits for a pipe nobody writes to. */
function waiting(folder: string): string {
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  return `import { readFileSync, writeFileSync } from 'node:fs';
export const fromPeer = (r) => {
  writeFileSync('${folder}/asked', '');
  readFileSync('${folder}/pipe');
  return r;
};\n`;
}

const asked = (side: Side): Promise<void> => until(() => existsSync(join(side.dir, 'asked')), 'the question');

function isThere(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

test('a router whose routing worker hangs is stopped all the same, and down says what was left out', async (t) => {
  const { side, pid } = await begin(t, waiting);
  await asked(side);
  const { status, stderr } = await run(side, 'down');
  t.is(status, 0, stderr);
  t.regex(stderr, /routing worker does not answer/);
  t.false(isThere(pid));
  t.is((await run(side, 'status')).status, 3, 'nobody is left');
});

test('a service manager is told that a router which had to be killed ended as it was ordered to', async (t) => {
  const { side, pid, up } = await beginInForeground(t, waiting);
  await asked(side);
  const ended = exited(up);
  t.is((await run(side, 'down')).status, 0);
  t.is(await ended, 0);
  t.false(isThere(pid));
});

for (const [isOrdered, exit] of [
  [true, 0],
  [false, 1],
] as const) {
  test(`a router that is killed ${isOrdered ? 'while it stops' : 'without an order'} ends with ${exit}`, async (t) => {
    const { side, pid, up } = await beginInForeground(t, waiting);
    await asked(side);
    const ended = exited(up);
    if (isOrdered) {
      const stopping = printed(up, /stopping/);
      process.kill(pid, 'SIGTERM');
      await stopping;
    }
    process.kill(pid, 'SIGKILL');
    t.is(await ended, exit);
  });
}

test('a router that works is stopped without a word', async (t) => {
  const { side, pid } = await begin(t, () => 'export const fromPeer = (r) => r;\n');
  await until(
    async () => (JSON.parse((await run(side, 'bgp', '--json')).stdout) as BgpPeers).peers[0]!.accepted > 0,
    'routes',
  );
  const { status, stdout, stderr } = await run(side, 'down');
  t.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
  t.false(isThere(pid));
});

for (const [when, leave] of [
  ['before it has answered', (socket) => socket.once('data', () => socket.destroy())],
  ['before it has read', (socket) => socket.destroy()],
] satisfies (readonly [string, (socket: Socket) => void])[]) {
  test(`a daemon that leaves ${when} is not taken for one that was killed`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'mlshim-down-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    mkdirSync(join(folder, 'mlshim'));
    const leaving = createServer({ pauseOnConnect: when === 'before it has read' }, leave);
    await new Promise<void>((resolve) => {
      leaving.listen(join(folder, 'mlshim', 'control'), resolve);
    });
    t.teardown(() => leaving.close());
    const down = new Side(folder, '127.0.0.1').start('down');
    t.regex(await printed(down, /hint/), /^mlshim: the daemon closed the connection without an answer/);
    t.is(await exited(down), 3);
  });
}

/** A daemon that says of itself what it likes, and does what it is told on its standard input. */
const FAKE = `
import { createServer } from 'node:net';
import { decodeRequest, encodeResponse, FrameReader } from '${join(import.meta.dirname, '../../../router/control/codec.js')}';
const [path, pid] = process.argv.slice(2);
const server = createServer((socket) => {
  const reader = new FrameReader();
  socket.on('data', (octets) => {
    for (const body of reader.push(octets)) {
      const { id, verb } = decodeRequest(body);
      if (pid !== '') socket.write(encodeResponse(verb, { id, more: false, body: { pid: Number(pid) } }));
      console.log('asked');
      process.stdin.once('data', () => process.exit(0));
    }
  });
});
process.on('SIGTERM', () => console.log('terminated'));
server.listen(path, () => console.log('listening'));
`;

async function beginFake(
  t: ExecutionContext,
  pid: string,
): Promise<{ readonly side: Side; readonly fake: ChildProcess }> {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-down-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'mlshim'));
  writeFileSync(join(folder, 'fake.mjs'), FAKE);
  const args = [join(folder, 'fake.mjs'), join(folder, 'mlshim', 'control'), pid];
  const fake = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => fake.kill('SIGKILL'));
  await printed(fake, /listening/);
  return { side: new Side(folder, '127.0.0.1'), fake };
}

for (const [what, pidOf] of [
  ['does not say which process it is', () => '0'],
  ['says so in words of another PID namespace', (innocent) => String(innocent.pid)],
  ['leaves without an answer, as it was ordered to stop before', () => ''],
] satisfies (readonly [string, (innocent: ChildProcess) => string])[]) {
  test(`down waits for the end of a daemon that ${what}, and ends nobody else`, async (t) => {
    const innocent = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
    t.teardown(() => innocent.kill());
    const { side, fake } = await beginFake(t, pidOf(innocent));
    const told = printed(fake, pidOf(innocent) === '' ? /asked/ : /terminated/);
    const down = side.start('down', '--now');
    let isThere = true;
    const ended = exited(down).then((status) => {
      t.false(isThere, 'the daemon has ended first');
      return status;
    });
    await told;
    const gone = exited(fake).then(() => {
      isThere = false;
    });
    fake.stdin?.write('end\n');
    await gone;
    t.is(await ended, 0);
    t.is(innocent.exitCode ?? innocent.signalCode, null);
  });
}

test('a signal is for the daemon alone: not for one that has gone, nor for another one with its number', async (t) => {
  const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], { stdio: ['pipe', 'ignore', 'ignore'] });
  const pid = child.pid!;
  const other = new DaemonAt('/nowhere', pid, `${pid} 1`);
  t.false(other.signal('SIGKILL'));
  t.true(await other.isGone(1000));
  const daemon = new DaemonAt('/nowhere', pid);
  t.false(await daemon.isGone(100));
  const ended = exited(child);
  t.true(daemon.signal('SIGTERM'));
  t.is(await ended, 'SIGTERM', 'the first one has not reached it');
  t.true(await daemon.isGone(1000));
  t.false(daemon.signal('SIGKILL'));
});

test('a daemon that cannot be seen has gone when nobody serves any more', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-down-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'control');
  const server = createServer((socket) => socket.resume());
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  const daemon = new DaemonAt(path, undefined);
  t.false(daemon.signal('SIGKILL'));
  t.false(await daemon.isGone(100));
  server.close();
  t.true(await daemon.isGone(1000));
});
