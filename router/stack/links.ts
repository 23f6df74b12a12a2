/**
 * The stack's links, and which addresses are ours. Changes come from the control plane and rebuild small tables; look-ups
 * happen per packet and touch two flat arrays. Does not route: `fib-port` answers are link indices that `byIndex` resolves.
 */
import { type Addr, maskWord } from '../lib/addr.ts';
import type { PacketLink } from '../lib/link.ts';
import type { LinkAddress } from './port.ts';

/** Check that a packet's source would be reached by the link it came in by (RFC 3704). */
export const ReversePath = { Off: 0, Loose: 1, Strict: 2 } as const;

export interface LinkOptions {
  /** Packets sent here come back to us: the VRF's place for traffic to our own addresses. */
  readonly isLoopback?: boolean;
  /** Lower the MSS of SYNs in transit to what fits (default true). */
  readonly clampMss?: boolean;
  /** A ReversePath value (default Off: DN42 is asymmetric). */
  readonly reversePath?: number;
}

/** A link with its addresses and settings. */
export class StackLink {
  readonly link: PacketLink;
  readonly index: number;
  readonly vrf: number;
  readonly isLoopback: boolean;
  readonly clampMss: boolean;
  readonly reversePath: number;
  readonly addresses: readonly LinkAddress[];
  readonly v4: readonly LinkAddress[];
  readonly global6: readonly LinkAddress[];
  readonly local6: readonly LinkAddress[];

  constructor(link: PacketLink, addresses: readonly LinkAddress[], options: LinkOptions) {
    this.link = link;
    this.index = link.index;
    this.vrf = link.vrf;
    this.isLoopback = options.isLoopback ?? false;
    this.clampMss = options.clampMss ?? true;
    this.reversePath = options.reversePath ?? ReversePath.Off;
    this.addresses = addresses;
    this.v4 = addresses.filter((a) => a.addr.family === 4);
    this.global6 = addresses.filter((a) => a.addr.family === 6 && !a.addr.isLinkLocal);
    this.local6 = addresses.filter((a) => a.addr.family === 6 && a.addr.isLinkLocal);
  }
}

/** Slots of the local-address table per address: sparse, because most look-ups are of transit packets and must miss fast. */
const SPARSE = 8;

export class Links {
  readonly #byIndex: (StackLink | undefined)[] = [];
  #all: StackLink[] = [];
  readonly #loopbacks = new Map<number, StackLink>();
  // Open addressing, rebuilt on every change. A slot is five words: vrf + 1 (0 = empty), four address words; the scope
  // (link index of a link-local address, else 0) and the owning link follow in arrays of their own.
  #mask = 7;
  #keys = new Int32Array(8 * 5);
  #scopes = new Int32Array(8);
  #owners = new Int32Array(8);
  /** Grows with every change of links or addresses. */
  generation = 0;

  byIndex(index: number): StackLink | undefined {
    return this.#byIndex[index];
  }

  /** The VRF's loopback link, where packets to our own addresses go. */
  loopback(vrf: number): StackLink | undefined {
    return this.#loopbacks.get(vrf);
  }

  /** Add a link, or replace its addresses and options. */
  set(link: PacketLink, addresses: readonly LinkAddress[], options: LinkOptions): StackLink {
    const entry = new StackLink(link, addresses, options);
    this.#byIndex[link.index] = entry;
    this.#changed();
    return entry;
  }

  remove(index: number): void {
    this.#byIndex[index] = undefined;
    this.#changed();
  }

  /** A link went up or down: cached routes are stale. */
  stateChanged(): void {
    this.generation = (this.generation + 1) | 0;
  }

  all(): readonly StackLink[] {
    return this.#all;
  }

  /** Is this IPv4 address ours in the VRF? @returns index of the link that has it, or 0 */
  local4(vrf: number, address: number): number {
    const keys = this.#keys;
    for (let slot = hash4(vrf, address) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * 5;
      const tag = keys[at]!;
      if (tag === 0) return 0;
      if (
        keys[at + 4] === address &&
        tag === vrf + 1 &&
        keys[at + 3] === 0xffff &&
        (keys[at + 1]! | keys[at + 2]!) === 0
      )
        return this.#owners[slot]!;
    }
  }

