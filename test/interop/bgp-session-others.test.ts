/** What our sessions negotiate and keep, against FRR's bgpd and GoBGP of the distribution on loopback addresses. */
import type { RangeConfig } from '../../bgp/speaker.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { until } from '../bgp/kit/bird.ts';
import { Bgpd, hasBgpd } from '../bgp/kit/frr-bgpd.ts';
import { Gobgp, gobgpConfig, hasGobgp } from '../bgp/kit/gobgp.ts';
import { freePort } from '../bgp/kit/loopback.ts';
import { Node, OUR_AS, OUR_HOP, THEIR_AS } from '../bgp/kit/node.ts';
import { labTests, notInstalled } from '../kit/it.ts';

const { it: withFrr } = labTests(notInstalled({ frr: hasBgpd() }));
const { it: withGobgp } = labTests(notInstalled({ gobgpd: hasGobgp() }));

const frrConfig = (port: number, ourPort: number, networks: readonly string[]): string => `router bgp ${THEIR_AS}
 bgp router-id 10.0.0.3
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart restart-time 30
 bgp graceful-restart preserve-fw-state
 bgp long-lived-graceful-restart stale-time 3600
 neighbor 127.0.0.1 remote-as ${OUR_AS}
 neighbor 127.0.0.1 port ${ourPort}
 neighbor 127.0.0.1 ebgp-multihop
 neighbor 127.0.0.1 update-source 127.0.0.3
 neighbor 127.0.0.1 timers connect 1
 neighbor 127.0.0.1 advertisement-interval 0
 neighbor 127.0.0.1 local-role provider
 address-family ipv4 unicast
${networks.map((n) => `  network ${n}`).join('\n')}
  neighbor 127.0.0.1 addpath-tx-all-paths
  neighbor 127.0.0.1 route-map HOP out
 exit-address-family
route-map HOP permit 10
 set ip next-hop 10.9.9.3
! listens at ${port}
`;

withFrr('FRR restarts and its routes stay in use; roles and several paths are agreed as well', async (t) => {
  const frr = new Bgpd();
  const [port, ourPort] = [await freePort(), await freePort()];
  const peer = { name: 'frr', address: Addr.parse('127.0.0.3')!, port, families: ['ipv4'] } as const;
  const node = new Node({
    port: ourPort,
    peers: [{ ...peer, addPath: 'both', role: 'customer', strictRole: true, gracefulRestart: true }],
  });
  t.teardown(async () => {
    await node.stop();
    await frr.remove();
  });
  const listen = { address: '127.0.0.3', port };
  await frr.start(frrConfig(port, ourPort, ['172.20.1.0/24', '172.20.2.0/24']), listen);
  await node.start();
  await until(() => node.fib.size === 2, 'routes');
  const { capabilities } = node.session('frr')!;
  t.true(capabilities.peer.includes('role provider'), capabilities.peer.join('; '));
  t.true(capabilities.peer.some((c) => /^graceful restart 30 s.*notification.*ipv4 unicast/.test(c)));
  t.true(capabilities.peer.some((c) => c.startsWith('long-lived restart, ipv4 unicast 3600 s')));
  // With all paths, FRR sends ours back as well; it is refused, as our AS is in it.
  for (const r of node.speaker.routes('in')) {
    t.not(r.pathId, undefined);
    t.is(r.refused, r.asPath === String(THEIR_AS) ? undefined : 'our AS is in the path');
  }
  await until(async () => (await frr.ask('show bgp ipv4 unicast')).includes('172.20.229.0/27'), 'our route');
  // A withdrawal of ours goes by its path identifier.
  node.speaker.withdraw(Prefix.parse('172.20.229.0/27')!);
  await until(async () => !(await frr.ask('show bgp ipv4 unicast')).includes('172.20.229.0/27'), 'our withdrawal');
  await frr.stop();
  await until(() => node.session('frr')!.state !== 'Established', 'end of the session');
  t.is(node.fib.size, 2);
  t.is(node.session('frr')!.routes.ipv4.stale, 2);
  await frr.start(frrConfig(port, ourPort, ['172.20.1.0/24']), listen);
  await until(() => node.session('frr')!.establishments === 2, 'its return');
  t.true(node.session('frr')!.capabilities.peer.some((c) => /restarting.*forwarding kept/.test(c)));
  // FRR 8.4 sends its End-of-RIB first and its routes then, so what was kept goes for a moment.
  await until(() => node.fib.size === 1 && node.gaps.includes('172.20.2.0/24'), 'the forgotten route gone');
  t.deepEqual(node.session('frr')!.restart, []);
});

