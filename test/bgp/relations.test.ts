/** Reflection, confederations and the AS numbers peers see, with whole speakers. */

import test from 'ava';
import { RoaState } from '../../bgp/policy/rule.ts';
import { parseCommunity } from '../../bgp/wire/attribute/communities.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { SimNet, type SimRouter } from './kit/net.ts';
import { roaTable } from './kit/roas.ts';

const best = (r: SimRouter) => [...r.speaker.routes('best')];
const paths = (r: SimRouter) => best(r).map((x) => `${x.prefix} ${x.asPath}`);

test('a route reflector passes routes between its clients, once around', (t) => {
  const net = new SimNet(21);
  const e = net.router('e', { asn: 64999, networks: ['172.20.9.0/24'] });
  const rr = net.router('rr', { asn: 64601, speaker: { clusterId: Addr.parse('10.9.9.9')! } });
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64601 });
  const c = net.router('c', { asn: 64601, networks: ['172.20.3.0/24'] });
  net.join(e, a, {}, { nextHop4: Addr.parse('10.0.0.1')! });
  net.join(a, rr, {}, { routeReflectorClient: true });
  net.join(b, rr, {}, { routeReflectorClient: true });
  net.join(c, rr, {}, {});
  net.start();
  net.run(10_000);
  t.deepEqual(paths(b).sort(), ['172.20.1.0/24 ', '172.20.3.0/24 ', '172.20.9.0/24 64999']);
  t.deepEqual(paths(c).sort(), ['172.20.1.0/24 ', '172.20.3.0/24 ', '172.20.9.0/24 64999']);
  const [raw] = [...b.speaker.routes('in', { prefix: Prefix.parse('172.20.9.0/24')! })];
  t.is(raw!.localPref, 100);
  t.is(a.fib.size, 2, 'a has the external route and that of c');
  // What comes back to its originator is refused there, not used.
  t.deepEqual(
    [...a.speaker.routes('in')].filter((r) => r.refused !== undefined),
    [],
    'a route is not told to the peer it came from',
  );
});

test('routes of a non-client go to clients only', (t) => {
  const net = new SimNet(22);
  const rr = net.router('rr', { asn: 64601 });
  const client = net.router('client', { asn: 64601 });
  const one = net.router('one', { asn: 64601, networks: ['172.20.1.0/24'] });
  const two = net.router('two', { asn: 64601 });
  net.join(client, rr, {}, { routeReflectorClient: true });
  net.join(one, rr);
  net.join(two, rr);
  net.start();
  net.run(10_000);
  t.is(client.fib.size, 1);
  t.is(two.fib.size, 0);
});

test('two reflectors in a row do not loop a route, and the identifiers of equal attributes are kept apart', (t) => {
  const net = new SimNet(23);
  const top = net.router('top', { asn: 64601 });
  const left = net.router('left', { asn: 64601 });
  const right = net.router('right', { asn: 64601 });
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64601, networks: ['172.20.2.0/24'] });
  net.join(left, top, {}, { routeReflectorClient: true });
  net.join(right, top, {}, { routeReflectorClient: true });
  net.join(left, right);
  net.join(a, left, {}, { routeReflectorClient: true });
  net.join(b, left, {}, { routeReflectorClient: true });
  net.start();
  net.run(10_000);
  for (const r of [top, right]) t.is(r.fib.size, 2, r.name);
  const refused = [...left.speaker.routes('in')].map((r) => r.refused).filter((x) => x !== undefined);
  t.deepEqual([...new Set(refused)], ['reflected back to us'].slice(0, refused.length));
});

