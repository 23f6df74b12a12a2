/** Which peer is meant by what an operator typed: its name, its AS number or its address. Pure. */
import { Addr } from '../lib/addr.ts';
import { MlshimError } from '../lib/errors.ts';
import { parseAsn } from '../lib/ranges.ts';

/** What is known of a peer. */
export interface KnownPeer {
  readonly name: string;
  readonly asn: number;
  readonly address: string;
}

/**
 * The name of the peer. A name goes before a number or an address.
 * @throws MlshimError UNKNOWN when there is none, or more than one
 */
export function peerNamed(text: string, peers: readonly KnownPeer[]): string {
  if (peers.some((p) => p.name === text)) return text;
  const asn = parseAsn(text);
  const address = Addr.parse(text);
  const isMeant = (p: KnownPeer): boolean =>
    (asn !== undefined && p.asn === asn) || (address !== undefined && Addr.parse(p.address)?.equals(address) === true);
  const found = peers.filter(isMeant).map((p) => p.name);
  if (found.length === 1) return found[0]!;
  if (found.length > 1)
    throw new MlshimError('UNKNOWN', `"${text}" is more than one bgp peer: name one of ${found.join(', ')}`);
  const known = peers.map((p) => p.name).join(', ') || 'none';
  throw new MlshimError('UNKNOWN', `no bgp peer "${text}" (known: ${known})`);
}
