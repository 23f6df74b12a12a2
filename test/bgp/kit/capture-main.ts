/**
 * Makes the golden files of test/golden/bgp that are named in `CAPTURES`, from sessions between BIRD, FRR and GoBGP of the
 * distribution. Run as root inside a network namespace of its own: `unshare -n node build/test/bgp/kit/capture-main.js`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Bird, run, until } from './bird.ts';
import { Bgpd } from './frr-bgpd.ts';
import { Gobgp, gobgpConfig } from './gobgp.ts';
import { Relay, type Side } from './relay.ts';

const BIRD: Side = { name: 'bird', address: '10.0.0.2', port: 1792 };
const FRR: Side = { name: 'frr', address: '10.0.0.3', port: 1793 };
const GOBGP: Side = { name: 'gobgp', address: '10.0.0.4', port: 1794 };
const FRR6: Side = { ...FRR, address: 'fd00::3' };
const GOBGP6: Side = { ...GOBGP, address: 'fd00::4' };
/** A router behind the first BIRD. */
const EDGE = { address: '10.0.0.6', port: 1796 };
/** Where the relay stands. */
const MIDDLE = { address: '10.0.0.9', port: 1799 };
const MIDDLE6 = { address: 'fd00::9', port: 1799 };

interface Cast {
  readonly relay: Relay;
  readonly bird: Bird;
  readonly frr: Bgpd;
  readonly gobgp: Gobgp;
}

/** A session with a relay in the middle. */
interface Capture {
  /** Who connects, to whom, and where the relay stands. */
  readonly between: ConstructorParameters<typeof Relay>;
  /** Starts those of the cast that play, and ends when all that is wanted has been said. */
  play(cast: Cast): Promise<void>;
}

/** A neighbour that FRR connects to and tells at once. */
const frrCalls = ({ address, port }: { address: string; port: number }, asn: number, local = FRR): string =>
  ` neighbor ${address} remote-as ${asn}
 neighbor ${address} port ${port}
 neighbor ${address} update-source ${local.address}
 neighbor ${address} timers connect 1
 neighbor ${address} advertisement-interval 0
`;

const includes = async (answer: Promise<string>, ...words: string[]): Promise<boolean> => {
  const text = await answer;
  return words.every((w) => text.includes(w));
};

/** Long-lived stale routes, marks of a refresh, roles, and an operator's words. */
const staleRoutes: Capture = {
  between: [BIRD, FRR, MIDDLE],
  play: async ({ relay, bird, frr }) => {
    const edge = new Bird();
    try {
      await edge.start(`router id ${EDGE.address};
protocol device {}
protocol static { ipv4; route 172.20.6.0/24 blackhole { bgp_community.add((64511, 6)); }; }
protocol bgp up {
  local ${EDGE.address} port ${EDGE.port} as 65006; neighbor ${BIRD.address} port ${BIRD.port} as 65002;
  multihop; connect retry time 1; connect delay time 1; graceful restart on; graceful restart time 1;
  long lived graceful restart on; long lived stale time 3600;
  ipv4 { import none; export all; };
}
`);
      await bird.start(`router id ${BIRD.address};
protocol device {}
ipv4 table hops;
protocol static { ipv4 { table hops; }; route 10.0.0.0/24 via "lo"; }
protocol static { ipv4; route 172.20.2.0/24 blackhole; }
template bgp common {
  local ${BIRD.address} port ${BIRD.port} as 65002;
  multihop; connect retry time 1; connect delay time 1; graceful restart on; long lived graceful restart on;
  ipv4 { import all; export all; igp table hops; add paths on; };
}
protocol bgp edge from common { neighbor ${EDGE.address} port ${EDGE.port} as 65006; }
protocol bgp frr from common { neighbor ${MIDDLE.address} port ${MIDDLE.port} as 65003; local role provider; }
`);
      await frr.start(
        `router bgp 65003
 bgp router-id ${FRR.address}
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp long-lived-graceful-restart stale-time 1800
 neighbor ${MIDDLE.address} remote-as 65002
 neighbor ${MIDDLE.address} passive
 neighbor ${MIDDLE.address} ebgp-multihop
 neighbor ${MIDDLE.address} update-source ${FRR.address}
 neighbor ${MIDDLE.address} advertisement-interval 0
 neighbor ${MIDDLE.address} local-role customer
 address-family ipv4 unicast
  network 172.20.3.0/24
  neighbor ${MIDDLE.address} addpath-tx-all-paths
`,
        FRR,
      );
      const table = () => frr.ask('show bgp ipv4 unicast');
      await until(() => includes(table(), '172.20.6.0/24', '172.20.2.0/24'), 'routes of BIRD');
      await edge.kill();
      const stale = () => frr.ask('show bgp ipv4 unicast 172.20.6.0/24');
      await until(() => includes(stale(), 'llgr-stale'), 'a stale route');
      const before = relay.lines.length;
      await frr.ask(`clear bgp ${MIDDLE.address} soft in`);
      await until(() => relay.lines.length >= before + 5, 'a refresh of BIRD');
      await bird.ask('reload in frr');
      await until(() => relay.lines.filter((l) => /^frr .{36}05/.test(l)).length >= 3, 'a refresh of FRR');
      const quiet = relay.lines.length;
      await frr.ask(
        'configure terminal',
        'router bgp 65003',
        `neighbor ${MIDDLE.address} shutdown message back at noon`,
      );
      await until(() => relay.lines.length > quiet, 'a NOTIFICATION');
    } finally {
      await edge.remove();
    }
  },
};

