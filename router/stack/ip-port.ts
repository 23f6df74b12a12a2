/**
 * IP as the TCP core sees it (`IpPort` of router/tcp): route, path MTU, and the IP header in front of a segment that TCP
 * writes straight into the outgoing link's queue. DF is always set (RFC 1191 §3); checksums are left to the link.
 */
import { flowHash } from '../fib/hash.ts';
import { GsoType, type PacketLink, RecordFlag } from '../lib/link.ts';
import type { FlowKey, IpPort } from '../tcp/port.ts';
import { IPV4_HEADER_LEN, IpProto, Ipv4Frag, putIpv4 } from '../wire/ipv4.ts';
import { IPV6_HEADER_LEN, putIpv6, putIpv6Addresses } from '../wire/ipv6.ts';
import type { Core } from './core.ts';
import { DropReason } from './drops.ts';

const TCP_CSUM_OFFSET = 16;

export class StackIpPort implements IpPort {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  get routeGeneration(): number {
    return this.#core.generation;
  }

  resolve(f: FlowKey): PacketLink | undefined {
    const core = this.#core;
    return f.device !== 0
      ? core.routeBy(f.device, f.vrf, f.r0, f.r1, f.r2, f.r3)?.link
      : core.route(f.vrf, f.scope, f.r0, f.r1, f.r2, f.r3, hashOf(f, core.flowSeed))?.link;
  }

  pathMtu(f: FlowKey, link: PacketLink): number {
    return this.#core.pathMtu.get(f.vrf, f.r0, f.r1, f.r2, f.r3, link.mtu);
  }

  begin(f: FlowKey, link: PacketLink, segmentLength: number): number {
    const ipLen = f.isV4 ? IPV4_HEADER_LEN : IPV6_HEADER_LEN;
    const at = link.reserve(ipLen + segmentLength);
    if (at >= 0) return at + ipLen;
    this.#core.counters.drop(DropReason['link-full']);
    return -1;
  }

  send(
    f: FlowKey,
    link: PacketLink,
    at: number,
    headerLength: number,
    payloadLength: number,
    gsoSize: number,
    tos: number,
    ttl: number,
  ): void {
    const b = this.#core.b;
    const segment = headerLength + payloadLength;
    const isSuper = gsoSize > 0 && payloadLength > gsoSize;
    let ipLen = IPV4_HEADER_LEN;
    if (f.isV4) {
      // RFC 6864 §4.1: with DF the identification means nothing; whoever cuts a super-segment fills in its own.
      putIpv4(b, at - ipLen, ipLen + segment, tos, 0, Ipv4Frag.Dont, ttl, IpProto.Tcp, f.l3, f.r3);
    } else {
      ipLen = IPV6_HEADER_LEN;
      // RFC 6437 §3: the flow label is a hash of the 5-tuple.
      putIpv6(b, at - ipLen, segment, tos, hashOf(f, this.#core.flowSeed) & 0xfffff, IpProto.Tcp, ttl);
      putIpv6Addresses(b, at - ipLen, f.l0, f.l1, f.l2, f.l3, f.r0, f.r1, f.r2, f.r3);
    }
    if (!isSuper) {
      link.commit(ipLen + segment, RecordFlag.NeedsCsum, 0, 0, 0, ipLen, TCP_CSUM_OFFSET);
      return;
    }
    link.commit(
      ipLen + segment,
      RecordFlag.NeedsCsum | RecordFlag.Gso,
      f.isV4 ? GsoType.TcpV4 : GsoType.TcpV6,
      ipLen + headerLength,
      gsoSize,
      ipLen,
      TCP_CSUM_OFFSET,
    );
  }
}

function hashOf(f: FlowKey, seed: number): number {
  const ports = (f.localPort << 16) | f.remotePort;
  return flowHash(f.l0, f.l1, f.l2, f.l3, f.r0, f.r1, f.r2, f.r3, IpProto.Tcp, ports, seed);
}
