/** The whole router with the kernel backend: routes of a BGP neighbour (BIRD) and of the configuration in tables of the kernel. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Answers } from '../../router/control/messages.ts';
import { cgroupMount } from '../../router/kernel/cgroups.ts';
import { formatKey, generatePrivateKey, publicKey } from '../../wg/keys.ts';
import { twoWays } from '../kit/host-network.ts';
import { changedSince } from '../kit/host-snapshot.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, Peer } from '../kit/peer.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';

const missing = Lab.missing('bird') ?? (cgroupMount() === undefined ? 'no cgroup v2 hierarchy' : undefined);
const BIRD = `
router id 10.9.0.1;
log stderr all;
protocol device {}
protocol static { ipv4; route 10.90.0.0/16 blackhole; route 10.91.0.0/16 blackhole; }
protocol bgp {
  local 10.1.0.1 as 65001; neighbor 10.1.0.2 as 65002;
  ipv4 { import none; export all; next hop self; };
}
`;

const config = (peer: string): string => `
backend: kernel
isolation: device
uplinks:
  fiber: { kernel: { interface: eth1 } }
  lte: { kernel: { interface: eth2 } }
  tun:
    wireguard:
      private_key: !file tun.key
      addresses: [10.100.0.2/32]
      peers: [{ public_key: ${peer}, endpoint: '10.9.0.1:51820', allowed_ips: [10.100.0.0/24] }]
routes:
  - { to: 10.77.0.0/16, via: lte, gateway: 10.2.0.1 }
  - { to: 10.78.0.0/16, type: blackhole }
bgp:
  asn: 65002
  router_id: 10.1.0.2
  peers: [{ name: bird, address: 10.1.0.1, asn: 65001, via: fiber, import: all, export: none }]
`;

labTests(missing).it(
  "routes of BGP and of the configuration are in the kernel's tables until the router ends",
  async (t) => {
    const ways = await twoWays();
    const { lab, host, far } = ways;
    try {
      const before = await ways.snapshot();
      writeFileSync(join(lab.dir, 'bird.conf'), BIRD);
      lab.start(far, 'bird', ['-f', '-c', join(lab.dir, 'bird.conf'), '-s', join(lab.dir, 'bird.ctl')]);
      const router = new Router(lab, host, ROOT_ACCOUNT);
      writeFileSync(join(router.dir, 'tun.key'), `${formatKey(generatePrivateKey())}\n`, { mode: 0o600 });
      router.write(config(formatKey(publicKey(generatePrivateKey()))));
      await router.up();
      const told = async (): Promise<string[]> => {
        const text = await lab.ok(host, 'ip', ['route', 'show', 'table', 'all', 'proto', '117']);
        return text
          .trim()
          .split('\n')
          .map((line) => line.replace(/ metric \d+/, '').trim())
          .sort();
      };
      const table = async (device: string): Promise<string> =>
        new RegExp(`oif ${device} lookup (\\d+)`).exec(await lab.ok(host, 'ip', ['rule']))![1]!;
      const [fiber, lte, tun] = [await table('eth1'), await table('eth2'), await table('mlw-tun')];
      await lab.eventually('what BIRD told is in the table of its uplink', async () =>
        (await told()).some((line) => line.startsWith('10.91.')),
      );
      t.deepEqual(
        await told(),
        [
          `10.100.0.0/24 dev mlw-tun table ${tun} scope link`,
          `10.77.0.0/16 via 10.2.0.1 dev eth2 table ${lte} onlink`,
          `10.90.0.0/16 via 10.1.0.1 dev eth1 table ${fiber} onlink`,
          `10.91.0.0/16 via 10.1.0.1 dev eth1 table ${fiber} onlink`,
          ...[fiber, lte, tun].map((n) => `blackhole 10.78.0.0/16 table ${n}`),
        ].sort(),
      );
      // A VRF comes, takes an uplink with its table, and goes again; the session does not notice.
      const session = async () => {
        const { peers } = await router.json<Answers['bgp_show']>('bgp', 'show');
        return peers.map((p) => `${p.name} ${p.state} ${p.establishments}`);
      };
      const original = await told();
      const plain = readFileSync(router.config, 'utf8');
      const inVrf = plain
        .replace('interface: eth2 } }', 'interface: eth2 }, vrf: red }')
        .replace('to: 10.77.0.0/16,', 'to: 10.79.0.0/16, vrf: red,');
      router.write(`${inVrf}vrfs: { red: { rd: '65002:1', networks: [10.70.0.0/16] } }\n`);
      t.is((await router.cli(['reload'])).status, 0);
      await lab.eventually('the table of the uplink has the routes of its VRF', async () =>
        (await told()).includes(`10.79.0.0/16 via 10.2.0.1 dev eth2 table ${lte} onlink`),
      );
      t.deepEqual(
        await told(),
        [
          ...original.filter((line) => !line.includes(`table ${lte}`)),
          `10.79.0.0/16 via 10.2.0.1 dev eth2 table ${lte} onlink`,
          `unreachable 10.70.0.0/16 table ${lte}`,
        ].sort(),
      );
      router.write(plain);
      t.is((await router.cli(['reload'])).status, 0);
      await lab.eventually('the tables are as they were', async () => (await told()).join() === original.join());
      t.deepEqual(await session(), ['bird Established 1']);
      await router.cli(['down']);
      t.deepEqual(changedSince(before, await ways.snapshot()), []);
    } finally {
      await lab.close();
    }
  },
);

labTests(missing ?? Lab.missing('wg', 'curl', 'python3')).it(
  'where the kernel has no WireGuard our child serves, and a rule for everything does not lead its tunnel into itself',
  async (t) => {
    const { lab, host, far } = await twoWays();
    try {
      const router = new Router(lab, host, ROOT_ACCOUNT);
      const key = generatePrivateKey();
      writeFileSync(join(router.dir, 'tun.key'), `${formatKey(key)}\n`, { mode: 0o600 });
      const peer = new Peer(lab, far, PEER_B);
      await peer.tunnel({ publicKey: formatKey(publicKey(key)), asn: 1, linkLocal: 'fe80::1' }, 51820);
      await peer.ip('route', 'add', '10.100.0.2/32', 'dev', peer.device);
      const web = lab.start(far, 'python3', ['-u', '-m', 'http.server', '--bind', PEER_B.v4, '8080']);
      await web.until(/Serving HTTP/);
      router.write(`
backend: kernel
isolation: device
uplinks:
  tun:
    wireguard:
      private_key: !file tun.key
      addresses: [10.100.0.2/32]
      peers: [{ name: far, public_key: ${peer.keys.publicKey}, endpoint: '10.1.0.1:51820', allowed_ips: [0.0.0.0/0] }]
rules: [{ use: tun }]
`);
      await router.up();
      const { status, stderr } = await lab.run(host, 'curl', [
        ...['-sS', '--max-time', '20', '-w', '%{stderr}%{local_ip}', '-o', '/dev/null', `http://${PEER_B.v4}:8080/`],
      ]);
      t.is(status, 0, stderr);
      t.is(stderr, '10.100.0.2');
      interface Shown {
        readonly devices: readonly { readonly peers: readonly { readonly name: string; handshake_age_s?: number }[] }[];
      }
      await lab.eventually('the handshake is shown', async () => {
        const [shown] = (await router.json<Shown>('wg', 'show')).devices;
        return shown?.peers[0]?.name === 'far' && shown.peers[0].handshake_age_s !== undefined;
      });
      await router.cli(['down']);
      t.false((await lab.ok(host, 'ip', ['link'])).includes('mlw-tun'));
    } finally {
      await lab.close();
    }
  },
);
