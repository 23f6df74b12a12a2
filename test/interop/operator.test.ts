/**
 * What a DN42 operator relies on besides plain sessions, against BIRD 2: peers several hops away, internal peers, and own
 * prefixes of which only some addresses are in use.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Check } from '../../router/cli/doctor.ts';
import type { BgpPeerStatus, RouteStatus } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, type Peer } from '../kit/peer.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { onePeer } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  peer: Peer;
  router: Router;
}

/** A collector two hops away and a second router of our own AS, both behind the peer's tunnel. */
const FAR = { asn: 4242420099, address: '172.20.53.9', prefix: '172.20.99.0/24' } as const;
const INNER = { address: 'fd42:53::8', prefix: '172.21.8.0/24', prefix6: 'fd42:88::/48' } as const;

const missing = Lab.missing('bird', 'birdc', 'wg', 'ping');
const { test, it } = labTests<Context>(missing);

const BIRD = (peer: Peer): string => `log stderr all;
router id ${PEER_B.v4};
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv6 { import none; export filter { krt_prefsrc = ${PEER_B.v6}; if source = RTS_BGP then accept; reject; }; }; }
protocol kernel { ipv4 { import none; export filter { krt_prefsrc = ${PEER_B.v4}; if source = RTS_BGP then accept; reject; }; }; }
protocol static near { ipv4; route ${PEER_B.announce4} unreachable; }
protocol static near6 { ipv6; route ${PEER_B.announce6} unreachable; }
protocol static far { ipv4; route ${FAR.prefix} unreachable; }
protocol static inner { ipv4; route ${INNER.prefix} unreachable; }
protocol static inner6 { ipv6; route ${INNER.prefix6} unreachable; }
template bgp quick { connect delay time 1; connect retry time 2; error wait time 1, 4; hold time 9; }
protocol bgp upstream from quick {
  local ${peer.linkLocal} as ${PEER_B.asn};
  neighbor fe80::1%${peer.device} as ${ROUTER.asn};
  direct;
  ipv4 { import all; export where proto = "near"; extended next hop on; };
  ipv6 { import all; export where proto = "near6"; };
}
protocol bgp collector from quick {
  local ${FAR.address} as ${FAR.asn};
  neighbor ${ROUTER.v4} as ${ROUTER.asn};
  multihop;
  ipv4 { import all; export where proto = "far"; next hop self; };
  ipv6 { import all; export none; };
}
protocol bgp inside from quick {
  local ${INNER.address} as ${ROUTER.asn};
  neighbor ${ROUTER.v6} as ${ROUTER.asn};
  multihop; passive;
  ipv4 { import all; export where proto = "inner"; next hop self; extended next hop on; };
  ipv6 { import all; export where proto = "inner6"; next hop self; };
}
`;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, peer, tunnel } = await onePeer(lab);
    await peer.ip('addr', 'add', `${FAR.address}/32`, 'dev', 'lo');
    await peer.ip('addr', 'add', `${INNER.address}/128`, 'dev', 'lo', 'nodad');
    const conf = join(peer.dir, 'bird.conf');
    writeFileSync(conf, BIRD(peer));
    lab.start(peer.ns, 'bird', ['-f', '-c', conf, '-s', peer.birdSocket, '-P', `${peer.dir}/pid`]);
    router.configure([tunnel]);
    router.add(`    - { name: collector, asn: ${FAR.asn}, address: ${FAR.address}, hold_time: 9s }
    - { name: inside, asn: ${ROUTER.asn}, address: '${INNER.address}', hold_time: 9s }
`);
    await router.up();
    t.context.peer = peer;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const routeTo = async (router: Router, prefix: string): Promise<RouteStatus | undefined> => {
  const { routes } = await router.json<{ routes: RouteStatus[] }>('route', 'show');
  return routes.find((r) => r.prefix === prefix);
};

