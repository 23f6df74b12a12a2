import test from 'ava';
import fc from 'fast-check';
import { TcpPeer } from '../kit/tcp-peer.ts';

const near = fc.oneof(fc.integer({ min: -3, max: 20 }), fc.integer({ min: -70_000, max: 70_000 }), fc.integer());
const sackBlocks = fc.option(fc.array(fc.tuple(near, near), { minLength: 1, maxLength: 3 }), { nil: undefined });
const segment = fc.record({
  kind: fc.constantFrom('segment', 'segment', 'segment', 'segment', 'time', 'send', 'finish', 'pull', 'stop'),
  flags: fc.constantFrom('A', 'A', 'A', 'PA', 'FA', 'SA', 'S', 'F', 'RA', 'R', '', 'FSRPAU', 'PAU'),
  seq: near,
  ack: near,
  window: fc.constantFrom(0, 1, 500, 65_535),
  length: fc.constantFrom(0, 0, 1, 100, 1400),
  scale: fc.constantFrom(undefined, 0, 14),
  ts: fc.option(fc.tuple(near, near), { nil: undefined }),
  sack: sackBlocks,
  isRelative: fc.boolean(),
});

test('no segments whatever throw, corrupt the sums or keep memory', (t) => {
  fc.assert(
    fc.property(fc.boolean(), fc.boolean(), fc.array(segment, { maxLength: 60 }), (isActive, isRich, events) => {
      const p = new TcpPeer();
      const rich = isRich ? { sackPermitted: true, ts: [100, 0] as const, scale: 7 } : {};
      if (isActive) p.accept({}, rich);
      else p.open({}, rich);
      const c = p.connection;
      for (const e of events) {
        if (e.kind === 'time') p.net.runFor(Math.abs(e.seq % 5000));
        else if (e.kind === 'send') p.app.toSend += e.length * 10;
        else if (e.kind === 'finish') c.shutdownWrite();
        else if (e.kind === 'stop') p.app.isReading = false;
        else if (e.kind === 'pull') p.app.resume();
        else {
          // Relative to what the connection expects, so that many are acceptable.
          const seq = e.isRelative ? e.seq + ((c.rcvNxt - 0x7fffff00) | 0) : e.seq;
          const ack = e.isRelative ? e.ack + ((c.sndUna - c.iss) | 0) : e.ack;
          const { flags, window, length, sack } = e;
          p.send({
            ...{ flags, seq, ack, window, length },
            ...(e.ts ? { ts: e.ts } : {}),
            ...(e.scale !== undefined ? { scale: e.scale } : {}),
            ...(sack && !e.ts ? { sack } : {}),
          });
        }
        const board = c.recovery.board;
        const outstanding = (board.nxt - board.una) | 0;
        t.true(board.sacked >= 0 && board.lost >= 0 && board.sacked + board.lost <= outstanding);
        t.true(c.recovery.inFlight >= 0 && c.cc.cwnd >= 0);
        t.true(((c.rx.adv - c.rx.nxt) | 0) >= 0 || c.rx.isFinished, 'the window’s edge never lies behind');
      }
      c.abort();
      for (const other of p.host.listeners.values()) other.close();
      p.net.runFor(200_000);
      t.is(p.host.table.size, 0);
      t.is(p.host.pool.available, p.host.pool.capacity);
    }),
    { seed: 5961, numRuns: 1000 },
  );
});
