import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { SCHEMA } from '../../../router/kernel/layout.ts';
import { OBJECTS } from '../../../router/kernel/loader.ts';
import { Programs } from '../../../router/kernel/programs.ts';
import { TUNNEL_MARK } from '../../../router/kernel/uplink.ts';
import { POLICY_CASES } from '../../kit/policy-cases.ts';
import { missingForPrograms, TwoWays, type WaysApp } from '../../kit/two-ways.ts';
import { addr, port, rule } from '../uplink/kit.ts';
import { both, checkCase, checkSockets, type KernelLab, member, policy, SERVER4, SERVER6 } from './program-cases.ts';

/** The folder of this layout of the maps. */
const LAYOUT = `v${SCHEMA}`;

const missing = await missingForPrograms();
const title = (name: string): string => (missing === undefined ? name : `${name} (${missing})`);
const kernelTest = missing === undefined ? test.serial : test.skip;

/** One lab for all tests, which run one after another; the last owner of the programs. */
const shared: { ways: TwoWays | undefined; programs: Programs | undefined } = { ways: undefined, programs: undefined };

/** Ids of maps of our programs in this machine's kernel, whoever loaded them. */
async function mapsOf(ways: TwoWays): Promise<string[]> {
  const maps = await ways.lab.host('bpftool', ['map', 'show']);
  return [...maps.matchAll(/^(\d+): \S+ {2}name mls_/gm)].map(([, id]) => id!);
}

let mapsOfOthers: readonly string[] = [];

if (missing === undefined) {
  test.before(async () => {
    shared.ways = new TwoWays();
    mapsOfOthers = await mapsOf(shared.ways);
    await shared.ways.build();
    shared.programs = await shared.ways.load();
    shared.programs.setPolicy(policy(shared.ways, {}));
    await shared.programs.attach();
  });
  test.after.always(async () => {
    shared.programs?.close();
    await shared.ways?.close();
  });
}

function lab(): KernelLab {
  return { ways: shared.ways!, programs: shared.programs! };
}

for (const c of POLICY_CASES) kernelTest(title(`the programs: ${c.name}`), (t) => checkCase(t, lab(), c));

kernelTest(title('every kind of socket of both families takes the uplink, and its first datagram is answered'), (t) =>
  checkSockets(t, lab()),
);

kernelTest(title('each destination of one unconnected socket has its own uplink, and keeps it'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  programs.setPolicy(policy(ways, {}));
  const answers: string[] = [];
  for (const host of [1, 2, 1, 2, 3, 1])
    answers.push((await app.one({ op: 'send', keep: 'k', to: `203.0.113.${host}`, port: 7000 })).answer!);
  const sources = answers.map((a) => a.split(' ')[0]);
  t.deepEqual(sources, ['10.1.0.2', '10.2.0.2', '10.1.0.2', '10.2.0.2', '10.1.0.2', '10.1.0.2']);
  programs.setUsable(0, false);
  const moved = await app.one({ op: 'send', keep: 'k', to: '203.0.113.1', port: 7000 });
  t.is(moved.answer?.split(' ')[0], '10.2.0.2', 'a way that cannot be used is left');
  programs.setUsable(0, true);
  await app.process.stop('SIGKILL');
});

kernelTest(
  title('what an app chose itself is respected: a device, and nothing but loopback for local addresses'),
  async (t) => {
    const { ways, programs } = lab();
    const app = await ways.app();
    programs.setPolicy(policy(ways, { rules: [rule({}, { kind: 'reject' })], ownAddresses: [addr('127.0.0.1')] }));
    t.like(await app.one({ op: 'talk', to: SERVER4, port: 7000, device: 'up1', tcp: true }), {
      device: 'up1',
      local: '10.2.0.2',
    });
    t.is((await app.one({ op: 'decide', to: SERVER4, port: 7000, tcp: true })).error, 'EACCES');
    t.is((await app.one({ op: 'send', to: SERVER4, port: 7000 })).error, 'EACCES');
    t.is((await app.one({ op: 'send', to: SERVER6, port: 7000 })).error, 'EACCES');
    for (const to of ['127.0.0.1', '::1', '10.1.0.2', 'fd02::2', '224.0.0.1'])
      t.is((await app.one({ op: 'decide', to, port: 7000 })).error, undefined, to);
    await app.process.stop('SIGKILL');
  },
);

