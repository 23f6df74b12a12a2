import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { Status } from '../../../router/control/messages.ts';
import { CLI, exited, Pair, printed } from './pair.ts';

/** Echoes one connection, then ends. Prints the port's readiness. */
const SERVER = (address: string, port: number): string => `
  const s = require('net').createServer((c) => { c.pipe(c); c.on('close', () => s.close()); });
  s.listen(${port}, '${address}', () => console.log('listening'));`;

/** Sends \`count\` octets and prints how many came back. */
const CLIENT = (address: string, port: number, count: number): string => `
  const c = require('net').connect(${port}, '${address}'); let n = 0;
  c.on('data', (d) => { n += d.length; if (n === ${count}) c.end(); });
  c.on('close', () => console.log('back', n));
  c.on('error', (e) => { console.log(e.code); process.exitCode = 9; });
  c.end(Buffer.alloc(${count}, 1));`;

/** Tests share two running routers; those that stop one come last. */
let pair: Pair;

test.before(async () => {
  pair = await Pair.make();
  for (const side of [pair.near, pair.far]) {
    const up = side.cli('up', '-c', 'mlshim.yaml');
    if (up.status !== 0) throw new Error(up.stderr);
  }
});
test.after.always(() => pair.clear());

test.serial('up waits for the handshake, status shows it, and wg show speaks of it', (t) => {
  const { uplinks, problems } = pair.near.json<Status>('status');
  t.is(uplinks[0]!.state, 'up');
  t.deepEqual(problems, []);
  t.regex(pair.near.cli('wg').stdout, /latest handshake: .*\n {2}transfer: /);
});

test.serial('octets go from app to app through both routers and back', async (t) => {
  const server = pair.far.start('run', '--', process.execPath, '-e', SERVER(pair.far.address, 7001));
  await printed(server, /listening/);
  const client = pair.near.cli('run', '--', process.execPath, '-e', CLIENT(pair.far.address, 7001, 3_000_000));
  t.is(client.stdout, 'back 3000000\n', client.stderr);
  t.is(await exited(server), 0);
});

test.serial('an address nobody routes is refused at once', (t) => {
  const client = pair.near.cli('run', '--', process.execPath, '-e', CLIENT('192.0.2.1', 7001, 1));
  t.is(client.stdout, 'ENETUNREACH\nback 0\n');
  t.is(client.status, 9);
});

test.serial('a capture of an uplink is pcapng that holds both directions', async (t) => {
  const file = join(pair.near.dir, 'x.pcapng');
  const capture = pair.near.start('capture', '-w', file, '--uplink', 'tunnel');
  while (!existsSync(file) || readFileSync(file).length === 0) await sleep(10);
  pair.near.cli('run', '--', process.execPath, '-e', CLIENT(pair.far.address, 7009, 1));
  while (readFileSync(file).length < 300) await sleep(10);
  capture.kill('SIGINT');
  t.is(await exited(capture), 0);
  const bytes = readFileSync(file);
  t.is(bytes.readUInt32LE(0), 0x0a0d0d0a);
  t.true(bytes.includes('tunnel'));
});

test.serial('an unknown uplink is named together with the known ones', (t) => {
  const { status, stderr } = pair.near.cli('capture', '-w', '/dev/null', '--uplink', 'tunel');
  t.is(status, 2);
  t.regex(stderr, /no uplink "tunel" \(known: tunnel\)/);
});

test.serial('a second daemon on the same sockets is refused, and the first one goes on', (t) => {
  const { status, stderr } = pair.near.cli('up', '-c', 'mlshim.yaml');
  t.is(status, 1);
  t.regex(stderr, /already running/);
  t.is(pair.near.cli('status').status, 0);
});

test.serial('the child is killed and comes back with the same port; connections live on', async (t) => {
  const server = pair.far.start('run', '--', process.execPath, '-e', SERVER(pair.far.address, 7002));
  await printed(server, /listening/);
  const { pid } = pair.near.json<Status>('status');
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  const slow = `
    const c = require('net').connect(7002, '${pair.far.address}'); let n = 0;
    c.on('data', (d) => { n += d.length; console.log(n); if (n === 2) c.end(); });
    c.write('a'); process.once('SIGUSR2', () => c.write('b'));`;
  const client = pair.near.start('run', '--', process.execPath, '-e', slow);
  await printed(client, /^1$/m);
  for (const child of children) process.kill(Number(child), 'SIGKILL');
  const twice = printed(client, /^2$/m);
  client.kill('SIGUSR2');
  await twice;
  t.is(await exited(client), 0);
  t.is(await exited(server), 0);
});

