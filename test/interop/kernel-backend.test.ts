/**
 * The kernel backend on this machine's own kernel, without VRFs: a host with two ISPs, programs without any shim, rules by
 * group, domain and port; an uplink that fails; a daemon that is killed; and nothing of ours left at the end.
 */
import { chmodSync, copyFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { hostSnapshot } from '../kit/host-snapshot.ts';
import { iperf } from '../kit/iperf.ts';
import { labTests } from '../kit/it.ts';
import { kernelLeftovers } from '../kit/kernel-leftovers.ts';
import { type Finished, Lab } from '../kit/lab.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';
import { missingForPrograms } from '../kit/two-ways.ts';

interface Context {
  lab: Lab;
  host: string;
  isps: HostIsps;
  router: Router;
}

interface UplinkRow {
  readonly name: string;
  readonly kind: string;
  readonly state: string;
  readonly usable: boolean;
  readonly flows: number;
}

interface StatusRow {
  readonly pid: number;
  readonly backend: string;
  readonly uplinks: readonly UplinkRow[];
  readonly problems: readonly { readonly code: string }[];
  readonly counters: Readonly<Record<string, number>>;
}

const [FIBER, LTE] = HOST_ISPS;
const NAME_SERVER_PORT = 53;
const UPLINKS = `
backend: kernel
isolation: device
uplinks:
  fiber: { weight: 1, dns: [${FIBER.router4}], kernel: { interface: ${FIBER.device} } }
  lte: { weight: 1, dns: [${LTE.router4}], kernel: { interface: ${LTE.device} } }
`;
const CONFIG = `${UPLINKS}
groups: { both: { uplinks: [fiber, lte] } }
rules:
  - { name: wired, match: { group: wired }, use: fiber }
  - { name: wireless, match: { group: wireless }, use: lte }
  - { name: forbidden, match: { port: 5999 }, reject: true }
  - { name: named, match: { domain: only-lte.example }, use: lte }
  - { name: all, match: { to: [203.0.113.0/24, '2001:db8:5::/48'] }, use: both }
`;

/** Answers each datagram and connection with the address it came from; holds connections to port 7002 open. */
const TELLER = `
import selectors, socket
s = selectors.DefaultSelector()
for family, host in ((2, '${HOST_SERVER.v4}'), (2, '${HOST_SERVER.other}'), (10, '${HOST_SERVER.v6}')):
    u = socket.socket(family, socket.SOCK_DGRAM); u.bind((host, 7000)); s.register(u, selectors.EVENT_READ)
l = socket.create_server(('::', 7001), family=socket.AF_INET6, dualstack_ipv6=True); s.register(l, selectors.EVENT_READ)
h = socket.create_server(('::', 7002), family=socket.AF_INET6, dualstack_ipv6=True); s.register(h, selectors.EVENT_READ)
held = []
print('serving', flush=True)
while True:
    for key, _ in s.select():
        if key.fileobj is l:
            c, a = l.accept(); c.sendall(a[0].removeprefix('::ffff:').encode()); c.close()
        elif key.fileobj is h:
            held.append(h.accept())
        else:
            _, a = key.fileobj.recvfrom(2048); key.fileobj.sendto(f'{a[0]} {a[1]}'.encode(), a)
`;

/** Prints the address each of several connections, or datagrams of one socket, left by. */
const CLIENT = `
import socket, sys
how, host, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
seen = []
if how == 'udp':
    u = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
for _ in range(count):
    if how == 'tcp':
        with socket.create_connection((host, 7001), timeout=5) as c: seen.append(c.recv(99).decode())
    else:
        u.sendto(b'?', (host, 7000)); seen.append(u.recv(99).decode().split()[0])
print(' '.join(seen))
`;

/** A connection that waits for its end. */
const HOLDER = `
import socket
c = socket.create_connection(('${HOST_SERVER.v4}', 7002), timeout=30)
print('from', c.getsockname()[0], flush=True)
try:
    c.recv(1); print('ended')
except OSError as e:
    print('ended', e.errno)
`;

/** A name server that tells one address for every name, and says which names it was asked. */
const nameServer = (address: string, answer: string): string => `
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('${address}', ${NAME_SERVER_PORT}))
print('serving', flush=True)
while True:
    q, a = s.recvfrom(512)
    end = q.index(b'\\0', 12) + 5
    kind = struct.unpack('!H', q[end - 4:end - 2])[0]
    print('asked by', a[0], flush=True)
    record = b'\\xc0\\x0c' + struct.pack('!HHIH', 1, 1, 60, 4) + socket.inet_aton('${answer}') if kind == 1 else b''
    s.sendto(q[:2] + b'\\x81\\x80' + struct.pack('!HHHH', 1, 1 if record else 0, 0, 0) + q[12:end] + record, a)
`;

const missing = await missingForPrograms('iperf3', 'tc');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const isps = new HostIsps(lab, host);
    await isps.build();
    const router = new Router(lab, host, ROOT_ACCOUNT);
    router.write(CONFIG);
    Object.assign(t.context, { host, isps, router });
    await isps.serve('python3', ['-c', TELLER]).until(/serving/);
    for (const isp of HOST_ISPS)
      await isps
        .serve('python3', ['-c', nameServer(isp.router4, isp === LTE ? HOST_SERVER.other : HOST_SERVER.v4)], isp)
        .until(/serving/);
  });
  test.afterEach.always('down', async (t) => {
    const { router } = t.context;
    await router.cli(['down']);
    await router.daemon?.stop('SIGKILL');
    if (!t.passed) t.log(router.daemon?.stderr);
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function up({ router, lab }: Context, config = CONFIG): Promise<void> {
  router.write(config);
  await router.up();
  await lab.eventually('uplinks are usable', async () => (await status(router)).uplinks.every((u) => u.usable));
}

async function status(router: Router): Promise<StatusRow> {
  const { stdout, stderr } = await router.cli(['status', '--json']);
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout) as StatusRow;
}

/** Run a program as `mlshim run` does. @returns addresses its connections left by, with their numbers */
async function leftBy({ router }: Context, group: string | undefined, ...words: string[]) {
  const options = group === undefined ? [] : ['--group', group];
  const {
    stdout,
    stderr,
    status: code,
  } = await router.cli(['run', ...options, '--', 'python3', '-c', CLIENT, ...words]);
  if (code !== 0) throw new Error(stderr);
  const counts: Record<string, number> = {};
  for (const address of stdout.trim().split(' ')) counts[address] = (counts[address] ?? 0) + 1;
  return counts;
}

/** End the daemon without a word; the command that started it ends by itself. */
async function kill(router: Router): Promise<void> {
  process.kill((await status(router)).pid, 'SIGKILL');
  await router.daemon!.exit();
}

/** Pull the cable between host and LTE, or put it back. */
async function cable(isps: HostIsps, isIn: boolean): Promise<void> {
  await isps.serve('ip', ['link', 'set', LTE.device, isIn ? 'up' : 'down'], LTE).exit();
}

it('groups go by their uplink, others are shared out; without a shim, over TCP and UDP, IPv4 and IPv6', async (t) => {
  const before = await hostSnapshot(t.context.lab, t.context.host);
  await up(t.context);
  t.deepEqual(await leftBy(t.context, 'wired', 'tcp', HOST_SERVER.v4, '4'), { [FIBER.v4]: 4 });
  t.deepEqual(await leftBy(t.context, 'wireless', 'tcp', HOST_SERVER.v4, '4'), { [LTE.v4]: 4 });
  t.deepEqual(await leftBy(t.context, 'wireless', 'udp', HOST_SERVER.v4, '3'), { [LTE.v4]: 3 });
  t.deepEqual(await leftBy(t.context, 'wireless', 'tcp', HOST_SERVER.v6, '2'), { [LTE.v6]: 2 });
  t.deepEqual(await leftBy(t.context, 'wireless', 'udp', HOST_SERVER.v6, '2'), { [LTE.v6]: 2 });
  t.deepEqual(await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v4, '8'), { [FIBER.v4]: 4, [LTE.v4]: 4 });
  const { backend, uplinks, counters } = await status(t.context.router);
  t.is(backend, 'kernel');
  t.deepEqual(
    uplinks.map((u) => [u.name, u.kind, u.state]),
    [
      ['fiber', 'kernel', 'up'],
      ['lte', 'kernel', 'up'],
    ],
  );
  t.is(counters['policy_rule_wired'], 4);
  t.is((await t.context.router.cli(['down'])).status, 0);
  t.is(await hostSnapshot(t.context.lab, t.context.host), before);
  t.deepEqual(kernelLeftovers(t.context.router), []);
});