kernelTest(title('addresses that the host gets and loses change nothing else: turns and counts go on'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  const pass = rule({}, { kind: 'group', group: 0 });
  const connect = async (): Promise<string> =>
    (await app.one({ op: 'decide', to: SERVER4, port: 7000, tcp: true })).device;
  programs.setPolicy(policy(ways, { rules: [pass] }));
  t.is(await connect(), 'up0');
  programs.setOwnAddresses([addr(SERVER4)]);
  t.is(await connect(), '', 'it is the host itself now');
  programs.setOwnAddresses([addr(SERVER6)]);
  t.is(await connect(), 'up1');
  t.deepEqual(programs.counters().rules, [2]);
  // An address of an uplink takes another generation.
  programs.setPolicy(policy(ways, { rules: [pass], uplinks: [ways.uplink(0, { addresses: [] }), ways.uplink(1)] }));
  await connect();
  t.deepEqual(programs.counters().rules, [3]);
  programs.setPolicy(policy(ways, { rules: [pass, pass] }));
  t.deepEqual(programs.counters().rules, [0, 0], 'other rules are counted anew');
  await app.process.stop('SIGKILL');
});

kernelTest(title('an app bound to an address of an uplink takes that one where the rule allows it'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  programs.setPolicy(policy(ways, { groups: [both('failover')] }));
  t.is(
    (await app.one({ op: 'talk', to: SERVER4, port: 7000, tcp: true, from: '10.2.0.2' })).answer,
    `10.2.0.2 ${SERVER4}`,
  );
  t.is((await app.one({ op: 'talk', to: SERVER6, port: 7000, from: 'fd02::2' })).answer, `fd02::2 ${SERVER6}`);
  t.is((await app.one({ op: 'talk', to: SERVER4, port: 7000, tcp: true })).answer, `10.1.0.2 ${SERVER4}`);
  await app.process.stop('SIGKILL');
});

kernelTest(title('what our own tunnels send is left alone, by its mark'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  programs.setPolicy(policy(ways, { rules: [rule({}, { kind: 'reject' })] }));
  for (const to of [SERVER4, SERVER6])
    for (const op of ['send', 'talk']) {
      t.is((await app.one({ op, to, port: 7000, mark: 0x6d6b0001 })).error, 'EACCES');
      t.is((await app.one({ op, to, port: 7000, mark: TUNNEL_MARK | 51001 })).error, undefined, `${op} ${to}`);
    }
  await app.process.stop('SIGKILL');
});

kernelTest(title('an uplink that is a source address binds that address and no device'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  const uplinks = [0, 1].map((i) => ways.uplink(i, { device: undefined, ifindex: 0 }));
  programs.setPolicy(policy(ways, { uplinks, groups: [{ name: 'g', balance: 'failover', members: [member(1)] }] }));
  for (const [to, local] of [
    [SERVER4, '10.2.0.2'],
    [SERVER6, 'fd02::2'],
  ] as const) {
    for (const tcp of [true, false])
      t.like(await app.one({ op: 'talk', to, port: 7000, tcp }), { device: '', local, answer: `${local} ${to}` });
    t.is((await app.one({ op: 'send', to, port: 7000 })).answer, `${local} ${to}`);
  }
  // Linux binds a socket that has a port no more.
  const { bound, failed } = programs.counters().uplinks[1]!;
  t.is((await app.one({ op: 'talk', to: SERVER4, port: 7000, from: '0.0.0.0' })).answer, `10.1.0.2 ${SERVER4}`);
  t.like(programs.counters().uplinks[1], { bound, failed: failed + 1 });
  await app.process.stop('SIGKILL');
});

