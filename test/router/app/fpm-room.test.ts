import { connect, type Socket } from 'node:net';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { RoutingClient } from '../../../router/app/routing-client.ts';
import type { RoutingBoot } from '../../../router/app/routing-protocol.ts';
import type { FpmConfig } from '../../../router/config/fpm.ts';
import type { FpmStatus } from '../../../router/control/messages.ts';
import { RouteSource } from '../../../router/fib/shared.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { posted } from '../../../router/lib/post.ts';
import { freePort } from '../../bgp/kit/loopback.ts';
import * as kit from '../fpm/kit.ts';

const BLUE = { name: 'blue', rd: undefined, importTargets: [], exportTargets: [], networks: [] };

const BOOT: Omit<RoutingBoot, 'fpm'> = {
  links: [
    { index: 2, name: 'home', vrf: 0, mtu: 1420, addresses: ['10.0.1.2/24'] },
    { index: 3, name: 'blue0', vrf: 1, mtu: 1420, addresses: [] },
  ],
  vrfs: posted([{ name: 'blue', number: 1, config: BLUE }]),
  routes: [
    {
      vrf: 0,
      prefix: '10.0.1.0/24',
      source: RouteSource.Connected,
      kind: 'unicast',
      hops: [{ link: 2, gateway: undefined, weight: 1 }],
    },
  ],
  bgp: undefined,
  source: { v4: undefined, v6: undefined },
};

async function start(t: ExecutionContext, settings: Partial<FpmConfig> = {}) {
  const port = await freePort();
  const config: FpmConfig = {
    listen: { addr: Addr.parse('127.0.0.1')!, port },
    allow: [Prefix.parse('127.0.0.1/32')!],
    interfaces: [{ interface: 'lo', uplink: 'home' }],
    tables: [{ table: 100, vrf: 'blue' }],
    holdTimeS: 120,
    staleTimeS: 60,
    confirm: false,
    ...settings,
  };
  const fpm = posted(config);
  const worker = new Worker(new URL('../../../router/app/routing-worker.js', import.meta.url), {
    workerData: { ...BOOT, fpm },
  });
  t.teardown(() => worker.terminate());
  const routing = new RoutingClient(worker, () => undefined);
  await routing.ready;
  routing.send({ kind: 'start' });
  const status = async (): Promise<FpmStatus> => (await routing.summary()).fpm!;
  const until = async (what: string, check: (s: FpmStatus) => boolean): Promise<FpmStatus> => {
    const limit = AbortSignal.timeout(10_000);
    for (;;) {
      const now = await status();
      if (check(now)) return now;
      if (limit.aborted) throw new Error(`not in time: ${what}: ${JSON.stringify(now)}`);
    }
  };
  await until('listening', (s) => s.state === 'waiting');
  const client = async (localAddress = '127.0.0.1'): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port, localAddress }).on('error', () => undefined); // it may be reset
    t.teardown(() => socket.destroy());
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return socket;
  };
  const shown = async () => (await routing.ask({ verb: 'route_show', args: { origin: 'external' } })).routes;
  return { routing, until, client, shown, boot: { ...BOOT, fpm }, fpm: config };
}

const route = (prefix: string, ...attributes: number[][]): number[] => kit.route(kit.NEWROUTE, prefix, { attributes });

