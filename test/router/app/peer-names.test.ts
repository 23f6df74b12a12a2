import test from 'ava';
import { parseTarget } from '../../../router/app/bgp-status.ts';
import { peerNamed } from '../../../router/app/peer-names.ts';

const PEERS = [
  { name: 'kioubit', asn: 4242423914, address: 'fe80::ade0' },
  { name: 'core-a', asn: 4242421080, address: '172.20.229.120' },
  { name: 'core-b', asn: 4242421080, address: '172.20.229.121' },
  { name: '65001', asn: 65002, address: '10.0.0.2' },
  { name: 'other', asn: 65001, address: '10.0.0.3' },
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

test('a target is a prefix, or an address; host bits are refused with what was meant', (t) => {
  t.is(String(parseTarget('172.20.1.0/27')), '172.20.1.0/27');
  t.is(String(parseTarget('172.20.1.1')), '172.20.1.1');
  t.throws(() => parseTarget('172.20.1.1/27'), {
    message: 'host bits set in 172.20.1.1/27 (did you mean 172.20.1.0/27?)',
  });
  t.throws(() => parseTarget('nonsense'), { message: '"nonsense" is not a prefix or address' });
});
