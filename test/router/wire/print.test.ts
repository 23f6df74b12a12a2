import test from 'ava';
import fc from 'fast-check';
import { printPacket } from '../../../router/wire/print.ts';
import {
  echo,
  extension,
  fragments4,
  fragments6,
  icmp4,
  icmp6,
  ip4,
  ip6,
  octets,
  type Payload,
  raw,
  tcp,
  udp,
} from '../../kit/packets.ts';

const a4 = { src: '10.0.0.1', dst: '192.0.2.9' };
const a6 = { src: '2001:db8::1', dst: '2001:db8:9::9' };
const line = (b: Uint8Array): string => printPacket(b, 0, b.length);
const p4 = (p: Payload): string => line(ip4(a4, p));
const p6 = (p: Payload): string => line(ip6(a6, p));

test('packets print in the words of tcpdump', (t) => {
  const lines: [string, string][] = [
    [p4(udp({ src: 1000, dst: 53 }, 'query')), 'IP 10.0.0.1.1000 > 192.0.2.9.53: UDP, length 5'],
    [
      p6(tcp({ src: 80, dst: 4000, seq: 4294967290, ack: 7, flags: 'PA', window: 512 }, octets(10))),
      'IP6 2001:db8::1.80 > 2001:db8:9::9.4000: Flags [P.], seq 4294967290:4, ack 7, win 512, length 10',
    ],
    [
      p4(tcp({ src: 1, dst: 2, seq: 5, flags: 'S', window: 9 })),
      'IP 10.0.0.1.1 > 192.0.2.9.2: Flags [S], seq 5, win 9, length 0',
    ],
    [p4(echo(4, 77, 5, 'hello')), 'IP 10.0.0.1 > 192.0.2.9: ICMP echo request, id 77, seq 5, length 13'],
    [p6(echo(6, 1, 2)), 'IP6 2001:db8::1 > 2001:db8:9::9: ICMP6, echo request, id 1, seq 2, length 8'],
    [
      p4(icmp4(3, 3, 0, ip4({ src: a4.dst, dst: a4.src }, udp({ src: 9, dst: 53 })))),
      'IP 10.0.0.1 > 192.0.2.9: ICMP 10.0.0.1 udp port 53 unreachable, length 36',
    ],
    [
      p4(icmp4(3, 4, 1320, ip4({ src: a4.dst, dst: a4.src }, tcp({ src: 9, dst: 53 })))),
      'IP 10.0.0.1 > 192.0.2.9: ICMP 10.0.0.1 unreachable - need to frag (mtu 1320), length 48',
    ],
    [p4(icmp4(11, 0, 0)), 'IP 10.0.0.1 > 192.0.2.9: ICMP time exceeded in-transit, length 8'],
    [p6(icmp6(2, 0, 1280)), 'IP6 2001:db8::1 > 2001:db8:9::9: ICMP6, packet too big, mtu 1280, length 8'],
    [p6(extension(0, octets(6), raw(59, octets(0)))), 'IP6 2001:db8::1 > 2001:db8:9::9: no next header'],
    [p4(octets(5)), 'IP 10.0.0.1 > 192.0.2.9: ip-proto-253, length 5'],
    [
      line(fragments4(ip4({ ...a4, id: 42 }, udp({ src: 1, dst: 2 }, octets(2000))), 1400)[1]!),
      'IP 10.0.0.1 > 192.0.2.9: udp frag (id 42, offset 1376), length 632',
    ],
    [
      line(fragments6(ip6(a6, udp({ src: 1, dst: 2 }, octets(2000))), 1400, 7)[0]!),
      'IP6 2001:db8::1 > 2001:db8:9::9: udp frag (id 7, offset 0, more), length 1352',
    ],
    [line(octets(3).fill(0)), 'not IP, length 3'],
  ];
  for (const [got, expected] of lines) t.is(got, expected);
});

test('anything prints as one line', (t) => {
  const start = fc.constantFrom([0x45], [0x4f], [0x60], []);
  fc.assert(
    fc.property(start, fc.uint8Array({ maxLength: 100 }), (first, rest) => {
      const text = line(Uint8Array.of(...first, ...rest));
      t.regex(text, /^[^\n]+$/);
      t.notRegex(text, /NaN|undefined/);
    }),
    { seed: 1, numRuns: 2000 },
  );
});
