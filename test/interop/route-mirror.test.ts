import type { ExecutionContext } from 'ava';
import type { KernelRoutes } from '../../router/kernel/route-mirror.ts';
import { Answering, type TwoWays, twoWays } from '../kit/host-network.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import type { MirrorRequest, PlainRoute } from '../kit/mirror-driver.ts';

const { it } = labTests(Lab.missing());

interface MirrorState {
  readonly installed: number;
  readonly withdrawn: number;
  readonly resyncs: number;
  readonly refusals: Readonly<Record<string, number>>;
  readonly refusedCount: number;
  readonly ms: number;
}

/** Links 1 and 2 are eth1 and eth2; VRF 0 goes to table 51000 whole and to 51001 as far as it is over eth2, VRF 3 to 51002. */
const SETTINGS: KernelRoutes = {
  protocol: 117,
  metric: 20,
  targets: [
    { vrf: 0, table: 51000, links: undefined },
    { vrf: 0, table: 51001, links: [2] },
    { vrf: 3, table: 51002, links: undefined },
  ],
  devices: [
    [1, 'eth1'],
    [2, 'eth2'],
  ],
};

class Mirror {
  readonly #driver: Answering<MirrorRequest>;
  readonly #ways: TwoWays;

  constructor(ways: TwoWays, ...more: readonly string[]) {
    this.#ways = ways;
    this.#driver = new Answering(ways.lab, ways.host, 'mirror-driver.js', [JSON.stringify(SETTINGS), ...more]);
  }

  ask(request: MirrorRequest): Promise<MirrorState> {
    return this.#driver.ask(request) as Promise<MirrorState>;
  }

  routes(...routes: readonly PlainRoute[]): Promise<MirrorState> {
    return this.ask({ do: 'routes', routes });
  }

  kill(): Promise<number> {
    return this.#driver.kill();
  }

  /** A table of the kernel as `ip route` shows it, line by line in order; next hops of a route follow it. */
  async table(table: number, family: '-4' | '-6' = '-4'): Promise<string[]> {
    const { lab, host } = this.#ways;
    // A table that never had a route is an error to ip.
    const { stdout: text } = await lab.run(host, 'ip', [
      family,
      'route',
      'show',
      'table',
      String(table),
      'proto',
      '117',
    ]);
    const lines = text.replaceAll(/\s*\n\s+/g, ' | ').split('\n');
    return lines.map((line) => line.replaceAll(/ +/g, ' ').trim()).filter((line) => line !== '');
  }
}

async function mirrored(t: ExecutionContext, body: (mirror: Mirror, ways: TwoWays) => Promise<void>): Promise<void> {
  const ways = await twoWays();
  try {
    await body(new Mirror(ways), ways);
  } finally {
    await ways.lab.close();
  }
  t.pass();
}

const ON_LINK = 'metric 20 onlink';

