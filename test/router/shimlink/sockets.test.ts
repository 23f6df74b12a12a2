import test from 'ava';
import type { DataplaneStats } from '../../../router/app/dataplane-protocol.ts';
import { Random } from '../../../router/lib/rand.ts';
import { Epoll, Shut, SOCK_STREAM } from '../../../router/native/index.ts';
import {
  Accept,
  AF_INET,
  AF_INET6,
  Dgram,
  DgramFlag,
  E,
  getHost16,
  getHost32,
  IfAddr,
  MLS_MAGIC,
  MlsOp,
  putHost32,
} from '../../../router/shimlink/proto.ts';
import { readSockAddr, SockAddr } from '../../../router/shimlink/sockaddr.ts';
import { type DataplaneUnderTest, startDataplane } from '../../kit/dataplane.ts';
import { at, TestApp } from './app.ts';

const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_ACCEPTCONN = 30;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;

let dataplane: DataplaneUnderTest;
let app: TestApp;

test.before(async () => {
  dataplane = await startDataplane();
  app = new TestApp(dataplane);
});

test.after.always(async (t) => {
  app.closeAll();
  await dataplane.stop();
  t.deepEqual(dataplane.logs, []);
});

interface Socket {
  readonly fd: number;
  readonly id: number;
}

function socket(family = AF_INET, type = SOCK_STREAM, protocol = 0): Socket {
  const a = app.do({ op: MlsOp.Socket, args: [family, type | SOCK_NONBLOCK, protocol] });
  if (a.result !== 0) throw new Error(`socket: ${a.result}`);
  return { fd: a.fd, id: app.idOf(a.fd) };
}

function nameOf(s: Socket): SockAddr {
  return app.do({ op: MlsOp.GetSockName, id: s.id }).addr;
}

function option(s: Socket, level: number, name: number): number {
  const a = app.do({ op: MlsOp.GetSockOpt, id: s.id, args: [level, name, 4] });
  return a.result < 0 ? a.result : getHost32(a.payload, 0);
}

function listener(family = AF_INET, address = '127.0.0.1'): { s: Socket; port: number } {
  const s = socket(family);
  if (app.do({ op: MlsOp.Bind, id: s.id, addr: at(address, 0) }).result !== 0) throw new Error('bind');
  if (app.do({ op: MlsOp.Listen, id: s.id, args: [8], fd: s.fd }).result !== 0) throw new Error('listen');
  return { s, port: nameOf(s).port };
}

/** A connection through the stack: [client, accepted descriptor, accept record]. */
function connection(l: { s: Socket; port: number }): [Socket, number, Uint8Array] {
  const c = socket();
  const r = app.do({ op: MlsOp.Connect, id: c.id, args: [1], addr: at('127.0.0.1', l.port), fd: c.fd });
  if (r.result !== -E.EINPROGRESS) throw new Error(`connect: ${r.result}`);
  app.wait(c.fd, Epoll.Out);
  const { octets, fd } = app.readWithFd(l.s.fd);
  return [c, fd, octets];
}

test.serial('a greeting tells the protocol version and the router', (t) => {
  const a = app.do({ op: MlsOp.Hello });
  t.is(a.args[0], 1);
  t.is(a.args[1], process.pid);
});

test.serial('a connect in progress is a descriptor that becomes writable, edge-triggered', (t) => {
  const l = listener();
  const c = socket();
  t.is(app.events(c.fd) & Epoll.Out, 0, 'gated');
  t.is(option(c, SOL_SOCKET, SO_ACCEPTCONN), 0);
  t.is(option(l.s, SOL_SOCKET, SO_ACCEPTCONN), 1);
  const r = app.do({ op: MlsOp.Connect, id: c.id, args: [1], addr: at('127.0.0.1', l.port), fd: c.fd });
  t.is(r.result, -E.EINPROGRESS);
  t.true((app.wait(c.fd, Epoll.Out | Epoll.EdgeTriggered) & Epoll.Out) !== 0);
  t.is(option(c, SOL_SOCKET, SO_ERROR), 0);
  const peer = app.do({ op: MlsOp.GetPeerName, id: c.id });
  t.is(peer.addr.port, l.port);
  const { octets, fd } = app.readWithFd(l.s.fd);
  t.true(fd >= 0);
  t.is(octets.length, Accept.Size);
  t.is(getHost32(octets, 0), MLS_MAGIC);
  const from = new SockAddr();
  t.is(readSockAddr(octets, Accept.Peer, getHost16(octets, Accept.PeerLen), AF_INET, from), 0);
  t.is(from.port, nameOf(c).port);
  app.closeAll();
});

