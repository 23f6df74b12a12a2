/** Routes of a BIRD at the far end of a line reach the routing table of the VRF they were learned through, and leave it again. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gateway, hostAddresses } from '../../kit/access-lines.ts';
import type { LabProcess } from '../../kit/lab.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { HostRouter, RULES, WIRED } from './host-router.ts';

const PREFIXES = ['198.18.0.0/15', '2001:db8:77::/48'] as const;
const BIRD_ASN = 65001;
const OUR_ASN = 65000;

let host: HostRouter;
let bird: LabProcess;
let birdSocket = '';

async function setup(trial: Trial): Promise<void> {
  const { lab } = trial;
  host = new HostRouter(trial);
  await host.build();
  const isp = gateway(WIRED);
  const own = hostAddresses(WIRED).v4;
  const conf = join(lab.dir, 'bird.conf');
  writeFileSync(
    conf,
    `router id ${isp.v4};
protocol device {}
protocol static s4 { ipv4; route ${PREFIXES[0]} blackhole; }
protocol static s6 { ipv6; route ${PREFIXES[1]} blackhole; }
protocol bgp host {
  local ${isp.v4} as ${BIRD_ASN};
  neighbor ${own} as ${OUR_ASN};
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  ipv4 { import none; export where source = RTS_STATIC; next hop self; };
  ipv6 { import none; export where source = RTS_STATIC; next hop address ${isp.v6}; };
}
`,
  );
  birdSocket = join(lab.dir, 'bird.ctl');
  bird = lab.start(host.access.isp(WIRED.name), 'bird', [
    '-f',
    '-c',
    conf,
    '-s',
    birdSocket,
    '-P',
    `${birdSocket}.pid`,
  ]);
  host.configure({
    rest: `${RULES}bgp:
  asn: ${OUR_ASN}
  router_id: ${own}
  policy: transit
  peers:
    - { name: isp, asn: ${BIRD_ASN}, via: ${WIRED.name}, address: ${isp.v4} }
`,
  });
  await host.up();
}

/** The number of the routing table of the VRF that an interface is in. */
async function tableOf({ lab }: Trial, device: string): Promise<number> {
  const show = async (name: string): Promise<{ master: string; linkinfo: { info_data: { table: number } } }> =>
    JSON.parse(await lab.ok(HOST, 'ip', ['-j', '-d', 'link', 'show', name]))[0];
  const { master } = await show(device);
  return (await show(master)).linkinfo.info_data.table;
}

/** BIRD tells it beside the address that its configuration names, and on a link it is what goes (RFC 2545 §3). */
async function linkLocalOf({ lab }: Trial, ns: string, device: string): Promise<string> {
  const said = await lab.ok(ns, 'ip', ['-6', 'addr', 'show', 'dev', device, 'scope', 'link']);
  return /inet6 (fe80:\S+)\//.exec(said)![1]!;
}

/** Lines of all the host's tables about what BIRD announces. */
async function routesIn({ lab }: Trial): Promise<string[]> {
  const all = await lab.ok(HOST, 'sh', ['-c', 'ip -4 route show table all; ip -6 route show table all']);
  return all.split('\n').filter((line) => PREFIXES.some((prefix) => line.includes(prefix)));
}

async function arrive(trial: Trial): Promise<void> {
  const table = await tableOf(trial, WIRED.device);
  const vias = [gateway(WIRED).v4, await linkLocalOf(trial, host.access.isp(WIRED.name), WIRED.device)];
  let found: string[] = [];
  const areThere = async (): Promise<boolean> => (found = await routesIn(trial)).length === PREFIXES.length;
  await trial.lab.eventually('routes of BIRD', areThere).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${found.join('\n')}`);
  });
  trial.log(found.join('; '));
  const wanted = vias.map((via, i) => `${PREFIXES[i]} via ${via} dev ${WIRED.device} table ${table}`);
  assert.deepEqual(
    found.map((line) => line.split(' proto ')[0]),
    wanted,
  );
}

const leave = (trial: Trial): Promise<void> =>
  trial.lab.eventually('no routes of BIRD', async () => (await routesIn(trial)).length === 0);

async function follows(trial: Trial): Promise<void> {
  await arrive(trial);
  const birdc = (...words: string[]): Promise<string> => trial.lab.ok(HOST, 'birdc', ['-s', birdSocket, ...words]);
  for (const name of ['s4', 's6']) await birdc('disable', name);
  await leave(trial);
  for (const name of ['s4', 's6']) await birdc('enable', name);
  await arrive(trial);
}

async function ends(trial: Trial): Promise<void> {
  await arrive(trial);
  await bird.stop();
  await leave(trial);
}

export const routes: Suite = {
  name: 'routes',
  boot: 'daemon',
  setup,
  teardown: () => host.down(),
  cases: [
    {
      name: 'bgp-table',
      title: "routes of a BIRD are in the table of its line's VRF as long as it announces them, and in no other",
      run: follows,
    },
    { name: 'bgp-ends', title: 'they leave it when BIRD ends its session', run: ends },
  ],
};