it('routes are in the tables of the kernel that are theirs, and are replaced and withdrawn there', (t) =>
  mirrored(t, async (mirror) => {
    await mirror.routes(
      { prefix: '10.50.0.0/16', hops: [[1, '10.1.0.1']] },
      {
        prefix: '10.51.0.0/16',
        hops: [
          [1, '10.1.0.1', 3],
          [2, '10.2.0.1', 1],
        ],
      },
      { prefix: '10.52.0.0/16', hops: [[2, 'fd02::1']] },
      { prefix: '10.53.0.0/16', hops: [], kind: 'Blackhole' },
      { prefix: '10.54.0.0/16', hops: [[1, null]] },
      { prefix: '10.55.0.0/16', vrf: 3, hops: [[2, '10.2.0.1']] },
      { prefix: '10.1.0.0/24', hops: [[1, null]], source: 'Connected' },
      {
        prefix: 'fd50::/32',
        hops: [
          [1, 'fd01::1'],
          [2, 'fe80::1'],
        ],
      },
      { prefix: 'fd53::/32', hops: [], kind: 'Unreachable' },
    );
    t.deepEqual(await mirror.table(51000), [
      `10.50.0.0/16 via 10.1.0.1 dev eth1 ${ON_LINK}`,
      '10.51.0.0/16 metric 20 | nexthop via 10.1.0.1 dev eth1 weight 3 onlink | nexthop via 10.2.0.1 dev eth2 weight 1 onlink',
      `10.52.0.0/16 via inet6 fd02::1 dev eth2 ${ON_LINK}`,
      'blackhole 10.53.0.0/16 metric 20',
      '10.54.0.0/16 dev eth1 scope link metric 20',
    ]);
    t.deepEqual(await mirror.table(51001), [
      `10.51.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`,
      `10.52.0.0/16 via inet6 fd02::1 dev eth2 ${ON_LINK}`,
      'blackhole 10.53.0.0/16 metric 20',
    ]);
    t.deepEqual(await mirror.table(51002), [`10.55.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`]);
    t.deepEqual(await mirror.table(51000, '-6'), [
      'fd50::/32 metric 20 pref medium | nexthop via fd01::1 dev eth1 weight 1 onlink | nexthop via fe80::1 dev eth2 weight 1 onlink',
      'unreachable fd53::/32 dev lo metric 20 pref medium',
    ]);
    const { refusals } = await mirror.routes(
      { prefix: '10.50.0.0/16', hops: [[2, '10.2.0.1']] },
      { prefix: '10.51.0.0/16' },
      { prefix: '10.52.0.0/16', hops: [], kind: 'Unreachable' },
      { prefix: '10.53.0.0/16', hops: [[1, '10.1.0.1']] },
      { prefix: 'fd50::/32', hops: [[2, 'fd02::1']] },
      { prefix: 'fd53::/32', hops: [[1, 'fd01::1']] },
    );
    t.deepEqual(refusals, {});
    t.deepEqual(await mirror.table(51000), [
      `10.50.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`,
      'unreachable 10.52.0.0/16 metric 20',
      `10.53.0.0/16 via 10.1.0.1 dev eth1 ${ON_LINK}`,
      '10.54.0.0/16 dev eth1 scope link metric 20',
    ]);
    t.deepEqual(await mirror.table(51001), [
      `10.50.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`,
      'unreachable 10.52.0.0/16 metric 20',
    ]);
    t.deepEqual(await mirror.table(51000, '-6'), [
      `fd50::/32 via fd02::1 dev eth2 metric 20 onlink pref medium`,
      `fd53::/32 via fd01::1 dev eth1 metric 20 onlink pref medium`,
    ]);
    await mirror.ask({ do: 'stop' });
    for (const table of [51000, 51001, 51002])
      for (const family of ['-4', '-6'] as const) t.deepEqual(await mirror.table(table, family), []);
  }));

it("of several sources the best one's route is in the kernel, and the next one's when it goes", (t) =>
  mirrored(t, async (mirror) => {
    await mirror.routes(
      { prefix: '10.50.0.0/16', hops: [[1, '10.1.0.1']], source: 'Ibgp' },
      { prefix: '10.50.0.0/16', hops: [[2, '10.2.0.1']], source: 'Static' },
    );
    t.deepEqual(await mirror.table(51000), [`10.50.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`]);
    await mirror.routes({ prefix: '10.50.0.0/16', source: 'Static' });
    t.deepEqual(await mirror.table(51000), [`10.50.0.0/16 via 10.1.0.1 dev eth1 ${ON_LINK}`]);
    t.deepEqual(await mirror.table(51001), []);
  }));

it('routes over an interface that was down are there again when it is up, and what is refused is tried again', (t) =>
  mirrored(t, async (mirror, { lab, host }) => {
    await mirror.routes(
      { prefix: '10.50.0.0/16', hops: [[1, '10.1.0.1']] },
      {
        prefix: '10.51.0.0/16',
        hops: [
          [1, '10.1.0.1'],
          [2, '10.2.0.1'],
        ],
      },
    );
    await lab.ok(host, 'ip', ['link', 'set', 'eth1', 'down']);
    await mirror.ask({ do: 'link', index: 1, isUp: false });
    t.deepEqual(await mirror.table(51000), [`10.51.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`]);
    // The router thinks it is up before the interface is.
    const refused = await mirror.ask({ do: 'link', index: 1, isUp: true });
    t.true(refused.refusedCount > 0);
    t.true((refused.refusals['ENETDOWN'] ?? 0) > 0);
    await lab.ok(host, 'ip', ['link', 'set', 'eth1', 'up']);
    t.is((await mirror.ask({ do: 'retry' })).refusedCount, 0);
    t.is((await mirror.table(51000)).length, 2);
  }));

