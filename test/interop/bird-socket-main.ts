/**
 * A program for bird-socket.test.ts, run as root inside a network namespace of its own: one BIRD announces the same routes
 * to a second BIRD and to our speaker, over link-local addresses. The second BIRD and our socket are then asked the same
 * commands, and both replies are printed as JSON, as they came over the sockets.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { eachRoute, Speaker } from '../../bgp/speaker.ts';
import { BirdAnswers } from '../../router/app/bird-answers.ts';
import { BirdSocket } from '../../router/app/bird-socket.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { systemClock, wallClockMs } from '../../router/lib/clock.ts';
import { Bird, run, until } from '../bgp/kit/bird.ts';
import { driveByClock, hostTransport } from '../bgp/kit/loopback.ts';

const COMMANDS = JSON.parse(process.argv[2]!) as string[];
/** Asked while the routes of a peer that is away are kept, and when they are the last choice. */
const STALE_COMMANDS = JSON.parse(process.argv[3]!) as string[];
const OWN = ['172.20.229.0/27', 'fd42:beef::/48'].map((p) => Prefix.parse(p)!);

/** Holds a namespace for the announcing BIRD; ends with this program. */
const holder = spawn('unshare', ['-n', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] });
const inside = ['nsenter', '-t', String(holder.pid), '-n'];
holder.stdin.write('ready\n');
await once(holder.stdout, 'data'); // the program runs, so the namespace is its own

const ip = async (words: string, prefix: readonly string[] = []): Promise<void> => {
  const [program, ...args] = [...prefix, 'ip', ...words.split(' ')] as [string, ...string[]];
  const out = await run(program, args);
  if (out !== '') throw new Error(`ip ${words}: ${out}`);
};
await ip('link set lo up');
for (const n of [0, 1]) {
  await ip(`link add x${n} type veth peer name tun${n}`);
  await ip(`link set x${n} netns ${holder.pid}`);
  for (const [name, address, prefix] of [
    [`x${n}`, 'fe80::2', inside],
    [`tun${n}`, 'fe80::1', []],
  ] as const) {
    await ip(`link set ${name} addrgenmode none`, prefix);
    await ip(`addr add ${address}/64 dev ${name} nodad`, prefix);
    await ip(`link set ${name} up`, prefix);
  }
}

const SESSION = `
  connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 30; direct;`;
const RESTARTING = `
  graceful restart on; graceful restart time 4; long lived graceful restart on; long lived stale time 60;`;

const source = new Bird(inside);
const reference = new Bird();
const transport = hostTransport('fe80::1', 1790, 'tun1');
const speaker = new Speaker({
  asn: 4242420001,
  routerId: Addr.parse('10.0.0.1')!,
  clock: systemClock,
  random: Math.random,
  transport,
  sink: eachRoute(() => undefined),
  resolver: { isUp: () => true, subscribe: () => {} },
  networks: OWN.map((prefix) => ({ prefix })),
});
speaker.addPeer({
  name: 'dn42_x',
  link: 'tun1',
  address: Addr.parse('fe80::2')!,
  localAddress: Addr.parse('fe80::1')!,
  port: 1791,
  asn: 4242420002,
  holdTimeS: 30,
  extendedMessages: false,
  import: [
    { match: { prefixes: [{ prefix: Prefix.parse('172.20.3.0/24')! }] }, action: 'reject' },
    { action: 'accept' },
  ],
  export: [{ match: { prefixes: OWN.map((prefix) => ({ prefix })) }, action: 'accept' }],
  connectRetryMs: 200,
});
const stopDriving = driveByClock(speaker);
const answers = new BirdAnswers({
  speaker,
  factsOf: () => ({
    description: 'the other one',
    localAs: 4242420001,
    port: 1791,
    isMultihop: false,
    isPassive: false,
    isReflectorClient: false,
    importFilter: '(unnamed)',
    exportFilter: '(unnamed)',
    importLimit: undefined,
    families: ['ipv4', 'ipv6'],
  }),
  networks: () => OWN,
  wallClockMs,
  startedMs: wallClockMs(),
  reconfiguredMs: wallClockMs,
});
const socket = new BirdSocket({
  answer: async (command, from) => answers.answer(command, from),
  configure: async () => [[], [8007, 'Access denied']],
});

const EXPORTER = '/usr/bin/prometheus-bird-exporter';

/** What the exporter of the distribution makes of our socket; undefined where it is not installed. */
async function scraped(path: string): Promise<string | undefined> {
  if (!existsSync(EXPORTER)) return undefined;
  const args = ['-bird.v2', '-bird.socket', path, '-web.listen-address', '127.0.0.1:9324'];
  const exporter = spawn(EXPORTER, args, { stdio: 'ignore' });
  try {
    let text = '';
    await until(async () => {
      const response = await fetch('http://127.0.0.1:9324/metrics').catch(() => undefined);
      text = (await response?.text()) ?? '';
      return text !== '';
    }, 'the exporter');
    return text;
  } finally {
    exporter.kill();
  }
}

