/**
 * A program for bgp-vpn.test.ts, run as root inside a network namespace of its own: our VPN room and one VRF against
 * GoBGP, over one session with both VPN families. Prints what the VRF learned and what GoBGP shows.
 */
import { PipeTransport } from '../../../bgp/pipe.ts';
import { eachRoute, Speaker } from '../../../bgp/speaker.ts';
import { parseDistinguisher, parseRouteTarget } from '../../../bgp/vpn/route-distinguisher.ts';
import { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { run, until } from './bird.ts';
import { Gobgp, gobgpConfig } from './gobgp.ts';
import { driveByClock, hostTransport } from './loopback.ts';

const US = '10.0.0.1';
const THEM = '10.0.0.4';
const target = parseRouteTarget('65001:100')!;

await run('ip', ['link', 'set', 'lo', 'up']);
for (const a of [US, THEM]) await run('ip', ['addr', 'add', `${a}/32`, 'dev', 'lo']);

const room = new VpnRoom({
  localAs: 65001,
  vrfs: [{ name: 'red', rd: parseDistinguisher('65001:1')!, importTargets: [target], exportTargets: [target] }],
  wake: () => main.onActivity(),
});
const transport = hostTransport(US, 1791);
const common = { asn: 65001, routerId: Addr.parse(US)!, clock: systemClock, random: Math.random } as const;
const resolver = { isUp: () => true, subscribe: () => undefined };
const main = new Speaker({ ...common, transport, resolver, vpn: room, sink: { apply: () => undefined } });
main.addPeer({
  name: 'gobgp',
  link: 'lo',
  address: Addr.parse(THEM)!,
  localAddress: Addr.parse(US)!,
  port: 1794,
  asn: 65002,
  families: ['ipv4', 'vpnv4', 'vpnv6'],
  import: 'accept-all',
  export: 'accept-all',
  multihop: true,
  connectRetryMs: 300,
});

const fib: Record<string, string> = {};
const red = new Speaker({
  ...common,
  resolver,
  transport: new PipeTransport(() => room.endOf('red'), setImmediate),
  sink: eachRoute(({ prefix, way }) => {
    if (way === undefined) delete fib[String(prefix)];
    else fib[String(prefix)] = way.nextHops.map((h) => String(h.address)).join();
  }),
  networks: [{ prefix: Prefix.parse('192.168.1.0/24')! }, { prefix: Prefix.parse('fd01::/48')! }],
});
red.addPeer({
  name: 'vpn',
  link: 'vpn',
  address: Addr.parse('::1')!,
  asn: 65001,
  addPath: 'receive',
  multihop: true,
  nextHopSelf: true,
  nextHop4: Addr.parse('10.1.0.1')!,
  nextHop6: Addr.parse('fd00::1')!,
});
const stops = [main, red].map(driveByClock);

const gobgp = new Gobgp({ host: THEM, port: 50051 });
try {
  main.start();
  red.start();
  await transport.listening();
  const families = ['ipv4-unicast', 'l3vpn-ipv4-unicast', 'l3vpn-ipv6-unicast'];
  const own = { asn: 65002, id: THEM, address: THEM, port: 1794 };
  await gobgp.start(gobgpConfig(own, [{ address: US, asn: 65001, port: 1791, families }]));
  const route = (prefix: string, label: number, rt: string): string =>
    `global rib add ${prefix} label ${label} rd 65002:7 rt ${rt}`;
  for (const command of [
    `${route('10.9.0.0/24', 3, '65001:100')} nexthop 10.1.0.4 -a vpnv4`,
    `${route('10.8.0.0/24', 3, '65001:999')} nexthop 10.1.0.4 -a vpnv4`,
    `${route('10.7.0.0/24', 100, '65001:100')} nexthop 10.1.0.4 -a vpnv4`,
    `${route('fd09::/64', 3, '65001:100')} nexthop fd00::4 -a vpnv6`,
  ]) {
    const out = await gobgp.ask(command);
    if (out !== '') throw new Error(`gobgp ${command}: ${out}`);
  }
  await until(() => Object.keys(fib).length === 2, 'VPN routes of GoBGP in the VRF');
  let v4 = '';
  let v6 = '';
  await until(async () => {
    v4 = await gobgp.ask('neighbor 10.0.0.1 adj-in -a vpnv4');
    v6 = await gobgp.ask('neighbor 10.0.0.1 adj-in -a vpnv6');
    return v4.includes('192.168.1.0/24') && v6.includes('fd01::/48');
  }, 'our VPN routes in GoBGP');
  const learned = { ...fib };
  await gobgp.ask('global rib del 10.9.0.0/24 label 3 rd 65002:7 -a vpnv4');
  await until(() => fib['10.9.0.0/24'] === undefined, 'withdrawal by GoBGP');
  process.stdout.write(JSON.stringify({ learned, labelled: room.labelled, counts: room.counts, v4, v6 }));
} finally {
  main.shutdown();
  red.shutdown();
  for (const stop of stops) stop();
  await transport.close();
  await gobgp.remove();
}
