/**
 * Two unprivileged mlshim routers with a VRF each, joined by one VPN session in the default VRF and a tunnel in the VRF:
 * customers of foreign parts behind them reach each other, and a third one with the same addresses in another VRF is
 * neither seen nor reached.
 */
import { readFileSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import type { Answers, Reloaded, Status } from '../../router/control/messages.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, PEER_C, Peer } from '../kit/peer.ts';
import { missedPings } from '../kit/pings.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  b: Peer;
  c: Peer;
  /** Has the addresses of c, in another VRF. */
  twin: Peer;
  x: Router;
  y: Router;
}

const PRELOAD = new URL('../kit/kill-worker.js', import.meta.url).href;
const missing = Lab.missing('bird', 'birdc', 'wg', 'ping');
const { test, it } = labTests<Context>(missing);

const X = { asn: 4242420001, id: '10.0.0.1' };
const Y = { asn: 4242420002, id: '10.0.0.2' };
const CORE = 51821;
const RED = 51822;

/** One uplink in YAML. */
function uplink(name: string, vrf: string, addresses: string, peer: string, port = 0): string {
  return `  ${name}:
${vrf === '' ? '' : `    vrf: ${vrf}\n`}    wireguard:
      private_key: !file ${name}.key
      listen_port: ${port}
      addresses: [${addresses}]
      table: off
      peers: [${peer}]
`;
}

const towards = (key: string, endpoint: string): string =>
  `{ public_key: ${key}, endpoint: '${endpoint}', allowed_ips: [0.0.0.0/0, '::/0'], persistent_keepalive: 25s }`;

if (missing === undefined) {
  test.before('lab', async (t) => {
    const lab = new Lab();
    t.context.lab = lab;
    const [nsX, nsY, nsB, nsC, nsD] = await Promise.all(['x', 'y', 'b', 'c', 'd'].map((n) => lab.namespace(n)));
    await lab.veth('xy', nsX!, '192.0.2.1/24', nsY!, '192.0.2.2/24');
    await lab.veth('xb', nsX!, '198.51.100.1/30', nsB!, '198.51.100.2/30');
    await lab.veth('xd', nsX!, '198.51.100.5/30', nsD!, '198.51.100.6/30');
    await lab.veth('yc', nsY!, '203.0.113.1/24', nsC!, '203.0.113.2/24');
    const x = new Router(lab, nsX!);
    const y = new Router(lab, nsY!);
    const b = new Peer(lab, nsB!, PEER_B);
    const c = new Peer(lab, nsC!, PEER_C);
    const twin = new Peer(lab, nsD!, PEER_C);
    Object.assign(t.context, { b, c, twin, x, y });
    for (const [peer, router, name, asn] of [
      [b, x, 'b', X.asn],
      [twin, x, 'twin', X.asn],
      [c, y, 'c', Y.asn],
    ] as const) {
      const remote = { publicKey: router.key(name).publicKey, asn, linkLocal: 'fe80::1' };
      await peer.tunnel(remote, 51820);
      await peer.startBird(remote);
    }
    const session = (peer: Peer, name: string): string =>
      `    - { name: ${name}, asn: ${peer.plan.asn}, via: ${name}, address: 'fe80::2', hold_time: 9s, graceful_restart: true }\n`;
    const vrfs = (n: number): string => `vrfs:
  red: { rd: '${n}:1', import: ['4242420000:100'], export: ['4242420000:100'] }
  blue: { rd: '${n}:2', import: ['4242420000:200'], export: ['4242420000:200'] }
`;
    const core = (asn: number, address: string): string =>
      `    - { name: core, asn: ${asn}, via: core, address: ${address}, families: [ipv4, vpnv4, vpnv6], hold_time: 9s, graceful_restart: true }\n`;
    x.keyFiles('core', 'red', 'b', 'twin');
    y.keyFiles('core', 'red', 'c');
    x.write(`uplinks:
${uplink('core', '', '10.0.0.1/30', towards(y.key('core').publicKey, `192.0.2.2:${CORE}`))}${uplink('red', 'red', "10.1.0.1/30, 'fd00:1::1/64'", towards(y.key('red').publicKey, `192.0.2.2:${RED}`))}${uplink('b', 'red', "'fe80::1/64'", towards(b.keys.publicKey, '198.51.100.2:51820'))}${uplink('twin', 'blue', "'fe80::1/64', 10.9.0.1/32", towards(twin.keys.publicKey, '198.51.100.6:51820'))}${vrfs(64601)}bgp:
  asn: ${X.asn}
  policy: transit
  router_id: ${X.id}
  peers:
${core(Y.asn, '10.0.0.2')}${session(b, 'b')}${session(twin, 'twin')}`);
    y.write(`uplinks:
${uplink('core', '', '10.0.0.2/30', `{ public_key: ${x.key('core').publicKey}, allowed_ips: [0.0.0.0/0, '::/0'] }`, CORE)}${uplink('red', 'red', "10.1.0.2/30, 'fd00:1::2/64'", `{ public_key: ${x.key('red').publicKey}, allowed_ips: [0.0.0.0/0, '::/0'] }`, RED)}${uplink('c', 'red', "'fe80::1/64'", towards(c.keys.publicKey, '203.0.113.2:51820'))}${vrfs(64602)}bgp:
  asn: ${Y.asn}
  policy: transit
  router_id: ${Y.id}
  peers:
${core(X.asn, '10.0.0.1')}${session(c, 'c')}`);
    const env = { NODE_OPTIONS: `--import ${PRELOAD}`, MLSHIM_TEST_WORKER: 'routing-worker.js' };
    await Promise.all([x.up({ env }), y.up()]);
  });
  test.after.always('remove the lab', async (t) => t.context.lab.close());
}

