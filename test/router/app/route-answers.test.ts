import test from 'ava';
import { withRules } from '../../../router/app/route-answers.ts';
import type { RuleConfig } from '../../../router/config/model.ts';
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
