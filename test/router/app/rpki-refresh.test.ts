/** `bgp rpki refresh`: caches on loopback that answer when the test says so, and files. */
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Transport } from '../../../bgp/ports.ts';
import { RpkiRoom } from '../../../router/app/rpki-room.ts';
import type { RoaFileConfig, RtrServerConfig } from '../../../router/config/rpki.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { dn42Json } from '../../bgp/kit/roas.ts';
import { cacheResponse, endOfData, prefixPdu } from '../../bgp/kit/rtr.ts';

const QUIET = makeLogger(() => undefined, 'test', 'error');
const SESSION = 7;
const SERIAL_QUERY = 1;

/** A cache that has one VRP for each serial number, and tells it when it is let. */
class Cache {
  serial = 1;
  readonly #server: Server;
  #asked: () => void = () => undefined;
  #queries: { readonly socket: Socket; readonly type: number }[] = [];

  private constructor(t: ExecutionContext, server: Server) {
    this.#server = server;
    const sockets = new Set<Socket>();
    server.on('connection', (socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('data', (octets) => {
        this.#queries.push({ socket, type: octets[1]! });
        this.#asked();
      });
    });
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  }

  static async listening(t: ExecutionContext): Promise<Cache> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Cache(t, server);
  }

  get config(): RtrServerConfig {
    const { port } = this.#server.address() as AddressInfo;
    const where = { name: `127.0.0.1:${port}`, host: '127.0.0.1', port, via: undefined, routed: false, preference: 1 };
    return { ...where, refreshS: 3600, retryS: 600, expireS: 7200 };
  }

  /** The next query; resolves when it has come. */
  async query(): Promise<{ readonly socket: Socket; readonly type: number }> {
    while (this.#queries.length === 0)
      await new Promise<void>((resolve) => {
        this.#asked = resolve;
      });
    return this.#queries.shift()!;
  }

  /** Answer the next query with this VRP; `finish` sends the End of Data. */
  async answer(vrp: string): Promise<{ readonly type: number; readonly finish: () => void }> {
    const { socket, type } = await this.query();
    socket.write(Buffer.concat([cacheResponse(1, SESSION), prefixPdu(1, vrp)]));
    return { type, finish: () => void socket.write(endOfData(1, SESSION, this.serial++)) };
  }

  end(): void {
    this.#server.close();
  }
}

interface Started {
  readonly room: RpkiRoom;
  /** Resolves when this holds, looked at on each change. */
  until(when: (room: RpkiRoom) => boolean): Promise<void>;
}

function started(
  t: ExecutionContext,
  servers: readonly RtrServerConfig[],
  files: readonly RoaFileConfig[] = [],
): Started {
  let look = (): void => undefined;
  const nowhere = {} as Transport;
  const room = new RpkiRoom(
    { servers, files, refreshS: 3600 },
    nowhere,
    () => 0.5,
    QUIET,
    () => look(),
  );
  t.teardown(() => room.stop());
  const until: Started['until'] = (when) =>
    new Promise((resolve) => {
      look = () => {
        if (when(room)) resolve();
      };
      look();
    });
  room.start();
  return { room, until };
}

test('a refresh ends when the cache has told everything, and what came is in the table', async (t) => {
  const cache = await Cache.listening(t);
  const { room, until } = started(t, [cache.config]);
  (await cache.answer('172.20.1.0/24-24 AS4242420001')).finish();
  await until((r) => r.show(0).vrps_ipv4 === 1);

  let isOver = false;
  const refresh = room.refresh().finally(() => {
    isOver = true;
  });
  const { type, finish } = await cache.answer('172.20.2.0/24-24 AS4242420002');
  t.is(type, SERIAL_QUERY);
  t.false(isOver);
  t.is(room.show(0).vrps_ipv4, 1);
  finish();
  t.deepEqual(await refresh, []);
  t.like(room.show(0), { vrps_ipv4: 2, loading: false });
});

test('a cache that is silent ends the refresh in time, by its name and state', async (t) => {
  const cache = await Cache.listening(t);
  const { room, until } = started(t, [cache.config]);
  (await cache.answer('172.20.1.0/24-24 AS4242420001')).finish();
  await until((r) => r.show(0).vrps_ipv4 === 1);
  const { name } = cache.config;
  await t.throwsAsync(room.refresh(30), {
    code: 'TIMEOUT',
    message: `no complete answer within 0.03 s: ${name} (querying); what was known before stays`,
  });
  t.is(room.show(0).vrps_ipv4, 1);
});

test('a cache that cannot be reached, and a file that is not there, are named with their reasons', async (t) => {
  const cache = await Cache.listening(t);
  const { config } = cache;
  cache.end();
  const folder = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const location = join(folder, 'roas.json');
  const { room } = started(t, [config], [{ name: 'roas.json', location, isUrl: false }]);
  const failed = [`${config.name}: connection refused`, 'roas.json: no such file'];
  t.deepEqual(await room.refresh(), failed);
  t.deepEqual(room.show(0, failed).not_refreshed, failed);
  // What can be read now is in the table when the refresh is over.
  writeFileSync(location, dn42Json([{ prefix: '172.20.1.0/24', maxLength: 24, asn: 4242420001 }]));
  t.deepEqual(await room.refresh(), [failed[0]]);
  t.is(room.show(0).vrps_ipv4, 1);
});

test('a cache that begins a new session when it is asked has answered when it told all of that', async (t) => {
  const cache = await Cache.listening(t);
  const { room, until } = started(t, [cache.config]);
  (await cache.answer('172.20.1.0/24-24 AS4242420001')).finish();
  await until((r) => r.show(0).vrps_ipv4 === 1);
  const refresh = room.refresh();
  (await cache.query()).socket.write(cacheResponse(1, SESSION + 1)); // RFC 8210 §5.1: another session id
  (await cache.answer('172.20.3.0/24-24 AS4242420003')).finish();
  t.deepEqual(await refresh, []);
  t.like(room.show(0), { vrps_ipv4: 1 });
  t.is(room.show(0).servers[0]!.state, 'synchronized');
});
