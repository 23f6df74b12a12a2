/**
 * Policy cases that every backend has to decide alike: the pure core (test/router/uplink), the compiled maps and the programs in
 * the kernel (test/router/kernel), the user-space backend. Two uplinks (0 and 1), VRF 1, destinations nobody has to answer.
 */
import { Addr, Prefix } from '../../router/lib/addr.ts';
import type { UplinkGroup } from '../../router/uplink/balancer.ts';
import {
  ANYTHING,
  type ProcessFacts,
  Protocol,
  type Rule,
  type RuleAction,
  type RuleMatch,
} from '../../router/uplink/rule.ts';

/** Processes that cases are about. */
export const CASE_APPS = {
  curl: { executable: '/usr/bin/curl', argv0: 'curl', group: undefined, uid: 1000, cgroup: '/' },
  shell: { executable: '/usr/bin/bash', argv0: '-bash', group: undefined, uid: 0, cgroup: '/' },
  service: { executable: '/opt/x/d', argv0: 'd', group: undefined, uid: 0, cgroup: '/a.slice/b.service' },
  below: { executable: '/opt/x/d', argv0: 'd', group: undefined, uid: 1000, cgroup: '/a.slice/b.service/sub' },
  grouped: { executable: '/opt/x/d', argv0: 'd', group: 'wifi', uid: 1000, cgroup: '/mlshim/wifi' },
} as const satisfies Record<string, ProcessFacts>;
export type CaseApp = keyof typeof CASE_APPS;

/** `vrf 0` is the main table by a rule, `default` the main table without one. */
export type Expected = 'uplink 0' | 'uplink 1' | 'vrf 0' | 'vrf 1' | 'reject' | 'no-uplink' | 'default';

export interface CaseFlow {
  readonly app: CaseApp;
  readonly protocol: 'tcp' | 'udp';
  readonly to: string;
  readonly port: number;
  /** What the socket is bound to first. */
  readonly from?: string;
  readonly expect: Expected;
}

export interface PolicyCase {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly groups: readonly UplinkGroup[];
  readonly unusable: readonly number[];
  /** Uplinks without an IPv6 address. */
  readonly v4Only: readonly number[];
  /** Answers of DNS. */
  readonly names: readonly (readonly [name: string, addr: string])[];
  readonly flows: readonly CaseFlow[];
}

const member = (uplink: number, weight = 1): { uplink: number; weight: number } => ({ uplink, weight });
const GROUPS: readonly UplinkGroup[] = [
  { name: 'first', balance: 'failover', members: [member(0), member(1)] },
  { name: 'zero', balance: 'failover', members: [member(0)] },
  { name: 'one', balance: 'failover', members: [member(1)] },
  { name: 'three-one', balance: 'round_robin', members: [member(0, 3), member(1)] },
  { name: 'both', balance: 'round_robin', members: [member(0), member(1)] },
];
const [FIRST, ZERO, ONE, THREE_ONE, BOTH] = [0, 1, 2, 3, 4].map((group): RuleAction => ({ kind: 'group', group }));
const REJECT: RuleAction = { kind: 'reject' };
const VRF: RuleAction = { kind: 'vrf', vrf: 1 };
const MAIN: RuleAction = { kind: 'vrf', vrf: 0 };

const rule = (
  match: Partial<RuleMatch>,
  action: RuleAction = ZERO!,
  onFailure: Rule['onFailure'] = 'reject',
): Rule => ({
  name: '',
  match: { ...ANYTHING, ...match },
  action,
  onFailure,
});
const to = (...texts: string[]): Partial<RuleMatch> => ({ to: texts.map((t) => Prefix.parse(t)!) });
const port = (first: number, last = first): Partial<RuleMatch> => ({ ports: [{ first, last }] });

/** A flow in few words: `app tcp|udp address port`, what it is bound to, what is expected. */
function flow(text: string, expect: Expected, from?: string): CaseFlow {
  const [app, protocol, dst, dstPort] = text.split(' ') as [CaseApp, 'tcp' | 'udp', string, string];
  return { app, protocol, to: dst, port: Number(dstPort), expect, ...(from !== undefined && { from }) };
}

