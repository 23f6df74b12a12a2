/**
 * BFD over the sockets of our own stack. It lives in the data-plane worker, where nothing blocks for long: a full table in
 * the routing worker must neither delay our packets nor make a neighbour look silent. The routing worker says whom to
 * watch and hears of changes; packets never leave this thread.
 */

import type { BfdChange, BfdTarget } from '../../bgp/bfd/bfd.ts';
import { BFD_MULTIHOP_PORT, BFD_PORT, BFD_SOURCE_FIRST, BFD_TTL, Bfd, type BfdPort } from '../../bgp/bfd/bfd.ts';
import { Addr } from '../lib/addr.ts';
import type { Instant, Tick } from '../lib/clock.ts';
import { revived } from '../lib/post.ts';
import type { Random } from '../lib/rand.ts';
import type { Hub } from '../shimlink/hub.ts';
import { type DatagramInfo, type DatagramOwner, DatagramSpec } from '../stack/port.ts';
import type { UdpEndpoint } from '../stack/udp-endpoint.ts';
import { bfdDigest } from './bfd-digest.ts';
import type { FromDataplane, ToDataplane } from './dataplane-protocol.ts';

type Message<K extends ToDataplane['kind']> = Extract<ToDataplane, { readonly kind: K }>;

/** Class selector 6, as all routing protocols (RFC 2474 §4.2.2.2). */
const TOS = 0xc0;
/** Of sessions that keep to no link. */
const DEFAULT_VRF = 0;
const PACKET_ROOM = 64;
/** Source ports tried before a session has to do with any free one. */
const PORT_TRIES = 64;

/** Sockets that only send: what arrives there is nobody's. */
const DEAF: DatagramOwner<UdpEndpoint> = { deliver: () => undefined, error: () => undefined };

interface Sender {
  readonly endpoint: UdpEndpoint;
  readonly spec: DatagramSpec;
}

export class DataplaneBfd implements BfdPort, DatagramOwner<UdpEndpoint> {
  readonly #hub: Hub;
  readonly #tick: Tick;
  readonly #random: Random;
  readonly #bfd: Bfd;
  readonly #post: (m: FromDataplane) => void;
  readonly #at: number;
  readonly #senders = new Map<number, Sender>();
  /** Sockets that hear, by VRF and port. */
  readonly #listeners = new Map<string, UdpEndpoint>();
  #lastMs: number;
  #nowMs = 0;
  /** When the next timer fires, on the tick's scale: looked at once per vector, so it is kept and not searched for. */
  #dueMs = 0;
  #isDue = false;

