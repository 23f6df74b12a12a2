/** A policy rule as JSON can keep it. */
import { Prefix } from '../lib/addr.ts';
import type { HostRule } from './netlink/rule.ts';

export type PlainRule = Omit<HostRule, 'from'> & { readonly from: string | undefined };

export function plainRule(rule: HostRule): PlainRule {
  return { ...rule, from: rule.from?.toString() };
}

export function hostRule(plain: PlainRule): HostRule {
  return { ...plain, from: plain.from === undefined ? undefined : Prefix.parse(plain.from), oif: plain.oif };
}
