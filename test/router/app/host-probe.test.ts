import { createSocket } from 'node:dgram';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { echoImpediment, HostProber } from '../../../router/app/host-probe.ts';
import { Addr } from '../../../router/lib/addr.ts';
import type { HostWay } from '../../../router/lib/host-way.ts';
import type { ProbeQuestion, ProbeResult } from '../../../router/uplink/probe.ts';
import { buildDns, parseDns } from '../../../router/wire/dns.ts';

const V4 = Addr.parse('127.0.0.1')!;
const V6 = Addr.parse('::1')!;
const ANYWHERE: HostWay = { device: undefined, source: undefined };

function ask(t: ExecutionContext, question: ProbeQuestion, to = V4, way = ANYWHERE): Promise<ProbeResult> {
  const prober = new HostProber();
  t.teardown(() => prober.close());
  return new Promise((resolve) => prober.send(way, question, to, resolve));
}

async function httpServer(t: ExecutionContext, status: number): Promise<{ port: number; seen: () => string[] }> {
  const seen: string[] = [];
  const server = createHttpServer((request, response) => {
    seen.push(`${request.headers.host} ${request.url} from ${request.socket.remoteAddress}`);
    response.writeHead(status).end('x'.repeat(100_000));
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, seen: () => seen };
}

test('a connection is an answer, a refusal is none', async (t) => {
  const server = createServer((s) => s.on('error', () => undefined));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const good = await ask(t, { kind: 'tcp', port });
  t.true('rttMs' in good && good.rttMs >= 0, JSON.stringify(good));
  await new Promise((resolve) => server.close(resolve));
  t.deepEqual(await ask(t, { kind: 'tcp', port }), { reason: 'connection refused' });
});

test('an HTTP status decides, and the source is the one of the uplink', async (t) => {
  const { port, seen } = await httpServer(t, 204);
  const question = { kind: 'http', port, path: '/up', host: 'example.org', expect: [] } as const;
  t.true('rttMs' in (await ask(t, question, V4, { device: undefined, source: Addr.parse('127.0.0.7')! })));
  t.deepEqual(seen(), ['example.org /up from 127.0.0.7']);
  t.deepEqual(await ask(t, { ...question, expect: [200] }), { reason: 'HTTP status 204' });
});

test('a name server is asked over UDP', async (t) => {
  const server = createSocket('udp6');
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.bind(0, '::1', resolve));
  server.on('message', (octets, from) => {
    const m = parseDns(octets)!;
    server.send(buildDns({ ...m, isResponse: true })!, from.port, from.address);
  });
  const { port } = server.address();
  const question = { kind: 'dns', port, name: 'example.org', type: 1 } as const;
  t.true('rttMs' in (await ask(t, question, V6)));
});

test('nobody at the port of a name server is told at once', async (t) => {
  const server = createSocket('udp4');
  await new Promise<void>((resolve) => server.bind(0, '127.0.0.1', resolve));
  const { port } = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  t.deepEqual(await ask(t, { kind: 'dns', port, name: '', type: 2 }), { reason: 'connection refused' });
});

test('a device or a source that is not there is told by its name', async (t) => {
  const question = { kind: 'tcp', port: 9 } as const;
  t.deepEqual(await ask(t, question, V4, { device: 'nowhere0', source: undefined }), {
    reason: 'nowhere0: no such interface',
  });
  t.deepEqual(await ask(t, question, V4, { device: undefined, source: Addr.parse('192.0.2.77')! }), {
    reason: '192.0.2.77: address not available',
  });
});

test('who does not wait any more hears nothing', async (t) => {
  const prober = new HostProber();
  const cancel = prober.send(ANYWHERE, { kind: 'tcp', port: 9 }, Addr.parse('192.0.2.1')!, () => t.fail());
  cancel();
  cancel();
  await new Promise((resolve) => setImmediate(resolve));
  t.pass();
});

for (const to of [V4, V6])
  test(`an echo request to ${to} is answered, or it is said why none can be sent`, async (t) => {
    const impediment = echoImpediment(to.family);
    const result = await ask(t, { kind: 'icmp' }, to, { device: 'lo', source: undefined });
    if (impediment !== undefined) t.deepEqual(result, { impediment });
    else t.true('rttMs' in result && result.rttMs < 1000, JSON.stringify(result));
  });
