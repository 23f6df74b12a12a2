/**
 * Downloaders that open many connections, over two tunnels and over two paths of the host in either backend: aria2c from a
 * web server and transmission from local peers get the sum of both rates and the right octets, also when an uplink is cut
 * meanwhile; it is used again when it is back. What they have carried becomes the uplinks' weights.
 */
import anyTest, { type ExecutionContext, type TestFn } from 'ava';
import { DOWNLOADERS, FarFile, type Net } from '../kit/downloads.ts';
import { HOST_ISPS, HOST_SERVER, HostIsps } from '../kit/host-isps.ts';
import { ISPS, SERVER, TwoIsps } from '../kit/isps.ts';
import { Lab } from '../kit/lab.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';
import { missingForPrograms } from '../kit/two-ways.ts';

interface Far {
  readonly net: Net;
  readonly file: FarFile;
}

interface Context {
  readonly labs: Lab[];
  readonly far: Map<NetName, Far>;
}

interface UplinkRow {
  readonly name: string;
  readonly usable: boolean;
  readonly decisions: number;
  readonly peak_bits_per_s: number;
}

type NetName = 'tunnels' | 'paths of the host' | 'paths of the host, by its kernel';

const SIZE = 40 << 20;
/** What both uplinks carry, Mbit/s, and the part of it that a downloader has to get. */
const SUM = ISPS.reduce((sum, { rate }) => sum + rate, 0);
const PART = 0.95;
/** What aria2c is held to while uplinks are cut, so that all is shown before it ends. */
const SLOWLY = '--max-overall-download-limit=2M';
const RULES = 'rules:\n  - { use: [fiber, lte] }\n';
const probe = (to: string): string => `probe: { to: ${to}, every: 200ms, timeout: 150ms, fall: 2, rise: 2 }`;

/** Each net, and what this machine lacks for it. */
const NETS: readonly (readonly [NetName, (lab: Lab) => Promise<Net>, string | undefined])[] = [
  ['tunnels', tunnels, Lab.missing('wg', 'curl', ...DOWNLOADERS)],
  ['paths of the host', (lab) => hostPaths(lab, 'userspace'), Lab.missing(...DOWNLOADERS)],
  ['paths of the host, by its kernel', (lab) => hostPaths(lab, 'kernel'), await missingForPrograms(...DOWNLOADERS)],
];

const test = anyTest as TestFn<Context>;

test.before('labs', async (t) => {
  Object.assign(t.context, { labs: [], far: new Map() });
  for (const [name, build, missing] of NETS) {
    if (missing !== undefined) continue;
    const lab = new Lab();
    t.context.labs.push(lab);
    const net = await build(lab);
    const file = new FarFile(net, SIZE);
    await file.web();
    await file.seed();
    await net.router.up();
    await net.usable({ fiber: true, lte: true });
    t.context.far.set(name, { net, file });
  }
});
test.after.always('remove the labs', async (t) => {
  for (const { net } of t.context.far.values()) await net.router.cli(['down']);
  for (const lab of t.context.labs) await lab.close();
});

async function tunnels(lab: Lab): Promise<Net> {
  const host = await lab.namespace('a');
  const router = new Router(lab, host);
  const isps = new TwoIsps(lab, host, router);
  await isps.build();
  const extra = ISPS.map((i) => [i.name, `    weight: auto\n    ${probe(i.plan.v4)}\n`] as const);
  router.write(isps.uplinks(Object.fromEntries(extra)) + RULES);
  return { ...common(lab, router, isps), cut: (name, isCut) => isps.cut(name, isCut) };
}

