/**
 * A UDP socket of an app: its endpoint in the stack, redirected name servers, and what a socket that is not bound to one
 * address reaches through kernel sockets of the router (kernel-relay.ts): the host's loopback, and host uplinks.
 */
import type { HostWay } from '../lib/host-way.ts';
import { DatagramInfo, type DatagramOwner, type DatagramSpec } from '../stack/port.ts';
import type { UdpEndpoint } from '../stack/udp-endpoint.ts';
import type { Call } from './call.ts';
import { DatagramSocket } from './datagram.ts';
import { DNS_PORT, type Hub } from './hub.ts';
import { KernelRelay, type RelayOwner } from './kernel-relay.ts';
import { Option, optionKey } from './option-table.ts';
import { OptionStore } from './options.ts';
import { AF_INET, AF_INET6, AF_UNSPEC, E, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP } from './proto.ts';
import { SockAddr } from './sockaddr.ts';

const IP_RECVERR = optionKey(IPPROTO_IP, 11);
/** What a kernel socket says whose interface or address is no longer there. */
const WAY_IS_GONE: readonly number[] = [E.ENODEV, E.EINVAL, E.ENETUNREACH, E.ENETDOWN, E.EADDRNOTAVAIL];
const IPV6_RECVERR = optionKey(IPPROTO_IPV6, 25);

export class UdpSocket extends DatagramSocket implements DatagramOwner<UdpEndpoint>, RelayOwner {
  override readonly protocol = IPPROTO_UDP;
  #endpoint: UdpEndpoint;
  #relay4: KernelRelay | undefined;
  #relay6: KernelRelay | undefined;
  /** The host's name server that the app is connected to: the forwarder answers in its name. */
  #asked: SockAddr | undefined;
  readonly #to = new SockAddr();
  /** bind() named a port. */
  #hasBoundPort = false;
  /** What is told of answers of the forwarder: they came by the loopback. */
  readonly #forwarded = Object.assign(new DatagramInfo(), { link: 1, ttl: 64 });
  /** Relays through host uplinks: by link, IPv6 destinations apart. */
  #uplinkRelays: Map<number, KernelRelay> | undefined;
  /** The relay of a socket that is connected through a host uplink and could not become the kernel's. */
  #connectedRelay: KernelRelay | undefined;

  constructor(hub: Hub, family: number, id: number, pid: number, options = new OptionStore(family, false)) {
    super(hub, family, id, pid, options);
    this.#endpoint = this.#open();
  }

