/**
 * Speakers joined by in-memory streams under a virtual clock: events happen at exact instants, and the same seed gives
 * the same run.
 */

import type {
  Attempt,
  ConnectTarget,
  FibNextHop,
  LinkId,
  NextHopResolver,
  PeerSecurity,
  Stream,
  StreamHandler,
  Transport,
  VpnPort,
  Way,
} from '../../../bgp/ports.ts';
import type { PeerConfig, Restarting, RoaTable, RouteChange, SpeakerOptions } from '../../../bgp/speaker.ts';
import { eachRoute, Speaker } from '../../../bgp/speaker.ts';
import { Addr, type Family, Prefix } from '../../../router/lib/addr.ts';
import type { Clock, Instant } from '../../../router/lib/clock.ts';

/** Numbers in [0, 1) from a seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let s = seed | 0;
  return () => {
    s = (s + 0x6d2b79f5) | 0;
    let t = Math.imul(s ^ (s >>> 15), 1 | s);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Timed {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Virtual time and what happens in it. */
export class SimClock implements Clock {
  #now = 0;
  #order = 0;
  #events: Timed[] = [];

  now(): Instant {
    return this.#now as Instant;
  }

  after(delayMs: number, run: () => void): () => void {
    const event = { at: this.#now + delayMs, order: this.#order++, run };
    this.#events.push(event);
    return () => {
      this.#events = this.#events.filter((e) => e !== event);
    };
  }

  /** Run the earliest event; false when there is none before `limit`. */
  step(limit: number): boolean {
    let first: Timed | undefined;
    for (const e of this.#events) {
      if (first === undefined || e.at < first.at || (e.at === first.at && e.order < first.order)) first = e;
    }
    if (first === undefined || first.at > limit) return false;
    this.#events.splice(this.#events.indexOf(first), 1);
    this.#now = Math.max(this.#now, first.at);
    first.run();
    return true;
  }

  runTo(at: number): void {
    while (this.step(at)) {}
    this.#now = at;
  }
}

/** A cable between two routers, and the streams over it. */
export class Cable {
  isUp = true;
  /** Octets in this direction are lost without a sign, as on a path that broke far away. */
  readonly muted = new Set<string>();
  /** A router that is busy: it reads only at multiples of so many ms, and then takes all that has come. */
  busy: { readonly name: string; readonly everyMs: number } | undefined;
  readonly id: string;
  readonly ends: readonly [SimRouter, SimRouter];
  readonly addresses: readonly [Addr, Addr];

  constructor(id: string, ends: readonly [SimRouter, SimRouter], addresses: readonly [Addr, Addr]) {
    this.id = id;
    this.ends = ends;
    this.addresses = addresses;
  }

  sideOf(r: SimRouter): 0 | 1 {
    return this.ends[0] === r ? 0 : 1;
  }
}

const LATENCY_MS = 10;

export class SimStream implements Stream {
  readonly localAddress: Addr;
  readonly cable: Cable;
  readonly owner: SimRouter;
  readonly #clock: SimClock;
  other: SimStream | undefined;
  handler: StreamHandler | undefined;
  isClosed = false;
  readonly sent: Uint8Array[] = [];
  #onTheWay: { readonly at: number; readonly octets: Uint8Array }[] = [];
  /** What was written while nothing was taken; undefined = the peer reads. */
  #held: Uint8Array[] | undefined;

  constructor(clock: SimClock, cable: Cable, owner: SimRouter) {
    this.#clock = clock;
    this.cable = cable;
    this.owner = owner;
    this.localAddress = cable.addresses[cable.sideOf(owner)];
  }

  write(octets: Uint8Array): boolean {
    this.sent.push(octets);
    this.owner.octetsSent += octets.length;
    if (this.#held !== undefined) {
      this.#held.push(octets.slice());
      return false;
    }
    this.#carry(octets);
    return true;
  }

  /** The other side stops reading, or goes on: then it gets what was written meanwhile, and the writer hears of it. */
  block(isBlocked: boolean): void {
    if (isBlocked) {
      this.#held ??= [];
      return;
    }
    for (const octets of this.#held ?? []) this.#carry(octets);
    this.#held = undefined;
    this.handler?.drained();
  }

  #carry(octets: Uint8Array): void {
    const now: number = this.#clock.now();
    this.#onTheWay.push({ at: now + LATENCY_MS, octets: octets.slice() });
    this.#clock.after(this.#wake(), () => this.#arrive());
  }

  /** The other side reads what has come by now. */
  #arrive(): void {
    const now: number = this.#clock.now();
    const read = this.#onTheWay.filter((c) => c.at <= now).map((c) => c.octets);
    this.#onTheWay = this.#onTheWay.filter((c) => c.at > now);
    const to = this.other;
    if (read.length === 0 || to === undefined || !this.cable.isUp || this.cable.muted.has(this.owner.name)) return;
    if (to.isClosed) this.#clock.after(LATENCY_MS, () => this.ended('connection reset by the peer'));
    else to.handler?.data(Buffer.concat(read));
  }