it('one that follows a killed one removes what is no more, and puts back what somebody removed', (t) =>
  mirrored(t, async (mirror, ways) => {
    const { lab, host } = ways;
    await mirror.routes(
      { prefix: '10.50.0.0/16', hops: [[1, '10.1.0.1']] },
      { prefix: '10.51.0.0/16', hops: [[1, '10.1.0.1']] },
    );
    await mirror.kill();
    await lab.ok(host, 'ip', ['route', 'add', '10.99.0.0/16', 'via', '10.1.0.1', 'table', '51000', 'proto', 'static']);
    const next = new Mirror(ways);
    await next.routes({ prefix: '10.51.0.0/16', hops: [[2, '10.2.0.1']] });
    t.deepEqual(await next.table(51000), [`10.51.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`]);
    await lab.ok(host, 'ip', ['route', 'flush', 'table', '51000', 'proto', '117']);
    await next.ask({ do: 'resync' });
    t.is((await next.table(51000)).length, 1);
    await next.ask({ do: 'stop' });
    t.regex(
      await lab.ok(host, 'ip', ['route', 'show', 'table', '51000']),
      /10\.99/,
      "others' routes are not ours to remove",
    );
  }));

it('one that takes over leaves what is there until its FIB is complete', (t) =>
  mirrored(t, async (mirror, ways) => {
    const [one, two] = ['10.50.0.0/16', '10.51.0.0/16'];
    await mirror.routes({ prefix: one, hops: [[1, '10.1.0.1']] }, { prefix: two, hops: [[1, '10.1.0.1']] });
    await mirror.kill();
    const next = new Mirror(ways, 'takeover');
    await next.routes({ prefix: one, hops: [[2, '10.2.0.1']] });
    t.is((await next.table(51000)).length, 2);
    await next.ask({ do: 'settled' });
    t.deepEqual(await next.table(51000), [`10.50.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`]);
  }));

it('with other tables and links the routes move there', (t) =>
  mirrored(t, async (mirror) => {
    await mirror.routes({
      prefix: '10.50.0.0/16',
      hops: [
        [1, '10.1.0.1'],
        [2, '10.2.0.1'],
      ],
    });
    const targets = [
      { vrf: 0, table: 51001, links: [1] },
      { vrf: 0, table: 51003, links: [2] },
    ];
    await mirror.ask({ do: 'settings', settings: { ...SETTINGS, targets } });
    t.deepEqual(await mirror.table(51000), []);
    t.deepEqual(await mirror.table(51001), [`10.50.0.0/16 via 10.1.0.1 dev eth1 ${ON_LINK}`]);
    t.deepEqual(await mirror.table(51003), [`10.50.0.0/16 via 10.2.0.1 dev eth2 ${ON_LINK}`]);
    await mirror.ask({ do: 'stop' });
    t.deepEqual(await mirror.table(51003), []);
  }));

it('50,000 routes are told in batches of hundreds and taken back', (t) =>
  mirrored(t, async (mirror, { lab, host }) => {
    const many = await mirror.ask({
      do: 'many',
      count: 50_000,
      gateways: [
        [1, '10.1.0.1'],
        [2, '10.2.0.1'],
      ],
    });
    t.deepEqual(many.refusals, {});
    t.log(`told in ${Math.round(many.ms)} ms`);
    const count = async (table: number): Promise<number> =>
      Number(await lab.ok(host, 'bash', ['-c', `ip route show table ${table} | wc -l`]));
    t.is(await count(51000), 50_000);
    t.is(await count(51001), 25_000);
    const gone = await mirror.ask({ do: 'stop' });
    t.log(`taken back in ${Math.round(gone.ms)} ms`);
    t.is(await count(51000), 0);
    t.is(await count(51001), 0);
  }));
