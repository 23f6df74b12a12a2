import test from 'ava';
import fc from 'fast-check';
import { fragment6, fragments4, fragments6, ip4, ip6, octets, udp } from '../../kit/packets.ts';
import { Rig, type TestLink, words } from '../../kit/stack.ts';

interface Setup {
  readonly rig: Rig;
  readonly a: TestLink;
  readonly got: () => Uint8Array[];
}

function setup(o: { pages?: number } = {}): Setup {
  const rig = new Rig(o);
  rig.fib.add('192.0.2.0/24', 1).add('2001:db8:1::/48', 1);
  const a = rig.link(1, ['10.0.0.1/24', '2001:db8::1/64']);
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 6, inbox);
  e.bind(0, 0, 0, 0, 0, 5000);
  return { rig, a, got: () => inbox.received.splice(0).map((r) => r.bytes) };
}

const V4 = { src: '192.0.2.7', dst: '10.0.0.1' };
const V6 = { src: '2001:db8:1::7', dst: '2001:db8::1' };
const datagram4 = (n: number, id = 1) => ip4({ ...V4, id }, udp({ src: 9, dst: 5000 }, octets(n)));
const datagram6 = (n: number) => ip6(V6, udp({ src: 9, dst: 5000 }, octets(n)));

test('fragments in any order make the datagram, in both families, and give their pages back', (t) => {
  const { rig, a, got } = setup();
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.integer({ min: 1, max: 65000 }),
      fc.integer({ min: 600, max: 1420 }),
      fc.infiniteStream(fc.nat()),
      (isV4, size, mtu, picks) => {
        const parts = isV4 ? fragments4(datagram4(size), mtu) : fragments6(datagram6(size), Math.max(mtu, 1280));
        if (parts.length > 128) return;
        const rest = [...parts];
        while (rest.length > 0) rig.inject(a, rest.splice(picks.next().value! % rest.length, 1)[0]!);
        const all = got();
        t.is(all.length, 1);
        t.deepEqual(all[0], octets(size));
      },
    ),
    { seed: 815, numRuns: 100 },
  );
  t.is(rig.stack.reassembly.waiting, 0);
  t.is(rig.pages.available, rig.pages.capacity);
});

test('an exact duplicate of a fragment is ignored', (t) => {
  const { rig, a, got } = setup();
  for (const parts of [fragments4(datagram4(3000), 1400), fragments6(datagram6(3000), 1400)]) {
    rig.inject(a, parts[0]!);
    rig.inject(a, parts[0]!);
    rig.inject(a, parts[2]!);
    rig.inject(a, parts[1]!);
    t.deepEqual(got(), [octets(3000)]);
  }
});

test('overlapping fragments discard the datagram, whatever comes later', (t) => {
  const { rig, a, got } = setup();
  const whole = datagram6(3000);
  const body = whole.subarray(40);
  const parts = fragments6(whole, 1400);
  rig.inject(a, parts[0]!);
  rig.inject(a, fragment6(whole, 8, body.subarray(8, 24), true, 0xabcd));
  for (const p of parts) rig.inject(a, p);
  t.deepEqual(got(), []);
  t.is(rig.pages.available, rig.pages.capacity);
  const parts4 = fragments4(datagram4(3000), 1400);
  rig.inject(a, parts4[0]!);
  rig.inject(a, ip4({ ...V4, id: 1, offset: 16, mf: true, protocol: 17 }, octets(64)));
  for (const p of parts4) rig.inject(a, p);
  t.deepEqual(got(), []);
  rig.advance(61_000);
  t.is(rig.stack.reassembly.waiting, 0);
  t.is(a.sent.length, 0); // RFC 5722: no error is sent
});

test('datagrams are told apart by source, identification and VRF', (t) => {
  const { rig, a, got } = setup();
  const one = fragments4(datagram4(2000, 1), 1400);
  const two = fragments4(datagram4(2000, 2), 1400);
  rig.inject(a, one[0]!);
  rig.inject(a, two[1]!);
  t.deepEqual(got(), []);
  rig.inject(a, two[0]!);
  rig.inject(a, one[1]!);
  t.is(got().length, 2);
});

