/**
 * Which of several VPN routes that are equal in all else is used in a VRF, and told to others: the routes decide, and not the order
 * in which they came (RFC 4271 §9.1.2.2 to its end, then the distinguisher).
 */
import test from 'ava';
import type { StepName } from '../../../bgp/rib/decision.ts';
import { vpnKey } from '../../../bgp/vpn/nlri.ts';
import { ranked, type VpnRoute, VpnTable } from '../../../bgp/vpn/vpn-table.ts';
import type { Attributes } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { hex } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { openPeer, rd, roomOf, rt, vrf } from '../kit/vpn.ts';

const AS = 64601;
const PREFIX = '10.9.0.0/16';

/** A route to that prefix. */
interface Told {
  readonly peer: 'b' | 'c';
  /** Number of the distinguisher 64601:N. */
  readonly rd: number;
  readonly pathId?: number;
  readonly originator?: string;
  readonly clusters?: number;
  readonly localPref?: number;
}

/** A router with a VRF and two peers, whose routes are injected. */
function network(maxPaths = 1) {
  const net = new SimNet(4271);
  let a!: SimRouter;
  const room = roomOf(AS, () => a, { red: { rd: '64601:1', import: ['64601:100'], export: [] } });
  a = net.router('a', { asn: AS, vpn: room });
  const options = { families: ['vpnv4'], addPath: 'both' } as const;
  for (const name of ['b', 'c']) {
    const peer: SimRouter = net.router(name, { asn: AS, vpn: roomOf(AS, () => peer, {}) });
    net.join(a, peer, options);
  }
  const red = vrf(net, room, 'red', AS, '10.1.0.1', { multipath: { maxPaths } });
  net.start();
  net.run(20_000);
  const sessions = new Map([...a.speaker.sessions()].map((s) => [s.peer, s]));
  const nlri = (r: Told): string => {
    const number = r.rd.toString(16).padStart(2, '0');
    return `${(r.pathId ?? 1).toString(16).padStart(8, '0')} 68 000031 0000fc59000000${number} 0a09`;
  };
  /** The next hop says which route it is. */
  const tell = (r: Told, hop: number): void => {
    const target = rt('64601:100');
    const attributes: Attributes = {
      ...PLAIN_ATTRIBUTES,
      localPref: r.localPref ?? 100,
      extendedCommunities: [target.high, target.low],
      originatorId: r.originator === undefined ? undefined : Addr.parse(r.originator)!.a3 >>> 0,
      clusterList: Array.from({ length: r.clusters ?? 0 }, (_, i) => 0x0b000001 + i),
    };
    const reach = hex(`0001 80 0c 0000000000000000 0a0200${hop.toString(16).padStart(2, '0')} 00 ${nlri(r)}`);
    room.update(sessions.get(r.peer)!, { reach, unreach: undefined, isWithdrawn: false }, attributes);
  };
  const withdraw = (r: Told): void => {
    const unreach = hex(`0001 80 ${nlri(r).replace('000031', '800000')}`);
    room.update(sessions.get(r.peer)!, { reach: undefined, unreach, isWithdrawn: false }, undefined);
  };
  return { net, room, red, tell, withdraw, sessions };
}

function permutations<T>(all: readonly T[]): T[][] {
  if (all.length < 2) return [[...all]];
  return all.flatMap((one, i) => permutations(all.filter((_, j) => j !== i)).map((rest) => [one, ...rest]));
}

// Best first; the step at which the next one falls out against it.
const CASES: readonly (readonly [StepName, readonly Told[]])[] = [
  [
    'local preference',
    [
      { peer: 'c', rd: 9, localPref: 200 },
      { peer: 'b', rd: 3 },
      { peer: 'b', rd: 4 },
    ],
  ],
  [
    'BGP identifier',
    [
      { peer: 'b', rd: 9 },
      { peer: 'c', rd: 3 },
      { peer: 'c', rd: 4 },
    ],
  ],
  [
    'BGP identifier',
    [
      { peer: 'c', rd: 9, originator: '9.0.0.1' },
      { peer: 'b', rd: 3 },
      { peer: 'b', rd: 4, originator: '11.0.0.1' },
    ],
  ],
  [
    'cluster list length',
    [
      { peer: 'c', rd: 9, originator: '9.0.0.1', clusters: 1 },
      { peer: 'b', rd: 3, originator: '9.0.0.1', clusters: 2 },
      { peer: 'b', rd: 4, originator: '9.0.0.1', clusters: 3 },
    ],
  ],
  [
    'peer address',
    [
      { peer: 'b', rd: 9, originator: '9.0.0.1' },
      { peer: 'c', rd: 3, originator: '9.0.0.1' },
      { peer: 'c', rd: 4, originator: '9.0.0.1' },
    ],
  ],
  [
    'route distinguisher',
    [
      { peer: 'b', rd: 3, pathId: 9 },
      { peer: 'b', rd: 4 },
      { peer: 'b', rd: 5 },
      { peer: 'b', rd: 6 },
    ],
  ],
  [
    'path identifier',
    [
      { peer: 'b', rd: 3, pathId: 1 },
      { peer: 'b', rd: 3, pathId: 2 },
      { peer: 'b', rd: 3, pathId: 7 },
    ],
  ],
];

