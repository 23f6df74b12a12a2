/** The network of this namespace as the kernel has it, and single changes to it. */
import type { Addr, Family } from '../lib/addr.ts';
import { loadNative } from '../native/index.ts';
import { familyNumber, type NetlinkWriter, NlFlag, Rta, Rtm } from '../wire/netlink.ts';
import { decodeAddress, type HostAddress } from './netlink/address.ts';
import { decodeLink, type Link, type LinkChange, writeLink, writeNewLink } from './netlink/link.ts';
import { decodePermanent, type HostNeighbour } from './netlink/neighbour.ts';
import { decodeRoute, type HostRoute } from './netlink/route.ts';
import { decodeRule, type HostRule, writeRule } from './netlink/rule.ts';
import { KernelRefusal, NetlinkFamily, NetlinkSocket } from './netlink/socket.ts';

const FAMILIES: readonly Family[] = [4, 6];
/** Octets of the fixed part of questions about links, addresses, routes, neighbours and rules. */
const Fixed = { Link: 16, Address: 8, Route: 12, Neighbour: 12, Rule: 12 } as const;
const SOL_NETLINK = 270;
const STRICT_CHECK = 12;

/** Which routes; what is not said is any. */
export interface RouteFilter {
  readonly family?: Family;
  readonly table?: number;
  readonly oif?: number;
  readonly protocol?: number;
}

export class Host {
  readonly #route: NetlinkSocket;

  private constructor(route: NetlinkSocket) {
    this.#route = route;
  }

  /** @throws KernelRefusal */
  static open(): Host {
    const route = NetlinkSocket.open(NetlinkFamily.Route);
    // Dumps of routes are filtered by the kernel then (Linux 4.20); older ones tell all, which is filtered here.
    loadNative().setOption(route.fd, SOL_NETLINK, STRICT_CHECK, 1);
    return new Host(route);
  }

  close(): void {
    this.#route.close();
  }

  links(): Link[] {
    return this.#dump(Rtm.GetLink, (w) => w.bytes(new Uint8Array(Fixed.Link)), decodeLink);
  }

  /** undefined when there is no such interface. */
  link(name: string): Link | undefined {
    try {
      const [answer] = this.#route.request(Rtm.GetLink, 0, (w) => writeLink(w, 0, name));
      return answer && decodeLink(answer);
    } catch (e) {
      if (isRefusal(e, 'ENODEV')) return undefined;
      throw e;
    }
  }

  addresses(): HostAddress[] {
    return this.#dump(Rtm.GetAddr, (w) => w.bytes(new Uint8Array(Fixed.Address)), decodeAddress);
  }

  /** Entries made by hand. */
  neighbours(): HostNeighbour[] {
    return this.#dump(Rtm.GetNeigh, (w) => w.bytes(new Uint8Array(Fixed.Neighbour)), decodePermanent);
  }

  rules(): HostRule[] {
    return FAMILIES.flatMap((family) =>
      this.#dump(Rtm.GetRule, (w) => w.u8(familyNumber(family)).bytes(new Uint8Array(Fixed.Rule - 1)), decodeRule),
    );
  }

  routes(filter: RouteFilter): HostRoute[] {
    const { table, oif, protocol } = filter;
    return (filter.family === undefined ? FAMILIES : [filter.family]).flatMap((family) =>
      this.#routesOf(family, filter).filter(
        (r) =>
          (table === undefined || r.table === table) &&
          (protocol === undefined || r.protocol === protocol) &&
          (oif === undefined || r.hops.some((h) => h.ifindex === oif)),
      ),
    );
  }

  /**
   * The route a packet would take. @param way interface it is bound to (0 = none), its source and its mark (0 = none)
   * @returns undefined when there is none
   */
  routeTo(
    to: Addr,
    way: { readonly oif: number; readonly source: Addr | undefined; readonly mark: number },
  ): HostRoute | undefined {
    const source = way.source?.family === to.family ? way.source : undefined;
    const bits = to.family === 4 ? 32 : 128;
    try {
      const [answer] = this.#route.request(Rtm.GetRoute, 0, (w) => {
        w.u8(familyNumber(to.family))
          .u8(bits)
          .u8(source === undefined ? 0 : bits);
        w.bytes(new Uint8Array(Fixed.Route - 3)).attribute(Rta.Dst, to.toBytes());
        if (source !== undefined) w.attribute(Rta.Src, source.toBytes());
        if (way.oif !== 0) w.attributeU32(Rta.Oif, way.oif);
        if (way.mark !== 0) w.attributeU32(Rta.Mark, way.mark);
      });
      return answer && decodeRoute(answer);
    } catch (e) {
      if (isRefusal(e, 'ENETUNREACH', 'EHOSTUNREACH', 'EACCES', 'EINVAL')) return undefined;
      throw e;
    }
  }

  #routesOf(family: Family, { table, oif, protocol }: RouteFilter): HostRoute[] {
    const question = (w: NetlinkWriter): void => {
      w.u8(familyNumber(family)).u8(0).u8(0).u8(0).u8(0);
      w.u8(protocol ?? 0).bytes(new Uint8Array(Fixed.Route - 6));
      if (table !== undefined) w.attributeU32(Rta.Table, table);
      if (oif !== undefined) w.attributeU32(Rta.Oif, oif);
    };
    try {
      return this.#dump(Rtm.GetRoute, question, decodeRoute);
    } catch (e) {
      // A table without routes is none.
      if (isRefusal(e, 'ENOENT')) return [];
      throw e;
    }
  }

  /** @throws KernelRefusal */
  addLink(name: string, kind: Parameters<typeof writeNewLink>[2], isUp = true): void {
    this.send(Rtm.NewLink, NlFlag.Create | NlFlag.Exclusive, (w) => writeNewLink(w, name, kind, isUp));
  }

  /** @throws KernelRefusal */
  changeLink(link: Pick<Link, 'index' | 'name'>, change: LinkChange): void {
    this.send(Rtm.NewLink, 0, (w) => writeLink(w, link.index, link.name, change));
  }

  /** @throws KernelRefusal */
  removeLink(link: Pick<Link, 'index' | 'name'>): void {
    this.send(Rtm.DelLink, 0, (w) => writeLink(w, link.index, link.name));
  }

  /** @throws KernelRefusal */
  addRule(rule: HostRule): void {
    this.send(Rtm.NewRule, NlFlag.Create | NlFlag.Exclusive, (w) => writeRule(w, rule));
  }

  /** @throws KernelRefusal */
  removeRule(rule: HostRule): void {
    this.send(Rtm.DelRule, 0, (w) => writeRule(w, rule));
  }

  /** One change, acknowledged. @throws KernelRefusal */
  send(type: number, flags: number, fill: (w: NetlinkWriter) => void): void {
    this.#route.request(type, flags, fill);
  }

  #dump<T>(type: number, fill: (w: NetlinkWriter) => unknown, decode: (m: Uint8Array) => T | undefined): T[] {
    return this.#route.dump(type, (w) => void fill(w)).flatMap((m) => decode(m) ?? []);
  }
}

export function isRefusal(e: unknown, ...errnoNames: readonly string[]): e is KernelRefusal {
  return e instanceof KernelRefusal && errnoNames.includes(e.errnoName);
}
