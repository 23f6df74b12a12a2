/** Uplinks without a VRF: sockets bound to the interface itself, or to an address of the host; the host's own routes stay. */
import assert from 'node:assert/strict';
import { hostAddresses, LINES } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { alternates, failsOver, HostRouter, QUICK, RULES, WIRED } from './host-router.ts';
import { ECHO_PORT, tally } from './opens.ts';

/** Whoever is in no group is left to the host. */
const GROUPS_ONLY = RULES.replace(/ {2}- \{ name: rest.*\n/, '');

let host: HostRouter;
let mainBefore = '';

const main = async ({ lab }: Trial): Promise<string> =>
  (await lab.ok(HOST, 'ip', ['route'])) + (await lab.ok(HOST, 'ip', ['-6', 'route']));

async function build(trial: Trial, configure: () => void): Promise<void> {
  host = new HostRouter(trial);
  await host.build();
  mainBefore = await main(trial);
  configure();
  await host.up();
}

async function mainStays(trial: Trial): Promise<void> {
  assert.equal(await main(trial), mainBefore);
  assert.equal((await trial.lab.ok(HOST, 'ip', ['link', 'show', 'type', 'vrf'])).trim(), '');
  assert.deepEqual(tally(await host.open(undefined, 'tcp', { count: 4 })), { [hostAddresses(WIRED).v4]: 4 });
}

const stays = "the host's main routing table stays as it is, and flows without a rule go by it";
const failover = 'new sockets leave a line that was cut, and use it again when it is back';

export const device: Suite = {
  name: 'device',
  boot: 'daemon',
  setup: (trial) => build(trial, () => host.configure({ top: 'isolation: device\n', probe: QUICK, rest: GROUPS_ONLY })),
  teardown: () => host.down(),
  cases: [
    { name: 'device-main', title: `isolation: device: ${stays}`, run: mainStays },
    {
      name: 'device-mixed',
      title: 'isolation: device: sockets of a group of equal weights alternate, of every kind',
      run: ({ log }) => alternates(host, log),
    },
    { name: 'device-cut', title: `isolation: device: ${failover}`, run: () => failsOver(host, 'cut') },
  ],
};

/** A connected UDP socket as bash makes it: Node binds one to a port first, and then it can be given no address. */
const CONNECTED = `for _ in 1 2 3 4; do
  exec 3<>/dev/udp/${SERVER.v4}/${ECHO_PORT}; echo >&3; dd bs=64 count=1 status=none <&3; echo; exec 3>&-
done`;

async function spreadsSources({ log }: Trial): Promise<void> {
  await alternates(host, log, ['tcp', 'udp'], ['v4']);
  const seen = (await host.app('mixed', 'timeout', '60', 'bash', '-c', CONNECTED)).trim().split('\n');
  log(`connected UDP, by bash: ${seen.join(', ')}`);
  assert.deepEqual(
    seen.sort(),
    host.addresses('v4').flatMap((address) => [address, address]),
  );
}

function bySource(): void {
  const uplinks = LINES.map(
    (line) => `  ${line.name}: { kernel: { source: ${hostAddresses(line).v4} }, probe: ${QUICK} }\n`,
  );
  host.router.write(`backend: kernel\nuplinks:\n${uplinks.join('')}${GROUPS_ONLY}`);
}

export const source: Suite = {
  name: 'source',
  boot: 'daemon',
  setup: (trial) => build(trial, bySource),
  teardown: () => host.down(),
  cases: [
    { name: 'source-main', title: `uplinks by source address: ${stays}`, run: mainStays },
    {
      name: 'source-mixed',
      title: 'uplinks by source address: sockets of a group of equal weights alternate: TCP, UDP, connected UDP',
      run: spreadsSources,
    },
    { name: 'source-cut', title: `uplinks by source address: ${failover}`, run: () => failsOver(host, 'cut') },
  ],
};
