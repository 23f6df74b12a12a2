/**
 * What an operator changes in a running router, with two BIRDs as neighbours and traffic between them: parts that change in
 * place leave both sessions alone, and what makes us another speaker replaces the routing worker while packets go on.
 */
import { chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Answers, BgpPeerStatus, Reloaded, Status } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab, type LabProcess, NOBODY } from '../kit/lab.ts';
import { isSameSession, PEER_B, PEER_C, type Peer } from '../kit/peer.ts';
import { missedPings } from '../kit/pings.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { knows, twoPeers } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  b: Peer;
  c: Peer;
  router: Router;
  /** The configuration both sessions come up with. */
  base: string;
}

const missing = Lab.missing('bird', 'birdc', 'wg', 'ping');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, b, c, tunnelB, tunnelC } = await twoPeers(lab);
    router.configure([tunnelB, tunnelC], 'graceful_restart: true');
    Object.assign(t.context, { b, c, router, base: readFileSync(router.config, 'utf8') });
    await router.up();
  });
  test.beforeEach(async (t) => {
    const { router, base, b, c } = t.context;
    router.write(base);
    if (router.daemon !== undefined) await router.cli(['reload']);
    await t.context.lab.eventually('both have all', async () => {
      const { peers } = await router.json<Answers['bgp_show']>('bgp', 'show');
      const isUp = peers.length === 2 && peers.every((p) => p.state === 'Established');
      return isUp && (await knows(b, PEER_C.announce4)) && (await knows(c, PEER_B.announce4));
    });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

/** With more keys of `bgp`. */
const inBgp = (yaml: string, ...lines: readonly string[]): string => {
  const at = '  policy: transit\n';
  return yaml.replace(at, `${at}${lines.map((line) => `  ${line}\n`).join('')}`);
};

async function peerNamed(router: Router, name: string): Promise<BgpPeerStatus> {
  const { peers } = await router.json<Answers['bgp_show']>('bgp', 'show');
  return peers.find((p) => p.name === name)!;
}

/** Load a configuration; neither BIRD sees another session. @returns the changes */
async function live(t: ExecutionContext<Context>, yaml: string): Promise<string[]> {
  const { router, b, c } = t.context;
  const before = [await b.session(), await c.session()];
  router.write(yaml);
  const { status, stdout, stderr } = await router.cli(['reload', '--json']);
  t.is(status, 0, stderr);
  const answer = JSON.parse(stdout) as Reloaded;
  t.deepEqual(
    answer.changes.filter((x) => x.effect !== 'live'),
    [],
  );
  for (const [i, peer] of [b, c].entries())
    t.true(isSameSession(await peer.session(), before[i]!), 'BIRD saw no new session');
  return answer.changes.map((x) => x.path);
}

/** Packets from b to c through us, 50 a second. */
async function traffic({ lab, b }: Context): Promise<LabProcess> {
  const ping = lab.start(b.ns, 'ping', ['-i', '0.02', '-W', '2', '-I', PEER_B.v4, PEER_C.v4]);
  await ping.until(/icmp_seq=10 /);
  return ping;
}

async function lostNothing(t: ExecutionContext<Context>, ping: LabProcess): Promise<void> {
  await ping.stop('SIGINT');
  t.deepEqual(missedPings(ping.stdout), []);
}

it('a named policy changes for the peers that use it, and their routes are judged again', async (t) => {
  const { lab, b, c, base } = t.context;
  const policies = (action: string): string =>
    inBgp(base, `policies: { out: [{ match: { prefix: ${PEER_B.announce4} }, ${action} }, accept] }`).replace(
      'via: c,',
      'via: c, export: [out],',
    );
  await live(t, policies('action: accept'));
  t.true(await knows(c, PEER_B.announce4));
  t.deepEqual(await live(t, policies('action: reject')), ['bgp.peers.c.export']);
  await lab.eventually('c is told no longer', async () => !(await knows(c, PEER_B.announce4)));
  t.true(await knows(b, PEER_C.announce4));
});

it('a filter module is read again with what it imports; one that cannot be loaded is refused with its line', async (t) => {
  const { lab, c, router, base } = t.context;
  const write = (name: string, text: string): void => {
    writeFileSync(join(router.dir, name), text);
    chownSync(join(router.dir, name), NOBODY, NOBODY);
  };
  write(
    'filters.mjs',
    "import { refused } from './lists.mjs';\nexport const out = (r) => refused.has(r.prefix) ? undefined : r;\n",
  );
  write('lists.mjs', 'export const refused = new Set([]);\n');
  const yaml = inBgp(base, 'filters: ./filters.mjs').replace('via: c,', 'via: c, export: { module: out },');
  await live(t, yaml);
  t.true(await knows(c, PEER_B.announce4));
  t.is((await router.cli(['config', 'diff'])).status, 0);
  write('lists.mjs', `export const refused = new Set(['${PEER_B.announce4}']);\n`);
  const diff = await router.cli(['config', 'diff']);
  t.regex(diff.stdout, /~ bgp\.filters +\S+ .* -> \S+ .* +sessions stay, routes are judged again/);
  t.deepEqual(await live(t, yaml), ['bgp.filters']);
  await lab.eventually('c is told no longer', async () => !(await knows(c, PEER_B.announce4)));
  write('filters.mjs', 'export const out = (r) => r..x;\n');
  const refused = await router.cli(['reload']);
  t.is(refused.status, 78);
  t.regex(refused.stderr, /filters\.mjs:1:\d+/);
  await router.cli(['bgp', 'peer', 'c', 'refresh', 'out']);
  t.false(await knows(c, PEER_B.announce4), 'the module before goes on');
});

it('aggregates, limits and next hops of multipath change in place', async (t) => {
  const { lab, c, router, base } = t.context;
  t.deepEqual(
    await live(t, inBgp(base, 'aggregates: [{ prefix: 172.20.52.0/23, summary_only: true }]', 'multipath: {}')),
    ['bgp.aggregates.172.20.52.0/23', 'bgp.multipath'],
  );
  await lab.eventually('the aggregate stands for what is inside', async () => {
    return (await knows(c, '172.20.52.0/23')) && !(await knows(c, PEER_B.announce4));
  });
  await live(t, base.replace('via: b,', 'via: b, max_prefixes: { limit: 1, action: warn },'));
  const log = router.daemon!.stdout + router.daemon!.stderr;
  t.regex(log, /peer comes near its prefix limit peer=b family=ipv4 limit=1/, 'what there is counts at once');
  await lab.eventually('all is told again', async () => knows(c, PEER_B.announce4));
});

it('a BMP station comes and goes, and the FPM server starts, moves and stops', async (t) => {
  const { router, base } = t.context;
  const { pid } = await router.json<Status>('status');
  t.true(pid > 0);
  await live(t, `${inBgp(base, 'bmp: [127.0.0.1:1790]')}fpm: { listen: 127.0.0.1:2621 }\n`);
  const listening = async (): Promise<string> =>
    (await t.context.lab.ok(router.ns, 'ss', ['-Hltn'])).replaceAll(/ +/g, ' ');
  await t.context.lab.eventually('FPM listens', async () => (await listening()).includes('127.0.0.1:2621'));
  await live(t, `${base}fpm: { listen: 127.0.0.1:2622, hold_time: 5s }\n`);
  await t.context.lab.eventually('elsewhere', async () => {
    const now = await listening();
    return now.includes('127.0.0.1:2622') && !now.includes('127.0.0.1:2621');
  });
  t.truthy((await router.json<Status>('status')).fpm);
  await live(t, base);
  await t.context.lab.eventually('nowhere', async () => !(await listening()).includes('127.0.0.1:262'));
  t.is((await router.json<Status>('status')).fpm, undefined);
});

it('where peers of the host may connect changes in place', async (t) => {
  const { router, base, lab } = t.context;
  const listensAt = async (port: number): Promise<boolean> =>
    (await lab.ok(router.ns, 'ss', ['-Hltn'])).includes(`127.0.0.1:${port} `);
  await live(t, inBgp(base, 'host_listen: [127.0.0.1:2179, 127.0.0.1:2180]'));
  await lab.eventually('both ports', async () => (await listensAt(2179)) && (await listensAt(2180)));
  const changes = await live(t, inBgp(base, 'host_listen: [127.0.0.1:2180, 127.0.0.1:2181]'));
  t.true(
    changes.every((path) => path.startsWith('bgp.host_listen')),
    changes.join(),
  );
  await lab.eventually('others', async () => !(await listensAt(2179)) && (await listensAt(2181)));
  t.true(await listensAt(2180));
  await live(t, base);
  await lab.eventually('none', async () => !(await listensAt(2180)) && !(await listensAt(2181)));
});

it('name servers, the preferred source and the BIRD socket change for what comes from now on', async (t) => {
  const { router, base, lab } = t.context;
  const socket = join(router.dir, 'other.ctl');
  await live(
    t,
    `${base.replace(/^source: .*$/m, '').replace(/^dns: .*$/m, 'dns: { servers: [192.0.2.53] }')}bird_socket: other.ctl\n`,
  );
  t.regex(await lab.ok(router.ns, 'birdc', ['-s', socket, 'show', 'protocols']), /^b {10}BGP/m);
  await live(t, base);
  t.not((await lab.run(router.ns, 'birdc', ['-s', socket, 'show', 'status'])).status, 0);
});

it('another router identifier: all sessions restart, no packet is lost, and without a confirmation all comes back', async (t) => {
  const { router, lab, b, c, base } = t.context;
  const ping = await traffic(t.context);
  const isOurs = async (id: string): Promise<boolean> => {
    const shown = await Promise.all([b, c].map((p) => p.birdc('show', 'protocols', 'all', 'upstream')));
    return shown.every((text) => new RegExp(`Neighbor ID: +${id}\n`).test(text));
  };
  t.true(await isOurs(ROUTER.v4));
  router.write(base.replace(`router_id: ${ROUTER.v4}`, 'router_id: 10.9.9.9'));
  const diff = await router.cli(['config', 'diff']);
  t.regex(diff.stdout, /~ bgp\.router_id +\S+ -> 10\.9\.9\.9 +all sessions restart, forwarding goes on/);
  const done = await router.cli(['reload', '--confirm', '8s']);
  t.is(done.status, 0, done.stderr);
  await lab.eventually('both know us by it', async () => isOurs('10.9.9.9'));
  for (const peer of [b, c])
    for (const network of ROUTER.networks)
      t.true((await peer.birdc('show', 'route', network)).includes('upstream'), `${network} was kept`);
  await router.daemon!.until(/packets go by the new routes.*complete=true/, 60_000);
  await router.daemon!.until(/configuration taken back: nobody confirmed/, 30_000);
  await lab.eventually('both know us as before', async () => isOurs(ROUTER.v4));
  await lab.eventually('all is settled again', async () => {
    const log = router.daemon!.stdout + router.daemon!.stderr;
    return [...log.matchAll(/packets go by the new routes.*complete=true/g)].length >= 2;
  });
  await lostNothing(t, ping);
  const { problems } = await router.json<Status>('status');
  t.false(
    problems.some((p) => p.code === 'C103'),
    'nothing went wrong',
  );
  t.is((await router.cli(['config', 'diff'])).status, 1, 'the file still says otherwise');
});

it('what the new worker cannot begin with is refused, and the one there is goes on', async (t) => {
  const { router, b, base } = t.context;
  const since = await b.session();
  router.write(`${base.replace(`router_id: ${ROUTER.v4}`, 'router_id: 10.9.9.9')}bird_socket: /nowhere/bird.ctl\n`);
  const refused = await router.cli(['reload']);
  t.not(refused.status, 0);
  t.regex(refused.stderr, /cannot listen on the bird_socket/);
  t.true(isSameSession(await b.session(), since));
  t.is((await peerNamed(router, 'b')).state, 'Established');
});