it('streams of iperf3: a group has one line, others alternate, and ten get the sum of both', async (t) => {
  await up(t.context);
  const ten = ['-c', HOST_SERVER.v4, '-P', '10', '-R'];
  const alone = [];
  for (const [group, isp] of [
    ['wired', FIBER],
    ['wireless', LTE],
  ] as const) {
    const { mbit, streams } = await iperf(t.context, group, ...ten);
    t.deepEqual(streams, { [isp.v4]: 10 });
    alone.push(mbit);
  }
  const { mbit, streams } = await iperf(t.context, undefined, ...ten);
  t.log(`${mbit.toFixed(1)} of ${alone.map((m) => m.toFixed(1)).join(' + ')} Mbit/s: ${JSON.stringify(streams)}`);
  t.true(mbit >= 0.95 * (alone[0]! + alone[1]!), `${mbit} Mbit/s`);
  // The control connection is the eleventh: whichever it took, the others differ by no more than one.
  t.deepEqual(Object.keys(streams).sort(), [FIBER.v4, LTE.v4].sort());
  t.true(
    Object.values(streams).every((n) => n >= 4 && n <= 6),
    JSON.stringify(streams),
  );
});

it('a rule that refuses is seen by the program as such', async (t) => {
  await up(t.context);
  const script = `import socket; socket.create_connection(('${HOST_SERVER.v4}', 5999))`;
  const { stderr } = await t.context.router.cli(['run', '--', 'python3', '-c', script]);
  t.regex(stderr, /PermissionError: \[Errno 13\]/);
});

