import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, Socket } from 'node:net';
import test from 'ava';
import { SOCK_STREAM } from '../../../router/native/index.ts';
import {
  ACCEPT_IS_KERNEL,
  Accept,
  AF_INET,
  AF_INET6,
  Dgram,
  E,
  getHost16,
  getHost32,
  MLS_LANE_DIRECT,
  MLS_LANE_STACK,
  MlsOp,
  Opt,
  putHost32,
} from '../../../router/shimlink/proto.ts';
import { type DataplaneUnderTest, startDataplane } from '../../kit/dataplane.ts';
import { at, TestApp } from './app.ts';

const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;

let dataplane: DataplaneUnderTest;
let app: TestApp;
let lastId = 0;

test.before(async () => {
  dataplane = await startDataplane({ settings: { loopback: 'kernel' } });
  app = new TestApp(dataplane);
});

test.after.always(async () => {
  app.closeAll();
  await dataplane.stop();
});

function socket(family: number, type: number): { fd: number; id: number } {
  const { fd } = app.do({ op: MlsOp.Socket, args: [family, type | SOCK_NONBLOCK, 0] });
  return { fd, id: ++lastId };
}

test.serial("the host's loopback is the direct lane for connect and bind, with the options to replay", (t) => {
  const s = socket(AF_INET, SOCK_STREAM);
  const one = new Uint8Array(4);
  putHost32(one, 0, 1);
  app.do({ op: MlsOp.SetSockOpt, id: s.id, args: [6, 1], payload: one });
  const answer = app.do({ op: MlsOp.Connect, id: s.id, args: [1], addr: at('127.0.0.1', 80), fd: s.fd });
  t.is(answer.result, MLS_LANE_DIRECT);
  t.is(answer.payload.length, Opt.Size);
  t.is(getHost32(answer.payload, Opt.Level), 6);
  t.is(app.do({ op: MlsOp.Bind, id: s.id, addr: at('127.0.0.1', 0) }).result, MLS_LANE_DIRECT);
  const six = socket(AF_INET6, SOCK_STREAM);
  t.is(app.do({ op: MlsOp.Connect, id: six.id, args: [1], addr: at('::1', 80), fd: six.fd }).result, MLS_LANE_DIRECT);
  t.is(
    app.do({ op: MlsOp.Connect, id: six.id, args: [1], addr: at('192.0.2.1', 80), fd: six.fd }).result,
    -E.EAFNOSUPPORT,
  );
  t.is(app.do({ op: MlsOp.RouteLane, args: [SOCK_STREAM], addr: at('127.0.0.1', 80) }).result, MLS_LANE_DIRECT);
  t.is(app.do({ op: MlsOp.RouteLane, args: [SOCK_STREAM], addr: at('192.0.2.1', 80) }).result, MLS_LANE_STACK);
  app.closeAll();
});

test.serial('a wildcard listener is reached through the kernel as well, and hands its sockets over', async (t) => {
  const l = socket(AF_INET6, SOCK_STREAM);
  t.is(app.do({ op: MlsOp.Listen, id: l.id, args: [8], fd: l.fd }).result, 0);
  const { port } = app.do({ op: MlsOp.GetSockName, id: l.id }).addr;
  for (const host of ['127.0.0.1', '::1']) {
    const client = connect(port, host);
    await once(client, 'connect');
    const { octets, fd } = app.readWithFd(l.fd);
    t.is(getHost16(octets, Accept.Flags), ACCEPT_IS_KERNEL);
    const server = new Socket({ fd: fd, readable: true, writable: true });
    server.end('hello');
    const [chunk] = (await once(client, 'data')) as [Buffer];
    t.is(String(chunk), 'hello');
    client.destroy();
    await once(server.resume(), 'close');
    app.forget(fd);
  }
  app.closeAll();
});

test.serial("a UDP socket on the wildcard address exchanges datagrams with the host's loopback", async (t) => {
  const s = socket(AF_INET, SOCK_DGRAM);
  const probe = createSocket('udp4');
  probe.bind(0, '127.0.0.1');
  await once(probe, 'listening');
  // The first datagram opens the socket's way to the host.
  const head = Buffer.alloc(Dgram.Size);
  head[Dgram.Family] = AF_INET;
  head[Dgram.Flags] = 1;
  head.writeUInt16BE(probe.address().port, Dgram.Port);
  head.writeUInt32BE(0xffff, Dgram.Addr + 8);
  head.set([127, 0, 0, 1], Dgram.Addr + 12);
  app.write(s.fd, `${head.toString('latin1')}ping`, 'latin1');
  const [message, from] = (await once(probe, 'message')) as [Buffer, { port: number; address: string }];
  t.is(String(message), 'ping');
  await new Promise((resolve) => probe.send('pong', from.port, from.address, resolve));
  const answer = Buffer.from(app.read(s.fd) as string, 'latin1');
  t.is(String(answer.subarray(Dgram.Size)), 'pong');
  t.is(answer.readUInt16BE(Dgram.Port), probe.address().port);
  probe.close();
  app.closeAll();
});
