/**
 * DN42's usual session, with others than BIRD: MP-BGP over link-local addresses alone through WireGuard, IPv4 routes with
 * IPv6 next hops (RFC 8950). FRR sends its next hop twice and GoBGP once, both sit at the same address of another uplink,
 * and packets cross us between them.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BgpPeerStatus, RouteStatus } from '../../router/control/messages.ts';
import { hasGobgp } from '../bgp/kit/gobgp.ts';
import { Frr, frrMissing } from '../kit/frr.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, PEER_C, Peer } from '../kit/peer.ts';
import { ROUTER, Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  frr: Frr;
  b: Peer;
  c: Peer;
  router: Router;
}

const missing =
  frrMissing() ?? (hasGobgp() ? undefined : 'not installed: gobgpd') ?? Lab.missing('vtysh', 'wg', 'ping');
const { test, it } = labTests<Context>(missing);

const OURS = 'fe80::1';
/** The attributes of this network fill more than the 4,096 octets of an ordinary message. */
const LONG = '172.20.229.120/29';
const LABELS = Array.from({ length: 400 }, (_, i) => `${ROUTER.asn}:7:${i}`);

const BGPD = (peer: Peer): string => `router bgp ${PEER_B.asn}
 bgp router-id ${PEER_B.v4}
 no bgp ebgp-requires-policy
 no bgp network import-check
 no bgp default ipv4-unicast
 neighbor ${OURS} remote-as ${ROUTER.asn}
 neighbor ${OURS} interface ${peer.device}
 neighbor ${OURS} capability extended-nexthop
 neighbor ${OURS} timers connect 1
 neighbor ${OURS} advertisement-interval 0
 address-family ipv4 unicast
  neighbor ${OURS} activate
  network ${PEER_B.announce4}
 exit-address-family
 address-family ipv6 unicast
  neighbor ${OURS} activate
  network ${PEER_B.announce6}
 exit-address-family`;

const GOBGPD = (peer: Peer): string => `[global.config]
  as = ${PEER_C.asn}
  router-id = "${PEER_C.v4}"
[[neighbors]]
  [neighbors.config]
    neighbor-address = "${OURS}%${peer.device}"
    peer-as = ${ROUTER.asn}
  [neighbors.timers.config]
    connect-retry = 2
    idle-hold-time-after-reset = 1
${['ipv4', 'ipv6'].map((f) => `  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = "${f}-unicast"\n`).join('')}`;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    const [a, nsB, nsC] = [await lab.namespace('a'), await lab.namespace('b'), await lab.namespace('c')];
    await lab.veth('toB', a, '192.0.2.1/24', nsB, '192.0.2.2/24');
    await lab.veth('toC', a, '198.51.100.1/24', nsC, '198.51.100.2/24');
    const router = new Router(lab, a);
    const [b, c] = [new Peer(lab, nsB, PEER_B), new Peer(lab, nsC, PEER_C)];
    for (const [peer, name] of [
      [b, 'b'],
      [c, 'c'],
    ] as const)
      await peer.tunnel({ publicKey: router.key(name).publicKey, asn: ROUTER.asn, linkLocal: OURS }, 51820);
    router.configure([
      { name: 'b', peer: b, endpoint: '192.0.2.2:51820', linkLocal: OURS },
      { name: 'c', peer: c, endpoint: '198.51.100.2:51820', linkLocal: OURS },
    ]);
    const networks = `networks: [{ prefix: ${LONG}, communities: ['${LABELS.join("', '")}'] }, `;
    router.write(router.text.replace('networks: [', networks));
    await router.up();
    const frr = new Frr(lab, nsB);
    t.context = { lab, frr, b, c, router };
    await frr.start('zebra', '');
    await frr.start('bgpd', BGPD(b));
    const file = join(c.dir, 'gobgp.toml');
    writeFileSync(file, GOBGPD(c));
    lab.start(nsC, 'gobgpd', ['-t', 'toml', '-f', file, '--pprof-disable']);
    await lab.eventually('GoBGP answers', async () => (await lab.run(nsC, 'gobgp', ['global'])).status === 0);
    for (const [family, prefix] of [
      ['ipv4', PEER_C.announce4],
      ['ipv6', PEER_C.announce6],
    ] as const)
      await lab.ok(nsC, 'gobgp', ['global', 'rib', 'add', prefix, '-a', family]);
    // GoBGP has no forwarding table.
    await c.ip('route', 'add', '172.20.0.0/14', 'via', 'inet6', OURS, 'dev', c.device, 'src', PEER_C.v4);
    await c.ip('route', 'add', 'fd42::/16', 'via', OURS, 'dev', c.device, 'src', PEER_C.v6);
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const ways = async (router: Router): Promise<[string, string][]> =>
  (await router.json<{ routes: RouteStatus[] }>('route', 'show')).routes
    .filter((r) => r.origin === 'ebgp')
    .map((r) => [r.prefix, r.next_hops.map((h) => `${h.gateway}%${h.uplink}`).join()]);

