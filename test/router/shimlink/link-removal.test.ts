/** Sockets whose link goes away while they use it: the ring's other side is the test, which lets nothing through. */
import test from 'ava';
import type { DataplaneStats } from '../../../router/app/dataplane-protocol.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { SOCK_STREAM } from '../../../router/native/index.ts';
import { AF_INET, Dgram, DgramFlag, E, MlsOp } from '../../../router/shimlink/proto.ts';
import { initRegion } from '../../../wg/ring.ts';
import { MIN_RING_BYTES, regionBytes } from '../../../wg/ring-layout.ts';
import { type DataplaneUnderTest, startDataplane } from '../../kit/dataplane.ts';
import { at, TestApp } from './app.ts';

const LINK = 2;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;

let dataplane: DataplaneUnderTest;
let app: TestApp;

test.before(async () => {
  dataplane = await startDataplane();
  app = new TestApp(dataplane);
});

test.after.always(async () => {
  app.closeAll();
  await dataplane.stop();
});

async function stats(): Promise<DataplaneStats> {
  return (await dataplane.client.request({ kind: 'stats' }).reply).result as DataplaneStats;
}

test('sockets outlive the link they use, and the router goes on', async (t) => {
  const { world, native, client, fib } = dataplane;
  const base = world.alloc(regionBytes(MIN_RING_BYTES), 4096);
  initRegion(world, base, MIN_RING_BYTES);
  client.send({
    kind: 'attach-child',
    child: 0,
    base,
    ringBytes: MIN_RING_BYTES,
    rxEventFd: native.eventfd(),
    txEventFd: native.eventfd(),
  });
  const addresses = ['10.9.0.1/24'];
  client.send({
    kind: 'link-add',
    link: { index: LINK, name: 'up0', vrf: 0, mtu: 1420, child: 0, device: 0, addresses },
  });
  fib.apply([{ vrf: 0, prefix: Prefix.parse('198.51.100.0/24')!, source: 1, nextHops: [{ link: LINK }] }]);
  const changed = fib.takeChangedShared();
  if (changed !== undefined) client.send({ kind: 'fib', fib: changed });
  client.send({ kind: 'link-state', index: LINK, up: true });
  t.is((await stats()).links.length, 1);

  // A connect under way, a connected UDP socket and a socket bound to the link's address.
  const make = (type: number): number => app.do({ op: MlsOp.Socket, args: [AF_INET, type | SOCK_NONBLOCK, 0] }).fd;
  const fds = [make(SOCK_STREAM), make(SOCK_DGRAM), make(SOCK_STREAM)];
  const to = at('198.51.100.7', 80);
  t.is(app.do({ op: MlsOp.Connect, id: 1, args: [1], addr: to, fd: fds[0]! }).result, -E.EINPROGRESS);
  t.is(app.do({ op: MlsOp.Connect, id: 2, args: [1], addr: to }).result, 0);
  t.is(app.do({ op: MlsOp.Bind, id: 3, addr: at('10.9.0.1', 8080) }).result, 0);
  t.is(app.do({ op: MlsOp.Listen, id: 3, args: [8], fd: fds[2]! }).result, 0);

  fib.apply([{ vrf: 0, prefix: Prefix.parse('198.51.100.0/24')!, source: 1, nextHops: undefined }]);
  client.send({ kind: 'link-remove', index: LINK });
  t.deepEqual((await stats()).links, []);

  const head = Buffer.alloc(Dgram.Size);
  head[Dgram.Family] = AF_INET;
  app.write(fds[1]!, `${head.toString('latin1')}ping`, 'latin1');
  const told = Buffer.from(app.read(fds[1]!) as string, 'latin1');
  t.is(told[Dgram.Flags]! & DgramFlag.Error, DgramFlag.Error);
  t.is(told.readInt32LE(Dgram.Err), E.ENETUNREACH);
  t.is(app.do({ op: MlsOp.GetSockName, id: 3 }).addr.port, 8080);
  const late = make(SOCK_STREAM);
  t.is(app.do({ op: MlsOp.Connect, id: 4, args: [1], addr: to, fd: late }).result, -E.ENETUNREACH);
  app.closeAll();
  t.is(app.do({ op: MlsOp.Hello }).result, 0);
  t.deepEqual(dataplane.logs, []);
});