for (const [step, routes] of CASES) {
  test(`equal VPN routes are told apart in a VRF by ${step}: ${JSON.stringify(routes[0])}`, (t) => {
    const { net, room, red, tell, withdraw } = network();
    const prefix = Prefix.parse(PREFIX)!;
    for (const order of permutations(routes)) {
      for (const r of order) {
        tell(r, routes.indexOf(r) + 1);
        net.run(100);
      }
      t.is(red.fib.get(PREFIX), '10.2.0.1', JSON.stringify(order));
      const lost = new Map(red.speaker.explain(prefix).map((c) => [c.nextHop, c.lostAt]));
      t.is(lost.get('10.2.0.2'), step);
      t.is(room.imports('red', prefix).length, routes.length);
      for (const r of order) withdraw(r);
      net.run(100);
      t.is(red.fib.size, 0);
    }
  });
}

test('which of equal routes share the traffic of a VRF does not depend on their order either', (t) => {
  const routes: Told[] = [
    { peer: 'b', rd: 3 },
    { peer: 'b', rd: 4 },
    { peer: 'c', rd: 2 },
    { peer: 'c', rd: 1 },
  ];
  const { net, red, tell, withdraw } = network(2);
  for (const order of permutations(routes)) {
    for (const r of order) tell(r, routes.indexOf(r) + 1);
    net.run(100);
    t.is(red.fib.get(PREFIX), '10.2.0.1 10.2.0.2', JSON.stringify(order));
    for (const r of order) withdraw(r);
    net.run(100);
  }
});

test('routes that are told as before by a peer that has another identifier now are decided anew', (t) => {
  const { net, room, red, tell, sessions } = network();
  tell({ peer: 'b', rd: 4 }, 1);
  tell({ peer: 'c', rd: 3 }, 2);
  net.run(100);
  t.is(red.fib.get(PREFIX), '10.2.0.1');
  const sender = { name: 'c', address: Addr.parse('fe80::2:2')!, relation: 'internal', isClient: false } as const;
  room.up(sessions.get('c')!, openPeer({ ...sender, identifier: 1 }));
  tell({ peer: 'c', rd: 3 }, 2);
  net.run(100);
  t.is(red.fib.get(PREFIX), '10.2.0.2');
  t.is(room.imports('red', Prefix.parse(PREFIX)!).length, 2);
  t.is(red.speaker.explain(Prefix.parse(PREFIX)!).length, 2);
});

test('of one distinguisher the routes decide which is told, and in which order several are', (t) => {
  const base = { hop: { global: Addr.parse('10.0.0.9')!, linkLocal: undefined }, family: 'vpnv4', weight: 0 } as const;
  const peer = (name: string, address: string) =>
    ({ name, address: Addr.parse(address)!, relation: 'internal', isClient: false, identifier: 7 }) as const;
  const route = (number: number, name: string, address: string, pathId: number, med?: number): VpnRoute => ({
    name: { rd: rd('64601:1'), prefix: Prefix.parse(PREFIX)!, pathId },
    vrf: undefined,
    label: 3,
    bundle: { ...base, attributes: { ...PLAIN_ATTRIBUTES, med }, from: peer(name, address) },
    number,
    cost: 0,
  });
  const inOrder = [
    route(9, 'z', 'fe80::1', 5),
    route(8, 'z', 'fe80::1', 6),
    route(3, 'a', 'fe80::2', 1),
    route(2, 'b', 'fe80::2', 0),
    route(1, 'a', 'fe80::1', 0, 10),
  ];
  const key = vpnKey(inOrder[0]!.name);
  for (const order of permutations(inOrder)) {
    const table = new VpnTable();
    for (const r of order) table.put(key, r);
    t.is(table.routes(key)[0], inOrder[0]);
    t.deepEqual(ranked(table.routes(key)), inOrder);
  }
});
