/**
 * A configuration that came from a wg-quick file, as YAML (`mlshim import`). Keys are not repeated unless asked for: the
 * YAML names files for them.
 */
import { stringify } from 'yaml';
import { formatKey } from '../../wg/keys.ts';
import type { WgPeerConfig } from '../../wg/model.ts';
import { formatEndpoint } from '../../wg/quick.ts';
import type { Config } from './model.ts';
import { DEFAULT_MTU } from './schema.ts';

/** @param showKeys write private and preshared keys into the text instead of file names */
export function quickToYaml(config: Config, showKeys: boolean): string {
  const uplinks: Record<string, unknown> = {};
  for (const { name, wireguard: w } of config.uplinks) {
    if (w === undefined) continue;
    uplinks[name] = {
      wireguard: {
        private_key: secret(w.privateKey, `${name}.key`, showKeys),
        ...(w.listenPort !== 0 && { listen_port: w.listenPort }),
        ...(w.addresses.length > 0 && { addresses: w.addresses.map((a) => `${a.addr}/${a.prefix.length}`) }),
        ...(w.mtu !== DEFAULT_MTU && { mtu: w.mtu }),
        ...(!w.installRoutes && { table: 'off' }),
        peers: w.peers.map((p, i) => peer(p, `${name}-${i + 1}.psk`, showKeys)),
      },
    };
  }
  const servers = config.dns.servers.map((s) => String(s.addr));
  const dns = {
    ...(servers.length > 0 && { servers }),
    ...(config.dns.search.length > 0 && { search: config.dns.search }),
  };
  const text = stringify({ uplinks, ...(Object.keys(dns).length > 0 && { dns }) }, { lineWidth: 100 });
  // The stand-in is a plain text; the tag makes it the name of a file.
  return text.replace(/"?@file:([^"\n]+)"?/g, '!file $1');
}

function peer(p: WgPeerConfig, pskFile: string, showKeys: boolean): Record<string, unknown> {
  return {
    ...(p.name !== undefined && { name: p.name }),
    public_key: formatKey(p.publicKey),
    ...(p.presharedKey !== undefined && { preshared_key: secret(p.presharedKey, pskFile, showKeys) }),
    ...(p.endpoint !== undefined && { endpoint: formatEndpoint(p.endpoint) }),
    allowed_ips: p.allowedIps.map(String),
    ...(p.keepaliveS !== 0 && { persistent_keepalive: `${p.keepaliveS}s` }),
  };
}

function secret(key: Uint8Array, file: string, showKeys: boolean): string {
  return showKeys ? formatKey(key) : `@file:${file}`;
}
