/** BFD over the host's sockets: two of them on loopback, with addresses of their own and ports nobody else has. */
import { createSocket, type Socket } from 'node:dgram';
import test, { type ExecutionContext } from 'ava';
import type { BfdChange } from '../../../bgp/bfd/bfd.ts';
import { encodeBfd } from '../../../bgp/bfd/packet.ts';
import type { BfdSettings } from '../../../bgp/bfd/session.ts';
import { HostBfd, type HostBfdOptions } from '../../../router/app/host-bfd.ts';
import { Addr } from '../../../router/lib/addr.ts';

type Ports = NonNullable<HostBfdOptions['ports']>;

const LINK = '(host)';
const FAST: BfdSettings = { minTxUs: 50_000, minRxUs: 50_000, multiplier: 3 };
/** A packet of a neighbour that begins. */
const DOWN = encodeBfd({
  diag: 0,
  state: 'Down',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  demand: false,
  detectMult: 3,
  myDiscriminator: 77,
  yourDiscriminator: 0,
  desiredMinTxUs: 1_000_000,
  requiredMinRxUs: 50_000,
  requiredMinEchoRxUs: 0,
});

async function bound(address: string, port = 0): Promise<Socket> {
  const s = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  await new Promise<void>((resolve) => s.bind(port, address, resolve));
  return s;
}

async function freePorts(): Promise<Ports> {
  const sockets = [await bound('127.0.0.1'), await bound('127.0.0.1')];
  const [single, multi] = sockets.map((s) => s.address().port) as [number, number];
  await Promise.all(sockets.map((s) => new Promise<void>((resolve) => s.close(() => resolve()))));
  return { single, multi };
}

class Side {
  readonly changes: BfdChange[] = [];
  readonly errors: string[] = [];
  readonly bfd: HostBfd;
  #wake: () => void = () => undefined;

  constructor(ports: Ports) {
    this.bfd = new HostBfd({
      random: Math.random,
      ports,
      links: { linkOf: () => LINK, zoneOf: () => undefined },
      onChange: (c) => {
        this.changes.push(c);
        this.#wake();
      },
      onError: (where, reason) => {
        this.errors.push(`${where}: ${reason}`);
        this.#wake();
      },
    });
  }

  watch(
    local: string | undefined,
    remote: string,
    multihop: boolean,
    settings: BfdSettings = FAST,
    name = 'peer',
  ): void {
    const target = {
      local: local === undefined ? undefined : Addr.parse(local)!,
      remote: Addr.parse(remote)!,
      link: LINK,
      multihop,
      byAddress: true,
    };
    this.bfd.watch(name, target, settings);
  }

  async until(is: () => boolean): Promise<void> {
    while (!is())
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }

  reaches(state: string): Promise<void> {
    return this.until(() => this.changes.at(-1)?.to === state);
  }
}

