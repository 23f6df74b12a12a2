/**
 * A host of the simulated network that has nothing but TCP: one link, one address per family, the engine, and an IP
 * layer just thick enough to carry it. And an application that counts and checks a stream.
 */
import type { MutableTick } from '../../router/lib/clock.ts';
import { GsoType, type PacketLink, type PacketSink, RecordFlag } from '../../router/lib/link.ts';
import { Random } from '../../router/lib/rand.ts';
import { PagePool, World } from '../../router/lib/world.ts';
import { FlowTable, MutableFlow } from '../../router/stack/demux.ts';
import type { TcpConnection } from '../../router/tcp/connection.ts';
import { TcpEngine } from '../../router/tcp/engine.ts';
import type { TcpListener } from '../../router/tcp/listener.ts';
import type { FlowKey, IpPort, TcpOwner } from '../../router/tcp/port.ts';
import type { TcpSettings } from '../../router/tcp/settings.ts';
import { isIntact, type SimLink, SimNet, type SimNode, type SimWire, type WireOptions } from './sim.ts';

export interface HostOptions {
  /** Last octet of 10.0.0.x and of fd00::x. */
  readonly number: number;
  /** Buffer pages of 16 KiB. */
  readonly pages?: number;
  readonly seed?: number;
}

/** A flow between two hosts. */
export class SimFlow extends MutableFlow {
  static between(local: number, localPort: number, remote: number, remotePort: number, family: 4 | 6): SimFlow {
    const f = new SimFlow();
    f.isV4 = family === 4;
    if (f.isV4) {
      f.l2 = 0xffff;
      f.r2 = 0xffff;
      f.l3 = 0x0a000000 | local;
      f.r3 = 0x0a000000 | remote;
    } else {
      f.l0 = 0xfd000000 | 0;
      f.r0 = 0xfd000000 | 0;
      f.l3 = local;
      f.r3 = remote;
    }
    f.localPort = localPort;
    f.remotePort = remotePort;
    return f;
  }
}

export class TcpHost implements SimNode, IpPort, PacketSink {
  readonly world: World;
  readonly pool: PagePool;
  readonly engine: TcpEngine;
  readonly table = new FlowTable<TcpConnection>(new Random(1));
  readonly listeners = new Map<number, TcpListener>();
  readonly number: number;
  readonly #net: SimNet;
  readonly #flow = new SimFlow();
  #link: SimLink | undefined;
  routeGeneration = 1;
  /** Learned path MTU, 0 = the link's. */
  learnedMtu = 0;
  badChecksums = 0;
  /** Called at the end of each turn, before output: where applications act. */
  readonly apps: (() => void)[] = [];
  #nextPort = 40000;

  constructor(net: SimNet, options: HostOptions) {
    this.#net = net;
    this.number = options.number;
    const pages = options.pages ?? 4096;
    this.world = new World(pages * 16384 + 4 * 1024 * 1024);
    this.pool = new PagePool(this.world, 16384, pages);
    const seed = options.seed ?? options.number;
    const random = new Random(seed);
    this.engine = new TcpEngine({
      world: this.world,
      pool: this.pool,
      ip: this,
      table: this.table,
      random,
      secret: Uint8Array.from({ length: 16 }, () => random.below(256)),
      tick: net.tick,
    });
    net.add(this);
  }

  attach(link: SimLink): void {
    this.#link = link;
    this.routeGeneration++;
  }

  get link(): SimLink {
    return this.#link!;
  }

