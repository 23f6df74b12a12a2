/**
 * A Stack on a plain World with links that keep what is sent: the rig of the stack's tests. Time stands still until
 * `advance`. What the WireGuard child would do at the link (checksums) is done by `TestLink`.
 */
import { RouteKind } from '../../router/fib/shared.ts';
import { Addr, Prefix } from '../../router/lib/addr.ts';
import { MutableTick } from '../../router/lib/clock.ts';
import { type PacketLink, RecordFlag } from '../../router/lib/link.ts';
import { Random } from '../../router/lib/rand.ts';
import { PagePool, World } from '../../router/lib/world.ts';
import type { LinkOptions } from '../../router/stack/links.ts';
import {
  type DatagramInfo,
  type DatagramOwner,
  DatagramSpec,
  type FibPort,
  type LinkAddress,
} from '../../router/stack/port.ts';
import { Stack } from '../../router/stack/stack.ts';
import type { UdpEndpoint } from '../../router/stack/udp-endpoint.ts';
import { type Decoded, decode } from './checkers.ts';
import { checksum, pseudo } from './packets.ts';

/** A record a stack committed. */
export interface Sent {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly gsoType: number;
  readonly hdrLen: number;
  readonly gsoSize: number;
  readonly csumStart: number;
  readonly csumOffset: number;
}

const QUEUE_LEN = 1 << 17;

export class TestLink implements PacketLink {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  mtu: number;
  isUp = true;
  backlog = 0;
  readonly highWater = 1 << 20;
  /** Records that may still be reserved; then the queue is full. */
  room = Number.POSITIVE_INFINITY;
  drainsWanted = 0;
  readonly sent: Sent[] = [];
  readonly #world: World;
  readonly #queueAt: number;

  constructor(world: World, index: number, vrf: number, mtu: number) {
    this.#world = world;
    this.index = index;
    this.name = `link${index}`;
    this.vrf = vrf;
    this.mtu = mtu;
    this.#queueAt = world.alloc(QUEUE_LEN);
  }

  reserve(length: number): number {
    if (!this.isUp || this.room <= 0 || length > 65535 + 40) return -1;
    return this.#queueAt;
  }

  commit(
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    csumStart: number,
    csumOffset: number,
  ): void {
    this.room--;
    const bytes = this.#world.u8.slice(this.#queueAt, this.#queueAt + length);
    if ((flags & RecordFlag.NeedsCsum) !== 0 && (flags & RecordFlag.Gso) === 0) seal(bytes, csumStart, csumOffset);
    this.sent.push({ bytes, flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset });
  }

  flush(): void {}

  wantDrain(): void {
    this.drainsWanted++;
  }

  /** Take what was sent so far, decoded. */
  take(): Decoded[] {
    return this.sent.splice(0).map((s) => decode(s.bytes, { noTransportChecksum: (s.flags & RecordFlag.Gso) !== 0 }));
  }

  takeRaw(): Sent[] {
    return this.sent.splice(0);
  }
}

/** Compute the transport checksum as the link's other side does. */
function seal(b: Uint8Array, start: number, offset: number): void {
  const isV4 = b[0]! >> 4 === 4;
  const src = isV4 ? b.slice(12, 16) : b.slice(8, 24);
  const dst = isV4 ? b.slice(16, 20) : b.slice(24, 40);
  const body = b.subarray(start);
  body[offset] = 0;
  body[offset + 1] = 0;
  const sum = checksum(pseudo(src, dst, offset === 16 ? 6 : 17, body.length), body) || 0xffff;
  body[offset] = sum >> 8;
  body[offset + 1] = sum & 255;
}

/** Numbers of next hops are those of links and this. */
const HOPS = 1000;

/** A FIB of a few routes: longest match by looking at all of them. Group numbers are route numbers + 1. */
export class TestFib implements FibPort {
  generation = 0;
  readonly #routes: {
    readonly vrf: number;
    readonly prefix: Prefix;
    readonly kind: number;
    readonly links: readonly number[];
  }[] = [];

  /** `add('10.0.0.0/8', 2)`: one link, several for ECMP, or a RouteKind other than Unicast. */
  add(prefix: string, links: number | readonly number[], vrf = 0, kind: number = RouteKind.Unicast): this {
    const p = Prefix.parse(prefix);
    if (p === undefined) throw new Error(`not a prefix: ${prefix}`);
    this.#routes.push({ vrf, prefix: p, kind, links: typeof links === 'number' ? [links] : links });
    this.generation++;
    return this;
  }

  lookup4(vrf: number, a3: number): number {
    return this.#lookup(vrf, Addr.v4(a3));
  }

  lookup6(vrf: number, a0: number, a1: number, a2: number, a3: number): number {
    return this.#lookup(vrf, Addr.v6(a0, a1, a2, a3));
  }

  #lookup(vrf: number, a: Addr): number {
    let best = 0;
    let length = -1;
    this.#routes.forEach((r, i) => {
      if (r.vrf === vrf && r.prefix.length > length && r.prefix.contains(a)) {
        best = i + 1;
        length = r.prefix.length;
      }
    });
    return best;
  }

  kind(group: number): number {
    return this.#routes[group - 1]!.kind;
  }

  isMultipath(group: number): boolean {
    return group > 0 && this.#routes[group - 1]!.links.length > 1;
  }

  nextHop(group: number, hash: number): number {
    const { links } = this.#routes[group - 1]!;
    return links.length === 0 ? -1 : links[(hash >>> 24) % links.length]! + HOPS;
  }

  link(nextHop: number): number {
    return nextHop - HOPS;
  }

  hasSource(_nextHop: number): boolean {
    return false;
  }

  sourceWord(_nextHop: number, _i: number): number {
    return 0;
  }
}