test('routes of a client are shown with the protocol that made them', async (t) => {
  const { routing, until, client, shown } = await start(t);
  const zebra = await client();
  zebra.write(kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9')), route('10.6.0.0/16', kit.oif(1))));
  const status = await until('two routes', (s) => s.routes === 2);
  t.like(status, { state: 'connected', encoding: 'netlink', messages: 2, unresolved: 0 });
  t.deepEqual(
    (await shown()).map((r) => [r.prefix, r.detail, r.next_hops[0]?.gateway, r.next_hops[0]?.uplink]),
    [
      ['10.5.0.0/16', 'ospf', '10.0.1.9', 'home'],
      ['10.6.0.0/16', 'ospf', '', 'home'],
    ],
  );
  const got = await routing.ask({ verb: 'route_get', args: { dst: '10.5.0.1' } });
  t.deepEqual(got.reasons, ['table main: 10.5.0.0/16, external (ospf), distance 110']);
  zebra.write(kit.frame(route('10.7.0.0/16', kit.gateway('192.0.2.1'))));
  t.like(await until('an unresolved route', (s) => s.unresolved === 1), { routes: 2 });
});

test('one client at a time is served, and only from where it may come', async (t) => {
  const { until, client } = await start(t);
  const first = await client();
  await until('connected', (s) => s.state === 'connected');
  const second = await client();
  await new Promise((resolve) => second.once('close', resolve));
  first.destroy();
  await until('gone', (s) => s.state === 'waiting');
  const stranger = await client('127.0.0.2');
  await new Promise((resolve) => stranger.once('close', resolve));
  const third = await client();
  third.write(kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9'))));
  t.like(await until('served', (s) => s.routes === 1), { state: 'connected', last_error: '' });
});

test('a client that speaks something else is disconnected, and its routes are kept and then removed', async (t) => {
  const { until, client } = await start(t, { holdTimeS: 1 });
  const zebra = await client();
  zebra.write(kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9'))));
  await until('a route', (s) => s.routes === 1);
  zebra.write('GET / HTTP/1.1\r\n\r\n');
  const status = await until('disconnected', (s) => s.state === 'waiting');
  t.like(status, { routes: 1, last_error: 'FPM version 71 instead of 1' });
  await until('removed', (s) => s.routes === 0);
});

test('a route that was taken is confirmed to a client that asks for it', async (t) => {
  const { client } = await start(t, { confirm: true });
  const zebra = await client();
  const octets = kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9')));
  zebra.write(octets);
  const answer = await new Promise<Buffer>((resolve) => zebra.once('data', resolve));
  const expected = Uint8Array.from(octets);
  expected[4 + 16 + 8 + 1] = 0x40;
  t.deepEqual(Uint8Array.from(answer), expected);
});

test("a client's tables are VRFs, each with its own links", async (t) => {
  const { routing, until, client, shown } = await start(t, { interfaces: [{ interface: '7', uplink: 'blue0' }] });
  const zebra = await client();
  const inTable = (table: number, prefix: string, ...attributes: number[][]) =>
    kit.route(kit.NEWROUTE, prefix, { table, attributes });
  zebra.write(kit.frame(inTable(100, '10.5.0.0/16', kit.oif(7)), inTable(100, '10.6.0.0/16', kit.gateway('10.0.1.9'))));
  zebra.write(kit.frame(inTable(254, '10.7.0.0/16', kit.oif(7)), inTable(101, '10.8.0.0/16', kit.oif(7))));
  // The gateway is behind a link of the main VRF, the main table's interface in the other one, table 101 nobody's.
  await until('messages', (s) => s.messages === 4);
  t.like(await until('routes', (s) => s.routes === 1), { unresolved: 1, ignored: 1 });
  t.deepEqual(await shown(), []);
  const { routes } = await routing.ask({ verb: 'route_show', args: { origin: 'external', vrf: 'blue' } });
  t.deepEqual(
    routes.map((r) => [r.prefix, r.detail, r.next_hops[0]?.uplink]),
    [['10.5.0.0/16', 'ospf', 'blue0']],
  );
});

test('routes of a client follow a reload of ours', async (t) => {
  const { routing, until, client, shown, boot } = await start(t);
  const zebra = await client();
  zebra.write(kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9')), route('10.6.0.0/16', kit.gateway('10.0.2.9'))));
  t.like(await until('one route', (s) => s.routes === 1), { unresolved: 1 });
  const moved = boot.routes.map((r) => ({ ...r, prefix: '10.0.2.0/24' }));
  await routing.reload({ ...boot, routes: moved });
  await until('the other route', (s) => s.routes === 1 && s.unresolved === 1);
  t.deepEqual(
    (await shown()).map((r) => r.prefix),
    ['10.6.0.0/16'],
  );
});

test('the server moves while routes are kept, takes other tables, and takes its routes with it when it goes', async (t) => {
  const { routing, until, client, shown, boot, fpm } = await start(t);
  const zebra = await client();
  const closed = new Promise((resolve) => zebra.once('close', resolve));
  zebra.write(kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9'))));
  await until('a route', (s) => s.routes === 1);
  const reload = (changes: Partial<FpmConfig> | undefined) =>
    routing.reload({ ...boot, fpm: changes && posted({ ...fpm, ...changes }) });
  await reload({ holdTimeS: 100 });
  t.is((await until('the client stays', () => true)).state, 'connected');
  const elsewhere = { addr: fpm.listen.addr, port: await freePort() };
  await reload({ listen: elsewhere });
  await closed;
  const moved = await until('it waits there', (s) => s.state === 'waiting');
  t.like(moved, { listen: `127.0.0.1:${elsewhere.port}`, routes: 1 });
  t.is((await shown()).length, 1);
  await t.throwsAsync(client());
  const again = connect(elsewhere.port, '127.0.0.1').on('error', () => undefined); // it may be reset
  t.teardown(() => again.destroy());
  again.write(kit.frame(route('10.5.0.0/16', kit.gateway('10.0.1.9'))));
  await until('it is told again', (s) => s.stale === 0 && s.routes === 1);
  const closedAgain = new Promise((resolve) => again.once('close', resolve));
  await reload({ listen: elsewhere, tables: [] });
  await closedAgain;
  t.is((await shown()).length, 1, 'kept until the client has told all again');
  await reload(undefined);
  t.is((await routing.summary()).fpm, undefined);
  for (let left = 1; left > 0; left = (await shown()).length);
  await reload({ listen: elsewhere });
  await until('it waits again', (s) => s.state === 'waiting' && s.routes === 0);
});