test.serial('a blocking connect is answered when the handshake has ended', (t) => {
  const l = listener();
  const c = socket();
  t.is(app.do({ op: MlsOp.Connect, id: c.id, args: [0], addr: at('127.0.0.1', l.port), fd: c.fd }).result, 0);
  t.true((app.events(c.fd) & Epoll.Out) !== 0);
  const d = socket();
  t.is(app.do({ op: MlsOp.Connect, id: d.id, args: [0], addr: at('127.0.0.1', 1), fd: d.fd }).result, -E.ECONNREFUSED);
  app.closeAll();
});

test.serial('a refused connect is an error event, and SO_ERROR tells it once', (t) => {
  const c = socket();
  app.do({ op: MlsOp.Connect, id: c.id, args: [1], addr: at('127.0.0.1', 1), fd: c.fd });
  t.true((app.wait(c.fd, Epoll.Out) & Epoll.Hup) !== 0);
  t.is(option(c, SOL_SOCKET, SO_ERROR), E.ECONNREFUSED);
  t.is(option(c, SOL_SOCKET, SO_ERROR), 0);
  app.closeAll();
});

test.serial('a socket bound to a link connects and listens there only', (t) => {
  const SO_BINDTODEVICE = 25;
  const SO_BINDTOIFINDEX = 62;
  const bindTo = (s: Socket, name: string): number =>
    app.do({ op: MlsOp.SetSockOpt, id: s.id, args: [SOL_SOCKET, SO_BINDTODEVICE], payload: Buffer.from(name) }).result;
  const connect = (s: Socket, port: number): number =>
    app.do({ op: MlsOp.Connect, id: s.id, args: [0], addr: at('127.0.0.1', port), fd: s.fd }).result;
  const l = listener();
  const onLo = socket();
  t.is(bindTo(onLo, 'lo'), 0);
  t.is(connect(onLo, l.port), 0);
  t.is(bindTo(socket(), 'nothing'), -E.ENODEV);
  const elsewhere = Buffer.alloc(4);
  elsewhere.writeInt32LE(77);
  const place = (s: Socket): number =>
    app.do({ op: MlsOp.SetSockOpt, id: s.id, args: [SOL_SOCKET, SO_BINDTOIFINDEX], payload: elsewhere }).result;
  t.is(place(l.s), 0, 'after listen(), too');
  t.is(connect(socket(), l.port), -E.ECONNREFUSED);
  app.closeAll();
});

test.serial('no route is ENETUNREACH at once', (t) => {
  const c = socket();
  t.is(app.do({ op: MlsOp.Connect, id: c.id, args: [0], addr: at('192.0.2.1', 80), fd: c.fd }).result, -E.ENETUNREACH);
  app.closeAll();
});

test.serial('octets travel both ways, then each side ends for itself', (t) => {
  const l = listener();
  const [c, s] = connection(l);
  app.write(c.fd, 'from the client');
  t.is(app.read(s), 'from the client');
  app.write(s, 'from the server');
  t.is(app.read(c.fd), 'from the server');
  dataplane.native.shutdown(c.fd, Shut.Wr);
  t.is(app.read(s), '');
  app.write(s, 'still open');
  t.is(app.read(c.fd), 'still open');
  app.close(s);
  t.is(app.read(c.fd), '');
  app.closeAll();
});

