/**
 * The main job inside a real container: Debian's dockerd, its default seccomp profile, uid nobody, every capability
 * dropped, read-only root, no TUN device. The peer answers on the bridge.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { BRIDGE_ADDR, Docker } from '../kit/docker.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, Peer } from '../kit/peer.ts';
import { ROUTER, Router } from '../kit/router.ts';

const test = anyTest as TestFn<{ lab: Lab }>;
const ROOT = join(import.meta.dirname, '..', '..', '..');

let missing = Lab.missing(
  'bird',
  'nginx',
  'dnsmasq',
  'curl',
  'iperf3',
  'wg',
  'docker',
  'dockerd',
  'containerd',
  'runc',
);
let lab: Lab | undefined;
let docker: Docker | undefined;
if (missing === undefined) {
  lab = new Lab();
  try {
    docker = await Docker.start(lab, await lab.namespace('d'));
  } catch (error) {
    await lab.close();
    missing = String(error).split('\n').slice(0, 2).join(' ');
  }
}

if (lab === undefined || docker === undefined || missing !== undefined)
  test.skip(`curl and iperf3 run under mlshim in a locked-down container (${missing})`, (t) => t.fail());
else {
  const engine = docker;
  const here = lab;
  test.after.always('remove the lab', () => here.close());

  test('curl and iperf3 run under mlshim in a locked-down container', async (t) => {
    const peer = new Peer(here, engine.ns, PEER_B);
    const router = new Router(here, engine.ns);
    const remote = { publicKey: router.key('b').publicKey, asn: ROUTER.asn, linkLocal: 'fe80::1' };
    await peer.tunnel(remote, 51820);
    await peer.startBird(remote);
    await peer.serve({ 'file.bin': 50 << 20 });
    await peer.startIperf();
    router.configure([{ name: 'b', peer, endpoint: `${BRIDGE_ADDR}:51820`, linkLocal: 'fe80::1' }]);
    chmodSync(router.dir, 0o755);

    const inside = async (...app: string[]) => {
      const mlshim = ['node', '/app/build/router/cli/main.js', 'run', '-c', '/conf/mlshim.yaml', '--', ...app];
      return engine.run({ [ROOT]: '/app', [router.dir]: '/conf' }, ['env', 'HOME=/tmp', ...mlshim]);
    };
    const retry = ['--retry', '20', '--retry-all-errors', '--retry-delay', '1'];
    for (const family of ['-4', '-6']) {
      const url = `http://www.${PEER_B.domain}/file.bin`;
      const fetch = `curl -sS ${family} ${retry.join(' ')} ${url} | sha256sum`;
      const { status, stdout, stderr } = await inside('sh', '-c', fetch);
      t.is(status, 0, stderr);
      t.is(stdout.slice(0, 64), peer.sum('file.bin'), stderr);
    }
    const waitAndMeasure = `until curl -sS -o /dev/null http://${PEER_B.v4}/; do sleep 0.2; done; iperf3 -c ${PEER_B.v4} -t 2 --json`;
    const { status, stdout, stderr } = await inside('sh', '-c', waitAndMeasure);
    t.is(status, 0, stderr + stdout);
    const report = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
    t.true(report.end.sum_received.bits_per_second > 1e6);
    t.log(`iperf3 inside the container: ${(report.end.sum_received.bits_per_second / 1e9).toFixed(2)} Gbit/s`);
  });
}
