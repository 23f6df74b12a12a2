import { isIP, isIPv4, isIPv6, SocketAddress } from 'node:net';
import test from 'ava';
import fc from 'fast-check';
import { Addr, maskWord, Prefix } from '../../../router/lib/addr.ts';

test('IPv6 text is printed as RFC 5952 says', (t) => {
  const printed = (text: string): string => String(Addr.parse(text));
  t.is(printed('2001:0DB8:0:0:0:0:0:1'), '2001:db8::1');
  t.is(printed('2001:db8:0:1:1:1:1:1'), '2001:db8:0:1:1:1:1:1'); // one zero group is not shortened
  t.is(printed('2001:0:0:1:0:0:0:1'), '2001:0:0:1::1'); // the longest run
  t.is(printed('2001:db8:0:0:1:0:0:1'), '2001:db8::1:0:0:1'); // the first of equal runs
  t.is(printed('::'), '::');
  t.is(printed('1::'), '1::');
  t.is(printed('::ffff:192.0.2.1'), '::ffff:192.0.2.1');
  t.is(printed('64:ff9b::192.0.2.33'), '64:ff9b::c000:221');
});

test('text that is no address is refused', (t) => {
  const bad = [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.1.1.1',
    '01.2.3.4',
    '1.2.3.4 ',
    '1..2.3',
    ':',
    ':::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
  ];
  const worse = [
    '1::2::3',
    '12345::',
    'g::',
    '::1.2.3',
    '1.2.3.4::',
    '::1.2.3.4:5',
    '1:2:3:4:5:6:7::8',
    'fe80::1%eth0',
    '0x7f.1',
  ];
  for (const text of [...bad, ...worse]) t.is(Addr.parse(text), undefined, text);
});

test('parsing agrees with the C library on what an address is', (t) => {
  const anyText = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.ipV4Extended(),
    fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.'), maxLength: 20 }),
  );
  t.notThrows(() =>
    fc.assert(
      fc.property(anyText, (text) => (Addr.parse(text) !== undefined) === (isIP(text) !== 0)),
      { seed: 5952, numRuns: 3000 },
    ),
  );
});

test('printing agrees with the C library, and text, octets and words survive a round trip', (t) => {
  const anyWord = fc.oneof(fc.constant(0), fc.integer());
  fc.assert(
    fc.property(anyWord, anyWord, anyWord, anyWord, fc.boolean(), (a0, a1, a2, a3, isV4) => {
      const addr = isV4 ? Addr.v4(a3) : Addr.v6(a0, a1, a2, a3);
      const text = String(addr);
      // The C library also prints ::a.b.c.d (deprecated, RFC 4291 §2.5.5.1) in dotted form; RFC 5952 does not.
      const isCompatible = !isV4 && addr.a0 === 0 && addr.a1 === 0 && addr.a2 === 0;
      const family = isV4 ? 'ipv4' : 'ipv6';
      return (
        (isV4 ? isIPv4(text) : isIPv6(text)) &&
        (isCompatible || new SocketAddress({ address: text, family }).address === text) &&
        Addr.parse(text)!.equals(addr) &&
        Addr.fromBytes(addr.toBytes())!.equals(addr) &&
        (isV4 || (addr.a0 === 0 && addr.a1 === 0 && addr.a2 === 0xffff) || Addr.fromWords(a0, a1, a2, a3).equals(addr))
      );
    }),
    { seed: 4291, numRuns: 2000 },
  );
  t.true(Addr.fromWords(0, 0, 0xffff, 0x7f000001).equals(Addr.parse('127.0.0.1')!));
  t.is(Addr.fromBytes(new Uint8Array(5)), undefined);
});

test('special addresses are recognised', (t) => {
  const is = (key: 'isLinkLocal' | 'isLoopback' | 'isUnspecified' | 'isMulticast', ...texts: string[]): boolean[] =>
    texts.map((text) => Addr.parse(text)![key]);
  t.deepEqual(is('isLinkLocal', '169.254.1.1', '169.255.1.1', 'fe80::1', 'febf::1', 'fec0::1'), [
    true,
    false,
    true,
    true,
    false,
  ]);
  t.deepEqual(is('isLoopback', '127.9.9.9', '128.0.0.1', '::1', '::2', '::'), [true, false, true, false, false]);
  t.deepEqual(is('isUnspecified', '0.0.0.0', '0.0.0.1', '::', '::1'), [true, false, true, false]);
  t.deepEqual(is('isMulticast', '224.0.0.1', '239.1.1.1', '240.0.0.1', 'ff02::1', 'fe00::'), [
    true,
    true,
    false,
    true,
    false,
  ]);
});

test('prefixes are strict about host bits and lengths', (t) => {
  for (const text of ['10.0.0.0/8', '0.0.0.0/0', '1.2.3.4/32', '::/0', 'fd00::/8', '2001:db8::1/128'])
    t.is(String(Prefix.parse(text)), text);
  for (const text of [
    '10.0.0.1/8',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/',
    '10.0.0.0/-1',
    '::/129',
    'fd00::1/64',
    '/8',
    '10.0.0.0/8/8',
  ])
    t.is(Prefix.parse(text), undefined, text);
  t.is(String(Prefix.parse('10.0.0.1')), '10.0.0.1/32');
  t.is(String(Prefix.parseLoose('10.1.2.3/8')!.prefix), '10.0.0.0/8');
  t.is(String(Prefix.parseLoose('fd00::7/64')!.addr), 'fd00::7');
});

test('a prefix contains exactly the addresses that share its bits', (t) => {
  const word = fc.integer();
  fc.assert(
    fc.property(word, word, word, word, fc.nat(128), fc.nat(127), (a0, a1, a2, a3, length, flip) => {
      const addr = Addr.v6(a0, a1, a2, a3);
      const prefix = Prefix.containing(addr, length)!;
      const w = [a0, a1, a2, a3];
      w[flip >> 5]! ^= 0x80000000 >>> (flip & 31);
      return prefix.contains(addr) && prefix.contains(Addr.v6(w[0]!, w[1]!, w[2]!, w[3]!)) === flip >= length;
    }),
    { seed: 1519 },
  );
  t.false(Prefix.parse('::/0')!.contains(Addr.parse('10.0.0.1')!));
});

test('mask words', (t) => {
  t.deepEqual(
    [0, 1, 8, 31, 32].map((n) => maskWord(n) >>> 0),
    [0, 0x80000000, 0xff000000, 0xfffffffe, 0xffffffff],
  );
});
