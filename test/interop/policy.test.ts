/**
 * An unprivileged app with two uplinks of different rate: rules choose by group, protocol and port, a balancer shares
 * connections out so that the sum of both rates arrives, and an uplink that fails takes no new flow.
 */
import { readFileSync } from 'node:fs';
import { iperf } from '../kit/iperf.ts';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: TwoIsps;
  router: Router;
}

interface UplinkRow {
  readonly name: string;
  readonly usable: boolean;
  readonly drained: boolean;
  readonly rtt_ms?: number;
  readonly flows: number;
}

const [FIBER, LTE] = ISPS as [(typeof ISPS)[number], (typeof ISPS)[number]];
const RULES = `
groups:
  both: { uplinks: [fiber, lte], balance: round_robin }
  even: { uplinks: [{ uplink: fiber, weight: 1 }, { uplink: lte, weight: 1 }] }
rules:
  - { name: wired, match: { group: wired }, use: fiber }
  - { name: wireless, match: { group: wireless }, use: lte }
  - { name: forbidden, match: { port: 5999 }, reject: true }
  - { name: mixed, match: { group: mixed }, use: even }
  - { name: patient, match: { group: patient }, use: fiber, on_failure: next }
  - { use: both }
`;
const PROBES = (target: string): string =>
  `    probe: { to: ${target}, every: 200ms, timeout: 180ms, fall: 2, rise: 2 }\n`;

const missing = Lab.missing('iperf3', 'wg', 'tc', 'curl', 'nginx');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const router = new Router(lab, host);
    const isps = new TwoIsps(lab, host, router);
    await isps.build();
    router.write(
      isps.uplinks({
        fiber: `    bandwidth: 20Mbit\n${PROBES(FIBER.plan.v4)}`,
        lte: `    bandwidth: 30Mbit\n${PROBES(LTE.plan.v4)}`,
      }) + RULES,
    );
    await router.up();
    await uplinksAre(router, lab, { fiber: true, lte: true });
    Object.assign(t.context, { isps, router });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function uplinks(router: Router): Promise<readonly UplinkRow[]> {
  return await router.json<readonly UplinkRow[]>('uplink');
}

async function uplinksAre(router: Router, lab: Lab, expected: Readonly<Record<string, boolean>>): Promise<void> {
  await lab.eventually(`uplinks are ${JSON.stringify(expected)}`, async () =>
    (await uplinks(router)).every((u) => expected[u.name] === u.usable && (!u.usable || u.rtt_ms !== undefined)),
  );
}

it('a process of a group uses its uplink only', async (t) => {
  const wired = await iperf(t.context, 'wired', '-c', SERVER.v4, '-P', '4', '-R');
  t.deepEqual(wired.streams, { [FIBER.v4]: 4 });
  t.true(wired.mbit < FIBER.rate);
  const wireless = await iperf(t.context, 'wireless', '-c', SERVER.v6, '-P', '4', '-R');
  t.deepEqual(wireless.streams, { [LTE.v6]: 4 });
  t.log(`fiber alone ${wired.mbit.toFixed(1)}, lte alone ${wireless.mbit.toFixed(1)} Mbit/s`);
});

it('ten streams of one app are shared out by bandwidth and get the sum of both', async (t) => {
  const alone = [];
  for (const group of ['wired', 'wireless'])
    alone.push((await iperf(t.context, group, '-c', SERVER.v4, '-P', '5', '-R')).mbit);
  for (const [to, addresses] of [
    [SERVER.v4, [FIBER.v4, LTE.v4]],
    [SERVER.v6, [FIBER.v6, LTE.v6]],
  ] as const) {
    const { mbit, streams } = await iperf(t.context, undefined, '-c', to, '-P', '10', '-R');
    t.log(`${mbit.toFixed(1)} of ${alone.map((m) => m.toFixed(1)).join(' + ')} Mbit/s: ${JSON.stringify(streams)}`);
    t.deepEqual(Object.keys(streams).sort(), [...addresses].sort());
    t.true(mbit >= 0.95 * (alone[0]! + alone[1]!), `${mbit} Mbit/s`);
  }
});