function made(
  name: string,
  rules: readonly Rule[],
  flows: readonly CaseFlow[],
  over: Partial<PolicyCase> = {},
): PolicyCase {
  return { name, rules, groups: GROUPS, unusable: [], v4Only: [], names: [], flows, ...over };
}

export const POLICY_CASES: readonly PolicyCase[] = [
  made(
    'the first rule that matches decides, whichever table it stands in',
    [
      rule({ ...to('10.0.0.0/8'), ...port(22) }),
      rule(port(20, 25), REJECT),
      rule(to('10.1.0.0/16', 'fd00:aa::/32'), VRF),
      rule({ protocols: [Protocol.Udp] }, ONE),
    ],
    [
      flow('curl tcp 10.1.2.3 22', 'uplink 0'),
      flow('curl tcp 10.1.2.3 23', 'reject'),
      flow('curl udp 10.1.2.3 25', 'reject'),
      flow('curl tcp 10.1.2.3 80', 'vrf 1'),
      flow('curl tcp fd00:aa::1 80', 'vrf 1'),
      flow('curl tcp fd00:ab::1 80', 'default'),
      flow('curl udp fd00:ab::1 80', 'uplink 1'),
      flow('curl tcp 10.2.2.3 80', 'default'),
      flow('curl udp 10.2.2.3 80', 'uplink 1'),
    ],
  ),
  made(
    'longer prefixes know the rules of those around them',
    [
      rule(to('198.51.100.128/25'), REJECT),
      rule({ ...to('198.51.100.0/24'), ...port(1000, 1999) }, ONE),
      rule(to('198.51.100.129/32')),
      rule(to('198.51.0.0/16'), MAIN),
      rule(to('0.0.0.0/0')),
    ],
    [
      flow('curl tcp 198.51.100.129 80', 'reject'),
      flow('curl tcp 198.51.100.1 1500', 'uplink 1'),
      flow('curl tcp 198.51.100.1 999', 'vrf 0'),
      flow('curl tcp 198.52.0.1 999', 'uplink 0'),
      flow('curl tcp 2001:db8:77::1 999', 'default'),
    ],
  ),
  made(
    'many ports are two levels of pages',
    [
      ...Array.from({ length: 40 }, (_, i) => rule(port(1000 + 10 * i, 1004 + 10 * i), i % 2 === 0 ? ZERO : ONE)),
      rule(port(40_000, 65_535), REJECT),
    ],
    [
      flow('curl tcp 203.0.113.9 1000', 'uplink 0'),
      flow('curl tcp 203.0.113.9 1014', 'uplink 1'),
      flow('curl tcp 203.0.113.9 1015', 'default'),
      flow('curl udp 203.0.113.9 1390', 'uplink 1'),
      flow('curl udp 203.0.113.9 65535', 'reject'),
      flow('curl udp 203.0.113.9 39999', 'default'),
      flow('curl tcp 2001:db8:77::2 1021', 'uplink 0'),
    ],
  ),
  made(
    'programs, users, cgroups and groups are told apart',
    [
      rule({ apps: ['curl'], ...port(443) }, ONE),
      rule({ users: [1000], cgroups: ['/a.slice'] }, REJECT),
      rule({ cgroups: ['/*/b.service'] }, VRF),
      rule({ groups: ['wifi'] }),
      rule({ users: [0] }, ONE),
    ],
    [
      flow('curl tcp 203.0.113.9 443', 'uplink 1'),
      flow('curl tcp 203.0.113.9 80', 'default'),
      flow('shell tcp 203.0.113.9 443', 'uplink 1'),
      flow('service udp 203.0.113.9 443', 'vrf 1'),
      flow('below udp 203.0.113.9 443', 'reject'),
      flow('grouped tcp 203.0.113.9 443', 'uplink 0'),
      flow('grouped udp 2001:db8:77::3 443', 'uplink 0'),
    ],
  ),
  made(
    'the address that an app bound itself to counts',
    [
      rule({ from: [Prefix.parse('127.0.5.0/24')!], ...port(1, 1023) }, REJECT),
      rule({ from: [Prefix.parse('127.0.0.0/16')!] }, ONE),
      rule({ users: [1000] }),
    ],
    [
      flow('curl udp 203.0.113.9 80', 'reject', '127.0.5.1'),
      flow('curl udp 203.0.113.9 8080', 'uplink 1', '127.0.5.1'),
      flow('curl udp 203.0.113.9 80', 'uplink 1', '127.0.6.1'),
      flow('curl udp 203.0.113.9 80', 'uplink 0', '127.1.6.1'),
      flow('curl udp 203.0.113.9 80', 'uplink 0'),
      flow('shell udp 203.0.113.9 80', 'default'),
    ],
  ),
  made(
    'names that answers gave make rules by domain hold',
    [
      rule({ domains: ['*.example.net'], ...port(443) }, REJECT),
      rule({ domains: ['example.org'] }, ONE),
      rule(to('192.0.2.0/24'), VRF),
    ],
    [
      flow('curl tcp 192.0.2.1 443', 'uplink 1'),
      flow('curl tcp 192.0.2.2 443', 'vrf 1'),
      flow('curl tcp 192.0.2.3 443', 'vrf 1'),
      flow('curl tcp 2001:db8:77::4 443', 'reject'),
      flow('curl tcp 2001:db8:77::4 80', 'default'),
    ],
    {
      names: [
        ['www.example.org', '192.0.2.1'],
        ['example.net', '192.0.2.2'],
        ['a.example.net', '2001:db8:77::4'],
      ],
    },
  ),
  made(
    'without a usable uplink a flow is refused, or the next rule that matches is asked',
    [
      rule(port(443), ONE, 'next'),
      rule(to('192.0.2.0/24'), VRF),
      rule({ protocols: [Protocol.Udp] }, FIRST),
      rule({}, ONE),
    ],
    [
      flow('curl tcp 192.0.2.1 443', 'vrf 1'),
      flow('curl udp 203.0.113.9 443', 'uplink 0'),
      flow('curl tcp 203.0.113.9 443', 'no-uplink'),
    ],
    { unusable: [1] },
  ),
  made(
    'an uplink without an address of the family of a flow is no candidate for it, and takes no turn',
    [
      rule(port(443), ONE, 'next'),
      rule(port(444), ONE),
      rule(to('2001:db8:77::/48'), FIRST),
      rule(port(80), BOTH),
      rule({}, VRF),
    ],
    [
      flow('curl tcp 203.0.113.9 443', 'uplink 1'),
      flow('curl tcp 2001:db8:77::5 443', 'uplink 0'),
      flow('curl udp 2001:db8:78::5 443', 'vrf 1'),
      flow('curl tcp 203.0.113.9 444', 'uplink 1'),
      flow('curl tcp 2001:db8:77::5 444', 'no-uplink'),
      flow('curl udp 2001:db8:77::5 444', 'no-uplink'),
      flow('curl tcp 203.0.113.9 80', 'uplink 0'),
      flow('curl tcp 2001:db8:78::5 80', 'uplink 0'),
      flow('curl udp 2001:db8:78::5 80', 'uplink 0'),
      flow('curl udp 203.0.113.9 80', 'uplink 1'),
      flow('curl tcp 203.0.113.9 80', 'uplink 0'),
    ],
    { v4Only: [1] },
  ),
  made(
    'weights are exact, and evenly spread',
    [rule({}, THREE_ONE)],
    Array.from({ length: 3 }, () =>
      (['uplink 0', 'uplink 0', 'uplink 1', 'uplink 0'] as const).map((e) => flow('curl tcp 203.0.113.9 80', e)),
    ).flat(),
  ),
];

export const caseAddr = (text: string): Addr => Addr.parse(text)!;
