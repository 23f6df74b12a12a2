/** Which peer is meant by what an operator typed: its name, its AS number or its address. Pure. */
import { Addr } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { parseAsn } from '../lib/ranges.ts';

/** What is known of a peer. */
export interface KnownPeer {
  readonly name: string;
  readonly asn: number;
  readonly address: string;
  /** The uplink its address is on; a link-local address may be that of several peers. */
  readonly link: string | number;
}

/**
 * The name of the peer. A name goes before a number or an address; ADDRESS%UPLINK is an address on one uplink.
 * @throws MlshimError UNKNOWN when there is none, or more than one
 */
export function peerNamed(text: string, peers: readonly KnownPeer[]): string {
  const found = peersMeant(text, peers);
  if (found.length === 1) return found[0]!.name;
  if (found.length > 1) throw several(text, found);
  const known = peers.map((p) => p.name).join(', ') || 'none';
  throw new MlshimError('UNKNOWN', `no bgp peer "${text}" (known: ${known})`);
}

/**
 * A single word of a listing: a peer's address means that peer, any other address the routes around it.
 * @throws MlshimError UNKNOWN when it is neither a peer nor an address, or could be several peers
 */
export function peerOrPlace(
  text: string,
  peers: readonly KnownPeer[],
): { readonly peer: string } | { readonly place: string } {
  const found = peersMeant(text, peers);
  const isAddress = Addr.parse(text) !== undefined;
  if (found.length > 1 && isAddress) throw several(text, found, `, or "for ${text}" for the routes around it`);
  return found.length === 0 && isAddress ? { place: text } : { peer: peerNamed(text, peers) };
}

function peersMeant(text: string, peers: readonly KnownPeer[]): readonly KnownPeer[] {
  const named = peers.filter((p) => p.name === text);
  if (named.length > 0) return named;
  const asn = parseAsn(text);
  const [before, link] = text.split('%', 2) as [string, string | undefined];
  const address = Addr.parse(before);
  const hasAddress = (p: KnownPeer): boolean =>
    address !== undefined &&
    Addr.parse(p.address)?.equals(address) === true &&
    (link === undefined || link === String(p.link));
  return peers.filter((p) => (asn !== undefined && p.asn === asn) || hasAddress(p));
}

function several(text: string, found: readonly KnownPeer[], otherwise = ''): MlshimError {
  const names = found.map((p) => p.name).join(', ');
  return new MlshimError('UNKNOWN', `"${text}" is more than one bgp peer: name one of ${names}${otherwise}`);
}
