import test from 'ava';
import type { PingEndpoint } from '../../../router/stack/ping.ts';
import { DatagramSpec } from '../../../router/stack/port.ts';
import { echo, icmp4, icmp6, ip4, ip6, octets } from '../../kit/packets.ts';
import { Inbox, Rig, to, words } from '../../kit/stack.ts';

class PingInbox extends Inbox<PingEndpoint> {}

test('an echo request to our IPv4 address is answered from that address with the same data', (t) => {
  const rig = new Rig();
  rig.fib.add('192.0.2.0/24', 1);
  const a = rig.link(1, ['10.0.0.1/24']);
  rig.inject(a, ip4({ src: '192.0.2.7', dst: '10.0.0.1', tos: 0x20 }, echo(4, 77, 5, 'hello')));
  t.like(a.take(), [
    {
      src: '10.0.0.1',
      dst: '192.0.2.7',
      ttl: 64,
      tos: 0x20,
      icmp: { type: 0, code: 0, id: 77, seq: 5, text: 'hello' },
    },
  ]);
  t.is(rig.events('echo-replies-sent'), 1);
});

test('an echo request to our IPv6 address is answered', (t) => {
  const rig = new Rig();
  rig.fib.add('2001:db8:1::/48', 1);
  const a = rig.link(1, ['2001:db8::1/64']);
  rig.inject(a, ip6({ src: '2001:db8:1::9', dst: '2001:db8::1', flowLabel: 0x12345 }, echo(6, 1, 2, octets(33))));
  const [reply] = a.take();
  t.like(reply, { src: '2001:db8::1', dst: '2001:db8:1::9', flowLabel: 0x12345, icmp: { type: 129, id: 1, seq: 2 } });
  t.deepEqual(reply!.icmp!.data, octets(33));
});

test('link-local echo is answered on the link it came by, without any route', (t) => {
  const rig = new Rig();
  const a = rig.link(1, ['fe80::1/64']);
  const b = rig.link(2, ['fe80::1/64']);
  rig.inject(b, ip6({ src: 'fe80::2', dst: 'fe80::1' }, echo(6, 1, 1)));
  t.is(a.sent.length, 0);
  t.like(b.take(), [{ src: 'fe80::1', dst: 'fe80::2', icmp: { type: 129 } }]);
});

test('an echo request to all nodes is answered from the link-local address', (t) => {
  const rig = new Rig();
  const a = rig.link(1, ['2001:db8::1/64', 'fe80::1/64']);
  rig.inject(a, ip6({ src: 'fe80::2', dst: 'ff02::1' }, echo(6, 3, 4, 'x')));
  t.like(a.take(), [{ src: 'fe80::1', dst: 'fe80::2', icmp: { type: 129, id: 3, seq: 4 } }]);
});

test('a link-local address of another link is not ours on this one', (t) => {
  const rig = new Rig();
  rig.link(1, ['fe80::1/64']);
  const b = rig.link(2, ['fe80::5/64']);
  rig.inject(b, ip6({ src: 'fe80::2', dst: 'fe80::1' }, echo(6, 1, 1)));
  t.is(b.sent.length, 0);
  t.is(rig.drops('link-local-transit'), 1);
});

test('an echo request with IPv4 options is answered without them', (t) => {
  const rig = new Rig();
  rig.fib.add('192.0.2.0/24', 1);
  const a = rig.link(1, ['10.0.0.1/24']);
  const options = Uint8Array.of(7, 7, 4, 0, 0, 0, 0, 0); // record route
  rig.inject(a, ip4({ src: '192.0.2.7', dst: '10.0.0.1', options }, echo(4, 1, 1, 'data')));
  t.like(a.take(), [{ length: 32, icmp: { type: 0, text: 'data' } }]);
});

