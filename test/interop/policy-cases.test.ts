/**
 * The cases of policy that every backend decides alike (test/kit/policy-cases.ts), by the user-space backend with real processes:
 * programs of two users, in groups and cgroups, over tunnels; names come from a name server. A connect() is enough: the
 * address it gets tells the uplink or the VRF, and for sockets that were bound before, the counter of its decisions does.
 */
import { chmodSync, copyFileSync, mkdirSync, rmdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { UplinkGroup } from '../../router/uplink/balancer.ts';
import { Protocol, type Rule } from '../../router/uplink/rule.ts';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { labTests } from '../kit/it.ts';
import { cgroup2, Lab } from '../kit/lab.ts';
import { wgKeyPair } from '../kit/peer.ts';
import {
  CASE_APPS,
  type CaseFlow,
  caseAddr,
  type Expected,
  POLICY_CASES,
  type PolicyCase,
} from '../kit/policy-cases.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: TwoIsps;
  /** By user id of the apps. */
  routers: ReadonlyMap<number, Router>;
}

interface UplinkRow {
  readonly name: string;
  readonly decisions: number;
}

const [FIBER, LTE] = ISPS as [(typeof ISPS)[number], (typeof ISPS)[number]];
/** Tunnels that lead nowhere: what goes by the main table, and by that of VRF 1. */
const MAIN = { name: 'main', v4: '10.40.0.2', v6: 'fd00:40::2' } as const;
const BLUE = { name: 'blue', v4: '10.30.0.2', v6: 'fd00:30::2' } as const;
const ROOT = `mlshim-cases-${process.pid}`;
const MOUNT = cgroup2();
const PYTHON = '/usr/bin/python3';
/** Resolve a name if there is one, bind if asked to, connect; tells the address of the socket or the error. */
const CONNECT = `
import errno, json, socket, sys
name, protocol, to, port, bound = json.loads(sys.argv[1])
family = socket.AF_INET6 if ':' in to else socket.AF_INET
if name:
    found = {a[4][0] for a in socket.getaddrinfo(name, port, family)}
    assert found == {to}, found
s = socket.socket(family, socket.SOCK_STREAM if protocol == 'tcp' else socket.SOCK_DGRAM)
s.setblocking(False)
try:
    if bound: s.bind((bound, 0))
    e = s.connect_ex((to, port))
except OSError as failed:
    e = failed.errno
print(errno.errorcode[e] if e not in (0, errno.EINPROGRESS) else s.getsockname()[0])
`;
/** Answers by a table of names: A and AAAA records, or no data. */
const NAME_SERVER = `
  const table = new Map(JSON.parse(process.argv[1]));
  const dns = require('node:dgram').createSocket('udp4');
  dns.on('message', (query, { address, port }) => {
    const labels = [];
    let at = 12;
    for (; query[at] !== 0; at += query[at] + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]));
    const end = at + 5;
    const isV6 = query.readUInt16BE(at + 1) === 28;
    const known = table.get(labels.join('.').toLowerCase());
    const octets = known !== undefined && (known.length === 16) === isV6 ? known : undefined;
    const head = Buffer.from(query.subarray(0, end));
    head[2] = 0x81; head[3] = 0x80; head.writeUInt16BE(octets === undefined ? 0 : 1, 6); head.fill(0, 8, 12);
    const record = octets === undefined ? [] : [0xc0, 12, 0, isV6 ? 28 : 1, 0, 1, 0, 0, 0, 60, 0, octets.length, ...octets];
    dns.send(Buffer.concat([head, Buffer.from(record)]), port, address);
  }).bind(53, '${SERVER.v4}', () => console.log('ready'));
`;

