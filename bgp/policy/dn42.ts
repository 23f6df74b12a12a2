/**
 * The customs of DN42 as a policy: which prefixes exist there, that their origins are proven, and the communities by which
 * the network tells latency, bandwidth and encryption of a path.
 * Read first: the wiki's pages Address-Space, Bird2 and BGP-communities. Values are pinned by test/bgp/policy/dn42.test.ts.
 */

import { Prefix } from '../../router/lib/addr.ts';
import { pathLength } from '../wire/attribute/as-path.ts';
import { DEFAULT_LOCAL_PREF } from '../wire/attribute/local-pref.ts';
import type { Attributes } from '../wire/attribute/model.ts';
import { copyOf } from './change.ts';
import { type PrefixMatch, RoaState, type Rule } from './rule.ts';

const within = (prefix: string, minLength: number, maxLength: number): PrefixMatch => ({
  prefix: Prefix.parse(prefix)!,
  minLength,
  maxLength,
});

/** Prefixes of the network and of those it is joined with; everything else is refused. */
export const DN42_PREFIXES: readonly PrefixMatch[] = [
  within('172.20.0.0/14', 21, 29),
  // Anycast services.
  within('172.20.0.0/24', 28, 32),
  within('172.21.0.0/24', 28, 32),
  within('172.22.0.0/24', 28, 32),
  within('172.23.0.0/24', 28, 32),
  // ChaosVPN.
  within('172.31.0.0/16', 16, 32),
  within('10.100.0.0/14', 14, 32),
  // NeoNetwork.
  within('10.127.0.0/16', 16, 32),
  // Freifunk and ICVPN.
  within('10.0.0.0/8', 15, 24),
  within('fd00::/8', 44, 64),
];

/** Whether a prefix belongs to the network, or to one it is joined with. */
export function isDn42Prefix(p: Prefix): boolean {
  return DN42_PREFIXES.some(
    ({ prefix, minLength, maxLength }) =>
      prefix.family === p.family && p.length >= minLength! && p.length <= maxLength! && prefix.contains(p.addr),
  );
}

/** Longest list of prefixes taken from a peer in one family: the wiki's limit. */
export const DN42_MAX_PREFIXES = 9000;

/** Communities are (64511, x). */
const DN42 = 64511 << 16;
const community = (x: number): number => (DN42 | x) >>> 0;

/** Kinds of communities that describe the worst link of a path. */
interface Scale {
  readonly min: number;
  readonly max: number;
  /** Whether a greater number is the worse link. */
  readonly isGreaterWorse: boolean;
}

const LATENCY: Scale = { min: 1, max: 9, isGreaterWorse: true };
const BANDWIDTH: Scale = { min: 21, max: 29, isGreaterWorse: false };
const CRYPTO: Scale = { min: 31, max: 36, isGreaterWorse: false };
const SCALES = [LATENCY, BANDWIDTH, CRYPTO] as const;

/** What is known about the link to a peer: the numbers of its communities. Undefined = nothing is claimed. */
export interface LinkQuality {
  /** 1 to 9. */
  readonly latency: number | undefined;
  /** 21 to 29. */
  readonly bandwidth: number | undefined;
  /** 31 to 36. */
  readonly crypto: number | undefined;
}

/** Where our own prefixes are; only they are told it. */
export interface Place {
  /** 41 to 57. */
  readonly region: number | undefined;
  /** ISO 3166-1 numeric; the community is 1000 more. */
  readonly country: number | undefined;
}

/** Encryption of a tunnel: WireGuard, and WireGuard with a preshared key. */
export const Crypto = { None: 31, WireGuard: 34, PresharedKey: 35 } as const;

/** Latency community of a round-trip time: class x is for at most e^x ms, the last for all above. */
export function latencyClass(ms: number): number {
  for (let x = LATENCY.min; x < LATENCY.max; x++) if (ms <= LATENCY_LIMITS_MS[x - 1]!) return x;
  return LATENCY.max;
}

/** e^1 to e^8, as the wiki rounds them. */
export const LATENCY_LIMITS_MS = [2.7, 7.3, 20, 55, 148, 403, 1097, 2981] as const;

