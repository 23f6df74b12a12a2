/** Routes and filters for tests of policy. */

import { Filter, MutableSubject } from '../../../bgp/policy/filter.ts';
import type { FilterPeer, RouteFunction } from '../../../bgp/policy/module.ts';
import type { Outcome } from '../../../bgp/policy/plan.ts';
import type { Policy, RouteSource } from '../../../bgp/policy/rule.ts';
import type { Attributes, NextHop } from '../../../bgp/wire/attribute/model.ts';
import { PLAIN_ATTRIBUTES } from '../../../bgp/wire/attribute/plain.ts';
import { Prefix } from '../../../router/lib/addr.ts';

export const PLAIN: Attributes = {
  ...PLAIN_ATTRIBUTES,
  asPath: [{ type: 2, asns: [64601, 64602] }],
};

export interface Case {
  readonly prefix?: string;
  readonly attributes?: Partial<Attributes>;
  readonly nextHop?: NextHop;
  readonly source?: RouteSource;
  readonly from?: string;
  readonly roa?: number;
}

export interface Setting {
  readonly direction?: 'import' | 'export';
  readonly name?: string;
  readonly errors?: string[];
}

const PEER: FilterPeer = {
  name: 'peer1',
  asn: 64601,
  address: 'fe80::1',
  isExternal: true,
  direction: 'import',
};

export function filterOf(policy: Policy | RouteFunction, setting: Setting = {}): Filter {
  const { direction = 'import', name = PEER.name, errors = [] } = setting;
  const onError = (words: string): void => void errors.push(words);
  return new Filter(policy, { peer: { ...PEER, name, direction }, ownAs: 64600, onError });
}

/**
 * What a policy makes of a route; undefined = refused.
 * @throws Error when the decision that is told people is another one
 */
export function judge(policy: Policy | RouteFunction, route: Case = {}, setting: Setting = {}): Outcome | undefined {
  const p = Prefix.parse(route.prefix ?? '172.20.1.0/24')!;
  const isLong = p.family === 6;
  const subject = Object.assign(new MutableSubject(), {
    family: p.family,
    w0: isLong ? p.addr.a0 : p.addr.a3,
    w1: isLong ? p.addr.a1 : 0,
    w2: isLong ? p.addr.a2 : 0,
    w3: isLong ? p.addr.a3 : 0,
    length: p.length,
    source: route.source ?? 'external',
    from: route.from ?? 'peer1',
    roa: route.roa ?? 0,
  });
  const filter = filterOf(policy, setting);
  const attributes = { ...PLAIN, ...route.attributes };
  const outcome = filter.plan(attributes, route.nextHop).decide(subject);
  // A function is asked about a route once.
  const said = typeof policy === 'function' ? undefined : filter.decision(attributes, route.nextHop, subject);
  if (said !== undefined && said.isAccepted !== (outcome !== undefined))
    throw new Error(`told people: ${JSON.stringify(said)}`);
  return outcome;
}

export function accepts(policy: Policy | RouteFunction, route: Case = {}, setting: Setting = {}): boolean {
  return judge(policy, route, setting) !== undefined;
}
