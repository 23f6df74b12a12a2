/**
 * A BGP session that is watched, signed and kept to neighbours, against BIRD 2 over WireGuard: BFD (RFC 5880, 5881) finds a
 * path that breaks without a word, TCP MD5 (RFC 2385) and TTL security (RFC 5082) are those of BIRD and its kernel.
 */
import { readFileSync } from 'node:fs';
import type { BfdSessions, BgpPeers, Status } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import type { Peer } from '../kit/peer.ts';
import type { Router } from '../kit/router.ts';
import { onePeer } from '../kit/two-peers.ts';

interface Context {
  lab: Lab;
  b: Peer;
  startBird: () => Promise<void>;
  router: Router;
}

const missing = Lab.missing('bird', 'birdc', 'wg', 'tcpdump', 'iptables');
const { test, it } = labTests<Context>(missing);

const PASSWORD = 'correct horse';
const INTERVAL_MS = 100;
const MULTIPLIER = 4;
/** BFD 3784, and the wake-up, judgement and Cease of a busy machine. */
const SLACK_MS = 600;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const { router, peer: b, remote, tunnel } = await onePeer(lab);
    const startBird = async (): Promise<void> =>
      b.startBird(remote, {
        protocols: `protocol bfd { accept ipv6 direct; interface "*" { interval ${INTERVAL_MS} ms; multiplier ${MULTIPLIER}; }; }`,
        session: `password "${PASSWORD}"; ttl security on; bfd on; passive on; graceful restart on; graceful restart time 60;`,
      });
    await startBird();
    router.configure(
      [tunnel],
      `password: "${PASSWORD}", ttl_security: true, bfd: { interval: ${INTERVAL_MS}ms, multiplier: ${MULTIPLIER} }`,
    );
    await router.up();
    t.context.b = b;
    t.context.startBird = startBird;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

const sessions = async (router: Router): Promise<BfdSessions> => router.json<BfdSessions>('bfd');
const peer = async (router: Router): Promise<BgpPeers['peers'][number]> =>
  (await router.json<BgpPeers>('bgp', 'show')).peers[0]!;

async function established({ lab, router }: Context): Promise<void> {
  await lab.eventually('the session is established', async () => (await peer(router)).state === 'Established');
  await lab.eventually('BFD is up', async () => (await sessions(router)).sessions[0]?.state === 'Up');
}

it('a session with password and TTL security is established, and BFD comes up beside it with the agreed intervals', async (t) => {
  const { b, router } = t.context;
  await established(t.context);
  const { sessions: all, drops } = await sessions(router);
  t.like(all, {
    length: 1,
    0: {
      peers: ['b'],
      address: 'fe80::2',
      uplink: 'b',
      local_address: 'fe80::1',
      multihop: false,
      state: 'Up',
      remote_state: 'Up',
      tx_ms: INTERVAL_MS,
      rx_ms: INTERVAL_MS,
      detection_ms: INTERVAL_MS * MULTIPLIER,
      remote_multiplier: MULTIPLIER,
      flaps: 0,
    },
  });
  t.deepEqual(drops, {});
  t.is((await peer(router)).bfd, 'Up');
  t.regex(await b.birdc('show', 'bfd', 'sessions'), /fe80::1\s+\S+\s+Up\s+\S+\s+0\.100\s+0\.400/);
  t.regex((await router.cli(['bfd'])).stdout, /b +fe80::2%b +single hop +Up/);
});

it('every segment in both directions carries a signature that tcpdump finds valid, and TTL 255', async (t) => {
  const { lab, b, router } = t.context;
  await established(t.context);
  const dump = lab.start(b.ns, 'tcpdump', [
    '-n',
    '-l',
    '-v',
    '-c',
    '12',
    '-M',
    PASSWORD,
    '-i',
    b.device,
    'tcp port 179',
  ]);
  await dump.until(/listening on/);
  await router.cli(['bgp', 'peer', 'b', 'refresh']);
  t.is(await dump.exit(), 0);
  const packets = dump.stdout.split('\n').filter((l) => /^\d\d:/.test(l));
  t.is(packets.length, 12, dump.stdout);
  for (const p of packets) t.regex(p, /md5 valid/);
  t.regex(dump.stdout, /fe80::1\.\d+ > fe80::2\.179/);
  const headers = dump.stdout.split('\n').filter((l) => l.includes('hlim'));
  for (const h of headers) t.regex(h, /hlim 255/);
});