/** Paths of two members of a confederation. */
const confederation: Capture = {
  between: [FRR, GOBGP, MIDDLE],
  play: async ({ frr, gobgp }) => {
    const confederation = `  [global.confederation.config]
    enabled = true
    identifier = 65100
    member-as-list = [65103]
`;
    const own = { asn: 65104, id: GOBGP.address, ...GOBGP };
    await gobgp.start(gobgpConfig(own, [{ address: MIDDLE.address, asn: 65103 }], confederation));
    await gobgp.ask('global rib add 172.20.4.0/24 med 7 -a ipv4');
    await gobgp.ask('global rib add 172.20.5.0/24 aspath 65200,65201 community 64511:4 -a ipv4');
    await frr.start(
      `router bgp 65103
 bgp router-id ${FRR.address}
 bgp confederation identifier 65100
 bgp confederation peers 65104
 no bgp ebgp-requires-policy
 no bgp network import-check
${frrCalls(MIDDLE, 65104)} neighbor ${MIDDLE.address} ebgp-multihop
 address-family ipv4 unicast
  network 172.20.3.0/24
  network 172.20.7.0/24 route-map outside
  network 172.20.8.0/24 route-map member
!
route-map outside permit 10
 set as-path prepend 65300 65301
 set local-preference 50
!
route-map member permit 10
 set community no-export 64511:8
`,
      FRR,
    );
    await until(() => includes(gobgp.ask('global rib'), '172.20.3.0/24', '172.20.7.0/24', '172.20.8.0/24'), 'FRR');
    await until(() => includes(frr.ask('show bgp ipv4 unicast'), '172.20.4.0/24', '172.20.5.0/24'), 'GoBGP');
    await gobgp.ask('global rib del 172.20.4.0/24 -a ipv4');
    await until(async () => !(await includes(frr.ask('show bgp ipv4 unicast'), '172.20.4.0/24')), 'a withdrawal');
  },
};

/** Routes that a reflector passes on, and an aggregate. */
const reflection: Capture = {
  between: [FRR, BIRD, MIDDLE],
  play: async ({ bird, frr, gobgp }) => {
    const own = { asn: 65003, id: GOBGP.address, ...GOBGP };
    await gobgp.start(gobgpConfig(own, [{ address: FRR.address, asn: 65003 }]));
    await gobgp.ask('global rib add 172.20.4.0/25 aspath 65200 large-community 65003:0:4 -a ipv4');
    await gobgp.ask('global rib add 172.20.4.128/25 aspath 65200,65201 -a ipv4');
    await bird.start(`router id ${BIRD.address};
protocol device {}
ipv4 table hops;
protocol static { ipv4 { table hops; }; route 10.0.0.0/24 via "lo"; }
protocol static { ipv4; route 172.20.2.0/24 blackhole; }
protocol bgp reflector {
  local ${BIRD.address} port ${BIRD.port} as 65003; neighbor ${MIDDLE.address} port ${MIDDLE.port} as 65003;
  passive on; multihop; ipv4 { import all; export where source = RTS_STATIC; igp table hops; next hop self; };
}
`);
    await frr.start(
      `router bgp 65003
 bgp router-id ${FRR.address}
 bgp cluster-id 10.255.0.1
 no bgp network import-check
${frrCalls(MIDDLE, 65003)}${frrCalls(GOBGP, 65003)} address-family ipv4 unicast
  aggregate-address 172.20.4.0/24
  neighbor ${MIDDLE.address} route-reflector-client
  neighbor ${GOBGP.address} route-reflector-client
`,
      FRR,
    );
    const table = () => bird.ask('show route protocol reflector');
    await until(() => includes(table(), '172.20.4.0/25', '172.20.4.128/25', '172.20.4.0/24'), 'routes of FRR');
    await until(() => includes(frr.ask('show bgp ipv4 unicast'), '172.20.2.0/24'), 'the route of BIRD');
  },
};

