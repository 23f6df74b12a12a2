import test from 'ava';
import fc from 'fast-check';
import { Scoreboard } from '../../../router/tcp/scoreboard.ts';

const none = { onDelivered: (): void => {} };

test('consecutive octets sent at one time are one record, SACK splits and joins', (t) => {
  const b = new Scoreboard();
  b.reset(100);
  b.sent(50, 7, 0);
  b.sent(50, 7, 0);
  t.is(b.inFlight, 100);
  t.is(b.sack(120, 140, none), 20);
  t.is(b.sack(120, 160, none), 20);
  t.is(b.sack(110, 200, none), 50);
  t.is(b.inFlight, 10);
  b.markAllLost();
  t.is(b.firstLost(), 100);
  t.is(b.lostLength, 10);
  b.retransmitted(100, 10, 9, 0);
  t.is(b.inFlight, 10);
  t.is(b.retransmittedOctets(), 10);
  b.acked(200, none);
  t.true(b.isEmpty);
  t.is(b.sacked, 0);
});

test('what was sent before the latest delivered octets is lost once the window has passed', (t) => {
  const b = new Scoreboard();
  b.reset(0);
  b.sent(100, 10, 0);
  b.sent(100, 20, 0);
  b.sent(100, 30, 0);
  b.sack(200, 300, none);
  t.is(b.detectLost(30, 300, 50, 55), 15, 'the second becomes lost in 15 microseconds');
  t.is(b.lost, 0);
  t.is(b.detectLost(30, 300, 50, 60), 10);
  t.is(b.lost, 100);
  t.is(b.detectLost(30, 300, 50, 70), 0);
  t.is(b.lost, 200);
});

test('any sequence of events keeps the sums equal to a model octet by octet', (t) => {
  const S = 1;
  const L = 2;
  const event = fc.record({ kind: fc.nat(5), x: fc.nat(200), y: fc.nat(200) });
  fc.assert(
    fc.property(fc.integer(), fc.array(event, { maxLength: 120 }), (start, events) => {
      const b = new Scoreboard();
      b.reset(start);
      let model: number[] = []; // flags per octet from una
      let delivered = 0;
      const sink = { onDelivered: (): void => void delivered++ };
      let us = 0;
      for (const e of events) {
        us++;
        const at = (n: number): number => (b.una + n) | 0;
        if (e.kind === 0) {
          b.sent(e.x + 1, us >> 1, 0);
          model.push(...new Array<number>(e.x + 1).fill(0));
        } else if (model.length === 0) continue;
        else if (e.kind === 1) {
          const n = 1 + (e.x % model.length);
          b.acked(at(n), sink);
          model = model.slice(n);
        } else if (e.kind === 2) {
          const left = e.x % model.length;
          const right = Math.min(model.length, left + 1 + e.y);
          b.sack(at(left), at(right), sink);
          model.fill(S, left, right);
        } else if (e.kind === 3) {
          b.markAllLost();
          model = model.map((f) => (f === S ? S : L));
        } else if (e.kind === 4 && b.lost > 0) {
          const first = b.firstLost();
          const i = (first - b.una) | 0;
          t.is(i, model.indexOf(L));
          let n = 0;
          while (model[i + n] === L) n++;
          t.is(b.lostLength, n);
          const m = 1 + (e.x % n);
          b.retransmitted(first, m, us, 0);
          model.fill(0, i, i + m);
        } else if (e.kind === 5) {
          const n = Math.min(1 + e.x, model.length);
          b.retransmitted(at(model.length - n), n, us, 0);
          for (let i = model.length - n; i < model.length; i++) if (model[i] === L) model[i] = 0;
        }
        t.is((b.nxt - b.una) | 0, model.length);
        t.is(b.sacked, model.filter((f) => f === S).length);
        t.is(b.lost, model.filter((f) => f === L).length);
      }
    }),
    { seed: 6675, numRuns: 400 },
  );
});

test('sending a hundred thousand lost records again costs no square of it', (t) => {
  const b = new Scoreboard();
  b.reset(0);
  const count = 100_000;
  for (let us = 0; us < count; us++) b.sent(1000, us, 0);
  b.markAllLost();
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    if (b.firstLost() !== 1000 * i) t.fail();
    b.retransmitted(1000 * i, 1000, count + i, 0);
  }
  t.is(b.lost, 0);
  t.true(performance.now() - start < 3000);
});
