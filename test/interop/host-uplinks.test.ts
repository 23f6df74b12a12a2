/**
 * An unprivileged user on a host with two ordinary ways out, without any tunnel: rules choose by group, a balancer shares
 * connections out so that the sum of both rates arrives, and what a way that fails carries is ended.
 */
import type { ExecutionContext } from 'ava';
import { PTRACE_SCOPE, ptraceScope, reach } from '../../router/kernel/ptrace.ts';
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { iperf } from '../kit/iperf.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: HostIsps;
  router: Router;
}

interface UplinkRow {
  readonly name: string;
  readonly kind: string;
  readonly usable: boolean;
  readonly rtt_ms?: number;
  readonly flows: number;
  readonly addresses: readonly string[];
}

const [FIBER, LTE] = HOST_ISPS;
const CONFIG = `
uplinks:
  fiber: { bandwidth: 20Mbit, kernel: { interface: ${FIBER.device} } }
  lte: { bandwidth: 30Mbit, kernel: { source: ${LTE.v4} } }
  lte6: { bandwidth: 30Mbit, kernel: { interface: ${LTE.device} } }
  gone: { kernel: { interface: nowhere } }
groups:
  both: { uplinks: [fiber, lte6] }
  even: { uplinks: [{ uplink: fiber, weight: 1 }, { uplink: lte6, weight: 1 }] }
rules:
  - { name: wired, match: { group: wired }, use: fiber }
  - { name: wireless, match: { group: wireless }, use: lte }
  - { name: broken, match: { group: broken }, use: gone }
  - { name: patient, match: { group: patient }, use: gone, on_failure: next }
  - { name: forbidden, match: { port: 5999 }, reject: true }
  - { name: mixed, match: { group: mixed }, use: even }
  - { name: uneven, match: { group: uneven }, use: [{ uplink: fiber, weight: 1 }, { uplink: lte, weight: 1 }] }
  - { use: both }
`;

/** More ports than anybody would keep in a short list; odd, so that a turn that is taken again is seen. */
const MANY = { first: 7100, count: 97 } as const;

/** Answers each datagram and connection with the address it came from. */
const TELLER = `
import selectors, socket
s = selectors.DefaultSelector()
for family, host in ((2, '${HOST_SERVER.v4}'), (2, '${HOST_SERVER.other}'), (10, '${HOST_SERVER.v6}')):
    for port in (7000, *range(${MANY.first}, ${MANY.first + MANY.count})):
        u = socket.socket(family, socket.SOCK_DGRAM); u.bind((host, port)); s.register(u, selectors.EVENT_READ)
l = socket.create_server(('::', 7001), family=socket.AF_INET6, dualstack_ipv6=True); s.register(l, selectors.EVENT_READ)
print('serving', flush=True)
while True:
    for key, _ in s.select():
        if key.fileobj is l:
            c, a = l.accept(); c.sendall(a[0].removeprefix('::ffff:').encode()); c.close()
        else:
            _, a = key.fileobj.recvfrom(2048); key.fileobj.sendto(f'{a[0]} {a[1]}'.encode(), a)
`;

/** Lets everybody connect. */
const ACCEPTER = `
import socket
l = socket.create_server(('', 7002)); print('serving')
while True: l.accept()[0].close()
`;

const missing = Lab.missing('iperf3', 'tc', 'python3', 'tcpdump');
const { test, it } = labTests<Context>(missing);

/** Whether an unprivileged router may end flows of apps here; a test about that is over where it may not. */
function mayEndFlows(t: ExecutionContext<Context>): boolean {
  t.log(`${PTRACE_SCOPE} is ${ptraceScope() ?? 'not there'}`);
  const may = reach(ptraceScope(), false) !== 'none';
  if (!may) t.pass();
  return may;
}

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const isps = new HostIsps(lab, host);
    await isps.build();
    // A source address alone steers nothing where the host has no rule for it.
    for (const [family, from, router] of [
      ['-4', LTE.v4, LTE.router4],
      ['-6', LTE.v6, LTE.router6],
    ] as const) {
      await lab.host('ip', ['-n', host, family, 'rule', 'add', 'from', from, 'lookup', '200']);
      await lab.host('ip', ['-n', host, family, 'route', 'add', 'default', 'via', router, 'table', '200']);
    }
    const router = new Router(lab, host);
    router.write(CONFIG);
    Object.assign(t.context, { isps, router });
    await isps.serve('python3', ['-c', TELLER]).until(/serving/);
    await router.up();
    await uplinksAre(t.context, { fiber: true, lte: true, lte6: true, gone: false });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function uplinks(router: Router): Promise<readonly UplinkRow[]> {
  return await router.json<readonly UplinkRow[]>('uplink');
}

