/**
 * A DN42 node as its operator runs it: the whole daemon as ordinary user, five lines per peer under the policy dn42, BIRD 2
 * behind a real WireGuard tunnel announcing valid, invalid, unknown and foreign networks, and a file of ROAs that changes.
 */
import { chownSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BgpPeerStatus, BgpRouteStatus, RpkiStatus, Status } from '../../router/control/messages.ts';
import { dn42Json, type RegistryRoa } from '../bgp/kit/roas.ts';
import { labTests } from '../kit/it.ts';
import { Lab, NOBODY } from '../kit/lab.ts';
import { PEER_B, Peer } from '../kit/peer.ts';
import { ROUTER, Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  peer: Peer;
  router: Router;
}

const missing = Lab.missing('bird', 'birdc', 'wg', 'ping', 'stayrtr', 'bgpdump');
const { test, it } = labTests<Context>(missing);

/** fe80:: and the last four digits of the AS numbers; the port from those of the peer. */
const OURS = { linkLocal: 'fe80::229', port: 20053 } as const;
const THEIR_LINK_LOCAL = 'fe80::53';
const NAME = `AS${PEER_B.asn}`;

/** Of our network the peer has this, by a route object of its own. */
const PART = '172.20.229.120/29';

const ROAS: readonly RegistryRoa[] = [
  { prefix: '172.20.53.0/24', maxLength: 24, asn: PEER_B.asn },
  { prefix: 'fd42:53::/48', maxLength: 48, asn: PEER_B.asn },
  { prefix: '172.20.54.0/24', maxLength: 24, asn: 4242429999 },
  { prefix: '172.20.56.0/24', maxLength: 24, asn: 4242420056 },
  { prefix: '172.20.229.112/28', maxLength: 28, asn: ROUTER.asn },
  { prefix: PART, maxLength: 29, asn: PEER_B.asn },
];

const PROOF_55: RegistryRoa = { prefix: '172.20.55.0/24', maxLength: 24, asn: PEER_B.asn };

const BIRD = (peer: Peer): string => `log stderr all;
router id ${PEER_B.v4};
protocol device { scan time 1; }
protocol kernel { ipv4 { import none; export filter { krt_prefsrc = ${PEER_B.v4}; if source = RTS_BGP then accept; reject; }; }; }
protocol kernel { ipv6 { import none; export filter { krt_prefsrc = ${PEER_B.v6}; if source = RTS_BGP then accept; reject; }; }; }
protocol static s4 { ipv4;
  route ${PEER_B.announce4} unreachable { bgp_community.add((64511, 5)); bgp_community.add((64511, 25)); bgp_community.add((64511, 31)); };
  route 172.20.54.0/24 unreachable;
  route 172.20.55.0/24 unreachable;
  route 172.20.56.0/24 unreachable { bgp_path.prepend(4242420056); };
  route 192.168.7.0/24 unreachable;
  route ${ROUTER.networks[0]} unreachable;
  route ${PART} unreachable; }
protocol static s6 { ipv6; route ${PEER_B.announce6} unreachable; }
protocol bgp upstream {
  local ${THEIR_LINK_LOCAL} as ${PEER_B.asn};
  neighbor ${OURS.linkLocal}%${peer.device} as ${ROUTER.asn};
  direct; connect delay time 1; connect retry time 2; error wait time 1, 4; hold time 9;
  ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };
  ipv6 { import all; export where source = RTS_STATIC; };
}
`;

function serve(router: Router, roas: readonly RegistryRoa[]): void {
  const path = join(router.dir, 'roas.json');
  writeFileSync(`${path}.new`, dn42Json(roas));
  chownSync(`${path}.new`, NOBODY, NOBODY);
  renameSync(`${path}.new`, path);
}

/** Replace what a StayRTR of the peer's serves. */
function publish(peer: Peer, cache: string, roas: readonly RegistryRoa[]): void {
  const path = join(peer.dir, `${cache}.json`);
  writeFileSync(`${path}.new`, dn42Json(roas));
  renameSync(`${path}.new`, path);
}

