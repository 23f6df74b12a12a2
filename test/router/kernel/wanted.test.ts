import test from 'ava';
import type { HostRoute } from '../../../router/kernel/netlink/route.ts';
import { tunnelDevice, vrfDevice, type WireguardUplink } from '../../../router/kernel/uplink.ts';
import { copiedRoutes, ownRoutes, routeKey, tunnelMark, wantedRules } from '../../../router/kernel/wanted.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

const route = (prefix: string, gateway?: string, more: Partial<HostRoute> = {}): HostRoute => ({
  ...{ table: 254, prefix: Prefix.parse(prefix)!, protocol: 4, type: 1, metric: 0, source: undefined },
  hops: [{ ifindex: 5, gateway: gateway === undefined ? undefined : Addr.parse(gateway)!, weight: 1 }],
  message: new Uint8Array(0),
  ...more,
});

const MAIN = [
  route('0.0.0.0/0', '10.1.0.1'),
  route('0.0.0.0/0', '10.2.0.1', { metric: 9 }),
  route('10.1.0.0/24', undefined, { source: Addr.parse('10.1.0.2')! }),
  route('10.2.0.0/24', undefined, { source: Addr.parse('10.2.0.2')! }),
  route('10.50.0.0/16', '10.1.0.1'),
  route('10.60.0.0/16', undefined, { hops: [{ ifindex: 6, gateway: undefined, weight: 1 }] }),
  route('::/0', 'fe80::1'),
];

test('an interface has all main routes over it; an address only those that serve it', (t) => {
  const texts = (routes: readonly HostRoute[]): string[] =>
    routes.map((r) => `${r.prefix} ${r.hops[0]!.gateway ?? '-'}`);
  t.is(copiedRoutes(MAIN, 5, undefined).length, 6);
  const network = { source: Addr.parse('10.2.0.2')!, prefix: Prefix.parse('10.2.0.0/24')! };
  t.deepEqual(texts(copiedRoutes(MAIN, 5, network)), ['0.0.0.0/0 10.2.0.1', '10.2.0.0/24 -', '10.50.0.0/16 10.1.0.1']);
  const alone = { source: Addr.parse('10.3.0.2')!, prefix: Prefix.parse('10.3.0.0/24')! };
  t.deepEqual(
    texts(copiedRoutes(MAIN, 5, alone)),
    ['0.0.0.0/0 10.1.0.1', '0.0.0.0/0 10.2.0.1', '10.50.0.0/16 10.1.0.1'],
    'with no gateway in its own network any will do',
  );
});

const TUNNEL: WireguardUplink = {
  ...{ kind: 'wireguard', name: 'tun', isolation: 'vrf', table: 51007, mtu: 1420, addresses: [] },
  wireguard: {
    ...{ privateKey: new Uint8Array(32), listenPort: 0 },
    peers: [
      {
        ...{ publicKey: new Uint8Array(32), presharedKey: undefined, endpoint: undefined, keepaliveS: 0 },
        allowedIps: [Prefix.parse('0.0.0.0/0')!, Prefix.parse('fd00::/8')!, Prefix.parse('0.0.0.0/0')!],
      },
    ],
  },
};

test('a tunnel in a VRF has routes to what its peers may send, and a last resort that leads nowhere', (t) => {
  const keys = ownRoutes({ uplink: TUNNEL, ifindex: 9, addresses: [] }).map((r) => `${r.type} ${r.prefix} ${r.metric}`);
  t.deepEqual(keys, [
    'unreachable 0.0.0.0/0 4278198272',
    'unreachable ::/0 4278198272',
    'unicast 0.0.0.0/0 0',
    'unicast fd00::/8 1024',
  ]);
  t.is(ownRoutes({ uplink: TUNNEL, ifindex: 0, addresses: [] }).length, 2, 'while its device is not there');
});

test('rules lead sources, bound devices and marked tunnels to their tables', (t) => {
  const source = { kind: 'source', name: 'src', table: 51002, source: Addr.parse('10.2.0.2')! } as const;
  const device = { kind: 'interface', name: 'dev', table: 51003, isolation: 'device', interface: 'eth3' } as const;
  const facts = [
    { uplink: source, ifindex: 5, addresses: [source.source] },
    { uplink: device, ifindex: 6, addresses: [Addr.parse('fd03::2')!] },
  ];
  const rules = wantedRules(facts, [device], []);
  t.deepEqual(
    rules.map((r) => [r.family, r.from?.toString() ?? r.oif ?? r.fwmark, r.table]),
    [
      [4, tunnelMark(device), 51003],
      [6, tunnelMark(device), 51003],
      [4, '10.2.0.2/32', 51002],
      [6, 'fd03::2/128', 51003],
      [4, 'eth3', 51003],
      [6, 'eth3', 51003],
    ],
  );
  const foreign = [{ ...rules[2]!, protocol: 4, table: 77 }];
  t.false(wantedRules(facts, [], foreign).some((r) => r.table === 51002));
});

test('of a route over several interfaces only what is over one of them counts there', (t) => {
  const gateway = Addr.parse('10.1.0.1')!;
  const both = route('10.9.0.0/16', undefined, {
    hops: [
      { ifindex: 5, gateway, weight: 7 },
      { ifindex: 6, gateway, weight: 1 },
    ],
  });
  t.is(routeKey(both, 5), routeKey({ ...both, hops: [{ ifindex: 5, gateway, weight: 1 }] }));
  t.not(routeKey(both), routeKey(both, 5));
});

test('names of devices have at most 15 characters and differ', (t) => {
  t.is(vrfDevice('fiber'), 'mlv-fiber');
  const [one, two] = [tunnelDevice('a-rather-long-name'), tunnelDevice('a-rather-long-game')];
  t.true(one.length <= 15 && two.length <= 15);
  t.not(one, two);
});
