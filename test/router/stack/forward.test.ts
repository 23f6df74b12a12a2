import test from 'ava';
import { RouteKind } from '../../../router/fib/shared.ts';
import { GsoType, RecordFlag } from '../../../router/lib/link.ts';
import { ReversePath } from '../../../router/stack/links.ts';
import { decode } from '../../kit/checkers.ts';
import {
  concat,
  echo,
  extension,
  icmp4,
  icmp6,
  ip4,
  ip6,
  mssOption,
  octets,
  raw,
  tcp,
  udp,
} from '../../kit/packets.ts';
import { Rig, type TestLink } from '../../kit/stack.ts';

interface Transit {
  readonly rig: Rig;
  readonly a: TestLink;
  readonly b: TestLink;
}

/** Two links; 10.1/16 and 2001:db8:1::/48 behind the first, 10.2/16 and 2001:db8:2::/48 behind the second. */
function transit(o: { mtuA?: number; mtuB?: number } = {}): Transit {
  const rig = new Rig();
  rig.fib.add('10.1.0.0/16', 1).add('10.2.0.0/16', 2).add('2001:db8:1::/48', 1).add('2001:db8:2::/48', 2);
  const a = rig.link(1, ['172.20.0.1/32', 'fe80::1/64', 'fd00::1/128'], { mtu: o.mtuA ?? 1420 });
  const b = rig.link(2, ['172.20.0.2/32', 'fe80::1/64', 'fd00::2/128'], { mtu: o.mtuB ?? 1420 });
  return { rig, a, b };
}

const V4 = { src: '10.1.0.5', dst: '10.2.0.9' };
const V6 = { src: '2001:db8:1::5', dst: '2001:db8:2::9' };

test('IPv4 transit lowers TTL by one and keeps everything else', (t) => {
  const { rig, a, b } = transit();
  for (const ttl of [2, 64, 255]) {
    const packet = ip4({ ...V4, ttl, tos: 0xb8, df: true, id: 7 }, udp({ src: 1000, dst: 53 }, 'query'));
    rig.inject(a, packet);
    const [out] = b.take();
    t.like(out, { ...V4, ttl: ttl - 1, tos: 0xb8, df: true, id: 7, udp: { src: 1000, dst: 53, text: 'query' } });
  }
  t.is(a.sent.length, 0);
});

test('the header checksum is right after every TTL decrement', (t) => {
  const { rig, a, b } = transit();
  for (let id = 0; id < 65536; id += 7) {
    rig.inject(a, ip4({ ...V4, ttl: 1 + (id % 254) + 1, id }, udp({ src: 1, dst: 2 })));
    b.take(); // decode() checks it
  }
  t.is(rig.events('forwarded'), Math.ceil(65536 / 7));
});

test('IPv6 transit lowers the hop limit by one and keeps everything else', (t) => {
  const { rig, a, b } = transit();
  rig.inject(a, ip6({ ...V6, hopLimit: 9, trafficClass: 0x28, flowLabel: 0xabcde }, udp({ src: 5, dst: 6 }, 'x')));
  t.like(b.take(), [{ ...V6, ttl: 8, tos: 0x28, flowLabel: 0xabcde, udp: { text: 'x' } }]);
});

test('trailing octets after the IP packet are not forwarded', (t) => {
  const { rig, a, b } = transit();
  rig.inject(a, concat(ip4(V4, udp({ src: 1, dst: 2 }, 'ab')), octets(9)));
  rig.inject(a, concat(ip6(V6, udp({ src: 1, dst: 2 }, 'ab')), octets(9)));
  t.deepEqual(
    b.take().map((p) => p.length),
    [30, 50],
  );
});

test('a packet whose TTL ends here is answered with time exceeded from the incoming link', (t) => {
  const { rig, a, b } = transit();
  const packet4 = ip4({ ...V4, ttl: 1 }, udp({ src: 33000, dst: 33434 }, octets(40)));
  rig.inject(a, packet4);
  const [e4] = a.take();
  t.like(e4, { src: '172.20.0.1', dst: V4.src, tos: 0xc0, icmp: { type: 11, code: 0 } });
  t.deepEqual(e4!.icmp!.data, packet4);
  const packet6 = ip6({ ...V6, hopLimit: 1 }, udp({ src: 33000, dst: 33434 }, octets(40)));
  rig.inject(a, packet6);
  const [e6] = a.take();
  t.like(e6, { src: 'fd00::1', dst: V6.src, icmp: { type: 3, code: 0 } });
  t.deepEqual(e6!.icmp!.data, packet6);
  t.is(b.sent.length, 0);
  t.is(rig.drops('hop-limit'), 2);
});

