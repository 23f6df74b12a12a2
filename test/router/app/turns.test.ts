import test from 'ava';
import { Turns } from '../../../router/app/turns.ts';
import { systemClock } from '../../../router/lib/clock.ts';

/** Hold the event loop. */
function work(ms: number): void {
  for (const end = systemClock.now() + ms; systemClock.now() < end; );
}

const turned = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a turn lasts from its first callback until the event loop turns, and long ones are counted', async (t) => {
  const turns = new Turns();
  t.deepEqual(turns.counters(), { routing_turn_max_ms: 0, routing_turns_over_20ms: 0 });
  turns.begin();
  work(15);
  turns.begin();
  work(15);
  await turned();
  const { routing_turn_max_ms: longest, routing_turns_over_20ms: long } = turns.counters();
  t.true(longest >= 30, `${longest} ms`);
  t.is(long, 1);
  turns.begin();
  await turned();
  t.is(turns.counters().routing_turn_max_ms, longest);
});

test('who works in slices gets less the longer the turn lasts, and always something', async (t) => {
  const turns = new Turns();
  const left = (): number => turns.until(3, 1) - systemClock.now();
  const isAbout = (ms: number, wanted: number): boolean => ms > wanted - 0.9 && ms <= wanted;
  turns.begin();
  t.true(isAbout(left(), 3), 'most of it for one');
  work(20);
  t.true(isAbout(left(), 1), 'the turn has lasted long enough');
  await turned();
  turns.begin();
  t.true(isAbout(left(), 3), 'another turn');
  await turned();
});
