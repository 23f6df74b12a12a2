/** What our sessions negotiate with FRR, GoBGP and ExaBGP of the distribution on loopback addresses, and what they make of it. */
import type { ExecutionContext } from 'ava';
import type { PeerConfig, SpeakerOptions } from '../../bgp/speaker.ts';
import { Addr } from '../../router/lib/addr.ts';
import { until } from '../bgp/kit/bird.ts';
import { Exabgp, hasExabgp } from '../bgp/kit/exabgp.ts';
import { Bgpd, hasBgpd } from '../bgp/kit/frr-bgpd.ts';
import { Gobgp, gobgpConfig, hasGobgp } from '../bgp/kit/gobgp.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { Node, OUR_AS } from '../bgp/kit/node.ts';
import { labTests, notInstalled } from '../kit/it.ts';

const FRR_AS = 4242420003;
const GOBGP_AS = 4242420004;
const EXABGP_AS = 4242420005;

async function ours(
  t: ExecutionContext,
  peer: Omit<PeerConfig, 'link'>,
  speaker: Partial<SpeakerOptions> = {},
): Promise<{ node: Node; port: number }> {
  const port = await freePort();
  const node = new Node({ port, peers: [{ ...peer, port: peer.port ?? 179 }], speaker });
  t.teardown(() => node.stop());
  return { node, port };
}

const frrConfig = (port: number): string => `router bgp ${FRR_AS}
 bgp router-id 10.0.0.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 neighbor 127.0.0.1 remote-as ${OUR_AS}
 neighbor 127.0.0.1 port ${port}
 neighbor 127.0.0.1 ebgp-multihop
 neighbor 127.0.0.1 update-source 127.0.0.3
 neighbor 127.0.0.1 timers connect 1
 neighbor 127.0.0.1 advertisement-interval 0
 neighbor 127.0.0.1 local-role provider
 address-family ipv4 unicast
  network 172.20.3.0/24 route-map attributes
  neighbor 127.0.0.1 route-map hop4 out
  neighbor 127.0.0.1 addpath-tx-all-paths
 address-family ipv6 unicast
  network fd42:3::/48
  neighbor 127.0.0.1 activate
  neighbor 127.0.0.1 route-map hop6 out
  neighbor 127.0.0.1 addpath-tx-all-paths
 exit-address-family
!
route-map attributes permit 10
 set large-community ${FRR_AS}:1:2
 set community 64511:5
 set extcommunity rt 64512:7
 set metric 77
!
route-map hop4 permit 10
 set ip next-hop 10.9.9.3
!
route-map hop6 permit 10
 set ipv6 next-hop global fd00:9::3
`;

