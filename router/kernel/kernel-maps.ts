/** Maps of the programs as descriptors: the only lines of this room that call bpf(2). */
import { getSystemErrorName } from 'node:util';
import { MlshimError } from '../lib/errors.ts';
import { Bpf, loadNative, type Native } from '../native/index.ts';
import { GENERATIONS, KEY_WORDS, PREFIX_WORDS, QUAD } from './layout.ts';
import type { MapWrites } from './map-writes.ts';

/** Most entries of maps whose memory is taken only as they fill. */
const MAX_KEYS = 1 << 20;
const MAX_PREFIXES = 1 << 20;
const WORD = 4;

/** The octets of words. */
export function octetsOf(words: Int32Array): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function check(status: number, what: string): number {
  if (status >= 0) return status;
  throw new MlshimError('BPF_REFUSED', `${what}: ${getSystemErrorName(status)}`);
}

/** A map with a number as its key. */
export class NumberedMap {
  readonly fd: number;
  readonly #native: Native;
  readonly #name: string;
  readonly #value: Uint8Array;
  readonly #key = new Int32Array(1);

  constructor(native: Native, fd: number, name: string, valueSize: number) {
    this.#native = native;
    this.fd = fd;
    this.#name = name;
    this.#value = new Uint8Array(valueSize);
  }

  set(index: number, value: Uint8Array): void {
    this.#key[0] = index;
    check(this.#native.mapUpdate(this.fd, octetsOf(this.#key), value, 1), this.#name);
  }

  /** @returns the value, a view that the next call overwrites; undefined = there is none */
  get(index: number): DataView | undefined {
    this.#key[0] = index;
    if (this.#native.mapLookup(this.fd, octetsOf(this.#key), this.#value) < 0) return undefined;
    return new DataView(this.#value.buffer);
  }

  delete(index: number): void {
    this.#key[0] = index;
    this.#native.mapDelete(this.fd, octetsOf(this.#key));
  }

  /** Indices that a hash map has. */
  *indices(): Generator<number> {
    const next = new Int32Array(1);
    let key: Uint8Array | undefined;
    while (this.#native.mapNextKey(this.fd, key, octetsOf(next)) === 0) {
      yield next[0]!;
      key = octetsOf(next.slice());
    }
  }
}

/** The four inner maps of a generation. */
export class GenerationMaps {
  readonly #native: Native;
  readonly #words: NumberedMap;
  readonly #counters: NumberedMap;
  readonly #keys: number;
  readonly #prefixes: number;

  constructor(native: Native, quads: number, counters: number) {
    this.#native = native;
    const words = native.mapCreate(Bpf.Array, WORD, QUAD * WORD, quads, Bpf.InnerMap, 'mls_words');
    this.#words = new NumberedMap(native, check(words, 'map of words'), 'words', QUAD * WORD);
    const counts = native.mapCreate(Bpf.Array, WORD, 2 * WORD, Math.max(1, counters), Bpf.InnerMap, 'mls_counters');
    this.#counters = new NumberedMap(native, check(counts, 'map of counters'), 'counters', 2 * WORD);
    this.#keys = check(
      native.mapCreate(Bpf.Hash, KEY_WORDS * WORD, WORD, MAX_KEYS, Bpf.NoPrealloc, 'mls_keys'),
      'map of keys',
    );
    this.#prefixes = check(
      native.mapCreate(Bpf.LpmTrie, PREFIX_WORDS * WORD, WORD, MAX_PREFIXES, Bpf.NoPrealloc, 'mls_prefixes'),
      'map of prefixes',
    );
  }

  /** In the order of the outer maps' names in `PinnedMaps`. */
  get descriptors(): readonly number[] {
    return [this.#words.fd, this.#keys, this.#prefixes, this.#counters.fd];
  }

  apply(writes: MapWrites): void {
    for (const { at, words } of writes.words) {
      const quads = words.length / QUAD;
      const keys = Int32Array.from({ length: quads }, (_, i) => at / QUAD + i);
      check(this.#native.mapUpdate(this.#words.fd, octetsOf(keys), octetsOf(words), quads), 'words');
    }
    for (const [fd, entries, name] of [
      [this.#prefixes, writes.prefixes, 'prefixes'],
      [this.#keys, writes.keys, 'keys'],
    ] as const) {
      const { keys, values, count } = entries.updates();
      if (count > 0) check(this.#native.mapUpdate(fd, octetsOf(keys), octetsOf(values), count), name);
      for (const key of entries.deletions()) this.#native.mapDelete(fd, octetsOf(key));
    }
  }

  count(index: number): number {
    return Number(this.#counters.get(index)?.getBigUint64(0, IS_LITTLE) ?? 0n);
  }

  close(): void {
    for (const fd of this.descriptors) this.#native.close(fd);
  }
}

export const IS_LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

const OUTER = ['mls_words', 'mls_keys', 'mls_prefixes', 'mls_counters'] as const;

/** The maps that outlive generations, opened by the paths they are pinned at. */
export class PinnedMaps {
  readonly native = loadNative();
  readonly #dir: string;
  readonly #open: NumberedMap[] = [];
  readonly #outer: readonly NumberedMap[];
  readonly #active: NumberedMap;

  constructor(dir: string) {
    this.#dir = dir;
    this.#outer = OUTER.map((name) => this.map(name, WORD));
    this.#active = this.map('mls_active', WORD);
  }

  map(name: string, valueSize: number): NumberedMap {
    const fd = check(this.native.mapPinned(`${this.#dir}/${name}`), name);
    const map = new NumberedMap(this.native, fd, name, valueSize);
    this.#open.push(map);
    return map;
  }

  /** The active generation, 0 = none. */
  get generation(): number {
    return this.#active.get(0)?.getUint32(0, IS_LITTLE) ?? 0;
  }

  /**
   * Make a generation the active one. What was two before is let go: no program can be at work with it, since the kernel waits
   * for all of them whenever an outer map is written.
   */
  activate(generation: number, maps: GenerationMaps): void {
    const place = generation % GENERATIONS;
    for (const [i, fd] of maps.descriptors.entries()) this.#outer[i]!.set(place, octetsOf(Int32Array.of(fd)));
    this.#active.set(0, octetsOf(Int32Array.of(generation)));
    for (const outer of this.#outer) outer.delete((generation + 2) % GENERATIONS);
  }

  close(): void {
    for (const { fd } of this.#open) this.native.close(fd);
  }
}
