/**
 * TCP's place in the stack: checks segments, finds their connection or listener for the TCP core (router/tcp), and brings
 * ICMP errors to the connection they quote. Knows nothing of sequence numbers or windows.
 */

import { get16, get32 } from '../lib/bytes.ts';
import { pseudo4, pseudo6, sumWorld } from '../lib/checksum.ts';
import type { Tick } from '../lib/clock.ts';
import { type PacketLink, RecordFlag } from '../lib/link.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpListener } from '../tcp/listener.ts';
import type { FlowKey } from '../tcp/port.ts';
import type { QuotedPacket } from '../wire/icmp.ts';
import { IpProto, ipv4Dst, ipv4Src, ipv4Tos, ipv4Ttl } from '../wire/ipv4.ts';
import { ipv6HopLimit, ipv6TrafficClass } from '../wire/ipv6.ts';
import type { Core } from './core.ts';
import { MutableFlow, TcpDemux } from './demux.ts';
import { DropReason, StackEvent } from './drops.ts';
import { isLinkLocal6, type StackLink } from './links.ts';
import { PortTable } from './ports.ts';

const MIN_HEADER = 20;

/** What the stack calls of the TCP core (`TcpEngine`). */
export interface TcpCore {
  /** @returns false when the connection gave way to a new one of the same flow: offer the segment to a listener */
  onSegment(c: TcpConnection, at: number, length: number, gsoSize: number, tos: number, tick: Tick): boolean;
  onListenerSegment(
    l: TcpListener,
    flow: FlowKey,
    at: number,
    length: number,
    gsoSize: number,
    tos: number,
    tick: Tick,
  ): void;
  onUnknownSegment(flow: FlowKey, at: number, length: number, tick: Tick): void;
  onIcmpError(c: TcpConnection, seq: number, errno: number, isHard: boolean, tick: Tick): void;
  onPathMtu(c: TcpConnection, seq: number, mtu: number, tick: Tick): void;
  onLinkDrained(link: PacketLink): void;
  tick(tick: Tick): void;
  onVectorEnd(tick: Tick): void;
  nextDeadlineMs(tick: Tick): number;
}

export class TcpLayer {
  readonly #core: Core;
  readonly ports: PortTable<TcpListener>;
  readonly demux: TcpDemux<TcpConnection, TcpListener>;
  readonly #flow = new MutableFlow();
  /** Set once at start; segments before that are dropped. */
  engine: TcpCore | undefined = undefined;

  constructor(core: Core) {
    this.#core = core;
    this.ports = new PortTable<TcpListener>('tcp', core.random);
    this.demux = new TcpDemux<TcpConnection, TcpListener>(this.ports, core.random);
  }