it('ten streams of a group of equal weights alternate: TCP and UDP, IPv4 and IPv6', async (t) => {
  for (const to of [SERVER.v4, SERVER.v6])
    for (const kind of [[], ['-u', '-b', '1M']]) {
      const { streams } = await iperf(t.context, 'mixed', '-c', to, ...kind, '-P', '10');
      t.log(`${to} ${kind[0] ?? ''}: ${JSON.stringify(streams)}`);
      // The control connection is the eleventh: whichever it took, the others differ by no more than one.
      t.true(
        Object.values(streams).every((n) => n >= 4 && n <= 6),
        JSON.stringify(streams),
      );
      t.is(Object.keys(streams).length, 2);
    }
});

it('what a rule rejects is refused at once, and nothing else', async (t) => {
  const { router } = t.context;
  const refused = await router.app('curl', ['-sS', '--max-time', '5', `http://${SERVER.v4}:5999/`]);
  t.is(refused.status, 7);
  t.regex(refused.stderr, /Permission denied|Failed to connect|Couldn't connect/);
});

it('an uplink that is cut takes no new flow within a second, and is used again when it is back', async (t) => {
  const { lab, isps, router } = t.context;
  await isps.cut('fiber', true);
  const cutAt = performance.now();
  await uplinksAre(router, lab, { fiber: false, lte: true });
  t.log(`noticed after ${(performance.now() - cutAt).toFixed(0)} ms, the question included`);
  const shared = await iperf(t.context, undefined, '-c', SERVER.v4, '-P', '4', '-R');
  t.deepEqual(shared.streams, { [LTE.v4]: 4 });
  const patient = await iperf(t.context, 'patient', '-c', SERVER.v4, '-R');
  t.deepEqual(patient.streams, { [LTE.v4]: 1 });
  const wired = await router.cli(['run', '--group', 'wired', '--', 'curl', '-sS', `http://${SERVER.v4}/`]);
  t.is(wired.status, 7, 'a rule that names one uplink refuses rather than leaks');
  await isps.cut('fiber', false);
  await uplinksAre(router, lab, { fiber: true, lte: true });
  t.deepEqual(Object.keys((await iperf(t.context, undefined, '-c', SERVER.v4, '-P', '10', '-R')).streams).length, 2);
});

it('flows on an uplink that dies are reset, those on the other go on', async (t) => {
  const { lab, isps, router } = t.context;
  const server = await isps.iperf();
  const doomed = router.cliStart(['run', '-g', 'wired', '--', 'iperf3', '-c', SERVER.v4, '-t', '60', '--forceflush']);
  await doomed.until(/ 0\.00-\d/);
  t.true((await uplinks(router)).find((u) => u.name === 'fiber')!.flows > 0);
  await isps.cut('fiber', true);
  t.not(await doomed.exit(), 0);
  await uplinksAre(router, lab, { fiber: false, lte: true });
  await lab.eventually('no flow is left there', async () => (await uplinks(router))[0]!.flows === 0);
  await isps.cut('fiber', false);
  await uplinksAre(router, lab, { fiber: true, lte: true });
  await server.stop();
});

it('a drained uplink takes no new flow until it is undrained', async (t) => {
  const { router } = t.context;
  t.is((await router.cli(['uplink', 'drain', 'lte'])).status, 0);
  t.like(
    (await uplinks(router)).find((u) => u.name === 'lte'),
    { drained: true, usable: false },
  );
  t.deepEqual((await iperf(t.context, undefined, '-c', SERVER.v4, '-P', '4')).streams, { [FIBER.v4]: 4 });
  t.is((await router.cli(['uplink', 'undrain', 'lte'])).status, 0);
  t.is(Object.keys((await iperf(t.context, undefined, '-c', SERVER.v4, '-P', '10')).streams).length, 2);
  const unknown = await router.cli(['uplink', 'drain', 'dsl']);
  t.is(unknown.status, 2);
  t.regex(unknown.stderr, /no uplink "dsl"/);
});

it('other rules hold for new flows after a reload, and no uplink is touched', async (t) => {
  const { router } = t.context;
  const before = readFileSync(router.config, 'utf8');
  router.write(before.replace('group: wired }, use: fiber', 'group: wired }, use: lte'));
  const { status, stdout, stderr } = await router.cli(['reload']);
  t.is(status, 0, stderr);
  t.regex(stdout, /rules/);
  t.deepEqual((await iperf(t.context, 'wired', '-c', SERVER.v4, '-P', '2')).streams, { [LTE.v4]: 2 });
  t.true((await uplinks(router)).every((u) => u.usable));
});