it('a rule may leave flows to the main table that later ones would take', async (t) => {
  await up(
    t.context,
    CONFIG.replace('  - { name: all,', `  - { match: { to: ${HOST_SERVER.other} }, vrf: main }\n  - { name: all,`),
  );
  t.deepEqual(
    await leftBy(t.context, undefined, 'tcp', HOST_SERVER.other, '4'),
    { [FIBER.v4]: 4 },
    'by its best route',
  );
  t.deepEqual(await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v4, '4'), { [FIBER.v4]: 2, [LTE.v4]: 2 });
});

it('a name of a rule is asked through its uplink, and its first connection goes by the rule', async (t) => {
  await up(t.context);
  const script = `
import socket
a = socket.getaddrinfo('www.only-lte.example', 7001, socket.AF_INET, socket.SOCK_STREAM)[0][4]
with socket.create_connection(a, timeout=5) as c: print(a[0], c.recv(99).decode())
`;
  const run = (): Promise<Finished> => t.context.router.cli(['run', '--', 'python3', '-c', script]);
  for (let i = 0; i < 3; i++) {
    const { stdout, stderr } = await run();
    t.is(stdout.trim(), `${HOST_SERVER.other} ${LTE.v4}`, stderr);
  }
});

it('an uplink without IPv6 gets no IPv6 flow, and they are shared out again when it has IPv6', async (t) => {
  const { router, isps, lab, host } = t.context;
  await lab.ok(host, 'ip', ['addr', 'del', `${LTE.v6}/64`, 'dev', LTE.device]);
  try {
    await up(t.context);
    for (const how of ['tcp', 'udp'])
      t.deepEqual(await leftBy(t.context, undefined, how, HOST_SERVER.v6, '4'), { [FIBER.v6]: 4 }, how);
    t.deepEqual(await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v4, '4'), { [FIBER.v4]: 2, [LTE.v4]: 2 });
    const words = [CLIENT, 'udp', HOST_SERVER.v6, '1'];
    const refused = await router.cli(['run', '--group', 'wireless', '--', 'python3', '-c', ...words]);
    t.regex(refused.stderr, /Network is unreachable/);
  } finally {
    await isps.routes(LTE);
  }
  await lab.eventually('both carry IPv6', async () => {
    // Its routes come after its address.
    const seen = await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v6, '2').catch(() => undefined);
    return seen?.[LTE.v6] === 1;
  });
});

