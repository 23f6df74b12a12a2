import test from 'ava';
import type { AggregateConfig } from '../../bgp/speaker.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { SimNet } from './kit/net.ts';

const aggregate = (text: string, summaryOnly = false): AggregateConfig => ({
  prefix: Prefix.parse(text)!,
  summaryOnly,
});

/** a originates, m aggregates, b listens. */
function chain(aggregates: readonly AggregateConfig[], networks: readonly string[] = []) {
  const net = new SimNet(51);
  const a = net.router('a', { asn: 64601, networks });
  const m = net.router('m', { asn: 64602, speaker: { aggregates } });
  const b = net.router('b', { asn: 64603 });
  const cable = net.join(a, m);
  net.join(m, b);
  net.start();
  net.run(5_000);
  const seen = () => [...b.speaker.routes('best')].map((r) => `${r.prefix} ${r.asPath}`).sort();
  return { net, a, m, b, cable, seen };
}

test('an aggregate is there while something more specific is, and discards what nothing takes', (t) => {
  const { net, a, m, seen } = chain([aggregate('172.20.0.0/16'), aggregate('fd42::/32')]);
  t.deepEqual(seen(), []);
  t.is(m.ways.size, 0);
  a.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')! });
  net.run(1000);
  t.deepEqual(seen(), ['172.20.0.0/16 64602', '172.20.1.0/24 64602 64601']);
  t.is(m.ways.get('172.20.0.0/16')?.kind, 'blackhole');
  t.is(m.ways.get('172.20.1.0/24')?.kind, 'unicast');
  a.speaker.announce({ prefix: Prefix.parse('172.20.2.0/24')! });
  a.speaker.withdraw(Prefix.parse('172.20.1.0/24')!);
  net.run(1000);
  t.deepEqual(seen(), ['172.20.0.0/16 64602', '172.20.2.0/24 64602 64601']);
  a.speaker.withdraw(Prefix.parse('172.20.2.0/24')!);
  net.run(1000);
  t.deepEqual(seen(), []);
  t.is(m.ways.size, 0);
});

test('a summary stands for what is inside, also for what came before it and what comes later', (t) => {
  const { net, a, m, seen, cable } = chain([aggregate('172.20.0.0/16', true)], ['172.20.1.0/24', '172.21.1.0/24']);
  t.deepEqual(seen(), ['172.20.0.0/16 64602', '172.21.1.0/24 64602 64601']);
  a.speaker.announce({ prefix: Prefix.parse('172.20.2.0/24')! });
  net.run(1000);
  t.deepEqual(seen(), ['172.20.0.0/16 64602', '172.21.1.0/24 64602 64601']);
  t.is(m.fib.size, 4, 'here everything is used');
  net.setCable(cable, false);
  net.run(1000);
  t.deepEqual(seen(), []);
  net.setCable(cable, true);
  net.run(60_000);
  t.deepEqual(seen(), ['172.20.0.0/16 64602', '172.21.1.0/24 64602 64601']);
});

test('a prefix is not inside itself, and one aggregate may be inside another', (t) => {
  const { seen } = chain([aggregate('172.20.0.0/16'), aggregate('172.16.0.0/12')], ['172.20.0.0/16']);
  t.deepEqual(seen(), ['172.16.0.0/12 64602', '172.20.0.0/16 64602 64601']);
  const nested = chain([aggregate('172.20.0.0/16'), aggregate('172.16.0.0/12')], ['172.20.1.0/24']);
  t.deepEqual(nested.seen(), ['172.16.0.0/12 64602', '172.20.0.0/16 64602', '172.20.1.0/24 64602 64601']);
});

test('an aggregate names who made it', (t) => {
  const { b } = chain([aggregate('172.20.0.0/16', true)], ['172.20.1.0/24']);
  const table = [...b.events].join('\n');
  t.false(table.includes('fault'));
  const [route] = b.speaker.explain(Prefix.parse('172.20.0.0/16')!);
  t.like(route, { asPath: '64602', origin: 'IGP', isBest: true });
});

test('two speakers of one process number the ways of their aggregates apart', (t) => {
  const net = new SimNet(52);
  const pairs = [['172.20.1.0/24', '192.0.2.0/24', '198.51.100.0/24'], ['172.20.1.0/24']].map((networks, i) => {
    const m = net.router(`m${i}`, { asn: 64610 + i, speaker: { aggregates: [aggregate('172.20.0.0/16')] } });
    net.join(net.router(`a${i}`, { asn: 64620 + i, networks }), m);
    return { m, networks };
  });
  net.start();
  net.run(20_000);
  for (const { m, networks } of pairs) {
    const kinds = [...m.ways].map(([prefix, way]) => `${prefix} ${way.kind}`);
    t.deepEqual(kinds.sort(), ['172.20.0.0/16 blackhole', ...networks.map((n) => `${n} unicast`)].sort());
  }
});

test('networks that come and go one by one are guarded at once: what others tell inside them is judged again', (t) => {
  const net = new SimNet(53);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24'] });
  const m = net.router('m', { asn: 64602 });
  net.join(a, m);
  net.start();
  net.run(5_000);
  const taken = () => [...m.fib.keys()].filter((p) => m.ways.get(p)?.kind === 'unicast').sort();
  t.deepEqual(taken(), ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24']);
  m.speaker.announce({ prefix: Prefix.parse('172.20.1.0/24')! });
  m.speaker.announce({ prefix: Prefix.parse('172.20.2.0/23')! });
  net.run(1000);
  t.deepEqual(taken(), []);
  t.true(m.speaker.withdraw(Prefix.parse('172.20.2.0/23')!));
  net.run(1000);
  t.deepEqual(taken(), ['172.20.2.0/24', '172.20.3.0/24']);
});
