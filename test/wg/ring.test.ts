import test from 'ava';
import fc from 'fast-check';
import type { PacketLink, PacketSink } from '../../router/lib/link.ts';
import { GsoType, RecordFlag } from '../../router/lib/link.ts';
import { World } from '../../router/lib/world.ts';
import { initRegion, WgRing } from '../../wg/ring.ts';
import { DEVICE_BYTES, HEADER_BYTES, HeaderOffset, MIN_RING_BYTES, regionBytes } from '../../wg/ring-layout.ts';

const RING = MIN_RING_BYTES;

/** The child's side, written plainly. */
class FakeChild {
  readonly world: World;
  readonly base: number;
  tail = 0;
  head = 0;
  constructor(world: World, base: number) {
    this.world = world;
    this.base = base;
  }
  word(offset: number): number {
    return this.world.i32[(this.base + offset) >> 2]!;
  }
  put(offset: number, value: number): void {
    this.world.i32[(this.base + offset) >> 2] = value;
  }
  /** Take at most `count` records: [device, length, first octet]. */
  take(count: number): number[][] {
    const out: number[][] = [];
    const head = this.word(HeaderOffset.TxHead);
    while (out.length < count && this.tail !== head) {
      const at = this.base + HEADER_BYTES + (this.tail & (RING - 1));
      const length = this.world.i32[at >> 2]!;
      if (length === -1) {
        this.tail = (this.tail + RING - (this.tail & (RING - 1))) | 0;
        continue;
      }
      const device = this.world.i32[(at >> 2) + 3]! >>> 16;
      out.push([device, length, this.world.u8[at + 16]!, this.world.u8[at + 15 + length]!]);
      const size = (31 + length) & -16;
      const taken = HeaderOffset.Devices + device * DEVICE_BYTES;
      this.put(taken, (this.word(taken) + size) | 0);
      this.tail = (this.tail + size) | 0;
    }
    this.put(HeaderOffset.TxTail, this.tail);
    return out;
  }
  /** Deliver a record; fields as header words 1 to 3. */
  give(length: number, w1 = 0, w2 = 0, w3 = 0, size = (31 + length) & -16): void {
    let offset = this.head & (RING - 1);
    if (offset + size > RING) {
      this.world.i32[(this.base + HEADER_BYTES + RING + offset) >> 2] = -1;
      this.head = (this.head + RING - offset) | 0;
      offset = 0;
    }
    const at = (this.base + HEADER_BYTES + RING + offset) >> 2;
    this.world.i32.set([length, w1, w2, w3], at);
    this.head = (this.head + size) | 0;
    this.put(HeaderOffset.RxHead, this.head);
  }
}

interface Got {
  readonly link: PacketLink;
  readonly args: readonly number[];
}

class Sink implements PacketSink {
  readonly got: Got[] = [];
  onPacket(link: PacketLink, ...args: number[]): void {
    this.got.push({ link, args });
  }
}

function setup() {
  const world = new World(regionBytes(RING) + (1 << 17));
  const base = world.alloc(regionBytes(RING), 4096);
  initRegion(world, base, RING);
  const counts = { signals: 0, drained: [] as string[] };
  const ring = new WgRing(
    world,
    base,
    RING,
    () => counts.signals++,
    (l) => counts.drained.push(l.name),
  );
  const link = (device: number, highWater?: number) => {
    const l = ring.addLink({
      index: device + 1,
      name: `wg${device}`,
      vrf: 0,
      mtu: 1420,
      device,
      ...(highWater === undefined ? {} : { highWater }),
    });
    l.isUp = true;
    return l;
  };
  return { world, base, ring, link, child: new FakeChild(world, base), counts, sink: new Sink() };
}

function put(
  s: ReturnType<typeof setup>,
  link: ReturnType<ReturnType<typeof setup>['link']>,
  length: number,
  mark: number,
): boolean {
  const at = link.reserve(length);
  if (at < 0) return false;
  s.world.u8.fill(mark, at, at + length);
  link.commit(length, 0, 0, 0, 0, 0, 0);
  return true;
}

