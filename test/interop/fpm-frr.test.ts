/**
 * FRR drives our data plane: its zebra, with Debian's modules, tells the daemon what staticd and ospfd decided. The daemon
 * runs as nobody; FRR as root in the same namespace, whose kernel interfaces u0 and u1 have the addresses of our uplinks.
 */
import type { ExecutionContext } from 'ava';
import type { FpmStatus, RouteStatus, Status } from '../../router/control/messages.ts';
import { Frr, frrMissing } from '../kit/frr.ts';
import { labTests } from '../kit/it.ts';
import { Lab } from '../kit/lab.ts';
import { wgKeyPair } from '../kit/peer.ts';
import { Router } from '../kit/router.ts';

interface Context {
  lab: Lab;
  router: Router;
  frr: Frr;
  other: Frr;
}

const missing = frrMissing() ?? Lab.missing('vtysh');
const { test, it } = labTests<Context>(missing);

const uplink = (name: string, address: string): string => `
  ${name}: { wireguard: { private_key: '${wgKeyPair().privateKey}', addresses: [${address}, 'fe80::1/64'], table: off } }`;

const CONFIG = `uplinks:${uplink('left', '10.50.0.1/24')}${uplink('right', '10.51.0.1/24')}
fpm: { interfaces: { u0: left, u1: right }, stale_time: 3s }
`;
const ZEBRA = 'fpm address 127.0.0.1 port 2620';
const STATIC = `ip route 172.22.0.0/16 10.50.0.3
ip route 172.22.0.0/16 10.51.0.4
ip route 172.23.0.0/16 10.50.0.3
ip route 172.24.0.0/16 blackhole
ip route 172.25.0.0/16 192.0.2.9
ipv6 route fd42:1::/32 fe80::2 u0
ipv6 route fd42:2::/32 u1`;

if (missing === undefined) {
  test.before(async (t) => {
    const lab = new Lab();
    const ns = await lab.namespace('r');
    const far = await lab.namespace('o');
    await lab.veth('u0', ns, '10.50.0.1/24', far, '10.50.0.2/24');
    await lab.veth('u1', ns, '10.51.0.1/24', far, '10.51.0.2/24');
    await lab.host('ip', ['-n', far, 'addr', 'add', '172.26.0.1/24', 'dev', 'lo']);
    const router = new Router(lab, ns);
    t.context = { lab, router, frr: new Frr(lab, ns), other: new Frr(lab, far) };
    router.write(CONFIG);
    await router.up();
  });
  test.after.always(async (t) => {
    await t.context.lab?.close();
  });
}

const hops = (r: RouteStatus): string => {
  const ways = r.next_hops.map((h) => `${h.gateway || '-'}%${h.uplink}`).sort();
  return [...(r.kind === 'unicast' ? [] : [r.kind]), ...ways].join(' ');
};

/** The external routes as text, with the protocol of each where it is not `static`. */
async function external({ router }: Context): Promise<Record<string, string>> {
  const { routes } = await router.json<{ routes: RouteStatus[] }>('route', 'show', '--proto', 'external');
  return Object.fromEntries(routes.map((r) => [r.prefix, `${hops(r)}${r.detail === 'static' ? '' : ` ${r.detail}`}`]));
}

