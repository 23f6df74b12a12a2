/**
 * Sockets of DNS queries: one UDP port or one TCP connection per query, of our own stack (by its routes or through one link),
 * or of the host kernel, bound to a host uplink. Carries out what the resolver and the forwarder want, and reports what comes.
 */
import { Addr } from '../lib/addr.ts';
import type { HostWay } from '../lib/host-way.ts';
import { Epoll, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_STREAM } from '../native/index.ts';
import { type DatagramInfo, type DatagramOwner, DatagramSpec } from '../stack/port.ts';
import type { UdpEndpoint } from '../stack/udp-endpoint.ts';
import type { TcpConnection } from '../tcp/connection.ts';
import type { TcpOwner } from '../tcp/port.ts';
import type { NameServer, QueryAction, QueryEvent } from './dns-port.ts';
import { openHostSocket } from './host-lane.ts';
import type { Hub } from './hub.ts';
import { Pollable } from './poller.ts';
import { AF_INET, AF_INET6, E, IPPROTO_TCP, IPPROTO_UDP } from './proto.ts';
import { SockAddr, writeSockAddr } from './sockaddr.ts';

type Report = (event: QueryEvent) => void;

/** One query on its way. */
interface Query {
  close(): void;
}

/** Bound to nothing: the kernel's own loopback. */
const UNBOUND: HostWay = { device: undefined, source: undefined };
/** A message over TCP and its length. */
const STREAM_ROOM = 65536;

/** The queries of one core, by its numbers. */
export class QueryEdge {
  readonly #hub: Hub;
  readonly #report: Report;
  readonly #queries = new Map<number, Query>();

  /** @param report told outside of the calls of sockets, so that it may close them */
  constructor(hub: Hub, report: Report) {
    this.#hub = hub;
    this.#report = report;
  }

  perform(a: QueryAction): void {
    if (a.kind === 'close') {
      this.#queries.get(a.query)?.close();
      this.#queries.delete(a.query);
      return;
    }
    const hub = this.#hub;
    const to = this.#addressOf(a.server, a.port);
    const link = this.#linkOf(a.server, to);
    const way = a.server.path?.kind === 'loopback' ? UNBOUND : hub.policy?.hostWayOf(link);
    if (way !== undefined) {
      const query = new HostQuery(hub, a, a.server.addr, this.#report);
      this.#queries.set(a.query, query);
      query.start(way, to);
    } else if (a.kind === 'send') {
      const query = new UdpQuery(hub, to.isV4 ? 4 : 6, a.query, link, this.#report);
      this.#queries.set(a.query, query);
      query.send(to, a.bytes);
    } else {
      const query = new TcpQuery(hub, a.query, a.bytes, this.#report);
      this.#queries.set(a.query, query);
      query.connect(to, link);
    }
  }

  #addressOf({ addr, link }: NameServer, port: number): SockAddr {
    const scope = link === undefined ? 0 : (this.#hub.linkByName(link) ?? 0);
    const family = addr.family === 4 ? AF_INET : AF_INET6;
    return new SockAddr().set(family, addr.a0, addr.a1, addr.a2, addr.a3, port, scope);
  }

  /** The link or host uplink to leave by, 0 = the routing table decides. */
  #linkOf({ path }: NameServer, to: SockAddr): number {
    if (path?.kind === 'uplink') return path.uplink;
    if (path?.kind !== 'routed') return 0;
    const isRouted = this.#hub.stack.core.route(0, to.scope, to.a0, to.a1, to.a2, to.a3, 0) !== undefined;
    return isRouted ? 0 : path.otherwise;
  }
}

class UdpQuery implements Query, DatagramOwner<UdpEndpoint> {
  readonly #hub: Hub;
  readonly #query: number;
  readonly #endpoint: UdpEndpoint;
  readonly #report: Report;

  /** @param link the only one it may use, 0 = by the routing table */
  constructor(hub: Hub, family: 4 | 6, query: number, link: number, report: Report) {
    this.#hub = hub;
    this.#query = query;
    this.#report = report;
    this.#endpoint = hub.stack.udp.open(hub.stack.links.byIndex(link)?.vrf ?? 0, family, this);
    this.#endpoint.setDevice(link);
  }

  send(to: SockAddr, bytes: Uint8Array): void {
    const e = this.#endpoint;
    const { world, relayAt } = this.#hub;
    world.u8.set(bytes, relayAt);
    const failed = e.connect(to.a0, to.a1, to.a2, to.a3, to.scope, to.port);
    if (failed !== 0 || e.send(new DatagramSpec(), relayAt, bytes.length) !== 0)
      this.#report({ kind: 'failed', query: this.#query });
  }

  deliver(_e: UdpEndpoint, info: DatagramInfo, at: number, length: number, gsoSize: number): void {
    const end = gsoSize > 0 ? Math.min(length, gsoSize) : length;
    this.#report({
      kind: 'datagram',
      query: this.#query,
      from: Addr.fromWords(info.r0, info.r1, info.r2, info.r3),
      fromPort: info.remotePort,
      bytes: this.#hub.world.u8.slice(at, at + end),
    });
  }

