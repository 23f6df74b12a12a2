/** BFD Control packets: octets of BIRD 2.0.12, every rule of RFC 5880 §6.8.6 that needs no session, and nonsense. */
import test from 'ava';
import fc from 'fast-check';
import { type BfdPacket, decodeBfd, encodeBfd, STATES } from '../../../bgp/bfd/packet.ts';

const octets = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));

/** Captured on loopback: multihop, `interval 150 ms; multiplier 4; idle tx interval 1 s`, our discriminator 0x11223344. */
const FROM_BIRD: readonly (readonly [string, Partial<BfdPacket>])[] = [
  [
    '204004182e9569e400000000000f4240000249f000000000',
    { state: 'Down', poll: false, yourDiscriminator: 0, desiredMinTxUs: 1_000_000 },
  ],
  [
    '20e004182e9569e411223344000249f0000249f000000000',
    { state: 'Up', poll: true, yourDiscriminator: 0x11223344, desiredMinTxUs: 150_000 },
  ],
  [
    '20c004182e9569e411223344000249f0000249f000000000',
    { state: 'Up', poll: false, yourDiscriminator: 0x11223344, desiredMinTxUs: 150_000 },
  ],
];

test('packets of BIRD are read, and written again octet by octet', (t) => {
  for (const [hex, expected] of FROM_BIRD) {
    const p = decodeBfd(octets(hex)) as BfdPacket;
    t.like(p, {
      diag: 0,
      final: false,
      demand: false,
      controlPlaneIndependent: false,
      authenticated: false,
      detectMult: 4,
      myDiscriminator: 0x2e9569e4,
      requiredMinRxUs: 150_000,
      requiredMinEchoRxUs: 0,
      ...expected,
    });
    t.is(Buffer.from(encodeBfd(p)).toString('hex'), hex);
  }
});

test('each broken rule of reception has its own name', (t) => {
  const good = FROM_BIRD[2]![0];
  const change = (at: number, value: number): Uint8Array => {
    const b = octets(good);
    b[at] = value;
    return b;
  };
  t.is(decodeBfd(octets(good).subarray(0, 23)), 'truncated');
  t.is(decodeBfd(change(0, 0x40)), 'version');
  t.is(decodeBfd(change(0, 0x00)), 'version');
  t.is(decodeBfd(change(3, 23)), 'length');
  t.is(decodeBfd(change(3, 25)), 'length');
  t.is(decodeBfd(change(2, 0)), 'zero-detect-mult');
  t.is(decodeBfd(change(1, 0xc1)), 'multipoint');
  const noMine = octets(good);
  noMine.fill(0, 4, 8);
  t.is(decodeBfd(noMine), 'zero-my-discriminator');
  const noYours = octets(good);
  noYours.fill(0, 8, 12);
  t.is(decodeBfd(noYours), 'zero-your-discriminator');
  // With the A bit the shortest length is 26.
  t.is(decodeBfd(change(1, 0xc4)), 'length');
  const authenticated = new Uint8Array(33);
  authenticated.set(octets(good));
  authenticated[1] = 0xc4;
  authenticated[3] = 33;
  authenticated.set([1, 9, 1], 24); // simple password
  t.like(decodeBfd(authenticated), { authenticated: true, state: 'Up' });
});

test('a packet longer than its length field is read up to there (padding by the link)', (t) => {
  const padded = new Uint8Array(60);
  padded.set(octets(FROM_BIRD[0]![0]));
  t.like(decodeBfd(padded), { state: 'Down' });
});

const anyPacket: fc.Arbitrary<BfdPacket> = fc
  .record({
    diag: fc.nat(31),
    state: fc.constantFrom(...STATES),
    poll: fc.boolean(),
    final: fc.boolean(),
    controlPlaneIndependent: fc.boolean(),
    authenticated: fc.constant(false),
    demand: fc.boolean(),
    detectMult: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffffffff }),
    yourDiscriminator: fc.integer({ min: 0, max: 0xffffffff }),
    desiredMinTxUs: fc.integer({ min: 0, max: 0xffffffff }),
    requiredMinRxUs: fc.integer({ min: 0, max: 0xffffffff }),
    requiredMinEchoRxUs: fc.integer({ min: 0, max: 0xffffffff }),
  })
  .filter((p) => p.yourDiscriminator !== 0 || p.state === 'Down' || p.state === 'AdminDown');

test('every packet survives encoding and decoding', (t) => {
  fc.assert(
    fc.property(anyPacket, (p) => {
      t.deepEqual(decodeBfd(encodeBfd(p)), p);
    }),
    { seed: 5880 },
  );
});

test('no octets make the decoder throw', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (b) => {
      if (b.length > 3) b[0] = 0x20 | (b[0]! & 0x1f);
      t.notThrows(() => decodeBfd(b));
    }),
    { seed: 5881, numRuns: 1000 },
  );
});
