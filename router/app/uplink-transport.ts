/** Streams to peers behind the uplinks of one VRF: over our own stack, or, where the host's kernel carries the uplinks, over its sockets. */
import type { LinkId } from '../../bgp/ports.ts';
import { Addr } from '../lib/addr.ts';
import { StackTransport, type StreamPort } from './bgp-transport.ts';
import type { HostEndpoint } from './host-listener.ts';
import { KernelTransport } from './kernel-transport.ts';
import type { RoutingLink } from './routing-protocol.ts';

export type UplinkTransport = StackTransport | KernelTransport;

export interface UplinkTransportOptions {
  readonly vrf: number;
  readonly links: readonly RoutingLink[];
  readonly listenPort: number;
  /** Streams of our stack in the VRF. */
  readonly port: StreamPort;
  /** Our address on a link, for next hop self. */
  readonly localOn: (link: LinkId, remote: Addr) => Addr | undefined;
  readonly onError: (endpoint: HostEndpoint, why: string) => void;
}

const ANY = Addr.parse('::')!;

/** The kernel carries all uplinks of a router, or none. */
export function uplinkTransport(o: UplinkTransportOptions): UplinkTransport {
  if (!o.links.some((l) => l.host !== undefined)) return new StackTransport(o.port, o.listenPort, o.localOn);
  const ways = new HostWays(o.vrf, o.links);
  return new KernelTransport({ listen: ways.endpoints(o.listenPort), links: ways, onError: o.onError });
}

/** Other links, and another port to listen on, from now on; connections that stand go on. @param port undefined = none */
export function setUplinks(
  transport: UplinkTransport,
  vrf: number,
  links: readonly RoutingLink[],
  port: number | undefined,
): void {
  if (transport instanceof KernelTransport) {
    const ways = new HostWays(vrf, links);
    transport.setLinks(ways, port === undefined ? [] : ways.endpoints(port));
  } else transport.setListenPort(port);
}

/** Uplinks by their names, with what sockets are bound to. */
class HostWays {
  readonly #links: readonly RoutingLink[];

  constructor(vrf: number, links: readonly RoutingLink[]) {
    this.#links = links.filter((l) => l.vrf === vrf && l.host !== undefined);
  }

  /** A listener per uplink: one that is bound to no device is not reached through VRFs. */
  endpoints(port: number): HostEndpoint[] {
    return this.#links.map(({ name, host }) => ({ address: ANY, port, link: name, device: host!.device }));
  }

  linkOf(zone: string | undefined): LinkId {
    return this.#links.find((l) => l.host!.interface === zone)?.name ?? '';
  }

  zoneOf(link: LinkId): string | undefined {
    return this.#links.find((l) => l.name === link)?.host?.interface;
  }

  deviceOf(link: LinkId): string | undefined {
    return this.#links.find((l) => l.name === link)?.host?.device;
  }
}
