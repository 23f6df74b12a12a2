/**
 * The main job against parts nobody here wrote: stock apps under the shim, mlshim without any privilege, and a peer of
 * wireguard-go on a kernel TUN, BIRD 2, nginx and dnsmasq in a namespace of its own. Routes come from BGP only.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, type Peer, randomFile } from '../kit/peer.ts';
import { ROUTER, type Router } from '../kit/router.ts';
import { onePeer } from '../kit/two-peers.ts';

const MIB = 1 << 20;
const BIG = 200 * MIB;

interface Context {
  lab: Lab;
  peer: Peer;
  router: Router;
}

const missing = Lab.missing('bird', 'birdc', 'nginx', 'dnsmasq', 'iperf3', 'curl', 'dig', 'wg', 'sha256sum');
/** Tests that need the lab; where it cannot be made they are skipped with the reason in their name. */
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, peer, remote, tunnel } = await onePeer(lab);
    await peer.startBird(remote);
    await peer.serve({ 'small.bin': 4321, 'big.bin': BIG });
    router.configure([tunnel]);
    await router.up();
    await router.routeTo(PEER_B.v4);
    await router.routeTo(PEER_B.v6);
    t.context.peer = peer;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const sha = (path: string): string => execFileSync('sha256sum', [path], { encoding: 'utf8' }).slice(0, 64);
const www = `www.${PEER_B.domain}`;

for (const family of ['4', '6']) {
  for (const file of ['small.bin', 'big.bin']) {
    it(`curl fetches ${file} by name over IPv${family}, checksum equal`, async (t) => {
      const { router, peer } = t.context;
      const out = join(router.dir, `got-${family}-${file}`);
      const printed = await router.appOk(
        'curl',
        [
          '-sS',
          `-${family}`,
          '-o',
          out,
          '-w',
          '%{http_code} %{size_download} %{speed_download}',
          `http://${www}/${file}`,
        ],
        { timeoutMs: 120_000 },
      );
      t.is(printed.split(' ')[0], '200');
      t.is(sha(out), peer.sum(file));
      t.log(`${((Number(printed.split(' ')[2]) * 8) / 1e9).toFixed(2)} Gbit/s`);
    });
  }
  it(`curl uploads over IPv${family}, checksum equal`, async (t) => {
    const { router, peer } = t.context;
    const file = join(router.dir, `up-${family}`);
    const sum = randomFile(file, 50 * MIB);
    const code = await router.appOk(
      'curl',
      ['-sS', `-${family}`, '-T', file, '-w', '%{http_code}', `http://${www}/up/from-${family}`],
      { timeoutMs: 120_000 },
    );
    t.is(code, '201');
    t.is(peer.uploaded(`from-${family}`), sum);
  });
}

interface IperfReport {
  readonly end: {
    readonly sum_received?: { readonly bytes: number; readonly bits_per_second: number };
    readonly sum?: { readonly bytes: number; readonly lost_percent: number; readonly packets: number };
  };
}

for (const [name, args] of [
  ['TCP upload, 1 stream', []],
  ['TCP download, 1 stream', ['-R']],
  ['TCP upload, 8 streams', ['-P', '8']],
  ['TCP download, 8 streams', ['-P', '8', '-R']],
  ['TCP over IPv6', ['-6']],
  ['UDP upload, 1 stream', ['-u', '-b', '50M']],
  ['UDP download, 1 stream', ['-u', '-b', '50M', '-R']],
  ['UDP upload, 8 streams', ['-u', '-b', '5M', '-P', '8']],
  ['UDP download, 8 streams', ['-u', '-b', '5M', '-P', '8', '-R']],
] as const) {
  it(`iperf3 under the shim: ${name}`, async (t) => {
    const { router, peer } = t.context;
    const server = await peer.startIperf();
    const target = (args as readonly string[]).includes('-6') ? PEER_B.v6 : PEER_B.v4;
    const { stdout, stderr } = await router.app('iperf3', ['-c', target, '-t', '2', '--json', ...args]);
    await server.stop();
    const { end } = JSON.parse(stdout) as IperfReport;
    const udp = (args as readonly string[]).includes('-u');
    const bytes = (udp ? end.sum?.bytes : end.sum_received?.bytes) ?? 0;
    t.true(bytes > 1e6, `only ${bytes} octets: ${stdout}${stderr}`);
    if (udp) t.true((end.sum?.lost_percent ?? 100) < 5, `lost ${end.sum?.lost_percent} %`);
    t.log(
      udp
        ? `lost ${end.sum?.lost_percent.toFixed(2)} %`
        : `${((end.sum_received?.bits_per_second ?? 0) / 1e9).toFixed(2)} Gbit/s`,
    );
  });
}

it('dig asks the resolver of the network, and the host resolver it is configured with is answered the same way', async (t) => {
  const { router } = t.context;
  t.is((await router.appOk('dig', ['+short', `v4.${PEER_B.domain}`, 'A', `@${PEER_B.dns}`])).trim(), PEER_B.v4);
  t.is((await router.appOk('dig', ['+short', `v6.${PEER_B.domain}`, 'AAAA'])).trim(), PEER_B.v6);
  t.is((await router.appOk('dig', ['+short', '+tcp', `v4.${PEER_B.domain}`, `@${PEER_B.dns}`])).trim(), PEER_B.v4);
});

