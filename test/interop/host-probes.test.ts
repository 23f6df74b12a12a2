/**
 * Probes over the host's own network, by an ordinary user: an ISP that loses its way to the world while the host's interface
 * stays up takes no new flow; where echo requests are not allowed that is said, and the uplink is used.
 */
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: HostIsps;
  router: Router;
}

interface UplinkRow {
  readonly name: string;
  readonly usable: boolean;
  readonly reason: string;
  readonly rtt_ms?: number;
  readonly decisions: number;
}

const [FIBER, LTE] = HOST_ISPS;
const PORT = 8080;
const EAGER = 'every: 200ms, timeout: 150ms, fall: 2, rise: 2';
const CONFIG = `
uplinks:
  fiber: { kernel: { interface: ${FIBER.device} }, probe: { to: ${HOST_SERVER.v4}, ${EAGER} } }
  lte: { kernel: { interface: ${LTE.device} }, probe: { to: '${HOST_SERVER.v6}', kind: http, port: ${PORT}, ${EAGER} } }
rules:
  - { use: [fiber, lte] }
`;
/** Answers every request with the address it came from. */
const TELLER = `
  require('node:http').createServer((request, response) => {
    response.end(request.socket.remoteAddress.replace('::ffff:', ''));
  }).listen(${PORT}, '::', () => console.log('ready'));
`;

const missing = Lab.missing('tc', 'curl');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const isps = new HostIsps(lab, host);
    await isps.build();
    await isps.serve(process.execPath, ['-e', TELLER]).until(/ready/);
    const router = new Router(lab, host);
    router.write(CONFIG);
    Object.assign(t.context, { isps, router });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const uplinks = (router: Router): Promise<readonly UplinkRow[]> => router.json<readonly UplinkRow[]>('uplink');

async function uplinksAre({ lab, router }: Context, expected: Readonly<Record<string, boolean>>): Promise<void> {
  await lab.eventually(`uplinks are ${JSON.stringify(expected)}`, async () =>
    (await uplinks(router)).every((u) => expected[u.name] === u.usable),
  );
}

/** The addresses that `count` connects of one program get. */
async function connects({ router }: Context, count: number): Promise<readonly string[]> {
  const url = `http://${HOST_SERVER.v4}:${PORT}/`;
  const all = await router.appOk('sh', ['-c', `for i in $(seq ${count}); do curl -s -m 5 ${url}; echo; done`]);
  return all.trim().split('\n').sort();
}

it('where echo requests are not allowed that is said, and the uplink is used', async (t) => {
  const { lab, router } = t.context;
  await router.up();
  await lab.eventually('HTTP is answered', async () => (await uplinks(router)).some((u) => u.rtt_ms !== undefined));
  await uplinksAre(t.context, { fiber: true, lte: true });
  const status = (await router.cli(['status'])).stdout;
  t.regex(status, /uplink fiber: no probes, echo requests are not allowed/);
  t.notRegex(status, /uplink lte/);
  t.deepEqual(await connects(t.context, 4), [FIBER.v4, FIBER.v4, LTE.v4, LTE.v4].sort());
  t.deepEqual(
    (await uplinks(router)).map((u) => u.decisions),
    [2, 2],
  );
  t.is(await router.down(), 0);
});

it('an ISP that loses its way to the world takes no new flow while the interface stays up', async (t) => {
  const { lab, isps, router } = t.context;
  await lab.ok(isps.host, 'sh', ['-c', 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range']);
  await router.up();
  await lab.eventually('both answer', async () => (await uplinks(router)).every((u) => u.rtt_ms !== undefined));
  t.notRegex((await router.cli(['status'])).stdout, /no probes/);
  for (const [isp, other, reason] of [
    [FIBER, LTE, /no answer within 150 ms|no route to host/],
    [LTE, FIBER, /no answer within 150 ms|no route to host/],
  ] as const) {
    await isps.serve('ip', ['link', 'set', `i${isp.name}`, 'down'], isp).exit();
    await uplinksAre(t.context, { [isp.name]: false, [other.name]: true });
    t.regex((await uplinks(router)).find((u) => u.name === isp.name)!.reason, reason);
    t.deepEqual(await connects(t.context, 4), [other.v4, other.v4, other.v4, other.v4]);
    await isps.serve('ip', ['link', 'set', `i${isp.name}`, 'up'], isp).exit();
    await isps.worldOf(isp);
    await uplinksAre(t.context, { [isp.name]: true, [other.name]: true });
  }
  t.is(await router.down(), 0);
});
