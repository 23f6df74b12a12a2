import test from 'ava';
import fc from 'fast-check';
import type { Instant } from '../../../router/lib/clock.ts';
import { Families, type UplinkGroup } from '../../../router/uplink/balancer.ts';
import { Policy } from '../../../router/uplink/policy.ts';
import { NO_PORT, NO_RULE } from '../../../router/uplink/port-table.ts';
import { matches, type ProcessFacts, Protocol, shadowedRules } from '../../../router/uplink/rule.ts';
import { anyFlow, anyMatch, anyNamed, NAMES } from './any-policy.ts';
import { APP, addr, port, prefix, query, rule } from './kit.ts';

const GROUPS: readonly UplinkGroup[] = [
  {
    name: 'both',
    balance: 'failover',
    members: [
      { uplink: 0, weight: 1 },
      { uplink: 1, weight: 1 },
    ],
  },
  { name: 'second', balance: 'failover', members: [{ uplink: 1, weight: 1 }] },
];
const load = (
  isUsable: boolean,
): { isUsable: boolean; families: number; rate: number; capacity: number; peak: number } => ({
  families: Families.Any,
  isUsable,
  rate: 0,
  capacity: 0,
  peak: 0,
});

test('the first rule that matches decides, whichever table it stands in', (t) => {
  const policy = new Policy(
    [
      rule({ to: [prefix('10.0.0.0/8')], ports: [port(22)] }),
      rule({ ports: [port(20, 25)] }, { kind: 'reject' }),
      rule({ to: [prefix('10.1.0.0/16'), prefix('fd00::/8')] }, { kind: 'vrf', vrf: 3 }),
      rule({ protocols: [Protocol.Udp] }, { kind: 'group', group: 1 }),
    ],
    GROUPS,
    [load(true), load(true)],
  );
  t.is(policy.classOf(APP), 0);
  const decide = (to: string, over: Parameters<typeof query>[1] = {}): readonly [string, number] => {
    policy.decide(query(to, over));
    return [policy.kind, policy.rule];
  };
  t.deepEqual(decide('10.1.2.3', { port: 22 }), ['uplink', 0]);
  t.deepEqual(decide('10.1.2.3', { port: 23 }), ['reject', 1]);
  t.deepEqual(decide('10.1.2.3', { port: 80 }), ['vrf', 2]);
  t.is(policy.vrf, 3);
  t.deepEqual(decide('fd00::1', { port: 80 }), ['vrf', 2]);
  t.deepEqual(decide('10.2.2.3', { port: 80 }), ['default', NO_RULE]);
  t.deepEqual(decide('10.2.2.3', { protocol: Protocol.Udp, port: 80 }), ['uplink', 3]);
  t.is(policy.uplink, 1);
  t.deepEqual(decide('2001:db8::1', { protocol: Protocol.Icmp6, port: NO_PORT }), ['default', NO_RULE]);
  t.like(policy.counters, { rules: [1, 1, 2, 1], unmatched: 2, rejected: 1 });
});

test('without a usable uplink a flow is refused, or the next rule that matches is asked', (t) => {
  const loads = [load(false), load(false)];
  const policy = new Policy(
    [
      rule({ ports: [port(443)] }, { kind: 'group', group: 1 }, 'next'),
      rule({ to: [prefix('192.0.2.0/24')] }, { kind: 'vrf', vrf: 1 }),
      rule({}, { kind: 'group', group: 0 }),
    ],
    GROUPS,
    loads,
  );
  policy.classOf(APP);
  policy.decide(query('192.0.2.1'));
  t.deepEqual([policy.kind, policy.rule], ['vrf', 1]);
  policy.decide(query('198.51.100.1'));
  t.deepEqual([policy.kind, policy.rule], ['no-uplink', 2]);
  loads[1] = load(true);
  t.like(policy.counters, { passedOver: 2, noUplink: 1 });
});

test('rules by domain hold for the addresses that answers told, as long as they are remembered', (t) => {
  const policy = new Policy(
    [
      rule({ domains: ['example.org'] }, { kind: 'group', group: 1 }),
      rule({ domains: ['*.example.net'], ports: [port(443)] }, { kind: 'reject' }),
      rule({ to: [prefix('192.0.2.0/24')] }, { kind: 'vrf', vrf: 1 }),
    ],
    GROUPS,
    [load(true), load(true)],
  );
  policy.classOf(APP);
  const decide = (to: string): readonly [string, number] => {
    policy.decide(query(to));
    return [policy.kind, policy.rule];
  };
  t.deepEqual(decide('192.0.2.1'), ['vrf', 2]);
  policy.names.learn('WWW.Example.org.', addr('192.0.2.1'), 60, 0 as Instant);
  policy.names.learn('example.net', addr('192.0.2.2'), 60, 0 as Instant);
  policy.names.learn('a.example.net', addr('2001:db8::1'), 60, 0 as Instant);
  t.deepEqual(decide('192.0.2.1'), ['uplink', 0]);
  t.deepEqual(decide('192.0.2.2'), ['vrf', 2]);
  t.deepEqual(decide('2001:db8::1'), ['reject', 1]);
  policy.names.expire(3_600_000 as Instant);
  t.is(policy.names.size, 0);
  t.deepEqual(decide('192.0.2.1'), ['vrf', 2]);
  t.deepEqual(decide('2001:db8::1'), ['default', NO_RULE]);
});

test('a rule that an earlier one leaves nothing to is found', (t) => {
  const rules = [
    rule({ to: [prefix('10.0.0.0/8')] }),
    rule({ to: [prefix('10.1.0.0/16')], ports: [port(22)] }),
    rule({ ports: [port(1, 100)] }, undefined, 'next'),
    rule({ ports: [port(22)] }),
    rule({ domains: ['example.org'] }),
    rule({ domains: ['*.example.org'], users: [0] }),
    rule({}),
    rule({ apps: ['curl'] }),
  ];
  t.deepEqual(shadowedRules(rules), [
    { rule: 1, by: 0 },
    { rule: 5, by: 4 },
    { rule: 7, by: 6 },
  ]);
});

