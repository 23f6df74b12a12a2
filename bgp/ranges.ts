/**
 * Peers that are not known one by one: whoever connects from a prefix becomes a peer, and is forgotten when it is gone.
 * Keeps the ranges and finds the one an address lies in; the speaker makes and removes the peers.
 */

import { Addr, type Prefix } from '../router/lib/addr.ts';
import type { PeerConfig } from './peer-config.ts';
import type { LinkId, PeerSecurity } from './ports.ts';

/** What all peers of a range have in common. They are passive: we never connect to a range. */
export interface RangeConfig extends Omit<PeerConfig, 'address' | 'port' | 'passive' | 'shutdown'> {
  readonly range: Prefix;
  /** More peers at a time than this are refused; default 100. */
  readonly maxPeers?: number;
}

const DEFAULT_MAX_PEERS = 100;

function memberName(range: string, remote: Addr): string {
  return `${range}-${remote}`;
}

/** Where a peer of this name connects from when it is one of the range `range`; undefined when it is none. */
export function memberAddress(name: string, range: string): Addr | undefined {
  const remote = name.startsWith(range) ? Addr.parse(name.slice(range.length + 1)) : undefined;
  return remote !== undefined && name === memberName(range, remote) ? remote : undefined;
}

export class Ranges {
  readonly #byName = new Map<string, RangeConfig>();

  /** @throws RangeError when the name is taken */
  add(config: RangeConfig): void {
    if (this.#byName.has(config.name)) throw new RangeError(`range ${config.name} exists`);
    this.#byName.set(config.name, config);
  }

  delete(name: string): boolean {
    return this.#byName.delete(name);
  }

  /** Other ranges from now on. */
  replace(ranges: readonly RangeConfig[]): void {
    this.#byName.clear();
    for (const range of ranges) this.add(range);
  }

  all(): RangeConfig[] {
    return [...this.#byName.values()];
  }

  /** The range of a peer that connects from there: the longest prefix that holds the address. */
  find(remote: Addr, link: LinkId): RangeConfig | undefined {
    let best: RangeConfig | undefined;
    for (const r of this.#byName.values()) {
      if (r.link !== link || !r.range.contains(remote)) continue;
      if (best === undefined || r.range.length > best.range.length) best = r;
    }
    return best;
  }

  /** The configuration of one peer of a range. */
  static member(config: RangeConfig, remote: Addr): PeerConfig {
    const { range: _, maxPeers: __, ...common } = config;
    return { ...common, name: memberName(config.name, remote), address: remote, passive: true };
  }

  static maxPeers(config: RangeConfig): number {
    return config.maxPeers ?? DEFAULT_MAX_PEERS;
  }

  /** What the transport has to know about whoever may connect. */
  security(): PeerSecurity[] {
    return this.all().map(({ name, link, range, multihop, ttlSecurity, password }) => {
      const hops = typeof multihop === 'number' ? multihop : multihop === true ? 255 : 1;
      return { name, link, from: range, hops, ttlSecurity: ttlSecurity ?? false, password };
    });
  }
}
