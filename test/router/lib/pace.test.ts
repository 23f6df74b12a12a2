import test from 'ava';
import { Pace } from '../../../router/lib/pace.ts';

test('steps grow to the most while they are cheap, and shrink when they are not', (t) => {
  const pace = new Pace(512);
  t.is(pace.count, 32);
  for (let i = 0; i < 10; i++) pace.took(0);
  t.is(pace.count, 512);
  pace.took(5);
  t.is(pace.count, 256);
  pace.took(2);
  t.is(pace.count, 256, 'about right');
  for (let i = 0; i < 10; i++) pace.took(50);
  t.is(pace.count, 32, 'never less');
});

test('one that does not shrink grows with each cheap step', (t) => {
  const pace = new Pace(128, false);
  const counts = [5, 0, 5, 0, 50, 0, 0].map((ms) => {
    pace.took(ms);
    return pace.count;
  });
  t.deepEqual(counts, [32, 64, 64, 128, 128, 128, 128]);
});
