/** Rules and flows in few words, for tests of policy. */

import { Addr, Prefix } from '../../../router/lib/addr.ts';
import { Families } from '../../../router/uplink/balancer.ts';
import type { FlowQuery } from '../../../router/uplink/policy.ts';
import { NO_PORT } from '../../../router/uplink/port-table.ts';
import { ANYTHING, Protocol, type Rule, type RuleAction, type RuleMatch } from '../../../router/uplink/rule.ts';

export const prefix = (text: string): Prefix => Prefix.parse(text)!;
export const addr = (text: string): Addr => Addr.parse(text)!;
export const port = (first: number, last = first): { first: number; last: number } => ({ first, last });

export function rule(
  match: Partial<RuleMatch>,
  action: RuleAction = { kind: 'group', group: 0 },
  onFailure: Rule['onFailure'] = 'reject',
): Rule {
  return { name: '', match: { ...ANYTHING, ...match }, action, onFailure };
}

export const APP = { executable: '/usr/bin/curl', argv0: 'curl', group: undefined, uid: 1000, cgroup: '/' };

export function query(to: string, over: Partial<FlowQuery> = {}): FlowQuery {
  const a = addr(to);
  const protocol = over.protocol ?? Protocol.Tcp;
  const hasPorts = protocol === Protocol.Tcp || protocol === Protocol.Udp;
  return {
    processClass: 0,
    protocol,
    d0: a.a0,
    d1: a.a1,
    d2: a.a2,
    d3: a.a3,
    port: hasPorts ? 443 : NO_PORT,
    from: undefined,
    flowHash: 0,
    targetHash: 0,
    families: a.family === 4 ? Families.V4 : Families.V6,
    ...over,
  };
}