test('a confederation looks like one AS from outside and finds its loops inside', (t) => {
  const net = new SimNet(24);
  const members = [65001, 65002, 65003];
  const of = (asn: number) => ({ id: 64600, members: members.filter((m) => m !== asn) });
  const out = net.router('out', { asn: 64999, networks: ['172.20.9.0/24'] });
  const [x, y, z] = members.map((asn) => {
    const networks = [`172.20.${asn - 65000}.0/24`];
    return net.router(`m${asn}`, { asn, networks, speaker: { confederation: of(asn) } });
  }) as [SimRouter, SimRouter, SimRouter];
  const far = net.router('far', { asn: 64998 });
  net.join(out, x, { asn: 64600 }, { nextHopSelf: true });
  net.join(x, y, { nextHopSelf: true });
  net.join(y, z, { nextHopSelf: true });
  net.join(z, x, { nextHopSelf: true });
  net.join(z, far, {}, { asn: 64600 });
  net.start();
  net.run(20_000);
  t.deepEqual(paths(far).sort(), [
    '172.20.1.0/24 64600',
    '172.20.2.0/24 64600',
    '172.20.3.0/24 64600',
    '172.20.9.0/24 64600 64999',
  ]);
  t.deepEqual(paths(y).sort(), [
    '172.20.1.0/24 (65001)',
    '172.20.2.0/24 ',
    '172.20.3.0/24 (65001 65003)', // segments of a confederation have no length: the lower identifier decides
    '172.20.9.0/24 (65001) 64999',
  ]);
  t.deepEqual(
    paths(out)
      .filter((p) => !p.startsWith('172.20.9'))
      .sort(),
    ['172.20.1.0/24 64600', '172.20.2.0/24 64600', '172.20.3.0/24 64600'],
  );
  for (const r of [x, y, z, out, far])
    t.is(
      r.speaker.snapshot().reduce((n, p) => n + p.faults, 0),
      0,
      r.name,
    );
  t.is(y.speaker.explain(Prefix.parse('172.20.9.0/24')!).find((c) => !c.isBest)?.asPath, '(65003 65001) 64999');
});

test('what begins inside a confederation is validated as of the AS that others see (RFC 8893 §3)', (t) => {
  const roas = roaTable('172.20.0.0/16-24 AS64600');
  const net = new SimNet(26);
  const of = (other: number) => ({ confederation: { id: 64600, members: [other] } });
  const x = net.router('x', { asn: 65001, networks: ['172.20.1.0/24'], roas, speaker: of(65002) });
  const y = net.router('y', { asn: 65002, networks: ['172.20.2.0/24'], speaker: of(65001) });
  const far = net.router('far', { asn: 64998 });
  net.join(x, y, {}, {});
  net.join(x, far, { export: [{ match: { roa: [RoaState.Valid] }, action: 'accept' }] }, { asn: 64600 });
  net.start();
  net.runUntil(() => far.fib.size === 2);
  t.deepEqual([...x.speaker.routes('best')].map((r) => [r.prefix, r.roa]).sort(), [
    ['172.20.1.0/24', 'valid'],
    ['172.20.2.0/24', 'valid'],
  ]);
});

test('a confederation segment from outside is a mistake', (t) => {
  const net = new SimNet(25);
  const in1 = net.router('in1', {
    asn: 65001,
    networks: ['172.20.1.0/24'],
    speaker: { confederation: { id: 64600, members: [65002] } },
  });
  // It believes that the other side is outside of the confederation.
  const b = net.router('b', { asn: 65002 });
  net.join(in1, b);
  net.start();
  net.run(10_000);
  t.is(b.fib.size, 0);
  t.regex(b.events.join('\n'), /in1 fault AS_PATH contains a confederation segment/);
});

test('a peer sees another AS of ours, and our own AS stands behind it (RFC 7705)', (t) => {
  const net = new SimNet(26);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const m = net.router('m', { asn: 64602 });
  const b = net.router('b', { asn: 64603, networks: ['172.20.3.0/24'] });
  net.join(a, m);
  net.join(m, b, { localAs: { asn: 64700 } }, { asn: 64700 });
  net.start();
  net.run(10_000);
  t.deepEqual(paths(b).sort(), ['172.20.1.0/24 64700 64602 64601', '172.20.3.0/24 ']);
  t.deepEqual(paths(a).sort(), ['172.20.1.0/24 ', '172.20.3.0/24 64602 64700 64603']);
});

