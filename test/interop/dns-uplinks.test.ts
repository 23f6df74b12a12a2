/**
 * Names are resolved through the uplink that the connection will use: each ISP's resolver says who it is, and knows only whom
 * that ISP lets in. Real programs (curl, getent, dig) as an unprivileged user; one uplink is a path of the host, one a tunnel.
 */
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: TwoIsps;
  router: Router;
}

const [FIBER, LTE] = ISPS as [(typeof ISPS)[number], (typeof ISPS)[number]];
/** The host's interface towards the second ISP, and its addresses. */
const HOST = { device: `o${LTE.name}`, v4: `${LTE.outside}.1`, router: `${LTE.outside}.2` } as const;
/** Where the router's own stack takes TCP connections to the host's name servers (router/shimlink/hub.ts). */
const DOOR = 'fe80::35';
/** What each resolver says of the same name. */
const SAYS = { fiber: '203.0.113.11', lte: '203.0.113.12' } as const;

const missing = Lab.missing('dnsmasq', 'dig', 'curl', 'wg', 'tc', 'python3');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const router = new Router(lab, host);
    const isps = new TwoIsps(lab, host, router);
    await isps.build();
    Object.assign(t.context, { isps, router });
    for (const address of Object.values(SAYS)) await isps.serverAddress(address);
    await isps.reachHost(LTE);
    await lab.host('ip', [
      '-n',
      host,
      'route',
      'add',
      'default',
      'via',
      HOST.router,
      'dev',
      HOST.device,
      'metric',
      '200',
    ]);
    for (const isp of ISPS) await resolver(t.context, isp.name, `${isp.inside}.1`, SAYS[isp.name as keyof typeof SAYS]);
    const page = isps.serve('python3', ['-u', '-c', PAGE]);
    await page.until(/serving/);
    router.write(
      isps.uplinks({
        fiber: `    dns: [${FIBER.inside}.1]\n`,
        lte: `    dns: [${LTE.inside}.1]\n`,
      }) + RULES,
    );
    await router.up();
    await lab.eventually('all uplinks are usable', async () =>
      (await router.json<readonly { readonly usable: boolean }[]>('uplink')).every((u) => u.usable),
    );
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const RULES = `
  host: { dns: [${LTE.inside}.1], kernel: { interface: ${HOST.device} } }
groups:
  turns: { uplinks: [fiber, host] }
rules:
  - { name: by-tunnel, match: { group: tunnel }, use: fiber }
  - { name: by-host, match: { group: host }, use: host }
  - { name: turns, match: { group: turns }, use: turns }
  - { name: special, match: { group: split, domain: special.example }, use: host }
  - { name: rest, match: { group: split }, use: fiber }
`;

/** Says on which of its addresses it was asked, and by whom. */
const PAGE = `
import http.server
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f'{self.connection.getsockname()[0]} {self.client_address[0]}\\n'.encode()
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(('', 80), H); print('serving'); s.serve_forever()
`;

/** A resolver of an ISP that knows all names to be at one address; it logs what it is asked. */
async function resolver({ isps }: Context, isp: string, listen: string, says: string): Promise<void> {
  const peer = isps.peers.get(isp)!;
  const server = isps.lab.start(peer.ns, 'dnsmasq', [
    '--keep-in-foreground',
    '--no-resolv',
    '--no-hosts',
    '--conf-file=/dev/null',
    '--bind-interfaces',
    '--except-interface=lo',
    `--listen-address=${listen}`,
    '--log-facility=-',
    '--log-queries',
    '--user=root',
    '--pid-file=',
    `--address=/example/${says}`,
    ...Array.from({ length: 200 }, (_, i) => `--txt-record=big.example,${isp} ${'x'.repeat(60)} ${i}`),
  ]);
  await server.until(/started/);
}

const run = async ({ router }: Context, group: string, ...words: string[]): Promise<string> => {
  const { status, stdout, stderr } = await router.cli(['run', '-g', group, '--', ...words]);
  if (status !== 0) throw new Error(`${words.join(' ')} ended with ${status}: ${stdout}${stderr}`);
  return stdout.trim();
};

