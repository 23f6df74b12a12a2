import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ToDataplane } from '../../../router/app/dataplane-protocol.ts';
import type { RoutingBoot, ToRouting } from '../../../router/app/routing-protocol.ts';
import { RoutingSupervisor } from '../../../router/app/routing-supervisor.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import type { FpmConfig } from '../../../router/config/fpm.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { posted } from '../../../router/lib/post.ts';
import { until } from '../../bgp/kit/bird.ts';
import { freePort } from '../../bgp/kit/loopback.ts';

/** What the worker cannot read: its handler throws, and nobody catches that. */
const POISON = { kind: 'bfd-change', change: undefined } as unknown as ToRouting;
const UP: ToRouting = { kind: 'link-state', index: 2, up: true };

/** A peer that never answers, watched by BFD. */
const boot = (peers: readonly object[], fpmPort: number | undefined, asn = 65001, folder?: string): RoutingBoot => ({
  links: [{ index: 2, name: 'a', vrf: 0, mtu: 1420, addresses: ['10.0.0.2/24', 'fe80::1/64'] }],
  vrfs: posted([]),
  routes: [],
  bgp: posted(
    toBgp(
      bgpSchema.parse({ asn, router_id: '10.0.0.2', peers, ...(folder !== undefined && { filters: './f.mjs' }) }),
      join(folder ?? '/nowhere', 'mlshim.yaml'),
    ),
  ),
  fpm:
    fpmPort === undefined
      ? undefined
      : posted<FpmConfig>({
          listen: { addr: Addr.parse('127.0.0.1')!, port: fpmPort },
          allow: [Prefix.parse('127.0.0.1/32')!],
          ...{ interfaces: [], tables: [], holdTimeS: 120, staleTimeS: 60, confirm: false },
        }),
  source: { v4: undefined, v6: undefined },
});
const PEER = { name: 'x', asn: 65002, address: 'fe80::2', via: 'a', bfd: true, graceful_restart: true };

class Stage {
  readonly supervisor: RoutingSupervisor;
  readonly closed: number[] = [];
  peers: readonly object[] = [PEER];
  fpmPort: number | undefined;
  /** Of the filter module. */
  folder: string | undefined;
  readonly #happened: string[] = [];
  #looks: (() => void)[] = [];

  constructor(t: ExecutionContext) {
    const happened = (what: string): void => {
      this.#happened.push(what);
      for (const look of this.#looks) look();
    };
    this.supervisor = new RoutingSupervisor(
      {
        boot: () => boot(this.peers, this.fpmPort, 65001, this.folder),
        onEvent: () => undefined,
        toDataplane: (m: ToDataplane) => happened(m.kind),
        closeFd: (fd) => this.closed.push(fd),
        restarted: (client) => {
          client.send(UP);
          client.send({ kind: 'start' });
          happened('restarted');
        },
        gaveUp: () => happened('gave up'),
      },
      makeLogger(() => undefined, 'routing', 'debug'),
    );
    t.teardown(() => this.supervisor.stop());
  }

  async begin(): Promise<void> {
    await this.supervisor.start();
    this.supervisor.client.send(UP);
    this.supervisor.client.send({ kind: 'start' });
    this.supervisor.serve();
    await this.until('bfd-watch', 1);
  }

  count(what: string): number {
    return this.#happened.filter((h) => h === what).length;
  }

  until(what: string, times: number): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.count(what) < times) return;
        this.#looks = this.#looks.filter((l) => l !== look);
        resolve();
      };
      this.#looks.push(look);
      look();
    });
  }
}

test('the FIB of before stays until those who fill it have told their routes, or until a link goes down', async (t) => {
  const s = new Stage(t);
  s.fpmPort = await freePort();
  await s.begin();
  t.is(s.supervisor.restart, undefined);
  s.supervisor.client.send(POISON);
  await s.until('restarted', 1);
  await s.until('bfd-watch', 2);
  await s.supervisor.client.summary();
  t.is(s.count('fib-replace'), 0);
  t.is(s.count('bfd-unwatch'), 0, 'the session with the neighbour goes on');
  t.true(s.supervisor.restart?.isWaiting);
  s.supervisor.hurry();
  t.is(s.count('fib-replace'), 1);
  t.false(s.supervisor.restart?.isWaiting);
  s.supervisor.hurry();
  t.is(s.count('fib-replace'), 1);

  s.supervisor.client.send(POISON);
  await s.until('restarted', 2);
  await s.until('bfd-watch', 3);
  await s.supervisor.client.summary();
  t.is(s.count('fib-replace'), 1);
  const routingDaemon = connect(s.fpmPort, '127.0.0.1');
  t.teardown(() => routingDaemon.destroy());
  await s.until('fib-replace', 2); // it is quiet: it has told all it knows
  t.false(s.supervisor.restart?.isWaiting);
});

test('a peer without a session before is not waited for, and BFD ends where nobody asks for it any more', async (t) => {
  const s = new Stage(t);
  await s.begin();
  s.supervisor.client.send(POISON);
  await s.until('fib-replace', 1);
  t.is(s.count('bfd-unwatch'), 0);
  s.peers = [];
  s.supervisor.client.send(POISON);
  await s.until('bfd-unwatch', 1);
  t.is(s.count('fib-replace'), 2);
  t.is(s.count('bfd-watch'), 2);
});