test('a router without any IPv4 address sends errors from the dummy address', (t) => {
  const rig = new Rig();
  rig.fib.add('10.1.0.0/16', 1).add('10.2.0.0/16', 2);
  const a = rig.link(1, ['fe80::1/64']);
  rig.link(2, ['fe80::1/64']);
  rig.inject(a, ip4({ ...V4, ttl: 1 }, udp({ src: 1, dst: 2 })));
  t.like(a.take(), [{ src: '192.0.0.8', icmp: { type: 11 } }]);
});

test('a packet with DF that is too big is answered with the MTU of the next link', (t) => {
  const { rig, a, b } = transit({ mtuB: 1320 });
  rig.inject(a, ip4({ ...V4, df: true }, udp({ src: 1, dst: 2 }, octets(1320 - 28 + 1))));
  t.like(a.take(), [{ length: 576, icmp: { type: 3, code: 4, rest: 1320 } }]);
  rig.inject(a, ip4({ ...V4, df: true }, udp({ src: 1, dst: 2 }, octets(1320 - 28))));
  t.is(b.take().length, 1);
  rig.inject(a, ip6(V6, udp({ src: 1, dst: 2 }, octets(1320 - 48 + 1))));
  t.like(a.take(), [{ length: 1280, icmp: { type: 2, code: 0, rest: 1320 } }]);
  rig.inject(a, ip6(V6, udp({ src: 1, dst: 2 }, octets(1320 - 48))));
  t.is(b.take().length, 1);
  t.is(rig.drops('too-big'), 2);
});

test('a super-segment is judged by its pieces: it passes when they fit', (t) => {
  const { rig, a, b } = transit({ mtuB: 1320 });
  const gso4 = { flags: RecordFlag.CsumValid | RecordFlag.Gso, gsoType: GsoType.TcpV4, hdrLen: 40, gsoSize: 1280 };
  const packet4 = ip4({ ...V4, df: true }, tcp({ src: 1, dst: 2 }, octets(20000)));
  rig.inject(a, packet4, gso4);
  const [s4] = b.takeRaw();
  t.like(s4, {
    flags: RecordFlag.Gso | RecordFlag.NeedsCsum,
    gsoType: GsoType.TcpV4,
    hdrLen: 40,
    gsoSize: 1280,
    csumStart: 20,
    csumOffset: 16,
  });
  t.like(decode(s4!.bytes, { noTransportChecksum: true }), { ttl: 63, length: packet4.length });
  const gso6 = { flags: RecordFlag.CsumValid | RecordFlag.Gso, gsoType: GsoType.UdpL4, hdrLen: 48, gsoSize: 1272 };
  rig.inject(a, ip6(V6, udp({ src: 1, dst: 2 }, octets(5000))), gso6);
  t.like(b.takeRaw(), [{ gsoType: GsoType.UdpL4, hdrLen: 48, gsoSize: 1272, csumStart: 40, csumOffset: 6 }]);
  t.is(a.sent.length, 0);
});

test('a super-segment whose pieces are too big is answered with the MTU, quoting one piece', (t) => {
  const { rig, a, b } = transit({ mtuB: 1320 });
  rig.inject(a, ip4({ ...V4, df: true }, tcp({ src: 1, dst: 2, seq: 99 }, octets(20000))), {
    flags: RecordFlag.CsumValid | RecordFlag.Gso,
    gsoType: GsoType.TcpV4,
    hdrLen: 40,
    gsoSize: 1281,
  });
  const [e4] = a.take();
  t.like(e4, { icmp: { type: 3, code: 4, rest: 1320 } });
  const quote = e4!.icmp!.data;
  t.is((quote[2]! << 8) | quote[3]!, 40 + 1281);
  rig.inject(a, ip6(V6, tcp({ src: 1, dst: 2 }, octets(20000))), {
    flags: RecordFlag.CsumValid | RecordFlag.Gso,
    gsoType: GsoType.TcpV6,
    hdrLen: 60,
    gsoSize: 1261,
  });
  const [e6] = a.take();
  t.like(e6, { icmp: { type: 2, rest: 1320 } });
  t.is((e6!.icmp!.data[4]! << 8) | e6!.icmp!.data[5]!, 20 + 1261);
  t.is(b.sent.length, 0);
});

