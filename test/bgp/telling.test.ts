/** Why a route is refused, or not told to a peer: the explanation must be what has happened. */
import test from 'ava';
import fc from 'fast-check';
import type { Match, Policy, Rule } from '../../bgp/policy/rule.ts';
import type { PeerConfig, RouteFunction } from '../../bgp/speaker.ts';
import { Community } from '../../bgp/wire/attribute/communities.ts';
import { Prefix } from '../../router/lib/addr.ts';
import { type RouterOptions, SimNet, type SimRouter } from './kit/net.ts';

const p = (text: string): Prefix => Prefix.parse(text)!;
const WHOLE = { prefixes: [{ prefix: p('172.20.0.0/14'), minLength: 14, maxLength: 32 }] } as const;
const only = (text: string): Match => ({ prefixes: [{ prefix: p(text) }] });

/** Why `router` tells `peer` a prefix or not. */
function why(router: SimRouter, peer: string, prefix: string): string {
  const view = router.speaker.explainTelling(peer, p(prefix))!;
  const policy =
    view.policy === undefined
      ? ''
      : `${view.policy.isAccepted ? 'passed' : 'refused'} by ${view.policy.by} ${view.policy.rule ?? ''}`.trim();
  return `${view.told.length > 0 ? 'told' : 'not told'}: ${view.bar ?? policy}`;
}

/** left (64601) -- ours (64602) -- right, each with a network of its own. */
function line(
  toLeft: Partial<PeerConfig>,
  toRight: Partial<PeerConfig>,
  more: Omit<RouterOptions, 'asn'>,
  rightAs = 64603,
) {
  const net = new SimNet(1);
  const left = net.router('left', { asn: 64601, networks: ['172.20.1.0/24', '172.20.8.0/24'] });
  const ours = net.router('ours', { ...more, asn: 64602 });
  const right = net.router('right', { asn: rightAs, networks: ['172.20.3.0/24'] });
  net.join(ours, left, toLeft, {});
  net.join(ours, right, toRight, {});
  net.start();
  net.run(5000);
  return { net, left, ours, right };
}

const NETWORKS = { networks: ['172.20.2.0/24'] };

test('each reason that keeps a route from a peer is told', (t) => {
  const rules: Rule[] = [
    { match: only('172.20.8.0/24'), action: 'reject', name: 'no eight' },
    { match: WHOLE, action: 'accept' },
  ];
  const { net, ours } = line({}, { export: rules }, NETWORKS);
  t.is(why(ours, 'right', '172.20.1.0/24'), 'told: passed by rule 1');
  t.is(why(ours, 'right', '172.20.2.0/24'), 'told: passed by rule 1');
  t.is(why(ours, 'right', '172.20.8.0/24'), 'not told: refused by rule 0');
  t.is(ours.speaker.explainTelling('right', p('172.20.8.0/24'))!.policy!.name, 'no eight');
  t.is(why(ours, 'right', '172.20.3.0/24'), 'not told: it was learned from this peer');
  t.is(why(ours, 'right', '10.0.0.0/8'), 'not told: there is no route to it');
  t.is(why(ours, 'left', '172.20.1.0/24'), 'not told: it was learned from this peer');
  t.is(ours.speaker.explainTelling('nobody', p('10.0.0.0/8')), undefined);
  ours.speaker.peerDown('right', '');
  net.run(1000);
  t.is(why(ours, 'right', '172.20.1.0/24'), 'not told: the session is not established (Idle)');
});

test('the protocol goes before policy, and says by which of its rules', (t) => {
  const labelled = (c: number): Policy => [{ action: 'accept', set: { addCommunities: [c] } }];
  const noExport = line({ import: labelled(Community.NoExport) }, {}, NETWORKS);
  t.is(why(noExport.ours, 'right', '172.20.1.0/24'), 'not told: it has the community no-export');
  const roles = line({ role: 'customer' }, { role: 'customer' }, NETWORKS);
  t.is(why(roles.ours, 'right', '172.20.1.0/24'), 'not told: it is for customers only (RFC 9234)');
  const summary = line(
    {},
    {},
    { ...NETWORKS, speaker: { aggregates: [{ prefix: p('172.20.0.0/14'), summaryOnly: true }] } },
  );
  t.is(why(summary.ours, 'right', '172.20.1.0/24'), 'not told: an aggregate stands for it (summary_only)');
  const own = line({}, { defaultOriginate: true, export: 'reject-all' }, NETWORKS);
  t.is(why(own.ours, 'right', '0.0.0.0/0'), 'told: ');
  t.is(why(own.ours, 'right', '172.20.1.0/24'), 'not told: refused by word');
  const family = line({}, { families: ['ipv6'] }, NETWORKS);
  t.is(why(family.ours, 'right', '172.20.1.0/24'), 'not told: the session carries no IPv4 routes');
});

