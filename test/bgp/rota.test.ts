import test from 'ava';
import { Rota } from '../../bgp/rota.ts';

test('all get a slice while there is time, and the next turn begins behind the last one', (t) => {
  let now = 0;
  const rota = new Rota<string>();
  const got: string[] = [];
  const turn = (waiting: readonly string[], costMs: number): string => {
    got.length = 0;
    const end = now + 5;
    const slice = (one: string): void => {
      got.push(one);
      now += costMs;
    };
    rota.turn(waiting, slice, () => now >= end);
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