it('getaddrinfo asks the resolver of the uplink that the connection takes, tunnel or host', async (t) => {
  t.regex(await run(t.context, 'tunnel', 'getent', 'ahostsv4', 'www.example'), new RegExp(SAYS.fiber));
  t.regex(await run(t.context, 'host', 'getent', 'ahostsv4', 'www.example'), new RegExp(SAYS.lte));
  const curl = ['curl', '-sS', '--max-time', '10', 'http://www.example/'];
  t.is(await run(t.context, 'tunnel', ...curl), `${SAYS.fiber} ${FIBER.v4}`);
  t.is(await run(t.context, 'host', ...curl), `${SAYS.lte} ${HOST.v4}`);
});

it('in a group that takes turns, a name is asked where its connection will go', async (t) => {
  const pages = [];
  for (let i = 0; i < 4; i++)
    pages.push(await run(t.context, 'turns', 'curl', '-sS', '--max-time', '10', `http://n${i}.example/`));
  t.deepEqual(pages.sort(), [
    `${SAYS.fiber} ${FIBER.v4}`,
    `${SAYS.fiber} ${FIBER.v4}`,
    `${SAYS.lte} ${HOST.v4}`,
    `${SAYS.lte} ${HOST.v4}`,
  ]);
});

it("queries that programs send to resolved's stub go there as well, by UDP and by TCP", async (t) => {
  for (const [group, isp] of [
    ['tunnel', 'fiber'],
    ['host', 'lte'],
  ] as const) {
    const dig = ['dig', '@127.0.0.53', '+tries=1', '+time=5'];
    t.is(await run(t.context, group, ...dig, '+short', 'www.example'), SAYS[isp]);
    t.is(await run(t.context, group, ...dig, '+short', '+tcp', 'www.example'), SAYS[isp]);
    const big = await run(t.context, group, ...dig, 'TXT', 'big.example');
    t.is(big.match(new RegExp(`"${isp} x{60} \\d+"`, 'g'))?.length, 200, big);
    t.regex(big, /Truncated, retrying in TCP mode/);
    t.regex(big, /SERVER: 127\.0\.0\.53#53\(127\.0\.0\.53\) \(TCP\)/);
  }
});

it('a name decides by itself where it is asked, and answers to programs teach rules by domain', async (t) => {
  const dig = ['dig', '@127.0.0.53', '+short'];
  t.is(await run(t.context, 'split', ...dig, 'www.special.example'), SAYS.lte);
  t.is(await run(t.context, 'split', ...dig, 'www.example'), SAYS.fiber);
  // Nobody but dig has asked for these names: the address alone decides now.
  t.is(
    await run(t.context, 'split', 'curl', '-sS', '--max-time', '10', `http://${SAYS.lte}/`),
    `${SAYS.lte} ${HOST.v4}`,
  );
  t.is(
    await run(t.context, 'split', 'curl', '-sS', '--max-time', '10', `http://${SERVER.v4}/`),
    `${SERVER.v4} ${FIBER.v4}`,
  );
});

it('a server that a program names itself is asked by the uplink that rules choose for the flow', async (t) => {
  for (const [group, isp, says] of [
    ['tunnel', FIBER, SAYS.fiber],
    ['host', LTE, SAYS.lte],
  ] as const)
    for (const how of ['+notcp', '+tcp'])
      t.is(await run(t.context, group, 'dig', `@${isp.inside}.1`, how, '+short', '+time=5', 'www.example'), says);
});

it('while no uplink of the rule can be used, the name is told to nobody', async (t) => {
  const { router } = t.context;
  await router.cli(['uplink', 'drain', 'host']);
  const { status } = await router.cli(['run', '-g', 'host', '--', 'getent', 'ahostsv4', 'secret.example']);
  t.not(status, 0);
  const dig = await run(t.context, 'host', 'dig', '@127.0.0.53', '+time=5', 'secret.example');
  t.regex(dig, /status: SERVFAIL/);
  await router.cli(['uplink', 'undrain', 'host']);
  t.regex(await run(t.context, 'host', 'getent', 'ahostsv4', 'secret.example'), new RegExp(SAYS.lte));
});

it('the door that programs are led to is open to them only: nobody asks it through a tunnel', async (t) => {
  const { lab, isps } = t.context;
  const peer = isps.peers.get('fiber')!;
  await run(t.context, 'tunnel', 'getent', 'ahostsv4', 'door.example'); // the tunnel stands
  for (const how of ['+tcp', '+notcp']) {
    const { status, stdout } = await lab.run(peer.ns, 'dig', [
      how,
      '+time=2',
      '+tries=1',
      `@${DOOR}%${peer.device}`,
      'www.example',
    ]);
    t.not(status, 0, stdout);
    t.notRegex(stdout, /HEADER/);
  }
});
