import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { RoutingClient } from '../../../router/app/routing-client.ts';
import type { RoutingBoot } from '../../../router/app/routing-protocol.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import { FibReader } from '../../../router/fib/reader.ts';
import { type FibShared, RouteKind, RouteSource } from '../../../router/fib/shared.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { posted } from '../../../router/lib/post.ts';
import { Station } from '../../bgp/kit/station.ts';

const LINKS = [
  { index: 2, name: 'a', vrf: 0, mtu: 1420, addresses: ['10.0.0.2/24', 'fe80::1/64'] },
  { index: 3, name: 'b', vrf: 0, mtu: 1380, addresses: ['10.1.0.2/32'] },
];
const hop = (link: number) => ({ link, gateway: undefined, weight: 1 });
const BOOT: RoutingBoot = {
  links: LINKS,
  vrfs: posted([]),
  routes: [
    { vrf: 0, prefix: '10.0.0.0/24', source: RouteSource.Connected, kind: 'unicast', hops: [hop(2)] },
    { vrf: 0, prefix: '0.0.0.0/0', source: RouteSource.Static, kind: 'unicast', hops: [hop(2), hop(3)] },
    { vrf: 0, prefix: '203.0.113.0/24', source: RouteSource.Static, kind: 'blackhole', hops: [] },
  ],
  bgp: undefined,
  fpm: undefined,
  source: { v4: '10.1.0.2', v6: undefined },
};

async function start(t: { teardown(fn: () => unknown): void }, boot: RoutingBoot = BOOT) {
  const worker = new Worker(new URL('../../../router/app/routing-worker.js', import.meta.url), { workerData: boot });
  t.teardown(() => worker.terminate());
  const routing = new RoutingClient(worker, () => undefined);
  return { routing, fib: new FibReader((await routing.ready) as FibShared) };
}

test('configured routes are in the table readers share, and carry flows when their link is up', async (t) => {
  const { routing, fib } = await start(t);
  const to = Addr.parse('10.0.0.9')!;
  const group = fib.lookup4(0, to.a3);
  t.is(fib.kind(group), RouteKind.Unicast);
  t.is(fib.memberLink(group, 0), 0);
  routing.send({ kind: 'link-state', index: 2, up: true });
  await routing.summary();
  t.is(fib.memberLink(group, 0), 2);
});

test('route get names the prefix, the uplink, the source and the MTU', async (t) => {
  const { routing } = await start(t);
  const answer = await routing.ask({ verb: 'route_get', args: { dst: '10.0.0.9' } });
  t.like(answer, { kind: 'unicast', prefix: '10.0.0.0/24', source: '10.0.0.2', mtu: 1420, origin: 'connected' });
  t.deepEqual(answer.next_hops, [{ gateway: '', uplink: 'a', weight: 1 }]);
});

test('route get tells local, blackhole, link-local and missing destinations apart', async (t) => {
  const { routing } = await start(t);
  const kind = async (dst: string) => (await routing.ask({ verb: 'route_get', args: { dst } })).kind;
  t.is(await kind('10.1.0.2'), 'local');
  t.is(await kind('203.0.113.7'), 'blackhole');
  t.is(await kind('2001:db8::1'), 'none');
  t.is(await kind('fe80::2'), 'none');
  t.is(await kind('fe80::2%a'), 'unicast');
  await t.throwsAsync(kind('nonsense'), { message: '"nonsense" is not an IPv4 or IPv6 address' });
});

test('the preferred source is used where the destination is not on the link', async (t) => {
  const { routing } = await start(t);
  t.is((await routing.ask({ verb: 'route_get', args: { dst: '8.8.8.8' } })).source, '10.1.0.2');
});

test('route show lists the table, and one origin on request', async (t) => {
  const { routing } = await start(t);
  const prefixes = async (origin: string) =>
    (await routing.ask({ verb: 'route_show', args: { origin } })).routes.map((r) => r.prefix);
  t.deepEqual((await prefixes('')).sort(), ['0.0.0.0/0', '10.0.0.0/24', '203.0.113.0/24']);
  t.deepEqual(await prefixes('connected'), ['10.0.0.0/24']);
});

test('without BGP its questions have empty answers', async (t) => {
  const { routing } = await start(t);
  t.is((await routing.ask({ verb: 'bgp_show', args: { peer: '' } })).asn, 0);
  t.deepEqual((await routing.ask({ verb: 'bgp_routes', args: { table: 'best', peer: '', prefix: '' } })).routes, []);
  await t.throwsAsync(routing.ask({ verb: 'bgp_dump', args: { vrf: '' } }), { message: 'BGP is not configured' });
});

test('an MRT table has its parts, and what is no place in it is refused', async (t) => {
  const settings = { asn: 65001, router_id: '10.0.0.2', networks: ['10.9.0.0/16'], peers: [] };
  const bgp = posted(toBgp(bgpSchema.parse(settings), '/nowhere/mlshim.yaml'));
  const { routing } = await start(t, { ...BOOT, bgp });
  const froms: string[] = [];
  for (let from = ''; ; ) {
    const { mrt, next } = await routing.ask({ verb: 'bgp_dump', args: { vrf: '', from } });
    if (from === '') t.is(new DataView(mrt.buffer, mrt.byteOffset).getUint16(4), 13, 'TABLE_DUMP_V2');
    froms.push(next);
    if (next === '') break;
    from = next;
  }
  t.true(froms.length < 5);
  const askFrom = (from: string) => routing.ask({ verb: 'bgp_dump', args: { vrf: '', from } });
  await t.throwsAsync(askFrom('0:x:1'), { message: '"0:x:1" is no place in a table' });
  t.like(await askFrom('9999999999:0:0'), { next: '' });
  t.like(await askFrom('0:9999999999:0'), { next: '1:0:0' });
  await t.throwsAsync(routing.ask({ verb: 'bgp_dump', args: { vrf: 'red' } }), { code: 'UNKNOWN' });
});

