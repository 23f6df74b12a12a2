import test from 'ava';
import { GsoType, RecordFlag } from '../../../router/lib/link.ts';
import { DatagramSpec } from '../../../router/stack/port.ts';
import { PathMtuMode } from '../../../router/stack/udp-endpoint.ts';
import { extension, icmp4, icmp6, ip4, ip6, octets, raw, udp } from '../../kit/packets.ts';
import { Rig, type TestLink, to, words } from '../../kit/stack.ts';

function node(): { rig: Rig; a: TestLink } {
  const rig = new Rig();
  rig.fib.add('0.0.0.0/0', 1).add('2000::/3', 1);
  const a = rig.link(1, ['10.0.0.1/24', '10.0.0.2/32', '2001:db8::1/64', 'fe80::1/64']);
  return { rig, a };
}

test('an IPv4 endpoint sends and receives, and learns where datagrams came from', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 4, inbox);
  t.is(e.bind(...words('10.0.0.1'), 0, 5353), 0);
  const { at, length } = rig.put('question');
  t.is(e.send(to('192.0.2.53', 53, { ttl: 9, tos: 0x10 }), at, length), 0);
  t.like(a.take(), [
    { src: '10.0.0.1', dst: '192.0.2.53', ttl: 9, tos: 0x10, df: true, udp: { src: 5353, dst: 53, text: 'question' } },
  ]);
  rig.inject(a, ip4({ src: '192.0.2.53', dst: '10.0.0.1', ttl: 60, tos: 4 }, udp({ src: 53, dst: 5353 }, 'answer')));
  t.like(inbox.received, [{ text: 'answer', gsoSize: 0 }]);
  t.like(inbox.received[0]!.info, { isV4: true, link: 1, scope: 0, remotePort: 53, localPort: 5353, ttl: 60, tos: 4 });
});

test('an IPv6 endpoint sends and receives, over link-local addresses with a scope', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 6, inbox);
  t.is(e.bind(0, 0, 0, 0, 0, 546), 0);
  const { at, length } = rig.put('x');
  t.is(e.send(to('fe80::9', 547), at, length), 22);
  t.is(e.send(to('fe80::9', 547, { scope: 1 }), at, length), 0);
  t.like(a.take(), [{ src: 'fe80::1', dst: 'fe80::9', udp: { src: 546, dst: 547 } }]);
  rig.inject(a, ip6({ src: 'fe80::9', dst: 'fe80::1' }, udp({ src: 547, dst: 546 }, 'y')));
  t.like(inbox.received[0]!.info, { isV4: false, scope: 1 });
});

test('a dual-stack endpoint serves IPv4 with mapped addresses; with v6only it does not', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const dual = rig.stack.udp.open(0, 6, inbox);
  t.is(dual.bind(0, 0, 0, 0, 0, 700), 0);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 700 }, 'four')));
  t.like(inbox.received, [{ text: 'four' }]);
  t.deepEqual([inbox.received[0]!.info.r2, inbox.received[0]!.info.isV4], [0xffff, true]);
  const { at, length } = rig.put('back');
  t.is(dual.send(to('192.0.2.1', 1), at, length), 0);
  t.like(a.take(), [{ version: 4, src: '10.0.0.1', udp: { src: 700 } }]);

  const only = rig.stack.udp.open(0, 6, rig.inbox());
  only.binding.v6only = true;
  t.is(only.bind(0, 0, 0, 0, 0, 701), 0);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 701 })));
  t.like(a.take(), [{ icmp: { type: 3, code: 3 } }]);
  t.is(only.send(to('192.0.2.1', 1), at, length), 101);
});

test('a datagram to a port nobody has is answered with port unreachable from the address it was sent to', (t) => {
  const { rig, a } = node();
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.2' }, udp({ src: 1, dst: 9 })));
  t.like(a.take(), [{ src: '10.0.0.2', dst: '192.0.2.1', icmp: { type: 3, code: 3 } }]);
  rig.inject(a, ip6({ src: '2001:db8:9::1', dst: '2001:db8::1' }, udp({ src: 1, dst: 9 })));
  t.like(a.take(), [{ src: '2001:db8::1', icmp: { type: 1, code: 4 } }]);
  t.is(rig.drops('no-listener'), 2);
});