test('a super-segment without DF is cut smaller: TCP by segment size, UDP by fragmenting each datagram', (t) => {
  const { rig, a, b } = transit({ mtuB: 600 });
  rig.inject(a, ip4(V4, tcp({ src: 1, dst: 2 }, octets(5000))), {
    flags: RecordFlag.CsumValid | RecordFlag.Gso,
    gsoType: GsoType.TcpV4,
    hdrLen: 40,
    gsoSize: 1000,
  });
  t.like(b.takeRaw(), [{ gsoSize: 560 }]);
  rig.inject(a, ip4(V4, udp({ src: 1, dst: 2 }, octets(2500))), {
    flags: RecordFlag.CsumValid | RecordFlag.Gso,
    gsoType: GsoType.UdpL4,
    hdrLen: 28,
    gsoSize: 1000,
  });
  const parts = b.take();
  t.is(parts.length, 5); // two datagrams of 1000 in two fragments each, one of 500
  t.true(parts.every((p) => p.length <= 600));
  t.is(new Set(parts.map((p) => p.id)).size, 3);
});

test('IPv4 without DF is fragmented in transit, and fragments again', (t) => {
  const { rig, a, b } = transit({ mtuB: 576 });
  const packet = ip4({ ...V4, id: 42 }, udp({ src: 1, dst: 2 }, octets(1300)));
  rig.inject(a, packet);
  const parts = b.take();
  t.is(parts.length, 3);
  t.deepEqual(concat(...parts.map((p) => p.payload)), packet.slice(20));
  t.deepEqual(
    parts.map((p) => p.fragment!.more),
    [true, true, false],
  );
  // a middle fragment keeps its offset and its "more" bit
  rig.inject(a, ip4({ ...V4, id: 43, mf: true, offset: 800, protocol: 17 }, octets(800)));
  t.deepEqual(
    b.take().map((p) => p.fragment),
    [
      { id: 43, offset: 800, more: true },
      { id: 43, offset: 1352, more: true },
    ],
  );
});

test('options without the copied bit stay in the first fragment only', (t) => {
  const { rig, a, b } = transit({ mtuB: 576 });
  const options = Uint8Array.of(7, 3, 4, 0x94, 4, 0, 0, 1); // record route (not copied), router alert (copied)
  rig.inject(a, ip4({ ...V4, options }, udp({ src: 1, dst: 2 }, octets(1000))));
  const [first, second] = b.takeRaw();
  t.deepEqual([...first!.bytes.subarray(20, 28)], [...options]);
  t.deepEqual([...second!.bytes.subarray(20, 28)], [1, 1, 1, 0x94, 4, 0, 0, 1]);
});

test('unroutable packets are answered as their route says, blackholes are silent', (t) => {
  const { rig, a } = transit();
  rig.fib
    .add('10.3.0.0/16', [], 0, RouteKind.Blackhole)
    .add('10.4.0.0/16', [], 0, RouteKind.Unreachable)
    .add('10.5.0.0/16', [], 0, RouteKind.Prohibit)
    .add('10.6.0.0/16', []);
  const codes = ['10.9.0.1', '10.3.0.1', '10.4.0.1', '10.5.0.1', '10.6.0.1'].map((dst) => {
    rig.inject(a, ip4({ src: V4.src, dst }, udp({ src: 1, dst: 2 })));
    return a.take()[0]?.icmp?.code;
  });
  t.deepEqual(codes, [0, undefined, 1, 13, 1]);
  rig.fib.add('2001:db8:4::/48', [], 0, RouteKind.Unreachable).add('2001:db8:5::/48', [], 0, RouteKind.Prohibit);
  const codes6 = ['2001:db8:9::1', '2001:db8:4::1', '2001:db8:5::1'].map((dst) => {
    rig.inject(a, ip6({ src: V6.src, dst }, udp({ src: 1, dst: 2 })));
    return a.take()[0]?.icmp?.code;
  });
  t.deepEqual(codes6, [0, 3, 1]);
});

