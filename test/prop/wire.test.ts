import test from 'ava';
import fc from 'fast-check';
import { fold, pseudo4, pseudo6, sumBytes, sumWorld, update16 } from '../../router/lib/checksum.ts';
import { QuotedPacket } from '../../router/wire/icmp.ts';
import { checkIpv4, keepCopiedOptions, putIpv4, scanIpv4Options, sealIpv4 } from '../../router/wire/ipv4.ts';
import { checkIpv6, Ipv6Walk, putIpv6, putIpv6Addresses, WalkEnd } from '../../router/wire/ipv6.ts';
import { checkUdp } from '../../router/wire/udp.ts';
import { checksum, octets } from '../kit/packets.ts';

const bytes = (max: number) => fc.uint8Array({ maxLength: max });
const word = fc.integer({ min: -0x80000000, max: 0x7fffffff });

test('checksums agree with the slow and obvious sum, at every alignment and length', (t) => {
  const memory = new ArrayBuffer(1 << 17);
  const b = new Uint8Array(memory);
  const words = new Int32Array(memory);
  fc.assert(
    fc.property(fc.nat(70), fc.oneof(fc.nat(80), fc.nat(65535)), fc.integer(), (at, length, seed) => {
      const data = octets(length, seed);
      b.fill(0xa5);
      b.set(data, at);
      const expected = 0xffff - checksum(data);
      t.is(sumWorld(b, words, at, length), expected);
      t.is(sumBytes(b, at, at + length), expected);
    }),
    { seed: 1071, numRuns: 500 },
  );
  b.fill(0xff);
  t.is(sumWorld(b, words, 4, 65535), 0xffff - checksum(new Uint8Array(65535).fill(0xff)));
});

test('an incremental update gives a checksum that verifies', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 20, maxLength: 60 }), fc.nat(7), word, (data, place, now) => {
      const b = Uint8Array.from(data.subarray(0, data.length & ~3));
      const v = new DataView(b.buffer);
      v.setUint16(2, 0);
      v.setUint16(2, checksum(b));
      const at = 4 + (place % ((b.length >> 1) - 2)) * 2;
      const was = v.getUint16(at);
      v.setUint16(at, now & 0xffff);
      v.setUint16(2, update16(v.getUint16(2), was, now & 0xffff));
      const sum = 0xffff - checksum(b);
      t.true(sum === 0xffff || sum === 0, `${sum}`);
    }),
    { seed: 1624, numRuns: 500 },
  );
});

test('pseudo headers sum their fields', (t) => {
  fc.assert(
    fc.property(word, word, fc.nat(255), fc.nat(65535), (src, dst, protocol, length) => {
      const v = new DataView(new ArrayBuffer(12));
      v.setInt32(0, src);
      v.setInt32(4, dst);
      v.setUint8(9, protocol);
      v.setUint16(10, length);
      t.is(pseudo4(src, dst, protocol, length), 0xffff - checksum(new Uint8Array(v.buffer)));
    }),
    { seed: 768 },
  );
  const packet = octets(40);
  const tail = Uint8Array.of(0, 1, 0x11, 0x70, 0, 0, 0, 17);
  t.is(pseudo6(packet, 0, 17, 70000), 0xffff - checksum(packet.subarray(8), tail));
  t.is(fold(0x1fffe), 0xffff);
});

test('an IPv4 header written is read back', (t) => {
  fc.assert(
    fc.property(
      fc.nat(65515),
      fc.nat(255),
      fc.nat(65535),
      fc.nat(65535),
      fc.nat(255),
      fc.nat(255),
      word,
      word,
      (payload, tos, id, frag, ttl, protocol, src, dst) => {
        const b = new Uint8Array(24);
        putIpv4(b, 3, 20 + payload, tos, id, frag, ttl, protocol, src, dst);
        t.is(checkIpv4(b, 3, 65536, false), 20);
        const v = new DataView(b.buffer, 3);
        t.deepEqual(
          [v.getUint8(1), v.getUint16(2), v.getUint16(4), v.getUint16(6), v.getUint8(8), v.getUint8(9)],
          [tos, 20 + payload, id, frag, ttl, protocol],
        );
        t.deepEqual([v.getInt32(12), v.getInt32(16)], [src, dst]);
        const before = v.getUint16(10);
        sealIpv4(b, 3);
        t.is(v.getUint16(10), before);
      },
    ),
    { seed: 791, numRuns: 300 },
  );
});