/** A StayRTR beside BIRD; looks at its file every second. */
function startCache(peer: Peer, name: string, bind: string, metrics: string): void {
  publish(peer, name, []);
  const where = ['-bind', bind, '-metrics.addr', metrics, '-cache', join(peer.dir, `${name}.json`)];
  peer.lab.start(peer.ns, 'stayrtr', [...where, '-checktime=false', '-refresh', '1', '-loglevel', 'error']);
}

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const a = await lab.namespace('a');
    const b = await lab.namespace('b');
    await lab.veth('eth0', a, '192.0.2.1/24', b, '192.0.2.2/24');
    const peer = new Peer(lab, b, PEER_B, THEIR_LINK_LOCAL);
    const router = new Router(lab, a);
    const remote = { publicKey: router.key('dn42').publicKey, asn: ROUTER.asn, linkLocal: OURS.linkLocal };
    await peer.tunnel({ ...remote, endpoint: `192.0.2.1:${OURS.port}` }, 51820);
    writeFileSync(join(peer.dir, 'bird.conf'), BIRD(peer));
    lab.start(b, 'bird', ['-f', '-c', join(peer.dir, 'bird.conf'), '-s', peer.birdSocket, '-P', `${peer.dir}/pid`]);
    const keyFile = join(router.dir, 'dn42.key');
    writeFileSync(keyFile, `${router.key('dn42').privateKey}\n`, { mode: 0o600 });
    chownSync(keyFile, NOBODY, NOBODY);
    serve(router, ROAS);
    startCache(peer, 'near', `[${THEIR_LINK_LOCAL}%${peer.device}]:8282`, '127.0.0.1:9847');
    startCache(peer, 'far', `[${PEER_B.v6}]:8282`, '127.0.0.1:9848');
    router.write(`source: { ipv4: ${ROUTER.v4}, ipv6: '${ROUTER.v6}' }
bgp:
  asn: ${ROUTER.asn}
  router_id: ${ROUTER.v4}
  networks: [${ROUTER.networks.map((n) => `'${n}'`).join(', ')}]
  policy: dn42
  hold_time: 9s
  rpki:
    files: [roas.json]
    servers:
      - { host: '${THEIR_LINK_LOCAL}', via: ${NAME}, retry: 2s }
      - { host: '${PEER_B.v6}', routed: true, retry: 2s }
  dn42: { private_key: !file dn42.key, region: europe, country: 276, bandwidth: 100M }
  peers:
    - asn: ${PEER_B.asn}
      wireguard:
        public_key: ${peer.keys.publicKey}
        endpoint: 192.0.2.2:51820
`);
    await router.up();
    t.context.peer = peer;
    t.context.router = router;
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function routes(router: Router, table: 'in' | 'best'): Promise<BgpRouteStatus[]> {
  return (await router.json<{ routes: BgpRouteStatus[] }>('bgp', 'routes', table)).routes;
}

/** Networks of others that are used. */
async function used(router: Router): Promise<string[]> {
  return (await routes(router, 'best'))
    .filter((r) => r.peer !== 'local')
    .map((r) => r.prefix)
    .sort();
}

const session = async (router: Router): Promise<BgpPeerStatus> =>
  (await router.json<{ peers: BgpPeerStatus[] }>('bgp', 'show')).peers[0]!;

it('five lines make a tunnel and a session, and only networks with a proven origin are used', async (t) => {
  const { lab, router } = t.context;
  await lab.eventually('valid networks are used', async () => (await used(router)).length === 3);
  t.deepEqual(await used(router), ['172.20.53.0/24', '172.20.56.0/24', 'fd42:53::/48']);
  const told = new Map((await routes(router, 'in')).map((r) => [r.prefix, r]));
  t.is(told.get('172.20.53.0/24')?.roa, 'valid');
  t.is(told.get('172.20.54.0/24')?.roa, 'invalid');
  t.is(told.get('172.20.55.0/24')?.roa, 'unknown');
  t.is(told.get('192.168.7.0/24')?.refused, 'refused by import policy');
  t.is(told.get(ROUTER.networks[0])?.refused, 'inside a prefix of our own');
  t.is((await session(router)).name, NAME);
  t.is((await session(router)).uplink, NAME);
  // The cache that is reached by routes is not reached before there are any.
  await lab.eventually('no problem is left', async () => (await router.json<Status>('status')).problems.length === 0);
});

it('bgpdump reads the received routes that bgp dump writes', async (t) => {
  const { lab, router } = t.context;
  const path = join(router.dir, 'table.mrt');
  const { status, stderr } = await router.cli(['bgp', 'dump', path]);
  t.is(status, 0, stderr);
  const begun = Math.floor(Date.now() / 1000 - (await session(router)).since_s!);
  const { stdout } = await lab.run(router.ns, 'bgpdump', ['-m', path]);
  const fields = stdout.trimEnd().split('\n');
  const received = (await routes(router, 'in')).filter((r) => r.peer !== 'local').map((r) => r.prefix);
  t.deepEqual(fields.map((l) => l.split('|')[5]).sort(), received.sort());
  t.true(fields.every((l) => l.split('|')[4] === String(PEER_B.asn)));
  const long = await lab.run(router.ns, 'bgpdump', [path], { env: { TZ: 'UTC' } });
  const heardAt = [...long.stdout.matchAll(/^ORIGINATED: (.*)$/gm)].map((m) => Date.parse(`${m[1]} UTC`) / 1000);
  t.is(heardAt.length, received.length);
  t.true(
    heardAt.every((at) => at >= begun - 1 && at <= begun + 3),
    `the times of routes, ${heardAt}, are those of the session's beginning, ${begun}`,
  );
});

