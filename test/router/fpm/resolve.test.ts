import test from 'ava';
import type { FpmHop } from '../../../router/fpm/message.ts';
import { hopResolver } from '../../../router/fpm/resolve.ts';
import { Addr, Prefix } from '../../../router/lib/addr.ts';

const known = [
  { vrf: 0, prefix: Prefix.parse('0.0.0.0/0')!, nextHops: [{ link: 2 }] },
  { vrf: 0, prefix: Prefix.parse('10.0.0.0/8')!, nextHops: [{ link: 4, gateway: Addr.parse('10.9.0.9') }] },
  { vrf: 0, prefix: Prefix.parse('10.1.0.0/24')!, nextHops: [{ link: 2 }, { link: 3 }] },
  { vrf: 0, prefix: Prefix.parse('fd00:1::/64')!, nextHops: [{ link: 3 }] },
];
const resolve = hopResolver(known, (ifindex, vrf) => (ifindex === 7 && vrf === 0 ? 5 : undefined));

const ways = (gateway: string | undefined, ifindex?: number, more: Partial<FpmHop> = {}, vrf = 0): string[] =>
  resolve({ gateway: gateway === undefined ? undefined : Addr.parse(gateway)!, ifindex, weight: 1, ...more }, vrf).map(
    (h) => `${h.gateway ?? '-'}%${h.link}*${h.weight}${h.source === undefined ? '' : ` src ${h.source}`}`,
  );

test('a gateway is behind the uplink with the longest prefix of ours that contains it', (t) => {
  t.deepEqual(ways('10.1.0.5', 7), ['10.1.0.5%2*1', '10.1.0.5%3*1']);
  t.deepEqual(ways('10.2.0.5'), ['10.9.0.9%4*1'], 'a configured route has a gateway of its own');
  t.deepEqual(ways('fd00:1::9'), ['fd00:1::9%3*1']);
});

test('nothing is behind the default route', (t) => {
  t.deepEqual(ways('192.0.2.1', 7), []);
  t.deepEqual(ways('fd00:2::1'), []);
});

test('a link-local gateway, or none, goes by the interface', (t) => {
  t.deepEqual(ways('fe80::1', 7), ['fe80::1%5*1']);
  t.deepEqual(ways('fe80::1', 8), []);
  t.deepEqual(ways('fe80::1'), []);
  t.deepEqual(ways(undefined, 7), ['-%5*1']);
  t.deepEqual(ways('169.254.0.1', 7), ['-%5*1'], 'what zebra says for an IPv6 gateway of an IPv4 route');
});

test('weight and preferred source are kept', (t) => {
  t.deepEqual(ways('fd00:1::9', 7, { weight: 20, source: Addr.parse('fd00:1::1')! }), ['fd00:1::9%3*20 src fd00:1::1']);
});

test('each VRF has its own links and prefixes', (t) => {
  t.deepEqual(ways('10.1.0.5', 7, {}, 1), []);
  t.deepEqual(ways('fe80::1', 7, {}, 1), []);
});