/** The replies to commands sent one after another over one connection. */
async function conversation(path: string, commands: readonly string[]): Promise<Record<string, string>> {
  const client = createConnection(path);
  const out: Record<string, string> = {};
  const waiting = ['greeting', ...commands];
  let reply = '';
  let rest = '';
  for await (const octets of client as AsyncIterable<Buffer>) {
    const lines = (rest + octets.toString('latin1')).split('\n');
    rest = lines.pop()!;
    for (const line of lines) {
      reply += `${line}\n`;
      if (!/^\d{4} /.test(line)) continue;
      out[waiting.shift()!] = reply;
      reply = '';
      if (waiting[0] !== undefined) client.write(`${waiting[0]}\n`);
    }
    if (waiting.length === 0) break;
  }
  return out;
}

try {
  await transport.listening();
  await socket.listen(join(reference.dir, 'ours'));
  speaker.start();
  await reference.start(`
router id 10.0.0.1;
timeformat protocol iso long;
timeformat route iso long;
protocol device {}
protocol static networks4 { ipv4; route ${OWN[0]} unreachable; }
protocol static networks6 { ipv6; route ${OWN[1]} unreachable; }
protocol bgp dn42_x {
  description "the other one";
  local fe80::1 port 1789 as 4242420001;
  neighbor fe80::2%'tun0' port 1791 as 4242420002; ${SESSION}
  ipv4 { import keep filtered on; import filter { if net = 172.20.3.0/24 then reject; accept; };
    export where source = RTS_STATIC; extended next hop on; };
  ipv6 { import keep filtered on; import filter { accept; }; export where source = RTS_STATIC; };
}
`);
  const channels = `
  ipv4 { import none; export where source = RTS_STATIC; extended next hop on; };
  ipv6 { import none; export where source = RTS_STATIC; };`;
  await source.start(`
router id 10.0.0.2;
protocol device {}
protocol static s4 { ipv4;
  route 172.20.1.0/24 blackhole { bgp_community.add((64511,5)); bgp_community.add((65535,65281)); };
  route 172.20.2.0/25 blackhole { bgp_large_community.add((4242420002,1,2)); bgp_med = 50; };
  route 172.20.2.128/25 blackhole { bgp_ext_community.add((rt,64512,10)); bgp_ext_community.add((generic,0x43000000,1)); };
  route 172.20.3.0/24 blackhole { bgp_origin = ORIGIN_EGP; };
  route 172.20.4.0/24 blackhole { bgp_origin = ORIGIN_INCOMPLETE; };
  route 172.20.5.0/24 blackhole { bgp_community.add((65535,7)); };
  route 10.0.0.0/8 blackhole { bgp_path.prepend(4242420009); bgp_path.prepend(4242420010); };
}
protocol static s6 { ipv6; route fd42:1::/48 blackhole { bgp_path.prepend(4242420009); }; }
protocol bgp to_bird { local fe80::2 port 1791 as 4242420002;
  neighbor fe80::1%'x0' port 1789 as 4242420001; ${SESSION} ${RESTARTING} ${channels} }
protocol bgp to_us { local fe80::2 port 1791 as 4242420002;
  neighbor fe80::1%'x1' port 1790 as 4242420001; ${SESSION} ${RESTARTING} ${channels} }
`);
  await until(() => speaker.totals.ipv4 === 7 && speaker.totals.ipv6 === 2, 'our routes');
  let shown = '';
  await until(async () => {
    shown = await reference.ask('show route count');
    return /7 of \d routes/.test(shown) && shown.includes('2 of 2 routes');
  }, 'routes of the reference').catch(async (e: Error) => {
    throw new Error(`${e.message}: ${shown}${await reference.ask('show protocols')}`);
  });
  await until(() => {
    const [view] = speaker.snapshot();
    return view!.routes.ipv4.advertised === 1 && view!.routes.ipv6.advertised === 1;
  }, 'our announcements');
  const both = async (commands: readonly string[]) => ({
    bird: await conversation(join(reference.dir, 'ctl'), commands),
    ours: await conversation(join(reference.dir, 'ours'), commands),
  });
  const metrics = await scraped(join(reference.dir, 'ours'));
  const told = await both(COMMANDS);
  // The commands ended with sessions that were restarted: what follows needs them again.
  await until(() => speaker.totals.ipv4 === 7 && speaker.totals.ipv6 === 2, 'our routes again');
  await until(async () => /7 of \d routes/.test(await reference.ask('show route count')), 'its routes again');
  await until(async () => !(await reference.ask('show protocols all dn42_x')).includes('restart active'), 'its peer');
  await until(() => speaker.snapshot()[0]!.restart.length === 0, 'the end of the table');
  await source.kill();
  const isIn = (phase: 'away' | 'lingering', word: string) => async (): Promise<boolean> => {
    const { restart } = speaker.snapshot()[0]!;
    if (restart.length !== 2 || restart.some((r) => r.phase !== phase)) return false;
    return (await reference.ask('show protocols all dn42_x')).split(`GR:    ${word}`).length === 3;
  };
  await until(isIn('away', 'Regular'), 'a peer that restarts');
  const restarting = await both(STALE_COMMANDS);
  await until(isIn('lingering', 'Long-lived'), 'a peer that is away for long');
  const lingering = await both(STALE_COMMANDS);
  process.stdout.write(JSON.stringify({ told, metrics, restarting, lingering }));
} finally {
  speaker.shutdown();
  stopDriving();
  socket.close();
  await transport.close();
  await source.remove();
  await reference.remove();
  holder.stdin.end();
}