const missing = Lab.missing('wg', 'tc') ?? (MOUNT === undefined ? 'no cgroups of version 2' : undefined);
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const first = new Router(lab, host, { uid: 1000, gid: 1000 });
    const isps = new TwoIsps(lab, host, first);
    await isps.build();
    const second = new Router(lab, await lab.namespace('b'), { uid: 0, gid: 0 });
    const table = POLICY_CASES.flatMap((c) => c.names).map(([name, addr]) => [name, [...octetsOf(addr)]]);
    await isps.serve(process.execPath, ['-e', NAME_SERVER, JSON.stringify(table)]).until(/ready/);
    for (const { executable } of Object.values(CASE_APPS)) {
      const file = join(lab.dir, executable);
      mkdirSync(dirname(file), { recursive: true });
      copyFileSync(PYTHON, file);
      chmodSync(file, 0o755);
    }
    makeCgroups(lab);
    Object.assign(t.context, { isps, routers: new Map([1000, 0].map((uid, i) => [uid, [first, second][i]!])) });
    for (const r of [first, second]) {
      r.write(configuration(isps, r, POLICY_CASES[0]!));
      await r.up();
    }
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

/** Those that cases name, below one of our own. */
function makeCgroups(lab: Lab): void {
  const made: string[] = [];
  lab.onClose(() => {
    for (const folder of made.reverse()) rmdirSync(folder);
  });
  for (const { cgroup } of Object.values(CASE_APPS)) {
    const parts = `${ROOT}${cgroup}`.split('/').filter((p) => p !== '');
    for (const i of parts.keys()) {
      const folder = join(MOUNT!, ...parts.slice(0, i + 1));
      if (made.includes(folder)) continue;
      mkdirSync(folder);
      made.push(folder);
    }
  }
}

function octetsOf(addr: string): Uint8Array {
  return caseAddr(addr).toBytes();
}

/** Cases bind addresses that every host has; ours are those of a tunnel. */
const ours = (text: string): string => text.replace(/^127\./, '10.');

function configuration(isps: TwoIsps, router: Router, c: PolicyCase): string {
  const bound = new Set(POLICY_CASES.flatMap((all) => all.flows).flatMap((f) => f.from ?? []));
  const nowhere = ({ name, v4, v6 }: typeof MAIN | typeof BLUE, addresses: readonly string[], more: string): string => {
    router.keyFiles(name);
    return `  ${name}:
${more}    wireguard:
      private_key: !file ${name}.key
      addresses: [${[`${v4}/32`, `'${v6}/128'`, ...addresses.map((a) => `${a}/32`)].join(', ')}]
      peers: [{ public_key: ${wgKeyPair().publicKey}, allowed_ips: [0.0.0.0/0, '::/0'] }]
`;
  };
  for (const { name } of ISPS) {
    router.keys.set(name, isps.router.key(name));
    router.keyFiles(name);
  }
  let tunnels = isps.uplinks().replaceAll('    wireguard:\n', '    wireguard:\n      table: off\n');
  for (const i of c.v4Only) tunnels = tunnels.replace(`, '${ISPS[i]!.v6}/128', fe80::1/64`, '');
  // The other router's tunnels are for show, since no case asks its apps for names; one that is sent to in vain would be down.
  const isShown = router !== isps.router;
  return [
    isShown ? tunnels.replaceAll(/ +endpoint: .*\n/g, '') : tunnels,
    nowhere(MAIN, [...bound].map(ours), ''),
    nowhere(BLUE, [], '    vrf: blue\n'),
    'vrfs: { blue: {} }\n',
    `dns: { servers: [${SERVER.v4}] }\nroutes: [{ to: ${SERVER.v4}/32, via: fiber }]\n`,
    `groups: ${JSON.stringify(Object.fromEntries(c.groups.map(groupEntry)))}\n`,
    `rules: ${JSON.stringify(c.rules.map((r) => ruleEntry(r, c.groups)))}\n`,
  ].join('');
}

function groupEntry({ name, balance, members }: UplinkGroup): [string, unknown] {
  return [name, { balance, uplinks: members.map((m) => ({ uplink: ISPS[m.uplink]!.name, weight: m.weight })) }];
}

