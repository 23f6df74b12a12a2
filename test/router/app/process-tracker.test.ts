import test from 'ava';
import { ProcessLooks } from '../../../router/app/process-tracker.ts';

const found = (...all: readonly (readonly [pid: number, identity: string])[]): Map<number, string> => new Map(all);

test('what runs at the first look is known at once', (t) => {
  const looks = new ProcessLooks();
  t.deepEqual(looks.look(found([1, 'init'], [2, 'sh']), true), { learn: [1, 2], forget: [] });
  t.deepEqual(looks.look(found([1, 'init'], [2, 'sh'])), { learn: [], forget: [] });
});

test('a process that is still what its parent is when it is seen first goes by no facts of its parent', (t) => {
  const looks = new ProcessLooks();
  t.deepEqual(looks.look(found([3, 'sh'])), { learn: [], forget: [] });
  t.deepEqual(looks.look(found([3, 'curl'])), { learn: [], forget: [] });
  t.deepEqual(looks.look(found([3, 'curl'])), { learn: [3], forget: [] });
});

test('a process that executes another program is forgotten, and known again when it stays that', (t) => {
  const looks = new ProcessLooks();
  looks.look(found([4, 'sh']), true);
  t.deepEqual(looks.look(found([4, 'curl'])), { learn: [], forget: [4] });
  t.deepEqual(looks.look(found([4, 'curl'])), { learn: [4], forget: [] });
  t.deepEqual(looks.look(found()), { learn: [], forget: [4] });
});

test('one that ended before it was known was never told about', (t) => {
  const looks = new ProcessLooks();
  looks.look(found([5, 'true']));
  t.deepEqual(looks.look(found()), { learn: [], forget: [] });
});