test('records keep their order and octets, whatever their lengths and the taker’s pace', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 65535 }), fc.boolean(), fc.nat(6)), { maxLength: 120 }),
      (steps) => {
        const s = setup();
        const links = [s.link(2), s.link(9)];
        const want: number[][] = [];
        const got: number[][] = [];
        steps.forEach(([length, second, take], i) => {
          const link = links[second ? 1 : 0]!;
          if (put(s, link, length, i & 255)) want.push([link.device, length, i & 255, i & 255]);
          link.flush();
          got.push(...s.child.take(take));
        });
        got.push(...s.child.take(1000));
        t.deepEqual(got, want);
        t.is(s.ring.used, 0);
        t.is(links[0]!.backlog + links[1]!.backlog, 0);
      },
    ),
    { seed: 3 },
  );
});

test('nothing is visible before flush, and the child is woken once, only when it sleeps', (t) => {
  const s = setup();
  const link = s.link(0);
  put(s, link, 100, 1);
  t.deepEqual(s.child.take(9), []);
  link.flush();
  t.is(s.counts.signals, 0);
  t.is(s.child.take(9).length, 1);
  s.child.put(HeaderOffset.TxSleeping, 1);
  put(s, link, 100, 2);
  link.flush();
  link.flush();
  put(s, link, 100, 3);
  link.flush();
  t.is(s.counts.signals, 1);
});

test('a link that is down or has its share in the ring refuses and counts', (t) => {
  const s = setup();
  const link = s.link(0, 16384);
  let n = 0;
  while (put(s, link, 1000, 0)) n++;
  t.is(n, 32);
  t.is(link.txDropped, 1);
  t.is(link.txPackets, 32);
  t.is(link.backlog, 32 * 1024);
  const other = s.link(1);
  t.true(put(s, other, 1000, 0), 'another link has its own share');
  link.isUp = false;
  s.child.take(99);
  t.is(link.reserve(10), -1);
  t.is(link.reserve(0), -1);
  t.is(link.txDropped, 3);
});

test('a link that asked is told once when its backlog has halved', (t) => {
  const s = setup();
  const link = s.link(4, 16384);
  for (let i = 0; i < 16; i++) put(s, link, 1000, 0);
  link.flush();
  link.wantDrain();
  link.wantDrain();
  t.true(s.ring.prepareSleep());
  const target = s.child.word(HeaderOffset.Devices + 4 * DEVICE_BYTES + 4);
  t.is(target, (16 * 1024 - 8192) | 1, 'the child knows when to signal');
  s.child.take(7);
  s.ring.poll(9, s.sink);
  t.deepEqual(s.counts.drained, []);
  s.child.take(1);
  t.false(s.ring.prepareSleep(), 'there is work');
  s.ring.poll(9, s.sink);
  s.ring.poll(9, s.sink);
  t.deepEqual(s.counts.drained, ['wg4']);
});

test('a word to watch tells of the next record, and work that is there already is told at once', (t) => {
  const s = setup();
  const w = s.ring.world.alloc(8) >> 2;
  const { i32 } = s.ring.world;
  t.true(s.ring.watch(w));
  t.is(i32[i32[w]! >> 2], i32[w + 1]);
  const link = s.link(0);
  for (let i = 0; i < 16; i++) put(s, link, 1000, 0);
  link.flush();
  s.child.take(16);
  link.wantDrain();
  t.false(s.ring.watch(w), 'the link that waits has drained');
});

test('received records reach their links with their offload fields', (t) => {
  const s = setup();
  const link = s.link(7);
  s.child.give(1000, RecordFlag.CsumValid, 0, 7 << 16);
  const flags = RecordFlag.CsumValid | RecordFlag.Gso;
  s.child.give(40 + 2500, flags | (GsoType.TcpV4 << 8) | (40 << 16), 1000 | (20 << 16), 16 | (7 << 16));
  t.is(s.ring.poll(1, s.sink), 1);
  t.is(s.ring.poll(9, s.sink), 1);
  t.is(s.ring.poll(9, s.sink), 0);
  const rx = s.base + HEADER_BYTES + RING;
  t.deepEqual(
    s.sink.got.map((g) => g.args),
    [
      [rx + 16, 1000, 1, 0, 0, 0],
      [rx + 1024 + 16, 2540, flags, GsoType.TcpV4, 40, 1000],
    ],
  );
  t.true(s.sink.got.every((g) => g.link === link));
  t.is(link.rxPackets, 4);
  t.is(link.rxBytes, 1000 + 2540 + 80);
  t.is(s.child.word(HeaderOffset.RxTail), s.child.head);
});

