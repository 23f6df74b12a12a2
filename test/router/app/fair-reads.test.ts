import test from 'ava';
import type { StreamHandler } from '../../../bgp/ports.ts';
import { FairReads } from '../../../router/app/fair-reads.ts';
import type { Instant } from '../../../router/lib/clock.ts';

/** Reads with a clock that goes on by `costMs` for every piece a session is given. */
function setUp(costMs: number) {
  let now = 0;
  const turns: (() => void)[] = [];
  const said: string[] = [];
  const reads = new FairReads(
    { now: () => now as Instant },
    (turn) => turns.push(turn),
    () => now + 5,
  );
  const session = (name: string): StreamHandler => ({
    data: (octets) => {
      now += costMs;
      said.push(`${name} ${octets.length}`);
    },
    drained: () => undefined,
    closed: () => undefined,
  });
  const offer = (name: string, length: number): void => {
    reads.offer(new Uint8Array(length), session(name), () => said.push(`${name} done`));
  };
  return { offer, said, turns, turn: () => turns.shift()?.() };
}

test('what is small goes through at once', (t) => {
  const { offer, said } = setUp(1);
  offer('a', 19);
  t.deepEqual(said, ['a 19', 'a done']);
});

test('sessions share a turn piece by piece, and what does not fit waits for the next turn', (t) => {
  const { offer, said, turn, turns } = setUp(2);
  offer('a', 2500);
  t.deepEqual(said.splice(0), ['a 1024', 'a 1024', 'a 452', 'a done']);
  offer('b', 1250);
  offer('c', 1250);
  t.deepEqual(said, [], 'the turn is over');
  turn();
  t.deepEqual(said.splice(0), ['b 1024', 'c 1024', 'b 226', 'b done']);
  offer('d', 1);
  turn();
  t.deepEqual(said.splice(0), ['c 226', 'c done', 'd 1', 'd done']);
  turn();
  t.is(turns.length, 0, 'nothing is scheduled while nothing waits');
});

test('pieces grow while they take little', (t) => {
  const { offer, said } = setUp(0.5);
  offer('a', 31_744);
  t.deepEqual(said, ['a 1024', 'a 2048', 'a 4096', 'a 8192', 'a 8192', 'a 8192', 'a done']);
});
