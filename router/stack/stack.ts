/**
 * The IP stack of the data plane: takes the records of all links, answers or forwards them, and carries TCP, UDP and ping
 * endpoints. Composition and API only; a packet's way is described in README.md and lives in `input.ts`.
 * Sans-IO: the owner of the loop moves the clock, polls sources into `onPacket`, and flushes links after `endVector`.
 */
import type { Addr } from '../lib/addr.ts';
import type { PacketLink, PacketSink } from '../lib/link.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { IpPort } from '../tcp/port.ts';
import type { QuotedPacket } from '../wire/icmp.ts';
import { IpProto } from '../wire/ipv4.ts';
import { Core, type CoreOptions } from './core.ts';
import type { TcpDemux } from './demux.ts';
import { DropReason, StackEvent } from './drops.ts';
import { Forwarder } from './forward.ts';
import { type FlowErrors, IcmpInput } from './icmp.ts';
import { IcmpErrors } from './icmp-error.ts';
import { IpInput } from './input.ts';
import { StackIpPort } from './ip-port.ts';
import type { LinkOptions, Links, StackLink } from './links.ts';
import { PingLayer } from './ping.ts';
import type { LinkAddress } from './port.ts';
import type { PortTable } from './ports.ts';
import { type TcpCore, TcpLayer } from './tcp.ts';
import { UdpLayer } from './udp.ts';

/** How often path MTUs are looked through for expired ones. */
const SWEEP_MS = 1000;

export class Stack implements PacketSink, FlowErrors {
  readonly core: Core;
  /** IP as the TCP core sees it. */
  readonly ip: IpPort;
  readonly udp: UdpLayer;
  readonly ping: PingLayer;
  readonly #tcp: TcpLayer;
  readonly #input: IpInput;
  #sweepMs: number;