kernelTest(title('an address that lives in a VRF can be bound from outside it'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  programs.setPolicy(policy(ways, { uplinks: [ways.uplink(0, { isVrf: true }), ways.uplink(1)] }));
  if (programs.variant === 'full')
    for (const from of ['10.1.0.2', 'fd01::2'])
      t.like(await app.one({ op: 'bind', from }), { device: 'up0', local: from });
  t.like(await app.one({ op: 'bind', from: '10.2.0.2' }), { device: '', local: '10.2.0.2' });
  t.is((await app.one({ op: 'decide', to: '10.1.0.2', port: 9 })).device, 'up0', 'and connected to');
  // What bound itself so leaves by that uplink, though another one is first, and stays there.
  const uplinks = [ways.uplink(0), ways.uplink(1, { isVrf: true })];
  programs.setPolicy(policy(ways, { uplinks, groups: [both('failover')] }));
  if (programs.variant === 'full')
    for (const [to, from] of [
      [SERVER4, '10.2.0.2'],
      [SERVER6, 'fd02::2'],
    ] as const)
      for (const tcp of [true, false])
        t.like(await app.one({ op: 'talk', to, port: 7000, tcp, from }), { device: 'up1', answer: `${from} ${to}` });
  await app.process.stop('SIGKILL');
});

kernelTest(
  title('strict refuses what cannot be bound, otherwise it goes by the main table and is counted'),
  async (t) => {
    const { ways, programs } = lab();
    const app = await ways.app();
    for (const isStrict of [false, true]) {
      const uplinks = [ways.uplink(0, { name: `gone${isStrict}`, device: 'gone' }), ways.uplink(1)];
      programs.setPolicy(
        policy(ways, { uplinks, isStrict, groups: [{ name: 'g', balance: 'failover', members: [member(0)] }] }),
      );
      t.is((await app.one({ op: 'decide', to: SERVER4, port: 80, tcp: true })).error, isStrict ? 'EPERM' : undefined);
      t.is((await app.one({ op: 'decide', to: SERVER6, port: 80 })).error, isStrict ? 'EPERM' : undefined);
      t.like(programs.counters().uplinks[0], { failed: 2 });
      t.is(programs.counters().strictRefused, isStrict ? 2 : 0);
    }
    await app.process.stop('SIGKILL');
  },
);

kernelTest(title('what has the family of no address of its uplink leaves by no other one'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  const uplinks = [ways.uplink(0, { source6: undefined }), ways.uplink(1)];
  const only = { groups: [{ name: 'g', balance: 'failover', members: [member(0)] }] } as const;
  programs.setPolicy(policy(ways, { uplinks, ...only }));
  for (const op of ['decide', 'send']) t.is((await app.one({ op, to: SERVER6, port: 7000 })).error, 'ENETUNREACH', op);
  t.is((await app.one({ op: 'send', to: SERVER4, port: 7000 })).answer, `10.1.0.2 ${SERVER4}`);
  await app.process.stop('SIGKILL');
});

kernelTest(title('ping sockets are bound when they are made, by rules about their app or about ICMP'), async (t) => {
  const { ways, programs } = lab();
  const id = ways.folder(join(ways.cgroup, 'wifi'));
  programs.setCgroup(id, '/mlshim/wifi', 'wifi');
  await ways.lab.ok(ways.host, 'sysctl', ['-qw', 'net.ipv4.ping_group_range=0 2147483647']);
  const [wifi, other] = [await ways.app({ cgroup: join(ways.cgroup, 'wifi') }), await ways.app()];
  const ping = async (app: WaysApp): Promise<string | undefined> => {
    const { device, error } = await app.one({ op: 'ping', from: '0.0.0.0' });
    return error ?? device;
  };
  const one = [{ name: 'g', balance: 'failover', members: [member(1)] }] as const;
  programs.setPolicy(policy(ways, { rules: [rule({ groups: ['wifi'] }), rule({})], groups: one }));
  t.deepEqual([await ping(wifi), await ping(other)], ['up1', '']);
  programs.setPolicy(policy(ways, { rules: [rule({ protocols: [1] })], groups: one }));
  t.deepEqual([await ping(wifi), await ping(other)], ['up1', 'up1']);
  await wifi.process.stop('SIGKILL');
  await other.process.stop('SIGKILL');
  programs.removeCgroup(id);
  ways.removeFolders();
});