  /** How long until the other side notices what happens now. */
  #wake(): number {
    const { busy } = this.cable;
    if (busy === undefined || busy.name === this.owner.name) return LATENCY_MS;
    const now: number = this.#clock.now();
    return Math.ceil((now + LATENCY_MS) / busy.everyMs) * busy.everyMs - now;
  }

  close(_abort: boolean): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#clock.after(this.#wake(), () => {
      if (!this.cable.isUp || this.cable.muted.has(this.owner.name)) return;
      this.other?.ended('connection closed by the peer');
    });
  }

  ended(reason: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.handler?.closed(reason);
  }
}

export interface RouterOptions {
  readonly asn: number;
  readonly networks?: readonly string[];
  readonly maxPaths?: number;
  readonly roas?: RoaTable;
  /** Made anew for a speaker that takes over. */
  readonly vpn?: VpnPort | (() => VpnPort);
  readonly gracefulRestart?: SpeakerOptions['gracefulRestart'];
  /** Whatever else a speaker can be told. */
  readonly speaker?: Partial<SpeakerOptions>;
}

export class SimRouter implements Transport, NextHopResolver {
  readonly name: string;
  speaker: Speaker;
  /** Peers as they were added; a restarted speaker gets the same ones. */
  readonly peerConfigs: PeerConfig[] = [];
  readonly fib = new Map<string, readonly FibNextHop[]>();
  readonly ways = new Map<string, Way>();
  readonly cables: Cable[] = [];
  readonly streams: SimStream[] = [];
  readonly events: string[] = [];
  octetsSent = 0;
  /** Whom the speaker expects to connect. */
  secured: readonly PeerSecurity[] = [];
  fibChanges = 0;
  /** Prefixes from before a restart that were not told again. */
  readonly #old = new Set<string>();
  /** How often a restarted speaker said that its routes are complete. */
  settlements = 0;
  /** Refuses every connection. */
  isDeaf = false;
  readonly #net: SimNet;
  readonly #id: number;
  readonly #options: RouterOptions;
  #cancel: () => void = () => {};
  #accept: ((stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined) | undefined;
  #onLink: (link: LinkId, isUp: boolean) => void = () => {};

  constructor(net: SimNet, name: string, id: number, o: RouterOptions) {
    this.#net = net;
    this.name = name;
    this.#id = id;
    this.#options = o;
    this.speaker = this.#newSpeaker();
  }

  #newSpeaker(restarting?: Restarting): Speaker {
    const net = this.#net;
    const o = this.#options;
    const speaker: Speaker = new Speaker({
      asn: o.asn,
      routerId: Addr.v4(0x0a000000 + this.#id),
      clock: net.clock,
      random: net.random,
      transport: this,
      resolver: this,
      sink: {
        ...eachRoute((change) => this.#routeChanged(change)),
        settled: () => {
          this.settlements++;
          for (const prefix of this.#old) this.fib.delete(prefix);
          this.#old.clear();
        },
      },
      networks: (o.networks ?? []).map((n) => ({ prefix: Prefix.parse(n)! })),
      multipath: { maxPaths: o.maxPaths ?? 1 },
      ...(o.vpn !== undefined && { vpn: typeof o.vpn === 'function' ? o.vpn() : o.vpn }),
      ...(o.roas !== undefined && { roas: o.roas }),
      ...(o.gracefulRestart !== undefined && { gracefulRestart: o.gracefulRestart }),
      ...(restarting !== undefined && { restarting }),
      ...o.speaker,
      onEvent: (e) => {
        if (e.kind === 'state') this.events.push(`${e.peer} ${e.from}->${e.to}`);
        else if (e.kind === 'limit') this.events.push(`${e.peer} ${e.crossing} ${e.limit} of ${e.family}`);
        else this.events.push(`${e.peer} fault ${e.text}`);
      },
    });
    this.#cancel = this.#net.drive(speaker);
    return speaker;
  }

  addPeer(config: PeerConfig): void {
    this.peerConfigs.push(config);
    this.speaker.addPeer(config);
  }

  /** The speaker is gone without a word; its routes stay in the FIB. The kernel resets the connections. */
  crash(): void {
    this.#cancel();
    this.#accept = undefined;
    this.#onLink = () => {};
    for (const s of this.streams) s.close(true);
  }

  /** Another speaker takes over after `crash`. */
  restart(restarting?: Restarting): void {
    for (const prefix of this.fib.keys()) this.#old.add(prefix);
    this.speaker = this.#newSpeaker(restarting);
    for (const config of this.peerConfigs) this.speaker.addPeer(config);
    this.speaker.start();
  }

  #routeChanged({ prefix, way }: RouteChange): void {
    this.fibChanges++;
    this.#old.delete(prefix.toString());
    if (way === undefined) {
      this.fib.delete(prefix.toString());
      this.ways.delete(prefix.toString());
    } else {
      this.fib.set(prefix.toString(), way.nextHops);
      this.ways.set(prefix.toString(), way);
    }
  }

  isUp(link: LinkId): boolean {
    return this.cables.find((c) => c.id === link)?.isUp ?? false;
  }

  subscribe(listener: (link: LinkId, isUp: boolean) => void): void {
    this.#onLink = listener;
  }

  linkChanged(link: LinkId, isUp: boolean): void {
    this.#onLink(link, isUp);
  }

  secure(peers: readonly PeerSecurity[]): void {
    this.secured = peers;
  }

  listen(accept: (stream: Stream, remote: Addr, link: LinkId) => StreamHandler | undefined): void {
    this.#accept = accept;
  }

  connect(target: ConnectTarget, opened: (s: Stream) => StreamHandler, failed: (reason: string) => void): Attempt {
    const { clock } = this.#net;
    const cable = this.cables.find((c) => c.id === target.link);
    if (cable === undefined) throw new Error(`${this.name} has no uplink ${target.link}`);
    const remote = cable.ends[1 - cable.sideOf(this)]!;
    let isAborted = false;
    clock.after(2 * LATENCY_MS, () => {
      if (isAborted || !cable.isUp || cable.muted.size > 0) return;
      if (remote.isDeaf || remote.#accept === undefined) {
        failed('connection refused');
        return;
      }
      const mine = new SimStream(clock, cable, this);
      const theirs = new SimStream(clock, cable, remote);
      mine.other = theirs;
      theirs.other = mine;
      this.streams.push(mine);
      // The passive side hears of the connection half a round trip after the active one, and before its first octets.
      clock.after(LATENCY_MS, () => {
        if (theirs.isClosed) return;
        remote.streams.push(theirs);
        theirs.handler = remote.#accept?.(theirs, mine.localAddress, cable.id); // it may have crashed meanwhile
        if (theirs.handler === undefined) theirs.close(false);
      });
      mine.handler = opened(mine);
    });
    return { abort: () => (isAborted = true) };
  }

  /** The view of one session. */
  session(peer: string) {
    return this.speaker.snapshot().find((p) => p.name === peer)!;
  }
}

export class SimNet {
  readonly clock = new SimClock();
  readonly random: () => number;
  readonly routers: SimRouter[] = [];
  readonly cables: Cable[] = [];

