/** Tables that a station is told (RFC 8671, RFC 9069): whatever happens and however slowly it reads, it knows what we know. */
import test from 'ava';
import fc from 'fast-check';
import type { BmpFeed } from '../../../bgp/monitor/bmp-feed.ts';
import type { StationTable } from '../../../bgp/monitor/bmp-instance.ts';
import type { Policy, RouteView } from '../../../bgp/speaker.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { describe, hex, PLAIN_CONTEXT } from '../kit/describe.ts';
import { SimNet, type SimRouter } from '../kit/net.ts';
import { feedOf, Station } from '../kit/station.ts';

const TABLES: readonly StationTable[] = ['in_pre', 'in_post', 'out_pre', 'out_post', 'loc'];
const A = 64601;
const B = 64602;
const C = 64603;

const p = (text: string): Prefix => Prefix.parse(text)!;

/** Lets pass what is not `refused`, with a community of its own. */
const policy = (refused: string, mark: number): Policy => [
  { match: { prefixes: [{ prefix: p(refused), maxLength: 32 }] }, action: 'reject' },
  { match: {}, set: { addCommunities: [mark] }, action: 'accept' },
];

/** `a` stands between `b` and `c` with policies of its own. */
function network(addPath?: 'both') {
  const net = new SimNet(8671);
  const a = net.router('a', { asn: A, networks: ['172.20.1.0/24', 'fd42:1::/48'] });
  const b = net.router('b', { asn: B, networks: ['172.20.2.0/24', '172.20.3.0/24', 'fd42:2::/48'] });
  const c = net.router('c', { asn: C, networks: ['172.20.4.0/24', '172.20.2.0/24'] });
  const more = addPath === undefined ? {} : { addPath };
  net.join(a, b, { import: policy('172.20.3.0/24', 1), export: policy('172.20.4.0/24', 2), ...more }, more);
  net.join(a, c, { import: policy('172.20.9.0/24', 3), export: policy('172.20.1.0/24', 4), ...more }, more);
  return { net, a, b, c };
}

function drain(feed: BmpFeed): void {
  while (feed.hasWork) feed.pump();
}

const told = (station: Station, table: StationTable, asn: number): string[] =>
  [...station.table(table, asn).keys()].sort();

const known = (routes: Iterable<RouteView>): string[] => [...routes].map((r) => r.prefix).sort();

/** What the station must know, by the speaker's own listings. */
function agrees(station: Station, a: SimRouter): string[] {
  const wrong: string[] = [];
  const compare = (what: string, is: readonly string[], should: readonly string[]): void => {
    if (is.join() !== should.join()) wrong.push(`${what}: ${is} instead of ${should}`);
  };
  compare('loc', told(station, 'loc', A), known(a.speaker.routes('best')));
  for (const [peer, asn] of [
    ['b', B],
    ['c', C],
  ] as const) {
    const isUp = a.session(peer).state === 'Established';
    const received = isUp ? [...a.speaker.routes('in', { peer })] : [];
    compare(`in_pre ${peer}`, told(station, 'in_pre', asn), known(received));
    compare(`in_post ${peer}`, told(station, 'in_post', asn), known(received.filter((r) => r.refused === undefined)));
    compare(`out_post ${peer}`, told(station, 'out_post', asn), isUp ? known(a.speaker.routes('out', { peer })) : []);
    const offered = isUp ? [...a.speaker.routes('best')].filter((r) => r.peer !== peer) : [];
    compare(`out_pre ${peer}`, told(station, 'out_pre', asn), known(offered));
  }
  return wrong;
}

test('a station hears each table it wants, before and after policy, once and whole', (t) => {
  const { net, a } = network();
  net.start();
  net.run(30_000);
  const station = new Station();
  const feed = feedOf(a, ...TABLES);
  a.speaker.addMonitor(feed.monitors[0]!);
  feed.connected(station.write, () => {});
  drain(feed);
  t.deepEqual(agrees(station, a), []);
  t.true([...station.ends.values()].every((n) => n === 2));
  t.is(station.ends.size, 9, 'four tables of two peers, and the Loc-RIB');
  t.is(station.table('in_pre', B).get('172.20.2.0/24'), `origin IGP path [${B}] via fe80::1:2`);
  t.is(station.table('in_post', B).get('172.20.2.0/24'), `origin IGP path [${B}], communities 0:1 via fe80::1:2`);
  t.is(station.table('loc', A).get('172.20.2.0/24'), `origin IGP path [${B}], communities 0:1 via fe80::1:2`);
  t.is(station.table('loc', A).get('172.20.1.0/24'), 'origin IGP path [] via none');
  t.is(station.table('out_pre', C).get('172.20.2.0/24'), `origin IGP path [${B}], communities 0:1 via fe80::1:2`);
  const sent = `origin IGP path [${A} ${B}], communities 0:1 0:4 via fe80::2:1`;
  t.is(station.table('out_post', C).get('172.20.2.0/24'), sent);
});