test.serial('down waits for the last application, the second order does not', async (t) => {
  const server = pair.far.start('run', '--', process.execPath, '-e', SERVER(pair.far.address, 7003));
  await printed(server, /listening/);
  const holder = pair.near.start(
    'run',
    '--',
    process.execPath,
    '-e',
    `const c = require('net').connect(7003, '${pair.far.address}', () => console.log('connected'));
     c.on('error', (e) => console.log(e.code)); c.on('close', () => console.log('closed'));`,
  );
  await printed(holder, /connected/);
  const down = pair.near.start('down');
  while (pair.near.json<Status>('status').state !== 'draining') await sleep(10);
  t.is(down.exitCode, null);
  const closed = printed(holder, /ECONNRESET\nclosed/);
  t.is(pair.near.cli('down', '--now').status, 0);
  await closed;
  t.is(await exited(down), 0);
  for (const name of ['control', 'shim']) t.false(existsSync(join(pair.near.dir, 'mlshim', name)), name);
  server.kill('SIGTERM');
  await exited(server);
});

test.serial('run starts a router of its own from a wg-quick file and takes it down again', async (t) => {
  const server = pair.far.start('run', '--', process.execPath, '-e', SERVER(pair.far.address, 7004));
  await printed(server, /listening/);
  const app = [process.execPath, '-e', CLIENT(pair.far.address, 7004, 2_000_000)];
  const client = pair.near.cli('run', '-c', 'tunnel.conf', '--', ...app);
  t.is(client.stdout, 'back 2000000\n', client.stderr);
  t.is(pair.near.cli('run', '-c', 'tunnel.conf', '--', 'sh', '-c', 'exit 7').status, 7);
  t.is(pair.near.cli('run', '-c', 'tunnel.conf', '--', 'sh', '-c', 'kill -9 $$').status, 137);
  t.deepEqual(
    readdirSync(pair.near.dir).filter((f) => f.startsWith('mlshim-')),
    [],
  );
});

test.serial('a run command that is killed takes its router with it', async (t) => {
  const before = pair.processes().length;
  const run = pair.near.start(
    'run',
    '-c',
    'tunnel.conf',
    '--',
    'sh',
    '-c',
    'echo started; exec sleep 60 >/dev/null 2>&1',
  );
  await printed(run, /started/);
  t.is(pair.processes().length, before + 1);
  const [sleeper] = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'sleep\n');
  run.kill('SIGKILL');
  process.kill(Number(sleeper), 'SIGKILL');
  while (pair.processes().length > before) await sleep(20);
  t.deepEqual(
    readdirSync(pair.near.dir).filter((f) => f.startsWith('mlshim-')),
    [],
  );
});

test.serial('up --wait ends with 4 when no handshake comes, and leaves the daemon trying', async (t) => {
  const alone = await Pair.make();
  t.teardown(() => alone.clear());
  const { status, stderr } = alone.near.cli('up', '-c', 'mlshim.yaml', '--wait=1s');
  t.is(status, 4, stderr);
  t.regex(stderr, /not up after 1 s: tunnel/);
  t.is(alone.near.json<Status>('status').state, 'running');
  t.is(alone.near.cli('route', '--proto', 'static').status, 0);
  const wrong = alone.near.cli('route', '--proto', 'statc');
  t.is(wrong.status, 2);
  t.regex(wrong.stderr, /--proto is one of connected, static, bgp, ebgp, ibgp, external, not "statc"/);
  t.is(alone.near.cli('down').status, 0);
});

test.serial('a router whose log nobody reads any more goes on', async (t) => {
  const alone = await Pair.make();
  t.teardown(() => alone.clear());
  const up = alone.near.start('up', '--foreground', '-c', 'mlshim.yaml');
  await printed(up, /ready/);
  up.stdout!.destroy();
  up.stderr!.destroy();
  t.is(alone.near.cli('reload').status, 0); // it says so in its log
  t.is(alone.near.json<Status>('status').state, 'running');
  up.kill('SIGTERM');
  t.is(await exited(up), 0);
});

test.serial('a fault nobody foresaw ends the router', async (t) => {
  const alone = await Pair.make();
  t.teardown(() => alone.clear());
  const { near } = alone;
  const fault = join(near.dir, 'fault.cjs');
  writeFileSync(
    fault,
    `if (require('worker_threads').isMainThread && process.argv[1].endsWith('mlshimd.js'))
      process.on('SIGUSR2', () => { throw new Error('a fault of ours'); });`,
  );
  const up = spawn(process.execPath, [CLI, 'up', '--foreground', '-c', 'mlshim.yaml'], {
    env: { ...near.env, NODE_OPTIONS: `--require ${fault}` },
    cwd: near.dir,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ready = await printed(up, /ready pid=\d+/);
  const gone = printed(up, /internal error.*a fault of ours/);
  process.kill(Number(/pid=(\d+)/.exec(ready)![1]), 'SIGUSR2');
  await gone;
  t.is(await exited(up), 1);
});