it('FRR and GoBGP are peers over link-local addresses; next hops belong to the uplink of their session', async (t) => {
  const { lab, router } = t.context;
  await lab.eventually('four routes', async () => (await ways(router)).length === 4, 60_000);
  t.deepEqual((await ways(router)).sort(), [
    [PEER_B.announce4, 'fe80::2%b'],
    [PEER_C.announce4, 'fe80::2%c'],
    [PEER_B.announce6, 'fe80::2%b'],
    [PEER_C.announce6, 'fe80::2%c'],
  ]);
  const { peers } = await router.json<{ peers: BgpPeerStatus[] }>('bgp');
  t.deepEqual(
    peers.map((p) => [p.name, p.state, p.faults]),
    [
      ['b', 'Established', 0],
      ['c', 'Established', 0],
    ],
  );
});

it('FRR installs our routes in its kernel, and packets cross us in both families', async (t) => {
  const { lab, b } = t.context;
  const kernel = async (): Promise<string> => (await b.ip('route')) + (await b.ip('-6', 'route'));
  await lab.eventually('the kernel has the routes of GoBGP', async () => {
    const text = await kernel();
    return text.includes(PEER_C.announce4) && text.includes(PEER_C.announce6);
  });
  t.regex(await kernel(), new RegExp(`${PEER_C.announce4} .*via inet6 ${OURS} dev ${b.device}`));
  for (const [from, to] of [
    [PEER_B.v4, PEER_C.v4],
    [PEER_B.v6, PEER_C.v6],
  ] as const)
    t.regex(await lab.ok(b.ns, 'ping', ['-c', '3', '-i', '0.02', '-I', from, to]), /3 received/);
});

it('GoBGP has the routes of FRR with a next hop it can use', async (t) => {
  const { lab, c } = t.context;
  for (const [family, prefix] of [
    ['ipv4', PEER_B.announce4],
    ['ipv6', PEER_B.announce6],
  ] as const) {
    const text = async (): Promise<string> => lab.ok(c.ns, 'gobgp', ['global', 'rib', '-a', family]);
    await lab.eventually(`${prefix} in GoBGP`, async () => (await text()).includes(prefix));
    t.regex(await text(), new RegExp(`${prefix} +${OURS}\\S* +${ROUTER.asn} ${PEER_B.asn} `));
  }
});

it('a route whose attributes need a long message reaches FRR whole (RFC 8654)', async (t) => {
  const { lab, frr } = t.context;
  const seen = async () =>
    (
      JSON.parse(await frr.vtysh(`show bgp ipv4 unicast ${LONG} json`)) as {
        paths?: { largeCommunity?: { list: string[] } }[];
      }
    ).paths?.[0];
  await lab.eventually('the route in FRR', async () => (await seen()) !== undefined);
  t.deepEqual([...(await seen())!.largeCommunity!.list].sort(), [...LABELS].sort());
});