it("python3's urllib and node's fetch get the small file by name", async (t) => {
  const { router, peer } = t.context;
  const python = `import urllib.request,hashlib;print(hashlib.sha256(urllib.request.urlopen("http://${www}/small.bin").read()).hexdigest())`;
  t.is((await router.appOk('/usr/bin/python3', ['-c', python])).trim(), peer.sum('small.bin'));
  const node = `const r=await fetch('http://${www}/small.bin');const {createHash}=await import('node:crypto');console.log(createHash('sha256').update(Buffer.from(await r.arrayBuffer())).digest('hex'))`;
  t.is((await router.appOk(process.execPath, ['--input-type=module', '-e', node])).trim(), peer.sum('small.bin'));
});

it("the peer's curl and iperf3 reach servers running under the shim", async (t) => {
  const { router, peer, lab } = t.context;
  const www = join(router.dir, 'www');
  execFileSync('mkdir', ['-p', www]);
  const sum = randomFile(join(www, 'file.bin'), 20 * MIB);

  const python = router.appStart('/usr/bin/python3', ['-u', '-m', 'http.server', '8000', '--bind', '::', '-d', www]);
  await python.until(/Serving HTTP/);
  for (const host of [ROUTER.v4, `[${ROUTER.v6}]`]) {
    const got = join(lab.dir, 'from-python');
    await lab.ok(peer.ns, 'curl', ['-sS', '-o', got, `http://${host}:8000/file.bin`]);
    t.is(sha(got), sum);
  }
  await python.stop();

  const conf = join(router.dir, 'nginx.conf');
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((k) => `${k}_temp_path ${router.dir}/t-${k};`);
  writeFileSync(
    conf,
    `daemon off; worker_processes 2; error_log stderr error; pid ${router.dir}/nginx.pid;
events { worker_connections 256; }
http { access_log off; sendfile on; ${temp.join(' ')} server { listen 8080 reuseport; listen [::]:8080 reuseport; root ${www}; } }
`,
  );
  const nginx = router.appStart('nginx', ['-c', conf, '-p', router.dir]);
  await lab.eventually(
    'nginx answers',
    async () =>
      (await lab.run(peer.ns, 'curl', ['-sS', '-o', '/dev/null', `http://${ROUTER.v4}:8080/file.bin`])).status === 0,
  );
  const fetches = Array.from({ length: 8 }, async (_, i) => {
    const got = join(lab.dir, `from-nginx-${i}`);
    const host = i % 2 === 0 ? ROUTER.v4 : `[${ROUTER.v6}]`;
    await lab.ok(peer.ns, 'curl', ['-sS', '-o', got, `http://${host}:8080/file.bin`]);
    t.is(sha(got), sum);
  });
  await Promise.all(fetches);
  await nginx.stop('SIGQUIT');

  const iperf = router.appStart('iperf3', ['-s', '-1', '--forceflush']);
  await iperf.until(/listening/);
  const { stdout } = await lab.run(peer.ns, 'iperf3', ['-c', ROUTER.v4, '-t', '2', '-P', '4', '--json']);
  t.true(((JSON.parse(stdout) as IperfReport).end.sum_received?.bytes ?? 0) > 1e6, stdout);
});

it('the WireGuard child is killed in the middle of a 200 MB transfer, which completes with the right checksum', async (t) => {
  const { router, peer, lab } = t.context;
  const out = join(router.dir, 'across-a-kill');
  const curl = router.appStart('curl', ['-sS', '-o', out, `http://${PEER_B.v4}/big.bin`]);
  const size = (): number => (existsSync(out) ? statSync(out).size : 0);
  while (size() < BIG / 10) await tick();
  const children = (await lab.host('ip', ['netns', 'pids', router.ns]))
    .split('\n')
    .filter((pid) => pid !== '' && readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('mlshim-wg'));
  t.is(children.length, 1);
  const isMidTransfer = size() < BIG;
  process.kill(Number(children[0]), 'SIGKILL');
  const gap = await longestGap(size, BIG);
  t.is(await curl.exit(), 0, curl.stderr);
  t.is(sha(out), peer.sum('big.bin'));
  t.true(isMidTransfer, 'the transfer was over before the kill');
  t.log(`data gap ${gap.toFixed(0)} ms (goal <= 200 ms)`);
});

const tick = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 1));

/** Longest time in ms in which `size` did not grow, until it reaches `end`; at most 30 s are watched. */
async function longestGap(size: () => number, end: number): Promise<number> {
  const limit = performance.now() + 30_000;
  let longest = 0;
  let last = size();
  let grewAt = performance.now();
  while (last < end && performance.now() < limit) {
    await tick();
    const now = size();
    if (now === last) continue;
    longest = Math.max(longest, performance.now() - grewAt);
    grewAt = performance.now();
    last = now;
  }
  return longest;
}
