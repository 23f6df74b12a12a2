import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { ask, parts, stream } from '../../../router/control/client.ts';
import type { Status } from '../../../router/control/messages.ts';
import { pathsIn, socketPaths } from '../../../router/control/paths.ts';
import { ControlServer, claimFolder, type Handlers } from '../../../router/control/server.ts';
import { MlshimError } from '../../../router/lib/errors.ts';

const STATUS: Status = {
  version: '1.2.3',
  pid: 42,
  uptime_s: 1.5,
  state: 'running',
  config: 'x.yaml',
  apps: 1,
  flows: 2,
  routes_ipv4: 3,
  routes_ipv6: 4,
  problems: [],
  uplinks: [],
  bgp_peers: [],
  drops: { 'no-route': 7 },
  counters: {},
  shim_socket: '/x/shim',
  backend: 'userspace',
  backend_reason: '',
};

function handlers(over: Partial<Handlers> = {}): Handlers {
  const unused = (): never => {
    throw new Error('not used by this test');
  };
  return {
    status: () => STATUS,
    route_get: unused,
    route_show: unused,
    bgp_show: unused,
    bgp_routes: unused,
    bgp_dump: unused,
    bgp_vpn: unused,
    bgp_explain: unused,
    bgp_rpki: unused,
    bgp_peer: unused,
    bfd_show: unused,
    uplink_drain: unused,
    wg_show: unused,
    capture: unused,
    bgp_watch: unused,
    down: () => ({ pid: 1, routing_hangs: false }),
    join_group: unused,
    reload: unused,
    confirm: unused,
    ...over,
  };
}

