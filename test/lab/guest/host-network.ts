/** The host's network with VRFs and WireGuard as our kernel backend sets it up and takes it back, in namespaces of its own. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { KernelRoutes } from '../../../router/kernel/route-mirror.ts';
import { ROUTE_PROTOCOL } from '../../../router/kernel/uplink.ts';
import type { PlainUplink } from '../../kit/host-driver.ts';
import { Answering, Driver, type DriverState, type Failure, type TwoWays, twoWays } from '../../kit/host-network.ts';
import { changedSince } from '../../kit/host-snapshot.ts';
import type { MirrorRequest } from '../../kit/mirror-driver.ts';
import type { Case, Suite, Trial } from './case.ts';

const ONE = { name: 'one', kind: 'interface', interface: 'eth1', table: 51000, isolation: 'vrf' } as const;
const TWO = { name: 'two', kind: 'interface', interface: 'eth2', table: 51001, isolation: 'vrf', mtu: 1400 } as const;

/** Everything about an interface that is lost when it is put into a VRF, or could be put back wrong. */
const ODDITIES = [
  'addr add 10.1.0.77/24 dev eth1 label eth1:alias',
  'addr add 10.1.5.2/24 dev eth1 noprefixroute',
  'addr add fd01::77/64 dev eth1 nodad preferred_lft 0 valid_lft 4000',
  'addr add fd01:5::2/64 dev eth1 nodad noprefixroute metric 77',
  'addr add fd01:6::2/64 dev eth1',
  'addr add fe80::77/64 dev eth1 nodad',
  'route add 10.50.0.0/16 via 10.1.0.1 dev eth1 metric 7 proto static src 10.1.0.77 mtu lock 1300',
  'route add 10.51.0.0/16 via 10.99.0.1 dev eth1 onlink',
  'route add 10.52.0.0/16 nexthop via 10.1.0.1 dev eth1 weight 2 nexthop via 10.2.0.1 dev eth2 weight 1',
  'route add 10.53.0.0/16 dev eth1 table 77',
  'route add 10.54.0.0/16 via inet6 fd01::1 dev eth1',
  'route add fd50::/32 via fd01::1 dev eth1 metric 7 proto static src fd01:5::2 pref high',
  'route add fd52::/32 nexthop via fd01::1 dev eth1 nexthop via fd02::1 dev eth2',
  'route add fd53::/32 dev eth2 table 78',
  'neigh add 10.1.0.9 lladdr 02:00:00:00:00:09 dev eth1 nud permanent',
  'neigh add fd01::9 lladdr 02:00:00:00:00:09 dev eth1 nud permanent',
  'link set eth2 mtu 1480',
];

async function oddWays(body: (ways: TwoWays) => Promise<void>): Promise<void> {
  const ways = await twoWays();
  const { lab, host } = ways;
  try {
    await lab.ok(host, 'ip', ['-batch', '-'], { input: `${ODDITIES.join('\n')}\n` });
    await body(ways);
  } finally {
    await lab.close();
  }
}

const unchanged = async (ways: TwoWays, before: string, what: string): Promise<void> =>
  assert.deepEqual(changedSince(before, await ways.snapshot()), [], what);

const applied = async (driver: Driver, ...uplinks: readonly PlainUplink[]): Promise<readonly DriverState[]> => {
  const answer = await driver.apply(...uplinks);
  if ('failure' in answer) throw new Error(`${answer.failure}: ${answer.message}`);
  return answer;
};

const ping = ({ lab, host }: TwoWays, device: string, target: string): Promise<string> =>
  lab.ok(host, 'ping', ['-c1', '-W5', '-I', device, target]);