test.serial('an app that closes with octets unread resets its peer', (t) => {
  const l = listener();
  const [c, s] = connection(l);
  app.write(c.fd, 'never read');
  app.wait(s, Epoll.In);
  app.close(s);
  t.is(app.read(c.fd), -E.ECONNRESET);
  t.is(app.read(c.fd), '');
  app.closeAll();
});

test.serial('SO_LINGER of zero seconds resets', (t) => {
  const l = listener();
  const [c, s] = connection(l);
  const linger = new Uint8Array(8);
  putHost32(linger, 0, 1);
  t.is(app.do({ op: MlsOp.SetSockOpt, id: c.id, args: [SOL_SOCKET, 13], payload: linger }).result, 0);
  app.close(c.fd);
  t.is(app.read(s), -E.ECONNRESET);
  app.closeAll();
});

test.serial('more than the buffers hold blocks the writer, waits for the reader and arrives whole', (t) => {
  const l = listener();
  const [c, s] = connection(l);
  const total = 40_000_000;
  const block = 'x'.repeat(50000);
  let sent = 0;
  let received = 0;
  let blocked = 0;
  const take = (): boolean => {
    const text = app.read(s);
    if (typeof text === 'number') throw new Error(`read: ${text}`);
    received += text.length;
    return text !== '';
  };
  while (sent < total) {
    const n = app.write(c.fd, block);
    if (n > 0) sent += n;
    else if (++blocked > 3) take();
  }
  app.close(c.fd);
  while (take());
  t.true(blocked > 0);
  t.is(received, sent);
  app.closeAll();
});

test.serial('no wake-up is lost, whatever the sizes and pauses', (t) => {
  const l = listener();
  const [c, fd] = connection(l);
  const { native, world } = dataplane;
  const one = new Uint8Array([1, 0, 0, 0]);
  t.is(app.do({ op: MlsOp.SetSockOpt, id: c.id, args: [IPPROTO_TCP, TCP_NODELAY, 4], payload: one }).result, 0);
  const random = new Random(7);
  const areaAt = world.alloc(65536);
  const fdsAt = world.alloc(64);
  for (let i = 0; i < 1500; i++) {
    // Around the time that the loop spins before it sleeps.
    const until = performance.now() + random.below(80) / 1000;
    while (performance.now() < until);
    let unsent = 1 + random.below(random.below(4) === 0 ? 400_000 : 20_000);
    let unread = unsent;
    while (unread > 0) {
      const sent = unsent > 0 ? native.send(c.fd, areaAt, Math.min(unsent, 65536)) : 0;
      if (sent > 0) unsent -= sent;
      const got = native.recvMessage(fd, areaAt, 65536, fdsAt, 1);
      if (got > 0) unread -= got;
      else if (sent <= 0 && app.wait(fd, Epoll.In) === 0) {
        t.fail(`turn ${i}: ${unread} octets do not arrive, ${unsent} are not taken`);
        return;
      }
    }
  }
  t.pass();
  app.close(c.fd);
  app.close(fd);
});

test.serial('accepted connections are handed over a few at a time, and all in the end', (t) => {
  const l = listener();
  app.do({ op: MlsOp.Listen, id: l.s.id, args: [200], fd: l.s.fd });
  for (let i = 0; i < 60; i++) {
    const c = socket();
    const r = app.do({ op: MlsOp.Connect, id: c.id, args: [0], addr: at('127.0.0.1', l.port), fd: c.fd });
    t.is(r.result, 0);
  }
  const seen = new Set<number>();
  for (let i = 0; i < 60; i++) seen.add(app.idOf(app.readWithFd(l.s.fd).fd));
  t.is(seen.size, 60);
  app.closeAll();
});

test.serial('the name on the wire says kind, family, session and id', (t) => {
  const s = socket(AF_INET6);
  const hex = (n: number): string => n.toString(16).padStart(8, '0');
  t.is(app.abstractName(s.fd), `mls:S6:${hex(dataplane.session)}:${hex(s.id)}`);
  app.closeAll();
});

