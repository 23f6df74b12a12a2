/** The tables of the DN42 wiki (Address-Space, Bird2, BGP-communities), row by row. */
import test from 'ava';
import { bandwidthClass, dn42Export, dn42Import, type LinkQuality, latencyClass } from '../../../bgp/policy/dn42.ts';
import { LatencyMeter } from '../../../bgp/policy/dn42-latency.ts';
import { RoaState } from '../../../bgp/policy/rule.ts';
import { communityText, parseCommunity } from '../../../bgp/wire/attribute/communities.ts';
import type { Instant } from '../../../router/lib/clock.ts';
import { accepts, type Case, judge } from '../kit/filter.ts';

const NOTHING: LinkQuality = { latency: undefined, bandwidth: undefined, crypto: undefined };
const NOWHERE = { region: undefined, country: undefined };

const valid = (prefix: string): Case => ({ prefix, roa: RoaState.Valid });
const path = (...asns: number[]) => [{ type: 2, asns }];

test('networks of DN42 and its neighbours are accepted in their lengths, everything else is not', (t) => {
  const cases: readonly [string, readonly string[], readonly string[]][] = [
    [
      'DN42',
      ['172.20.0.0/21', '172.20.160.0/27', '172.23.255.248/29'],
      ['172.20.0.0/20', '172.20.1.0/30', '172.24.0.0/21'],
    ],
    [
      'anycast',
      ['172.20.0.0/28', '172.20.0.53/32', '172.21.0.0/32', '172.22.0.64/30', '172.23.0.53/32'],
      ['172.20.1.53/32', '172.23.1.0/30'],
    ],
    [
      'ChaosVPN',
      ['172.31.0.0/16', '172.31.1.1/32', '10.100.0.0/14', '10.103.1.0/30'],
      ['172.30.0.0/15', '10.104.1.0/30'],
    ],
    ['NeoNetwork', ['10.127.0.0/16', '10.127.1.1/32'], ['10.126.1.1/32']],
    ['Freifunk', ['10.0.0.0/15', '10.1.2.0/24'], ['10.0.0.0/14', '10.1.2.0/25', '10.0.0.0/8']],
    [
      'IPv6',
      ['fd00::/44', 'fd42:4242::/48', 'fdff:1::/64'],
      ['fd00::/43', 'fd42:0:0:0:8000::/65', 'fc00::/48', '2001:db8::/48'],
    ],
    ['elsewhere', [], ['0.0.0.0/0', '192.168.0.0/24', '8.8.8.0/24', '::/0']],
  ];
  for (const [what, good, bad] of cases) {
    for (const prefix of good) t.true(accepts(dn42Import(NOTHING), valid(prefix)), `${what} ${prefix}`);
    for (const prefix of bad) t.false(accepts(dn42Import(NOTHING), valid(prefix)), `${what} ${prefix}`);
  }
});

test('only a valid origin will do: unknown is refused as invalid is', (t) => {
  const policy = dn42Import(NOTHING);
  t.true(accepts(policy, { prefix: '172.20.1.0/24', roa: RoaState.Valid }));
  t.false(accepts(policy, { prefix: '172.20.1.0/24', roa: RoaState.NotFound }));
  t.false(accepts(policy, { prefix: '172.20.1.0/24', roa: RoaState.Invalid }));
});

test('paths may be limited in length', (t) => {
  const policy = dn42Import(NOTHING, 3);
  const route = (n: number): Case => ({
    ...valid('172.20.1.0/24'),
    attributes: { asPath: path(...new Array(n).fill(64601)) },
  });
  t.true(accepts(policy, route(3)));
  t.false(accepts(policy, route(4)));
  t.true(accepts(dn42Import(NOTHING), route(40)));
});

test('latency is told in powers of e: up to 2.7, 7.3, 20, 55, 148, 403, 1097, 2981 ms and above', (t) => {
  const rows: readonly [number, number][] = [
    [0.1, 1],
    [2.7, 1],
    [2.71, 2],
    [7.3, 2],
    [7.4, 3],
    [20, 3],
    [20.1, 4],
    [55, 4],
    [55.1, 5],
    [148, 5],
    [149, 6],
    [403, 6],
    [404, 7],
    [1097, 7],
    [1098, 8],
    [2981, 8],
    [2982, 9],
    [60_000, 9],
  ];
  for (const [ms, x] of rows) t.is(latencyClass(ms), x, `${ms} ms`);
});

