/** What is to be written into the maps of a generation, in the order it has to be: words, prefixes, then keys that lead to them. */
import type { Prefix } from '../lib/addr.ts';
import { KEY_WORDS, networkWord, PREFIX_WORDS, TABLE_V6 } from './layout.ts';

/** Bits of a key of `prefixes` in front of the address: its table. */
const TABLE_BITS = 32;
const MAPPED_BITS = 96;

/** Entries of one map: the last write of a key is what counts; undefined = it is to be deleted. */
class Entries {
  readonly #keyWords: number;
  readonly #entries = new Map<string, readonly [key: readonly number[], value: number | undefined]>();

  constructor(keyWords: number) {
    this.#keyWords = keyWords;
  }

  put(key: readonly number[], value: number | undefined): void {
    this.#entries.set(key.join(), [key, value]);
  }

  /** Keys and values one behind another, as mapUpdate wants them. */
  updates(): { readonly keys: Int32Array; readonly values: Int32Array; readonly count: number } {
    const live = [...this.#entries.values()].filter(([, value]) => value !== undefined);
    const keys = new Int32Array(live.length * this.#keyWords);
    for (const [i, [key]] of live.entries()) keys.set(key, i * this.#keyWords);
    return { keys, values: Int32Array.from(live, ([, value]) => value!), count: live.length };
  }

  deletions(): Int32Array[] {
    return [...this.#entries.values()].filter(([, value]) => value === undefined).map(([key]) => Int32Array.from(key));
  }
}

export class MapWrites {
  /** In the order they were asked for; places and lengths are those of whole quads. */
  readonly words: { readonly at: number; readonly words: Int32Array }[] = [];
  readonly keys = new Entries(KEY_WORDS);
  readonly prefixes = new Entries(PREFIX_WORDS);

  setWords(at: number, words: Int32Array): void {
    if (words.length > 0) this.words.push({ at, words });
  }

  setKey(key: readonly number[], value: number): void {
    this.keys.put(key, value);
  }

  deleteKey(key: readonly number[]): void {
    this.keys.put(key, undefined);
  }

  setPrefix(prefix: Prefix, table: number, value: number): void {
    this.prefixes.put(prefixKey(prefix, table), value);
  }

  deletePrefix(prefix: Prefix, table: number): void {
    this.prefixes.put(prefixKey(prefix, table), undefined);
  }
}

function prefixKey({ addr, length }: Prefix, table: number): number[] {
  const isV4 = addr.family === 4;
  const bits = TABLE_BITS + length + (isV4 ? MAPPED_BITS : 0);
  return [bits, isV4 ? table | 0 : table | TABLE_V6, ...[addr.a0, addr.a1, addr.a2, addr.a3].map(networkWord)];
}
