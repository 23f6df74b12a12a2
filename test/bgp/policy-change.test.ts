import test from 'ava';
import { Prefix } from '../../router/lib/addr.ts';
import { SimNet } from './kit/net.ts';

/** More routes than one turn looks at. */
const MANY = 20_000;

function networks(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `10.${i >>> 8}.${i & 255}.0/24`);
}

test('a change of import policy reaches a large table in slices, and the last of several changes counts', (t) => {
  const net = new SimNet(61);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: networks(MANY) });
  net.join(a, b);
  net.start();
  net.runUntil(() => a.fib.size === MANY);
  a.speaker.setPolicies('b', { import: 'reject-all', export: 'accept-all' });
  t.true(a.fib.size > 0, 'not all in one turn');
  t.is(a.speaker.deadline(), net.clock.now(), 'the rest follows at once');
  const even = [
    { match: { prefixes: [{ prefix: Prefix.parse('10.0.0.0/9')!, minLength: 9, maxLength: 32 }] }, action: 'accept' },
  ] as const;
  a.speaker.setPolicies('b', { import: even, export: 'accept-all' });
  net.run(100);
  t.is(a.session('b').routes.ipv4.accepted, MANY);
  a.speaker.setPolicies('b', { import: 'reject-all', export: 'accept-all' });
  net.run(100);
  t.is(a.fib.size, 0);
  t.is(a.session('b').routes.ipv4.accepted, 0);
  t.is(a.session('b').routes.ipv4.received, MANY, 'the peer was asked for nothing');
  t.is(b.session('a').messages.received.refresh, 0);
});

test('a change of export policy is told as a difference, and a new peer hears End-of-RIB after everything', (t) => {
  const net = new SimNet(62);
  const a = net.router('a', { asn: 64601, networks: networks(MANY) });
  const b = net.router('b', { asn: 64602 });
  net.join(a, b);
  net.start();
  net.runUntil(() => b.fib.size === MANY);
  t.is(b.session('a').routes.ipv4.accepted, MANY);
  const half = [
    { match: { prefixes: [{ prefix: Prefix.parse('10.0.0.0/11')!, minLength: 11, maxLength: 32 }] }, action: 'accept' },
  ] as const;
  const before = b.session('a').messages.received.update;
  a.speaker.setPolicies('b', { import: 'accept-all', export: half });
  net.run(1000);
  t.is(b.fib.size, 32 * 256);
  t.true(b.session('a').messages.received.update - before < 200, 'only withdrawals');
  a.speaker.setPolicies('b', { import: 'accept-all', export: 'accept-all' });
  net.run(1000);
  t.is(b.fib.size, MANY);
});