kernelTest(title('processes of other network namespaces and our own are left alone'), async (t) => {
  const { ways, programs } = lab();
  programs.setPolicy(policy(ways, { rules: [rule({}, { kind: 'reject' })] }));
  const [foreign, own] = [await ways.app({ netns: ways.server }), await ways.app()];
  const before = programs.counters().foreignNetns;
  t.is((await foreign.one({ op: 'decide', to: '198.51.100.1', port: 80 })).error, undefined);
  t.is(programs.counters().foreignNetns, before + 1);
  t.is((await own.one({ op: 'decide', to: SERVER4, port: 80 })).error, 'EACCES');
  programs.exempt(own.pid);
  t.is((await own.one({ op: 'decide', to: SERVER4, port: 80 })).error, undefined);
  programs.unexempt(own.pid);
  await foreign.process.stop('SIGKILL');
  await own.process.stop('SIGKILL');
});

// ---- Balancers

kernelTest(title('weights are exact for a hundred connects, and least loaded prefers what has room'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  const share = async (times: number): Promise<number> => {
    const answers = await app.ask({ op: 'decide', to: SERVER4, port: 80, times });
    return answers.filter((a) => a.device === 'up0').length;
  };
  programs.setPolicy(policy(ways, { groups: [both('round_robin', 3, 1)] }));
  t.is(await share(100), 75);
  programs.setPolicy(policy(ways, { groups: [both('round_robin', 2_500_000, 3_750_000)] }));
  t.is(await share(100), 40);
  programs.setPolicy(policy(ways, { groups: [both('random')] }));
  const random = await share(400);
  t.true(random > 130 && random < 270, `${random} of 400`);
  programs.setPolicy(policy(ways, { groups: [both('least_loaded')] }));
  programs.measured([
    { rate: 2_000_000, capacity: 2_500_000, peak: 0 },
    { rate: 100_000, capacity: 2_500_000, peak: 0 },
  ]);
  // Each flow is taken to need a twentieth until it is measured: sixteen make up for the difference.
  t.is(await share(15), 0);
  programs.measured([
    { rate: 0, capacity: 1_250_000, peak: 0 },
    { rate: 0, capacity: 3_750_000, peak: 0 },
  ]);
  t.is(await share(100), 25);
  await app.process.stop('SIGKILL');
});

kernelTest(title('hash and sticky: losing one uplink moves only its own flows'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  programs.setPolicy(policy(ways, { groups: [both('sticky')] }));
  const owners = async (): Promise<string[]> => {
    const all: string[] = [];
    for (let host = 1; host <= 60; host++)
      all.push((await app.one({ op: 'decide', to: `203.0.113.${host}`, port: 80 })).device);
    return all;
  };
  const first = await owners();
  t.deepEqual(await owners(), first, 'a destination keeps its uplink');
  t.is(new Set(first).size, 2);
  programs.setUsable(0, false);
  t.true((await owners()).every((d) => d === 'up1'));
  programs.setUsable(0, true);
  t.deepEqual(await owners(), first, 'and has it again afterwards');
  programs.setPolicy(policy(ways, { groups: [both('hash')] }));
  const hashed = await app.ask({ op: 'decide', to: SERVER4, port: 80, times: 200 });
  const up0 = hashed.filter((a) => a.device === 'up0').length;
  t.true(up0 > 60 && up0 < 140, `sockets are flows of their own: ${up0} of 200`);
  await app.process.stop('SIGKILL');
});