it('an uplink that is drained takes no new flow; one whose interface goes loses its flows, and comes back', async (t) => {
  const { router, isps, lab } = t.context;
  await up(t.context);
  t.is((await router.cli(['uplink', 'drain', 'fiber'])).status, 0);
  t.deepEqual(await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v4, '4'), { [LTE.v4]: 4 });
  const holder = router.cliStart(['run', '--', 'python3', '-c', HOLDER]);
  await holder.until(new RegExp(`from ${LTE.v4}`));
  t.is((await status(router)).uplinks[1]!.flows, 1);
  t.is((await router.cli(['uplink', 'undrain', 'fiber'])).status, 0);
  await cable(isps, false);
  await holder.until(/ended 103/);
  t.deepEqual(await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v4, '4'), { [FIBER.v4]: 4 });
  const { problems } = await status(router);
  t.deepEqual(
    problems.map((p) => p.code),
    ['U107'],
  );
  await cable(isps, true);
  await lab.eventually('lte is back', async () => (await status(router)).uplinks.every((u) => u.usable));
  t.deepEqual(await leftBy(t.context, 'wireless', 'tcp', HOST_SERVER.v4, '2'), { [LTE.v4]: 2 });
});

/** Asks from each of its sockets, for each line it is told, and says where the datagrams came from and where a connected one stays. */
const ASKER = `
import socket, sys
def made(): s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); return s
def answer(s): return s.recv(99).decode().split()[0]
free, fixed = [made() for _ in range(5)], made()
for line in sys.stdin:
    order = reversed(range(5)) if line == 'back\\n' else range(5)
    seen = [''] * 5
    for i in order: free[i].sendto(b'?', ('${HOST_SERVER.v4}', 7000)); seen[i] = answer(free[i])
    for host in ('${HOST_SERVER.v4}', '${HOST_SERVER.other}', '${HOST_SERVER.v4}'):
        fixed.connect((host, 7000)); fixed.send(b'?'); seen.append(answer(fixed))
    print(' '.join(seen), flush=True)
`;

it('datagrams keep their uplink: while it is drained, when an address comes, and when the socket connects again', async (t) => {
  const { router, lab, host } = t.context;
  await up(t.context);
  const asker = router.cliStart(['run', '--', 'python3', '-c', ASKER], { isTalkedTo: true });
  let read = 0;
  const asked = async (line: string): Promise<string[]> => {
    asker.child.stdin!.write(`${line}\n`);
    const answer = await asker.line(read);
    read += answer.length;
    return answer.trim().split(' ');
  };
  const first = await asked('on');
  t.is(new Set(first.slice(0, 5)).size, 2, 'each socket is a flow of its own');
  t.is(new Set(first.slice(5)).size, 1, 'one that connects again keeps its address, and so its uplink');
  t.deepEqual(await asked('back'), first);
  t.is((await router.cli(['uplink', 'drain', 'lte'])).status, 0);
  t.deepEqual(await asked('back'), first);
  await lab.ok(host, 'ip', ['addr', 'add', '192.0.2.77/24', 'dev', FIBER.device]);
  await lab.eventually(
    'the address is known',
    async () =>
      (await router.cli(['status'])).stdout.includes('drained') &&
      (await lab.ok(host, 'ip', ['rule'])).includes('192.0.2.77'),
  );
  t.deepEqual(await asked('back'), first);
  router.write(`${CONFIG}  - { match: { port: 1 }, reject: true }\n`);
  t.is((await router.cli(['reload'])).status, 0);
  t.deepEqual(await asked('back'), first);
  asker.child.stdin!.end();
  t.is(await asker.exit(), 0, asker.stderr);
  await lab.ok(host, 'ip', ['addr', 'del', '192.0.2.77/24', 'dev', FIBER.device]);
});