async function birdHas(lab: Lab, peer: Peer, prefix: string): Promise<void> {
  await lab.eventually(`BIRD of AS${peer.plan.asn} has ${prefix}`, async () =>
    (await peer.birdc('show', 'route', 'all')).includes(prefix),
  );
}

it("customers of a VRF learn each other across the VPN session, and the VRF's table has the way", async (t) => {
  const { lab, b, c, x } = t.context;
  await birdHas(lab, b, c.plan.announce4);
  await birdHas(lab, b, c.plan.announce6);
  await birdHas(lab, c, b.plan.announce4);
  await lab.eventually('blue has a route', async () => {
    return (await x.cli(['route', 'get', PEER_C.v4, '--vrf', 'blue'])).status === 0;
  });
  t.regex(await b.birdc('show', 'route', 'all'), new RegExp(`BGP.as_path: ${X.asn} ${Y.asn} ${PEER_C.asn}`));
  const route = await x.json<Answers['route_get']>('route', 'get', PEER_C.v4, '--vrf', 'red');
  t.like(route, {
    kind: 'unicast',
    prefix: PEER_C.announce4,
    next_hops: [{ gateway: '10.1.0.2', uplink: 'red', weight: 1 }],
  });
  const { candidates } = await x.json<Answers['bgp_explain']>('bgp', 'explain', PEER_C.announce4, '--vrf', 'red');
  t.deepEqual(
    candidates.map((k) => k.route.peer),
    ['(vpn)'],
  );
  const { peers } = await x.json<Answers['bgp_show']>('bgp');
  t.deepEqual(peers.map((p) => [p.name, p.state]).sort(), [
    ['b', 'Established'],
    ['core', 'Established'],
    ['twin', 'Established'],
  ]);
});

it('each VPN route to a prefix is explained: imported by which target and how it fares, or why not', async (t) => {
  const { lab, x } = t.context;
  const ask = async (vrf: string, prefix = PEER_C.announce4): Promise<string[]> => {
    const { imports } = await x.json<Answers['bgp_explain']>('bgp', 'explain', prefix, '--vrf', vrf);
    return imports.map((i) => `${i.route.rd} ${i.route.peer} ${i.imported} ${i.why}`).sort();
  };
  const inRed = 'imported by 4242420000:100: best';
  t.deepEqual(await ask('red'), [
    '64601:2 (vrf blue) false not imported: none of its targets is one of red (4242420000:100)',
    `64602:1 core true ${inRed}`,
  ]);
  t.deepEqual(await ask('blue', PEER_C.v4), [
    '64601:2 (vrf blue) false this VRF exports it',
    '64602:1 core false not imported: none of its targets is one of blue (4242420000:200)',
  ]);
  const original = readFileSync(x.config, 'utf8');
  const rules = 'import: [{ name: no c, match: { prefix: 172.20.77.0/24 }, action: reject }, { action: accept }]';
  await load(t, (yaml) => yaml.replace('name: core,', `name: core, ${rules},`));
  const refused = /^64602:1 core false refused by import rule 1 "no c" \(.*mlshim\.yaml:\d+\)$/;
  await lab.eventually('the route is refused', async () => (await ask('red')).some((line) => refused.test(line)));
  t.regex(
    (await x.cli(['bgp', 'explain', PEER_C.announce4, '--vrf', 'red'])).stdout,
    /! 64602:1 from core via 10\.1\.0\.2/,
  );
  await load(t, () => original);
  await lab.eventually('it is imported again', async () => (await ask('red')).includes(`64602:1 core true ${inRed}`));
});

