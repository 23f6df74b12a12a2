import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { World } from '../../../router/lib/world.ts';
import {
  AF_INET,
  AF_INET6,
  Epoll,
  loadNative,
  Shut,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SockOpt,
} from '../../../router/native/index.ts';

const ENOENT = 2;
const EBADF = 9;
const EAGAIN = 11;
const ENODEV = 19;
const EADDRNOTAVAIL = 99;
const EINVAL = 22;
const EFAULT = 14;
const EPIPE = 32;
const ECONNRESET = 104;

const native = loadNative();
const world = new World(1 << 20);
native.attachWorld(world.u8);
const { u8, i32 } = world;
const pairAt = world.alloc(8);
const nameAt = world.alloc(64);
const eventsAt = world.alloc(8 + 8 * 16);
const at = world.alloc(65536);
const otherAt = world.alloc(65536);
const fdsAt = world.alloc(64);
const listAt = world.alloc(8 * 16);

function put(text: string, where = at): number {
  const octets = Buffer.from(text);
  u8.set(octets, where);
  return octets.length;
}

function text(where: number, length: number): string {
  return Buffer.from(u8.slice(where, where + length)).toString();
}

/** A pair: [router's end, app's end]. */
function pair(type: number, name = ''): [number, number] {
  const length = name === '' ? 0 : put(name, nameAt);
  const failed = native.makePair(type, 1, nameAt, length, pairAt);
  if (failed < 0) throw new Error(`makePair: ${failed}`);
  return [i32[pairAt >> 2]!, i32[(pairAt >> 2) + 1]!];
}

/** `recvLag` into areas given as (at, length) pairs. */
function recvLag(fd: number, ...areas: number[]): number {
  i32.set(areas, listAt >> 2);
  return native.recvLag(fd, listAt, areas.length / 2);
}

function events(epfd: number): [number, number][] {
  const n = native.poll(epfd, 0, eventsAt, 16);
  return Array.from({ length: n }, (_, i) => [i32[(eventsAt >> 2) + 2 + 2 * i]!, i32[(eventsAt >> 2) + 3 + 2 * i]!]);
}

test('a memfd mapped over pages of the World is shared', (t) => {
  const page = world.alloc(131072, 65536);
  const fd = native.memfdCreate('test', 65536);
  t.true(fd >= 0);
  t.is(native.mapOver(fd, page, 65536), 0);
  t.is(native.mapOver(fd, page + 65536, 65536), 0);
  u8[page] = 77;
  t.is(u8[page + 65536], 77, 'two mappings show the same octets');
  native.close(fd);
});

test('mapOver refuses places that are not whole pages inside the World', (t) => {
  const fd = native.memfdCreate('test', 65536);
  t.is(native.mapOver(fd, 100, 65536), -EINVAL);
  t.is(native.mapOver(fd, 4096, 100), -EINVAL);
  t.is(native.mapOver(fd, world.size - 4096, 65536), -EFAULT);
  native.close(fd);
});

test('an offset outside the World is EFAULT, never an access', (t) => {
  const [a, b] = pair(SOCK_STREAM);
  t.is(native.send(a, world.size - 1, 2), -EFAULT);
  t.is(native.send(a, -1, 1), -EFAULT);
  t.is(recvLag(b, at, 10, world.size, 1), -EFAULT);
  native.close(a);
  native.close(b);
});

test('an eventfd that was signalled ends a poll once', (t) => {
  const epfd = native.epollCreate();
  const fd = native.eventfd();
  t.is(native.epollAdd(epfd, fd, Epoll.In, 4711), 0);
  t.deepEqual(events(epfd), []);
  t.is(native.signal(fd), 0);
  t.deepEqual(events(epfd), [[4711, Epoll.In]]);
  t.is(native.drain(fd), 1);
  t.is(native.drain(fd), 0);
  t.deepEqual(events(epfd), []);
  native.close(fd);
  native.close(epfd);
});

test('poll writes a clock that moves forward in microseconds and milliseconds', (t) => {
  const epfd = native.epollCreate();
  native.poll(epfd, 0, eventsAt, 1);
  const us = i32[eventsAt >> 2]!;
  const ms = i32[(eventsAt >> 2) + 1]!;
  native.poll(epfd, 5, eventsAt, 1);
  t.true(((i32[eventsAt >> 2]! - us) | 0) >= 4000);
  t.true(((i32[(eventsAt >> 2) + 1]! - ms) | 0) >= 4);
  native.close(epfd);
});

