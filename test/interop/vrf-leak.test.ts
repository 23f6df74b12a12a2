/**
 * One unprivileged router with two VRFs that import each other's routes by target, without any VPN session: customers behind
 * them reach each other, and the router's own addresses in the other VRF.
 */
import type { Answers, Status } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, PEER_C, Peer } from '../kit/peer.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  b: Peer;
  c: Peer;
  x: Router;
}

const missing = Lab.missing('bird', 'birdc', 'wg', 'ping');
const { test, it } = labTests<Context>(missing);

const ASN = 4242420001;
/** Addresses of the router towards the two customers. */
const IN_RED = '10.1.0.1';
const IN_BLUE = '10.2.0.1';

function uplink(name: string, vrf: string, address: string, key: string, endpoint: string): string {
  return `  ${name}:
    vrf: ${vrf}
    wireguard:
      private_key: !file ${name}.key
      addresses: ['fe80::1/64', ${address}/32]
      table: off
      peers: [{ public_key: ${key}, endpoint: '${endpoint}:51820', allowed_ips: [0.0.0.0/0, '::/0'], persistent_keepalive: 25s }]
`;
}

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const [nsX, nsB, nsC] = await Promise.all(['x', 'b', 'c'].map((n) => lab.namespace(n)));
    await lab.veth('xb', nsX!, '198.51.100.1/30', nsB!, '198.51.100.2/30');
    await lab.veth('xc', nsX!, '198.51.100.5/30', nsC!, '198.51.100.6/30');
    const x = new Router(lab, nsX!);
    const b = new Peer(lab, nsB!, PEER_B);
    const c = new Peer(lab, nsC!, PEER_C);
    Object.assign(t.context, { b, c, x });
    for (const [peer, name] of [
      [b, 'b'],
      [c, 'c'],
    ] as const) {
      const remote = { publicKey: x.key(name).publicKey, asn: ASN, linkLocal: 'fe80::1' };
      await peer.tunnel(remote, 51820);
      await peer.startBird(remote);
    }
    x.keyFiles('b', 'c');
    const session = (peer: Peer, via: string): string =>
      `    - { name: ${via}, asn: ${peer.plan.asn}, via: ${via}, address: 'fe80::2', hold_time: 9s }\n`;
    x.write(`vrfs:
  red: { rd: '64601:1', import: ['64601:20'], export: ['64601:10'], networks: [${IN_RED}/32] }
  blue: { rd: '64601:2', import: ['64601:10'], export: ['64601:20'], networks: [${IN_BLUE}/32] }
uplinks:
${uplink('b', 'red', IN_RED, b.keys.publicKey, '198.51.100.2')}${uplink('c', 'blue', IN_BLUE, c.keys.publicKey, '198.51.100.6')}bgp:
  asn: ${ASN}
  router_id: 10.0.0.1
  policy: transit
  peers:
${session(b, 'b')}${session(c, 'c')}`);
    await x.up();
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function birdHas(lab: Lab, peer: Peer, prefix: string): Promise<void> {
  await lab.eventually(`BIRD of AS${peer.plan.asn} has ${prefix}`, async () =>
    (await peer.birdc('show', 'route', 'all')).includes(prefix),
  );
}

it('customers of two VRFs learn each other, and route get names the way through the other VRF', async (t) => {
  const { lab, b, c, x } = t.context;
  await birdHas(lab, b, c.plan.announce4);
  await birdHas(lab, b, c.plan.announce6);
  await birdHas(lab, c, b.plan.announce4);
  t.regex(await b.birdc('show', 'route', 'all'), new RegExp(`BGP.as_path: ${ASN} ${PEER_C.asn}`));
  const route = await x.json<Answers['route_get']>('route', 'get', PEER_C.v4, '--vrf', 'red');
  t.like(route, {
    kind: 'unicast',
    prefix: PEER_C.announce4,
    source: IN_RED,
    next_hops: [{ gateway: 'fe80::2', uplink: 'c', weight: 1 }],
  });
  t.regex(route.reasons.join('\n'), /^table red: .*\ntable blue: /);
  const shown = await x.json<Answers['route_show']>('route', 'show', '--vrf', 'red');
  const leaked = shown.routes.find((r) => r.prefix === PEER_C.announce4);
  t.deepEqual(leaked?.next_hops, [{ gateway: '', uplink: '(vrf blue)', weight: 1 }]);
  const { candidates } = await x.json<Answers['bgp_explain']>('bgp', 'explain', PEER_C.announce4, '--vrf', 'red');
  t.deepEqual(
    candidates.map((k) => k.route.peer),
    ['(vrf blue)'],
  );
});

it('the table of VPN routes says who imports what', async (t) => {
  const { x } = t.context;
  const { routes } = await x.json<Answers['bgp_vpn']>('bgp', 'vpn', '64601:2', PEER_C.v4);
  t.like(routes[0], { prefix: PEER_C.announce4, peer: '(vrf blue)', targets: ['64601:20'], vrfs: ['red'] });
  t.is(routes.length, 1);
  t.like((await x.json<Status>('status')).counters, { vpn_routes: 0, vpn_routes_labelled: 0 });
});

it('packets cross from VRF to VRF, and to the addresses of the router in the other one', async (t) => {
  const { lab, b, c } = t.context;
  const pings = async (from: Peer, source: string, to: string, ttl: number): Promise<void> => {
    await lab.eventually(`an answer of ${to}`, async () => {
      return (await lab.run(from.ns, 'ping', ['-c', '1', '-W', '1', '-I', source, to])).status === 0;
    });
    const out = await lab.ok(from.ns, 'ping', ['-c', '5', '-i', '0.02', '-I', source, to]);
    t.regex(out, /5 received/);
    t.regex(out, new RegExp(`ttl=${ttl}`));
  };
  await pings(b, PEER_B.v4, PEER_C.v4, 63);
  await pings(b, PEER_B.v6, PEER_C.v6, 63);
  await pings(c, PEER_C.v4, PEER_B.v4, 63);
  await pings(b, PEER_B.v4, IN_BLUE, 64);
  await pings(c, PEER_C.v4, IN_RED, 64);
});

it('a route that goes in one VRF goes in the other', async (t) => {
  const { lab, b, x } = t.context;
  t.is((await x.cli(['bgp', 'peer', 'c', 'down'])).status, 0);
  await lab.eventually('BIRD has lost the route', async () => {
    return !(await b.birdc('show', 'route', 'all')).includes(PEER_C.announce4);
  });
  t.is((await x.cli(['route', 'get', PEER_C.v4, '--vrf', 'red'])).status, 1);
  t.is((await x.cli(['bgp', 'peer', 'c', 'up'])).status, 0);
  await birdHas(lab, b, PEER_C.announce4);
});