async function uplinksAre({ router, lab }: Context, expected: Readonly<Record<string, boolean>>): Promise<void> {
  await lab.eventually(`uplinks are ${JSON.stringify(expected)}`, async () =>
    (await uplinks(router)).every((u) => (expected[u.name] ?? u.usable) === u.usable),
  );
}

it('a process of a group leaves by its interface or source address only', async (t) => {
  const wired = await iperf(t.context, 'wired', '-c', HOST_SERVER.v4, '-P', '4', '-R');
  t.deepEqual(wired.streams, { [FIBER.v4]: 4 });
  const wireless = await iperf(t.context, 'wireless', '-c', HOST_SERVER.v4, '-P', '4', '-R');
  t.deepEqual(wireless.streams, { [LTE.v4]: 4 });
  t.true(wireless.mbit > FIBER.rate, 'its packets left by its own line, which is the faster one');
});

it('ten streams of one app are shared out by bandwidth and get the sum of both', async (t) => {
  const alone = [];
  for (const group of ['wired', 'wireless'])
    alone.push((await iperf(t.context, group, '-c', HOST_SERVER.v4, '-P', '5', '-R')).mbit);
  for (const [to, addresses] of [
    [HOST_SERVER.v4, [FIBER.v4, LTE.v4]],
    [HOST_SERVER.v6, [FIBER.v6, LTE.v6]],
  ] as const) {
    const { mbit, streams } = await iperf(t.context, undefined, '-c', to, '-P', '10', '-R');
    t.log(`${mbit.toFixed(1)} of ${alone.map((m) => m.toFixed(1)).join(' + ')} Mbit/s: ${JSON.stringify(streams)}`);
    t.deepEqual(Object.keys(streams).sort(), [...addresses].sort());
    t.true(mbit >= 0.95 * (alone[0]! + alone[1]!), `${mbit} Mbit/s`);
  }
});

it('a group of equal weights alternates, for TCP and for connected UDP', async (t) => {
  for (const args of [[], ['-u', '-b', '1M']]) {
    const { streams } = await iperf(t.context, 'mixed', '-c', HOST_SERVER.v4, '-P', '10', ...args);
    // The control connection is the eleventh: whichever it took, the others differ by no more than one.
    t.true(
      Object.values(streams).every((n) => n >= 4 && n <= 6),
      JSON.stringify(streams),
    );
  }
});

/** Run a Python program as an app of a group; what it printed, word by word. */
async function python({ router }: Context, group: string, program: string): Promise<string[]> {
  const { status, stdout, stderr } = await router.cli(['run', '-g', group, '--', 'python3', '-c', program]);
  if (status !== 0) throw new Error(`python3 ended with ${status}: ${stdout}${stderr}`);
  return stdout.trim().split(/\s+/);
}

it('an uplink without an address of the family is passed over, without a turn lost', async (t) => {
  const script = `
import socket
def tcp(host):
    with socket.create_connection((host, 7001), timeout=5) as c: return c.recv(99).decode()
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u.settimeout(5)
def udp(port):
    u.sendto(b'?', ('${HOST_SERVER.v6}', port)); return u.recv(99).decode().split()[0]
print(*[tcp('${HOST_SERVER.v4}') for _ in range(4)])
print(*[tcp('${HOST_SERVER.v6}') for _ in range(4)])
print(*[udp(port) for port in range(${MANY.first}, ${MANY.first + 4})])`;
  const seen = await python(t.context, 'uneven', script);
  t.deepEqual(seen.slice(0, 4).sort(), [LTE.v4, LTE.v4, FIBER.v4, FIBER.v4].sort());
  t.deepEqual(seen.slice(4), Array<string>(8).fill(FIBER.v6));
});

