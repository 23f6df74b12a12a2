/**
 * A network in virtual time: hosts, and wires between them with latency, rate, queue, loss, reordering, duplication and
 * corruption, all from one seed. A `SimLink` is a `PacketLink` and `PacketSource` like a tunnel's: it cuts super-segments
 * into real packets with real checksums as the WireGuard child does, and can coalesce on receipt.
 * Nothing here reads a clock: time moves when `SimNet` says so.
 */
import { MutableTick } from '../../router/lib/clock.ts';
import { GsoType, type PacketLink, type PacketSink, type PacketSource, RecordFlag } from '../../router/lib/link.ts';
import { Random } from '../../router/lib/rand.ts';
import type { World } from '../../router/lib/world.ts';

/** Properties of a wire, the same in both directions. */
export interface WireOptions {
  /** One-way delay. */
  readonly latencyMs?: number;
  /** Bottleneck, megabits per second; 0 = infinite. */
  readonly rateMbps?: number;
  /** Octets the bottleneck's queue holds. */
  readonly queueBytes?: number;
  readonly loss?: number;
  readonly duplicate?: number;
  readonly corrupt?: number;
  /** Probability that a packet is delayed by up to `reorderMs` more. */
  readonly reorder?: number;
  readonly reorderMs?: number;
  readonly mtu?: number;
  /** Collect arrivals for this long and join neighbours of a flow, as the child does. */
  readonly coalesceUs?: number;
}

/** Something that lives in the network and is turned when packets or timers are due. */
export interface SimNode {
  /** One vector: take what arrived, run timers, flush. */
  turn(tick: MutableTick): void;
  /** Milliseconds until a timer is due, -1 = none. */
  nextDeadlineMs(tick: MutableTick): number;
}

interface Arrival {
  readonly atUs: number;
  readonly order: number;
  readonly to: SimLink;
  readonly packet: Uint8Array;
}

export class SimNet {
  readonly random: Random;
  readonly tick = new MutableTick();
  /** Virtual time, microseconds. */
  nowUs: number;
  readonly #nodes: SimNode[] = [];
  readonly #heap: Arrival[] = [];
  #order = 0;

  /** @param startMs where the clock begins; near 2^31 or 2^32 to test wrapping */
  constructor(seed: number, startMs = 1000) {
    this.random = new Random(seed);
    this.nowUs = startMs * 1000;
    this.tick.set(this.nowUs);
  }

  get nowMs(): number {
    return this.nowUs / 1000;
  }

  add(node: SimNode): void {
    this.#nodes.push(node);
  }

  /** A wire between two ends; each end lives in its node's world. */
  wire(a: SimEnd, b: SimEnd, options: WireOptions = {}): SimWire {
    return new SimWire(this, a, b, options);
  }

  schedule(to: SimLink, packet: Uint8Array, atUs: number): void {
    const heap = this.#heap;
    const arrival: Arrival = { atUs, order: this.#order++, to, packet };
    let i = heap.push(arrival) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(arrival, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = arrival;
  }

  /** Let every node work at the present time until nothing more happens now. */
  settle(): void {
    this.tick.set(this.nowUs);
    do {
      while (this.#heap.length > 0 && this.#heap[0]!.atUs <= this.nowUs) {
        const arrival = this.#pop();
        arrival.to.arrive(arrival.packet);
      }
      for (const node of this.#nodes) node.turn(this.tick);
    } while (this.#heap.length > 0 && this.#heap[0]!.atUs <= this.nowUs);
  }

  /** Run until `done`, at most `limitMs` of virtual time. @returns whether `done` came true */
  runUntil(done: () => boolean, limitMs: number): boolean {
    const end = this.nowUs + limitMs * 1000;
    this.settle();
    while (!done()) {
      const next = this.#nextUs();
      if (next > end) {
        this.nowUs = end;
        this.settle();
        return done();
      }
      this.nowUs = next;
      this.settle();
    }
    return true;
  }

  /** Run for `ms` of virtual time. */
  runFor(ms: number): void {
    this.runUntil(() => false, ms);
  }

  #nextUs(): number {
    let next = this.#heap.length > 0 ? this.#heap[0]!.atUs : Number.POSITIVE_INFINITY;
    for (const node of this.#nodes) {
      const wait = node.nextDeadlineMs(this.tick);
      if (wait < 0) continue;
      // Deadlines are whole milliseconds of the tick; 0 was served in this turn, so the next one is due in one.
      const at = (Math.floor(this.nowUs / 1000) + Math.max(1, wait)) * 1000;
      if (at < next) next = at;
    }
    return next;
  }

  #pop(): Arrival {
    const heap = this.#heap;
    const first = heap[0]!;
    const last = heap.pop()!;
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
        if (!isBefore(heap[child]!, last)) break;
        heap[i] = heap[child]!;
        i = child;
      }
      heap[i] = last;
    }
    return first;
  }
}

