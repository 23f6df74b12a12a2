/** A peer that does not read: it costs the others nothing, its queue stays small, and it is not waited for without end. */
import test from 'ava';
import { Prefix } from '../../router/lib/addr.ts';
import { SimNet, type SimRouter, type SimStream } from './kit/net.ts';

/** Without keepalives no hold timer of the peer ends what the test is about. */
const SILENT = { holdTimeS: 0 } as const;
const PREFIXES = Array.from({ length: 300 }, (_, i) => Prefix.parse(`10.${i >> 8}.${i & 255}.0/24`)!);

/** The live connection of a router to a peer. */
function streamTo(r: SimRouter, peer: SimRouter): SimStream {
  return r.streams.find((s) => s.other?.owner === peer && !s.isClosed)!;
}

test('a peer that does not read is dropped when the send hold time is over, and not before (RFC 9687 §3)', (t) => {
  for (const [settings, expected] of [
    [SILENT, 480_000],
    [{ ...SILENT, sendHoldMs: 600_000 }, 600_000],
  ] as const) {
    const net = new SimNet(16);
    const a = net.router('a', { asn: 64601 });
    const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'] });
    net.join(a, b, settings, SILENT);
    net.start();
    net.runUntil(() => a.fib.size === 1);
    net.run(1000);
    const stream = streamTo(a, b);
    stream.block(true);
    a.speaker.announce({ prefix: Prefix.parse('172.20.77.0/24')! });
    const began = net.clock.now();
    net.run(expected - 1000);
    t.is(a.session('b').lastError, undefined);
    net.runUntil(() => a.session('b').lastError !== undefined);
    t.is(a.session('b').lastError!.text, 'send hold timer expired');
    t.true(net.clock.now() - began <= expected + 1000);
    t.true(stream.isClosed);
    net.runUntil(() => a.session('b').establishments === 2 && b.fib.has('172.20.77.0/24'));
  }
});

test('a slow peer holds no fast one up, its queue is bounded, and it is told only what is so in the end', (t) => {
  const net = new SimNet(17);
  const source = net.router('source', { asn: 64600 });
  const a = net.router('a', { asn: 64601 });
  const fast = net.router('fast', { asn: 64602 });
  const slow = net.router('slow', { asn: 64603 });
  for (const r of [source, fast, slow]) net.join(a, r, SILENT);
  net.start();
  net.runUntil(() => [source, fast, slow].every((r) => a.session(r.name).state === 'Established'));
  net.run(1000);
  const stream = streamTo(a, slow);
  const queued = (): number => stream.sent.reduce((n, octets) => n + octets.length, 0);
  stream.block(true);
  const before = queued();
  for (const prefix of PREFIXES) source.speaker.announce({ prefix });
  net.run(2000);
  t.is(fast.fib.size, PREFIXES.length);
  t.is(slow.fib.size, 0);
  const first = queued() - before;
  for (let round = 0; round < 8; round++) {
    for (const prefix of PREFIXES) source.speaker.withdraw(prefix);
    net.run(2000);
    t.is(fast.fib.size, 0, `round ${round}`);
    for (const prefix of PREFIXES) source.speaker.announce({ prefix });
    net.run(2000);
    t.is(fast.fib.size, PREFIXES.length, `round ${round}`);
  }
  for (const prefix of PREFIXES.slice(100)) source.speaker.withdraw(prefix);
  net.run(2000);
  t.true(first < 64 * 1024, `${first} octets wait`);
  t.is(queued() - before, first, 'changes wait in the table, not in the queue');
  const heard = slow.session('a').messages.received.update;
  stream.block(false);
  net.run(2000);
  t.deepEqual([...slow.fib.keys()].sort(), [...fast.fib.keys()].sort());
  t.is(slow.fib.size, 100);
  t.true(slow.session('a').messages.received.update - heard <= 10, 'packed, and no change twice');
  t.is(slow.session('a').establishments, 1);
});
