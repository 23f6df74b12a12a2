/**
 * Checks that need two places of a configuration at once: names that must exist, things that must be unique, values
 * that contradict each other. Works on the plain tree where it can, so that these complaints come together with the
 * schema's, not after them.
 */
import { distinguisherText } from '../../bgp/vpn/route-distinguisher.ts';
import type { Prefix } from '../lib/addr.ts';
import { checkBgp } from './bgp-check.ts';
import { customPort } from './bgp-wireguard.ts';
import { checkFpm } from './fpm.ts';
import { noSuch } from './names.ts';
import { checkOwn } from './own.ts';
import { checkPolicy, checkPolicyReferences } from './policy.ts';
import type { ParsedConfig } from './schema.ts';
import { asList, asMap, type Path, type SourceTree } from './tree.ts';
import { Unique } from './unique.ts';
import { checkHostPaths, checkKinds } from './uplink.ts';

/** Every `via` must name an uplink, every uplink be of one kind. Needs nothing but the tree, so it also runs when the schema has complained. */
export function checkReferences(tree: SourceTree): void {
  const root = asMap(tree.root);
  checkKinds(tree);
  const peers = asList(asMap(root['bgp'])['peers']).map(asMap);
  const tunnels = peers.filter((p) => p['wireguard'] !== undefined).map((p) => String(p['name'] ?? `AS${p['asn']}`));
  const uplinks = [...Object.keys(asMap(root['uplinks'])), ...tunnels];
  const mustExist = (value: unknown, path: Path): void => {
    if (typeof value !== 'string' || uplinks.includes(value)) return;
    tree.report('error', path, noSuch('uplink', value, uplinks));
  };
  const vrfs = Object.keys(asMap(root['vrfs']));
  const vrfMustExist = (value: unknown, path: Path): void => {
    if (typeof value !== 'string' || vrfs.includes(value)) return;
    tree.report('error', path, noSuch('VRF', value, vrfs));
  };
  for (const [name, uplink] of Object.entries(asMap(root['uplinks'])))
    vrfMustExist(asMap(uplink)['vrf'], ['uplinks', name, 'vrf']);
  checkPolicyReferences(tree, uplinks, vrfs);
  for (const [i, route] of asList(root['routes']).entries()) {
    vrfMustExist(asMap(route)['vrf'], ['routes', i, 'vrf']);
    const via = asMap(route)['via'];
    if (Array.isArray(via))
      for (const [j, hop] of via.entries()) mustExist(asMap(hop)['via'], ['routes', i, 'via', j, 'via']);
    else mustExist(via, ['routes', i, 'via']);
  }
  for (const [i, peer] of asList(asMap(root['bgp'])['peers']).entries()) {
    mustExist(asMap(peer)['via'], ['bgp', 'peers', i, 'via']);
  }
  for (const [i, server] of asList(asMap(asMap(root['bgp'])['rpki'])['servers']).entries()) {
    mustExist(asMap(server)['via'], ['bgp', 'rpki', 'servers', i, 'via']);
  }
  for (const [key, uplink] of Object.entries(asMap(asMap(root['fpm'])['interfaces'])))
    mustExist(uplink, ['fpm', 'interfaces', key]);
  for (const [table, vrf] of Object.entries(asMap(asMap(root['fpm'])['tables'])))
    vrfMustExist(vrf, ['fpm', 'tables', table]);
  for (const [i, server] of asList(asMap(root['dns'])['servers']).entries()) {
    if (typeof server !== 'string' || !server.includes('%')) continue;
    mustExist(server.slice(server.indexOf('%') + 1), ['dns', 'servers', i]);
  }
}

/** RFC 4364 §4.2: the route distinguisher is what tells equal prefixes of two VRFs apart. */
function checkVrfs(tree: SourceTree, { vrfs, bgp }: ParsedConfig): void {
  const distinguishers = new Unique<string>(tree, 'route distinguisher');
  for (const [name, { rd, ...targets }] of Object.entries(vrfs)) {
    if (rd !== undefined) distinguishers.add(distinguisherText(rd), ['vrfs', name, 'rd']);
    for (const direction of ['import', 'export'] as const) {
      const at: Path = ['vrfs', name, direction];
      if (targets[direction].length === 0) continue;
      if (rd === undefined) tree.report('error', at, `${direction} needs a route distinguisher: rd`);
      else if (bgp === undefined)
        tree.report('warning', at, `${direction} has no effect without bgp: routes of VRFs are BGP's`);
    }
  }
}