test('an internal peer is not told what another one told', (t) => {
  const net = new SimNet(2);
  const a = net.router('a', { asn: 64601, networks: ['172.20.1.0/24'] });
  const b = net.router('b', { asn: 64601 });
  const c = net.router('c', { asn: 64601 });
  net.join(a, b);
  net.join(b, c);
  net.start();
  net.run(5000);
  t.regex(why(b, 'c', '172.20.1.0/24'), /^not told: learned from an internal peer, .* \(RFC 4456\)$/);
});

test('a refused route knows the rule that refused it, seen after the changes of rules before', (t) => {
  const policy: Rule[] = [
    { match: only('172.20.1.0/24'), action: 'continue', set: { addCommunities: [1] } },
    { match: { communities: [1] }, action: 'reject', name: 'labelled' },
    { match: only('172.20.3.0/24'), action: 'accept' },
  ];
  const { ours } = line({ import: policy }, { import: policy }, NETWORKS);
  const refusedBy = (prefix: string) => ours.speaker.explain(p(prefix))[0]!.refusedBy;
  t.like(refusedBy('172.20.1.0/24'), { by: 'rule', rule: 1, name: 'labelled', isAccepted: false });
  t.like(refusedBy('172.20.8.0/24'), { by: 'end', rule: undefined });
  t.is(refusedBy('172.20.3.0/24'), undefined);
  const broken: RouteFunction = () => {
    throw new TypeError('no');
  };
  const failing = line({ import: broken }, {}, NETWORKS);
  t.regex(failing.ours.speaker.explain(p('172.20.1.0/24'))[0]!.refusedBy!.error!, /TypeError: no$/);
  t.is(failing.ours.session('left').filterErrors, 2, 'asking why is not counted');
  // An address that only refused routes are around is explained by those.
  const address = p('172.20.8.0/24').addr;
  t.is(ours.speaker.explain(address)[0]!.prefix, '172.20.8.0/24');
});

const anyMatch: fc.Arbitrary<Match> = fc.oneof(
  fc.constantFrom('172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24', '172.20.8.0/24').map(only),
  fc.constantFrom('local', 'external', 'internal').map((s): Match => ({ source: [s as 'local'] })),
  fc.constantFrom(64601, 64602, 64603).map((asn): Match => ({ originAs: [asn] })),
  fc.nat(2).map((n): Match => ({ communities: [n] })),
  fc.nat(3).map((n): Match => ({ maxPathLength: n })),
);
const anyRules: fc.Arbitrary<Rule[]> = fc.array(
  fc.record({
    match: fc.oneof(
      anyMatch,
      anyMatch.map((m): Match => ({ not: m })),
    ),
    action: fc.constantFrom('accept' as const, 'reject' as const, 'continue' as const),
    set: fc.nat(2).map((c) => ({ addCommunities: [c] })),
  }),
  { maxLength: 5 },
);

test('what is explained is what has happened, whatever the policies', (t) => {
  fc.assert(
    fc.property(anyRules, anyRules, anyRules, anyRules, fc.constantFrom(64603, 64602), (a, b, c, d, rightAs) => {
      const { ours } = line({ import: a, export: b }, { import: c, export: d }, NETWORKS, rightAs);
      for (const prefix of ['172.20.1.0/24', '172.20.2.0/24', '172.20.3.0/24', '172.20.8.0/24']) {
        for (const c of ours.speaker.explain(p(prefix)))
          t.is(c.refusedBy !== undefined, c.refused === 'refused by import policy', prefix);
        for (const peer of ['left', 'right']) {
          const { told, bar, policy } = ours.speaker.explainTelling(peer, p(prefix))!;
          t.is(told.length > 0, bar === undefined && policy?.isAccepted === true, `${prefix} to ${peer}`);
        }
      }
    }),
    { seed: 9, numRuns: 60 },
  );
});
