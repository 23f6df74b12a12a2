/**
 * Two peers of parts nobody here wrote with one unprivileged mlshim between them: it learns each one's prefixes by BGP,
 * tells them to the other, and forwards their packets from tunnel to tunnel.
 */
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, PEER_C, type Peer } from '../kit/peer.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { twoPeers } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  b: Peer;
  c: Peer;
  router: Router;
}

const missing = Lab.missing('bird', 'birdc', 'iperf3', 'wg', 'ping', 'traceroute');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, b, c, tunnelB, tunnelC } = await twoPeers(lab, '');
    router.configure([tunnelB, tunnelC]);
    await router.up();
    await router.routeTo(PEER_B.v4);
    await router.routeTo(PEER_C.v4);
    t.context.b = b;
    t.context.c = c;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

/** Wait until a peer's BIRD has (or no longer has) a prefix. */
async function birdRoute(lab: Lab, peer: Peer, prefix: string, isThere = true): Promise<void> {
  await lab.eventually(
    `BIRD of AS${peer.plan.asn} ${isThere ? 'has' : 'lost'} ${prefix}`,
    async () => (await peer.birdc('show', 'route', 'all')).includes(prefix) === isThere,
  );
}

it("BIRD on each side learns the other's prefixes through us, with our AS in the path", async (t) => {
  const { lab, b, c } = t.context;
  for (const [peer, other] of [
    [b, c],
    [c, b],
  ] as const) {
    await birdRoute(lab, peer, other.plan.announce4);
    await birdRoute(lab, peer, other.plan.announce6);
    for (const network of ROUTER.networks) await birdRoute(lab, peer, network);
    t.regex(await peer.birdc('show', 'route', 'all'), new RegExp(`BGP.as_path: ${ROUTER.asn} ${other.plan.asn}`));
  }
});

it('ping crosses us in both families', async (t) => {
  const { lab, b } = t.context;
  for (const [from, to] of [
    [PEER_B.v4, PEER_C.v4],
    [PEER_B.v6, PEER_C.v6],
  ] as const) {
    const out = await lab.ok(b.ns, 'ping', ['-c', '5', '-i', '0.02', '-I', from, to]);
    t.regex(out, /5 received/);
    t.regex(out, /ttl=63/);
    // A packet too big for the tunnels arrives in fragments.
    t.regex(await lab.ok(b.ns, 'ping', ['-c', '2', '-i', '0.02', '-s', '4000', '-I', from, to]), /2 received/);
  }
});

it('traceroute shows us as the hop between', async (t) => {
  const { lab, b } = t.context;
  const v4 = await lab.ok(b.ns, 'traceroute', ['-n', '-q', '1', '-s', PEER_B.v4, PEER_C.v4]);
  t.regex(v4, new RegExp(`1  ${ROUTER.v4.replaceAll('.', '\\.')} `));
  t.regex(v4, /2 {2}172\.20\.77\.1 /);
  const v6 = await lab.ok(b.ns, 'traceroute', ['-6', '-n', '-q', '1', '-s', PEER_B.v6, PEER_C.v6]);
  t.regex(v6, new RegExp(`1  ${ROUTER.v6} `));
  t.regex(v6, /2 {2}fd42:77::1 /);
});

it('iperf3 crosses us, TCP and UDP', async (t) => {
  const { lab, b, c } = t.context;
  for (const args of [[], ['-R'], ['-u', '-b', '50M'], ['-6', '-B', PEER_B.v6]]) {
    const server = await c.startIperf();
    const target = args.includes('-6') ? PEER_C.v6 : PEER_C.v4;
    const from = args.includes('-6') ? [] : ['-B', PEER_B.v4];
    const out = await lab.ok(b.ns, 'iperf3', ['-c', target, '-t', '2', '--json', ...from, ...args]);
    const { end } = JSON.parse(out) as {
      end: { sum_received?: { bits_per_second: number; bytes: number }; sum?: { lost_percent: number; bytes: number } };
    };
    const bytes = end.sum_received?.bytes ?? end.sum?.bytes ?? 0;
    t.true(bytes > 1e6, out);
    t.log(`${args.join(' ')}: ${((end.sum_received?.bits_per_second ?? 0) / 1e9).toFixed(2)} Gbit/s`);
    await server.stop();
  }
});

it('cutting one tunnel withdraws its routes, restoring it brings them back', async (t) => {
  const { lab, b, c, router } = t.context;
  await lab.host('ip', ['-n', c.ns, 'link', 'set', 'toC', 'down']);
  await birdRoute(lab, b, c.plan.announce4, false);
  await birdRoute(lab, b, c.plan.announce6, false);
  t.is((await router.cli(['route', 'get', PEER_C.v4])).status, 1);
  await lab.host('ip', ['-n', c.ns, 'link', 'set', 'toC', 'up']);
  await birdRoute(lab, b, c.plan.announce4);
  await birdRoute(lab, b, c.plan.announce6);
  t.regex(await lab.ok(b.ns, 'ping', ['-c', '2', '-i', '0.02', '-I', PEER_B.v4, PEER_C.v4]), /2 received/);
});
