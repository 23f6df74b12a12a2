import test from 'ava';
import { OnePerTurn } from '../../../router/app/one-per-turn.ts';

/** The turns that were asked for; each call runs those of the next one. */
function loop() {
  let asked: (() => void)[] = [];
  const next = (): number => {
    const now = asked;
    asked = [];
    for (const turn of now) turn();
    return now.length;
  };
  return { immediate: (turn: () => void) => void asked.push(turn), next };
}

test('each turn does one piece, in the order they came, and asks for another while there are some', (t) => {
  const { immediate, next } = loop();
  const done: number[] = [];
  const work = new OnePerTurn<number>((n) => done.push(n), immediate);
  for (const n of [1, 2, 3]) work.add(n);
  t.deepEqual(done, []);
  for (const n of [1, 2, 3]) {
    t.is(next(), 1);
    t.is(done.at(-1), n);
  }
  t.is(next(), 0);
  work.add(4);
  t.is(next(), 1);
  t.deepEqual(done, [1, 2, 3, 4]);
});

test('what a piece brings about is done in the turn after', (t) => {
  const { immediate, next } = loop();
  const done: number[] = [];
  const work: OnePerTurn<number> = new OnePerTurn((n) => {
    done.push(n);
    if (n < 3) work.add(n + 1);
  }, immediate);
  work.add(1);
  next();
  t.deepEqual(done, [1]);
  next();
  next();
  t.deepEqual(done, [1, 2, 3]);
  t.is(next(), 0);
});

test('a piece that fails keeps none of the others', (t) => {
  const { immediate, next } = loop();
  const done: number[] = [];
  const work = new OnePerTurn<number>((n) => {
    if (n === 1) throw new Error('one');
    done.push(n);
  }, immediate);
  work.add(1);
  work.add(2);
  t.throws(next, { message: 'one' });
  next();
  t.deepEqual(done, [2]);
});
