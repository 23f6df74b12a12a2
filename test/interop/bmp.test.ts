/**
 * What pmacct's collector makes of our BMP messages, all on loopback and as ordinary user: every table of a session with
 * BIRD, and of one with GoBGP that has the VPN families, the Loc-RIB instance, and how they change.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { ExecutionContext } from 'ava';
import { BmpFeed } from '../../bgp/monitor/bmp-feed.ts';
import type { Rule } from '../../bgp/policy/rule.ts';
import { Speaker } from '../../bgp/speaker.ts';
import { parseDistinguisher, parseRouteTarget } from '../../bgp/vpn/route-distinguisher.ts';
import { VpnRoom } from '../../bgp/vpn/vpn-room.ts';
import { roomPeers, roomTransport } from '../../bgp/vpn/vrf-peers.ts';
import { BmpClient } from '../../router/app/bmp-client.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { systemClock, wallClockMs } from '../../router/lib/clock.ts';
import { makeLogger } from '../../router/lib/log.ts';
import { Bird, ended, hasBird, until } from '../bgp/kit/bird.ts';
import { Gobgp, gobgpConfig, hasGobgp } from '../bgp/kit/gobgp.ts';
import { driveByClock, freePort } from '../bgp/kit/loopback.ts';
import { Node, OUR_AS, THEIR_AS } from '../bgp/kit/node.ts';
import { instanceOf } from '../bgp/kit/station.ts';
import { labTests, notInstalled } from '../kit/it.ts';

const PMBMPD = '/usr/sbin/pmbmpd';
const missing = notInstalled({ bird2: hasBird(), pmacct: existsSync(PMBMPD) });
const QUIET = makeLogger(() => undefined, 'test', 'error');

/** A line of the collector's log, as far as it is looked at. */
interface Logged {
  readonly bmp_msg_type?: string;
  readonly log_type?: 'update' | 'withdraw';
  readonly ip_prefix?: string;
  readonly as_path?: string;
  readonly comms?: string;
  readonly bgp_nexthop?: string;
  readonly label?: string;
  readonly peer_ip?: string;
  readonly peer_asn?: number;
  readonly peer_type_str?: string;
  readonly rd?: string;
  readonly is_in?: number;
  readonly is_loc?: number;
  readonly is_post?: number;
  readonly reason_type?: number;
  readonly bmp_peer_up_info_3?: string;
  readonly counter_type?: number;
  readonly counter_value?: number;
}

const plainWords = (l: Logged): (string | undefined)[] => [l.ip_prefix, l.as_path, l.comms];
const vpnWords = (l: Logged): (string | undefined)[] => [l.rd, l.ip_prefix, l.label, l.bgp_nexthop, l.as_path, l.comms];

/** What the lines leave behind: each table with its prefixes, and how the collector read them. */
function tablesOf(lines: readonly Logged[], words = plainWords): Record<string, string[]> {
  const tables = new Map<string, Map<string, string>>();
  for (const l of lines) {
    if (l.bmp_msg_type !== 'route_monitor' || l.ip_prefix === undefined) continue;
    const name = l.is_loc === 1 ? 'loc' : `${l.is_in === 1 ? 'in' : 'out'}_${l.is_post === 1 ? 'post' : 'pre'}`;
    const table = tables.get(name) ?? new Map<string, string>();
    tables.set(name, table);
    const how = words(l)
      .filter((x) => x !== undefined && x !== '')
      .join(' ');
    const key = `${l.rd} ${l.ip_prefix}`;
    if (l.log_type === 'update') table.set(key, how);
    else table.delete(key);
  }
  return Object.fromEntries([...tables].map(([name, table]) => [name, [...table.values()].sort()]));
}

/** A collector that writes down each message as a line of JSON. */
class Collector {
  readonly port: number;
  readonly #dir = mkdtempSync(join(tmpdir(), 'mlshim-bmp-'));
  #child: ChildProcess | undefined;
  #output = '';

