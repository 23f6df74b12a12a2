import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { DnsForwarder, type ForwarderPort } from '../../../router/app/dns-forwarder.ts';
import { framed, StreamReader } from '../../../router/app/dns-upstream.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { buildDns, buildDnsQuery, DnsRcode, DnsType, parseDns } from '../../../router/wire/dns.ts';

const LOOPBACK = Addr.parse('127.0.0.1')!;
/** Loopback addresses of servers that nobody has made: they refuse at once. */
const NOBODY = Addr.parse('127.0.0.99')!;
const HERE = { device: undefined, source: undefined };
const LOG = makeLogger(() => undefined, 'test', 'error');

/** The answer to a query: that the name has this address. */
function answerTo(query: Uint8Array, address: string): Uint8Array {
  const asked = parseDns(query)!;
  const { name, type } = asked.questions[0]!;
  const data = { kind: 'address' as const, addr: Addr.parse(address)! };
  const alias = {
    name,
    type: DnsType.CNAME,
    class: 1,
    ttlS: 60,
    data: { kind: 'name' as const, name: 'other.example' },
  };
  const record = { name: 'other.example', type, class: 1, ttlS: 60, data };
  return buildDns({ ...asked, isResponse: true, answers: [alias, record], additionals: [] })!;
}

/** A name server for both transports, and what it was asked. */
async function nameServer(
  t: ExecutionContext,
  address: string,
  change: (answer: Uint8Array) => Uint8Array[] = (a) => [a],
) {
  const ids: number[] = [];
  const udp = createSocket('udp4');
  udp.on('message', (query, from) => {
    ids.push(parseDns(query)!.id);
    for (const octets of change(answerTo(query, address))) udp.send(octets, from.port, from.address);
  });
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');
  const { port } = udp.address();
  const tcp = createServer((client) => {
    const reader = new StreamReader();
    client.on('data', (octets) => {
      for (const query of reader.push(octets)) client.write(framed(answerTo(query, address)));
    });
    client.on('error', () => client.destroy());
  });
  tcp.listen(port, '127.0.0.1');
  await once(tcp, 'listening');
  t.teardown(() => {
    udp.close();
    tcp.close();
  });
  return { port, ids };
}

async function forwarder(
  t: ExecutionContext,
  port: ForwarderPort,
  upstreamPort: number,
  classes: readonly number[] = [0],
) {
  const ports = new Map<number, number>();
  const made = new DnsForwarder(port, LOG, upstreamPort);
  t.teardown(() => made.close());
  await made.serve(classes, (id, p) => ports.set(id, p));
  return { made, ports };
}