  constructor(options: CoreOptions) {
    const core = new Core(options);
    const errors = new IcmpErrors(core);
    this.core = core;
    this.ip = new StackIpPort(core);
    this.udp = new UdpLayer(core);
    this.ping = new PingLayer(core);
    this.#tcp = new TcpLayer(core);
    this.#input = new IpInput(
      core,
      new Forwarder(core, errors),
      errors,
      new IcmpInput(core, this, this.ping),
      this.udp,
      this.#tcp,
    );
    this.#sweepMs = options.tick.ms;
  }

  /** Connect the TCP core, which was made with this stack's `ip` and `tcpDemux`. Once, before the first packet. */
  attachTcp(engine: TcpCore): void {
    this.#tcp.engine = engine;
  }

  get links(): Links {
    return this.core.links;
  }

  /** Connections by flow: the TCP core's table. */
  get tcpDemux(): TcpDemux<TcpConnection, TcpListener> {
    return this.#tcp.demux;
  }

  /** Local TCP ports; a listener is the `receiver` of its claim. */
  get tcpPorts(): PortTable<TcpListener> {
    return this.#tcp.ports;
  }

  // ---- Links and addresses (control plane)

  /** Add a link, or give it other addresses and options. */
  addLink(link: PacketLink, addresses: readonly LinkAddress[], options: LinkOptions = {}): void {
    this.core.links.set(link, addresses, options);
  }

  removeLink(index: number): void {
    const entry = this.core.links.byIndex(index);
    this.core.links.remove(index);
    if (entry !== undefined) this.linkDrained(entry.link);
  }

  /** The link went up or down: routes over it are looked up again. */
  setLinkState(index: number, isUp: boolean): void {
    const entry = this.core.links.byIndex(index);
    if (entry === undefined) return;
    entry.link.isUp = isUp;
    this.core.links.stateChanged();
    if (!isUp) this.linkDrained(entry.link); // flows that wait for room there may have another way now
  }

  /** Preferred sources of our own flows; undefined = the outgoing link's address. */
  setSources(v4: Addr | undefined, v6: Addr | undefined): void {
    this.core.source.preferred4 = v4;
    this.core.source.preferred6 = v6;
    this.core.links.stateChanged();
  }

  // ---- The vector (data-plane loop)

  onPacket(
    link: PacketLink,
    at: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
  ): void {
    const core = this.core;
    const { events } = core.counters;
    events[StackEvent['packets-in']]!++;
    events[StackEvent['octets-in']]! += length;
    const entry = core.links.byIndex(link.index);
    if (entry === undefined || length === 0) {
      core.counters.drop(DropReason['not-ip']);
      return;
    }
    // A super-segment that names no sane piece is judged as the plain packet it then is.
    const piece = gsoSize > 0 && hdrLen > 0 && hdrLen + gsoSize <= length ? gsoSize : 0;
    const header = piece > 0 ? hdrLen : 0;
    const version = core.b[at]! >>> 4;
    if (version === 4) this.#input.packet4(entry, at, length, flags, gsoType, header, piece);
    else if (version === 6) this.#input.packet6(entry, at, length, flags, gsoType, header, piece);
    else core.counters.drop(DropReason['not-ip']);
  }

  /** After all input of a vector: ACKs and output of connections. The caller flushes the links. */
  endVector(): void {
    this.#tcp.engine?.onVectorEnd(this.core.tick);
  }

  /** Timers. Once per vector. */
  tick(): void {
    const { tick, pathMtu } = this.core;
    this.#tcp.engine?.tick(tick);
    this.#input.expire();
    if (((tick.ms - this.#sweepMs) | 0) >= SWEEP_MS) {
      this.#sweepMs = tick.ms;
      pathMtu.expire(tick.ms);
    }
  }

  /** Milliseconds until `tick` has work, -1 = never. */
  nextDeadlineMs(): number {
    const { tick, pathMtu } = this.core;
    const tcp = this.#tcp.engine?.nextDeadlineMs(tick) ?? -1;
    const fragments = this.#input.reassembler.nextDeadlineMs(tick.ms);
    const mtus = pathMtu.size > 0 ? SWEEP_MS : -1;
    return soonest(soonest(tcp, fragments), mtus);
  }

  /** A link's queue has room again. */
  linkDrained(link: PacketLink): void {
    this.#tcp.engine?.onLinkDrained(link);
  }

  /** Datagrams that wait for fragments, and the pages they hold. */
  get reassembly(): { readonly waiting: number; readonly pagesHeld: number } {
    return this.#input.reassembler;
  }

  // ---- FlowErrors

  flowFailed(link: StackLink, quoted: QuotedPacket, errno: number, isHard: boolean): void {
    if (!this.#tellFlow(link, quoted, errno, isHard)) this.core.counters.drop(DropReason['icmp-unmatched']);
  }

  #tellFlow(link: StackLink, quoted: QuotedPacket, errno: number, isHard: boolean): boolean {
    switch (quoted.protocol) {
      case IpProto.Tcp:
        return this.#tcp.failed(link, quoted, errno, isHard);
      case IpProto.Udp:
        return this.udp.failed(link, quoted, errno, isHard);
      case IpProto.Icmp:
      case IpProto.Icmpv6:
        return this.ping.failed(link, quoted, errno);
      default:
        return false;
    }
  }

  flowTooBig(link: StackLink, quoted: QuotedPacket, mtu: number): void {
    const core = this.core;
    const q = quoted;
    const connection = q.protocol === IpProto.Tcp ? this.#tcp.outstanding(link, q) : undefined;
    const isOurs =
      connection !== undefined ||
      (q.protocol === IpProto.Udp && this.udp.tooBig(link, q)) ||
      ((q.protocol === IpProto.Icmp || q.protocol === IpProto.Icmpv6) && this.ping.sent(link, q));
    if (!isOurs) {
      core.counters.drop(DropReason['icmp-unmatched']);
      return;
    }
    const scope = link.index;
    const out = core.route(link.vrf, scope, q.d0, q.d1, q.d2, q.d3, 0);
    const linkMtu = out === undefined ? link.link.mtu : out.link.mtu;
    const current = core.pathMtu.get(link.vrf, q.d0, q.d1, q.d2, q.d3, linkMtu);
    const next = core.pathMtu.learn(link.vrf, q.d0, q.d1, q.d2, q.d3, mtu, q.length, current, core.tick.ms);
    if (next === 0) return;
    core.counters.count(StackEvent['path-mtu-lowered']);
    if (connection !== undefined) this.#tcp.engine?.onPathMtu(connection, q.word, next, core.tick);
  }
}

function soonest(a: number, b: number): number {
  if (a < 0) return b;
  return b < 0 ? a : Math.min(a, b);
}