/** What must be unique or consistent, once all values are known to be well-formed. */
export function checkValues(tree: SourceTree, config: ParsedConfig): void {
  const uplinks = Object.entries(config.uplinks);
  checkVrfs(tree, config);
  const tunnelled = [...(config.bgp?.peers ?? []).entries()].filter(([, p]) => p.wireguard !== undefined);
  // Whoever begins in DN42 has a key before there is a first peer.
  const severity = config.bgp?.dn42?.private_key === undefined ? 'error' : 'warning';
  if (uplinks.length + tunnelled.length === 0) tree.report(severity, ['uplinks'], 'no uplink: there is no way out');

  const ports = new Unique<number>(tree, 'listen port');
  const privateKeys = new Unique<string>(tree, 'private key');
  for (const [name, { wireguard }] of uplinks) {
    if (wireguard === undefined) continue;
    const at: Path = ['uplinks', name, 'wireguard'];
    if (wireguard.listen_port !== 0) ports.add(wireguard.listen_port, [...at, 'listen_port']);
    // A peer has one endpoint and one current session, so two uplinks with one key would take turns.
    privateKeys.add(Buffer.from(wireguard.private_key).toString('base64'), [...at, 'private_key'], 'this private key');
    const publicKeys = new Unique<string>(tree, 'public key');
    const names = new Unique<string>(tree, 'peer name');
    const allowed = new Unique<string>(tree, 'prefix');
    for (const [i, peer] of wireguard.peers.entries()) {
      const below: Path = [...at, 'peers', i];
      publicKeys.add(Buffer.from(peer.public_key).toString('base64'), [...below, 'public_key'], 'this public key');
      if (peer.name !== undefined) names.add(peer.name, [...below, 'name']);
      for (const [j, prefix] of peer.allowed_ips.entries()) allowed.add(String(prefix), [...below, 'allowed_ips', j]);
    }
  }

  const tunnels = new Unique<string>(tree, 'uplink');
  for (const [i, p] of tunnelled) {
    const at: Path = ['bgp', 'peers', i, 'wireguard'];
    const port = p.wireguard!.listen_port ?? customPort(Number(p.asn));
    if (port !== 0) ports.add(port, at, `listen port ${port} (of AS${p.asn})`);
    if (config.uplinks[p.via!] !== undefined)
      tree.report('error', at, `there is another uplink "${p.via}": give the peer a name`);
    tunnels.add(p.via!, at, `the peer needs a name: uplink "${p.via}"`);
  }

  const routes = new Unique<string>(tree, 'route');
  for (const [i, route] of config.routes.entries()) {
    const at: Path = ['routes', i];
    routes.add(String(route.to), [...at, 'to'], `a route to ${route.to}`);
    if ((route.via === undefined) === (route.type === undefined))
      tree.report('error', at, 'needs either "via" (an uplink) or "type" (blackhole, unreachable)');
    if (route.gateway !== undefined && typeof route.via !== 'string')
      tree.report('error', [...at, 'gateway'], '"gateway" belongs to one "via"');
    const hops = typeof route.via === 'string' ? [route] : (route.via ?? []);
    for (const hop of hops) checkGateway(tree, hop.gateway?.family, route.to, at);
  }

  checkHostPaths(tree, config);
  checkOwn(tree, config);
  checkPolicy(tree, config);
  if (config.bgp !== undefined) checkBgp(tree, config.bgp);
  if (config.fpm !== undefined) checkFpm(tree, config.fpm);
}

function checkGateway(tree: SourceTree, family: number | undefined, to: Prefix, path: Path): void {
  if (family === 4 && to.family === 6) tree.report('error', path, `an IPv6 route cannot have an IPv4 gateway`);
}
