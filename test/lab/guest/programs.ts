/**
 * The eBPF programs of policy on the distribution's kernel, with VRFs that `ip` made: loaded, attached, asked by real sockets
 * and taken out again. What `mlshim up` makes of them is tried elsewhere.
 */
import assert from 'node:assert/strict';
import { mkdirSync, rmdirSync } from 'node:fs';
import { type KernelUplink, Programs } from '../../../router/kernel/programs.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { ANYTHING } from '../../../router/uplink/rule.ts';
import { AccessLines, gateway, hostAddresses, LINES, type LinePlan } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';
import { HOST, type Suite, type Trial } from './case.ts';

const ROOT = '/sys/fs/cgroup';
const CGROUP = `${ROOT}/programs`;
const PINS = '/run/mlshim-programs';
const ECHO_PORT = '7001';
const TABLE = 900;
/** Of VRFs, by the number of the line. */
const vrf = ({ net }: LinePlan): string => `line${net}`;
const addrOf = (text: string): Addr => Addr.parse(text)!;

/** Answers a datagram, or a connection, with the address it came from. */
const ECHO = `
const plain = (a) => a.replace('::ffff:', '');
require('net').createServer((s) => s.end(plain(s.remoteAddress))).listen(${ECHO_PORT}, '::');
const udp = require('dgram').createSocket({ type: 'udp6' }).on('message', (m, from) => udp.send(plain(from.address), from.port, from.address));
udp.bind(${ECHO_PORT}, '::', () => console.log('ready'));
`;
/** Asks the echo over TCP and by a datagram of an unconnected socket; prints what it saw. */
const ASK = `
const to = process.argv[1];
const say = (how, seen) => console.log(how, seen);
require('net').connect(${ECHO_PORT}, to).on('data', (d) => say('tcp', String(d))).on('error', (e) => say('tcp', e.code));
const udp = require('dgram').createSocket(to.includes(':') ? 'udp6' : 'udp4');
const saw = (seen) => { say('udp', seen); udp.close(); };
udp.on('message', (m) => saw(String(m))).send('x', ${ECHO_PORT}, to, (e) => e && saw(e.code));
`;

let programs: Programs;

async function isolate({ lab }: Trial, line: LinePlan): Promise<void> {
  const { device, net } = line;
  const [own, home, table] = [hostAddresses(line), gateway(line), String(TABLE + net)];
  const ip = (...words: string[]): Promise<string> => lab.ok(HOST, 'ip', words);
  await ip('link', 'add', vrf(line), 'type', 'vrf', 'table', table);
  await ip('link', 'set', vrf(line), 'up');
  await ip('link', 'set', device, 'master', vrf(line));
  await ip('addr', 'replace', `${own.v6}/64`, 'dev', device, 'nodad');
  for (const [family, via, from] of [
    ['-4', home.v4, own.v4],
    ['-6', home.v6, own.v6],
  ] as const) {
    await ip(family, 'route', 'replace', 'default', 'via', via, 'dev', device, 'table', table);
    await ip(family, 'rule', 'add', 'pref', String(TABLE + net), 'from', from, 'lookup', table);
  }
}

async function setup(trial: Trial): Promise<void> {
  const { lab } = trial;
  const access = new AccessLines(lab, HOST);
  await access.build({ withDelay: false });
  await access.resolvers();
  for (const line of LINES) await isolate(trial, line);
  await lab.ok(HOST, 'sysctl', ['-qw', 'net.ipv4.udp_l3mdev_accept=1']);
  await lab.start(access.server, process.execPath, ['-e', ECHO]).until(/ready/);
  mkdirSync(CGROUP);
}

async function teardown({ lab }: Trial): Promise<void> {
  programs?.close();
  assert.equal(await Programs.remove(PINS), 0);
  rmdirSync(CGROUP);
  await lab.ok(HOST, 'sysctl', ['-qw', 'net.ipv4.udp_l3mdev_accept=0']);
  for (const line of LINES) {
    await lab.ok(HOST, 'ip', ['link', 'del', line.device]);
    await lab.ok(HOST, 'ip', ['link', 'del', vrf(line)]);
    for (const family of ['-4', '-6'])
      await lab.ok(HOST, 'ip', [family, 'rule', 'del', 'pref', String(TABLE + line.net)]);
  }
}

