/**
 * The data-plane worker: owns the stack, the rings and the apps' descriptors, and runs to completion over vectors
 * (docs/architecture.md). It never returns to Node's event loop: messages are taken with receiveMessageOnPort when the
 * wake eventfd fires. What must not happen (an exception in here) ends the worker after every app was shown a reset.
 */
import { readFileSync } from 'node:fs';
import { getHeapStatistics } from 'node:v8';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { WgRing } from '../../wg/ring.ts';
import { FibReader } from '../fib/reader.ts';
import type { FibShared } from '../fib/shared.ts';
import { Addr, Prefix } from '../lib/addr.ts';
import { MutableTick } from '../lib/clock.ts';
import type { PacketLink, PacketSink, PacketSource } from '../lib/link.ts';
import { revived } from '../lib/post.ts';
import { Random, systemEntropy } from '../lib/rand.ts';
import { PagePool, World } from '../lib/world.ts';
import { Epoll, loadNative } from '../native/index.ts';
import { DnsDoor } from '../shimlink/dns-door.ts';
import { DnsForwarder } from '../shimlink/dns-forwarder.ts';
import { HostsFile, ServicesFile } from '../shimlink/hosts.ts';
import { FORWARDER_4, FORWARDER_6, Hub } from '../shimlink/hub.ts';
import { LoopbackLink } from '../shimlink/loopback.ts';
import { NameService } from '../shimlink/name-service.ts';
import { Pollable, Poller } from '../shimlink/poller.ts';
import { E } from '../shimlink/proto.ts';
import { Requests } from '../shimlink/requests.ts';
import { Resolver } from '../shimlink/resolver.ts';
import { Server } from '../shimlink/server.ts';
import type { LinkAddress } from '../stack/port.ts';
import { Stack } from '../stack/stack.ts';
import { TcpEngine } from '../tcp/engine.ts';
import { DataplaneBfd } from './dataplane-bfd.ts';
import { Capture } from './dataplane-capture.ts';
import { Pings } from './dataplane-ping.ts';
import { DataplanePolicy } from './dataplane-policy.ts';
import { DataplaneProbes } from './dataplane-probe.ts';
import type {
  DataplaneBoot,
  DataplaneSettings,
  DataplaneStats,
  FromDataplane,
  LinkSpec,
  ToDataplane,
} from './dataplane-protocol.ts';
import { DataplaneStreams } from './dataplane-streams.ts';
import { resolverSettings } from './name-servers.ts';

/** Records taken from one source per vector. */
const VECTOR = 256;
/** How long to look again before sleeping: a wake-up costs more than this. */
const SPIN_US = 30;
/** `#nextWait`: look again for SPIN_US instead of sleeping. */
const SPIN = -1;
/** Rings looked at while spinning; the others wait until it ends. */
const MAX_WATCHED = 64;
const BUFFER_PAGE = 16384;
const LOOPBACK_INDEX = 1;
/** Loopback links of further VRFs; tunnels are numbered from 2 up. */
const VRF_LOOPBACK_INDEX = 0x10000;
/** Sleep when nothing is due: any bound will do. */
const IDLE_MS = 3_600_000;

type LinkCounters = Pick<
  DataplaneStats['links'][number],
  'rxPackets' | 'rxBytes' | 'txPackets' | 'txBytes' | 'txDropped'
>;

/** An eventfd whose only job is to end the wait. */
class Doorbell extends Pollable {
  readonly fd: number;
  readonly #drain: (fd: number) => number;
  hasRung = false;

  constructor(fd: number, drain: (fd: number) => number) {
    super();
    this.fd = fd;
    this.#drain = drain;
  }

  override onEvents(): void {
    this.#drain(this.fd);
    this.hasRung = true;
  }

  override onReady(): void {}
}

interface Child {
  readonly ring: WgRing;
  readonly bell: Doorbell;
}

class Dataplane {
  readonly #native = loadNative();
  readonly #world: World;
  readonly #tick = new MutableTick();
  readonly #poller: Poller;
  readonly #fib: FibReader;
  readonly #stack: Stack;
  readonly #tcp: TcpEngine;
  readonly #hub: Hub;
  readonly #server: Server;
  readonly #requests: Requests;
  readonly #resolver: Resolver;
  readonly #forwarder: DnsForwarder;
  readonly #names: NameService;
  readonly #capture: Capture;
  readonly #pings: Pings;
  readonly #policy: DataplanePolicy;
  readonly #wake: Doorbell;
  readonly #watchAt: number;
  readonly #children = new Map<number, Child>();
  readonly #loopbacks: LoopbackLink[] = [];
  readonly #streams: DataplaneStreams;
  readonly #bfd: DataplaneBfd;
  #settings: DataplaneSettings;
  /** Sources of packets, flat for the loop. */
  #sources: PacketSource[] = [];
  #rings: WgRing[] = [];
  #links: PacketLink[] = [];
  #sink: PacketSink;
  #hasNameServers = false;
  #drainId: number | undefined;
  #isStopped = false;
  #turns = 0;
  #sleeps = 0;

