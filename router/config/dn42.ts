/**
 * The `dn42` parts of a configuration: what the policy of that name tells about us and our links, for all peers (`bgp.dn42`)
 * and for one (`bgp.peers[].dn42`).
 */
import { z } from 'zod';
import { bandwidthClass, Crypto, latencyClass } from '../../bgp/policy/dn42.ts';
import { publicKey } from '../../wg/keys.ts';
import type { Addr } from '../lib/addr.ts';
import { int, key, object, Refusal, seconds, text, v6 } from './fields.ts';

/** What a peer is told about its link and us; numbers of communities (64511, x). */
export interface Dn42Link {
  /** 1-9, or measured by ping. */
  readonly latency: number | 'measured';
  /** 21-29; undefined = nothing is claimed. */
  readonly bandwidth: number | undefined;
  /** 31-36. */
  readonly crypto: number;
  /** Longest AS path accepted; undefined = any. */
  readonly maxPathLength: number | undefined;
}

export interface Dn42Config {
  /** 41-57; undefined = nothing is claimed. */
  readonly region: number | undefined;
  /** ISO 3166-1 numeric. */
  readonly country: number | undefined;
  /** How far back the average of measured latencies reaches, in seconds. */
  readonly latencyWindowS: number;
  /** What peers need to know of us, for `mlshim dn42 card`. */
  readonly publicKey: Uint8Array | undefined;
  readonly linkLocal: Addr | undefined;
  readonly endpoint: string | undefined;
}

/** The wiki asks for about 12 hours. */
const DEFAULT_WINDOW_S = 12 * 3600;

/** Regions by the wiki's names, in its order; the first is 41. */
const REGIONS = [
  'europe',
  'north-america-east',
  'north-america-central',
  'north-america-west',
  'central-america',
  'south-america-east',
  'south-america-west',
  'africa-north',
  'africa-south',
  'asia-south',
  'asia-southeast',
  'asia-east',
  'pacific',
  'antarctica',
  'asia-north',
  'asia-west',
  'asia-central',
] as const;
const FIRST_REGION = 41;

const region = z.union([
  int(FIRST_REGION, FIRST_REGION + REGIONS.length - 1, 'a region'),
  text('a region', (s): number | Refusal => {
    const i = (REGIONS as readonly string[]).indexOf(s);
    return i >= 0 ? FIRST_REGION + i : new Refusal(`"${s}" is not a region (${REGIONS.join(', ')}, or 41-57)`);
  }),
]);

const UNITS_MBIT: Readonly<Record<string, number>> = { k: 0.001, M: 1, G: 1000 };

/** The community of a bandwidth such as `100M`, undefined for what is none, or is too little to be told. */
export function parseBandwidth(s: string): number | undefined {
  const m = /^(\d+(?:\.\d+)?)\s*([kMG])(?:bit(?:\/s)?)?$/.exec(s);
  return m === null ? undefined : bandwidthClass(Number(m[1]) * UNITS_MBIT[m[2]!]!);
}

const bandwidth = z.union([
  int(21, 29, 'a bandwidth community'),
  text('a bandwidth such as 100M', (s): number | Refusal => {
    return (
      parseBandwidth(s) ?? new Refusal(`expected a bandwidth from 100k on, such as 100M or 1G (bit/s), got "${s}"`)
    );
  }),
]);

const CRYPTO_WORDS: Readonly<Record<string, number>> = { none: 31, unsafe: 32, safe: 33, pfs: 34, psk: 35, pq: 36 };

const crypto = z.union([
  int(31, 36, 'an encryption community'),
  text('an encryption', (s): number | Refusal => {
    return CRYPTO_WORDS[s] ?? new Refusal(`"${s}" is not one of ${Object.keys(CRYPTO_WORDS).join(', ')}`);
  }),
]);

const latency = z.union([
  int(1, 9, 'a latency community'),
  text('a latency such as 12ms', (s): number | 'measured' | Refusal => {
    if (s === 'measured') return s;
    const m = /^(\d+(?:\.\d+)?)\s*ms$/.exec(s);
    return m === null
      ? new Refusal(`expected "measured", or a latency such as 12ms, got "${s}"`)
      : latencyClass(Number(m[1]));
  }),
]);

const link = {
  latency: latency.optional(),
  bandwidth: bandwidth.optional(),
  crypto: crypto.optional(),
  max_path_length: int(1, 255, 'a path length').optional(),
};

export const peerDn42 = object(link);

export const dn42 = object({
  ...link,
  /** Our key and link-local address for peers with a tunnel of their own (bgp-wireguard.ts). */
  private_key: key.optional(),
  link_local: v6.optional(),
  /** HOST that peers reach us at, for `mlshim dn42 card`. */
  endpoint: text('a host', (s): string | Refusal =>
    /^[A-Za-z0-9.:_-]{1,253}$/.test(s) ? s : new Refusal(`"${s}" is not a host name or address`),
  ).optional(),
  region: region.optional(),
  country: int(4, 894, 'an ISO 3166-1 numeric country').optional(),
  latency_window: seconds(7 * 86_400).default(DEFAULT_WINDOW_S),
});

export type ParsedPeerDn42 = z.output<typeof peerDn42>;
export type ParsedDn42 = z.output<typeof dn42>;

export function toDn42(c: ParsedDn42 | undefined): Dn42Config {
  return {
    region: c?.region,
    country: c?.country,
    latencyWindowS: Math.max(1, c?.latency_window ?? DEFAULT_WINDOW_S),
    publicKey: c?.private_key && publicKey(c.private_key),
    linkLocal: c?.link_local,
    endpoint: c?.endpoint,
  };
}

/** How the way to a peer is encrypted, as far as we can see. */
export type Tunnel = 'none' | 'wireguard' | 'wireguard-psk';

const CRYPTO_OF: Readonly<Record<Tunnel, number>> = {
  none: Crypto.None,
  wireguard: Crypto.WireGuard,
  'wireguard-psk': Crypto.PresharedKey,
};

/** What a peer says of itself, else what is said for all, else what is known of the tunnel. */
export function toDn42Link(p: ParsedPeerDn42 | undefined, all: ParsedDn42 | undefined, tunnel: Tunnel): Dn42Link {
  return {
    latency: p?.latency ?? all?.latency ?? 'measured',
    bandwidth: p?.bandwidth ?? all?.bandwidth,
    crypto: p?.crypto ?? all?.crypto ?? CRYPTO_OF[tunnel],
    maxPathLength: p?.max_path_length ?? all?.max_path_length,
  };
}
