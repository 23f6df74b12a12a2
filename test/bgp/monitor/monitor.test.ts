/** BMP feeds and MRT logs of simulated routers: whoever reads them alone knows the same routes as the speaker. */
import test from 'ava';
import { MrtLog } from '../../../bgp/monitor/mrt-log.ts';
import { decodeMrt, type MrtRecord, updateOfEntry } from '../../../bgp/wire/mrt.ts';
import { decodeUpdate } from '../../../bgp/wire/update.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { describe, PLAIN_CONTEXT } from '../kit/describe.ts';
import { SimNet } from '../kit/net.ts';
import { feedOf, Station } from '../kit/station.ts';

function network() {
  const net = new SimNet(3);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24', 'fd42:2::/48', '172.20.3.0/24'] });
  return { net, a, b, cable: net.join(a, b) };
}

test('a station that is there from the start sees the session, its routes, their end and the reason', (t) => {
  const { net, a, b } = network();
  const station = new Station();
  const feed = feedOf(a);
  feed.connected(station.write, () => {});
  a.speaker.addMonitor(feed.monitors[0]!);
  net.start();
  net.runUntil(() => a.fib.size === 3);
  t.regex(station.types, /^4 3 0( 0)*$/, 'initiation, peer up, route monitoring');
  t.deepEqual(station.routes(), ['172.20.2.0/24', '172.20.3.0/24', 'fd42:2::/48']);
  const up = station.messages[1]!.body;
  t.is(up[1], 0x80, 'an IPv6 peer');
  t.is(new DataView(up.buffer).getUint32(26), 64602);
  const opens = up.subarray(42 + 20);
  const length = (opens[16]! << 8) | opens[17]!;
  t.regex(describe(opens.slice(0, length), PLAIN_CONTEXT)[0]!, /^OPEN AS 64601 hold 90/);
  t.regex(describe(opens.slice(length), PLAIN_CONTEXT)[0]!, /^OPEN AS 64602 hold 90/);
  b.speaker.withdraw(Prefix.parse('172.20.3.0/24')!);
  net.runUntil(() => a.fib.size === 2);
  t.deepEqual(station.routes(), ['172.20.2.0/24', 'fd42:2::/48']);
  b.speaker.peerDown('a', 'good night');
  net.runUntil(() => a.fib.size === 0);
  const down = station.messages.at(-1)!;
  t.is(down.type, 2);
  t.is(down.body[42], 3, 'the peer sent a NOTIFICATION');
  t.deepEqual(describe(down.body.slice(43), PLAIN_CONTEXT), ['NOTIFICATION administrative shutdown: "good night"']);
});

test('a station that comes late is told the tables first, also while they change', (t) => {
  const { net, a, b } = network();
  net.start();
  net.runUntil(() => a.fib.size === 3);
  const station = new Station();
  const feed = feedOf(a);
  a.speaker.addMonitor(feed.monitors[0]!);
  feed.connected(station.write, () => {});
  t.is(station.types, '4 3');
  b.speaker.announce({ prefix: Prefix.parse('172.20.9.0/24')! });
  net.runUntil(() => a.fib.size === 4);
  while (feed.hasWork) feed.pump();
  t.deepEqual(station.routes(), [...a.fib.keys()].sort());
  const ends = station.messages.filter(
    (m) => m.type === 0 && describe(m.body.slice(42), PLAIN_CONTEXT).some((l) => l.includes('end of rib')),
  );
  t.is(ends.length, 2);
  feed.report();
  t.is(station.messages.at(-1)!.type, 1);
  feed.finish();
  t.is(station.messages.at(-1)!.type, 5);
  const before = station.messages.length;
  b.speaker.announce({ prefix: Prefix.parse('172.20.10.0/24')! });
  net.runUntil(() => a.fib.size === 5);
  t.is(station.messages.length, before, 'nothing after goodbye');
});

test('a session that ends without a word is told by who ended it (RFC 7854 §4.9)', (t) => {
  const { net, a, b, cable } = network();
  const station = new Station();
  const feed = feedOf(a);
  feed.connected(station.write, () => {});
  a.speaker.addMonitor(feed.monitors[0]!);
  const reason = () => {
    t.is(station.messages.at(-1)!.type, 2);
    return [...station.messages.at(-1)!.body.subarray(42)];
  };
  net.start();
  net.runUntil(() => a.fib.size === 3);
  net.setCable(cable, false);
  t.deepEqual(reason(), [2, 0, 8], 'by us, with the event of RFC 4271 §8.1 that made us');
  net.setCable(cable, true);
  net.runUntil(() => a.fib.size === 3);
  b.crash();
  net.runUntil(() => a.fib.size === 0);
  t.deepEqual(reason(), [4]);
});

function records(octets: Uint8Array): MrtRecord[] {
  const out: MrtRecord[] = [];
  for (let at = 0; at < octets.length; ) {
    const next = decodeMrt(octets, at);
    if (next === undefined || 'fault' in next) throw new Error('not MRT');
    out.push(next.record);
    at += next.octets;
  }
  return out;
}

