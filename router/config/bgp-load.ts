/** From the parsed `bgp` part of a file to the values of bgp-model.ts: names, defaults, and what one key says about another. */
import type { BgpConfig, BgpPeerConfig } from './bgp-model.ts';
import type { ParsedBgp, ParsedBgpPeer } from './bgp-schema.ts';

export function toBgp(b: ParsedBgp): BgpConfig {
  return {
    asn: b.asn,
    routerId: b.router_id,
    listenPort: b.listen_port,
    hostListen: Array.isArray(b.host_listen) ? b.host_listen : [b.host_listen],
    networks: b.networks,
    peers: b.peers.map((p) => toPeer(p, b)),
  };
}

function toPeer(p: ParsedBgpPeer, b: ParsedBgp): BgpPeerConfig {
  const isOnly = b.peers.filter((o) => o.asn === p.asn).length === 1;
  return {
    name: p.name ?? `AS${p.asn}${isOnly ? '' : `-${p.via ?? p.address}`}`,
    asn: p.asn,
    address: p.address,
    via: p.via,
    host: p.host,
    localAddress: p.local_address,
    port: p.port,
    families: p.families,
    extendedNextHop: p.extended_next_hop,
    passive: p.passive,
    holdTimeS: p.hold_time ?? b.hold_time,
    importPolicy: p.import ?? 'all',
    exportPolicy: p.export ?? (b.policy === 'transit' ? 'all' : 'own'),
    maxPrefixes: p.max_prefixes,
  };
}
