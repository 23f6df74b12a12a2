/** Routes that lead into another VRF: transit, our own addresses there, packets of our own, and what does not go on. */
import test from 'ava';
import { crossTo } from '../../../router/fib/shared.ts';
import { Errno } from '../../../router/stack/port.ts';
import { echo, icmp4, ip4, ip6, udp } from '../../kit/packets.ts';
import { Rig, to, words } from '../../kit/stack.ts';

const A = 1;
const B = 2;

/** VRF a with link 1 and 10.1/16 behind it, VRF b with link 2 and 10.2/16; each has a route into the other. */
function rig() {
  const r = new Rig();
  for (const vrf of [A, B]) r.link(90 + vrf, [], { isLoopback: true, vrf });
  const a = r.link(1, ['192.168.1.1/24', 'fd01::1/64'], { vrf: A });
  const b = r.link(2, ['192.168.2.1/24', 'fd02::1/64'], { vrf: B });
  r.fib.add('10.1.0.0/16', 1, A).add('2001:db8:1::/48', 1, A).add('192.168.1.0/24', 1, A).add('fd01::/64', 1, A);
  r.fib.add('10.2.0.0/16', 2, B).add('2001:db8:2::/48', 2, B).add('192.168.2.0/24', 2, B).add('fd02::/64', 2, B);
  for (const [vrf, other, n] of [
    [A, B, 2],
    [B, A, 1],
  ] as const) {
    const far = crossTo(other);
    r.fib.add(`10.${n}.0.0/16`, far, vrf).add(`2001:db8:${n}::/48`, far, vrf);
    r.fib.add(`192.168.${n}.0/24`, far, vrf).add(`fd0${n}::/64`, far, vrf);
  }
  return { r, a, b };
}

test('transit goes on by the table of the other VRF, one hop in all, both ways and in both families', (t) => {
  const { r, a, b } = rig();
  r.inject(a, ip4({ src: '10.1.0.5', dst: '10.2.0.9', ttl: 9 }, udp({ src: 1000, dst: 53 }, 'query')));
  t.like(b.take()[0], { src: '10.1.0.5', dst: '10.2.0.9', ttl: 8, udp: { text: 'query' } });
  r.inject(b, ip4({ src: '10.2.0.9', dst: '10.1.0.5', ttl: 9 }, udp({ src: 53, dst: 1000 }, 'answer')));
  t.like(a.take()[0], { dst: '10.1.0.5', ttl: 8, udp: { text: 'answer' } });
  r.inject(a, ip6({ src: '2001:db8:1::5', dst: '2001:db8:2::9', hopLimit: 9 }, udp({ src: 1000, dst: 53 }, 'query')));
  t.like(b.take()[0], { dst: '2001:db8:2::9', ttl: 8, udp: { text: 'query' } });
  t.deepEqual(r.dropped, {});
});

test('our own address in another VRF answers, and the answer finds its way back', (t) => {
  const { r, a } = rig();
  r.inject(a, ip4({ src: '10.1.0.5', dst: '192.168.2.1' }, echo(4, 7, 1, 'ping')));
  t.like(a.take()[0], { src: '192.168.2.1', dst: '10.1.0.5', icmp: { type: 0, id: 7, text: 'ping' } });
  r.inject(a, ip6({ src: '2001:db8:1::5', dst: 'fd02::1' }, echo(6, 7, 1, 'ping')));
  t.like(a.take()[0], { src: 'fd02::1', dst: '2001:db8:1::5', icmp: { type: 129, id: 7, text: 'ping' } });
  // Nobody outside has an address of ours.
  r.inject(a, ip4({ src: '192.168.2.1', dst: '192.168.2.1' }, echo(4, 7, 1, 'forged')));
  r.inject(a, ip6({ src: 'fd02::1', dst: 'fd02::1' }, echo(6, 7, 1, 'forged')));
  t.deepEqual(r.dropped, { 'martian-source': 2 });
});

test('a socket of one VRF reaches the other with an address of its own VRF, and is answered', (t) => {
  const { r, b } = rig();
  const { udp: layer } = r.stack;
  const inbox = r.inbox();
  const e = layer.open(A, 4, inbox);
  const payload = r.put('hello');
  t.is(layer.send(e, to('10.2.0.9', 53), payload.at, payload.length), 0);
  const [sent] = b.take();
  t.like(sent, { src: '192.168.1.1', dst: '10.2.0.9', udp: { text: 'hello' } });
  r.inject(b, ip4({ src: '10.2.0.9', dst: '192.168.1.1' }, udp({ src: 53, dst: sent!.udp!.src }, 'hi')));
  t.deepEqual(
    inbox.received.map((d) => d.text),
    ['hi'],
  );
  const six = layer.open(A, 6, inbox);
  t.is(layer.send(six, to('2001:db8:2::9', 53), payload.at, payload.length), 0);
  t.like(b.take()[0], { src: 'fd01::1', dst: '2001:db8:2::9' });
});

test('what the other VRF has no way for, or leads into a third one, is told to the sender as having no route', (t) => {
  const { r, a, b } = rig();
  r.fib.add('10.3.0.0/16', crossTo(B), A).add('10.4.0.0/16', crossTo(B), A).add('10.4.0.0/16', crossTo(A), B);
  for (const dst of ['10.3.0.1', '10.4.0.1']) {
    r.inject(a, ip4({ src: '10.1.0.5', dst }, udp({ src: 1, dst: 2 })));
    t.like(a.take()[0], { src: '192.168.1.1', dst: '10.1.0.5', icmp: { type: 3, code: 0 } });
  }
  t.is(b.sent.length, 0);
  t.deepEqual(r.dropped, { 'no-route': 2 });
  const { udp: layer } = r.stack;
  const e = layer.open(A, 4, r.inbox());
  t.is(layer.send(e, to('10.4.0.1', 53), r.put('x').at, 1), Errno.ENETUNREACH);
});

test('errors about packets that have crossed reach the sender in its VRF', (t) => {
  const { r, a, b } = rig();
  r.inject(a, ip4({ src: '10.1.0.5', dst: '10.2.0.9', ttl: 1 }, udp({ src: 1, dst: 2 })));
  t.like(a.take()[0], { src: '192.168.1.1', dst: '10.1.0.5', icmp: { type: 11 } });
  // An error of a router beyond, about a packet of ours.
  const inbox = r.inbox();
  const e = r.stack.udp.open(A, 4, inbox);
  const payload = r.put('x');
  t.is(e.connect(...words('10.2.0.9'), 0, 53), 0);
  r.stack.udp.send(e, to('10.2.0.9', 53), payload.at, payload.length);
  const [sent] = b.takeRaw();
  r.inject(b, ip4({ src: '10.2.0.1', dst: '192.168.1.1' }, icmp4(3, 3, 0, sent!.bytes)));
  t.deepEqual(inbox.errors, [Errno.ECONNREFUSED]);
});

test('some flows cross where one of several next hops leads into another VRF', (t) => {
  const { r, a, b } = rig();
  const c = r.link(3, ['192.168.3.1/24'], { vrf: A });
  r.fib.add('10.5.0.0/16', [3, crossTo(B)], A).add('10.5.0.0/16', 2, B);
  for (let port = 1000; port < 1064; port++)
    r.inject(a, ip4({ src: '10.1.0.5', dst: '10.5.0.1' }, udp({ src: port, dst: 53 })));
  const [here, there] = [c.take().length, b.take().length];
  t.is(here + there, 64);
  t.true(here > 10 && there > 10, `${here} and ${there}`);
});
