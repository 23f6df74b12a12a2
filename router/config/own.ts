/** What is ours and stands where a neighbour's belongs: our public key, an address of ours. */
import { formatKey, publicKey } from '../../wg/keys.ts';
import type { Addr, Prefix } from '../lib/addr.ts';
import { isOfOurNetwork } from './bgp-schema.ts';
import { peerUplinks } from './bgp-wireguard.ts';
import type { ParsedConfig } from './schema.ts';
import type { Path, SourceTree } from './tree.ts';

const OUR_KEY = 'our own public key: a peer is known by the key it has made';

export function checkOwn(tree: SourceTree, config: ParsedConfig): void {
  for (const [name, { wireguard: w }] of Object.entries(config.uplinks)) {
    if (w === undefined) continue;
    const ours = formatKey(publicKey(w.private_key));
    for (const [i, peer] of w.peers.entries())
      if (formatKey(peer.public_key) === ours)
        tree.report('error', ['uplinks', name, 'wireguard', 'peers', i, 'public_key'], OUR_KEY);
  }
  checkTunnels(tree, config);
  checkAddresses(tree, config);
  checkDelegated(tree, config);
}

/** Tunnels of BGP peers. One key of two ASes is no fault of the configuration, but has been copied in most cases. */
function checkTunnels(tree: SourceTree, { bgp }: ParsedConfig): void {
  const seen = new Map<string, { readonly asn: string; readonly at: Path }>();
  for (const [i, { wireguard: w, asn }] of (bgp?.peers ?? []).entries()) {
    const privateKey = w?.private_key ?? bgp?.dn42?.private_key;
    if (w === undefined || privateKey === undefined) continue;
    const at: Path = ['bgp', 'peers', i, 'wireguard', 'public_key'];
    const key = formatKey(w.public_key);
    const first = seen.get(key) ?? { asn: String(asn), at };
    seen.set(key, first);
    if (key === formatKey(publicKey(privateKey))) tree.report('error', at, OUR_KEY);
    else if (first.asn !== String(asn))
      tree.report('warning', at, `AS${first.asn} at ${tree.whereIs(first.at, at)} has the same public key`);
  }
}

/** What a customer has of our networks is a part of one, and no address of ours is in it. */
function checkDelegated(tree: SourceTree, { bgp, uplinks, source, vrfs }: ParsedConfig): void {
  if (bgp === undefined) return;
  for (const [i, peer] of bgp.peers.entries()) {
    if (peer.delegated.length === 0) continue;
    const at: Path = ['bgp', 'peers', i, 'delegated'];
    if (isOfOurNetwork(peer, bgp))
      tree.report('warning', at, 'has no effect: other routers of our AS may announce parts of our networks anyway');
    const vrf = peer.via === undefined ? undefined : uplinks[peer.via]?.vrf;
    const networks = (vrf === undefined ? bgp.networks : (vrfs[vrf]?.networks ?? [])).map((n) => n.prefix);
    const own = vrf === undefined ? [source.ipv4, source.ipv6].filter((a) => a !== undefined) : [];
    for (const [j, part] of peer.delegated.entries()) {
      const inside = (n: Prefix): boolean => n.family === part.family && n.contains(part.addr);
      const whole = networks.find((n) => n.family === part.family && n.length >= part.length && part.contains(n.addr));
      const ours = own.find((a) => part.family === a.family && part.contains(a));
      if (whole !== undefined)
        tree.report('error', [...at, j], `our network ${whole} is in it: a peer may have a part of one`);
      else if (ours !== undefined) tree.report('error', [...at, j], `our own address ${ours} is in it`);
      else if (!networks.some(inside))
        tree.report('warning', [...at, j], `has no effect: ${part} is in none of our networks`);
    }
  }
}

/** A BGP peer has none of our addresses. Those of VRFs are of another world, link-local ones of their uplink alone. */
function checkAddresses(tree: SourceTree, { bgp, uplinks, source }: ParsedConfig): void {
  if (bgp === undefined) return;
  const own = [source.ipv4, source.ipv6].filter((a) => a !== undefined);
  const listed = Object.entries(uplinks).map(([name, u]) => ({
    name,
    addresses: u.wireguard?.addresses ?? [],
    vrf: u.vrf,
  }));
  const ofPeers = peerUplinks(bgp, own).map((u) => ({ name: u.name, addresses: u.wireguard!.addresses, vrf: u.vrf }));
  const all = [...listed, ...ofPeers];
  const isOurs = (addr: Addr, via: string | undefined): boolean => {
    const vrf = all.find((u) => u.name === via)?.vrf;
    const near = all.filter((u) => u.vrf === vrf && (!addr.isLinkLocal || u.name === via));
    const addresses = [...near.flatMap((u) => u.addresses.map((a) => a.addr)), ...(vrf === undefined ? own : [])];
    return addresses.some((a) => a.equals(addr));
  };
  for (const [i, peer] of bgp.peers.entries()) {
    const { address, via, host, mrt } = peer;
    if (address === undefined || host || mrt !== undefined) continue;
    if (isOurs(address, via)) tree.report('error', ['bgp', 'peers', i, 'address'], `${address} is our own address`);
  }
}