test('a datagram that stays incomplete times out: 30 s for IPv4, 60 s for IPv6, with an error that quotes its first fragment', (t) => {
  const { rig, a } = setup();
  const [first4] = fragments4(datagram4(3000), 1400);
  const [first6] = fragments6(datagram6(3000), 1400);
  rig.inject(a, first4!);
  rig.inject(a, first6!);
  t.is(rig.stack.nextDeadlineMs(), 30_000);
  rig.advance(29_999);
  t.is(a.sent.length, 0);
  rig.advance(1);
  const [e4] = a.take();
  t.like(e4, { src: '10.0.0.1', icmp: { type: 11, code: 1 } });
  t.deepEqual(e4!.icmp!.data, first4!.slice(0, 548));
  rig.advance(29_999);
  t.is(a.sent.length, 0);
  rig.advance(1);
  const [e6] = a.take();
  t.like(e6, { src: '2001:db8::1', icmp: { type: 3, code: 1 } });
  t.deepEqual(e6!.icmp!.data, first6!.slice(0, 1232));
  t.is(rig.pages.available, rig.pages.capacity);
  t.is(rig.stack.nextDeadlineMs(), -1);
});

test('without its first fragment a datagram times out silently', (t) => {
  const { rig, a } = setup();
  rig.inject(a, fragments4(datagram4(3000), 1400)[1]!);
  rig.advance(31_000);
  t.is(a.sent.length, 0);
  t.is(rig.drops('fragment-timeout'), 1);
});

test('one source cannot take all places, and memory stays within its share of the pool', (t) => {
  const { rig, a } = setup({ pages: 64 });
  for (let id = 0; id < 100; id++) rig.inject(a, fragments4(datagram4(3000, id), 1400)[0]!);
  t.is(rig.stack.reassembly.waiting, 16);
  for (let host = 1; host < 200; host++)
    rig.inject(
      a,
      fragments4(ip4({ src: `192.0.2.${host}`, dst: V4.dst, id: 7 }, udp({ src: 1, dst: 2 }, octets(3000))), 1400)[0]!,
    );
  t.true(rig.stack.reassembly.waiting <= 64);
  t.true(rig.stack.reassembly.pagesHeld <= 16);
  t.true(rig.pages.available >= 48);
});

test('impossible fragments are dropped; IPv6 ones are answered as RFC 8200 says', (t) => {
  const { rig, a } = setup();
  rig.inject(a, ip4({ ...V4, mf: true, protocol: 17 }, octets(13)));
  rig.inject(a, ip4({ ...V4, offset: 65528, protocol: 17 }, octets(100)));
  t.is(rig.drops('fragment-invalid'), 2);
  t.is(a.sent.length, 0);
  const whole = datagram6(100);
  rig.inject(a, fragment6(whole, 0, octets(13), true, 1));
  t.like(a.take(), [{ icmp: { type: 4, code: 0, rest: 4 } }]);
  rig.inject(a, fragment6(whole, 65528, octets(100), false, 2));
  t.like(a.take(), [{ icmp: { type: 4, code: 0, rest: 42 } }]);
});

test('an atomic fragment is a whole packet', (t) => {
  const { rig, a, got } = setup();
  const whole = datagram6(50);
  rig.inject(a, fragment6(whole, 0, whole.subarray(40), false, 3));
  t.deepEqual(got(), [octets(50)]);
  t.is(rig.stack.reassembly.waiting, 0);
});

test('a congestion mark on any fragment marks the datagram; a mixture with not-ECT is discarded', (t) => {
  const { rig, a } = setup();
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 4, inbox);
  e.bind(...words('10.0.0.1'), 0, 6000);
  const send = (...ecn: number[]): void => {
    const packet = ip4({ ...V4, id: 9, tos: ecn[0]! }, udp({ src: 1, dst: 6000 }, octets(2000)));
    const parts = fragments4(packet, 1400);
    const again = ip4({ ...V4, id: 9, tos: ecn[1]!, offset: 1376, protocol: 17 }, parts[1]!.subarray(20));
    rig.inject(a, parts[0]!);
    rig.inject(a, again);
  };
  send(2, 3);
  t.is(inbox.received.pop()?.info.tos, 3);
  send(2, 2);
  t.is(inbox.received.pop()?.info.tos, 2);
  send(0, 3);
  t.is(inbox.received.length, 0);
});

test('more fragments than a datagram can sensibly have discard it', (t) => {
  const { rig, a, got } = setup();
  const whole = datagram4(1500);
  for (const p of fragments4(whole, 28)) rig.inject(a, p);
  t.deepEqual(got(), []);
  t.true(rig.drops('fragment-limit') > 0);
  t.is(rig.pages.available, rig.pages.capacity);
});
