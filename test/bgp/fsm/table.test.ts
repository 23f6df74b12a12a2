import test from 'ava';
import { type Action, type Cell, EVENTS, type Event, STATES, type State, TABLE } from '../../../bgp/fsm/table.ts';

const events = Object.keys(EVENTS) as Event[];

function steps(cell: Cell) {
  return 'next' in cell ? [cell] : [cell.yes, cell.no];
}

function every(visit: (state: State, event: Event, actions: readonly Action[], next: State) => void): void {
  for (const state of STATES) {
    for (const event of events) for (const s of steps(TABLE[state][event])) visit(state, event, s.actions, s.next);
  }
}

test('the table has a cell for each of six states and 29 events, numbered as in the RFC', (t) => {
  t.is(STATES.length, 6);
  t.deepEqual(
    Object.values(EVENTS),
    Array.from({ length: 29 }, (_, i) => i + 1),
  );
  for (const state of STATES) t.deepEqual(Object.keys(TABLE[state]).sort(), [...events].sort());
});

test('the way to Idle always drops the connection and stops the timers', (t) => {
  every((state, event, actions, next) => {
    if (next !== 'Idle' || state === 'Idle') return;
    t.true(actions.includes('drop'), `${state} ${event}`);
    t.true(actions.includes('stop-delay-open'), `${state} ${event}`);
  });
});

test('a NOTIFICATION goes out before the connection is dropped, and only where an OPEN may have been sent', (t) => {
  every((state, event, actions) => {
    const notify = actions.findIndex((a) => a.startsWith('notify-'));
    if (notify < 0) return;
    t.true(notify < actions.indexOf('drop'), `${state} ${event}`);
    t.not(state, 'Idle');
  });
});

test('start events mean something in Idle only', (t) => {
  for (const event of events.filter((e) => e.includes('Start'))) {
    for (const state of STATES) {
      const [s] = steps(TABLE[state][event]);
      if (state === 'Idle') t.true(s!.next === 'Connect' || s!.next === 'Active');
      else t.deepEqual(s, { next: state, actions: [] });
    }
  }
});

test('Idle ignores everything but starts', (t) => {
  for (const event of events.filter((e) => !e.includes('Start'))) {
    t.deepEqual(TABLE.Idle[event], { next: 'Idle', actions: [] });
  }
});

test('a NOTIFICATION is never answered with one', (t) => {
  for (const state of STATES) {
    for (const event of ['NotifMsg', 'NotifMsgVerErr'] as const) {
      for (const s of steps(TABLE[state][event])) t.false(s.actions.some((a) => a.startsWith('notify-')));
    }
  }
});

test('only an UPDATE in Established is delivered, and only a KEEPALIVE in OpenConfirm establishes', (t) => {
  every((state, event, actions) => {
    if (actions.includes('deliver')) t.deepEqual([state, event], ['Established', 'UpdateMsg']);
    if (actions.includes('established')) t.deepEqual([state, event], ['OpenConfirm', 'KeepAliveMsg']);
  });
});

test('every failure makes the next try wait longer, a stop by the operator does not', (t) => {
  every((state, event, actions, next) => {
    if (state === 'Idle' || next !== 'Idle') return;
    if (event === 'ManualStop') t.true(actions.includes('zero-retry-counter') && !actions.includes('damp'));
    else t.true(actions.includes('damp'), `${state} ${event}`);
  });
});

test('the expected way up is Connect, OpenSent, OpenConfirm, Established', (t) => {
  const way: State[] = ['Idle'];
  for (const event of ['ManualStart', 'TcpCrAcked', 'BgpOpen', 'KeepAliveMsg'] as const) {
    const cell = TABLE[way[way.length - 1]!][event];
    way.push('next' in cell ? cell.next : cell.no.next);
  }
  t.deepEqual(way, ['Idle', 'Connect', 'OpenSent', 'OpenConfirm', 'Established']);
});