/** Bandwidth community of a rate: class 20 + x is for at least 10^(x-2) Mbit/s. Undefined below 0.1 Mbit/s. */
export function bandwidthClass(mbitPerS: number): number | undefined {
  let found: number | undefined;
  // Compared as whole kbit/s: 10^-1 is no binary number.
  for (let x = BANDWIDTH.min, kbit = 100; x <= BANDWIDTH.max && mbitPerS * 1000 >= kbit; x++, kbit *= 10) found = x;
  return found;
}

/** What an external peer announces: networks of DN42 with a proven origin, no longer paths than allowed. */
export function dn42Import(link: LinkQuality, maxPathLength?: number): Rule[] {
  return [
    { name: 'not a network of DN42', match: { not: { prefixes: DN42_PREFIXES } }, action: 'reject' },
    { name: 'origin not proven by a ROA', match: { not: { roa: [RoaState.Valid] } }, action: 'reject' },
    ...(maxPathLength === undefined
      ? []
      : [{ name: 'path too long', match: { minPathLength: maxPathLength + 1 }, action: 'reject' } satisfies Rule]),
    { action: 'accept', set: { edit: (a) => preferred(labelled(a, link)) } },
  ];
}

/** What an external peer is told: our own networks with their place, and networks of DN42 that passed import. */
export function dn42Export(link: LinkQuality, place: Place): Rule[] {
  return [
    { match: { source: ['local'] }, action: 'accept', set: { edit: (a) => costed(labelled(placed(a, place), link)) } },
    { match: { prefixes: DN42_PREFIXES }, action: 'accept', set: { edit: (a) => costed(labelled(a, link)) } },
  ];
}

/** "local preference + 500 for a path of length 1": a neighbour's own networks are reached directly. */
function preferred(a: Attributes): Attributes {
  if (pathLength(a.asPath) !== 1) return a;
  return { ...copyOf(a), localPref: (a.localPref ?? DEFAULT_LOCAL_PREF) + 500 };
}

/** MED = (4 - crypto) * 600 + (9 - bandwidth) * 100 + (latency - 1) * 300, of what is known. */
function costed(a: Attributes): Attributes {
  const crypto = worst(a.communities, CRYPTO, undefined);
  const bandwidth = worst(a.communities, BANDWIDTH, undefined);
  const latency = worst(a.communities, LATENCY, undefined);
  // Better encryption than class 4 costs nothing; a MED is not negative.
  const med =
    (crypto === undefined ? 0 : Math.max(0, 34 - crypto) * 600) +
    (bandwidth === undefined ? 0 : (29 - bandwidth) * 100) +
    (latency === undefined ? 0 : (latency - 1) * 300);
  return a.med === med ? a : { ...copyOf(a), med };
}

function placed(a: Attributes, { region, country }: Place): Attributes {
  const add = [...(region === undefined ? [] : [region]), ...(country === undefined ? [] : [1000 + country])];
  const labels = add.map(community).filter((c) => !a.communities.includes(c));
  return labels.length === 0 ? a : { ...copyOf(a), communities: [...a.communities, ...labels] };
}

/**
 * The communities of latency, bandwidth and encryption after one more link: of each kind the worst one remains, which is
 * the greatest latency, the least bandwidth, the weakest encryption. All other communities stay.
 */
function labelled(a: Attributes, link: LinkQuality): Attributes {
  const values = [link.latency, link.bandwidth, link.crypto] as const;
  const worsts = SCALES.map((scale, i) => worst(a.communities, scale, values[i]));
  const others = a.communities.filter((c) => scaleOf(c) < 0);
  const labels = worsts.filter((x) => x !== undefined).map(community);
  const communities = [...others, ...labels];
  const isSame = communities.length === a.communities.length && communities.every((c) => a.communities.includes(c));
  return isSame ? a : { ...copyOf(a), communities };
}

/** Which scale a community belongs to, -1 = none. */
function scaleOf(c: number): number {
  if ((c & 0xffff0000) !== (DN42 | 0)) return -1;
  const x = c & 0xffff;
  return SCALES.findIndex((s) => x >= s.min && x <= s.max);
}

/** The worst number of a scale among communities and `link`. */
function worst(communities: readonly number[], scale: Scale, link: number | undefined): number | undefined {
  let found = link;
  for (const c of communities) {
    if ((c & 0xffff0000) !== (DN42 | 0)) continue;
    const x = c & 0xffff;
    if (x < scale.min || x > scale.max) continue;
    if (found === undefined || (scale.isGreaterWorse ? x > found : x < found)) found = x;
  }
  return found;
}
