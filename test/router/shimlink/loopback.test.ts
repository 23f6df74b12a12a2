import test from 'ava';
import fc from 'fast-check';
import { GsoType, type PacketLink, type PacketSink, RecordFlag } from '../../../router/lib/link.ts';
import { World } from '../../../router/lib/world.ts';
import { LoopbackLink } from '../../../router/shimlink/loopback.ts';

const world = new World(64 << 20);
const { u8 } = world;

interface Seen {
  readonly length: number;
  readonly first: number;
  readonly last: number;
  readonly flags: number;
  readonly gsoSize: number;
}

function collector(seen: Seen[], also: () => void = () => undefined): PacketSink {
  return {
    onPacket: (_link, at, length, flags, _gsoType, _hdrLen, gsoSize) => {
      seen.push({ length, first: u8[at]!, last: u8[at + length - 1]!, flags, gsoSize });
      also();
    },
  };
}

function send(link: LoopbackLink, length: number, mark: number): boolean {
  const at = link.reserve(length);
  if (at < 0) return false;
  u8[at] = mark;
  u8[at + length - 1] = mark;
  link.commit(length, RecordFlag.NeedsCsum, GsoType.None, 0, 0);
  return true;
}

test('what is sent comes back with a valid checksum, in order and intact, whatever the sizes', (t) => {
  const link = new LoopbackLink(world, 1, 'lo', 0);
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer({ min: 1, max: 65535 }), fc.constant('poll')), { maxLength: 400 }),
        (steps) => {
          const sent: number[] = [];
          const seen: Seen[] = [];
          let mark = 0;
          for (const step of steps) {
            if (step === 'poll') link.poll(7, collector(seen));
            else if (send(link, step as number, (mark = (mark + 1) & 255))) sent.push(mark);
          }
          while (link.pending > 0) link.poll(1000, collector(seen));
          return (
            link.backlog === 0 &&
            seen.length === sent.length &&
            seen.every((s, i) => s.first === sent[i] && s.last === sent[i] && s.flags === RecordFlag.CsumValid)
          );
        },
      ),
    ),
  );
});

test('answers to records being delivered wait for the next poll', (t) => {
  const link = new LoopbackLink(world, 1, 'lo', 0);
  send(link, 100, 1);
  const seen: Seen[] = [];
  t.is(
    link.poll(
      256,
      collector(seen, () => send(link, 50, 2)),
    ),
    1,
  );
  t.is(link.pending, 1);
  t.is(link.poll(256, collector(seen)), 1);
  t.deepEqual(
    seen.map((s) => s.length),
    [100, 50],
  );
});

test('super-segments keep their sizes', (t) => {
  const link = new LoopbackLink(world, 1, 'lo', 0);
  link.reserve(3000);
  link.commit(3000, RecordFlag.Gso | RecordFlag.NeedsCsum, GsoType.TcpV4, 40, 1400);
  const seen: Seen[] = [];
  link.poll(1, collector(seen));
  t.is(seen[0]!.flags, RecordFlag.Gso | RecordFlag.CsumValid);
  t.is(seen[0]!.gsoSize, 1400);
});

test('a full ring refuses, counts, and tells once when it has drained', (t) => {
  const link = new LoopbackLink(world, 1, 'lo', 0);
  const drained: PacketLink[] = [];
  link.onDrained = (l) => drained.push(l);
  while (send(link, 60000, 1));
  t.is(link.txDropped, 1);
  link.wantDrain();
  link.poll(1, collector([]));
  t.is(drained.length, 0);
  link.poll(1000, collector([]));
  link.poll(1000, collector([]));
  t.deepEqual(drained, [link]);
});

test('a link that is down takes nothing', (t) => {
  const link = new LoopbackLink(world, 1, 'lo', 0);
  link.isUp = false;
  t.is(link.reserve(10), -1);
});
