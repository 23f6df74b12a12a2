import test from 'ava';
import { Rota } from '../../bgp/rota.ts';
import type { Instant } from '../../router/lib/clock.ts';

test('all get a slice while there is time, and the next turn begins behind the last one', (t) => {
  let now = 0;
  const rota = new Rota<string>({ now: () => now as Instant }, 5);
  const got: string[] = [];
  const turn = (waiting: readonly string[], costMs: number): string => {
    got.length = 0;
    rota.turn(waiting, (one) => {
      got.push(one);
      now += costMs;
    });
    return got.join('');
  };
  const all = ['a', 'b', 'c', 'd'];
  t.is(turn(all, 1), 'abcd');
  t.is(turn(all, 3), 'ab');
  t.is(turn(all, 3), 'cd');
  t.is(turn(all, 9), 'a', 'somebody gets on however long a slice takes');
  t.is(turn(['c', 'd'], 1), 'cd', 'one who does not wait any more is no reason to wait');
  t.is(turn([], 1), '');
});
