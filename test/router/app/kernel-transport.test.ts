import { createServer, type Socket, connect as tcpConnect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import type { ConnectTarget, LinkId, Stream, StreamHandler, Transport } from '../../../bgp/ports.ts';
import { type HostEndpoint, KernelTransport, SplitTransport } from '../../../router/app/kernel-transport.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { freePort } from '../../bgp/kit/loopback.ts';

const LINK = 'here';
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
  const made = new KernelTransport({ listen, link: LINK, onError: (_, reason) => t.fail(reason) });
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
    link: LINK,
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
  const split = new SplitTransport(side('stack'), new Map([[LINK, side('host')]]));
  split.listen(() => undefined);
  const nobody = [() => new Told(), () => undefined] as const;
  split.connect(target('127.0.0.1', 179), ...nobody);
  split.connect({ ...target('10.0.0.1', 179), link: 'wg0' }, ...nobody);
  split.connect({ ...target('10.0.0.1', 179), link: '' }, ...nobody);
  t.deepEqual(asked, ['stack listens', 'host listens', 'host connects', 'stack connects', 'stack connects']);
});