test('the best match gets the datagram: connected before address before wildcard', (t) => {
  const { rig, a } = node();
  const boxes = [0, 1, 2, 3].map(() => rig.inbox());
  const [any, specific, connected, other] = boxes.map((b) => rig.stack.udp.open(0, 4, b));
  for (const e of [any!, specific!, connected!, other!]) e.binding.reuseAddr = true;
  t.is(any!.bind(...words('0.0.0.0'), 0, 800), 0);
  t.is(specific!.bind(...words('10.0.0.1'), 0, 800), 0);
  t.is(connected!.bind(...words('10.0.0.1'), 0, 800), 0);
  t.is(connected!.connect(...words('192.0.2.1'), 0, 1), 0);
  t.is(other!.bind(...words('0.0.0.0'), 0, 801), 0);
  const count = (): number[] => boxes.map((b) => b.received.splice(0).length);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 800 })));
  t.deepEqual(count(), [0, 0, 1, 0]);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 2, dst: 800 })));
  t.deepEqual(count(), [0, 1, 0, 0]);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.2' }, udp({ src: 1, dst: 800 })));
  t.deepEqual(count(), [1, 0, 0, 0]);
  connected!.close();
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 800 })));
  t.deepEqual(count(), [0, 1, 0, 0]);
});

test('SO_REUSEPORT spreads flows over its group, and each flow stays with one member', (t) => {
  const { rig, a } = node();
  const boxes = [0, 1, 2, 3].map(() => rig.inbox());
  for (const b of boxes) {
    const e = rig.stack.udp.open(0, 6, b);
    e.binding.reusePort = true;
    t.is(e.bind(0, 0, 0, 0, 0, 900), 0);
  }
  for (let round = 0; round < 2; round++)
    for (let port = 1; port <= 400; port++)
      rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: port, dst: 900 })));
  for (const b of boxes) {
    const ports = b.received.map((r) => r.info.remotePort);
    t.true(ports.length > 100, `${ports.length} of 800`);
    t.is(new Set(ports).size * 2, ports.length);
  }
});

test('connect chooses source and port; disconnect forgets what the app did not choose', (t) => {
  const { rig, a } = node();
  const e = rig.stack.udp.open(0, 4, rig.inbox());
  t.is(e.connect(...words('192.0.2.1'), 0, 53), 0);
  t.true(e.binding.port >= 32768 && e.binding.port <= 60999);
  t.is(e.binding.l3, words('10.0.0.1')[3]);
  const { at, length } = rig.put('q');
  t.is(e.send(new DatagramSpec(), at, length), 0);
  t.like(a.take(), [{ src: '10.0.0.1', dst: '192.0.2.1', udp: { dst: 53 } }]);
  e.disconnect();
  t.is(e.binding.port, 0);
  t.true(e.binding.isWildcard);
  t.is(e.send(new DatagramSpec(), at, length), 89);
  t.is(rig.stack.udp.ports.size, 0);
  const bound = rig.stack.udp.open(0, 4, rig.inbox());
  bound.bind(...words('0.0.0.0'), 0, 1234);
  bound.connect(...words('192.0.2.1'), 0, 53);
  bound.disconnect();
  t.is(bound.binding.port, 1234);
  t.true(bound.binding.isWildcard);
  bound.close();
  t.is(rig.stack.udp.ports.size, 0);
});

test('a connected endpoint can be connected elsewhere', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 4, inbox);
  e.bind(...words('0.0.0.0'), 0, 1234);
  e.connect(...words('192.0.2.1'), 0, 53);
  t.is(e.connect(...words('192.0.2.2'), 0, 54), 0);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 53, dst: 1234 }, 'old')));
  rig.inject(a, ip4({ src: '192.0.2.2', dst: '10.0.0.1' }, udp({ src: 54, dst: 1234 }, 'new')));
  t.like(inbox.received, [{ text: 'new' }]);
});

test('errors reach connected endpoints as the errno Linux gives', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 6, inbox);
  e.connect(...words('192.0.2.1'), 0, 53);
  const { at, length } = rig.put(octets(100));
  const sent = (): Uint8Array => {
    e.send(new DatagramSpec(), at, length);
    return a.takeRaw()[0]!.bytes;
  };
  for (const [type, code, errno] of [
    [3, 3, 111],
    [3, 2, 92],
    [3, 13, 113],
    [3, 7, 113],
    [12, 0, 71],
    [3, 0, 0],
    [3, 1, 0],
    [11, 0, 0],
  ] as const) {
    rig.inject(a, ip4({ src: '198.51.100.1', dst: '10.0.0.1' }, icmp4(type, code, 0, sent().slice(0, 28))));
    t.is(inbox.errors.pop() ?? 0, errno, `type ${type} code ${code}`);
  }
  e.reportsAllErrors = true;
  rig.inject(a, ip4({ src: '198.51.100.1', dst: '10.0.0.1' }, icmp4(11, 0, 0, sent().slice(0, 28))));
  t.deepEqual(inbox.errors.splice(0), [113]);
  e.connect(...words('2001:db8:9::1'), 0, 53);
  e.reportsAllErrors = false;
});

