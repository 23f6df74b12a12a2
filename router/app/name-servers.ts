/** Whom names are asked of, as the configuration says: everybody's servers, and those of single uplinks. Pure. */
import { Addr } from '../lib/addr.ts';
import type { NameServer } from '../shimlink/dns-port.ts';
import type { ResolverSettings } from '../shimlink/resolver.ts';
import type { DataplaneSettings, PolicyUplink } from './dataplane-protocol.ts';

/** Name servers of everybody, and of each uplink that has a way of its own to ask. */
export function resolverSettings(
  s: Pick<DataplaneSettings, 'dns' | 'hostNameServers'>,
  uplinks: readonly PolicyUplink[],
): ResolverSettings {
  const servers = s.dns.servers.flatMap((text) => nameServer(text));
  return {
    servers,
    search: s.dns.search,
    uplinks: new Map(
      uplinks.flatMap((u) => {
        const own = serversThrough(u, servers, s.hostNameServers);
        return own.length === 0 ? [] : [[u.link, own] as const];
      }),
    ),
  };
}

/** Its own resolvers. A path of the host that has none goes to everybody's, and if there are none either, to the host's. */
function serversThrough(
  { link, host, dns }: PolicyUplink,
  servers: readonly NameServer[],
  hostNameServers: readonly string[],
): readonly NameServer[] {
  if (dns.length > 0) return dns.map((addr) => ({ addr, link: undefined, path: { kind: 'uplink', uplink: link } }));
  if (host === undefined) return [];
  if (servers.length > 0) return servers.map((n) => ({ ...n, path: { kind: 'routed', otherwise: link } }));
  return hostNameServers
    .flatMap((text) => nameServer(text))
    .map((n) => ({ ...n, path: n.addr.isLoopback ? { kind: 'loopback' } : { kind: 'uplink', uplink: link } }));
}

function nameServer(text: string): NameServer[] {
  const [address, link] = text.split('%');
  const addr = Addr.parse(address!);
  return addr === undefined ? [] : [{ addr, link }];
}
