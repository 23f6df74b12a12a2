import type { ExecutionContext } from 'ava';
import { formatKey, generatePrivateKey, publicKey } from '../../wg/keys.ts';
import type { PlainUplink } from '../kit/host-driver.ts';
import { Driver, type Failure, type TwoWays, twoWays } from '../kit/host-network.ts';
import { changedSince } from '../kit/host-snapshot.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';

const { it } = labTests(Lab.missing('ping'));

const ONE = { name: 'one', kind: 'interface', interface: 'eth1', table: 51000, isolation: 'device' } as const;
const TWO = { name: 'two', kind: 'interface', interface: 'eth2', table: 51001, isolation: 'device' } as const;
const BY_SOURCE = { name: 'src', kind: 'source', source: '10.2.0.2', table: 51002 } as const;

async function inTwoWays(t: ExecutionContext, body: (ways: TwoWays) => Promise<void>): Promise<void> {
  const ways = await twoWays();
  try {
    await body(ways);
  } finally {
    await ways.lab.close();
  }
  t.pass();
}

const get = async ({ lab, host }: TwoWays, ...question: readonly string[]): Promise<string> =>
  (await lab.ok(host, 'ip', ['route', 'get', ...question])).split('\n')[0]!;

it('sockets bound to an interface, or to its address, have their own way out, and undo leaves nothing', (t) =>
  inTwoWays(t, async (ways) => {
    const { lab, host } = ways;
    const before = await ways.snapshot();
    const driver = await Driver.start(lab, host);
    const states = await driver.apply(ONE, TWO);
    t.like(states, [
      { name: 'one', isUp: true, bindDevice: 'eth1', addresses: ['10.1.0.2', 'fd01::2'] },
      { name: 'two', isUp: true, bindDevice: 'eth2', addresses: ['10.2.0.2', 'fd02::2'] },
    ]);
    t.regex(await get(ways, '10.9.0.1'), /via 10\.1\.0\.1 dev eth1/, 'what nobody chooses for goes as it did');
    t.regex(await get(ways, '10.9.0.1', 'oif', 'eth2'), /via 10\.2\.0\.1 dev eth2 table 51001 /);
    t.regex(await get(ways, '10.9.0.1', 'from', '10.2.0.2'), /via 10\.2\.0\.1 dev eth2 table 51001/);
    t.regex(await get(ways, 'fd09::1', 'oif', 'eth2'), /via fd02::1 dev eth2 table 51001 /);
    t.regex(await get(ways, 'fd09::1', 'from', 'fd02::2'), /via fd02::1 dev eth2 table 51001 /);
    for (const [device, target] of [
      ['eth1', '10.9.0.1'],
      ['eth2', '10.9.0.1'],
      ['eth2', 'fd09::1'],
    ] as const)
      await lab.ok(host, 'ping', ['-c1', '-W5', '-I', device, target]);
    t.is(await driver.ask({ do: 'undo' }), true);
    t.deepEqual(changedSince(before, await ways.snapshot()), []);
  }));

