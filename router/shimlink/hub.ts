/**
 * What all sockets of a data-plane worker share: the addon, the stack, the epoll set, scratch memory, settings, and the
 * table of sockets by id. Also the decisions that need all of these: routes for new flows, lanes, DNS redirection.
 */
import { Addr } from '../lib/addr.ts';
import type { Tick } from '../lib/clock.ts';
import type { World } from '../lib/world.ts';
import type { Native } from '../native/index.ts';
import { MutableFlow } from '../stack/demux.ts';
import { PortBinding } from '../stack/ports.ts';
import type { Stack } from '../stack/stack.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpEngine } from '../tcp/engine.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { TcpAcceptor, TcpOwner } from '../tcp/port.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { CallArea } from './call.ts';
import { DATAGRAM_BATCH, DATAGRAM_SLOT } from './datagram.ts';
import type { PolicyPort } from './policy-port.ts';
import type { Poller } from './poller.ts';
import { AF_INET, AF_INET6, Dgram, E } from './proto.ts';
import { SockAddr } from './sockaddr.ts';
import type { AppSocket } from './socket.ts';

/** How long the record of a closed socket answers SO_ERROR and names, and how many of them are kept. */
const GRAVE_MS = 60_000;
const GRAVE_MAX = 1024;
const RETRY_MS = 20;
export const DNS_PORT = 53;
/** Index of the loopback link of the default VRF. */
const LOOPBACK_INDEX = 1;
/**
 * Where apps that ask the host's name servers by TCP are connected to: addresses of our loopback link that mean nothing on any
 * other link, so that nobody reaches them through a tunnel.
 */
export const FORWARDER_4 = new SockAddr().set(AF_INET, 0, 0, 0xffff, 0x7fffff35, DNS_PORT, 0);
export const FORWARDER_6 = new SockAddr().set(AF_INET6, 0xfe800000 | 0, 0, 0, 0x35, DNS_PORT, LOOPBACK_INDEX);
/** 127.0.0.53 and .54, where systemd-resolved listens (systemd-resolved.service(8)). */
const RESOLVED_STUBS: readonly number[] = [0x7f000035, 0x7f000036];
const SINK_BYTES = 65536;
/** Pages of a send buffer that are filled by one call. */
export const MAX_SPANS = 8;

export interface HubSettings {
  /** 127.0.0.0/8 and ::1 are in our stack. */
  readonly hasLoopback: boolean;
  /** Whose questions go to our name servers instead. */
  readonly hostNameServers: readonly SockAddr[];
  /** There are name servers of ours. */
  readonly hasNameServers: boolean;
}

/** DNS messages that apps send and receive themselves. */
export interface DnsPort {
  /** Answer a query of an app; queries come as they are sent, without a length in front. @param done called at most once, later */
  forward(pid: number, query: Uint8Array, isStream: boolean, done: (answer: Uint8Array) => void): void;
  /** An app got an answer from a server it asked by itself. */
  heard(at: number, length: number): void;
}

/** What apps' sockets did; further names are those of options without effect (idle-options.ts). */
export interface HubCounters {
  octetsFromApps: number;
  octetsToApps: number;
  datagramsFromApps: number;
  datagramsToApps: number;
  datagramsDroppedToApps: number;
  datagramsDroppedFromApps: number;
  datagramErrors: number;
  accepted: number;
  direct: number;
  hostFlows: number;
  hostBindsRefused: number;
  resetsToApps: number;
  kernelDoorsRefused: number;
  lateReusePort: number;
}

export interface HubParts {
  readonly native: Native;
  readonly world: World;
  readonly poller: Poller;
  readonly stack: Stack;
  readonly tcp: TcpEngine;
  readonly tick: Tick;
  readonly session: number;
  readonly uid: number;
}

