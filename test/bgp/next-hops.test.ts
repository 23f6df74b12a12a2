import test from 'ava';
import type { FibNextHop } from '../../bgp/ports.ts';
import { Addr } from '../../router/lib/addr.ts';
import { SimNet } from './kit/net.ts';

test('a change of the table decides routes again only when their next hop leads elsewhere', (t) => {
  const net = new SimNet(1);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', '172.20.2.0/24'] });
  const b = net.router('b', { asn: 64602 });
  const cable = net.join(a, b, { multihop: true, nextHop4: Addr.parse('10.9.9.9')! });
  const gateway = (text: string): FibNextHop => ({ address: Addr.parse(text)!, link: cable.id });
  let way: FibNextHop | undefined = gateway('10.0.0.1');
  let lookups = 0;
  Object.assign(b, {
    resolve: () => {
      lookups++;
      return way && { ...way, cost: 1 };
    },
  });
  net.start();
  net.runUntil(() => b.fib.size === 2);
  const first = b.fib.get('172.20.1.0/24');
  t.is(String(first![0]!.address), '10.0.0.1');
  t.is(lookups, 1, 'both routes have the same next hop');

  const before = b.fibChanges;
  b.linkChanged('another link', true);
  t.deepEqual([lookups, b.fibChanges], [2, before], 'looked up, and nothing was decided');

  way = gateway('10.0.0.2');
  b.linkChanged('another link', true);
  t.deepEqual(
    [...b.fib.values()].map((hops) => String(hops[0]!.address)),
    ['10.0.0.2', '10.0.0.2'],
  );
  way = undefined;
  b.linkChanged('another link', true);
  t.is(b.fib.size, 0);
  way = gateway('10.0.0.2');
  b.linkChanged('another link', true);
  t.is(b.fib.size, 2);
});