test('an MRT log has the session and its UPDATEs; an MRT table has every route with its attributes', (t) => {
  const { net, a, b } = network();
  const log = new MrtLog(() => 1_795_668_065_999);
  a.speaker.addMonitor(log);
  net.start();
  net.runUntil(() => a.fib.size === 3);
  b.speaker.peerDown('a');
  net.runUntil(() => a.fib.size === 0);
  const logged = records(log.take());
  t.is(log.pending, 0);
  t.like(logged[0], { kind: 'state', from: 5, to: 6, atS: 1_795_668_065, peerAs: 64602, localAs: 64601 });
  t.like(logged.at(-1), { kind: 'state', from: 6, to: 1 });
  t.deepEqual([...new Set(logged.slice(1, -1).map((r) => r.kind))], ['message']);

  b.speaker.peerUp('a');
  net.runUntil(() => a.fib.size === 3);
  const table = records(new Uint8Array(Buffer.concat([...a.speaker.monitoring.mrtTable(() => 7)])));
  t.like(table[0], { kind: 'peers', atS: 7 });
  const routes = table.flatMap((r) =>
    r.kind === 'rib' ? r.entries.map((e) => describe(updateOfEntry(r.prefix, e.attributes), PLAIN_CONTEXT)[1]!) : [],
  );
  t.deepEqual(routes.sort(), [
    '  reach 172.20.2.0/24 via fe80::1:2',
    '  reach 172.20.3.0/24 via fe80::1:2',
    '  reach fd42:2::/48 via fe80::1:2',
  ]);
});

test('a route has the time it was told as it is, in listings and in an MRT table', (t) => {
  const { net, a, b } = network();
  net.start();
  net.runUntil(() => a.fib.size === 3);
  net.run(100_000);
  b.speaker.peerRefresh('a', 'out');
  b.speaker.announce({ prefix: Prefix.parse('172.20.3.0/24')!, med: 7 });
  b.speaker.announce({ prefix: Prefix.parse('172.20.4.0/24')! });
  net.run(10_000);
  const ages = new Map([...a.speaker.routes('in')].map((r) => [r.prefix, r.ageS!]));
  t.true(ages.get('172.20.2.0/24')! >= 110, 'a repetition is no news');
  t.true(ages.get('172.20.3.0/24')! <= 10, 'another MED is');
  t.true(ages.get('172.20.4.0/24')! <= 10);
  t.is([...a.speaker.routes('best')].find((r) => r.prefix === '172.20.4.0/24')!.ageS, ages.get('172.20.4.0/24'));
  const table = records(new Uint8Array(Buffer.concat([...a.speaker.monitoring.mrtTable(() => 1_000_000)])));
  const times = table.flatMap((r) => (r.kind === 'rib' ? [[String(r.prefix), r.entries[0]!.originatedS]] : []));
  t.deepEqual(times.sort(), [...ages].map(([prefix, age]) => [prefix, 1_000_000 - age]).sort());
  t.is(
    [...a.speaker.routes('out', { peer: 'b' })].every((r) => r.ageS === undefined),
    true,
  );
});

test('the first dump of a session with several paths has their identifiers, as its messages have (RFC 7911)', (t) => {
  const net = new SimNet(4);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24', 'fd42:2::/48'] });
  net.join(a, b, { addPath: 'both' });
  const live: Uint8Array[] = [];
  a.speaker.addMonitor({ up: () => {}, down: () => {}, received: (_, update) => live.push(update) });
  net.start();
  net.runUntil(() => a.fib.size === 2);
  const context = [...a.speaker.sessions()][0]!.negotiated.context;
  const reached = (updates: readonly Uint8Array[]) => {
    return updates.flatMap((u) => describe(u, context)).filter((line) => /^ {2}(reach|fault)/.test(line));
  };
  const dump = reached([...a.speaker.monitoring.receivedUpdates('b')].flat());
  t.is(dump.length, 2);
  t.regex(dump[0]!, /172\.20\.2\.0\/24 id \d+ via/);
  t.deepEqual(dump, reached(live));
});

test('the first dump of a session ends the families it has, and no others (RFC 7854 §5)', (t) => {
  const net = new SimNet(5);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'] });
  net.join(a, b, { families: ['ipv4'] });
  net.start();
  net.runUntil(() => a.fib.size === 1);
  const dump = [...a.speaker.monitoring.receivedUpdates('b')].flat();
  t.deepEqual(
    dump.map((u) => decodeUpdate(u.subarray(19), PLAIN_CONTEXT)).map((u) => 'endOfRib' in u && u.endOfRib),
    [undefined, 'ipv4'],
  );
});

test('an IPv4 router as the next hop of an IPv6 prefix has sixteen octets in an MRT table too', (t) => {
  const net = new SimNet(6);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: ['fd42:2::/48'] });
  net.join(a, b, {}, { nextHop6: Addr.parse('10.0.0.2')! });
  net.start();
  net.runUntil(() => [...a.speaker.routes('in')].length === 1);
  const table = records(new Uint8Array(Buffer.concat([...a.speaker.monitoring.mrtTable(() => 7)])));
  const routes = table.flatMap((r) =>
    r.kind === 'rib' ? r.entries.map((e) => describe(updateOfEntry(r.prefix, e.attributes), PLAIN_CONTEXT)[1]!) : [],
  );
  t.deepEqual(routes, ['  reach fd42:2::/48 via 10.0.0.2']);
});
