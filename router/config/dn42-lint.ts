/**
 * Compares a configuration with the customs of DN42 (wiki: howto pages, Address-Space, Bird2): what would not work, what
 * others would wonder about, and what could be told them. Finds nothing that `config check` finds.
 */

import { readFileSync } from 'node:fs';
import { DN42_PREFIXES, isDn42Prefix } from '../../bgp/policy/dn42.ts';
import { asksRoa, RoaState } from '../../bgp/policy/rule.ts';
import { parseRoas } from '../../bgp/rpki/roa-file.ts';
import { RoaTable } from '../../bgp/rpki/roa-table.ts';
import type { Addr, Prefix } from '../lib/addr.ts';
import { systemReason } from '../lib/reason.ts';
import { type BgpConfig, type BgpPeerConfig, followsDn42 } from './bgp-model.ts';
import { customLinkLocal, customPort } from './bgp-wireguard.ts';
import type { Config, WireguardConfig } from './model.ts';

export interface Finding {
  /** error: it will not work; warning: it is not as others expect; info: could be said. */
  readonly severity: 'error' | 'warning' | 'info';
  /** Name of the check. */
  readonly check: string;
  /** What it is about: a peer, a network, or empty. */
  readonly where: string;
  readonly text: string;
}

type Report = (severity: Finding['severity'], check: string, where: string, text: string) => void;

/** AS numbers of the network: open, reserved and legacy blocks. */
const AS_RANGES: readonly (readonly [number, number])[] = [
  [4242420000, 4242429999],
  [64512, 65534],
  [76100, 76199],
];
const USUAL_MTU = 1420;

/** @returns findings, the worst first */
export function lintDn42(config: Config): Finding[] {
  const found: Finding[] = [];
  const report: Report = (severity, check, where, text) => found.push({ severity, check, where, text });
  const { bgp } = config;
  if (bgp === undefined) {
    report('error', 'bgp', '', 'there is no "bgp" part');
    return found;
  }
  if (!AS_RANGES.some(([from, to]) => bgp.asn >= from && bgp.asn <= to))
    report('warning', 'asn', '', `AS${bgp.asn} is in no range of DN42 (4242420000-4242423999 is open)`);
  networks(config, bgp, report);
  origins(bgp, report);
  for (const peer of bgp.peers) if (peer.asn !== bgp.asn) lintPeer(config, bgp, peer, report);
  if (bgp.dn42.region === undefined) report('info', 'region', '', 'bgp.dn42.region is not told to others');
  if (bgp.dn42.country === undefined) report('info', 'country', '', 'bgp.dn42.country is not told to others');
  const order = { error: 0, warning: 1, info: 2 };
  return found.sort((a, b) => order[a.severity] - order[b.severity]);
}

function networks(config: Config, bgp: BgpConfig, report: Report): void {
  if (bgp.networks.length === 0) report('warning', 'networks', '', 'bgp.networks is empty: nobody can reach us');
  const own = bgp.networks.map((n) => n.prefix);
  for (const n of own) if (!isDn42Prefix(n)) report('error', 'networks', String(n), 'others refuse this network');
  for (const family of [4, 6] as const) {
    if (!own.some((n) => n.family === family)) continue;
    const source = family === 4 ? config.source.v4 : config.source.v6;
    const key = `source.ipv${family}`;
    if (source === undefined)
      report('warning', 'source', key, 'not set: local traffic may carry an address of a tunnel');
    else if (!own.some((n) => n.family === family && n.contains(source)))
      report('error', 'source', key, `${source} is in none of our networks: answers do not come back`);
  }
}

/** Our own networks as others will judge them, as far as files of ROAs can tell. */
function origins(bgp: BgpConfig, report: Report): void {
  const files = (bgp.rpki?.files ?? []).filter((f) => !f.isUrl);
  if (bgp.rpki === undefined || bgp.rpki.files.length + bgp.rpki.servers.length === 0) {
    const severity = bgp.peers.some((p) => followsDn42(p.importPolicy)) ? 'error' : 'warning';
    report(severity, 'rpki', '', 'bgp.rpki names no source of ROAs');
    return;
  }
  const table = new RoaTable();
  for (const f of files) {
    try {
      table
        .addSource(f.name)
        .replace(parseRoas(readFileSync(f.location, 'utf8')))
        .step();
    } catch (e) {
      report('error', 'rpki', f.name, systemReason(e));
    }
  }
  if (table.size(4) + table.size(6) === 0) return;
  const flaw = (n: Prefix, asn: number): string | undefined => {
    const state = table.state(n.family, ...wordsOf(n), n.length, asn);
    if (state === RoaState.Valid) return undefined;
    return state === RoaState.Invalid ? 'its route object is for another AS or length' : 'it has no route object';
  };
  for (const { prefix: n } of bgp.networks) {
    const why = flaw(n, bgp.asn);
    if (why !== undefined) report('error', 'roa', String(n), `others refuse this network: ${why} in the registry`);
  }
  for (const { name, asn, routing } of bgp.peers) {
    for (const n of routing.delegated) {
      // Of an AS that is not known beforehand nothing is known.
      const why = typeof asn === 'number' ? flaw(n, asn) : undefined;
      const text = `${n} is delegated to AS${String(asn)}, and others refuse it: ${why} in the registry`;
      if (why !== undefined) report('warning', 'roa', name, text);
    }
  }
}