function folder(t: { teardown(fn: () => void): void }): string {
  const path = mkdtempSync(join(tmpdir(), 'mlshim-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function serve(t: { teardown(fn: () => void): void }, over: Partial<Handlers> = {}): Promise<string> {
  const paths = pathsIn(folder(t));
  const server = new ControlServer(handlers(over));
  await server.listen(paths.control);
  t.teardown(() => server.close());
  return paths.control;
}

test('an answer arrives as it was given', async (t) => {
  t.deepEqual(await ask(await serve(t), 'status', {}), STATUS);
});

test('arguments arrive as they were given', async (t) => {
  const path = await serve(t, {
    route_show: ({ origin }) => ({
      routes: [{ prefix: '::/0', kind: 'unicast', origin, next_hops: [], detail: '' }],
      next: '',
    }),
  });
  const { routes } = await ask(path, 'route_show', { origin: 'bgp' });
  t.is(routes[0]!.origin, 'bgp');
});

test('a refusal keeps its code, words, hint and exit status', async (t) => {
  const path = await serve(t, {
    route_get: ({ dst }) => {
      throw new MlshimError('NO_ROUTE', `no route to ${dst}`, { dst });
    },
  });
  const e = await t.throwsAsync(ask(path, 'route_get', { dst: '192.0.2.1' }), { instanceOf: MlshimError });
  t.is(e.code, 'NO_ROUTE');
  t.is(e.message, 'no route to 192.0.2.1');
  t.is(e.hint, 'mlshim route get 192.0.2.1 shows the rules and tables that were searched');
  t.is(e.exit, 1);
});

test('a handler that fails by surprise is an internal error, not the end of the server', async (t) => {
  const path = await serve(t);
  const e = await t.throwsAsync(ask(path, 'wg_show', { device: '' }), { instanceOf: MlshimError });
  t.is(e.code, 'INTERNAL');
  t.is((await ask(path, 'status', {})).pid, 42);
});

test('a stream ends when the daemon ends it, and its parts stay in order', async (t) => {
  const path = await serve(t, {
    capture: ({ snap_length }, stream) => {
      stream.send({ pcapng: Uint8Array.of(1, 2) });
      stream.send({ pcapng: Uint8Array.of(snap_length) });
      stream.end();
    },
  });
  const parts: number[] = [];
  for await (const part of stream(path, 'capture', { uplink: '', snap_length: 96 }, new AbortController().signal))
    parts.push(...part.pcapng);
  t.deepEqual(parts, [1, 2, 96]);
});

test('a stream whose client leaves is closed', async (t) => {
  let closed = (): void => undefined;
  const isClosed = new Promise<void>((resolve) => {
    closed = resolve;
  });
  const path = await serve(t, {
    capture: (_, stream) => {
      stream.onClose(closed);
      stream.send({ pcapng: Uint8Array.of(1) });
    },
  });
  const stop = new AbortController();
  for await (const _ of stream(path, 'capture', { uplink: '', snap_length: 96 }, stop.signal)) stop.abort();
  await t.notThrowsAsync(isClosed);
});

test('where nobody listens the daemon is unreachable', async (t) => {
  const paths = pathsIn(folder(t));
  await t.throwsAsync(ask(paths.control, 'status', {}), { code: 'DAEMON_UNREACHABLE' });
});

test('octets that are no request close the connection', async (t) => {
  const path = await serve(t);
  const { createConnection } = await import('node:net');
  const socket = createConnection(path);
  socket.write(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await new Promise((resolve) => socket.once('close', resolve));
  t.is((await ask(path, 'status', {})).pid, 42);
});

test('the folder is closed to others and the control socket too', async (t) => {
  const paths = pathsIn(join(folder(t), 'sub'));
  const release = await claimFolder(paths);
  const server = new ControlServer(handlers());
  await server.listen(paths.control);
  t.teardown(() => server.close());
  release();
  t.is(statSync(paths.folder).mode & 0o777, 0o700);
  t.is(statSync(paths.control).mode & 0o777, 0o600);
});

test('a second daemon on the same folder is refused, the first one keeps serving', async (t) => {
  const path = await serve(t);
  const paths = { ...pathsIn(join(path, '..')), control: path };
  await t.throwsAsync(claimFolder(paths), { code: 'DAEMON_RUNNING' });
  t.is((await ask(path, 'status', {})).pid, 42);
});

test('two daemons that start at the same time do not both win', async (t) => {
  const paths = pathsIn(folder(t));
  const claims = await Promise.allSettled([claimFolder(paths), claimFolder(paths)]);
  t.is(claims.filter((c) => c.status === 'fulfilled').length, 1);
});

test('the socket of a daemon that died is replaced', async (t) => {
  const paths = pathsIn(folder(t));
  // A socket file without a listener: bind in a server whose file is kept by renaming it away before it closes.
  const { renameSync } = await import('node:fs');
  const dead = createServer();
  await new Promise<void>((resolve) => dead.listen(`${paths.control}.x`, resolve));
  renameSync(`${paths.control}.x`, paths.control);
  await new Promise((resolve) => dead.close(resolve));
  t.true(statSync(paths.control).isSocket());
  const release = await claimFolder(paths);
  const server = new ControlServer(handlers());
  await server.listen(paths.control);
  release();
  t.teardown(() => server.close());
  t.is((await ask(paths.control, 'status', {})).pid, 42);
});

test('a file that is not a socket is never removed', async (t) => {
  const paths = pathsIn(folder(t));
  writeFileSync(paths.control, 'precious');
  const release = await claimFolder(paths);
  release();
  t.is(statSync(paths.control).size, 8);
});

test('the sockets follow MLSHIM_SOCKET, then the runtime folder, then /tmp', (t) => {
  t.is(socketPaths({ MLSHIM_SOCKET: '/a/b/shim', XDG_RUNTIME_DIR: '/run/user/1' }, 1).control, '/a/b/control');
  t.is(socketPaths({ XDG_RUNTIME_DIR: '/run/user/1' }, 1).shim, '/run/user/1/mlshim/shim');
  t.is(socketPaths({}, 1000).control, '/tmp/mlshim-1000/control');
});

test('a socket path longer than the kernel takes is refused with its reason', async (t) => {
  const e = await t.throwsAsync(claimFolder(pathsIn(`/tmp/${'x'.repeat(120)}`)), { code: 'USAGE' });
  t.regex(e.message, /longer than 107/);
});

test('a listing comes in parts, each asked for when the one before has been used', async (t) => {
  const asked: string[] = [];
  const route = {
    best: true,
    next_hop: '',
    as_path: '',
    origin: 'IGP',
    communities: [],
    uplink: '',
    refused: '',
    roa: '',
    cluster_list: [],
  };
  const path = await serve(t, {
    bgp_routes: ({ from = '' }) => {
      asked.push(from);
      const n = Number(from.slice(2) || 0);
      const routes = [{ ...route, prefix: `10.${n}.0.0/16`, peer: 'b' }];
      return { routes, next: n < 3 ? `4:${n + 1}` : '', place: '' };
    },
  });
  const args = { table: 'best', peer: '', prefix: '' };
  const seen: string[] = [];
  for await (const part of parts(path, 'bgp_routes', args)) {
    seen.push(...part.routes.map((r) => r.prefix));
    t.is(asked.length, seen.length, 'no part is asked for before it is wanted');
  }
  t.deepEqual(seen, ['10.0.0.0/16', '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16']);
  t.deepEqual(asked, ['', '4:1', '4:2', '4:3']);
  for await (const part of parts(path, 'bgp_routes', args)) {
    t.is(part.next, '4:1');
    break; // as head(1) does
  }
  t.is(asked.length, 5);
});

test('an MRT table comes in parts as well', async (t) => {
  const path = await serve(t, {
    bgp_dump: ({ vrf, from = '' }) => ({
      mrt: new TextEncoder().encode(`${vrf}${from};`),
      next: from === '' ? '0:1:2' : '',
    }),
  });
  let text = '';
  for await (const { mrt } of parts(path, 'bgp_dump', { vrf: 'red' })) text += new TextDecoder().decode(mrt);
  t.is(text, 'red;red0:1:2;');
});
