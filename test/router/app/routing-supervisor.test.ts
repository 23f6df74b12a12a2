import test, { type ExecutionContext } from 'ava';
import type { ToDataplane } from '../../../router/app/dataplane-protocol.ts';
import type { RoutingBoot, ToRouting } from '../../../router/app/routing-protocol.ts';
import { RoutingSupervisor } from '../../../router/app/routing-supervisor.ts';
import { toBgp } from '../../../router/config/bgp-load.ts';
import { bgp as bgpSchema } from '../../../router/config/bgp-schema.ts';
import { makeLogger } from '../../../router/lib/log.ts';
import { posted } from '../../../router/lib/post.ts';

/** What the worker cannot read: its handler throws, and nobody catches that. */
const POISON = { kind: 'bfd-change', change: undefined } as unknown as ToRouting;
const UP: ToRouting = { kind: 'link-state', index: 2, up: true };

/** A peer that never answers, watched by BFD. */
const boot = (peers: readonly object[]): RoutingBoot => ({
  links: [{ index: 2, name: 'a', vrf: 0, mtu: 1420, addresses: ['10.0.0.2/24', 'fe80::1/64'] }],
  vrfs: posted([]),
  routes: [],
  bgp: posted(toBgp(bgpSchema.parse({ asn: 65001, router_id: '10.0.0.2', peers }), '/nowhere/mlshim.yaml')),
  fpm: undefined,
  source: { v4: undefined, v6: undefined },
});
const PEER = { name: 'x', asn: 65002, address: 'fe80::2', via: 'a', bfd: true, graceful_restart: true };

class Stage {
  readonly supervisor: RoutingSupervisor;
  readonly closed: number[] = [];
  peers: readonly object[] = [PEER];
  readonly #happened: string[] = [];
  #looks: (() => void)[] = [];

  constructor(t: ExecutionContext) {
    const happened = (what: string): void => {
      this.#happened.push(what);
      for (const look of this.#looks) look();
    };
    this.supervisor = new RoutingSupervisor(
      {
        boot: () => boot(this.peers),
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

test('the FIB of before stays until peers have told their routes, or until a link goes down', async (t) => {
  const s = new Stage(t);
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
});

test('without anybody to wait for the FIB is replaced at once, and BFD ends where nobody asks for it any more', async (t) => {
  const s = new Stage(t);
  await s.begin();
  s.peers = [];
  s.supervisor.client.send(POISON);
  await s.until('fib-replace', 1);
  await s.until('bfd-unwatch', 1);
  t.is(s.count('bfd-watch'), 1);
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