it('strict reverse-path filters let answers in by both ways without being touched', (t) =>
  inTwoWays(t, async ({ lab, host, snapshot }) => {
    await lab.ok(host, 'sh', ['-c', 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 1 > $f; done']);
    const before = await snapshot();
    const driver = await Driver.start(lab, host);
    await driver.apply(ONE, TWO);
    await lab.ok(host, 'ping', ['-c1', '-W5', '-I', 'eth2', '10.9.0.1']);
    await lab.ok(host, 'ping', ['-c1', '-W5', '-I', 'eth1', '10.9.0.1']);
    await driver.ask({ do: 'undo' });
    t.deepEqual(changedSince(before, await snapshot()), []);
  }));

it("an uplink by source address gets the way of its address; the administrator's own rule is left alone", (t) =>
  inTwoWays(t, async (ways) => {
    const { lab, host } = ways;
    const before = await ways.snapshot();
    const driver = await Driver.start(lab, host);
    t.like(await driver.apply(BY_SOURCE), [{ isUp: true, interface: 'eth2', addresses: ['10.2.0.2'] }]);
    t.regex(await get(ways, '10.9.0.1', 'from', '10.2.0.2'), /via 10\.2\.0\.1 dev eth2 table 51002/);
    await driver.ask({ do: 'undo' });
    t.deepEqual(changedSince(before, await ways.snapshot()), []);
    await lab.ok(host, 'ip', ['rule', 'add', 'from', '10.2.0.2', 'lookup', '77', 'priority', '500']);
    const withRule = await ways.snapshot();
    const again = await Driver.start(lab, host);
    await again.apply(BY_SOURCE);
    t.notRegex(await lab.ok(host, 'ip', ['rule']), /51002/);
    await again.ask({ do: 'undo' });
    t.deepEqual(changedSince(withRule, await ways.snapshot()), []);
  }));

it("what is there already is not made again, and a killed daemon's work is taken over or taken back", (t) =>
  inTwoWays(t, async ({ lab, host, snapshot }) => {
    const before = await snapshot();
    const first = await Driver.start(lab, host);
    await first.apply(ONE, TWO);
    const set = await snapshot();
    await first.apply(ONE, TWO);
    t.deepEqual(changedSince(set, await snapshot()), [], 'a second time changes nothing');
    await first.kill();
    const second = await Driver.start(lab, host);
    await second.apply(ONE, TWO);
    t.deepEqual(changedSince(set, await snapshot()), [], 'nor does another daemon');
    await second.apply(TWO, BY_SOURCE_1);
    t.notRegex(await lab.ok(host, 'ip', ['rule']), /oif eth1|51000/, 'an uplink that is no more leaves nothing');
    await second.kill();
    const third = await Driver.start(lab, host);
    t.is(await third.ask({ do: 'undo-left' }), true);
    t.deepEqual(changedSince(before, await snapshot()), []);
    t.is(await third.ask({ do: 'undo-left' }), false, 'there is nothing left to take back');
  }));

const BY_SOURCE_1 = { name: 'one', kind: 'source', source: '10.1.0.2', table: 51003 } as const;

it('a daemon that is killed at any moment of its work leaves nothing that cannot be taken back', (t) =>
  inTwoWays(t, async ({ lab, host, snapshot }) => {
    const before = await snapshot();
    let line = 1;
    for (; ; line++) {
      const doomed = await Driver.start(lab, host, line);
      const isAlive = await doomed.survives(ONE, TWO);
      const next = await Driver.start(lab, host);
      // Either of what may come next: `mlshim down`, or a daemon that takes over and is ended then.
      if (line % 2 === 1) await next.apply(ONE, TWO);
      await next.ask({ do: line % 2 === 1 ? 'undo' : 'undo-left' });
      t.deepEqual(changedSince(before, await snapshot()), [], `killed at line ${line} of the journal`);
      await doomed.kill();
      if (isAlive) break;
    }
    t.true(line > 8, 'tables and rules of both');
  }));

it('uplinks that share something, or lack it, are refused before anything is changed', (t) =>
  inTwoWays(t, async ({ lab, host, snapshot }) => {
    await lab.ok(host, 'ip', ['route', 'add', 'blackhole', '10.77.0.0/16', 'table', '51009']);
    const before = await snapshot();
    const driver = await Driver.start(lab, host);
    const refused = async (code: string, message: RegExp, ...uplinks: readonly PlainUplink[]): Promise<void> => {
      const answer = (await driver.apply(...uplinks)) as Failure;
      t.is(answer.failure, code);
      t.regex(answer.message, message);
      t.deepEqual(changedSince(before, await snapshot()), []);
    };
    await refused('HOST_OVERLAP', /one and two both need table 51000/, ONE, { ...TWO, table: 51000 });
    await refused('HOST_OVERLAP', /both need interface eth1/, ONE, { ...TWO, interface: 'eth1' });
    await refused('HOST_OVERLAP', /two and src both have the address 10\.2\.0\.2/, TWO, BY_SOURCE);
    await refused('HOST_OVERLAP', /table 254.*host's own/, { ...ONE, table: 254 });
    await refused('HOST_OVERLAP', /51009 of uplink one is in use by somebody's route to 10\.77\.0\.0\/16/, {
      ...ONE,
      table: 51009,
    });
    await refused('HOST_MISSING', /no interface eth7 \(there are: lo, eth1, eth2\)/, ONE, {
      ...TWO,
      interface: 'eth7',
    });
    await refused('HOST_MISSING', /10\.3\.0\.2 is no address of this host/, { ...BY_SOURCE, source: '10.3.0.2' });
    if ((await lab.run(host, 'ip', ['link', 'add', 'v', 'type', 'vrf', 'table', '9'])).status === 0) {
      await lab.ok(host, 'ip', ['link', 'del', 'v']);
      return;
    }
    await refused('NO_VRF', /this kernel has no VRF/, ONE, { ...TWO, isolation: 'vrf' });
  }));

it('an interface that vanishes takes its uplink down, and one that comes back is set up again', (t) =>
  inTwoWays(t, async ({ lab, host, far }) => {
    const driver = await Driver.start(lab, host);
    await driver.apply(ONE, TWO);
    await driver.ask({ do: 'watch' });
    await lab.host('ip', ['-n', host, 'link', 'set', 'eth2', 'down']);
    const [, down] = await driver.until(([, two]) => two?.isUp === false);
    t.regex(down!.why!, /eth2 is down|eth2 has no carrier/);
    await lab.host('ip', ['-n', host, 'link', 'set', 'eth2', 'up']);
    await driver.until(([, two]) => two?.isUp === true);
    await lab.host('ip', ['-n', host, 'link', 'del', 'eth2']);
    const [one, gone] = await driver.until(([, two]) => two?.isUp === false && two.why !== 'eth2 has no carrier');
    t.like(one, { isUp: true });
    t.regex(gone!.why!, /interface is gone/);
    await lab.veth('eth2', host, '10.22.0.2/24', far, '10.22.0.1/24');
    const [, back] = await driver.until(([, two]) => two?.isUp === true && two.addresses.includes('10.22.0.2'));
    t.like(back, { bindDevice: 'eth2', table: 51001 });
    await lab.host('ip', ['-n', host, 'route', 'add', 'default', 'via', '10.22.0.1', 'dev', 'eth2', 'metric', '300']);
    await lab.eventually('the new default route is in the table', async () =>
      (await lab.ok(host, 'ip', ['route', 'show', 'table', '51001'])).includes('default via 10.22.0.1'),
    );
    await driver.ask({ do: 'undo' });
    t.notRegex(await lab.ok(host, 'ip', ['rule']), /510/);
    t.is(await lab.ok(host, 'ip', ['route', 'show', 'table', '51001']), '');
  }));

it('sockets of a device are counted and ended, others are not', (t) =>
  inTwoWays(t, async ({ lab, host, far }) => {
    const server = lab.start(far, process.execPath, ['-e', SERVER]);
    await server.until(/listening/);
    const client = lab.start(host, 'python3', ['-c', CLIENT, 'eth2']);
    const other = lab.start(host, 'python3', ['-c', CLIENT, 'eth1']);
    await client.until(/connected/);
    await other.until(/connected/);
    const driver = await Driver.start(lab, host);
    t.is(await driver.ask({ do: 'count', device: 'eth2' }), 2, 'a connection and a UDP socket');
    t.is(await driver.ask({ do: 'destroy', device: 'eth2' }), 2);
    await client.until(/ended by 103/);
    t.is(await driver.ask({ do: 'count', device: 'eth2' }), 0);
    t.is(await driver.ask({ do: 'count', device: 'eth1' }), 2);
  }));

it('where the kernel has no WireGuard our child carries the tunnel, and another daemon goes on with it', (t) =>
  inTwoWays(t, async ({ lab, host, far, snapshot }) => {
    const before = await snapshot();
    const [near, remote] = [generatePrivateKey(), generatePrivateKey()];
    const tunnel = (own: Uint8Array, peer: Uint8Array, n: number, more: object): PlainUplink => ({
      ...{
        name: 'tun',
        kind: 'wireguard',
        isolation: 'device',
        table: 51010,
        addresses: [`10.100.0.${n}/32`, `fd64::${n}/128`],
      },
      wireguard: {
        ...{ privateKey: formatKey(own), ...(n === 1 && { listenPort: 51820 }) },
        peers: [
          {
            publicKey: formatKey(publicKey(peer)),
            allowedIps: [`10.100.0.${3 - n}/32`, `fd64::${3 - n}/128`],
            ...more,
          },
        ],
      },
    });
    const distant = await Driver.start(lab, far);
    await distant.apply(tunnel(remote, near, 1, {}));
    const uplink = tunnel(near, remote, 2, { endpoint: ['10.9.0.1', 51820] });
    const driver = await Driver.start(lab, host);
    t.like(await driver.apply(ONE, uplink), [{ isUp: true }, { isUp: true, bindDevice: 'mlw-tun' }]);
    for (const target of ['10.100.0.1', 'fd64::1']) await lab.ok(host, 'ping', ['-c1', '-W5', '-I', 'mlw-tun', target]);
    const set = await snapshot();
    await driver.apply(ONE, uplink);
    t.deepEqual(changedSince(set, await snapshot()), [], 'a second time changes nothing');
    await driver.kill();
    const next = await Driver.start(lab, host);
    await next.apply(ONE, uplink);
    t.deepEqual(changedSince(set, await snapshot()), []);
    await lab.ok(host, 'ping', ['-c3', '-W5', '-I', 'mlw-tun', '10.100.0.1']);
    await next.ask({ do: 'undo' });
    t.deepEqual(changedSince(before, await snapshot()), []);
  }));

const SERVER =
  "require('net').createServer((s) => s.on('error', () => {})).listen(7000, '10.9.0.1', () => console.log('listening'))";
const CLIENT = `
import socket, sys
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[1].encode())
u.connect(('10.9.0.1', 7000)); s.connect(('10.9.0.1', 7000)); print('connected', flush=True)
try: s.recv(1)
except OSError as e: print('ended by', e.errno, flush=True)
`;