it('what the export policy of the VPN session keeps from its peer is explained by the rule, and what it lets pass too', async (t) => {
  const { lab, x } = t.context;
  const args = ['bgp', 'explain', PEER_B.announce4, '--vrf', 'red', 'to', 'core'];
  const telling = async () => (await x.json<Answers['bgp_explain']>(...args)).telling!;
  t.like(await telling(), {
    told: true,
    vpn: [{ told: true, why: 'passed: export is all', told_as: { next_hop: '10.1.0.1' } }],
  });
  const original = readFileSync(x.config, 'utf8');
  const rules = `export: [{ name: no b, match: { prefix: ${PEER_B.announce4} }, action: reject }, { action: accept }]`;
  await load(t, (yaml) => yaml.replace('name: core,', `name: core, ${rules},`));
  await lab.eventually('the peer is told so', async () => !(await telling()).told);
  const { status, stdout } = await x.cli(args);
  t.is(status, 1);
  t.regex(stdout, new RegExp(`^${PEER_B.announce4} to core: NOT TOLD\n`));
  t.regex(stdout.replace(/\s+/g, ' '), /refused by export rule 1 "no b" \(.*mlshim\.yaml:\d+\)/);
  await load(t, () => original);
  await lab.eventually('it is told again', async () => (await telling()).told);
});

it('packets cross both routers inside the VRF', async (t) => {
  const { lab, b } = t.context;
  for (const [from, to] of [
    [PEER_B.v4, PEER_C.v4],
    [PEER_B.v6, PEER_C.v6],
  ] as const) {
    await lab.eventually(`an answer of ${to}`, async () => {
      return (await lab.run(b.ns, 'ping', ['-c', '1', '-W', '1', '-I', from, to])).status === 0;
    });
    const out = await lab.ok(b.ns, 'ping', ['-c', '5', '-i', '0.02', '-I', from, to]);
    t.regex(out, /5 received/);
    t.regex(out, /ttl=62/, 'two routers in between');
  }
});

it('the same prefix in another VRF goes elsewhere, and the default table has neither', async (t) => {
  const { x } = t.context;
  const blue = await x.json<Answers['route_get']>('route', 'get', PEER_C.v4, '--vrf', 'blue');
  t.like(blue, { next_hops: [{ gateway: 'fe80::2', uplink: 'twin', weight: 1 }] });
  t.is((await x.cli(['route', 'get', PEER_C.v4])).status, 1);
  const unknown = await x.cli(['route', 'get', PEER_C.v4, '--vrf', 'green']);
  t.is(unknown.status, 2);
  t.regex(unknown.stderr, /no VRF "green" \(known: red, blue\)/);
});

it('the other router keeps our VPN routes, and packets cross, while the routing worker starts again', async (t) => {
  const { lab, b, x, y } = t.context;
  const tableOf = async (router: Router): Promise<string[]> => {
    const { routes } = await router.json<Answers['route_show']>('route', 'show', '--vrf', 'red');
    return routes.map((r) => `${r.prefix} ${JSON.stringify(r.next_hops)}`).sort();
  };
  const before = await Promise.all([x, y].map(tableOf));
  t.true(before[1]!.some((r) => r.startsWith(`${PEER_B.announce4} `)));
  const pings = [
    [PEER_B.v4, PEER_C.v4],
    [PEER_B.v6, PEER_C.v6],
  ].map(([from, to]) => lab.start(b.ns, 'ping', ['-i', '0.02', '-W', '2', '-I', from!, to!]));
  for (const p of pings) await p.until(/icmp_seq=10 /);
  process.kill((await x.json<Status>('status')).pid, 'SIGUSR2');
  await x.daemon!.until(/starting another worker/);
  await x.daemon!.until(/packets go by the new routes.*complete=true/, 60_000);
  const stale = async (): Promise<number> => {
    const { peers } = await y.json<Answers['bgp_show']>('bgp', 'peer', 'core');
    return peers[0]!.stale;
  };
  await lab.eventually('the end of the restart', async () => (await stale()) === 0);
  t.deepEqual(await Promise.all([x, y].map(tableOf)), before);
  for (const p of pings) {
    await p.stop('SIGINT');
    t.deepEqual(missedPings(p.stdout), []);
  }
});

const kindOf = async (x: Router, vrf: string): Promise<string> =>
  (await x.json<{ readonly kind: string }>('route', 'get', PEER_C.v4, '--vrf', vrf)).kind;