it('a peer without `via` is reached by routing, and its routes go where its address is', async (t) => {
  const { router, lab, peer } = t.context;
  await lab.eventually('the collector is heard', async () => (await routeTo(router, FAR.prefix)) !== undefined);
  const route = await routeTo(router, FAR.prefix);
  t.is(route?.origin, 'ebgp');
  t.is(route?.next_hops[0]?.uplink, 'b');
  await lab.eventually('it heard of our networks', async () => {
    return (await peer.birdc('show', 'route', 'protocol', 'collector')).includes(ROUTER.networks[0]);
  });
  const told = await peer.birdc('show', 'route', 'protocol', 'collector', 'all');
  t.regex(told, new RegExp(`BGP.next_hop: ${ROUTER.v4}\\b`));
  t.regex(told, new RegExp(`BGP.next_hop: ${ROUTER.v6}\\b`), 'IPv6 routes over the IPv4 session too');
});

it('routes of an internal peer are ibgp, at the distance of internal routes', async (t) => {
  const { router, lab } = t.context;
  await lab.eventually('the inner router is heard', async () => (await routeTo(router, INNER.prefix)) !== undefined);
  t.is((await routeTo(router, INNER.prefix))?.origin, 'ibgp');
  t.is((await routeTo(router, INNER.prefix6))?.origin, 'ibgp');
  const { stdout } = await router.cli(['route', 'get', '172.21.8.1']);
  t.regex(stdout, /^172\.21\.8\.1 via \S+ uplink b src 172\.20\.229\.117 mtu 1420\n/);
});

it('an own address that is not in use is unreachable, one in use answers', async (t) => {
  const { router, lab, peer } = t.context;
  await lab.eventually('a route to us', async () => {
    return (await lab.run(peer.ns, 'ping', ['-c1', '-W1', ROUTER.v4])).status === 0;
  });
  const unused = await lab.run(peer.ns, 'ping', ['-c1', '-W3', '172.20.229.118']);
  t.is(unused.status, 1);
  t.regex(unused.stdout, /From 172\.20\.229\.117 .*Destination (Host|Net) Unreachable/);
  const { kind } = await router.json<{ kind: string }>('route', 'get', '172.20.229.118');
  t.is(kind, 'unreachable');
  t.is((await router.json<{ kind: string }>('route', 'get', ROUTER.v4)).kind, 'local');
  const local = await router.app('ping', ['-c1', '-W3', '172.20.229.118']);
  t.not(local.status, 0);
});

it('a next hop that is found in the table is looked up again when the table changes', async (t) => {
  const { router, lab, peer } = t.context;
  await lab.eventually('the collector is heard', async () => (await routeTo(router, FAR.prefix)) !== undefined);
  await peer.birdc('disable', 'near');
  await lab.eventually('its routes go with the way to it', async () => {
    return (await routeTo(router, FAR.prefix)) === undefined;
  });
  await peer.birdc('enable', 'near');
  await lab.eventually('and come back with it', async () => (await routeTo(router, FAR.prefix)) !== undefined);
  const { peers } = await router.json<{ peers: BgpPeerStatus[] }>('bgp', 'show');
  t.deepEqual(peers.map((p) => p.name).sort(), ['b', 'collector', 'inside']);
});

it('doctor tells the hold times that were negotiated', async (t) => {
  const { router, lab } = t.context;
  await lab.eventually('all sessions stand', async () => {
    const { peers } = await router.json<{ peers: BgpPeerStatus[] }>('bgp');
    return peers.length === 3 && peers.every((p) => p.state === 'Established');
  });
  const { stdout } = await router.cli(['doctor', '--json', '-c', router.config]);
  const { checks } = JSON.parse(stdout) as { checks: Check[] };
  t.deepEqual(
    checks.filter((c) => c.name === 'hold-timer').map(({ verdict, text }) => `${verdict}: ${text}`),
    ['b', 'collector', 'inside'].map((name) => `ok: bgp peer ${name}: its hold time is 9 s`),
  );
});
