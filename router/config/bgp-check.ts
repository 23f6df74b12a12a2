/** What must be unique or consistent in the `bgp` part, once all its values are known to be well-formed. */

import { AUTH_PASSWORD_MAX, AUTH_TYPES } from '../../bgp/bfd/auth.ts';
import { isPlaceholder } from '../../bgp/relation.ts';
import type { Addr } from '../lib/addr.ts';
import { checkPolicies } from './bgp-policy-check.ts';
import { checkRouting } from './bgp-routing.ts';
import { isOfOurNetwork, type ParsedBgp, type ParsedBgpPeer, peerNameOf } from './bgp-schema.ts';
import { checkSession } from './bgp-session.ts';
import { checkRpki } from './rpki.ts';
import type { Path, SourceTree } from './tree.ts';
import { Unique } from './unique.ts';

/** How our own routes are called, here and on the bird_socket, and the words that stand where names of peers may. */
const OUR_WORDS: readonly string[] = ['local', 'networks4', 'networks6', 'in', 'out', 'best', 'for', 'all'];
const HAS_MEANING = 'has a meaning of its own in commands and answers: it cannot name a peer';

export function checkBgp(tree: SourceTree, bgp: ParsedBgp): void {
  if (bgp.router_id.isUnspecified) tree.report('error', ['bgp', 'router_id'], 'the router identifier must not be zero');
  const names = new Unique<string>(tree, 'peer name');
  const addresses = new Unique<string>(tree, 'peer');
  for (const [i, peer] of bgp.peers.entries()) {
    const at: Path = ['bgp', 'peers', i];
    const name = peerNameOf(peer, bgp);
    if (OUR_WORDS.includes(name)) tree.report('error', [...at, 'name'], `"${name}" ${HAS_MEANING}`);
    if (peer.name !== undefined) names.add(name, [...at, 'name']);
    else names.add(name, at, `it needs a name: ${name}`);
    const place = peer.mrt !== undefined ? '(mrt)' : peer.host ? `${peer.zone ?? ''}(host)` : (peer.via ?? '');
    checkWho(tree, peer, at);
    checkSession(tree, peer, at);
    checkHoldTime(tree, peer.hold_time, [...at, 'hold_time']);
    if (peer.role !== undefined && isOfOurNetwork(peer, bgp))
      tree.report('warning', [...at, 'role'], 'has no effect: inside our network there are no roles (RFC 9234 §4)');
    if (isPlaceholder(peer.asn))
      tree.report('error', [...at, 'asn'], `${peer.asn} stands for other AS numbers (RFC 6793 §9): nobody is in it`);
    if (peer.range !== undefined) addresses.add(`${peer.range}%${place}`, [...at, 'range'], `the range ${peer.range}`);
    if (peer.address === undefined) continue;
    addresses.add(`${peer.address}%${place}`, [...at, 'address'], `a peer at ${peer.address}`);
    if (peer.mrt !== undefined && (peer.via !== undefined || peer.host || peer.passive))
      tree.report('error', [...at, 'mrt'], 'a peer that is a file has no "via" and no "host", and cannot be passive');
    if (
      peer.mrt !== undefined &&
      (peer.bfd !== undefined || peer.password !== undefined || peer.ttl_security !== false)
    )
      tree.report('error', [...at, 'mrt'], 'a peer that is a file has no packets to watch or to secure');
    checkZone(tree, peer, peer.address, at);
    if (peer.host) checkHostPeer(tree, bgp, peer, at);
    if (peer.local_address !== undefined && peer.local_address.family !== peer.address.family)
      tree.report('error', [...at, 'local_address'], `not of the family of ${peer.address}`);
    checkTtlSecurity(tree, peer, at);
    checkBfdAuth(tree, peer.bfd, [...at, 'bfd']);
    if (peer.address.family === 6 && peer.families.includes('ipv4') && !peer.extended_next_hop)
      tree.report('warning', at, 'IPv4 routes over an IPv6 session need extended_next_hop (RFC 8950)');
  }
  checkHoldTime(tree, bgp.hold_time, ['bgp', 'hold_time']);
  if (bgp.rpki !== undefined) checkRpki(tree, bgp.rpki, ['bgp', 'rpki']);
  const hasSources = (bgp.rpki?.servers.length ?? 0) + (bgp.rpki?.files.length ?? 0) > 0;
  if (bgp.policy === 'dn42' && !hasSources)
    tree.report(
      'warning',
      ['bgp', 'policy'],
      'dn42 accepts proven origins only, and no source of ROAs is given (bgp.rpki)',
    );
  checkHostPasswords(tree, bgp);
  checkHavePolicies(tree, bgp);
  checkPolicies(tree, bgp);
  checkRouting(tree, bgp);
}

/** What the kernel cannot tell apart: it knows keys by the address of the remote alone, and ranges have no exceptions. */
function checkHostPasswords(tree: SourceTree, bgp: ParsedBgp): void {
  const onHost = bgp.peers.flatMap((p, i) => (p.host ? [{ p, at: ['bgp', 'peers', i] as Path }] : []));
  const listeners = Array.isArray(bgp.host_listen) ? bgp.host_listen : [bgp.host_listen];
  const hearsAllInterfaces = listeners.some((l) => l.address.family === 6 && l.zone === undefined);
  for (const { p, at } of onHost) {
    const { address, zone, password } = p;
    if (address === undefined) continue;
    const range = onHost.find(({ p: r }) => r.password !== undefined && r.range?.contains(address));
    if (password === undefined && range !== undefined)
      tree.report('error', at, `the kernel wants the password of the range ${range.p.range} from ${address} too`);
    const twin = onHost.find(({ p: o }) => o.address?.equals(address) && o.zone !== zone && o.password !== password);
    if (twin !== undefined && zone !== undefined && password !== undefined && hearsAllInterfaces)
      tree.report(
        'error',
        [...at, 'password'],
        `${address} on ${twin.p.zone} has another password: bgp.host_listen must name an address of each interface, [ADDRESS%${zone}]:PORT`,
      );
  }
}

