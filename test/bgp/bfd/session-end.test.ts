/** What BFD means for a BGP session (RFC 5882, RFC 9384): two speakers in virtual time, BFD's verdicts given by hand. */
import test from 'ava';
import { SimNet } from '../kit/net.ts';

function pair(strict = false) {
  const net = new SimNet(9);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'] });
  net.join(a, b, { bfdStrict: strict }, {});
  net.start();
  return { net, a, b };
}

test('a broken path ends the session in the same turn, the peer is told why, and the session begins again by itself', (t) => {
  const { net, a, b } = pair();
  net.runUntil(() => a.fib.size === 1 && b.fib.size === 1);
  t.true(a.speaker.bfdDown('b'));
  t.not(a.session('b').state, 'Established');
  t.is(a.fib.size, 0);
  net.run(100);
  t.is(b.fib.size, 0);
  t.is(b.session('a').lastError?.origin, 'received');
  t.regex(b.session('a').lastError!.text, /BFD down/i);
  net.runUntil(() => a.fib.size === 1 && b.fib.size === 1, 60_000);
  t.is(a.session('b').establishments, 2);
});

test('a peer that flaps is tried again after growing pauses', (t) => {
  const { net, a } = pair();
  const pauses: number[] = [];
  for (let i = 0; i < 5; i++) {
    net.runUntil(() => a.session('b').state === 'Established', 120_000);
    const down = net.clock.now();
    a.speaker.bfdDown('b');
    net.runUntil(() => a.session('b').state === 'Established', 120_000);
    pauses.push(net.clock.now() - down);
  }
  t.true(pauses.at(-1)! > 4 * pauses[0]!, pauses.join(', '));
});

test('BFD that goes down while no session stands changes nothing', (t) => {
  const { net, a } = pair();
  t.true(a.speaker.bfdDown('b'));
  net.runUntil(() => a.session('b').state === 'Established');
  t.false(a.speaker.bfdDown('nobody'));
});

test('a strict session waits for BFD, on both sides, and again after BFD went down', (t) => {
  const { net, a, b } = pair(true);
  net.run(60_000);
  t.is(a.session('b').state, 'Idle');
  t.true(a.session('b').awaitsBfd);
  t.not(b.session('a').state, 'Established');
  a.speaker.bfdUp('b');
  net.runUntil(() => a.session('b').state === 'Established', 60_000);
  a.speaker.bfdDown('b');
  net.run(60_000);
  t.is(a.session('b').state, 'Idle');
  t.is(b.fib.size, 0);
  a.speaker.bfdUp('b');
  net.runUntil(() => a.session('b').state === 'Established', 120_000);
  // The operator's will comes first.
  a.speaker.peerDown('b');
  a.speaker.bfdDown('b');
  a.speaker.bfdUp('b');
  net.run(60_000);
  t.is(a.session('b').state, 'Idle');
});