withFrr('a refresh of FRR has a beginning and an end, and an operator of FRR is quoted', async (t) => {
  const frr = new Bgpd();
  const [port, ourPort] = [await freePort(), await freePort()];
  const peer = { name: 'frr', address: Addr.parse('127.0.0.3')!, port, families: ['ipv4'] } as const;
  const node = new Node({ port: ourPort, peers: [{ ...peer, role: 'customer' }] });
  t.teardown(async () => {
    await node.stop();
    await frr.remove();
  });
  await frr.start(frrConfig(port, ourPort, ['172.20.1.0/24']), { address: '127.0.0.3', port });
  await node.start();
  await until(() => node.fib.size === 1, 'routes');
  t.true(node.speaker.peerRefresh('frr', 'in'));
  await until(() => node.session('frr')!.messages.received.refresh >= 2, 'the marks');
  await until(() => node.session('frr')!.restart.length === 0, 'the end of the refresh');
  await frr.ask('clear bgp ipv4 unicast 127.0.0.1 in');
  await until(() => node.session('frr')!.messages.sent.refresh >= 3, 'our marks');
  t.deepEqual(node.gaps, []);
  await frr.ask('configure terminal', `router bgp ${THEIR_AS}`, 'neighbor 127.0.0.1 shutdown message back at noon');
  await until(() => node.session('frr')!.lastError?.text.includes('back at noon') === true, 'text of the operator');
  // FRR says it by a hard reset, which costs the routes (RFC 8538).
  t.is(node.fib.size, 0);
});

withFrr(
  'a range that changes restarts the sessions of its members alone, and takes them with it when it goes',
  async (t) => {
    const hosts = ['127.0.0.3', '127.0.0.4'];
    const frrs = hosts.map(() => new Bgpd());
    const ourPort = await freePort();
    const node = new Node({ port: ourPort, peers: [] });
    t.teardown(async () => {
      await node.stop();
      for (const frr of frrs) await frr.remove();
    });
    const range = (host: string, more: Partial<RangeConfig> = {}): RangeConfig => ({
      ...{ name: `r${host.at(-1)}`, link: 'lo', range: Prefix.parse(`${host}/32`)!, asn: 'external', multihop: true },
      ...{ import: 'accept-all', export: 'accept-all', families: ['ipv4'] },
      ...more,
      ...OUR_HOP,
    });
    const networks = [{ prefix: Prefix.parse('172.20.229.0/27')! }];
    const load = (...ranges: readonly RangeConfig[]): void =>
      void node.speaker.reconfigure({ networks, peers: [], ranges });
    /** How often FRR's session came up, and whether it is up. */
    const seen = async (frr: Bgpd): Promise<string> => {
      const text = await frr.ask('show bgp neighbors 127.0.0.1');
      return `${/Connections established (\d+)/.exec(text)?.[1]} ${/BGP state = (\w+)/.exec(text)?.[1]}`;
    };
    await node.start();
    load(range(hosts[0]!), range(hosts[1]!));
    for (const [i, host] of hosts.entries()) {
      const port = await freePort();
      const config = frrConfig(port, ourPort, [`172.20.${i + 1}.0/24`]).replace('127.0.0.3', host);
      await frrs[i]!.start(config, { address: host, port });
    }
    await until(() => node.fib.size === 2, 'both are members');
    load(range(hosts[0]!, { import: 'reject-all' }), range(hosts[1]!));
    await until(() => node.fib.size === 1, 'another policy');
    t.deepEqual(await Promise.all(frrs.map(seen)), ['1 Established', '1 Established']);
    load(range(hosts[0]!, { holdTimeS: 30 }), range(hosts[1]!));
    await until(async () => (await seen(frrs[0]!)) === '2 Established', 'a session with the other hold time');
    t.regex(await frrs[0]!.ask('show bgp neighbors 127.0.0.1'), /Cease\/Other Configuration Change/);
    t.is(await seen(frrs[1]!), '1 Established');
    await until(() => node.fib.size === 2, 'its route again');
    load(range(hosts[1]!));
    t.deepEqual([...node.fib.keys()], ['172.20.2.0/24']);
    await until(async () => !(await seen(frrs[0]!)).includes('Established'), 'the member is gone');
    t.is(await seen(frrs[1]!), '1 Established');
  },
);

const US = { address: '127.0.0.1', asn: OUR_AS } as const;
const gobgpAt = (port: number, asn = THEIR_AS) => ({ asn, id: '10.0.0.4', address: '127.0.0.4', port });
const restartingGobgp = (port: number, ourPort: number): string => {
  const more = `  [neighbors.add-paths.config]
    receive = true
    send-max = 4
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 30
    long-lived-enabled = true
    notification-enabled = true
`;
  const perFamily = `    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    [neighbors.afi-safis.long-lived-graceful-restart.config]
      enabled = true
      restart-time = 3600
`;
  return gobgpConfig(gobgpAt(port), [{ ...US, port: ourPort, families: ['ipv4-unicast'], perFamily, more }]);
};

