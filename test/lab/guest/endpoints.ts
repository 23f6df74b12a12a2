/** WireGuard peers whose endpoint is a name, with the kernel's WireGuard and the host's default route in a VRF. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { MovingName } from '../../kit/moving-name.ts';
import { wgKeyPair } from '../../kit/peer.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { HostRouter, RULES, WIRED } from './host-router.ts';

/** The host's name server, on the wired line, and the peer's addresses before and after. */
const NAME_SERVER = `192.168.${WIRED.net}.53`;
const [OLD, NEW] = ['203.0.113.7', '203.0.113.8'];
const INSIDE = '10.77.0.1';
const PORT = 51820;
/** An old handshake: WireGuard gives a session up after as long (REJECT_AFTER_TIME). */
const LATER_S = 180;

let host: HostRouter;
let name: MovingName;
const [own, peer] = [wgKeyPair(), wgKeyPair()];

async function setup(trial: Trial): Promise<void> {
  const { lab } = trial;
  host = new HostRouter(trial);
  await host.build();
  const isp = host.access.isp(WIRED.name);
  await lab.ok(isp, 'ip', ['addr', 'add', `${NAME_SERVER}/24`, 'dev', WIRED.device]);
  writeFileSync('/etc/resolv.conf', `nameserver ${NAME_SERVER}\noptions attempts:1 timeout:5\n`);
  name = new MovingName(lab, 'peer.test');
  await name.serve(lab, isp, NAME_SERVER, OLD);
  await farEnd(trial);
  host.configure({
    more: `  vpn:
    wireguard:
      private_key: ${own.privateKey}
      addresses: [10.77.0.2/24]
      peers: [{ public_key: ${peer.publicKey}, endpoint: 'peer.test:${PORT}', allowed_ips: [10.77.0.0/24] }]
`,
    rest: RULES.replace('rules:\n', 'rules:\n  - { name: inside, match: { to: 10.77.0.0/24 }, use: vpn }\n'),
  });
}

/** The peer, on the server's side of both lines. */
async function farEnd({ lab }: Trial): Promise<void> {
  const { server } = host.access;
  const file = join(lab.dir, 'peer.key');
  writeFileSync(file, peer.privateKey);
  const run = (...args: string[]): Promise<string> => lab.ok(server, args[0]!, args.slice(1));
  await run('ip', 'addr', 'add', `${OLD}/32`, 'dev', 'lo');
  await run('ip', 'link', 'add', 'wg0', 'type', 'wireguard');
  const ours = ['peer', own.publicKey, 'allowed-ips', '10.77.0.2/32'];
  await run('wg', 'set', 'wg0', 'private-key', file, 'listen-port', String(PORT), ...ours);
  await run('ip', 'addr', 'add', `${INSIDE}/24`, 'dev', 'wg0');
  await run('ip', 'link', 'set', 'wg0', 'up');
}

const pings = async ({ lab }: Trial): Promise<boolean> =>
  (await lab.run(HOST, 'ping', ['-c1', '-W1', '-I', 'mlv-vpn', INSIDE])).status === 0;

const endpoint = async ({ lab }: Trial): Promise<string> =>
  (await lab.ok(HOST, 'wg', ['show', 'mlw-vpn', 'endpoints'])).trim().split('\t')[1]!;

async function setClock({ lab }: Trial, byS: number): Promise<void> {
  await lab.ok(HOST, 'date', ['-s', `@${Math.floor(Date.now() / 1000) + byS}`]);
}

async function moves(trial: Trial): Promise<void> {
  const { lab, log } = trial;
  await host.up();
  await lab.eventually('the tunnel carries', () => pings(trial));
  assert.equal(await endpoint(trial), `${OLD}:${PORT}`);
  const traffic = lab.start(HOST, 'ping', ['-i', '0.5', '-I', 'mlv-vpn', INSIDE]);
  await traffic.until(/bytes from/);
  const { server } = host.access;
  await lab.ok(server, 'ip', ['addr', 'add', `${NEW}/32`, 'dev', 'lo']);
  await lab.ok(server, 'ip', ['addr', 'del', `${OLD}/32`, 'dev', 'lo']);
  await name.is(NEW);
  await lab.eventually('the tunnel carries nothing', async () => !(await pings(trial)));
  const at = performance.now();
  await setClock(trial, LATER_S); // rather than wait
  try {
    await lab.eventually('the tunnel carries again', () => pings(trial));
    log(`found ${((performance.now() - at) / 1000).toFixed(1)} s after its handshake was ${LATER_S} s old`);
    assert.equal(await endpoint(trial), `${NEW}:${PORT}`);
  } finally {
    await setClock(trial, -LATER_S);
  }
  await traffic.stop();
  await host.down();
}

export const endpoints: Suite = {
  name: 'endpoints',
  boot: 'daemon',
  setup,
  cases: [
    {
      name: 'peer-moves',
      title: 'a WireGuard peer that moves is found again by its name, without the tunnel and without the main table',
      run: moves,
    },
  ],
};
