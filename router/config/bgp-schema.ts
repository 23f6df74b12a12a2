/** The shape of the `bgp` part of the configuration file. What each key means stands in bgp-model.ts. */
import { z } from 'zod';
import { AUTH_TYPES } from '../../bgp/bfd/auth.ts';
import type { StationTable } from '../../bgp/monitor/bmp-instance.ts';
import { networks, policies, policyRef } from './bgp-policy.ts';
import { peerRouting, speakerRouting } from './bgp-routing.ts';
import { gracefulRestart, peerAsn, sessionKeys } from './bgp-session.ts';
import { peerTunnel, placePeers } from './bgp-wireguard.ts';
import { dn42, peerDn42 } from './dn42.ts';
import {
  addr,
  addrPort,
  asn,
  bool,
  boolOr,
  choice,
  hostAddr,
  int,
  list,
  milliseconds,
  name,
  object,
  path,
  prefix,
  seconds,
  secret,
  text,
  trueOr,
  v4,
} from './fields.ts';
import { rpki } from './rpki.ts';

const families = list(choice(['ipv4', 'ipv6', 'vpnv4', 'vpnv6']), 'address families');

/** Policies that need no rules. */
export const IMPORT_WORDS = ['all', 'none', 'dn42'] as const;
export const EXPORT_WORDS = ['all', 'own', 'none', 'dn42'] as const;

const mrtFile = (every: number) => object({ file: path, every: seconds(86400 * 7).default(every) });

const mrt = object({
  tables: mrtFile(7200).optional(),
  updates: mrtFile(900).optional(),
});

/** RFC 7854 §2, RFC 8671, RFC 9069: what comes and goes, before and after policy, and the best routes. */
const STATION_TABLES = ['in_pre', 'in_post', 'out_pre', 'out_post', 'loc'] as const satisfies readonly StationTable[];

const bmpStation = object({
  station: addrPort,
  tables: list(choice(STATION_TABLES), 'tables').min(1, { error: 'names no table' }).default(['in_pre']),
});

const bgpPeer = object({
  name: name.optional(),
  asn: peerAsn,
  /** Either of these; `range` takes whoever connects from a prefix. */
  address: hostAddr.optional(),
  range: prefix.optional(),
  via: name.optional(),
  host: bool.default(false),
  mrt: path.optional(),
  local_address: addr.optional(),
  port: int(1, 65535, 'a port').default(179),
  families: families.min(1, { error: 'names no address family' }).default(['ipv4', 'ipv6']),
  extended_next_hop: bool.default(true),
  passive: bool.default(false),
  description: text('a text', (s): string => s.replace(/\s+/g, ' ').trim()).optional(),
  hold_time: seconds(65535).optional(),
  import: policyRef(IMPORT_WORDS).optional(),
  export: policyRef(EXPORT_WORDS).optional(),
  ...sessionKeys,
  multihop: boolOr(int(1, 255, 'a number of hops')).optional(),
  password: secret(80).optional(),
  bfd: trueOr({
    interval: milliseconds(10, 60_000).default(300),
    multiplier: int(1, 255, 'a number of packets').default(3),
    multihop: bool.optional(),
    strict: bool.default(false),
    auth: choice(AUTH_TYPES).optional(),
    key_id: int(0, 255, 'a key number').optional(),
    password: secret(20).optional(),
  }),
  ttl_security: boolOr(int(1, 254, 'a number of hops')).default(false),
  ...peerRouting,
  wireguard: peerTunnel.optional(),
  dn42: peerDn42.optional(),
}).transform(({ address, ...p }) => ({ ...p, address: address?.addr, zone: address?.zone }));

const shape = object({
  asn,
  router_id: v4,
  listen_port: int(1, 65535, 'a port').default(179),
  host_listen: z.union([addrPort, list(addrPort, 'ADDRESS:PORT')]).default([]),
  networks: networks.default([]),
  /**
   * `transit` passes routes on between peers, `stub` announces `networks` only, `dn42` follows the customs there. Without
   * it, external peers need policies of their own (RFC 8212).
   */
  policy: choice(['transit', 'stub', 'dn42']).optional(),
  hold_time: seconds(65535).default(90),
  graceful_restart: gracefulRestart.prefault({}),
  rpki: rpki.optional(),
  dn42: dn42.optional(),
  /** Lists of rules with names, for `import` and `export` of peers. */
  policies: policies.default({}),
  /** A module of filter functions, relative to the configuration file. */
  filters: path.optional(),
  ...speakerRouting,
  bmp: list(z.union([addrPort, bmpStation]), 'ADDRESS:PORT').default([]),
  mrt: mrt.default({}),
  peers: list(bgpPeer, 'peers').default([]),
});

export const bgp = shape.transform((b, ctx) => ({ ...b, peers: placePeers(b, ctx) }));

export type ParsedBgp = z.output<typeof bgp>;
export type ParsedBgpPeer = ParsedBgp['peers'][number];

/**
 * What a peer is called: by its AS number, and by what tells it from those of that AS before it. A peer that is added behind
 * others, or has a name, does not change what they are called: they would be other peers.
 */
export function peerNameOf(p: ParsedBgpPeer, b: Pick<ParsedBgp, 'peers'>): string {
  if (p.name !== undefined) return p.name;
  const before = b.peers.slice(0, b.peers.indexOf(p)).filter((o) => o.name === undefined && o.asn === p.asn);
  if (before.length === 0) return `AS${p.asn}`;
  const linkOf = (o: ParsedBgpPeer): string | undefined => o.via ?? o.zone;
  const isAlone = linkOf(p) !== undefined && !before.some((o) => linkOf(o) === linkOf(p));
  const parts = [linkOf(p), isAlone ? undefined : p.address];
  return [`AS${p.asn}`, ...parts.filter((part) => part !== undefined)].join('-');
}

/** Peers of our own AS or confederation. */
export function isOfOurNetwork(p: Pick<ParsedBgpPeer, 'asn'>, b: Pick<ParsedBgp, 'asn' | 'confederation'>): boolean {
  const isMember = b.confederation?.members.some((m) => m === p.asn) === true;
  return p.asn === b.asn || p.asn === 'internal' || isMember;
}
