import test from 'ava';
import type { RouteBatch, SpeakerEvent } from '../../../bgp/speaker.ts';
import { BgpWatch } from '../../../router/app/bgp-watch.ts';
import type { BgpEvent } from '../../../router/control/messages.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { PrefixTable } from '../../../router/lib/prefix-table.ts';

function make() {
  const told: { events: readonly BgpEvent[]; lost: number }[] = [];
  let wake = (): void => undefined;
  const watch = new BgpWatch({
    tell: (events, lost) => {
      told.push({ events, lost });
      wake();
    },
    best: () => undefined,
    wallClockMs: () => 1000,
  });
  const next = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  return { watch, told, next };
}

const event = (peer: string): SpeakerEvent => ({ kind: 'state', peer, from: 'Established', to: 'Idle', why: 'gone' });

test('nothing is gathered while nobody watches, and what changes afterwards is told in one portion', async (t) => {
  const { watch, told, next } = make();
  watch.onSession(event('unheard'));
  watch.watch(true);
  const portion = next();
  watch.onSession(event('b'));
  watch.onSession(event('c'));
  await portion;
  t.is(told.length, 1);
  t.deepEqual(
    told[0]!.events.map((e) => [e.kind, e.peer, e.from, e.to, e.why, e.time_ms]),
    [
      ['session', 'b', 'Established', 'Idle', 'gone', 1000],
      ['session', 'c', 'Established', 'Idle', 'gone', 1000],
    ],
  );
});

test('the cause of an end is told once, not with the steps that follow', async (t) => {
  const { watch, told, next } = make();
  watch.watch(true);
  const portion = next();
  const step = { kind: 'state', peer: 'b', why: 'administrative shutdown' } as const;
  for (const [from, to] of [
    ['Established', 'Idle'],
    ['Idle', 'Connect'],
    ['Connect', 'OpenSent'],
    ['OpenConfirm', 'Established'],
  ] as const)
    watch.onSession({ ...step, from, to });
  await portion;
  t.deepEqual(
    told[0]!.events.map((e) => e.why),
    ['administrative shutdown', '', '', ''],
  );
});

test('a burst is told in a bounded portion with the number of what did not fit', async (t) => {
  const { watch, told, next } = make();
  watch.watch(true);
  const portion = next();
  for (let i = 0; i < 1500; i++) watch.onSession(event(`p${i}`));
  await portion;
  t.is(told[0]!.events.length, 1000);
  t.is(told[0]!.lost, 500);
});

test('routes are told with where they go', async (t) => {
  const { watch, told, next } = make();
  watch.watch(true);
  const portion = next();
  const prefixes = new PrefixTable(4);
  const numbers = ['172.20.5.0/24', '172.20.6.0/24'].map((p) => prefixes.internPrefix(Prefix.parse(p)!));
  const nextHops = [{ address: Addr.parse('fe80::2')!, link: 'b' }];
  const batch: RouteBatch = {
    ...{ vrf: 0, count: 2, prefixes, prefix: Int32Array.from(numbers) },
    way: Int32Array.of(1, 0),
    ways: [undefined, { kind: 'unicast', nextHops, isInternal: false }],
  };
  watch.onRoutes(batch);
  await portion;
  t.deepEqual(
    told[0]!.events.map((e) => [e.kind, e.prefix, e.to, e.next_hops]),
    [
      ['route', '172.20.5.0/24', 'unicast', ['fe80::2%b']],
      ['route', '172.20.6.0/24', 'withdrawn', []],
    ],
  );
});
