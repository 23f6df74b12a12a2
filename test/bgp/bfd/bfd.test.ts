/** BFD in virtual time: two speakers with a lossy wire between them, and single sessions fed by hand. */
import test from 'ava';
import fc from 'fast-check';
import { Bfd, type BfdChange, type BfdDatagram, type BfdTarget } from '../../../bgp/bfd/bfd.ts';
import { type BfdPacket, decodeBfd, encodeBfd, STATES } from '../../../bgp/bfd/packet.ts';
import { BfdSession, type BfdSettings } from '../../../bgp/bfd/session.ts';
import { TABLE } from '../../../bgp/bfd/table.ts';
import { bfdDigest } from '../../../router/app/bfd-digest.ts';
import { Addr } from '../../../router/lib/addr.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { Random } from '../../../router/lib/rand.ts';

const FAST: BfdSettings = { minTxUs: 100_000, minRxUs: 100_000, multiplier: 3 };
const A = Addr.parse('fe80::1')!;
const B = Addr.parse('fe80::2')!;

interface Sent {
  readonly at: number;
  readonly octets: Uint8Array;
}

/** One side: a Bfd whose packets go into the pair's wire. */
class Side {
  readonly bfd: Bfd;
  readonly changes: BfdChange[] = [];
  readonly sent: Sent[] = [];
  isMuted = false;
  /** The C bit is set in what it sends (RFC 5880 §4.1). */
  isIndependent = false;
  readonly address: Addr;

  constructor(address: Addr, random: () => number, now: () => number, send: (octets: Uint8Array) => void) {
    this.address = address;
    this.bfd = new Bfd({
      random,
      port: {
        open: () => {},
        close: () => {},
        send: (_, octets) => {
          if (this.isIndependent) octets[1]! |= 0x08;
          this.sent.push({ at: now(), octets });
          if (!this.isMuted) send(octets);
        },
      },
      onChange: (c) => this.changes.push(c),
      digest: bfdDigest,
    });
  }

  get state(): string | undefined {
    return this.bfd.stateOf('peer');
  }
}

/** Two sides, 5 ms apart. */
class Pair {
  now = 0;
  readonly a: Side;
  readonly b: Side;
  readonly #wire: { readonly at: number; readonly to: Side; readonly from: Side; readonly octets: Uint8Array }[] = [];
  readonly #random: Random;