  #open(): UdpEndpoint {
    const endpoint = this.hub.stack.udp.open(this.vrf, this.isV6 ? 6 : 4, this);
    endpoint.binding.uid = this.hub.uid;
    return endpoint;
  }

  /** A port that was claimed already belongs to the VRF it was claimed in. */
  protected override enterVrf(vrf: number): boolean {
    if (this.#endpoint.binding.port !== 0) return false;
    this.#endpoint.close();
    this.vrf = vrf;
    this.#endpoint = this.#open();
    this.optionChanged();
    return true;
  }

  override get isConnected(): boolean {
    return this.#endpoint.isConnected || this.#connectedRelay !== undefined || this.#asked !== undefined;
  }

  // ---- Requests

  override connect(call: Call, to: SockAddr): number {
    if (to.family === AF_UNSPEC) {
      this.#endpoint.disconnect();
      this.#endpoint.setDevice(this.device);
      this.chosenLink = 0;
      this.#asked = undefined;
      this.#dropConnectedRelay();
      this.#nameFromEndpoint();
      return 0;
    }
    if (this.hub.redirect(to)) return this.#connectToForwarder(to);
    if (this.isDirect(to)) return this.goDirect(call);
    const link = this.chooseLink(to);
    if (link < 0) return link;
    const way = this.hub.policy?.hostWayOf(link);
    if (way !== undefined) return this.#connectByHost(call, link, way, to);
    const e = this.#endpoint;
    this.#prepare();
    this.#dropConnectedRelay();
    this.chosenLink = link;
    if (this.device === 0) e.setDevice(link);
    const scope = to.isLinkLocal ? to.scope || this.device : 0;
    const failed = e.connect(to.a0, to.a1, to.a2, to.a3, scope, to.port);
    if (failed !== 0) return -failed;
    this.#asked = undefined;
    this.remote.copy(to);
    if (to.isWildcard) this.remote.set(this.family, e.binding.r0, e.binding.r1, e.binding.r2, e.binding.r3, to.port, 0);
    this.remote.family = this.family;
    this.#nameFromEndpoint();
    return 0;
  }

  /** No packet goes there: the port is for getsockname() alone. */
  #connectToForwarder(to: SockAddr): number {
    const e = this.#endpoint;
    this.#prepare();
    this.#dropConnectedRelay();
    e.disconnect();
    const any = this.local;
    const failed = e.binding.port === 0 ? e.bind(any.a0, any.a1, any.a2, any.a3, 0, 0) : 0;
    if (failed !== 0) return -failed;
    this.#asked = new SockAddr().copy(to);
    this.remote.copy(to);
    this.remote.family = this.family;
    this.#nameFromEndpoint();
    return 0;
  }

  /**
   * A socket that nobody has bound or sent by becomes the kernel's; another one keeps what it has, and is relayed. So is one that
   * speaks DNS while rules name domains: what its answers say has to pass through here.
   */
  #connectByHost(call: Call, link: number, way: HostWay, to: SockAddr): number {
    const isUntouched = this.#endpoint.binding.port === 0 && this.#uplinkRelays === undefined;
    const isHeard = to.port === DNS_PORT && this.hub.policy?.hasDomains === true;
    this.#asked = undefined;
    if (isUntouched && !isHeard) return this.goByHost(call, link, way, to);
    this.#dropConnectedRelay();
    this.#endpoint.disconnect();
    const relay = this.#openUplinkRelay(link, way, to);
    if (typeof relay === 'number') return -relay;
    const failed = relay.connect(to);
    if (failed !== 0) {
      relay.close();
      return -failed;
    }
    this.#connectedRelay = relay;
    this.chosenLink = link;
    this.remote.copy(to);
    this.remote.family = this.family;
    return 0;
  }

  #dropConnectedRelay(): void {
    this.#connectedRelay?.close();
    this.#connectedRelay = undefined;
  }

  #openUplinkRelay(link: number, way: HostWay, to: SockAddr): KernelRelay | number {
    const o = this.options;
    const keys = to.isV4 ? [Option.IpTtl, Option.IpTos] : [Option.V6UnicastHops, Option.V6TrafficClass];
    const shown = [Option.ReuseAddr, Option.ReusePort, Option.Broadcast, Option.RcvBuf, Option.SndBuf, ...keys];
    const options = shown.filter((key) => o.isSet(key)).map((key) => [key >> 16, key & 0xffff, o.number(key)] as const);
    const { binding } = this.#endpoint;
    // An app that bound a port is reached there through each uplink; the port of one that did not is the kernel's choice.
    const local = this.#hasBoundPort
      ? new SockAddr().set(this.family, 0, 0, to.isV4 ? 0xffff : 0, 0, binding.port, 0)
      : undefined;
    return KernelRelay.toUplink(this.hub, this, link, way, to, local, options);
  }

  override bind(call: Call, at: SockAddr): number {
    if (this.#endpoint.binding.port !== 0) return -E.EINVAL;
    if (!this.hub.hasLoopback && at.family !== AF_UNSPEC && at.isLoopback) return this.goDirect(call);
    const byHost = this.bindByHost(call, at);
    if (byHost !== undefined) return byHost;
    const failed = this.checkBind(at);
    if (failed !== 0) return -failed;
    this.#prepare();
    const scope = at.isLinkLocal ? at.scope || this.device : 0;
    const taken = this.#endpoint.bind(at.a0, at.a1, at.a2, at.a3, scope, at.port);
    if (taken !== 0) return -taken;
    this.#nameFromEndpoint();
    this.hasLocalAddress = !at.isWildcard;
    this.#hasBoundPort = at.port !== 0;
    // Whoever sends to this port on the host's loopback is to reach the app as well.
    if (at.isWildcard && at.port !== 0 && !this.hub.hasLoopback) {
      const isDual = this.isV6 && this.options.number(Option.V6Only) === 0;
      if (!this.isV6 || isDual) this.#relay4 = KernelRelay.open(this.hub, this, AF_INET, this.local.port);
      if (this.isV6) this.#relay6 = KernelRelay.open(this.hub, this, AF_INET6, this.local.port);
    }
    return 0;
  }

  override getSockName(call: Call): number {
    this.#nameFromEndpoint();
    return super.getSockName(call);
  }

  #nameFromEndpoint(): void {
    const b = this.#endpoint.binding;
    this.local.set(this.family, b.l0, b.l1, b.l2, b.l3, b.port, b.device);
    if (!this.local.isLinkLocal) this.local.scope = 0;
  }

  /** Options that matter before a port is claimed. */
  #prepare(): void {
    const b = this.#endpoint.binding;
    if (b.port !== 0) return;
    b.device = this.device;
    b.v6only = this.options.number(Option.V6Only) !== 0;
    b.reuseAddr = this.options.number(Option.ReuseAddr) !== 0;
    b.reusePort = this.options.number(Option.ReusePort) !== 0;
  }

  protected override optionChanged(): void {
    const e = this.#endpoint;
    const o = this.options;
    const isV6Flow = this.isV6 && !e.binding.isV4;
    e.ttl = o.number(isV6Flow ? Option.V6UnicastHops : Option.IpTtl);
    e.tos = o.number(isV6Flow ? Option.V6TrafficClass : Option.IpTos);
    e.pathMtuMode = o.number(this.isV6 ? Option.V6MtuDiscover : Option.IpMtuDiscover);
    e.reportsAllErrors = o.number(IP_RECVERR) !== 0 || o.number(IPV6_RECVERR) !== 0;
    if (e.binding.port === 0) this.#prepare();
    else e.setDevice(this.device);
  }

  // ---- Datagrams

  protected override sendDatagram(spec: DatagramSpec, at: number, length: number): number {
    if (spec.hasRemote) {
      const to = this.#to.set(this.family, spec.r0, spec.r1, spec.r2, spec.r3, spec.remotePort, spec.scope);
      if (this.hub.redirect(to)) return this.#forward(to, at, length);
      if (this.isDirect(to)) return this.#sendToHost(to, at, length, spec.gsoSize);
      const refused = this.chooseWay(spec, to);
      if (refused !== 0) return refused;
      const way = this.hub.policy?.hostWayOf(spec.link);
      if (way !== undefined) return this.#sendToUplink(spec.link, way, to, at, length, spec.gsoSize);
    } else if (this.#asked !== undefined) return this.#forward(this.#asked, at, length);
    else if (this.#connectedRelay !== undefined)
      return this.#connectedRelay.send(this.remote, at, length, spec.gsoSize || this.options.number(Option.UdpSegment));
    if (spec.gsoSize === 0) spec.gsoSize = this.options.number(Option.UdpSegment);
    return this.#endpoint.send(spec, at, length);
  }

  /** A query for one of the host's name servers. */
  #forward(to: SockAddr, at: number, length: number): number {
    const asked = new SockAddr().copy(to);
    const { dns, world, relayAt } = this.hub;
    dns?.forward(this.pid, world.u8.slice(at, at + length), false, (answer) => {
      world.u8.set(answer, relayAt);
      const info = this.#forwarded;
      this.pass(info, asked.a0, asked.a1, asked.a2, asked.a3, asked.port, relayAt, answer.length, 0);
    });
    return 0;
  }

  #sendToUplink(link: number, way: HostWay, to: SockAddr, at: number, length: number, gsoSize: number): number {
    this.#uplinkRelays ??= new Map();
    const key = to.isV4 ? link : -link;
    let relay: KernelRelay | number | undefined = this.#uplinkRelays.get(key);
    if (relay === undefined) {
      relay = this.#openUplinkRelay(link, way, to);
      if (typeof relay === 'number') return relay;
      this.#uplinkRelays.set(key, relay);
    }
    const failed = relay.send(to, at, length, gsoSize || this.options.number(Option.UdpSegment));
    if (WAY_IS_GONE.includes(failed)) {
      // An interface that comes back is another one to the kernel, and so is its address.
      relay.close();
      this.#uplinkRelays.delete(key);
    }
    return failed;
  }

  /** A datagram for the host's loopback. */
  #sendToHost(to: SockAddr, at: number, length: number, gsoSize: number): number {
    const isV4 = to.isV4 || this.family === AF_INET;
    let relay = isV4 ? this.#relay4 : this.#relay6;
    if (relay === undefined) {
      relay = KernelRelay.open(this.hub, this, isV4 ? AF_INET : AF_INET6, 0);
      if (relay === undefined) return E.ENETUNREACH;
      if (isV4) this.#relay4 = relay;
      else this.#relay6 = relay;
    }
    return relay.send(to, at, length, gsoSize);
  }

  deliver(_e: UdpEndpoint, info: DatagramInfo, at: number, length: number, gsoSize: number): void {
    if (info.remotePort === DNS_PORT) this.hub.dns?.heard(at, length);
    this.pass(info, info.r0, info.r1, info.r2, info.r3, info.remotePort, at, length, gsoSize);
  }

  error(_e: UdpEndpoint, errno: number, info: DatagramInfo): void {
    this.tellError(errno, info.r0, info.r1, info.r2, info.r3, info.remotePort);
  }

  relayed(info: DatagramInfo, at: number, length: number): void {
    if (info.remotePort === DNS_PORT) this.hub.dns?.heard(at, length);
    this.pass(info, info.r0, info.r1, info.r2, info.r3, info.remotePort, at, length, 0);
  }

  relayFailed(errno: number): void {
    if (this.#connectedRelay === undefined) return; // Linux tells them to sockets that have a peer
    const r = this.remote;
    this.tellError(errno, r.a0, r.a1, r.a2, r.a3, r.port);
  }

  protected override closeEndpoint(): void {
    this.#endpoint.close();
    this.#relay4?.close();
    this.#relay6?.close();
    this.#relay4 = this.#relay6 = undefined;
    for (const relay of this.#uplinkRelays?.values() ?? []) relay.close();
    this.#uplinkRelays = undefined;
    this.#dropConnectedRelay();
  }
}