/** Load what `change` makes of the configuration. @returns the changes and what each takes */
async function load(t: ExecutionContext<Context>, change: (yaml: string) => string): Promise<string[]> {
  const { x } = t.context;
  x.write(change(readFileSync(x.config, 'utf8')));
  const { status, stdout, stderr } = await x.cli(['reload', '--json']);
  t.is(status, 0, stderr);
  return (JSON.parse(stdout) as Reloaded).changes.map((c) => `${c.path} ${c.effect}`);
}

const upSince = async (peer: Peer): Promise<string> =>
  /upstream\s+BGP\s+---\s+(\S+)\s+(\S+)/
    .exec(await peer.birdc('show', 'protocols', 'upstream'))!
    .slice(1)
    .join(' ');

it('peers and networks of VRFs change while the sessions go on', async (t) => {
  const { lab, x, b, twin } = t.context;
  const before = [await upSince(b), await upSince(twin)];
  const changes = await load(t, (yaml) => yaml.replace('red: { rd:', 'red: { networks: [172.20.99.0/24], rd:'));
  t.deepEqual(changes, ['vrfs.red.networks.172.20.99.0/24 live']);
  await birdHas(lab, b, '172.20.99.0/24');
  t.false((await twin.birdc('show', 'route')).includes('172.20.99.0/24'));
  t.deepEqual(await load(t, (yaml) => yaml.replace('name: twin,', 'name: twin, import: none,')), [
    'bgp.peers.twin.import live',
  ]);
  await lab.eventually('blue has lost it', async () => (await kindOf(x, 'blue')) === 'none');
  t.is(await kindOf(x, 'red'), 'unicast');
  await load(t, (yaml) => yaml.replace(' import: none,', '').replace('networks: [172.20.99.0/24], ', ''));
  await lab.eventually('blue has it again', async () => (await kindOf(x, 'blue')) === 'unicast');
  t.deepEqual([await upSince(b), await upSince(twin)], before, 'BIRD saw no new session');
});

it('route targets of a VRF change while the sessions go on', async (t) => {
  const { lab, x, b, twin } = t.context;
  const before = [await upSince(b), await upSince(twin)];
  const core = async (): Promise<number> => {
    const { peers } = await x.json<Answers['bgp_show']>('bgp', 'show');
    return peers.find((p) => p.name === 'core')!.establishments;
  };
  const established = await core();
  const original = readFileSync(x.config, 'utf8');
  const other = "red: { rd: '$1', import: ['4242420000:300'], export: ['4242420000:300'] }";
  const changes = await load(t, (yaml) => yaml.replace(/red: \{ rd: '(\d+:1)'.* \}/, other));
  t.deepEqual(changes.sort(), ['vrfs.red.export live', 'vrfs.red.import live']);
  await lab.eventually('red imports nothing', async () => (await kindOf(x, 'red')) === 'none');
  t.is(await kindOf(x, 'blue'), 'unicast');
  await load(t, () => original);
  await lab.eventually('red has it again', async () => (await kindOf(x, 'red')) === 'unicast');
  t.deepEqual([await upSince(b), await upSince(twin)], before, 'BIRD saw no new session');
  t.is(await core(), established);
});

it('an uplink moves to another VRF with its session, and back', async (t) => {
  const { lab, x, b } = t.context;
  const before = await upSince(b);
  const original = readFileSync(x.config, 'utf8');
  t.deepEqual(await load(t, (yaml) => yaml.replace('vrf: blue', 'vrf: red')), ['uplinks.twin.vrf uplink']);
  await lab.eventually('blue is empty', async () => (await kindOf(x, 'blue')) === 'none');
  await lab.eventually('red has both ways', async () => {
    const { candidates } = await x.json<Answers['bgp_explain']>('bgp', 'explain', PEER_C.announce4, '--vrf', 'red');
    return (
      candidates
        .map((c) => c.route.peer)
        .sort()
        .join() === '(vpn),twin'
    );
  });
  await load(t, () => original);
  await lab.eventually('blue has it again', async () => (await kindOf(x, 'blue')) === 'unicast');
  t.is(await upSince(b), before);
});

/** How often each session of ours has come up. */
async function establishments(x: Router): Promise<string[]> {
  const { peers } = await x.json<Answers['bgp_show']>('bgp', 'show');
  return peers.map((p) => `${p.name} ${p.state} ${p.establishments}`).sort();
}