  constructor(seed: number, loss = 0) {
    this.#random = new Random(seed);
    const random = (): number => (this.#random.int32() >>> 0) / 2 ** 32;
    const side = (address: Addr, other: () => Side): Side => {
      const me: Side = new Side(
        address,
        random,
        () => this.now,
        (octets) => {
          if (random() >= loss) this.#wire.push({ at: this.now + 5, to: other(), from: me, octets });
        },
      );
      return me;
    };
    this.a = side(A, () => this.b);
    this.b = side(B, () => this.a);
  }

  watch(a: BfdSettings = FAST, b: BfdSettings = FAST): this {
    const target = (remote: Addr): BfdTarget => ({ remote, local: undefined, link: 'w', multihop: false });
    this.a.bfd.watch('peer', target(B), a, this.now as Instant);
    this.b.bfd.watch('peer', target(A), b, this.now as Instant);
    return this;
  }

  runTo(end: number): this {
    for (;;) {
      const next = Math.min(
        this.a.bfd.deadline() ?? Infinity,
        this.b.bfd.deadline() ?? Infinity,
        this.#wire[0]?.at ?? Infinity,
      );
      if (next > end) break;
      this.now = Math.max(next, this.now);
      while (this.#wire.length > 0 && this.#wire[0]!.at <= this.now) {
        const { to, from, octets } = this.#wire.shift()!;
        to.bfd.receive({ octets, remote: from.address, link: 'w', ttl: 255, multihop: false }, this.now as Instant);
      }
      for (const s of [this.a, this.b]) s.bfd.tick(this.now as Instant);
    }
    this.now = end;
    return this;
  }
}

const view = (s: Side, now: number) => s.bfd.snapshot(now as Instant)[0]!;

test('two sides come up, negotiate their intervals by a poll sequence and stay up', (t) => {
  const pair = new Pair(1).watch();
  pair.runTo(3_000);
  t.is(pair.a.state, 'Up');
  t.is(pair.b.state, 'Up');
  const v = view(pair.a, pair.now);
  t.is(v.txIntervalUs, 100_000);
  t.is(v.detectionUs, 300_000);
  const packets = pair.a.sent.map((s) => decodeBfd(s.octets) as BfdPacket);
  t.true(packets.some((p) => p.poll));
  t.true(packets.some((p) => p.final));
  t.false(packets.some((p) => p.poll && p.final));
  t.false(packets.at(-1)!.poll);
  // Slow while not Up: RFC 5880 §6.8.3.
  t.true(packets.filter((p) => p.state !== 'Up').every((p) => p.desiredMinTxUs >= 1_000_000));
  pair.runTo(60_000);
  t.is(view(pair.a, pair.now).flaps, 0);
});

test('silence is noticed exactly at the detection time', (t) => {
  const pair = new Pair(2).watch();
  pair.runTo(5_000);
  pair.b.isMuted = true;
  const heard = pair.b.sent.filter((s) => s.at <= 5_000).at(-1)!.at + 5;
  pair.runTo(heard + 299.9);
  t.is(pair.a.state, 'Up');
  pair.runTo(heard + 300);
  t.is(pair.a.state, 'Down');
  t.like(pair.a.changes.at(-1)!, {
    from: 'Up',
    to: 'Down',
    why: 'control detection time expired',
    isRemoteAdminDown: false,
    isRemoteIndependent: false,
  });
  // B hears that at once, although it hears A well.
  pair.runTo(heard + 306);
  t.is(pair.b.state, 'Down');
  t.is(pair.b.changes.at(-1)!.why, 'neighbor signaled session down');
  pair.b.isMuted = false;
  pair.runTo(10_000);
  t.is(pair.a.state, 'Up');
  t.is(view(pair.a, pair.now).flaps, 1);
  pair.b.isIndependent = true;
  pair.runTo(12_000);
  pair.b.isMuted = true;
  pair.runTo(13_000);
  t.like(pair.a.changes.at(-1)!, { to: 'Down', isRemoteIndependent: true });
});

test("the slower of the two intervals is used, and the multiplier is the sender's", (t) => {
  const pair = new Pair(3).watch(
    { minTxUs: 50_000, minRxUs: 400_000, multiplier: 5 },
    { minTxUs: 100_000, minRxUs: 200_000, multiplier: 3 },
  );
  pair.runTo(10_000);
  const a = view(pair.a, pair.now);
  const b = view(pair.b, pair.now);
  t.is(a.txIntervalUs, 200_000);
  t.is(b.txIntervalUs, 400_000);
  t.is(a.detectionUs, 3 * 400_000);
  t.is(b.detectionUs, 5 * 200_000);
});

for (const [multiplier, most] of [
  [3, 100],
  [1, 90],
] as const) {
  test(`with a multiplier of ${multiplier} packets are 75 to ${most} ms apart for an interval of 100 ms`, (t) => {
    const settings = { ...FAST, multiplier };
    const pair = new Pair(4).watch(settings, { ...FAST, minTxUs: 90_000 });
    pair.runTo(20_000);
    const times = pair.a.sent.filter((s) => s.at > 5_000).map((s) => s.at);
    const gaps = times.slice(1).map((at, i) => at - times[i]!);
    t.true(gaps.length > 100);
    t.true(Math.min(...gaps) >= 75 && Math.min(...gaps) < 78, String(Math.min(...gaps)));
    t.true(Math.max(...gaps) <= most && Math.max(...gaps) > most - 3, String(Math.max(...gaps)));
  });
}

test('an administrator who stops watching is no failure for the peer', (t) => {
  const pair = new Pair(5).watch();
  pair.runTo(5_000);
  pair.a.bfd.unwatch('peer', pair.now as Instant);
  pair.runTo(5_010);
  t.is(pair.b.state, 'Down');
  t.like(pair.b.changes.at(-1)!, { to: 'Down', isRemoteAdminDown: true, why: 'administratively down at the peer' });
  t.is(pair.a.bfd.deadline(), undefined);
});

test('other intervals are negotiated without losing the session', (t) => {
  const pair = new Pair(6).watch();
  pair.runTo(5_000);
  const target: BfdTarget = { remote: B, local: undefined, link: 'w', multihop: false };
  pair.a.bfd.watch('peer', target, { minTxUs: 500_000, minRxUs: 50_000, multiplier: 3 }, pair.now as Instant);
  // Until the peer has answered, we send as fast and wait as long as before.
  t.is(view(pair.a, pair.now).txIntervalUs, 100_000);
  pair.runTo(5_500);
  t.is(view(pair.a, pair.now).txIntervalUs, 500_000);
  t.is(view(pair.b, pair.now).detectionUs, 1_500_000);
  pair.runTo(60_000);
  t.is(view(pair.a, pair.now).flaps + view(pair.b, pair.now).flaps, 0);
});

test('random loss below the multiplier keeps sessions up, a dead wire never does', (t) => {
  for (const seed of [7, 8, 9]) {
    const pair = new Pair(seed, 0.1).watch({ ...FAST, multiplier: 5 }, { ...FAST, multiplier: 5 });
    pair.runTo(60_000);
    t.is(pair.a.state, 'Up');
    t.is(view(pair.a, pair.now).flaps, 0);
    const dead = new Pair(seed, 1).watch();
    dead.runTo(60_000);
    t.is(dead.a.state, 'Down');
    t.is(dead.a.changes.length, 0);
  }
});

// ---- Sessions fed by hand

const PACKET: BfdPacket = {
  diag: 0,
  state: 'Down',
  poll: false,
  final: false,
  controlPlaneIndependent: false,
  authenticated: false,
  demand: false,
  detectMult: 3,
  myDiscriminator: 77,
  yourDiscriminator: 0,
  desiredMinTxUs: 100_000,
  requiredMinRxUs: 100_000,
  requiredMinEchoRxUs: 0,
};

function takeSent(s: BfdSession): BfdPacket[] {
  const out: BfdPacket[] = [];
  for (let a = s.poll(); a !== undefined; a = s.poll())
    if (a.kind === 'send') out.push(decodeBfd(a.octets) as BfdPacket);
  return out;
}

function upSession(): BfdSession {
  const s = new BfdSession(1, FAST, () => 0.5, 0 as Instant, bfdDigest);
  s.receive({ ...PACKET, state: 'Init', yourDiscriminator: 1 }, 10 as Instant);
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, final: true }, 20 as Instant);
  takeSent(s);
  return s;
}