it('latency is measured through the tunnel, and the worst link of the path is told both ways', async (t) => {
  const { lab, router, peer } = t.context;
  await lab.eventually('the latency is known', async () => (await session(router)).latency_class !== undefined);
  const { latency_class: latency, latency_ms: ms } = await session(router);
  t.true(latency === 1 || latency === 2 || latency === 3, `${ms} ms in one namespace pair`);
  const labels = async (): Promise<readonly string[]> =>
    (await routes(router, 'best')).find((r) => r.prefix === '172.20.53.0/24')!.communities;
  t.deepEqual([...(await labels())].sort(), ['64511:24', '64511:31', '64511:5']);
  const near = (await routes(router, 'best')).find((r) => r.prefix === 'fd42:53::/48')!;
  t.deepEqual([...near.communities].sort(), ['64511:24', '64511:34', `64511:${latency}`].sort());
  t.is(near.local_pref, 600, 'a path of one AS');
  t.is((await routes(router, 'best')).find((r) => r.prefix === '172.20.56.0/24')!.local_pref, 100);

  const ours = ROUTER.networks[0];
  const expected = new RegExp(`BGP\\.community: .*\\(64511,${latency}\\)`);
  await lab.eventually('BIRD hears it', async () =>
    expected.test(await peer.birdc('show', 'route', 'for', ours, 'all')),
  );
  const text = await peer.birdc('show', 'route', 'for', ours, 'all');
  for (const x of [24, 34, 41, 1276]) t.true(text.includes(`(64511,${x})`), `${x} in ${text}`);
  t.regex(text, new RegExp(`BGP\\.med: ${(29 - 24) * 100 + (latency! - 1) * 300}\\b`));
});

it('what we send carries the address of the node, which is reached through the tunnel', async (t) => {
  const { lab, router, peer } = t.context;
  await router.routeTo(PEER_B.v4);
  t.regex(
    (await router.cli(['route', 'get', PEER_B.v4])).stdout,
    new RegExp(`uplink ${NAME} src ${ROUTER.v4} mtu 1420`),
  );
  await lab.eventually('an answer', async () => {
    return (await lab.run(peer.ns, 'ping', ['-c1', '-W1', '-I', PEER_B.v6, ROUTER.v6])).status === 0;
  });
});

it('a cache of the peer is asked through the tunnel, and its ROAs join those of the file', async (t) => {
  const { lab, router, peer } = t.context;
  const rpki = async (): Promise<RpkiStatus> => router.json<RpkiStatus>('bgp', 'rpki');
  await lab.eventually('it is asked', async () => (await rpki()).servers[0]!.state === 'synchronized');
  t.is((await rpki()).servers[0]!.uplink, NAME);
  publish(peer, 'near', [PROOF_55]);
  await lab.eventually('its ROA counts', async () => (await used(router)).includes('172.20.55.0/24'));
  t.is((await used(router)).length, 4);
  publish(peer, 'near', []);
  await lab.eventually('and no more', async () => !(await used(router)).includes('172.20.55.0/24'));
});

it('a cache beyond the peer is reached by the routes it judges, from the address of the node', async (t) => {
  const { lab, router, peer } = t.context;
  const far = async () => (await router.json<RpkiStatus>('bgp', 'rpki')).servers[1]!;
  await lab.eventually('it is asked', async () => (await far()).state === 'synchronized');
  t.is((await far()).uplink, '');
  t.is((await far()).version, 1);
  const sockets = await lab.ok(peer.ns, 'ss', ['-Htn', 'state', 'established', 'sport', '=', ':8282']);
  t.true(sockets.includes(`[${ROUTER.v6}]:`), sockets);
  publish(peer, 'far', [PROOF_55]);
  await lab.eventually('its ROA counts', async () => (await used(router)).includes('172.20.55.0/24'));
  t.is((await far()).vrps, 1);
  publish(peer, 'far', []);
  await lab.eventually('and no more', async () => !(await used(router)).includes('172.20.55.0/24'));
  // The way to the cache goes with the session, and its ROAs stay until they are too old.
  const { serial, session_id } = await far();
  await router.cli(['bgp', 'peer', NAME, 'down']);
  await lab.eventually('no route is left', async () => (await used(router)).length === 0);
  await router.cli(['bgp', 'peer', NAME, 'up']);
  publish(peer, 'far', [PROOF_55]);
  await lab.eventually('it is heard again', async () => (await used(router)).includes('172.20.55.0/24'));
  t.is((await far()).session_id, session_id);
  t.true((await far()).serial! > serial!, 'and asked for what changed');
  publish(peer, 'far', []);
  await lab.eventually('as before', async () => !(await used(router)).includes('172.20.55.0/24'));
});