it('VRFs come and go, and one gets another distinguisher, while all sessions and packets go on', async (t) => {
  const { lab, x, y, b, twin } = t.context;
  const original = readFileSync(x.config, 'utf8');
  const sessions = async (): Promise<string[]> => [await upSince(b), await upSince(twin), ...(await establishments(x))];
  const distinguishers = async (): Promise<string> => {
    const { routes } = await y.json<Answers['bgp_vpn']>('bgp', 'vpn');
    return [...new Set(routes.filter((r) => r.peer === 'core').map((r) => r.rd))].sort().join();
  };
  const before = await sessions();
  const known = await distinguishers();
  t.is(known, '64601:1,64601:2');
  const ping = lab.start(b.ns, 'ping', ['-i', '0.02', '-W', '2', '-I', PEER_B.v4, PEER_C.v4]);
  await ping.until(/icmp_seq=10 /);
  const green = "vrfs:\n  green: { rd: '64601:3', import: ['4242420000:100'] }\n";
  t.deepEqual(await load(t, (yaml) => yaml.replace('vrfs:\n', green)), ['vrfs.green live']);
  const inGreen = async (): Promise<Answers['route_get']> => x.json('route', 'get', PEER_B.v4, '--vrf', 'green');
  await lab.eventually('green has what red exports', async () => (await inGreen()).kind === 'unicast');
  t.is((await inGreen()).prefix, PEER_B.announce4);
  t.deepEqual(await load(t, (yaml) => yaml.replace("rd: '64601:1'", "rd: '64601:11'")), ['vrfs.red.rd live']);
  await lab.eventually('the other router has the new distinguisher in the place of the old one', async () => {
    return (await distinguishers()) === '64601:11,64601:2';
  });
  t.is(await kindOf(x, 'red'), 'unicast');
  t.deepEqual((await load(t, () => original)).sort(), ['vrfs.green live', 'vrfs.red.rd live']);
  await lab.eventually('the other router has the first one again', async () => (await distinguishers()) === known);
  t.is((await x.cli(['route', 'get', PEER_C.v4, '--vrf', 'green'])).status, 2);
  await ping.stop('SIGINT');
  t.deepEqual(missedPings(ping.stdout), []);
  t.deepEqual(await sessions(), before);
});

it('a VRF goes with its uplink and its peer, which hears why, and comes again', async (t) => {
  const { lab, x, b, twin } = t.context;
  const before = await upSince(b);
  const original = readFileSync(x.config, 'utf8');
  const without = (yaml: string): string =>
    yaml
      .replace(/ {2}blue: .*\n/, '')
      .replace(/ {2}twin:\n(?: {4}.*\n)+/, '')
      .replace(/.*name: twin,.*\n/, '');
  t.deepEqual((await load(t, without)).sort(), ['bgp.peers.twin live', 'uplinks.twin live', 'vrfs.blue live']);
  await lab.eventually('BIRD was told goodbye', async () => {
    return (await twin.birdc('show', 'protocols', 'all', 'upstream')).includes('Peer de-configured');
  });
  t.is((await x.cli(['route', 'get', PEER_C.v4, '--vrf', 'blue'])).status, 2);
  await load(t, () => original);
  await lab.eventually('blue has its way again', async () => (await kindOf(x, 'blue')) === 'unicast');
  t.is(await upSince(b), before);
});

it('another port to listen on concerns only who connects from then on', async (t) => {
  const { lab, x, b, twin } = t.context;
  const isUp = async (): Promise<boolean> => (await establishments(x)).some((line) => line.startsWith('b Established'));
  const original = readFileSync(x.config, 'utf8');
  // BIRD alone opens the session, to port 179.
  await load(t, (yaml) => yaml.replace('name: b,', 'name: b, passive: true,'));
  await lab.eventually('BIRD has connected', isUp);
  const before = [await upSince(b), await upSince(twin)];
  t.deepEqual(await load(t, (yaml) => yaml.replace('bgp:\n', 'bgp:\n  listen_port: 1179\n')), ['bgp.listen_port live']);
  t.deepEqual([await upSince(b), await upSince(twin)], before);
  await b.birdc('restart', 'upstream');
  await lab.eventually('BIRD is refused', async () => {
    return (await b.birdc('show', 'protocols', 'all', 'upstream')).includes('Connection refused');
  });
  t.deepEqual(await load(t, (yaml) => yaml.replace('  listen_port: 1179\n', '')), ['bgp.listen_port live']);
  await b.birdc('restart', 'upstream');
  await lab.eventually('BIRD has connected again', isUp);
  t.is(await upSince(twin), before[1]);
  await load(t, () => original);
});