it('a path that breaks without a word ends the session within the detection time, and it comes back', async (t) => {
  const { lab, b, router } = t.context;
  await established(t.context);
  const flaps = (await sessions(router)).sessions[0]!.flaps;
  const before = performance.now();
  for (const chain of ['INPUT', 'OUTPUT'])
    await lab.ok(
      b.ns,
      'iptables',
      ['-I', chain, '-p', 'udp', '-i', 'toB', '-j', 'DROP'].map((w) => (w === '-i' && chain === 'OUTPUT' ? '-o' : w)),
    );
  const cut = performance.now();
  const daemon = router.daemon!;
  await daemon.until(/bfd down.*peer=b/, 5_000);
  await daemon.until(/peer down.*peer=b/, 5_000);
  const tookMs = performance.now() - cut;
  const most = INTERVAL_MS * MULTIPLIER + SLACK_MS;
  t.true(tookMs <= most, `${tookMs} ms after the cut (which took ${cut - before} ms), at most ${most}`);
  // BIRD has noticed as well, long before any hold time.
  await lab.eventually('BIRD noticed', async () =>
    /Down|Idle|Active|Connect|Start/.test(await b.birdc('show', 'protocols', 'upstream')),
  );
  t.regex((await peer(router)).last_error, /BFD/i);
  await lab.ok(b.ns, 'iptables', ['-F']);
  await established(t.context);
  t.is((await sessions(router)).sessions[0]!.flaps, flaps + 1);
});

it('the routes of a BIRD that dies stay in use although its BFD falls silent with it, until it is back (RFC 5882 §4.3)', async (t) => {
  const { lab, b, router, startBird } = t.context;
  await established(t.context);
  const accepted = async () => (await peer(router)).accepted;
  await lab.eventually('its routes', async () => (await accepted()) === 2);
  await b.bird!.stop('SIGKILL');
  await lab.eventually('BFD is down', async () => (await sessions(router)).sessions[0]?.state === 'Down');
  const { state, ...kept } = await peer(router);
  t.not(state, 'Established');
  t.like(kept, { accepted: 2, stale: 2 });
  await startBird();
  await established(t.context);
  await lab.eventually('its table', async () => (await accepted()) === 2 && (await peer(router)).stale === 0);
});

it('BFD that only one side authenticates is down and counted; a reload gives the other side the secret', async (t) => {
  const { lab, b, router } = t.context;
  await established(t.context);
  const secret = 'battery staple';
  const plain = readFileSync(router.config, 'utf8');
  const words = `multiplier ${MULTIPLIER};`;
  const edit = async (from: string, to: string): Promise<void> => {
    await lab.ok(b.ns, 'sed', ['-i', `s/${from}/${to}/`, `${b.dir}/bird.conf`]);
    await b.birdc('configure');
  };
  const signed = `${words} authentication meticulous keyed sha1; password "${secret}" { id 9; };`;
  await edit(words, signed);
  await lab.eventually('its packets are counted, and BFD is down', async () => {
    const { sessions: all, drops } = await sessions(router);
    return (drops['authentication'] ?? 0) > 5 && all[0]!.state !== 'Up';
  });
  const auth = `multiplier: ${MULTIPLIER}, auth: meticulous-keyed-sha1, key_id: 9, password: "${secret}"`;
  router.write(plain.replace(`multiplier: ${MULTIPLIER}`, auth));
  t.is((await router.cli(['reload'])).status, 0);
  await established(t.context);
  t.is((await sessions(router)).sessions[0]!.auth, 'meticulous-keyed-sha1');
  router.write(plain);
  t.is((await router.cli(['reload'])).status, 0);
  await edit(signed, words);
  await established(t.context);
  t.is((await sessions(router)).sessions[0]!.auth, '');
});

it('without the password, or from farther away, nothing comes to life and the drops have names', async (t) => {
  const { lab, b, router } = t.context;
  const conf = `${b.dir}/bird.conf`;
  const edit = async (from: string, to: string): Promise<void> => {
    await lab.ok(b.ns, 'sed', ['-i', `s/${from}/${to}/`, conf]);
    await b.birdc('configure');
  };
  await edit(PASSWORD, 'another horse');
  await edit('passive on;', 'passive off;');
  await lab.eventually('segments with a wrong key are counted', async () => {
    const { counters } = await router.json<Status>('status');
    return (counters['tcp_signatureWrong'] ?? 0) > 0;
  });
  t.not((await peer(router)).state, 'Established');
  await edit('another horse', PASSWORD);
  await established(t.context);
});
