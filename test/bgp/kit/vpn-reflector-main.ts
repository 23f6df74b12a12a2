/**
 * A program for bgp-vpn.test.ts, run as root inside a network namespace of its own: two bgpds of FRR and GoBGP are clients of
 * our reflector, which has a VRF of its own and a table of next hops, and which restarts in the end. Prints what each of them has.
 */
import { eachRoute, type Restarting, Speaker } from '../../../bgp/speaker.ts';
import { parseDistinguisher, parseRouteTarget } from '../../../bgp/vpn/route-distinguisher.ts';
import { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { roomPeers, roomTransport, VPN_LINK } from '../../../bgp/vpn/vrf-peers.ts';
import { BgpLinks } from '../../../router/app/bgp-links.ts';
import { BY_ROUTING } from '../../../router/app/bgp-peers.ts';
import { RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { systemClock } from '../../../router/lib/clock.ts';
import { run, until } from './bird.ts';
import { Bgpd } from './frr-bgpd.ts';
import { Gobgp, gobgpConfig } from './gobgp.ts';
import { driveByClock, hostTransport } from './loopback.ts';

const AS = 65001;
const US = '10.0.0.1';
const PORT = 1791;
const FRR_A = { address: '10.0.0.2', port: 1792 };
const FRR_B = { address: '10.0.0.3', port: 1793 };
const GOBGP = { address: '10.0.0.4', port: 1794 };
const OUTSIDE = { address: '10.0.0.5', port: 1795 };
const OUTSIDE_AS = 65009;
const target = parseRouteTarget('65001:100')!;

/** What FRR says of the path to a VPN prefix, of what interests here. */
interface Path {
  readonly remoteLabel: number;
  readonly originatorId?: string;
  readonly clusterList?: { readonly list: readonly string[] };
  readonly nexthops: readonly { readonly ip: string }[];
  readonly stale?: boolean;
}

/** Our router: the speaker of VPN sessions, and a VRF with what it has learned. */
class Reflector {
  readonly fib = new Map<string, string>();
  readonly room: VpnRoom;
  readonly main: Speaker;
  readonly red: Speaker;
  settledWith: readonly string[] | undefined;
  readonly #transport = hostTransport(US, PORT, BY_ROUTING);
  readonly #table = new FibWriter();
  readonly #links = new BgpLinks(
    0,
    [{ index: 1, name: 'lo', vrf: 0, mtu: 0, addresses: [] }],
    this.#table,
    () => undefined,
  );
  readonly #stops: (() => void)[];

  constructor(restarting?: Restarting) {
    for (const { address } of [FRR_A, FRR_B, GOBGP, OUTSIDE]) this.setReachable(address, true);
    this.#links.linkState('lo', true);
    const vrf = {
      name: 'red',
      rd: parseDistinguisher('65001:1')!,
      importTargets: [target],
      exportTargets: [target],
    };
    this.room = new VpnRoom({ localAs: AS, vrfs: [vrf], wake: () => this.main.onActivity() });
    const resolver = { isUp: () => true, subscribe: () => undefined };
    const common = { asn: AS, clock: systemClock, random: Math.random, resolver, routerId: Addr.parse(US)! } as const;
    this.main = new Speaker({
      ...common,
      resolver: this.#links,
      transport: this.#transport,
      vpn: this.room,
      sink: { apply: () => undefined },
      gracefulRestart: { restartTimeS: 60 },
      ...(restarting && { restarting }),
    });
    for (const [name, { address, port }] of Object.entries({ a: FRR_A, b: FRR_B, gobgp: GOBGP })) {
      this.main.addPeer({
        ...{ name, port, link: BY_ROUTING, address: Addr.parse(address)!, localAddress: Addr.parse(US)!, asn: AS },
        families: ['ipv4', 'vpnv4', 'vpnv6'],
        routeReflectorClient: true,
        gracefulRestart: true,
        multihop: true,
        connectRetryMs: 300,
      });
    }
    this.main.addPeer({
      ...{ name: 'outside', port: OUTSIDE.port, link: BY_ROUTING, asn: OUTSIDE_AS },
      ...{ address: Addr.parse(OUTSIDE.address)!, localAddress: Addr.parse(US)! },
      families: ['vpnv4'],
      import: 'accept-all',
      // As between the route servers of option C (RFC 4364 §10 (c)).
      export: [{ action: 'accept', set: { nextHop: 'unchanged' } }],
      multihop: true,
      connectRetryMs: 300,
    });
    this.red = new Speaker({
      ...common,
      transport: roomTransport(this.room, 'red', setImmediate),
      sink: {
        ...eachRoute(({ prefix, way }) => {
          if (way === undefined) this.fib.delete(String(prefix));
          else this.fib.set(String(prefix), way.nextHops.map((h) => String(h.address)).join());
        }),
        settled: () => {
          this.settledWith = [...this.fib.keys()].sort();
        },
      },
      networks: [{ prefix: Prefix.parse('192.168.1.0/24')! }],
      ...(restarting && { restarting: { ...restarting, peers: new Set([VPN_LINK]) } }),
    });
    const joining = { asn: AS, imports: true, exports: true };
    const hops = { nextHop4: Addr.parse('10.1.0.1'), nextHop6: Addr.parse('fd00::1') };
    for (const peer of roomPeers([], { ...joining, ...hops })) this.red.addPeer(peer);
    this.#stops = [this.main, this.red].map(driveByClock);
  }

  /** Whether our table has a route to a next hop. */
  setReachable(address: string, isReachable: boolean): void {
    const prefix = Prefix.containing(Addr.parse(address)!, 32)!;
    this.#table.apply([
      { vrf: 0, prefix, source: RouteSource.Static, nextHops: isReachable ? [{ link: 1 }] : undefined },
    ]);
    this.#links.tableChanged();
  }

  async start(): Promise<void> {
    this.main.start();
    this.red.start();
    await this.#transport.listening();
  }

  /** Gone without a word, as a process that is killed. */
  async crash(): Promise<void> {
    this.main.abandon();
    await this.#end();
  }

  async stop(): Promise<void> {
    this.main.shutdown();
    this.red.shutdown();
    await this.#end();
  }

  async #end(): Promise<void> {
    for (const stop of this.#stops) stop();
    await this.#transport.close();
  }
}