async function fpm({ router }: Context): Promise<FpmStatus> {
  return (await router.json<Status>('status')).fpm!;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Wait for exactly these external routes. */
async function routesAre(t: ExecutionContext<Context>, wanted: Readonly<Record<string, string>>): Promise<void> {
  let last: Record<string, string> = {};
  const isThere = async (): Promise<boolean> => same((last = await external(t.context)), wanted);
  // What is missing shows best as a difference.
  await t.context.lab.eventually('the routes', isThere, 20_000).catch((e) => t.log(e));
  t.deepEqual(last, wanted);
}

const ALL = {
  '172.22.0.0/16': '10.50.0.3%left 10.51.0.4%right',
  '172.23.0.0/16': '10.50.0.3%left',
  '172.24.0.0/16': 'blackhole',
  'fd42:1::/32': 'fe80::2%left',
  'fd42:2::/32': '-%right',
};

it('the FIB of an unmodified zebra arrives whole, with its groups', async (t) => {
  const { frr } = t.context;
  await frr.start('zebra', ZEBRA, '-M', 'dplane_fpm_nl');
  await frr.start('staticd', STATIC);
  await routesAre(t, ALL);
  const status = await fpm(t.context);
  t.like(status, { state: 'connected', encoding: 'netlink', malformed: 0, stale: 0 });
  t.true(status.next_hops > 0, 'next hops come as objects');
  t.true(status.ignored > 0, "zebra's connected routes are not ours");
});

it('a route is replaced, shrinks to one hop, and is withdrawn', async (t) => {
  const { frr } = t.context;
  await frr.configure('no ip route 172.22.0.0/16 10.51.0.4');
  await routesAre(t, { ...ALL, '172.22.0.0/16': '10.50.0.3%left' });
  await frr.configure('ip route 172.22.0.0/16 10.51.0.5', 'no ip route 172.22.0.0/16 10.50.0.3');
  await routesAre(t, { ...ALL, '172.22.0.0/16': '10.51.0.5%right' });
  await frr.configure('no ip route 172.22.0.0/16 10.51.0.5');
  const { '172.22.0.0/16': _, ...others } = ALL;
  await routesAre(t, others);
  await frr.configure('ip route 172.22.0.0/16 10.50.0.3', 'ip route 172.22.0.0/16 10.51.0.4');
  await routesAre(t, ALL);
});

it('without next-hop groups the same routes come spelled out', async (t) => {
  const { frr, lab } = t.context;
  await frr.configure('no fpm use-next-hop-groups');
  await lab.eventually('no numbered next hops', async () => {
    const s = await fpm(t.context);
    return s.state === 'connected' && s.next_hops === 0 && s.stale === 0;
  });
  await routesAre(t, ALL);
  await frr.configure('fpm use-next-hop-groups');
  await lab.eventually('numbered next hops', async () => (await fpm(t.context)).next_hops > 0);
});

/** The black hole is told again: a killed zebra leaves it in its kernel and finds it there. */
const LATER = 'ip route 172.23.0.0/16 10.51.0.9\nip route 172.24.0.0/16 blackhole';
const AFTER = { '172.23.0.0/16': '10.51.0.9%right', '172.24.0.0/16': 'blackhole' };

it('routes outlive a zebra that is killed; what it does not tell again goes', async (t) => {
  const { frr, lab } = t.context;
  await frr.stop('staticd', 'SIGKILL');
  await frr.stop('zebra', 'SIGKILL');
  await lab.eventually('the connection is gone', async () => (await fpm(t.context)).state === 'waiting');
  t.deepEqual(await external(t.context), ALL);
  await frr.start('zebra', ZEBRA, '-M', 'dplane_fpm_nl');
  await frr.start('staticd', LATER);
  await lab.eventually('connected again', async () => (await fpm(t.context)).state === 'connected');
  await routesAre(t, AFTER);
});

it('OSPF drives the data plane, and is named', async (t) => {
  const { frr, other } = t.context;
  const ospf = (id: string, networks: readonly string[]): string => `interface u0
 ip ospf hello-interval 1
 ip ospf dead-interval 4
 ip ospf network point-to-point
router ospf
 ospf router-id ${id}
${networks.map((n) => ` network ${n} area 0`).join('\n')}`;
  await other.start('zebra', '');
  await other.start('ospfd', ospf('10.50.0.2', ['10.50.0.0/24', '172.26.0.0/24']));
  await frr.start('ospfd', ospf('10.50.0.1', ['10.50.0.0/24']));
  await routesAre(t, { ...AFTER, '172.26.0.1/32': '10.50.0.2%left ospf' });
  await other.stop('ospfd');
  await routesAre(t, AFTER);
});

it('the older module says the same in netlink', async (t) => {
  const { frr } = t.context;
  await frr.stop('ospfd');
  await frr.stop('staticd');
  await frr.stop('zebra');
  await frr.start('zebra', '', '-M', 'fpm:netlink');
  await frr.start('staticd', STATIC);
  // It does not say which protocol a route is of.
  await routesAre(t, Object.fromEntries(Object.entries(ALL).map(([prefix, way]) => [prefix, `${way} zebra`])));
});

test.skip("the older module says the same in protobuf (Debian's zebra is built without protobuf)", () => undefined);