labTests(notInstalled({ frr: hasBgpd() })).it(
  'FRR: capabilities, attributes of both families, and our routes that outlive us',
  async (t) => {
    const frr = new Bgpd();
    t.teardown(() => frr.remove());
    const theirs = await freePort();
    const { node, port } = await ours(t, {
      name: 'frr',
      address: Addr.parse('127.0.0.3')!,
      port: theirs,
      asn: FRR_AS,
      addPath: 'both',
      role: 'customer',
      strictRole: true,
      gracefulRestart: true,
    });
    const listen = { address: '127.0.0.3', port: theirs };
    await frr.start(frrConfig(port), listen);
    await node.start();
    await until(() => node.fib.size === 2, 'routes of FRR');
    t.deepEqual(Object.fromEntries(node.fib), { '172.20.3.0/24': '10.9.9.3', 'fd42:3::/48': 'fd00:9::3' });
    const route = [...node.speaker.routes('in')].find((r) => r.prefix === '172.20.3.0/24')!;
    t.like(route, { asPath: String(FRR_AS), med: 77, origin: 'IGP' });
    t.deepEqual(route.communities, ['64511:5']);
    t.deepEqual(route.largeCommunities, [`${FRR_AS}:1:2`]);
    t.deepEqual(route.extendedCommunities, ['rt:64512:7']);
    const seen = node.session('frr')!;
    t.like(seen, { state: 'Established', faults: 0, extendedMessages: true, fourOctetAs: true });
    for (const words of [/add-path/, /graceful restart/, /enhanced refresh/, /extended message/, /role provider/])
      t.true(
        seen.capabilities.peer.some((c) => words.test(c)),
        `${words} in ${seen.capabilities.peer.join('; ')}`,
      );

    const neighbour = async () =>
      Object.values(JSON.parse(await frr.ask('show bgp neighbors 127.0.0.1 json')))[0] as never;
    await until(
      async () => (await frr.ask('show bgp ipv4 unicast')).includes('172.20.229.0/27'),
      'our IPv4 route in FRR',
    );
    await until(
      async () => (await frr.ask('show bgp ipv6 unicast')).includes('fd42:beef::/48'),
      'our IPv6 route in FRR',
    );
    t.like(await neighbour(), {
      bgpState: 'Established',
      localRole: 'provider',
      neighborCapabilities: {
        '4byteAs': 'advertisedAndReceived',
        extendedMessage: 'advertisedAndReceived',
        routeRefresh: 'advertisedAndReceivedNew',
        gracefulRestart: 'advertisedAndReceived',
      },
    });

    // Refresh both ways.
    t.true(node.speaker.peerRefresh('frr', 'in'));
    await frr.ask('clear bgp 127.0.0.1 soft in');
    await until(() => node.session('frr')!.messages.received.refresh >= 1, 'a refresh request of FRR');

    // We die and come back: FRR keeps ours meanwhile, as it was told that we keep forwarding.
    const isStale = async (): Promise<boolean> =>
      JSON.parse(await frr.ask('show bgp ipv4 unicast 172.20.229.0/27 json')).paths[0].stale === true;
    await until(async () => (await frr.ask('show bgp ipv4 unicast')).includes('172.20.229.0/27'), 'our route in FRR');
    await node.crash();
    await until(isStale, 'our route as a stale one in FRR');
    await node.start({ keptForwarding: true });
    await until(async () => node.session('frr')!.state === 'Established' && !(await isStale()), 'our route told again');
  },
);

const GOBGP_RESTARTS = `  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 60
    long-lived-enabled = true
`;
const GOBGP_PER_FAMILY = `    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    [neighbors.afi-safis.long-lived-graceful-restart.config]
      enabled = true
      restart-time = 600
    [neighbors.afi-safis.add-paths.config]
      receive = true
      send-max = 4
`;

labTests(notInstalled({ gobgpd: hasGobgp() })).it(
  'GoBGP: several paths to a prefix, both families, and a refresh',
  async (t) => {
    const theirs = await freePort();
    const gobgp = new Gobgp({ host: '127.0.0.4', port: await freePort() });
    t.teardown(() => gobgp.remove());
    const { node, port } = await ours(t, {
      name: 'gobgp',
      address: Addr.parse('127.0.0.4')!,
      port: theirs,
      asn: GOBGP_AS,
      addPath: 'both',
      gracefulRestart: true,
    });
    const families = ['ipv4-unicast', 'ipv6-unicast'];
    const us = { address: '127.0.0.1', asn: OUR_AS, port, families, perFamily: GOBGP_PER_FAMILY, more: GOBGP_RESTARTS };
    const own = { asn: GOBGP_AS, id: '10.0.0.4', address: '127.0.0.4', port: theirs };
    await gobgp.start(gobgpConfig(own, [us]));
    const path = (id: number, hop: string): string =>
      `global rib add 172.20.4.0/24 identifier ${id} nexthop ${hop} large-community ${GOBGP_AS}:0:${id} -a ipv4`;
    for (const command of [
      path(10, '10.9.9.4'),
      path(20, '10.9.9.5'),
      'global rib add fd42:4::/48 nexthop fd00:9::4 -a ipv6',
    ])
      t.is(await gobgp.ask(command), '');
    await node.start();
    await until(() => [...node.speaker.routes('in')].length === 3, 'three paths of GoBGP');
    const paths = [...node.speaker.routes('in')].filter((r) => r.prefix === '172.20.4.0/24');
    t.deepEqual(paths.map((r) => [r.nextHop, ...r.largeCommunities]).sort(), [
      ['10.9.9.4', `${GOBGP_AS}:0:10`],
      ['10.9.9.5', `${GOBGP_AS}:0:20`],
    ]);
    const seen = node.session('gobgp')!;
    for (const words of [/add-path ipv4 unicast both/, /graceful restart/, /long-lived restart/])
      t.true(
        seen.capabilities.peer.some((c) => words.test(c)),
        `${words} in ${seen.capabilities.peer.join('; ')}`,
      );
    await until(async () => (await gobgp.ask('global rib -a ipv6')).includes('fd42:beef::/48'), 'our route in GoBGP');
    t.is(await gobgp.ask('global rib del 172.20.4.0/24 identifier 10 -a ipv4'), '');
    await until(() => [...node.speaker.routes('in')].length === 2, 'one path fewer');
    const updates = (): number => node.session('gobgp')!.messages.received.update;
    const before = updates();
    t.true(node.speaker.peerRefresh('gobgp', 'in'));
    await until(() => updates() > before, 'routes that were told again');
  },
);

