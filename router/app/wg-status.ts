/** What `wg show` says of a peer, whoever carries its packets. Pure. */
import { formatKey } from '../../wg/keys.ts';
import type { WgPeerStats } from '../../wg/model.ts';
import type { Answers } from '../control/messages.ts';

type WgPeerStatus = Answers['wg_show']['devices'][number]['peers'][number];

/** @param nowMs wall clock */
export function wgPeerStatus(p: Omit<WgPeerStats, 'endpointError'>, nowMs: number): WgPeerStatus {
  return {
    name: p.name ?? '',
    public_key: formatKey(p.publicKey),
    has_preshared_key: p.hasPresharedKey,
    endpoint: p.endpoint ?? '',
    allowed_ips: p.allowedIps,
    ...(p.latestHandshakeMs !== 0 && { handshake_age_s: (nowMs - p.latestHandshakeMs) / 1000 }),
    rx_bytes: p.rxBytes,
    tx_bytes: p.txBytes,
    keepalive_s: p.keepaliveS,
  };
}
