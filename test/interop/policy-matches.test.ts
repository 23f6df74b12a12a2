/**
 * What rules may ask about an app and its flow, each with real programs of an ordinary user over two tunnels: executable, argv[0],
 * user, cgroup, group, bound address, VRF; and what counters say about it.
 */
import { chmodSync, copyFileSync, mkdirSync, rmdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { labTests } from '../kit/it.ts';
import { cgroup2, Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: TwoIsps;
  router: Router;
}

interface UplinkRow {
  readonly name: string;
  readonly flows: number;
  readonly decisions: number;
}

const [FIBER, LTE] = ISPS as [(typeof ISPS)[number], (typeof ISPS)[number]];
const PORT = 8080;
const CURL = '/usr/bin/curl';
/** Answers every request with the address it came from, after as many milliseconds as asked for. */
const TELLER = `
  require('node:http').createServer((request, response) => {
    const from = request.socket.remoteAddress.replace('::ffff:', '');
    setTimeout(() => response.end(from), Number(request.url.slice(1)));
  }).listen(${PORT}, '::', () => console.log('ready'));
`;
const CGROUPS = cgroup2();

const missing = Lab.missing('wg', 'tc', 'curl');
const { test, it } = labTests<Context>(missing);

const cgroup = `mlshim-test-${process.pid}`;
/** The rules of every test; what none of them names goes by fiber. */
const RULES = `
vrfs: { blue: {} }
rules:
  - { name: by-path, match: { app: '/**/tools/*' }, use: lte }
  - { name: by-name, match: { app: 'brows?r' }, use: lte }
  - { name: another-user, match: { user: root, port: 1-65535 }, reject: true }
  - { name: by-user, match: { user: nobody, group: mine }, use: lte }
  - { name: by-cgroup, match: { cgroup: '/${cgroup}/*.slice' }, use: lte }
  - { name: by-source, match: { from: ['${LTE.v4}', '${LTE.v6}'] }, use: lte }
  - { name: by-vrf, match: { group: blue }, vrf: blue }
  - { name: rest, use: fiber }
`;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const router = new Router(lab, host);
    const isps = new TwoIsps(lab, host, router);
    await isps.build();
    await isps.serve(process.execPath, ['-e', TELLER]).until(/ready/);
    router.write(isps.uplinks() + RULES);
    await router.up();
    Object.assign(t.context, { isps, router });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const url = (host: string = SERVER.v4, waitMs = 0): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${PORT}/${waitMs}`;

/** The address a program's connection has, as the server sees it. */
async function sourceOf({ router }: Context, command: string, args: readonly string[] = [], group?: string) {
  const words = ['run', ...(group === undefined ? [] : ['--group', group]), '--', command, '-sS', '-m', '10'];
  const { status, stdout, stderr } = await router.cli([...words, ...args, url()]);
  return status === 0 ? stdout : `status ${status}: ${stderr}`;
}

it('an executable is known by its path and its name, a program by argv[0]', async (t) => {
  const { router, lab } = t.context;
  const tools = join(lab.dir, 'tools');
  mkdirSync(tools);
  copyFileSync(CURL, join(tools, 'get'));
  copyFileSync(CURL, join(lab.dir, 'browser'));
  symlinkSync(CURL, join(lab.dir, 'browsxr'));
  for (const file of [join(tools, 'get'), join(lab.dir, 'browser')]) chmodSync(file, 0o755);
  t.is(await sourceOf(t.context, CURL), FIBER.v4);
  t.is(await sourceOf(t.context, join(tools, 'get')), LTE.v4);
  t.is(await sourceOf(t.context, join(lab.dir, 'browser')), LTE.v4);
  const renamed = await router.app('bash', ['-c', `exec -a browsor ${CURL} -sS -m 10 ${url()}`]);
  t.is(renamed.stdout, LTE.v4, renamed.stderr);
  const linked = await router.app(join(lab.dir, 'browsxr'), ['-sS', '-m', '10', url()]);
  t.is(linked.stdout, FIBER.v4, 'argv[0] is a path, and the executable is curl');
});

it('a program that executes another one is asked about anew', async (t) => {
  const { router, lab } = t.context;
  const both = `${CURL} -sS ${url()}; echo; exec ${join(lab.dir, 'browser')} -sS ${url()}`;
  const { stdout } = await router.app('sh', ['-c', both]);
  t.is(stdout, `${FIBER.v4}\n${LTE.v4}`);
});

it('a user is known by name, together with a group', async (t) => {
  t.is(await sourceOf(t.context, CURL, [], 'mine'), LTE.v4);
  t.is(await sourceOf(t.context, CURL, [], 'other'), FIBER.v4);
});

it('a cgroup holds for what is below it', async (t) => {
  const { router, lab } = t.context;
  if (CGROUPS === undefined) {
    t.log('there are no cgroups of version 2 here');
    t.pass();
    return;
  }
  const made: string[] = [];
  lab.onClose(() => {
    for (const p of made.reverse()) rmdirSync(p);
  });
  const below = (path: string): string => {
    made.push(join(CGROUPS, cgroup, path));
    mkdirSync(made.at(-1)!);
    return made.at(-1)!;
  };
  below('');
  for (const [path, source] of [
    ['app.slice', LTE.v4],
    ['app.slice/inner', LTE.v4],
    ['app.service', FIBER.v4],
  ] as const) {
    const { stdout, stderr } = await router.app(CURL, ['-sS', '-m', '10', url()], { cgroup: below(path) });
    t.is(stdout, source, `${path}: ${stderr}`);
  }
});

it('an address that the program has bound chooses the uplink, for both families', async (t) => {
  const { router } = t.context;
  for (const [to, from] of [
    [SERVER.v4, LTE.v4],
    [SERVER.v6, LTE.v6],
    [SERVER.v4, FIBER.v4],
  ] as const)
    t.is(await router.appOk(CURL, ['-sS', '-m', '10', '--interface', from, url(to)]), from);
});

it('an action may be the routes of a VRF', async (t) => {
  const { router } = t.context;
  const before = router.text;
  t.regex(await sourceOf(t.context, CURL, [], 'blue'), /status 7/, 'there are none yet');
  router.write(before.replace('  lte:\n', '  lte:\n    vrf: blue\n'));
  t.is((await router.cli(['reload'])).status, 0);
  t.is(await sourceOf(t.context, CURL, [], 'blue'), LTE.v4);
  t.is(await sourceOf(t.context, CURL), FIBER.v4);
  t.is(await sourceOf(t.context, CURL, [], 'mine'), LTE.v4, 'an uplink of a VRF');
  router.write(before);
  t.is((await router.cli(['reload'])).status, 0);
});

it('flows are counted while they last, decisions for ever, and each rule its own', async (t) => {
  const { router, lab } = t.context;
  const rows = (): Promise<readonly UplinkRow[]> => router.json<readonly UplinkRow[]>('uplink');
  const counter = async (rule: string): Promise<number> =>
    (await router.json<{ counters: Record<string, number> }>('status')).counters[`policy_rule_${rule}`] ?? 0;
  await lab.eventually('nothing is left of the tests before', async () => (await rows()).every((u) => u.flows === 0));
  const before = await rows();
  const counted = [await counter('by-user'), await counter('rest')];
  const waiting = ['mine', 'other', 'mine'].map((g) =>
    router.cliStart(['run', '--group', g, '--', CURL, '-sS', url(SERVER.v4, 3000)]),
  );
  await lab.eventually('three flows', async () => (await rows()).reduce((sum, u) => sum + u.flows, 0) === 3);
  t.deepEqual(
    (await rows()).map((u) => [u.name, u.flows]),
    [
      ['fiber', 1],
      ['lte', 2],
    ],
  );
  for (const w of waiting) t.is(await w.exit(), 0);
  await lab.eventually('no flow', async () => (await rows()).every((u) => u.flows === 0));
  t.deepEqual(
    (await rows()).map((u, i) => u.decisions - before[i]!.decisions),
    [1, 2],
  );
  t.deepEqual([(await counter('by-user')) - counted[0]!, (await counter('rest')) - counted[1]!], [2, 1]);
});