test('a next link that is down answers host unreachable', (t) => {
  const { rig, a, b } = transit();
  rig.stack.setLinkState(2, false);
  rig.inject(a, ip4(V4, udp({ src: 1, dst: 2 })));
  t.like(a.take(), [{ icmp: { type: 3, code: 1 } }]);
  rig.stack.setLinkState(2, true);
  rig.inject(a, ip4(V4, udp({ src: 1, dst: 2 })));
  t.is(b.take().length, 1);
});

test('link-local addresses are never forwarded', (t) => {
  const { rig, a, b } = transit();
  rig.inject(a, ip6({ src: V6.src, dst: 'fe80::99' }, udp({ src: 1, dst: 2 })));
  t.is(a.sent.length, 0);
  rig.inject(a, ip6({ src: 'fe80::7', dst: V6.dst }, udp({ src: 1, dst: 2 })));
  t.like(a.take(), [{ src: 'fe80::1', dst: 'fe80::7', icmp: { type: 1, code: 2 } }]);
  t.is(b.sent.length, 0);
});

test('martians, our own addresses and impossible headers are dropped without an answer', (t) => {
  const { rig, a, b } = transit();
  const u = udp({ src: 1, dst: 2 });
  const bad: [string, Uint8Array][] = [
    ['martian-source', ip4({ src: '0.1.2.3', dst: V4.dst }, u)],
    ['martian-source', ip4({ src: '127.0.0.1', dst: V4.dst }, u)],
    ['martian-source', ip4({ src: '224.0.0.1', dst: V4.dst }, u)],
    ['martian-source', ip4({ src: '255.255.255.255', dst: V4.dst }, u)],
    ['martian-source', ip4({ src: '172.20.0.2', dst: V4.dst }, u)],
    ['martian-destination', ip4({ src: V4.src, dst: '127.0.0.1' }, u)],
    ['martian-destination', ip4({ src: V4.src, dst: '0.0.0.0' }, u)],
    ['multicast', ip4({ src: V4.src, dst: '224.0.0.5' }, u)],
    ['multicast', ip4({ src: V4.src, dst: '255.255.255.255' }, u)],
    ['martian-source', ip6({ src: '::', dst: V6.dst }, u)],
    ['martian-source', ip6({ src: '::1', dst: V6.dst }, u)],
    ['martian-source', ip6({ src: 'ff02::1', dst: V6.dst }, u)],
    ['martian-source', ip6({ src: '::ffff:10.1.0.5', dst: V6.dst }, u)],
    ['martian-source', ip6({ src: 'fd00::2', dst: V6.dst }, u)],
    ['martian-destination', ip6({ src: V6.src, dst: '::1' }, u)],
    ['martian-destination', ip6({ src: V6.src, dst: '::ffff:172.20.0.1' }, u)],
    ['multicast', ip6({ src: V6.src, dst: 'ff02::2' }, u)],
    ['bad-header-checksum', ip4({ ...V4, checksum: 0x1111 }, u)],
    ['bad-length', ip4({ ...V4, totalLen: 500 }, u)],
    ['bad-length', ip4({ ...V4, totalLen: 19 }, u)],
    ['bad-length', ip6({ ...V6, payloadLen: 500 }, u)],
    ['truncated', ip4(V4, u).subarray(0, 19)],
    ['truncated', ip6(V6, u).subarray(0, 39)],
    ['not-ip', Uint8Array.of(0x55, 1, 2, 3)],
    ['source-route', ip4({ ...V4, options: Uint8Array.of(131, 7, 4, 10, 2, 0, 1, 0) }, u)],
    ['bad-option', ip4({ ...V4, options: Uint8Array.of(7, 60, 4, 0) }, u)],
  ];
  for (const [reason, packet] of bad) {
    const before = rig.drops(reason);
    rig.inject(a, packet);
    t.is(rig.drops(reason), before + 1, `${reason}: ${JSON.stringify(rig.dropped)}`);
  }
  t.is(a.sent.length + b.sent.length, 0);
});

