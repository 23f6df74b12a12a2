/**
 * Address families by the names people use for them, and what two speakers agreed on for each.
 * Read first: RFC 4760 §6 (AFI and SAFI), RFC 4364 §4.3.4 and RFC 4659 §3.2 (the VPN families).
 */

import type { Family } from '../../router/lib/addr.ts';

/** A pair of IANA's numbers. */
export interface FamilyCode {
  readonly afi: number;
  readonly safi: number;
}

/** Families with a name here. What is offered under other numbers is shown, not negotiated and never fatal. */
export const FAMILIES = {
  ipv4: { afi: 1, safi: 1 },
  ipv6: { afi: 2, safi: 1 },
  vpnv4: { afi: 1, safi: 128 },
  vpnv6: { afi: 2, safi: 128 },
} as const satisfies Record<string, FamilyCode>;

export type FamilyName = keyof typeof FAMILIES;

const NAMES = Object.keys(FAMILIES) as FamilyName[];

/** The name of an AFI/SAFI pair, undefined when it has none. */
export function familyNamed(afi: number, safi: number): FamilyName | undefined {
  return NAMES.find((name) => FAMILIES[name].afi === afi && FAMILIES[name].safi === safi);
}

/** The unicast family of addresses. */
export function unicast(family: Family): 'ipv4' | 'ipv6' {
  return family === 4 ? 'ipv4' : 'ipv6';
}

/** What a session agreed on for one family. */
export interface FamilyFacts {
  /** The peer's prefixes carry path identifiers (RFC 7911 §3). */
  readonly receivesPathIds: boolean;
  /** Ours do. */
  readonly sendsPathIds: boolean;
  /** Prefixes may come with an IPv6 next hop although the family is IPv4 (RFC 8950 §4). */
  readonly extendedNextHop: boolean;
  /** RFC 4724 §3: the peer can restart in this family, and whether it kept forwarding; undefined = it cannot. */
  readonly restart: { readonly keptForwarding: boolean } | undefined;
  /** RFC 9494 §3.1: how long its routes may outlive it beyond that; undefined = not at all. */
  readonly longLived: { readonly keptForwarding: boolean; readonly staleS: number } | undefined;
}

export type Agreement = Readonly<Partial<Record<FamilyName, FamilyFacts>>>;

/** A family without any extension. */
export const PLAIN_FACTS: FamilyFacts = {
  receivesPathIds: false,
  sendsPathIds: false,
  extendedNextHop: false,
  restart: undefined,
  longLived: undefined,
};

export const AFI_NAMES: Record<number, string> = { 1: 'ipv4', 2: 'ipv6' };
const SAFI_NAMES: Record<number, string> = { 1: 'unicast', 2: 'multicast', 4: 'labeled', 128: 'vpn', 133: 'flowspec' };

/** `ipv4 unicast`; numbers for what has no name. */
export function familyText(f: FamilyCode): string {
  return `${AFI_NAMES[f.afi] ?? `afi-${f.afi}`} ${SAFI_NAMES[f.safi] ?? `safi-${f.safi}`}`;
}
