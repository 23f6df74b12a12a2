/**
 * A changed configuration is loaded while two BIRDs watch: what did not change stays established with its uptime and
 * counters, what changed changes, and what nobody confirms goes away by itself.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { BgpPeerStatus, Reloaded } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { isSameSession, PEER_B, PEER_C, type Peer } from '../kit/peer.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { knows, twoPeers } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  b: Peer;
  c: Peer;
  router: Router;
  /** The configuration with the tunnel to b alone, and with both. */
  alone: string;
  both: string;
}

const missing = Lab.missing('bird', 'birdc', 'wg');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, b, c, tunnelB, tunnelC } = await twoPeers(lab);
    router.configure([tunnelB, tunnelC]);
    const both = readFileSync(router.config, 'utf8');
    router.configure([tunnelB]);
    router.add(`bird_socket: ${join(router.dir, 'bird.ctl')}\n`);
    const alone = readFileSync(router.config, 'utf8');
    Object.assign(t.context, { b, c, router, alone, both: `${both}bird_socket: ${join(router.dir, 'bird.ctl')}\n` });
    await router.up();
    await lab.eventually('b is established', async () => (await session(router, 'b'))?.state === 'Established');
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function session(router: Router, name: string): Promise<BgpPeerStatus | undefined> {
  const { peers } = await router.json<{ peers: BgpPeerStatus[] }>('bgp', 'show');
  return peers.find((p) => p.name === name);
}

/** Run `change` and expect that the session with b did not notice. */
async function undisturbed(t: ExecutionContext<Context>, change: () => Promise<void>): Promise<void> {
  const { router, b } = t.context;
  const since = await b.session();
  const before = (await session(router, 'b'))!;
  await change();
  t.true(isSameSession(await b.session(), since), 'BIRD saw no new session');
  const after = (await session(router, 'b'))!;
  t.is(after.state, 'Established');
  t.true(after.since_s! >= before.since_s!);
  t.true(after.messages_in >= before.messages_in);
  t.is(after.received, before.received);
}

it('an uplink and its session are added and removed beside one that stays', async (t) => {
  const { router, lab, c, alone, both } = t.context;
  await undisturbed(t, async () => {
    router.write(both);
    const diff = await router.cli(['config', 'diff']);
    t.is(diff.status, 1);
    t.regex(
      diff.stdout,
      /2 changes, not loaded\n {2}\+ uplinks\.c +uplink starts\n {2}\+ bgp\.peers\.c +session starts\n/,
    );
    const { status, stdout } = await router.cli(['reload']);
    t.is(status, 0);
    t.regex(stdout, /2 changes\n/);
    await lab.eventually('c is established', async () => (await session(router, 'c'))?.state === 'Established');
    await lab.eventually('c hears of b', async () => knows(c, PEER_B.announce4));
    t.is((await router.cli(['route', 'get', PEER_C.v4])).status, 0);
    t.is((await router.cli(['config', 'diff'])).status, 0);
  });
  await undisturbed(t, async () => {
    router.write(alone);
    t.is((await router.cli(['reload'])).status, 0);
    t.is(await session(router, 'c'), undefined);
    await lab.eventually('c was told goodbye', async () => {
      return (await c.birdc('show', 'protocols', 'all', 'upstream')).includes('Peer de-configured');
    });
    t.is((await router.cli(['route', 'get', PEER_C.v4])).status, 1);
  });
});

it('networks, static routes and policies change without a new session', async (t) => {
  const { router, lab, b, alone } = t.context;
  await undisturbed(t, async () => {
    router.write(
      alone
        .replace(`networks: [`, `networks: ['172.20.230.0/28', `)
        .replace('bgp:\n', 'routes: [{ to: 203.0.113.0/24, type: blackhole }]\nbgp:\n'),
    );
    const answer = JSON.parse((await router.cli(['reload', '--json'])).stdout) as Reloaded;
    t.true(answer.applied);
    t.deepEqual(answer.changes.map((c) => c.path).sort(), ['bgp.networks.172.20.230.0/28', 'routes.203.0.113.0/24']);
    await lab.eventually('the new network arrives', async () => knows(b, '172.20.230.0/28'));
    t.is((await router.json<{ kind: string }>('route', 'get', '203.0.113.1')).kind, 'blackhole');
  });
  await undisturbed(t, async () => {
    router.write(alone.replace(`via: b,`, `via: b, export: none,`));
    t.regex((await router.cli(['reload'])).stdout, /bgp\.peers\.b\.export +all -> none +session stays/);
    await lab.eventually('our routes are withdrawn', async () => !(await knows(b, ROUTER.networks[0])));
    t.is((await router.json<{ kind: string }>('route', 'get', '203.0.113.1')).kind, 'none');
  });
});