it('each destination of an unconnected UDP socket is a flow of its own', async (t) => {
  const program = (bind: string, family: string, hosts: readonly string[]): string => `
import socket
u = socket.socket(socket.${family}, socket.SOCK_DGRAM); u.settimeout(5)
${bind}
for host in ${JSON.stringify(hosts)} * 2:
  u.sendto(b'who am I', (host, 7000)); data, a = u.recvfrom(64)
  assert a[:2] == (host, 7000), a
  print(data.decode())`;
  const hosts = [HOST_SERVER.v4, HOST_SERVER.other];
  const seen = await python(t.context, 'mixed', program('', 'AF_INET', hosts));
  const [first, firstPort, second, secondPort] = seen;
  t.deepEqual([first, second].sort(), [FIBER.v4, LTE.v4].sort());
  t.deepEqual(seen.slice(4), [first, firstPort, second, secondPort], 'a destination keeps its uplink and its port');
  const mapped = hosts.map((h) => `::ffff:${h}`);
  const dual = await python(t.context, 'mixed', program('', 'AF_INET6', mapped));
  t.deepEqual([dual[0], dual[2]].sort(), [FIBER.v4, LTE.v4].sort());
  const bound = await python(t.context, 'mixed', program("u.bind(('0.0.0.0', 7777))", 'AF_INET', hosts));
  t.deepEqual([bound[1], bound[3]], ['7777', '7777'], 'a port that was bound is the port there');
  t.deepEqual([bound[0], bound[2]].sort(), [FIBER.v4, LTE.v4].sort());
  const six = await python(t.context, 'wired', program('', 'AF_INET6', [HOST_SERVER.v6]));
  t.is(six[0], FIBER.v6);
});

it('datagrams to many destinations keep to their uplinks, while one is drained and rules change too', async (t) => {
  const { router } = t.context;
  const program = `
import socket, sys
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
hosts = [('${HOST_SERVER.v4}', 7000), ('${HOST_SERVER.other}', 7000)]
many = [('${HOST_SERVER.v4}', port) for port in range(${MANY.first}, ${MANY.first + MANY.count})]
def ask(to):
  u.sendto(b'who am I', to); return u.recvfrom(64)[0].decode().split()[0]
first = [ask(to) for to in hosts + many]
for _ in range(2):
  assert [ask(to) for to in hosts + many] == first
print(' '.join(sorted(set(first))), flush=True)
for _ in sys.stdin:
  assert [ask(to) for to in hosts + many] == first
  print('same', flush=True)`;
  const app = router.cliStart(['run', '-g', 'mixed', '--', 'python3', '-c', program], { isTalkedTo: true });
  await app.until(new RegExp([FIBER.v4, LTE.v4].sort().join(' ')));
  const asks = async (times: number): Promise<void> => {
    app.child.stdin!.write('\n');
    await app.until(new RegExp(`(same\\s+){${times}}`));
  };
  t.is((await router.cli(['uplink', 'drain', 'lte6'])).status, 0);
  await asks(1);
  t.is((await router.cli(['uplink', 'undrain', 'lte6'])).status, 0);
  const { text } = router;
  router.write(`${text}  - { match: { port: 1 }, reject: true }\n`);
  t.is((await router.cli(['reload'])).status, 0);
  await asks(2);
  router.write(text);
  t.is((await router.cli(['reload'])).status, 0);
  app.child.stdin!.end();
  t.is(await app.exit(), 0, app.stdout + app.stderr);
});

it('a UDP socket that is bound and then connected is relayed, and hears errors of its peer', async (t) => {
  const seen = await python(
    t.context,
    'wired',
    `
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5); u.bind(('', 7778))
u.connect(('${HOST_SERVER.v4}', 7000)); u.send(b'x'); print(u.recv(64).decode(), u.getpeername()[1])
u.connect(('${HOST_SERVER.v4}', 7009)); u.send(b'x')
try: u.recv(64)
except ConnectionRefusedError: print('refused')`,
  );
  t.deepEqual(seen, [FIBER.v4, '7778', '7000', 'refused']);
});

it('a connect that does not wait keeps options, flags and epoll registrations', async (t) => {
  const seen = await python(
    t.context,
    'wired',
    `
import errno, select, socket
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77)
s.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x20)
s.setblocking(False)
e = select.epoll(); e.register(s, select.EPOLLOUT)
assert s.connect_ex(('${HOST_SERVER.v4}', 7001)) == errno.EINPROGRESS
assert e.poll(5) == [(s.fileno(), select.EPOLLOUT)]
e.modify(s, select.EPOLLIN)
assert e.poll(5)[0][0] == s.fileno()
print(s.recv(64).decode(), s.getsockname()[0], s.getpeername()[1])
print(s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0,
    s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), s.getsockopt(socket.IPPROTO_IP, socket.IP_TOS))
b = socket.socket(socket.AF_INET, socket.SOCK_STREAM); b.bind(('', 7779))
b.connect(('${HOST_SERVER.v4}', 7001)); print(b.getsockname()[1])
r = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
print(errno.errorcode[r.connect_ex(('${HOST_SERVER.v4}', 7009))])`,
  );
  t.deepEqual(seen, [FIBER.v4, FIBER.v4, '7001', '0', 'True', '77', '32', '7779', 'ECONNREFUSED']);
});