/** External peers without a policy give and get nothing (RFC 8212 §2). */
function checkHavePolicies(tree: SourceTree, bgp: ParsedBgp): void {
  if (bgp.policy !== undefined) return;
  const without = bgp.peers.filter(
    (p) => !isOfOurNetwork(p, bgp) && (p.import === undefined || p.export === undefined),
  );
  if (without.length === 0) return;
  const names = without.map((p) => p.name ?? `AS${String(p.asn)}`).join(', ');
  tree.report(
    'warning',
    ['bgp', 'peers', bgp.peers.indexOf(without[0]!)],
    `without a policy nothing is taken from or told to ${names} (RFC 8212): set bgp.policy, or import and export`,
  );
}

/** A peer has an address, or is one of many by their prefix. */
function checkWho(tree: SourceTree, peer: ParsedBgpPeer, at: Path): void {
  const { address, range } = peer;
  if (address === undefined && range === undefined)
    tree.report('error', at, '"address" is missing (or "range": a prefix peers connect from)');
  if (typeof peer.asn !== 'number') {
    if (peer.name === undefined) tree.report('error', at, 'needs a name: its AS is not known beforehand');
    if (peer.mrt !== undefined) tree.report('error', [...at, 'asn'], 'a peer that is a file has one AS number');
  }
  if (range === undefined) {
    if (peer.max_peers !== undefined) tree.report('error', [...at, 'max_peers'], 'has a meaning with "range" only');
    return;
  }
  const refuse = (key: string, why: string): void => tree.report('error', [...at, key], why);
  if (address !== undefined) refuse('range', 'a peer has an address or a range, not both');
  if (peer.name === undefined) refuse('range', 'a range needs a name: its peers are called NAME-ADDRESS');
  if (peer.mrt !== undefined) refuse('mrt', 'has no meaning with a range');
  if (peer.bfd !== undefined) refuse('bfd', 'has no meaning with a range: its peers are not known beforehand');
  if (peer.shutdown) refuse('shutdown', 'has no meaning with a range: leave it out');
  if (range.addr.isLinkLocal && range.addr.family === 6 && peer.via === undefined)
    refuse('range', `link-local ${range} needs "via": the uplink it is on`);
}

/** A link-local address says nothing without its link: an uplink of ours, or an interface of the host. */
function checkZone(tree: SourceTree, peer: ParsedBgpPeer, address: Addr, at: Path): void {
  if (peer.zone !== undefined && !peer.host)
    tree.report(
      'error',
      [...at, 'address'],
      `%${peer.zone} names an interface of the host: add host: true, or leave it out beside "via"`,
    );
  if (!address.isLinkLocal || peer.via !== undefined || peer.mrt !== undefined || peer.zone !== undefined) return;
  if (!peer.host) tree.report('error', at, `link-local ${address} needs "via": the uplink it is on`);
  else if (address.family === 6)
    tree.report(
      'error',
      [...at, 'address'],
      `link-local ${address} needs the interface it is on: ${address}%INTERFACE`,
    );
}

function checkHostPeer(tree: SourceTree, bgp: ParsedBgp, peer: ParsedBgp['peers'][number], at: Path): void {
  if (peer.via !== undefined)
    tree.report(
      'error',
      [...at, 'host'],
      'a peer is reached by an uplink ("via") or over the host\'s sockets, not both',
    );
  if (peer.passive && Array.isArray(bgp.host_listen) && bgp.host_listen.length === 0)
    tree.report('error', [...at, 'passive'], 'this peer cannot connect: bgp.host_listen names no ADDRESS:PORT');
}

/** RFC 5082 §3: without a number of hops nothing could be told apart. */
function checkTtlSecurity(tree: SourceTree, peer: ParsedBgp['peers'][number], at: Path): void {
  const { ttl_security: security, multihop } = peer;
  if (security === true && multihop === true)
    tree.report('error', [...at, 'ttl_security'], 'how many hops? give multihop a number, or ttl_security');
  if (typeof security === 'number' && typeof multihop === 'number' && security !== multihop)
    tree.report('error', [...at, 'ttl_security'], `multihop says ${multihop} hops, ttl_security ${security}`);
}

/** RFC 5880 §4.2 to §4.4: a key is as long as its digest at most. */
function checkBfdAuth(tree: SourceTree, bfd: ParsedBgpPeer['bfd'], at: Path): void {
  const { auth, password, key_id: keyId } = bfd ?? {};
  if (auth === undefined) {
    const key = password !== undefined ? 'password' : keyId !== undefined ? 'key_id' : undefined;
    if (key !== undefined) tree.report('error', [...at, key], `says nothing without "auth": ${AUTH_TYPES.join(', ')}`);
  } else if (password === undefined) tree.report('error', [...at, 'auth'], `needs a "password"`);
  else if (Buffer.byteLength(password) > AUTH_PASSWORD_MAX[auth])
    tree.report('error', [...at, 'password'], `a password of ${auth} has ${AUTH_PASSWORD_MAX[auth]} octets at most`);
}

/** RFC 4271 §4.2: "the Hold Time MUST be either zero or at least three seconds." */
function checkHoldTime(tree: SourceTree, seconds: number | undefined, path: Path): void {
  if (seconds === 1 || seconds === 2) tree.report('error', path, 'a hold time is zero or at least 3 seconds');
}
