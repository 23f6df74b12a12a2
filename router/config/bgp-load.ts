/** From the parsed `bgp` part of a file to the values of bgp-model.ts: names, defaults, and what one key says about another. */
import { dirname, resolve } from 'node:path';
import type { BfdAuth } from '../../bgp/bfd/auth.ts';
import { DN42_MAX_PREFIXES, dn42Export, dn42Import } from '../../bgp/policy/dn42.ts';
import type { Rule } from '../../bgp/policy/rule.ts';
import {
  type BfdConfig,
  type BgpConfig,
  type BgpNeighborConfig,
  type Dn42Rule,
  type FilterModule,
  type ListedPolicy,
  type RulePlace,
  rulesKey,
} from './bgp-model.ts';
import { type ParsedPolicyItem, type ParsedPolicyRef, toOwnAttributes } from './bgp-policy.ts';
import { toPeerRouting } from './bgp-routing.ts';
import {
  EXPORT_WORDS,
  IMPORT_WORDS,
  isOfOurNetwork,
  type ParsedBgp,
  type ParsedBgpPeer,
  peerNameOf,
} from './bgp-schema.ts';
import { toSession } from './bgp-session.ts';
import { type Tunnel, toDn42, toDn42Link } from './dn42.ts';
import { filterDigest } from './filter-digest.ts';
import { toRpki } from './rpki.ts';
import type { Path } from './tree.ts';

/**
 * @param file path of the configuration file
 * @param tunnelOf how what goes through an uplink is encrypted
 * @param lineOf where a value stands, as `mlshim.yaml:12`
 */
export function toBgp(
  b: ParsedBgp,
  file: string,
  tunnelOf: (uplink: string) => Tunnel = () => 'wireguard',
  lineOf: (path: Path) => string = () => '',
): BgpConfig {
  const inFolder = (path: string): string => resolve(dirname(file), path);
  return {
    asn: b.asn,
    routerId: b.router_id,
    listenPort: b.listen_port,
    hostListen: Array.isArray(b.host_listen) ? b.host_listen : [b.host_listen],
    networks: b.networks,
    clusterId: b.cluster_id,
    confederation: b.confederation,
    aggregates: b.aggregates.map((a) => ({ prefix: a.prefix, summaryOnly: a.summary_only, ...toOwnAttributes(a) })),
    multipath: b.multipath && {
      maxPaths: b.multipath.max_paths,
      weighted: b.multipath.weighted,
      relaxed: b.multipath.relaxed,
    },
    peers: b.peers.flatMap((p) =>
      p.address === undefined ? [] : [{ ...toNeighbor(p, b, inFolder, tunnelOf), address: p.address }],
    ),
    ranges: b.peers.flatMap((p) =>
      p.range === undefined ? [] : [{ ...toNeighbor(p, b, inFolder, tunnelOf), range: p.range, maxPeers: p.max_peers }],
    ),
    rulePlaces: placesOf(b, lineOf),
    gracefulRestart: {
      restartTimeS: b.graceful_restart.restart_time,
      staleTimeS: b.graceful_restart.stale_time,
      longLivedS: b.graceful_restart.long_lived,
    },
    filters: b.filters === undefined ? undefined : moduleAt(inFolder(b.filters)),
    bmp: b.bmp.map((s) => ('station' in s ? { ...s.station, tables: s.tables } : { ...s, tables: ['in_pre'] })),
    mrt: { tables: toMrtFile(b.mrt.tables, inFolder), updates: toMrtFile(b.mrt.updates, inFolder) },
    dn42: toDn42(b.dn42),
    rpki: b.rpki && toRpki(b.rpki, file),
  };
}

function moduleAt(path: string): FilterModule {
  return { path, digest: filterDigest(path) };
}

function toMrtFile(f: ParsedBgp['mrt']['tables'], inFolder: (path: string) => string): BgpConfig['mrt']['tables'] {
  return f && { path: inFolder(f.file), everyS: f.every };
}

function toNeighbor(
  p: ParsedBgpPeer,
  b: ParsedBgp,
  inFolder: (path: string) => string,
  tunnelOf: (uplink: string) => Tunnel,
): BgpNeighborConfig {
  const isDn42 = b.policy === 'dn42' && !isOfOurNetwork(p, b);
  const usual = usualPolicies(p, b);
  return {
    name: peerNameOf(p, b),
    asn: p.asn,
    session: { ...toSession(p), ...(isDn42 && p.max_prefixes === undefined && { maxPrefixes: DN42_MAX_PREFIXES }) },
    description: p.description,
    via: p.via,
    host: p.host,
    zone: p.zone,
    mrt: p.mrt && inFolder(p.mrt),
    localAddress: p.local_address,
    port: p.port,
    families: p.families,
    extendedNextHop: p.extended_next_hop,
    passive: p.passive,
    holdTimeS: p.hold_time ?? b.hold_time,
    importPolicy: toPolicy(p.import ?? usual.import, IMPORT_WORDS, b, dn42Rules(p, 'import', b)),
    exportPolicy: toPolicy(p.export ?? usual.export, EXPORT_WORDS, b, dn42Rules(p, 'export', b)),
    dn42: toDn42Link(p.dn42, b.dn42, p.via === undefined ? 'none' : tunnelOf(p.via)),
    multihop: hopsOf(p),
    password: p.password,
    ttlSecurity: p.ttl_security !== false,
    bfd: bfdOf(p),
    routing: toPeerRouting(p),
  };
}

