import test from 'ava';
import { parseTarget } from '../../../router/app/bgp-status.ts';
import { peerNamed, peerOrPlace } from '../../../router/app/peer-names.ts';

const PEERS = [
  { name: 'kioubit', asn: 4242423914, address: 'fe80::ade0', link: 'kioubit' },
  { name: 'core-a', asn: 4242421080, address: '172.20.229.120', link: '' },
  { name: 'core-b', asn: 4242421080, address: '172.20.229.121', link: '' },
  { name: '65001', asn: 65002, address: '10.0.0.2', link: '' },
  { name: 'other', asn: 65001, address: '10.0.0.3', link: '' },
];

test('a peer is found by its name, AS number or address where that is unique', (t) => {
  for (const text of ['kioubit', '4242423914', 'AS4242423914', 'as4242423914', 'fe80:0::ade0'])
    t.is(peerNamed(text, PEERS), 'kioubit', text);
  t.is(peerNamed('65001', PEERS), '65001', 'a name goes first');
  t.is(peerNamed('AS65001', PEERS), 'other');
});

test('what means no peer or several is refused with the names', (t) => {
  t.throws(() => peerNamed('AS4242421080', PEERS), {
    message: '"AS4242421080" is more than one bgp peer: name one of core-a, core-b',
  });
  t.throws(() => peerNamed('nobody', PEERS.slice(0, 2)), { message: 'no bgp peer "nobody" (known: kioubit, core-a)' });
});

test('an address that several peers have is told apart by the uplink', (t) => {
  const peers = ['x', 'y'].map((name, i) => ({ name, asn: 65010 + i, address: 'fe80::1', link: `up-${name}` }));
  t.is(peerNamed('fe80::1%up-y', peers), 'y');
  t.throws(() => peerNamed('fe80::1', peers), { message: '"fe80::1" is more than one bgp peer: name one of x, y' });
  t.throws(() => peerNamed('fe80::1%up', peers), { message: 'no bgp peer "fe80::1%up" (known: x, y)' });
});

test('a word alone is a peer where one has that name, number or address, else an address is a place', (t) => {
  t.deepEqual(peerOrPlace('10.0.0.3', PEERS), { peer: 'other' });
  t.deepEqual(peerOrPlace('fe80::ade0', PEERS), { peer: 'kioubit' });
  t.deepEqual(peerOrPlace('core-a', PEERS), { peer: 'core-a' });
  t.deepEqual(peerOrPlace('10.0.0.9', PEERS), { place: '10.0.0.9' });
  const twice = [...PEERS, { name: 'vpn', asn: 65009, address: '10.0.0.3', link: 'b' }];
  t.throws(() => peerOrPlace('10.0.0.3', twice), {
    message: '"10.0.0.3" is more than one bgp peer: name one of other, vpn, or "for 10.0.0.3" for the routes around it',
  });
  t.throws(() => peerOrPlace('nobody', PEERS), { code: 'UNKNOWN', message: /^no bgp peer "nobody" \(known: / });
});

test('a target is a prefix, or an address; host bits are refused with what was meant', (t) => {
  t.is(String(parseTarget('172.20.1.0/27')), '172.20.1.0/27');
  t.is(String(parseTarget('172.20.1.1')), '172.20.1.1');
  t.throws(() => parseTarget('172.20.1.1/27'), {
    message: 'host bits set in 172.20.1.1/27 (did you mean 172.20.1.0/27?)',
  });
  t.throws(() => parseTarget('nonsense'), { message: '"nonsense" is not a prefix or address' });
});
