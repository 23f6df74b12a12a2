/**
 * What pmacct's collector makes of our BMP messages, all on loopback and as ordinary user: every table of a session with
 * BIRD, the Loc-RIB instance, and how they change.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { BmpFeed } from '../../bgp/monitor/bmp-feed.ts';
import { parseDistinguisher } from '../../bgp/vpn/route-distinguisher.ts';
import { BmpClient } from '../../router/app/bmp-client.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { wallClockMs } from '../../router/lib/clock.ts';
import { makeLogger } from '../../router/lib/log.ts';
import { Bird, ended, hasBird, until } from '../bgp/kit/bird.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { Node, OUR_AS, THEIR_AS } from '../bgp/kit/node.ts';
import { instanceOf } from '../bgp/kit/station.ts';

const PMBMPD = '/usr/sbin/pmbmpd';
const missing = [...(hasBird() ? [] : ['bird2']), ...(existsSync(PMBMPD) ? [] : ['pmacct'])];
const QUIET = makeLogger(() => undefined, 'test', 'error');

/** A line of the collector's log, as far as it is looked at. */
interface Logged {
  readonly bmp_msg_type?: string;
  readonly log_type?: 'update' | 'withdraw';
  readonly ip_prefix?: string;
  readonly as_path?: string;
  readonly comms?: string;
  readonly bgp_nexthop?: string;
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

/** What the lines leave behind: each table with its prefixes, and how the collector read them. */
function tablesOf(lines: readonly Logged[]): Record<string, string[]> {
  const tables = new Map<string, Map<string, string>>();
  for (const l of lines) {
    if (l.bmp_msg_type !== 'route_monitor' || l.ip_prefix === undefined) continue;
    const name = l.is_loc === 1 ? 'loc' : `${l.is_in === 1 ? 'in' : 'out'}_${l.is_post === 1 ? 'post' : 'pre'}`;
    const table = tables.get(name) ?? new Map<string, string>();
    tables.set(name, table);
    const how = [l.ip_prefix, l.as_path, l.comms].filter((x) => x !== undefined && x !== '').join(' ');
    if (l.log_type === 'update') table.set(l.ip_prefix, how);
    else table.delete(l.ip_prefix);
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

for (const [what, body] of [
  [name, run],
  [nameOfVrf, runOfVrf],
] as const) {
  if (missing.length === 0) test.serial(what, body);
  else test.serial.skip(`${what} (not installed: ${missing.join(' ')})`, body);
}
