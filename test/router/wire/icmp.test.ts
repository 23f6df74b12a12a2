import test from 'ava';
import { icmp4Mtu, icmp6Mtu, QuotedPacket } from '../../../router/wire/icmp.ts';
import { echo, extension, icmp4, icmp6, ip4, ip6, octets, tcp, udp } from '../../kit/packets.ts';
import { words } from '../../kit/stack.ts';

const V4 = { src: '10.0.0.1', dst: '192.0.2.9' };
const V6 = { src: '2001:db8::1', dst: '2001:db8:9::9' };

test('a quoted packet gives addresses, ports and the word after them', (t) => {
  const q = new QuotedPacket();
  const p = ip4(V4, tcp({ src: 1000, dst: 80, seq: 0x89abcdef }, octets(50)));
  t.true(q.parse(p.slice(0, 28), 0, 28, true));
  t.like(q, { isV4: true, protocol: 6, srcPort: 1000, dstPort: 80, word: 0x89abcdef | 0, length: p.length });
  t.deepEqual([q.s0, q.s1, q.s2, q.s3], words('10.0.0.1'));
  t.deepEqual([q.d0, q.d1, q.d2, q.d3], words('192.0.2.9'));
  const p6 = ip6(V6, extension(60, octets(6).fill(0), udp({ src: 7, dst: 8 }, 'abc')));
  t.true(q.parse(p6, 0, p6.length, false));
  t.like(q, { isV4: false, protocol: 17, srcPort: 7, dstPort: 8 });
  t.deepEqual([q.d0, q.d1, q.d2, q.d3], words('2001:db8:9::9'));
});

test('a quoted echo request gives its identifier', (t) => {
  const q = new QuotedPacket();
  const p = ip4(V4, echo(4, 4242, 7));
  t.true(q.parse(p, 0, p.length, true));
  t.is(q.srcPort, 4242);
  const p6 = ip6(V6, echo(6, 4243, 7));
  t.true(q.parse(p6, 0, p6.length, false));
  t.is(q.srcPort, 4243);
});

test('what is too short, a later fragment or the other family is refused', (t) => {
  const q = new QuotedPacket();
  const p = ip4(V4, udp({ src: 1, dst: 2 }));
  t.false(q.parse(p, 0, 27, true));
  t.false(q.parse(p, 0, p.length, false));
  const later = ip4({ ...V4, offset: 8, protocol: 17 }, octets(20));
  t.false(q.parse(later, 0, later.length, true));
  const reply = ip4(V4, icmp4(0, 0, 1));
  t.false(q.parse(reply, 0, reply.length, true));
});

test('MTU fields are read as each family has them', (t) => {
  const b4 = icmp4(3, 4, 1400).encode(new Uint8Array(4), new Uint8Array(4));
  t.is(icmp4Mtu(b4, 0), 1400);
  const b6 = icmp6(2, 0, 0xffffffff).encode(new Uint8Array(16), new Uint8Array(16));
  t.is(icmp6Mtu(b6, 0), 65575);
});
