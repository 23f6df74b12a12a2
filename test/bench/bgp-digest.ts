/** What a BGP session was told, small enough for a million prefixes: for each prefix a number made of its AS path. */

/** AS path attribute, MP_REACH_NLRI and MP_UNREACH_NLRI. */
const AS_PATH = 2;
const MP_REACH = 14;
const MP_UNREACH = 15;
const EXTENDED_LENGTH = 0x10;
const SHOWN = 5;

export class Digest {
  /** By prefix: a hash of the AS path behind the first AS, which is the speaker's own. */
  readonly #paths = new Map<number | string, number>();

  /** Take in an UPDATE, given without its header. */
  update(b: Buffer, from: number, to: number): void {
    const withdrawnEnd = from + 2 + b.readUInt16BE(from);
    this.#each(b, from + 2, withdrawnEnd, 4, undefined);
    const end = withdrawnEnd + 2 + b.readUInt16BE(withdrawnEnd);
    let path = 0;
    let reach: readonly [number, number] | undefined;
    for (let at = withdrawnEnd + 2; at < end; ) {
      const isLong = (b[at]! & EXTENDED_LENGTH) !== 0;
      const type = b[at + 1]!;
      const start = at + (isLong ? 4 : 3);
      const length = isLong ? b.readUInt16BE(at + 2) : b[at + 2]!;
      at = start + length;
      if (type === AS_PATH) path = hash(b, start + 6, at);
      else if (type === MP_UNREACH && b[start + 1] === 2) this.#each(b, start + 3, at, 6, undefined);
      else if (type === MP_REACH && b[start + 1] === 2) reach = [start + 5 + b[start + 3]!, at];
    }
    if (reach !== undefined) this.#each(b, ...reach, 6, path);
    this.#each(b, end, to, 4, path);
  }

  #each(b: Buffer, from: number, to: number, family: 4 | 6, path: number | undefined): void {
    for (let at = from; at < to; ) {
      const length = b[at++]!;
      const octets = (length + 7) >> 3;
      const key = family === 4 ? key4(b, at, octets, length) : `${b.toString('latin1', at, at + octets)}/${length}`;
      at += octets;
      if (path === undefined) this.#paths.delete(key);
      else this.#paths.set(key, path);
    }
  }

  get size(): number {
    return this.#paths.size;
  }

  /** Prefixes only one of the two has, or has with another path; some of them are named. */
  compare(other: Digest): { readonly prefixes: number; readonly count: number; readonly differences: string[] } {
    const differences: string[] = [];
    let count = 0;
    const differ = (key: number | string): void => {
      if (++count <= SHOWN) differences.push(shown(key));
    };
    for (const [key, path] of this.#paths) if (other.#paths.get(key) !== path) differ(key);
    for (const key of other.#paths.keys()) if (!this.#paths.has(key)) differ(key);
    return { prefixes: this.#paths.size, count, differences };
  }
}

function key4(b: Buffer, at: number, octets: number, length: number): number {
  let address = 0;
  for (let i = 0; i < 4; i++) address = address * 256 + (i < octets ? b[at + i]! : 0);
  return address * 64 + length;
}

function shown(key: number | string): string {
  if (typeof key === 'string') {
    const slash = key.lastIndexOf('/');
    return `${Buffer.from(key.slice(0, slash), 'latin1').toString('hex')}${key.slice(slash)}`;
  }
  const address = Math.floor(key / 64);
  return `${[24, 16, 8, 0].map((bits) => Math.floor(address / 2 ** bits) % 256).join('.')}/${key % 64}`;
}

/** FNV-1a. */
function hash(b: Buffer, from: number, to: number): number {
  let h = 0x811c9dc5;
  for (let at = from; at < to; at++) h = Math.imul(h ^ b[at]!, 0x01000193);
  return h >>> 0;
}
