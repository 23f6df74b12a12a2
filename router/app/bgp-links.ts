/** The uplinks of one VRF as its speaker sees them: which are up, our addresses on them, and the way to a next hop. */
import type { LinkId, NextHopResolver, Via } from '../../bgp/speaker.ts';
import { vrfOfLink } from '../../bgp/vpn/vrf-peers.ts';
import { type NextHop, RouteSource } from '../fib/shared.ts';
import type { FibWriter } from '../fib/writer.ts';
import { type Addr, type Family, Prefix } from '../lib/addr.ts';
import { BY_ROUTING, isRouted } from './bgp-peers.ts';
import type { RoutingLink } from './routing-protocol.ts';
import { turns } from './turns.ts';

/** How long changes of the table gather before next hops are looked up in it again. */
const RELOOKUP_MS = 100;

export class BgpLinks implements NextHopResolver {
  readonly vrf: number;
  #links: readonly RoutingLink[];
  readonly #fib: FibWriter;
  readonly #sourceTo: (dst: Addr) => Addr | undefined;
  readonly #up = new Set<string>();
  readonly #listeners: ((link: LinkId, isUp: boolean) => void)[] = [];
  #relookup: NodeJS.Timeout | undefined;
  /** Whether the speaker's route to a prefix was itself found in the table; set by whoever makes the speaker. */
  isRecursive: (prefix: Prefix) => boolean = () => true;
  /** Called when links have other numbers, before anything is decided by them; set likewise. */
  onRenumbered: () => void = () => undefined;

  /**
   * @param all links of all VRFs
   * @param sourceTo the source address our packets to a destination carry
   */
  constructor(vrf: number, all: readonly RoutingLink[], fib: FibWriter, sourceTo: (dst: Addr) => Addr | undefined) {
    this.vrf = vrf;
    this.#links = all.filter((l) => l.vrf === vrf);
    this.#fib = fib;
    this.#sourceTo = sourceTo;
  }

  /** Other links from now on; those that are gone are down, and one with another number was gone in between. */
  setLinks(all: readonly RoutingLink[]): void {
    const next = all.filter((l) => l.vrf === this.vrf);
    const gone = this.#links.filter(({ name, index }) => !next.some((l) => l.name === name && l.index === index));
    this.#links = this.#links.filter((l) => !gone.includes(l));
    this.onRenumbered();
    for (const { name } of gone) {
      this.#up.delete(name);
      this.#announce(name, false);
    }
    this.#links = next;
  }

  has(name: string): boolean {
    return this.#links.some((l) => l.name === name);
  }

  /** The interface index of an uplink. */
  indexOf(name: string): number | undefined {
    return this.#links.find((l) => l.name === name)?.index;
  }

  linkState(name: string, up: boolean): void {
    if (!this.has(name)) return;
    if (up) this.#up.add(name);
    else this.#up.delete(name);
    this.#announce(name, up);
  }

  /** The table changed: next hops that are found in it are looked up again, for all changes of a while at once. */
  tableChanged(): void {
    this.#relookup ??= setTimeout(() => {
      this.#relookup = undefined;
      turns.begin();
      this.#announce(BY_ROUTING, true);
    }, RELOOKUP_MS).unref();
  }

  stop(): void {
    clearTimeout(this.#relookup);
  }

  isUp(link: LinkId): boolean {
    return isRouted(link) || vrfOfLink(link) !== undefined || this.#up.has(String(link));
  }

  isGone(link: LinkId): boolean {
    return !isRouted(link) && vrfOfLink(link) === undefined && !this.has(String(link));
  }

  subscribe(listener: (link: LinkId, isUp: boolean) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Next hops are found in the table by the longest route that does not depend on such a search itself: one level, so that
   * routes never hold each other up. What an internal peer names is on its uplink where no route but the default one says
   * otherwise: a tunnel needs no connected prefix.
   */
  resolve(address: Addr, link: LinkId, isElsewhere: boolean): Via | undefined {
    // What another VRF exports is found by its table, packet by packet.
    if (vrfOfLink(link) !== undefined) return { address, link, cost: 0 };
    const direct = isRouted(link) ? undefined : { address, link, cost: 0 };
    if (direct !== undefined && !(isElsewhere && this.has(String(link)))) return direct;
    if (address.isLinkLocal && address.family === 6) return direct; // without a session's link: of one we do not know
    for (const route of this.#fib.coveringRoutes(this.vrf, address)) {
      const isBgp = route.source === RouteSource.Ebgp || route.source === RouteSource.Ibgp;
      if (isBgp && this.isRecursive(route.prefix)) continue;
      if (direct !== undefined && route.prefix.length === 0) break;
      return this.#through(route.nextHops, address) ?? direct;
    }
    return direct;
  }

  /** By all next hops of a route whose links are up. */
  #through(hops: readonly NextHop[], address: Addr): Via | undefined {
    const group = hops.flatMap(({ link, gateway, weight }) => {
      const via = this.#links.find((l) => l.index === link);
      if (via === undefined || !this.#up.has(via.name)) return [];
      return [{ address: gateway ?? address, link: via.name, ...(weight !== undefined && { weight }) }];
    });
    const [first] = group;
    if (first === undefined) return undefined;
    return { address: first.address, link: first.link, cost: 1, ...(group.length > 1 && { group }) };
  }

  /** Our end towards a neighbour: of its scope and family, on its link. */
  localOn(link: LinkId, remote: Addr): Addr | undefined {
    if (link === BY_ROUTING) return this.#sourceTo(remote);
    return remote.isLinkLocal && remote.family === 6
      ? this.#addresses(link).find((a) => a.isLinkLocal && a.family === 6)
      : this.addressOn(link, remote.family);
  }

  /** Our address of a family on a link, or on any where the link is none. */
  addressOn(link: LinkId, family: Family): Addr | undefined {
    return this.#addresses(link).find((a) => a.family === family && !(family === 6 && a.isLinkLocal));
  }

  #addresses(link: LinkId): Addr[] {
    const links = this.#links.filter((l) => isRouted(link) || l.name === link);
    return links.flatMap((l) => l.addresses).map((t) => Prefix.parseLoose(t)!.addr);
  }

  #announce(name: LinkId, up: boolean): void {
    for (const listener of this.#listeners) listener(name, up);
  }
}
