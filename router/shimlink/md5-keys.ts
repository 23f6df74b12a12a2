/**
 * The TCP MD5 keys of a socket, as apps set them by TCP_MD5SIG and TCP_MD5SIG_EXT (tcp(7), struct tcp_md5sig): one per
 * remote address or prefix. A BIRD that runs under the shim signs its sessions by these. RFC 2385.
 */
import { createHash } from 'node:crypto';
import { Addr, Prefix } from '../lib/addr.ts';
import { get16, get32 } from '../lib/bytes.ts';
import type { FlowKey } from '../tcp/port.ts';
import { SegmentKey } from '../tcp/signature.ts';
import { AF_INET, AF_INET6, E, getHost32 } from './proto.ts';

/** Octet offsets in struct tcp_md5sig, and its size. */
const Field = { Flags: 128, PrefixLength: 129, KeyLength: 130, IfIndex: 132, Key: 136 } as const;
const SIZE = 216;
const KEY_MAX = 80;
const Flag = { Prefix: 1, IfIndex: 2 } as const;

interface Row {
  readonly prefix: Prefix;
  /** 0 = any link. */
  readonly link: number;
  readonly key: SegmentKey;
}

export class Md5Keys {
  #rows: Row[] = [];

  /**
   * The value of a setsockopt.
   * @param isExtended TCP_MD5SIG_EXT: the flags count
   * @returns 0 or an errno, as Linux
   */
  set(family: number, isExtended: boolean, u8: Uint8Array, at: number, length: number): number {
    if (length < SIZE) return E.EINVAL;
    const addr = addressOf(family, u8, at);
    const octets = u8[at + Field.KeyLength]! | (u8[at + Field.KeyLength + 1]! << 8);
    if (addr === undefined || octets > KEY_MAX) return E.EINVAL;
    const flags = isExtended ? u8[at + Field.Flags]! : 0;
    const most = addr.family === 4 ? 32 : 128;
    const prefix = Prefix.containing(addr, (flags & Flag.Prefix) !== 0 ? u8[at + Field.PrefixLength]! : most);
    if (prefix === undefined) return E.EINVAL;
    const link = (flags & Flag.IfIndex) !== 0 ? getHost32(u8, at + Field.IfIndex) : 0;
    const others = this.#rows.filter((r) => r.link !== link || String(r.prefix) !== String(prefix));
    if (octets === 0) {
      if (others.length === this.#rows.length) return E.ENOENT;
      this.#rows = others;
      return 0;
    }
    const key = new SegmentKey(u8.slice(at + Field.Key, at + Field.Key + octets), md5);
    this.#rows = [...others, { prefix, link, key }].sort((a, b) => b.prefix.length - a.prefix.length);
    return 0;
  }

  /** The key for the remote of a flow: that of the longest prefix. */
  find(f: FlowKey): SegmentKey | undefined {
    if (this.#rows.length === 0) return undefined;
    const remote = Addr.fromWords(f.r0, f.r1, f.r2, f.r3);
    const link = f.scope !== 0 ? f.scope : f.device;
    return this.#rows.find((r) => (r.link === 0 || r.link === link) && r.prefix.contains(remote))?.key;
  }

  /** The same keys, for a connection that a listener accepted. */
  clone(): Md5Keys {
    const k = new Md5Keys();
    k.#rows = this.#rows;
    return k;
  }
}

/** The digest RFC 2385 asks for. */
export function md5(octets: Uint8Array): Uint8Array {
  return createHash('md5').update(octets).digest();
}

/** The address of a struct sockaddr_storage; an IPv4-mapped one of an IPv6 socket is IPv4. */
function addressOf(family: number, u8: Uint8Array, at: number): Addr | undefined {
  const named = u8[at]! | (u8[at + 1]! << 8);
  if (named !== family) return undefined;
  if (named === AF_INET) return Addr.v4(get32(u8, at + 4));
  if (named !== AF_INET6) return undefined;
  const word = (i: number): number => get32(u8, at + 8 + 4 * i);
  return get16(u8, at + 18) === 0xffff
    ? Addr.fromWords(word(0), word(1), word(2), word(3))
    : Addr.v6(word(0), word(1), word(2), word(3));
}
