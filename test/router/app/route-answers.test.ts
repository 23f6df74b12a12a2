import test from 'ava';
import { type RouteFacts, routeShow, withRules } from '../../../router/app/route-answers.ts';
import type { RuleConfig } from '../../../router/config/model.ts';
import { RouteSource } from '../../../router/fib/shared.ts';
import { FibWriter } from '../../../router/fib/writer.ts';
import { MlshimError } from '../../../router/lib/errors.ts';
import { ANYTHING, type RuleMatch } from '../../../router/uplink/rule.ts';
import { port, prefix } from '../uplink/kit.ts';

const rule = (name: string, match: Partial<RuleMatch>, action: RuleConfig['action']): RuleConfig => ({
  ...{ name, action, onFailure: 'reject' },
  match: { ...ANYTHING, ...match },
});
const RULES = [
  rule('near', { to: [prefix('192.0.2.0/24'), prefix('fd00::/8')] }, { kind: 'group', group: 'fiber' }),
  rule('named', { to: [prefix('198.51.100.0/24')], domains: ['example.org'] }, { kind: 'vrf', vrf: 'blue' }),
  rule('mail', { ports: [port(25)] }, { kind: 'reject' }),
];
const answer = (dst: string, kind = 'none') => ({
  ...{ dst, kind, next_hops: [], source: '', mtu: 0, prefix: '', origin: '', reasons: ['the table'] },
});

test('an answer about a route names the rules that may lead flows elsewhere', (t) => {
  const said = (dst: string, kind?: string): readonly string[] => withRules(answer(dst, kind), RULES).reasons;
  const asked = 'rules are asked before the table: ';
  t.deepEqual(said('192.0.2.7'), ['the table', `${asked}near (fiber), named (VRF blue), mail (refused)`]);
  t.deepEqual(said('203.0.113.1'), ['the table', `${asked}named (VRF blue), mail (refused)`]);
  t.deepEqual(said('fd00::1'), ['the table', `${asked}near (fiber), named (VRF blue), mail (refused)`]);
  t.deepEqual(said('fe80::1%fiber'), ['the table']);
  t.deepEqual(said('192.0.2.7', 'local'), ['the table']);
  t.deepEqual(withRules(answer('203.0.113.1'), RULES.slice(0, 1)).reasons, ['the table']);
});

/** A table of `count` BGP routes of each family, a static one among them. */
function factsWith(count: number): RouteFacts {
  const fib = new FibWriter();
  const nextHops = [{ link: 3, gateway: undefined }];
  const route = (text: string, source: RouteSource) => ({ vrf: 0, prefix: prefix(text), source, nextHops });
  fib.apply(
    Array.from({ length: count }, (_, i) => [
      route(`10.${i >>> 8}.${i & 255}.0/24`, RouteSource.Ebgp),
      route(`2001:db8:${i.toString(16)}::/48`, RouteSource.Ibgp),
    ]).flat(),
  );
  fib.apply([route('192.0.2.0/24', RouteSource.Static)]);
  return {
    vrf: { name: 'main', number: 0 },
    fib,
    links: [],
    own: [],
    source: { v4: undefined, v6: undefined },
    of: () => undefined,
    describeBgp: () => undefined,
    protocolOf: () => undefined,
  };
}

/** All of a listing, and how many routes each part of it had. */
function listed(facts: RouteFacts, origin: string): { readonly prefixes: string[]; readonly parts: number[] } {
  const prefixes: string[] = [];
  const parts: number[] = [];
  for (let from = ''; ; ) {
    const { routes, next } = routeShow(facts, { origin, from });
    prefixes.push(...routes.map((r) => r.prefix));
    parts.push(routes.length);
    if (next === '') return { prefixes, parts };
    from = next;
  }
}

test('a large table is shown in parts of at most 200 routes, each route once', (t) => {
  const facts = factsWith(9000);
  const { prefixes, parts } = listed(facts, '');
  t.is(prefixes.length, 18_001);
  t.is(new Set(prefixes).size, 18_001);
  t.true(Math.max(...parts) <= 200);
  t.is(listed(facts, 'bgp').prefixes.length, 18_000);
  t.is(listed(facts, 'ibgp').prefixes.length, 9000);
});

test('a part looks at a bounded number of prefixes, whether or not it finds what is asked for', (t) => {
  const { prefixes, parts } = listed(factsWith(9000), 'static');
  t.deepEqual(prefixes, ['192.0.2.0/24']);
  t.true(parts.length > 4, `${parts}`);
});

test('an empty table is one part; a place that none is, is refused', (t) => {
  const facts = { ...factsWith(0), vrf: { name: 'red', number: 7 } };
  t.deepEqual(routeShow(facts, { origin: '' }), { routes: [], next: '' });
  for (const from of ['5:1', '4:', '4:-1', 'x', '4:1:1'])
    t.throws(() => routeShow(facts, { origin: '', from }), { instanceOf: MlshimError, message: /not a place/ });
});
