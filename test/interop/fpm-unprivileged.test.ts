/**
 * FRR as an ordinary user without a single capability, under the shim: zebra sees our uplinks, believes that it fills the
 * kernel's tables, tells us its FIB, and a whole ECMP group of it carries the packets of an app over two tunnels. Debian's
 * FRR insists on the account it was built for, so everything here, the router too, runs as `frr`.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FpmStatus, RouteAnswer, RouteStatus, Status } from '../../router/control/messages.ts';
import { Frr, frrAccount, frrMissing } from '../kit/frr.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { PEER_B, PEER_C, Peer } from '../kit/peer.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  router: Router;
  frr: Frr;
  /** FRR of the peer behind the left tunnel. */
  far: Frr;
  /** A copy without file capabilities: they make exec fail for who may have none. */
  ping: string;
}

const missing = frrMissing() ?? Lab.missing('vtysh', 'wg', 'ping', 'bird', 'birdc');
const { test, it } = labTests<Context>(missing);

const OURS = '172.20.229.117';
const TARGETS = '172.22.0.0/16';
/** Tunnels, with our address on each and the peer's. */
const TUNNELS = [
  { name: 'left', plan: PEER_B, ours: '10.50.0.1', theirs: '10.50.0.3', host: '192.0.2' },
  { name: 'right', plan: PEER_C, ours: '10.51.0.1', theirs: '10.51.0.4', host: '198.51.100' },
] as const;

const STATIC = `${TUNNELS.map((u) => `ip route ${TARGETS} ${u.theirs}`).join('\n')}
ip route 172.23.0.0/16 blackhole
ipv6 route fd42:22::/32 fe80::2 right`;

/** BIRD feeds us by BGP over loopback; port 179 of our stack is for the daemons under the shim. */
const BGP = `bgp:
  asn: 4242420229
  router_id: ${OURS}
  listen_port: 1179
  host_listen: 127.0.0.1:1790
  peers: [{ name: bird, asn: 4242420229, address: 127.0.0.3, host: true, passive: true }]
`;

if (missing === undefined) {
  test.before(async (t) => {
    const lab = new Lab();
    const ns = await lab.namespace('a');
    const router = new Router(lab, ns, frrAccount());
    const uplinks: string[] = [];
    const namespaces: string[] = [];
    for (const { name, plan, ours, theirs, host } of TUNNELS) {
      const far = await lab.namespace(name);
      namespaces.push(far);
      await lab.veth(`k-${name}`, ns, `${host}.1/24`, far, `${host}.2/24`);
      const peer = new Peer(lab, far, plan);
      const keys = router.key(name);
      await peer.tunnel({ publicKey: keys.publicKey, asn: 0, linkLocal: 'fe80::1' }, 51820);
      await peer.ip('addr', 'add', `${theirs}/24`, 'dev', peer.device);
      await peer.ip('route', 'add', `${OURS}/32`, 'dev', peer.device);
      await peer.ip('route', 'add', 'local', TARGETS, 'dev', 'lo');
      uplinks.push(`  ${name}:
    wireguard:
      private_key: '${keys.privateKey}'
      addresses: [${ours}/24, 'fe80::1/64']
      table: off
      peers: [{ public_key: ${peer.keys.publicKey}, endpoint: '${host}.2:51820', allowed_ips: [0.0.0.0/0, '::/0'] }]
`);
    }
    router.write(`uplinks:\n${uplinks.join('')}source: { ipv4: ${OURS} }\nfpm: {}\n${BGP}`);
    await router.up();
    const frr = new Frr(lab, ns, (command, args) => {
      const isPlain = command.endsWith('/staticd');
      return router.cliStart(['run', ...(isPlain ? [] : ['--routing-daemon']), '--', command, ...args]);
    });
    const ping = join(lab.dir, 'ping');
    await lab.host('sh', ['-c', `cp "$(command -v ping)" ${ping}`]);
    t.context = { lab, router, frr, far: new Frr(lab, namespaces[0]!), ping };
  });
  test.after.always(async (t) => {
    await t.context.lab?.close();
  });
}

