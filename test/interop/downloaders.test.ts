/**
 * Downloaders that open many connections, over two uplinks: aria2c from a web server and transmission from local peers get the
 * sum of both rates and the right octets, also when an uplink is cut meanwhile; it is used again when it is back. What they
 * have carried becomes the uplinks' weights.
 */
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { Lab, type LabProcess, NOBODY } from '../kit/lab.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  isps: TwoIsps;
  router: Router;
  sha256: string;
}

interface UplinkRow {
  readonly name: string;
  readonly usable: boolean;
  readonly flows: number;
  readonly decisions: number;
  readonly rx_bytes: number;
  readonly peak_bits_per_s: number;
}

interface StatusAnswer {
  readonly uptime_s: number;
  readonly uplinks: readonly UplinkRow[];
}

const SIZE = 40 << 20;
const FILE = 'payload.bin';
const WEB = 8080;
const TRACKER = 6969;
const PEER_PORT = 51413;
/** What both uplinks carry, Mbit/s, and the part of it that a downloader has to get for some seconds. */
const SUM = ISPS.reduce((sum, { rate }) => sum + rate, 0);
const PART = 0.95;
const WINDOW_S = 3;
/** Ends every connection after its answer: each piece is a new flow. */
const WEB_SERVER = `
  const bytes = require('node:fs').readFileSync(process.argv[1]);
  const server = require('node:http').createServer((request, response) => {
    const [, first = '0', last = ''] = /^bytes=(\\d+)-(\\d*)$/.exec(request.headers.range ?? '') ?? [];
    const end = last === '' ? bytes.length - 1 : Number(last);
    response.writeHead(request.headers.range === undefined ? 200 : 206, {
      'Accept-Ranges': 'bytes', Connection: 'close', 'Content-Length': end - Number(first) + 1,
      'Content-Range': 'bytes ' + first + '-' + end + '/' + bytes.length,
    });
    response.end(bytes.subarray(Number(first), end + 1));
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
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const host = await lab.namespace('a');
    const router = new Router(lab, host);
    const isps = new TwoIsps(lab, host, router);
    await isps.build();
    const bytes = randomBytes(SIZE);
    writeFileSync(join(lab.dir, FILE), bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    await isps.serve(process.execPath, ['-e', WEB_SERVER, join(lab.dir, FILE)]).until(/ready/);
    const probe = (to: string): string => `probe: { to: ${to}, every: 200ms, timeout: 150ms, fall: 2, rise: 2 }`;
    const extra = ISPS.map((i) => [i.name, `    weight: auto\n    ${probe(i.plan.v4)}\n`] as const);
    router.write(`${isps.uplinks(Object.fromEntries(extra))}rules:\n  - { use: [fiber, lte] }\n`);
    await router.up();
    Object.assign(t.context, { isps, router, sha256 });
    await uplinksAre(t.context, { fiber: true, lte: true });
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function uplinksAre({ lab, router }: Context, expected: Readonly<Record<string, boolean>>): Promise<void> {
  await lab.eventually(`uplinks are ${JSON.stringify(expected)}`, async () =>
    (await router.json<readonly UplinkRow[]>('uplink')).every((u) => expected[u.name] === u.usable),
  );
}

/** Ask for the status until `isDone`. */
async function watch(router: Router, isDone: () => boolean): Promise<readonly StatusAnswer[]> {
  const seen: StatusAnswer[] = [];
  while (!isDone()) seen.push(await router.json<StatusAnswer>('status'));
  return seen;
}

/** The most that uplinks received for WINDOW_S seconds, Mbit/s of IP packets. */
function bestRate(seen: readonly StatusAnswer[]): { readonly sum: number; readonly each: readonly number[] } {
  let best = { sum: 0, each: [] as readonly number[] };
  for (const [i, from] of seen.entries()) {
    const to = seen.slice(i).find((s) => s.uptime_s - from.uptime_s >= WINDOW_S);
    if (to === undefined) break;
    const seconds = to.uptime_s - from.uptime_s;
    const each = to.uplinks.map((u, k) => ((u.rx_bytes - from.uplinks[k]!.rx_bytes) * 8) / seconds / 1e6);
    const sum = each.reduce((s, r) => s + r, 0);
    if (sum > best.sum) best = { sum, each };
  }
  return best;
}

function isEnough(t: ExecutionContext<Context>, seen: readonly StatusAnswer[]): void {
  const { sum, each } = bestRate(seen);
  const taken = seen.at(-1)!.uplinks.map((u, k) => `${u.name} ${u.decisions - seen[0]!.uplinks[k]!.decisions}`);
  t.log(`${each.map((r) => r.toFixed(1)).join(' + ')} of ${SUM} Mbit/s; flows: ${taken.join(', ')}`);
  t.true(sum >= PART * SUM, `${sum} Mbit/s`);
}

/** Start aria2c under the shim. */
function aria2({ router, sha256 }: Context, name: string): { readonly app: LabProcess; readonly file: string } {
  const options = ['-x16', '-s16', '-k1M', '--file-allocation=none', '--max-tries=50', '--retry-wait=1', '--no-conf'];
  const target = ['-d', router.dir, '-o', name, `--checksum=sha-256=${sha256}`, `http://${SERVER.v4}:${WEB}/${FILE}`];
  return { app: router.appStart('aria2c', [...options, ...target]), file: join(router.dir, name) };
}