test('an IPv6 header written is read back', (t) => {
  fc.assert(
    fc.property(
      fc.nat(65535),
      fc.nat(255),
      fc.nat(0xfffff),
      fc.nat(255),
      fc.nat(255),
      word,
      (n, tc, label, next, hops, w) => {
        const b = new Uint8Array(40);
        putIpv6(b, 0, n, tc, label, next, hops);
        putIpv6Addresses(b, 0, w, 1, 2, 3, 4, 5, 6, w);
        t.is(checkIpv6(b, 0, 65575, false), 0);
        const v = new DataView(b.buffer);
        t.is(v.getUint32(0), ((6 << 28) | (tc << 20) | label) >>> 0);
        t.deepEqual([v.getUint16(4), b[6], b[7], v.getInt32(8), v.getInt32(36)], [n, next, hops, w, w]);
      },
    ),
    { seed: 8200, numRuns: 300 },
  );
});

/** A buffer whose readers report what they touch outside a packet. */
function guarded(packet: Uint8Array, at: number): { b: Uint8Array; outside: () => boolean } {
  let isOutside = false;
  const target = new Uint8Array(packet.length + 2 * at);
  target.set(packet, at);
  const b = new Proxy(target, {
    get(o, key) {
      if (typeof key === 'string' && /^-?\d+$/.test(key)) {
        const i = Number(key);
        if (i < at || i >= at + packet.length) isOutside = true;
      }
      const value = Reflect.get(o, key, o) as unknown;
      return typeof value === 'function' ? (value as (...a: unknown[]) => unknown).bind(o) : value;
    },
  });
  return { b, outside: () => isOutside };
}

test('no reader leaves the packet or throws, whatever is in it', (t) => {
  const walk = new Ipv6Walk();
  const quoted = new QuotedPacket();
  const chain = fc.array(fc.oneof(fc.constantFrom(0, 43, 44, 60, 6, 17, 58, 59, 1, 2), fc.nat(255)), {
    maxLength: 120,
  });
  const packet = fc.oneof(
    bytes(120),
    chain.map((c) => Uint8Array.from(c)),
    fc.tuple(fc.constantFrom(0x45, 0x46, 0x4f, 0x60), bytes(120)).map(([first, rest]) => Uint8Array.of(first, ...rest)),
  );
  fc.assert(
    fc.property(packet, fc.boolean(), fc.nat(255), (p, isSuper, protocol) => {
      const { b, outside } = guarded(p, 16);
      const end = 16 + p.length;
      const headerLen = checkIpv4(b, 16, p.length, isSuper);
      if (headerLen > 0) {
        scanIpv4Options(b, 16, headerLen);
        checkUdp(b, 16 + headerLen, p.length - headerLen, isSuper);
      }
      if (checkIpv6(b, 16, p.length, isSuper) === 0) {
        walk.walk(b, 16, 56, end, protocol, 22);
        t.true(walk.transportAt <= end);
        const how = walk.skim(b, 16, end);
        if (how === WalkEnd.Transport) t.true(walk.transportAt <= end);
      }
      quoted.parse(b, 16, end, true);
      quoted.parse(b, 16, end, false);
      t.false(outside());
    }),
    { seed: 5722, numRuns: 3000 },
  );
});

test('options that are not copied become padding, and nothing outside the header changes', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 40, maxLength: 40 }), fc.integer({ min: 5, max: 15 }), (options, words) => {
      const b = new Uint8Array(80).fill(0xee);
      b.set(options, 28);
      const before = b.slice();
      keepCopiedOptions(b, 8, words * 4);
      t.deepEqual(b.subarray(0, 28), before.subarray(0, 28));
      t.deepEqual(b.subarray(8 + words * 4), before.subarray(8 + words * 4));
    }),
    { seed: 31 },
  );
});
