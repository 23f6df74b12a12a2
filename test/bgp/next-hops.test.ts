import test from 'ava';
import type { FibNextHop } from '../../bgp/ports.ts';
import { PLAIN_ATTRIBUTES } from '../../bgp/wire/attribute/plain.ts';
import { UpdatePacker } from '../../bgp/wire/update.ts';
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

test('a next hop that is found by a route of several next hops is reached by all of them', (t) => {
  const net = new SimNet(3);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const c = net.router('c', { asn: 64601, networks: ['172.20.1.0/24', '172.20.2.0/24'] });
  const b = net.router('b', { asn: 64602, maxPaths: 4 });
  const one = net.join(a, b, { multihop: true, nextHop4: Addr.parse('10.9.9.9')! });
  const other = net.join(c, b, { multihop: true, nextHop4: Addr.parse('10.8.8.8')! });
  const hop = (text: string, weight?: number): FibNextHop => ({
    address: Addr.parse(text)!,
    link: one.id,
    ...(weight !== undefined && { weight }),
  });
  let group = [hop('10.0.0.1'), hop('10.0.0.2')];
  Object.assign(b, {
    resolve: (address: Addr) =>
      String(address) === '10.8.8.8'
        ? { address: Addr.parse('10.0.0.3')!, link: other.id, cost: 1 }
        : { ...group[0]!, cost: 1, ...(group.length > 1 && { group }) },
  });
  const shares = (prefix: string): string[] =>
    (b.fib.get(prefix) ?? []).map((h) => `${h.address} ${h.weight ?? 1}`).sort();
  net.start();
  net.runUntil(() => b.fib.size === 2);
  net.run(60_000);
  t.deepEqual(shares('172.20.1.0/24'), ['10.0.0.1 128', '10.0.0.2 128', '10.0.0.3 256'], 'half for each route');
  t.deepEqual(shares('172.20.2.0/24'), ['10.0.0.3 1']);
  net.setCable(other, false);
  t.deepEqual(shares('172.20.1.0/24'), ['10.0.0.1 1', '10.0.0.2 1']);

  const before = b.fibChanges;
  group = [hop('10.0.0.1'), hop('10.0.0.2')];
  b.linkChanged('another link', true);
  t.is(b.fibChanges, before, 'the same again');
  group = [hop('10.0.0.1'), hop('10.0.0.2', 3)];
  b.linkChanged('another link', true);
  t.deepEqual(shares('172.20.1.0/24'), ['10.0.0.1 1', '10.0.0.2 3']);
  group = [hop('10.0.0.2')];
  b.linkChanged('another link', true);
  t.deepEqual(shares('172.20.1.0/24'), ['10.0.0.2 1']);
});

test('a peer that names another next hop each time leaves no trace of the earlier ones', (t) => {
  const net = new SimNet(2);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602 });
  const cable = net.join(a, b, { multihop: true });
  let lookups = 0;
  Object.assign(a, {
    resolve: (address: Addr) => {
      lookups++;
      return { address, link: cable.id, cost: 0 };
    },
  });
  net.start();
  net.run(10_000);
  const { handler } = a.streams.find((s) => !s.isClosed)!;
  const settings = { fourOctetAs: true, maxMessage: 4096, linkLocalForm: 'single' } as const;
  const packer = new UpdatePacker(settings, (octets) => handler!.data(octets));
  const asPath = [{ type: 2, asns: [64602] }];
  for (let i = 0; i < 4000; i++) {
    packer.reach(4, { ...PLAIN_ATTRIBUTES, asPath }, { global: Addr.v4(0x0b000001 + i), linkLocal: undefined });
    packer.add(0x0a000000, 0, 0, 0, 8);
    packer.flush();
  }
  net.run(100);
  t.is(lookups, 4000);
  t.is(String(a.fib.get('10.0.0.0/8')![0]!.address), '11.0.15.160');
  a.linkChanged('another link', true);
  t.true(lookups < 4000 + 1100, `${lookups - 4000} next hops were known`);
  t.is(a.fib.size, 1);
});
