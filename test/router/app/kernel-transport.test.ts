import { createServer, type Socket, connect as tcpConnect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { ConnectTarget, LinkId, PeerSecurity, Stream, StreamHandler, Transport } from '../../../bgp/ports.ts';
import type { HostEndpoint } from '../../../router/app/host-listener.ts';
import { refusedSegments, requireSignatures } from '../../../router/app/host-socket.ts';
import { KernelTransport, SplitTransport } from '../../../router/app/kernel-transport.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import type { MlshimError } from '../../../router/lib/errors.ts';
import { until } from '../../bgp/kit/bird.ts';
import { freePort } from '../../bgp/kit/loopback.ts';

const LINK = 'here';
const LINKS = {
  linkOf: (zone?: string) => zone ?? LINK,
  zoneOf: (link: LinkId) => (link === LINK ? undefined : String(link)),
};
const at = (address: string): Addr => Addr.parse(address)!;

function target(address: string, port: number, localAddress?: string): ConnectTarget {
  return {
    name: 'x',
    link: LINK,
    address: at(address),
    port,
    localAddress: localAddress === undefined ? undefined : at(localAddress),
    hops: 255,
    ttlSecurity: false,
    password: undefined,
  };
}

function transport(t: ExecutionContext, ...listen: HostEndpoint[]): KernelTransport {
  const made = new KernelTransport({ listen, links: LINKS, onError: (_, reason) => t.fail(reason) });
  t.teardown(() => made.close());
  return made;
}

/** What a handler was told, in order; `next` waits for the following one. */
class Told implements StreamHandler {
  stream: Stream | undefined;
  readonly #said: string[] = [];
  #wake: () => void = () => undefined;

  data(octets: Uint8Array): void {
    this.say(new TextDecoder().decode(octets));
  }
  drained(): void {
    this.say('drained');
  }
  closed(reason: string): void {
    this.say(`closed: ${reason}`);
  }
  say(what: string): void {
    this.#said.push(what);
    this.#wake();
  }
  async next(): Promise<string> {
    while (this.#said.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    return this.#said.shift()!;
  }
}

/** Connect; resolves when it is open, or with why it is not. */
function open(from: Transport, to: ConnectTarget): Promise<Told | string> {
  return new Promise((resolve) => {
    const told = new Told();
    from.connect(
      to,
      (stream) => {
        told.stream = stream;
        resolve(told);
        return told;
      },
      resolve,
    );
  });
}

for (const [local, from] of [
  ['127.0.0.1', '127.0.0.9'],
  ['::1', '::1'],
] as const) {
  test(`octets go both ways between ${from} and ${local}, and both ends know their addresses`, async (t) => {
    const port = await freePort();
    const server = transport(t, { address: at(local), port });
    const inbound = new Told();
    const seen: [string, LinkId][] = [];
    server.listen((stream, remote, link) => {
      seen.push([String(remote), link]);
      inbound.stream = stream;
      return inbound;
    });
    await server.listening();
    const client = (await open(transport(t), target(local, port, from))) as Told;
    client.stream!.write(new TextEncoder().encode('hello'));
    t.is(await inbound.next(), 'hello');
    inbound.stream!.write(new TextEncoder().encode('welcome'));
    t.is(await client.next(), 'welcome');
    t.deepEqual(seen, [[from, LINK]]);
    t.is(String(client.stream!.localAddress), from);
    t.is(String(inbound.stream!.localAddress), local);
    client.stream!.close(false);
    t.is(await inbound.next(), 'closed: closed by the peer');
  });
}

test('another endpoint takes the place of one, while connections go on', async (t) => {
  const [before, after] = [await freePort(), await freePort()];
  const server = transport(t, { address: at('127.0.0.1'), port: before });
  const inbound: Told[] = [];
  server.listen((stream) => {
    const told = new Told();
    told.stream = stream;
    inbound.push(told);
    return told;
  });
  await server.listening();
  const client = transport(t);
  const first = (await open(client, target('127.0.0.1', before))) as Told;
  first.stream!.write(new TextEncoder().encode('a'));
  await until(() => inbound.length === 1, 'a connection');
  server.setEndpoints([{ address: at('127.0.0.1'), port: after }]);
  await server.listening();
  t.is(typeof (await open(client, target('127.0.0.1', before))), 'string', 'refused');
  t.true((await open(client, target('127.0.0.1', after))) instanceof Told);
  t.is(await inbound[0]!.next(), 'a');
  inbound[0]!.stream!.write(new TextEncoder().encode('b'));
  t.is(await first.next(), 'b');
});

test('an IPv4 connection to a listener of both families has its IPv4 address', async (t) => {
  const port = await freePort();
  const server = transport(t, { address: at('::'), port });
  const inbound = new Told();
  server.listen((_, remote) => {
    inbound.say(String(remote));
    return inbound;
  });
  await server.listening();
  await open(transport(t), target('127.0.0.1', port));
  t.is(await inbound.next(), '127.0.0.1');
});

test('a connection nobody expects is closed', async (t) => {
  const port = await freePort();
  const server = transport(t, { address: at('127.0.0.1'), port });
  server.listen(() => undefined);
  await server.listening();
  const client = (await open(transport(t), target('127.0.0.1', port))) as Told;
  t.regex(await client.next(), /^closed: /);
});

test('an abort reaches the other end as a reset', async (t) => {
  const port = await freePort();
  const server = transport(t, { address: at('127.0.0.1'), port });
  server.listen((stream) => ({
    data: () => stream.close(true),
    drained: () => undefined,
    closed: () => undefined,
  }));
  await server.listening();
  const client = (await open(transport(t), target('127.0.0.1', port))) as Told;
  client.stream!.write(new Uint8Array(1));
  t.is(await client.next(), 'closed: connection reset');
});

test('what cannot be reached or listened on is told in words', async (t) => {
  const port = await freePort();
  t.is(await open(transport(t), target('127.0.0.1', port)), 'connection refused');
  const failed: string[] = [];
  const elsewhere = new KernelTransport({
    listen: [{ address: at('192.0.2.1'), port }],
    links: LINKS,
    onError: ({ address }, reason) => failed.push(`${address}: ${reason}`),
  });
  elsewhere.listen(() => undefined);
  await elsewhere.listening();
  t.deepEqual(failed, ['192.0.2.1: address not available']);
});

test('an attempt that was given up calls nobody', async (t) => {
  const port = await freePort();
  const server = createServer();
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const attempt = transport(t).connect(
    target('127.0.0.1', port),
    () => {
      t.fail('opened');
      return new Told();
    },
    (reason) => t.fail(reason),
  );
  attempt.abort();
  const other = tcpConnect(port, '127.0.0.1');
  (await accepted).destroy();
  await new Promise((resolve) => other.once('close', resolve));
  t.pass();
});

test('a busy stream lets the event loop turn every few milliseconds', async (t) => {
  const port = await freePort();
  const server = transport(t, { address: at('127.0.0.1'), port });
  const total = 1 << 20;
  let received = 0;
  let turns = 0;
  let isCounting = true;
  const done = new Promise<void>((resolve) => {
    server.listen(() => ({
      data: (octets) => {
        for (const end = performance.now() + 1; performance.now() < end; ); // a session has work to do
        if (received === 0) count();
        received += octets.length;
        if (received === total) resolve();
      },
      drained: () => undefined,
      closed: () => undefined,
    }));
  });
  const count = (): void => {
    turns++;
    if (isCounting) setTimeout(count, 0);
  };
  await server.listening();
  const client = (await open(transport(t), target('127.0.0.1', port))) as Told;
  client.stream!.write(new Uint8Array(total));
  await done;
  isCounting = false;
  t.true(turns >= 10, `${turns} turns in at least 128 ms of work`);
});

test('peers are sent to the sockets of their link', async (t) => {
  const asked: string[] = [];
  const side = (name: string): Transport => ({
    connect: () => {
      asked.push(`${name} connects`);
      return { abort: () => undefined };
    },
    listen: () => asked.push(`${name} listens`),
  });
  const host = side('host');
  const split = new SplitTransport(side('stack'), [host], (link) => (link === LINK ? host : undefined));
  split.listen(() => undefined);
  const nobody = [() => new Told(), () => undefined] as const;
  split.connect(target('127.0.0.1', 179), ...nobody);
  split.connect({ ...target('10.0.0.1', 179), link: 'wg0' }, ...nobody);
  split.connect({ ...target('10.0.0.1', 179), link: '' }, ...nobody);
  t.deepEqual(asked, ['stack listens', 'host listens', 'host connects', 'stack connects', 'stack connects']);
});

// ---- Signatures (RFC 2385) and TTLs (RFC 5082) of the kernel. Its counters are those of all, so these do not run at once.

type Secrets = Partial<Pick<ConnectTarget, 'password' | 'hops' | 'ttlSecurity'>>;

const peer = (from: string, security: Secrets): PeerSecurity => ({
  name: from,
  link: LINK,
  from: Prefix.parseLoose(from)!.prefix,
  hops: 255,
  ttlSecurity: false,
  password: undefined,
  ...security,
});

/** Wait for what nobody tells. */
async function eventually(t: ExecutionContext, is: () => boolean): Promise<void> {
  let isOver = false;
  t.teardown(() => {
    isOver = true;
  });
  while (!is() && !isOver) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** A listener that tells who has connected and what came, and a way to connect to it. */
async function securedServer(t: ExecutionContext, listen: string, ...peers: readonly PeerSecurity[]) {
  const port = await freePort();
  const server = transport(t, { address: at(listen), port });
  const told = new Told();
  server.secure(peers);
  server.listen((_, remote) => {
    told.say(`from ${remote}`);
    return { data: (o) => told.say(new TextDecoder().decode(o)), drained: () => undefined, closed: () => undefined };
  });
  await server.listening();
  const clients = transport(t);
  return {
    server,
    told,
    connect: (to: string, from: string, security: Secrets) => open(clients, { ...target(to, port, from), ...security }),
    /** Connect and give up when the kernel has counted what it refused. */
    refused: async (counter: string, to: string, from: string, security: Secrets): Promise<void> => {
      const before = refusedSegments()[counter]!;
      const fail = (): Told => {
        t.fail(`${from} got through`);
        return new Told();
      };
      const attempt = clients.connect({ ...target(to, port, from), ...security }, fail, (reason) => t.fail(reason));
      await eventually(t, () => refusedSegments()[counter]! > before);
      attempt.abort();
    },
  };
}

for (const [listen, local, ranged, open_, range] of [
  ['127.0.0.1', '127.0.0.2', '127.0.3.7', '127.0.0.4', '127.0.3.0/24'],
  ['::', '127.0.0.2', '127.0.3.7', '127.0.0.4', '127.0.3.0/24'],
] as const)
  test.serial(`a listener at ${listen} wants each peer's own password, that of its range, or none`, async (t) => {
    t.timeout(20_000);
    const peers = [peer(local, { password: 'one' }), peer(range, { password: 'many' }), peer(open_, {})];
    const { server, told, connect, refused } = await securedServer(t, listen, ...peers);
    for (const [from, password] of [
      [local, 'one'],
      [ranged, 'many'],
      [open_, undefined],
    ] as const) {
      const client = await connect('127.0.0.1', from, { password });
      t.true(client instanceof Told, String(client));
      t.is(await told.next(), `from ${from}`);
      (client as Told).stream!.write(new TextEncoder().encode('signed'));
      t.is(await told.next(), 'signed');
    }
    await refused('host_signatureMissing', '127.0.0.1', local, {});
    await refused('host_signatureWrong', '127.0.0.1', local, { password: 'many' });
    await refused('host_signatureWrong', '127.0.0.1', ranged, { password: 'one' });
    await refused('host_signatureUnexpected', '127.0.0.1', open_, { password: 'one' });
    // Another password, one that is gone, and one that is new.
    server.secure([peer(local, { password: 'two' }), peer(range, {}), peer(open_, { password: 'late' })]);
    await refused('host_signatureWrong', '127.0.0.1', local, { password: 'one' });
    for (const [from, password] of [
      [local, 'two'],
      [ranged, undefined],
      [open_, 'late'],
    ] as const) {
      t.true((await connect('127.0.0.1', from, { password })) instanceof Told);
      t.is(await told.next(), `from ${from}`);
    }
  });

test.serial('IPv6 segments are signed as well', async (t) => {
  const { told, connect, refused } = await securedServer(t, '::1', peer('::1', { password: 'six' }));
  await refused('host_signatureMissing', '::1', '::1', {});
  await connect('::1', '::1', { password: 'six' });
  t.is(await told.next(), 'from ::1');
});

for (const [listen, to, secured, far] of [
  ['127.0.0.1', '127.0.0.1', '127.0.0.2', '127.0.0.3'],
  ['::', '127.0.0.1', '127.0.0.2', '127.0.0.3'],
] as const)
  test.serial(`TTL security at ${listen} holds for the peers that have it and locks nobody else out`, async (t) => {
    t.timeout(20_000);
    const direct = { hops: 1, ttlSecurity: true };
    const { server, told, connect, refused } = await securedServer(t, listen, peer(secured, direct), peer(far, {}));
    const both = await Promise.all([connect(to, far, {}), connect(to, secured, direct)]);
    t.deepEqual([await told.next(), await told.next()].sort(), [`from ${secured}`, `from ${far}`]);
    for (const client of both) (client as Told).stream!.write(new TextEncoder().encode('heard'));
    t.deepEqual([await told.next(), await told.next()], ['heard', 'heard']);
    // Through a router the handshake succeeds while others may come from far, but no octet arrives.
    const before = refusedSegments()['host_ttlTooSmall']!;
    const lost = (await connect(to, secured, { hops: 254 })) as Told;
    t.is(await told.next(), `from ${secured}`);
    lost.stream!.write(new TextEncoder().encode('too far'));
    await eventually(t, () => refusedSegments()['host_ttlTooSmall']! > before);
    // Where all are neighbours, the listener itself is deaf to the rest of the world.
    server.secure([peer(secured, direct)]);
    await refused('host_ttlTooSmall', to, secured, { hops: 254 });
  });

test.serial('what a client asks of TTLs is asked of the answer to its first segment too', async (t) => {
  const { told, connect } = await securedServer(t, '::1', peer('::1', {}));
  t.true((await connect('::1', '::1', { hops: 1, ttlSecurity: true })) instanceof Told);
  t.is(await told.next(), 'from ::1');
});

test('a kernel without signatures is named before anything listens', (t) => {
  const without = { tcpMd5: () => -92 };
  t.notThrows(() => requireSignatures([], without));
  t.notThrows(() => requireSignatures(['a']));
  const error = t.throws(() => requireSignatures(['a', 'b'], without), { message: /not known to this kernel.*a, b/ });
  t.is((error as MlshimError).code, 'NO_TCP_MD5');
  t.regex((error as MlshimError).hint, /CONFIG_TCP_MD5SIG/);
});

test('a listener that cannot listen yet says so and is tried again', async (t) => {
  const port = await freePort();
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(port, '127.0.0.1', resolve));
  const said: string[] = [];
  const server = new KernelTransport({
    listen: [{ address: at('127.0.0.1'), port }],
    links: LINKS,
    onError: (_, why) => said.push(why),
    retryMs: 10,
  });
  t.teardown(() => server.close());
  server.listen(() => undefined);
  await server.listening();
  t.deepEqual(server.faults, [`127.0.0.1 port ${port}: address in use`]);
  await new Promise((resolve) => other.close(resolve));
  const keepAlive = setInterval(() => undefined, 1000);
  await eventually(t, () => server.faults.length === 0);
  clearInterval(keepAlive);
  t.deepEqual(said, ['address in use']);
  t.true((await open(transport(t), target('127.0.0.1', port))) instanceof Told);
});
