/**
 * What every socket of an app has in common: identity, options, names, the pending error, binding to an address, and its
 * end. The kinds are stream.ts (TCP) and datagram.ts (UDP, ping). Runs in the data-plane worker, on requests of the shim.
 */
import type { HostWay } from '../lib/host-way.ts';
import { PortBinding, type PortTable } from '../stack/ports.ts';
import type { Call } from './call.ts';
import { openHostSocket } from './host-lane.ts';
import type { Hub } from './hub.ts';
import { IDLE_OPTIONS } from './idle-options.ts';
import { Option } from './option-table.ts';
import { type OptionStore, putInt } from './options.ts';
import { Pollable } from './poller.ts';
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  E,
  getHost32,
  IPPROTO_IP,
  MLS_LANE_ADMIT,
  MLS_LANE_DIRECT,
  putHost32,
} from './proto.ts';
import { SockAddr, writeSockAddr } from './sockaddr.ts';

const IP_FREEBIND = 15;
const IP_TRANSPARENT = 19;
/** Index of no link. */
const NO_LINK = -1;
/** ioctl(2) requests that a socket answers itself. */
const SIOCOUTQ = 0x5411;

export abstract class AppSocket extends Pollable {
  readonly hub: Hub;
  /** Half of its name; never reused while the router runs. */
  readonly id: number;
  /** AF_INET or AF_INET6. */
  readonly family: number;
  readonly options: OptionStore;
  /** Process that made it (or its listener). */
  readonly pid: number;
  vrf = 0;
  /** Router's end of the pair, -1 when closed. */
  fd = -1;
  /** Pending SO_ERROR. */
  pendingError = 0;
  /** Name of the socket; the port is 0 until it has one. */
  readonly local = new SockAddr();
  readonly remote = new SockAddr();
  /** bind() gave an address other than the wildcard. */
  hasLocalAddress = false;

  /** The link that rules chose for the flow of a socket with a peer, 0 = none. */
  chosenLink = 0;

  abstract readonly type: number;
  abstract readonly protocol: number;

  constructor(hub: Hub, family: number, id: number, pid: number, options: OptionStore) {
    super();
    this.hub = hub;
    this.family = family;
    this.id = id;
    this.pid = pid;
    this.options = options;
    this.local.set(family, 0, 0, family === AF_INET ? 0xffff : 0, 0, 0, 0);
  }

  get isV6(): boolean {
    return this.family === AF_INET6;
  }

  /** Link that SO_BINDTODEVICE or SO_BINDTOIFINDEX chose, 0 = any; NO_LINK when it is gone, so that nothing leaves elsewhere. */
  get device(): number {
    const name = this.options.bytes(Option.BindToDevice);
    if (name !== undefined && name.length > 0) return this.#linkNamed(String.fromCharCode(...name)) ?? NO_LINK;
    return this.options.number(Option.BindToIfIndex);
  }