withGobgp('GoBGP and we tell each other several paths, and it restarts without a gap', async (t) => {
  const [port, ourPort, api] = [await freePort(), await freePort(), await freePort()];
  const gobgp = new Gobgp({ host: '127.0.0.4', port: api });
  const peer = { name: 'gobgp', address: Addr.parse('127.0.0.4')!, port, families: ['ipv4'] } as const;
  const node = new Node({ port: ourPort, peers: [{ ...peer, addPath: 'both', gracefulRestart: true }] });
  t.teardown(async () => {
    await node.stop();
    await gobgp.remove();
  });
  await gobgp.start(restartingGobgp(port, ourPort));
  await node.start();
  await until(() => node.session('gobgp')!.state === 'Established', 'the session');
  await gobgp.ask('global rib add 172.20.1.0/24 nexthop 10.9.9.4');
  await until(() => node.fib.size === 1, 'a route');
  const [route] = [...node.speaker.routes('in')];
  t.not(route!.pathId, undefined);
  t.true(node.session('gobgp')!.capabilities.peer.some((c) => /^graceful restart 30 s.*ipv4 unicast/.test(c)));
  await until(async () => (await gobgp.ask('global rib')).includes('172.20.229.0/27'), 'our route');
  node.speaker.withdraw(Prefix.parse('172.20.229.0/27')!);
  await until(async () => !(await gobgp.ask('global rib')).includes('172.20.229.0/27'), 'our withdrawal');
  await gobgp.stop();
  await until(() => node.session('gobgp')!.state !== 'Established', 'end of the session');
  t.is(node.fib.size, 1);
  t.is(node.session('gobgp')!.routes.ipv4.stale, 1);
  await gobgp.start(restartingGobgp(port, ourPort), '-r');
  // It comes back with an empty table, so its End-of-RIB takes the route.
  await until(() => node.fib.size === 0, 'the forgotten route gone');
  t.is(node.session('gobgp')!.establishments, 2);
});

labTests(notInstalled({ frr: hasBgpd(), gobgpd: hasGobgp() })).it(
  'GoBGP and FRR are members of our confederation, and one learns what the other tells',
  async (t) => {
    const [frrPort, gobgpPort, ourPort] = [await freePort(), await freePort(), await freePort()];
    const frr = new Bgpd();
    const gobgp = new Gobgp({ host: '127.0.0.4', port: await freePort() });
    const members = [65003, 65004];
    const node = new Node({
      port: ourPort,
      speaker: { asn: 65001, confederation: { id: OUR_AS, members } },
      peers: [
        { name: 'frr', address: Addr.parse('127.0.0.3')!, port: frrPort, asn: 65003 },
        { name: 'gobgp', address: Addr.parse('127.0.0.4')!, port: gobgpPort, asn: 65004, families: ['ipv4'] },
      ],
    });
    t.teardown(async () => {
      await node.stop();
      await frr.remove();
      await gobgp.remove();
    });
    await frr.start(
      `router bgp 65003
 bgp router-id 10.0.0.3
 bgp confederation identifier ${OUR_AS}
 bgp confederation peers 65001 65004
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor 127.0.0.1 remote-as 65001
 neighbor 127.0.0.1 port ${ourPort}
 neighbor 127.0.0.1 ebgp-multihop
 neighbor 127.0.0.1 update-source 127.0.0.3
 neighbor 127.0.0.1 timers connect 1
 neighbor 127.0.0.1 advertisement-interval 0
 address-family ipv4 unicast
  network 172.20.3.0/24
  neighbor 127.0.0.1 route-map HOP out
 exit-address-family
route-map HOP permit 10
 set ip next-hop 10.9.9.3
 set local-preference 50
`,
      { address: '127.0.0.3', port: frrPort },
    );
    const confederation = `  [global.confederation.config]
    enabled = true
    identifier = ${OUR_AS}
    member-as-list = [65001, 65003]
`;
    const us = { ...US, asn: 65001, port: ourPort };
    await gobgp.start(gobgpConfig(gobgpAt(gobgpPort, 65004), [us], confederation));
    t.is(await gobgp.ask('global rib add 172.20.4.0/24 nexthop 10.9.9.4 aspath 65200 -a ipv4'), '');
    await node.start();
    await until(() => node.fib.size === 2, 'routes of both members');
    const heard = [...node.speaker.routes('in')]
      .filter((r) => r.refused === undefined)
      .map((r) => [r.prefix, r.asPath, r.localPref]);
    t.deepEqual(heard.sort(), [
      ['172.20.3.0/24', '(65003)', 50],
      // GoBGP tells no LOCAL_PREF: RFC 5065 does not ask for one.
      ['172.20.4.0/24', '(65004) 65200', 100],
    ]);
    await until(
      async () => /172\.20\.4\.0\/24.*\(65001 65004\) 65200/.test(await frr.ask('show bgp ipv4 unicast')),
      'the path of GoBGP in FRR',
    );
    await until(async () => /172\.20\.3\.0\/24 .*65001 65003/.test(await gobgp.ask('global rib')), 'FRR in GoBGP');
    t.deepEqual([node.session('frr')!.faults, node.session('gobgp')!.faults], [0, 0]);
  },
);