kernelTest(title('measured weights follow what uplinks carry'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  const uplinks = [0, 1].map((i) => ways.uplink(i, { name: `measured${i}` }));
  const auto = [0, 1].map((uplink) => ({ uplink, weight: 'auto' as const }));
  programs.setPolicy(policy(ways, { uplinks, groups: [{ name: 'auto', balance: 'round_robin', members: auto }] }));
  const share = async (): Promise<number> =>
    (await app.sum({ op: 'decide', to: SERVER4, port: 80, times: 100 }))['up0']!;
  t.is(await share(), 50);
  programs.measured([
    { rate: 0, capacity: 0, peak: 3_000_000 },
    { rate: 0, capacity: 0, peak: 1_000_000 },
  ]);
  t.is(await share(), 75);
  await app.process.stop('SIGKILL');
});

// ---- DNS

const RESOLVERS = ['198.51.100.53', '2001:db8:53::1'].map(addr);

kernelTest(
  title('queries go to the resolver of the uplink, and answers come from the one that was asked'),
  async (t) => {
    const { ways, programs } = lab();
    const app = await ways.app();
    const uplinks = [ways.uplink(0, { dns: RESOLVERS }), ways.uplink(1)];
    programs.setPolicy(policy(ways, { uplinks, groups: [both('failover')] }));
    for (const how of [{ tcp: true }, { connected: true }, {}]) {
      for (const to of ['127.0.0.53', '192.0.2.53', '203.0.113.1']) {
        const said = await app.one({ op: 'query', to, port: 53, ...how });
        t.like(said, { answer: '198.51.100.53', peer: to, port: 53 }, JSON.stringify({ how, said }));
      }
      for (const to of ['::1', '2001:db8:1::1']) {
        const said = await app.one({ op: 'query', to, port: 53, aaaa: true, ...how });
        t.like(said, { answer: '2001:db8:53::1', peer: to, port: 53 }, JSON.stringify({ how, said }));
      }
      const mapped = await app.one({ op: 'query', to: '::ffff:192.0.2.53', port: 53, v6: true, ...how });
      t.like(mapped, { answer: '198.51.100.53', peer: '::ffff:192.0.2.53' }, JSON.stringify({ how, mapped }));
    }
    t.true(programs.counters().uplinks[0]!.dns >= 18);
    // Without resolvers of its own, an uplink carries the query to the one that was asked.
    programs.setPolicy(policy(ways, { uplinks, groups: [{ name: 'g', balance: 'failover', members: [member(1)] }] }));
    t.like(await app.one({ op: 'query', to: '192.0.2.53', port: 53, connected: true }), {
      answer: '192.0.2.53',
      device: 'up1',
    });
    await app.process.stop('SIGKILL');
  },
);

kernelTest(
  title('getent and dig are answered by the uplink of their app, with a stub as their resolver'),
  async (t) => {
    const { ways, programs } = lab();
    const uplinks = [
      ways.uplink(0, { dns: [addr('198.51.100.10')] }),
      ways.uplink(1, { dns: [addr('198.51.100.11')] }),
    ];
    const file = join(ways.lab.dir, 'resolv.conf');
    writeFileSync(file, 'nameserver 127.0.0.53\n');
    const run = async (command: string): Promise<string> => {
      const inner = `mount --bind ${file} /etc/resolv.conf && exec ${command}`;
      const script = `echo $$ > ${ways.cgroup}/cgroup.procs && exec unshare --mount sh -c "$1"`;
      return ways.lab.ok(ways.host, 'sh', ['-c', script, 'sh', inner]);
    };
    for (const only of [0, 1]) {
      programs.setPolicy(
        policy(ways, { uplinks, groups: [{ name: 'g', balance: 'failover', members: [member(only)] }] }),
      );
      const expected = `198.51.100.1${only}`;
      t.regex(await run('getent ahostsv4 name.test'), new RegExp(`^${expected} +STREAM`));
      for (const how of ['', '+tcp']) {
        t.is((await run(`dig +short +tries=1 ${how} name.test`)).trim(), expected);
        t.is((await run(`dig +short +tries=1 ${how} @192.0.2.53 name.test`)).trim(), expected);
      }
    }
  },
);