/** A bgpd with VPN routes of its own; its label numbers are those of a router with MPLS. */
const frrConfig = (
  at: string,
  routes: readonly string[],
  routes6: readonly string[],
  as = AS,
): string => `route-map TARGET permit 10
 set extcommunity rt 65001:100
router bgp ${as}
 bgp router-id ${at}
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 neighbor ${US} remote-as ${AS}
 neighbor ${US} port ${PORT}
${as === AS ? '' : ` neighbor ${US} ebgp-multihop\n`} neighbor ${US} update-source ${at}
 neighbor ${US} timers connect 1
 neighbor ${US} advertisement-interval 0
 address-family ipv4 vpn
${routes.map((r) => `  network ${r} route-map TARGET`).join('\n')}
  neighbor ${US} activate
 exit-address-family
 address-family ipv6 vpn
${routes6.map((r) => `  network ${r} route-map TARGET`).join('\n')}
  neighbor ${US} activate
 exit-address-family
`;

const VPN_FAMILIES = ['ipv4-unicast', 'l3vpn-ipv4-unicast', 'l3vpn-ipv6-unicast'];

/** The path of a bgpd to a VPN prefix of another one. */
async function pathOf(frr: Bgpd, rd: string, prefix: string): Promise<Path | undefined> {
  const family = prefix.includes(':') ? 'ipv6' : 'ipv4';
  const answer = JSON.parse(await frr.ask(`show bgp ${family} vpn rd ${rd} ${prefix} json`)) as {
    [rd: string]: { paths: Path[] } | undefined;
  };
  return answer[rd]?.paths[0];
}

const inWords = (p: Path): string =>
  [p.nexthops[0]?.ip, `label ${p.remoteLabel}`, p.originatorId, p.clusterList?.list.join(' ')]
    .filter(Boolean)
    .join(', ');

await run('ip', ['link', 'set', 'lo', 'up']);
for (const { address } of [{ address: US }, FRR_A, FRR_B, GOBGP, OUTSIDE])
  await run('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo']);

const a = new Bgpd();
const b = new Bgpd();
const outside = new Bgpd();
const gobgp = new Gobgp({ host: GOBGP.address, port: 50051 });
let us = new Reflector();

/** A path once it is there. */
async function pathAt(frr: Bgpd, rd: string, prefix: string): Promise<string> {
  let path: Path | undefined;
  await until(async () => {
    path = await pathOf(frr, rd, prefix);
    return path !== undefined;
  }, `${prefix} at FRR`);
  return inWords(path!);
}