test('two sites of one AS reach each other by override, or by letting their own AS in', (t) => {
  for (const [mSide, site] of [
    [{ asOverride: true }, {}],
    [{}, { allowOwnAs: 1 }],
    [{}, {}],
  ] as const) {
    const net = new SimNet(27);
    const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
    const m = net.router('m', { asn: 64602 });
    const b = net.router('b', { asn: 64601 });
    net.join(a, m, site, mSide);
    net.join(b, m, site, mSide);
    net.start();
    net.run(10_000);
    t.is(b.fib.size, 'asOverride' in mSide || 'allowOwnAs' in site ? 1 : 0);
  }
});

test('a default route is told although there is none, and taken back with the session only', (t) => {
  const net = new SimNet(28);
  const a = net.router('a', { asn: 64601 });
  const b = net.router('b', { asn: 64602 });
  net.join(a, b, { defaultOriginate: true, export: 'reject-all' }, {});
  net.start();
  net.runUntil(() => b.fib.size === 2);
  t.deepEqual([...b.fib.keys()].sort(), ['0.0.0.0/0', '::/0']);
  t.deepEqual(paths(b).sort(), ['0.0.0.0/0 64601', '::/0 64601']);
  t.true(a.speaker.peerRefresh('b', 'out'));
  net.run(1000);
  t.is(b.fib.size, 2);
});

test('a blackhole is installed only where it is asked for, and goes no further', (t) => {
  const net = new SimNet(29);
  const a = net.router('a', { asn: 64601 });
  const m = net.router('m', { asn: 64602 });
  const o = net.router('o', { asn: 64603 });
  const far = net.router('far', { asn: 64604 });
  net.join(a, m, {}, { acceptBlackhole: true });
  net.join(a, o);
  net.join(m, far);
  a.speaker.announce({ prefix: Prefix.parse('172.20.1.1/32')!, communities: [parseCommunity('blackhole')!] });
  net.start();
  net.run(10_000);
  t.is(m.ways.get('172.20.1.1/32')?.kind, 'blackhole');
  t.is(o.ways.get('172.20.1.1/32')?.kind, 'unicast');
  t.is(far.fib.size, 0);
  t.deepEqual(best(m)[0]?.communities, ['blackhole', 'no-export']);
});

test('an import rule can discard the traffic of a route', (t) => {
  const net = new SimNet(30);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', 'fd42::/48'] });
  const m = net.router('m', { asn: 64602 });
  net.join(a, m, {}, { import: [{ action: 'accept', set: { nextHop: 'discard' } }], export: 'accept-all' });
  net.start();
  net.run(5_000);
  t.deepEqual(
    [...m.ways.values()].map((w) => w.kind),
    ['blackhole', 'blackhole'],
  );
});

test('an address that an export rule names is told where the peer can read it (RFC 8950 §4)', (t) => {
  for (const [nextHop, extendedNextHop, expected] of [
    ['fd00::9', false, ['10.0.0.1', 'fd00::9']],
    ['fd00::9', true, ['fd00::9', 'fd00::9']],
    ['10.0.0.9', true, ['10.0.0.9', 'fe80::1:1']],
  ] as const) {
    const net = new SimNet(33);
    const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24', 'fd42::/48'] });
    const b = net.router('b', { asn: 64602 });
    const rule = { action: 'accept', set: { nextHop: Addr.parse(nextHop)! } } as const;
    net.join(a, b, { extendedNextHop, nextHop4: Addr.parse('10.0.0.1')!, export: [rule] }, { extendedNextHop });
    net.start();
    net.run(10_000);
    t.is(b.session('a').establishments, 1);
    t.deepEqual(
      [...b.speaker.routes('in')].map((r) => r.nextHop ?? r.linkLocalNextHop),
      [...expected],
    );
  }
});

