/** WireGuard tunnels as uplinks of the kernel backend, one over each access line: the kernel's own, or our child on a TUN. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { gateway, LINES, type LinePlan } from '../../kit/access-lines.ts';
import { SERVER } from '../../kit/isps.ts';
import { WIREGUARD_GO, wgKeyPair } from '../../kit/peer.ts';
import { HOST, type Suite, type Trial } from './case.ts';
import { alternates, failsOver, HostRouter, PATIENT, RULES } from './host-router.ts';

const PORT = 51820;

/** The host's addresses in a tunnel. */
const inner = ({ net }: LinePlan): { v4: string; v6: string } => ({ v4: `10.3${net}.0.2`, v6: `fd00:3${net}::2` });

/** Makes the device of a far end in the namespace of a line's ISP. */
type Maker = (trial: Trial, ns: string, device: string) => Promise<unknown>;

let host: HostRouter;

/** The far end of a tunnel, in the namespace of a line's ISP; returns its public key. */
async function farEnd(trial: Trial, line: LinePlan, make: Maker): Promise<string> {
  const { lab } = trial;
  const ns = host.access.isp(line.name);
  const device = `far${line.net}`;
  await make(trial, ns, device);
  const { privateKey, publicKey } = wgKeyPair();
  host.router.keyFiles(line.name);
  const own = Object.values(inner(line));
  const conf = join(lab.dir, `${device}.conf`);
  writeFileSync(
    conf,
    `[Interface]\nPrivateKey = ${privateKey}\nListenPort = ${PORT}\n` +
      `[Peer]\nPublicKey = ${host.router.key(line.name).publicKey}\nAllowedIPs = ${own.join(', ')}\n`,
    { mode: 0o600 },
  );
  await lab.ok(ns, 'wg', ['setconf', device, conf]);
  const batch = [`link set ${device} mtu 1420 up`, ...own.map((address) => `route add ${address} dev ${device}`)];
  await lab.ok(ns, 'ip', ['-batch', '-'], { input: `${batch.join('\n')}\n` });
  await host.access.routeBack(line, own);
  return publicKey;
}

async function build(trial: Trial, make: Maker): Promise<void> {
  host = new HostRouter(trial, inner);
  await host.build();
  const uplinks: string[] = [];
  for (const line of LINES) {
    const publicKey = await farEnd(trial, line, make);
    const { v4, v6 } = inner(line);
    uplinks.push(`  ${line.name}:
    wireguard:
      private_key: !file ${line.name}.key
      addresses: [${v4}/32, '${v6}/128']
      peers:
        - public_key: ${publicKey}
          endpoint: ${gateway(line).v4}:${PORT}
          allowed_ips: [0.0.0.0/0, '::/0']
          persistent_keepalive: 25s
    probe: ${PATIENT}
`);
  }
  host.router.write(`backend: kernel\nuplinks:\n${uplinks.join('')}${RULES}`);
  await host.up();
}

/** How many links of a kind the host has. */
async function countLinks({ lab }: Trial, kind: string): Promise<number> {
  return (await lab.ok(HOST, 'ip', ['-o', 'link', 'show', 'type', kind])).split('\n').length - 1;
}

/** Every kind of socket; and full packets, no more of them than an emulated processor can encrypt. */
async function spreads({ log }: Trial): Promise<void> {
  await alternates(host, log, ['tcp', 'udp']);
  const { streams } = await host.iperf(undefined, '-c', SERVER.v4, '-P', '4', '-R', '-b', '500K', '-t', '2');
  assert.deepEqual(Object.keys(streams).sort(), host.addresses('v4'));
}

const spread = 'sockets of one application are spread over two tunnels: TCP, unconnected UDP, IPv4, IPv6';

export const wireguard: Suite = {
  name: 'wireguard',
  boot: 'daemon',
  setup: (trial) =>
    build(trial, ({ lab }, ns, device) => lab.ok(ns, 'ip', ['link', 'add', device, 'type', 'wireguard'])),
  teardown: () => host.down(),
  cases: [
    {
      name: 'wg-kernel',
      title: "tunnels are the kernel's own where it has WireGuard",
      run: async (trial) =>
        assert.deepEqual([await countLinks(trial, 'wireguard'), await countLinks(trial, 'tun')], [2, 0]),
    },
    { name: 'wg-spread', title: `${spread} (the kernel's WireGuard)`, run: spreads },
    {
      name: 'wg-unplugged',
      title: 'new sockets leave a tunnel whose line is unplugged, and use it again when it is back',
      run: () => failsOver(host, 'unplug'),
    },
  ],
};

/** The kernel asks modprobe for what it lacks; this makes it fail. */
const NO_MODULE = '/run/modprobe.d/no-wireguard.conf';

async function withoutModule(trial: Trial): Promise<void> {
  mkdirSync(dirname(NO_MODULE), { recursive: true });
  writeFileSync(NO_MODULE, 'install wireguard /bin/false\n');
  await trial.lab.ok(HOST, 'modprobe', ['-r', 'wireguard']);
  await build(trial, async ({ lab }, ns, device) => {
    lab.start(ns, WIREGUARD_GO, ['-f', device], { env: { LOG_LEVEL: 'error' } });
    const isThere = async (): Promise<boolean> => (await lab.run(ns, 'wg', ['show', device])).status === 0;
    await lab.eventually(`${device} can be set up`, isThere);
  });
}

async function withModule({ lab }: Trial): Promise<void> {
  try {
    await host.down();
  } finally {
    rmSync(NO_MODULE);
    await lab.ok(HOST, 'modprobe', ['wireguard']);
  }
}

export const wireguardGo: Suite = {
  name: 'wireguard-go',
  boot: 'daemon',
  setup: withoutModule,
  teardown: withModule,
  cases: [
    {
      name: 'wg-go',
      title: 'tunnels are TUN devices of our child where the kernel has no WireGuard',
      run: async (trial) =>
        assert.deepEqual([await countLinks(trial, 'wireguard'), await countLinks(trial, 'tun')], [0, 2]),
    },
    { name: 'wg-go-spread', title: `${spread} (our child)`, run: spreads },
  ],
};