it('an app that binds an interface or an address of the host has chosen it, whatever rules say', async (t) => {
  const seen = await python(
    t.context,
    'wired',
    `
import socket, struct
def ask(kind, device=None, address=None):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(5)
    if device: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    if address: s.bind((address, 0))
    if kind == socket.SOCK_STREAM: s.connect(('${HOST_SERVER.v4}', 7001))
    else: s.sendto(b'x', ('${HOST_SERVER.v4}', 7000))
    print(s.recv(64).decode().split()[0])
for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
    ask(kind); ask(kind, device=b'${LTE.device}'); ask(kind, address='${LTE.v4}')
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5)
info = struct.pack('=I4s4x', 0, socket.inet_aton('${LTE.v4}'))
u.sendmsg([b'x'], [(socket.IPPROTO_IP, 8, info)], 0, ('${HOST_SERVER.v4}', 7000)); print(u.recv(64).decode().split()[0])
try: ask(socket.SOCK_STREAM, device=b'nosuch')
except OSError as e: print(e.errno)
try: ask(socket.SOCK_STREAM, address='192.0.2.77')
except OSError as e: print(e.errno)`,
  );
  t.deepEqual(seen, [FIBER.v4, LTE.v4, LTE.v4, FIBER.v4, LTE.v4, LTE.v4, LTE.v4, '19', '99']);
});

it('a server on an address of the host is reached there, and stays when the interface goes', async (t) => {
  const { isps, lab, router } = t.context;
  const server = router.cliStart([
    'run',
    '--',
    'python3',
    '-u',
    '-c',
    `
import socket
l = socket.create_server(('${FIBER.v4}', 7100)); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('${FIBER.v4}', 7100))
print('serving')
while True:
    c, a = l.accept(); c.sendall(b'hello'); c.close()
    print(u.recv(64).decode())`,
  ]);
  await server.until(/serving/);
  const visit = `
import socket
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b'datagram', ('${FIBER.v4}', 7100))
print(socket.create_connection(('${FIBER.v4}', 7100), 5).recv(64).decode())`;
  const visitor = isps.serve('python3', ['-c', visit]);
  t.is(await visitor.exit(), 0, visitor.stderr);
  await server.until(/datagram/);
  await isps.link(FIBER, false);
  await uplinksAre(t.context, { fiber: false });
  await isps.link(FIBER, true);
  await uplinksAre(t.context, { fiber: true });
  const again = isps.serve('python3', ['-c', visit]);
  t.is(await again.exit(), 0, again.stderr);
  await lab.eventually('the second datagram is there', async () => server.stdout.split('datagram').length === 3);
  await server.stop();
});

it('what goes to an address of the host itself stays in the host', async (t) => {
  const { lab, isps } = t.context;
  const serve = `
import socket, threading
l = socket.create_server(('', 7005)); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(('${FIBER.v4}', 7005))
def echo():
    while True: d, a = u.recvfrom(64); u.sendto(a[0].encode(), a)
threading.Thread(target=echo, daemon=True).start(); print('serving', flush=True)
while True:
    c, a = l.accept(); c.sendall(a[0].encode()); c.close()
`;
  const server = lab.start(isps.host, 'python3', ['-c', serve]);
  await server.until(/serving/);
  const seen = await python(
    t.context,
    'mixed',
    `
import socket
for own in ('${FIBER.v4}', '${LTE.v4}'):
    with socket.create_connection((own, 7005), timeout=5) as c: print(c.recv(64).decode())
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.settimeout(5); u.connect(('${FIBER.v4}', 7005))
u.send(b'?'); print(u.recv(64).decode())`,
  );
  t.deepEqual(seen, [FIBER.v4, LTE.v4, FIBER.v4]);
  await server.stop();
});

