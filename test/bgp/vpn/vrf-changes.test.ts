/** VRFs that come, go and get another distinguisher while sessions go on: whoever has or is told what differs hears of that alone. */
import test from 'ava';
import { distinguisherText } from '../../../bgp/vpn/route-distinguisher.ts';
import type { VpnRoom } from '../../../bgp/vpn/vpn-room.ts';
import { roomPeers, vrfLink } from '../../../bgp/vpn/vrf-peers.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { announce, roomOf, type Targets, type VrfSim, vrf, vrfsOf } from '../kit/vpn.ts';

const ALL = ['64601:100'];
const RED = { rd: '64601:1', import: ALL, export: ALL };
const BLUE = { rd: '64601:2', import: ALL, export: ALL };

/** Two routers; the first one has the VRFs `red` and `blue`, the other one `red`, and all import what all export. */
function network() {
  const net = new SimNet(4364);
  let a!: SimRouter;
  let b!: SimRouter;
  const roomA = roomOf(64601, () => a, { red: RED, blue: BLUE });
  const roomB = roomOf(64601, () => b, { red: { ...RED, rd: '64601:3' } });
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
  announce(vrfs.far, '192.168.3.0/24');
  net.start();
  net.run(5000);
  return { net, a, b, roomA, roomB, ...vrfs };
}

const known = ({ fib }: VrfSim): string[] => [...fib].map(([prefix, hop]) => `${prefix} ${hop}`).sort();
const table = (room: VpnRoom): string[] =>
  [...room.routes(0)]
    .flat()
    .map((r) => `${distinguisherText(r.name.rd)} ${r.name.prefix}`)
    .sort();
const set = (room: VpnRoom, vrfs: Targets): void => room.setVrfs(vrfsOf(vrfs));

/** Join a VRF's speaker to another VRF of its router. */
function meet({ speaker }: VrfSim, other: string): void {
  const joining = { asn: 64601, imports: true, exports: true, nextHop4: undefined, nextHop6: undefined };
  speaker.addPeer(roomPeers([other], joining).find((p) => p.name === vrfLink(other))!);
}

test('a VRF with another distinguisher is told to others under that one, and those who import it notice nothing', (t) => {
  const { net, a, roomA, roomB, red, blue, far } = network();
  t.deepEqual(table(roomB), ['64601:1 192.168.1.0/24', '64601:2 192.168.2.0/24', '64601:3 192.168.3.0/24']);
  const [before, changes] = [known(far), [red, blue].map((v) => v.changes)];
  set(roomA, { red: RED, blue: { ...BLUE, rd: '64601:9' } });
  net.run(1000);
  t.deepEqual(table(roomB), ['64601:1 192.168.1.0/24', '64601:3 192.168.3.0/24', '64601:9 192.168.2.0/24']);
  t.deepEqual(known(far), before);
  t.deepEqual(
    [red, blue].map((v) => v.changes),
    changes,
  );
  t.is(a.session('b').establishments, 1);
  announce(blue, '192.168.22.0/24');
  net.run(1000);
  t.true(table(roomB).includes('64601:9 192.168.22.0/24'));
  blue.speaker.withdraw(Prefix.parse('192.168.2.0/24')!);
  net.run(1000);
  t.false(table(roomB).some((line) => line.endsWith('192.168.2.0/24')));
});

test('two VRFs exchange their distinguishers', (t) => {
  const { net, roomA, roomB, red, blue, far } = network();
  announce(red, '192.168.9.0/24');
  announce(blue, '192.168.9.0/24');
  net.run(1000);
  const before = [...far.fib.keys()].sort();
  set(roomA, { red: { ...RED, rd: BLUE.rd }, blue: { ...BLUE, rd: RED.rd } });
  net.run(1000);
  const own = ['64601:1 192.168.2.0/24', '64601:1 192.168.9.0/24', '64601:2 192.168.1.0/24', '64601:2 192.168.9.0/24'];
  t.deepEqual(table(roomB), [...own, '64601:3 192.168.3.0/24']);
  t.deepEqual(table(roomA), table(roomB));
  t.deepEqual([...far.fib.keys()].sort(), before);
});

test('a VRF that comes gets what is there and is told to all, and leaves nothing behind when it goes', (t) => {
  const { net, a, roomA, roomB, red, blue, far } = network();
  const before = [red, blue, far].map(known);
  set(roomA, { red: RED, blue: BLUE, green: { ...RED, rd: '64601:4' } });
  for (const v of [red, blue]) meet(v, 'green');
  const green = vrf(net, roomA, 'green', 64601, '10.4.0.1');
  announce(green, '192.168.4.0/24');
  net.run(5000);
  t.deepEqual(known(green), [
    '192.168.1.0/24 10.1.0.1@(vrf red)',
    '192.168.2.0/24 10.2.0.1@(vrf blue)',
    '192.168.3.0/24 10.1.0.2',
  ]);
  t.is(red.fib.get('192.168.4.0/24'), '10.4.0.1@(vrf green)');
  t.is(far.fib.get('192.168.4.0/24'), '10.4.0.1');
  set(roomA, { red: RED, blue: BLUE });
  for (const v of [red, blue]) v.speaker.removePeer(vrfLink('green'));
  green.speaker.reconfigure({ peers: [] });
  green.speaker.abandon();
  net.run(5000);
  t.deepEqual([red, blue, far].map(known), before);
  t.is(table(roomB).length, 3);
  t.deepEqual(roomA.vrfs, ['red', 'blue']);
  t.is(a.session('b').establishments, 1);
});

test('a VRF that goes and comes at once is another one: nothing of the first is left', (t) => {
  const { net, roomA, roomB, red, blue } = network();
  set(roomA, { red: RED });
  set(roomA, { red: RED, blue: BLUE });
  red.speaker.removePeer(vrfLink('blue'));
  meet(red, 'blue');
  blue.speaker.reconfigure({ peers: [] });
  blue.speaker.abandon();
  const again = vrf(net, roomA, 'blue', 64601, '10.2.0.1');
  announce(again, '192.168.22.0/24');
  net.run(5000);
  t.deepEqual(table(roomB), ['64601:1 192.168.1.0/24', '64601:2 192.168.22.0/24', '64601:3 192.168.3.0/24']);
  t.deepEqual(known(again), ['192.168.1.0/24 10.1.0.1@(vrf red)', '192.168.3.0/24 10.1.0.2']);
  t.deepEqual([...red.fib.keys()].sort(), ['192.168.22.0/24', '192.168.3.0/24']);
});

test('two VRFs cannot have one distinguisher, and nothing has changed then', (t) => {
  const { roomA } = network();
  t.throws(() => set(roomA, { red: RED, blue: { ...BLUE, rd: RED.rd } }), { instanceOf: RangeError });
  t.deepEqual(table(roomA), ['64601:1 192.168.1.0/24', '64601:2 192.168.2.0/24', '64601:3 192.168.3.0/24']);
});

test('a session that comes up hears End-of-RIB although a VRF has gone before it told its table', (t) => {
  const told = [false, true].map((isChanged) => {
    const { net, a, b, roomA } = network();
    if (isChanged) {
      set(roomA, { red: RED, blue: BLUE, green: { ...RED, rd: '64601:4' } });
      set(roomA, { red: RED, blue: BLUE });
    }
    const before = a.session('b').messages.sent.update;
    b.speaker.peerReset('a');
    net.run(60_000);
    t.is(a.session('b').establishments, 2);
    return a.session('b').messages.sent.update - before;
  });
  t.is(told[0], told[1]);
});