  error(): void {
    this.#report({ kind: 'failed', query: this.#query });
  }

  close(): void {
    this.#endpoint.close();
  }
}

class TcpQuery extends Pollable implements Query, TcpOwner<TcpConnection> {
  readonly #hub: Hub;
  readonly #query: number;
  readonly #bytes: Uint8Array;
  readonly #report: Report;
  #connection: TcpConnection | undefined;
  #release: (() => void) | undefined;

  constructor(hub: Hub, query: number, bytes: Uint8Array, report: Report) {
    super();
    this.#hub = hub;
    this.#query = query;
    this.#bytes = bytes;
    this.#report = report;
  }

  /** @param link the only one it may use, 0 = by the routing table */
  connect(to: SockAddr, link: number): void {
    const opened = this.#hub.connectTcp(to, this, link);
    if (typeof opened === 'number') {
      this.#report({ kind: 'failed', query: this.#query });
      return;
    }
    this.#connection = opened.connection;
    this.#release = opened.release;
  }

  established(): void {
    this.#hub.poller.ready(this);
  }

  override onEvents(): void {}

  /** The handshake is complete: send the query. It fits into any new connection's send buffer. */
  override onReady(): void {
    const { world, relayAt } = this.#hub;
    world.u8.set(this.#bytes, relayAt);
    this.#connection?.write(relayAt, this.#bytes.length);
  }

  deliver(_c: TcpConnection, at: number, length: number): number {
    const bytes = this.#hub.world.u8.slice(at, at + length);
    this.#report({ kind: 'stream-octets', query: this.#query, bytes });
    return length;
  }

  peerFinished(): void {
    this.#report({ kind: 'failed', query: this.#query });
  }

  sendSpace(): void {}

  closed(): void {
    this.#connection = undefined;
    this.#report({ kind: 'failed', query: this.#query });
  }

  close(): void {
    this.#connection?.close();
    this.#connection = undefined;
    this.#release?.();
    this.#release = undefined;
  }
}

/** By a socket of the host kernel. */
class HostQuery extends Pollable implements Query {
  readonly #hub: Hub;
  readonly #action: Exclude<QueryAction, { readonly kind: 'close' }>;
  readonly #server: Addr;
  readonly #report: Report;
  #fd = -1;

  constructor(hub: Hub, action: Exclude<QueryAction, { readonly kind: 'close' }>, server: Addr, report: Report) {
    super();
    this.#hub = hub;
    this.#action = action;
    this.#server = server;
    this.#report = report;
  }

  start(way: HostWay, to: SockAddr): void {
    const { native, world, recordAt, poller } = this.#hub;
    const isDatagram = this.#action.kind === 'send';
    this.#fd = openHostSocket(this.#hub, way, {
      family: to.family,
      type: (isDatagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK,
      protocol: isDatagram ? IPPROTO_UDP : IPPROTO_TCP,
      to,
      local: undefined,
    });
    if (this.#fd < 0) {
      this.#failed();
      return;
    }
    const length = writeSockAddr(world.u8, recordAt, to.family, to.a0, to.a1, to.a2, to.a3, to.port, to.scope);
    const failed = native.kernelConnect(this.#fd, recordAt, length);
    if (failed < 0 && failed !== -E.EINPROGRESS) {
      this.#failed();
      return;
    }
    // The first event of either kind is that it can be written.
    poller.add(this, this.#fd, Epoll.Out);
  }

  override onEvents(events: number): void {
    if (this.#fd < 0) return;
    if ((events & Epoll.Err) !== 0) this.#failed();
    else if ((events & Epoll.Out) !== 0) this.#write();
    else this.#read();
  }

  override onReady(): void {}

  /** The query fits into any new socket's buffer. */
  #write(): void {
    const { native, world, relayAt, poller } = this.#hub;
    const { bytes } = this.#action;
    world.u8.set(bytes, relayAt);
    if (native.send(this.#fd, relayAt, bytes.length) < bytes.length) this.#failed();
    else poller.modify(this, this.#fd, Epoll.In);
  }

  #read(): void {
    const { native, world, relayAt, recordAt } = this.#hub;
    const n = native.kernelRecv(this.#fd, relayAt, STREAM_ROOM, recordAt, 28);
    if (n === -E.EAGAIN) return;
    const { kind, query, port } = this.#action;
    if (n < 0 || (n === 0 && kind === 'send-stream')) {
      this.#failed();
      return;
    }
    const bytes = world.u8.slice(relayAt, relayAt + n);
    if (kind === 'send-stream') this.#report({ kind: 'stream-octets', query, bytes });
    // A connected socket takes datagrams of its peer only.
    else this.#report({ kind: 'datagram', query, from: this.#server, fromPort: port, bytes });
  }

  #failed(): void {
    this.#report({ kind: 'failed', query: this.#action.query });
    this.close();
  }

  close(): void {
    if (this.#fd < 0) return;
    this.#hub.poller.remove(this, this.#fd);
    this.#hub.native.close(this.#fd);
    this.#fd = -1;
  }
}
