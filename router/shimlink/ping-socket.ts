/**
 * A ping socket of an app (SOCK_DGRAM with IPPROTO_ICMP or IPPROTO_ICMPV6): echo requests out, their replies in. Raw
 * ICMP sockets that only ping are served the same way by the shim. The identifier takes the place of a port.
 */

import type { PingEndpoint } from '../stack/ping.ts';
import type { DatagramInfo, DatagramOwner, DatagramSpec } from '../stack/port.ts';
import type { Call } from './call.ts';
import { DatagramSocket } from './datagram.ts';
import type { Hub } from './hub.ts';
import { Option } from './option-table.ts';
import { OptionStore } from './options.ts';
import { AF_UNSPEC, E, IPPROTO_ICMP, IPPROTO_ICMPV6, MLS_LANE_STACK } from './proto.ts';
import { SockAddr } from './sockaddr.ts';

export class PingSocket extends DatagramSocket implements DatagramOwner<PingEndpoint> {
  override readonly protocol: number;
  #endpoint: PingEndpoint;
  readonly #to = new SockAddr();

  constructor(hub: Hub, family: number, id: number, pid: number, options = new OptionStore(family, false)) {
    super(hub, family, id, pid, options);
    this.protocol = this.isV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    this.#endpoint = hub.stack.ping.open(this.vrf, !this.isV6, this);
  }

  override get isConnected(): boolean {
    return this.#endpoint.isConnected;
  }

  override connect(call: Call, to: SockAddr): number {
    if (to.family === AF_UNSPEC) {
      this.#endpoint.disconnect();
      this.#endpoint.device = this.device;
      this.chosenLink = 0;
      return 0;
    }
    if (this.isDirect(to)) return this.goDirect(call);
    if (this.isV6 && to.isV4) return -E.EINVAL;
    const link = this.chooseLink(to);
    if (link < 0) return link;
    const way = this.hub.policy?.hostWayOf(link);
    if (way !== undefined) return this.goByHost(call, link, way, to);
    this.chosenLink = link;
    if (this.device === 0) this.#endpoint.device = link;
    const scope = to.isLinkLocal ? to.scope || this.device : 0;
    const failed = this.#endpoint.connect(to.a0, to.a1, to.a2, to.a3, scope);
    if (failed !== 0) return -failed;
    this.remote.copy(to);
    this.local.port = this.#endpoint.id;
    return 0;
  }

  /** The first datagram of a socket that nobody bound: a host uplink takes the whole socket, whose pings go to one place. */
  lane(call: Call, to: SockAddr): number {
    if (this.isDirect(to)) return this.goDirect(call);
    if (this.isV6 && to.isV4) return MLS_LANE_STACK;
    const link = this.chooseLink(to);
    if (link < 0) return link;
    const way = this.hub.policy?.hostWayOf(link);
    return way === undefined ? MLS_LANE_STACK : this.goByHost(call, link, way, to);
  }

  override bind(call: Call, at: SockAddr): number {
    if (!this.hub.hasLoopback && at.family !== AF_UNSPEC && at.isLoopback) return this.goDirect(call);
    const byHost = this.bindByHost(call, at);
    if (byHost !== undefined) return byHost;
    const failed = this.checkBind(at);
    if (failed !== 0) return -failed;
    const scope = at.isLinkLocal ? at.scope || this.device : 0;
    const taken = this.#endpoint.bind(!at.isWildcard, at.a0, at.a1, at.a2, at.a3, scope, at.port);
    if (taken !== 0) return -taken;
    this.local.copy(at);
    this.local.port = this.#endpoint.id;
    return 0;
  }

  override getSockName(call: Call): number {
    this.local.port = this.#endpoint.id;
    return super.getSockName(call);
  }

  protected override optionChanged(): void {
    const e = this.#endpoint;
    e.device = this.device;
    e.ttl = this.options.number(this.isV6 ? Option.V6UnicastHops : Option.IpTtl);
    e.tos = this.options.number(this.isV6 ? Option.V6TrafficClass : Option.IpTos);
  }

  protected override sendDatagram(spec: DatagramSpec, at: number, length: number): number {
    if (spec.hasRemote) {
      const to = this.#to.set(this.family, spec.r0, spec.r1, spec.r2, spec.r3, 0, spec.scope);
      const refused = this.chooseWay(spec, to);
      if (refused !== 0) return refused;
      // Only a whole socket can change over, and this one has other pings under way.
      if (this.hub.policy?.hostWayOf(spec.link) !== undefined) return E.ENETUNREACH;
    }
    return this.#endpoint.send(spec, at, length);
  }

  /** An identifier that was claimed already belongs to the VRF it was claimed in. */
  protected override enterVrf(vrf: number): boolean {
    if (this.#endpoint.id !== 0) return false;
    this.#endpoint.close();
    this.vrf = vrf;
    this.#endpoint = this.hub.stack.ping.open(vrf, !this.isV6, this);
    this.optionChanged();
    return true;
  }

  deliver(_e: PingEndpoint, info: DatagramInfo, at: number, length: number): void {
    this.pass(info, info.r0, info.r1, info.r2, info.r3, 0, at, length, 0);
  }

  error(_e: PingEndpoint, errno: number, info: DatagramInfo): void {
    this.tellError(errno, info.r0, info.r1, info.r2, info.r3, 0);
  }

  protected override closeEndpoint(): void {
    this.#endpoint.close();
  }
}
