/**
 * The routing worker ends under traffic: BIRD keeps our prefixes as the helper of RFC 4724, packets are forwarded by the
 * routes of before, and the new worker comes to the same ones.
 */
import { readdirSync } from 'node:fs';
import type { Answers, RouteStatus, Status } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, type Peer } from '../kit/peer.ts';
import { missedPings } from '../kit/pings.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { onePeer } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  peer: Peer;
  router: Router;
}

const PRELOAD = new URL('../kit/kill-worker.js', import.meta.url).href;
const missing = Lab.missing('bird', 'birdc', 'wg', 'ping');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, peer, remote, tunnel } = await onePeer(lab);
    await peer.startBird(remote, { protocols: BFD(peer), session: 'bfd on; debug { states, events };' });
    router.configure([tunnel], 'graceful_restart: true, bfd: { interval: 100ms, multiplier: 5 }');
    await router.up({ env: { NODE_OPTIONS: `--import ${PRELOAD}`, MLSHIM_TEST_WORKER: 'routing-worker.js' } });
    t.context.peer = peer;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const BFD = (peer: Peer): string =>
  `protocol bfd { interface "${peer.device}" { min rx interval 100 ms; min tx interval 100 ms; multiplier 5; }; }`;

/** When the only BFD session of a BIRD came up, in ms of the day: BIRD works it out anew each time, to a millisecond or so. */
function upSinceMs(sessions: string): number {
  const [, hours, minutes, seconds] = /Up +(\d+):(\d+):([\d.]+)/.exec(sessions) ?? [];
  return ((Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000;
}

const fdsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

const routesOf = async (router: Router): Promise<string[]> => {
  const { routes } = await router.json<{ routes: RouteStatus[] }>('route', 'show');
  return routes.map((r) => `${r.prefix} ${r.kind} ${r.origin} ${JSON.stringify(r.next_hops)}`).sort();
};

const peerOf = async (router: Router): Promise<Answers['bgp_show']['peers'][number]> =>
  (await router.json<Answers['bgp_show']>('bgp', 'show')).peers[0]!;

it('packets are forwarded and BIRD keeps our prefixes while the routing worker starts again', async (t) => {
  const { router, lab, peer } = t.context;
  const isUp = async (): Promise<boolean> => {
    const { state, bfd } = await peerOf(router);
    const isKnown = (await peer.birdc('show', 'route', 'protocol', 'upstream')).includes(ROUTER.networks[0]);
    return state === 'Established' && bfd === 'Up' && isKnown;
  };
  await lab.eventually('the session and BFD', isUp);
  await router.routeTo(PEER_B.v4);
  await router.routeTo(PEER_B.v6);
  const before = await routesOf(router);
  const { pid } = await router.json<Status>('status');
  const fds = fdsOf(pid);
  const bfdBefore = upSinceMs(await peer.birdc('show', 'bfd', 'sessions'));
  const pings = [ROUTER.v4, ROUTER.v6].map((a) => lab.start(peer.ns, 'ping', ['-i', '0.02', '-W', '2', a]));
  for (const p of pings) await p.until(/icmp_seq=10 /);
  process.kill(pid, 'SIGUSR2');
  await router.daemon!.until(/starting another worker/);
  await lab.eventually('BIRD sees a restart', async () => {
    // Stale, but there.
    for (const network of ROUTER.networks)
      t.true((await peer.birdc('show', 'route', network)).includes('upstream'), network);
    return /Neighbor graceful restart detected/.test(peer.bird!.stderr);
  });
  await router.daemon!.until(/packets go by the new routes.*complete=true/, 60_000);
  const log = router.daemon!.stdout + router.daemon!.stderr;
  t.true(
    log.indexOf('packets go by the new routes') > log.lastIndexOf('peer established'),
    'it waited for what BIRD told',
  );
  await lab.eventually('the session and BFD again', isUp);
  t.is(fdsOf(pid), fds, 'descriptors of the sessions before are closed');
  t.deepEqual(await routesOf(router), before);
  for (const p of pings) {
    await p.stop('SIGINT');
    t.deepEqual(missedPings(p.stdout), []);
  }
  for (const network of ROUTER.networks)
    t.true((await peer.birdc('show', 'route', network)).includes('upstream'), network);
  const bfdNow = upSinceMs(await peer.birdc('show', 'bfd', 'sessions'));
  t.true(Math.abs(bfdNow - bfdBefore) < 100, `the BFD session has not noticed: up since ${bfdBefore} and ${bfdNow}`);
  const { problems } = await router.json<Status>('status');
  t.true(problems.some((p) => p.code === 'C103'));
  t.regex((await router.cli(['explain', 'C103'])).stdout, /computes routes ended/);
});
