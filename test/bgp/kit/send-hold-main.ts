/**
 * A program for bgp-timers.test.ts, run as root inside a network namespace of its own, where TCP buffers little: of two
 * BIRDs one is stopped in the middle of a session, so that it reads nothing, and goes on later. Prints what we saw.
 */
import type { SpeakerEvent } from '../../../bgp/speaker.ts';
import { Addr } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { Bird, run, until } from './bird.ts';
import { Node, OUR_AS, THEIR_AS } from './node.ts';

const SEND_HOLD_MS = 2000;
const OURS = 1790;
/** More octets than wait in the kernel on both sides. */
const MANY = Array.from({ length: 20_000 }, (_, i) => `fd42:${(i + 1).toString(16)}::/48`);

const config = (host: number): string => `
router id 10.0.0.${host};
protocol device {}
ipv6 table hops;
protocol static { ipv6 { table hops; }; route fd00:9::1/128 via "lo"; }
protocol bgp peer1 {
  local 127.0.0.${host} port ${OURS + host} as ${THEIR_AS}; neighbor 127.0.0.1 port ${OURS} as ${OUR_AS};
  multihop; connect retry time 1; connect delay time 1; error wait time 1, 2; hold time 240;
  ipv6 { import all; export none; igp table hops; };
}
`;

for (const words of [
  // Segments of the usual size: with loopback's, a window this small would stand still between probes.
  ['ip', 'link', 'set', 'lo', 'mtu', '1500', 'up'],
  ['sysctl', '-q', '-w', 'net.ipv4.tcp_rmem=4096 16384 16384'],
  ['sysctl', '-q', '-w', 'net.ipv4.tcp_wmem=4096 16384 16384'],
] as const) {
  const out = await run(words[0], words.slice(1));
  if (out !== '') throw new Error(`${words.join(' ')}: ${out}`);
}
const [stopped, reading] = [new Bird(), new Bird()];
const errors: string[] = [];
let began: number | undefined;
const onEvent = (e: SpeakerEvent): void => {
  if (e.kind !== 'state') return;
  if (e.from === 'Established') errors.push(`${e.peer}: ${e.why}`);
  if (e.to !== 'Established' || e.peer !== 'stopped' || began !== undefined) return;
  // Before a route is on its way.
  process.kill(stopped.pid, 'SIGSTOP');
  began = systemClock.now();
};
const common = { sendHoldMs: SEND_HOLD_MS, holdTimeS: 240 };
const node = new Node({
  port: OURS,
  networks: MANY,
  speaker: { onEvent },
  peers: [
    { name: 'stopped', address: Addr.parse('127.0.0.2')!, port: OURS + 2, ...common },
    { name: 'reading', address: Addr.parse('127.0.0.3')!, port: OURS + 3, ...common },
  ],
});
const count = async (bird: Bird): Promise<number> =>
  Number(/(\d+) of \d+ routes/.exec(await bird.ask('show route count table master6'))?.[1] ?? 0);
try {
  await node.start();
  await stopped.start(config(2));
  await reading.start(config(3));
  const isUp = (name: string): boolean => node.session(name)!.state === 'Established';
  await until(() => node.session('stopped')!.timersMs['sendHold'] !== undefined, 'a full window');
  await until(async () => (await count(reading)) === MANY.length, 'all routes at the one that reads');
  await until(() => errors.length > 0, 'the end of the one that does not');
  const heldMs = systemClock.now() - began!;
  process.kill(stopped.pid, 'SIGCONT');
  await until(async () => isUp('stopped') && (await count(stopped)) === MANY.length, 'all routes at the other one');
  const [first, second] = ['stopped', 'reading'].map((name) => node.session(name)!.establishments);
  process.stdout.write(JSON.stringify({ errors, heldMs, establishments: { stopped: first, reading: second } }));
} finally {
  await node.stop();
  await stopped.remove();
  await reading.remove();
}