function wordsOf({ addr: a }: Prefix): readonly [number, number, number, number] {
  return a.family === 4 ? [a.a3, 0, 0, 0] : [a.a0, a.a1, a.a2, a.a3];
}

function lintPeer(config: Config, bgp: BgpConfig, peer: BgpPeerConfig, report: Report): void {
  const tell = (severity: Finding['severity'], check: string, text: string): void =>
    report(severity, check, peer.name, text);
  if (peer.importPolicy === 'all') tell('warning', 'import', 'takes everything: no ROA, no limit to networks of DN42');
  if (isUnproven(peer.importPolicy))
    tell(
      'warning',
      'import',
      'no rule asks for ROAs: these rules stand in the place of those of dn42, which the list may name',
    );
  if (peer.importPolicy === 'none') tell('warning', 'import', 'takes nothing: bgp.policy is not dn42');
  if (peer.exportPolicy === 'all') tell('warning', 'export', 'tells everything, not networks of DN42 only');
  if (peer.address.family === 6 && !peer.extendedNextHop && peer.families.includes('ipv4'))
    tell('warning', 'extended-next-hop', 'IPv4 needs addresses on the tunnel without extended_next_hop');
  const uplink = config.uplinks.find((u) => u.name === peer.via);
  if (uplink?.wireguard !== undefined) lintTunnel(bgp, peer, uplink.wireguard, tell);
}

/** Rules that take routes whatever ROAs say. */
function isUnproven(policy: BgpPeerConfig['importPolicy']): boolean {
  if (typeof policy === 'string' || 'module' in policy || followsDn42(policy)) return false;
  return !policy.rules.some((r) => 'match' in r && asksRoa(r.match));
}

function lintTunnel(
  bgp: BgpConfig,
  peer: BgpPeerConfig,
  tunnel: WireguardConfig,
  tell: (severity: Finding['severity'], check: string, text: string) => void,
): void {
  if (tunnel.mtu !== USUAL_MTU) tell('info', 'mtu', `MTU ${tunnel.mtu}: ${USUAL_MTU} is usual, both ends must agree`);
  const asn = typeof peer.asn === 'number' ? peer.asn : undefined;
  const port = asn === undefined ? undefined : customPort(asn);
  const dials = tunnel.peers.some((p) => p.endpoint !== undefined);
  if (tunnel.listenPort === 0 && !dials)
    tell('error', 'endpoint', 'neither end can begin: no endpoint of the peer, no listen_port of ours');
  else if (tunnel.listenPort !== 0 && tunnel.listenPort !== port)
    tell('info', 'port', `listen_port ${tunnel.listenPort}: ${port ?? 'another'} is the custom`);
  if (peer.address.isLinkLocal && asn !== undefined && !peer.address.equals(customLinkLocal(asn)))
    tell('info', 'link-local', `${peer.address}: ${customLinkLocal(asn)} is the custom`);
  if (
    !tunnel.addresses.some(
      (a) => a.addr.family === peer.address.family && a.addr.isLinkLocal === peer.address.isLinkLocal,
    )
  )
    tell('error', 'link-local', `the tunnel has no address of ours for ${peer.address}`);
  const carries = (p: Prefix | Addr): boolean =>
    tunnel.peers.some((w) => w.allowedIps.some((a) => ('addr' in p ? covers(a, p) : a.contains(p))));
  if (!carries(peer.address)) tell('error', 'allowed-ips', `do not hold the peer's own ${peer.address}`);
  // Joined networks beside, the network is 172.20.0.0/14 and fd00::/8.
  const needed = [DN42_PREFIXES[0]!.prefix, DN42_PREFIXES.at(-1)!.prefix];
  for (const n of needed) {
    if (peer.families.includes(`ipv${n.family}`) && !carries(n)) tell('error', 'allowed-ips', `do not hold ${n}`);
  }
  if (peer.dn42.bandwidth === undefined && bgp.peers.some((p) => followsDn42(p.exportPolicy)))
    tell('info', 'bandwidth', 'dn42.bandwidth of the link is not told to others');
}

function covers(a: Prefix, b: Prefix): boolean {
  return a.family === b.family && a.length <= b.length && a.contains(b.addr);
}