async function client(t: ExecutionContext): Promise<DatagramSocket> {
  const socket = createSocket('udp4');
  t.teardown(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

async function ask(socket: DatagramSocket, port: number, name = 'www.example.org') {
  socket.send(buildDnsQuery(0x1234, name, DnsType.A, 1232)!, port, '127.0.0.1');
  const [octets] = (await once(socket, 'message')) as [Buffer];
  return parseDns(octets)!;
}

test('what is learned is told before the answer, under the name that was asked for', async (t) => {
  const server = await nameServer(t, '203.0.113.7');
  const order: string[] = [];
  const { ports } = await forwarder(
    t,
    {
      upstreams: () => [{ server: LOOPBACK, way: HERE }],
      learned: (name, addr, ttlS) => order.push(`${name} ${addr} ${ttlS}`),
    },
    server.port,
  );
  const socket = await client(t);
  socket.on('message', () => order.push('answer'));
  const answer = await ask(socket, ports.get(0)!, 'WWW.Example.org');
  t.deepEqual(order, ['www.example.org 203.0.113.7 60', 'answer']);
  t.is(answer.id, 0x1234);
  t.is(answer.answers.length, 2);
});

test('each class has a port of its own, and its own servers', async (t) => {
  const server = await nameServer(t, '203.0.113.7');
  const asked: (readonly [number, string])[] = [];
  const { ports } = await forwarder(
    t,
    {
      upstreams: (id, name) => {
        asked.push([id, name]);
        return id === 7 ? [] : [{ server: LOOPBACK, way: HERE }];
      },
      learned: () => undefined,
    },
    server.port,
    [3, 7],
  );
  t.not(ports.get(3), ports.get(7));
  const socket = await client(t);
  t.is((await ask(socket, ports.get(3)!)).rcode, DnsRcode.NoError);
  t.is((await ask(socket, ports.get(7)!)).rcode, DnsRcode.Refused);
  t.deepEqual(asked, [
    [3, 'www.example.org'],
    [7, 'www.example.org'],
  ]);
});

test('a server that cannot be reached is followed by the next; after the last the failure is told', async (t) => {
  const server = await nameServer(t, '203.0.113.7');
  let servers = [NOBODY, LOOPBACK];
  const { ports } = await forwarder(
    t,
    { upstreams: () => servers.map((s) => ({ server: s, way: HERE })), learned: () => undefined },
    server.port,
  );
  const socket = await client(t);
  t.is((await ask(socket, ports.get(0)!)).rcode, DnsRcode.NoError);
  servers = [NOBODY];
  t.is((await ask(socket, ports.get(0)!)).rcode, DnsRcode.ServFail);
});

test('an answer with another id or to another question is not believed', async (t) => {
  const server = await nameServer(t, '203.0.113.7', (good) => {
    const wrongId = good.slice();
    wrongId[0]! ^= 1;
    const asked = parseDns(good)!;
    const wrongName = buildDns({ ...asked, questions: [{ ...asked.questions[0]!, name: 'evil.example' }] })!;
    return [wrongId, wrongName, good];
  });
  const learned: string[] = [];
  const { ports } = await forwarder(
    t,
    { upstreams: () => [{ server: LOOPBACK, way: HERE }], learned: (name) => learned.push(name) },
    server.port,
  );
  const answer = await ask(await client(t), ports.get(0)!);
  t.is(answer.questions[0]!.name, 'www.example.org');
  t.deepEqual(learned, ['www.example.org']);
  t.is(server.ids.length, 1);
});

test('TCP goes on over TCP, several questions on one connection', async (t) => {
  const server = await nameServer(t, '203.0.113.7');
  const learned: string[] = [];
  const { ports } = await forwarder(
    t,
    { upstreams: () => [{ server: LOOPBACK, way: HERE }], learned: (name) => learned.push(name) },
    server.port,
  );
  const socket = new Socket();
  t.teardown(() => socket.destroy());
  socket.connect(ports.get(0)!, '127.0.0.1');
  const query = (name: string) => framed(buildDnsQuery(name.length, name, DnsType.A, 0)!);
  socket.write(Buffer.concat([query('a.example'), query('bc.example')]));
  const reader = new StreamReader();
  const names = new Set<string>();
  while (names.size < 2) {
    const [octets] = (await once(socket, 'data')) as [Buffer];
    for (const message of reader.push(octets)) names.add(parseDns(message)!.questions[0]!.name);
  }
  t.deepEqual([...names].sort(), ['a.example', 'bc.example']);
  t.deepEqual(learned.sort(), ['a.example', 'bc.example']);
});

test('a class that is not wanted any more has no port', async (t) => {
  const server = await nameServer(t, '203.0.113.7');
  const { made, ports } = await forwarder(
    t,
    { upstreams: () => [{ server: LOOPBACK, way: HERE }], learned: () => undefined },
    server.port,
    [1, 2],
  );
  const before = new Map(ports);
  ports.clear();
  await made.serve([2], (id, p) => ports.set(id, p));
  t.is(ports.size, 0, 'the port of a class that stays is the one it has');
  const socket = await client(t);
  t.is((await ask(socket, before.get(2)!)).rcode, DnsRcode.NoError);
  const connection = new Socket();
  connection.connect(before.get(1)!, '127.0.0.1');
  const [error] = (await once(connection, 'error')) as [NodeJS.ErrnoException];
  t.is(error.code, 'ECONNREFUSED');
});