it('a changed file of ROAs moves routes and leaves the session alone', async (t) => {
  const { lab, router } = t.context;
  const since = (await session(router)).since_s!;
  serve(router, [
    ROAS[1]!,
    { prefix: '172.20.53.0/24', maxLength: 24, asn: 0 },
    { prefix: '172.20.54.0/23', maxLength: 24, asn: PEER_B.asn },
  ]);
  await lab.eventually(
    'routes follow',
    async () => (await used(router)).join() === '172.20.54.0/24,172.20.55.0/24,fd42:53::/48',
  );
  t.true((await session(router)).since_s! >= since);

  writeFileSync(join(router.dir, 'roas.json'), '{"roas":[{"prefix":"172.20.54.0/24"');
  await lab.eventually('it is reported', async () => {
    return (await router.json<Status>('status')).problems.some((p) => p.code === 'R102');
  });
  t.is((await used(router)).length, 3, 'a broken file changes nothing');
  const rpki = await router.json<RpkiStatus>('bgp', 'rpki');
  t.regex(rpki.files[0]!.last_error, /cut short/);
  t.true(rpki.files[0]!.failures > 0);

  serve(router, ROAS);
  await router.cli(['bgp', 'rpki', 'refresh']);
  await lab.eventually('it is good again', async () => (await used(router)).includes('172.20.53.0/24'));
  await lab.eventually('no problem is left', async () => (await router.json<Status>('status')).problems.length === 0);
});

it('another source of ROAs and another region are taken in while the session goes on', async (t) => {
  const { lab, router, peer } = t.context;
  const before = await session(router);
  const file = readFileSync(router.config, 'utf8');
  const more = join(router.dir, 'more.conf');
  writeFileSync(more, `route 172.20.55.0/24 max 24 as ${PEER_B.asn};\n`);
  chownSync(more, NOBODY, NOBODY);
  router.write(
    file.replace('files: [roas.json]', 'files: [roas.json, more.conf]').replace('region: europe', 'region: pacific'),
  );
  const reloaded = await router.cli(['reload']);
  t.is(reloaded.status, 0, reloaded.stderr);
  await lab.eventually('its ROA counts', async () => (await used(router)).includes('172.20.55.0/24'));
  const heard = async (): Promise<string> => peer.birdc('show', 'route', 'for', ROUTER.networks[0], 'all');
  await lab.eventually('BIRD hears of the region', async () => (await heard()).includes('(64511,53)'));
  t.true((await heard()).includes(`(64511,${before.latency_class})`), 'the measured latency is kept');
  t.is((await router.json<RpkiStatus>('bgp', 'rpki')).files.length, 2);
  const { stdout } = await router.cli(['bgp', 'explain', '172.20.55.0/24']);
  t.regex(stdout, /ROA valid,\s+\d+s old: best\n {2}ROA 172\.20\.55\.0\/24 max 24 AS4242420053\n/);

  router.write(file);
  t.is((await router.cli(['reload'])).status, 0);
  await lab.eventually('its ROAs leave with it', async () => !(await used(router)).includes('172.20.55.0/24'));
  t.true((await session(router)).since_s! >= before.since_s!);
});

it('a part of our network is taken from the peer it is delegated to, and goes to it', async (t) => {
  const { lab, router } = t.context;
  const { since_s } = await session(router);
  const told = async (): Promise<BgpRouteStatus | undefined> =>
    (await routes(router, 'in')).find((r) => r.prefix === PART);
  t.is((await told())?.refused, 'inside a prefix of our own');
  const file = readFileSync(router.config, 'utf8');
  router.write(file.replace(/( +)- asn: .*\n/, `$&$1  delegated: [${PART}]\n`));
  const reloaded = await router.cli(['reload']);
  t.is(reloaded.status, 0, reloaded.stderr);
  await lab.eventually('it is used', async () => (await used(router)).includes(PART));
  t.is(
    (await routes(router, 'in')).find((r) => r.prefix === ROUTER.networks[0] && r.peer !== 'local')?.refused,
    'inside a prefix of our own',
  );
  const { stdout } = await router.cli(['route', 'get', '172.20.229.121']);
  t.regex(stdout, new RegExp(`uplink ${NAME} src ${ROUTER.v4}`));
  t.true((await session(router)).since_s! >= since_s!, 'the session goes on');
  router.write(file);
  t.is((await router.cli(['reload'])).status, 0);
  await lab.eventually('it is refused again', async () => !(await used(router)).includes(PART));
});
