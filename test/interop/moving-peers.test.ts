/**
 * A WireGuard peer (wireguard-go) whose endpoint is a name: it does not answer where the name leads at first, and is found when the
 * name server tells its other address. Both backends; that of the kernel with the kernel's WireGuard, or our child where there
 * is none. test/lab/guest/endpoints.ts has a peer that moves under traffic.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cgroupMount } from '../../router/kernel/cgroups.ts';
import { twoWays } from '../kit/host-network.ts';
import { changedSince } from '../kit/host-snapshot.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { MovingName } from '../kit/moving-name.ts';
import { PEER_B, Peer } from '../kit/peer.ts';
import { ROOT_ACCOUNT, Router } from '../kit/router.ts';

const { it } = labTests(
  Lab.missing('dnsmasq', 'wg') ?? (cgroupMount() === undefined ? 'no cgroup v2 hierarchy' : undefined),
);
const NAME_SERVER = '10.1.0.1';
const [NOBODY_THERE, THERE] = ['10.9.0.77', '10.9.0.1'];
const PORT = 51820;
/** Its own mounts, so that the host's resolv.conf is what a file says. */
const WITH_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"';

const config = (backend: string, own: string, peer: string): string => `
backend: ${backend}
isolation: device
uplinks:
  tun:
    wireguard:
      private_key: ${own}
      addresses: [fe80::1/64, 10.100.0.2/24]
      peers: [{ public_key: ${peer}, endpoint: 'peer.test:${PORT}', allowed_ips: [0.0.0.0/0, '::/0'] }]
rules: [{ match: { to: 10.100.0.0/24 }, use: tun }]
`;

interface Shown {
  readonly devices: readonly {
    readonly peers: readonly { readonly endpoint: string; readonly handshake_age_s?: number }[];
  }[];
}

for (const backend of ['kernel', 'userspace'])
  it(`a peer that does not answer is found at the address its name has by then, backend ${backend}`, async (t) => {
    const ways = await twoWays();
    const { lab, host, far } = ways;
    try {
      const before = await ways.snapshot();
      const name = new MovingName(lab, 'peer.test');
      await name.serve(lab, far, NAME_SERVER, NOBODY_THERE);
      const resolver = join(lab.dir, 'resolv.conf');
      writeFileSync(resolver, `nameserver ${NAME_SERVER}\noptions attempts:1\n`);
      const router = new Router(lab, host, ROOT_ACCOUNT);
      const own = router.key('tun');
      const peer = new Peer(lab, far, PEER_B);
      await peer.tunnel({ publicKey: own.publicKey, asn: 1, linkLocal: 'fe80::1' }, PORT);
      router.write(config(backend, own.privateKey, peer.keys.publicKey));
      const { words, options } = router.command(['up', '--foreground', '-c', router.config]);
      const daemon = lab.start(host, 'unshare', ['--mount', 'sh', '-c', WITH_RESOLVER, resolver, ...words], options);
      await daemon.until(/ready/);
      const shown = async () => (await router.json<Shown>('wg')).devices[0]!.peers[0];
      await lab.eventually('it is looked for', async () => (await shown())?.endpoint === `${NOBODY_THERE}:${PORT}`);
      t.is((await shown())!.handshake_age_s, undefined);
      await name.is(THERE);
      await lab.eventually('it answers', async () => (await shown())?.handshake_age_s !== undefined, 60_000);
      t.is(await daemon.stop('SIGTERM', 30_000), 0);
      t.deepEqual(changedSince(before, await ways.snapshot()), []);
    } finally {
      await lab.close();
    }
  });