/** Several paths to a prefix, and IPv4 prefixes with IPv6 next hops. */
const addPath: Capture = {
  between: [FRR6, GOBGP6, MIDDLE6],
  play: async ({ relay, frr, gobgp }) => {
    const perFamily = `    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    [neighbors.afi-safis.long-lived-graceful-restart.config]
      enabled = true
      restart-time = 600
    [neighbors.afi-safis.add-paths.config]
      receive = true
      send-max = 4
`;
    const more = `  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 60
    long-lived-enabled = true
`;
    const families = ['ipv4-unicast', 'ipv6-unicast'];
    const own = { asn: 65004, id: GOBGP.address, ...GOBGP6 };
    await gobgp.start(gobgpConfig(own, [{ address: MIDDLE6.address, asn: 65003, families, perFamily, more }]));
    for (const id of [10, 20]) {
      await gobgp.ask(`global rib add 172.20.4.0/24 identifier ${id} nexthop fd00::4${id} med ${id} -a ipv4`);
      await gobgp.ask(`global rib add fd42:4::/48 identifier ${id} nexthop fd00::4${id} -a ipv6`);
    }
    await frr.start(
      `router bgp 65003
 bgp router-id ${FRR.address}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
${frrCalls(MIDDLE6, 65004, FRR6)} neighbor ${MIDDLE6.address} ebgp-multihop
 neighbor ${MIDDLE6.address} capability extended-nexthop
 address-family ipv4 unicast
  network 172.20.3.0/24
  neighbor ${MIDDLE6.address} activate
  neighbor ${MIDDLE6.address} addpath-tx-all-paths
 address-family ipv6 unicast
  network fd42:3::/48
  neighbor ${MIDDLE6.address} activate
  neighbor ${MIDDLE6.address} addpath-tx-all-paths
`,
      FRR6,
    );
    await until(() => includes(gobgp.ask('global rib'), '172.20.3.0/24'), 'the IPv4 route of FRR');
    await until(() => includes(gobgp.ask('global rib -a ipv6'), 'fd42:3::/48'), 'the IPv6 route of FRR');
    await until(() => includes(frr.ask('show bgp ipv4 unicast 172.20.4.0/24'), 'fd00::410', 'fd00::420'), 'IPv4 paths');
    await until(() => includes(frr.ask('show bgp ipv6 unicast fd42:4::/48'), 'fd00::410', 'fd00::420'), 'IPv6 paths');
    const before = relay.lines.length;
    await gobgp.ask('global rib del 172.20.4.0/24 identifier 10 -a ipv4');
    await until(() => relay.lines.slice(before).some((l) => l.startsWith('gobgp ')), 'a withdrawal');
  },
};

const CAPTURES: Readonly<Record<string, Capture>> = {
  'bird-2.0.12_vs_frr-8.4.4-stale': staleRoutes,
  'frr-8.4.4_vs_gobgp-3.10.0-confederation': confederation,
  'frr-8.4.4_vs_bird-2.0.12-reflection': reflection,
  'frr-8.4.4_vs_gobgp-3.10.0-add-path': addPath,
};

await run('ip', ['link', 'set', 'lo', 'up']);
for (const { address } of [BIRD, FRR, GOBGP, EDGE, MIDDLE])
  await run('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo']);
for (const { address } of [FRR6, GOBGP6, MIDDLE6]) await run('ip', ['addr', 'add', `${address}/128`, 'dev', 'lo']);
for (const [name, { between, play }] of Object.entries(CAPTURES)) {
  const relay = new Relay(...between);
  const [bird, frr, gobgp] = [new Bird(), new Bgpd(), new Gobgp({ host: '10.0.0.4', port: 50051 })];
  try {
    await play({ relay, bird, frr, gobgp });
    const text = `# BGP messages of a session of ${name} in order: sender, octets\n${relay.lines.join('\n')}\n`;
    writeFileSync(join(process.cwd(), 'test/golden/bgp', `${name}.hex`), text);
  } finally {
    relay.close();
    await Promise.all([bird.remove(), frr.remove(), gobgp.remove()]);
  }
}
