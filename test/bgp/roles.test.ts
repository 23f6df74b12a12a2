/** Roles and ONLY_TO_CUSTOMER (RFC 9234 §5) between speakers in virtual time. */
import test from 'ava';
import { isLeak, marked, markedForPeer, mayTell } from '../../bgp/policy/otc.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { SimNet } from './kit/net.ts';

test('a customer does not pass the routes of one provider to another one', (t) => {
  const net = new SimNet(1);
  const left = net.router('left', { asn: 64601, networks: ['172.20.1.0/24'] });
  const right = net.router('right', { asn: 64602, networks: ['172.20.2.0/24'] });
  const c = net.router('c', { asn: 64603, networks: ['172.20.3.0/24'] });
  const below = net.router('below', { asn: 64604, networks: ['172.20.4.0/24'] });
  net.join(left, c, { role: 'provider' }, { role: 'customer' });
  net.join(right, c, { role: 'provider' }, { role: 'customer' });
  net.join(c, below, { role: 'provider' }, { role: 'customer' });
  net.start();
  net.run(5000);
  t.deepEqual([...c.fib.keys()].sort(), ['172.20.1.0/24', '172.20.2.0/24', '172.20.4.0/24']);
  t.deepEqual([...below.fib.keys()].sort(), ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24'], 'customers get all');
  t.deepEqual([...left.fib.keys()].sort(), ['172.20.3.0/24', '172.20.4.0/24'], 'providers get what is ours');
  t.true(c.session('left').capabilities.local.includes('role customer'));
  t.true(c.session('left').capabilities.peer.includes('role provider'));
});

test('a provider refuses what leaks from its customer, also through one that does not know roles', (t) => {
  const net = new SimNet(2);
  const left = net.router('left', { asn: 64601, networks: ['172.20.1.0/24'] });
  const right = net.router('right', { asn: 64602 });
  const c = net.router('c', { asn: 64603, networks: ['172.20.3.0/24'] });
  net.join(left, c, { role: 'provider' }, {});
  net.join(right, c, { role: 'provider' }, {});
  net.start();
  net.run(5000);
  t.deepEqual([...c.fib.keys()], ['172.20.1.0/24']);
  t.deepEqual([...right.fib.keys()], ['172.20.3.0/24']);
  const refused = [...right.speaker.routes('in')].find((r) => r.prefix === '172.20.1.0/24');
  t.is(refused?.refused, 'leaked: only to customers (RFC 9234)');
});

test('peers tell each other their own routes and those of customers', (t) => {
  const net = new SimNet(3);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.2.0/24'] });
  const c = net.router('c', { asn: 64603, networks: ['172.20.3.0/24'] });
  net.join(a, b, { role: 'peer' });
  net.join(b, c, { role: 'peer' });
  net.start();
  net.run(5000);
  t.deepEqual([...a.fib.keys()], ['172.20.2.0/24']);
  t.deepEqual([...b.fib.keys()].sort(), ['172.20.1.0/24', '172.20.3.0/24']);
});

test('roles that do not answer each other end the session with "role mismatch"', (t) => {
  const net = new SimNet(4);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602 });
  net.join(a, b, { role: 'provider' }, { role: 'provider' });
  net.start();
  net.run(20_000);
  t.not(a.session('b').state, 'Established');
  const errors = [a.session('b').lastError?.text, b.session('a').lastError?.text].join();
  t.regex(errors, /role mismatch/);
});

test('a default route told to a customer or a peer is marked as well (RFC 9234 §5)', (t) => {
  const net = new SimNet(6);
  const a = net.router('a', { asn: 64601 });
  const below = net.router('below', { asn: 64602 });
  const beside = net.router('beside', { asn: 64603 });
  const above = net.router('above', { asn: 64604 });
  const tells = { defaultOriginate: true, export: 'reject-all' } as const;
  // They know no roles, which would mark the route when it comes.
  net.join(a, below, { ...tells, role: 'provider' }, {});
  net.join(a, beside, { ...tells, role: 'peer' }, {});
  net.join(a, above, { ...tells, role: 'customer' }, {});
  net.start();
  net.runUntil(() => [below, beside, above].every((r) => r.fib.size === 2));
  const marks = [below, beside, above].map((r) => [...r.speaker.routes('in')].map((route) => route.otc));
  t.deepEqual(marks, [
    [64601, 64601],
    [64601, 64601],
    [undefined, undefined],
  ]);
});

test('internal sessions have no roles, and tell none (RFC 9234 §4)', (t) => {
  const net = new SimNet(5);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64601 });
  net.join(a, b, { role: 'customer', strictRole: true }, {});
  a.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')! });
  net.start();
  net.runUntil(() => b.fib.size === 1);
  t.is(a.session('b').state, 'Established');
  t.false(a.session('b').capabilities.local.some((c) => c.startsWith('role')));
});

test('the rules of RFC 9234 §5, one by one', (t) => {
  t.true(isLeak('provider', 64601, 64601));
  t.true(isLeak('route-server', 64601, 1));
  t.true(isLeak('peer', 64601, 64602));
  t.false(isLeak('peer', 64601, 64601));
  t.false(isLeak('customer', 64601, 64602));
  t.false(isLeak('provider', 64601, undefined));
  const plain = { otc: undefined } as Parameters<typeof marked>[0];
  t.is(marked(plain, 'customer', 7).otc, 7);
  t.is(marked(plain, 'route-server-client', 7).otc, 7);
  t.is(marked(plain, 'provider', 7).otc, undefined);
  t.is(markedForPeer(plain, 'provider', 9).otc, 9);
  t.is(markedForPeer(plain, 'customer', 9).otc, undefined);
  t.is(markedForPeer({ ...plain, otc: 3 }, 'peer', 9).otc, 3);
  t.deepEqual(
    (['provider', 'route-server', 'peer', 'customer', 'route-server-client'] as const).map((r) => mayTell(r, 5)),
    [true, true, false, false, false],
  );
});