async function fpm({ router }: Context): Promise<FpmStatus> {
  return (await router.json<Status>('status')).fpm!;
}

async function group({ router }: Context): Promise<string[]> {
  const { routes } = await router.json<{ routes: RouteStatus[] }>('route', 'show', '--proto', 'external');
  return (routes.find((r) => r.prefix === TARGETS)?.next_hops ?? []).map((h) => `${h.gateway}%${h.uplink}`).sort();
}

const BOTH = TUNNELS.map((u) => `${u.theirs}%${u.name}`);
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

it('zebra starts without a capability, and a whole group of it reaches our FIB', async (t) => {
  const { lab, frr, router } = t.context;
  const zebra = await frr.start('zebra', 'fpm address 127.0.0.1 port 2620', '-M', 'dplane_fpm_nl');
  await frr.start('staticd', STATIC);
  await lab.eventually('the group', async () => same(await group(t.context), BOTH));
  const table = await frr.vtysh('show ip route');
  t.notRegex(table, /^.{3,4}r /m, 'nothing is shown as rejected');
  t.regex(table, /S>\* 172\.22\.0\.0\/16/);
  t.like(await fpm(t.context), { state: 'connected', routes: 3, unresolved: 0, malformed: 0 });
  const { routes } = await router.json<{ routes: RouteStatus[] }>('route', 'show', '--proto', 'external');
  t.deepEqual(routes.find((r) => r.prefix === 'fd42:22::/32')?.next_hops, [
    { gateway: 'fe80::2', uplink: 'right', weight: 1 },
  ]);
  t.like(await router.json<{ kind: string }>('route', 'get', '172.23.0.1'), { kind: 'blackhole' });
  // It sees our uplinks where the kernel has other interfaces, and the kernel's table is as it was.
  t.regex(table, /C>\* 10\.50\.0\.0\/24 is directly connected, left/);
  t.notRegex(table, /192\.0\.2\./);
  t.notRegex(await lab.host('ip', ['-n', frr.ns, 'route']), /172\.2[23]/);
  t.notRegex(zebra.stdout + zebra.stderr, /privs_init|Operation not permitted.*netlink|Permission denied/i);
});

it('the group carries the packets of an app over both tunnels', async (t) => {
  const { router, ping } = t.context;
  for (let i = 1; i <= 24; i++)
    t.regex(await router.appOk(ping, ['-c', '1', '-W', '5', `172.22.7.${i}`]), /1 received/);
  const { uplinks } = await router.json<Status>('status');
  for (const u of uplinks) t.true(u.rx_packets >= 3, `${u.name} carried ${u.rx_packets} packets`);
});

it('a member that is withdrawn leaves the group, and comes back', async (t) => {
  const { lab, frr, router, ping } = t.context;
  await frr.configure(`no ip route ${TARGETS} ${TUNNELS[1].theirs}`);
  await lab.eventually('one hop', async () => same(await group(t.context), [BOTH[0]]));
  t.regex(await router.appOk(ping, ['-c', '1', '-W', '5', '172.22.7.1']), /1 received/);
  await frr.configure(`ip route ${TARGETS} ${TUNNELS[1].theirs}`);
  await lab.eventually('both hops', async () => same(await group(t.context), BOTH));
});

it('without the option zebra ends at once: an ordinary program is promised nothing', async (t) => {
  const { frr, router } = t.context;
  const args = ['-z', `${frr.dir}/other.api`, '-i', `${frr.dir}/other.pid`, '--vty_socket', frr.dir, '-P', '0'];
  const { status, stderr } = await router.app('/usr/lib/frr/zebra', args, { timeoutMs: 20_000 });
  t.not(status, 0);
  t.regex(stderr, /cap_set_proc failed/);
});