test('bandwidth is told in powers of ten: from 0.1, 1, 10, 100, 1000 Mbit/s on', (t) => {
  const rows: readonly [number, number | undefined][] = [
    [0.09, undefined],
    [0.1, 21],
    [0.99, 21],
    [1, 22],
    [9.9, 22],
    [10, 23],
    [99, 23],
    [100, 24],
    [999, 24],
    [1000, 25],
    [10_000, 26],
    [100_000, 27],
    [1e6, 28],
    [1e7, 29],
    [1e9, 29],
  ];
  for (const [mbit, x] of rows) t.is(bandwidthClass(mbit), x, `${mbit} Mbit/s`);
});

/** Communities and MED after a policy, as `64511:x` numbers in order. */
function after(policy: ReturnType<typeof dn42Import>, have: readonly string[], more: Case = {}) {
  const attributes = { communities: have.map((c) => parseCommunity(c)!), ...more.attributes };
  const outcome = judge(policy, { ...valid('172.20.1.0/24'), ...more, attributes })!;
  return { communities: outcome.attributes.communities.map(communityText).sort(), med: outcome.attributes.med };
}

const x = (...numbers: number[]): string[] => numbers.map((n) => `64511:${n}`).sort();

test('the worst latency, the least bandwidth and the weakest encryption go on, both ways', (t) => {
  const rows: readonly [readonly number[], LinkQuality, readonly number[]][] = [
    [[], { latency: 3, bandwidth: 24, crypto: 34 }, [3, 24, 34]],
    [[1, 25, 35], { latency: 3, bandwidth: 24, crypto: 34 }, [3, 24, 34]],
    [[5, 22, 31], { latency: 3, bandwidth: 24, crypto: 34 }, [5, 22, 31]],
    [[3, 24, 34], { latency: 3, bandwidth: 24, crypto: 34 }, [3, 24, 34]],
    [[9, 29, 36], { latency: 1, bandwidth: 21, crypto: 31 }, [9, 21, 31]],
    [[2, 7, 23, 21, 36, 32], NOTHING, [7, 21, 32]],
    [[4], { latency: undefined, bandwidth: 24, crypto: undefined }, [4, 24]],
    [[], NOTHING, []],
  ];
  for (const [have, link, expected] of rows) {
    t.deepEqual(
      after(dn42Import(link), x(...have)).communities,
      x(...expected),
      `import ${have} + ${Object.values(link)}`,
    );
    t.deepEqual(after(dn42Export(link, NOWHERE), x(...have)).communities, x(...expected), `export ${have}`);
  }
});

test('the change is the same for any value and any link, by the definition', (t) => {
  for (let route = 0; route <= 9; route++) {
    for (let link = 1; link <= 9; link++) {
      const latency = after(dn42Import({ ...NOTHING, latency: link }), route === 0 ? [] : x(route)).communities;
      t.deepEqual(latency, x(Math.max(route, link)));
      const bandwidth = after(dn42Import({ ...NOTHING, bandwidth: 20 + link }), route === 0 ? [] : x(20 + route));
      t.deepEqual(bandwidth.communities, x(route === 0 ? 20 + link : 20 + Math.min(route, link)));
      if (route > 6 || link > 6) continue;
      const crypto = after(dn42Import({ ...NOTHING, crypto: 30 + link }), route === 0 ? [] : x(30 + route)).communities;
      t.deepEqual(crypto, x(route === 0 ? 30 + link : 30 + Math.min(route, link)));
    }
  }
});

test('region, country, topology, loss and everything that is not for a link pass untouched', (t) => {
  const others = [
    ...x(0, 10, 20, 30, 37, 41, 52, 57, 81, 84, 89, 91, 94, 1276, 1004),
    '64512:3',
    'blackhole',
    '64510:9',
  ].sort();
  const link = { latency: 3, bandwidth: 24, crypto: 34 };
  t.deepEqual(after(dn42Import(link), others).communities, [...others, ...x(3, 24, 34)].sort());
  const large = [64601, 1, 2];
  const kept = judge(dn42Import(link), { ...valid('172.20.1.0/24'), attributes: { largeCommunities: large } });
  t.deepEqual(kept?.attributes.largeCommunities, large);
});

test('blackholes are off: the community is one like others, and no longer prefix is let in by it', (t) => {
  const blackhole = { communities: [parseCommunity('65535:666')!] };
  t.false(accepts(dn42Import(NOTHING), { ...valid('172.20.1.1/32'), attributes: blackhole }));
  t.true(accepts(dn42Import(NOTHING), { ...valid('172.20.1.0/24'), attributes: blackhole }));
});

