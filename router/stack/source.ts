/**
 * Which of our addresses a packet that names none is sent from: RFC 6724 §5 reduced to what point-to-point links need
 * (same address, matching scope, an address on the destination's own prefix, the node's preferred address, the outgoing
 * link's address). The chosen words are left in fields, so that the choice allocates nothing.
 */
import type { Addr } from '../lib/addr.ts';
import { isLinkLocal6, type Links, onLink, type StackLink } from './links.ts';
import type { LinkAddress } from './port.ts';

export class SourceSelector {
  readonly #links: Links;
  /** The node's preferred sources for locally originated flows; used in VRFs where they are ours. */
  preferred4: Addr | undefined;
  preferred6: Addr | undefined;
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;

  constructor(links: Links) {
    this.#links = links;
  }

  /** Choose a source towards `d` leaving by `out`. @returns false when we have no suitable address */
  select(out: StackLink, d0: number, d1: number, d2: number, d3: number): boolean {
    const isV4 = d0 === 0 && d1 === 0 && d2 === 0xffff;
    // RFC 6724 §5 rule 1: prefer the same address.
    if (out.isLoopback && (this.#links.local(out.vrf, 0, d0, d1, d2, d3) !== 0 || (isV4 && d3 >>> 24 === 127)))
      return this.take(d0, d1, d2, d3);
    if (isV4) return this.#select4(out, d3);
    // Rule 2: prefer appropriate scope. Link-local and link-local multicast destinations get a link-local source.
    if (isLinkLocal6(d0) || (d0 & 0xff0f0000) === (0xff020000 | 0))
      return this.#first(out.local6) || this.#first(out.global6);
    for (const a of out.global6) if (a.prefixLength < 128 && onLink(a, d0, d1, d2, d3)) return this.#addr(a.addr);
    return this.#preferred(out.vrf, this.preferred6) || this.#first(out.global6) || this.#anyGlobal6(out.vrf);
  }

  /** The address that names us on `link` in ICMP errors: of the link itself, then as for our own packets (RFC 1812 §4.3.2.4). */
  selectForError(link: StackLink, isV4: boolean, toLinkLocal: boolean): boolean {
    if (isV4) return this.#first(link.v4) || this.#preferred(link.vrf, this.preferred4) || this.#any4(link.vrf);
    if (toLinkLocal) return this.#first(link.local6) || this.#first(link.global6);
    return this.#first(link.global6) || this.#preferred(link.vrf, this.preferred6) || this.#anyGlobal6(link.vrf);
  }

  /** Choose a source in a VRF for packets that leave by another one. @returns false when it has no suitable address */
  selectElsewhere(vrf: number, isV4: boolean): boolean {
    return isV4
      ? this.#preferred(vrf, this.preferred4) || this.#any4(vrf)
      : this.#preferred(vrf, this.preferred6) || this.#anyGlobal6(vrf);
  }

  #select4(out: StackLink, dst: number): boolean {
    for (const a of out.v4) if (a.prefixLength < 32 && onLink(a, 0, 0, 0xffff, dst)) return this.#addr(a.addr);
    return this.#preferred(out.vrf, this.preferred4) || this.#first(out.v4) || this.#any4(out.vrf);
  }

  #preferred(vrf: number, a: Addr | undefined): boolean {
    return a !== undefined && this.#links.local(vrf, 0, a.a0, a.a1, a.a2, a.a3) !== 0 && this.#addr(a);
  }

  #first(list: readonly LinkAddress[]): boolean {
    return list.length > 0 && this.#addr(list[0]!.addr);
  }

  /** Some address of the VRF: a tunnel without IPv4 of its own still carries IPv4 (RFC 8950 next hops). */
  #any4(vrf: number): boolean {
    for (const l of this.#links.all())
      if (l.vrf === vrf) for (const a of l.v4) if (!a.addr.isLoopback) return this.#addr(a.addr);
    return false;
  }

  #anyGlobal6(vrf: number): boolean {
    for (const l of this.#links.all())
      if (l.vrf === vrf) for (const a of l.global6) if (!a.addr.isLoopback) return this.#addr(a.addr);
    return false;
  }

  #addr(a: Addr): boolean {
    return this.take(a.a0, a.a1, a.a2, a.a3);
  }

  /** Use these words as the choice. */
  take(a0: number, a1: number, a2: number, a3: number): boolean {
    this.s0 = a0;
    this.s1 = a1;
    this.s2 = a2;
    this.s3 = a3;
    return true;
  }
}