export interface InjectOptions {
  readonly flags?: number;
  readonly gsoType?: number;
  readonly hdrLen?: number;
  readonly gsoSize?: number;
}

/** A datagram an endpoint received. */
export interface Received {
  readonly info: DatagramInfo;
  readonly bytes: Uint8Array;
  readonly text: string;
  readonly gsoSize: number;
}

export class Inbox<E> implements DatagramOwner<E> {
  readonly received: Received[] = [];
  readonly errors: number[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  deliver(_e: E, info: DatagramInfo, at: number, length: number, gsoSize: number): void {
    const bytes = this.#world.u8.slice(at, at + length);
    this.received.push({
      info: Object.assign(Object.create(null), info),
      bytes,
      text: Buffer.from(bytes).toString('latin1'),
      gsoSize,
    });
  }

  error(_e: E, errno: number): void {
    this.errors.push(errno);
  }
}

export class Rig {
  readonly world: World;
  readonly pages: PagePool;
  readonly fib = new TestFib();
  readonly clock = new MutableTick();
  readonly stack: Stack;
  readonly #inAt: number;
  readonly #appAt: number;
  #us = 1_000_000;

  constructor(o: { readonly pages?: number; readonly pageSize?: number; readonly seed?: number } = {}) {
    this.world = new World(48 << 20);
    this.pages = new PagePool(this.world, o.pageSize ?? 4096, o.pages ?? 256);
    this.clock.set(this.#us);
    this.stack = new Stack({
      world: this.world,
      pages: this.pages,
      fib: this.fib,
      tick: this.clock,
      random: new Random(o.seed ?? 1),
    });
    this.#inAt = this.world.alloc(1 << 17);
    this.#appAt = this.world.alloc(1 << 17);
  }

  /** Add a link with addresses such as '10.0.0.1/24'. */
  link(index: number, addresses: readonly string[], o: LinkOptions & { mtu?: number; vrf?: number } = {}): TestLink {
    const link = new TestLink(this.world, index, o.vrf ?? 0, o.mtu ?? 1420);
    this.stack.addLink(link, addresses.map(linkAddress), o);
    return link;
  }

  /** Let a packet arrive by `link`. */
  inject(link: TestLink, bytes: Uint8Array, o: InjectOptions = {}): void {
    this.world.u8.set(bytes, this.#inAt);
    this.stack.onPacket(link, this.#inAt, bytes.length, o.flags ?? 0, o.gsoType ?? 0, o.hdrLen ?? 0, o.gsoSize ?? 0);
  }

  advance(ms: number): void {
    this.#us += ms * 1000;
    this.clock.set(this.#us);
    this.stack.tick();
  }

  /** Octets of an app, in world memory. */
  put(bytes: Uint8Array | string): { readonly at: number; readonly length: number } {
    const b = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes;
    this.world.u8.set(b, this.#appAt);
    return { at: this.#appAt, length: b.length };
  }

  drops(name: string): number {
    return this.stack.core.counters.dropTotals()[name]!;
  }

  /** All drops with a count. */
  get dropped(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.stack.core.counters.dropTotals()).filter(([, n]) => n > 0));
  }

  events(name: string): number {
    return this.stack.core.counters.eventTotals()[name]!;
  }

  inbox(): Inbox<UdpEndpoint> {
    return new Inbox<UdpEndpoint>(this.world);
  }
}

export function linkAddress(text: string): LinkAddress {
  const p = Prefix.parseLoose(text);
  if (p === undefined) throw new Error(`not an address: ${text}`);
  return { addr: p.addr, prefixLength: p.prefix.length };
}

/** Words of an address, to spread into calls. */
export function words(s: string): [number, number, number, number] {
  const a = Addr.parse(s)!;
  return [a.a0, a.a1, a.a2, a.a3];
}

/** A DatagramSpec to `dst`:`port`. */
export function to(dst: string, port: number, more: Partial<DatagramSpec> = {}): DatagramSpec {
  const spec = new DatagramSpec();
  const [r0, r1, r2, r3] = words(dst);
  return Object.assign(spec, { hasRemote: true, r0, r1, r2, r3, remotePort: port }, more);
}