/** FRR as root behind the left tunnel. */
const peerBgp = (network: string): string => `router bgp 4242420053
 bgp router-id ${TUNNELS[0].theirs}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor ${TUNNELS[0].ours} remote-as 4242420229
 neighbor ${TUNNELS[0].ours} timers 3 9
 address-family ipv4 unicast
  network ${network}
 exit-address-family`;

it("FRR's bgpd speaks over our stack, and its routes come back to our FIB by zebra", async (t) => {
  const { lab, frr, far, router, ping } = t.context;
  const { theirs } = TUNNELS[0];
  await far.start('zebra', '');
  await far.start('bgpd', peerBgp('172.24.0.0/16'));
  await frr.start(
    'bgpd',
    `router bgp 4242420229
 bgp router-id ${OURS}
 no bgp ebgp-requires-policy
 neighbor ${theirs} remote-as 4242420053
 neighbor ${theirs} timers 3 9
 neighbor ${theirs} timers connect 1`,
  );
  await router.routeTo('172.24.0.1');
  const { routes } = await router.json<{ routes: RouteStatus[] }>('route', 'show', '--proto', 'external');
  t.like(
    routes.find((r) => r.prefix === '172.24.0.0/16'),
    { detail: 'bgp', next_hops: [{ gateway: theirs, uplink: 'left', weight: 1 }] },
  );
  await lab.host('ip', ['-n', far.ns, 'route', 'add', 'local', '172.24.0.0/16', 'dev', 'lo']);
  t.regex(await router.appOk(ping, ['-c', '1', '-W', '5', '172.24.0.1']), /1 received/);
  await far.stop('bgpd');
  await lab.eventually('withdrawn', async () => (await router.cli(['route', 'get', '172.24.0.1'])).status !== 0);
});

it('BIRD speaks over our stack without privileges too, and hands its routes on to us by BGP', async (t) => {
  const { lab, frr, far, router, ping } = t.context;
  const { ours, theirs } = TUNNELS[0];
  await frr.stop('bgpd');
  await far.start('bgpd', peerBgp('172.24.0.0/16'));
  const conf = join(frr.dir, 'bird.conf');
  writeFileSync(
    conf,
    `log stderr all;
router id ${ours};
protocol device { scan time 1; }
protocol direct { ipv4; }
protocol kernel { scan time 1; ipv4 { import none; export all; }; }
template bgp quick { connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 9; }
protocol bgp tunnel from quick {
  local ${ours} as 4242420229; neighbor ${theirs} as 4242420053;
  ipv4 { import all; export none; };
}
protocol bgp mlshim from quick {
  local 127.0.0.3 as 4242420229; neighbor 127.0.0.1 port 1790 as 4242420229; multihop;
  ipv4 { import none; export where source = RTS_BGP; next hop keep; };
}
`,
  );
  const bird = router.cliStart(
    ['run', '--routing-daemon', '--', 'bird', '-f', '-c', conf].concat(
      ...['s', 'P'].map((o) => [`-${o}`, join(frr.dir, `bird.${o}`)]),
    ),
  );
  await router.routeTo('172.24.0.1');
  const got = await router.json<RouteAnswer>('route', 'get', '172.24.0.1');
  t.like(got, { origin: 'ibgp', next_hops: [{ gateway: theirs, uplink: 'left', weight: 1 }] });
  t.regex(await router.appOk(ping, ['-c', '1', '-W', '5', '172.24.0.1']), /1 received/);
  const interfaces = await lab.ok(frr.ns, 'birdc', ['-s', join(frr.dir, 'bird.s'), 'show', 'interfaces', 'summary']);
  t.regex(interfaces, /left +up +10\.50\.0\.1\/24/);
  t.notRegex(interfaces, /k-left/);
  t.notRegex(bird.stdout + bird.stderr, /Netlink|not permitted/i);
});
