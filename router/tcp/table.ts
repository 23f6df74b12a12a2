/**
 * A `TcpTable` in one open-addressing array: what a stack without UDP needs, and what simulations use.
 */
import type { FlowKey, TcpTable } from './port.ts';

export class FlowTable<C extends FlowKey> implements TcpTable<C> {
  #slots: (C | undefined)[];
  #count = 0;

  /** @param capacity a power of two to start with */
  constructor(capacity = 64) {
    this.#slots = new Array<C | undefined>(capacity).fill(undefined);
  }

  get size(): number {
    return this.#count;
  }

  insert(c: C): boolean {
    if (this.find(c) !== undefined) return false;
    if (2 * (this.#count + 1) > this.#slots.length) this.#grow();
    this.#place(c);
    this.#count++;
    return true;
  }

  find(flow: FlowKey): C | undefined {
    const mask = this.#slots.length - 1;
    for (let i = hashOf(flow) & mask; ; i = (i + 1) & mask) {
      const c = this.#slots[i];
      if (c === undefined || isSameFlow(c, flow)) return c;
    }
  }

  remove(c: C): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let hole = hashOf(c) & mask;
    while (slots[hole] !== c) {
      if (slots[hole] === undefined) return;
      hole = (hole + 1) & mask;
    }
    this.#count--;
    // Move later members of the run back, so that no tombstone is needed.
    for (let i = (hole + 1) & mask; ; i = (i + 1) & mask) {
      const other = slots[i];
      if (other === undefined) break;
      if (((i - (hashOf(other) & mask)) & mask) >= ((i - hole) & mask)) {
        slots[hole] = other;
        hole = i;
      }
    }
    slots[hole] = undefined;
  }

  #place(c: C): void {
    const mask = this.#slots.length - 1;
    let i = hashOf(c) & mask;
    while (this.#slots[i] !== undefined) i = (i + 1) & mask;
    this.#slots[i] = c;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Array<C | undefined>(old.length * 2).fill(undefined);
    for (const c of old) if (c !== undefined) this.#place(c);
  }
}

function hashOf(f: FlowKey): number {
  let h = Math.imul(f.r3 ^ Math.imul(f.r2, 0x9e3779b1), 0x85ebca6b) ^ ((f.remotePort << 16) | f.localPort);
  h = Math.imul(h ^ f.l3 ^ (f.r1 + f.r0), 0xc2b2ae35) ^ (f.vrf << 8) ^ f.l2;
  h ^= h >>> 15;
  return Math.imul(h, 0x27d4eb2f) >>> 4;
}

function isSameFlow(a: FlowKey, b: FlowKey): boolean {
  return (
    a.remotePort === b.remotePort &&
    a.localPort === b.localPort &&
    a.r3 === b.r3 &&
    a.l3 === b.l3 &&
    a.r2 === b.r2 &&
    a.l2 === b.l2 &&
    a.r1 === b.r1 &&
    a.l1 === b.l1 &&
    a.r0 === b.r0 &&
    a.l0 === b.l0 &&
    a.vrf === b.vrf &&
    a.scope === b.scope
  );
}
