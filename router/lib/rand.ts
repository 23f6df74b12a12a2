/**
 * Chance, behind one door: a seeded generator for everything that must be repeatable, a keyed hash for numbers an
 * off-path attacker must not guess (RFC 6528 §3, RFC 6056 §3.3), and the process's entropy for seeds and secrets.
 */

/** A small fast generator (32-bit counter-based sfc32). Same seed, same sequence. Not for secrets. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    this.#b = 0x9e3779b9 | 0;
    this.#c = 0x243f6a88;
    for (let i = 0; i < 12; i++) this.int32();
  }

  /** Any int32. */
  int32(): number {
    const t = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (this.#c << 21) | (this.#c >>> 11);
    this.#c = (this.#c + t) | 0;
    return t;
  }

  /** An integer in [0, n), n <= 2^31. */
  below(n: number): number {
    return Math.floor((this.int32() >>> 0) * (n / 4294967296));
  }

  /** True with the given probability. */
  chance(probability: number): boolean {
    return this.int32() >>> 0 < probability * 4294967296;
  }
}

/** Entropy of the operating system. */
export function systemEntropy(octets: number): Uint8Array {
  return globalThis.crypto.getRandomValues(new Uint8Array(octets));
}

/**
 * SipHash-2-4 over 32-bit words (taken little-endian), 64-bit arithmetic on int32 halves.
 * For a few words per new connection; not for packets.
 */
export class SipHash {
  readonly #key = new Int32Array(4);
  // v0..v3 as low, high pairs
  readonly #v = new Int32Array(8);
  /** High half of the last result of `of`. */
  high = 0;

  /** @param key 16 octets; longer keys are cut */
  constructor(key: Uint8Array) {
    if (key.length < 16) throw new RangeError('a SipHash key has 16 octets');
    for (let i = 0; i < 4; i++)
      this.#key[i] = key[4 * i]! | (key[4 * i + 1]! << 8) | (key[4 * i + 2]! << 16) | (key[4 * i + 3]! << 24);
  }

  /** Low 32 bits of the hash of the first `count` words, as int32; `high` holds the others. */
  of(words: Int32Array, count: number): number {
    const v = this.#v;
    const k = this.#key;
    v[0] = 0x70736575 ^ k[0]!;
    v[1] = 0x736f6d65 ^ k[1]!;
    v[2] = 0x6e646f6d ^ k[2]!;
    v[3] = 0x646f7261 ^ k[3]!;
    v[4] = 0x6e657261 ^ k[0]!;
    v[5] = 0x6c796765 ^ k[1]!;
    v[6] = 0x79746573 ^ k[2]!;
    v[7] = 0x74656462 ^ k[3]!;
    let i = 0;
    for (; i + 2 <= count; i += 2) this.#absorb(words[i]!, words[i + 1]!);
    const lengthByte = ((count * 4) & 255) << 24;
    this.#absorb(i < count ? words[i]! : 0, lengthByte);
    v[4]! ^= 0xff;
    for (let r = 0; r < 4; r++) round(v);
    this.high = v[1]! ^ v[3]! ^ v[5]! ^ v[7]!;
    return v[0]! ^ v[2]! ^ v[4]! ^ v[6]!;
  }

  #absorb(low: number, high: number): void {
    const v = this.#v;
    v[6]! ^= low;
    v[7]! ^= high;
    round(v);
    round(v);
    v[0]! ^= low;
    v[1]! ^= high;
  }
}

function add64(v: Int32Array, to: number, from: number): void {
  const low = (v[to]! >>> 0) + (v[from]! >>> 0);
  v[to + 1] = v[to + 1]! + v[from + 1]! + (low > 0xffffffff ? 1 : 0);
  v[to] = low | 0;
}

/** Rotate left by n bits, 0 < n < 32. */
function rotate64(v: Int32Array, at: number, n: number): void {
  const low = v[at]!;
  const high = v[at + 1]!;
  v[at] = (low << n) | (high >>> (32 - n));
  v[at + 1] = (high << n) | (low >>> (32 - n));
}

function swapHalves(v: Int32Array, at: number): void {
  const low = v[at]!;
  v[at] = v[at + 1]!;
  v[at + 1] = low;
}

function xor64(v: Int32Array, to: number, from: number): void {
  v[to]! ^= v[from]!;
  v[to + 1]! ^= v[from + 1]!;
}

function round(v: Int32Array): void {
  add64(v, 0, 2);
  rotate64(v, 2, 13);
  xor64(v, 2, 0);
  swapHalves(v, 0);
  add64(v, 4, 6);
  rotate64(v, 6, 16);
  xor64(v, 6, 4);
  add64(v, 0, 6);
  rotate64(v, 6, 21);
  xor64(v, 6, 0);
  add64(v, 4, 2);
  rotate64(v, 2, 17);
  xor64(v, 2, 4);
  swapHalves(v, 4);
}