test('next hop self for all also replaces the next hop of reflected routes', (t) => {
  for (const [nextHopSelf, expected] of [
    [false, '10.0.0.1'],
    [true, '10.0.0.1'],
    ['all', '10.0.0.2'],
  ] as const) {
    const net = new SimNet(31);
    const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
    const rr = net.router('rr', { asn: 64601 });
    const b = net.router('b', { asn: 64601 });
    net.join(a, rr, { nextHop4: Addr.parse('10.0.0.1')! }, { routeReflectorClient: true });
    net.join(b, rr, {}, { routeReflectorClient: true, nextHopSelf, nextHop4: Addr.parse('10.0.0.2')! });
    net.start();
    net.run(10_000);
    t.is(best(b)[0]?.nextHop, expected, String(nextHopSelf));
  }
});

test('a session is drained and filled again while it stays up (RFC 8326)', (t) => {
  const net = new SimNet(32);
  const x = net.router('x', { asn: 64600 });
  const a = net.router('a', { asn: 64601, networks: ['172.20.9.0/24'] });
  const b = net.router('b', { asn: 64602, networks: ['172.20.9.0/24'] });
  net.join(x, a);
  net.join(x, b);
  net.start();
  net.run(10_000);
  const link = () => x.fib.get('172.20.9.0/24')![0]!.link;
  t.is(link(), 'x-a');
  const open = { import: 'accept-all', export: 'accept-all' } as const;
  a.speaker.setPolicies('x', { ...open, gracefulShutdown: true });
  net.run(1000);
  t.is(link(), 'x-b', 'the side that leaves has said so');
  a.speaker.setPolicies('x', { ...open, gracefulShutdown: false });
  net.run(1000);
  t.is(link(), 'x-a');
  x.speaker.setPolicies('a', { ...open, gracefulShutdown: true });
  t.is(link(), 'x-b', 'and so does what it hears count least for itself');
  x.speaker.setPolicies('a', open);
  t.is(link(), 'x-b', 'as it was when nothing is said');
  t.is(a.session('x').establishments, 1);
});

test('a list of ASes is one of external peers: none of ours can be in it', (t) => {
  const net = new SimNet(40);
  const a = net.router('a', { asn: 64601, speaker: { confederation: { id: 64600, members: [64603] } } });
  const b = net.router('b', { asn: 64602 });
  for (const own of [64600, 64601, 64603]) {
    const error = { instanceOf: RangeError, message: `AS ${own} is not external: it cannot be one of several` };
    t.throws(() => net.join(a, b, { asn: [64602, own] }), error);
    const range = { name: 'r', link: 'x', range: Prefix.parse('fe80::/10')!, asn: [64602, own] };
    t.throws(() => a.speaker.addRange(range), error);
  }
  t.throws(() => net.join(a, b, { asn: [64602, 64605], localAs: { asn: 64605 } }), { instanceOf: RangeError });
  t.deepEqual(a.speaker.snapshot(), []);
});

test('a peer cannot be in the AS that we say to be in towards it', (t) => {
  const net = new SimNet(41);
  const a = net.router('a', { asn: 64601, speaker: { confederation: { id: 64600, members: [64603] } } });
  const b = net.router('b', { asn: 64602 });
  const error = (asn: number) => ({
    instanceOf: RangeError,
    message: `AS ${asn} is what we say to be in: it cannot be the peer's`,
  });
  t.throws(() => net.join(a, b, { asn: 64600 }), error(64600));
  t.throws(() => net.join(a, b, { asn: 64602, localAs: { asn: 64602 } }), error(64602));
  t.deepEqual(a.speaker.snapshot(), []);
  t.notThrows(() => net.join(a, b, { asn: 64602, localAs: { asn: 64605 } }));
});
