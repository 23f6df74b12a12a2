import test from 'ava';
import type { SpeakerEvent } from '../../../bgp/speaker.ts';
import { BgpLog } from '../../../router/app/bgp-log.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { type LogLine, makeLogger } from '../../../router/lib/log.ts';

test('a peer whose every UPDATE is bad fills no log: one line a minute says how many there were', (t) => {
  let now = 1000;
  const lines: LogLine[] = [];
  const log = new BgpLog(
    makeLogger((line) => lines.push(line), 'bgp'),
    { now: () => now as Instant },
  );
  const fault = (peer: string): void => log.tell({ kind: 'fault', peer, text: 'AS_PATH contains an AS_SET' });
  for (let i = 0; i < 1000; i++) fault('a');
  fault('b');
  t.deepEqual(
    lines.map((l) => l.fields),
    ['a', 'b'].map((peer) => ({ peer, fault: 'AS_PATH contains an AS_SET' })),
  );
  now += 60_000;
  fault('a');
  t.is(lines.at(-1)!.fields['others_before'], 999);
  // Another session begins anew.
  log.tell({ kind: 'state', peer: 'a', from: 'Established', to: 'Idle', why: 'x' } satisfies SpeakerEvent);
  fault('a');
  t.deepEqual(lines.at(-1)!.fields, { peer: 'a', fault: 'AS_PATH contains an AS_SET' });
});