labTests(notInstalled({ exabgp: hasExabgp() })).it(
  'ExaBGP: its routes are read, and it reads ours as they are',
  async (t) => {
    const exabgp = new Exabgp();
    t.teardown(() => exabgp.remove());
    const { node, port } = await ours(t, {
      name: 'exabgp',
      address: Addr.parse('127.0.0.5')!,
      asn: EXABGP_AS,
      passive: true,
      addPath: 'both',
    });
    await node.start();
    exabgp.start(
      '127.0.0.1',
      `  router-id 10.0.0.5; local-address 127.0.0.5; local-as ${EXABGP_AS}; peer-as ${OUR_AS}; connect ${port}; hold-time 30;
  family { ipv4 unicast; ipv6 unicast; }
  capability { add-path send/receive; graceful-restart 60; extended-message; route-refresh; }
  static {
    route 172.20.5.0/24 next-hop 10.9.9.5 path-information 0.0.0.1 large-community [ ${EXABGP_AS}:2:3 ];
    route 172.20.5.0/24 next-hop 10.9.9.6 path-information 0.0.0.2 community [ 64511:5 no-export ] med 9;
    route fd42:5::/48 next-hop fd00:9::5 as-path [ ${EXABGP_AS} 64700 ];
  }`,
    );
    await until(() => [...node.speaker.routes('in')].length === 3, `three paths of ExaBGP`);
    t.deepEqual(
      [...node.speaker.routes('in')]
        .map((r) => [r.nextHop, r.asPath, r.med, ...r.communities, ...r.largeCommunities])
        .sort(),
      [
        ['10.9.9.5', String(EXABGP_AS), undefined, `${EXABGP_AS}:2:3`],
        ['10.9.9.6', String(EXABGP_AS), 9, '64511:5', 'no-export'],
        ['fd00:9::5', `${EXABGP_AS} 64700`, undefined],
      ],
    );
    const announced = (): string => JSON.stringify(exabgp.heard.filter((m) => m.type === 'update'));
    await until(() => announced().includes('172.20.229.0/27') && announced().includes('fd42:beef::/48'), 'our routes');
    t.regex(announced(), /"10\.9\.9\.1": ?\[.*172\.20\.229\.0\/27/);
    t.regex(announced(), /"fd00:9::1": ?\[.*fd42:beef::\/48/);
    const open = exabgp.heard.find((m) => m.type === 'open' && JSON.stringify(m).includes('"receive"'));
    t.regex(JSON.stringify(open), /"64".*graceful|graceful.*/i);
    t.is(node.session('exabgp')!.faults, 0);
  },
);