it('what has the address of an uplink leaves by it or not at all, in the moment its link goes too', async (t) => {
  const { isps, router } = t.context;
  await up(t.context);
  await kill(router); // nobody is there to notice
  const leave = `
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('${LTE.v4}', 0))
try: u.sendto(b'?', ('${HOST_SERVER.v4}', 7000)); print('sent')
except OSError as e: print(e.errno)
`;
  const tried = (): Promise<string> => t.context.lab.ok(t.context.host, 'python3', ['-c', leave]);
  t.is(await tried(), 'sent\n');
  try {
    await isps.link(LTE, false);
    t.is(await tried(), '113\n', 'EHOSTUNREACH, and not by the other ISP');
  } finally {
    await isps.link(LTE, true);
  }
});

it('a rule whose uplink has no address of a family sends nothing of it by another network', async (t) => {
  const { isps, router, lab, host } = t.context;
  await lab.ok(host, 'ip', ['-6', 'addr', 'del', `${LTE.v6}/64`, 'dev', LTE.device]);
  try {
    await up(t.context);
    const script = `
import socket
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for _ in range(2):
    try: u.sendto(b'?', ('${HOST_SERVER.v6}', 7000)); print('sent')
    except OSError as e: print(e.errno)
`;
    const { stdout } = await router.cli(['run', '--group', 'wireless', '--', 'python3', '-c', script]);
    t.is(stdout, '101\n101\n');
  } finally {
    await isps.routes(LTE);
  }
});

it('who asks from another network of the host for an address of an uplink is answered there', async (t) => {
  const { lab, host } = t.context;
  const neighbour = await lab.namespace('lan');
  await lab.veth('lan', host, '172.30.0.1/24', neighbour, '172.30.0.2/24');
  await lab.host('ip', ['-n', neighbour, 'route', 'add', 'default', 'via', '172.30.0.1']);
  await up(t.context);
  const serve = `
import socket
l = socket.create_server(('${FIBER.v4}', 7003)); print('serving', flush=True); c, a = l.accept(); print(a[0])
`;
  const server = lab.start(host, 'python3', ['-c', serve]);
  await server.until(/serving/);
  const ask = `import socket; socket.create_connection(('${FIBER.v4}', 7003), timeout=5)`;
  await lab.ok(neighbour, 'python3', ['-c', ask]);
  t.is(await server.exit(), 0);
  t.regex(server.stdout, /172\.30\.0\.2/);
});

it('an address that the host gets while the router runs is its own: connections to it do not leave', async (t) => {
  const { lab, host, router } = t.context;
  await up(t.context);
  await leftBy(t.context, 'wired', 'tcp', HOST_SERVER.v4, '2');
  await lab.ok(host, 'ip', ['addr', 'add', '203.0.113.77/32', 'dev', 'lo']); // a rule leads all around it to uplinks
  const ask = `
import socket
l = socket.create_server(('203.0.113.77', 0))
print(socket.create_connection(l.getsockname(), timeout=0.3).getsockname()[0])
`;
  try {
    await lab.eventually('the address is its own', async () => {
      const { status: code, stdout } = await lab.run(host, 'python3', ['-c', ask]);
      return code === 0 && stdout.trim() === '203.0.113.77';
    });
    const { counters } = await status(router);
    t.is(counters['policy_bind_failed_fiber'], 0);
    t.is(counters['policy_rule_wired'], 2, 'counts of rules go on');
  } finally {
    await lab.ok(host, 'ip', ['addr', 'del', '203.0.113.77/32', 'dev', 'lo']);
  }
});