kernelTest(
  title('with rules by domain queries go to the forwarder of their class, as long as it is alive'),
  async (t) => {
    const { ways, programs } = lab();
    const app = await ways.app();
    const uplinks = [ways.uplink(0, { dns: RESOLVERS }), ways.uplink(1)];
    const rules = [rule({ domains: ['example.org'], ports: [port(443)] }, { kind: 'group', group: 1 }), rule({})];
    const groups = [both('failover'), { name: 'one', balance: 'failover', members: [member(1)] } as const];
    let told = 0;
    programs.onDnsClasses = () => told++;
    programs.setPolicy(policy(ways, { uplinks, rules, groups }));
    t.is(told, 1);
    const [dnsClass, ...others] = programs.dnsClasses();
    t.deepEqual([dnsClass?.rules, others.length], [[0, 1], 0]);
    // A forwarder of nothing but a fixed answer, in the app's namespace and outside its cgroup.
    const forwarder = `
import socket, threading
def open(family, own):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind((own, 5300))
    return s
def run(s, answer):
    while True:
        q, peer = s.recvfrom(600)
        s.sendto(q[:2] + b"\\x81\\x80" + q[4:6] + b"\\0\\1" + bytes(4) + q[12:] + b"\\xc0\\x0c" + q[-4:] + bytes(4) + len(answer).to_bytes(2, "big") + answer, peer)
v6, v4 = open(socket.AF_INET6, "::1"), open(socket.AF_INET, "127.0.0.1")
threading.Thread(target=run, args=(v6, bytes(15) + b"\\x09"), daemon=True).start()
print("ready", flush=True)
run(v4, b"\\x09\\x09\\x09\\x09")
`;
    await ways.lab.start(ways.host, 'python3', ['-c', forwarder]).until(/ready/);
    programs.setForwarder(dnsClass!.id, 5300);
    const query = (to: string, how: Readonly<Record<string, unknown>> = {}): ReturnType<WaysApp['one']> =>
      app.one({ op: 'query', to, port: 53, ...how });
    t.is((await query('127.0.0.53')).answer, '198.51.100.53', 'no heartbeat yet');
    programs.heartbeat();
    for (const how of [{ connected: true }, {}]) {
      t.like(await query('127.0.0.53', how), { answer: '9.9.9.9', peer: '127.0.0.53', device: '' });
      t.like(await query('192.0.2.53', how), { answer: '9.9.9.9', peer: '192.0.2.53', device: '' });
      t.like(await query('2001:db8:1::1', { ...how, aaaa: true }), { answer: '::9', peer: '2001:db8:1::1' });
    }
    t.is(programs.counters().forwarded, 6);
    programs.heartbeat(process.hrtime.bigint() - 3_100_000_000n);
    t.is((await query('127.0.0.53')).answer, '198.51.100.53', 'it has been silent for too long');
    // What it learned counts for the flow that follows.
    programs.learn(addr('203.0.113.20'), ['www.example.org']);
    t.is((await app.one({ op: 'decide', to: '203.0.113.20', port: 443, tcp: true })).device, 'up1');
    t.is((await app.one({ op: 'decide', to: '203.0.113.20', port: 80, tcp: true })).device, 'up0');
    t.is((await app.one({ op: 'decide', to: '203.0.113.21', port: 443, tcp: true })).device, 'up0');
    programs.learn(addr('203.0.113.20'), []);
    t.is((await app.one({ op: 'decide', to: '203.0.113.20', port: 443, tcp: true })).device, 'up0');
    programs.setForwarder(dnsClass!.id, 0);
    t.is((await query('192.0.2.53')).answer, '198.51.100.53');
    programs.onDnsClasses = () => {};
    await app.process.stop('SIGKILL');
  },
);

