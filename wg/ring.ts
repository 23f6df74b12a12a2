/**
 * The router's side of one WireGuard child's rings: `WgRing` delivers what the child received, `WgLink` (one per device)
 * is where the stack sends. Layout and rules: wg/README.md. Everything read from the child is checked before use; the
 * packets' own lengths are the stack's business. Does not wait: the loop sleeps in `poll` of the native addon.
 */
import type { PacketLink, PacketSink, PacketSource } from '../router/lib/link.ts';
import { GsoType, RecordFlag } from '../router/lib/link.ts';
import type { World } from '../router/lib/world.ts';
import {
  DEVICE_BYTES,
  HEADER_BYTES,
  HeaderOffset,
  MAX_DEVICES,
  MAX_PACKET,
  MAX_RING_BYTES,
  MIN_RING_BYTES,
  RECORD_ALIGN,
  RECORD_HEADER,
  RING_MAGIC,
  RING_VERSION,
} from './ring-layout.ts';

/** Octets of a link's backlog above which TCP pauses: some 1.5 ms of the fastest child measured. */
export const DEFAULT_HIGH_WATER = 512 << 10;

const MIN_HEADERS = 28; // IPv4 and UDP

/** Write the header of a new region. Only for memory no child is attached to. */
export function initRegion(world: World, base: number, ringBytes: number): void {
  if (ringBytes < MIN_RING_BYTES || ringBytes > MAX_RING_BYTES || (ringBytes & (ringBytes - 1)) !== 0)
    throw new RangeError(`a ring of ${ringBytes} octets`);
  const at = base >> 2;
  world.i32.fill(0, at, at + HEADER_BYTES / 4);
  world.i32[at + HeaderOffset.Version / 4] = RING_VERSION;
  world.i32[at + HeaderOffset.RingBytes / 4] = ringBytes;
  Atomics.store(world.i32, at, RING_MAGIC);
}

export interface WgLinkSpec {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  readonly mtu: number;
  /** Number of the device in this child's records. */
  readonly device: number;
  readonly highWater?: number;
}

export class WgRing implements PacketSource {
  readonly world: World;
  readonly ringBytes: number;
  /** Records the child sent that make no sense, or that belong to no link. */
  rxMalformed = 0;
  rxNoLink = 0;
  /** Times the child had to be woken. */
  signals = 0;
  readonly #i32: Int32Array;
  readonly #header: number; // word index
  readonly #txData: number; // octet offset
  readonly #rxData: number;
  readonly #mask: number;
  readonly #signal: () => void;
  readonly #onDrained: (link: PacketLink) => void;
  readonly #links: (WgLink | undefined)[] = new Array<WgLink | undefined>(MAX_DEVICES).fill(undefined);
  readonly #waiting: WgLink[] = [];
  // Invariant: positions are int32 that wrap; all lie on 16 octets.
  #txNext: number; // behind the last record committed
  #txPublished: number;
  #txTail: number; // as last seen
  #reserved = -1; // position of the record reserved last, or -1
  #rxTail: number;

  /**
   * @param base world offset of the region (see `initRegion`)
   * @param signal wakes the child
   * @param onDrained called from `poll` for each link that had asked with `wantDrain`
   */
  constructor(
    world: World,
    base: number,
    ringBytes: number,
    signal: () => void,
    onDrained: (link: PacketLink) => void = () => {},
  ) {
    this.world = world;
    this.ringBytes = ringBytes;
    this.#i32 = world.i32;
    this.#header = base >> 2;
    this.#txData = base + HEADER_BYTES;
    this.#rxData = base + HEADER_BYTES + ringBytes;
    this.#mask = ringBytes - 1;
    this.#signal = signal;
    this.#onDrained = onDrained;
    this.#txNext = this.#load(HeaderOffset.TxHead);
    this.#txPublished = this.#txNext;
    this.#txTail = this.#load(HeaderOffset.TxTail);
    this.#rxTail = this.#load(HeaderOffset.RxTail) & -RECORD_ALIGN;
  }

