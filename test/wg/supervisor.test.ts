import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test from 'ava';
import { Addr } from '../../router/lib/addr.ts';
import { makeLogger } from '../../router/lib/log.ts';
import { World } from '../../router/lib/world.ts';
import { loadNative } from '../../router/native/index.ts';
import { formatKey, generatePrivateKey, keyToHex, publicKey } from '../../wg/keys.ts';
import type { WgDeviceConfig, WgPeerConfig } from '../../wg/model.ts';
import { HEADER_BYTES, HeaderOffset, MIN_RING_BYTES, regionBytes } from '../../wg/ring-layout.ts';
import { WgSupervisor } from '../../wg/supervisor.ts';
import { BINARY, Side } from './pair.ts';

const native = loadNative();

function makeSide(resolve: (host: string) => Promise<readonly Addr[]> = async () => []): Side {
  const world = new World(regionBytes(MIN_RING_BYTES) + (1 << 18));
  native.attachWorld(world.u8);
  return new Side(native, world, MIN_RING_BYTES, resolve);
}

async function until(done: () => boolean | Promise<boolean>, limitMs = 10_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`not done after ${limitMs} ms`);
    await new Promise((r) => setTimeout(r, 2));
  }
}

const KEY = generatePrivateKey();
const peer = (host: string | undefined, more: Partial<WgPeerConfig> = {}): WgPeerConfig => ({
  publicKey: publicKey(generatePrivateKey()),
  presharedKey: undefined,
  endpoint: host === undefined ? undefined : { host, port: 9 },
  allowedIps: [],
  keepaliveS: 0,
  ...more,
});
const device = (...peers: WgPeerConfig[]): WgDeviceConfig => ({ privateKey: KEY, listenPort: 0, peers });
const spec = (index: number) => ({ index, name: `wg${index}`, mtu: 1420 });

test.serial('devices and peers come, change and go', async (t) => {
  const side = makeSide();
  const s = side.supervisor;
  try {
    await s.start();
    const a = peer('127.0.0.1', { keepaliveS: 25, presharedKey: generatePrivateKey() });
    const b = peer(undefined);
    await s.addDevice(spec(0), device(a, b));
    await s.addDevice(spec(895), device());
    const [d, e] = await s.get();
    t.is(e!.index, 895);
    t.like(d!, { name: 'wg0', mtu: 1420, error: undefined });
    t.true(d!.listenPort > 0 && d!.receiveBuffer > 0);
    t.deepEqual(d!.publicKey, publicKey(KEY));
    t.like(d!.peers[0]!, { endpoint: '127.0.0.1:9', keepaliveS: 25, hasPresharedKey: true, latestHandshakeMs: 0 });
    t.like(d!.peers[1]!, { endpoint: undefined, keepaliveS: 0, hasPresharedKey: false });
    const port = d!.listenPort;
    await s.setDevice(0, device(b), 1280);
    const [after] = await s.get();
    t.is(after!.peers.length, 1);
    t.is(after!.mtu, 1280);
    t.is(after!.listenPort, port);
    await s.removeDevice(0);
    t.deepEqual(
      (await s.get()).map((x) => x.index),
      [895],
    );
  } finally {
    await side.close();
  }
});

test.serial('no key is on the command line, in the environment or in the log', async (t) => {
  const side = makeSide();
  try {
    await side.supervisor.start();
    const p = peer('127.0.0.1', { presharedKey: generatePrivateKey() });
    await side.supervisor.addDevice(spec(0), device(p));
    // A configuration the child refuses: the log must not repeat its lines.
    await side.supervisor.addDevice({ ...spec(1), bindDevice: 'no-such-device' }, device(p));
    const [, refused] = await side.supervisor.get();
    t.is(refused!.error, 'ENODEV');
    const pid = side.supervisor.pid!;
    const seen = readFileSync(`/proc/${pid}/cmdline`, 'latin1') + side.lines.map((l) => JSON.stringify(l)).join('\n');
    t.true(side.lines.length > 0);
    for (const key of [KEY, p.presharedKey!])
      for (const text of [formatKey(key), keyToHex(key)]) t.false(seen.includes(text));
  } finally {
    await side.close();
  }
});

test.serial('the child ignores SIGTERM and SIGINT, and ends when the supervisor closes', async (t) => {
  const side = makeSide();
  await side.supervisor.start();
  const pid = side.supervisor.pid!;
  process.kill(pid, 'SIGTERM');
  process.kill(pid, 'SIGINT');
  await side.supervisor.addDevice(spec(0), device());
  t.is((await side.supervisor.get()).length, 1);
  t.is(side.supervisor.pid, pid);
  t.regex(readFileSync(`/proc/${pid}/limits`, 'utf8'), /Max core file size\s+0\s+0/);
  await side.close();
  t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  t.deepEqual(side.events, []);
});

