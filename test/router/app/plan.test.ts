import test from 'ava';
import { planOf } from '../../../router/app/plan.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';
import { RouteSource } from '../../../router/fib/shared.ts';
import { revived } from '../../../router/lib/post.ts';
import { Families } from '../../../router/uplink/balancer.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const KEY2 = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';
const PEER = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';

function plan(yaml: string) {
  const { config, diagnostics } = parseConfig({ shown: 'x.yaml', path: '/x.yaml', text: yaml }, {});
  if (config === undefined) throw new Error(JSON.stringify(diagnostics));
  return planOf(config, ['192.0.2.53']);
}

const TWO = `
uplinks:
  a:
    wireguard:
      private_key: ${KEY}
      addresses: [10.0.0.2/24, fe80::1/64, 'fd00::1/128']
      peers: [{ public_key: ${PEER}, allowed_ips: [0.0.0.0/0, 198.51.100.0/24] }]
  b:
    wireguard:
      private_key: ${KEY2}
      peers: [{ public_key: ${PEER}, allowed_ips: [0.0.0.0/0] }]
`;

const find = (yaml: string, prefix: string) => plan(yaml).routing.routes.filter((r) => r.prefix === prefix);

test('links are numbered from 1000, above what a host numbers its own interfaces with', (t) => {
  t.deepEqual(
    plan(TWO).links.map((l) => [l.spec.index, l.spec.name, l.spec.device]),
    [
      [1000, 'a', 0],
      [1001, 'b', 1],
    ],
  );
});

test('prefixes of interface addresses are connected routes, host and link-local ones are not', (t) => {
  const connected = plan(TWO).routing.routes.filter((r) => r.source === RouteSource.Connected);
  t.deepEqual(
    connected.map((r) => r.prefix),
    ['10.0.0.0/24'],
  );
});

test('a tunnel is for families its peers may have and it has an address of; between routers any address will do', (t) => {
  const families = (addresses: string, allowed: string): number | undefined =>
    revived(
      plan(`
uplinks:
  a:
    wireguard: { private_key: ${KEY}, addresses: [${addresses}], peers: [{ public_key: ${PEER}, allowed_ips: [${allowed}] }] }
`).settings.policy,
    ).uplinks[0]!.families;
  const all = "0.0.0.0/0, '::/0'";
  t.is(families('10.0.0.2/32', all), Families.V4);
  t.is(families("'fd00::1/128'", all), Families.V6);
  t.is(families("10.0.0.2/32, 'fd00::1/128'", '0.0.0.0/0'), Families.V4);
  t.is(families("10.0.0.2/32, 'fd00::1/128'", all), Families.Any);
  t.is(families("'fe80::1/64'", "0.0.0.0/0, 'fe80::/64'"), Families.V4);
  t.is(families("'fe80::1/64'", all), Families.Any);
  t.is(families('', all), Families.Any);
});

test('a prefix allowed on two uplinks is one route over both', (t) => {
  const [route, ...others] = find(TWO, '0.0.0.0/0');
  t.deepEqual(others, []);
  t.deepEqual(
    route!.hops.map((h) => h.link),
    [1000, 1001],
  );
});

test('table: off keeps allowed IPs out of the table', (t) => {
  const off = TWO.replaceAll('private_key:', 'table: off\n      private_key:');
  t.deepEqual(find(off, '0.0.0.0/0'), []);
});

test('a route that is written down wins over allowed IPs', (t) => {
  const routes = find(`${TWO}routes: [{ to: 198.51.100.0/24, type: blackhole }]\n`, '198.51.100.0/24');
  t.deepEqual(
    routes.map((r) => r.kind),
    ['blackhole'],
  );
});

test('what BGP announces and nothing knows in detail is unreachable, not sent back', (t) => {
  const yaml = `${TWO}bgp: { asn: 65001, router_id: 10.0.0.2, networks: [10.9.0.0/16, 10.0.0.0/24] }\n`;
  t.deepEqual(
    find(yaml, '10.9.0.0/16').map((r) => r.kind),
    ['unreachable'],
  );
  t.deepEqual(
    find(yaml, '10.0.0.0/24').map((r) => r.kind),
    ['unicast'],
  );
});