try {
  await us.start();
  const ofA = ['10.2.0.0/24 rd 65001:2 label 1002', '10.3.0.0/24 rd 65001:2 label 3'];
  await a.start(frrConfig(FRR_A.address, ofA, ['fd02::/64 rd 65001:2 label 1006']), FRR_A);
  await b.start(frrConfig(FRR_B.address, ['10.4.0.0/24 rd 65001:4 label 1004'], []), FRR_B);
  await outside.start(frrConfig(OUTSIDE.address, [], [], OUTSIDE_AS), OUTSIDE);
  await gobgp.start(
    gobgpConfig({ asn: AS, id: GOBGP.address, ...GOBGP }, [
      { address: US, asn: AS, port: PORT, families: VPN_FAMILIES },
    ]),
  );
  await gobgp.ask('global rib add 10.5.0.0/24 label 1005 rd 65001:5 rt 65001:100 nexthop 10.0.0.4 -a vpnv4');
  const atB = {
    labelled: await pathAt(b, '65001:2', '10.2.0.0/24'),
    ipv6: await pathAt(b, '65001:2', 'fd02::/64'),
    ours: await pathAt(b, '65001:1', '192.168.1.0/24'),
    ofGobgp: await pathAt(b, '65001:5', '10.5.0.0/24'),
  };
  const atA = { ofB: await pathAt(a, '65001:4', '10.4.0.0/24') };
  const atOutside = await pathAt(outside, '65001:2', '10.2.0.0/24');
  let atGobgp = '';
  await until(async () => {
    atGobgp = await gobgp.ask('neighbor 10.0.0.1 adj-in -a vpnv4');
    return atGobgp.includes('10.2.0.0/24') && atGobgp.includes('10.4.0.0/24');
  }, 'routes of FRR at GoBGP');
  await until(() => us.fib.size === 1, 'the route without a label in our VRF');
  const learned = Object.fromEntries(us.fib);
  const { counts, labelled } = us.room;

  // No way to where FRR's route leads: the other FRR is not told it, until there is one again.
  const sessions = (): number[] => us.main.snapshot().map((p) => p.establishments);
  const sessionsBefore = sessions().join();
  us.setReachable(FRR_B.address, false);
  await until(async () => (await pathOf(a, '65001:4', '10.4.0.0/24')) === undefined, 'that FRR has lost the route');
  us.setReachable(FRR_B.address, true);
  const backAtA = await pathAt(a, '65001:4', '10.4.0.0/24');
  const wereUp = sessions().join() === sessionsBefore;

  // FRR asks for everything again, and is told it between the marks of RFC 7313.
  const marks = (): number => us.main.snapshot().find((p) => p.name === 'b')!.messages.sent.refresh;
  const marksBefore = marks();
  await b.ask(`clear bgp ipv4 vpn ${US} in`);
  await until(() => marks() === marksBefore + 2, 'the marks of a refresh');

  // Our restart: FRR keeps what it has of us until we are back and have told our tables.
  await us.crash();
  const kept = async (): Promise<Path[]> => {
    const paths = [await pathOf(b, '65001:2', '10.2.0.0/24'), await pathOf(b, '65001:1', '192.168.1.0/24')];
    if (paths.includes(undefined)) throw new Error('FRR has lost a route although we only restart');
    return paths as Path[];
  };
  await until(async () => (await kept()).every((p) => p.stale === true), 'stale routes at FRR');
  us = new Reflector({ keptForwarding: true });
  await us.start();
  await until(async () => (await kept()).every((p) => p.stale !== true), 'the end of our restart');
  const { settledWith } = us;

  await a.ask(
    'configure terminal',
    'router bgp 65001',
    'address-family ipv4 vpn',
    'no network 10.2.0.0/24 rd 65001:2 label 1002',
  );
  await until(async () => (await pathOf(b, '65001:2', '10.2.0.0/24')) === undefined, 'withdrawal by FRR');
  process.stdout.write(
    JSON.stringify({ atA, backAtA, wereUp, atB, atOutside, atGobgp, learned, counts, labelled, settledWith }),
  );
} finally {
  await us.stop();
  await gobgp.remove();
  await a.remove();
  await b.remove();
  await outside.remove();
}
