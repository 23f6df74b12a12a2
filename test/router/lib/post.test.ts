import test from 'ava';
import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { posted, revived } from '../../../router/lib/post.ts';

test('addresses and prefixes survive the way to another thread with their methods', (t) => {
  const value = {
    asn: 4242420229,
    routerId: Addr.parse('172.20.229.117')!,
    networks: [Prefix.parse('172.20.229.112/28')!, Prefix.parse('fd42:229::/48')!],
    key: new Uint8Array([1, 2, 3]),
    peers: [{ address: Addr.parse('fe80::2')!, via: undefined, families: ['ipv4'], nested: { isUp: true } }],
  };
  const back = revived(structuredClone(posted(value)));
  t.deepEqual(back, value);
  t.is(back.routerId.isLinkLocal, false);
  t.true(back.networks[0]!.contains(back.routerId));
  t.true(back.peers[0]!.address.isLinkLocal);
});