function isBefore(a: Arrival, b: Arrival): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.order < b.order);
}

/** Where an end of a wire lives. */
export interface SimEnd {
  readonly world: World;
  readonly index: number;
  readonly name?: string;
  readonly vrf?: number;
}

/** What a filter decides about a packet on the wire. */
export type Fate = 'pass' | 'drop';

export class SimWire {
  readonly a: SimLink;
  readonly b: SimLink;
  readonly options: WireOptions;
  /** Sees every packet that enters the wire, before chance does. */
  filter: ((packet: Uint8Array, from: SimLink) => Fate) | undefined;
  sent = 0;
  lost = 0;
  overflowed = 0;
  corrupted = 0;

  constructor(net: SimNet, a: SimEnd, b: SimEnd, options: WireOptions) {
    this.options = options;
    this.a = new SimLink(net, this, a);
    this.b = new SimLink(net, this, b);
    this.a.peer = this.b;
    this.b.peer = this.a;
  }
}

const RX_SLOTS = 16;
const SLOT = 65536 + 64;

export class SimLink implements PacketLink, PacketSource {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  readonly highWater = 1 << 20;
  readonly world: World;
  mtu: number;
  isUp = true;
  backlog = 0;
  /** Set when the stack asked for a drain call. */
  isDrainWanted = false;
  peer!: SimLink;
  readonly #net: SimNet;
  readonly #wire: SimWire;
  readonly #tx: number;
  readonly #rx: number;
  readonly #arrived: Uint8Array[] = [];
  #freeUs = 0;
  #flushAtUs = 0;

  constructor(net: SimNet, wire: SimWire, end: SimEnd) {
    this.#net = net;
    this.#wire = wire;
    this.world = end.world;
    this.index = end.index;
    this.name = end.name ?? `sim${end.index}`;
    this.vrf = end.vrf ?? 0;
    this.mtu = wire.options.mtu ?? 1420;
    this.#tx = end.world.alloc(SLOT);
    this.#rx = end.world.alloc(SLOT * RX_SLOTS);
  }

