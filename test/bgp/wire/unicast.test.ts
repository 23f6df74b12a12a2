import test from 'ava';
import { isUnicastPrefix } from '../../../bgp/wire/unicast.ts';
import { Prefix } from '../../../router/lib/addr.ts';
import { SimNet } from '../kit/net.ts';

const NOT = [
  '0.0.0.0/8',
  '0.1.2.0/24',
  '127.0.0.0/8',
  '127.0.0.1/32',
  '224.0.0.0/4',
  '224.0.0.5/32',
  '239.255.0.0/16',
  '255.255.255.255/32',
  'ff00::/8',
  'ff02::1/128',
  'fe80::/10',
  'fe80::1/128',
  'febf::/16',
  '::/128',
  '::1/128',
  '::ffff:0:0/96',
  '::ffff:10.0.0.0/104',
];
// What encloses them is a way for what is left of it; class E is for whoever dares.
const IS = [
  '0.0.0.0/0',
  '0.0.0.0/1',
  '1.0.0.0/8',
  '126.0.0.0/7',
  '128.0.0.0/1',
  '192.0.0.0/2',
  '223.0.0.0/8',
  '224.0.0.0/3',
  '240.0.0.0/4',
  '::/0',
  '::/96',
  '::2/128',
  '64:ff9b::/96',
  '2000::/3',
  'fd00::/8',
  'fe00::/9',
  'fec0::/10',
  'fe00::/7',
];

test('multicast, loopback and link-local prefixes are no destinations, what encloses them is', (t) => {
  for (const p of NOT) t.false(isUnicastPrefix(Prefix.parse(p)!), p);
  for (const p of IS) t.true(isUnicastPrefix(Prefix.parse(p)!), p);
});

test('routes to them are refused whatever policy says, and the session stays (RFC 4271 §6.3)', (t) => {
  const net = new SimNet(6);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602, networks: [...NOT, '172.20.1.0/24', '::/0'] });
  net.join(a, b);
  net.start();
  net.runUntil(() => a.fib.size >= 2);
  net.run(1000);
  t.deepEqual([...a.fib.keys()].sort(), ['172.20.1.0/24', '::/0']);
  const refused = [...a.speaker.routes('in')].filter((r) => r.refused !== undefined);
  t.is(refused.length, NOT.length);
  for (const r of refused) t.is(r.refused, 'no prefix of unicast addresses', r.prefix);
  t.like(a.session('b'), { state: 'Established', faults: 0 });
});