test.serial('datagrams carry addresses both ways, and an unreachable port is a pending error', (t) => {
  const server = socket(AF_INET6, SOCK_DGRAM);
  t.is(app.do({ op: MlsOp.Bind, id: server.id, addr: at('::', 0) }).result, 0);
  const { port } = nameOf(server);
  const client = socket(AF_INET, SOCK_DGRAM);
  t.is(app.do({ op: MlsOp.Connect, id: client.id, args: [0], addr: at('127.0.0.1', port) }).result, 0);
  const head = new Uint8Array(Dgram.Size);
  head[Dgram.Family] = AF_INET;
  app.write(client.fd, `${Buffer.from(head).toString('latin1')}question`);
  const got = Buffer.from(app.read(server.fd) as string, 'latin1');
  t.is(got.subarray(Dgram.Size).toString(), 'question');
  t.is(got.readUInt16BE(Dgram.Port), nameOf(client).port);
  t.is(got[Dgram.Flags]! & DgramFlag.Addr, DgramFlag.Addr);
  app.close(server.fd);
  // The router hears of the close before it handles a request that is sent afterwards.
  nameOf(client);
  app.write(client.fd, `${Buffer.from(head).toString('latin1')}anybody?`);
  const error = Buffer.from(app.read(client.fd) as string, 'latin1');
  t.is(error[Dgram.Flags]! & DgramFlag.Error, DgramFlag.Error);
  t.is(error.readInt32LE(Dgram.Err), E.ECONNREFUSED);
  app.closeAll();
});

test.serial('what an app sent before it closed goes out, also when it left answers unread', (t) => {
  const server = socket(AF_INET, SOCK_DGRAM);
  t.is(app.do({ op: MlsOp.Bind, id: server.id, addr: at('127.0.0.1', 0) }).result, 0);
  const { port } = nameOf(server);
  const client = socket(AF_INET, SOCK_DGRAM);
  t.is(app.do({ op: MlsOp.Connect, id: client.id, args: [1], addr: at('127.0.0.1', port) }).result, 0);
  const head = '\0'.repeat(Dgram.Size);
  app.write(client.fd, `${head}hello`);
  const first = Buffer.from(app.read(server.fd) as string, 'latin1');
  app.write(server.fd, `${first.subarray(0, Dgram.Size).toString('latin1')}answer`, 'latin1');
  app.wait(client.fd, Epoll.In);
  const count = 180;
  for (let i = 0; i < count; i++) t.true(app.write(client.fd, `${head}${i}`) > 0);
  app.close(client.fd);
  for (let i = 0; i < count; i++) t.is(String(app.read(server.fd)).slice(Dgram.Size), String(i));
  app.closeAll();
});

test.serial('a port in use, an address that is not ours and a second bind are refused', (t) => {
  const l = listener();
  const s = socket();
  t.is(app.do({ op: MlsOp.Bind, id: s.id, addr: at('127.0.0.1', l.port) }).result, -E.EADDRINUSE);
  t.is(app.do({ op: MlsOp.Bind, id: s.id, addr: at('192.0.2.9', 0) }).result, -E.EADDRNOTAVAIL);
  t.is(app.do({ op: MlsOp.Bind, id: s.id, addr: at('127.0.0.1', 0) }).result, 0);
  t.is(app.do({ op: MlsOp.Bind, id: s.id, addr: at('127.0.0.1', 0) }).result, -E.EINVAL);
  t.is(app.do({ op: MlsOp.GetPeerName, id: s.id }).result, -E.ENOTCONN);
  app.closeAll();
});

test.serial('requests that name nothing of ours are refused, malformed ones are not answered', (t) => {
  t.is(app.do({ op: MlsOp.GetSockName, id: 0x7fffffff }).result, -E.EBADF);
  t.is(app.do({ op: MlsOp.Socket, args: [1, SOCK_STREAM, 0] }).result, -E.EAFNOSUPPORT);
  t.is(app.do({ op: MlsOp.Socket, args: [AF_INET, SOCK_STREAM, 17] }).result, -E.EPROTONOSUPPORT);
  t.is(app.answer(app.send(10)), undefined);
  t.is(app.do({ op: MlsOp.Hello }).result, 0, 'and the router goes on');
});