test('a BMP station hears of the table it is configured for', async (t) => {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const bmp = [{ station: `127.0.0.1:${port}`, tables: ['loc'] }];
  const settings = { asn: 65001, router_id: '10.0.0.2', networks: ['10.9.0.0/16', '10.8.0.0/16'], peers: [], bmp };
  const bgp = posted(toBgp(bgpSchema.parse(settings), '/nowhere/mlshim.yaml'));
  const connection = once(server, 'connection') as Promise<[Socket]>;
  const { routing } = await start(t, { ...BOOT, bgp });
  routing.send({ kind: 'start' });
  const [socket] = await connection;
  const station = new Station();
  let rest = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    rest = Buffer.concat([rest, chunk]);
    for (; rest.length >= 6 && rest.length >= rest.readUInt32BE(1); rest = rest.subarray(rest.readUInt32BE(1)))
      station.write(rest.subarray(0, rest.readUInt32BE(1)));
    if (station.ends.size > 0) break;
  }
  t.deepEqual([...station.table('loc', 65001).keys()].sort(), ['10.8.0.0/16', '10.9.0.0/16']);
});

test('a peer that is not there is named together with those that are', async (t) => {
  const peer = { name: 'x', asn: 65002, address: 'fe80::2', via: 'a', families: ['ipv4'] };
  const settings = { asn: 65001, router_id: '10.0.0.2', networks: ['10.9.0.0/16'], peers: [peer] };
  const bgp = posted(toBgp(bgpSchema.parse(settings), '/nowhere/mlshim.yaml'));
  const { routing } = await start(t, { ...BOOT, bgp });
  t.is((await routing.ask({ verb: 'bgp_show', args: { peer: 'x' } })).peers[0]!.state, 'Idle');
  await t.throwsAsync(routing.ask({ verb: 'bgp_show', args: { peer: 'y' } }), {
    message: 'no bgp peer "y" (known: x)',
  });
  const { routes } = await routing.ask({ verb: 'bgp_routes', args: { table: 'best', peer: '', prefix: '' } });
  t.deepEqual(
    routes.map((r) => [r.prefix, r.peer]),
    [['10.9.0.0/16', 'local']],
  );
});

test('a peer whose filter function is not there keeps the worker from starting, and is named', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'f.mjs'), 'export const some = (route) => route;\n');
  const boot = (module: string): RoutingBoot => {
    const peer = { name: 'x', asn: 65002, address: 'fe80::2', via: 'a', import: { module } };
    const settings = { asn: 65001, router_id: '10.0.0.2', filters: './f.mjs', peers: [peer] };
    return { ...BOOT, bgp: posted(toBgp(bgpSchema.parse(settings), join(folder, 'mlshim.yaml'))) };
  };
  const { routing } = await start(t, boot('some'));
  t.is((await routing.ask({ verb: 'bgp_show', args: { peer: 'x' } })).peers[0]!.state, 'Idle');
  const worker = new Worker(new URL('../../../router/app/routing-worker.js', import.meta.url), {
    workerData: boot('other'),
  });
  worker.on('error', (e) => t.fail(`it ends with a stack nobody needs: ${e.stack}`));
  const ended = once(worker, 'exit');
  await t.throwsAsync(new RoutingClient(worker, () => undefined).ready, {
    code: 'CONFIG_INVALID',
    message: `${join(folder, 'f.mjs')}: exports no function "other" (known: some)`,
  });
  t.deepEqual(await ended, [78]);
});

test('a listing of routes comes in bounded parts, and a prefix finds what is inside it', async (t) => {
  const networks = Array.from({ length: 1200 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
  const settings = {
    asn: 65001,
    router_id: '10.0.0.2',
    networks: [...networks, '192.0.2.0/24', 'fd42::/48'],
    peers: [],
  };
  const bgp = posted(toBgp(bgpSchema.parse(settings), '/nowhere/mlshim.yaml'));
  const { routing } = await start(t, { ...BOOT, bgp });
  const all = async (prefix: string, longer: boolean) => {
    const sizes: number[] = [];
    const seen = new Set<string>();
    for (let from = ''; ; ) {
      const part = await routing.ask({ verb: 'bgp_routes', args: { table: 'best', peer: '', prefix, longer, from } });
      sizes.push(part.routes.length);
      for (const r of part.routes) seen.add(r.prefix);
      if (part.next === '') return { sizes, seen: [...seen] };
      from = part.next;
    }
  };
  routing.send({ kind: 'start' });
  // They are decided in slices: on a busy machine not all of them in the first turn.
  let listing = await all('', false);
  while (listing.seen.length < 1202) listing = await all('', false);
  const { sizes, seen } = listing;
  t.deepEqual(sizes, [200, 200, 200, 200, 200, 200, 2]);
  t.is(seen.length, 1202);
  t.is((await all('10.1.0.0/16', true)).seen.length, 256);
  t.deepEqual((await all('fd00::/8', true)).seen, ['fd42::/48']);
  t.deepEqual((await all('10.1.0.0/16', false)).seen, []);
  t.deepEqual((await all('10.1.7.0/24', false)).seen, ['10.1.7.0/24']);
});