/** Wait for what nobody tells. */
async function eventually(t: ExecutionContext, is: () => boolean): Promise<void> {
  let isOver = false;
  t.teardown(() => {
    isOver = true;
  });
  while (!is() && !isOver) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** BFD's own timers keep no process alive. */
async function alive(body: () => Promise<void>): Promise<void> {
  const keepAlive = setInterval(() => undefined, 1000);
  try {
    await body();
  } finally {
    clearInterval(keepAlive);
  }
}

for (const [kind, multihop, a4, b4, settings] of [
  ['several hops away', true, '127.0.0.1', '127.0.0.2', FAST],
  ['a single hop away', false, '127.0.0.1', '127.0.0.2', FAST],
  [
    'a single hop away, with a secret',
    false,
    '127.0.0.1',
    '127.0.0.2',
    { ...FAST, auth: { type: 'meticulous-keyed-sha1', keyId: 3, password: 'correct horse' } },
  ],
] as const)
  test(`two routers on one host, ${kind}, see each other, and an end on purpose is told as such`, async (t) => {
    t.timeout(20_000);
    const ports = await freePorts();
    const a = new Side(ports);
    const b = new Side(ports);
    await alive(async () => {
      a.watch(a4, b4, multihop, settings);
      b.watch(b4, a4, multihop, settings);
      await Promise.all([a.reaches('Up'), b.reaches('Up')]);
      t.true(a.bfd.show().sessions[0]!.detectionUs > 0);
      b.bfd.unwatch('peer');
      await a.reaches('Down');
      t.true(a.changes.at(-1)!.isRemoteAdminDown);
    });
    t.deepEqual([a.errors, b.errors], [[], []]);
    a.bfd.stop();
    b.bfd.stop();
  });

for (const [local, remote, watched] of [
  ['127.0.0.1', '127.0.0.2', '127.0.0.2'],
  ['::1', '::1', '::2'], // there is but one IPv6 address: packets are of nobody, but judged all the same
] as const)
  test(`over a single hop from ${remote} only packets with TTL 255 are believed, others are counted`, async (t) => {
    t.timeout(20_000);
    const ports = await freePorts();
    const a = new Side(ports);
    const far = await bound(remote);
    const send = (ttl: number, octets = DOWN): Promise<void> => {
      far.setTTL(ttl);
      return new Promise((resolve) => far.send(octets, ports.single, local, () => resolve()));
    };
    await alive(async () => {
      a.watch(local, watched, false);
      await eventually(t, () => a.bfd.show().sessions[0]!.packetsOut > 0);
      await send(254);
      await send(64, new Uint8Array(60).fill(0xff));
      await eventually(t, () => (a.bfd.show().drops['ttl'] ?? 0) === 2);
      t.is(a.bfd.show().sessions[0]!.packetsIn, 0);
      await send(255);
      if (watched === remote) await a.reaches('Init');
      else await eventually(t, () => a.bfd.show().drops['no-session'] === 1);
      t.is(a.bfd.show().drops['ttl'], 2);
    });
    a.bfd.stop();
    far.close();
  });

test('packets leave from a port of the range, with TTL 255', async (t) => {
  t.timeout(20_000);
  const ports = await freePorts();
  const other = await bound('127.0.0.2', ports.single);
  const a = new Side(ports);
  const from = new Promise<number>((resolve) => other.once('message', (_, { port }) => resolve(port)));
  await alive(async () => {
    a.watch('127.0.0.1', '127.0.0.2', false);
    const port = await from;
    t.true(port >= 49152, String(port)); // RFC 5881 §4
  });
  a.bfd.stop();
  other.close();
});

test('a port that another daemon has is named, and taken when it is free', async (t) => {
  t.timeout(20_000);
  const ports = await freePorts();
  const other = await bound('127.0.0.1', ports.single);
  const a = new Side(ports);
  await alive(async () => {
    a.watch('127.0.0.1', '127.0.0.2', false);
    await a.until(() => a.errors.length > 0);
    t.deepEqual(a.bfd.faults, [`BFD at 127.0.0.1 port ${ports.single}: address in use`]);
    await new Promise<void>((resolve) => other.close(() => resolve()));
    await eventually(t, () => a.bfd.faults.length === 0); // with its next packet
    t.is(a.errors.length, 1, 'told once');
  });
  a.bfd.stop();
});

test('sessions with and without an address of ours share the ports', async (t) => {
  t.timeout(20_000);
  const ports = await freePorts();
  const a = new Side(ports);
  const b = new Side(ports);
  await alive(async () => {
    a.watch(undefined, '127.0.0.2', false); // 127.0.0.1, as the kernel has it
    a.watch('127.0.0.3', '127.0.0.2', true, FAST, 'other');
    b.watch('127.0.0.2', '127.0.0.1', false);
    b.watch('127.0.0.2', '127.0.0.3', true, FAST, 'other');
    for (const side of [a, b])
      await side.until(() => new Set(side.changes.filter((c) => c.to === 'Up').map((c) => c.name)).size === 2);
  });
  t.deepEqual([a.errors, b.errors], [[], []]);
  a.bfd.stop();
  b.bfd.stop();
});

test('a path to nobody stays down without an error', async (t) => {
  const a = new Side(await freePorts());
  a.watch('127.0.0.1', '127.0.0.3', true);
  t.is(a.bfd.show().sessions[0]!.state, 'Down');
  a.bfd.stop();
  t.deepEqual(a.bfd.show().sessions, []);
  t.deepEqual(a.errors, []);
});