test('errors are never answered with errors, nor are fragments that may belong to one', (t) => {
  const { rig, a } = transit();
  const quote = ip4({ src: V4.dst, dst: V4.src }, udp({ src: 1, dst: 2 }));
  rig.inject(a, ip4({ ...V4, ttl: 1 }, icmp4(3, 1, 0, quote)));
  rig.inject(a, ip4({ ...V4, ttl: 1, offset: 64, protocol: 17 }, octets(16)));
  rig.inject(
    a,
    ip6({ ...V6, hopLimit: 1 }, icmp6(1, 0, 0, ip6({ src: V6.dst, dst: V6.src }, udp({ src: 1, dst: 2 })))),
  );
  rig.inject(a, ip6({ ...V6, hopLimit: 1 }, raw(44, concat(Uint8Array.of(58, 0, 0, 64, 0, 0, 0, 1), octets(16)))));
  t.is(a.sent.length, 0);
  t.is(rig.drops('icmp-suppressed'), 4);
  rig.inject(a, ip4({ ...V4, ttl: 1 }, echo(4, 1, 1)));
  rig.inject(a, ip6({ ...V6, hopLimit: 1 }, echo(6, 1, 1)));
  t.is(a.take().length, 2); // echo requests are no errors
});

test('ICMP errors are limited per destination and in all, path MTU errors only in all', (t) => {
  const { rig, a } = transit({ mtuB: 1300 });
  for (let i = 0; i < 100; i++) rig.inject(a, ip4({ ...V4, ttl: 1 }, udp({ src: 1, dst: 2 })));
  t.is(a.take().length, 20);
  for (let i = 0; i < 100; i++) rig.inject(a, ip4({ ...V4, df: true }, udp({ src: 1, dst: 2 }, octets(1390))));
  t.is(a.take().length, 30);
  rig.advance(1000);
  rig.inject(a, ip4({ ...V4, ttl: 1 }, udp({ src: 1, dst: 2 })));
  t.is(a.take().length, 1);
});

test('flows keep to one of several equal links, and many flows use all of them', (t) => {
  const rig = new Rig();
  rig.fib.add('10.2.0.0/16', [2, 3]).add('2001:db8:2::/48', [2, 3]);
  const a = rig.link(1, []);
  const outs = [rig.link(2, []), rig.link(3, [])];
  const use = (packet: Uint8Array): number => {
    rig.inject(a, packet);
    const at = outs.findIndex((l) => l.sent.length > 0);
    for (const l of outs) l.take();
    return at;
  };
  const seen = [0, 0];
  for (let port = 0; port < 200; port++) {
    const p = ip4(V4, udp({ src: 1000 + port, dst: 53 }));
    const first = use(p);
    seen[first]!++;
    t.is(use(p), first);
  }
  t.true(seen[0]! > 60 && seen[1]! > 60, `${seen}`);
  const seen6 = [0, 0];
  for (let port = 0; port < 200; port++) seen6[use(ip6(V6, tcp({ src: 1000 + port, dst: 80 })))]!++;
  t.true(seen6[0]! > 60 && seen6[1]! > 60, `${seen6}`);
});

test('all fragments of a datagram take one path', (t) => {
  const rig = new Rig();
  rig.fib.add('10.2.0.0/16', [2, 3]);
  const a = rig.link(1, []);
  const [b, c] = [rig.link(2, []), rig.link(3, [])];
  for (let i = 0; i < 20; i++) {
    rig.inject(a, ip4({ ...V4, id: i, mf: true, protocol: 17 }, concat(octets(16, i + 1))));
    rig.inject(a, ip4({ ...V4, id: i, offset: 16, protocol: 17 }, octets(16, i + 50)));
  }
  t.is(b!.sent.length * c!.sent.length, 0);
  t.is(b!.sent.length + c!.sent.length, 40);
});

test('the MSS of a SYN in transit is lowered to what both links carry', (t) => {
  const { rig, a, b } = transit({ mtuA: 1420, mtuB: 1380 });
  const syn = (mss: number, flags: string) => tcp({ src: 1, dst: 2, flags, options: mssOption(mss) });
  const mssOf = (p: { tcp?: { options: Uint8Array } }) => (p.tcp!.options[2]! << 8) | p.tcp!.options[3]!;
  const cases: [Uint8Array, number][] = [
    [ip4(V4, syn(1460, 'S')), 1340],
    [ip4(V4, syn(1460, 'SA')), 1340],
    [ip4(V4, syn(1000, 'S')), 1000],
    [ip4(V4, syn(1460, 'A')), 1460],
    [ip6(V6, syn(1440, 'S')), 1320],
    [ip6(V6, extension(60, Uint8Array.of(1, 4), syn(1440, 'S'))), 1320],
  ];
  for (const [packet, mss] of cases) {
    rig.inject(a, packet);
    t.is(mssOf(b.take()[0]!), mss); // decode() has checked the checksum
  }
  const odd = concat(Uint8Array.of(1), mssOption(1460), Uint8Array.of(1, 1, 0));
  rig.inject(a, ip4(V4, tcp({ src: 1, dst: 2, flags: 'S', options: odd })));
  t.deepEqual([...b.take()[0]!.tcp!.options.subarray(1, 5)], [2, 4, 1340 >> 8, 1340 & 255]);
});