// ---- Replacing and removing

/** Connects without a pause until told to stop. @returns how many there were, all of them bound */
async function connectsUntil(app: WaysApp, isOver: () => boolean, atLeast = 0): Promise<number> {
  let connects = 0;
  while (!isOver() || connects < atLeast) {
    const request = { op: 'decide', to: SERVER4, port: 7000, tcp: true, times: 100 };
    const { up0 = 0, up1 = 0, ...wrong } = await app.sum(request);
    connects += up0 + up1;
    if (up0 + up1 < request.times) throw new Error(`wrong: ${JSON.stringify(wrong)}`);
  }
  return connects;
}

kernelTest(
  title('programs and tables are replaced fifty times during five thousand connects, and none is unbound or fails'),
  async (t) => {
    const { ways, programs } = lab();
    const app = await ways.app();
    programs.setPolicy(policy(ways, {}));
    let isOver = false;
    const load = connectsUntil(app, () => isOver, 5000);
    for (let i = 0; i < 50; i++) {
      programs.setPolicy(policy(ways, { groups: [both(i % 2 === 0 ? 'round_robin' : 'random', 1 + (i % 3), 1)] }));
      await programs.replace();
    }
    isOver = true;
    const connects = await load;
    t.true(connects >= 5000);
    t.log(`${connects} connects`);
    await app.process.stop('SIGKILL');
  },
);

kernelTest(
  title('a generation that is let go leaves no maps behind, and the next owner adopts what is attached'),
  async (t) => {
    const { ways, programs } = lab();
    const app = await ways.app();
    const maps = async (): Promise<number> => (await mapsOf(ways)).filter((id) => !mapsOfOthers.includes(id)).length;
    programs.setPolicy(policy(ways, {}));
    programs.setPolicy(policy(ways, {}));
    await ways.lab.eventually('old generations are freed', async () => (await maps()) <= 15 + 3 * 4);
    const few = await maps();
    for (let i = 0; i < 6; i++) programs.setPolicy(policy(ways, {}));
    await ways.lab.eventually('old generations are freed again', async () => (await maps()) <= few);
    // Another daemon: the old policy holds until it has one of its own.
    const next = await ways.load();
    t.not((await app.one({ op: 'decide', to: SERVER4, port: 80 })).device, '');
    const uplinks = [ways.uplink(0, { name: 'other' }), ways.uplink(1)];
    next.setPolicy(policy(ways, { uplinks, rules: [rule({}, { kind: 'reject' })] }));
    await next.attach();
    t.is((await app.one({ op: 'decide', to: SERVER4, port: 80 })).error, 'EACCES');
    programs.close();
    shared.programs = next;
    await app.process.stop('SIGKILL');
  },
);

kernelTest(title('another layout of the maps takes over the links of the old one, without a gap'), async (t) => {
  const { ways, programs } = lab();
  const app = await ways.app();
  programs.setPolicy(policy(ways, {}));
  const links = async (version: string): Promise<string[]> =>
    (await ways.lab.host('ls', [join(ways.pinDir, version)])).split('\n').filter((l) => l.startsWith('link_'));
  await ways.lab.host('mv', [join(ways.pinDir, LAYOUT), join(ways.pinDir, 'v0')]);
  const before = await links('v0');
  let isOver = false;
  const connects = connectsUntil(app, () => isOver);
  const next = await ways.load();
  next.setPolicy(policy(ways, {}));
  await next.attach();
  isOver = true;
  await connects;
  t.false(existsSync(join(ways.pinDir, 'v0')));
  t.deepEqual(await links(LAYOUT), before);
  programs.close();
  shared.programs = next;
  await app.process.stop('SIGKILL');
});