  constructor(port: number) {
    this.port = port;
  }

  async start(): Promise<void> {
    const conf = join(this.#dir, 'pmbmpd.conf');
    const lines = [
      'daemonize: false',
      'bmp_daemon_ip: 127.0.0.1',
      `bmp_daemon_port: ${this.port}`,
      `bmp_daemon_msglog_file: ${this.#log}`,
      'bmp_daemon_msglog_output: json',
    ];
    writeFileSync(conf, `${lines.join('\n')}\n`);
    chmodSync(this.#dir, 0o777);
    const drop = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
    const child = spawn(PMBMPD, ['-f', conf], { ...drop, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.on('data', (b) => (this.#output += String(b)));
    child.stderr.on('data', (b) => (this.#output += String(b)));
    this.#child = child;
    await until(() => {
      if (child.exitCode !== null) throw new Error(`pmbmpd ended with ${child.exitCode}: ${this.#output}`);
      return this.#output.includes('waiting for BMP data');
    }, 'pmbmpd listens');
  }

  get #log(): string {
    return join(this.#dir, 'log.json');
  }

  get lines(): Logged[] {
    if (!existsSync(this.#log)) return [];
    const whole = readFileSync(this.#log, 'utf8').split('\n').slice(0, -1);
    return whole.map((l) => JSON.parse(l) as Logged);
  }

  async remove(): Promise<void> {
    await ended(this.#child, 'SIGKILL'); // it does not listen to milder ones while it waits for data
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

const birdConfig = (birdPort: number, ourPort: number): string => `
router id 10.0.0.2;
ipv4 table h4;
ipv6 table h6;
protocol device {}
protocol static s4 { ipv4; route 172.20.1.0/24 blackhole; route 172.20.2.0/24 blackhole; }
protocol static s6 { ipv6; route fd42:1::/48 blackhole; }
protocol static hops4 { ipv4 { table h4; }; route 10.9.9.1/32 via "lo"; }
protocol static hops6 { ipv6 { table h6; }; route fd00:9::1/128 via "lo"; }
protocol bgp peer1 {
  local 127.0.0.2 port ${birdPort} as ${THEIR_AS};
  neighbor 127.0.0.1 port ${ourPort} as ${OUR_AS};
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 30;
  ipv4 { import all; export where source = RTS_STATIC; next hop address 10.9.9.2; igp table h4; };
  ipv6 { import all; export where source = RTS_STATIC; next hop address fd00:9::2; igp table h6; };
}
`;

const REFUSED = Prefix.parse('172.20.2.0/24')!;
const OURS = Prefix.parse('172.20.229.0/27')!;
const community = (n: number): number => (64511 << 16) | n;

const name = 'pmacct reads every table we tell, the Loc-RIB as an instance of its own, and follows what changes';
const run = async (t: ExecutionContext): Promise<void> => {
  const [birdPort, ourPort, bmpPort] = [await freePort(), await freePort(), await freePort()];
  const collector = new Collector(bmpPort);
  const bird = new Bird();
  const node = new Node({
    port: ourPort,
    peers: [
      {
        name: 'bird',
        address: Addr.parse('127.0.0.2')!,
        port: birdPort,
        import: [
          { match: { prefixes: [{ prefix: REFUSED }] }, action: 'reject' },
          { set: { addCommunities: [community(5)] }, action: 'accept' },
        ],
        export: [
          { match: { family: 6 }, action: 'reject' },
          { set: { addCommunities: [community(7)] }, action: 'accept' },
        ],
      },
    ],
  });
  t.teardown(async () => {
    await node.stop();
    await bird.remove();
    await collector.remove();
  });
  await collector.start();
  await node.start();
  const { speaker } = node;
  const feed = new BmpFeed({
    systemName: 'here',
    description: 'mlshim',
    wallMs: wallClockMs,
    tables: ['in_pre', 'in_post', 'out_pre', 'out_post', 'loc'],
    instances: [instanceOf(speaker)],
  });
  const client = new BmpClient({ address: Addr.parse('127.0.0.1')!, port: bmpPort }, feed, QUIET);
  t.teardown(speaker.addMonitor(feed.monitors[0]!));
  client.start();
  t.teardown(() => client.stop());
  await bird.start(birdConfig(birdPort, ourPort));
  const logged = (what: (l: Logged) => boolean): boolean => collector.lines.some(what);
  const reads = (expected: Record<string, string[]>): boolean => isDeepStrictEqual(tablesOf(collector.lines), expected);

  const [them, us] = [THEIR_AS, OUR_AS];
  const before = {
    in_pre: [`172.20.1.0/24 ${them}`, `172.20.2.0/24 ${them}`, `fd42:1::/48 ${them}`],
    in_post: [`172.20.1.0/24 ${them} 64511:5`, `fd42:1::/48 ${them} 64511:5`],
    out_pre: ['172.20.229.0/27', 'fd42:beef::/48'],
    out_post: [`172.20.229.0/27 ${us} 64511:7`],
    loc: [`172.20.1.0/24 ${them} 64511:5`, '172.20.229.0/27', `fd42:1::/48 ${them} 64511:5`, 'fd42:beef::/48'],
  };
  await until(() => reads(before), 'all tables').catch(() => undefined);
  t.deepEqual(tablesOf(collector.lines), before);
  const instance = collector.lines.find((l) => l.bmp_msg_type === 'peer_up' && l.is_loc === 1)!;
  t.is(instance.peer_type_str, 'Loc-RIB Instance Peer');
  t.is(instance.peer_asn, OUR_AS);
  t.is(instance.bmp_peer_up_info_3, '67-6C-6F-62-61-6C', 'the table is called global');
  t.true(logged((l) => l.bmp_msg_type === 'peer_up' && l.peer_ip === '127.0.0.2' && l.peer_asn === THEIR_AS));

  feed.report();
  const counts = (): (string | undefined)[] =>
    collector.lines.filter((l) => l.bmp_msg_type === 'stats').map((l) => `${l.counter_type} ${l.counter_value}`);
  await until(() => counts().length >= 11, 'counts').catch(() => undefined);
  for (const count of ['0 1', '7 3', '8 4', '9 2', '9 1', '10 2', '11 0', '15 1', '17 1', '17 0']) {
    t.true(counts().includes(count), `${count} in ${counts()}`);
  }

  speaker.withdraw(OURS);
  const without = (all: string[]): string[] => all.filter((l) => !l.startsWith(String(OURS)));
  const after = { ...before, out_pre: ['fd42:beef::/48'], out_post: [], loc: without(before.loc) };
  await until(() => reads(after), 'the withdrawal').catch(() => undefined);
  t.deepEqual(tablesOf(collector.lines), after);

  await bird.kill();
  await until(
    () => logged((l) => l.bmp_msg_type === 'peer_down' && l.peer_ip === '127.0.0.2'),
    'the end of the session',
  );
  await until(() => tablesOf(collector.lines)['loc']!.length === 1, 'its routes leave the Loc-RIB');
  await client.stop();
  await until(() => logged((l) => l.bmp_msg_type === 'term'), 'goodbye');
  t.true(logged((l) => l.peer_type_str === 'Loc-RIB Instance Peer' && l.reason_type === 6));
};

const nameOfVrf = 'pmacct tells the peers and the Loc-RIB of a VRF apart by its route distinguisher';
const runOfVrf = async (t: ExecutionContext): Promise<void> => {
  const [birdPort, ourPort, bmpPort] = [await freePort(), await freePort(), await freePort()];
  const collector = new Collector(bmpPort);
  const bird = new Bird();
  const node = new Node({
    port: ourPort,
    peers: [{ name: 'bird', address: Addr.parse('127.0.0.2')!, port: birdPort }],
  });
  t.teardown(async () => {
    await node.stop();
    await bird.remove();
    await collector.remove();
  });
  await collector.start();
  await node.start();
  const { speaker } = node;
  const distinguisher = { kind: 'rd', ...parseDistinguisher('64512:7')! } as const;
  const feed = new BmpFeed({
    systemName: 'here',
    description: 'mlshim',
    wallMs: wallClockMs,
    tables: ['in_pre', 'loc'],
    instances: [instanceOf(speaker, { name: 'red', distinguisher })],
  });
  const client = new BmpClient({ address: Addr.parse('127.0.0.1')!, port: bmpPort }, feed, QUIET);
  t.teardown(speaker.addMonitor(feed.monitors[0]!));
  client.start();
  t.teardown(() => client.stop());
  await bird.start(birdConfig(birdPort, ourPort));
  const told = (isLoc: boolean): (string | undefined)[] =>
    collector.lines
      .filter((l) => l.bmp_msg_type === 'route_monitor' && (l.is_loc === 1) === isLoc && l.ip_prefix !== undefined)
      .map((l) => `${l.rd} ${l.ip_prefix}`);
  await until(() => told(false).length === 3 && told(true).length === 5, 'both tables').catch(() => undefined);
  const theirs = ['172.20.1.0/24', '172.20.2.0/24', 'fd42:1::/48'].map((p) => `0:64512:7 ${p}`);
  t.deepEqual(told(false).sort(), theirs);
  t.deepEqual(told(true).sort(), [...theirs, `0:64512:7 ${OURS}`, '0:64512:7 fd42:beef::/48'].sort());
  const ups = collector.lines.filter((l) => l.bmp_msg_type === 'peer_up');
  t.deepEqual(ups.map((l) => [l.peer_type_str, l.rd]).sort(), [
    ['Loc-RIB Instance Peer', '0:64512:7'],
    ['RD Instance Peer', '0:64512:7'],
  ]);
  t.is(ups.find((l) => l.is_loc === 1)!.bmp_peer_up_info_3, '72-65-64', 'the table is called red');
};

const nameOfVpn =
  'pmacct reads the VPN tables of a session with GoBGP before and after policy, and follows what changes';
const runOfVpn = async (t: ExecutionContext): Promise<void> => {
  const [theirPort, ourPort, bmpPort, apiPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const collector = new Collector(bmpPort);
  const gobgp = new Gobgp({ host: '127.0.0.4', port: apiPort });
  const target = parseRouteTarget('64512:100')!;
  const vrf = { name: 'red', rd: parseDistinguisher('64512:1')!, importTargets: [target], exportTargets: [target] };
  const room: VpnRoom = new VpnRoom({ localAs: OUR_AS, vrfs: [vrf], wake: () => node.speaker.onActivity() });
  const reject = (prefix: string): Rule => {
    return { match: { prefixes: [{ prefix: Prefix.parse(prefix)! }] }, action: 'reject' };
  };
  const node: Node = new Node({
    port: ourPort,
    networks: [],
    speaker: { vpn: room },
    peers: [
      {
        name: 'gobgp',
        address: Addr.parse('127.0.0.4')!,
        localAddress: Addr.parse('127.0.0.1')!,
        port: theirPort,
        families: ['vpnv4', 'vpnv6'],
        import: [reject('10.8.0.0/24'), { set: { addCommunities: [community(5)] }, action: 'accept' }],
        export: [reject('192.168.2.0/24'), { set: { addCommunities: [community(7)] }, action: 'accept' }],
      },
    ],
  });
  const red = new Speaker({
    asn: OUR_AS,
    routerId: Addr.parse('10.0.0.1')!,
    clock: systemClock,
    random: Math.random,
    resolver: { isUp: () => true, subscribe: () => undefined },
    transport: roomTransport(room, 'red', setImmediate),
    sink: { apply: () => undefined },
    networks: ['192.168.1.0/24', '192.168.2.0/24', 'fd01::/48'].map((p) => ({ prefix: Prefix.parse(p)! })),
  });
  const hops = { nextHop4: Addr.parse('10.1.0.1'), nextHop6: Addr.parse('fd00::1') };
  for (const peer of roomPeers([], { asn: OUR_AS, imports: true, exports: true, ...hops })) red.addPeer(peer);
  const stopDriving = driveByClock(red);
  t.teardown(async () => {
    red.shutdown();
    stopDriving();
    await node.stop();
    await gobgp.remove();
    await collector.remove();
  });
  await collector.start();
  await node.start();
  red.start();
  const { speaker } = node;
  const feed = new BmpFeed({
    systemName: 'here',
    description: 'mlshim',
    wallMs: wallClockMs,
    tables: ['in_pre', 'in_post', 'out_pre', 'out_post'],
    instances: [instanceOf(speaker)],
  });
  const client = new BmpClient({ address: Addr.parse('127.0.0.1')!, port: bmpPort }, feed, QUIET);
  t.teardown(speaker.addMonitor(feed.monitors[0]!));
  client.start();
  t.teardown(() => client.stop());
  await gobgp.start(
    gobgpConfig({ asn: THEIR_AS, id: '10.0.0.4', address: '127.0.0.4', port: theirPort }, [
      { address: '127.0.0.1', asn: OUR_AS, port: ourPort, families: ['l3vpn-ipv4-unicast', 'l3vpn-ipv6-unicast'] },
    ]),
  );
  const add = async (prefix: string, label: number, hop: string, family: string): Promise<void> => {
    const command = `global rib add ${prefix} label ${label} rd 64513:7 rt 64512:100 nexthop ${hop} -a ${family}`;
    t.is(await gobgp.ask(command), '');
  };
  await add('10.9.0.0/24', 3, '10.1.0.4', 'vpnv4');
  await add('10.8.0.0/24', 100, '10.1.0.4', 'vpnv4');
  await add('fd09::/64', 3, 'fd00::4', 'vpnv6');
  const reads = (expected: Record<string, string[]>): boolean =>
    isDeepStrictEqual(tablesOf(collector.lines, vpnWords), expected);
  const theirs = (prefix: string, label: number, hop: string): string =>
    `0:64513:7 ${prefix} ${label} ${hop} ${THEIR_AS}`;
  const ours = (prefix: string, hop: string): string => `0:64512:1 ${prefix} 3 ${hop}`;
  const passed = [theirs('10.9.0.0/24', 3, '10.1.0.4'), theirs('fd09::/64', 3, 'fd00::4')];
  const told = [ours('192.168.1.0/24', '10.1.0.1'), ours('fd01::/48', 'fd00::1')];
  const before = {
    in_pre: [...passed, theirs('10.8.0.0/24', 100, '10.1.0.4')].sort(),
    in_post: passed.map((line) => `${line} 64511:5`),
    out_pre: [...told, ours('192.168.2.0/24', '10.1.0.1')].sort(),
    out_post: told.map((line) => `${line} ${OUR_AS} 64511:7`),
  };
  await until(() => reads(before), 'all tables').catch(() => undefined);
  t.deepEqual(tablesOf(collector.lines, vpnWords), before);

  await gobgp.ask('global rib del 10.9.0.0/24 label 3 rd 64513:7 -a vpnv4');
  red.withdraw(Prefix.parse('192.168.1.0/24')!);
  const gone = /10\.9\.0\.0|192\.168\.1\.0/;
  const after = Object.fromEntries(
    Object.entries(before).map(([table, lines]) => [table, lines.filter((line) => !gone.test(line))]),
  );
  await until(() => reads(after), 'the withdrawals').catch(() => undefined);
  t.deepEqual(tablesOf(collector.lines, vpnWords), after);
};

labTests(missing).it(name, run);
labTests(missing).it(nameOfVrf, runOfVrf);
labTests(notInstalled({ gobgpd: hasGobgp(), pmacct: existsSync(PMBMPD) })).it(nameOfVpn, runOfVpn);