test('a spinning poll ends with its time, with an event, or when a watched word changes', (t) => {
  const epfd = native.epollCreate();
  const fd = native.eventfd();
  native.epollAdd(epfd, fd, Epoll.In, 7);
  const w = listAt >> 2;
  const spin = (us: number): number => native.poll(epfd, 0, eventsAt, 16, us, listAt);
  const clock = (): number => i32[eventsAt >> 2]!;
  i32.set([1, at, 5], w);
  i32[at >> 2] = 5;
  native.poll(epfd, 0, eventsAt, 16);
  const begin = clock();
  t.is(spin(2000), 0);
  t.true(((clock() - begin) | 0) >= 2000);
  i32[at >> 2] = 6;
  t.is(spin(60_000_000), 0, 'returns at once');
  i32[at >> 2] = 5;
  native.signal(fd);
  t.is(spin(60_000_000), 1);
  i32[w] = 1 << 28;
  t.is(spin(1000), -EFAULT, 'a list that is not inside the World');
  native.close(fd);
  native.close(epfd);
});

test('a gated end is not writable until the gate opens, and then fires edge-triggered', (t) => {
  const [router, app] = pair(SOCK_STREAM);
  const epfd = native.epollCreate();
  const length = native.gate(app);
  t.true(length >= 1);
  native.epollAdd(epfd, app, Epoll.Out | Epoll.EdgeTriggered, 1);
  t.deepEqual(events(epfd), []);
  t.is(native.send(app, at, 1), -EAGAIN);
  t.is(recvLag(router, otherAt, length - 1), length - 1);
  t.is(native.ungate(app), 0);
  t.deepEqual(events(epfd), [[1, Epoll.Out]]);
  t.is(native.queued(router, 0), 1, 'one octet stays as the lag octet');
  for (const fd of [epfd, router, app]) native.close(fd);
});

test('recvLag returns every octet exactly once and leaves the newest in the socket', (t) => {
  const [router, app] = pair(SOCK_STREAM);
  u8[at] = 0;
  native.send(app, at, 1); // the first lag octet
  let seen = '';
  for (const chunk of ['a', 'bc', 'defgh', 'i', 'jklmnopqrstuvwxyz']) {
    native.send(app, at, put(chunk));
    for (;;) {
      const n = recvLag(router, at, 3, otherAt, 2);
      if (n === 0) break;
      seen += text(at, Math.min(n, 3)) + text(otherAt, Math.max(0, n - 3));
    }
    t.is(native.queued(router, 0), 1);
  }
  t.is(seen, 'abcdefghijklmnopqrstuvwxyz');
  native.close(router);
  native.close(app);
});

test('closing with the lag octet unread is a reset; taking it first makes a clean end', (t) => {
  for (const isClean of [false, true]) {
    const [router, app] = pair(SOCK_STREAM);
    native.send(app, at, 1);
    if (isClean) t.is(native.takeLag(router), 1);
    native.close(router);
    t.is(native.takeLag(app), isClean ? 0 : -ECONNRESET);
    native.close(app);
  }
});

test('shutdown of our sending side is an end of stream for the app, which may still write', (t) => {
  const [router, app] = pair(SOCK_STREAM);
  native.send(router, at, put('bye'));
  native.shutdown(router, Shut.Wr);
  t.is(native.takeLag(app), 3);
  t.is(native.takeLag(app), 0);
  t.is(native.send(app, at, 3), 3);
  native.shutdown(app, Shut.Rd);
  t.is(native.send(router, at, 1), -EPIPE);
  native.close(router);
  native.close(app);
});

test('a coalesced payload is cut into one message per piece behind the same header', (t) => {
  const [router, app] = pair(SOCK_SEQPACKET);
  put('HEAD', otherAt);
  const length = put('aaaabbbbcc');
  t.is(native.sendDatagrams(router, otherAt, 4, at, length, 4), 3);
  t.is(native.sendDatagrams(router, otherAt, 4, at, 0, 0), 1, 'an empty datagram is a message too');
  const n = native.recvDatagrams(app, at, 100, 16, fdsAt);
  t.is(n, 4);
  const messages = Array.from({ length: n }, (_, i) => text(at + 100 * i, i32[(fdsAt >> 2) + i]!));
  t.deepEqual(messages, ['HEADaaaa', 'HEADbbbb', 'HEADcc', 'HEAD']);
  t.is(native.recvDatagrams(app, at, 100, 16, fdsAt), -EAGAIN);
  native.close(router);
  t.true(native.recvDatagrams(app, at, 100, 16, fdsAt) >= 1);
  t.is(i32[fdsAt >> 2], 0, 'the end is a message without octets');
  native.close(app);
});

