/**
 * What goes wrong on real networks: an unreachable peer, a wrong key, garbage inside the tunnel, apps and routers that
 * die, two daemons on one socket. Each has a clear message and leaves no process, file or connection behind.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, Peer } from '../kit/peer.ts';
import { ROUTER, Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  peer: Peer;
  /** The router's namespace. */
  a: string;
}

interface Status {
  readonly problems: readonly { readonly code: string; readonly text: string }[];
  readonly drops: Readonly<Record<string, number>>;
  readonly apps: number;
  readonly flows: number;
  readonly uplinks: readonly { readonly name: string; readonly state: string }[];
}

/** The router that the tests from the garbage on share. */
let shared: Router | undefined;

const missing = Lab.missing('bird', 'nginx', 'dnsmasq', 'curl', 'wg', 'iperf3', 'python3');
const { test, it } = labTests<Context>(missing);

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    t.context.a = await lab.namespace('a');
    const b = await lab.namespace('b');
    await lab.veth('eth0', t.context.a, '192.0.2.1/24', b, '192.0.2.2/24');
    t.context.peer = new Peer(lab, b, PEER_B);
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

/** Pids in the router's namespace. */
async function inside({ lab, a }: Context): Promise<string[]> {
  return (await lab.host('ip', ['netns', 'pids', a])).split('\n').filter((pid) => pid !== '');
}

/** The namespace is as it was before the router came: no process, no socket file. */
async function nothingIsLeft(t: ExecutionContext<Context>, router: Router): Promise<void> {
  await t.context.lab.eventually('every process is gone', async () => (await inside(t.context)).length === 0);
  for (const name of ['control', 'shim']) t.false(existsSync(join(router.dir, 'mlshim', name)), name);
}