async function movesAndRestores({ log }: Trial): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host } = ways;
    const before = await ways.snapshot();
    const driver = await Driver.start(lab, host);
    const started = performance.now();
    const states = await applied(driver, ONE, TWO);
    log(`set up in ${Math.round(performance.now() - started)} ms`);
    assert.deepEqual(
      states.map((s) => [s.isUp, s.bindDevice, s.addresses.includes('fd01::77') || s.addresses.includes('fd02::2')]),
      [
        [true, 'mlv-one', true],
        [true, 'mlv-two', true],
      ],
    );
    for (const device of ['mlv-one', 'mlv-two'])
      for (const target of ['10.9.0.1', 'fd09::1']) await ping(ways, device, target);
    const main = await lab.ok(host, 'ip', ['route', 'show', 'table', 'main']);
    assert.doesNotMatch(main, /default|10\.50|10\.51/, 'what led over the interfaces is theirs now');
    const table = await lab.ok(host, 'ip', ['route', 'show', 'table', '51000']);
    assert.match(
      table,
      /10\.50\.0\.0\/16 via 10\.1\.0\.1 dev eth1 proto static src 10\.1\.0\.77 metric 7 mtu lock 1300/,
    );
    assert.match(table, /10\.51\.0\.0\/16 via 10\.99\.0\.1 dev eth1 onlink/);
    assert.match(table, /10\.52\.0\.0\/16 via 10\.1\.0\.1 dev eth1/, 'of several next hops its own');
    assert.match(table, /10\.54\.0\.0\/16 via inet6 fd01::1 dev eth1/);
    assert.match(table, /unreachable default proto 116 metric 4278198272/, 'what it has no way for goes nowhere else');
    const source = await lab.ok(host, 'ip', ['route', 'get', '10.9.0.1', 'from', '10.2.0.2']);
    assert.match(source, /via 10\.2\.0\.1 dev eth2 table 51001/, 'the first datagram of a socket that is bound late');
    const set = await ways.snapshot();
    await applied(driver, ONE, TWO);
    await unchanged(ways, set, 'a second time changes nothing');
    await driver.ask({ do: 'undo' });
    await unchanged(ways, before, 'all is as it was');
  });
}

async function killedAnywhere({ log }: Trial): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host } = ways;
    const before = await ways.snapshot();
    const lines = [5, 8, 40];
    for (const line of lines) {
      const doomed = await Driver.start(lab, host, line);
      const isAlive = await doomed.survives(ONE, TWO);
      await doomed.kill();
      const next = await Driver.start(lab, host);
      if (line % 2 === 1) await applied(next, ONE, TWO);
      await next.ask({ do: line % 2 === 1 ? 'undo' : 'undo-left' });
      await unchanged(ways, before, `killed at line ${line} of the journal`);
      await next.kill();
      assert.equal(isAlive, line === 40);
    }
    log(`killed at lines ${lines.slice(0, -1).join(', ')} of the journal`);
  });
}

/** Killed while it takes back: the next one goes on. */
async function killedUndoing(): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host } = ways;
    const before = await ways.snapshot();
    for (const line of [4, 16, 99]) {
      const setter = await Driver.start(lab, host);
      await applied(setter, ONE, TWO);
      await setter.kill();
      const doomed = await Driver.start(lab, host, line);
      const isAlive = await doomed.ends({ do: 'undo-left' });
      await doomed.kill();
      const next = await Driver.start(lab, host);
      await next.ask({ do: 'undo-left' });
      await unchanged(ways, before, `killed at line ${line} of taking back`);
      await next.kill();
      assert.equal(isAlive, line === 99);
    }
  });
}