test('more pieces than one system call takes are all sent', (t) => {
  const [router, app] = pair(SOCK_SEQPACKET);
  t.is(native.sendDatagrams(router, otherAt, 1, at, 200, 1), 200);
  let n = 0;
  for (let got = 1; got > 0; n += got) {
    got = native.recvDatagrams(app, at, 64, 64, otherAt);
    if (got < 0) break;
  }
  t.is(n, 200);
  native.close(router);
  native.close(app);
});

test('descriptors pass with a message and are usable on the other side', (t) => {
  const [a, b] = pair(SOCK_SEQPACKET);
  const [near, far] = pair(SOCK_STREAM);
  i32[fdsAt >> 2] = far;
  t.is(native.sendMessage(a, at, put('take this'), fdsAt, 1), 9);
  native.close(far);
  t.is(native.recvMessage(b, at, 100, fdsAt, 4), 9);
  t.is(i32[fdsAt >> 2], 1);
  const got = i32[(fdsAt >> 2) + 1]!;
  native.send(near, at, put('hello'));
  t.is(native.takeLag(got), 5);
  for (const fd of [a, b, near, got]) native.close(fd);
});

test('descriptors nobody asked for are closed', (t) => {
  const [a, b] = pair(SOCK_SEQPACKET);
  const [near, far] = pair(SOCK_STREAM);
  i32[fdsAt >> 2] = far;
  native.sendMessage(a, at, 1, fdsAt, 1);
  native.close(far);
  native.recvMessage(b, at, 100, fdsAt, 0);
  t.is(i32[fdsAt >> 2], 0);
  t.is(native.send(near, at, 1), -EPIPE);
  for (const fd of [a, b, near]) native.close(fd);
});

test('a UNIX listener has mode 0600 and tells whose connection it accepted', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-native-'));
  const path = join(folder, 'door');
  const listener = native.unixListen(path, SOCK_SEQPACKET, 8);
  t.true(listener >= 0);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.is(native.accept(listener, 0), -EAGAIN);
  const client = native.unixConnect(path, SOCK_SEQPACKET);
  const fd = native.accept(listener, 0);
  t.is(native.peerCred(fd, at), 0);
  t.is(i32[at >> 2], process.pid);
  t.is(i32[(at >> 2) + 1], process.getuid!());
  for (const f of [listener, client, fd]) native.close(f);
  rmSync(folder, { recursive: true });
});

test('a path too long for a socket address is refused', (t) => {
  t.is(native.unixListen(`/tmp/${'x'.repeat(200)}`, SOCK_STREAM, 1), -36);
});

test('kernel sockets on loopback exchange datagrams', (t) => {
  const a = native.kernelSocket(2, SOCK_DGRAM);
  const b = native.kernelSocket(2, SOCK_DGRAM);
  const addrAt = fdsAt;
  u8.fill(0, addrAt, addrAt + 16);
  u8[addrAt] = 2;
  u8.set([127, 0, 0, 1], addrAt + 4);
  t.is(native.kernelBind(a, addrAt, 16), 0);
  t.is(native.kernelName(a, addrAt, 28, 0), 16);
  t.is(native.kernelSend(b, at, put('ping'), addrAt, 16), 4);
  t.is(native.kernelRecv(a, at, 100, addrAt, 28), 4);
  t.is(text(at, 4), 'ping');
  native.close(a);
  native.close(b);
});

test('addresses in text are bound, and what is none has its own error', (t) => {
  const bind = (family: number, address: string): number => {
    const fd = native.kernelSocket(family, SOCK_STREAM);
    const answer = native.inetBind(fd, address, 0);
    native.close(fd);
    return answer;
  };
  t.is(bind(AF_INET, '127.0.0.1'), 0);
  t.is(bind(AF_INET6, '::1'), 0);
  t.is(bind(AF_INET6, '::ffff:127.0.0.1'), 0);
  t.is(bind(AF_INET6, '::1%lo'), 0);
  t.is(bind(AF_INET, '192.0.2.1'), -EADDRNOTAVAIL);
  for (const nonsense of ['', '127.0.0', '127.0.0.1%lo', 'localhost', ':::', '%lo', `${'1'.repeat(100)}`])
    t.is(bind(AF_INET, nonsense), -EINVAL, nonsense);
  for (const zone of ['', 'no-such-one', 'x'.repeat(100)]) t.is(bind(AF_INET6, `fe80::1%${zone}`), -ENODEV, zone);
});