it('pings leave by the uplink that rules choose', async (t) => {
  const { lab, isps } = t.context;
  await lab.ok(isps.host, 'sh', ['-c', "echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range"]);
  for (const [group, to, from] of [
    ['wired', HOST_SERVER.v4, FIBER.v4],
    ['wireless', HOST_SERVER.v4, LTE.v4],
    ['wired', HOST_SERVER.v6, FIBER.v6],
  ] as const) {
    const seen = isps.serve('tcpdump', ['-lni', 'any', '-c', '1', to.includes(':') ? 'icmp6[0] = 128' : 'icmp[0] = 8']);
    await seen.until(/listening/);
    const [family, protocol, echo] = to.includes(':')
      ? ['AF_INET6', 'IPPROTO_ICMPV6', 128]
      : ['AF_INET', 'IPPROTO_ICMP', 8];
    const answer = await python(
      t.context,
      group,
      `
import socket
s = socket.socket(socket.${family}, socket.SOCK_DGRAM, socket.${protocol}); s.settimeout(5)
s.sendto(bytes([${echo}, 0, 0, 0, 0, 0, 0, 1]) + b'hello', ('${to}', 0)); data, a = s.recvfrom(64)
print(data[0], a[0], data[8:].decode())`,
    );
    t.deepEqual(answer, [to.includes(':') ? '129' : '0', to, 'hello']);
    await seen.until(new RegExp(`${from} > ${to}`));
  }
});

it('what a rule rejects, and what no uplink can carry, is refused and leaves by no other way', async (t) => {
  const connect = (port: number, host: string = HOST_SERVER.v4): string => `
import errno, socket
s = socket.socket(socket.AF_INET6 if ':' in '${host}' else socket.AF_INET, socket.SOCK_STREAM)
r = s.connect_ex(('${host}', ${port})); print(errno.errorcode.get(r, s.getsockname()[0]))`;
  t.deepEqual(await python(t.context, 'wired', connect(5999)), ['ECONNREFUSED']);
  t.deepEqual(await python(t.context, 'nobody', connect(5999)), ['EACCES']);
  t.deepEqual(await python(t.context, 'broken', connect(7001)), ['ENETUNREACH']);
  t.deepEqual(await python(t.context, 'wireless', connect(7001, HOST_SERVER.v6)), ['ENETUNREACH'], 'an IPv4 source');
  t.true([FIBER.v4, LTE.v4].includes((await python(t.context, 'patient', connect(7001)))[0]!));
});

it('a source address that is taken away between two looks is refused, and counted', async (t) => {
  const { lab, isps, router } = t.context;
  const refusedBefore = await counter(router, 'shim_hostBindsRefused');
  const child = router.cliStart([
    'run',
    '-g',
    'wireless',
    '--',
    'python3',
    '-c',
    `
import errno, socket, sys
seen = set()
while 'EADDRNOTAVAIL' not in seen and 'ENETUNREACH' not in seen:
  s = socket.socket(); r = s.connect_ex(('${HOST_SERVER.v4}', 7001))
  word = errno.errorcode.get(r) or s.getsockname()[0]
  if word not in seen: print(word, flush=True)
  seen.add(word); s.close()`,
  ]);
  await child.until(new RegExp(LTE.v4));
  await lab.host('ip', ['-n', isps.host, 'addr', 'del', `${LTE.v4}/24`, 'dev', LTE.device]);
  t.is(await child.exit(), 0, child.stdout + child.stderr);
  t.notRegex(child.stdout, new RegExp(FIBER.v4));
  await uplinksAre(t.context, { lte: false });
  await lab.host('ip', ['-n', isps.host, 'addr', 'add', `${LTE.v4}/24`, 'dev', LTE.device]);
  await isps.routes(LTE);
  await lab.host('ip', ['-n', isps.host, 'route', 'replace', 'default', 'via', LTE.router4, 'table', '200']);
  await uplinksAre(t.context, { lte: true });
  if (child.stdout.includes('EADDRNOTAVAIL')) t.true((await counter(router, 'shim_hostBindsRefused')) > refusedBefore);
});

async function counter(router: Router, name: string): Promise<number> {
  return (await router.json<{ readonly counters: Readonly<Record<string, number>> }>('status')).counters[name] ?? 0;
}