test.serial('an option that is stored but changes nothing is counted by its name', async (t) => {
  const payload = new Uint8Array([5, 0, 0, 0]);
  t.is(app.do({ op: MlsOp.SetSockOpt, id: socket().id, args: [6, 23], payload }).result, 0);
  const { result } = await dataplane.client.request({ kind: 'stats' }).reply;
  t.is((result as DataplaneStats).counters['shim_withoutEffect_TCP_FASTOPEN'], 1);
  app.closeAll();
});

test.serial('interfaces are listed with the loopback first', (t) => {
  const { payload } = app.do({ op: MlsOp.IfAddrs });
  t.is(payload.length % IfAddr.Size, 0);
  t.is(Buffer.from(payload.subarray(0, 3)).toString(), 'lo\0');
  t.is(getHost32(payload, IfAddr.IfIndex), 1);
});

test.serial('numeric names need no server, others fail without one', (t) => {
  const payload = Buffer.from('192.0.2.7\x0080\0');
  const a = app.do({ op: MlsOp.Resolve, args: [AF_INET, SOCK_STREAM, 0, 0], payload });
  t.is(a.result, 1);
  const b = app.do({ op: MlsOp.Resolve, args: [AF_INET, SOCK_STREAM, 0, 0], payload: Buffer.from('no.such.name\0\0') });
  t.true(b.result <= -1001 && b.result >= -1012);
});

test.serial('an app that dies gives everything back', async (t) => {
  const l = listener();
  const [c, s] = connection(l);
  app.close(c.fd);
  app.close(s);
  app.close(l.s.fd);
  app.closeAll();
  for (let tries = 0; ; tries++) {
    const { result } = await dataplane.client.request({ kind: 'stats' }).reply;
    if ((result as DataplaneStats).sockets === 0) break;
    if (tries > 1000) return t.fail('the router keeps sockets of an app that closed them');
  }
  t.is(app.do({ op: MlsOp.Hello }).result, 0);
});

test.serial('an internal error ends the worker, but no app hangs', async (t) => {
  const d = await startDataplane();
  const own = new TestApp(d);
  const make = (): number => own.do({ op: MlsOp.Socket, args: [AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0] }).fd;
  const l = make();
  own.do({ op: MlsOp.Listen, id: 1, args: [8], fd: l });
  const { port } = own.do({ op: MlsOp.GetSockName, id: 1 }).addr;
  const c = make();
  own.do({ op: MlsOp.Connect, id: 2, args: [0], addr: at('127.0.0.1', port), fd: c });
  // No thread of ours would send this: it stands for any fault in the loop.
  d.client.send({ kind: 'fib', fib: undefined });
  t.is(await d.exitCode, 1);
  t.is(own.read(c), -E.ECONNRESET);
  t.regex(d.logs.join(), /internal error/);
  own.closeAll();
});

test.serial('when the worker stops, apps read a reset', async (t) => {
  const d = await startDataplane();
  const own = new TestApp(d);
  const make = (): number => own.do({ op: MlsOp.Socket, args: [AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0] }).fd;
  const l = make();
  own.do({ op: MlsOp.Listen, id: 1, args: [8], fd: l });
  const { port } = own.do({ op: MlsOp.GetSockName, id: 1 }).addr;
  const c = make();
  own.do({ op: MlsOp.Connect, id: 2, args: [0], addr: at('127.0.0.1', port), fd: c });
  const { fd } = own.readWithFd(l);
  await d.stop();
  t.is(own.read(c), -E.ECONNRESET);
  t.is(own.read(fd), -E.ECONNRESET);
  own.closeAll();
  t.is(await d.exitCode, 0);
});