// ---- Properties: the compiled tables and the definition agree.

const APPS: readonly ProcessFacts[] = [
  APP,
  { executable: '/opt/x/curl-7', argv0: '-sh', group: 'wifi', uid: 0, cgroup: '/a.slice/b.service' },
  { executable: '', argv0: '', group: 'lan', uid: 1, cgroup: '' },
];

test('tables find the rule that reading all of them in order finds', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyMatch, { maxLength: 12 }),
      fc.array(anyNamed, { maxLength: 6 }),
      fc.array(anyFlow, { minLength: 20, maxLength: 40 }),
      (all, answers, flows) => {
        const rules = all.map((m) => rule(m, { kind: 'vrf', vrf: 1 }));
        const policy = new Policy(rules, [], []);
        for (const [i, flow] of flows.entries()) {
          const answer = answers[i % 7];
          if (answer !== undefined && i < 14)
            policy.names.learn(answer[0], answer[1], i < 7 ? 1 : 10_000, (i * 1000) as Instant);
          if (i === 16) policy.names.expire(660_000 as Instant);
          const process = APPS[flow.app]!;
          const hasPorts = flow.protocol !== 1;
          const q = query(String(flow.to), {
            protocol: flow.protocol,
            port: hasPorts ? flow.port : NO_PORT,
            from: flow.from,
            processClass: policy.classOf(process),
          });
          policy.decide(q);
          const facts = { ...flow, port: q.port, names: policy.names.namesOf(flow.to) };
          const expected = rules.findIndex((r) => matches(r.match, process, facts));
          if ((expected < 0 ? NO_RULE : expected) !== policy.rule) return false;
        }
        return true;
      },
    ),
    { seed: 4, numRuns: 400 },
  );
  t.pass();
});

test('a rule that is said to be hidden never decides', (t) => {
  fc.assert(
    fc.property(
      fc.array(anyMatch, { minLength: 2, maxLength: 8 }),
      fc.array(anyFlow, { minLength: 20 }),
      (all, flows) => {
        const rules = all.map((m) => rule(m));
        const hidden = new Set(shadowedRules(rules).map((s) => s.rule));
        return flows.every((f) => {
          const names = NAMES.slice(0, f.app);
          const facts = { ...f, port: f.protocol === 1 ? NO_PORT : f.port, names };
          return !hidden.has(rules.findIndex((r) => matches(r.match, APPS[f.app]!, facts)));
        });
      },
    ),
    { seed: 5, numRuns: 300 },
  );
  t.pass();
});

test('a name goes where the first rule sends that can decide over a flow to it', (t) => {
  const loads = [load(true), load(true)];
  const policy = new Policy(
    [
      rule({ domains: ['blocked.example'] }, { kind: 'reject' }),
      rule({ to: [prefix('10.0.0.0/8')] }, { kind: 'vrf', vrf: 3 }),
      rule({ from: [prefix('192.0.2.0/24')] }, { kind: 'vrf', vrf: 4 }),
      rule({ protocols: [Protocol.Icmp], domains: ['video.example'] }, { kind: 'vrf', vrf: 5 }),
      rule({ domains: ['video.example'], ports: [port(443)] }, { kind: 'group', group: 1 }, 'next'),
      rule({ to: [prefix('10.0.0.0/8')], domains: ['*.inside.example'] }, { kind: 'vrf', vrf: 6 }),
      rule({}, { kind: 'group', group: 0 }),
    ],
    GROUPS,
    loads,
  );
  policy.classOf(APP);
  const decide = (name: string, over: { protocol?: number; port?: number } = {}): readonly [string, number, number] => {
    policy.decideName(
      0,
      { name, protocol: over.protocol, port: over.port },
      { flowHash: 1, targetHash: 1, families: Families.Any },
    );
    return [policy.kind, policy.rule, policy.uplink];
  };
  t.deepEqual(decide('www.video.example'), ['uplink', 4, 1], 'the port may still be the one');
  t.deepEqual(decide('video.example', { port: 443 }), ['uplink', 4, 1]);
  t.deepEqual(decide('video.example', { port: 80 }), ['uplink', 6, 0]);
  t.is(decide('video.example', { protocol: Protocol.Icmp })[1], 3);
  t.is(decide('host.inside.example')[1], 5);
  t.deepEqual(decide('blocked.example'), ['uplink', 6, 0]);
  t.deepEqual(decide(''), ['uplink', 6, 0]);
  loads[1]!.isUsable = false;
  t.deepEqual(decide('video.example'), ['uplink', 6, 0]);
  loads[0]!.isUsable = false;
  t.is(decide('video.example')[0], 'no-uplink');
  t.deepEqual(policy.counters.rules, [0, 0, 0, 0, 0, 0, 0], 'only flows are counted');
});

test('a flow that had an uplink under earlier rules keeps it where its group has it, and takes no turn', (t) => {
  const policy = new Policy([rule({})], [{ ...GROUPS[0]!, balance: 'round_robin' }], [load(true), load(true)]);
  policy.classOf(APP);
  const uplinkOf = (kept?: number): number => {
    policy.decide(query('203.0.113.1', { kept }));
    return policy.uplink;
  };
  t.deepEqual([uplinkOf(1), uplinkOf(1), uplinkOf(), uplinkOf(0), uplinkOf()], [1, 1, 0, 0, 1]);
  t.is(uplinkOf(7), 0, 'one that the group has not');
});