it('flows of an interface that goes down are reset at once, those of the other go on, and new ones move', async (t) => {
  if (!mayEndFlows(t)) return;
  const { lab, isps, router } = t.context;
  const server = await isps.iperf();
  const other = await isps.iperf(5202);
  const doomed = router.cliStart(['run', '-g', 'wired', '--', 'iperf3', '-c', HOST_SERVER.v4, '-R', '-t', '60']);
  const safe = router.cliStart([
    'run',
    '-g',
    'wireless',
    '--',
    'iperf3',
    '-c',
    HOST_SERVER.v4,
    '-p',
    '5202',
    '-t',
    '8',
  ]);
  await lab.eventually('flows are counted', async () => {
    const rows = await uplinks(router);
    return rows.find((u) => u.name === 'fiber')!.flows === 2 && rows.find((u) => u.name === 'lte')!.flows === 2;
  });
  const cutAt = performance.now();
  await isps.link(FIBER, false);
  t.not(await doomed.exit(), 0);
  t.log(`ended after ${(performance.now() - cutAt).toFixed(0)} ms, of which interfaces are looked at every 200`);
  t.regex(doomed.stdout + doomed.stderr, /reset by peer|closed unexpectedly|unable to/i);
  await uplinksAre(t.context, { fiber: false, lte: true, lte6: true });
  t.is((await uplinks(router)).find((u) => u.name === 'fiber')!.flows, 0);
  await other.until(/0\.00-/);
  t.is(await safe.exit(), 0, safe.stdout + safe.stderr);
  await server.stop();
  t.deepEqual((await iperf(t.context, undefined, '-c', HOST_SERVER.v4, '-P', '4')).streams, { [LTE.v4]: 4 });
  await isps.link(FIBER, true);
  await uplinksAre(t.context, { fiber: true, lte: true });
  t.is(Object.keys((await iperf(t.context, 'mixed', '-c', HOST_SERVER.v4, '-P', '4')).streams).length, 2);
  await other.stop();
});

it('an uplink whose probes are not answered any more is left, and its flows are reset, though its interface is up', async (t) => {
  if (!mayEndFlows(t)) return;
  const { lab, isps, router } = t.context;
  const probe = (router: string): string =>
    `probe: { to: ${router}, kind: tcp, port: 7002, every: 200ms, timeout: 100ms, fall: 2, rise: 2 }`;
  const answers = HOST_ISPS.map((isp) => isps.serve('python3', ['-u', '-c', ACCEPTER], isp));
  for (const a of answers) await a.until(/serving/);
  router.write(
    CONFIG.replace('fiber: { ', `fiber: { ${probe(FIBER.router4)}, `).replace(
      'lte6: { ',
      `lte6: { ${probe(LTE.router4)}, `,
    ),
  );
  t.is((await router.cli(['reload'])).status, 0);
  await lab.eventually(
    'probes are answered',
    async () => (await uplinks(router)).filter((u) => u.rtt_ms !== undefined).length === 2,
  );
  const server = await isps.iperf();
  const doomed = router.cliStart(['run', '-g', 'wired', '--', 'iperf3', '-c', HOST_SERVER.v4, '-R', '-t', '60']);
  await lab.eventually('it has begun', async () => (await uplinks(router))[0]!.flows === 2);
  await answers[0]!.stop();
  const failedAt = performance.now();
  t.not(await doomed.exit(), 0);
  t.log(`ended ${(performance.now() - failedAt).toFixed(0)} ms after probes were refused`);
  await uplinksAre(t.context, { fiber: false, lte: true, lte6: true });
  await server.stop();
  t.deepEqual((await iperf(t.context, 'mixed', '-c', HOST_SERVER.v4, '-P', '3')).streams, { [LTE.v4]: 3 });
  router.write(CONFIG);
  t.is((await router.cli(['reload'])).status, 0);
  await uplinksAre(t.context, { fiber: true, lte: true, lte6: true });
});

it('a drained uplink takes no new flow until it is undrained', async (t) => {
  const { router } = t.context;
  t.is((await router.cli(['uplink', 'drain', 'lte6'])).status, 0);
  t.deepEqual((await iperf(t.context, 'mixed', '-c', HOST_SERVER.v4, '-P', '3')).streams, { [FIBER.v4]: 3 });
  t.is((await router.cli(['uplink', 'undrain', 'lte6'])).status, 0);
  t.is(Object.keys((await iperf(t.context, 'mixed', '-c', HOST_SERVER.v4, '-P', '4')).streams).length, 2);
});

it('what is asked about packets of such an uplink says where they are', async (t) => {
  const { status, stderr } = await t.context.router.cli(['capture', '--uplink', 'fiber', '-w', '-']);
  t.not(status, 0);
  t.regex(stderr, /uplink "fiber" is a path of the host's network/);
});