  reserve(length: number): number {
    if (!this.isUp) return -1;
    if (length > 65535) throw new RangeError(`an IP packet of ${length} octets`);
    return this.#tx;
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
    const record = this.world.u8.slice(this.#tx, this.#tx + length);
    for (const packet of cut(record, flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset)) this.#enter(packet);
  }

  flush(): void {}

  wantDrain(): void {
    this.isDrainWanted = true;
  }

  /** Put a finished packet on the wire as if this end had sent it. */
  inject(packet: Uint8Array): void {
    this.#enter(packet);
  }

  /** A packet came out of the wire. */
  arrive(packet: Uint8Array): void {
    if (this.#arrived.length === 0) this.#flushAtUs = this.#net.nowUs + (this.#wire.options.coalesceUs ?? 0);
    this.#arrived.push(packet);
    // An empty packet at the end of the collecting time only brings the node's turn.
    if (this.#flushAtUs > this.#net.nowUs && this.#arrived.length === 1)
      this.#net.schedule(this, new Uint8Array(0), this.#flushAtUs);
  }

  poll(budget: number, sink: PacketSink): number {
    if (this.#arrived.length === 0 || this.#net.nowUs < this.#flushAtUs) return 0;
    const records = coalesced(
      this.#arrived.splice(0).filter((p) => p.length > 0),
      (this.#wire.options.coalesceUs ?? 0) > 0,
    );
    let n = 0;
    for (const r of records) {
      const at = this.#rx + (n % RX_SLOTS) * SLOT;
      this.world.u8.set(r.bytes, at);
      sink.onPacket(this, at, r.bytes.length, r.flags, r.gsoType, r.hdrLen, r.gsoSize);
      if (++n > budget) throw new RangeError('more arrivals in one vector than the budget');
    }
    return n;
  }

  #enter(packet: Uint8Array): void {
    const net = this.#net;
    const wire = this.#wire;
    const o = wire.options;
    if (packet.length > this.mtu) throw new RangeError(`${packet.length} octets on a wire of ${this.mtu}`);
    wire.sent++;
    if (wire.filter?.(packet, this) === 'drop') {
      wire.lost++;
      return;
    }
    const perOctetUs = o.rateMbps ? 8 / o.rateMbps : 0;
    const startUs = Math.max(net.nowUs, this.#freeUs);
    if (perOctetUs > 0 && (startUs - net.nowUs) / perOctetUs + packet.length > (o.queueBytes ?? 256 * 1024)) {
      wire.overflowed++;
      return;
    }
    this.#freeUs = startUs + packet.length * perOctetUs;
    if (o.loss && net.random.chance(o.loss)) {
      wire.lost++;
      return;
    }
    let atUs = this.#freeUs + (o.latencyMs ?? 0) * 1000;
    if (o.reorder && net.random.chance(o.reorder)) atUs += net.random.below((o.reorderMs ?? 5) * 1000);
    if (o.corrupt && net.random.chance(o.corrupt)) {
      wire.corrupted++;
      packet = packet.slice();
      packet[net.random.below(packet.length)]! ^= 1 << net.random.below(8);
    }
    net.schedule(this.peer, packet, atUs);
    if (o.duplicate && net.random.chance(o.duplicate)) net.schedule(this.peer, packet, atUs + net.random.below(2000));
  }
}

interface SimRecord {
  readonly bytes: Uint8Array;
  readonly flags: number;
  readonly gsoType: number;
  readonly hdrLen: number;
  readonly gsoSize: number;
}

/** Ones-complement sum (RFC 1071), written plainly: the independent check of the fast ones. */
export function onesSum(b: Uint8Array, from: number, to: number, initial = 0): number {
  let sum = initial;
  for (let i = from; i < to; i += 2) sum += (b[i]! << 8) | (i + 1 < to ? b[i + 1]! : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

/** Sum of the pseudo-header of an IP packet's transport part (RFC 9293 §3.1, RFC 8200 §8.1). */
export function pseudoSum(p: Uint8Array): number {
  const isV4 = p[0]! >> 4 === 4;
  const ipLen = isV4 ? (p[0]! & 15) * 4 : 40;
  const protocol = isV4 ? p[9]! : p[6]!;
  return onesSum(p, isV4 ? 12 : 8, isV4 ? 20 : 40, protocol + p.length - ipLen);
}

/** Are the IPv4 header checksum and the transport checksum right? */
export function isIntact(p: Uint8Array): boolean {
  const isV4 = p[0]! >> 4 === 4;
  if (isV4 && (onesSum(p, 0, (p[0]! & 15) * 4) !== 0xffff || get16(p, 2) !== p.length)) return false;
  if (!isV4 && (p[0]! >> 4 !== 6 || get16(p, 4) + 40 !== p.length)) return false;
  return onesSum(p, isV4 ? (p[0]! & 15) * 4 : 40, p.length, pseudoSum(p)) === 0xffff;
}

/** Cut a record into packets with lengths, sequence numbers, flags and checksums of their own, as the child does. */
function cut(
  record: Uint8Array,
  flags: number,
  gsoType: number,
  hdrLen: number,
  gsoSize: number,
  csumStart: number,
  csumOffset: number,
): Uint8Array[] {
  if ((flags & RecordFlag.Gso) === 0) {
    if ((flags & RecordFlag.NeedsCsum) !== 0) putChecksum(record, csumStart, csumOffset);
    return [record];
  }
  const packets: Uint8Array[] = [];
  const isV4 = record[0]! >> 4 === 4;
  const l4 = isV4 ? (record[0]! & 15) * 4 : 40;
  for (let at = hdrLen; at < record.length; at += gsoSize) {
    const n = Math.min(gsoSize, record.length - at);
    const p = new Uint8Array(hdrLen + n);
    p.set(record.subarray(0, hdrLen));
    p.set(record.subarray(at, at + n), hdrLen);
    if (isV4) {
      put16(p, 2, p.length);
      put16(p, 10, 0);
      put16(p, 10, onesSum(p, 0, l4) ^ 0xffff);
    } else put16(p, 4, p.length - 40);
    if (gsoType === GsoType.UdpL4) put16(p, l4 + 4, p.length - l4);
    else {
      put32(p, l4 + 4, get32(record, l4 + 4) + at - hdrLen);
      if (at + n < record.length) p[l4 + 13]! &= ~(8 | 1); // PSH and FIN belong to the last one
    }
    putChecksum(p, csumStart, csumOffset);
    packets.push(p);
  }
  return packets;
}

function putChecksum(p: Uint8Array, start: number, offset: number): void {
  put16(p, start + offset, 0);
  const sum = onesSum(p, start, p.length, pseudoSum(p)) ^ 0xffff;
  put16(p, start + offset, sum === 0 && offset === 6 ? 0xffff : sum);
}

/** Join neighbouring TCP segments of one flow that differ only in sequence number and PSH. */
function coalesced(packets: readonly Uint8Array[], isOn: boolean): SimRecord[] {
  const out: SimRecord[] = [];
  for (let i = 0; i < packets.length; ) {
    const first = packets[i]!;
    let j = i + 1;
    const hdrLen = isOn ? joinableHeader(first) : 0;
    const gsoSize = first.length - hdrLen;
    let total = first.length;
    while (hdrLen > 0 && j < packets.length && total + gsoSize < 65000) {
      const p = packets[j]!;
      if (!continues(first, p, hdrLen, total - hdrLen) || p.length - hdrLen > gsoSize) break;
      total += p.length - hdrLen;
      j++;
      if (p.length - hdrLen < gsoSize || (p[tcpAt(p) + 13]! & 8) !== 0) break;
    }
    out.push(j === i + 1 ? { bytes: first, flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0 } : join(packets, i, j, hdrLen));
    i = j;
  }
  return out;
}

function tcpAt(p: Uint8Array): number {
  return p[0]! >> 4 === 4 ? (p[0]! & 15) * 4 : 40;
}

/** Octets of headers when the packet may start a super-segment, else 0. */
function joinableHeader(p: Uint8Array): number {
  const l4 = tcpAt(p);
  const protocol = p[0]! >> 4 === 4 ? p[9]! : p[6]!;
  if (protocol !== 6 || p.length < l4 + 20 || !isIntact(p)) return 0;
  const hdrLen = l4 + (p[l4 + 12]! >> 4) * 4;
  return p[l4 + 13]! === 16 && p.length > hdrLen ? hdrLen : 0;
}

function continues(first: Uint8Array, p: Uint8Array, hdrLen: number, octets: number): boolean {
  const l4 = tcpAt(first);
  if (p.length <= hdrLen || p[0] !== first[0] || !isIntact(p)) return false;
  if (((get32(p, l4 + 4) - get32(first, l4 + 4)) | 0) !== octets) return false;
  if ((p[l4 + 13]! & ~8) !== 16) return false;
  for (let i = 0; i < hdrLen; i++) {
    const isLength = l4 === 40 ? i === 4 || i === 5 : i === 2 || i === 3 || i === 10 || i === 11;
    const isOwn = isLength || (i >= l4 + 4 && i < l4 + 8) || i === l4 + 13 || i === l4 + 16 || i === l4 + 17;
    if (!isOwn && p[i] !== first[i]) return false;
  }
  return true;
}

function join(packets: readonly Uint8Array[], from: number, to: number, hdrLen: number): SimRecord {
  const first = packets[from]!;
  const last = packets[to - 1]!;
  const gsoSize = first.length - hdrLen;
  const bytes = new Uint8Array(hdrLen + gsoSize * (to - from - 1) + last.length - hdrLen);
  bytes.set(first);
  for (let i = from + 1; i < to; i++) bytes.set(packets[i]!.subarray(hdrLen), hdrLen + gsoSize * (i - from));
  const l4 = tcpAt(first);
  bytes[l4 + 13] = last[l4 + 13]!;
  if (l4 !== 40) {
    put16(bytes, 2, bytes.length);
    put16(bytes, 10, 0);
    put16(bytes, 10, onesSum(bytes, 0, l4) ^ 0xffff);
  } else put16(bytes, 4, bytes.length - 40);
  return {
    bytes,
    flags: RecordFlag.Gso | RecordFlag.CsumValid,
    gsoType: l4 === 40 ? GsoType.TcpV6 : GsoType.TcpV4,
    hdrLen,
    gsoSize,
  };
}

function get16(b: Uint8Array, at: number): number {
  return (b[at]! << 8) | b[at + 1]!;
}

function get32(b: Uint8Array, at: number): number {
  return (get16(b, at) << 16) | get16(b, at + 2);
}

function put16(b: Uint8Array, at: number, v: number): void {
  b[at] = v >>> 8;
  b[at + 1] = v;
}

function put32(b: Uint8Array, at: number, v: number): void {
  put16(b, at, v >>> 16);
  put16(b, at + 2, v);
}