  constructor(hub: Hub, tick: Tick, random: Random, post: (m: FromDataplane) => void) {
    this.#hub = hub;
    this.#post = post;
    this.#tick = tick;
    this.#random = random;
    this.#lastMs = tick.ms;
    this.#at = hub.world.alloc(PACKET_ROOM);
    this.#bfd = new Bfd({
      random: () => (random.int32() >>> 0) / 2 ** 32,
      port: this,
      digest: bfdDigest,
      onChange: (change) => post({ kind: 'bfd-change', change }),
    });
  }

  watch(m: Message<'bfd-watch'>): void {
    const target = revived(m.target);
    this.#listen(this.#vrfOf(target), target.multihop ? BFD_MULTIHOP_PORT : BFD_PORT);
    this.#bfd.watch(m.name, target, m.settings, this.#now());
    // The session may have stood before, in another's name or for a worker that ended.
    if (this.#bfd.stateOf(m.name) === 'Up') this.#post({ kind: 'bfd-change', change: standing(m.name) });
    this.#arm();
  }

  unwatch(m: Message<'bfd-unwatch'>): void {
    this.#bfd.unwatch(m.name, this.#now());
    this.#arm();
    if (this.#bfd.size > 0) return;
    for (const e of this.#listeners.values()) e.close();
    this.#listeners.clear();
  }

  show(): { readonly sessions: ReturnType<Bfd['snapshot']>; readonly drops: Record<string, number> } {
    return { sessions: this.#bfd.snapshot(this.#now()), drops: Object.fromEntries(this.#bfd.drops) };
  }

  /** Tell every peer that we go on purpose. */
  stop(): void {
    this.#bfd.close(this.#now());
  }

  /** Once per vector, after its input: what arrived counts before a detection time does. */
  tick(): void {
    if (!this.#isDue || ((this.#tick.ms - this.#dueMs) | 0) < 0) return;
    this.#bfd.tick(this.#now());
    this.#arm();
  }

  /** Milliseconds until `tick` has work, -1 = never. */
  dueInMs(): number {
    return this.#isDue ? Math.max(0, (this.#dueMs - this.#tick.ms) | 0) : -1;
  }

  // ---- BfdPort

  open(id: number, target: BfdTarget): void {
    const { remote: r, local: l } = target;
    const endpoint = this.#hub.stack.udp.open(this.#vrfOf(target), r.family, DEAF);
    endpoint.ttl = BFD_TTL;
    endpoint.tos = TOS;
    const link = target.multihop ? 0 : this.#linkOf(target);
    const [l0, l1, l2, l3] = l === undefined ? [0, 0, r.family === 4 ? 0xffff : 0, 0] : [l.a0, l.a1, l.a2, l.a3];
    for (let tries = 0; tries < PORT_TRIES; tries++) {
      const port = BFD_SOURCE_FIRST + this.#random.below(0x10000 - BFD_SOURCE_FIRST);
      if (endpoint.bind(l0!, l1!, l2!, l3!, link, port) === 0) break;
    }
    const spec = new DatagramSpec();
    spec.hasRemote = true;
    spec.r0 = r.a0;
    spec.r1 = r.a1;
    spec.r2 = r.a2;
    spec.r3 = r.a3;
    spec.remotePort = target.multihop ? BFD_MULTIHOP_PORT : BFD_PORT;
    spec.link = link;
    spec.scope = r.isLinkLocal && r.family === 6 ? link : 0;
    this.#senders.set(id, { endpoint, spec });
  }

  send(id: number, octets: Uint8Array): void {
    const sender = this.#senders.get(id);
    if (sender === undefined) return;
    this.#hub.world.u8.set(octets, this.#at);
    sender.endpoint.send(sender.spec, this.#at, octets.length); // what fails is lost, and counted by the stack
  }

  close(id: number): void {
    this.#senders.get(id)?.endpoint.close();
    this.#senders.delete(id);
  }

  // ---- DatagramOwner

  deliver(e: UdpEndpoint, info: DatagramInfo, at: number, length: number, gsoSize: number): void {
    const multihop = e.binding.port === BFD_MULTIHOP_PORT;
    const remote = Addr.fromWords(info.r0, info.r1, info.r2, info.r3);
    const link = this.#hub.stack.links.byIndex(info.link)?.link.name ?? '';
    const piece = gsoSize > 0 ? gsoSize : length;
    for (let from = 0; from < length; from += piece) {
      const octets = this.#hub.world.u8.slice(at + from, at + Math.min(from + piece, length));
      this.#bfd.receive({ octets, remote, link, ttl: info.ttl, multihop }, this.#now());
    }
    this.#arm();
  }

  error(): void {}

  #listen(vrf: number, port: number): void {
    const key = `${vrf} ${port}`;
    if (this.#listeners.has(key)) return;
    const endpoint = this.#hub.stack.udp.open(vrf, 6, this);
    if (endpoint.bind(0, 0, 0, 0, 0, port) === 0) this.#listeners.set(key, endpoint);
    else endpoint.close(); // an application's BFD has the port: its own affair, and ours stays down
  }

  /** The VRF of the uplink a neighbour is on. */
  #vrfOf(target: BfdTarget): number {
    const link = this.#linkOf(target);
    return link === 0 ? DEFAULT_VRF : (this.#hub.stack.links.byIndex(link)?.vrf ?? DEFAULT_VRF);
  }

  #linkOf(target: BfdTarget): number {
    return this.#hub.linkByName(String(target.link)) ?? 0;
  }

  /** Remember the earliest deadline, after anything that may have moved one. */
  #arm(): void {
    const at = this.#bfd.deadline();
    this.#isDue = at !== undefined;
    if (at !== undefined) this.#dueMs = (this.#tick.ms + Math.max(0, Math.ceil(at - this.#now()))) | 0;
  }

  /** The vector's time on a scale that does not wrap. */
  #now(): Instant {
    this.#nowMs += (this.#tick.ms - this.#lastMs) | 0;
    this.#lastMs = this.#tick.ms;
    return this.#nowMs as Instant;
  }
}

function standing(name: string): BfdChange {
  return { name, from: 'Down', to: 'Up', isRemoteAdminDown: false, isRemoteIndependent: false, why: '' };
}