  constructor(seed: number) {
    this.random = randomFrom(seed);
  }

  /**
   * Keep one timer of the virtual clock set to a speaker's deadline.
   * @returns stops
   */
  drive(speaker: Speaker): () => void {
    const { clock } = this;
    let armed: number | undefined;
    let cancel = (): void => {};
    speaker.onActivity = () => {
      const at = speaker.deadline();
      if (at === armed) return;
      cancel();
      armed = at;
      if (at === undefined) return;
      cancel = clock.after(Math.max(0, at - clock.now()), () => {
        armed = undefined;
        speaker.tick(clock.now());
        speaker.onActivity();
      });
    };
    return () => {
      speaker.onActivity = () => {};
      cancel();
    };
  }

  router(name: string, options: RouterOptions): SimRouter {
    const r = new SimRouter(this, name, this.routers.length + 1, options);
    this.routers.push(r);
    return r;
  }

  /** Join two routers by a cable and make them peers over its link-local addresses. */
  join(a: SimRouter, b: SimRouter, config: Partial<PeerConfig> = {}, configOfB: Partial<PeerConfig> = config): Cable {
    const n = this.cables.length + 1;
    const addresses = [Addr.parse(`fe80::${n}:1`)!, Addr.parse(`fe80::${n}:2`)!] as const;
    const cable = new Cable(`${a.name}-${b.name}`, [a, b], addresses);
    this.cables.push(cable);
    a.cables.push(cable);
    b.cables.push(cable);
    const common = { link: cable.id, import: 'accept-all', export: 'accept-all' } as const;
    a.addPeer({ ...common, name: b.name, address: addresses[1], asn: b.speaker.asn, ...config });
    b.addPeer({ ...common, name: a.name, address: addresses[0], asn: a.speaker.asn, ...configOfB });
    return cable;
  }

  start(): void {
    for (const r of this.routers) r.speaker.start();
  }

  /** Both ends notice at once, as with an interface that goes down. */
  setCable(cable: Cable, isUp: boolean): void {
    if (cable.isUp === isUp) return;
    cable.isUp = isUp;
    for (const r of cable.ends) {
      if (!isUp) for (const s of r.streams) if (s.cable === cable) s.isClosed = true;
      r.linkChanged(cable.id, isUp);
    }
  }

  run(ms: number): void {
    this.clock.runTo(this.clock.now() + ms);
  }

  runUntil(isTrue: () => boolean, limitMs = 600_000): void {
    const limit = this.clock.now() + limitMs;
    while (!isTrue()) {
      if (!this.clock.step(limit)) throw new Error(`nothing more happens at ${this.clock.now()} ms`);
    }
  }
}

/** The router a FIB entry points to. */
export function neighbourOf(r: SimRouter, hop: FibNextHop): SimRouter {
  const cable = r.cables.find((c) => c.id === hop.link)!;
  return cable.ends[1 - cable.sideOf(r)]!;
}

/** The prefix that router number `n` originates. */
export function prefixFor(n: number, family: Family): string {
  return family === 4 ? `172.20.${n}.0/24` : `fd42:${(n + 1).toString(16)}::/48`;
}