/** Policies of a peer that has none of its own. Inside our own network everything is told; customs are for others. */
function usualPolicies(
  p: ParsedBgpPeer,
  b: ParsedBgp,
): { readonly import: (typeof IMPORT_WORDS)[number]; readonly export: (typeof EXPORT_WORDS)[number] } {
  if (b.policy === 'stub') return { import: 'all', export: 'own' };
  if (b.policy === 'transit' || isOfOurNetwork(p, b)) return { import: 'all', export: 'all' };
  if (b.policy === 'dn42') return { import: 'dn42', export: 'dn42' };
  return { import: 'none', export: 'none' }; // RFC 8212 §2
}

/** How many rules the policy `dn42` has for a peer. */
function dn42Rules(p: ParsedBgpPeer, direction: 'import' | 'export', b: ParsedBgp): number {
  const link = { latency: undefined, bandwidth: undefined, crypto: undefined };
  const rules =
    direction === 'import'
      ? dn42Import(link, toDn42Link(p.dn42, b.dn42, 'none').maxPathLength)
      : dn42Export(link, { region: undefined, country: undefined });
  return rules.length;
}

function toPolicy<W extends string>(
  ref: ParsedPolicyRef,
  words: readonly W[],
  b: ParsedBgp,
  dn42: number,
): W | ListedPolicy {
  const word = words.find((w) => w === ref);
  if (word !== undefined) return word;
  if (typeof ref === 'object' && !Array.isArray(ref)) return ref;
  const items = itemsOf(ref);
  const isNames = items.length > 0 && items.every((item) => typeof item === 'string');
  return {
    written: isNames ? items.join(', ') : `rules (${items.length})`,
    rules: placedRules(items, b, () => '', dn42).map((p) => p.rule),
  };
}

/** The items of a policy; those of a word or a function are none. */
function itemsOf(ref: ParsedPolicyRef | undefined): readonly ParsedPolicyItem[] {
  return Array.isArray(ref) ? ref : typeof ref === 'string' ? [ref] : [];
}

/** Where the rules of all peers stand. */
function placesOf(b: ParsedBgp, lineOf: (path: Path) => string): BgpConfig['rulePlaces'] {
  const places = b.peers.flatMap((p, i) =>
    (['import', 'export'] as const).map((direction) => {
      const lines: Lines = (policy, item) =>
        lineOf(policy === '' ? ['bgp', 'peers', i, direction, item] : ['bgp', 'policies', policy, item]);
      const placed = placedRules(itemsOf(p[direction]), b, lines, dn42Rules(p, direction, b));
      return [rulesKey(peerNameOf(p, b), direction), placed.map(({ place }) => place)] as const;
    }),
  );
  return Object.fromEntries(places.filter(([, list]) => list.length > 0));
}

/** Where an item of a policy stands; the empty name is the peer's own list. */
type Lines = (policy: string, item: number) => string;

/** @param dn42 rules of the policy `dn42`, which may stand among the others */
/** Rules in order; a name stands for the rules of its list (bgp-policy-check.ts refuses lists that contain themselves). */
function placedRules(
  items: readonly ParsedPolicyItem[],
  b: ParsedBgp,
  lines: Lines,
  dn42: number,
  inside: readonly string[] = [],
): { readonly rule: Rule | Dn42Rule; readonly place: RulePlace }[] {
  const policy = inside.at(-1) ?? '';
  return items.flatMap((item, i) => {
    if (item === 'dn42') {
      const line = lines(policy, i);
      return Array.from({ length: dn42 }, (_, n) => ({
        rule: { dn42: n },
        place: { policy: item, number: n + 1, line },
      }));
    }
    const isRule = typeof item !== 'string' || item === 'accept' || item === 'reject';
    if (!isRule)
      return inside.includes(item) ? [] : placedRules(b.policies[item] ?? [], b, lines, dn42, [...inside, item]);
    const rule: Rule = typeof item === 'string' ? { action: item } : item;
    return [{ rule, place: { policy, number: i + 1, line: lines(policy, i) } }];
  });
}

/**
 * `ttl_security: 3` says how many hops away the peer may be; `true` alone, that it is a neighbour, as a link-local one of the
 * host is. A neighbour that is on no uplink is one hop away: what it announces is still reached by routing.
 */
function hopsOf(p: ParsedBgpPeer): boolean | number | undefined {
  const { ttl_security: security, multihop, via, zone } = p;
  if (typeof security === 'number') return security === 1 && via !== undefined ? undefined : security;
  if (via !== undefined) return multihop;
  const isNeighbour = multihop === undefined ? security || zone !== undefined : multihop === false && p.host;
  return isNeighbour ? 1 : multihop;
}

function bfdOf(p: ParsedBgpPeer): BfdConfig | undefined {
  if (p.bfd === undefined) return undefined;
  const hops = hopsOf(p) ?? p.via === undefined;
  const { interval, multiplier, strict, multihop = hops !== false && hops !== 1 } = p.bfd;
  return { intervalMs: interval, multiplier, multihop, strict, auth: bfdAuthOf(p.bfd) };
}

/** The first key of BIRD is number 1. */
function bfdAuthOf({
  auth: type,
  key_id: keyId = 1,
  password,
}: NonNullable<ParsedBgpPeer['bfd']>): BfdAuth | undefined {
  return type === undefined || password === undefined ? undefined : { type, keyId, password };
}