it('a malformed configuration is refused with every problem, its place and a caret, and exit status 78', async (t) => {
  const router = new Router(t.context.lab, t.context.a);
  router.write(
    'uplinks:\n  b:\n    wireguard:\n      private_key: short\n      addresses: [10.0.0.1/33]\n      peerz: []\n',
  );
  const { status, stderr } = await router.cli(['run', '-c', router.config, '--', 'true']);
  t.is(status, 78);
  t.regex(stderr, /mlshim\.yaml:4:20: error: .*key/);
  t.regex(stderr, /mlshim\.yaml:5:\d+: error: .*10\.0\.0\.1\/33/);
  t.regex(stderr, /mlshim\.yaml:6:7: error: unknown key "peerz" \(did you mean "peers"\?/);
  t.regex(stderr, /\^/);
  await nothingIsLeft(t, router);
});

it('an unreachable peer: apps get an error in finite time, status names the problem, nothing leaks', async (t) => {
  const { lab, a, peer } = t.context;
  const router = new Router(lab, a);
  router.configure([{ name: 'b', peer, endpoint: '192.0.2.2:9', linkLocal: 'fe80::1' }]);
  await router.up();
  const { status } = await router.app('curl', ['-sS', '--connect-timeout', '2', `http://${PEER_B.v4}/`]);
  t.is(status, 7, 'curl could not connect: no route, since no BGP session is up');
  const state = await router.json<Status>('status');
  t.true(state.problems.length > 0);
  t.regex(JSON.stringify(state.problems), /b\b/);
  t.is(await router.down(), 0);
  await nothingIsLeft(t, router);
});

it('a wrong key: no handshake, the uplink is not up, and status says so', async (t) => {
  const { lab, a, peer } = t.context;
  const router = new Router(lab, a);
  router.configure([{ name: 'b', peer, endpoint: '192.0.2.2:51820', linkLocal: 'fe80::1' }]);
  const other = new Router(lab, await lab.namespace('other'));
  await peer.tunnel({ publicKey: other.key('b').publicKey, asn: ROUTER.asn, linkLocal: 'fe80::1' }, 51820);
  await router.up();
  const { stdout } = await router.cli(['wg', 'show']);
  t.notRegex(stdout, /latest handshake/);
  t.notRegex(stdout, new RegExp(router.key('b').privateKey.slice(0, 20).replace(/[+/]/g, '\\$&')));
  t.is((await router.json<Status>('status')).uplinks.find((u) => u.name === 'b')?.state, 'down');
  await router.down();
  await nothingIsLeft(t, router);
  await peer.wireguard?.stop();
});

/** Sends packets that no IP stack would: random octets behind valid-looking first octets, and cut or lying headers. */
const GARBAGE = `
import os, random, socket, sys
random.seed(7)
s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
for i in range(4000):
    b = bytearray(random.randbytes(random.choice([1, 8, 19, 20, 21, 39, 40, 41, 60, 200, 1400])))
    v6 = i % 2
    b[0] = (0x60 if v6 else 0x40 | random.choice([5, 5, 5, 0, 4, 6, 15]))
    if len(b) >= 40 and random.random() < 0.9:
        if v6:
            b[4:6] = len(b).__sub__(40).to_bytes(2, 'big') if random.random() < 0.7 else random.randbytes(2)
            b[6] = random.choice([6, 17, 58, 0, 43, 44, 60, 59, 50, 255])
            b[24:40] = socket.inet_pton(socket.AF_INET6, random.choice(['${ROUTER.v6}', 'fe80::1', 'ff02::1', '::']))
        else:
            b[2:4] = len(b).to_bytes(2, 'big') if random.random() < 0.7 else random.randbytes(2)
            b[6:8] = random.choice([b'\\0\\0', b'\\x20\\0', b'\\x3f\\xff', random.randbytes(2)])
            b[9] = random.choice([1, 6, 17, 0, 255])
            b[16:20] = socket.inet_pton(socket.AF_INET, random.choice(['${ROUTER.v4}', '224.0.0.1', '255.255.255.255', '0.0.0.0']))
            h = (b[0] & 15) * 4
            if 20 <= h <= len(b):
                b[10:12] = b'\\0\\0'
                t = sum(int.from_bytes(b[k:k+2], 'big') for k in range(0, h, 2))
                while t >> 16: t = (t & 65535) + (t >> 16)
                b[10:12] = (t ^ 65535).to_bytes(2, 'big')
    try: s.sendto(bytes(b), (sys.argv[1], 0x86dd if v6 else 0x0800))
    except OSError: pass
`;

it('a peer that sends garbage inside the tunnel is counted, and everything goes on', async (t) => {
  const { lab, a, peer } = t.context;
  const router = new Router(lab, a);
  const remote = { publicKey: router.key('b').publicKey, asn: ROUTER.asn, linkLocal: 'fe80::1' };
  await peer.tunnel(remote, 51820);
  await peer.startBird(remote);
  await peer.serve({ 'file.bin': 10 << 20, 'endless.bin': 300 << 20 });
  router.configure([{ name: 'b', peer, endpoint: '192.0.2.2:51820', linkLocal: 'fe80::1' }]);
  await router.up();
  await router.routeTo(PEER_B.v4);
  shared = router;
  const drops = (s: Status): number => Object.values(s.drops).reduce((sum, n) => sum + n, 0);
  const before = drops(await router.json<Status>('status'));
  writeFileSync(join(lab.dir, 'garbage.py'), GARBAGE);
  await lab.ok(peer.ns, '/usr/bin/python3', [join(lab.dir, 'garbage.py'), peer.device]);
  t.true(drops(await router.json<Status>('status')) > before + 100);
  t.is(
    (
      await router.appOk('curl', ['-sS', `http://${PEER_B.v4}/file.bin`, '-o', '/dev/null', '-w', '%{size_download}'])
    ).trim(),
    String(10 << 20),
  );
});

it('an app that is killed in the middle of a transfer leaves no socket in the router and no connection at the peer', async (t) => {
  const { lab, peer } = t.context;
  const router = shared!;
  const out = join(router.dir, 'partial');
  const flows = (await router.json<Status>('status')).flows;
  const curl = router.appStart('curl', ['-sS', '--limit-rate', '20M', '-o', out, `http://${PEER_B.v4}/endless.bin`]);
  await lab.eventually('some of it arrived', async () => existsSync(out) && readFileSync(out).length > 1 << 20);
  const apps = (await inside(t.context)).filter((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'curl\n');
  t.is(apps.length, 1);
  process.kill(Number(apps[0]), 'SIGKILL');
  t.is(await curl.exit(), 128 + 9);
  await t.notThrowsAsync(
    lab.eventually('the router forgot the app', async () => (await router.json<Status>('status')).flows <= flows),
  );
  await t.notThrowsAsync(
    lab.eventually(
      'the server saw the end',
      async () => !(await lab.ok(peer.ns, 'ss', ['-Htn', 'state', 'established', 'sport = :80'])).includes(ROUTER.v4),
    ),
  );
});

it('a second daemon on the same socket is refused and the first goes on', async (t) => {
  const router = shared!;
  const { status, stderr } = await router.cli(['up', '--foreground', '-c', router.config]);
  t.is(status, 1);
  t.regex(stderr, /already|running/);
  t.is((await router.cli(['status'])).status, 0);
});

it('the router is killed under an app: the app gets an error and ends, and nothing goes to the host network', async (t) => {
  const { lab } = t.context;
  const router = shared!;
  const out = join(router.dir, 'cut');
  const curl = router.appStart('curl', ['-sS', '--limit-rate', '20M', '-o', out, `http://${PEER_B.v4}/endless.bin`]);
  await lab.eventually('some of it arrived', async () => existsSync(out) && readFileSync(out).length > 1 << 20);
  const daemons = (await inside(t.context)).filter((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('mlshimd'),
  );
  t.is(daemons.length, 1);
  process.kill(Number(daemons[0]), 'SIGKILL');
  const status = await curl.exit();
  t.true([18, 56].includes(status), `curl ended with ${status}: ${curl.stderr}`);
  await lab.eventually('the child left with its parent', async () => (await inside(t.context)).length === 0);
  // Without a router the shim fails closed, although the host could reach this address.
  const library = join(import.meta.dirname, '..', '..', 'shim', 'libmlshim.so');
  const { status: closed } = await lab.run(
    router.ns,
    'curl',
    ['-sS', '--connect-timeout', '2', 'http://192.0.2.2:22/'],
    {
      unprivileged: true,
      env: { LD_PRELOAD: library, MLSHIM_SOCKET: join(router.dir, 'mlshim', 'shim') },
    },
  );
  t.is(closed, 7);
});