  /** A segment or super-segment at `tcpAt`..`end` of the packet at `at`. */
  input(link: StackLink, isV4: boolean, at: number, tcpAt: number, end: number, flags: number, gsoSize: number): void {
    const core = this.#core;
    const b = core.b;
    const engine = this.engine;
    const length = end - tcpAt;
    if (length < MIN_HEADER || engine === undefined) {
      core.counters.drop(DropReason['bad-transport-header']);
      return;
    }
    if ((flags & RecordFlag.CsumValid) === 0) {
      const pseudo = isV4
        ? pseudo4(ipv4Src(b, at), ipv4Dst(b, at), IpProto.Tcp, length)
        : pseudo6(b, at, IpProto.Tcp, length);
      const sum = pseudo + sumWorld(b, core.words, tcpAt, length);
      if ((sum & 0xffff) + (sum >>> 16) !== 0xffff) {
        core.counters.drop(DropReason['bad-transport-checksum']);
        return;
      }
    }
    core.counters.count(StackEvent['tcp-in']);
    const f = this.#flow;
    f.vrf = link.vrf;
    f.isV4 = isV4;
    f.device = 0;
    if (isV4) {
      f.r0 = f.r1 = f.l0 = f.l1 = 0;
      f.r2 = f.l2 = 0xffff;
      f.r3 = ipv4Src(b, at);
      f.l3 = ipv4Dst(b, at);
    } else {
      f.r0 = get32(b, at + 8);
      f.r1 = get32(b, at + 12);
      f.r2 = get32(b, at + 16);
      f.r3 = get32(b, at + 20);
      f.l0 = get32(b, at + 24);
      f.l1 = get32(b, at + 28);
      f.l2 = get32(b, at + 32);
      f.l3 = get32(b, at + 36);
    }
    f.scope = isLinkLocal6(f.r0) ? link.index : 0;
    f.remotePort = get16(b, tcpAt);
    f.localPort = get16(b, tcpAt + 2);
    const tos = isV4 ? ipv4Tos(b, at) : ipv6TrafficClass(b, at);
    const tick = core.tick;
    const c = this.#find(link, f);
    if (c !== undefined && c.minTtl !== 0 && ttlOf(b, at, isV4) < c.minTtl) {
      core.counters.drop(DropReason['ttl-security']);
      return;
    }
    if (c !== undefined && engine.onSegment(c, tcpAt, length, gsoSize, tos, tick)) return;
    const claim = this.ports.find(
      link.vrf,
      link.index,
      f.l0,
      f.l1,
      f.l2,
      f.l3,
      f.localPort,
      f.r0,
      f.r1,
      f.r2,
      f.r3,
      f.remotePort,
    );
    const listener = claim?.receiver;
    if (claim === undefined || listener === undefined || listener.isClosed) {
      core.counters.drop(DropReason['no-listener']);
      engine.onUnknownSegment(f, tcpAt, length, tick);
      return;
    }
    // What this segment opens keeps to the listener's link; and a link-local address of ours belongs to one link.
    f.device = claim.device !== 0 ? claim.device : isLinkLocal6(f.l0) ? link.index : 0;
    if (listener.termsFor !== undefined && ttlOf(b, at, isV4) < (listener.termsFor(f)?.minTtl ?? 0)) {
      core.counters.drop(DropReason['ttl-security']);
      return;
    }
    // It also keeps the listener's port taken.
    this.demux.claim = claim;
    engine.onListenerSegment(listener, f, tcpAt, length, gsoSize, tos, tick);
    this.demux.claim = undefined;
  }

  /** An ICMP error that quotes a segment of ours. @returns false when there is no such connection */
  failed(link: StackLink, q: QuotedPacket, errno: number, isHard: boolean): boolean {
    const c = this.#quoted(link, q);
    if (c === undefined) return false;
    this.engine?.onIcmpError(c, q.word, errno, isHard, this.#core.tick);
    return true;
  }

  /**
   * The connection whose outstanding segment an ICMP error quotes: RFC 5927 §4.1 asks for that check before a path MTU is
   * believed.
   */
  outstanding(link: StackLink, q: QuotedPacket): TcpConnection | undefined {
    const c = this.#quoted(link, q);
    return c?.isOutstanding(q.word) ? c : undefined;
  }

  #quoted(link: StackLink, q: QuotedPacket): TcpConnection | undefined {
    const f = this.#flow;
    f.vrf = link.vrf;
    f.isV4 = q.isV4;
    f.scope = isLinkLocal6(q.d0) ? link.index : 0;
    f.l0 = q.s0;
    f.l1 = q.s1;
    f.l2 = q.s2;
    f.l3 = q.s3;
    f.localPort = q.srcPort;
    f.r0 = q.d0;
    f.r1 = q.d1;
    f.r2 = q.d2;
    f.r3 = q.d3;
    f.remotePort = q.dstPort;
    return this.#find(link, f);
  }

  /** The connection of the flow, unless it is bound to another link than the packet came in by. */
  #find(link: StackLink, f: FlowKey): TcpConnection | undefined {
    const c = this.demux.find(f);
    return c === undefined || c.device === 0 || c.device === link.index ? c : undefined;
  }
}

function ttlOf(b: Uint8Array, at: number, isV4: boolean): number {
  return isV4 ? ipv4Ttl(b, at) : ipv6HopLimit(b, at);
}
