/**
 * Health of uplinks by what is asked through them: a web server, a name server and a TCP port behind two WireGuard tunnels, and
 * handshakes where there is no probe. Everything of ours is unprivileged.
 */
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { labTests } from '../kit/it.ts';
import { Lab, type LabProcess } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: TwoIsps;
  router: Router;
  server: LabProcess;
}

interface UplinkRow {
  readonly name: string;
  readonly usable: boolean;
  readonly reason: string;
  readonly rtt_ms?: number;
  readonly rtt_variation_ms?: number;
  readonly loss?: number;
  readonly failures: number;
}

const [FIBER, LTE] = ISPS as [(typeof ISPS)[number], (typeof ISPS)[number]];
const WEB = 8080;
const DNS = 5300;
const EAGER = 'every: 200ms, timeout: 150ms, fall: 2, rise: 2';
/** Answers HTTP and DNS, and tells who asked; SIGUSR1 makes both fail, SIGUSR2 good again. */
const ANSWERS = `
  let isGood = true;
  process.on('SIGUSR1', () => { isGood = false; });
  process.on('SIGUSR2', () => { isGood = true; });
  const from = (address) => address.replace('::ffff:', '');
  require('node:http').createServer((request, response) => {
    console.log('http ' + request.headers.host + ' ' + request.url + ' from ' + from(request.socket.remoteAddress));
    response.writeHead(isGood ? 204 : 503).end();
  }).listen(${WEB}, '::', () => {
    const dns = require('node:dgram').createSocket('udp4');
    dns.on('message', (query, { address, port }) => {
      console.log('dns ' + query.subarray(13, 20) + ' from ' + address);
      query[2] |= 0x80;
      query[3] = isGood ? 0 : 2;
      dns.send(query, port, address);
    }).bind(${DNS}, '${SERVER.v4}', () => console.log('ready'));
  });
`;

const missing = Lab.missing('wg', 'tc');
const { test, it } = labTests<Context>(missing);

const RULES = 'rules:\n  - { use: [fiber, lte] }\n';

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const router = new Router(lab, host);
    const isps = new TwoIsps(lab, host, router);
    await isps.build();
    const server = isps.serve(process.execPath, ['-e', ANSWERS]);
    await server.until(/ready/);
    Object.assign(t.context, { isps, router, server });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function uplinksAre(
  { lab, router }: Context,
  expected: Readonly<Record<string, boolean>>,
  timeoutMs?: number,
): Promise<Readonly<Record<string, UplinkRow>>> {
  let rows: readonly UplinkRow[] = [];
  await lab.eventually(
    `uplinks are ${JSON.stringify(expected)}`,
    async () => {
      rows = await router.json<readonly UplinkRow[]>('uplink');
      return rows.every(
        (u) => expected[u.name] === u.usable && (!u.usable || u.loss === undefined || u.rtt_ms !== undefined),
      );
    },
    timeoutMs,
  );
  return Object.fromEntries(rows.map((u) => [u.name, u]));
}

it('HTTP and DNS are asked through the uplink, and what they say decides', async (t) => {
  const { isps, router, server } = t.context;
  const http = `kind: http, port: ${WEB}, path: /health, host: up.example`;
  router.write(
    isps.uplinks({
      fiber: `    probe: { to: ${SERVER.v4}, ${http}, ${EAGER} }\n`,
      lte: `    probe: { to: ${SERVER.v4}, kind: dns, port: ${DNS}, name: example.org, type: A, ${EAGER} }\n`,
    }) + RULES,
  );
  await router.up();
  const { fiber, lte } = await uplinksAre(t.context, { fiber: true, lte: true });
  for (const u of [fiber!, lte!]) t.true(u.rtt_ms! > 0 && u.rtt_variation_ms! >= 0 && u.loss! < 0.5, JSON.stringify(u));
  t.regex(server.stdout, new RegExp(`http up\\.example /health from ${FIBER.v4}\n`));
  t.regex(server.stdout, new RegExp(`dns example from ${LTE.v4}\n`));
  t.notRegex(server.stdout, new RegExp(`http .* from ${LTE.v4}\n|dns .* from ${FIBER.v4}\n`));

  server.child.kill('SIGUSR1');
  const failed = await uplinksAre(t.context, { fiber: false, lte: false });
  t.is(failed['fiber']!.reason, 'HTTP status 503');
  t.is(failed['lte']!.reason, 'the name server says SERVFAIL');
  t.is(failed['lte']!.failures, 1);
  t.regex((await router.cli(['status'])).stdout, /uplink fiber: probes fail \(HTTP status 503\).*U105/);

  server.child.kill('SIGUSR2');
  await uplinksAre(t.context, { fiber: true, lte: true });
});

it('a TCP port is asked over IPv6, and other probes hold after a reload', async (t) => {
  const { isps, router, server } = t.context;
  router.write(
    isps.uplinks({
      fiber: `    probe: { to: '${SERVER.v6}', kind: tcp, port: ${WEB}, ${EAGER} }\n`,
      lte: `    probe: { to: '${SERVER.v6}', kind: tcp, port: 9, ${EAGER} }\n`,
    }) + RULES,
  );
  t.is((await router.cli(['reload'])).status, 0);
  const { lte } = await uplinksAre(t.context, { fiber: true, lte: false });
  t.is(lte!.reason, 'connection refused');
  await server.stop('SIGKILL');
  t.is((await uplinksAre(t.context, { fiber: false, lte: false }))['fiber']!.reason, 'connection refused');
  t.is(await router.down(), 0);
});

it('without probes, an uplink whose handshakes nobody answers is left, and found again', async (t) => {
  const { isps, router } = t.context;
  await isps.cut('fiber', true);
  router.write(isps.uplinks().replaceAll(/ +persistent_keepalive: .*\n/g, '') + RULES);
  await router.up();
  const began = performance.now();
  // One goes to each: that of lte is refused at once, that of fiber when it is found out.
  const connect = `require('node:net').connect(9, '${SERVER.v4}').on('error', (e) => console.log(e.code))`;
  const apps = await Promise.all([1, 2].map(() => router.app('node', ['-e', connect], { timeoutMs: 40_000 })));
  t.deepEqual(apps.map((a) => a.stdout.trim()).sort(), ['ECONNABORTED', 'ECONNREFUSED']);
  const rows = await uplinksAre(t.context, { fiber: false, lte: true }, 40_000);
  t.log(`left after ${((performance.now() - began) / 1000).toFixed(1)} s`);
  t.is(rows['fiber']!.reason, 'handshakes are not answered');
  await isps.cut('fiber', false);
  const backAt = performance.now();
  await uplinksAre(t.context, { fiber: true, lte: true }, 40_000);
  t.log(`found again after ${((performance.now() - backAt) / 1000).toFixed(1)} s`);
  t.is(await router.down(), 0);
});
