/**
 * A program for bgp-bird.test.ts, run as root inside a network namespace of its own: joins two interfaces by a cable,
 * starts BIRD on one end and our speaker on the other, over link-local addresses only, and prints what each side learned.
 * Argument: the form of our link-local next hop.
 */
import { eachRoute, Speaker } from '../../../bgp/speaker.ts';
import type { LinkLocalForm } from '../../../bgp/wire/attribute/mp-reach.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { Bird, run, until } from './bird.ts';
import { driveByClock, hostTransport } from './loopback.ts';

const form = process.argv[2] as LinkLocalForm;
for (const command of [
  'link set lo up',
  'link add bird0 type veth peer name us0',
  'link set bird0 addrgenmode none',
  'link set us0 addrgenmode none',
  'addr add fe80::1/64 dev bird0 nodad',
  'addr add fe80::2/64 dev us0 nodad',
  'link set bird0 up',
  'link set us0 up',
]) {
  const out = await run('ip', command.split(' '));
  if (out !== '') throw new Error(`ip ${command}: ${out}`);
}

const bird = new Bird();
const fib: Record<string, string> = {};
const transport = hostTransport('fe80::2', 1790, 'us0');
const speaker = new Speaker({
  asn: 4242420001,
  routerId: Addr.parse('10.0.0.1')!,
  clock: systemClock,
  random: Math.random,
  transport,
  sink: eachRoute(({ prefix, way }) => {
    fib[prefix.toString()] = (way?.nextHops ?? []).map((h) => `${h.address} via ${h.link}`).join();
  }),
  resolver: { isUp: () => true, subscribe: () => {} },
  networks: [{ prefix: Prefix.parse('172.20.229.0/27')! }, { prefix: Prefix.parse('fd42:beef::/48')! }],
});
speaker.addPeer({
  name: 'bird',
  link: 'us0',
  address: Addr.parse('fe80::1')!,
  localAddress: Addr.parse('fe80::2')!,
  port: 1791,
  asn: 4242420002,
  import: 'accept-all',
  export: 'accept-all',
  connectRetryMs: 200,
  linkLocalForm: form,
});
const stop = driveByClock(speaker);
try {
  speaker.start();
  await transport.listening();
  await bird.start(`
router id 10.0.0.2;
protocol device {}
protocol static s4 { ipv4; route 172.20.1.0/24 blackhole; }
protocol static s6 { ipv6; route fd42:1::/48 blackhole; }
protocol bgp peer1 {
  local fe80::1 port 1791 as 4242420002;
  neighbor fe80::2%'bird0' port 1790 as 4242420001;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };
  ipv6 { import all; export where source = RTS_STATIC; };
}
`);
  await until(() => Object.keys(fib).length === 2, 'routes of bird');
  let shown = '';
  await until(async () => {
    shown = await bird.ask('show route protocol peer1 all');
    return shown.includes('fd42:beef::/48') && shown.includes('172.20.229.0/27');
  }, 'our routes in bird');
  const theirs = shown.match(/(172\.20\.229\.0\/27|fd42:beef::\/48)|via \S+ on \S+/g);
  process.stdout.write(JSON.stringify({ fib, theirs, extendedNextHop: speaker.snapshot()[0]!.extendedNextHop }));
} finally {
  speaker.shutdown();
  stop();
  await transport.close();
  await bird.remove();
}