test('a wrong ICMP checksum is dropped in both families', (t) => {
  const rig = new Rig();
  const a = rig.link(1, ['10.0.0.1/24', '2001:db8::1/64']);
  for (const p of [
    ip4({ src: '10.0.0.2', dst: '10.0.0.1' }, echo(4, 1, 1, 'abc')),
    ip6({ src: '2001:db8::2', dst: '2001:db8::1' }, echo(6, 1, 1, 'abc')),
  ]) {
    p[p.length - 1]! ^= 1;
    rig.inject(a, p);
  }
  t.deepEqual(rig.dropped, { 'bad-transport-checksum': 2 });
});

test('a reply larger than the path goes out in fragments', (t) => {
  const rig = new Rig();
  rig.fib.add('192.0.2.0/24', 1).add('2001:db8:1::/48', 1);
  const a = rig.link(1, ['10.0.0.1/24', '2001:db8::1/64'], { mtu: 1280 });
  rig.inject(a, ip4({ src: '192.0.2.7', dst: '10.0.0.1' }, echo(4, 1, 1, octets(3000))));
  t.is(a.take().length, 3);
  rig.inject(a, ip6({ src: '2001:db8:1::7', dst: '2001:db8::1' }, echo(6, 1, 1, octets(3000))));
  const parts = a.take();
  t.is(parts.length, 3);
  t.true(parts.every((p) => p.length <= 1280 && p.fragment !== undefined));
});

test('ping endpoints send with their own identifier and receive only their replies', (t) => {
  const rig = new Rig();
  rig.fib.add('192.0.2.0/24', 1).add('2001:db8:1::/48', 1);
  const a = rig.link(1, ['10.0.0.1/32', '2001:db8::1/128']);
  for (const [isV4, dst, us] of [
    [true, '192.0.2.7', '10.0.0.1'],
    [false, '2001:db8:1::7', '2001:db8::1'],
  ] as const) {
    const inbox = new PingInbox(rig.world);
    const e = rig.stack.ping.open(0, isV4, inbox);
    const request = isV4
      ? ip4({ src: us, dst }, echo(4, 999, 3, 'ping!'))
      : ip6({ src: us, dst }, echo(6, 999, 3, 'ping!'));
    const { at, length } = rig.put(request.subarray(isV4 ? 20 : 40));
    t.is(e.send(to(dst, 0), at, length), 0);
    const [out] = a.take();
    t.like(out, { src: us, dst, icmp: { type: isV4 ? 8 : 128, id: e.id, seq: 3, text: 'ping!' } });
    t.not(e.id, 0);
    const reply = (id: number) =>
      isV4
        ? ip4({ src: dst, dst: us, ttl: 60 }, icmp4(0, 0, id * 65536 + 3, 'ping!'))
        : ip6({ src: dst, dst: us, hopLimit: 60 }, icmp6(129, 0, id * 65536 + 3, 'ping!'));
    rig.inject(a, reply(e.id));
    rig.inject(a, reply(e.id ^ 1));
    t.is(inbox.received.length, 1);
    t.like(inbox.received[0]!.info, { isV4, link: 1, ttl: 60, localPort: e.id });
    t.is(inbox.received[0]!.bytes.length, 13);
    e.close();
    rig.inject(a, reply(e.id));
    t.is(inbox.received.length, 1);
  }
});

test('a connected ping endpoint hears of unreachable hosts', (t) => {
  const rig = new Rig();
  rig.fib.add('192.0.2.0/24', 1);
  const a = rig.link(1, ['10.0.0.1/32']);
  const inbox = new PingInbox(rig.world);
  const e = rig.stack.ping.open(0, true, inbox);
  t.is(e.connect(...words('192.0.2.7'), 0), 0);
  const { at, length } = rig.put(ip4({ src: '10.0.0.1', dst: '192.0.2.7' }, echo(4, 0, 1)).subarray(20));
  t.is(e.send(new DatagramSpec(), at, length), 0);
  const [sent] = a.takeRaw();
  rig.inject(a, ip4({ src: '198.51.100.1', dst: '10.0.0.1' }, icmp4(3, 1, 0, sent!.bytes)));
  t.deepEqual(inbox.errors, [113]);
});
