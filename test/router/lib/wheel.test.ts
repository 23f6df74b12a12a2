import test from 'ava';
import fc from 'fast-check';
import { TimerWheel } from '../../../router/lib/wheel.ts';

class Log {
  readonly fired: number[] = [];
  timerFired(id: number): void {
    this.fired.push(id);
  }
}

test('a timer fires in its millisecond, not before, and once', (t) => {
  const w = new TimerWheel(1000);
  const log = new Log();
  const id = w.alloc();
  w.set(id, 1500);
  w.advance(1499, log);
  t.deepEqual(log.fired, []);
  w.advance(1500, log);
  t.deepEqual(log.fired, [id]);
  w.advance(9999, log);
  t.is(log.fired.length, 1);
  t.false(w.isSet(id));
});

test('a deadline that has passed fires in the next advance', (t) => {
  const w = new TimerWheel(1000);
  const log = new Log();
  const id = w.alloc();
  w.set(id, 10);
  t.true(w.untilNext(1000) <= 1);
  w.advance(1001, log);
  t.deepEqual(log.fired, [id]);
});

test('a sink that sets its timer again for now does not loop', (t) => {
  const w = new TimerWheel(0);
  let n = 0;
  const id = w.alloc();
  const sink = {
    timerFired(): void {
      n++;
      w.set(id, 0);
    },
  };
  w.set(id, 5);
  w.advance(5, sink);
  t.is(n, 1);
  w.advance(6, sink);
  t.is(n, 2);
});

test('freed timers are handed out again and never fire', (t) => {
  const w = new TimerWheel(0, 2);
  const log = new Log();
  const a = w.alloc();
  w.set(a, 10);
  w.free(a);
  t.is(w.alloc(), a);
  w.advance(100, log);
  t.deepEqual(log.fired, []);
  const many = Array.from({ length: 100 }, () => w.alloc());
  t.is(new Set(many).size, 100, 'it grows');
});

test('any set of timers fires in order, on time, over any jumps and wrap-around', (t) => {
  const delays = fc.array(fc.oneof(fc.nat(100), fc.nat(100_000), fc.nat(0x7ffffffe)), { minLength: 1, maxLength: 40 });
  const jumps = fc.array(fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 0x10000000 })), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(fc.integer(), delays, jumps, (start, ds, js) => {
      const w = new TimerWheel(start);
      const ids = ds.map(() => w.alloc());
      ids.forEach((id, i) => {
        w.set(id, (start + ds[i]!) | 0);
      });
      let now = 0;
      const at = new Map<number, number>();
      for (const j of [...js, 0x7fffffff]) {
        const wait = w.untilNext((start + now) | 0);
        const pending = ds.filter((_, i) => !at.has(ids[i]!));
        if (pending.length > 0) {
          t.true(wait >= 0);
          t.true(now + wait <= Math.max(now, ...[Math.min(...pending), now + 1]), 'never late');
        } else t.is(wait, -1);
        now = Math.min(0x7fffffff, now + j);
        const order: number[] = [];
        w.advance((start + now) | 0, {
          timerFired: (id) => {
            order.push(ds[ids.indexOf(id)]!);
            at.set(id, now);
          },
        });
        // Timers for "now" at setting time count as one millisecond later.
        t.deepEqual(
          order,
          [...order].sort((x, y) => x - y || 0).map((x) => x),
        );
        for (const d of order) t.true(d <= now);
        if (now === 0x7fffffff) break;
      }
      t.is(at.size, ds.length);
    }),
    { seed: 11, numRuns: 300 },
  );
});