  constructor(boot: DataplaneBoot) {
    const native = this.#native;
    const world = new World(boot.memory, boot.arenaAt);
    native.attachWorld(world.u8);
    this.#world = world;
    this.#settings = boot.settings;
    this.#poller = new Poller(native, world);
    this.#watchAt = world.alloc(4 + 8 * MAX_WATCHED);
    this.#poller.poll(0);
    this.#readClock();
    const seed = new DataView(systemEntropy(4).buffer).getInt32(0);
    const random = new Random(seed);
    this.#fib = new FibReader(boot.fib as FibShared);
    const pool = new PagePool(world, BUFFER_PAGE, Math.max(64, Math.floor(boot.settings.bufferBytes / BUFFER_PAGE)));
    this.#stack = new Stack({ world, pages: pool, fib: this.#fib, tick: this.#tick, random });
    this.#tcp = new TcpEngine({
      world,
      pool,
      ip: this.#stack.ip,
      table: this.#stack.tcpDemux,
      random,
      secret: systemEntropy(16),
      tick: this.#tick,
    });
    this.#stack.attachTcp(this.#tcp);
    const uid = process.getuid?.() ?? 0;
    this.#hub = new Hub({
      native,
      world,
      poller: this.#poller,
      stack: this.#stack,
      tcp: this.#tcp,
      tick: this.#tick,
      session: boot.session,
      uid,
    });
    this.#streams = new DataplaneStreams(this.#hub, post);
    this.#bfd = new DataplaneBfd(this.#hub, this.#tick, random, post);
    const entropy = (): number => new DataView(systemEntropy(4).buffer).getUint32(0);
    this.#resolver = new Resolver({ servers: [], search: [] }, entropy);
    this.#forwarder = new DnsForwarder(entropy);
    const hosts = new HostsFile(textOf('/etc/hosts'));
    const services = new ServicesFile(textOf('/etc/services'));
    this.#names = new NameService(this.#hub, this.#resolver, this.#forwarder, hosts, services);
    this.#hub.dns = this.#names;
    this.#requests = new Requests(this.#hub, this.#names, process.pid);
    this.#server = new Server(native, world, this.#hub.area, this.#poller, boot.shimFd, uid, this.#requests);
    this.#pings = new Pings(this.#stack, world, this.#tick);
    this.#capture = new Capture(this.#stack, world.u8);
    this.#policy = new DataplanePolicy({
      hub: this.#hub,
      probes: new DataplaneProbes(this.#hub, this.#pings, random),
      tick: this.#tick,
      random,
      post,
      octetsOf: (link) => this.#octetsOf(link),
    });
    this.#names.onAnswer = (name, addr) => this.#policy.learned(name, addr);
    this.#sink = this.#stack;
    this.#wake = new Doorbell(boot.wakeFd, native.drain);
    this.#poller.add(this.#wake, boot.wakeFd, Epoll.In);
    this.#addLoopback(0);
    DnsDoor.open(this.#hub);
    this.#applySettings(boot.settings);
  }

  // ---- The loop

  run(): void {
    post({ kind: 'ready' });
    let wait = 0;
    while (!this.#isStopped) {
      const events = wait === SPIN ? this.#poller.spin(SPIN_US, this.#watchAt) : this.#poller.poll(wait);
      this.#readClock();
      if (wait > 0) for (const ring of this.#rings) ring.awake();
      let work = events;
      for (const source of this.#sources) work += source.poll(VECTOR, this.#sink);
      this.#poller.dispatch(events);
      if (this.#wake.hasRung) this.#takeMessages();
      this.#poller.runReady();
      this.#hub.runDue();
      this.#names.tick();
      this.#bfd.tick();
      this.#policy.tick();
      this.#stack.tick();
      this.#stack.endVector();
      for (const link of this.#links) link.flush();
      if (this.#capture.isActive) this.#capture.flush((id, packets) => post({ kind: 'captured', id, packets }));
      this.#turns++;
      wait = this.#nextWait(work > 0 || wait > 0);
    }
  }

  #readClock(): void {
    this.#tick.us = this.#poller.clockUs;
    this.#tick.ms = this.#poller.clockMs;
  }

  /** How long the next wait may be, in ms; 0 while there is work, SPIN after there was some: more is likely to follow. */
  #nextWait(isBusy: boolean): number {
    if (this.#poller.hasReady) return 0;
    for (const l of this.#loopbacks) if (l.pending > 0) return 0;
    if (isBusy) return this.#watchRings() ? SPIN : 0;
    this.#answerDrain();
    let timeoutMs = soonest(this.#stack.nextDeadlineMs(), this.#hub.dueInMs());
    timeoutMs = soonest(timeoutMs, this.#names.dueInMs());
    timeoutMs = soonest(timeoutMs, this.#bfd.dueInMs());
    timeoutMs = soonest(timeoutMs, this.#policy.dueInMs());
    if (timeoutMs === 0) return 0;
    for (let i = 0; i < this.#rings.length; i++) {
      if (this.#rings[i]!.prepareSleep()) continue;
      for (let j = 0; j < i; j++) this.#rings[j]!.awake();
      return 0;
    }
    this.#sleeps++;
    return timeoutMs < 0 ? IDLE_MS : timeoutMs;
  }

  /** Name the words that tell of new records. @returns false when there are some already */
  #watchRings(): boolean {
    let w = this.#watchAt >> 2;
    const count = Math.min(this.#rings.length, MAX_WATCHED);
    this.#world.i32[w++] = count;
    for (let i = 0; i < count; i++, w += 2) if (!this.#rings[i]!.watch(w)) return false;
    return true;
  }

  // ---- Messages

  #takeMessages(): void {
    this.#wake.hasRung = false;
    for (let m = receiveMessageOnPort(parentPort!); m !== undefined; m = receiveMessageOnPort(parentPort!))
      this.#onMessage(m.message as ToDataplane);
  }

  #onMessage(m: ToDataplane): void {
    switch (m.kind) {
      case 'attach-child':
        this.#attachChild(m);
        break;
      case 'detach-child':
        this.#detachChild(m.child);
        break;
      case 'link-add':
        this.#addLink(m.link);
        break;
      case 'link-remove':
        this.#removeLink(m.index);
        break;
      case 'link-state':
        this.#stack.setLinkState(m.index, m.up);
        this.#policy.linkState(m.index, m.up);
        break;
      case 'host-state':
        this.#policy.hostState(
          m.link,
          m.addresses.flatMap((text) => Addr.parse(text) ?? []),
        );
        break;
      case 'host-own':
        this.#policy.hostOwn(m.addresses.flatMap((text) => Addr.parse(text) ?? []));
        break;
      case 'host-octets':
        this.#policy.hostOctets(m.octets);
        break;
      case 'tunnel-state':
        this.#policy.tunnelState(m.index, m.isAlive);
        break;
      case 'host-probed':
        this.#policy.hostProbed(m.uplink, m.probe, m.result);
        break;
      case 'settings':
        this.#applySettings(m.settings);
        break;
      case 'fib':
        this.#fib.refresh(m.fib as FibShared);
        break;
      case 'fib-replace':
        this.#fib.replace(m.fib as FibShared);
        break;
      case 'stream-connect':
        this.#streams.connect(m);
        break;
      case 'stream-listen':
        this.#streams.listen(m);
        break;
      case 'stream-unlisten':
        this.#streams.unlisten(m);
        break;
      case 'stream-secure':
        this.#streams.secure(m);
        break;
      case 'bfd-watch':
        this.#bfd.watch(m);
        break;
      case 'bfd-unwatch':
        this.#bfd.unwatch(m);
        break;
      case 'bfd-show':
        post({ kind: 'reply', id: m.id, result: this.#bfd.show() });
        break;
      case 'ping':
        this.#ping(m);
        break;
      case 'uplinks':
        post({ kind: 'reply', id: m.id, result: this.#policy.report() });
        break;
      case 'drain-uplink':
        post({ kind: 'reply', id: m.id, result: { found: this.#policy.drain(m.name, m.isDrained) } });
        break;
      case 'stats':
        post({ kind: 'reply', id: m.id, result: this.#stats() });
        break;
      case 'flows':
        post({ kind: 'reply', id: m.id, result: this.#flows() });
        break;
      case 'capture-start':
        this.#capture.start(m.id, m.link, m.snapLength);
        this.#sink = this.#capture;
        post({ kind: 'reply', id: m.id, result: {} });
        break;
      case 'capture-stop':
        this.#capture.stop(m.id);
        if (!this.#capture.isActive) this.#sink = this.#stack;
        break;
      case 'drain':
        this.#drainId = m.id;
        this.#requests.isDraining = true;
        break;
      case 'stop':
        this.#isStopped = true;
        this.close();
        break;
    }
  }

  #attachChild(m: ToDataplane & { readonly kind: 'attach-child' }): void {
    this.#detachChild(m.child);
    const ring = new WgRing(
      this.#world,
      m.base,
      m.ringBytes,
      () => this.#native.signal(m.txEventFd),
      (link) => this.#linkDrained(link),
    );
    const bell = new Doorbell(m.rxEventFd, this.#native.drain);
    this.#poller.add(bell, m.rxEventFd, Epoll.In);
    this.#children.set(m.child, { ring, bell });
    this.#arrange();
  }

  #detachChild(child: number): void {
    const c = this.#children.get(child);
    if (c === undefined) return;
    this.#poller.remove(c.bell, c.bell.fd);
    this.#children.delete(child);
    this.#arrange();
  }

  /** Keep the loop's lists. */
  #arrange(): void {
    this.#rings = [...this.#children.values()].map((c) => c.ring);
    this.#sources = [...this.#rings, ...this.#loopbacks];
    this.#links = this.#stack.links.all().map((l) => l.link);
  }

  #addLink(spec: LinkSpec): void {
    const child = this.#children.get(spec.child);
    if (child === undefined) {
      this.#log('error', `link ${spec.name}: there is no child ${spec.child}`);
      return;
    }
    if (spec.vrf !== 0) this.#addLoopback(spec.vrf);
    const link = child.ring.addLink(spec);
    this.#stack.addLink(link, spec.addresses.flatMap(linkAddress));
    this.#capture.refresh();
    this.#arrange();
    this.#applyNames();
  }

  #removeLink(index: number): void {
    const link = this.#stack.links.byIndex(index)?.link;
    this.#stack.setLinkState(index, false);
    this.#stack.removeLink(index);
    for (const { ring } of this.#children.values()) if (link !== undefined) ring.removeLink(link as never);
    this.#hub.linkDrained();
    this.#arrange();
  }

  /** Where packets to our own addresses go; with `loopback: stack` it holds 127.0.0.0/8 and ::1 as well. */
  #addLoopback(vrf: number): void {
    if (this.#loopbacks.some((l) => l.vrf === vrf)) return;
    const index = vrf === 0 ? LOOPBACK_INDEX : VRF_LOOPBACK_INDEX + vrf;
    const link = new LoopbackLink(this.#world, index, vrf === 0 ? 'lo' : `lo.${vrf}`, vrf);
    link.onDrained = (l) => this.#linkDrained(l);
    this.#loopbacks.push(link);
    const hosts = this.#settings.loopback === 'stack' ? ['127.0.0.1/8', '::1/128'] : [];
    const doors = vrf === 0 ? [`${FORWARDER_4.toAddr()}/32`, `${FORWARDER_6.toAddr()}/128`] : [];
    this.#stack.addLink(link, [...hosts, ...doors].flatMap(linkAddress), { isLoopback: true });
    this.#arrange();
  }

  #linkDrained(link: PacketLink): void {
    // The stack may know the link by its tap.
    this.#stack.linkDrained(this.#stack.links.byIndex(link.index)?.link ?? link);
    this.#hub.linkDrained();
  }

  #applySettings(s: DataplaneSettings): void {
    this.#settings = s;
    const source = (text: string | undefined): Addr | undefined => (text === undefined ? undefined : Addr.parse(text));
    this.#stack.setSources(source(s.source.v4), source(s.source.v6));
    const policy = revived(s.policy);
    const dns = resolverSettings(s, policy.uplinks);
    this.#names.configure(dns);
    this.#hasNameServers = dns.servers.length > 0 || policy.uplinks.some((u) => u.dns.length > 0);
    this.#policy.configure(policy);
    this.#applyNames();
  }

  /** Zones in server addresses need the links to be known. */
  #applyNames(): void {
    const { hostNameServers, loopback } = this.#settings;
    const indexOf = (name: string): number | undefined => this.#hub.linkByName(name);
    this.#hub.settings = {
      hasLoopback: loopback === 'stack',
      hasNameServers: this.#hasNameServers,
      hostNameServers: Hub.nameServers(hostNameServers, indexOf),
    };
  }

  // ---- Figures

  #ping(m: ToDataplane & { readonly kind: 'ping' }): void {
    const remote = Addr.parse(m.remote);
    const link = this.#stack.links.all().find((l) => l.link.name === m.link)?.link.index;
    if (remote === undefined || link === undefined) {
      post({ kind: 'reply', id: m.id, result: undefined, errno: E.EINVAL });
      return;
    }
    this.#pings.send({ to: remote, link }, (rttUs, errno) => {
      post({ kind: 'reply', id: m.id, result: { rttUs }, errno });
    });
  }

  #octetsOf(link: number): number {
    const entry = this.#stack.links.byIndex(link);
    if (entry === undefined) return 0;
    const { rxBytes, txBytes } = countersOf(entry.link);
    return rxBytes + txBytes;
  }

  #stats(): DataplaneStats {
    const { counters } = this.#stack.core;
    const links = this.#stack.links
      .all()
      .filter((l) => !l.isLoopback)
      .map((l) => {
        const { rxPackets, rxBytes, txPackets, txBytes, txDropped } = countersOf(l.link);
        return { index: l.index, rxPackets, rxBytes, txPackets, txBytes, txDropped };
      });
    // With --expose-gc (benchmarks) only what is still in use counts.
    globalThis.gc?.();
    const all: Record<string, number> = {
      ...counters.eventTotals(),
      turns: this.#turns,
      sleeps: this.#sleeps,
      addon_calls: this.#native.callCount(),
      heap_used: getHeapStatistics().used_heap_size,
    };
    Object.assign(all, this.#policy.counters());
    for (const [name, value] of Object.entries(this.#tcp.counters)) all[`tcp_${name}`] = value as number;
    for (const [name, value] of Object.entries(this.#hub.counters)) all[`shim_${name}`] = value;
    for (const [name, value] of Object.entries(this.#server.counters)) all[`shim_${name}`] = value as number;
    for (const { counters: dns } of [this.#resolver, this.#forwarder])
      for (const [name, value] of Object.entries(dns)) all[`dns_${name}`] = value;
    for (const ring of this.#rings)
      for (const [name, value] of Object.entries(ring.counters())) all[name] = (all[name] ?? 0) + value;
    return {
      links,
      drops: counters.dropTotals(),
      counters: all,
      tcpConnections: this.#stack.tcpDemux.size,
      apps: this.#hub.countApps(process.pid),
      sockets: this.#hub.countSockets(process.pid),
    };
  }

  #flows(): unknown {
    const flows: unknown[] = [];
    for (const c of { [Symbol.iterator]: () => this.#stack.tcpDemux[Symbol.iterator]() }) {
      flows.push({
        protocol: 'tcp',
        vrf: c.vrf,
        local: String(Addr.fromWords(c.l0, c.l1, c.l2, c.l3)),
        localPort: c.localPort,
        remote: String(Addr.fromWords(c.r0, c.r1, c.r2, c.r3)),
        remotePort: c.remotePort,
        link: c.link?.name,
        state: c.state,
        rttUs: c.info.rttUs,
        bytesSent: c.info.bytesSent,
        bytesReceived: c.info.bytesReceived,
      });
    }
    return flows;
  }

  // ---- The end

  #answerDrain(): void {
    if (this.#drainId === undefined || this.#hub.countSockets(process.pid) > 0) return;
    post({ kind: 'reply', id: this.#drainId, result: {} });
    this.#drainId = undefined;
  }

  #log(level: 'debug' | 'info' | 'warn' | 'error', message: string): void {
    post({ kind: 'log', level, component: 'dataplane', message });
  }

  /** Let every app see a reset, and send what that takes. */
  close(): void {
    this.#server.stop();
    this.#streams.close();
    this.#bfd.stop();
    this.#hub.closeAll();
    this.#stack.endVector();
    for (const link of this.#links) link.flush();
  }
}

/** A link that is being captured is wrapped. */
function countersOf(link: PacketLink): LinkCounters {
  return ('real' in link ? link.real : link) as LinkCounters;
}

function post(m: FromDataplane): void {
  parentPort!.postMessage(m);
}

function soonest(a: number, b: number): number {
  if (a < 0) return b;
  return b < 0 ? a : Math.min(a, b);
}

/** ADDR/LENGTH as a link's address; nothing for text that is none (the configuration was checked). */
function linkAddress(text: string): LinkAddress[] {
  const p = Prefix.parseLoose(text);
  return p === undefined ? [] : [{ addr: p.addr, prefixLength: p.prefix.length }];
}

/** A file of the host, empty when it is missing. */
function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

const dataplane = new Dataplane(workerData as DataplaneBoot);
try {
  dataplane.run();
} catch (e) {
  post({
    kind: 'log',
    level: 'error',
    component: 'dataplane',
    message: `internal error: ${(e as Error).stack ?? String(e)}`,
  });
  try {
    dataplane.close();
  } finally {
    process.exit(1);
  }
}
process.exit(0);