function sha256Of(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}

it('aria2c -x16 gets the sum of both uplinks, and the right octets', async (t) => {
  const { app, file } = aria2(t.context, 'whole');
  let status: number | undefined;
  void app.exit().then((s) => {
    status = s;
  });
  const seen = await watch(t.context.router, () => status !== undefined);
  t.is(status, 0, app.stdout + app.stderr);
  t.is(sha256Of(file), t.context.sha256);
  isEnough(t, seen);
});

it('an uplink that is cut during a download changes no octet, and is used again when it is back', async (t) => {
  const { router, isps, lab } = t.context;
  const fiber = async (): Promise<UplinkRow> =>
    (await router.json<readonly UplinkRow[]>('uplink')).find((u) => u.name === 'fiber')!;
  const before = await fiber();
  const { app, file } = aria2(t.context, 'cut');
  await lab.eventually('a part has come by fiber', async () => (await fiber()).rx_bytes - before.rx_bytes > 1 << 20);
  await isps.cut('fiber', true);
  await uplinksAre(t.context, { fiber: false, lte: true });
  const { decisions } = await fiber();
  await isps.cut('fiber', false);
  await uplinksAre(t.context, { fiber: true, lte: true });
  await lab.eventually('fiber carries flows of the download', async () => {
    const now = await fiber();
    return now.flows > 0 && now.decisions > decisions;
  });
  t.false(existsSync(file) && !existsSync(`${file}.aria2`), 'it is not at its end yet');
  t.is(await app.exit(), 0, app.stdout + app.stderr);
  t.is(sha256Of(file), t.context.sha256);
});

/** A peer that has it all, with an address of its own. */
function seeder({ lab, isps }: Context, address: string, torrent: string): LabProcess {
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
  return isps.serve('transmission-daemon', ['--foreground', '--config-dir', folder]);
}

/** Plain TCP between peers that the tracker tells of, nothing else. */
function writeSettings(folder: string, more: Readonly<Record<string, unknown>>): void {
  const off = ['utp', 'dht', 'lpd', 'pex', 'rpc', 'port-forwarding'].map((what) => [`${what}-enabled`, false]);
  writeFileSync(join(folder, 'settings.json'), JSON.stringify({ ...Object.fromEntries(off), encryption: 0, ...more }));
}

it('transmission with local peers gets the sum of both uplinks, and the right octets', async (t) => {
  const { lab, isps, router, sha256 } = t.context;
  const torrent = join(lab.dir, 'payload.torrent');
  const announce = `http://${SERVER.v4}:${TRACKER}/announce`;
  await lab.host('transmission-create', ['-o', torrent, '-t', announce, '-s', '128', join(lab.dir, FILE)]);
  chmodSync(torrent, 0o644);
  const addresses = [SERVER.v4, ...SERVER.others];
  const tracker = isps.serve(process.execPath, ['-e', TRACKER_SERVER, ...addresses]);
  await tracker.until(/ready/);
  const seeders = addresses.map((a) => seeder(t.context, a, torrent));
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
  const seen = await watch(router, () => isOver || existsSync(join(target, FILE)));
  t.is(sha256Of(join(target, FILE)), sha256, (app.stdout + app.stderr).slice(-2000));
  isEnough(t, seen);
  await app.stop();
  for (const s of seeders) await s.stop();
});

it('weights that are measured have become those of the lines', async (t) => {
  const { router } = t.context;
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
