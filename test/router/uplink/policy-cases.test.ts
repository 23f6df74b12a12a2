import test from 'ava';
import type { Instant } from '../../../router/lib/clock.ts';
import { Families } from '../../../router/uplink/balancer.ts';
import { Policy } from '../../../router/uplink/policy.ts';
import { Protocol } from '../../../router/uplink/rule.ts';
import { CASE_APPS, caseAddr, POLICY_CASES } from '../../kit/policy-cases.ts';
import { query } from './kit.ts';

for (const c of POLICY_CASES)
  test(`the core: ${c.name}`, (t) => {
    const loads = [0, 1].map((i) => ({
      ...{ isUsable: !c.unusable.includes(i), families: c.v4Only.includes(i) ? Families.V4 : Families.Any },
      ...{ rate: 0, capacity: 0, peak: 0 },
    }));
    const policy = new Policy(c.rules, c.groups, loads);
    for (const [name, addr] of c.names) policy.names.learn(name, caseAddr(addr), 60, 0 as Instant);
    for (const f of c.flows) {
      policy.decide(
        query(f.to, {
          processClass: policy.classOf(CASE_APPS[f.app]),
          protocol: f.protocol === 'tcp' ? Protocol.Tcp : Protocol.Udp,
          port: f.port,
          from: f.from === undefined ? undefined : caseAddr(f.from),
        }),
      );
      const { kind, uplink, vrf } = policy;
      t.is(kind === 'uplink' ? `uplink ${uplink}` : kind === 'vrf' ? `vrf ${vrf}` : kind, f.expect, JSON.stringify(f));
    }
  });