async function strays(): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host } = ways;
    const driver = await Driver.start(lab, host);
    await applied(driver, ONE, TWO);
    await driver.ask({ do: 'watch' });
    const dhcp = ['route', 'add', '10.60.0.0/16', 'via', '10.1.0.1', 'dev', 'eth1', 'proto', 'dhcp', 'metric', '5'];
    await lab.ok(host, 'ip', dhcp);
    await lab.ok(host, 'ip', ['addr', 'add', 'fd01::99/64', 'dev', 'eth1', 'nodad']);
    await lab.ok(host, 'ip', ['route', 'del', '10.50.0.0/16', 'table', '51000']);
    await lab.eventually('the route that a DHCP client added is in the table of the VRF', async () =>
      (await lab.ok(host, 'ip', ['route', 'show', 'table', '51000'])).includes('10.60.0.0/16'),
    );
    assert.doesNotMatch(await lab.ok(host, 'ip', ['route']), /10\.60/);
    await lab.eventually('a new address has its rule', async () =>
      (await lab.ok(host, 'ip', ['-6', 'rule'])).includes('fd01::99'),
    );
    await driver.ask({ do: 'undo' });
    const main = await lab.ok(host, 'ip', ['route']);
    assert.match(main, /10\.60\.0\.0\/16 via 10\.1\.0\.1 dev eth1 proto dhcp metric 5/);
    assert.doesNotMatch(main, /10\.50\./, 'what was removed meanwhile stays away');
    assert.match(await lab.ok(host, 'ip', ['-6', 'addr', 'show', 'dev', 'eth1']), /fd01::99/);
  });
}

async function vanishes(): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host, far } = ways;
    const driver = await Driver.start(lab, host);
    await applied(driver, ONE, TWO);
    await driver.ask({ do: 'watch' });
    await lab.host('ip', ['-n', host, 'link', 'del', 'eth2']);
    await driver.until(([, two]) => two?.why === 'its interface is gone');
    await lab.veth('eth2', host, '10.22.0.2/24', far, '10.22.0.1/24');
    await driver.until(([, two]) => two?.isUp === true && two.addresses.includes('10.22.0.2'));
    await ping(ways, 'mlv-two', '10.22.0.1');
    await driver.kill();
    await lab.host('ip', ['-n', host, 'link', 'del', 'eth2']);
    const next = await Driver.start(lab, host);
    const [one, two] = await applied(next, ONE, TWO);
    assert.deepEqual([one?.isUp, two?.why], [true, 'its interface is gone'], 'known from before, so it may be away');
    await next.ask({ do: 'undo' });
    assert.doesNotMatch(await lab.ok(host, 'ip', ['link']), /mlv-/);
  });
}

async function overlaps(): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host } = ways;
    await lab.ok(host, 'ip', ['link', 'add', 'blue', 'type', 'vrf', 'table', '51005']);
    await lab.ok(host, 'ip', ['link', 'add', 'mlv-three', 'type', 'vrf', 'table', '9']);
    await lab.ok(host, 'ip', ['link', 'set', 'eth2', 'master', 'blue']);
    const before = await ways.snapshot();
    const driver = await Driver.start(lab, host);
    for (const [uplink, message] of [
      [TWO, /eth2 of uplink two is a port of blue/],
      [{ ...ONE, table: 51005 }, /table 51005 of uplink one is in use by VRF blue/],
      [{ ...ONE, name: 'three' }, /mlv-three already, which this daemon did not make/],
    ] as const) {
      const { failure, message: said } = (await driver.apply(uplink)) as Failure;
      assert.equal(failure, 'HOST_OVERLAP');
      assert.match(said, message);
      await unchanged(ways, before, said);
    }
  });
}

interface Key {
  readonly secret: string;
  readonly open: string;
}

async function key({ lab, host }: TwoWays): Promise<Key> {
  const secret = (await lab.ok(host, 'wg', ['genkey'])).trim();
  return { secret, open: (await lab.ok(host, 'wg', ['pubkey'], { input: secret })).trim() };
}

/** A tunnel's far end: 10.100.N.1 and fd64:N::1, reached at 10.9.0.1. */
async function farEnd(ways: TwoWays, n: number, own: Key, peer: Key): Promise<void> {
  const { lab, far } = ways;
  const file = join(lab.dir, `far${n}.key`);
  writeFileSync(file, own.secret);
  const run = (...args: string[]): Promise<string> => lab.ok(far, args[0]!, args.slice(1));
  await run('ip', 'link', 'add', `wg${n}`, 'type', 'wireguard');
  const peerArgs = ['peer', peer.open, 'allowed-ips', `10.100.${n}.2/32,fd64:${n}::2/128`];
  await run('wg', 'set', `wg${n}`, 'private-key', file, 'listen-port', `${51820 + n}`, ...peerArgs);
  await run('ip', 'addr', 'add', `10.100.${n}.1/24`, 'dev', `wg${n}`);
  await run('ip', 'addr', 'add', `fd64:${n}::1/64`, 'dev', `wg${n}`, 'nodad');
  await run('ip', 'link', 'set', `wg${n}`, 'up');
}