export class Hub {
  readonly native: Native;
  readonly world: World;
  readonly poller: Poller;
  readonly stack: Stack;
  readonly tcp: TcpEngine;
  readonly tick: Tick;
  readonly session: number;
  readonly uid: number;
  readonly area: CallArea;
  /** Octets nobody wants go here; the first one serves as a lag octet. */
  readonly sinkAt: number;
  /** The areas of one `recvLag`. */
  readonly spansAt: number;
  /** A struct mls_accept, or a sockaddr. */
  readonly recordAt: number;
  /** A struct mls_dgram towards an app. */
  readonly headAt: number;
  /** Messages of one batch from an app, and their lengths. */
  readonly slotsAt: number;
  readonly lengthsAt: number;
  /** A datagram of the host's loopback. */
  readonly relayAt: number;
  /** Scratch of `routeFlow`. */
  readonly flow = new MutableFlow();
  readonly sockets = new Map<number, AppSocket>();
  readonly counters: HubCounters & Record<string, number> = {
    octetsFromApps: 0,
    octetsToApps: 0,
    datagramsFromApps: 0,
    datagramsToApps: 0,
    datagramsDroppedToApps: 0,
    datagramsDroppedFromApps: 0,
    datagramErrors: 0,
    accepted: 0,
    direct: 0,
    hostFlows: 0,
    hostBindsRefused: 0,
    resetsToApps: 0,
    kernelDoorsRefused: 0,
    lateReusePort: 0,
  };
  /** Undefined while there are neither rules nor host uplinks. */
  policy: PolicyPort | undefined;
  dns: DnsPort | undefined;
  #settings: HubSettings = { hasLoopback: false, hasNameServers: false, hostNameServers: [] };
  #lastId = 0;
  readonly #graves: AppSocket[] = [];
  readonly #graveTimes: number[] = [];
  readonly #retries: AppSocket[] = [];
  #retryAt = 0;
  readonly #aborts: TcpConnection[] = [];

  constructor(o: HubParts) {
    this.native = o.native;
    this.world = o.world;
    this.poller = o.poller;
    this.stack = o.stack;
    this.tcp = o.tcp;
    this.tick = o.tick;
    this.session = o.session;
    this.uid = o.uid;
    this.area = new CallArea(o.world);
    this.sinkAt = o.world.alloc(SINK_BYTES);
    this.spansAt = o.world.alloc(8 * MAX_SPANS);
    this.recordAt = o.world.alloc(64);
    this.headAt = o.world.alloc(Dgram.Size);
    this.slotsAt = o.world.alloc(DATAGRAM_BATCH * DATAGRAM_SLOT);
    this.lengthsAt = o.world.alloc(4 * DATAGRAM_BATCH);
    this.relayAt = o.world.alloc(65536);
  }

  set settings(s: HubSettings) {
    this.#settings = s;
  }

  get hasLoopback(): boolean {
    return this.#settings.hasLoopback;
  }

  // ---- Table of sockets