  /** A link for one device of the child. It is up when the caller says so. */
  addLink(spec: WgLinkSpec): WgLink {
    if (spec.device < 0 || spec.device >= MAX_DEVICES) throw new RangeError(`device ${spec.device}`);
    const link = new WgLink(this, this.#i32, this.#header, spec);
    this.#links[spec.device] = link;
    return link;
  }

  removeLink(link: WgLink): void {
    link.isUp = false;
    if (this.#links[link.device] === link) this.#links[link.device] = undefined;
    const at = this.#waiting.indexOf(link);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** Counters of the child in the shared header, by name. */
  counters(): Record<string, number> {
    const at = (offset: number): number => this.#load(offset) >>> 0;
    return {
      wg_tx_malformed: at(HeaderOffset.DropTxMalformed),
      wg_tx_no_device: at(HeaderOffset.DropTxNoDevice),
      wg_tx_overflow: at(HeaderOffset.DropTxOverflow),
      wg_rx_ring_full: at(HeaderOffset.DropRxFull),
      wg_rx_not_ip: at(HeaderOffset.DropRxMalformed),
      wg_child_faults: at(HeaderOffset.Panics),
      wg_rx_malformed: this.rxMalformed,
      wg_rx_no_link: this.rxNoLink,
      wg_signals: this.signals,
    };
  }

  /** Octets committed that the child has not given back. */
  get used(): number {
    this.#txTail = this.#load(HeaderOffset.TxTail);
    return (this.#txNext - this.#txTail) | 0;
  }

  poll(budget: number, sink: PacketSink): number {
    if (this.#waiting.length > 0) this.#reportDrained();
    const i32 = this.#i32;
    // Low bits mean nothing: any value of the child's lies on a record's border.
    const head = this.#load(HeaderOffset.RxHead) & -RECORD_ALIGN;
    let tail = this.#rxTail;
    if (head === tail) return 0;
    let n = 0;
    while (n < budget && tail !== head) {
      const offset = tail & this.#mask;
      const left = (head - tail) | 0;
      const toEnd = this.ringBytes - offset;
      const room = Math.min(left, toEnd);
      const at = this.#rxData + offset;
      const length = i32[at >> 2]!;
      const size = (RECORD_HEADER + RECORD_ALIGN - 1 + length) & -RECORD_ALIGN;
      if (length === -1 && toEnd <= left) {
        tail = (tail + toEnd) | 0;
        continue;
      }
      if (left > this.ringBytes || length <= 0 || length > MAX_PACKET || size > room) {
        // The child never writes this: give up what it has published so far.
        this.rxMalformed++;
        tail = head;
        break;
      }
      this.#deliver(at, length, sink);
      tail = (tail + size) | 0;
      n++;
    }
    this.#rxTail = tail;
    Atomics.store(i32, this.#header + HeaderOffset.RxTail / 4, tail);
    return n;
  }

  #deliver(at: number, length: number, sink: PacketSink): void {
    const i32 = this.#i32;
    const w1 = i32[(at >> 2) + 1]!;
    const gsoSize = i32[(at >> 2) + 2]! & 0xffff;
    const device = i32[(at >> 2) + 3]! >>> 16;
    const flags = w1 & 0xff;
    const gsoType = (w1 >>> 8) & 0xff;
    const hdrLen = w1 >>> 16;
    const link = device < MAX_DEVICES ? this.#links[device] : undefined;
    if (link === undefined) {
      this.rxNoLink++;
      return;
    }
    if ((flags & RecordFlag.Gso) === 0) {
      link.rxPackets++;
      link.rxBytes += length;
      sink.onPacket(link, at + RECORD_HEADER, length, flags, GsoType.None, 0, 0);
      return;
    }
    if (
      gsoType < GsoType.TcpV4 ||
      gsoType > GsoType.UdpL4 ||
      gsoSize === 0 ||
      hdrLen < MIN_HEADERS ||
      hdrLen >= length
    ) {
      this.rxMalformed++;
      return;
    }
    const segments = segmentsOf(length, hdrLen, gsoSize);
    link.rxPackets += segments;
    link.rxBytes += length + (segments - 1) * hdrLen;
    sink.onPacket(link, at + RECORD_HEADER, length, flags, gsoType, hdrLen, gsoSize);
  }

  /**
   * For a short wait without signals: write the word that the next record changes, and its value, as an int32 pair to
   * word index `w`; links that wait for room get their signal. False: there is work.
   */
  watch(w: number): boolean {
    const head = this.#load(HeaderOffset.RxHead);
    this.#i32[w] = (this.#header << 2) + HeaderOffset.RxHead;
    this.#i32[w + 1] = head;
    return (head & -RECORD_ALIGN) === this.#rxTail && this.#armDrains();
  }

  /** Ask for a signal at the next record. False: there is work, do not sleep. */
  prepareSleep(): boolean {
    Atomics.store(this.#i32, this.#header + HeaderOffset.RxSleeping / 4, 1);
    if ((this.#load(HeaderOffset.RxHead) & -RECORD_ALIGN) === this.#rxTail && this.#armDrains()) return true;
    this.awake();
    return false;
  }

  awake(): void {
    Atomics.store(this.#i32, this.#header + HeaderOffset.RxSleeping / 4, 0);
  }

  /** Room for a record; world offset of its payload, or -1 when the ring is full. */
  reserve(length: number): number {
    const size = (RECORD_HEADER + RECORD_ALIGN - 1 + length) & -RECORD_ALIGN;
    const offset = this.#txNext & this.#mask;
    const toEnd = this.ringBytes - offset;
    const need = size > toEnd ? size + toEnd : size;
    if (((this.#txNext - this.#txTail) | 0) + need > this.ringBytes && this.used + need > this.ringBytes) return -1;
    if (size > toEnd) {
      this.#i32[(this.#txData + offset) >> 2] = -1;
      this.#reserved = (this.#txNext + toEnd) | 0;
      return this.#txData + RECORD_HEADER;
    }
    this.#reserved = this.#txNext;
    return this.#txData + offset + RECORD_HEADER;
  }

  /** Returns the octets of ring space the record takes, 0 when nothing was reserved. */
  commit(
    device: number,
    length: number,
    flags: number,
    gsoType: number,
    hdrLen: number,
    gsoSize: number,
    csumStart: number,
    csumOffset: number,
  ): number {
    if (this.#reserved === -1) return 0;
    const word = (this.#txData + (this.#reserved & this.#mask)) >> 2;
    const i32 = this.#i32;
    i32[word] = length;
    i32[word + 1] = flags | (gsoType << 8) | (hdrLen << 16);
    i32[word + 2] = gsoSize | (csumStart << 16);
    i32[word + 3] = csumOffset | (device << 16);
    const next = (this.#reserved + ((RECORD_HEADER + RECORD_ALIGN - 1 + length) & -RECORD_ALIGN)) | 0;
    const size = (next - this.#reserved) | 0;
    this.#txNext = next;
    this.#reserved = -1;
    return size;
  }

  flush(): void {
    if (this.#txPublished === this.#txNext) return;
    this.#txPublished = this.#txNext;
    Atomics.store(this.#i32, this.#header + HeaderOffset.TxHead / 4, this.#txNext);
    const sleeping = this.#header + HeaderOffset.TxSleeping / 4;
    if (Atomics.load(this.#i32, sleeping) !== 0 && Atomics.exchange(this.#i32, sleeping, 0) !== 0) {
      this.signals++;
      this.#signal();
    }
  }

  /** @internal for WgLink */
  wait(link: WgLink): void {
    if (!this.#waiting.includes(link)) this.#waiting.push(link);
  }

  #isDrained(link: WgLink): boolean {
    return link.backlog <= link.highWater >> 1 && this.used <= this.ringBytes >> 1;
  }

  #reportDrained(): void {
    for (let i = this.#waiting.length - 1; i >= 0; i--) {
      const link = this.#waiting[i]!;
      if (!this.#isDrained(link)) continue;
      this.#waiting[i] = this.#waiting[this.#waiting.length - 1]!;
      this.#waiting.length--;
      this.#onDrained(link);
    }
  }

  /** Tell the child at which point to signal, for every link that waits. False: one of them has drained already. */
  #armDrains(): boolean {
    for (let i = 0; i < this.#waiting.length; i++) {
      const link = this.#waiting[i]!;
      link.arm();
      // Bit 0 is free in positions and says that the word is in use.
      if (this.used > this.ringBytes >> 1)
        Atomics.store(this.#i32, this.#header + HeaderOffset.TxWaiting / 4, (this.#txNext - (this.ringBytes >> 1)) | 1);
      if (this.#isDrained(link)) return false;
    }
    return true;
  }

  #load(offset: number): number {
    return Atomics.load(this.#i32, this.#header + offset / 4);
  }
}

/** One WireGuard device as the stack sees it. */
export class WgLink implements PacketLink {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  readonly device: number;
  readonly highWater: number;
  mtu: number;
  isUp = false;
  /** Packets count the pieces of super-segments, octets those of IP packets. */
  rxPackets = 0;
  rxBytes = 0;
  txPackets = 0;
  txBytes = 0;
  /** Records refused by `reserve`. */
  txDropped = 0;
  readonly #ring: WgRing;
  readonly #i32: Int32Array;
  readonly #takenWord: number;
  readonly #limit: number;
  #committed: number; // octets of records, in step with the child's count of taken ones

  /** @internal use WgRing.addLink */
  constructor(ring: WgRing, i32: Int32Array, header: number, spec: WgLinkSpec) {
    this.#ring = ring;
    this.#i32 = i32;
    this.index = spec.index;
    this.name = spec.name;
    this.vrf = spec.vrf;
    this.mtu = spec.mtu;
    this.device = spec.device;
    this.highWater = Math.min(spec.highWater ?? DEFAULT_HIGH_WATER, ring.ringBytes >> 2);
    this.#limit = this.highWater * 2;
    this.#takenWord = header + (HeaderOffset.Devices + spec.device * DEVICE_BYTES) / 4;
    this.#committed = Atomics.load(i32, this.#takenWord);
  }

  get backlog(): number {
    const used = this.#ring.used;
    const taken = Atomics.load(this.#i32, this.#takenWord);
    if (used === 0) {
      this.#committed = taken; // a child that died may have counted a record twice: nothing is left, so start afresh
      return 0;
    }
    const own = (this.#committed - taken) | 0;
    return own < 0 ? 0 : Math.min(own, used);
  }

  reserve(length: number): number {
    if (this.isUp && length > 0 && length <= MAX_PACKET && this.backlog + length <= this.#limit) {
      const at = this.#ring.reserve(length);
      if (at >= 0) return at;
    }
    this.txDropped++;
    return -1;
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
    const size = this.#ring.commit(this.device, length, flags, gsoType, hdrLen, gsoSize, csumStart, csumOffset);
    this.#committed = (this.#committed + size) | 0;
    if ((flags & RecordFlag.Gso) === 0) {
      this.txPackets++;
      this.txBytes += length;
    } else {
      const segments = segmentsOf(length, hdrLen, gsoSize);
      this.txPackets += segments;
      this.txBytes += length + (segments - 1) * hdrLen;
    }
  }

  flush(): void {
    this.#ring.flush();
  }

  wantDrain(): void {
    this.#ring.wait(this);
  }

  /** @internal for WgRing: the value of the child's count at which the link counts as drained; bit 0 = in use. */
  arm(): void {
    Atomics.store(this.#i32, this.#takenWord + 1, (this.#committed - (this.highWater >> 1)) | 1);
  }
}

/** Packets a super-segment is cut into. */
function segmentsOf(length: number, hdrLen: number, gsoSize: number): number {
  return ((length - hdrLen + gsoSize - 1) / gsoSize) | 0;
}
