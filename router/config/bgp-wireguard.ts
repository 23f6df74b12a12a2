/**
 * `bgp.peers[].wireguard`: a BGP peer behind a WireGuard tunnel of its own, in a few lines. What is not said follows the
 * customs of DN42: link-local addresses and the port from the last four digits of the AS numbers.
 */
import type { z } from 'zod';
import type { AsMatch } from '../../bgp/fsm/negotiate.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import type { ParsedDn42 } from './dn42.ts';
import { endpoint, int, key, object, seconds, v6 } from './fields.ts';
import { type InterfaceAddr, plainTunnel, type UplinkConfig } from './model.ts';

/** WireGuard's overhead over IPv6 in an Ethernet frame; MTU of nearly every tunnel in DN42. */
const MTU = 1420;
const KEEPALIVE_S = 25;
const EVERYTHING = [Prefix.parse('0.0.0.0/0')!, Prefix.parse('::/0')!];

export const peerTunnel = object({
  public_key: key,
  endpoint: endpoint.optional(),
  preshared_key: key.optional(),
  private_key: key.optional(),
  listen_port: int(0, 65535, 'a port').optional(),
  link_local: v6.optional(),
  mtu: int(1280, 65535, 'an MTU').default(MTU),
  persistent_keepalive: seconds(65535).optional(),
});

export type PeerTunnel = z.output<typeof peerTunnel>;

/** `fe80::<last four digits>`, the digits read as hexadecimal. */
export function customLinkLocal(asn: number): Addr {
  return Addr.v6(0xfe800000 | 0, 0, 0, Number.parseInt(String(asn % 10_000), 16));
}

/** 20000 and the last four digits of the peer's AS number. */
export function customPort(asn: number): number {
  return 20_000 + (asn % 10_000);
}

interface TunnelPeer {
  readonly name?: string | undefined;
  readonly asn: AsMatch;
  readonly address?: Addr | undefined;
  readonly range?: Prefix | undefined;
  readonly via?: string | undefined;
  readonly host: boolean;
  readonly wireguard?: PeerTunnel | undefined;
}

interface WithPeers<P> {
  readonly asn: number;
  readonly peers: readonly P[];
  readonly dn42?: ParsedDn42 | undefined;
}

/** Fill in what a peer with a tunnel of its own leaves out. */
export function placePeers<P extends TunnelPeer>(b: WithPeers<P>, ctx: z.core.$RefinementCtx): P[] {
  return b.peers.map((p, i): P => {
    const { wireguard: w, asn } = p;
    if (w === undefined) return p;
    const complain = (message: string): void => {
      ctx.issues.push({ code: 'custom', message, path: ['peers', i, 'wireguard'], input: b });
    };
    if (typeof asn !== 'number' || p.range !== undefined) {
      complain('a tunnel leads to one peer with an AS number');
      return p;
    }
    if (p.via !== undefined || p.host)
      complain('the peer has a tunnel of its own here, and another way by "via" or "host"');
    if (w.private_key === undefined && b.dn42?.private_key === undefined)
      complain('needs a "private_key", here or once for all as bgp.dn42.private_key');
    const address = p.address ?? customLinkLocal(asn);
    if (address.equals(ownLinkLocal(w, b)))
      complain(`both ends would be ${address}: say our "link_local", here or as bgp.dn42.link_local`);
    return { ...p, via: tunnelName(p), address };
  });
}

/** The uplink is called as the peer is. */
function tunnelName(p: TunnelPeer): string {
  return p.name ?? `AS${p.asn}`;
}

function ownLinkLocal(w: PeerTunnel, b: { readonly asn: number; readonly dn42?: ParsedDn42 | undefined }): Addr {
  return w.link_local ?? b.dn42?.link_local ?? customLinkLocal(b.asn);
}

/** The uplinks of peers that have a tunnel of their own. @param own our addresses, which every tunnel carries */
export function peerUplinks(b: WithPeers<TunnelPeer>, own: readonly (Addr | undefined)[]): UplinkConfig[] {
  return b.peers.flatMap((p): UplinkConfig[] => {
    const { wireguard: w, asn } = p;
    const privateKey = w?.private_key ?? b.dn42?.private_key;
    if (w === undefined || privateKey === undefined || typeof asn !== 'number') return [];
    const onLink: InterfaceAddr = at(ownLinkLocal(w, b), 64);
    const hosts = own.filter((a) => a !== undefined).map((a) => at(a, a.family === 4 ? 32 : 128));
    const peer = {
      name: undefined,
      publicKey: w.public_key,
      presharedKey: w.preshared_key,
      endpoint: w.endpoint,
      allowedIps: EVERYTHING,
      keepaliveS: w.persistent_keepalive ?? (w.endpoint === undefined ? 0 : KEEPALIVE_S),
    };
    return [
      plainTunnel(tunnelName(p), {
        addresses: [onLink, ...hosts],
        mtu: w.mtu,
        privateKey,
        listenPort: w.listen_port ?? customPort(asn),
        installRoutes: false,
        peers: [peer],
      }),
    ];
  });
}

function at(addr: Addr, length: number): InterfaceAddr {
  return { addr, prefix: Prefix.containing(addr, length)! };
}