  nextId(): number {
    do this.#lastId = (this.#lastId + 1) | 0;
    while (this.#lastId === 0 || this.sockets.has(this.#lastId));
    return this.#lastId;
  }

  add(s: AppSocket): void {
    this.sockets.set(s.id, s);
  }

  /** Keep the record of a closed socket for a while. */
  bury(s: AppSocket): void {
    this.#graves.push(s);
    this.#graveTimes.push(this.tick.ms);
    if (this.#graves.length > GRAVE_MAX) this.#exhume();
  }

  #exhume(): void {
    this.#graveTimes.shift();
    const s = this.#graves.shift()!;
    this.sockets.delete(s.id);
  }

  /** Descriptors or memory of the kernel ran short: let `s` go on in a moment. */
  retryLater(s: AppSocket): void {
    if (this.#retries.length === 0) this.#retryAt = (this.tick.ms + RETRY_MS) | 0;
    if (!this.#retries.includes(s)) this.#retries.push(s);
  }

  /** A link's queue was full: let `s` go on when one has drained, or in a moment. */
  resumeOnDrain(s: AppSocket): void {
    this.retryLater(s);
  }

  /** A link's queue has drained. */
  linkDrained(): void {
    for (const s of this.#retries.splice(0)) this.poller.ready(s);
  }

  /** Reset a connection that may not be re-entered now. */
  abortLater(c: TcpConnection): void {
    if (!this.#aborts.includes(c)) this.#aborts.push(c);
  }

  /** Once per turn: deferred resets, retries, old records. */
  runDue(): void {
    while (this.#aborts.length > 0) this.#aborts.pop()!.abort();
    if (this.#retries.length > 0 && ((this.tick.ms - this.#retryAt) | 0) >= 0)
      for (const s of this.#retries.splice(0)) this.poller.ready(s);
    while (this.#graves.length > 0 && ((this.tick.ms - this.#graveTimes[0]!) | 0) > GRAVE_MS) this.#exhume();
  }

  /** Milliseconds until `runDue` has work, -1 = never. */
  dueInMs(): number {
    if (this.#aborts.length > 0) return 0;
    if (this.#retries.length === 0) return -1;
    return Math.max(0, (this.#retryAt - this.tick.ms) | 0);
  }

  /** Processes that hold sockets, the one of `self` not counted. */
  countApps(self: number): number {
    const pids = new Set<number>();
    for (const s of this.sockets.values()) if (s.fd >= 0 && s.pid !== self) pids.add(s.pid);
    return pids.size;
  }

  isKnown(pid: number): boolean {
    for (const s of this.sockets.values()) if (s.fd >= 0 && s.pid === pid) return true;
    return false;
  }

  /** Sockets held by processes other than `self`. */
  countSockets(self: number): number {
    let n = 0;
    for (const s of this.sockets.values()) if (s.fd >= 0 && s.pid !== self) n++;
    return n;
  }

  /** End every socket: apps read a reset, not silence. */
  closeAll(): void {
    for (const s of this.sockets.values()) s.reset();
  }

  /** Count something that has a name of its own. */
  count(name: string): void {
    this.counters[name] = (this.counters[name] ?? 0) + 1;
  }

  // ---- Decisions

  /** Index of a link by its name; `lo` is always there. */
  linkByName(name: string): number | undefined {
    for (const l of this.stack.links.all()) if (l.link.name === name) return l.index;
    return undefined;
  }

  /** Is this one of the host's name servers? Then queries go to the forwarder instead, and answers seem to come from it. */
  redirect(to: SockAddr): boolean {
    if (to.port !== DNS_PORT || !this.#settings.hasNameServers) return false;
    if (!this.hasLoopback && to.isV4 && RESOLVED_STUBS.includes(to.a3)) return true;
    for (const h of this.#settings.hostNameServers)
      if (h.a3 === to.a3 && h.a2 === to.a2 && h.a1 === to.a1 && h.a0 === to.a0) return true;
    return false;
  }

  /**
   * Route a new flow to `to` and choose its source: everything of `flow` but the local port.
   * @param scope link for a link-local destination, or 0
   * @param device the only link to use, or 0
   * @param local source address to use, undefined = choose
   * @returns 0 or an errno (positive)
   */
  routeFlow(
    vrf: number,
    to: SockAddr,
    scope: number,
    device: number,
    local: SockAddr | undefined,
    flow: MutableFlow,
  ): number {
    const { core } = this.stack;
    let { a3 } = to;
    const { a0, a1, a2 } = to;
    // connect() to the wildcard address means this host (Linux).
    if (to.isWildcard) a3 = to.isV4 ? 0x7f000001 : 1;
    const isV4 = to.isV4;
    if (to.isLinkLocal && scope === 0) return E.EINVAL;
    const out = device !== 0 ? core.routeBy(device, vrf, a0, a1, a2, a3) : core.route(vrf, scope, a0, a1, a2, a3, 0);
    if (out === undefined) return core.errno;
    flow.vrf = vrf;
    flow.device = device;
    flow.scope = to.isLinkLocal ? scope : 0;
    flow.isV4 = isV4;
    flow.r0 = a0;
    flow.r1 = a1;
    flow.r2 = a2;
    flow.r3 = a3;
    flow.remotePort = to.port;
    if (local !== undefined) {
      if (local.isV4 !== isV4) return isV4 ? E.ENETUNREACH : E.EINVAL;
      flow.l0 = local.a0;
      flow.l1 = local.a1;
      flow.l2 = local.a2;
      flow.l3 = local.a3;
      return 0;
    }
    if (!core.chooseSource(out, a0, a1, a2, a3)) return E.EADDRNOTAVAIL;
    const { source } = core;
    flow.l0 = source.s0;
    flow.l1 = source.s1;
    flow.l2 = source.s2;
    flow.l3 = source.s3;
    return 0;
  }

  // ---- TCP

  /** Claim a local port for `flow`, whose other fields are set, and send the SYN. @returns the connection and its claim, or an errno */
  openFlow(
    flow: MutableFlow,
    binding: PortBinding<TcpListener>,
    owner: TcpOwner<TcpConnection>,
    settings: TcpSettings,
  ): TcpConnection | number {
    const { tcpDemux, tcpPorts } = this.stack;
    if (binding.port === 0) {
      binding.setLocal(flow.l0, flow.l1, flow.l2, flow.l3);
      binding.r0 = flow.r0;
      binding.r1 = flow.r1;
      binding.r2 = flow.r2;
      binding.r3 = flow.r3;
      binding.remotePort = flow.remotePort;
      const taken = tcpPorts.bindForConnect(binding, (port) => {
        flow.localPort = port;
        return tcpDemux.find(flow) !== undefined;
      });
      if (taken !== 0) return taken;
    }
    flow.localPort = binding.port;
    tcpDemux.claim = binding;
    const c = this.tcp.connect(flow, owner, settings, this.tick);
    tcpDemux.claim = undefined;
    return c ?? E.EADDRNOTAVAIL;
  }

  /**
   * A connection of the router's own. `release` gives its port back.
   * @param link the only link to use; 0 = by the routes of the default VRF
   * @returns an errno (positive) when it cannot be
   */
  connectTcp(
    to: SockAddr,
    owner: TcpOwner<TcpConnection>,
    link = 0,
  ): { readonly connection: TcpConnection; readonly release: () => void } | number {
    const flow = this.flow;
    const vrf = this.stack.links.byIndex(link)?.vrf ?? 0;
    const scope = to.isLinkLocal && link !== 0 ? link : to.scope;
    const unreachable = this.routeFlow(vrf, to, scope, link, undefined, flow);
    if (unreachable !== 0) return unreachable;
    const binding = new PortBinding<TcpListener>(vrf, to.isV4 ? 4 : 6);
    const connection = this.openFlow(flow, binding, owner, {});
    const release = (): void => {
      if (binding.port !== 0) this.stack.tcpPorts.release(binding);
    };
    if (typeof connection !== 'number') return { connection, release };
    release();
    return connection;
  }

  listenTcp(
    binding: PortBinding<TcpListener>,
    backlog: number,
    acceptor: TcpAcceptor<TcpListener>,
    settings: TcpSettings,
  ): TcpListener {
    const local = {
      vrf: binding.vrf,
      scope: binding.device,
      isV4: binding.isV4,
      l0: binding.l0,
      l1: binding.l1,
      l2: binding.l2,
      l3: binding.l3,
      localPort: binding.port,
    };
    const listener = this.tcp.listen(local, backlog, acceptor, settings);
    binding.receiver = listener;
    return listener;
  }

  unlistenTcp(binding: PortBinding<TcpListener>, listener: TcpListener): void {
    binding.receiver = undefined;
    binding.isListening = false;
    listener.close();
  }

  /** Addresses from settings text; what is not an address is left out. */
  static nameServers(texts: readonly string[], linkByName: (name: string) => number | undefined): SockAddr[] {
    const out: SockAddr[] = [];
    for (const text of texts) {
      const [addressText, zone] = text.split('%');
      const a = Addr.parse(addressText!);
      if (a === undefined) continue;
      const scope = zone === undefined ? 0 : (linkByName(zone) ?? 0);
      out.push(new SockAddr().set(a.family === 4 ? AF_INET : AF_INET6, a.a0, a.a1, a.a2, a.a3, DNS_PORT, scope));
    }
    return out;
  }
}
