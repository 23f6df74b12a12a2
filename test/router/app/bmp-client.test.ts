/** The client against a real TCP server: it tells, tries again when the station goes away, and says goodbye. */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { BmpFeed } from '../../../bgp/monitor/bmp-feed.ts';
import type { MonitoredSession } from '../../../bgp/monitor/monitor.ts';
import { BmpClient } from '../../../router/app/bmp-client.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { until } from '../../bgp/kit/bird.ts';

function feed(portions: Iterable<readonly Uint8Array[]> = [], sessions: readonly MonitoredSession[] = []): BmpFeed {
  return new BmpFeed({
    systemName: 'here',
    description: 'test',
    wallMs: () => 0,
    tables: ['in_pre'],
    instances: [
      {
        name: 'global',
        asn: 64512,
        routerId: Addr.v4(1),
        sessions: () => sessions,
        monitoring: {
          receivedUpdates: function* () {
            yield* portions;
          },
          statistics: () => undefined,
          views: () => [],
        },
      },
    ],
  });
}

async function station(t: ExecutionContext): Promise<{ server: Server; port: number }> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { server, port: (server.address() as { port: number }).port };
}

/** The messages' types in what arrives until the connection ends. */
async function typesOf(socket: Socket): Promise<number[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const b = Buffer.concat(chunks);
  const types: number[] = [];
  for (let at = 0; at < b.length; at += b.readUInt32BE(at + 1)) types.push(b[at + 5]!);
  return types;
}

test('a station hears an initiation, and a termination when we stop', async (t) => {
  const { server, port } = await station(t);
  const logged: string[] = [];
  const log = makeLogger((line) => logged.push(line.message), 'bmp', 'info');
  const client = new BmpClient({ address: Addr.parse('127.0.0.1')!, port }, feed(), log);
  const connection = once(server, 'connection') as Promise<[Socket]>;
  client.start();
  const [socket] = await connection;
  const types = typesOf(socket);
  await once(socket, 'readable');
  await client.stop();
  t.deepEqual(await types, [4, 5]);
  t.deepEqual(logged, ['BMP station connected']);
});

test('tables wait for a station that does not read, and are told whole when it does', async (t) => {
  const { server, port } = await station(t);
  const [octets, count] = [new Uint8Array(64 << 10), 1000];
  let pulled = 0;
  const portions = function* (): Generator<readonly Uint8Array[]> {
    for (; pulled < count; pulled++) yield [octets];
  };
  const session = {
    peer: 'x',
    address: Addr.v4(1),
    port: 179,
    local: undefined,
    sentOpen: octets,
    receivedOpen: octets,
  };
  const negotiated = { peerAs: 1, peer: { identifier: 1 }, context: { fourOctetAs: true } };
  const client = new BmpClient(
    { address: Addr.parse('127.0.0.1')!, port },
    feed(portions(), [{ ...session, negotiated } as unknown as MonitoredSession]),
    makeLogger(() => undefined, 'bmp', 'error'),
  );
  t.teardown(() => client.stop());
  const connection = once(server, 'connection') as Promise<[Socket]>;
  client.start();
  const [socket] = await connection;
  socket.pause();
  let [before, still] = [0, 0];
  await until(() => {
    still = pulled > 0 && pulled === before ? still + 1 : 0;
    before = pulled;
    return still === 10;
  }, 'nothing more is taken');
  t.true(pulled < count / 2, `${pulled} portions of 64 KiB were taken for a station that reads none`);
  let received = 0;
  socket.on('data', (chunk: Buffer) => (received += chunk.length));
  socket.resume();
  await until(() => pulled === count && received > count * octets.length, 'all of it');
  t.true(received > count * octets.length);
});

test('a station that is not there is named with the reason', async (t) => {
  const { server, port } = await station(t);
  server.close();
  await once(server, 'close');
  const line = await new Promise<{ message: string; fields: Record<string, unknown> }>((resolve) => {
    const log = makeLogger((l) => resolve(l as never), 'bmp', 'info');
    const client = new BmpClient({ address: Addr.parse('127.0.0.1')!, port }, feed(), log);
    client.start();
    t.teardown(() => client.stop());
  });
  t.is(line.message, 'BMP station is not connected');
  t.like(line.fields, { why: 'ECONNREFUSED', retry_s: 5 });
});