function ruleEntry({ match: m, action, onFailure }: Rule, groups: readonly UplinkGroup[]): unknown {
  const names = { [Protocol.Tcp]: 'tcp', [Protocol.Udp]: 'udp' } as Readonly<Record<number, string>>;
  const lists = {
    app: m.apps,
    group: m.groups,
    user: m.users,
    cgroup: m.cgroups.map((glob) => `/${ROOT}${glob}`),
    protocol: m.protocols.map((p) => names[p]),
    to: m.to.map(String),
    port: m.ports.map((r) => `${r.first}-${r.last}`),
    domain: m.domains,
    from: m.from.map((p) => ours(String(p))),
  };
  const match = Object.fromEntries(Object.entries(lists).filter(([, values]) => values.length > 0));
  if (action.kind === 'group') return { match, use: groups[action.group]!.name, on_failure: onFailure };
  return action.kind === 'vrf' ? { match, vrf: action.vrf === 0 ? 'main' : BLUE.name } : { match, reject: true };
}

/** The address a socket gets that is not bound, or the error. */
function addressFor(expect: Expected, to: string): string {
  const of = ({ v4, v6 }: { readonly v4: string; readonly v6: string }): string => (to.includes(':') ? v6 : v4);
  switch (expect) {
    case 'uplink 0':
      return of(FIBER);
    case 'uplink 1':
      return of(LTE);
    case 'vrf 1':
      return of(BLUE);
    case 'reject':
      return 'EACCES';
    case 'no-uplink':
      return 'ENETUNREACH';
    default:
      return of(MAIN);
  }
}

async function decisions(router: Router): Promise<Readonly<Record<string, number>>> {
  const rows = await router.json<readonly UplinkRow[]>('uplink');
  return Object.fromEntries(rows.map((u) => [u.name, u.decisions]));
}

/** What a real process gets: its socket's address or error, and to which uplinks flows were given meanwhile. */
async function run({ lab }: Context, router: Router, flow: CaseFlow, name: string | undefined) {
  const { executable, group, cgroup } = CASE_APPS[flow.app];
  const { protocol, to, port, from } = flow;
  const before = await decisions(router);
  const words = ['run', ...(group === undefined ? [] : ['--group', group]), '--', join(lab.dir, executable)];
  const order = JSON.stringify([name ?? null, protocol, to, port, from === undefined ? null : ours(from)]);
  const { stdout, stderr } = await router.cli([...words, '-c', CONNECT, order], {
    cgroup: join(MOUNT!, ROOT, cgroup),
    env: { PYTHONHOME: '/usr' },
  });
  const after = await decisions(router);
  const took = ISPS.flatMap((i, k) => (after[i.name] !== before[i.name] ? [`uplink ${k}`] : []));
  return { socket: stdout.trim() || stderr, took: took.join() };
}

for (const c of POLICY_CASES)
  it(c.name, async (t) => {
    const { routers, isps } = t.context;
    for (const [uid, router] of routers) {
      const mine = c.flows.filter((f) => CASE_APPS[f.app].uid === uid);
      if (mine.length === 0) continue;
      router.write(configuration(isps, router, c));
      const { status, stderr } = await router.cli(['reload']);
      t.is(status, 0, stderr);
      for (const uplink of c.unusable) await router.cli(['uplink', 'drain', ISPS[uplink]!.name]);
      for (const f of mine) {
        const name = c.names.find(([, addr]) => addr === f.to)?.[0];
        const { socket, took } = await run(t.context, router, f, name);
        const words = `${basename(CASE_APPS[f.app].executable)} ${f.protocol} ${f.to} ${f.port} ${f.from ?? ''}`;
        const isRefused = f.expect === 'reject' || f.expect === 'no-uplink';
        t.is(socket, f.from === undefined || isRefused ? addressFor(f.expect, f.to) : ours(f.from), words);
        t.is(took, f.expect.startsWith('uplink') ? f.expect : '', words);
      }
      for (const uplink of c.unusable) await router.cli(['uplink', 'undrain', ISPS[uplink]!.name]);
    }
  });