test('a station that wants the Loc-RIB only hears of that and of sessions', (t) => {
  const { net, a } = network();
  const station = new Station();
  const feed = feedOf(a, 'loc');
  let wakes = 0;
  feed.connected(station.write, () => wakes++);
  a.speaker.addMonitor(feed.monitors[0]!);
  drain(feed);
  t.deepEqual(told(station, 'loc', A), ['172.20.1.0/24', 'fd42:1::/48']);
  wakes = 0;
  net.start();
  net.run(30_000);
  t.is(wakes, 1, 'it is called once for what waits');
  drain(feed);
  t.deepEqual(told(station, 'loc', A), known(a.speaker.routes('best')));
  t.deepEqual(station.routes(), known(a.speaker.routes('best')));
  feed.finish();
  t.regex(station.types, /( 2 5)$/, 'the instance goes down, then goodbye');
});

test('messages about the Loc-RIB are those of RFC 9069, octet by octet', (t) => {
  const net = new SimNet(1);
  const a = net.router('a', { asn: 4242420229, networks: ['172.20.1.0/24'] });
  const station = new Station();
  const feed = feedOf(a, 'loc');
  feed.connected(station.write, () => {});
  drain(feed);
  feed.report();
  feed.finish();
  // Peer type 3, no flags, distinguisher and address zero, AS 4242420229, identifier 10.0.0.1.
  const peer = `0300${'00'.repeat(8)}${'00'.repeat(16)}fcde32050a000001`;
  const at = '6b07b8610001e078';
  const open = `${'ff'.repeat(16)}003901045ba000000a0000011c021a010400010001010400020001050600010001000241${'04fcde3205'}`;
  const name = '00030006676c6f62616c';
  const bodies = station.messages.map((m) => `${m.type} ${Buffer.from(m.body).toString('hex')}`);
  t.is(bodies[1], `3 ${peer}${at}${'00'.repeat(20)}${open}${open}${name}`);
  t.is(bodies[2]!.slice(0, 2 + 84), `0 ${peer}${'00'.repeat(8)}`, 'the time of what was there before is not known');
  t.deepEqual(describe(hex(bodies[2]!.slice(86)), PLAIN_CONTEXT), [
    'UPDATE',
    '  fault treat-as-withdraw: NEXT_HOP 0.0.0.0',
    '  withdraw 172.20.1.0/24',
    '  origin IGP path []',
  ]);
  const gauge = (type: string, n: number): string => `${type}0008${n.toString(16).padStart(16, '0')}`;
  const perFamily = (type: string, afi: string, n: number): string =>
    `${type}000b${afi}01${n.toString(16).padStart(16, '0')}`;
  const report = bodies.find((b) => b.startsWith('1 '));
  t.is(
    report,
    `1 ${peer}${at}00000003${gauge('0008', 1)}${perFamily('000a', '0001', 1)}${perFamily('000a', '0002', 0)}`,
  );
  t.is(bodies.at(-2), `2 ${peer}${at}06${name}`);
});

