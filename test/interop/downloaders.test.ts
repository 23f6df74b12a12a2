/**
 * Downloaders that open many connections, over two tunnels and over two paths of the host: aria2c from a web server and
 * transmission from local peers get the sum of both rates and the right octets, also when an uplink is cut meanwhile; it is used
 * again when it is back. What they have carried becomes the uplinks' weights.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { Lab, type LabProcess, NOBODY } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

/** A lab of two uplinks, `fiber` and `lte`, with a server behind both. */
interface Net {
  readonly lab: Lab;
  readonly router: Router;
  serve(command: string, args: readonly string[]): LabProcess;
  /** Let nothing pass through fiber any more, or again. */
  cut(isCut: boolean): Promise<void>;
}

interface Context {
  readonly labs: Lab[];
  nets: Readonly<Record<NetName, Net>>;
  sha256: string;
}

interface UplinkRow {
  readonly name: string;
  readonly usable: boolean;
  readonly decisions: number;
  readonly rx_bytes: number;
  readonly peak_bits_per_s: number;
}

const NETS = ['tunnels', 'paths of the host'] as const;
type NetName = (typeof NETS)[number];

const SIZE = 40 << 20;
const FILE = 'payload.bin';
const WEB = 8080;
const TRACKER = 6969;
const PEER_PORT = 51413;
/** What both uplinks carry, Mbit/s, and the part of it that a downloader has to get. */
const SUM = ISPS.reduce((sum, { rate }) => sum + rate, 0);
const PART = 0.95;
/** Parts of the download that it is measured between. */
const MIDDLE = { from: 0.2, to: 0.85 } as const;
/** Ends every connection after its answer; in the middle of it, after 1 MiB, where the path asks for that: new flows all the time. */
const WEB_SERVER = `
  const bytes = require('node:fs').readFileSync(process.argv[1]);
  const server = require('node:http').createServer((request, response) => {
    const [, first = '0', last = ''] = /^bytes=(\\d+)-(\\d*)$/.exec(request.headers.range ?? '') ?? [];
    const end = last === '' ? bytes.length - 1 : Number(last);
    response.writeHead(request.headers.range === undefined ? 200 : 206, {
      'Accept-Ranges': 'bytes', Connection: 'close', 'Content-Length': end - Number(first) + 1,
      'Content-Range': 'bytes ' + first + '-' + end + '/' + bytes.length,
    });
    const wanted = bytes.subarray(Number(first), end + 1);
    if (request.url.startsWith('/${FILE}') || wanted.length <= 1 << 20) response.end(wanted);
    else response.write(wanted.subarray(0, 1 << 20), () => response.destroy());
  });
  server.listen(${WEB}, '${SERVER.v4}', () => console.log('ready'));
`;
/** BEP 3 and BEP 23: whoever asks is told the seeders; those that have all (left=0) are noted. */
const TRACKER_SERVER = `
  const peers = Buffer.concat(process.argv.slice(1).map((a) => Buffer.from([...a.split('.').map(Number), ${PEER_PORT} >> 8, ${PEER_PORT} & 255])));
  require('node:http').createServer((request, response) => {
    const left = /[?&]left=(\\d+)/.exec(request.url)?.[1];
    console.log('left ' + left + ' ' + /[?&]key=([^&]*)/.exec(request.url)?.[1] + '.');
    response.end(Buffer.concat([Buffer.from('d8:intervali5e5:peers' + peers.length + ':'), peers, Buffer.from('e')]));
  }).listen(${TRACKER}, '${SERVER.v4}', () => console.log('ready'));
`;

const missing = Lab.missing(
  'wg',
  'tc',
  'curl',
  'aria2c',
  'transmission-cli',
  'transmission-daemon',
  'transmission-create',
);
const test = anyTest as TestFn<Context>;
const it = (name: string, body: (t: ExecutionContext<Context>) => Promise<void>): void => {
  if (missing === undefined) test.serial(name, body);
  else test.skip(`${name} (${missing})`, body);
};

if (missing === undefined) {
  test.before('labs', async (t) => {
    const bytes = randomBytes(SIZE);
    Object.assign(t.context, { labs: [], sha256: createHash('sha256').update(bytes).digest('hex') });
    const lab = (): Lab => {
      t.context.labs.push(new Lab());
      return t.context.labs.at(-1)!;
    };
    t.context.nets = { tunnels: await tunnels(lab()), 'paths of the host': await hostPaths(lab()) };
    for (const net of Object.values(t.context.nets)) {
      writeFileSync(join(net.lab.dir, FILE), bytes);
      await net.serve(process.execPath, ['-e', WEB_SERVER, join(net.lab.dir, FILE)]).until(/ready/);
      await net.router.up();
      await uplinksAre(net, { fiber: true, lte: true });
    }
  });
  test.after.always('remove the labs', async (t) => {
    for (const lab of t.context.labs) await lab.close();
  });
}

const RULES = 'rules:\n  - { use: [fiber, lte] }\n';
const probe = (to: string): string => `probe: { to: ${to}, every: 200ms, timeout: 150ms, fall: 2, rise: 2 }`;

