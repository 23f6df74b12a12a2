/**
 * The first minute of somebody who has a wg-quick file and nothing else: `mlshim run -c FILE.conf -- APP`, unprivileged,
 * against wireguard-go, nginx and dnsmasq; and what the read commands say meanwhile. No BGP.
 */
import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Status } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab, NOBODY } from '../kit/lab.ts';
import { PEER_B, type Peer } from '../kit/peer.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { onePeer } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  peer: Peer;
  router: Router;
  /** Write NAME.conf with this endpoint; returns its path. */
  conf(name: string, endpoint: string, extra?: string): string;
}

const missing = Lab.missing('nginx', 'dnsmasq', 'curl', 'wg', 'tcpdump');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, peer } = await onePeer(lab);
    await lab.veth('eth1', router.ns, 'fd00:2::1/64', peer.ns, 'fd00:2::2/64');
    await peer.ip('route', 'add', `${ROUTER.v4}/32`, 'dev', peer.device, 'src', PEER_B.v4);
    await peer.ip('route', 'add', `${ROUTER.v6}/128`, 'dev', peer.device, 'src', PEER_B.v6);
    await peer.serve({ 'small.bin': 4321 });
    t.context.peer = peer;
    t.context.router = router;
    t.context.conf = (name, endpoint, extra = '') => {
      const path = join(router.dir, `${name}.conf`);
      const text = `[Interface]
PrivateKey = ${router.key('b').privateKey}
Address = ${ROUTER.v4}/32, ${ROUTER.v6}/128
DNS = ${PEER_B.dns}, ${PEER_B.domain}
${extra}
[Peer]
PublicKey = ${peer.keys.publicKey}
AllowedIPs = 0.0.0.0/0, ::/0
Endpoint = ${endpoint}
`;
      writeFileSync(path, text, { mode: 0o600 });
      chownSync(path, NOBODY, NOBODY);
      return path;
    };
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const CURL = ['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code} %{size_download} %{remote_ip}'];

it('a wg-quick file and one command: curl by name, both families, silent on success', async (t) => {
  const { router, conf } = t.context;
  const file = conf('home', '192.0.2.2:51820');
  for (const [family, address] of [
    ['-4', PEER_B.v4],
    ['-6', PEER_B.v6],
  ] as const) {
    const run = await router.cli(['run', '-c', file, '--', ...CURL, family, `http://www.${PEER_B.domain}/small.bin`]);
    t.deepEqual(run, { status: 0, stdout: `200 4321 ${address}`, stderr: '' });
  }
  const short = await router.cli(['run', '-c', file, '--', ...CURL, '-4', 'http://www/small.bin']);
  t.is(short.stdout, `200 4321 ${PEER_B.v4}`, 'the search domain of the DNS line');
});

it('PostUp is named in a warning and never run', async (t) => {
  const { router, conf } = t.context;
  const proof = join(router.dir, 'was-run');
  const file = conf('hooks', '192.0.2.2:51820', `PostUp = touch ${proof}`);
  const run = await router.cli(['run', '-c', file, '--', ...CURL, `http://${PEER_B.v4}/small.bin`]);
  t.is(run.stdout, `200 4321 ${PEER_B.v4}`);
  t.regex(run.stderr, /hooks\.conf:5:1: warning: .*PostUp/);
  t.false(existsSync(proof));
});

it('a tunnel whose endpoint is an IPv6 address', async (t) => {
  const { router, conf } = t.context;
  const file = conf('six', '[fd00:2::2]:51820');
  const run = await router.cli(['run', '-c', file, '--', ...CURL, `http://${PEER_B.v4}/small.bin`]);
  t.deepEqual(run, { status: 0, stdout: `200 4321 ${PEER_B.v4}`, stderr: '' });
});

it('the daemon of a wg-quick file: status, wg show, route get and a capture that tcpdump reads', async (t) => {
  const { router, conf, lab } = t.context;
  const daemon = router.cliStart(['up', '-f', '-c', conf('home', '192.0.2.2:51820')]);
  await daemon.until(/ready/);
  const file = join(router.dir, 'flow.pcapng');
  const capture = router.cliStart(['capture', '-w', file]);
  await lab.eventually('the capture began', async () => existsSync(file) && readFileSync(file).length > 0);
  t.is(await router.appOk(CURL[0]!, [...CURL.slice(1), `http://${PEER_B.v4}/small.bin`]), `200 4321 ${PEER_B.v4}`);

  const seen = async (): Promise<string> =>
    (await lab.run(router.ns, 'tcpdump', ['-n', '-r', file, 'tcp', 'port', '80'])).stdout;
  await lab.eventually('the end of the flow is captured', async () => ((await seen()).match(/\[F/g) ?? []).length >= 2);
  capture.child.kill('SIGINT');
  t.is(await capture.exit(), 0);
  const lines = await seen();
  t.regex(lines, new RegExp(`IP ${ROUTER.v4}\\.\\d+ > ${PEER_B.v4}\\.80: Flags \\[S\\]`));
  t.regex(lines, new RegExp(`IP ${PEER_B.v4}\\.80 > ${ROUTER.v4}\\.\\d+: Flags \\[S\\.\\]`));
  t.regex(lines, /HTTP: GET \/small\.bin/);

  const status = await router.cli(['status']);
  t.is(status.status, 0);
  t.regex(status.stdout, /^mlshim \d+\.\d+\.\d+ {2}up \S+ {2}pid \d+ {2}apps 0 {2}flows \d+ {2}routes 1 v4 \/ 1 v6\n/);
  t.regex(status.stdout, /\nUPLINK +KIND +STATE.*\nhome +wg +up /);
  t.deepEqual((await router.json<Status>('status')).problems, []);

  const wg = (await router.cli(['wg', 'show'])).stdout;
  t.regex(
    wg,
    /^interface: home\n {2}public key: \S{44}\n {2}private key: \(hidden\)\n {2}listening port: \d+\n\npeer: \S{44}\n {2}endpoint: 192\.0\.2\.2:51820\n {2}allowed ips: 0\.0\.0\.0\/0, ::\/0\n {2}latest handshake: .*\n {2}transfer: .* received, .* sent\n/,
  );
  const route = (await router.cli(['route', 'get', PEER_B.v4])).stdout;
  t.regex(route, new RegExp(`^${PEER_B.v4} uplink home src ${ROUTER.v4} mtu 1420\\n {2}table main: 0\\.0\\.0\\.0/0, `));
  t.is(await daemon.stop('SIGTERM', 30_000), 0);
});

it('every read command prints one JSON document', async (t) => {
  const { router, conf } = t.context;
  const daemon = router.cliStart(['up', '-f', '-c', conf('home', '192.0.2.2:51820')]);
  await daemon.until(/ready/);
  for (const verb of ['status', 'route', 'route get 172.20.53.1', 'bgp', 'bgp routes', 'bgp explain ::/0', 'wg']) {
    const { stdout, stderr } = await router.cli([...verb.split(' '), '--json']);
    t.notThrows(() => JSON.parse(stdout), `${verb}: ${stdout}`);
    t.is(stderr, '', verb);
  }
  t.is(await daemon.stop('SIGTERM', 30_000), 0);
});
