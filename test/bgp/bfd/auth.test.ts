/** BFD authentication: octets of BIRD 2.0.12, sequence numbers as RFC 5880 §6.7 has them, and whole sessions that use it. */
import test from 'ava';
import fc from 'fast-check';
import { AUTH_TYPES, Authenticator, type BfdAuth, type BfdAuthType } from '../../../bgp/bfd/auth.ts';
import { Bfd, type BfdTarget } from '../../../bgp/bfd/bfd.ts';
import { BFD_LEN, decodeBfd, encodeBfd } from '../../../bgp/bfd/packet.ts';
import type { BfdSettings } from '../../../bgp/bfd/session.ts';
import { bfdDigest } from '../../../router/app/bfd-digest.ts';
import { Addr } from '../../../router/lib/addr.ts';
import type { Instant } from '../../../router/lib/clock.ts';

const PASSWORD = 'correct horse';
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const make = (type: BfdAuthType, rest: Partial<BfdAuth> = {}, random = () => 0.25): Authenticator =>
  new Authenticator({ type, keyId: 7, password: PASSWORD, ...rest }, bfdDigest, random);

/** Captured on loopback: multihop, `password "correct horse" { id 7; }`, two packets in a row. */
const FROM_BIRD: Readonly<Record<BfdAuthType, readonly string[]>> = {
  simple: [
    '20440428fdbea51b00000000000f4240000249f000000000011007636f727265637420686f727365',
    '20440428fdbea51b00000000000f4240000249f000000000011007636f727265637420686f727365',
  ],
  'keyed-md5': [
    '2044043053b2411800000000000f4240000249f00000000002180700793e3802a508db0abd4297f62d761b37ef53753f',
    '2044043053b2411800000000000f4240000249f00000000002180700793e380330d15867e773c738b7ac4356858f16a4',
  ],
  'meticulous-keyed-md5': [
    '20440430005e8f1000000000000f4240000249f00000000003180700775744bff94110476762f2647af6a269c406c6d4',
    '20440430005e8f1000000000000f4240000249f00000000003180700775744c0178e82484e12be0b096f9f86435bc7f3',
  ],
  'keyed-sha1': [
    '20440434fb311a2b00000000000f4240000249f000000000041c070041bed735d83be752bb137a0cd9553ac504148e6a7066e046',
    '20440434fb311a2b00000000000f4240000249f000000000041c070041bed735d83be752bb137a0cd9553ac504148e6a7066e046',
  ],
  'meticulous-keyed-sha1': [
    '20440434bd7ac54f00000000000f4240000249f000000000051c070015f6f255b71ddb951dcf74a79df39e84b2247171d4755ca1',
    '20440434bd7ac54f00000000000f4240000249f000000000051c070015f6f256921010e56937d0bdc6567b9518b8f2fa87002342',
  ],
};

for (const type of AUTH_TYPES) {
  const [first, second] = FROM_BIRD[type].map(hex) as [Uint8Array, Uint8Array];

  test(`${type}: packets of BIRD are believed, and ours are the same octets`, (t) => {
    const theirs = make(type);
    const asBuffer = Buffer.from(first);
    t.true(theirs.accepts(asBuffer));
    t.deepEqual(new Uint8Array(asBuffer), first, 'nothing is written into what was received');
    t.true(theirs.accepts(second));
    const p = decodeBfd(first);
    if (typeof p === 'string') return t.fail(p);
    // The sequence number before BIRD's first one.
    const from = Buffer.from(first).readUInt32BE(BFD_LEN + 4) - 1;
    const ours = make(type, {}, () => from / 2 ** 32);
    t.is(Buffer.from(ours.sign(encodeBfd(p))).toString('hex'), Buffer.from(first).toString('hex'));
    t.is(ours.sign(encodeBfd(p)).length, second.length);
  });

  test(`${type}: one wrong octet, another key, key number or type is not believed`, (t) => {
    fc.assert(
      fc.property(fc.nat(first.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const damaged = first.slice();
        damaged[at]! ^= mask;
        // A password in clear protects itself and the section, not what stands before it, nor does anything read the
        // reserved octet of a digest unless the digest covers it.
        const isCovered = type !== 'simple' || at === 3 || at >= BFD_LEN;
        return !isCovered || !make(type).accepts(damaged);
      }),
      { seed: 5880 },
    );
    t.false(make(type, { password: 'another horse' }).accepts(first));
    t.false(make(type, { keyId: 8 }).accepts(first));
    for (const other of AUTH_TYPES) if (other !== type) t.false(make(other).accepts(first), other);
    for (let n = 0; n < first.length; n++) t.false(make(type).accepts(first.subarray(0, n)));
  });

  test(`${type}: a password is used to its last octet`, (t) => {
    const longest = 'x'.repeat(type === 'simple' || type.endsWith('md5') ? 16 : 20);
    const [a, b] = [longest, `${longest.slice(0, -1)}y`].map((password) => make(type, { password }));
    const signed = a!.sign(new Uint8Array(BFD_LEN));
    t.true(a!.accepts(signed));
    t.false(b!.accepts(signed));
  });
}