  /** A link of the stack's, or a host uplink by its interface. */
  #linkNamed(name: string): number | undefined {
    return this.hub.linkByName(name) ?? (this.hub.policy?.hostLinkOfDevice(name) || undefined);
  }

  /**
   * The link that rules choose for a new flow to `to`, 0 = the routing table decides, or a negative errno: the flow may not
   * begin. What the app has chosen itself (a device, a link-local name) is not asked about; a device of the host is the answer.
   */
  protected chooseLink(to: SockAddr, kept = 0): number {
    const { policy } = this.hub;
    if (policy === undefined || to.isLinkLocal || to.isMulticast) return 0;
    const { device } = this;
    if (device !== 0) return policy.hostWayOf(device) === undefined ? 0 : device;
    const from = this.hasLocalAddress ? this.local : undefined;
    const refused = policy.choose(this.pid, this.id, this.protocol, to, from, kept);
    if (refused !== 0) return -refused;
    if (policy.vrf !== this.vrf && !this.enterVrf(policy.vrf)) return -E.EADDRNOTAVAIL;
    return policy.link;
  }

  /** The link that rules chose carries nothing any more: tell the app, so that it connects again. */
  abstract abandon(): void;

  /** Belong to another VRF from now on. @returns false when that is no longer possible */
  protected abstract enterVrf(vrf: number): boolean;

  // ---- Requests of the shim: each returns >= 0, -errno or MLS_LANE_DIRECT

  abstract connect(call: Call, to: SockAddr): number;
  abstract bind(call: Call, at: SockAddr): number;
  abstract listen(call: Call, backlog: number): number;
  abstract shutdown(how: number): number;
  /** Has a peer that getpeername names. */
  abstract get isConnected(): boolean;
  /** Answer a live option to `at`: its length, -errno, or undefined when the stored value is the answer. */
  protected abstract liveOption(key: number, at: number, room: number): number | undefined;
  /** An option was stored: let it take effect where the stack can. */
  protected abstract optionChanged(key: number): void;

  getSockName(call: Call): number {
    call.setAddr(this.family, this.local);
    return 0;
  }

  getPeerName(call: Call): number {
    if (!this.isConnected) return -E.ENOTCONN;
    call.setAddr(this.family, this.remote);
    return 0;
  }

  getOption(level: number, name: number, at: number, room: number): number {
    const u8 = this.hub.world.u8;
    const key = (level << 16) | (name & 0xffff);
    const int = (value: number): number => putInt(u8, at, room, value, level === IPPROTO_IP);
    switch (key) {
      case Option.Type:
        return int(this.type);
      case Option.Protocol:
        return int(this.protocol);
      case Option.Domain:
        return int(this.family);
      case Option.Error:
        return int(this.takeError());
      case Option.Cookie:
        if (room < 8) return -E.EINVAL;
        putHost32(u8, at, this.id);
        putHost32(u8, at + 4, this.hub.session);
        return 8;
      case Option.PeerName: {
        if (!this.isConnected) return -E.ENOTCONN;
        const r = this.remote;
        return Math.min(room, writeSockAddr(u8, at, this.family, r.a0, r.a1, r.a2, r.a3, r.port, r.scope));
      }
      default:
        return this.liveOption(key, at, room) ?? this.options.get(level, name, u8, at, room);
    }
  }

  setOption(level: number, name: number, at: number, length: number): number {
    const key = (level << 16) | (name & 0xffff);
    const u8 = this.hub.world.u8;
    if (key === Option.V6Only && this.local.port !== 0) return -E.EINVAL;
    if (key === Option.BindToDevice) {
      let n = 0;
      while (n < length && u8[at + n] !== 0) n++;
      if (n > 0 && this.#linkNamed(String.fromCharCode(...u8.subarray(at, at + n))) === undefined) return -E.ENODEV;
    }
    if (key === Option.ReusePort && this.local.port !== 0 && length >= 4 && getHost32(u8, at) !== 0)
      this.hub.counters.lateReusePort++;
    const failed = this.options.set(level, name, u8, at, length);
    if (failed !== 0) return -failed;
    const idle = IDLE_OPTIONS.get(key);
    if (idle !== undefined) this.hub.count(idle);
    this.optionChanged(key);
    return 0;
  }

  /** Answers of ioctl(2) that only the socket knows; undefined = not one of them. */
  ioctl(request: number): number | undefined {
    return request === SIOCOUTQ ? this.unsent : undefined;
  }

  /** Octets sent by the app and not yet acknowledged by its peer. */
  protected get unsent(): number {
    return 0;
  }

  /** SO_ERROR is told once. */
  takeError(): number {
    const e = this.pendingError;
    this.pendingError = 0;
    return e;
  }

  /** The app closed its last descriptor: give everything back. */
  abstract release(): void;

  /** The worker ends while the app holds the socket: let it see an error, not silence. */
  abstract reset(): void;

  // ---- Shared by the kinds

  /** Does this destination belong to the host kernel? */
  isDirect(to: SockAddr): boolean {
    if (!this.hub.hasLoopback && (to.isLoopback || to.isWildcard)) return true;
    return this.device === 0 && this.hub.policy?.isHostOwn(to) === true;
  }

  /** The shim is to replace the socket by a kernel one: hand over its options and the address it was bound to. */
  goDirect(call: Call): number {
    call.outLength = this.options.replay(this.hub.world.u8, call.outAt, call.outRoom);
    call.setArg(0, this.protocol);
    if (this.local.port !== 0) call.setAddr(this.family, this.local);
    this.hub.counters.direct++;
    return MLS_LANE_DIRECT;
  }

  /**
   * The shim is to replace the socket by a kernel one that leaves by a host uplink, made and bound here.
   * @returns MLS_LANE_DIRECT or -errno: the way cannot be taken, and no other one is
   */
  protected goByHost(call: Call, link: number, way: HostWay, to: SockAddr): number {
    const { hub, options } = this;
    const reuse = [Option.ReuseAddr, Option.ReusePort].filter((key) => options.number(key) !== 0);
    const fd = openHostSocket(hub, way, {
      family: this.family,
      type: this.type,
      protocol: this.protocol,
      to,
      local: this.hasLocalAddress || this.local.port !== 0 ? this.local : undefined,
      options: reuse.map((key) => [key >> 16, key & 0xffff, 1] as const),
      v6only: options.number(Option.V6Only) !== 0,
    });
    if (fd < 0) return fd;
    call.passFd(fd); // closed once it was sent
    if (hub.native.socketInode(fd, hub.recordAt) === 0)
      hub.policy?.hostFlowBegan(link, this.pid, hub.world.i32[hub.recordAt >> 2]! >>> 0);
    hub.counters.hostFlows++;
    if (hub.policy?.isToAdmitUs(call.pid) === true) call.setArg(MLS_LANE_ADMIT, 1);
    return this.goDirect(call);
  }

  /** bind() to an address of the host's on one of its uplinks: the kernel's socket from now on, to be bound by the shim. */
  protected bindByHost(call: Call, at: SockAddr): number | undefined {
    const { hub } = this;
    const link = at.isWildcard ? 0 : (hub.policy?.hostLinkOfAddress(at) ?? 0);
    if (link === 0 || this.local.port !== 0) return undefined;
    const way = hub.policy!.hostWayOf(link)!;
    return this.goByHost(call, link, { device: way.device, source: undefined }, at);
  }

  /**
   * Check an address given to bind().
   * @returns 0, or an errno (positive)
   */
  protected checkBind(at: SockAddr): number {
    if (this.local.port !== 0) return E.EINVAL;
    if (at.family === AF_UNSPEC) return E.EAFNOSUPPORT;
    if (at.family !== this.family) return E.EINVAL;
    if (this.isV6 && at.isV4 && this.options.number(Option.V6Only) !== 0) return E.EINVAL;
    if (at.isWildcard) return 0;
    if (at.isMulticast) return this.type === 1 ? E.EADDRNOTAVAIL : 0;
    const scope = at.isLinkLocal ? at.scope || this.device : 0;
    if (at.isLinkLocal && scope === 0) return E.EINVAL;
    if (this.hub.stack.links.local(this.vrf, scope, at.a0, at.a1, at.a2, at.a3) !== 0) return 0;
    if (at.isV4 && at.isLoopback && this.hub.hasLoopback) return 0;
    const isFree = this.options.number((IPPROTO_IP << 16) | IP_FREEBIND) !== 0;
    return isFree || this.options.number((IPPROTO_IP << 16) | IP_TRANSPARENT) !== 0 ? 0 : E.EADDRNOTAVAIL;
  }

  /** A claim with this socket's settings for the address it is bound to. */
  protected makeBinding<R>(): PortBinding<R> {
    const b = new PortBinding<R>(this.vrf, this.isV6 ? 6 : 4);
    const l = this.local;
    b.setLocal(l.a0, l.a1, l.a2, l.a3);
    b.device = l.isLinkLocal ? l.scope : this.device;
    b.v6only = this.options.number(Option.V6Only) !== 0;
    b.reuseAddr = this.options.number(Option.ReuseAddr) !== 0;
    b.reusePort = this.options.number(Option.ReusePort) !== 0;
    b.uid = this.hub.uid;
    return b;
  }

  /** Claim `at` in `ports`. @returns the claim, or an errno (positive) */
  protected claim<R>(at: SockAddr, ports: PortTable<R>): PortBinding<R> | number {
    const failed = this.checkBind(at);
    if (failed !== 0) return failed;
    this.local.copy(at);
    this.local.port = 0;
    if (at.isLinkLocal && this.local.scope === 0) this.local.scope = this.device;
    const binding = this.makeBinding<R>();
    const taken = ports.bind(binding, at.port);
    if (taken !== 0) {
      this.local.set(this.family, 0, 0, this.isV6 ? 0 : 0xffff, 0, 0, 0);
      return taken;
    }
    this.local.port = binding.port;
    this.hasLocalAddress = !at.isWildcard;
    return binding;
  }
}
