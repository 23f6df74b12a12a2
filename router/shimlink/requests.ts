/**
 * What each request of the shim means (enum mls_op): makes sockets, finds the socket of a request, and lets it answer.
 * Names are the resolver's matter, whose answers come later.
 */
import { SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from '../native/index.ts';
import { type Call, makeNamedPair } from './call.ts';
import type { Hub } from './hub.ts';
import { interfaceIoctl, writeIfAddrs } from './interfaces.ts';
import type { AddrInfo, NamePort } from './names.ts';
import { PingSocket } from './ping-socket.ts';
import {
  AF_INET,
  AF_INET6,
  Ai,
  E,
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  MLS_LANE_DIRECT,
  MLS_LANE_STACK,
  MLS_VERSION,
  MlsOp,
  putHost32,
} from './proto.ts';
import type { RequestHandler } from './server.ts';
import { SockAddr, writeSockAddr } from './sockaddr.ts';
import type { AppSocket } from './socket.ts';
import { StreamSocket } from './stream.ts';
import { UdpSocket } from './udp-socket.ts';

/** Flags in the type argument of socket(2). */
const SOCK_NONBLOCK = 0x800;
const SOCK_TYPE_MASK = 0xf;
/** Results of MLS_RESOLVE that are EAI_ codes. */
const EAI_BASE = -1000;

export class Requests implements RequestHandler {
  readonly #hub: Hub;
  readonly #names: NamePort;
  readonly #pid: number;
  readonly #addr = new SockAddr();
  /** The router is about to stop: processes that are not known yet get no sockets. */
  isDraining = false;

  constructor(hub: Hub, names: NamePort, pid: number) {
    this.#hub = hub;
    this.#names = names;
    this.#pid = pid;
  }

  answer(call: Call): number {
    switch (call.op) {
      case MlsOp.Socket:
        return this.#socket(call);
      case MlsOp.Resolve:
        return this.#resolve(call);
      case MlsOp.NameInfo:
        return this.#nameInfo(call);
      case MlsOp.IfAddrs:
        call.outLength = writeIfAddrs(this.#hub.stack, this.#hub.world, call.outAt, call.outRoom);
        return 0;
      case MlsOp.Hello:
        call.setArg(0, MLS_VERSION);
        call.setArg(1, this.#pid);
        return 0;
      case MlsOp.Ioctl:
        return this.#ioctl(call);
      default:
    }
    const s = this.#find(call);
    if (s === undefined) return call.op === MlsOp.RouteLane ? this.#lane(call, undefined) : -E.EBADF;
    return this.#onSocket(call, s);
  }

  /** The socket a request names; records of another session are not ours. */
  #find(call: Call): AppSocket | undefined {
    return call.session === this.#hub.session ? this.#hub.sockets.get(call.id) : undefined;
  }

  #onSocket(call: Call, s: AppSocket): number {
    const addr = this.#addr;
    switch (call.op) {
      case MlsOp.Connect:
      case MlsOp.Bind: {
        const failed = call.readAddr(s.family, addr);
        if (failed !== 0) return -failed;
        return call.op === MlsOp.Connect ? s.connect(call, addr) : s.bind(call, addr);
      }
      case MlsOp.Listen:
        return s.listen(call, call.args[0]!);
      case MlsOp.GetSockName:
        return s.getSockName(call);
      case MlsOp.GetPeerName:
        return s.getPeerName(call);
      case MlsOp.GetSockOpt: {
        const room = call.args[2]!;
        if (room < 0) return -E.EINVAL;
        const n = s.getOption(call.args[0]!, call.args[1]!, call.outAt, Math.min(room, call.outRoom));
        if (n < 0) return n;
        call.outLength = n;
        return 0;
      }
      case MlsOp.SetSockOpt:
        return s.setOption(call.args[0]!, call.args[1]!, call.payloadAt, call.payloadLength);
      case MlsOp.Shutdown:
        return s.shutdown(call.args[0]!);
      case MlsOp.RouteLane:
        return this.#lane(call, s);
      default:
        return -E.EOPNOTSUPP;
    }
  }

  // ---- Sockets

  #socket(call: Call): number {
    const hub = this.#hub;
    const [family, typeAndFlags, protocol] = call.args as unknown as [number, number, number];
    if (family !== AF_INET && family !== AF_INET6) return -E.EAFNOSUPPORT;
    const type = typeAndFlags & SOCK_TYPE_MASK;
    if (this.isDraining && !hub.isKnown(call.pid)) return -E.ENETDOWN;
    const isV6 = family === AF_INET6;
    // A socket that replaces one whose connect failed keeps its options.
    const options = this.#find(call)?.options.clone();
    const id = hub.nextId();
    let s: StreamSocket | UdpSocket | PingSocket;
    let kind: 'S' | 'D' | 'P';
    if (type === SOCK_STREAM) {
      if (protocol !== 0 && protocol !== IPPROTO_TCP) return -E.EPROTONOSUPPORT;
      s = new StreamSocket(hub, family, id, call.pid, options);
      kind = 'S';
    } else if (type === SOCK_DGRAM && (protocol === 0 || protocol === IPPROTO_UDP)) {
      s = new UdpSocket(hub, family, id, call.pid, options);
      kind = 'D';
    } else if (type === SOCK_DGRAM && protocol === (isV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
      s = new PingSocket(hub, family, id, call.pid, options);
      kind = 'P';
    } else if (type === SOCK_DGRAM) return -E.EPROTONOSUPPORT;
    else return type === 3 ? -E.EPERM : -E.ESOCKTNOSUPPORT; // raw sockets need a privilege we do not have either
    const isBlocking = (typeAndFlags & SOCK_NONBLOCK) === 0;
    const pairType = kind === 'S' ? SOCK_STREAM : SOCK_SEQPACKET;
    const failed = makeNamedPair(hub.native, hub.world, hub.area, pairType, !isBlocking, kind, isV6, hub.session, id);
    if (failed < 0) return failed;
    const w = hub.area.pairAt >> 2;
    const fd = hub.world.i32[w]!;
    const appFd = hub.world.i32[w + 1]!;
    if (s instanceof StreamSocket) s.gateLength = hub.native.gate(appFd);
    hub.add(s);
    const opened = s.open(fd);
    call.passFd(appFd);
    return opened;
  }

  // ---- Lanes, interfaces

  #lane(call: Call, s: AppSocket | undefined): number {
    const addr = this.#addr;
    const failed = call.readAddr(s?.family ?? AF_INET6, addr);
    if (failed !== 0) return -failed;
    if (s instanceof PingSocket) return s.lane(call, addr);
    const isHost = !this.#hub.hasLoopback && (addr.isLoopback || addr.isWildcard) && !this.#hub.redirect(addr);
    if (!isHost) return MLS_LANE_STACK;
    // A UDP socket reaches the host's loopback through the router, and so keeps its way to everywhere else.
    if (s instanceof UdpSocket) return MLS_LANE_STACK;
    return s === undefined ? MLS_LANE_DIRECT : s.goDirect(call);
  }

  #ioctl(call: Call): number {
    const hub = this.#hub;
    const own = this.#find(call)?.ioctl(call.args[0]!);
    if (own !== undefined) {
      putHost32(hub.world.u8, call.outAt, own);
      call.outLength = 4;
      return 0;
    }
    const n = interfaceIoctl(
      hub.stack,
      hub.world,
      call.args[0]!,
      call.payloadAt,
      call.payloadLength,
      call.outAt,
      call.outRoom,
    );
    if (n < 0) return n;
    call.outLength = n;
    return 0;
  }

  // ---- Names

  #text(from: number, end: number): string {
    const { u8 } = this.#hub.world;
    let at = from;
    while (at < end && u8[at] !== 0) at++;
    return Buffer.from(u8.subarray(from, at)).toString('utf8');
  }

  #resolve(call: Call): number {
    const end = call.payloadAt + call.payloadLength;
    const host = this.#text(call.payloadAt, end);
    const service = this.#text(Math.min(end, call.payloadAt + Buffer.byteLength(host) + 1), end);
    const [family, sockType, protocol, flags] = call.args as unknown as [number, number, number, number];
    call.isDeferred = true;
    this.#names.resolve(
      { pid: call.pid, host, service, family, sockType, protocol, flags },
      (status, entries, canonical) => {
        call.begin();
        call.send(status !== 0 ? EAI_BASE + status : this.#writeAddrInfo(call, entries, canonical));
        call.end();
      },
    );
    return 0;
  }

  /** Write struct mls_ai[] and the canonical name. @returns number of entries */
  #writeAddrInfo(call: Call, entries: readonly AddrInfo[], canonical: string): number {
    const { u8 } = this.#hub.world;
    const name = Buffer.from(`${canonical}\0`, 'utf8');
    const room = Math.floor((call.outRoom - name.length) / Ai.Size);
    const count = Math.min(entries.length, room);
    let at = call.outAt;
    for (let i = 0; i < count; i++, at += Ai.Size) {
      const e = entries[i]!;
      u8.fill(0, at, at + Ai.Size);
      putHost32(u8, at + Ai.SockType, e.sockType);
      putHost32(u8, at + Ai.Protocol, e.protocol);
      const a = e.addr;
      const n = writeSockAddr(u8, at + Ai.Addr, a.family, a.a0, a.a1, a.a2, a.a3, a.port, a.scope);
      putHost32(u8, at + Ai.AddrLen, n);
    }
    u8.set(name, at);
    call.outLength = at + name.length - call.outAt;
    return count;
  }

  #nameInfo(call: Call): number {
    const addr = new SockAddr();
    const failed = call.readAddr(AF_INET6, addr);
    if (failed !== 0) return -failed;
    call.isDeferred = true;
    this.#names.nameInfo({ pid: call.pid, addr, flags: call.args[0]! }, (status, host, service) => {
      call.begin();
      if (status === 0) {
        const text = Buffer.from(`${host}\0${service}\0`, 'utf8');
        this.#hub.world.u8.set(text, call.outAt);
        call.outLength = text.length;
      }
      call.send(status === 0 ? 0 : EAI_BASE + status);
      call.end();
    });
    return 0;
  }
}
