import test from 'ava';
import { hostUplinksOf, kernelPlanOf, kernelPolicyOf, upstreamsOf } from '../../../router/app/kernel-plan.ts';
import { routingBootOf } from '../../../router/app/kernel-routing.ts';
import { parseConfig } from '../../../router/config/load.ts';
import type { Config } from '../../../router/config/model.ts';
import { FIRST_TABLE, type UplinkState } from '../../../router/kernel/uplink.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';
const PEER = 'TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=';

function config(yaml: string): Config {
  const { config, diagnostics } = parseConfig({ shown: 'x.yaml', path: '/x.yaml', text: yaml }, {});
  if (config === undefined) throw new Error(JSON.stringify(diagnostics));
  return config;
}

const addr = (text: string): Addr => Addr.parse(text)!;
const THREE = `
uplinks:
  fiber: { kernel: { interface: eth1 }, dns: [192.0.2.53] }
  lte: { kernel: { source: 198.51.100.7 }, dns: [198.51.100.53, '2001:db8::53'] }
  vpn:
    vrf: red
    wireguard:
      private_key: ${KEY}
      addresses: [10.0.0.2/24]
      peers: [{ public_key: ${PEER}, endpoint: 'vpn.example.org:51820', allowed_ips: [0.0.0.0/0] }]
vrfs: { red: {} }
rules:
  - { match: { group: backup }, use: lte }
  - { match: { port: 443 }, vrf: red }
  - { use: [fiber, lte] }
routes: [{ to: 10.9.0.0/16, via: fiber, gateway: 192.0.2.1 }]
`;
const state = (name: string, more: Partial<UplinkState>): UplinkState => ({
  ...{
    name,
    isUp: true,
    why: undefined,
    bindDevice: undefined,
    interface: undefined,
    ifindex: 0,
    table: 0,
    addresses: [],
  },
  ...more,
});
const STATES = [
  state('fiber', {
    bindDevice: 'mlv-fiber',
    interface: 'eth1',
    ifindex: 5,
    addresses: [addr('192.0.2.7'), addr('2001:db8::7')],
  }),
  state('lte', { interface: 'eth2', ifindex: 6, addresses: [addr('198.51.100.7')] }),
  state('vpn', { bindDevice: 'mlv-vpn', interface: 'mlw-vpn', ifindex: 7, addresses: [addr('10.0.0.2')] }),
];

test('each uplink is of its kind, with a table of its own', (t) => {
  const plan = kernelPlanOf(config(THREE));
  const uplinks = hostUplinksOf(plan, 64, (uplink, { endpoint }) => {
    t.deepEqual([uplink, endpoint!.host], ['vpn', 'vpn.example.org']);
    return { addr: addr('203.0.113.9'), port: endpoint!.port };
  });
  t.like(uplinks[0], { kind: 'interface', interface: 'eth1', isolation: 'vrf', table: FIRST_TABLE + 64 });
  t.like(uplinks[1], { kind: 'source', table: FIRST_TABLE + 65 });
  const vpn = uplinks[2]!;
  if (vpn.kind !== 'wireguard') throw new Error('not a tunnel');
  t.is(vpn.table, FIRST_TABLE + 66);
  t.deepEqual(vpn.wireguard.peers[0]!.endpoint, { addr: addr('203.0.113.9'), port: 51820 });
});

test('an uplink keeps its table over a reload, and a new one takes one that nobody had before', (t) => {
  const before = kernelPlanOf(config('uplinks: { a: { kernel: { interface: a } }, b: { kernel: { interface: b } } }'));
  const after = kernelPlanOf(
    config('uplinks: { c: { kernel: { interface: c } }, b: { kernel: { interface: b } } }'),
    before,
  );
  t.deepEqual(
    [...after.numbers],
    [
      ['c', 2],
      ['b', 1],
    ],
  );
});

