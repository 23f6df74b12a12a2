/** A peer as the configuration has it, as the speaker wants it. */
import type { Match, PeerConfig, Policy } from '../../bgp/speaker.ts';
import type { BgpConfig, BgpPeerConfig } from '../config/bgp-model.ts';
import type { Addr, Family } from '../lib/addr.ts';

/** The link of a peer that is reached by routing. */
export const BY_ROUTING = '';

/** @param addressOn our address of a family on a link; '' stands for any link */
export function peerConfigOf(
  p: BgpPeerConfig,
  settings: BgpConfig,
  addressOn: (link: string, family: Family) => Addr | undefined,
): PeerConfig {
  const link = p.via ?? BY_ROUTING;
  const isV6 = p.address.family === 6;
  // Without RFC 8950 an IPv4 route needs an IPv4 next hop, whatever the session runs over.
  const nextHop4 = isV6 && !p.extendedNextHop ? addressOn(link, 4) : undefined;
  const nextHop6 = isV6 ? undefined : addressOn(link, 6);
  return {
    name: p.name,
    address: p.address,
    link,
    asn: p.asn,
    port: p.port,
    passive: p.passive,
    families: p.families,
    extendedNextHop: p.extendedNextHop && isV6,
    holdTimeS: p.holdTimeS,
    multihop: p.via === undefined,
    import: p.importPolicy === 'all' ? 'accept-all' : 'reject-all',
    export: exportPolicy(p.exportPolicy, settings),
    ...(p.maxPrefixes !== undefined && { maxPrefixes: p.maxPrefixes }),
    ...(nextHop4 !== undefined && { nextHop4 }),
    ...(nextHop6 !== undefined && { nextHop6 }),
  };
}

function exportPolicy(name: BgpPeerConfig['exportPolicy'], settings: BgpConfig): Policy {
  if (name === 'all') return 'accept-all';
  if (name === 'none') return 'reject-all';
  const own: Match = { prefixes: settings.networks.map((prefix) => ({ prefix })) };
  return [{ match: own, action: 'accept' }];
}
