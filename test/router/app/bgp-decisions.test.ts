import test from 'ava';
import type { Decision } from '../../../bgp/speaker.ts';
import { decisionText, ruleOf } from '../../../router/app/bgp-decisions.ts';
import { parseConfig } from '../../../router/config/load.ts';

const KEY = 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=';

/** What is said of a decision about routes of a peer with these keys. */
function said(direction: 'import' | 'export', keys: string, d: Partial<Decision>): string {
  const text = `uplinks: { a: { wireguard: { private_key: ${KEY} } } }
bgp:
  asn: 65001
  router_id: 10.0.0.2
  policy: stub
  filters: f.mjs
  policies: { in: [{ action: reject, name: x }], out: [in] }
  peers: [{ name: b, asn: 65002, via: a, address: 10.0.0.1, ${keys} }]
`;
  const { config, diagnostics } = parseConfig({ shown: 'm.yaml', path: '/m.yaml', text }, {});
  const bgp = config?.bgp;
  if (bgp === undefined) throw new Error(diagnostics.map((x) => x.message).join());
  const decision = { isAccepted: false, by: 'rule', rule: undefined, name: undefined, error: undefined, ...d } as const;
  return decisionText(decision, ruleOf(decision, direction, bgp.peers[0], bgp), direction);
}

test('a decision is told in the words of the file', (t) => {
  const rule = (n: number, isAccepted = false) => ({ by: 'rule', rule: n, isAccepted }) as const;
  t.is(said('import', 'import: in', { ...rule(0), name: 'x' }), 'refused by import rule 1 "x" of in (m.yaml:7)');
  t.is(said('export', 'export: out', rule(0)), 'refused by export rule 1 of in (m.yaml:7)');
  t.is(said('import', 'import: [in, accept]', rule(1, true)), 'passed by import rule 2 (m.yaml:8)');
  t.is(said('import', 'import: in', { by: 'end' }), 'refused: no rule of in accepts it');
  t.is(
    said('import', 'import: [{ set: { med: 1 }, action: continue }]', { by: 'end' }),
    'refused: no import rule accepts it',
  );
  t.is(said('import', 'import: none', { by: 'word' }), 'refused: import is none');
  t.is(said('export', 'export: all', { by: 'word', isAccepted: true }), 'passed: export is all');
  t.is(said('export', '', { by: 'end' }), 'refused: export is own, and this is none of our networks');
  t.is(said('export', '', rule(0, true)), 'passed: export is own');
  t.is(
    said('import', 'import: dn42', { ...rule(1), name: 'origin not proven by a ROA' }),
    'refused by import rule 2 "origin not proven by a ROA" of dn42',
  );
  const before = 'import: [{ match: { med: 1 }, action: reject }, dn42]';
  t.is(said('import', before, rule(0)), 'refused by import rule 1 (m.yaml:8)');
  t.is(
    said('import', before, { ...rule(2), name: 'origin not proven by a ROA' }),
    'refused by import rule 2 "origin not proven by a ROA" of dn42 (m.yaml:8)',
  );
  t.is(said('import', 'import: { module: f }', { by: 'function' }), 'refused by the import function f');
  t.is(
    said('import', 'import: { module: f }', { by: 'function', error: 'f.mjs:1:2: Error: no' }),
    'refused: the import function f failed: f.mjs:1:2: Error: no',
  );
});