test('MSS clamping can be switched off per link', (t) => {
  const rig = new Rig();
  rig.fib.add('10.2.0.0/16', 2);
  const a = rig.link(1, [], { clampMss: false });
  const b = rig.link(2, [], { clampMss: false });
  rig.inject(a, ip4(V4, tcp({ src: 1, dst: 2, flags: 'S', options: mssOption(9000) })));
  t.deepEqual([...b.take()[0]!.tcp!.options], [...mssOption(9000)]);
});

test('reverse path checks drop what would not go back: strictly, or only without any route', (t) => {
  const rig = new Rig();
  rig.fib.add('10.1.0.0/16', 1).add('10.2.0.0/16', 2).add('10.3.0.0/16', [1, 2]);
  const strict = rig.link(1, [], { reversePath: ReversePath.Strict });
  const loose = rig.link(2, [], { reversePath: ReversePath.Loose });
  const send = (link: TestLink, src: string, dst: string): boolean => {
    rig.inject(link, ip4({ src, dst }, udp({ src: 1, dst: 2 })));
    return strict.take().length + loose.take().length > 0 && rig.drops('reverse-path') === 0;
  };
  t.true(send(strict, '10.1.0.1', '10.2.0.1'));
  t.true(send(strict, '10.3.0.1', '10.2.0.1'));
  t.true(send(loose, '10.1.0.1', '10.1.0.2'));
  t.false(send(strict, '10.2.0.9', '10.2.0.1'));
  t.false(send(loose, '10.99.0.1', '10.1.0.1'));
  t.is(rig.drops('reverse-path'), 2);
});

test('VRFs with the same addresses do not see each other', (t) => {
  const rig = new Rig();
  rig.fib.add('10.2.0.0/16', 2, 0).add('10.2.0.0/16', 4, 1);
  const a0 = rig.link(1, ['10.0.0.1/32']);
  const b0 = rig.link(2, []);
  const a1 = rig.link(3, ['10.0.0.2/32'], { vrf: 1 });
  const b1 = rig.link(4, [], { vrf: 1 });
  rig.inject(a1, ip4(V4, udp({ src: 1, dst: 2 })));
  t.is(b0.sent.length, 0);
  t.is(b1.take().length, 1);
  rig.inject(a0, ip4(V4, udp({ src: 1, dst: 2 })));
  t.is(b0.take().length, 1);
  rig.inject(a1, ip4({ src: '10.1.0.1', dst: '10.0.0.1' }, echo(4, 1, 1)));
  t.is(rig.events('echo-replies-sent'), 0); // 10.0.0.1 is ours in the other VRF only
});

test('a full queue on the next link drops and counts', (t) => {
  const { rig, a, b } = transit();
  b.room = 0;
  rig.inject(a, ip4(V4, udp({ src: 1, dst: 2 })));
  t.is(rig.drops('link-full'), 1);
});

test('addresses of the loopback link are not reached from outside, not even those that are ours', (t) => {
  const rig = new Rig();
  const a = rig.link(2, ['172.20.0.2/24', 'fe80::1/64']);
  rig.link(9, ['127.0.0.1/8', '127.255.255.53/32', 'fe80::35/128'], { isLoopback: true });
  for (const dst of ['127.0.0.1', '127.255.255.53'])
    rig.inject(a, ip4({ src: '172.20.0.9', dst }, udp({ src: 1, dst: 53 })));
  t.deepEqual(rig.dropped, { 'martian-destination': 2 });
  rig.inject(a, ip6({ src: 'fe80::9', dst: 'fe80::35' }, udp({ src: 1, dst: 53 })));
  t.true(
    a.take().every((p) => p.icmp?.code !== 4),
    'no port of ours is spoken of',
  );
});