  /**
   * Is this address (data-plane words of either family) ours in the VRF? Link-local addresses count only on their link.
   * @param scope index of the incoming or outgoing link, used for link-local addresses only
   * @returns index of the link that has it, or 0
   */
  local(vrf: number, scope: number, a0: number, a1: number, a2: number, a3: number): number {
    return this.#find(vrf, isLinkLocal6(a0) ? scope : 0, a0, a1, a2, a3);
  }

  #find(vrf: number, scope: number, a0: number, a1: number, a2: number, a3: number): number {
    const keys = this.#keys;
    for (let slot = hash(vrf, a0, a1, a2, a3) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const at = slot * 5;
      const tag = keys[at]!;
      if (tag === 0) return 0;
      if (
        keys[at + 4] === a3 &&
        tag === vrf + 1 &&
        keys[at + 1] === a0 &&
        keys[at + 2] === a1 &&
        keys[at + 3] === a2 &&
        this.#scopes[slot] === scope
      )
        return this.#owners[slot]!;
    }
  }

  #changed(): void {
    this.generation = (this.generation + 1) | 0;
    this.#all = this.#byIndex.filter((l) => l !== undefined);
    this.#loopbacks.clear();
    let count = 0;
    for (const l of this.#all) {
      count += l.addresses.length;
      if (l.isLoopback) this.#loopbacks.set(l.vrf, l);
    }
    let size = 64;
    while (size < count * SPARSE) size <<= 1;
    this.#mask = size - 1;
    this.#keys = new Int32Array(size * 5);
    this.#scopes = new Int32Array(size);
    this.#owners = new Int32Array(size);
    for (const l of this.#all) for (const a of l.addresses) this.#insert(l, a.addr);
  }

  #insert(l: StackLink, a: Addr): void {
    const scope = isLinkLocal6(a.a0) ? l.index : 0;
    if (this.#find(l.vrf, scope, a.a0, a.a1, a.a2, a.a3) !== 0) return; // the first link that has it answers for it
    let slot = hash(l.vrf, a.a0, a.a1, a.a2, a.a3) & this.#mask;
    while (this.#keys[slot * 5] !== 0) slot = (slot + 1) & this.#mask;
    this.#keys.set([l.vrf + 1, a.a0, a.a1, a.a2, a.a3], slot * 5);
    this.#scopes[slot] = scope;
    this.#owners[slot] = l.index;
  }
}

/** fe80::/10 */
export function isLinkLocal6(a0: number): boolean {
  return (a0 & 0xffc00000) === (0xfe800000 | 0);
}

/** Does `prefix` (an address of ours with its length) contain the address given as words? */
export function onLink(prefix: LinkAddress, a0: number, a1: number, a2: number, a3: number): boolean {
  const p = prefix.addr;
  const length = prefix.prefixLength;
  if (p.family === 4) return a2 === 0xffff && a1 === 0 && a0 === 0 && ((p.a3 ^ a3) & maskWord(length)) === 0;
  return (
    ((p.a0 ^ a0) & wordMask(length, 0)) === 0 &&
    ((p.a1 ^ a1) & wordMask(length, 1)) === 0 &&
    ((p.a2 ^ a2) & wordMask(length, 2)) === 0 &&
    ((p.a3 ^ a3) & wordMask(length, 3)) === 0
  );
}

function wordMask(length: number, word: number): number {
  return maskWord(Math.min(32, Math.max(0, length - word * 32)));
}

function hash(vrf: number, a0: number, a1: number, a2: number, a3: number): number {
  if (a2 === 0xffff && (a0 | a1) === 0) return hash4(vrf, a3);
  const h = Math.imul(a0 ^ (vrf + 1), 0x9e3779b1) ^ Math.imul(a1 ^ a2, 0x85ebca6b) ^ Math.imul(a3, 0xc2b2ae35);
  return h ^ (h >>> 15);
}

function hash4(vrf: number, address: number): number {
  const h = Math.imul(address ^ (vrf << 7), 0x9e3779b1);
  return h ^ (h >>> 15);
}
