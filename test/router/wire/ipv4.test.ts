import test from 'ava';
import fc from 'fast-check';
import {
  checkIpv4,
  checkIpv4Fast,
  Ipv4OptionSet,
  Ipv4Problem,
  putIpv4,
  scanIpv4Options,
} from '../../../router/wire/ipv4.ts';
import { ip4, octets } from '../../kit/packets.ts';

/** Bytes of a header as they appear in RFC 1071's many explanations: 172.16.10.99 -> 172.16.10.12, checksum b1e6. */
const GOLDEN = Uint8Array.from(Buffer.from('4500003c1c4640004006b1e6ac100a63ac100a0c', 'hex'));

test('the well-known example header is written octet by octet', (t) => {
  const b = new Uint8Array(20);
  putIpv4(b, 0, 60, 0, 0x1c46, 0x4000, 64, 6, 0xac100a63 | 0, 0xac100a0c | 0);
  t.deepEqual(b, GOLDEN);
  t.is(checkIpv4(GOLDEN, 0, 60, false), 20);
});

test('each fault of a header has its own answer', (t) => {
  const good = ip4({ src: '10.0.0.1', dst: '10.0.0.2' }, octets(10));
  const spoil = (change: (b: Uint8Array) => void): number => {
    const b = good.slice();
    change(b);
    return checkIpv4(b, 0, b.length, false);
  };
  t.is(checkIpv4(good, 0, 19, false), Ipv4Problem.Truncated);
  t.is(
    spoil((b) => (b[0] = 0x65)),
    Ipv4Problem.Version,
  );
  t.is(
    spoil((b) => (b[0] = 0x44)),
    Ipv4Problem.HeaderLength,
  );
  t.is(
    spoil((b) => (b[0] = 0x4f)),
    Ipv4Problem.HeaderLength,
  );
  t.is(
    spoil((b) => (b[3] = 31)),
    Ipv4Problem.TotalLength,
  );
  t.is(
    spoil((b) => (b[3] = 19)),
    Ipv4Problem.TotalLength,
  );
  t.is(
    spoil((b) => (b[8]! ^= 1)),
    Ipv4Problem.Checksum,
  );
});

test('options are recognised, and malformed ones are called so', (t) => {
  const scan = (...options: number[]): number => {
    const b = new Uint8Array(20 + options.length);
    b.set(options, 20);
    return scanIpv4Options(b, 0, b.length);
  };
  t.is(scan(1, 1, 1, 0), Ipv4OptionSet.None);
  t.is(scan(131, 3, 4, 0), Ipv4OptionSet.SourceRoute);
  t.is(scan(137, 3, 4, 0), Ipv4OptionSet.SourceRoute);
  t.is(scan(148, 4, 0, 0), Ipv4OptionSet.RouterAlert);
  t.is(scan(7, 3, 4, 1), Ipv4OptionSet.Other);
  t.is(scan(7, 5, 4, 1), Ipv4OptionSet.Malformed);
  t.is(scan(7, 1, 4, 1), Ipv4OptionSet.Malformed);
  t.is(scan(1, 1, 1, 7), Ipv4OptionSet.Malformed);
});

test('the fast check answers as the plain one, at every alignment', (t) => {
  const memory = new ArrayBuffer(256);
  const b = new Uint8Array(memory);
  const words = new Int32Array(memory);
  const header = ip4({ src: '10.0.0.1', dst: '10.0.0.2' }, octets(10));
  fc.assert(
    fc.property(
      fc.nat(11),
      fc.nat(40),
      fc.boolean(),
      fc.array(fc.tuple(fc.nat(19), fc.nat(255)), { maxLength: 2 }),
      (at, length, isSuper, changes) => {
        b.set(header, at);
        for (const [i, v] of changes) b[at + i] = v;
        t.is(checkIpv4Fast(b, words, at, length, isSuper), checkIpv4(b, at, length, isSuper));
      },
    ),
    { seed: 20, numRuns: 2000 },
  );
});
