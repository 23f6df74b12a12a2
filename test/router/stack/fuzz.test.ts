import test from 'ava';
import { GsoType, RecordFlag } from '../../../router/lib/link.ts';
import { Random } from '../../../router/lib/rand.ts';
import {
  concat,
  echo,
  extension,
  fragment6,
  fragments4,
  fragments6,
  icmp4,
  icmp6,
  ip4,
  ip6,
  mssOption,
  octets,
  tcp,
  udp,
} from '../../kit/packets.ts';
import { Rig } from '../../kit/stack.ts';

const US4 = '10.0.0.1';
const US6 = '2001:db8::1';
const PEER4 = '192.0.2.7';
const PEER6 = '2001:db8:1::7';
const FAR4 = '10.2.0.9';
const FAR6 = '2001:db8:2::9';

/** Sound packets of every kind the stack knows, from which nonsense is made. */
function seeds(): Uint8Array[] {
  const out: Uint8Array[] = [];
  const quoted4 = ip4({ src: US4, dst: PEER4 }, udp({ src: 1000, dst: 9 }, octets(20)));
  const quoted6 = ip6({ src: US6, dst: PEER6 }, udp({ src: 1000, dst: 9 }, octets(20)));
  for (const dst of [US4, FAR4]) {
    const h = { src: PEER4, dst };
    out.push(ip4(h, udp({ src: 9, dst: 1000 }, octets(100))), ip4(h, echo(4, 1, 1, octets(50))));
    out.push(ip4({ ...h, df: true }, udp({ src: 9, dst: 1000 }, octets(1380))));
    out.push(ip4({ ...h, ttl: 1 }, tcp({ src: 1, dst: 80, flags: 'S', options: mssOption(1460) })));
    out.push(ip4({ ...h, options: octets(12) }, tcp({ src: 1, dst: 80, flags: 'S', options: mssOption(1460) })));
    out.push(ip4(h, icmp4(3, 4, 600, quoted4)), ip4(h, icmp4(3, 3, 0, quoted4)), ip4(h, icmp4(11, 0, 0, quoted4)));
    out.push(...fragments4(ip4(h, udp({ src: 9, dst: 1000 }, octets(3000))), 1400));
  }
  for (const dst of [US6, FAR6]) {
    const h = { src: PEER6, dst };
    const u = udp({ src: 9, dst: 1000 }, octets(60));
    out.push(ip6(h, u), ip6(h, echo(6, 1, 1, octets(50))), ip6({ ...h, hopLimit: 1 }, u));
    out.push(ip6(h, tcp({ src: 1, dst: 80, flags: 'S', options: mssOption(1460) })));
    out.push(ip6(h, icmp6(2, 0, 1300, quoted6)), ip6(h, icmp6(1, 4, 0, quoted6)));
    out.push(ip6(h, extension(0, octets(6), extension(60, octets(14), extension(43, octets(6), u)))));
    const big = ip6(h, udp({ src: 9, dst: 1000 }, octets(3000)));
    out.push(...fragments6(big, 1400), fragment6(big, 0, big.subarray(40), false, 5));
  }
  return out;
}

test('100,000 random and mutated packets never throw, never lose a page, and answers still come out', (t) => {
  const rig = new Rig({ seed: 99, pages: 64 });
  rig.fib.add('192.0.2.0/24', 1).add('10.2.0.0/16', 2).add('2001:db8:1::/48', 1).add('2001:db8:2::/48', 2);
  const a = rig.link(1, [`${US4}/24`, `${US6}/64`, 'fe80::1/64']);
  const b = rig.link(2, ['fe80::1/64'], { mtu: 1300 });
  const inbox = rig.inbox();
  const e = rig.stack.udp.open(0, 6, inbox);
  e.bind(0, 0, 0, 0, 0, 1000);
  const random = new Random(2026);
  const pool = seeds();
  let truth = 0;
  for (let i = 0; i < 100_000; i++) {
    let p: Uint8Array;
    if (random.chance(0.1)) p = octets(random.below(100), random.int32());
    else {
      p = pool[random.below(pool.length)]!.slice();
      for (let n = random.below(4); n > 0; n--) p[random.below(Math.min(p.length, 100))] = random.int32();
      if (random.chance(0.1)) p = p.subarray(0, random.below(p.length));
      if (random.chance(0.05)) p = concat(p, octets(random.below(50)));
      if (random.chance(0.5) && p.length >= 20) reseal(p);
    }
    if (p.length === 0) continue;
    const isSuper = random.chance(0.2);
    rig.inject(random.chance(0.8) ? a : b, p, {
      flags: random.chance(0.7) ? RecordFlag.CsumValid : isSuper ? RecordFlag.Gso : 0,
      ...(isSuper
        ? {
            flags: RecordFlag.CsumValid | RecordFlag.Gso,
            gsoType: GsoType.TcpV4 + random.below(3),
            hdrLen: random.below(80),
            gsoSize: random.below(1500),
          }
        : {}),
    });
    if (i % 50 === 0) rig.advance(100);
    if (i % 1000 === 0) {
      truth += a.sent.length + b.sent.length;
      a.sent.length = 0;
      b.sent.length = 0;
      inbox.received.length = 0;
    }
  }
  t.true(truth > 1000, `${truth} packets came out`);
  t.true(rig.events('forwarded') > 1000 && rig.events('delivered') > 1000 && rig.events('reassembled') > 10);
  rig.advance(120_000);
  t.is(rig.stack.reassembly.waiting, 0);
  t.is(rig.pages.available, rig.pages.capacity);
});

/** Make the IPv4 header checksum right again, so that mutations reach deeper. */
function reseal(p: Uint8Array): void {
  const n = Math.min(p.length, (p[0]! & 15) * 4);
  if (p[0]! >> 4 !== 4 || n < 20) return;
  p[10] = p[11] = 0;
  let sum = 0;
  for (let i = 0; i < n; i += 2) sum += p[i]! * 256 + p[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  p[10] = ~sum >> 8;
  p[11] = ~sum;
}
