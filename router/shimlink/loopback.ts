/**
 * The loopback link: what the stack sends to its own addresses comes back in the next vector. Records stay in a ring of
 * the World and are handed back without a copy; a checksum that was left to the link is valid by definition.
 */
import { type PacketLink, type PacketSink, type PacketSource, RecordFlag } from '../lib/link.ts';
import type { World } from '../lib/world.ts';

const RING_BYTES = 4 << 20;
const MAX_RECORDS = 4096;
/** Words of one queued record: offset, length, flags, gsoType, hdrLen, gsoSize, ring end after it. */
const WORDS = 7;
const ALIGN = 16;

export class LoopbackLink implements PacketLink, PacketSource {
  readonly index: number;
  readonly name: string;
  readonly vrf: number;
  /** A little below Linux's 65536: a full segment with every option is then a packet of at most 65535 octets. */
  mtu = 65280;
  isUp = true;
  readonly highWater = RING_BYTES >> 1;
  readonly #base: number;
  readonly #queue = new Int32Array(MAX_RECORDS * WORDS);
  #first = 0;
  #count = 0;
  /** Ring positions: octets from #tail up to #head are in use; both run modulo RING_BYTES. */
  #head = 0;
  #tail = 0;
  #reserved = -1;
  #backlog = 0;
  #wantsDrain = false;
  #onDrained: (link: PacketLink) => void = () => {};
  rxPackets = 0;
  rxBytes = 0;
  txDropped = 0;

  constructor(world: World, index: number, name: string, vrf: number) {
    this.#base = world.alloc(RING_BYTES, 4096);
    this.index = index;
    this.name = name;
    this.vrf = vrf;
  }

  /** @param f called once after `wantDrain` when the backlog has fallen */
  set onDrained(f: (link: PacketLink) => void) {
    this.#onDrained = f;
  }

  get backlog(): number {
    return this.#backlog;
  }

  /** Records waiting. */
  get pending(): number {
    return this.#count;
  }

  reserve(length: number): number {
    this.#reserved = -1;
    if (!this.isUp || this.#count === MAX_RECORDS) return this.#refuse();
    let at = this.#head;
    if (this.#count > 0 && at <= this.#tail) {
      // The free room is one piece; one octet is kept so that full and empty differ.
      if (at + length >= this.#tail) return this.#refuse();
    } else if (at + length > RING_BYTES) {
      if (length >= this.#tail && this.#count > 0) return this.#refuse();
      at = 0;
    }
    this.#reserved = at;
    return this.#base + at;
  }

  #refuse(): number {
    this.txDropped++;
    return -1;
  }

  commit(length: number, flags: number, gsoType: number, hdrLen: number, gsoSize: number): void {
    if (this.#reserved < 0) return;
    const q = this.#queue;
    const at = ((this.#first + this.#count) % MAX_RECORDS) * WORDS;
    if (this.#count === 0) this.#tail = this.#reserved;
    this.#head = (this.#reserved + length + ALIGN - 1) & -ALIGN;
    q[at] = this.#reserved;
    q[at + 1] = length;
    q[at + 2] = (flags & RecordFlag.Gso) | RecordFlag.CsumValid;
    q[at + 3] = gsoType;
    q[at + 4] = hdrLen;
    q[at + 5] = gsoSize;
    q[at + 6] = this.#head;
    this.#count++;
    this.#backlog += length;
    this.#reserved = -1;
  }

  flush(): void {}

  wantDrain(): void {
    this.#wantsDrain = true;
  }

  poll(budget: number, sink: PacketSink): number {
    const n = Math.min(budget, this.#count);
    const q = this.#queue;
    // What is sent meanwhile is appended behind these; their room is given back at the end, when nobody looks at them.
    for (let i = 0; i < n; i++) {
      const at = ((this.#first + i) % MAX_RECORDS) * WORDS;
      const length = q[at + 1]!;
      this.rxPackets++;
      this.rxBytes += length;
      sink.onPacket(this, this.#base + q[at]!, length, q[at + 2]!, q[at + 3]!, q[at + 4]!, q[at + 5]!);
    }
    for (let i = 0; i < n; i++) {
      const at = this.#first * WORDS;
      this.#backlog -= q[at + 1]!;
      this.#tail = q[at + 6]!;
      this.#first = (this.#first + 1) % MAX_RECORDS;
      this.#count--;
    }
    if (this.#count > 0) this.#tail = q[this.#first * WORDS]!;
    if (n > 0 && this.#wantsDrain && this.#backlog < this.highWater >> 1) {
      this.#wantsDrain = false;
      this.#onDrained(this);
    }
    return n;
  }
}