function tunnel(n: number, isolation: 'vrf' | 'device', own: Key, peer: Key): PlainUplink {
  return {
    ...{ name: `tun${n}`, kind: 'wireguard', isolation, table: 51010 + n },
    addresses: [`10.100.${n}.2/32`, `fd64:${n}::2/128`],
    wireguard: {
      privateKey: own.secret,
      peers: [{ publicKey: peer.open, endpoint: ['10.9.0.1', 51820 + n], allowedIps: ['0.0.0.0/0', '::/0'] }],
    },
  };
}

/** Routes that a routing protocol gave us, in the tables of VRFs; a daemon that is killed leaves them to who comes after. */
async function learnedRoutes(): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host, far } = ways;
    for (const address of ['10.90.0.1/32', 'fd90::1/128'])
      await lab.ok(far, 'ip', ['addr', 'add', address, 'dev', 'lo']);
    const before = await ways.snapshot();
    const driver = await Driver.start(lab, host);
    await applied(driver, ONE, TWO);
    for (const table of ['51000', '51001'])
      await lab.ok(host, 'ip', ['route', 'del', 'default', 'table', table, 'proto', 'dhcp']);
    const settings: KernelRoutes = {
      ...{ protocol: ROUTE_PROTOCOL, metric: 20 },
      targets: [
        { vrf: 0, table: 51000, links: [1] },
        { vrf: 0, table: 51001, links: [2] },
      ],
      devices: [
        [1, 'eth1'],
        [2, 'eth2'],
      ],
    };
    const mirror = new Answering<MirrorRequest>(lab, host, 'mirror-driver.js', [JSON.stringify(settings)]);
    const hops = (...both: readonly [string, string]): [number, string][] => [
      [1, both[0]],
      [2, both[1]],
    ];
    const told = await mirror.ask({
      do: 'routes',
      routes: [
        { prefix: '10.90.0.0/16', hops: hops('10.1.0.1', '10.2.0.1') },
        { prefix: 'fd90::/32', hops: hops('fd01::1', 'fd02::1') },
        { prefix: '10.91.0.0/16', hops: [[1, 'fd01::1']] },
        { prefix: '10.92.0.0/16', hops: [], kind: 'Blackhole' },
      ],
    });
    assert.deepEqual((told as { refusals: unknown }).refusals, {});
    for (const vrf of ['mlv-one', 'mlv-two'])
      for (const target of ['10.90.0.1', 'fd90::1']) await ping(ways, vrf, target);
    const one = await lab.ok(host, 'ip', ['route', 'show', 'table', '51000', 'proto', '117']);
    assert.match(one, /10\.90\.0\.0\/16 via 10\.1\.0\.1 dev eth1/);
    assert.match(one, /10\.91\.0\.0\/16 via inet6 fd01::1 dev eth1/);
    assert.match(one, /blackhole 10\.92\.0\.0\/16/);
    assert.doesNotMatch(await lab.ok(host, 'ip', ['route']), /10\.9[0-2]\./, 'none of it is in main');
    await mirror.kill();
    await driver.kill();
    await (await Driver.start(lab, host)).ask({ do: 'undo-left' });
    const changes = changedSince(before, await ways.snapshot());
    assert.deepEqual(
      changes.filter((line) => !/"dst":"default".*"protocol":"dhcp"/.test(line)),
      [],
      'but for the default routes that were removed',
    );
  });
}

/** Of the host's peers, in seconds; 0 = there was none, as of a peer that was made anew. */
async function handshakes({ lab, host }: TwoWays): Promise<number[]> {
  const text = await lab.ok(host, 'wg', ['show', 'all', 'latest-handshakes']);
  return text
    .trim()
    .split('\n')
    .map((line) => Number(line.split('\t')[2]));
}

