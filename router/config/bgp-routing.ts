/**
 * The keys of the `bgp` part that say how routes are passed on: reflection, confederations, whose AS numbers and next hops
 * stand in them. Shapes, checks and values together, because each key is small.
 */
import { z } from 'zod';
import { isOurAs, ownAsNumbers } from '../../bgp/relation.ts';
import type { RoutingSettings } from './bgp-model.ts';
import { ownRoute } from './bgp-policy.ts';
import type { ParsedBgp } from './bgp-schema.ts';
import { asn, bool, choice, int, list, object, prefix, v4 } from './fields.ts';
import type { Path, SourceTree } from './tree.ts';
import { Unique } from './unique.ts';

/** Keys of one peer. */
export const peerRouting = {
  next_hop_self: z.union([bool, choice(['all'])]).default(false),
  third_party_next_hop: bool.default(false),
  route_reflector_client: bool.default(false),
  local_as: z
    .union([asn, object({ asn, no_prepend: bool.default(false), replace_as: bool.default(false) })])
    .optional(),
  as_override: bool.default(false),
  /** `true` = from paths of nothing but private numbers. */
  remove_private_as: z.union([bool, choice(['all', 'replace'])]).default(false),
  allow_own_as: int(0, 10, 'how often').default(0),
  delegated: list(prefix, 'prefixes').default([]),
  enforce_first_as: bool.default(true),
  default_originate: bool.default(false),
  graceful_shutdown: bool.default(false),
  accept_blackhole: bool.default(false),
};

/** Keys of the speaker. */
export const speakerRouting = {
  cluster_id: v4.optional(),
  aggregates: list(
    object({
      prefix,
      ...ownRoute,
      summary_only: bool.default(false),
      /** RFC 9774 has done away with AS_SET; the key is here for those who write `false`. */
      as_set: z.literal(false, { error: 'as_set: AS_SET is not sent any more (RFC 9774)' }).default(false),
    }),
    'aggregates',
  ).default([]),
  multipath: object({
    max_paths: int(1, 64, 'a number of paths').default(8),
    weighted: bool.default(false),
    relaxed: bool.default(true),
  }).optional(),
  confederation: object({
    id: asn,
    members: list(asn, 'AS numbers').default([]),
  }).optional(),
};

type ParsedPeerRouting = z.output<z.ZodObject<typeof peerRouting>>;

export function toPeerRouting(p: ParsedPeerRouting): RoutingSettings {
  const { local_as: localAs, remove_private_as: remove } = p;
  return {
    nextHopSelf: p.next_hop_self,
    thirdPartyNextHop: p.third_party_next_hop,
    routeReflectorClient: p.route_reflector_client,
    asOverride: p.as_override,
    allowOwnAs: p.allow_own_as,
    delegated: p.delegated,
    enforceFirstAs: p.enforce_first_as,
    defaultOriginate: p.default_originate,
    gracefulShutdown: p.graceful_shutdown,
    acceptBlackhole: p.accept_blackhole,
    ...(localAs !== undefined && { localAs: toLocalAs(localAs) }),
    ...(remove !== false && { removePrivateAs: remove === true ? ('whole' as const) : remove }),
  };
}

function toLocalAs(l: NonNullable<ParsedPeerRouting['local_as']>): NonNullable<RoutingSettings['localAs']> {
  return typeof l === 'number' ? { asn: l } : { asn: l.asn, noPrepend: l.no_prepend, replaceAs: l.replace_as };
}

/** A list is one of external ASes: which of them a peer is in must not change how it is treated. */
function checkAsList(
  tree: SourceTree,
  bgp: ParsedBgp,
  peer: ParsedPeerRouting,
  asns: readonly number[],
  at: Path,
): void {
  const { local_as: localAs } = peer;
  const own = ownAsNumbers(bgp.asn, bgp.confederation, localAs === undefined ? undefined : toLocalAs(localAs));
  for (const [i, asn] of asns.entries())
    if (own.includes(asn))
      tree.report(
        'error',
        [...at, i],
        `AS ${asn} is ours or of our confederation: its peers need an entry of their own`,
      );
}

export function checkRouting(tree: SourceTree, bgp: ParsedBgp): void {
  const { confederation } = bgp;
  if (confederation?.members.includes(bgp.asn))
    tree.report('error', ['bgp', 'confederation', 'members'], 'lists the members other than our own AS');
  const networks = new Unique<string>(tree, 'network');
  for (const [i, n] of bgp.networks.entries()) networks.add(String(n.prefix), ['bgp', 'networks', i]);
  const aggregates = new Unique<string>(tree, 'aggregate');
  for (const [i, a] of bgp.aggregates.entries()) {
    const at: Path = ['bgp', 'aggregates', i, 'prefix'];
    aggregates.add(String(a.prefix), at);
    if (a.prefix.length === (a.prefix.family === 4 ? 32 : 128))
      tree.report('error', at, 'nothing can be inside of a host prefix');
  }
  for (const [i, peer] of bgp.peers.entries()) {
    const at: Path = ['bgp', 'peers', i];
    const localAs = peer.local_as === undefined ? undefined : toLocalAs(peer.local_as);
    if (typeof peer.asn === 'number' && isOurAs(peer.asn, bgp.asn, confederation, localAs))
      tree.report('error', [...at, 'asn'], `AS ${peer.asn} is what we say to be in towards this peer`);
    if (typeof peer.asn === 'object') checkAsList(tree, bgp, peer, peer.asn, [...at, 'asn']);
    const isInternal = peer.asn === bgp.asn || peer.asn === 'internal';
    if (peer.route_reflector_client && !isInternal)
      tree.report('error', [...at, 'route_reflector_client'], 'a client of a route reflector is in our own AS');
    if (!isInternal) continue;
    if (peer.local_as !== undefined)
      tree.report('error', [...at, 'local_as'], 'local_as is for peers in another AS (RFC 7705)');
    if (peer.as_override) tree.report('error', [...at, 'as_override'], 'as_override is for peers in another AS');
    if (peer.remove_private_as !== false)
      tree.report('error', [...at, 'remove_private_as'], 'remove_private_as is for peers in another AS');
  }
}