test('the source of packets to a remote is asked of the kernel', (t) => {
  t.is(native.inetSource('127.0.0.9'), '127.0.0.1');
  t.is(native.inetSource('::1'), '::1');
  t.is(native.inetSource('nowhere'), -EINVAL);
  t.is(native.inetSource('fe80::1%no-such-one'), -ENODEV);
});

test('keys of TCP MD5 are set, replaced and taken back', (t) => {
  const key = Buffer.from('secret');
  const none = new Uint8Array(0);
  const fd = native.kernelSocket(AF_INET, SOCK_STREAM);
  t.is(native.tcpMd5(fd, '127.0.0.0', 8, none), -ENOENT);
  t.is(native.tcpMd5(fd, '127.0.0.0', 8, key), 0);
  t.is(native.tcpMd5(fd, '127.0.0.0', 8, Buffer.alloc(80, 'x')), 0);
  t.is(native.tcpMd5(fd, '127.0.0.0', 8, Buffer.alloc(81, 'x')), -EINVAL);
  t.is(native.tcpMd5(fd, '127.0.0.0', 33, key), -EINVAL);
  t.is(native.tcpMd5(fd, 'nowhere', 8, key), -EINVAL);
  t.is(native.tcpMd5(fd, '127.0.0.0', 8, none), 0);
  t.throws(() => native.tcpMd5(fd, '127.0.0.1', 32, 'secret' as never), { instanceOf: TypeError });
  t.is(native.setOption(fd, SockOpt.Ip, SockOpt.IpTtl, 255), 0);
  t.is(native.setOption(fd, SockOpt.Ip, SockOpt.IpTtl, 256), -EINVAL);
  native.close(fd);
  const six = native.kernelSocket(AF_INET6, SOCK_STREAM);
  t.is(native.tcpMd5(six, '::ffff:192.0.2.0', 24, key), 0);
  t.is(native.tcpMd5(six, '::ffff:192.0.2.0', 33, key), -EINVAL);
  t.is(native.tcpMd5(six, 'fe80::1', 128, key), 0);
  native.close(six);
  t.is(native.tcpMd5(six, 'fe80::1', 128, key), -EBADF);
});

test('datagrams that came with a smaller TTL are shortened to one octet', (t) => {
  const a = native.kernelSocket(AF_INET, SOCK_DGRAM);
  const b = native.kernelSocket(AF_INET, SOCK_DGRAM);
  const addrAt = fdsAt;
  t.is(native.inetBind(a, '127.0.0.1', 0), 0);
  t.is(native.shortenFar(a, AF_INET, 200), 0);
  t.is(native.kernelName(a, addrAt, 28, 0), 16);
  for (const [ttl, length] of [
    [255, 4],
    [200, 4],
    [199, 1],
    [1, 1],
  ] as const) {
    t.is(native.setOption(b, SockOpt.Ip, SockOpt.IpTtl, ttl), 0);
    t.is(native.kernelSend(b, at, put('ping'), addrAt, 16), 4);
    t.is(native.kernelRecv(a, at, 100, otherAt, 28), length, `TTL ${ttl}`);
  }
  native.close(a);
  native.close(b);
  t.is(native.shortenFar(a, AF_INET, 200), -EBADF);
});

test('worker threads have an instance of their own', async (t) => {
  const code = `
    const { workerData, parentPort } = require('node:worker_threads');
    const native = require(workerData.path);
    const u8 = new Uint8Array(workerData.buffer);
    const before = native.send(0, 0, 1);
    native.attachWorld(u8);
    parentPort.postMessage([before, native.readClock(8)]);`;
  const path = process.env['MLSHIM_ADDON'] ?? new URL('../../../native/mlshim.node', import.meta.url).pathname;
  const buffer = new SharedArrayBuffer(4096);
  const worker = new Worker(code, { eval: true, workerData: { path, buffer } });
  const message = await new Promise((resolve) => worker.once('message', resolve));
  t.deepEqual(message, [-EFAULT, 0]);
  t.not(new Int32Array(buffer)[3], 0);
  await worker.terminate();
});