  connect(
    remote: TcpHost,
    port: number,
    owner: TcpOwner<TcpConnection>,
    settings: TcpSettings = {},
    family: 4 | 6 = 4,
  ): TcpConnection {
    const flow = SimFlow.between(this.number, this.#nextPort++, remote.number, port, family);
    return this.engine.connect(flow, owner, settings, this.#net.tick)!;
  }

  /** Listen on a port for both families; `serve` makes the owner of each connection. */
  listen(
    port: number,
    serve: (c: TcpConnection) => void,
    owner: () => TcpOwner<TcpConnection>,
    settings: TcpSettings = {},
    backlog = 128,
  ): TcpListener {
    const local = SimFlow.between(this.number, port, 0, 0, 4);
    let pending = 0;
    const listener = this.engine.listen(local, backlog, { acceptable: () => pending++ }, settings);
    this.listeners.set(port, listener);
    this.apps.push(() => {
      for (; pending > 0; pending--) {
        const c = listener.accept(owner());
        if (c !== undefined) serve(c);
      }
    });
    return listener;
  }

  // ---- SimNode

  turn(tick: MutableTick): void {
    this.#link?.poll(1 << 20, this);
    this.engine.tick(tick);
    for (const app of this.apps) app();
    if (this.#link?.isDrainWanted && this.#link.backlog <= this.#link.highWater / 2) {
      this.#link.isDrainWanted = false;
      this.engine.onLinkDrained(this.#link);
    }
    this.engine.onVectorEnd(tick);
  }

  nextDeadlineMs(tick: MutableTick): number {
    return this.engine.nextDeadlineMs(tick);
  }

  // ---- PacketSink

  onPacket(
    _link: PacketLink,
    at: number,
    length: number,
    flags: number,
    _gsoType: number,
    _hdrLen: number,
    gsoSize: number,
  ): void {
    const b = this.world.u8;
    if ((flags & RecordFlag.CsumValid) === 0 && !isIntact(b.subarray(at, at + length))) {
      this.badChecksums++;
      return;
    }
    const isV4 = b[at]! >> 4 === 4;
    const l4 = at + (isV4 ? 20 : 40);
    const f = this.#flow;
    const word = (p: number): number => (b[p]! << 24) | (b[p + 1]! << 16) | (b[p + 2]! << 8) | b[p + 3]!;
    f.isV4 = isV4;
    f.l0 = isV4 ? 0 : word(at + 24);
    f.l1 = isV4 ? 0 : word(at + 28);
    f.l2 = isV4 ? 0xffff : word(at + 32);
    f.l3 = isV4 ? word(at + 16) : word(at + 36);
    f.r0 = isV4 ? 0 : word(at + 8);
    f.r1 = isV4 ? 0 : word(at + 12);
    f.r2 = isV4 ? 0xffff : word(at + 16);
    f.r3 = isV4 ? word(at + 12) : word(at + 20);
    f.localPort = (b[l4 + 2]! << 8) | b[l4 + 3]!;
    f.remotePort = (b[l4]! << 8) | b[l4 + 1]!;
    const segment = length - (l4 - at);
    const tick = this.#net.tick;
    const c = this.table.find(f);
    if (c !== undefined && this.engine.onSegment(c, l4, segment, gsoSize, 0, tick)) return;
    const listener = this.listeners.get(f.localPort);
    if (listener !== undefined && !listener.isClosed)
      this.engine.onListenerSegment(listener, f, l4, segment, gsoSize, 0, tick);
    else this.engine.onUnknownSegment(f, l4, segment, tick);
  }

  // ---- IpPort

  resolve(): PacketLink | undefined {
    return this.#link;
  }

  pathMtu(_flow: FlowKey, link: PacketLink): number {
    return this.learnedMtu > 0 ? Math.min(this.learnedMtu, link.mtu) : link.mtu;
  }

  begin(flow: FlowKey, link: PacketLink, segmentLength: number): number {
    const ipLen = flow.isV4 ? 20 : 40;
    const at = link.reserve(ipLen + segmentLength);
    return at < 0 ? -1 : at + ipLen;
  }

  send(
    flow: FlowKey,
    link: PacketLink,
    at: number,
    headerLength: number,
    payloadLength: number,
    gsoSize: number,
    tos: number,
    ttl: number,
  ): void {
    const b = this.world.u8;
    const ipLen = flow.isV4 ? 20 : 40;
    const length = ipLen + headerLength + payloadLength;
    const p = b.subarray(at - ipLen, at);
    const put32 = (o: number, v: number): void => p.set([v >>> 24, v >>> 16, v >>> 8, v], o);
    p.fill(0);
    if (flow.isV4) {
      p.set([0x45, tos, length >> 8, length, 0, 0, 0x40, 0, ttl, 6]);
      put32(12, flow.l3);
      put32(16, flow.r3);
      let sum = 0;
      for (let i = 0; i < 20; i += 2) sum += (p[i]! << 8) | p[i + 1]!;
      sum = (sum & 0xffff) + (sum >> 16);
      sum = ~((sum & 0xffff) + (sum >> 16));
      p.set([sum >> 8, sum], 10);
    } else {
      p.set([0x60 | (tos >> 4), tos << 4, 0, 0, (length - 40) >> 8, length - 40, 6, ttl]);
      put32(8, flow.l0);
      put32(12, flow.l1);
      put32(16, flow.l2);
      put32(20, flow.l3);
      put32(24, flow.r0);
      put32(28, flow.r1);
      put32(32, flow.r2);
      put32(36, flow.r3);
    }
    const gsoType = gsoSize === 0 ? GsoType.None : flow.isV4 ? GsoType.TcpV4 : GsoType.TcpV6;
    const flags = RecordFlag.NeedsCsum | (gsoSize > 0 ? RecordFlag.Gso : 0);
    link.commit(length, flags, gsoType, gsoSize > 0 ? ipLen + headerLength : 0, gsoSize, ipLen, 16);
  }
}

/** Two hosts on one wire. */
export class TcpPair {
  readonly net: SimNet;
  readonly a: TcpHost;
  readonly b: TcpHost;
  readonly wire: SimWire;

  constructor(seed: number, options: WireOptions = {}, startMs = 1000, pages = 4096) {
    this.net = new SimNet(seed, startMs);
    this.a = new TcpHost(this.net, { number: 1, seed: seed * 2, pages });
    this.b = new TcpHost(this.net, { number: 2, seed: seed * 2 + 1, pages });
    this.wire = this.net.wire({ world: this.a.world, index: 1 }, { world: this.b.world, index: 2 }, options);
    this.a.attach(this.wire.a);
    this.b.attach(this.wire.b);
  }

  /** A client on `a` connected (or about to be) to a server on `b`. */
  open(settings: { client?: TcpSettings; server?: TcpSettings; family?: 4 | 6; port?: number } = {}): {
    client: SimApp;
    server: SimApp;
  } {
    const client = new SimApp(this.a);
    const server = new SimApp(this.b);
    client.sendSalt = server.receiveSalt = 11;
    server.sendSalt = client.receiveSalt = 77;
    const port = settings.port ?? 80;
    this.b.listen(
      port,
      (c) => {
        server.established(c);
        c.pull();
      },
      () => server,
      settings.server,
    );
    client.connection = this.a.connect(this.b, port, client, settings.client, settings.family);
    return { client, server };
  }
}

/** The octet a test stream has at a position: cheap, and wrong wherever octets are lost, moved or doubled. */
export function octetAt(position: number, salt: number): number {
  return (Math.imul(position ^ (position >>> 13), 0x9e3779b1) + salt) >>> 24;
}

/**
 * An application over one connection: sends `toSend` octets of a known stream as fast as it is let, then perhaps FIN;
 * checks what it receives against the stream of `receiveSalt`.
 */
export class SimApp implements TcpOwner<TcpConnection> {
  readonly host: TcpHost;
  connection: TcpConnection | undefined;
  toSend = 0;
  sent = 0;
  received = 0;
  /** Position of the first octet that was not what it should be, -1 = none. */
  firstWrong = -1;
  sendSalt = 0;
  receiveSalt = 0;
  finishes = true;
  /** Octets taken per `deliver`, and whether any are taken now. */
  takesAtMost = Number.POSITIVE_INFINITY;
  isReading = true;
  /** Octets supplied per write. */
  writeSize = 65536;
  isEstablished = false;
  isPeerFinished = false;
  endErrno: number | undefined;
  spaceCalls = 0;

  constructor(host: TcpHost) {
    this.host = host;
    host.apps.push(() => this.act());
  }

  /** Supply what there is room for. Runs in every turn of the host. */
  act(): void {
    const c = this.connection;
    if (c === undefined || !this.isEstablished || this.endErrno !== undefined) return;
    const b = this.host.world.u8;
    while (this.sent < this.toSend) {
      const n = c.sendSpan(Math.min(this.writeSize, this.toSend - this.sent));
      if (n === 0) break;
      for (let i = 0; i < n; i++) b[c.spanAt + i] = octetAt(this.sent + i, this.sendSalt);
      c.commitSend(n);
      this.sent += n;
    }
    if (this.sent === this.toSend && this.finishes) c.shutdownWrite();
  }

  resume(): void {
    this.isReading = true;
    this.connection?.pull();
  }

  established(c: TcpConnection): void {
    this.connection = c;
    this.isEstablished = true;
  }

  deliver(_c: TcpConnection, at: number, length: number): number {
    if (!this.isReading) return 0;
    const n = Math.min(length, this.takesAtMost);
    const b = this.host.world.u8;
    for (let i = 0; i < n && this.firstWrong < 0; i++)
      if (b[at + i] !== octetAt(this.received + i, this.receiveSalt)) this.firstWrong = this.received + i;
    this.received += n;
    return n;
  }

  peerFinished(): void {
    this.isPeerFinished = true;
  }

  sendSpace(): void {
    this.spaceCalls++;
  }

  closed(_c: TcpConnection, errno: number): void {
    this.endErrno = errno;
  }
}