test('ICMPv6 errors reach connected endpoints as the errno Linux gives', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 6, inbox);
  t.is(e.connect(...words('2001:db8:9::1'), 0, 53), 0);
  const { at, length } = rig.put(octets(100));
  for (const [type, code, errno] of [
    [1, 4, 111],
    [1, 1, 13],
    [1, 5, 13],
    [4, 1, 71],
    [1, 0, 0],
    [1, 3, 0],
    [3, 0, 0],
  ] as const) {
    e.send(new DatagramSpec(), at, length);
    const quote = a.takeRaw()[0]!.bytes;
    rig.inject(a, ip6({ src: '2001:db8:7::1', dst: '2001:db8::1' }, icmp6(type, code, 0, quote)));
    t.is(inbox.errors.pop() ?? 0, errno, `type ${type} code ${code}`);
  }
});

test('an error that quotes nothing of ours is dropped', (t) => {
  const { rig, a } = node();
  const u = udp({ src: 4000, dst: 53 });
  rig.inject(a, ip4({ src: '9.9.9.9', dst: '10.0.0.1' }, icmp4(3, 3, 0, ip4({ src: '10.0.0.1', dst: '8.8.8.8' }, u))));
  rig.inject(a, ip4({ src: '9.9.9.9', dst: '10.0.0.1' }, icmp4(3, 3, 0, ip4({ src: '7.7.7.7', dst: '8.8.8.8' }, u))));
  rig.inject(a, ip4({ src: '9.9.9.9', dst: '10.0.0.1' }, icmp4(3, 3, 0, octets(12))));
  t.is(rig.drops('icmp-unmatched'), 3);
  t.is(a.sent.length, 0);
});

test('a path MTU learned from a router makes later datagrams fit, and is forgotten after ten minutes', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 4, inbox);
  e.connect(...words('192.0.2.1'), 0, 53);
  const { at, length } = rig.put(octets(1300));
  e.send(new DatagramSpec(), at, length);
  const quote = a.takeRaw()[0]!.bytes.slice(0, 28);
  const before = rig.stack.ip.routeGeneration;
  rig.inject(a, ip4({ src: '198.51.100.1', dst: '10.0.0.1' }, icmp4(3, 4, 1000, quote)));
  t.deepEqual(inbox.errors, [90]);
  t.not(rig.stack.ip.routeGeneration, before);
  t.is(e.send(new DatagramSpec(), at, length), 0);
  const parts = a.take();
  t.is(parts.length, 2);
  t.true(parts.every((p) => p.length <= 1000 && !p.df));
  e.pathMtuMode = PathMtuMode.Do;
  t.is(e.send(new DatagramSpec(), at, length), 90);
  e.pathMtuMode = PathMtuMode.Probe;
  t.is(e.send(new DatagramSpec(), at, length), 0);
  t.is(a.take().length, 1);
  e.pathMtuMode = PathMtuMode.Want;
  rig.advance(601_000);
  e.send(new DatagramSpec(), at, length);
  t.is(a.take().length, 1);
});

test('forged path MTUs are not believed', (t) => {
  const { rig, a } = node();
  const quote = ip4({ src: '10.0.0.1', dst: '192.0.2.1' }, udp({ src: 4444, dst: 53 }, octets(64)));
  rig.inject(a, ip4({ src: '198.51.100.1', dst: '10.0.0.1' }, icmp4(3, 4, 600, quote)));
  t.is(rig.stack.core.pathMtu.size, 0);
  t.is(rig.drops('icmp-unmatched'), 1);
});

test('datagrams larger than the link go out in fragments with one checksum over all', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 6, inbox);
  e.bind(0, 0, 0, 0, 0, 999);
  const { at, length } = rig.put(octets(5000));
  for (const dst of ['192.0.2.1', '2001:db8:9::1']) {
    t.is(e.send(to(dst, 999), at, length), 0);
    const parts = a.takeRaw();
    t.is(parts.length, 4);
    t.true(parts.every((p) => p.bytes.length <= 1420));
    // A second node puts them together again.
    const far = new Rig();
    const farBox = far.inbox();
    const farLink = far.link(1, ['192.0.2.1/32', '2001:db8:9::1/128']);
    far.stack.udp.open(0, 6, farBox).bind(0, 0, 0, 0, 0, 999);
    for (const p of parts.reverse()) far.inject(farLink, p.bytes);
    t.deepEqual(farBox.received[0]?.bytes, octets(5000));
  }
});

