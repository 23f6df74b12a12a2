/** Next hops of VPN routes: what cannot be reached is not told, the nearer of two is, and both follow the tables. */
import test from 'ava';
import type { Via } from '../../../bgp/ports.ts';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import type { Addr } from '../../../router/lib/addr.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, type Targets, vrf, vrfsOf } from '../kit/vpn.ts';

const families = ['ipv4', 'vpnv4', 'vpnv6'] as const;
const CLIENT = { families, routeReflectorClient: true } as const;
const RED = { red: { rd: '64601:1', import: ['64601:100'], export: ['64601:100'] } };
const PREFIX = '192.168.1.0/24';

/** A router with the VRF red, told of to others with this next hop. */
function edge(net: SimNet, name: string, nextHop: string) {
  let router!: SimRouter;
  const room = roomOf(64601, () => router, RED);
  router = net.router(name, { asn: 64601, vpn: room });
  return { router, red: vrf(net, room, 'red', 64601, nextHop) };
}

/**
 * Two edges with the same prefix and a third that is told one of them by a reflector.
 * @param costIn what VRFs of the reflector reach, as `VpnRoomOptions` @param vrfs of the reflector
 */
function network(vrfs: Targets = {}, costIn: (vrf: string, address: Addr) => number | undefined = () => undefined) {
  const net = new SimNet(11);
  const a = edge(net, 'a', '10.1.0.1');
  const b = edge(net, 'b', '10.1.0.2');
  let reflector!: SimRouter;
  const room: VpnRoom = roomOf(64601, () => reflector, vrfs, costIn);
  reflector = net.router('r', { asn: 64601, vpn: room });
  const c = edge(net, 'c', '10.1.0.3');
  for (const { router } of [a, b, c]) net.join(reflector, router, CLIENT, { families });
  /** Interior costs as the reflector's table has them. */
  const costs = new Map([
    ['10.1.0.1', 1],
    ['10.1.0.2', 2],
  ]);
  const resolve = (address: Addr, link: string): Via | undefined => {
    const cost = costs.get(String(address));
    return cost === undefined ? undefined : { address, link, cost };
  };
  Object.assign(reflector, { resolve });
  const tableChanged = (): void => {
    reflector.linkChanged('', true);
    net.run(1000);
  };
  for (const { red } of [a, b]) announce(red, PREFIX);
  net.start();
  net.run(20_000);
  return { net, room, reflector, a: a.router, c: c.red, costs, tableChanged };
}

const unreachable = (room: VpnRoom): string[] =>
  [...room.routes(0)].flat().flatMap((r) => (r.cost === Infinity ? [String(r.bundle.hop.global)] : []));

test('of two routes with one distinguisher the one with the nearer next hop is told, and it follows the table', (t) => {
  const { c, costs, reflector, tableChanged } = network();
  t.is(c.fib.get(PREFIX), '10.1.0.1');
  costs.set('10.1.0.1', 3);
  tableChanged();
  t.is(c.fib.get(PREFIX), '10.1.0.2');
  costs.set('10.1.0.1', 2);
  tableChanged();
  t.is(c.fib.get(PREFIX), '10.1.0.1', 'equal costs: the lower identifier');
  const told = (): number => reflector.session('c').messages.sent.update;
  const before = told();
  tableChanged();
  t.is(told(), before, 'nothing has changed');
});

test('a route whose next hop cannot be reached is not told, and comes back when it can', (t) => {
  const { room, c, costs, reflector, tableChanged } = network();
  costs.delete('10.1.0.1');
  tableChanged();
  t.is(c.fib.get(PREFIX), '10.1.0.2');
  t.deepEqual(unreachable(room), ['10.1.0.1']);
  costs.clear();
  tableChanged();
  t.false(c.fib.has(PREFIX));
  t.deepEqual(unreachable(room).sort(), ['10.1.0.1', '10.1.0.2']);
  t.is(room.counts.learned, 2, 'both are held');
  costs.set('10.1.0.2', 5);
  tableChanged();
  t.is(c.fib.get(PREFIX), '10.1.0.2');
  t.is(reflector.session('a').establishments, 1);
});

test('a session that begins anew has its next hops looked up anew', (t) => {
  const { net, room, a, c, costs, reflector, tableChanged } = network();
  costs.clear();
  tableChanged();
  costs.set('10.1.0.1', 1);
  a.speaker.peerReset('r');
  net.run(60_000);
  t.is(reflector.session('a').establishments, 2);
  t.is(c.fib.get(PREFIX), '10.1.0.1');
  costs.set('10.1.0.2', 0);
  tableChanged();
  t.is(c.fib.get(PREFIX), '10.1.0.2');
  t.deepEqual(unreachable(room), []);
});

test('what a VRF that imports the route reaches can be told, although the table of the session does not know it', (t) => {
  let cost: number | undefined;
  const { net, room, c, costs, tableChanged } = network({ red: { ...RED.red, rd: '64601:9' } }, () => cost);
  costs.clear();
  tableChanged();
  t.false(c.fib.has(PREFIX));
  cost = 1;
  room.nextHopsChanged();
  net.run(1000);
  t.is(c.fib.get(PREFIX), '10.1.0.1');
  room.setVrfs(vrfsOf({ red: { ...RED.red, rd: '64601:9', import: [] } }));
  net.run(1000);
  t.false(c.fib.has(PREFIX), 'a VRF that does not import it has no say');
});