test('questions to the worker that ended fail, and descriptors on their way to it are closed', async (t) => {
  const s = new Stage(t);
  await s.begin();
  const { client } = s.supervisor;
  client.send({ kind: 'stream-opened', id: 7, fd: -1, errno: 111 });
  client.send(POISON);
  client.send({ kind: 'stream-opened', id: 8, fd: 1234, errno: 0 });
  await t.throwsAsync(client.summary(), { code: 'ROUTING_RESTARTED', message: 'the routing worker ended' });
  t.deepEqual(s.closed, [1234]);
  t.not(s.supervisor.client, client);
  t.is((await s.supervisor.client.summary()).bgp.asn, 65001);
});

test('three ends within a minute are the last ones', async (t) => {
  const s = new Stage(t);
  await s.begin();
  for (const times of [1, 2]) {
    s.supervisor.client.send(POISON);
    await s.until('restarted', times);
  }
  s.supervisor.client.send(POISON);
  await s.until('gave up', 1);
  t.is(s.count('restarted'), 2);
});

test('a worker that ends while the router stops is not followed by another', async (t) => {
  const s = new Stage(t);
  await s.begin();
  s.supervisor.retire();
  s.supervisor.client.send(POISON);
  await s.until('gave up', 1);
  t.is(s.count('restarted'), 0);
});

test('a worker takes the place of another on purpose: the FIB stays until its own is complete, and it is no fault', async (t) => {
  const s = new Stage(t);
  s.fpmPort = await freePort();
  await s.begin();
  const { client } = s.supervisor;
  for (const times of [1, 2, 3]) {
    let isTaken = false;
    const next = boot([PEER], s.fpmPort, 65001 + times);
    await s.supervisor.replace(next, () => {
      isTaken = true;
    });
    t.true(isTaken);
    await s.until('restarted', times);
    await s.until('bfd-watch', times + 1);
    t.is((await s.supervisor.client.summary()).bgp.asn, 65001 + times);
  }
  t.not(s.supervisor.client, client);
  t.is(s.count('fib-replace'), 0, 'the FPM client is still waited for');
  t.is(s.count('bfd-unwatch'), 0, 'the session with the neighbour goes on');
  t.is(s.count('gave up'), 0);
  t.is(s.supervisor.restart, undefined);
  await t.throwsAsync(client.summary(), { code: 'ROUTING_RESTARTED' });
  const routingDaemon = connect(s.fpmPort, '127.0.0.1');
  t.teardown(() => routingDaemon.destroy());
  await s.until('fib-replace', 1);
});

test('a worker that cannot serve changes nothing', async (t) => {
  const s = new Stage(t);
  await s.begin();
  const { client } = s.supervisor;
  const wrong = boot([{ ...PEER, import: { module: 'gone' } }], undefined);
  await t.throwsAsync(
    s.supervisor.replace(wrong, () => t.fail()),
    { code: 'CONFIG_INVALID', message: /exports no function "gone"/ },
  );
  t.is(s.supervisor.client, client);
  t.is((await client.summary()).bgp.asn, 65001);
  t.is(s.count('restarted'), 0);
  // The one there is is still followed by another.
  client.send(POISON);
  await s.until('restarted', 1);
});

test('a worker that hangs is replaced like any other, and is known to be there until it has ended', async (t) => {
  const s = new Stage(t);
  s.folder = mkdtempSync(join(tmpdir(), 'mlshim-replace-'));
  t.teardown(() => rmSync(s.folder!, { recursive: true, force: true }));
  const pipe = join(s.folder, 'pipe');
  execFileSync('mkfifo', [pipe]);
  writeFileSync(
    join(s.folder, 'f.mjs'),
    `import { readFileSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
parentPort.on('message', (m) => {
  if (m.kind === 'bgp-watch') readFileSync('${pipe}'); // nobody writes
});\n`,
  );
  /** Whoever reads the pipe sees its end. */
  const close = (): void => closeSync(openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK));
  await s.begin();
  t.false(await s.supervisor.client.hangs(10_000));
  s.supervisor.client.send({ kind: 'bgp-watch', isOn: true });
  t.true(await s.supervisor.client.hangs(1));
  try {
    await s.supervisor.replace(boot([PEER], undefined, 65002), () => undefined);
    await s.until('restarted', 1);
    await s.until('bfd-watch', 2);
    t.is((await s.supervisor.client.summary()).bgp.asn, 65002);
    t.true(s.supervisor.hangs);
    await s.supervisor.stop();
    t.true(s.supervisor.hangs, 'the one before');
  } finally {
    close();
  }
  await until(() => !s.supervisor.hangs, 'the end of the worker');
});

test('a worker that has many questions to answer does not hang', async (t) => {
  const s = new Stage(t);
  await s.begin();
  const { client } = s.supervisor;
  let answered = 0;
  for (let i = 0; i < 300; i++)
    void client.summary().then(
      () => answered++,
      () => undefined,
    );
  t.false(await client.hangs(10_000));
  t.true(answered < 300, `${answered}`);
});
