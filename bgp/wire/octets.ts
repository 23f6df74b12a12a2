/**
 * A growing octet buffer for messages that are written once and read by a transport.
 * Does not know any BGP; reading goes through the accessors of router/lib/bytes.ts.
 */

import { put16, put32 } from '../../router/lib/bytes.ts';

/** Writes network-order values; `length` is both the fill level and the next position. */
export class OctetWriter {
  bytes: Uint8Array;
  length = 0;

  constructor(capacity = 4096) {
    this.bytes = new Uint8Array(capacity);
  }

  u8(value: number): void {
    this.#room(1);
    this.bytes[this.length++] = value;
  }

  u16(value: number): void {
    this.#room(2);
    put16(this.bytes, this.length, value);
    this.length += 2;
  }

  u32(value: number): void {
    this.#room(4);
    put32(this.bytes, this.length, value);
    this.length += 4;
  }

  put(source: Uint8Array): void {
    this.#room(source.length);
    this.bytes.set(source, this.length);
    this.length += source.length;
  }

  /** Overwrite two octets written before. */
  patch16(at: number, value: number): void {
    put16(this.bytes, at, value);
  }

  /** A copy of what was written. */
  take(): Uint8Array {
    return this.bytes.slice(0, this.length);
  }

  /** What was written as a string of one character per octet: a cheap map key. */
  key(): string {
    return Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.length).toString('latin1');
  }

  clear(): void {
    this.length = 0;
  }

  /** Make `bytes` hold this many octets more. */
  reserve(more: number): void {
    this.#room(more);
  }

  #room(more: number): void {
    if (this.length + more <= this.bytes.length) return;
    const grown = new Uint8Array(Math.max(this.bytes.length * 2, this.length + more));
    grown.set(this.bytes.subarray(0, this.length));
    this.bytes = grown;
  }
}
