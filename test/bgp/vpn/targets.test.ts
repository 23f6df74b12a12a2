/** Route targets of VRFs that change while sessions go on: whoever imports what differs hears of that alone. */
import test from 'ava';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, type Targets, type VrfSim, vrf, vrfsOf } from '../kit/vpn.ts';

const BEFORE: Targets = {
  red: { rd: '64601:1', import: ['64601:100'], export: ['64601:100'] },
  blue: { rd: '64601:2', import: [], export: ['64601:200'] },
};

/** Two routers; the first one has two VRFs, of which `red` talks to the other router and `blue` to nobody. */
function network() {
  const net = new SimNet(4364);
  let a!: SimRouter;
  let b!: SimRouter;
  const roomA = roomOf(64601, () => a, BEFORE);
  const roomB = roomOf(64601, () => b, { red: { rd: '64601:3', import: ['64601:100'], export: ['64601:100'] } });
  a = net.router('a', { asn: 64601, vpn: roomA });
  b = net.router('b', { asn: 64601, vpn: roomB });
  net.join(a, b, { families: ['ipv4', 'vpnv4', 'vpnv6'] });
  const vrfs = {
    red: vrf(net, roomA, 'red', 64601, '10.1.0.1'),
    blue: vrf(net, roomA, 'blue', 64601, '10.2.0.1'),
    far: vrf(net, roomB, 'red', 64601, '10.1.0.2'),
  };
  announce(vrfs.red, '192.168.1.0/24');
  announce(vrfs.blue, '192.168.2.0/24');
  announce(vrfs.far, '192.168.3.0/24', 'fd03::/48');
  net.start();
  net.runUntil(() => vrfs.red.fib.size === 2 && vrfs.far.fib.size === 1);
  net.run(1000);
  return { net, a, b, roomA, ...vrfs };
}

/** What each room has now. */
const present = new WeakMap<VpnRoom, Targets>();
function set(room: VpnRoom, name: keyof typeof BEFORE, imports: string[], exports: string[]): void {
  const before = present.get(room) ?? BEFORE;
  const now = { ...before, [name]: { ...before[name]!, import: imports, export: exports } };
  present.set(room, now);
  room.setVrfs(vrfsOf(now));
}
const known = ({ fib }: VrfSim): string[] => [...fib].map(([prefix, hop]) => `${prefix} ${hop}`).sort();

test('a VRF that imports more gets what is there already, from peers and from VRFs beside it, and loses it again', (t) => {
  const { net, a, roomA, red, blue } = network();
  t.deepEqual(known(blue), []);
  const changes = red.changes;
  set(roomA, 'blue', ['64601:100'], ['64601:200']);
  net.run(1000);
  t.deepEqual(known(blue), ['192.168.1.0/24 10.1.0.1@(vrf red)', '192.168.3.0/24 10.1.0.2', 'fd03::/48 fd00::2']);
  t.is(red.changes, changes, 'the VRF whose targets stay does not hear');
  set(roomA, 'blue', [], ['64601:200']);
  net.run(1000);
  t.deepEqual(known(blue), []);
  t.is(a.session('b').establishments, 1);
});

test('what a VRF exports by other targets goes to whoever imports those, and leaves the others', (t) => {
  const { net, a, roomA, far, red } = network();
  const told = (): number => a.session('b').messages.sent.update;
  const before = told();
  set(roomA, 'blue', [], ['64601:100']);
  net.run(1000);
  t.deepEqual(known(far), ['192.168.1.0/24 10.1.0.1', '192.168.2.0/24 10.2.0.1']);
  t.true(red.fib.has('192.168.2.0/24'), 'also on this router');
  t.is(told() - before, 1, 'the peer is told the one route');
  set(roomA, 'red', ['64601:100'], ['64601:300']);
  net.run(1000);
  t.deepEqual(known(far), ['192.168.2.0/24 10.2.0.1']);
  set(roomA, 'red', ['64601:100'], ['64601:300']);
  net.run(1000);
  t.is(told() - before, 2, 'nothing that stays is told again');
  t.is(a.session('b').establishments, 1);
});

test('targets that change twice in a row are those of the last change', (t) => {
  const { net, roomA, far } = network();
  set(roomA, 'blue', [], ['64601:100']);
  set(roomA, 'blue', ['64601:100'], ['64601:100']);
  net.run(1000);
  t.true(far.fib.has('192.168.2.0/24'));
});

test('a VRF that changes its targets goes on with them: later routes are judged by the new ones', (t) => {
  const { net, roomA, blue, far } = network();
  set(roomA, 'blue', ['64601:100'], ['64601:100']);
  net.run(1000);
  announce(blue, '192.168.22.0/24');
  announce(far, '192.168.33.0/24');
  net.run(1000);
  t.true(far.fib.has('192.168.22.0/24'));
  t.true(blue.fib.has('192.168.33.0/24'));
});