it('a daemon that is killed leaves the policy in force; the next one goes on with it, and down undoes it', async (t) => {
  const before = await hostSnapshot(t.context.lab, t.context.host);
  const { router } = t.context;
  await up(t.context);
  await kill(router);
  const alone = await t.context.lab.ok(t.context.host, 'python3', ['-c', CLIENT, 'tcp', HOST_SERVER.v4, '8']);
  t.is(new Set(alone.trim().split(' ')).size, 2, alone);
  await up(t.context);
  t.deepEqual(await leftBy(t.context, 'wireless', 'tcp', HOST_SERVER.v4, '2'), { [LTE.v4]: 2 });
  await kill(router);
  const { status: code, stdout } = await router.cli(['down']);
  t.is(code, 0);
  t.regex(stdout, /undone/);
  t.is(await hostSnapshot(t.context.lab, t.context.host), before);
  t.deepEqual(kernelLeftovers(t.context.router), []);
  t.is((await router.cli(['down'])).status, 3, 'there is nothing any more');
});

it('rules, groups and uplinks change while the router runs', async (t) => {
  const { router } = t.context;
  await up(t.context);
  router.write(CONFIG.replace('match: { group: wired }, use: fiber', 'match: { group: other }, use: lte'));
  const reload = async (): Promise<void> => {
    const { status: code, stderr } = await router.cli(['reload']);
    t.is(code, 0, stderr);
  };
  await reload();
  t.deepEqual(await leftBy(t.context, 'other', 'tcp', HOST_SERVER.v4, '2'), { [LTE.v4]: 2 });
  router.write(
    CONFIG.replace(/ {2}lte: .*\n/, '')
      .replaceAll('lte', 'fiber')
      .replace('[fiber, fiber]', '[fiber]'),
  );
  await reload();
  t.deepEqual(await leftBy(t.context, undefined, 'tcp', HOST_SERVER.v4, '4'), { [FIBER.v4]: 4 });
  router.write(CONFIG);
  await reload();
  t.deepEqual(await leftBy(t.context, 'wireless', 'tcp', HOST_SERVER.v4, '2'), { [LTE.v4]: 2 });
});

it('a program goes by its name from its first connection on', async (t) => {
  const special = join(t.context.lab.dir, 'special-app');
  copyFileSync(realpathSync('/usr/bin/python3'), special);
  chmodSync(special, 0o755);
  await up(t.context, CONFIG.replace('match: { group: wired }, use: fiber', 'match: { app: special-app }, use: lte'));
  for (let i = 0; i < 3; i++) {
    const out = await t.context.lab.ok(t.context.host, special, ['-c', CLIENT, 'tcp', HOST_SERVER.v4, '2']);
    t.is(out.trim(), `${LTE.v4} ${LTE.v4}`);
  }
});

/** Connects until rules send it by the address it is given six times in a row, then is the next program. */
const UNTIL_LED = `
import os, socket, sys
script, (address, *rest) = sys.argv[1], sys.argv[2:]
row = 0
while row < 6:
    with socket.create_connection(('${HOST_SERVER.v4}', 7001), timeout=5) as c: row = row + 1 if c.recv(99).decode() == address else 0
print('by', address, flush=True)
if rest: os.execv(rest[0], [rest[0], '-c', script, script, *rest[1:]])
`;