test('region and country are told of our own networks only', (t) => {
  const policy = dn42Export({ ...NOTHING, crypto: 34 }, { region: 41, country: 276 });
  t.deepEqual(after(policy, [], { source: 'local' }).communities, x(34, 41, 1276));
  t.deepEqual(after(policy, x(41), { source: 'local' }).communities, x(34, 41, 1276), 'once');
  t.deepEqual(after(policy, [], { source: 'external' }).communities, x(34));
  t.deepEqual(after(policy, [], { source: 'internal' }).communities, x(34));
});

test('our own networks are told whatever they are, those of others inside DN42 only', (t) => {
  const policy = dn42Export(NOTHING, NOWHERE);
  const out = { direction: 'export' } as const;
  t.true(accepts(policy, { prefix: '192.0.2.0/24', source: 'local' }, out));
  t.true(accepts(policy, { prefix: '172.20.1.0/24', source: 'external' }, out));
  t.true(accepts(policy, { prefix: 'fd42::/48', source: 'internal' }, out));
  t.false(accepts(policy, { prefix: '192.0.2.0/24', source: 'internal' }, out));
  t.false(accepts(policy, { prefix: '0.0.0.0/0', source: 'external' }, out));
});

test('a path of one AS is preferred by 500', (t) => {
  const localPref = (attributes: Case['attributes']): number | undefined =>
    judge(dn42Import(NOTHING), { ...valid('172.20.1.0/24'), ...(attributes && { attributes }) })?.attributes.localPref;
  t.is(localPref({ asPath: path(64601) }), 600);
  t.is(localPref({ asPath: path(64601), localPref: 150 }), 650);
  t.is(localPref({ asPath: path(64601, 64601) }), undefined);
  t.is(localPref({ asPath: path(64601, 64602) }), undefined);
});

test('MED is (4 - crypto) * 600 + (9 - bandwidth) * 100 + (latency - 1) * 300', (t) => {
  const med = (link: LinkQuality, ...have: number[]): number | undefined =>
    after(dn42Export(link, NOWHERE), x(...have)).med;
  t.is(med({ latency: 1, bandwidth: 29, crypto: 34 }), 0, 'the best of all');
  t.is(med({ latency: 3, bandwidth: 24, crypto: 34 }), 500 + 600);
  t.is(med({ latency: 3, bandwidth: 24, crypto: 31 }), 1800 + 500 + 600);
  t.is(med({ latency: 9, bandwidth: 21, crypto: 31 }), 1800 + 800 + 2400);
  t.is(med({ latency: 1, bandwidth: 29, crypto: 36 }), 0, 'better than class 4 costs nothing');
  t.is(
    med({ latency: 2, bandwidth: 25, crypto: 34 }, 4, 22, 33),
    600 + 700 + 900,
    'of the path, not of the link alone',
  );
  t.is(med(NOTHING), 0, 'what is not known costs nothing');
});

const second = (s: number): Instant => (s * 1000) as Instant;

test('a latency is told after five round trips, and then changes class only when its average of hours has', (t) => {
  const meter = new LatencyMeter(12 * 3600);
  for (let i = 0; i < 4; i++) t.false(meter.add(15, second(i)));
  t.is(meter.class, undefined);
  t.true(meter.add(15, second(4)));
  t.is(meter.class, 3);
  // A busy hour changes nothing.
  let now = 5;
  for (; now < 3600; now += 10) t.false(meter.add(15, second(now)));
  for (; now < 2 * 3600; now += 10) t.false(meter.add(300, second(now)), `after ${now} s`);
  t.is(meter.class, 3);
  // A way that has become longer is told, once.
  let changes = 0;
  for (; now < 72 * 3600; now += 10) if (meter.add(40, second(now))) changes++;
  t.is(changes, 1);
  t.is(meter.class, 4);
});

test('a latency near a limit does not flap', (t) => {
  const meter = new LatencyMeter(3600);
  let changes = 0;
  for (let s = 0; s < 30 * 3600; s += 10) if (meter.add(s % 14_400 < 7200 ? 19 : 21, second(s))) changes++;
  t.is(changes, 1);
});

test('a shorter way is told too', (t) => {
  const meter = new LatencyMeter(600);
  let now = 0;
  for (; now < 1200; now += 10) meter.add(120, second(now));
  t.is(meter.class, 5);
  for (; now < 12_000; now += 10) meter.add(1, second(now));
  t.is(meter.class, 1);
});
