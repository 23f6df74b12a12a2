/**
 * Exact flows: (VRF, scope, both addresses, both ports) -> connection. Open addressing with linear probing; hashes in a
 * typed array, so that a miss touches one cache line and a hit one object. Keyed hash against chosen collisions.
 * `TcpDemux` is what the TCP core calls its table; it also keeps local ports taken while a connection lives.
 */
import type { Random } from '../lib/rand.ts';
import type { FlowKey, TcpTable } from '../tcp/port.ts';
import type { PortBinding, PortTable } from './ports.ts';

/** A flow whose fields can be set: scratch for look-ups. */
export class MutableFlow implements FlowKey {
  vrf = 0;
  scope = 0;
  isV4 = true;
  l0 = 0;
  l1 = 0;
  l2 = 0;
  l3 = 0;
  localPort = 0;
  r0 = 0;
  r1 = 0;
  r2 = 0;
  r3 = 0;
  remotePort = 0;
  device = 0;
}

const FIRST_SIZE = 256;

export class FlowTable<C extends FlowKey> {
  readonly #secret: number;
  #mask = FIRST_SIZE - 1;
  // Hash of the slot's flow with bit 0 set; 0 = empty.
  #hashes = new Int32Array(FIRST_SIZE);
  #entries: (C | undefined)[] = new Array<C | undefined>(FIRST_SIZE).fill(undefined);
  #size = 0;

  constructor(random: Random) {
    this.#secret = random.int32();
  }

  get size(): number {
    return this.#size;
  }

  /** Every entry, for listings. */
  *[Symbol.iterator](): Generator<C> {
    for (const c of this.#entries) if (c !== undefined) yield c;
  }

  find(flow: FlowKey): C | undefined {
    const h = this.#hash(flow);
    const hashes = this.#hashes;
    for (let slot = (h >>> 1) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const found = hashes[slot]!;
      if (found === 0) return undefined;
      if (found !== h) continue;
      const c = this.#entries[slot]!;
      if (sameFlow(c, flow)) return c;
    }
  }

  /** @returns false when the flow is taken */
  insert(c: C): boolean {
    if (this.find(c) !== undefined) return false;
    if ((this.#size + 1) * 2 > this.#hashes.length) this.#grow();
    this.#place(c, this.#hash(c));
    this.#size++;
    return true;
  }

  /** @returns false when it was not there */
  remove(c: C): boolean {
    const h = this.#hash(c);
    const hashes = this.#hashes;
    const mask = this.#mask;
    let slot = (h >>> 1) & mask;
    while (this.#entries[slot] !== c) {
      if (hashes[slot] === 0) return false;
      slot = (slot + 1) & mask;
    }
    this.#size--;
    // Close the gap: later entries of the run move up unless that would put them before their home slot.
    let gap = slot;
    for (let i = (gap + 1) & mask; hashes[i] !== 0; i = (i + 1) & mask) {
      const home = (hashes[i]! >>> 1) & mask;
      if (((i - home) & mask) < ((i - gap) & mask)) continue;
      hashes[gap] = hashes[i]!;
      this.#entries[gap] = this.#entries[i];
      gap = i;
    }
    hashes[gap] = 0;
    this.#entries[gap] = undefined;
    return true;
  }

  #place(c: C, h: number): void {
    let slot = (h >>> 1) & this.#mask;
    while (this.#hashes[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#hashes[slot] = h;
    this.#entries[slot] = c;
  }

  #grow(): void {
    const old = this.#entries;
    const size = old.length * 2;
    this.#mask = size - 1;
    this.#hashes = new Int32Array(size);
    this.#entries = new Array<C | undefined>(size).fill(undefined);
    for (const c of old) if (c !== undefined) this.#place(c, this.#hash(c));
  }

  #hash(f: FlowKey): number {
    let h = Math.imul(f.r3 ^ this.#secret, 0x9e3779b1);
    h = Math.imul(h ^ ((f.remotePort << 16) | f.localPort) ^ (h >>> 15), 0x85ebca6b);
    h = Math.imul(h ^ f.l3 ^ (h >>> 13), 0xc2b2ae35);
    h = Math.imul(h ^ f.r0 ^ (h >>> 16), 0x27d4eb2f);
    h = Math.imul(h ^ f.r1 ^ (h >>> 15), 0x165667b1);
    h = Math.imul(h ^ f.r2 ^ f.vrf ^ (h >>> 13), 0x9e3779b1);
    return (h ^ (h >>> 16)) | 1;
  }
}

function sameFlow(a: FlowKey, b: FlowKey): boolean {
  return (
    a.r3 === b.r3 &&
    a.remotePort === b.remotePort &&
    a.localPort === b.localPort &&
    a.l3 === b.l3 &&
    a.r0 === b.r0 &&
    a.r1 === b.r1 &&
    a.r2 === b.r2 &&
    a.l0 === b.l0 &&
    a.l1 === b.l1 &&
    a.l2 === b.l2 &&
    a.vrf === b.vrf &&
    a.scope === b.scope
  );
}

/** The TCP core's table of connections. While a connection is in it, its local port stays taken. */
export class TcpDemux<C extends FlowKey, L> implements TcpTable<C> {
  readonly #flows: FlowTable<C>;
  readonly #ports: PortTable<L>;
  readonly #bindings = new Map<C, PortBinding<L>>();
  /** The claim under which the next inserted connection runs: set around `engine.connect` and a listener's input. */
  claim: PortBinding<L> | undefined = undefined;

  constructor(ports: PortTable<L>, random: Random) {
    this.#ports = ports;
    this.#flows = new FlowTable<C>(random);
  }

  get size(): number {
    return this.#flows.size;
  }

  [Symbol.iterator](): Iterator<C> {
    return this.#flows[Symbol.iterator]();
  }

  find(flow: FlowKey): C | undefined {
    return this.#flows.find(flow);
  }

  insert(c: C): boolean {
    if (!this.#flows.insert(c)) return false;
    if (this.claim !== undefined) {
      this.#ports.hold(this.claim);
      this.#bindings.set(c, this.claim);
    }
    return true;
  }

  remove(c: C): void {
    if (!this.#flows.remove(c)) return;
    const binding = this.#bindings.get(c);
    if (binding === undefined) return;
    this.#bindings.delete(c);
    this.#ports.unhold(binding);
  }
}