kernelTest(
  title('after SIGKILL of its owner the policy stays; remove leaves no program, map, link, mount or folder'),
  async (t) => {
    const ways = new TwoWays();
    t.teardown(() => ways.close());
    await ways.build();
    const owner = `
    import { Programs } from '${new URL('../../../router/kernel/programs.js', import.meta.url)}';
    const programs = await Programs.load(JSON.parse(process.argv[1], (k, v) => (k === 'netns' ? BigInt(v) : v)));
    programs.setPolicy({ rules: [{ name: '', match: ${JSON.stringify(rule({}).match)}, action: { kind: 'reject' }, onFailure: 'reject' }],
      groups: [], uplinks: [], vrfs: [], isStrict: false, ownAddresses: [] });
    await programs.attach();
    console.log('attached');
    setInterval(() => {}, 1000);
  `;
    const options = JSON.stringify({ pinDir: ways.pinDir, cgroup: ways.cgroup, netns: String(ways.cookie) });
    const child = ways.lab.start(ways.host, process.execPath, ['--input-type=module', '-e', owner, options]);
    await child.until(/attached/);
    const app = await ways.app();
    await child.stop('SIGKILL');
    t.is((await app.one({ op: 'decide', to: SERVER4, port: 80 })).error, 'EACCES');
    const show = async (what: string): Promise<string> =>
      ways.lab.host('bpftool', [
        '-j',
        what,
        'show',
        'pinned',
        join(ways.pinDir, LAYOUT, what === 'map' ? 'mls_words' : 'link_mls_connect4'),
      ]);
    const map = (JSON.parse(await show('map')) as { id: number }).id;
    const link = JSON.parse(await show('link')) as { id: number; prog_id: number };
    t.is(await Programs.remove(ways.pinDir), 0);
    t.is((await app.one({ op: 'decide', to: SERVER4, port: 80 })).error, undefined);
    t.false(existsSync(ways.pinDir));
    for (const [what, id] of [
      ['map', map],
      ['link', link.id],
      ['prog', link.prog_id],
    ] as const)
      await t.throwsAsync(ways.lab.host('bpftool', [what, 'show', 'id', String(id)]), undefined, `${what} ${id}`);
    t.is(await Programs.remove(ways.pinDir), 0, 'and once more');
  },
);

kernelTest(title("a refusal of the kernel is told with the verifier's log"), async (t) => {
  const { ways } = lab();
  const dir = join(ways.lab.dir, 'objects');
  mkdirSync(dir);
  const bad = `
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
const volatile __u32 can_set_retval = 0;
SEC("cgroup/connect4") int mls_connect4(struct bpf_sock_addr *c) { return *(int *)(long)(c->user_port + can_set_retval); }
char _license[] SEC("license") = "MIT";
`;
  writeFileSync(join(dir, 'bad.c'), bad);
  const multiarch = (await ways.lab.host('cc', ['-print-multiarch'])).trim();
  for (const name of ['policy.bpf.o', 'policy-old.bpf.o'])
    await ways.lab.host('clang', [
      '-O2',
      '-g',
      '-target',
      'bpf',
      `-I/usr/include/${multiarch}`,
      '-c',
      '-o',
      join(dir, name),
      join(dir, 'bad.c'),
    ]);
  const pins = join(ways.lab.dir, 'refused');
  const { stdout, status } = await ways.lab.run(ways.host, join(OBJECTS, 'mlshim-bpf'), ['load', dir, pins]);
  const said = JSON.parse(stdout) as { error: string; log: string };
  t.is(status, 1);
  t.is(said.error, 'the kernel refuses the programs');
  t.regex(said.log, /invalid mem access 'scalar'|invalid mem access 'inv'/);
  t.is(await Programs.remove(pins), 0);
});
