import test from 'ava';
import { HyStart } from '../../../router/tcp/hystart.ts';

const ROUND = 10_000;

/** One round trip of ten ACKs; returns whether slow start ended in it. */
function round(h: HyStart, n: number, rttUs: number): boolean {
  let isOver = false;
  for (let i = 1; i <= 10; i++) isOver = h.onAck(n * ROUND + i * 1000, (n + 1) * ROUND + i * 1000, rttUs) || isOver;
  return isOver;
}

test('constant round trips never end slow start', (t) => {
  const h = new HyStart();
  h.start(ROUND);
  for (let n = 0; n < 30; n++) t.false(round(h, n, 20_000));
  t.is(h.growth(4000), 4000);
});

test('growing round trips slow it to a quarter, and end it after five rounds', (t) => {
  const h = new HyStart();
  h.start(ROUND);
  round(h, 0, 20_000);
  round(h, 1, 20_000);
  let n = 2;
  t.false(round(h, n++, 30_000));
  t.true(h.isConservative);
  t.is(h.growth(4000), 1000);
  let ended = 0;
  for (; n < 12 && ended === 0; n++) if (round(h, n, 30_000)) ended = n;
  t.true(ended >= 5 && ended <= 8, String(ended));
});

test('round trips that shrink again bring full growth back', (t) => {
  const h = new HyStart();
  h.start(ROUND);
  round(h, 0, 20_000);
  round(h, 1, 20_000);
  round(h, 2, 30_000);
  t.true(h.isConservative);
  round(h, 3, 20_000);
  t.false(h.isConservative);
});

test('fewer than eight samples decide nothing', (t) => {
  const h = new HyStart();
  h.start(ROUND);
  for (let n = 0; n < 10; n++)
    for (let i = 1; i <= 5; i++) h.onAck(n * ROUND + i * 2000, (n + 1) * ROUND + i * 2000, 1000 << n);
  t.false(h.isConservative);
});
