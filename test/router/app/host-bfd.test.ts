/** BFD over the host's sockets: two of them on loopback, with addresses of their own and a port nobody else has. */
import { createSocket } from 'node:dgram';
import test from 'ava';
import type { BfdChange } from '../../../bgp/bfd/bfd.ts';
import { HostBfd } from '../../../router/app/host-bfd.ts';
import { Addr } from '../../../router/lib/addr.ts';

async function freePort(): Promise<number> {
  const s = createSocket('udp4');
  await new Promise<void>((resolve) => s.bind(0, '127.0.0.1', resolve));
  const { port } = s.address();
  await new Promise<void>((resolve) => s.close(() => resolve()));
  return port;
}

class Side {
  readonly changes: BfdChange[] = [];
  readonly bfd: HostBfd;
  #wake: () => void = () => undefined;

  constructor(port: number, errors: string[]) {
    this.bfd = new HostBfd({
      random: Math.random,
      port,
      onChange: (c) => {
        this.changes.push(c);
        this.#wake();
      },
      onError: (where, reason) => errors.push(`${where}: ${reason}`),
    });
  }

  watch(local: string, remote: string): void {
    const target = { local: Addr.parse(local)!, remote: Addr.parse(remote)!, link: '(host)', multihop: true };
    this.bfd.watch('peer', target, { minTxUs: 50_000, minRxUs: 50_000, multiplier: 3 });
  }

  async reaches(state: string): Promise<void> {
    while (this.changes.at(-1)?.to !== state)
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
  }
}

test('two routers on one host see each other, and an end on purpose is told as such', async (t) => {
  t.timeout(20_000);
  const errors: string[] = [];
  const port = await freePort();
  const a = new Side(port, errors);
  const b = new Side(port, errors);
  const keepAlive = setInterval(() => undefined, 1000); // BFD's own timers keep no process alive
  try {
    a.watch('127.0.0.1', '127.0.0.2');
    b.watch('127.0.0.2', '127.0.0.1');
    await Promise.all([a.reaches('Up'), b.reaches('Up')]);
    t.is(a.bfd.show().sessions[0]!.detectionUs > 0, true);
    b.bfd.unwatch('peer');
    await a.reaches('Down');
    t.true(a.changes.at(-1)!.isRemoteAdminDown);
    t.deepEqual(errors, []);
  } finally {
    clearInterval(keepAlive);
    a.bfd.stop();
    b.bfd.stop();
  }
});

test('a path to nobody stays down without an error', async (t) => {
  const errors: string[] = [];
  const a = new Side(await freePort(), errors);
  a.watch('127.0.0.1', '127.0.0.3');
  t.is(a.bfd.show().sessions[0]!.state, 'Down');
  a.bfd.stop();
  t.deepEqual(a.bfd.show().sessions, []);
  t.deepEqual(errors, []);
});