it('a session whose own settings change begins anew, and only that one', async (t) => {
  const { router, lab, b, alone } = t.context;
  router.write(alone);
  await router.cli(['reload']);
  const since = await b.session();
  router.write(alone.replace('hold_time: 9s', 'hold_time: 6s'));
  t.regex((await router.cli(['reload'])).stdout, /bgp\.peers\.b\.hold_time +9 -> 6 +session restarts/);
  await lab.eventually('a new session', async () => {
    return !isSameSession(await b.session(), since) && (await session(router, 'b'))?.hold_time_s === 6;
  });
});

it('what needs a new start, and what is wrong, is refused with its reason, and nothing changes', async (t) => {
  const { router, alone } = t.context;
  router.write(alone);
  await router.cli(['reload']);
  await t.context.lab.eventually('b', async () => (await session(router, 'b'))?.state === 'Established');
  await undisturbed(t, async () => {
    router.write(`${alone}buffers: 64MiB\n`);
    const refused = await router.cli(['reload']);
    t.is(refused.status, 1);
    t.regex(
      refused.stderr,
      /cannot change while the router runs: buffers \(memory is divided at the start\)\n {2}hint: /,
    );
    router.write(alone.replace('peers:\n    -', 'peers:\n    - { asn: 1, nonsense: 2 }\n    -'));
    const wrong = await router.cli(['reload']);
    t.is(wrong.status, 78);
    t.regex(wrong.stderr, /mlshim\.yaml:\d+:\d+: error: unknown key "nonsense"/);
  });
});

it('without a confirmation the configuration before comes back by itself; with one it stays', async (t) => {
  const { router, lab, b, alone } = t.context;
  const more = alone.replace(`networks: [`, `networks: ['172.20.230.0/28', `);
  await undisturbed(t, async () => {
    router.write(more);
    t.regex((await router.cli(['reload', '--confirm', '2s'])).stdout, /comes back in 2 s unless: mlshim confirm\n$/);
    await lab.eventually('the new network arrives', async () => knows(b, '172.20.230.0/28'));
    await lab.eventually('and goes', async () => !(await knows(b, '172.20.230.0/28')));
    t.is((await router.cli(['confirm'])).status, 2);
    await router.cli(['reload', '--confirm', '60s']);
    t.regex((await router.cli(['status'])).stdout, /comes back in \d+ s unless confirmed +\(explain C102\)/);
    t.is((await router.cli(['confirm'])).status, 0);
    t.notRegex((await router.cli(['status'])).stdout, /C102/);
    await lab.eventually('the new network stays', async () => knows(b, '172.20.230.0/28'));
  });
});

it('a watcher hears of routes and sessions as they change', async (t) => {
  const { router, lab, b, alone } = t.context;
  router.write(alone);
  await router.cli(['reload']);
  const watch = router.cliStart(['bgp', 'watch']);
  const more = router.cliStart(['bgp', 'watch', '-J']);
  // A watcher is there when it hears of a route that comes and goes until it does.
  await lab.eventually('both hear', async () => {
    await b.birdc('disable', 'static1');
    await b.birdc('enable', 'static1');
    const isTold = watch.stdout.includes(`route ${PEER_B.announce4} withdrawn\n`);
    return (
      isTold && /via fe80::2%b, AS path \d+, from b\n/.test(watch.stdout) && more.stdout.includes('"kind":"route"')
    );
  });
  await router.cli(['bgp', 'peer', 'b', 'down', 'back', 'at', 'noon']);
  await watch.until(/session b: Established -> Idle/);
  t.regex(await b.birdc('show', 'protocols', 'all', 'upstream'), /back at noon/);
  await router.cli(['bgp', 'peer', 'b', 'up']);
  await watch.until(/session b: \w+ -> Established\n/);
  t.is(await watch.stop('SIGINT'), 0);
  await more.stop('SIGINT');
  const events = more.stdout
    .trim()
    .split('\n')
    .map((l) => JSON.parse(l) as { kind: string; peer: string });
  t.true(events.some((e) => e.kind === 'session' && e.peer === 'b'));
});

it('birdc shows our sessions and routes, and loads the configuration', async (t) => {
  const { router, lab, alone } = t.context;
  const birdc = (...words: string[]) => lab.ok(router.ns, 'birdc', ['-s', join(router.dir, 'bird.ctl'), ...words]);
  t.regex(await birdc('show', 'protocols'), /^b {10}BGP {8}--- {8}up {5}\S+ \S+ {2}Established/m);
  t.regex(await birdc('show', 'route', 'for', PEER_B.v4, 'all'), /\tvia fe80::2 on b\n\tType: BGP univ\n/);
  router.write(alone);
  t.regex(await birdc('configure'), /Reading configuration from .*mlshim\.yaml\nReconfigured/);
  t.is((await router.cli(['config', 'diff'])).status, 0);
});
