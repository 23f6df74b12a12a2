/**
 * Checks that need two places of a configuration at once: names that must exist, things that must be unique, values
 * that contradict each other. Works on the plain tree where it can, so that these complaints come together with the
 * schema's, not after them.
 */
import type { Prefix } from '../lib/addr.ts';
import { nearest } from '../lib/nearest.ts';
import type { ParsedConfig } from './schema.ts';
import type { Path, SourceTree } from './tree.ts';

type Plain = Readonly<Record<string, unknown>>;

const asMap = (v: unknown): Plain => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Plain) : {});
const asList = (v: unknown): readonly unknown[] => (Array.isArray(v) ? v : []);

/** Every `via` must name an uplink. Needs nothing but the tree, so it also runs when the schema has complained. */
export function checkReferences(tree: SourceTree): void {
  const root = asMap(tree.root);
  const uplinks = Object.keys(asMap(root['uplinks']));
  const mustExist = (value: unknown, path: Path): void => {
    if (typeof value !== 'string' || uplinks.includes(value)) return;
    const near = nearest(value, uplinks);
    const help =
      near !== undefined ? ` (did you mean "${near}"?)` : uplinks.length > 0 ? ` (known: ${uplinks.join(', ')})` : '';
    tree.report('error', path, `no uplink "${value}"${help}`);
  };
  for (const [i, route] of asList(root['routes']).entries()) {
    const via = asMap(route)['via'];
    if (Array.isArray(via))
      for (const [j, hop] of via.entries()) mustExist(asMap(hop)['via'], ['routes', i, 'via', j, 'via']);
    else mustExist(via, ['routes', i, 'via']);
  }
  for (const [i, peer] of asList(asMap(root['bgp'])['peers']).entries()) {
    mustExist(asMap(peer)['via'], ['bgp', 'peers', i, 'via']);
  }
  for (const [i, server] of asList(asMap(root['dns'])['servers']).entries()) {
    if (typeof server !== 'string' || !server.includes('%')) continue;
    mustExist(server.slice(server.indexOf('%') + 1), ['dns', 'servers', i]);
  }
}

/** What must be unique or consistent, once all values are known to be well-formed. */
export function checkValues(tree: SourceTree, config: ParsedConfig): void {
  const uplinks = Object.entries(config.uplinks);
  if (uplinks.length === 0) tree.report('error', ['uplinks'], 'no uplink: there is no way out');

  const ports = new Unique<number>(tree, 'listen port');
  const privateKeys = new Unique<string>(tree, 'private key');
  for (const [name, { wireguard }] of uplinks) {
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

  const bgp = config.bgp;
  if (bgp === undefined) return;
  if (bgp.router_id.isUnspecified) tree.report('error', ['bgp', 'router_id'], 'the router identifier must not be zero');
  const names = new Unique<string>(tree, 'peer name');
  const addresses = new Unique<string>(tree, 'peer');
  for (const [i, peer] of bgp.peers.entries()) {
    const at: Path = ['bgp', 'peers', i];
    if (peer.name !== undefined) names.add(peer.name, [...at, 'name']);
    addresses.add(`${peer.address}%${peer.via ?? ''}`, [...at, 'address'], `a peer at ${peer.address}`);
    if (peer.address.isLinkLocal && peer.via === undefined)
      tree.report('error', at, `link-local ${peer.address} needs "via": the uplink it is on`);
    checkHoldTime(tree, peer.hold_time, [...at, 'hold_time']);
    if (peer.address.family === 6 && peer.families.includes('ipv4') && !peer.extended_next_hop)
      tree.report('warning', at, 'IPv4 routes over an IPv6 session need extended_next_hop (RFC 8950)');
  }
  checkHoldTime(tree, bgp.hold_time, ['bgp', 'hold_time']);
}

/** RFC 4271 §4.2: "the Hold Time MUST be either zero or at least three seconds." */
function checkHoldTime(tree: SourceTree, seconds: number | undefined, path: Path): void {
  if (seconds === 1 || seconds === 2) tree.report('error', path, 'a hold time is zero or at least 3 seconds');
}

function checkGateway(tree: SourceTree, family: number | undefined, to: Prefix, path: Path): void {
  if (family === 4 && to.family === 6) tree.report('error', path, `an IPv6 route cannot have an IPv4 gateway`);
}

/** Remembers where a value was first seen and complains about the second time. */
class Unique<T> {
  readonly #first = new Map<T, Path>();
  readonly #tree: SourceTree;
  readonly #what: string;

  constructor(tree: SourceTree, what: string) {
    this.#tree = tree;
    this.#what = what;
  }

  add(value: T, path: Path, shown = `${this.#what} ${value}`): void {
    const first = this.#first.get(value);
    if (first === undefined) this.#first.set(value, path);
    else this.#tree.report('error', path, `${shown} is already used at line ${this.#tree.lineOf(first)}`);
  }
}