test('a peer in demand mode gets no periodic packets, but answers to polls', (t) => {
  const s = upSession();
  t.true(s.deadline() < 200);
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, demand: true }, 30 as Instant);
  s.tick(200 as Instant);
  t.deepEqual(takeSent(s), []);
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, demand: true, poll: true }, 210 as Instant);
  t.like(takeSent(s), { 0: { final: true, poll: false, state: 'Up' }, length: 1 });
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1 }, 220 as Instant);
  s.tick(300 as Instant);
  t.is(takeSent(s).length, 1);
});

test('a peer in demand mode is polled until it answers when our intervals change', (t) => {
  const s = upSession();
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, demand: true }, 30 as Instant);
  t.is(s.deadline(), 330 as Instant, 'nothing but the detection time: it still sends, and we still judge');
  s.configure({ ...FAST, minRxUs: 50_000 }, 40 as Instant);
  for (const at of [140, 240]) {
    s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, demand: true }, at as Instant);
    s.tick(at as Instant);
  }
  const polls = takeSent(s);
  t.is(polls.length, 3, 'RFC 5880 §6.5: the poll sequence is transmitted whatever the mode');
  t.true(polls.every((p) => p.poll && !p.final && p.requiredMinRxUs === 50_000));
  t.is(s.detectionUs, 300_000, 'the old patience until the peer has answered');
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, demand: true, final: true }, 250 as Instant);
  s.tick(500 as Instant);
  t.deepEqual(takeSent(s), []);
  t.is(s.detectionUs, 300_000, "the peer's own interval is the slower one");
});

test('a peer in demand mode that falls gets periodic packets again', (t) => {
  const s = upSession();
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, demand: true }, 30 as Instant);
  s.tick(330 as Instant);
  t.is(s.state, 'Down');
  takeSent(s);
  s.tick(1_400 as Instant);
  t.like(takeSent(s), { length: 1, 0: { state: 'Down', demand: false } });
});

test('a peer that wants no packets gets none', (t) => {
  const s = upSession();
  s.receive({ ...PACKET, state: 'Up', yourDiscriminator: 1, requiredMinRxUs: 0 }, 30 as Instant);
  t.is(Number(s.deadline()), 330);
  t.is(s.txIntervalUs, 0);
});

test('after a silent detection time the peer is unknown again', (t) => {
  const s = upSession();
  s.tick(320 as Instant);
  t.is(s.state, 'Down');
  t.is(s.remoteDiscriminator, 0);
  takeSent(s);
  s.tick(2_000 as Instant);
  t.like(takeSent(s)[0], { state: 'Down', diag: 1, yourDiscriminator: 0 });
});

test('the state machine is the one of RFC 5880 §6.2', (t) => {
  const next = (state: (typeof STATES)[number]): string[] => STATES.map((e) => TABLE[state][e].next);
  t.deepEqual(next('Down'), ['Down', 'Init', 'Up', 'Down']);
  t.deepEqual(next('Init'), ['Down', 'Init', 'Up', 'Up']);
  t.deepEqual(next('Up'), ['Down', 'Down', 'Up', 'Up']);
  t.deepEqual(next('AdminDown'), ['AdminDown', 'AdminDown', 'AdminDown', 'AdminDown']);
});