test('the programs are told devices, sources, resolvers, and whose the other addresses are', (t) => {
  const own = ['192.0.2.7', '127.0.0.1'].map((text) => {
    return { device: 'x', addr: addr(text), prefix: Prefix.parse(`${text}/32`)! };
  });
  const policy = kernelPolicyOf(kernelPlanOf(config(THREE)), STATES, own);
  const [fiber, lte, vpn] = policy.uplinks;
  t.like(fiber, { name: 'fiber', device: 'mlv-fiber', ifindex: 5, isVrf: true });
  t.is(String(fiber!.source4), '192.0.2.7');
  t.is(String(fiber!.source6), '2001:db8::7');
  t.like(lte, { device: undefined, isVrf: false, source6: undefined });
  t.is(String(lte!.source4), '198.51.100.7');
  t.is(policy.vrfs[1], vpn);
  t.deepEqual(policy.ownAddresses.map(String), ['127.0.0.1']);
  t.deepEqual(policy.rules[2]!.action, { kind: 'group', group: 1 });
});

test('names are asked through the uplink, by servers of its family; without any, as the host asks', (t) => {
  const { uplinks } = config(THREE);
  const host = [addr('127.0.0.53')];
  const asked = (i: number) =>
    upstreamsOf(uplinks[i]!, STATES[i], host).map(({ server, way }) => [
      String(server),
      way.device,
      way.source && String(way.source),
    ]);
  t.deepEqual(asked(0), [['192.0.2.53', 'mlv-fiber', undefined]]);
  t.deepEqual(asked(1), [['198.51.100.53', undefined, '198.51.100.7']]);
  t.deepEqual(asked(2), [['127.0.0.53', undefined, undefined]]);
});

test('routing has the uplinks as links, and the kernel gets into each table what leads by its uplink', (t) => {
  const plan = kernelPlanOf(config(THREE));
  const own = [{ device: 'eth1', addr: addr('192.0.2.7'), prefix: Prefix.parse('192.0.2.0/24')! }];
  const boot = routingBootOf({ plan, states: STATES, own, firstTable: 0 });
  t.deepEqual(
    boot.links.map((l) => [l.index, l.name, l.vrf, l.addresses]),
    [
      [1000, 'fiber', 0, ['192.0.2.7/24']],
      [1001, 'lte', 0, []],
      [1002, 'vpn', 1, ['10.0.0.2/24']],
    ],
  );
  t.deepEqual(
    boot.routes.map((r) => `${r.vrf} ${r.prefix} ${r.hops.map((h) => h.link).join()}`),
    ['0 192.0.2.0/24 1000', '1 10.0.0.0/24 1002', '1 0.0.0.0/0 1002', '0 10.9.0.0/16 1000'],
  );
  t.deepEqual(boot.kernelRoutes!.targets, [
    { vrf: 0, table: FIRST_TABLE, links: [1000] },
    { vrf: 0, table: FIRST_TABLE + 1, links: [1001] },
    { vrf: 1, table: FIRST_TABLE + 2, links: [1002] },
  ]);
  t.deepEqual(boot.kernelRoutes!.devices, [
    [1000, 'eth1'],
    [1001, 'eth2'],
    [1002, 'mlw-vpn'],
  ]);
});

test('what this backend does not do is refused by its name', (t) => {
  t.throws(() => kernelPlanOf(config('loopback: stack\nuplinks: { a: { kernel: { interface: a } } }')), {
    code: 'BACKEND_UNAVAILABLE',
    message: /loopback: stack/,
  });
  t.throws(
    () =>
      kernelPlanOf(
        config(`vrfs: { red: {} }
uplinks: { a: { vrf: red, kernel: { interface: a } }, b: { vrf: red, kernel: { interface: b } } }
rules: [{ name: x, vrf: red }]`),
      ),
    { code: 'BACKEND_UNAVAILABLE', message: /rule "x" goes by VRF red, which has 2 uplinks/ },
  );
});