test('name servers keep their uplink, and the host’s own are passed on', (t) => {
  const { settings } = plan(`${TWO}dns: { servers: ['fe80::53%b', 10.0.0.53], search: [x.test] }\n`);
  t.deepEqual(settings.dns.servers, ['fe80::53%b', '10.0.0.53']);
  t.deepEqual(settings.hostNameServers, ['192.0.2.53']);
});

test('rules name VRFs and uplinks by the numbers these keep over a reload', (t) => {
  const config = (vrfs: string): Config => {
    const text = `vrfs: {${vrfs}}\n${TWO}rules:\n  - { match: { port: 22 }, vrf: red }\n  - { use: [b, a], balance: failover }\n`;
    return parseConfig({ shown: 'x.yaml', path: '/x.yaml', text }, {}).config!;
  };
  const before = planOf(config('red: {}'), []);
  const after = planOf(config('blue: {}, red: {}'), [], before);
  for (const { settings, vrfs } of [before, after]) {
    const { rules, groups, uplinks } = revived(settings.policy);
    t.deepEqual(rules[0]!.action, { kind: 'vrf', vrf: vrfs.get('red')! });
    t.deepEqual(
      groups[0]!.members.map((m) => uplinks[m.uplink]!.link),
      [1001, 1000],
    );
  }
  t.is(after.vrfs.get('red'), 1);
});

const HOST = `uplinks:
  fiber: { kernel: { interface: eth1 }, dns: [192.0.2.53] }
  lte: { kernel: { source: 198.51.100.7 } }
`;

test('a VRF that comes does not get the number of one that is gone, which sockets may still have', (t) => {
  const config = (...vrfs: string[]): Config => {
    const text = `${TWO}vrfs: { ${vrfs.map((v) => `${v}: {}`).join(', ')} }\n`;
    return parseConfig({ shown: 'x.yaml', path: '/x.yaml', text }, {}).config!;
  };
  let running = planOf(config('red', 'blue'), []);
  t.deepEqual(
    [...running.vrfs],
    [
      ['red', 1],
      ['blue', 2],
    ],
  );
  running = planOf(config('red'), [], running);
  running = planOf(config('red', 'green'), [], running);
  t.deepEqual(
    [...running.vrfs],
    [
      ['red', 1],
      ['green', 3],
    ],
  );
  running = planOf(config('blue'), [], running);
  t.deepEqual([...running.vrfs], [['blue', 4]]);
});

test('paths of the host are numbered with the links, and are none', (t) => {
  const { links, hosts, settings } = plan(`${HOST}rules: [{ use: [lte, fiber] }]`);
  t.deepEqual(links, []);
  t.deepEqual(
    hosts.map((h) => [h.name, h.link, h.way.device, h.way.source && String(h.way.source)]),
    [
      ['fiber', 1000, 'eth1', undefined],
      ['lte', 1001, undefined, '198.51.100.7'],
    ],
  );
  const { groups, uplinks } = revived(settings.policy);
  t.deepEqual(
    groups[0]!.members.map((m) => uplinks[m.uplink]!.host),
    [hosts[1]!.way, hosts[0]!.way],
  );
  t.deepEqual(uplinks[0]!.dns.map(String), ['192.0.2.53']);
});

test('what the user-space backend cannot carry is refused by name, not left out', (t) => {
  t.throws(() => plan(`${HOST}routes: [{ to: 10.0.0.0/8, via: fiber }]`), {
    code: 'BACKEND_UNAVAILABLE',
    message: /route to 10\.0\.0\.0\/8 leads by uplink "fiber"/,
  });
  t.throws(() => plan(`backend: kernel\n${TWO}`), { code: 'BACKEND_UNAVAILABLE', message: /backend: kernel/ });
});