function uplinkOf(line: LinePlan): KernelUplink {
  const own = hostAddresses(line);
  const [source4, source6] = [addrOf(own.v4), addrOf(own.v6)];
  const dns = Object.values(gateway(line)).map(addrOf);
  const device = { device: vrf(line), ifindex: 0, isVrf: true };
  return { name: line.name, ...device, source4, source6, addresses: [source4, source6], dns };
}

/** All flows through one line, or refused. */
function use(line: number | undefined): void {
  const action = line === undefined ? ({ kind: 'reject' } as const) : ({ kind: 'group', group: 0 } as const);
  programs.setPolicy({
    rules: [{ name: 'all', match: ANYTHING, action, onFailure: 'reject' }],
    groups: line === undefined ? [] : [{ name: 'g', balance: 'failover', members: [{ uplink: line, weight: 1 }] }],
    uplinks: LINES.map(uplinkOf),
    vrfs: [],
    isStrict: true,
    ownAddresses: [],
  });
}

const inCgroup = ({ lab }: Trial, ...words: string[]): Promise<string> =>
  lab.ok(HOST, 'bash', ['-c', `echo $$ > ${CGROUP}/cgroup.procs && exec "$@"`, 'bash', ...words]);

async function load({ log }: Trial): Promise<void> {
  const features = await Programs.probe(ROOT);
  log(features.map((f) => (f.present ? f.name : `no ${f.name} (${f.detail})`)).join(', '));
  assert.deepEqual(
    features.filter((f) => f.needed && !f.present),
    [],
  );
  programs = await Programs.load({ pinDir: PINS, cgroup: ROOT });
  log(`variant: ${programs.variant}`);
  use(0);
  await programs.attach();
}

async function sockets(trial: Trial): Promise<void> {
  for (const [i, line] of LINES.entries()) {
    use(i);
    const own = hostAddresses(line);
    for (const [to, from] of [
      [SERVER.v4, own.v4],
      [SERVER.v6, own.v6],
    ] as const) {
      const said = (await inCgroup(trial, process.execPath, '-e', ASK, to)).trim().split('\n').sort();
      assert.deepEqual(said, [`tcp ${from}`, `udp ${from}`], `${line.name} to ${to}`);
    }
  }
  use(undefined);
  const said = (await inCgroup(trial, process.execPath, '-e', ASK, SERVER.v4)).trim().split('\n').sort();
  assert.match(said.join(), /^tcp (EACCES|EPERM),udp (EACCES|EPERM)$/);
}

async function names(trial: Trial): Promise<void> {
  for (const [i, line] of LINES.entries()) {
    use(i);
    for (const server of ['127.0.0.53', '::1', '192.0.2.53'])
      for (const how of ['+notcp', '+tcp']) {
        const said = await inCgroup(trial, 'dig', '+short', '+tries=1', how, `@${server}`, 'which.example');
        assert.equal(said.trim(), line.which, `${line.name}: ${server} ${how}`);
      }
  }
  const { uplinks } = programs.counters();
  trial.log(uplinks.map((u) => `${u.name}: ${u.bound} flows, ${u.dns} queries, ${u.failed} failed`).join('; '));
  assert.ok(uplinks.every((u) => u.failed === 0));
}

export const programsSuite: Suite = {
  name: 'programs',
  boot: 'plain',
  setup,
  teardown,
  cases: [
    { name: 'programs-load', title: 'the programs are accepted and attached, in one of their two variants', run: load },
    {
      name: 'programs-sockets',
      title: 'TCP and first datagrams of both families leave by the VRF of the uplink and are answered',
      run: sockets,
    },
    {
      name: 'programs-dns',
      title: 'queries to a stub or to a resolver are answered by that of the uplink',
      run: names,
    },
  ],
};