test('sizes that cannot be sent are refused', (t) => {
  const { rig } = node();
  const e = rig.stack.udp.open(0, 6, rig.inbox());
  const { at } = rig.put(octets(65535));
  t.is(e.send(to('192.0.2.1', 9), at, 65508), 90);
  t.is(e.send(to('192.0.2.1', 9), at, 65507), 0);
  t.is(e.send(to('2001:db8:9::1', 9), at, 65528), 90);
  t.is(e.send(to('2001:db8:9::1', 9), at, 65527), 0);
});

test('UDP_SEGMENT becomes one super-record', (t) => {
  const { rig, a } = node();
  const e = rig.stack.udp.open(0, 6, rig.inbox());
  const { at } = rig.put(octets(10000));
  t.is(e.send(to('192.0.2.1', 9, { gsoSize: 1200 }), at, 10000), 0);
  t.is(e.send(to('2001:db8:9::1', 9, { gsoSize: 1200 }), at, 10000), 0);
  t.like(a.takeRaw(), [
    {
      flags: RecordFlag.Gso | RecordFlag.NeedsCsum,
      gsoType: GsoType.UdpL4,
      hdrLen: 28,
      gsoSize: 1200,
      csumStart: 20,
      csumOffset: 6,
    },
    { hdrLen: 48, gsoSize: 1200, csumStart: 40 },
  ]);
  t.is(e.send(to('192.0.2.1', 9, { gsoSize: 1393 }), at, 10000), 22);
  t.is(e.send(to('192.0.2.1', 9, { gsoSize: 10 }), at, 10000), 22);
  t.is(e.send(to('192.0.2.1', 9, { gsoSize: 1200 }), at, 1200), 0);
  t.like(a.takeRaw(), [{ flags: RecordFlag.NeedsCsum, gsoSize: 0 }]);
});

test('a super-record is delivered whole with its segment size', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  rig.stack.udp.open(0, 4, inbox).bind(...words('0.0.0.0'), 0, 1000);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 1000 }, octets(3000))), {
    flags: RecordFlag.CsumValid | RecordFlag.Gso,
    gsoType: GsoType.UdpL4,
    hdrLen: 28,
    gsoSize: 1200,
  });
  t.like(inbox.received, [{ gsoSize: 1200 }]);
  t.deepEqual(inbox.received[0]!.bytes, octets(3000));
});

test('wrong, missing and absent checksums: dropped, refused for IPv6, accepted for IPv4', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  rig.stack.udp.open(0, 6, inbox).bind(0, 0, 0, 0, 0, 1000);
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 1000, checksum: 0x1234 })));
  rig.inject(a, ip4({ src: '192.0.2.1', dst: '10.0.0.1' }, udp({ src: 1, dst: 1000, checksum: 0 }, 'ok')));
  rig.inject(a, ip6({ src: '2001:db8:9::1', dst: '2001:db8::1' }, udp({ src: 1, dst: 1000, checksum: 0 })));
  rig.inject(a, ip6({ src: '2001:db8:9::1', dst: '2001:db8::1' }, udp({ src: 1, dst: 1000, length: 7 })));
  t.like(inbox.received, [{ text: 'ok' }]);
  t.is(inbox.received.length, 1);
  t.like(rig.dropped, { 'bad-transport-checksum': 2, 'bad-transport-header': 1 });
});

test('extension headers on the way to UDP are walked; unknown ones and bad options are answered', (t) => {
  const { rig, a } = node();
  const inbox = rig.inbox();
  rig.stack.udp.open(0, 6, inbox).bind(0, 0, 0, 0, 0, 1000);
  const V6 = { src: '2001:db8:9::1', dst: '2001:db8::1' };
  const u = udp({ src: 1, dst: 1000 }, 'in');
  const pad = Uint8Array.of(1, 4, 0, 0, 0, 0);
  rig.inject(a, ip6(V6, extension(0, pad, extension(60, pad, u))));
  rig.inject(a, ip6(V6, extension(43, Uint8Array.of(0, 0), u))); // routing, no segments left
  t.is(inbox.received.splice(0).length, 2);
  const errorOf = (p: Uint8Array): unknown => {
    rig.inject(a, p);
    const i = a.take()[0]?.icmp;
    return i === undefined ? undefined : [i.type, i.code, i.rest];
  };
  t.deepEqual(errorOf(ip6(V6, extension(43, Uint8Array.of(0, 2), u))), [4, 0, 42]);
  t.deepEqual(errorOf(ip6(V6, extension(60, Uint8Array.of(0x80, 2, 0, 0), u))), [4, 2, 42]);
  t.deepEqual(errorOf(ip6(V6, extension(60, Uint8Array.of(0xc0, 2, 0, 0), u))), [4, 2, 42]);
  t.is(errorOf(ip6(V6, extension(60, Uint8Array.of(0x40, 2, 0, 0), u))), undefined);
  t.is(errorOf(ip6(V6, extension(60, Uint8Array.of(1, 60, 0, 0), u))), undefined);
  t.deepEqual(errorOf(ip6(V6, extension(60, pad, extension(0, pad, u)))), [4, 1, 40]);
  t.deepEqual(errorOf(ip6(V6, raw(253, octets(8)))), [4, 1, 6]);
  t.is(errorOf(ip6(V6, raw(59, octets(8)))), undefined);
  const deep = [1, 2, 3, 4, 5, 6, 7, 8, 9].reduce((inner) => extension(60, pad, inner), u);
  t.is(errorOf(ip6(V6, deep)), undefined);
  t.is(inbox.received.length, 0);
});