test('records for no link and nonsense are counted and passed over', (t) => {
  const s = setup();
  s.link(0);
  s.child.give(100, 0, 0, 5 << 16);
  s.child.give(100, RecordFlag.Gso | (9 << 8) | (40 << 16), 10);
  s.child.give(100, RecordFlag.Gso | (1 << 8) | (100 << 16), 10);
  s.child.give(100, RecordFlag.Gso | (1 << 8) | (40 << 16), 0);
  s.child.give(100);
  s.ring.poll(99, s.sink);
  t.is(s.sink.got.length, 1);
  t.is(s.ring.rxNoLink, 1);
  t.is(s.ring.rxMalformed, 3);
  for (const length of [0, -2, 65536, 0x7fffffff]) {
    s.child.give(length, 0, 0, 0, 4096);
    s.ring.poll(99, s.sink);
    t.is(s.child.word(HeaderOffset.RxTail), s.child.head, `length ${length}`);
  }
  s.child.head = (s.child.head + RING * 2) | 0; // a head from nowhere
  s.child.put(HeaderOffset.RxHead, s.child.head);
  s.ring.poll(99, s.sink);
  t.is(s.child.word(HeaderOffset.RxTail), s.child.head);
  t.is(s.ring.rxMalformed, 8);
  s.child.give(100);
  s.ring.poll(99, s.sink);
  t.is(s.sink.got.length, 2);
});

test('no octets from the child make poll read outside of the ring or loop', (t) => {
  fc.assert(
    fc.property(fc.int32Array({ maxLength: 64 }), fc.integer(), (words, head) => {
      const s = setup();
      s.link(0);
      s.world.i32.set(words, (s.base + HEADER_BYTES + RING) >> 2);
      s.child.put(HeaderOffset.RxHead, head);
      for (let i = 0; i < 200 && s.child.word(HeaderOffset.RxTail) !== (head & -16); i++) s.ring.poll(256, s.sink);
      const from = s.base + HEADER_BYTES + RING;
      for (const { args } of s.sink.got) t.true(args[0]! >= from + 16 && args[0]! + args[1]! <= from + RING);
      t.is(s.child.word(HeaderOffset.RxTail), head & -16);
    }),
    { seed: 11, numRuns: 300 },
  );
});

test('sleeping is refused while there are records', (t) => {
  const s = setup();
  s.link(0);
  s.child.give(100);
  t.false(s.ring.prepareSleep());
  t.is(s.child.word(HeaderOffset.RxSleeping), 0);
  s.ring.poll(9, s.sink);
  t.true(s.ring.prepareSleep());
  t.is(s.child.word(HeaderOffset.RxSleeping), 1);
  s.ring.awake();
  t.is(s.child.word(HeaderOffset.RxSleeping), 0);
});

test('a ring attached anew goes on at the positions in memory', (t) => {
  const s = setup();
  const link = s.link(0);
  put(s, link, 100, 1);
  link.flush();
  s.child.give(200);
  s.ring.poll(9, s.sink);
  s.child.give(300);
  const again = new WgRing(s.world, s.base, RING, () => {});
  const l = again.addLink({ index: 1, name: 'x', vrf: 0, mtu: 1420, device: 0 });
  l.isUp = true;
  t.is(again.poll(9, s.sink), 1);
  t.is(s.sink.got.at(-1)!.args[1], 300);
  const at = l.reserve(50);
  s.world.u8.fill(9, at, at + 50);
  l.commit(50, 0, 0, 0, 0, 0, 0);
  l.flush();
  t.deepEqual(
    s.child.take(9).map((r) => r[1]),
    [100, 50],
  );
});