test.serial('a program that cannot be started is an error with a hint, not a loop', async (t) => {
  const side = makeSide();
  const options = {
    memfd: side.memfd,
    toChildFd: side.toChild,
    fromChildFd: side.fromChild,
    header: side.world.i32.subarray(side.base >> 2, (side.base + HEADER_BYTES) >> 2),
    log: makeLogger(() => {}, 'wg'),
    resolve: async () => [],
  };
  const missing = new WgSupervisor({ ...options, binary: '/nonexistent/mlshim-wg' });
  await t.throwsAsync(missing.start(), { code: 'CHILD_FAILED', message: /ENOENT/ });
  Atomics.store(options.header, HeaderOffset.Version / 4, 99);
  const lines: string[] = [];
  const wrong = new WgSupervisor({
    ...options,
    binary: BINARY,
    log: makeLogger((l) => lines.push(`${l.message} ${l.fields['why'] ?? ''}`), 'wg'),
  });
  await t.throwsAsync(wrong.start(), { code: 'CHILD_FAILED', message: /exit code 42/ });
  await side.close();
});

test.serial('a warning that the child repeats is logged once', async (t) => {
  const side = makeSide();
  const binary = join(mkdtempSync(join(tmpdir(), 'mlshim-test-')), 'child');
  t.teardown(() => rmSync(dirname(binary), { recursive: true, force: true }));
  const say = 'echo "warn a: no endpoint" >&2; echo "info a: up" >&2;';
  writeFileSync(binary, `#!/bin/sh\n${say} ${say} ${say} echo "warn b: no endpoint" >&2; exit 42\n`, { mode: 0o755 });
  const lines: string[] = [];
  const child = new WgSupervisor({
    memfd: side.memfd,
    toChildFd: side.toChild,
    fromChildFd: side.fromChild,
    header: side.world.i32.subarray(side.base >> 2, (side.base + HEADER_BYTES) >> 2),
    log: makeLogger((l) => lines.push(l.message), 'wg'),
    resolve: async () => [],
    binary,
  });
  await t.throwsAsync(child.start(), { code: 'CHILD_FAILED' });
  const said = lines.filter((l) => /^[ab]: /.test(l));
  t.deepEqual(said, ['a: no endpoint', 'a: up', 'a: up', 'a: up', 'b: no endpoint']);
  await side.close();
});

test.serial('started by hand the child says what is wrong and exits with 42', (t) => {
  const r = spawnSync(BINARY, ['--help'], { encoding: 'utf8' });
  t.is(r.status, 42);
  t.is(r.stderr, 'error wrong settings: mlshim-wg takes no arguments; it is started by the router\n');
  t.is(spawnSync(BINARY, [], { encoding: 'utf8' }).status, 42);
});

test.serial('a child that keeps dying is restarted with growing pauses, and keeps its listen port', async (t) => {
  const side = makeSide();
  const s = side.supervisor;
  try {
    await s.start();
    await s.addDevice(spec(0), device());
    const port = (await s.get())[0]!.listenPort;
    for (let i = 1; i <= 5; i++) {
      const pid = s.pid!;
      process.kill(pid, 'SIGKILL');
      await until(() => s.pid !== undefined && s.pid !== pid);
      t.is(s.epoch, i);
    }
    await until(async () => (await s.get())[0]!.sent >= 0 && (await s.get())[0]!.receiveBuffer > 0);
    t.is((await s.get())[0]!.listenPort, port);
    t.is(side.events.filter((e) => e.kind === 'down').length, 5);
    await until(() => side.events.some((e) => e.kind === 'restarted'));
  } finally {
    await side.close();
  }
});

test.serial('endpoint names are resolved, failures are shown and tried again', async (t) => {
  let answer: readonly Addr[] | Error = new Error('ENOTFOUND x.example');
  let asked = 0;
  const side = makeSide(async (host) => {
    t.is(host, 'x.example');
    asked++;
    if (answer instanceof Error) throw answer;
    return answer;
  });
  const s = side.supervisor;
  try {
    await s.start();
    const p = peer('x.example');
    await s.addDevice(spec(0), device(p));
    await until(async () => (await s.get())[0]!.peers[0]!.endpointError !== undefined);
    t.is((await s.get())[0]!.peers[0]!.endpointError, 'ENOTFOUND x.example');
    t.is((await s.get())[0]!.peers[0]!.endpoint, undefined);
    answer = [Addr.parse('127.0.0.1')!];
    await until(async () => (await s.get())[0]!.peers[0]!.endpoint === '127.0.0.1:9');
    t.true(asked >= 2);
    t.is((await s.get())[0]!.peers[0]!.endpointError, undefined);
    t.deepEqual(
      side.events.map((e) => (e.kind === 'endpoint' ? e.endpoint : e.kind)),
      ['127.0.0.1:9'],
    );
    t.true(side.lines.some((l) => l.fields['address'] === '127.0.0.1:9'));
  } finally {
    await side.close();
  }
});

test.serial('a send that the kernel refuses is reported at once', async (t) => {
  const side = makeSide();
  try {
    await side.supervisor.start();
    // From the loopback address there is no way to anywhere else.
    const bound = { ...spec(0), bindAddresses: [Addr.parse('127.0.0.1')!] };
    await side.supervisor.addDevice(bound, device(peer('192.0.2.1')));
    await until(() => side.events.some((e) => e.kind === 'send-error'));
    const e = side.events.find((x) => x.kind === 'send-error')!;
    t.like(e, { device: 0, endpoint: '192.0.2.1:9' });
    t.regex(e.kind === 'send-error' ? e.error : '', /^E[A-Z]+$/);
  } finally {
    await side.close();
  }
});