test('sources: PKTINFO must be ours, the preferred address is used, link addresses win on their own prefix', (t) => {
  const { rig, a } = node();
  const e = rig.stack.udp.open(0, 6, rig.inbox());
  const { at, length } = rig.put('s');
  const from = (spec: DatagramSpec): string | number => {
    const errno = e.send(spec, at, length);
    return errno !== 0 ? errno : a.take()[0]!.src;
  };
  const local = (s: string): Partial<DatagramSpec> => {
    const [l0, l1, l2, l3] = words(s);
    return { hasLocal: true, l0, l1, l2, l3 };
  };
  t.is(from(to('192.0.2.1', 9, local('10.0.0.2'))), '10.0.0.2');
  t.is(from(to('192.0.2.1', 9, local('10.9.9.9'))), 22);
  t.is(from(to('192.0.2.1', 9)), '10.0.0.1');
  rig.stack.setSources(rig.stack.links.byIndex(1)!.v4[1]!.addr, undefined);
  t.is(from(to('192.0.2.1', 9)), '10.0.0.2');
  t.is(from(to('10.0.0.77', 9)), '10.0.0.1');
  t.is(from(to('2001:db8:9::1', 9)), '2001:db8::1');
  t.is(from(to('192.0.2.1', 9, { link: 7 })), 19);
});

test('a full queue asks the app to wait', (t) => {
  const { rig, a } = node();
  const e = rig.stack.udp.open(0, 4, rig.inbox());
  const { at, length } = rig.put('w');
  a.room = 0;
  t.is(e.send(to('192.0.2.1', 9), at, length), 11);
  t.is(a.drainsWanted, 1);
});

test('without a route sending fails with the errno of the route', (t) => {
  const rig = new Rig();
  rig.link(1, ['10.0.0.1/24']);
  const e = rig.stack.udp.open(0, 6, rig.inbox());
  const { at, length } = rig.put('n');
  t.is(e.send(to('192.0.2.1', 9), at, length), 101);
  t.is(e.send(to('2001:db8::1', 9), at, length), 101);
  t.is(e.connect(...words('192.0.2.1'), 0, 9), 101);
  t.is(e.send(to('192.0.2.1', 0), at, length), 22);
  t.is(e.bind(...words('10.9.9.9'), 0, 1), 22); // bound by the first send
  const fresh = rig.stack.udp.open(0, 4, rig.inbox());
  t.is(fresh.bind(...words('10.9.9.9'), 0, 1), 99);
  t.is(fresh.bind(...words('2001:db8::1'), 0, 1), 97);
});

test('our own addresses are reached over the loopback link of the VRF', (t) => {
  const rig = new Rig();
  const lo = rig.link(9, ['127.0.0.1/8', '::1/128', '172.20.0.1/32'], { mtu: 65535, isLoopback: true });
  rig.link(1, ['10.0.0.1/24']);
  const inbox = rig.inbox();
  const server = rig.stack.udp.open(0, 6, inbox);
  server.bind(0, 0, 0, 0, 0, 53);
  const e = rig.stack.udp.open(0, 6, rig.inbox());
  const { at, length } = rig.put('self');
  for (const dst of ['10.0.0.1', '172.20.0.1', '127.0.0.1', '127.9.9.9', '::1', '::', '0.0.0.0']) {
    t.is(e.send(to(dst, 53), at, length), 0, dst);
    const [out] = lo.takeRaw();
    rig.inject(lo, out!.bytes, { flags: RecordFlag.CsumValid });
    t.is(inbox.received.splice(0).length, 1, dst);
  }
  // Its own address is the source, and an echo to it works the same way.
  t.deepEqual(rig.dropped, {});
});
