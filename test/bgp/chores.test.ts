/** Work on whole tables never holds the event loop: a clock that advances with every look at it counts the turns. */
import test from 'ava';
import { Chores } from '../../bgp/chores.ts';
import { localOpen } from '../../bgp/fsm/negotiate.ts';
import { type LinkId, Speaker, type Stream, type StreamHandler } from '../../bgp/speaker.ts';
import { encodeKeepalive, encodeOpen } from '../../bgp/wire/message.ts';
import { Addr } from '../../router/lib/addr.ts';
import type { Instant } from '../../router/lib/clock.ts';
import { PLAIN_OFFER } from './kit/describe.ts';
import { internetTable } from './kit/table.ts';

test('chores are done in order, in steps, and one that comes again begins anew', (t) => {
  const chores = new Chores();
  const log: string[] = [];
  const chore = (name: string, steps: number) => {
    let left = steps;
    return {
      step: () => {
        log.push(name);
        return --left === 0;
      },
    };
  };
  chores.add('a', chore('a', 3));
  chores.add('b', chore('b', 1));
  let looks = 0;
  chores.run(() => ++looks > 2);
  t.deepEqual(log, ['a', 'a']);
  chores.add('a', chore('again', 2));
  chores.run(() => false);
  t.deepEqual(log, ['a', 'a', 'b', 'again', 'again']);
  t.true(chores.isEmpty);
});

const PREFIXES = 30_000;

/** A speaker whose clock says one millisecond more each time it is asked, with a peer that has told it a table. */
function loaded() {
  let now = 0;
  let accept!: (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined;
  const installed = new Set<string>();
  const speaker = new Speaker({
    asn: 65_002,
    routerId: Addr.parse('10.0.0.2')!,
    clock: { now: () => now++ as Instant },
    random: () => 1,
    transport: {
      connect: () => ({ abort: () => {} }),
      listen: (a) => {
        accept = a;
      },
    },
    sink: {
      apply: (b) => {
        for (let i = 0; i < b.count; i++) {
          const key = String(b.prefixes.prefix(b.prefix[i]!));
          if (b.ways[b.way[i]!] === undefined) installed.delete(key);
          else installed.add(key);
        }
      },
    },
    resolver: { isUp: () => true, subscribe: () => {} },
  });
  speaker.start();
  const address = Addr.parse('10.8.1.2')!;
  const config = { name: 'p', address, link: 1, asn: 65_101, passive: true, holdTimeS: 0 } as const;
  speaker.addPeer({ ...config, import: 'accept-all', export: 'reject-all' });
  const connect = (): StreamHandler => {
    const handler = accept({ localAddress: Addr.parse('10.8.1.1')!, write: () => true, close: () => {} }, address, 1)!;
    const facts = { localAs: 65_101, peerAs: 65_002, identifier: 7, holdTimeS: 0, families: ['ipv4'] } as const;
    handler.data(encodeOpen(localOpen({ ...PLAIN_OFFER, ...facts })));
    handler.data(encodeKeepalive());
    return handler;
  };
  const finish = (): number => {
    let turns = 0;
    for (let at = speaker.deadline(); at !== undefined && at <= now; at = speaker.deadline()) {
      turns++;
      speaker.tick(now as Instant);
    }
    return turns;
  };
  const table = (n: number): Uint8Array => {
    const hop = { nextHop4: Addr.parse('10.8.1.2')!, nextHop6: Addr.parse('fd00::1')! };
    return internetTable({ ipv4: n, ipv6: 0, firstAs: 65_101, ...hop });
  };
  const handler = connect();
  handler.data(table(PREFIXES));
  finish();
  return { speaker, handler, finish, installed, connect, table, counts: () => speaker.snapshot()[0]!.routes.ipv4 };
}

test('a change of policy is worked off in many turns, and counts are right at the end', (t) => {
  const { speaker, finish, installed, counts } = loaded();
  t.like(counts(), { received: PREFIXES, accepted: PREFIXES });
  speaker.setPolicies('p', { import: [{ action: 'reject' }] });
  t.true(counts().accepted > PREFIXES / 2, 'the first turn does not do it all');
  t.true(finish() > 10);
  t.like(counts(), { received: PREFIXES, accepted: 0 });
  t.is(installed.size, 0);
  speaker.setPolicies('p', { import: 'accept-all' });
  finish();
  t.like(counts(), { received: PREFIXES, accepted: PREFIXES });
  t.is(installed.size, PREFIXES);
});

test('routes of a peer that went away leave in many turns and are not counted meanwhile; nothing is left', (t) => {
  const { speaker, handler, finish, installed, counts } = loaded();
  handler.closed('gone');
  t.like(counts(), { received: 0, accepted: 0 });
  t.true(installed.size > PREFIXES / 2);
  t.true(finish() > 10);
  t.is(installed.size, 0);
  t.deepEqual(speaker.totals, { ipv4: 0, ipv6: 0, attributeSets: 0 });
});

test('a peer that is back before its old routes have left keeps those it tells again, and no others', (t) => {
  const { speaker, handler, finish, installed, connect, counts, table } = loaded();
  handler.closed('gone');
  const again = connect();
  again.data(table(1000));
  t.true(installed.size > PREFIXES / 2, 'old routes are still there');
  finish();
  t.like(counts(), { received: 1000, accepted: 1000 });
  t.is(installed.size, 1000);
  t.is(speaker.totals.ipv4, 1000);
});

test('a peer that is removed leaves nothing', (t) => {
  const { speaker, finish, installed } = loaded();
  speaker.removePeer('p');
  finish();
  t.is(installed.size, 0);
  t.deepEqual(speaker.totals, { ipv4: 0, ipv6: 0, attributeSets: 0 });
});