const isLater = (now: readonly number[], before: readonly number[]): boolean =>
  now.length === before.length && now.every((t, i) => t > 0 && t >= before[i]!);

async function tunnels(): Promise<void> {
  await oddWays(async (ways) => {
    const { lab, host } = ways;
    const keys = [await key(ways), await key(ways), await key(ways), await key(ways)] as const;
    await farEnd(ways, 1, keys[0], keys[1]);
    await farEnd(ways, 2, keys[2], keys[3]);
    const before = await ways.snapshot();
    const driver = await Driver.start(lab, host);
    // The first one finds by itself that the host's default route is in the VRF of uplink one; the second one is told.
    const one = tunnel(1, 'vrf', keys[1], keys[0]);
    const two = { ...tunnel(2, 'device', keys[3], keys[2]), underlay: 'two' };
    const states = await applied(driver, ONE, TWO, one, two);
    assert.deepEqual(
      states.map((s) => s.bindDevice),
      ['mlv-one', 'mlv-two', 'mlv-tun1', 'mlw-tun2'],
    );
    await ping(ways, 'mlv-tun1', '10.100.1.1');
    await ping(ways, 'mlv-tun1', 'fd64:1::1');
    await ping(ways, 'mlw-tun2', '10.100.2.1');
    await ping(ways, 'mlw-tun2', 'fd64:2::1');
    const peers = await lab.ok(ways.far, 'wg', ['show', 'all', 'endpoints']);
    assert.match(peers, /wg1\t\S+\t10\.1\.0\.2:/, 'the first one leaves by uplink one');
    assert.match(peers, /wg2\t\S+\t10\.2\.0\.2:/, 'the second one by uplink two');
    const shakes = await handshakes(ways);
    const set = await ways.snapshot();
    await applied(driver, ONE, TWO, one, two);
    await unchanged(ways, set, 'a second time changes nothing');
    assert.ok(isLater(await handshakes(ways), shakes), 'sessions go on');
    await driver.kill();
    const next = await Driver.start(lab, host);
    await applied(next, ONE, TWO, one, two);
    assert.ok(isLater(await handshakes(ways), shakes), 'also with another daemon');
    await applied(next, ONE, TWO, two);
    assert.doesNotMatch(await lab.ok(host, 'ip', ['link']), /tun1/);
    await next.ask({ do: 'undo' });
    await unchanged(ways, before, 'all is as it was');
  });
}

const cases: readonly Case[] = [
  {
    name: 'host-vrf',
    title: 'interfaces move into VRFs with all their addresses and routes, and back exactly',
    run: movesAndRestores,
  },
  {
    name: 'host-vrf-killed',
    title: 'a daemon killed at one of several lines of its journal leaves nothing that cannot be taken back',
    run: killedAnywhere,
  },
  {
    name: 'host-vrf-undo-killed',
    title: 'and one killed while it takes back is followed by one that goes on',
    run: killedUndoing,
  },
  {
    name: 'host-vrf-strays',
    title: 'what others change on an interface in a VRF is moved there, and kept when it leaves',
    run: strays,
  },
  {
    name: 'host-vrf-vanishes',
    title: 'an interface that vanishes and comes back is put into its VRF again',
    run: vanishes,
  },
  {
    name: 'host-vrf-routes',
    title: 'routes of BGP and of the configuration are in the tables of VRFs',
    run: learnedRoutes,
  },
  {
    name: 'host-vrf-overlaps',
    title: 'VRFs and tables of others are refused before anything is changed',
    run: overlaps,
  },
  {
    name: 'host-wireguard',
    title: "the kernel's WireGuard carries uplinks in VRFs and outside, by the uplink it is to leave by",
    run: tunnels,
  },
];

/** Each starts a dozen programs, which takes seconds where the processor is emulated. */
const LIMIT_MS = 300_000;

export const hostNetwork: Suite = {
  name: 'host-network',
  boot: 'plain',
  cases: cases.map((one) => ({ ...one, limitMs: LIMIT_MS })),
};