// ---- Whose packet is it

function lone(
  multihop = false,
  byAddress = false,
): { bfd: Bfd; sent: Uint8Array[]; feed: (d: Partial<BfdDatagram>) => void } {
  const sent: Uint8Array[] = [];
  const random = new Random(5);
  const bfd = new Bfd({
    random: () => (random.int32() >>> 0) / 2 ** 32,
    port: { open: () => {}, close: () => {}, send: (_, o) => sent.push(o) },
    onChange: () => {},
    digest: bfdDigest,
  });
  bfd.watch('peer', { remote: B, local: undefined, link: 'w', multihop, byAddress }, FAST, 0 as Instant);
  const feed = (d: Partial<BfdDatagram>): void =>
    bfd.receive({ octets: encodeBfd(PACKET), remote: B, link: 'w', ttl: 255, multihop, ...d }, 1 as Instant);
  return { bfd, sent, feed };
}

test('packets that came through a router, by another link or without a session are dropped and counted', (t) => {
  const { bfd, feed } = lone();
  feed({ ttl: 254 });
  feed({ link: 'other' });
  feed({ multihop: true });
  feed({ octets: encodeBfd({ ...PACKET, yourDiscriminator: 12345 }) });
  feed({ octets: new Uint8Array(3) });
  t.is(bfd.stateOf('peer'), 'Down');
  t.deepEqual(Object.fromEntries(bfd.drops), { ttl: 1, 'no-session': 3, truncated: 1 });
  feed({});
  t.is(bfd.stateOf('peer'), 'Init');
});

test('over a link with one session the sender may have another address, but a known discriminator needs the link', (t) => {
  const { bfd, sent, feed } = lone();
  feed({ remote: Addr.parse('fe80::dead')! });
  t.is(bfd.stateOf('peer'), 'Init');
  const mine = (decodeBfd(sent.at(-1)!) as BfdPacket).myDiscriminator;
  const up = encodeBfd({ ...PACKET, state: 'Up', yourDiscriminator: mine });
  feed({ octets: up, link: 'other' });
  t.is(bfd.stateOf('peer'), 'Init');
  feed({ octets: up });
  t.is(bfd.stateOf('peer'), 'Up');
});

test('several hops away the address decides and the TTL does not', (t) => {
  const { bfd, feed } = lone(true);
  feed({ remote: Addr.parse('fe80::dead')! });
  t.is(bfd.stateOf('peer'), 'Down');
  feed({ ttl: 61, link: 'any' });
  t.is(bfd.stateOf('peer'), 'Init');
});

test('two names share the session of one neighbour, and the last one takes it along', (t) => {
  const { bfd } = lone();
  bfd.watch('other', { remote: B, local: undefined, link: 'w', multihop: false }, FAST, 2 as Instant);
  t.deepEqual(bfd.snapshot(3 as Instant)[0]!.names, ['peer', 'other']);
  bfd.unwatch('peer', 4 as Instant);
  t.is(bfd.size, 1);
  bfd.unwatch('other', 5 as Instant);
  t.is(bfd.size, 0);
});

test('on a link of many wires the address decides whose packet it is', (t) => {
  const { bfd, sent, feed } = lone(false, true);
  feed({ remote: Addr.parse('fe80::dead')! });
  t.is(bfd.stateOf('peer'), 'Down', 'not even where it is the only session');
  feed({});
  t.is(bfd.stateOf('peer'), 'Init');
  const mine = (decodeBfd(sent.at(-1)!) as BfdPacket).myDiscriminator;
  const up = encodeBfd({ ...PACKET, state: 'Up', yourDiscriminator: mine });
  feed({ octets: up, remote: Addr.parse('fe80::dead')! });
  feed({ octets: up, ttl: 254 });
  t.is(bfd.stateOf('peer'), 'Init');
  feed({ octets: up });
  t.is(bfd.stateOf('peer'), 'Up');
  t.deepEqual(Object.fromEntries(bfd.drops), { 'no-session': 2, ttl: 1 });
});

test('no octets from anywhere make it throw or come up', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), (octets, multihop) => {
      const { bfd, feed } = lone(multihop);
      if (octets.length > 3) {
        octets[0] = 0x20;
        octets[3] = 24;
      }
      feed({ octets });
      t.not(bfd.stateOf('peer'), 'Up');
    }),
    { seed: 5883, numRuns: 500 },
  );
});