test('counts of a peer have the types of RFC 7854 and RFC 8671', (t) => {
  const { net, a } = network();
  net.start();
  net.run(30_000);
  const station = new Station();
  const feed = feedOf(a);
  feed.connected(station.write, () => {});
  feed.report();
  const body = station.messages.find((m) => m.type === 1)!.body;
  const view = new DataView(body.buffer, body.byteOffset);
  const counts = new Map<string, number>();
  for (let at = 46; at < body.length; ) {
    const [type, length] = [view.getUint16(at), view.getUint16(at + 2)];
    const family = length === 11 ? ` ipv${view.getUint16(at + 4) === 1 ? 4 : 6}` : '';
    counts.set(`${type}${family}`, length === 4 ? view.getUint32(at + 4) : Number(view.getBigUint64(at + length - 4)));
    at += 4 + length;
  }
  t.is(view.getUint32(42), counts.size);
  const { ipv4, ipv6 } = a.session('b').routes;
  t.deepEqual(
    counts,
    new Map([
      ['0', 1],
      ['7', 3],
      ['9 ipv4', 2],
      ['9 ipv6', 1],
      ['11', 0],
      ['15', ipv4.advertised + ipv6.advertised],
      ['17 ipv4', ipv4.advertised],
      ['17 ipv6', ipv6.advertised],
    ]),
  );
});

/** What may happen at the routers around `a`, and to its policies. */
const happening = fc.oneof(
  fc.record({ kind: fc.constantFrom('announce', 'withdraw'), who: fc.nat(2), net: fc.nat(9) }),
  fc.record({ kind: fc.constant('policy'), who: fc.nat(1), net: fc.nat(9) }),
  fc.record({ kind: fc.constantFrom('reset', 'refresh'), who: fc.nat(1), net: fc.nat(1) }),
  fc.record({ kind: fc.constant('pump'), who: fc.nat(0), net: fc.nat(5) }),
);

for (const addPath of [undefined, 'both'] as const) {
  test(`a slow station knows the tables in the end${addPath === undefined ? '' : ', with several paths too'}`, (t) => {
    t.notThrows(() =>
      fc.assert(
        fc.property(fc.array(happening, { maxLength: 40 }), (happenings) => {
          const { net, a, b, c } = network(addPath);
          net.start();
          net.run(30_000);
          // With several paths a table has more than one line for a prefix: only the single-path tables are compared.
          const tables = addPath === undefined ? TABLES : (['in_pre', 'in_post', 'out_pre', 'out_post'] as const);
          const station = new Station({
            ...PLAIN_CONTEXT,
            families: [...a.speaker.sessions()][0]!.negotiated.context.families,
          });
          const feed = feedOf(a, ...tables);
          a.speaker.addMonitor(feed.monitors[0]!);
          feed.connected(station.write, () => {});
          for (const { kind, who, net: n } of happenings) {
            const router = [b, c, a][who]!;
            const prefix = p(n < 8 ? `172.20.${n}.0/24` : `fd42:${n}::/48`);
            if (kind === 'announce') router.speaker.announce({ prefix, med: n });
            else if (kind === 'withdraw') router.speaker.withdraw(prefix);
            else if (kind === 'policy') {
              const peer = who === 0 ? 'b' : 'c';
              a.speaker.setPolicies(peer, {
                import: policy(`172.20.${n}.0/24`, n),
                export: policy('172.20.5.0/24', n),
              });
            } else if (kind === 'reset') a.speaker.peerReset(who === 0 ? 'b' : 'c');
            else if (kind === 'refresh') a.speaker.peerRefresh(who === 0 ? 'b' : 'c');
            else for (let i = 0; i < n && feed.hasWork; i++) feed.pump();
            net.run(kind === 'reset' ? 5_000 : 200);
          }
          net.run(90_000);
          drain(feed);
          const wrong = addPath === undefined ? agrees(station, a) : pathsAgree(station, a);
          if (wrong.length > 0) throw new Error(wrong.join('\n'));
          feed.disconnected();
          net.run(1000);
        }),
        { seed: 9069, numRuns: 40, includeErrorInReport: true },
      ),
    );
  });
}

function pathsAgree(station: Station, a: SimRouter): string[] {
  const paths = (routes: Iterable<RouteView>): string =>
    [...routes]
      .map((r) => `${r.prefix} id ${r.pathId}`)
      .sort()
      .join();
  return (
    [
      ['b', B],
      ['c', C],
    ] as const
  ).flatMap(([peer, asn]) => {
    const received = [...a.speaker.routes('in', { peer })];
    const rows = [
      ['in_pre', paths(received)],
      ['in_post', paths(received.filter((r) => r.refused === undefined))],
      ['out_post', paths(a.speaker.routes('out', { peer }))],
    ] as const;
    return rows.flatMap(([table, should]) => {
      const is = told(station, table, asn).join();
      return is === should ? [] : [`${table} ${peer}: ${is} instead of ${should}`];
    });
  });
}