it('a process that executes another program goes by that one, also where the kernel tells of no processes', async (t) => {
  const { lab, host } = t.context;
  const [first, second] = ['first-app', 'second-app'].map((name) => {
    const file = join(lab.dir, name);
    copyFileSync(realpathSync('/usr/bin/python3'), file);
    chmodSync(file, 0o755);
    return file;
  }) as [string, string];
  // Only a process that was looked at is known by such a path.
  const rules = `- { match: { app: '${lab.dir}/first-*' }, use: fiber }\n  - { match: { app: ${second} }, use: lte }`;
  await up(t.context, CONFIG.replace(/- \{ name: wired.*/, rules));
  const args = ['-c', UNTIL_LED, UNTIL_LED, FIBER.v4, second, LTE.v4];
  await lab.start(host, first, args).until(new RegExp(`by ${LTE.v4}`));
  t.pass();
});

it('a second router of the same host has its own tables, pins and cgroups, and leaves nothing of its own alone', async (t) => {
  const { lab, host, router } = t.context;
  const before = await hostSnapshot(lab, host);
  await up(t.context, CONFIG.replace(/ {2}- \{ name: all.*\n/, '')); // what both have rules for is decided by the first
  const one = await hostSnapshot(lab, host);
  const other = new Router(lab, host, ROOT_ACCOUNT);
  const place = { env: { XDG_RUNTIME_DIR: lab.dir } };
  const config = join(lab.dir, 'other.yaml');
  writeFileSync(
    config,
    `${UPLINKS.replace(/ {2}fiber: .*\n/, '')}rules: [{ match: { group: elsewhere }, use: lte }]\n`,
  );
  const daemon = other.cliStart(['up', '--foreground', '-c', config], place);
  await daemon.until(/ready/);
  const left = await other.cli(
    ['run', '--group', 'elsewhere', '--', 'python3', '-c', CLIENT, 'tcp', HOST_SERVER.v4, '2'],
    place,
  );
  t.is(left.stdout.trim(), `${LTE.v4} ${LTE.v4}`, left.stderr);
  t.deepEqual(await leftBy(t.context, 'wired', 'tcp', HOST_SERVER.v4, '2'), { [FIBER.v4]: 2 });
  t.is((await other.cli(['down'], place)).status, 0);
  t.is(await hostSnapshot(lab, host), one);
  t.deepEqual(await leftBy(t.context, 'wireless', 'tcp', HOST_SERVER.v4, '2'), { [LTE.v4]: 2 });
  t.is((await router.cli(['down'])).status, 0);
  t.is(await hostSnapshot(lab, host), before);
});

it('without privileges the kernel is refused with the reason, and auto takes user space and says why', async (t) => {
  const { lab } = t.context;
  const nobody = new Router(lab, await lab.namespace('n'));
  nobody.write(CONFIG);
  const demanded = await nobody.cli(['up', '-c', nobody.config]);
  t.is(demanded.status, 1);
  t.regex(demanded.stderr, /backend: kernel: privileges: no CAP_NET_ADMIN/);
  nobody.write(CONFIG.replace('backend: kernel', 'backend: auto'));
  const offered = await nobody.cli(['up', '-c', nobody.config]);
  t.is(offered.status, 0, offered.stderr);
  t.regex(offered.stdout, /user-space backend: privileges: no CAP_NET_ADMIN/);
  const { stdout } = await nobody.cli(['status', '--json']);
  t.like(JSON.parse(stdout), { backend: 'userspace', backend_reason: 'privileges: no CAP_NET_ADMIN, CAP_BPF' });
  t.is((await nobody.cli(['down'])).status, 0);
});

it('a start that cannot be says why and leaves nothing half done; a second daemon is refused', async (t) => {
  const before = await hostSnapshot(t.context.lab, t.context.host);
  const { router } = t.context;
  router.write(CONFIG.replace(`interface: ${LTE.device}`, 'interface: nowhere'));
  const { status: code, stderr } = await router.cli(['up', '-c', router.config]);
  t.is(code, 78);
  t.regex(stderr, /nowhere/);
  t.is(await hostSnapshot(t.context.lab, t.context.host), before);
  t.deepEqual(kernelLeftovers(t.context.router), []);
  await up(t.context);
  const second = await router.cli(['up', '-c', router.config]);
  t.is(second.status, 1);
  t.regex(second.stderr, /another mlshim is already running/);
});