async function tunnels(lab: Lab): Promise<Net> {
  const host = await lab.namespace('a');
  const router = new Router(lab, host);
  const isps = new TwoIsps(lab, host, router);
  await isps.build();
  const extra = ISPS.map((i) => [i.name, `    weight: auto\n    ${probe(i.plan.v4)}\n`] as const);
  router.write(isps.uplinks(Object.fromEntries(extra)) + RULES);
  return {
    lab,
    router,
    serve: (command, args) => isps.serve(command, args),
    cut: (isCut) => isps.cut('fiber', isCut),
  };
}

/** An ISP that loses its way to the world: the host's interface stays up. */
async function hostPaths(lab: Lab): Promise<Net> {
  const host = await lab.namespace('a');
  const router = new Router(lab, host);
  const isps = new HostIsps(lab, host);
  await isps.build();
  await lab.ok(host, 'sh', ['-c', 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range']);
  const uplinks = HOST_ISPS.map((i) => {
    const path = `kernel: { interface: ${i.device} }`;
    return `  ${i.name}: { ${path}, bandwidth: ${i.rate}Mbit, ${probe(HOST_SERVER.v4)} }\n`;
  });
  router.write(`uplinks:\n${uplinks.join('')}${RULES}`);
  return {
    lab,
    router,
    serve: (command, args) => isps.serve(command, args),
    cut: async (isCut) => {
      const [fiber] = HOST_ISPS;
      await isps.serve('ip', ['link', 'set', `i${fiber.name}`, isCut ? 'down' : 'up'], fiber).exit();
      if (!isCut) await isps.worldOf(fiber);
    },
  };
}

async function uplinksAre({ lab, router }: Net, expected: Readonly<Record<string, boolean>>): Promise<void> {
  await lab.eventually(`uplinks are ${JSON.stringify(expected)}`, async () =>
    (await router.json<readonly UplinkRow[]>('uplink')).every((u) => expected[u.name] === u.usable),
  );
}

/** What the server's shapers have let through, octets of frames by uplink, and when. */
interface Sample {
  readonly atMs: number;
  readonly sent: readonly number[];
}

/** Look at the server's shapers until `isDone`. */
async function watch({ serve }: Net, isDone: () => boolean): Promise<readonly Sample[]> {
  const seen: Sample[] = [];
  const look = ISPS.map(({ name }) => `tc -s -j qdisc show dev i${name}`).join('; ');
  while (!isDone()) {
    const began = performance.now();
    const tc = serve('sh', ['-c', look]);
    await tc.exit();
    const sent = [...tc.stdout.matchAll(/"bytes":(\d+)/g)].map((m) => Number(m[1]));
    if (sent.length === ISPS.length) seen.push({ atMs: (began + performance.now()) / 2, sent });
    await sleep(100);
  }
  return seen;
}

/** What both uplinks got together while the middle of the download came: its start and its last pieces aside. */
function isEnough(t: ExecutionContext<Context>, seen: readonly Sample[]): void {
  const part = (s: Sample): number => s.sent.reduce((sum, n, k) => sum + n - seen[0]!.sent[k]!, 0) / SIZE;
  const from = seen.find((s) => part(s) >= MIDDLE.from)!;
  const to = seen.findLast((s) => part(s) <= MIDDLE.to)!;
  const each = to.sent.map((n, k) => ((n - from.sent[k]!) * 8) / 1000 / (to.atMs - from.atMs));
  const sum = each.reduce((s, r) => s + r, 0);
  t.log(`${each.map((r) => r.toFixed(1)).join(' + ')} of ${SUM} Mbit/s in ${(to.atMs - from.atMs).toFixed(0)} ms`);
  t.true(sum >= PART * SUM, `${sum} Mbit/s`);
}

/** Start aria2c under the shim. */
function aria2(
  { router }: Net,
  sha256: string,
  name: string,
  path = FILE,
): { readonly app: LabProcess; readonly file: string } {
  const options = ['-x16', '-s16', '-k1M', '--file-allocation=none', '--max-tries=50', '--retry-wait=1', '--no-conf'];
  const target = ['-d', router.dir, '-o', name, `--checksum=sha-256=${sha256}`, `http://${SERVER.v4}:${WEB}/${path}`];
  return { app: router.appStart('aria2c', [...options, ...target]), file: join(router.dir, name) };
}

function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

for (const name of NETS) {
  it(`aria2c -x16 gets the sum of two ${name}, and the right octets`, async (t) => {
    const net = t.context.nets[name];
    const { app, file } = aria2(net, t.context.sha256, 'whole');
    let status: number | undefined;
    void app.exit().then((s) => {
      status = s;
    });
    const seen = await watch(net, () => status !== undefined);
    t.is(status, 0, app.stdout + app.stderr);
    t.is(sha256Of(file), t.context.sha256);
    isEnough(t, seen);
  });

  it(`one of two ${name} that is cut during a download changes no octet, and is used again when it is back`, async (t) => {
    const net = t.context.nets[name];
    const { router, lab } = net;
    const fiber = async (): Promise<UplinkRow> =>
      (await router.json<readonly UplinkRow[]>('uplink')).find((u) => u.name === 'fiber')!;
    const before = await fiber();
    const { app, file } = aria2(net, t.context.sha256, 'cut', 'interrupted');
    await lab.eventually('a part has come by fiber', async () => (await fiber()).rx_bytes - before.rx_bytes > 1 << 20);
    await net.cut(true);
    await uplinksAre(net, { fiber: false, lte: true });
    const { decisions } = await fiber();
    await net.cut(false);
    await uplinksAre(net, { fiber: true, lte: true });
    await lab.eventually('fiber got flows of the download again', async () => (await fiber()).decisions > decisions);
    t.is(await app.exit(), 0, app.stdout + app.stderr);
    t.is(sha256Of(file), t.context.sha256);
  });
}

/** A peer that has it all, with an address of its own. */
function seeder({ lab, serve }: Net, address: string, torrent: string): LabProcess {
  const folder = join(lab.dir, `seeder-${address}`);
  mkdirSync(join(folder, 'watch'), { recursive: true });
  writeFileSync(join(folder, 'watch', 'payload.torrent'), readFileSync(torrent));
  writeSettings(folder, {
    'bind-address-ipv4': address,
    'download-dir': lab.dir,
    'watch-dir': join(folder, 'watch'),
    'watch-dir-enabled': true,
    'peer-port': PEER_PORT,
  });
  return serve('transmission-daemon', ['--foreground', '--config-dir', folder]);
}

/** Plain TCP between peers that the tracker tells of, nothing else. */
function writeSettings(folder: string, more: Readonly<Record<string, unknown>>): void {
  const off = ['utp', 'dht', 'lpd', 'pex', 'rpc', 'port-forwarding'].map((what) => [`${what}-enabled`, false]);
  writeFileSync(join(folder, 'settings.json'), JSON.stringify({ ...Object.fromEntries(off), encryption: 0, ...more }));
}

it('transmission with local peers gets the sum of both uplinks, and the right octets', async (t) => {
  const { sha256, nets } = t.context;
  const net = nets.tunnels;
  const { lab, router } = net;
  const torrent = join(lab.dir, 'payload.torrent');
  const announce = `http://${SERVER.v4}:${TRACKER}/announce`;
  await lab.host('transmission-create', ['-o', torrent, '-t', announce, '-s', '128', join(lab.dir, FILE)]);
  chmodSync(torrent, 0o644);
  const addresses = [SERVER.v4, ...SERVER.others];
  const tracker = net.serve(process.execPath, ['-e', TRACKER_SERVER, ...addresses]);
  await tracker.until(/ready/);
  const seeders = addresses.map((a) => seeder(net, a, torrent));
  await lab.eventually('all seeders have it', async () => {
    return new Set(tracker.stdout.match(/^left 0 .*$/gm)).size === addresses.length;
  });
  const settings = join(router.dir, 'transmission');
  mkdirSync(settings);
  writeSettings(settings, {});
  for (const path of [settings, join(settings, 'settings.json')]) chownSync(path, NOBODY, NOBODY);
  const target = join(router.dir, 'torrent');
  mkdirSync(target);
  chownSync(target, NOBODY, NOBODY);
  const app = router.appStart('transmission-cli', ['-M', '-et', '-g', settings, '-w', target, torrent]);
  let isOver = false;
  void app.exit().then(() => {
    isOver = true;
  });
  const seen = await watch(net, () => isOver || existsSync(join(target, FILE)));
  t.is(sha256Of(join(target, FILE)), sha256, (app.stdout + app.stderr).slice(-2000));
  isEnough(t, seen);
  await app.stop();
  for (const s of seeders) await s.stop();
});

it('weights that are measured have become those of the lines', async (t) => {
  const { router } = t.context.nets.tunnels;
  const rows = (): Promise<readonly UplinkRow[]> => router.json<readonly UplinkRow[]>('uplink');
  const before = await rows();
  for (const [i, { name, rate }] of ISPS.entries()) {
    const mbit = before[i]!.peak_bits_per_s / 1e6;
    t.log(`${name}: ${mbit.toFixed(1)} of ${rate} Mbit/s`);
    // Both directions count: acknowledgements go the other way.
    t.true(mbit > 0.8 * rate && mbit < 1.1 * rate, `${mbit}`);
  }
  const url = `http://${SERVER.v4}:${WEB}/`;
  await router.appOk('sh', ['-c', `for i in $(seq 50); do curl -sS -r 0-0 -o /dev/null ${url}; done`]);
  const after = await rows();
  const [fiber, lte] = after.map((u, i) => u.decisions - before[i]!.decisions) as [number, number];
  t.log(`of 50 flows ${fiber} took fiber, ${lte} lte`);
  t.is(fiber + lte, 50);
  // 20 and 30 for exact weights, which hold once they are off by more than a quarter.
  t.true(fiber >= 17 && fiber <= 23, `${fiber} of 50`);
});