/** An ISP that is cut loses its way to the world: the host's interface stays up. */
async function hostPaths(lab: Lab, backend: 'userspace' | 'kernel'): Promise<Net> {
  const host = await lab.namespace('a');
  const router = backend === 'kernel' ? new Router(lab, host, ROOT_ACCOUNT) : new Router(lab, host);
  const isps = new HostIsps(lab, host);
  await isps.build();
  await lab.ok(host, 'sh', ['-c', 'echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range']);
  const uplinks = HOST_ISPS.map((i) => {
    const path = `kernel: { interface: ${i.device} }`;
    return `  ${i.name}: { ${path}, bandwidth: ${i.rate}Mbit, ${probe(HOST_SERVER.v4)} }\n`;
  });
  router.write(`backend: ${backend}\nisolation: device\nuplinks:\n${uplinks.join('')}${RULES}`);
  return {
    ...common(lab, router, isps),
    cut: async (name, isCut) => {
      const isp = HOST_ISPS.find((i) => i.name === name)!;
      await isps.serve('ip', ['link', 'set', `i${name}`, isCut ? 'down' : 'up'], isp).exit();
      if (!isCut) await isps.worldOf(isp);
    },
  };
}

function common(lab: Lab, router: Router, isps: TwoIsps | HostIsps): Omit<Net, 'cut'> {
  const plans = isps instanceof TwoIsps ? ISPS : HOST_ISPS;
  return {
    lab,
    router,
    ways: plans.map(({ name, v4 }) => ({ name, v4, shaper: { ns: isps.server, device: `i${name}` } })),
    addresses: [SERVER.v4, ...SERVER.others],
    serve: (command, args) => isps.serve(command, args),
    usable: (wanted) =>
      lab.eventually(`uplinks are ${JSON.stringify(wanted)}`, async () =>
        (await uplinks(router)).every((u) => wanted[u.name] === u.usable),
      ),
  };
}

function uplinks(router: Router): Promise<readonly UplinkRow[]> {
  return router.json<readonly UplinkRow[]>('uplink');
}

/** A test for each net that this machine can have. @param run starts serially, or beside those of the other nets */
function forNets(
  run: (title: string, body: (t: ExecutionContext<Context>) => Promise<void>) => void,
  title: (net: NetName) => string,
  body: (t: ExecutionContext<Context>, far: Far) => Promise<void>,
): void {
  for (const [name, , missing] of NETS)
    if (missing === undefined) run(title(name), (t) => body(t, t.context.far.get(name)!));
    else test.skip(`${title(name)} (${missing})`, (t) => t.pass());
}

const DOWNLOADS = {
  'aria2c -x16': (from: FarFile, name: string) => from.aria2(`aria2-${name}`),
  'transmission with local peers': (from: FarFile, name: string) => from.transmission(`transmission-${name}`),
} as const;

for (const [app, start] of Object.entries(DOWNLOADS))
  forNets(
    test.serial,
    (nets) => `${app} gets the sum of two ${nets}, and the right octets`,
    async (t, { file }) => {
      const sum = await file.sum(
        PART * SUM,
        (line) => t.log(line),
        (name) => start(file, name),
      );
      t.true(sum >= PART * SUM, `${sum} of ${SUM} Mbit/s`);
    },
  );

forNets(
  test,
  (nets) => `a download gets no octet wrong while either of two ${nets} is cut, and uses it again when it is back`,
  async (t, { file }) => {
    await file.cutInTurn(file.aria2('cut', 'interrupted', SLOWLY));
    t.pass();
  },
);

if (NETS[0]![2] === undefined)
  test.serial('weights that are measured have become those of the lines', async (t) => {
    const { net, file } = t.context.far.get('tunnels')!;
    const before = await uplinks(net.router);
    for (const [i, { name, rate }] of ISPS.entries()) {
      const mbit = before[i]!.peak_bits_per_s / 1e6;
      t.log(`${name}: ${mbit.toFixed(1)} of ${rate} Mbit/s`);
      // Both directions count: acknowledgements go the other way.
      t.true(mbit > 0.8 * rate && mbit < 1.1 * rate, `${mbit}`);
    }
    await net.router.appOk('sh', ['-c', `for i in $(seq 50); do curl -sS -r 0-0 -o /dev/null ${file.url}; done`]);
    const after = await uplinks(net.router);
    const [fiber, lte] = after.map((u, i) => u.decisions - before[i]!.decisions) as [number, number];
    t.log(`of 50 flows ${fiber} took fiber, ${lte} lte`);
    t.is(fiber + lte, 50);
    // 20 and 30 for exact weights, which hold once they are off by more than a quarter.
    t.true(fiber >= 17 && fiber <= 23, `${fiber} of 50`);
  });