test('older packets are not believed again, newer ones within three times the multiplier are, also around zero', (t) => {
  for (const type of ['keyed-sha1', 'meticulous-keyed-sha1'] as const) {
    const isMeticulous = type.startsWith('meticulous');
    const packet = (sequence: number, multiplier = 3): Uint8Array => {
      const b = new Uint8Array(BFD_LEN);
      b[2] = multiplier;
      return make(type, {}, () => ((sequence - 1) >>> 0) / 2 ** 32).sign(b);
    };
    const near = (sequence: number): Authenticator => {
      const a = make(type);
      t.true(a.accepts(packet(sequence)));
      return a;
    };
    for (const at of [100, 0xfffffffe, 0]) {
      const next = (n: number): number => (at + n) >>> 0;
      t.is(near(at).accepts(packet(at)), !isMeticulous, 'the same number again');
      t.true(near(at).accepts(packet(next(1))));
      t.true(near(at).accepts(packet(next(9))));
      t.false(near(at).accepts(packet(next(10))));
      t.true(near(at).accepts(packet(next(10), 4)));
      t.false(near(at).accepts(packet(next(-1))));
      const forgetful = near(at);
      forgetful.forget();
      t.true(forgetful.accepts(packet(next(-50))));
    }
    // A packet that is refused moves nothing.
    const a = near(100);
    const wrong = packet(105);
    wrong[wrong.length - 1]! ^= 1;
    t.false(a.accepts(wrong));
    t.true(a.accepts(packet(101)));
  }
});

test('meticulous numbers grow with every packet, others with what is new in it', (t) => {
  const sequences = (type: BfdAuthType): number[] => {
    const a = make(type, {}, () => 0);
    const other = new Uint8Array(BFD_LEN).fill(1);
    return [new Uint8Array(BFD_LEN), new Uint8Array(BFD_LEN), other, other].map((p) =>
      Buffer.from(a.sign(p)).readUInt32BE(BFD_LEN + 4),
    );
  };
  t.deepEqual(sequences('meticulous-keyed-md5'), [1, 2, 3, 4]);
  t.deepEqual(sequences('keyed-md5'), [1, 1, 2, 2]);
});

// ---- Sessions

const TARGET: BfdTarget = { remote: Addr.parse('fe80::2')!, local: undefined, link: 'w', multihop: false };
const FAST: BfdSettings = { minTxUs: 100_000, minRxUs: 100_000, multiplier: 3 };
const SECRET: BfdAuth = { type: 'meticulous-keyed-sha1', keyId: 1, password: PASSWORD };

/** Two sides whose packets arrive at once; `run` goes on for some milliseconds. */
function pair(a: BfdAuth | undefined, b: BfdAuth | undefined) {
  let now = 0;
  let seed = 1;
  const random = (): number => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed / 0x7fffffff;
  };
  const wire: { readonly to: number; readonly octets: Uint8Array }[] = [];
  const recorded: Uint8Array[] = [];
  const make = (to: number): Bfd =>
    new Bfd({
      random,
      digest: bfdDigest,
      onChange: () => undefined,
      port: {
        open: () => undefined,
        close: () => undefined,
        send: (_, octets) => {
          wire.push({ to, octets });
          if (to === 1) recorded.push(octets);
        },
      },
    });
  const sides = [make(1), make(0)];
  const watch = (side: number, auth: BfdAuth | undefined): void =>
    sides[side]!.watch('peer', TARGET, { ...FAST, auth }, now as Instant);
  watch(0, a);
  watch(1, b);
  const feed = (to: number, octets: Uint8Array): void =>
    sides[to]!.receive({ octets, remote: TARGET.remote, link: 'w', ttl: 255, multihop: false }, now as Instant);
  const run = (ms: number): void => {
    for (const end = now + ms; now < end; now += 5) {
      for (const s of sides) s.tick(now as Instant);
      for (const { to, octets } of wire.splice(0)) feed(to, octets);
    }
  };
  return { sides, watch, feed, run, recorded, states: () => sides.map((s) => s.stateOf('peer')) };
}

test('two sides with the same secret come up; what was recorded of them changes nothing', (t) => {
  for (const type of AUTH_TYPES) {
    const p = pair({ ...SECRET, type }, { ...SECRET, type });
    p.run(5_000);
    t.deepEqual(p.states(), ['Up', 'Up'], type);
    t.deepEqual(Object.fromEntries(p.sides[0]!.drops), {});
  }
  const p = pair(SECRET, SECRET);
  p.run(5_000);
  for (const octets of p.recorded.slice(0, 20)) p.feed(1, octets); // "Down" and "Init" of long ago
  t.deepEqual(p.states(), ['Up', 'Up']);
  t.deepEqual(Object.fromEntries(p.sides[1]!.drops), { authentication: 20 });
});

test('sides that do not agree stay down and say why', (t) => {
  for (const [a, b] of [
    [SECRET, undefined],
    [undefined, SECRET],
    [SECRET, { ...SECRET, password: 'another horse' }],
    [SECRET, { ...SECRET, type: 'keyed-sha1' }],
  ] as const) {
    const p = pair(a, b);
    p.run(5_000);
    t.deepEqual(p.states(), ['Down', 'Down']);
    for (const s of p.sides) t.deepEqual([...s.drops.keys()], ['authentication']);
  }
});

test('a side that begins anew with other numbers is believed after twice the detection time', (t) => {
  const p = pair(SECRET, SECRET);
  p.run(5_000);
  p.sides[0]!.close(5_000 as Instant);
  p.run(10);
  t.is(p.states()[1], 'Down');
  p.watch(0, SECRET); // another discriminator, other sequence numbers
  p.run(5_000); // three packets of a second each are a detection time
  t.not(p.states()[1], 'Up');
  p.run(5_000);
  t.deepEqual(p.states(), ['Up', 'Up']);
  t.true(p.sides[1]!.drops.get('authentication')! > 0, 'not before');
});

test('a secret that changes on both sides ends the session and the new one is used', (t) => {
  const p = pair(SECRET, SECRET);
  p.run(5_000);
  const next: BfdAuth = { ...SECRET, keyId: 2, password: 'battery staple' };
  p.watch(0, next);
  p.run(1_000);
  t.deepEqual(p.states(), ['Down', 'Down']);
  p.watch(1, next);
  p.run(5_000);
  t.deepEqual(p.states(), ['Up', 'Up']);
});
